/* SPDX-License-Identifier: GPL-2.0-or-later */
/* HBitmap compared with a model: one byte per granule, and simple loops. */
#include "qemu/osdep.h"
#include "qemu/hbitmap.h"

#define OPS_PER_ROUND 150
#define ROUNDS 250

typedef struct Model {
    int64_t size;
    int64_t gran;
    int64_t n;              /* granules */
    uint8_t *dirty;         /* one byte each */
} Model;

static GRand *rnd;

/* [@lo, @hi) */
static int64_t pick(int64_t lo, int64_t hi)
{
    uint64_t r = (uint64_t)g_rand_int(rnd) << 32 | g_rand_int(rnd);

    return lo + r % (uint64_t)(hi - lo);
}

static void model_init(Model *m, int64_t size, int64_t gran)
{
    m->size = size;
    m->gran = gran;
    m->n = DIV_ROUND_UP(size, gran);
    m->dirty = g_malloc0(m->n + 1);
}

static void model_free(Model *m)
{
    g_clear_pointer(&m->dirty, g_free);
}

static void model_range(Model *m, int64_t offset, int64_t bytes, uint8_t v)
{
    if (bytes) {
        int64_t first = offset / m->gran;

        memset(m->dirty + first, v,
               (offset + bytes - 1) / m->gran - first + 1);
    }
}

static int64_t model_granule_end(const Model *m, int64_t i)
{
    return MIN((i + 1) * m->gran, m->size);
}

static int64_t model_count(const Model *m)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < m->n; i++) {
        if (m->dirty[i]) {
            sum += model_granule_end(m, i) - i * m->gran;
        }
    }
    return sum;
}

/* First byte in [@offset, @end) whose granule is @v, or -1. */
static int64_t model_next(const Model *m, int64_t offset, int64_t end,
                          uint8_t v)
{
    end = MIN(end, m->size);
    while (offset < end) {
        int64_t i = offset / m->gran;

        if (m->dirty[i] == v) {
            return offset;
        }
        offset = model_granule_end(m, i);
    }
    return -1;
}

/* @r |= @s */
static void model_or(Model *r, const Model *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        if (s->dirty[i]) {
            model_range(r, i * s->gran,
                        model_granule_end(s, i) - i * s->gran, 1);
        }
    }
}

static GByteArray *model_serialise(const Model *m)
{
    GByteArray *out = g_byte_array_new();

    g_byte_array_set_size(out, DIV_ROUND_UP(m->n, 64) * 8);
    if (out->len) {
        memset(out->data, 0, out->len);
    }
    for (int64_t i = 0; i < m->n; i++) {
        out->data[i / 8] |= m->dirty[i] << (i % 8);
    }
    return out;
}

/* Walks the areas, so that a wrong bit in an upper level shows. */
static void check_areas(const HBitmap *hb, const Model *m)
{
    int64_t at = 0, area, bytes;

    while (hbitmap_next_dirty_area(hb, at, INT64_MAX, INT64_MAX, &area,
                                   &bytes)) {
        int64_t end;

        g_assert_cmpint(area, ==, model_next(m, at, m->size, 1));
        end = model_next(m, area, m->size, 0);
        at = end < 0 ? m->size : end;
        g_assert_cmpint(bytes, ==, at - area);
    }
    g_assert_cmpint(model_next(m, at, m->size, 1), ==, -1);
}

static void check_same(const HBitmap *hb, const Model *m)
{
    g_autoptr(GByteArray) want = model_serialise(m);
    g_autofree uint8_t *got = g_malloc(want->len + 1);

    g_assert_cmpint(hbitmap_size(hb), ==, m->size);
    g_assert_cmpint(hbitmap_granularity(hb), ==, m->gran);
    g_assert_cmpint(hbitmap_count(hb), ==, model_count(m));
    g_assert_cmpint(hbitmap_empty(hb), ==, model_count(m) == 0);
    g_assert_cmpint(hbitmap_serialization_size(hb, 0, m->size), ==, want->len);
    got[want->len] = 0x5a;
    hbitmap_serialize_part(hb, got, 0, m->size);
    g_assert_cmpmem(got, want->len, want->data, want->len);
    g_assert_cmpint(got[want->len], ==, 0x5a);
    check_areas(hb, m);
}

/* Sizes and granularities on and beside every edge. */
static int64_t pick_size(int64_t gran)
{
    static const int64_t edges[] = {
        0, 1, 2, 63, 64, 65, 128, 4095, 4096, 4097, 8192
    };
    int64_t n;

    if (pick(0, 2)) {
        n = edges[pick(0, ARRAY_SIZE(edges))];
    } else {
        n = pick(0, pick(0, 20) ? 3000 : 12000);
    }
    if (n == 0 || pick(0, 2)) {
        return n * gran;
    }
    return (n - 1) * gran + pick(1, gran + 1);
}

static void pick_range(const Model *m, int64_t *offset, int64_t *bytes)
{
    *offset = pick(0, m->size + 1);
    switch (pick(0, 4)) {
    case 0:
        *bytes = pick(0, m->size - *offset + 1);
        break;
    case 1:
        *bytes = m->size - *offset;
        break;
    default:
        *bytes = pick(0, 4 * m->gran + 1);
        *bytes = MIN(m->size - *offset, *bytes);
    }
}

/* Rounds inwards to whole units; the end of the bitmap is as good. */
static void align_range(const Model *m, int64_t unit, int64_t *offset,
                        int64_t *bytes)
{
    int64_t end = *offset + *bytes;

    *offset = ROUND_DOWN(*offset, unit);
    if (end != m->size) {
        end = ROUND_DOWN(end, unit);
    }
    *bytes = MAX(end - *offset, 0);
}

static void op_set(HBitmap *hb, Model *m)
{
    int64_t offset, bytes;

    pick_range(m, &offset, &bytes);
    hbitmap_set(hb, offset, bytes);
    model_range(m, offset, bytes, 1);
}

static void op_reset(HBitmap *hb, Model *m)
{
    int64_t offset, bytes;

    pick_range(m, &offset, &bytes);
    align_range(m, m->gran, &offset, &bytes);
    hbitmap_reset(hb, offset, bytes);
    model_range(m, offset, bytes, 0);
}

static void op_all(HBitmap *hb, Model *m)
{
    if (pick(0, 2)) {
        hbitmap_reset_all(hb);
        model_range(m, 0, m->size, 0);
    } else {
        hbitmap_set_all(hb);
        model_range(m, 0, m->size, 1);
    }
}

static void op_query(HBitmap *hb, Model *m)
{
    int64_t offset = pick(0, m->size + 2 * m->gran), bytes, end, area, len;
    int64_t change;

    switch (pick(0, 4)) {
    case 0: bytes = INT64_MAX; break;
    case 1: bytes = INT64_MAX - offset; break;
    case 2: bytes = pick(0, m->size + 3); break;
    default: bytes = pick(0, 3 * m->gran); break;
    }
    end = bytes > m->size - offset ? MAX(m->size, offset) : offset + bytes;

    g_assert_cmpint(hbitmap_next_dirty(hb, offset, bytes), ==,
                    model_next(m, offset, end, 1));
    g_assert_cmpint(hbitmap_next_zero(hb, offset, bytes), ==,
                    model_next(m, offset, end, 0));
    if (offset < m->size && bytes > 0) {
        bool dirty = m->dirty[offset / m->gran];

        g_assert_cmpint(hbitmap_get(hb, offset), ==, dirty);
        g_assert_cmpint(hbitmap_status(hb, offset, bytes, &len), ==, dirty);
        change = model_next(m, offset, end, !dirty);
        g_assert_cmpint(len, ==, (change < 0 ? end : change) - offset);
    }

    bytes = pick(1, 5 * m->gran + 1);
    change = model_next(m, offset, end, 1);
    g_assert_cmpint(hbitmap_next_dirty_area(hb, offset, end, bytes, &area,
                                            &len), ==, change >= 0);
    if (change >= 0) {
        g_assert_cmpint(area, ==, change);
        end = MIN(end, area + bytes);
        change = model_next(m, area, end, 0);
        g_assert_cmpint(len, ==, (change < 0 ? end : change) - area);
    }
}

static void op_truncate(HBitmap *hb, Model *m)
{
    int64_t size = pick(0, 3) ? pick_size(m->gran) : pick(0, m->size + 1);
    Model now;

    model_init(&now, size, m->gran);
    memcpy(now.dirty, m->dirty, MIN(now.n, m->n));
    hbitmap_truncate(hb, size);
    model_free(m);
    *m = now;
}

static void fill_random(HBitmap *hb, Model *m)
{
    int64_t offset, bytes;

    for (int i = pick(0, 6); i > 0; i--) {
        op_set(hb, m);
    }
    switch (pick(0, 8)) {
    case 0:
        hbitmap_set_all(hb);
        model_range(m, 0, m->size, 1);
        break;
    case 1:
    case 2:
        for (int i = 0; m->size && i < 500; i++) {
            offset = pick(0, m->size);
            bytes = 1;
            hbitmap_set(hb, offset, bytes);
            model_range(m, offset, bytes, 1);
        }
        break;
    }
}

/* Any operand may be empty, missing or the result itself. */
static void op_merge(HBitmap *hb, Model *m)
{
    HBitmap *other[2];
    const HBitmap *a, *b;
    Model om[2] = { 0 }, result;
    int64_t gran;
    int ia = pick(0, 3), ib = pick(0, 4);   /* 2: the result, 3: none */

    for (int i = 0; i < 2; i++) {
        gran = pick(0, 3) ? INT64_C(1) << pick(0, 22) : m->gran;
        /* The model needs a byte per granule. */
        while (m->size / gran > 100000) {
            gran *= 2;
        }
        other[i] = hbitmap_new(m->size, gran);
        model_init(&om[i], m->size, gran);
        if (pick(0, 4)) {
            fill_random(other[i], &om[i]);
        }
    }
    a = ia == 2 ? hb : other[ia];
    b = ib == 3 ? NULL : ib == 2 ? hb : other[ib];
    model_init(&result, m->size, m->gran);
    model_or(&result, ia == 2 ? m : &om[ia]);
    if (b) {
        model_or(&result, ib == 2 ? m : &om[ib]);
    }
    g_assert_true(hbitmap_merge(a, b, hb));
    for (int i = 0; i < 2; i++) {
        check_same(other[i], &om[i]);
        model_free(&om[i]);
        hbitmap_free(other[i]);
    }
    model_free(m);
    *m = result;
}

static void op_serialise(HBitmap *hb, Model *m)
{
    int64_t align = hbitmap_serialization_align(hb);
    int64_t offset, bytes;
    g_autoptr(GByteArray) all = model_serialise(m);
    g_autofree uint8_t *buf = NULL;
    size_t size;

    g_assert_cmpint(align, ==, m->gran * 64);
    pick_range(m, &offset, &bytes);
    align_range(m, align, &offset, &bytes);
    size = hbitmap_serialization_size(hb, offset, bytes);
    buf = g_malloc(size + 1);
    buf[size] = 0xa5;
    hbitmap_serialize_part(hb, buf, offset, bytes);
    g_assert_cmpmem(buf, size, all->data + offset / align * 8, size);
    g_assert_cmpint(buf[size], ==, 0xa5);
}

static void op_deserialise(HBitmap *hb, Model *m)
{
    int64_t offset, bytes;
    g_autofree uint8_t *buf = NULL;
    size_t size;

    pick_range(m, &offset, &bytes);
    align_range(m, m->gran * 64, &offset, &bytes);
    size = hbitmap_serialization_size(hb, offset, bytes);
    buf = g_malloc(size + 1);
    /* The padding is garbage on purpose. */
    for (size_t i = 0; i < size; i++) {
        buf[i] = pick(0, 3) ? 0 : pick(0, 256);
    }
    hbitmap_replace_part(hb, buf, offset, bytes);
    for (int64_t i = 0; i < DIV_ROUND_UP(bytes, m->gran); i++) {
        m->dirty[offset / m->gran + i] = buf[i / 8] >> (i % 8) & 1;
    }
}

static void op_copy(HBitmap *hb, Model *m)
{
    g_autoptr(HBitmap) copy = hbitmap_copy(hb);
    g_autofree char *one = hbitmap_sha256(hb);
    g_autofree char *two = hbitmap_sha256(copy);

    check_same(copy, m);
    g_assert_cmpstr(one, ==, two);
}

typedef void Op(HBitmap *hb, Model *m);

static void test_model(void)
{
    static Op *const ops[] = {
        op_set, op_set, op_set, op_set, op_reset, op_reset, op_reset, op_all,
        op_query, op_query, op_query, op_query, op_merge, op_merge,
        op_truncate, op_serialise, op_deserialise, op_copy
    };

    rnd = g_rand_new_with_seed(20240229);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t gran = INT64_C(1) << pick(0, 18);
        int64_t size = pick_size(gran);
        HBitmap *hb = hbitmap_new(size, gran);
        Model m;

        model_init(&m, size, gran);
        for (int i = 0; i < OPS_PER_ROUND; i++) {
            ops[pick(0, ARRAY_SIZE(ops))](hb, &m);
            check_same(hb, &m);
        }
        hbitmap_free(hb);
        model_free(&m);
    }
    g_rand_free(rnd);
}

/* Four levels, and the memory of a bitmap that is mapped. */
static void test_model_large(void)
{
    static Op *const ops[] = {
        op_set, op_reset, op_query, op_merge, op_deserialise, op_copy, op_all
    };
    int64_t size = 300000 * 512 - 17;
    HBitmap *hb = hbitmap_new(size, 512);
    Model m;

    rnd = g_rand_new_with_seed(4711);
    model_init(&m, size, 512);
    for (int i = 0; i < 60; i++) {
        ops[pick(0, ARRAY_SIZE(ops))](hb, &m);
        check_same(hb, &m);
    }
    hbitmap_free(hb);
    model_free(&m);
    g_rand_free(rnd);
}

/* Every pair of granularities, both ways, into all kinds of result. */
static void test_merge_granularities(void)
{
    const int64_t size = 70000 * 8 - 3;

    rnd = g_rand_new_with_seed(99);
    for (int s = 3; s < 24; s++) {
        for (int r = 3; r < 24; r++) {
            HBitmap *src = hbitmap_new(size, UINT64_C(1) << s);
            HBitmap *res = hbitmap_new(size, UINT64_C(1) << r);
            Model ms, mr;

            model_init(&ms, size, INT64_C(1) << s);
            model_init(&mr, size, INT64_C(1) << r);
            fill_random(src, &ms);
            hbitmap_set(src, size - 1, 1);
            model_range(&ms, size - 1, 1, 1);
            model_or(&mr, &ms);
            g_assert_true(hbitmap_merge(src, NULL, res));
            check_same(res, &mr);
            hbitmap_free(src);
            hbitmap_free(res);
            model_free(&ms);
            model_free(&mr);
        }
    }
    g_rand_free(rnd);
}

static void test_merge_refused(void)
{
    g_autoptr(HBitmap) a = hbitmap_new(1 * MiB, 65536);
    g_autoptr(HBitmap) b = hbitmap_new(1 * MiB + 1, 65536);
    g_autoptr(HBitmap) c = hbitmap_new(1 * MiB, 512);

    hbitmap_set(b, 0, 1);
    g_assert_false(hbitmap_merge(a, b, a));
    g_assert_false(hbitmap_merge(a, c, b));
    g_assert_false(hbitmap_merge(b, NULL, c));
    g_assert_true(hbitmap_empty(a));
    g_assert_true(hbitmap_empty(c));
    g_assert_cmpint(hbitmap_count(b), ==, 65536);
}

/* Numbers as large as there are. */
/* Each granule against each byte of it. */
static void test_keep_common(void)
{
    static const uint64_t granularities[] = { 1, 8, 64 };
    int64_t size = 2000;

    for (int i = 0; i < 300; i++) {
        uint64_t g = granularities[i % 3];
        g_autoptr(HBitmap) hb = hbitmap_new(size, g);
        g_autoptr(HBitmap) other = hbitmap_new(size, granularities[i / 3 % 3]);
        g_autoptr(HBitmap) old = NULL;

        for (int k = 0; k < 8; k++) {
            hbitmap_set(hb, g_test_rand_int_range(0, size - 200),
                        g_test_rand_int_range(1, 200));
            hbitmap_set(other, g_test_rand_int_range(0, size - 200),
                        g_test_rand_int_range(1, 200));
        }
        old = hbitmap_copy(hb);
        hbitmap_keep_common(hb, other);
        for (int64_t at = 0; at < size; at += g) {
            bool any = hbitmap_next_dirty(other, at, MIN(g, size - at)) >= 0;

            g_assert_true(hbitmap_get(hb, at) == (hbitmap_get(old, at) && any));
        }
    }
}

static void test_limits(void)
{
    g_autoptr(HBitmap) a = hbitmap_new(INT64_MAX, UINT64_C(1) << 63);
    g_autoptr(HBitmap) b = hbitmap_new(INT64_MAX, UINT64_C(1) << 45);
    g_autoptr(HBitmap) none = hbitmap_new(0, 512);
    int64_t pnum, area, bytes;

    g_assert_null(hbitmap_try_new(INT64_MAX, 1));

    hbitmap_set(a, INT64_MAX - 1, 1);
    g_assert_cmpint(hbitmap_count(a), ==, INT64_MAX);
    g_assert_cmpint(hbitmap_next_dirty(a, 5, INT64_MAX), ==, 5);
    g_assert_cmpint(hbitmap_next_zero(a, 5, INT64_MAX), ==, -1);
    g_assert_cmpint(hbitmap_serialization_align(a), ==, UINT64_C(1) << 63);
    g_assert_cmpint(hbitmap_serialization_size(a, 0, INT64_MAX), ==, 8);

    hbitmap_set(b, INT64_MAX - 1, 1);
    g_assert_cmpint(hbitmap_count(b), ==, (INT64_C(1) << 45) - 1);
    g_assert_false(hbitmap_status(b, 1, INT64_MAX, &pnum));
    g_assert_cmpint(pnum, ==, INT64_MAX - (INT64_C(1) << 45));
    g_assert_true(hbitmap_next_dirty_area(b, 0, INT64_MAX, INT64_MAX, &area,
                                          &bytes));
    g_assert_cmpint(area + bytes, ==, INT64_MAX);
    g_assert_true(hbitmap_merge(a, NULL, b));
    g_assert_cmpint(hbitmap_count(b), ==, INT64_MAX);
    hbitmap_reset_all(a);
    hbitmap_reset(b, 0, INT64_MAX);
    hbitmap_set(b, 0, 1);
    g_assert_true(hbitmap_merge(b, a, a));
    g_assert_cmpint(hbitmap_count(a), ==, INT64_MAX);

    hbitmap_set(none, 0, 0);
    hbitmap_set_all(none);
    g_assert_cmpint(hbitmap_count(none), ==, 0);
    g_assert_cmpint(hbitmap_next_dirty(none, 0, INT64_MAX), ==, -1);
    g_assert_cmpint(hbitmap_next_zero(none, 0, INT64_MAX), ==, -1);
    g_assert_cmpint(hbitmap_serialization_size(none, 0, 0), ==, 0);
    g_assert_true(hbitmap_merge(none, none, none));
}

/* What a disk of 16 TiB costs. */
static void test_memory(void)
{
    g_autoptr(HBitmap) hb = hbitmap_new(16 * TiB, 64 * KiB);

    g_assert_cmpint(hbitmap_memory(hb), <=, 34 * MiB);
    hbitmap_set(hb, 16 * TiB - 1, 1);
    g_assert_cmpint(hbitmap_next_dirty(hb, 0, INT64_MAX), ==,
                    16 * TiB - 64 * KiB);
    hbitmap_reset_all(hb);
    g_assert_cmpint(hbitmap_next_dirty(hb, 0, INT64_MAX), ==, -1);
}

/* Everything that changed is in the meta bitmap, and not much else. */
static void test_meta(void)
{
    HBitmap *hb = hbitmap_new(1 * GiB, 512), *meta;
    g_autoptr(HBitmap) other = hbitmap_new(1 * GiB, 64 * KiB);
    const uint8_t ones[8] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

    meta = hbitmap_create_meta(hb, 512);
    g_assert_cmpint(hbitmap_size(meta), ==, 1 * GiB / 512 / 8);
    hbitmap_set(hb, 5 * 512 * 8 * 512, 1);
    g_assert_cmpint(hbitmap_count(meta), ==, 512);
    g_assert_true(hbitmap_get(meta, 5 * 512));
    hbitmap_reset_all(meta);
    /* No change */
    hbitmap_set(hb, 5 * 512 * 8 * 512, 1);
    hbitmap_reset(hb, 0, 5 * 512 * 8 * 512);
    g_assert_true(hbitmap_empty(meta));
    hbitmap_reset(hb, 5 * 512 * 8 * 512, 512);
    g_assert_cmpint(hbitmap_count(meta), ==, 512);
    hbitmap_reset_all(meta);

    hbitmap_set(other, 1 * GiB - 1, 1);
    g_assert_true(hbitmap_merge(hb, other, hb));
    g_assert_cmpint(hbitmap_count(meta), ==, 512);
    g_assert_true(hbitmap_get(meta, hbitmap_size(meta) - 1));
    hbitmap_reset_all(meta);

    hbitmap_truncate(hb, 2 * GiB);
    g_assert_cmpint(hbitmap_size(meta), ==, 2 * GiB / 512 / 8);
    hbitmap_set(hb, 2 * GiB - 1, 1);
    g_assert_cmpint(hbitmap_count(meta), ==, 512);
    hbitmap_replace_part(hb, ones, 0, 64 * 512);
    g_assert_true(hbitmap_get(meta, 0));
    hbitmap_free_meta(hb);
    meta = hbitmap_create_meta(hb, 4096);
    g_assert_true(hbitmap_empty(meta));
    hbitmap_free(hb);
}

/* Bits that are replaced in parts are those of the other bitmap. */
static void test_replace(void)
{
    int64_t size = 10 * MiB + 5 * KiB, part = 64 * 512 * 16;
    g_autoptr(HBitmap) from = hbitmap_new(size, 512);
    g_autoptr(HBitmap) to = hbitmap_new(size, 512);

    for (int round = 0; round < 50; round++) {
        hbitmap_reset_all(from);
        for (int i = 0; i < 40; i++) {
            int64_t at = g_random_int_range(0, size);
            int64_t bytes = g_random_int_range(1, 50000);

            hbitmap_set(from, at, MIN(size - at, bytes));
        }
        for (int64_t at = 0; at < size; at += part) {
            int64_t bytes = MIN(part, size - at);
            size_t len = hbitmap_serialization_size(from, at, bytes);
            g_autofree uint8_t *buf = g_malloc(len);

            hbitmap_serialize_part(from, buf, at, bytes);
            if (at + bytes == size) {
                buf[len - 1] |= 0x80; /* padding */
            }
            hbitmap_replace_part(to, buf, at, bytes);
        }
        g_assert_cmpint(hbitmap_count(to), ==, hbitmap_count(from));
        g_assert_cmpint(hbitmap_next_dirty(to, 0, INT64_MAX), ==,
                        hbitmap_next_dirty(from, 0, INT64_MAX));
        g_autofree char *a = hbitmap_sha256(from), *b = hbitmap_sha256(to);

        g_assert_cmpstr(a, ==, b);
    }
}

/*
 * What the installed qemu-storage-daemon 7.2 answered to
 * x-debug-block-dirty-bitmap-sha256 after writes of 512 bytes at the start, in
 * the middle and at the end, and of 300 KiB at 100 KiB where that fits.
 */
static void test_sha256(void)
{
    static const struct {
        int64_t size, granularity;
        const char *sha256;
    } known[] = {
        { 0, 512, "af5570f5a1810b7af78caf4bc70a660f"
                  "0df51e42baf91d4de5b2328de0e83dfc" },
        { 512, 64 * KiB, "7c9fa136d4413fa6173637e883b6998d"
                         "32e1d675f88cddff9dcbcf331820f4b8" },
        { 1 * MiB, 64 * KiB, "a38fe62bdd482eb1b5505fc804bcb675"
                             "bcc7ea91c74a4698c26ca0d2950f1115" },
        { 3 * MiB + 512, 512, "55289fd311b4c8fa58d5ae8627d27fad"
                              "7fc1b8e5f5dc754fbe22a1ae3981350b" },
        { 3 * MiB + 512, 64 * KiB, "971fcd6b182443c811718a7b4b0d11a3"
                                   "60ac97d224bd3847b459e10358c2b678" },
        { 3 * MiB + 512, 1 * MiB, "5fd1b79ebdef9619a57916a3bfc264b5"
                                  "4d37a792659b3693f8ab36ec3ebce448" },
        { 64 * MiB, 512, "8e8cbd81ab59b014ee068ca1ecb64c5a"
                         "c2c47a5871df894583e895a13e82ffe3" },
        { 64 * MiB, 1 * MiB, "87e35cd017ff3522c8c5f9ac2b6fdd0e"
                             "6870b7443bbb656080d2817537c5f7c6" },
        { 64 * MiB + 512, 1 * MiB, "c4cbcdbb1fa3e79478b09fa602c9eb14"
                                   "9edb56b3cf1f343cc82daff59650bd55" },
        { 1 * TiB, 64 * KiB, "78d3a443c8a717e3c6359aa98be324a7"
                             "29ea2c1a52c7fbda97e7c6d3db2941b8" },
    };

    for (int i = 0; i < ARRAY_SIZE(known); i++) {
        int64_t size = known[i].size;
        g_autoptr(HBitmap) hb = hbitmap_new(size, known[i].granularity);
        g_autofree char *sum = NULL;

        if (size) {
            hbitmap_set(hb, 0, 512);
            hbitmap_set(hb, size / 2 / 512 * 512, 512);
            hbitmap_set(hb, size - 512, 512);
        }
        if (size > 1 * MiB) {
            hbitmap_set(hb, 100 * KiB, 300 * KiB);
        }
        sum = hbitmap_sha256(hb);
        g_assert_cmpstr(sum, ==, known[i].sha256);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hbitmap/model", test_model);
    g_test_add_func("/hbitmap/model-large", test_model_large);
    g_test_add_func("/hbitmap/merge/granularities", test_merge_granularities);
    g_test_add_func("/hbitmap/merge/refused", test_merge_refused);
    g_test_add_func("/hbitmap/keep-common", test_keep_common);
    g_test_add_func("/hbitmap/limits", test_limits);
    g_test_add_func("/hbitmap/memory", test_memory);
    g_test_add_func("/hbitmap/meta", test_meta);
    g_test_add_func("/hbitmap/replace", test_replace);
    g_test_add_func("/hbitmap/sha256", test_sha256);
    return g_test_run();
}
