/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs as shown by QMP. */
#include "qemu/osdep.h"
#include "job-int.h"

static JobInfo *job_info(const Job *job)
{
    JobInfo *info = g_new0(JobInfo, 1);
    uint64_t current, total;

    progress_get(&job->progress, &current, &total);
    info->id = g_strdup(job->id);
    info->type = job->driver->type;
    info->status = job->status;
    info->current_progress = current;
    info->total_progress = total;
    info->error = job->err ? g_strdup(error_get_pretty(job->err)) : NULL;
    return info;
}

JobInfoList *job_query_all(void)
{
    JobInfoList *head = NULL, **tail = &head;
    Job *job = NULL;

    while ((job = job_next(job))) {
        if (!job_is_internal(job)) {
            QAPI_LIST_APPEND(tail, job_info(job));
        }
    }
    return head;
}
