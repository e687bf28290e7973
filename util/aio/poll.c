/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Polling for events before the wait.
 *
 * Sleeping and waking up costs several microseconds, more than some devices
 * take for a request.  So the loop polls for a while, which costs CPU time.
 * The polling time is adapted to how long the last events took to arrive:
 *
 *     within the time       the time is right and stays the same
 *     later, within max     polling would have found it: poll longer
 *     later than max        polling would not have found it: poll less
 */
#include "qemu/osdep.h"
#include "qemu/iothread.h"
#include "aio-int.h"

#define FIRST_POLL_NS 4000

int64_t aio_poll_tune(int64_t poll_ns, int64_t took_ns, int64_t max_ns,
                      int64_t grow, int64_t shrink)
{
    if (took_ns <= poll_ns) {
        return poll_ns;
    }
    if (took_ns > max_ns) {
        return shrink ? poll_ns / shrink : 0;
    }
    if (!poll_ns) {
        return MIN(FIRST_POLL_NS, max_ns);
    }
    grow = grow ? grow : 2;
    return poll_ns > max_ns / grow ? max_ns : poll_ns * grow;
}

static bool look(AioContext *ctx)
{
    ctx->engine->wait(ctx, 0);
    return ctx->engine->found(ctx) ||
           __atomic_load_n(&ctx->notified, __ATOMIC_SEQ_CST);
}

bool aio_poll_busily(AioContext *ctx, int64_t timeout_ns)
{
    int64_t end = aio_now_ns() + ctx->poll_ns;
    bool found;

    /* The polling must not delay a timer. */
    if (timeout_ns >= 0 && timeout_ns < ctx->poll_ns) {
        end = aio_now_ns() + timeout_ns;
    }
    if (!ctx->is_main) {
        aio_gate_leave(ctx);
    }
    do {
        found = look(ctx);
    } while (!found && aio_now_ns() < end);
    if (!ctx->is_main) {
        aio_gate_enter(ctx);
    }
    return found;
}

void aio_context_set_polling(AioContext *ctx, int64_t max_ns, int64_t grow,
                             int64_t shrink)
{
    assert(max_ns >= 0 && grow >= 0 && shrink >= 0);
    __atomic_store_n(&ctx->poll_max_ns, max_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&ctx->poll_grow, grow, __ATOMIC_RELAXED);
    __atomic_store_n(&ctx->poll_shrink, shrink, __ATOMIC_RELAXED);
}
