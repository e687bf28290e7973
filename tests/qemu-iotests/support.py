# SPDX-License-Identifier: GPL-2.0-or-later
#
# Requirements of a test and their checks: formats, protocols, drivers, options
# of opening; and main functions that check before they run a test.

import functools
import io
import os
import re
import subprocess
import sys
import unittest

from environment import (QEMU_IMG_PROG, QEMU_NBD_PROG, QEMU_PROG, SLOW,
                         aiomode, cachemode, imgfmt, imgproto, skip)

def stride(n):
    """
    Tests that go through many steps or cases stop at each nth only, which finds
    most; with EVERY_STEP=1, at each.
    """
    return 1 if os.environ.get('EVERY_STEP') else n if SLOW == 1 else 4 * n + 1


# Formats that cannot be made with a size alone, or cannot be written.
READ_ONLY_FORMATS = ('bochs', 'cloop', 'dmg', 'luks', 'vvfat')


@functools.lru_cache(None)
def _answer(*command):
    """What a program says when it is asked something; '' if it is not."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, timeout=20 * SLOW)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return done.stdout


def drivers(read_only=False):
    """The drivers that the tools have, by asking them."""
    text = _answer(QEMU_IMG_PROG, '--help')
    found = re.search(r'^Supported formats:(.*)$', text, re.M)
    return set(found.group(1).split()) if found else set()


def machine_drivers(read_only=False):
    """The drivers that the machine may use (only reading: with read_only)."""
    text = _answer(QEMU_PROG, '-drive', 'format=help')
    head = r'Supported formats \(read-only\):' if read_only else \
        'Supported formats:'
    found = re.search(rf'^{head}(.*)$', text, re.M)
    return set(found.group(1).split()) if found else set()


@functools.lru_cache(None)
def machine_devices():
    """The devices of the machine: names and aliases."""
    text = _answer(QEMU_PROG, '-device', 'help')
    return set(re.findall(r'(?:name|alias) "([^"]+)"', text))


@functools.lru_cache(None)
def machine_names():
    text = _answer(QEMU_PROG, '-machine', 'help')
    return [line.split()[0] for line in text.splitlines()[1:] if line.split()]


def default_machine():
    """The machine that is taken if none is named."""
    text = _answer(QEMU_PROG, '-machine', 'help')
    found = re.search(r'^(\S+).*\(default\)$', text, re.M)
    return found.group(1) if found else None


def accelerators():
    """What can drive the machine's processors, or replace them."""
    return set(_answer(QEMU_PROG, '-accel', 'help').split('\n')[1:]) - {''}


# Requirements

def verify_format(supported=(), unsupported=()):
    if imgfmt in unsupported:
        skip(f'not for the format {imgfmt}')
    generic = 'generic' in supported
    if generic and imgfmt in READ_ONLY_FORMATS:
        skip(f'images of the format {imgfmt} cannot just be made')
    if supported and not generic and imgfmt not in supported:
        skip(f"only for the format {' or '.join(supported)}")


def verify_protocol(supported=(), unsupported=()):
    if imgproto in unsupported:
        skip(f'not for the protocol {imgproto}')
    if supported and 'generic' not in supported and imgproto not in supported:
        skip(f"only for the protocol {' or '.join(supported)}")


def verify_cache_mode(supported=()):
    if supported and cachemode not in supported:
        skip(f"only for the cache mode {' or '.join(supported)}")


def verify_aio_mode(supported=()):
    if supported and aiomode not in supported:
        skip(f"only for AIO with {' or '.join(supported)}")


def require_drivers(*names):
    """Skip where one of these drivers (formats, protocols, filters) lacks."""
    missing = [name for name in names if name not in drivers()]
    if missing:
        skip(f"there is no driver {', '.join(missing)}")


def require_devices(*names):
    missing = [name for name in names if name not in machine_devices()]
    if missing:
        skip(f"the machine has no {', '.join(missing)}")


def verify(supported_fmts=('qcow2',), unsupported_fmts=(),
           supported_protocols=('file',), unsupported_protocols=(),
           supported_cache_modes=(), supported_aio_modes=(),
           required_fmts=(), required_drivers=(), required_devices=()):
    """Skip the test unless it can run as the runner was told to.

    What a test says nothing of: it is for qcow2 images in files, opened in
    any way. `generic` among the formats: all that can be created and written.
    """
    verify_format(supported_fmts, unsupported_fmts)
    verify_protocol(supported_protocols, unsupported_protocols)
    verify_cache_mode(supported_cache_modes)
    verify_aio_mode(supported_aio_modes)
    require_drivers(imgfmt, imgproto, *required_fmts, *required_drivers)
    if imgproto == 'nbd' and not os.access(QEMU_NBD_PROG, os.X_OK):
        skip(f'{QEMU_NBD_PROG} is not there')
    require_devices(*required_devices)


def bitmaps_die_in_crashes():
    """What is started from now on stores bitmaps only when it closes images."""
    os.environ['TIDEMARK_BITMAP_SAFETY'] = 'close'


def script_main(main, **needs):
    """Run a test's main function if what it needs is there (see verify)."""
    sys.stdout.reconfigure(line_buffering=True)
    verify(**needs)
    main()


# Tests in classes

def at(value, path):
    """The part of a value that a path like 'a/b[0]/c' leads to."""
    for word in filter(None, re.split(r'[/\[\]]+', path)):
        try:
            value = value[int(word) if isinstance(value, list) else word]
        except (KeyError, IndexError, TypeError, ValueError):
            raise AssertionError(f'there is no {word!r} of {path!r} in '
                                 f'{value!r}') from None
    return value


class TestCase(unittest.TestCase):
    """A test case whose failures show all of what was compared."""

    maxDiff = None

    def assert_at(self, value, path, expected):
        """The part of a QMP answer or an event is this."""
        self.assertEqual(at(value, path), expected, f'{path} of {value!r}')

    def assert_absent(self, value, path):
        try:
            found = at(value, path)
        except AssertionError:
            return
        self.fail(f'{path} of {value!r} is {found!r}')

    def assert_refused(self, vm, command, args=None, *, words='', cls=None):
        """A command fails, and its message holds these words."""
        answer = vm.client.execute(command, args)
        self.assertIn('error', answer, f'{command} {args} was not refused')
        self.assertIn(words, answer['error']['desc'])
        if cls:
            self.assertEqual(answer['error']['class'], cls)

    def assert_no_jobs(self, vm):
        self.assertEqual(vm.cmd('query-block-jobs'), [])


class _Report(io.TextIOBase):
    """unittest's report on stdout, where the expected output can hold it."""

    def write(self, text):
        text = re.sub(r'Ran (\d+) tests? in [\d.]+s', r'Ran \1 tests', text)
        return sys.stdout.write(text)

    def flush(self):
        sys.stdout.flush()


def main(**needs):
    """Run the test cases of the calling script; `needs` as for verify.

    Prints a dot for each test, and `Ran N tests` and `OK` at the end. Which
    tests: all, or those named on the command line (Class.test_name), or those
    that IOTESTS_ONLY names.
    """
    sys.stdout.reconfigure(line_buffering=True)
    verify(**needs)
    names = sys.argv[1:] or os.environ.get('IOTESTS_ONLY', '').split()
    runner = unittest.TextTestRunner(stream=_Report(), descriptions=False)
    unittest.main(argv=[sys.argv[0], *names], testRunner=runner,
                  warnings='ignore')
