/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * States of a dirty bitmap, and what a user may do in which: one table.
 *
 * A bitmap can be several things at once (busy and read-only); its state is
 * the strictest of them, in the order inconsistent, busy, read-only.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap-int.h"

#define Y true

static const bool allowed[BDRV_BITMAP_OP__MAX][BDRV_BITMAP_INCONSISTENT + 1] = {
    /*                  active disabled frozen locked readonly inconsistent */
    [BDRV_BITMAP_OP_REMOVE]       = { Y, Y, 0, 0, 0, Y },
    [BDRV_BITMAP_OP_CLEAR]        = { Y, Y, 0, 0, 0, 0 },
    /* Recording is of no effect, but no harm, while nothing can be written. */
    [BDRV_BITMAP_OP_ENABLE]       = { Y, Y, 0, 0, Y, 0 },
    [BDRV_BITMAP_OP_DISABLE]      = { Y, Y, 0, 0, Y, 0 },
    [BDRV_BITMAP_OP_MERGE_SOURCE] = { Y, Y, 0, 0, Y, 0 },
    [BDRV_BITMAP_OP_MERGE_TARGET] = { Y, Y, 0, 0, 0, 0 },
    [BDRV_BITMAP_OP_JOB]          = { Y, Y, 0, 0, 0, 0 },
    [BDRV_BITMAP_OP_JOB_READ]     = { Y, Y, 0, 0, Y, 0 },
    [BDRV_BITMAP_OP_EXPORT]       = { Y, Y, 0, 0, Y, 0 },
    [BDRV_BITMAP_OP_HASH]         = { Y, Y, Y, Y, Y, Y },
};

#undef Y

BdrvBitmapState bdrv_dirty_bitmap_status(const BdrvDirtyBitmap *bitmap)
{
    if (bitmap->inconsistent) {
        return BDRV_BITMAP_INCONSISTENT;
    }
    if (bitmap->successor) {
        return BDRV_BITMAP_FROZEN;
    }
    if (bitmap->busy) {
        return BDRV_BITMAP_LOCKED;
    }
    if (bitmap->readonly) {
        return BDRV_BITMAP_READONLY;
    }
    return bitmap->disabled ? BDRV_BITMAP_DISABLED : BDRV_BITMAP_ACTIVE;
}

bool bdrv_dirty_bitmap_check(const BdrvDirtyBitmap *bitmap, BdrvBitmapOp op,
                             Error **errp)
{
    BdrvBitmapState state = bdrv_dirty_bitmap_status(bitmap);
    const char *name = bitmap->name ?: "";

    if (allowed[op][state]) {
        return true;
    }
    switch (state) {
    case BDRV_BITMAP_INCONSISTENT:
        error_setg(errp, "Bitmap '%s' is inconsistent and cannot be used",
                   name);
        error_append_hint(errp, "Try block-dirty-bitmap-remove to delete this "
                          "bitmap from disk\n");
        break;
    case BDRV_BITMAP_READONLY:
        error_setg(errp, "Bitmap '%s' is readonly and cannot be modified",
                   name);
        break;
    default:
        error_setg(errp, "Bitmap '%s' is currently in use by another "
                   "operation and cannot be used", name);
        break;
    }
    return false;
}

bool bdrv_dirty_bitmap_busy(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->busy;
}

bool bdrv_dirty_bitmap_recording(const BdrvDirtyBitmap *bitmap)
{
    return !bitmap->disabled;
}

bool bdrv_dirty_bitmap_enabled(const BdrvDirtyBitmap *bitmap)
{
    return !bitmap->disabled;
}

bool bdrv_dirty_bitmap_persistent(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->persistent && !bitmap->skip_store;
}

bool bdrv_dirty_bitmap_inconsistent(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->inconsistent;
}

bool bdrv_dirty_bitmap_readonly(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->readonly;
}

void bdrv_dirty_bitmap_set_persistent(BdrvDirtyBitmap *bitmap, bool persistent)
{
    bitmap->persistent = persistent;
}

void bdrv_dirty_bitmap_enable(BdrvDirtyBitmap *bitmap)
{
    g_assert(!bitmap->inconsistent);
    bitmap->disabled = false;
    bdrv_dirty_bitmap_recount(bitmap);
}

void bdrv_dirty_bitmap_disable(BdrvDirtyBitmap *bitmap)
{
    bitmap->disabled = true;
    bdrv_dirty_bitmap_recount(bitmap);
}

void bdrv_dirty_bitmap_set_busy(BdrvDirtyBitmap *bitmap, bool busy)
{
    bitmap->busy = busy;
}

void bdrv_dirty_bitmap_set_readonly(BdrvDirtyBitmap *bitmap, bool readonly)
{
    bitmap->readonly = readonly;
}

void bdrv_dirty_bitmap_set_inconsistent(BdrvDirtyBitmap *bitmap)
{
    g_assert(!bitmap->busy);
    hbitmap_reset_all(bitmap->bits);
    bitmap->inconsistent = true;
    bdrv_dirty_bitmap_disable(bitmap);
}

void bdrv_dirty_bitmap_skip_store(BdrvDirtyBitmap *bitmap, bool skip)
{
    bitmap->skip_store = skip;
}

bool bdrv_dirty_bitmap_is_skip_store(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->skip_store;
}
