/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent bitmaps: when the store of a node is called. */
#include "qemu/osdep.h"

#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph.h"
#include "block/io.h"

/* --- the store of a node --- */

BdrvBitmapStore *bdrv_bitmap_store_attach(BlockDriverState *bs,
                                          BdrvBitmapStore *store)
{
    BdrvBitmapStore *old = bdrv_node(bs)->bitmaps.store;

    g_assert(store->ops->can_store && store->ops->load && store->ops->begin &&
             store->ops->save && store->ops->co_remove);
    store->bs = bs;
    store->begun = old && old->begun;
    store->owed = old && old->owed;
    bdrv_node(bs)->bitmaps.store = store;
    return old;
}

void bdrv_bitmap_store_detach(BlockDriverState *bs)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    bdrv_node(bs)->bitmaps.store = NULL;
    if (store && store->ops->free) {
        store->ops->free(store);
    }
}

/* --- calls of the store --- */

bool coroutine_mixed_fn bdrv_bitmap_store_load(BlockDriverState *bs,
                                               Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    return !store || store->ops->load(store, errp);
}

bool coroutine_mixed_fn bdrv_bitmap_store_begin(BlockDriverState *bs,
                                                BdrvDirtyBitmap *bitmap,
                                                Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (!store) {
        return true;
    }
    if (!store->ops->begin(store, bitmap, errp)) {
        return false;
    }
    if (!bitmap) {
        store->begun = true;
        store->owed = false;
    }
    return true;
}

bool bdrv_dirty_bitmap_to_store(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->name && bdrv_dirty_bitmap_persistent(bitmap) &&
           !bdrv_dirty_bitmap_readonly(bitmap) &&
           !bdrv_dirty_bitmap_inconsistent(bitmap) &&
           /* else it lacks the changes in its successor */
           !bdrv_dirty_bitmap_has_successor(bitmap);
}

static bool any_to_store(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_to_store(bitmap)) {
            return true;
        }
    }
    return false;
}

static void release_stored(BlockDriverState *bs, const BdrvDirtyBitmap *only)
{
    BdrvDirtyBitmap *bitmap, *next;

    for (bitmap = bdrv_dirty_bitmap_next(bs, NULL); bitmap; bitmap = next) {
        next = bdrv_dirty_bitmap_next(bs, bitmap);
        if ((!only || bitmap == only) && bdrv_dirty_bitmap_to_store(bitmap) &&
            !bdrv_dirty_bitmap_busy(bitmap)) {
            bdrv_dirty_bitmap_release(bitmap);
        }
    }
}

bool coroutine_mixed_fn bdrv_bitmap_store_save(BlockDriverState *bs,
                                               BdrvDirtyBitmap *bitmap,
                                               bool release, Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;
    bool any = store && (bitmap ? bdrv_dirty_bitmap_to_store(bitmap)
                                : any_to_store(bs));

    if (any && !store->ops->save(store, bitmap, errp)) {
        /* A stored bitmap may count as current: writes must mark it first. */
        store->owed = true;
        return false;
    }
    if (store && !bitmap) {
        store->begun = false;
    }
    if (any && release) {
        release_stored(bs, bitmap);
    }
    return true;
}

bool coroutine_fn bdrv_bitmap_store_co_resize(BlockDriverState *bs,
                                              int64_t bytes, Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    return !store || !store->ops->co_resize ||
           store->ops->co_resize(store, bytes, errp);
}

/* Marks the bitmaps, which a reopen could not do; writes wait for it. */
static int coroutine_fn begin_owed(BlockDriverState *bs)
{
    Error *err = NULL;

    if (bdrv_bitmap_store_begin(bs, NULL, &err)) {
        return 0;
    }
    error_free(err); /* reported when it became owed */
    return -EIO;
}

int coroutine_fn bdrv_bitmap_store_co_write_intent(BlockDriverState *bs,
                                                   int64_t offset,
                                                   int64_t bytes)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;
    int ret;

    if (G_LIKELY(!store)) {
        return 0;
    }
    if (G_UNLIKELY(store->owed)) {
        ret = begin_owed(bs);
        if (ret < 0) {
            return ret;
        }
    }
    return store->ops->co_write_intent
        ? store->ops->co_write_intent(store, offset, bytes) : 0;
}

/* --- the life of the node --- */

void bdrv_bitmap_store_close(BlockDriverState *bs)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;
    Error *err = NULL;

    if (store && (store->begun || store->owed) &&
        !bdrv_bitmap_store_save(bs, NULL, true, &err)) {
        error_prepend(&err, "Lost persistent bitmaps during inactivation "
                      "of node '%s': ", bs->node_name);
        bdrv_close_error(bs, err);
    }
    bdrv_bitmap_store_detach(bs);
}

static void set_readonly(BlockDriverState *bs, bool readonly)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bitmap->name && bdrv_dirty_bitmap_persistent(bitmap)) {
            bdrv_dirty_bitmap_set_readonly(bitmap, readonly);
        }
    }
}

/* A bitmap that a job holds cannot be stored, as its successor has bits. */
static bool all_idle(BlockDriverState *bs, Error **errp)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bitmap->name && bdrv_dirty_bitmap_persistent(bitmap) &&
            bdrv_dirty_bitmap_busy(bitmap)) {
            error_setg(errp, "Cannot make node '%s' read-only: bitmap '%s' "
                       "is in use by another operation", bs->node_name,
                       bitmap->name);
            return false;
        }
    }
    return true;
}

/* Records again; if that fails, writes are refused until it succeeds. */
static void begin_or_owe(BlockDriverState *bs)
{
    Error *err = NULL;

    if (!bdrv_bitmap_store_begin(bs, NULL, &err)) {
        bdrv_node(bs)->bitmaps.store->owed = true;
        error_prepend(&err, "%s: Failed to make dirty bitmaps writable: ",
                      bs->node_name);
        error_report_err(err);
    }
    set_readonly(bs, false);
}

static void reopen_abort(void *opaque)
{
    begin_or_owe(opaque);
}

static const TransactionActionDrv reopen_drv = { .abort = reopen_abort };

bool bdrv_bitmap_store_reopen_tran(BlockDriverState *bs, Transaction *tran,
                                   Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (!store || !bs->read_only || !(store->begun || store->owed)) {
        return true;
    }
    if (!all_idle(bs, errp) ||
        !bdrv_bitmap_store_save(bs, NULL, false, errp)) {
        return false;
    }
    store->owed = false;
    set_readonly(bs, true);
    tran_add(tran, &reopen_drv, bs);
    return true;
}

void bdrv_bitmap_store_reopened(BlockDriverState *bs)
{
    const BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (store && !bs->read_only && !store->begun) {
        begin_or_owe(bs);
    }
}

/* --- queries of users --- */

bool bdrv_supports_persistent_dirty_bitmap(BlockDriverState *bs)
{
    return bdrv_node(bs)->bitmaps.store != NULL;
}

bool bdrv_can_store_dirty_bitmap(BlockDriverState *bs, const char *name,
                                 uint64_t granularity, Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (!store) {
        error_setg(errp, "Can't store persistent bitmaps to %s: Operation not "
                   "supported", bdrv_get_device_or_node_name(bs));
        return false;
    }
    /* A bitmap that cannot be stored at the end would be lost silently. */
    if (bdrv_is_read_only(bs)) {
        error_setg(errp, "Can't store persistent bitmaps to %s: node is "
                   "read-only", bdrv_get_device_or_node_name(bs));
        return false;
    }
    return store->ops->can_store(store, name, granularity, errp);
}

typedef struct RemoveCo {
    BdrvBitmapStore *store;
    const char *name;
    Error **errp;
    bool ok;
} RemoveCo;

static void coroutine_fn remove_entry(void *opaque)
{
    RemoveCo *co = opaque;

    co->ok = co->store->ops->co_remove(co->store, co->name, co->errp);
}

bool coroutine_mixed_fn bdrv_remove_stored_dirty_bitmap(BlockDriverState *bs,
                                                        const char *name,
                                                        Error **errp)
{
    RemoveCo co = {
        .store = bdrv_node(bs)->bitmaps.store,
        .name = name,
        .errp = errp,
    };

    if (!co.store) {
        error_setg(errp, "Cannot remove persistent bitmaps from %s: Operation "
                   "not supported", bdrv_get_device_or_node_name(bs));
        return false;
    }
    aio_run_co(bs->ctx, remove_entry, &co);
    return co.ok;
}
