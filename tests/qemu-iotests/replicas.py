# SPDX-License-Identifier: GPL-2.0-or-later
#
# The two sides of replication. A secondary is
#
#     top (quorum) - rep - act -> hid -> sec, exported as `disk`
#
# and a primary a quorum of its disk and, while it is connected, the export.

import time

import iotests
from iotests import MIB, check, image_node, new_image, scratch

SIZE = 2 * MIB


def enable(qsd, primary):
    qsd.cmd('xen-set-replication', enable=True, primary=primary)


def disable(qsd, primary, **failover):
    qsd.cmd('xen-set-replication', enable=False, primary=primary, **failover)


def status(qsd):
    """None, or what is wrong."""
    answer = qsd.cmd('query-xen-replication-status')
    check(answer['error'] == ('desc' in answer), answer)
    return answer.get('desc')


def checkpoint(*daemons):
    for qsd in daemons:
        qsd.cmd('xen-colo-do-checkpoint')


class Secondary:
    """The nodes of one disk.

    `options`: of both qcow2 nodes; `debug`: for act, hid, sec those of a
    blkdebug over the file.
    """

    def __init__(self, qsd, name='', sizes=(SIZE, SIZE, SIZE), pattern=0x11,
                 cluster=65536, options=(), **debug):
        self.qsd = qsd
        self.name = name
        self.options = dict(options)
        self.debug = debug
        self.size = sizes[0]
        self.data = bytearray([pattern]) * self.size
        for layer, size in zip(('act', 'hid', 'sec'), sizes):
            options = {'fmt': 'raw'} if layer == 'sec' else \
                {'cluster_size': cluster}
            new_image(f'{layer}{name}.img', size, **options)
        with open(self.path('sec'), 'r+b') as file:
            file.write(self.data[:sizes[2]])

    def path(self, layer):
        return scratch(f'{layer}{self.name}.img')

    def node(self, layer, fmt='qcow2', **options):
        if fmt == 'qcow2':
            options.update(self.options)
        node = image_node(layer + self.name, self.path(layer), fmt, **options)
        if layer in self.debug:
            node['file'] = {'driver': 'blkdebug', 'image': node['file'],
                            **self.debug[layer]}
        return node

    def add(self, quorum=True):
        """All nodes; the hidden disk is defined in place."""
        name = self.name
        top = ('top' if quorum else 'rep') + name
        self.qsd.cmd('blockdev-add', self.node('sec', 'raw'))
        self.qsd.cmd('blockdev-add', {
            'driver': 'replication', 'node-name': f'rep{name}',
            'mode': 'secondary', 'top-id': top,
            'file': self.node('act', backing=self.node(
                'hid', backing=f'sec{name}'))})
        if quorum:
            self.qsd.cmd('blockdev-add', driver='quorum', node_name=top,
                         vote_threshold=1, read_pattern='fifo',
                         children=[f'rep{name}'])
        return self

    def start(self):
        """With the export for the primary, and a client of it."""
        self.add()
        client = self.qsd.export(f'sec{self.name}')
        enable(self.qsd, False)
        return client

    def wait_failover(self):
        deadline = time.monotonic() + iotests.TIMEOUT
        while status(self.qsd) == 'Failover is not finished':
            check(time.monotonic() < deadline, 'the failover does not end')
            time.sleep(0.005)
        return status(self.qsd)


class Primary:
    """A disk that has what the secondary's has."""

    def __init__(self, qsd, size=SIZE, pattern=0x11):
        self.qsd = qsd
        self.path = new_image('pri.img', size, fmt='raw')
        with open(self.path, 'r+b') as file:
            file.write(bytes([pattern]) * size)
        qsd.cmd('blockdev-add', image_node('pri', self.path, 'raw'))
        qsd.cmd('blockdev-add', driver='quorum', node_name='disk',
                vote_threshold=1, read_pattern='fifo', children=['pri'])

    def connect(self, secondary):
        """To one whose replication is started."""
        self.qsd.cmd('blockdev-add', {
            'driver': 'replication', 'node-name': 'link', 'mode': 'primary',
            'file': {'driver': 'nbd', 'export': f'sec{secondary.name}',
                     'server': {'type': 'unix',
                                'path': secondary.qsd.nbd_socket}}})
        self.qsd.cmd('x-blockdev-change', parent='disk', node='link')
        enable(self.qsd, True)
