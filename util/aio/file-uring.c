/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File I/O by io_uring: in the loop's ring, where the call by which the loop
 * waits also submits requests, or in a ring of its own beside epoll.
 */
#include "qemu/osdep.h"
#include "ring.h"

#include <sys/eventfd.h>

typedef struct FileUringOp {
    RingOp op;
    AioContext *ctx;
    Coroutine *co;
    int res;
} FileUringOp;

/* --- a separate ring --- */

/*
 * All completions.  Those for which there was no room wait in the kernel until
 * it is called, and the eventfd tells nothing of them.
 */
static void file_ring_reap(FileRing *fr)
{
    ring_reap(&fr->ring);
    while (io_uring_cq_has_overflow(&fr->ring)) {
        io_uring_get_events(&fr->ring);
        ring_reap(&fr->ring);
    }
}

static void file_ring_event(void *opaque)
{
    FileRing *fr = opaque;
    uint64_t count;

    if (read(fr->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
        g_error("eventfd: %s", g_strerror(errno));
    }
    io_uring_get_events(&fr->ring);
    file_ring_reap(fr);
}

static FileRing *file_ring_new(AioContext *ctx, Error **errp)
{
    FileRing *fr = g_new0(FileRing, 1);
    int ret;

    if (!ring_init(&fr->ring, errp)) {
        g_free(fr);
        return NULL;
    }
    fr->own = true;
    fr->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ret = fr->event_fd < 0 ? -errno
                           : io_uring_register_eventfd(&fr->ring, fr->event_fd);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot set up an io_uring");
        if (fr->event_fd >= 0) {
            close(fr->event_fd);
        }
        io_uring_queue_exit(&fr->ring);
        g_free(fr);
        return NULL;
    }
    aio_set_fd_handler(ctx, fr->event_fd, AIO_SCOPE_IO, file_ring_event, NULL,
                       fr);
    return fr;
}

FileRing *file_ring_get(AioContext *ctx, Error **errp)
{
    if (!ctx->ring) {
        ctx->ring = file_ring_new(ctx, errp);
    }
    return ctx->ring;
}

void file_ring_cleanup(AioContext *ctx)
{
    FileRing *fr = ctx->ring;

    if (!fr || !fr->own) {
        return;
    }
    aio_set_fd_handler(ctx, fr->event_fd, AIO_SCOPE_IO, NULL, NULL, NULL);
    close(fr->event_fd);
    io_uring_queue_exit(&fr->ring);
    g_free(fr);
    ctx->ring = NULL;
}

void file_ring_flush(AioContext *ctx)
{
    FileRing *fr = ctx->ring;
    int ret;

    if (!fr || !fr->own || !fr->queued) {
        return;
    }
    ret = io_uring_submit(&fr->ring);
    if (ret < 0 && ret != -EINTR && ret != -EBUSY && ret != -EAGAIN) {
        g_error("io_uring_submit: %s", g_strerror(-ret));
    }
    fr->queued = io_uring_sq_ready(&fr->ring);
    /* Requests on cached pages have completed already. */
    file_ring_reap(fr);
}

/* --- requests --- */

static void file_uring_prep(struct io_uring_sqe *sqe, const FileReq *r)
{
    const struct iovec *v = r->iov;
    unsigned len;

    switch (r->verb) {
    case FILE_READ:
    case FILE_WRITE:
        if (r->niov != 1) {
            (r->verb == FILE_READ ? io_uring_prep_readv : io_uring_prep_writev)
                (sqe, r->fd, v, r->niov, r->offset);
        } else {
            /* With one buffer the kernel need not copy the vector. */
            len = MIN(v->iov_len, 1u << 30);
            if (r->verb == FILE_READ) {
                io_uring_prep_read(sqe, r->fd, v->iov_base, len, r->offset);
            } else {
                io_uring_prep_write(sqe, r->fd, v->iov_base, len, r->offset);
            }
        }
        sqe->rw_flags = r->dsync ? RWF_DSYNC : 0;
        break;
    case FILE_FDATASYNC:
        io_uring_prep_fsync(sqe, r->fd, IORING_FSYNC_DATASYNC);
        break;
    case FILE_FALLOCATE:
        io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, r->fd,
                         (void *)(uintptr_t)r->bytes, r->mode, r->offset);
        break;
    }
}

static void file_uring_done(RingOp *op, int res)
{
    FileUringOp *u = container_of(op, FileUringOp, op);

    u->res = res;
    aio_ready_co(u->ctx, u->co);
}

ssize_t coroutine_fn file_uring_co(AioContext *ctx, const FileReq *req)
{
    FileUringOp u = {
        .op.done = file_uring_done,
        .ctx = ctx,
        .co = coroutine_self(),
    };
    struct io_uring_sqe *sqe = ring_get_sqe(&ctx->ring->ring);

    file_uring_prep(sqe, req);
    ring_set_op(sqe, &u.op);
    ctx->ring->queued++;
    coroutine_yield();
    return u.res;
}
