/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The loop's engine if io_uring is not available: epoll.
 *
 * Descriptors are armed for one event (EPOLLONESHOT): a handler that must not
 * run in a nested poll then cannot make that spin, and a descriptor closed
 * after its event causes no further events.
 */
#include "qemu/osdep.h"
#include "aio-int.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

#define EPOLL_EVENTS 64

typedef struct EpollState {
    int fd;
    bool no_pwait2; /* the kernel lacks timeouts in nanoseconds */
    int nevents;    /* of the last wait */
    struct epoll_event events[EPOLL_EVENTS];
} EpollState;

static bool epoll_engine_init(AioContext *ctx, Error **errp)
{
    EpollState *s = g_new0(EpollState, 1);
    struct epoll_event wake = { .events = EPOLLIN, .data.ptr = NULL };

    s->fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->fd < 0 ||
        epoll_ctl(s->fd, EPOLL_CTL_ADD, ctx->wake_fd, &wake) < 0) {
        error_setg_errno(errp, errno, "Cannot set up epoll");
        if (s->fd >= 0) {
            close(s->fd);
        }
        g_free(s);
        return false;
    }
    ctx->engine_state = s;
    return true;
}

static void epoll_engine_cleanup(AioContext *ctx)
{
    EpollState *s = ctx->engine_state;

    close(s->fd);
    g_free(s);
}

/* Tries both: the descriptor may have been closed and its number reused. */
static int epoll_set(EpollState *s, AioNode *node, struct epoll_event *ev)
{
    if (node->in_epoll) {
        if (!epoll_ctl(s->fd, EPOLL_CTL_MOD, node->fd, ev)) {
            return 0;
        }
    }
    node->in_epoll = true;
    if (!epoll_ctl(s->fd, EPOLL_CTL_ADD, node->fd, ev)) {
        return 0;
    }
    if (errno != EEXIST) {
        node->in_epoll = false;
        return -errno;
    }
    return epoll_ctl(s->fd, EPOLL_CTL_MOD, node->fd, ev) ? -errno : 0;
}

static void epoll_engine_arm(AioContext *ctx, AioNode *node)
{
    static const uint32_t events[AIO_DIRS] = { EPOLLIN, EPOLLOUT };
    struct epoll_event ev = { .events = EPOLLONESHOT, .data.ptr = node };
    bool wanted[AIO_DIRS];
    bool change = false;

    for (int i = 0; i < AIO_DIRS; i++) {
        wanted[i] = aio_dir_wanted(&node->dir[i]);
        ev.events |= wanted[i] ? events[i] : 0;
        change |= wanted[i] != node->dir[i].armed;
    }
    if (!change) {
        return;
    }
    if (!epoll_set(ctx->engine_state, node, &ev)) {
        for (int i = 0; i < AIO_DIRS; i++) {
            node->dir[i].armed = wanted[i];
        }
        return;
    }
    /* A plain file is always ready; the user will see any other failure. */
    for (int i = 0; i < AIO_DIRS; i++) {
        node->dir[i].armed = false;
        if (wanted[i]) {
            aio_dir_ready(&node->dir[i]);
        }
    }
}

static void epoll_engine_forget(AioContext *ctx, AioNode *node)
{
    EpollState *s = ctx->engine_state;

    if (node->in_epoll) {
        epoll_ctl(s->fd, EPOLL_CTL_DEL, node->fd, NULL);
        node->in_epoll = false;
    }
    node->dir[AIO_DIR_READ].armed = false;
    node->dir[AIO_DIR_WRITE].armed = false;
}

static void epoll_event(AioNode *node, uint32_t events)
{
    static const uint32_t masks[AIO_DIRS] = {
        EPOLLIN | EPOLLHUP | EPOLLERR, EPOLLOUT | EPOLLHUP | EPOLLERR,
    };

    for (int i = 0; i < AIO_DIRS; i++) {
        AioDir *dir = &node->dir[i];

        if (dir->armed && (events & masks[i])) {
            aio_dir_ready(dir);
        }
        dir->armed = false;
        if (aio_dir_wanted(dir)) {
            aio_node_dirty(node);
        }
    }
}

static int epoll_wait_ns(EpollState *s, int64_t timeout_ns)
{
    int ms = -1;

    if (timeout_ns > 0 && !s->no_pwait2) {
        struct timespec ts = {
            .tv_sec = timeout_ns / 1000000000,
            .tv_nsec = timeout_ns % 1000000000,
        };
        int n = epoll_pwait2(s->fd, s->events, EPOLL_EVENTS, &ts, NULL);

        if (n >= 0 || errno != ENOSYS) {
            return n;
        }
        s->no_pwait2 = true;
    }
    if (timeout_ns >= 0) {
        /* Rounded up, or the loop would spin before the timer expires. */
        ms = MIN(DIV_ROUND_UP(timeout_ns, 1000000), INT_MAX);
    }
    return epoll_wait(s->fd, s->events, EPOLL_EVENTS, ms);
}

static void epoll_engine_wait(AioContext *ctx, int64_t timeout_ns)
{
    EpollState *s = ctx->engine_state;
    int n = epoll_wait_ns(s, timeout_ns);

    if (n < 0 && errno != EINTR) {
        g_error("epoll_wait: %s", g_strerror(errno));
    }
    s->nevents = MAX(n, 0);
}

static bool epoll_engine_found(const AioContext *ctx)
{
    const EpollState *s = ctx->engine_state;

    return s->nevents > 0;
}

static void epoll_engine_harvest(AioContext *ctx)
{
    EpollState *s = ctx->engine_state;

    for (int i = 0; i < s->nevents; i++) {
        AioNode *node = s->events[i].data.ptr;
        uint64_t count;

        if (node) {
            epoll_event(node, s->events[i].events);
        } else if (read(ctx->wake_fd, &count, sizeof(count)) < 0) {
            g_error("eventfd: %s", g_strerror(errno));
        }
    }
}

const AioEngine aio_engine_epoll = {
    .name = "epoll",
    .init = epoll_engine_init,
    .cleanup = epoll_engine_cleanup,
    .arm = epoll_engine_arm,
    .forget = epoll_engine_forget,
    .wait = epoll_engine_wait,
    .found = epoll_engine_found,
    .harvest = epoll_engine_harvest,
};
