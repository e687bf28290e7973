/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gates for data: read and write; and the one place where dirty bitmaps
 * are marked.
 *
 * A write marks its range before it is issued, so that what can be on disk
 * after a crash is known to be dirty, and again when it is done (or failed),
 * so that somebody who cleared the bit while the write was under way, and
 * copied the old data, sees it dirty again.
 */
#include "qemu/osdep.h"
#include "io-int.h"

/* --- gate --- */

int bdrv_gate_check(const BdrvChild *child, int64_t offset, int64_t bytes)
{
    if (!child || !child->bs || !child->bs->drv) {
        return -ENOMEDIUM;
    }
    if (offset < 0 || bytes < 0 || bytes > BDRV_MAX_LENGTH ||
        offset > BDRV_MAX_LENGTH - bytes) {
        return -EIO;
    }
    return 0;
}

int bdrv_gate_check_write(const BdrvChild *child, int64_t offset,
                          int64_t bytes, BdrvRequestFlags flags)
{
    uint64_t need = BLK_PERM_WRITE;
    int ret = bdrv_gate_check(child, offset, bytes);

    if (ret < 0) {
        return ret;
    }
    if (G_UNLIKELY(child->bs->read_only)) {
        return -EPERM;
    }
    if (flags & BDRV_REQ_WRITE_UNCHANGED) {
        need |= BLK_PERM_WRITE_UNCHANGED;
    }
    g_assert(child->perm & need);
    /* The last block may be padded past an end that is not aligned. */
    if (G_UNLIKELY(offset + bytes > child->bs->total_bytes) &&
        !(child->perm & BLK_PERM_RESIZE) &&
        offset + bytes > ROUND_UP(child->bs->total_bytes,
                                  bdrv_request_align(child->bs))) {
        return -EIO;
    }
    return 0;
}

void coroutine_fn bdrv_request_begin(BdrvRequest *r, BdrvChild *child,
                                     int64_t offset, int64_t bytes,
                                     BdrvTrackedType type,
                                     BdrvRequestFlags flags)
{
    r->child = child;
    r->bs = child->bs;
    r->flags = flags;
    bdrv_inc_in_flight(r->bs);
    bdrv_tracked_request_begin(&r->t, r->bs, offset, bytes, type);
    if (G_UNLIKELY(flags & BDRV_REQ_SERIALISING)) {
        bdrv_make_request_serialising(&r->t, bdrv_get_cluster_size(r->bs));
    }
}

int coroutine_fn bdrv_request_end(BdrvRequest *r, int ret)
{
    bdrv_tracked_request_end(&r->t);
    bdrv_dec_in_flight(r->bs);
    /* A driver that fails without saying why has a bug. */
    g_assert(ret <= 0);
    return ret;
}

/* --- reading --- */

/* Copies a range that the node lacks up into it. */
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
        /* What it reads does not change: bitmaps are not concerned. */
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

/* Whole clusters, locked, so that no write comes between read and write. */
static int coroutine_fn copy_on_read(BdrvRequest *r)
{
    BlockDriverState *bs = r->bs;
    int64_t max = MAX(BDRV_BOUNCE_BYTES, bdrv_get_cluster_size(bs));
    int64_t offset, bytes, end, n;
    int ret;

    g_assert(r->child->perm & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED));
    bdrv_make_request_serialising(&r->t, bdrv_get_cluster_size(bs));
    bdrv_round_to_clusters(bs, r->t.offset, r->t.bytes, &offset, &bytes);
    end = MIN(offset + bytes, bs->total_bytes);
    for (; offset < end; offset += n) {
        ret = bdrv_is_allocated(bs, offset, MIN(end - offset, max), &n);
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

/* What is past the node's end is zero. */
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
    bdrv_wait_serialising_requests(&r->t);
    if (G_LIKELY(span->offset + span->bytes <= r->bs->total_bytes)) {
        return bdrv_driver_preadv(r->bs, span);
    }
    return read_past_end(r, span);
}

static bool copies_on_read(const BdrvChild *child, BdrvRequestFlags flags)
{
    return G_UNLIKELY(child->bs->copy_on_read ||
                      (flags & BDRV_REQ_COPY_ON_READ)) &&
           !child->bs->read_only;
}

int coroutine_fn bdrv_co_preadv(BdrvChild *child, int64_t offset,
                                int64_t bytes, QEMUIOVector *qiov,
                                size_t qiov_offset, BdrvRequestFlags flags)
{
    BdrvSpan span = { offset, bytes, qiov, qiov_offset };
    BdrvRequest r;
    int ret = bdrv_gate_check(child, offset, bytes);

    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if (bytes > BDRV_REQUEST_MAX_BYTES) {
        return -EIO;
    }
    if (flags & BDRV_REQ_PREFETCH) {
        qiov = NULL; /* not wanted */
    }
    g_assert((flags & BDRV_REQ_PREFETCH) ||
             (qiov && qiov->size - qiov_offset >= bytes));
    bdrv_request_begin(&r, child, offset, bytes, BDRV_TRACKED_READ, flags);
    if (copies_on_read(child, flags)) {
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

void bdrv_mark_dirty(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    if (bs->bitmaps.recording && offset < bs->total_bytes && bytes > 0) {
        bytes = MIN(bytes, bs->total_bytes - offset);
        bdrv_dirty_bitmap_mark(bs, offset, bytes);
    }
}

static void check_write_threshold(BlockDriverState *bs, int64_t end)
{
    uint64_t threshold = bs->write_threshold;

    if (G_UNLIKELY(threshold && end > threshold)) {
        bs->write_threshold = 0; /* tells once */
        if (bdrv_event_hooks.write_threshold) {
            bdrv_event_hooks.write_threshold(bs, threshold, end - threshold);
        }
    }
}

void coroutine_fn bdrv_write_prepare(BdrvRequest *r, int64_t offset,
                                     int64_t bytes)
{
    bdrv_wait_serialising_requests(&r->t);
    if (!(r->flags & BDRV_REQ_WRITE_UNCHANGED)) {
        bdrv_mark_dirty(r->bs, offset, bytes);
    }
    if (r->t.type == BDRV_TRACKED_WRITE) {
        check_write_threshold(r->bs, offset + bytes);
    }
}

/* A write past the end of a node that may grow made it larger. */
static void grow_to(BlockDriverState *bs, int64_t end)
{
    BdrvChild *parent;

    bs->total_bytes = end;
    bdrv_dirty_bitmap_truncate_all(bs, end);
    LIST_FOREACH(parent, &bs->parents, next_parent) {
        if (parent->klass->resize) {
            parent->klass->resize(parent);
        }
    }
}

void bdrv_written_to(const BdrvChild *child, int64_t end)
{
    BlockDriverState *bs = child->bs;

    bs->wr_highest_offset = MAX(bs->wr_highest_offset, (uint64_t)end);
    if (G_UNLIKELY(end > bs->total_bytes) &&
        (child->perm & BLK_PERM_RESIZE)) {
        grow_to(bs, end);
    }
}

void bdrv_write_finish(BdrvRequest *r, int64_t offset, int64_t bytes, int ret)
{
    if (ret == 0 && r->t.type == BDRV_TRACKED_WRITE) {
        bdrv_written_to(r->child, offset + bytes);
    } else if (G_UNLIKELY(ret < 0 && offset + bytes > r->bs->total_bytes)) {
        bdrv_dirty_bitmap_growth_failed(r->bs, offset + bytes);
    }
    if (!(r->flags & BDRV_REQ_WRITE_UNCHANGED)) {
        bdrv_mark_dirty(r->bs, offset, bytes);
    }
}

/* With detect-zeroes: the flags that make of a write of zeroes what it is. */
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
    bs->write_gen++;
    return ret == 0 && (flags & BDRV_REQ_FUA) ? bdrv_co_flush(bs) : ret;
}

int coroutine_fn bdrv_aligned_pwritev(BdrvRequest *r, const BdrvSpan *span,
                                      BdrvRequestFlags flags)
{
    BlockDriverState *bs = r->bs;
    int ret;

    bdrv_write_prepare(r, span->offset, span->bytes);
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
    bdrv_write_finish(r, span->offset, span->bytes, ret);
    return ret;
}

int coroutine_fn bdrv_co_pwritev(BdrvChild *child, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags)
{
    BdrvSpan span = { offset, bytes, qiov, qiov_offset };
    BdrvRequest r;
    int ret = bdrv_gate_check_write(child, offset, bytes, flags);

    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if (bytes > BDRV_REQUEST_MAX_BYTES) {
        return -EIO;
    }
    g_assert(qiov->size - qiov_offset >= bytes);
    bdrv_request_begin(&r, child, offset, bytes, BDRV_TRACKED_WRITE, flags);
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
