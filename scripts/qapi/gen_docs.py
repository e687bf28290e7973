# SPDX-License-Identifier: GPL-2.0-or-later
# qmp-reference.rst: the reference manual, from the documentation blocks.
from .parser import Doc
from .schema import Command, Event

INTRO = """\
.. SPDX-License-Identifier: GPL-2.0-or-later
.. Generated from qapi/schema.json: do not edit.

QMP reference
=============

All commands, events and types that a monitor knows.  A member marked
*optional* may be left out; where it has a default, that is what holds then.
"""


def type_name(entity):
    if entity.meta == "array":
        return f"list of {type_name(entity.element)}"
    if entity.meta == "builtin":
        return f"``{entity.name}``"
    return f"`{entity.name}`_" if not getattr(entity, "implicit", False) \
        else entity.name


def member_notes(member):
    notes = [type_name(member.type)]
    if member.default is not None:
        default = {True: "true", False: "false"}.get(member.default) \
            if isinstance(member.default, bool) else member.default
        notes.append(f"default: ``{default}``")
    elif member.optional:
        notes.append("optional")
    return ", ".join(notes + member.features)


def member_lines(members, doc):
    out = []
    for member in members:
        text = doc.members.get(member.name, "") if doc else ""
        out.append(f"``{member.name}`` ({member_notes(member)})")
        out += [f"    {text[:1].upper() + text[1:]}" if text else "    \\",
                ""]
    return out


def own_members(entity, doc):
    """Members of an object type, its base and its branches by reference."""
    out = []
    if entity.base:
        out += [f"The members of {type_name(entity.base)}, and:", ""]
    out += member_lines(entity.own, doc)
    if entity.branches:
        out += [f"Further members, by ``{entity.discriminator}``:", ""]
        out += [f"- ``{name}``: the members of {type_name(branch)}"
                for name, branch in entity.branches.items()]
        out.append("")
    return out


def title(name, mark, label=None):
    return [f".. _{label or name}:", "", name, mark * len(name), ""]


def call_section(entity):
    what = "Event" if isinstance(entity, Event) else "Command"
    # There are the command "stop" and the event "STOP"; labels have no case.
    label = f"event-{entity.name}" if what == "Event" else None
    out = title(entity.name, "~", label) + [f"*{what}*"
                                     + notes(entity.features), ""]
    out += [entity.doc.text, ""]
    if entity.arg and entity.arg.implicit:
        out += member_lines(entity.arg.own, entity.doc)
    elif entity.arg:
        out += [f"Arguments: the members of {type_name(entity.arg)}.", ""]
    if entity.ret:
        out += [f"Returns {type_name(entity.ret)}.", ""]
    return out


def notes(features):
    return f" ({', '.join(features)})" if features else ""


def type_section(entity):
    kind = "union" if getattr(entity, "branches", None) \
        and entity.meta == "object" else \
        {"object": "struct"}.get(entity.meta, entity.meta)
    out = title(entity.name, "~") + [f"*{kind.capitalize()}*"
                                     + notes(entity.features), ""]
    out += [entity.doc.text, ""]
    if entity.meta == "enum":
        for value in entity.names():
            text = entity.doc.members.get(value, "")
            out.append(f"- ``{value}``" + (f": {text}" if text else ""))
        return out + [""]
    if entity.meta == "alternate":
        return out + [f"- {type_name(branch.type)}"
                      for branch in entity.branches] + [""]
    return out + own_members(entity, entity.doc)


def generate(schema):
    out = [INTRO]
    for item in schema.order:
        if isinstance(item, Doc):
            out += [item.heading, "-" * len(item.heading), ""]
        elif isinstance(item, Command):
            out += call_section(item)
        else:
            out += type_section(item)
    return {"qmp-reference.rst": "\n".join(out)}
