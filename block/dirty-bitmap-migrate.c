/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bitmaps that migrate: what changes in one, and one that is received. */
#include "qemu/osdep.h"

#include "block/dirty-bitmap-int.h"

HBitmap *bdrv_dirty_bitmap_track(BdrvDirtyBitmap *bitmap, size_t chunk)
{
    g_assert(bdrv_dirty_bitmap_busy(bitmap));
    return hbitmap_create_meta(bitmap->bits, chunk);
}

void bdrv_dirty_bitmap_untrack(BdrvDirtyBitmap *bitmap)
{
    hbitmap_free_meta(bitmap->bits);
}

/* If the image has become active, its store may keep the bitmap already. */
static void begin_receive(BdrvDirtyBitmap *bitmap)
{
    g_assert(bdrv_dirty_bitmap_busy(bitmap) &&
             (bitmap->successor || !bdrv_dirty_bitmap_recording(bitmap)));
    bitmap->changes++;
}

void bdrv_dirty_bitmap_receive(BdrvDirtyBitmap *bitmap, const uint8_t *buf,
                               int64_t offset, int64_t bytes)
{
    begin_receive(bitmap);
    hbitmap_replace_part(bitmap->bits, buf, offset, bytes);
}

void bdrv_dirty_bitmap_receive_all(BdrvDirtyBitmap *bitmap, bool dirty,
                                   int64_t offset, int64_t bytes)
{
    begin_receive(bitmap);
    if (dirty) {
        hbitmap_set(bitmap->bits, offset, bytes);
    } else {
        hbitmap_reset(bitmap->bits, offset, bytes);
    }
}
