# SPDX-License-Identifier: GPL-2.0-or-later
"""VHDX images with entries in their log, after [MS-VHDX]."""
import struct

import iotests
from iotests import MIB

SECTOR = 4096
LOG = MIB
BAT = 2 * MIB


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def _table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
        yield byte


TABLE = tuple(_table())


def summed(data):
    """The structure with its checksum, which is at 4."""
    data = bytearray(data)
    data[4:8] = bytes(4)
    struct.pack_into('<I', data, 4, crc32c(data))
    return bytes(data)


def entry(number, tail, guid, descriptors, flushed=0, last=0):
    """An entry; descriptors are (offset, 4 KiB) or (offset, length)."""
    body, sectors = b'', b''
    for offset, what in descriptors:
        if isinstance(what, int):
            body += struct.pack('<4sIQQQ', b'zero', 0, what, offset, number)
        else:
            body += b'desc' + what[-4:] + what[:8] + struct.pack(
                '<QQ', offset, number)
            sectors += (b'data' + struct.pack('<I', number >> 32)
                        + what[8:-4] + struct.pack('<I', number & 0xffffffff))
    head = 64 + len(body)
    head += -head % SECTOR
    data = struct.pack('<4sIIIQII16sQQ', b'loge', 0, head + len(sectors), tail,
                       number, len(descriptors), 0, guid, flushed, last) + body
    return summed(data.ljust(head, b'\0') + sectors)


class LoggedImage:
    """An image of 8 MiB whose second block is present only in the log."""

    CASES = ('one entry', 'two entries', 'around the end', 'an older tail',
             'a spoilt entry', 'zeroes', 'nothing valid')
    guid = bytes(range(1, 17))

    def __init__(self, path, case):
        self.path = path
        iotests.qemu_img_create('vhdx', path, 8 * MIB, block_size='1M')
        iotests.qemu_io(path, 'write -q -P 1 0 1M', fmt='vhdx')
        iotests.qemu_io(path, 'write -q -P 2 1M 1M', fmt='vhdx')
        with open(path, 'r+b') as file:
            self.file = file
            file.seek(BAT)
            self.full = file.read(SECTOR)
            self.first = self.full[:8] + struct.pack('<Q', 2) + self.full[16:]
            self.second = 2
            self.put(BAT, self.first)
            file.seek(0, 2)
            self.length = file.tell()
            getattr(self, case.replace(' ', '_'))()
            self.set_guid()

    def put(self, at, data):
        self.file.seek(at)
        self.file.write(data)

    def log(self, at, number, tail, *descriptors):
        """Write an entry at this place of the log, which is a ring."""
        data = entry(number, tail, self.guid, descriptors, self.length,
                     self.length)
        part = min(len(data), MIB - at)
        self.put(LOG + at, data[:part])
        self.put(LOG, data[part:]) if data[part:] else None

    def set_guid(self):
        for at in (64 * 1024, 128 * 1024):
            self.file.seek(at)
            header = self.file.read(SECTOR)
            self.put(at, summed(header[:48] + self.guid + header[64:]))

    def one_entry(self):
        self.log(0, 5, 0, (BAT, self.full))

    def two_entries(self):
        self.log(SECTOR * 4, 5, SECTOR * 4, (BAT, self.first))
        self.log(SECTOR * 6, 6, SECTOR * 4, (BAT, self.full))

    def around_the_end(self):
        self.log(MIB - SECTOR * 3, 2 ** 32 - 1, MIB - SECTOR * 3,
                 (BAT, self.first))
        self.log(MIB - SECTOR, 2 ** 32, MIB - SECTOR * 3, (BAT, self.full))

    def an_older_tail(self):
        """What is before the tail was applied, and does not count."""
        self.log(0, 5, 0, (BAT, bytes(SECTOR)))
        self.log(SECTOR * 2, 6, SECTOR * 2, (BAT, self.full))

    def a_spoilt_entry(self):
        self.log(0, 5, 0, (BAT, self.full))
        self.log(SECTOR * 2, 6, 0, (BAT, bytes(SECTOR)))
        self.put(LOG + SECTOR * 3 + 100, b'spoilt')

    def zeroes(self):
        self.log(0, 5, 0, (BAT, SECTOR))
        self.second = self.gone = 0

    def nothing_valid(self):
        self.put(LOG, bytes(MIB))
        self.second = 0

    gone = 1

    def data(self):
        """The disk, with 512 bytes written at 7 MiB after the replay."""
        data = bytearray(8 * MIB)
        data[:MIB] = bytes([self.gone]) * MIB
        data[MIB:2 * MIB] = bytes([self.second]) * MIB
        data[7 * MIB:7 * MIB + 512] = b'\x09' * 512
        return bytes(data)
