/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing zeroes: by the driver if it can, else as data.
 *
 * The driver gets whole granules of its pwrite_zeroes_alignment, and the parts
 * of granules at both ends separately (which it may refuse by -ENOTSUP).
 */
#include "qemu/osdep.h"
#include "block/node-int.h"
#include "io-int.h"

static int coroutine_fn call_pwrite_zeroes(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           BdrvRequestFlags flags)
{
    const BlockDriver *drv = bs->drv;

    flags &= ~BDRV_REQ_ZERO_WRITE;
    if (drv->co_pwrite_zeroes) {
        return drv->co_pwrite_zeroes(bs, offset, bytes,
                                     flags & drv->supported_zero_flags);
    }
    /* A filter that observes writes must see these, too. */
    if (drv->is_filter && !drv->co_pwritev) {
        return bdrv_co_pwrite_zeroes(bdrv_filter_child(bs), offset, bytes,
                                     flags);
    }
    return -ENOTSUP;
}

/* Writes the same as data. */
static int coroutine_fn write_zero_buffers(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           BdrvRequestFlags flags)
{
    int64_t align = bdrv_request_align(bs);
    int64_t size = MIN(bytes, MAX(ROUND_DOWN(BDRV_BOUNCE_BYTES, align), align));
    void *buf = bdrv_try_blockalign(bs, size);
    QEMUIOVector qiov;
    int ret = 0;

    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, size);
    flags &= BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED;
    for (int64_t done = 0; ret == 0 && done < bytes; done += size) {
        BdrvSpan span = {
            .offset = offset + done,
            .bytes = MIN(size, bytes - done),
            .qiov = &qiov,
        };

        qemu_iovec_init_buf(&qiov, buf, span.bytes);
        ret = bdrv_driver_pwritev(bs, &span, flags);
    }
    qemu_vfree(buf);
    return ret;
}

/* Length of the next piece: part of a granule, or whole granules. */
static int64_t next_piece(int64_t offset, int64_t bytes, int64_t align,
                          int64_t max)
{
    int64_t head = offset % align;
    int64_t n = bytes;

    if (head) {
        n = MIN(n, align - head);
    } else if (n > align) {
        n -= (offset + n) % align;
    }
    return MIN(n, max);
}

int coroutine_fn bdrv_driver_pwrite_zeroes(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           BdrvRequestFlags flags)
{
    bool filtered = !bs->drv->co_pwrite_zeroes && bs->drv->is_filter;
    int64_t align = MAX(bs->bl.pwrite_zeroes_alignment,
                        bdrv_request_align(bs));
    int64_t max = MAX(ROUND_DOWN(bs->bl.max_pwrite_zeroes
                                 ? bs->bl.max_pwrite_zeroes : INT64_MAX,
                                 align), align);
    bool flush = !filtered &&
                 bdrv_must_emulate_fua(flags, bs->drv->supported_zero_flags);
    int ret = 0;

    if (flush || bs->cache_no_flush) {
        flags &= ~BDRV_REQ_FUA;
    }
    while (ret == 0 && bytes > 0) {
        int64_t n = next_piece(offset, bytes, align, max);

        ret = call_pwrite_zeroes(bs, offset, n, flags);
        if (ret == -ENOTSUP && !(flags & BDRV_REQ_NO_FALLBACK)) {
            ret = write_zero_buffers(bs, offset, n, flags);
        }
        offset += n;
        bytes -= n;
    }
    bdrv_node(bs)->write_gen++;
    return ret == 0 && flush ? bdrv_co_flush(bs) : ret;
}

/* Zeroes in a part of one block: read-modify-write. */
static int coroutine_fn zero_part(BdrvRequest *r, int64_t offset,
                                  int64_t bytes)
{
    g_autofree void *buf = g_try_malloc0(bytes);
    QEMUIOVector qiov;
    BdrvSpan span = { .offset = offset, .bytes = bytes, .qiov = &qiov };

    if (!buf) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&qiov, buf, bytes);
    return bdrv_padded_pwritev(r, &span);
}

static int coroutine_fn zero_range(BdrvRequest *r, int64_t offset,
                                   int64_t bytes, BdrvRequestFlags flags)
{
    int64_t align = bdrv_request_align(r->bs);
    int64_t end = offset + bytes;
    int ret = 0;

    /* r->flags are those of the data writes at both ends. */
    r->flags = flags & ~(BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK);
    if (offset % align) {
        int64_t n = MIN(align - offset % align, bytes);

        ret = zero_part(r, offset, n);
        offset += n;
    }
    if (ret == 0 && end - offset >= align) {
        BdrvSpan span = { offset, ROUND_DOWN(end - offset, align), NULL, 0 };

        ret = bdrv_aligned_pwritev(r, &span, flags | BDRV_REQ_ZERO_WRITE);
        offset += span.bytes;
    }
    if (ret == 0 && offset < end) {
        ret = zero_part(r, offset, end - offset);
    }
    return ret;
}

int coroutine_fn bdrv_co_pwrite_zeroes(BdrvChild *child, int64_t offset,
                                       int64_t bytes, BdrvRequestFlags flags)
{
    BdrvRequest r;
    int ret;

    bdrv_request_init(&r, child, BDRV_REQUEST_WRITE, offset, bytes, flags);
    ret = bytes ? bdrv_request_begin(&r) : bdrv_request_check(&r);
    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if (!r.bs->discard_unmap) {
        flags &= ~BDRV_REQ_MAY_UNMAP;
    }
    ret = zero_range(&r, offset, bytes, flags);
    return bdrv_request_end(&r, ret);
}
