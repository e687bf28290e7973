# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two daemons that hand an image to each other.

import iotests
from iotests import (NbdClient, QemuStorageDaemon, QmpError, check,
                     image_node, qemu_img_json)
from nbdclient import NbdClosed


class Holder:
    """A daemon with the image as node `disk`, exported, active or not."""

    def __init__(self, name, path, fmt, active, allow=True, nodes=None):
        self.name = name
        self.qsd = QemuStorageDaemon().start()
        self.qsd.cmd('object-add', qom_type='throttle-group', id='g')
        try:
            for node in nodes or [image_node('disk', path, fmt)]:
                self.qsd.cmd('blockdev-add', node, active=active)
        except QmpError:
            self.kill()
            raise
        self.qsd.start_nbd()
        self.export('disk', allow)
        self.nbd = self.client()

    def export(self, name, allow=True, **more):
        self.qsd.cmd('block-export-add', more, type='nbd', id=name,
                     node_name='disk', name=name, writable=True,
                     allow_inactive=allow)

    def client(self, name='disk'):
        return NbdClient(self.qsd.nbd_socket, name, timeout=iotests.TIMEOUT)

    def set_active(self, active, node=None):
        self.qsd.cmd('blockdev-set-active', {'node-name': node} if node else
                     {}, active=active)

    def is_active(self, node='disk'):
        return self.qsd.nodes()[node]['active']

    def write(self, model, offset, data):
        self.nbd.write(offset, data)
        self.nbd.flush()
        model.write(offset, data)

    def read(self, size):
        """The disk, by a client that connects now and knows its size."""
        nbd = self.client()
        data = nbd.read(0, size)
        nbd.disconnect()
        return data

    def check_content(self, model, what):
        check(self.read(len(model.data)) == bytes(model.data),
              f'{what}: the disk at {self.name} differs')

    def covers(self, bitmap, model, what):
        """It is dirty wherever the model's is; how many bytes too much?

        Or it is inconsistent, for a reason: then None.
        """
        info = self.qsd.bitmaps('disk').get(bitmap)
        check(info, f'{what}: {self.name} has no bitmap {bitmap}')
        if info.get('inconsistent'):
            check(info.get('inconsistency'), f'{what}: no reason')
            return None
        areas = dirty_areas(self, bitmap)
        want = model.bitmaps[bitmap]
        for granule in want.dirty:
            at = granule * want.granularity
            check(any(first <= at < end for first, end in areas),
                  f'{what}: {bitmap} at {self.name} lacks {at:#x}')
        return info['count'] - want.count()

    def quit(self):
        try:
            self.nbd.disconnect()
        except NbdClosed:
            pass                    # its export has been removed
        self.qsd.quit()

    def kill(self):
        self.qsd.kill()


def dirty_areas(holder, bitmap):
    """A persistent bitmap's, as an export shows it; (offset, end)."""
    name = f'look-{bitmap}'
    holder.export(name, bitmaps=[bitmap])
    areas = qemu_img_json(
        'map', '--image-opts', f'driver=nbd,export={name},server.type=unix,'
        f'server.path={holder.qsd.nbd_socket},'
        f'x-dirty-bitmap=qemu:dirty-bitmap:{bitmap}')
    holder.qsd.cmd('block-export-del', id=name, mode='hard')
    holder.qsd.event('BLOCK_EXPORT_DELETED', {'id': name})
    return [(a['start'], a['start'] + a['length']) for a in areas
            if not a['data']]
