/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O threads: a thread that does nothing but run the loop of an AioContext of
 * its own.  bdrv_try_set_aio_context() assigns nodes, jobs and exports to it;
 * "qemu/aio.h", at aio_exclusive_begin(), says how the main thread stops it
 * while it changes them.
 *
 * Main thread only.
 */
#ifndef QEMU_IOTHREAD_H
#define QEMU_IOTHREAD_H

#include "qemu/aio.h"

typedef struct IOThread IOThread;

/*
 * Starts a thread.  @name, which is copied, is for iothread_find() and, after
 * "IO ", for debuggers.  NULL with @errp.
 */
IOThread *iothread_new(const char *name, Error **errp);
/* The thread called @name, the latest of several; NULL: there is none. */
IOThread *iothread_find(const char *name);
/*
 * Ends the thread and frees it.  Its context must be unused; bottom halves that
 * are still scheduled are run, and worker threads are waited for, with the main
 * loop polled.  NULL is allowed.
 */
void iothread_free(IOThread *thread);
/* Lives as long as @thread. */
AioContext *iothread_context(const IOThread *thread);
/* As the kernel counts threads (gettid(2)). */
int64_t iothread_tid(const IOThread *thread);
/* Lives as long as @thread. */
const char *iothread_name(const IOThread *thread);

/*
 * Before it waits, the loop of @ctx polls for events for an adaptive time: this
 * starts at 4 us and is multiplied by @grow (0: 2) if an event took no longer
 * than @max_ns to arrive, and divided by @shrink (0: set to 0) if it did.
 * @max_ns 0: it does not poll.  Any thread.
 */
void aio_context_set_polling(AioContext *ctx, int64_t max_ns, int64_t grow,
                             int64_t shrink);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(IOThread, iothread_free)

#endif
