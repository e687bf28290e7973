/* SPDX-License-Identifier: GPL-2.0-or-later */
/* raw over real files: window, guard of the first sector, host I/O. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/node-int.h"
#include "block/request.h"
#include <json-c/json.h>

#define FILE_BYTES (256 * KiB)

extern const BlockDriver bdrv_file, bdrv_raw, bdrv_null_co;

/* Knows images by "FMT!" at their start. */
static int magic_probe(const uint8_t *buf, size_t bytes, const char *filename)
{
    return bytes >= 4 && !memcmp(buf, "FMT!", 4) ? 100 : 0;
}

static const BlockDriver magic_driver = {
    .format_name = "qcow2",
    .probe = magic_probe,
};

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_file, &bdrv_raw, &bdrv_null_co, &magic_driver, NULL,
};

static char *path;

static void new_file(void)
{
    int fd = g_mkstemp(path = g_strdup("/tmp/test-raw-XXXXXX"));

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, FILE_BYTES), ==, 0);
    close(fd);
}

static void drop_file(void)
{
    unlink(path);
    g_free(path);
}

/* A raw node over the file, with more options of raw. */
static BlockDriverState *open_raw(const char *extra, Error **errp)
{
    g_autofree char *json = g_strdup_printf(
        "{\"driver\": \"raw\", \"node-name\": \"raw\", \"discard\": \"unmap\","
        " \"file\": {\"driver\": \"file\", \"node-name\": \"file\","
        " \"filename\": \"%s\", \"discard\": \"unmap\"}%s}", path, extra);
    struct json_object *obj = json_tokener_parse(json);
    BlockDriverState *bs = bdrv_open_json(obj, false, BDRV_O_RDWR, errp);

    json_object_put(obj);
    return bs;
}

static BlockBackend *user(BlockDriverState *bs)
{
    return blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                           BLK_PERM_RESIZE, BLK_PERM_ALL, &error_abort);
}

static void test_window(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    uint8_t buf[4096], back[4096];
    int64_t n, map;
    BlockDriverState *file;
    Error *err = NULL;
    int fd;

    new_file();
    bs = open_raw(", \"offset\": 8192, \"size\": 65536", &error_abort);
    blk = user(bs);
    g_assert_cmpint(blk_getlength(blk), ==, 65536);
    memset(buf, 0x77, sizeof(buf));
    g_assert_cmpint(blk_pwrite(blk, 61440, 4096, buf, 0), ==, 0);
    g_assert_cmpint(blk_pwrite(blk, 61441, 4096, buf, 0), ==, -EIO);
    g_assert_cmpint(blk_pread(blk, 61440, 4096, back, 0), ==, 0);
    g_assert_cmpint(memcmp(buf, back, 4096), ==, 0);
    fd = open(path, O_RDONLY);
    g_assert_cmpint(pread(fd, back, 4096, 8192 + 61440), ==, 4096);
    g_assert_cmpint(memcmp(buf, back, 4096), ==, 0);
    close(fd);
    g_assert_cmpint(bdrv_block_status(bs, 61440, 4096, &n, &map, &file) &
                    BDRV_BLOCK_DATA, ==, BDRV_BLOCK_DATA);
    g_assert_cmpint(map, ==, 8192 + 61440);
    g_assert_cmpstr(file->node_name, ==, "file");
    g_assert_cmpint(blk_truncate(blk, 1 * MiB, true, PREALLOC_MODE_OFF, 0,
                                 &err), ==, -ENOTSUP);
    g_clear_pointer(&err, error_free);
    blk_unref(blk);
    bdrv_unref(bs);
    g_assert_null(open_raw(", \"offset\": 300000", &err));
    g_clear_pointer(&err, error_free);
    g_assert_null(open_raw(", \"offset\": 4096, \"size\": 262144", &err));
    g_clear_pointer(&err, error_free);
    g_assert_null(open_raw(", \"offset\": -1", &err));
    g_clear_pointer(&err, error_free);
    drop_file();
}

static void test_resize(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    uint8_t buf[512] = { 9 };

    new_file();
    bs = open_raw(", \"offset\": 4096", &error_abort);
    blk = user(bs);
    g_assert_cmpint(blk_getlength(blk), ==, FILE_BYTES - 4096);
    blk_truncate(blk, 1 * MiB, true, PREALLOC_MODE_OFF, 0, &error_abort);
    g_assert_cmpint(blk_getlength(blk), ==, 1 * MiB);
    g_assert_cmpint(bs->file->bs->total_bytes, ==, 1 * MiB + 4096);
    g_assert_cmpint(blk_pwrite(blk, 1 * MiB - 512, 512, buf, 0), ==, 0);
    blk_unref(blk);
    bdrv_unref(bs);
    drop_file();
}

/* A guess of raw stays raw: no write may make it look like a format. */
static void test_guard(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    uint8_t buf[1024] = "FMT!";

    new_file();
    bs = bdrv_open_file(path, NULL, BDRV_O_RDWR | BDRV_O_NO_IO, &error_abort);
    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "raw");
    g_assert_true(bs->probed);
    blk = user(bs);
    g_assert_cmpint(blk_pwrite(blk, 0, 1024, buf, 0), ==, -EPERM);
    g_assert_cmpint(blk_pwrite(blk, 0, 4, buf, 0), ==, -EPERM);
    g_assert_cmpint(blk_pwrite(blk, 512, 512, buf, 0), ==, 0);
    /* piece by piece neither */
    g_assert_cmpint(blk_pwrite(blk, 0, 2, buf, 0), ==, 0);
    g_assert_cmpint(blk_pwrite(blk, 2, 2, buf + 2, 0), ==, -EPERM);
    buf[0] = 'x';
    g_assert_cmpint(blk_pwrite(blk, 0, 1024, buf, 0), ==, 0);
    blk_unref(blk);
    bdrv_unref(bs);
    /* an explicit format is trusted */
    buf[0] = 'F';
    bs = bdrv_open_file(path, "raw", BDRV_O_RDWR, &error_abort);
    blk = user(bs);
    g_assert_cmpint(blk_pwrite(blk, 0, 512, buf, 0), ==, 0);
    blk_unref(blk);
    bdrv_unref(bs);
    drop_file();
}

/* The guard's blocks at the end of a file of any size. */
static void test_guard_odd_size(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    uint8_t buf[300], back[300];

    new_file();
    g_assert_cmpint(truncate(path, 1000), ==, 0);
    bs = bdrv_open_file(path, NULL, BDRV_O_RDWR | BDRV_O_NO_IO, &error_abort);
    blk = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                          BLK_PERM_ALL, &error_abort);
    memset(buf, 5, sizeof(buf));
    g_assert_cmpint(blk_pwrite(blk, blk_getlength(blk) - 300, 300, buf, 0),
                    ==, 0);
    g_assert_cmpint(blk_pread(blk, blk_getlength(blk) - 300, 300, back, 0),
                    ==, 0);
    g_assert_cmpint(memcmp(buf, back, 300), ==, 0);
    blk_unref(blk);
    bdrv_unref(bs);
    drop_file();
}

/* --- host I/O, the way the copy engine uses it --- */

typedef struct HostTest {
    BlockDriverState *bs;
    BlockBackend *blk;
    BdrvDirtyBitmap *raw_bitmap, *file_bitmap;
} HostTest;

static void coroutine_fn host_entry(void *opaque)
{
    HostTest *t = opaque;
    BdrvChild *root = blk_root(t->blk);
    uint8_t data[4096], back[4096];
    BdrvRequest *r;
    int ret;

    memset(data, 0x3c, sizeof(data));
    r = bdrv_co_host_write_begin(root, 8192, 4096, &ret);
    g_assert_nonnull(r);
    g_assert_cmpint(r->host.kind, ==, BDRV_HOST_FILE);
    g_assert_cmpint(r->host.offset, ==, 4096 + 8192);
    g_assert_cmpint(bdrv_node(t->bs)->in_flight, ==, 1);
    g_assert_cmpint(bdrv_node(t->bs->file->bs)->in_flight, ==, 1);
    /* marked on every level before anything is written */
    g_assert_cmpint(bdrv_dirty_bitmap_count(t->raw_bitmap), ==, 4096);
    g_assert_cmpint(bdrv_dirty_bitmap_count(t->file_bitmap), ==, 4096);
    bdrv_dirty_bitmap_clear(t->raw_bitmap);
    g_assert_cmpint(pwrite(r->host.fd, data, r->host.bytes, r->host.offset), ==,
                    4096);
    g_assert_cmpint(bdrv_co_host_write_end(r, BDRV_HOST_WRITTEN), ==, 0);
    g_assert_cmpint(bdrv_dirty_bitmap_count(t->raw_bitmap), ==, 4096);
    g_assert_cmpint(bdrv_node(t->bs)->in_flight, ==, 0);
    g_assert_cmpint(bdrv_node(t->bs)->wr_highest_offset, ==, 12288);

    r = bdrv_co_host_read_begin(root, 8192, 4096, &ret);
    g_assert_nonnull(r);
    g_assert_cmpint(r->host.kind, ==, BDRV_HOST_FILE);
    g_assert_cmpint(pread(r->host.fd, back, 4096, r->host.offset), ==, 4096);
    g_assert_cmpint(memcmp(data, back, 4096), ==, 0);
    bdrv_co_host_read_end(r);

    g_assert_cmpint(bdrv_co_copy_range(root, 8192, root, 65536, 4096), ==, 0);
    g_assert_cmpint(bdrv_co_pread(root, 65536, 4096, back, 0), ==, 0);
    g_assert_cmpint(memcmp(data, back, 4096), ==, 0);

    /* zeroes instead of data */
    r = bdrv_co_host_write_begin(root, 8192, 4096, &ret);
    g_assert_nonnull(r);
    g_assert_cmpint(bdrv_co_host_write_end(r, BDRV_HOST_IS_ZERO), ==, 0);
    g_assert_cmpint(bdrv_co_pread(root, 8192, 4096, back, 0), ==, 0);
    g_assert_true(buffer_is_zero(back, 4096));

    /* what has to look at the data goes the general way */
    t->bs->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_ON;
    g_assert_null(bdrv_co_host_write_begin(root, 0, 4096, &ret));
    g_assert_cmpint(ret, ==, -ENOTSUP);
    t->bs->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;
    g_assert_cmpint(bdrv_node(t->bs)->in_flight, ==, 0);
    g_assert_cmpint(bdrv_node(t->bs->file->bs)->in_flight, ==, 0);
}

static void test_host_io(void)
{
    HostTest t;

    new_file();
    t.bs = open_raw(", \"offset\": 4096", &error_abort);
    t.blk = user(t.bs);
    t.raw_bitmap = bdrv_dirty_bitmap_new(t.bs, 4096, "a", &error_abort);
    t.file_bitmap = bdrv_dirty_bitmap_new(t.bs->file->bs, 4096, "b",
                                          &error_abort);
    aio_run_co(aio_main_context(), host_entry, &t);
    blk_unref(t.blk);
    bdrv_dirty_bitmap_release_all(t.bs->file->bs);
    bdrv_dirty_bitmap_release_all(t.bs);
    bdrv_unref(t.bs);
    drop_file();
}

static void test_null(void)
{
    struct json_object *obj = json_tokener_parse(
        "{\"driver\": \"null-co\", \"node-name\": \"n\","
        " \"read-zeroes\": true, \"latency-ns\": 1000000}");
    BlockDriverState *bs = bdrv_open_json(obj, false, BDRV_O_RDWR,
                                          &error_abort);
    BlockBackend *blk = user(bs);
    int64_t start = aio_now_ns(), n;
    uint8_t buf[512];

    json_object_put(obj);
    g_assert_cmpint(blk_getlength(blk), ==, 1 * GiB);
    memset(buf, 1, sizeof(buf));
    g_assert_cmpint(blk_pread(blk, 0, 512, buf, 0), ==, 0);
    g_assert_true(buffer_is_zero(buf, 512));
    g_assert_cmpint(aio_now_ns() - start, >=, 1000000);
    g_assert_true(bdrv_block_status(bs, 0, 1 * GiB, &n, NULL, NULL) &
                  BDRV_BLOCK_ZERO);
    g_assert_cmpint(n, ==, 1 * GiB);
    blk_unref(blk);
    bdrv_unref(bs);
    bs = bdrv_open_file("null-co://", "raw", BDRV_O_RDWR, &error_abort);
    bdrv_unref(bs);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/raw/window", test_window);
    g_test_add_func("/raw/resize", test_resize);
    g_test_add_func("/raw/guard", test_guard);
    g_test_add_func("/raw/guard-odd-size", test_guard_odd_size);
    g_test_add_func("/raw/host-io", test_host_io);
    g_test_add_func("/raw/null", test_null);
    return g_test_run();
}
