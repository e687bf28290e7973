#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives QMP commands to the programs of this tree and to the installed peer
and compares what they answer.

Usage: qmp-compare.py BUILD-FOLDER [PEER-FOLDER] [-v] [daemon|machine]
                      [COMMAND...]

For every command that both have, arguments are made from its schema: none, all
that must be, each of these missing, each of another type, an empty string, a
name that is none, numbers at the ends of their range, a member too many.  Of an
error its class and text count, of an answer which members of which type it has.
So it is with the scenarios: qmp-scenarios/*.txt, a command and its arguments a
line; machine*.txt have commands that the peer's daemon lacks.  That our program ends, or does not answer, is never as it should be.

Ends with 1 where something differs, or where a difference that is said to be
known was not met (of all commands), with 77 (skipped) where there is no peer.
"""
import json
import os
import re
import select
import subprocess
import sys
import tempfile

import peercompare

HERE = os.path.dirname(os.path.realpath(__file__))

# Commands that are not called: they end the program, wait, or are about
# hardware that a machine without processors does not have.
SKIPPED = {
    'quit', 'qmp_capabilities', 'query-qmp-schema', 'query-commands',
    'system_powerdown', 'system_reset', 'system_wakeup', 'stop', 'cont',
    'human-monitor-command', 'inject-nmi', 'query-version', 'query-cpus-fast',
    'query-machines', 'query-command-line-options', 'device-list-properties',
    'query-chardev-backends',
}

# What is known to differ: how the command with its arguments begins, and its
# name in docs/interop/differences.rst.
KNOWN = [
    ('.*"on-cbw-error"', 'after-7.2'),
    ('(drive|blockdev)-mirror .*"bitmap(-mode)?"', 'mirror-bitmaps'),
    ('.*"(checkpoint-interval|allow-other-target)"', 'resume'),
    ('block-dirty-bitmap-add .*"safety"', 'safety'),
    ('blockdev-add .*"driver": "tracked"', 'tracked'),
    ('block-dirty-bitmap-add .*"f0".*"persistent": true',
     'bitmap-to-store'),
    ('blockdev-mirror .*"target-is-zero"', 'after-7.2'),
    ('blockdev-add .*"active"', 'after-7.2'),
    ('block-export-add .*"allow-inactive"', 'after-7.2'),
    ('blockdev-reopen {"options": \\[\\]}', 'reopen-empty'),
    ('block-set-write-threshold .* -1}', 'write-threshold-negative'),
    ('nbd-server-start .*tls-', 'tls-first'),
    ('query-(cpu-definitions|hotpluggable-cpus|memdev|mice|pci|tpm-.*)',
     'no-processors'),
    ('query-memory-size-summary', 'no-memory-hotplug'),
    ('(block|device_del|eject).*"id": ""',
     'empty-id'),
    ('getfd .*""', 'empty-fdname'),
    ('device_add .*"id": "(|a.u00e9 b)"', 'model-first'),
    ('blockdev-insert-medium .*"node-name": ', 'node-first'),
    ('blockdev-add .*"node-name": "c[01]"', 'copy-on-read-ro'),
    ('blockdev-reopen .*"(aio|file": {)', 'reopen-more'),
    ('blockdev-reopen .*"driver": "qcow2", "file": "n0"',
     'reopen-qcow2-file'),
    ('blockdev-add .*"file": "nosuch"', 'own-name-first'),
    ('(x-blockdev-set-iothread .*"n1".*"force"|block-export-add .*"e2".*"fixed)',
     'fixed-iothread-named'),
    ('chardev-.*"id": "(|a.u00e9 b)"', 'chardev-names'),
    ('(migrate-set-parameters .*"bitmaps-dropped"|query-migrate-parameters)',
     'bitmaps-dropped'),
    ('migrate-set-parameters .*"multifd-compression": "z', 'multifd'),
    ('migrate-set-parameters {"[a-z-]+": (-1|0|1|922.*)}', 'parameter-names'),
]


class Program:
    """A program with a monitor on standard input and output."""

    def __init__(self, kind, folder, work):
        self.work = work
        if kind == 'daemon':
            self.argv = [os.path.join(folder, 'qemu-storage-daemon'),
                         '--chardev', 'stdio,id=c', '--monitor', 'c']
        else:
            argv = ['-nodefaults', '-S', '-display', 'none', '-qmp', 'stdio']
            ours = os.path.join(folder, 'qemu-system-qtest')
            self.argv = [ours, *argv] if os.path.exists(ours) else \
                [os.path.join(folder, 'qemu-system-x86_64'), '-accel', 'tcg',
                 '-machine', 'q35', *argv]
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


# --- arguments from the schema ---

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


def argument_sets(schema, command):
    """(what it shows, arguments) for @command."""
    e = schema.commands[command]
    argument = e['arg-type']
    members = schema.members(argument)
    good = schema.value(argument)
    yield 'none', None
    yield 'no object', 'x'
    yield 'an extra', dict(good, nosuch=1)
    yield 'good', good
    for name in good:
        yield 'without ' + name, {k: v for k, v in good.items() if k != name}
    for name, m in members.items():
        if 'default' in m:
            yield 'with ' + name, dict(good, **{name: schema.value(m['type'])})
        for value in schema.wrong(m['type']):
            yield 'wrong ' + name, dict(good, **{name: value})
    tag = schema.by_name[argument].get('tag')
    for v in schema.by_name[argument].get('variants', []):
        with_tag = dict(good, **{tag: v['case']})
        yield 'variant', with_tag
        yield 'full variant', dict(with_tag, **schema.value(v['type']))


def shape(value):
    """Members and types of @value; without those of nodes that came later."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in sorted(value.items())
                if k != 'active' or 'detect_zeroes' not in value}
    if isinstance(value, list):
        shapes = {json.dumps(shape(v), sort_keys=True) for v in value}
        return [json.loads(s) for s in sorted(shapes)]
    return type(value).__name__


def outcome(answer):
    """What of @answer counts where arguments are made up."""
    if 'error' in answer:
        return {'error': answer['error']}
    if 'return' in answer:
        return {'return': shape(answer['return'])}
    return answer


# --- comparing ---

class Comparison(peercompare.Comparison):
    def __init__(self):
        super().__init__()
        self.kind = None  # of the programs
        self.met = set()  # patterns of KNOWN

    def look(self, text, peer, ours):
        title = '%s: %s' % (self.kind, text)
        if peer == ours and 'died' not in ours:
            self.same(title)
            return
        known = [p for p, _ in KNOWN if re.match(p, text)]
        self.met.update(known)
        if known and 'died' not in ours:
            self.same(title + ' (but for what is known)')
        else:
            self.differs(title, *(json.dumps(side, sort_keys=True)
                                  for side in (peer, ours)))

    def check_known(self):
        for pattern, name in KNOWN:
            if pattern not in self.met:
                self.not_any_more('%s (%s)' % (pattern, name))
            if name not in peercompare.differences():
                self.differs(name, 'is not in differences.rst', '')


SETUP = [
    ('blockdev-add', {'driver': 'null-co', 'node-name': 'n0',
                      'size': 1 << 20, 'read-zeroes': True}),
    ('object-add', {'qom-type': 'iothread', 'id': 'io0'}),
]


def setup(program):
    for name, arguments in SETUP:
        answer = program.call(name, arguments)
        if 'return' not in answer:
            sys.exit('%s: %s: %s' % (program.argv[0], name, answer))


def compare_arguments(programs, comparison, only):
    schemas = [Schema(p) for p in programs]
    for p in programs:
        setup(p)
    for command in sorted(schemas[0].commands):
        if command not in schemas[1].commands or \
           (only and command not in only) or (not only and
                                              command in SKIPPED):
            continue
        seen = set()
        for _, arguments in argument_sets(schemas[1], command):
            text = json.dumps(arguments)
            if text in seen:
                continue
            seen.add(text)
            answers = [outcome(p.call(command, arguments)) for p in programs]
            comparison.look('%s %s' % (command, text), *answers)
            if any('died' in a for a in answers):
                for p in programs:
                    p.start()
                    setup(p)


def concluded(events):
    return any(e['event'] == 'JOB_STATUS_CHANGE' and
               e['data']['status'] == 'concluded' for e in events)


def run_line(program, command, arguments):
    """The answer; jobs that work on images are waited for."""
    program.events = []
    answer = program.call(command, arguments)
    waits = command in ('blockdev-create', 'x-blockdev-amend')
    while waits and 'return' in answer and not concluded(program.events):
        event = program.read(5)
        if event is None:
            break
        program.events.append(event)
    return outcome(answer)


def compare_scenarios(programs, comparison):
    scenarios = peercompare.read_scenarios(os.path.join(HERE,
                                                        'qmp-scenarios'))
    for name, lines in scenarios.items():
        if name.startswith('machine') and comparison.kind != 'machine':
            continue
        for p in programs:
            p.start()
        for line in lines:
            command, _, text = line.partition(' ')
            arguments = json.loads(text) if text else None
            comparison.look('%s %s' % (command, json.dumps(arguments)),
                            *[run_line(p, command, arguments)
                              for p in programs])


def compare_kind(comparison, folders, only):
    """@folders: the peer's programs, ours."""
    before = comparison.total
    with tempfile.TemporaryDirectory(prefix='qmp-compare-') as top:
        programs = []
        for side, folder in zip(('peer', 'ours'), folders):
            work = os.path.join(top, side)
            os.mkdir(work)
            programs.append(Program(comparison.kind, folder, work))
        compare_arguments(programs, comparison, only)
        if not only:
            compare_scenarios(programs, comparison)
        for p in programs:
            p.end()
    print('%s: %d calls' % (comparison.kind, comparison.total - before))


def main():
    ours, peer, words = peercompare.command_line(
        __doc__, 'qemu-storage-daemon', 'qemu-system-x86_64')
    kinds = [w for w in words if w in ('daemon', 'machine')]
    only = [w for w in words if w not in kinds]
    comparison = Comparison()
    for kind in kinds or ('daemon', 'machine'):
        comparison.kind = kind
        compare_kind(comparison, (peer, ours), only)
    if not words:
        comparison.check_known()
    comparison.end('calls')


if __name__ == '__main__':
    main()
