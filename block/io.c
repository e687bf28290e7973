/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gates for data: read and write. */
#include "qemu/osdep.h"
#include "block/node-int.h"
#include "io-int.h"

/* --- reading --- */

/* Copies a range that the node does not allocate into it. */
static int coroutine_fn copy_up(BlockDriverState *bs, int64_t offset,
                                int64_t bytes)
{
    void *buf = bdrv_try_blockalign(bs, bytes);
    QEMUIOVector qiov;
    BdrvSpan span = { offset, bytes, &qiov, 0 };
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&qiov, buf, bytes);
    ret = bdrv_driver_preadv(bs, &span);
    if (ret == 0) {
        bdrv_io_event(bs, BLKDEBUG_EVENT_COR_WRITE);
        /* The visible content does not change: bitmaps do not record it. */
        if (bs->drv->co_pwrite_zeroes && buffer_is_zero(buf, bytes)) {
            ret = bdrv_driver_pwrite_zeroes(bs, offset, bytes,
                                            BDRV_REQ_WRITE_UNCHANGED);
        } else {
            ret = bdrv_driver_pwritev(bs, &span, BDRV_REQ_WRITE_UNCHANGED);
        }
    }
    qemu_vfree(buf);
    return ret;
}

/* Whole clusters; the request is serialising for them (rule 4). */
static int coroutine_fn copy_on_read(BdrvRequest *r)
{
    BlockDriverState *bs = r->bs;
    int64_t max = MAX(BDRV_BOUNCE_BYTES, bdrv_get_cluster_size(bs));
    int64_t offset, bytes, end, n;
    int ret;

    bdrv_round_to_clusters(bs, r->offset, r->bytes, &offset, &bytes);
    end = MIN(offset + bytes, bs->total_bytes);
    for (; offset < end; offset += n) {
        ret = bdrv_co_is_allocated_within(r, offset, MIN(end - offset, max),
                                          &n);
        if (ret == 0 && n > 0) {
            n = ROUND_UP(n, bdrv_request_align(bs));
            ret = copy_up(bs, offset, n);
        }
        if (ret < 0) {
            return ret;
        }
        if (n == 0) {
            break;
        }
    }
    return 0;
}

/* The part past the node's end is zero. */
static int coroutine_fn read_past_end(BdrvRequest *r, const BdrvSpan *span)
{
    int64_t end = ROUND_UP(r->bs->total_bytes, bdrv_request_align(r->bs));
    BdrvSpan inside = *span;
    int ret = 0;

    inside.bytes = CLAMP(end - span->offset, 0, span->bytes);
    if (inside.bytes > 0) {
        ret = bdrv_driver_preadv(r->bs, &inside);
    }
    if (ret == 0 && inside.bytes < span->bytes) {
        qemu_iovec_memset(span->qiov, span->qiov_offset + inside.bytes, 0,
                          span->bytes - inside.bytes);
    }
    return ret;
}

int coroutine_fn bdrv_aligned_preadv(BdrvRequest *r, const BdrvSpan *span)
{
    if (G_LIKELY(span->offset + span->bytes <= r->bs->total_bytes)) {
        return bdrv_driver_preadv(r->bs, span);
    }
    return read_past_end(r, span);
}

int coroutine_fn bdrv_co_preadv(BdrvChild *child, int64_t offset,
                                int64_t bytes, QEMUIOVector *qiov,
                                size_t qiov_offset, BdrvRequestFlags flags)
{
    BdrvSpan span = { offset, bytes, qiov, qiov_offset };
    BdrvRequest r;
    int ret;

    bdrv_request_init(&r, child, BDRV_REQUEST_READ, offset, bytes, flags);
    if (G_UNLIKELY(bytes == 0 || bytes > BDRV_REQUEST_MAX_BYTES)) {
        ret = bdrv_request_check(&r);
        return ret < 0 || bytes == 0 ? ret : -EIO;
    }
    if (flags & BDRV_REQ_PREFETCH) {
        qiov = NULL; /* not wanted */
    }
    g_assert((flags & BDRV_REQ_PREFETCH) || bytes < 0 ||
             (qiov && qiov->size - qiov_offset >= bytes));
    ret = bdrv_request_begin(&r);
    if (ret < 0) {
        return ret;
    }
    if (G_UNLIKELY(r.copies_up)) {
        ret = copy_on_read(&r);
    }
    if (ret < 0 || !qiov) {
        /* failed, or only to be copied */
    } else if ((offset | bytes) & (bdrv_request_align(r.bs) - 1)) {
        ret = bdrv_padded_preadv(&r, &span);
    } else {
        ret = bdrv_aligned_preadv(&r, &span);
    }
    return bdrv_request_end(&r, ret);
}

/* --- writing --- */

/* Returns the flags that detect-zeroes adds to a write of zeroes. */
static BdrvRequestFlags detect_zeroes(const BlockDriverState *bs,
                                      const BdrvSpan *span,
                                      BdrvRequestFlags flags)
{
    if (G_LIKELY(bs->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF) ||
        (flags & (BDRV_REQ_ZERO_WRITE | BDRV_REQ_WRITE_COMPRESSED)) ||
        !(bs->drv->co_pwrite_zeroes || bs->drv->is_filter) ||
        !qemu_iovec_is_zero(span->qiov, span->qiov_offset, span->bytes)) {
        return flags;
    }
    flags |= BDRV_REQ_ZERO_WRITE;
    if (bs->detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP &&
        bs->discard_unmap) {
        flags |= BDRV_REQ_MAY_UNMAP;
    }
    return flags;
}

static int coroutine_fn pwritev_compressed(BlockDriverState *bs,
                                           const BdrvSpan *span,
                                           BdrvRequestFlags flags)
{
    const BlockDriver *drv = bs->drv;
    int ret;

    if (drv->co_pwritev_compressed) {
        ret = drv->co_pwritev_compressed(bs, span->offset, span->bytes,
                                         span->qiov, span->qiov_offset);
    } else if (drv->is_filter) {
        ret = bdrv_co_pwritev(bdrv_filter_child(bs), span->offset,
                              span->bytes, span->qiov, span->qiov_offset,
                              BDRV_REQ_WRITE_COMPRESSED);
    } else {
        return -ENOTSUP;
    }
    bdrv_node(bs)->write_gen++;
    return ret == 0 && (flags & BDRV_REQ_FUA) ? bdrv_co_flush(bs) : ret;
}

int coroutine_fn bdrv_aligned_pwritev(BdrvRequest *r, const BdrvSpan *span,
                                      BdrvRequestFlags flags)
{
    BlockDriverState *bs = r->bs;
    int ret;

    flags = detect_zeroes(bs, span, flags) & ~BDRV_REQ_SERIALISING;
    if (flags & BDRV_REQ_ZERO_WRITE) {
        bdrv_io_event(bs, BLKDEBUG_EVENT_PWRITEV_ZERO);
        ret = bdrv_driver_pwrite_zeroes(bs, span->offset, span->bytes, flags);
    } else if (flags & BDRV_REQ_WRITE_COMPRESSED) {
        ret = pwritev_compressed(bs, span, flags);
    } else {
        bdrv_io_event(bs, BLKDEBUG_EVENT_PWRITEV);
        ret = bdrv_driver_pwritev(bs, span, flags);
    }
    bdrv_io_event(bs, BLKDEBUG_EVENT_PWRITEV_DONE);
    return ret;
}

int coroutine_fn bdrv_co_pwritev(BdrvChild *child, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags)
{
    BdrvSpan span = { offset, bytes, qiov, qiov_offset };
    BdrvRequest r;
    int ret;

    bdrv_request_init(&r, child, BDRV_REQUEST_WRITE, offset, bytes, flags);
    if (G_UNLIKELY(bytes == 0 || bytes > BDRV_REQUEST_MAX_BYTES)) {
        ret = bdrv_request_check(&r);
        return ret < 0 || bytes == 0 ? ret : -EIO;
    }
    g_assert(bytes < 0 || qiov->size - qiov_offset >= bytes);
    ret = bdrv_request_begin(&r);
    if (ret < 0) {
        return ret;
    }
    if (G_UNLIKELY((offset | bytes) & (bdrv_request_align(r.bs) - 1))) {
        ret = bdrv_padded_pwritev(&r, &span);
    } else {
        ret = bdrv_aligned_pwritev(&r, &span, flags);
    }
    return bdrv_request_end(&r, ret);
}

int coroutine_fn bdrv_co_pread(BdrvChild *child, int64_t offset,
                               int64_t bytes, void *buf,
                               BdrvRequestFlags flags)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, MAX(bytes, 0));
    return bdrv_co_preadv(child, offset, bytes, &qiov, 0, flags);
}

int coroutine_fn bdrv_co_pwrite(BdrvChild *child, int64_t offset,
                                int64_t bytes, const void *buf,
                                BdrvRequestFlags flags)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, (void *)(uintptr_t)buf, MAX(bytes, 0));
    return bdrv_co_pwritev(child, offset, bytes, &qiov, 0, flags);
}
