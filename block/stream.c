/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream job: copies into an image what its backing files hold.
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
 * What is read meanwhile is copied at once.  Copying changes nothing that can
 * be seen: bitmaps do not notice it.  Where errors are ignored, what cannot be
 * copied is passed over, and the job fails at its end: the backing file stays.
 */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/chain-jobs.h"
#include "block/graph.h"
#include "block/io.h"
#include "qemu/ratelimit.h"

#define STREAM_CHUNK (512 * KiB)

typedef struct StreamJob {
    BlockJob common;
    BlockDriverState *bs;     /* the image, a reference */
    BlockDriverState *bottom; /* a reference, or NULL: nothing to do */
    BlockDriverState *filter; /* a reference, or NULL */
    BlockBackend *blk;        /* on @bs */
    bool frozen;              /* the edges from @bs to @bottom */
    bool read_only;           /* the image was, and will be */
    char *backing_file;
    BlockdevOnError on_error;
    int ignored;              /* -errno: not all was copied, it must fail */
} StreamJob;

static StreamJob *to_stream(Job *job)
{
    return container_of(job, StreamJob, common.job);
}

/* --- running --- */

/* 1: the run at @offset, *@n bytes of it, is to be copied; 0: not; -errno. */
static int coroutine_fn look(const StreamJob *s, int64_t offset, int64_t size,
                             int64_t *n)
{
    int64_t bytes = MIN(size - offset, STREAM_CHUNK);
    int ret = bdrv_is_allocated(s->bs, offset, bytes, n);

    if (ret != 0 || *n == 0) {
        *n = *n ? *n : bytes;
        return MIN(ret, 0);
    }
    bytes = *n;
    ret = bdrv_is_allocated_above(bdrv_cow_child(s->bs)->bs, s->bottom, true,
                                  offset, bytes, n);
    if (*n == 0) {
        /* Past their end: zeroes, which a longer base must not show through. */
        *n = bytes;
        return bdrv_cow_child(s->bottom) != NULL;
    }
    return ret;
}

/*
 * What to do about the run of *@n bytes (0: its length is not known) at
 * @offset, which failed with @ret: 0, and *@n what to pass over (0: it is tried
 * again); else the job fails with what is returned.
 */
static int coroutine_fn on_error(StreamJob *s, int64_t offset, int64_t size,
                                 int64_t *n, int ret)
{
    switch (block_job_error_action(&s->common, s->on_error, true, -ret)) {
    case BLOCK_ERROR_ACTION_REPORT:
        return ret;
    case BLOCK_ERROR_ACTION_IGNORE:
        s->ignored = s->ignored ? s->ignored : ret;
        *n = *n > 0 ? *n : MIN(size - offset, STREAM_CHUNK);
        return 0;
    default:
        job_pause_point(&s->common.job);
        *n = 0;
        return 0;
    }
}

static int coroutine_fn stream_loop(StreamJob *s, int64_t size)
{
    RateLimit limit = {0};
    int ret;

    for (int64_t offset = 0; offset < size;) {
        int64_t n = 0;
        int copy;

        job_pause_point(&s->common.job);
        if (job_is_cancelled(&s->common.job)) {
            return 0;
        }
        ret = copy = look(s, offset, size, &n);
        if (copy > 0) {
            ret = bdrv_co_preadv(blk_root(s->blk), offset, n, NULL, 0,
                                 BDRV_REQ_COPY_ON_READ | BDRV_REQ_PREFETCH);
        }
        if (ret < 0 && job_is_cancelled(&s->common.job)) {
            return 0;
        }
        if (ret < 0) {
            ret = on_error(s, offset, size, &n, ret);
            if (ret < 0) {
                return ret;
            }
            copy = 0;
        }
        offset += n;
        progress_done(&s->common.job.progress, n);
        chain_job_pace(&s->common, &limit, copy > 0 ? n : 0);
    }
    ret = blk_co_flush(s->blk);
    return ret < 0 ? ret : s->ignored;
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
    return stream_loop(s, size);
}

/* --- the end --- */

static void let_go(StreamJob *s)
{
    if (s->frozen) {
        bdrv_unfreeze_chain(s->bs, s->bottom);
        s->frozen = false;
    }
    g_clear_pointer(&s->blk, blk_unref);
}

static int stream_prepare(Job *job)
{
    StreamJob *s = to_stream(job);
    BdrvChild *below;
    BlockDriverState *base;
    int ret;

    let_go(s);
    if (!s->bottom) {
        return 0;
    }
    below = bdrv_cow_child(s->bottom);
    base = below ? below->bs : NULL;
    ret = chain_job_rename(s->bs, s->backing_file, base);
    if (ret == 0 && !bdrv_set_backing(s->bs, base, BDRV_CONTENT_SAME,
                                       NULL)) {
        ret = -EPERM;
    }
    return ret;
}

static void stream_clean(Job *job)
{
    StreamJob *s = to_stream(job);

    let_go(s);
    block_job_remove_all_bdrv(&s->common);
    if (s->filter) {
        bdrv_drop_filter(s->filter, &error_abort);
        bdrv_unref(s->filter);
    }
    if (s->read_only) {
        bdrv_reopen_read_only_again(s->bs);
    }
    bdrv_unref(s->bottom);
    bdrv_unref(s->bs);
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
    .user_resume = block_job_user_resume,
    .prepare = stream_prepare,
    .clean = stream_clean,
    .cancel = block_job_cancel,
    .set_speed = block_job_set_speed,
    .free = stream_free,
};

/* --- creation --- */

static bool insert_filter(StreamJob *s, const char *name, Error **errp)
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

    if (!filter) {
        return false;
    }
    bdrv_set_implicit(filter, !name);
    s->filter = bdrv_ref(filter);
    return true;
}

/*
 * What is copied, and what shows beside it in the same cluster, must not change
 * meanwhile: it would be a mix of two states.
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
    g_autofree char *user = block_job_desc(&s->common);

    if (!s->bottom) {
        return true;
    }
    s->read_only = s->bs->read_only;
    if (s->read_only && !bdrv_reopen_set_read_only(s->bs, false, errp)) {
        s->read_only = false;
        return false;
    }
    if (!insert_filter(s, p->filter_name, errp) ||
        !block_job_add_bdrv(&s->common, "filter", s->filter, 0, BLK_PERM_ALL,
                            errp) ||
        !hold_chain(s, errp)) {
        return false;
    }
    s->blk = blk_new_unqueued(s->bs, BLK_PERM_CONSISTENT_READ |
                              BLK_PERM_WRITE_UNCHANGED, BLK_PERM_ALL, user,
                              errp);
    s->frozen = s->blk && bdrv_freeze_chain(s->bs, s->bottom, errp);
    return s->frozen;
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
    s->bs = bdrv_ref(bs);
    s->bottom = bottom ? bdrv_ref(bottom) : NULL;
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
