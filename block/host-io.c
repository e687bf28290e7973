/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host I/O: ranges that a worker thread reads and writes by itself.
 *
 * Reading: the top node has one read in flight; the levels below are only
 * asked.  Writing: each level it passes becomes a frame, with a write in
 * flight and, if its driver wants to know, an end.
 *
 *     frame 0   top node      begin: downwards     ^ end: upwards
 *     frame 1   its child                |         |
 *     frame 2   host file                v         |
 *
 * Whatever a level would have to do to the data or its timing (detect zeroes,
 * pad, throttle, copy on read) makes it -ENOTSUP: the general path does it.
 */
#include "qemu/osdep.h"
#include "io-int.h"

/* Deeper trees take the general path. */
#define HOST_FRAMES 8

typedef struct HostFrame {
    BdrvRequest r;
    void *priv;
    bool begun;    /* the driver wants to hear of the end */
    int64_t bytes; /* of the range that was found */
} HostFrame;

struct BdrvHostIO {
    int frames;
    HostFrame frame[HOST_FRAMES];
};

static bool meets_alignment(const BlockDriverState *bs, int64_t offset,
                            int64_t bytes)
{
    return !((offset | bytes) & (bdrv_request_align(bs) - 1));
}

/* --- reading --- */

int coroutine_fn bdrv_co_host_read(BdrvChild *child, int64_t offset,
                                   int64_t bytes, BdrvHostRange *range)
{
    int ret = bdrv_gate_check(child, offset, bytes);
    BlockDriverState *bs;

    if (ret < 0) {
        return ret;
    }
    bs = child->bs;
    if (offset >= bs->total_bytes) {
        *range = (BdrvHostRange) {
            .kind = BDRV_HOST_ZERO, .fd = -1, .bytes = bytes, .align = 1,
        };
        return 0;
    }
    bytes = MIN(bytes, bs->total_bytes - offset);
    if (bs->copy_on_read || !meets_alignment(bs, offset, bytes)) {
        return -ENOTSUP;
    }
    if (bs->drv->co_host_read) {
        ret = bs->drv->co_host_read(bs, offset, bytes, range);
    } else if (bs->drv->is_filter && !bs->drv->co_preadv) {
        ret = bdrv_co_host_read(bdrv_filter_child(bs), offset, bytes, range);
    } else {
        return -ENOTSUP;
    }
    g_assert(ret < 0 || (range->bytes > 0 && range->bytes <= bytes));
    return ret;
}

BdrvHostIO *coroutine_fn bdrv_co_host_read_begin(BdrvChild *child,
                                                 int64_t offset, int64_t bytes,
                                                 BdrvHostRange *range,
                                                 int *ret)
{
    BdrvHostIO *io;

    *ret = bdrv_gate_check(child, offset, bytes);
    if (*ret < 0) {
        return NULL;
    }
    g_assert(bytes > 0);
    io = g_new(BdrvHostIO, 1);
    io->frames = 1;
    bdrv_request_begin(&io->frame[0].r, child, offset, bytes,
                       BDRV_TRACKED_READ, 0);
    io->frame[0].r.t.co = NULL; /* it outlives this call */
    bdrv_wait_serialising_requests(&io->frame[0].r.t);
    *ret = bdrv_co_host_read(child, offset, bytes, range);
    if (*ret < 0) {
        bdrv_co_host_read_end(io);
        return NULL;
    }
    return io;
}

void coroutine_fn bdrv_co_host_read_end(BdrvHostIO *io)
{
    bdrv_request_end(&io->frame[0].r, 0);
    g_free(io);
}

/* --- writing --- */

/* Must the general path do something to a write of this level? */
static bool needs_general_path(const BlockDriverState *bs, int64_t offset,
                               int64_t bytes)
{
    const BlockDriver *drv = bs->drv;

    if (bs->detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF ||
        (bs->write_threshold && offset + bytes > bs->write_threshold) ||
        !meets_alignment(bs, offset, bytes)) {
        return true;
    }
    if (drv->co_host_write_begin) {
        return false;
    }
    return !drv->is_filter || drv->co_pwritev || drv->co_pwrite_zeroes;
}

/* Ends the frame that is last; returns the result for the level above. */
static int coroutine_fn pop_frame(BdrvHostIO *io, int result)
{
    HostFrame *f = &io->frame[--io->frames];
    BlockDriverState *bs = f->r.bs;
    int ret = MIN(result, 0);

    if (f->begun && bs->drv->co_host_write_end) {
        ret = bs->drv->co_host_write_end(bs, f->priv, result);
        ret = MIN(ret, result < 0 ? result : 0);
    }
    bs->write_gen++;
    if (f->bytes > 0) {
        bdrv_write_finish(&f->r, f->r.t.offset, f->bytes, ret);
    }
    bdrv_request_end(&f->r, 0);
    return ret < 0 ? ret : result;
}

/* One level: the driver's own begin, or on to a filter's child. */
static int coroutine_fn begin_frame(BdrvHostIO *io, HostFrame *f,
                                    BdrvHostRange *range)
{
    BlockDriverState *bs = f->r.bs;
    int ret;

    if (bs->drv->co_host_write_begin) {
        ret = bs->drv->co_host_write_begin(bs, f->r.t.offset, f->r.t.bytes,
                                           io, range, &f->priv);
        f->begun = ret == 0;
    } else {
        ret = bdrv_co_host_write_child(io, bdrv_filter_child(bs),
                                       f->r.t.offset, f->r.t.bytes, range);
    }
    if (ret < 0) {
        return ret;
    }
    g_assert(range->kind == BDRV_HOST_FILE && range->bytes > 0 &&
             range->bytes <= f->r.t.bytes);
    f->bytes = range->bytes;
    /* Nothing can have been written before we return: mark it now. */
    bdrv_mark_dirty(bs, f->r.t.offset, f->bytes);
    return 0;
}

int coroutine_fn bdrv_co_host_write_child(BdrvHostIO *io, BdrvChild *child,
                                          int64_t offset, int64_t bytes,
                                          BdrvHostRange *range)
{
    int level = io->frames;
    HostFrame *f = &io->frame[level];
    int ret = bdrv_gate_check_write(child, offset, bytes, 0);

    if (ret < 0) {
        return ret;
    }
    if (level == HOST_FRAMES ||
        needs_general_path(child->bs, offset, bytes)) {
        return -ENOTSUP;
    }
    io->frames++;
    f->priv = NULL;
    f->begun = false;
    f->bytes = 0;
    bdrv_request_begin(&f->r, child, offset, bytes, BDRV_TRACKED_WRITE, 0);
    f->r.t.co = NULL; /* it outlives this call */
    bdrv_wait_serialising_requests(&f->r.t);
    ret = begin_frame(io, f, range);
    if (ret < 0) {
        while (io->frames > level) {
            pop_frame(io, -ECANCELED);
        }
    }
    return ret;
}

BdrvHostIO *coroutine_fn bdrv_co_host_write_begin(BdrvChild *child,
                                                  int64_t offset,
                                                  int64_t bytes,
                                                  BdrvHostRange *range,
                                                  int *ret)
{
    BdrvHostIO *io = g_new(BdrvHostIO, 1);

    g_assert(bytes > 0);
    io->frames = 0;
    *ret = bdrv_co_host_write_child(io, child, offset, bytes, range);
    if (*ret < 0) {
        g_free(io);
        return NULL;
    }
    return io;
}

int coroutine_fn bdrv_co_host_write_end(BdrvHostIO *io, int result)
{
    while (io->frames > 0) {
        result = pop_frame(io, result);
    }
    g_free(io);
    return MIN(result, 0);
}

/* --- copying between two host files --- */

typedef struct HostCopy {
    const BdrvHostRange *from, *to;
    int64_t bytes;
} HostCopy;

/* In a worker thread.  -ENOTSUP where the kernel cannot. */
static int copy_work(void *opaque)
{
    const HostCopy *c = opaque;
    off_t in = c->from->offset, out = c->to->offset;
    int64_t left = c->bytes;

    while (left > 0) {
        ssize_t n = copy_file_range(c->from->fd, &in, c->to->fd, &out, left,
                                    0);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            /* 0: past the end of the source, which reads as zeroes */
            return n == 0 || errno == EXDEV || errno == EINVAL ||
                   errno == ENOSYS || errno == EBADF || errno == EOPNOTSUPP
                   ? -ENOTSUP : -errno;
        }
        left -= n;
    }
    return 0;
}

/* Writes what was found at the source; *@done of it. */
static int coroutine_fn copy_found(const BdrvHostRange *from, BdrvChild *dst,
                                   int64_t offset, int64_t *done)
{
    BdrvHostRange to;
    HostCopy copy = { .from = from, .to = &to };
    BdrvHostIO *io;
    int ret;

    if (from->kind == BDRV_HOST_ZERO) {
        *done = from->bytes;
        return bdrv_co_pwrite_zeroes(dst, offset, from->bytes, 0);
    }
    io = bdrv_co_host_write_begin(dst, offset, from->bytes, &to, &ret);
    if (!io) {
        return ret;
    }
    *done = copy.bytes = MIN(to.bytes, from->bytes);
    ret = thread_pool_co_run(copy_work, &copy);
    return bdrv_co_host_write_end(io, ret < 0 ? ret : BDRV_HOST_WRITTEN);
}

int coroutine_fn bdrv_co_copy_range(BdrvChild *src, int64_t src_offset,
                                    BdrvChild *dst, int64_t dst_offset,
                                    int64_t bytes, BdrvRequestFlags flags)
{
    int ret = bdrv_gate_check(src, src_offset, bytes);

    if (ret == 0) {
        ret = bdrv_gate_check_write(dst, dst_offset, bytes, flags);
    }
    if (flags & ~BDRV_REQ_FUA) {
        return -ENOTSUP;
    }
    while (ret == 0 && bytes > 0) {
        BdrvHostRange from;
        BdrvHostIO *io = bdrv_co_host_read_begin(src, src_offset, bytes,
                                                 &from, &ret);
        int64_t done = 0;

        if (!io) {
            break;
        }
        ret = copy_found(&from, dst, dst_offset, &done);
        bdrv_co_host_read_end(io);
        src_offset += done;
        dst_offset += done;
        bytes -= done;
    }
    if (ret == 0 && (flags & BDRV_REQ_FUA)) {
        ret = bdrv_co_flush(dst->bs);
    }
    return ret;
}
