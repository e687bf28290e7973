/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mutexes and condition variables between threads.
 *
 * These are the POSIX ones.  GLib's GMutex and GCond work on futexes inside of
 * a library that is not instrumented, so ThreadSanitizer does not see them and
 * reports what they protect.  For the same reason nothing else of GLib that
 * orders threads (g_once_init_enter(), GAsyncQueue, g_atomic_*()) is used:
 * atomic accesses are the compiler's __atomic built-ins.  g_thread_new() and
 * g_thread_join() are seen.
 *
 * Held for a few instructions; never across a yield of a coroutine, which may
 * continue in another thread; CoMutex (qemu/coroutine.h) is for that.  May
 * be used in any thread, in and outside of coroutines.  Misuse (unlocking what
 * is not locked, destroying what is held) that the C library reports aborts.
 */
#ifndef QEMU_THREAD_H
#define QEMU_THREAD_H

#include "qemu/osdep.h"

#include <pthread.h>

/* Not recursive. */
typedef struct QemuMutex {
    pthread_mutex_t lock;
} QemuMutex;

typedef struct QemuCond {
    pthread_cond_t cond;
} QemuCond;

/* For static variables; those need neither init nor destroy. */
#define QEMU_MUTEX_INITIALIZER { PTHREAD_MUTEX_INITIALIZER }
#define QEMU_COND_INITIALIZER { PTHREAD_COND_INITIALIZER }

static inline void qemu_thread_check(int ret, const char *what)
{
    if (G_UNLIKELY(ret)) {
        g_error("%s: %s", what, g_strerror(ret));
    }
}

/* @mutex becomes unlocked. */
static inline void qemu_mutex_init(QemuMutex *mutex)
{
    qemu_thread_check(pthread_mutex_init(&mutex->lock, NULL), __func__);
}

/* No thread may hold @mutex or wait for it. */
static inline void qemu_mutex_destroy(QemuMutex *mutex)
{
    qemu_thread_check(pthread_mutex_destroy(&mutex->lock), __func__);
}

/* Blocks the thread until the caller is the holder; it must not be yet. */
static inline void qemu_mutex_lock(QemuMutex *mutex)
{
    qemu_thread_check(pthread_mutex_lock(&mutex->lock), __func__);
}

/* True: the caller is the holder now.  False: another is; never blocks. */
static inline bool qemu_mutex_trylock(QemuMutex *mutex)
{
    int ret = pthread_mutex_trylock(&mutex->lock);

    qemu_thread_check(ret == EBUSY ? 0 : ret, __func__);
    return !ret;
}

/* By the thread that has locked it. */
static inline void qemu_mutex_unlock(QemuMutex *mutex)
{
    qemu_thread_check(pthread_mutex_unlock(&mutex->lock), __func__);
}

/* @cond becomes one without waiters. */
static inline void qemu_cond_init(QemuCond *cond)
{
    qemu_thread_check(pthread_cond_init(&cond->cond, NULL), __func__);
}

/* No thread may wait on @cond; a woken one may still be about to return. */
static inline void qemu_cond_destroy(QemuCond *cond)
{
    qemu_thread_check(pthread_cond_destroy(&cond->cond), __func__);
}

/* Wakes one thread that waits, if any.  @cond's mutex need not be held. */
static inline void qemu_cond_signal(QemuCond *cond)
{
    qemu_thread_check(pthread_cond_signal(&cond->cond), __func__);
}

/* Wakes all threads that wait. */
static inline void qemu_cond_broadcast(QemuCond *cond)
{
    qemu_thread_check(pthread_cond_broadcast(&cond->cond), __func__);
}

/*
 * Unlocks @mutex, which the caller holds, blocks until @cond is signalled, and
 * locks it again.  May return without a signal: check the state in a loop.
 */
static inline void qemu_cond_wait(QemuCond *cond, QemuMutex *mutex)
{
    qemu_thread_check(pthread_cond_wait(&cond->cond, &mutex->lock), __func__);
}

/*
 * Like qemu_cond_wait(), but not beyond @deadline, in nanoseconds of
 * CLOCK_MONOTONIC (aio_now_ns()).  False: the deadline has passed.  The mutex
 * is held again in either case.
 */
static inline bool qemu_cond_timedwait(QemuCond *cond, QemuMutex *mutex,
                                       int64_t deadline)
{
    struct timespec end = {
        .tv_sec = deadline / 1000000000,
        .tv_nsec = deadline % 1000000000,
    };
    int ret = pthread_cond_clockwait(&cond->cond, &mutex->lock,
                                     CLOCK_MONOTONIC, &end);

    qemu_thread_check(ret == ETIMEDOUT ? 0 : ret, __func__);
    return !ret;
}

static inline QemuMutex *qemu_mutex_lock_guard(QemuMutex *mutex)
{
    qemu_mutex_lock(mutex);
    return mutex;
}
static inline void qemu_mutex_unlock_guard(QemuMutex **mutex)
{
    qemu_mutex_unlock(*mutex);
}
#define QEMU_LOCK_GUARD_NAME(line) qemu_lock_guard_##line
#define QEMU_LOCK_GUARD_EXPAND(line) QEMU_LOCK_GUARD_NAME(line)
/*
 * Holds @mutex to the end of the enclosing block, however that is left.  No
 * coroutine may yield in there.
 */
#define QEMU_LOCK_GUARD(mutex)                                           \
    __attribute__((cleanup(qemu_mutex_unlock_guard), unused)) QemuMutex * \
        QEMU_LOCK_GUARD_EXPAND(__LINE__) = qemu_mutex_lock_guard(mutex)

#endif
