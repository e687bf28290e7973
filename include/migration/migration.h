/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Migration of a machine that has block devices, bitmaps and a run state; for
 * the program that has the machine.  Main thread, outside coroutines.
 */
#ifndef MIGRATION_MIGRATION_H
#define MIGRATION_MIGRATION_H

#include "qapi/qapi-types-machine.h"
#include "qemu/error.h"

/* What migration asks the machine for. */
typedef struct MigrationMachine {
    /* The name of its type, which both sides must have. */
    const char *(*type)(void);
    RunState (*status)(void);
    /* Stops it; if it is stopped it only gets the state. */
    void (*stop)(RunState status);
    void (*start)(void);
    /* Nanoseconds for which it has run. */
    int64_t (*clock_ns)(void);
    void (*set_clock_ns)(int64_t ns);
    /* At the destination: shall it start when it has everything (no -S, no
     * command `stop`)? */
    bool (*wants_start)(void);
    /* A descriptor that a client has sent; -1 with an error. */
    int (*take_fd)(const char *name, Error **errp);
} MigrationMachine;

/* First of all; @machine stays the caller's. */
void migration_init(const MigrationMachine *machine);
/*
 * -incoming: the machine is in state inmigrate; nodes that are opened are
 * inactive from now on.  Checks @uri ("defer": migrate-incoming follows).
 */
bool migration_expect(const char *uri, Error **errp);
/* The options were executed: awaits the state, if migration_expect() was
 * called. */
bool migration_await(Error **errp);
/* May the machine, which is stopped, start?  Activates the images. */
bool migration_allow_start(Error **errp);
/* The machine awaits the state of another one: false if that has failed. */
bool migration_check_await(Error **errp);
/* The process ends: cancels. */
void migration_cleanup(void);

#endif
