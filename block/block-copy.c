/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying a node while it is in use: what is left, and what is in flight.
 *
 * All calls of a state walk the same bitmap, todo, and record their areas in
 * the same list of requests.  Taking an area clears its bits; a failure sets
 * them again.  A call that finds nothing left waits for areas of others in its
 * range and walks once more, since they may have failed.
 *
 *     block_copy()         a guest's write: one area after another
 *     block_copy_async()   a job: many at a time, no faster than `speed`
 *
 * block/copier.h describes the loop and failures, block/copy-mover.h the
 * transfer of an area.
 */
#include "qemu/osdep.h"
#include "block/block-copy.h"
#include "block/copier.h"
#include "block/copy-mover.h"
#include "block/dirty-bitmap.h"
#include "block/driver.h"
#include "block/graph.h"
#include "block/io.h"

/*
 * Areas in flight of one call, whatever the user allows: each needs a stack,
 * and most of them only wait for a buffer.
 */
#define MAX_WORKERS 1024

struct BlockCopyState {
    /* --- set once, or before copying begins; main thread --- */
    BdrvChild *source, *target;
    int64_t len;
    int64_t cluster_size;
    int64_t target_cluster;
    bool skip_unallocated;
    BdrvShownBits *shown; /* todo, on the source */
    void coroutine_fn (*hook)(void *opaque);
    void *hook_opaque;

    /* --- accessed in the thread of the source's context --- */
    HBitmap *todo;
    HBitmap *kept;
    BlockReqList reqs; /* in flight */
    int64_t in_flight_bytes;
    ProgressMeter *progress; /* has a lock of its own */
    RateLimit limit; /* of background copies */
    CopyMover *mover;
};

/* All fields belong to the thread of the source's context. */
struct BlockCopyCall {
    BlockCopyState *s;
    CopyWalker walker;
    CopyPacer pacer;
    Copier copier;
    bool guest_write;
};

/* --- the state --- */

/* The allocation unit of the target, or -errno. */
static int64_t target_cluster_size(BdrvChild *target, Error **errp)
{
    bool has_backing = bdrv_backing_chain_next(target->bs) != NULL;
    BlockDriverInfo info = {0};
    int ret = bdrv_get_info(target->bs, &info);

    if (ret == -ENOTSUP && !has_backing) {
        warn_report("The target block device doesn't provide information "
                    "about the block size and it doesn't have a backing "
                    "file. The default block size of %" PRId64 " bytes is "
                    "used. If the actual block size of the target exceeds "
                    "this default, the backup may be unusable",
                    BLOCK_COPY_CLUSTER_SIZE_DEFAULT);
        return 0;
    }
    if (ret < 0 && !has_backing) {
        error_setg_errno(errp, -ret, "Couldn't determine the cluster size of "
                         "the target image, which has no backing file");
        return ret;
    }
    return ret < 0 ? 0 : info.cluster_size;
}

static void make_mover(BlockCopyState *s)
{
    CopyMoverParams params = {
        .unit = s->cluster_size,
        .fleecing = bdrv_chain_contains(s->target->bs, s->source->bs),
    };

    s->mover = copy_mover_new(s->source, s->target, &params);
}

/* False if memory could not be allocated. */
static bool make_bitmaps(BlockCopyState *s)
{
    s->todo = hbitmap_try_new(s->len, s->cluster_size);
    s->kept = hbitmap_try_new(s->len, s->cluster_size);
    if (!s->todo || !s->kept) {
        hbitmap_free(s->todo);
        hbitmap_free(s->kept);
        return false;
    }
    hbitmap_set_all(s->todo);
    hbitmap_set_all(s->kept);
    return true;
}

BlockCopyState *block_copy_state_new(BdrvChild *source, BdrvChild *target,
                                     uint64_t min_cluster_size, Error **errp)
{
    int64_t len = bdrv_getlength(source->bs);
    BlockCopyState *s;
    int64_t cluster;

    if (len < 0) {
        error_setg_errno(errp, -len, "Cannot get the size of node '%s'",
                         source->bs->node_name);
        return NULL;
    }
    if (min_cluster_size &&
        (!is_power_of_2(min_cluster_size) || min_cluster_size > INT64_MAX)) {
        error_setg(errp, "min-cluster-size needs to be a power of 2");
        return NULL;
    }
    cluster = target_cluster_size(target, errp);
    if (cluster < 0) {
        return NULL;
    }
    s = g_new0(BlockCopyState, 1);
    s->source = source;
    s->target = target;
    s->len = len;
    s->target_cluster = MAX(cluster, BLOCK_COPY_CLUSTER_SIZE_DEFAULT);
    s->cluster_size = MAX(s->target_cluster,
                          MIN((int64_t)min_cluster_size,
                              BLOCK_COPY_CLUSTER_SIZE_MAX));
    if (!make_bitmaps(s)) {
        error_setg(errp, "Not enough memory to track the copy of node '%s'",
                   source->bs->node_name);
        g_free(s);
        return NULL;
    }
    s->shown = bdrv_dirty_bitmap_show_bits(source->bs, s->todo, false);
    make_mover(s);
    return s;
}

void block_copy_state_free(BlockCopyState *s)
{
    if (s) {
        g_assert(LIST_EMPTY(&s->reqs.reqs));
        copy_mover_free(s->mover);
        bdrv_dirty_bitmap_hide_bits(s->shown);
        hbitmap_free(s->todo);
        hbitmap_free(s->kept);
        g_free(s);
    }
}

int64_t block_copy_cluster_size(const BlockCopyState *s)
{
    return s->cluster_size;
}

HBitmap *block_copy_todo(BlockCopyState *s)
{
    return s->todo;
}

const HBitmap *block_copy_kept(const BlockCopyState *s)
{
    return s->kept;
}

HBitmap *block_copy_left(const BlockCopyState *s)
{
    HBitmap *left = hbitmap_copy(s->todo);
    const BlockReq *req;

    if (!left) {
        return NULL;
    }
    LIST_FOREACH(req, &s->reqs.reqs, list) {
        hbitmap_set(left, req->offset, req->bytes);
    }
    return left;
}

void block_copy_spoil(BlockCopyState *s, int64_t offset, int64_t bytes)
{
    copier_spoil(&s->reqs, offset, bytes);
}

bool block_copy_in_flight(const BlockCopyState *s)
{
    return !LIST_EMPTY(&s->reqs.reqs);
}

void coroutine_fn block_copy_wait(BlockCopyState *s)
{
    block_reqs_wait_all(&s->reqs, 0, s->len);
}

void block_copy_set_todo(BlockCopyState *s, const HBitmap *bits)
{
    bool ok;

    g_assert(LIST_EMPTY(&s->reqs.reqs));
    hbitmap_reset_all(s->todo);
    hbitmap_reset_all(s->kept);
    ok = hbitmap_merge(bits, NULL, s->todo);
    g_assert(ok);
    ok = hbitmap_merge(s->todo, NULL, s->kept);
    g_assert(ok);
    /* A job before may have failed as a cache, which is asked, lost writes. */
    copy_mover_write_all_zeroes(s->mover);
}

void block_copy_restart(BlockCopyState *s)
{
    g_assert(LIST_EMPTY(&s->reqs.reqs));
    hbitmap_set_all(s->todo);
    hbitmap_set_all(s->kept);
}

void block_copy_set_hook(BlockCopyState *s,
                         void coroutine_fn (*hook)(void *opaque), void *opaque)
{
    s->hook = hook;
    s->hook_opaque = opaque;
}

void block_copy_set_method(BlockCopyState *s, bool use_copy_range,
                           bool compress)
{
    CopyMoverParams params = *copy_mover_params(s->mover);

    params.use_copy_range = use_copy_range;
    params.compress = compress;
    params.piece = compress ? s->target_cluster : 0;
    copy_mover_set_params(s->mover, &params);
}

void block_copy_set_whole(BlockCopyState *s, bool whole)
{
    CopyMoverParams params = *copy_mover_params(s->mover);

    params.whole = whole;
    copy_mover_set_params(s->mover, &params);
}

void block_copy_set_speed(BlockCopyState *s, uint64_t speed)
{
    ratelimit_set_speed(&s->limit, speed);
}

void block_copy_set_skip_unallocated(BlockCopyState *s, bool skip)
{
    s->skip_unallocated = skip;
}

bool block_copy_skips_unallocated(const BlockCopyState *s)
{
    return s->skip_unallocated;
}

/* Updates the remaining amount after changes other than copying. */
static void update_remaining(BlockCopyState *s)
{
    if (s->progress) {
        progress_set_remaining(s->progress, hbitmap_count(s->todo) +
                                                s->in_flight_bytes);
    }
}

void block_copy_set_progress(BlockCopyState *s, ProgressMeter *progress)
{
    s->progress = progress;
    update_remaining(s);
}

/* --- what is left --- */

/* A CopyLook.  If the status query fails, the read reports the error. */
static int coroutine_fn look(void *opaque, CopyArea *run)
{
    BlockCopyState *s = opaque;
    BlockDriverState *bs = s->source->bs;
    BlockDriverState *base =
        s->skip_unallocated ? bdrv_backing_chain_next(bs) : NULL;
    int64_t pnum = 0;
    int ret = bdrv_block_status_above(bs, base, run->offset, run->bytes,
                                      &pnum, NULL, NULL, NULL);

    run->kind = COPY_DATA;
    run->bytes = pnum;
    if (ret < 0 || pnum <= 0) {
        run->bytes = s->cluster_size;
    } else if (s->skip_unallocated && !(ret & BDRV_BLOCK_ALLOCATED)) {
        run->kind = COPY_UNALLOCATED;
    } else if (ret & BDRV_BLOCK_ZERO) {
        run->kind = COPY_ZERO;
    }
    return 0;
}

/*
 * Excludes the bits left in the range from the copy.  Bits that are not left
 * may have been copied by a guest's write: those stay in `kept`.
 */
static void drop_left(BlockCopyState *s, int64_t offset, int64_t bytes)
{
    int64_t pos = offset, end = offset + bytes, area, n;

    while (hbitmap_next_dirty_area(s->todo, pos, end, INT64_MAX, &area, &n)) {
        hbitmap_reset(s->kept, area, n);
        pos = area + n;
    }
    hbitmap_reset(s->todo, offset, bytes);
    update_remaining(s);
}

int64_t coroutine_fn block_copy_reset_unallocated(BlockCopyState *s,
                                                  int64_t offset)
{
    int64_t start = ROUND_DOWN(offset, s->cluster_size);
    int64_t bytes = s->len - start, pnum = 0;
    BlockDriverState *bs = s->source->bs;
    /* All that a raw node shows is its own, also what is in backing files of
     * the image below. */
    int ret = bdrv_is_allocated_above(bs, bdrv_backing_chain_next(bs), false,
                                      start, bytes, &pnum);

    if (ret < 0) {
        return ret;
    }
    pnum = pnum >= bytes ? bytes : ROUND_DOWN(pnum, s->cluster_size);
    if (pnum == 0) {
        return MIN(s->cluster_size, bytes); /* partially covered */
    }
    if (!ret) {
        drop_left(s, start, pnum);
    }
    return pnum;
}

/* --- calls --- */

static int coroutine_fn move_area(void *opaque, const CopyArea *area,
                                  bool *is_read)
{
    BlockCopyCall *call = opaque;
    BlockCopyState *s = call->s;
    int ret = copy_mover_move(s->mover, area, call->guest_write, is_read);

    if (ret == 0 && s->hook && !call->guest_write) {
        s->hook(s->hook_opaque);
    }
    return ret;
}

static void begun_area(void *opaque, const CopyArea *area)
{
    BlockCopyCall *call = opaque;

    call->s->in_flight_bytes += area->bytes;
}

/*
 * For host files the number of bytes in flight is bounded, as small areas can
 * be many.  Otherwise the mover's buffers are the bound.
 */
static void set_bound(BlockCopyCall *call)
{
    const CopyMover *m = call->s->mover;

    call->pacer.max_bytes = copy_mover_is_fast(m) ? copy_mover_fast_bytes(m)
                                                  : 0;
}

static void ended_area(void *opaque, const CopyArea *area, int ret)
{
    BlockCopyCall *call = opaque;
    BlockCopyState *s = call->s;

    s->in_flight_bytes -= area->bytes;
    if (ret >= 0 && area->kind == COPY_UNALLOCATED) {
        hbitmap_reset(s->kept, area->offset, area->bytes);
        update_remaining(s);
    } else if (ret >= 0 && s->progress) {
        progress_done(s->progress, area->bytes);
        update_remaining(s);
    }
    set_bound(call);
}

static const CopierOps copier_ops = {
    .move = move_area,
    .begun = begun_area,
    .ended = ended_area,
};

/* Data is compressed cluster by cluster, by many threads. */
static int64_t chunk_size(const BlockCopyState *s, int64_t max_chunk)
{
    int64_t chunk = max_chunk ? MIN(max_chunk, COPY_CHUNK) : COPY_CHUNK;

    return copy_mover_params(s->mover)->compress
        ? s->cluster_size
        : MAX(ROUND_DOWN(chunk, s->cluster_size), s->cluster_size);
}

static void init_call(BlockCopyCall *call, BlockCopyState *s,
                      const BlockCopyParams *params)
{
    call->s = s;
    call->guest_write = params->guest_write;
    copy_walker_init_bits(&call->walker, s->todo, params->offset,
                          params->offset + params->bytes);
    /* A guest write waits for this: a read finds zeroes as fast as a query. */
    if (s->skip_unallocated || !params->guest_write) {
        copy_walker_set_look(&call->walker, look, s);
    }
    copy_pacer_init(&call->pacer, MIN(params->max_workers, MAX_WORKERS), 0,
                    params->guest_write ? NULL : &s->limit);
    set_bound(call);
    call->copier = (Copier) {
        .walker = &call->walker,
        .pacer = &call->pacer,
        .ops = &copier_ops,
        .opaque = call,
        .reqs = &s->reqs,
        .chunk = chunk_size(s, params->max_chunk),
        .unit = s->cluster_size,
        .quiet = params->guest_write,
    };
}

int coroutine_fn block_copy(BlockCopyState *s, int64_t offset, int64_t bytes,
                            BlockCopyError *error)
{
    BlockCopyParams params = {
        .offset = offset,
        .bytes = bytes,
        .max_workers = 1,
        .guest_write = true,
    };
    BlockCopyCall call = {0};

    init_call(&call, s, &params);
    copy_mover_hurry(s->mover, offset, bytes);
    copier_run(&call.copier);
    *error = call.copier.error;
    return error->ret;
}

BlockCopyCall *block_copy_call_new(BlockCopyState *s,
                                   const BlockCopyParams *params)
{
    BlockCopyCall *call = g_new0(BlockCopyCall, 1);

    init_call(call, s, params);
    return call;
}

BlockCopyCall *block_copy_async(BlockCopyState *s,
                                const BlockCopyParams *params)
{
    BlockCopyCall *call = block_copy_call_new(s, params);

    if (params->guest_write) {
        copy_mover_hurry(s->mover, params->offset, params->bytes);
    }
    copier_start(&call->copier, params->done, params->opaque);
    return call;
}

Copier *block_copy_call_copier(BlockCopyCall *call)
{
    return &call->copier;
}

bool block_copy_call_finished(const BlockCopyCall *call)
{
    return !call->copier.running;
}

bool block_copy_call_cancelled(const BlockCopyCall *call)
{
    return copier_was_cancelled(&call->copier);
}

int block_copy_call_status(const BlockCopyCall *call, BlockCopyError *error)
{
    g_assert(!call->copier.running);
    *error = call->copier.error;
    return error->ret;
}

void block_copy_error_set(const BlockCopyState *s, const BlockCopyError *error,
                          Error **errp)
{
    const BdrvChild *child = error->is_read ? s->source : s->target;

    error_setg_errno(errp, -error->ret, "%s node '%s' failed at offset "
                     "%" PRId64, error->is_read ? "Reading from"
                                                : "Writing to",
                     child->bs->node_name, error->offset);
}

void block_copy_call_cancel(BlockCopyCall *call)
{
    copy_pacer_cancel(&call->pacer);
}

void block_copy_call_kick(BlockCopyCall *call)
{
    copy_pacer_kick(&call->pacer);
}

void coroutine_fn block_copy_call_wait(BlockCopyCall *call)
{
    copier_wait(&call->copier);
}

void block_copy_call_free(BlockCopyCall *call)
{
    g_assert(!call || !call->copier.running);
    g_free(call);
}
