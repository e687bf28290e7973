/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk in memory, for tests of copying: each request lets others run first,
 * the n-th one can fail, and what was written is recorded per 4 KiB.
 */
#ifndef MEMORY_DRIVER_H
#define MEMORY_DRIVER_H

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"

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
    int requests, max_requests; /* in flight, and most ever */
    /* Runs at the start of each write, in the coroutine. */
    void coroutine_fn (*on_write)(int64_t offset, int64_t bytes);
    /* The same for reads. */
    void coroutine_fn (*on_read)(int64_t offset, int64_t bytes);
    /* The same where it is asked what is data. */
    void coroutine_fn (*on_status)(int64_t offset);
    int64_t zeroes_from; /* to the end; 0: it is all said to be data */
} MemoryDisk;

static MemoryDisk *memory_disk(BlockDriverState *bs)
{
    return *(MemoryDisk **)bs->opaque;
}

static int memory_open(BlockDriverState *bs, const BlockdevOptions *options,
                       int flags, Error **errp)
{
    *(MemoryDisk **)bs->opaque = g_new0(MemoryDisk, 1);
    return 0;
}

static void memory_close(BlockDriverState *bs)
{
    g_free(memory_disk(bs));
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

    if (d->on_read) {
        d->on_read(offset, bytes);
    }
    memory_let_others_run(d);
    if (memory_fails(d, &d->fail_read)) {
        return -d->error;
    }
    qemu_iovec_from_buf(qiov, qiov_offset, d->data + offset, bytes);
    return 0;
}

static int coroutine_fn memory_begin_write(MemoryDisk *d, int64_t offset,
                                           int64_t bytes)
{
    bool fails = memory_fails(d, &d->fail_write);

    if (d->on_write) {
        d->on_write(offset, bytes);
    }
    memory_let_others_run(d);
    if (fails) {
        return -d->error;
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

    if (ret == 0) {
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
    if (d->zeroes_from && offset >= d->zeroes_from) {
        return BDRV_BLOCK_ZERO;
    }
    if (d->zeroes_from) {
        *pnum = MIN(bytes, d->zeroes_from - offset);
    }
    return BDRV_BLOCK_DATA;
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
