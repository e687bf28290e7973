# SPDX-License-Identifier: GPL-2.0-or-later
# usage: generate.py SCHEMA OUTPUT-FOLDER [--program NAME] [KIND…]
#
# Reads a schema and writes the files of each kind (types, commands, events,
# introspect, docs; all where none is named).  With OUTPUT-FOLDER - it only
# checks the schema.  With a program's name the table of commands and the
# introspection get this name, so that programs with schemas of their own can
# share the types.
import importlib
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                ".."))

# pylint: disable=wrong-import-position
from qapi.error import SchemaError  # noqa: E402
from qapi.schema import Schema  # noqa: E402

KINDS = ("types", "commands", "events", "introspect", "docs")


def write(path, text):
    """Writes a file, unless it has this content already."""
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    except OSError:
        pass
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def main(argv):
    if len(argv) < 3:
        print("usage: generate.py SCHEMA OUTPUT-FOLDER [KIND…]",
              file=sys.stderr)
        return 2
    try:
        schema = Schema(argv[1])
    except (SchemaError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if argv[2] == "-":
        return 0
    kinds = argv[3:]
    if kinds and kinds[0] == "--program":
        schema.program = kinds[1]
        kinds = kinds[2:]
    for kind in kinds or KINDS:
        module = importlib.import_module("qapi.gen_" + kind)
        for name, text in module.generate(schema).items():
            write(os.path.join(argv[2], name), text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
