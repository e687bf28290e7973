/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The begin and the end of every request; the one place where requests wait
 * for each other and where dirty bitmaps are marked.  "Rule N" is in
 * block/request.h.
 */
#include "qemu/osdep.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "io-int.h"
#include "qemu/interval.h"

void bdrv_inc_in_flight(BlockDriverState *bs)
{
    g_assert(bs->ctx == aio_current_context());
    bdrv_node(bs)->in_flight++;
}

/* A drain polls the loop in the same thread and checks again by itself. */
void bdrv_dec_in_flight(BlockDriverState *bs)
{
    g_assert(bdrv_node(bs)->in_flight > 0);
    bdrv_node(bs)->in_flight--;
}

/* --- checks --- */

static bool changes_node(const BdrvRequest *r)
{
    return r->type != BDRV_REQUEST_READ && r->type != BDRV_REQUEST_STATUS;
}

/* The last block may be padded past an unaligned end. */
static bool leaves_node(const BdrvRequest *r)
{
    const BlockDriverState *bs = r->bs;
    int64_t end = r->offset + r->bytes;

    return r->type != BDRV_REQUEST_TRUNCATE && end > bs->total_bytes &&
           !(r->child->perm & BLK_PERM_RESIZE) &&
           end > ROUND_UP(bs->total_bytes, bdrv_request_align(bs));
}

/* A node that could not be given back may write what makes that possible. */
static bool is_from_half_taken(const BdrvRequest *r)
{
    const BdrvChild *c = r->child;

    return c && c->klass->parent_is_bs &&
           bdrv_node((BlockDriverState *)c->opaque)->half_taken;
}

int bdrv_request_check(BdrvRequest *r)
{
    if (r->child) {
        r->bs = r->child->bs;
    }
    if (!r->bs || !r->bs->drv) {
        return -ENOMEDIUM;
    }
    if (r->offset < 0 || r->bytes < 0 || r->bytes > BDRV_MAX_LENGTH ||
        r->offset > BDRV_MAX_LENGTH - r->bytes) {
        return -EIO;
    }
    if (!changes_node(r)) {
        return 0;
    }
    if (G_UNLIKELY(r->bs->read_only)) {
        return -EPERM;
    }
    if (G_UNLIKELY(bdrv_node(r->bs)->half_taken) && !is_from_half_taken(r)) {
        return -EIO;
    }
    return G_UNLIKELY(leaves_node(r)) ? -EIO : 0;
}

/* The edge needs one of these permissions; 0: none. */
static uint64_t permissions(const BdrvRequest *r)
{
    const uint64_t unchanged = BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED;

    switch (r->type) {
    case BDRV_REQUEST_READ:
        return r->copies_up ? unchanged : 0;
    case BDRV_REQUEST_WRITE:
        return r->flags & BDRV_REQ_WRITE_UNCHANGED ? unchanged
                                                   : BLK_PERM_WRITE;
    case BDRV_REQUEST_DISCARD:
        return BLK_PERM_WRITE;
    case BDRV_REQUEST_TRUNCATE:
        return BLK_PERM_RESIZE;
    default:
        return 0;
    }
}

static bool permitted(const BdrvRequest *r)
{
    uint64_t need = permissions(r);

    return !need || (r->child->perm & need);
}

/* --- in flight --- */

static void coroutine_fn enter(BdrvRequest *r)
{
    bdrv_inc_in_flight(r->bs);
    r->overlap_offset = r->offset;
    r->overlap_bytes = r->bytes;
    r->serialising = false;
    r->marked = false;
    r->waiting_for = NULL;
    r->co = coroutine_self();
    co_queue_init(&r->wait_queue);
    LIST_INSERT_HEAD(&bdrv_node(r->bs)->requests, r, list);
}

static void wake_waiting(BdrvRequest *r)
{
    if (G_UNLIKELY(!co_queue_empty(&r->wait_queue))) {
        co_queue_wake_all(&r->wait_queue);
    }
}

static void leave(BdrvRequest *r)
{
    if (r->serialising) {
        bdrv_node(r->bs)->serialising_in_flight--;
    }
    LIST_REMOVE(r, list);
    wake_waiting(r);
    bdrv_dec_in_flight(r->bs);
}

/* --- waiting --- */

static bool conflicts(const BdrvRequest *r, const BdrvRequest *other)
{
    return other != r && !other->waiting_for &&
           (other->serialising || r->serialising) &&
           ranges_overlap(other->overlap_offset, other->overlap_bytes,
                          r->overlap_offset, r->overlap_bytes);
}

/* A request in flight for which @r has to wait, or NULL. */
static BdrvRequest *find_conflict(const BdrvRequest *r)
{
    BdrvRequest *other;

    LIST_FOREACH(other, &bdrv_node(r->bs)->requests, list) {
        if (conflicts(r, other)) {
            return other;
        }
    }
    return NULL;
}

/* A query is cut before a range for which it would have to wait (rule 8). */
static void shorten_query(BdrvRequest *r)
{
    const BdrvRequest *other;

    LIST_FOREACH(other, &bdrv_node(r->bs)->requests, list) {
        if (conflicts(r, other) && other->overlap_offset > r->offset) {
            r->bytes = other->overlap_offset - r->offset;
            r->overlap_bytes = r->bytes;
        }
    }
}

static bool coroutine_fn wait_for_conflicts(BdrvRequest *r)
{
    BdrvRequest *other;
    bool waited = false;

    if (G_LIKELY(!bdrv_node(r->bs)->serialising_in_flight)) {
        return false;
    }
    for (;;) {
        if (r->type == BDRV_REQUEST_STATUS) {
            shorten_query(r);
        }
        other = find_conflict(r);
        if (!other) {
            return waited;
        }
        g_assert(!other->co || other->co != r->co); /* rule 10 */
        r->waiting_for = other;
        co_queue_wait(&other->wait_queue, NULL);
        r->waiting_for = NULL;
        waited = true;
    }
}

/* The alignment of a serialising request; 0: it is none (rule 4). */
static int64_t serialising_align(const BdrvRequest *r)
{
    const BlockDriver *drv = r->bs->drv;
    int64_t align = bdrv_request_align(r->bs);

    if (G_UNLIKELY(r->copies_up || (r->flags & BDRV_REQ_SERIALISING))) {
        return bdrv_get_cluster_size(r->bs);
    }
    if (drv->serialises && drv->serialises(r->bs, r->type)) {
        return align;
    }
    return r->type == BDRV_REQUEST_WRITE &&
           ((r->offset | r->bytes) & (align - 1)) ? align : 0;
}

static void make_serialising(BdrvRequest *r, int64_t start, int64_t end)
{
    r->overlap_offset = start;
    r->overlap_bytes = end - start;
    if (!r->serialising) {
        r->serialising = true;
        bdrv_node(r->bs)->serialising_in_flight++;
    }
}

/*
 * No other request may use a range that is cut off or new, nor that past the
 * end, where writes grow the node.  The size may change during the wait.
 */
static bool coroutine_fn settle_truncate(BdrvRequest *r)
{
    bool waited = false;
    int64_t start;

    do {
        start = MIN(r->offset, r->bs->total_bytes);
        make_serialising(r, start, INT64_MAX);
        waited |= wait_for_conflicts(r);
    } while (MIN(r->offset, r->bs->total_bytes) < start);
    return waited;
}

/* Waits for conflicting serialising requests; true if it had to wait. */
static bool coroutine_fn settle(BdrvRequest *r)
{
    int64_t align;

    if (r->type == BDRV_REQUEST_TRUNCATE) {
        return settle_truncate(r);
    }
    align = serialising_align(r);
    if (align) {
        make_serialising(r, ROUND_DOWN(r->offset, align),
                         ROUND_UP(r->offset + r->bytes, align));
    }
    return wait_for_conflicts(r);
}

/* --- marking --- */

static bool marks(const BdrvRequest *r)
{
    return (r->type == BDRV_REQUEST_WRITE ||
            r->type == BDRV_REQUEST_DISCARD ||
            r->type == BDRV_REQUEST_TRUNCATE) &&
           !(r->flags & BDRV_REQ_WRITE_UNCHANGED);
}

/*
 * The range that the driver may change: whole blocks if written back; the rest
 * of the last sector if the node is cut off within it.
 */
static void changed_range(const BdrvRequest *r, int64_t *start, int64_t *end)
{
    int64_t align = r->type == BDRV_REQUEST_WRITE
                    ? bdrv_request_align(r->bs) : 1;

    *start = ROUND_DOWN(r->offset, align);
    *end = ROUND_UP(r->offset + r->bytes, align);
    if (r->type == BDRV_REQUEST_TRUNCATE) {
        *end = MIN(ROUND_UP(r->offset, BDRV_SECTOR_SIZE), r->bs->total_bytes);
    }
}

/* Marks the part of the range inside the node. */
static void mark(BlockDriverState *bs, int64_t start, int64_t end)
{
    end = MIN(end, bs->total_bytes);
    if (start < end) {
        bdrv_dirty_bitmap_mark(bs, start, end - start);
    }
}

void bdrv_set_write_threshold(BlockDriverState *bs, uint64_t bytes)
{
    bdrv_node(bs)->write_threshold = bytes;
}

static void check_write_threshold(BlockDriverState *bs, int64_t end)
{
    uint64_t threshold = bdrv_node(bs)->write_threshold;

    if (G_UNLIKELY(threshold && end > threshold)) {
        bdrv_node(bs)->write_threshold = 0; /* reports once */
        if (bdrv_event_hooks.write_threshold) {
            bdrv_event_hooks.write_threshold(bs, threshold, end - threshold);
        }
    }
}

void bdrv_dirty_bitmap_mark_in_flight(BdrvDirtyBitmap *bitmap)
{
    HBitmap *bits = bitmap->successor ?: bitmap->bits;
    const BdrvRequest *r;
    int64_t start, end;

    if (!bdrv_dirty_bitmap_recording(bitmap)) {
        return;
    }
    LIST_FOREACH(r, &bdrv_node(bitmap->bs)->requests, list) {
        if (r->marked) {
            changed_range(r, &start, &end);
            end = MIN(end, hbitmap_size(bits));
            if (start < end) {
                hbitmap_set(bits, start, end - start);
            }
        }
    }
}

/* Rule 3: checks conditions that may have changed during the wait. */
static int check_again(BdrvRequest *r)
{
    BlockDriverState *bs = r->bs;
    int ret = bdrv_request_check(r);

    g_assert(r->bs == bs); /* rule 1 */
    if (ret < 0) {
        return ret;
    }
    r->copies_up &= !bs->read_only;
    return permitted(r) ? 0 : -EPERM;
}

/* Rules 5 and 6. */
static int coroutine_fn intend_and_mark(BdrvRequest *r)
{
    BlockDriverState *bs = r->bs;
    int64_t start, end;
    int ret;

    changed_range(r, &start, &end);
    if (marks(r) && start < end) {
        bool may_wait = bdrv_node(bs)->bitmaps.store != NULL;

        ret = bdrv_bitmap_store_co_write_intent(bs, start, end - start);
        if (ret == 0 && may_wait) {
            ret = check_again(r); /* rule 3 */
        }
        if (ret < 0) {
            return ret;
        }
        mark(bs, start, end);
        r->marked = true;
    }
    if (r->type == BDRV_REQUEST_WRITE) {
        check_write_threshold(bs, end);
    }
    return 0;
}

/* Updates the size after a write that has grown the node. */
static void grow_to(BlockDriverState *bs, int64_t end)
{
    BdrvChild *parent;

    end = ROUND_UP(end, BDRV_SECTOR_SIZE);
    bs->total_bytes = end;
    bdrv_dirty_bitmap_truncate_all(bs, end, bdrv_grows_by_zeroes(bs));
    LIST_FOREACH(parent, &bdrv_node(bs)->parents, next_parent) {
        if (parent->klass->resize) {
            parent->klass->resize(parent);
        }
    }
}

/* A write beyond the end that failed may have grown the file by a part. */
static void follow_growth(BlockDriverState *bs)
{
    int64_t bytes = bs->drv->getlength ? bs->drv->getlength(bs) : 0;

    if (bytes > bs->total_bytes) {
        grow_to(bs, bytes);
    }
}

/* --- begin and end --- */

/* A read through an edge without permission to write copies nothing, unless
 * copying is its only purpose. */
static bool copies_up(const BdrvRequest *r)
{
    const uint64_t need = BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED;

    return !r->bs->read_only && (r->flags & BDRV_REQ_COPY_ON_READ) &&
           ((r->child->perm & need) || (r->flags & BDRV_REQ_PREFETCH));
}

int coroutine_fn bdrv_request_begin(BdrvRequest *r)
{
    int ret = bdrv_request_check(r);

    if (ret < 0) {
        return ret;
    }
    r->copies_up = r->type == BDRV_REQUEST_READ && copies_up(r);
    g_assert(permitted(r));
    enter(r);
    if (G_UNLIKELY(settle(r))) {
        ret = check_again(r);
    }
    if (ret == 0 && changes_node(r)) {
        ret = intend_and_mark(r);
    }
    if (ret < 0) {
        leave(r); /* rule 2 */
    }
    return ret;
}

/* A write that grew the node is marked again (rule 6). */
static void end_change(BdrvRequest *r, int ret)
{
    BlockDriverState *bs = r->bs;
    int64_t start, end;

    changed_range(r, &start, &end);
    if (ret == 0 && r->type == BDRV_REQUEST_WRITE) {
        BdrvNode *node = bdrv_node(bs);

        node->wr_highest_offset = MAX(node->wr_highest_offset, (uint64_t)end);
        if (G_UNLIKELY(end > bs->total_bytes) &&
            (r->child->perm & BLK_PERM_RESIZE)) {
            grow_to(bs, end);
        }
    } else if (G_UNLIKELY(ret < 0 && r->type == BDRV_REQUEST_WRITE &&
                          end > bs->total_bytes)) {
        bdrv_dirty_bitmap_growth_failed(bs, end);
        follow_growth(bs);
    }
    if (r->marked) {
        mark(bs, start, end);
    }
}

int coroutine_fn bdrv_request_end(BdrvRequest *r, int ret)
{
    /* A driver that fails without a reason has a bug. */
    g_assert(ret <= 0);
    g_assert(!r->child || r->child->bs == r->bs); /* rule 1 */
    if (changes_node(r)) {
        end_change(r, ret);
    }
    leave(r);
    return ret;
}

void bdrv_request_narrow(BdrvRequest *r, int64_t bytes)
{
    g_assert(bytes > 0 && bytes <= r->bytes && !r->serialising);
    if (bytes < r->bytes) {
        r->bytes = r->overlap_bytes = bytes;
        wake_waiting(r);
    }
}

/* --- clusters --- */

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
