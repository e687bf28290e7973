/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stackful coroutines, and the locks and queues for them.
 *
 * A coroutine belongs to the thread (the AioContext) that entered it.  It runs
 * until it yields or ends; its caller then continues.  To wake a coroutine that
 * waits for an event use co_wake(), which is thread safe and makes it run from
 * the event loop of the context it last ran in.
 */
#ifndef QEMU_COROUTINE_H
#define QEMU_COROUTINE_H

#include "qemu/osdep.h"

typedef struct Coroutine Coroutine;
typedef struct AioContext AioContext;
typedef void coroutine_fn CoroutineEntry(void *opaque);

/* A new coroutine, not started; it frees itself when @entry returns. */
Coroutine *coroutine_create(CoroutineEntry *entry, void *opaque);

/*
 * Runs @co until it yields or ends.  May be called from a coroutine (then @co
 * runs nested) or outside.  Entering a coroutine that runs is a bug.
 */
void coroutine_enter(Coroutine *co);

/* Returns to the caller of coroutine_enter(). */
void coroutine_fn coroutine_yield(void);

/* The running coroutine, NULL outside of any. */
Coroutine *coroutine_self(void);
bool in_coroutine(void);

/*
 * Makes @co (which has yielded or is about to yield) run in its context's
 * loop.  Thread safe.  Entered directly where the caller is in that context's
 * thread and outside any coroutine; otherwise queued.
 */
void co_wake(Coroutine *co);

/*
 * Makes @co, which is new or has yielded and is not woken yet, continue in
 * @ctx.  For code that knows what it waits for: in the exclusive main thread,
 * or in the thread of @ctx while no other thread can wake it.
 */
void co_set_context(Coroutine *co, AioContext *ctx);

/* Queues @co to run from the loop of @ctx.  Thread safe. */
void co_schedule(AioContext *ctx, Coroutine *co);

/* Lets other events of the loop run, then continues. */
void coroutine_fn co_yield_to_loop(void);

/*
 * Continues in the thread of @ctx; no effect if that is this one.  Data that
 * was read before may belong to another thread from now on.
 */
void coroutine_fn co_move_to(AioContext *ctx);

/*
 * Runs @entry for each of the @n elements of @size bytes at @items, all at
 * once, in coroutines that are part of the caller; the last one in the caller
 * itself.  Returns when all have ended.
 */
void coroutine_fn co_run_all(CoroutineEntry *entry, void *items, size_t n,
                             size_t size);
/*
 * Is @co @whole, or does @whole wait for it in co_run_all(), if only through
 * others?  In the thread of both, or the exclusive main thread.
 */
bool co_is_part_of(const Coroutine *co, const Coroutine *whole);

/* --- mutex: fair, for coroutines of one thread; held across yields --- */
typedef struct CoWaiter CoWaiter;
typedef TAILQ_HEAD(CoWaitList, CoWaiter) CoWaitList;

typedef struct CoMutex {
    Coroutine *holder;
    CoWaitList waiters;
} CoMutex;

/* Unlocked; nothing to free later. */
void co_mutex_init(CoMutex *mutex);
/* Waits until the caller is the holder; not recursive.  Only it unlocks. */
void coroutine_fn co_mutex_lock(CoMutex *mutex);
void coroutine_fn co_mutex_unlock(CoMutex *mutex);

/* --- queue: a condition variable for coroutines --- */
typedef struct CoQueue {
    CoWaitList waiters;
} CoQueue;

/* Empty; nothing to free later. */
void co_queue_init(CoQueue *queue);
/* Waits to be woken; @mutex (may be NULL) is unlocked meanwhile. */
void coroutine_fn co_queue_wait(CoQueue *queue, CoMutex *mutex);
/* Wakes the first waiter; false if there is none.  Also outside coroutines. */
bool co_queue_wake_one(CoQueue *queue);
void co_queue_wake_all(CoQueue *queue);
bool co_queue_empty(const CoQueue *queue);

/* --- sleeping --- */
typedef struct CoSleep {
    Coroutine *co; /* NULL when none sleeps */
} CoSleep;

/* Lets the loop run for at least @ns nanoseconds. */
void coroutine_fn co_sleep_ns(int64_t ns);
/* Like co_sleep_ns(); co_sleep_wake(@sleep) ends it early. */
void coroutine_fn co_sleep_wakeable(CoSleep *sleep, int64_t ns);
void co_sleep_wake(CoSleep *sleep);

/* Waits until @fd is readable / writable. */
void coroutine_fn co_wait_readable(int fd);
void coroutine_fn co_wait_writable(int fd);

#define CO_LOCK_GUARD_NAME(line) co_lock_guard_##line
#define CO_LOCK_GUARD_EXPAND(line) CO_LOCK_GUARD_NAME(line)
static inline void coroutine_fn co_mutex_unlock_guard(CoMutex **mutex)
{
    co_mutex_unlock(*mutex);
}
static inline CoMutex *coroutine_fn co_mutex_lock_guard(CoMutex *mutex)
{
    co_mutex_lock(mutex);
    return mutex;
}
/* Holds @mutex to the end of the enclosing block. */
#define CO_MUTEX_GUARD(mutex) \
    __attribute__((cleanup(co_mutex_unlock_guard), unused)) CoMutex * \
        CO_LOCK_GUARD_EXPAND(__LINE__) = co_mutex_lock_guard(mutex)

#endif
