/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Timers: a binary heap per scope; every timer has its index in the heap. */
#include "qemu/osdep.h"
#include "aio-int.h"

#include <time.h>

struct AioTimer {
    AioContext *ctx;
    AioScope scope;
    AioHandler *cb;
    void *opaque;
    int64_t when_ns;
    int index; /* in the heap; -1: not pending */
};

int64_t aio_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

AioTimer *aio_timer_new(AioContext *ctx, AioScope scope, AioHandler *cb,
                        void *opaque)
{
    AioTimer *timer = g_new(AioTimer, 1);

    *timer = (AioTimer) {
        .ctx = ctx,
        .scope = scope,
        .cb = cb,
        .opaque = opaque,
        .index = -1,
    };
    return timer;
}

/* Called by the thread itself, or by the exclusive main thread. */
static void assert_may_touch(const AioContext *ctx)
{
    assert(ctx == aio_current_context() ||
           (!ctx->is_main && aio_is_exclusive()));
}

static void heap_set(AioTimerHeap *heap, int i, AioTimer *timer)
{
    heap->item[i] = timer;
    timer->index = i;
}

/* Moves @timer from the free place @i up to its position. */
static void heap_up(AioTimerHeap *heap, int i, AioTimer *timer)
{
    while (i > 0) {
        AioTimer *parent = heap->item[(i - 1) / 2];

        if (parent->when_ns <= timer->when_ns) {
            break;
        }
        heap_set(heap, i, parent);
        i = (i - 1) / 2;
    }
    heap_set(heap, i, timer);
}

static void heap_down(AioTimerHeap *heap, int i, AioTimer *timer)
{
    int child;

    while ((child = 2 * i + 1) < heap->len) {
        if (child + 1 < heap->len &&
            heap->item[child + 1]->when_ns < heap->item[child]->when_ns) {
            child++;
        }
        if (timer->when_ns <= heap->item[child]->when_ns) {
            break;
        }
        heap_set(heap, i, heap->item[child]);
        i = child;
    }
    heap_set(heap, i, timer);
}

void aio_timer_del(AioTimer *timer)
{
    AioTimerHeap *heap = &timer->ctx->timers[timer->scope];
    int i = timer->index;
    AioTimer *last;

    if (i < 0) {
        return;
    }
    assert_may_touch(timer->ctx);
    timer->index = -1;
    last = heap->item[--heap->len];
    if (last == timer) {
        return;
    }
    /* The last timer fills the gap, and may have to move either way. */
    if (i > 0 && heap->item[(i - 1) / 2]->when_ns > last->when_ns) {
        heap_up(heap, i, last);
    } else {
        heap_down(heap, i, last);
    }
}

void aio_timer_mod(AioTimer *timer, int64_t when_ns)
{
    AioTimerHeap *heap = &timer->ctx->timers[timer->scope];

    assert_may_touch(timer->ctx);
    aio_timer_del(timer);
    if (heap->len == heap->nalloc) {
        heap->nalloc = heap->nalloc * 2 + 8;
        heap->item = g_renew(AioTimer *, heap->item, heap->nalloc);
    }
    timer->when_ns = when_ns;
    heap_up(heap, heap->len++, timer);
    if (timer->ctx != aio_current_context()) {
        aio_notify(timer->ctx); /* it may wait for longer than that */
    }
}

void aio_timer_free(AioTimer *timer)
{
    if (timer) {
        aio_timer_del(timer);
        g_free(timer);
    }
}

bool aio_timer_pending(const AioTimer *timer)
{
    return timer->index >= 0;
}

int64_t aio_timers_next(const AioContext *ctx, AioScope scope)
{
    const AioTimerHeap *heap = &ctx->timers[scope];

    return heap->len ? heap->item[0]->when_ns : INT64_MAX;
}

bool aio_run_timers(AioContext *ctx, AioScope scope)
{
    AioTimerHeap *heap = &ctx->timers[scope];
    bool progress = false;
    int n = heap->len;
    int64_t now;

    if (!n) {
        return false;
    }
    now = aio_now_ns();
    /* At most as many as there are now: a timer may set itself to the past. */
    while (n-- && heap->len && heap->item[0]->when_ns <= now) {
        AioTimer *timer = heap->item[0];

        aio_timer_del(timer);
        progress = true;
        timer->cb(timer->opaque);
    }
    return progress;
}
