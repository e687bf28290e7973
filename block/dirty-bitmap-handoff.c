/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handing a bitmap to a job and taking it back.
 *
 * While a job uses the bits of a bitmap they must not change, and no write may
 * be lost: so a successor records writes.  At the end exactly one of abdicate
 * (the job has copied the bits) and reclaim (it has not) is called.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap-int.h"

bool bdrv_dirty_bitmap_freeze(BdrvDirtyBitmap *bitmap, Error **errp)
{
    if (!bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_OP_JOB, errp)) {
        return false;
    }
    bitmap->successor = hbitmap_try_new(hbitmap_size(bitmap->bits),
                                        hbitmap_granularity(bitmap->bits));
    if (!bitmap->successor) {
        error_setg(errp, "No memory for the successor of bitmap '%s'",
                   bitmap->name ?: "");
        return false;
    }
    bitmap->successor_cut_end = 0;
    bdrv_dirty_bitmap_event(bitmap, BDRV_BITMAP_EVENT_FREEZE);
    bdrv_dirty_bitmap_show_successor(bitmap);
    bdrv_dirty_bitmap_mark_in_flight(bitmap);
    return true;
}

HBitmap *bdrv_dirty_bitmap_abdicate(BdrvDirtyBitmap *bitmap)
{
    HBitmap *old = bitmap->bits;

    g_assert(bitmap->successor);
    bdrv_dirty_bitmap_set_left(bitmap, NULL, NULL);
    bdrv_dirty_bitmap_hide_successor(bitmap, true);
    bitmap->bits = g_steal_pointer(&bitmap->successor);
    bitmap->cut_end = bitmap->successor_cut_end;
    bitmap->changes++;
    bdrv_dirty_bitmap_event(bitmap, BDRV_BITMAP_EVENT_THAW);
    return old;
}

BdrvDirtyBitmap *bdrv_dirty_bitmap_reclaim(BdrvDirtyBitmap *bitmap)
{
    g_autoptr(HBitmap) successor = g_steal_pointer(&bitmap->successor);
    bool merged;

    g_assert(successor);
    bdrv_dirty_bitmap_set_left(bitmap, NULL, NULL);
    bdrv_dirty_bitmap_hide_successor(bitmap, false);
    merged = hbitmap_merge(bitmap->bits, successor, bitmap->bits);
    g_assert(merged); /* equal sizes: truncation resizes both */
    bitmap->changes++;
    bdrv_dirty_bitmap_note_cut(bitmap, bitmap->successor_cut_end);
    bdrv_dirty_bitmap_event(bitmap, BDRV_BITMAP_EVENT_THAW);
    return bitmap;
}

int64_t bdrv_dirty_bitmap_trim_successor(BdrvDirtyBitmap *bitmap,
                                         const HBitmap *keep)
{
    int64_t before = hbitmap_count(bitmap->successor), after;

    hbitmap_keep_common(bitmap->successor, keep);
    after = hbitmap_count(bitmap->successor);
    bitmap->changes++;
    bdrv_dirty_bitmap_mark_in_flight(bitmap);
    return before - after;
}

bool bdrv_dirty_bitmap_has_successor(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->successor != NULL;
}
