/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent bitmaps: stored, loaded, marked in use, removed, resized; and
 * exchanged with the installed peer. */
#include "qemu/osdep.h"

#include <glib/gstdio.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/qcow2-int.h"
#include "qemu/aio.h"
#include "test-qcow2.h"

extern const BlockDriver bdrv_file;

const BlockDriver *const bdrv_drivers[] = { &bdrv_file, &bdrv_qcow2, NULL };

#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)

static char *dir, *path;
static bool have_peer;

static void create(int64_t size, uint64_t cluster)
{
    create_image(path, &(BlockdevCreateOptionsQcow2) {
                           .size = size, .has_cluster_size = true,
                           .cluster_size = cluster });
}

static BlockDriverState *open_image(bool read_only)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'node-name': 'q', 'read-only': %s, "
        "'file': {'driver': 'file', 'filename': '%s'}}",
        read_only ? "true" : "false", path);

    return open_text(text, BDRV_O_RDWR, &error_abort);
}

static BlockBackend *use(BlockDriverState *bs)
{
    return blk_new_with_bs(bs, bdrv_is_read_only(bs)
                           ? BLK_PERM_CONSISTENT_READ : PERM_RW, BLK_PERM_ALL,
                           &error_abort);
}

static BdrvDirtyBitmap *add(BlockDriverState *bs, const char *name,
                            uint64_t granularity)
{
    BdrvDirtyBitmap *bitmap;

    g_assert_true(bdrv_can_store_dirty_bitmap(bs, name, granularity,
                                              &error_abort));
    bitmap = bdrv_dirty_bitmap_new(bs, granularity, name, &error_abort);
    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    return bitmap;
}

static BdrvDirtyBitmap *find(BlockDriverState *bs, const char *name)
{
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(bs, name);

    g_assert_nonnull(bitmap);
    return bitmap;
}

static void write_at(BlockBackend *blk, int64_t offset, int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);

    memset(buf, 5, bytes);
    g_assert_cmpint(blk_pwrite(blk, offset, bytes, buf, 0), ==, 0);
}

static char *peer(const char *fmt, ...) G_GNUC_PRINTF(1, 2);
static char *peer(const char *fmt, ...)
{
    g_autofree char *cmd = NULL, *err = NULL;
    char *out;
    va_list ap;
    int status;

    va_start(ap, fmt);
    cmd = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_assert_true(g_spawn_command_line_sync(cmd, &out, &err, &status, NULL));
    if (status) {
        g_error("%s: %s%s", cmd, out, err);
    }
    return out;
}

static void check_clean(void)
{
    g_autoptr(BlockDriverState) bs = open_image(true);
    BdrvCheckResult result = { 0 };

    g_assert_cmpint(bdrv_check(bs, &result, 0), ==, 0);
    g_assert_cmpint(result.corruptions + result.leaks + result.check_errors,
                    ==, 0);
    if (have_peer) {
        g_free(peer("qemu-img check -U %s", path));
    }
}

static void test_roundtrip(uint64_t cluster, uint64_t granularity)
{
    BlockDriverState *bs;
    BlockBackend *blk;
    BdrvDirtyBitmap *bitmap;
    g_autofree char *before = NULL, *after = NULL;

    create(64 * MiB + 512, cluster);
    bs = open_image(false);
    blk = use(bs);
    bitmap = add(bs, "b0", granularity);
    bdrv_dirty_bitmap_disable(add(bs, "off", 65536));
    bdrv_dirty_bitmap_set(add(bs, "ones", 4096), 0, 64 * MiB + 512);
    for (int i = 0; i < 50; i++) {
        write_at(blk, g_test_rand_int_range(0, 64 * MiB), 512);
    }
    before = bdrv_dirty_bitmap_sha256(bitmap);
    blk_unref(blk);
    bdrv_unref(bs);
    check_clean();

    bs = open_image(true);
    g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                    BDRV_BITMAP_READONLY);
    after = bdrv_dirty_bitmap_sha256(find(bs, "b0"));
    g_assert_cmpstr(before, ==, after);
    g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "ones")), ==,
                    64 * MiB + 4 * KiB); /* whole granules */
    g_assert_false(bdrv_dirty_bitmap_enabled(find(bs, "off")));
    bdrv_unref(bs);

    bs = open_image(false);
    blk = use(bs);
    g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                    BDRV_BITMAP_ACTIVE);
    g_assert_true(bdrv_dirty_bitmap_persistent(find(bs, "b0")));
    g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "off")), ==, 0);
    bdrv_dirty_bitmap_release(find(bs, "ones"));
    g_assert_true(bdrv_remove_stored_dirty_bitmap(bs, "ones", &error_abort));
    blk_unref(blk);
    bdrv_unref(bs);
    check_clean();
    bs = open_image(false);
    g_assert_null(bdrv_dirty_bitmap_find(bs, "ones"));
    bdrv_unref(bs);
    check_clean();
}

static void test_roundtrips(void)
{
    test_roundtrip(65536, 65536);
    test_roundtrip(512, 512);
    test_roundtrip(4096, 8192);
    test_roundtrip(2 * MiB, 65536);
}

/* What lies on disk while the image is open is in use. */
static void test_in_use(void)
{
    g_autofree char *copy = g_strdup_printf("%s.copy", path), *data = NULL;
    BlockDriverState *bs;
    gsize len;

    create(16 * MiB, 65536);
    bs = open_image(false);
    add(bs, "b0", 65536);
    bdrv_unref(bs);
    bs = open_image(false);
    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    bdrv_unref(bs);
    g_assert_true(g_file_set_contents(path, data, len, NULL));
    check_clean();

    bs = open_image(false);
    g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                    BDRV_BITMAP_INCONSISTENT);
    bdrv_unref(bs);
    bs = open_image(false);
    g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                    BDRV_BITMAP_INCONSISTENT);
    bdrv_dirty_bitmap_release(find(bs, "b0"));
    g_assert_true(bdrv_remove_stored_dirty_bitmap(bs, "b0", &error_abort));
    bdrv_unref(bs);
    check_clean();
}

static void test_reopen(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;

    create(16 * MiB, 65536);
    bs = open_image(false);
    blk = use(bs);
    add(bs, "b0", 65536);
    write_at(blk, MiB, 65536);
    blk_unref(blk);
    for (int i = 0; i < 3; i++) {
        g_assert_true(bdrv_reopen_set_read_only(bs, true, &error_abort));
        g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                        BDRV_BITMAP_READONLY);
        g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "b0")), ==,
                        (i + 1) * 65536);
        if (have_peer) {
            g_autofree char *out = peer("qemu-img info -U %s", path);

            g_assert_null(strstr(out, "in-use"));
            g_assert_nonnull(strstr(out, "auto"));
        }
        g_assert_true(bdrv_reopen_set_read_only(bs, false, &error_abort));
        g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                        BDRV_BITMAP_ACTIVE);
        if (have_peer) {
            g_autofree char *out = peer("qemu-img info -U %s", path);

            g_assert_nonnull(strstr(out, "in-use"));
        }
        blk = use(bs);
        write_at(blk, (2 + i) * MiB, 4096);
        blk_unref(blk);
    }
    bdrv_unref(bs);
    check_clean();
}

static void test_resize(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;

    create(16 * MiB, 4096);
    bs = open_image(false);
    blk = use(bs);
    add(bs, "b0", 4096);
    g_assert_cmpint(blk_truncate(blk, 600 * MiB, true, PREALLOC_MODE_OFF, 0,
                                 &error_abort), ==, 0);
    blk_unref(blk);
    bdrv_unref(bs);
    check_clean();
    bs = open_image(false);
    blk = use(bs);
    g_assert_cmpint(bdrv_dirty_bitmap_size(find(bs, "b0")), ==, 600 * MiB);
    g_assert_cmpint(blk_truncate(blk, 5 * MiB, true, PREALLOC_MODE_OFF, 0,
                                 &error_abort), ==, 0);
    blk_unref(blk);
    bdrv_unref(bs);
    check_clean();
}

static void test_refusals(void)
{
    BlockDriverState *bs;
    g_autoptr(Error) err = NULL;
    char name[1030];

    create(16 * MiB, 4096);
    bs = open_image(false);
    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    g_assert_false(bdrv_can_store_dirty_bitmap(bs, name, 4096, NULL));
    g_assert_false(bdrv_can_store_dirty_bitmap(bs, "b", 256, NULL));
    g_assert_false(bdrv_can_store_dirty_bitmap(bs, "b", 4 * GiB, &err));
    g_assert_nonnull(strstr(error_get_pretty(err), "Granularity exceeds"));
    bdrv_unref(bs);
}

/* --- with the peer --- */

static void test_peer_to_us(void)
{
    BlockDriverState *bs;
    g_autofree char *out = NULL;

    if (!have_peer) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    g_free(peer("qemu-img create -f qcow2 %s 1G", path));
    g_free(peer("qemu-img bitmap --add -g 32k %s b0", path));
    g_free(peer("qemu-img bitmap --add --disable %s b1", path));
    g_free(peer("qemu-io -f qcow2 -c 'write 1M 100k' %s", path));
    bs = open_image(true);
    g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "b0")), ==, 4 * 32768);
    g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "b1")), ==, 0);
    g_assert_false(bdrv_dirty_bitmap_enabled(find(bs, "b1")));
    bdrv_unref(bs);
    bs = open_image(false);
    bdrv_unref(bs);
    out = peer("qemu-img info %s", path);
    g_assert_null(strstr(out, "in-use"));
    g_assert_nonnull(strstr(out, "granularity: 32768"));
    check_clean();
}

static void test_us_to_peer(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;

    if (!have_peer) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    create(GiB, 65536);
    bs = open_image(false);
    blk = use(bs);
    add(bs, "b0", 65536);
    write_at(blk, 3 * MiB, 200000);
    blk_unref(blk);
    bdrv_unref(bs);
    /* The peer records on, merges, and we read that. */
    g_free(peer("qemu-io -f qcow2 -c 'write 8M 64k' %s", path));
    g_free(peer("qemu-img bitmap --add --merge b0 %s b1", path));
    bs = open_image(true);
    g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "b0")), ==, 5 * 65536);
    g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "b1")), ==, 5 * 65536);
    bdrv_unref(bs);
    check_clean();
}

int main(int argc, char **argv)
{
    g_autofree char *tool = NULL;
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    tool = g_find_program_in_path("qemu-img");
    have_peer = tool != NULL;
    dir = g_dir_make_tmp("test-qcow2-bitmap-XXXXXX", NULL);
    path = g_build_filename(dir, "t.qcow2", NULL);
    g_test_add_func("/qcow2/bitmap/roundtrip", test_roundtrips);
    g_test_add_func("/qcow2/bitmap/in-use", test_in_use);
    g_test_add_func("/qcow2/bitmap/reopen", test_reopen);
    g_test_add_func("/qcow2/bitmap/resize", test_resize);
    g_test_add_func("/qcow2/bitmap/refusals", test_refusals);
    g_test_add_func("/qcow2/bitmap/peer-to-us", test_peer_to_us);
    g_test_add_func("/qcow2/bitmap/us-to-peer", test_us_to_peer);
    ret = g_test_run();
    g_unlink(path);
    g_rmdir(dir);
    g_free(path);
    g_free(dir);
    aio_main_cleanup();
    return ret;
}
