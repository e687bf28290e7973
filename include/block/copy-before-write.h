/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter that saves old data before a write: for who inserts it.
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
 * Takes the filter out of the graph; nothing is being copied.  Where readers of
 * the snapshot keep the node it saves nothing any more, they get -EACCES, and
 * the target is free.  The caller's reference stays.
 */
void cbw_drop(BlockDriverState *bs);
/* What it has to copy; lives as long as the node. */
BlockCopyState *cbw_block_copy(BlockDriverState *bs);
/*
 * What could not be saved where the old data is not complete any more
 * (break-snapshot), or NULL.  Lives as long as the node.
 */
const BlockCopyError *cbw_broken(BlockDriverState *bs);
/*
 * The snapshot is not needed any more: nothing is saved for it from now on, and
 * no write fails because something could not be saved.
 */
void cbw_abandon(BlockDriverState *bs);
/* Calls @broken(@opaque) when that happens.  NULL: nobody. */
void cbw_set_broken_hook(BlockDriverState *bs, void (*broken)(void *opaque),
                         void *opaque);
/*
 * Reads the data as it was when the filter was added: from the target what was
 * saved, else from the source, holding back writes to it meanwhile.  -EACCES
 * where it is not complete any more, and of what was never to be saved where a
 * bitmap said so, or it was overwritten.
 */
int coroutine_fn cbw_co_preadv_snapshot(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset);
/* See bdrv_block_status_above(), for the same data, with the same errors. */
int coroutine_fn cbw_co_snapshot_status(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, int64_t *pnum);

#endif
