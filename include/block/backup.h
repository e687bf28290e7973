/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup job: a copy of a node as it was when the job was created.
 *
 *        guest                  guest
 *          |                      |
 *        source     ------>      cbw -----> target
 *                                 |
 *                               source
 */
#ifndef BLOCK_BACKUP_H
#define BLOCK_BACKUP_H

#include "block/blockjob.h"
#include "qapi/qapi-types-block-job.h"

/*
 * Checks, before a file is created as the target, whether it could be one;
 * errors that backup_job_create() finds are left to it.
 */
bool backup_job_check_new_target(BlockDriverState *source,
                                 const BackupCommon *opts, Error **errp);
/*
 * Creates a backup job from @source to @target with the options @opts (its node
 * names are ignored), to be started by job_start() or undone by cancelling it.
 * The point in time is this call: @source must be drained from before it until
 * the job was started.  @txn NULL: alone.  NULL with @errp, nothing changed.
 */
Job *backup_job_create(BlockDriverState *source, BlockDriverState *target,
                       const BackupCommon *opts, JobTxn *txn, Error **errp);

#endif
