/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O threads: a thread that does nothing but run the loop of an AioContext of
 * its own.  Which nodes, jobs and exports it serves is for others to say (see
 * bdrv_try_set_aio_context()); how the main thread keeps it away from what it
 * changes stands in "qemu/aio.h", at aio_exclusive_begin().
 *
 * Main thread only.
 */
#ifndef QEMU_IOTHREAD_H
#define QEMU_IOTHREAD_H

#include "qemu/aio.h"

typedef struct IOThread IOThread;

/*
 * Starts one.  @name, which is copied, is for iothread_find() and, after "IO ",
 * for debuggers.  NULL with @errp.
 */
IOThread *iothread_new(const char *name, Error **errp);
/* The one called @name, the latest of several; NULL: there is none. */
IOThread *iothread_find(const char *name);
/*
 * Ends the thread and frees it.  Nothing may use its context any more; what is
 * left of bottom halves is run.  NULL is allowed.
 */
void iothread_free(IOThread *thread);
/* Lives as long as @thread. */
AioContext *iothread_context(const IOThread *thread);
/* As the kernel counts threads (gettid(2)). */
int64_t iothread_tid(const IOThread *thread);
/* Lives as long as @thread. */
const char *iothread_name(const IOThread *thread);

/*
 * Before a wait the loop of @ctx looks for events for up to a time that adapts
 * itself: it begins at 4 us and is multiplied by @grow (0: 2) where waking up
 * took no longer than @max_ns, and divided by @shrink (0: set to 0) where it
 * did.  @max_ns 0: it waits at once.  Any thread.
 */
void aio_context_set_polling(AioContext *ctx, int64_t max_ns, int64_t grow,
                             int64_t shrink);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(IOThread, iothread_free)

#endif
