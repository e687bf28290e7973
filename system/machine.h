/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The type and name of the machine.  Main thread. */
#ifndef SYSTEM_MACHINE_H
#define SYSTEM_MACHINE_H

#include "qapi/type.h"
#include "qemu/error.h"

/* -machine: accepts the name of a machine, refuses others. */
bool machine_set_type(const char *type, Error **errp);
void machine_set_name(const char *name);
bool machine_set_uuid(const char *text, Error **errp);
/* Prints the models of machines. */
void machine_print_help(void);
const char *machine_type(void);
/* Adds the machine and its devices to the tree of objects; once. */
void qom_init(void);
/* --object iothread,... and others without dependencies. */
bool system_object_add(struct json_object *options, QapiInputMode mode,
                       Error **errp);

#endif
