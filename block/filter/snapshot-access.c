/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot-access: what a copy-before-write filter saved, as a node. */
#include "qemu/osdep.h"
#include "block/copy-before-write.h"
#include "block/graph.h"
#include "block/io.h"

static int snapshot_open(BlockDriverState *bs, const BlockdevOptions *options,
                         int flags, Error **errp)
{
    if (!bdrv_open_child(bs, options->u.snapshot_access.file, "file",
                         BDRV_CHILD_DATA | BDRV_CHILD_PRIMARY, errp)) {
        return -EINVAL;
    }
    if (!cbw_is_cbw(bs->file->bs)) {
        error_setg(errp, "Node '%s' is no copy-before-write filter: there is "
                   "no snapshot to access", bs->file->bs->node_name);
        return -EINVAL;
    }
    if (!cbw_has_snapshot(bs->file->bs)) {
        error_setg(errp, "Node '%s' has no snapshot any more",
                   bs->file->bs->node_name);
        return -EINVAL;
    }
    bs->read_only = true;
    return 0;
}

/*
 * A node that replaces the filter for its users does not keep the snapshot: the
 * filter stays our child.
 */
static BdrvConsent snapshot_child_change(BlockDriverState *bs,
                                         const BdrvChildChange *change,
                                         Transaction *tran, Error **errp)
{
    return change->content == BDRV_CONTENT_OTHER
        ? bdrv_child_change_refuse(bs, change, errp) : BDRV_STAY;
}

/* No permission but reading is needed while the filter has the snapshot. */
static void snapshot_child_perm(BlockDriverState *bs, BdrvChild *child,
                                BdrvChildRole role, uint64_t perm,
                                uint64_t shared, uint64_t *nperm,
                                uint64_t *nshared)
{
    *nperm = cbw_has_snapshot(child->bs) ? BLK_PERM_CONSISTENT_READ : 0;
    *nshared = BLK_PERM_ALL;
}

static int coroutine_fn snapshot_co_preadv(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           QEMUIOVector *qiov,
                                           size_t qiov_offset,
                                           BdrvRequestFlags flags)
{
    return cbw_co_preadv_snapshot(bs->file->bs, offset, bytes, qiov,
                                  qiov_offset);
}

static int coroutine_fn snapshot_co_block_status(BlockDriverState *bs,
                                                 bool want_zero,
                                                 int64_t offset,
                                                 int64_t bytes, int64_t *pnum,
                                                 int64_t *map,
                                                 BlockDriverState **file)
{
    return cbw_co_snapshot_status(bs->file->bs, offset, bytes, pnum);
}

static int64_t snapshot_getlength(BlockDriverState *bs)
{
    return bdrv_getlength(bs->file->bs);
}

static const char *const snapshot_strong_options[] = { NULL };

extern const BlockDriver bdrv_snapshot_access;

const BlockDriver bdrv_snapshot_access = {
    .format_name = "snapshot-access",
    .strong_options = snapshot_strong_options,
    .open = snapshot_open,
    .child_perm = snapshot_child_perm,
    .child_change = snapshot_child_change,
    .co_preadv = snapshot_co_preadv,
    .co_block_status = snapshot_co_block_status,
    .getlength = snapshot_getlength,
};
