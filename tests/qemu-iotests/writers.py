# SPDX-License-Identifier: GPL-2.0-or-later
#
# Clients that write to a disk concurrently, and its valid content between two
# checks. The disk passed to them has: qsd, node (the name of its export), gate,
# lock, data, size, clients, stripes, may_fail, and writers.

import random
import socket
import threading
import time

import iotests
from iotests import NbdClient, NbdError, check
from nbdclient import CMD_WRITE

STRIPE = 100000                     # so that clients meet in clusters


class Op:
    """One request: what the disk holds there afterwards."""

    def __init__(self, offset, length, trim=False):
        self.offset = offset
        self.length = length
        self.trim = trim
        self.content = None


class Gate:
    """Holds all writers while the main thread looks."""

    def __init__(self):
        self.condition = threading.Condition()
        self.inside = 0
        self.closed = True

    def enter(self, stopped):
        with self.condition:
            self.condition.wait_for(lambda: not self.closed or stopped())
            self.inside += 1

    def leave(self):
        with self.condition:
            self.inside -= 1
            self.condition.notify_all()

    def hold(self):
        with self.condition:
            self.closed = True
            check(self.condition.wait_for(lambda: not self.inside,
                                          timeout=iotests.TIMEOUT),
                  'a request does not end')

    def release(self):
        with self.condition:
            self.closed = False
            self.condition.notify_all()


class Writer(threading.Thread):
    """A client with stripes of its own."""

    def __init__(self, disk, number, seed):
        super().__init__(daemon=True)
        self.rng = random.Random(seed)
        self.disk = disk
        self.number = number
        self.nbd = None
        self.connect()
        self.ops = []               # the last may still be on its way
        self.finished = 0
        self.stop = False
        self.error = None

    def connect(self):
        self.nbd = NbdClient(self.disk.qsd.nbd_socket, self.disk.node,
                             timeout=iotests.TIMEOUT)

    def run(self):
        try:
            while not self.stop:
                self.disk.gate.enter(lambda: self.stop)
                try:
                    if not self.stop:
                        self.one()
                finally:
                    self.disk.gate.leave()
            self.nbd.disconnect()
        except Exception as e:              # told by the main thread
            self.error = e

    def place(self):
        size = self.disk.size
        stripes = size // STRIPE // self.disk.clients
        # All in a few clusters, or all over the disk.
        stripe = self.rng.randrange(min(stripes, self.disk.stripes))
        start = (stripe * self.disk.clients + self.number) * STRIPE
        length = self.rng.choice((1, 512, 4096, 20000, 70000, STRIPE))
        return start + self.rng.randrange(STRIPE - length + 1), length

    def one(self):
        offset, length = self.place()
        kind = self.rng.random()
        if kind < 0.04:
            self.nbd.flush()
            return
        if kind < 0.08:
            self.look(offset, length)
            return
        op = Op(offset, length, trim=kind > 0.85)
        self.ops.append(op)
        try:
            content = self.send(op, kind)
        except NbdError:
            # The old data could not be saved: then nothing was written.
            check(self.disk.may_fail, f'{self.disk.node}: a request failed')
            op.trim = True
            content = self.nbd.read(offset, length)
            check(content == self.disk.data[offset:offset + length],
                  'a request failed, and changed data')
        with self.disk.lock:
            op.content = content
            self.disk.data[offset:offset + length] = content
            self.finished += 1

    def send(self, op, kind):
        offset, length = op.offset, op.length
        if op.trim:
            content = self.trim(offset, length)
        elif kind > 0.65:
            content = bytes(length)
            self.nbd.write_zeroes(offset, length, self.rng.random() < 0.3)
        elif kind > 0.62:
            content = self.hang_up(op)
        else:
            content = bytes([self.rng.randrange(1, 256)]) * length
            self.nbd.write(offset, content, self.rng.random() < 0.05)
        return content

    def hang_up(self, op):
        """Go away without waiting for the answer, or within the request."""
        data = bytes([self.rng.randrange(1, 256)]) * op.length
        whole = self.rng.random() < 0.5
        sent = data if whole else data[:self.rng.randrange(op.length)]
        self.nbd.send_request(CMD_WRITE, op.offset, op.length, 0, sent)
        self.nbd.sock.shutdown(socket.SHUT_WR)
        self.nbd.drain()
        self.connect()
        op.trim = True
        content = self.nbd.read(op.offset, op.length)
        old = self.disk.data[op.offset:op.offset + op.length]
        check(content == old or (whole and content == data),
              'a request that was broken off wrote something else')
        return content

    def look(self, offset, length):
        check(self.nbd.read(offset, length)
              == self.disk.data[offset:offset + length],
              f'{self.disk.node}: a read at {offset} + {length} is wrong')

    def trim(self, offset, length):
        """Each byte is what it was, or zero."""
        old = self.disk.data[offset:offset + length]
        self.nbd.trim(offset, length)
        new = self.nbd.read(offset, length)
        if new != old:
            check(all(b == 0 or a == b for a, b in zip(old, new)),
                  f'trim at {offset} + {length} brought other data')
        return new


class Snapshot:
    """What the disk may hold at a moment between two looks.

    A client sends one request at a time, and none is split by the start of a
    job: for each client some number of the requests in question came before.
    """

    def __init__(self, disk):
        self.disk = disk
        with disk.lock:
            self.data = bytes(disk.data)
            self.low = [w.finished for w in disk.writers]
        self.high = None

    def over(self):
        with self.disk.lock:
            self.high = [len(w.ops) for w in self.disk.writers]

    def differs(self, content):
        """Where the content is none that the disk may have had, or None."""
        state = bytearray(self.data)
        if len(content) != len(state):
            return f'length {len(content)}, not {len(state)}'
        for writer, low, high in zip(self.disk.writers, self.low, self.high):
            self._choose(state, writer.ops[low:high], content)
        if state == content:
            return None
        wrong = [i for i in range(0, len(state), 512)
                 if state[i:i + 512] != content[i:i + 512]]
        i = wrong[0]
        return f'{len(wrong)} sectors from {i}: {bytes(state[i:i + 8])} ' \
            f'expected, {bytes(content[i:i + 8])} found'

    @staticmethod
    def _choose(state, ops, content):
        """Apply so many of the requests that it fits."""
        spans = [(op.offset, op.offset + op.length) for op in ops]

        def fits():
            return all(state[a:b] == content[a:b] for a, b in spans)

        for op in ops:
            if fits():
                return
            state[op.offset:op.offset + op.length] = op.content


class WrittenDisk:
    """An exported node, and clients that write to it until stop()."""

    def __init__(self, qsd, node, size, clients, seed, stripes=100,
                 data=None):
        self.qsd = qsd
        self.node = node
        self.size = size
        self.data = data or bytearray(size)
        self.lock = threading.Lock()
        self.gate = Gate()
        self.clients = clients
        self.stripes = stripes
        self.may_fail = False
        self.writers = []
        for i in range(clients):
            self.writers.append(Writer(self, i, seed * 100 + i))

    def start(self):
        for writer in self.writers:
            writer.start()
        self.gate.release()

    def some_writes(self, count):
        """Let so many more come to their end."""
        goal = sum(w.finished for w in self.writers) + count
        deadline = time.monotonic() + iotests.TIMEOUT
        while sum(w.finished for w in self.writers) < goal:
            self.check_writers()
            check(time.monotonic() < deadline, 'the writers hang')
            time.sleep(0.002)

    def check_writers(self):
        for writer in self.writers:
            if writer.error:
                raise writer.error

    def stop(self):
        for writer in self.writers:
            writer.stop = True
        self.gate.release()
        for writer in self.writers:
            writer.join(iotests.TIMEOUT)
            check(not writer.is_alive(), 'a writer hangs')
        self.check_writers()
