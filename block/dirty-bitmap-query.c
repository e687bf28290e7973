/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers to queries of bitmaps: named bitmaps and the bits that jobs and
 * filters show on the node, in the order of creation.
 */
#include "qemu/osdep.h"

#include "block/bitmap-resume.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph.h"
#include "qapi/qapi-types-block-bitmap.h"

struct BdrvShownBits {
    BlockDriverState *bs; /* NULL: the node is gone */
    const HBitmap *bits;  /* NULL: the successor of @of */
    const BdrvDirtyBitmap *of;
    uint64_t seq;
    LIST_ENTRY(BdrvShownBits) list;
    bool records; /* what queries say of bits that are not of a bitmap */
};

/* --- bits without names --- */

static BdrvShownBits *show(BlockDriverState *bs, const HBitmap *bits,
                           const BdrvDirtyBitmap *of)
{
    BdrvShownBits *shown = g_new0(BdrvShownBits, 1);

    shown->bs = bs;
    shown->bits = bits;
    shown->of = of;
    shown->seq = ++bdrv_node(bs)->bitmaps.seq;
    LIST_INSERT_HEAD(&bdrv_node(bs)->bitmaps.shown, shown, list);
    return shown;
}

BdrvShownBits *bdrv_dirty_bitmap_show_bits(BlockDriverState *bs,
                                           const HBitmap *bits, bool records)
{
    BdrvShownBits *shown = show(bs, bits, NULL);

    shown->records = records;
    return shown;
}

void bdrv_dirty_bitmap_hide_bits(BdrvShownBits *shown)
{
    if (shown && shown->bs) {
        LIST_REMOVE(shown, list);
    }
    g_free(shown);
}

void bdrv_dirty_bitmap_forget_shown(BlockDriverState *bs)
{
    BdrvShownBits *shown;

    while ((shown = LIST_FIRST(&bdrv_node(bs)->bitmaps.shown))) {
        LIST_REMOVE(shown, list);
        shown->bs = NULL;
    }
}

void bdrv_dirty_bitmap_show_successor(BdrvDirtyBitmap *bitmap)
{
    bitmap->successor_shown = show(bitmap->bs, NULL, bitmap);
}

/* Inserts @bitmap at the position of its number. */
static void sort_in(BdrvDirtyBitmap *bitmap)
{
    BdrvDirtyBitmap *other, *before = NULL;
    BdrvDirtyBitmapList *bitmaps = &bdrv_node(bitmap->bs)->bitmaps;

    LIST_REMOVE(bitmap, list);
    LIST_FOREACH(other, &bitmaps->list, list) {
        if (other->seq < bitmap->seq) {
            break;
        }
        before = other;
    }
    if (before) {
        LIST_INSERT_AFTER(before, bitmap, list);
    } else {
        LIST_INSERT_HEAD(&bitmaps->list, bitmap, list);
    }
}

void bdrv_dirty_bitmap_hide_successor(BdrvDirtyBitmap *bitmap, bool replaces)
{
    if (replaces) {
        bitmap->seq = bitmap->successor_shown->seq;
        sort_in(bitmap);
    }
    bdrv_dirty_bitmap_hide_bits(g_steal_pointer(&bitmap->successor_shown));
}

/* --- answers --- */

/* Users count whole granules, including the last one. */
static BlockDirtyInfo *query_bits(const HBitmap *bits)
{
    BlockDirtyInfo *info = g_new0(BlockDirtyInfo, 1);

    info->count = ROUND_UP(hbitmap_count(bits), hbitmap_granularity(bits));
    info->granularity = hbitmap_granularity(bits);
    return info;
}

static BlockDirtyInfo *query_shown(const BdrvShownBits *shown)
{
    BlockDirtyInfo *info = query_bits(shown->bits ?: shown->of->successor);

    info->recording = shown->of ? bdrv_dirty_bitmap_recording(shown->of)
                                : shown->records;
    return info;
}

static void query_safety(const BdrvDirtyBitmap *bitmap, BlockDirtyInfo *info)
{
    info->has_safety = true;
    info->safety = bitmap->safety;
    info->has_over_reported = true;
    info->over_reported = bdrv_dirty_bitmap_over(bitmap);
}

static BlockDirtyInfo *query_bitmap(const BdrvDirtyBitmap *bitmap)
{
    BlockDirtyInfo *info = query_bits(bitmap->bits);
    const BdrvBitmapResume *resume = bitmap->left
        ? bitmap->left_stored : bdrv_dirty_bitmap_resume(bitmap);

    info->name = g_strdup(bitmap->name);
    info->recording = bdrv_dirty_bitmap_recording(bitmap);
    info->busy = bdrv_dirty_bitmap_busy(bitmap);
    info->persistent = bitmap->persistent;
    info->inconsistent = bdrv_dirty_bitmap_inconsistent(bitmap);
    info->has_inconsistent = info->inconsistent;
    info->has_inconsistent_reason = info->inconsistent;
    info->inconsistent_reason = bitmap->reason;
    if (bitmap->kept && !bdrv_dirty_bitmap_stale(bitmap)) {
        query_safety(bitmap, info);
    }
    if (resume && (bitmap->persistent || resume->loaded)) {
        info->resumable = bdrv_bitmap_resume_query(resume);
        info->resumable->target_required &= !bdrv_dirty_bitmap_full(bitmap);
    }
    return info;
}

BlockDirtyInfoList *bdrv_dirty_bitmap_query(BlockDriverState *bs)
{
    BlockDirtyInfoList *head = NULL, **tail = &head;
    BdrvDirtyBitmap *bitmap = LIST_FIRST(&bdrv_node(bs)->bitmaps.list);
    BdrvShownBits *shown = LIST_FIRST(&bdrv_node(bs)->bitmaps.shown);

    while (bitmap || shown) {
        if (!bitmap || (shown && shown->seq > bitmap->seq)) {
            QAPI_LIST_APPEND(tail, query_shown(shown));
            shown = LIST_NEXT(shown, list);
        } else {
            QAPI_LIST_APPEND(tail, query_bitmap(bitmap));
            bitmap = LIST_NEXT(bitmap, list);
        }
    }
    return head;
}
