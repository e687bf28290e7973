/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mover alone, between two disks in memory: each of its methods. */
#include "qemu/osdep.h"
#include "block/copy-mover.h"
#include "memory-driver.h"
#include "qemu/iothread.h"

const BlockDriver *const bdrv_drivers[] = {&bdrv_memory, NULL};

#define PIECE (64 * KiB)
#define PIECES 64

typedef struct Fixture {
    BlockDriverState *source, *target;
    BlockBackend *from, *to;
    CopyMover *m;
} Fixture;

typedef struct Call {
    Fixture *f;
    CopyArea area;
    bool urgent, hurry, done, is_read;
    int ret;
} Call;

static void set_up(Fixture *f, bool host)
{
    CopyMoverParams params = {.unit = 64 * KiB};

    f->source = memory_node("source");
    f->target = memory_node("target");
    f->from = blk_new_with_bs(f->source, BLK_PERM_CONSISTENT_READ,
                              BLK_PERM_ALL, &error_abort);
    f->to = blk_new_with_bs(f->target, BLK_PERM_WRITE, BLK_PERM_ALL,
                            &error_abort);
    memory_disk(f->source)->host = memory_disk(f->target)->host = host;
    for (int64_t i = 0; i < MEMORY_BYTES; i++) {
        memory_disk(f->source)->data[i] = i / 1000 + 1;
    }
    f->m = copy_mover_new(blk_root(f->from), blk_root(f->to), &params);
}

static void tear_down(Fixture *f)
{
    copy_mover_free(f->m);
    blk_unref(f->from);
    blk_unref(f->to);
    bdrv_unref(f->source);
    bdrv_unref(f->target);
}

static void coroutine_fn move_entry(void *opaque)
{
    Call *call = opaque;

    if (call->hurry) {
        copy_mover_hurry(call->f->m, call->area.offset, call->area.bytes);
    }
    call->ret = copy_mover_move(call->f->m, &call->area, call->urgent,
                                &call->is_read);
    call->done = true;
}

static int move(Fixture *f, CopyKind kind, int64_t offset, int64_t bytes,
                bool *is_read)
{
    Call call = {.f = f, .area = {offset, bytes, kind}};

    coroutine_enter(coroutine_create(move_entry, &call));
    AIO_WAIT_WHILE(!call.done);
    *is_read = call.is_read;
    return call.ret;
}

static void check_same(Fixture *f)
{
    g_assert_cmpmem(memory_disk(f->source)->data, MEMORY_BYTES,
                    memory_disk(f->target)->data, MEMORY_BYTES);
}

static void test_ways(void)
{
    for (int host = 0; host < 2; host++) {
        bool is_read;
        Fixture f;

        set_up(&f, host);
        g_assert_cmpint(move(&f, COPY_DATA, 0, MEMORY_BYTES, &is_read), ==,
                        0);
        check_same(&f);
        g_assert_cmpint(copy_mover_is_fast(f.m), ==, host);
        g_assert_cmpint(move(&f, COPY_ZERO, MiB, PIECE, &is_read), ==, 0);
        g_assert_cmpint(memory_disk(f.target)->data[MiB], ==, 0);
        tear_down(&f);
    }
}

/* Which side it was; between host files it is found out by a second try. */
static void test_errors(void)
{
    for (int i = 0; i < 4; i++) {
        bool read = i % 2, is_read;
        Fixture f;

        set_up(&f, i / 2);
        memory_disk(read ? f.source : f.target)->bad[5] = true;
        g_assert_cmpint(move(&f, COPY_DATA, 0, MiB, &is_read), ==, -EIO);
        g_assert_cmpint(is_read, ==, read);
        tear_down(&f);
    }
}

/* Many at a time, small and large, some of them urgent. */
static void test_many(void)
{
    for (int round = 0; round < 20; round++) {
        Call calls[PIECES];
        Fixture f;
        int done = 0;

        set_up(&f, true);
        for (int i = 0; i < PIECES; i++) {
            int64_t at = i * (int64_t)PIECE;
            int64_t bytes = i == PIECES - 1 ? MEMORY_BYTES - at : PIECE;

            calls[i] = (Call) {
                .f = &f,
                .area = {at, bytes, COPY_DATA},
                .urgent = (i + round) % 7 == 0,
                .hurry = (i + round) % 11 == 0,
            };
            coroutine_enter(coroutine_create(move_entry, &calls[i]));
        }
        while (done < PIECES) {
            aio_poll(aio_main_context(), true);
            done = 0;
            for (int i = 0; i < PIECES; i++) {
                done += calls[i].done && calls[i].ret == 0;
            }
        }
        check_same(&f);
        tear_down(&f);
    }
}

/* --- with a unit of zeroes of another size --- */

typedef struct HostCall {
    Fixture *f;
    CopyHostMove h;
    int placed;
    bool ok, mixed, done;
} HostCall;

static void placed(void *opaque)
{
    ((HostCall *)opaque)->placed++;
}

static void coroutine_fn host_entry(void *opaque)
{
    HostCall *call = opaque;

    call->ok = copy_mover_try_host(call->f->m, &call->h, &call->mixed);
    call->done = true;
}

static HostCall try_host(Fixture *f, int64_t zero_unit)
{
    HostCall call = {
        .f = f,
        .h = {
            .source = blk_root(f->from), .source_offset = MiB,
            .bytes = MiB, .zero_unit = zero_unit, .placed = placed,
        },
    };

    call.h.opaque = &call;
    coroutine_enter(coroutine_create(host_entry, &call));
    AIO_WAIT_WHILE(!call.done);
    return call;
}

static void test_try_host(void)
{
    HostCall call;
    Fixture f;

    set_up(&f, false);
    call = try_host(&f, 4 * KiB);
    g_assert(!call.ok && !call.mixed && call.placed == 0);
    tear_down(&f);
    set_up(&f, true);
    call = try_host(&f, 4 * KiB);
    g_assert(call.ok && !call.mixed && call.placed == 1);
    g_assert_cmpmem(memory_disk(f.source)->data + MiB, MiB,
                    memory_disk(f.target)->data, MiB);
    /* A unit of zeroes: nothing is written.  Not a whole one: it is. */
    memset(memory_disk(f.source)->data + MiB + 4 * KiB, 0, 4 * KiB);
    memset(memory_disk(f.target)->data, 7, MiB);
    call = try_host(&f, 4 * KiB);
    g_assert(!call.ok && call.mixed);
    g_assert_cmpint(memory_disk(f.target)->data[0], ==, 7);
    call = try_host(&f, 8 * KiB);
    g_assert(call.ok && !call.mixed);
    call = try_host(&f, -1);
    g_assert(call.ok && !call.mixed);
    g_assert_cmpint(memory_disk(f.target)->data[4 * KiB], ==, 0);
    tear_down(&f);
}

/* --- a lane whose worker begins when all pieces are copied --- */

/* Keeps a worker thread busy until it is released. */
typedef struct Blocker {
    bool released, done; /* atomic */
} Blocker;

static int wait_for_release(void *opaque)
{
    Blocker *b = opaque;

    while (!__atomic_load_n(&b->released, __ATOMIC_ACQUIRE)) {
        g_usleep(1000);
    }
    return 0;
}

static void coroutine_fn blocker_entry(void *opaque)
{
    Blocker *b = opaque;

    thread_pool_co_run(wait_for_release, b);
    __atomic_store_n(&b->done, true, __ATOMIC_RELEASE);
}

static void block_worker(Blocker *b)
{
    *b = (Blocker) { false };
    coroutine_enter(coroutine_create(blocker_entry, b));
}

static void release(Blocker *b)
{
    __atomic_store_n(&b->released, true, __ATOMIC_RELEASE);
}

static void *release_later(void *opaque)
{
    g_usleep(100000);
    release(opaque);
    return NULL;
}

/* Of two worker threads one copies both pieces; the other lane stays queued. */
static void test_late_lane(void)
{
    IOThread *thread = iothread_new("t", &error_abort);
    AioContext *ctx = iothread_context(thread);
    Blocker first, second, third;
    GThread *releaser;
    Call calls[2];
    Fixture f;

    thread_pool_set_limits(0, 2);
    set_up(&f, true);
    g_assert_true(bdrv_try_set_aio_context(f.source, ctx, &error_abort));
    g_assert_true(bdrv_try_set_aio_context(f.target, ctx, &error_abort));
    block_worker(&first);
    block_worker(&second);
    for (int i = 0; i < 2; i++) {
        calls[i] = (Call) {
            .f = &f, .area = {i * PIECE, PIECE, COPY_DATA}, .urgent = true,
        };
        aio_co_enter(ctx, coroutine_create(move_entry, &calls[i]));
        aio_threads_turn();
        if (i == 0) {
            block_worker(&third);
        }
    }
    release(&second);
    AIO_WAIT_WHILE(!calls[0].done || !calls[1].done);
    tear_down(&f);
    releaser = g_thread_new("release", release_later, &third);
    iothread_free(thread);
    g_thread_join(releaser);
    release(&first);
    AIO_WAIT_WHILE(!first.done || !second.done || !third.done);
    g_usleep(50000); /* what the last lane does */
    thread_pool_set_limits(0, 64);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/copy-mover/ways", test_ways);
    g_test_add_func("/copy-mover/errors", test_errors);
    g_test_add_func("/copy-mover/many", test_many);
    g_test_add_func("/copy-mover/try-host", test_try_host);
    g_test_add_func("/copy-mover/late-lane", test_late_lane);
    ret = g_test_run();
    bdrv_close_all();
    aio_main_cleanup();
    return ret;
}
