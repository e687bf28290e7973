/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent bitmaps: stored, loaded, marked in use, removed, resized; and
 * exchanged with the installed peer. */
#include "qemu/osdep.h"

#include <glib/gstdio.h>

#include "block/activate.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
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

/* @leaks: of clusters are allowed, as after a crash. */
static void check_image(bool leaks)
{
    g_autoptr(BlockDriverState) bs = open_image(true);
    BdrvCheckResult result = { 0 };

    g_assert_cmpint(bdrv_check(bs, &result, 0), ==, 0);
    g_assert_cmpint(result.corruptions + (leaks ? 0 : result.leaks) +
                    result.check_errors, ==, 0);
    if (have_peer && !result.leaks) {
        g_free(peer("qemu-img check -U %s", path));
    }
}

static void check_clean(void)
{
    check_image(false);
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

/* The process ends while @bs is open: the image is as it is now. */
static void end_suddenly(BlockDriverState *bs)
{
    g_autofree char *data = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    bdrv_unref(bs);
    g_assert_true(g_file_set_contents(path, data, len, NULL));
}

/* An image that is in use, with "b0" of @safety; 1 MiB at 0 is written. */
static BlockDriverState *open_in_use(BitmapSafety safety)
{
    BlockDriverState *bs;
    BlockBackend *blk;

    create(64 * MiB, 65536);
    bs = open_image(false);
    bdrv_dirty_bitmap_set_safety(add(bs, "b0", 65536), safety);
    g_assert_true(bdrv_bitmap_store_begin(bs, find(bs, "b0"), &error_abort));
    blk = use(bs);
    write_at(blk, 0, MiB);
    blk_unref(blk);
    return bs;
}

/* Without safety, what lies on disk while the image is open is of no use. */
static void test_in_use(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;

    create(16 * MiB, 65536);
    bs = open_image(false);
    add(bs, "b0", 65536);
    bdrv_unref(bs);
    bs = open_image(false);
    bdrv_dirty_bitmap_release(find(bs, "b0")); /* as if it were not known */
    blk = use(bs);
    write_at(blk, 0, MiB);
    blk_unref(blk);
    end_suddenly(bs);

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

static void test_ahead(void)
{
    for (int level = BITMAP_SAFETY_PROCESS; level < BITMAP_SAFETY__MAX;
         level++) {
        g_autoptr(BlockDriverState) bs = NULL;

        end_suddenly(open_in_use(level));
        check_clean();
        bs = open_image(true);
        g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                        BDRV_BITMAP_READONLY);
        g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "b0")), ==,
                        16 * MiB); /* the region */
        g_clear_pointer(&bs, bdrv_unref);
        bs = open_image(false);
        g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                        BDRV_BITMAP_ACTIVE);
        g_clear_pointer(&bs, bdrv_unref);
        check_clean();
    }
}

/* Where the clusters of the only bitmap are; to be freed. */
static uint64_t *clusters_of(BlockDriverState *bs, uint32_t *n)
{
    g_autoptr(GPtrArray) stored = qcow2_bitmap_dir_read(bs);
    const Qcow2Bitmap *b = stored->pdata[0];
    uint64_t *table = qcow2_bitmap_read_table(bs, b, NULL, &error_abort);

    *n = b->table_size;
    g_assert_nonnull(table);
    return table;
}

/* What was stored may be forgotten: it is stored again when that is possible,
 * and until then nobody waits for it. */
static void test_forgotten(const void *opaque)
{
    BlockDriverState *bs = open_in_use(GPOINTER_TO_INT(opaque));
    Qcow2State *s = bs->opaque;
    BlockBackend *blk = use(bs);
    bool *const flags[] = { &s->growing, &s->broken };
    const int errors[] = { 0, -EIO };
    const uint8_t sector[512] = { 1 };
    g_autofree uint64_t *before = NULL, *after = NULL;
    uint32_t n, n_after;

    s->old_size = s->size;
    before = clusters_of(bs, &n);
    bdrv_note_forgotten_writes(bs->file->bs);
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        *flags[i] = true;
        for (int64_t at = 0; at <= 32 * MiB; at += 32 * MiB) {
            /* The second one opens its region. */
            g_assert_cmpint(blk_pwrite(blk, at, sizeof(sector), sector, 0),
                            ==, errors[i]);
        }
        *flags[i] = false;
    }
    write_at(blk, 0, 512);
    after = clusters_of(bs, &n_after);
    g_assert_cmpuint(n, ==, n_after);
    g_assert_cmphex(before[0], !=, after[0]);
    blk_unref(blk);
    end_suddenly(bs);
    bs = open_image(false);
    g_assert_cmpint(bdrv_dirty_bitmap_count(find(bs, "b0")), ==, 32 * MiB);
    bdrv_unref(bs);
}

static void close_regions(BlockDriverState *bs)
{
    for (int i = 0; i < 2; i++) {
        qcow2_ahead_tick(bs);
        bdrv_drained_begin(bs);
        bdrv_drained_end(bs);
    }
}

/* A clean close leaves what is stored already where it is, and only that. */
static void test_stored_already(void)
{
    int64_t region = qcow2_ahead_region;
    g_autofree uint64_t *before = NULL, *after = NULL;
    g_autofree char *expected = NULL, *got = NULL;
    BlockDriverState *bs;
    BlockBackend *blk;
    uint32_t n, n_after;

    qcow2_ahead_region = 64 * KiB;
    create(32 * MiB, 512); /* a cluster of bits stands for 2 MiB */
    bs = open_image(false);
    g_assert_true(bdrv_bitmap_store_begin(bs, add(bs, "b0", 512),
                                          &error_abort));
    blk = use(bs);
    for (int i = 0; i < 12; i++) {
        write_at(blk, i * 2 * MiB + 5120, 1024);
    }
    close_regions(bs);
    before = clusters_of(bs, &n);
    write_at(blk, 6 * MiB + 512, 512); /* its region is open at the end */
    expected = bdrv_dirty_bitmap_sha256(find(bs, "b0"));
    blk_unref(blk);
    bdrv_unref(bs);
    qcow2_ahead_region = region;

    check_clean();
    bs = open_image(true);
    got = bdrv_dirty_bitmap_sha256(find(bs, "b0"));
    g_assert_cmpstr(got, ==, expected);
    after = clusters_of(bs, &n_after);
    g_assert_cmpuint(n, ==, 16);
    g_assert_cmpuint(n_after, ==, n);
    for (uint32_t i = 0; i < n; i++) {
        g_assert_true((before[i] != after[i]) == (i == 3));
    }
    bdrv_unref(bs);
}

/* What a migration sends of "b0", and whether what is stored can stay. */
typedef struct Arrival {
    const char *name;
    bool settled;          /* the regions were closed: only 1 MiB is stored */
    int64_t stored;        /* bytes of disk that are stored besides */
    int64_t offset, bytes; /* which are dirty */
    uint64_t granularity;
    bool adopted;
} Arrival;

/* An image that another process has left, with room for 4 GiB. */
static void leave_image(const Arrival *a)
{
    BlockDriverState *bs;
    BlockBackend *blk;

    create(4 * GiB, 4096); /* a cluster of bits stands for 2 GiB */
    bs = open_image(false);
    add(bs, "b0", 65536);
    g_assert_true(bdrv_bitmap_store_begin(bs, find(bs, "b0"), &error_abort));
    blk = use(bs);
    write_at(blk, 0, MiB);
    blk_unref(blk);
    if (a->stored) {
        bdrv_dirty_bitmap_set(find(bs, "b0"), 0, a->stored);
        g_assert_true(bdrv_bitmap_store_sync(bs, &error_abort));
    }
    if (a->settled) {
        close_regions(bs);
    }
    end_suddenly(bs);
}

/* As a destination does it; the bitmap is not busy any more. */
static BlockDriverState *take_image(const Arrival *a)
{
    BdrvDirtyBitmap *bitmap;
    BlockDriverState *bs;

    bdrv_set_open_inactive(true);
    bs = open_image(false);
    bdrv_set_open_inactive(false);
    bitmap = bdrv_dirty_bitmap_new(bs, a->granularity, "b0", &error_abort);
    bdrv_dirty_bitmap_set_replaces_stored(bitmap, true);
    bdrv_dirty_bitmap_set(bitmap, a->offset, a->bytes);
    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    bdrv_dirty_bitmap_set_busy(bitmap, true);
    g_assert_true(bdrv_activate(bs, &error_abort));
    bdrv_dirty_bitmap_set_busy(bitmap, false);
    return bs;
}

static uint64_t table_offset(BlockDriverState *bs)
{
    g_autoptr(GPtrArray) stored = qcow2_bitmap_dir_read(bs);

    return ((const Qcow2Bitmap *)stored->pdata[0])->table_offset;
}

static void test_arrival(gconstpointer opaque)
{
    const Arrival *a = opaque;
    g_autofree char *expected = NULL, *got = NULL;
    BlockDriverState *bs;
    uint64_t before;
    int64_t end = a->offset + a->bytes;

    leave_image(a);
    bs = open_image(true);
    before = table_offset(bs);
    bdrv_unref(bs);

    bs = take_image(a);
    g_assert_true((table_offset(bs) == before) == a->adopted);
    expected = bdrv_dirty_bitmap_sha256(find(bs, "b0"));
    end_suddenly(bs);
    check_image(true);

    /* After a crash nothing is missing, */
    bs = open_image(true);
    g_assert_cmpint(hbitmap_next_zero(bdrv_dirty_bitmap_hbitmap(
                        find(bs, "b0")), a->offset, a->bytes), <, 0);
    bdrv_unref(bs);
    /* and after a clean close nothing is too much. */
    leave_image(a);
    bs = take_image(a);
    bdrv_unref(bs);
    check_image(a->stored > 0); /* the other process has left some */
    bs = open_image(false);
    got = bdrv_dirty_bitmap_sha256(find(bs, "b0"));
    g_assert_cmpstr(got, ==, expected);
    g_assert_cmpint(hbitmap_next_dirty(bdrv_dirty_bitmap_hbitmap(
                        find(bs, "b0")), end, INT64_MAX), <, 0);
    bdrv_unref(bs);
}

static const Arrival arrivals[] = {
    { "equal", true, 0, 0, MiB, 65536, true },
    { "more-is-stored", false, 0, 0, MiB, 65536, true },
    { "less-is-dirty", true, 0, 0, 64 * KiB, 65536, true },
    { "all-is-stored", true, 4 * GiB, 0, 4 * GiB - 64 * KiB, 65536, true },
    { "too-much-is-stored", true, 4 * GiB, 0, MiB, 65536, false },
    { "less-is-stored", true, 0, 64 * KiB, MiB, 65536, false },
    { "elsewhere", true, 0, 3 * GiB, MiB, 65536, false },
    { "other-granularity", true, 0, 0, MiB, 32768, false },
};

/* Ends it after a write to [48 MiB, + 64 KiB), and returns what is stored. */
static HBitmap *stored_after_write(BlockDriverState *bs)
{
    BlockBackend *blk = use(bs);
    HBitmap *bits;

    write_at(blk, 48 * MiB, 64 * KiB);
    blk_unref(blk);
    end_suddenly(bs);
    bs = open_image(true);
    bits = hbitmap_copy(bdrv_dirty_bitmap_hbitmap(find(bs, "b0")));
    bdrv_unref(bs);
    return bits;
}

/* What a command does counts when all of it is stored, and not before. */
static void test_not_synced(void)
{
    for (int removes = 0; removes < 2; removes++) {
        BlockDriverState *bs = open_in_use(BITMAP_SAFETY_POWER);
        g_autoptr(HBitmap) stored = NULL;

        close_regions(bs);
        if (removes) {
            bdrv_dirty_bitmap_clear(find(bs, "b0"));
        } else {
            bdrv_dirty_bitmap_set(find(bs, "b0"), 0, 64 * MiB);
        }
        stored = stored_after_write(bs);
        g_assert_cmpint(hbitmap_next_zero(stored, 0, MiB), <, 0);
        g_assert_cmpint(hbitmap_next_zero(stored, 48 * MiB, 64 * KiB), <, 0);
    }
}

/* Each of these makes what was ahead of the disk useless. */
static void test_not_ahead(void)
{
    const char *ways[] = { "another boot", "a bit that was cleared" };

    for (size_t i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autofree char *data = NULL;
        g_autoptr(BlockDriverState) bs = NULL;
        gsize len, at = 112;

        end_suddenly(open_in_use(BITMAP_SAFETY_PROCESS));
        g_assert_true(g_file_get_contents(path, &data, &len, NULL));
        while (ld32_be(data + at) != QCOW2_EXT_BITMAPS_AHEAD) {
            at += 8;
        }
        g_assert_cmphex(ld64_be(data + 88) & QCOW2_AUTOCLEAR_AHEAD, ==,
                        QCOW2_AUTOCLEAR_AHEAD);
        if (i == 0) {
            data[at + 8 + 20] ^= 1;
        } else {
            data[88] &= ~0x40;
        }
        g_assert_true(g_file_set_contents(path, data, len, NULL));
        bs = open_image(false);
        g_assert_cmpint(bdrv_dirty_bitmap_state(find(bs, "b0")), ==,
                        BDRV_BITMAP_INCONSISTENT);
    }
}

/* A program that does not know the bit clears it when it writes. */
static void test_ahead_and_peer(void)
{
    g_autoptr(BlockDriverState) bs = NULL;

    if (!have_peer) {
        g_test_skip("no qemu-img");
        return;
    }
    end_suddenly(open_in_use(BITMAP_SAFETY_POWER));
    g_free(peer("qemu-img check %s", path));
    g_free(peer("qemu-io -r -c 'read 0 1M' %s", path));
    bs = open_image(true);
    g_assert_false(bdrv_dirty_bitmap_inconsistent(find(bs, "b0")));
    g_clear_pointer(&bs, bdrv_unref);
    g_free(peer("qemu-io -c 'write 32M 64k' %s", path));
    bs = open_image(false);
    g_assert_true(bdrv_dirty_bitmap_inconsistent(find(bs, "b0")));
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

/* Other programs do not open an image with bitmaps of a disk of no bytes. */
static void test_size_0(void)
{
    BlockDriverState *bs;
    BlockBackend *blk;

    create(0, 65536);
    bs = open_image(false);
    g_assert_false(bdrv_can_store_dirty_bitmap(bs, "b0", 65536, NULL));
    bdrv_unref(bs);
    create(MiB, 65536);
    bs = open_image(false);
    add(bs, "b0", 65536);
    blk = use(bs);
    g_assert_cmpint(blk_truncate(blk, 0, true, PREALLOC_MODE_OFF, 0, NULL), <,
                    0);
    blk_unref(blk);
    bdrv_unref(bs);
    bs = open_image(true);
    find(bs, "b0");
    bdrv_unref(bs);
    check_clean();
}

/* --- a disk that shrinks and grows --- */

/* One opening: the disk gets these sizes, in turn, up to a 0. */
static void resize_to(const int64_t *sizes)
{
    BlockDriverState *bs = open_image(false);
    BlockBackend *blk = use(bs);

    for (; *sizes; sizes++) {
        g_assert_cmpint(blk_truncate(blk, *sizes, true, PREALLOC_MODE_OFF, 0,
                                     &error_abort), ==, 0);
    }
    blk_unref(blk);
    bdrv_unref(bs);
    check_clean();
}

#define RESIZE(...) resize_to((const int64_t[]) { __VA_ARGS__, 0 })

/* What is dirty in the bitmap @name as stored: "offset+bytes" in MiB. */
static void stored_is(const char *name, const char *expected)
{
    g_autoptr(BlockDriverState) bs = open_image(true);
    const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(find(bs, name));
    g_autoptr(GString) text = g_string_new(NULL);
    int64_t offset = 0, n;

    while (hbitmap_next_dirty_area(bits, offset, hbitmap_size(bits), INT64_MAX,
                                   &offset, &n)) {
        g_string_append_printf(text, "%s%d+%d", text->len ? " " : "",
                               (int)(offset / MiB), (int)(n / MiB));
        offset += n;
    }
    g_assert_cmpstr(text->str, ==, expected);
}

/* Bytes of the header: the features that a writer may not know. */
static uint64_t autoclear(void)
{
    g_autofree char *data = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    return ld64_be(data + 88);
}

/* How often the magic of the extension is in the header. */
static int extensions(void)
{
    g_autofree char *data = NULL;
    gsize len;
    int count = 0;

    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    for (gsize i = 112; i < 4096; i += 8) {
        count += ld32_be(data + i) == QCOW2_EXT_BITMAP_CUTS;
    }
    return count;
}

static void create_with_two(int64_t size, uint64_t cluster)
{
    BlockDriverState *bs;

    create(size, cluster);
    bs = open_image(false);
    add(bs, "on", MiB);
    bdrv_dirty_bitmap_disable(add(bs, "off", MiB));
    bdrv_unref(bs);
}

static void both_are(const char *expected)
{
    stored_is("on", expected);
    stored_is("off", expected);
}

static void test_grow(void)
{
    create_with_two(16 * MiB, 4096);
    RESIZE(20 * MiB, 30 * MiB);
    RESIZE(40 * MiB);
    both_are("");
    g_assert_cmphex(autoclear(), ==,
                    QCOW2_AUTOCLEAR_CUTS | QCOW2_AUTOCLEAR_BITMAPS);
    g_assert_cmpint(extensions(), ==, 0);
}

static void test_shrink_and_grow(void)
{
    BlockDriverState *bs;

    create_with_two(16 * MiB, 4096);
    RESIZE(4 * MiB, 8 * MiB); /* in one opening */
    both_are("4+4");
    g_assert_cmpint(extensions(), ==, 1);
    RESIZE(10 * MiB); /* over restarts */
    both_are("4+6");
    bs = open_image(false);
    add(bs, "new", MiB);
    bdrv_unref(bs);
    RESIZE(20 * MiB);
    both_are("4+12");
    stored_is("new", "");
    g_assert_cmpint(extensions(), ==, 0);
    RESIZE(2 * MiB);
    RESIZE(24 * MiB);
    both_are("2+18");
    stored_is("new", "2+18");
}

/* The recorded cut ends follow the bits. */
static void test_cut_moves(void)
{
    BlockDriverState *bs;
    BdrvBitmapBackup *backup;

    create_with_two(16 * MiB, 4096);
    RESIZE(4 * MiB);
    bs = open_image(false);
    add(bs, "copy", 64 * KiB);
    add(bs, "undone", MiB);
    bdrv_dirty_bitmap_merge(find(bs, "copy"), find(bs, "on"), NULL,
                            &error_abort);
    bdrv_dirty_bitmap_merge(find(bs, "undone"), find(bs, "on"), &backup,
                            &error_abort);
    bdrv_dirty_bitmap_restore(find(bs, "undone"), backup);
    bdrv_dirty_bitmap_clear_keep(find(bs, "off"), &backup, &error_abort);
    bdrv_dirty_bitmap_restore(find(bs, "off"), backup);
    bdrv_dirty_bitmap_clear(find(bs, "on"));
    bdrv_unref(bs);
    RESIZE(20 * MiB);
    stored_is("copy", "4+12");
    stored_is("undone", "");
    stored_is("off", "4+12");
    stored_is("on", "");
}

/* A successful job resets the record; a failed one keeps it. */
static void test_cut_and_jobs(void)
{
    BlockDriverState *bs;

    create_with_two(16 * MiB, 4096);
    RESIZE(4 * MiB);
    bs = open_image(false);
    bdrv_dirty_bitmap_freeze(find(bs, "on"), &error_abort);
    bdrv_dirty_bitmap_freeze(find(bs, "off"), &error_abort);
    hbitmap_free(bdrv_dirty_bitmap_abdicate(find(bs, "on")));
    bdrv_dirty_bitmap_reclaim(find(bs, "off"));
    bdrv_unref(bs);
    RESIZE(20 * MiB);
    stored_is("on", "");
    stored_is("off", "4+12");
}

/* A program that does not know the notes invalidates them. */
static void test_cut_and_peer(void)
{
    BlockDriverState *bs;

    if (!have_peer) {
        g_test_skip("qemu-img is not installed");
        return;
    }
    create_with_two(16 * MiB, 4096);
    g_free(peer("qemu-img resize -q --shrink %s 4M", path));
    g_assert_cmphex(autoclear(), ==, QCOW2_AUTOCLEAR_BITMAPS);
    RESIZE(8 * MiB);
    both_are("4+4");
    bs = open_image(false);
    bdrv_dirty_bitmap_clear(find(bs, "on"));
    bdrv_dirty_bitmap_clear(find(bs, "off"));
    bdrv_unref(bs);
    RESIZE(10 * MiB);
    both_are("");
    /* The same size and the same place of the directory in the end. */
    g_free(peer("qemu-img resize -q %s 20M", path));
    g_free(peer("qemu-img resize -q --shrink %s 10M", path));
    RESIZE(12 * MiB);
    both_are("10+2");
    /* A header with notes, rewritten by the peer. */
    RESIZE(3 * MiB);
    g_free(peer("qemu-img amend -o lazy_refcounts=on %s", path));
    g_assert_cmpint(extensions(), ==, 1);
    RESIZE(5 * MiB);
    both_are("3+2");
    RESIZE(40 * MiB);
    both_are("3+37");
}

/* A header without room: the cut ends are unknown then. */
static void test_no_room(void)
{
    BlockDriverState *bs;

    create(16 * MiB, 512);
    bs = open_image(false);
    for (int i = 0; i < 30; i++) {
        g_autofree char *name = g_strdup_printf("b%d", i);

        add(bs, name, MiB);
    }
    bdrv_unref(bs);
    g_assert_cmphex(autoclear(), ==,
                    QCOW2_AUTOCLEAR_CUTS | QCOW2_AUTOCLEAR_BITMAPS);
    RESIZE(4 * MiB);
    g_assert_cmphex(autoclear(), ==, QCOW2_AUTOCLEAR_BITMAPS);
    RESIZE(20 * MiB);
    stored_is("b0", "4+16");
    stored_is("b29", "4+16");
}

/* Invalid notes count as none. */
static void test_bad_notes(void)
{
    g_autofree char *data = NULL;
    gsize len, at = 112;

    create_with_two(16 * MiB, 4096);
    RESIZE(4 * MiB);
    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    while (ld32_be(data + at) != QCOW2_EXT_BITMAP_CUTS) {
        at += 8;
    }
    st32_be(data + at + 4, 27); /* of 32 */
    g_assert_true(g_file_set_contents(path, data, len, NULL));
    RESIZE(20 * MiB);
    both_are("4+16");

    st32_be(data + at + 4, 32);
    st32_be(data + at + 8, 77); /* no such bitmap */
    g_assert_true(g_file_set_contents(path, data, len, NULL));
    RESIZE(20 * MiB);
    both_are("4+16");

    st32_be(data + at + 8, 0);
    st64_be(data + at + 16, UINT64_MAX);
    g_assert_true(g_file_set_contents(path, data, len, NULL));
    RESIZE(20 * MiB);
    RESIZE(30 * MiB);
    stored_is("on", "4+12"); /* the second in the directory */
    stored_is("off", "4+26");
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
    g_test_add_func("/qcow2/bitmap/ahead", test_ahead);
    g_test_add_data_func("/qcow2/bitmap/forgotten/process",
                         GINT_TO_POINTER(BITMAP_SAFETY_PROCESS),
                         test_forgotten);
    g_test_add_data_func("/qcow2/bitmap/forgotten/power",
                         GINT_TO_POINTER(BITMAP_SAFETY_POWER), test_forgotten);
    g_test_add_func("/qcow2/bitmap/not-synced", test_not_synced);
    g_test_add_func("/qcow2/bitmap/not-ahead", test_not_ahead);
    g_test_add_func("/qcow2/bitmap/ahead-and-peer", test_ahead_and_peer);
    g_test_add_func("/qcow2/bitmap/reopen", test_reopen);
    g_test_add_func("/qcow2/bitmap/resize", test_resize);
    g_test_add_func("/qcow2/bitmap/grow", test_grow);
    g_test_add_func("/qcow2/bitmap/shrink-and-grow", test_shrink_and_grow);
    g_test_add_func("/qcow2/bitmap/cut-moves", test_cut_moves);
    g_test_add_func("/qcow2/bitmap/cut-and-jobs", test_cut_and_jobs);
    g_test_add_func("/qcow2/bitmap/cut-and-peer", test_cut_and_peer);
    g_test_add_func("/qcow2/bitmap/no-room", test_no_room);
    g_test_add_func("/qcow2/bitmap/bad-notes", test_bad_notes);
    g_test_add_func("/qcow2/bitmap/refusals", test_refusals);
    g_test_add_func("/qcow2/bitmap/size-0", test_size_0);
    g_test_add_func("/qcow2/bitmap/stored-already", test_stored_already);
    for (size_t i = 0; i < G_N_ELEMENTS(arrivals); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2/bitmap/arrives/%s",
                                                arrivals[i].name);

        g_test_add_data_func(name, &arrivals[i], test_arrival);
    }
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
