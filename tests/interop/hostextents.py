# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host has of a file: space that was reserved, and never written."""
import fcntl
import os
import struct

FIEMAP, SYNC, LAST, UNWRITTEN = 0xc020660b, 1, 1, 0x800
HEAD, EXTENT, COUNT = '=QQLLLL', '=QQQQQLLLL', 128


def extents(path):
    """(start, end, flags); none where the file system does not tell."""
    start, size = 0, struct.calcsize(EXTENT)
    with open(path, 'rb') as file:
        while True:
            answer = bytearray(struct.pack(HEAD, start, 2**64 - 1 - start, SYNC,
                                           0, COUNT, 0) + bytes(COUNT * size))
            try:
                fcntl.ioctl(file, FIEMAP, answer)
            except OSError:
                return
            number = struct.unpack_from(HEAD, answer)[3]
            for i in range(number):
                found = struct.unpack_from(EXTENT, answer,
                                           struct.calcsize(HEAD) + i * size)
                start = found[0] + found[2]
                yield found[0], start, found[5]
            if not number or found[5] & LAST:
                return


def unwritten(path):
    """The ranges of the file that were never written."""
    return [(start, end) for start, end, flags in extents(path)
            if flags & UNWRITTEN] if os.path.isfile(path) else []
