/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Coroutines: entering, nesting, waking from everywhere, sleeping. */
#include "qemu/osdep.h"
#include "qemu/aio.h"

typedef struct Trace {
    GString *log;
    Coroutine *a, *b;
    int count;
    int limit;
    bool done;
} Trace;

static void coroutine_fn count_entry(void *opaque)
{
    Trace *t = opaque;

    g_assert(in_coroutine());
    for (int i = 0; i < t->limit; i++) {
        t->count++;
        coroutine_yield();
    }
    t->done = true;
}

static void test_yield(void)
{
    Trace t = { .limit = 3 };
    Coroutine *co = coroutine_create(count_entry, &t);

    g_assert(!in_coroutine() && !coroutine_self());
    for (int i = 1; i <= 3; i++) {
        coroutine_enter(co);
        g_assert_cmpint(t.count, ==, i);
        g_assert(!in_coroutine());
    }
    g_assert(!t.done);
    coroutine_enter(co);
    g_assert(t.done);
}

static void coroutine_fn nest_entry(void *opaque)
{
    int *depth = opaque;
    Coroutine *self = coroutine_self();

    if (++*depth < 200) {
        coroutine_enter(coroutine_create(nest_entry, depth));
    }
    g_assert(coroutine_self() == self);
}

static void test_nested(void)
{
    int depth = 0;

    coroutine_enter(coroutine_create(nest_entry, &depth));
    g_assert_cmpint(depth, ==, 200);
}

static void coroutine_fn log_b(void *opaque)
{
    Trace *t = opaque;

    g_string_append(t->log, "b1 ");
    coroutine_yield();
    g_string_append(t->log, "b2 ");
}

static void coroutine_fn log_a(void *opaque)
{
    Trace *t = opaque;

    coroutine_enter(t->b);
    g_string_append(t->log, "a1 ");
    co_wake(t->b); /* queued, as we run */
    g_string_append(t->log, "a2 ");
    coroutine_yield();
    g_string_append(t->log, "a3 ");
}

static void test_wake_is_queued(void)
{
    Trace t = { .log = g_string_new(NULL) };

    t.b = coroutine_create(log_b, &t);
    t.a = coroutine_create(log_a, &t);
    coroutine_enter(t.a);
    g_assert_cmpstr(t.log->str, ==, "b1 a1 a2 b2 ");
    co_wake(t.a); /* at once, as no coroutine runs */
    g_assert_cmpstr(t.log->str, ==, "b1 a1 a2 b2 a3 ");
    g_string_free(t.log, TRUE);
}

static void coroutine_fn ping_entry(void *opaque)
{
    Trace *t = opaque;
    Coroutine *self = coroutine_self();

    while (t->count < t->limit) {
        Coroutine *other = self == t->a ? t->b : t->a;

        t->count++;
        co_wake(other);
        coroutine_yield();
    }
    /* The other waits for the last time. */
    if (!t->done) {
        t->done = true;
        co_wake(self == t->a ? t->b : t->a);
    }
}

/* Two that wake each other must neither nest nor starve the loop. */
static void test_ping_pong(void)
{
    Trace t = { .limit = 100000 };

    t.a = coroutine_create(ping_entry, &t);
    t.b = coroutine_create(ping_entry, &t);
    coroutine_enter(t.a);
    g_assert_cmpint(t.count, <, 1000);
    while (!t.done || t.count < t.limit) {
        aio_poll(aio_main_context(), true);
    }
    while (aio_poll(aio_main_context(), false)) {
    }
    g_assert_cmpint(t.count, ==, t.limit);
}

static void coroutine_fn wake_self_entry(void *opaque)
{
    bool *done = opaque;

    co_wake(coroutine_self()); /* about to yield */
    coroutine_yield();
    co_yield_to_loop();
    *done = true;
}

static void test_wake_before_yield(void)
{
    bool done = false;

    aio_run_co(aio_main_context(), wake_self_entry, &done);
    g_assert(done);
}

static gpointer wake_thread(gpointer opaque)
{
    co_wake(opaque);
    return NULL;
}

static void coroutine_fn threads_entry(void *opaque)
{
    int *n = opaque;

    for (int i = 0; i < 300; i++) {
        GThread *thread = g_thread_new("waker", wake_thread, coroutine_self());

        if (i % 2) {
            g_usleep(50); /* woken before we have yielded */
        }
        coroutine_yield();
        g_assert(aio_current_context() == aio_main_context());
        g_thread_join(thread);
        ++*n;
    }
}

static void test_wake_from_thread(void)
{
    int n = 0;

    aio_run_co(aio_main_context(), threads_entry, &n);
    g_assert_cmpint(n, ==, 300);
}

static void coroutine_fn sleep_entry(void *opaque)
{
    int64_t start = aio_now_ns();

    co_sleep_ns(5000000);
    g_assert_cmpint(aio_now_ns() - start, >=, 5000000);
    g_assert_cmpint(aio_now_ns() - start, <, 2000000000);
    co_sleep_ns(0);
}

static void test_sleep(void)
{
    aio_run_co(aio_main_context(), sleep_entry, NULL);
}

static void coroutine_fn sleep_long_entry(void *opaque)
{
    co_sleep_wakeable(opaque, INT64_C(3600000000000));
}

static void wake_sleeper(void *opaque)
{
    co_sleep_wake(opaque);
    co_sleep_wake(opaque); /* no coroutine sleeps any more: no effect */
}

static void test_sleep_wake(void)
{
    CoSleep sleep = { NULL };
    int64_t start = aio_now_ns();

    aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, wake_sleeper, &sleep);
    aio_run_co(aio_main_context(), sleep_long_entry, &sleep);
    g_assert_cmpint(aio_now_ns() - start, <, 60000000000);
}

static void coroutine_fn deep_entry(void *opaque)
{
    volatile char frame[100 * 1024];

    memset((char *)frame, 1, sizeof(frame));
    *(int *)opaque += frame[5000];
}

/* Far more at once than the pool keeps. */
static void test_many(void)
{
    enum { N = 1000 };
    g_autofree Coroutine **co = g_new(Coroutine *, N);
    Trace t = { .limit = 1 };
    int sum = 0;

    for (int round = 0; round < 3; round++) {
        t.count = 0;
        for (int i = 0; i < N; i++) {
            co[i] = coroutine_create(count_entry, &t);
            coroutine_enter(co[i]);
        }
        g_assert_cmpint(t.count, ==, N);
        for (int i = 0; i < N; i++) {
            coroutine_enter(co[i]);
        }
    }
    for (int i = 0; i < 100; i++) {
        coroutine_enter(coroutine_create(deep_entry, &sum));
    }
    g_assert_cmpint(sum, ==, 100);
}

/* --- parts --- */

typedef struct Part {
    Coroutine *whole;
    int yields;     /* through the loop, before it ends */
    int *in_flight; /* of all parts */
    int most;       /* in flight when it ended */
    bool done;
} Part;

static void coroutine_fn part_entry(void *opaque)
{
    Part *part = opaque;

    g_assert_true(co_is_part_of(coroutine_self(), part->whole));
    ++*part->in_flight;
    for (int i = 0; i < part->yields; i++) {
        co_yield_to_loop();
    }
    part->most = (*part->in_flight)--;
    part->done = true;
}

static void coroutine_fn all_entry(void *opaque)
{
    bool *done = opaque;
    int in_flight = 0;

    /* The one that takes longest is the first, in the middle, the last. */
    for (int longest = 0; longest < 5; longest++) {
        Part parts[5] = {};

        for (int i = 0; i < 5; i++) {
            parts[i].whole = coroutine_self();
            parts[i].in_flight = &in_flight;
            parts[i].yields = i == longest ? 9 : 1 + i;
        }
        co_run_all(part_entry, parts, 5, sizeof(parts[0]));
        g_assert_cmpint(in_flight, ==, 0);
        g_assert_cmpint(parts[longest].most, ==, 1);
        for (int i = 0; i < 5; i++) {
            g_assert_true(parts[i].done);
            g_assert_true(i == longest || parts[i].most > 1);
        }
    }
    co_run_all(part_entry, NULL, 0, 0);
    *done = true;
}

/* None of them yields: they run one after the other. */
static void coroutine_fn at_once_entry(void *opaque)
{
    int in_flight = 0;
    Part parts[3] = {};

    for (int i = 0; i < 3; i++) {
        parts[i] = (Part) { coroutine_self(), 0, &in_flight };
    }
    co_run_all(part_entry, parts, 3, sizeof(parts[0]));
    for (int i = 0; i < 3; i++) {
        g_assert_true(parts[i].done);
    }
    *(bool *)opaque = true;
}

static void test_run_all(void)
{
    bool done = false;

    coroutine_enter(coroutine_create(at_once_entry, &done));
    g_assert_true(done);
    done = false;
    aio_run_co(aio_main_context(), all_entry, &done);
    g_assert_true(done);
}

static void coroutine_fn forever_entry(void *opaque)
{
    bool *stop = opaque;

    while (!*stop) {
        coroutine_yield();
    }
}

static void test_speed(void)
{
    enum { N = 2000000 };
    bool stop = false;
    Coroutine *co = coroutine_create(forever_entry, &stop);
    int64_t start = aio_now_ns();
    double ns;
    int sum = 0;

    for (int i = 0; i < N; i++) {
        coroutine_enter(co);
    }
    ns = (double)(aio_now_ns() - start) / N;
    stop = true;
    coroutine_enter(co);
    g_test_minimized_result(ns, "enter and yield: %.1f ns", ns);

    start = aio_now_ns();
    for (int i = 0; i < N; i++) {
        Trace t = { .limit = 0 };

        coroutine_enter(coroutine_create(count_entry, &t));
        sum += t.done;
    }
    ns = (double)(aio_now_ns() - start) / N;
    g_assert_cmpint(sum, ==, N);
    g_test_minimized_result(ns, "create, run, end: %.1f ns", ns);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    g_test_add_func("/coroutine/yield", test_yield);
    g_test_add_func("/coroutine/nested", test_nested);
    g_test_add_func("/coroutine/wake-is-queued", test_wake_is_queued);
    g_test_add_func("/coroutine/ping-pong", test_ping_pong);
    g_test_add_func("/coroutine/wake-before-yield", test_wake_before_yield);
    g_test_add_func("/coroutine/wake-from-thread", test_wake_from_thread);
    g_test_add_func("/coroutine/sleep", test_sleep);
    g_test_add_func("/coroutine/sleep-wake", test_sleep_wake);
    g_test_add_func("/coroutine/many", test_many);
    g_test_add_func("/coroutine/run-all", test_run_all);
    if (g_test_perf()) {
        g_test_add_func("/coroutine/speed", test_speed);
    }
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
