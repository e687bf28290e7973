/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gates: requests that a parent submits through an edge.
 *
 * One gate per verb.  It checks that the node is open, that a change is inside
 * the node (or the edge may resize it: then it grows; reads past the end return
 * zeroes) and that the edge has the permission; counts the request in flight;
 * aligns and splits; marks dirty bitmaps (before a write is submitted and again
 * after it, so that neither a crash nor a copier that has just cleared the bit
 * can lose it); and asserts that a failure has an errno.
 *
 * Offsets and lengths are bytes, @bytes <= BDRV_REQUEST_MAX_BYTES.  All return
 * 0 or -errno.  Callers of the co_ functions are coroutines.
 */
#ifndef BLOCK_IO_H
#define BLOCK_IO_H

#include "block/driver.h"

/* Data to or from @qiov, from @qiov_offset of it on; any alignment. */
int coroutine_fn bdrv_co_preadv(BdrvChild *child, int64_t offset,
                                int64_t bytes, QEMUIOVector *qiov,
                                size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn bdrv_co_pwritev(BdrvChild *child, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags);
/* The same with one buffer. */
int coroutine_fn bdrv_co_pread(BdrvChild *child, int64_t offset,
                               int64_t bytes, void *buf,
                               BdrvRequestFlags flags);
int coroutine_fn bdrv_co_pwrite(BdrvChild *child, int64_t offset,
                                int64_t bytes, const void *buf,
                                BdrvRequestFlags flags);
/* @bytes here and in discard may be any length. */
int coroutine_fn bdrv_co_pwrite_zeroes(BdrvChild *child, int64_t offset,
                                       int64_t bytes, BdrvRequestFlags flags);
/* Only whole granules of the driver's alignment are discarded. */
int coroutine_fn bdrv_co_pdiscard(BdrvChild *child, int64_t offset,
                                  int64_t bytes);
/*
 * Everything that had completed is durable when it returns, down the whole tree
 * (backing files are not flushed).  Concurrent flushes are merged.
 */
int coroutine_fn bdrv_co_flush(BlockDriverState *bs);
/*
 * How many times writes may have been lost where the data leave us (a file, a
 * server), in the tree that bdrv_co_flush() flushes, since it was opened.  If
 * the number has grown, data may be lost even if the latest flush has
 * succeeded: a kernel takes pages for clean that it failed to write, and a
 * server that was restarted has forgotten its cache.  In the thread of @bs.
 */
uint64_t bdrv_lost_writes(BlockDriverState *bs);
/*
 * The number to which a job that begins to write to @bs compares that.  It is 0
 * above other nodes: there metadata of an image may be among what was lost
 * before the job, and what the job writes would depend on it.
 */
uint64_t bdrv_lost_writes_base(BlockDriverState *bs);
/*
 * How many of these times a server has forgotten what it had not made durable:
 * reads do not show it any more either, and no flush has failed.
 */
uint64_t bdrv_forgotten_writes(BlockDriverState *bs);
/*
 * For drivers without children: writes that had completed may be lost, without
 * a flush that failed (the core counts these).  In the thread of @bs.
 */
void bdrv_note_lost_writes(BlockDriverState *bs);
/* The same, and they are forgotten, see above. */
void bdrv_note_forgotten_writes(BlockDriverState *bs);
/*
 * The same when the server is gone, and nobody knows yet whether it comes back:
 * only who relies on what it holds hears of it, bdrv_forgotten_writes().
 */
void bdrv_suspect_forgotten_writes(BlockDriverState *bs);
/* See co_truncate; new space is zeroed if a backing file would show there. */
int coroutine_fn bdrv_co_truncate(BdrvChild *child, int64_t offset, bool exact,
                                  PreallocMode prealloc,
                                  BdrvRequestFlags flags, Error **errp);
/*
 * Copies inside the host (copy_file_range, reflinks) if both ends are in host
 * files; else -ENOTSUP: part of the range may have been copied then.
 */
int coroutine_fn bdrv_co_copy_range(BdrvChild *src, int64_t src_offset,
                                    BdrvChild *dst, int64_t dst_offset,
                                    int64_t bytes);

/* The same outside coroutines (they poll), or inside one. */
int coroutine_mixed_fn bdrv_pread(BdrvChild *child, int64_t offset,
                                  int64_t bytes, void *buf);
int coroutine_mixed_fn bdrv_pwrite(BdrvChild *child, int64_t offset,
                                   int64_t bytes, const void *buf);
/* pwrite, then flush; -EIO, too, if a server may have lost what was written,
 * although the flush has succeeded on a new connection. */
int coroutine_mixed_fn bdrv_pwrite_sync(BdrvChild *child, int64_t offset,
                                        int64_t bytes, const void *buf);
int coroutine_mixed_fn bdrv_flush(BlockDriverState *bs);

/* --- status (block/status.c) --- */

/*
 * BDRV_BLOCK_* of the run of equal status at @offset of @bs alone (not its
 * backing files); *@pnum its bytes (0 at the end of the node).  @map and @file
 * may be NULL.
 */
int coroutine_mixed_fn bdrv_block_status(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, int64_t *pnum,
                                         int64_t *map,
                                         BlockDriverState **file);
/*
 * The same through the chain from @bs down to, not including, @base (NULL: the
 * whole chain).  *@depth (may be NULL): the depth of the layer that determines
 * the content; 1 is @bs itself, 0: none of them.
 */
int coroutine_mixed_fn bdrv_block_status_above(BlockDriverState *bs,
                                               BlockDriverState *base,
                                               int64_t offset, int64_t bytes,
                                               int64_t *pnum, int64_t *map,
                                               BlockDriverState **file,
                                               int *depth);
/* 1 allocated in @bs, 0 not; *@pnum as above. */
int coroutine_mixed_fn bdrv_is_allocated(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, int64_t *pnum);
/* 1 allocated in @top .. @base (without it, or with it: @include_base). */
int coroutine_mixed_fn bdrv_is_allocated_above(BlockDriverState *top,
                                               BlockDriverState *base,
                                               bool include_base,
                                               int64_t offset, int64_t bytes,
                                               int64_t *pnum);
/*
 * For drivers inside co_block_status whose data is at @offset of @file: does
 * that read as zeroes, by the block status of @file?  *@pnum, at most @bytes:
 * for how many bytes that holds.  An error below counts as no.
 */
bool coroutine_fn bdrv_co_reads_as_zero(BlockDriverState *file, int64_t offset,
                                        int64_t bytes, int64_t *pnum);

/* --- host I/O: a worker thread does the transfer itself --- */

/*
 * Resolves [@offset, @offset + @bytes), or a first part of it, to a host file
 * (or zeroes), through filters, formats and backing files: the range is
 * ->host of the request that is returned.  Until bdrv_co_host_read_end() it is
 * a read in flight on each level (rule 9 of block/request.h).  NULL: *@ret is
 * -ENOTSUP (use bdrv_co_preadv()) or an error.
 */
BdrvRequest *coroutine_fn bdrv_co_host_read_begin(BdrvChild *child,
                                                  int64_t offset,
                                                  int64_t bytes, int *ret);
/* Frees @r; by any coroutine of the node's context. */
void coroutine_fn bdrv_co_host_read_end(BdrvRequest *r);
/*
 * The same for writing: space is allocated where needed, and it is a write in
 * flight (bitmaps are marked) on each level.  ..._end() with
 * BDRV_HOST_WRITTEN, BDRV_HOST_IS_ZERO or -errno makes it part of the image;
 * returns 0 or -errno.
 */
BdrvRequest *coroutine_fn bdrv_co_host_write_begin(BdrvChild *child,
                                                   int64_t offset,
                                                   int64_t bytes, int *ret);
int coroutine_fn bdrv_co_host_write_end(BdrvRequest *r, int result);
/*
 * For drivers inside co_host_read_begin and co_host_write_begin: the child's
 * part, as a request that ends before @r.  At most once for each @r.  Sets
 * @r->host; 0 or -errno.
 */
int coroutine_fn bdrv_co_host_child(BdrvRequest *r, BdrvChild *child,
                                    int64_t offset, int64_t bytes);
/* For drivers inside co_host_read_begin: @bytes of zeroes.  0. */
int bdrv_co_host_zero(BdrvRequest *r, int64_t bytes);
/* The same for the first @bytes of @r that the image does not have: what the
 * backing file has there, or zeroes.  0 or -errno. */
int coroutine_fn bdrv_co_host_backing(BdrvRequest *r, int64_t bytes);

/* --- requests in flight (block/request.c) --- */

/* Keep a drain of @bs waiting (e.g. for a background task of a driver). */
void bdrv_inc_in_flight(BlockDriverState *bs);
void bdrv_dec_in_flight(BlockDriverState *bs);

/* A buffer aligned for I/O on @bs; NULL where there is no memory. */
void *bdrv_try_blockalign(BlockDriverState *bs, size_t size);
void *bdrv_blockalign(BlockDriverState *bs, size_t size);
/* The largest of the request alignment and the cluster size (>= 1). */
int64_t bdrv_get_cluster_size(BlockDriverState *bs);
/* [@offset, +@bytes) widened to whole clusters. */
void bdrv_round_to_clusters(BlockDriverState *bs, int64_t offset,
                            int64_t bytes, int64_t *cluster_offset,
                            int64_t *cluster_bytes);

#endif
