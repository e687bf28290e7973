/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dirty bitmap object, for block/dirty-bitmap*.c; and marking, for
 * block/request.c. */
#ifndef BLOCK_DIRTY_BITMAP_INT_H
#define BLOCK_DIRTY_BITMAP_INT_H

#include "block/dirty-bitmap.h"
#include "block/node-int.h"

/*
 * Invariants:
 *  1. bitmaps.recording of the node counts the bitmaps of the list that record.
 *  2. A write goes to @successor where there is one, else to @bits.
 *  3. There is a @successor in the frozen states, and only there.
 *  4. An inconsistent bitmap has no bits set.
 *  5. A cut_end is 0 or larger than the size.
 *  6. A write in flight, from when it was marked until its end, is set in all
 *     bitmaps that record, whatever is done to their bits meanwhile; except, if
 *     it began before the bitmap, in one that is not persistent.
 *  7. Of a bitmap that is @kept and not stale, the stored bits are a superset
 *     of @left, or else @bits, and of @successor, at every instant.
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
    BitmapInconsistency reason; /* if it is inconsistent */
    BitmapSafety safety; /* that is wanted */
    BitmapSafety least_safety; /* of what its store says */
    bool safety_of_store; /* it follows that of the store */
    bool kept;           /* the store keeps it at that level */
    bool given_up;       /* ... and could not, since it began for all */
    uint64_t changes;    /* counts those of bits other than by writes */
    uint64_t storing;    /* so many when the store began to store it */
    uint64_t stored;     /* ... and has done so: fewer: it is stale */
    HBitmap *left;       /* what a job has left of it; NULL: not known */
    BdrvBitmapResume *resume;      /* that belongs to @bits; NULL: nothing */
    BdrvBitmapResume *left_resume; /* ... and to @left */
    BdrvBitmapResume *left_stored; /* ... and to a @left that was stored */
    bool stored_all;     /* what is stored of it says that all is dirty */
    bool left_behind; /* it recorded when the node became inactive */
    bool tell_dirty; /* all of it became dirty when the node was taken over */
    bool replaces_stored; /* what is stored, in use, under its name is older */
    bool yields_to_stored; /* ... and newer if it is not in use */
    bool hides_stored; /* ... or another bitmap's, if it is not in use */
    uint64_t seq; /* the list goes from the highest to the lowest */
    LIST_ENTRY(BdrvDirtyBitmap) list;
};

/* Changes the state by the table; asserts that @event is allowed. */
void bdrv_dirty_bitmap_event(BdrvDirtyBitmap *bitmap, BdrvBitmapEvent event);
/* Shows the successor of @bitmap as a bitmap without a name. */
void bdrv_dirty_bitmap_show_successor(BdrvDirtyBitmap *bitmap);
/*
 * Hides the successor; @replaces: @bitmap takes its position among the bitmaps
 * of the node.
 */
void bdrv_dirty_bitmap_hide_successor(BdrvDirtyBitmap *bitmap, bool replaces);
/* Marks the writes that are in flight, if it records (in block/request.c). */
void bdrv_dirty_bitmap_mark_in_flight(BdrvDirtyBitmap *bitmap);
/* Where bitmaps are marked; both called by block/request.c only. */
void bdrv_dirty_bitmap_mark_slow(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes);
/* Marks [@offset, @offset + @bytes) in all recording bitmaps of the node. */
static inline void bdrv_dirty_bitmap_mark(BlockDriverState *bs, int64_t offset,
                                          int64_t bytes)
{
    if (bdrv_node(bs)->bitmaps.recording) {
        bdrv_dirty_bitmap_mark_slow(bs, offset, bytes);
    }
}
/* It ceases to exist although the store keeps it. */
void bdrv_bitmap_store_forget(BdrvDirtyBitmap *bitmap);
/* Bytes that are clean in it, and dirty in what is stored of it now. */
int64_t bdrv_dirty_bitmap_over(const BdrvDirtyBitmap *bitmap);
/* The node is deleted; shown bits may still be hidden afterwards. */
void bdrv_dirty_bitmap_forget_shown(BlockDriverState *bs);

#endif
