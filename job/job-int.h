/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the files of job/. */
#ifndef JOB_INT_H
#define JOB_INT_H

#include "job/job.h"

/*
 * Jobs that end together.
 *
 *     txn --jobs--> y --> x        newest first
 *
 * None is finalised before the work of all has ended; if one fails, the others
 * are cancelled and all are aborted.
 */
struct JobTxn {
    int refcnt;
    bool aborting; /* one failed: the others are being cancelled */
    bool finalizing; /* by a user, or automatically */
    LIST_HEAD(, Job) jobs;
};

/* state.c: changes the status, as the table must allow, and notifies users. */
void job_set_status(Job *job, JobStatus status);

/* txn.c */
void job_txn_add(JobTxn *txn, Job *job);
void job_txn_remove(Job *job);

/* job.c: removes the job from the list, and drops the list's reference. */
void job_forget(Job *job);

/* steer.c: asks the job to end and wakes it for that. */
void job_cancel_async(Job *job, bool force);

/* job.c: calls settle() in a coroutine; run() has ended. */
void job_start_settling(Job *job);

/* finish.c: handle the end of run(), and of settle(). */
void job_exit_bh(void *opaque);
void job_settled_bh(void *opaque);
/* Completes a cancelled job whose run() has ended, or never began. */
void job_abort_completed(Job *job);
/* Completes a transaction all of whose jobs are pending, now or later. */
void job_finalize_all(JobTxn *txn);

#endif
