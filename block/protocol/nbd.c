/* SPDX-License-Identifier: GPL-2.0-or-later */
/* nbd: a disk that is an export of an NBD server. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "nbd-int.h"
#include "qapi/qapi-types-sockets.h"

/* Most bytes of a request without payload: its length has 32 bits. */
#define MAX_COMMAND (GiB)

/* --- life cycle --- */

static bool check_options(const BlockdevOptionsNbd *o, Error **errp)
{
    if (o->tls_creds) {
        error_setg(errp, "No TLS credentials with id '%s': TLS is not "
                   "supported", o->tls_creds);
        return false;
    }
    if (o->tls_hostname) {
        error_setg(errp, "tls-hostname is only supported with tls-creds");
        return false;
    }
    if (o->server->type == SOCKET_ADDRESS_TYPE_VSOCK) {
        error_setg(errp, "Socket addresses of type 'vsock' are not "
                   "supported");
        return false;
    }
    if (o->server->type == SOCKET_ADDRESS_TYPE_UNIX &&
        o->server->u.q_unix.has_abstract && o->server->u.q_unix.abstract) {
        error_setg(errp, "Abstract unix sockets are not supported");
        return false;
    }
    return true;
}

/* Checks what the server offers against the options. */
static bool check_info(BlockDriverState *bs, Error **errp)
{
    NBDState *s = bs->opaque;

    if (s->options->x_dirty_bitmap && !s->info.has_context) {
        error_setg(errp, "requested x-dirty-bitmap %s not found",
                   s->options->x_dirty_bitmap);
        return false;
    }
    if (s->info.flags & NBD_FLAG_READ_ONLY && !bdrv_is_read_only(bs)) {
        if (!bs->auto_read_only) {
            error_setg_errno(errp, EACCES, "Could not open image");
            return false;
        }
        bdrv_turn_read_only(bs);
    }
    if (!s->info.min_block) {
        /* Servers without block sizes expect sectors. */
        s->info.min_block = IS_ALIGNED(s->info.size, BDRV_SECTOR_SIZE)
                                ? BDRV_SECTOR_SIZE : 1;
    } else if (!IS_ALIGNED(s->info.size, s->info.min_block)) {
        error_setg(errp, "the size %" PRIu64 " of the export is not a "
                   "multiple of the server's minimum block size %" PRIu32,
                   s->info.size, s->info.min_block);
        return false;
    }
    return true;
}

static int nbd_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    NBDState *s = bs->opaque;

    if (!check_options(&options->u.nbd, errp)) {
        return -EINVAL;
    }
    s->bs = bs;
    s->options = qapi_clone_BlockdevOptionsNbd(&options->u.nbd);
    s->ctx = bs->ctx;
    s->handshake_fd = -1;
    LIST_INIT(&s->uses);
    s->delay_timer = aio_timer_new(aio_main_context(), AIO_SCOPE_IO,
                                   nbd_delay_over, s);
    s->attempt_timer = aio_timer_new(aio_main_context(), AIO_SCOPE_IO,
                                     nbd_attempt_over, s);
    s->watch_timer = aio_timer_new(aio_main_context(), AIO_SCOPE_IO,
                                   nbd_watch_look, s);
    s->watch_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_IO, nbd_watch_look,
                             s);
    s->attach_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_IO,
                              nbd_connect_follow, s);
    /* From now on a silent server can be cut off. */
    s->yank = yank_add(YANK_BLOCK_NODE, bs->node_name, nbd_connect_cut, s);
    if (!nbd_connect_first(s, errp) || !check_info(bs, errp)) {
        nbd_connect_close(s);
        return -EIO;
    }
    return 0;
}

static void nbd_close(BlockDriverState *bs)
{
    nbd_connect_close(bs->opaque);
}

static void nbd_detach_aio_context(BlockDriverState *bs)
{
    nbd_connect_detach(bs->opaque);
}

static void nbd_attach_aio_context(BlockDriverState *bs)
{
    nbd_connect_attach(bs->opaque);
}

static void nbd_cancel_in_flight(BlockDriverState *bs, Coroutine *co)
{
    nbd_connect_cancel(bs->opaque, co);
}

static void nbd_refresh_limits(BlockDriverState *bs, Error **errp)
{
    const NBDState *s = bs->opaque;
    uint32_t min = s->info.min_block;
    uint32_t max = s->info.max_block ? MIN(s->info.max_block, NBD_MAX_PAYLOAD)
                                     : NBD_MAX_PAYLOAD;

    bs->bl.request_alignment = min;
    bs->bl.max_transfer = ROUND_DOWN(max, min);
    bs->bl.max_pdiscard = bs->bl.max_pwrite_zeroes = MAX_COMMAND;
    if (s->info.opt_block > min) {
        bs->bl.opt_transfer = s->info.opt_block;
    }
}

static int64_t nbd_getlength(BlockDriverState *bs)
{
    const NBDState *s = bs->opaque;

    return s->info.size;
}

/* --- requests --- */

/* A request of any type. */
typedef struct NBDIo {
    NBDRequest req;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    uint32_t *flags, *run;
    /* --- set by request() --- */
    bool answered;  /* by the server; else the result is EIO */
    uint64_t conns; /* the value of NBDState of the last attempt */
} NBDIo;

static int coroutine_fn do_io(NBDConn *conn, const NBDIo *io)
{
    switch (io->req.type) {
    case NBD_CMD_READ:
        return nbd_conn_read(conn, io->req.from, io->req.len, io->qiov,
                             io->qiov_offset);
    case NBD_CMD_WRITE:
        return nbd_conn_write(conn, &io->req, io->qiov, io->qiov_offset);
    case NBD_CMD_BLOCK_STATUS:
        return nbd_conn_status(conn, io->req.from, io->req.len, io->flags,
                               io->run);
    default:
        return nbd_conn_command(conn, &io->req);
    }
}

/*
 * Executes @io.  If the connection breaks it is repeated on the next one, as
 * long as requests may wait for that: each may be executed twice.
 */
static int coroutine_fn request(BlockDriverState *bs, NBDIo *io)
{
    NBDUse use = { .co = coroutine_self() };
    NBDState *s = bs->opaque;
    NBDConn *conn;
    int ret;

    LIST_INSERT_HEAD(&s->uses, &use, list);
    nbd_watch(s);
    do {
        conn = nbd_connect_get(s, &use);
        if (!conn) {
            ret = -EIO;
            break;
        }
        io->conns = s->conns;
        ret = do_io(conn, io);
        nbd_conn_unref(conn);
        io->answered = ret != -ENOTCONN;
        s->answers += io->answered;
        s->impatient &= ret == -ENOTCONN;
    } while (ret == -ENOTCONN && s->options->reconnect_delay);
    LIST_REMOVE(&use, list);
    return ret == -ENOTCONN ? -EIO : ret;
}

/*
 * The server's kernel takes pages for clean that it failed to write: once the
 * server has reported that, later flushes prove nothing.  A server without
 * flushes has no cache.
 */
static int coroutine_fn nbd_co_flush(BlockDriverState *bs)
{
    NBDState *s = bs->opaque;
    NBDIo io = { .req = { .type = NBD_CMD_FLUSH } };
    uint64_t changes = s->changes;
    int ret;

    if (!(s->info.flags & NBD_FLAG_SEND_FLUSH) || s->flush_ret < 0) {
        return s->flush_ret;
    }
    ret = request(bs, &io);
    if (ret < 0 && io.answered && s->flush_ret == 0) {
        s->flush_ret = ret;
    }
    if (ret == 0 && s->flush_ret == 0 && io.conns == s->conns) {
        s->settled = MAX(s->settled, changes);
    }
    return s->flush_ret < 0 ? s->flush_ret : ret;
}

/* The change that was made by @io is in the server's cache, if it has one. */
static void note_change(BlockDriverState *bs, const NBDIo *io)
{
    NBDState *s = bs->opaque;

    if (!(s->info.flags & NBD_FLAG_SEND_FLUSH)) {
        return;
    }
    if (io->conns != s->conns) {
        /* Another connection was made meanwhile. */
        bdrv_note_forgotten_writes(bs);
    } else {
        s->changes++;
    }
}

/*
 * The server has answered a change with FUA with an error: did it lose what was
 * written before (see nbd_co_flush)?  Not if the change itself failed: then it
 * fails without FUA, too.  But that is not certain where the device fails.
 */
static void coroutine_fn after_fua(BlockDriverState *bs, const NBDIo *io,
                                   int ret)
{
    NBDState *s = bs->opaque;
    NBDIo again = *io;

    if (!io->answered || !(s->info.flags & NBD_FLAG_SEND_FLUSH) ||
        (ret != -EIO && ret != -ENOSPC && ret != -ENOMEM)) {
        return;
    }
    again.req.flags &= ~NBD_CMD_FLAG_FUA;
    if (ret == -EIO || request(bs, &again) == 0) {
        s->flush_ret = s->flush_ret ? s->flush_ret : ret;
        bdrv_note_lost_writes(bs); /* not a flush of the core */
    }
}

/* A change that must be durable, on a server that may not support FUA. */
static int coroutine_fn change(BlockDriverState *bs, NBDIo *io, bool fua)
{
    const NBDState *s = bs->opaque;
    bool flush = fua && !(s->info.flags & NBD_FLAG_SEND_FUA);
    int ret;

    if (fua && !flush) {
        io->req.flags |= NBD_CMD_FLAG_FUA;
    }
    ret = request(bs, io);
    if (ret == 0 && (!fua || flush)) {
        note_change(bs, io);
    }
    if (ret < 0 && io->req.flags & NBD_CMD_FLAG_FUA) {
        after_fua(bs, io, ret);
    }
    if (ret == 0 && flush) {
        ret = nbd_co_flush(bs);
        if (ret < 0) {
            bdrv_note_lost_writes(bs); /* not a flush of the core */
        }
    }
    return ret;
}

/*
 * The part of a range that is in the export.  What the node has past its end,
 * as the size of a node is rounded up to sectors, reads as zeroes.
 */
static int64_t inside(const BlockDriverState *bs, int64_t offset,
                      int64_t bytes)
{
    const NBDState *s = bs->opaque;

    return CLAMP((int64_t)s->info.size - offset, 0, bytes);
}

static int coroutine_fn nbd_co_preadv(BlockDriverState *bs, int64_t offset,
                                      int64_t bytes, QEMUIOVector *qiov,
                                      size_t qiov_offset,
                                      BdrvRequestFlags flags)
{
    int64_t n = inside(bs, offset, bytes);
    NBDIo io = {
        .req = { .type = NBD_CMD_READ, .from = offset, .len = n },
        .qiov = qiov,
        .qiov_offset = qiov_offset,
    };

    if (n < bytes) {
        qemu_iovec_memset(qiov, qiov_offset + n, 0, bytes - n);
    }
    return n ? request(bs, &io) : 0;
}

static int coroutine_fn nbd_co_pwritev(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       size_t qiov_offset,
                                       BdrvRequestFlags flags)
{
    int64_t n = inside(bs, offset, bytes);
    NBDIo io = {
        .req = { .type = NBD_CMD_WRITE, .from = offset, .len = n },
        .qiov = qiov,
        .qiov_offset = qiov_offset,
    };

    if (n < bytes && !qemu_iovec_is_zero(qiov, qiov_offset + n, bytes - n)) {
        return -ENOSPC;
    }
    return n ? change(bs, &io, flags & BDRV_REQ_FUA) : 0;
}

static int coroutine_fn nbd_co_pwrite_zeroes(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             BdrvRequestFlags flags)
{
    const NBDState *s = bs->opaque;
    int64_t n = inside(bs, offset, bytes);
    NBDIo io = {
        .req = { .type = NBD_CMD_WRITE_ZEROES, .from = offset, .len = n,
                 .flags = flags & BDRV_REQ_MAY_UNMAP ? 0
                              : NBD_CMD_FLAG_NO_HOLE },
    };

    if (!(s->info.flags & NBD_FLAG_SEND_WRITE_ZEROES)) {
        return -ENOTSUP;
    }
    if (flags & BDRV_REQ_NO_FALLBACK) {
        if (!(s->info.flags & NBD_FLAG_SEND_FAST_ZERO)) {
            return -ENOTSUP;
        }
        io.req.flags |= NBD_CMD_FLAG_FAST_ZERO;
    }
    return n ? change(bs, &io, flags & BDRV_REQ_FUA) : 0;
}

static int coroutine_fn nbd_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes)
{
    const NBDState *s = bs->opaque;
    int64_t n = inside(bs, offset, bytes);
    NBDIo io = {
        .req = { .type = NBD_CMD_TRIM, .from = offset, .len = n },
    };

    if (!(s->info.flags & NBD_FLAG_SEND_TRIM) || !n) {
        return 0;
    }
    return change(bs, &io, false);
}

/*
 * A hole that need not be zero must be read.  A dirty range of a bitmap is
 * reported as not allocated: users expect that.
 */
static int status_flags(const NBDState *s, uint32_t flags)
{
    if (flags & NBD_STATE_HOLE && s->options->x_dirty_bitmap) {
        return flags & NBD_STATE_ZERO ? BDRV_BLOCK_ZERO : 0;
    }
    return (flags & NBD_STATE_HOLE && flags & NBD_STATE_ZERO
                ? 0 : BDRV_BLOCK_DATA) |
           (flags & NBD_STATE_ZERO ? BDRV_BLOCK_ZERO : 0) |
           BDRV_BLOCK_OFFSET_VALID;
}

static int coroutine_fn nbd_co_block_status(BlockDriverState *bs,
                                            bool want_zero, int64_t offset,
                                            int64_t bytes, int64_t *pnum,
                                            int64_t *map,
                                            BlockDriverState **file)
{
    const NBDState *s = bs->opaque;
    uint32_t flags = 0, run = 0, min = s->info.min_block;
    int64_t n = inside(bs, offset, bytes);
    NBDIo io = {
        .req = { .type = NBD_CMD_BLOCK_STATUS, .from = offset,
                 .len = MIN(n, MAX_COMMAND) },
        .flags = &flags,
        .run = &run,
    };
    int ret;

    if (!n) {
        *pnum = bytes;
        return s->options->x_dirty_bitmap ? BDRV_BLOCK_DATA : BDRV_BLOCK_ZERO;
    }
    *pnum = n;
    *map = offset;
    *file = bs;
    if (!s->info.has_context) {
        return BDRV_BLOCK_DATA | BDRV_BLOCK_OFFSET_VALID;
    }
    ret = request(bs, &io);
    if (ret < 0) {
        return ret;
    }
    /* If the run ends within a block the block counts as data. */
    *pnum = ROUND_DOWN(run, min);
    if (!*pnum) {
        *pnum = MIN(min, n);
        return BDRV_BLOCK_DATA | BDRV_BLOCK_OFFSET_VALID;
    }
    return status_flags(s, flags);
}

static int coroutine_fn nbd_co_truncate(BlockDriverState *bs, int64_t offset,
                                        bool exact, PreallocMode prealloc,
                                        BdrvRequestFlags flags, Error **errp)
{
    const NBDState *s = bs->opaque;

    if (offset != s->info.size && exact) {
        error_setg(errp, "Cannot resize NBD nodes");
        return -ENOTSUP;
    }
    if (offset > s->info.size) {
        error_setg(errp, "Cannot grow NBD nodes");
        return -EINVAL;
    }
    return 0;
}

extern const BlockDriver bdrv_nbd;

const BlockDriver bdrv_nbd = {
    .format_name = "nbd",
    .protocol_name = "nbd",
    .may_be_unallocated = true,
    .instance_size = sizeof(NBDState),
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .make_filename = nbd_make_filename,
    .parse_filename = nbd_parse_filename,
    .open = nbd_open,
    .close = nbd_close,
    .detach_aio_context = nbd_detach_aio_context,
    .attach_aio_context = nbd_attach_aio_context,
    .cancel_in_flight = nbd_cancel_in_flight,
    .refresh_limits = nbd_refresh_limits,
    .co_preadv = nbd_co_preadv,
    .co_pwritev = nbd_co_pwritev,
    .co_pwrite_zeroes = nbd_co_pwrite_zeroes,
    .co_pdiscard = nbd_co_pdiscard,
    .co_flush = nbd_co_flush,
    .co_block_status = nbd_co_block_status,
    .co_truncate = nbd_co_truncate,
    .getlength = nbd_getlength,
};
