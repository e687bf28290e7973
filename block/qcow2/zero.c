/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zeroing and discarding clusters and subclusters by changing the mapping. */
#include "qemu/osdep.h"

#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

typedef enum ZeroHow {
    ZERO_KEEP,      /* clusters that there are are kept for later writes */
    ZERO_UNMAP,
    ZERO_ALLOCATED, /* unmap; what is not allocated stays so */
} ZeroHow;

/* The new entry of a cluster that becomes zero; *@keep: it keeps the old one's
 * cluster. */
static Qcow2Entry zero_entry(const Qcow2Map *map, bool unmap, bool *keep)
{
    *keep = !unmap && map->copied &&
            (map->type == QCOW2_NORMAL || map->type == QCOW2_ZERO_ALLOC);
    return (Qcow2Entry){ (*keep ? map->entry.desc : 0) | QCOW2_ZERO, 0 };
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
        Qcow2Entry entry = { 0 };
        bool keep = false;

        if (map->type == QCOW2_NORMAL || map->type == QCOW2_ZERO_ALLOC) {
            one.entry.desc += pos;
        }
        if (!zero_by_unallocating(bs)) {
            entry = zero_entry(&one, unmap, &keep);
        }
        ret = qcow2_set_entry(bs, offset + pos, entry, keep,
                              s->discard_request);
    }
    return ret;
}

/* --- subclusters --- */

/* Does all of a cluster with this entry read as zeroes? */
static bool entry_is_zero(BlockDriverState *bs, Qcow2Entry entry)
{
    return entry.bitmap >> 32 == UINT32_MAX ||
           (!(uint32_t)entry.bitmap && !qcow2_has_backing(bs));
}

/*
 * Makes the subclusters of the cluster at @pos that are in [@from, @to) zero.
 * The cluster is given back when it has no data any more, unless it never had
 * any: then its place was allocated ahead of that.
 */
static int coroutine_mixed_fn zero_subclusters(BlockDriverState *bs,
                                               int64_t pos, int64_t from,
                                               int64_t to, ZeroHow how)
{
    Qcow2State *s = bs->opaque;
    uint32_t mask = qcow2_sub_mask(s, pos, from, to);
    Qcow2Entry old, new = { 0 };
    int ret = qcow2_get_entry(bs, pos, &old);
    Qcow2Type type = qcow2_type_of(s, old.desc);
    bool all = mask == UINT32_MAX, keep = false, unmap = how != ZERO_KEEP;

    if (ret < 0 || (type == QCOW2_TYPE_COMPRESSED && !all)) {
        return ret < 0 ? ret : -ENOTSUP;
    }
    if (how == ZERO_ALLOCATED && type != QCOW2_TYPE_COMPRESSED) {
        mask &= (uint32_t)old.bitmap;
    }
    new.bitmap = qcow2_bitmap_zeroed(old.bitmap, mask);
    if (type == QCOW2_NORMAL) {
        bool copied = s->external || (old.desc & QCOW2_COPIED);

        keep = unmap ? !(all || ((uint32_t)old.bitmap &&
                                 entry_is_zero(bs, new)))
                     : copied || new.bitmap >> 32 != UINT32_MAX;
        new.desc = keep ? old.desc : 0;
    }
    if (new.desc == old.desc && new.bitmap == old.bitmap) {
        return 0;
    }
    ret = qcow2_prepare_l2(bs, pos);
    return ret < 0 ? ret : qcow2_set_entry(bs, pos, new, keep,
                                           s->discard_request);
}

/* With the end of the disk all of its cluster becomes zero. */
static int coroutine_mixed_fn zero_extended(BlockDriverState *bs,
                                            int64_t offset, int64_t bytes,
                                            ZeroHow how)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes;
    int ret = 0;

    if (end >= s->size) {
        end = ROUND_UP(end, s->cluster_size);
    }
    for (int64_t pos = qcow2_start_of_cluster(s, offset);
         ret == 0 && pos < end; pos += s->cluster_size) {
        ret = zero_subclusters(bs, pos, offset, end, how);
    }
    return ret;
}

static int coroutine_mixed_fn drop_extended(BlockDriverState *bs,
                                            int64_t offset, int64_t end,
                                            bool discard)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    while (ret == 0 && offset < end) {
        int64_t n = 0;
        Qcow2Map map;

        ret = qcow2_map(bs, offset, end - offset, &map);
        if (ret == 0 && map.type == QCOW2_UNALLOCATED) {
            n = qcow2_start_of_cluster(s, map.bytes);
        }
        if (ret == 0 && !n && (map.entry.desc || map.entry.bitmap)) {
            ret = qcow2_prepare_l2(bs, offset);
            if (ret == 0) {
                ret = qcow2_set_entry(bs, offset, (Qcow2Entry){ 0 }, false,
                                      discard);
            }
        }
        offset += MAX(n, s->cluster_size);
    }
    return ret;
}

/* --- all images --- */

static int coroutine_mixed_fn zero_clusters(BlockDriverState *bs,
                                            int64_t offset, int64_t bytes,
                                            ZeroHow how)
{
    Qcow2State *s = bs->opaque;
    bool unmap = how != ZERO_KEEP;
    int ret = 0;

    if (s->version < 3 && !zero_by_unallocating(bs)) {
        return -ENOTSUP;
    }
    if (s->extended_l2) {
        return zero_extended(bs, offset, bytes, how);
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
            (map.type == QCOW2_UNALLOCATED &&
             (how == ZERO_ALLOCATED || zero_by_unallocating(bs)))) {
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

int coroutine_mixed_fn qcow2_zero_clusters(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           bool unmap)
{
    return zero_clusters(bs, offset, bytes, unmap ? ZERO_UNMAP : ZERO_KEEP);
}

int coroutine_mixed_fn qcow2_drop_clusters(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           bool discard)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    if (s->extended_l2) {
        return drop_extended(bs, offset, offset + bytes, discard);
    }
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
            ret = qcow2_set_entry(bs, offset + pos, (Qcow2Entry){ 0 }, false,
                                  discard);
        }
        offset += map.bytes;
        bytes -= map.bytes;
    }
    return ret;
}

/* Is what shows where nothing is allocated zero?  Called without the lock. */
static bool coroutine_fn zero_below(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes)
{
    int64_t n;

    if (bytes == 0 || !qcow2_has_backing(bs)) {
        return true;
    }
    return bs->backing &&
           bdrv_co_reads_as_zero(bs->backing->bs, offset, bytes, &n) &&
           n >= bytes;
}

/* Does a part of one cluster, or subcluster, read as zeroes? */
static bool part_is_zero(BlockDriverState *bs, int64_t offset, int64_t bytes,
                         bool below)
{
    Qcow2Map map;

    if (bytes == 0) {
        return true;
    }
    return qcow2_map(bs, offset, bytes, &map) == 0 &&
           (qcow2_is_zero(map.type) ||
            (qcow2_shows_backing(map.type) && below));
}

/* --- external data files --- */

/*
 * The external data file is the disk: zeroes are written to it, and clusters
 * that are not allocated become so.  What is not, reads as zeroes already, so
 * that no more of its content has to be kept, unless there is a backing file.
 */
static int coroutine_fn zero_raw(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, BdrvRequestFlags flags)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    while (ret == 0 && bytes > 0) {
        Qcow2Write w = { 0 };
        int64_t start, end;

        ret = qcow2_write_begin(bs, offset, bytes, &w);
        if (ret < 0) {
            break;
        }
        start = w.from;
        end = qcow2_data_end(s, w.to);
        if (end - start > w.bytes && qcow2_has_backing(bs)) {
            ret = -ENOTSUP;
        } else {
            ret = bdrv_co_pwrite_zeroes(s->data, start, end - start, flags);
        }
        ret = qcow2_write_end(bs, &w, ret);
        offset += w.bytes;
        bytes -= w.bytes;
    }
    return ret;
}

/*
 * Entries that come back after a crash show a place without content as zeroes,
 * but as noise if that is decrypted: then the new entries must be durable
 * first.
 */
static bool coroutine_fn may_empty_places(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (!s->external || !s->discard_request) {
        return false;
    }
    return !s->crypt || (qcow2_write_metadata(bs) == 0 &&
                         qcow2_flush_file(bs) == 0);
}

/*
 * Gives back the space of clusters in the external data file that are not
 * allocated any more.  A failure only costs space.  The data may come back
 * after a loss of power, or be lost before the entries are: what was discarded
 * has no content.
 */
static void coroutine_fn discard_external(BlockDriverState *bs, int64_t offset,
                                          int64_t bytes)
{
    Qcow2State *s = bs->opaque;

    if (may_empty_places(bs)) {
        bytes = qcow2_data_end(s, offset + bytes) - offset;
        (void)bdrv_co_pdiscard(s->data, offset, bytes);
    }
}

/* The same for what was zeroed, which is zero at any time. */
static void coroutine_fn unmap_external(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes)
{
    Qcow2State *s = bs->opaque;

    if (may_empty_places(bs)) {
        bytes = qcow2_data_end(s, offset + bytes) - offset;
        (void)bdrv_co_pwrite_zeroes(s->data, offset, bytes, BDRV_REQ_MAY_UNMAP |
                                    BDRV_REQ_NO_FALLBACK);
    }
}

/*
 * Bytes of the next step: clusters of one L2 table, or with subclusters a part
 * of one cluster.
 */
static int64_t next_step(const Qcow2State *s, int64_t offset, int64_t bytes)
{
    int64_t in_cluster = qcow2_in_cluster(s, offset);

    bytes = MIN(bytes, qcow2_table_rest(s, offset));
    if (!s->extended_l2) {
        return bytes;
    }
    if (in_cluster) {
        return MIN(bytes, s->cluster_size - in_cluster);
    }
    return bytes > s->cluster_size && offset + bytes < s->size
        ? qcow2_start_of_cluster(s, bytes) : bytes;
}

/*
 * Zeroes [@offset, @offset + @bytes), a step.  A part of a cluster (with
 * subclusters, of one of them) is zeroed with it if the rest of it is zero
 * anyway: that is checked while no write to the cluster is in flight, and none
 * can begin before the end.  -ENOTSUP: it is not.
 */
static int coroutine_fn zero_step(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, bool unmap)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes;
    int64_t start = qcow2_sub_start(s, offset);
    int64_t wide_end = MIN(qcow2_sub_end(s, end), s->size);
    bool below_start = zero_below(bs, start, offset - start);
    bool below_end = zero_below(bs, end, wide_end - end);
    Qcow2Op op;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    if (s->broken) {
        return -EIO;
    }
    qcow2_op_begin(bs, &op, start, wide_end - start);
    if (!part_is_zero(bs, start, offset - start, below_start) ||
        !part_is_zero(bs, end, wide_end - end, below_end)) {
        ret = -ENOTSUP;
    } else {
        ret = qcow2_limit_frees(bs);
    }
    if (ret == 0) {
        ret = qcow2_zero_clusters(bs, start, wide_end - start, unmap);
    }
    if (ret == 0 && unmap) {
        unmap_external(bs, start, wide_end - start);
    }
    qcow2_op_end(&op);
    return ret;
}

int coroutine_fn qcow2_write_zeroes(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes)
{
    g_autofree uint8_t *buf = g_malloc0(bytes);
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, bytes);
    return qcow2_co_pwritev(bs, offset, bytes, &qiov, 0, 0);
}

int coroutine_fn qcow2_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, BdrvRequestFlags flags)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes, n;
    int ret = 0;

    if (s->version < 3 && !zero_by_unallocating(bs)) {
        return -ENOTSUP;
    }
    if (qcow2_is_raw(s)) {
        return zero_raw(bs, offset, bytes, flags);
    }
    for (; ret == 0 && offset < end; offset += n) {
        n = next_step(s, offset, end - offset);
        ret = zero_step(bs, offset, n, flags & BDRV_REQ_MAY_UNMAP);
        if (ret == -ENOTSUP && n < bytes && n < s->cluster_size) {
            /* Compressed: the caller need not write all of the range. */
            ret = qcow2_write_zeroes(bs, offset, n);
        }
    }
    return ret;
}

/*
 * A discarded cluster reads as zeroes, not as the backing file: nor as one that
 * the image gets later.
 */
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
    if (s->version < 3) {
        return qcow2_has_backing(bs)
            ? 0 : qcow2_drop_clusters(bs, offset, bytes, s->discard_request);
    }
    return zero_clusters(bs, offset, bytes, qcow2_has_backing(bs)
                         ? ZERO_UNMAP : ZERO_ALLOCATED);
}

int coroutine_fn qcow2_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    int64_t end = offset + bytes;
    int ret = 0;

    offset = qcow2_sub_end(s, offset);
    if (end < s->size) {
        end = qcow2_sub_start(s, end);
    }
    if (qcow2_is_raw(s)) {
        return offset < end && s->discard_request
            ? zero_raw(bs, offset, end - offset, BDRV_REQ_MAY_UNMAP) : 0;
    }
    CO_MUTEX_GUARD(&s->lock);
    while (ret == 0 && offset < end) {
        int64_t n = next_step(s, offset, end - offset);
        Qcow2Op op;

        if (s->broken) {
            return -EIO;
        }
        qcow2_op_begin(bs, &op, offset, n);
        ret = discard_locked(bs, offset, n);
        if (ret == 0) {
            discard_external(bs, offset, n);
        } else if (ret == -ENOTSUP && s->extended_l2) {
            ret = 0; /* a part of a compressed cluster stays */
        }
        qcow2_op_end(&op);
        offset += n;
    }
    return ret;
}

/* The data counts until the entries are gone for good. */
static int coroutine_fn empty_external(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes)
{
    int ret = qcow2_write_metadata(bs);

    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    if (ret == 0) {
        discard_external(bs, offset, bytes);
    }
    return ret;
}

int coroutine_fn qcow2_co_make_empty(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int64_t span = s->cluster_size << s->l2_bits;
    int ret = 0;

    if (!s->nb_snapshots) {
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_EMPTY_IMAGE_PREPARE);
    }
    if (qcow2_is_raw(s) && !qcow2_has_backing(bs)) {
        return zero_raw(bs, 0, s->size, BDRV_REQ_MAY_UNMAP);
    }

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
            ret = qcow2_drop_clusters(bs, offset, n, s->discard_snapshot);
        }
        if (ret == 0 && s->external) {
            ret = empty_external(bs, offset, n);
        }
        if (ret == 0) {
            ret = qcow2_drop_l2(bs, offset);
        }
        qcow2_op_end(&op);
    }
    if (ret == 0) {
        ret = qcow2_apply_frees(bs);
    }
    if (ret == 0) {
        qcow2_trim_file(bs);
    }
    return ret;
}
