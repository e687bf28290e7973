/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutex and reader/writer lock for coroutines of one thread.
 *
 * Both hand over: who unlocks makes the first waiter the owner before it wakes
 * it, so nobody overtakes and nobody starves.
 */
#include "qemu/osdep.h"
#include "coroutine-sched.h"

void coroutine_fn co_wait_on(CoWaitList *list, bool write)
{
    CoWaiter waiter = { .co = coroutine_self(), .write = write };

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
    co_wait_on(&mutex->waiters, true);
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

void co_rwlock_init(CoRwlock *lock)
{
    lock->readers = 0;
    lock->writer = NULL;
    TAILQ_INIT(&lock->waiters);
}

/* Gives the lock to as many waiters as can have it, in order. */
static void co_rwlock_grant(CoRwlock *lock)
{
    CoWaiter *first;

    while (!lock->writer && (first = TAILQ_FIRST(&lock->waiters))) {
        if (first->write && lock->readers) {
            return;
        }
        if (first->write) {
            lock->writer = first->co;
        } else {
            lock->readers++;
        }
        co_wake(co_waiter_pop(&lock->waiters));
    }
}

void coroutine_fn co_rwlock_rdlock(CoRwlock *lock)
{
    assert(lock->writer != coroutine_self());
    if (!lock->writer && TAILQ_EMPTY(&lock->waiters)) {
        lock->readers++;
        return;
    }
    co_wait_on(&lock->waiters, false);
}

void coroutine_fn co_rwlock_wrlock(CoRwlock *lock)
{
    Coroutine *self = coroutine_self();

    assert(self && lock->writer != self);
    if (!lock->writer && !lock->readers) {
        lock->writer = self;
        return;
    }
    co_wait_on(&lock->waiters, true);
    assert(lock->writer == self);
}

void coroutine_fn co_rwlock_unlock(CoRwlock *lock)
{
    if (lock->writer) {
        assert(lock->writer == coroutine_self());
        lock->writer = NULL;
    } else {
        assert(lock->readers > 0);
        lock->readers--;
    }
    co_rwlock_grant(lock);
}
