/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The jobs that shorten a backing chain while it is in use.
 *
 *        commit                      stream
 *      (overlay)   (overlay)          node         node
 *         |            |               |             |
 *        top           |             middle          |
 *         |     ->     |               |      ->     |
 *       middle         |             bottom          |
 *         |            |               |             |
 *        base         base           (base)       (base)
 */
#ifndef BLOCK_CHAIN_JOBS_H
#define BLOCK_CHAIN_JOBS_H

#include "block/blockjob.h"
#include "qapi/qapi-types-block-core.h"

typedef struct ChainJobParams {
    const char *job_id;       /* NULL: the name of the device */
    const char *filter_name;  /* NULL: the filter is hidden */
    const char *backing_file; /* for the header; NULL: the base's name */
    int64_t speed;            /* bytes per second; 0: no limit */
    BlockdevOnError on_error;
    int flags;                /* JOB_* */
    /* --- of the commit of an active image --- */
    bool auto_complete;       /* as soon as it is ready */
    /* As in Job: called when the job, once it was started, has ended. */
    void (*ended)(void *opaque, int ret);
    void *ended_opaque;
} ChainJobParams;

/*
 * Starts a job that writes the data of the images from @top down to above @base
 * into @base, and then makes @base the backing file of the overlays of @top.
 * @bs is the root of the chain, and not @top.
 */
bool commit_job_start(BlockDriverState *bs, BlockDriverState *top,
                      BlockDriverState *base, const ChainJobParams *p,
                      Error **errp);
/*
 * Starts a job that copies into @bs the data of the nodes below it, down to and
 * including @bottom (NULL: there is nothing to copy), and then makes the node
 * below @bottom its backing file.
 */
bool stream_job_start(BlockDriverState *bs, BlockDriverState *bottom,
                      const ChainJobParams *p, Error **errp);

/* --- common functions (block/chain-job.c) --- */

/*
 * Writes into the header of @bs that its backing file is @base (NULL: none),
 * by the name @name (NULL: one that opens @base).  0 or -errno.  Main thread.
 */
int chain_job_rename(BlockDriverState *bs, const char *name,
                     BlockDriverState *base);
/*
 * Adds the nodes from @top down to @last to @job; both may be the same.
 * @perm, @shared: permissions of each edge.
 */
bool chain_job_hold(BlockJob *job, BlockDriverState *top,
                    BlockDriverState *last, uint64_t perm, uint64_t shared,
                    Error **errp);
/*
 * The same for a job that writes what @top and the nodes below it hold into
 * @base.  No other user may read these nodes, whose backing file is being
 * written, nor write to one, as what is copied already would be lost.  Users
 * that write also read; and writing must be shared, as it is needed at the
 * base, and a backing file can be written where all nodes above it allow that.
 */
bool chain_job_hold_commit(BlockJob *job, BlockDriverState *top,
                           BlockDriverState *base, Error **errp);

#endif
