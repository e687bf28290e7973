/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Regions of a disk whose stored bits are all set. */
#include "qemu/osdep.h"

#include "block/bitmap-regions.h"

#define WORD_BITS 64
/* A sequential writer gets at most this many regions at once. */
#define MAX_AHEAD 8

/* One bit for each region. */
typedef uint64_t *RegionSet;

/* What a write waits for. */
typedef struct RegionRange {
    int64_t first, end; /* numbers of regions */
} RegionRange;

struct BdrvBitmapRegions {
    const BdrvBitmapRegionsOps *ops;
    void *opaque;
    int64_t size;     /* of the disk */
    unsigned shift;   /* log2 of a region */
    int64_t n;        /* regions */
    int64_t max_open; /* regions */

    RegionSet open;   /* durable: writes may go on */
    RegionSet wanted; /* open, or being opened */
    RegionSet used;   /* since the last tick */
    int64_t n_open;
    GArray *asked;    /* of RegionRange: whoever gets the lock opens them */
    int64_t last_end; /* of the range that was opened last */
    int64_t ahead;    /* regions, for a sequential writer */
    int64_t hand;     /* where the search for a victim goes on */
    CoMutex *lock;
};

/* --- sets --- */

static RegionSet set_new(int64_t n)
{
    return g_new0(uint64_t, DIV_ROUND_UP(n, WORD_BITS) + 1);
}

static bool has(const uint64_t *set, int64_t i)
{
    return set[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static void put(uint64_t *set, int64_t i, bool on)
{
    uint64_t bit = UINT64_C(1) << (i % WORD_BITS);

    if (on) {
        set[i / WORD_BITS] |= bit;
    } else {
        set[i / WORD_BITS] &= ~bit;
    }
}

/* Where the run of regions that are, or are not, in @set ends, which begins
 * at @i. */
static int64_t run_end(const uint64_t *set, int64_t i, int64_t n)
{
    uint64_t flip = has(set, i) ? UINT64_MAX : 0;
    int64_t word = i / WORD_BITS;
    uint64_t other = (set[word] ^ flip) & UINT64_MAX << (i % WORD_BITS);

    while (!other) {
        if (++word * WORD_BITS >= n) {
            return n;
        }
        other = set[word] ^ flip;
    }
    return MIN(word * WORD_BITS + ctz64(other), n);
}

/* --- life --- */

int64_t bdrv_bitmap_regions_default_max(int64_t size)
{
    return MAX(1 * GiB, size / 100);
}

BdrvBitmapRegions *bdrv_bitmap_regions_new(int64_t size, int64_t region,
                                           int64_t max_open, CoMutex *lock,
                                           const BdrvBitmapRegionsOps *ops,
                                           void *opaque)
{
    BdrvBitmapRegions *r = g_new0(BdrvBitmapRegions, 1);

    g_assert(is_power_of_2(region) && region >= 64 * KiB && max_open >= region);
    r->ops = ops;
    r->opaque = opaque;
    r->size = size;
    r->shift = ctz64(region);
    r->n = DIV_ROUND_UP(size, region);
    r->max_open = max_open >> r->shift;
    r->open = set_new(r->n);
    r->wanted = set_new(r->n);
    r->used = set_new(r->n);
    r->asked = g_array_new(FALSE, FALSE, sizeof(RegionRange));
    r->last_end = -1;
    r->ahead = 1;
    r->lock = lock;
    return r;
}

void bdrv_bitmap_regions_free(BdrvBitmapRegions *r)
{
    if (r) {
        g_free(r->open);
        g_free(r->wanted);
        g_free(r->used);
        g_array_unref(r->asked);
        g_free(r);
    }
}

int64_t bdrv_bitmap_regions_open_bytes(const BdrvBitmapRegions *r)
{
    return r->n_open << r->shift;
}

static void resize_set(RegionSet *set, int64_t old, int64_t n)
{
    RegionSet new = set_new(n);

    memcpy(new, *set, DIV_ROUND_UP(MIN(old, n), WORD_BITS) *
                      sizeof(**set));
    for (int64_t i = n; i % WORD_BITS; i++) {
        put(new, i, false);
    }
    g_free(*set);
    *set = new;
}

void bdrv_bitmap_regions_resize(BdrvBitmapRegions *r, int64_t size)
{
    int64_t n = DIV_ROUND_UP(size, INT64_C(1) << r->shift);

    if (size == r->size) {
        return;
    }
    for (int64_t i = n; i < r->n; i++) {
        r->n_open -= has(r->open, i);
    }
    resize_set(&r->open, r->n, n);
    resize_set(&r->wanted, r->n, n);
    resize_set(&r->used, r->n, n);
    r->n = n;
    r->size = size;
    r->hand = 0;
}

/* --- queries --- */

bool bdrv_bitmap_regions_wanted(const BdrvBitmapRegions *r, int64_t offset,
                                int64_t *next)
{
    int64_t i = offset >> r->shift;

    if (offset >= r->size) {
        *next = INT64_MAX;
        return false;
    }
    *next = MIN(run_end(r->wanted, i, r->n) << r->shift, r->size);
    return has(r->wanted, i);
}

bool bdrv_bitmap_regions_any_wanted(const BdrvBitmapRegions *r, int64_t offset,
                                    int64_t bytes)
{
    int64_t i = offset >> r->shift;
    int64_t end = MIN(DIV_ROUND_UP(offset + bytes, INT64_C(1) << r->shift),
                      r->n);

    return i < end && (has(r->wanted, i) || run_end(r->wanted, i, end) < end);
}

/* A range may go beyond the end: it is cut there. */
static RegionRange range_of(const BdrvBitmapRegions *r, int64_t offset,
                            int64_t bytes)
{
    return (RegionRange) {
        .first = MIN(offset >> r->shift, r->n),
        .end = MIN(((offset + bytes - 1) >> r->shift) + 1, r->n),
    };
}

bool bdrv_bitmap_regions_covers(BdrvBitmapRegions *r, int64_t offset,
                                int64_t bytes)
{
    RegionRange range = range_of(r, offset, bytes);

    for (int64_t i = range.first; i < range.end; i++) {
        if (!has(r->open, i)) {
            return false;
        }
    }
    for (int64_t i = range.first; i < range.end; i++) {
        put(r->used, i, true);
    }
    return true;
}

/* --- changes; with the lock held --- */

static void close_one(BdrvBitmapRegions *r, int64_t i, GArray *changed)
{
    int64_t offset = i << r->shift;

    put(r->open, i, false);
    put(r->wanted, i, false);
    r->n_open--;
    g_array_append_val(changed, offset);
}

static bool in_ranges(const GArray *ranges, int64_t i)
{
    for (guint k = 0; k < ranges->len; k++) {
        const RegionRange *range = &g_array_index(ranges, RegionRange, k);

        if (range->first <= i && i < range->end) {
            return true;
        }
    }
    return false;
}

/*
 * Chooses regions to be closed, so that @n more can be opened; none of
 * @needed, or two requests might close each other's regions for ever.
 */
static void make_room(BdrvBitmapRegions *r, int64_t n, const GArray *needed,
                      GArray *changed)
{
    int64_t excess = MIN(r->n_open + n - r->max_open, r->n_open);

    /* Two turns: the first takes away the mark of those that are used. */
    for (int64_t tries = 2 * r->n; excess > 0 && tries > 0; tries--) {
        int64_t i = r->hand;

        r->hand = (r->hand + 1) % r->n;
        if (!has(r->open, i) || in_ranges(needed, i)) {
            continue;
        }
        if (has(r->used, i)) {
            put(r->used, i, false);
        } else {
            close_one(r, i, changed);
            excess--;
        }
    }
}

static void want(BdrvBitmapRegions *r, int64_t first, int64_t end, GArray *new)
{
    for (int64_t i = first; i < end; i++) {
        if (!has(r->wanted, i)) {
            put(r->wanted, i, true);
            g_array_append_val(new, i);
        }
    }
}

/* What is to be opened for @asked; a sequential writer gets some more. */
static void choose_new(BdrvBitmapRegions *r, const GArray *asked, GArray *new)
{
    for (guint i = 0; i < asked->len; i++) {
        RegionRange range = g_array_index(asked, RegionRange, i);

        want(r, range.first, MIN(range.end, r->n), new);
        if (range.first == r->last_end && range.end > range.first) {
            r->ahead = MIN(r->ahead * 2, MIN(MAX_AHEAD, r->max_open / 4 + 1));
            range.end = MIN(range.end + r->ahead - 1, r->n);
            want(r, range.first, range.end, new);
        } else if (range.first > r->last_end || range.end < r->last_end) {
            r->ahead = 1;
        }
        r->last_end = range.end;
    }
}

static int compare_offsets(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int coroutine_fn store(BdrvBitmapRegions *r, GArray *changed,
                              bool opens)
{
    if (!changed->len) {
        return 0;
    }
    g_array_sort(changed, compare_offsets);
    return r->ops->co_store(r->opaque, &g_array_index(changed, int64_t, 0),
                            changed->len, opens);
}

/* If it fails, the victims stay closed: more is set on storage than needed. */
static int coroutine_fn open_asked(BdrvBitmapRegions *r)
{
    g_autoptr(GArray) new = g_array_new(FALSE, FALSE, sizeof(int64_t));
    g_autoptr(GArray) changed = g_array_new(FALSE, FALSE, sizeof(int64_t));
    g_autoptr(GArray) asked = r->asked;
    int ret;

    r->asked = g_array_new(FALSE, FALSE, sizeof(RegionRange));
    choose_new(r, asked, new);
    make_room(r, new->len, asked, changed);
    for (guint i = 0; i < new->len; i++) {
        int64_t offset = g_array_index(new, int64_t, i) << r->shift;

        g_array_append_val(changed, offset);
    }
    ret = store(r, changed, true);
    for (guint i = 0; i < new->len; i++) {
        int64_t region = g_array_index(new, int64_t, i);

        put(r->open, region, ret == 0);
        put(r->wanted, region, ret == 0);
        put(r->used, region, ret == 0);
    }
    r->n_open += ret == 0 ? new->len : 0;
    return ret;
}

/* The index of @range in @asked, or that after the last. */
static guint find_asked(const BdrvBitmapRegions *r, RegionRange range)
{
    guint i;

    for (i = 0; i < r->asked->len; i++) {
        const RegionRange *a = &g_array_index(r->asked, RegionRange, i);

        if (a->first == range.first && a->end == range.end) {
            break;
        }
    }
    return i;
}

/*
 * Whoever waits for the lock asks, and asks again when it has it, as its range
 * may have been opened for another one, and closed again: who opens regions is
 * done then, or requests might open and close each other's for ever.
 */
static void ask(BdrvBitmapRegions *r, RegionRange range)
{
    if (find_asked(r, range) == r->asked->len) {
        g_array_append_val(r->asked, range);
    }
}

/* It was opened for another one. */
static void stop_asking(BdrvBitmapRegions *r, RegionRange range)
{
    guint i = find_asked(r, range);

    if (i < r->asked->len) {
        g_array_remove_index(r->asked, i);
    }
}

int coroutine_fn bdrv_bitmap_regions_co_open(BdrvBitmapRegions *r,
                                             int64_t offset, int64_t bytes)
{
    int ret = 0;

    while (ret == 0 && !bdrv_bitmap_regions_covers(r, offset, bytes)) {
        ask(r, range_of(r, offset, bytes));
        co_mutex_lock(r->lock);
        if (!bdrv_bitmap_regions_covers(r, offset, bytes)) {
            ask(r, range_of(r, offset, bytes));
            ret = open_asked(r);
        } else {
            stop_asking(r, range_of(r, offset, bytes));
        }
        co_mutex_unlock(r->lock);
    }
    return ret;
}

void coroutine_fn bdrv_bitmap_regions_co_close_quiet(BdrvBitmapRegions *r)
{
    g_autoptr(GArray) changed = g_array_new(FALSE, FALSE, sizeof(int64_t));

    CO_MUTEX_GUARD(r->lock);
    for (int64_t i = 0; i < r->n; i++) {
        if (has(r->open, i) && !has(r->used, i)) {
            close_one(r, i, changed);
        }
        put(r->used, i, false);
    }
    (void)store(r, changed, false);
}
