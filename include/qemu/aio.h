/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop: file descriptors, bottom halves, timers, worker threads and
 * file I/O.
 *
 * One AioContext belongs to one thread.  Its loop waits on an io_uring where
 * the kernel allows one, else on epoll with worker threads and libaio; the
 * environment variable TIDEMARK_AIO=io_uring|epoll forces the choice.
 *
 * Other threads have contexts of their own (qemu/iothread.h).
 *
 * Nested polling.  Code outside coroutines in the main thread that has to wait
 * (AIO_WAIT_WHILE) polls the loop from inside a handler.  Handlers, bottom
 * halves and timers of scope AIO_SCOPE_MAIN are not run then, only from the
 * outermost loop.  Handlers that change the graph or execute commands
 * (monitors, job completion) have this scope, so that none interrupts another.
 */
#ifndef QEMU_AIO_H
#define QEMU_AIO_H

#include "qemu/coroutine.h"
#include "qemu/error.h"
#include "qemu/iov.h"

typedef enum AioScope {
    AIO_SCOPE_IO,   /* runs in nested polls too */
    AIO_SCOPE_MAIN, /* runs from the outermost loop only */
} AioScope;

typedef struct AioBH AioBH;
typedef struct AioTimer AioTimer;
typedef void AioHandler(void *opaque);

/* --- contexts --- */

/* Creates the main thread's context; call once, first thing in main(). */
bool aio_main_init(Error **errp);
/* Frees it; all handlers must be gone. */
void aio_main_cleanup(void);
/* The main thread's context. */
AioContext *aio_main_context(void);
/* The context that the calling thread runs; NULL in a worker thread. */
AioContext *aio_current_context(void);
/* "io_uring" or "epoll". */
const char *aio_context_engine(AioContext *ctx);

/*
 * Runs the handlers that are ready; waits for one if @blocking.  Returns true
 * if any ran.  A call from inside a handler is a nested poll.
 */
bool aio_poll(AioContext *ctx, bool blocking);
/*
 * Between the two, which nest, polls of the main loop count as nested, wherever
 * they are made.
 */
void aio_nest_begin(void);
void aio_nest_end(void);
/*
 * Between the two, all polls count as nested: a program that processes its
 * command line executes no QMP commands meanwhile, even while it waits.
 */
void aio_main_hold(void);
void aio_main_release(void);
/* Runs the main loop until aio_main_quit(). */
void aio_main_loop(void);
/* Ends aio_main_loop() after the running handler.  Signal and thread safe. */
void aio_main_quit(void);
/*
 * aio_main_quit() schedules @bh (NULL: none), which can end the waits of
 * handlers that poll the loop.
 */
void aio_main_on_quit(AioBH *bh);
/* Was aio_main_quit() called, and has the loop not ended yet? */
bool aio_main_quitting(void);
/* Is the calling handler run by a nested poll? */
bool aio_main_nested(void);
/* Is this between aio_main_hold() and aio_main_release()? */
bool aio_main_held(void);
/* Wakes @ctx if it waits: conditions are evaluated again.  Thread safe. */
void aio_notify(AioContext *ctx);

/*
 * Polls the main loop while @cond holds.  @cond is evaluated while the main
 * thread is exclusive, and again after each iteration of an I/O thread.  Main
 * thread, never in a coroutine.
 */
#define AIO_WAIT_WHILE(cond) \
    do { \
        aio_wait_begin(); \
        while (cond) { \
            aio_poll(aio_main_context(), true); \
        } \
        aio_wait_end(); \
    } while (0)
/* Around the polls of a loop of another shape. */
void aio_wait_begin(void);
void aio_wait_end(void);

/*
 * Runs @entry(@opaque) to its end as a coroutine in the thread of @ctx.  Called
 * by a coroutine in any thread, or by the main thread, which polls meanwhile.
 */
void coroutine_mixed_fn aio_run_co(AioContext *ctx, CoroutineEntry *entry,
                                   void *opaque);
/* Enters @co, which is new, in the thread of @ctx: at once if that is this. */
void aio_co_enter(AioContext *ctx, Coroutine *co);
/* Runs @fn(@opaque) in the thread of @ctx and waits for it.  Main thread. */
void aio_context_run(AioContext *ctx, AioHandler *fn, void *opaque);

/* --- exclusive main thread --- */

/*
 * Between the two, which may nest, all I/O threads wait: the main thread may
 * read and change their data, including timers of their contexts and coroutine
 * queues, but not their file descriptors (aio_context_run() does that).  A poll
 * of the main loop in between lets them run.
 *
 * The main thread is exclusive by itself whenever it runs anything but handlers
 * of AIO_SCOPE_IO and coroutines that its loop enters; those call begin.
 */
void aio_exclusive_begin(void);
void aio_exclusive_end(void);
/* Polls until every I/O thread has run what was scheduled for it before. */
void aio_threads_turn(void);
/* Is the caller the main thread, and is that exclusive? */
bool aio_is_exclusive(void);

/* --- file descriptors --- */

/*
 * Calls @on_read / @on_write (either may be NULL) with @opaque whenever @fd is
 * ready.  Both NULL: removes the handler; allowed inside a handler.
 */
void aio_set_fd_handler(AioContext *ctx, int fd, AioScope scope,
                        AioHandler *on_read, AioHandler *on_write,
                        void *opaque);

/*
 * Removes handlers of @fd from the context of this thread, and enters the
 * coroutines that wait for it there, as if it were ready: for a descriptor that
 * moves to another context.  In a coroutine they are entered when it yields.
 */
void aio_release_fd(int fd);

/* --- bottom halves: callbacks in the next iteration of the loop --- */

/* Owned by the caller, who frees it with aio_bh_free(). */
AioBH *aio_bh_new(AioContext *ctx, AioScope scope, AioHandler *cb,
                  void *opaque);
/* Runs it once in the next iteration, however often called.  Thread safe. */
void aio_bh_schedule(AioBH *bh);
void aio_bh_cancel(AioBH *bh);
void aio_bh_free(AioBH *bh);
/* A bottom half that frees itself.  Thread safe. */
void aio_bh_oneshot(AioContext *ctx, AioScope scope, AioHandler *cb,
                    void *opaque);

/* --- timers --- */

/* Monotonic time in nanoseconds. */
int64_t aio_now_ns(void);
AioTimer *aio_timer_new(AioContext *ctx, AioScope scope, AioHandler *cb,
                        void *opaque);
/* Fires once at @when_ns of aio_now_ns(); replaces an earlier deadline. */
void aio_timer_mod(AioTimer *timer, int64_t when_ns);
void aio_timer_del(AioTimer *timer);
void aio_timer_free(AioTimer *timer);
bool aio_timer_pending(const AioTimer *timer);

/* --- worker threads --- */

typedef int ThreadPoolFunc(void *arg);
/*
 * Runs @fn(@arg) in a worker thread and returns its result.  @fn must not call
 * anything of the block layer.
 */
int coroutine_fn thread_pool_co_run(ThreadPoolFunc *fn, void *arg);
/* A coroutine that waits in thread_pool_co_run_cancellable(); zeroed. */
typedef struct ThreadPoolWait {
    struct WorkReq *req; /* NULL: none does */
} ThreadPoolWait;
/*
 * The same, for a @fn that may never return.  Returns -ECANCELED as soon as
 * thread_pool_cancel(@wait) is called: then @fn continues in its thread, @arg
 * is freed with @free_arg after it, and the program's exit does not wait for
 * it.  Else @arg stays the caller's.
 */
int coroutine_fn thread_pool_co_run_cancellable(ThreadPoolFunc *fn, void *arg,
                                                GDestroyNotify free_arg,
                                                ThreadPoolWait *wait);
/*
 * In the thread of the coroutine, which may run before this returns: true, it
 * was given up.  False, and no effect: none waits, or @fn has returned.
 */
bool thread_pool_cancel(ThreadPoolWait *wait);
/* The most worker threads at once (default 64), the least kept (0). */
void thread_pool_set_limits(int min_threads, int max_threads);

/* --- file I/O, by the engine asked for --- */

typedef enum FileAioEngine {
    FILE_AIO_AUTO,     /* the loop's ring, else threads */
    FILE_AIO_THREADS,  /* preadv/pwritev in worker threads */
    FILE_AIO_NATIVE,   /* libaio; needs O_DIRECT */
    FILE_AIO_IO_URING, /* the loop's ring, or a ring of its own */
} FileAioEngine;

/* Can @engine be used on this host?  If not, @errp is set with the reason. */
bool file_aio_supported(FileAioEngine engine, Error **errp);
/*
 * Reads / writes the whole of @qiov at @offset of @fd; short transfers are
 * continued.  A read past the end of the file yields zeroes.  Returns 0 or
 * -errno.  @dsync: like RWF_DSYNC, data is on stable storage when it returns.
 */
int coroutine_fn file_co_preadv(int fd, int64_t offset, QEMUIOVector *qiov,
                                FileAioEngine engine);
int coroutine_fn file_co_pwritev(int fd, int64_t offset, QEMUIOVector *qiov,
                                 bool dsync, FileAioEngine engine);
/* fdatasync(2); returns 0 or -errno. */
int coroutine_fn file_co_fdatasync(int fd, FileAioEngine engine);
/* fallocate(2); returns 0 or -errno. */
int coroutine_fn file_co_fallocate(int fd, int mode, int64_t offset,
                                   int64_t bytes);

#endif
