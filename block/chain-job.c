/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What commit and stream have in common. */
#include "qemu/osdep.h"
#include "block/chain-jobs.h"
#include "block/graph.h"
#include "qemu/ratelimit.h"

/* Between tries where errors are ignored. */
#define RETRY_NS INT64_C(100000000)

void coroutine_fn chain_job_pace(BlockJob *job, RateLimit *limit,
                                 int64_t bytes)
{
    int64_t ns;

    ratelimit_set_speed(limit, job->speed);
    ns = ratelimit_delay(limit, bytes, aio_now_ns());
    if (ns <= 0) {
        job_pause_point(&job->job);
        co_yield_to_loop();
    }
    while (ns > 0 && !job_is_cancelled(&job->job)) {
        job_sleep_ns(&job->job, ns);
        /* Whoever woke us may have changed the speed, or only paused us. */
        ratelimit_set_speed(limit, job->speed);
        ns = ratelimit_delay(limit, 0, aio_now_ns());
    }
}

bool coroutine_fn chain_job_forgive(BlockJob *job, BlockdevOnError policy,
                                    bool is_read, int ret)
{
    switch (block_job_error_action(job, policy, is_read, -ret)) {
    case BLOCK_ERROR_ACTION_REPORT:
        return false;
    case BLOCK_ERROR_ACTION_IGNORE:
        job_sleep_ns(&job->job, RETRY_NS);
        return true;
    default:
        job_pause_point(&job->job);
        return true;
    }
}

static int rename_drained(BlockDriverState *bs, const char *name,
                          BlockDriverState *base)
{
    g_autofree char *image = NULL;

    if (!base) {
        return bs->drv->change_backing_file(bs, NULL, NULL);
    }
    bdrv_refresh_filename(base);
    image = bdrv_image_filename(base);
    return bs->drv->change_backing_file(
        bs, name ? name : image,
        bdrv_get_format_name(bdrv_skip_filters(base)));
}

int chain_job_rename(BlockDriverState *bs, const char *name,
                     BlockDriverState *base)
{
    bool read_only = bs->read_only;
    int ret;

    if (!bs->drv->change_backing_file) {
        return -ENOTSUP;
    }
    if (read_only && !bdrv_reopen_set_read_only(bs, false, NULL)) {
        return -EACCES;
    }
    bdrv_drained_begin(bs);
    ret = rename_drained(bs, name, base);
    bdrv_drained_end(bs);
    if (read_only) {
        bdrv_reopen_read_only_again(bs);
    }
    return ret;
}

bool chain_job_hold(BlockJob *job, BlockDriverState *top,
                    BlockDriverState *last, uint64_t perm, uint64_t shared,
                    Error **errp)
{
    BlockDriverState *bs = top;

    while (block_job_add_bdrv(job, "intermediate node", bs, perm, shared,
                              errp)) {
        if (bs == last) {
            return true;
        }
        bs = bdrv_filter_or_cow_child(bs)->bs;
    }
    return false;
}
