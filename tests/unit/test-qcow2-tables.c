/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pure parts of qcow2: header, refcounts, L2 entries, layout, bitmap
 * directory. */
#include "qemu/osdep.h"

#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "qemu/aio.h"

const BlockDriver *const bdrv_drivers[] = { &bdrv_qcow2, NULL };

static Qcow2Header good_header(void)
{
    return (Qcow2Header){
        .version = 3,
        .cluster_bits = 16,
        .size = 1 * GiB,
        .l1_size = 2,
        .l1_offset = 0x30000,
        .reftable_offset = 0x10000,
        .reftable_clusters = 1,
        .refcount_order = 4,
        .header_length = QCOW2_HEADER_LENGTH,
    };
}

static bool parses(const Qcow2Header *h, const char *why)
{
    uint8_t buf[QCOW2_HEADER_LENGTH] = { 0 };
    g_autoptr(Error) err = NULL;
    Qcow2Header out;
    bool ok;

    qcow2_header_encode(h, buf);
    ok = qcow2_header_parse(buf, sizeof(buf), &out, &err);
    if (ok) {
        g_assert_cmpuint(out.size, ==, h->size);
        g_assert_cmpuint(out.l1_offset, ==, h->l1_offset);
        g_assert_cmpuint(out.incompatible, ==,
                         h->version >= 3 ? h->incompatible : 0);
        g_assert_null(why);
    } else {
        g_assert_nonnull(why);
        g_assert_nonnull(strstr(error_get_pretty(err), why));
    }
    return ok;
}

static void test_header(void)
{
    Qcow2Header h = good_header();

    g_assert_true(parses(&h, NULL));
    h.version = 2;
    g_assert_true(parses(&h, NULL));
}

#define BAD(field, value, why) \
    do { \
        Qcow2Header h_ = good_header(); \
        h_.field = value; \
        g_assert_false(parses(&h_, why)); \
    } while (0)

static void test_bad_headers(void)
{
    BAD(version, 1, "Unsupported qcow2 version 1");
    BAD(version, 4, "Unsupported qcow2 version 4");
    BAD(cluster_bits, 8, "cluster size");
    BAD(cluster_bits, 22, "cluster size");
    BAD(cluster_bits, UINT32_MAX, "cluster size");
    BAD(header_length, 103, "header too short");
    BAD(header_length, 65537, "header exceeds cluster size");
    BAD(refcount_order, 7, "entry width");
    BAD(crypt_method, 1, "AES");
    BAD(crypt_method, 2, "LUKS");
    BAD(compression_type, 1, "Compression type");
    BAD(l1_size, 1, "L1 table is too small");
    BAD(l1_size, 0x7fffffff, "Active L1 table too large");
    BAD(l1_offset, 0x30001, "Active L1 table offset invalid");
    BAD(l1_offset, 0x7fffffffffff0000, "Active L1 table offset invalid");
    BAD(l1_offset, 0, "Active L1 table offset invalid");
    BAD(size, UINT64_MAX, "Image is too big");
    BAD(backing_offset, 65537, "Invalid backing file name");
}

/* Damage with which an image can be read: accepted, and recorded. */
static void test_dispensable(void)
{
    Qcow2Header h = good_header();
    uint8_t buf[QCOW2_HEADER_LENGTH] = { 0 };
    Qcow2Header out;

#define MARKED(field, value, mark, what) \
    do { \
        h = good_header(); \
        h.nb_snapshots = 1; \
        h.snapshots_offset = 0x40000; \
        h.field = value; \
        qcow2_header_encode(&h, buf); \
        g_assert_true(qcow2_header_parse(buf, sizeof(buf), &out, \
                                         &error_abort)); \
        g_assert_cmpstr(out.mark, ==, what); \
    } while (0)

    MARKED(l1_size, 2, reftable_damage, NULL);
    MARKED(l1_size, 2, snapshots_damage, NULL);
    MARKED(reftable_offset, 0x10200, reftable_damage, "offset invalid");
    MARKED(reftable_offset, 0, reftable_damage, "offset invalid");
    MARKED(reftable_offset, UINT64_MAX & ~UINT64_C(0xffff), reftable_damage,
           "offset invalid");
    MARKED(reftable_clusters, 0, reftable_damage, "there is none");
    MARKED(reftable_clusters, 0x7fffffff, reftable_damage, "too large");
    MARKED(nb_snapshots, 65537, snapshots_damage, "too large");
    MARKED(nb_snapshots, UINT32_MAX, snapshots_damage, "too large");
    MARKED(snapshots_offset, 512, snapshots_damage, "offset invalid");
    MARKED(snapshots_offset, 0, snapshots_damage, "offset invalid");
    MARKED(nb_snapshots, 0, snapshots_damage, NULL);
#undef MARKED
}

static void test_refcount_widths(void)
{
    uint8_t block[512];
    uint64_t model[4096];

    for (unsigned order = 0; order <= 6; order++) {
        unsigned bits = 1U << order;
        uint64_t n = sizeof(block) * 8 / bits;
        uint64_t mask = bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;

        memset(block, 0, sizeof(block));
        memset(model, 0, sizeof(model));
        for (int i = 0; i < 5000; i++) {
            uint64_t k = g_test_rand_int_range(0, n);
            uint64_t v = ((uint64_t)g_test_rand_int() << 32 |
                          (uint32_t)g_test_rand_int()) & mask;

            qcow2_refcount_set(block, k, order, v);
            model[k] = v;
        }
        for (uint64_t k = 0; k < n; k++) {
            g_assert_cmpuint(qcow2_refcount_get(block, k, order), ==,
                             model[k]);
        }
    }
    memset(block, 0, sizeof(block));
    qcow2_refcount_set(block, 1, 0, 1); /* low bits come first */
    g_assert_cmpuint(block[0], ==, 2);
    qcow2_refcount_set(block, 1, 4, 0x1234);
    g_assert_cmpuint(block[2], ==, 0x12);
}

static void test_l2_entries(void)
{
    uint64_t offset, bytes;

    g_assert_cmpint(qcow2_entry_type(0, 3, 16), ==, QCOW2_UNALLOCATED);
    g_assert_cmpint(qcow2_entry_type(QCOW2_COPIED, 3, 16), ==,
                    QCOW2_UNALLOCATED);
    g_assert_cmpint(qcow2_entry_type(1, 3, 16), ==, QCOW2_ZERO_PLAIN);
    g_assert_cmpint(qcow2_entry_type(1, 2, 16), ==, QCOW2_INVALID);
    g_assert_cmpint(qcow2_entry_type(QCOW2_COPIED | 0x50000, 3, 16), ==,
                    QCOW2_NORMAL);
    g_assert_cmpint(qcow2_entry_type(0x50001, 3, 16), ==, QCOW2_ZERO_ALLOC);
    g_assert_cmpint(qcow2_entry_type(0x50200, 3, 16), ==, QCOW2_INVALID);
    g_assert_cmpint(qcow2_entry_type(0x50200, 3, 9), ==, QCOW2_NORMAL);
    g_assert_cmpint(qcow2_entry_type(QCOW2_COMPRESSED | 0x50203, 2, 16), ==,
                    QCOW2_TYPE_COMPRESSED);
    /* 64 KiB clusters: 8 bits of sectors above bit 54. */
    qcow2_compressed_range(QCOW2_COMPRESSED | UINT64_C(3) << 54 | 0x50203, 16,
                           &offset, &bytes);
    g_assert_cmpuint(offset, ==, 0x50203);
    g_assert_cmpuint(bytes, ==, 4 * 512 - 3);
}

/* Numbers as the installed peer's `qemu-img measure` gives them. */
static void test_layout(void)
{
    static const struct {
        uint64_t size;
        unsigned bits, order;
        uint64_t required, full;
    } rows[] = {
        { GiB, 16, 4, 393216, 1074135040 },
        { 10 * GiB, 12, 4, 26288128, 10763706368 },
        { TiB, 16, 6, 268697600, 1099780325376 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Qcow2Layout l;

        g_assert_true(qcow2_layout(rows[i].size, rows[i].bits, rows[i].order,
                                   true, &l));
        g_assert_cmpuint(l.total << rows[i].bits, ==, rows[i].full);
        g_assert_cmpuint((l.total - l.data) << rows[i].bits, ==,
                         rows[i].required);
    }
}

static void test_layout_limits(void)
{
    Qcow2Layout l;

    g_assert_false(qcow2_layout(UINT64_MAX, 16, 4, false, &l));
    g_assert_false(qcow2_layout(TiB, 9, 4, false, &l));
    g_assert_true(qcow2_layout(0, 9, 6, true, &l));
    g_assert_cmpuint(l.data, ==, 0);
    for (unsigned bits = 9; bits <= 21; bits++) {
        for (unsigned order = 0; order <= 6; order++) {
            g_assert_true(qcow2_layout(GiB, bits, order, true, &l));
            /* Every cluster has a count, every block an entry. */
            g_assert_cmpuint(l.blocks << (bits + 3 - order), >=, l.total);
            g_assert_cmpuint(l.table << bits, >=, l.blocks * 8);
        }
    }
}

static Qcow2Bitmap *new_entry(const char *name, size_t extra)
{
    Qcow2Bitmap *b = g_new0(Qcow2Bitmap, 1);

    b->name = g_strdup(name);
    b->type = QCOW2_BITMAP_TYPE_DIRTY;
    b->granularity_bits = 16;
    b->table_offset = 0x50000;
    b->table_size = 3;
    b->flags = QCOW2_BITMAP_AUTO;
    b->extra_size = extra;
    b->extra = extra ? g_malloc0(extra) : NULL;
    return b;
}

static void free_entry(void *b)
{
    qcow2_bitmap_free(b);
}

static void test_bitmap_dir(void)
{
    g_autoptr(GPtrArray) dir = g_ptr_array_new_with_free_func(free_entry);
    g_autoptr(GPtrArray) back = NULL;
    g_autofree uint8_t *buf = NULL;
    size_t len;

    g_ptr_array_add(dir, new_entry("b0", 0));
    g_ptr_array_add(dir, new_entry("a name of another length", 13));
    buf = qcow2_bitmap_dir_serialise(dir, &len);
    back = qcow2_bitmap_dir_parse(buf, len, 2, 16, &error_abort);
    for (guint i = 0; i < 2; i++) {
        const Qcow2Bitmap *a = dir->pdata[i], *b = back->pdata[i];

        g_assert_cmpstr(a->name, ==, b->name);
        g_assert_cmpuint(a->extra_size, ==, b->extra_size);
        g_assert_cmpuint(a->table_offset, ==, b->table_offset);
        g_assert_cmpuint(a->flags, ==, b->flags);
    }
    g_assert_true(qcow2_bitmap_usable(back->pdata[0]));
    g_assert_false(qcow2_bitmap_usable(back->pdata[1]));
    ((Qcow2Bitmap *)back->pdata[1])->flags |= QCOW2_BITMAP_EXTRA_COMPATIBLE;
    g_assert_true(qcow2_bitmap_usable(back->pdata[1]));

    g_assert_null(qcow2_bitmap_dir_parse(buf, len, 1, 16, NULL));
    g_assert_null(qcow2_bitmap_dir_parse(buf, len, 3, 16, NULL));
    for (size_t cut = 1; cut < len; cut++) {
        GPtrArray *d = qcow2_bitmap_dir_parse(buf, len - cut, 2, 16, NULL);

        g_assert_null(d);
    }
}

/* Random bytes never crash the parsers. */
static void test_garbage(void)
{
    for (int i = 0; i < 20000; i++) {
        g_autoptr(GPtrArray) dir = NULL;
        uint8_t buf[256];
        Qcow2Header h = good_header();

        memset(buf, 0, sizeof(buf));
        qcow2_header_encode(&h, buf);
        for (int k = 0; k < 6; k++) {
            buf[g_test_rand_int_range(4, 112)] = g_test_rand_int();
        }
        qcow2_header_parse(buf, 112, &h, NULL);
        for (size_t k = 0; k < sizeof(buf); k++) {
            buf[k] = g_test_rand_int_range(0, 4) ? 0 : g_test_rand_int();
        }
        dir = qcow2_bitmap_dir_parse(buf, sizeof(buf), 3, 9, NULL);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qcow2/header", test_header);
    g_test_add_func("/qcow2/bad-headers", test_bad_headers);
    g_test_add_func("/qcow2/dispensable", test_dispensable);
    g_test_add_func("/qcow2/refcount-widths", test_refcount_widths);
    g_test_add_func("/qcow2/l2-entries", test_l2_entries);
    g_test_add_func("/qcow2/layout", test_layout);
    g_test_add_func("/qcow2/layout-limits", test_layout_limits);
    g_test_add_func("/qcow2/bitmap-dir", test_bitmap_dir);
    g_test_add_func("/qcow2/garbage", test_garbage);
    return g_test_run();
}
