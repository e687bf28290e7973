/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trees of nodes in threads: moves, drains and ends under load. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/node-int.h"
#include "block/throttle-group.h"
#include "qemu/iothread.h"
#include <json-c/json.h>

extern const BlockDriver bdrv_null_co, bdrv_throttle;

const BlockDriver *const bdrv_drivers[] = {
    &bdrv_null_co, &bdrv_throttle, NULL,
};

#define WORKERS 4
#define MOVES 200

/* --- a disk with a filter, and a user that sends requests all the time --- */

typedef struct User {
    BlockBackend *blk;
    int running;
    bool stop;
    int64_t requests;
} User;

static BlockDriverState *open_json(const char *format, const char *name)
{
    g_autofree char *quoted = g_strdup_printf(format, name, name);
    g_autofree char *text = g_strdelimit(g_strdup(quoted), "'", '"');
    struct json_object *obj = json_tokener_parse(text);
    g_autoptr(BlockdevOptions) options = NULL;

    options = bdrv_options_from_json(obj, false, &error_abort);
    json_object_put(obj);
    return bdrv_open(options, 0, &error_abort);
}

static BlockDriverState *open_disk(const char *name)
{
    return open_json("{'driver':'throttle','node-name':'%s',"
                     "'throttle-group':'g','file':{'driver':'null-co',"
                     "'node-name':'%s-disk','size':1048576,"
                     "'latency-ns':1000}}", name);
}

/* As an export does it: to the thread of the handle, wherever that is now. */
static void coroutine_fn follow(User *u)
{
    while (aio_current_context() != blk_get_aio_context(u->blk)) {
        co_move_to(blk_get_aio_context(u->blk));
    }
}

static void coroutine_fn user_entry(void *opaque)
{
    User *u = opaque;
    uint8_t buf[512];

    for (int i = 0; !u->stop; i++) {
        follow(u);
        if (u->stop) {
            break;
        }
        g_assert_cmpint(i % 2 ? blk_co_pread(u->blk, 0, 512, buf, 0)
                              : blk_co_pwrite(u->blk, 512, 512, buf, 0),
                        ==, 0);
        u->requests++;
        if (i % 16 == 0) {
            co_yield_to_loop();
        }
    }
    u->running--;
}

static void user_begin(User *u, BlockDriverState *bs)
{
    u->blk = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                             BLK_PERM_ALL, &error_abort);
    u->running = WORKERS;
    for (int i = 0; i < WORKERS; i++) {
        aio_co_enter(bs->ctx, coroutine_create(user_entry, u));
    }
}

static void user_end(User *u)
{
    u->stop = true;
    AIO_WAIT_WHILE(u->running > 0);
    g_clear_pointer(&u->blk, blk_unref);
}

static void wait_for_requests(const User *u)
{
    int64_t before = u->requests;

    AIO_WAIT_WHILE(u->requests - before < 4);
}

typedef struct Bench {
    ThrottleGroup *group;
    IOThread *threads[2];
    AioContext *ctx[3]; /* main, and of the threads */
} Bench;

static void bench_begin(Bench *b)
{
    ThrottleConfig config;

    throttle_config_init(&config);
    b->group = throttle_group_new("g", &config, &error_abort);
    b->ctx[0] = aio_main_context();
    for (int i = 0; i < 2; i++) {
        b->threads[i] = iothread_new("t", &error_abort);
        b->ctx[i + 1] = iothread_context(b->threads[i]);
    }
}

static void bench_end(Bench *b)
{
    g_assert_null(bdrv_next_node(NULL));
    g_assert_true(throttle_group_del("g", &error_abort));
    iothread_free(b->threads[0]);
    iothread_free(b->threads[1]);
}

/* --- tests --- */

static void test_move(void)
{
    Bench b;
    User u = { .stop = false };
    g_autoptr(BlockDriverState) bs = NULL;

    bench_begin(&b);
    bs = open_disk("d");
    user_begin(&u, bs);
    for (int i = 0; i < MOVES; i++) {
        AioContext *ctx = b.ctx[i % 3];

        g_assert_true(bdrv_try_set_aio_context(bs, ctx, &error_abort));
        g_assert_true(bs->ctx == ctx && bs->file->bs->ctx == ctx);
        g_assert_true(blk_get_aio_context(u.blk) == ctx);
        wait_for_requests(&u);
    }
    user_end(&u);
    /* It has no users now. */
    g_assert_true(bs->ctx == b.ctx[0]);
    g_clear_pointer(&bs, bdrv_unref);
    bench_end(&b);
}

/* A handle that cannot move prevents a move of all connected nodes. */
static void test_fixed(void)
{
    Bench b;
    BlockBackend *blk, *other;
    g_autoptr(BlockDriverState) bs = NULL;
    Error *err = NULL;

    bench_begin(&b);
    bs = open_disk("d");
    blk = blk_new(b.ctx[1], 0, BLK_PERM_ALL);
    blk_fix_aio_context(blk, true);
    g_assert_true(blk_insert_bs(blk, bs, &error_abort));
    g_assert_true(bs->ctx == b.ctx[1]);
    g_assert_false(bdrv_try_set_aio_context(bs->file->bs, b.ctx[2], &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Cannot move node 'd-disk' to another thread: node 'd', "
                    "which is connected with it, is used by an unnamed block "
                    "device, which cannot change its thread");
    g_clear_pointer(&err, error_free);
    other = blk_new(b.ctx[2], 0, BLK_PERM_ALL);
    blk_fix_aio_context(other, true);
    g_assert_false(blk_insert_bs(other, bs, &err));
    g_clear_pointer(&err, error_free);
    blk_unref(other);
    g_assert_true(bs->ctx == b.ctx[1]);
    blk_unref(blk);
    g_assert_true(bs->ctx == b.ctx[0]);
    g_clear_pointer(&bs, bdrv_unref);
    bench_end(&b);
}

static void test_drain(void)
{
    Bench b;
    User u[2] = {};
    BlockDriverState *bs[2];

    bench_begin(&b);
    for (int i = 0; i < 2; i++) {
        bs[i] = open_disk(i ? "e" : "d");
        g_assert_true(bdrv_try_set_aio_context(bs[i], b.ctx[i + 1],
                                               &error_abort));
        user_begin(&u[i], bs[i]);
    }
    for (int round = 0; round < MOVES; round++) {
        int64_t before[2];

        bdrv_drain_all_begin();
        before[0] = u[0].requests;
        before[1] = u[1].requests;
        for (int i = 0; i < 10; i++) {
            aio_poll(aio_main_context(), false);
        }
        g_assert_cmpint(bdrv_node(bs[0])->in_flight, ==, 0);
        g_assert_cmpint(bdrv_node(bs[1])->in_flight, ==, 0);
        g_assert_cmpint(u[0].requests - before[0], <=, WORKERS);
        g_assert_cmpint(u[1].requests - before[1], <=, WORKERS);
        bdrv_drain_all_end();
        bdrv_drained_begin(bs[0]->file->bs);
        g_assert_cmpint(bdrv_node(bs[0])->in_flight, ==, 0);
        wait_for_requests(&u[1]); /* the other goes on */
        bdrv_drained_end(bs[0]->file->bs);
        wait_for_requests(&u[0]);
    }
    for (int i = 0; i < 2; i++) {
        user_end(&u[i]);
        bdrv_unref(bs[i]);
    }
    bench_end(&b);
}

/* --- draining from a coroutine of the thread --- */

typedef struct Drainer {
    BlockDriverState *bs;
    int rounds;
} Drainer;

static void coroutine_fn drain_entry(void *opaque)
{
    Drainer *d = opaque;
    AioContext *ctx = aio_current_context();

    for (int i = 0; i < MOVES; i++) {
        bdrv_drained_begin(d->bs);
        g_assert_true(aio_current_context() == ctx);
        g_assert_cmpint(bdrv_node(d->bs)->in_flight, ==, 0);
        bdrv_drained_end(d->bs);
        d->rounds++;
    }
}

static void test_drain_inside(void)
{
    Bench b;
    User u = { .stop = false };
    Drainer d = { .rounds = 0 };

    bench_begin(&b);
    d.bs = open_disk("d");
    g_assert_true(bdrv_try_set_aio_context(d.bs, b.ctx[1], &error_abort));
    user_begin(&u, d.bs);
    aio_co_enter(b.ctx[1], coroutine_create(drain_entry, &d));
    AIO_WAIT_WHILE(d.rounds < MOVES);
    user_end(&u);
    bdrv_unref(d.bs);
    bench_end(&b);
}

/* --- a group whose members are in three threads --- */

static void test_throttle(void)
{
    ThrottleConfig config;
    Bench b;
    User u[3] = {};
    BlockDriverState *bs[3];
    int64_t begin = aio_now_ns(), total = 0;

    bench_begin(&b);
    throttle_config_init(&config);
    config.limit[THROTTLE_OPS_TOTAL].avg = 2000;
    g_assert_true(throttle_group_set_config(b.group, &config, &error_abort));
    for (int i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("d%d", i);

        bs[i] = open_disk(name);
        g_assert_true(bdrv_try_set_aio_context(bs[i], b.ctx[i], &error_abort));
        user_begin(&u[i], bs[i]);
    }
    for (int i = 0; i < 20; i++) {
        for (int j = 0; j < 3; j++) {
            wait_for_requests(&u[j]); /* no user starves */
        }
    }
    for (int i = 0; i < 3; i++) {
        total += u[i].requests;
    }
    /* More than allowed never goes, however long it takes; a burst aside. */
    g_assert_cmpint(total, <=, 1000 + (aio_now_ns() - begin) / 500000);
    for (int i = 0; i < 3; i++) {
        user_end(&u[i]);
        bdrv_unref(bs[i]);
    }
    bench_end(&b);
}

/* --- coroutines of the main thread, and nodes that move meanwhile --- */

typedef struct MainCall {
    BlockDriverState *bs;
    BlockBackend *blk;
    bool done;
} MainCall;

static void coroutine_fn attach_entry(void *opaque)
{
    MainCall *c = opaque;

    c->blk = blk_new_with_bs(c->bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                             &error_abort);
    c->done = true;
}

/* As block_resize makes its handle: in a coroutine, which yields for it. */
static void test_attach_while_moved(void)
{
    Bench b;
    MainCall c = {};

    bench_begin(&b);
    c.bs = open_disk("d");
    g_assert_true(bdrv_try_set_aio_context(c.bs, b.ctx[1], &error_abort));
    coroutine_enter(coroutine_create(attach_entry, &c));
    g_assert_false(c.done);
    g_assert_true(bdrv_try_set_aio_context(c.bs, b.ctx[0], &error_abort));
    AIO_WAIT_WHILE(!c.done);
    g_assert_true(blk_get_aio_context(c.blk) == c.bs->ctx);
    blk_unref(c.blk);
    bdrv_unref(c.bs);
    bench_end(&b);
}

static void coroutine_fn read_entry(void *opaque)
{
    MainCall *c = opaque;
    uint8_t buf[512];

    g_assert_cmpint(blk_pread(c->blk, 0, 512, buf, 0), ==, 0);
    g_assert_true(aio_current_context() == aio_main_context());
    c->done = true;
}

/* A request that a coroutine of the main thread has just sent to the node. */
static void test_request_while_moved(void)
{
    Bench b;

    bench_begin(&b);
    for (int i = 0; i < 20; i++) {
        MainCall c = {
            .bs = open_json("{'driver':'throttle','node-name':'%s',"
                            "'throttle-group':'g','file':{'driver':'null-co',"
                            "'node-name':'%s-disk','size':1048576,"
                            "'latency-ns':5000000}}", "d"),
        };

        g_assert_true(bdrv_try_set_aio_context(c.bs, b.ctx[1], &error_abort));
        c.blk = blk_new_unqueued(c.bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                                 NULL, &error_abort);
        coroutine_enter(coroutine_create(read_entry, &c));
        g_assert_true(bdrv_try_set_aio_context(c.bs, b.ctx[2], &error_abort));
        /* None was in flight while it was moved. */
        g_assert_cmpint(bdrv_node(c.bs)->in_flight, ==, 0);
        AIO_WAIT_WHILE(!c.done);
        blk_unref(c.blk);
        bdrv_unref(c.bs);
    }
    bench_end(&b);
}

int main(int argc, char **argv)
{
    int ret;

    aio_main_init(&error_fatal);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/context/move", test_move);
    g_test_add_func("/context/fixed", test_fixed);
    g_test_add_func("/context/drain", test_drain);
    g_test_add_func("/context/drain-inside", test_drain_inside);
    g_test_add_func("/context/throttle", test_throttle);
    g_test_add_func("/context/attach-while-moved", test_attach_while_moved);
    g_test_add_func("/context/request-while-moved",
                    test_request_while_moved);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
