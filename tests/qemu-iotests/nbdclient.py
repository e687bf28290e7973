# SPDX-License-Identifier: GPL-2.0-or-later
#
# A small NBD client: fixed newstyle, simple replies, one request at a time.
# Tests use it as the guest that writes to a disk, and as the base of
# misbehaving clients.

import struct

from qmp import connect_unix

INIT_MAGIC = 0x4e42444d41474943
OPT_MAGIC = 0x49484156454f5054
OPT_REPLY_MAGIC = 0x0003e889045565a9
REQUEST_MAGIC = 0x25609513
REPLY_MAGIC = 0x67446698

FLAG_FIXED_NEWSTYLE = 1
FLAG_NO_ZEROES = 2

OPT_EXPORT_NAME = 1
OPT_ABORT = 2
OPT_LIST = 3
OPT_INFO = 6
OPT_GO = 7

REP_ACK = 1
REP_SERVER = 2
REP_INFO = 3
REP_ERR = 1 << 31

INFO_EXPORT = 0
INFO_BLOCK_SIZE = 3

CMD_READ = 0
CMD_WRITE = 1
CMD_DISC = 2
CMD_FLUSH = 3
CMD_TRIM = 4
CMD_WRITE_ZEROES = 6

CMD_FLAG_FUA = 1
CMD_FLAG_NO_HOLE = 2


class NbdError(Exception):
    """The server refused an option or failed a request; `code` says why."""

    def __init__(self, what, code):
        super().__init__(f'NBD {what}: error {code}')
        self.code = code


class NbdClosed(Exception):
    """The server closed the connection."""


class NbdClient:
    """A connection to an export; ready for requests once built.

    With `export=None` it stops after the greeting, so that a test can send
    options of its own.
    """

    def __init__(self, path, export='', use_go=True, timeout=30.0):
        self.handle = 0
        self.size = None
        self.flags = None
        self.block_sizes = None
        self.sock = connect_unix(path, timeout)
        self._greet()
        if export is not None:
            if use_go:
                self._go(export.encode())
            else:
                self._export_name(export.encode())

    # Bytes

    def recv_exact(self, count):
        chunks = []
        while count:
            try:
                data = self.sock.recv(min(count, 1 << 20))
            except ConnectionError:
                data = b''
            if not data:
                raise NbdClosed('the NBD server closed the connection')
            chunks.append(data)
            count -= len(data)
        return b''.join(chunks)

    def send(self, data):
        try:
            self.sock.sendall(data)
        except ConnectionError as e:
            raise NbdClosed(str(e)) from None

    def unpack(self, fmt):
        return struct.unpack(fmt, self.recv_exact(struct.calcsize(fmt)))

    # Handshake

    def _greet(self):
        magic, opt_magic, self.server_flags = self.unpack('>QQH')
        if magic != INIT_MAGIC or opt_magic != OPT_MAGIC:
            raise AssertionError('the server is not a newstyle NBD server')
        self.send(struct.pack('>I', self.server_flags & 3))

    def send_option(self, option, data=b''):
        self.send(struct.pack('>QII', OPT_MAGIC, option, len(data)) + data)

    def read_option_reply(self):
        """Return (option, type, data) of one reply."""
        magic, option, kind, length = self.unpack('>QIII')
        if magic != OPT_REPLY_MAGIC:
            raise AssertionError(f'bad magic in an option reply: {magic:#x}')
        return option, kind, self.recv_exact(length)

    def list_exports(self):
        self.send_option(OPT_LIST)
        names = []
        while True:
            _, kind, data = self.read_option_reply()
            if kind == REP_ACK:
                return names
            if kind != REP_SERVER:
                raise NbdError('list', kind)
            length, = struct.unpack_from('>I', data)
            names.append(data[4:4 + length].decode())

    def _go(self, name, option=OPT_GO):
        request = struct.pack('>I', len(name)) + name + \
            struct.pack('>HH', 1, INFO_BLOCK_SIZE)
        self.send_option(option, request)
        while True:
            _, kind, data = self.read_option_reply()
            if kind == REP_ACK:
                return
            if kind & REP_ERR:
                raise NbdError('go', kind)
            what, = struct.unpack_from('>H', data)
            if what == INFO_EXPORT:
                self.size, self.flags = struct.unpack_from('>QH', data, 2)
            elif what == INFO_BLOCK_SIZE:
                self.block_sizes = struct.unpack_from('>III', data, 2)

    def _export_name(self, name):
        self.send_option(OPT_EXPORT_NAME, name)
        self.size, self.flags = self.unpack('>QH')
        if not self.server_flags & FLAG_NO_ZEROES:
            self.recv_exact(124)

    # Requests

    def send_request(self, command, offset=0, length=0, flags=0, data=b''):
        self.handle += 1
        self.send(struct.pack('>IHHQQI', REQUEST_MAGIC, flags, command,
                              self.handle, offset, length) + data)
        return self.handle

    def read_reply(self, length=0):
        """Return (handle, errno, data); data only where the errno is 0."""
        magic, error, handle = self.unpack('>IIQ')
        if magic != REPLY_MAGIC:
            raise AssertionError(f'bad magic in a reply: {magic:#x}')
        return handle, error, self.recv_exact(length) if not error else b''

    def _request(self, name, command, offset, length, flags=0, data=b''):
        sent = self.send_request(command, offset, length, flags, data)
        handle, error, answer = \
            self.read_reply(length if command == CMD_READ else 0)
        if handle != sent:
            raise AssertionError(f'reply to {handle} instead of {sent}')
        if error:
            raise NbdError(name, error)
        return answer

    def read(self, offset, length):
        return self._request('read', CMD_READ, offset, length)

    def write(self, offset, data, fua=False):
        self._request('write', CMD_WRITE, offset, len(data),
                      CMD_FLAG_FUA if fua else 0, data)

    def write_zeroes(self, offset, length, no_hole=False, fua=False):
        self._request('write-zeroes', CMD_WRITE_ZEROES, offset, length,
                      (CMD_FLAG_NO_HOLE if no_hole else 0) |
                      (CMD_FLAG_FUA if fua else 0))

    def trim(self, offset, length):
        self._request('trim', CMD_TRIM, offset, length)

    def flush(self):
        self._request('flush', CMD_FLUSH, 0, 0)

    def disconnect(self):
        """Say goodbye and wait until the server has closed, too."""
        self.send_request(CMD_DISC)
        self.drain()

    def drain(self):
        """Wait until the server has closed, whatever it says before."""
        try:
            while self.sock.recv(4096):
                pass
        except OSError:
            pass
        self.sock.close()

    def drop(self):
        """Go away without a word."""
        self.sock.close()
