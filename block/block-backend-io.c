/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * I/O of a BlockBackend: waits while its node is drained, checks the range,
 * waits for its limits, and calls the gate of the root edge.
 */
#include "qemu/osdep.h"
#include "block-backend-int.h"

/* --- the frame of every request --- */

static void coroutine_fn wait_while_drained(BlockBackend *blk)
{
    while (blk->quiesce_counter && !blk->disable_request_queuing) {
        /* The drain must not wait for us while we wait for its end.  The waker
         * counts us in again, before we run. */
        blk->in_flight--;
        blk->n_queued++;
        co_queue_wait(&blk->queued, NULL);
        /* The user may have moved to another thread meanwhile. */
        co_move_to(blk->ctx);
    }
}

static int check_range(const BlockBackend *blk, int64_t offset, int64_t bytes)
{
    int64_t total;

    if (!blk_is_available(blk)) {
        return -ENOMEDIUM;
    }
    if (offset < 0 || bytes < 0) {
        return -EIO;
    }
    total = blk->root->bs->total_bytes;
    return offset > total || bytes > total - offset ? -EIO : 0;
}

typedef enum RequestKind {
    REQUEST_READ,
    REQUEST_WRITE,
    REQUEST_FLUSH,
} RequestKind;

/* Counts the request; -errno if it may not proceed.  See leave(). */
static int coroutine_fn enter(BlockBackend *blk, RequestKind kind,
                              int64_t offset, int64_t bytes)
{
    int ret;

    blk->in_flight++;
    if (G_UNLIKELY(blk->quiesce_counter)) {
        wait_while_drained(blk);
    }
    ret = check_range(blk, offset, bytes);
    if (ret < 0) {
        blk->in_flight--;
    } else if (G_UNLIKELY(blk->throttle.group) && kind != REQUEST_FLUSH) {
        throttle_member_wait(&blk->throttle, kind == REQUEST_WRITE, bytes,
                             false);
    }
    return ret;
}

static int coroutine_fn leave(BlockBackend *blk, int ret)
{
    g_assert(blk->in_flight > 0);
    blk->in_flight--;
    return ret;
}

static BdrvRequestFlags write_flags(const BlockBackend *blk,
                                    BdrvRequestFlags flags)
{
    return blk->write_cache ? flags : flags | BDRV_REQ_FUA;
}

/* --- from the main thread --- */

typedef struct EnterCo {
    BlockBackend *blk;
    CoroutineEntry *entry;
    void *opaque;
} EnterCo;

static void coroutine_fn enter_entry(void *opaque)
{
    g_autofree EnterCo *e = opaque;

    g_assert(e->blk->in_flight > 0);
    e->blk->in_flight--;
    e->entry(e->opaque);
}

void blk_enter_co(BlockBackend *blk, CoroutineEntry *entry, void *opaque)
{
    EnterCo *e = g_new(EnterCo, 1);

    *e = (EnterCo) { .blk = blk, .entry = entry, .opaque = opaque };
    aio_exclusive_begin();
    blk->in_flight++;
    aio_exclusive_end();
    aio_co_enter(blk->ctx, coroutine_create(enter_entry, e));
}

/* --- in coroutines --- */

int coroutine_fn blk_co_preadv(BlockBackend *blk, int64_t offset,
                               int64_t bytes, QEMUIOVector *qiov,
                               BdrvRequestFlags flags)
{
    int ret = enter(blk, REQUEST_READ, offset, bytes);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_preadv(blk->root, offset, bytes, qiov, 0, flags);
    return leave(blk, ret);
}

int coroutine_fn blk_co_pwritev(BlockBackend *blk, int64_t offset,
                                int64_t bytes, QEMUIOVector *qiov,
                                BdrvRequestFlags flags)
{
    int ret = enter(blk, REQUEST_WRITE, offset, bytes);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_pwritev(blk->root, offset, bytes, qiov, 0,
                          write_flags(blk, flags));
    return leave(blk, ret);
}

int coroutine_fn blk_co_pread(BlockBackend *blk, int64_t offset,
                              int64_t bytes, void *buf,
                              BdrvRequestFlags flags)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, MAX(bytes, 0));
    return blk_co_preadv(blk, offset, bytes, &qiov, flags);
}

int coroutine_fn blk_co_pwrite(BlockBackend *blk, int64_t offset,
                               int64_t bytes, const void *buf,
                               BdrvRequestFlags flags)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, (void *)(uintptr_t)buf, MAX(bytes, 0));
    return blk_co_pwritev(blk, offset, bytes, &qiov, flags);
}

int coroutine_fn blk_co_pwrite_zeroes(BlockBackend *blk, int64_t offset,
                                      int64_t bytes, BdrvRequestFlags flags)
{
    int ret = enter(blk, REQUEST_WRITE, offset, bytes);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_pwrite_zeroes(blk->root, offset, bytes,
                                write_flags(blk, flags));
    return leave(blk, ret);
}

int coroutine_fn blk_co_pdiscard(BlockBackend *blk, int64_t offset,
                                 int64_t bytes)
{
    int ret = enter(blk, REQUEST_WRITE, offset, bytes);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_pdiscard(blk->root, offset, bytes);
    return leave(blk, ret);
}

int coroutine_fn blk_co_flush(BlockBackend *blk)
{
    int ret = enter(blk, REQUEST_FLUSH, 0, 0);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_flush(blk->root->bs);
    return leave(blk, ret);
}

static int coroutine_fn co_truncate(BlockBackend *blk, int64_t offset,
                                    bool exact, PreallocMode prealloc,
                                    BdrvRequestFlags flags, Error **errp)
{
    int ret;

    blk->in_flight++;
    wait_while_drained(blk);
    ret = bdrv_co_truncate(blk->root, offset, exact, prealloc, flags, errp);
    blk->in_flight--;
    return ret;
}

/* --- in coroutines or outside --- */

typedef struct BlkCall {
    BlockBackend *blk;
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    BdrvRequestFlags flags;
    bool exact;
    PreallocMode prealloc;
    Error **errp;
    int ret;
} BlkCall;

static void coroutine_fn preadv_entry(void *opaque)
{
    BlkCall *c = opaque;

    c->ret = blk_co_preadv(c->blk, c->offset, c->bytes, c->qiov, c->flags);
}

static void coroutine_fn pwritev_entry(void *opaque)
{
    BlkCall *c = opaque;

    c->ret = blk_co_pwritev(c->blk, c->offset, c->bytes, c->qiov, c->flags);
}

static void coroutine_fn pwrite_zeroes_entry(void *opaque)
{
    BlkCall *c = opaque;

    c->ret = blk_co_pwrite_zeroes(c->blk, c->offset, c->bytes, c->flags);
}

static void coroutine_fn pdiscard_entry(void *opaque)
{
    BlkCall *c = opaque;

    c->ret = blk_co_pdiscard(c->blk, c->offset, c->bytes);
}

static void coroutine_fn flush_entry(void *opaque)
{
    BlkCall *c = opaque;

    c->ret = blk_co_flush(c->blk);
}

static void coroutine_fn truncate_entry(void *opaque)
{
    BlkCall *c = opaque;

    c->ret = co_truncate(c->blk, c->offset, c->exact, c->prealloc, c->flags,
                         c->errp);
}

static int coroutine_mixed_fn run(CoroutineEntry *entry, BlkCall c)
{
    aio_run_co(c.blk->ctx, entry, &c);
    return c.ret;
}

int coroutine_mixed_fn blk_preadv(BlockBackend *blk, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  BdrvRequestFlags flags)
{
    return run(preadv_entry, (BlkCall) {
        .blk = blk, .offset = offset, .bytes = bytes, .qiov = qiov,
        .flags = flags,
    });
}

int coroutine_mixed_fn blk_pwritev(BlockBackend *blk, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   BdrvRequestFlags flags)
{
    return run(pwritev_entry, (BlkCall) {
        .blk = blk, .offset = offset, .bytes = bytes, .qiov = qiov,
        .flags = flags,
    });
}

int coroutine_mixed_fn blk_pread(BlockBackend *blk, int64_t offset,
                                 int64_t bytes, void *buf,
                                 BdrvRequestFlags flags)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, MAX(bytes, 0));
    return blk_preadv(blk, offset, bytes, &qiov, flags);
}

int coroutine_mixed_fn blk_pwrite(BlockBackend *blk, int64_t offset,
                                  int64_t bytes, const void *buf,
                                  BdrvRequestFlags flags)
{
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, (void *)(uintptr_t)buf, MAX(bytes, 0));
    return blk_pwritev(blk, offset, bytes, &qiov, flags);
}

int coroutine_mixed_fn blk_pwrite_zeroes(BlockBackend *blk, int64_t offset,
                                         int64_t bytes,
                                         BdrvRequestFlags flags)
{
    return run(pwrite_zeroes_entry, (BlkCall) {
        .blk = blk, .offset = offset, .bytes = bytes, .flags = flags,
    });
}

int coroutine_mixed_fn blk_pdiscard(BlockBackend *blk, int64_t offset,
                                    int64_t bytes)
{
    return run(pdiscard_entry, (BlkCall) {
        .blk = blk, .offset = offset, .bytes = bytes,
    });
}

int coroutine_mixed_fn blk_flush(BlockBackend *blk)
{
    return run(flush_entry, (BlkCall) { .blk = blk });
}

int coroutine_mixed_fn blk_truncate(BlockBackend *blk, int64_t offset,
                                    bool exact, PreallocMode prealloc,
                                    BdrvRequestFlags flags, Error **errp)
{
    return run(truncate_entry, (BlkCall) {
        .blk = blk, .offset = offset, .exact = exact, .prealloc = prealloc,
        .flags = flags, .errp = errp,
    });
}

int64_t blk_getlength(BlockBackend *blk)
{
    return blk_is_available(blk) ? bdrv_getlength(blk->root->bs) : -ENOMEDIUM;
}
