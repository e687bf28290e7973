/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: creation is a step of a transaction, which is undone by
 * deletion.
 */
#include "qemu/osdep.h"

#include "block/snapshot.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/qapi-types-block-snapshot.h"

int64_t (*blockdev_vm_clock_ns)(void);

typedef struct InternalStep {
    BlockDriverState *bs; /* drained for the whole transaction */
    char *device;         /* the name that the command gave */
    BdrvSnapshot *made;   /* NULL: nothing to undo */
} InternalStep;

static void internal_abort(void *opaque)
{
    InternalStep *step = opaque;
    const BdrvSnapshot *sn = step->made;
    Error *err = NULL;

    if (sn && bdrv_snapshot_delete(step->bs, sn->id, sn->name, &err) < 0) {
        error_prepend(&err, "Failed to delete snapshot with id '%s' and name "
                      "'%s' on device '%s' in abort: ", sn->id, sn->name,
                      step->device);
        error_report_err(err);
    }
}

static void internal_clean(void *opaque)
{
    InternalStep *step = opaque;

    bdrv_drained_end(step->bs);
    bdrv_unref(step->bs);
    bdrv_snapshot_free(step->made);
    g_free(step->device);
    g_free(step);
}

static const TransactionActionDrv internal_step = {
    .abort = internal_abort,
    .clean = internal_clean,
};

/* Can a snapshot @name be made on @bs? */
static bool check_new(BlockDriverState *bs, const char *device,
                      const char *name, Error **errp)
{
    g_autoptr(GPtrArray) list = NULL;
    int ret;

    if (!bdrv_op_check(bs, errp)) {
        return false;
    }
    if (bs->read_only) {
        error_setg(errp, "Device '%s' is read only", device);
        return false;
    }
    if (!bdrv_can_snapshot(bs)) {
        error_setg(errp, "Block format '%s' used by device '%s' does not "
                   "support internal snapshots", bs->drv->format_name, device);
        return false;
    }
    if (!*name) {
        error_setg(errp, "Name is empty");
        return false;
    }
    list = bdrv_snapshot_list(bs, &ret);
    if (list && bdrv_snapshot_find(list, NULL, name) >= 0) {
        error_setg(errp, "Snapshot with name '%s' already exists on device "
                   "'%s'", name, device);
        return false;
    }
    return true;
}

bool blockdev_action_snapshot_internal(const TransactionAction *action,
                                       BlockdevTransaction *btx, Error **errp)
{
    const BlockdevSnapshotInternal *arg =
        action->u.blockdev_snapshot_internal_sync.data;
    g_autoptr(BdrvSnapshot) sn = bdrv_snapshot_new(arg->name);
    BlockDriverState *bs = bdrv_lookup_bs(arg->device, arg->device, errp);
    InternalStep *step;

    if (!bs) {
        return false;
    }
    step = g_new0(InternalStep, 1);
    step->bs = bdrv_ref(bs);
    step->device = g_strdup(arg->device);
    bdrv_drained_begin(bs);
    tran_add(btx->tran, &internal_step, step);
    if (!blockdev_check_root(bs, errp) ||
        !check_new(bs, arg->device, arg->name, errp)) {
        return false;
    }
    sn->vm_clock_nsec = blockdev_vm_clock_ns ? blockdev_vm_clock_ns() : 0;
    if (bdrv_snapshot_create(bs, sn, NULL, errp) < 0) {
        error_prepend(errp, "Failed to create snapshot '%s' on device '%s': ",
                      arg->name, arg->device);
        return false;
    }
    step->made = g_steal_pointer(&sn);
    return true;
}

bool qmp_blockdev_snapshot_internal_sync(BlockdevSnapshotInternal *arg,
                                         Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_INTERNAL_SYNC,
        .u.blockdev_snapshot_internal_sync.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

SnapshotInfo *qmp_blockdev_snapshot_delete_internal_sync(
    BlockdevSnapshotDeleteInternalSyncArg *arg, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(arg->device, arg->device, errp);
    g_autoptr(GPtrArray) list = NULL;
    g_autoptr(SnapshotInfo) info = NULL;
    int ret, index;

    if (!bs || !blockdev_check_root(bs, errp)) {
        return NULL;
    }
    if (!arg->id && !arg->name) {
        error_setg(errp, "Name or id must be provided");
        return NULL;
    }
    if (!bdrv_op_check(bs, errp)) {
        return NULL;
    }
    list = bdrv_snapshot_list(bs, &ret);
    if (!list) {
        error_setg_errno(errp, -ret, "Failed to get a snapshot list");
        return NULL;
    }
    index = bdrv_snapshot_find(list, arg->id, arg->name);
    if (index < 0) {
        error_setg(errp, "Snapshot with id '%s' and name '%s' does not exist "
                   "on device '%s'", arg->id ?: "null", arg->name ?: "null",
                   arg->device);
        return NULL;
    }
    info = bdrv_snapshot_info(list->pdata[index]);
    if (bdrv_snapshot_delete(bs, info->id, info->name, errp) < 0) {
        return NULL;
    }
    return g_steal_pointer(&info);
}
