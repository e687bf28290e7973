/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flush, level by level from the top.
 *
 * Every change of a node increments its write_gen when it completes.  A flush
 * covers the changes up to the generation it started with; one whose generation
 * is already covered does nothing on this level, and one that begins while
 * another is in flight waits for it and checks again: concurrent flushes are
 * merged.
 *
 * The first flush of a file is never skipped: an earlier process may have
 * written what is not durable, and this one relies on what it reads.
 */
#include "qemu/osdep.h"
#include "block/bitmap-store.h"
#include "block/node-int.h"
#include "io-int.h"

static bool covered(const BlockDriverState *bs, uint64_t gen)
{
    return (int64_t)(bdrv_node(bs)->flushed_gen - gen) >= 0;
}

/* The node itself: caches to the children, or to the disk. */
static int coroutine_fn flush_node(BlockDriverState *bs)
{
    bool to_disk = !bs->file;

    if (bs->file) {
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_FLUSH_TO_OS);
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_FLUSH_TO_DISK);
    }
    if (!bs->drv->co_flush || bs->drv->flushes_children ||
        (to_disk && bs->cache_no_flush)) {
        return 0;
    }
    return bs->drv->co_flush(bs);
}

/*
 * A filter's writes to other children than the disk that it filters (old data
 * that it saves) do not concern its user: users of that data flush it.
 */
static bool holds_data(const BlockDriverState *bs, const BdrvChild *child)
{
    BdrvChildRole roles = bs->drv->is_filter ? BDRV_CHILD_FILTERED :
        BDRV_CHILD_DATA | BDRV_CHILD_METADATA | BDRV_CHILD_FILTERED;

    return child->role & roles;
}

/* May an earlier process have left writes in a file of this tree? */
static bool inherits(const BlockDriverState *bs)
{
    const BdrvChild *child;

    LIST_FOREACH(child, &bdrv_node(bs)->children, next) {
        if (holds_data(bs, child) && inherits(child->bs)) {
            return true;
        }
    }
    return bdrv_node(bs)->inherits;
}

static bool is_flushed(const BlockDriverState *bs, const BdrvChild *child)
{
    return holds_data(bs, child) &&
           (child->perm & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED) ||
            inherits(child->bs));
}

/* The children to which data or metadata was written. */
static int coroutine_fn flush_children(BlockDriverState *bs)
{
    BdrvChild *child;
    int ret = 0;

    if (bs->drv->flushes_children) {
        return bs->drv->co_flush(bs);
    }
    LIST_FOREACH(child, &bdrv_node(bs)->children, next) {
        if (is_flushed(bs, child)) {
            int r = bdrv_co_flush(child->bs);

            ret = ret < 0 ? ret : r;
        }
    }
    return ret;
}

void bdrv_flush_inherits(BlockDriverState *bs)
{
    BdrvNode *node = bdrv_node(bs);

    if (LIST_EMPTY(&node->children) && !bs->read_only && !node->inherits) {
        node->inherits = true;
        node->write_gen++;
    }
}

/* @n of @bs itself and @count of its children. */
static uint64_t count_all(BlockDriverState *bs, uint64_t n,
                          BdrvCountWrites *count)
{
    BdrvChild *child;

    if (bs->drv && bs->drv->count_writes) {
        return bs->drv->count_writes(bs, count);
    }
    /* Also where the user that has written is gone, and its permission. */
    LIST_FOREACH(child, &bdrv_node(bs)->children, next) {
        if (holds_data(bs, child)) {
            n += count(child->bs);
        }
    }
    return n;
}

uint64_t bdrv_lost_writes(BlockDriverState *bs)
{
    return count_all(bs, bdrv_node(bs)->lost_writes, bdrv_lost_writes);
}

uint64_t bdrv_forgotten_writes(BlockDriverState *bs)
{
    return count_all(bs, bdrv_node(bs)->forgotten_writes,
                     bdrv_forgotten_writes);
}

uint64_t bdrv_lost_writes_base(BlockDriverState *bs)
{
    return LIST_EMPTY(&bdrv_node(bs)->children) ? bdrv_lost_writes(bs) : 0;
}

void bdrv_note_lost_writes(BlockDriverState *bs)
{
    g_assert(LIST_EMPTY(&bdrv_node(bs)->children));
    bdrv_node(bs)->lost_writes++;
}

void bdrv_suspect_forgotten_writes(BlockDriverState *bs)
{
    bdrv_node(bs)->forgotten_writes++;
}

void bdrv_note_forgotten_writes(BlockDriverState *bs)
{
    bdrv_note_lost_writes(bs);
    bdrv_suspect_forgotten_writes(bs);
}

int coroutine_fn bdrv_co_flush(BlockDriverState *bs)
{
    BdrvNode *node;
    uint64_t gen;
    int ret = 0;

    if (!bs || !bs->drv || bs->read_only) {
        return 0;
    }
    node = bdrv_node(bs);
    bdrv_inc_in_flight(bs);
    ret = bdrv_bitmap_store_co_flush(bs);
    if (ret < 0) {
        bdrv_dec_in_flight(bs);
        return ret;
    }
    gen = node->write_gen;
    while (node->active_flush && !covered(bs, gen)) {
        co_queue_wait(&node->flush_queue, NULL);
    }
    if (covered(bs, gen)) {
        /* The driver may have written to a child on its own. */
        ret = flush_children(bs);
    } else {
        gen = node->write_gen; /* covers changes made meanwhile */
        node->active_flush = true;
        ret = flush_node(bs);
        if (ret < 0 && LIST_EMPTY(&node->children)) {
            bdrv_note_lost_writes(bs);
        }
        if (ret == 0) {
            ret = flush_children(bs);
        }
        if (ret == 0) {
            node->flushed_gen = gen;
            node->inherits = false;
        }
        node->active_flush = false;
        co_queue_wake_all(&node->flush_queue);
    }
    bdrv_dec_in_flight(bs);
    g_assert(ret <= 0);
    return ret;
}
