# SPDX-License-Identifier: GPL-2.0-or-later
#
# One image of a format, made and written by either side, as both see it.

import os

import iotests
from iotests import KIB, MIB, PEER_DIR, check, check_equal, scratch

OURS = (iotests.QEMU_IMG_PROG, iotests.QEMU_IO_PROG)
PEER = (os.path.join(PEER_DIR, 'qemu-img'), os.path.join(PEER_DIR, 'qemu-io'))


def merged(extents):
    """The map with neighbours of the same kind in one piece.

    Whether data of an image is a hole in the file below is left out: one
    looks more often than the other.
    """
    out = []
    for extent in extents:
        kind = (extent['data'], extent['zero'] and not extent['data'],
                extent['present'])
        at = extent.get('offset')
        if out and out[-1][1] == kind and \
                (at is None) == (out[-1][2] is None) and \
                (at is None or out[-1][2] + out[-1][0] == at):
            out[-1][0] += extent['length']
        else:
            out.append([extent['length'], kind, at])
    return out


class FormatDisk:
    """An image in a folder of its own, and what the disk should have."""

    def __init__(self, fmt, size, maker=OURS, path=None, **options):
        self.fmt = fmt
        self.folder = scratch('disk')
        os.makedirs(self.folder, exist_ok=True)
        self.remove()
        self.path = path or os.path.join(self.folder, f'disk.{fmt}')
        self.said = iotests.qemu_img(
            'create', '-f', fmt, *['-o', ','.join(
                f'{k}={v}' for k, v in options.items())] * bool(options),
            self.path, size, prog=maker[0])
        info = iotests.qemu_img_json('info', '-f', fmt, self.path,
                                     prog=maker[0])
        # Larger ones are not compared as a whole.
        self.data = bytearray(min(info['virtual-size'], 64 * MIB))

    def remove(self):
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))

    def files(self):
        return sorted(os.listdir(self.folder))

    def write(self, side, seed, zeroes=True):
        """Writes at block borders, at the end, zeroes and a discard."""
        size, words = len(self.data), []
        for number, (at, length) in enumerate((
                (0, 512), (64 * KIB - 1024, 2048), (MIB - 512, 512),
                (MIB + 4096, 100 * KIB), (2 * MIB - 3 * KIB, 6 * KIB),
                (size - 512, 512), (3 * MIB + 100, 77))):
            if at + length <= size:
                self.data[at:at + length] = bytes([seed + number]) * length
                words += [f'write -q -P {seed + number} {at} {length}']
        if zeroes:
            for at, length in ((MIB + 8192, 4096), (64 * KIB, 64 * KIB),
                               (4 * MIB, MIB)):
                if at + length <= size:
                    self.data[at:at + length] = bytes(length)
                    words += [f'write -q -z {at} {length}']
        iotests.qemu_io(self.path, *words, fmt=self.fmt, prog=side[1])

    def compare(self, what, checks=True):
        """Both read the content, and say the same of the image."""
        for side in (OURS, PEER):
            check(iotests.same_as(self.path, self.data, self.fmt,
                                  prog=side[0]),
                  f'{what}: {side[0]} reads something else')
            if checks:
                status, text = iotests.qemu_img_status(
                    'check', '-f', self.fmt, self.path, prog=side[0])
                check(status == 0, f'{what}: {side[0]} check: {text}')
        self.compare_facts(what)

    def compare_facts(self, what):
        # The peer does not know where data of vhdx images is.
        for command in ('info', 'map') if self.fmt != 'vhdx' else ('info',):
            ours, theirs = (iotests.qemu_img_json(
                command, '-f', self.fmt, self.path, prog=side[0])
                for side in (OURS, PEER))
            if command == 'map':
                ours, theirs = merged(ours), merged(theirs)
            else:
                theirs.pop('children', None)
            check_equal(ours, theirs, f'{what}: {command}')


def both_ways(fmt, size, checks=True, **options):
    """Made by each, written by each, then by the other."""
    words = ', '.join(f'{k}={v}' for k, v in options.items()) or 'defaults'
    said = set()
    for maker in (OURS, PEER):
        for writer in (OURS, PEER):
            disk = FormatDisk(fmt, size, maker, **options)
            said.add(disk.said)
            what = f'{fmt}, {words}, made by {maker[0]}'
            if writer is OURS:
                disk.compare(f'{what}, empty', checks)
            names = disk.files()
            disk.write(writer, 1)
            disk.compare(f'{what}, written by {writer[0]}', checks)
            disk.write(PEER if writer is OURS else OURS, 0x40)
            disk.compare(f'{what}, written by both', checks)
            check_equal(disk.files(), names, 'files')
    check_equal(len(said), 1, said)
    iotests.log(f'{fmt}, {words}: the same to both')
    return disk


def converted(fmt, checks=True, **options):
    """Each converts the same disk to the format; both read both."""
    raw = scratch('source.raw')
    data = bytearray(5 * MIB)
    for at in (0, MIB - KIB, 3 * MIB + 512):
        data[at:at + 3 * KIB] = os.urandom(3 * KIB)
    with open(raw, 'wb') as file:
        file.write(data)
    for side in (OURS, PEER):
        disk = FormatDisk(fmt, 512)
        iotests.qemu_img('convert', '-f', 'raw', '-O', fmt, *['-o', ','.join(
            f'{k}={v}' for k, v in options.items())] * bool(options), raw,
            disk.path, prog=side[0])
        size = iotests.qemu_img_json('info', '-f', fmt,
                                     disk.path)['virtual-size']
        disk.data = data.ljust(size, b'\0')
        disk.compare(f'converted by {side[0]}', checks)
    words = ', '.join(f'{k}={v}' for k, v in options.items()) or 'defaults'
    iotests.log(f'{fmt}, {words}: converted by each, the same to both')
