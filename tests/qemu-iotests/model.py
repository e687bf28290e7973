# SPDX-License-Identifier: GPL-2.0-or-later
#
# Naive models of a disk and of its dirty bitmaps: the expected state of the
# block layer. A bitmap is a set of granule numbers.

import hashlib


class BitmapModel:
    """What a dirty bitmap should hold; sizes and offsets are in bytes."""

    def __init__(self, size, granularity=65536, recording=True, dirty=()):
        self.size = size
        self.granularity = granularity
        self.recording = recording
        self.dirty = set(dirty)
        self.cut_end = 0    # where the disk ended before it was shrunk

    def granules(self, offset, length):
        """The granules that a range touches."""
        if not length:
            return set()
        first = offset // self.granularity
        last = (offset + length - 1) // self.granularity
        return set(range(first, last + 1))

    def mark(self, offset, length):
        self.dirty |= self.granules(offset, length)

    def all_granules(self):
        return self.granules(0, self.size)

    def resize(self, size):
        """Follow the disk: what was cut off comes back dirty."""
        old, self.size = self.size, size
        if size < old:
            self.cut_end = max(self.cut_end, old)
            self.dirty &= self.all_granules()
        elif self.cut_end > old:
            self.mark(old, min(size, self.cut_end) - old)
        if self.cut_end <= size:
            self.cut_end = 0

    def clear(self):
        self.dirty = set()
        self.cut_end = 0

    def merge(self, source):
        """OR in another bitmap, of any granularity."""
        for granule in source.dirty:
            start = granule * source.granularity
            end = min(start + source.granularity, self.size)
            self.mark(start, end - start)

    def copy(self):
        return BitmapModel(self.size, self.granularity, self.recording,
                           self.dirty)

    def count(self):
        """Dirty bytes as the block layer counts them: whole granules."""
        return len(self.dirty) * self.granularity

    def sha256(self):
        """The digest of the bits, one per granule, in 64-bit words."""
        granules = -(-self.size // self.granularity)
        bits = bytearray(-(-granules // 64) * 8)
        for granule in self.dirty:
            bits[granule // 8] |= 1 << (granule % 8)
        return hashlib.sha256(bits).hexdigest()

    def after_job(self, mode, success, since, uncopied=None):
        """The bitmap after a job that began with this one.

        `since`: granules written since the job began. `uncopied`: what a
        failed job did not copy, for the mode that keeps count of it.
        """
        if mode == 'never':
            dirty = self.dirty | since
        elif success:
            dirty = set(since)
        elif mode == 'always':
            dirty = set(uncopied) | since
        else:
            dirty = self.dirty | since
        return BitmapModel(self.size, self.granularity, True, dirty)


class DiskModel:
    """The bytes of a disk, and the bitmaps that watch it."""

    def __init__(self, size):
        self.data = bytearray(size)
        self.bitmaps = {}

    def add_bitmap(self, name, granularity=65536, recording=True):
        self.bitmaps[name] = BitmapModel(len(self.data), granularity,
                                         recording)
        return self.bitmaps[name]

    def write(self, offset, data):
        self.data[offset:offset + len(data)] = data
        for bitmap in self.bitmaps.values():
            if bitmap.recording:
                bitmap.mark(offset, len(data))

    def resize(self, size):
        self.data[size:] = bytes(max(size - len(self.data), 0))
        for bitmap in self.bitmaps.values():
            bitmap.resize(size)

    def snapshot(self):
        return bytes(self.data)
