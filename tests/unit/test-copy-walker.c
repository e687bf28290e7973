/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ranges that are left to copy, in areas of one kind. */
#include "qemu/osdep.h"
#include "block/copy-walker.h"

#define UNIT (64 * KiB)
#define SIZE (1 * MiB + 5 * KiB)

static const int64_t max[COPY_KINDS] = {
    [COPY_DATA] = 2 * UNIT,
    [COPY_ZERO] = GiB,
    [COPY_SKIP] = GiB,
    [COPY_UNALLOCATED] = GiB,
};

static int n_looks, look_error;

/* Data up to 300 KiB, zeroes up to 600 KiB, then nothing to do. */
static int coroutine_fn look(void *opaque, CopyArea *run)
{
    int64_t end = run->offset < 300 * KiB ? 300 * KiB
                : run->offset < 600 * KiB ? 600 * KiB : SIZE;

    n_looks++;
    if (look_error) {
        return look_error;
    }
    run->kind = end == SIZE ? COPY_SKIP
              : end == 600 * KiB ? COPY_ZERO : COPY_DATA;
    run->bytes = end - run->offset;
    run->from = opaque;
    return 0;
}

static void check_next(CopyWalker *w, CopyKind kind, int64_t offset,
                       int64_t bytes)
{
    CopyArea area;

    g_assert_cmpint(copy_walker_next(w, max, &area), ==, 1);
    g_assert_cmpint(area.offset, ==, offset);
    g_assert_cmpint(area.bytes, ==, bytes);
    g_assert_cmpint(area.kind, ==, kind);
}

static void check_end(CopyWalker *w)
{
    CopyArea area;

    g_assert_cmpint(copy_walker_next(w, max, &area), ==, 0);
}

/* Whole units, of which data has what it shares; one question per run. */
static void test_kinds(void)
{
    HBitmap *bits = hbitmap_new(SIZE, UNIT);
    CopyWalker w;

    hbitmap_set_all(bits);
    copy_walker_init_bits(&w, bits, 0, SIZE);
    copy_walker_set_look(&w, look, NULL);
    n_looks = 0;
    check_next(&w, COPY_DATA, 0, 2 * UNIT);
    check_next(&w, COPY_DATA, 2 * UNIT, 2 * UNIT);
    check_next(&w, COPY_DATA, 4 * UNIT, UNIT);
    check_next(&w, COPY_ZERO, 5 * UNIT, 4 * UNIT);
    check_next(&w, COPY_DATA, 9 * UNIT, UNIT); /* zeroes in part */
    check_next(&w, COPY_SKIP, 10 * UNIT, SIZE - 10 * UNIT);
    check_end(&w);
    g_assert_cmpint(n_looks, ==, 3);
    g_assert(!copy_walker_more(&w) && hbitmap_empty(bits));
    copy_walker_destroy(&w);
    hbitmap_free(bits);
}

/* Bits that others clear and set while it walks, as a mirror would. */
static void test_refilled(void)
{
    HBitmap *bits = hbitmap_new(SIZE, UNIT);
    CopyArea area = {.offset = 3 * UNIT, .bytes = UNIT};
    CopyWalker w;

    hbitmap_set(bits, UNIT, 4 * UNIT);
    copy_walker_init_bits(&w, bits, 0, SIZE);
    check_next(&w, COPY_DATA, UNIT, 2 * UNIT);
    hbitmap_reset(bits, 3 * UNIT, UNIT); /* taken by another call */
    check_next(&w, COPY_DATA, 4 * UNIT, UNIT);
    copy_walker_put_back(&w, &area);
    hbitmap_set(bits, 0, UNIT);
    check_end(&w);
    g_assert(copy_walker_more(&w));
    copy_walker_rewind(&w);
    check_next(&w, COPY_DATA, 0, UNIT);
    g_assert(!copy_walker_take(&w, 2 * UNIT, 2 * UNIT));
    g_assert(copy_walker_take(&w, 3 * UNIT, UNIT));
    g_assert(!copy_walker_more(&w));
    copy_walker_destroy(&w);
    hbitmap_free(bits);
}

/* Only a part of the bits is walked. */
static void test_part(void)
{
    HBitmap *bits = hbitmap_new(SIZE, UNIT);
    CopyWalker w;

    hbitmap_set_all(bits);
    copy_walker_init_bits(&w, bits, 3 * UNIT, 6 * UNIT);
    check_next(&w, COPY_DATA, 3 * UNIT, 2 * UNIT);
    check_next(&w, COPY_DATA, 5 * UNIT, UNIT);
    check_end(&w);
    g_assert(!copy_walker_more(&w));
    g_assert_cmpint(hbitmap_count(bits), ==, SIZE - 3 * UNIT);
    copy_walker_destroy(&w);
    hbitmap_free(bits);
}

/* What was put back comes first, in part, and may be passed over. */
static void test_span(void)
{
    int from;
    CopyArea area;
    CopyWalker w;

    copy_walker_init_span(&w, SIZE, 1);
    copy_walker_set_look(&w, look, &from);
    g_assert_cmpint(copy_walker_next(&w, max, &area), ==, 1);
    g_assert(area.from == &from);
    check_next(&w, COPY_DATA, 2 * UNIT, 2 * UNIT);
    copy_walker_put_back(&w, &area);
    g_assert(copy_walker_take(&w, 10, 20));
    g_assert(!copy_walker_take(&w, 5, 10));
    copy_walker_rewind(&w);
    check_next(&w, COPY_DATA, 0, 10);
    check_next(&w, COPY_DATA, 30, 2 * UNIT - 30);
    copy_walker_put_back(&w, &area);
    copy_walker_pass(&w, 0, 2 * UNIT);
    check_next(&w, COPY_DATA, 4 * UNIT, 300 * KiB - 4 * UNIT);
    copy_walker_pass(&w, 300 * KiB, 500);
    check_next(&w, COPY_ZERO, 300 * KiB + 500, 300 * KiB - 500);
    check_next(&w, COPY_SKIP, 600 * KiB, SIZE - 600 * KiB);
    g_assert(!copy_walker_more(&w));
    check_end(&w);
    copy_walker_destroy(&w);
}

/* It is left, and can be asked again. */
static void test_error(void)
{
    CopyArea area;
    CopyWalker w;

    copy_walker_init_span(&w, SIZE, 1);
    copy_walker_set_look(&w, look, NULL);
    look_error = -EIO;
    g_assert_cmpint(copy_walker_next(&w, max, &area), ==, -EIO);
    g_assert_cmpint(area.offset, ==, 0);
    g_assert_cmpint(area.bytes, ==, 2 * UNIT);
    look_error = 0;
    check_next(&w, COPY_DATA, 0, 2 * UNIT);
    check_next(&w, COPY_DATA, 2 * UNIT, 2 * UNIT);
    copy_walker_unget(&w, &(CopyArea){.offset = 2 * UNIT, .bytes = 2 * UNIT});
    check_next(&w, COPY_DATA, 2 * UNIT, 2 * UNIT);
    copy_walker_destroy(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/copy-walker/kinds", test_kinds);
    g_test_add_func("/copy-walker/refilled", test_refilled);
    g_test_add_func("/copy-walker/part", test_part);
    g_test_add_func("/copy-walker/span", test_span);
    g_test_add_func("/copy-walker/error", test_error);
    return g_test_run();
}
