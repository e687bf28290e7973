# SPDX-License-Identifier: GPL-2.0-or-later
# qapi-commands.h and qapi-commands.c: prototypes of the command handlers and
# the table that the dispatcher uses.
from .gen_types import HEAD, declarations
from .names import c_name, c_string

FLAGS = {"coroutine": "QMP_COMMAND_COROUTINE", "allow-oob": "QMP_COMMAND_OOB",
         "allow-preconfig": "QMP_COMMAND_PRECONFIG"}


def handler(command):
    return "qmp_" + c_name(command.name)


def is_raw(command):
    """The handler takes and gives JSON."""
    return not command.flags.get("gen", True)


def return_type(command):
    if is_raw(command) and command.ret:
        return "struct json_object *"
    return command.ret.c_type if command.ret else "bool "


def prototype(command):
    mark = "coroutine_fn " if command.flags.get("coroutine") else ""
    arg_type = "struct json_object" if is_raw(command) else \
        command.arg and command.arg.name
    arg = f"{arg_type} *arg, " if command.arg else ""
    return f"{return_type(command)}{mark}{handler(command)}({arg}Error **errp)"


def contract(command):
    """The comment over a prototype."""
    text = (command.doc.text if command.doc else "").split(". ")[0]
    text = " ".join(text.split()).rstrip(".")
    returns = "NULL" if command.ret else "False"
    if command.ret and command.ret.meta == "array":
        end = "NULL is an empty list: *errp tells of failure."
    else:
        end = f"{returns} and *errp on failure."
    return f"/* {command.name}: {text}. {end} */"


def guard(schema):
    return schema.bar("QAPI_QAPI_COMMANDS").upper() + "_H"


def header(schema):
    out = [HEAD.format(what="Handlers of the QMP commands."),
           f"#ifndef {guard(schema)}", f"#define {guard(schema)}", "",
           '#include "qapi/qmp-dispatch.h"', "",
           *declarations(schema.commands), "",
           "/* Arguments belong to the caller, answers to it too. */", ""]
    for command in schema.commands:
        out += [contract(command), prototype(command) + ";", ""]
    out += ["/* All commands, by name. */",
            "extern const QmpCommandTable "
            f"{schema.bar('qmp_command_table')};", "", "#endif", ""]
    return "\n".join(out)


def thunk(command):
    """Calls the handler with its own type; says whether it succeeded."""
    name = c_name(command.name)
    mark = "coroutine_fn " if command.flags.get("coroutine") else ""
    call = handler(command) + ("(arg, errp)" if command.arg else "(errp)")
    out = [f"static bool {mark}call_{name}(void *arg, void **ret, "
           "Error **errp)", "{"]
    if command.ret and command.ret.meta == "array" \
            and not is_raw(command):
        out += ["    Error *err = NULL;", "",
                f"    *ret = {call.replace('errp)', '&err)')};",
                "    if (err) {",
                f"        qapi_free_{command.ret.name}(*ret);",
                "        *ret = NULL;",
                "        error_propagate(errp, err);",
                "        return false;", "    }", "    return true;"]
    elif command.ret:
        out += [f"    *ret = {call};", "    return *ret != NULL;"]
    else:
        out += [f"    return {call};"]
    return out + ["}", ""]


def entry(command):
    fields = [f".name = {c_string(command.name)}",
              f".call = call_{c_name(command.name)}"]
    if command.arg and not is_raw(command):
        fields.append(f".arg = &qapi_type_{command.arg.name}")
    if command.ret and not is_raw(command):
        fields.append(f".ret = &qapi_type_{command.ret.name}")
    flags = [FLAGS[flag] for flag in FLAGS if command.flags.get(flag)]
    if command.ret and is_raw(command):
        flags.append("QMP_COMMAND_RAW")
    if command.arg and is_raw(command):
        flags.append("QMP_COMMAND_RAW_ARG")
    if flags:
        fields.append(".flags = " + " | ".join(flags))
    return "    { " + ",\n      ".join(fields) + " },"


def source(schema):
    commands = sorted(schema.commands, key=lambda command: command.name)
    out = [HEAD.format(what="The table of the QMP commands."),
           '#include "qemu/osdep.h"',
           f'#include "qapi/{schema.dash("qapi-commands")}.h"',
           f'#include "qapi/{schema.dash("qapi-introspect")}.h"',
           '#include "qapi/qapi-types.h"', ""]
    for command in commands:
        out += thunk(command)
    out.append("static const QmpCommand qmp_commands[] = {")
    out += [entry(command) for command in commands]
    out += ["};", "",
            f"const QmpCommandTable {schema.bar('qmp_command_table')} = {{",
            "    .commands = qmp_commands,",
            f"    .n_commands = {len(commands)},",
            f"    .schema = {schema.bar('qapi_introspect_text')},",
            "};", ""]
    return "\n".join(out)


def generate(schema):
    name = schema.dash("qapi-commands")
    return {name + ".h": header(schema), name + ".c": source(schema)}
