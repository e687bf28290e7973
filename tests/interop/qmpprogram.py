# SPDX-License-Identifier: GPL-2.0-or-later
"""A program with a QMP monitor, ours or the peer's, and its schema."""
import json
import os
import select
import subprocess
import sys


class Program:
    """A program with a monitor on standard input and output."""

    def __init__(self, kind, folder, work, machine='q35', more=()):
        """@folder: of the program; @work: in which it runs; @more: words."""
        self.work = work
        if kind == 'daemon':
            self.argv = [os.path.join(folder, 'qemu-storage-daemon'),
                         '--chardev', 'stdio,id=c', '--monitor', 'c', *more]
        else:
            argv = ['-nodefaults', '-S', '-display', 'none', '-qmp', 'stdio',
                    *more]
            ours = os.path.join(folder, 'qemu-system-qtest')
            self.argv = [ours, *argv] if os.path.exists(ours) else \
                [os.path.join(folder, 'qemu-system-x86_64'), '-accel', 'tcg',
                 '-machine', machine, *argv]
        self.process = None
        self.start()

    def start(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.buffer = b''
        self.events = []
        self.process = subprocess.Popen(
            self.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd=self.work)
        if self.read() is None:
            sys.exit('%s does not start' % self.argv[0])
        self.call('qmp_capabilities')

    def read(self, timeout=10):
        """The next object; None at the end or after a while."""
        while b'\n' not in self.buffer:
            fd = self.process.stdout.fileno()
            if not select.select([fd], [], [], timeout)[0]:
                return None
            data = os.read(fd, 1 << 20)
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b'\n', 1)
        try:
            return json.loads(line)
        except ValueError:
            return self.read(timeout) # "Formatting ..."

    def raw(self, text):
        """The answer to @text; events are put aside."""
        try:
            self.process.stdin.write(text.encode() + b'\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        while True:
            answer = self.read()
            if answer is None:
                status = self.process.poll()
                self.start()
                return {'died': status}
            if 'event' not in answer:
                return answer
            self.events.append(answer)

    def call(self, name, arguments=None):
        command = {'execute': name}
        if arguments is not None:
            command['arguments'] = arguments
        return self.raw(json.dumps(command))

    def end(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()


class Schema:
    def __init__(self, program):
        entities = program.call('query-qmp-schema')['return']
        self.by_name = {e['name']: e for e in entities}
        self.commands = {e['name']: e for e in entities
                         if e['meta-type'] == 'command'}

    def members(self, name):
        return {m['name']: m for m in self.by_name[name].get('members', [])}

    def value(self, name, path='', depth=0):
        """A value that the type @name takes."""
        e = self.by_name[name]
        kind = e['meta-type']
        if kind == 'builtin':
            return {'string': 'nosuch', 'int': 1, 'number': 1,
                    'boolean': False, 'null': None, 'value': 'any',
                    }.get(e['json-type'])
        if kind == 'enum':
            return e['values'][0]
        if kind == 'array':
            return []
        if kind == 'alternate':
            return self.value(e['members'][0]['type'], path, depth + 1)
        if depth > 5:
            return {}
        result = {n: self.value(m['type'], n, depth + 1)
                  for n, m in self.members(name).items()
                  if 'default' not in m}
        if 'tag' in e:
            for v in e['variants']:
                if v['case'] == result.get(e['tag']):
                    more = self.value(v['type'], path, depth + 1)
                    result.update(more if isinstance(more, dict) else {})
        return result

    def wrong(self, name):
        """Values that the type @name does not take, or hardly."""
        e = self.by_name[name]
        kind = e['meta-type']
        if kind == 'builtin':
            return {'string': [1, '', None, 'a\u00e9 b'],
                    'int': ['x', -1, 1 << 63, (1 << 63) - 1, 1.5, True, 0],
                    'number': ['x', True, -1], 'boolean': ['on', 1, None],
                    'null': [1], 'value': [],
                    }.get(e['json-type'], [])
        if kind == 'enum':
            return ['nonsense', 1, '', *e['values'][1:3]]
        if kind == 'array':
            return [1, 'x', {}, [None]]
        if kind == 'alternate':
            return [[], None]
        return [1, 'x', [], {'nosuch': 1}]

    def only_known(self, value, name):
        """@value, of the type @name, but for members that the type lacks."""
        e = self.by_name[name]
        if e['meta-type'] == 'array' and isinstance(value, list):
            return [self.only_known(v, e['element-type']) for v in value]
        if e['meta-type'] == 'alternate':
            for m in e['members']:
                found = self.only_known(value, m['type'])
                if isinstance(value, dict) and found:
                    return found
            return value
        if e['meta-type'] != 'object' or not isinstance(value, dict):
            return value
        types = {m['name']: m['type'] for m in e['members']}
        for v in e.get('variants', ()):
            if v['case'] == value.get(e['tag']):
                types.update({m['name']: m['type'] for m in
                              self.by_name[v['type']].get('members', ())})
        return {k: self.only_known(v, types[k]) for k, v in value.items()
                if k in types}
