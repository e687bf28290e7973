/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Adapts requests to the requirements of a driver: padding to the request
 * alignment (read-modify-write), splitting by the limits, bounce buffers if
 * the memory is not aligned.
 *
 *          offset          offset + bytes
 *     |......#######|############|###.........|    | multiples of the alignment
 *      head                          tail
 */
#include "qemu/osdep.h"
#include "block/node-int.h"
#include "io-int.h"

/* --- memory --- */

void *bdrv_try_blockalign(BlockDriverState *bs, size_t size)
{
    size_t align = bs && bs->bl.opt_mem_alignment
                   ? bs->bl.opt_mem_alignment : 4096;

    return qemu_try_memalign(align, size);
}

void *bdrv_blockalign(BlockDriverState *bs, size_t size)
{
    void *buf = bdrv_try_blockalign(bs, size);

    if (!buf) {
        g_error("failed to allocate %zu bytes", size);
    }
    return buf;
}

/* --- padding --- */

/* A request widened to the alignment; @buf holds the head and tail blocks. */
typedef struct Pad {
    BdrvSpan span; /* aligned; its vector is @qiov */
    QEMUIOVector qiov;
    int64_t align, head, tail;
    uint8_t *buf;
    int64_t buf_bytes; /* of the whole span, if @buf holds all of it */
} Pad;

static int pad_init(Pad *pad, BlockDriverState *bs, const BdrvSpan *span)
{
    int64_t align = bdrv_request_align(bs);
    int64_t start = ROUND_DOWN(span->offset, align);
    int64_t end = ROUND_UP(span->offset + span->bytes, align);

    *pad = (Pad) {
        .span = { .offset = start, .bytes = end - start },
        .align = align,
        .head = span->offset - start,
        .tail = end - (span->offset + span->bytes),
        .buf_bytes = MIN(end - start, 2 * align),
    };
    pad->buf = bdrv_try_blockalign(bs, pad->buf_bytes);
    if (!pad->buf) {
        return -ENOMEM;
    }
    qemu_iovec_init(&pad->qiov, span->qiov->niov + 2);
    if (pad->head) {
        qemu_iovec_add(&pad->qiov, pad->buf, pad->head);
    }
    qemu_iovec_concat(&pad->qiov, span->qiov, span->qiov_offset, span->bytes);
    if (pad->tail) {
        qemu_iovec_add(&pad->qiov, pad->buf + pad->buf_bytes - pad->tail,
                       pad->tail);
    }
    pad->span.qiov = &pad->qiov;
    return 0;
}

static void pad_destroy(Pad *pad)
{
    qemu_iovec_destroy(&pad->qiov);
    qemu_vfree(pad->buf);
}

int coroutine_fn bdrv_padded_preadv(BdrvRequest *r, const BdrvSpan *span)
{
    Pad pad;
    int ret = pad_init(&pad, r->bs, span);

    if (ret == 0) {
        ret = bdrv_aligned_preadv(r, &pad.span);
        pad_destroy(&pad);
    }
    return ret;
}

/* Reads [@offset, +@bytes) into the pad's buffer at @buf. */
static int coroutine_fn pad_read(BdrvRequest *r, int64_t offset,
                                 int64_t bytes, uint8_t *buf)
{
    QEMUIOVector qiov;
    BdrvSpan span = { .offset = offset, .bytes = bytes, .qiov = &qiov };

    qemu_iovec_init_buf(&qiov, buf, bytes);
    return bdrv_aligned_preadv(r, &span);
}

/* Reads the present content of the blocks at both ends; once if adjacent. */
static int coroutine_fn pad_fill(BdrvRequest *r, Pad *pad)
{
    bool whole = pad->buf_bytes == pad->span.bytes;
    bool with_head = pad->head > 0, with_tail = pad->tail > 0;
    int64_t end = pad->span.offset + pad->span.bytes;
    int ret;

    if (with_head || whole) {
        if (with_head) {
            bdrv_io_event(r->bs, BLKDEBUG_EVENT_PWRITEV_RMW_HEAD);
        }
        if (whole && with_tail) {
            bdrv_io_event(r->bs, BLKDEBUG_EVENT_PWRITEV_RMW_TAIL);
        }
        ret = pad_read(r, pad->span.offset,
                       whole ? pad->buf_bytes : pad->align, pad->buf);
        if (ret < 0) {
            return ret;
        }
        if (with_head) {
            bdrv_io_event(r->bs, BLKDEBUG_EVENT_PWRITEV_RMW_AFTER_HEAD);
        }
        if (whole && with_tail) {
            bdrv_io_event(r->bs, BLKDEBUG_EVENT_PWRITEV_RMW_AFTER_TAIL);
        }
    }
    if (with_tail && !whole) {
        bdrv_io_event(r->bs, BLKDEBUG_EVENT_PWRITEV_RMW_TAIL);
        ret = pad_read(r, end - pad->align, pad->align,
                       pad->buf + pad->buf_bytes - pad->align);
        if (ret < 0) {
            return ret;
        }
        bdrv_io_event(r->bs, BLKDEBUG_EVENT_PWRITEV_RMW_AFTER_TAIL);
    }
    return 0;
}

int coroutine_fn bdrv_padded_pwritev(BdrvRequest *r, const BdrvSpan *span)
{
    Pad pad;
    int ret;

    /* No write changes these blocks before they are written back (rule 4). */
    g_assert(r->serialising);
    ret = pad_init(&pad, r->bs, span);
    if (ret < 0) {
        return ret;
    }
    ret = pad_fill(r, &pad);
    if (ret == 0) {
        ret = bdrv_aligned_pwritev(r, &pad.span, r->flags);
    }
    pad_destroy(&pad);
    return ret;
}

/* --- to the driver --- */

static int coroutine_fn call_preadv(BlockDriverState *bs, const BdrvSpan *s)
{
    const BlockDriver *drv = bs->drv;

    if (drv->co_preadv) {
        return drv->co_preadv(bs, s->offset, s->bytes, s->qiov,
                              s->qiov_offset, 0);
    }
    if (drv->is_filter) {
        return bdrv_co_preadv(bdrv_filter_child(bs), s->offset, s->bytes,
                              s->qiov, s->qiov_offset, 0);
    }
    return -ENOTSUP;
}

static int coroutine_fn call_pwritev(BlockDriverState *bs, const BdrvSpan *s,
                                     BdrvRequestFlags flags)
{
    const BlockDriver *drv = bs->drv;

    if (drv->co_pwritev) {
        return drv->co_pwritev(bs, s->offset, s->bytes, s->qiov,
                               s->qiov_offset,
                               flags & drv->supported_write_flags);
    }
    if (drv->is_filter) {
        return bdrv_co_pwritev(bdrv_filter_child(bs), s->offset, s->bytes,
                               s->qiov, s->qiov_offset, flags);
    }
    return -ENOTSUP;
}

/* Does the memory of the span meet the driver's requirements? */
static bool memory_fits(const BlockDriverState *bs, const BdrvSpan *s)
{
    size_t align = bs->bl.min_mem_alignment;
    int max_iov = bs->bl.max_iov ? bs->bl.max_iov : IOV_MAX;
    size_t skip = s->qiov_offset, left = s->bytes;
    int used = 0;

    if (align <= 1 && s->qiov->niov <= max_iov) {
        return true;
    }
    for (int i = 0; i < s->qiov->niov && left; i++) {
        const struct iovec *v = &s->qiov->iov[i];
        size_t n;

        if (skip >= v->iov_len) {
            skip -= v->iov_len;
            continue;
        }
        n = MIN(v->iov_len - skip, left);
        if (align > 1 && ((((uintptr_t)v->iov_base + skip) | n) % align)) {
            return false;
        }
        left -= n;
        skip = 0;
        used++;
    }
    return used <= max_iov;
}

/* Whole blocks; the alignment is a power of two. */
static int64_t max_transfer(const BlockDriverState *bs)
{
    int64_t align = bdrv_request_align(bs);
    int64_t max = bs->bl.max_transfer ? bs->bl.max_transfer : INT_MAX;

    return MAX(max & -align, align);
}

/* The longest piece that may go through a bounce buffer. */
static int64_t max_bounce(const BlockDriverState *bs)
{
    return MAX(ROUND_DOWN(BDRV_BOUNCE_BYTES, bdrv_request_align(bs)),
               bdrv_request_align(bs));
}

static int coroutine_fn bounced(BlockDriverState *bs, const BdrvSpan *span,
                                BdrvRequestFlags flags, bool write)
{
    QEMUIOVector qiov;
    BdrvSpan s = { span->offset, span->bytes, &qiov, 0 };
    void *buf = bdrv_try_blockalign(bs, span->bytes);
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&qiov, buf, span->bytes);
    if (write) {
        qemu_iovec_to_buf(span->qiov, span->qiov_offset, buf, span->bytes);
        ret = call_pwritev(bs, &s, flags);
    } else {
        ret = call_preadv(bs, &s);
        if (ret == 0) {
            qemu_iovec_from_buf(span->qiov, span->qiov_offset, buf,
                                span->bytes);
        }
    }
    qemu_vfree(buf);
    return ret;
}

/* The request is split into pieces, each within the limits. */
static int coroutine_fn in_pieces(BlockDriverState *bs, const BdrvSpan *span,
                                  BdrvRequestFlags flags, bool write)
{
    BdrvSpan s = *span;
    int64_t done = 0;
    int ret = 0;

    for (; ret == 0 && done < span->bytes; done += s.bytes) {
        s.offset = span->offset + done;
        s.qiov_offset = span->qiov_offset + done;
        s.bytes = MIN(span->bytes - done, max_transfer(bs));
        if (!memory_fits(bs, &s)) {
            s.bytes = MIN(s.bytes, max_bounce(bs));
            ret = bounced(bs, &s, flags, write);
        } else {
            ret = write ? call_pwritev(bs, &s, flags)
                        : call_preadv(bs, &s);
        }
    }
    return ret;
}

int coroutine_fn bdrv_driver_preadv(BlockDriverState *bs,
                                    const BdrvSpan *span)
{
    if (G_LIKELY(span->bytes <= max_transfer(bs) && memory_fits(bs, span))) {
        return call_preadv(bs, span);
    }
    return in_pieces(bs, span, 0, false);
}

int coroutine_fn bdrv_driver_pwritev(BlockDriverState *bs,
                                     const BdrvSpan *span,
                                     BdrvRequestFlags flags)
{
    bool filtered = !bs->drv->co_pwritev && bs->drv->is_filter;
    bool flush = !filtered &&
                 bdrv_must_emulate_fua(flags, bs->drv->supported_write_flags);
    int ret;

    if (flush || bs->cache_no_flush) {
        flags &= ~BDRV_REQ_FUA;
    }
    if (G_LIKELY(span->bytes <= max_transfer(bs) && memory_fits(bs, span))) {
        ret = call_pwritev(bs, span, flags);
    } else {
        ret = in_pieces(bs, span, flags, true);
    }
    bdrv_node(bs)->write_gen++;
    return ret == 0 && flush ? bdrv_co_flush(bs) : ret;
}
