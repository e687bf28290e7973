# SPDX-License-Identifier: GPL-2.0-or-later
# The schema as objects, and its checks.
from . import checks
from .error import SchemaError
from .names import camel, upper
from .parser import Doc, Parser

# name: (C type, JSON type, introspection type, kind of the descriptor)
BUILTINS = {
    "str": ("char *", "string", "str", "STR"),
    "int": ("int64_t", "int", "int", "INT"),
    "int8": ("int8_t", "int", "int", "INT"),
    "int16": ("int16_t", "int", "int", "INT"),
    "int32": ("int32_t", "int", "int", "INT"),
    "int64": ("int64_t", "int", "int", "INT"),
    "uint8": ("uint8_t", "int", "int", "UINT"),
    "uint16": ("uint16_t", "int", "int", "UINT"),
    "uint32": ("uint32_t", "int", "int", "UINT"),
    "uint64": ("uint64_t", "int", "int", "UINT"),
    "size": ("uint64_t", "int", "int", "SIZE"),
    "number": ("double", "number", "number", "NUMBER"),
    "bool": ("bool", "boolean", "bool", "BOOL"),
    "any": ("struct json_object *", "value", "any", "ANY"),
    "null": ("QapiNull", "null", "null", "NULL"),
}
POINTER_BUILTINS = ("str", "any")


class Type:
    """What all types have: a name, a place, a meta-type."""
    meta = None
    pointer = True  # its value in C is a pointer

    def __init__(self, name, where=None, doc=None, module=None):
        self.name, self.where, self.doc = name, where, doc
        self.module = module
        self.features = []

    @property
    def c_type(self):
        return f"{self.name} *"

    def parts(self):
        """Types of which a value of this type in C has a part."""
        return []

    def embedded(self):
        """The parts whose definition the C compiler must have seen."""
        return [part for part in self.parts() if not part.pointer]

    def pointed(self):
        """The parts that are pointers to generated types."""
        return [part for part in self.parts()
                if part.pointer and part.meta != "builtin"]

    def declare(self, variable):
        c_type = self.c_type
        return c_type + variable if c_type.endswith("*") \
            else f"{c_type} {variable}"


class Builtin(Type):
    meta = "builtin"

    def __init__(self, name):
        super().__init__(name)
        self.pointer = name in POINTER_BUILTINS
        c_type, self.json_type, self.info_name, self.kind = BUILTINS[name]
        self.builtin_c_type = c_type

    @property
    def c_type(self):
        return self.builtin_c_type


class EnumType(Type):
    meta = "enum"
    pointer = False
    json_type = "string"

    def __init__(self, name, where, doc, module, values, prefix):
        super().__init__(name, where, doc, module)
        self.values = values  # list of (name, features)
        self.prefix = prefix or upper(name)

    @property
    def c_type(self):
        return self.name

    def names(self):
        return [name for name, _ in self.values]

    def constant(self, value):
        return f"{self.prefix}_{upper(value)}"


class ListType(Type):
    meta = "array"
    json_type = "array"

    def __init__(self, element):
        super().__init__(element.name + "List", module=element.module)
        self.element = element

    def parts(self):
        return [self.element]


class Member:
    """A member of a struct or a branch of an alternate."""

    def __init__(self, name, type_ref, optional, features, default,
                 empty=False):
        self.name, self.type_ref, self.empty = name, type_ref, empty
        self.optional, self.features = optional, features
        self.default = default
        self.type = None


class ObjectType(Type):
    """A struct or union; discriminator and branches only in a union."""
    meta = "object"
    json_type = "object"

    def __init__(self, name, where, doc, module):
        super().__init__(name, where, doc, module)
        self.base_name = None
        self.base = None
        self.own = []
        self.discriminator = None
        self.branch_refs = {}
        self.branches = {}
        self.implicit = False

    def members(self):
        """All common members, the base's first."""
        return (self.base.members() if self.base else []) + self.own

    def member(self, name):
        return next((m for m in self.members() if m.name == name), None)

    def parts(self):
        return [m.type for m in self.members()] \
            + ([self.base] if self.base else [])

    def embedded(self):
        return super().embedded() + list(self.branches.values())

    @property
    def tag(self):
        return self.member(self.discriminator) if self.discriminator else None


class AlternateType(Type):
    meta = "alternate"
    json_type = None

    def __init__(self, name, where, doc, module, branches):
        super().__init__(name, where, doc, module)
        self.branches = branches

    def parts(self):
        return [branch.type for branch in self.branches]

    def constant(self, branch):
        return f"{upper(self.name)}_KIND_{upper(branch.name)}"


class Command:
    """A command: argument type (or None), return type (or None), flags."""

    def __init__(self, name, where, doc, module):
        self.name, self.where, self.doc = name, where, doc
        self.module = module
        self.arg = self.ret = None
        self.features = []
        self.flags = {}


class Event(Command):
    """An event; it has no return type."""


class Schema:
    """All entities of a schema file and of those it includes, checked."""

    program = None  # whose tables these are, where there are several

    def __init__(self, path):
        self.types = {name: Builtin(name) for name in BUILTINS}
        self.lists = {}
        self.commands, self.events, self.headings = [], [], []
        self.order = []  # entities and headings, as written
        for item in Parser(path).parse():
            if isinstance(item, Doc):
                self.order.append(item)
            else:
                self.define(item)
        self.resolve()
        checks.check_schema(self)

    # --- first pass: shape of each expression ---

    def define(self, expr):
        meta, name = checks.check_shape(expr)
        where = expr.where.within(f"{meta} '{name}'")
        expr.where = where
        checks.check_doc(expr, meta, name)
        known = [e.name for e in self.commands + self.events]
        if name in self.types or name in known:
            raise SchemaError(where, f"'{name}' is defined already")
        entity = getattr(self, "define_" + meta)(name, expr)
        entity.features = expr.data.get("features", [])
        self.order.append(entity)

    def define_enum(self, name, expr):
        values = [(v, []) if isinstance(v, str)
                  else (v["name"], v.get("features", []))
                  for v in expr.data["data"]]
        return self.add(EnumType(name, expr.where, expr.doc, expr.module,
                                 values, expr.data.get("prefix")))

    def define_struct(self, name, expr):
        result = ObjectType(name, expr.where, expr.doc, expr.module)
        result.base_name = expr.data.get("base")
        result.own = make_members(expr.where, expr.data["data"])
        return self.add(result)

    def define_union(self, name, expr):
        result = ObjectType(name, expr.where, expr.doc, expr.module)
        if isinstance(expr.data["base"], str):
            result.base_name = expr.data["base"]
        else:
            result.own = make_members(expr.where, expr.data["base"])
        result.discriminator = expr.data["discriminator"]
        result.branch_refs = expr.data["data"]
        return self.add(result)

    def define_alternate(self, name, expr):
        branches = make_members(expr.where, expr.data["data"])
        return self.add(AlternateType(name, expr.where, expr.doc,
                                      expr.module, branches))

    def define_command(self, name, expr):
        result = Command(name, expr.where, expr.doc, expr.module)
        result.flags = {key: expr.data[key] for key in checks.COMMAND_FLAGS
                        if key in expr.data}
        result.ret = expr.data.get("returns")
        result.arg = self.argument(name, "Arg", expr)
        self.commands.append(result)
        return result

    def define_event(self, name, expr):
        result = Event(name, expr.where, expr.doc, expr.module)
        result.arg = self.argument(name, "Event", expr)
        self.events.append(result)
        return result

    def argument(self, name, suffix, expr):
        """The name of the argument type; makes one of an inline dict."""
        data = expr.data.get("data")
        if isinstance(data, dict):
            implicit = ObjectType(camel(name) + suffix, expr.where, None,
                                  expr.module)
            implicit.own = make_members(expr.where, data)
            implicit.implicit = True
            if implicit.name in self.types:
                raise SchemaError(expr.where, f"the generated type "
                                  f"'{implicit.name}' is defined already")
            self.add(implicit)
            return implicit.name
        return data

    def add(self, new):
        self.types[new.name] = new
        return new

    # --- second pass: names to types ---

    def list_of(self, element):
        name = element.name + "List"
        if name not in self.lists:
            self.lists[name] = ListType(element)
        return self.lists[name]

    def lookup(self, where, ref, role):
        if isinstance(ref, list):
            return self.list_of(self.lookup(where, ref[0], role))
        if ref not in self.types:
            raise SchemaError(where, f"{role} has unknown type '{ref}'")
        return self.types[ref]

    def resolve(self):
        for entity in list(self.types.values()):
            if isinstance(entity, ObjectType):
                self.resolve_object(entity)
            elif isinstance(entity, AlternateType):
                for branch in entity.branches:
                    branch.type = self.lookup(entity.where, branch.type_ref,
                                              f"branch '{branch.name}'")
        for entity in self.commands + self.events:
            if entity.arg:
                entity.arg = self.lookup(entity.where, entity.arg, "'data'")
            if entity.ret:
                entity.ret = self.lookup(entity.where, entity.ret,
                                         "'returns'")
        for entity in list(self.types.values()):
            if entity.name != "null":
                self.list_of(entity)

    def resolve_object(self, entity):
        if entity.base_name:
            entity.base = self.lookup(entity.where, entity.base_name, "'base'")
            if not isinstance(entity.base, ObjectType) \
                    or entity.base.branch_refs:
                raise SchemaError(entity.where, f"'base' requires a struct "
                                  f"type, '{entity.base_name}' is none")
        for member in entity.own:
            member.type = self.lookup(entity.where, member.type_ref,
                                      f"member '{member.name}'")
        for name, ref in entity.branch_refs.items():
            entity.branches[name] = self.lookup(entity.where, ref,
                                                f"branch '{name}'")

    # --- what the generators ask ---

    def dash(self, name):
        """A file name, with the program's name at the end."""
        return f"{name}-{self.program}" if self.program else name

    def bar(self, name):
        """A symbol, likewise."""
        return f"{name}_{self.program}" if self.program else name

    def modules(self):
        """The modules that define types, in the order of the schema."""
        return list(dict.fromkeys(t.module for t in self.types.values()
                                  if t.module))

    def embedded_modules(self, module):
        """The other modules whose types those of @module embed."""
        found = {part.module for entity in self.types.values()
                 if entity.module == module for part in entity.embedded()}
        return sorted(found - {None, module})

    def lists_of(self, module):
        return [t for t in self.lists.values() if t.module == module]

    def objects(self):
        return [t for t in self.types.values() if isinstance(t, ObjectType)]

    def enums(self):
        return [t for t in self.types.values() if isinstance(t, EnumType)]

    def alternates(self):
        return [t for t in self.types.values() if isinstance(t, AlternateType)]


def make_members(where, data):
    result = []
    for key, ref in data.items():
        optional = key.startswith("*")
        features, default, empty = [], None, False
        if isinstance(ref, dict):
            features, default = ref.get("features", []), ref.get("default")
            empty = ref.get("empty", False)
            ref = ref["type"]
        result.append(Member(key.lstrip("*"), ref, optional, features,
                             default, empty))
    return result
