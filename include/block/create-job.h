/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Image creation as a job. */
#ifndef BLOCK_CREATE_JOB_H
#define BLOCK_CREATE_JOB_H

#include "job/job.h"

typedef struct BlockdevCreateOptions BlockdevCreateOptions;

/*
 * Starts a job that creates the image that @options (copied) describe; the job
 * stays until it is dismissed.  False: @job_id is taken or ill-formed.
 */
bool create_job_start(const char *job_id, const BlockdevCreateOptions *options,
                      Error **errp);

#endif
