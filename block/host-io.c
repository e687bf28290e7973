/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Host I/O: ranges that a worker thread reads and writes by itself.
 *
 * Each level on the way has a request in flight (rule 9 of block/request.h),
 * and its driver may keep its part until its ..._end() is called.
 *
 *     top node      begin: downwards     ^ end: upwards
 *       | lower             |            |
 *     its child             |            |
 *       | lower             |            |
 *     host file             v            |
 *
 * A level that must process or delay the data (detect zeroes, pad, throttle,
 * copy on read) returns -ENOTSUP: then the general path is used.
 */
#include "qemu/osdep.h"
#include "block/node-int.h"
#include "io-int.h"

/* Must a read of this level take the general path? */
static bool read_needs_general_path(const BlockDriverState *bs)
{
    const BlockDriver *drv = bs->drv;

    return !drv->co_host_read_begin && (!drv->is_filter || drv->co_preadv);
}

/* The same for a write. */
static bool write_needs_general_path(const BlockDriverState *bs, int64_t end)
{
    const BlockDriver *drv = bs->drv;
    uint64_t threshold = bdrv_node(bs)->write_threshold;

    if (bs->detect_zeroes != BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF ||
        (threshold && end > threshold)) {
        return true;
    }
    if (drv->co_host_write_begin) {
        return false;
    }
    return !drv->is_filter || drv->co_pwritev || drv->co_pwrite_zeroes;
}

/* Sets @r->host by the driver, or by the child of a filter. */
static int coroutine_fn ask_driver(BdrvRequest *r)
{
    BlockDriverState *bs = r->bs;
    const BlockDriver *drv = bs->drv;
    int coroutine_fn (*begin)(BlockDriverState *, BdrvRequest *) =
        r->type == BDRV_REQUEST_READ ? drv->co_host_read_begin
                                     : drv->co_host_write_begin;
    int ret;

    if (!begin) {
        return bdrv_co_host_child(r, bdrv_filter_child(bs), r->offset,
                                  r->bytes);
    }
    ret = begin(bs, r);
    r->driver_holds = ret == 0;
    return ret;
}

/* Begin may have waited, so the present size counts. */
static int coroutine_fn resolve(BdrvRequest *r)
{
    int64_t align = bdrv_request_align(r->bs);
    int ret = -ENOTSUP;

    if (r->type == BDRV_REQUEST_READ && r->offset >= r->bs->total_bytes) {
        return bdrv_co_host_zero(r, r->bytes);
    }
    if (r->type == BDRV_REQUEST_READ) {
        bdrv_request_narrow(r, MIN(r->bytes,
                                   r->bs->total_bytes - r->offset));
    }
    if (!((r->offset | r->bytes) & (align - 1))) {
        ret = ask_driver(r);
    }
    if (ret < 0) {
        return ret;
    }
    g_assert(r->host.bytes > 0 && r->host.bytes <= r->bytes);
    g_assert(r->type == BDRV_REQUEST_READ || r->host.kind == BDRV_HOST_FILE);
    bdrv_request_narrow(r, r->host.bytes);
    return 0;
}

/* Ends one level and all below it, and frees them.  Returns 0 or -errno. */
static int coroutine_fn end_level(BdrvRequest *r, int result)
{
    const BlockDriver *drv = r->bs->drv;
    int ret = MIN(result, 0);

    if (r->lower) {
        ret = end_level(r->lower, result);
        result = ret < 0 ? ret : result;
    }
    if (r->type == BDRV_REQUEST_READ) {
        if (r->driver_holds && drv->co_host_read_end) {
            drv->co_host_read_end(r->bs, r);
        }
    } else {
        if (r->driver_holds && drv->co_host_write_end) {
            ret = drv->co_host_write_end(r->bs, r, result);
            ret = result < 0 ? result : MIN(ret, 0);
        }
        bdrv_node(r->bs)->write_gen++;
    }
    bdrv_request_end(r, ret);
    g_free(r);
    return ret;
}

static BdrvRequest *coroutine_fn begin_level(BdrvChild *child,
                                             BdrvRequestType type,
                                             int64_t offset, int64_t bytes,
                                             int *ret)
{
    BdrvRequest *r, try;

    g_assert(bytes > 0);
    bdrv_request_init(&try, child, type, offset, bytes, 0);
    *ret = bdrv_request_check(&try);
    if (*ret < 0) {
        return NULL;
    }
    /* The request is not begun, so that nothing is marked as written. */
    if (type == BDRV_REQUEST_READ
        ? read_needs_general_path(try.bs)
        : write_needs_general_path(try.bs, offset + bytes) ||
          ((offset | bytes) & (bdrv_request_align(try.bs) - 1))) {
        *ret = -ENOTSUP;
        return NULL;
    }
    r = g_new0(BdrvRequest, 1);
    bdrv_request_init(r, child, type, offset, bytes, 0);
    *ret = bdrv_request_begin(r);
    if (*ret < 0) {
        g_free(r);
        return NULL;
    }
    r->co = NULL; /* it outlives this call */
    *ret = resolve(r);
    if (*ret < 0) {
        end_level(r, type == BDRV_REQUEST_READ ? 0 : -ECANCELED);
        return NULL;
    }
    return r;
}

int coroutine_fn bdrv_co_host_child(BdrvRequest *r, BdrvChild *child,
                                    int64_t offset, int64_t bytes)
{
    int ret;

    g_assert(!r->lower);
    r->lower = begin_level(child, r->type, offset, bytes, &ret);
    if (r->lower) {
        r->host = r->lower->host;
    }
    return ret;
}

int bdrv_co_host_zero(BdrvRequest *r, int64_t bytes)
{
    r->host = (BdrvHostRange) {
        .kind = BDRV_HOST_ZERO, .fd = -1, .bytes = bytes, .align = 1,
    };
    return 0;
}

int coroutine_fn bdrv_co_host_backing(BdrvRequest *r, int64_t bytes)
{
    BdrvChild *backing = r->bs->backing;
    int64_t len = backing ? bdrv_getlength(backing->bs) : 0;

    if (len < 0) {
        return len;
    }
    if (r->offset >= len) {
        return bdrv_co_host_zero(r, bytes);
    }
    return bdrv_co_host_child(r, backing, r->offset,
                              MIN(bytes, len - r->offset));
}

BdrvRequest *coroutine_fn bdrv_co_host_read_begin(BdrvChild *child,
                                                  int64_t offset,
                                                  int64_t bytes, int *ret)
{
    return begin_level(child, BDRV_REQUEST_READ, offset, bytes, ret);
}

void coroutine_fn bdrv_co_host_read_end(BdrvRequest *r)
{
    g_assert(r->type == BDRV_REQUEST_READ);
    end_level(r, 0);
}

BdrvRequest *coroutine_fn bdrv_co_host_write_begin(BdrvChild *child,
                                                   int64_t offset,
                                                   int64_t bytes, int *ret)
{
    return begin_level(child, BDRV_REQUEST_WRITE, offset, bytes, ret);
}

int coroutine_fn bdrv_co_host_write_end(BdrvRequest *r, int result)
{
    g_assert(r->type == BDRV_REQUEST_WRITE);
    return end_level(r, result);
}

/* --- copying between two host files --- */

typedef struct HostCopy {
    const BdrvHostRange *from, *to;
    int64_t bytes;
} HostCopy;

/* Runs in a worker thread.  -ENOTSUP if the kernel cannot copy. */
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

static bool may_copy(const BdrvRequest *r)
{
    while (r && !r->bs->drv->no_copy_range) {
        r = r->lower;
    }
    return !r;
}

/* Writes the data found at the source; *@done bytes of it. */
static int coroutine_fn copy_found(const BdrvRequest *r, BdrvChild *dst,
                                   int64_t offset, int64_t *done)
{
    const BdrvHostRange *from = &r->host;
    HostCopy copy = { .from = from };
    BdrvRequest *to;
    int ret;

    if (!may_copy(r)) {
        return -ENOTSUP;
    }
    if (from->kind == BDRV_HOST_ZERO) {
        *done = from->bytes;
        return bdrv_co_pwrite_zeroes(dst, offset, from->bytes, 0);
    }
    to = bdrv_co_host_write_begin(dst, offset, from->bytes, &ret);
    if (!to) {
        return ret;
    }
    copy.to = &to->host;
    *done = copy.bytes = to->host.bytes;
    ret = thread_pool_co_run(copy_work, &copy);
    return bdrv_co_host_write_end(to, ret < 0 ? ret : BDRV_HOST_WRITTEN);
}

int coroutine_fn bdrv_co_copy_range(BdrvChild *src, int64_t src_offset,
                                    BdrvChild *dst, int64_t dst_offset,
                                    int64_t bytes)
{
    BdrvRequest try;
    int ret;

    bdrv_request_init(&try, src, BDRV_REQUEST_READ, src_offset, bytes, 0);
    ret = bdrv_request_check(&try);
    if (ret == 0) {
        bdrv_request_init(&try, dst, BDRV_REQUEST_WRITE, dst_offset, bytes,
                          0);
        ret = bdrv_request_check(&try);
    }
    while (ret == 0 && bytes > 0) {
        BdrvRequest *from = bdrv_co_host_read_begin(src, src_offset, bytes,
                                                    &ret);
        int64_t done = 0;

        if (!from) {
            break;
        }
        ret = copy_found(from, dst, dst_offset, &done);
        bdrv_co_host_read_end(from);
        src_offset += done;
        dst_offset += done;
        bytes -= done;
    }
    return ret;
}
