/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What both directions of a migration share. */
#include "qemu/osdep.h"

#include "bitmap-load.h"
#include "block/activate.h"
#include "migration-int.h"
#include "qapi/qapi-commands-system.h"
#include "qemu/aio.h"

const MigrationMachine *mig_machine;

/* --- steps outside of coroutines --- */

/*
 * They change the graph and the run state, so no command may run meanwhile:
 * they have the scope of commands.  When the process ends there are no more
 * commands, and the loop that waits for the end calls them.
 */
typedef struct MainStep {
    void (*fn)(void *opaque);
    void *opaque;
    Coroutine *co;
    AioBH *bh;
    LIST_ENTRY(MainStep) next;
} MainStep;

static LIST_HEAD(, MainStep) steps = LIST_HEAD_INITIALIZER(steps);

static void do_step(void *opaque)
{
    MainStep *step = opaque;

    LIST_REMOVE(step, next);
    step->fn(step->opaque);
    co_wake(step->co);
}

void coroutine_fn mig_run_main(void (*fn)(void *opaque), void *opaque)
{
    MainStep step = { .fn = fn, .opaque = opaque, .co = coroutine_self() };

    LIST_INSERT_HEAD(&steps, &step, next);
    step.bh = aio_bh_new(aio_main_context(), AIO_SCOPE_MAIN, do_step, &step);
    aio_bh_schedule(step.bh);
    coroutine_yield();
    aio_bh_free(step.bh);
}

void mig_wait_while_running(const bool *running)
{
    aio_wait_begin();
    while (*running) {
        MainStep *step = LIST_FIRST(&steps);

        if (step) {
            aio_bh_cancel(step->bh);
            do_step(step);
        } else {
            aio_poll(aio_main_context(), true);
        }
    }
    aio_wait_end();
}

/* --- for the program --- */

void migration_init(const MigrationMachine *machine)
{
    mig_machine = machine;
}

void migration_cleanup(void)
{
    mig_outgoing_cleanup();
    mig_incoming_cleanup();
}

bool migration_allow_start(Error **errp)
{
    if (!mig_state_check(mig_outgoing_state(), MIG_OP_RUN, errp)) {
        return false;
    }
    if (mig_outgoing_stopped()) {
        error_setg(errp, "Migration is not finalized yet");
        return false;
    }
    if (!bdrv_activate_all(errp)) {
        return false;
    }
    if (mig_state_allows(mig_outgoing_state(), MIG_OP_START)) {
        mig_outgoing_restore();
    }
    mig_bitmap_load_activated();
    bdrv_set_open_inactive(false);
    return true;
}

bool mig_may_set_capabilities(Error **errp)
{
    const MigState *incoming = mig_incoming_state();

    /* While it is only waited for a source they can be changed. */
    return mig_state_check(mig_outgoing_state(), MIG_OP_CAPABILITIES, errp) &&
           (incoming->status == MIGRATION_STATUS_SETUP ||
            mig_state_check(incoming, MIG_OP_CAPABILITIES, errp));
}

/* --- commands for both directions --- */

MigrationInfo *qmp_query_migrate(Error **errp)
{
    MigrationInfo *info = g_new0(MigrationInfo, 1);

    if (mig_outgoing_state()->status != MIGRATION_STATUS_NONE) {
        mig_outgoing_info(info);
    } else {
        mig_incoming_info(info);
    }
    return info;
}

bool qmp_migrate_pause(Error **errp)
{
    /* Without memory there is nothing to wait for: a connection that breaks
     * ends the migration. */
    error_setg(errp, "migrate-pause is currently only supported during "
               "postcopy-active state");
    return false;
}

bool qmp_migrate_recover(MigrateRecoverArg *arg, Error **errp)
{
    return mig_state_check(mig_incoming_state(), MIG_OP_RECOVER, errp);
}
