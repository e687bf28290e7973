/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control of a job by users: pause, resume, cancel, complete ... */
#include "qemu/osdep.h"
#include "job-int.h"

void job_pause(Job *job)
{
    job->pause_count++;
    if (!job->paused) {
        job_wake(job); /* ends its sleep, so that it reaches the pause point */
    }
}

void job_resume(Job *job)
{
    g_assert(job->pause_count > 0);
    if (--job->pause_count == 0) {
        job_wake(job);
    }
}

bool job_user_pause(Job *job, Error **errp)
{
    if (!job_apply_verb(job, JOB_VERB_PAUSE, errp)) {
        return false;
    }
    if (job->user_paused) {
        error_setg(errp, "Job is already paused");
        return false;
    }
    job->user_paused = true;
    job_pause(job);
    return true;
}

bool job_user_resume(Job *job, Error **errp)
{
    if (!job->user_paused) {
        error_setg(errp, "Can't resume a job that was not paused");
        return false;
    }
    if (!job_apply_verb(job, JOB_VERB_RESUME, errp)) {
        return false;
    }
    if (job->driver->user_resume) {
        job->driver->user_resume(job);
    }
    job->user_paused = false;
    job_resume(job);
    return true;
}

/* Records the request; a job paused by a user or an error is resumed. */
static void note_cancel(Job *job, bool force)
{
    force = job->driver->cancel ? job->driver->cancel(job, force) : true;
    if (job->user_paused) {
        if (job->driver->user_resume) {
            job->driver->user_resume(job);
        }
        job->user_paused = false;
        g_assert(job->pause_count > 0);
        job->pause_count--;
    }
    if (force || !job->deferred_to_main_loop) {
        job->cancelled = true;
        job->force_cancel |= force;
    }
}

void job_cancel_async(Job *job, bool force)
{
    note_cancel(job, force);
    job_wake(job);
}

static void job_cancel(Job *job, bool force)
{
    job_ref(job);
    job_cancel_async(job, force);
    if (job->force_cancel && (!job->started || job->exited)) {
        job_abort_completed(job);
    }
    job_unref(job);
}

bool job_user_cancel(Job *job, bool force, Error **errp)
{
    if (!job_apply_verb(job, JOB_VERB_CANCEL, errp)) {
        return false;
    }
    job_cancel(job, force);
    return true;
}

bool job_complete(Job *job, Error **errp)
{
    if (!job_apply_verb(job, JOB_VERB_COMPLETE, errp)) {
        return false;
    }
    if (job_cancel_requested(job) || !job->driver->complete) {
        error_setg(errp, "The active block job '%s' cannot be completed",
                   job->id);
        return false;
    }
    return job->driver->complete(job, errp);
}

bool job_finalize(Job *job, Error **errp)
{
    if (!job_apply_verb(job, JOB_VERB_FINALIZE, errp)) {
        return false;
    }
    if (job->txn->finalizing) {
        error_setg(errp, "Job '%s' is being finalized already", job->id);
        return false;
    }
    job_finalize_all(job->txn);
    return true;
}

bool job_dismiss(Job **job, Error **errp)
{
    if (!job_apply_verb(*job, JOB_VERB_DISMISS, errp)) {
        return false;
    }
    job_forget(*job);
    *job = NULL;
    return true;
}

bool job_set_speed(Job *job, int64_t speed, Error **errp)
{
    if (!job_apply_verb(job, JOB_VERB_SET_SPEED, errp)) {
        return false;
    }
    if (speed < 0) {
        error_setg(errp, "Parameter 'speed' expects a non-negative value");
        return false;
    }
    if (!job->driver->set_speed) {
        error_setg(errp, "Job '%s' has no speed", job->id);
        return false;
    }
    job->driver->set_speed(job, speed);
    return true;
}

void job_cancel_sync_all(void)
{
    Job *job;

    aio_wait_begin();
    while ((job = job_next(NULL))) {
        for (; job; job = job_next(job)) {
            if (job->status == JOB_STATUS_CONCLUDED) {
                job_forget(job);
                break; /* the list has changed */
            }
            if (!job->force_cancel &&
                job_verb_allowed(job->status, JOB_VERB_CANCEL)) {
                job->auto_dismiss = true;
                job_cancel(job, true);
                break;
            }
        }
        if (!job) {
            aio_poll(aio_main_context(), true);
        }
    }
    aio_wait_end();
}
