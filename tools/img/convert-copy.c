/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img convert: the copying.
 *
 * Several coroutines take pieces of the sources, one behind the other, under a
 * lock; each reads its piece, waits for its turn (unless the target may be
 * written in any order) and writes it.  The first failure stops all.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "convert.h"
#include "host.h"
#include "qemu/ratelimit.h"

typedef enum PieceKind {
    PIECE_SKIP, /* the target's backing file has it */
    PIECE_ZERO,
    PIECE_DATA,
} PieceKind;

typedef struct Piece {
    int64_t offset, bytes;
    PieceKind kind;
} Piece;

typedef struct Copier {
    Convert *c;
    CoMutex lock;      /* of pos and run */
    int64_t pos;       /* first byte that no piece has */
    Piece run;         /* of equal kind, around pos */
    int64_t unit;      /* of detection of zeroes, bytes */
    int64_t written;   /* all before this is done, where order matters */
    CoQueue turn;      /* waits for written to grow */
    int64_t done;      /* bytes, for progress */
    RateLimit limit;
    bool offload;      /* try to have the host copy */
    bool host;         /* worker threads may write */
    int64_t cluster;   /* of the target, bytes */
    int running;       /* coroutines */
    int ret;
} Copier;

/* A coroutine's own. */
typedef struct Buffer {
    Copier *k;
    const Piece *piece;
    uint8_t *data;
    uint8_t *zero; /* by units of the piece: is it left out, as zeroes? */
    HostBatch batch;
} Buffer;

static const ConvertSource *source_at(const Convert *c, int64_t offset)
{
    int i = 0;

    while (i + 1 < c->n_sources && offset >= c->sources[i + 1].start) {
        i++;
    }
    return &c->sources[i];
}

static bool stopped(const Copier *k)
{
    return k->ret < 0 || tool_interrupted();
}

static void fail(Copier *k, int ret, const char *what, int64_t offset)
{
    if (k->ret >= 0) {
        k->ret = ret;
        error_report("error while %s %" PRId64 ": %s", what, offset,
                     strerror(-ret));
    }
}

/* --- what there is --- */

/*
 * Is [@offset, +*@bytes) of @bs, or a first part, left to the backing file?
 * @bs has one itself, and says nothing there.
 */
static bool coroutine_fn is_in_base(const Convert *c, BlockDriverState *bs,
                                    int64_t offset, int64_t *bytes)
{
    BlockDriverState *below = bdrv_backing_chain_next(bs);
    int64_t pnum;

    if (!below || offset >= c->base_size) {
        return false;
    }
    if (bdrv_is_allocated_above(bs, below, false, offset,
                                MIN(*bytes, c->base_size - offset),
                                &pnum) != 0) {
        *bytes = pnum > 0 ? pnum : *bytes;
        return false;
    }
    *bytes = pnum;
    return true;
}

/* Kind of the run at @offset of @s, *@bytes cut to it; or -errno. */
static int coroutine_fn run_kind(const Convert *c, const ConvertSource *s,
                                 int64_t offset, int64_t *bytes)
{
    BlockDriverState *bs = blk_bs(s->blk);
    int64_t pnum;
    int ret;

    if (offset >= s->size) {
        return c->args->sparse ? PIECE_ZERO : PIECE_DATA;
    }
    *bytes = MIN(*bytes, s->size - offset);
    if (is_in_base(c, bs, offset, bytes)) {
        return PIECE_SKIP;
    }
    ret = bdrv_block_status_above(bs, NULL, offset, *bytes, &pnum, NULL, NULL,
                                  NULL);
    if (ret < 0) {
        return ret;
    }
    *bytes = pnum ? pnum : *bytes;
    return (ret & BDRV_BLOCK_ZERO) && c->args->sparse ? PIECE_ZERO
                                                      : PIECE_DATA;
}

/* k->run becomes the run at k->pos. */
static bool coroutine_fn next_run(Copier *k)
{
    const Convert *c = k->c;
    const ConvertSource *s = source_at(c, k->pos);
    int64_t offset = k->pos - s->start;
    int64_t bytes = s->slot - offset;
    int ret = run_kind(c, s, offset, &bytes);

    if (ret < 0 && !c->args->salvage) {
        fail(k, ret, "reading block status at offset", k->pos);
        return false;
    }
    if (ret < 0) {
        if (!c->args->quiet) {
            warn_report("error while reading block status at offset %" PRId64
                        ": %s", k->pos, strerror(-ret));
        }
        bytes = MIN(bytes, CONVERT_CHUNK);
        ret = PIECE_DATA;
    }
    k->run = (Piece) { k->pos, bytes, ret };
    return true;
}

/*
 * Cuts the next piece off k->run.  Data comes in whole units of c->align, to
 * which a run that ends in the middle of one belongs too.
 */
static Piece cut_piece(Copier *k)
{
    int64_t align = k->c->align;
    int64_t rest = k->c->total - k->pos;
    int64_t run = k->run.offset + k->run.bytes - k->pos;
    Piece p = { k->pos, run, k->run.kind };

    if (run < rest && p.kind != PIECE_DATA) {
        p.bytes = ROUND_DOWN(run, align);
        if (!p.bytes) {
            p.kind = PIECE_DATA;
            p.bytes = MIN(align, rest);
        }
    } else if (p.kind == PIECE_DATA) {
        int64_t chunk = ROUND_UP(CONVERT_CHUNK, align);

        p.bytes = MIN(MIN(ROUND_UP(run, align), rest),
                      chunk - k->pos % chunk);
    }
    k->pos += p.bytes;
    return p;
}

static bool coroutine_fn take_piece(Copier *k, Piece *p)
{
    CO_MUTEX_GUARD(&k->lock);

    if (stopped(k) || k->pos >= k->c->total) {
        return false;
    }
    if (k->pos >= k->run.offset + k->run.bytes && !next_run(k)) {
        return false;
    }
    *p = cut_piece(k);
    return true;
}

/* --- reading --- */

/* After a read error: sector by sector, zeroes for those that fail. */
static void coroutine_fn salvage(Copier *k, const ConvertSource *s,
                                 int64_t offset, int64_t bytes, uint8_t *buf)
{
    int64_t n;

    for (int64_t pos = 0; pos < bytes; pos += n) {
        int ret;

        n = MIN(BDRV_SECTOR_SIZE, bytes - pos);
        ret = blk_co_pread(s->blk, offset + pos, n, buf + pos, 0);
        if (ret < 0) {
            memset(buf + pos, 0, n);
            if (!k->c->args->quiet) {
                warn_report("error while reading offset %" PRId64 ": %s",
                            s->start + offset + pos, strerror(-ret));
            }
        }
    }
}

static int coroutine_fn read_piece(Copier *k, const Piece *p, uint8_t *buf)
{
    int64_t n;

    for (int64_t pos = 0; pos < p->bytes; pos += n) {
        const ConvertSource *s = source_at(k->c, p->offset + pos);
        int64_t offset = p->offset + pos - s->start;
        int64_t there; /* the rest of the slot is zeroes */
        int ret = 0;

        n = MIN(p->bytes - pos, s->slot - offset);
        there = CLAMP(s->size - offset, 0, n);
        memset(buf + pos + there, 0, n - there);
        if (there) {
            ret = blk_co_pread(s->blk, offset, there, buf + pos, 0);
        }
        if (ret < 0 && k->c->args->salvage) {
            salvage(k, s, offset, there, buf + pos);
        } else if (ret < 0) {
            fail(k, ret, "reading at byte", p->offset + pos);
            return ret;
        }
    }
    return 0;
}

static void find_zeroes(const Copier *k, const Piece *p, const uint8_t *buf,
                        uint8_t *zero)
{
    int64_t pos = 0;

    for (int i = 0; pos < p->bytes; i++) {
        int64_t n = MIN(k->unit - (p->offset + pos) % k->unit, p->bytes - pos);

        zero[i] = k->c->args->sparse && buffer_is_zero(buf + pos, n);
        pos += n;
    }
}

/* In a worker thread. */
static int read_run(void *opaque)
{
    Buffer *b = opaque;
    int ret = host_read_run(&b->batch);

    if (ret == 0) {
        find_zeroes(b->k, b->piece, b->data, b->zero);
    }
    return ret;
}

/* False: it is to be read in the general way. */
static bool coroutine_fn read_fast(Copier *k, const Piece *p, Buffer *b)
{
    const ConvertSource *s = source_at(k->c, p->offset);
    int64_t offset = p->offset - s->start;
    bool ok;

    if (p->bytes > s->size - offset ||
        !host_read_begin(&b->batch, blk_root(s->blk), offset, p->bytes,
                         b->data)) {
        return false;
    }
    b->piece = p;
    ok = thread_pool_co_run(read_run, b) == 0;
    host_read_end(&b->batch);
    return ok;
}

static int coroutine_fn read_data(Copier *k, const Piece *p, Buffer *b)
{
    int ret = 0;

    if (!read_fast(k, p, b)) {
        ret = read_piece(k, p, b->data);
        if (ret >= 0) {
            find_zeroes(k, p, b->data, b->zero);
        }
    }
    return ret;
}

/* --- writing --- */

static int coroutine_fn write_zeroes(Copier *k, int64_t offset, int64_t bytes)
{
    if (k->c->target_zero) {
        return 0;
    }
    return blk_co_pwrite_zeroes(k->c->target, offset, bytes,
                                k->c->args->sparse ? BDRV_REQ_MAY_UNMAP : 0);
}

/* How many bytes at @pos of the piece, in whole units, are alike? */
static int64_t alike(const Copier *k, const Piece *p, const uint8_t *zero,
                     int64_t pos, bool *is_zero)
{
    int64_t first = p->offset / k->unit, end = p->offset + p->bytes;
    int64_t unit = (p->offset + pos) / k->unit;

    *is_zero = zero[unit - first];
    do {
        unit++;
    } while (unit * k->unit < end && zero[unit - first] == *is_zero);
    return MIN(unit * k->unit, end) - p->offset - pos;
}

/* Writes [@pos, +@n) of a piece; what workers can write goes to @batch. */
static int coroutine_fn write_run(Copier *k, HostBatch *batch, int64_t offset,
                                  int64_t n, uint8_t *buf)
{
    int flags = k->c->args->compressed ? BDRV_REQ_WRITE_COMPRESSED : 0;
    int64_t done = 0, part;

    while (done < n) {
        int64_t odd = (offset + done) % k->cluster;
        int ret;

        part = k->host ? host_write_begin(batch, blk_root(k->c->target),
                                          offset + done, n - done, buf + done)
                       : 0;
        if (!part) {
            /* From the next cluster on it may be possible. */
            part = MIN(n - done, odd ? k->cluster - odd : n);
            ret = blk_co_pwrite(k->c->target, offset + done, part, buf + done,
                                flags);
            if (ret < 0) {
                fail(k, ret, "writing at byte", offset + done);
                return ret;
            }
        }
        done += part;
    }
    return 0;
}

/* The next piece may be written from now on. */
static void coroutine_fn pass_turn(Copier *k, const Piece *p)
{
    k->written = p->offset + p->bytes;
    co_queue_wake_all(&k->turn);
}

/*
 * In its turn a piece gets its place; what only worker threads have to do then
 * goes on beside the next pieces'.
 */
static int coroutine_fn write_data(Copier *k, const Piece *p, Buffer *b)
{
    int64_t n, at = 0;
    int ret = 0, ret2;

    for (int64_t pos = 0; ret >= 0 && pos < p->bytes; pos += n) {
        int64_t offset = p->offset + pos;
        bool zero = false;

        n = alike(k, p, b->zero, pos, &zero);
        if (!zero) {
            ret = write_run(k, &b->batch, offset, n, b->data + pos);
            continue;
        }
        ret = write_zeroes(k, offset, n);
        if (ret < 0) {
            fail(k, ret, "writing at byte", offset);
        }
    }
    if (ret >= 0) {
        pass_turn(k, p);
    }
    ret2 = host_write(&b->batch, &at);
    if (ret2 < 0) {
        fail(k, ret2, "writing at byte", at);
    }
    return MIN(ret, ret2);
}

/* Has the host copy @p; false: it cannot. */
static bool coroutine_fn offload(Copier *k, const Piece *p)
{
    const ConvertSource *s = source_at(k->c, p->offset);
    int64_t offset = p->offset - s->start;

    if (!k->offload || p->bytes > s->size - offset) {
        return false;
    }
    k->offload = bdrv_co_copy_range(blk_root(s->blk), offset,
                                    blk_root(k->c->target), p->offset,
                                    p->bytes) >= 0;
    return k->offload;
}

static void coroutine_fn wait_for_turn(Copier *k, const Piece *p)
{
    while (!k->c->args->unordered && k->written != p->offset && !stopped(k)) {
        co_queue_wait(&k->turn, NULL);
    }
}

static int coroutine_fn copy_data(Copier *k, const Piece *p, Buffer *b)
{
    int ret;

    if (k->offload) {
        wait_for_turn(k, p);
        if (offload(k, p)) {
            return 0;
        }
    }
    ret = read_data(k, p, b);
    if (ret < 0) {
        return ret;
    }
    wait_for_turn(k, p);
    return stopped(k) ? 0 : write_data(k, p, b);
}

static int coroutine_fn copy_piece(Copier *k, const Piece *p, Buffer *b)
{
    int ret = 0;

    if (p->kind == PIECE_DATA) {
        return copy_data(k, p, b);
    }
    wait_for_turn(k, p);
    if (p->kind == PIECE_ZERO && !stopped(k)) {
        ret = write_zeroes(k, p->offset, p->bytes);
        if (ret < 0) {
            fail(k, ret, "writing at byte", p->offset);
        }
    }
    return ret;
}

/* --- the coroutines --- */

static void coroutine_fn keep_rate(Copier *k, const Piece *p)
{
    int64_t ns = 0;

    if (p->kind == PIECE_DATA) {
        ns = ratelimit_delay(&k->limit, p->bytes, aio_now_ns());
    }
    if (ns > 0) {
        co_sleep_ns(ns);
    }
}

static void coroutine_fn copier_entry(void *opaque)
{
    Copier *k = opaque;
    int64_t chunk = ROUND_UP(CONVERT_CHUNK, k->c->align);
    Buffer *b = g_new0(Buffer, 1);
    Piece p;

    b->k = k;
    b->data = bdrv_blockalign(blk_bs(k->c->target), chunk);
    b->zero = g_malloc(chunk / k->unit + 2);
    while (take_piece(k, &p)) {
        keep_rate(k, &p);
        if (copy_piece(k, &p, b) < 0) {
            break;
        }
        if (k->written < p.offset + p.bytes) {
            pass_turn(k, &p);
        }
        k->done += p.bytes;
        img_progress_set(k->done, k->c->total);
    }
    co_queue_wake_all(&k->turn);
    qemu_vfree(b->data);
    g_free(b->zero);
    g_free(b);
    k->running--;
    aio_notify(aio_main_context());
}

/* Smallest run of zeroes worth leaving out. */
static int64_t sparse_unit(const Convert *c)
{
    const BlockLimits *bl = &blk_bs(c->target)->bl;
    int64_t unit = MAX(c->args->sparse, BDRV_SECTOR_SIZE);

    unit = MAX(unit, (int64_t)bl->pwrite_zeroes_alignment);
    unit = MAX(unit, (int64_t)bl->request_alignment);
    return MAX(unit, c->align);
}

int convert_copy(Convert *c)
{
    Copier k = { .c = c, .unit = sparse_unit(c), .offload = c->args->offload };
    int ret;

    k.host = !c->args->compressed && blk_enable_write_cache(c->target);
    k.cluster = bdrv_get_cluster_size(blk_bs(c->target));
    co_mutex_init(&k.lock);
    co_queue_init(&k.turn);
    ratelimit_set_speed(&k.limit, c->args->rate);
    k.running = c->args->coroutines;
    for (int i = 0; i < c->args->coroutines; i++) {
        coroutine_enter(coroutine_create(copier_entry, &k));
    }
    AIO_WAIT_WHILE(k.running > 0);
    if (k.ret >= 0 && tool_interrupted()) {
        return -EINTR;
    }
    ret = k.ret < 0 ? k.ret : blk_flush(c->target);
    if (k.ret >= 0 && ret < 0) {
        error_report("error while flushing the target: %s", strerror(-ret));
    }
    if (ret >= 0) {
        img_progress_set(c->total, c->total);
    }
    return ret;
}
