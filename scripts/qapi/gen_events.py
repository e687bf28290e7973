# SPDX-License-Identifier: GPL-2.0-or-later
# qapi-events.h and qapi-events.c: a function to send each QMP event.
from .gen_types import HEAD, declarations
from .names import c_name, c_string


def prototype(event):
    arg = f"const {event.arg.name} *arg" if event.arg else "void"
    return f"void qapi_event_send_{c_name(event.name.lower())}({arg})"


def header(schema):
    out = [HEAD.format(what="Functions that send the QMP events."),
           "#ifndef QAPI_QAPI_EVENTS_H", "#define QAPI_QAPI_EVENTS_H", "",
           '#include "qapi/events.h"', "",
           *declarations(schema.events), "",
           "/* The argument is borrowed.  Main thread only. */", ""]
    for event in schema.events:
        text = " ".join(event.doc.text.split()).split(". ")[0].rstrip(".")
        out += [f"/* {event.name}: {text}. */", prototype(event) + ";", ""]
    return "\n".join(out + ["#endif", ""])


def source(schema):
    out = [HEAD.format(what="Functions that send the QMP events."),
           '#include "qemu/osdep.h"', '#include "qapi/qapi-events.h"',
           '#include "qapi/qapi-types.h"', ""]
    for event in schema.events:
        kind = f"&qapi_type_{event.arg.name}, arg" if event.arg \
            else "NULL, NULL"
        out += [prototype(event), "{",
                f"    qapi_event_send({c_string(event.name)}, {kind});",
                "}", ""]
    return "\n".join(out)


def generate(schema):
    return {"qapi-events.h": header(schema), "qapi-events.c": source(schema)}
