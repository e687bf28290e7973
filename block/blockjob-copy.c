/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs that copy: runs of a copier between pauses and errors.
 *
 *     run --> all is copied --> finish() --> the job succeeds
 *      ^ |
 *      | +--> paused ---------> pause point ---+
 *      | +--> something failed > the policy ---+--> the job fails
 *      |                                       |
 *      +---------------------------------------+
 *
 * Pausing ends the run, resuming begins another: a run is never suspended.
 */
#include "qemu/osdep.h"
#include "block/copier.h"
#include "block/blockjob.h"
#include "block/graph.h"
#include "qemu/aio.h"

/* Pause before a retry if errors are ignored. */
#define RETRY_NS INT64_C(100000000)

static void wake_job(void *opaque)
{
    job_wake(opaque);
}

void block_job_stop_copying(BlockJob *job)
{
    if (job->copier) {
        copy_pacer_cancel(job->copier->pacer);
    }
}

void coroutine_fn block_job_pause(Job *j)
{
    BlockJob *job = container_of(j, BlockJob, job);

    block_job_stop_copying(job);
    if (job->copier) {
        copier_wait(job->copier);
    }
}

/* 0, -errno or, where it was paused, -EAGAIN. */
static int coroutine_fn run_once(BlockJob *job, const BlockJobCopy *copy)
{
    Copier *c = copy->copier;
    Job *j = &job->job;

    copy_pacer_reset(c->pacer);
    ratelimit_set_speed(c->pacer->limit, job->speed);
    job->copier = c;
    copier_start(c, wake_job, j);
    while (c->running && !job_is_cancelled(j)) {
        job_yield(j);
    }
    block_job_pause(j);
    job->copier = NULL;
    return c->error.ret == 0 && copier_was_cancelled(c) ? -EAGAIN
                                                         : c->error.ret;
}

bool coroutine_fn block_job_forgive(BlockJob *job, BlockdevOnError policy,
                                    const BlockCopyError *error)
{
    switch (block_job_error_action(job, policy, error)) {
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

/*
 * After an ignored error: ranges of a bitmap that failed stay to be copied, but
 * later ones come first, so that a permanent error does not delay them.
 */
static void go_on_after(CopyWalker *w, const BlockCopyError *error)
{
    if (w->left) {
        int64_t next = error->offset + error->bytes;

        w->start = next < w->end ? next : 0;
    }
}

/* False: the job fails with the error. */
static bool coroutine_fn forgive(BlockJob *job, BlockJobCopy *copy)
{
    const BlockCopyError *error = &copy->copier->error;
    BlockdevOnError policy = error->is_read ? copy->on_source_error
                                            : copy->on_target_error;
    bool ignore = policy == BLOCKDEV_ON_ERROR_IGNORE;

    if (ignore && copy->pass_over) {
        block_job_error_action(job, policy, error);
        copy->ignored = copy->ignored ? copy->ignored : error->ret;
        copy_walker_pass(copy->copier->walker, error->offset, error->bytes);
        progress_done(&job->job.progress, error->bytes);
        return true;
    }
    if (ignore) {
        go_on_after(copy->copier->walker, error);
    }
    return block_job_forgive(job, policy, error);
}

static bool coroutine_fn has_lost(BlockJob *job, const BlockJobCopy *copy,
                                  Error **errp)
{
    BlockCopyError error = {.ret = -EIO};

    if (!copy->target || job_is_cancelled(&job->job) ||
        !block_job_has_lost(copy->target, copy->lost_base, errp)) {
        return false;
    }
    block_job_error_action(job, BLOCKDEV_ON_ERROR_REPORT, &error);
    return true;
}

/* Waits until the speed allows more, although all is copied. */
static void coroutine_fn pay_last(BlockJob *job, RateLimit *limit)
{
    int64_t ns = ratelimit_delay(limit, 0, aio_now_ns());

    while (ns > 0 && !job_is_cancelled(&job->job)) {
        job_sleep_ns(&job->job, ns);
        /* The speed may have changed, or the job was only paused. */
        ratelimit_set_speed(limit, job->speed);
        ns = ratelimit_delay(limit, 0, aio_now_ns());
    }
}

int coroutine_fn block_job_copy(BlockJob *job, BlockJobCopy *copy,
                                Error **errp)
{
    CopyWalker *w = copy->copier->walker;
    Job *j = &job->job;

    for (;;) {
        int ret;

        job_pause_point(j);
        if (job_is_cancelled(j) || (copy->broken && copy->broken(job))) {
            return 0;
        }
        ret = run_once(job, copy);
        if (copy->broken && copy->broken(job)) {
            return 0; /* regardless of other errors */
        }
        if (has_lost(job, copy, errp)) {
            return -EIO;
        }
        if (ret == 0 && w->left && w->start > 0) {
            w->start = 0; /* retry ranges whose errors were ignored */
        } else if (ret == 0) {
            if (copy->pay_last) {
                pay_last(job, copy->copier->pacer->limit);
            }
            ret = copy->finish(job, errp);
            if (ret != -EAGAIN) {
                return ret < 0 ? ret : copy->ignored;
            }
        } else if (ret != -EAGAIN && !job_is_cancelled(j) &&
                   !forgive(job, copy)) {
            if (copy->describe) {
                copy->describe(job, &copy->copier->error, errp);
            }
            return ret;
        }
    }
}
