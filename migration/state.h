/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The states of a migration, and the commands that each allows. */
#ifndef MIGRATION_STATE_H
#define MIGRATION_STATE_H

#include "qapi/qapi-types-migration.h"
#include "qemu/error.h"

typedef enum MigOp {
    MIG_OP_START,     /* migrate, migrate-incoming */
    MIG_OP_CANCEL,
    MIG_OP_CONTINUE,
    MIG_OP_POSTCOPY,
    MIG_OP_PAUSE,
    MIG_OP_RECOVER,   /* and migrate with resume */
    MIG_OP_CAPABILITIES,
    MIG_OP_RUN,       /* the machine may start */
    MIG_OP__MAX,
} MigOp;

/* One direction of a migration. */
typedef struct MigState {
    MigrationStatus status;
    Error *err; /* of status *failed*; NULL: not known */
} MigState;

/* May @op be done?  Changes nothing. */
bool mig_state_allows(const MigState *state, MigOp op);
/* The same; sets the error. */
bool mig_state_check(const MigState *state, MigOp op, Error **errp);
/* Does it lead on from there? */
bool mig_status_follows(MigrationStatus from, MigrationStatus to);
/* Enters @status, which must follow, and sends MIGRATION if that is enabled. */
void mig_state_set(MigState *state, MigrationStatus status);
/* The same for *failed*; takes @err, and reports it. */
void mig_state_fail(MigState *state, Error *err);

#endif
