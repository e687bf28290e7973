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
    [QCOW2_USE_CRYPT] = "encryption header",
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
    uint64_t guest; /* offset on the disk of the cluster */
    bool active; /* part of the active disk, not of a snapshot only */
    bool first;  /* the table was not examined before */
} Place;

static void mend_entry(Qcow2Check *c, const Place *at, Qcow2Entry value,
                       bool lost)
{
    Qcow2Mend mend = {
        .table = at->l2,
        .offset = at->l2 + (at->index << c->s->entry_bits),
        .value = value.desc,
        .bitmap = value.bitmap,
        .lost = lost,
        .active = at->active,
    };

    if (at->first) {
        g_array_append_val(c->mends, mend);
    }
}

/*
 * The entry instead of one whose data is lost: it reads as zeroes.  Subclusters
 * that were not allocated show the backing file as before.
 */
static Qcow2Entry zero_instead(const Qcow2Check *c, Qcow2Entry entry)
{
    uint64_t bitmap = entry.bitmap;

    if (!c->s->extended_l2) {
        return (Qcow2Entry){ c->s->version >= 3 ? QCOW2_ZERO : 0, 0 };
    }
    if (entry.desc & QCOW2_COMPRESSED) {
        bitmap = UINT32_MAX;
    }
    return (Qcow2Entry){ 0, (bitmap | bitmap << 32) & ~(uint64_t)UINT32_MAX };
}

/*
 * Reports an entry that points to metadata, and makes it zero.  One that has to
 * stay is counted, so that writing there does not free the metadata.  If it
 * points to refcounts, those are built anew elsewhere instead: guests can write
 * data that looks like refcounts, and correct counts must not be lost.
 */
static bool data_is_metadata(Qcow2Check *c, const Place *at, Qcow2Entry entry,
                             uint64_t offset, uint64_t bytes)
{
    const Qcow2Sure *what = metadata_at(c, offset, bytes);
    guint n = c->mends->len;

    if (!what || what->use == QCOW2_USE_REFTABLE ||
        what->use == QCOW2_USE_REFBLOCK ||
        (c->s->version < 3 && qcow2_has_backing(c->bs))) {
        return false; /* find_overlaps() reports it */
    }
    qcow2_check_found(c, "L2 entry %#" PRIx64 " points to the %s", entry.desc,
                      uses[what->use]);
    mend_entry(c, at, zero_instead(c, entry), true);
    for (; n < c->mends->len; n++) {
        g_array_index(c->mends, Qcow2Mend, n).metadata = true;
    }
    return true;
}

/*
 * The cluster of an entry is past the end of the file.  The entry becomes zero,
 * as the file reads there; if that cannot be expressed (version 2 with a
 * backing file), it stays.
 */
static void data_lost(Qcow2Check *c, const Place *at, Qcow2Entry entry)
{
    if (c->s->version >= 3 || !qcow2_has_backing(c->bs)) {
        mend_entry(c, at, zero_instead(c, entry), true);
    } else {
        c->cut = true;
    }
}

static void count_compressed(Qcow2Check *c, const Place *at, Qcow2Entry entry)
{
    uint64_t offset, bytes;

    c->res->allocated_clusters += at->active;
    c->res->compressed_clusters += at->active;
    c->res->fragmented_clusters += at->active;
    if (entry.desc & QCOW2_COPIED) {
        qcow2_check_found(c, "compressed cluster (entry %#" PRIx64 ") has the "
                          "copied flag", entry.desc);
    }
    if (entry.bitmap) {
        qcow2_check_found(c, "compressed cluster (entry %#" PRIx64 ") has a "
                          "bitmap of subclusters", entry.desc);
    }
    if ((entry.desc & QCOW2_COPIED) || entry.bitmap) {
        mend_entry(c, at, (Qcow2Entry){ entry.desc & ~QCOW2_COPIED, 0 },
                   false);
    }
    qcow2_compressed_range(entry.desc, c->s->cluster_bits, &offset, &bytes);
    /* The sectors may extend past the end of a file that is not padded. */
    if (offset < (uint64_t)c->file_end) {
        bytes = MIN(bytes, c->file_end - offset);
    }
    if (!data_is_metadata(c, at, entry, offset, bytes) &&
        !count_range(c, offset, bytes, QCOW2_USE_COMPRESSED)) {
        data_lost(c, at, entry);
    }
}

/*
 * The cluster is in the external data file: its place can be wrong, or past the
 * end of the file.  It stays then, as it is not known what is right.
 */
static void check_external(Qcow2Check *c, const Place *at, Qcow2Entry entry)
{
    c->past_data += at->guest >= c->data_end &&
                    qcow2_type_of(c->s, entry.desc) == QCOW2_NORMAL &&
                    (!c->s->extended_l2 || (uint32_t)entry.bitmap);
    if ((entry.desc & QCOW2_OFFSET_MASK) != at->guest) {
        qcow2_check_found(c, "L2 entry %#" PRIx64 " for guest offset %#" PRIx64
                          " does not point to this offset of the external data "
                          "file, which cannot be repaired", entry.desc,
                          at->guest);
    }
}

static void count_normal(Qcow2Check *c, const Place *at, Qcow2Entry entry)
{
    Qcow2State *s = c->s;
    uint64_t offset = entry.desc & QCOW2_OFFSET_MASK;

    c->res->allocated_clusters += at->active;
    if (at->active && c->next_host && offset != c->next_host) {
        c->res->fragmented_clusters++;
    }
    c->next_host = offset + s->cluster_size;
    if (s->external) {
        check_external(c, at, entry);
        return;
    }
    if (!data_is_metadata(c, at, entry, offset, s->cluster_size) &&
        !count_range(c, offset, s->cluster_size, QCOW2_USE_DATA)) {
        data_lost(c, at, entry);
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

/*
 * Bits of subclusters that contradict the descriptor or each other.  Without a
 * place allocated subclusters are lost; whether one that is allocated and zero
 * has data is not known.
 */
static void check_bitmap(Qcow2Check *c, const Place *at, Qcow2Entry entry)
{
    bool place = qcow2_type_of(c->s, entry.desc) == QCOW2_NORMAL;
    uint32_t both = entry.bitmap & entry.bitmap >> 32;

    if ((uint32_t)entry.bitmap && !place) {
        qcow2_check_found(c, "L2 entry %#" PRIx64 " has subclusters allocated "
                          "(bitmap %#" PRIx64 "), but no cluster", entry.desc,
                          entry.bitmap);
        mend_entry(c, at, zero_instead(c, entry), true);
        c->uncounted = true;
    } else if (both) {
        qcow2_check_found(c, "L2 entry %#" PRIx64 " has subclusters that are "
                          "both allocated and zero (bitmap %#" PRIx64 "), "
                          "which cannot be repaired", entry.desc,
                          entry.bitmap);
    }
}

/* The descriptor is no valid one. */
static void bad_descriptor(Qcow2Check *c, const Place *at, Qcow2Entry entry)
{
    const Qcow2State *s = c->s;
    bool zero = s->extended_l2 ? entry.bitmap >> 32 == UINT32_MAX &&
                                 !(uint32_t)entry.bitmap
                               : (entry.desc & QCOW2_ZERO) && s->version >= 3;

    if (s->external && (entry.desc & QCOW2_COMPRESSED)) {
        qcow2_check_found(c, "compressed cluster %" PRIu64 " with data file, "
                          "entry=%#" PRIx64, at->guest >> s->cluster_bits,
                          entry.desc);
        return;
    }
    qcow2_check_found(c, "L2 entry %#" PRIx64 " is invalid", entry.desc);
    if (zero && !s->external) {
        /* It reads as zeroes anyway. */
        mend_entry(c, at, zero_instead(c, entry), false);
    } else {
        c->uncounted = true;
    }
}

static void count_entry(Qcow2Check *c, const Place *at, Qcow2Entry entry)
{
    bool extended = c->s->extended_l2;

    if (!(entry.desc & QCOW2_COMPRESSED)) {
        find_reserved(c, "L2", entry.desc, QCOW2_L2_RESERVED |
                      (extended ? QCOW2_ZERO : 0));
    }
    switch (qcow2_type_of(c->s, entry.desc)) {
    case QCOW2_TYPE_COMPRESSED:
        count_compressed(c, at, entry);
        return;
    case QCOW2_NORMAL:
    case QCOW2_ZERO_ALLOC:
        count_normal(c, at, entry);
        break;
    case QCOW2_INVALID:
        bad_descriptor(c, at, entry);
        return;
    default:
        break;
    }
    if (extended) {
        check_bitmap(c, at, entry);
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

/* @guest: the offset on the disk from which on the table maps it. */
static void coroutine_mixed_fn count_l2(Qcow2Check *c, uint64_t l2,
                                        uint64_t guest, bool active)
{
    Qcow2State *s = c->s;
    g_autofree uint64_t *table = NULL;
    Place at = { .l2 = l2, .guest = guest, .active = active };
    int ret;

    at.first = count_l2_ref(c, l2);
    table = qcow2_read_table(c->bs, l2, qcow2_l2_words(s), &ret);
    if (!table) {
        qcow2_check_say(c, "ERROR could not read the L2 table at %#" PRIx64
                        ": %s", l2, strerror(-ret));
        c->res->check_errors++;
        c->uncounted = true;
        return;
    }
    c->next_host = 0; /* an L2 table in between is no fragmentation */
    for (; at.index < UINT64_C(1) << s->l2_bits; at.index++) {
        count_entry(c, &at, qcow2_word_entry(s, table, at.index));
        at.guest += s->cluster_size;
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
            count_l2(c, l2, (uint64_t)i << (s->cluster_bits + s->l2_bits),
                     l1->active);
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

/* Of what is damaged the place is not known; the rest counts. */
static void coroutine_mixed_fn count_bitmap(Qcow2Check *c,
                                            const Qcow2Bitmap *b)
{
    g_autofree uint64_t *table = NULL;

    if (b->damage) {
        c->bitmaps_bad = c->uncounted = true;
        return;
    }
    c->bitmaps_left = true;
    count_range(c, b->table_offset, b->table_size * 8ULL,
                QCOW2_USE_BITMAP_TABLE);
    table = qcow2_bitmap_read_table(c->bs, b, NULL, NULL);
    c->uncounted |= !table;
    for (uint32_t k = 0; table && k < b->table_size; k++) {
        uint64_t offset = table[k] & QCOW2_OFFSET_MASK;

        if (offset) {
            count_range(c, offset, c->s->cluster_size, QCOW2_USE_BITMAP_DATA);
        }
    }
}

static void report_bitmap(Qcow2Check *c, const Qcow2Bitmap *b)
{
    qcow2_check_found(c, "bitmap '%s' is damaged: %s%s", b->name, b->damage,
                      c->fix & BDRV_FIX_ERRORS ? ""
                      : " ('-r all' or 'qemu-img bitmap --remove' drop it)");
    c->res->check_errors += b->unreadable && !c->opening;
}

static const char *note_name(uint32_t magic)
{
    return magic == QCOW2_EXT_BITMAPS_AHEAD ? "safe bitmaps" :
           magic == QCOW2_EXT_BITMAPS_DISK ? "the disk of the bitmaps"
                                           : "cut ends of bitmaps";
}

static void coroutine_mixed_fn count_bitmaps(Qcow2Check *c)
{
    Qcow2State *s = c->s;

    if (s->notes_damage) {
        qcow2_check_found(c, "the header extension for %s is invalid",
                          note_name(s->notes_damage));
    }
    g_clear_pointer(&c->bitmaps, g_ptr_array_unref);
    c->bitmaps_bad = c->bitmaps_left = false;
    if (!qcow2_has_bitmaps(s)) {
        return;
    }
    c->bitmaps = qcow2_bitmap_dir_read(c->bs);
    qcow2_bitmaps_examine(c->bs, c->bitmaps);
    if (s->bitmap_dir_own) {
        count_range(c, s->bitmaps.dir_offset, s->bitmap_dir_own,
                    QCOW2_USE_BITMAP_DIR);
    }
    for (guint i = 0; i < c->bitmaps->len; i++) {
        count_bitmap(c, c->bitmaps->pdata[i]);
    }
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

#define BITMAP_USES (1U << QCOW2_USE_BITMAP_DIR | \
                     1U << QCOW2_USE_BITMAP_TABLE | \
                     1U << QCOW2_USE_BITMAP_DATA)

/* The other use of a cluster of a bitmap, or NULL. */
static const char *other_use(const Qcow2Check *c, uint64_t cluster)
{
    unsigned all = c->uses[cluster] & ~BITMAP_USES;

    return all ? uses[g_bit_nth_lsf(all, -1)] : NULL;
}

/* A bitmap that shares a cluster with something else may have been overwritten
 * by it. */
static void coroutine_mixed_fn find_shared(Qcow2Check *c, Qcow2Bitmap *b)
{
    g_autofree uint64_t *table = NULL;
    uint64_t first = b->table_offset >> c->s->cluster_bits;
    uint64_t n = qcow2_clusters(c->s, b->table_size * 8ULL);
    const char *other = NULL;

    if (b->damage) {
        return;
    }
    for (uint64_t i = 0; i < n && !other; i++) {
        other = other_use(c, first + i);
    }
    table = qcow2_bitmap_read_table(c->bs, b, NULL, NULL);
    for (uint32_t i = 0; table && i < b->table_size && !other; i++) {
        uint64_t offset = table[i] & QCOW2_OFFSET_MASK;

        other = offset ? other_use(c, offset >> c->s->cluster_bits) : NULL;
    }
    if (other) {
        qcow2_bitmap_damaged(b, "a cluster of it is used as %s, too", other);
        c->bitmaps_bad = c->uncounted = true;
    }
}

/* The directory can be read, so that it can be written to another place. */
static void find_shared_directory(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    uint64_t first = s->bitmaps.dir_offset >> s->cluster_bits;
    uint64_t n = qcow2_clusters(s, s->bitmap_dir_own);

    for (uint64_t i = 0; i < n; i++) {
        const char *other = other_use(c, first + i);

        if (other) {
            qcow2_check_found(c, "cluster %" PRIu64 " is used as bitmap "
                              "directory and as %s", first + i, other);
            c->bitmaps_bad = c->uncounted = true;
        }
    }
}

static void coroutine_mixed_fn find_bad_bitmaps(Qcow2Check *c)
{
    if (!c->bitmaps) {
        return;
    }
    find_shared_directory(c);
    for (guint i = 0; i < c->bitmaps->len; i++) {
        Qcow2Bitmap *b = c->bitmaps->pdata[i];

        find_shared(c, b);
        if (b->damage) {
            report_bitmap(c, b);
        }
    }
}

/*
 * A cluster with two uses.  Refcounts can be built anew elsewhere, and bitmaps
 * be dropped; for others it is not known which use is wrong.
 */
static void find_overlaps(Qcow2Check *c)
{
    const unsigned data = 1U << QCOW2_USE_DATA | 1U << QCOW2_USE_COMPRESSED;
    const unsigned table = 1U << QCOW2_USE_REFTABLE;
    const unsigned block = 1U << QCOW2_USE_REFBLOCK; /* reported already */

    for (uint64_t i = 0; i < c->clusters; i++) {
        unsigned all = c->uses[i] & ~BITMAP_USES;
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

/* The file may end in it: key slots are written when they are filled. */
static void count_crypt(Qcow2Check *c)
{
    uint64_t start = c->s->crypt_offset, end = start + c->s->crypt_bytes;

    if (start < (uint64_t)c->file_end) {
        count_range(c, start, MIN(end, (uint64_t)c->file_end) - start,
                    QCOW2_USE_CRYPT);
    }
}

void coroutine_mixed_fn qcow2_check_count_all(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    L1 l1 = { s->l1_offset, s->l1, s->l1_size, true };

    find_sure(c);
    count_range(c, 0, s->cluster_size, QCOW2_USE_HEADER);
    count_crypt(c);
    count_l1(c, &l1);
    count_snapshots(c);
    count_bitmaps(c);
    if (!c->without_refcounts) {
        count_refcount_structure(c);
    }
    find_bad_bitmaps(c);
    find_overlaps(c);
}
