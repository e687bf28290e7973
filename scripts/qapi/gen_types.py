# SPDX-License-Identifier: GPL-2.0-or-later
# qapi-types-MODULE.h, qapi-types.h (all modules) and qapi-types.c: C types, and
# the descriptors that the generic walkers (qapi/input.c, output.c, type.c) work
# from.  The header of a module includes those of the types that its own embed;
# types that it only points to are declared.
from .names import c_name, c_string, upper
from .schema import AlternateType, EnumType, ListType, ObjectType

HEAD = """\
/* SPDX-License-Identifier: GPL-2.0-or-later */
/* {what}  Generated from qapi/schema.json: do not edit. */
"""


# --- header ---

def enum_decl(enum):
    lines = ["typedef enum %s {" % enum.name]
    lines += [f"    {enum.constant(value)}," for value in enum.names()]
    lines += [f"    {enum.prefix}__MAX,", f"}} {enum.name};",
              f"QAPI_DECLARE_ENUM({enum.name})", ""]
    return lines


def kind_decl(alternate):
    lines = ["typedef enum %sKind {" % alternate.name]
    lines += [f"    {alternate.constant(b)}," for b in alternate.branches]
    return lines + [f"    {upper(alternate.name)}_KIND__MAX,",
                    f"}} {alternate.name}Kind;", ""]


def has_flag(member):
    """An empty list and none are both NULL, unless they differ."""
    return member.optional and (member.empty or not member.type.pointer)


def member_lines(members, indent="    "):
    lines = []
    for member in members:
        name = c_name(member.name)
        if has_flag(member):
            lines.append(f"{indent}bool has_{c_name_has(member.name)};")
        lines.append(f"{indent}{member.type.declare(name)};")
    return lines


def c_name_has(name):
    """has_ makes a reserved word harmless."""
    result = c_name(name)
    return result[2:] if result.startswith("q_") and result != name \
        else result


def object_decl(entity):
    lines = ["struct %s {" % entity.name]
    lines += member_lines(entity.members())
    if entity.branches:
        lines.append("    union {")
        lines += [f"        {branch.name} {c_name(name)};"
                  for name, branch in entity.branches.items()]
        lines.append("    } u;")
    elif not entity.members():
        lines.append("    char qapi_dummy;")
    lines += ["};"]
    if entity.base:
        lines += [f"static inline {entity.base.name} *"
                  f"qapi_{entity.name}_base(const {entity.name} *obj)",
                  "{", f"    return ({entity.base.name} *)(uintptr_t)obj;",
                  "}"]
    return lines + [""]


def alternate_decl(entity):
    lines = [f"struct {entity.name} {{", f"    {entity.name}Kind type;",
             "    union {"]
    lines += [f"        {b.type.declare(c_name(b.name))};"
              for b in entity.branches]
    return lines + ["    } u;", "};", ""]


def list_decl(entity):
    element = entity.element
    return [f"typedef struct {entity.name} {{",
            f"    struct {entity.name} *next;",
            f"    {element.declare('value')};",
            f"}} {entity.name};"]


def ordered(objects):
    """Structs before the unions of the same module that embed them."""
    done, result = set(), []

    def visit(entity):
        if entity.name in done:
            return
        done.add(entity.name)
        for branch in entity.branches.values():
            if branch.module == entity.module:
                visit(branch)
        result.append(entity)

    for entity in objects:
        visit(entity)
    return result


def forward(name):
    return f"typedef struct {name} {name};"


def forward_foreign(entities, module):
    """Declares what @entities point to outside @module."""
    names = {target.name for entity in entities for target in entity.pointed()
             if target.module != module}
    return [forward(name) for name in sorted(names)]


def declarations(calls):
    """Declares the types that commands or events take and return."""
    found = {kind.name for call in calls for kind in (call.arg, call.ret)
             if kind and kind.meta != "builtin"}
    return [forward(name) for name in sorted(found)]


def guarded(file, what, body):
    guard = "QAPI_" + upper(file) + "_H"
    return "\n".join([HEAD.format(what=what), f"#ifndef {guard}",
                      f"#define {guard}", "", *body, "", "#endif", ""])


def builtin_header(schema):
    """What belongs to no module: built-in types, and lists of them."""
    lists = schema.lists_of(None)
    out = ['#include "qapi/type.h"', ""]
    out += [f"extern const QapiType qapi_type_{entity.name};"
            for entity in schema.types.values() if entity.meta == "builtin"]
    for entity in lists:
        out += list_decl(entity)
    out += [f"QAPI_DECLARE_TYPE({entity.name})" for entity in lists]
    return guarded(header_name(None), "Built-in types of the QMP schema.", out)


def module_header(schema, module):
    enums, objects, alternates = (
        [entity for entity in some if entity.module == module]
        for some in (schema.enums(), schema.objects(), schema.alternates()))
    walked, lists = ordered(objects), schema.lists_of(module)
    out = [f'#include "qapi/{header_name(other)}.h"'
           for other in schema.embedded_modules(module)]
    out += ['#include "qapi/type.h"', ""]
    for enum in enums:
        out += enum_decl(enum)
    out += forward_foreign(walked + alternates + lists, module)
    out += [forward(entity.name) for entity in walked + alternates]
    out.append("")
    for entity in lists:
        out += list_decl(entity)
    out.append("")
    for entity in alternates:
        out += kind_decl(entity)
        out += alternate_decl(entity)
    for entity in walked:
        out += object_decl(entity)
    out += [f"QAPI_DECLARE_TYPE({entity.name})"
            for entity in walked + alternates + lists]
    return guarded(header_name(module),
                   f"Types of module '{module}' of the QMP schema.", out)


def header_name(module):
    return f"qapi-types-{module or 'builtin'}"


def header(schema):
    out = [f'#include "qapi/{header_name(module)}.h"'
           for module in [None] + schema.modules()]
    return guarded("qapi-types", "All types of the QMP schema.", out)


# --- descriptors ---

def default_value(member):
    """(C initialiser of the number, C initialiser of the string)."""
    default, kind = member.default, member.type
    if kind.meta == "enum":
        return kind.constant(default), None
    if isinstance(default, bool):
        return str(int(default)), None
    if isinstance(default, str):
        return None, c_string(default)
    return f"INT64_C({default})", None


def member_init(owner, member, offset=None):
    name = c_name(member.name)
    flags = []
    parts = [f".name = {c_string(member.name)}",
             f".type = &qapi_type_{member.type.name}",
             f".offset = {offset or f'offsetof({owner}, {name})'}"]
    if member.optional:
        flags.append("QAPI_MEMBER_OPTIONAL")
    if has_flag(member):
        flags.append("QAPI_MEMBER_HAS")
        parts.append(f".has_offset = offsetof({owner}, "
                     f"has_{c_name_has(member.name)})")
    if member.default is not None:
        flags.append("QAPI_MEMBER_DEFAULT")
        number, text = default_value(member)
        parts.append(f".dflt = {number}" if number else f".dflt_str = {text}")
    for feature in ("deprecated", "unstable"):
        if feature in member.features:
            flags.append("QAPI_MEMBER_" + feature.upper())
    if flags:
        parts.append(".flags = " + " | ".join(flags))
    return "    { " + ",\n      ".join(parts) + " },"


def object_init(entity):
    out, members = [], entity.members()
    if members:
        out.append(f"static const QapiMember members_{entity.name}[] = {{")
        out += [member_init(entity.name, m) for m in members]
        out.append("};")
    fields = [f".name = {c_string(entity.name)}", ".kind = QAPI_STRUCT",
              f".size = sizeof({entity.name})"]
    if members:
        fields += [f".members = members_{entity.name}",
                   f".n_members = {len(members)}"]
    if entity.discriminator:
        out.append(f"static const QapiType *const branches_{entity.name}[] "
                   "= {")
        for name, branch in entity.branches.items():
            out.append(f"    [{entity.tag.type.constant(name)}] = "
                       f"&qapi_type_{branch.name},")
        last = f"{entity.tag.type.prefix}__MAX"
        out += [f"    [{last}] = NULL,", "};"]
        fields += [f".branches = branches_{entity.name}",
                   f".tag = {members.index(entity.tag)}",
                   f".u_offset = offsetof({entity.name}, u)"]
    return out + type_init(entity.name, fields)


def alternate_init(entity):
    out = [f"static const QapiMember members_{entity.name}[] = {{"]
    out += [member_init(entity.name, b, f"offsetof({entity.name}, u)")
            for b in entity.branches]
    out.append("};")
    return out + type_init(entity.name, [
        f".name = {c_string(entity.name)}", ".kind = QAPI_ALTERNATE",
        f".size = sizeof({entity.name})",
        f".members = members_{entity.name}",
        f".n_members = {len(entity.branches)}"])


def enum_init(entity):
    out = [f"static const char *const values_{entity.name}[] = {{"]
    out += [f"    {c_string(value)}," for value in entity.names()]
    out.append("};")
    return out + type_init(entity.name, [
        f".name = {c_string(entity.name)}", ".kind = QAPI_ENUM",
        f".size = sizeof({entity.name})", f".values = values_{entity.name}",
        f".n_values = {len(entity.values)}"])


def type_init(name, fields):
    return [f"const QapiType qapi_type_{name} = {{"] \
        + [f"    {field}," for field in fields] + ["};", ""]


def builtin_init(entity):
    return type_init(entity.name, [
        f".name = {c_string(entity.name)}", f".kind = QAPI_{entity.kind}",
        f".size = sizeof({entity.builtin_c_type})"])


def list_init(entity):
    return type_init(entity.name, [
        f".name = {c_string(entity.name)}", ".kind = QAPI_LIST",
        f".size = sizeof({entity.name})",
        f".element = &qapi_type_{entity.element.name}"]) + [
            f"G_STATIC_ASSERT(offsetof({entity.name}, value) == "
            "QAPI_LIST_VALUE_OFFSET);"]


INIT = {ObjectType: object_init, AlternateType: alternate_init,
        EnumType: enum_init, ListType: list_init}


def source(schema):
    out = [HEAD.format(what="Descriptors of all types of the QMP schema."),
           '#include "qemu/osdep.h"', '#include "qapi/qapi-types.h"', ""]
    for entity in schema.types.values():
        out += INIT.get(type(entity), builtin_init)(entity)
    for entity in schema.lists.values():
        out += list_init(entity)
    return "\n".join(out + [""])


def generate(schema):
    files = {f"{header_name(module)}.h": module_header(schema, module)
             for module in schema.modules()}
    return {**files, f"{header_name(None)}.h": builtin_header(schema),
            "qapi-types.h": header(schema), "qapi-types.c": source(schema)}
