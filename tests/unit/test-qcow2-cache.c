/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order in which qcow2's caches write.  A filter below the format records
 * every write and flush; then power is lost again and again: what came before
 * the last flush is there, of what came after it any part.  The image must be
 * consistent but for leaked clusters, and show all that a guest's flush had
 * acknowledged.
 */
#include "qemu/osdep.h"

#include <glib/gstdio.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/qcow2-int.h"
#include "qemu/aio.h"
#include "test-qcow2.h"

extern const BlockDriver bdrv_file;

#define PERM_RW (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE | BLK_PERM_RESIZE)
#define DISK (1 * MiB)

/* --- the recorder --- */

typedef struct Event {
    int64_t offset, bytes; /* bytes -1: flush */
    uint8_t *data;         /* NULL: zeroes */
} Event;

static GArray *events;

static void record(int64_t offset, int64_t bytes, uint8_t *data)
{
    Event e = { offset, bytes, data };

    g_array_append_val(events, e);
}

static int rec_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    return bdrv_open_child(bs, options->u.compress.file, "file",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)
        ? 0 : -EINVAL;
}

static int coroutine_fn rec_pwritev(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes, QEMUIOVector *qiov,
                                    size_t qiov_offset,
                                    BdrvRequestFlags flags)
{
    uint8_t *data = g_malloc(bytes);

    qemu_iovec_to_buf(qiov, qiov_offset, data, bytes);
    record(offset, bytes, data);
    return bdrv_co_pwritev(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn rec_pwrite_zeroes(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes,
                                          BdrvRequestFlags flags)
{
    return -ENOTSUP;
}

static int coroutine_fn rec_flush(BlockDriverState *bs)
{
    record(0, -1, NULL);
    return 0;
}

static const BlockDriver recorder = {
    .format_name = "compress", /* a name that the schema has */
    .is_filter = true,
    .open = rec_open,
    .child_perm = bdrv_default_perms,
    .co_pwritev = rec_pwritev,
    .co_pwrite_zeroes = rec_pwrite_zeroes,
    .co_flush = rec_flush,
};

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_file, &recorder, &bdrv_qcow2, NULL,
};

/* --- images --- */

static char *dir, *path, *crash_path;

static void create(uint64_t cluster, bool lazy, int refcount_bits)
{
    create_image(path, &(BlockdevCreateOptionsQcow2) {
                           .size = DISK, .has_cluster_size = true,
                           .cluster_size = cluster,
                           .has_lazy_refcounts = true, .lazy_refcounts = lazy,
                           .has_refcount_bits = true,
                           .refcount_bits = refcount_bits });
}

static BlockDriverState *open_recorded(void)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'discard': 'unmap', 'file': {'driver': "
        "'compress', 'file': {'driver': 'file', 'filename': '%s'}}}", path);

    return open_text(text, BDRV_O_RDWR, &error_abort);
}

/* The disk as acknowledged by the flush that is events[index]. */
typedef struct Ack {
    guint index;
    uint8_t *disk;
} Ack;

static void random_work(BlockBackend *blk, uint8_t *disk, GArray *acks,
                        int steps)
{
    for (int i = 0; i < steps; i++) {
        int op = g_test_rand_int_range(0, 20);
        int64_t offset = g_test_rand_int_range(0, DISK);
        int64_t bytes = g_test_rand_int_range(1, 20000);
        g_autofree uint8_t *buf = NULL;

        bytes = MIN(bytes, DISK - offset);
        if (op < 9) {
            buf = g_malloc(bytes);
            memset(buf, i + 1, bytes);
            g_assert_cmpint(blk_pwrite(blk, offset, bytes, buf, 0), ==, 0);
            memcpy(disk + offset, buf, bytes);
        } else if (op < 16) {
            offset = ROUND_DOWN(offset, 4096);
            bytes = MIN(ROUND_UP(bytes, 4096), DISK - offset);
            g_assert_cmpint(blk_pwrite_zeroes(blk, offset, bytes,
                                              BDRV_REQ_MAY_UNMAP), ==, 0);
            memset(disk + offset, 0, bytes);
        } else if (op < 18) {
            Ack ack;

            g_assert_cmpint(blk_flush(blk), ==, 0);
            ack.index = events->len;
            ack.disk = g_memdup2(disk, DISK);
            g_array_append_val(acks, ack);
        }
    }
}

/* --- losing power --- */

static void apply(int fd, const Event *e)
{
    g_autofree uint8_t *zeroes = e->data ? NULL : g_malloc0(e->bytes);

    g_assert_cmpint(pwrite(fd, e->data ? e->data : zeroes, e->bytes,
                           e->offset), ==, e->bytes);
}

/*
 * The file after a loss at event @cut: writes before the last flush, and of
 * the later ones each with a probability of one half (or all: @all).
 */
static void make_crashed(const char *base, gsize base_len, guint cut, bool all)
{
    guint flushed = cut;
    int fd;

    g_assert_true(g_file_set_contents(crash_path, base, base_len, NULL));
    while (flushed > 0 &&
           g_array_index(events, Event, flushed - 1).bytes >= 0) {
        flushed--;
    }
    fd = open(crash_path, O_RDWR);
    for (guint i = 0; i < cut; i++) {
        const Event *e = &g_array_index(events, Event, i);

        if (e->bytes >= 0 && (i < flushed || all || g_test_rand_bit())) {
            apply(fd, e);
        }
    }
    close(fd);
}

static BlockDriverState *open_crashed(int flags)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': '%s'}}",
        crash_path);

    return open_text(text, BDRV_O_RDWR | flags, &error_abort);
}

static void check_consistent(void)
{
    BdrvCheckResult result = { 0 };
    BlockDriverState *bs = open_crashed(BDRV_O_CHECK);

    g_assert_cmpint(bdrv_check(bs, &result, 0), ==, 0);
    g_assert_cmpint(result.corruptions, ==, 0);
    g_assert_cmpint(result.check_errors, ==, 0);
    bdrv_unref(bs);
}

static void check_content(const uint8_t *disk)
{
    BlockDriverState *bs = open_crashed(0);
    BlockBackend *blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL,
                                        &error_abort);
    g_autofree uint8_t *buf = g_malloc(DISK);

    g_assert_cmpint(blk_pread(blk, 0, DISK, buf, 0), ==, 0);
    g_assert_true(!memcmp(buf, disk, DISK));
    blk_unref(blk);
    bdrv_unref(bs);
}

/*
 * A stored bitmap is what it was at the end, or says that it cannot be trusted.
 * Returns whether it could.
 */
static bool check_bitmap(const char *sha256)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'read-only': true, 'file': {'driver': 'file', "
        "'filename': '%s'}}", crash_path);
    g_autoptr(BlockDriverState) bs = open_text(text, BDRV_O_RDWR, &error_abort);
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(bs, "b0");
    g_autofree char *found = NULL;

    g_assert_nonnull(bitmap);
    if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
        return false;
    }
    found = bdrv_dirty_bitmap_sha256(bitmap);
    g_assert_cmpstr(found, ==, sha256);
    return true;
}

static void add_bitmap(void)
{
    g_autofree char *text = g_strdup_printf(
        "{'driver': 'qcow2', 'file': {'driver': 'file', 'filename': '%s'}}",
        path);
    BlockDriverState *bs = open_text(text, BDRV_O_RDWR, &error_abort);
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_new(bs, 512, "b0",
                                                    &error_abort);

    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    bdrv_unref(bs);
}

static void quiet_stderr(bool quiet)
{
    static int saved = -1;

    fflush(stderr);
    if (quiet) {
        int null = open("/dev/null", O_WRONLY);

        saved = dup(2);
        dup2(null, 2);
        close(null);
    } else {
        dup2(saved, 2);
        close(saved);
    }
}

static void event_clear(void *opaque)
{
    g_free(((Event *)opaque)->data);
}

static void ack_clear(void *opaque)
{
    g_free(((Ack *)opaque)->disk);
}

static void crash_run(uint64_t cluster, bool lazy, int refcount_bits)
{
    g_autofree uint8_t *disk = g_malloc0(DISK);
    g_autofree char *base = NULL;
    GArray *acks = g_array_new(FALSE, FALSE, sizeof(Ack));
    BlockDriverState *bs;
    BlockBackend *blk;
    gsize len;

    g_array_set_clear_func(acks, ack_clear);
    events = g_array_new(FALSE, FALSE, sizeof(Event));
    g_array_set_clear_func(events, event_clear);
    create(cluster, lazy, refcount_bits);
    g_assert_true(g_file_get_contents(path, &base, &len, NULL));
    bs = open_recorded();
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    bdrv_unref(bs);
    random_work(blk, disk, acks, 150);
    blk_unref(blk);

    quiet_stderr(true);
    for (int i = 0; i < 60 && !lazy; i++) {
        make_crashed(base, len, g_test_rand_int_range(1, events->len + 1),
                     i & 1);
        check_consistent();
    }
    for (guint i = 0; i < acks->len; i++) {
        const Ack *ack = &g_array_index(acks, Ack, i);

        make_crashed(base, len, ack->index, false);
        check_content(ack->disk);
        check_consistent(); /* with lazy refcounts: repaired by now */
    }
    quiet_stderr(false);
    g_array_free(acks, TRUE);
    g_array_free(events, TRUE);
}

/* At any moment since the image is open; so, too, while bitmaps are stored. */
static void test_bitmaps(void)
{
    g_autofree uint8_t *disk = g_malloc0(DISK);
    g_autofree char *base = NULL, *sha256 = NULL;
    GArray *acks = g_array_new(FALSE, FALSE, sizeof(Ack));
    guint opened, closing, trusted = 0;
    BlockDriverState *bs;
    BlockBackend *blk;
    gsize len;

    g_array_set_clear_func(acks, ack_clear);
    events = g_array_new(FALSE, FALSE, sizeof(Event));
    g_array_set_clear_func(events, event_clear);
    create(512, false, 16);
    add_bitmap();
    g_assert_true(g_file_get_contents(path, &base, &len, NULL));
    bs = open_recorded();
    opened = events->len;
    g_assert_cmpuint(opened, >, 0);
    blk = blk_new_with_bs(bs, PERM_RW, BLK_PERM_ALL, &error_abort);
    random_work(blk, disk, acks, 40);
    sha256 = bdrv_dirty_bitmap_sha256(bdrv_dirty_bitmap_find(bs, "b0"));
    closing = events->len;
    blk_unref(blk);
    bdrv_unref(bs);

    quiet_stderr(true);
    for (guint cut = opened; cut <= events->len;
         cut += cut < closing ? 7 : 1) {
        make_crashed(base, len, cut, cut & 1);
        trusted += check_bitmap(sha256);
        check_consistent();
    }
    make_crashed(base, len, events->len, false);
    g_assert_true(check_bitmap(sha256));
    quiet_stderr(false);
    g_assert_cmpuint(trusted, >, 0);
    g_array_free(acks, TRUE);
    g_array_free(events, TRUE);
}

static void test_power_loss(void)
{
    crash_run(4096, false, 16);
    crash_run(512, false, 16);
    crash_run(512, false, 64);
    crash_run(65536, false, 1);
}

static void test_power_loss_lazy(void)
{
    crash_run(4096, true, 16);
    crash_run(512, true, 32);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    dir = g_dir_make_tmp("test-qcow2-cache-XXXXXX", NULL);
    path = g_build_filename(dir, "t.qcow2", NULL);
    crash_path = g_build_filename(dir, "crash.qcow2", NULL);
    g_test_add_func("/qcow2/power-loss", test_power_loss);
    g_test_add_func("/qcow2/power-loss-bitmaps", test_bitmaps);
    g_test_add_func("/qcow2/power-loss-lazy", test_power_loss_lazy);
    ret = g_test_run();
    g_unlink(path);
    g_unlink(crash_path);
    g_rmdir(dir);
    g_free(path);
    g_free(crash_path);
    g_free(dir);
    aio_main_cleanup();
    return ret;
}
