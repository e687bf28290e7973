/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The exclusive main thread: it stops I/O threads while it changes data.
 *
 * An I/O thread runs its handlers and coroutines inside a gate, and leaves it
 * to wait for events.  The main thread is *exclusive* while it runs anything
 * but the I/O of its own nodes: then all gates are closed and no thread is
 * inside one.  So code of the main thread may read and change nodes, jobs and
 * exports of any context, with no lock in the request path, and code in an I/O
 * thread sees no change between two yields.
 *
 *      I/O thread    inside = true; closed? then inside = false, and wait
 *      main thread   closed = true; wait until inside is false in all threads
 *
 * Both are sequentially consistent, so at least one of the two sees the other.
 * A thread is inside for at most one iteration of its loop, which the main
 * thread waits for; and the main thread is exclusive for as long as a command
 * computes, not for as long as it waits: every poll lets the others run.
 */
#include "qemu/osdep.h"
#include "aio-int.h"

#include <pthread.h>

static LIST_HEAD(, AioContext) io_contexts = LIST_HEAD_INITIALIZER(io_contexts);

static struct {
    pthread_mutex_t lock;
    pthread_cond_t opened; /* `closed` became false; under lock */
    pthread_cond_t left;   /* some `inside` became false while closed */
    bool closed;           /* atomic; written by the main thread, under lock
                              where there are I/O threads */
    int awaited;           /* atomic: the main thread waits for a condition */
    int depth;             /* main thread: depth of exclusive sections */
} gate = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .opened = PTHREAD_COND_INITIALIZER,
    .left = PTHREAD_COND_INITIALIZER,
};

/* --- the I/O threads --- */

void aio_gate_add(AioContext *ctx)
{
    /* The thread may try to enter: then `inside` is set briefly. */
    assert(aio_is_exclusive());
    LIST_INSERT_HEAD(&io_contexts, ctx, next);
}

void aio_gate_remove(AioContext *ctx)
{
    assert(aio_is_exclusive() && !ctx->inside);
    LIST_REMOVE(ctx, next);
}

static bool is_closed(void)
{
    return __atomic_load_n(&gate.closed, __ATOMIC_SEQ_CST);
}

static void tell_left(void)
{
    pthread_mutex_lock(&gate.lock);
    pthread_cond_signal(&gate.left);
    pthread_mutex_unlock(&gate.lock);
}

void aio_gate_enter(AioContext *ctx)
{
    for (;;) {
        __atomic_store_n(&ctx->inside, true, __ATOMIC_SEQ_CST);
        if (!is_closed()) {
            return;
        }
        __atomic_store_n(&ctx->inside, false, __ATOMIC_SEQ_CST);
        pthread_mutex_lock(&gate.lock);
        pthread_cond_signal(&gate.left);
        while (is_closed()) {
            pthread_cond_wait(&gate.opened, &gate.lock);
        }
        pthread_mutex_unlock(&gate.lock);
    }
}

void aio_gate_leave(AioContext *ctx)
{
    __atomic_store_n(&ctx->inside, false, __ATOMIC_SEQ_CST);
    if (is_closed()) {
        tell_left();
    }
    /* A condition may have become true in this iteration. */
    if (__atomic_load_n(&gate.awaited, __ATOMIC_SEQ_CST)) {
        aio_notify(aio_main_context());
    }
}

/* --- the main thread --- */

static bool in_main_thread(void)
{
    AioContext *ctx = aio_current_context();

    return ctx && ctx->is_main;
}

static void gate_close(void)
{
    AioContext *ctx;

    if (LIST_EMPTY(&io_contexts)) {
        /* Prepares for a thread that may be started from now on. */
        __atomic_store_n(&gate.closed, true, __ATOMIC_SEQ_CST);
        return;
    }
    pthread_mutex_lock(&gate.lock);
    __atomic_store_n(&gate.closed, true, __ATOMIC_SEQ_CST);
    LIST_FOREACH(ctx, &io_contexts, next) {
        while (__atomic_load_n(&ctx->inside, __ATOMIC_SEQ_CST)) {
            pthread_cond_wait(&gate.left, &gate.lock);
        }
    }
    pthread_mutex_unlock(&gate.lock);
}

static void gate_open(void)
{
    if (LIST_EMPTY(&io_contexts)) {
        __atomic_store_n(&gate.closed, false, __ATOMIC_SEQ_CST);
        return;
    }
    pthread_mutex_lock(&gate.lock);
    __atomic_store_n(&gate.closed, false, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.lock);
}

void aio_exclusive_begin(void)
{
    assert(in_main_thread());
    if (gate.depth++ == 0) {
        gate_close();
    }
}

void aio_exclusive_end(void)
{
    assert(gate.depth > 0);
    if (--gate.depth == 0) {
        gate_open();
    }
}

bool aio_is_exclusive(void)
{
    return in_main_thread() && gate.depth > 0;
}

int aio_exclusive_leave(void)
{
    int depth = gate.depth;

    if (depth) {
        gate.depth = 0;
        gate_open();
    }
    return depth;
}

void aio_exclusive_return(int depth)
{
    if (depth) {
        gate_close();
        gate.depth = depth;
    }
}

void aio_wait_begin(void)
{
    assert(!in_coroutine());
    __atomic_fetch_add(&gate.awaited, 1, __ATOMIC_SEQ_CST);
    aio_exclusive_begin();
}

void aio_wait_end(void)
{
    aio_exclusive_end();
    __atomic_fetch_sub(&gate.awaited, 1, __ATOMIC_SEQ_CST);
}

static void turn_bh(void *opaque)
{
    int *left = opaque;

    __atomic_fetch_sub(left, 1, __ATOMIC_RELEASE);
}

void aio_threads_turn(void)
{
    AioContext *ctx;
    int left = 0; /* atomic */

    LIST_FOREACH(ctx, &io_contexts, next) {
        __atomic_fetch_add(&left, 1, __ATOMIC_RELAXED);
        aio_bh_oneshot(ctx, AIO_SCOPE_IO, turn_bh, &left);
    }
    if (!LIST_EMPTY(&io_contexts)) {
        AIO_WAIT_WHILE(__atomic_load_n(&left, __ATOMIC_ACQUIRE) > 0);
    }
}
