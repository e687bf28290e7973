/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The start of a mirror: checks, and attaching the job to its nodes. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/commit.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/mirror-job.h"

#define MIN_GRANULARITY 512
#define MAX_GRANULARITY (64 * MiB)
#define DEFAULT_BUF_SIZE (16 * MiB)
/* Units of bitmaps with a coarse granularity: active writes wait for whole
 * units that are being copied. */
#define MAX_BITMAP_UNIT (1 * MiB)

/* --- checks --- */

static bool check_granularity(const MirrorParams *p, Error **errp)
{
    if (!p->granularity) {
        return true;
    }
    if (p->bitmap.name) {
        error_setg(errp, "granularity cannot be combined with a bitmap, whose "
                   "granularity is used");
        return false;
    }
    if (p->granularity < MIN_GRANULARITY || p->granularity > MAX_GRANULARITY) {
        error_setg(errp, "Parameter 'granularity' expects a value in range "
                   "[512B, 64MB]");
        return false;
    }
    if (!is_power_of_2(p->granularity)) {
        error_setg(errp, "Parameter 'granularity' expects a power of 2");
        return false;
    }
    return true;
}

static bool check_nodes(BlockDriverState *source, BlockDriverState *target,
                        const MirrorParams *p, Error **errp)
{
    if (bdrv_skip_filters(source) == bdrv_skip_filters(target)) {
        error_setg(errp, "Can't mirror node into itself");
        return false;
    }
    return bdrv_op_check(source, errp) && bdrv_op_check(target, errp) &&
           block_job_check_lost(target, errp) &&
           block_job_check_id(p->job_id, p->flags, source, errp) &&
           block_job_check_sizes(source, target, errp);
}

static bool check_params(const MirrorParams *p, Error **errp)
{
    if (p->buf_size < 0) {
        error_setg(errp, "Invalid parameter 'buf-size'");
        return false;
    }
    if (p->bitmap.sync == MIRROR_SYNC_MODE_INCREMENTAL && p->bitmap.name &&
        p->bitmap.has_mode) {
        error_setg(errp, "Bitmap sync mode must not be given when using sync "
                   "mode '%s'", MirrorSyncMode_str(p->bitmap.sync));
        return false;
    }
    if (p->replaces && !bdrv_find_node(p->replaces)) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   p->replaces);
        return false;
    }
    return check_granularity(p, errp);
}

/* --- the filter --- */

/* The unit in which changes are recorded and copied. */
static int64_t choose_unit(BlockDriverState *target, const MirrorParams *p,
                           const JobBitmap *bitmap, bool whole_units)
{
    int64_t unit = p->granularity;

    if (bitmap->bitmap) {
        unit = MIN(bdrv_dirty_bitmap_granularity(bitmap->bitmap),
                   (uint64_t)MAX_BITMAP_UNIT);
    } else if (!unit) {
        unit = bdrv_dirty_bitmap_default_granularity(target);
    }
    return whole_units ? MAX(unit, bdrv_get_cluster_size(target)) : unit;
}

/*
 * Is the target an image that will get a backing file?  Its header names one,
 * and a user who opened it without will attach that when the job is ready, or
 * open the image with it later.
 */
static bool gets_backing(BlockDriverState *target, const MirrorParams *p)
{
    return p->backing != MIRROR_BACKING_KEEP ||
           (bdrv_skip_filters(target)->backing_file &&
            !bdrv_backing_chain_next(target));
}

static MirrorCopyParams copy_params(BlockDriverState *target,
                                    const MirrorParams *p,
                                    const JobBitmap *bitmap)
{
    bool full = p->bitmap.sync == MIRROR_SYNC_MODE_FULL;
    bool whole_units = !full && gets_backing(target, p);

    return (MirrorCopyParams) {
        .unit = choose_unit(target, p, bitmap, whole_units),
        .buf_size = p->buf_size ? p->buf_size : DEFAULT_BUF_SIZE,
        .whole_units = whole_units,
        .full = full,
        /* Not any more with its backing file. */
        .target_is_zero = p->target_is_zero && !whole_units,
        .unmap = p->unmap,
        .resumable = bitmap->bitmap && bitmap->mode == BITMAP_SYNC_MODE_ALWAYS,
    };
}

static void drop_filter(void *opaque)
{
    MirrorJob *s = opaque;

    if (s->m->mode != MIRROR_OFF) {
        bdrv_drained_begin(s->filter);
        mirror_filter_disable(s->m);
        bdrv_drained_end(s->filter);
    }
    bdrv_replace_node(s->filter, s->source, BDRV_CONTENT_SAME, &error_abort);
    s->m = NULL;
    bdrv_unref(g_steal_pointer(&s->filter));
}

static const TransactionActionDrv filter_step = {.abort = drop_filter};

/* What is to be copied at first; that of sync=top is determined later. */
static void set_todo(MirrorState *m, const JobBitmap *bitmap, bool all)
{
    bool ok = true;

    if (bitmap->selects) {
        /* As in block_copy_set_todo(). */
        copy_mover_write_all_zeroes(m->mover);
        ok = hbitmap_merge(job_bitmap_bits(bitmap), NULL, m->todo);
    } else if (all) {
        hbitmap_set_all(m->todo);
    }
    g_assert(ok);
    progress_set_remaining(m->progress, mirror_left(m));
}

/* What is needed until the job exists: moved to it then. */
typedef struct Start {
    BlockDriverState *source, *target;
    const MirrorParams *p;
    const JobDriver *driver;
    JobBitmap bitmap;
    MirrorCopyParams copy;
    BlockDriverState *base; /* of a commit */
    Transaction *writable;  /* as that of MirrorJob */
    BlockDriverState *filter;
} Start;

/* The filter between the source and its users; a reference. */
static bool insert_filter(Start *st, Error **errp)
{
    st->filter = mirror_filter_new(st->source, st->target, st->base,
                                   st->p->filter_name, &st->copy, errp);
    if (!st->filter) {
        return false;
    }
    if (!bdrv_replace_node(st->source, st->filter, BDRV_CONTENT_SAME, errp)) {
        bdrv_unref(g_steal_pointer(&st->filter));
        return false;
    }
    return true;
}

/* --- the job --- */

static bool hold_nodes(MirrorJob *s, const Start *st, Error **errp)
{
    block_job_hold_edges(&s->common, s->attached);
    if (!st->base) {
        return block_job_add_bdrv(&s->common, "source", s->source, 0,
                                  BLK_PERM_ALL, errp) &&
               block_job_add_bdrv(&s->common, "target", s->target, 0,
                                  BLK_PERM_ALL, errp);
    }
    return chain_job_hold_commit(&s->common, s->source, st->base, errp) &&
           block_job_freeze_chain(s->source, st->base, s->attached, errp);
}

static void fill_job(MirrorJob *s, const Start *st)
{
    const MirrorParams *p = st->p;

    s->bitmap = st->bitmap;
    job_bitmap_remember(&s->bitmap, s->target, s->common.job.id);
    s->sync = p->bitmap.sync;
    s->backing = p->backing;
    s->on_source_error = p->on_source_error;
    s->on_target_error = p->on_target_error;
    s->copy_mode = p->copy_mode;
    s->should_complete = p->auto_complete;
    s->common.job.ended = p->ended;
    s->common.job.ended_opaque = p->ended_opaque;
    s->writable = st->writable;
    s->m->progress = &s->common.job.progress;
    /* What no image has is zero, as in a target that is known to be. */
    s->allocated_only = s->sync == MIRROR_SYNC_MODE_TOP ||
        (s->sync == MIRROR_SYNC_MODE_FULL && p->target_is_zero &&
         !s->bitmap.bitmap);
    set_todo(s->m, &s->bitmap,
             s->sync == MIRROR_SYNC_MODE_FULL && !s->allocated_only);
    if (s->copy_mode == MIRROR_COPY_MODE_WRITE_BLOCKING) {
        mirror_set_mode(s->m, MIRROR_ACTIVE);
    }
}

/*
 * The base of a commit gets the size of the source.  The filter is in place:
 * only then the source lets others resize its backing file, whoever uses the
 * source.
 */
static bool resize_base(const Start *st, int64_t size, Error **errp)
{
    g_autoptr(BlockBackend) blk =
        blk_new_unqueued(st->base, BLK_PERM_RESIZE | BLK_PERM_WRITE,
                         BLK_PERM_ALL, NULL, errp);

    return blk && commit_grow(blk, size, errp) == 0;
}

static bool grow_base(const Start *st, Error **errp)
{
    MirrorState *m = mirror_filter_state(st->filter);
    int64_t size = bdrv_getlength(st->source);
    bool ok;

    if (!st->base || bdrv_getlength(st->base) >= size) {
        return true;
    }
    m->growing = true;
    ok = bdrv_refresh_perms(m->bs, NULL, errp) && resize_base(st, size, errp);
    m->growing = false;
    return bdrv_refresh_perms(m->bs, NULL, ok ? errp : NULL) && ok;
}

static void discard_filter(Start *st)
{
    bdrv_replace_node(st->filter, st->source, BDRV_CONTENT_SAME, &error_abort);
    bdrv_unref(g_steal_pointer(&st->filter));
}

/*
 * The job over the filter, which becomes its property.  NULL with @errp: both
 * are gone, and @attached is undone.
 */
static MirrorJob *create_job(Start *st, Transaction *attached, Error **errp)
{
    BlockJobParams params = {
        .id = st->p->job_id,
        .driver = st->driver,
        .bs = st->filter,
        .speed = st->p->speed,
        .flags = st->p->flags,
    };
    BlockJob *job = block_job_create(&params, errp);
    MirrorJob *s;

    if (!job) {
        discard_filter(st);
        tran_abort(attached);
        return NULL;
    }
    s = container_of(job, MirrorJob, common);
    job->query = mirror_query;
    s->attached = attached;
    s->source = block_job_ref(st->source, attached);
    s->target = block_job_ref(st->target, attached);
    s->filter = g_steal_pointer(&st->filter);
    s->m = mirror_filter_state(s->filter);
    tran_add(attached, &filter_step, s);
    s->replaces = g_strdup(st->p->replaces);
    if (!hold_nodes(s, st, errp) || !mirror_find_replaced(s, errp)) {
        block_job_let_go(&s->attached);
        job_early_fail(&job->job);
        return NULL;
    }
    fill_job(s, st);
    return s;
}

/*
 * From the moment when the bitmap gets its successor the filter must see all
 * writes; the source is drained.  @attached is undone where this fails.
 */
static MirrorJob *start_drained(Start *st, Transaction *attached, Error **errp)
{
    MirrorJob *s = NULL;

    if (!job_bitmap_freeze(&st->bitmap, errp)) {
        tran_abort(attached);
        return NULL;
    }
    if (!insert_filter(st, errp)) {
        tran_abort(attached);
    } else if (!grow_base(st, errp)) {
        discard_filter(st);
        tran_abort(attached);
    } else {
        s = create_job(st, attached, errp);
    }
    if (!s) {
        job_bitmap_finish(&st->bitmap, false, NULL); /* nothing was copied */
    }
    return s;
}

static bool start(Start *st, Transaction *attached, Error **errp)
{
    BlockDriverState *source = bdrv_ref(st->source);
    MirrorJob *s;

    bdrv_drained_begin(source);
    s = start_drained(st, attached, errp);
    bdrv_drained_end(source);
    bdrv_unref(source);
    if (s) {
        job_start(&s->common.job);
    }
    return s != NULL;
}

bool mirror_job_check(BlockDriverState *source, const MirrorParams *p,
                      Error **errp)
{
    JobBitmap bitmap;

    return check_params(p, errp) &&
           job_bitmap_find(&bitmap, source, &p->bitmap, errp) &&
           (!p->to_new_file || job_bitmap_check_target(&bitmap, NULL, errp));
}

bool mirror_job_start(BlockDriverState *source, BlockDriverState *target,
                      const MirrorParams *p, Error **errp)
{
    Start st = {
        .source = source,
        .target = target,
        .p = p,
        .driver = &mirror_job_driver,
    };

    if (!check_params(p, errp) || !check_nodes(source, target, p, errp) ||
        !job_bitmap_find(&st.bitmap, source, &p->bitmap, errp) ||
        !job_bitmap_check_target(&st.bitmap, target, errp)) {
        return false;
    }
    st.copy = copy_params(target, p, &st.bitmap);
    return start(&st, tran_new(), errp);
}

/* --- the commit of an active image --- */

/* The finest allocation of the images from @top to above @base. */
static int64_t chain_unit(BlockDriverState *top, BlockDriverState *base)
{
    int64_t unit = bdrv_dirty_bitmap_default_granularity(base);

    base = bdrv_skip_filters(base);
    for (top = bdrv_skip_filters(top); top != base;
         top = bdrv_backing_chain_next(top)) {
        unit = MIN(unit, bdrv_get_cluster_size(top));
    }
    return MAX(unit, MIN_GRANULARITY);
}

bool active_commit_job_start(BlockDriverState *top, BlockDriverState *base,
                             const ChainJobParams *p, Error **errp)
{
    MirrorParams params = {
        .job_id = p->job_id,
        .filter_name = p->filter_name,
        .bitmap.sync = MIRROR_SYNC_MODE_TOP,
        .speed = p->speed,
        .on_source_error = p->on_error,
        .on_target_error = p->on_error,
        .copy_mode = MIRROR_COPY_MODE_BACKGROUND,
        .unmap = true,
        .auto_complete = p->auto_complete,
        .flags = p->flags,
        .ended = p->ended,
        .ended_opaque = p->ended_opaque,
    };
    Start st = {
        .source = top,
        .target = base,
        .base = base,
        .p = &params,
        .driver = &active_commit_job_driver,
        .copy = {
            .unit = chain_unit(top, base),
            .buf_size = DEFAULT_BUF_SIZE,
            .full = true,
            .unmap = true,
        },
    };

    st.writable = tran_new();
    if (!block_job_check_lost(base, errp) ||
        !block_job_make_writable(base, st.writable, errp) ||
        !start(&st, tran_new(), errp)) {
        tran_abort(st.writable);
        return false;
    }
    return true;
}
