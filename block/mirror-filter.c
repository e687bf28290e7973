/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mirror_top: the filter over the source of a mirror.  It records the guest's
 * writes, or submits them to the target, too (block/mirror-int.h).  Users
 * cannot open this driver.
 *
 * The source is written before the target.  So a bitmap of the target that was
 * created when the request had written the target has been merged with a
 * bitmap of the source that had recorded the request; and no write is lost for
 * users who carry bitmaps from one to the other.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/mirror-int.h"
#include "qemu/iov.h"

typedef enum WriteKind {
    WRITE_DATA,
    WRITE_ZEROES,
    WRITE_DISCARD,
} WriteKind;

/* A guest's request in flight. */
typedef struct MirrorWrite {
    BlockReq req;
    WriteKind kind;
    int64_t offset, bytes;
    QEMUIOVector *qiov; /* of data */
    size_t qiov_offset;
    BdrvRequestFlags flags;
    bool record_only; /* there is no memory for a copy of its data */
    bool active;
    uint64_t epoch;
    uint64_t number; /* in the order in which they begin */
} MirrorWrite;

/* --- the two halves of a request --- */

static int coroutine_fn write_source(MirrorState *m, const MirrorWrite *w)
{
    BdrvChild *source = m->bs->file;

    switch (w->kind) {
    case WRITE_DATA:
        return bdrv_co_pwritev(source, w->offset, w->bytes, w->qiov,
                               w->qiov_offset, w->flags);
    case WRITE_ZEROES:
        return bdrv_co_pwrite_zeroes(source, w->offset, w->bytes, w->flags);
    default:
        return bdrv_co_pdiscard(source, w->offset, w->bytes);
    }
}

/* A unit of which a part is written is no longer known to be zero. */
static void note_written(MirrorState *m, const MirrorWrite *w)
{
    int64_t start = ROUND_DOWN(w->offset, m->p.unit);
    int64_t end = MIN(ROUND_UP(w->offset + w->bytes, m->p.unit), m->len);

    if (m->zeroed && w->kind == WRITE_DATA) {
        hbitmap_reset(m->zeroed, start, end - start);
    }
}

/* Must whole units be copied, rather than what the request has written? */
static bool needs_units(const MirrorState *m, const MirrorWrite *w)
{
    int64_t end = w->offset + w->bytes;

    /* What a discard leaves behind is for the source to tell. */
    return w->kind == WRITE_DISCARD ||
           (m->p.whole_units && !(IS_ALIGNED(w->offset, m->p.unit) &&
                                  (end == m->len ||
                                   IS_ALIGNED(end, m->p.unit))));
}

static int coroutine_fn write_target(MirrorState *m, const MirrorWrite *w)
{
    BdrvRequestFlags flags = w->flags & ~(BdrvRequestFlags)BDRV_REQ_FUA;

    if (needs_units(m, w)) {
        return mirror_copy_now(m, w->offset, w->bytes);
    }
    note_written(m, w);
    if (w->kind == WRITE_ZEROES) {
        flags = m->p.unmap ? flags : flags & ~(unsigned)BDRV_REQ_MAY_UNMAP;
        flags &= ~(unsigned)BDRV_REQ_NO_FALLBACK;
        return bdrv_co_pwrite_zeroes(m->target, w->offset, w->bytes, flags);
    }
    flags &= ~(unsigned)BDRV_REQ_WRITE_COMPRESSED;
    return bdrv_co_pwritev(m->target, w->offset, w->bytes, w->qiov,
                           w->qiov_offset, flags);
}

/* --- requests --- */

/* An active write waits until nothing that overlaps it is in flight. */
static void coroutine_fn begin_write(MirrorState *m, MirrorWrite *w)
{
    int64_t start = w->offset, end = w->offset + w->bytes;

    if (needs_units(m, w)) {
        start = ROUND_DOWN(start, m->p.unit);
        end = MIN(ROUND_UP(end, m->p.unit), m->len);
    }
    if (m->mode == MIRROR_ACTIVE) {
        copy_mover_hurry(m->mover, start, end - start);
    }
    while (m->mode == MIRROR_ACTIVE &&
           (block_reqs_wait_one(&m->copying, start, end - start) ||
            block_reqs_wait_one(&m->writes, start, end - start))) {
        /* the mode may have changed */
    }
    w->active = m->mode == MIRROR_ACTIVE && !w->record_only;
    w->epoch = m->epoch;
    w->number = ++m->begun;
    block_reqs_add(&m->writes, &w->req, start, end - start);
}

void coroutine_fn mirror_wait_writes(MirrorState *m)
{
    uint64_t last = m->begun;
    BlockReq *req;

    do {
        LIST_FOREACH(req, &m->writes.reqs, list) {
            if (container_of(req, MirrorWrite, req)->number <= last) {
                co_queue_wait(&req->waiters, NULL);
                break; /* the list has changed */
            }
        }
    } while (req);
}

/* @same: source and target have been written. */
static void end_write(MirrorState *m, MirrorWrite *w, bool same)
{
    mirror_rate_add(&m->written, w->bytes);
    mirror_forget_kind(m, w->offset, w->bytes);
    if (same) {
        mirror_note_copied(m, w->offset, w->bytes);
    }
    if (same && w->epoch == m->epoch) {
        mirror_unmark(m, w->req.offset, w->req.bytes);
    } else {
        int64_t before = hbitmap_count(m->todo);

        mirror_mark(m, w->offset, w->bytes);
        mirror_rate_add(&m->dirtied, hbitmap_count(m->todo) - before);
    }
    block_reqs_remove(&w->req);
}

static int coroutine_fn run_write(MirrorState *m, MirrorWrite *w)
{
    int ret;

    if (m->mode == MIRROR_OFF || (w->flags & BDRV_REQ_WRITE_UNCHANGED)) {
        return write_source(m, w);
    }
    begin_write(m, w);
    ret = write_source(m, w);
    end_write(m, w, ret == 0 && w->active && w->epoch == m->epoch &&
                    write_target(m, w) == 0);
    return ret;
}

/*
 * The guest may change its buffer meanwhile: both get what a copy holds.  If
 * there is no memory for one, the write is only recorded, and does not fail.
 */
static int coroutine_fn run_buffered(MirrorState *m, MirrorWrite *w)
{
    QEMUIOVector *guest = w->qiov, copy;
    void *buf = bdrv_try_blockalign(m->bs, w->bytes);
    int ret;

    if (!buf) {
        w->record_only = true;
        return run_write(m, w);
    }
    qemu_iovec_to_buf(guest, w->qiov_offset, buf, w->bytes);
    qemu_iovec_init_buf(&copy, buf, w->bytes);
    w->qiov = &copy;
    w->qiov_offset = 0;
    ret = run_write(m, w);
    free(buf);
    return ret;
}

static int coroutine_fn mirror_co_pwritev(BlockDriverState *bs, int64_t offset,
                                          int64_t bytes, QEMUIOVector *qiov,
                                          size_t qiov_offset,
                                          BdrvRequestFlags flags)
{
    MirrorState *m = bs->opaque;
    MirrorWrite w = {
        .kind = WRITE_DATA,
        .offset = offset,
        .bytes = bytes,
        .qiov = qiov,
        .qiov_offset = qiov_offset,
        .flags = flags,
    };

    return m->mode == MIRROR_ACTIVE ? run_buffered(m, &w) : run_write(m, &w);
}

static int coroutine_fn mirror_co_pwritev_compressed(BlockDriverState *bs,
                                                     int64_t offset,
                                                     int64_t bytes,
                                                     QEMUIOVector *qiov,
                                                     size_t qiov_offset)
{
    return mirror_co_pwritev(bs, offset, bytes, qiov, qiov_offset,
                             BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn mirror_co_pwrite_zeroes(BlockDriverState *bs,
                                                int64_t offset, int64_t bytes,
                                                BdrvRequestFlags flags)
{
    MirrorWrite w = {
        .kind = WRITE_ZEROES,
        .offset = offset,
        .bytes = bytes,
        .flags = flags,
    };

    return run_write(bs->opaque, &w);
}

static int coroutine_fn mirror_co_pdiscard(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes)
{
    MirrorWrite w = {
        .kind = WRITE_DISCARD,
        .offset = offset,
        .bytes = bytes,
    };

    return run_write(bs->opaque, &w);
}

static int coroutine_fn mirror_co_truncate(BlockDriverState *bs,
                                           int64_t offset, bool exact,
                                           PreallocMode prealloc,
                                           BdrvRequestFlags flags,
                                           Error **errp)
{
    const MirrorState *m = bs->opaque;

    if (m->mode == MIRROR_OFF) {
        return bdrv_co_truncate(bs->file, offset, exact, prealloc, flags,
                                errp);
    }
    error_setg(errp, "Node '%s' cannot be resized: it is being mirrored",
               bs->file->bs->node_name);
    return -ENOTSUP;
}

/* --- life --- */

/*
 * A commit writes a node below the source, which is possible only where all
 * above it share that; others that write there are kept away by the job's
 * edges, which do not share reading.
 */
static void source_perm(BlockDriverState *bs, uint64_t perm, uint64_t shared,
                        uint64_t *nperm, uint64_t *nshared)
{
    const MirrorState *m = bs->opaque;

    *nperm = perm;
    *nshared = shared;
    if (m->mode == MIRROR_OFF) {
        return;
    }
    if (m->base) {
        *nperm &= ~(uint64_t)BLK_PERM_CONSISTENT_READ;
        *nshared |= BLK_PERM_WRITE;
    } else if (bdrv_next_parent(bs, NULL)) {
        /* Writes past us would not be noticed. */
        *nperm |= BLK_PERM_CONSISTENT_READ;
        *nshared &= ~(uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
}

static void mirror_child_perm(BlockDriverState *bs, BdrvChild *child,
                              BdrvChildRole role, uint64_t perm,
                              uint64_t shared, uint64_t *nperm,
                              uint64_t *nshared)
{
    const MirrorState *m = bs->opaque;

    if (role & BDRV_CHILD_FILTERED) {
        source_perm(bs, perm, shared, nperm, nshared);
    } else if (m->mode == MIRROR_OFF || m->growing ||
               (m->base && !bdrv_next_parent(bs, NULL))) {
        /* Before it is inserted, users of the source need not share writes. */
        *nperm = 0;
        *nshared = BLK_PERM_ALL;
    } else {
        *nperm = BLK_PERM_WRITE;
        *nshared = BLK_PERM_WRITE_UNCHANGED;
        if (m->base) {
            *nshared |= BLK_PERM_CONSISTENT_READ;
        }
    }
}

/*
 * A target that receives whole units may get its backing file while the job
 * runs: what of it was not written is not to be copied.
 */
static BdrvConsent mirror_child_change(BlockDriverState *bs,
                                       const BdrvChildChange *change,
                                       Transaction *tran, Error **errp)
{
    const MirrorState *m = bs->opaque;

    if (m->p.whole_units && !(change->role & BDRV_CHILD_FILTERED) &&
        change->content == BDRV_CONTENT_OVERLAY &&
        change->new_bs == change->old_bs) {
        return BDRV_ACCEPT;
    }
    return bdrv_child_change_same(bs, change, tran, errp);
}

static void mirror_close(BlockDriverState *bs)
{
    mirror_copy_destroy(bs->opaque);
}

static const char *const no_options[] = { NULL };

static const BlockDriver mirror_top = {
    .format_name = "mirror_top",
    .instance_size = sizeof(MirrorState),
    .is_filter = true,
    .strong_options = no_options,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .close = mirror_close,
    .child_perm = mirror_child_perm,
    .child_change = mirror_child_change,
    .co_pwritev = mirror_co_pwritev,
    .co_pwritev_compressed = mirror_co_pwritev_compressed,
    .co_pwrite_zeroes = mirror_co_pwrite_zeroes,
    .co_pdiscard = mirror_co_pdiscard,
    .co_truncate = mirror_co_truncate,
};

MirrorState *mirror_filter_state(BlockDriverState *filter)
{
    g_assert(filter->drv == &mirror_top);
    return filter->opaque;
}

BlockDriverState *mirror_filter_new(BlockDriverState *source,
                                    BlockDriverState *target,
                                    BlockDriverState *base,
                                    const char *node_name,
                                    const MirrorCopyParams *params,
                                    Error **errp)
{
    g_autoptr(BlockDriverState) bs = bdrv_new_filter(&mirror_top, source,
                                                     node_name, errp);
    MirrorState *m;

    if (!bs) {
        return NULL;
    }
    m = bs->opaque;
    m->bs = bs;
    m->base = base;
    m->p = *params;
    m->len = bs->total_bytes;
    bs->read_only = source->read_only;
    m->target = bdrv_attach_child(bs, target, "target", BDRV_CHILD_DATA, errp);
    if (!m->target || !mirror_copy_init(m, errp)) {
        return NULL;
    }
    return g_steal_pointer(&bs);
}

void mirror_set_mode(MirrorState *m, MirrorMode mode)
{
    if (m->mode != mode && m->mode != MIRROR_OFF) {
        m->mode = mode;
        m->epoch++;
    }
}

void mirror_filter_disable(MirrorState *m)
{
    g_assert(LIST_EMPTY(&m->writes.reqs) && LIST_EMPTY(&m->copying.reqs));
    mirror_set_mode(m, MIRROR_OFF);
    bdrv_unref_child(m->bs, g_steal_pointer(&m->target));
    bdrv_refresh_perms(m->bs, NULL, NULL);
}
