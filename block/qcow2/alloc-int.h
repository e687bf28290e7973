/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: requests in flight and their place in the file (alloc.c). */
#ifndef QCOW2_ALLOC_INT_H
#define QCOW2_ALLOC_INT_H

#include "block/qcow2/qcow2-int.h"

/*
 * A data request in flight on a guest range: whole clusters if it can change
 * their place, else whole subclusters, of clusters whose place stays.
 */
struct Qcow2Op {
    int64_t start, end;
    bool exclusive; /* changes the mapping */
    uint64_t fresh, fresh_bytes; /* in the file: its new clusters, until they
                                    are linked or freed */
    CoQueue wait;
    LIST_ENTRY(Qcow2Op) next;
};

/* A range of the file that is being read; a local variable of the reader. */
struct Qcow2Read {
    uint64_t offset, bytes;
    LIST_ENTRY(Qcow2Read) next;
};

/* One step of a write: a guest range that goes to one run of the file. */
typedef struct Qcow2Write {
    Qcow2Op op;
    int64_t offset, bytes; /* of the guest */
    uint64_t host;         /* place of @offset */
    int64_t from, to;      /* what is written to the file: the guest range, and
                              old content around it in the same clusters */
    bool link;             /* L2 entries are set after the data */
    bool whole;            /* set by the caller: whole clusters, which may
                              become zero clusters in the end */
    bool fresh;            /* the clusters are newly allocated */
    uint64_t lost, seen;   /* qcow2_lost_writes() and lost_seen before the
                              data */
    bool beyond;           /* ... where nothing was ever written: zeroes */
} Qcow2Write;

/* Waits for what is in flight on the first cluster; under the lock. */
void coroutine_fn qcow2_op_begin(BlockDriverState *bs, Qcow2Op *op,
                                 int64_t offset, int64_t bytes);
void coroutine_fn qcow2_op_end(Qcow2Op *op);
/* Is the cluster at @offset, or a part of it, in an exclusive operation? */
bool qcow2_op_covers(const Qcow2State *s, int64_t offset);
/* Is the host cluster at @offset newly allocated and being written? */
bool qcow2_op_has_fresh(const Qcow2State *s, uint64_t offset);
/*
 * Decides where to write data for the start of [@offset, +@bytes), allocating
 * if needed; @w->bytes of it are covered.  Ends with qcow2_write_end().
 */
int coroutine_fn qcow2_write_begin(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, Qcow2Write *w);
/* @ret 0: the data was written, link it; else free what was allocated. */
int coroutine_fn qcow2_write_end(BlockDriverState *bs, Qcow2Write *w, int ret);
/* Instead of ..._end(): nothing was written, the range becomes zero. */
int coroutine_fn qcow2_write_end_zero(BlockDriverState *bs, Qcow2Write *w);

#endif
