/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests in flight: counting, overlap, serialising, waiting.
 *
 * Two requests that overlap conflict if one of them is serialising.  Who comes
 * later waits, except for one that itself waits: it will look again when it
 * wakes and then wait for us, and two that wait for each other would never
 * end.
 */
#include "qemu/osdep.h"
#include "io-int.h"
#include "qemu/interval.h"

void bdrv_inc_in_flight(BlockDriverState *bs)
{
    bs->in_flight++;
}

/* Who drains polls the loop in the same thread and looks again by itself. */
void bdrv_dec_in_flight(BlockDriverState *bs)
{
    g_assert(bs->in_flight > 0);
    bs->in_flight--;
}

void coroutine_fn bdrv_tracked_request_begin(BdrvTrackedRequest *req,
                                             BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             BdrvTrackedType type)
{
    req->bs = bs;
    req->offset = req->overlap_offset = offset;
    req->bytes = req->overlap_bytes = bytes;
    req->type = type;
    req->serialising = false;
    req->co = coroutine_self();
    req->waiting_for = NULL;
    co_queue_init(&req->wait_queue);
    LIST_INSERT_HEAD(&bs->tracked_requests, req, list);
}

void coroutine_fn bdrv_tracked_request_end(BdrvTrackedRequest *req)
{
    if (req->serialising) {
        req->bs->serialising_in_flight--;
    }
    LIST_REMOVE(req, list);
    if (G_UNLIKELY(!co_queue_empty(&req->wait_queue))) {
        co_queue_wake_all(&req->wait_queue);
    }
}

/* A request in flight that @req has to wait for, or NULL. */
static BdrvTrackedRequest *find_conflict(const BdrvTrackedRequest *req)
{
    BdrvTrackedRequest *other;

    LIST_FOREACH(other, &req->bs->tracked_requests, list) {
        if (other != req && !other->waiting_for &&
            (other->serialising || req->serialising) &&
            ranges_overlap(other->overlap_offset, other->overlap_bytes,
                           req->overlap_offset, req->overlap_bytes)) {
            return other;
        }
    }
    return NULL;
}

static bool coroutine_fn wait_for_conflicts(BdrvTrackedRequest *req)
{
    BdrvTrackedRequest *other;
    bool waited = false;

    while ((other = find_conflict(req))) {
        /* Nested requests of one coroutine on one node would wait forever. */
        g_assert(!other->co || other->co != req->co);
        req->waiting_for = other;
        co_queue_wait(&other->wait_queue, NULL);
        req->waiting_for = NULL;
        waited = true;
    }
    return waited;
}

bool coroutine_fn bdrv_wait_serialising_requests(BdrvTrackedRequest *req)
{
    if (G_LIKELY(!req->bs->serialising_in_flight)) {
        return false;
    }
    return wait_for_conflicts(req);
}

void coroutine_fn bdrv_make_request_serialising(BdrvTrackedRequest *req,
                                                uint64_t align)
{
    int64_t start = ROUND_DOWN(req->offset, (int64_t)align);
    int64_t end = ROUND_UP(req->offset + req->bytes, (int64_t)align);
    int64_t old_end = req->overlap_offset + req->overlap_bytes;

    if (!req->serialising) {
        req->serialising = true;
        req->bs->serialising_in_flight++;
    }
    req->overlap_offset = MIN(req->overlap_offset, start);
    req->overlap_bytes = MAX(old_end, end) - req->overlap_offset;
    wait_for_conflicts(req);
}

int64_t bdrv_get_cluster_size(BlockDriverState *bs)
{
    BlockDriverInfo info = { 0 };
    int64_t align = bdrv_request_align(bs);

    if (bdrv_get_info(bs, &info) < 0) {
        return align;
    }
    return MAX(info.cluster_size, align);
}

void bdrv_round_to_clusters(BlockDriverState *bs, int64_t offset,
                            int64_t bytes, int64_t *cluster_offset,
                            int64_t *cluster_bytes)
{
    int64_t cluster = bdrv_get_cluster_size(bs);

    *cluster_offset = ROUND_DOWN(offset, cluster);
    *cluster_bytes = ROUND_UP(offset + bytes, cluster) - *cluster_offset;
}
