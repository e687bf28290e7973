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
#include "block/bitmap-resume.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap.h"
#include "block/job-bitmap.h"
#include "qemu/aio.h"

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
    b->allow_other_target = p->allow_other_target;
    b->interval_ns = p->checkpoint_ms * INT64_C(1000000);
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

/*
 * What is to be remembered if @own is what is left of what was to be copied;
 * the caller's.
 */
static BdrvBitmapResume *remembered(const JobBitmap *b, const HBitmap *own)
{
    int64_t left = hbitmap_count(own), copied = b->asked - left;
    BdrvBitmapResume *r;

    if (b->selects) {
        copied += b->trimmed;
    }
    if (!b->resume || copied <= 0) {
        /* Nothing was taken off; what earlier jobs took still is. */
        return bdrv_bitmap_resume_copy(b->earlier);
    }
    r = bdrv_bitmap_resume_copy(b->resume);
    r->copied = b->carried + copied;
    r->total = b->carried + copied + left;
    return r;
}

static void abdicate(JobBitmap *b, const HBitmap *left)
{
    int64_t cut_end = bdrv_dirty_bitmap_cut_end(b->bitmap);
    g_autoptr(HBitmap) before = bdrv_dirty_bitmap_abdicate(b->bitmap);
    BdrvBitmapResume *r = NULL;

    if (left && b->selects) {
        hbitmap_keep_common(before, left);
        bdrv_dirty_bitmap_merge_bits(b->bitmap, before);
        r = remembered(b, before);
    } else if (left) {
        bdrv_dirty_bitmap_merge_bits(b->bitmap, left);
        r = remembered(b, left);
    }
    if (left) {
        bdrv_dirty_bitmap_note_cut(b->bitmap, cut_end);
    }
    bdrv_dirty_bitmap_set_resume(b->bitmap, r);
}

/* What became of it is stored before the job is over. */
static void end(JobBitmap *b)
{
    BdrvDirtyBitmap *bitmap = g_steal_pointer(&b->bitmap);

    g_clear_pointer(&b->resume, bdrv_bitmap_resume_free);
    g_clear_pointer(&b->earlier, bdrv_bitmap_resume_free);
    b->target = NULL;
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

/* --- the target is remembered --- */

bool job_bitmap_check_target(const JobBitmap *b, BlockDriverState *target,
                             Error **errp)
{
    const BdrvBitmapResume *r = b->selects
        ? bdrv_dirty_bitmap_resume(b->bitmap) : NULL;
    const char *name;

    if (!r || b->allow_other_target ||
        (target && bdrv_bitmap_resume_fits(r, target)) ||
        bdrv_dirty_bitmap_full(b->bitmap)) {
        return true;
    }
    name = bdrv_dirty_bitmap_name(b->bitmap);
    if (!r->loaded) {
        warn_report("Bitmap '%s' has only what job '%s' did not copy to '%s', "
                    "and now another target is given", name, r->job_id,
                    r->target);
        return true;
    }
    /* In the text itself: clients of QMP do not see hints. */
    if (!r->copied) {
        error_setg(errp, "Bitmap '%s' has only what a job did not copy, and "
                   "the image had no room to record where the rest is: use "
                   "sync 'full', or 'allow-other-target' if this target has it",
                   name);
    } else {
        error_setg(errp, "Bitmap '%s' has only what job '%s' did not copy to "
                   "'%s' (%d %% are there): use that target, an image above "
                   "it, or sync 'full', or 'allow-other-target' if this one "
                   "has the same data", name, r->job_id, r->target,
                   bdrv_bitmap_resume_percent(r));
    }
    return false;
}

void job_bitmap_remember(JobBitmap *b, BlockDriverState *target,
                         const char *job_id)
{
    const BdrvBitmapResume *r;

    if (!b->bitmap || b->mode != BITMAP_SYNC_MODE_ALWAYS ||
        !bdrv_dirty_bitmap_persistent(b->bitmap)) {
        return;
    }
    b->target = target;
    b->resume = bdrv_bitmap_resume_new(target, job_id);
    b->next_ns = aio_now_ns() + b->interval_ns;
    b->asked = bdrv_dirty_bitmap_size(b->bitmap);
    if (!b->selects) {
        return;
    }
    b->asked = hbitmap_count(job_bitmap_bits(b));
    r = bdrv_dirty_bitmap_resume(b->bitmap);
    b->earlier = bdrv_bitmap_resume_copy(r);
    if (r && (b->allow_other_target || bdrv_bitmap_resume_fits(r, target))) {
        b->carried = r->copied;
    }
}

/* --- checkpoints --- */

uint64_t job_bitmap_checkpoint_bytes = 256 * MiB;
unsigned job_bitmap_checkpoint_share = 20;

bool job_bitmap_has_checkpoints(const JobBitmap *b)
{
    return b->bitmap && b->mode == BITMAP_SYNC_MODE_ALWAYS && b->interval_ns &&
           bdrv_dirty_bitmap_kept(b->bitmap);
}

bool job_bitmap_checkpoint_due(const JobBitmap *b, uint64_t copied)
{
    int64_t now = aio_now_ns();

    return job_bitmap_has_checkpoints(b) &&
           (now >= b->next_ns ||
            (copied - b->copied >= job_bitmap_checkpoint_bytes &&
             now >= b->soon_ns));
}

void job_bitmap_before_flush(JobBitmap *b)
{
    b->begun_ns = aio_now_ns();
    if (b->resume) {
        b->resume->file_bytes = bdrv_target_file_bytes(b->target);
    }
}

static void pace(JobBitmap *b, uint64_t copied)
{
    int64_t now = aio_now_ns();

    b->copied = copied;
    b->soon_ns = now + (now - b->begun_ns) * job_bitmap_checkpoint_share;
    b->next_ns = MAX(b->soon_ns, now + b->interval_ns);
}

static void coroutine_fn checkpoint(JobBitmap *b, const HBitmap *left,
                                    bool copies_writes)
{
    const HBitmap *bits = job_bitmap_bits(b);
    HBitmap *own = b->selects ? hbitmap_copy(bits)
                              : hbitmap_try_new(hbitmap_size(bits),
                                                hbitmap_granularity(bits));

    if (!own) {
        return; /* less is known after a crash */
    }
    if (b->selects) {
        hbitmap_keep_common(own, left);
    } else {
        hbitmap_merge(own, left, own);
    }
    if (copies_writes) {
        b->trimmed += bdrv_dirty_bitmap_trim_successor(b->bitmap, left);
    }
    bdrv_dirty_bitmap_set_left(b->bitmap, own, remembered(b, own));
    bdrv_bitmap_store_sync_report(bdrv_dirty_bitmap_bs(b->bitmap));
    bdrv_dirty_bitmap_left_stored(b->bitmap);
}

void coroutine_fn job_bitmap_checkpoint(JobBitmap *b, const HBitmap *left,
                                        uint64_t copied)
{
    checkpoint(b, left, false);
    pace(b, copied);
}

void coroutine_fn job_bitmap_checkpoint_mirror(JobBitmap *b,
                                               const HBitmap *left,
                                               uint64_t copied)
{
    checkpoint(b, left, true);
    pace(b, copied);
}

/* --- the end --- */

static void mark_all(BdrvDirtyBitmap *bitmap)
{
    bdrv_dirty_bitmap_set(bitmap, 0, bdrv_dirty_bitmap_size(bitmap));
    bdrv_dirty_bitmap_set_resume(bitmap, NULL); /* nothing is taken off */
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
        hbitmap_keep_common(bdrv_dirty_bitmap_bits(b->bitmap), left);
    }
    if (more && left) {
        bdrv_dirty_bitmap_merge_bits(b->bitmap, left);
    } else if (more) {
        mark_all(b->bitmap);
    }
}

/* Before the bits get those of the successor. */
static BdrvBitmapResume *remembered_of_mirror(JobBitmap *b,
                                              const HBitmap *left)
{
    g_autoptr(HBitmap) own = b->selects ? hbitmap_copy(job_bitmap_bits(b))
                                        : NULL;

    b->trimmed += bdrv_dirty_bitmap_trim_successor(b->bitmap, left);
    if (own) {
        hbitmap_keep_common(own, left);
    }
    return remembered(b, own ?: left);
}

void job_bitmap_finish_mirror(JobBitmap *b, bool success, const HBitmap *left)
{
    bool leaves = !success && b->mode == BITMAP_SYNC_MODE_ALWAYS;
    BdrvBitmapResume *r = NULL;

    if (!b->bitmap) {
        return;
    }
    if (leaves && left) {
        r = remembered_of_mirror(b, left); /* it is not read-only */
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
    } else if (leaves) {
        leave_differing(b, left);
    }
    if (leaves && left) {
        bdrv_dirty_bitmap_set_resume(b->bitmap, r);
    }
    end(b);
}
