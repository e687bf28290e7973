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

/* Writes [@done, @end) of the range. */
static int write_part(const BdrvHostRange *range, const uint8_t *buf,
                      int64_t done, int64_t end)
{
    while (done < end) {
        ssize_t n = pwrite(range->fd, buf + done, end - done,
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

/* Does the file have no data in the range? */
static bool is_hole(const BdrvHostRange *range)
{
    off_t data = lseek(range->fd, range->offset, SEEK_DATA);

    return data < 0 ? errno == ENXIO : data >= range->offset + range->bytes;
}

/* Writes the units that are not zero. */
static int write_units(const BdrvHostRange *range, const uint8_t *buf,
                       const uint8_t *zero, int64_t unit)
{
    int64_t start = 0, end;
    int ret = 0;

    while (ret == 0 && start < range->bytes) {
        bool skip = zero[start / unit];

        end = start;
        do {
            end += unit;
        } while (end < range->bytes && zero[end / unit] == skip);
        end = MIN(end, range->bytes);
        if (!skip) {
            ret = write_part(range, buf, start, end);
        }
        start = end;
    }
    return ret;
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

/* At least @least bytes, or 0. */
static int64_t coroutine_fn write_begin(HostBatch *b, BdrvChild *child,
                                        int64_t offset, int64_t bytes,
                                        uint8_t *buf, int64_t least)
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
    if (r->bytes < least || !is_aligned(&r->host, buf)) {
        (void)bdrv_co_host_write_end(r, -ENOTSUP);
        return 0;
    }
    b->r[b->n].r = r;
    b->r[b->n].buf = buf;
    b->r[b->n].zero = NULL;
    b->r[b->n++].offset = offset;
    return r->bytes;
}

int64_t coroutine_fn host_write_begin(HostBatch *b, BdrvChild *child,
                                      int64_t offset, int64_t bytes,
                                      uint8_t *buf)
{
    return write_begin(b, child, offset, bytes, buf, 0);
}

bool coroutine_fn host_write_begin_mixed(HostBatch *b, BdrvChild *child,
                                         int64_t offset, int64_t bytes,
                                         uint8_t *buf, const uint8_t *zero,
                                         int64_t unit)
{
    if (!write_begin(b, child, offset, bytes, buf, bytes)) {
        return false;
    }
    b->r[b->n - 1].zero = zero;
    b->r[b->n - 1].unit = unit;
    return true;
}

static int host_write_run(void *opaque)
{
    HostBatch *b = opaque;

    for (int i = 0; i < b->n; i++) {
        const BdrvHostRange *range = &b->r[i].r->host;

        b->r[i].ret = b->r[i].zero && is_hole(range)
            ? write_units(range, b->r[i].buf, b->r[i].zero, b->r[i].unit)
            : write_part(range, b->r[i].buf, 0, range->bytes);
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
