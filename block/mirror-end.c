/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of a mirror: with the source drained, the rest is copied, and the
 * users of the source use the target from then on, if the job was completed.
 * The source stays drained until its bitmap has its final state.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/mirror-job.h"

/* --- complete --- */

BlockDriverState *mirror_find_replaced(const MirrorJob *s, Error **errp)
{
    BlockDriverState *bs;

    if (!s->replaces) {
        return s->source;
    }
    bs = bdrv_find_node(s->replaces);
    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   s->replaces);
        return NULL;
    }
    if (bdrv_getlength(bs) != s->m->len) {
        error_setg(errp, "cannot replace image with a mirror image of "
                   "different size");
        return NULL;
    }
    if (!bdrv_recurse_can_replace(s->source, bs)) {
        error_setg(errp, "Cannot replace '%s' by a node mirrored from '%s', "
                   "because it cannot be guaranteed that doing so would not "
                   "lead to an abrupt change of visible data", s->replaces,
                   bdrv_get_device_or_node_name(s->source));
        return NULL;
    }
    return bs;
}

bool mirror_complete(Job *job, Error **errp)
{
    MirrorJob *s = to_mirror(job);

    if (!mirror_find_replaced(s, errp) ||
        (s->backing == MIRROR_BACKING_OPEN &&
         !bdrv_open_backing(s->target, errp))) {
        return false;
    }
    s->should_complete = true;
    job_wake(job);
    return true;
}

/* --- the change of the graph --- */

/* The node that is to be below the target, as far as the job sets it. */
static bool set_backing(MirrorJob *s, Error **errp)
{
    BlockDriverState *source = bdrv_skip_filters(s->source);
    BlockDriverState *target = bdrv_skip_filters(s->target);
    BlockDriverState *backing = s->sync == MIRROR_SYNC_MODE_NONE
        ? source : bdrv_backing_chain_next(source);

    if (s->backing != MIRROR_BACKING_SOURCE ||
        s->sync == MIRROR_SYNC_MODE_FULL ||
        bdrv_backing_chain_next(target) == backing) {
        return true;
    }
    return bdrv_set_backing(target, backing, BDRV_CONTENT_SAME, errp);
}

/* Users that came by the name of the source while the job ran move, too. */
static bool replace(MirrorJob *s, Error **errp)
{
    BlockDriverState *replaced = mirror_find_replaced(s, errp);

    return replaced &&
           bdrv_replace_node(s->filter, s->source, BDRV_CONTENT_SAME, errp) &&
           bdrv_replace_node(replaced, s->target, BDRV_CONTENT_SAME, errp);
}

/* Users that only read shall not hold a writable image. */
static bool pivot(MirrorJob *s, Error **errp)
{
    bool ok = set_backing(s, errp) && replace(s, errp);

    if (ok && s->source->read_only) {
        bdrv_reopen_read_only_again(s->target);
    }
    if (ok && s->writable) {
        tran_commit(g_steal_pointer(&s->writable));
    }
    return ok;
}

/* The nodes are free for changes of the graph; the filter stays, idle. */
static void release_nodes(MirrorJob *s)
{
    mirror_filter_disable(s->m);
    block_job_remove_all_bdrv(&s->common);
}

/* --- the callbacks --- */

static void drain_source(MirrorJob *s)
{
    if (!s->drained) {
        s->drained = bdrv_ref(s->source);
        bdrv_drained_begin(s->drained);
    }
}

int mirror_prepare(Job *job)
{
    MirrorJob *s = to_mirror(job);
    BlockCopyError error = {0};
    int ret;

    block_job_await(&s->common, s->target);
    drain_source(s);
    ret = mirror_copy_rest(s->m, &error);
    if (ret < 0) {
        mirror_describe(s, &error, &job->err);
        return ret;
    }
    s->flushed = true;
    if (!s->should_complete) {
        return 0;
    }
    release_nodes(s);
    return pivot(s, &job->err) ? 0 : -EPERM;
}

void mirror_commit(Job *job)
{
    job_bitmap_finish_mirror(&to_mirror(job)->bitmap, true, NULL);
}

/*
 * The difference is known only if all that is to be copied was found.  A job
 * that ended and then failed, or was cancelled, has not flushed its target.
 */
static const HBitmap *find_differing(MirrorJob *s)
{
    if (!s->found || s->bitmap.mode != BITMAP_SYNC_MODE_ALWAYS) {
        return NULL;
    }
    if (!s->flushed) {
        job_bitmap_before_flush(&s->bitmap);
        mirror_flush(s->m);
    }
    return mirror_find_differing(s->m);
}

void mirror_abort(Job *job)
{
    MirrorJob *s = to_mirror(job);

    mirror_set_mode(s->m, MIRROR_RECORD);
    block_job_await(&s->common, s->target);
    bdrv_cancel_in_flight(s->target, NULL);
    if (!s->bitmap.bitmap) {
        return;
    }
    drain_source(s);
    job_bitmap_finish_mirror(&s->bitmap, false, find_differing(s));
}

void mirror_clean(Job *job)
{
    MirrorJob *s = to_mirror(job);

    block_job_await(&s->common, s->target); /* keeps it, too */
    block_job_let_go(&s->attached);
    block_job_let_go(&s->writable);
    s->m = NULL;
    if (s->drained) {
        bdrv_drained_end(s->drained);
        bdrv_unref(g_steal_pointer(&s->drained));
    }
    block_job_end_limits(&s->common);
}
