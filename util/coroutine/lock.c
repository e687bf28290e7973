/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutex for coroutines of one thread.
 *
 * Ownership is passed on: unlocking makes the first waiter the holder before it
 * is woken, so that no other coroutine gets the lock first and none starves.
 */
#include "qemu/osdep.h"
#include "coroutine-sched.h"

void coroutine_fn co_wait_on(CoWaitList *list)
{
    CoWaiter waiter = { .co = coroutine_self() };

    assert(waiter.co);
    TAILQ_INSERT_TAIL(list, &waiter, entry);
    coroutine_yield();
}

Coroutine *co_waiter_pop(CoWaitList *list)
{
    CoWaiter *waiter = TAILQ_FIRST(list);

    TAILQ_REMOVE(list, waiter, entry);
    return waiter->co;
}

void co_mutex_init(CoMutex *mutex)
{
    mutex->holder = NULL;
    TAILQ_INIT(&mutex->waiters);
}

void coroutine_fn co_mutex_lock(CoMutex *mutex)
{
    Coroutine *self = coroutine_self();

    assert(self && mutex->holder != self);
    if (!mutex->holder) {
        mutex->holder = self;
        return;
    }
    co_wait_on(&mutex->waiters);
    assert(mutex->holder == self);
}

void coroutine_fn co_mutex_unlock(CoMutex *mutex)
{
    assert(mutex->holder == coroutine_self());
    if (TAILQ_EMPTY(&mutex->waiters)) {
        mutex->holder = NULL;
        return;
    }
    mutex->holder = co_waiter_pop(&mutex->waiters);
    co_wake(mutex->holder);
}
