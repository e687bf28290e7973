/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reference counts of host clusters: looking up, changing, allocating, and
 * freeing in the order that keeps the image consistent (see qcow2-int.h).
 */
#include "qemu/osdep.h"

#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* Pending frees are applied when there are so many. */
#define MAX_PENDING_FREES 4096
#define MAX_PENDING_BYTES (256 * MiB)

uint64_t qcow2_refcount_get(const void *block, uint64_t index, unsigned order)
{
    const uint8_t *p = block;

    switch (order) {
    case 3:
        return p[index];
    case 4:
        return ld16_be(p + index * 2);
    case 5:
        return ld32_be(p + index * 4);
    case 6:
        return ld64_be(p + index * 8);
    default: {
        uint64_t bit = index << order;
        return (p[bit / 8] >> (bit % 8)) & ((1U << (1U << order)) - 1);
    }
    }
}

void qcow2_refcount_set(void *block, uint64_t index, unsigned order,
                        uint64_t value)
{
    uint8_t *p = block;

    switch (order) {
    case 3:
        p[index] = value;
        break;
    case 4:
        st16_be(p + index * 2, value);
        break;
    case 5:
        st32_be(p + index * 4, value);
        break;
    case 6:
        st64_be(p + index * 8, value);
        break;
    default: {
        uint64_t bit = index << order;
        uint8_t mask = (1U << (1U << order)) - 1;

        p[bit / 8] = (p[bit / 8] & ~(mask << (bit % 8))) |
                     ((value & mask) << (bit % 8));
    }
    }
}

/* Offset of the refcount block for @cluster; 0: there is none. */
static uint64_t refblock_offset(const Qcow2State *s, uint64_t cluster)
{
    uint64_t index = cluster >> s->rb_bits;

    return index < s->rt_entries ? s->rt[index] & QCOW2_REFTABLE_MASK : 0;
}

/*
 * The cached part of the refcount block for @cluster, and the index in it.  0
 * and *@slice NULL: there is no block, the count is 0.
 */
static int coroutine_mixed_fn refcount_slice(BlockDriverState *bs,
                                             uint64_t cluster, void **slice,
                                             uint64_t *slice_offset,
                                             uint64_t *index)
{
    Qcow2State *s = bs->opaque;
    uint64_t in_block = cluster & ((UINT64_C(1) << s->rb_bits) - 1);
    uint64_t block = refblock_offset(s, cluster);

    qcow2_assert_locked(s);
    *slice = NULL;
    if (!block) {
        return 0;
    }
    if (qcow2_in_cluster(s, block) || block >= QCOW2_MAX_HOST_OFFSET) {
        return qcow2_corrupt(bs, true, -1, -1, "Refblock offset %#" PRIx64
                             " unaligned (reftable index: %#" PRIx64 ")",
                             block, cluster >> s->rb_bits);
    }
    *slice_offset = block + (in_block >> s->rb_slice_bits) *
                    qcow2_cache_entry_size(s->rb_cache);
    *index = in_block & ((UINT64_C(1) << s->rb_slice_bits) - 1);
    return qcow2_cache_get(bs, s->rb_cache, *slice_offset, slice);
}

int coroutine_mixed_fn qcow2_get_refcount(BlockDriverState *bs,
                                          uint64_t cluster, uint64_t *value)
{
    Qcow2State *s = bs->opaque;
    uint64_t slice_offset, index;
    void *slice;
    int ret = refcount_slice(bs, cluster, &slice, &slice_offset, &index);

    *value = ret == 0 && slice
        ? qcow2_refcount_get(slice, index, s->refcount_order) : 0;
    return ret;
}

int coroutine_mixed_fn qcow2_put_refcount(BlockDriverState *bs,
                                          uint64_t cluster, uint64_t value)
{
    Qcow2State *s = bs->opaque;
    uint64_t slice_offset, index, block = refblock_offset(s, cluster);
    void *slice;
    int ret = 0;

    if (!block || value > s->refcount_max) {
        return -EINVAL;
    }
    if (!qcow2_in_cluster(s, block)) {
        ret = qcow2_check_overlap(bs, block, s->cluster_size,
                                  QCOW2_OVERLAP_REFCOUNT_BLOCK);
    }
    if (ret == 0) {
        ret = refcount_slice(bs, cluster, &slice, &slice_offset, &index);
    }
    if (ret < 0) {
        return ret;
    }
    qcow2_refcount_set(slice, index, s->refcount_order, value);
    qcow2_cache_mark_dirty(s->rb_cache, slice_offset, slice);
    return 0;
}

/* A count fell to 0: cached entries of the cluster must not be written. */
static void cluster_is_free(BlockDriverState *bs, uint64_t cluster)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset = cluster << s->cluster_bits;

    s->free_index = MIN(s->free_index, cluster);
    qcow2_cache_forget(s->l2_cache, offset, s->cluster_size);
    qcow2_cache_forget(s->rb_cache, offset, s->cluster_size);
    if (s->byte_offset && s->byte_offset >> s->cluster_bits == cluster) {
        s->byte_offset = 0;
    }
}

int coroutine_mixed_fn qcow2_update_refcount(BlockDriverState *bs,
                                             uint64_t offset, uint64_t bytes,
                                             int delta)
{
    Qcow2State *s = bs->opaque;
    uint64_t first = offset >> s->cluster_bits;
    uint64_t last = (offset + bytes - 1) >> s->cluster_bits;

    for (uint64_t i = first; bytes && i <= last; i++) {
        uint64_t value;
        int ret = qcow2_get_refcount(bs, i, &value);

        if (ret < 0) {
            return ret;
        }
        if (delta < 0 && value == 0) {
            return qcow2_corrupt(bs, false, i << s->cluster_bits,
                                 s->cluster_size, "Refcount of cluster %#"
                                 PRIx64 " would fall below 0", i);
        }
        if (delta < 0 && value == 1 &&
            qcow2_op_has_fresh(s, i << s->cluster_bits)) {
            /* Two entries refer to the cluster, but only one was counted. */
            return qcow2_corrupt(bs, true, i << s->cluster_bits,
                                 s->cluster_size, "Preventing a free of "
                                 "cluster %#" PRIx64 ", which is being "
                                 "written", i);
        }
        if (delta > 0 && value == s->refcount_max) {
            return -ERANGE;
        }
        ret = qcow2_put_refcount(bs, i, value + delta);
        if (ret < 0) {
            return ret;
        }
        if (value + delta == 0) {
            cluster_is_free(bs, i);
        }
    }
    return 0;
}

/*
 * Finds @min .. @max free clusters in a row from free_index on.  Clusters
 * without a refcount block are free.  Those to which damaged bitmaps refer are
 * not taken.
 */
static int coroutine_mixed_fn find_run(BlockDriverState *bs, uint64_t min,
                                       uint64_t max, uint64_t *start,
                                       uint64_t *count)
{
    Qcow2State *s = bs->opaque;
    uint64_t i = s->free_index, run = 0, value;
    uint64_t limit = QCOW2_MAX_HOST_OFFSET >> s->cluster_bits;
    bool seen = false;

    for (; run < max; i++) {
        int ret;

        if (i >= limit) {
            return -EFBIG;
        }
        ret = qcow2_get_refcount(bs, i, &value);
        if (ret < 0) {
            return ret;
        }
        if (G_UNLIKELY(s->bitmap_claims && value == 0 &&
                       qcow2_bitmaps_claim_cluster(s, i))) {
            value = 1;
        }
        if (value == 0) {
            if (!seen) {
                s->free_index = i; /* all clusters below are in use */
                seen = true;
            }
            run++;
        } else if (run >= min) {
            break;
        } else {
            run = 0;
        }
    }
    *start = i - run;
    *count = run;
    return 0;
}

/* Takes the run at @start: counts become 1. */
static int coroutine_mixed_fn take_run(BlockDriverState *bs, uint64_t start,
                                       uint64_t count)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset = start << s->cluster_bits;
    int ret;

    if (start == 0) {
        return qcow2_corrupt(bs, true, 0, s->cluster_size, "Preventing "
                             "invalid allocation of a cluster at offset 0");
    }
    ret = qcow2_check_overlap(bs, offset, count << s->cluster_bits, 0);
    if (ret < 0) {
        return ret;
    }
    ret = qcow2_update_refcount(bs, offset, count << s->cluster_bits, 1);
    if (ret == 0 && s->free_index == start) {
        s->free_index = start + count;
    }
    return ret;
}

int coroutine_mixed_fn qcow2_alloc_run(BlockDriverState *bs, uint64_t min,
                                       uint64_t max, uint64_t *offset,
                                       uint64_t *count)
{
    Qcow2State *s = bs->opaque;
    uint64_t extra = 0, start, n, missing;
    int ret;

    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_CLUSTER_ALLOC);
    for (;;) {
        ret = find_run(bs, min + extra, max + extra, &start, &n);
        if (ret < 0) {
            return ret;
        }
        if (((start + n - 1) >> s->rb_bits) >= s->rt_entries) {
            ret = qcow2_grow_reftable(bs,
                                      ((start + n - 1) >> s->rb_bits) + 1);
            if (ret < 0) {
                return ret;
            }
            continue; /* that used clusters, too */
        }
        missing = qcow2_missing_refblocks(s, start, n);
        if (missing <= extra) {
            break;
        }
        /* Include room for the blocks themselves, right after the run. */
        extra = missing;
    }
    /* Where a block is allocated if it is missing. */
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFBLOCK_ALLOC);
    n -= extra;
    if (missing) {
        uint64_t used;

        ret = qcow2_make_refblocks(bs, start, n, &used);
        if (ret < 0) {
            return ret;
        }
    }
    ret = take_run(bs, start, n);
    if (ret < 0) {
        return ret;
    }
    *offset = start << s->cluster_bits;
    *count = n;
    return 0;
}

int coroutine_mixed_fn qcow2_alloc_bytes_run(BlockDriverState *bs,
                                             uint64_t bytes, uint64_t *offset)
{
    uint64_t n = qcow2_clusters(bs->opaque, bytes), count;

    return qcow2_alloc_run(bs, n, n, offset, &count);
}

void coroutine_mixed_fn qcow2_free_now(BlockDriverState *bs, uint64_t offset,
                                       uint64_t bytes)
{
    Qcow2State *s = bs->opaque;

    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_CLUSTER_FREE);
    /* A failure leaks the clusters; no caller can act on it. */
    if (qcow2_update_refcount(bs, offset, bytes, -1) == 0 &&
        s->discard_other && in_coroutine()) {
        (void)bdrv_co_pdiscard(bs->file, offset, bytes);
    }
}

void qcow2_free_later(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
                      bool discard)
{
    Qcow2State *s = bs->opaque;
    Qcow2Free item = { offset, bytes, discard };

    qcow2_assert_locked(s);
    s->pending_bytes += bytes;
    if (s->pending_frees->len) {
        Qcow2Free *last = &g_array_index(s->pending_frees, Qcow2Free,
                                         s->pending_frees->len - 1);

        if (last->offset + last->bytes == offset &&
            last->discard == discard && !qcow2_in_cluster(s, offset)) {
            last->bytes += bytes;
            return;
        }
    }
    g_array_append_val(s->pending_frees, item);
}

int coroutine_mixed_fn qcow2_evict_refcounts(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    int ret;

    if (!qcow2_cache_is_dirty(s->rb_cache)) {
        return 0;
    }
    ret = qcow2_cache_write(bs, s->rb_cache);
    qcow2_must_be_durable(s); /* some may be written even after a failure */
    return ret;
}

/* Must the file be flushed before L2 tables are written? */
static bool barrier_owed(const Qcow2State *s)
{
    return s->durable_gen != s->link_gen;
}

int coroutine_mixed_fn qcow2_write_l2_tables(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    qcow2_assert_locked(s);
    if (!qcow2_cache_is_dirty(s->l2_cache)) {
        return 0;
    }
    if (barrier_owed(s)) {
        int ret = qcow2_flush_file(bs);

        if (ret < 0) {
            return ret;
        }
    }
    g_assert(!barrier_owed(s)); /* rule 1: the lock is held */
    g_assert(!qcow2_cache_is_dirty(s->rb_cache) ||
             (s->incompatible & QCOW2_INCOMPAT_DIRTY)); /* rule 2 */
    return qcow2_cache_write(bs, s->l2_cache);
}

int coroutine_mixed_fn qcow2_write_metadata(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (!qcow2_cache_is_dirty(s->l2_cache) &&
        !qcow2_cache_is_dirty(s->rb_cache)) {
        return 0;
    }
    /* With lazy refcounts they are only written when the image is closed. */
    if (!(s->incompatible & QCOW2_INCOMPAT_DIRTY)) {
        ret = qcow2_evict_refcounts(bs);
        if (ret < 0) {
            return ret;
        }
    }
    return qcow2_write_l2_tables(bs);
}

int coroutine_mixed_fn qcow2_evict_l2(BlockDriverState *bs)
{
    return qcow2_write_metadata(bs);
}

void coroutine_fn qcow2_discard_unused(BlockDriverState *bs, uint64_t offset,
                                       uint64_t bytes)
{
    Qcow2State *s = bs->opaque;
    uint64_t run = 0, end = offset + bytes;

    for (uint64_t pos = offset; pos < end; pos += s->cluster_size) {
        uint64_t count;

        if (qcow2_get_refcount(bs, pos >> s->cluster_bits, &count) == 0 &&
            count == 0) {
            run += s->cluster_size;
        } else if (run) {
            (void)bdrv_co_pdiscard(bs->file, pos - run, run);
            run = 0;
        }
    }
    if (run) {
        (void)bdrv_co_pdiscard(bs->file, ROUND_UP(end, s->cluster_size) - run,
                               run);
    }
}

static bool is_being_read(const Qcow2State *s, const Qcow2Free *f)
{
    const Qcow2Read *read;

    LIST_FOREACH(read, &s->reads, next) {
        if (read->offset < f->offset + f->bytes &&
            f->offset < read->offset + read->bytes) {
            return true;
        }
    }
    return false;
}

static void coroutine_mixed_fn apply_free(BlockDriverState *bs,
                                          const Qcow2Free *f)
{
    if (is_being_read(bs->opaque, f)) {
        /* Otherwise the reader could get data of the next user. */
        qcow2_free_later(bs, f->offset, f->bytes, f->discard);
        return;
    }
    /* A failure only leaks clusters. */
    if (qcow2_update_refcount(bs, f->offset, f->bytes, -1) == 0 &&
        f->discard && in_coroutine()) {
        qcow2_discard_unused(bs, f->offset, f->bytes);
    }
}

int coroutine_mixed_fn qcow2_apply_frees(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    GArray *frees;
    int ret = qcow2_write_metadata(bs);

    if (ret < 0 || !s->pending_frees->len) {
        return ret;
    }
    ret = qcow2_flush_file(bs);
    if (ret < 0) {
        return ret;
    }
    /* Rule 3: no former reference is still to be written. */
    g_assert(!qcow2_cache_is_dirty(s->l2_cache) && !barrier_owed(s));
    frees = s->pending_frees;
    s->pending_frees = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    s->pending_bytes = 0;
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_CLUSTER_FREE);
    for (guint i = 0; i < frees->len; i++) {
        apply_free(bs, &g_array_index(frees, Qcow2Free, i));
    }
    g_array_free(frees, TRUE);
    return 0;
}

int coroutine_mixed_fn qcow2_limit_frees(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (s->pending_frees->len < MAX_PENDING_FREES &&
        s->pending_bytes < MAX_PENDING_BYTES) {
        return 0;
    }
    return qcow2_apply_frees(bs);
}
