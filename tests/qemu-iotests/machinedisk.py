# SPDX-License-Identifier: GPL-2.0-or-later
#
# A disk of a machine from the guest's view, and the model of its content.

from iotests import (MIB, DiskModel, check, imgfmt, qemu_img_create, qemu_io)

SIZE = 4 * MIB
GRANULARITY = 65536


def create_disk(path, pattern=1, size=SIZE, fmt=None):
    """An image that is full of a pattern."""
    qemu_img_create(fmt or imgfmt, path, size)
    qemu_io(path, f'write -P {pattern} 0 {size}', fmt=fmt or imgfmt)


class MachineDisk:
    """Requests through a device, and what they should have changed."""

    def __init__(self, vm, qdev, node, pattern=1, size=SIZE):
        self.vm = vm
        self.qdev = qdev
        self.node = node
        self.model = DiskModel(size)
        self.model.data[:] = bytes([pattern]) * size

    def io(self, line):
        """A qemu-io command on the device; return what comes of it."""
        answers = []

        def perform():
            answers.append(self.vm.hmp_qemu_io(self.qdev, line, qdev=True))

        return self.vm.printed_by(perform) + answers[0]

    def write(self, offset, length, pattern):
        printed = self.io(f'write -P {pattern} {offset} {length}')
        check('failed' not in printed, f'write at {offset}: {printed}')
        self.model.write(offset, bytes([pattern]) * length)

    def refuses(self, line, reason):
        printed = self.io(line)
        check(reason in printed, f'{line}: {reason!r} is not in {printed!r}')

    def add_bitmap(self, name, **options):
        self.vm.cmd('block-dirty-bitmap-add', node=self.node, name=name,
                    granularity=GRANULARITY, **options)
        return self.model.add_bitmap(name, GRANULARITY)

    def check_bitmap(self, name, what):
        self.vm.check_bitmap(self.node, name, self.model.bitmaps[name], what)

    def check_content(self, what):
        """Read all of it through the device, run by run of equal bytes."""
        data = bytes(self.model.data)
        at = 0
        while at < len(data):
            end = at
            while end < len(data) and data[end] == data[at]:
                end += 512
            self.reads(at, end - at, data[at], what)
            at = end

    def reads(self, offset, length, pattern, what):
        printed = self.io(f'read -P {pattern} {offset} {length}')
        check('failed' not in printed and 'rror' not in printed,
              f'{what}: at {offset} is no {pattern}: {printed}')
