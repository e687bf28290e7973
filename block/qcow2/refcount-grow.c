/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New refcount blocks and a larger refcount table; protection of metadata
 * against being overwritten, and what happens when an image is found corrupt.
 */
#include "qemu/osdep.h"

#include "block/qcow2/qcow2-int.h"
#include "qemu/interval.h"

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

/* Writes the entry of the refcount table on disk, where it has one. */
static int coroutine_mixed_fn write_rt_entry(BlockDriverState *bs,
                                             uint64_t index)
{
    Qcow2State *s = bs->opaque;
    uint8_t buf[8];
    int ret;

    if (index >= s->rt_disk_entries) {
        return 0; /* with the table that is in the making */
    }
    st64_be(buf, s->rt[index]);
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFBLOCK_ALLOC_HOOKUP);
    ret = bdrv_pwrite(bs->file, s->rt_offset + index * 8, 8, buf, 0);
    qcow2_must_be_durable(s);
    return ret;
}

static int coroutine_mixed_fn write_zero_cluster(BlockDriverState *bs,
                                                 uint64_t cluster)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset = cluster << s->cluster_bits;
    void *buf;
    int ret = qcow2_check_overlap(bs, offset, s->cluster_size);

    if (ret < 0) {
        return ret;
    }
    buf = bdrv_try_blockalign(bs->file->bs, s->cluster_size);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, s->cluster_size);
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFBLOCK_ALLOC_WRITE);
    ret = bdrv_pwrite(bs->file, offset, s->cluster_size, buf, 0);
    qemu_vfree(buf);
    s->high_water = MAX(s->high_water, offset + s->cluster_size);
    return ret < 0 ? ret : 0;
}

int coroutine_mixed_fn qcow2_make_refblocks(BlockDriverState *bs,
                                            uint64_t start, uint64_t n,
                                            uint64_t *used)
{
    Qcow2State *s = bs->opaque;
    uint64_t pos = start + n, first = start >> s->rb_bits, last;
    int ret;

    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_REFBLOCK_ALLOC);
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
    /* The zeroed blocks must be there before the table refers to them. */
    ret = qcow2_flush_file(bs);
    for (uint64_t i = first, k = 0; ret >= 0 && i <= last; i++) {
        if (!(s->rt[i] & QCOW2_REFTABLE_MASK)) {
            uint64_t offset = (pos + k++) << s->cluster_bits;

            qcow2_cache_forget(s->rb_cache, offset, s->cluster_size);
            s->rt[i] = offset;
            qcow2_meta_add(s, offset);
        }
    }
    if (ret < 0) {
        return ret;
    }
    /*
     * Their own counts become durable before the table refers to them, too:
     * else a crash would leave blocks in use with a count of 0.
     */
    ret = qcow2_update_refcount(bs, pos << s->cluster_bits,
                                *used << s->cluster_bits, 1);
    if (ret == 0) {
        ret = qcow2_evict_refcounts(bs);
    }
    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    for (uint64_t i = first; ret == 0 && i <= last; i++) {
        uint64_t block = s->rt[i] >> s->cluster_bits;

        if (block >= pos && block < pos + *used) {
            ret = write_rt_entry(bs, i);
        }
    }
    return ret < 0 ? ret : 0;
}

/* Writes the table in memory to a new place and makes the header say so. */
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
    ret = bdrv_pwrite_sync(bs->file, 48, sizeof(buf), buf, 0);
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
     * In memory first: allocating the table's own clusters then finds entries
     * for what it needs.  On disk nothing refers to these before the switch.
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
        /* What the disk has no entry for cannot be counted: forget it. */
        for (uint64_t i = s->rt_disk_entries; i < s->rt_entries; i++) {
            qcow2_meta_remove(s, s->rt[i] & QCOW2_REFTABLE_MASK);
        }
        s->rt_entries = s->rt_disk_entries;
    }
    return ret;
}

/* --- protection --- */

static void meta_build(Qcow2State *s)
{
    s->meta = g_hash_table_new(NULL, NULL);
    for (uint32_t i = 0; i < s->l1_size; i++) {
        if (s->l1[i] & QCOW2_OFFSET_MASK) {
            qcow2_meta_add(s, s->l1[i] & QCOW2_OFFSET_MASK);
        }
    }
    for (uint64_t i = 0; i < s->rt_entries; i++) {
        if (s->rt[i] & QCOW2_REFTABLE_MASK) {
            qcow2_meta_add(s, s->rt[i] & QCOW2_REFTABLE_MASK);
        }
    }
}

void qcow2_meta_add(Qcow2State *s, uint64_t offset)
{
    if (s->meta) {
        g_hash_table_add(s->meta,
                         (gpointer)(uintptr_t)(offset >> s->cluster_bits));
    }
}

void qcow2_meta_remove(Qcow2State *s, uint64_t offset)
{
    if (s->meta) {
        g_hash_table_remove(s->meta,
                            (gpointer)(uintptr_t)(offset >> s->cluster_bits));
    }
}

static const char *overlap_constant(const Qcow2State *s, uint64_t offset,
                                    uint64_t bytes)
{
    if (offset < s->cluster_size) {
        return "qcow2_header";
    }
    if (ranges_overlap(offset, bytes, s->l1_offset,
                       (int64_t)s->l1_size * 8)) {
        return "active L1 table";
    }
    if (ranges_overlap(offset, bytes, s->rt_offset,
                       (int64_t)s->rt_clusters << s->cluster_bits)) {
        return "refcount table";
    }
    if (ranges_overlap(offset, bytes, s->snapshots_offset,
                       s->snapshots_bytes)) {
        return "snapshot table";
    }
    if (s->bitmaps.nb_bitmaps &&
        ranges_overlap(offset, bytes, s->bitmaps.dir_offset,
                       s->bitmaps.dir_size)) {
        return "bitmap directory";
    }
    return NULL;
}

int coroutine_mixed_fn qcow2_check_overlap(BlockDriverState *bs,
                                           uint64_t offset, uint64_t bytes)
{
    Qcow2State *s = bs->opaque;
    const char *what = NULL;

    if (s->overlap_constant) {
        what = overlap_constant(s, offset, bytes);
    }
    if (!what && s->overlap_cached) {
        uint64_t last = (offset + bytes - 1) >> s->cluster_bits;

        if (!s->meta) {
            meta_build(s);
        }
        for (uint64_t i = offset >> s->cluster_bits; !what && i <= last; i++) {
            if (g_hash_table_contains(s->meta, (gpointer)(uintptr_t)i)) {
                what = "active L2 table or refcount block";
            }
        }
    }
    if (!what) {
        return 0;
    }
    return qcow2_corrupt(bs, true, offset, bytes, "Preventing invalid write on "
                         "metadata (overlaps with %s)", what);
}

int coroutine_mixed_fn qcow2_check_place(BlockDriverState *bs,
                                         uint64_t offset)
{
    Qcow2State *s = bs->opaque;
    const char *what = s->overlap_constant
        ? overlap_constant(s, offset, s->cluster_size) : NULL;

    return what ? qcow2_corrupt(bs, true, offset, s->cluster_size,
                                "Preventing invalid write on metadata "
                                "(overlaps with %s)", what) : 0;
}

int coroutine_mixed_fn qcow2_corrupt(BlockDriverState *bs, bool fatal,
                                     int64_t offset, int64_t size,
                                     const char *fmt, ...)
{
    Qcow2State *s = bs->opaque;
    g_autofree char *msg = NULL;
    va_list ap;

    va_start(ap, fmt);
    msg = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    fatal = fatal && !bs->read_only;
    if (s->broken || (bs->open_flags & BDRV_O_CHECK)) {
        return -EIO; /* said already, or the check reports it */
    }
    if (fatal) {
        s->broken = true;
        (void)qcow2_set_incompatible(bs, QCOW2_INCOMPAT_CORRUPT, true);
    }
    bdrv_signal_corruption(bs, fatal, offset, size, msg);
    return -EIO;
}
