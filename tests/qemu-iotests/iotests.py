# SPDX-License-Identifier: GPL-2.0-or-later
#
# Functions shared by tests: logging with filters, the storage daemon as a
# context manager, jobs, scratch files, the tools, a guest disk, the main
# function.

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from environment import *                     # noqa: F401,F403
from environment import (DEBUG, IOTHREAD, PEER_DIR, PRINT, QEMU_IMG_PROG, QEMU_IO_PROG,
                         QEMU_NBD_PROG, QEMU_PROG, QSD_PROG, SOCK_DIR,
                         TEST_DIR, TESTING_PEER, TIMEOUT, TOOL_WRAPPER, TTY,
                         WRAPPER, aiomode, cachemode, imgfmt, imgopts, imgproto,
                         skip)
from model import BitmapModel, DiskModel      # noqa: F401 (for the tests)
from nbdclient import NbdClient, NbdError     # noqa: F401
from qmp import QmpClient, QmpClosed, QmpError, QmpTimeout  # noqa: F401
from support import *                         # noqa: F401,F403

if DEBUG:
    QmpClient.trace = sys.stderr

KIB = 1024
MIB = 1024 * KIB


# Logging

def filter_paths(text):
    return text.replace(TEST_DIR, 'TEST_DIR').replace(SOCK_DIR, 'SOCK_DIR')


def filter_programs(text):
    for path, name in ((QSD_PROG, 'QSD'), (QEMU_IMG_PROG, 'QEMU_IMG'),
                       (QEMU_IO_PROG, 'QEMU_IO'), (QEMU_PROG, 'QEMU'),
                       (QEMU_NBD_PROG, 'QEMU_NBD')):
        text = text.replace(path, name)
    return re.sub(r'^(qemu-img|qemu-io|qemu-nbd|qemu-storage-daemon'
                  r'|qemu-system-\w+): ', 'PROG: ', text, flags=re.M)


def filter_times(text):
    text = re.sub(r'("timestamp": )\{[^}]*\}', r'\1TIME', text)
    return re.sub(r'\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S*', 'TIME', text)


def filter_pids(text):
    return re.sub(r'\bpid[ =:]+\d+', 'pid PID', text)


def filter_node_names(text):
    return re.sub(r'#block\d+', '#blockN', text)


FILTERS = (filter_paths, filter_programs, filter_times, filter_pids,
           filter_node_names)


def log(message='', filters=(), indent=None):
    """Print a string, or anything else as JSON, with volatile parts out."""
    if not isinstance(message, str):
        message = json.dumps(message, sort_keys=True, indent=indent)
    for one in (*filters, *FILTERS):
        message = one(message)
    print(message, flush=True)


def heading(text):
    log(f'\n== {text} ==')


def require_peer(*programs):
    """Skip unless the peer's programs (or others) are installed."""
    for name in programs:
        if not shutil.which(name, path=PEER_DIR):
            skip(f'{name} is not installed')


def check(condition, message):
    """An assertion that is there with python -O, too."""
    if not condition:
        raise AssertionError(message)


def check_equal(got, expected, what):
    if got != expected:
        raise AssertionError(f'{what}: expected {expected!r}, got {got!r}')


# Files

class FilePath:
    """Paths in the scratch folder; the files are gone afterwards.

        with FilePath('disk.img') as disk: ...
        with FilePath('a', 'b') as (a, b): ...
        with FilePath('nbd.sock', base_dir=SOCK_DIR) as sock: ...
    """

    def __init__(self, *names, base_dir=TEST_DIR):
        self.paths = [os.path.join(base_dir, name) for name in names]

    def __enter__(self):
        self._remove()
        return self.paths[0] if len(self.paths) == 1 else self.paths

    def __exit__(self, kind, value, trace):
        if kind is None:
            self._remove()
        return False

    def _remove(self):
        for path in self.paths:
            try:
                os.unlink(path)
            except OSError:
                pass


def scratch(name):
    """A path in the scratch folder."""
    return os.path.join(TEST_DIR, name)


class Image:
    """An image of the runner's format, reached by the runner's protocol.

        with Image('disk.img', 16 * MIB) as image: ...

    `path` is the file; `name` is what tools and -drive open (the same, or the
    address of a server that exports the file); node() is for blockdev-add.
    """

    def __init__(self, name, size, **options):
        self.path = scratch(name)
        self.name = self.path
        self.size = size
        self.options = options
        self.socket = os.path.join(SOCK_DIR, name + '.nbd')
        self.server = None

    def __enter__(self):
        qemu_img_create(imgfmt, self.path, self.size, **self.options)
        if imgproto == 'nbd':
            self._serve()
        return self

    def _serve(self):
        """Export the file as it is, with room for what the format adds."""
        if imgfmt != 'raw':
            os.truncate(self.path, self.size * 3 // 2 + 8 * MIB)
        self.name = f'nbd+unix:///?socket={self.socket}'
        self.server = subprocess.Popen(
            [*TOOL_WRAPPER, QEMU_NBD_PROG, '-f', 'raw', '-t', '-e', '8',
             '-k', self.socket, self.path], stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + TIMEOUT
        while not os.path.exists(self.socket):
            check(self.server.poll() is None
                  and time.monotonic() < deadline, 'qemu-nbd does not serve')
            time.sleep(0.005)

    def __exit__(self, kind, value, trace):
        if self.server:
            self.server.terminate()
            check(self.server.wait(TIMEOUT) == 0 or kind,
                  f'qemu-nbd ended with {self.server.returncode}')
        if kind is None:
            os.unlink(self.path)
        return False

    def node(self, name, **options):
        """What blockdev-add takes; options as for image_node()."""
        node = image_node(name, self.path, **options)
        if imgproto == 'nbd':
            node['file'] = {'driver': 'nbd', 'server': {
                'type': 'unix', 'path': self.socket}}
        return node


# Tools

class ToolError(Exception):
    pass


def run_tool(program, *args, data=None, timeout=None):
    """Run a program; return (exit status, stdout and stderr together)."""
    done = subprocess.run([*TOOL_WRAPPER, program, *map(str, args)],
                          input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout or TIMEOUT * 3, check=False,
                          text=True, errors='replace')
    _look_for_reports(program, done.stdout)
    if done.returncode < 0:
        raise ToolError(f'{program} {" ".join(map(str, args))}: '
                        f'ended by signal {-done.returncode}\n{done.stdout}')
    return done.returncode, done.stdout


def _tool(program, *args, **kwargs):
    status, output = run_tool(program, *args, **kwargs)
    if status:
        raise ToolError(f'{program} {" ".join(map(str, args))}: '
                        f'exit status {status}\n{output}')
    return output


def qemu_img(*args, prog=None):
    """Run qemu-img, which must succeed; return its output."""
    return _tool(prog or QEMU_IMG_PROG, *args)


def qemu_img_status(*args, prog=None):
    return run_tool(prog or QEMU_IMG_PROG, *args)


def qemu_img_json(*args, prog=None):
    """Run `qemu-img SUBCOMMAND --output=json ...`; return what it says."""
    return json.loads(qemu_img(args[0], '--output=json', *args[1:],
                               prog=prog))


def qemu_img_create(fmt, path, size=None, backing=None, backing_fmt=None,
                    prog=None, **options):
    args = ['create', '-q', '-f', fmt]
    if backing:
        args += ['-b', backing, '-F', backing_fmt or imgfmt]
    words = [imgopts] if imgopts and fmt == imgfmt else []
    words += [f'{k}={v}' for k, v in options.items()]
    if words:
        args += ['-o', ','.join(words)]
    args += [path] + ([str(size)] if size is not None else [])
    return qemu_img(*args, prog=prog)


def new_image(name, size=4 * MIB, fmt='qcow2', **options):
    """Make an image in the test's folder; return its path."""
    path = scratch(name)
    qemu_img_create(fmt, path, size, **options)
    return path


def qemu_io(path, *commands, fmt=None, prog=None, args=()):
    """Run qemu-io commands on an image; return the output."""
    words = ['-f', fmt or imgfmt, *args]
    if cachemode != 'writeback' and not {'-t', '-n'} & set(args):
        words += ['-t', cachemode]
    if aiomode != 'threads' and '-i' not in args:
        words += ['-i', aiomode]
    for command in commands:
        words += ['-c', command]
    return _tool(prog or QEMU_IO_PROG, *words, path)


def check_image(path, fmt=None):
    """Our qemu-img, and the peer's where there is one, find it clean."""
    fmt = fmt or imgfmt
    if fmt == 'raw':
        return
    progs = {QEMU_IMG_PROG, os.path.join(PEER_DIR, 'qemu-img')}
    for prog in sorted(p for p in progs if os.path.exists(p)):
        status, output = run_tool(prog, 'check', '-f', fmt, path)
        check(status == 0, f'{prog} check {path}: {status}\n{output}')


def image_bitmaps(path, prog=None):
    """The bitmaps `qemu-img info` shows: name -> (granularity, flags)."""
    info = qemu_img_json('info', '-U', path, prog=prog)
    data = info.get('format-specific', {}).get('data', {})
    return {b['name']: (b['granularity'], sorted(b['flags']))
            for b in data.get('bitmaps', [])}


def same_as(path, content, fmt=None, prog=None):
    """Is an image bit for bit these bytes? Read through qemu-img."""
    fmt = fmt or imgfmt
    raw = scratch(os.path.basename(path) + '.compare')
    try:
        # It may be in use by a daemon that writes.
        qemu_img('convert', '-U', '-f', fmt, '-O', 'raw', path, raw,
                 prog=prog)
        with open(raw, 'rb') as file:
            return file.read() == content
    finally:
        if os.path.exists(raw):
            os.unlink(raw)


def check_content(path, content, what, fmt=None):
    check(same_as(path, content, fmt), f'{what}: {path} differs from the disk '
          'as it was')


def images_equal(one, other, fmt=None, other_fmt=None, strict=False):
    """What `qemu-img compare` finds; other statuses than 0 and 1 are errors."""
    args = ['-f', fmt or imgfmt, '-F', other_fmt or fmt or imgfmt]
    status, output = qemu_img_status('compare', *args, *['-s'] * strict,
                                     one, other)
    check(status in (0, 1), f'qemu-img compare: {status}\n{output}')
    return status == 0


def filter_img_info(text):
    """What `qemu-img info` says, without what depends on the place."""
    text = re.sub(r'^(file length|disk size): .*$', r'\1: SIZE', text,
                  flags=re.M)
    text = re.sub(r'"(actual-size)": \d+', r'"\1": SIZE', text)
    return text.replace(imgfmt, 'IMGFMT') if imgfmt == 'raw' else text


def log_img_info(path, *args, fmt=None, filters=()):
    """Log `qemu-img info`."""
    text = qemu_img('info', '-f', fmt or imgfmt, *args, path)
    log(text.rstrip('\n'), filters=(*filters, filter_img_info))


def log_img_map(path, *args, fmt=None):
    """Log `qemu-img map --output=json`, a line for each range; where the
    data is in the host's file is left out."""
    for part in json.loads(qemu_img('map', '--output=json', '-f',
                                    fmt or imgfmt, *args, path)):
        part.pop('offset', None)
        log(part)


def image_node(node, path, fmt=None, **options):
    """A blockdev-add of a format over a file, opened as the runner says.

    Options with underscores are the format's; `file_options`, the file's.
    """
    below = {'driver': 'file', 'filename': path}
    if aiomode != 'threads':
        below['aio'] = aiomode
    below.update(options.pop('file_options', {}))
    cache = {'none': {'direct': True}, 'directsync': {'direct': True},
             'unsafe': {'no-flush': True}}.get(cachemode)
    above = {'driver': fmt or imgfmt, 'node-name': node, 'file': below}
    if cache:
        above['cache'] = cache
    above.update({k.replace('_', '-'): v for k, v in options.items()})
    return above


def _look_for_reports(name, text):
    if re.search(r'(Address|Leak|Thread)Sanitizer|runtime error: ', text):
        raise ToolError(f'{name}: sanitizer report\n{text}')


# The daemon

class QemuStorageDaemon:
    """A storage daemon with one QMP monitor, running while in `with`.

    Leaving the block ends it with "quit" and checks that it went cleanly.
    `stdio`: the test has its standard input and output, by `process`.
    """

    count = 0
    stdio = False

    def __init__(self, *args, qmp=True, prog=None, negotiate=True,
                 stdio=False):
        QemuStorageDaemon.count += 1
        self.number = QemuStorageDaemon.count
        self.socket = os.path.join(SOCK_DIR, f'qmp-{self.number}.sock')
        self.stderr = scratch(f'daemon-{self.number}.stderr')
        self.command = [prog or QSD_PROG, *args]
        if qmp:
            self.command += ['--chardev',
                             f'socket,id=qmp0,path={self.socket},'
                             'server=on,wait=off',
                             '--monitor', 'chardev=qmp0']
        self.pidfile = scratch(f'daemon-{self.number}.pid')
        self.command += ['--pidfile', self.pidfile]
        self.with_qmp = qmp
        self.stdio = stdio
        self.negotiate = negotiate
        self.process = None
        self.client = None
        self.nbd_socket = None
        self.exports = 0

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.quit()
        else:
            self._explain()
            self.kill()
        return False

    def _explain(self):
        """Before a test fails: say so if it is the daemon that failed."""
        try:
            status = self.process.wait(0.5)
        except subprocess.TimeoutExpired:
            return
        print(f'the daemon ended with status {status}\n'
              + self.errors()[-4000:], flush=True)

    def start(self):
        with open(self.stderr, 'ab') as errors:
            tty = open(TTY, 'r+b', buffering=0) if TTY else None
            pipe = subprocess.PIPE if self.stdio else None
            self.process = subprocess.Popen(
                [*WRAPPER, *self.command], stderr=tty or errors,
                stdin=pipe or tty or subprocess.DEVNULL,
                stdout=pipe or tty or errors)
        try:
            self._wait_until_ready()
            if self.with_qmp:
                self.client = self._first_client()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def _first_client(self):
        """Where devices come after the monitor, they may still end it."""
        try:
            return self.connect(self.negotiate)
        except (QmpClosed, ConnectionError):
            status = self.process.wait(TIMEOUT)
            raise AssertionError(f'the daemon ended with {status}: '
                                 + self.errors()) from None

    def _wait_until_ready(self):
        """The pid file is there once all of the command line is done."""
        deadline = time.monotonic() + TIMEOUT
        while not os.path.exists(self.pidfile):
            if self.process.poll() is not None:
                raise AssertionError(
                    f'the daemon ended with {self.process.returncode}: '
                    + self.errors())
            if time.monotonic() > deadline:
                raise AssertionError('the daemon does not begin to serve: '
                                     + self.errors())
            time.sleep(0.003)

    def connect(self, negotiate=True):
        """One more QMP client on the monitor's socket."""
        client = QmpClient(self.socket, timeout=TIMEOUT)
        return client.negotiate() if negotiate else client

    def errors(self):
        """What the daemon has written to stderr so far."""
        with open(self.stderr, errors='replace') as file:
            return file.read()

    # Ways to end

    def send_signal(self, sig):
        """To the program itself, not to a debugger that it runs under."""
        if WRAPPER and os.path.exists(self.pidfile):
            with open(self.pidfile, encoding='ascii') as file:
                os.kill(int(file.read()), sig)
        else:
            self.process.send_signal(sig)

    def _ended(self):
        if self.client:
            self.client.close()
        if PRINT:
            print(self.errors(), end='', file=sys.stderr, flush=True)

    def wait(self, expected=0, timeout=None):
        """Wait for the end, which must have this exit status."""
        try:
            status = self.process.wait(timeout or TIMEOUT)
        except subprocess.TimeoutExpired:
            self.send_signal(signal.SIGABRT)
            self.kill()
            raise AssertionError('the daemon did not end in time'
                                 + self._story()) from None
        self._ended()
        _look_for_reports('the daemon', self.errors())
        if status != expected:
            raise AssertionError(f'the daemon ended with status {status}'
                                 + self._story())

    def _story(self):
        tail = self.client._tail() if self.client else ''
        return f'{tail}\n    stderr: {self.errors()[-4000:]}'

    def quit(self):
        if self.process.poll() is None and self.client:
            try:
                self.client.command('quit')
            except QmpClosed:
                pass
        elif self.process.poll() is None:
            self.send_signal(signal.SIGTERM)
        self.wait()

    def terminate(self, sig=signal.SIGTERM):
        """End by a signal that asks politely."""
        self.send_signal(sig)
        self.wait()

    def kill(self):
        """kill -9."""
        if self.process.poll() is None:
            self.send_signal(signal.SIGKILL)
        self.process.wait()
        self._ended()

    # QMP

    def cmd(self, command, args=None, /, **kwargs):
        """Execute a command, underscores in argument names being hyphens."""
        full = dict(args or {})
        full.update({k.replace('_', '-'): v for k, v in kwargs.items()})
        return self.client.command(command, full or None)

    def cmd_log(self, command, args=None, /, **kwargs):
        """Execute, and log the command and its answer."""
        full = dict(args or {})
        full.update({k.replace('_', '-'): v for k, v in kwargs.items()})
        words = json.dumps(full, sort_keys=True)
        try:
            answer = self.client.command(command, full or None)
        except QmpError as e:
            log(f'{command} {words}')
            log_refusal(e)
            return None
        log(f'{command} {words}')
        log(f'    -> {json.dumps(answer, sort_keys=True)}')
        return answer

    def refused(self, command, args=None, /, naming=(), title=None,
                **kwargs):
        """Execute a command that must fail; log why it was refused.

        `naming`: what the message must mention (a string or several).
        """
        try:
            answer = self.cmd(command, args, **kwargs)
        except QmpError as e:
            log(title or command)
            log_refusal(e)
            for word in (naming,) if isinstance(naming, str) else naming:
                check(word in e.desc or TESTING_PEER, f'{command}: the '
                      f'error does not name {word!r}: {e.desc}')
            return e
        raise AssertionError(f'{title or command}: not refused, but {answer}')

    def event(self, name, match=None, timeout=None):
        """The next event of this name (or one of these names)."""
        return self.client.wait_event(name, match, timeout)

    def events_wait(self, wanted, timeout=None):
        """The next event that is one of [(name, match), ...]."""
        return self.client.wait_events(wanted, timeout)

    def no_event(self, name, match=None):
        """No such event has come by now."""
        found = self.client.take_events(name, match)
        check(not found, f'unexpected: {found}')

    # Objects

    def qom_get(self, path, name):
        return self.cmd('qom-get', path=path, property=name)

    def qom_set(self, path, name, value):
        return self.cmd('qom-set', path=path, property=name, value=value)

    def qom_list(self, path):
        """The properties and children at a path: name -> type."""
        return {p['name']: p['type'] for p in self.cmd('qom-list', path=path)}

    # Nodes, bitmaps, exports

    def add_file_node(self, node, path, fmt=None, **options):
        """blockdev-add of a format over a file, options with underscores."""
        self.cmd('blockdev-add', image_node(node, path, fmt, **options))

    def nodes(self):
        """The named nodes, by name."""
        return {n['node-name']: n
                for n in self.cmd('query-named-block-nodes', flat=True)}

    def bitmaps(self, node):
        """What query-named-block-nodes says of a node's bitmaps, by name."""
        found = self.nodes()[node].get('dirty-bitmaps', [])
        return {b.get('name'): b for b in found}

    def node_info(self, node):
        """What query-named-block-nodes says of a node, or None."""
        return self.nodes().get(node)

    def get_bitmap(self, node, name, recording=None):
        """A bitmap's description, or None (also: another recording)."""
        found = self.bitmaps(node).get(name)
        if found and recording not in (None, found['recording']):
            return None
        return found

    def bitmap_sha256(self, node, name):
        return self.cmd('x-debug-block-dirty-bitmap-sha256', node=node,
                        name=name)['sha256']

    def check_bitmap(self, node, name, model, what):
        """A bitmap holds exactly what its model does: count and digest."""
        info = self.bitmaps(node).get(name)
        check(info is not None, f'{what}: there is no bitmap {name}')
        check_equal(info['granularity'], model.granularity,
                    f'{what}: granularity of {name}')
        check_equal(info['count'], model.count(), f'{what}: count of {name}')
        check_equal(self.bitmap_sha256(node, name), model.sha256(),
                    f'{what}: bits of {name}')

    def start_nbd(self):
        self.nbd_socket = scratch(f'nbd-{self.number}.sock')
        self.cmd('nbd-server-start', {'addr': {
            'type': 'unix', 'data': {'path': self.nbd_socket}}})
        return self.nbd_socket

    def _next_iothread(self):
        """With check --iothread, exports are in two threads in turn."""
        if not IOTHREAD or self.command[0] != QSD_PROG:
            return {}
        self.exports += 1
        name = f'iothread{self.exports % 2}'
        if self.exports <= 2:
            self.cmd('object-add', qom_type='iothread', id=name)
        return {'iothread': name}

    def export(self, node, name=None, writable=True):
        """Export a node over NBD; return a connected client."""
        if not self.nbd_socket:
            self.start_nbd()
        name = name or node
        self.cmd('block-export-add', self._next_iothread(), type='nbd',
                 id=f'export-{name}', node_name=node, name=name,
                 writable=writable)
        return NbdClient(self.nbd_socket, name, timeout=TIMEOUT)

    # Jobs

    def run_job(self, job, auto_finalize=True, auto_dismiss=True,
                pre_finalize=None, cancel=False, wait=None, use_log=True,
                on_event=None):
        """See a job to its end; return its error, or None.

        pre_finalize() is called while the job is pending; `cancel` then
        cancels it instead of finalizing. on_event(event) sees every event.
        """
        return JobRun(self, job, auto_finalize, auto_dismiss, pre_finalize,
                      cancel, wait or TIMEOUT, use_log, on_event).run()

    def jobs(self):
        return {j['id']: j for j in self.cmd('query-jobs')}


def action(kind, **data):
    """An action of QMP's `transaction`."""
    return {'type': kind,
            'data': {k.replace('_', '-'): v for k, v in data.items()}}


def plain_error(text):
    """The error of a job without what was done where: as a QEMU has it."""
    return re.sub(r"^(Data that a write was about to change could not be "
                  r"saved: )?(Reading from|Writing to|Flushing|"
                  r"Querying the block status of) node '.*?' "
                  r"failed( at offset \d+)?: ", '', text) if text else text


class JobRun:
    """One job, from wherever it is to its end."""

    EVENTS = ('JOB_STATUS_CHANGE', 'BLOCK_JOB_COMPLETED',
              'BLOCK_JOB_CANCELLED', 'BLOCK_JOB_ERROR', 'BLOCK_JOB_READY',
              'BLOCK_JOB_PENDING')

    def __init__(self, qsd, job, auto_finalize, auto_dismiss, pre_finalize,
                 cancel, wait, use_log, on_event):
        self.qsd = qsd
        self.job = job
        self.auto_finalize = auto_finalize
        self.auto_dismiss = auto_dismiss
        self.pre_finalize = pre_finalize
        self.cancel = cancel
        self.deadline = time.monotonic() + wait
        self.use_log = use_log
        self.on_event = on_event
        self.error = None

    def _next(self):
        client = self.qsd.client
        while True:
            for event in client.events:
                data = event.get('data', {})
                if event['event'] in self.EVENTS and \
                        self.job in (data.get('id'), data.get('device')):
                    client.events.remove(event)
                    return event
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise QmpTimeout(f'job {self.job} did not end: '
                                 f'{self.qsd.jobs()}' + client._tail())
            try:
                client._take(left)
            except QmpTimeout:
                pass

    def run(self):
        while True:
            event = self._next()
            if self.on_event:
                self.on_event(event)
            data = dict(event['data'])
            if 'error' in data:
                data['error'] = plain_error(data['error'])
            if event['event'] == 'JOB_STATUS_CHANGE':
                if data['status'] == 'null':
                    return self.error
                self._status(data['status'])
                continue
            if self.use_log:
                log(f"{event['event']} "
                    + json.dumps(data, sort_keys=True))
            self.error = data.get('error', self.error)
            if event['event'] == 'BLOCK_JOB_CANCELLED':
                self.error = self.error or 'cancelled'

    def _status(self, status):
        if status == 'ready':
            self.qsd.cmd('job-complete', id=self.job)
        elif status == 'pending' and not self.auto_finalize:
            if self.pre_finalize:
                self.pre_finalize()
            verb = 'job-cancel' if self.cancel else 'job-finalize'
            self.qsd.cmd(verb, id=self.job)
        elif status == 'concluded' and not self.auto_dismiss:
            info = self.qsd.jobs()[self.job]
            self.error = plain_error(info.get('error', self.error))
            self.qsd.cmd('job-dismiss', id=self.job)


def log_refusal(error):
    log(f'    refused ({error.cls}): {error.desc}')


# A guest

class GuestDisk:
    """A disk written over NBD, with the model of what it should hold."""

    def __init__(self, qsd, node, size, model=None):
        self.qsd = qsd
        self.node = node
        self.model = model or DiskModel(size)
        self.nbd = qsd.export(node)
        self.pattern = 0

    def add_bitmap(self, name, granularity=65536, recording=True, **options):
        """block-dirty-bitmap-add, for real and in the model."""
        self.qsd.cmd('block-dirty-bitmap-add', node=self.node, name=name,
                     granularity=granularity, disabled=not recording,
                     **options)
        return self.model.add_bitmap(name, granularity, recording)

    def write(self, offset, length, pattern=None):
        """Write a pattern (default: one not used before)."""
        if pattern is None:
            self.pattern = self.pattern % 255 + 1
            pattern = self.pattern
        self.nbd.write(offset, bytes([pattern]) * length)
        self.model.write(offset, bytes([pattern]) * length)

    def zero(self, offset, length, no_hole=False):
        self.nbd.write_zeroes(offset, length, no_hole)
        self.model.write(offset, bytes(length))

    def check_bitmap(self, name, what):
        self.qsd.check_bitmap(self.node, name, self.model.bitmaps[name], what)

    def check_content(self, what):
        got = b''.join(self.nbd.read(at, min(MIB, len(self.model.data) - at))
                       for at in range(0, len(self.model.data), MIB))
        check(got == self.model.data, f'{what}: the disk differs from its '
              'model')


def __getattr__(name):
    """VM is in vm.py, which needs this module first."""
    if name == 'VM':
        from vm import VM
        return VM
    raise AttributeError(name)
