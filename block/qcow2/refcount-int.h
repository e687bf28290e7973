/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: refcounts, allocation and the order of writes (refcount.c,
 * refcount-grow.c, refcount-width.c). */
#ifndef QCOW2_REFCOUNT_INT_H
#define QCOW2_REFCOUNT_INT_H

#include "block/qcow2/qcow2-int.h"

/* Clusters whose reference was dropped, but maybe not yet on disk. */
typedef struct Qcow2Free {
    uint64_t offset, bytes;
    bool discard; /* hand the space back to the host */
} Qcow2Free;

/* Pure: entry @index of a refcount block. */
uint64_t qcow2_refcount_get(const void *block, uint64_t index,
                            unsigned order);
void qcow2_refcount_set(void *block, uint64_t index, unsigned order,
                        uint64_t value);
/* Refcount of a host cluster (number). */
int coroutine_mixed_fn qcow2_get_refcount(BlockDriverState *bs,
                                          uint64_t cluster, uint64_t *value);
/* Sets it; its refcount block must exist. */
int coroutine_mixed_fn qcow2_put_refcount(BlockDriverState *bs,
                                          uint64_t cluster, uint64_t value);
/* Adds @delta (1 or -1) to the counts of all clusters that the host range
 * touches; -EINVAL and a corruption report where one would go below 0. */
int coroutine_mixed_fn qcow2_update_refcount(BlockDriverState *bs,
                                             uint64_t offset, uint64_t bytes,
                                             int delta);
/*
 * Allocates a run of @min .. @max free clusters; refcounts are 1 afterwards.
 * *@offset in the file, *@count clusters.
 */
int coroutine_mixed_fn qcow2_alloc_run(BlockDriverState *bs, uint64_t min,
                                       uint64_t max, uint64_t *offset,
                                       uint64_t *count);
/* Exactly enough clusters for @bytes. */
int coroutine_mixed_fn qcow2_alloc_bytes_run(BlockDriverState *bs,
                                             uint64_t bytes,
                                             uint64_t *offset);
/* Frees clusters to which nothing on disk refers. */
void coroutine_mixed_fn qcow2_free_now(BlockDriverState *bs, uint64_t offset,
                                       uint64_t bytes);
/* Discards those of the clusters that have no reference left. */
void coroutine_fn qcow2_discard_unused(BlockDriverState *bs, uint64_t offset,
                                       uint64_t bytes);
/* Frees clusters to which something on disk may still refer: later. */
void qcow2_free_later(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
                      bool discard);
/* Writes refcounts, then (flush) L2 tables. */
int coroutine_mixed_fn qcow2_write_metadata(BlockDriverState *bs);
/* Writes L2 tables, after the flush that is owed; refcounts are on disk. */
int coroutine_mixed_fn qcow2_write_l2_tables(BlockDriverState *bs);
/*
 * Data on which L2 tables rely was written to the file (the request is
 * complete): it must be flushed before they are written.
 */
static inline void qcow2_must_be_durable(Qcow2State *s)
{
    s->link_gen++;
}
/* What qcow2_write_metadata() does, then applies pending frees. */
int coroutine_mixed_fn qcow2_apply_frees(BlockDriverState *bs);
/* Applies pending frees if there are too many. */
int coroutine_mixed_fn qcow2_limit_frees(BlockDriverState *bs);
/*
 * Flushes the file, under the lock, which pays the barrier that is owed when it
 * begins: before something refers to new structures.  -EIO, too, if what was
 * written since the last one may be lost, although the flush has succeeded (on
 * a new connection to a server): once, but what the caller has written is not
 * there.  The L2 cache is as the file is then.
 */
int coroutine_mixed_fn qcow2_flush_file(BlockDriverState *bs);
/*
 * How many times writes to the file, and to the external data file, may have
 * been lost.  What a request has written may be if it has changed meanwhile.
 */
uint64_t qcow2_lost_writes(const BlockDriverState *bs);
/* What was lost before does not matter. */
void qcow2_note_losses(BlockDriverState *bs);
/*
 * The end of a flush of the node, without the lock, since flushing takes long:
 * -EIO if writes may have been lost since the last call that told of some.
 */
int coroutine_fn qcow2_flush_told(BlockDriverState *bs);
/* Adds entry @index to what has been written since the last flush. */
static inline void qcow2_span_add(Qcow2Span *span, uint64_t index, uint64_t n)
{
    span->first = span->end ? MIN(span->first, index) : index;
    span->end = MAX(span->end, index + n);
}
int coroutine_mixed_fn qcow2_evict_l2(BlockDriverState *bs);
/* Writes the refcount blocks, without a flush. */
int coroutine_mixed_fn qcow2_evict_refcounts(BlockDriverState *bs);
/*
 * Creates the refcount blocks that [@start, @start + @n) needs, using clusters
 * right after that range (which are free), *@used of them.
 */
int coroutine_mixed_fn qcow2_make_refblocks(BlockDriverState *bs,
                                            uint64_t start, uint64_t n,
                                            uint64_t *used);
/* Writes the entry of the refcount table on disk, where it has one. */
int coroutine_mixed_fn qcow2_write_rt_entry(BlockDriverState *bs,
                                            uint64_t index);
/* How many refcount blocks are missing for these clusters? */
uint64_t qcow2_missing_refblocks(const Qcow2State *s, uint64_t start,
                                 uint64_t n);
/* Makes the table hold @entries, if the present one is too small. */
int coroutine_mixed_fn qcow2_grow_reftable(BlockDriverState *bs,
                                           uint64_t entries);
/*
 * Gives refcounts 2 to the power of @order bits; under the lock, without
 * requests in flight.  On an error the image is as before, or the node cannot
 * be used any more.
 */
int coroutine_fn qcow2_set_refcount_order(BlockDriverState *bs, unsigned order,
                                          Error **errp);

#endif
