/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O threads, and the exclusive main thread. */
#include "qemu/osdep.h"
#include "qemu/iothread.h"

#define THREADS 3
#define ROUNDS 2000

/* --- one thread --- */

typedef struct Seen {
    AioContext *ctx;
    pid_t tid;
    int n;
} Seen;

static void look(void *opaque)
{
    Seen *seen = opaque;

    seen->ctx = aio_current_context();
    seen->tid = gettid();
    seen->n++;
}

static void test_run(void)
{
    g_autoptr(IOThread) thread = iothread_new("t", &error_abort);
    AioContext *ctx = iothread_context(thread);
    Seen seen = { .n = 0 };

    aio_context_run(ctx, look, &seen);
    g_assert_true(seen.ctx == ctx && ctx != aio_main_context());
    g_assert_cmpint(seen.tid, ==, iothread_tid(thread));
    g_assert_cmpint(seen.tid, !=, gettid());
    g_assert_cmpint(seen.n, ==, 1);
}

/* Work scheduled before the thread is asked to end still runs. */
static void test_end(void)
{
    for (int i = 0; i < 50; i++) {
        IOThread *thread = iothread_new("t", &error_abort);
        Seen seen = { .n = 0 };

        aio_bh_oneshot(iothread_context(thread), AIO_SCOPE_IO, look, &seen);
        iothread_free(thread);
        g_assert_cmpint(seen.n, ==, 1);
    }
}

/* --- coroutines that go from thread to thread --- */

typedef struct Walk {
    AioContext *ctx[THREADS];
    int steps;
} Walk;

static void coroutine_fn walk_entry(void *opaque)
{
    Walk *w = opaque;

    for (int i = 0; i < ROUNDS; i++) {
        AioContext *ctx = w->ctx[i % THREADS];

        co_move_to(ctx);
        g_assert_true(aio_current_context() == ctx);
        w->steps++;
        if (i % 7 == 0) {
            co_yield_to_loop();
            g_assert_true(aio_current_context() == ctx);
        }
    }
}

static void test_move(void)
{
    IOThread *threads[THREADS];
    Walk w = { .steps = 0 };

    for (int i = 0; i < THREADS; i++) {
        threads[i] = iothread_new("t", &error_abort);
        w.ctx[i] = iothread_context(threads[i]);
    }
    aio_run_co(aio_main_context(), walk_entry, &w);
    aio_run_co(w.ctx[1], walk_entry, &w);
    g_assert_cmpint(w.steps, ==, 2 * ROUNDS);
    for (int i = 0; i < THREADS; i++) {
        iothread_free(threads[i]);
    }
}

/* --- exclusion --- */

/* Without atomics, as fields of a node are. */
typedef struct Shared {
    AioContext *ctx;
    int64_t a, b; /* equal, but for the moment between two additions */
    int64_t mine; /* what its own thread added */
    bool stop;
    bool ended;
    CoSleep sleep;
    CoQueue queue;
    int woken;
} Shared;

static void coroutine_fn add_entry(void *opaque)
{
    Shared *s = opaque;

    while (!s->stop) {
        s->a++;
        s->b++;
        s->mine++;
        co_yield_to_loop();
    }
    s->ended = true;
}

/* The main thread takes part as if it were the only one. */
static void test_exclusive(void)
{
    IOThread *threads[THREADS];
    Shared s[THREADS] = {};
    int64_t added = 0;

    for (int i = 0; i < THREADS; i++) {
        threads[i] = iothread_new("t", &error_abort);
        s[i].ctx = iothread_context(threads[i]);
        aio_co_enter(s[i].ctx, coroutine_create(add_entry, &s[i]));
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < THREADS; i++) {
            g_assert_cmpint(s[i].a, ==, s[i].b);
            g_assert_cmpint(s[i].a, ==, s[i].mine + added);
            s[i].a++;
            s[i].b++;
        }
        added++;
        g_assert_true(aio_is_exclusive());
        aio_poll(aio_main_context(), false);
        g_assert_true(aio_is_exclusive());
    }
    for (int i = 0; i < THREADS; i++) {
        int64_t before = s[i].mine;

        AIO_WAIT_WHILE(s[i].mine == before); /* it does get its turns */
        s[i].stop = true;
    }
    for (int i = 0; i < THREADS; i++) {
        AIO_WAIT_WHILE(!s[i].ended);
        iothread_free(threads[i]);
    }
}

/* --- from the main thread --- */

static void coroutine_fn sleep_entry(void *opaque)
{
    Shared *s = opaque;

    co_sleep_wakeable(&s->sleep, INT64_C(3600) * 1000000000);
    s->woken++;
    co_queue_wait(&s->queue, NULL);
    s->woken++;
}

/* Coroutines that sleep or queue in another thread are woken in theirs. */
static void test_wake(void)
{
    g_autoptr(IOThread) thread = iothread_new("t", &error_abort);
    Shared s = { .ctx = iothread_context(thread) };

    co_queue_init(&s.queue);
    aio_co_enter(s.ctx, coroutine_create(sleep_entry, &s));
    AIO_WAIT_WHILE(!s.sleep.co);
    co_sleep_wake(&s.sleep);
    AIO_WAIT_WHILE(co_queue_empty(&s.queue));
    g_assert_cmpint(s.woken, ==, 1);
    g_assert_true(co_queue_wake_one(&s.queue));
    AIO_WAIT_WHILE(s.woken < 2);
}

static void test_timer(void)
{
    g_autoptr(IOThread) thread = iothread_new("t", &error_abort);
    AioContext *ctx = iothread_context(thread);
    Seen seen = { .n = 0 };
    AioTimer *timer = aio_timer_new(ctx, AIO_SCOPE_IO, look, &seen);

    aio_timer_mod(timer, aio_now_ns() + INT64_C(3600) * 1000000000);
    aio_context_run(ctx, look, &seen); /* it waits for an hour now, or will */
    aio_timer_mod(timer, aio_now_ns());
    AIO_WAIT_WHILE(seen.n < 2);
    g_assert_true(seen.ctx == ctx);
    aio_timer_mod(timer, aio_now_ns() + INT64_C(3600) * 1000000000);
    g_assert_true(aio_timer_pending(timer));
    aio_timer_del(timer);
    g_assert_false(aio_timer_pending(timer));
    aio_timer_free(timer);
}

int main(int argc, char **argv)
{
    int ret;

    aio_main_init(&error_fatal);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iothread/run", test_run);
    g_test_add_func("/iothread/end", test_end);
    g_test_add_func("/iothread/move", test_move);
    g_test_add_func("/iothread/exclusive", test_exclusive);
    g_test_add_func("/iothread/wake", test_wake);
    g_test_add_func("/iothread/timer", test_timer);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
