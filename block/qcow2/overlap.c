/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Protection of metadata against being overwritten, and the handling of corrupt
 * images.
 *
 * Before data or a table is written, its place is compared with all metadata of
 * the kinds that the option overlap-check names.  Kinds with one place (header,
 * L1 table, refcount table, snapshot table, bitmap directory) are compared
 * directly.  Of L2 tables and refcount blocks there is a hash table from the
 * number of the cluster to its kinds, and of the L1 tables of snapshots an
 * array of ranges.  Both are made when they are first needed, kept up to date
 * where the active L1 table or the refcount table changes, and given up where
 * the snapshots or the option change.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "block/qcow2/snapshot-int.h"
#include "qemu/interval.h"

/* In the order in which they are checked. */
static const struct {
    unsigned kind;
    const char *name;
} names[] = {
    { QCOW2_OVERLAP_HEADER, "qcow2_header" },
    { QCOW2_OVERLAP_ACTIVE_L1, "active L1 table" },
    { QCOW2_OVERLAP_ACTIVE_L2, "active L2 table" },
    { QCOW2_OVERLAP_REFCOUNT_BLOCK, "refcount block" },
    { QCOW2_OVERLAP_REFCOUNT_TABLE, "refcount table" },
    { QCOW2_OVERLAP_SNAPSHOT_TABLE, "snapshot table" },
    { QCOW2_OVERLAP_INACTIVE_L1, "inactive L1 table" },
    { QCOW2_OVERLAP_INACTIVE_L2, "inactive L2 table" },
    { QCOW2_OVERLAP_BITMAP_DIRECTORY, "bitmap directory" },
};

/* --- places of metadata --- */

static unsigned kinds_of(GHashTable *meta, uint64_t cluster)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(meta,
                                                (gpointer)(uintptr_t)cluster));
}

static void set_kinds(GHashTable *meta, uint64_t cluster, unsigned kinds)
{
    if (kinds) {
        g_hash_table_insert(meta, (gpointer)(uintptr_t)cluster,
                            GUINT_TO_POINTER(kinds));
    } else {
        g_hash_table_remove(meta, (gpointer)(uintptr_t)cluster);
    }
}

static void add_kind(const Qcow2State *s, GHashTable *meta, uint64_t offset,
                     unsigned kind)
{
    uint64_t cluster = offset >> s->cluster_bits;

    if (offset) {
        set_kinds(meta, cluster, kinds_of(meta, cluster) | kind);
    }
}

void qcow2_meta_add(Qcow2State *s, uint64_t offset, unsigned kind)
{
    if (s->meta) {
        add_kind(s, s->meta, offset, kind);
    }
}

void qcow2_meta_remove(Qcow2State *s, uint64_t offset, unsigned kind)
{
    uint64_t cluster = offset >> s->cluster_bits;

    if (s->meta) {
        set_kinds(s->meta, cluster, kinds_of(s->meta, cluster) & ~kind);
    }
}

void qcow2_meta_forget(Qcow2State *s)
{
    g_clear_pointer(&s->meta, g_hash_table_destroy);
    g_clear_pointer(&s->inactive_l1, g_array_unref);
}

static int compare_starts(const void *a, const void *b)
{
    const Qcow2Free *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* A damaged snapshot may have no L1 table to guard. */
static bool has_l1(const Qcow2State *s, const Qcow2Snapshot *sn)
{
    return !sn->dead && sn->l1_size && !qcow2_in_cluster(s, sn->l1_offset) &&
           range_fits(sn->l1_offset, sn->l1_size * UINT64_C(8),
                      QCOW2_MAX_HOST_OFFSET);
}

/* The L1 tables of all snapshots: ascending ranges that do not overlap. */
static GArray *inactive_l1_ranges(const Qcow2State *s)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));
    guint n = 0;

    for (guint i = 0; s->snapshots && i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot,
                                                 i);
        Qcow2Free range = { sn->l1_offset, sn->l1_size * UINT64_C(8), false };

        if (has_l1(s, sn)) {
            g_array_append_val(all, range);
        }
    }
    g_array_sort(all, compare_starts);
    for (guint i = 0; i < all->len; i++) {
        const Qcow2Free *f = &g_array_index(all, Qcow2Free, i);
        Qcow2Free *last = n ? &g_array_index(all, Qcow2Free, n - 1) : NULL;

        if (last && f->offset <= last->offset + last->bytes) {
            last->bytes = MAX(last->bytes,
                              f->offset + f->bytes - last->offset);
        } else {
            g_array_index(all, Qcow2Free, n++) = *f;
        }
    }
    g_array_set_size(all, n);
    return all;
}

/*
 * The L2 tables of all snapshots.  There are no more of them than the file has
 * clusters: entries that point elsewhere do not count.
 */
static int coroutine_mixed_fn add_inactive_l2(BlockDriverState *bs,
                                              GHashTable *meta)
{
    Qcow2State *s = bs->opaque;
    int64_t end = bdrv_getlength(bs->file->bs);
    int ret = MIN(end, 0);

    for (guint i = 0; ret == 0 && s->snapshots && i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot,
                                                 i);
        uint32_t n = sn->l1_size;
        g_autofree uint64_t *l1 = NULL;

        if (!has_l1(s, sn) ||
            !range_fits(sn->l1_offset, n * UINT64_C(8), end)) {
            continue;
        }
        l1 = qcow2_read_table(bs, sn->l1_offset, n, &ret);
        for (uint32_t k = 0; l1 && k < n; k++) {
            uint64_t l2 = l1[k] & QCOW2_OFFSET_MASK;

            if (l2 < (uint64_t)end) {
                add_kind(s, meta, l2, QCOW2_OVERLAP_INACTIVE_L2);
            }
        }
    }
    return ret;
}

static int coroutine_mixed_fn meta_build(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    GHashTable *meta = g_hash_table_new(NULL, NULL);
    int ret = 0;

    for (uint32_t i = 0; i < s->l1_size; i++) {
        add_kind(s, meta, s->l1[i] & QCOW2_OFFSET_MASK,
                 QCOW2_OVERLAP_ACTIVE_L2);
    }
    for (uint64_t i = 0; i < s->rt_entries; i++) {
        add_kind(s, meta, s->rt[i] & QCOW2_REFTABLE_MASK,
                 QCOW2_OVERLAP_REFCOUNT_BLOCK);
    }
    if (s->overlap & QCOW2_OVERLAP_INACTIVE_L2) {
        ret = add_inactive_l2(bs, meta);
    }
    if (ret < 0) {
        g_hash_table_destroy(meta);
        return ret;
    }
    s->meta = meta;
    s->inactive_l1 = inactive_l1_ranges(s);
    return 0;
}

/* --- comparing --- */

static bool in_inactive_l1(const Qcow2State *s, uint64_t offset,
                           uint64_t bytes)
{
    guint low = 0, high = s->inactive_l1->len;

    while (low < high) {
        guint mid = low + (high - low) / 2;
        const Qcow2Free *f = &g_array_index(s->inactive_l1, Qcow2Free, mid);

        if (f->offset + f->bytes <= offset) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < s->inactive_l1->len &&
           g_array_index(s->inactive_l1, Qcow2Free, low).offset <
           offset + bytes;
}

/* The kinds of metadata that overlap with the range. */
static unsigned kinds_in(const Qcow2State *s, uint64_t offset, uint64_t bytes)
{
    uint64_t last = (offset + bytes - 1) >> s->cluster_bits;
    unsigned kinds = 0;

    for (uint64_t i = offset >> s->cluster_bits; i <= last; i++) {
        kinds |= kinds_of(s->meta, i);
    }
    if (offset < s->cluster_size ||
        ranges_overlap(offset, bytes, s->crypt_offset, s->crypt_bytes)) {
        kinds |= QCOW2_OVERLAP_HEADER; /* and the keys that it points to */
    }
    if (ranges_overlap(offset, bytes, s->l1_offset,
                       (int64_t)s->l1_size * 8)) {
        kinds |= QCOW2_OVERLAP_ACTIVE_L1;
    }
    if (ranges_overlap(offset, bytes, s->rt_offset,
                       (int64_t)s->rt_clusters << s->cluster_bits)) {
        kinds |= QCOW2_OVERLAP_REFCOUNT_TABLE;
    }
    if (ranges_overlap(offset, bytes, s->snapshots_offset,
                       s->snapshots_bytes)) {
        kinds |= QCOW2_OVERLAP_SNAPSHOT_TABLE;
    }
    if (in_inactive_l1(s, offset, bytes)) {
        kinds |= QCOW2_OVERLAP_INACTIVE_L1;
    }
    if (s->bitmap_dir_own &&
        ranges_overlap(offset, bytes, s->bitmaps.dir_offset,
                       s->bitmap_dir_own)) {
        kinds |= QCOW2_OVERLAP_BITMAP_DIRECTORY;
    }
    return kinds;
}

int coroutine_mixed_fn qcow2_check_overlap(BlockDriverState *bs,
                                           uint64_t offset, uint64_t bytes,
                                           unsigned own)
{
    Qcow2State *s = bs->opaque;
    unsigned found;
    size_t i = 0;

    if (!s->overlap || bytes == 0) {
        return 0;
    }
    if (G_UNLIKELY(!s->meta)) {
        int ret = meta_build(bs);

        if (ret < 0) {
            return ret;
        }
    }
    found = kinds_in(s, offset, bytes) & s->overlap & ~own;
    if (G_LIKELY(!found)) {
        return 0;
    }
    while (!(found & names[i].kind)) {
        i++;
    }
    return qcow2_corrupt(bs, true, offset, bytes, "Preventing invalid write on "
                         "metadata (overlaps with %s)", names[i].name);
}

bool coroutine_mixed_fn qcow2_find_metadata(BlockDriverState *bs,
                                            uint64_t offset, uint64_t bytes,
                                            const char **name)
{
    Qcow2State *s = bs->opaque;
    unsigned found;
    size_t i = 0;

    if (!s->meta && meta_build(bs) < 0) {
        return false;
    }
    found = kinds_in(s, offset, bytes);
    while (found && !(found & names[i].kind)) {
        i++;
    }
    *name = found ? names[i].name : NULL;
    return true;
}

/* --- corruption --- */

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
    if (s->broken || (s->told_corrupt && !fatal) ||
        (bs->open_flags & BDRV_O_CHECK)) {
        return -EIO; /* reported already, or the check reports it */
    }
    s->told_corrupt = true;
    fprintf(stderr, "qcow2: %s: %s; further %scorruption events will be "
            "suppressed\n", fatal ? "Marking image as corrupt"
            : "Image is corrupt", msg, fatal ? "" : "non-fatal ");
    if (fatal) {
        s->broken = true;
        (void)qcow2_set_incompatible(bs, QCOW2_INCOMPAT_CORRUPT, true);
    }
    bdrv_signal_corruption(bs, fatal, offset, size, msg);
    return -EIO;
}
