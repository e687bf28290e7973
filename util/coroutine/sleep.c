/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Coroutines that sleep for a time. */
#include "qemu/osdep.h"
#include "qemu/aio.h"

static void co_sleep_over(void *opaque)
{
    co_sleep_wake(opaque);
}

void coroutine_fn co_sleep_wakeable(CoSleep *sleep, int64_t ns)
{
    AioTimer *timer = aio_timer_new(aio_current_context(), AIO_SCOPE_IO,
                                    co_sleep_over, sleep);

    assert(!sleep->co);
    sleep->co = coroutine_self();
    aio_timer_mod(timer, aio_now_ns() + MAX(ns, 0));
    coroutine_yield();
    assert(!sleep->co);
    aio_timer_free(timer);
}

void coroutine_fn co_sleep_ns(int64_t ns)
{
    CoSleep sleep = { NULL };

    co_sleep_wakeable(&sleep, ns);
}

void co_sleep_wake(CoSleep *sleep)
{
    Coroutine *co = sleep->co;

    if (co) {
        sleep->co = NULL;
        co_wake(co);
    }
}
