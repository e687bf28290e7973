/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New refcount blocks and a larger refcount table. */
#include "qemu/osdep.h"

#include "block/io.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

uint64_t qcow2_missing_refblocks(const Qcow2State *s, uint64_t start,
                                 uint64_t n)
{
    uint64_t missing = 0;

    for (uint64_t i = start >> s->rb_bits; i <= (start + n - 1) >> s->rb_bits;
         i++) {
        missing += i >= s->rt_entries || !(s->rt[i] & QCOW2_REFTABLE_MASK);
    }
    return missing;
}

int coroutine_mixed_fn qcow2_write_rt_entry(BlockDriverState *bs,
                                            uint64_t index)
{
    Qcow2State *s = bs->opaque;
    uint8_t buf[8];
    int ret;

    if (index >= s->rt_disk_entries) {
        return 0; /* part of the table being built */
    }
    ret = qcow2_check_overlap(bs, s->rt_offset + index * 8, 8,
                              QCOW2_OVERLAP_REFCOUNT_TABLE);
    if (ret < 0) {
        return ret;
    }
    st64_be(buf, s->rt[index]);
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFBLOCK_ALLOC_HOOKUP);
    ret = bdrv_pwrite(bs->file, s->rt_offset + index * 8, 8, buf);
    qcow2_span_add(&s->rt_new, index, 1);
    qcow2_must_be_durable(s);
    return ret;
}

static int coroutine_mixed_fn write_zero_cluster(BlockDriverState *bs,
                                                 uint64_t cluster)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset = cluster << s->cluster_bits;
    void *buf;
    int ret = qcow2_check_overlap(bs, offset, s->cluster_size, 0);

    if (ret < 0) {
        return ret;
    }
    buf = bdrv_try_blockalign(bs->file->bs, s->cluster_size);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, s->cluster_size);
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFBLOCK_ALLOC_WRITE);
    ret = bdrv_pwrite(bs->file, offset, s->cluster_size, buf);
    qemu_vfree(buf);
    s->high_water = MAX(s->high_water, offset + s->cluster_size);
    return ret < 0 ? ret : 0;
}

/*
 * Blocks [@pos, @pos + @n), for entries @first .. @last, cannot be used, as the
 * table on disk will not refer to them.
 */
static void drop_blocks(BlockDriverState *bs, uint64_t pos, uint64_t n,
                        uint64_t first, uint64_t last)
{
    Qcow2State *s = bs->opaque;

    for (uint64_t i = first; i <= last; i++) {
        uint64_t block = s->rt[i] >> s->cluster_bits;

        if (block >= pos && block < pos + n) {
            qcow2_cache_forget(s->rb_cache, s->rt[i], s->cluster_size);
            qcow2_meta_remove(s, s->rt[i], QCOW2_OVERLAP_REFCOUNT_BLOCK);
            s->rt[i] = 0;
        }
    }
}

int coroutine_mixed_fn qcow2_make_refblocks(BlockDriverState *bs,
                                            uint64_t start, uint64_t n,
                                            uint64_t *used)
{
    Qcow2State *s = bs->opaque;
    uint64_t pos = start + n, first = start >> s->rb_bits, last;
    int ret;

    /* The blocks themselves may need one more block. */
    *used = 0;
    last = (pos - 1) >> s->rb_bits;
    for (uint64_t i = first; i <= last; i++) {
        if (!(s->rt[i] & QCOW2_REFTABLE_MASK)) {
            ret = write_zero_cluster(bs, pos + *used);
            if (ret < 0) {
                return ret;
            }
            ++*used;
            last = MAX(last, (pos + *used - 1) >> s->rb_bits);
        }
    }
    if (*used == 0) {
        return 0;
    }
    /* The zeroed blocks must be on disk before the table refers to them. */
    ret = qcow2_flush_file(bs);
    for (uint64_t i = first, k = 0; ret >= 0 && i <= last; i++) {
        if (!(s->rt[i] & QCOW2_REFTABLE_MASK)) {
            uint64_t offset = (pos + k++) << s->cluster_bits;

            qcow2_cache_forget(s->rb_cache, offset, s->cluster_size);
            s->rt[i] = offset;
            qcow2_meta_add(s, offset, QCOW2_OVERLAP_REFCOUNT_BLOCK);
        }
    }
    if (ret < 0) {
        return ret;
    }
    /*
     * Their own counts become durable before the table refers to them: else a
     * crash would leave blocks in use with a count of 0.
     */
    ret = qcow2_update_refcount(bs, pos << s->cluster_bits,
                                *used << s->cluster_bits, 1);
    if (ret == 0) {
        ret = qcow2_evict_refcounts(bs);
        if (ret == 0) {
            ret = qcow2_flush_file(bs);
        }
        if (ret < 0) {
            qcow2_free_now(bs, pos << s->cluster_bits,
                           *used << s->cluster_bits);
        }
    }
    if (ret < 0) {
        drop_blocks(bs, pos, *used, first, last);
    }
    for (uint64_t i = first; ret == 0 && i <= last; i++) {
        uint64_t block = s->rt[i] >> s->cluster_bits;

        if (block >= pos && block < pos + *used) {
            ret = qcow2_write_rt_entry(bs, i);
            if (ret < 0) {
                /* They may be there or not: they are before the next flush. */
                qcow2_span_add(&s->rt_new, first, last + 1 - first);
                s->relink = true;
            }
        }
    }
    return ret < 0 ? ret : 0;
}

/* Writes the table in memory to a new place, and updates the header. */
static int coroutine_mixed_fn switch_reftable(BlockDriverState *bs,
                                              uint64_t offset)
{
    Qcow2State *s = bs->opaque;
    uint64_t clusters = (s->rt_entries * 8) >> s->cluster_bits;
    uint8_t buf[12];
    int ret;

    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFBLOCK_ALLOC_WRITE_TABLE);
    ret = qcow2_write_table(bs, offset, s->rt, s->rt_entries,
                            s->rt_entries * 8);
    if (ret == 0) {
        ret = qcow2_evict_refcounts(bs);
    }
    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    if (ret < 0) {
        return ret;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFBLOCK_ALLOC_SWITCH_TABLE);
    st64_be(buf, offset);
    st32_be(buf + 8, clusters);
    ret = bdrv_pwrite_sync(bs->file, 48, sizeof(buf), buf);
    if (ret < 0) {
        return ret;
    }
    s->rt_offset = offset;
    s->rt_clusters = clusters;
    s->rt_disk_entries = s->rt_entries;
    return 0;
}

int coroutine_mixed_fn qcow2_grow_reftable(BlockDriverState *bs,
                                           uint64_t entries)
{
    Qcow2State *s = bs->opaque;
    uint64_t old_offset = s->rt_offset, old_clusters = s->rt_clusters;
    uint64_t want = MAX(entries + 1, s->rt_entries + s->rt_entries / 2);
    uint64_t bytes = ROUND_UP(want * 8, s->cluster_size), offset;
    bool outer = !s->rt_growing;
    int ret;

    bytes = MIN(bytes, MAX(QCOW2_MAX_REFTABLE_BYTES, s->cluster_size));
    if (bytes / 8 < entries) {
        return -EFBIG;
    }
    /*
     * In memory first: the allocation of the table's own clusters needs its
     * entries.  On disk nothing refers to these before the switch.
     */
    s->rt = g_renew(uint64_t, s->rt, bytes / 8);
    memset(s->rt + s->rt_entries, 0, bytes - s->rt_entries * 8);
    s->rt_entries = bytes / 8;
    if (!outer) {
        return 0; /* the outer call writes it */
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFTABLE_GROW);
    s->rt_growing = true;
    do {
        bytes = s->rt_entries * 8;
        ret = qcow2_alloc_bytes_run(bs, bytes, &offset);
        if (ret == 0 && s->rt_entries * 8 > bytes) {
            qcow2_free_now(bs, offset, bytes); /* it grew meanwhile */
        }
    } while (ret == 0 && s->rt_entries * 8 > bytes);
    if (ret == 0) {
        ret = switch_reftable(bs, offset);
    }
    s->rt_growing = false;
    if (ret == 0) {
        qcow2_free_now(bs, old_offset, old_clusters << s->cluster_bits);
    } else if (s->rt_disk_entries < s->rt_entries) {
        /* Blocks without an entry on disk cannot be used: drop them. */
        for (uint64_t i = s->rt_disk_entries; i < s->rt_entries; i++) {
            qcow2_cache_forget(s->rb_cache, s->rt[i] & QCOW2_REFTABLE_MASK,
                               s->cluster_size);
            qcow2_meta_remove(s, s->rt[i] & QCOW2_REFTABLE_MASK,
                              QCOW2_OVERLAP_REFCOUNT_BLOCK);
        }
        s->rt_entries = s->rt_disk_entries;
    }
    return ret;
}
