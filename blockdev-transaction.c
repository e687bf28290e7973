/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The transaction command: all actions at one moment, or none.
 *
 * No request is in flight from before the first action until after the last one
 * was committed, so that all of them see the same state of all disks.
 */
#include "qemu/osdep.h"

#include "block/bitmap-store.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"

static bool blockdev_action_abort(const TransactionAction *action,
                                  BlockdevTransaction *btx, Error **errp)
{
    error_setg(errp, "Transaction aborted using Abort action");
    return false;
}

#define AT_ONCE BLOCKDEV_ACTION_AT_ONCE
#define JOB BLOCKDEV_ACTION_JOB
#define FAILS BLOCKDEV_ACTION_FAILS

static const BlockdevActionOps actions[] = {
    {TRANSACTION_ACTION_KIND_ABORT, FAILS, blockdev_action_abort},
    {TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD, AT_ONCE,
     blockdev_action_bitmap_add},
    {TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE, AT_ONCE,
     blockdev_action_bitmap_remove},
    {TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR, AT_ONCE,
     blockdev_action_bitmap_clear},
    {TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE, AT_ONCE,
     blockdev_action_bitmap_enable},
    {TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE, AT_ONCE,
     blockdev_action_bitmap_disable},
    {TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE, AT_ONCE,
     blockdev_action_bitmap_merge},
    {TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_SET_PERSISTENT, AT_ONCE,
     blockdev_action_bitmap_set_persistent},
    {TRANSACTION_ACTION_KIND_BLOCKDEV_BACKUP, JOB, blockdev_action_backup},
    {TRANSACTION_ACTION_KIND_DRIVE_BACKUP, JOB, blockdev_action_drive_backup},
    {TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT, AT_ONCE,
     blockdev_action_snapshot},
    {TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC, AT_ONCE,
     blockdev_action_snapshot_internal},
    {TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC, AT_ONCE,
     blockdev_action_snapshot_sync},
};

#undef AT_ONCE
#undef JOB
#undef FAILS

static const BlockdevActionOps *find_ops(TransactionActionKind kind,
                                         Error **errp)
{
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        if (actions[i].kind == kind) {
            return &actions[i];
        }
    }
    error_setg(errp, "Action '%s' is not supported",
               TransactionActionKind_str(kind));
    return NULL;
}

/* Only jobs can be grouped. */
static bool check_grouped(const BlockdevActionOps *ops, Error **errp)
{
    if (ops->class != BLOCKDEV_ACTION_AT_ONCE) {
        return true;
    }
    error_setg(errp, "Action '%s' does not support Transaction property "
               "completion-mode = %s", TransactionActionKind_str(ops->kind),
               ActionCompletionMode_str(ACTION_COMPLETION_MODE_GROUPED));
    return false;
}

static bool prepare_action(const TransactionAction *action,
                           BlockdevTransaction *btx, Error **errp)
{
    const BlockdevActionOps *ops = find_ops(action->type, errp);

    return ops && (!btx->job_txn || check_grouped(ops, errp)) &&
           ops->prepare(action, btx, errp);
}

static bool run_actions(TransactionActionList *list, bool grouped,
                        Error **errp)
{
    g_autoptr(JobTxn) txn = grouped ? job_txn_new() : NULL;
    BlockdevTransaction btx = {
        .tran = tran_new(),
        .job_txn = txn,
    };
    bool ok = true;

    for (; list && ok; list = list->next) {
        ok = prepare_action(list->value, &btx, errp);
    }
    /* As long as the actions can be undone, and before they are answered. */
    ok = ok && bdrv_bitmap_store_sync_all(errp);
    tran_finalize(btx.tran, ok);
    return bdrv_bitmap_store_sync_all(ok ? errp : NULL) && ok;
}

bool blockdev_run_action(TransactionAction *action, Error **errp)
{
    TransactionActionList list = {.value = action};
    const BlockdevActionOps *ops = find_ops(action->type, errp);

    if (!ops) {
        return false;
    }
    if (ops->class == BLOCKDEV_ACTION_JOB) {
        /* Running jobs emit events when they pause: clients count these. */
        bdrv_drain_all_begin();
        bdrv_drain_all_end();
    }
    return run_actions(&list, false, errp);
}

bool qmp_transaction(TransactionArg *arg, Error **errp)
{
    bool grouped = arg->properties && arg->properties->completion_mode ==
                                          ACTION_COMPLETION_MODE_GROUPED;
    bool ok;

    bdrv_drain_all_begin();
    ok = run_actions(arg->actions, grouped, errp);
    bdrv_drain_all_end();
    return ok;
}
