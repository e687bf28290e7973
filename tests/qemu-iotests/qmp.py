# SPDX-License-Identifier: GPL-2.0-or-later
#
# A QMP client for tests: commands, an event queue, time limits, and failures
# with the command, the response and the events received.

import collections
import json
import select
import socket
import time


class QmpError(Exception):
    """A command was answered with an error."""

    def __init__(self, command, error):
        super().__init__(f"{command}: {error['class']}: {error['desc']}")
        self.command = command
        self.cls = error['class']
        self.desc = error['desc']


class QmpTimeout(Exception):
    """What was waited for did not come in time."""


class QmpClosed(Exception):
    """The other side closed the connection."""


def connect_unix(path, timeout):
    """A connected socket; waits while the listener's queue is full, or
    where it is bound and does not listen yet."""
    deadline = time.monotonic() + timeout
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout)
    while True:
        try:
            sock.connect(path)
            return sock
        except (BlockingIOError, ConnectionRefusedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


class QmpClient:
    """One connection to a QMP monitor.

    `timeout` (seconds) bounds every single wait for an answer or an event.
    Events are queued in the order they came, and stay queued until taken.
    """

    # Where the traffic is shown as it goes, or None.
    trace = None

    def __init__(self, path=None, sock=None, timeout=30.0):
        self.timeout = timeout
        self.events = collections.deque()
        self.history = collections.deque(maxlen=40)
        self._replies = collections.deque()
        self._buffer = b''
        if sock is None:
            sock = connect_unix(path, timeout)
        self.sock = sock
        self.greeting = None

    def negotiate(self, oob=False):
        """Read the greeting and leave negotiation mode."""
        self.read_greeting()
        args = {'enable': ['oob']} if oob else None
        self.command('qmp_capabilities', args)
        return self

    def read_greeting(self):
        message = self.read_message()
        if 'QMP' not in message:
            raise AssertionError(f'not a greeting: {message}')
        self.greeting = message['QMP']
        return self.greeting

    def close(self):
        self.sock.close()

    # Bytes and messages

    def send_bytes(self, data):
        self.sock.sendall(data)

    def send(self, message):
        self.send_bytes(json.dumps(message).encode() + b'\n')

    def read_message(self, timeout=None):
        """The next message of any kind, as the server sent it."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while b'\n' not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.sock], [], [], left)[0]:
                raise QmpTimeout('no message from the monitor'
                                 + self._tail())
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b''
            if not data:
                raise QmpClosed('the monitor closed the connection'
                                + self._tail())
            self._buffer += data
        line, self._buffer = self._buffer.split(b'\n', 1)
        message = json.loads(line)
        self._note(line.decode(errors='replace').strip())
        return message

    def _note(self, line):
        self.history.append(line)
        if self.trace:
            print(f'qmp: {line}', file=self.trace, flush=True)

    def _tail(self):
        return ''.join(f'\n    seen: {line[:300]}'
                       for line in list(self.history)[-12:])

    def _take(self, timeout=None):
        """Read one message and put it in the queue it belongs to."""
        message = self.read_message(timeout)
        if 'event' in message:
            self.events.append(message)
        elif 'QMP' in message:
            self.greeting = message['QMP']      # the peer may greet twice
        else:
            self._replies.append(message)

    # Commands

    def read_reply(self, timeout=None):
        """The next answer to a command; events met on the way are queued."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while not self._replies:
            self._take(max(deadline - time.monotonic(), 0.001))
        return self._replies.popleft()

    def execute(self, command, args=None, timeout=None, **more):
        """Send a command; return the whole answer, be it an error."""
        message = {'execute': command}
        if args is not None:
            message['arguments'] = args
        message.update(more)
        self._note('> ' + json.dumps(message))
        self.send(message)
        try:
            return self.read_reply(timeout)
        except QmpTimeout as e:
            raise QmpTimeout(f'no answer to {command}: {e}') from None
        except QmpClosed as e:
            raise QmpClosed(f'{command}: {e}') from None

    def command(self, command, args=None, timeout=None):
        """Send a command; return what it returned, or raise QmpError."""
        reply = self.execute(command, args, timeout)
        if 'error' in reply:
            raise QmpError(command, reply['error'])
        return reply['return']

    # Events

    def poll_events(self):
        """Queue whatever has already arrived."""
        while b'\n' in self._buffer or \
                select.select([self.sock], [], [], 0)[0]:
            try:
                self._take()
            except QmpClosed:
                break

    def take_events(self, name=None, match=None):
        """Take all events of this name (default: all) out of the queue."""
        self.poll_events()
        taken = [e for e in self.events if _fits(e, name, match)]
        for event in taken:
            self.events.remove(event)
        return taken

    def wait_event(self, name, match=None, timeout=None):
        """Take the first event of one of the names whose data holds `match`.

        `name`: a string or a collection of strings.
        """
        return self.wait_events([(name, match)], timeout)

    def wait_events(self, wanted, timeout=None):
        """Take the first event that is one of [(name, match), ...].

        `match`: what the event's data must hold; of an object in it only the
        members that are named there, at any depth. None: whatever it holds.
        """
        seconds = timeout or self.timeout
        deadline = time.monotonic() + seconds
        while True:
            for event in self.events:
                if any(_fits(event, *one) for one in wanted):
                    self.events.remove(event)
                    return event
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpTimeout(self._missing(wanted, seconds))
            try:
                self._take(left)
            except QmpTimeout:
                pass
            except QmpClosed as e:
                raise QmpClosed(f'waiting for {_describe(wanted)}: {e}') \
                    from None

    def _missing(self, wanted, seconds):
        """Why an event did not come: what came instead."""
        text = f'no event {_describe(wanted)} in {seconds:g} s'
        for event in self.events:
            text += f"\n    not taken: {event['event']} {event.get('data')}"
        return text + self._tail()


def _describe(wanted):
    return ' or '.join(f'{name}' + (f' with {match}' if match else '')
                       for name, match in wanted)


def _fits(event, name, match):
    names = (name,) if isinstance(name, str) else name
    if names is not None and event['event'] not in names:
        return False
    return _holds(event.get('data', {}), match or {})


def _holds(value, match):
    """Is all that `match` says true of a value?"""
    if not isinstance(match, dict):
        return value == match
    return isinstance(value, dict) and all(
        key in value and _holds(value[key], one)
        for key, one in match.items())
