/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dirty bitmap object; for block/dirty-bitmap*.c only. */
#ifndef BLOCK_DIRTY_BITMAP_INT_H
#define BLOCK_DIRTY_BITMAP_INT_H

#include "block/dirty-bitmap.h"

/*
 * Invariants:
 *  1. bs->bitmaps.recording counts the bitmaps of the list that record.
 *  2. A write goes to @successor where there is one, else to @bits.
 *  3. There is a @successor in the frozen states, and only there.
 *  4. An inconsistent bitmap has no bits set.
 *  5. A cut_end is 0 or larger than the size.
 */
struct BdrvDirtyBitmap {
    /* --- set once --- */
    BlockDriverState *bs;
    char *name; /* NULL: anonymous */

    /* --- node's context --- */
    HBitmap *bits;
    HBitmap *successor; /* NULL: not frozen */
    int64_t cut_end;    /* of @bits, see bdrv_dirty_bitmap_cut_end() */
    int64_t successor_cut_end;
    BdrvShownBits *successor_shown;
    BdrvBitmapState state; /* changed by bdrv_dirty_bitmap_event() only */

    /* --- main thread --- */
    bool persistent;
    bool skip_store;
    uint64_t seq; /* the list goes from the highest to the lowest */
    LIST_ENTRY(BdrvDirtyBitmap) list;
};

/* Changes the state by the table; asserts that @event is possible. */
void bdrv_dirty_bitmap_event(BdrvDirtyBitmap *bitmap, BdrvBitmapEvent event);
/* Shows the successor of @bitmap as a bitmap without a name. */
void bdrv_dirty_bitmap_show_successor(BdrvDirtyBitmap *bitmap);
/*
 * The successor is shown no more; @replaces: @bitmap takes its place among the
 * bitmaps of the node, as the younger one.
 */
void bdrv_dirty_bitmap_hide_successor(BdrvDirtyBitmap *bitmap, bool replaces);
/*
 * @bits, with their *@cut_end, get another size: what was cut off and comes
 * back is set.
 */
void bdrv_dirty_bitmap_resize_bits(HBitmap *bits, int64_t *cut_end,
                                   int64_t bytes);
/* The node goes: whoever shows bits there may hide them all the same. */
void bdrv_dirty_bitmap_forget_shown(BlockDriverState *bs);

#endif
