/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk in memory, for tests of copying: each request yields, the n-th one can
 * fail, or all on bad ranges, and writes are recorded per 4 KiB.
 */
#ifndef MEMORY_DRIVER_H
#define MEMORY_DRIVER_H

#include <sys/mman.h>
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/request.h"

#define MEMORY_BYTES (4 * MiB + 20 * KiB) /* the end is in a cluster */
#define MEMORY_UNIT (4 * KiB)
#define MEMORY_UNITS (MEMORY_BYTES / MEMORY_UNIT)

typedef struct MemoryDisk {
    uint8_t data[MEMORY_BYTES];
    bool written[MEMORY_UNITS];
    int64_t cluster;  /* 0: 64 KiB */
    int fail_write;   /* fail the n-th write from now; 0: none */
    int fail_read;
    int error;
    bool fail_on;     /* ... and all after it */
    bool bad[MEMORY_UNITS];     /* fails with EIO, always */
    bool host;                  /* worker threads may use it, by... */
    int fd;                     /* the file that this struct lies in */
    int fail_flush;             /* fail the next ones, with EIO */
    int reads, writes, flushes; /* how many there were */
    int requests, max_requests; /* in flight, and most ever */
    /* Runs at the start of each write, in the coroutine. */
    void coroutine_fn (*on_write)(int64_t offset, int64_t bytes);
    /* The same for reads. */
    void coroutine_fn (*on_read)(int64_t offset, int64_t bytes);
    /* The same where it is asked what is data. */
    void coroutine_fn (*on_status)(int64_t offset);
    int64_t zeroes_from; /* to the end; 0: it is all said to be data */
    bool tells_zeroes;   /* ... what is zero, after on_status() is through */
    int64_t lost_end;    /* the next write that ends here is lost; 0: none */
} MemoryDisk;

static MemoryDisk *memory_disk(BlockDriverState *bs)
{
    return *(MemoryDisk **)bs->opaque;
}

static int memory_open(BlockDriverState *bs, const BlockdevOptions *options,
                       int flags, Error **errp)
{
    int fd = memfd_create("disk", MFD_CLOEXEC);
    void *p;

    g_assert(fd >= 0 && ftruncate(fd, sizeof(MemoryDisk)) == 0);
    p = mmap(NULL, sizeof(MemoryDisk), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
             0);
    g_assert(p != MAP_FAILED);
    *(MemoryDisk **)bs->opaque = p;
    memory_disk(bs)->fd = fd;
    return 0;
}

static void memory_close(BlockDriverState *bs)
{
    close(memory_disk(bs)->fd);
    munmap(memory_disk(bs), sizeof(MemoryDisk));
}

static int64_t memory_getlength(BlockDriverState *bs)
{
    return MEMORY_BYTES;
}

static int memory_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    info->cluster_size = memory_disk(bs)->cluster;
    return 0;
}

/* True: this is the one to fail. */
static bool memory_fails(MemoryDisk *d, int *countdown)
{
    if (*countdown == 0) {
        return false;
    }
    if (*countdown > 1) {
        --*countdown;
        return false;
    }
    *countdown = d->fail_on ? 1 : 0;
    return true;
}

static bool memory_is_bad(const MemoryDisk *d, int64_t offset, int64_t bytes)
{
    for (int64_t at = offset; at < offset + bytes; at += MEMORY_UNIT) {
        if (d->bad[at / MEMORY_UNIT]) {
            return true;
        }
    }
    return d->bad[(offset + bytes - 1) / MEMORY_UNIT];
}

static void coroutine_fn memory_let_others_run(MemoryDisk *d)
{
    d->requests++;
    d->max_requests = MAX(d->max_requests, d->requests);
    co_yield_to_loop();
    d->requests--;
}

static int coroutine_fn memory_co_preadv(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, QEMUIOVector *qiov,
                                         size_t qiov_offset,
                                         BdrvRequestFlags flags)
{
    MemoryDisk *d = memory_disk(bs);

    d->reads++;
    if (d->on_read) {
        d->on_read(offset, bytes);
    }
    memory_let_others_run(d);
    if (memory_fails(d, &d->fail_read)) {
        return -d->error;
    }
    if (memory_is_bad(d, offset, bytes)) {
        return -EIO;
    }
    qemu_iovec_from_buf(qiov, qiov_offset, d->data + offset, bytes);
    return 0;
}

static int coroutine_fn memory_begin_write(MemoryDisk *d, int64_t offset,
                                           int64_t bytes)
{
    bool fails = memory_fails(d, &d->fail_write);

    d->writes++;
    if (d->on_write) {
        d->on_write(offset, bytes);
    }
    memory_let_others_run(d);
    if (fails) {
        return -d->error;
    }
    if (memory_is_bad(d, offset, bytes)) {
        return -EIO;
    }
    for (int64_t i = offset / MEMORY_UNIT;
         i < DIV_ROUND_UP(offset + bytes, MEMORY_UNIT); i++) {
        d->written[i] = true;
    }
    return 0;
}

static int coroutine_fn memory_co_pwritev(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes,
                                          QEMUIOVector *qiov,
                                          size_t qiov_offset,
                                          BdrvRequestFlags flags)
{
    MemoryDisk *d = memory_disk(bs);
    int ret = memory_begin_write(d, offset, bytes);

    if (ret == 0 && d->lost_end && offset + bytes == d->lost_end) {
        d->lost_end = 0;
    } else if (ret == 0) {
        qemu_iovec_to_buf(qiov, qiov_offset, d->data + offset, bytes);
    }
    return ret;
}

static int coroutine_fn memory_co_pwrite_zeroes(BlockDriverState *bs,
                                                int64_t offset, int64_t bytes,
                                                BdrvRequestFlags flags)
{
    MemoryDisk *d = memory_disk(bs);
    int ret = memory_begin_write(d, offset, bytes);

    if (ret == 0) {
        memset(d->data + offset, 0, bytes);
    }
    return ret;
}

static int coroutine_fn memory_co_block_status(BlockDriverState *bs,
                                               bool want_zero, int64_t offset,
                                               int64_t bytes, int64_t *pnum,
                                               int64_t *map,
                                               BlockDriverState **file)
{
    MemoryDisk *d = memory_disk(bs);

    if (d->on_status) {
        d->on_status(offset);
    }
    *pnum = bytes;
    if (d->tells_zeroes) {
        *pnum = MIN(bytes, MEMORY_UNIT - offset % MEMORY_UNIT);
        return buffer_is_zero(d->data + offset, *pnum) ? BDRV_BLOCK_ZERO
                                                       : BDRV_BLOCK_DATA;
    }
    if (d->zeroes_from && offset >= d->zeroes_from) {
        return BDRV_BLOCK_ZERO;
    }
    if (d->zeroes_from) {
        *pnum = MIN(bytes, d->zeroes_from - offset);
    }
    return BDRV_BLOCK_DATA;
}

/* --- worker threads --- */

/* What is bad is in no file that can be read or written. */
static int coroutine_fn memory_co_host_begin(BlockDriverState *bs,
                                             BdrvRequest *r)
{
    MemoryDisk *d = memory_disk(bs);

    if (!d->host) {
        return -ENOTSUP;
    }
    r->host = (BdrvHostRange) {
        .kind = BDRV_HOST_FILE,
        .fd = memory_is_bad(d, r->offset, r->bytes) ? -1 : d->fd,
        .offset = offsetof(MemoryDisk, data) + r->offset,
        .bytes = r->bytes,
        .align = 1,
    };
    d->writes += r->type == BDRV_REQUEST_WRITE;
    return 0;
}

static int coroutine_fn memory_co_host_write_end(BlockDriverState *bs,
                                                 BdrvRequest *r, int result)
{
    MemoryDisk *d = memory_disk(bs);

    if (result == BDRV_HOST_IS_ZERO) {
        memset(d->data + r->offset, 0, r->bytes);
    }
    for (int64_t i = r->offset / MEMORY_UNIT;
         i < DIV_ROUND_UP(r->offset + r->bytes, MEMORY_UNIT); i++) {
        d->written[i] |= result >= 0;
    }
    return MIN(result, 0);
}

static int coroutine_fn memory_co_flush(BlockDriverState *bs)
{
    MemoryDisk *d = memory_disk(bs);

    d->flushes++;
    memory_let_others_run(d);
    if (d->fail_flush > 0) {
        d->fail_flush--;
        return -EIO;
    }
    return 0;
}

static const BlockDriver bdrv_memory = {
    .format_name = "null-co",
    .instance_size = sizeof(MemoryDisk *),
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP,
    .open = memory_open,
    .close = memory_close,
    .getlength = memory_getlength,
    .get_info = memory_get_info,
    .co_preadv = memory_co_preadv,
    .co_pwritev = memory_co_pwritev,
    .co_pwrite_zeroes = memory_co_pwrite_zeroes,
    .co_block_status = memory_co_block_status,
    .co_flush = memory_co_flush,
    .co_host_read_begin = memory_co_host_begin,
    .co_host_write_begin = memory_co_host_begin,
    .co_host_write_end = memory_co_host_write_end,
};

/* A new node with a reference. */
static BlockDriverState *memory_node(const char *name)
{
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_NULL_CO,
        .node_name = (char *)name,
    };

    return bdrv_open(&options, 0, &error_abort);
}

#endif
