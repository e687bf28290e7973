/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Does ThreadSanitizer detect what it should?
 *
 * Each function below runs in a process of its own.  Each of those under "race"
 * breaks the rules in one way, and must cause a report; those under "ordered"
 * are correct, and must not.  So the test fails if the build or the annotation
 * of coroutines hides races, or if synchronisation is not recognised.
 *
 * "Later" is arranged by relaxed atomics, which make nothing visible, so that
 * the result does not depend on which thread is faster.
 */
#include "qemu/osdep.h"
#include "qemu/aio.h"
#include "qemu/thread.h"

typedef struct Shared {
    AioContext *ctx;
    QemuMutex lock;
    QemuCond cond;
    /*
     * ThreadSanitizer stores the last four accesses to each eight bytes;
     * threads that wait for their turn must not evict these.
     */
    int64_t data; /* what the threads race for */
    int64_t turn; /* relaxed: whose turn it is; tells nothing of `data` */
    int64_t done; /* release and acquire */
    bool ready; /* under lock */
    Coroutine *co;
    int64_t *local;
} Shared;

static void turn_is(Shared *s, int turn)
{
    __atomic_store_n(&s->turn, turn, __ATOMIC_RELAXED);
}

static void turn_wait(Shared *s, int turn)
{
    while (__atomic_load_n(&s->turn, __ATOMIC_RELAXED) != turn) {
        sched_yield();
    }
}

/* The same as a condition of the loop. */
static bool turn_reached(Shared *s, int turn)
{
    return __atomic_load_n(&s->turn, __ATOMIC_RELAXED) >= turn;
}

static void coroutine_run(CoroutineEntry *entry, Shared *s)
{
    coroutine_enter(coroutine_create(entry, s));
}

/* --- races --- */

static gpointer add_at_turn_1(gpointer opaque)
{
    Shared *s = opaque;

    turn_wait(s, 1);
    s->data++;
    return NULL;
}

static void race_threads(Shared *s)
{
    GThread *thread = g_thread_new("add", add_at_turn_1, s);

    s->data++;
    turn_is(s, 1);
    g_thread_join(thread);
}

static void race_one_side_locked(Shared *s)
{
    GThread *thread = g_thread_new("add", add_at_turn_1, s);

    qemu_mutex_lock(&s->lock);
    s->data++;
    qemu_mutex_unlock(&s->lock);
    turn_is(s, 1);
    g_thread_join(thread);
}

static void coroutine_fn add_and_turn(void *opaque)
{
    Shared *s = opaque;

    s->data++;
    turn_is(s, 1);
}

/* A thread against a coroutine. */
static void race_coroutine(Shared *s)
{
    GThread *thread = g_thread_new("add", add_at_turn_1, s);

    coroutine_run(add_and_turn, s);
    g_thread_join(thread);
}

static void coroutine_fn add_coroutine(void *opaque)
{
    add_at_turn_1(opaque);
}

static gpointer run_add_coroutine(gpointer opaque)
{
    coroutine_run(add_coroutine, opaque);
    return NULL;
}

/* Two coroutines, each in a thread of its own. */
static void race_two_coroutines(Shared *s)
{
    GThread *thread = g_thread_new("add", run_add_coroutine, s);

    coroutine_run(add_and_turn, s);
    g_thread_join(thread);
}

static void coroutine_fn add_around_yield(void *opaque)
{
    Shared *s = opaque;

    coroutine_yield();
    s->data++;
    turn_is(s, 1);
    coroutine_yield();
}

/* A coroutine that was suspended since before the thread began. */
static void race_resumed(Shared *s)
{
    Coroutine *co = coroutine_create(add_around_yield, s);
    GThread *thread;

    coroutine_enter(co);
    thread = g_thread_new("add", add_at_turn_1, s);
    coroutine_enter(co);
    coroutine_enter(co);
    g_thread_join(thread);
}

static int add_in_worker(void *opaque)
{
    add_at_turn_1(opaque);
    turn_is(opaque, 2);
    return 0;
}

static void coroutine_fn have_it_added(void *opaque)
{
    g_assert_cmpint(thread_pool_co_run(add_in_worker, opaque), ==, 0);
    turn_is(opaque, 3);
}

/* A worker against the coroutine that did not wait for it. */
static void race_worker(Shared *s)
{
    coroutine_run(have_it_added, s);
    coroutine_run(add_and_turn, s);
    AIO_WAIT_WHILE(!turn_reached(s, 3));
}

static void coroutine_fn show_local(void *opaque)
{
    Shared *s = opaque;
    int64_t local = 0;

    s->local = &local;
    turn_is(s, 1);
    coroutine_yield();
    local++;
    turn_is(s, 2);
    coroutine_yield();
}

static gpointer look_at_local(gpointer opaque)
{
    Shared *s = opaque;

    turn_wait(s, 2);
    return GINT_TO_POINTER(*s->local);
}

/* A variable on the stack of a coroutine is as good as any. */
static void race_stack(Shared *s)
{
    Coroutine *co = coroutine_create(show_local, s);
    GThread *thread;

    coroutine_enter(co);
    thread = g_thread_new("look", look_at_local, s);
    coroutine_enter(co);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, 1);
    coroutine_enter(co);
}

/* --- what is in order --- */

static gpointer add_locked(gpointer opaque)
{
    Shared *s = opaque;

    for (int i = 0; i < 1000; i++) {
        QEMU_LOCK_GUARD(&s->lock);
        s->data++;
    }
    return NULL;
}

static void ordered_mutex(Shared *s)
{
    GThread *thread = g_thread_new("add", add_locked, s);

    add_locked(s);
    g_thread_join(thread);
    g_assert_cmpint(s->data, ==, 2000);
}

static gpointer signal_ready(gpointer opaque)
{
    Shared *s = opaque;

    s->data = 1;
    QEMU_LOCK_GUARD(&s->lock);
    s->ready = true;
    qemu_cond_signal(&s->cond);
    return NULL;
}

static void ordered_cond(Shared *s)
{
    GThread *thread = g_thread_new("signal", signal_ready, s);

    qemu_mutex_lock(&s->lock);
    while (!s->ready) {
        qemu_cond_wait(&s->cond, &s->lock);
    }
    qemu_mutex_unlock(&s->lock);
    s->data++;
    g_thread_join(thread);
}

static gpointer add_and_release(gpointer opaque)
{
    Shared *s = opaque;

    s->data++;
    __atomic_store_n(&s->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void ordered_release(Shared *s)
{
    GThread *thread = g_thread_new("add", add_and_release, s);

    while (!__atomic_load_n(&s->done, __ATOMIC_ACQUIRE)) {
        sched_yield();
    }
    s->data++;
    g_thread_join(thread);
}

static int add_in_order(void *opaque)
{
    Shared *s = opaque;

    s->data++;
    return 0;
}

static void coroutine_fn add_before_and_after(void *opaque)
{
    Shared *s = opaque;

    for (int i = 0; i < 100; i++) {
        s->data++;
        thread_pool_co_run(add_in_order, s);
        s->data++;
    }
    turn_is(s, 1);
}

static void ordered_worker(Shared *s)
{
    coroutine_run(add_before_and_after, s);
    AIO_WAIT_WHILE(!turn_reached(s, 1));
    g_assert_cmpint(s->data, ==, 300);
}

/* Coroutines of one thread, and the thread itself, are one after another. */
static void coroutine_fn add_and_yield(void *opaque)
{
    Shared *s = opaque;

    for (int i = 0; i < 3; i++) {
        s->data++;
        coroutine_yield();
    }
}

static void ordered_coroutines(Shared *s)
{
    Coroutine *co[200];

    for (int i = 0; i < ARRAY_SIZE(co); i++) {
        co[i] = coroutine_create(add_and_yield, s);
    }
    for (int turn = 0; turn < 4; turn++) {
        s->data++;
        for (int i = 0; i < ARRAY_SIZE(co); i++) {
            coroutine_enter(co[i]);
        }
    }
}

static gpointer enter(gpointer co)
{
    coroutine_enter(co);
    return NULL;
}

/* A coroutine that goes on in another thread, and one that comes from there. */
static void ordered_moved(Shared *s)
{
    Coroutine *co = coroutine_create(add_and_yield, s);

    coroutine_enter(co);
    s->data++;
    g_thread_join(g_thread_new("enter", enter, co));
    s->data++;
    coroutine_enter(co);
    g_thread_join(g_thread_new("end", enter, co));
    s->data++;
}

static gpointer add_and_wake(gpointer opaque)
{
    Shared *s = opaque;

    s->data++;
    co_wake(s->co);
    return NULL;
}

static void coroutine_fn add_when_woken(void *opaque)
{
    Shared *s = opaque;

    coroutine_yield();
    s->data++;
    turn_is(s, 1);
}

static void ordered_wake(Shared *s)
{
    GThread *thread;

    s->co = coroutine_create(add_when_woken, s);
    coroutine_enter(s->co);
    thread = g_thread_new("wake", add_and_wake, s);
    AIO_WAIT_WHILE(!turn_reached(s, 1));
    g_thread_join(thread);
}

static void add_in_bh(void *opaque)
{
    Shared *s = opaque;

    s->data++;
    turn_is(s, 1);
}

static gpointer add_and_schedule(gpointer opaque)
{
    Shared *s = opaque;

    s->data++;
    aio_bh_oneshot(s->ctx, AIO_SCOPE_IO, add_in_bh, s);
    return NULL;
}

static void ordered_bh(Shared *s)
{
    GThread *thread = g_thread_new("schedule", add_and_schedule, s);

    AIO_WAIT_WHILE(!turn_reached(s, 1));
    g_thread_join(thread);
}

/* --- running them --- */

typedef struct Case {
    const char *name;
    void (*fn)(Shared *s);
    bool in_coroutine; /* a coroutine takes part, and the report names it */
} Case;

static const Case races[] = {
    { "threads", race_threads },
    { "one-side-locked", race_one_side_locked },
    { "coroutine", race_coroutine, true },
    { "two-coroutines", race_two_coroutines, true },
    { "resumed", race_resumed, true },
    { "worker", race_worker, true },
    { "stack", race_stack, true },
};

static const Case ordered[] = {
    { "mutex", ordered_mutex },
    { "cond", ordered_cond },
    { "release", ordered_release },
    { "worker", ordered_worker },
    { "coroutines", ordered_coroutines },
    { "moved", ordered_moved },
    { "wake", ordered_wake },
    { "bh", ordered_bh },
};

static void run_case(const Case *c)
{
    Shared s = {
        .lock = QEMU_MUTEX_INITIALIZER,
        .cond = QEMU_COND_INITIALIZER,
    };

    g_assert(aio_main_init(NULL));
    s.ctx = aio_main_context();
    c->fn(&s);
    aio_main_cleanup();
}

static void test_race(gconstpointer opaque)
{
    const Case *c = opaque;

    if (g_test_subprocess()) {
        run_case(opaque);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_failed();
    g_test_trap_assert_stderr("*WARNING: ThreadSanitizer: data race*");
    if (c->in_coroutine) {
        g_test_trap_assert_stderr("*Thread * 'coroutine' *");
    }
}

static void test_ordered(gconstpointer opaque)
{
    if (g_test_subprocess()) {
        run_case(opaque);
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr_unmatched("*ThreadSanitizer*");
}

static void add_cases(const char *group, const Case *cases, size_t n,
                      GTestDataFunc fn)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf("/tsan/%s/%s", group,
                                                cases[i].name);

        g_test_add_data_func(path, &cases[i], fn);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add_cases("race", races, ARRAY_SIZE(races), test_race);
    add_cases("ordered", ordered, ARRAY_SIZE(ordered), test_ordered);
    return g_test_run();
}
