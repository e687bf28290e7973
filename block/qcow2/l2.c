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

/*
 * With an external data file an entry that has the COPIED flag is allocated,
 * also with the offset 0.  With subclusters, those are zero, not the cluster.
 */
Qcow2Type qcow2_type_of(const Qcow2State *s, uint64_t desc)
{
    uint64_t offset = desc & QCOW2_OFFSET_MASK;
    bool allocated = offset || (desc & QCOW2_COPIED);

    if (G_LIKELY(!(s->incompatible & (QCOW2_INCOMPAT_DATA_FILE |
                                      QCOW2_INCOMPAT_EXTL2)))) {
        return qcow2_entry_type(desc, s->version, s->cluster_bits);
    }
    if (s->extended_l2) {
        desc &= ~QCOW2_ZERO;
    }
    if (!s->external) {
        return qcow2_entry_type(desc, s->version, s->cluster_bits);
    }
    if ((desc & QCOW2_COMPRESSED) || qcow2_in_cluster(s, offset)) {
        return QCOW2_INVALID;
    }
    if (desc & QCOW2_ZERO) {
        return allocated ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
    }
    return allocated ? QCOW2_NORMAL : QCOW2_UNALLOCATED;
}

/* Bits of a bitmap, @type being what the descriptor says. */
static Qcow2Type decode_bitmap(Qcow2Type type, uint64_t bitmap, unsigned sub,
                               unsigned *n)
{
    uint32_t alloc = bitmap, zero = bitmap >> 32, same;
    bool place = type == QCOW2_NORMAL;

    *n = QCOW2_SUBCLUSTERS - sub;
    if (type != QCOW2_NORMAL && type != QCOW2_UNALLOCATED) {
        return type; /* compressed: it has no subclusters */
    }
    if ((alloc & zero) || (alloc && !place)) {
        return QCOW2_INVALID;
    }
    if (alloc >> sub & 1) {
        same = alloc;
    } else if (zero >> sub & 1) {
        same = zero;
        type = place ? QCOW2_ZERO_ALLOC : QCOW2_ZERO_PLAIN;
    } else {
        same = ~(alloc | zero);
        type = place ? QCOW2_UNWRITTEN : QCOW2_UNALLOCATED;
    }
    *n = MIN(*n, (unsigned)ctz64(~(uint64_t)(same >> sub)));
    return type;
}

Qcow2Type qcow2_decode(const Qcow2State *s, Qcow2Entry entry, unsigned sub,
                       unsigned *n)
{
    Qcow2Type type = qcow2_type_of(s, entry.desc);

    *n = 1;
    return s->extended_l2 ? decode_bitmap(type, entry.bitmap, sub, n) : type;
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

    return table ? table + ((index >> s->slice_bits) <<
                           (s->slice_bits + s->entry_bits))
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

/* Does the entry @index + @i, which is of @type, continue the run that starts
 * at @first? */
static inline bool run_continues(const Qcow2State *s, const Qcow2Map *map,
                                 Qcow2Type type, uint64_t desc, uint64_t i)
{
    uint64_t first = map->entry.desc;

    if (type != map->type || ((desc ^ first) & QCOW2_COPIED)) {
        return false;
    }
    switch (type) {
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
    case QCOW2_UNWRITTEN:
        return (desc & QCOW2_OFFSET_MASK) ==
               (first & QCOW2_OFFSET_MASK) + (i << s->cluster_bits);
    case QCOW2_UNALLOCATED:
    case QCOW2_ZERO_PLAIN:
        return true;
    default:
        return false;
    }
}

/* The place of the run at @offset, of which the first entry and the type are
 * known. */
static inline void map_place(const Qcow2State *s, int64_t offset, Qcow2Map *map)
{
    map->copied = map->entry.desc & QCOW2_COPIED;
    map->host = (map->entry.desc & QCOW2_OFFSET_MASK) +
                qcow2_in_cluster(s, offset);
    if (s->external && qcow2_has_place(map->type)) {
        map->copied = true;
        if (map->host != (uint64_t)offset) {
            map->type = QCOW2_INVALID;
        }
    }
}

/* With subclusters a run can begin and end inside of a cluster. */
static void map_subclusters(const Qcow2State *s, const void *slice,
                            int64_t offset, int64_t bytes, Qcow2Map *map)
{
    int64_t in_cluster = qcow2_in_cluster(s, offset), end;
    unsigned sub = in_cluster >> s->sub_bits, n;
    uint64_t index = slice_index(s, offset);

    map->entry = qcow2_entry_get(s, slice, index);
    map->type = qcow2_decode(s, map->entry, sub, &n);
    map_place(s, offset, map);
    end = (int64_t)(sub + n) << s->sub_bits; /* after the cluster's start */
    while (!qcow2_in_cluster(s, end) && end < in_cluster + bytes) {
        uint64_t i = end >> s->cluster_bits;
        Qcow2Entry entry = qcow2_entry_get(s, slice, index + i);
        Qcow2Type type = qcow2_decode(s, entry, 0, &n);

        if (!run_continues(s, map, type, entry.desc, i)) {
            break;
        }
        end += (int64_t)n << s->sub_bits;
    }
    map->bytes = MIN(bytes, end - in_cluster);
}

static void map_from_slice(const Qcow2State *s, const void *slice,
                           int64_t offset, int64_t bytes, Qcow2Map *map)
{
    const uint8_t *p = (const uint8_t *)slice + slice_index(s, offset) * 8;
    int64_t in_cluster = qcow2_in_cluster(s, offset);
    uint64_t i = 1, n;

    bytes = MIN(bytes, slice_rest(s, offset));
    if (s->extended_l2) {
        map_subclusters(s, slice, offset, bytes, map);
        return;
    }
    n = qcow2_clusters(s, in_cluster + bytes);
    map->entry = (Qcow2Entry){ ld64_be(p), 0 };
    map->type = qcow2_type_of(s, map->entry.desc);
    map_place(s, offset, map);
    while (i < n) {
        uint64_t desc = ld64_be(p + i * 8);

        if (!run_continues(s, map, qcow2_type_of(s, desc), desc, i)) {
            break;
        }
        i++;
    }
    map->bytes = MIN(bytes, (int64_t)(i << s->cluster_bits) - in_cluster);
}

/* Without an L2 table nothing is allocated. */
static void map_no_table(const Qcow2State *s, int64_t offset, int64_t bytes,
                         Qcow2Map *map)
{
    *map = (Qcow2Map){
        .type = QCOW2_UNALLOCATED,
        .bytes = MIN(bytes, qcow2_table_rest(s, offset)),
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

/*
 * Does the table with the slice at @pos begin inside the file, which others may
 * have extended?  The rest of a table that ends the file is zero.
 */
static bool coroutine_mixed_fn in_file(BlockDriverState *bs, uint64_t pos)
{
    int64_t len = bdrv_getlength(bs->file->bs);

    return len >= 0 &&
           qcow2_start_of_cluster(bs->opaque, pos) < (uint64_t)len;
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

/* Reports an entry that is no valid one. */
static int coroutine_mixed_fn bad_entry(BlockDriverState *bs, int64_t offset,
                                        Qcow2Entry entry)
{
    const Qcow2State *s = bs->opaque;
    uint64_t host = entry.desc & QCOW2_OFFSET_MASK;
    int64_t guest = qcow2_start_of_cluster(s, offset);

    if (s->external && (entry.desc & QCOW2_COMPRESSED)) {
        return qcow2_corrupt(bs, true, -1, -1, "Compressed cluster entry found "
                             "in image with external data file (guest offset: "
                             "%#" PRIx64 ")", offset);
    }
    if (s->external && host != (uint64_t)guest) {
        return qcow2_corrupt(bs, true, -1, -1, "External data file host "
                             "cluster offset %#" PRIx64 " does not match guest "
                             "cluster offset: %#" PRIx64, host, guest);
    }
    if (s->extended_l2 && !qcow2_in_cluster(s, host)) {
        return qcow2_corrupt(bs, true, -1, -1, "Invalid subcluster bitmap %#"
                             PRIx64 " of cluster entry %#" PRIx64 " found "
                             "(guest offset: %#" PRIx64 ")", entry.bitmap,
                             entry.desc, offset);
    }
    return qcow2_corrupt(bs, true, -1, -1, "%s entry %#" PRIx64 " found "
                         "(guest offset: %#" PRIx64 ")",
                         entry.desc & QCOW2_ZERO && s->version < 3
                         ? "Pre-v3 zero cluster" : "Unaligned cluster",
                         entry.desc, offset);
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
    return map->type == QCOW2_INVALID ? bad_entry(bs, offset, map->entry) : 0;
}

int coroutine_mixed_fn qcow2_get_entry(BlockDriverState *bs, int64_t offset,
                                       Qcow2Entry *entry)
{
    Qcow2Map map = { 0 };
    int ret = qcow2_map(bs, offset, 1, &map);

    *entry = map.entry;
    return ret;
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

/* Writes zeroes to the range, as data. */
static int coroutine_mixed_fn write_zeroes(BlockDriverState *bs,
                                           uint64_t offset, uint64_t end)
{
    uint64_t chunk = MIN(end - offset, (uint64_t)MiB);
    uint8_t *buf = bdrv_try_blockalign(bs->file->bs, chunk);
    int ret = buf ? 0 : -ENOMEM;

    if (buf) {
        memset(buf, 0, chunk);
    }
    for (; ret >= 0 && offset < end; offset += chunk) {
        ret = bdrv_pwrite(bs->file, offset, MIN(chunk, end - offset), buf);
    }
    qemu_vfree(buf);
    return MIN(ret, 0);
}

int coroutine_mixed_fn qcow2_write_rest(BlockDriverState *bs, uint64_t offset,
                                        uint64_t reach, uint64_t end)
{
    int64_t len = bdrv_getlength(bs->file->bs);
    uint64_t stop = end;
    int ret = MIN(len, 0);

    if (ret == 0 && bdrv_grows_by_zeroes(bs->file->bs)) {
        stop = MIN(end, (uint64_t)len); /* what is beyond will read as zero */
    }
    if (ret == 0 && offset < stop) {
        ret = in_coroutine()
            ? bdrv_co_pwrite_zeroes(bs->file, offset, stop - offset,
                                    BDRV_REQ_MAY_UNMAP)
            : write_zeroes(bs, offset, stop);
    }
    if (ret >= 0 && MAX(offset, stop) < reach) {
        ret = write_zeroes(bs, reach - BDRV_SECTOR_SIZE, reach);
    }
    return MIN(ret, 0);
}

int coroutine_mixed_fn qcow2_write_table(BlockDriverState *bs, uint64_t offset,
                                         const uint64_t *table,
                                         uint64_t entries, uint64_t bytes)
{
    Qcow2State *s = bs->opaque;
    uint64_t reach = ROUND_UP(MAX(entries, 1) * 8, BDRV_SECTOR_SIZE);
    uint64_t used = entries, chunk;
    uint8_t *buf;
    int ret;

    while (used && !table[used - 1]) {
        used--;
    }
    used = ROUND_UP(MAX(used, 1) * 8, BDRV_SECTOR_SIZE);
    chunk = MIN(used, (uint64_t)MiB);
    buf = bdrv_try_blockalign(bs->file->bs, chunk);
    ret = buf ? qcow2_check_overlap(bs, offset, bytes, 0) : -ENOMEM;
    for (uint64_t pos = 0; ret >= 0 && pos < used; pos += chunk) {
        uint64_t n = MIN(chunk, used - pos);

        memset(buf, 0, n);
        for (uint64_t i = pos / 8; i < entries && i < (pos + n) / 8; i++) {
            st64_be(buf + i * 8 - pos, table[i]);
        }
        ret = bdrv_pwrite(bs->file, offset + pos, n, buf);
    }
    if (ret >= 0) {
        ret = qcow2_write_rest(bs, offset + used, offset + reach,
                               offset + bytes);
    }
    s->high_water = MAX(s->high_water, offset + bytes);
    qemu_vfree(buf);
    return MIN(ret, 0);
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
    uint32_t first = index - index % QCOW2_L1_PART;
    uint32_t n = MIN(QCOW2_L1_PART, s->l1_size - first);
    uint8_t buf[QCOW2_L1_PART * 8];
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
    qcow2_span_add(&s->l1_new, first, n);
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
    if (table) {
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L2_ALLOC_COW_READ);
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

int coroutine_mixed_fn qcow2_drop_l2(BlockDriverState *bs, int64_t offset)
{
    Qcow2State *s = bs->opaque;
    uint32_t index = offset >> (s->cluster_bits + s->l2_bits);
    uint64_t old = s->l1[index], table = old & QCOW2_OFFSET_MASK;
    int ret;

    if (!table || !(old & QCOW2_COPIED)) {
        return 0; /* it is also a snapshot's */
    }
    s->l1[index] = 0;
    ret = qcow2_write_l1(bs, index);
    if (ret < 0) {
        s->l1[index] = old;
        return ret;
    }
    qcow2_cache_forget(s->l2_cache, table, s->cluster_size);
    qcow2_meta_remove(s, table, QCOW2_OVERLAP_ACTIVE_L2);
    qcow2_free_later(bs, table, s->cluster_size, true);
    return 0;
}

/* Drops the reference that an entry with @desc holds. */
static void free_entry(BlockDriverState *bs, uint64_t desc, bool discard)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset, bytes;

    if (s->external) {
        return; /* its clusters have no refcounts */
    }
    switch (qcow2_type_of(s, desc)) {
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
        qcow2_free_later(bs, desc & QCOW2_OFFSET_MASK, s->cluster_size,
                         discard);
        break;
    case QCOW2_TYPE_COMPRESSED:
        qcow2_compressed_range(desc, s->cluster_bits, &offset, &bytes);
        qcow2_free_later(bs, offset, bytes, false);
        break;
    default:
        break;
    }
}

/* Does @entry make data visible that its predecessor @old did not? */
static bool shows_data(const Qcow2State *s, Qcow2Entry old, Qcow2Entry entry)
{
    Qcow2Type type = qcow2_type_of(s, entry.desc);

    if (s->extended_l2 && type == QCOW2_NORMAL) {
        bool same = !((entry.desc ^ old.desc) & QCOW2_OFFSET_MASK);

        return (uint32_t)(same ? entry.bitmap & ~old.bitmap : entry.bitmap);
    }
    return type == QCOW2_NORMAL || type == QCOW2_TYPE_COMPRESSED;
}

int coroutine_mixed_fn qcow2_set_entry(BlockDriverState *bs, int64_t offset,
                                       Qcow2Entry entry, bool keep,
                                       bool discard)
{
    Qcow2State *s = bs->opaque;
    Qcow2Entry old;
    uint64_t pos;
    void *slice;
    int ret = get_slice(bs, offset, &slice, &pos);

    if (ret < 0) {
        return ret;
    }
    g_assert(slice && (s->l1[offset >> (s->cluster_bits + s->l2_bits)] &
                       QCOW2_COPIED)); /* prepared: rule 6 */
    old = qcow2_entry_get(s, slice, slice_index(s, offset));
    if (old.desc == entry.desc && old.bitmap == entry.bitmap) {
        return 0;
    }
    g_assert(qcow2_op_covers(s, offset)); /* rule 10 */
    qcow2_entry_set(s, slice, slice_index(s, offset), entry);
    qcow2_cache_mark_dirty(s->l2_cache, pos, slice);
    if (shows_data(s, old, entry)) {
        qcow2_must_be_durable(s); /* zeroes need no data */
    }
    if (!keep) {
        free_entry(bs, old.desc, discard);
    }
    return 0;
}
