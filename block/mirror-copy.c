/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a mirror has left to copy, and copying it. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/mirror-int.h"
#include "qemu/aio.h"

/* Areas in flight; each has a stack, and most only wait for a buffer. */
#define MIRROR_WORKERS 64
/* How much of the disk the status is asked for between two pause points. */
#define FILL_STEP (1 * GiB)
#define NS_PER_SECOND INT64_C(1000000000)

/* --- rates --- */

uint64_t mirror_rate(MirrorRate *r)
{
    int64_t now = aio_now_ns(), ns = now - r->start_ns;

    if (r->start_ns == 0) {
        r->start_ns = now;
    } else if (ns >= NS_PER_SECOND) {
        r->rate = r->bytes * ((double)NS_PER_SECOND / ns);
        r->bytes = 0;
        r->start_ns = now;
    } else if (r->rate == 0 && ns > NS_PER_SECOND / 10) {
        return r->bytes * ((double)NS_PER_SECOND / ns); /* a first estimate */
    }
    return r->rate;
}

void mirror_rate_add(MirrorRate *r, int64_t bytes)
{
    mirror_rate(r);
    r->bytes += bytes;
}

/* --- what is left --- */

int64_t mirror_left(const MirrorState *m)
{
    return hbitmap_count(m->todo) + m->in_flight;
}

bool mirror_is_synced(const MirrorState *m)
{
    return m->mode == MIRROR_ACTIVE && mirror_left(m) == 0;
}

static void update_remaining(MirrorState *m)
{
    if (m->progress) {
        progress_set_remaining(m->progress, mirror_left(m));
    }
}

void mirror_forget_kind(MirrorState *m, int64_t offset, int64_t bytes)
{
    CopyArea *run = &m->walker.run;

    m->changes++;
    if (offset < run->offset + run->bytes && run->offset < offset + bytes) {
        run->bytes = 0;
    }
}

void mirror_mark(MirrorState *m, int64_t offset, int64_t bytes)
{
    bool was_idle = hbitmap_empty(m->todo);

    bytes = MIN(bytes, m->len - offset);
    if (bytes <= 0) {
        return;
    }
    hbitmap_set(m->todo, offset, bytes);
    update_remaining(m);
    if (was_idle && m->wake) {
        m->wake(m->opaque);
    }
}

void mirror_unmark(MirrorState *m, int64_t offset, int64_t bytes)
{
    int64_t start = ROUND_UP(offset, m->p.unit);
    int64_t end = offset + bytes;

    end = end >= m->len ? m->len : ROUND_DOWN(end, m->p.unit);
    if (start < end && hbitmap_next_dirty(m->todo, start, end - start) >= 0) {
        hbitmap_reset(m->todo, start, end - start);
        update_remaining(m);
    }
}

/*
 * Between two queries the topmost image may get another backing file; it is
 * referenced, as the query compares it with what it finds.
 */
static int coroutine_fn query_allocated(MirrorState *m, bool top,
                                        int64_t offset, int64_t *n)
{
    BlockDriverState *source = m->bs->file->bs;
    BlockDriverState *below = top && !m->base ? bdrv_backing_chain_next(source)
                                              : m->base;
    g_autoptr(BlockDriverState) base = below ? bdrv_ref(below) : NULL;

    return bdrv_is_allocated_above(source, base, false, offset,
                                   MIN(m->len - offset, FILL_STEP), n);
}

int coroutine_fn mirror_fill_allocated(MirrorState *m, bool top,
                                       bool coroutine_fn (*go_on)(void *),
                                       void *opaque, BlockCopyError *error)
{
    int64_t step = 0, n;

    for (int64_t at = 0; at < m->len; at += n) {
        int ret = query_allocated(m, top, at, &n);

        if (ret < 0) {
            *error = (BlockCopyError) {
                .ret = ret,
                .is_read = true,
                .offset = at,
                .bytes = MIN(m->len - at, m->p.unit),
            };
            return ret;
        }
        n = n ? n : m->len - at;
        if (ret) {
            hbitmap_set(m->todo, at, n);
        }
        step += n;
        if (step >= FILL_STEP) {
            step = 0;
            if (!go_on(opaque)) {
                return 0;
            }
        }
    }
    update_remaining(m);
    return 0;
}

/* --- the copier's callbacks --- */

/*
 * A CopyLook.  Writes of the guest invalidate the cached answer; what they
 * write while an area is in flight is copied once more, or they wait for it.
 */
static int coroutine_fn look(void *opaque, CopyArea *run)
{
    MirrorState *m = opaque;
    uint64_t changes = m->changes;
    int64_t n = 0;
    int ret = bdrv_block_status_above(m->bs->file->bs, m->base, run->offset,
                                      run->bytes, &n, NULL, NULL, NULL);

    run->kind = COPY_DATA;
    if (ret < 0 || n <= 0 || changes != m->changes) {
        run->bytes = m->p.unit; /* reading it tells the data, or the error */
        return 0;
    }
    run->bytes = n;
    if (m->base && !(ret & BDRV_BLOCK_ALLOCATED)) {
        run->kind = COPY_SKIP; /* the base has it */
    } else if (ret & BDRV_BLOCK_ZERO) {
        bool done = m->zeroed &&
            hbitmap_status(m->zeroed, run->offset, n, &run->bytes);

        run->kind = done ? COPY_SKIP : COPY_ZERO;
    }
    return 0;
}

static int coroutine_fn move_area(MirrorState *m, const CopyArea *area,
                                  bool urgent, bool *is_read)
{
    int ret;

    if (m->zeroed && area->kind == COPY_DATA) {
        hbitmap_reset(m->zeroed, area->offset, area->bytes);
    }
    ret = copy_mover_move(m->mover, area, urgent, is_read);
    if (m->zeroed && area->kind == COPY_ZERO && ret == 0) {
        hbitmap_set(m->zeroed, area->offset, area->bytes);
    }
    if (ret == 0) {
        mirror_note_copied(m, area->offset, area->bytes);
    }
    return ret;
}

/* The first area of [@at, @end), in whole units. */
static int coroutine_fn first_area(MirrorState *m, int64_t at, int64_t end,
                                   CopyArea *area)
{
    int ret;

    *area = (CopyArea) {.offset = at, .bytes = end - at};
    ret = look(m, area);
    if (area->bytes < end - at) {
        area->bytes = area->kind == COPY_DATA
            ? ROUND_UP(area->bytes, m->p.unit)
            : ROUND_DOWN(area->bytes, m->p.unit);
    }
    if (area->bytes == 0) { /* different kinds in one unit */
        area->kind = COPY_DATA;
        area->bytes = m->p.unit;
    }
    area->bytes = MIN(area->bytes, end - at);
    if (area->kind == COPY_DATA) {
        area->bytes = MIN(area->bytes, m->copier.chunk);
    }
    return ret;
}

/* Copies whole units, to which no other request is in flight. */
static int coroutine_fn copy_range(MirrorState *m, int64_t offset,
                                   int64_t bytes, bool urgent, bool *is_read)
{
    int64_t end = offset + bytes;
    CopyArea area;

    *is_read = true;
    for (; offset < end; offset += area.bytes) {
        int ret = first_area(m, offset, end, &area);

        if (ret == 0 && area.kind != COPY_SKIP) {
            ret = move_area(m, &area, urgent, is_read);
        }
        if (ret < 0) {
            return ret;
        }
    }
    return 0;
}

/*
 * An area whose kind was determined when an active write to it was in flight
 * may have another kind now.
 */
static int coroutine_fn move(void *opaque, const CopyArea *area,
                             bool *is_read)
{
    MirrorState *m = opaque;
    int ret;

    if (m->mode == MIRROR_ACTIVE &&
        block_reqs_find(&m->writes, area->offset, area->bytes)) {
        block_reqs_wait_all(&m->writes, area->offset, area->bytes);
        ret = copy_range(m, area->offset, area->bytes, false, is_read);
    } else {
        ret = move_area(m, area, false, is_read);
    }
    if (ret == 0) {
        mirror_flush_sometimes(m);
    }
    return ret;
}

static void begun(void *opaque, const CopyArea *area)
{
    MirrorState *m = opaque;

    m->in_flight += area->bytes;
}

static void ended(void *opaque, const CopyArea *area, int ret)
{
    MirrorState *m = opaque;
    bool moved = area->kind == COPY_DATA || area->kind == COPY_ZERO;

    m->in_flight -= area->bytes;
    if (ret >= 0 && m->progress) {
        progress_done(m->progress, area->bytes);
    }
    if (ret >= 0 && moved) {
        mirror_rate_add(&m->copied, area->bytes);
    }
    update_remaining(m);
}

static const CopierOps copier_ops = {
    .move = move,
    .begun = begun,
    .ended = ended,
};

/* --- at once --- */

int coroutine_fn mirror_copy_now(MirrorState *m, int64_t offset, int64_t bytes)
{
    int64_t start = ROUND_DOWN(offset, m->p.unit);
    int64_t end = MIN(ROUND_UP(offset + bytes, m->p.unit), m->len);
    bool is_read;

    return copy_range(m, start, end - start, true, &is_read);
}

typedef struct RestCall {
    MirrorState *m;
    BlockCopyError *error;
} RestCall;

/* True: writes were lost, so there is more to copy. */
static bool coroutine_fn copy_and_flush(MirrorState *m, BlockCopyError *error)
{
    m->walker.start = 0;
    copy_pacer_reset(&m->pacer);
    ratelimit_set_speed(&m->limit, 0);
    copier_run(&m->copier);
    *error = m->copier.error;
    if (error->ret == 0 && !copier_was_cancelled(&m->copier)) {
        error->ret = mirror_flush(m);
    }
    return mirror_copy_again(m) && error->ret == 0;
}

int coroutine_fn mirror_copy_rest_of_now(MirrorState *m, BlockCopyError *error)
{
    copy_and_flush(m, error); /* what was lost is left for the end */
    return error->ret;
}

static void coroutine_fn copy_rest_entry(void *opaque)
{
    RestCall *call = opaque;

    /* The main thread waits, so it is not done again and again. */
    if (copy_and_flush(call->m, call->error) &&
        copy_and_flush(call->m, call->error)) {
        call->error->ret = -EIO;
    }
}

int mirror_copy_rest(MirrorState *m, BlockCopyError *error)
{
    RestCall call = {m, error};

    aio_run_co(m->bs->ctx, copy_rest_entry, &call);
    return error->ret;
}

/* --- life --- */

static void init_copier(MirrorState *m)
{
    CopyMoverParams params = {
        .unit = bdrv_get_cluster_size(m->target->bs),
        .whole = m->p.full,
        .no_unmap = !m->p.unmap,
    };

    copy_walker_init_bits(&m->walker, m->todo, 0, m->len);
    copy_walker_set_look(&m->walker, look, m);
    copy_pacer_init(&m->pacer, MIRROR_WORKERS, m->p.buf_size, &m->limit);
    m->mover = copy_mover_new(m->bs->file, m->target, &params);
    m->copier = (Copier) {
        .walker = &m->walker,
        .pacer = &m->pacer,
        .ops = &copier_ops,
        .opaque = m,
        .reqs = &m->copying,
        .chunk = MAX(ROUND_DOWN(MIN(COPY_CHUNK, m->p.buf_size), m->p.unit),
                     m->p.unit),
        .unit = m->p.unit,
        .free_zeroes = true,
    };
}

bool mirror_copy_init(MirrorState *m, Error **errp)
{
    m->todo = hbitmap_try_new(m->len, m->p.unit);
    m->zeroed = m->p.target_is_zero ? hbitmap_try_new(m->len, m->p.unit)
                                    : NULL;
    if (!m->todo || (m->p.target_is_zero && !m->zeroed) ||
        !mirror_durable_init(m)) {
        error_setg(errp, "No memory to record what of node '%s' is to be "
                   "copied", m->bs->file->bs->node_name);
        return false;
    }
    if (m->zeroed) {
        hbitmap_set_all(m->zeroed);
    }
    m->shown = bdrv_dirty_bitmap_show_bits(m->bs->file->bs, m->todo, true);
    init_copier(m);
    return true;
}

void mirror_copy_destroy(MirrorState *m)
{
    bdrv_dirty_bitmap_hide_bits(g_steal_pointer(&m->shown));
    copy_mover_free(g_steal_pointer(&m->mover));
    copy_walker_destroy(&m->walker);
    hbitmap_free(g_steal_pointer(&m->todo));
    hbitmap_free(g_steal_pointer(&m->zeroed));
    mirror_durable_destroy(m);
}
