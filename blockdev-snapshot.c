/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * External snapshots: an overlay takes the place of a node, which becomes its
 * backing file and read-only.
 *
 *        guest                guest
 *          |                    |
 *         node     ------>   overlay
 *                               |backing
 *                             node
 *
 * prepare inserts the overlay, while nothing is in flight; commit makes the
 * node read-only, which stores its bitmaps.  No data is copied, so the time
 * does not depend on the size of the disk.
 */
#include "qemu/osdep.h"

#include "blockdev-int.h"
#include "block/io.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-snapshot.h"

typedef struct SnapshotStep {
    BlockDriverState *bs;      /* drained for the whole transaction */
    BlockDriverState *overlay; /* drained since it is known */
    GPtrArray *moved;          /* not NULL: the overlay is in place */
} SnapshotStep;

/* --- the end of the transaction --- */

static void snapshot_commit(void *opaque)
{
    SnapshotStep *step = opaque;

    bdrv_reopen_read_only_again(step->bs);
}

static void snapshot_abort(void *opaque)
{
    SnapshotStep *step = opaque;
    Error *err = NULL;

    if (step->moved && !bdrv_unappend(step->overlay, step->bs, step->moved,
                                      &err)) {
        error_prepend(&err, "Overlay '%s' stays in place: ",
                      step->overlay->node_name);
        error_report_err(err);
    }
}

static void snapshot_clean(void *opaque)
{
    SnapshotStep *step = opaque;

    if (step->overlay) {
        bdrv_drained_end(step->overlay);
        bdrv_unref(step->overlay);
    }
    if (step->moved) {
        g_ptr_array_unref(step->moved);
    }
    bdrv_drained_end(step->bs);
    bdrv_unref(step->bs);
    g_free(step);
}

static const TransactionActionDrv snapshot_step = {
    .commit = snapshot_commit,
    .abort = snapshot_abort,
    .clean = snapshot_clean,
};

/* --- common parts --- */

/* Drains and flushes @bs; NULL with @errp. */
static SnapshotStep *begin(BlockDriverState *bs, BlockdevTransaction *btx,
                           Error **errp)
{
    SnapshotStep *step = g_new0(SnapshotStep, 1);

    step->bs = bdrv_ref(bs);
    bdrv_drained_begin(bs);
    tran_add(btx->tran, &snapshot_step, step);
    if (!bdrv_op_check_top(bs, errp)) {
        return NULL;
    }
    if (!bs->read_only && bdrv_flush(bs) < 0) {
        error_setg(errp, "An IO error has occurred");
        return NULL;
    }
    return step;
}

/* Consumes the reference to @overlay. */
static bool put_on_top(SnapshotStep *step, BlockDriverState *overlay,
                       Error **errp)
{
    uint64_t perm, shared;

    step->overlay = overlay;
    bdrv_drained_begin(overlay);
    bdrv_get_cumulative_perm(overlay, &perm, &shared);
    if (perm & BLK_PERM_CONSISTENT_READ) {
        error_setg(errp, "The overlay is already in use");
        return false;
    }
    if (bdrv_cow_child(overlay)) {
        error_setg(errp, "The overlay already has a backing image");
        return false;
    }
    if (!overlay->drv->supports_backing) {
        error_setg(errp, "The overlay does not support backing images");
        return false;
    }
    return bdrv_append(overlay, step->bs, &step->moved, errp);
}

/* --- blockdev-snapshot --- */

bool blockdev_action_snapshot(const TransactionAction *action,
                              BlockdevTransaction *btx, Error **errp)
{
    const BlockdevSnapshot *arg = action->u.blockdev_snapshot.data;
    BlockDriverState *bs, *overlay;
    SnapshotStep *step;

    bs = bdrv_lookup_bs(arg->node, arg->node, errp);
    step = bs ? begin(bs, btx, errp) : NULL;
    if (!step) {
        return false;
    }
    overlay = bdrv_lookup_bs(arg->overlay, arg->overlay, errp);
    return overlay && put_on_top(step, bdrv_ref(overlay), errp);
}

bool qmp_blockdev_snapshot(BlockdevSnapshot *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT,
        .u.blockdev_snapshot.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

/* --- blockdev-snapshot-sync --- */

static bool check_names(const BlockdevSnapshotSync *arg, Error **errp)
{
    const char *name = arg->snapshot_node_name;

    if (arg->node_name && !name) {
        error_setg(errp, "New overlay node-name missing");
        return false;
    }
    if (name && bdrv_lookup_bs(name, name, NULL)) {
        error_setg(errp, "New overlay node-name already in use");
        return false;
    }
    return true;
}

/* The header gets the name without filters, as other programs lack them. */
static bool create_overlay(const BlockdevSnapshotSync *arg, const char *format,
                           BlockDriverState *bs, Error **errp)
{
    g_autofree char *base = NULL;
    BdrvImgCreate create = {
        .filename = arg->snapshot_file,
        .format = format,
        .base_format = bdrv_get_format_name(bdrv_skip_filters(bs)),
        .size = bdrv_getlength(bs),
        .unsafe_base = true, /* it is open already */
    };

    if (create.size < 0) {
        error_setg_errno(errp, -create.size, "bdrv_getlength failed");
        return false;
    }
    bdrv_refresh_filename(bs);
    base = bdrv_image_filename(bs);
    create.base_filename = base;
    return bdrv_img_create(&create, errp);
}

/* Opens the overlay with the modes of @bs. */
static BlockDriverState *open_overlay(const BlockdevSnapshotSync *arg,
                                      const char *format,
                                      const BlockDriverState *bs, Error **errp)
{
    int flags = BDRV_O_NO_BACKING | (bs->read_only ? 0 : BDRV_O_RDWR) |
                (bs->cache_direct ? BDRV_O_NOCACHE : 0) |
                (bs->cache_no_flush ? BDRV_O_NO_FLUSH : 0) |
                (bs->discard_unmap ? BDRV_O_UNMAP : 0);

    return bdrv_open_file_as(arg->snapshot_file, format,
                             arg->snapshot_node_name, flags, errp);
}

bool blockdev_action_snapshot_sync(const TransactionAction *action,
                                   BlockdevTransaction *btx, Error **errp)
{
    const BlockdevSnapshotSync *arg = action->u.blockdev_snapshot_sync.data;
    const char *format = arg->format ? arg->format : "qcow2";
    BlockDriverState *bs, *overlay;
    SnapshotStep *step;

    bs = bdrv_lookup_bs(arg->device, arg->node_name, errp);
    step = bs ? begin(bs, btx, errp) : NULL;
    if (!step || !check_names(arg, errp) ||
        (arg->mode != NEW_IMAGE_MODE_EXISTING &&
         !create_overlay(arg, format, bs, errp))) {
        return false;
    }
    overlay = open_overlay(arg, format, bs, errp);
    return overlay && put_on_top(step, overlay, errp);
}

bool qmp_blockdev_snapshot_sync(BlockdevSnapshotSync *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCKDEV_SNAPSHOT_SYNC,
        .u.blockdev_snapshot_sync.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

/* --- change-backing-file --- */

bool blockdev_check_root(BlockDriverState *bs, Error **errp)
{
    BdrvChild *c = NULL;

    while ((c = bdrv_next_parent(bs, c))) {
        if (c->klass->parent_is_bs) {
            error_setg(errp, "Need a root block node");
            return false;
        }
    }
    return true;
}

static int write_backing_name(BlockDriverState *bs, const char *name)
{
    const char *format = bs->drv->format_name;
    int ret;

    if (!bs->drv->change_backing_file) {
        return -ENOTSUP;
    }
    bdrv_drained_begin(bs);
    if (bdrv_cow_child(bs)) {
        format = bdrv_get_format_name(bdrv_backing_chain_next(bs));
    }
    ret = bs->drv->change_backing_file(bs, *name ? name : NULL,
                                       *name ? format : NULL);
    bdrv_drained_end(bs);
    return ret;
}

/* Makes the image writable meanwhile. */
static bool change_name(BlockDriverState *bs, const char *name, Error **errp)
{
    bool read_only = bs->read_only;
    int ret;

    if (read_only && !bdrv_reopen_set_read_only(bs, false, errp)) {
        return false;
    }
    ret = write_backing_name(bs, name);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not change backing file to '%s'",
                         name);
    }
    if (read_only) {
        /* The first error is reported. */
        return bdrv_reopen_set_read_only(bs, true, ret < 0 ? NULL : errp) &&
               ret >= 0;
    }
    return ret >= 0;
}

bool qmp_change_backing_file(ChangeBackingFileArg *arg, Error **errp)
{
    BlockDriverState *root, *bs;
    bool ok;

    root = bdrv_lookup_bs(arg->device, arg->device, errp);
    if (!root || !blockdev_check_root(root, errp)) {
        return false;
    }
    bs = bdrv_lookup_bs(NULL, arg->image_node_name, errp);
    if (!bs) {
        return false;
    }
    if (!bdrv_backing_chain_next(bs)) {
        error_setg(errp, "not allowing backing file change on an image "
                   "without a backing file");
        return false;
    }
    if (!bdrv_chain_contains(root, bs)) {
        error_setg(errp, "'%s' and image file are not in the same chain",
                   arg->device);
        return false;
    }
    if (!bdrv_op_check(root, errp)) {
        return false;
    }
    bdrv_ref(bs);
    ok = change_name(bs, arg->backing_file, errp);
    bdrv_refresh_filename(root);
    bdrv_unref(bs);
    return ok;
}
