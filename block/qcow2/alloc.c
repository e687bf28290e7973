/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes in steps: find or allocate the place, (the caller transfers data,
 * without the lock), link it.  What is in flight is in s->ops, so that no two
 * requests change the mapping of one cluster at the same time and none frees
 * what another writes to.
 */
#include "qemu/osdep.h"

#include "block/qcow2/alloc-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* The first operation that overlaps and excludes, or is excluded. */
static Qcow2Op *op_conflict(Qcow2State *s, int64_t start, int64_t end,
                            bool exclusive)
{
    Qcow2Op *op, *first = NULL;

    LIST_FOREACH(op, &s->ops, next) {
        if (op->start < end && start < op->end &&
            (exclusive || op->exclusive) &&
            (!first || op->start < first->start)) {
            first = op;
        }
    }
    return first;
}

static void op_add(Qcow2State *s, Qcow2Op *op, int64_t start, int64_t end,
                   bool exclusive)
{
    qcow2_assert_locked(s);
    g_assert(!op_conflict(s, start, end, exclusive)); /* rule 10 */
    op->start = start;
    op->end = end;
    op->exclusive = exclusive;
    op->fresh = op->fresh_bytes = 0;
    co_queue_init(&op->wait);
    LIST_INSERT_HEAD(&s->ops, op, next);
}

void coroutine_fn qcow2_op_begin(BlockDriverState *bs, Qcow2Op *op,
                                 int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    int64_t start = qcow2_start_of_cluster(s, offset);
    int64_t end = ROUND_UP(offset + bytes, s->cluster_size);
    Qcow2Op *other;

    while ((other = op_conflict(s, start, end, true))) {
        co_queue_wait(&other->wait, &s->lock);
    }
    op_add(s, op, start, end, true);
}

void coroutine_fn qcow2_op_end(Qcow2Op *op)
{
    LIST_REMOVE(op, next);
    co_queue_wake_all(&op->wait);
}

bool qcow2_op_covers(const Qcow2State *s, int64_t offset)
{
    const Qcow2Op *op;

    LIST_FOREACH(op, &s->ops, next) {
        if (op->exclusive && op->start <= offset && offset < op->end) {
            return true;
        }
    }
    return false;
}

bool qcow2_op_has_fresh(const Qcow2State *s, uint64_t offset)
{
    const Qcow2Op *op;

    LIST_FOREACH(op, &s->ops, next) {
        if (offset < op->fresh + op->fresh_bytes &&
            op->fresh < offset + s->cluster_size) {
            return true;
        }
    }
    return false;
}

/*
 * How many of the clusters from @offset on need new space (@bytes at most)?
 * The count continues over runs of different types.
 */
static int coroutine_fn count_unwritable(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, int64_t *count)
{
    Qcow2State *s = bs->opaque;
    int64_t span = s->cluster_size << s->slice_bits, done = 0;

    /* The count stays in one slice, so that all is cached. */
    bytes = MIN(bytes, span - (offset & (span - 1)));
    while (done < bytes) {
        Qcow2Map map;
        int ret = qcow2_map(bs, offset + done, bytes - done, &map);

        if (ret < 0) {
            return ret;
        }
        if (map.copied &&
            (map.type == QCOW2_NORMAL || map.type == QCOW2_ZERO_ALLOC)) {
            break;
        }
        done += map.bytes;
    }
    *count = done;
    return 0;
}

/* Chooses the clusters for the write: @w->op covers them afterwards. */
static int coroutine_fn allocate(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    int64_t start = qcow2_start_of_cluster(s, offset), room;
    uint64_t count;
    int ret = qcow2_prepare_l2(bs, offset);

    if (ret == 0) {
        ret = count_unwritable(bs, start, offset + bytes - start, &room);
    }
    if (ret == 0) {
        ret = qcow2_alloc_run(bs, 1, qcow2_clusters(s, room), &w->host,
                              &count);
    }
    if (ret < 0) {
        return ret;
    }
    w->beyond = w->host >= s->high_water;
    s->high_water = MAX(s->high_water,
                        w->host + (count << s->cluster_bits));
    w->bytes = MIN(bytes, start + (int64_t)(count << s->cluster_bits) -
                          offset);
    w->host += offset - start;
    w->fresh = true;
    w->link = true;
    return 0;
}

/* The first allocation with lazy refcounts: they may be wrong from now on. */
static int coroutine_fn mark_dirty(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (!s->lazy_refcounts || (s->incompatible & QCOW2_INCOMPAT_DIRTY)) {
        return 0;
    }
    return qcow2_set_incompatible(bs, QCOW2_INCOMPAT_DIRTY, true);
}

static int coroutine_fn write_plan(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, Qcow2Write *w)
{
    Qcow2Map map;
    int ret = qcow2_map(bs, offset, bytes, &map);

    if (ret < 0) {
        return ret;
    }
    w->link = w->fresh = w->beyond = false;
    if (map.copied &&
        (map.type == QCOW2_NORMAL || map.type == QCOW2_ZERO_ALLOC)) {
        w->host = map.host;
        w->bytes = map.bytes;
        w->link = map.type == QCOW2_ZERO_ALLOC;
        ret = qcow2_check_overlap(bs, w->host, w->bytes, 0);
        if (ret == 0 && w->link) {
            ret = qcow2_prepare_l2(bs, offset);
        }
        return ret;
    }
    ret = mark_dirty(bs);
    if (ret == 0) {
        ret = qcow2_limit_frees(bs);
    }
    return ret < 0 ? ret : allocate(bs, offset, bytes, w);
}

int coroutine_fn qcow2_write_begin(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    int64_t start = qcow2_start_of_cluster(s, offset), end;
    Qcow2Op *other;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    if (s->broken) {
        return -EIO;
    }
    for (;;) {
        end = ROUND_UP(offset + bytes, s->cluster_size);
        other = op_conflict(s, start, end, w->whole);
        if (!other) {
            break;
        }
        if (other->start > start) {
            bytes = other->start - offset; /* the range is free up to there */
        } else {
            co_queue_wait(&other->wait, &s->lock);
        }
    }
    w->offset = offset;
    ret = write_plan(bs, offset, bytes, w);
    if (ret < 0) {
        return ret;
    }
    op_add(s, &w->op, start, ROUND_UP(offset + w->bytes, s->cluster_size),
           w->link || w->whole);
    if (w->fresh) {
        w->op.fresh = w->host - (offset - start);
        w->op.fresh_bytes = w->op.end - start;
    }
    return 0;
}

/* Frees new clusters that nothing refers to. */
static void coroutine_fn write_undo(BlockDriverState *bs, Qcow2Write *w)
{
    uint64_t fresh = w->op.fresh, bytes = w->op.fresh_bytes;

    if (w->fresh) {
        w->op.fresh_bytes = 0;
        qcow2_free_now(bs, fresh, bytes);
    }
}

static int coroutine_fn write_link(BlockDriverState *bs, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    uint64_t host = w->host - (w->offset - w->op.start);
    int64_t pos;
    int ret = 0;

    for (pos = w->op.start; ret == 0 && pos < w->op.end;
         pos += s->cluster_size, host += s->cluster_size) {
        /* An allocated zero cluster loses only the flag. */
        ret = qcow2_set_entry(bs, pos, host | QCOW2_COPIED, !w->fresh, false);
    }
    return ret; /* on failure clusters that are not linked are leaked */
}

int coroutine_fn qcow2_write_end(BlockDriverState *bs, Qcow2Write *w, int ret)
{
    Qcow2State *s = bs->opaque;

    if (w->link) {
        co_mutex_lock(&s->lock);
        if (ret == 0) {
            ret = write_link(bs, w);
        } else {
            write_undo(bs, w);
        }
        co_mutex_unlock(&s->lock);
    }
    qcow2_op_end(&w->op);
    return ret;
}

int coroutine_fn qcow2_write_end_zero(BlockDriverState *bs, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    int64_t bytes = w->op.end - w->op.start;
    int ret;

    co_mutex_lock(&s->lock);
    write_undo(bs, w);
    ret = qcow2_zero_clusters(bs, w->op.start, bytes, false);
    co_mutex_unlock(&s->lock);
    qcow2_op_end(&w->op);
    return ret;
}
