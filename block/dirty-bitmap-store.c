/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent bitmaps, through the driver that keeps them. */
#include "qemu/osdep.h"

#include "block/dirty-bitmap-int.h"
#include "block/graph.h"
#include "block/io.h"

static const BdrvBitmapStoreOps *store_of(BlockDriverState *bs)
{
    return bs->drv ? bs->drv->bitmap_store : NULL;
}

bool bdrv_supports_persistent_dirty_bitmap(BlockDriverState *bs)
{
    return store_of(bs) != NULL;
}

bool bdrv_can_store_dirty_bitmap(BlockDriverState *bs, const char *name,
                                 uint64_t granularity, Error **errp)
{
    const BdrvBitmapStoreOps *store = store_of(bs);

    if (!store || !store->can_store) {
        error_setg(errp, "Can't store persistent bitmaps to %s: Operation not "
                   "supported", bdrv_get_device_or_node_name(bs));
        return false;
    }
    /* What cannot be stored at the end would be lost without a word. */
    if (bdrv_is_read_only(bs)) {
        error_setg(errp, "Can't store persistent bitmaps to %s: node is "
                   "read-only", bdrv_get_device_or_node_name(bs));
        return false;
    }
    return store->can_store(bs, name, granularity, errp);
}

typedef struct RemoveCo {
    BlockDriverState *bs;
    const char *name;
    Error **errp;
    bool ok;
} RemoveCo;

static void coroutine_fn remove_entry(void *opaque)
{
    RemoveCo *co = opaque;

    co->ok = store_of(co->bs)->co_remove(co->bs, co->name, co->errp);
}

bool coroutine_mixed_fn bdrv_remove_stored_dirty_bitmap(BlockDriverState *bs,
                                                        const char *name,
                                                        Error **errp)
{
    const BdrvBitmapStoreOps *store = store_of(bs);
    RemoveCo co = { .bs = bs, .name = name, .errp = errp };

    if (!store || !store->co_remove) {
        error_setg(errp, "Cannot remove persistent bitmaps from %s: Operation "
                   "not supported", bdrv_get_device_or_node_name(bs));
        return false;
    }
    aio_run_co(remove_entry, &co);
    return co.ok;
}
