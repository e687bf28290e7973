/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bitmap of a backup, and its state after the job.
 *
 *     sync          mode        success     failure
 *     full, top     on-success  abdicate    reclaim
 *                   always      abdicate    abdicate + all that was not copied
 *     bitmap        on-success  abdicate    reclaim
 *                   never       reclaim     reclaim
 *                   always      abdicate    abdicate + its bits not copied
 *     incremental   as bitmap with on-success
 *
 * abdicate: it has the writes since the start.  reclaim: those and its former
 * bits.
 */
#include "qemu/osdep.h"
#include "block/backup.h"
#include "block/dirty-bitmap.h"

/* Determines the mode; fails if sync, bitmap and bitmap-mode do not fit. */
static bool check_modes(const BackupCommon *o, BitmapSyncMode *mode,
                        Error **errp)
{
    bool by_bitmap = o->sync == MIRROR_SYNC_MODE_BITMAP ||
                     o->sync == MIRROR_SYNC_MODE_INCREMENTAL;

    *mode = o->has_bitmap_mode ? o->bitmap_mode
                               : BITMAP_SYNC_MODE_ON_SUCCESS;
    if (by_bitmap && !o->bitmap) {
        error_setg(errp, "must provide a valid bitmap name for '%s' sync mode",
                   MirrorSyncMode_str(o->sync));
        return false;
    }
    if (o->sync == MIRROR_SYNC_MODE_INCREMENTAL &&
        *mode != BITMAP_SYNC_MODE_ON_SUCCESS) {
        error_setg(errp, "Bitmap sync mode must be '%s' when using sync mode "
                   "'%s'", BitmapSyncMode_str(BITMAP_SYNC_MODE_ON_SUCCESS),
                   MirrorSyncMode_str(o->sync));
        return false;
    }
    if (o->has_bitmap_mode && !o->bitmap) {
        error_setg(errp, "Cannot specify bitmap sync mode without a bitmap");
        return false;
    }
    return true;
}

/* Checks that apply only if a bitmap is given. */
static bool check_given(const BackupCommon *o, Error **errp)
{
    if (!o->has_bitmap_mode && o->sync != MIRROR_SYNC_MODE_INCREMENTAL) {
        error_setg(errp,
                   "Bitmap sync mode must be given when providing a bitmap");
        return false;
    }
    return true;
}

/* Checks whether the bitmap may be used in this way. */
static bool check_use(const BackupCommon *o, Error **errp)
{
    if (o->sync == MIRROR_SYNC_MODE_NONE) {
        error_setg(errp, "sync mode '%s' does not produce meaningful bitmap "
                   "outputs", MirrorSyncMode_str(o->sync));
        return false;
    }
    if (o->has_bitmap_mode && o->bitmap_mode == BITMAP_SYNC_MODE_NEVER &&
        o->sync != MIRROR_SYNC_MODE_BITMAP) {
        error_setg(errp, "Bitmap sync mode '%s' has no meaningful effect when "
                   "combined with sync mode '%s'",
                   BitmapSyncMode_str(o->bitmap_mode),
                   MirrorSyncMode_str(o->sync));
        return false;
    }
    return true;
}

bool backup_bitmap_find(BackupBitmap *b, BlockDriverState *source,
                        const BackupCommon *o, Error **errp)
{
    *b = (BackupBitmap) {0};
    if (!check_modes(o, &b->mode, errp)) {
        return false;
    }
    if (!o->bitmap) {
        return true;
    }
    b->bitmap = bdrv_dirty_bitmap_find(source, o->bitmap);
    if (!b->bitmap) {
        error_setg(errp, "Bitmap '%s' could not be found", o->bitmap);
        return false;
    }
    b->selects = o->sync == MIRROR_SYNC_MODE_BITMAP ||
                 o->sync == MIRROR_SYNC_MODE_INCREMENTAL;
    b->read_only = bdrv_dirty_bitmap_readonly(b->bitmap);
    return check_given(o, errp) &&
           bdrv_dirty_bitmap_check(b->bitmap, BDRV_BITMAP_OP_JOB_READ, errp) &&
           check_use(o, errp);
}

bool backup_bitmap_freeze(BackupBitmap *b, Error **errp)
{
    if (b->bitmap && b->read_only && b->mode == BITMAP_SYNC_MODE_NEVER) {
        bdrv_dirty_bitmap_set_busy(b->bitmap, true);
        return true;
    }
    return !b->bitmap || bdrv_dirty_bitmap_freeze(b->bitmap, errp);
}

/* Marks the part of [@offset, @offset + @bytes) that is set in @bits. */
static void mark_common(BdrvDirtyBitmap *bitmap, const HBitmap *bits,
                        int64_t offset, int64_t bytes)
{
    int64_t end = offset + bytes, area, n;

    while (hbitmap_next_dirty_area(bits, offset, end, INT64_MAX, &area, &n)) {
        bdrv_dirty_bitmap_set(bitmap, area, n);
        offset = area + n;
    }
}

/* Marks what is set in both: bits that were to be copied and are not. */
static void mark_left(BdrvDirtyBitmap *bitmap, const HBitmap *asked,
                      const HBitmap *left)
{
    int64_t size = hbitmap_size(left), offset = 0, area, n;

    while (hbitmap_next_dirty_area(left, offset, size, INT64_MAX, &area,
                                   &n)) {
        mark_common(bitmap, asked, area, n);
        offset = area + n;
    }
}

static void abdicate(BackupBitmap *b, const HBitmap *left)
{
    int64_t cut_end = bdrv_dirty_bitmap_cut_end(b->bitmap);
    g_autoptr(HBitmap) before = bdrv_dirty_bitmap_abdicate(b->bitmap);

    if (left && b->selects) {
        mark_left(b->bitmap, before, left);
    } else if (left) {
        bdrv_dirty_bitmap_merge_bits(b->bitmap, left);
    }
    if (left) {
        bdrv_dirty_bitmap_note_cut(b->bitmap, cut_end);
    }
}

void backup_bitmap_finish(BackupBitmap *b, bool success, const HBitmap *left)
{
    if (!b->bitmap) {
        return;
    }
    if (b->read_only) {
        bdrv_dirty_bitmap_set_busy(b->bitmap, false);
    } else if (b->mode == BITMAP_SYNC_MODE_NEVER ||
               (!success && (b->mode == BITMAP_SYNC_MODE_ON_SUCCESS ||
                             !left))) {
        bdrv_dirty_bitmap_reclaim(b->bitmap);
    } else {
        abdicate(b, success ? NULL : left);
    }
    b->bitmap = NULL;
}
