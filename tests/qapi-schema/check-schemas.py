#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs the generator on every schema of this folder: NAME.json must be refused
# with the message in NAME.err, and be accepted where there is none.  What is
# generated from good.json must compile, each header alone too.
#
# usage: check-schemas.py GENERATOR QAPI-FOLDER [--update]
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def run(generator, schema, output):
    """The messages of the generator, with paths relative to this folder."""
    result = subprocess.run([sys.executable, "-B", generator, schema, output],
                            capture_output=True, text=True, check=False,
                            cwd=HERE)
    if "Traceback" in result.stderr:
        return "the generator crashed:\n" + result.stderr
    if (result.returncode == 0) != (not result.stderr):
        return f"exit status {result.returncode}\n" + result.stderr
    return result.stderr


def compiles(generator, include):
    """What the compiler says of the code made from good.json."""
    flags = subprocess.run(["pkg-config", "--cflags", "glib-2.0", "json-c"],
                           capture_output=True, text=True,
                           check=True).stdout.split()
    messages = ""
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "qapi")
        os.mkdir(target)
        messages += run(generator, "good.json", target)
        for name in sorted(os.listdir(target)):
            if name.endswith((".c", ".h")):
                messages += subprocess.run(
                    [os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE",
                     "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter",
                     "-Wno-missing-field-initializers", "-fsyntax-only",
                     "-include", "qemu/osdep.h", "-x", "c",
                     "-I", include, "-I", folder, *flags,
                     os.path.join(target, name)],
                    capture_output=True, text=True, check=False).stderr
    return messages


def main(argv):
    generator = os.path.abspath(argv[1])
    include = os.path.join(argv[2], "..", "include")
    failed = 0
    names = sorted(name[:-5] for name in os.listdir(HERE)
                   if name.endswith(".json"))
    for name in names:
        expected = os.path.join(HERE, name + ".err")
        message = run(generator, name + ".json", "-")
        if "--update" in argv and message:
            with open(expected, "w", encoding="utf-8") as file:
                file.write(message)
        if message != read(expected):
            failed += 1
            print(f"{name}: expected\n{read(expected)}got\n{message}")
    message = compiles(generator, include)
    if message:
        failed += 1
        print(f"good.json does not compile:\n{message}")
    print(f"{len(names)} schemas, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
