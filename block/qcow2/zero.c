/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zeroing and discarding whole clusters by changing the mapping. */
#include "qemu/osdep.h"

#include "block/qcow2/qcow2-int.h"

/* The new entry of a cluster that becomes zeroes; *@keep: uses the old one's
 * cluster on. */
static uint64_t zero_entry(const Qcow2Map *map, bool unmap, bool *keep)
{
    *keep = !unmap && map->copied &&
            (map->type == QCOW2_NORMAL || map->type == QCOW2_ZERO_ALLOC);
    return *keep ? map->entry | QCOW2_ZERO : QCOW2_ZERO;
}

/* In version 2 there are no zero clusters: unallocated must do. */
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
            (map.type == QCOW2_UNALLOCATED && !qcow2_has_backing(bs))) {
            ret = 0; /* it is */
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

/*
 * Widens a range that is no whole cluster, where all the rest of the cluster
 * is zeroes anyway.  False: it is not.
 */
static bool coroutine_fn widen(BlockDriverState *bs, int64_t *offset,
                               int64_t *bytes)
{
    Qcow2State *s = bs->opaque;
    int64_t start = qcow2_start_of_cluster(s, *offset);
    int64_t end = *offset + *bytes;
    int64_t new_end = MIN(ROUND_UP(end, s->cluster_size), s->size);
    int64_t edges[2][2] = { { start, *offset - start },
                            { end, new_end - end } };

    for (int i = 0; i < 2; i++) {
        int64_t pos = edges[i][0], n = edges[i][1];
        Qcow2Map map;

        if (n > 0 &&
            (qcow2_co_map(bs, pos, n, &map) < 0 ||
             !(map.type == QCOW2_ZERO_PLAIN || map.type == QCOW2_ZERO_ALLOC ||
               (map.type == QCOW2_UNALLOCATED && !qcow2_has_backing(bs))))) {
            return false;
        }
    }
    *offset = start;
    *bytes = new_end - start;
    return true;
}

int coroutine_fn qcow2_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, BdrvRequestFlags flags)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    if (s->version < 3 && !zero_by_unallocating(bs)) {
        return -ENOTSUP;
    }
    if (!widen(bs, &offset, &bytes)) {
        return -ENOTSUP;
    }
    CO_MUTEX_GUARD(&s->lock);
    while (ret == 0 && bytes > 0) {
        int64_t span = s->cluster_size << s->l2_bits;
        int64_t n = MIN(bytes, span - (offset & (span - 1)));
        int64_t check = offset, rest = n;
        Qcow2Op op;

        if (s->broken) {
            return -EIO;
        }
        qcow2_op_begin(bs, &op, offset, n);
        /* Who was waited for may have changed what widen() saw. */
        if (!widen(bs, &check, &rest)) {
            ret = -ENOTSUP;
        } else {
            ret = qcow2_limit_frees(bs);
        }
        if (ret == 0) {
            ret = qcow2_zero_clusters(bs, offset, n,
                                      flags & BDRV_REQ_MAY_UNMAP);
        }
        qcow2_op_end(&op);
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
