/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File descriptors: handlers, and coroutines that wait for one event. */
#include "qemu/osdep.h"
#include "aio-int.h"

static AioNode *aio_node_new(AioContext *ctx, int fd)
{
    AioNode *node = g_new0(AioNode, 1);

    node->ctx = ctx;
    node->fd = fd;
    for (int i = 0; i < AIO_DIRS; i++) {
        node->dir[i].node = node;
    }
    return node;
}

/* The node of @fd, created if missing. */
static AioNode *aio_node_get(AioContext *ctx, int fd)
{
    assert(fd >= 0);
    if (fd >= ctx->nnodes) {
        int n = MAX(fd + 1, ctx->nnodes * 2);

        ctx->nodes = g_renew(AioNode *, ctx->nodes, n);
        memset(ctx->nodes + ctx->nnodes, 0,
               (n - ctx->nnodes) * sizeof(*ctx->nodes));
        ctx->nnodes = n;
    }
    if (!ctx->nodes[fd]) {
        ctx->nodes[fd] = aio_node_new(ctx, fd);
    }
    return ctx->nodes[fd];
}

void aio_node_dirty(AioNode *node)
{
    if (!node->dirty) {
        node->dirty = true;
        TAILQ_INSERT_TAIL(&node->ctx->dirty_nodes, node, dirty_entry);
    }
}

static void aio_node_clean(AioNode *node)
{
    if (node->dirty) {
        node->dirty = false;
        TAILQ_REMOVE(&node->ctx->dirty_nodes, node, dirty_entry);
    }
}

static void aio_dir_unready(AioDir *dir)
{
    if (dir->ready) {
        dir->ready = false;
        TAILQ_REMOVE(&dir->node->ctx->ready_dirs[dir->node->scope], dir,
                     ready_entry);
    }
}

void aio_dir_ready(AioDir *dir)
{
    AioContext *ctx = dir->node->ctx;

    if (dir->co) {
        Coroutine *co = dir->co;

        dir->co = NULL;
        aio_ready_co(ctx, co);
        if (dir->cb) {
            aio_node_dirty(dir->node);
        }
    } else if (dir->cb && !dir->ready) {
        dir->ready = true;
        TAILQ_INSERT_TAIL(&ctx->ready_dirs[dir->node->scope], dir,
                          ready_entry);
    }
}

bool aio_run_dirs(AioContext *ctx, AioScope scope)
{
    AioDirList *list = &ctx->ready_dirs[scope];
    bool progress = false;
    int n = 0;
    AioDir *dir;

    TAILQ_FOREACH(dir, list, ready_entry) {
        n++;
    }
    while (n-- && (dir = TAILQ_FIRST(list))) {
        aio_dir_unready(dir);
        aio_node_dirty(dir->node);
        progress = true;
        /* The handler may remove this node or any other. */
        dir->cb(dir->node->opaque);
    }
    return progress;
}

static void aio_node_set(AioNode *node, AioScope scope, AioHandler *const cb[],
                         void *opaque)
{
    for (int i = 0; i < AIO_DIRS; i++) {
        aio_dir_unready(&node->dir[i]);
        node->dir[i].cb = cb[i];
    }
    node->scope = scope;
    node->opaque = opaque;
    aio_node_dirty(node);
}

/* Afterwards @fd may be closed, and its number reused. */
static void aio_node_forget(AioContext *ctx, AioNode *node)
{
    ctx->engine->forget(ctx, node);
    for (int i = 0; i < AIO_DIRS; i++) {
        if (node->dir[i].armed) {
            /* The engine still refers to the node, and will free it. */
            aio_node_clean(node);
            node->orphan = true;
            ctx->nodes[node->fd] = NULL;
            return;
        }
    }
}

void aio_set_fd_handler(AioContext *ctx, int fd, AioScope scope,
                        AioHandler *on_read, AioHandler *on_write,
                        void *opaque)
{
    AioHandler *const cb[AIO_DIRS] = { on_read, on_write };
    AioNode *node;

    assert(ctx == aio_current_context());
    if (!on_read && !on_write && (fd >= ctx->nnodes || !ctx->nodes[fd])) {
        return;
    }
    node = aio_node_get(ctx, fd);
    aio_node_set(node, scope, cb, opaque);
    if (!on_read && !on_write && !node->dir[AIO_DIR_READ].co &&
        !node->dir[AIO_DIR_WRITE].co) {
        aio_node_forget(ctx, node);
    }
}

void aio_release_fd(int fd)
{
    AioContext *ctx = aio_current_context();
    AioNode *node = fd < ctx->nnodes ? ctx->nodes[fd] : NULL;
    Coroutine *co[AIO_DIRS];

    if (!node) {
        return;
    }
    for (int i = 0; i < AIO_DIRS; i++) {
        co[i] = g_steal_pointer(&node->dir[i].co);
    }
    aio_set_fd_handler(ctx, fd, AIO_SCOPE_IO, NULL, NULL, NULL);
    for (int i = 0; i < AIO_DIRS; i++) {
        if (co[i]) {
            co_wake(co[i]);
        }
    }
}

void aio_nodes_free(AioContext *ctx)
{
    for (int i = 0; i < ctx->nnodes; i++) {
        AioNode *node = ctx->nodes[i];

        if (node) {
            assert(!node->dir[AIO_DIR_READ].cb && !node->dir[AIO_DIR_WRITE].cb);
            g_free(node);
        }
    }
    g_free(ctx->nodes);
}

static void coroutine_fn co_wait_fd(int fd, int which)
{
    AioNode *node = aio_node_get(aio_current_context(), fd);
    AioDir *dir = &node->dir[which];

    assert(!dir->co && coroutine_self());
    dir->co = coroutine_self();
    aio_node_dirty(node);
    coroutine_yield();
}

void coroutine_fn co_wait_readable(int fd)
{
    co_wait_fd(fd, AIO_DIR_READ);
}

void coroutine_fn co_wait_writable(int fd)
{
    co_wait_fd(fd, AIO_DIR_WRITE);
}
