# SPDX-License-Identifier: GPL-2.0-or-later
#
# The environment that the runner passes to a test: programs, folders, the image
# format and options of opening. A test started by hand gets defaults.

import atexit
import os
import shlex
import shutil
import sys
import tempfile

import programs

HERE = os.path.dirname(os.path.realpath(__file__))
BUILD_DIR = programs.folder()
PEER_DIR = '/usr/bin'
SKIP_STATUS = 77

TESTING_PEER = bool(os.environ.get('IOTESTS_PEER'))
SLOW = int(os.environ.get('IOTESTS_SLOW') or 1)
TIMEOUT = 20.0 * SLOW


# The runner sets them for this interpreter, which compares whole images all the
# time; the programs under test run as users run them.
for _name in ('MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_'):
    os.environ.pop(_name, None)


def _program(variable, name):
    return os.environ.get(variable) or os.path.join(BUILD_DIR, name)


QSD_PROG = _program('QSD_PROG', 'qemu-storage-daemon')
QEMU_IMG_PROG = _program('QEMU_IMG_PROG', 'qemu-img')
QEMU_IO_PROG = _program('QEMU_IO_PROG', 'qemu-io')
QEMU_NBD_PROG = _program('QEMU_NBD_PROG', 'qemu-nbd')
QEMU_PROG = _program('QEMU_PROG', 'qemu-system-qtest')
TIDEMARK_PROG = _program('TIDEMARK_PROG', 'tidemark')

# What runs the daemons and machines: valgrind or a debugger, as words.
WRAPPER = shlex.split(os.environ.get('IOTESTS_WRAPPER', ''))
# The same for the tools; a debugger leaves them alone.
TOOL_WRAPPER = shlex.split(os.environ.get('IOTESTS_TOOL_WRAPPER', ''))
# The terminal to debug on, QMP traffic on stderr, what the programs print too.
TTY = os.environ.get('IOTESTS_TTY')
DEBUG = bool(os.environ.get('IOTESTS_DEBUG'))
IOTHREAD = bool(os.environ.get('IOTESTS_IOTHREAD'))
PRINT = bool(os.environ.get('IOTESTS_PRINT'))

imgfmt = os.environ.get('IMGFMT') or 'qcow2'
imgproto = os.environ.get('IMGPROTO') or 'file'
imgopts = os.environ.get('IMGOPTS') or ''
cachemode = os.environ.get('CACHEMODE') or 'writeback'
aiomode = os.environ.get('AIOMODE') or 'threads'


def _folder(variable):
    """A folder of the runner's, or one that is gone when the test ends."""
    path = os.environ.get(variable)
    if not path:
        path = tempfile.mkdtemp(prefix='iotest-')
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


# Images go to the one; sockets, whose paths must be short, to the other.
TEST_DIR = _folder('TEST_DIR')
SOCK_DIR = _folder('SOCK_DIR')


def skip(reason):
    """End the test: it can not be run here, for the reason given."""
    print(f'skipped: {reason}', flush=True)
    sys.exit(SKIP_STATUS)
