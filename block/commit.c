/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commit job, for images that have no writers.
 *
 *      overlay             overlay              overlay
 *         |                   |                    |
 *         |                filter                  |
 *         |                   |                    |
 *        top      ---->      top       ---->       |
 *         |                   |                    |
 *        base                base (written)       base
 *
 * The content that the overlay's users see does not change: the base is written
 * only in ranges that top or an image between them allocates.
 */
#include "qemu/osdep.h"
#include "block/copier.h"
#include "block/chain-jobs.h"
#include "block/commit.h"
#include "block/io.h"
#include "block/node-int.h"

typedef struct CommitJob {
    BlockJob common;
    BlockDriverState *top, *base;
    BlockDriverState *filter;
    BlockBackend *from, *to;
    /* Attached for the whole life of the job; NULL: detached. */
    Transaction *attached;
    /* The same for the copy; detached before the graph changes. */
    Transaction *copying;
    char *backing_file;
    BlockdevOnError on_error;
    uint64_t lost_base; /* bdrv_lost_writes_base() of the base */
} CommitJob;

static CommitJob *to_commit(Job *job)
{
    return container_of(job, CommitJob, common.job);
}

/* --- running --- */

/* References the images between top and base, and the handle that reads. */
static GArray *collect_layers(const CommitJob *s)
{
    GArray *layers = g_array_new(false, false, sizeof(CommitLayer));
    BlockDriverState *base = bdrv_skip_filters(s->base);
    BlockDriverState *bs = bdrv_skip_filters(s->top);

    for (; bs != base; bs = bdrv_backing_chain_next(bs)) {
        CommitLayer layer = { bs, s->from };

        g_array_append_val(layers, layer);
    }
    return layers;
}

/* Progress callback of CommitCopy. */
static bool tell_progress(void *opaque, int64_t done, int64_t total)
{
    CommitJob *s = opaque;
    uint64_t before, all;

    progress_get(&s->common.job.progress, &before, &all);
    progress_done(&s->common.job.progress, done - before);
    return true;
}

static int coroutine_fn finish(BlockJob *job, Error **errp)
{
    const CommitJob *s = to_commit(&job->job);
    int ret = blk_co_flush(s->to);

    return block_job_has_lost(s->base, s->lost_base, errp) ? -EIO : ret;
}

static int coroutine_fn copy_all(CommitJob *s, const CommitCopy *c,
                                 Error **errp)
{
    CommitCopier *k = commit_copier_new(c);
    BlockJobCopy copy = {
        .copier = commit_copier(k),
        .on_source_error = s->on_error,
        .on_target_error = s->on_error,
        .target = s->base,
        .lost_base = s->lost_base,
        .pay_last = true,
        .finish = finish,
    };
    int ret = block_job_copy(&s->common, &copy, errp);

    commit_copier_free(k);
    return ret;
}

static int coroutine_fn commit_run(Job *job, Error **errp)
{
    CommitJob *s = to_commit(job);
    g_autoptr(GArray) layers = collect_layers(s);
    CommitCopy c = {
        .layers = (CommitLayer *)layers->data,
        .n_layers = layers->len,
        .base = s->to,
        .size = blk_getlength(s->from),
        .speed = s->common.speed,
        .progress = tell_progress,
        .opaque = s,
    };
    int ret;

    if (c.size < 0) {
        return c.size;
    }
    s->lost_base = bdrv_lost_writes_base(s->base);
    ret = commit_grow(s->to, c.size, NULL);
    if (ret < 0) {
        return ret;
    }
    /* The part past the end of top reads as zeroes, and must remain so. */
    c.size = blk_getlength(s->to);
    if (c.size < 0) {
        return c.size;
    }
    progress_set_remaining(&job->progress, c.size);
    return copy_all(s, &c, errp);
}

/* --- the end --- */

/* All images that are based on the filter. */
static GPtrArray *find_overlays(const CommitJob *s)
{
    GPtrArray *overlays = g_ptr_array_new();
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(s->filter)->parents, next_parent) {
        if (c->klass->parent_is_bs && (c->role & BDRV_CHILD_COW)) {
            g_ptr_array_add(overlays, c->opaque);
        }
    }
    return overlays;
}

/* A header that names the base is valid from now on, even after a failure. */
static int commit_prepare(Job *job)
{
    CommitJob *s = to_commit(job);
    g_autoptr(GPtrArray) overlays = find_overlays(s);
    int ret = 0;

    block_job_let_go(&s->copying);
    for (guint i = 0; i < overlays->len && ret == 0; i++) {
        ret = chain_job_rename(overlays->pdata[i], s->backing_file, s->base);
    }
    if (ret == 0 && !bdrv_replace_node(s->filter, s->base,
                                       BDRV_CONTENT_SAME, NULL)) {
        ret = -EPERM;
    }
    return ret;
}

static void forget_owner(BlockDriverState *bs)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->opaque == bdrv_node(bs)->inherits_from) {
            return;
        }
    }
    bdrv_node(bs)->inherits_from = NULL;
}

static void commit_clean(Job *job)
{
    CommitJob *s = to_commit(job);

    block_job_let_go(&s->copying);
    block_job_let_go(&s->attached);
}

static void commit_free(Job *job)
{
    g_free(to_commit(job)->backing_file);
    block_job_free(job);
}

static const JobDriver commit_driver = {
    .instance_size = sizeof(CommitJob),
    .kind = JOB_KIND_BLOCK,
    .type = JOB_TYPE_COMMIT,
    .run = commit_run,
    .pause = block_job_pause,
    .user_resume = block_job_user_resume,
    .prepare = commit_prepare,
    .clean = commit_clean,
    .cancel = block_job_cancel,
    .set_speed = block_job_set_speed,
    .free = commit_free,
};

/* --- creation --- */

/*
 * The overlays use the top again, unless they use the base by now.  The job's
 * edges, whose permissions would forbid that, are gone.
 */
static void drop_filter(void *opaque)
{
    CommitJob *s = opaque;

    bdrv_replace_node(s->filter, s->top, BDRV_CONTENT_SAME, &error_abort);
    bdrv_unref(g_steal_pointer(&s->filter));
    forget_owner(s->top);
}

static const TransactionActionDrv filter_step = {.abort = drop_filter};

/* Inserts the filter between overlay and top until the job detaches. */
static bool insert_filter(CommitJob *s, const char *name, Error **errp)
{
    s->filter = commit_filter_new(s->top, name, errp);
    if (!s->filter) {
        return false;
    }
    if (!bdrv_replace_node(s->top, s->filter, BDRV_CONTENT_SAME, errp)) {
        bdrv_unref(g_steal_pointer(&s->filter));
        return false;
    }
    tran_add(s->attached, &filter_step, s);
    return true;
}

/* Writers of the top would only fail as the filter is read-only; this check
 * names them. */
static bool check_writers(CommitJob *s, Error **errp)
{
    g_autofree char *user = block_job_desc(&s->common);
    g_autoptr(BlockBackend) probe = blk_new_unqueued(
        s->top, BLK_PERM_CONSISTENT_READ, BLK_PERM_CONSISTENT_READ |
        BLK_PERM_WRITE_UNCHANGED, user, errp);

    return probe != NULL;
}

static bool attach(CommitJob *s, const ChainJobParams *p, Error **errp)
{
    /* hold_chain() keeps other users from reading there. */
    BlockJobUser from = {.bs = s->top, .shared = BLK_PERM_ALL};
    BlockJobUser to = {
        .bs = s->base,
        .perm = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE,
        .shared = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED,
    };

    if (!check_writers(s, errp) || !block_job_check_lost(s->base, errp) ||
        !block_job_make_writable(s->base, s->attached, errp) ||
        !insert_filter(s, p->filter_name, errp)) {
        return false;
    }
    block_job_hold_edges(&s->common, s->attached);
    return chain_job_hold_commit(&s->common, s->top, s->base, errp) &&
           block_job_add_user(&s->common, &s->from, &from, s->copying,
                              errp) &&
           block_job_add_user(&s->common, &s->to, &to, s->copying, errp) &&
           block_job_freeze_chain(s->filter, s->base, s->copying, errp);
}

bool commit_job_start(BlockDriverState *bs, BlockDriverState *top,
                      BlockDriverState *base, const ChainJobParams *p,
                      Error **errp)
{
    BlockJobParams params = {
        .id = p->job_id,
        .driver = &commit_driver,
        .bs = bs,
        .speed = p->speed,
        .flags = p->flags,
    };
    BlockJob *job = block_job_create(&params, errp);
    CommitJob *s;

    if (!job) {
        return false;
    }
    s = container_of(job, CommitJob, common);
    s->attached = tran_new();
    s->copying = tran_new();
    s->top = block_job_ref(top, s->attached);
    s->base = block_job_ref(base, s->attached);
    s->on_error = p->on_error;
    s->backing_file = g_strdup(p->backing_file);
    if (!attach(s, p, errp)) {
        commit_clean(&job->job);
        job_early_fail(&job->job);
        return false;
    }
    job_start(&job->job);
    return true;
}
