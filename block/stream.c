/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream job: copies the data of backing files into an image.
 *
 *       user               user               user
 *        |                   |                  |
 *        |              copy-on-read            |
 *        |                   |                  |
 *       node     ---->     node     ---->     node
 *        |                   |                  |
 *      bottom             bottom                |
 *        |                   |                  |
 *      (base)             (base)             (base)
 *
 * Data that is read meanwhile is copied at once.  Copying changes no visible
 * content: bitmaps do not record it.  If errors are ignored, areas that cannot
 * be copied are skipped, and the job fails at its end: the backing file stays.
 */
#include "qemu/osdep.h"
#include "block/copier.h"
#include "block/block-backend.h"
#include "block/chain-jobs.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/snapshot.h"

#define STREAM_CHUNK (512 * KiB)
/* Areas in flight: one is read while others are written. */
#define STREAM_WORKERS 4

typedef struct StreamJob {
    BlockJob common;
    BlockDriverState *bs;     /* the image */
    BlockDriverState *bottom; /* NULL: nothing to copy */
    BlockBackend *blk;        /* on @bs */
    /* Attached for the whole life of the job; NULL: detached. */
    Transaction *attached;
    /* The same for the copy; detached before the graph changes. */
    Transaction *copying;
    char *backing_file;
    BlockdevOnError on_error;
} StreamJob;

static StreamJob *to_stream(Job *job)
{
    return container_of(job, StreamJob, common.job);
}

/* --- copying --- */

/*
 * A CopyLook: ranges are skipped that the image allocates itself, or that no
 * image below it allocates.
 */
static int coroutine_fn look(void *opaque, CopyArea *run)
{
    const StreamJob *s = opaque;
    int64_t bytes = run->bytes, n;
    int ret = bdrv_is_allocated(s->bs, run->offset, bytes, &n);

    run->kind = COPY_SKIP;
    if (ret != 0 || n == 0) {
        run->bytes = n ? n : bytes;
        return MIN(ret, 0);
    }
    bytes = n;
    ret = bdrv_is_allocated_above(bdrv_cow_child(s->bs)->bs, s->bottom, true,
                                  run->offset, bytes, &n);
    if (n == 0) {
        /* Past their end: zeroes, which must hide the data of a longer base. */
        n = bytes;
        ret = bdrv_cow_child(s->bottom) != NULL;
    }
    run->bytes = n;
    run->kind = ret > 0 ? COPY_DATA : COPY_SKIP;
    return MIN(ret, 0);
}

/* Data is not moved twice: data that a guest wrote meanwhile stays. */
static int coroutine_fn move(void *opaque, const CopyArea *area,
                             bool *is_read)
{
    StreamJob *s = opaque;

    *is_read = true;
    return bdrv_co_preadv(blk_root(s->blk), area->offset, area->bytes, NULL, 0,
                          BDRV_REQ_COPY_ON_READ | BDRV_REQ_PREFETCH);
}

static void ended(void *opaque, const CopyArea *area, int ret)
{
    StreamJob *s = opaque;

    if (ret >= 0) {
        progress_done(&s->common.job.progress, area->bytes);
    }
}

static const CopierOps copier_ops = {
    .move = move,
    .ended = ended,
};

static int coroutine_fn finish(BlockJob *job, Error **errp)
{
    StreamJob *s = to_stream(&job->job);
    int ret = blk_co_flush(s->blk);

    return block_job_has_lost(s->bs, 0, errp) ? -EIO : ret;
}

static int coroutine_fn copy_all(StreamJob *s, int64_t size, Error **errp)
{
    RateLimit limit = {0};
    CopyWalker walker;
    CopyPacer pacer;
    Copier copier = {
        .walker = &walker,
        .pacer = &pacer,
        .ops = &copier_ops,
        .opaque = s,
        .chunk = STREAM_CHUNK,
        .no_retry = true,
    };
    BlockJobCopy copy = {
        .copier = &copier,
        .on_source_error = s->on_error,
        .on_target_error = s->on_error,
        .target = s->bs,
        .pass_over = true,
        .pay_last = true,
        .finish = finish,
    };
    int ret;

    copy_walker_init_span(&walker, size, 1);
    copy_walker_set_look(&walker, look, s);
    copy_pacer_init(&pacer, STREAM_WORKERS, 0, &limit);
    ret = block_job_copy(&s->common, &copy, errp);
    copy_walker_destroy(&walker);
    return ret;
}

static int coroutine_fn stream_run(Job *job, Error **errp)
{
    StreamJob *s = to_stream(job);
    int64_t size;

    if (!s->bottom) {
        return 0;
    }
    size = blk_getlength(s->blk);
    if (size < 0) {
        return size;
    }
    progress_set_remaining(&job->progress, size);
    return copy_all(s, size, errp);
}

/* --- the end --- */

static int stream_prepare(Job *job)
{
    StreamJob *s = to_stream(job);
    BdrvChild *below;
    BlockDriverState *base;
    int ret;

    block_job_let_go(&s->copying);
    if (!s->bottom) {
        /* The image names the backing file that it has now. */
        below = bdrv_cow_child(s->bs);
        return below ? chain_job_rename(s->bs, s->backing_file, below->bs) : 0;
    }
    /* Since the end of the copy the guest has written. */
    if (block_job_has_lost(s->bs, 0, &job->err)) {
        return -EIO;
    }
    below = bdrv_cow_child(s->bottom);
    base = below ? below->bs : NULL;
    ret = chain_job_rename(s->bs, s->backing_file, base);
    if (ret == 0 && !bdrv_set_backing(s->bs, base, BDRV_CONTENT_SAME,
                                       NULL)) {
        ret = -EPERM;
    }
    if (ret == 0) {
        bdrv_warn_of_snapshots(s->bs);
    }
    return ret;
}

static void stream_clean(Job *job)
{
    StreamJob *s = to_stream(job);

    block_job_let_go(&s->copying);
    block_job_let_go(&s->attached);
}

static void stream_free(Job *job)
{
    g_free(to_stream(job)->backing_file);
    block_job_free(job);
}

static const JobDriver stream_driver = {
    .instance_size = sizeof(StreamJob),
    .kind = JOB_KIND_BLOCK,
    .type = JOB_TYPE_STREAM,
    .run = stream_run,
    .pause = block_job_pause,
    .user_resume = block_job_user_resume,
    .prepare = stream_prepare,
    .clean = stream_clean,
    .cancel = block_job_cancel,
    .set_speed = block_job_set_speed,
    .free = stream_free,
};

/* --- creation --- */

static void drop_filter(void *opaque)
{
    BlockDriverState *filter = opaque;

    bdrv_drop_filter(filter, &error_abort);
    bdrv_unref(filter);
}

static const TransactionActionDrv filter_step = {.abort = drop_filter};

/* Inserts the filter until the job detaches; NULL with @errp. */
static BlockDriverState *insert_filter(StreamJob *s, const char *name,
                                       Error **errp)
{
    BlockdevRef file = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = s->bs->node_name,
    };
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_COPY_ON_READ,
        .node_name = (char *)name,
        .u.copy_on_read = { .file = &file, .bottom = s->bottom->node_name },
    };
    BlockDriverState *filter = bdrv_insert_node(s->bs, &options, errp);

    if (filter) {
        bdrv_set_implicit(filter, !name);
        tran_add(s->attached, &filter_step, bdrv_ref(filter));
    }
    return filter;
}

/*
 * The data that is copied, and its neighbours in the same cluster, must not
 * change meanwhile: the image would be a mix of two states.
 */
static bool hold_chain(StreamJob *s, Error **errp)
{
    BdrvChild *base = bdrv_cow_child(s->bottom);

    return chain_job_hold(&s->common, bdrv_cow_child(s->bs)->bs, s->bottom,
                          BLK_PERM_CONSISTENT_READ, BLK_PERM_CONSISTENT_READ |
                          BLK_PERM_WRITE_UNCHANGED, errp) &&
           (!base || block_job_add_read(&s->common, "base", base->bs, errp));
}

static bool attach(StreamJob *s, const ChainJobParams *p, Error **errp)
{
    BlockJobUser user = {
        .bs = s->bs,
        .perm = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED,
        .shared = BLK_PERM_ALL,
    };
    BlockDriverState *filter;

    if (!s->bottom) {
        block_job_hold_edges(&s->common, s->attached);
        return true;
    }
    if (!block_job_check_lost(s->bs, errp) ||
        !block_job_make_writable(s->bs, s->attached, errp)) {
        return false;
    }
    filter = insert_filter(s, p->filter_name, errp);
    if (!filter) {
        return false;
    }
    block_job_hold_edges(&s->common, s->attached);
    return block_job_add_bdrv(&s->common, "filter", filter, 0, BLK_PERM_ALL,
                              errp) &&
           hold_chain(s, errp) &&
           block_job_add_user(&s->common, &s->blk, &user, s->copying, errp) &&
           block_job_freeze_chain(s->bs, s->bottom, s->copying, errp);
}

bool stream_job_start(BlockDriverState *bs, BlockDriverState *bottom,
                      const ChainJobParams *p, Error **errp)
{
    BlockJobParams params = {
        .id = p->job_id,
        .driver = &stream_driver,
        .bs = bs,
        .speed = p->speed,
        .flags = p->flags,
    };
    BlockJob *job = block_job_create(&params, errp);
    StreamJob *s;

    if (!job) {
        return false;
    }
    s = container_of(job, StreamJob, common);
    s->attached = tran_new();
    s->copying = tran_new();
    s->bs = block_job_ref(bs, s->attached);
    s->bottom = bottom ? block_job_ref(bottom, s->attached) : NULL;
    s->on_error = p->on_error;
    s->backing_file = g_strdup(p->backing_file);
    if (!attach(s, p, errp)) {
        stream_clean(&job->job);
        job_early_fail(&job->job);
        return false;
    }
    job_start(&job->job);
    return true;
}
