/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: callbacks for data (io.c, zero.c, host-io.c, compress.c). */
#ifndef QCOW2_IO_INT_H
#define QCOW2_IO_INT_H

#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/request.h"

int coroutine_fn qcow2_co_preadv(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn qcow2_co_pwritev(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn qcow2_co_flush(BlockDriverState *bs);
int coroutine_fn qcow2_co_block_status(BlockDriverState *bs, bool want_zero,
                                       int64_t offset, int64_t bytes,
                                       int64_t *pnum, int64_t *map,
                                       BlockDriverState **file);
int coroutine_fn qcow2_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, BdrvRequestFlags flags);
int coroutine_fn qcow2_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes);
/*
 * Makes whole clusters, or subclusters, zero; under the lock, with an operation
 * on the clusters.  -ENOTSUP: a part of a compressed cluster.
 */
int coroutine_mixed_fn qcow2_zero_clusters(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           bool unmap);
/* Writes zeroes as data, to a part of one cluster; without the lock. */
int coroutine_fn qcow2_write_zeroes(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes);
/*
 * Makes whole clusters unallocated, whatever shows; under the lock.  @discard:
 * the file gives their space back.
 */
int coroutine_mixed_fn qcow2_drop_clusters(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           bool discard);
/* Makes all clusters unallocated. */
int coroutine_fn qcow2_co_make_empty(BlockDriverState *bs);
int coroutine_fn qcow2_co_host_read_begin(BlockDriverState *bs,
                                          BdrvRequest *r);
void coroutine_fn qcow2_co_host_read_end(BlockDriverState *bs, BdrvRequest *r);
int coroutine_fn qcow2_co_host_write_begin(BlockDriverState *bs,
                                           BdrvRequest *r);
int coroutine_fn qcow2_co_host_write_end(BlockDriverState *bs, BdrvRequest *r,
                                         int result);
/*
 * Reads the compressed cluster of @map, which is at @offset, and those that
 * follow it as far as it is good to read them at once.  Returns how many of
 * @bytes were read, > 0, or -errno.
 */
int64_t coroutine_fn qcow2_read_compressed(BlockDriverState *bs,
                                           const Qcow2Map *map, int64_t offset,
                                           int64_t bytes, QEMUIOVector *qiov,
                                           size_t qiov_offset);
int coroutine_fn qcow2_co_pwritev_compressed(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov,
                                             size_t qiov_offset);
/* Frees what compression keeps between requests. */
void qcow2_free_pack_tools(Qcow2State *s);
#endif
