/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Worker threads: results, limits, many requests, abandoned requests. */
#include "qemu/osdep.h"
#include "qemu/aio.h"
#include "qemu/thread.h"

typedef struct Job {
    int in, ret;
    int *left;
} Job;

static int running, peak; /* atomic */

static int work(void *opaque)
{
    Job *job = opaque;
    int now = __atomic_add_fetch(&running, 1, __ATOMIC_SEQ_CST);
    int old = __atomic_load_n(&peak, __ATOMIC_SEQ_CST);

    while (now > old && !__atomic_compare_exchange_n(&peak, &old, now, false,
                                                     __ATOMIC_SEQ_CST,
                                                     __ATOMIC_SEQ_CST)) {
    }
    g_assert(!aio_current_context());
    g_usleep(job->in % 7 * 100);
    __atomic_sub_fetch(&running, 1, __ATOMIC_SEQ_CST);
    return job->in * 2;
}

static void coroutine_fn job_entry(void *opaque)
{
    Job *job = opaque;

    job->ret = thread_pool_co_run(work, job);
    g_assert(aio_current_context() == aio_main_context());
    --*job->left;
}

static void run_many(int n)
{
    g_autofree Job *jobs = g_new0(Job, n);
    int left = n;

    for (int i = 0; i < n; i++) {
        jobs[i] = (Job) { .in = i, .left = &left };
        coroutine_enter(coroutine_create(job_entry, &jobs[i]));
    }
    AIO_WAIT_WHILE(left > 0);
    for (int i = 0; i < n; i++) {
        g_assert_cmpint(jobs[i].ret, ==, i * 2);
    }
}

static void test_one(void)
{
    run_many(1);
}

static void test_many(void)
{
    run_many(1000);
    g_assert_cmpint(peak, <=, 64);
}

static int met; /* atomic */

/* Returns once another request runs this at the same time. */
static int meet(void *unused)
{
    __atomic_add_fetch(&met, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&met, __ATOMIC_SEQ_CST) < 2) {
        g_usleep(100);
    }
    return 0;
}

static void coroutine_fn meet_entry(void *opaque)
{
    int *left = opaque;

    g_assert_cmpint(thread_pool_co_run(meet, NULL), ==, 0);
    --*left;
}

static void test_together(void)
{
    int left = 2;

    for (int i = 0; i < 2; i++) {
        coroutine_enter(coroutine_create(meet_entry, &left));
    }
    AIO_WAIT_WHILE(left > 0);
}

static void test_limits(void)
{
    thread_pool_set_limits(0, 2);
    aio_main_cleanup(); /* ends the workers there are */
    aio_main_init(&error_fatal);
    peak = 0;
    run_many(50);
    g_assert_cmpint(peak, <=, 2);
    thread_pool_set_limits(1, 64);
    run_many(50);
    thread_pool_set_limits(0, 64);
}

/* --- abandoned requests --- */

static QemuMutex gate = QEMU_MUTEX_INITIALIZER;
static int freed; /* atomic */

typedef struct Stuck {
    ThreadPoolWait wait;
    int ret;
    bool over;
} Stuck;

/* Returns when the gate is open. */
static int get_stuck(void *unused)
{
    qemu_mutex_lock(&gate);
    qemu_mutex_unlock(&gate);
    return 7;
}

static void count_freed(void *unused)
{
    __atomic_add_fetch(&freed, 1, __ATOMIC_SEQ_CST);
}

static void coroutine_fn stuck_entry(void *opaque)
{
    Stuck *s = opaque;

    s->ret = thread_pool_co_run_cancellable(get_stuck, &freed, count_freed,
                                            &s->wait);
    s->over = true;
}

static void start_stuck(Stuck *s)
{
    *s = (Stuck) { 0 };
    coroutine_enter(coroutine_create(stuck_entry, s));
    g_assert_nonnull(s->wait.req);
}

static void give_up(Stuck *s)
{
    thread_pool_cancel(&s->wait);
    thread_pool_cancel(&s->wait); /* the request is abandoned */
    AIO_WAIT_WHILE(!s->over);
    g_assert_cmpint(s->ret, ==, -ECANCELED);
}

/* The only worker allowed is stuck: other requests continue once its request is
 * abandoned. */
static void test_give_up(void)
{
    int left = 1;
    Job job = { .in = 3, .left = &left };
    Stuck running, queued, done;

    thread_pool_set_limits(0, 1);
    aio_main_cleanup();
    aio_main_init(&error_fatal);

    qemu_mutex_lock(&gate);
    start_stuck(&running);
    g_usleep(10000); /* it is taken by then, most likely */
    start_stuck(&queued);
    coroutine_enter(coroutine_create(job_entry, &job));
    give_up(&queued);
    g_assert_cmpint(__atomic_load_n(&freed, __ATOMIC_SEQ_CST), ==, 1);
    give_up(&running);
    AIO_WAIT_WHILE(left > 0);
    g_assert_cmpint(job.ret, ==, 6);
    qemu_mutex_unlock(&gate);
    while (__atomic_load_n(&freed, __ATOMIC_SEQ_CST) < 2) {
        g_usleep(1000);
    }

    /* A request that is not abandoned is returned with its result. */
    start_stuck(&done);
    AIO_WAIT_WHILE(!done.over);
    thread_pool_cancel(&done.wait);
    g_assert_cmpint(done.ret, ==, 7);
    g_assert_cmpint(freed, ==, 2);
    thread_pool_set_limits(0, 64);
}

static int nothing(void *opaque)
{
    return 0;
}

static void coroutine_fn speed_entry(void *opaque)
{
    for (int i = 0; i < 20000; i++) {
        thread_pool_co_run(nothing, NULL);
    }
}

static void test_speed(void)
{
    int64_t start = aio_now_ns();

    aio_run_co(aio_main_context(), speed_entry, NULL);
    g_test_minimized_result((aio_now_ns() - start) / 20000.0,
                            "round trip: %.0f ns",
                            (aio_now_ns() - start) / 20000.0);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    g_test_add_func("/thread-pool/one", test_one);
    g_test_add_func("/thread-pool/many", test_many);
    g_test_add_func("/thread-pool/together", test_together);
    g_test_add_func("/thread-pool/limits", test_limits);
    g_test_add_func("/thread-pool/give-up", test_give_up);
    if (g_test_perf()) {
        g_test_add_func("/thread-pool/speed", test_speed);
    }
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
