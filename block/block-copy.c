/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copy engine: what is left, and who works on what.
 *
 * A call walks what is left in its range.  It takes an area (todo is cleared,
 * the area goes into the list of requests), moves it, and takes it off the
 * list; a failure sets todo again.  When nothing is left it waits for others
 * at work in its range and looks once more, since they may have failed.
 *
 *     block_copy()         a guest's write: one area after another
 *     block_copy_async()   a job: a coroutine that hands out areas to others,
 *                          some at a time, no faster than `speed`
 *
 * Failures.  An area of several clusters that failed is tried again cluster by
 * cluster, so that exactly what cannot be copied is left.  A call of a job then
 * ends and tells of the error, also where each cluster could be copied at last:
 * how often something fails is for the user to know.  A guest's write only has
 * to know whether its old data was saved.
 *
 * A device that does not work at all must not be asked for each cluster, which
 * may take long.  So if the first, the last and the middle cluster of an area
 * fail, the rest of it is given up; and other areas of the same call that
 * failed, too, are given up without a try, unless anything was copied since.
 * Those who retry take turns.
 */
#include "qemu/osdep.h"
#include "block/block-copy-int.h"
#include "block/graph.h"
#include "block/io.h"
#include "qemu/interval.h"

/* An area of zeroes costs nothing to copy: take much of it at once. */
#define MAX_ZERO_AREA (1 * GiB)

/* What block status said last: valid as long as todo is set there. */
typedef struct CopyStatus {
    int64_t start, end;
    BlockCopyKind kind;
} CopyStatus;

struct BlockCopyCall {
    /* --- set once --- */
    BlockCopyState *s;
    BlockCopyParams p;
    int64_t chunk;
    bool want_status; /* look for zeroes before reading */

    /* --- the context's thread --- */
    int64_t pos; /* all before it was taken by somebody */
    CopyStatus status;
    int in_flight;
    CoQueue slots; /* the walker waits here for the end of a chunk */
    CoSleep sleep;
    BlockCopyError error; /* the first */
    CoMutex retry_lock;   /* one area at a time is tried by clusters */
    uint64_t moved;       /* areas that were copied */
    bool dead;            /* an area was given up, which had failed */
    uint64_t dead_moved;  /* when `moved` was this */
    bool cancel, finished, cancelled;
    Coroutine *waiter;
};

/* An area on its way. */
typedef struct CopyTask {
    BlockReq req;
    BlockCopyCall *call;
    BlockCopyKind kind;
    bool spoiled; /* the source changes: what is read may be new data */
} CopyTask;

/* --- the state --- */

/* The unit that the target allocates in, or -errno. */
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
    s->fleecing = bdrv_chain_contains(target->bs, source->bs);
    s->fast = true;
    s->todo = hbitmap_try_new(len, s->cluster_size);
    s->kept = hbitmap_try_new(len, s->cluster_size);
    if (!s->todo || !s->kept) {
        error_setg(errp, "No memory to take note of what of node '%s' is "
                   "copied", source->bs->node_name);
        hbitmap_free(s->todo);
        hbitmap_free(s->kept);
        g_free(s);
        return NULL;
    }
    hbitmap_set_all(s->todo);
    hbitmap_set_all(s->kept);
    s->shown = bdrv_dirty_bitmap_show_bits(source->bs, s->todo);
    s->piece = BLOCK_COPY_CHUNK;
    s->pool = bufpool_new(s->piece, BLOCK_COPY_FAST_CHUNKS + 1);
    co_queue_init(&s->buffer_queue);
    s->batch_bh = aio_bh_new(source->bs->ctx, AIO_SCOPE_IO,
                             block_copy_send_batch, s);
    return s;
}

void block_copy_state_free(BlockCopyState *s)
{
    if (s) {
        g_assert(LIST_EMPTY(&s->reqs.reqs) && !s->batch);
        aio_bh_free(s->batch_bh);
        bdrv_dirty_bitmap_hide_bits(s->shown);
        hbitmap_free(s->todo);
        hbitmap_free(s->kept);
        bufpool_free(s->pool);
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
    BlockReq *req;

    LIST_FOREACH(req, &s->reqs.reqs, list) {
        if (ranges_overlap(req->offset, req->bytes, offset, bytes)) {
            container_of(req, CopyTask, req)->spoiled = true;
        }
    }
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
}

void block_copy_set_method(BlockCopyState *s, bool use_copy_range,
                           bool compress)
{
    int64_t piece = compress ? MAX(s->target_cluster, BLOCK_COPY_CHUNK)
                             : BLOCK_COPY_CHUNK;

    s->use_copy_range = use_copy_range;
    s->compress = compress;
    if (piece != s->piece) {
        bufpool_free(s->pool);
        s->piece = piece;
        s->pool = bufpool_new(piece, BLOCK_COPY_FAST_CHUNKS + 1);
    }
}

void block_copy_set_speed(BlockCopyState *s, uint64_t speed)
{
    ratelimit_set_speed(&s->limit, speed);
}

void block_copy_set_whole(BlockCopyState *s, bool whole)
{
    s->whole = whole;
}

void block_copy_set_skip_unallocated(BlockCopyState *s, bool skip)
{
    s->skip_unallocated = skip;
}

bool block_copy_skips_unallocated(const BlockCopyState *s)
{
    return s->skip_unallocated;
}

/* Tells how much is left, where that changed otherwise than by copying. */
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

/* --- status --- */

static CopyStatus coroutine_fn get_status(BlockCopyState *s, int64_t offset)
{
    BlockDriverState *bs = s->source->bs;
    BlockDriverState *base =
        s->skip_unallocated ? bdrv_backing_chain_next(bs) : NULL;
    CopyStatus status = {.start = offset, .kind = BLOCK_COPY_DATA};
    int64_t pnum = 0;
    int ret = bdrv_block_status_above(bs, base, offset, s->len - offset,
                                      &pnum, NULL, NULL, NULL);

    if (ret < 0 || pnum <= 0) {
        pnum = s->cluster_size; /* the read will tell what is wrong */
    } else if (s->skip_unallocated && !(ret & BDRV_BLOCK_ALLOCATED)) {
        status.kind = BLOCK_COPY_SKIP;
    } else if (ret & BDRV_BLOCK_ZERO) {
        status.kind = BLOCK_COPY_ZERO;
    }
    status.end = MIN(offset + pnum, s->len);
    return status;
}

/* Whole clusters of @status from @offset on; 0: not even one. */
static int64_t status_clusters(const BlockCopyState *s,
                               const CopyStatus *status, int64_t offset)
{
    int64_t bytes = status->end - offset;

    return status->end == s->len ? bytes : ROUND_DOWN(bytes, s->cluster_size);
}

/*
 * What is left in the range is not to be copied.  What is not left any more
 * may have been saved for a guest's write: that stays kept.
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
    CopyStatus status = {.start = ROUND_DOWN(offset, s->cluster_size)};
    int64_t pnum = 0, bytes;
    int ret = bdrv_is_allocated(bdrv_skip_filters(s->source->bs),
                                status.start, s->len - status.start, &pnum);

    if (ret < 0) {
        return ret;
    }
    status.end = MIN(status.start + pnum, s->len);
    bytes = status_clusters(s, &status, status.start);
    if (bytes == 0) {
        return MIN(s->cluster_size, s->len - status.start); /* in part */
    }
    if (!ret) {
        drop_left(s, status.start, bytes);
    }
    return bytes;
}

/* --- areas --- */

/* Does a speed hold for this call?  A guest's write never waits for it. */
static bool is_limited(const BlockCopyCall *call)
{
    return !call->p.guest_write && ratelimit_is_set(&call->s->limit);
}

/* Takes what is left in the range, whole clusters, off todo. */
static CopyTask *take_task(BlockCopyCall *call, BlockCopyKind kind,
                           int64_t offset, int64_t bytes)
{
    BlockCopyState *s = call->s;
    CopyTask *task = g_new0(CopyTask, 1);

    task->call = call;
    task->kind = kind;
    hbitmap_reset(s->todo, offset, bytes);
    s->in_flight_bytes += bytes;
    block_reqs_add(&s->reqs, &task->req, offset, bytes);
    return task;
}

/* What is at @start, by the status, and how much of it to take: *@max. */
static BlockCopyKind area_kind(const BlockCopyCall *call, int64_t start,
                               int64_t *max)
{
    const BlockCopyState *s = call->s;
    int64_t run = status_clusters(s, &call->status, start);
    BlockCopyKind kind = call->status.kind;

    if (kind == BLOCK_COPY_DATA || run <= 0) {
        *max = MIN(*max, MAX(run, s->cluster_size));
        return BLOCK_COPY_DATA;
    }
    /* Zeroes count where a speed is to be kept: no more at once. */
    if (kind == BLOCK_COPY_SKIP || !is_limited(call)) {
        *max = MAX(MAX_ZERO_AREA, s->cluster_size);
    }
    *max = MIN(*max, run);
    return kind;
}

/*
 * The next area of what is left, at most as long as one kind of data goes on.
 * Takes it off todo.  NULL: there is none.
 */
static CopyTask *coroutine_fn take_area(BlockCopyCall *call)
{
    BlockCopyState *s = call->s;
    int64_t end = call->p.offset + call->p.bytes;
    BlockCopyKind kind = BLOCK_COPY_DATA;
    int64_t start, bytes, max = call->chunk;

    for (;;) {
        start = hbitmap_next_dirty(s->todo, call->pos, end - call->pos);
        if (start < 0 || call->pos >= end) {
            return NULL;
        }
        call->pos = start;
        if (!call->want_status ||
            (start >= call->status.start && start < call->status.end)) {
            break;
        }
        /* This may yield: look again what is left. */
        call->status = get_status(s, start);
    }
    if (call->want_status) {
        kind = area_kind(call, start, &max);
    }
    hbitmap_next_dirty_area(s->todo, start, end, max, &start, &bytes);
    call->pos = start + bytes;
    return take_task(call, kind, start, bytes);
}

static void finish_area(CopyTask *task, int ret)
{
    BlockCopyState *s = task->call->s;

    s->in_flight_bytes -= task->req.bytes;
    if (ret < 0 || task->spoiled) {
        hbitmap_set(s->todo, task->req.offset, task->req.bytes);
    } else if (task->kind == BLOCK_COPY_SKIP) {
        hbitmap_reset(s->kept, task->req.offset, task->req.bytes);
        update_remaining(s);
    } else if (s->progress) {
        progress_done(s->progress, task->req.bytes);
        update_remaining(s);
    }
    block_reqs_remove(&task->req);
    g_free(task);
}

/* Tries once; frees @task.  False with *@error: it is left as it was. */
static bool coroutine_fn move_task(CopyTask *task, BlockCopyError *error)
{
    BlockCopyCall *call = task->call;
    BlockCopyError result = {
        .offset = task->req.offset,
        .bytes = task->req.bytes,
    };

    if (task->kind != BLOCK_COPY_SKIP) {
        result.ret = block_copy_move(call->s, result.offset, result.bytes,
                                     task->kind, call->p.guest_write,
                                     &result.is_read);
    }
    finish_area(task, result.ret);
    if (result.ret < 0) {
        *error = result;
        return false;
    }
    call->moved++;
    return true;
}

/* --- what failed, cluster by cluster --- */

typedef struct Retry {
    BlockCopyCall *call;
    BlockCopyKind kind;
    BlockCopyError error; /* the first cluster that failed */
} Retry;

/* Tries one cluster.  True where it is not left. */
static bool coroutine_fn retry_cluster(Retry *r, int64_t offset)
{
    BlockCopyState *s = r->call->s;
    BlockCopyError error;

    if (!hbitmap_get(s->todo, offset)) {
        return true; /* copied, or somebody else is at it */
    }
    if (move_task(take_task(r->call, r->kind, offset,
                            MIN(s->cluster_size, s->len - offset)), &error)) {
        return true;
    }
    if (r->error.ret == 0) {
        r->error = error;
    }
    return false;
}

/* The first cluster of an area failed: do others that lie far from it, too? */
static bool coroutine_fn others_fail(Retry *r, const BlockCopyError *area)
{
    int64_t cluster = r->call->s->cluster_size;
    int64_t last = ROUND_DOWN(area->offset + area->bytes - 1, cluster);
    int64_t middle = ROUND_DOWN(area->offset + area->bytes / 2, cluster);

    return !retry_cluster(r, last) &&
           (middle == last || middle == area->offset ||
            !retry_cluster(r, middle));
}

/* True: of each cluster that is left of @area it is known that it fails. */
static bool coroutine_fn retry_clusters(Retry *r, const BlockCopyError *area,
                                        uint64_t moved)
{
    BlockCopyCall *call = r->call;
    int64_t end = area->offset + area->bytes;

    if (call->dead && call->dead_moved == call->moved) {
        return false;
    }
    for (int64_t at = area->offset; at < end;
         at += call->s->cluster_size) {
        if (call->cancel) {
            return false;
        }
        if (!retry_cluster(r, at) && at == area->offset &&
            others_fail(r, area)) {
            call->dead = true;
            call->dead_moved = moved;
            return false;
        }
    }
    return true;
}

/* @area failed, and is left; tells of what failed for good. */
static void coroutine_fn retry_area(BlockCopyCall *call, BlockCopyKind kind,
                                    BlockCopyError *area)
{
    Retry r = {.call = call, .kind = kind};
    uint64_t moved = call->moved;
    bool tried;

    if (area->bytes <= call->s->cluster_size) {
        return;
    }
    co_mutex_lock(&call->retry_lock);
    tried = retry_clusters(&r, area, moved);
    co_mutex_unlock(&call->retry_lock);
    if (r.error.ret < 0) {
        /* The first failure tells the cause, where others only follow. */
        if (r.error.is_read == area->is_read) {
            r.error.ret = area->ret;
        }
        *area = r.error;
    } else if (tried && call->p.guest_write) {
        area->ret = 0; /* the walker waits for who else is at it */
    }
}

/* Runs in a coroutine of its own, or in the caller's. */
static void coroutine_fn copy_area(void *opaque)
{
    CopyTask *task = opaque;
    BlockCopyCall *call = task->call;
    BlockCopyKind kind = task->kind;
    BlockCopyError error = {0};

    if (!move_task(task, &error)) {
        bool first = call->error.ret == 0;

        if (first && !call->p.guest_write) {
            call->error = error; /* the walker begins nothing more */
        }
        retry_area(call, kind, &error);
        if (first) {
            call->error = error;
        }
    }
    call->in_flight--;
    co_queue_wake_all(&call->slots);
}

/* --- calls --- */

static bool must_stop(const BlockCopyCall *call)
{
    return call->cancel || call->error.ret < 0;
}

/*
 * May another area be started?  On the fast path what counts is how much data
 * is on its way; small areas are many.
 */
static bool has_room(const BlockCopyCall *call)
{
    const BlockCopyState *s = call->s;

    if (call->in_flight == 0) {
        return true;
    }
    if (call->in_flight >= call->p.max_workers) {
        return false;
    }
    return !s->fast ||
           s->in_flight_bytes < BLOCK_COPY_FAST_CHUNKS * BLOCK_COPY_CHUNK;
}

static void coroutine_fn wait_for_room(BlockCopyCall *call)
{
    while (!has_room(call)) {
        co_queue_wait(&call->slots, NULL);
    }
}

static void coroutine_fn wait_for_all(BlockCopyCall *call)
{
    while (call->in_flight > 0) {
        co_queue_wait(&call->slots, NULL);
    }
}

/*
 * Sleeps if the speed does not allow @task yet, having given it back; woken
 * where the speed is changed.  What costs nothing does not wait, so that a
 * call which has only that left ends at once.
 */
static bool coroutine_fn keep_speed(BlockCopyCall *call, CopyTask *task)
{
    int64_t ns;

    if (task->kind == BLOCK_COPY_SKIP || !is_limited(call)) {
        return false;
    }
    ns = ratelimit_delay(&call->s->limit, 0, aio_now_ns());
    if (ns <= 0) {
        return false;
    }
    call->pos = task->req.offset;
    finish_area(task, -EAGAIN);
    if (!must_stop(call)) { /* told while the area was looked for */
        co_sleep_wakeable(&call->sleep, ns);
    }
    return true;
}

static void coroutine_fn start_area(BlockCopyCall *call, CopyTask *task)
{
    if (is_limited(call) && task->kind != BLOCK_COPY_SKIP) {
        ratelimit_delay(&call->s->limit, task->req.bytes, aio_now_ns());
    }
    call->in_flight++;
    if (call->p.max_workers == 1) {
        copy_area(task);
    } else {
        coroutine_enter(coroutine_create(copy_area, task));
    }
}

/* One pass over the range; true: look again, others were at work in it. */
static bool coroutine_fn walk(BlockCopyCall *call)
{
    BlockCopyState *s = call->s;
    int64_t end = call->p.offset + call->p.bytes;
    CopyTask *task;

    call->pos = call->p.offset;
    while (!must_stop(call)) {
        wait_for_room(call);
        task = must_stop(call) ? NULL : take_area(call);
        if (!task) {
            break;
        }
        if (!keep_speed(call, task)) {
            start_area(call, task);
        }
    }
    wait_for_all(call);
    if (must_stop(call)) {
        return false;
    }
    return block_reqs_wait_one(&s->reqs, call->p.offset, call->p.bytes) ||
           hbitmap_next_dirty(s->todo, call->p.offset,
                              end - call->p.offset) >= 0;
}

static void init_call(BlockCopyCall *call, BlockCopyState *s,
                      const BlockCopyParams *params)
{
    int64_t chunk = params->max_chunk ? MIN(params->max_chunk,
                                            BLOCK_COPY_CHUNK)
                                      : BLOCK_COPY_CHUNK;

    call->s = s;
    call->p = *params;
    call->p.max_workers = MIN(params->max_workers, BLOCK_COPY_MAX_WORKERS);
    /* Compressed data is made cluster by cluster, by many threads. */
    call->chunk = s->compress ? s->cluster_size
                              : MAX(ROUND_DOWN(chunk, s->cluster_size),
                                    s->cluster_size);
    /* A guest waits: a read tells as fast as a query what is zero. */
    call->want_status = s->skip_unallocated || !params->guest_write;
    co_queue_init(&call->slots);
    co_mutex_init(&call->retry_lock);
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
    while (walk(&call)) {
        /* until nothing is left */
    }
    *error = call.error;
    return call.error.ret;
}

static void coroutine_fn call_entry(void *opaque)
{
    BlockCopyCall *call = opaque;

    while (walk(call)) {
        /* until nothing is left */
    }
    call->cancelled = call->cancel && call->error.ret == 0;
    call->finished = true;
    if (call->waiter) {
        co_wake(g_steal_pointer(&call->waiter));
    }
    if (call->p.done) {
        call->p.done(call->p.opaque);
    }
}

BlockCopyCall *block_copy_async(BlockCopyState *s,
                                const BlockCopyParams *params)
{
    BlockCopyCall *call = g_new0(BlockCopyCall, 1);

    init_call(call, s, params);
    coroutine_enter(coroutine_create(call_entry, call));
    return call;
}

bool block_copy_call_finished(const BlockCopyCall *call)
{
    return call->finished;
}

bool block_copy_call_cancelled(const BlockCopyCall *call)
{
    g_assert(call->finished);
    return call->cancelled;
}

int block_copy_call_status(const BlockCopyCall *call, BlockCopyError *error)
{
    g_assert(call->finished);
    *error = call->error;
    return call->error.ret;
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
    call->cancel = true;
    co_sleep_wake(&call->sleep);
}

void block_copy_call_kick(BlockCopyCall *call)
{
    co_sleep_wake(&call->sleep);
}

void coroutine_fn block_copy_call_wait(BlockCopyCall *call)
{
    if (!call->finished) {
        g_assert(!call->waiter);
        call->waiter = coroutine_self();
        coroutine_yield();
    }
}

void block_copy_call_free(BlockCopyCall *call)
{
    g_assert(!call || call->finished);
    g_free(call);
}
