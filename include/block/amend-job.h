/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the format options of an open image as a job. */
#ifndef BLOCK_AMEND_JOB_H
#define BLOCK_AMEND_JOB_H

#include "block/types.h"
#include "job/job.h"

typedef struct BlockdevAmendOptions BlockdevAmendOptions;

/*
 * Starts a job that changes @bs as @options (copied) say; other requests of the
 * node wait meanwhile, but for a change of keys.  @force: even if the content
 * becomes unreadable.  The job stays until it is dismissed.  False: @job_id is
 * taken or ill-formed, or the driver of @bs is another one or changes nothing.
 */
bool amend_job_start(const char *job_id, BlockDriverState *bs,
                     const BlockdevAmendOptions *options, bool force,
                     Error **errp);

#endif
