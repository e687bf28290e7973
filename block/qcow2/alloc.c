/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes in steps: find or allocate the place, (the caller transfers data,
 * without the lock), link it.  What is in flight is in s->ops, so that no two
 * requests change the mapping of one cluster at the same time and none frees
 * what another writes to.
 */
#include "qemu/osdep.h"
#include "block/graph.h"

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
        if (op->exclusive && op->start < offset + s->cluster_size &&
            offset < op->end) {
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
        if (map.copied && qcow2_has_place(map.type)) {
            break;
        }
        done += map.bytes;
    }
    *count = done;
    return 0;
}

/* The guest range [*@from, *@to) of the cluster at @pos that has data, which a
 * new cluster in its place must have, too; none: both are @pos. */
static int coroutine_fn old_data(BlockDriverState *bs, int64_t pos,
                                 int64_t *from, int64_t *to)
{
    Qcow2State *s = bs->opaque;
    Qcow2Entry old;
    int ret = qcow2_get_entry(bs, pos, &old);
    uint32_t alloc = old.bitmap;

    *from = *to = pos;
    if (ret == 0 && qcow2_type_of(s, old.desc) == QCOW2_TYPE_COMPRESSED) {
        *to = pos + s->cluster_size;
    } else if (ret == 0 && alloc) {
        *from = pos + ((int64_t)ctz64(alloc) << s->sub_bits);
        *to = pos + ((int64_t)(64 - clz64(alloc)) << s->sub_bits);
    }
    return ret;
}

/*
 * What has to be in new clusters: the rest of the subclusters (without them, of
 * the clusters) at both ends of the guest range, and between it and these
 * whatever the old clusters have as data.
 */
static int coroutine_fn widen(BlockDriverState *bs, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    int64_t end = w->offset + w->bytes, from, to;
    int ret;

    w->from = qcow2_sub_start(s, w->offset);
    w->to = qcow2_sub_end(s, end);
    if (!s->extended_l2) {
        return 0;
    }
    ret = old_data(bs, qcow2_start_of_cluster(s, w->offset), &from, &to);
    if (ret == 0 && from < to) {
        w->from = MIN(w->from, from);
    }
    if (ret == 0) {
        ret = old_data(bs, qcow2_start_of_cluster(s, end - 1), &from, &to);
        w->to = MAX(w->to, to);
    }
    return ret;
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
    if (ret == 0 && s->external) {
        /* The place is known, and is nobody else's. */
        w->host = offset;
        w->bytes = MIN(bytes, start + room - offset);
        w->link = true;
        return widen(bs, w);
    }
    if (ret == 0) {
        ret = qcow2_alloc_run(bs, 1, qcow2_clusters(s, room), &w->host,
                              &count);
    }
    if (ret < 0) {
        return ret;
    }
    w->beyond = w->host >= s->high_water && bdrv_grows_by_zeroes(bs->file->bs);
    s->high_water = MAX(s->high_water,
                        w->host + (count << s->cluster_bits));
    w->bytes = MIN(bytes, start + (int64_t)(count << s->cluster_bits) -
                          offset);
    w->host += offset - start;
    w->fresh = true;
    w->link = true;
    ret = widen(bs, w);
    if (ret < 0) {
        qcow2_free_now(bs, w->host - (offset - start),
                       count << s->cluster_bits);
    }
    return ret;
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

/*
 * Writes where @map says, and further where the file goes on, be there data or
 * not: subclusters that have none are linked.  That is up to the end of the L2
 * table, which is made writable.
 */
static int coroutine_fn plan_in_place(BlockDriverState *bs, Qcow2Map *map,
                                      int64_t bytes, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    w->host = map->host;
    w->bytes = map->bytes;
    w->link = map->type != QCOW2_NORMAL;
    w->from = w->link ? qcow2_sub_start(s, w->offset) : w->offset;
    bytes = MIN(bytes, qcow2_table_rest(s, w->offset));
    while (s->extended_l2 && w->bytes < bytes) {
        Qcow2Map more;

        ret = qcow2_map(bs, w->offset + w->bytes, bytes - w->bytes, &more);
        if (ret < 0) {
            return ret;
        }
        if (!more.copied || !qcow2_has_place(more.type) ||
            more.host != w->host + w->bytes) {
            break;
        }
        w->bytes += more.bytes;
        w->link |= more.type != QCOW2_NORMAL;
        map->type = more.type;
    }
    w->to = w->offset + w->bytes;
    if (map->type != QCOW2_NORMAL) {
        w->to = qcow2_sub_end(s, w->to);
    }
    if (!s->external) {
        ret = qcow2_check_overlap(bs, w->host - (w->offset - w->from),
                                  w->to - w->from, 0);
    }
    return ret == 0 && w->link ? qcow2_prepare_l2(bs, w->offset) : ret;
}

static int coroutine_fn write_plan(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, Qcow2Write *w)
{
    const Qcow2State *s = bs->opaque;
    Qcow2Map map;
    int ret = qcow2_map(bs, offset, bytes, &map);
    bool place;

    if (ret < 0) {
        return ret;
    }
    w->link = w->fresh = w->beyond = false;
    place = map.copied && qcow2_has_place(map.type);
    if (place) {
        ret = plan_in_place(bs, &map, bytes, w);
    } else {
        ret = mark_dirty(bs);
        if (ret == 0) {
            ret = qcow2_limit_frees(bs);
        }
        if (ret == 0) {
            ret = allocate(bs, offset, bytes, w);
        }
    }
    if (place && !w->whole) {
        w->op.start = qcow2_sub_start(s, offset);
        w->op.end = qcow2_sub_end(s, offset + w->bytes);
    } else {
        w->op.start = qcow2_start_of_cluster(s, offset);
        w->op.end = ROUND_UP(offset + w->bytes, s->cluster_size);
    }
    return ret;
}

/*
 * Waits until the start of the range is in no operation that excludes others,
 * or with @w->whole in none; limits *@bytes to what is.
 */
static void coroutine_fn wait_for_others(Qcow2State *s, const Qcow2Write *w,
                                         int64_t offset, int64_t *bytes)
{
    unsigned unit_bits = w->whole ? s->cluster_bits : s->sub_bits;
    int64_t mask = ~((INT64_C(1) << unit_bits) - 1), start = offset & mask;
    Qcow2Op *other;

    while ((other = op_conflict(s, start, (offset + *bytes + ~mask) & mask,
                                w->whole))) {
        int64_t free_end = other->start & mask;

        if (free_end > start) {
            *bytes = free_end - offset; /* the range is free up to there */
        } else {
            co_queue_wait(&other->wait, &s->lock);
        }
    }
}

/*
 * Operations in the same clusters, but not in the same subclusters, do not
 * conflict: a cluster's place does not change while a write is in flight there.
 * So if there is one, this write is in place, too.  It excludes writes to data
 * only if it turns out that it also has subclusters to link.
 */
int coroutine_fn qcow2_write_begin(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    Qcow2Op *other;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    if (s->broken) {
        return -EIO;
    }
    w->offset = offset;
    for (;;) {
        wait_for_others(s, w, offset, &bytes);
        ret = write_plan(bs, offset, bytes, w);
        if (ret < 0) {
            return ret;
        }
        other = s->extended_l2 && w->link && !w->fresh
            ? op_conflict(s, w->op.start, w->op.end, true) : NULL;
        if (!other) {
            break;
        }
        co_queue_wait(&other->wait, &s->lock);
    }
    w->lost = qcow2_lost_writes(bs);
    w->seen = s->lost_seen;
    op_add(s, &w->op, w->op.start, w->op.end, w->link || w->whole);
    if (w->fresh) {
        w->op.fresh = w->host - (offset - w->op.start);
        w->op.fresh_bytes = w->op.end - w->op.start;
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

/* Links the cluster at @pos: subclusters with new data become allocated. */
static int coroutine_fn link_cluster(BlockDriverState *bs, const Qcow2Write *w,
                                     int64_t pos, uint64_t host)
{
    Qcow2State *s = bs->opaque;
    Qcow2Entry entry = { host | QCOW2_COPIED, 0 }, old;
    uint32_t mask = UINT32_MAX;

    if (s->extended_l2) {
        int ret = qcow2_get_entry(bs, pos, &old);

        if (ret < 0) {
            return ret;
        }
        if (qcow2_type_of(s, old.desc) != QCOW2_TYPE_COMPRESSED) {
            mask = qcow2_sub_mask(s, pos, w->offset, w->offset + w->bytes);
        }
        entry.bitmap = qcow2_bitmap_written(old.bitmap, mask);
    }
    /* An allocated zero cluster loses only the flag. */
    return qcow2_set_entry(bs, pos, entry, !w->fresh, false);
}

static int coroutine_fn write_link(BlockDriverState *bs, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    int64_t start = qcow2_start_of_cluster(s, w->op.start), pos;
    uint64_t host = w->host - (w->offset - start);
    int ret = 0;

    for (pos = start; ret == 0 && pos < w->op.end;
         pos += s->cluster_size, host += s->cluster_size) {
        ret = link_cluster(bs, w, pos, host);
    }
    return ret; /* on failure clusters that are not linked are leaked */
}

/*
 * Is it not certain that what was written, and copied around it, is there?  In
 * place: that the place is still that of the range.
 */
static bool is_lost(BlockDriverState *bs, const Qcow2Write *w)
{
    const Qcow2State *s = bs->opaque;

    return s->lost_seen != w->seen ||
           (w->link && qcow2_lost_writes(bs) != w->lost);
}

int coroutine_fn qcow2_write_end(BlockDriverState *bs, Qcow2Write *w, int ret)
{
    Qcow2State *s = bs->opaque;

    if (ret == 0 && is_lost(bs, w)) {
        ret = -EIO;
    }
    if (w->link) {
        co_mutex_lock(&s->lock);
        if (ret == 0 && is_lost(bs, w)) {
            ret = -EIO; /* while it waited */
        }
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
