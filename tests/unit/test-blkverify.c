/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blkverify: what is the same passes, what is not ends the process. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "memory-driver.h"

extern const BlockDriver bdrv_blkverify;

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_memory, &bdrv_blkverify, NULL,
};

typedef struct Fixture {
    BlockDriverState *bs, *test, *raw;
    MemoryDisk *test_disk, *raw_disk;
    BlockBackend *blk;
    uint8_t buf[3 * MiB];
} Fixture;

static Fixture f;

static void fixture_init(void)
{
    struct json_object *obj = json_tokener_parse(
        "{\"driver\": \"blkverify\", \"node-name\": \"v\","
        " \"discard\": \"unmap\", \"test\": \"test\", \"raw\": \"raw\"}");

    f.test = memory_node("test");
    f.raw = memory_node("raw");
    f.test_disk = memory_disk(f.test);
    f.raw_disk = memory_disk(f.raw);
    f.test_disk->error = f.raw_disk->error = ENOSPC;
    f.bs = bdrv_open_json(obj, false, BDRV_O_RDWR, &error_abort);
    f.blk = blk_new_with_bs(f.bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                            BLK_PERM_ALL, &error_abort);
    json_object_put(obj);
}

static void fixture_free(void)
{
    blk_unref(f.blk);
    bdrv_unref(f.bs);
    bdrv_unref(f.raw);
    bdrv_unref(f.test);
}

static void test_same(void)
{
    fixture_init();
    memset(f.buf, 1, sizeof(f.buf));
    g_assert_cmpint(blk_pwrite(f.blk, 1000, 2 * MiB, f.buf, 0), ==, 0);
    g_assert_cmpint(blk_pwrite_zeroes(f.blk, 5000, 9000, 0), ==, 0);
    g_assert_cmpint(blk_pwrite_zeroes(f.blk, 4 * KiB, 4 * KiB,
                                      BDRV_REQ_NO_FALLBACK), ==, -ENOTSUP);
    g_assert_cmpint(blk_pdiscard(f.blk, 64 * KiB, 64 * KiB), ==, 0);
    g_assert_cmpint(blk_flush(f.blk), ==, 0);
    g_assert_cmpint(f.test_disk->flushes, ==, 1);
    g_assert_cmpint(f.raw_disk->flushes, ==, 1);
    g_assert_cmpint(blk_pread(f.blk, 0, sizeof(f.buf), f.buf, 0), ==, 0);
    g_assert_false(memcmp(f.buf, f.test_disk->data, sizeof(f.buf)));
    g_assert_false(memcmp(f.buf, f.raw_disk->data, sizeof(f.buf)));
    g_assert_cmpint(f.buf[4999], ==, 1);
    g_assert_cmpint(f.buf[5000], ==, 0);
    /* The same error of both is one of the request. */
    f.test_disk->fail_write = f.raw_disk->fail_write = 1;
    g_assert_cmpint(blk_pwrite(f.blk, 0, 512, f.buf, 0), ==, -ENOSPC);
    fixture_free();
}

static void test_truncate(void)
{
    Error *err = NULL;

    fixture_init();
    g_assert_true(blk_set_perm(f.blk, BLK_PERM_ALL, BLK_PERM_ALL,
                               &error_abort));
    g_assert_cmpint(blk_truncate(f.blk, 1 * MiB, true, PREALLOC_MODE_OFF, 0,
                                 &err), ==, -ENOTSUP);
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "blkverify does not support resize");
    error_free(err);
    fixture_free();
}

/* --- who else may use the two disks --- */

static bool can_use(BlockDriverState *bs, uint64_t perm)
{
    BlockBackend *blk = blk_new_with_bs(bs, perm, BLK_PERM_ALL, NULL);

    if (blk) {
        blk_unref(blk);
    }
    return blk;
}

static bool can_unshare(BlockDriverState *bs, uint64_t perm)
{
    BlockBackend *blk = blk_new_with_bs(bs, 0, BLK_PERM_ALL & ~perm, NULL);

    if (blk) {
        blk_unref(blk);
    }
    return blk;
}

static void check_others(BlockDriverState *child, bool read_only)
{
    g_assert_true(can_use(child, BLK_PERM_CONSISTENT_READ));
    g_assert_true(can_use(child, BLK_PERM_WRITE_UNCHANGED));
    g_assert_false(can_use(child, BLK_PERM_WRITE));
    g_assert_false(can_use(child, BLK_PERM_RESIZE));
    g_assert_false(can_unshare(child, BLK_PERM_CONSISTENT_READ));
    g_assert_cmpint(can_unshare(child, BLK_PERM_WRITE), ==, read_only);
    g_assert_true(can_unshare(child, BLK_PERM_RESIZE));
}

static void check_unused(BlockDriverState *child)
{
    g_assert_true(can_use(child, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE));
    g_assert_false(can_use(child, BLK_PERM_RESIZE));
    g_assert_true(can_unshare(child, BLK_PERM_ALL));
}

static void test_permissions(void)
{
    fixture_init();
    check_others(f.test, false);
    check_others(f.raw, false);
    /* A user that only reads: what is read is compared. */
    g_assert_true(blk_set_perm(f.blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                               &error_abort));
    check_others(f.test, true);
    check_others(f.raw, true);
    /* One that shares nothing keeps others from both. */
    g_assert_true(blk_set_perm(f.blk, BLK_PERM_CONSISTENT_READ, 0,
                               &error_abort));
    g_assert_false(can_use(f.test, BLK_PERM_CONSISTENT_READ));
    g_assert_false(can_use(f.raw, BLK_PERM_CONSISTENT_READ));
    /* Without a user, they may change, but keep their sizes. */
    blk_unref(f.blk);
    check_unused(f.test);
    check_unused(f.raw);
    f.blk = blk_new_with_bs(f.bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                            BLK_PERM_ALL, &error_abort);
    fixture_free();
}

/* --- what is not the same: each in a process of its own --- */

static void do_data(void)
{
    f.test_disk->data[3 * MiB / 2 + 7] = 1;
    blk_pread(f.blk, 512, 2 * MiB, f.buf, 0);
}

static void do_read_fails(void)
{
    f.test_disk->fail_read = 1;
    blk_pread(f.blk, 0, 512, f.buf, 0);
}

static void do_write_fails(void)
{
    f.raw_disk->fail_write = 1;
    blk_pwrite(f.blk, 0, 512, f.buf, 0);
}

static void do_zeroes_fail(void)
{
    f.test_disk->fail_write = 1;
    blk_pwrite_zeroes(f.blk, 4096, 4096, 0);
}

static void do_flush_fails(void)
{
    f.raw_disk->fail_flush = 1;
    blk_pwrite(f.blk, 0, 512, f.buf, 0);
    blk_flush(f.blk);
}

static const struct {
    const char *path, *message;
    void (*run)(void);
} differences[] = {
    { "/blkverify/data", "*blkverify: read offset=1049088 bytes=1048576 "
      "contents mismatch at offset 1572871\n", do_data },
    { "/blkverify/read-fails", "*blkverify: read offset=0 bytes=512 return "
      "value mismatch -28 != 0\n", do_read_fails },
    { "/blkverify/write-fails", "*blkverify: write offset=0 bytes=512 return "
      "value mismatch 0 != -28\n", do_write_fails },
    { "/blkverify/zeroes-fail", "*blkverify: write offset=4096 bytes=4096 "
      "return value mismatch -28 != 0\n", do_zeroes_fail },
    { "/blkverify/flush-fails", "*blkverify: flush offset=0 bytes=0 return "
      "value mismatch 0 != -5\n", do_flush_fails },
};

static void test_difference(gconstpointer opaque)
{
    size_t i = GPOINTER_TO_SIZE(opaque);

    if (g_test_subprocess()) {
        fixture_init();
        differences[i].run();
        exit(EXIT_SUCCESS);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr(differences[i].message);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/blkverify/same", test_same);
    g_test_add_func("/blkverify/truncate", test_truncate);
    g_test_add_func("/blkverify/permissions", test_permissions);
    for (size_t i = 0; i < ARRAY_SIZE(differences); i++) {
        g_test_add_data_func(differences[i].path, GSIZE_TO_POINTER(i),
                             test_difference);
    }
    ret = g_test_run();
    bdrv_close_all();
    aio_main_cleanup();
    return ret;
}
