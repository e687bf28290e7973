# SPDX-License-Identifier: GPL-2.0-or-later
#
# Reads pages of docs/interop whose examples are executed by tests.
#
# "$" lines are run, "->" lines are sent, and what "<-" lines show must come:
# members shown must be there and equal, others may be; of a list the elements
# shown must be there, in that order. Comments that readers of the page do not
# see: ".. guest writes OFFSET BYTES", and ".. at NAME" before a part that
# happens in another place.

import json
import os

from iotests import KIB, MIB

FOLDER = os.path.join(os.path.dirname(os.path.realpath(__file__)),
                      '../../docs/interop')


def read_page(name):
    with open(os.path.join(FOLDER, name + '.rst'), encoding='utf-8') as file:
        return file.read()


def steps(text):
    """What the page does, as (kind, text) in its order."""
    block, margin = None, 0
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        words = line.split()
        if words[:2] == ['..', 'code-block::']:
            block, margin = words[2], indent
        elif words[:2] == ['..', 'at']:
            yield 'at', words[2]
        elif words[:3] == ['..', 'guest', 'writes']:
            yield 'guest', ' '.join(words[3:])
        elif words and indent <= margin:
            block = None
        elif block in ('console', 'json') and words:
            yield block, line[margin + 3:]


def messages(text):
    """The same, with the lines of one JSON message put together."""
    pending = None
    for kind, line in list(steps(text)) + [('end', '')]:
        starts = kind != 'json' or line[:3] in ('-> ', '<- ')
        if pending and starts:
            yield pending[0], json.loads(pending[1])
            pending = None
        if kind == 'json':
            if starts:
                pending = ['send' if line[0] == '-' else 'expect', '']
            pending[1] += line[3:]
        elif kind != 'end':
            yield kind, line


def holds(shown, got):
    """Is what the page shows in what has come?"""
    if isinstance(shown, dict):
        return isinstance(got, dict) and all(
            key in got and holds(value, got[key])
            for key, value in shown.items())
    if isinstance(shown, list):
        rest = iter(got)
        return all(any(holds(value, other) for other in rest)
                   for value in shown)
    return shown == got


def size_of(text):
    units = {'K': KIB, 'M': MIB}
    return int(text[:-1]) * units[text[-1]] if text[-1] in units else int(text)
