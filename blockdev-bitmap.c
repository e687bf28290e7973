/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block-dirty-bitmap-*: each command is an action of a transaction; alone it
 * is a transaction of one.
 */
#include "qemu/osdep.h"

#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-bitmap.h"

/* State of an action until the end of the transaction. */
typedef struct BitmapStep {
    BdrvDirtyBitmap *bitmap;
    BdrvBitmapBackup *backup; /* restored on abort, or NULL */
    bool was_enabled;
} BitmapStep;

static BitmapStep *step_new(BdrvDirtyBitmap *bitmap)
{
    BitmapStep *step = g_new0(BitmapStep, 1);

    step->bitmap = bitmap;
    step->was_enabled = bdrv_dirty_bitmap_enabled(bitmap);
    return step;
}

static void step_clean(void *opaque)
{
    BitmapStep *step = opaque;

    bdrv_bitmap_backup_free(step->backup);
    g_free(step);
}

/* The bitmap of an action, if the table allows @op on it. */
static BdrvDirtyBitmap *find_for(const BlockDirtyBitmap *arg, BdrvBitmapOp op,
                                 Error **errp)
{
    BdrvDirtyBitmap *bitmap =
        bdrv_dirty_bitmap_lookup(arg->node, arg->name, errp);

    if (!bitmap || !bdrv_dirty_bitmap_check(bitmap, op, errp)) {
        return NULL;
    }
    /* One that the image does not have can be removed at any time. */
    if ((op != BDRV_BITMAP_OP_REMOVE || bdrv_dirty_bitmap_persistent(bitmap)) &&
        !bdrv_check_active(bdrv_dirty_bitmap_bs(bitmap), errp)) {
        return NULL;
    }
    return bitmap;
}

/* --- add --- */

static void add_abort(void *opaque)
{
    BitmapStep *step = opaque;
    Error *err = NULL;

    if (bdrv_dirty_bitmap_persistent(step->bitmap) &&
        !bdrv_remove_stored_dirty_bitmap(bdrv_dirty_bitmap_bs(step->bitmap),
                                         bdrv_dirty_bitmap_name(step->bitmap),
                                         &err)) {
        error_report_err(err); /* the stored bitmap is out of date */
    }
    bdrv_dirty_bitmap_release(step->bitmap);
}

static const TransactionActionDrv add_drv = {
    .abort = add_abort,
    .clean = step_clean,
};

static bool make_persistent(BdrvDirtyBitmap *bitmap, Error **errp)
{
    BlockDriverState *bs = bdrv_dirty_bitmap_bs(bitmap);

    if (!bdrv_can_store_dirty_bitmap(bs, bdrv_dirty_bitmap_name(bitmap),
                                     bdrv_dirty_bitmap_granularity(bitmap),
                                     errp)) {
        return false;
    }
    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    return bdrv_bitmap_store_begin(bs, bitmap, errp);
}

bool blockdev_action_bitmap_add(const TransactionAction *action,
                                BlockdevTransaction *btx, Error **errp)
{
    const BlockDirtyBitmapAdd *arg = action->u.block_dirty_bitmap_add.data;
    BlockDriverState *bs;
    BdrvDirtyBitmap *bitmap;
    uint64_t granularity;

    if (!*arg->name) {
        error_setg(errp, "Bitmap name cannot be empty");
        return false;
    }
    bs = bdrv_lookup_bs(arg->node, arg->node, errp);
    if (!bs || !bdrv_check_active(bs, errp)) {
        return false;
    }
    granularity = arg->has_granularity ?
        arg->granularity : bdrv_dirty_bitmap_default_granularity(bs);
    bitmap = bdrv_dirty_bitmap_new(bs, granularity, arg->name, errp);
    if (!bitmap) {
        return false;
    }
    /* Before the image is read, as guest requests continue meanwhile. */
    if (arg->disabled) {
        bdrv_dirty_bitmap_disable(bitmap);
    }
    if (arg->has_safety) {
        bdrv_dirty_bitmap_set_safety(bitmap, arg->safety);
    }
    if (arg->persistent && !make_persistent(bitmap, errp)) {
        bdrv_dirty_bitmap_release(bitmap);
        return false;
    }
    tran_add(btx->tran, &add_drv, step_new(bitmap));
    return true;
}

/* --- remove --- */

static void remove_commit(void *opaque)
{
    BitmapStep *step = opaque;

    bdrv_dirty_bitmap_set_busy(step->bitmap, false);
    bdrv_dirty_bitmap_release(step->bitmap);
}

static void remove_abort(void *opaque)
{
    BitmapStep *step = opaque;

    bdrv_dirty_bitmap_skip_store(step->bitmap, false);
    bdrv_dirty_bitmap_set_busy(step->bitmap, false);
}

static const TransactionActionDrv remove_drv = {
    .commit = remove_commit,
    .abort = remove_abort,
    .clean = step_clean,
};

/* The image may have a copy, under the same name, of one that is not persistent
 * since the rest of it never arrived. */
static bool may_be_stored(const BdrvDirtyBitmap *bitmap)
{
    BlockDriverState *bs = bdrv_dirty_bitmap_bs(bitmap);

    return bdrv_dirty_bitmap_persistent(bitmap) ||
           (bdrv_dirty_bitmap_inconsistent(bitmap) && !bdrv_is_inactive(bs) &&
            !bdrv_is_read_only(bs) &&
            bdrv_supports_persistent_dirty_bitmap(bs));
}

/*
 * Removing the stored copy can fail, so it comes first.  Until the commit the
 * bitmap stays, recording, and busy for others: on abort it is unchanged, and
 * is stored again when the image is closed.
 */
bool blockdev_action_bitmap_remove(const TransactionAction *action,
                                   BlockdevTransaction *btx, Error **errp)
{
    BdrvDirtyBitmap *bitmap = find_for(
        action->u.block_dirty_bitmap_remove.data, BDRV_BITMAP_OP_REMOVE, errp);
    bool stored;

    if (!bitmap) {
        return false;
    }
    stored = may_be_stored(bitmap);
    /* First of all, so that a job does not store it again. */
    bdrv_dirty_bitmap_skip_store(bitmap, true);
    if (stored &&
        !bdrv_remove_stored_dirty_bitmap(bdrv_dirty_bitmap_bs(bitmap),
                                         bdrv_dirty_bitmap_name(bitmap),
                                         errp)) {
        bdrv_dirty_bitmap_skip_store(bitmap, false);
        return false;
    }
    bdrv_dirty_bitmap_set_busy(bitmap, true);
    tran_add(btx->tran, &remove_drv, step_new(bitmap));
    return true;
}

/* --- clear and merge: both change bits and can restore them --- */

static void bits_abort(void *opaque)
{
    BitmapStep *step = opaque;

    if (step->backup) {
        bdrv_dirty_bitmap_restore(step->bitmap,
                                  g_steal_pointer(&step->backup));
    }
}

static const TransactionActionDrv bits_drv = {
    .abort = bits_abort,
    .clean = step_clean,
};

bool blockdev_action_bitmap_clear(const TransactionAction *action,
                                  BlockdevTransaction *btx, Error **errp)
{
    BdrvDirtyBitmap *bitmap = find_for(action->u.block_dirty_bitmap_clear.data,
                                       BDRV_BITMAP_OP_CLEAR, errp);
    BitmapStep *step;

    if (!bitmap) {
        return false;
    }
    step = step_new(bitmap);
    tran_add(btx->tran, &bits_drv, step);
    return bdrv_dirty_bitmap_clear_keep(bitmap, &step->backup, errp);
}

static BdrvDirtyBitmap *merge_source(const BlockDirtyBitmapMerge *arg,
                                     const BlockDirtyBitmapOrStr *ref,
                                     Error **errp)
{
    if (ref->type == BLOCK_DIRTY_BITMAP_OR_STR_KIND_LOCAL) {
        return bdrv_dirty_bitmap_lookup(arg->node, ref->u.local, errp);
    }
    return bdrv_dirty_bitmap_lookup(ref->u.external->node,
                                    ref->u.external->name, errp);
}

bool blockdev_action_bitmap_merge(const TransactionAction *action,
                                  BlockdevTransaction *btx, Error **errp)
{
    const BlockDirtyBitmapMerge *arg = action->u.block_dirty_bitmap_merge.data;
    BlockDirtyBitmapOrStrList *ref;
    BdrvDirtyBitmap *target, *source;
    BitmapStep *step;

    target = bdrv_dirty_bitmap_lookup(arg->node, arg->target, errp);
    if (!target ||
        !bdrv_dirty_bitmap_check(target, BDRV_BITMAP_OP_MERGE_TARGET, errp) ||
        !bdrv_check_active(bdrv_dirty_bitmap_bs(target), errp)) {
        return false;
    }
    /* From here on a failure of a later source undoes the earlier ones. */
    step = step_new(target);
    tran_add(btx->tran, &bits_drv, step);
    for (ref = arg->bitmaps; ref; ref = ref->next) {
        source = merge_source(arg, ref->value, errp);
        if (!source ||
            !bdrv_check_active(bdrv_dirty_bitmap_bs(source), errp) ||
            !bdrv_dirty_bitmap_merge(target, source,
                                     step->backup ? NULL : &step->backup,
                                     errp)) {
            return false;
        }
    }
    return true;
}

/* --- enable and disable --- */

static void switch_recording(BdrvDirtyBitmap *bitmap, bool enable)
{
    if (enable) {
        bdrv_dirty_bitmap_enable(bitmap);
    } else {
        bdrv_dirty_bitmap_disable(bitmap);
    }
}

static void recording_abort(void *opaque)
{
    BitmapStep *step = opaque;

    switch_recording(step->bitmap, step->was_enabled);
}

static const TransactionActionDrv recording_drv = {
    .abort = recording_abort,
    .clean = step_clean,
};

static bool set_recording(const BlockDirtyBitmap *arg, bool enable,
                          BlockdevTransaction *btx, Error **errp)
{
    BdrvDirtyBitmap *bitmap = find_for(arg, enable ? BDRV_BITMAP_OP_ENABLE
                                                   : BDRV_BITMAP_OP_DISABLE,
                                       errp);

    if (!bitmap) {
        return false;
    }
    tran_add(btx->tran, &recording_drv, step_new(bitmap));
    switch_recording(bitmap, enable);
    return true;
}

bool blockdev_action_bitmap_enable(const TransactionAction *action,
                                   BlockdevTransaction *btx, Error **errp)
{
    return set_recording(action->u.block_dirty_bitmap_enable.data, true, btx,
                         errp);
}

bool blockdev_action_bitmap_disable(const TransactionAction *action,
                                    BlockdevTransaction *btx, Error **errp)
{
    return set_recording(action->u.block_dirty_bitmap_disable.data, false, btx,
                         errp);
}

/* --- persistent or transient --- */

static bool make_transient(BdrvDirtyBitmap *bitmap, Error **errp)
{
    if (!bdrv_remove_stored_dirty_bitmap(bdrv_dirty_bitmap_bs(bitmap),
                                         bdrv_dirty_bitmap_name(bitmap),
                                         errp)) {
        return false;
    }
    bdrv_dirty_bitmap_set_persistent(bitmap, false);
    return true;
}

/* It was transient. */
static void persistent_abort(void *opaque)
{
    BitmapStep *step = opaque;
    Error *err = NULL;

    if (!make_transient(step->bitmap, &err)) {
        error_report_err(err); /* it stays persistent */
    }
}

static const TransactionActionDrv persistent_drv = {
    .abort = persistent_abort,
    .clean = step_clean,
};

/* It was persistent; the end of the transaction stores it. */
static void transient_abort(void *opaque)
{
    BitmapStep *step = opaque;

    bdrv_dirty_bitmap_set_persistent(step->bitmap, true);
}

static const TransactionActionDrv transient_drv = {
    .abort = transient_abort,
    .clean = step_clean,
};

bool blockdev_action_bitmap_set_persistent(const TransactionAction *action,
                                           BlockdevTransaction *btx,
                                           Error **errp)
{
    const BlockDirtyBitmapSetPersistent *arg =
        action->u.block_dirty_bitmap_set_persistent.data;
    BlockDirtyBitmap which = {.node = arg->node, .name = arg->name};
    BdrvDirtyBitmap *bitmap = find_for(&which, BDRV_BITMAP_OP_CLEAR, errp);

    if (!bitmap) {
        return false;
    }
    if (arg->persistent == bdrv_dirty_bitmap_persistent(bitmap)) {
        return true;
    }
    if (!arg->persistent) {
        if (!make_transient(bitmap, errp)) {
            return false;
        }
        tran_add(btx->tran, &transient_drv, step_new(bitmap));
        return true;
    }
    if (!make_persistent(bitmap, errp)) {
        bdrv_dirty_bitmap_set_persistent(bitmap, false);
        return false;
    }
    tran_add(btx->tran, &persistent_drv, step_new(bitmap));
    return true;
}

/* --- the commands --- */

bool qmp_block_dirty_bitmap_add(BlockDirtyBitmapAdd *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ADD,
        .u.block_dirty_bitmap_add.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

bool qmp_block_dirty_bitmap_set_persistent(BlockDirtyBitmapSetPersistent *arg,
                                           Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_SET_PERSISTENT,
        .u.block_dirty_bitmap_set_persistent.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

bool qmp_block_dirty_bitmap_remove(BlockDirtyBitmap *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_REMOVE,
        .u.block_dirty_bitmap_remove.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

bool qmp_block_dirty_bitmap_clear(BlockDirtyBitmap *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_CLEAR,
        .u.block_dirty_bitmap_clear.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

bool qmp_block_dirty_bitmap_enable(BlockDirtyBitmap *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_ENABLE,
        .u.block_dirty_bitmap_enable.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

bool qmp_block_dirty_bitmap_disable(BlockDirtyBitmap *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_DISABLE,
        .u.block_dirty_bitmap_disable.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

bool qmp_block_dirty_bitmap_merge(BlockDirtyBitmapMerge *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_BLOCK_DIRTY_BITMAP_MERGE,
        .u.block_dirty_bitmap_merge.data = arg,
    };

    return blockdev_run_action(&action, errp);
}

BlockDirtyBitmapSha256 *
qmp_x_debug_block_dirty_bitmap_sha256(BlockDirtyBitmap *arg, Error **errp)
{
    BdrvDirtyBitmap *bitmap = find_for(arg, BDRV_BITMAP_OP_HASH, errp);
    BlockDirtyBitmapSha256 *ret;

    if (!bitmap) {
        return NULL;
    }
    ret = g_new0(BlockDirtyBitmapSha256, 1);
    ret->sha256 = bdrv_dirty_bitmap_sha256(bitmap);
    return ret;
}
