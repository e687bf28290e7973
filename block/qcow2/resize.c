/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Growing and shrinking the disk. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

uint64_t qcow2_l1_entries(const Qcow2State *s, int64_t size)
{
    unsigned bits = s->cluster_bits + s->l2_bits;

    return ((uint64_t)size >> bits) + !!(size & ((INT64_C(1) << bits) - 1));
}

/* A new table, then the header. */
int coroutine_fn qcow2_grow_l1(BlockDriverState *bs, uint64_t entries)
{
    Qcow2State *s = bs->opaque;
    uint64_t old_offset = s->l1_offset, old_bytes = s->l1_size * 8ULL, offset;
    g_autofree uint64_t *l1 = NULL;
    uint8_t buf[12];
    int ret;

    if (entries <= s->l1_size) {
        return 0;
    }
    l1 = g_new0(uint64_t, entries);
    memcpy(l1, s->l1, old_bytes);
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L1_GROW_ALLOC_TABLE);
    ret = qcow2_alloc_bytes_run(bs, entries * 8, &offset);
    if (ret < 0) {
        return ret;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L1_GROW_WRITE_TABLE);
    ret = qcow2_write_table(bs, offset, l1, entries,
                            ROUND_UP(entries * 8, s->cluster_size));
    if (ret == 0) {
        ret = qcow2_evict_refcounts(bs);
    }
    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    if (ret < 0) {
        qcow2_free_now(bs, offset, entries * 8);
        return ret;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L1_GROW_ACTIVATE_TABLE);
    st32_be(buf, entries);
    st64_be(buf + 4, offset);
    ret = bdrv_pwrite_sync(bs->file, 36, sizeof(buf), buf);
    if (ret < 0) {
        return ret; /* the valid table is unknown: leak */
    }
    g_free(s->l1);
    s->l1 = g_steal_pointer(&l1);
    s->l1_size = entries;
    s->l1_offset = offset;
    if (old_bytes) {
        qcow2_free_now(bs, old_offset, old_bytes);
    }
    return 0;
}

/* Drops L2 tables after @entries: the L1 entries, then the clusters. */
static int coroutine_fn shrink_l1(BlockDriverState *bs, uint64_t entries)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L1_SHRINK_WRITE_TABLE);
    for (uint64_t i = entries; ret == 0 && i < s->l1_size; i++) {
        uint64_t old = s->l1[i];

        if (!old) {
            continue;
        }
        s->l1[i] = 0;
        ret = qcow2_write_l1(bs, i);
        if (ret < 0) {
            s->l1[i] = old;
        } else if (old & QCOW2_OFFSET_MASK) {
            qcow2_meta_remove(s, old & QCOW2_OFFSET_MASK,
                              QCOW2_OVERLAP_ACTIVE_L2);
            qcow2_free_later(bs, old & QCOW2_OFFSET_MASK, s->cluster_size,
                             true);
        }
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L1_SHRINK_FREE_L2_CLUSTERS);
    return ret;
}

void coroutine_fn qcow2_trim_file(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int64_t len = bdrv_getlength(bs->file->bs);
    uint64_t last = len > 0 ? qcow2_clusters(s, len) : 0, count = 0;

    while (last > 0) {
        if (qcow2_get_refcount(bs, last - 1, &count) < 0) {
            return;
        }
        if (count) {
            break;
        }
        last--;
    }
    if (last && (int64_t)(last << s->cluster_bits) < len &&
        bdrv_co_truncate(bs->file, last << s->cluster_bits, false,
                         PREALLOC_MODE_OFF, 0, NULL) == 0) {
        /* A device, or a server's disk, keeps its size, and what was there. */
        len = bdrv_getlength(bs->file->bs);
        if (len >= 0) {
            s->high_water = MIN(s->high_water, (uint64_t)len);
        }
    }
}

static int coroutine_fn write_size(BlockDriverState *bs, int64_t size)
{
    Qcow2State *s = bs->opaque;
    uint8_t buf[8];
    int ret;

    st64_be(buf, size);
    ret = bdrv_pwrite_sync(bs->file, 24, sizeof(buf), buf);
    if (ret < 0) {
        return ret;
    }
    s->size = size;
    return 0;
}

/*
 * Drops the entries of clusters after @start, a cluster boundary, which are not
 * part of any disk.  Under the lock.
 */
static int coroutine_fn drop_behind(BlockDriverState *bs, int64_t start,
                                    int64_t end)
{
    Qcow2Op op;
    int ret;

    if (start >= end) {
        return 0;
    }
    qcow2_op_begin(bs, &op, start, end - start);
    ret = qcow2_drop_clusters(bs, start, end - start, true);
    qcow2_op_end(&op);
    return ret;
}

/* The entries that changed are durable before the size is. */
static int coroutine_fn write_entries_and_size(BlockDriverState *bs,
                                               int64_t size)
{
    int ret = qcow2_write_metadata(bs);

    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    return ret < 0 ? ret : write_size(bs, size);
}

static int coroutine_fn shrink(BlockDriverState *bs, int64_t size)
{
    Qcow2State *s = bs->opaque;
    /* After the disk there may be the state of a machine that was loaded. */
    int ret = drop_behind(bs, ROUND_UP(size, s->cluster_size),
                          MAX(s->size, qcow2_table_end(s)));

    if (ret == 0) {
        ret = write_entries_and_size(bs, size);
    }
    if (ret == 0) {
        ret = shrink_l1(bs, qcow2_l1_entries(s, size));
    }
    if (ret == 0) {
        ret = qcow2_apply_frees(bs);
    }
    if (ret == 0) {
        qcow2_trim_file(bs);
    }
    if (ret == 0 && s->external) {
        /* What is left of its end, if it cannot shrink, is not used. */
        (void)bdrv_co_truncate(s->data, size, false, PREALLOC_MODE_OFF, 0,
                               NULL);
    }
    return ret;
}

/* Makes a part of a cluster beyond the old end zero; as data if @place, or if
 * the rest of the cluster has other data. */
static int coroutine_fn zero_part(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, bool place)
{
    int ret = place ? -ENOTSUP
                    : qcow2_co_pwrite_zeroes(bs, offset, bytes, 0);

    return ret == -ENOTSUP ? qcow2_write_zeroes(bs, offset, bytes) : ret;
}

/*
 * The new space must read as zeroes where a longer backing file would show its
 * data, and where the last cluster has data after the old end; that part of the
 * last cluster is written, too, if it is to be allocated (@place).  The size in
 * memory is already the new one; without the lock.
 */
static int coroutine_fn zero_new(BlockDriverState *bs, int64_t old,
                                 int64_t size, bool place)
{
    Qcow2State *s = bs->opaque;
    int64_t start = MIN(ROUND_UP(old, s->cluster_size), size);
    Qcow2Map map;
    int ret = 0;

    if (start > old) {
        ret = qcow2_co_map(bs, old, start - old, &map);
        if (ret == 0 && (place || map.bytes < start - old ||
                         (map.type != QCOW2_ZERO_PLAIN &&
                          (map.type != QCOW2_UNALLOCATED || bs->backing)))) {
            ret = zero_part(bs, old, start - old, place);
        }
    }
    if (ret == 0 && start < size && bs->backing) {
        int64_t len = bdrv_getlength(bs->backing->bs);
        int64_t end = MIN(size, ROUND_UP(MAX(len, 0), s->cluster_size));

        if (end > start && s->version >= 3) {
            ret = qcow2_co_pwrite_zeroes(bs, start, end - start, 0);
        }
        for (; ret == 0 && s->version < 3 && start < end;
             start += s->cluster_size) {
            ret = qcow2_write_zeroes(bs, start, MIN(s->cluster_size,
                                                    end - start));
        }
    }
    return ret;
}

/* Zeroes the clusters of @w in the file, with space as @mode specifies. */
static int coroutine_fn give_space(BlockDriverState *bs, const Qcow2Write *w,
                                   PreallocMode mode, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    int64_t length = bdrv_getlength(s->data->bs);
    int64_t end = w->host + qcow2_data_end(s, w->op.end) - w->op.start;
    int64_t zero_end = end;
    bool sparse = mode == PREALLOC_MODE_METADATA;
    /* Zeroes that are written past the end of a file take space. */
    bool grows = end > length &&
                 (w->beyond || (sparse && length >= 0 &&
                                bdrv_grows_by_zeroes(s->data->bs)));
    int ret = 0;

    if (grows) {
        ret = bdrv_co_truncate(s->data, end, false,
                               sparse ? PREALLOC_MODE_OFF : mode, 0, errp);
        zero_end = length;
    }
    if (ret == 0 && !w->beyond && (int64_t)w->host < zero_end) {
        /* Clusters that were in use before. */
        ret = bdrv_co_pwrite_zeroes(s->data, w->host, zero_end - w->host,
                                    sparse ? BDRV_REQ_MAY_UNMAP : 0);
    }
    return ret;
}

/*
 * Allocates the whole cluster with the old end if it is all zeroes.  -ENOTSUP:
 * it is not.
 */
static int coroutine_fn place_last(BlockDriverState *bs, int64_t old,
                                   int64_t size, PreallocMode mode,
                                   Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t start = qcow2_start_of_cluster(s, old);
    Qcow2Write w = { .whole = true };
    Qcow2Map map;
    int ret;

    if (s->crypt || s->external) {
        return -ENOTSUP; /* zeroes in the file are none on the disk */
    }
    ret = qcow2_write_begin(bs, start, MIN(s->cluster_size, size - start),
                            &w);
    if (ret < 0) {
        return ret;
    }
    /* The operation keeps others from changing it until the end. */
    ret = qcow2_co_map(bs, start, w.bytes, &map);
    if (ret == 0 && map.bytes == w.bytes &&
        (qcow2_is_zero(map.type) || (qcow2_shows_backing(map.type) &&
                                     !qcow2_has_backing(bs)))) {
        ret = give_space(bs, &w, mode, errp);
    } else if (ret == 0) {
        ret = -ENOTSUP;
    }
    return qcow2_write_end(bs, &w, MIN(ret, 0));
}

/*
 * Allocates the clusters of [@start, @end); their data is zero and hides that
 * of a backing file.
 */
static int coroutine_fn preallocate(BlockDriverState *bs, int64_t start,
                                    int64_t end, PreallocMode mode,
                                    Error **errp)
{
    int ret = 0;

    start = ROUND_UP(start, ((Qcow2State *)bs->opaque)->cluster_size);
    while (ret == 0 && start < end) {
        Qcow2Write w = { .whole = true };

        ret = qcow2_write_begin(bs, start, end - start, &w);
        if (ret < 0) {
            break;
        }
        ret = give_space(bs, &w, mode, errp);
        start += w.bytes;
        ret = qcow2_write_end(bs, &w, MIN(ret, 0));
    }
    return ret;
}

/*
 * The same in an encrypted image, where zeroes in the file are none on the
 * disk: the clusters become zero clusters that keep their place, or, in version
 * 2, are written.
 */
static int coroutine_fn preallocate_encrypted(BlockDriverState *bs,
                                              int64_t start, int64_t end,
                                              PreallocMode mode, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    start = ROUND_UP(start, s->cluster_size);
    if (s->version >= 3 && start < end) {
        ret = preallocate(bs, start, end, mode, errp);
        return ret < 0 ? ret : qcow2_co_pwrite_zeroes(bs, start, end - start,
                                                      0);
    }
    for (; ret == 0 && start < end; start += s->cluster_size) {
        ret = qcow2_write_zeroes(bs, start, MIN(s->cluster_size,
                                                end - start));
    }
    return ret;
}

/* Makes room for the entries, and drops stale ones. */
static int coroutine_fn grow_tables(BlockDriverState *bs, int64_t size)
{
    Qcow2State *s = bs->opaque;
    uint64_t entries = qcow2_l1_entries(s, size);
    int64_t end = size;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    if (entries > qcow2_l1_entries(s, s->size)) {
        /* The place for a machine's state moves: what is left there is none. */
        end = MAX(end, qcow2_table_end(s));
    }
    ret = qcow2_grow_l1(bs, entries);
    if (ret == 0) {
        ret = drop_behind(bs, ROUND_UP(s->size, s->cluster_size), end);
    }
    if (ret == 0) {
        s->growing = true;
        s->old_size = s->size;
        s->size = size;
    }
    return ret;
}

/* Makes the external data file as large as the disk shall be. */
static int coroutine_fn grow_external(BlockDriverState *bs, int64_t size,
                                      PreallocMode prealloc, Error **errp)
{
    const Qcow2State *s = bs->opaque;
    int64_t len = s->external ? bdrv_getlength(s->data->bs) : size;

    if (len < 0) {
        return len;
    }
    return len >= size ? 0
        : bdrv_co_truncate(s->data, size, false,
                           prealloc == PREALLOC_MODE_METADATA
                           ? PREALLOC_MODE_OFF : prealloc, 0, errp);
}

/*
 * A raw data file that was longer than the disk shows what it has, unless that
 * is to be @zero: the disk follows a raw image that was enlarged.
 */
static int coroutine_fn grow_raw(BlockDriverState *bs, int64_t old,
                                 int64_t size, bool zero)
{
    int64_t start = qcow2_start_of_cluster(bs->opaque, old);
    int ret = zero ? qcow2_co_pwrite_zeroes(bs, old, size - old,
                                            BDRV_REQ_MAY_UNMAP) : 0;

    while (ret == 0 && start < size) {
        Qcow2Write w = { .whole = true };

        ret = qcow2_write_begin(bs, start, size - start, &w);
        if (ret == 0) {
            start += w.bytes;
            ret = qcow2_write_end(bs, &w, 0);
        }
    }
    return ret;
}

/* The content of the new part, and its space. */
static int coroutine_fn fill_new(BlockDriverState *bs, int64_t old,
                                 int64_t size, PreallocMode prealloc,
                                 bool zero, Error **errp)
{
    Qcow2State *s = bs->opaque;
    bool place = prealloc != PREALLOC_MODE_OFF;
    int ret = 0;

    if (qcow2_is_raw(s) && !qcow2_has_backing(bs)) {
        return grow_raw(bs, old, size, zero);
    }
    if (place && qcow2_in_cluster(s, old)) {
        ret = place_last(bs, old, size, prealloc, errp);
        if (ret == 0) {
            old = MIN(ROUND_UP(old, s->cluster_size), size);
        } else if (ret == -ENOTSUP) {
            ret = 0; /* it is allocated by writing */
        }
    }
    if (ret == 0) {
        ret = zero_new(bs, old, size, place);
    }
    if (ret == 0 && place) {
        ret = (s->crypt ? preallocate_encrypted : preallocate)(
            bs, old, size, prealloc, errp);
    }
    return ret;
}

static int coroutine_fn grow(BlockDriverState *bs, int64_t size,
                             PreallocMode prealloc, bool zero, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t old = s->size;
    int ret = grow_external(bs, size, prealloc, errp);

    if (ret == 0) {
        ret = grow_tables(bs, size);
    }
    if (ret < 0) {
        return ret; /* there are no entries for the new part */
    }
    ret = fill_new(bs, old, size, prealloc, zero, errp);
    co_mutex_lock(&s->lock);
    if (ret == 0) {
        ret = write_entries_and_size(bs, size);
    }
    if (ret < 0) {
        s->size = old;
        s->growing = false;
        /* If this fails, the next growth drops them. */
        (void)drop_behind(bs, ROUND_UP(old, s->cluster_size), size);
    }
    s->growing = false;
    co_mutex_unlock(&s->lock);
    return ret;
}

static bool check_resize(BlockDriverState *bs, int64_t size,
                         PreallocMode prealloc, Error **errp)
{
    Qcow2State *s = bs->opaque;

    if (s->broken) {
        error_setg(errp, "Image of node '%s' is corrupt", bs->node_name);
    } else if (size % BDRV_SECTOR_SIZE) {
        error_setg(errp, "The new size must be a multiple of %d",
                   BDRV_SECTOR_SIZE);
    } else if (s->nb_snapshots && s->version < 3) {
        error_setg(errp, "Can't resize a v2 image which has snapshots");
    } else if (size < s->size && prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Preallocation can't be used for shrinking an image");
    } else if (qcow2_l1_entries(s, size) > QCOW2_MAX_L1_BYTES / 8) {
        error_setg(errp, "Failed to grow the L1 table: %s", strerror(EFBIG));
    } else {
        return true;
    }
    return false;
}

int coroutine_fn qcow2_co_truncate(BlockDriverState *bs, int64_t offset,
                                   bool exact, PreallocMode prealloc,
                                   BdrvRequestFlags flags, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Error *err = NULL;
    int ret = 0;

    if (!check_resize(bs, offset, prealloc, errp)) {
        return -ENOTSUP;
    }
    if (offset < s->size) {
        co_mutex_lock(&s->lock);
        ret = shrink(bs, offset);
        co_mutex_unlock(&s->lock);
    } else if (offset > s->size) {
        ret = grow(bs, offset, prealloc, flags & BDRV_REQ_ZERO_WRITE, &err);
    }
    if (err) {
        error_propagate(errp, err);
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to resize the qcow2 image of "
                         "node '%s'", bs->node_name);
    }
    return ret;
}
