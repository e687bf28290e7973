/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers compared with a naive model, and with the clock. */
#include "qemu/osdep.h"
#include "qemu/aio.h"

#define N 200

static AioContext *ctx;

typedef struct Fire {
    AioTimer *timer;
    int64_t when;  /* -1: not set */
    int fired;
    int64_t *last; /* when what fired before this was due */
} Fire;

static void on_fire(void *opaque)
{
    Fire *f = opaque;

    g_assert_cmpint(aio_now_ns(), >=, f->when);
    g_assert_cmpint(f->when, >=, *f->last);
    g_assert(!aio_timer_pending(f->timer));
    *f->last = f->when;
    f->when = -1;
    f->fired++;
}

/* All fire in order, however often they were set and deleted before. */
static void test_order(void)
{
    Fire f[N];
    int64_t last = 0, start = aio_now_ns();
    int pending = 0;

    for (int i = 0; i < N; i++) {
        f[i] = (Fire) { .when = -1, .last = &last };
        f[i].timer = aio_timer_new(ctx, AIO_SCOPE_IO, on_fire, &f[i]);
    }
    for (int i = 0; i < 20000; i++) {
        Fire *x = &f[g_test_rand_int_range(0, N)];

        g_assert(aio_timer_pending(x->timer) == (x->when >= 0));
        if (g_test_rand_int_range(0, 3)) {
            x->when = start + 50000000 + g_test_rand_int_range(0, 20000000);
            aio_timer_mod(x->timer, x->when);
        } else {
            x->when = -1;
            aio_timer_del(x->timer);
        }
    }
    for (int i = 0; i < N; i++) {
        pending += f[i].when >= 0;
    }
    g_assert_cmpint(pending, >, 0);
    for (int done = 0; done < pending;) {
        aio_poll(ctx, true);
        done = 0;
        for (int i = 0; i < N; i++) {
            done += f[i].fired;
        }
    }
    for (int i = 0; i < N; i++) {
        g_assert(!aio_timer_pending(f[i].timer));
        aio_timer_free(f[i].timer);
    }
}

static void on_count(void *opaque)
{
    ++*(int *)opaque;
}

static void test_accuracy(void)
{
    int n = 0;
    AioTimer *timer = aio_timer_new(ctx, AIO_SCOPE_MAIN, on_count, &n);
    int64_t start = aio_now_ns(), turns = 0;

    aio_timer_mod(timer, start + 3500000);
    while (!n) {
        aio_poll(ctx, true);
        turns++;
    }
    g_assert_cmpint(aio_now_ns() - start, >=, 3500000);
    /* It waited; it did not look again and again. */
    g_assert_cmpint(turns, <, 20);
    aio_timer_free(timer);
}

typedef struct Self {
    AioTimer *timer;
    int n;
} Self;

static void on_self(void *opaque)
{
    Self *s = opaque;

    if (++s->n < 5) {
        aio_timer_mod(s->timer, 0); /* long past */
    } else {
        aio_timer_free(s->timer);
    }
}

static void test_self(void)
{
    Self s = { .n = 0 };

    s.timer = aio_timer_new(ctx, AIO_SCOPE_IO, on_self, &s);
    aio_timer_mod(s.timer, aio_now_ns());
    for (int i = 1; i <= 5; i++) {
        g_assert(aio_poll(ctx, true));
        g_assert_cmpint(s.n, ==, i);
    }
    g_assert(!aio_poll(ctx, false));
    aio_timer_free(NULL);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    ctx = aio_main_context();
    g_test_add_func("/timer/order", test_order);
    g_test_add_func("/timer/accuracy", test_accuracy);
    g_test_add_func("/timer/self", test_self);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
