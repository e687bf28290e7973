/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the two parts of the quorum driver share. */
#ifndef QUORUM_INT_H
#define QUORUM_INT_H

#include "block/io.h"

typedef struct QuorumState {
    unsigned threshold; /* >= 1, and at most as many as there are children */
    bool blkverify;     /* compare two children, do not vote */
    bool rewrite;       /* write the winner's data to losers */
    bool fifo;          /* do not vote, read one child */
} QuorumState;

/* How many children there are. */
unsigned quorum_count(const BlockDriverState *bs);

/* --- quorum-io.c: callbacks of BlockDriver --- */

int coroutine_fn quorum_co_preadv(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn quorum_co_pwritev(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn quorum_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes,
                                         BdrvRequestFlags flags);
int coroutine_fn quorum_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes);
int coroutine_fn quorum_co_flush(BlockDriverState *bs);
uint64_t quorum_count_writes(BlockDriverState *bs, BdrvCountWrites *count);
int coroutine_fn quorum_co_block_status(BlockDriverState *bs, bool want_zero,
                                        int64_t offset, int64_t bytes,
                                        int64_t *pnum, int64_t *map,
                                        BlockDriverState **file);

#endif
