/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Groups of jobs. */
#include "qemu/osdep.h"
#include "job-int.h"

JobTxn *job_txn_new(void)
{
    JobTxn *txn = g_new0(JobTxn, 1);

    txn->refcnt = 1;
    LIST_INIT(&txn->jobs);
    return txn;
}

void job_txn_unref(JobTxn *txn)
{
    if (txn && --txn->refcnt == 0) {
        g_assert(LIST_EMPTY(&txn->jobs));
        g_free(txn);
    }
}

void job_txn_add(JobTxn *txn, Job *job)
{
    g_assert(!job->txn);
    job->txn = txn;
    txn->refcnt++;
    LIST_INSERT_HEAD(&txn->jobs, job, txn_list);
}

void job_txn_remove(Job *job)
{
    JobTxn *txn = job->txn;

    if (txn) {
        LIST_REMOVE(job, txn_list);
        job->txn = NULL;
        job_txn_unref(txn);
    }
}
