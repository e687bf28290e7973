/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop's preferred engine: one io_uring for descriptors, wake-ups, timeouts
 * and file I/O, with one system call per iteration.
 *
 * Each direction of a descriptor is a poll request for one event; they are
 * renewed with the next submission, which costs no call of its own.
 */
#include "qemu/osdep.h"
#include "ring.h"

#include <poll.h>

#define RING_ENTRIES 128

typedef struct UringState {
    FileRing file; /* the loop's ring is used for files, too */
    RingOp wake_op;
    uint64_t wake_count; /* buffer for reads of the eventfd */
    bool wake_armed;
    int orphans; /* nodes referenced by the ring only */
} UringState;

/* --- the ring itself --- */

bool ring_init(struct io_uring *ring, Error **errp)
{
    /*
     * Best first: with DEFER_TASKRUN completions are prepared only on request,
     * which poll(2), see uring_block(), does not do.
     */
    static const unsigned flags[] = {
#ifndef __SANITIZE_THREAD__
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
#endif
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    const unsigned need = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG |
                          IORING_FEAT_FAST_POLL | IORING_FEAT_SUBMIT_STABLE;
    int ret = -ENOSYS;

    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        struct io_uring_params params = { .flags = flags[i] };

        ret = io_uring_queue_init_params(RING_ENTRIES, ring, &params);
        if (!ret && (params.features & need) != need) {
            io_uring_queue_exit(ring);
            ret = -ENOSYS;
        }
        if (ret != -EINVAL) {
            break;
        }
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot set up an io_uring");
        return false;
    }
    io_uring_ring_dontfork(ring);
    return true;
}

struct io_uring_sqe *ring_get_sqe(struct io_uring *ring)
{
    struct io_uring_sqe *sqe;

    while (!(sqe = io_uring_get_sqe(ring))) {
        int ret = io_uring_submit(ring);

        if (ret == -EBUSY || ret == -EAGAIN) {
            ring_reap(ring);
        } else if (ret < 0 && ret != -EINTR) {
            g_error("io_uring_submit: %s", g_strerror(-ret));
        }
    }
    return sqe;
}

void ring_reap(struct io_uring *ring)
{
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;

    io_uring_for_each_cqe(ring, head, cqe) {
        RingOp *op = io_uring_cqe_get_data(cqe);

        n++;
        if (op) {
            op->done(op, cqe->res);
        }
    }
    io_uring_cq_advance(ring, n);
}

/* --- wake-ups --- */

static void uring_wake_done(RingOp *op, int res)
{
    container_of(op, UringState, wake_op)->wake_armed = false;
}

static void uring_arm_wake(AioContext *ctx)
{
    UringState *s = ctx->engine_state;
    struct io_uring_sqe *sqe;

    if (!s->wake_armed) {
        sqe = ring_get_sqe(&s->file.ring);
        io_uring_prep_read(sqe, ctx->wake_fd, &s->wake_count,
                           sizeof(s->wake_count), 0);
        ring_set_op(sqe, &s->wake_op);
        s->wake_armed = true;
    }
}

/* --- descriptors --- */

static void uring_poll_done(RingOp *op, int res)
{
    AioDir *dir = container_of(op, AioDir, op);
    AioNode *node = dir->node;
    UringState *s = node->ctx->engine_state;

    dir->armed = false;
    dir->cancelling = false;
    if (node->orphan) {
        if (!node->dir[AIO_DIR_READ].armed && !node->dir[AIO_DIR_WRITE].armed) {
            s->orphans--;
            g_free(node);
        }
    } else if (res == -ECANCELED) {
        /* It may have a handler again. */
        aio_node_dirty(node);
    } else {
        aio_dir_ready(dir);
    }
}

static void uring_cancel(UringState *s, AioDir *dir)
{
    struct io_uring_sqe *sqe = ring_get_sqe(&s->file.ring);

    io_uring_prep_cancel(sqe, &dir->op, 0);
    ring_set_op(sqe, NULL);
    dir->cancelling = true;
}

static void uring_engine_arm(AioContext *ctx, AioNode *node)
{
    static const unsigned events[AIO_DIRS] = { POLLIN, POLLOUT };
    UringState *s = ctx->engine_state;

    for (int i = 0; i < AIO_DIRS; i++) {
        AioDir *dir = &node->dir[i];
        bool wanted = aio_dir_wanted(dir);

        if (wanted && !dir->armed) {
            struct io_uring_sqe *sqe = ring_get_sqe(&s->file.ring);

            io_uring_prep_poll_add(sqe, node->fd, events[i]);
            dir->op.done = uring_poll_done;
            ring_set_op(sqe, &dir->op);
            dir->armed = true;
        } else if (!wanted && dir->armed && !dir->cancelling) {
            uring_cancel(s, dir);
        }
    }
}

/*
 * A poll in flight keeps the file open, so it is cancelled at once; the peer of
 * a socket that is closed after this must notice that.
 */
static void uring_engine_forget(AioContext *ctx, AioNode *node)
{
    UringState *s = ctx->engine_state;
    bool armed = false;

    for (int i = 0; i < AIO_DIRS; i++) {
        if (node->dir[i].armed) {
            armed = true;
            if (!node->dir[i].cancelling) {
                uring_cancel(s, &node->dir[i]);
            }
        }
    }
    s->orphans += armed;
}

/* --- the engine --- */

static bool uring_engine_init(AioContext *ctx, Error **errp)
{
    UringState *s = g_new0(UringState, 1);

    if (!ring_init(&s->file.ring, errp)) {
        g_free(s);
        return false;
    }
    s->wake_op.done = uring_wake_done;
    ctx->engine_state = s;
    ctx->ring = &s->file;
    return true;
}

static void uring_engine_prepare(AioContext *ctx, int64_t timeout_ns)
{
    if (timeout_ns) {
        uring_arm_wake(ctx);
    }
}

#ifdef __SANITIZE_THREAD__
/*
 * ThreadSanitizer runs signal handlers when the thread next calls a function of
 * the C library; liburing calls none, and a signal would never be handled.
 */
static int uring_block(struct io_uring *ring, struct __kernel_timespec *ts)
{
    struct pollfd fd = { .fd = ring->ring_fd, .events = POLLIN };
    struct timespec timeout;
    int ret = io_uring_submit(ring);

    if (ts) {
        timeout.tv_sec = ts->tv_sec;
        timeout.tv_nsec = ts->tv_nsec;
    }
    if (ret >= 0 && ppoll(&fd, 1, ts ? &timeout : NULL, NULL) < 0) {
        ret = -errno;
    }
    return ret < 0 ? ret : io_uring_get_events(ring);
}
#else
static int uring_block(struct io_uring *ring, struct __kernel_timespec *ts)
{
    struct io_uring_cqe *cqe;

    return io_uring_submit_and_wait_timeout(ring, &cqe, 1, ts, NULL);
}
#endif

static void uring_engine_wait(AioContext *ctx, int64_t timeout_ns)
{
    UringState *s = ctx->engine_state;
    struct io_uring *ring = &s->file.ring;
    int ret;

    if (timeout_ns == 0) {
        ret = io_uring_submit_and_get_events(ring);
    } else {
        struct __kernel_timespec ts = {
            .tv_sec = timeout_ns / 1000000000,
            .tv_nsec = timeout_ns % 1000000000,
        };

        ret = uring_block(ring, timeout_ns > 0 ? &ts : NULL);
    }
    if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EBUSY &&
        ret != -EAGAIN) {
        g_error("io_uring_enter: %s", g_strerror(-ret));
    }
}

static bool uring_engine_found(const AioContext *ctx)
{
    const UringState *s = ctx->engine_state;

    return io_uring_cq_ready(&s->file.ring) > 0;
}

static void uring_engine_harvest(AioContext *ctx)
{
    UringState *s = ctx->engine_state;

    ring_reap(&s->file.ring);
}

static void uring_engine_cleanup(AioContext *ctx)
{
    UringState *s = ctx->engine_state;

    while (s->orphans) {
        uring_engine_wait(ctx, -1);
        uring_engine_harvest(ctx);
    }
    io_uring_queue_exit(&s->file.ring);
    ctx->ring = NULL;
    g_free(s);
}

const AioEngine aio_engine_uring = {
    .name = "io_uring",
    .init = uring_engine_init,
    .cleanup = uring_engine_cleanup,
    .arm = uring_engine_arm,
    .forget = uring_engine_forget,
    .prepare = uring_engine_prepare,
    .wait = uring_engine_wait,
    .found = uring_engine_found,
    .harvest = uring_engine_harvest,
};
