/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing how many bits a refcount has.
 *
 * New blocks and a new table are written after the end of the file, and are
 * flushed; then the header refers to them, in one write.  In them the old
 * structure has no references any more.  Until the header has changed nothing
 * else has, so that an error, or a loss of power, leaves the image as it was.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* All counts, and where the new structure goes; in clusters. */
typedef struct Width {
    BlockDriverState *bs;
    unsigned order;      /* of the new width */
    unsigned block_bits; /* log 2 of the counts in a new block */
    uint64_t *counts;
    uint64_t clusters;   /* that have counts; from @start on these are 0 */
    uint64_t start, blocks, table;
} Width;

static uint64_t count_limit(unsigned order)
{
    return order == 6 ? INT64_MAX : (UINT64_C(1) << (1U << order)) - 1;
}

/* Clusters for which there are refcount blocks: up to the last one. */
static uint64_t counted_clusters(const Qcow2State *s)
{
    uint64_t n = s->rt_entries;

    while (n > 0 && !s->rt[n - 1]) {
        n--;
    }
    return n << s->rb_bits;
}

/* The old structure is not counted. */
static void forget_old(const Width *w)
{
    const Qcow2State *s = w->bs->opaque;
    uint64_t table = s->rt_offset >> s->cluster_bits;

    for (uint64_t i = 0; i < s->rt_entries; i++) {
        uint64_t block = (s->rt[i] & QCOW2_REFTABLE_MASK) >> s->cluster_bits;

        if (block && block < w->clusters) {
            w->counts[block] = 0;
        }
    }
    for (uint64_t i = 0; i < s->rt_clusters && table + i < w->clusters; i++) {
        w->counts[table + i] = 0;
    }
}

static int coroutine_fn read_counts(Width *w, Error **errp)
{
    Qcow2State *s = w->bs->opaque;
    int ret = 0;

    w->counts = g_try_new0(uint64_t, MAX(w->clusters, 1));
    if (!w->counts) {
        error_setg(errp, "Could not allocate memory for all refcounts");
        return -ENOMEM;
    }
    for (uint64_t i = 0; ret == 0 && i < w->clusters; i++) {
        ret = qcow2_get_refcount(w->bs, i, &w->counts[i]);
        if (w->counts[i]) {
            w->start = MAX(w->start, i + 1);
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read the refcounts");
        } else if (w->counts[i] > count_limit(w->order)) {
            error_setg(errp, "Cannot decrease refcount entry width to %u bits: "
                       "Cluster at offset %#" PRIx64 " has a refcount of %"
                       PRIu64, 1U << w->order, i << s->cluster_bits,
                       w->counts[i]);
            ret = -EINVAL;
        }
    }
    if (ret == 0) {
        forget_old(w);
    }
    return ret;
}

/* The new structure counts itself. */
static void lay_out(Width *w)
{
    const Qcow2State *s = w->bs->opaque;
    uint64_t before;

    w->table = 1;
    do {
        before = w->blocks;
        w->blocks = ((w->start + w->blocks + w->table) >> w->block_bits) + 1;
        w->table = qcow2_clusters(s, w->blocks * 8);
    } while (w->blocks != before);
}

static int coroutine_fn write_block(const Width *w, uint64_t index,
                                    uint8_t *buf)
{
    const Qcow2State *s = w->bs->opaque;
    uint64_t first = index << w->block_bits;
    uint64_t end = w->start + w->blocks + w->table;

    memset(buf, 0, s->cluster_size);
    for (uint64_t i = 0; i < UINT64_C(1) << w->block_bits && first + i < end;
         i++) {
        uint64_t cluster = first + i;

        qcow2_refcount_set(buf, i, w->order, cluster >= w->start ? 1 :
                           cluster < w->clusters ? w->counts[cluster] : 0);
    }
    return bdrv_pwrite(w->bs->file, (w->start + index) << s->cluster_bits,
                       s->cluster_size, buf);
}

/* *@rt: the new table, for memory. */
static int coroutine_fn write_structure(const Width *w, uint64_t *rt)
{
    Qcow2State *s = w->bs->opaque;
    uint64_t bytes = w->table << s->cluster_bits;
    uint8_t *buf = bdrv_try_blockalign(w->bs->file->bs,
                                       MAX((int64_t)bytes, s->cluster_size));
    int ret = buf ? 0 : -ENOMEM;

    for (uint64_t i = 0; ret >= 0 && i < w->blocks; i++) {
        rt[i] = (w->start + i) << s->cluster_bits;
        ret = write_block(w, i, buf);
    }
    if (ret >= 0) {
        for (uint64_t i = 0; i < bytes / 8; i++) {
            st64_be(buf + i * 8, rt[i]);
        }
        ret = bdrv_pwrite(w->bs->file, (w->start + w->blocks) <<
                          s->cluster_bits, bytes, buf);
    }
    qemu_vfree(buf);
    s->high_water = MAX(s->high_water, (w->start + w->blocks + w->table) <<
                        s->cluster_bits);
    return ret < 0 ? ret : qcow2_flush_file(w->bs);
}

/* What follows from the width, in memory. */
static void set_order(Qcow2State *s, unsigned order)
{
    s->rb_bits += s->refcount_order - order;
    s->rb_slice_bits += s->refcount_order - order;
    s->refcount_order = order;
    s->refcount_bits = 1U << order;
    s->refcount_max = count_limit(order);
}

/* The header changes; where it may have, but failed, nothing works any more. */
static int coroutine_fn switch_to_new(const Width *w, uint64_t *rt)
{
    Qcow2State *s = w->bs->opaque;
    int ret;

    set_order(s, w->order);
    s->rt_offset = (w->start + w->blocks) << s->cluster_bits;
    s->rt_clusters = w->table;
    ret = qcow2_update_header(w->bs);
    if (ret == 0) {
        ret = qcow2_flush_file(w->bs);
    }
    s->broken |= ret < 0;
    g_free(s->rt);
    s->rt = rt;
    s->rt_entries = s->rt_disk_entries = (w->table << s->cluster_bits) / 8;
    s->free_index = 0;
    qcow2_cache_forget(s->rb_cache, 0, INT64_MAX);
    qcow2_meta_forget(s);
    return ret;
}

int coroutine_fn qcow2_set_refcount_order(BlockDriverState *bs, unsigned order,
                                          Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t length = bdrv_getlength(bs->file->bs);
    Width w = { .bs = bs, .order = order,
                .block_bits = s->cluster_bits + 3 - order };
    g_autofree uint64_t *rt = NULL;
    int ret = length < 0 ? length : qcow2_make_clean(bs);

    if (ret == 0 && s->pending_frees->len) {
        ret = -EBUSY;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write back the metadata");
        return ret;
    }
    w.start = qcow2_clusters(s, MAX((uint64_t)length, s->high_water));
    w.clusters = MAX(w.start, counted_clusters(s));
    ret = read_counts(&w, errp);
    if (ret == 0) {
        lay_out(&w);
        if (w.table << s->cluster_bits > MAX(QCOW2_MAX_REFTABLE_BYTES,
                                             s->cluster_size)) {
            error_setg(errp, "The image is too large for refcounts of %u bits",
                       1U << order);
            ret = -EFBIG;
        }
    }
    if (ret == 0) {
        rt = g_new0(uint64_t, (w.table << s->cluster_bits) / 8);
        ret = write_structure(&w, rt);
        if (ret == 0) {
            ret = switch_to_new(&w, g_steal_pointer(&rt));
        }
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not write new refcounts");
        }
    }
    g_free(w.counts);
    return ret;
}
