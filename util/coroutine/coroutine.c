/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entering, leaving and waking coroutines.
 *
 * In each thread the running coroutines form a chain by `caller`, which ends
 * at the thread's own stack, the leader:
 *
 *     leader <- A <- B (current)      A entered B; B yields to A
 *
 * Waking.  A coroutine that wakes another must not enter it directly: two that
 * wake each other would nest without end, and one that still has to yield could
 * not be entered at all.  So the woken one is put on a queue of the thread,
 * which the leader empties when the coroutine that it entered returns.  From
 * another thread it is queued in the context's loop instead.
 */
#include "qemu/osdep.h"
#include "qemu/aio.h"
#include "coroutine-sched.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

/* Number of woken coroutines entered before the loop continues. */
#define CO_DRAIN_MAX 64

typedef struct CoThread {
    Coroutine leader;
    Coroutine *current;   /* NULL: the leader */
    Coroutine *ended;     /* passed from one that has ended to its caller */
    Coroutine *leaving;   /* likewise: continues in another thread, ... */
    AioContext *leaving_to; /* ... where it may be entered once suspended */
    Coroutine *wake_head; /* woken by coroutines of this thread */
    Coroutine *wake_tail;
    bool draining;
} CoThread;

static __thread CoThread co_thread_data;

/*
 * Not inline: a compiler may keep the address of a thread's variable across a
 * switch, after which another thread may run the code.
 */
static __attribute__((noinline)) CoThread *co_thread(void)
{
    CoThread *t = &co_thread_data;

    __asm__ volatile("" : "+r"(t));
    return t;
}

/* Switches from @from to @to; @ending: @from will not be resumed. */
static inline void co_switch(Coroutine *from, Coroutine *to, bool ending)
{
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(ending ? NULL : &from->fake_stack,
                                   to->bottom, to->bottom_size);
#endif
#ifdef __SANITIZE_THREAD__
    /* Actions of @from happen before those of @to, in this thread. */
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    tm_switch_stacks(&from->sp, to->sp);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

static void co_suspend(CoThread *t, Coroutine *co, bool ending)
{
    Coroutine *to = co->caller;

    co->caller = NULL;
    t->current = to == &t->leader ? NULL : to;
    co_switch(co, to, ending);
}

/* The outermost function of every coroutine; runs it again after reuse. */
static void co_start(void)
{
    CoThread *t = co_thread();
#ifdef __SANITIZE_ADDRESS__
    Coroutine *caller = t->current->caller;

    __sanitizer_finish_switch_fiber(NULL, &caller->bottom,
                                    &caller->bottom_size);
#endif
    for (;;) {
        Coroutine *co = t->current;

        co->entry(co->opaque);
        t = co_thread();
        t->ended = co;
        co_suspend(t, co, true);
        t = co_thread();
    }
}

Coroutine *coroutine_create(CoroutineEntry *entry, void *opaque)
{
    Coroutine *co = co_pool_get(co_start);

    co->entry = entry;
    co->opaque = opaque;
    co->part_of = NULL;
    co->ctx = NULL;
    return co;
}

static Coroutine *co_wake_pop(CoThread *t)
{
    Coroutine *co = t->wake_head;

    t->wake_head = co->next;
    co->next = NULL;
    return co;
}

/* In the leader: enters coroutines woken meanwhile. */
static void co_drain(CoThread *t)
{
    AioContext *ctx = aio_current_context();
    int n = 0;

    t->draining = true;
    while (t->wake_head && (n++ < CO_DRAIN_MAX || !ctx)) {
        co_enter_queued(co_wake_pop(t));
    }
    t->draining = false;
    while (t->wake_head) {
        Coroutine *co = co_wake_pop(t);

        co->queued = false;
        co_schedule(ctx, co);
    }
}

void coroutine_enter(Coroutine *co)
{
    CoThread *t = co_thread();
    Coroutine *from = t->current ? t->current : &t->leader;

    if (co->caller || __atomic_load_n(&co->queued, __ATOMIC_RELAXED)) {
        g_error("coroutine %p entered while it runs or is queued to run", co);
    }
#ifdef __SANITIZE_THREAD__
    if (!t->leader.fiber) {
        t->leader.fiber = __tsan_get_current_fiber();
    }
#endif
    co->caller = from;
    __atomic_store_n(&co->ctx, aio_current_context(), __ATOMIC_RELAXED);
    t->current = co;
    co_switch(from, co, false);

    t = co_thread();
    if (t->ended) {
        co_pool_put(t->ended);
        t->ended = NULL;
    } else if (t->leaving) {
        co_schedule(t->leaving_to, g_steal_pointer(&t->leaving));
    }
    if (!t->current && t->wake_head && !t->draining) {
        co_drain(t);
    }
}

void coroutine_fn coroutine_yield(void)
{
    CoThread *t = co_thread();

    assert(t->current);
    co_suspend(t, t->current, false);
}

Coroutine *coroutine_self(void)
{
    return co_thread()->current;
}

bool in_coroutine(void)
{
    return co_thread()->current != NULL;
}

void co_set_queued(Coroutine *co)
{
    if (__atomic_exchange_n(&co->queued, true, __ATOMIC_ACQ_REL)) {
        g_error("coroutine %p woken twice", co);
    }
    co->next = NULL;
}

void co_enter_queued(Coroutine *co)
{
    __atomic_store_n(&co->queued, false, __ATOMIC_RELEASE);
    coroutine_enter(co);
}

void co_wake(Coroutine *co)
{
    AioContext *ctx = __atomic_load_n(&co->ctx, __ATOMIC_RELAXED);
    CoThread *t = co_thread();

    if (ctx && ctx != aio_current_context()) {
        co_schedule(ctx, co);
        return;
    }
    if (!t->current) {
        coroutine_enter(co);
        return;
    }
    co_set_queued(co);
    if (t->wake_head) {
        t->wake_tail->next = co;
    } else {
        t->wake_head = co;
    }
    t->wake_tail = co;
}

void co_set_context(Coroutine *co, AioContext *ctx)
{
    assert(!co->caller && !__atomic_load_n(&co->queued, __ATOMIC_RELAXED));
    __atomic_store_n(&co->ctx, ctx, __ATOMIC_RELAXED);
}

void coroutine_fn co_yield_to_loop(void)
{
    co_schedule(aio_current_context(), coroutine_self());
    coroutine_yield();
}

void coroutine_fn co_move_to(AioContext *ctx)
{
    CoThread *t = co_thread();

    if (ctx != aio_current_context()) {
        t->leaving = coroutine_self();
        t->leaving_to = ctx;
        coroutine_yield();
    }
}
