# SPDX-License-Identifier: GPL-2.0-or-later
# qapi-introspect.h and qapi-introspect.c: the answer to query-qmp-schema.
#
# Only commands, events and built-in types keep their names.  All other types
# get numbers, so that clients cannot come to depend on names that are nobody's
# business; numbers are given in the order in which types are first used.
import json

from .gen_types import HEAD
from .names import c_string


class Introspection:
    """Collects the entities that commands and events reach."""

    def __init__(self, schema):
        self.schema = schema
        self.numbers = {}
        self.entities = []
        self.pending, self.seen = [], set()

    def number(self, entity):
        """The name of a type in the answer."""
        if entity is None:
            key = "0"
        elif entity.meta == "builtin":
            key = entity.info_name
        elif entity.meta == "array":
            key = f"[{self.number(entity.element)}]"
        else:
            # Object types without any member are all the same: 0.
            empty = entity.meta == "object" and not entity.members() \
                and not entity.branches
            key = "0" if empty else self.numbers.get(entity.name)
        if key is None:
            key = str(len(self.numbers) + 1)
            self.numbers[entity.name] = key
        if key not in self.seen:
            self.seen.add(key)
            self.pending.append((key, entity))
        return key

    def collect(self):
        for command in self.schema.commands:
            self.add(command.name, "command", command.features,
                     **{"arg-type": self.number(command.arg),
                        "ret-type": self.number(command.ret)},
                     **({"allow-oob": True}
                        if command.flags.get("allow-oob") else {}))
        for event in self.schema.events:
            self.add(event.name, "event", event.features,
                     **{"arg-type": self.number(event.arg)})
        while self.pending:
            key, entity = self.pending.pop(0)
            meta = "object" if entity is None else entity.meta
            features = entity.features if entity else []
            self.add(key, meta, features, **getattr(self, meta)(entity))
        return self.entities

    def add(self, name, meta, features, **more):
        entity = {"name": name, "meta-type": meta, **more}
        if features:
            entity["features"] = features
        self.entities.append(entity)

    # --- what each meta-type adds ---

    @staticmethod
    def builtin(entity):
        return {"json-type": entity.json_type}

    def array(self, entity):
        return {"element-type": self.number(entity.element)}

    @staticmethod
    def enum(entity):
        members = [{"name": name, **({"features": f} if f else {})}
                   for name, f in entity.values]
        return {"members": members, "values": entity.names()}

    def alternate(self, entity):
        return {"members": [{"type": self.number(branch.type)}
                            for branch in entity.branches]}

    def member(self, member):
        result = {"name": member.name, "type": self.number(member.type)}
        if member.optional:
            result["default"] = None
        if member.features:
            result["features"] = member.features
        return result

    def object(self, entity):
        if entity is None:
            return {"members": []}
        result = {"members": [self.member(m) for m in entity.members()]}
        if entity.branches:
            result["tag"] = entity.discriminator
            result["variants"] = [
                {"case": name, "type": self.number(branch)}
                for name, branch in entity.branches.items()]
        return result


def generate(schema):
    entities = Introspection(schema).collect()
    lines = [json.dumps(entity, separators=(",", ":")) for entity in entities]
    text = [line + "," for line in lines[:-1]] + lines[-1:]
    guard = schema.bar("QAPI_QAPI_INTROSPECT").upper() + "_H"
    name = schema.dash("qapi-introspect")
    variable = f"const char {schema.bar('qapi_introspect_text')}[]"
    header = [HEAD.format(what="The QMP schema as JSON."),
              f"#ifndef {guard}", f"#define {guard}", "",
              "/* The answer to query-qmp-schema. */",
              f"extern {variable};", "", "#endif", ""]
    source = [HEAD.format(what="The QMP schema as JSON."),
              '#include "qemu/osdep.h"', f'#include "qapi/{name}.h"',
              "", f"{variable} =", '    "["']
    source += ["    " + c_string(line) for line in text]
    source += ['    "]";', ""]
    return {name + ".h": "\n".join(header), name + ".c": "\n".join(source)}
