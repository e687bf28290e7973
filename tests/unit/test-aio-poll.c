/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Polling for events before the wait. */
#include "qemu/osdep.h"
#include "qemu/iothread.h"
#include "../../util/aio/aio-int.h"

#include <sys/eventfd.h>

#define MAX_NS 32768
#define ROUNDS 1000
/* For ever, as far as a test goes. */
#define LONG_NS (INT64_C(3600) * 1000000000)

/* --- for how long --- */

static void test_tune(void)
{
    static const struct {
        int64_t poll, took, max, grow, shrink, expected;
    } rows[] = {
        { 0, 1, MAX_NS, 0, 0, 4000 }, /* it would have been found */
        { 0, MAX_NS, MAX_NS, 0, 0, 4000 },
        { 0, MAX_NS + 1, MAX_NS, 0, 0, 0 },
        { 0, 10, 1000, 0, 0, 1000 }, /* the first step is above the limit */
        { 4000, 1, MAX_NS, 0, 0, 4000 }, /* it was found */
        { 4000, 4000, MAX_NS, 0, 0, 4000 },
        { 4000, 4001, MAX_NS, 0, 0, 8000 },
        { 4000, 4001, MAX_NS, 3, 0, 12000 },
        { 4000, 4001, MAX_NS, 1, 0, 4000 },
        { 20000, 30000, MAX_NS, 0, 0, MAX_NS },
        { MAX_NS, MAX_NS, MAX_NS, 0, 0, MAX_NS },
        { MAX_NS, MAX_NS + 1, MAX_NS, 0, 0, 0 }, /* it was not */
        { MAX_NS, MAX_NS + 1, MAX_NS, 0, 4, MAX_NS / 4 },
        { 1, MAX_NS + 1, MAX_NS, 0, 4, 0 },
        { 4000, 5000, INT64_MAX, INT64_MAX, 0, INT64_MAX },
        { INT64_MAX / 2 + 1, INT64_MAX, INT64_MAX, 2, 0, INT64_MAX },
        { 4000, 5000, INT64_MAX, 2, 0, 8000 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_assert_cmpint(aio_poll_tune(rows[i].poll, rows[i].took, rows[i].max,
                                      rows[i].grow, rows[i].shrink), ==,
                        rows[i].expected);
    }
}

/* --- a thread that does nothing but look --- */

typedef struct Looker {
    IOThread *thread;
    AioContext *ctx;
    int fd;
    AioTimer *timer;
    int n; /* atomic: events it has seen */
} Looker;

static int events_of(Looker *l)
{
    return __atomic_load_n(&l->n, __ATOMIC_SEQ_CST);
}

static void count(void *opaque)
{
    Looker *l = opaque;

    __atomic_fetch_add(&l->n, 1, __ATOMIC_SEQ_CST);
}

static void on_read(void *opaque)
{
    Looker *l = opaque;
    uint64_t value;

    g_assert_cmpint(read(l->fd, &value, sizeof(value)), ==, sizeof(value));
    count(l);
}

static void add_handler(void *opaque)
{
    Looker *l = opaque;

    aio_set_fd_handler(l->ctx, l->fd, AIO_SCOPE_IO, on_read, NULL, l);
}

static void remove_handler(void *opaque)
{
    Looker *l = opaque;

    aio_set_fd_handler(l->ctx, l->fd, AIO_SCOPE_IO, NULL, NULL, NULL);
}

static void looker_init(Looker *l)
{
    l->thread = iothread_new("t", &error_abort);
    l->ctx = iothread_context(l->thread);
    l->fd = eventfd(0, EFD_CLOEXEC);
    g_assert_cmpint(l->fd, >=, 0);
    l->timer = aio_timer_new(l->ctx, AIO_SCOPE_IO, count, l);
    aio_context_set_polling(l->ctx, LONG_NS, LONG_NS, 0);
    aio_context_run(l->ctx, add_handler, l);
    /* The first waits grow the time; from then on it never waits. */
    while (l->ctx->poll_ns != LONG_NS) {
        int before = events_of(l);

        aio_timer_mod(l->timer, aio_now_ns() + 100000);
        AIO_WAIT_WHILE(events_of(l) == before);
    }
    __atomic_store_n(&l->n, 0, __ATOMIC_SEQ_CST);
}

static void looker_clear(Looker *l)
{
    aio_timer_free(l->timer);
    aio_context_run(l->ctx, remove_handler, l);
    iothread_free(l->thread);
    close(l->fd);
}

/* It sees all kinds of events. */
static void test_events(void)
{
    Looker l = { .n = 0 };
    uint64_t one = 1;

    looker_init(&l);
    for (int i = 0; i < ROUNDS; i++) {
        aio_bh_oneshot(l.ctx, AIO_SCOPE_IO, count, &l);
        AIO_WAIT_WHILE(events_of(&l) < 3 * i + 1);
        g_assert_cmpint(write(l.fd, &one, sizeof(one)), ==, sizeof(one));
        AIO_WAIT_WHILE(events_of(&l) < 3 * i + 2);
        aio_timer_mod(l.timer, aio_now_ns() + i);
        AIO_WAIT_WHILE(events_of(&l) < 3 * i + 3);
    }
    looker_clear(&l);
}

/* The main thread is exclusive while it goes on looking. */
static void test_exclusive(void)
{
    Looker l = { .n = 0 };

    looker_init(&l);
    for (int i = 0; i < ROUNDS; i++) {
        aio_poll(aio_main_context(), false);
        g_assert_true(aio_is_exclusive());
    }
    g_assert_cmpint(events_of(&l), ==, 0);
    /* With polling disabled, it waits. */
    aio_context_set_polling(l.ctx, 0, 0, 0);
    aio_notify(l.ctx);
    AIO_WAIT_WHILE(!__atomic_load_n(&l.ctx->waiting, __ATOMIC_SEQ_CST));
    looker_clear(&l);
}

int main(int argc, char **argv)
{
    aio_main_init(&error_fatal);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/aio-poll/tune", test_tune);
    g_test_add_func("/aio-poll/events", test_events);
    g_test_add_func("/aio-poll/exclusive", test_exclusive);
    return g_test_run();
}
