/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-backup: from the command to a job, as a step of a transaction. */
#include "qemu/osdep.h"

#include "block/backup.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"

struct BlockdevBackupStep {
    BlockDriverState *source; /* drained for the whole transaction */
    Job *job;                 /* NULL: none */
};

static void backup_commit(void *opaque)
{
    BlockdevBackupStep *step = opaque;

    job_start(step->job);
}

/* Another job of the group may have cancelled this one, too. */
static void backup_abort(void *opaque)
{
    BlockdevBackupStep *step = opaque;

    if (step->job && step->job->status == JOB_STATUS_CREATED) {
        job_user_cancel(step->job, true, &error_abort);
    }
}

static void backup_clean(void *opaque)
{
    BlockdevBackupStep *step = opaque;

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

BlockdevBackupStep *blockdev_begin_backup(BlockDriverState *source,
                                          BlockdevTransaction *btx)
{
    BlockdevBackupStep *step = g_new0(BlockdevBackupStep, 1);

    step->source = bdrv_ref(source);
    bdrv_drained_begin(source);
    tran_add(btx->tran, &backup_step, step);
    return step;
}

bool blockdev_do_backup(BlockdevBackupStep *step, const BackupCommon *opts,
                        BlockDriverState *target, BlockdevTransaction *btx,
                        Error **errp)
{
    step->job = backup_job_create(step->source, target, opts, btx->job_txn,
                                  errp);
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
    return target && blockdev_do_backup(blockdev_begin_backup(source, btx),
                                        qapi_BlockdevBackup_base(arg), target,
                                        btx, errp);
}

bool qmp_blockdev_backup(BlockdevBackup *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP,
        .u.blockdev_backup.data = arg,
    };

    return blockdev_run_action(&action, errp);
}
