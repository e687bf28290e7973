/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter that saves old data before a write: for code that inserts it.
 *
 *      guest
 *        |
 *       cbw ------target-----> target     old data goes here first
 *        |file
 *      source
 */
#ifndef BLOCK_COPY_BEFORE_WRITE_H
#define BLOCK_COPY_BEFORE_WRITE_H

#include "block/block-copy.h"

/* Is @bs such a filter? */
bool cbw_is_cbw(const BlockDriverState *bs);
/* Is it one whose snapshot is still kept? */
bool cbw_has_snapshot(const BlockDriverState *bs);
/*
 * Removes the filter from the graph; no copy may be in flight.  If readers of
 * the snapshot keep the node, it saves nothing from then on, they get -EACCES,
 * and the target is not used.  The caller's reference stays.
 */
void cbw_drop(BlockDriverState *bs);
/* Its copy state; lives as long as the node. */
BlockCopyState *cbw_block_copy(BlockDriverState *bs);
/*
 * The failure that made the snapshot incomplete (break-snapshot), or NULL.
 * Lives as long as the node.
 */
const BlockCopyError *cbw_broken(BlockDriverState *bs);
/*
 * Gives up the snapshot: nothing is saved for it from now on, and no write
 * fails because old data could not be saved.
 */
void cbw_abandon(BlockDriverState *bs);
/*
 * The snapshot is that of this moment from now on; the target is empty, and
 * shows the source where nothing is saved.  The node is drained.
 */
void cbw_restart(BlockDriverState *bs);
/* Calls @broken(@opaque) when the snapshot becomes incomplete.  NULL: none. */
void cbw_set_broken_hook(BlockDriverState *bs, void (*broken)(void *opaque),
                         void *opaque);
/*
 * Reads the data as it was when the filter was added: saved data from the
 * target, the rest from the source, where writes wait meanwhile.  -EACCES if
 * the snapshot is incomplete, and for ranges that are not saved because a
 * bitmap excludes them or that were overwritten.
 */
int coroutine_fn cbw_co_preadv_snapshot(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset);
/* See bdrv_block_status_above(), for the same data, with the same errors. */
int coroutine_fn cbw_co_snapshot_status(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, int64_t *pnum);

#endif
