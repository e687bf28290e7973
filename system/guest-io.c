/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of a guest.
 *
 * A request that fails follows the device's error policy: it is reported to the
 * guest, ignored (reported as success), or it stops the machine and waits until
 * the machine runs again, when it is retried.
 *
 * It is executed in the thread of the device's iothread; all else is done in
 * the main thread.
 */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/graph.h"
#include "device.h"
#include "guest-io.h"
#include "qemu/aio.h"
#include "runstate.h"

typedef struct GuestRequest {
    struct GuestQueue *queue;
    Device *dev;       /* during execution: counted there */
    BlockBackend *blk; /* likewise, with a reference */
    BlockAcctCookie acct;
    int ret;           /* written by the device's thread */
    bool is_write;
    int64_t offset, bytes;
    void *buf;
    GuestDone *done;
    void *opaque;
    TAILQ_ENTRY(GuestRequest) next;
} GuestRequest;

typedef struct GuestQueue {
    Device *dev; /* NULL: deleted */
    int refcnt;  /* of the device, and one for each request in flight */
    TAILQ_HEAD(, GuestRequest) waiting; /* for the machine to run */
} GuestQueue;

static void submit(GuestRequest *req);

static void queue_unref(GuestQueue *queue)
{
    if (--queue->refcnt == 0) {
        g_free(queue);
    }
}

static void finish(GuestRequest *req, int ret)
{
    GuestQueue *queue = req->queue;

    req->done(req->opaque, ret);
    g_free(req);
    queue_unref(queue);
}

/* The machine runs again: retry the waiting requests in order. */
static void run_state_changed(void *opaque, bool running)
{
    GuestQueue *queue = opaque;
    GuestRequest *req;

    while (running && (req = TAILQ_FIRST(&queue->waiting))) {
        TAILQ_REMOVE(&queue->waiting, req, next);
        submit(req);
    }
}

static void tell_of_error(BlockBackend *blk, const GuestRequest *req,
                          int error, BlockErrorAction action)
{
    if (bdrv_event_hooks.io_error) {
        bdrv_event_hooks.io_error(blk, !req->is_write, error, action);
    }
}

static void stop_bh(void *opaque)
{
    vm_stop(RUN_STATE_IO_ERROR);
}

/* False if the request waits for the machine to run. */
static bool handle_error(GuestRequest *req, BlockBackend *blk, int *ret)
{
    BlockErrorAction action = blk_get_error_action(blk, !req->is_write, -*ret);

    if (action == BLOCK_ERROR_ACTION_STOP) {
        blk_iostatus_set_err(blk, -*ret);
        tell_of_error(blk, req, -*ret, action);
        TAILQ_INSERT_TAIL(&req->queue->waiting, req, next);
        /* Stopping drains, which a request must not do. */
        aio_bh_oneshot(aio_main_context(), AIO_SCOPE_MAIN, stop_bh, NULL);
        return false;
    }
    tell_of_error(blk, req, -*ret, action);
    if (action == BLOCK_ERROR_ACTION_IGNORE) {
        *ret = 0;
    }
    return true;
}

static void performed_bh(void *opaque)
{
    GuestRequest *req = opaque;
    BlockBackend *blk = req->blk;
    Device *dev = req->dev;
    int ret = req->ret;

    if (ret >= 0 || !req->queue->dev || handle_error(req, blk, &ret)) {
        /* A request that is retried is counted later. */
        block_acct_done(blk_get_stats(blk), &req->acct, ret);
        finish(req, MIN(ret, 0));
    }
    blk_unref(blk);
    dev->guest_requests--;
}

static void coroutine_fn request_entry(void *opaque)
{
    GuestRequest *req = opaque;

    req->ret = req->is_write
        ? blk_co_pwrite(req->blk, req->offset, req->bytes, req->buf, 0)
        : blk_co_pread(req->blk, req->offset, req->bytes, req->buf, 0);
    aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, performed_bh, req);
}

static void perform(GuestRequest *req)
{
    req->dev = req->queue->dev;
    req->dev->guest_requests++;
    req->blk = blk_ref(req->dev->blk);
    block_acct_start(&req->acct, req->is_write ? BLOCK_ACCT_WRITE
                                               : BLOCK_ACCT_READ, req->bytes);
    blk_enter_co(req->blk, request_entry, req);
}

static void submit(GuestRequest *req)
{
    if (!req->queue->dev) {
        finish(req, -ENODEV);
    } else if (!runstate_is_running()) {
        TAILQ_INSERT_TAIL(&req->queue->waiting, req, next);
    } else {
        perform(req);
    }
}

void guest_rw(Device *dev, bool is_write, int64_t offset, int64_t bytes,
              void *buf, GuestDone *done, void *opaque)
{
    GuestRequest *req = g_new0(GuestRequest, 1);

    if (!dev->guest) {
        dev->guest = g_new0(GuestQueue, 1);
        dev->guest->dev = dev;
        dev->guest->refcnt = 1;
        TAILQ_INIT(&dev->guest->waiting);
        runstate_add_listener(run_state_changed, dev->guest);
    }
    req->queue = dev->guest;
    req->queue->refcnt++;
    req->is_write = is_write;
    req->offset = offset;
    req->bytes = bytes;
    req->buf = buf;
    req->done = done;
    req->opaque = opaque;
    submit(req);
}

void guest_detach(Device *dev)
{
    GuestQueue *queue = g_steal_pointer(&dev->guest);
    GuestRequest *req;

    if (!queue) {
        return;
    }
    runstate_remove_listener(run_state_changed, queue);
    queue->dev = NULL;
    while ((req = TAILQ_FIRST(&queue->waiting))) {
        TAILQ_REMOVE(&queue->waiting, req, next);
        finish(req, -EIO);
    }
    queue_unref(queue);
}
