/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Padding, splitting and bouncing: the requests that a driver gets. */
#include "test-disk.h"

#define DISK_BYTES (64 * KiB)

typedef struct Fixture {
    TestDisk *disk;
    BlockDriverState *bs;
    BlockBackend *blk;
} Fixture;

static void fixture_init(Fixture *f, BlockLimits bl)
{
    *f = (Fixture) { .disk = test_disk_new(DISK_BYTES) };
    f->disk->bl = bl;
    for (int i = 0; i < DISK_BYTES; i++) {
        f->disk->data[i] = i % 251;
    }
    f->bs = test_open(f->disk, "{'driver': 'null-co', 'node-name': 'disk',"
                               " 'discard': 'unmap'}");
    f->blk = blk_new_with_bs(f->bs, BLK_PERM_CONSISTENT_READ |
                             BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort);
}

static void fixture_free(Fixture *f)
{
    blk_unref(f->blk);
    bdrv_unref(f->bs);
    test_disk_free(f->disk);
}

static void check_read(Fixture *f, int64_t offset, int64_t bytes, int reads)
{
    uint8_t *buf = qemu_memalign(4096, bytes);

    f->disk->reads = 0;
    g_assert_cmpint(blk_pread(f->blk, offset, bytes, buf, 0), ==, 0);
    g_assert_cmpint(memcmp(buf, f->disk->data + offset, bytes), ==, 0);
    g_assert_cmpint(f->disk->reads, ==, reads);
    qemu_vfree(buf);
}

static void test_read(void)
{
    Fixture f;

    fixture_init(&f, (BlockLimits) { .request_alignment = 512 });
    check_read(&f, 0, 512, 1);
    check_read(&f, 1, 510, 1);
    check_read(&f, 511, 2, 1);
    check_read(&f, 100, 20000, 1);
    check_read(&f, DISK_BYTES - 1, 1, 1);
    fixture_free(&f);
}

static void check_write(Fixture *f, int64_t offset, int64_t bytes, int reads,
                        int writes)
{
    g_autofree uint8_t *want = g_memdup2(f->disk->data, DISK_BYTES);
    uint8_t *buf = qemu_memalign(4096, bytes);

    memset(buf, 0xcc, bytes);
    memset(want + offset, 0xcc, bytes);
    f->disk->reads = f->disk->writes = 0;
    g_assert_cmpint(blk_pwrite(f->blk, offset, bytes, buf, 0), ==, 0);
    g_assert_cmpint(memcmp(want, f->disk->data, DISK_BYTES), ==, 0);
    g_assert_cmpint(f->disk->reads, ==, reads);
    g_assert_cmpint(f->disk->writes, ==, writes);
    qemu_vfree(buf);
}

static void test_write(void)
{
    Fixture f;

    fixture_init(&f, (BlockLimits) { .request_alignment = 512 });
    check_write(&f, 0, 1024, 0, 1);
    check_write(&f, 10, 20, 1, 1);     /* inside of one block */
    check_write(&f, 10, 1000, 1, 1);   /* two blocks, one read */
    check_write(&f, 10, 5000, 2, 1);   /* head and tail apart */
    check_write(&f, 512, 5000, 1, 1);  /* tail only */
    check_write(&f, 10, 5110, 1, 1);   /* head only */
    fixture_free(&f);
}

static void test_max_transfer(void)
{
    Fixture f;

    fixture_init(&f, (BlockLimits) { .request_alignment = 512,
                                     .max_transfer = 4096 + 100 });
    check_read(&f, 0, 16384, 4);
    check_write(&f, 0, 16384, 0, 4);
    check_write(&f, 0, 16385, 1, 5);
    fixture_free(&f);
}

/* Memory that does not fit is copied; vectors that are too long as well. */
static void test_bounce(void)
{
    uint8_t *buf = qemu_memalign(4096, 8192);
    QEMUIOVector qiov;
    Fixture f;

    fixture_init(&f, (BlockLimits) { .request_alignment = 512,
                                     .min_mem_alignment = 512,
                                     .opt_mem_alignment = 4096 });
    g_assert_cmpint(blk_pread(f.blk, 0, 4096, buf + 1, 0), ==, 0);
    g_assert_cmpint(memcmp(buf + 1, f.disk->data, 4096), ==, 0);
    fixture_free(&f);

    fixture_init(&f, (BlockLimits) { .max_iov = 3 });
    qemu_iovec_init(&qiov, 8);
    for (int i = 0; i < 8; i++) {
        qemu_iovec_add(&qiov, buf + i * 16, 16);
    }
    g_assert_cmpint(blk_preadv(f.blk, 5, 128, &qiov, 0), ==, 0);
    g_assert_cmpint(memcmp(buf, f.disk->data + 5, 128), ==, 0);
    qemu_iovec_destroy(&qiov);
    fixture_free(&f);
    qemu_vfree(buf);
}

static void check_zeroes(Fixture *f, int64_t offset, int64_t bytes,
                         BdrvRequestFlags flags, int ret)
{
    g_autofree uint8_t *want = g_memdup2(f->disk->data, DISK_BYTES);

    f->disk->zeroes = f->disk->writes = 0;
    g_assert_cmpint(blk_pwrite_zeroes(f->blk, offset, bytes, flags), ==, ret);
    if (ret == 0) {
        memset(want + offset, 0, bytes);
        g_assert_cmpint(memcmp(want, f->disk->data, DISK_BYTES), ==, 0);
    }
}

static void test_zeroes(void)
{
    Fixture f;

    fixture_init(&f, (BlockLimits) { .request_alignment = 512,
                                     .pwrite_zeroes_alignment = 4096,
                                     .max_pwrite_zeroes = 10000 });
    check_zeroes(&f, 0, 4096, 0, 0);
    g_assert_cmpint(f.disk->zeroes, ==, 1);
    check_zeroes(&f, 512, 16384, 0, 0);
    g_assert_cmpint(f.disk->zeroes, ==, 2); /* 8 KiB, 4 KiB */
    g_assert_cmpint(f.disk->writes, ==, 2); /* both ends */
    check_zeroes(&f, 100, 1000, 0, 0);
    check_zeroes(&f, 20, 30, 0, 0);
    f.disk->no_zeroes = true;
    check_zeroes(&f, 8192, 4096, BDRV_REQ_NO_FALLBACK, -ENOTSUP);
    g_assert_cmpint(f.disk->writes, ==, 0);
    check_zeroes(&f, 8192, 4096, 0, 0);
    g_assert_cmpint(f.disk->writes, ==, 1);
    fixture_free(&f);
}

/* Parts of granules are dropped, the end of the disk counts as whole. */
static void test_discard(void)
{
    Fixture f;

    fixture_init(&f, (BlockLimits) { .request_alignment = 512,
                                     .pdiscard_alignment = 4096,
                                     .max_pdiscard = 9000 });
    g_assert_cmpint(blk_pdiscard(f.blk, 1, 4096), ==, 0);
    g_assert_cmpint(f.disk->discards, ==, 0);
    g_assert_cmpint(blk_pdiscard(f.blk, 1, 20000), ==, 0);
    g_assert_cmpint(f.disk->discards, ==, 2); /* 8 KiB + 4 KiB */
    g_assert_cmpint(f.disk->data[4095], !=, 0);
    g_assert_cmpint(f.disk->data[4096], ==, 0);
    fixture_free(&f);
}

static void test_ranges(void)
{
    uint8_t buf[512];
    Fixture f;

    fixture_init(&f, (BlockLimits) { .request_alignment = 1 });
    g_assert_cmpint(blk_pread(f.blk, -1, 1, buf, 0), ==, -EIO);
    g_assert_cmpint(blk_pread(f.blk, DISK_BYTES, 1, buf, 0), ==, -EIO);
    g_assert_cmpint(blk_pread(f.blk, INT64_MAX, 1, buf, 0), ==, -EIO);
    g_assert_cmpint(blk_pwrite(f.blk, DISK_BYTES - 1, 2, buf, 0), ==, -EIO);
    g_assert_cmpint(blk_pread(f.blk, DISK_BYTES, 0, buf, 0), ==, 0);
    fixture_free(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/align/read", test_read);
    g_test_add_func("/align/write", test_write);
    g_test_add_func("/align/max-transfer", test_max_transfer);
    g_test_add_func("/align/bounce", test_bounce);
    g_test_add_func("/align/zeroes", test_zeroes);
    g_test_add_func("/align/discard", test_discard);
    g_test_add_func("/align/ranges", test_ranges);
    return g_test_run();
}
