# SPDX-License-Identifier: GPL-2.0-or-later
"""Small images of formats that can only be read, after their specifications.

Each function returns (image, the disk that it is), made of `data`.
"""
import base64
import bz2
import hashlib
import struct
import zlib

SECTOR = 512
DMG_BZIP2 = 0x80000006


def padded(data, size):
    return data.ljust(-(-len(data) // size) * size, b'\0')


def bochs(data, version=0x20000, extent=4096, entries=8, bitmap=512):
    """Extent 1 has the first sectors of data, extent 0 is absent."""
    head = (b'Bochs Virtual HD Image'.ljust(32, b'\0')
            + b'Redolog'.ljust(16, b'\0') + b'Growing'.ljust(16, b'\0')
            + struct.pack('<IIIII', version, SECTOR, entries, bitmap, extent))
    size = entries * extent
    head += struct.pack('<Q' if version == 0x10000 else '<IQ',
                        *(() if version == 0x10000 else (0,)), size)
    catalog = [0xffffffff] * entries
    catalog[1], catalog[3] = 1, 0
    image = padded(head, SECTOR) + struct.pack(f'<{entries}I', *catalog)
    first = bytes([0x0d]).ljust(bitmap, b'\0')     # sectors 0, 2 and 3
    piece = data[:extent].ljust(extent, b'\0')
    image += (b'\xff' * 2).ljust(bitmap, b'\0') + piece + first + piece
    disk = bytearray(size)
    disk[3 * extent:4 * extent] = piece
    for sector in (0, 2, 3):
        at = sector * SECTOR
        disk[extent + at:extent + at + SECTOR] = piece[at:at + SECTOR]
    return image, bytes(disk)


def cloop(data, block=4096):
    blocks = [data[at:at + block].ljust(block, b'\0')
              for at in range(0, len(data), block)]
    image = (b'#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t '
             b'iso9660 /dev/cloop $1\n').ljust(128, b'\0')
    image += struct.pack('>II', block, len(blocks))
    packed = [zlib.compress(one) for one in blocks]
    at = len(image) + 8 * (len(blocks) + 1)
    for one in packed:
        image += struct.pack('>Q', at)
        at += len(one)
    return (image + struct.pack('>Q', at) + b''.join(packed),
            b''.join(blocks))


def dmg(data, packed=0x80000005, gap=2, tail=3, again=0):
    """A stored run, a compressed one, zeroes; in two tables.

    There is a gap between them, and a tail without a run.  `again`: the
    compressed data is also a run of so many sectors, which it is too short for.
    """
    one, two = data[:2048], data[2048:2048 + 4096]
    squeezed = (bz2 if packed == DMG_BZIP2 else zlib).compress(two)
    runs = [(1, 0, 4, 0, len(one)),
            (packed, 4, 8, len(one), len(squeezed)), (0, 12, 4, 0, 0),
            (0xffffffff, 16, 0, 0, 0)]
    if again:
        runs.insert(3, (packed, 12, again, len(one), len(squeezed)))
        del runs[2]
    more = [(2, 0, 5, 0, 0), (0x7ffffffe, 0, 0, 0, 0),
            (1, 5, 1, 0, SECTOR), (0xffffffff, 6, 0, 0, 0)]
    texts = ''
    for first, table in ((0, runs), (16 + gap, more)):
        mish = struct.pack('>4sIQQQI', b'mish', 1, first, 16, 0,
                           520).ljust(200, b'\0')
        mish += struct.pack('>I', len(table))
        for kind, sector, count, offset, length in table:
            mish += struct.pack('>IIQQQQ', kind, 0, sector, count, offset,
                                length)
        texts += ('<dict><key>Data</key><data>\n'
                  + base64.b64encode(mish).decode() + '\n</data></dict>')
    xml = ('<?xml version="1.0"?><plist version="1.0"><dict>'
           '<key>resource-fork</key><dict><key>blkx</key><array>'
           f'{texts}</array></dict></dict></plist>').encode()
    stored = one + squeezed
    koly = bytearray(SECTOR)
    struct.pack_into('>4sIII', koly, 0, b'koly', 4, 512, 1)
    struct.pack_into('>QQQQ', koly, 16, 0, 0, len(stored), 0)
    struct.pack_into('>QQ', koly, 216, len(stored), len(xml))
    struct.pack_into('>Q', koly, 492, 22 + gap + tail)
    disk = one + two + bytes((4 + gap + 5) * SECTOR) + one[:SECTOR] \
        + bytes(tail * SECTOR)
    return stored + xml + bytes(koly), disk


def parallels(data, extended=True, sectors=8, entries=6):
    """Block 1 and 3 are there; the last one is not complete."""
    block = sectors * SECTOR
    size = entries * sectors - 3
    unit = 1 if extended else sectors
    table = [0] * entries
    table[1], table[3] = 2 * unit, 1 * unit
    image = ((b'WithouFreSpacExt' if extended else b'WithoutFreeSpace')
             + struct.pack('<IIIIIQ', 2, 16, 10, sectors, entries, size)
             + bytes(4) + struct.pack('<II', sectors, 0))
    image = image.ljust(64, b'\0') + struct.pack(f'<{entries}I', *table)
    one, two = data[:block], data[block:2 * block]
    image = padded(image, block) + one.ljust(block, b'\0') \
        + two.ljust(block, b'\0')
    disk = bytearray(entries * block)
    disk[3 * block:3 * block + len(one)] = one
    disk[block:block + len(two)] = two
    return image, bytes(disk[:size * SECTOR])


def parallels_section(magic, data=b'', flags=0):
    """A section of the format extension."""
    return (struct.pack('<QQII', magic, flags, len(data), 0) + data
            + bytes(-len(data) % 8))


def parallels_bitmap(sectors, granularity, table, ident=bytes(16), **fields):
    """A section with a bitmap; numbers are sectors."""
    data = (struct.pack('<Q', sectors) + ident
            + struct.pack('<II', granularity, len(table))
            + struct.pack(f'<{len(table)}Q', *table))
    return parallels_section(0x20385fae252cb34a, data, **fields)


def parallels_extension(image, sections, clusters=(), in_use=0x312e3276):
    """
    @image, by parallels(), with a format extension after its blocks, and then
    @clusters: the first of them is in sector parallels_cluster(image).
    """
    block = struct.unpack_from('<I', image, 28)[0] * SECTOR
    image = bytearray(padded(image, block))
    struct.pack_into('<I', image, 44, in_use)
    struct.pack_into('<Q', image, 56, len(image) // SECTOR)
    room = block - 24
    body = (b''.join(sections) + parallels_section(0))[:room].ljust(room, b'\0')
    image += (struct.pack('<Q', 0xab234cef23dcea87)
              + hashlib.md5(body).digest() + body)
    for cluster in clusters:
        image += cluster.ljust(block, b'\0')
    return bytes(image)


def parallels_cluster(image, number=0):
    """The sector of cluster @number of parallels_extension()."""
    sectors = struct.unpack_from('<I', image, 28)[0]
    return (-(-len(image) // (sectors * SECTOR)) + 1 + number) * sectors


def qcow(data, backing=b'', cluster_bits=12, l2_bits=6):
    """Cluster 1 is plain, 3 is compressed."""
    cluster = 1 << cluster_bits
    span = cluster << l2_bits
    size = span + cluster
    one = data[:cluster].ljust(cluster, b'\0')
    l1, l2 = 512, 1024
    image = struct.pack('>4sIQIIQBBHIQ', b'QFI\xfb', 1, 48 if backing else 0,
                        len(backing), 0, size, cluster_bits, l2_bits, 0, 0, l1)
    image = (image + backing).ljust(l1, b'\0')
    image += struct.pack('>QQ', l2, 0).ljust(l2 - l1, b'\0')
    deflate = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = deflate.compress(one[::-1]) + deflate.flush()
    at = l2 + 2048
    table = [0] * (1 << l2_bits)
    table[1] = at
    table[3] = (1 << 63 | len(packed) << (63 - cluster_bits)
                | (at + cluster))
    image += struct.pack(f'>{len(table)}Q', *table).ljust(2048, b'\0')
    disk = bytearray(size)
    disk[cluster:2 * cluster] = one
    disk[3 * cluster:4 * cluster] = one[::-1]
    return image + one + packed + bytes(SECTOR), bytes(disk)


def qed(data, backing=b'', features=0, cluster=4096):
    """Cluster 1 has data, 2 is zero; tables have two clusters."""
    size = 1024 * cluster + SECTOR
    one = data[:cluster].ljust(cluster, b'\0')
    features |= 1 if backing else 0
    image = struct.pack('<4sIIIQQQQQII', b'QED\0', cluster, 2, 1, features, 0,
                        0, cluster, size, 64, len(backing)) + backing
    image = padded(image, cluster)
    image += struct.pack('<Q', 3 * cluster).ljust(2 * cluster, b'\0')
    image += struct.pack('<QQQ', 0, 5 * cluster, 1).ljust(2 * cluster, b'\0')
    disk = bytearray(size)
    disk[cluster:2 * cluster] = one
    return image + one, bytes(disk)
