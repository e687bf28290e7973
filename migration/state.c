/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The states of a migration as tables.  Source:
 *
 *     none -> setup -> active -> [pre-switchover -> device] -> completed
 *               |         |  \-> postcopy-active ------------> completed
 *               |         |                |                    |
 *               +---------+-> failed       +-> failed           +-> setup
 *               +---------+-> cancelling -> cancelled -> setup
 *
 * Destination: none -> setup -> active -> [postcopy-active ->] completed, and
 * failed -> setup from everywhere.
 */
#include "qemu/osdep.h"

#include "qapi/qapi-events.h"
#include "settings.h"
#include "state.h"

#define S(name) MIGRATION_STATUS_##name
#define IN(name) (1u << S(name))

#define AT_REST (IN(NONE) | IN(COMPLETED) | IN(FAILED) | IN(CANCELLED))
#define BEFORE_SWITCH (IN(SETUP) | IN(ACTIVE))

/* Row: the operation; set: the states that allow it. */
static const unsigned allowed[MIG_OP__MAX] = {
    [MIG_OP_START] = AT_REST,
    [MIG_OP_CANCEL] = BEFORE_SWITCH | IN(PRE_SWITCHOVER) | IN(DEVICE),
    [MIG_OP_CONTINUE] = IN(PRE_SWITCHOVER),
    [MIG_OP_POSTCOPY] = BEFORE_SWITCH,
    [MIG_OP_PAUSE] = IN(POSTCOPY_ACTIVE),
    [MIG_OP_RECOVER] = IN(POSTCOPY_PAUSED),
    [MIG_OP_CAPABILITIES] = AT_REST,
    [MIG_OP_RUN] = AT_REST | BEFORE_SWITCH,
};

static const char *const refusals[MIG_OP__MAX] = {
    [MIG_OP_START] = "There's a migration process in progress",
    [MIG_OP_CANCEL] = "The migration cannot be cancelled any more",
    [MIG_OP_POSTCOPY] =
        "Postcopy must be started after migration has been started",
    [MIG_OP_PAUSE] = "migrate-pause is currently only supported during "
                     "postcopy-active state",
    [MIG_OP_RECOVER] =
        "Migrate recover can only be run when postcopy is paused.",
    [MIG_OP_CAPABILITIES] = "There's a migration process in progress",
    [MIG_OP_RUN] = "Migration is not finalized yet",
};

/* Row: the state; set: those that follow. */
static const unsigned follows[MIGRATION_STATUS__MAX] = {
    [S(NONE)] = IN(SETUP),
    [S(SETUP)] = IN(ACTIVE) | IN(FAILED) | IN(CANCELLING),
    [S(ACTIVE)] = IN(PRE_SWITCHOVER) | IN(POSTCOPY_ACTIVE) | IN(COMPLETED) |
                  IN(FAILED) | IN(CANCELLING),
    [S(PRE_SWITCHOVER)] = IN(DEVICE) | IN(FAILED) | IN(CANCELLING),
    [S(DEVICE)] = IN(COMPLETED) | IN(FAILED) | IN(CANCELLING),
    [S(POSTCOPY_ACTIVE)] = IN(COMPLETED) | IN(FAILED),
    [S(CANCELLING)] = IN(CANCELLED),
    [S(CANCELLED)] = IN(SETUP),
    [S(COMPLETED)] = IN(SETUP),
    [S(FAILED)] = IN(SETUP),
};

bool mig_state_allows(const MigState *state, MigOp op)
{
    return allowed[op] & (1u << state->status);
}

bool mig_state_check(const MigState *state, MigOp op, Error **errp)
{
    if (mig_state_allows(state, op)) {
        return true;
    }
    if (op == MIG_OP_CONTINUE) {
        error_setg(errp, "Migration not in expected state: %s",
                   MigrationStatus_str(state->status));
    } else {
        error_setg(errp, "%s", refusals[op]);
    }
    return false;
}

bool mig_status_follows(MigrationStatus from, MigrationStatus to)
{
    return follows[from] & (1u << to);
}

void mig_state_set(MigState *state, MigrationStatus status)
{
    g_assert(mig_status_follows(state->status, status));
    state->status = status;
    if (status == S(SETUP)) {
        error_free(state->err);
        state->err = NULL;
    }
    if (mig_capability(MIGRATION_CAPABILITY_EVENTS)) {
        qapi_event_send_migration(&(MigrationEvent) { .status = status });
    }
}

void mig_state_fail(MigState *state, Error *err)
{
    error_report("%s", error_get_pretty(err));
    if (error_get_hint(err)) {
        report_hint("%s", error_get_hint(err));
    }
    error_free(state->err);
    state->err = err;
    mig_state_set(state, S(FAILED));
}
