/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A condition variable for coroutines. */
#include "qemu/osdep.h"
#include "coroutine-sched.h"

void co_queue_init(CoQueue *queue)
{
    TAILQ_INIT(&queue->waiters);
}

void coroutine_fn co_queue_wait(CoQueue *queue, CoMutex *mutex)
{
    /* Unlocking never yields, so no wake-up is lost before we are listed. */
    if (mutex) {
        co_mutex_unlock(mutex);
    }
    co_wait_on(&queue->waiters);
    if (mutex) {
        co_mutex_lock(mutex);
    }
}

bool co_queue_wake_one(CoQueue *queue)
{
    if (co_queue_empty(queue)) {
        return false;
    }
    co_wake(co_waiter_pop(&queue->waiters));
    return true;
}

void co_queue_wake_all(CoQueue *queue)
{
    CoWaitList woken = TAILQ_HEAD_INITIALIZER(woken);

    /* A coroutine that waits again at once must not be woken again. */
    TAILQ_CONCAT(&woken, &queue->waiters, entry);
    while (!TAILQ_EMPTY(&woken)) {
        co_wake(co_waiter_pop(&woken));
    }
}

bool co_queue_empty(const CoQueue *queue)
{
    return TAILQ_EMPTY(&queue->waiters);
}
