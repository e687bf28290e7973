/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bitmap of a job that copies a node, and its state after the job.
 *
 * A backup copies the moment of its start:
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
 * bits.  A full or top backup of which it is not known what was copied, or
 * whose target could not be flushed, leaves all dirty with always.
 *
 * A mirror also copies the writes since its start.  So after a success nothing
 * is dirty (except with mode never: reclaim); after a failure, always leaves
 * what the target still lacks, and the other modes reclaim.  Where it is not
 * known what the target lacks, a bitmap that selected all that was to be copied
 * is reclaimed, and else all becomes dirty.
 */
#include "qemu/osdep.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap.h"
#include "block/job-bitmap.h"

/* Determines the mode; fails if sync, bitmap and bitmap-mode do not fit. */
static bool check_modes(const JobBitmapParams *p, BitmapSyncMode *mode,
                        Error **errp)
{
    bool by_bitmap = p->sync == MIRROR_SYNC_MODE_BITMAP ||
                     p->sync == MIRROR_SYNC_MODE_INCREMENTAL;

    *mode = p->has_mode ? p->mode : BITMAP_SYNC_MODE_ON_SUCCESS;
    if (by_bitmap && !p->name) {
        error_setg(errp, "must provide a valid bitmap name for '%s' sync mode",
                   MirrorSyncMode_str(p->sync));
        return false;
    }
    if (p->sync == MIRROR_SYNC_MODE_INCREMENTAL &&
        *mode != BITMAP_SYNC_MODE_ON_SUCCESS) {
        error_setg(errp, "Bitmap sync mode must be '%s' when using sync mode "
                   "'%s'", BitmapSyncMode_str(BITMAP_SYNC_MODE_ON_SUCCESS),
                   MirrorSyncMode_str(p->sync));
        return false;
    }
    if (p->has_mode && !p->name) {
        error_setg(errp, "Cannot specify bitmap sync mode without a bitmap");
        return false;
    }
    return true;
}

/* Checks that apply only if a bitmap is given. */
static bool check_given(const JobBitmapParams *p, Error **errp)
{
    if (!p->has_mode && p->sync != MIRROR_SYNC_MODE_INCREMENTAL) {
        error_setg(errp,
                   "Bitmap sync mode must be given when providing a bitmap");
        return false;
    }
    return true;
}

/* Checks whether the bitmap may be used in this way. */
static bool check_use(const JobBitmapParams *p, Error **errp)
{
    if (p->sync == MIRROR_SYNC_MODE_NONE) {
        error_setg(errp, "sync mode '%s' does not produce meaningful bitmap "
                   "outputs", MirrorSyncMode_str(p->sync));
        return false;
    }
    if (p->has_mode && p->mode == BITMAP_SYNC_MODE_NEVER &&
        p->sync != MIRROR_SYNC_MODE_BITMAP) {
        error_setg(errp, "Bitmap sync mode '%s' has no meaningful effect when "
                   "combined with sync mode '%s'",
                   BitmapSyncMode_str(p->mode), MirrorSyncMode_str(p->sync));
        return false;
    }
    return true;
}

bool job_bitmap_find(JobBitmap *b, BlockDriverState *source,
                     const JobBitmapParams *p, Error **errp)
{
    *b = (JobBitmap) {0};
    if (!check_modes(p, &b->mode, errp)) {
        return false;
    }
    if (!p->name) {
        return true;
    }
    b->bitmap = bdrv_dirty_bitmap_find(source, p->name);
    if (!b->bitmap) {
        error_setg(errp, "Bitmap '%s' could not be found", p->name);
        return false;
    }
    b->selects = p->sync == MIRROR_SYNC_MODE_BITMAP ||
                 p->sync == MIRROR_SYNC_MODE_INCREMENTAL;
    b->read_only = bdrv_dirty_bitmap_readonly(b->bitmap);
    return check_given(p, errp) &&
           bdrv_dirty_bitmap_check(b->bitmap, BDRV_BITMAP_OP_JOB_READ, errp) &&
           check_use(p, errp);
}

const HBitmap *job_bitmap_bits(const JobBitmap *b)
{
    return bdrv_dirty_bitmap_hbitmap(b->bitmap);
}

bool job_bitmap_freeze(JobBitmap *b, Error **errp)
{
    if (b->bitmap && b->read_only && b->mode == BITMAP_SYNC_MODE_NEVER) {
        bdrv_dirty_bitmap_set_busy(b->bitmap, true);
        return true;
    }
    if (!b->bitmap) {
        return true;
    }
    if (!bdrv_dirty_bitmap_freeze(b->bitmap, errp)) {
        return false;
    }
    /* Bits that it does not have may have to be set after a failure. */
    if (b->mode == BITMAP_SYNC_MODE_ALWAYS &&
        (!b->selects || !bdrv_dirty_bitmap_recording(b->bitmap))) {
        bdrv_dirty_bitmap_store_all(b->bitmap, true);
        if (!bdrv_bitmap_store_sync(bdrv_dirty_bitmap_bs(b->bitmap), errp)) {
            bdrv_dirty_bitmap_store_all(b->bitmap, false);
            bdrv_dirty_bitmap_reclaim(b->bitmap);
            return false;
        }
    }
    return true;
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

static void abdicate(JobBitmap *b, const HBitmap *left)
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

/* What became of it is stored before the job is over. */
static void end(JobBitmap *b)
{
    BdrvDirtyBitmap *bitmap = g_steal_pointer(&b->bitmap);

    bdrv_dirty_bitmap_store_all(bitmap, false);
    bdrv_bitmap_store_sync_report(bdrv_dirty_bitmap_bs(bitmap));
}

static void finish(JobBitmap *b, bool success, const HBitmap *left)
{
    if (b->read_only) {
        bdrv_dirty_bitmap_set_busy(b->bitmap, false);
    } else if (b->mode == BITMAP_SYNC_MODE_NEVER ||
               (!success && (b->mode == BITMAP_SYNC_MODE_ON_SUCCESS ||
                             !left))) {
        bdrv_dirty_bitmap_reclaim(b->bitmap);
    } else {
        abdicate(b, success ? NULL : left);
    }
}

void job_bitmap_finish(JobBitmap *b, bool success, const HBitmap *left)
{
    if (b->bitmap) {
        finish(b, success, left);
        end(b);
    }
}

/* Clears the granules of @bits in which nothing of @left is set. */
static void keep_common(HBitmap *bits, const HBitmap *left)
{
    int64_t size = hbitmap_size(left), granularity = hbitmap_granularity(bits);
    int64_t start, end, n;

    for (int64_t at = 0; at < size; at += n) {
        if (hbitmap_status(left, at, size - at, &n)) {
            continue;
        }
        start = ROUND_UP(at, granularity);
        end = at + n == size ? size : ROUND_DOWN(at + n, granularity);
        if (start < end) {
            hbitmap_reset(bits, start, end - start);
        }
    }
}

bool job_bitmap_has_checkpoints(const JobBitmap *b)
{
    return b->bitmap && b->mode == BITMAP_SYNC_MODE_ALWAYS &&
           bdrv_dirty_bitmap_kept(b->bitmap);
}

void coroutine_fn job_bitmap_checkpoint(JobBitmap *b, const HBitmap *left)
{
    const HBitmap *bits = job_bitmap_bits(b);
    HBitmap *own = b->selects ? hbitmap_copy(bits)
                              : hbitmap_try_new(hbitmap_size(bits),
                                                hbitmap_granularity(bits));

    if (!own) {
        return; /* less is known after a crash */
    }
    if (b->selects) {
        keep_common(own, left);
    } else {
        hbitmap_merge(own, left, own);
    }
    bdrv_dirty_bitmap_set_left(b->bitmap, own);
    bdrv_bitmap_store_sync_report(bdrv_dirty_bitmap_bs(b->bitmap));
}

static void mark_all(BdrvDirtyBitmap *bitmap)
{
    bdrv_dirty_bitmap_set(bitmap, 0, bdrv_dirty_bitmap_size(bitmap));
}

void job_bitmap_lose(JobBitmap *b)
{
    if (!b->bitmap) {
        return;
    }
    finish(b, false, NULL);
    if (b->mode == BITMAP_SYNC_MODE_ALWAYS && !b->selects) {
        mark_all(b->bitmap);
    }
    end(b);
}

/*
 * Of a bitmap that holds what it did, and the writes since if it records: if it
 * does not, or had not selected what was copied, other ranges may differ, too.
 */
static void leave_differing(JobBitmap *b, const HBitmap *left)
{
    bool more = !b->selects || !bdrv_dirty_bitmap_recording(b->bitmap);

    if (left) {
        keep_common(bdrv_dirty_bitmap_bits(b->bitmap), left);
    }
    if (more && left) {
        bdrv_dirty_bitmap_merge_bits(b->bitmap, left);
    } else if (more) {
        mark_all(b->bitmap);
    }
}

void job_bitmap_finish_mirror(JobBitmap *b, bool success, const HBitmap *left)
{
    if (!b->bitmap) {
        return;
    }
    if (b->read_only) {
        bdrv_dirty_bitmap_set_busy(b->bitmap, false);
    } else {
        bdrv_dirty_bitmap_reclaim(b->bitmap);
    }
    if (b->mode == BITMAP_SYNC_MODE_NEVER) {
        /* as it was, and the writes since */
    } else if (success) {
        bdrv_dirty_bitmap_clear(b->bitmap);
    } else if (b->mode == BITMAP_SYNC_MODE_ALWAYS) {
        leave_differing(b, left);
    }
    end(b);
}
