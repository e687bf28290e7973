/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A job's life: creation, the coroutine around run(), pause points, sleep. */
#include "qemu/osdep.h"
#include "job-int.h"
#include "qemu/cutils.h"

static LIST_HEAD(, Job) jobs = LIST_HEAD_INITIALIZER(jobs);

/* --- names and references --- */

bool job_check_id(const char *id, bool internal, Error **errp)
{
    if (internal) {
        if (id) {
            error_setg(errp, "Cannot specify job ID for internal job");
        }
        return !id;
    }
    if (!id) {
        error_setg(errp, "An explicit job ID is required");
        return false;
    }
    if (!id_wellformed(id)) {
        error_setg(errp, "Invalid job ID '%s'", id);
        return false;
    }
    if (job_get(id)) {
        error_setg(errp, "Job ID '%s' already in use", id);
        return false;
    }
    return true;
}

Job *job_get(const char *id)
{
    Job *job;

    LIST_FOREACH(job, &jobs, list) {
        if (job->id && !strcmp(job->id, id)) {
            return job;
        }
    }
    return NULL;
}

Job *job_next(Job *job)
{
    return job ? LIST_NEXT(job, list) : LIST_FIRST(&jobs);
}

bool job_is_internal(const Job *job)
{
    return !job->id;
}

void job_ref(Job *job)
{
    job->refcnt++;
}

void job_unref(Job *job)
{
    if (--job->refcnt) {
        return;
    }
    g_assert(!job->txn && !job->listed);
    if (job->driver->free) {
        job->driver->free(job);
    }
    aio_timer_free(job->sleep_timer);
    error_free(job->err);
    g_free(job->id);
    g_free(job);
}

static void wake_cb(void *opaque)
{
    job_wake(opaque);
}

Job *job_create(const char *id, const JobDriver *driver, JobTxn *txn,
                AioContext *ctx, int flags, Error **errp)
{
    g_autoptr(JobTxn) own = NULL;
    Job *job;

    if (!job_check_id(id, flags & JOB_INTERNAL, errp)) {
        return NULL;
    }
    g_assert(aio_is_exclusive() && driver->instance_size >= sizeof(Job));
    job = g_malloc0(driver->instance_size);
    job->driver = driver;
    job->id = g_strdup(id);
    job->ctx = ctx;
    job->refcnt = 1;
    job->listed = true;
    job->auto_finalize = !(flags & JOB_MANUAL_FINALIZE);
    job->auto_dismiss = !(flags & JOB_MANUAL_DISMISS);
    job->sleep_timer = aio_timer_new(ctx, AIO_SCOPE_IO, wake_cb, job);
    if (!txn) {
        txn = own = job_txn_new();
    }
    job_txn_add(txn, job);
    LIST_INSERT_HEAD(&jobs, job, list);
    job_set_status(job, JOB_STATUS_CREATED);
    return job;
}

void job_forget(Job *job)
{
    g_assert(job->listed);
    job_txn_remove(job);
    job->listed = false;
    LIST_REMOVE(job, list);
    job_set_status(job, JOB_STATUS_NULL);
    job_unref(job);
}

void job_early_fail(Job *job)
{
    g_assert(job->status == JOB_STATUS_CREATED);
    job_forget(job);
}

/* --- the coroutine --- */

/* The main loop goes on with @ended. */
static void coroutine_fn leave(Job *job, void (*ended)(void *opaque))
{
    job->deferred_to_main_loop = true;
    job->busy = false;
    job->settling = false;
    job->co = NULL;
    job_ref(job);
    aio_bh_oneshot(aio_main_context(), AIO_SCOPE_MAIN, ended, job);
}

static void coroutine_fn job_entry(void *opaque)
{
    Job *job = opaque;

    job_pause_point(job);
    job->ret = job->driver->run(job, &job->err);
    leave(job, job_exit_bh);
}

static void coroutine_fn settle_entry(void *opaque)
{
    Job *job = opaque;

    job->ret = job->driver->settle(job, &job->err);
    leave(job, job_settled_bh);
}

static void enter(Job *job, CoroutineEntry *entry)
{
    job->co = coroutine_create(entry, job);
    job->busy = true;
    co_set_context(job->co, job->ctx);
    co_wake(job->co);
}

void job_start(Job *job)
{
    g_assert(!job->started && job->driver->run);
    job->started = true;
    job_set_status(job, JOB_STATUS_RUNNING);
    enter(job, job_entry);
}

void job_start_settling(Job *job)
{
    g_assert(job->exited && !job->co);
    job->exited = false;
    job->deferred_to_main_loop = false;
    job->settling = true;
    enter(job, settle_entry);
}

void job_set_aio_context(Job *job, AioContext *ctx)
{
    bool pending = aio_timer_pending(job->sleep_timer);

    g_assert(!job->busy || job_is_completed(job));
    aio_timer_free(job->sleep_timer);
    job->ctx = ctx;
    job->sleep_timer = aio_timer_new(ctx, AIO_SCOPE_IO, wake_cb, job);
    if (pending) {
        aio_timer_mod(job->sleep_timer, aio_now_ns()); /* possibly early */
    }
    if (job->co) {
        co_set_context(job->co, ctx);
    }
}

void job_wake(Job *job)
{
    if (!job->started || job->deferred_to_main_loop || job->busy) {
        return;
    }
    if (job->paused && job->pause_count > 0 && !job_is_cancelled(job)) {
        return;
    }
    aio_timer_del(job->sleep_timer);
    job->busy = true;
    co_wake(job->co);
}

/* Yields; @ns < 0: until woken. */
static void coroutine_fn job_do_yield(Job *job, int64_t ns)
{
    g_assert(job->busy && coroutine_self() == job->co);
    if (ns >= 0) {
        aio_timer_mod(job->sleep_timer, aio_now_ns() + ns);
    }
    job->busy = false;
    coroutine_yield();
    g_assert(job->busy);
}

static bool must_pause(const Job *job)
{
    return job->pause_count > 0 && !job_is_cancelled(job);
}

void coroutine_fn job_pause_point(Job *job)
{
    JobStatus status = job->status;

    if (!must_pause(job)) {
        return;
    }
    if (job->driver->pause) {
        job->driver->pause(job);
    }
    if (must_pause(job)) {
        job_set_status(job, status == JOB_STATUS_READY ? JOB_STATUS_STANDBY
                                                       : JOB_STATUS_PAUSED);
        job->paused = true;
        job_do_yield(job, -1);
        job->paused = false;
        job_set_status(job, status);
    }
    if (job->driver->resume) {
        job->driver->resume(job);
    }
}

void coroutine_fn job_sleep_ns(Job *job, int64_t ns)
{
    if (job_is_cancelled(job)) {
        return;
    }
    if (!must_pause(job)) {
        job_do_yield(job, ns);
    }
    job_pause_point(job);
}

void coroutine_fn job_yield(Job *job)
{
    job_sleep_ns(job, -1);
}

bool job_is_cancelled(const Job *job)
{
    return job->force_cancel;
}

bool job_cancel_requested(const Job *job)
{
    return job->cancelled;
}

void job_transition_to_ready(Job *job)
{
    job_set_status(job, JOB_STATUS_READY);
    if (job->id && job_event_hooks.ready) {
        job_event_hooks.ready(job);
    }
}
