/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mover: transfers areas by the best method that works. */
#include "qemu/osdep.h"
#include "block/copy-mover-int.h"
#include "block/graph.h"
#include "block/io.h"

/* Buffers in use at a time: the bound for the memory of general copies. */
#define MAX_BUFFERS 16
/* Pieces queued for worker threads, so that they need not wait for us. */
#define QUEUED_PIECES 3

struct CopyMover {
    /* --- set once, or while nothing is in flight --- */
    BdrvChild *source, *target;
    CopyMoverParams p;
    int64_t piece; /* bytes of one buffer */

    /* --- accessed in the thread of the coroutines --- */
    bool fast; /* the last piece went from host file to host file */
    bool no_copy_range; /* bdrv_co_copy_range() failed before */
    bool all_zeroes;    /* write them in any case */
    CopyHost *host;
    BufPool *pool;
    int buffers; /* in use */
    CoQueue buffer_queue;
};

/* Parameters shared by all pieces of an area. */
typedef struct Move {
    BdrvChild *source;
    bool urgent;   /* a guest write waits for it */
    bool *is_read; /* set if reading fails */
} Move;

static void make_pools(CopyMover *m)
{
    m->piece = MAX(m->p.piece, COPY_CHUNK);
    m->pool = bufpool_new(m->piece, 4);
    m->host = copy_host_new(m->piece);
}

CopyMover *copy_mover_new(BdrvChild *source, BdrvChild *target,
                          const CopyMoverParams *params)
{
    CopyMover *m = g_new0(CopyMover, 1);

    m->source = source;
    m->target = target;
    m->p = *params;
    m->fast = true;
    co_queue_init(&m->buffer_queue);
    make_pools(m);
    return m;
}

void copy_mover_free(CopyMover *m)
{
    if (m) {
        g_assert(m->buffers == 0);
        copy_host_free(m->host);
        bufpool_free(m->pool);
        g_free(m);
    }
}

void copy_mover_set_params(CopyMover *m, const CopyMoverParams *params)
{
    g_assert(m->buffers == 0);
    m->p = *params;
    m->no_copy_range = false;
    copy_host_free(m->host);
    bufpool_free(m->pool);
    make_pools(m);
}

void copy_mover_write_all_zeroes(CopyMover *m)
{
    m->all_zeroes = true;
}

const CopyMoverParams *copy_mover_params(const CopyMover *m)
{
    return &m->p;
}

bool copy_mover_is_fast(const CopyMover *m)
{
    return m->fast;
}

int64_t copy_mover_fast_bytes(const CopyMover *m)
{
    return (copy_host_threads(m->host) + QUEUED_PIECES) * m->piece;
}

void copy_mover_hurry(CopyMover *m, int64_t offset, int64_t bytes)
{
    copy_host_hurry(m->host, offset, bytes);
}

/* --- zeroes --- */

static BdrvRequestFlags write_flags(const CopyMover *m)
{
    return m->p.fleecing ? BDRV_REQ_SERIALISING : 0;
}

/*
 * How many bytes of the target at @offset need no zeroes, as it reads as zeroes
 * there without a backing file, which may change.  An image without one that
 * receives only a part of the disk may get one later, and its zeroes must hide
 * that: then they are written unless the image itself holds them.
 */
static int64_t coroutine_fn zero_already(CopyMover *m, int64_t offset,
                                         int64_t bytes)
{
    BlockDriverState *bs = m->target->bs;
    int64_t pnum = 0;
    int ret;

    if (m->p.fleecing || m->all_zeroes || bytes < m->p.unit) {
        return 0;
    }
    ret = bdrv_block_status(bs, offset, bytes, &pnum, NULL, NULL);
    if (ret < 0 || !(ret & BDRV_BLOCK_ZERO) ||
        (!(ret & BDRV_BLOCK_ALLOCATED) &&
         (!m->p.whole || bdrv_skip_filters(bs)->backing_file ||
          bdrv_backing_chain_next(bs)))) {
        return 0;
    }
    return pnum == bytes ? bytes : ROUND_DOWN(pnum, m->p.unit);
}

/* The target's `discard` option decides whether space may be freed. */
static int coroutine_fn write_zeroes(CopyMover *m, int64_t offset,
                                     int64_t bytes)
{
    int64_t skip;

    while ((skip = zero_already(m, offset, bytes)) > 0) {
        offset += skip;
        bytes -= skip;
    }
    if (bytes == 0) {
        return 0;
    }
    return bdrv_co_pwrite_zeroes(m->target, offset, bytes, write_flags(m) |
                                 (m->p.no_unmap ? 0 : BDRV_REQ_MAY_UNMAP));
}

/* --- general --- */

static void *coroutine_fn get_buffer(CopyMover *m)
{
    void *buf;

    while (m->buffers >= MAX_BUFFERS) {
        co_queue_wait(&m->buffer_queue, NULL);
    }
    buf = bufpool_get(m->pool);
    m->buffers += buf != NULL;
    return buf;
}

static void put_buffer(CopyMover *m, void *buf)
{
    bufpool_put(m->pool, buf);
    m->buffers--;
    co_queue_wake_one(&m->buffer_queue);
}

static int coroutine_fn move_general(CopyMover *m, const Move *move,
                                     int64_t offset, int64_t bytes)
{
    BdrvRequestFlags flags = write_flags(m);
    void *buf = get_buffer(m);
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    ret = bdrv_co_pread(move->source, offset, bytes, buf, 0);
    if (ret < 0) {
        *move->is_read = true;
    } else if (buffer_is_zero(buf, bytes)) {
        ret = write_zeroes(m, offset, bytes);
    } else {
        flags |= m->p.compress ? BDRV_REQ_WRITE_COMPRESSED : 0;
        ret = bdrv_co_pwrite(m->target, offset, bytes, buf, flags);
    }
    put_buffer(m, buf);
    return ret;
}

/* --- from host file to host file --- */

static bool is_aligned(const CopyPiece *piece, size_t in_align,
                       size_t out_align)
{
    return IS_ALIGNED(piece->in_offset, in_align) &&
           IS_ALIGNED(piece->bytes, in_align) &&
           IS_ALIGNED(piece->out_offset, out_align) &&
           IS_ALIGNED(piece->bytes, out_align);
}

/* Copies from @from, which the caller keeps; returns bytes moved. */
static int64_t coroutine_fn write_host(CopyMover *m, int64_t offset,
                                       const BdrvHostRange *from, bool urgent)
{
    CopyPiece piece;
    BdrvRequest *to;
    int ret;

    if (from->kind == BDRV_HOST_ZERO) {
        ret = write_zeroes(m, offset, from->bytes);
        return ret < 0 ? ret : from->bytes;
    }
    to = bdrv_co_host_write_begin(m->target, offset, from->bytes, &ret);
    if (!to) {
        return ret;
    }
    piece = (CopyPiece) {
        .offset = offset,
        .in = from->fd,
        .out = to->host.fd,
        .in_offset = from->offset,
        .out_offset = to->host.offset,
        .bytes = to->host.bytes,
    };
    ret = is_aligned(&piece, from->align, to->host.align)
        ? copy_host_run(m->host, &piece, urgent) : -ENOTSUP;
    ret = bdrv_co_host_write_end(to, ret);
    return ret < 0 ? ret : piece.bytes;
}

/* Returns how many bytes were moved, > 0, or -errno. */
static int64_t coroutine_fn move_host(CopyMover *m, const Move *move,
                                      int64_t offset, int64_t bytes)
{
    BdrvRequest *from;
    int64_t moved;
    int ret;

    if (m->p.compress || m->p.fleecing) {
        return -ENOTSUP;
    }
    from = bdrv_co_host_read_begin(move->source, offset, bytes, &ret);
    if (!from) {
        return ret;
    }
    moved = write_host(m, offset, &from->host, move->urgent);
    bdrv_co_host_read_end(from);
    return moved;
}

/* The caller keeps the range of @to in place. */
static int coroutine_fn run_whole(CopyMover *m, const CopyHostMove *h,
                                  const BdrvHostRange *from,
                                  const BdrvHostRange *to)
{
    CopyPiece piece = {
        .offset = h->offset,
        .in = from->fd,
        .out = to->fd,
        .in_offset = from->offset,
        .out_offset = to->offset,
        .bytes = h->bytes,
        .zero_unit = h->zero_unit,
    };

    if (to->bytes < h->bytes || !is_aligned(&piece, from->align, to->align)) {
        return -ENOTSUP;
    }
    if (h->placed) {
        h->placed(h->opaque);
    }
    return copy_host_run(m->host, &piece, false);
}

bool coroutine_fn copy_mover_try_host(CopyMover *m, const CopyHostMove *h,
                                      bool *mixed)
{
    BdrvRequest *from, *to = NULL;
    int ret;

    *mixed = false;
    from = bdrv_co_host_read_begin(h->source, h->source_offset, h->bytes,
                                   &ret);
    if (!from) {
        return false;
    }
    if (from->host.kind == BDRV_HOST_FILE && from->host.bytes == h->bytes) {
        to = bdrv_co_host_write_begin(m->target, h->offset, h->bytes, &ret);
    }
    if (to) {
        ret = run_whole(m, h, &from->host, &to->host);
        *mixed = ret == COPY_PIECE_MIXED;
        ret = bdrv_co_host_write_end(to, *mixed ? -ECANCELED : ret);
    }
    bdrv_co_host_read_end(from);
    return to && ret == 0;
}

/* --- choosing a method --- */

static int coroutine_fn move_offload(CopyMover *m, BdrvChild *source,
                                     int64_t offset, int64_t bytes)
{
    int ret;

    if (!m->p.use_copy_range || m->no_copy_range || m->p.compress ||
        m->p.fleecing) {
        return -ENOTSUP;
    }
    ret = bdrv_co_copy_range(source, offset, m->target, offset, bytes);
    m->no_copy_range |= ret < 0;
    return ret;
}

static int64_t coroutine_fn move_data(CopyMover *m, const Move *move,
                                      int64_t offset, int64_t bytes)
{
    int64_t moved;
    int ret = move_offload(m, move->source, offset, bytes);

    if (ret == 0) {
        m->fast = true;
        return bytes;
    }
    moved = move_host(m, move, offset, bytes);
    m->fast = moved > 0;
    if (moved > 0) {
        return moved;
    }
    ret = move_general(m, move, offset, bytes);
    return ret < 0 ? ret : bytes;
}

static int coroutine_fn move_area(CopyMover *m, const Move *move,
                                  const CopyArea *area)
{
    int64_t offset = area->offset, end = offset + area->bytes;

    *move->is_read = false;
    if (area->kind == COPY_ZERO) {
        return write_zeroes(m, offset, area->bytes);
    }
    g_assert(area->kind == COPY_DATA);
    while (offset < end) {
        int64_t moved = move_data(m, move, offset,
                                  MIN(end - offset, m->piece));

        if (moved < 0) {
            return moved;
        }
        offset += moved;
    }
    return 0;
}

int coroutine_fn copy_mover_move(CopyMover *m, const CopyArea *area,
                                 bool urgent, bool *is_read)
{
    Move move = {m->source, urgent, is_read};

    return move_area(m, &move, area);
}

int coroutine_fn copy_mover_move_from(CopyMover *m, BdrvChild *source,
                                      const CopyArea *area, bool *is_read)
{
    Move move = {source, false, is_read};

    return move_area(m, &move, area);
}
