/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations shared by the files of the request path.
 *
 *   gate (io.c, zeroes.c, discard.c, truncate.c, status.c, host-io.c)
 *     -> begin (request.c)                         checks, waits, marks
 *       -> padding (align.c)                       read-modify-write
 *         -> aligned request (io.c)                zero detection
 *           -> pieces (align.c)                    limits, bounce buffers
 *             -> callback of the driver, or the gate of a filter's child
 *     -> end (request.c)                           marks, wakes others
 */
#ifndef BLOCK_IO_INT_H
#define BLOCK_IO_INT_H

#include "block/graph.h"
#include "block/io.h"
#include "block/request.h"

/* Maximum size of a bounce buffer; longer requests are split. */
#define BDRV_BOUNCE_BYTES (1 * MiB)

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

/* Reports an event to the node itself, if it is a blkdebug. */
static inline void bdrv_io_event(BlockDriverState *bs, BlkdebugEvent event)
{
    if (G_UNLIKELY(bs->drv->debug_event)) {
        bs->drv->debug_event(bs, event);
    }
}

/* A flag that the core emulates for drivers without it. */
static inline bool bdrv_must_emulate_fua(BdrvRequestFlags flags,
                                         unsigned supported)
{
    return (flags & BDRV_REQ_FUA) && !(supported & BDRV_REQ_FUA);
}

/* --- request.c --- */

/* Sets the caller's fields; begin sets the others. */
static inline void bdrv_request_init(BdrvRequest *r, BdrvChild *child,
                                     BdrvRequestType type, int64_t offset,
                                     int64_t bytes, BdrvRequestFlags flags)
{
    r->child = child;
    r->bs = NULL;
    r->type = type;
    r->flags = flags;
    r->offset = offset;
    r->bytes = bytes;
}

/*
 * Finds the node and checks the request: 0, -ENOMEDIUM if nothing is open, -EIO
 * for an invalid range, -EPERM for a change of a read-only node.  For gates of
 * empty requests.
 */
int bdrv_request_check(BdrvRequest *r);
/*
 * Begins @r, which was initialised: 0, or -errno and nothing was begun.  May
 * wait; block/request.h lists what holds afterwards.
 */
int coroutine_fn bdrv_request_begin(BdrvRequest *r);
/* @ret: the result, 0 or -errno; returns it. */
int coroutine_fn bdrv_request_end(BdrvRequest *r, int ret);
/* Reduces @r to its first @bytes; not for serialising requests. */
void bdrv_request_narrow(BdrvRequest *r, int64_t bytes);

/* --- io.c --- */

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

/* --- status.c --- */

/* bdrv_is_allocated() for a caller that has @r in flight (rule 10). */
int coroutine_fn bdrv_co_is_allocated_within(BdrvRequest *r, int64_t offset,
                                             int64_t bytes, int64_t *pnum);

/* --- zeroes.c --- */

/* For spans that meet the request alignment; like bdrv_driver_pwritev(). */
int coroutine_fn bdrv_driver_pwrite_zeroes(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           BdrvRequestFlags flags);

#endif
