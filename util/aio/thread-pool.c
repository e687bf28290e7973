/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Worker threads, for work that would block the loop.
 *
 * A worker is started when there is more work than idle workers, and ends after
 * a while without work.  A finished request wakes its coroutine through
 * co_wake(); the loop runs all that were woken in one iteration.
 */
#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "aio-int.h"

#include <signal.h>

#define WORKER_IDLE_NS (10 * INT64_C(1000000000))
#define WORKER_STACK_BYTES MiB

typedef struct WorkReq {
    ThreadPoolFunc *fn;
    void *arg;
    int ret;
    Coroutine *co;
    /* For requests that may be abandoned; then, under lock: */
    GDestroyNotify free_arg; /* NULL: it may not */
    bool queued, finished, given_up;
    TAILQ_ENTRY(WorkReq) entry;
} WorkReq;

static struct {
    QemuMutex lock;
    QemuCond work;  /* the queue is not empty, or `stopping` is set */
    QemuCond ended; /* `nthreads` has decreased */
    /* All under lock. */
    TAILQ_HEAD(, WorkReq) queue;
    int nqueued;
    int nthreads; /* without those whose request was abandoned */
    int nidle;
    int min_threads, max_threads;
    bool stopping;
} pool = {
    .lock = QEMU_MUTEX_INITIALIZER,
    .work = QEMU_COND_INITIALIZER,
    .ended = QEMU_COND_INITIALIZER,
    .queue = TAILQ_HEAD_INITIALIZER(pool.queue),
    .max_threads = 64,
};

/* Waits for work; false: this worker must end.  Under lock. */
static bool worker_wait(void)
{
    int64_t end = aio_now_ns() + WORKER_IDLE_NS;
    bool timed_out = false;

    pool.nidle++;
    while (!pool.nqueued && !pool.stopping &&
           (!timed_out || pool.nthreads <= pool.min_threads)) {
        if (pool.nthreads <= pool.min_threads) {
            qemu_cond_wait(&pool.work, &pool.lock);
        } else {
            timed_out = !qemu_cond_timedwait(&pool.work, &pool.lock, end);
        }
    }
    pool.nidle--;
    return pool.nqueued > 0;
}

/*
 * For a worker whose request was abandoned.  A replacement was started if there
 * was work; it rejoins only if no thread could be started.
 */
static bool worker_rejoin(void)
{
    bool wanted;

    qemu_mutex_lock(&pool.lock);
    wanted = pool.nqueued && !pool.nthreads;
    pool.nthreads += wanted;
    qemu_mutex_unlock(&pool.lock);
    return wanted;
}

/*
 * The function of @req has returned.  False: the request was abandoned, and
 * this worker is not part of the pool any more.
 */
static bool worker_finish(WorkReq *req)
{
    bool given_up = false;

    if (req->free_arg) {
        qemu_mutex_lock(&pool.lock);
        req->finished = true;
        given_up = req->given_up;
        qemu_mutex_unlock(&pool.lock);
    }
    if (given_up) {
        req->free_arg(req->arg);
        g_free(req);
        return worker_rejoin();
    }
    /* The request is invalid after this. */
    co_wake(req->co);
    return true;
}

static void *worker(void *unused)
{
    pthread_setname_np(pthread_self(), "worker");
    qemu_mutex_lock(&pool.lock);
    while (worker_wait()) {
        WorkReq *req = TAILQ_FIRST(&pool.queue);

        TAILQ_REMOVE(&pool.queue, req, entry);
        pool.nqueued--;
        req->queued = false;
        qemu_mutex_unlock(&pool.lock);
        req->ret = req->fn(req->arg);
        if (!worker_finish(req)) {
            return NULL;
        }
        qemu_mutex_lock(&pool.lock);
    }
    pool.nthreads--;
    qemu_cond_broadcast(&pool.ended);
    qemu_mutex_unlock(&pool.lock);
    return NULL;
}

/* The main thread handles signals. */
static int worker_start(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    int ret;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, WORKER_STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&thread, &attr, worker, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return -ret;
}

/* Starts a worker if @queued requests need it and the limit allows it; false if
 * there is none at all.  Under lock. */
static bool worker_add(int queued)
{
    if (queued > pool.nidle && pool.nthreads < pool.max_threads &&
        !worker_start()) {
        pool.nthreads++;
    }
    return pool.nthreads > 0;
}

/* Queues @req; false if there is no worker. */
static bool thread_pool_queue(WorkReq *req)
{
    bool ok;

    qemu_mutex_lock(&pool.lock);
    ok = worker_add(pool.nqueued + 1);
    if (ok) {
        TAILQ_INSERT_TAIL(&pool.queue, req, entry);
        req->queued = true;
        pool.nqueued++;
        qemu_cond_signal(&pool.work);
    }
    qemu_mutex_unlock(&pool.lock);
    return ok;
}

/* Until the worker wakes it; the context is there until then. */
static void coroutine_fn wait_for_worker(void)
{
    AioContext *ctx = aio_current_context();

    ctx->working++;
    coroutine_yield();
    ctx->working--;
}

int coroutine_fn thread_pool_co_run(ThreadPoolFunc *fn, void *arg)
{
    WorkReq req = { .fn = fn, .arg = arg, .co = coroutine_self() };

    if (!thread_pool_queue(&req)) {
        /* Without a thread the call blocks the loop, but completes. */
        return fn(arg);
    }
    wait_for_worker();
    return req.ret;
}

int coroutine_fn thread_pool_co_run_cancellable(ThreadPoolFunc *fn, void *arg,
                                                GDestroyNotify free_arg,
                                                ThreadPoolWait *wait)
{
    WorkReq *req = g_new0(WorkReq, 1);
    int ret;

    assert(free_arg && !wait->req);
    req->fn = fn;
    req->arg = arg;
    req->free_arg = free_arg;
    req->co = coroutine_self();
    if (!thread_pool_queue(req)) {
        g_free(req);
        return fn(arg);
    }
    wait->req = req;
    wait_for_worker();
    if (!wait->req) {
        return -ECANCELED;
    }
    wait->req = NULL;
    ret = req->ret;
    g_free(req);
    return ret;
}

bool thread_pool_cancel(ThreadPoolWait *wait)
{
    WorkReq *req = wait->req;
    bool queued, finished;
    Coroutine *co;

    if (!req) {
        return false;
    }
    co = req->co;
    qemu_mutex_lock(&pool.lock);
    finished = req->finished;
    queued = req->queued;
    if (queued) {
        TAILQ_REMOVE(&pool.queue, req, entry);
        pool.nqueued--;
    } else if (!finished) {
        req->given_up = true;
        pool.nthreads--;
        qemu_cond_broadcast(&pool.ended);
        worker_add(pool.nqueued); /* as a replacement */
    }
    qemu_mutex_unlock(&pool.lock);
    if (finished) {
        return false; /* the coroutine was woken, and will use the result */
    }
    if (queued) {
        req->free_arg(req->arg);
        g_free(req);
    }
    wait->req = NULL;
    co_wake(co);
    return true;
}

void thread_pool_set_limits(int min_threads, int max_threads)
{
    assert(min_threads >= 0 && max_threads > 0 && min_threads <= max_threads);
    qemu_mutex_lock(&pool.lock);
    pool.min_threads = min_threads;
    pool.max_threads = max_threads;
    /* Waiting workers check the new limits. */
    qemu_cond_broadcast(&pool.work);
    qemu_mutex_unlock(&pool.lock);
}

/* Ends all workers; no request may be in flight. */
void thread_pool_cleanup(void)
{
    qemu_mutex_lock(&pool.lock);
    pool.stopping = true;
    qemu_cond_broadcast(&pool.work);
    while (pool.nthreads) {
        qemu_cond_wait(&pool.ended, &pool.lock);
    }
    pool.stopping = false;
    qemu_mutex_unlock(&pool.lock);
}
