# SPDX-License-Identifier: GPL-2.0-or-later
#
# Two machines, one of which migrates to the other, and a relay between them
# that can cut the connection.

import contextlib
import os
import select
import socket
import threading

import iotests
from environment import SOCK_DIR
from iotests import image_node
from vm import VM

MACHINE_SECTION = b'\5timer'         # what follows the bitmaps
OVER = ('completed', 'failed', 'cancelled')


def sock(name):
    return os.path.join(SOCK_DIR, name)


class Relay:
    """Forwards one connection; cuts it once `cut` bytes have passed.

    `sent` and `answered` have the bytes of both directions.  `before_end` is
    called when the source has given up its images and before the destination
    knows, and cuts the connection if it returns True; `on_answer` before the
    source gets an answer to that.  Nothing is forwarded while `flowing` is
    clear.
    """

    before_end = on_answer = source = None

    def __init__(self, path, target, cut=None):
        self.sent, self.answered, self.cut = bytearray(), bytearray(), cut
        self.path, self.target = path, target
        self.accepted, self.flowing = threading.Event(), threading.Event()
        self.flowing.set()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        source, _ = self.listener.accept()
        self.source = source
        self.accepted.set()
        dest = socket.socket(socket.AF_UNIX)
        dest.connect(self.target)
        with source, dest:
            live = {source: dest, dest: source}
            while live:
                ready, _, _ = select.select(list(live), [], [], 30)
                if not ready or not all(self._pass(s, source, dest, live)
                                        for s in ready):
                    return

    def disconnect(self):
        """Whatever the source sends from now on fails."""
        self.accepted.wait()
        self.source.shutdown(socket.SHUT_RDWR)

    def _pass(self, one, source, dest, live):
        other = dest if one is source else source
        self.flowing.wait()
        try:
            data = one.recv(65536)
            if one is source:
                self.sent += data
                if self.before_end and MACHINE_SECTION in data and \
                        self.before_end():
                    return False
                if self.cut is not None and len(self.sent) >= self.cut:
                    over = len(self.sent) - self.cut
                    other.sendall(data[:len(data) - over])
                    return False
            else:
                self.answered += data
                if self.on_answer and MACHINE_SECTION in self.sent:
                    self.on_answer()
            if data:
                other.sendall(data)
            else:
                other.shutdown(socket.SHUT_WR)
        except OSError:
            data = b''
        if not data:
            del live[one]
        return True


def machine(*nodes, incoming=None, stopped=False, **kwargs):
    """A machine of type none with these nodes (dicts), with capability
    events."""
    vm = VM(machine='none', stopped=stopped, **kwargs)
    for node in nodes:
        vm.add_blockdev(node)
    if incoming:
        vm.add_incoming(incoming)
    return vm


def disk(path, node='disk', fmt='qcow2'):
    return image_node(node, path, fmt=fmt)


def capabilities(vm, *names, on=True):
    vm.cmd('migrate-set-capabilities', capabilities=[
        {'capability': name, 'state': on} for name in names])


def status(vm):
    return vm.cmd('query-migrate').get('status', 'none')


def wait_over(vm):
    """The status in which the migration of `vm` ends."""
    def last():
        return vm.event('MIGRATION')['data']['status']

    now = last()
    while now not in OVER:
        now = last()
    return now


def bitmaps(vm, node='disk'):
    """{name: information} of a node; without successors, which have none."""
    for info in vm.cmd('query-named-block-nodes', flat=True):
        if info['node-name'] == node:
            return {b['name']: b for b in info.get('dirty-bitmaps', [])
                    if 'name' in b}
    return None


def digest(vm, name, node='disk'):
    return vm.cmd('x-debug-block-dirty-bitmap-sha256', node=node,
                  name=name)['sha256']


def guest_io(vm, command, node='disk'):
    """A request as a device of the machine would make it."""
    vm.cmd('human-monitor-command',
           command_line=f'qemu-io {node} "{command}"')


@contextlib.contextmanager
def two(source, dest, *caps, cut=None):
    """Both run, with capabilities; yields the relay, whose `uri` is for
    migrate."""
    with source, dest:
        for vm in (source, dest):
            capabilities(vm, 'events', *caps)
        dest.cmd('migrate-incoming', uri='unix:' + sock('incoming'))
        relay = Relay(sock('relay'), sock('incoming'), cut)
        relay.uri = 'unix:' + relay.path
        yield relay


def event_names(vm):
    """What the machine has told about runs and migrations, in words."""
    words = []
    for event in vm.client.take_events():
        if event['event'] == 'MIGRATION':
            words.append(event['data']['status'])
        elif event['event'] == 'MIGRATION_PASS':
            words.append(f"pass {event['data']['pass']}")
        elif event['event'] in ('STOP', 'RESUME',
                                'MIGRATION_BITMAP_DROPPED'):
            words.append(event['event'])
    return words
