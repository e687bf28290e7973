# SPDX-License-Identifier: GPL-2.0-or-later
#
# Settings for programs built with ThreadSanitizer.

import ctypes
import os
import sys

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SUPPRESSIONS = os.path.join(HERE, '../tsan/suppressions.txt')
ADDR_NO_RANDOMIZE = 0x0040000
# With more random bits a program now and then finds libraries where its shadow
# memory has to be, and gives up.
MOST_RANDOM_BITS = 28


def _random_bits():
    try:
        with open('/proc/sys/vm/mmap_rnd_bits', encoding='ascii') as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def fix_addresses(personality=None, random_bits=None):
    """No random addresses for this process and all that it starts.

    What `setarch -R` does.  Containers may forbid it; then the kernel's number
    of random bits decides.
    """
    personality = personality or ctypes.CDLL(None).personality
    random_bits = random_bits or _random_bits
    now = personality(0xffffffff)
    if now != -1 and (now & ADDR_NO_RANDOMIZE or
                      personality(now | ADDR_NO_RANDOMIZE) != -1):
        return
    if random_bits() > MOST_RANDOM_BITS:
        sys.exit('ThreadSanitizer needs fixed addresses, and personality(2) is '
                 'not allowed here: set the sysctl vm.mmap_rnd_bits to '
                 f'{MOST_RANDOM_BITS}')


def environment(env, log_path=None):
    """`env` with what ThreadSanitizer and GLib are to do.

    A forked child of a process with threads may have threads.  Waiting at exit
    finds nothing where threads are joined.  Slices that GLib hands from thread
    to thread would look like races of those who use them.
    """
    options = ['exitcode=99', 'die_after_fork=0', 'atexit_sleep_ms=0',
               'second_deadlock_stack=1', f'suppressions={SUPPRESSIONS}']
    if log_path:
        options.append(f'log_path={log_path}')
    if env.get('TSAN_OPTIONS'):
        options.append(env['TSAN_OPTIONS'])
    return dict(env, TSAN_OPTIONS=':'.join(options), G_SLICE='always-malloc')
