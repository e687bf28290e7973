# SPDX-License-Identifier: GPL-2.0-or-later
# An NBD server with one chosen violation of the protocol, for tests of clients.

import os
import socket
import struct
import threading

SIZE = 1 << 20
CONTEXT = b'base:allocation'
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
EXPORT_NAME, ABORT, LIST, _, STARTTLS, INFO, GO, STRUCTURED, LISTMETA, \
    SETMETA = range(1, 11)
ACK, SERVER, INFO_REP, META = 1, 2, 3, 4
ERR = 1 << 31
UNSUP, UNKNOWN = ERR | 1, ERR | 6
REP_MAGIC = 0x3e889045565a9
FUA = 1                             # the flag of a command
FLAGS = 0x1 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80


class Gone(Exception):
    pass


def reply(option, kind, data=b''):
    return struct.pack('>QIII', REP_MAGIC, option, kind, len(data)) + data


def info(size=SIZE, flags=FLAGS):
    return reply(GO, INFO_REP, struct.pack('>HQH', 0, size, flags))


def block_size(*sizes):
    return reply(GO, INFO_REP, struct.pack('>HIII', 3, *sizes))


def meta(name=CONTEXT, number=7):
    return reply(SETMETA, META, struct.pack('>I', number) + name)


def chunk(cookie, kind, data=b'', done=True, length=None):
    return struct.pack('>IHHQI', 0x668e33ef, int(done), kind, cookie,
                       len(data) if length is None else length) + data


def data(cookie, offset, payload, done=True):
    return chunk(cookie, 1, struct.pack('>Q', offset) + payload, done)


def hole(cookie, offset, length, done=True):
    return chunk(cookie, 2, struct.pack('>QI', offset, length), done)


def status(cookie, *extents, context=7, done=True):
    return chunk(cookie, 5, struct.pack('>I', context)
                 + b''.join(struct.pack('>II', *e) for e in extents), done)


def simple(cookie, error=0, payload=b''):
    return struct.pack('>IIQ', 0x67446698, error, cookie) + payload


# What is sent instead of the right thing.  The handshake: by the option (0: the
# greeting); transmission: by the command, a function of cookie, offset, length.
HANDSHAKE = {
    'nothing': {0: b''},
    'half a greeting': {0: b'NBDM'},
    'a wrong greeting': {0: b'x' * 18},
    'a wrong second magic': {0: b'NBDMAGIC' + b'x' * 10},
    'no flags': {0: b'NBDMAGICIHAVEOPT'},
    'a wrong reply magic': {STRUCTURED: b'x' * 20},
    'a reply to another option': {STRUCTURED: reply(LIST, ACK)},
    'a reply of 4 GiB': {STRUCTURED: reply(STRUCTURED, ACK)[:16]
                         + b'\xff' * 4},
    'an ACK with data': {STRUCTURED: reply(STRUCTURED, ACK, b'data')},
    'half a reply': {STRUCTURED: reply(STRUCTURED, ACK)[:10]},
    'an unexpected reply': {STRUCTURED: reply(STRUCTURED, SERVER, b'')},
    'two contexts': {SETMETA: meta() + meta() + reply(SETMETA, ACK)},
    'another context': {SETMETA: meta(b'base:other') + reply(SETMETA, ACK)},
    'a short context': {SETMETA: reply(SETMETA, META, b'ab')},
    'a long context': {SETMETA: meta(b'x' * 5000)},
    'no such export': {GO: reply(GO, UNKNOWN, b'it is not here')},
    'a refusal of 1 MiB': {GO: reply(GO, UNKNOWN, b'x' * (1 << 20))},
    'an unknown refusal': {GO: reply(GO, ERR | 77)},
    'an ACK without infos': {GO: reply(GO, ACK)},
    'a short info': {GO: reply(GO, INFO_REP, b'\0')},
    'a short export info': {GO: reply(GO, INFO_REP, b'\0\0' + b'x' * 4)},
    'a size of 2^63': {GO: info(1 << 63) + reply(GO, ACK)},
    'no transmission flags': {GO: info(SIZE, 0) + reply(GO, ACK)},
    'a smallest block of 3': {GO: block_size(3, 4096, 65536)},
    'a smallest block of 1 GiB': {GO: block_size(1 << 30, 1 << 30, 1 << 30)},
    'a largest block of 0': {GO: block_size(1, 4096, 0)},
    'short block sizes': {GO: reply(GO, INFO_REP, b'\0\3abcd')},
    'infos without end': {GO: info() * 10000},
}
TRANSMISSION = {
    'a wrong magic': {READ: lambda c, o, n: b'x' * 100},
    'half a head': {READ: lambda c, o, n: chunk(c, 1)[:7]},
    'nothing at all': {READ: lambda c, o, n: b''},
    'an unknown cookie': {READ: lambda c, o, n: data(c + 1, o, b'x' * n)},
    'a cookie that never was': {
        READ: lambda c, o, n: data(0xffffffffffffffff, o, b'x' * n)},
    'a simple reply to a read': {
        READ: lambda c, o, n: simple(c, 0, b'x' * n)},
    'an unknown chunk': {READ: lambda c, o, n: chunk(c, 99, b'abc')},
    'a chunk of 4 GiB': {
        READ: lambda c, o, n: chunk(c, 1, b'x' * 99, length=0xffffffff)},
    'data before the range': {
        READ: lambda c, o, n: data(c, o - 512, b'x' * n)},
    'data past the range': {READ: lambda c, o, n: data(c, o, b'x' * (n + 1))},
    'data far away': {READ: lambda c, o, n: data(c, (1 << 64) - n, b'x' * n)},
    'empty data': {READ: lambda c, o, n: data(c, o, b'')},
    'data without an offset': {READ: lambda c, o, n: chunk(c, 1, b'abcd')},
    'too little data': {READ: lambda c, o, n: data(c, o, b'x' * (n - 1))},
    'data twice': {
        READ: lambda c, o, n: data(c, o, b'x' * n, False) + data(c, o,
                                                                 b'x' * n)},
    'data that stops': {READ: lambda c, o, n: data(c, o, b'x' * n)[:-1]},
    'an empty hole': {READ: lambda c, o, n: hole(c, o, 0)},
    'a hole past the range': {READ: lambda c, o, n: hole(c, o, n + 1)},
    'a hole of 3 bytes': {READ: lambda c, o, n: chunk(c, 2, b'abc')},
    'done without data': {READ: lambda c, o, n: chunk(c, 0)},
    'nothing with data': {READ: lambda c, o, n: chunk(c, 0, b'abc')},
    'nothing, not done': {READ: lambda c, o, n: chunk(c, 0, done=False)},
    'an error of 0': {
        READ: lambda c, o, n: chunk(c, 0x8001, struct.pack('>IH', 0, 0))},
    'an error of 2 bytes': {READ: lambda c, o, n: chunk(c, 0x8001, b'ab')},
    'an error longer than its chunk': {
        READ: lambda c, o, n: chunk(c, 0x8001, struct.pack('>IH', 5, 99))},
    'an error outside the range': {
        READ: lambda c, o, n: chunk(c, 0x8002, struct.pack('>IHQ', 5, 0,
                                                           1 << 60))},
    'status in a read': {READ: lambda c, o, n: status(c, (n, 0))},
    'data in a write': {WRITE: lambda c, o, n: data(c, o, b'x' * n)},
    'status without extents': {STATUS: lambda c, o, n: status(c)},
    'status of another context': {
        STATUS: lambda c, o, n: status(c, (n, 0), context=8)},
    'status of 0 bytes': {STATUS: lambda c, o, n: status(c, (0, 0))},
    'status of 3 bytes': {STATUS: lambda c, o, n: chunk(c, 5, b'abc')},
    'status twice': {
        STATUS: lambda c, o, n: status(c, (n, 0), done=False)
        + status(c, (n, 0))},
    'status not given': {STATUS: lambda c, o, n: chunk(c, 0)},
    'a simple reply to a status': {STATUS: lambda c, o, n: simple(c)},
}


class MuteServer:
    """Listens on @path, and never says a word."""

    def __init__(self, path):
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(path)
        self.sock.listen(1)
        self.peers = []

    def await_client(self, timeout):
        self.sock.settimeout(timeout)
        self.peers.append(self.sock.accept()[0])


class HostileServer:
    """Serves @size bytes of 0x61 on @path; wrong where the tables say."""

    def __init__(self, path, options=None, commands=None, flags=FLAGS,
                 size=SIZE):
        self.flags = flags
        self.size = size
        self.options = options or {}
        self.commands = commands or {}
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX)
        if os.path.exists(path):
            os.unlink(path)
        self.sock.bind(path)
        self.sock.listen(5)
        self.conns = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for conn in self.conns:
            conn.close()

    def _accept(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            self.conns.append(conn)
            threading.Thread(target=self._serve, args=(conn,),
                             daemon=True).start()

    def _serve(self, conn):
        try:
            self._handshake(conn)
            self._transmission(conn)
        except (Gone, OSError):
            pass
        try:
            conn.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    @staticmethod
    def _recv(conn, length):
        out = b''
        while len(out) < length:
            part = conn.recv(length - len(out))
            if not part:
                raise Gone()
            out += part
        return out

    def _wrong(self, conn, option):
        if option in self.options:
            conn.sendall(self.options[option])
            conn.shutdown(socket.SHUT_WR)  # what is cut short gets no more
            raise Gone()

    def _handshake(self, conn):
        self._wrong(conn, 0)
        conn.sendall(b'NBDMAGICIHAVEOPT\0\3')
        self._recv(conn, 4)
        while True:
            _, option, length = struct.unpack('>QII', self._recv(conn, 16))
            self._recv(conn, length)
            self._wrong(conn, option)
            if option == STRUCTURED:
                conn.sendall(reply(option, ACK))
            elif option == SETMETA:
                conn.sendall(meta() + reply(option, ACK))
            elif option == GO:
                conn.sendall(info(self.size, self.flags)
                             + reply(option, ACK))
                return
            else:
                conn.sendall(reply(option, UNSUP))

    def _transmission(self, conn):
        while True:
            _, _, command, cookie, offset, length = struct.unpack(
                '>IHHQQI', self._recv(conn, 28))
            if command == WRITE:
                self._recv(conn, length)
            if command == DISC:
                return
            if command in self.commands:
                conn.sendall(self.commands[command](cookie, offset, length))
                conn.shutdown(socket.SHUT_WR)
            elif command == READ:
                conn.sendall(data(cookie, offset, b'a' * length))
            elif command == STATUS:
                conn.sendall(status(cookie, (length, 0)))
            else:
                conn.sendall(simple(cookie))


class LossyServer(HostileServer):
    """
    Serves @size bytes that can be written, at first @content.  Its flush number
    @fails fails, and loses what was written since the flush before it, as a
    kernel may do.  Where flush number @dies, or write number @dies_writing,
    should begin it loses that, too, and closes its connections; but new ones
    can be made at once, as if it had been restarted.  A change with FUA
    includes a flush.  While it is @full, changes fail and lose nothing.
    @error: the error of both.
    """

    def __init__(self, path, fails=0, dies=0, dies_writing=0, content=b'',
                 flags=FLAGS, error=5, full=False, size=SIZE):
        self.stable = content + bytes(size - len(content))
        self.disk = bytearray(self.stable)
        self.flushes, self.fails, self.dies = 0, fails, dies
        self.writes, self.dies_writing = 0, dies_writing
        self.error, self.full = error, full
        self.restarts = 0
        self.losses = 0                 # of data
        super().__init__(path, flags=flags, size=size)

    def _flush(self):
        self.flushes += 1
        if self.flushes in (self.fails, self.dies):
            self._lose(self.flushes == self.dies)
            return self.error
        self.stable = bytes(self.disk)
        return 0

    def _lose(self, restart):
        self.losses += self.disk != self.stable
        self.disk = bytearray(self.stable)
        if restart:
            self.restarts += 1
            raise Gone()

    def restart(self):
        """While there is no request."""
        try:
            self._lose(True)
        except Gone:
            for conn in self.conns:
                try:
                    conn.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass            # it had ended

    def _count_write(self):
        self.writes += 1
        if self.writes == self.dies_writing:
            self._lose(True)

    def _change(self, command, fua, part, payload):
        if self.full and command in (WRITE, ZEROES):
            return self.error
        if command == WRITE:
            self._count_write()
        if command in (WRITE, ZEROES):
            self.disk[part] = payload or bytes(part.stop - part.start)
        return self._flush() if command == FLUSH or fua else 0

    def _reply(self, conn, command, answer):
        conn.sendall(answer)

    def _transmission(self, conn):
        while True:
            _, flags, command, cookie, offset, length = struct.unpack(
                '>IHHQQI', self._recv(conn, 28))
            part = slice(offset, offset + length)
            payload = self._recv(conn, length) if command == WRITE else b''
            if command == DISC:
                return
            if command == READ:
                self._reply(conn, command, data(cookie, offset,
                                                bytes(self.disk[part])))
                continue
            if command == STATUS:
                self._reply(conn, command, status(cookie, (length, 0)))
                continue
            self._reply(conn, command, simple(
                cookie, self._change(command, flags & FUA, part, payload)))


class SilentServer(LossyServer):
    """
    Serves SIZE bytes that can be written, and answers no command in @deaf any
    more, until hear() sends the answers.  What it was asked since it became
    deaf is in @asked.  Its connection number @mute is not greeted.
    """

    def __init__(self, path, mute=0, **options):
        self.mute = mute
        self.deaf = set()
        self.asked = []
        self.held = []
        self.lock = threading.Condition(threading.RLock())
        super().__init__(path, **options)

    def _handshake(self, conn):
        if len(self.conns) == self.mute:
            self._recv(conn, 1 << 20)
        super()._handshake(conn)

    def drop_connections(self):
        for conn in self.conns:
            conn.shutdown(socket.SHUT_RDWR)

    def fall_silent(self, *commands):
        """To these commands, or to all."""
        with self.lock:
            self.deaf = set(commands or range(8))

    def await_asked(self, timeout, times=1):
        """Until it was asked something that it did not answer."""
        with self.lock:
            if not self.lock.wait_for(lambda: len(self.asked) >= times,
                                      timeout):
                raise AssertionError('the server was not asked')

    def await_content(self, timeout):
        """Until something was written."""
        with self.lock:
            if not self.lock.wait_for(lambda: any(self.disk), timeout):
                raise AssertionError('nothing was written')

    def answer_first(self):
        with self.lock:
            conn, answer = self.held.pop(0)
            conn.sendall(answer)

    def hear(self):
        with self.lock:
            self.deaf = set()
            while self.held:
                self.answer_first()

    def _reply(self, conn, command, answer):
        with self.lock:
            if command in self.deaf:
                self.asked.append(command)
                self.held.append((conn, answer))
                self.lock.notify_all()
            else:
                conn.sendall(answer)
                self.lock.notify_all()
