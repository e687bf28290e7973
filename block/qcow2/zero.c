/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zeroing and discarding whole clusters by changing the mapping. */
#include "qemu/osdep.h"

#include "block/qcow2/alloc-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* The new entry of a cluster that becomes zero; *@keep: it keeps the old one's
 * cluster. */
static uint64_t zero_entry(const Qcow2Map *map, bool unmap, bool *keep)
{
    *keep = !unmap && map->copied &&
            (map->type == QCOW2_NORMAL || map->type == QCOW2_ZERO_ALLOC);
    return *keep ? map->entry | QCOW2_ZERO : QCOW2_ZERO;
}

/* Version 2 has no zero clusters: unallocated ones must suffice. */
static bool zero_by_unallocating(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    return s->version < 3 && !qcow2_has_backing(bs);
}

static int coroutine_mixed_fn zero_run(BlockDriverState *bs, int64_t offset,
                                       const Qcow2Map *map, bool unmap)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    for (int64_t pos = 0; ret == 0 && pos < map->bytes;
         pos += s->cluster_size) {
        Qcow2Map one = *map;
        uint64_t entry = 0;
        bool keep = false;

        if (map->type == QCOW2_NORMAL || map->type == QCOW2_ZERO_ALLOC) {
            one.entry += pos;
        }
        if (!zero_by_unallocating(bs)) {
            entry = zero_entry(&one, unmap, &keep);
        }
        ret = qcow2_set_entry(bs, offset + pos, entry, keep,
                              s->discard_request);
    }
    return ret;
}

int coroutine_mixed_fn qcow2_zero_clusters(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           bool unmap)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    if (s->version < 3 && !zero_by_unallocating(bs)) {
        return -ENOTSUP;
    }
    while (ret == 0 && bytes > 0) {
        Qcow2Map map;

        ret = qcow2_map(bs, offset, bytes, &map);
        if (ret < 0) {
            break;
        }
        map.bytes = ROUND_UP(map.bytes, s->cluster_size);
        if (map.type == QCOW2_ZERO_PLAIN ||
            (map.type == QCOW2_ZERO_ALLOC && !unmap) ||
            (map.type == QCOW2_UNALLOCATED && zero_by_unallocating(bs))) {
            ret = 0; /* it is, even over a later backing file */
        } else {
            ret = qcow2_prepare_l2(bs, offset);
            if (ret == 0) {
                ret = zero_run(bs, offset, &map, unmap);
            }
        }
        offset += map.bytes;
        bytes -= map.bytes;
    }
    return ret;
}

int coroutine_mixed_fn qcow2_drop_clusters(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    while (ret == 0 && bytes > 0) {
        Qcow2Map map;

        ret = qcow2_map(bs, offset, bytes, &map);
        if (ret < 0) {
            break;
        }
        map.bytes = ROUND_UP(map.bytes, s->cluster_size);
        if (map.type != QCOW2_UNALLOCATED) {
            ret = qcow2_prepare_l2(bs, offset);
        }
        for (int64_t pos = 0; map.type != QCOW2_UNALLOCATED && ret == 0 &&
             pos < map.bytes; pos += s->cluster_size) {
            ret = qcow2_set_entry(bs, offset + pos, 0, false,
                                  s->discard_request);
        }
        offset += map.bytes;
        bytes -= map.bytes;
    }
    return ret;
}

/* Does a part of one cluster read as zeroes without a backing file? */
static bool part_is_zero(BlockDriverState *bs, int64_t offset, int64_t bytes)
{
    Qcow2Map map;

    if (bytes == 0) {
        return true;
    }
    return qcow2_map(bs, offset, bytes, &map) == 0 &&
           (map.type == QCOW2_ZERO_PLAIN || map.type == QCOW2_ZERO_ALLOC ||
            (map.type == QCOW2_UNALLOCATED && !qcow2_has_backing(bs)));
}

/*
 * Zeroes [@offset, @offset + @bytes), clusters of one L2 table.  A part of a
 * cluster is zeroed with the cluster if the rest of it is zero anyway: that is
 * checked while no write to the cluster is in flight, and none can begin before
 * the end.  -ENOTSUP: it is not.
 */
static int coroutine_fn zero_locked(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes, bool unmap)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes;
    int64_t start = qcow2_start_of_cluster(s, offset);
    int64_t wide_end = MIN(ROUND_UP(end, s->cluster_size), s->size);
    Qcow2Op op;
    int ret;

    qcow2_op_begin(bs, &op, start, wide_end - start);
    if (!part_is_zero(bs, start, offset - start) ||
        !part_is_zero(bs, end, wide_end - end)) {
        ret = -ENOTSUP;
    } else {
        ret = qcow2_limit_frees(bs);
    }
    if (ret == 0) {
        ret = qcow2_zero_clusters(bs, start, wide_end - start, unmap);
    }
    qcow2_op_end(&op);
    return ret;
}

int coroutine_fn qcow2_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, BdrvRequestFlags flags)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    if (s->version < 3 && !zero_by_unallocating(bs)) {
        return -ENOTSUP;
    }
    CO_MUTEX_GUARD(&s->lock);
    while (ret == 0 && bytes > 0) {
        int64_t span = s->cluster_size << s->l2_bits;
        int64_t n = MIN(bytes, span - (offset & (span - 1)));

        if (s->broken) {
            return -EIO;
        }
        ret = zero_locked(bs, offset, n, flags & BDRV_REQ_MAY_UNMAP);
        offset += n;
        bytes -= n;
    }
    return ret;
}

/* A discarded cluster reads as zeroes, not as the backing file. */
static int coroutine_fn discard_locked(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    int ret = qcow2_limit_frees(bs);

    if (ret < 0) {
        return ret;
    }
    if (s->discard_keeps && s->version >= 3) {
        return qcow2_zero_clusters(bs, offset, bytes, false);
    }
    if (!qcow2_has_backing(bs)) {
        return qcow2_drop_clusters(bs, offset, bytes);
    }
    return s->version < 3 ? 0 : qcow2_zero_clusters(bs, offset, bytes, true);
}

int coroutine_fn qcow2_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes;
    int ret = 0;

    offset = ROUND_UP(offset, s->cluster_size);
    if (end < s->size) {
        end = qcow2_start_of_cluster(s, end);
    }
    CO_MUTEX_GUARD(&s->lock);
    while (ret == 0 && offset < end) {
        int64_t span = s->cluster_size << s->l2_bits;
        int64_t n = MIN(end - offset, span - (offset & (span - 1)));
        Qcow2Op op;

        if (s->broken) {
            return -EIO;
        }
        qcow2_op_begin(bs, &op, offset, n);
        ret = discard_locked(bs, offset, n);
        qcow2_op_end(&op);
        offset += n;
    }
    return ret;
}

int coroutine_fn qcow2_co_make_empty(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int64_t span = s->cluster_size << s->l2_bits;
    int ret = 0;

    CO_MUTEX_GUARD(&s->lock);
    for (int64_t offset = 0; ret == 0 && offset < s->size; offset += span) {
        int64_t n = MIN(s->size - offset, span);
        Qcow2Op op;

        if (s->broken) {
            return -EIO;
        }
        qcow2_op_begin(bs, &op, offset, n);
        ret = qcow2_limit_frees(bs);
        if (ret == 0) {
            ret = qcow2_drop_clusters(bs, offset, n);
        }
        qcow2_op_end(&op);
    }
    return ret;
}
