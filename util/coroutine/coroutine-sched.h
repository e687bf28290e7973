/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the parts of the coroutine code and the event loop. */
#ifndef UTIL_COROUTINE_INT_H
#define UTIL_COROUTINE_INT_H

#include "qemu/coroutine.h"

/*
 * A coroutine is at the top of its own stack:
 *
 *     stack                                          stack + CO_STACK_BYTES
 *     | guard page |  <- stack grows  . . . frames | struct Coroutine |
 */
struct Coroutine {
    void *sp;          /* valid while it is suspended */
    Coroutine *caller; /* entered it; NULL while suspended */
    CoroutineEntry *entry;
    void *opaque;
    Coroutine *part_of; /* that waits for it in co_run_all(), or NULL */
    AioContext *ctx; /* atomic; where it ran last, NULL before that */
    Coroutine *next; /* in the pool or in the one queue it is on */
    bool queued;     /* atomic; on a queue of coroutines to be entered */
    void *stack;     /* lowest address of the mapping */
    unsigned valgrind_id;
#ifdef __SANITIZE_ADDRESS__
    void *fake_stack;
    const void *bottom;
    size_t bottom_size;
#endif
#ifdef __SANITIZE_THREAD__
    void *fiber; /* ThreadSanitizer's handle; set once */
#endif
};

/* One element of a list of waiters; on the stack of the waiter. */
struct CoWaiter {
    Coroutine *co;
    TAILQ_ENTRY(CoWaiter) entry;
};

/* Adds the caller to @list and yields; the waker removes it. */
void coroutine_fn co_wait_on(CoWaitList *list);
/* Removes and returns the first of @list, which must not be empty. */
Coroutine *co_waiter_pop(CoWaitList *list);

/*
 * A coroutine with a stack, ready to be entered at @start, which never returns.
 * Taken from the pool of this thread if possible.
 */
Coroutine *co_pool_get(void (*start)(void));
/* Returns a coroutine that has ended, and waits to run again, to the pool. */
void co_pool_put(Coroutine *co);

/* A stack with its Coroutine at the top, zeroed; aborts without memory. */
Coroutine *co_stack_new(void (*start)(void));
void co_stack_free(Coroutine *co);

/*
 * The processor-specific part.  Pushes the registers that a call preserves,
 * stores the stack pointer in *@save, and continues at @load.
 */
void tm_switch_stacks(void **save, void *load);
/* A value for @load, so that @start runs on the stack that ends at @top. */
void *tm_switch_init(void *bottom, void *top, void (*start)(void));

/* Marks @co as being on a queue; to be there twice is a bug. */
void co_set_queued(Coroutine *co);
/* Enters a coroutine just taken off a queue. */
void co_enter_queued(Coroutine *co);

#endif
