# SPDX-License-Identifier: GPL-2.0-or-later
# Conversion of names of the schema to names in C.
import re

# Keywords of C, and macros that compilers and libc define with small letters.
RESERVED = set("""
auto break case char const continue default do double else enum extern float
for goto if inline int long register restrict return short signed sizeof
static struct switch typedef union unsigned void volatile while bool true
false asm typeof errno unix linux i386
""".split())


def c_name(name):
    """A member, branch or variable."""
    result = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if result in RESERVED or result[0].isdigit():
        return "q_" + result
    return result


def upper(name):
    """CamelCase or lower-case to UPPER_CASE."""
    name = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"[^A-Za-z0-9]", "_", name).upper()


def camel(name):
    """block-dirty-bitmap-add or BLOCK_JOB_READY to CamelCase."""
    parts = re.split(r"[-_]", name)
    return "".join(part[:1].upper() + part[1:].lower() for part in parts)


def c_string(text):
    """A C string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
