/* SPDX-License-Identifier: GPL-2.0-or-later */
/* I/O threads: start, loop, end. */
#include "qemu/osdep.h"
#include "qemu/iothread.h"
#include "aio-int.h"

#include <pthread.h>
#include <signal.h>

struct IOThread {
    /* --- set once: by the thread before `started`, by the main thread --- */
    char *name;
    pthread_t thread;
    AioContext *ctx; /* NULL: creation failed with `err` */
    int64_t tid;
    Error *err;

    /* --- main thread --- */
    LIST_ENTRY(IOThread) next;

    /* --- under lock --- */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started;

    /* --- atomic --- */
    bool stopping;
};

static LIST_HEAD(, IOThread) threads = LIST_HEAD_INITIALIZER(threads);

static void tell_started(IOThread *t)
{
    pthread_mutex_lock(&t->lock);
    t->started = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static void *iothread_run(void *opaque)
{
    IOThread *t = opaque;
    g_autofree char *name = g_strdup_printf("IO %.12s", t->name);
    AioContext *ctx;

    pthread_setname_np(pthread_self(), name);
    t->tid = gettid();
    /* Created here, as a ring may be for one thread only. */
    t->ctx = ctx = aio_context_new(&t->err);
    tell_started(t);
    if (!ctx) {
        return NULL;
    }
    aio_gate_enter(ctx);
    while (!__atomic_load_n(&t->stopping, __ATOMIC_SEQ_CST)) {
        aio_poll(ctx, true);
    }
    aio_context_end(ctx);
    aio_gate_leave(ctx);
    return NULL;
}

/* All signals are blocked: the main thread handles them. */
static int start_thread(IOThread *t)
{
    sigset_t all, old;
    int ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&t->thread, NULL, iothread_run, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret) {
        return -ret;
    }
    pthread_mutex_lock(&t->lock);
    while (!t->started) {
        pthread_cond_wait(&t->changed, &t->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return 0;
}

static void iothread_release(IOThread *t)
{
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
    g_free(t->name);
    g_free(t);
}

IOThread *iothread_new(const char *name, Error **errp)
{
    IOThread *t = g_new0(IOThread, 1);
    int ret;

    assert(aio_is_exclusive());
    t->name = g_strdup(name);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    ret = start_thread(t);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot start the thread '%s'", name);
    } else if (!t->ctx) {
        pthread_join(t->thread, NULL);
        error_propagate(errp, t->err);
    } else {
        aio_gate_add(t->ctx);
        LIST_INSERT_HEAD(&threads, t, next);
        return t;
    }
    iothread_release(t);
    return NULL;
}

void iothread_free(IOThread *t)
{
    int exclusive;

    if (!t) {
        return;
    }
    assert(aio_is_exclusive());
    __atomic_store_n(&t->stopping, true, __ATOMIC_SEQ_CST);
    aio_notify(t->ctx);
    /* The thread ends inside its gate. */
    exclusive = aio_exclusive_leave();
    pthread_join(t->thread, NULL);
    aio_exclusive_return(exclusive);
    aio_gate_remove(t->ctx);
    LIST_REMOVE(t, next);
    g_free(t->ctx);
    iothread_release(t);
}

IOThread *iothread_find(const char *name)
{
    IOThread *t;

    LIST_FOREACH(t, &threads, next) {
        if (!strcmp(t->name, name)) {
            return t;
        }
    }
    return NULL;
}

const char *iothread_name(const IOThread *t)
{
    return t->name;
}

AioContext *iothread_context(const IOThread *t)
{
    return t->ctx;
}

int64_t iothread_tid(const IOThread *t)
{
    return t->tid;
}
