/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The pure parts of qcow2: header, refcounts, L2 entries, layout, bitmap
 * directory. */
#include "qemu/osdep.h"

#include "block/bitmap-resume.h"
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
    BAD(crypt_method, 3, "Unsupported encryption method 3");
    BAD(compression_type, 1, "Compression type incompatible feature bit must "
        "be set");
    BAD(incompatible, QCOW2_INCOMPAT_COMPRESSION, "must not be set");
    BAD(compression_type, 5, "unknown compression type: 5");
    BAD(l1_size, 1, "L1 table is too small");
    BAD(l1_size, 0x7fffffff, "Active L1 table too large");
    BAD(l1_offset, 0x30001, "Active L1 table offset invalid");
    BAD(l1_offset, 0x7fffffffffff0000, "Active L1 table offset invalid");
    BAD(l1_offset, 0, "Active L1 table offset invalid");
    BAD(size, UINT64_MAX, "Image is too big");
    BAD(size, UINT64_C(1) << 62, "Image is too big");
    BAD(backing_offset, 65537, "Invalid backing file offset");
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

/* Every bit of the bitmaps counts, and nothing else. */
static void test_subclusters(void)
{
    const Qcow2State s = { .version = 3, .cluster_bits = 14,
                           .incompatible = QCOW2_INCOMPAT_EXTL2,
                           .cluster_size = 16 * KiB, .sub_bits = 9,
                           .entry_bits = 4, .extended_l2 = true };
    const uint64_t place = QCOW2_COPIED | 0x8000;
    const struct {
        Qcow2Entry entry;
        unsigned sub, n;
        Qcow2Type type;
    } rows[] = {
        { { 0, 0 }, 0, 32, QCOW2_UNALLOCATED },
        { { 0, 0 }, 31, 1, QCOW2_UNALLOCATED },
        { { QCOW2_ZERO, 0 }, 0, 32, QCOW2_UNALLOCATED },
        { { place, 0 }, 1, 31, QCOW2_UNWRITTEN },
        { { place | QCOW2_ZERO, UINT32_MAX }, 0, 32, QCOW2_NORMAL },
        { { place, 0x80000001 }, 0, 1, QCOW2_NORMAL },
        { { place, 0x80000001 }, 1, 30, QCOW2_UNWRITTEN },
        { { place, 0x80000001 }, 31, 1, QCOW2_NORMAL },
        { { place, UINT64_C(0xf0) << 32 | 0xf }, 2, 2, QCOW2_NORMAL },
        { { place, UINT64_C(0xf0) << 32 | 0xf }, 5, 3, QCOW2_ZERO_ALLOC },
        { { place, UINT64_C(0xf0) << 32 | 0xf }, 8, 24, QCOW2_UNWRITTEN },
        { { 0, UINT64_C(0xff000000) << 32 }, 3, 21, QCOW2_UNALLOCATED },
        { { 0, UINT64_C(0xff000000) << 32 }, 24, 8, QCOW2_ZERO_PLAIN },
        { { 0, UINT64_C(0xffffffff) << 32 }, 0, 32, QCOW2_ZERO_PLAIN },
        { { QCOW2_COMPRESSED | 7, 0 }, 5, 27, QCOW2_TYPE_COMPRESSED },
        { { 0, 1 }, 31, 1, QCOW2_INVALID },
        { { place, UINT64_C(2) << 32 | 2 }, 31, 1, QCOW2_INVALID },
        { { place | 0x200, 1 }, 0, 32, QCOW2_INVALID },
    };
    uint8_t table[64] = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Qcow2Entry back;
        unsigned n;

        g_assert_cmpint(qcow2_decode(&s, rows[i].entry, rows[i].sub, &n), ==,
                        rows[i].type);
        g_assert_cmpuint(n, ==, rows[i].n);
        qcow2_entry_set(&s, table, 2, rows[i].entry);
        back = qcow2_entry_get(&s, table, 2);
        g_assert_cmpuint(back.desc, ==, rows[i].entry.desc);
        g_assert_cmpuint(back.bitmap, ==, rows[i].entry.bitmap);
    }
    g_assert_true(buffer_is_zero(table, 32) && buffer_is_zero(table + 48, 16));
}

static void test_subcluster_masks(void)
{
    const Qcow2State s = { .cluster_size = 16 * KiB, .sub_bits = 9 };
    const int64_t pos = 48 * KiB, end = pos + 16 * KiB;

    g_assert_cmphex(qcow2_sub_mask(&s, pos, pos, end), ==, UINT32_MAX);
    g_assert_cmphex(qcow2_sub_mask(&s, pos, 0, INT64_MAX), ==, UINT32_MAX);
    g_assert_cmphex(qcow2_sub_mask(&s, pos, pos, pos + 1), ==, 1);
    g_assert_cmphex(qcow2_sub_mask(&s, pos, end - 1, end), ==, 1U << 31);
    g_assert_cmphex(qcow2_sub_mask(&s, pos, pos + 511, pos + 513), ==, 3);
    g_assert_cmphex(qcow2_sub_mask(&s, pos, pos + 512, pos + 2048), ==, 0xe);
    g_assert_cmphex(qcow2_bitmap_written(UINT64_C(0xff) << 32, 0xf), ==,
                    UINT64_C(0xf0) << 32 | 0xf);
    g_assert_cmphex(qcow2_bitmap_zeroed(0xff, 0xf), ==,
                    UINT64_C(0xf) << 32 | 0xf0);
}

/* Numbers as the installed peer's `qemu-img measure` gives them. */
static void test_layout(void)
{
    static const struct {
        uint64_t size;
        unsigned bits, order;
        bool extended;
        uint64_t required, full;
    } rows[] = {
        { GiB, 16, 4, false, 393216, 1074135040 },
        { 10 * GiB, 12, 4, false, 26288128, 10763706368 },
        { TiB, 16, 6, false, 268697600, 1099780325376 },
        { 10 * GiB, 16, 4, true, 3211264, 10740629504 },
    };
    const Qcow2Units plain = { 16, 4, false };

    Qcow2Layout l;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        Qcow2Units units = { rows[i].bits, rows[i].order, rows[i].extended };

        g_assert_true(qcow2_layout(rows[i].size, &units, true, 0, &l));
        g_assert_cmpuint(l.total << rows[i].bits, ==, rows[i].full);
        g_assert_cmpuint((l.total - l.data) << rows[i].bits, ==,
                         rows[i].required);
    }
    g_assert_true(qcow2_layout(GiB, &plain, true, 2068480, &l));
    g_assert_cmpuint(l.total << 16, ==, 1076232192);
    g_assert_cmpuint((l.total - l.data) << 16, ==, 2490368);
}

static void test_layout_limits(void)
{
    const Qcow2Units plain = { 16, 4, false }, small = { 9, 4, false };
    const Qcow2Units wide = { 9, 6, false }, extended = { 14, 4, true };
    Qcow2Layout l;

    g_assert_false(qcow2_layout(UINT64_MAX, &plain, false, 0, &l));
    g_assert_false(qcow2_layout(TiB, &small, false, 0, &l));
    g_assert_true(qcow2_layout(64 * TiB, &extended, false, 0, &l));
    g_assert_false(qcow2_layout(64 * TiB + 1, &extended, false, 0, &l));
    g_assert_true(qcow2_layout(0, &wide, true, 0, &l));
    g_assert_cmpuint(l.data, ==, 0);
    for (unsigned bits = 9; bits <= 21; bits++) {
        for (unsigned order = 0; order <= 6; order++) {
            Qcow2Units units = { bits, order, false };

            g_assert_true(qcow2_layout(GiB, &units, true, 0, &l));
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

static void test_bitmap_dir(void)
{
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_new();
    g_autoptr(GPtrArray) back = NULL;
    g_autofree uint8_t *buf = NULL;
    size_t len;

    g_ptr_array_add(dir, new_entry("b0", 0));
    g_ptr_array_add(dir, new_entry("a name of another length", 13));
    buf = qcow2_bitmap_dir_serialise(dir, &len);
    back = qcow2_bitmap_dir_parse(buf, len, 0, 2, 16);
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

    for (size_t cut = 1; cut < len; cut++) {
        g_autoptr(GPtrArray) d = qcow2_bitmap_dir_parse(buf, len - cut, 0, 2,
                                                            16);
        const Qcow2Bitmap *rest = d->pdata[d->len - 1];

        g_assert_true(rest->rest && rest->damage);
        g_assert_cmpuint(rest->rest_count, ==, 3 - d->len);
    }
}

static BdrvBitmapResume *new_resume(const char *target)
{
    BdrvBitmapResume *r = g_new0(BdrvBitmapResume, 1);

    memset(r->digest, 0xd1, sizeof(r->digest));
    r->target = g_strdup(target);
    r->job_id = g_strdup("job0");
    r->file_bytes = 5 * MiB;
    r->copied = GiB;
    r->total = TiB;
    return r;
}

static BdrvBitmapResume **resume_at(GPtrArray *dir, guint i)
{
    return &((Qcow2Bitmap *)dir->pdata[i])->resume;
}

/* How many have no record, and which one the last of them is. */
static guint lost_resume(const GPtrArray *dir)
{
    g_autoptr(GArray) lost = qcow2_lost_resume(dir);

    if (lost->len) {
        g_assert_cmpuint(g_array_index(lost, uint32_t, lost->len - 1), ==, 2);
    }
    return lost->len;
}

/* Two records, which need @len bytes as a whole: their names are cut. */
static void check_little_room(const GPtrArray *dir, size_t len)
{
    for (size_t room = 2 * 72; room < len; room += 8) {
        g_autoptr(GByteArray) buf = qcow2_encode_resume(dir, room);
        g_autoptr(GPtrArray) read = qcow2_bitmap_dir_new();
        const char *job, *target;

        g_assert_cmpuint(buf->len, <=, room);
        g_assert_cmpuint(lost_resume(dir), ==, 0);
        for (int i = 0; i < 3; i++) {
            g_ptr_array_add(read, new_entry("b", 0));
        }
        qcow2_decode_resume(read, buf->data, buf->len);
        target = (*resume_at(read, 0))->target;
        job = (*resume_at(read, 0))->job_id;
        g_assert_true(g_str_has_suffix("/target", target));
        g_assert_true(g_str_has_suffix("job0", job));
        g_assert_cmpuint(strlen((*resume_at(read, 2))->target), <=, 1024);
        g_assert_cmpint((*resume_at(read, 2))->copied, ==, GiB);
        g_assert_cmpint((*resume_at(read, 2))->digest[31], ==, 0xd1);
    }
}

static void test_resume(void)
{
    g_autofree char *name = g_strnfill(2000, 'n');
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_new();
    g_autoptr(GByteArray) buf = NULL, less = NULL, none = NULL;

    for (int i = 0; i < 3; i++) {
        g_ptr_array_add(dir, new_entry("b", 0));
    }
    *resume_at(dir, 0) = new_resume("/target");
    *resume_at(dir, 2) = new_resume(name);
    buf = qcow2_encode_resume(dir, 65536);
    g_assert_cmpuint(buf->len % 8, ==, 0);
    g_assert_cmpuint(lost_resume(dir), ==, 0);
    check_little_room(dir, buf->len);
    less = qcow2_encode_resume(dir, 88 + 48);
    g_assert_cmpuint(less->len, ==, 88); /* of the other not even a part */
    g_assert_cmpuint(lost_resume(dir), ==, 1);
    none = qcow2_encode_resume(dir, 64);
    g_assert_cmpuint(none->len, ==, 0);
    g_assert_cmpuint(lost_resume(dir), ==, 2);
    g_clear_pointer(resume_at(dir, 0), bdrv_bitmap_resume_free);
    g_clear_pointer(resume_at(dir, 2), bdrv_bitmap_resume_free);

    /* Cut anywhere, the whole records count. */
    for (size_t len = 0; len <= buf->len; len++) {
        qcow2_decode_resume(dir, buf->data, len);
        g_assert_true((*resume_at(dir, 0) != NULL) == (len >= less->len));
        g_assert_true((*resume_at(dir, 2) != NULL) == (len == buf->len));
    }
    g_assert_null(*resume_at(dir, 1));
    g_assert_cmpstr((*resume_at(dir, 0))->target, ==, "/target");
    g_assert_cmpstr((*resume_at(dir, 0))->job_id, ==, "job0");
    g_assert_cmpint((*resume_at(dir, 0))->digest[31], ==, 0xd1);
    g_assert_true((*resume_at(dir, 0))->loaded);
    g_assert_cmpint((*resume_at(dir, 2))->copied, ==, GiB);
    g_assert_cmpint((*resume_at(dir, 2))->total, ==, TiB);
    g_assert_cmpint((*resume_at(dir, 2))->file_bytes, ==, 5 * MiB);
    g_assert_cmpuint(strlen((*resume_at(dir, 2))->target), ==, 1024);
    /* Of a bitmap that does not exist. */
    g_ptr_array_set_size(dir, 2);
    qcow2_decode_resume(dir, buf->data, buf->len);
}

/* What is damaged is kept as it is, and the header counts as before. */
static void check_again(const GPtrArray *dir, const uint8_t *buf, size_t len,
                        uint32_t count)
{
    g_autofree uint8_t *again = NULL;
    size_t n;

    again = qcow2_bitmap_dir_serialise(dir, &n);
    g_assert_cmpmem(again, n, buf, len);
    g_assert_cmpuint(qcow2_bitmap_dir_count(dir), ==, count);
}

static void check_damage(const char *const *names, const uint8_t *buf,
                         size_t len, uint32_t count)
{
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_parse(buf, len, 0, count, 16);
    g_autoptr(GPtrArray) copy = qcow2_bitmap_dir_copy(dir);
    g_autoptr(GPtrArray) more = NULL;
    g_autofree uint8_t *with = NULL;
    size_t n;

    check_again(dir, buf, len, count);
    check_again(copy, buf, len, count);
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        g_assert_nonnull(names[i]);
        g_assert_cmpstr(b->name, ==, names[i] + (*names[i] == '!'));
        g_assert_true(!b->damage == (*names[i] != '!'));
    }
    g_assert_null(names[dir->len]);

    /* The same is damaged when there is one more. */
    qcow2_bitmap_dir_add(copy, new_entry("another", 0));
    with = qcow2_bitmap_dir_serialise(copy, &n);
    more = qcow2_bitmap_dir_parse(with, n, 0, qcow2_bitmap_dir_count(copy), 16);
    g_assert_cmpuint(more->len, ==, dir->len + 1);
    g_assert_null(qcow2_bitmap_dir_find(more, "another")->damage);
    for (guint i = 0; i < copy->len; i++) {
        const Qcow2Bitmap *b = copy->pdata[i], *m = more->pdata[i];

        g_assert_true(!b->damage == !m->damage);
    }
}

static void test_damaged_dir(void)
{
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_new();
    g_autofree uint8_t *buf = NULL;
    size_t len, second = qcow2_bitmap_entry_size(2, 0);
    const char *all[] = { "b0", "b1", NULL };
    const char *less[] = { "b0", "!b1", NULL };
    const char *more[] = { "b0", "b1", "!(damaged bitmap 1)", NULL };
    const char *rest[] = { "b0", "!(damaged bitmap 1)", NULL };
    const char *twice[] = { "!b0", "!(damaged bitmap 1)", NULL };

    g_ptr_array_add(dir, new_entry("b0", 0));
    g_ptr_array_add(dir, new_entry("b1", 0));
    buf = qcow2_bitmap_dir_serialise(dir, &len);
    check_damage(all, buf, len, 2);
    check_damage(less, buf, len, 1);
    check_damage(more, buf, len, 3);
    check_damage(more, buf, len, 60000);
    check_damage(rest, buf, len - 8, 2);
    buf[second + 25] = '0';
    check_damage(twice, buf, len, 2);
    buf[second + 25] = 0;
    check_damage(rest, buf, len, 2);
    buf[second + 25] = '1';
    buf[second + 19] = 0; /* no name */
    check_damage(rest, buf, len, 2);
    buf[second + 19] = 2;
    buf[second + 6] = 1; /* the table is not aligned */
    check_damage(less, buf, len, 2);
    buf[second + 6] = 0;
    buf[second + 17] = 64;
    check_damage(less, buf, len, 2);
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
        dir = qcow2_bitmap_dir_parse(buf, sizeof(buf), 0, 3, 9);
    }
    for (int i = 0; i < 20000; i++) {
        g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_new();
        g_autoptr(GByteArray) buf = NULL;

        g_ptr_array_add(dir, new_entry("b0", 0));
        g_ptr_array_add(dir, new_entry("b1", 0));
        *resume_at(dir, 0) = new_resume("/target");
        *resume_at(dir, 1) = new_resume("/other");
        buf = qcow2_encode_resume(dir, 4096);
        for (int k = 0; k < 3; k++) {
            buf->data[g_test_rand_int_range(0, buf->len)] = g_test_rand_int();
        }
        qcow2_decode_resume(dir, buf->data, buf->len);
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
    g_test_add_func("/qcow2/subclusters", test_subclusters);
    g_test_add_func("/qcow2/subcluster-masks", test_subcluster_masks);
    g_test_add_func("/qcow2/layout", test_layout);
    g_test_add_func("/qcow2/layout-limits", test_layout_limits);
    g_test_add_func("/qcow2/bitmap-dir", test_bitmap_dir);
    g_test_add_func("/qcow2/resume", test_resume);
    g_test_add_func("/qcow2/damaged-bitmap-dir", test_damaged_dir);
    g_test_add_func("/qcow2/garbage", test_garbage);
    return g_test_run();
}
