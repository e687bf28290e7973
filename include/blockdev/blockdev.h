/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What programs need of the QMP front end, beside its commands. */
#ifndef BLOCKDEV_BLOCKDEV_H
#define BLOCKDEV_BLOCKDEV_H

#include "qemu/error.h"

typedef struct ObjectOptions ObjectOptions;

/* Makes jobs and nodes send their events; once, by the program. */
void blockdev_init_events(void);
/*
 * The options of all objects of object-add, the oldest first; NULL starts and
 * ends.  They live until object-del.
 */
const ObjectOptions *blockdev_next_object(const ObjectOptions *object);
/*
 * Answers on stdout where @value, that of an option that creates an object,
 * asks: "help", or "TYPE,help" for the properties of a type.  False: it does
 * not ask, or about a type that there is not.
 */
bool blockdev_object_help(const char *value);
/* Is there an iothread object of this name? */
bool blockdev_find_iothread(const char *id);
/*
 * Describes a user of the iothread object @id other than nodes and handles, for
 * a message; the caller frees it; NULL: none.  Set by programs with such users.
 */
extern char *(*blockdev_iothread_user)(const char *id);
/* Removes all objects, which must be unused: for the end of a program. */
void blockdev_remove_objects(void);
/* How long the machine ran, for snapshots; NULL: there is no machine. */
extern int64_t (*blockdev_vm_clock_ns)(void);

#endif
