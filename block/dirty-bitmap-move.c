/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A store that is used for another node than that of the image.  The bitmaps
 * are saved and loaded anew, so that what is in memory refers to one node only.
 */
#include "qemu/osdep.h"

#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph.h"

const BdrvBitmapDisk *bdrv_bitmap_store_disk(BlockDriverState *bs)
{
    const BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    return store && store->ops->disk ? store->ops->disk(store) : NULL;
}

static bool may_move(BlockDriverState *bs, Error **errp)
{
    const BdrvDirtyBitmapList *list = &bdrv_node(bs)->bitmaps;
    BdrvDirtyBitmap *bitmap = NULL;

    if (list->store_user) {
        error_setg(errp, "The bitmaps in node '%s' are used by node '%s'",
                   bs->node_name, list->store_user->node_name);
        return false;
    }
    if (!list->store || !list->store->ops->leave ||
        !list->store->ops->record_disk) {
        error_setg(errp, "Node '%s' (driver '%s') cannot hold the bitmaps of "
                   "another node", bs->node_name, bs->drv->format_name);
        return false;
    }
    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_persistent(bitmap) &&
            bdrv_dirty_bitmap_busy(bitmap)) {
            error_setg(errp, "Bitmap '%s' of node '%s' is in use by another "
                       "operation", bitmap->name, bs->node_name);
            return false;
        }
    }
    return true;
}

static void release_persistent(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap, *next;

    for (bitmap = bdrv_dirty_bitmap_next(bs, NULL); bitmap; bitmap = next) {
        next = bdrv_dirty_bitmap_next(bs, bitmap);
        if (bdrv_dirty_bitmap_persistent(bitmap)) {
            bdrv_dirty_bitmap_release(bitmap);
        }
    }
}

static void attach_again(BdrvBitmapStore *store, BlockDriverState *bs)
{
    BitmapSafety safety = store->safety;

    bdrv_bitmap_store_attach(bs, store);
    bdrv_bitmap_store_set_safety(store, safety);
}

bool bdrv_bitmap_store_move(BlockDriverState *from, BlockDriverState *to,
                            Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(from)->bitmaps.store;

    bool ok;

    if (!may_move(from, errp)) {
        return false;
    }
    if (store->begun || store->owed) {
        bdrv_drained_begin(from); /* what the store does by a timer, too */
        ok = bdrv_bitmap_store_save(from, NULL, false, errp);
        bdrv_drained_end(from);
        if (!ok) {
            return false;
        }
    }
    store->ops->leave(store);
    release_persistent(from);
    bdrv_node(from)->bitmaps.store = NULL;
    bdrv_node(from)->bitmaps.store_user = to;
    attach_again(store, to);
    return true;
}

/* The image is not used for another node any more: its own node has the bitmaps
 * as if it had just been opened. */
static bool load_again(BlockDriverState *bs, Error **errp)
{
    if (!bdrv_bitmap_store_load(bs, errp)) {
        bdrv_node(bs)->bitmaps.store = NULL; /* else they would seem current */
        return false;
    }
    if (!bs->read_only && !bdrv_bitmap_store_begin(bs, NULL, errp)) {
        bdrv_node(bs)->bitmaps.store->owed = true;
        return false;
    }
    return true;
}

void bdrv_bitmap_store_return(BdrvBitmapStore *store, BlockDriverState *owner)
{
    Error *err = NULL;

    store->ops->leave(store);
    bdrv_node(owner)->bitmaps.store_user = NULL;
    attach_again(store, owner);
    /* The reference of its parent is the last one: it is closed next. */
    if (bdrv_node(owner)->refcnt > 1 && !load_again(owner, &err)) {
        error_prepend(&err, "Bitmaps of node '%s': ", owner->node_name);
        error_report_err(err);
    }
}
