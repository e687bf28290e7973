/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges of images that worker threads read and write: see host.h. */
#include "qemu/osdep.h"

#include "block/request.h"
#include "host.h"
#include "qemu/aio.h"

/* Can @buf be transferred without a copy? */
static bool is_aligned(const BdrvHostRange *range, const uint8_t *buf)
{
    return range->kind == BDRV_HOST_ZERO ||
           (IS_ALIGNED(range->offset, (int64_t)range->align) &&
            IS_ALIGNED(range->bytes, (int64_t)range->align) &&
            IS_ALIGNED((uintptr_t)buf, range->align));
}

/* The part past the end of a file is zero. */
static int read_range(const BdrvHostRange *range, uint8_t *buf)
{
    int64_t done = 0;

    while (range->kind == BDRV_HOST_FILE && done < range->bytes) {
        ssize_t n = pread(range->fd, buf + done, range->bytes - done,
                          range->offset + done);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        done += MAX(n, 0);
    }
    memset(buf + done, 0, range->bytes - done);
    return 0;
}

static int write_range(const BdrvHostRange *range, const uint8_t *buf)
{
    int64_t done = 0;

    while (done < range->bytes) {
        ssize_t n = pwrite(range->fd, buf + done, range->bytes - done,
                           range->offset + done);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -EIO;
        }
        done += MAX(n, 0);
    }
    return 0;
}

bool coroutine_fn host_read_begin(HostBatch *b, BdrvChild *child,
                                  int64_t offset, int64_t bytes, uint8_t *buf)
{
    int had = b->n;
    int ret;

    while (bytes > 0 && b->n < HOST_RANGES) {
        BdrvRequest *r = bdrv_co_host_read_begin(child, offset, bytes, &ret);

        if (!r) {
            break;
        }
        b->r[b->n].r = r;
        b->r[b->n++].buf = buf;
        if (!is_aligned(&r->host, buf)) {
            break;
        }
        offset += r->bytes;
        buf += r->bytes;
        bytes -= r->bytes;
    }
    while (bytes > 0 && b->n > had) {
        bdrv_co_host_read_end(b->r[--b->n].r);
    }
    return bytes <= 0;
}

void coroutine_fn host_read_end(HostBatch *b)
{
    while (b->n > 0) {
        bdrv_co_host_read_end(b->r[--b->n].r);
    }
}

int host_read_run(HostBatch *b)
{
    int ret = 0;

    for (int i = 0; ret == 0 && i < b->n; i++) {
        ret = read_range(&b->r[i].r->host, b->r[i].buf);
    }
    return ret;
}

int64_t coroutine_fn host_write_begin(HostBatch *b, BdrvChild *child,
                                      int64_t offset, int64_t bytes,
                                      uint8_t *buf)
{
    BdrvRequest *r;
    int ret;

    if (b->n == HOST_RANGES) {
        return 0;
    }
    r = bdrv_co_host_write_begin(child, offset, bytes, &ret);
    if (!r) {
        return 0;
    }
    if (!is_aligned(&r->host, buf)) {
        (void)bdrv_co_host_write_end(r, -ENOTSUP);
        return 0;
    }
    b->r[b->n].r = r;
    b->r[b->n].buf = buf;
    b->r[b->n++].offset = offset;
    return r->bytes;
}

static int host_write_run(void *opaque)
{
    HostBatch *b = opaque;

    for (int i = 0; i < b->n; i++) {
        b->r[i].ret = write_range(&b->r[i].r->host, b->r[i].buf);
    }
    return 0;
}

int coroutine_fn host_write(HostBatch *b, int64_t *at)
{
    int first = 0;

    if (b->n > 0) {
        thread_pool_co_run(host_write_run, b);
    }
    for (int i = 0; i < b->n; i++) {
        int ret = bdrv_co_host_write_end(b->r[i].r, b->r[i].ret);

        if (ret < 0 && first == 0) {
            first = ret;
            *at = b->r[i].offset;
        }
    }
    b->n = 0;
    return first;
}
