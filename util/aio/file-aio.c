/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File I/O: chooses the engine for each transfer, continues short transfers,
 * and returns zeroes for reads past the end of the file.
 */
#include "qemu/osdep.h"
#include "aio-int.h"

/* Buffered reads up to this size are first tried in the page cache. */
#define FILE_INLINE_READ_MAX (128 * KiB)
/* Retries that the kernel may ask for before a thread takes over. */
#define FILE_AGAIN_MAX 4

typedef struct FileWork {
    const FileReq *req;
    ssize_t ret; /* an int is too small for bytes */
} FileWork;

static ssize_t file_sync(const FileReq *r)
{
    switch (r->verb) {
    case FILE_READ:
        return preadv(r->fd, r->iov, r->niov, r->offset);
    case FILE_WRITE:
        return pwritev2(r->fd, r->iov, r->niov, r->offset,
                        r->dsync ? RWF_DSYNC : 0);
    case FILE_FDATASYNC:
        return fdatasync(r->fd);
    case FILE_FALLOCATE:
        return fallocate(r->fd, r->mode, r->offset, r->bytes);
    }
    g_assert_not_reached();
}

static int file_worker(void *opaque)
{
    FileWork *work = opaque;

    do {
        work->ret = file_sync(work->req);
    } while (work->ret < 0 && errno == EINTR);
    if (work->ret < 0) {
        work->ret = -errno;
    }
    return 0;
}

static ssize_t coroutine_fn file_thread_co(const FileReq *req)
{
    FileWork work = { .req = req };

    thread_pool_co_run(file_worker, &work);
    return work.ret;
}

/*
 * Reads from the page cache without waiting; -EAGAIN if that is impossible.
 * Not with O_DIRECT, where the kernel waits for the device anyway.
 */
static ssize_t file_try_cached(const FileReq *req, size_t bytes)
{
    ssize_t n;
    int flags;

    if (req->verb != FILE_READ || bytes > FILE_INLINE_READ_MAX) {
        return -EAGAIN;
    }
    flags = fcntl(req->fd, F_GETFL);
    if (flags < 0 || (flags & O_DIRECT)) {
        return -EAGAIN;
    }
    n = preadv2(req->fd, req->iov, req->niov, req->offset, RWF_NOWAIT);
    return n < 0 ? -EAGAIN : n;
}

static bool file_is_data(const FileReq *req)
{
    return req->verb == FILE_READ || req->verb == FILE_WRITE;
}

/* One transfer by @engine: bytes done, or -errno. */
static ssize_t coroutine_fn file_once(const FileReq *req, size_t bytes,
                                      FileAioEngine engine)
{
    AioContext *ctx = aio_current_context();
    ssize_t n;

    switch (engine) {
    case FILE_AIO_AUTO:
        if (!strcmp(ctx->engine->name, aio_engine_uring.name)) {
            return file_uring_co(ctx, req);
        }
        n = file_try_cached(req, bytes);
        return n == -EAGAIN ? file_thread_co(req) : n;
    case FILE_AIO_IO_URING:
        if (file_ring_get(ctx, NULL)) {
            return file_uring_co(ctx, req);
        }
        break;
    case FILE_AIO_NATIVE:
        /* Few file systems support a flush by libaio. */
        if (file_is_data(req) && file_libaio_init(ctx, NULL)) {
            return file_libaio_co(ctx, req);
        }
        break;
    case FILE_AIO_THREADS:
        break;
    }
    return file_thread_co(req);
}

/* Like file_once(), but retries if the kernel asks for that. */
static ssize_t coroutine_fn file_transfer(const FileReq *req, size_t bytes,
                                          FileAioEngine engine)
{
    ssize_t n;

    for (int i = 0; i < FILE_AGAIN_MAX; i++) {
        n = file_once(req, bytes, engine);
        if (n != -EINTR && n != -EAGAIN) {
            return n;
        }
    }
    return file_thread_co(req);
}

bool file_aio_supported(FileAioEngine engine, Error **errp)
{
    AioContext *ctx = aio_current_context();

    switch (engine) {
    case FILE_AIO_AUTO:
    case FILE_AIO_THREADS:
        return true;
    case FILE_AIO_NATIVE:
        return file_libaio_init(ctx, errp);
    case FILE_AIO_IO_URING:
        return file_ring_get(ctx, errp) != NULL;
    }
    g_assert_not_reached();
}

/*
 * Is a short read at the end of the file?  A query, as with O_DIRECT the rest
 * may begin at an unaligned offset.
 */
static bool file_at_end(int fd, int64_t offset)
{
    off_t end = lseek(fd, 0, SEEK_END);

    return end >= 0 && offset >= end;
}

/* Transfers all of @qiov; @req has verb, file and offset. */
static int coroutine_fn file_co_rw(FileReq *req, QEMUIOVector *qiov,
                                   FileAioEngine engine)
{
    size_t done = 0;

    while (done < qiov->size) {
        QEMUIOVector rest;
        bool whole = done == 0;
        ssize_t n;

        if (!whole) {
            qemu_iovec_init_slice(&rest, qiov, done, qiov->size - done);
        }
        req->iov = whole ? qiov->iov : rest.iov;
        req->niov = MIN(whole ? qiov->niov : rest.niov, IOV_MAX);
        n = file_transfer(req, qiov->size - done, engine);
        if (!whole) {
            qemu_iovec_destroy(&rest);
        }
        if (n < 0) {
            return n;
        }
        if (n == 0 && req->verb == FILE_WRITE) {
            return -ENOSPC;
        }
        done += n;
        req->offset += n;
        if (req->verb == FILE_READ && done < qiov->size &&
            (n == 0 || file_at_end(req->fd, req->offset))) {
            qemu_iovec_memset(qiov, done, 0, qiov->size - done);
            break;
        }
    }
    return 0;
}

int coroutine_fn file_co_preadv(int fd, int64_t offset, QEMUIOVector *qiov,
                                FileAioEngine engine)
{
    FileReq req = { .verb = FILE_READ, .fd = fd, .offset = offset };

    return file_co_rw(&req, qiov, engine);
}

int coroutine_fn file_co_pwritev(int fd, int64_t offset, QEMUIOVector *qiov,
                                 bool dsync, FileAioEngine engine)
{
    FileReq req = {
        .verb = FILE_WRITE,
        .fd = fd,
        .offset = offset,
        .dsync = dsync,
    };

    return file_co_rw(&req, qiov, engine);
}

int coroutine_fn file_co_fdatasync(int fd, FileAioEngine engine)
{
    FileReq req = { .verb = FILE_FDATASYNC, .fd = fd };

    return file_transfer(&req, 0, engine);
}

int coroutine_fn file_co_fallocate(int fd, int mode, int64_t offset,
                                   int64_t bytes)
{
    FileReq req = {
        .verb = FILE_FALLOCATE,
        .fd = fd,
        .offset = offset,
        .mode = mode,
        .bytes = bytes,
    };

    return file_transfer(&req, 0, FILE_AIO_AUTO);
}
