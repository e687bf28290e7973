/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mapping from the disk to the file: L1 table in memory, L2 tables in
 * slices in the cache; looking up, and changing entries.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

Qcow2Type qcow2_entry_type(uint64_t entry, uint32_t version,
                           unsigned cluster_bits)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    if (entry & QCOW2_COMPRESSED) {
        return QCOW2_TYPE_COMPRESSED;
    }
    if (offset & ((UINT64_C(1) << cluster_bits) - 1)) {
        return QCOW2_INVALID;
    }
    if (entry & QCOW2_ZERO) {
        if (version < 3) {
            return QCOW2_INVALID;
        }
        return offset ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
    }
    return offset ? QCOW2_NORMAL : QCOW2_UNALLOCATED;
}

void qcow2_compressed_range(uint64_t entry, unsigned cluster_bits,
                            uint64_t *offset, uint64_t *bytes)
{
    unsigned shift = 62 - (cluster_bits - 8);
    uint64_t sectors = (entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> shift;

    *offset = entry & ((UINT64_C(1) << shift) - 1);
    *bytes = (sectors + 1) * 512 - (*offset & 511);
}

/* Offset in the file of the slice that has @offset's entry; 0: no table. */
static uint64_t slice_offset(const Qcow2State *s, int64_t offset)
{
    uint64_t cluster = offset >> s->cluster_bits;
    uint64_t table = s->l1[cluster >> s->l2_bits] & QCOW2_OFFSET_MASK;
    uint64_t index = cluster & ((UINT64_C(1) << s->l2_bits) - 1);

    return table ? table + ((index >> s->slice_bits) << (s->slice_bits + 3))
                 : 0;
}

static uint64_t slice_index(const Qcow2State *s, int64_t offset)
{
    return (offset >> s->cluster_bits) & ((UINT64_C(1) << s->slice_bits) - 1);
}

/* Bytes from @offset to the end of the range that its slice maps. */
static int64_t slice_rest(const Qcow2State *s, int64_t offset)
{
    int64_t span = s->cluster_size << s->slice_bits;

    return span - (offset & (span - 1));
}

/* Does the entry @index + @i continue the run that starts at @first? */
static bool run_continues(const Qcow2State *s, const Qcow2Map *map,
                          uint64_t entry, uint64_t i)
{
    uint64_t first = map->entry;

    if (qcow2_entry_type(entry, s->version, s->cluster_bits) != map->type ||
        ((entry ^ first) & QCOW2_COPIED)) {
        return false;
    }
    switch (map->type) {
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
        return (entry & QCOW2_OFFSET_MASK) ==
               (first & QCOW2_OFFSET_MASK) + (i << s->cluster_bits);
    case QCOW2_UNALLOCATED:
    case QCOW2_ZERO_PLAIN:
        return true;
    default:
        return false;
    }
}

static void map_from_slice(const Qcow2State *s, const void *slice,
                           int64_t offset, int64_t bytes, Qcow2Map *map)
{
    const uint8_t *p = (const uint8_t *)slice + slice_index(s, offset) * 8;
    int64_t in_cluster = qcow2_in_cluster(s, offset);
    uint64_t i = 1, n;

    bytes = MIN(bytes, slice_rest(s, offset));
    n = qcow2_clusters(s, in_cluster + bytes);
    map->entry = ld64_be(p);
    map->type = qcow2_entry_type(map->entry, s->version, s->cluster_bits);
    map->copied = map->entry & QCOW2_COPIED;
    map->host = (map->entry & QCOW2_OFFSET_MASK) + in_cluster;
    while (i < n && run_continues(s, map, ld64_be(p + i * 8), i)) {
        i++;
    }
    map->bytes = MIN(bytes, (int64_t)(i << s->cluster_bits) - in_cluster);
}

/* Without an L2 table nothing is allocated. */
static void map_no_table(const Qcow2State *s, int64_t offset, int64_t bytes,
                         Qcow2Map *map)
{
    int64_t span = s->cluster_size << s->l2_bits;

    *map = (Qcow2Map){
        .type = QCOW2_UNALLOCATED,
        .bytes = MIN(bytes, span - (offset & (span - 1))),
    };
}

/* The run at @offset, from the cache; false: not cached.  No yield. */
static bool map_peek(BlockDriverState *bs, int64_t offset, int64_t bytes,
                     Qcow2Map *map)
{
    Qcow2State *s = bs->opaque;
    uint64_t pos = slice_offset(s, offset);
    void *slice;

    if (!pos) {
        map_no_table(s, offset, bytes, map);
        return true;
    }
    slice = qcow2_cache_peek(s->l2_cache, pos);
    if (!slice) {
        return false;
    }
    map_from_slice(s, slice, offset, bytes, map);
    return map->type != QCOW2_INVALID;
}

/* Is @pos inside the file, which others may have extended? */
static bool coroutine_mixed_fn in_file(BlockDriverState *bs, uint64_t pos)
{
    int64_t len = bdrv_getlength(bs->file->bs);

    return len >= 0 && pos < (uint64_t)len;
}

/* The slice for @offset; NULL without a table. */
static int coroutine_mixed_fn get_slice(BlockDriverState *bs, int64_t offset,
                                        void **slice, uint64_t *pos)
{
    Qcow2State *s = bs->opaque;

    qcow2_assert_locked(s);
    *slice = NULL;
    *pos = slice_offset(s, offset);
    if (!*pos) {
        return 0;
    }
    if (*pos & (qcow2_cache_entry_size(s->l2_cache) - 1) ||
        qcow2_in_cluster(s, s->l1[offset >> (s->cluster_bits + s->l2_bits)] &
                            QCOW2_OFFSET_MASK)) {
        return qcow2_corrupt(bs, true, -1, -1, "L2 table offset %#" PRIx64
                             " unaligned (L1 index: %#" PRIx64 ")", *pos,
                             offset >> (s->cluster_bits + s->l2_bits));
    }
    if (*pos >= s->high_water && !in_file(bs, *pos)) {
        return qcow2_corrupt(bs, false, -1, -1, "L2 table offset %#" PRIx64
                             " is past the end of the file", *pos);
    }
    return qcow2_cache_get(bs, s->l2_cache, *pos, slice);
}

int coroutine_mixed_fn qcow2_map(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, Qcow2Map *map)
{
    Qcow2State *s = bs->opaque;
    uint64_t pos;
    void *slice;
    int ret = get_slice(bs, offset, &slice, &pos);

    if (ret < 0) {
        return ret;
    }
    if (!slice) {
        map_no_table(s, offset, bytes, map);
        return 0;
    }
    map_from_slice(s, slice, offset, bytes, map);
    if (map->type == QCOW2_INVALID) {
        return qcow2_corrupt(bs, true, -1, -1, "%s entry %#" PRIx64 " found "
                             "(guest offset: %#" PRIx64 ")",
                             map->entry & QCOW2_ZERO && s->version < 3
                             ? "Pre-v3 zero cluster" : "Unaligned cluster",
                             map->entry, offset);
    }
    return 0;
}

int coroutine_fn qcow2_co_map(BlockDriverState *bs, int64_t offset,
                              int64_t bytes, Qcow2Map *map)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (map_peek(bs, offset, bytes, map)) {
        return 0;
    }
    co_mutex_lock(&s->lock);
    ret = qcow2_map(bs, offset, bytes, map);
    co_mutex_unlock(&s->lock);
    return ret;
}

/* --- tables --- */

int coroutine_mixed_fn qcow2_write_table(BlockDriverState *bs, uint64_t offset,
                                         const uint64_t *table,
                                         uint64_t entries, uint64_t bytes)
{
    Qcow2State *s = bs->opaque;
    uint64_t chunk = MIN(bytes, (uint64_t)MiB);
    uint8_t *buf = bdrv_try_blockalign(bs->file->bs, chunk);
    int ret = buf ? qcow2_check_overlap(bs, offset, bytes, 0) : -ENOMEM;

    for (uint64_t pos = 0; ret >= 0 && pos < bytes; pos += chunk) {
        uint64_t n = MIN(chunk, bytes - pos);

        memset(buf, 0, n);
        for (uint64_t i = pos / 8; i < entries && i < (pos + n) / 8; i++) {
            st64_be(buf + i * 8 - pos, table[i]);
        }
        ret = bdrv_pwrite(bs->file, offset + pos, n, buf);
    }
    s->high_water = MAX(s->high_water, offset + bytes);
    qemu_vfree(buf);
    return ret < 0 ? ret : 0;
}

uint64_t *coroutine_mixed_fn qcow2_read_table(BlockDriverState *bs,
                                              uint64_t offset,
                                              uint64_t entries, int *ret)
{
    uint64_t *table = g_try_malloc(MAX(entries, 1) * 8);

    *ret = -ENOMEM;
    if (!table) {
        return NULL;
    }
    *ret = 0;
    for (uint64_t i = 0; *ret >= 0 && i < entries; i += MiB) {
        *ret = bdrv_pread(bs->file, offset + i * 8,
                          MIN(entries - i, (uint64_t)MiB) * 8, table + i);
    }
    if (*ret < 0) {
        g_free(table);
        return NULL;
    }
    for (uint64_t i = 0; i < entries; i++) {
        table[i] = GUINT64_FROM_BE(table[i]);
    }
    *ret = 0;
    return table;
}

int coroutine_mixed_fn qcow2_write_l1(BlockDriverState *bs, uint32_t index)
{
    Qcow2State *s = bs->opaque;
    uint32_t first = index & ~63U, n = MIN(64U, s->l1_size - first);
    uint8_t buf[512];
    int ret = qcow2_check_overlap(bs, s->l1_offset + first * 8, n * 8,
                                  QCOW2_OVERLAP_ACTIVE_L1);

    if (ret < 0) {
        return ret;
    }
    for (uint32_t i = 0; i < n; i++) {
        st64_be(buf + i * 8, s->l1[first + i]);
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L1_UPDATE);
    ret = bdrv_pwrite(bs->file, s->l1_offset + first * 8, n * 8, buf);
    return ret < 0 ? ret : 0;
}

/* Writes a new L2 table at @offset: zeroes, or a copy of that at @old. */
static int coroutine_mixed_fn write_new_l2(BlockDriverState *bs,
                                           uint64_t offset, uint64_t old)
{
    Qcow2State *s = bs->opaque;
    void *buf = bdrv_try_blockalign(bs->file->bs, s->cluster_size);
    int ret = buf ? 0 : -ENOMEM;

    if (ret == 0 && old) {
        /* A table shared with a snapshot is never dirty in the cache. */
        ret = bdrv_pread(bs->file, old, s->cluster_size, buf);
    } else if (ret == 0) {
        memset(buf, 0, s->cluster_size);
    }
    if (ret >= 0) {
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L2_ALLOC_WRITE);
        qcow2_cache_forget(s->l2_cache, offset, s->cluster_size);
        qcow2_cache_forget(s->rb_cache, offset, s->cluster_size);
        ret = bdrv_pwrite(bs->file, offset, s->cluster_size, buf);
    }
    qemu_vfree(buf);
    s->high_water = MAX(s->high_water, offset + s->cluster_size);
    return ret < 0 ? ret : 0;
}

int coroutine_mixed_fn qcow2_prepare_l2(BlockDriverState *bs, int64_t offset)
{
    Qcow2State *s = bs->opaque;
    uint32_t index = offset >> (s->cluster_bits + s->l2_bits);
    uint64_t old = s->l1[index], table = old & QCOW2_OFFSET_MASK, new;
    int ret;

    if (table && (old & QCOW2_COPIED)) {
        return qcow2_check_overlap(bs, table, s->cluster_size,
                                   QCOW2_OVERLAP_ACTIVE_L2);
    }
    if (qcow2_in_cluster(s, table)) {
        return qcow2_corrupt(bs, true, -1, -1, "L2 table offset %#" PRIx64
                             " unaligned (L1 index: %#" PRIx32 ")", table,
                             index);
    }
    /* A cluster that is no table must not be freed after it was copied. */
    ret = table ? qcow2_check_overlap(bs, table, s->cluster_size,
                                      QCOW2_OVERLAP_ACTIVE_L2 |
                                      QCOW2_OVERLAP_INACTIVE_L2) : 0;
    if (ret == 0) {
        ret = qcow2_alloc_bytes_run(bs, s->cluster_size, &new);
    }
    if (ret < 0) {
        return ret;
    }
    ret = write_new_l2(bs, new, table);
    if (ret == 0) {
        ret = qcow2_evict_refcounts(bs);
    }
    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    if (ret == 0) {
        s->l1[index] = new | QCOW2_COPIED;
        ret = qcow2_write_l1(bs, index);
        if (ret < 0) {
            /* The state on disk is unknown: leak the cluster. */
            s->l1[index] = old;
            return ret;
        }
        qcow2_meta_add(s, new, QCOW2_OVERLAP_ACTIVE_L2);
        if (table) {
            qcow2_meta_remove(s, table, QCOW2_OVERLAP_ACTIVE_L2);
            qcow2_free_later(bs, table, s->cluster_size, false);
        }
    } else {
        qcow2_free_now(bs, new, s->cluster_size);
    }
    return ret;
}

/* Drops the reference that @entry holds. */
static void free_entry(BlockDriverState *bs, uint64_t entry, bool discard)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset, bytes;

    switch (qcow2_entry_type(entry, s->version, s->cluster_bits)) {
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
        qcow2_free_later(bs, entry & QCOW2_OFFSET_MASK, s->cluster_size,
                         discard);
        break;
    case QCOW2_TYPE_COMPRESSED:
        qcow2_compressed_range(entry, s->cluster_bits, &offset, &bytes);
        qcow2_free_later(bs, offset, bytes, false);
        break;
    default:
        break;
    }
}

int coroutine_mixed_fn qcow2_set_entry(BlockDriverState *bs, int64_t offset,
                                       uint64_t entry, bool keep,
                                       bool discard)
{
    Qcow2State *s = bs->opaque;
    uint64_t pos, old;
    Qcow2Type type;
    uint8_t *p;
    void *slice;
    int ret = get_slice(bs, offset, &slice, &pos);

    if (ret < 0) {
        return ret;
    }
    g_assert(slice && (s->l1[offset >> (s->cluster_bits + s->l2_bits)] &
                       QCOW2_COPIED)); /* prepared: rule 6 */
    p = (uint8_t *)slice + slice_index(s, offset) * 8;
    old = ld64_be(p);
    if (old == entry) {
        return 0;
    }
    g_assert(qcow2_op_covers(s, offset)); /* rule 10 */
    st64_be(p, entry);
    qcow2_cache_mark_dirty(s->l2_cache, pos, slice);
    type = qcow2_entry_type(entry, s->version, s->cluster_bits);
    if (type == QCOW2_NORMAL || type == QCOW2_TYPE_COMPRESSED) {
        /* The data becomes visible; zeroes need no data. */
        qcow2_must_be_durable(s);
    }
    if (!keep) {
        free_entry(bs, old, discard);
    }
    return 0;
}
