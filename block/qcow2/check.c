/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consistency: counts all references to host clusters and compares them with
 * the refcounts, and the COPIED flags with both.
 *
 * A count that is too high is a leak, one too low a corruption.  Both can be
 * repaired by writing what was counted, where refcount blocks are in order;
 * where they are not, the whole structure is built anew behind the image.
 */
#include "qemu/osdep.h"

#include "block/qcow2/qcow2-int.h"

typedef struct Check {
    BlockDriverState *bs;
    Qcow2State *s;
    BdrvCheckResult *res;
    int fix;
    uint32_t *counts;  /* references found, by host cluster */
    uint64_t clusters; /* of them */
    int64_t file_end;  /* bytes, rounded up to clusters */
    uint64_t next_host; /* where the last data cluster ended */
    bool rebuild;      /* refcount blocks are missing or bad */
    bool cut;          /* something lies past the end of the file */
    int64_t lasting;   /* corruptions that no refcount can repair */
} Check;

static void G_GNUC_PRINTF(2, 3) found(Check *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("ERROR ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    c->res->corruptions++;
}

/* One more reference to each cluster of a range. */
static bool count_range(Check *c, uint64_t offset, uint64_t bytes,
                        const char *what)
{
    Qcow2State *s = c->s;
    uint64_t last;

    if (!bytes) {
        return true;
    }
    if (!range_fits(offset, bytes, c->file_end)) {
        found(c, "%s at offset %#" PRIx64 " (%" PRIu64 " bytes) exceeds the "
              "end of the file", what, offset, bytes);
        c->cut = true;
        return false;
    }
    last = (offset + bytes - 1) >> s->cluster_bits;
    for (uint64_t i = offset >> s->cluster_bits; i <= last; i++) {
        c->counts[i] += c->counts[i] != UINT32_MAX;
    }
    return true;
}

static bool unaligned(Check *c, uint64_t offset, const char *what)
{
    if (!qcow2_in_cluster(c->s, offset)) {
        return false;
    }
    found(c, "%s offset %#" PRIx64 " is not properly aligned", what, offset);
    return true;
}

/* --- references --- */

static void count_data(Check *c, uint64_t entry, bool active)
{
    Qcow2State *s = c->s;
    uint64_t offset, bytes;

    switch (qcow2_entry_type(entry, s->version, s->cluster_bits)) {
    case QCOW2_TYPE_COMPRESSED:
        if (entry & QCOW2_COPIED) {
            found(c, "compressed cluster (entry %#" PRIx64 ") has the copied "
                  "flag", entry);
        }
        qcow2_compressed_range(entry, s->cluster_bits, &offset, &bytes);
        /* The sectors may reach over the end of a file that is cut off. */
        bytes = MIN(bytes, MAX((int64_t)(c->file_end - offset), 0));
        count_range(c, offset, bytes, "compressed cluster");
        c->res->allocated_clusters += active;
        c->res->compressed_clusters += active;
        c->res->fragmented_clusters += active;
        break;
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
        offset = entry & QCOW2_OFFSET_MASK;
        c->res->allocated_clusters += active;
        if (active && c->next_host && offset != c->next_host) {
            c->res->fragmented_clusters++;
        }
        c->next_host = offset + s->cluster_size;
        count_range(c, offset, s->cluster_size, "data cluster");
        break;
    case QCOW2_INVALID:
        found(c, "L2 entry %#" PRIx64 " is invalid", entry);
        break;
    default:
        break;
    }
}

static void coroutine_mixed_fn count_l2(Check *c, uint64_t l2, bool active)
{
    Qcow2State *s = c->s;
    g_autofree uint64_t *table = NULL;
    int ret;

    if (unaligned(c, l2, "L2 table") ||
        !count_range(c, l2, s->cluster_size, "L2 table")) {
        return;
    }
    table = qcow2_read_table(c->bs, l2, UINT64_C(1) << s->l2_bits, &ret);
    if (!table) {
        c->res->check_errors++;
        return;
    }
    c->next_host = 0; /* an L2 table in between does not make fragments */
    for (uint64_t i = 0; i < UINT64_C(1) << s->l2_bits; i++) {
        count_data(c, table[i], active);
    }
}

static void coroutine_mixed_fn count_l1(Check *c, uint64_t offset,
                                        const uint64_t *l1, uint32_t n,
                                        bool active)
{
    if (!count_range(c, offset, n * 8ULL, "L1 table")) {
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (l1[i] & QCOW2_OFFSET_MASK) {
            count_l2(c, l1[i] & QCOW2_OFFSET_MASK, active);
        }
    }
}

static void coroutine_mixed_fn count_snapshots(Check *c)
{
    Qcow2State *s = c->s;

    count_range(c, s->snapshots_offset, s->snapshots_bytes, "snapshot table");
    for (guint i = 0; s->snapshots && i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot,
                                                 i);
        g_autofree uint64_t *l1 = NULL;
        int ret;

        l1 = qcow2_read_table(c->bs, sn->l1_offset, sn->l1_size, &ret);
        if (!l1) {
            c->res->check_errors++;
            continue;
        }
        count_l1(c, sn->l1_offset, l1, sn->l1_size, false);
    }
}

static void coroutine_mixed_fn count_bitmaps(Check *c)
{
    Qcow2State *s = c->s;
    g_autoptr(GPtrArray) dir = NULL;
    Error *err = NULL;

    if (!s->bitmaps.nb_bitmaps ||
        !count_range(c, s->bitmaps.dir_offset, s->bitmaps.dir_size,
                     "bitmap directory")) {
        return;
    }
    dir = qcow2_bitmap_dir_read(c->bs, &err);
    for (guint i = 0; dir && i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];
        g_autofree uint64_t *table = NULL;

        if (!count_range(c, b->table_offset, b->table_size * 8ULL,
                         "bitmap table")) {
            continue;
        }
        table = qcow2_bitmap_read_table(c->bs, b, &err);
        for (uint32_t k = 0; table && k < b->table_size; k++) {
            uint64_t offset = table[k] & QCOW2_OFFSET_MASK;

            if (offset) {
                count_range(c, offset, s->cluster_size, "bitmap data");
            }
        }
        if (!table) {
            found(c, "%s", error_get_pretty(err));
            g_clear_pointer(&err, error_free);
        }
    }
    if (!dir) {
        found(c, "%s", error_get_pretty(err));
        error_free(err);
    }
}

static void count_refcount_structure(Check *c)
{
    Qcow2State *s = c->s;

    if (!count_range(c, s->rt_offset,
                     (uint64_t)s->rt_clusters << s->cluster_bits,
                     "refcount table")) {
        c->rebuild = true;
    }
    for (uint64_t i = 0; i < s->rt_entries; i++) {
        uint64_t block = s->rt[i] & QCOW2_REFTABLE_MASK;

        if (!block) {
            continue;
        }
        if (unaligned(c, block, "refcount block") ||
            !count_range(c, block, s->cluster_size, "refcount block")) {
            c->rebuild = true;
        } else if (c->counts[block >> s->cluster_bits] != 1) {
            found(c, "refcount block %" PRIu64 " is referenced %" PRIu32
                  " times", i, c->counts[block >> s->cluster_bits]);
            c->rebuild = true;
        }
    }
}

/* --- comparing --- */

static void coroutine_mixed_fn compare_one(Check *c, uint64_t cluster)
{
    BdrvCheckResult *res = c->res;
    uint64_t count = c->counts[cluster], refcount;
    bool leak, fix;

    if (qcow2_get_refcount(c->bs, cluster, &refcount) < 0) {
        fprintf(stderr, "Can't get refcount for cluster %" PRIu64 "\n",
                cluster);
        res->check_errors++;
        return;
    }
    if (refcount == count) {
        return;
    }
    leak = refcount > count;
    fix = c->fix & (leak ? BDRV_FIX_LEAKS : BDRV_FIX_ERRORS);
    fprintf(stderr, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%"
            PRIu64 "\n", fix ? "Repairing" : leak ? "Leaked" : "ERROR",
            cluster, refcount, count);
    if (fix && qcow2_put_refcount(c->bs, cluster, count) == 0) {
        if (leak) {
            res->leaks_fixed++;
            if (count == 0) {
                c->s->free_index = MIN(c->s->free_index, cluster);
            }
        } else {
            res->corruptions_fixed++;
        }
        return;
    }
    if (fix && !leak) {
        c->rebuild = true; /* there is no block for it */
    }
    if (leak) {
        res->leaks++;
    } else {
        res->corruptions++;
    }
}

static void coroutine_mixed_fn compare(Check *c)
{
    Qcow2State *s = c->s;
    uint64_t highest = 0;

    for (uint64_t i = 0; i < c->clusters; i++) {
        compare_one(c, i);
        if (c->counts[i]) {
            highest = i + 1;
        }
    }
    c->res->image_end_offset = highest << s->cluster_bits;
}

/* Is a COPIED flag as it must be for a cluster? Only when it is our own. */
static bool flag_ok(Check *c, uint64_t entry)
{
    uint64_t i = (entry & QCOW2_OFFSET_MASK) >> c->s->cluster_bits;

    return i >= c->clusters || (entry & QCOW2_OFFSET_MASK) == 0 ||
           !(entry & QCOW2_COPIED) == (c->counts[i] != 1);
}

static void flag_wrong(Check *c, const char *what, uint64_t entry, bool fixed)
{
    fprintf(stderr, "%s OFLAG_COPIED %s cluster: entry=%#" PRIx64 "\n",
            fixed ? "Repairing" : "ERROR", what, entry);
    if (fixed) {
        c->res->corruptions_fixed++;
    } else {
        c->res->corruptions++;
    }
}

static void coroutine_mixed_fn check_flags_l2(Check *c, uint32_t l1_index)
{
    Qcow2State *s = c->s;
    uint64_t l2 = s->l1[l1_index] & QCOW2_OFFSET_MASK;
    int64_t base = (int64_t)l1_index << (s->cluster_bits + s->l2_bits);
    g_autofree uint64_t *table = NULL;
    int ret;

    if (!l2 || qcow2_in_cluster(s, l2) ||
        !range_fits(l2, s->cluster_size, c->file_end)) {
        return;
    }
    table = qcow2_read_table(c->bs, l2, UINT64_C(1) << s->l2_bits, &ret);
    for (uint64_t i = 0; table && i < UINT64_C(1) << s->l2_bits; i++) {
        Qcow2Type type = qcow2_entry_type(table[i], s->version,
                                          s->cluster_bits);
        bool fixed = false;

        if ((type != QCOW2_NORMAL && type != QCOW2_ZERO_ALLOC) ||
            flag_ok(c, table[i])) {
            continue;
        }
        if ((c->fix & BDRV_FIX_ERRORS) && (s->l1[l1_index] & QCOW2_COPIED)) {
            fixed = qcow2_set_entry(c->bs, base + ((int64_t)i <<
                                                   s->cluster_bits),
                                    table[i] ^ QCOW2_COPIED, true, false) == 0;
        }
        flag_wrong(c, "data", table[i], fixed);
    }
}

static void coroutine_mixed_fn check_flags(Check *c)
{
    Qcow2State *s = c->s;

    for (uint32_t i = 0; i < s->l1_size; i++) {
        if (!flag_ok(c, s->l1[i])) {
            uint64_t old = s->l1[i];
            bool fixed = false;

            if (c->fix & BDRV_FIX_ERRORS) {
                s->l1[i] ^= QCOW2_COPIED;
                fixed = qcow2_write_l1(c->bs, i) == 0;
            }
            flag_wrong(c, "L2", old, fixed);
        }
        check_flags_l2(c, i);
    }
}

/* --- rebuilding --- */

static int coroutine_mixed_fn write_rebuilt(Check *c, uint64_t start,
                                            uint64_t blocks, uint64_t table)
{
    Qcow2State *s = c->s;
    uint64_t per = UINT64_C(1) << s->rb_bits;
    uint64_t end = start + blocks + table, entries;
    g_autofree uint64_t *rt = NULL;
    uint8_t head[12], *buf;
    int ret = 0;

    entries = (table << s->cluster_bits) / 8;
    rt = g_new0(uint64_t, entries);
    buf = bdrv_try_blockalign(c->bs->file->bs, s->cluster_size);
    for (uint64_t k = 0; ret >= 0 && k < blocks; k++) {
        rt[k] = (start + k) << s->cluster_bits;
        memset(buf, 0, s->cluster_size);
        for (uint64_t i = 0; i < per && k * per + i < end; i++) {
            uint64_t cluster = k * per + i;
            uint64_t n = cluster >= start ? 1 : c->counts[cluster];

            qcow2_refcount_set(buf, i, s->refcount_order,
                               MIN(n, s->refcount_max));
        }
        ret = bdrv_pwrite(c->bs->file, rt[k], s->cluster_size, buf, 0);
    }
    qemu_vfree(buf);
    if (ret >= 0) {
        s->high_water = MAX(s->high_water, end << s->cluster_bits);
        ret = qcow2_write_table(c->bs, (start + blocks) << s->cluster_bits, rt,
                                entries, entries * 8);
    }
    if (ret >= 0) {
        ret = qcow2_flush_file(c->bs);
    }
    st64_be(head, (start + blocks) << s->cluster_bits);
    st32_be(head + 8, table);
    if (ret >= 0) {
        ret = bdrv_pwrite_sync(c->bs->file, 48, sizeof(head), head, 0);
    }
    if (ret < 0) {
        return ret;
    }
    g_free(s->rt);
    s->rt = g_steal_pointer(&rt);
    s->rt_entries = s->rt_disk_entries = entries;
    s->rt_offset = (start + blocks) << s->cluster_bits;
    s->rt_clusters = table;
    qcow2_cache_forget(s->rb_cache, 0, INT64_MAX);
    return 0;
}

/* Takes back what count_refcount_structure() counted: it is given up. */
static void uncount(Check *c, uint64_t offset, uint64_t bytes)
{
    Qcow2State *s = c->s;

    if (!offset || qcow2_in_cluster(s, offset) ||
        !range_fits(offset, bytes, c->file_end)) {
        return;
    }
    for (uint64_t i = 0; i < bytes >> s->cluster_bits; i++) {
        uint32_t *count = &c->counts[(offset >> s->cluster_bits) + i];

        *count -= *count > 0;
    }
}

/* New refcount blocks and table behind all that is used. */
static void coroutine_mixed_fn rebuild(Check *c)
{
    Qcow2State *s = c->s;
    uint64_t start = 0, blocks = 0, table = 1, before;
    unsigned overlap = s->overlap;
    int ret;

    if (c->cut) {
        /* New clusters behind the file would be those that are missing. */
        fprintf(stderr, "Not rebuilding the refcount structure: the image "
                "refers to what is past the end of its file\n");
        c->res->check_errors++;
        return;
    }
    fprintf(stderr, "Rebuilding refcount structure\n");
    for (uint64_t i = 0; i < s->rt_entries; i++) {
        uncount(c, s->rt[i] & QCOW2_REFTABLE_MASK, s->cluster_size);
    }
    uncount(c, s->rt_offset, (uint64_t)s->rt_clusters << s->cluster_bits);
    /* Behind the file's end, so that the old structure stays whole. */
    start = c->file_end >> s->cluster_bits;
    do {
        before = blocks;
        blocks = ((start + blocks + table) >> s->rb_bits) + 1;
        table = qcow2_clusters(s, blocks * 8);
    } while (blocks != before);
    /* What overlaps with what is not to be relied on, meanwhile. */
    s->overlap = 0;
    ret = write_rebuilt(c, start, blocks, table);
    s->overlap = overlap;
    qcow2_meta_forget(s);
    if (ret < 0) {
        c->res->check_errors++;
        return;
    }
    c->rebuild = false;
    s->free_index = 0;
    c->res->corruptions_fixed += c->res->corruptions - c->lasting;
    c->res->leaks_fixed += c->res->leaks;
    c->res->corruptions = c->lasting;
    c->res->leaks = 0;
}

/* --- all --- */

static bool check_setup(Check *c)
{
    int64_t len = bdrv_getlength(c->bs->file->bs);

    if (len < 0) {
        return false;
    }
    c->clusters = qcow2_clusters(c->s, len);
    c->file_end = c->clusters << c->s->cluster_bits;
    c->counts = g_try_malloc0_n(MAX(c->clusters, 1), sizeof(*c->counts));
    return c->counts != NULL;
}

static void coroutine_mixed_fn check_count_all(Check *c)
{
    Qcow2State *s = c->s;
    bool cut;

    count_range(c, 0, s->cluster_size, "header");
    count_l1(c, s->l1_offset, s->l1, s->l1_size, true);
    count_snapshots(c);
    count_bitmaps(c);
    cut = c->cut;
    c->lasting = c->res->corruptions;
    count_refcount_structure(c);
    c->cut = cut; /* the old structure is given up: its place may be used */
}

int coroutine_mixed_fn qcow2_check_locked(BlockDriverState *bs,
                                          BdrvCheckResult *res, int fix)
{
    Check c = { .bs = bs, .s = bs->opaque, .res = res, .fix = fix };
    Qcow2State *s = c.s;
    bool clean;
    int ret = 0;

    if (!check_setup(&c)) {
        return -ENOMEM;
    }
    check_count_all(&c);
    clean = !res->corruptions;
    compare(&c);
    if (c.rebuild && (fix & BDRV_FIX_ERRORS)) {
        rebuild(&c);
    }
    check_flags(&c);
    res->total_clusters = qcow2_clusters(s, s->size);
    if (fix) {
        ret = qcow2_evict_refcounts(bs);
        if (ret == 0) {
            ret = qcow2_write_l2_tables(bs);
        }
        if (ret == 0) {
            ret = qcow2_flush_file(bs);
        }
    }
    if (ret == 0 && fix && clean && !res->corruptions && !res->check_errors) {
        ret = qcow2_set_incompatible(bs, (fix & BDRV_FIX_ERRORS)
                                     ? QCOW2_INCOMPAT_DIRTY |
                                       QCOW2_INCOMPAT_CORRUPT
                                     : QCOW2_INCOMPAT_DIRTY, false);
    }
    g_free(c.counts);
    return ret;
}

int coroutine_fn qcow2_co_check(BlockDriverState *bs, BdrvCheckResult *res,
                                int fix)
{
    Qcow2State *s = bs->opaque;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    /* What is in the caches belongs to the image as it is. */
    ret = bs->read_only ? 0 : qcow2_apply_frees(bs);
    return ret < 0 ? ret : qcow2_check_locked(bs, res, fix);
}
