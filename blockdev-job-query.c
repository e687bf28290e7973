/* SPDX-License-Identifier: GPL-2.0-or-later */
/* job-*, block-job-* and the queries of jobs. */
#include "qemu/osdep.h"

#include "block/blockjob.h"
#include "job/job.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-job.h"

static Job *find_job(const char *id, Error **errp)
{
    Job *job = job_get(id);

    if (!job) {
        error_setg(errp, "Job not found");
    }
    return job;
}

/* --- job-* --- */

JobInfoList *qmp_query_jobs(Error **errp)
{
    return job_query_all();
}

bool qmp_job_pause(JobPauseArg *arg, Error **errp)
{
    Job *job = find_job(arg->id, errp);

    return job && job_user_pause(job, errp);
}

bool qmp_job_resume(JobResumeArg *arg, Error **errp)
{
    Job *job = find_job(arg->id, errp);

    return job && job_user_resume(job, errp);
}

bool qmp_job_cancel(JobCancelArg *arg, Error **errp)
{
    Job *job = find_job(arg->id, errp);

    return job && job_user_cancel(job, true, errp);
}

bool qmp_job_complete(JobCompleteArg *arg, Error **errp)
{
    Job *job = find_job(arg->id, errp);

    return job && job_complete(job, errp);
}

bool qmp_job_dismiss(JobDismissArg *arg, Error **errp)
{
    Job *job = find_job(arg->id, errp);

    return job && job_dismiss(&job, errp);
}

bool qmp_job_finalize(JobFinalizeArg *arg, Error **errp)
{
    Job *job = find_job(arg->id, errp);

    return job && job_finalize(job, errp);
}

/* --- block-job-* --- */

BlockJobInfoList *qmp_query_block_jobs(Error **errp)
{
    return block_job_query_all();
}

bool qmp_block_job_set_speed(BlockJobSetSpeedArg *arg, Error **errp)
{
    BlockJob *job = block_job_find(arg->device, errp);

    return job && job_set_speed(&job->job, arg->speed, errp);
}

bool qmp_block_job_cancel(BlockJobCancelArg *arg, Error **errp)
{
    BlockJob *job = block_job_find(arg->device, errp);

    if (!job) {
        return false;
    }
    if (job->job.user_paused && !arg->force) {
        error_setg(errp, "The block job for device '%s' is currently paused",
                   arg->device);
        return false;
    }
    return job_user_cancel(&job->job, arg->force, errp);
}

bool qmp_block_job_pause(BlockJobPauseArg *arg, Error **errp)
{
    BlockJob *job = block_job_find(arg->device, errp);

    return job && job_user_pause(&job->job, errp);
}

bool qmp_block_job_resume(BlockJobResumeArg *arg, Error **errp)
{
    BlockJob *job = block_job_find(arg->device, errp);

    return job && job_user_resume(&job->job, errp);
}

bool qmp_block_job_complete(BlockJobCompleteArg *arg, Error **errp)
{
    BlockJob *job = block_job_find(arg->device, errp);

    return job && job_complete(&job->job, errp);
}

bool qmp_block_job_dismiss(BlockJobDismissArg *arg, Error **errp)
{
    BlockJob *block_job = block_job_find(arg->id, errp);
    Job *job;

    if (!block_job) {
        return false;
    }
    job = &block_job->job;
    return job_dismiss(&job, errp);
}

bool qmp_block_job_finalize(BlockJobFinalizeArg *arg, Error **errp)
{
    BlockJob *job = block_job_find(arg->id, errp);

    return job && job_finalize(&job->job, errp);
}
