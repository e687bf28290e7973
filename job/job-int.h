/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of job/ share among themselves. */
#ifndef JOB_INT_H
#define JOB_INT_H

#include "job/job.h"

/*
 * Jobs that end together.
 *
 *     txn --jobs--> y --> x        newest first
 *
 * None is made final before the work of all is over; if one fails, the others
 * are cancelled and all are aborted.
 */
struct JobTxn {
    int refcnt;
    bool aborting; /* one failed: the rest is being cancelled */
    LIST_HEAD(, Job) jobs;
};

/* state.c: changes the status, which the table must allow, and tells users. */
void job_set_status(Job *job, JobStatus status);

/* txn.c */
void job_txn_add(JobTxn *txn, Job *job);
void job_txn_remove(Job *job);

/* job.c: off the list, and drops the list's reference. */
void job_forget(Job *job);

/* steer.c: asks the job to end and lets it run there. */
void job_cancel_async(Job *job, bool force);

/* finish.c: what follows the end of run(). */
void job_exit_bh(void *opaque);
/* Of a job cancelled whose run() is over, or never began. */
void job_abort_completed(Job *job);
/* Of a transaction all of whose jobs are pending. */
void job_finalize_all(JobTxn *txn);

#endif
