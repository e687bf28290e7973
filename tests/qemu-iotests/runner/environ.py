# SPDX-License-Identifier: GPL-2.0-or-later
#
# The environment of every test, and tools under which the programs run.

import os
import shlex
import shutil
import sys

from runner import tsan

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
PROGRAMS = {'QSD_PROG': 'qemu-storage-daemon', 'QEMU_IMG_PROG': 'qemu-img',
            'QEMU_IO_PROG': 'qemu-io', 'QEMU_NBD_PROG': 'qemu-nbd',
            'QEMU_PROG': 'qemu-system-qtest', 'TIDEMARK_PROG': 'tidemark'}
# Tests that need them ask themselves.
OPTIONAL = ('QEMU_NBD_PROG', 'QEMU_PROG', 'TIDEMARK_PROG')
# No peer has them: ours is tested with the peer's daemons.
OURS = ('TIDEMARK_PROG',)
PEERS = {'qemu-system-qtest': 'qemu-system-x86_64'}
PEER_DIR = '/usr/bin'


def sanitizer_of(program):
    """'asan', 'tsan' or None: what the program was built with."""
    with open(program, 'rb') as file:
        text = file.read()
    return next((name for name in ('asan', 'tsan')
                 if f'__{name}_init'.encode() in text), None)


def _programs(args, env):
    for variable, name in PROGRAMS.items():
        peer = args.peer and variable not in OURS
        if peer:
            name = PEERS.get(name, name)
        if peer or not env.get(variable):
            env[variable] = os.path.join(PEER_DIR if peer else args.build,
                                         name)
        if variable not in OPTIONAL and not os.access(env[variable], os.X_OK):
            sys.exit(f'check: {env[variable]} is not there; '
                     'build it, or give --build or --peer')


def environment(args):
    """What is the same for all tests."""
    env = dict(os.environ, LC_ALL='C.UTF-8', PYTHONDONTWRITEBYTECODE='1',
               PYTHONPATH=HERE, BUILD_DIR=args.build)
    for name in [n for n in env if n.startswith('IOTESTS_')
                 and n != 'IOTESTS_ONLY']:
        del env[name]
    _programs(args, env)
    if args.peer:
        env['IOTESTS_PEER'] = '1'
    sanitizer = sanitizer_of(env['QSD_PROG'])
    if sanitizer:
        env['IOTESTS_SLOW'] = '4'
    if sanitizer == 'tsan':
        tsan.fix_addresses()
    env.update(IMGFMT=args.imgfmt, IMGPROTO=args.imgproto,
               IMGOPTS=args.imgopts or '',
               CACHEMODE=args.cachemode or 'writeback',
               AIOMODE=args.aiomode or 'threads')
    if args.iothread:
        env['IOTESTS_IOTHREAD'] = '1'
    if args.debug:
        env['IOTESTS_DEBUG'] = '1'
    if args.show:
        env['IOTESTS_PRINT'] = '1'
    if args.valgrind and sanitizer:
        sys.exit('check: -valgrind needs programs without sanitizers')
    if args.gdb:
        _debugger(env)
    return env


def missing(args):
    """Why the command line's wish cannot be granted at all, or None."""
    if args.valgrind and not shutil.which('valgrind'):
        return 'valgrind is not installed'
    if args.gdb and not (shutil.which('gdbserver') or shutil.which('gdb')):
        return 'neither gdbserver nor gdb is installed'
    return None


def _debugger(env):
    """gdbserver waits for a gdb; a gdb of ours runs to a crash, and shows
    where it was; or asks, where there is a terminal to ask on."""
    options = env.get('GDB_OPTIONS')
    if shutil.which('gdbserver'):
        env['IOTESTS_WRAPPER'] = 'gdbserver ' + (options or 'localhost:12345')
        env['IOTESTS_SLOW'] = '1000'
    elif sys.stdin.isatty() and sys.stdout.isatty():
        env['IOTESTS_WRAPPER'] = f"gdb -q {options or ''} --args"
        env['IOTESTS_TTY'] = os.ttyname(sys.stdin.fileno())
        env['IOTESTS_SLOW'] = '1000'
    else:
        env['IOTESTS_WRAPPER'] = shlex.join((
            'gdb', '-q', '-batch', '-return-child-result',
            *shlex.split(options or ''),
            '-iex', 'set debuginfod enabled off',
            '-ex', 'handle SIGPIPE SIGTERM SIGINT SIGHUP nostop noprint pass',
            '-ex', 'run', '-ex', 'thread apply all backtrace', '--args'))
        env.setdefault('IOTESTS_SLOW', '4')


def of_one_test(env, args, scratch, sockets):
    """What is a test's own: folders, and where reports are written."""
    env = dict(env, TEST_DIR=scratch, SOCK_DIR=sockets, TMPDIR=scratch)
    # Buffers of whole images are kept by the interpreter: a page that the kernel
    # gives anew each time costs more than all that is done with it.
    env['MALLOC_MMAP_THRESHOLD_'] = env['MALLOC_TRIM_THRESHOLD_'] = str(1 << 30)
    reports = os.path.join(scratch, 'sanitizer')
    env['ASAN_OPTIONS'] = f'log_path={reports}:detect_leaks=1:exitcode=99:' \
        'allocator_may_return_null=1:' \
        'detect_stack_use_after_return=0'
    env['UBSAN_OPTIONS'] = f'log_path={reports}:print_stacktrace=1'
    env = tsan.environment(env, reports)
    if args.valgrind:
        wrapper = shlex.join(('valgrind', '-q', '--error-exitcode=99',
                              f'--log-file={scratch}/valgrind-%p.log'))
        env['IOTESTS_WRAPPER'] = env['IOTESTS_TOOL_WRAPPER'] = wrapper
        env['IOTESTS_SLOW'] = '10'
        env['TIDEMARK_AIO'] = 'epoll'       # io_uring is not known to it
    return env
