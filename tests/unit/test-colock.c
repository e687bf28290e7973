/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locks and queues for coroutines. */
#include "qemu/osdep.h"
#include "qemu/aio.h"

static CoMutex mutex;
static CoQueue queue;
static GString *trace;
static int left;

static void start(CoroutineEntry *entry, const char *name)
{
    left++;
    coroutine_enter(coroutine_create(entry, (void *)name));
}

static void finish(const char *expected)
{
    AIO_WAIT_WHILE(left > 0);
    if (expected) {
        g_assert_cmpstr(trace->str, ==, expected);
    }
    g_string_truncate(trace, 0);
}

static void coroutine_fn step(const char *what, const char *name)
{
    g_string_append_printf(trace, "%s%s ", what, name);
    co_yield_to_loop();
}

/* --- mutex --- */

static void coroutine_fn mutex_entry(void *name)
{
    co_mutex_lock(&mutex);
    step("+", name);
    step("-", name);
    co_mutex_unlock(&mutex);
    co_mutex_lock(&mutex); /* behind all others */
    step("*", name);
    co_mutex_unlock(&mutex);
    left--;
}

static void test_mutex_fair(void)
{
    co_mutex_init(&mutex);
    start(mutex_entry, "a");
    start(mutex_entry, "b");
    start(mutex_entry, "c");
    finish("+a -a +b -b +c -c *a *b *c ");
    g_assert(!mutex.holder);
}

static void coroutine_fn guard_entry(void *name)
{
    for (int i = 0; i < 3; i++) {
        CO_MUTEX_GUARD(&mutex);

        step("g", name);
        if (i == 1) {
            break;
        }
    }
    g_assert(mutex.holder != coroutine_self());
    left--;
}

static void test_mutex_guard(void)
{
    co_mutex_init(&mutex);
    start(guard_entry, "a");
    start(guard_entry, "b");
    finish("ga gb ga gb ");
}

/* --- queue --- */

static void coroutine_fn queue_entry(void *name)
{
    co_mutex_lock(&mutex);
    g_string_append_printf(trace, "w%s ", (char *)name);
    co_queue_wait(&queue, &mutex);
    g_assert(mutex.holder == coroutine_self());
    step("+", name);
    co_mutex_unlock(&mutex);
    left--;
}

static void test_queue(void)
{
    co_mutex_init(&mutex);
    co_queue_init(&queue);
    g_assert(!co_queue_wake_one(&queue));
    start(queue_entry, "a");
    start(queue_entry, "b");
    start(queue_entry, "c");
    g_assert(co_queue_wake_one(&queue));
    AIO_WAIT_WHILE(left > 2);
    g_assert_cmpstr(trace->str, ==, "wa wb wc +a ");
    co_queue_wake_all(&queue);
    g_assert(co_queue_empty(&queue));
    finish("wa wb wc +a +b +c ");
}

static void coroutine_fn requeue_entry(void *unused)
{
    g_string_append(trace, "1 ");
    co_queue_wait(&queue, NULL);
    g_string_append(trace, "2 ");
    co_queue_wait(&queue, NULL);
    g_string_append(trace, "3 ");
    left--;
}

/* A coroutine that waits again is not woken by the same call. */
static void test_queue_again(void)
{
    co_queue_init(&queue);
    start(requeue_entry, NULL);
    start(requeue_entry, NULL);
    co_queue_wake_all(&queue);
    g_assert_cmpstr(trace->str, ==, "1 1 2 2 ");
    co_queue_wake_all(&queue);
    finish("1 1 2 2 3 3 ");
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    trace = g_string_new(NULL);
    g_test_add_func("/colock/mutex/fair", test_mutex_fair);
    g_test_add_func("/colock/mutex/guard", test_mutex_guard);
    g_test_add_func("/colock/queue", test_queue);
    g_test_add_func("/colock/queue/again", test_queue_again);
    ret = g_test_run();
    g_string_free(trace, TRUE);
    aio_main_cleanup();
    return ret;
}
