/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reaction of a job to a failed request. */
#include "qemu/osdep.h"
#include "block/blockjob.h"

void (*block_job_error_hook)(BlockJob *job, bool is_read,
                             BlockErrorAction action, int64_t offset,
                             int64_t bytes);

static BlockErrorAction policy_action(BlockdevOnError policy, int error)
{
    switch (policy) {
    case BLOCKDEV_ON_ERROR_ENOSPC:
        return error == ENOSPC ? BLOCK_ERROR_ACTION_STOP
                               : BLOCK_ERROR_ACTION_REPORT;
    case BLOCKDEV_ON_ERROR_STOP:
        return BLOCK_ERROR_ACTION_STOP;
    case BLOCKDEV_ON_ERROR_IGNORE:
        return BLOCK_ERROR_ACTION_IGNORE;
    default: /* report; auto: a job has no device to follow */
        return BLOCK_ERROR_ACTION_REPORT;
    }
}

BlockErrorAction block_job_error_action(BlockJob *job, BlockdevOnError policy,
                                        const BlockCopyError *failed)
{
    int error = -failed->ret;
    BlockErrorAction action = policy_action(policy, error);

    if (!job_is_internal(&job->job) && block_job_error_hook) {
        block_job_error_hook(job, failed->is_read, action, failed->offset,
                             failed->bytes);
    }
    if (action == BLOCK_ERROR_ACTION_STOP) {
        if (!job->job.user_paused) {
            /* The job stays paused until a user resumes it. */
            job->job.user_paused = true;
            job_pause(&job->job);
        }
        if (job->iostatus == BLOCK_DEVICE_IO_STATUS_OK) {
            job->iostatus = error == ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE
                                            : BLOCK_DEVICE_IO_STATUS_FAILED;
        }
    }
    return action;
}

void block_job_user_resume(Job *j)
{
    container_of(j, BlockJob, job)->iostatus = BLOCK_DEVICE_IO_STATUS_OK;
}
