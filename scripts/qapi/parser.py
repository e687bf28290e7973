# SPDX-License-Identifier: GPL-2.0-or-later
# Reads schema files: Python-like JSON with comments, into expressions.
#
# An expression is a dict with the line it begins on and the documentation
# block in front of it.  Nothing is known of types here; see schema.py.
import os
import re

from .error import SchemaError, Where

TOKEN = re.compile(r"""
    (?P<space>[ \t\n]+)
  | (?P<comment>\#[^\n]*)
  | (?P<string>'[^'\n]*')
  | (?P<number>-?[0-9]+)
  | (?P<word>[a-z]+)
  | (?P<punct>[{}\[\]:,])
""", re.VERBOSE)

WORDS = {"true": True, "false": False}


class Doc:
    """A documentation block: a heading, or text and members of a name."""

    def __init__(self, where):
        self.where = where
        self.heading = None
        self.name = None
        self.text = ""
        self.members = {}


class Expression:
    """One top-level expression of a schema file."""

    def __init__(self, where, data, doc, module):
        self.where, self.data, self.doc = where, data, doc
        self.module = module


def tokenize(path, text):
    """Yields (kind, value, line); comments are kept."""
    position, line = 0, 1
    while position < len(text):
        match = TOKEN.match(text, position)
        if not match:
            raise SchemaError(Where(path, line),
                              f"stray character '{text[position]}'")
        kind, value = match.lastgroup, match.group()
        if kind != "space":
            yield kind, value, line
        line += value.count("\n")
        position = match.end()
    yield "end", "end of file", line


def parse_doc(where, lines):
    """Makes a Doc of the comment lines between two ## lines."""
    doc = Doc(where)
    section = None
    for line in lines:
        text = line[1:].strip()
        match = re.match(r"@([A-Za-z0-9_-]+):\s*(.*)$", text)
        if text.startswith("= "):
            doc.heading = text[2:]
        elif match and doc.name is None:
            doc.name, doc.text, section = match.group(1), match.group(2), None
        elif match:
            section, doc.members[match.group(1)] = match.group(1), \
                match.group(2)
        elif section:
            doc.members[section] = f"{doc.members[section]} {text}".strip()
        elif doc.name:
            doc.text = f"{doc.text}\n{text}" if not text \
                else f"{doc.text} {text}"
        elif text:
            raise SchemaError(where, "documentation must begin with '@NAME:'")
    doc.text = doc.text.strip()
    return doc


class Parser:
    """Parses one file and those it includes; each file counts once."""

    def __init__(self, path, seen=None, module=None, root=None):
        self.path = path
        self.root = root or os.path.dirname(path)
        self.seen = seen if seen is not None else {os.path.abspath(path)}
        self.module = os.path.splitext(os.path.basename(path))[0]
        self.items = []
        self.doc = None
        with open(path, encoding="utf-8") as file:
            self.tokens = list(tokenize(path, file.read()))
        self.position = 0

    def where(self):
        return Where(self.path, self.tokens[self.position][2])

    def fail(self, message):
        raise SchemaError(self.where(), message)

    def skip_comments(self):
        """Passes comments; a ## block becomes the pending documentation."""
        while self.tokens[self.position][0] == "comment":
            if self.tokens[self.position][1] != "##":
                self.position += 1
                continue
            where, lines = self.where(), []
            self.position += 1
            while self.tokens[self.position][1] != "##":
                kind, value, _ = self.tokens[self.position]
                if kind != "comment":
                    raise SchemaError(where, "documentation has no end")
                lines.append(value)
                self.position += 1
            self.position += 1
            self.take_doc(parse_doc(where, lines))

    def take_doc(self, doc):
        if doc.heading:
            self.items.append(doc)
            return
        if self.doc:
            raise SchemaError(self.doc.where,
                              "documentation belongs to nothing")
        self.doc = doc

    def next(self):
        self.skip_comments()
        token = self.tokens[self.position]
        if token[0] != "end":
            self.position += 1
        return token

    def peek(self):
        self.skip_comments()
        return self.tokens[self.position]

    def expect(self, value):
        where_token = self.peek()
        if where_token[1] != value:
            self.fail(f"expected '{value}', found {where_token[1]}")
        self.next()

    def value(self):
        kind, text, _ = self.peek()
        if kind == "string":
            self.next()
            return text[1:-1]
        if kind == "number":
            self.next()
            return int(text)
        if kind == "word" and text in WORDS:
            self.next()
            return WORDS[text]
        if text == "{":
            return self.object()
        if text == "[":
            return self.array()
        return self.fail(f"expected a value, found {text}")

    def object(self):
        self.expect("{")
        result = {}
        while self.peek()[1] != "}":
            if result:
                self.expect(",")
            kind, text, _ = self.peek()
            if kind != "string":
                self.fail(f"expected a string, found {text}")
            self.next()
            if text[1:-1] in result:
                self.fail(f"duplicate key {text}")
            self.expect(":")
            result[text[1:-1]] = self.value()
        self.next()
        return result

    def array(self):
        self.expect("[")
        result = []
        while self.peek()[1] != "]":
            if result:
                self.expect(",")
            result.append(self.value())
        self.next()
        return result

    def parse(self):
        """Returns the list of Expression and heading Doc, in order."""
        while self.peek()[0] != "end":
            where = self.where()
            if self.peek()[1] != "{":
                self.fail(f"expected '{{', found {self.peek()[1]}")
            data = self.object()
            if "include" in data:
                self.include(where, data)
            else:
                self.items.append(
                    Expression(where, data, self.doc, self.module))
                self.doc = None
        if self.doc:
            raise SchemaError(self.doc.where,
                              "documentation belongs to nothing")
        return self.items

    def include(self, where, data):
        name = data["include"]
        if len(data) != 1 or not isinstance(name, str):
            raise SchemaError(where, "'include' takes the name of a file")
        path = os.path.join(os.path.dirname(self.path), name)
        if os.path.abspath(path) in self.seen:
            return
        self.seen.add(os.path.abspath(path))
        if not os.path.exists(path):
            raise SchemaError(where, f"include file '{name}' does not exist")
        self.items += Parser(path, self.seen).parse()
