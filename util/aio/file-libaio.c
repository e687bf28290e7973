/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File I/O by libaio (aio=native): the kernel's older asynchronous interface,
 * which is asynchronous with O_DIRECT only.  Requests are collected and
 * submitted together before the loop waits.
 */
#include "qemu/osdep.h"
#include "aio-int.h"

#include <libaio.h>
#include <sys/eventfd.h>

#define LAIO_MAX 128

typedef struct LaioReq {
    struct iocb iocb; /* first: the kernel returns a pointer to it */
    Coroutine *co;
    ssize_t res;
    TAILQ_ENTRY(LaioReq) entry;
} LaioReq;

typedef struct LinuxAio {
    AioContext *ctx;
    io_context_t io;
    int event_fd;
    int in_flight;
    TAILQ_HEAD(, LaioReq) pending; /* not submitted yet */
} LinuxAio;

static void laio_finish(LinuxAio *s, LaioReq *req, ssize_t res)
{
    req->res = res;
    aio_ready_co(s->ctx, req->co);
}

static void laio_event(void *opaque)
{
    LinuxAio *s = opaque;
    struct io_event events[LAIO_MAX];
    struct timespec none = { 0 };
    uint64_t count;
    int n;

    if (read(s->event_fd, &count, sizeof(count)) < 0 && errno != EAGAIN) {
        g_error("eventfd: %s", g_strerror(errno));
    }
    do {
        n = io_getevents(s->io, 0, LAIO_MAX, events, &none);
        for (int i = 0; i < n; i++) {
            s->in_flight--;
            laio_finish(s, (LaioReq *)events[i].obj, (long)events[i].res);
        }
    } while (n == LAIO_MAX || n == -EINTR);
}

bool file_libaio_init(AioContext *ctx, Error **errp)
{
    LinuxAio *s;
    int ret;

    if (ctx->laio) {
        return true;
    }
    s = g_new0(LinuxAio, 1);
    s->ctx = ctx;
    TAILQ_INIT(&s->pending);
    ret = io_setup(LAIO_MAX, &s->io);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot set up Linux AIO");
        g_free(s);
        return false;
    }
    s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->event_fd < 0) {
        error_setg_errno(errp, errno, "Cannot create an eventfd");
        io_destroy(s->io);
        g_free(s);
        return false;
    }
    aio_set_fd_handler(ctx, s->event_fd, AIO_SCOPE_IO, laio_event, NULL, s);
    ctx->laio = s;
    return true;
}

void file_libaio_cleanup(AioContext *ctx)
{
    LinuxAio *s = ctx->laio;

    if (s) {
        aio_set_fd_handler(ctx, s->event_fd, AIO_SCOPE_IO, NULL, NULL, NULL);
        io_destroy(s->io);
        close(s->event_fd);
        g_free(s);
        ctx->laio = NULL;
    }
}

void file_libaio_flush(AioContext *ctx)
{
    LinuxAio *s = ctx->laio;
    struct iocb *batch[LAIO_MAX];
    LaioReq *req;
    int n, done;

    while (s && !TAILQ_EMPTY(&s->pending) && s->in_flight < LAIO_MAX) {
        n = 0;
        TAILQ_FOREACH(req, &s->pending, entry) {
            if (n == LAIO_MAX - s->in_flight) {
                break;
            }
            batch[n++] = &req->iocb;
        }
        done = io_submit(s->io, n, batch);
        if (done == -EAGAIN && s->in_flight) {
            return; /* retried when a request has completed */
        }
        for (int i = 0; i < done; i++) {
            TAILQ_REMOVE(&s->pending, (LaioReq *)batch[i], entry);
            s->in_flight++;
        }
        if (done <= 0) {
            /* The first request has caused the error. */
            req = TAILQ_FIRST(&s->pending);
            TAILQ_REMOVE(&s->pending, req, entry);
            laio_finish(s, req, done ? done : -EIO);
        }
    }
}

ssize_t coroutine_fn file_libaio_co(AioContext *ctx, const FileReq *r)
{
    LaioReq req = { .co = coroutine_self() };

    if (r->verb == FILE_READ) {
        io_prep_preadv(&req.iocb, r->fd, r->iov, r->niov, r->offset);
    } else {
        io_prep_pwritev(&req.iocb, r->fd, r->iov, r->niov, r->offset);
        req.iocb.aio_rw_flags = r->dsync ? RWF_DSYNC : 0;
    }
    io_set_eventfd(&req.iocb, ctx->laio->event_fd);
    TAILQ_INSERT_TAIL(&ctx->laio->pending, &req, entry);
    coroutine_yield();
    return req.res;
}
