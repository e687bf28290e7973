/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Running a coroutine to its end from either world. */
#include "qemu/osdep.h"
#include "qemu/aio.h"

typedef struct RunCo {
    CoroutineEntry *entry;
    void *opaque;
    bool done;
} RunCo;

static void coroutine_fn run_co_entry(void *opaque)
{
    RunCo *run = opaque;

    run->entry(run->opaque);
    run->done = true;
}

void coroutine_mixed_fn aio_run_co(CoroutineEntry *entry, void *opaque)
{
    RunCo run = { .entry = entry, .opaque = opaque };

    if (in_coroutine()) {
        entry(opaque);
        return;
    }
    coroutine_enter(coroutine_create(run_co_entry, &run));
    AIO_WAIT_WHILE(aio_main_context(), !run.done);
}
