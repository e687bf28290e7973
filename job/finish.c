/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of jobs.  Everything here runs in the main loop, outside coroutines.
 *
 *     run() ends -> exit_bh --ok--> waiting --all of the transaction--> pending
 *                      |               --(finalize)--> settle --> prepare
 *                      |                                      ok |    | fails
 *                      +--failed--> aborting;  the others   commit    |
 *                                   are cancelled;             |      |
 *                                   when all are over: abort <-+------+
 *                                                              clean
 */
#include "qemu/osdep.h"
#include "job-int.h"

static void note_result(Job *job)
{
    if (!job->ret && job_is_cancelled(job)) {
        job->ret = -ECANCELED;
    }
    if (!job->ret) {
        return;
    }
    if (!job->err) {
        error_setg(&job->err, "%s", strerror(-job->ret));
    }
    if (job->status != JOB_STATUS_ABORTING) {
        job_set_status(job, JOB_STATUS_ABORTING);
    }
}

static void conclude(Job *job)
{
    bool dismiss = job->auto_dismiss || !job->started;

    if (job->status != JOB_STATUS_CREATED) {
        job_set_status(job, JOB_STATUS_CONCLUDED);
    }
    if (dismiss) {
        job_forget(job);
    }
}

static void finalize_single(Job *job)
{
    const JobDriver *drv = job->driver;
    void (*hook)(Job *);

    note_result(job);
    job->finalized = true;
    if (!job->ret && drv->commit) {
        drv->commit(job);
    } else if (job->ret && drv->abort) {
        drv->abort(job);
    }
    if (drv->clean) {
        drv->clean(job);
    }
    if (job->ended) {
        job->ended(job->ended_opaque, job->ret);
    }
    job_txn_remove(job);
    hook = job_is_cancelled(job) ? job_event_hooks.cancelled
                                 : job_event_hooks.completed;
    if (job->started && job->id && hook) {
        hook(job);
    }
    conclude(job);
}

static bool all_over(JobTxn *txn)
{
    Job *job;

    LIST_FOREACH(job, &txn->jobs, txn_list) {
        if (job->started && !job->exited) {
            return false;
        }
    }
    return true;
}

/* @first (may be NULL) is the job that failed; it is aborted first. */
static void finalize_txn(JobTxn *txn, Job *first)
{
    Job *job;

    txn->refcnt++;
    if (first) {
        finalize_single(first);
    }
    while ((job = LIST_FIRST(&txn->jobs))) {
        finalize_single(job);
    }
    job_txn_unref(txn);
}

/* The first job with an error; NULL: none. */
static Job *failed_job(JobTxn *txn)
{
    Job *job;

    LIST_FOREACH(job, &txn->jobs, txn_list) {
        if (job->status == JOB_STATUS_ABORTING) {
            return job;
        }
    }
    return NULL;
}

/* @job failed: all others fail, too, when their work has ended. */
static void abort_txn(Job *job)
{
    JobTxn *txn = job->txn;
    Job *other;

    if (!txn->aborting) {
        txn->aborting = true;
        note_result(job);
        LIST_FOREACH(other, &txn->jobs, txn_list) {
            if (other != job) {
                job_cancel_async(other, true);
            }
        }
    }
    if (all_over(txn)) {
        finalize_txn(txn, failed_job(txn));
    }
}

void job_abort_completed(Job *job)
{
    if (!job->finalized) {
        abort_txn(job);
    }
}

static void prepare_all(JobTxn *txn)
{
    Job *job;

    LIST_FOREACH(job, &txn->jobs, txn_list) {
        if (job->driver->prepare) {
            job->ret = job->driver->prepare(job);
        }
        if (job->ret) {
            abort_txn(job);
            return;
        }
    }
    finalize_txn(txn, NULL);
}

void job_finalize_all(JobTxn *txn)
{
    bool settling = false;
    Job *job;

    txn->finalizing = true;
    LIST_FOREACH(job, &txn->jobs, txn_list) {
        if (job->driver->settle) {
            job_start_settling(job);
            settling = true;
        }
    }
    if (!settling) {
        prepare_all(txn);
    }
}

void job_settled_bh(void *opaque)
{
    Job *job = opaque;
    JobTxn *txn = job->txn;

    job->exited = true;
    if (txn->aborting || job->ret || job_is_cancelled(job)) {
        abort_txn(job);
    } else if (all_over(txn)) {
        prepare_all(txn);
    }
    job_unref(job);
}

static void all_pending(JobTxn *txn)
{
    bool manual = false;
    Job *job;

    LIST_FOREACH(job, &txn->jobs, txn_list) {
        job_set_status(job, JOB_STATUS_PENDING);
        if (!job->auto_finalize) {
            manual = true;
            if (job->id && job_event_hooks.pending) {
                job_event_hooks.pending(job);
            }
        }
    }
    if (!manual) {
        job_finalize_all(txn);
    }
}

void job_exit_bh(void *opaque)
{
    Job *job = opaque;
    JobTxn *txn = job->txn;

    job->exited = true;
    if (txn->aborting || job->ret || job_is_cancelled(job)) {
        abort_txn(job);
    } else {
        job_set_status(job, JOB_STATUS_WAITING);
        if (all_over(txn)) {
            all_pending(txn);
        }
    }
    job_unref(job);
}
