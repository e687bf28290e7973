# SPDX-License-Identifier: GPL-2.0-or-later
"""What the scripts share that give the same input to our programs and to the
installed peer's: their command line, scenarios, and how they count and tell.
"""
import os
import re
import shutil
import sys

SKIPPED = 77
PAGE = os.path.join(os.path.dirname(os.path.realpath(__file__)),
                    '../../docs/interop/differences.rst')


def differences():
    """The names of the differences of which docs/interop/differences.rst says
    that they are compared."""
    with open(PAGE, encoding='utf-8') as f:
        return re.findall(r'^``([-a-z0-9.]+)`` \(compared\)$', f.read(), re.M)


def split_known(line):
    """(pattern of our answer, rest) of "!NAME /PATTERN/ REST", what is known to
    differ under that name; else (None, line)."""
    if line[0] != '!':
        return None, line
    words = re.fullmatch(r'!(\S+) /(.*?)/ (.*)', line)
    if not words or words[1] not in differences():
        sys.exit('%r has no pattern, or is no difference that docs/interop/'
                 'differences.rst says to be compared' % line)
    return words[2], words[3]


def command_line(doc, *programs):
    """(folder of ours, folder of the peer's, all other arguments); ends with
    77 where the peer does not have all @programs.  Ours store bitmaps when they
    close images, as the peer does."""
    os.environ['TIDEMARK_BITMAP_SAFETY'] = 'close'
    arguments = [a for a in sys.argv[1:] if a != '-v']
    if not arguments:
        sys.exit(doc)
    ours, peer = os.path.abspath(arguments.pop(0)), '/usr/bin'
    if arguments and os.path.isdir(arguments[0]):
        peer = os.path.abspath(arguments.pop(0))
    for program in programs:
        if not shutil.which(program, path=peer):
            print('skipped: no %s in %s' % (program, peer))
            sys.exit(SKIPPED)
    return ours, peer, arguments


def read_scenario(path):
    """The lines of a file, but for empty ones and comments."""
    with open(path, encoding='utf-8') as f:
        return [li for li in f.read().splitlines()
                if li.strip() and li[0] != '#']


def read_scenarios(folder):
    """Name: lines, for every NAME.txt in @folder."""
    return {name.removesuffix('.txt'):
            read_scenario(os.path.join(folder, name))
            for name in sorted(os.listdir(folder))}


def normal(text, filters):
    """@text without what differs between two runs of one program."""
    for pattern, by in filters:
        text = re.sub(pattern, by, text)
    return text


class Comparison:
    """Counts and tells what differs."""

    def __init__(self):
        self.verbose = '-v' in sys.argv
        self.total = self.different = 0

    def same(self, title):
        self.total += 1
        if self.verbose:
            print('same: ' + title)

    def differs(self, title, peer, ours):
        """@peer, @ours: what each said; may have more than one line."""
        self.total += 1
        self.different += 1
        print(title)
        for side, text in (('peer', peer), ('ours', ours)):
            print('  %s: %s' % (side, text.replace('\n', '\n        ')))

    def not_any_more(self, title):
        """Two that are said to differ, and do not: what says so is wrong."""
        self.total += 1
        self.different += 1
        print('no longer differs: ' + title)

    def end(self, what):
        """Ends the program: with 1 where something differs, or nothing was
        compared."""
        print('%d %s, %d differ' % (self.total, what, self.different))
        sys.exit(1 if self.different or not self.total else 0)
