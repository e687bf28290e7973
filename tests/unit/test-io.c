/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The request path compared with a naive disk: random requests on disks with
 * random requirements; reads must return the data written, and every changed
 * byte must be dirty in the bitmaps, and no more than the aligned requests.
 */
#include "block/node-int.h"
#include "test-disk.h"

#define DISK_BYTES (192 * KiB)
#define WORKERS 6
/* Workers own regions of an odd size, so that blocks are shared by many. */
#define REGION 1511

typedef struct Model {
    GRand *rand;
    TestDisk *disk;
    BlockDriverState *bs;
    BlockBackend *blk;
    BdrvDirtyBitmap *bitmap[2];
    uint8_t *bytes; /* what the disk must hold */
    uint8_t *touched; /* what bitmaps must and may have dirty */
    int running;
} Model;

static int64_t pick(Model *m, int64_t low, int64_t high)
{
    return low + g_rand_int(m->rand) % (high - low + 1);
}

static uint32_t pick_power(Model *m, int max_shift)
{
    return 1u << pick(m, 0, max_shift);
}

static void model_init(Model *m, uint32_t seed)
{
    TestDisk *d = test_disk_new(DISK_BYTES);
    BlockLimits *bl = &d->bl;

    *m = (Model) { .rand = g_rand_new_with_seed(seed), .disk = d };
    bl->request_alignment = pick_power(m, 12);
    bl->max_transfer = pick(m, 0, 1) ? bl->request_alignment * pick(m, 1, 9)
                                     : 0;
    bl->max_pwrite_zeroes = pick(m, 0, 1) ? pick(m, 4096, 65536) : 0;
    bl->pwrite_zeroes_alignment = pick_power(m, 14);
    bl->max_pdiscard = pick(m, 0, 1) ? pick(m, 65536, 99999) : 0;
    bl->pdiscard_alignment = pick_power(m, 13);
    bl->min_mem_alignment = pick(m, 0, 1) ? MIN(bl->request_alignment, 512)
                                          : 1;
    bl->opt_mem_alignment = 4096;
    d->no_zeroes = pick(m, 0, 3) == 0;
    d->latency_ns = pick(m, 0, 1);
    d->check_marked = true;
    m->bs = test_open(d, "{'driver': 'null-co', 'node-name': 'disk',"
                         " 'discard': 'unmap'}");
    m->blk = blk_new_with_bs(m->bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                             BLK_PERM_ALL, &error_abort);
    m->bitmap[0] = bdrv_dirty_bitmap_new(m->bs, 512, "fine", &error_abort);
    m->bitmap[1] = bdrv_dirty_bitmap_new(m->bs, 8192, "coarse", &error_abort);
    m->bytes = g_malloc0(DISK_BYTES);
    m->touched = g_malloc0(DISK_BYTES);
    for (int i = 0; i < DISK_BYTES; i++) {
        m->bytes[i] = d->data[i] = g_rand_int(m->rand);
    }
}

static void model_free(Model *m)
{
    blk_unref(m->blk);
    bdrv_dirty_bitmap_release_all(m->bs);
    bdrv_unref(m->bs);
    test_disk_free(m->disk);
    g_rand_free(m->rand);
    g_free(m->bytes);
    g_free(m->touched);
}

/* A vector of random pieces, some of them not aligned. */
static uint8_t *random_qiov(Model *m, QEMUIOVector *qiov, int64_t bytes)
{
    int64_t skip = pick(m, 0, 1) ? 0 : pick(m, 0, 33), done = 0;
    uint8_t *buf = qemu_memalign(4096, bytes + skip);

    qemu_iovec_init(qiov, 4);
    while (done < bytes) {
        int64_t n = pick(m, 1, 2 * bytes);

        n = MIN(n, bytes - done);
        if (pick(m, 0, 1)) {
            n = bytes - done;
        }
        qemu_iovec_add(qiov, buf + skip + done, n);
        done += n;
    }
    return buf;
}

static void touch(Model *m, int64_t offset, int64_t bytes)
{
    int64_t align = m->bs->bl.request_alignment;
    int64_t start = ROUND_DOWN(offset, align);

    memset(m->touched + start, 1, ROUND_UP(offset + bytes, align) - start);
}

static void coroutine_fn do_read(Model *m, int64_t offset, int64_t bytes)
{
    QEMUIOVector qiov;
    uint8_t *buf = random_qiov(m, &qiov, bytes);
    g_autofree uint8_t *got = g_malloc(bytes);

    g_assert_cmpint(blk_co_preadv(m->blk, offset, bytes, &qiov, 0), ==, 0);
    qemu_iovec_to_buf(&qiov, 0, got, bytes);
    g_assert_cmpint(memcmp(got, m->bytes + offset, bytes), ==, 0);
    qemu_iovec_destroy(&qiov);
    qemu_vfree(buf);
}

static void coroutine_fn do_write(Model *m, int64_t offset, int64_t bytes)
{
    BdrvRequestFlags flags = pick(m, 0, 7) ? 0 : BDRV_REQ_FUA;
    QEMUIOVector qiov;
    uint8_t *buf = random_qiov(m, &qiov, bytes);
    g_autofree uint8_t *data = g_malloc(bytes);

    memset(data, pick(m, 0, 3) ? 1 + offset % 255 : 0, bytes);
    for (int i = 0; i < bytes; i += 7) {
        data[i] = g_rand_int(m->rand);
    }
    qemu_iovec_from_buf(&qiov, 0, data, bytes);
    touch(m, offset, bytes);
    g_assert_cmpint(blk_co_pwritev(m->blk, offset, bytes, &qiov, flags), ==,
                    0);
    memcpy(m->bytes + offset, data, bytes);
    qemu_iovec_destroy(&qiov);
    qemu_vfree(buf);
}

static void coroutine_fn do_zeroes(Model *m, int64_t offset, int64_t bytes)
{
    int ret = blk_co_pwrite_zeroes(m->blk, offset, bytes,
                                   pick(m, 0, 1) ? BDRV_REQ_MAY_UNMAP : 0);

    g_assert_cmpint(ret, ==, 0);
    touch(m, offset, bytes);
    memset(m->bytes + offset, 0, bytes);
}

/* The disk zeroes discarded ranges: whole granules. */
static void coroutine_fn do_discard(Model *m, int64_t offset, int64_t bytes)
{
    int64_t align = MAX(m->bs->bl.pdiscard_alignment,
                        m->bs->bl.request_alignment);
    int64_t start = ROUND_UP(offset, align);
    int64_t end = offset + bytes == DISK_BYTES
                  ? DISK_BYTES : ROUND_DOWN(offset + bytes, align);

    g_assert_cmpint(blk_co_pdiscard(m->blk, offset, bytes), ==, 0);
    memset(m->touched + offset, 1, bytes);
    if (start < end) {
        memset(m->bytes + start, 0, end - start);
    }
}

static void coroutine_fn sequential_entry(void *opaque)
{
    Model *m = opaque;

    for (int i = 0; i < 150; i++) {
        int64_t offset = pick(m, 0, DISK_BYTES - 1);
        int64_t most = pick(m, 0, 3) ? 9000 : DISK_BYTES;
        int64_t bytes = pick(m, 1, MIN(DISK_BYTES - offset, most));

        switch (pick(m, 0, 5)) {
        case 0:
            do_zeroes(m, offset, bytes);
            break;
        case 1:
            do_discard(m, offset, bytes);
            break;
        case 2:
        case 3:
            do_read(m, offset, bytes);
            break;
        default:
            do_write(m, offset, bytes);
        }
    }
    do_read(m, 0, DISK_BYTES);
}

/* Dirty: every granule that was touched, and no other. */
static void check_bitmap(Model *m, BdrvDirtyBitmap *bitmap, bool exact)
{
    const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(bitmap);
    int64_t granule = bdrv_dirty_bitmap_granularity(bitmap);

    for (int64_t g = 0; g < DISK_BYTES; g += granule) {
        bool want = memchr(m->touched + g, 1, MIN(granule, DISK_BYTES - g));

        if (want || exact) {
            g_assert_cmpint(hbitmap_get(bits, g), ==, want);
        }
    }
}

static void test_sequential(void)
{
    for (uint32_t seed = 0; seed < 40; seed++) {
        Model m;

        model_init(&m, seed);
        aio_run_co(aio_main_context(), sequential_entry, &m);
        g_assert_cmpint(memcmp(m.bytes, m.disk->data, DISK_BYTES), ==, 0);
        check_bitmap(&m, m.bitmap[0], true);
        check_bitmap(&m, m.bitmap[1], true);
        g_assert_cmpint(bdrv_node(m.bs)->in_flight, ==, 0);
        g_assert_cmpint(bdrv_node(m.bs)->serialising_in_flight, ==, 0);
        model_free(&m);
    }
}

typedef struct Worker {
    Model *m;
    int index;
} Worker;

static void coroutine_fn worker_entry(void *opaque)
{
    Worker *w = opaque;
    Model *m = w->m;

    for (int i = 0; i < 60; i++) {
        int regions = DISK_BYTES / REGION / WORKERS;
        int64_t start = (pick(m, 0, regions - 1) * WORKERS + w->index) *
                        REGION;
        int64_t offset = start + pick(m, 0, REGION - 1);
        int64_t bytes = pick(m, 1, start + REGION - offset);

        switch (pick(m, 0, 3)) {
        case 0:
            do_zeroes(m, offset, bytes);
            break;
        case 1:
            do_read(m, offset, bytes);
            break;
        default:
            do_write(m, offset, bytes);
        }
    }
    m->running--;
}

/* Neighbours in one block must not lose each other's writes. */
static void test_concurrent(void)
{
    int most = 0;

    for (uint32_t seed = 100; seed < 130; seed++) {
        Worker w[WORKERS];
        Model m;

        model_init(&m, seed);
        m.disk->latency_ns = 1;
        m.running = WORKERS;
        for (int i = 0; i < WORKERS; i++) {
            w[i] = (Worker) { &m, i };
            coroutine_enter(coroutine_create(worker_entry, &w[i]));
        }
        AIO_WAIT_WHILE(m.running > 0);
        g_assert_cmpint(memcmp(m.bytes, m.disk->data, DISK_BYTES), ==, 0);
        check_bitmap(&m, m.bitmap[0], true);
        check_bitmap(&m, m.bitmap[1], true);
        most = MAX(most, m.disk->most_inside);
        model_free(&m);
    }
    g_assert_cmpint(most, >, 1);
}

/* A write that failed half-way is dirty. */
static void test_failed_write(void)
{
    uint8_t buf[4096] = { 1 };
    Model m;

    model_init(&m, 7);
    for (int i = 0; i < 20; i++) {
        int64_t offset = pick(&m, 0, DISK_BYTES - sizeof(buf));

        m.disk->fail_write = EIO;
        g_assert_cmpint(blk_pwrite(m.blk, offset, sizeof(buf), buf, 0), ==,
                        -EIO);
        touch(&m, offset, sizeof(buf));
    }
    check_bitmap(&m, m.bitmap[0], true);
    model_free(&m);
}

static void clear_bitmap(BlockDriverState *bs, void *opaque)
{
    bdrv_dirty_bitmap_clear(opaque);
}

/* The dirty bit is cleared while the write is in flight. */
static void test_marked_after(void)
{
    uint8_t buf[4096] = { 1 };
    Model m;

    model_init(&m, 8);
    m.disk->in_write = clear_bitmap;
    m.disk->opaque = m.bitmap[0];
    g_assert_cmpint(blk_pwrite(m.blk, 8192, sizeof(buf), buf, 0), ==, 0);
    g_assert_true(hbitmap_get(bdrv_dirty_bitmap_hbitmap(m.bitmap[0]), 8192));
    model_free(&m);
}

/* Unchanged data marks nothing. */
static void test_write_unchanged(void)
{
    uint8_t buf[4096] = { 1 };
    Model m;

    model_init(&m, 9);
    m.disk->check_marked = false;
    g_assert_cmpint(blk_pwrite(m.blk, 8192, sizeof(buf), buf,
                               BDRV_REQ_WRITE_UNCHANGED), ==, 0);
    g_assert_cmpint(bdrv_dirty_bitmap_count(m.bitmap[0]), ==, 0);
    model_free(&m);
}

static void test_detect_zeroes(void)
{
    TestDisk *d = test_disk_new(64 * KiB);
    BlockDriverState *bs = test_open(d, "{'driver': 'null-co',"
        " 'node-name': 'disk', 'detect-zeroes': 'unmap',"
        " 'discard': 'unmap'}");
    BlockBackend *blk = blk_new_with_bs(bs, BLK_PERM_WRITE, BLK_PERM_ALL,
                                        &error_abort);
    uint8_t buf[4096] = { 0 };

    g_assert_cmpint(blk_pwrite(blk, 0, sizeof(buf), buf, 0), ==, 0);
    g_assert_cmpint(d->zeroes, ==, 1);
    g_assert_cmpint(d->writes, ==, 0);
    g_assert_true(d->last_flags & BDRV_REQ_MAY_UNMAP);
    buf[4095] = 1;
    g_assert_cmpint(blk_pwrite(blk, 0, sizeof(buf), buf, 0), ==, 0);
    g_assert_cmpint(d->writes, ==, 1);
    blk_unref(blk);
    bdrv_unref(bs);
    test_disk_free(d);
}

/*
 * Flush: nothing new, nothing done, except for what was there when it was
 * opened; FUA is emulated; failures are not lost.
 */
static void test_flush(void)
{
    TestDisk *d = test_disk_new(64 * KiB);
    BlockDriverState *bs = test_open(d, "{'driver': 'null-co',"
                                        " 'node-name': 'disk'}");
    BlockBackend *blk = blk_new_with_bs(bs, BLK_PERM_WRITE, BLK_PERM_ALL,
                                        &error_abort);
    uint8_t buf[512] = { 1 };

    blk_flush(blk);
    blk_flush(blk);
    g_assert_cmpint(d->flushes, ==, 1);
    blk_pwrite(blk, 0, sizeof(buf), buf, 0);
    blk_flush(blk);
    blk_flush(blk);
    g_assert_cmpint(d->flushes, ==, 2);
    blk_pwrite(blk, 0, sizeof(buf), buf, BDRV_REQ_FUA);
    g_assert_cmpint(d->flushes, ==, 3);
    blk_flush(blk);
    g_assert_cmpint(d->flushes, ==, 3);
    blk_set_enable_write_cache(blk, false);
    blk_pwrite_zeroes(blk, 0, 4096, 0);
    g_assert_cmpint(d->flushes, ==, 4);
    blk_unref(blk);
    bdrv_unref(bs);
    test_disk_free(d);
}

/* --- chains: status, copy-on-read --- */

typedef struct Chain {
    TestDisk *file[2], *disk[2]; /* base, top */
    BlockDriverState *base, *top;
    BlockBackend *blk;
} Chain;

/* base: 48 KiB, clusters 0, 1 and 9 allocated; top: 64 KiB, cluster 1. */
static void chain_init(Chain *c)
{
    BlockDriverState *file[2];

    for (int i = 0; i < 2; i++) {
        c->file[i] = test_disk_new(4096);
        c->disk[i] = test_disk_new(i ? 64 * KiB : 48 * KiB);
        memset(c->disk[i]->data, 0x10 + i, c->disk[i]->size);
        file[i] = test_open(c->file[i], i ? "{'driver': 'null-co',"
                            " 'node-name': 'f1'}" : "{'driver': 'null-co',"
                            " 'node-name': 'f0'}");
    }
    c->disk[0]->map[0] = c->disk[0]->map[1] = c->disk[0]->map[9] = 1;
    c->disk[1]->map[1] = 1;
    c->base = test_open(c->disk[0], "{'driver': 'qcow2', 'node-name': 'base',"
                        " 'file': 'f0', 'read-only': true}");
    c->top = test_open(c->disk[1], "{'driver': 'qcow2', 'node-name': 'top',"
                       " 'file': 'f1', 'backing': 'base'}");
    c->blk = blk_new_with_bs(c->top, BLK_PERM_CONSISTENT_READ |
                             BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort);
    bdrv_unref(file[0]);
    bdrv_unref(file[1]);
}

static void chain_free(Chain *c)
{
    blk_unref(c->blk);
    bdrv_unref(c->top);
    bdrv_unref(c->base);
    for (int i = 0; i < 2; i++) {
        test_disk_free(c->file[i]);
        test_disk_free(c->disk[i]);
    }
}

static void test_status(void)
{
    int64_t n, total = 64 * KiB;
    int depth, ret;
    Chain c;

    chain_init(&c);
    g_assert_cmpint(bdrv_is_allocated(c.top, 0, total, &n), ==, 0);
    g_assert_cmpint(n, ==, 4096);
    g_assert_cmpint(bdrv_is_allocated(c.top, 4096, total - 4096, &n), ==, 1);
    g_assert_cmpint(n, ==, 4096);
    /* merged over many clusters */
    g_assert_cmpint(bdrv_is_allocated(c.top, 8192, total - 8192, &n), ==, 0);
    g_assert_cmpint(n, ==, total - 8192);
    /* through the chain */
    ret = bdrv_block_status_above(c.top, NULL, 0, total, &n, NULL, NULL,
                                  &depth);
    g_assert_cmpint(ret, ==, BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED);
    g_assert_cmpint(depth, ==, 2);
    g_assert_cmpint(n, ==, 4096);
    ret = bdrv_block_status_above(c.top, NULL, 8192, total - 8192, &n, NULL,
                                  NULL, &depth);
    g_assert_cmpint(ret, ==, BDRV_BLOCK_ZERO);
    g_assert_cmpint(n, ==, 7 * 4096);
    /* past the end of base it is zero, up to our own end */
    ret = bdrv_block_status_above(c.top, NULL, 48 * KiB, total, &n, NULL,
                                  NULL, &depth);
    g_assert_true(ret & BDRV_BLOCK_ZERO);
    g_assert_true(ret & BDRV_BLOCK_EOF);
    g_assert_cmpint(n, ==, 16 * KiB);
    /* without base: not allocated there */
    g_assert_cmpint(bdrv_is_allocated_above(c.top, c.base, false, 0, total,
                                            &n), ==, 0);
    g_assert_cmpint(bdrv_is_allocated_above(c.top, c.base, true, 0, total,
                                            &n), ==, 1);
    g_assert_cmpint(n, ==, 8192);
    /* at and past the end */
    ret = bdrv_block_status(c.top, total, 4096, &n, NULL, NULL);
    g_assert_cmpint(ret, ==, BDRV_BLOCK_EOF);
    g_assert_cmpint(n, ==, 0);
    chain_free(&c);
}

static void test_short_backing_reads_zero(void)
{
    uint8_t buf[64 * KiB];
    Chain c;

    chain_init(&c);
    g_assert_cmpint(blk_pread(c.blk, 0, sizeof(buf), buf, 0), ==, 0);
    g_assert_cmphex(buf[0], ==, 0x10);
    g_assert_cmphex(buf[4096], ==, 0x11);
    g_assert_cmphex(buf[9 * 4096], ==, 0x10);
    g_assert_true(buffer_is_zero(buf + 48 * KiB, 16 * KiB));
    chain_free(&c);
}

static void test_copy_on_read(void)
{
    uint8_t buf[700];
    BdrvDirtyBitmap *bitmap;
    Chain c;

    chain_init(&c);
    bitmap = bdrv_dirty_bitmap_new(c.top, 4096, "b", &error_abort);
    g_assert_cmpint(blk_pread(c.blk, 100, sizeof(buf), buf,
                              BDRV_REQ_COPY_ON_READ), ==, 0);
    g_assert_cmphex(buf[699], ==, 0x10);
    g_assert_cmpint(c.disk[1]->map[0], ==, 1);
    g_assert_cmphex(c.disk[1]->data[4095], ==, 0x10);
    g_assert_cmpint(c.disk[1]->writes, ==, 1);
    /* the second time it is there, and nothing visible changed */
    g_assert_cmpint(blk_pread(c.blk, 0, 8, buf, BDRV_REQ_COPY_ON_READ), ==, 0);
    g_assert_cmpint(c.disk[1]->writes, ==, 1);
    g_assert_cmpint(bdrv_dirty_bitmap_count(bitmap), ==, 0);
    /* only to be copied */
    g_assert_cmpint(blk_preadv(c.blk, 9 * 4096, 4096, NULL,
                               BDRV_REQ_PREFETCH | BDRV_REQ_COPY_ON_READ),
                    ==, 0);
    g_assert_cmpint(c.disk[1]->map[9], ==, 1);
    bdrv_dirty_bitmap_release_all(c.top);
    chain_free(&c);
}

/* A filter without callbacks passes everything on, flags as well. */
static void test_filter(void)
{
    TestDisk *d = test_disk_new(64 * KiB);
    BlockDriverState *disk = test_open(d, "{'driver': 'null-co',"
        " 'node-name': 'disk', 'discard': 'unmap'}");
    BlockDriverState *bs = test_open(NULL, "{'driver': 'compress',"
        " 'node-name': 'f', 'file': 'disk', 'discard': 'unmap'}");
    BlockBackend *blk = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ |
                                        BLK_PERM_WRITE | BLK_PERM_RESIZE,
                                        BLK_PERM_ALL, &error_abort);
    uint8_t buf[512] = { 0x5a };
    int64_t n;

    g_assert_cmpint(blk_pwrite(blk, 512, 512, buf, BDRV_REQ_FUA), ==, 0);
    g_assert_cmpint(d->flushes, ==, 1);
    g_assert_cmphex(d->data[512], ==, 0x5a);
    g_assert_cmpint(blk_pwrite_zeroes(blk, 512, 512, BDRV_REQ_MAY_UNMAP), ==,
                    0);
    g_assert_cmpint(d->zeroes, ==, 1);
    g_assert_cmpint(blk_pdiscard(blk, 0, 4096), ==, 0);
    g_assert_cmpint(d->discards, ==, 1);
    g_assert_cmpint(bdrv_is_allocated(bs, 0, 64 * KiB, &n), ==, 1);
    g_assert_cmpint(n, ==, 64 * KiB);
    g_assert_cmpint(blk_truncate(blk, 128 * KiB, true, PREALLOC_MODE_OFF, 0,
                                 &error_abort), ==, 0);
    g_assert_cmpint(disk->total_bytes, ==, 128 * KiB);
    g_assert_cmpint(bs->total_bytes, ==, 128 * KiB);
    blk_unref(blk);
    bdrv_unref(bs);
    bdrv_unref(disk);
    test_disk_free(d);
}

/* Growing: new space is clean, as what was never there did not change; a
 * shorter disk drops what is gone, which comes back dirty. */
static void test_truncate_bitmap(void)
{
    TestDisk *d = test_disk_new(64 * KiB);
    BlockDriverState *bs = test_open(d, "{'driver': 'null-co',"
                                        " 'node-name': 'disk'}");
    BlockBackend *blk = blk_new_with_bs(bs, BLK_PERM_WRITE | BLK_PERM_RESIZE,
                                        BLK_PERM_ALL, &error_abort);
    BdrvDirtyBitmap *b = bdrv_dirty_bitmap_new(bs, 4096, "b", &error_abort);
    uint8_t buf[100] = { 1 };
    Error *err = NULL;

    blk_truncate(blk, 80 * KiB, true, PREALLOC_MODE_OFF, 0, &error_abort);
    g_assert_cmpint(bdrv_dirty_bitmap_size(b), ==, 80 * KiB);
    g_assert_cmpint(bdrv_dirty_bitmap_count(b), ==, 0);
    blk_truncate(blk, 4 * KiB, true, PREALLOC_MODE_OFF, 0, &error_abort);
    g_assert_cmpint(bdrv_dirty_bitmap_count(b), ==, 0);
    blk_truncate(blk, 8 * KiB, true, PREALLOC_MODE_OFF, 0, &error_abort);
    g_assert_cmpint(bdrv_dirty_bitmap_count(b), ==, 4 * KiB);
    bdrv_dirty_bitmap_clear(b);
    /* a write past the end grows, too */
    g_assert_cmpint(bdrv_pwrite(blk_root(blk), 10000, sizeof(buf), buf), ==,
                    0);
    g_assert_cmpint(bs->total_bytes, ==, 10240);
    g_assert_true(hbitmap_get(bdrv_dirty_bitmap_hbitmap(b), 10000));
    g_assert_cmpint(bdrv_dirty_bitmap_count(b), ==, 4 * KiB);
    g_assert_cmpint(blk_truncate(blk, -1, true, PREALLOC_MODE_OFF, 0, &err),
                    <, 0);
    g_assert_nonnull(err);
    error_free(err);
    blk_unref(blk);
    bdrv_dirty_bitmap_release_all(bs);
    bdrv_unref(bs);
    test_disk_free(d);
}

static uint64_t seen_threshold;

static void on_threshold(BlockDriverState *bs, uint64_t threshold,
                         uint64_t exceeded)
{
    seen_threshold = threshold + exceeded;
}

static void test_write_threshold(void)
{
    TestDisk *d = test_disk_new(64 * KiB);
    BlockDriverState *bs = test_open(d, "{'driver': 'null-co',"
                                        " 'node-name': 'disk'}");
    BlockBackend *blk = blk_new_with_bs(bs, BLK_PERM_WRITE, BLK_PERM_ALL,
                                        &error_abort);
    uint8_t buf[512] = { 1 };

    bdrv_event_hooks.write_threshold = on_threshold;
    bdrv_node(bs)->write_threshold = 1024;
    blk_pwrite(blk, 512, 512, buf, 0);
    g_assert_cmpuint(seen_threshold, ==, 0);
    blk_pwrite(blk, 1000, 512, buf, 0);
    g_assert_cmpuint(seen_threshold, ==, 1512);
    g_assert_cmpuint(bdrv_node(bs)->write_threshold, ==, 0);
    g_assert_cmpuint(bdrv_node(bs)->wr_highest_offset, ==, 1512);
    bdrv_event_hooks.write_threshold = NULL;
    blk_unref(blk);
    bdrv_unref(bs);
    test_disk_free(d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/io/model/sequential", test_sequential);
    g_test_add_func("/io/model/concurrent", test_concurrent);
    g_test_add_func("/io/bitmap/failed-write", test_failed_write);
    g_test_add_func("/io/bitmap/marked-after", test_marked_after);
    g_test_add_func("/io/bitmap/write-unchanged", test_write_unchanged);
    g_test_add_func("/io/bitmap/truncate", test_truncate_bitmap);
    g_test_add_func("/io/detect-zeroes", test_detect_zeroes);
    g_test_add_func("/io/flush", test_flush);
    g_test_add_func("/io/status", test_status);
    g_test_add_func("/io/short-backing", test_short_backing_reads_zero);
    g_test_add_func("/io/copy-on-read", test_copy_on_read);
    g_test_add_func("/io/filter", test_filter);
    g_test_add_func("/io/write-threshold", test_write_threshold);
    return g_test_run();
}
