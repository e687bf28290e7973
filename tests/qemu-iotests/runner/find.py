# SPDX-License-Identifier: GPL-2.0-or-later
#
# Finding the tests: every script in a folder here, and those of ../interop and
# ../tools.

import os
import re
import sys

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
INTEROP = os.path.realpath(os.path.join(HERE, '../interop'))
TOOLS = os.path.realpath(os.path.join(HERE, '../tools'))


class Test:
    """A test script; its header gives its groups and its number."""

    def __init__(self, name, path):
        self.name = name
        self.path = path
        with open(path, encoding='utf-8', errors='replace') as file:
            head = file.read(2000)
        self.is_python = 'python' in head.split('\n', 1)[0]
        self.groups = self._header(head, 'group')
        self.aliases = self._header(head, 'number')

    @staticmethod
    def _header(head, key):
        found = re.search(rf'^# {key}: (.*)$', head, re.M)
        return found.group(1).split() if found else []

    def command(self):
        # Without site-packages: looking for them takes longer than many tests.
        return [sys.executable, '-S', self.path] if self.is_python \
            else [self.path]

    def expected(self, imgfmt, imgproto):
        """The file with the expected output, be it there or not."""
        for part in (f'.{imgfmt}', f'.{imgproto}'):
            if os.path.exists(self.path + part + '.out'):
                return self.path + part + '.out'
        return self.path + '.out'


def _is_script(path):
    """A file that begins with "#!"."""
    if '.' in os.path.basename(path) or not os.path.isfile(path):
        return False
    with open(path, 'rb') as file:
        return file.read(2) == b'#!'


def find_tests(folder=None):
    """All tests, sorted by name. `folder`: those in it, and no others."""
    if folder:
        places = [('', folder)]
    else:
        places = [(f'{name}/', os.path.join(HERE, name))
                  for name in sorted(os.listdir(HERE))
                  if os.path.isdir(os.path.join(HERE, name))
                  and name[0] not in '._']
        places.append(('interop/', INTEROP))
        places.append(('tidemark/', TOOLS))
    return [Test(prefix + name, os.path.join(where, name))
            for prefix, where in places if os.path.isdir(where)
            for name in sorted(os.listdir(where))
            if _is_script(os.path.join(where, name))]


def select(tests, args):
    """The tests that the command line asks for."""
    chosen = []
    for word in args.tests:
        found = [t for t in tests
                 if word in (t.name, os.path.basename(t.name), *t.aliases)
                 or t.name.startswith(word.rstrip('/') + '/')]
        if not found:
            sys.exit(f'check: there is no test {word!r} '
                     '(./check --list shows them)')
        chosen += [t for t in found if t not in chosen]
    if not args.tests:
        chosen = tests
    for group in _groups(args.group):
        chosen = [t for t in chosen if group in t.groups]
    for group in _groups(args.exclude):
        chosen = [t for t in chosen if group not in t.groups]
    return chosen


def _groups(words):
    return [group for word in words for group in word.split(',')]
