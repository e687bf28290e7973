/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks in memory for tests of the request path: driver "null-co" with any
 * alignment and limits, which checks that the core respects them; driver
 * "qcow2" as an overlay with a map of what is allocated; filter "compress"
 * without callbacks.
 */
#ifndef TEST_DISK_H
#define TEST_DISK_H

#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/io.h"
#include <json-c/json.h>

#define TEST_DISK_CLUSTER 4096

typedef struct TestDisk {
    /* options */
    int64_t size;
    BlockLimits bl;
    bool no_zeroes;      /* pwrite_zeroes: -ENOTSUP */
    bool fua;            /* not used by the table; counts only */
    int64_t latency_ns;  /* 1: only let others run */
    int fail_write;      /* errno of the next write, after half of it */
    bool check_marked;   /* before a write all bitmaps must be dirty */
    void (*in_write)(BlockDriverState *bs, void *opaque);
    void *opaque;
    /* content */
    uint8_t *data;
    uint8_t *map; /* overlay: allocated clusters */
    /* counters */
    int reads, writes, zeroes, discards, flushes, inside, most_inside;
    BdrvRequestFlags last_flags;
} TestDisk;

/* The disk for the next node to be opened, with its size. */
static TestDisk *test_disk_next;

static TestDisk *test_disk(BlockDriverState *bs)
{
    return *(TestDisk **)bs->opaque;
}

static TestDisk *test_disk_new(int64_t size)
{
    TestDisk *d = g_new0(TestDisk, 1);

    d->size = size;
    d->data = g_malloc0(size);
    d->map = g_malloc0(DIV_ROUND_UP(size, TEST_DISK_CLUSTER));
    return d;
}

static void test_disk_free(TestDisk *d)
{
    g_free(d->data);
    g_free(d->map);
    g_free(d);
}

static int test_disk_open(BlockDriverState *bs,
                          const BlockdevOptions *options, int flags,
                          Error **errp)
{
    g_assert_nonnull(test_disk_next);
    *(TestDisk **)bs->opaque = test_disk_next;
    test_disk_next = NULL;
    return 0;
}

static int test_overlay_open(BlockDriverState *bs,
                             const BlockdevOptions *options, int flags,
                             Error **errp)
{
    if (!bdrv_open_child(bs, options->u.qcow2.file, "file", BDRV_CHILD_IMAGE,
                         errp)) {
        return -EINVAL;
    }
    return test_disk_open(bs, options, flags, errp);
}

static int test_filter_open(BlockDriverState *bs,
                            const BlockdevOptions *options, int flags,
                            Error **errp)
{
    return bdrv_open_child(bs, options->u.compress.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
           ? 0 : -EINVAL;
}

static int64_t test_disk_getlength(BlockDriverState *bs)
{
    return test_disk(bs)->size;
}

static void test_disk_limits(BlockDriverState *bs, Error **errp)
{
    BlockLimits bl = test_disk(bs)->bl;

    bl.request_alignment = MAX(bl.request_alignment, 1);
    bs->bl = bl;
}

/* Counts a request in, checks its shape, and takes its time. */
static void coroutine_fn test_disk_enter(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, int64_t max)
{
    TestDisk *d = test_disk(bs);

    g_assert_cmpint(bytes, >, 0);
    g_assert_true(IS_ALIGNED(offset, (int64_t)bs->bl.request_alignment));
    g_assert_true(IS_ALIGNED(bytes, (int64_t)bs->bl.request_alignment));
    g_assert_true(!max || bytes <= max);
    d->inside++;
    d->most_inside = MAX(d->most_inside, d->inside);
    if (d->latency_ns > 1) {
        co_sleep_ns(d->latency_ns);
    } else if (d->latency_ns) {
        co_yield_to_loop();
    }
    d->inside--;
}

static void test_disk_check_memory(BlockDriverState *bs, QEMUIOVector *qiov,
                                   size_t offset, size_t bytes)
{
    QEMUIOVector part;

    qemu_iovec_init_slice(&part, qiov, offset, bytes);
    g_assert_true(qemu_iovec_is_aligned(&part,
                                        MAX(bs->bl.min_mem_alignment, 1)));
    qemu_iovec_destroy(&part);
}

static int coroutine_fn test_disk_preadv(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, QEMUIOVector *qiov,
                                         size_t qiov_offset,
                                         BdrvRequestFlags flags)
{
    TestDisk *d = test_disk(bs);

    test_disk_enter(bs, offset, bytes, bs->bl.max_transfer);
    test_disk_check_memory(bs, qiov, qiov_offset, bytes);
    g_assert_cmpint(offset + bytes, <=, d->size);
    qemu_iovec_from_buf(qiov, qiov_offset, d->data + offset, bytes);
    d->reads++;
    return 0;
}

static void test_disk_check_marked(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes)
{
    BdrvDirtyBitmap *b = NULL;

    while (test_disk(bs)->check_marked &&
           (b = bdrv_dirty_bitmap_next(bs, b))) {
        g_assert_cmpint(hbitmap_next_zero(bdrv_dirty_bitmap_hbitmap(b),
                                          offset, bytes), <, 0);
    }
}

static int coroutine_fn test_disk_pwritev(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes,
                                          QEMUIOVector *qiov,
                                          size_t qiov_offset,
                                          BdrvRequestFlags flags)
{
    TestDisk *d = test_disk(bs);
    int error = d->fail_write;

    d->fail_write = 0;
    test_disk_check_memory(bs, qiov, qiov_offset, bytes);
    test_disk_check_marked(bs, offset, bytes);
    test_disk_enter(bs, offset, bytes, bs->bl.max_transfer);
    if (offset + bytes > d->size) {
        int64_t size = offset + bytes;

        d->data = g_realloc(d->data, size);
        memset(d->data + d->size, 0, size - d->size);
        d->size = size;
    }
    qemu_iovec_to_buf(qiov, qiov_offset, d->data + offset,
                      error ? bytes / 2 : bytes);
    for (int64_t c = offset / TEST_DISK_CLUSTER;
         bs->drv->supports_backing && c * TEST_DISK_CLUSTER < offset + bytes;
         c++) {
        d->map[c] = 1;
    }
    d->writes++;
    d->last_flags = flags;
    if (d->in_write) {
        d->in_write(bs, d->opaque);
    }
    return -error;
}

static int coroutine_fn test_disk_pwrite_zeroes(BlockDriverState *bs,
                                                int64_t offset, int64_t bytes,
                                                BdrvRequestFlags flags)
{
    TestDisk *d = test_disk(bs);
    int64_t align = MAX(bs->bl.pwrite_zeroes_alignment,
                        bs->bl.request_alignment);

    if (d->no_zeroes || offset % align || bytes % align) {
        return -ENOTSUP;
    }
    test_disk_check_marked(bs, offset, bytes);
    test_disk_enter(bs, offset, bytes, bs->bl.max_pwrite_zeroes);
    memset(d->data + offset, 0, bytes);
    d->zeroes++;
    d->last_flags = flags;
    return 0;
}

static int coroutine_fn test_disk_pdiscard(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes)
{
    TestDisk *d = test_disk(bs);
    int64_t align = MAX(bs->bl.pdiscard_alignment, bs->bl.request_alignment);

    g_assert_true(IS_ALIGNED(offset, align));
    g_assert_true(IS_ALIGNED(bytes, align) || offset + bytes == d->size);
    test_disk_check_marked(bs, offset, bytes);
    test_disk_enter(bs, offset, bytes, bs->bl.max_pdiscard);
    memset(d->data + offset, 0, bytes);
    d->discards++;
    return 0;
}

static int coroutine_fn test_disk_flush(BlockDriverState *bs)
{
    TestDisk *d = test_disk(bs);

    d->flushes++;
    if (d->latency_ns) {
        co_yield_to_loop();
    }
    return 0;
}

static int coroutine_fn test_disk_truncate(BlockDriverState *bs,
                                           int64_t offset, bool exact,
                                           PreallocMode prealloc,
                                           BdrvRequestFlags flags,
                                           Error **errp)
{
    TestDisk *d = test_disk(bs);

    d->data = g_realloc(d->data, MAX(offset, 1));
    if (offset > d->size) {
        memset(d->data + d->size, 0, offset - d->size);
    }
    d->size = offset;
    d->last_flags = flags;
    return 0;
}

/* --- the overlay: clusters that are not in the map come from below --- */

static int coroutine_fn test_overlay_preadv(BlockDriverState *bs,
                                            int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov,
                                            size_t qiov_offset,
                                            BdrvRequestFlags flags)
{
    TestDisk *d = test_disk(bs);
    int ret = 0;

    while (bytes > 0 && ret == 0) {
        int64_t n = MIN(bytes, TEST_DISK_CLUSTER - offset % TEST_DISK_CLUSTER);

        if (d->map[offset / TEST_DISK_CLUSTER]) {
            qemu_iovec_from_buf(qiov, qiov_offset, d->data + offset, n);
        } else if (bs->backing) {
            ret = bdrv_co_preadv(bs->backing, offset, n, qiov, qiov_offset,
                                 0);
        } else {
            qemu_iovec_memset(qiov, qiov_offset, 0, n);
        }
        offset += n;
        qiov_offset += n;
        bytes -= n;
    }
    d->reads++;
    return ret;
}

static int coroutine_fn test_overlay_status(BlockDriverState *bs,
                                            bool want_zero, int64_t offset,
                                            int64_t bytes, int64_t *pnum,
                                            int64_t *map,
                                            BlockDriverState **file)
{
    bool allocated = test_disk(bs)->map[offset / TEST_DISK_CLUSTER];

    /* One cluster at a time: the core has to merge. */
    *pnum = MIN(bytes, TEST_DISK_CLUSTER - offset % TEST_DISK_CLUSTER);
    return allocated ? BDRV_BLOCK_DATA : 0;
}

static int test_overlay_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    info->cluster_size = TEST_DISK_CLUSTER;
    return 0;
}

static bool test_has_zero_init(BlockDriverState *bs)
{
    return true;
}

static const BlockDriver test_disk_driver = {
    .format_name = "null-co",
    .has_zero_init = test_has_zero_init,
    .protocol_name = "null-co",
    .instance_size = sizeof(TestDisk *),
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP,
    .open = test_disk_open,
    .refresh_limits = test_disk_limits,
    .co_preadv = test_disk_preadv,
    .co_pwritev = test_disk_pwritev,
    .co_pwrite_zeroes = test_disk_pwrite_zeroes,
    .co_pdiscard = test_disk_pdiscard,
    .co_flush = test_disk_flush,
    .co_truncate = test_disk_truncate,
    .getlength = test_disk_getlength,
};

static const BlockDriver test_overlay_driver = {
    .format_name = "qcow2",
    .instance_size = sizeof(TestDisk *),
    .is_format = true,
    .supports_backing = true,
    .open = test_overlay_open,
    .co_preadv = test_overlay_preadv,
    .co_pwritev = test_disk_pwritev,
    .co_block_status = test_overlay_status,
    .co_flush = test_disk_flush,
    .co_truncate = test_disk_truncate,
    .get_info = test_overlay_get_info,
    .getlength = test_disk_getlength,
};

static const BlockDriver test_filter_driver = {
    .format_name = "compress",
    .is_filter = true,
    .open = test_filter_open,
};

const BlockDriver *const bdrv_drivers[] = {
    &test_disk_driver, &test_overlay_driver, &test_filter_driver, NULL,
};

/* Opens @json with @disk as what its (outermost new) node is to hold. */
static BlockDriverState *test_open(TestDisk *disk, const char *json)
{
    struct json_object *obj = json_tokener_parse(json);
    BlockDriverState *bs;

    g_assert_nonnull(obj);
    test_disk_next = disk;
    bs = bdrv_open_json(obj, false, BDRV_O_RDWR, &error_abort);
    json_object_put(obj);
    return bs;
}

#endif
