/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-create: image creation as a job. */
#include "qemu/osdep.h"
#include "block/create-job.h"
#include "block/graph.h"
#include "qapi/qapi-types-block-image.h"

typedef struct CreateJob {
    Job job;
    BlockdevCreateOptions *options;
} CreateJob;

static int coroutine_fn create_job_run(Job *job, Error **errp)
{
    CreateJob *s = container_of(job, CreateJob, job);
    int ret;

    progress_set_remaining(&job->progress, 1);
    ret = bdrv_create(s->options, errp);
    progress_done(&job->progress, 1);
    return ret;
}

static void create_job_free(Job *job)
{
    CreateJob *s = container_of(job, CreateJob, job);

    qapi_free_BlockdevCreateOptions(s->options);
}

static const JobDriver create_job_driver = {
    .instance_size = sizeof(CreateJob),
    .type = JOB_TYPE_CREATE,
    .run = create_job_run,
    .free = create_job_free,
};

bool create_job_start(const char *job_id, const BlockdevCreateOptions *options,
                      Error **errp)
{
    const char *driver = BlockdevDriver_str(options->driver);
    const BlockDriver *drv = bdrv_find_driver(options->driver);
    Job *job;

    if (!drv) {
        error_setg(errp, "Block driver '%s' not found or not supported",
                   driver);
        return false;
    }
    if (!drv->co_create) {
        error_setg(errp, "Driver does not support blockdev-create");
        return false;
    }
    job = job_create(job_id, &create_job_driver, NULL, aio_main_context(),
                     JOB_MANUAL_DISMISS, errp);
    if (!job) {
        return false;
    }
    container_of(job, CreateJob, job)->options =
        qapi_clone_BlockdevCreateOptions(options);
    job_start(job);
    return true;
}
