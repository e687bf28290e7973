/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Coroutines that have ended, kept for reuse.
 *
 * The pool is per thread, so it needs no lock, and last in, first out, so that
 * the stack reused is still in the CPU's cache.  It is small: a burst of
 * requests must not leave its stacks resident.  With ASan nothing is kept, so
 * that use after the end is detected.
 */
#include "qemu/osdep.h"
#include "coroutine-sched.h"

#ifdef __SANITIZE_ADDRESS__
#define CO_POOL_MAX 0
#else
#define CO_POOL_MAX 128
#endif

typedef struct CoPool {
    Coroutine *head;
    int len;
} CoPool;

static __thread CoPool pool;

/* Runs at the end of a thread that has used coroutines. */
static void co_pool_drain(gpointer unused)
{
    while (pool.head) {
        Coroutine *co = pool.head;

        pool.head = co->next;
        co_stack_free(co);
    }
    pool.len = 0;
}

static GPrivate pool_end = G_PRIVATE_INIT(co_pool_drain);

Coroutine *co_pool_get(void (*start)(void))
{
    Coroutine *co = pool.head;

    if (!co) {
        return co_stack_new(start);
    }
    pool.head = co->next;
    pool.len--;
    co->next = NULL;
    return co;
}

void co_pool_put(Coroutine *co)
{
    if (pool.len >= CO_POOL_MAX) {
        co_stack_free(co);
        return;
    }
    if (!pool.len) {
        g_private_set(&pool_end, &pool);
    }
    co->next = pool.head;
    pool.head = co;
    pool.len++;
}
