/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-backup: from the command to a job, as a step of a transaction. */
#include "qemu/osdep.h"

#include "block/backup.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"

/* A backup between its creation and the end of the transaction. */
typedef struct BackupStep {
    BlockDriverState *source; /* drained, so that the moment lasts */
    Job *job;                 /* NULL: there is none (any more) */
} BackupStep;

static void backup_commit(void *opaque)
{
    BackupStep *step = opaque;

    job_start(step->job);
}

/* Another job of the group may have taken this one along. */
static void backup_abort(void *opaque)
{
    BackupStep *step = opaque;

    if (step->job && step->job->status == JOB_STATUS_CREATED) {
        job_user_cancel(step->job, true, &error_abort);
    }
}

static void backup_clean(void *opaque)
{
    BackupStep *step = opaque;

    bdrv_drained_end(step->source);
    bdrv_unref(step->source);
    if (step->job) {
        job_unref(step->job);
    }
    g_free(step);
}

static const TransactionActionDrv backup_step = {
    .commit = backup_commit,
    .abort = backup_abort,
    .clean = backup_clean,
};

bool blockdev_do_backup(const BackupCommon *opts, BlockDriverState *source,
                        BlockDriverState *target, BlockdevTransaction *btx,
                        Error **errp)
{
    BackupStep *step = g_new0(BackupStep, 1);

    step->source = bdrv_ref(source);
    bdrv_drained_begin(source);
    tran_add(btx->tran, &backup_step, step);
    step->job = backup_job_create(source, target, opts, btx->job_txn, errp);
    if (!step->job) {
        return false;
    }
    job_ref(step->job);
    return true;
}

bool blockdev_action_backup(const TransactionAction *action,
                            BlockdevTransaction *btx, Error **errp)
{
    const BlockdevBackup *arg = action->u.blockdev_backup.data;
    BlockDriverState *source, *target;

    source = bdrv_lookup_bs(arg->device, arg->device, errp);
    if (!source) {
        return false;
    }
    target = bdrv_lookup_bs(arg->target, arg->target, errp);
    return target && blockdev_do_backup(qapi_BlockdevBackup_base(arg), source,
                                        target, btx, errp);
}

bool qmp_blockdev_backup(BlockdevBackup *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP,
        .u.blockdev_backup.data = arg,
    };

    return blockdev_run_action(&action, errp);
}
