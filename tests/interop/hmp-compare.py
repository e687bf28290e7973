#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Gives lines to the human monitor on standard input of our machine and of the
installed peer's and compares what comes back, byte for byte.

Usage: hmp-compare.py BUILD-FOLDER [PEER-FOLDER] [-v] [NAME...]

Ends with 1 where something differs, with 77 (skipped) where there is no peer.

Scenarios are hmp-scenarios/NAME.txt: '$ WORDS' is given to a shell, '@ WORDS'
starts a machine with these options, 'qmp JSON' asks through a QMP monitor
beside it ('qmp' alone: shows the events so far), any other line goes to the
human monitor.  What is known to differ begins with '!NAME /PATTERN/ ', of
docs/interop/differences.rst; PATTERN is in our answer, and that it does not differ
any more is reported; of '~' nothing is compared; '#' begins a comment.  A line that
no machine is there for, or that is not answered, counts as one that differs.

Not compared at all: the words that explain a command, versions, generated
names, times and rates, sizes of what a machine with memory keeps of itself.
"""
import json
import os
import re
import select
import shlex
import socket
import subprocess
import tempfile

import peercompare

HERE = os.path.dirname(os.path.realpath(__file__))
PROMPT = b'(qemu) '
GONE, NO_PROMPT = '<gone>', '<no prompt>'

# What is never the same: generated names, addresses, times.
VOLATILE = [
    (r'(\d+(\.\d+)? [KMGT]?i?B) (DATE|\d{4}-)', r'SIZE \3'),
    (r'disk size: .*?(?=\r)', 'disk size: N'),
    (r'vm-\d{14}', 'vm-DATE'), (r' +SIZE', ' SIZE'),
    (r'#block\d+', '#blockN'),
    (r'0x[0-9a-f]{6,}', '0xADDR'),
    (r'_ns=\d+', '_ns=T'),
    (r'thread[_-]id"?[=:] ?\d+', 'thread-id=N'),
    (r'\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d', 'DATE'),
    (r'\d\d:\d\d:\d\d\.\d\d\d', 'CLOCK'),
    (r'\d+(\.\d+)?( [KMGTE]i?B| bytes)?/sec', 'RATE'),
    (r' \d+\.\d+ (sec|ops)', ' T'), (r'; \d\d\.\d\d sec', '; T'),
    (r'\d+\.\d+ ops/sec', 'OPS'),
    (r'"(micro)?seconds": \d+', '"TIME'),
    (r'\d+:\d+:\d+\.\d+', 'CLOCK'),
    # Each explains its commands in its own words, and has its own version.
    (r' -- [^\r"]+', ' -- TEXT'), (r'7\.2\.\d+[^\r"]*', 'VERSION'),
]


class Machine:
    """A machine with a human monitor on stdin and stdout, QMP on a socket."""

    def __init__(self, program, accel, options, work):
        self.work = work
        ours, theirs = socket.socketpair()
        self.qmp = ours.makefile('rw', encoding='utf-8')
        fd = theirs.fileno()
        os.set_inheritable(fd, True)
        self.out = b''
        self.process = subprocess.Popen(
            [program, '-accel', accel, '-nodefaults', '-display', 'none',
             '-machine', 'q35', '-monitor', 'stdio',
             '-chardev', 'socket,id=ask,fd=%d' % fd,
             '-mon', 'ask,mode=control'] + shlex.split(options),
            cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, close_fds=False)
        theirs.close()
        self.socket = ours
        self.events = []
        ours.settimeout(10)
        self.first = self.until_prompt()
        if '<end' not in self.first and self.qmp.readline():
            self.ask({'execute': 'qmp_capabilities'})

    def until_prompt(self, timeout=10):
        out = b''
        while not out.endswith(PROMPT):
            fd = self.process.stdout.fileno()
            if not select.select([fd], [], [], timeout)[0]:
                out += NO_PROMPT.encode()
                break
            data = os.read(fd, 65536)
            if not data:
                out += b'<end: %d>' % self.process.wait()
                break
            out += data
        return out.decode(errors='replace').replace(self.work, 'DIR')

    def line(self, text):
        try:
            self.process.stdin.write(text.encode() + b'\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            return GONE
        return self.until_prompt()

    def ask(self, command):
        self.qmp.write(json.dumps(command) + '\n')
        self.qmp.flush()
        while True:
            answer = json.loads(self.qmp.readline())
            if 'event' not in answer:
                return answer
            self.events.append(answer)

    def query(self, text):
        """The answer to the QMP command @text, or the events till now."""
        if self.process.poll() is not None:
            return GONE
        if not text:
            self.ask({'execute': 'query-status'})
            # A guest's reset is the peer's firmware, which finds no disk.
            out = [{k: e[k] for k in ('event', 'data') if k in e}
                   for e in self.events
                   if not e.get('data', {}).get('reason') == 'guest-reset']
            self.events = []
        elif text[0] == '{':
            out = self.ask(json.loads(text))
        else:
            out = self.ask({'execute': 'human-monitor-command',
                            'arguments': {'command-line': text}})
        return json.dumps(out, sort_keys=True).replace(self.work, 'DIR')

    def end(self):
        self.process.kill()
        self.process.wait()
        self.socket.close()


def sort_names(text):
    """json: file names with their members in order; the peer's is its own."""
    out, decoder = '', json.JSONDecoder()
    while 'json:{' in text:
        before, text = text.split('json:', 1)
        try:
            value, end = decoder.raw_decode(text)
        except ValueError:
            out += before + 'json:'
            continue
        out += before + 'json:' + json.dumps(value, sort_keys=True)
        text = text[end:]
    return out + text


def plain(text):
    text = peercompare.normal(sort_names(text), VOLATILE)
    return text.replace('qemu-system-qtest:', 'qemu-system-x86_64:')


def answer_of(text):
    """@text without the echo."""
    return text.split('\033[K')[-1]


class Comparison(peercompare.Comparison):
    def __init__(self, ours, peer):
        super().__init__()
        self.sides = [(os.path.join(peer, 'qemu-system-x86_64'), 'tcg', peer),
                      (os.path.join(ours, 'qemu-system-qtest'), 'qtest',
                       peer)]

    def look(self, mark, name, line, texts, pattern=None):
        """@pattern: of our answer, where it differs; None: it does not."""
        peer, ours = (plain(t) for t in texts)
        title = '%s: %s' % (name, line)
        unanswered = any(t == GONE or t.endswith(NO_PROMPT) for t in texts)
        if not unanswered and (mark == '~' or (
                peer == ours if pattern is None else
                peer != ours and re.search(pattern, answer_of(ours)))):
            self.same('%s\n%s' % (title, peer))
        elif pattern is not None and peer == ours and not unanswered:
            self.not_any_more(title)
        elif answer_of(peer) == answer_of(ours) and peer != ours:
            self.differs(title + ' (only the echo)', repr(peer), repr(ours))
        else:
            self.differs(title, *('\n'.join(answer_of(t).splitlines())
                                  for t in (peer, ours)))

    def run(self, name, lines):
        with tempfile.TemporaryDirectory(prefix='hmp-compare-') as top:
            works, machines = [], []
            for side in 'peer', 'ours':
                works.append(os.path.join(top, side))
                os.mkdir(works[-1])
            for line in lines:
                self.step(name, line, works, machines)
            for machine in machines:
                machine.end()

    def step(self, name, line, works, machines):
        pattern, text = peercompare.split_known(line)
        mark = ''
        if line[0] == '~':
            mark, text = '~', line[1:]
        if text[0] == '$':
            for work, side in zip(works, self.sides):
                subprocess.run(text[1:], shell=True, cwd=work, check=True,
                               stdout=subprocess.DEVNULL,
                               env=dict(os.environ, PATH=side[2] + ':' +
                                        os.environ['PATH']))
            return
        if text[0] == '@':
            for machine in machines:
                machine.end()
            machines[:] = [Machine(program, accel, text[1:], work)
                           for (program, accel, _), work
                           in zip(self.sides, works)]
            answers = [m.first for m in machines]
        elif text.split()[0] == 'qmp':
            answers = [m.query(text[3:].strip()) for m in machines]
        else:
            answers = [m.line(text) for m in machines]
        self.look(mark, name, text, answers, pattern)


def main():
    ours, peer, names = peercompare.command_line(__doc__,
                                                 'qemu-system-x86_64')
    comparison = Comparison(ours, peer)
    scenarios = peercompare.read_scenarios(os.path.join(HERE,
                                                        'hmp-scenarios'))
    for name in names or scenarios:
        comparison.run(name, scenarios[name])
    comparison.end('lines')


if __name__ == '__main__':
    main()
