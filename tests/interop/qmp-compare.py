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
import sys
import tempfile

import peercompare
from qmpprogram import Program, Schema

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

DONE = r'^{"return": {}}$'
NOT_FOUND = '"Cannot find device='

# What is known to differ: how the command with its arguments begins, what the
# peer's answer and ours have, and its name in docs/interop/differences.rst.
KNOWN = [
    ('.*"on-cbw-error"', "'on-cbw-error' is unexpected",
     f"'on-cbw-error'|{NOT_FOUND}", 'after-7.2'),
    ('(drive|blockdev)-mirror .*"bitmap(-mode)?"',
     "'bitmap(-mode)?' is unexpected", f"'bitmap(-mode)?'|{NOT_FOUND}",
     'mirror-bitmaps'),
    ('.*"checkpoint-interval"', "'checkpoint-interval' is unexpected",
     f"'checkpoint-interval'|{NOT_FOUND}", 'resume'),
    ('.*"allow-other-target"', "'allow-other-target' is unexpected",
     f"'allow-other-target'|{NOT_FOUND}", 'resume'),
    ('block-dirty-bitmap-add .*"safety"', "'safety' is unexpected",
     f"'safety'|{NOT_FOUND}", 'safety'),
    ('blockdev-add .*"driver": "tracked"', "not accept value 'tracked'",
     r"Parameter 'file(\.image\.image)?' is missing", 'tracked'),
    ('block-dirty-bitmap-add .*"f0".*"persistent": true',
     'bitmaps to f0: Operation not supported"',
     "bitmaps to f0: Operation not supported: a node of driver 'tracked'",
     'bitmap-to-store'),
    ('blockdev-mirror .*"target-is-zero"', "'target-is-zero' is unexpected",
     f"'target-is-zero'|{NOT_FOUND}", 'after-7.2'),
    ('blockdev-add .*"active"', "'image.image.driver' is missing",
     "Invalid parameter type for 'active'", 'after-7.2'),
    ('block-export-add .*"allow-inactive"', "'allow-inactive' is unexpected",
     f"'allow-inactive'|{NOT_FOUND}", 'after-7.2'),
    ('blockdev-reopen {"options": \\[\\]}', '"died"', DONE, 'reopen-empty'),
    ('block-set-write-threshold .* -1}', "Device 'nosuch' not found",
     "'write-threshold' expects uint64", 'negative-sizes'),
    ('nbd-server-start .*tls-', 'address resolution failed',
     'No TLS credentials with id|TLS authorization object', 'tls-first'),
    ('query-(cpu-definitions|hotpluggable-cpus|memdev|mice|pci|tpm-.*)',
     r'^{"return": \[.+\]}$', r'^{"return": \[\]}$', 'no-processors'),
    ('query-memory-size-summary', '"plugged-memory"',
     '^{"return": {"base-memory": "int"}}$', 'no-memory-hotplug'),
    ('(block|device_del|eject).*"id": ""', '" is not a hotpluggable device',
     "Device '' not found", 'empty-id'),
    ('getfd .*""', 'No file descriptor supplied', "'fdname' expects a name",
     'empty-fdname'),
    ('device_add .*"id": "(|a.u00e9 b)"', "'id' expects an identifier",
     "'nosuch' is not a valid device model name", 'model-first'),
    ('blockdev-insert-medium .*"node-name": ',
     "Device '.*' not found|is not a hotpluggable device",
     "Node '.*' not found", 'node-first'),
    ('blockdev-add .*"node-name": "c[01]"',
     "Block node is read-only|node-name='c0'", DONE, 'copy-on-read-ro'),
    ('blockdev-reopen .*"(aio|file": {)',
     r"Cannot change the option '(aio|file\.driver)'", DONE, 'reopen-more'),
    ('blockdev-reopen .*"driver": "qcow2", "file": "n0"', DONE,
     "'q0' .* cannot have its 'file' child changed", 'reopen-format-file'),
    ('blockdev-add .*"file": "nosuch".*"q1"', "node-name='nosuch'",
     "Duplicate nodes with node-name='q1'", 'own-name-first'),
    ('(x-blockdev-set-iothread .*"n1".*"force"|block-export-add .*"e2".*"fixed)',
     'Cannot change iothread of active block backend',
     "Cannot move node 'n1' to another thread: .* is used by",
     'fixed-iothread-named'),
    ('chardev-.*"id": "(|a.u00e9 b)"', DONE,
     'does not exist"|not found"|expects an identifier"', 'chardev-names'),
    ('migrate-set-parameters .*"bitmaps-dropped"',
     "'bitmaps-dropped' is unexpected", f"'bitmaps-dropped'|{DONE}",
     'bitmaps-dropped'),
    ('migrate-set-parameters .*"multifd-compression": "z', DONE,
     "'multifd-compression' expects none", 'multifd'),
    ('migrate-set-parameters {"[a-z-]+": (-1|0|1|922.*)}',
     r"Parameter '\w+' expects|" + DONE, "Parameter '[a-z-]+' expects",
     'parameter-names'),
]


# --- arguments from the schema ---

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
    """Members and types of @value; without those of nodes that came later, and
    our parameter of migration."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in sorted(value.items())
                if (k != 'active' or 'detect_zeroes' not in value) and
                k != 'bitmaps-dropped'}
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
        self.met = set()  # of KNOWN

    def look(self, text, peer, ours):
        title = '%s: %s' % (self.kind, text)
        if peer == ours and 'died' not in ours:
            self.same(title)
            return
        sides = [json.dumps(side, sort_keys=True) for side in (peer, ours)]
        known = [known for known in KNOWN if re.match(known[0], text) and
                 all(map(re.search, known[1:3], sides))]
        self.met.update(known)
        if known and 'died' not in ours:
            self.same(title + ' (but for what is known)')
        else:
            self.differs(title, *sides)

    def check_known(self):
        for known in KNOWN:
            name = known[-1]
            if known not in self.met:
                self.not_any_more('%s (%s)' % (known[0], name))
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
