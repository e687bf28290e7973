/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img convert: copying.
 *
 * A walker visits the sources, one after the other.  Several pieces are in
 * flight at a time: each is read, waits for its turn (unless the target may be
 * written in any order), is allocated and written.  The first failure stops
 * all.
 *
 * Zeroes are skipped in units that the user chooses.  A piece without any is
 * copied from host file to host file by a worker thread of the mover, if
 * possible; other pieces are read first and then written in runs.
 */
#include "qemu/osdep.h"
#include "block/copier.h"
#include "block/copy-mover.h"
#include "block/graph.h"
#include "block/io.h"
#include "convert.h"
#include "host.h"
#include "qemu/bufpool.h"

/* Number of pieces that are read first after one with zeroes; it is doubled if
 * they have zeroes again. */
#define MIN_MIXED 8
#define MAX_MIXED 64
/* Shorter runs of zeroes are read with the data around them, if that is cheap:
 * many small pieces cost more. */
#define SHORT_ZEROES (64 * KiB)
/* How far a run is followed for that. */
#define MAX_FRAGMENTS (16 * MiB)

typedef CopyArea Piece;

typedef struct Converter {
    Convert *c;
    CopyWalker walker;
    CopyPacer pacer;
    RateLimit limit;
    CopyMover *mover;
    Copier copier;
    BufPool *pool;     /* of chunks */
    int64_t chunk;     /* bytes of a piece of data */
    int64_t unit;      /* of detection of zeroes, bytes */
    int64_t fine;      /* the same among fragments, which are not written where
                          the target is zero */
    int64_t written;   /* all before this is allocated, if order matters */
    CoQueue turn;      /* waits for written to grow */
    int64_t done;      /* bytes, for progress: of data, if that is counted */
    bool offload;      /* try copy_file_range() */
    bool host;         /* worker threads may write */
    bool cheap;        /* a worker thread did the last read */
    int mixed;         /* number of pieces that are read first */
    int next_mixed;    /* the number after another piece with zeroes */
    int64_t cluster;   /* of the target, bytes */
    int ret;
} Converter;

/* A piece that is read first. */
typedef struct Buffer {
    Converter *k;
    const Piece *piece;
    uint8_t *data;
    uint8_t *zero; /* by units of the piece: is it skipped, as zeroes? */
    HostBatch batch;
} Buffer;

/* Progress is told in steps of so many bytes of data. */
#define PROGRESS (2 * MiB)

/* Marks a piece that the target's backing file has, and one with zeroes. */
static const char in_base, fragments;

static const ConvertSource *source_at(const Convert *c, int64_t offset)
{
    int i = 0;

    while (i + 1 < c->n_sources && offset >= c->sources[i + 1].start) {
        i++;
    }
    return &c->sources[i];
}

static bool stopped(const Converter *k)
{
    return k->ret < 0 || tool_interrupted();
}

static void fail(Converter *k, int ret, const char *what, int64_t offset)
{
    if (k->ret >= 0) {
        k->ret = ret;
        error_report("error while %s %" PRId64 ": %s", what, offset,
                     strerror(-ret));
    }
    co_queue_wake_all(&k->turn);
}

/* --- kinds of data --- */

/*
 * Is [@offset, +*@bytes) of @bs, or its first part, not allocated, so that it
 * is that of the backing file, which the target has, too?
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

/* Kind of the run at @offset of @s, *@bytes reduced to it; or -errno. */
static int coroutine_fn run_kind(const Convert *c, const ConvertSource *s,
                                 int64_t offset, int64_t *bytes)
{
    BlockDriverState *bs = blk_bs(s->blk);
    int64_t pnum;
    int ret;

    if (offset >= s->size) {
        return c->args->sparse ? COPY_ZERO : COPY_DATA;
    }
    *bytes = MIN(*bytes, s->size - offset);
    if (is_in_base(c, bs, offset, bytes)) {
        return COPY_SKIP;
    }
    ret = bdrv_block_status_above(bs, NULL, offset, *bytes, &pnum, NULL, NULL,
                                  NULL);
    if (ret < 0) {
        return ret;
    }
    *bytes = pnum ? pnum : *bytes;
    return (ret & BDRV_BLOCK_ZERO) && c->args->sparse ? COPY_ZERO
                                                      : COPY_DATA;
}

/*
 * Lengthens the data in the @bytes at @offset of the source by that after short
 * zeroes, which are found again when it is read: they are whole units.  @max:
 * the bytes that there are.
 */
static int64_t coroutine_fn add_fragments(const Converter *k,
                                          const ConvertSource *s,
                                          int64_t offset, int64_t bytes,
                                          int64_t max)
{
    int64_t n, zeroes = 0;

    max = MIN(max, MAX_FRAGMENTS);
    while (bytes + zeroes < max) {
        int64_t at = offset + bytes + zeroes;
        int kind;

        n = max - bytes - zeroes;
        kind = run_kind(k->c, s, at, &n);
        if (kind == COPY_DATA) {
            bytes += zeroes + n;
            zeroes = 0;
        } else if (kind == COPY_ZERO && !zeroes && n < SHORT_ZEROES &&
                   IS_ALIGNED(s->start + at, k->fine) &&
                   IS_ALIGNED(n, k->fine)) {
            zeroes = n;
        } else {
            break; /* an error is met again */
        }
    }
    return bytes;
}

/* A CopyLook. */
static int coroutine_fn look(void *opaque, CopyArea *run)
{
    Converter *k = opaque;
    const Convert *c = k->c;
    const ConvertSource *s = source_at(c, run->offset);
    int64_t offset = run->offset - s->start;
    int64_t bytes = s->slot - offset;
    int ret = run_kind(c, s, offset, &bytes);

    if (ret < 0 && !c->args->salvage) {
        fail(k, ret, "reading block status at offset", run->offset);
        return ret;
    }
    if (ret < 0) {
        if (!c->args->quiet) {
            warn_report("error while reading block status at offset %" PRId64
                        ": %s", run->offset, strerror(-ret));
        }
        bytes = MIN(bytes, CONVERT_CHUNK);
        ret = COPY_DATA;
    }
    run->bytes = bytes;
    /* Skipped pieces wait for their turn like zeroes. */
    run->kind = ret == COPY_SKIP ? COPY_ZERO : ret;
    run->from = ret == COPY_SKIP ? &in_base : NULL;
    if (ret == COPY_DATA && k->cheap && c->args->sparse && c->target_zero &&
        offset < s->size) {
        run->bytes = add_fragments(k, s, offset, bytes, s->size - offset);
        run->from = run->bytes > bytes ? &fragments : NULL;
    }
    return 0;
}

/* --- reading --- */

/* After a read error: reads sector by sector, with zeroes for failures. */
static void coroutine_fn salvage(Converter *k, const ConvertSource *s,
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

static int coroutine_fn read_piece(Converter *k, const Piece *p, uint8_t *buf)
{
    int64_t n;

    for (int64_t pos = 0; pos < p->bytes; pos += n) {
        const ConvertSource *s = source_at(k->c, p->offset + pos);
        int64_t offset = p->offset + pos - s->start;
        int64_t there; /* the rest of the slot is zero */
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

static int64_t unit_of(const Converter *k, const Piece *p)
{
    return p->from == &fragments ? k->fine : k->unit;
}

static void find_zeroes(const Converter *k, const Piece *p, const uint8_t *buf,
                        uint8_t *zero)
{
    int64_t unit = unit_of(k, p), pos = 0;

    for (int i = 0; pos < p->bytes; i++) {
        int64_t n = MIN(unit - (p->offset + pos) % unit, p->bytes - pos);

        zero[i] = k->c->args->sparse && buffer_is_zero(buf + pos, n);
        pos += n;
    }
}

/* Runs in a worker thread. */
static int read_run(void *opaque)
{
    Buffer *b = opaque;
    int ret = host_read_run(&b->batch);

    if (ret == 0) {
        find_zeroes(b->k, b->piece, b->data, b->zero);
    }
    return ret;
}

/* False: use the general path. */
static bool coroutine_fn read_fast(Converter *k, const Piece *p, Buffer *b)
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

static int coroutine_fn read_data(Converter *k, const Piece *p, Buffer *b)
{
    int ret = 0;

    k->cheap = read_fast(k, p, b);
    if (!k->cheap) {
        ret = read_piece(k, p, b->data);
        if (ret >= 0) {
            find_zeroes(k, p, b->data, b->zero);
        }
    }
    return ret;
}

/* --- writing --- */

static int coroutine_fn write_zeroes(Converter *k, int64_t offset,
                                     int64_t bytes)
{
    if (k->c->target_zero) {
        return 0;
    }
    return blk_co_pwrite_zeroes(k->c->target, offset, bytes,
                                k->c->args->sparse ? BDRV_REQ_MAY_UNMAP : 0);
}

/* How many bytes at @pos of the piece, in whole units, are of one kind? */
static int64_t alike(const Converter *k, const Piece *p, const uint8_t *zero,
                     int64_t pos, bool *is_zero)
{
    int64_t unit = unit_of(k, p), end = p->offset + p->bytes;
    int64_t first = p->offset / unit, i = (p->offset + pos) / unit;

    *is_zero = zero[i - first];
    do {
        i++;
    } while (i * unit < end && zero[i - first] == *is_zero);
    return MIN(i * unit, end) - p->offset - pos;
}

/* Worker threads write what is in a batch that is full. */
static int coroutine_fn make_room(Converter *k, HostBatch *batch)
{
    int64_t at = 0;
    int ret = batch->n == HOST_RANGES ? host_write(batch, &at) : 0;

    if (ret < 0) {
        fail(k, ret, "writing at byte", at);
    }
    return ret;
}

/*
 * If a whole cluster of the target is at @pos of the piece, and has data and
 * zeroes: its bytes.  It is allocated as a whole, but only the data is written.
 */
static int64_t coroutine_fn write_mixed(Converter *k, const Piece *p,
                                        Buffer *b, int64_t pos)
{
    int64_t offset = p->offset + pos, unit = unit_of(k, p);
    const uint8_t *zero = b->zero + offset / unit - p->offset / unit;
    int64_t units = k->cluster / unit, zeroes = 0;

    if (!k->host || !k->c->target_zero || k->cluster % unit ||
        offset % k->cluster || p->bytes - pos < k->cluster) {
        return 0;
    }
    for (int64_t i = 0; i < units; i++) {
        zeroes += zero[i];
    }
    return zeroes > 0 && zeroes < units &&
           host_write_begin_mixed(&b->batch, blk_root(k->c->target), offset,
                                  k->cluster, b->data + pos, zero, unit)
           ? k->cluster : 0;
}

/* Writes [@pos, +@n) of a piece; runs for worker threads go to @batch. */
static int coroutine_fn write_run(Converter *k, HostBatch *batch,
                                  int64_t offset, int64_t n, uint8_t *buf)
{
    int flags = k->c->args->compressed ? BDRV_REQ_WRITE_COMPRESSED : 0;
    int64_t done = 0, part;

    while (done < n) {
        int64_t odd = (offset + done) % k->cluster;
        int ret = make_room(k, batch);

        if (ret < 0) {
            return ret;
        }
        part = k->host ? host_write_begin(batch, blk_root(k->c->target),
                                          offset + done, n - done, buf + done)
                       : 0;
        if (!part) {
            /* It may be possible from the next cluster on. */
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
static void coroutine_fn pass_turn(Converter *k, const Piece *p)
{
    k->written = MAX(k->written, p->offset + p->bytes);
    co_queue_wake_all(&k->turn);
}

/*
 * A piece is allocated in its turn; the remaining work of worker threads then
 * runs in parallel to the next pieces.
 */
static int coroutine_fn write_data(Converter *k, const Piece *p, Buffer *b)
{
    int64_t n, at = 0;
    int ret = 0, ret2;

    for (int64_t pos = 0; ret >= 0 && pos < p->bytes; pos += n) {
        int64_t offset = p->offset + pos;
        bool zero = false;

        ret = make_room(k, &b->batch);
        n = ret < 0 ? 0 : write_mixed(k, p, b, pos);
        if (ret < 0 || n > 0) {
            continue;
        }
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

/* Copies @p by copy_file_range(); false: impossible. */
static bool coroutine_fn offload(Converter *k, const Piece *p)
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

static void coroutine_fn wait_for_turn(Converter *k, const Piece *p)
{
    while (!k->c->args->unordered && k->written < p->offset && !stopped(k)) {
        co_queue_wait(&k->turn, NULL);
    }
}

typedef struct Placed {
    Converter *k;
    const Piece *p;
} Placed;

static void placed(void *opaque)
{
    Placed *at = opaque;

    pass_turn(at->k, at->p);
}

/* Copies from host file to host file; false: the piece must be read first. */
static bool coroutine_fn move_host(Converter *k, const Piece *p)
{
    const ConvertSource *s = source_at(k->c, p->offset);
    Placed at = {k, p};
    CopyHostMove h = {
        .source = blk_root(s->blk),
        .source_offset = p->offset - s->start,
        .offset = p->offset,
        .bytes = p->bytes,
        .zero_unit = k->c->args->sparse ? k->unit : -1,
        .placed = placed,
        .opaque = &at,
    };
    bool mixed, ok;

    if (!k->host || p->bytes > s->size - h.source_offset ||
        p->bytes > COPY_CHUNK || p->from == &fragments) {
        return false;
    }
    if (k->mixed > 0) {
        k->mixed--;
        return false;
    }
    wait_for_turn(k, p);
    if (stopped(k)) {
        return false;
    }
    ok = copy_mover_try_host(k->mover, &h, &mixed);
    if (mixed) {
        k->mixed = k->next_mixed;
        k->next_mixed = MIN(2 * k->next_mixed, MAX_MIXED);
    } else if (ok) {
        k->next_mixed = MIN_MIXED;
    }
    return ok;
}

/* Reads the piece, and writes data that is not zero. */
static int coroutine_fn move_runs(Converter *k, const Piece *p)
{
    g_autofree Buffer *b = g_new0(Buffer, 1);
    int ret = -ENOMEM;

    b->k = k;
    b->data = bufpool_get(k->pool);
    b->zero = g_malloc(p->bytes / unit_of(k, p) + 2);
    if (!b->data) {
        fail(k, ret, "reading at byte", p->offset);
    } else {
        ret = read_data(k, p, b);
    }
    if (ret >= 0) {
        wait_for_turn(k, p);
        ret = stopped(k) ? -EINTR : write_data(k, p, b);
    }
    if (b->data) {
        bufpool_put(k->pool, b->data);
    }
    g_free(b->zero);
    return ret;
}

static int coroutine_fn move_data(Converter *k, const Piece *p)
{
    if (k->offload) {
        wait_for_turn(k, p);
        if (!stopped(k) && offload(k, p)) {
            return 0;
        }
    }
    return move_host(k, p) ? 0 : move_runs(k, p);
}

static int coroutine_fn move(void *opaque, const CopyArea *p, bool *is_read)
{
    Converter *k = opaque;
    int ret = 0;

    if (p->kind == COPY_DATA) {
        return move_data(k, p);
    }
    wait_for_turn(k, p);
    if (stopped(k)) {
        return -EINTR;
    }
    if (p->from != &in_base) {
        ret = write_zeroes(k, p->offset, p->bytes);
        if (ret < 0) {
            fail(k, ret, "writing at byte", p->offset);
        }
    }
    return ret;
}

static void tell_progress(Converter *k, const Piece *p)
{
    const Convert *c = k->c;

    if (c->data < 0) {
        k->done += p->bytes;
        img_progress_set(k->done, c->total);
    } else if (p->kind == COPY_DATA) {
        k->done = MIN(k->done + p->bytes, c->data);
        img_progress_data(k->done, c->args->compressed ? k->cluster : PROGRESS,
                          c->data);
    }
}

static void ended(void *opaque, const CopyArea *p, int ret)
{
    Converter *k = opaque;

    if (tool_interrupted()) {
        copy_pacer_cancel(&k->pacer);
    }
    if (ret < 0 || stopped(k)) {
        co_queue_wake_all(&k->turn);
        return;
    }
    if (k->written < p->offset + p->bytes) {
        pass_turn(k, p);
    }
    tell_progress(k, p);
}

static const CopierOps copier_ops = {
    .move = move,
    .ended = ended,
};

/* Smallest run of zeroes worth skipping. */
static int64_t fine_unit(const Convert *c)
{
    const BlockLimits *bl = &blk_bs(c->target)->bl;
    int64_t unit = MAX(c->args->sparse, BDRV_SECTOR_SIZE);

    unit = MAX(unit, (int64_t)bl->request_alignment);
    return MAX(unit, c->align);
}

/* The same where zeroes may have to be written. */
static int64_t sparse_unit(const Convert *c)
{
    const BlockLimits *bl = &blk_bs(c->target)->bl;

    return MAX(fine_unit(c), (int64_t)bl->pwrite_zeroes_alignment);
}

static void init_copier(Converter *k, Convert *c)
{
    CopyMoverParams params = {.unit = bdrv_get_cluster_size(blk_bs(c->target))};

    *k = (Converter) {
        .c = c,
        .chunk = ROUND_UP(CONVERT_CHUNK, c->align),
        .unit = sparse_unit(c),
        .fine = fine_unit(c),
        .offload = c->args->offload,
        .host = !c->args->compressed && blk_enable_write_cache(c->target),
        .cheap = true,
        .cluster = params.unit,
        .next_mixed = MIN_MIXED,
    };
    co_queue_init(&k->turn);
    k->pool = bufpool_new(k->chunk, c->args->coroutines);
    k->mover = copy_mover_new(NULL, blk_root(c->target), &params);
    copy_walker_init_span(&k->walker, c->total, c->align);
    copy_walker_set_look(&k->walker, look, k);
    ratelimit_set_speed(&k->limit, c->args->rate);
    copy_pacer_init(&k->pacer, c->args->coroutines, 0, &k->limit);
    k->copier = (Copier) {
        .walker = &k->walker,
        .pacer = &k->pacer,
        .ops = &copier_ops,
        .opaque = k,
        .chunk = k->chunk,
        .no_retry = true,
        .free_zeroes = true,
    };
}

static void destroy_copier(Converter *k)
{
    copy_walker_destroy(&k->walker);
    copy_mover_free(k->mover);
    bufpool_free(k->pool);
}

/* --- the whole --- */

/* Counts what has to be copied; an error is met again. */
static void coroutine_fn count_data(void *opaque)
{
    Convert *c = opaque;
    int64_t data = 0;

    for (int i = 0; i < c->n_sources; i++) {
        const ConvertSource *s = &c->sources[i];
        int64_t bytes;

        for (int64_t offset = 0; offset < s->slot; offset += bytes) {
            int kind;

            bytes = s->slot - offset;
            kind = run_kind(c, s, offset, &bytes);
            if (kind < 0) {
                return;
            }
            data += kind == COPY_DATA ? bytes : 0;
        }
    }
    c->data = data;
}

int convert_copy(Convert *c)
{
    Converter k;
    int ret;

    c->data = -1;
    if (c->args->progress && !c->args->quiet) {
        aio_run_co(aio_main_context(), count_data, c);
    }
    init_copier(&k, c);
    copier_start(&k.copier, NULL, NULL);
    AIO_WAIT_WHILE(k.copier.running);
    destroy_copier(&k);
    if (k.ret >= 0 && tool_interrupted()) {
        return -EINTR;
    }
    ret = k.ret < 0 ? k.ret : blk_flush(c->target);
    if (k.ret >= 0 && ret < 0) {
        error_report("error while flushing the target: %s", strerror(-ret));
    }
    if (ret >= 0) {
        img_progress_set(1, 1);
    }
    return ret;
}
