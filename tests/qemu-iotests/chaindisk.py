# SPDX-License-Identifier: GPL-2.0-or-later
#
# A disk that is a chain of images, its clients, and the model of it: content of
# the disk, bits that each bitmap must and may have, content of the internal
# snapshots.

import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import iotests
from iotests import (KIB, MIB, BitmapModel, NbdClient, QEMU_NBD_PROG, QmpError,
                     check, check_equal, qemu_img, scratch)
from writers import Gate, Snapshot, Writer

TRACE = os.environ.get('RANDOM_TRACE')


def trace(text):
    if TRACE:
        with open(TRACE, 'a', encoding='ascii') as file:
            print(text, file=file)


class Bitmap:
    """What it must hold and what it may, as granules."""

    def __init__(self, granularity, persistent, recording=True):
        self.granularity = granularity
        self.persistent = persistent
        self.recording = recording
        self.must, self.may = set(), set()
        self.touched = False        # its state changed while writes came
        self.stored = False         # it is in the image

    def granules(self, ops, size, wide=1):
        model = BitmapModel(size, self.granularity)
        for op in ops:
            start = op.offset // wide * wide
            end = min(-(-(op.offset + op.length) // wide) * wide, size)
            model.mark(start, end - start)
        return model.dirty

    def merge(self, other, size):
        for one in ('must', 'may'):
            model = BitmapModel(size, self.granularity, True,
                                getattr(self, one))
            model.merge(BitmapModel(size, other.granularity, True,
                                    getattr(other, one)))
            setattr(self, one, model.dirty)


class Layer:
    def __init__(self, node, path, size):
        self.node, self.path, self.size = node, path, size
        self.bitmaps = {}
        self.snapshots = {}         # name -> what the disk was


class Server:
    """An image file behind qemu-nbd, which cannot grow there."""

    count = 0

    def __init__(self, path):
        Server.count += 1
        self.socket = scratch(f'nbd-file-{Server.count}')
        os.truncate(path, max(os.path.getsize(path), 48 * MIB))
        self.process = subprocess.Popen(
            [QEMU_NBD_PROG, '-t', '-f', 'raw', '-e', '0', '--discard=unmap',
             '-k', self.socket, path])
        deadline = time.monotonic() + iotests.TIMEOUT
        while not self.listens():
            check(time.monotonic() < deadline, 'qemu-nbd does not start')
            time.sleep(0.005)

    def listens(self):
        sock = socket.socket(socket.AF_UNIX)
        with sock:
            return os.path.exists(self.socket) and \
                sock.connect_ex(self.socket) == 0

    def node(self):
        return {'driver': 'nbd', 'server': {'type': 'unix',
                                            'path': self.socket}}

    def stop(self):
        self.process.terminate()
        check_equal(self.process.wait(iotests.TIMEOUT), 0, 'qemu-nbd')


class Disk:
    """A chain of images, what its top shows, and its clients."""

    def __init__(self, rng):
        self.node = 'disk'          # the export
        self.rng = rng
        self.size = rng.choice((3 * MIB, 2 * MIB + 512 * 3, 4 * MIB + 60 * KIB))
        self.direct = rng.random() < 0.15
        self.lazy = rng.random() < 0.2
        self.zeroes = rng.choice(('off', 'off', 'unmap'))
        self.refcounts = rng.choice((1, 16, 16, 16, 64))
        self.clients = rng.choice((1, 3, 5))
        self.stripes = rng.choice((1, 2, 100))
        self.granularity = rng.choice((512, 4 * KIB, 64 * KIB, MIB))
        self.lock = threading.Lock()
        self.gate = Gate()
        self.qsd = None
        self.writers, self.accounted = [], []
        self.may_fail = False
        self.data = bytearray(self.size)
        self.number = 0
        self.layers = []
        for _ in range(rng.randrange(1, 5)):
            self.layers.append(self.new_layer(self.layers and self.top))
            self.fill(self.top)
        self.since = None           # the bitmaps since the last backup
        self.backups = []           # its images
        self.device = False
        self.over_nbd = rng.random() < 0.2
        self.servers = {}           # path -> server
        self.moments = []           # snapshots to be compared

    def file(self, path):
        """How an image file is reached."""
        if self.over_nbd and path not in self.servers:
            self.servers[path] = Server(path)
        if path in self.servers:
            return self.servers[path].node()
        file = {'driver': 'file', 'filename': path, 'discard': 'unmap'}
        if self.direct:
            file['cache'] = {'direct': True}
        return file

    def stop_servers(self):
        for server in self.servers.values():
            server.stop()
        self.servers = {}

    def new_name(self, prefix):
        self.number += 1
        return f'{prefix}{self.number}'

    @property
    def top(self):
        return self.layers[-1]

    def new_layer(self, below):
        node = self.new_name('l')
        path = scratch(f'disk-{node}.qcow2')
        options = {'cluster_size': self.rng.choice((512, 4 * KIB, 64 * KIB,
                                                    64 * KIB, MIB)),
                   'lazy_refcounts': 'on' if self.lazy else 'off',
                   'refcount_bits': self.refcounts}
        words = ','.join(f'{k}={v}' for k, v in options.items())
        backing = ('-u', '-b', below.path, '-F', 'qcow2') if below else ()
        qemu_img('create', '-q', '-f', 'qcow2', '-o', words, *backing, path,
                 str(self.size))
        return Layer(node, path, self.size)

    def fill(self, layer):
        """What is there before all starts."""
        commands = []
        for byte in range(1, self.rng.randrange(2, 8)):
            length = self.rng.randrange(1, 600) * 512
            at = self.rng.randrange(self.size // 512) * 512
            length = min(length, self.size - at)
            zero = self.rng.random() < 0.3
            commands.append(f'write -z {at} {length}' if zero else
                            f'write -P {byte} {at} {length}')
            self.data[at:at + length] = bytes([0 if zero else byte]) * length
        iotests.qemu_io(layer.path, *commands, fmt='qcow2')

    def options(self, layer, backing, read_only=False):
        file = {'node-name': f'{layer.node}-file', **self.file(layer.path)}
        return {'driver': 'qcow2', 'node-name': layer.node, 'file': file,
                'backing': backing, 'discard': 'unmap',
                'detect-zeroes': self.zeroes, 'read-only': read_only}

    # In the process

    def attach(self, qsd):
        self.qsd = qsd
        self.device = False
        below = None
        for layer in self.layers:
            qsd.cmd('blockdev-add', self.options(layer, below,
                                                 layer != self.top))
            below = layer.node
        self.export()

    def export(self):
        self.qsd.cmd('block-export-add', type='nbd', id=self.node,
                     name=self.node, node_name=self.top.node, writable=True)
        self.writers = [Writer(self, n, self.rng.random())
                        for n in range(self.clients)]
        self.accounted = [0] * self.clients
        for writer in self.writers:
            writer.start()

    def leave(self):
        """Take the clients off; held."""
        for writer in self.writers:
            writer.stop = True
        self.gate.release()
        for writer in self.writers:
            writer.join(iotests.TIMEOUT)
            check(not writer.is_alive(), 'a client does not end')
            if writer.error:
                raise writer.error
        self.gate.closed = True

    def unexport(self):
        self.leave()
        self.qsd.cmd('block-export-del', id=self.node, mode='hard')
        self.qsd.event('BLOCK_EXPORT_DELETED', {'id': self.node})

    # The model

    def new_ops(self):
        ops = [op for w, n in zip(self.writers, self.accounted)
               for op in w.ops[n:]]
        self.accounted = [len(w.ops) for w in self.writers]
        return ops

    def account(self, before=None, more=()):
        """What was written since the last time is in the bitmaps; held.

        before: the bitmaps that recorded then, if not the same as now.
        """
        for name, moment, content in self.moments:
            difference = moment.differs(content)
            check(not difference, f'snapshot {name}: {difference}')
        self.moments = []
        now = self.recording()
        ops = [*self.new_ops(), *more]
        before = now if before is None else before
        for bitmap in {*now, *before, *self.touched()}:
            may = bitmap.granules(ops, self.size, 4 * KIB if self.direct else 1)
            bitmap.may |= may
            if bitmap in now and bitmap in before and not bitmap.touched:
                bitmap.must |= bitmap.granules(
                    (op for op in ops if not op.trim), self.size)
            bitmap.touched = False

    def recording(self):
        return {b for b in self.top.bitmaps.values() if b.recording}

    def touched(self):
        return {b for layer in self.layers for b in layer.bitmaps.values()
                if b.touched}

    @contextmanager
    def meanwhile(self):
        """What is done inside may happen while clients write."""
        before = self.recording()
        if self.rng.random() < 0.75:
            self.gate.release()
            self.wait_ops(1)
        try:
            yield
        finally:
            self.gate.hold()
        self.check_writers()
        self.account(before)

    def check_writers(self):
        for writer in self.writers:
            if writer.error:
                raise writer.error

    def wait_ops(self, count):
        goals = [(w, len(w.ops) + count) for w in self.writers]
        for writer, goal in goals:
            while len(writer.ops) < goal and writer.is_alive():
                writer.join(0.002)

    def internal(self):
        """An internal snapshot of the top."""
        name = self.new_name('sn')
        moment = Snapshot(self)
        try:
            self.qsd.cmd('blockdev-snapshot-internal-sync',
                         device=self.top.node, name=name)
        except QmpError as e:
            trace(f'      {e}')
            check(self.refcounts == 1 or self.qsd.jobs(), f'{e}')
            return
        moment.over()
        self.top.snapshots[name] = self.shown(self.top, name)
        self.moments.append((name, moment, self.top.snapshots[name]))

    @staticmethod
    def shown(layer, name):
        raw = scratch('disk-shown')
        qemu_img('convert', '-U', '-l', f'snapshot.name={name}', '-O', 'raw',
                 layer.path, raw)
        with open(raw, 'rb') as file:
            return file.read()

    def check_bitmaps(self, what):
        for layer in self.layers:
            found = self.qsd.bitmaps(layer.node)
            for name, bitmap in layer.bitmaps.items():
                self.check_bitmap(layer, name, bitmap, found.get(name), what)

    def check_bitmap(self, layer, name, bitmap, info, what):
        what = f'{what}: {name} of {layer.node}'
        check(info, f'{what}: is gone')
        check(not info.get('inconsistent'), f'{what}: inconsistent')
        check_equal(info['recording'], bitmap.recording, f'{what}: recording')
        got = info['count'] // bitmap.granularity
        check(len(bitmap.must) <= got <= len(bitmap.may), f'{what}: {got} '
              f'granules, not {len(bitmap.must)} to {len(bitmap.may)}')
        if bitmap.must == bitmap.may:
            self.qsd.check_bitmap(
                layer.node, name,
                BitmapModel(layer.size, bitmap.granularity, True, bitmap.may),
                what)

    def check_content(self, what):
        nbd = NbdClient(self.qsd.nbd_socket, self.node,
                        timeout=iotests.TIMEOUT)
        for at in range(0, self.size, MIB):
            length = min(MIB, self.size - at)
            check(nbd.read(at, length) == self.data[at:at + length],
                  f'{what}: the disk is not its model')
        nbd.disconnect()
