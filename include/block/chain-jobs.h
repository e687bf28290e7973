/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The jobs that make a backing chain shorter while it is in use.
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
} ChainJobParams;

/*
 * Starts a job that writes what @top and those below it hold into @base, and
 * then makes @base the backing file of those that had @top.  @bs is the root of
 * the chain, and not @top.
 */
bool commit_job_start(BlockDriverState *bs, BlockDriverState *top,
                      BlockDriverState *base, const ChainJobParams *p,
                      Error **errp);
/*
 * Starts a job that copies into @bs what the nodes below it hold, down to and
 * with @bottom (NULL: there is nothing to copy), and then makes what is below
 * that its backing file.
 */
bool stream_job_start(BlockDriverState *bs, BlockDriverState *bottom,
                      const ChainJobParams *p, Error **errp);

/* --- what they share (block/chain-job.c) --- */

/*
 * Writes into the header of @bs that its backing file is @base (NULL: none),
 * called @name (NULL: as @base can be opened).  0 or -errno.  Main thread.
 */
int chain_job_rename(BlockDriverState *bs, const char *name,
                     BlockDriverState *base);
/*
 * Makes the nodes from @top down to @last ones of @job; both may be the same.
 * @perm, @shared: what it needs of each and lets others do.
 */
bool chain_job_hold(BlockJob *job, BlockDriverState *top,
                    BlockDriverState *last, uint64_t perm, uint64_t shared,
                    Error **errp);

#endif
