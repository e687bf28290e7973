/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the parts of migration/ share. */
#ifndef MIGRATION_MIGRATION_INT_H
#define MIGRATION_MIGRATION_INT_H

#include "migration/migration.h"
#include "qapi/qapi-types-migration.h"
#include "qemu/coroutine.h"
#include "state.h"

/* The machine; set before anything else. */
extern const MigrationMachine *mig_machine;

/* No migration, in either direction, uses the capabilities now. */
bool mig_may_set_capabilities(Error **errp);

/* Runs @fn(@opaque) in the main thread, outside of coroutines and commands. */
void coroutine_fn mig_run_main(void (*fn)(void *opaque), void *opaque);
/* The process ends: polls until *@running is false. */
void mig_wait_while_running(const bool *running);

/* --- outgoing.c --- */
const MigState *mig_outgoing_state(void);
/* Fills @info; the outgoing migration has begun. */
void mig_outgoing_info(MigrationInfo *info);
/* Has it stopped the machine, and not ended?  Then that must not start. */
bool mig_outgoing_stopped(void);
/* The images have become active again. */
void mig_outgoing_restore(void);
void mig_outgoing_cleanup(void);

/* --- incoming.c --- */
const MigState *mig_incoming_state(void);
void mig_incoming_info(MigrationInfo *info);
void mig_incoming_cleanup(void);

/* --- dropped.c --- */
/*
 * A bitmap will not be at the destination, or not stored there.  Policy refuse:
 * false with an error; warn: true, after an event and a warning.
 */
bool mig_bitmap_dropped(const char *node, const char *name, const char *reason,
                        Error **errp);

#endif
