/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine is called.  Main thread. */
#ifndef SYSTEM_MACHINE_H
#define SYSTEM_MACHINE_H

#include "qapi/qapi-types.h"
#include "qapi/type.h"
#include "qemu/error.h"

/* -machine: takes the name of a machine, refuses others. */
bool machine_set_type(const char *type, Error **errp);
void machine_set_name(const char *name);
bool machine_set_uuid(const char *text, Error **errp);
/* The models of machines, for people. */
void machine_print_help(void);
const char *machine_type(void);
/* Makes the machine and its devices a part of the tree of objects; once. */
void qom_init(void);
/* --object iothread,... and others that need nothing of us. */
bool system_object_add(struct json_object *options, QapiInputMode mode,
                       Error **errp);

#endif
