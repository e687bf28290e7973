/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Repairs errors that a check has found: the rules and their order are in
 * check-int.h.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/check-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "block/qcow2/snapshot-int.h"

/* Fields of the header that are written separately. */
#define HEADER_REFTABLE 48
#define HEADER_SNAPSHOTS 60
#define HEADER_AUTOCLEAR 88

/* --- entries of tables --- */

/* Is the cluster used for this kind of table only? */
static bool mend_is_safe(const Qcow2Check *c, const Qcow2Mend *m)
{
    return m->l1 ? c->counts[m->table >> c->s->cluster_bits] == 1
                 : qcow2_check_is_l2(c, m->table);
}

static int coroutine_mixed_fn mend_one(Qcow2Check *c, const Qcow2Mend *m)
{
    Qcow2State *s = c->s;
    size_t bytes = !m->l1 && s->extended_l2 ? 16 : 8;
    uint8_t buf[16];
    int ret;

    st64_be(buf, m->value);
    st64_be(buf + 8, m->bitmap);
    ret = bdrv_pwrite(c->bs->file, m->offset, bytes, buf);
    if (ret < 0) {
        return ret;
    }
    qcow2_check_say(c, "Repairing entry at offset %#" PRIx64 " of an %s table"
                    "%s%s", m->offset, m->l1 ? "L1" : "L2",
                    !m->lost ? "" : m->metadata ? ": it refers to metadata"
                    : ": what it refers to is not in the file",
                    m->lost ? ", it reads as zeroes" : "");
    if (m->active_l1) {
        s->l1[m->l1_index] = m->value;
    }
    return 0;
}

/* The disk has changed, and no bitmap recorded that. */
static int coroutine_mixed_fn distrust_bitmaps(Qcow2Check *c)
{
    BdrvDirtyBitmap *bitmap = NULL;
    Error *err = NULL;

    if (!c->s->bitmaps.dir_size) {
        return 0;
    }
    qcow2_check_say(c, "Marking the bitmaps as inconsistent: they do not "
                    "record what was lost");
    if (c->s->autoclear & QCOW2_AUTOCLEAR_AHEAD) {
        int ret;

        /* They are in use, and would be trusted for their notes. */
        c->s->autoclear &= ~QCOW2_AUTOCLEAR_AHEAD;
        g_array_set_size(c->s->notes, 0);
        ret = qcow2_update_header(c->bs);
        if (ret == 0) {
            ret = qcow2_flush_file(c->bs);
        }
        if (ret < 0) {
            return ret;
        }
    }
    while ((bitmap = bdrv_dirty_bitmap_next(c->bs, bitmap))) {
        if (bdrv_dirty_bitmap_busy(bitmap)) {
            return -EBUSY;
        }
        if (bdrv_dirty_bitmap_persistent(bitmap) &&
            !bdrv_dirty_bitmap_inconsistent(bitmap)) {
            bdrv_dirty_bitmap_distrust(bitmap, BITMAP_INCONSISTENCY_DAMAGED);
        }
    }
    if (!qcow2_mark_bitmaps_in_use(c->bs, NULL, &err)) {
        error_report_err(err);
        return -EIO;
    }
    return 0;
}

static int coroutine_mixed_fn mend_entries(Qcow2Check *c)
{
    bool distrusted = false;
    int ret = 0;

    if (!c->mends->len) {
        return 0;
    }
    for (guint i = 0; ret == 0 && i < c->mends->len; i++) {
        const Qcow2Mend *m = &g_array_index(c->mends, Qcow2Mend, i);

        if (!mend_is_safe(c, m)) {
            continue;
        }
        if (m->lost && m->active && !distrusted) {
            ret = distrust_bitmaps(c);
            distrusted = true;
        }
        if (ret == 0) {
            ret = mend_one(c, m);
        }
    }
    qcow2_cache_forget(c->s->l2_cache, 0, INT64_MAX);
    qcow2_meta_forget(c->s);
    return ret < 0 ? ret : qcow2_check_recount(c);
}

/* --- refcounts --- */

/* Raises refcounts that are too low; c->rebuild if that is impossible. */
static void coroutine_mixed_fn raise_counts(Qcow2Check *c)
{
    for (uint64_t i = 0; i < c->clusters; i++) {
        uint64_t count = c->counts[i], refcount;

        if (qcow2_get_refcount(c->bs, i, &refcount) < 0 || refcount >= count) {
            continue;
        }
        qcow2_check_say(c, "Repairing cluster %" PRIu64 " refcount=%" PRIu64
                        " reference=%" PRIu64, i, refcount, count);
        if (qcow2_put_refcount(c->bs, i, count) < 0) {
            c->rebuild = true;
        }
    }
}

/* True: the count of this cluster is too high, and remains so. */
static bool coroutine_mixed_fn lower_one(Qcow2Check *c, uint64_t cluster)
{
    Qcow2State *s = c->s;
    uint64_t count = cluster < c->clusters ? c->counts[cluster] : 0, refcount;

    if (qcow2_get_refcount(c->bs, cluster, &refcount) < 0 ||
        refcount <= count) {
        return false;
    }
    qcow2_check_say(c, "%s cluster %" PRIu64 " refcount=%" PRIu64
                    " reference=%" PRIu64,
                    c->uncounted ? "Leaked" : "Repairing", cluster, refcount,
                    count);
    if (c->uncounted) {
        return true;
    }
    if (qcow2_put_refcount(c->bs, cluster, count) == 0 && count == 0) {
        s->free_index = MIN(s->free_index, cluster);
    }
    return false;
}

/*
 * Includes clusters past the end of the file: they would be leaked when the
 * file grows.
 */
static void coroutine_mixed_fn lower_counts(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    uint64_t per = UINT64_C(1) << s->rb_bits;
    bool kept = false;

    for (uint64_t i = 0; i < c->clusters; i++) {
        kept |= lower_one(c, i);
    }
    for (uint64_t b = c->clusters >> s->rb_bits;
         !c->uncounted && b < s->rt_entries; b++) {
        uint64_t first = MAX(c->clusters, b * per);

        for (uint64_t i = first; s->rt[b] && i < (b + 1) * per; i++) {
            lower_one(c, i);
        }
    }
    if (kept) {
        qcow2_check_say(c, "Not freeing leaked clusters: they may belong to "
                        "damaged parts");
    }
}

/* --- rebuilding them --- */

/* New refcount blocks and a table, adjacent. */
typedef struct Layout {
    uint64_t start;         /* cluster */
    uint64_t blocks, table; /* clusters */
} Layout;

static void fill_block(Qcow2Check *c, const Layout *l, uint64_t index,
                       uint8_t *buf, const uint64_t *counts)
{
    Qcow2State *s = c->s;
    uint64_t first = index << s->rb_bits;
    uint64_t end = l->start + l->blocks + l->table;

    memset(buf, 0, s->cluster_size);
    for (uint64_t i = 0; i < UINT64_C(1) << s->rb_bits && first + i < end;
         i++) {
        uint64_t cluster = first + i;

        qcow2_refcount_set(buf, i, s->refcount_order,
                           cluster >= l->start ? 1 :
                           cluster < c->clusters ? counts[cluster] : 0);
    }
}

static int coroutine_mixed_fn write_blocks(Qcow2Check *c, const Layout *l,
                                           uint64_t *rt,
                                           const uint64_t *counts)
{
    Qcow2State *s = c->s;
    uint8_t *buf = bdrv_try_blockalign(c->bs->file->bs, s->cluster_size);
    int ret = buf ? 0 : -ENOMEM;

    for (uint64_t k = 0; ret >= 0 && k < l->blocks; k++) {
        rt[k] = (l->start + k) << s->cluster_bits;
        fill_block(c, l, k, buf, counts);
        ret = bdrv_pwrite(c->bs->file, rt[k], s->cluster_size, buf);
    }
    qemu_vfree(buf);
    return MIN(ret, 0);
}

/* Writes the new structure, flushes, and updates the header. */
static int coroutine_mixed_fn write_rebuilt(Qcow2Check *c, const Layout *l,
                                            const uint64_t *counts)
{
    Qcow2State *s = c->s;
    uint64_t entries = (l->table << s->cluster_bits) / 8;
    uint64_t offset = (l->start + l->blocks) << s->cluster_bits;
    g_autofree uint64_t *rt = g_new0(uint64_t, entries);
    uint8_t head[12];
    int ret = write_blocks(c, l, rt, counts);

    s->high_water = MAX(s->high_water,
                        offset + (l->table << s->cluster_bits));
    if (ret == 0) {
        ret = qcow2_write_table(c->bs, offset, rt, entries, entries * 8);
    }
    if (ret == 0) {
        ret = qcow2_flush_file(c->bs);
    }
    st64_be(head, offset);
    st32_be(head + 8, l->table);
    if (ret == 0) {
        ret = bdrv_pwrite_sync(c->bs->file, HEADER_REFTABLE, sizeof(head),
                               head);
    }
    if (ret < 0) {
        return ret;
    }
    g_free(s->rt);
    s->rt = g_steal_pointer(&rt);
    qcow2_check_forget_bad_blocks(c);
    s->rt_entries = s->rt_disk_entries = entries;
    s->rt_offset = offset;
    s->rt_clusters = l->table;
    s->free_index = 0;
    g_clear_pointer(&s->rt_damage, g_free);
    qcow2_cache_forget(s->rb_cache, 0, INT64_MAX);
    return 0;
}

/* It is placed after the file's end, so that the old structure stays intact. */
static Layout new_layout(const Qcow2Check *c)
{
    Layout l = { .start = c->clusters, .table = 1 };
    uint64_t before;

    do {
        before = l.blocks;
        l.blocks = ((l.start + l.blocks + l.table) >> c->s->rb_bits) + 1;
        l.table = qcow2_clusters(c->s, l.blocks * 8);
    } while (l.blocks != before);
    return l;
}

/* Writes new refcount blocks and a new table after all clusters in use. */
static int coroutine_mixed_fn rebuild(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    unsigned overlap = s->overlap;
    g_autofree uint64_t *counts = NULL;
    Layout l;
    int ret;

    if (c->cut || c->res->check_errors) {
        /* New clusters would take the place of those that are missing. */
        qcow2_check_say(c, "Not rebuilding the refcount structure: %s",
                        c->cut ? "the image refers to data past the end of "
                                 "its file"
                               : "parts of the image cannot be read");
        return 0;
    }
    qcow2_check_say(c, "Rebuilding refcount structure");
    c->without_refcounts = true;
    ret = qcow2_check_recount(c);
    c->without_refcounts = false;
    if (ret < 0) {
        return ret;
    }
    l = new_layout(c);
    if (l.table << s->cluster_bits > MAX(QCOW2_MAX_REFTABLE_BYTES,
                                         s->cluster_size)) {
        return -EFBIG;
    }
    counts = g_try_new(uint64_t, MAX(c->clusters, 1));
    if (!counts) {
        return -ENOMEM;
    }
    for (uint64_t i = 0; i < c->clusters; i++) {
        counts[i] = qcow2_check_final(c, i);
    }
    /* Overlap checks cannot rely on the present tables. */
    s->overlap = 0;
    ret = write_rebuilt(c, &l, counts);
    s->overlap = overlap;
    qcow2_meta_forget(s);
    if (ret == 0) {
        c->rebuild = false;
        ret = qcow2_check_recount(c);
    }
    return ret;
}

/* --- snapshots and bitmaps --- */

static GArray *living_snapshots(const Qcow2Check *c)
{
    GArray *list = qcow2_copy_snapshots(c->s->snapshots, -1);

    for (guint i = list->len; i > 0; i--) {
        Qcow2Snapshot *sn = &g_array_index(list, Qcow2Snapshot, i - 1);

        if (sn->damage) {
            qcow2_check_say(c, "%s snapshot %s (%s), which is damaged",
                            sn->dead ? "Removing" : "Repairing", sn->id,
                            sn->name);
        }
        g_clear_pointer(&sn->damage, g_free);
        if (sn->dead) {
            g_array_remove_index(list, i - 1);
        }
    }
    return list;
}

/* Allocates, writes and flushes a table of @list. */
static int coroutine_mixed_fn write_snapshots(Qcow2Check *c,
                                              const GArray *list,
                                              uint64_t *offset, size_t *bytes)
{
    Qcow2State *s = c->s;
    g_autofree uint8_t *table = qcow2_encode_snapshots(list, bytes, NULL);
    uint8_t *buf;
    uint64_t all;
    int ret;

    *offset = 0;
    if (!table || !*bytes) {
        return table ? 0 : -EFBIG;
    }
    ret = qcow2_alloc_bytes_run(c->bs, *bytes, offset);
    if (ret < 0) {
        return ret;
    }
    all = ROUND_UP(*bytes, s->cluster_size);
    buf = bdrv_try_blockalign(c->bs->file->bs, all);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, all);
    memcpy(buf, table, *bytes);
    ret = bdrv_pwrite(c->bs->file, *offset, all, buf);
    qemu_vfree(buf);
    s->high_water = MAX(s->high_water, *offset + all);
    if (ret >= 0) {
        ret = qcow2_evict_refcounts(c->bs);
    }
    return ret < 0 ? ret : qcow2_flush_file(c->bs);
}

/* Writes a new table without the lost snapshots. */
static int coroutine_mixed_fn mend_snapshots(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    g_autoptr(GArray) list = living_snapshots(c);
    uint64_t offset;
    uint8_t head[12];
    size_t bytes;
    int ret = write_snapshots(c, list, &offset, &bytes);

    if (ret < 0) {
        return ret;
    }
    if (s->snapshots_damage) {
        qcow2_check_say(c, "Repairing snapshot table: %u snapshots are left of "
                        "%" PRIu32, list->len, s->nb_snapshots);
    }
    st32_be(head, list->len);
    st64_be(head + 4, offset);
    ret = bdrv_pwrite_sync(c->bs->file, HEADER_SNAPSHOTS, sizeof(head), head);
    if (ret < 0) {
        return ret;
    }
    qcow2_free_snapshots(s);
    g_clear_pointer(&s->snapshots_damage, g_free);
    s->snapshots = g_steal_pointer(&list);
    s->nb_snapshots = s->snapshots->len;
    s->snapshots_offset = offset;
    s->snapshots_bytes = bytes;
    qcow2_meta_forget(s);
    return 0;
}

/* Drops bitmaps that are damaged, and extensions that are. */
static int coroutine_mixed_fn drop_bitmaps(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    g_autoptr(GPtrArray) sound = qcow2_bitmap_dir_copy(c->bitmaps);
    int ret;

    for (guint i = sound->len; i > 0; i--) {
        const Qcow2Bitmap *b = sound->pdata[i - 1];

        if (b->damage) {
            qcow2_check_say(c, "Removing bitmap '%s', which is damaged",
                            b->name);
            g_ptr_array_remove_index(sound, i - 1);
        }
    }
    s->bitmap_dir_own = 0; /* what there is is counted anew, and freed */
    ret = qcow2_bitmaps_switch_dir(c->bs, sound);
    if (ret == 0) {
        g_clear_pointer(&s->bitmaps_damage, g_free);
    }
    return ret;
}

/* An extension of this program that cannot be read is left out. */
static int coroutine_mixed_fn drop_notes(Qcow2Check *c)
{
    int ret = qcow2_update_header(c->bs);

    if (ret == 0) {
        ret = qcow2_flush_file(c->bs);
    }
    if (ret == 0) {
        qcow2_check_say(c, "Removing an invalid header extension");
        c->s->notes_damage = 0;
    }
    return ret;
}

/* Must the table of snapshots be rewritten?  *@left: snapshots kept. */
static bool snapshots_need_it(const Qcow2State *s, unsigned *left)
{
    bool damage = s->snapshots_damage;

    *left = 0;
    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot,
                                                 i);

        damage |= sn->damage != NULL;
        *left += !sn->dead;
    }
    return damage;
}

/*
 * Drops tables that need no new space, before clusters are allocated to which
 * they refer.
 */
static int coroutine_mixed_fn drop_tables(Qcow2Check *c)
{
    unsigned left;
    bool snapshots = snapshots_need_it(c->s, &left) && left == 0;
    bool bitmaps = c->bitmaps_bad && !c->bitmaps_left && !c->opening;
    int ret = snapshots ? mend_snapshots(c) : 0;

    if (ret == 0 && bitmaps) {
        ret = drop_bitmaps(c);
    }
    if (ret == 0 && c->s->notes_damage && !c->opening) {
        ret = drop_notes(c);
    }
    return ret < 0 || !(snapshots || bitmaps) ? ret : qcow2_check_recount(c);
}

static int coroutine_mixed_fn rewrite_tables(Qcow2Check *c)
{
    unsigned left;
    int ret = 0;

    if (snapshots_need_it(c->s, &left)) {
        ret = mend_snapshots(c);
        if (ret == 0) {
            ret = qcow2_check_recount(c);
        }
    }
    if (ret == 0 && c->bitmaps_bad && !c->opening) {
        ret = drop_bitmaps(c);
        if (ret == 0) {
            ret = qcow2_check_recount(c);
        }
    }
    return ret;
}

/* --- all --- */

/*
 * A program that changes an image first clears the bits that it does not know.
 */
static int coroutine_mixed_fn clear_autoclear(Qcow2Check *c)
{
    Qcow2State *s = c->s;
    uint64_t value = s->autoclear & QCOW2_AUTOCLEAR_KNOWN;
    uint8_t buf[8];
    int ret;

    if (value == s->autoclear || s->version < 3) {
        return 0;
    }
    st64_be(buf, value | (s->data_raw ? QCOW2_AUTOCLEAR_RAW : 0));
    ret = bdrv_pwrite_sync(c->bs->file, HEADER_AUTOCLEAR, sizeof(buf), buf);
    if (ret >= 0) {
        s->autoclear = value;
    }
    return MIN(ret, 0);
}

/* Repairs all but refcounts that are too high. */
static int coroutine_mixed_fn repair_errors(Qcow2Check *c)
{
    int ret = drop_tables(c);

    if (ret == 0) {
        ret = mend_entries(c);
    }
    if (ret == 0) {
        raise_counts(c);
        if (c->rebuild) {
            ret = rebuild(c);
        }
    }
    if (ret == 0 && !c->rebuild && !c->cut) {
        ret = rewrite_tables(c);
    }
    return ret;
}

int coroutine_mixed_fn qcow2_repair(Qcow2Check *c)
{
    int ret = clear_autoclear(c);

    if (ret == 0 && (c->fix & BDRV_FIX_ERRORS)) {
        ret = repair_errors(c);
    }
    if (ret == 0 && (c->fix & BDRV_FIX_LEAKS)) {
        lower_counts(c);
    }
    return ret;
}
