/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's clock: real time, or a clock that commands advance. */
#include "qemu/osdep.h"
#include "qemu/guest-clock.h"

struct GuestTimer {
    AioTimer *timer; /* while the clock is not held */
    AioHandler *cb;
    void *opaque;
    int64_t when_ns; /* while it is held; -1: not pending */
    int64_t due_ns;  /* of @timer, while it is pending */
    LIST_ENTRY(GuestTimer) list;
};

static LIST_HEAD(, GuestTimer) timers = LIST_HEAD_INITIALIZER(timers);
static int64_t held_ns = -1; /* -1: not held */
static int64_t lent_ns = -1; /* real time since timers follow that; -1: they
                                follow the guest's clock */

int64_t guest_clock_ns(void)
{
    return held_ns >= 0 ? held_ns : aio_now_ns();
}

void guest_clock_hold(int64_t ns)
{
    g_assert(guest_clock_next_ns() < 0);
    held_ns = MAX(ns, -1);
}

bool guest_clock_is_held(void)
{
    return held_ns >= 0;
}

int64_t guest_clock_timer_ns(void)
{
    return lent_ns >= 0 ? held_ns + (aio_now_ns() - lent_ns)
                        : guest_clock_ns();
}

void guest_clock_lend(void)
{
    g_assert(guest_clock_is_held() && guest_clock_next_ns() < 0);
    lent_ns = aio_now_ns();
}

void guest_clock_take_over(void)
{
    int64_t now = aio_now_ns();
    GuestTimer *t;

    if (lent_ns < 0) {
        return;
    }
    lent_ns = -1;
    LIST_FOREACH(t, &timers, list) {
        if (aio_timer_pending(t->timer)) {
            aio_timer_del(t->timer);
            t->when_ns = held_ns + MAX(t->due_ns - now, 0);
        }
    }
}

int64_t guest_clock_next_ns(void)
{
    int64_t next_ns = -1;
    GuestTimer *t;

    LIST_FOREACH(t, &timers, list) {
        if (t->when_ns >= 0 && (next_ns < 0 || t->when_ns < next_ns)) {
            next_ns = t->when_ns;
        }
    }
    return next_ns;
}

static GuestTimer *find_due(void)
{
    GuestTimer *t;

    LIST_FOREACH(t, &timers, list) {
        if (t->when_ns >= 0 && t->when_ns <= held_ns) {
            return t;
        }
    }
    return NULL;
}

void guest_clock_move(int64_t ns)
{
    GuestTimer *t;

    g_assert(guest_clock_is_held());
    held_ns = MAX(held_ns, ns);
    /* Callbacks may set, delete and free timers. */
    while ((t = find_due())) {
        t->when_ns = -1;
        t->cb(t->opaque);
    }
}

/* --- timers --- */

GuestTimer *guest_timer_new(AioContext *ctx, AioScope scope, AioHandler *cb,
                            void *opaque)
{
    GuestTimer *t = g_new0(GuestTimer, 1);

    t->timer = aio_timer_new(ctx, scope, cb, opaque);
    t->cb = cb;
    t->opaque = opaque;
    t->when_ns = -1;
    LIST_INSERT_HEAD(&timers, t, list);
    return t;
}

void guest_timer_mod(GuestTimer *t, int64_t when_ns)
{
    if (guest_clock_is_held() && lent_ns < 0) {
        t->when_ns = MAX(when_ns, 0);
    } else {
        t->due_ns = when_ns - guest_clock_timer_ns() + aio_now_ns();
        aio_timer_mod(t->timer, t->due_ns);
    }
}

void guest_timer_del(GuestTimer *t)
{
    t->when_ns = -1;
    aio_timer_del(t->timer);
}

void guest_timer_free(GuestTimer *t)
{
    if (t) {
        LIST_REMOVE(t, list);
        aio_timer_free(t->timer);
        g_free(t);
    }
}

bool guest_timer_pending(const GuestTimer *t)
{
    return t->when_ns >= 0 || aio_timer_pending(t->timer);
}
