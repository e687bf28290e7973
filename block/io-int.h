/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of the request path share.
 *
 *   gate (io.c, zeroes.c, discard.c, truncate.c)   state, range, permission
 *     -> tracked request (request.c)               counted, serialised
 *       -> padding (align.c)                       read-modify-write
 *         -> aligned request (io.c)                bitmaps, zero detection
 *           -> pieces (align.c)                    limits, bounce buffers
 *             -> callback of the driver, or the gate of a filter's child
 */
#ifndef BLOCK_IO_INT_H
#define BLOCK_IO_INT_H

#include "block/graph.h"
#include "block/io.h"

/* Bounce buffers are at most this large; longer requests go in pieces. */
#define BDRV_BOUNCE_BYTES (1 * MiB)

/* One request on its way through a node; on the stack of its coroutine. */
typedef struct BdrvRequest {
    BdrvTrackedRequest t;
    BdrvChild *child;
    BlockDriverState *bs;
    BdrvRequestFlags flags;
} BdrvRequest;

/* A range of a node and the memory for it; @qiov NULL: no data. */
typedef struct BdrvSpan {
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    size_t qiov_offset;
} BdrvSpan;

static inline uint32_t bdrv_request_align(const BlockDriverState *bs)
{
    return bs->bl.request_alignment ? bs->bl.request_alignment : 1;
}

/* An event for the node itself, if it is a blkdebug. */
static inline void bdrv_io_event(BlockDriverState *bs, BlkdebugEvent event)
{
    if (G_UNLIKELY(bs->drv->debug_event)) {
        bs->drv->debug_event(bs, event);
    }
}

/* A flag that the core emulates for drivers that do not have it. */
static inline bool bdrv_must_emulate_fua(BdrvRequestFlags flags,
                                         unsigned supported)
{
    return (flags & BDRV_REQ_FUA) && !(supported & BDRV_REQ_FUA);
}

/* --- io.c --- */

/* -ENOMEDIUM where nothing is open, -EIO for a range that cannot be. */
int bdrv_gate_check(const BdrvChild *child, int64_t offset, int64_t bytes);
/* The same for what changes the node: also -EPERM, and its end. */
int bdrv_gate_check_write(const BdrvChild *child, int64_t offset,
                          int64_t bytes, BdrvRequestFlags flags);
/* Counts and tracks a request that passed its gate. */
void coroutine_fn bdrv_request_begin(BdrvRequest *r, BdrvChild *child,
                                     int64_t offset, int64_t bytes,
                                     BdrvTrackedType type,
                                     BdrvRequestFlags flags);
/* The reverse; returns @ret, which must be 0 or -errno. */
int coroutine_fn bdrv_request_end(BdrvRequest *r, int ret);
/* Marks the part of a range that lies inside of the node. */
void bdrv_mark_dirty(BlockDriverState *bs, int64_t offset, int64_t bytes);
/* Before and after something changes [@offset, +@bytes). */
void coroutine_fn bdrv_write_prepare(BdrvRequest *r, int64_t offset,
                                     int64_t bytes);
void bdrv_write_finish(BdrvRequest *r, int64_t offset, int64_t bytes,
                       int ret);
/* A data write reached @end: what is counted, and the node may have grown. */
void bdrv_written_to(const BdrvChild *child, int64_t end);
/* Requests that meet the request alignment. */
int coroutine_fn bdrv_aligned_preadv(BdrvRequest *r, const BdrvSpan *span);
int coroutine_fn bdrv_aligned_pwritev(BdrvRequest *r, const BdrvSpan *span,
                                      BdrvRequestFlags flags);

/* --- align.c --- */

/* Requests that do not meet the request alignment. */
int coroutine_fn bdrv_padded_preadv(BdrvRequest *r, const BdrvSpan *span);
int coroutine_fn bdrv_padded_pwritev(BdrvRequest *r, const BdrvSpan *span);
/* To the driver (or a filter's child), in pieces that meet the limits. */
int coroutine_fn bdrv_driver_preadv(BlockDriverState *bs,
                                    const BdrvSpan *span);
int coroutine_fn bdrv_driver_pwritev(BlockDriverState *bs,
                                     const BdrvSpan *span,
                                     BdrvRequestFlags flags);

/* --- zeroes.c --- */

/* Meets the request alignment; like bdrv_driver_pwritev(). */
int coroutine_fn bdrv_driver_pwrite_zeroes(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           BdrvRequestFlags flags);

#endif
