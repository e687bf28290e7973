/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror job, and the commit of an active image, which is a mirror to a
 * node below it: what the job does until its end.
 *
 *     fill --> copy --> nothing left: flush, READY --> wait <-----+
 *                ^                                      |  |      |
 *                +------------- bits were set ----------+  |      |
 *                                                          v
 *                              complete, or cancelled when ready: the end
 *
 * Writes that come after the end of run() and before prepare() go to both
 * nodes, so that a user who lets the job wait in PENDING does not delay the
 * guest, and little is left to copy then.  Before prepare(), settle() waits
 * once more for the target.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/mirror-job.h"
#include "qapi/qapi-types-block-job.h"

/*
 * When ready, writes of this time are collected before they are copied, so that
 * an area that is written often is not copied each time.
 */
#define COLLECT_NS INT64_C(100000000)

/* --- modes --- */

/* Must the job end as soon as nothing is left? */
static bool must_end(const MirrorJob *s)
{
    return s->should_complete || job_cancel_requested(&s->common.job);
}

static MirrorMode wanted_mode(const MirrorJob *s)
{
    return s->copy_mode == MIRROR_COPY_MODE_WRITE_BLOCKING || s->ending
        ? MIRROR_ACTIVE : MIRROR_RECORD;
}

/* A job that a user, or an error, has paused uses its target no more. */
static void coroutine_fn mirror_pause(Job *job)
{
    MirrorJob *s = to_mirror(job);

    if (job->user_paused) {
        mirror_set_mode(s->m, MIRROR_RECORD);
    }
    block_job_pause(job);
}

static void coroutine_fn mirror_resume(Job *job)
{
    MirrorJob *s = to_mirror(job);

    if (!job_is_cancelled(job)) {
        mirror_set_mode(s->m, wanted_mode(s));
    }
}

bool mirror_job_change(BlockJob *job, MirrorCopyMode mode, Error **errp)
{
    MirrorJob *s = to_mirror(&job->job);

    if (!job_apply_verb(&job->job, JOB_VERB_CHANGE, errp)) {
        return false;
    }
    if (mode == s->copy_mode) {
        return true;
    }
    if (mode != MIRROR_COPY_MODE_WRITE_BLOCKING) {
        error_setg(errp, "Change to copy mode '%s' is not possible: only from "
                   "'%s' to '%s'", MirrorCopyMode_str(mode),
                   MirrorCopyMode_str(MIRROR_COPY_MODE_BACKGROUND),
                   MirrorCopyMode_str(MIRROR_COPY_MODE_WRITE_BLOCKING));
        return false;
    }
    s->copy_mode = mode;
    if (!job->job.user_paused) {
        mirror_set_mode(s->m, MIRROR_ACTIVE);
    }
    return true;
}

/* --- running --- */

/* False: the job is cancelled. */
static bool coroutine_fn may_go_on(void *opaque)
{
    Job *job = opaque;

    job_pause_point(job);
    return !job_is_cancelled(job);
}

/* Determines what of the disk is to be copied at first.  0 (also if the job is
 * cancelled), or -errno with @errp. */
static int coroutine_fn fill(MirrorJob *s, Error **errp)
{
    BlockCopyError error;
    int ret;

    if (!s->allocated_only) {
        s->found = true; /* since the start */
        return 0;
    }
    do {
        ret = mirror_fill_allocated(s->m, s->sync == MIRROR_SYNC_MODE_TOP,
                                    may_go_on, &s->common.job, &error);
        if (ret < 0 && s->sync == MIRROR_SYNC_MODE_FULL) {
            mirror_mark(s->m, 0, s->m->len); /* reading will tell */
            ret = 0;
        }
    } while (ret < 0 && !job_is_cancelled(&s->common.job) &&
             block_job_forgive(&s->common, s->on_source_error, &error));
    if (job_is_cancelled(&s->common.job)) {
        return 0;
    }
    s->found = ret == 0;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Querying the block status of node '%s' "
                         "failed at offset %" PRId64, s->source->node_name,
                         error.offset);
    }
    return ret;
}

/*
 * False: the job fails with *@ret and @errp.  If an earlier flush had failed,
 * or writes were lost, what was not flushed then is left to copy again: when
 * this one has succeeded, since many nodes that failed once fail for ever.
 */
static bool coroutine_fn flush_target(MirrorJob *s, int *ret, Error **errp)
{
    BlockCopyError error = {0};
    BlockdevOnError policy;

    job_bitmap_before_flush(&s->bitmap);
    error.ret = *ret = mirror_flush(s->m);
    policy = s->m->durable.broken ? BLOCKDEV_ON_ERROR_REPORT
                                  : s->on_target_error;
    if (error.ret < 0 && !block_job_forgive(&s->common, policy, &error)) {
        mirror_describe(s, &error, errp);
        return false;
    }
    if (error.ret == 0) {
        mirror_copy_again(s->m);
    }
    return true;
}

/*
 * Before the end, nothing is left: from now on writes go to both nodes, so that
 * it stays so.  The main thread will wait for writes in flight and for a flush,
 * so the same is done here first: a target that does not answer blocks only the
 * job, which can be cancelled.
 */
static int coroutine_fn before_end(MirrorJob *s, Error **errp)
{
    int ret;

    s->ending = true;
    mirror_set_mode(s->m, MIRROR_ACTIVE);
    mirror_wait_writes(s->m);
    if (!flush_target(s, &ret, errp)) {
        return ret;
    }
    return ret < 0 || mirror_left(s->m) ||
           job_is_cancelled(&s->common.job) ? -EAGAIN : 0;
}

static bool has_checkpoints(const MirrorJob *s)
{
    return s->found && job_bitmap_has_checkpoints(&s->bitmap) &&
           bdrv_dirty_bitmap_recording(s->bitmap.bitmap);
}

static uint64_t copied_bytes(const MirrorJob *s)
{
    uint64_t copied, total;

    progress_get(&s->common.job.progress, &copied, &total);
    return copied;
}

/* The target has just been flushed. */
static void coroutine_fn take_checkpoint(MirrorJob *s)
{
    g_autoptr(HBitmap) left = has_checkpoints(s) ? mirror_may_differ(s->m)
                                                 : NULL;

    if (left) {
        s->checkpoint_changes = s->m->changes;
        job_bitmap_checkpoint_mirror(&s->bitmap, left, copied_bytes(s));
    }
}

/* MirrorState.checkpoint: a flush while data is copied. */
static void coroutine_fn flush_and_note(void *opaque)
{
    MirrorJob *s = opaque;

    job_bitmap_before_flush(&s->bitmap);
    if (mirror_flush(s->m) == 0 && !s->m->durable.failed &&
        job_bitmap_checkpoint_due(&s->bitmap, copied_bytes(s))) {
        take_checkpoint(s);
    }
}

/* Nothing is left: waits until there is something to do, or to note. */
static void coroutine_fn wait_idle(MirrorJob *s)
{
    Job *j = &s->common.job;

    s->waiting = true;
    if (has_checkpoints(s)) {
        job_sleep_ns(j, s->bitmap.interval_ns);
    } else {
        job_yield(j);
    }
    s->waiting = false;
    if (!job_is_cancelled(j) && s->checkpoint_changes != s->m->changes) {
        mirror_flush_sometimes(s->m);
    }
}

/*
 * BlockJobCopy.finish: nothing is left.  0: the job ends; -EAGAIN: there may be
 * more to copy.
 */
static int coroutine_fn idle(BlockJob *job, Error **errp)
{
    MirrorJob *s = to_mirror(&job->job);
    Job *j = &job->job;
    int ret;

    if (!job_is_ready(j)) {
        if (!flush_target(s, &ret, errp)) {
            return ret;
        }
        if (ret < 0 || mirror_left(s->m) || job_is_cancelled(j)) {
            return -EAGAIN;
        }
        take_checkpoint(s);
        job_transition_to_ready(j);
    }
    while (!job_is_cancelled(j) && mirror_left(s->m) == 0) {
        if (must_end(s)) {
            return before_end(s, errp);
        }
        wait_idle(s);
    }
    if (!must_end(s)) {
        job_sleep_ns(j, COLLECT_NS);
    }
    return -EAGAIN;
}

/* MirrorState.wake: bits were set. */
static void wake_up(void *opaque)
{
    MirrorJob *s = opaque;

    if (s->waiting) {
        job_wake(&s->common.job);
    }
}

void mirror_describe(const MirrorJob *s, const BlockCopyError *error,
                     Error **errp)
{
    if (s->m->durable.broken && block_job_has_lost(s->target, 0, errp)) {
        return;
    }
    if (!error->bytes) {
        error_setg_errno(errp, -error->ret, "Flushing node '%s' failed",
                         s->target->node_name);
        return;
    }
    error_setg_errno(errp, -error->ret, "%s node '%s' failed at offset "
                     "%" PRId64, error->is_read ? "Reading from"
                                                : "Writing to",
                     (error->is_read ? s->source : s->target)->node_name,
                     error->offset);
}

static void describe(BlockJob *job, const BlockCopyError *error, Error **errp)
{
    mirror_describe(to_mirror(&job->job), error, errp);
}

static void cancel_target(void *opaque)
{
    MirrorJob *s = opaque;

    bdrv_cancel_in_flight(s->target, NULL);
}

/*
 * The job fails, or is cancelled.  The main thread will wait for the guest's
 * writes in flight, so these end here: they do not need the target any more,
 * which may not answer.  What was copied is made durable, if possible.
 */
static void coroutine_fn give_up(MirrorJob *s)
{
    mirror_set_mode(s->m, MIRROR_RECORD);
    if (!LIST_EMPTY(&s->m->writes.reqs)) {
        bdrv_run_outside(cancel_target, s);
        mirror_wait_writes(s->m);
    }
    if (s->bitmap.bitmap && s->bitmap.mode == BITMAP_SYNC_MODE_ALWAYS &&
        s->found) {
        /* Active writes in flight set their bits again, as the mode changed. */
        job_bitmap_before_flush(&s->bitmap);
        mirror_flush(s->m);
        s->flushed = true;
    }
}

static int coroutine_fn mirror_run(Job *job, Error **errp)
{
    MirrorJob *s = to_mirror(job);
    BlockJobCopy copy = {
        .copier = &s->m->copier,
        .on_source_error = s->on_source_error,
        .on_target_error = s->on_target_error,
        /* Raw bytes are copied again. */
        .target = bdrv_next_child(s->target, NULL) ? s->target : NULL,
        .finish = idle,
        .describe = describe,
    };
    int ret;

    s->m->wake = wake_up;
    s->m->checkpoint = flush_and_note;
    s->m->opaque = s;
    ret = fill(s, errp);
    if (ret == 0) {
        ret = block_job_copy(&s->common, &copy, errp);
    }
    s->m->wake = NULL;
    s->m->checkpoint = NULL;
    if (ret < 0 || job_is_cancelled(job)) {
        give_up(s);
    }
    return ret;
}

/*
 * The guest has written while the job was pending, and its writes, with what of
 * them failed, and their flush may have to wait for the target.
 */
static int coroutine_fn mirror_settle(Job *job, Error **errp)
{
    MirrorJob *s = to_mirror(job);
    BlockCopyError error = {0};

    mirror_wait_writes(s->m);
    if (!job_is_cancelled(job)) {
        s->common.copier = &s->m->copier; /* for block_job_cancel() */
        mirror_copy_rest_of_now(s->m, &error);
        s->common.copier = NULL;
    }
    if (error.ret < 0) {
        mirror_describe(s, &error, errp);
    }
    if (error.ret < 0 || job_is_cancelled(job)) {
        give_up(s);
    }
    return error.ret;
}

/* --- control --- */

/* Cancelling a job that is ready completes it, but the source stays in use. */
static bool mirror_cancel(Job *job, bool force)
{
    MirrorJob *s = to_mirror(job);

    if (!force && job_is_ready(job)) {
        return false;
    }
    mirror_set_mode(s->m, MIRROR_RECORD);
    block_job_abandon(&s->common, s->target);
    if (job->settling) {
        block_job_stop_copying(&s->common); /* there is nobody to wake */
    }
    return block_job_cancel(job, force);
}

static void mirror_free(Job *job)
{
    g_free(to_mirror(job)->replaces);
    block_job_free(job);
}

void mirror_query(const BlockJob *job, BlockJobInfo *info)
{
    MirrorJob *s = container_of(job, MirrorJob, common);
    MirrorState *m = s->m;

    if (!s->attached || m->mode == MIRROR_OFF) {
        return;
    }
    info->u.mirror.actively_synced = job_is_ready(&job->job) &&
                                     mirror_is_synced(m);
    info->u.mirror.dirty_bytes = mirror_left(m);
    info->u.mirror.guest_write_rate = mirror_rate(&m->written);
    info->u.mirror.dirty_rate = mirror_rate(&m->dirtied);
    info->u.mirror.copy_rate = mirror_rate(&m->copied);
}

#define MIRROR_CALLBACKS \
    .instance_size = sizeof(MirrorJob), .kind = JOB_KIND_BLOCK, \
    .run = mirror_run, .settle = mirror_settle, \
    .pause = mirror_pause, .resume = mirror_resume, \
    .user_resume = block_job_user_resume, .complete = mirror_complete, \
    .prepare = mirror_prepare, .commit = mirror_commit, \
    .abort = mirror_abort, .clean = mirror_clean, .cancel = mirror_cancel, \
    .set_speed = block_job_set_speed, .free = mirror_free

const JobDriver mirror_job_driver = {
    .type = JOB_TYPE_MIRROR,
    MIRROR_CALLBACKS,
};

const JobDriver active_commit_job_driver = {
    .type = JOB_TYPE_COMMIT,
    MIRROR_CALLBACKS,
};
