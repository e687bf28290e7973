/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In a worker thread: read, look for zeroes while it is in cache, write. */
#include "qemu/osdep.h"
#include "block/block-copy-int.h"
#include "block/request.h"

/* Past the end of a file there are zeroes. */
static int read_all(const BlockCopyItem *item, void *buf)
{
    int64_t done = 0;

    while (done < item->bytes) {
        ssize_t n = pread(item->in, (char *)buf + done,
                          item->bytes - done, item->in_offset + done);

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            memset((char *)buf + done, 0, item->bytes - done);
            break;
        }
        done += MAX(n, 0);
    }
    return 0;
}

static int write_all(const BlockCopyItem *item, const void *buf)
{
    int64_t done = 0;

    while (done < item->bytes) {
        ssize_t n = pwrite(item->out, (const char *)buf + done,
                           item->bytes - done, item->out_offset + done);

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

static int copy_item(const BlockCopyItem *item, void *buf)
{
    int ret = read_all(item, buf);

    if (ret < 0) {
        return ret;
    }
    if (buffer_is_zero(buf, item->bytes)) {
        return BDRV_HOST_IS_ZERO;
    }
    ret = write_all(item, buf);
    return ret < 0 ? ret : BDRV_HOST_WRITTEN;
}

int block_copy_batch_run(void *opaque)
{
    BlockCopyBatch *batch = opaque;

    for (int i = 0; i < batch->n; i++) {
        batch->items[i]->ret = copy_item(batch->items[i], batch->buf);
    }
    return 0;
}
