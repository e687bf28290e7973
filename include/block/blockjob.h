/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Jobs that work on nodes: they hold them by edges, pause while one is drained,
 * have a speed, and a policy for errors.  Main thread unless marked.
 */
#ifndef BLOCK_BLOCKJOB_H
#define BLOCK_BLOCKJOB_H

#include "block/copy-error.h"
#include "block/types.h"
#include "job/job.h"
#include "qapi/qapi-types-block-core.h"

typedef struct BlockJobInfo BlockJobInfo;
typedef struct BlockJobInfoList BlockJobInfoList;
typedef struct Copier Copier; /* block/copier.h */
typedef struct Transaction Transaction;

typedef struct BlockJob BlockJob;
struct BlockJob {
    Job job; /* first */

    /* --- main thread --- */
    GPtrArray *edges; /* of BdrvChild *, owned: nodes it works on */
    GPtrArray *reads; /* likewise: those it only reads */
    int64_t speed;    /* bytes per second; 0: no limit */
    BlockDeviceIoStatus iostatus;
    BlockDriverState *abandoned, *awaited; /* the target; references */
    /* Sets the members of @info that only this type of job has; NULL: none. */
    void (*query)(const BlockJob *job, BlockJobInfo *info);

    /* --- the context's thread, and the exclusive main thread --- */
    Copier *copier; /* while it runs, for the job; else NULL */
};

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
 * The job uses @bs, too: no other operation may be started on it, and its drain
 * pauses the job.
 */
bool block_job_add_bdrv(BlockJob *job, const char *name, BlockDriverState *bs,
                        uint64_t perm, uint64_t shared, Error **errp);
/*
 * The job reads @bs, which no other user may write meanwhile; operations that
 * do not write may be started on it.  If a filter is inserted or removed, the
 * edge is moved with the others.
 */
bool block_job_add_read(BlockJob *job, const char *name, BlockDriverState *bs,
                        Error **errp);
/* Can a job of @bs get this @id, by default that of its device?  For errors
 * that come before others. */
bool block_job_check_id(const char *id, int flags, BlockDriverState *bs,
                        Error **errp);
/* Are both of the same size?  For jobs that copy a whole disk. */
bool block_job_check_sizes(BlockDriverState *source, BlockDriverState *target,
                           Error **errp);
/*
 * May a job write to @target?  False: a node below it may have lost writes
 * since it was opened, and so metadata that the job's data would depend on.
 */
bool block_job_check_lost(BlockDriverState *target, Error **errp);
/*
 * Are writes to @target lost since bdrv_lost_writes_base() returned @base?
 * Sets @errp then.  In the thread of @target.
 */
bool block_job_has_lost(BlockDriverState *target, uint64_t base,
                        Error **errp);
/* "stream job 'x'", for messages; the caller frees. */
char *block_job_desc(const BlockJob *job);
/* Removes the edges to all nodes. */
void block_job_remove_all_bdrv(BlockJob *job);
/*
 * For JobDriver: pause, free, user_resume, set_speed.  The first ends the run
 * of the job's copier; the last wakes the job and its copier if they sleep, so
 * that the new speed applies from now on.
 */
void coroutine_fn block_job_pause(Job *job);
void block_job_free(Job *job);
void block_job_user_resume(Job *job);
void block_job_set_speed(Job *job, int64_t speed);

/* The job's copier begins no further area; those in flight continue. */
void block_job_stop_copying(BlockJob *job);

/*
 * For JobDriver, cancel: requests of the job's coroutines, and of those of its
 * copier, fail on any of its nodes if they might never complete.  Requests of
 * other users on these nodes are not affected.
 */
bool block_job_cancel(Job *job, bool force);

/*
 * Limits how long requests on @target wait for a silent server, until
 * block_job_end_limits(), which "clean" calls (block/silence.h).  abandon: the
 * job was cancelled by force, and requests that might never complete fail;
 * await: it is at its end, for which the main thread waits.  May be called
 * again.  Main thread.
 */
void block_job_abandon(BlockJob *job, BlockDriverState *target);
void block_job_await(BlockJob *job, BlockDriverState *target);
void block_job_end_limits(BlockJob *job);

/* --- attaching and detaching (block/blockjob-attach.c) --- */

/*
 * Each of these makes one change, and adds to @tran a step that undoes it when
 * the job detaches.  If one fails nothing is added.  Main thread.
 */

/* A reference to @bs, which is returned. */
BlockDriverState *block_job_ref(BlockDriverState *bs, Transaction *tran);
/* A handle of the job, whose requests a drain does not queue. */
typedef struct BlockJobUser {
    BlockDriverState *bs;
    uint64_t perm, shared;
} BlockJobUser;
/* *@blk, which becomes NULL when the job detaches, uses @user->bs. */
bool block_job_add_user(BlockJob *job, BlockBackend **blk,
                        const BlockJobUser *user, Transaction *tran,
                        Error **errp);
/* All edges that the job has then are removed. */
void block_job_hold_edges(BlockJob *job, Transaction *tran);
/* Makes @bs writable until then if it is read-only; the caller holds it. */
bool block_job_make_writable(BlockDriverState *bs, Transaction *tran,
                             Error **errp);
/* The edges from @top down to @base do not change; the caller holds both. */
bool block_job_freeze_chain(BlockDriverState *top, BlockDriverState *base,
                            Transaction *tran, Error **errp);
/* Detaches: undoes all steps of *@tran (may be NULL) in reverse order. */
void block_job_let_go(Transaction **tran);

/* NULL: @job is not of JOB_KIND_BLOCK. */
BlockJob *block_job_of(Job *job);
/* By id; an error of class DeviceNotActive if there is none. */
BlockJob *block_job_find(const char *id, Error **errp);
/* For query-block-jobs, newest first; caller frees. */
BlockJobInfoList *block_job_query_all(void);

/* --- errors --- */

/*
 * Applies the policy to the failure @error (STOP pauses the job as a user
 * would) and reports it to users.  @error->bytes 0: the place is not known.
 * May be called in the job's coroutine.
 */
BlockErrorAction block_job_error_action(BlockJob *job, BlockdevOnError policy,
                                        const BlockCopyError *error);
/*
 * The same, and waits: true when the caller shall retry; false: the job fails.
 */
bool coroutine_fn block_job_forgive(BlockJob *job, BlockdevOnError policy,
                                    const BlockCopyError *error);
/* Reports it (BLOCK_JOB_ERROR); set once by the program.  @bytes 0: the place
 * is not known. */
extern void (*block_job_error_hook)(BlockJob *job, bool is_read,
                                    BlockErrorAction action, int64_t offset,
                                    int64_t bytes);

/* --- copying --- */

/* How a job copies; owned by the job while it runs. */
typedef struct BlockJobCopy {
    Copier *copier; /* its pacer has a limit: the job's speed */
    BlockdevOnError on_source_error, on_target_error;
    /* An ignored failure is not retried; the job fails with it at its end. */
    bool pass_over;
    int ignored; /* the first of these, -errno */
    bool pay_last; /* ends only when the speed would allow more */
    /*
     * The job fails, whatever the policy, if writes to it are lost meanwhile
     * (block_job_has_lost()); finish() looks, too.  NULL: it does not.
     */
    BlockDriverState *target;
    uint64_t lost_base;
    /* True: the copy cannot succeed, the run ends with 0.  May be NULL. */
    bool (*broken)(BlockJob *job);
    /* Called when all is copied.  0, -errno, or -EAGAIN: walk once more. */
    int coroutine_fn (*finish)(BlockJob *job, Error **errp);
    /* Sets in @errp why the job fails.  NULL: the text of the errno. */
    void (*describe)(BlockJob *job, const BlockCopyError *error,
                     Error **errp);
} BlockJobCopy;

/*
 * Copies all that is left, with pauses, and retries after errors as the policy
 * says.  0 (done, cancelled or broken) or -errno.
 */
int coroutine_fn block_job_copy(BlockJob *job, BlockJobCopy *copy,
                                Error **errp);

#endif
