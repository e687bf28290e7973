/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Overlapping requests: which waits for which, and that none waits forever. */
#include "block/node-int.h"
#include "test-disk.h"

#define DISK_BYTES (64 * KiB)

typedef struct Fixture {
    TestDisk *disk;
    BlockDriverState *bs;
    BlockBackend *blk;
    int running;
    GString *order;
} Fixture;

static void fixture_init(Fixture *f, uint32_t align)
{
    *f = (Fixture) { .disk = test_disk_new(DISK_BYTES) };
    f->disk->bl.request_alignment = align;
    f->disk->latency_ns = 1;
    f->bs = test_open(f->disk, "{'driver': 'null-co', 'node-name': 'disk'}");
    f->blk = blk_new_with_bs(f->bs, BLK_PERM_CONSISTENT_READ |
                             BLK_PERM_WRITE, BLK_PERM_ALL, &error_abort);
    f->order = g_string_new(NULL);
}

static void fixture_free(Fixture *f)
{
    g_assert_true(LIST_EMPTY(&bdrv_node(f->bs)->requests));
    g_assert_cmpint(bdrv_node(f->bs)->serialising_in_flight, ==, 0);
    blk_unref(f->blk);
    bdrv_unref(f->bs);
    test_disk_free(f->disk);
    g_string_free(f->order, true);
}

typedef struct Request {
    Fixture *f;
    char name;
    int64_t offset, bytes;
    BdrvRequestFlags flags;
    bool read;
} Request;

static void coroutine_fn request_entry(void *opaque)
{
    Request *r = opaque;
    g_autofree uint8_t *buf = g_malloc(r->bytes);
    int ret;

    memset(buf, r->name, r->bytes);
    ret = r->read ? blk_co_pread(r->f->blk, r->offset, r->bytes, buf, r->flags)
                  : blk_co_pwrite(r->f->blk, r->offset, r->bytes, buf,
                                  r->flags);
    g_assert_cmpint(ret, ==, 0);
    g_string_append_c(r->f->order, r->name);
    r->f->running--;
}

/* Starts them in this order, waits for all. */
static void run(Fixture *f, Request *r, int n)
{
    f->running = n;
    for (int i = 0; i < n; i++) {
        r[i].f = f;
        coroutine_enter(coroutine_create(request_entry, &r[i]));
    }
    AIO_WAIT_WHILE(f->running > 0);
}

/* Two parts of one block: both survive. */
static void test_rmw(void)
{
    Request r[] = {
        { .name = 'a', .offset = 0, .bytes = 100 },
        { .name = 'b', .offset = 100, .bytes = 100 },
        { .name = 'c', .offset = 200, .bytes = 5000 },
    };
    Fixture f;

    fixture_init(&f, 4096);
    run(&f, r, 3);
    for (int i = 0; i < 3; i++) {
        g_assert_cmpint(f.disk->data[r[i].offset], ==, r[i].name);
        g_assert_cmpint(f.disk->data[r[i].offset + r[i].bytes - 1], ==,
                        r[i].name);
    }
    g_assert_cmpint(f.disk->most_inside, ==, 1);
    fixture_free(&f);
}

/* Aligned requests do not wait, even where they overlap. */
static void test_parallel(void)
{
    Request r[] = {
        { .name = 'a', .offset = 0, .bytes = 8192 },
        { .name = 'b', .offset = 4096, .bytes = 8192 },
        { .name = 'c', .offset = 0, .bytes = 4096, .read = true },
    };
    Fixture f;

    fixture_init(&f, 4096);
    run(&f, r, 3);
    g_assert_cmpint(f.disk->most_inside, ==, 3);
    fixture_free(&f);
}

/* A serialising request waits for those before it, and they for it. */
static void test_flag(void)
{
    Request r[] = {
        { .name = 'a', .offset = 0, .bytes = 4096 },
        { .name = 'b', .offset = 0, .bytes = 4096,
          .flags = BDRV_REQ_SERIALISING },
        { .name = 'c', .offset = 2048, .bytes = 4096 },
        { .name = 'd', .offset = 8192, .bytes = 512 },
    };
    Fixture f;

    fixture_init(&f, 512);
    run(&f, r, 4);
    g_assert_cmpint(strchr(f.order->str, 'a') - f.order->str, <,
                    strchr(f.order->str, 'b') - f.order->str);
    /* d touches none of them */
    g_assert_cmpint(strchr(f.order->str, 'd') - f.order->str, <,
                    strchr(f.order->str, 'b') - f.order->str);
    fixture_free(&f);
}

/* Many that overlap in chains: all end. */
static void test_no_deadlock(void)
{
    GRand *rand = g_rand_new_with_seed(5);

    for (int round = 0; round < 60; round++) {
        Request r[24];
        Fixture f;

        fixture_init(&f, 1u << (round % 13));
        for (int i = 0; i < 24; i++) {
            int64_t offset = g_rand_int_range(rand, 0, 20000);

            r[i] = (Request) {
                .name = 'a' + i,
                .offset = offset,
                .bytes = g_rand_int_range(rand, 1, 12000),
                .flags = g_rand_int_range(rand, 0, 3) ? 0
                         : BDRV_REQ_SERIALISING,
                .read = !g_rand_int_range(rand, 0, 4),
            };
        }
        run(&f, r, 24);
        /* every byte is of a writer of that range, or unwritten */
        for (int64_t b = 0; b < DISK_BYTES; b++) {
            bool found = !f.disk->data[b];

            for (int i = 0; i < 24 && !found; i++) {
                found = !r[i].read && f.disk->data[b] == r[i].name &&
                        b >= r[i].offset && b < r[i].offset + r[i].bytes;
            }
            g_assert_true(found);
        }
        fixture_free(&f);
    }
    g_rand_free(rand);
}

/* A drain waits for what is in flight. */
static void test_in_flight(void)
{
    Request r[] = { { .name = 'a', .offset = 0, .bytes = 512 } };
    Fixture f;

    fixture_init(&f, 512);
    r[0].f = &f;
    f.running = 1;
    coroutine_enter(coroutine_create(request_entry, r));
    g_assert_cmpint(bdrv_node(f.bs)->in_flight, ==, 1);
    bdrv_drained_begin(f.bs);
    g_assert_cmpint(bdrv_node(f.bs)->in_flight, ==, 0);
    g_assert_cmpint(f.running, ==, 0);
    bdrv_drained_end(f.bs);
    fixture_free(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/serialise/rmw", test_rmw);
    g_test_add_func("/serialise/parallel", test_parallel);
    g_test_add_func("/serialise/flag", test_flag);
    g_test_add_func("/serialise/no-deadlock", test_no_deadlock);
    g_test_add_func("/serialise/drain-waits", test_in_flight);
    return g_test_run();
}
