/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The dirty bitmap object: life, marking, merging, facts. */
#include "qemu/osdep.h"

#include "block/bitmap-resume.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph.h"
#include "block/io.h"

#define MIN_GRANULARITY 512
#define MAX_GRANULARITY (INT64_C(1) << 31)
#define DEFAULT_GRANULARITY_MIN (4 * KiB)
#define DEFAULT_GRANULARITY_MAX (64 * KiB)

/* --- life --- */

static bool name_and_granularity_ok(BlockDriverState *bs, const char *name,
                                    uint64_t granularity, Error **errp)
{
    if (granularity < MIN_GRANULARITY || granularity > MAX_GRANULARITY ||
        !is_power_of_2(granularity)) {
        error_setg(errp, "Granularity must be power of 2 and at least %d",
                   MIN_GRANULARITY);
        return false;
    }
    if (!name) {
        return true;
    }
    if (strlen(name) > BDRV_BITMAP_MAX_NAME) {
        error_setg(errp, "Bitmap name too long: %s", name);
        return false;
    }
    if (bdrv_dirty_bitmap_find(bs, name)) {
        error_setg(errp, "Bitmap already exists: %s", name);
        return false;
    }
    return true;
}

BdrvDirtyBitmap *bdrv_dirty_bitmap_new(BlockDriverState *bs,
                                       uint64_t granularity, const char *name,
                                       Error **errp)
{
    BdrvDirtyBitmap *bitmap;
    HBitmap *bits;
    int64_t size;

    if (!name_and_granularity_ok(bs, name, granularity, errp)) {
        return NULL;
    }
    size = bdrv_getlength(bs);
    if (size < 0) {
        error_setg_errno(errp, -size, "Could not get length of node '%s'",
                         bs->node_name);
        return NULL;
    }
    bits = hbitmap_try_new(size, granularity);
    if (!bits) {
        error_setg(errp, "No memory for a bitmap of granularity %" PRIu64
                   " on node '%s'", granularity, bs->node_name);
        return NULL;
    }
    bitmap = g_new0(BdrvDirtyBitmap, 1);
    bitmap->bs = bs;
    bitmap->name = g_strdup(name);
    bitmap->bits = bits;
    bitmap->seq = ++bdrv_node(bs)->bitmaps.seq;
    bitmap->state = BDRV_BITMAP_ACTIVE;
    bdrv_node(bs)->bitmaps.recording++;
    /* An inactive node may get its store when it is activated. */
    bitmap->safety_of_store = !bdrv_node(bs)->bitmaps.store;
    bitmap->safety = bdrv_node(bs)->bitmaps.store
        ? bdrv_node(bs)->bitmaps.store->safety : bdrv_bitmap_default_safety();
    LIST_INSERT_HEAD(&bdrv_node(bs)->bitmaps.list, bitmap, list);
    return bitmap;
}

void bdrv_dirty_bitmap_release(BdrvDirtyBitmap *bitmap)
{
    g_assert(!bdrv_dirty_bitmap_busy(bitmap) && !bitmap->successor);
    if (bitmap->kept) {
        bdrv_bitmap_store_forget(bitmap);
    }
    if (bdrv_dirty_bitmap_recording(bitmap)) {
        bdrv_node(bitmap->bs)->bitmaps.recording--;
    }
    LIST_REMOVE(bitmap, list);
    hbitmap_free(bitmap->bits);
    bdrv_bitmap_resume_free(bitmap->resume);
    g_free(bitmap->name);
    g_free(bitmap);
}

void bdrv_dirty_bitmap_release_all(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap, *next;

    LIST_FOREACH_SAFE(bitmap, &bdrv_node(bs)->bitmaps.list, list, next) {
        if (bitmap->name) {
            bdrv_dirty_bitmap_release(bitmap);
        }
    }
    bdrv_dirty_bitmap_forget_shown(bs);
}

BdrvDirtyBitmap *bdrv_dirty_bitmap_find(BlockDriverState *bs, const char *name)
{
    BdrvDirtyBitmap *bitmap;

    LIST_FOREACH(bitmap, &bdrv_node(bs)->bitmaps.list, list) {
        if (bitmap->name && !strcmp(bitmap->name, name)) {
            return bitmap;
        }
    }
    return NULL;
}

BdrvDirtyBitmap *bdrv_dirty_bitmap_next(BlockDriverState *bs,
                                        BdrvDirtyBitmap *prev)
{
    return prev ? LIST_NEXT(prev, list)
                : LIST_FIRST(&bdrv_node(bs)->bitmaps.list);
}

uint64_t bdrv_dirty_bitmap_default_granularity(BlockDriverState *bs)
{
    BlockDriverInfo info = {0};

    if (bdrv_get_info(bs, &info) < 0 || info.cluster_size <= 0) {
        return DEFAULT_GRANULARITY_MAX;
    }
    return CLAMP(info.cluster_size, DEFAULT_GRANULARITY_MIN,
                 DEFAULT_GRANULARITY_MAX);
}

BdrvDirtyBitmap *bdrv_dirty_bitmap_lookup(const char *node, const char *name,
                                          Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(node, node, NULL);
    BdrvDirtyBitmap *bitmap;

    if (!bs) {
        error_setg(errp, "Node '%s' not found", node);
        return NULL;
    }
    bitmap = bdrv_dirty_bitmap_find(bs, name);
    if (!bitmap) {
        error_setg(errp, "Dirty bitmap '%s' not found", name);
    }
    return bitmap;
}

/* --- properties --- */

BlockDriverState *bdrv_dirty_bitmap_bs(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->bs;
}

const char *bdrv_dirty_bitmap_name(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->name;
}

int64_t bdrv_dirty_bitmap_size(const BdrvDirtyBitmap *bitmap)
{
    return hbitmap_size(bitmap->bits);
}

uint64_t bdrv_dirty_bitmap_granularity(const BdrvDirtyBitmap *bitmap)
{
    return hbitmap_granularity(bitmap->bits);
}

/* Users count whole granules, even if the end of the disk cuts the last one. */
int64_t bdrv_dirty_bitmap_count(const BdrvDirtyBitmap *bitmap)
{
    int64_t size = hbitmap_size(bitmap->bits);
    int64_t granularity = hbitmap_granularity(bitmap->bits);
    int64_t count = hbitmap_count(bitmap->bits);

    if (size % granularity && hbitmap_get(bitmap->bits, size - 1)) {
        count += granularity - size % granularity;
    }
    return count;
}

bool bdrv_dirty_bitmap_full(const BdrvDirtyBitmap *bitmap)
{
    return hbitmap_count(bitmap->bits) == hbitmap_size(bitmap->bits);
}

const HBitmap *bdrv_dirty_bitmap_hbitmap(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->bits;
}

HBitmap *bdrv_dirty_bitmap_bits(BdrvDirtyBitmap *bitmap)
{
    bitmap->changes++;
    return bitmap->bits;
}

char *bdrv_dirty_bitmap_sha256(const BdrvDirtyBitmap *bitmap)
{
    return hbitmap_sha256(bitmap->bits);
}

int64_t bdrv_dirty_bitmap_cut_end(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->cut_end;
}

void bdrv_dirty_bitmap_note_cut(BdrvDirtyBitmap *bitmap, int64_t end)
{
    if (end > bdrv_dirty_bitmap_size(bitmap)) {
        bitmap->cut_end = MAX(bitmap->cut_end, end);
    }
}

/* --- content --- */

struct BdrvBitmapBackup {
    HBitmap *bits;
    int64_t cut_end;
    BdrvBitmapResume *resume;
};

/* Puts @bits, with nothing beside them, into @bitmap; returns the former. */
static BdrvBitmapBackup *exchange(BdrvDirtyBitmap *bitmap, HBitmap *bits)
{
    BdrvBitmapBackup *old = g_new(BdrvBitmapBackup, 1);

    old->bits = bitmap->bits;
    old->cut_end = bitmap->cut_end;
    old->resume = g_steal_pointer(&bitmap->resume);
    bitmap->bits = bits;
    bitmap->cut_end = 0;
    bitmap->changes++;
    return old;
}

static bool no_memory(const BdrvDirtyBitmap *bitmap, Error **errp)
{
    error_setg(errp, "No memory for a copy of bitmap '%s'",
               bitmap->name ?: "");
    return false;
}

void bdrv_dirty_bitmap_clear(BdrvDirtyBitmap *bitmap)
{
    hbitmap_reset_all(bitmap->bits);
    bitmap->cut_end = 0;
    bdrv_dirty_bitmap_set_resume(bitmap, NULL);
    bitmap->changes++;
    bdrv_dirty_bitmap_mark_in_flight(bitmap);
}

bool bdrv_dirty_bitmap_clear_keep(BdrvDirtyBitmap *bitmap,
                                  BdrvBitmapBackup **backup, Error **errp)
{
    HBitmap *bits = hbitmap_try_new(bdrv_dirty_bitmap_size(bitmap),
                                    bdrv_dirty_bitmap_granularity(bitmap));

    if (!bits) {
        return no_memory(bitmap, errp);
    }
    *backup = exchange(bitmap, bits);
    bdrv_dirty_bitmap_mark_in_flight(bitmap);
    return true;
}

/*
 * After a shrink and a growth the disk reads as zeroes where an earlier backup
 * still holds data, so a chain would show that data again: the range that was
 * cut off becomes dirty.  The rest of the new space was and is zero if the disk
 * grows by zeroes (@zeroes).
 */
static void resize_bits(HBitmap *bits, int64_t *cut_end, int64_t bytes,
                        bool zeroes)
{
    int64_t old = hbitmap_size(bits);

    if (bytes > old && !zeroes) {
        *cut_end = MAX(*cut_end, bytes);
    }
    hbitmap_truncate(bits, bytes);
    if (bytes < old) {
        *cut_end = MAX(*cut_end, old);
    } else if (*cut_end > old) {
        hbitmap_set(bits, old, MIN(bytes, *cut_end) - old);
    }
    if (*cut_end <= bytes) {
        *cut_end = 0;
    }
}

/* The size of the disk may have changed since. */
void bdrv_dirty_bitmap_restore(BdrvDirtyBitmap *bitmap,
                               BdrvBitmapBackup *backup)
{
    resize_bits(backup->bits, &backup->cut_end, bdrv_dirty_bitmap_size(bitmap),
                bdrv_grows_by_zeroes(bitmap->bs));
    hbitmap_free(bitmap->bits);
    bitmap->bits = g_steal_pointer(&backup->bits);
    bitmap->cut_end = backup->cut_end;
    bdrv_dirty_bitmap_set_resume(bitmap, g_steal_pointer(&backup->resume));
    bitmap->changes++;
    bdrv_dirty_bitmap_mark_in_flight(bitmap);
    bdrv_bitmap_backup_free(backup);
}

void bdrv_bitmap_backup_free(BdrvBitmapBackup *backup)
{
    if (backup) {
        hbitmap_free(backup->bits);
        bdrv_bitmap_resume_free(backup->resume);
        g_free(backup);
    }
}

bool bdrv_dirty_bitmap_merge_bits(BdrvDirtyBitmap *dest, const HBitmap *bits)
{
    dest->changes++;
    return hbitmap_merge(dest->bits, bits, dest->bits);
}

static bool check_sizes(const BdrvDirtyBitmap *dest,
                        const BdrvDirtyBitmap *src, Error **errp)
{
    int64_t dest_size = bdrv_dirty_bitmap_size(dest);
    int64_t src_size = bdrv_dirty_bitmap_size(src);

    if (dest_size != src_size) {
        error_setg(errp,
                   "Bitmaps are of different sizes (destination size is "
                   "%" PRId64 ", source size is %" PRId64 ") and can't be "
                   "merged", dest_size, src_size);
        return false;
    }
    return true;
}

bool bdrv_dirty_bitmap_merge(BdrvDirtyBitmap *dest, const BdrvDirtyBitmap *src,
                             BdrvBitmapBackup **backup, Error **errp)
{
    if (!bdrv_dirty_bitmap_check(dest, BDRV_BITMAP_OP_MERGE_TARGET, errp) ||
        !bdrv_dirty_bitmap_check(src, BDRV_BITMAP_OP_MERGE_SOURCE, errp) ||
        !check_sizes(dest, src, errp)) {
        return false;
    }
    if (backup) {
        HBitmap *bits = hbitmap_copy(dest->bits);
        int64_t cut_end = dest->cut_end;

        if (!bits) {
            return no_memory(dest, errp);
        }
        *backup = exchange(dest, bits);
        dest->cut_end = cut_end;
        dest->resume = bdrv_bitmap_resume_copy((*backup)->resume);
    }
    if (hbitmap_empty(dest->bits) && !dest->resume) {
        /* It becomes a copy, which says as little without that target. */
        dest->resume = bdrv_bitmap_resume_copy(src->resume);
    }
    dest->changes++;
    hbitmap_merge(dest->bits, src->bits, dest->bits);
    bdrv_dirty_bitmap_note_cut(dest, src->cut_end);
    return true;
}

/* --- request path --- */

void bdrv_dirty_bitmap_mark_slow(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes)
{
    BdrvDirtyBitmap *bitmap;

    if (bytes <= 0) {
        return;
    }
    LIST_FOREACH(bitmap, &bdrv_node(bs)->bitmaps.list, list) {
        HBitmap *bits = bitmap->successor ?: bitmap->bits;
        int64_t size = hbitmap_size(bits);

        /* A write that extends the node is covered by truncate_all(). */
        if (bdrv_dirty_bitmap_recording(bitmap) && offset < size) {
            hbitmap_set(bits, offset, MIN(bytes, size - offset));
        }
    }
}

void bdrv_dirty_bitmap_truncate_all(BlockDriverState *bs, int64_t bytes,
                                    bool grows_by_zeroes)
{
    BdrvDirtyBitmap *bitmap;

    LIST_FOREACH(bitmap, &bdrv_node(bs)->bitmaps.list, list) {
        if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
            hbitmap_truncate(bitmap->bits, bytes);
            continue;
        }
        bitmap->changes += bdrv_dirty_bitmap_size(bitmap) != bytes;
        resize_bits(bitmap->bits, &bitmap->cut_end, bytes, grows_by_zeroes);
        bdrv_dirty_bitmap_set_left(bitmap, NULL, NULL);
        if (bitmap->successor) {
            resize_bits(bitmap->successor, &bitmap->successor_cut_end, bytes,
                        grows_by_zeroes);
        }
    }
}

void bdrv_dirty_bitmap_shrink_failed(BlockDriverState *bs, int64_t bytes)
{
    BdrvDirtyBitmap *bitmap;

    LIST_FOREACH(bitmap, &bdrv_node(bs)->bitmaps.list, list) {
        HBitmap *bits = bitmap->successor ?: bitmap->bits;
        int64_t size = hbitmap_size(bits);

        if (!bdrv_dirty_bitmap_inconsistent(bitmap) && bytes < size) {
            bitmap->changes++;
            hbitmap_set(bits, bytes, size - bytes);
        }
    }
}

void bdrv_dirty_bitmap_growth_failed(BlockDriverState *bs, int64_t end)
{
    BdrvDirtyBitmap *bitmap;

    LIST_FOREACH(bitmap, &bdrv_node(bs)->bitmaps.list, list) {
        int64_t *cut_end = bitmap->successor ? &bitmap->successor_cut_end
                                             : &bitmap->cut_end;

        if (bdrv_dirty_bitmap_recording(bitmap) &&
            end > bdrv_dirty_bitmap_size(bitmap)) {
            *cut_end = MAX(*cut_end, end);
            bitmap->changes++;
        }
    }
}

void bdrv_dirty_bitmap_set(BdrvDirtyBitmap *bitmap, int64_t offset,
                           int64_t bytes)
{
    bitmap->changes++;
    hbitmap_set(bitmap->bits, offset, bytes);
}
