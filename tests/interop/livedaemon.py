# SPDX-License-Identifier: GPL-2.0-or-later
"""A qemu-storage-daemon, ours or the peer's, with one disk for a client."""
import json
import os
import select
import subprocess
import time


class Failed(Exception):
    """A command that had to succeed did not."""


class Daemon:
    """The disk is the node .top, which is exported at .uri."""

    def __init__(self, programs, folder, done):
        self.folder, self.done, self.serial = folder, done, 0
        self.top, self.nodes = None, []
        socket = os.path.join(folder, 'nbd.sock')
        self.uri = f'nbd+unix:///disk?socket={socket}'
        self.socket = socket
        self.pending = b''
        self.events = []
        self.process = subprocess.Popen(
            [os.path.join(programs, 'qemu-storage-daemon'), '--chardev',
             'stdio,id=m', '--monitor', 'm'], cwd=folder, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL)

    def __enter__(self):
        self.receive(lambda m: 'QMP' in m)
        self.cmd('qmp_capabilities')
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.cmd('quit')
        else:
            self.process.kill()
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process.stdin.close()
            self.process.stdout.close()
        if kind is None and status:
            raise Failed(f'the daemon ended with status {status}')

    # QMP

    def line(self, deadline):
        while b'\n' not in self.pending:
            left = deadline - time.monotonic()
            ready = select.select([self.process.stdout], [], [], max(left, 0))
            data = ready[0] and os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise Failed('no answer' if not ready[0] else 'it ended')
            self.pending += data
        line, _, self.pending = self.pending.partition(b'\n')
        return json.loads(line)

    def receive(self, wanted):
        """The next message that is @wanted; events that are not are kept."""
        for event in self.events:
            if wanted(event):
                self.events.remove(event)
                return event
        deadline = time.monotonic() + 60
        while True:
            message = self.line(deadline)
            if wanted(message):
                return message
            if 'event' in message:
                self.events.append(message)

    def cmd(self, name, /, **arguments):
        command = {'execute': name}
        if arguments:
            command['arguments'] = arguments
        if name not in ('qmp_capabilities', 'query-jobs'):
            self.done.append('  ' + json.dumps(command))
        self.process.stdin.write(json.dumps(command).encode() + b'\n')
        answer = self.receive(lambda m: 'return' in m or 'error' in m)
        if 'error' in answer:
            raise Failed(f'{name}: {answer["error"]["desc"]}')
        return answer['return']

    def await_job(self, name):
        """Until it is concluded, and that without an error."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            jobs = [j for j in self.cmd('query-jobs') if j['id'] == name]
            status = jobs[0]['status'] if jobs else 'null'
            if status == 'ready':
                self.cmd('job-complete', id=name)
            elif status == 'concluded':
                if 'error' in jobs[0]:
                    raise Failed(f'{name}: {jobs[0]["error"]}')
                self.cmd('job-dismiss', id=name)
                return
            elif status == 'null':
                raise Failed(f'{name}: there is no such job')
            time.sleep(0.01)
        raise Failed(f'{name} does not end')

    def job(self, command, key, **arguments):
        self.serial += 1
        name = f'job{self.serial}'
        self.cmd(command, **{key: name, 'auto-dismiss': False}, **arguments)
        self.await_job(name)

    # The disk

    def node_of(self, path):
        """Arguments of blockdev-add."""
        self.serial += 1
        return {'driver': 'qcow2', 'node-name': f'node{self.serial}',
                'discard': 'unmap',
                'file': {'driver': 'file', 'filename': path}}

    def open_disk(self, path):
        node = self.node_of(path)
        self.cmd('blockdev-add', **node)
        self.top = node['node-name']
        self.nodes.append(self.top)
        self.cmd('nbd-server-start', addr={'type': 'unix', 'data': {
            'path': self.socket}})
        self.export()

    def export(self):
        self.cmd('block-export-add', type='nbd', id='disk', name='disk',
                 **{'node-name': self.top}, writable=True)

    def add_overlay(self, path, below):
        node = self.node_of(path)
        self.cmd('blockdev-add', **node, backing=None)
        self.cmd('blockdev-snapshot', node=below, overlay=node['node-name'])
        self.top = node['node-name']
        self.nodes.append(self.top)

    def commit(self):
        """The lowest image takes the place of the disk."""
        self.job('block-commit', 'job-id', device=self.top)
        top = self.top
        self.top = self.cmd('query-block-exports')[0]['node-name']
        for node in reversed(self.nodes):
            if node != self.top:
                self.cmd('blockdev-del', **{'node-name': node})
        self.nodes = [node for node in self.nodes if node == self.top]
        assert top != self.top

    def keeps_top(self):
        """Is the disk's node there without the export, too?"""
        return self.top in self.nodes

    def resize(self, size):
        """Exports do not allow that."""
        self.cmd('block-export-del', id='disk')
        self.receive(lambda m: m.get('event') == 'BLOCK_EXPORT_DELETED')
        self.cmd('block_resize', **{'node-name': self.top}, size=size)
        self.export()

    def backup(self, path):
        node = self.node_of(path)
        self.cmd('blockdev-add', **node)
        self.job('blockdev-backup', 'job-id', device=self.top,
                 target=node['node-name'], sync='full')
        self.cmd('blockdev-del', **{'node-name': node['node-name']})
