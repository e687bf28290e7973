# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of good qcow2 images, to change bytes in."""
import os
import shutil
import struct

import iotests

# Where things are in the header.
VERSION, BACKING_OFFSET, CLUSTER_BITS = 4, 8, 20
IMAGE_SIZE, CRYPT, L1_SIZE, L1_OFFSET = 24, 32, 36, 40
REFTABLE_OFFSET, REFTABLE_CLUSTERS, SNAPSHOTS = 48, 56, 60
SNAPSHOTS_OFFSET = 64
INCOMPATIBLE, COMPATIBLE, AUTOCLEAR = 72, 80, 88
REFCOUNT_ORDER, HEADER_LENGTH = 96, 100

DIRTY, CORRUPT = 1, 2
COPIED, COMPRESSED = 1 << 63, 1 << 62
OFFSET_MASK = 0x00fffffffffffe00
BITMAPS_EXTENSION = 0x23852875


class SpoiledImage:
    """A copy of a good image to spoil."""

    def __init__(self, good, name='spoiled.qcow2'):
        self.path = iotests.scratch(name)
        shutil.copyfile(good, self.path)

    def put(self, offset, fmt, value):
        with open(self.path, 'r+b') as file:
            file.seek(offset)
            values = value if isinstance(value, tuple) else (value,)
            file.write(struct.pack('>' + fmt, *values))

    def get(self, offset, fmt):
        with open(self.path, 'rb') as file:
            file.seek(offset)
            return struct.unpack('>' + fmt,
                                 file.read(struct.calcsize('>' + fmt)))[0]

    def cut(self, length):
        os.truncate(self.path, length)

    def content(self):
        with open(self.path, 'rb') as file:
            return file.read()

    def digest(self):
        return hash(self.content())

    def l1(self):
        """Where the L1 table is."""
        return self.get(L1_OFFSET, 'Q')

    def l2(self, index=0):
        """Where an L2 table is."""
        return self.get(self.l1() + 8 * index, 'Q') & OFFSET_MASK

    def data(self, index):
        """Where the data of a cluster (by the first L2 table) is."""
        return self.get(self.l2() + 8 * index, 'Q') & OFFSET_MASK

    def refcounts(self):
        """Where the first refcount block is."""
        return self.get(self.get(REFTABLE_OFFSET, 'Q'), 'Q')

    def snapshots(self):
        """Where the table of snapshots is."""
        return self.get(SNAPSHOTS_OFFSET, 'Q')

    def bitmaps_extension(self):
        """Where the data of that header extension is."""
        pos = self.get(HEADER_LENGTH, 'I')
        while self.get(pos, 'I') != BITMAPS_EXTENSION:
            pos += 8 + (self.get(pos + 4, 'I') + 7) // 8 * 8
        return pos + 8
