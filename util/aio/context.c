/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The context: set-up, one iteration of the loop, wake-ups from other threads.
 *
 * Waking up.  A thread (or signal handler) that adds work first publishes it,
 * then sets `notified`, then reads `waiting`; the loop first sets `waiting`,
 * then reads `notified`.  All accesses are sequentially consistent, so at least
 * one of the two sees the other, and an eventfd is written only if the loop
 * really waits.
 */
#include "qemu/osdep.h"
#include "aio-int.h"
#include "../coroutine/coroutine-sched.h"

#include <sched.h>
#include <sys/eventfd.h>

static AioContext *main_context;
static bool main_quit; /* atomic */
static AioBH *quit_bh; /* set before a quit can be requested */
static __thread AioContext *current_context;

/* --- life cycle --- */

static bool aio_engine_try(AioContext *ctx, const AioEngine *engine,
                           Error **errp)
{
    ctx->engine = engine;
    return engine->init(ctx, errp);
}

static bool aio_engine_choose(AioContext *ctx, Error **errp)
{
    const char *forced = getenv("TIDEMARK_AIO");

    if (!forced || !*forced) {
        return aio_engine_try(ctx, &aio_engine_uring, NULL) ||
               aio_engine_try(ctx, &aio_engine_epoll, errp);
    }
    if (!strcmp(forced, aio_engine_uring.name)) {
        return aio_engine_try(ctx, &aio_engine_uring, errp);
    }
    if (!strcmp(forced, aio_engine_epoll.name)) {
        return aio_engine_try(ctx, &aio_engine_epoll, errp);
    }
    error_setg(errp, "TIDEMARK_AIO is '%s', must be 'io_uring' or 'epoll'",
               forced);
    return false;
}

AioContext *aio_context_new(Error **errp)
{
    AioContext *ctx = g_new0(AioContext, 1);

    assert(!current_context);
    TAILQ_INIT(&ctx->dirty_nodes);
    for (int i = 0; i < AIO_SCOPES; i++) {
        TAILQ_INIT(&ctx->ready_dirs[i]);
        TAILQ_INIT(&ctx->ready_bhs[i]);
    }
    ctx->ready_co_tail = &ctx->ready_co;
    ctx->wake_fd = eventfd(0, EFD_CLOEXEC);
    if (ctx->wake_fd < 0) {
        error_setg_errno(errp, errno, "Cannot create an eventfd");
        g_free(ctx);
        return NULL;
    }
    if (!aio_engine_choose(ctx, errp)) {
        close(ctx->wake_fd);
        g_free(ctx);
        return NULL;
    }
    current_context = ctx;
    return ctx;
}

void aio_context_end(AioContext *ctx)
{
    assert(ctx == current_context);
    /* Bottom halves that were freed or are oneshots may still be listed. */
    while (aio_poll(ctx, false)) {
    }
    while (__atomic_load_n(&ctx->senders, __ATOMIC_ACQUIRE)) {
        sched_yield(); /* they are about to return */
    }
    assert(!ctx->timers[AIO_SCOPE_IO].len && !ctx->timers[AIO_SCOPE_MAIN].len);
    file_libaio_cleanup(ctx);
    file_ring_cleanup(ctx);
    ctx->engine->cleanup(ctx);
    aio_nodes_free(ctx);
    close(ctx->wake_fd);
    g_free(ctx->timers[AIO_SCOPE_IO].item);
    g_free(ctx->timers[AIO_SCOPE_MAIN].item);
    current_context = NULL;
}

bool aio_main_init(Error **errp)
{
    assert(!main_context);
    main_context = aio_context_new(errp);
    if (!main_context) {
        return false;
    }
    main_context->is_main = true;
    __atomic_store_n(&main_quit, false, __ATOMIC_RELAXED);
    aio_exclusive_begin();
    return true;
}

void aio_main_cleanup(void)
{
    AioContext *ctx = main_context;

    thread_pool_cleanup();
    aio_exclusive_end();
    aio_context_end(ctx);
    main_context = NULL;
    g_free(ctx);
}

AioContext *aio_main_context(void)
{
    return main_context;
}

AioContext *aio_current_context(void)
{
    return current_context;
}

const char *aio_context_engine(AioContext *ctx)
{
    return ctx->engine->name;
}

/* --- in another thread --- */

typedef struct ContextRun {
    AioHandler *fn;
    void *opaque;
    bool done; /* atomic */
} ContextRun;

static void context_run_bh(void *opaque)
{
    ContextRun *run = opaque;

    run->fn(run->opaque);
    __atomic_store_n(&run->done, true, __ATOMIC_RELEASE);
}

void aio_context_run(AioContext *ctx, AioHandler *fn, void *opaque)
{
    ContextRun run = { .fn = fn, .opaque = opaque };

    if (ctx == current_context) {
        fn(opaque);
        return;
    }
    aio_bh_oneshot(ctx, AIO_SCOPE_IO, context_run_bh, &run);
    AIO_WAIT_WHILE(!__atomic_load_n(&run.done, __ATOMIC_ACQUIRE));
}

/* --- coroutines to enter --- */

void co_schedule(AioContext *ctx, Coroutine *co)
{
    aio_send_begin(ctx);
    co_set_queued(co);
    co->next = __atomic_load_n(&ctx->incoming_co, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&ctx->incoming_co, &co->next, co, true,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
    }
    aio_notify(ctx);
    aio_send_end(ctx);
}

void aio_ready_co(AioContext *ctx, Coroutine *co)
{
    co_set_queued(co);
    *ctx->ready_co_tail = co;
    ctx->ready_co_tail = &co->next;
}

/* Moves coroutines of co_schedule(), latest first, to the list. */
static void aio_co_harvest(AioContext *ctx)
{
    Coroutine *co, *next, *first = NULL, *last;

    if (!__atomic_load_n(&ctx->incoming_co, __ATOMIC_SEQ_CST)) {
        return;
    }
    last = co = __atomic_exchange_n(&ctx->incoming_co, NULL, __ATOMIC_ACQUIRE);
    for (; co; co = next) {
        next = co->next;
        co->next = first;
        first = co;
    }
    *ctx->ready_co_tail = first;
    ctx->ready_co_tail = &last->next;
}

static bool aio_run_cos(AioContext *ctx)
{
    Coroutine *last = NULL;
    bool progress = false;

    if (ctx->ready_co) {
        last = container_of(ctx->ready_co_tail, Coroutine, next);
    }
    /* Stop at the present end of the list, to return to the loop.  If a nested
     * poll has run that one, this ends with the list. */
    while (ctx->ready_co) {
        Coroutine *co = ctx->ready_co;

        ctx->ready_co = co->next;
        if (!ctx->ready_co) {
            ctx->ready_co_tail = &ctx->ready_co;
        }
        co->next = NULL;
        progress = true;
        co_enter_queued(co);
        if (co == last) {
            break;
        }
    }
    return progress;
}

/* --- the loop --- */

void aio_notify(AioContext *ctx)
{
    uint64_t one = 1;

    __atomic_store_n(&ctx->notified, true, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&ctx->waiting, __ATOMIC_SEQ_CST) &&
        __atomic_exchange_n(&ctx->waiting, false, __ATOMIC_SEQ_CST)) {
        int saved_errno = errno;
        ssize_t n = write(ctx->wake_fd, &one, sizeof(one));

        /* Cannot fail: the counter is far from its limit. */
        (void)n;
        errno = saved_errno;
    }
}

static bool aio_has_ready(const AioContext *ctx, AioScope scope)
{
    return !TAILQ_EMPTY(&ctx->ready_dirs[scope]) ||
           !TAILQ_EMPTY(&ctx->ready_bhs[scope]);
}

/* How long an iteration may wait: 0 not at all, < 0 without limit. */
static int64_t aio_timeout(const AioContext *ctx, bool nested)
{
    int64_t next = aio_timers_next(ctx, AIO_SCOPE_IO);

    if (ctx->ready_co || aio_has_ready(ctx, AIO_SCOPE_IO)) {
        return 0;
    }
    if (!nested) {
        if (aio_has_ready(ctx, AIO_SCOPE_MAIN)) {
            return 0;
        }
        next = MIN(next, aio_timers_next(ctx, AIO_SCOPE_MAIN));
    }
    if (next == INT64_MAX) {
        return -1;
    }
    /* A variable, as MAX() evaluates its arguments twice and time advances. */
    next -= aio_now_ns();
    return MAX(next, 0);
}

/* Waits; an I/O thread is outside its gate meanwhile. */
static void aio_wait_outside(AioContext *ctx, int64_t timeout)
{
    if (!ctx->is_main) {
        aio_gate_leave(ctx);
    }
    ctx->engine->wait(ctx, timeout);
    if (!ctx->is_main) {
        aio_gate_enter(ctx);
    }
}

/* Waits, or checks for events if @timeout is 0. */
static void aio_wait_event(AioContext *ctx, int64_t timeout)
{
    if (timeout) {
        __atomic_store_n(&ctx->waiting, true, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&ctx->notified, __ATOMIC_SEQ_CST)) {
            timeout = 0;
        }
    }
    if (ctx->engine->prepare) {
        ctx->engine->prepare(ctx, timeout);
    }
    aio_wait_outside(ctx, timeout);
    __atomic_store_n(&ctx->waiting, false, __ATOMIC_RELAXED);
}

/* The same for a @timeout that is not 0, with polling before the wait. */
static void aio_wait_polling(AioContext *ctx, int64_t timeout)
{
    int64_t max_ns = __atomic_load_n(&ctx->poll_max_ns, __ATOMIC_RELAXED);
    int64_t grow = __atomic_load_n(&ctx->poll_grow, __ATOMIC_RELAXED);
    int64_t shrink = __atomic_load_n(&ctx->poll_shrink, __ATOMIC_RELAXED);
    int64_t start = aio_now_ns();

    ctx->poll_ns = MIN(ctx->poll_ns, max_ns);
    if (!ctx->poll_ns || !aio_poll_busily(ctx, timeout)) {
        int64_t left = timeout - (aio_now_ns() - start);

        aio_wait_event(ctx, timeout < 0 ? -1 : MAX(left, 0));
    }
    ctx->poll_ns = aio_poll_tune(ctx->poll_ns, aio_now_ns() - start, max_ns,
                                 grow, shrink);
}

static void aio_wait(AioContext *ctx, bool nested, bool blocking)
{
    int64_t timeout = 0;
    AioNode *node;

    while ((node = TAILQ_FIRST(&ctx->dirty_nodes))) {
        TAILQ_REMOVE(&ctx->dirty_nodes, node, dirty_entry);
        node->dirty = false;
        ctx->engine->arm(ctx, node);
    }
    file_libaio_flush(ctx);
    file_ring_flush(ctx);
    if (blocking) {
        timeout = aio_timeout(ctx, nested);
    }
    if (timeout && __atomic_load_n(&ctx->poll_max_ns, __ATOMIC_RELAXED)) {
        aio_wait_polling(ctx, timeout);
    } else {
        aio_wait_event(ctx, timeout);
    }
    /* An exchange: data published before the notification is visible now. */
    (void)__atomic_exchange_n(&ctx->notified, false, __ATOMIC_SEQ_CST);
    ctx->engine->harvest(ctx);
    aio_co_harvest(ctx);
    aio_bh_harvest(ctx);
}

static bool aio_run_scope(AioContext *ctx, AioScope scope)
{
    bool progress = aio_run_bhs(ctx, scope);

    progress |= aio_run_dirs(ctx, scope);
    progress |= aio_run_timers(ctx, scope);
    return progress;
}

/* Does nothing unless there is something to run, as gates are closed for it. */
static bool aio_run_main_scope(AioContext *ctx)
{
    bool progress;

    if (!ctx->is_main) {
        return aio_run_scope(ctx, AIO_SCOPE_MAIN);
    }
    if (!aio_has_ready(ctx, AIO_SCOPE_MAIN) &&
        aio_timers_next(ctx, AIO_SCOPE_MAIN) > aio_now_ns()) {
        return false;
    }
    aio_exclusive_begin();
    progress = aio_run_scope(ctx, AIO_SCOPE_MAIN);
    aio_exclusive_end();
    return progress;
}

bool aio_poll(AioContext *ctx, bool blocking)
{
    bool nested = ctx->depth > 0;
    int exclusive = ctx->is_main ? aio_exclusive_leave() : 0;
    bool progress;

    assert(ctx == current_context && !in_coroutine());
    ctx->depth++;
    aio_wait(ctx, nested, blocking);
    progress = aio_run_cos(ctx);
    progress |= aio_run_scope(ctx, AIO_SCOPE_IO);
    if (!nested) {
        progress |= aio_run_main_scope(ctx);
    }
    ctx->depth--;
    aio_exclusive_return(exclusive);
    return progress;
}

void aio_nest_begin(void)
{
    aio_main_context()->depth++;
}

void aio_nest_end(void)
{
    aio_main_context()->depth--;
}

void aio_main_hold(void)
{
    aio_main_context()->depth++;
    aio_main_context()->held = true;
}

void aio_main_release(void)
{
    aio_main_context()->depth--;
    aio_main_context()->held = false;
}

void aio_main_loop(void)
{
    int exclusive = aio_exclusive_leave();

    while (!__atomic_exchange_n(&main_quit, false, __ATOMIC_SEQ_CST)) {
        aio_poll(main_context, true);
    }
    aio_exclusive_return(exclusive);
}

void aio_main_quit(void)
{
    __atomic_store_n(&main_quit, true, __ATOMIC_SEQ_CST);
    if (quit_bh) {
        aio_bh_schedule(quit_bh);
    }
    if (main_context) {
        aio_notify(main_context);
    }
}

void aio_main_on_quit(AioBH *bh)
{
    quit_bh = bh;
}

bool aio_main_quitting(void)
{
    return __atomic_load_n(&main_quit, __ATOMIC_SEQ_CST);
}

bool aio_main_nested(void)
{
    return main_context->depth > 1;
}

bool aio_main_held(void)
{
    return main_context->held;
}
