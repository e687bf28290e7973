# SPDX-License-Identifier: GPL-2.0-or-later
#
# The command line of `check`.

import argparse
import os
import sys

import programs

# Names that people may write; which of them are there, the programs know.
FORMATS = ('raw', 'bochs', 'cloop', 'dmg', 'luks', 'parallels', 'qcow',
           'qcow2', 'qed', 'vdi', 'vhdx', 'vmdk', 'vpc', 'vvfat')
PROTOCOLS = ('file', 'fuse', 'http', 'nbd', 'nfs', 'rbd', 'ssh')
CACHE_MODES = ('none', 'writethrough', 'writeback', 'directsync', 'unsafe')
AIO_MODES = ('threads', 'native', 'io_uring')


def _words(parser):
    """-qcow2 or --qcow2, and so on: one dash as QEMU's users write it."""
    group = parser.add_argument_group(
        'image format (qcow2; over nbd: raw)',
        ' '.join(f'-{name}' for name in FORMATS))
    for name in FORMATS:
        group.add_argument(f'-{name}', f'--{name}', dest='imgfmt',
                           action='store_const', const=name,
                           help=argparse.SUPPRESS)
    group = parser.add_argument_group(
        'image protocol (file)', ' '.join(f'-{name}' for name in PROTOCOLS))
    for name in PROTOCOLS:
        group.add_argument(f'-{name}', f'--{name}', dest='imgproto',
                           action='store_const', const=name,
                           help=argparse.SUPPRESS)


def _choice(parser):
    group = parser.add_argument_group('which tests')
    group.add_argument('-g', '--group', '--groups', action='append',
                       default=[], help='only tests of this group')
    group.add_argument('-x', '--exclude', '--exclude-groups',
                       action='append', default=[],
                       help='no tests of this group')
    group.add_argument('--list', action='store_true',
                       help='show the tests, their numbers and groups')
    group.add_argument('-t', '--times', action='store_true',
                       help='show how long they took, the longest first')
    group.add_argument('-n', '--dry-run', '-dry-run', action='store_true',
                       help='show the names of what would run')
    group.add_argument('--folder', help='find the tests in this folder')


def _ways(parser):
    group = parser.add_argument_group('how')
    group.add_argument('-c', '--cache', dest='cachemode', metavar='MODE',
                       choices=CACHE_MODES, help=', '.join(CACHE_MODES))
    group.add_argument('-nocache', '--nocache', dest='cachemode',
                       action='store_const', const='none',
                       help='the same as -c none')
    group.add_argument('-i', '--aio', dest='aiomode', metavar='AIO',
                       choices=AIO_MODES, help=', '.join(AIO_MODES))
    group.add_argument('--iothread', action='store_true',
                       help='exports are in two I/O threads in turn')
    group.add_argument('-o', '--imgopts', '-imgopts', metavar='OPTIONS',
                       help='options of created images of the format')
    group.add_argument('-j', '--jobs', type=int, default=2, metavar='N',
                       help='tests at the same time (2)')
    group.add_argument('-b', '--build', metavar='DIR',
                       default=programs.folder(),
                       help='where the programs are (../../build, or where '
                       'tidemark-img is installed)')
    group.add_argument('--peer', '-peer', action='store_true',
                       help='test the programs in /usr/bin, and do not '
                       'compare the words of refusals')
    group.add_argument('--timeout', type=int, metavar='SECONDS',
                       help='per test (120)')
    group.add_argument('--scratch', metavar='DIR',
                       help='folder for scratch folders (/tmp)')
    group.add_argument('--keep', action='store_true',
                       help='keep the files of tests that pass')
    group.add_argument('--update', action='store_true',
                       help='write what comes out as what is expected')
    group.add_argument('-T', '--timestamps', action='store_true',
                       help='show when each test began and ended')


def _debugging(parser):
    group = parser.add_argument_group('debugging')
    group.add_argument('-d', '--debug', '-debug', action='store_true',
                       help='show the QMP traffic')
    group.add_argument('-p', '--print', '-print', dest='show',
                       action='store_true',
                       help="show the tests' output as it comes, and what "
                       'the programs print')
    group.add_argument('-valgrind', '--valgrind', action='store_true',
                       help='run the programs under valgrind; its reports '
                       'are failures')
    group.add_argument('-gdb', '--gdb', action='store_true',
                       help='run daemons and machines under gdbserver '
                       '(GDB_OPTIONS, localhost:12345), or gdb if there is '
                       'none')


def _unknown(parser, argv):
    """Words that look like options and are none; -jN is one.

    Left to itself the parser takes -nosuch for -n -o such.
    """
    known = parser._option_string_actions       # pylint: disable=W0212
    words = []
    for number, word in enumerate(argv):
        before = known.get(argv[number - 1]) if number else None
        is_value = before is not None and before.nargs != 0
        if word[:1] == '-' and word != '-' and not is_value and \
                word.split('=')[0] not in known and \
                not (word[:2] == '-j' and word[2:].isdigit()):
            words.append(word)
    return words


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='check', allow_abbrev=False,
        usage='check [-FORMAT] [-PROTOCOL] [option]... [TEST]...',
        description='Run the tests of the block layer: all, or those named; '
        'docs/devel/testing.rst tells more.')
    parser.add_argument('tests', nargs='*', metavar='TEST',
                        help='a name, a folder, or a number')
    for part in (_words, _choice, _ways, _debugging):
        part(parser)
    unknown = _unknown(parser, argv)
    args, _ = parser.parse_known_intermixed_args(
        [word for word in argv if word not in unknown])
    for word in unknown:
        sys.exit(f'check: {word} is no option, image format or protocol '
                 '(see --help)')
    if args.valgrind and args.gdb:
        sys.exit('check: -valgrind or -gdb, not both')
    args.imgproto = args.imgproto or 'file'
    args.imgfmt = args.imgfmt or ('qcow2' if args.imgproto == 'file'
                                  else 'raw')
    if args.debug or args.show or args.gdb:
        args.jobs = 1
    args.jobs = max(args.jobs, 1)
    args.build = os.path.realpath(args.build)
    return args
