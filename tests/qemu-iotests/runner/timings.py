# SPDX-License-Identifier: GPL-2.0-or-later
#
# The duration of each test when it last passed, for each format, protocol and
# mode; stored beside the programs where they are built.

import json
import os
import tempfile

import programs


class Timings:
    def __init__(self, args):
        folder = args.build
        if folder == programs.installed() or not os.access(folder, os.W_OK):
            folder = args.scratch or tempfile.gettempdir()
        self.path = os.path.join(folder, 'iotests-times.json')
        words = ['peer'] * args.peer + [args.imgfmt, args.imgproto]
        words += [word for word in (args.cachemode, args.aiomode) if word]
        words += ['valgrind'] * args.valgrind
        self.key = '-'.join(words)
        self.last = self._load().get(self.key, {})
        self.now = {}

    def _load(self):
        try:
            with open(self.path, encoding='utf-8') as file:
                found = json.load(file)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def note(self, test, seconds):
        self.now[test.name] = round(seconds, 1)

    def save(self):
        """Add what is new to what others may have written meanwhile."""
        known = self._load()
        known.setdefault(self.key, {}).update(self.now)
        try:
            with tempfile.NamedTemporaryFile(
                    'w', dir=os.path.dirname(self.path), delete=False,
                    encoding='utf-8') as file:
                json.dump(known, file, indent=1, sort_keys=True)
            os.replace(file.name, self.path)
        except OSError:
            pass                    # a comfort, and no more

    def longest_first(self, tests):
        """Tests of which nothing is known go between: slow ones first."""
        def seconds(test):
            return self.last.get(test.name, 9 if 'slow' in test.groups else 0)
        return sorted(tests, key=seconds, reverse=True)
