/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Regions whose stored bits are all set.  The store is this test: it says when
 * a call is over and how, and it knows which regions are durable:
 *
 *     covers()  =>  the last co_store of the region that was started had it
 *                   wanted, and is over, without an error
 */
#include "qemu/osdep.h"

#include "block/bitmap-regions.h"

#define REGION (64 * KiB)
#define MOST 150 /* regions: more than two words of a set */

typedef enum Stored {
    STORED_EXACT,   /* or being changed: must not be covered */
    STORED_ALL_SET, /* durable */
} Stored;

static BdrvBitmapRegions *regions;
static CoMutex lock;
static Stored stored[MOST + 1];
static bool opening[MOST + 1]; /* in the co_store that runs */
static Coroutine *storing;     /* waits for finish_store(); NULL: none */
static int store_result;
static unsigned stores;        /* calls */
static size_t last_n;          /* offsets of the last call */
static int64_t limit;          /* of open regions */
static int64_t most_asked;     /* regions that the last opening may need */
static int64_t n_regions;

static int64_t asked_now(void);

static bool is_wanted(int64_t i)
{
    int64_t next;

    return bdrv_bitmap_regions_wanted(regions, i * REGION, &next);
}

static int coroutine_fn co_store(void *opaque, const int64_t *offsets,
                                 size_t n, bool opens_some)
{
    bool wanted[MOST + 1];

    g_assert(opaque == &lock && !storing && n > 0);
    for (size_t k = 0; k < n; k++) {
        int64_t i = offsets[k] / REGION;

        g_assert(offsets[k] % REGION == 0 && i <= MOST);
        g_assert(k == 0 || offsets[k] > offsets[k - 1]);
        wanted[k] = is_wanted(i);
        stored[i] = STORED_EXACT;
        opening[i] = wanted[k];
        g_assert(!wanted[k] || opens_some);
    }
    if (opens_some) {
        most_asked = asked_now();
    }
    stores++;
    last_n = n;
    storing = coroutine_self();
    coroutine_yield();
    storing = NULL;
    for (size_t k = 0; k < n; k++) {
        int64_t i = offsets[k] / REGION;

        opening[i] = false;
        if (wanted[k] && store_result == 0) {
            stored[i] = STORED_ALL_SET;
        }
    }
    return store_result;
}

static void finish_store(int result)
{
    g_assert_nonnull(storing);
    store_result = result;
    coroutine_enter(storing);
}

static void finish_all(void)
{
    while (storing) {
        finish_store(0);
    }
}

static void begin(int n, int max_open)
{
    static const BdrvBitmapRegionsOps ops = { .co_store = co_store };

    co_mutex_init(&lock);
    memset(stored, 0, sizeof(stored));
    memset(opening, 0, sizeof(opening));
    stores = 0;
    limit = max_open;
    n_regions = n;
    regions = bdrv_bitmap_regions_new(n * REGION, REGION, max_open * REGION,
                                      &lock, &ops, &lock);
}

static void end(void)
{
    g_assert_null(storing);
    g_clear_pointer(&regions, bdrv_bitmap_regions_free);
}

static bool covers(int64_t first, int64_t n)
{
    bool yes = bdrv_bitmap_regions_covers(regions, first * REGION, n * REGION);

    for (int64_t i = first; yes && i < MIN(first + n, n_regions); i++) {
        g_assert_cmpint(stored[i], ==, STORED_ALL_SET);
        g_assert_true(is_wanted(i));
    }
    return yes;
}

static int64_t n_open(void)
{
    return bdrv_bitmap_regions_open_bytes(regions) / REGION;
}

/* --- requests --- */

#define WORKERS 6
#define AHEAD 8 /* at most, for each */

typedef struct Request {
    int64_t first, n; /* regions */
    int ret;          /* 1: in flight */
} Request;

static Request workers[WORKERS];

static int64_t asked_now(void)
{
    int64_t sum = 0;

    for (int i = 0; i < WORKERS; i++) {
        sum += workers[i].ret == 1 ? workers[i].n + AHEAD : 0;
    }
    return sum;
}

static void coroutine_fn request_entry(void *opaque)
{
    Request *r = opaque;
    int64_t offset = r->first * REGION + 512;
    int ret = bdrv_bitmap_regions_co_open(regions, offset,
                                          r->n * REGION - 1024);

    if (ret == 0) {
        g_assert_true(covers(r->first, r->n));
    }
    r->ret = ret;
}

static void start(Request *r, int64_t first, int64_t n)
{
    *r = (Request) { first, n, 1 };
    coroutine_enter(coroutine_create(request_entry, r));
}

/* Opens it at once; returns the number of stores. */
static unsigned open_now(int64_t first, int64_t n)
{
    unsigned before = stores;
    Request r;

    start(&r, first, n);
    finish_all();
    g_assert_cmpint(r.ret, ==, 0);
    return stores - before;
}

static void coroutine_fn quiet_entry(void *opaque)
{
    bool *done = opaque;

    bdrv_bitmap_regions_co_close_quiet(regions);
    *done = true;
}

static void start_quiet(bool *done)
{
    *done = false;
    coroutine_enter(coroutine_create(quiet_entry, done));
}

static void close_quiet(void)
{
    bool done;

    start_quiet(&done);
    finish_all();
    g_assert_true(done);
}

/* --- tests --- */

static void test_open(void)
{
    Request r;

    begin(10, 4);
    g_assert_false(covers(3, 1));
    g_assert_true(covers(3, 0));
    start(&r, 3, 1);
    g_assert_true(is_wanted(3)); /* what is stored meanwhile has it */
    g_assert_false(covers(3, 1));
    g_assert_cmpint(r.ret, ==, 1);
    finish_store(0);
    g_assert_cmpint(r.ret, ==, 0);
    g_assert_cmpint(n_open(), ==, 1);
    g_assert_cmpuint(open_now(3, 1), ==, 0); /* nothing to wait for */
    g_assert_false(covers(2, 2));
    end();
}

static void test_wanted_ranges(void)
{
    int64_t next;

    begin(10, 10);
    open_now(2, 3);
    g_assert_false(bdrv_bitmap_regions_wanted(regions, 5, &next));
    g_assert_cmpint(next, ==, 2 * REGION);
    g_assert_true(bdrv_bitmap_regions_wanted(regions, 3 * REGION + 7, &next));
    g_assert_cmpint(next, ==, 5 * REGION);
    g_assert_false(bdrv_bitmap_regions_wanted(regions, 5 * REGION, &next));
    g_assert_cmpint(next, ==, 10 * REGION);
    g_assert_false(bdrv_bitmap_regions_wanted(regions, 11 * REGION, &next));
    g_assert_cmpint(next, ==, INT64_MAX);
    end();
}

/* Runs that end within, at and beyond words of a set. */
static void test_wanted_runs(void)
{
    int64_t next;

    begin(MOST, MOST);
    for (int64_t i = 0; i < MOST; i++) {
        if (i % 7 == 0 || i == 63 || i == 64 || i > MOST - 3) {
            open_now(i, 1);
        }
    }
    for (int64_t i = 0, end; i < MOST; i++) {
        for (end = i + 1; end < MOST && is_wanted(end) == is_wanted(i); end++) {
            /* one region after the other */
        }
        bdrv_bitmap_regions_wanted(regions, i * REGION, &next);
        g_assert_cmpint(next, ==, end * REGION);
        for (int64_t n = 1; i + n <= MOST; n++) {
            g_assert_cmpint(bdrv_bitmap_regions_any_wanted(
                                regions, i * REGION, n * REGION), ==,
                            is_wanted(i) || i + n > end);
        }
    }
    end();
}

/* The first opens alone; all that ask meanwhile share the next co_store. */
static void test_group_commit(void)
{
    Request first, r[20];

    begin(40, 40);
    start(&first, 0, 1);
    for (int i = 0; i < 20; i++) {
        start(&r[i], 5 + i % 10 * 2, 1 + i / 10);
    }
    g_assert_cmpuint(stores, ==, 1);
    finish_store(0);
    g_assert_cmpint(first.ret, ==, 0);
    g_assert_cmpuint(stores, ==, 2);
    finish_store(0);
    for (int i = 0; i < 20; i++) {
        g_assert_cmpint(r[i].ret, ==, 0);
    }
    g_assert_cmpuint(stores, ==, 2);
    end();
}

/* All that wait learn that it failed, and nothing is open. */
static void test_failure(void)
{
    Request r[3];

    begin(10, 10);
    open_now(9, 1);
    for (int i = 0; i < 3; i++) {
        start(&r[i], 2 * i, 1);
    }
    finish_store(-EIO); /* of the first */
    g_assert_cmpint(r[0].ret, ==, -EIO);
    g_assert_false(is_wanted(0));
    finish_store(-ENOSPC); /* of the second, with the third */
    g_assert_cmpint(r[1].ret, ==, -ENOSPC);
    while (storing) { /* the third may try again */
        finish_store(-ENOSPC);
    }
    g_assert_cmpint(r[2].ret, ==, -ENOSPC);
    g_assert_cmpint(n_open(), ==, 1);
    g_assert_true(covers(9, 1));
    g_assert_cmpuint(open_now(0, 1), ==, 1); /* it works again */
    end();
}

/* Those not used lately go first; what is closed is stored in the same call. */
static void test_eviction(void)
{
    begin(20, 4);
    for (int i = 0; i < 8; i += 2) {
        open_now(i, 1);
    }
    g_assert_cmpint(n_open(), ==, 4);
    close_quiet(); /* all were used: none is closed, their marks go */
    g_assert_cmpint(n_open(), ==, 4);
    g_assert_true(covers(0, 1) && covers(4, 1) && covers(6, 1));
    g_assert_cmpuint(open_now(10, 1), ==, 1);
    g_assert_cmpuint(last_n, ==, 2);
    g_assert_cmpint(n_open(), ==, 4);
    g_assert_false(is_wanted(2));
    g_assert_cmpint(stored[2], ==, STORED_EXACT);
    g_assert_true(covers(0, 1) && covers(4, 1) && covers(6, 1));
    end();
}

/* A victim stays closed although the opening failed: storage may say so. */
static void test_eviction_fails(void)
{
    Request r;

    begin(20, 2);
    open_now(0, 1);
    open_now(2, 1);
    start(&r, 10, 1);
    finish_store(-EIO);
    g_assert_cmpint(r.ret, ==, -EIO);
    g_assert_cmpint(n_open(), ==, 1);
    g_assert_true(covers(0, 1) != covers(2, 1));
    end();
}

static void test_request_beyond_bound(void)
{
    begin(20, 4);
    open_now(12, 2);
    g_assert_cmpuint(open_now(1, 9), ==, 1);
    g_assert_cmpint(n_open(), ==, 9); /* no other one */
    g_assert_cmpuint(open_now(1, 9), ==, 0);
    open_now(15, 1); /* and then back to the bound */
    g_assert_cmpint(n_open(), ==, 4);
    end();
}

/* Two requests of which each needs all: both get through. */
static void test_ping_pong(void)
{
    Request a, b, c;

    begin(30, 2);
    start(&c, 29, 1);
    start(&a, 0, 10);
    start(&b, 10, 10);
    finish_all();
    g_assert_cmpint(a.ret, ==, 0);
    g_assert_cmpint(b.ret, ==, 0);
    g_assert_cmpuint(stores, <=, 3);
    for (int i = 0; i < 20; i++) { /* in turns */
        g_assert_cmpuint(open_now(i % 2 * 10, 10), <=, 1);
    }
    end();
}

static void test_sequential(void)
{
    unsigned waits = 0;

    begin(40, 40);
    for (int i = 0; i < 40; i++) {
        waits += open_now(i, 1);
    }
    g_assert_cmpuint(waits, <=, 9); /* 1, 2, 4, 8, 8, ... */
    end();
    /* The bound holds for what is opened ahead, too. */
    begin(40, 4);
    for (int i = 0; i < 40; i++) {
        open_now(i, 1);
        g_assert_cmpint(n_open(), <=, 4);
    }
    end();
    /* Nobody gets regions ahead at random. */
    begin(40, 40);
    for (int i = 0; i < 40; i++) {
        int64_t before = n_open();

        open_now(i * 27 % 40, 1);
        g_assert_cmpint(n_open(), <=, before + 1);
    }
    end();
}

static void test_quiet(void)
{
    bool done;
    Request r;

    begin(10, 10);
    open_now(1, 3);
    open_now(7, 1);
    close_quiet();
    g_assert_true(covers(2, 1));
    start_quiet(&done);
    g_assert_cmpuint(last_n, ==, 3);
    g_assert_false(covers(7, 1)); /* at once, while it is stored */
    start(&r, 7, 1);              /* waits for that, and opens it again */
    g_assert_cmpint(r.ret, ==, 1);
    finish_store(-EIO);           /* harmless: more is set than needed */
    g_assert_true(done);
    finish_store(0);
    g_assert_cmpint(r.ret, ==, 0);
    g_assert_true(covers(2, 1) && !covers(1, 1) && !covers(3, 1));
    close_quiet();
    close_quiet();
    g_assert_cmpint(n_open(), ==, 0);
    close_quiet();
    end();
}

/* --- resizing --- */

static void coroutine_fn resize_entry(void *opaque)
{
    CO_MUTEX_GUARD(&lock);
    bdrv_bitmap_regions_resize(regions, *(int64_t *)opaque);
    n_regions = DIV_ROUND_UP(*(int64_t *)opaque, REGION);
    for (int64_t i = n_regions; i <= MOST; i++) {
        stored[i] = STORED_EXACT; /* new space, if it grows later */
    }
    g_free(opaque);
}

static void start_resize(int64_t bytes)
{
    int64_t *arg = g_new(int64_t, 1);

    *arg = bytes;
    coroutine_enter(coroutine_create(resize_entry, arg));
}

static void test_resize(void)
{
    Request r, waits;
    int64_t next;

    begin(20, 20);
    open_now(4, 8);
    start_resize(6 * REGION + 512);
    g_assert_cmpint(n_open(), ==, 3);
    g_assert_true(covers(4, 3));
    g_assert_true(bdrv_bitmap_regions_wanted(regions, 6 * REGION, &next));
    g_assert_cmpint(next, ==, 6 * REGION + 512);
    g_assert_false(bdrv_bitmap_regions_wanted(regions, next, &next));
    g_assert_cmpint(next, ==, INT64_MAX);
    start_resize(20 * REGION);
    g_assert_false(covers(7, 1));
    g_assert_cmpuint(open_now(7, 5), ==, 1);
    /* A request that waits: the end is cut off, all of it, or nothing is left.
     */
    for (int left = 3; left >= 0; left--) {
        start_resize(20 * REGION);
        close_quiet();
        close_quiet();
        start(&r, 0, 1);
        g_assert_nonnull(storing);
        start(&waits, 2, 4);
        start_resize(left * REGION);
        finish_all();
        g_assert_cmpint(r.ret, ==, 0);
        g_assert_cmpint(waits.ret, ==, 0);
        g_assert_cmpint(n_open(), <=, left);
    }
    end();
}

/* --- at random --- */

typedef struct Chaos {
    GRand *rand;
    bool quiet_done;
    int size; /* regions */
    unsigned done, failed;
} Chaos;

static int draw(Chaos *c, int n)
{
    return g_rand_int_range(c->rand, 0, n);
}

static void check_all(Chaos *c)
{
    int64_t wanted = 0;

    for (int64_t i = 0; i < c->size; i++) {
        wanted += is_wanted(i) && !opening[i];
        if (is_wanted(i) && !opening[i]) {
            g_assert_cmpint(stored[i], ==, STORED_ALL_SET);
        }
    }
    g_assert_cmpint(wanted, ==, n_open());
    g_assert_cmpint(n_open(), <=, MAX(limit, most_asked));
    covers(draw(c, c->size), 1);
}

static void chaos_request(Chaos *c)
{
    Request *r = &workers[draw(c, WORKERS)];
    int n = draw(c, 5) ? 1 + draw(c, 3) : 1 + draw(c, c->size);
    int first = draw(c, MAX(c->size - n, 0) + 1);

    if (r->ret != 1) {
        c->done++;
        c->failed += r->ret < 0;
        start(r, first, MIN(n, c->size - first));
    }
}

static bool in_flight(void)
{
    for (int i = 0; i < WORKERS; i++) {
        if (workers[i].ret == 1) {
            return true;
        }
    }
    return storing != NULL;
}

static void chaos_step(Chaos *c)
{
    switch (draw(c, 16)) {
    case 0:
        if (c->quiet_done) {
            start_quiet(&c->quiet_done);
        }
        break;
    case 1:
        if (!in_flight()) {
            c->size = 1 + draw(c, MOST);
            start_resize(c->size * REGION);
        }
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        if (storing) {
            finish_store(draw(c, 12) ? 0 : -EIO);
        }
        break;
    default:
        chaos_request(c);
    }
}

static void test_random(void)
{
    for (uint32_t seed = 1; seed <= 150; seed++) {
        Chaos c = { .rand = g_rand_new_with_seed(seed), .quiet_done = true };

        c.size = 1 + draw(&c, MOST);
        memset(workers, 0, sizeof(workers));
        most_asked = 0;
        begin(c.size, 1 + draw(&c, 12));
        for (int step = 0; step < 400; step++) {
            chaos_step(&c);
            check_all(&c);
        }
        for (int i = 0; in_flight(); i++) { /* they come to an end */
            g_assert_cmpint(i, <, 100);
            finish_store(0);
            check_all(&c);
        }
        g_assert_true(c.quiet_done && c.done > c.failed);
        end();
        g_rand_free(c.rand);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bitmap-regions/open", test_open);
    g_test_add_func("/bitmap-regions/wanted-ranges", test_wanted_ranges);
    g_test_add_func("/bitmap-regions/wanted-runs", test_wanted_runs);
    g_test_add_func("/bitmap-regions/group-commit", test_group_commit);
    g_test_add_func("/bitmap-regions/failure", test_failure);
    g_test_add_func("/bitmap-regions/eviction", test_eviction);
    g_test_add_func("/bitmap-regions/eviction-fails", test_eviction_fails);
    g_test_add_func("/bitmap-regions/beyond-bound", test_request_beyond_bound);
    g_test_add_func("/bitmap-regions/ping-pong", test_ping_pong);
    g_test_add_func("/bitmap-regions/sequential", test_sequential);
    g_test_add_func("/bitmap-regions/quiet", test_quiet);
    g_test_add_func("/bitmap-regions/resize", test_resize);
    g_test_add_func("/bitmap-regions/random", test_random);
    return g_test_run();
}
