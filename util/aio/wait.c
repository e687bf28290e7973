/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running a coroutine to its end, from a coroutine or outside of one. */
#include "qemu/osdep.h"
#include "qemu/aio.h"

typedef struct RunCo {
    CoroutineEntry *entry;
    void *opaque;
    bool done; /* atomic */
} RunCo;

static void coroutine_fn run_co_entry(void *opaque)
{
    RunCo *run = opaque;

    run->entry(run->opaque);
    __atomic_store_n(&run->done, true, __ATOMIC_RELEASE);
}

static void coroutine_fn run_there(AioContext *ctx, CoroutineEntry *entry,
                                   void *opaque)
{
    AioContext *here = aio_current_context();

    co_move_to(ctx);
    entry(opaque);
    co_move_to(here);
}

void coroutine_mixed_fn aio_run_co(AioContext *ctx, CoroutineEntry *entry,
                                   void *opaque)
{
    RunCo run = { .entry = entry, .opaque = opaque };

    if (in_coroutine()) {
        run_there(ctx, entry, opaque);
        return;
    }
    aio_co_enter(ctx, coroutine_create(run_co_entry, &run));
    AIO_WAIT_WHILE(!__atomic_load_n(&run.done, __ATOMIC_ACQUIRE));
}

void aio_co_enter(AioContext *ctx, Coroutine *co)
{
    if (ctx == aio_current_context()) {
        coroutine_enter(co);
    } else {
        co_schedule(ctx, co);
    }
}
