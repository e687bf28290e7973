# SPDX-License-Identifier: GPL-2.0-or-later
#
# Reads pages of docs/interop whose examples are executed by tests.
#
# "$" lines are run, "->" lines are sent, and what "<-" lines show must come:
# members shown must be there and equal, others may be; of a list the elements
# shown must be there, in that order. Comments that readers of the page do not
# see: ".. guest writes OFFSET BYTES", ".. at NAME" before a part that happens in
# another place, ".. killed" where the process ends suddenly, and ".. until"
# before a message that is sent again until what is shown comes.

import json
import os
import shlex
import time

import iotests
from iotests import KIB, MIB, check, log

FOLDER = os.path.join(os.path.dirname(os.path.realpath(__file__)),
                      '../../docs/interop')


def read_page(name):
    with open(os.path.join(FOLDER, name + '.rst'), encoding='utf-8') as file:
        return file.read()


def steps(text):
    """What the page does, as (kind, text) in its order."""
    block, margin = None, 0
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        words = line.split()
        if words[:2] == ['..', 'code-block::']:
            block, margin = words[2], indent
        elif words[:2] == ['..', 'at']:
            yield 'at', words[2]
        elif words in (['..', 'killed'], ['..', 'until']):
            yield words[1], ''
        elif words[:3] == ['..', 'guest', 'writes']:
            yield 'guest', ' '.join(words[3:])
        elif words and indent <= margin:
            block = None
        elif block in ('console', 'json') and words:
            yield block, line[margin + 3:]


def messages(text):
    """The same, with the lines of one JSON message put together."""
    pending = None
    for kind, line in list(steps(text)) + [('end', '')]:
        starts = kind != 'json' or line[:3] in ('-> ', '<- ')
        if pending and starts:
            yield pending[0], json.loads(pending[1])
            pending = None
        if kind == 'json':
            if starts:
                pending = ['send' if line[0] == '-' else 'expect', '']
            pending[1] += line[3:]
        elif kind != 'end':
            yield kind, line


def holds(shown, got):
    """Is what the page shows in what has come?"""
    if isinstance(shown, dict):
        return isinstance(got, dict) and all(
            key in got and holds(value, got[key])
            for key, value in shown.items())
    if isinstance(shown, list):
        rest = iter(got)
        return all(any(holds(value, other) for other in rest)
                   for value in shown)
    return shown == got


def size_of(text):
    units = {'K': KIB, 'M': MIB}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)


PROGRAMS = {'qemu-img': iotests.QEMU_IMG_PROG, 'qemu-io': iotests.QEMU_IO_PROG}


class Session:
    """Does what a page says, with one daemon in each place.  @replaced: what
    of its text is different here, as {on the page: here}."""

    def __init__(self, replaced=None):
        self.replaced = replaced or {}
        self.place = None
        self.elsewhere = {}     # place: (qsd, reply, again)
        self.qsd = None
        self.reply = None
        self.again = None       # a message that may be sent again

    def run(self, page):
        text = read_page(page)
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        try:
            for kind, what in messages(text):
                getattr(self, kind)(what)
            self.end()
        finally:
            for qsd, *_ in [(self.qsd,), *self.elsewhere.values()]:
                if qsd:
                    qsd.kill()

    def end(self):
        """Called at the end of the page, while daemons run."""

    def at(self, place):
        self.elsewhere[self.place] = self.qsd, self.reply, self.again
        self.place = place
        self.qsd, self.reply, self.again = self.elsewhere.pop(
            place, (None, None, None))
        log(f'at the {place}:')

    def console(self, line):
        words = shlex.split(line.removeprefix('$ '))
        log(f'$ {" ".join(words)}')
        if words[0] == 'qemu-storage-daemon':
            self.start(words[1:])
            return
        status, output = iotests.run_tool(PROGRAMS[words[0]], *words[1:])
        check(status == 0, f'exit status {status}: {output}')

    def start(self, args):
        at = args.index('--chardev')
        check(args[at:] == ['--chardev', 'socket,id=qmp0,path=qmp.sock,'
                            'server=on,wait=off', '--monitor', 'qmp0'],
              'the page starts the daemon in another way')
        self.qsd = iotests.QemuStorageDaemon(*args[:at], negotiate=False)
        self.qsd.start()
        self.qsd.client.read_greeting()

    def killed(self, _):
        self.qsd.kill()
        log('the process is killed')

    def until(self, _):
        self.again = True

    def send(self, message):
        log(f'-> {message["execute"]}')
        self.qsd.client.send(message)
        self.reply = self.qsd.client.read_reply()
        self.again = message if self.again else None
        if message['execute'] == 'quit':
            self.qsd.wait()

    def wait_for(self, shown):
        """The reply; for a message after ".. until": what is shown."""
        end = time.monotonic() + iotests.TIMEOUT
        while self.again and not holds(shown, self.reply) and \
                time.monotonic() < end:
            time.sleep(0.05)
            self.qsd.client.send(self.again)
            self.reply = self.qsd.client.read_reply()
        self.again = None
        return self.reply

    def expect(self, shown):
        if 'event' in shown:
            about = {k: shown['data'][k] for k in ('device', 'id', 'status')
                     if k in shown['data']}
            got = self.qsd.event(shown['event'], about)
        else:
            got, self.reply = self.wait_for(shown), None
        check(got is not None and holds(shown, got),
              f'the page shows\n{json.dumps(shown)}\nbut there came\n'
              f'{json.dumps(got)}')
        log(f'<- {shown.get("event") or next(iter(shown))}')
