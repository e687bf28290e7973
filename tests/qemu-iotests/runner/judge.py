# SPDX-License-Identifier: GPL-2.0-or-later
#
# The verdict from a test's exit status, its output and the reports of
# sanitizers and valgrind.

import difflib
import os
import re

SKIP_STATUS = 77
# A memory request that cannot be granted is told, too; the program was to cope.
SANITIZER = re.compile(r'(Address|Leak|Thread|UndefinedBehavior)Sanitizer'
                       r'(?! failed to allocate)|runtime error: ')


def normalise(lines):
    """Two block layers refuse the same things in different words."""
    return [re.sub(r'(refused \(\w+\)): .*', r'\1', line) for line in lines]


def judge(test, args, scratch, status, output):
    """Return (verdict, what to say about it)."""
    problems = reports(scratch)
    if status == SKIP_STATUS and not problems:
        last = (output.strip().splitlines() or [''])[-1]
        return 'skip', last.removeprefix('skipped: ')
    if status != 0:
        problems += [f'    exit status {status}; the end of what it says:']
        problems += output.splitlines()[-30:]
    with open(os.path.join(scratch, 'output'), 'w', encoding='utf-8') as file:
        file.write(output)
    expected = test.expected(args.imgfmt, args.imgproto)
    if args.update and status == 0:
        if args.peer:
            output = '\n'.join(normalise(output.splitlines()) + [''])
        with open(expected, 'w', encoding='utf-8') as file:
            file.write(output)
    if status == 0:
        problems += compare(expected, output, args.peer)
    return ('fail', '\n'.join(problems)) if problems else ('pass', '')


def compare(path, output, peer):
    """The lines of the difference between a file and the output."""
    expected = []
    if os.path.exists(path):
        with open(path, encoding='utf-8') as file:
            expected = file.read().splitlines()
    got = output.splitlines()
    if peer:
        expected, got = normalise(expected), normalise(got)
    return list(difflib.unified_diff(expected, got, 'expected', 'got',
                                     lineterm=''))


def reports(scratch):
    """What sanitizers and valgrind wrote while the test ran."""
    found = []
    for name in sorted(os.listdir(scratch)):
        path = os.path.join(scratch, name)
        whole = name.startswith('valgrind-') and name.endswith('.log')
        if not (whole or name.startswith('sanitizer')
                or name.endswith('.stderr')) or not os.path.isfile(path):
            continue
        with open(path, encoding='utf-8', errors='replace') as file:
            text = file.read()
        if re.search(r'^==\d+== ', text, re.M) if whole \
                else SANITIZER.search(text):
            found.append(f'    {name}:\n{text[:6000]}')
    return found
