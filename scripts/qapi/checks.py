# SPDX-License-Identifier: GPL-2.0-or-later
# Rules that a schema must obey; each has a fixture in tests/qapi-schema/ with
# its message.
import re

from .error import SchemaError

COMMAND_FLAGS = ("boxed", "coroutine", "allow-oob", "allow-preconfig", "gen")

# meta-type: (required keys, optional keys)
KEYS = {
    "enum": ({"data"}, {"prefix", "features"}),
    "struct": ({"data"}, {"base", "features"}),
    "union": ({"data", "base", "discriminator"}, {"features"}),
    "alternate": ({"data"}, {"features"}),
    "command": (set(), {"data", "returns", "features"} | set(COMMAND_FLAGS)),
    "event": (set(), {"data", "boxed", "features"}),
}

NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
CAMEL = re.compile(r"^[A-Z][A-Za-z0-9]*[a-z0-9][A-Za-z0-9]*$")
COMMAND = re.compile(r"^[a-z][a-z0-9_-]*$")
EVENT = re.compile(r"^[A-Z][A-Z0-9_]*$")
NAME_RULES = {"command": (COMMAND, "lower case"),
              "event": (EVENT, "UPPER_CASE")}


def fail(where, message):
    raise SchemaError(where, message)


# --- shape of one expression, before any name is looked up ---

def check_shape(expr):
    """Checks keys and the types of their values; returns (meta, name)."""
    metas = [meta for meta in KEYS if meta in expr.data]
    if len(metas) != 1:
        fail(expr.where, "expression needs exactly one of "
             + ", ".join(f"'{meta}'" for meta in KEYS))
    meta = metas[0]
    name = expr.data[meta]
    if not isinstance(name, str):
        fail(expr.where, f"'{meta}' takes a name")
    where = expr.where.within(f"{meta} '{name}'")
    rule, words = NAME_RULES.get(meta, (CAMEL, "CamelCase"))
    if not rule.match(name):
        fail(where, f"name must be {words}")
    required, optional = KEYS[meta]
    keys = set(expr.data) - {meta}
    for key in sorted(required - keys):
        fail(where, f"'{key}' is missing")
    for key in sorted(keys - required - optional):
        fail(where, f"unknown key '{key}'")
    for key in COMMAND_FLAGS:
        if key in expr.data and not isinstance(expr.data[key], bool):
            fail(where, f"'{key}' takes true or false")
    check_features(where, expr.data)
    CHECK_DATA[meta](where, expr.data)
    return meta, name


def check_features(where, data):
    features = data.get("features", [])
    if not isinstance(features, list) \
            or any(not isinstance(f, str) for f in features):
        fail(where, "'features' takes a list of names")


def check_enum_data(where, data):
    if not isinstance(data["data"], list):
        fail(where, "'data' takes a list of names")
    names = []
    for value in data["data"]:
        if isinstance(value, dict):
            check_features(where, value)
            value = value.get("name")
        if not isinstance(value, str) or not NAME.match(value):
            fail(where, f"invalid value {value!r}")
        if value in names:
            fail(where, f"value '{value}' appears twice")
        names.append(value)


def check_type_ref(where, ref, role):
    if isinstance(ref, list):
        if len(ref) != 1 or not isinstance(ref[0], str):
            fail(where, f"{role}: a list type has one element type")
    elif not isinstance(ref, str):
        fail(where, f"{role} takes the name of a type")


def check_members(where, data, key="data"):
    members = data[key]
    if not isinstance(members, dict):
        fail(where, f"'{key}' takes a dictionary")
    for name, ref in members.items():
        plain = name[1:] if name.startswith("*") else name
        role = f"member '{plain}'"
        if not NAME.match(plain):
            fail(where, f"{role} has an invalid name")
        if isinstance(ref, dict):
            for extra in sorted(set(ref) - {"type", "features", "default",
                                           "empty"}):
                fail(where, f"{role} has unknown key '{extra}'")
            if "type" not in ref:
                fail(where, f"{role} has no type")
            check_features(where, ref)
            if "default" in ref and not name.startswith("*"):
                fail(where, f"{role} has a default but is not optional")
            if "empty" in ref and not (name.startswith("*") and
                                       isinstance(ref["type"], list)):
                fail(where, f"{role} has 'empty' but is no optional list")
            ref = ref["type"]
        check_type_ref(where, ref, role)


def check_struct_data(where, data):
    check_members(where, data)
    if "base" in data and not isinstance(data["base"], str):
        fail(where, "'base' takes the name of a struct")


def check_union_data(where, data):
    if not isinstance(data["discriminator"], str):
        fail(where, "'discriminator' takes the name of a member")
    if not isinstance(data["base"], str):
        check_members(where, data, "base")
    if not isinstance(data["data"], dict) or not data["data"]:
        fail(where, "'data' takes a dictionary of branches")
    for name, ref in data["data"].items():
        if not isinstance(ref, str):
            fail(where, f"branch '{name}' takes the name of a struct")


def check_alternate_data(where, data):
    check_members(where, data)
    if not data["data"]:
        fail(where, "an alternate needs branches")
    for name in data["data"]:
        if name.startswith("*"):
            fail(where, f"branch '{name[1:]}' cannot be optional")


def check_call_data(where, data):
    if data.get("boxed") and not isinstance(data.get("data"), str):
        fail(where, "'boxed' needs a named type as 'data'")
    if isinstance(data.get("data"), dict):
        check_members(where, data)
    elif "data" in data:
        if not isinstance(data["data"], str):
            fail(where, "'data' takes a dictionary or the name of a type")
        if not data.get("boxed"):
            fail(where, "a named type as 'data' needs 'boxed'")
    if "returns" in data:
        check_type_ref(where, data["returns"], "'returns'")


CHECK_DATA = {
    "enum": check_enum_data,
    "struct": check_struct_data,
    "union": check_union_data,
    "alternate": check_alternate_data,
    "command": check_call_data,
    "event": check_call_data,
}


def check_doc(expr, meta, name):
    """Every definition has a block that names it and only its members."""
    where, doc = expr.where, expr.doc
    if not doc or not doc.text:
        fail(where, "documentation is missing")
    if doc.name != name:
        fail(where, f"documentation is for '{doc.name}'")
    known = set()
    for part in (expr.data.get("data"), expr.data.get("base")):
        if isinstance(part, dict):
            known |= {key.lstrip("*") for key in part}
        elif isinstance(part, list):
            known |= {v if isinstance(v, str) else v["name"] for v in part}
    for member in doc.members:
        if member not in known:
            fail(where, f"documented member '{member}' does not exist")


# --- the whole schema, once names are types ---

def check_schema(schema):
    for entity in schema.objects():
        check_base_cycle(entity)
    for entity in schema.objects():
        check_object(entity)
    for entity in schema.alternates():
        check_alternate(entity)
    for entity in schema.commands + schema.events:
        if entity.arg and entity.arg.meta != "object":
            fail(entity.where, f"'data' requires an object type, "
                 f"'{entity.arg.name}' is {entity.arg.meta}")
        ret = getattr(entity, "ret", None)
        if ret and not ret.pointer:
            fail(entity.where, f"'returns' cannot be of type '{ret.name}'")
    for module in schema.modules():
        check_module_cycle(schema, module, [])


def check_module_cycle(schema, module, path):
    """Headers of modules include each other as far as their types embed."""
    if module in path:
        cycle = " -> ".join(path[path.index(module):] + [module])
        where = next(t.where for t in schema.types.values()
                     if t.module == module)
        fail(where, f"modules embed each other's types: {cycle}")
    for other in schema.embedded_modules(module):
        check_module_cycle(schema, other, path + [module])


def check_base_cycle(entity):
    seen, base = {entity.name}, entity.base
    while base:
        if base.name in seen:
            fail(entity.where, "is its own base")
        seen.add(base.name)
        base = base.base


def check_object(entity):
    names = set()
    for member in entity.members():
        if member.name in names:
            fail(entity.where, f"member '{member.name}' appears twice")
        names.add(member.name)
    for member in entity.own:
        check_default(entity.where, member)
        if member.type.name == "null":
            fail(entity.where, f"member '{member.name}' cannot be null")
    if entity.discriminator:
        check_union(entity, names)


def check_union(entity, names):
    tag = entity.tag
    if tag is None:
        fail(entity.where, f"discriminator '{entity.discriminator}' is not a "
             "member of 'base'")
    if tag.optional:
        fail(entity.where, f"discriminator '{tag.name}' is optional")
    if tag.type.meta != "enum":
        fail(entity.where, f"discriminator '{tag.name}' is not an enum")
    for name, branch in entity.branches.items():
        if name not in tag.type.names():
            fail(entity.where, f"branch '{name}' is not a value of "
                 f"'{tag.type.name}'")
        if branch.meta != "object" or branch.discriminator:
            fail(entity.where, f"branch '{name}' is not a struct")
        for member in branch.members():
            if member.name in names:
                fail(entity.where, f"member '{member.name}' of branch "
                     f"'{name}' is in the base too")


def check_default(where, member):
    default, kind = member.default, member.type
    if default is None:
        return
    if kind.meta == "enum":
        if default not in kind.names():
            fail(where, f"default of member '{member.name}' is not a value "
                 f"of '{kind.name}'")
        return
    wanted = {"boolean": bool, "int": int, "string": str}.get(
        kind.json_type if kind.meta == "builtin" else None)
    if wanted is None or type(default) is not wanted:
        fail(where, f"default of member '{member.name}' does not fit type "
             f"'{kind.name}'")


def check_alternate(entity):
    seen = {}
    for branch in entity.branches:
        kind = branch.type.json_type
        if kind in (None, "value") or branch.type.meta == "array":
            fail(entity.where, f"branch '{branch.name}' cannot be of type "
                 f"'{branch.type.name}'")
        kind = {"number": "int"}.get(kind, kind)
        if kind in seen:
            fail(entity.where, f"branch '{branch.name}' cannot be told from "
                 f"'{seen[kind]}'")
        seen[kind] = branch.name
