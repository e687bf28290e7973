/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs that work on nodes: they hold them by edges, stand still while one is
 * drained, have a speed, and a policy for errors.  Main thread unless marked.
 */
#ifndef BLOCK_BLOCKJOB_H
#define BLOCK_BLOCKJOB_H

#include "block/types.h"
#include "job/job.h"
#include "qapi/qapi-types-block-core.h"

typedef struct BlockJobInfoList BlockJobInfoList;

typedef struct BlockJob {
    Job job; /* first */

    /* --- main thread --- */
    GPtrArray *edges; /* of BdrvChild *, owned: nodes it works on */
    GPtrArray *reads; /* likewise: those it only reads */
    int64_t speed;    /* bytes per second; 0: no limit */
    BlockDeviceIoStatus iostatus;
    void (*speed_changed)(struct BlockJob *job); /* may be NULL */
} BlockJob;

/* What a job of this kind is made with; @driver is of JOB_KIND_BLOCK, and
 * uses block_job_free() etc. where it has none of its own. */
typedef struct BlockJobParams {
    const char *id; /* NULL: the name of the device that @bs is in */
    const JobDriver *driver;
    JobTxn *txn; /* NULL: alone */
    BlockDriverState *bs;
    int64_t speed;
    int flags; /* JOB_* */
} BlockJobParams;

/* A created job that holds @bs as its "main node".  NULL with @errp. */
BlockJob *block_job_create(const BlockJobParams *params, Error **errp);
/*
 * The job uses @bs, too: nobody else may start something with it, and its
 * drain pauses the job.
 */
bool block_job_add_bdrv(BlockJob *job, const char *name, BlockDriverState *bs,
                        uint64_t perm, uint64_t shared, Error **errp);
/*
 * The job reads @bs, where nobody may write meanwhile; others may start
 * something that does not.  Where a filter comes or goes, the edge goes with
 * the others.
 */
bool block_job_add_read(BlockJob *job, const char *name, BlockDriverState *bs,
                        Error **errp);
/* "stream job 'x'", for messages; the caller frees. */
char *block_job_desc(const BlockJob *job);
/* Lets go of all nodes. */
void block_job_remove_all_bdrv(BlockJob *job);
/*
 * For JobDriver: free, user_resume, set_speed.  The last wakes the job where it
 * sleeps, so that the new speed holds from now on.
 */
void block_job_free(Job *job);
void block_job_user_resume(Job *job);
void block_job_set_speed(Job *job, int64_t speed);

/*
 * For JobDriver, cancel: what the job's coroutine waits for on any of its nodes
 * fails where that may never come.  Requests of others on them are not touched.
 */
bool block_job_cancel(Job *job, bool force);

/* NULL: @job is not of JOB_KIND_BLOCK. */
BlockJob *block_job_of(Job *job);
/* By id; an error of class DeviceNotActive where there is none. */
BlockJob *block_job_find(const char *id, Error **errp);
/* For query-block-jobs, newest first; caller frees. */
BlockJobInfoList *block_job_query_all(void);

/*
 * A request failed with @error (> 0): what the policy says is done (STOP
 * pauses the job as a user would) and told to users.  Callable in the job.
 */
BlockErrorAction block_job_error_action(BlockJob *job, BlockdevOnError policy,
                                        bool is_read, int error);
/* The same, where it is known what failed: @bytes at @offset of the disk. */
BlockErrorAction block_job_error_action_at(BlockJob *job,
                                           BlockdevOnError policy,
                                           bool is_read, int error,
                                           int64_t offset, int64_t bytes);
/* Tells of it (BLOCK_JOB_ERROR); set once by the program.  @bytes 0: it is not
 * known where. */
extern void (*block_job_error_hook)(BlockJob *job, bool is_read,
                                    BlockErrorAction action, int64_t offset,
                                    int64_t bytes);

#endif
