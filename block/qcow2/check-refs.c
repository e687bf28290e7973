/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counting the references to host clusters, from all that an image has:
 * header, tables, data, snapshots, bitmaps, refcounts.
 */
#include "qemu/osdep.h"

#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/check-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "block/qcow2/snapshot-int.h"

static const char *const uses[QCOW2_USE__MAX] = {
    [QCOW2_USE_HEADER] = "header",
    [QCOW2_USE_L1] = "L1 table",
    [QCOW2_USE_L2] = "L2 table",
    [QCOW2_USE_DATA] = "data cluster",
    [QCOW2_USE_COMPRESSED] = "compressed cluster",
    [QCOW2_USE_SNAPSHOTS] = "snapshot table",
    [QCOW2_USE_BITMAP_DIR] = "bitmap directory",
    [QCOW2_USE_BITMAP_TABLE] = "bitmap table",
    [QCOW2_USE_BITMAP_DATA] = "bitmap data",
    [QCOW2_USE_REFTABLE] = "refcount table",
    [QCOW2_USE_REFBLOCK] = "refcount block",
};

/* Adds one reference to each cluster of a range in the file. */
static bool count_range(Qcow2Check *c, uint64_t offset, uint64_t bytes,
                        Qcow2Use use)
{
    Qcow2State *s = c->s;
    uint64_t last;

    if (!bytes) {
        return true;
    }
    if (!range_fits(offset, bytes, c->file_end)) {
        qcow2_check_found(c, "%s at offset %#" PRIx64 " (%" PRIu64 " bytes) "
                          "exceeds the end of the file", uses[use], offset,
                          bytes);
        return false;
    }
    last = (offset + bytes - 1) >> s->cluster_bits;
    for (uint64_t i = offset >> s->cluster_bits; i <= last; i++) {
        c->counts[i] += c->counts[i] != UINT32_MAX;
        c->uses[i] |= 1U << use;
    }
    return true;
}

static bool unaligned(Qcow2Check *c, uint64_t offset, const char *what)
{
    if (!qcow2_in_cluster(c->s, offset)) {
        return false;
    }
    qcow2_check_found(c, "%s offset %#" PRIx64 " is not properly aligned",
                      what, offset);
    return true;
}

/* --- metadata that others point to --- */

/* Does the refcount of a cluster say that it has one user? */
static bool coroutine_mixed_fn counted_once(Qcow2Check *c, uint64_t offset)
{
    Qcow2State *s = c->s;
    uint64_t cluster = offset >> s->cluster_bits, i = cluster >> s->rb_bits;
    uint64_t block = i < s->rt_entries ? s->rt[i] & QCOW2_REFTABLE_MASK : 0;
    uint64_t refcount;

    return block && !qcow2_in_cluster(s, block) &&
           range_fits(block, s->cluster_size, c->file_end) &&
           qcow2_get_refcount(c->bs, cluster, &refcount) == 0 && refcount == 1;
}

/* Are the refcounts plausible? */
static bool coroutine_mixed_fn refcounts_plausible(Qcow2Check *c)
{
    const Qcow2State *s = c->s;

    return !c->without_refcounts && !s->rt_damage && counted_once(c, 0) &&
           counted_once(c, s->l1_offset) && counted_once(c, s->rt_offset);
}

/* Could the whole table of snapshots be decoded? */
static bool snapshots_good(const Qcow2State *s)
{
    bool good = s->snapshots && s->snapshots->len && !s->snapshots_damage;

    for (guint i = 0; good && i < s->snapshots->len; i++) {
        good = !g_array_index(s->snapshots, Qcow2Snapshot, i).damage;
    }
    return good;
}

/*
 * Is the L1 table plausible?  Else the header may point to a cluster of a
 * snapshot.
 */
static bool l1_plausible(const Qcow2State *s)
{
    bool used = false;

    for (uint32_t i = 0; i < s->l1_size; i++) {
        if (s->l1[i] & QCOW2_L1_RESERVED ||
            qcow2_in_cluster(s, s->l1[i] & QCOW2_OFFSET_MASK)) {
            return false;
        }
        used |= s->l1[i] != 0;
    }
    return used;
}

/*
 * An entry that points to these is wrong.  Other kinds of metadata are located
 * by entries that may be just as wrong.
 */
static void coroutine_mixed_fn find_sure(Qcow2Check *c)
{
    const Qcow2State *s = c->s;
    bool refcounts = refcounts_plausible(c);
    uint64_t block = refcounts ? s->rt[0] & QCOW2_REFTABLE_MASK : 0;
    const Qcow2Sure all[] = {
        { QCOW2_USE_HEADER, 0, 1 },
        { QCOW2_USE_L1, s->l1_offset, l1_plausible(s) ?
          s->l1_offset + s->l1_size * 8ULL : 0 },
        { QCOW2_USE_SNAPSHOTS, s->snapshots_offset, snapshots_good(s) ?
          s->snapshots_offset + s->snapshots_bytes : 0 },
        { QCOW2_USE_REFTABLE, s->rt_offset, refcounts ? s->rt_offset +
          ((uint64_t)s->rt_clusters << s->cluster_bits) : 0 },
        { QCOW2_USE_REFBLOCK, block, block ? block + s->cluster_size : 0 },
    };

    G_STATIC_ASSERT(sizeof(all) == sizeof(((Qcow2Check *)NULL)->sure));
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        c->sure[i] = all[i];
        c->sure[i].end = ROUND_UP(all[i].end, s->cluster_size);
    }
}

/* Sure metadata that overlaps with a range of the file, or NULL. */
static const Qcow2Sure *metadata_at(const Qcow2Check *c, uint64_t offset,
                                    uint64_t bytes)
{
    for (size_t i = 0; i < G_N_ELEMENTS(c->sure); i++) {
        if (offset < c->sure[i].end && c->sure[i].offset < offset + bytes) {
            return &c->sure[i];
        }
    }
    return NULL;
}

/* --- L2 tables and data --- */

/* Location of an L2 entry. */
typedef struct Place {
    uint64_t l2, index;
    bool active; /* part of the active disk, not of a snapshot only */
    bool first;  /* the table was not examined before */
} Place;

static void mend_entry(Qcow2Check *c, const Place *at, uint64_t value,
                       bool lost)
{
    Qcow2Mend mend = {
        .table = at->l2,
        .offset = at->l2 + at->index * 8,
        .value = value,
        .lost = lost,
        .active = at->active,
    };

    if (at->first) {
        g_array_append_val(c->mends, mend);
    }
}

/*
 * Reports an entry that points to metadata, and makes it zero.  One that has to
 * stay is counted, so that writing there does not free the metadata.  If it
 * points to refcounts, those are built anew elsewhere instead: guests can write
 * data that looks like refcounts, and correct counts must not be lost.
 */
static bool data_is_metadata(Qcow2Check *c, const Place *at, uint64_t entry,
                             uint64_t offset, uint64_t bytes)
{
    const Qcow2Sure *what = metadata_at(c, offset, bytes);
    Qcow2Mend mend = {
        .table = at->l2,
        .offset = at->l2 + at->index * 8,
        .value = c->s->version >= 3 ? QCOW2_ZERO : 0,
        .lost = true,
        .metadata = true,
        .active = at->active,
    };

    if (!what || what->use == QCOW2_USE_REFTABLE ||
        what->use == QCOW2_USE_REFBLOCK ||
        (c->s->version < 3 && qcow2_has_backing(c->bs))) {
        return false; /* find_overlaps() reports it */
    }
    qcow2_check_found(c, "L2 entry %#" PRIx64 " points to the %s", entry,
                      uses[what->use]);
    if (at->first) {
        g_array_append_val(c->mends, mend);
    }
    return true;
}

/*
 * The cluster of an entry is past the end of the file.  The entry becomes zero,
 * as the file reads there; if that cannot be expressed (version 2 with a
 * backing file), it stays.
 */
static void data_lost(Qcow2Check *c, const Place *at)
{
    if (c->s->version >= 3) {
        mend_entry(c, at, QCOW2_ZERO, true);
    } else if (!qcow2_has_backing(c->bs)) {
        mend_entry(c, at, 0, true);
    } else {
        c->cut = true;
    }
}

static void count_compressed(Qcow2Check *c, const Place *at, uint64_t entry)
{
    uint64_t offset, bytes;

    c->res->allocated_clusters += at->active;
    c->res->compressed_clusters += at->active;
    c->res->fragmented_clusters += at->active;
    if (entry & QCOW2_COPIED) {
        qcow2_check_found(c, "compressed cluster (entry %#" PRIx64 ") has the "
                          "copied flag", entry);
        mend_entry(c, at, entry & ~QCOW2_COPIED, false);
    }
    qcow2_compressed_range(entry, c->s->cluster_bits, &offset, &bytes);
    /* The sectors may extend past the end of a file that is not padded. */
    if (offset < (uint64_t)c->file_end) {
        bytes = MIN(bytes, c->file_end - offset);
    }
    if (!data_is_metadata(c, at, entry, offset, bytes) &&
        !count_range(c, offset, bytes, QCOW2_USE_COMPRESSED)) {
        data_lost(c, at);
    }
}

static void count_normal(Qcow2Check *c, const Place *at, uint64_t entry)
{
    Qcow2State *s = c->s;
    uint64_t offset = entry & QCOW2_OFFSET_MASK;

    c->res->allocated_clusters += at->active;
    if (at->active && c->next_host && offset != c->next_host) {
        c->res->fragmented_clusters++;
    }
    c->next_host = offset + s->cluster_size;
    if (!data_is_metadata(c, at, entry, offset, s->cluster_size) &&
        !count_range(c, offset, s->cluster_size, QCOW2_USE_DATA)) {
        data_lost(c, at);
    }
}

/*
 * Reserved bits may have a meaning for the program that set them: an entry that
 * is valid otherwise stays, with its flag.
 */
static void find_reserved(Qcow2Check *c, const char *what, uint64_t entry,
                          uint64_t reserved)
{
    if (entry & reserved) {
        qcow2_check_found(c, "%s entry %#" PRIx64 " has reserved bits set, "
                          "which cannot be repaired", what, entry);
    }
}

static void count_entry(Qcow2Check *c, const Place *at, uint64_t entry)
{
    if (!(entry & QCOW2_COMPRESSED)) {
        find_reserved(c, "L2", entry, QCOW2_L2_RESERVED);
    }
    switch (qcow2_entry_type(entry, c->s->version, c->s->cluster_bits)) {
    case QCOW2_TYPE_COMPRESSED:
        count_compressed(c, at, entry);
        break;
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
        count_normal(c, at, entry);
        break;
    case QCOW2_INVALID:
        qcow2_check_found(c, "L2 entry %#" PRIx64 " is invalid", entry);
        if (entry & QCOW2_ZERO && c->s->version >= 3) {
            mend_entry(c, at, QCOW2_ZERO, false); /* reads as zeroes anyway */
        } else {
            c->uncounted = true;
        }
        break;
    default:
        break;
    }
}

/* Counts an L1 entry for the L2 table at @l2; is it the first? */
static bool count_l2_ref(Qcow2Check *c, uint64_t l2)
{
    uint64_t *n = g_hash_table_lookup(c->l2_refs, &l2);

    if (!n) {
        n = g_new0(uint64_t, 2); /* the key and the count */
        n[0] = l2;
        g_hash_table_insert(c->l2_refs, n, n);
    }
    return n[1]++ == 0;
}

static void coroutine_mixed_fn count_l2(Qcow2Check *c, uint64_t l2,
                                        bool active)
{
    Qcow2State *s = c->s;
    g_autofree uint64_t *table = NULL;
    Place at = { .l2 = l2, .active = active };
    int ret;

    at.first = count_l2_ref(c, l2);
    table = qcow2_read_table(c->bs, l2, UINT64_C(1) << s->l2_bits, &ret);
    if (!table) {
        qcow2_check_say(c, "ERROR could not read the L2 table at %#" PRIx64
                        ": %s", l2, strerror(-ret));
        c->res->check_errors++;
        c->uncounted = true;
        return;
    }
    c->next_host = 0; /* an L2 table in between is no fragmentation */
    for (; at.index < UINT64_C(1) << s->l2_bits; at.index++) {
        count_entry(c, &at, table[at.index]);
    }
}

/* --- L1 tables --- */

typedef struct L1 {
    uint64_t offset;
    const uint64_t *entries;
    uint32_t n;
    bool active;
} L1;

/* There is no L2 table at the offset in an entry: what it mapped is lost. */
static void table_lost(Qcow2Check *c, const L1 *l1, uint32_t index,
                       bool metadata)
{
    Qcow2Mend mend = {
        .table = qcow2_start_of_cluster(c->s, l1->offset + index * 8ULL),
        .offset = l1->offset + index * 8ULL,
        .l1_index = index,
        .active_l1 = l1->active,
        .l1 = true,
        .lost = true,
        .metadata = metadata,
        .active = l1->active,
    };

    c->uncounted = true;
    if (!qcow2_has_backing(c->bs)) {
        g_array_append_val(c->mends, mend);
    } else if (!metadata) {
        c->cut = true; /* data of the backing file would show instead */
    } else {
        /* It stays and counts as a reference: COPIED would be wrong. */
        count_range(c, l1->entries[index] & QCOW2_OFFSET_MASK,
                    c->s->cluster_size, QCOW2_USE_L2);
    }
}

/*
 * The COPIED flag without a table.  Other programs may take the entry for a
 * reference to the header.
 */
static void flag_without_table(Qcow2Check *c, const L1 *l1, uint32_t index)
{
    uint64_t entry = l1->entries[index];
    Qcow2Mend mend = {
        .table = qcow2_start_of_cluster(c->s, l1->offset + index * 8ULL),
        .offset = l1->offset + index * 8ULL,
        .l1_index = index,
        .active_l1 = l1->active,
        .l1 = true,
    };

    if (entry == QCOW2_COPIED) {
        qcow2_check_found(c, "L1 entry %#" PRIx64 " has the copied flag, but "
                          "no L2 table", entry);
        g_array_append_val(c->mends, mend);
    }
}

static void coroutine_mixed_fn count_l1(Qcow2Check *c, const L1 *l1)
{
    Qcow2State *s = c->s;

    if (!count_range(c, l1->offset, l1->n * 8ULL, QCOW2_USE_L1)) {
        /* The part inside the file counts. */
        c->cut = c->uncounted = true;
        if (l1->offset < (uint64_t)c->file_end) {
            count_range(c, l1->offset, c->file_end - l1->offset, QCOW2_USE_L1);
        }
    }
    for (uint32_t i = 0; i < l1->n; i++) {
        uint64_t l2 = l1->entries[i] & QCOW2_OFFSET_MASK;
        const Qcow2Sure *what;

        find_reserved(c, "L1", l1->entries[i], QCOW2_L1_RESERVED);
        if (!l2) {
            flag_without_table(c, l1, i);
            continue;
        }
        if (unaligned(c, l2, "L2 table")) {
            c->uncounted = true;
        } else if ((what = metadata_at(c, l2, s->cluster_size))) {
            qcow2_check_found(c, "L1 entry %#" PRIx64 " points to the %s%s",
                              l1->entries[i], uses[what->use],
                              qcow2_has_backing(c->bs)
                              ? ", which cannot be repaired" : "");
            table_lost(c, l1, i, true);
        } else if (!count_range(c, l2, s->cluster_size, QCOW2_USE_L2)) {
            table_lost(c, l1, i, false);
        } else {
            count_l2(c, l2, l1->active);
        }
    }
}

/* --- snapshots and bitmaps --- */

static void coroutine_mixed_fn count_snapshot(Qcow2Check *c,
                                              const Qcow2Snapshot *sn)
{
    L1 l1 = { .offset = sn->l1_offset, .n = sn->l1_size };
    g_autofree uint64_t *entries = NULL;
    int ret;

    if (sn->damage) {
        qcow2_check_found(c, "snapshot %s (%s): %s", sn->id, sn->name,
                          sn->damage);
    }
    if (sn->dead) {
        c->uncounted = true;
        return;
    }
    entries = qcow2_read_table(c->bs, sn->l1_offset, sn->l1_size, &ret);
    if (!entries) {
        qcow2_check_say(c, "ERROR could not read the L1 table of snapshot %s "
                        "(%s): %s", sn->id, sn->name, strerror(-ret));
        c->res->check_errors++;
        c->uncounted = true;
        return;
    }
    l1.entries = entries;
    count_l1(c, &l1);
}

static void coroutine_mixed_fn count_snapshots(Qcow2Check *c)
{
    Qcow2State *s = c->s;

    if (s->snapshots_damage) {
        qcow2_check_found(c, "snapshot table: %s", s->snapshots_damage);
        c->uncounted = true;
    }
    count_range(c, s->snapshots_offset, s->snapshots_bytes,
                QCOW2_USE_SNAPSHOTS);
    for (guint i = 0; s->snapshots && i < s->snapshots->len; i++) {
        count_snapshot(c, &g_array_index(s->snapshots, Qcow2Snapshot, i));
    }
}

static void coroutine_mixed_fn count_bitmap(Qcow2Check *c,
                                            const Qcow2Bitmap *b)
{
    g_autofree uint64_t *table = NULL;
    Error *err = NULL;

    if (!count_range(c, b->table_offset, b->table_size * 8ULL,
                     QCOW2_USE_BITMAP_TABLE)) {
        c->cut = c->uncounted = true;
        return;
    }
    table = qcow2_bitmap_read_table(c->bs, b, &err);
    if (!table) {
        qcow2_check_found(c, "%s (use 'qemu-img bitmap --remove')",
                          error_get_pretty(err));
        error_free(err);
        c->uncounted = true;
        return;
    }
    for (uint32_t k = 0; k < b->table_size; k++) {
        uint64_t offset = table[k] & QCOW2_OFFSET_MASK;

        if (offset && !count_range(c, offset, c->s->cluster_size,
                                   QCOW2_USE_BITMAP_DATA)) {
            c->cut = true;
        }
    }
}

/* Can the directory be read from the disk, whatever its content? */
static bool coroutine_mixed_fn directory_readable(Qcow2Check *c)
{
    const Qcow2BitmapExt *ext = &c->s->bitmaps;
    g_autofree void *buf = g_try_malloc(ext->dir_size);

    return buf && bdrv_pread(c->bs->file, ext->dir_offset, ext->dir_size,
                             buf) >= 0;
}

static void coroutine_mixed_fn count_bitmaps(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    g_autoptr(GPtrArray) dir = NULL;
    Error *err = NULL;

    if (s->bitmaps_damage && !s->bitmaps.nb_bitmaps) {
        qcow2_check_found(c, "%s", s->bitmaps_damage);
        c->bitmaps_bad = c->uncounted = true;
        return;
    }
    if (!s->bitmaps.nb_bitmaps) {
        return;
    }
    if (!count_range(c, s->bitmaps.dir_offset, s->bitmaps.dir_size,
                     QCOW2_USE_BITMAP_DIR)) {
        c->bitmaps_bad = c->uncounted = true;
        return;
    }
    dir = qcow2_bitmap_dir_read(c->bs, &err);
    if (dir) {
        for (guint i = 0; i < dir->len; i++) {
            count_bitmap(c, dir->pdata[i]);
        }
        return;
    }
    c->uncounted = true;
    c->bitmaps_bad = directory_readable(c);
    if (!c->bitmaps_bad) {
        c->res->check_errors++;
    }
    qcow2_check_found(c, "%s", error_get_pretty(err));
    error_free(err);
}

/* --- refcounts --- */

static bool block_is_good(Qcow2Check *c, uint64_t index, uint64_t block)
{
    if (unaligned(c, block, "refcount block") ||
        !count_range(c, block, c->s->cluster_size, QCOW2_USE_REFBLOCK)) {
        return false;
    }
    if (c->counts[block >> c->s->cluster_bits] != 1) {
        qcow2_check_found(c, "refcount block %" PRIu64 " is referenced %"
                          PRIu32 " times", index,
                          c->counts[block >> c->s->cluster_bits]);
        return false;
    }
    return true;
}

static void count_refcount_structure(Qcow2Check *c)
{
    Qcow2State *s = c->s;

    if (s->rt_damage) {
        qcow2_check_found(c, "refcount table: %s", s->rt_damage);
        c->rebuild = true;
        return;
    }
    if (!count_range(c, s->rt_offset,
                     (uint64_t)s->rt_clusters << s->cluster_bits,
                     QCOW2_USE_REFTABLE)) {
        c->rebuild = true;
    }
    for (uint64_t i = 0; i < s->rt_entries; i++) {
        uint64_t block = s->rt[i] & QCOW2_REFTABLE_MASK;

        if (s->rt[i] & ~QCOW2_REFTABLE_MASK) {
            qcow2_check_found(c, "refcount table entry %" PRIu64 " (%#" PRIx64
                              ") has reserved bits set", i, s->rt[i]);
            c->rebuild = true;
        }
        if (block && !block_is_good(c, i, block)) {
            Qcow2BadBlock bad = { i, s->rt[i] };

            c->rebuild = true;
            if (!c->bad_blocks) {
                c->bad_blocks = g_array_new(FALSE, FALSE, sizeof(bad));
            }
            g_array_append_val(c->bad_blocks, bad);
            s->rt[i] = 0;
        }
    }
}

/*
 * A cluster with two uses.  Refcounts can be built anew elsewhere; for others
 * it is not known which use is wrong.
 */
static void find_overlaps(Qcow2Check *c)
{
    const unsigned data = 1U << QCOW2_USE_DATA | 1U << QCOW2_USE_COMPRESSED;
    const unsigned table = 1U << QCOW2_USE_REFTABLE;
    const unsigned block = 1U << QCOW2_USE_REFBLOCK; /* reported already */

    for (uint64_t i = 0; i < c->clusters; i++) {
        unsigned all = c->uses[i];
        int first, second;

        /* Most clusters have at most one use; there can be very many. */
        if (!(all & (all - 1)) || !(all & ~data) || (all & block)) {
            continue;
        }
        first = g_bit_nth_lsf(all, -1);
        second = g_bit_nth_lsf(all, first);
        qcow2_check_found(c, "cluster %" PRIu64 " is used as %s and as %s%s",
                          i, uses[first], uses[second], all & table ? ""
                          : ", which cannot be repaired");
        if (all & table) {
            c->rebuild = true;
        } else {
            c->uncounted = true; /* leaked clusters may have lost data */
        }
    }
}

void coroutine_mixed_fn qcow2_check_count_all(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    L1 l1 = { s->l1_offset, s->l1, s->l1_size, true };

    find_sure(c);
    count_range(c, 0, s->cluster_size, QCOW2_USE_HEADER);
    count_l1(c, &l1);
    count_snapshots(c);
    count_bitmaps(c);
    if (!c->without_refcounts) {
        count_refcount_structure(c);
    }
    find_overlaps(c);
}
