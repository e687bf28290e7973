/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The copy engine between two disks in memory. */
#include "qemu/osdep.h"
#include "block/block-copy.h"
#include "memory-driver.h"

const BlockDriver *const bdrv_drivers[] = {&bdrv_memory, NULL};

typedef struct Fixture {
    BlockDriverState *source, *target;
    BlockBackend *from, *to;
    BlockCopyState *s;
    ProgressMeter progress;
} Fixture;

static void set_up(Fixture *f, int64_t target_cluster, uint64_t min_cluster)
{
    uint8_t *data;

    memset(f, 0, sizeof(*f));
    f->source = memory_node("source");
    f->target = memory_node("target");
    f->from = blk_new_with_bs(f->source, BLK_PERM_CONSISTENT_READ,
                              BLK_PERM_ALL, &error_abort);
    f->to = blk_new_with_bs(f->target, BLK_PERM_WRITE, BLK_PERM_ALL,
                            &error_abort);
    data = memory_disk(f->source)->data;
    for (int64_t i = 0; i < MEMORY_BYTES; i++) {
        data[i] = i / 1000 + 1;
    }
    memory_disk(f->target)->cluster = target_cluster;
    f->s = block_copy_state_new(blk_root(f->from), blk_root(f->to),
                                min_cluster, &error_abort);
    block_copy_set_progress(f->s, &f->progress);
}

static void tear_down(Fixture *f)
{
    block_copy_state_free(f->s);
    blk_unref(f->from);
    blk_unref(f->to);
    bdrv_unref(f->source);
    bdrv_unref(f->target);
}

static void check_same(Fixture *f)
{
    g_assert(hbitmap_empty(block_copy_todo(f->s)));
    g_assert_cmpmem(memory_disk(f->source)->data, MEMORY_BYTES,
                    memory_disk(f->target)->data, MEMORY_BYTES);
}

static BlockCopyCall *start(Fixture *f, int max_workers, int64_t max_chunk)
{
    BlockCopyParams params = {
        .bytes = MEMORY_BYTES,
        .max_workers = max_workers,
        .max_chunk = max_chunk,
    };

    return block_copy_async(f->s, &params);
}

/* Runs the call to its end; 0 or -errno. */
static int finish_with(BlockCopyCall *call, BlockCopyError *error)
{
    int ret;

    while (!block_copy_call_finished(call)) {
        aio_poll(aio_main_context(), true);
    }
    ret = block_copy_call_status(call, error);
    g_assert_cmpint(error->ret, ==, ret);
    block_copy_call_free(call);
    return ret;
}

static int finish(BlockCopyCall *call, bool *error_is_read)
{
    BlockCopyError error;
    int ret = finish_with(call, &error);

    *error_is_read = error.is_read;
    return ret;
}

static void test_all(void)
{
    static const int workers[] = {1, 2, 64};
    static const int64_t chunks[] = {0, 64 * KiB, 100000};

    for (size_t i = 0; i < ARRAY_SIZE(workers) * ARRAY_SIZE(chunks); i++) {
        Fixture f;
        uint64_t current, total;
        bool is_read;

        set_up(&f, 0, 0);
        g_assert_cmpint(finish(start(&f, workers[i % 3], chunks[i / 3]),
                               &is_read), ==, 0);
        check_same(&f);
        progress_get(&f.progress, &current, &total);
        g_assert_cmpint(current, ==, MEMORY_BYTES);
        g_assert_cmpint(total, ==, MEMORY_BYTES);
        g_assert_cmpint(memory_disk(f.target)->max_requests, <=,
                        workers[i % 3]);
        tear_down(&f);
    }
}

static void test_cluster_size(void)
{
    static const int64_t sizes[][3] = {
        /* target, least, result */
        {0, 0, 64 * KiB},
        {4 * KiB, 0, 64 * KiB},
        {1 * MiB, 0, 1 * MiB},
        {0, 4 * KiB, 64 * KiB},
        {0, 2 * MiB, 2 * MiB},
        {1 * MiB, 128 * KiB, 1 * MiB},
        {0, 1, 64 * KiB},
        {0, 2 * GiB, 2 * GiB},
        {0, 4 * GiB, 2 * GiB},
        {0, INT64_C(1) << 62, 2 * GiB},
    };
    Error *err = NULL;
    Fixture f;

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        bool is_read;

        set_up(&f, sizes[i][0], sizes[i][1]);
        g_assert_cmpint(block_copy_cluster_size(f.s), ==, sizes[i][2]);
        g_assert_cmpint(finish(start(&f, 4, 0), &is_read), ==, 0);
        check_same(&f);
        tear_down(&f);
    }
    set_up(&f, 0, 0);
    g_assert(!block_copy_state_new(blk_root(f.from), blk_root(f.to), 3,
                                   &err));
    error_free(err);
    err = NULL;
    g_assert(!block_copy_state_new(blk_root(f.from), blk_root(f.to),
                                   UINT64_C(1) << 63, &err));
    error_free(err);
    tear_down(&f);
}

/* Only failed clusters are left; a second call copies them. */
static void test_failure(void)
{
    for (int n = 1; n <= 8; n++) {
        for (int read = 0; read <= 1; read++) {
            const bool *written;
            const HBitmap *todo;
            bool is_read;
            Fixture f;

            set_up(&f, 0, 0);
            memory_disk(f.source)->error = memory_disk(f.target)->error = EIO;
            memory_disk(f.source)->fail_read = read ? n : 0;
            memory_disk(f.target)->fail_write = read ? 0 : n;
            if (finish(start(&f, 1, 512 * KiB), &is_read) < 0) {
                g_assert_cmpint(is_read, ==, read);
                todo = block_copy_todo(f.s);
                written = memory_disk(f.target)->written;
                for (int i = 0; i < MEMORY_UNITS; i++) {
                    g_assert_cmpint(hbitmap_get(todo, i * MEMORY_UNIT), ==,
                                    !written[i]);
                }
                g_assert_cmpint(finish(start(&f, 3, 0), &is_read), ==, 0);
            }
            check_same(&f);
            tear_down(&f);
        }
    }
}

/* The first chunk is free, the second would be due in years. */
static void test_speed(void)
{
    uint64_t current, total;
    BlockCopyCall *call;
    bool is_read;
    Fixture f;

    set_up(&f, 0, 0);
    block_copy_set_speed(f.s, 1);
    call = start(&f, 4, 0);
    do {
        aio_poll(aio_main_context(), true);
        progress_get(&f.progress, &current, &total);
    } while (!current);
    g_assert_cmpint(current, <=, MiB);
    g_assert(!block_copy_call_finished(call));
    /* Where nothing is left there is nothing to wait for. */
    hbitmap_reset_all(block_copy_todo(f.s));
    block_copy_call_kick(call);
    g_assert_cmpint(finish(call, &is_read), ==, 0);
    tear_down(&f);
}

/* --- guest writes --- */

typedef struct GuestCopy {
    Fixture *f;
    int64_t offset, bytes;
    int ret;
    BlockCopyError error;
    bool done;
} GuestCopy;

static void coroutine_fn guest_copy(void *opaque)
{
    GuestCopy *g = opaque;

    g->ret = block_copy(g->f->s, g->offset, g->bytes, &g->error);
    g->done = true;
}

/* A guest write waits for its own cluster only, not for the job. */
static void test_guest(void)
{
    GuestCopy g = {.offset = 3 * MiB, .bytes = 64 * KiB};
    BlockCopyCall *call;
    bool is_read;
    Fixture f;

    set_up(&f, 0, 0);
    g.f = &f;
    block_copy_set_speed(f.s, 1);
    call = start(&f, 4, 0);
    coroutine_enter(coroutine_create(guest_copy, &g));
    AIO_WAIT_WHILE(!g.done);
    g_assert_cmpint(g.ret, ==, 0);
    g_assert(!block_copy_call_finished(call));
    g_assert(!hbitmap_get(block_copy_todo(f.s), g.offset));
    g_assert(hbitmap_get(block_copy_todo(f.s), g.offset - 1));
    block_copy_set_speed(f.s, 0);
    block_copy_call_kick(call);
    g_assert_cmpint(finish(call, &is_read), ==, 0);
    check_same(&f);
    tear_down(&f);
}

/* It waits for another copy of its cluster, and retries if that fails. */
static void test_guest_conflict(void)
{
    GuestCopy g = {.offset = 64 * KiB, .bytes = 64 * KiB};
    BlockCopyCall *call;
    bool is_read;
    Fixture f;

    set_up(&f, 0, 0);
    g.f = &f;
    memory_disk(f.target)->error = EIO;
    memory_disk(f.target)->fail_write = 1;
    call = start(&f, 1, 0); /* the first MiB is on its way */
    coroutine_enter(coroutine_create(guest_copy, &g));
    g_assert(!g.done);
    g_assert_cmpint(finish(call, &is_read), ==, -EIO);
    AIO_WAIT_WHILE(!g.done);
    g_assert_cmpint(g.ret, ==, 0);
    /* By clusters the rest of the chunk was copied, too. */
    g_assert_cmpint(hbitmap_next_dirty(block_copy_todo(f.s), 0, INT64_MAX),
                    ==, 1 * MiB);
    tear_down(&f);
}

/* An area whose source changes meanwhile does not count as copied. */
static void test_spoiled(void)
{
    BlockCopyCall *call;
    bool is_read;
    Fixture f;

    set_up(&f, 0, 0);
    call = start(&f, 1, 0); /* the first MiB is on its way */
    block_copy_spoil(f.s, 100, 1);
    block_copy_spoil(f.s, 3 * MiB, 64 * KiB); /* not in flight */
    block_copy_call_cancel(call);
    g_assert_cmpint(finish(call, &is_read), ==, 0);
    g_assert(hbitmap_get(block_copy_todo(f.s), 0));
    g_assert_cmpint(finish(start(&f, 1, 0), &is_read), ==, 0);
    g_assert_cmpint(hbitmap_count(block_copy_todo(f.s)), ==, 0);
    check_same(&f);
    tear_down(&f);
}

/* --- bad places --- */

#define CLUSTER (64 * KiB)
#define CLUSTERS DIV_ROUND_UP(MEMORY_BYTES, CLUSTER)

/*
 * Some clusters of the first chunk are bad: they are left, and the error names
 * the first.  Later chunks are not begun.  From host file to host file, by the
 * kernel, and in the general path.
 */
static void test_bad_clusters(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);

    for (int i = 0; i < 200; i++) {
        bool bad[CLUSTERS] = {false}, on_source = i % 2;
        int n = g_rand_int_range(rand, 1, 15), first = CLUSTERS;
        BlockCopyError error;
        MemoryDisk *d;
        Fixture f;

        set_up(&f, 0, 0);
        memory_disk(f.source)->host = memory_disk(f.target)->host = i % 4 < 2;
        block_copy_set_method(f.s, i % 8 < 4, false);
        d = memory_disk(on_source ? f.source : f.target);
        for (; n > 0; n--) {
            int at = g_rand_int_range(rand, 1, 16);

            bad[at] = d->bad[at * 16 + g_rand_int_range(rand, 0, 16)] = true;
            first = MIN(first, at);
        }
        g_assert_cmpint(finish_with(start(&f, 1, 0), &error), ==, -EIO);
        g_assert_cmpint(error.is_read, ==, on_source);
        g_assert_cmpint(error.offset, ==, first * CLUSTER);
        g_assert_cmpint(error.bytes, ==, CLUSTER);
        for (int c = 0; c < CLUSTERS; c++) {
            g_assert_cmpint(hbitmap_get(block_copy_todo(f.s), c * CLUSTER),
                            ==, bad[c] || c >= 16);
        }
        memset(d->bad, 0, sizeof(d->bad));
        g_assert_cmpint(finish_with(start(&f, 4, 0), &error), ==, 0);
        check_same(&f);
        tear_down(&f);
    }
}

/* The cluster at the disk's end, in zeroes that are copied as one area. */
static void test_bad_end(void)
{
    BlockCopyError error;
    Fixture f;

    set_up(&f, 0, 0);
    memory_disk(f.source)->zeroes_from = 512 * KiB;
    memset(memory_disk(f.source)->data + 512 * KiB, 0,
           MEMORY_BYTES - 512 * KiB);
    memory_disk(f.target)->bad[MEMORY_UNITS - 1] = true;
    g_assert_cmpint(finish_with(start(&f, 2, 0), &error), ==, -EIO);
    g_assert(!error.is_read);
    g_assert_cmpint(error.offset, ==, 4 * MiB);
    g_assert_cmpint(error.bytes, ==, MEMORY_BYTES - 4 * MiB);
    g_assert_cmpint(hbitmap_next_dirty(block_copy_todo(f.s), 0, INT64_MAX),
                    ==, 4 * MiB);
    tear_down(&f);
}

static MemoryDisk *dead_disk;

/* A retry fails in another way. */
static void coroutine_fn next_error(int64_t offset, int64_t bytes)
{
    if (bytes == CLUSTER) {
        dead_disk->error = ENOTCONN;
    }
}

/* Not every cluster of a dead target is retried. */
static void test_dead(void)
{
    static const int workers[] = {1, 64};
    BlockCopyError error;
    Fixture f;

    for (size_t i = 0; i < ARRAY_SIZE(workers); i++) {
        set_up(&f, 0, 0);
        dead_disk = memory_disk(f.target);
        dead_disk->error = EIO;
        dead_disk->fail_write = 1;
        dead_disk->fail_on = true;
        dead_disk->on_write = next_error;
        g_assert_cmpint(finish_with(start(&f, workers[i], 0), &error), ==,
                        -EIO);
        g_assert_cmpint(error.offset, ==, 0);
        /* Each chunk once; of one the first, last and middle cluster. */
        g_assert_cmpint(dead_disk->writes, <=, MIN(workers[i], 5) + 3);
        g_assert_cmpint(hbitmap_count(block_copy_todo(f.s)), ==,
                        MEMORY_BYTES);
        tear_down(&f);
    }
}

/* A transient error is reported, but nothing is left. */
static void test_once(void)
{
    GuestCopy g = {.bytes = MiB};
    BlockCopyError error;
    Fixture f;

    set_up(&f, 0, 0);
    g.f = &f;
    memory_disk(f.target)->error = EIO;
    memory_disk(f.target)->fail_write = 1;
    g_assert_cmpint(finish_with(start(&f, 1, 0), &error), ==, -EIO);
    g_assert_cmpint(error.offset, ==, 0);
    g_assert_cmpint(error.bytes, ==, MiB);
    g_assert_cmpint(hbitmap_next_dirty(block_copy_todo(f.s), 0, INT64_MAX),
                    ==, MiB);
    /* A guest's write continues if its old data was saved. */
    memory_disk(f.target)->fail_write = 1;
    g.offset = MiB;
    coroutine_enter(coroutine_create(guest_copy, &g));
    AIO_WAIT_WHILE(!g.done);
    g_assert_cmpint(g.ret, ==, 0);
    g_assert_cmpint(hbitmap_next_dirty(block_copy_todo(f.s), 0, INT64_MAX),
                    ==, 2 * MiB);
    /* But not if one cluster cannot be saved. */
    memory_disk(f.target)->bad[2 * MiB / MEMORY_UNIT + 100] = true;
    g.offset = 2 * MiB;
    g.done = false;
    coroutine_enter(coroutine_create(guest_copy, &g));
    AIO_WAIT_WHILE(!g.done);
    g_assert_cmpint(g.ret, ==, -EIO);
    g_assert_cmpint(g.error.offset, ==, 2 * MiB + 6 * CLUSTER);
    tear_down(&f);
}

static BlockCopyCall *retrying_call;

/* The first cluster that is tried by itself. */
static void coroutine_fn cancel_in_retry(int64_t offset, int64_t bytes)
{
    if (bytes == CLUSTER) {
        block_copy_call_cancel(retrying_call);
    }
}

/* A cancelled call does not retry all clusters first. */
static void test_cancel_in_retry(void)
{
    BlockCopyError error;
    Fixture f;

    set_up(&f, 0, 0);
    memory_disk(f.target)->bad[17] = true;
    memory_disk(f.target)->on_write = cancel_in_retry;
    retrying_call = start(&f, 2, 0);
    g_assert_cmpint(finish_with(retrying_call, &error), ==, -EIO);
    g_assert_cmpint(hbitmap_next_dirty(block_copy_todo(f.s), 0, MiB), ==,
                    CLUSTER);
    g_assert_cmpint(hbitmap_next_zero(block_copy_todo(f.s), CLUSTER,
                                      MiB - CLUSTER), ==, -1);
    tear_down(&f);
}

/* Random writes beside the job never change what is copied. */
static void test_random(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);

    for (int i = 0; i < 30; i++) {
        g_autofree uint8_t *start_data = NULL;
        BlockCopyCall *call;
        MemoryDisk *d;
        bool is_read;
        Fixture f;

        set_up(&f, 0, 0);
        d = memory_disk(f.source);
        d->host = memory_disk(f.target)->host = i % 2;
        start_data = g_memdup2(d->data, MEMORY_BYTES);
        call = start(&f, g_rand_int_range(rand, 1, 8), 0);
        while (!block_copy_call_finished(call)) {
            int64_t cluster = g_rand_int_range(rand, 0, MEMORY_BYTES /
                                                            (64 * KiB));
            GuestCopy g = {&f, cluster * 64 * KiB, 64 * KiB};

            coroutine_enter(coroutine_create(guest_copy, &g));
            AIO_WAIT_WHILE(!g.done);
            g_assert_cmpint(g.ret, ==, 0);
            memset(d->data + g.offset, 0xff, g.bytes);
            aio_poll(aio_main_context(), false);
        }
        g_assert_cmpint(finish(call, &is_read), ==, 0);
        g_assert_cmpmem(memory_disk(f.target)->data, MEMORY_BYTES, start_data,
                        MEMORY_BYTES);
        tear_down(&f);
    }
}

static void test_cancel(void)
{
    BlockCopyError error;
    BlockCopyCall *call;
    bool is_read;
    Fixture f;

    set_up(&f, 0, 0);
    call = start(&f, 2, 64 * KiB);
    block_copy_call_cancel(call);
    while (!block_copy_call_finished(call)) {
        aio_poll(aio_main_context(), true);
    }
    g_assert(block_copy_call_cancelled(call));
    g_assert_cmpint(block_copy_call_status(call, &error), ==, 0);
    block_copy_call_free(call);
    g_assert(!hbitmap_empty(block_copy_todo(f.s)));
    g_assert_cmpint(finish(start(&f, 2, 0), &is_read), ==, 0);
    check_same(&f);
    tear_down(&f);
}

static int n_status;

/* The status is queried at first, and then again after each run. */
static void coroutine_fn third_status_yields(int64_t offset)
{
    if (++n_status == 3) {
        co_yield_to_loop();
    }
}

/* It comes while the next area is looked for, which would be due in years. */
static void test_cancel_before_sleep(void)
{
    BlockCopyCall *call;
    bool is_read;
    Fixture f;

    set_up(&f, 0, 0);
    memset(memory_disk(f.source)->data + 1 * MiB, 0, MEMORY_BYTES - 1 * MiB);
    memory_disk(f.source)->zeroes_from = 1 * MiB;
    memory_disk(f.source)->on_status = third_status_yields;
    n_status = 0;
    block_copy_set_speed(f.s, 1);
    call = start(&f, 4, 0);
    g_assert_cmpint(n_status, ==, 3);
    block_copy_call_cancel(call);
    for (int i = 0; i < 1000; i++) {
        aio_poll(aio_main_context(), false);
    }
    g_assert(block_copy_call_finished(call));
    g_assert(block_copy_call_cancelled(call));
    g_assert_cmpint(finish(call, &is_read), ==, 0);
    g_assert(hbitmap_get(block_copy_todo(f.s), 1 * MiB));
    tear_down(&f);
}

/* Only what is asked for, and clusters as a whole, is written. */
static void test_todo(void)
{
    HBitmap *bits = hbitmap_new(MEMORY_BYTES, 4 * KiB);
    bool is_read;
    Fixture f;

    hbitmap_set(bits, 70 * KiB, 1);
    hbitmap_set(bits, MEMORY_BYTES - 1, 1);
    set_up(&f, 0, 0);
    block_copy_set_todo(f.s, bits);
    g_assert_cmpint(finish(start(&f, 2, 0), &is_read), ==, 0);
    for (int i = 0; i < MEMORY_UNITS; i++) {
        int cluster = i / 16;

        g_assert_cmpint(memory_disk(f.target)->written[i], ==,
                        cluster == 1 || cluster == 64);
    }
    hbitmap_free(bits);
    tear_down(&f);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/block-copy/all", test_all);
    g_test_add_func("/block-copy/cluster-size", test_cluster_size);
    g_test_add_func("/block-copy/failure", test_failure);
    g_test_add_func("/block-copy/speed", test_speed);
    g_test_add_func("/block-copy/guest", test_guest);
    g_test_add_func("/block-copy/guest-conflict", test_guest_conflict);
    g_test_add_func("/block-copy/spoiled", test_spoiled);
    g_test_add_func("/block-copy/bad-clusters", test_bad_clusters);
    g_test_add_func("/block-copy/bad-end", test_bad_end);
    g_test_add_func("/block-copy/dead", test_dead);
    g_test_add_func("/block-copy/once", test_once);
    g_test_add_func("/block-copy/cancel-in-retry", test_cancel_in_retry);
    g_test_add_func("/block-copy/random", test_random);
    g_test_add_func("/block-copy/cancel", test_cancel);
    g_test_add_func("/block-copy/cancel-before-sleep",
                    test_cancel_before_sleep);
    g_test_add_func("/block-copy/todo", test_todo);
    ret = g_test_run();
    bdrv_close_all();
    aio_main_cleanup();
    return ret;
}
