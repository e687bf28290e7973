/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making an image fit for version 2: what that lacks is refused, or becomes
 * something else that reads the same.
 *
 * Zero clusters become data, or unallocated where that reads the same.  This is
 * done in place, one L2 table after the other, so that snapshots and the disk
 * continue to share tables: new clusters with zeroes are written, which have as
 * many references as the table; then the table; then the old clusters lose
 * theirs.  At each moment the image is a valid one of version 3.
 *
 * All entries of an L1 table are visited, also those after the disk, which map
 * the state of a machine (VM state).  The active L1 table can have them, too:
 * QEMU leaves zero clusters there when it has made a snapshot.  What nobody
 * reads becomes unallocated, so that it takes no space.
 *
 * First come the L2 tables that only the disk has: if a snapshot gave up a zero
 * cluster before the disk does, the disk's entry would lack the COPIED flag.
 * Then those of snapshots; as a snapshot with a VM state can share tables with
 * one that has none, and with the disk, in the order of how much is read of
 * them.  Tables that the disk shares are done then, unless a refcount is wrong.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/crypt-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "block/qcow2/snapshot-int.h"

/* In the image, or to be stored there when it is closed. */
static bool has_persistent_bitmaps(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_persistent(bitmap)) {
            return true;
        }
    }
    return qcow2_has_bitmaps(s);
}

/* Version 2 does not know the size of the disk, nor a VM state of 4 GiB. */
static bool check_snapshots(const Qcow2State *s, Error **errp)
{
    if (s->snapshots_damage) {
        error_setg(errp, "The table of snapshots is damaged (%s): run "
                   "'qemu-img check -r all' on the image",
                   s->snapshots_damage);
        return false;
    }
    for (uint32_t i = 0; i < s->nb_snapshots; i++) {
        const Qcow2Snapshot *sn = &g_array_index(s->snapshots, Qcow2Snapshot,
                                                 i);

        if (sn->damage) {
            error_setg(errp, "Snapshot '%s' is damaged (%s)", sn->id,
                       sn->damage);
            return false;
        }
        if (sn->disk_size != (uint64_t)s->size ||
            sn->vm_state_size > UINT32_MAX) {
            error_setg(errp, "Internal snapshots prevent downgrade of image: "
                       "version 2 cannot keep the size of %s of snapshot '%s'",
                       sn->vm_state_size > UINT32_MAX ? "the VM state"
                                                      : "the disk", sn->id);
            return false;
        }
    }
    return true;
}

bool qcow2_check_downgrade(BlockDriverState *bs, unsigned bits, Error **errp)
{
    const Qcow2State *s = bs->opaque;

    if ((bits ? bits : s->refcount_bits) != 16) {
        error_setg(errp, "compat=0.10 requires refcount_bits=16");
    } else if (s->external) {
        error_setg(errp, "Cannot downgrade an image with a data file");
    } else if (s->incompatible & ~(uint64_t)QCOW2_INCOMPAT_DIRTY) {
        error_setg(errp, "Cannot downgrade an image with incompatible "
                   "features %#" PRIx64 " set", s->incompatible &
                   ~(uint64_t)QCOW2_INCOMPAT_DIRTY);
    } else if (has_persistent_bitmaps(bs)) {
        error_setg(errp, "Cannot downgrade an image with persistent dirty "
                   "bitmaps: version 2 cannot keep them");
    } else {
        return check_snapshots(s, errp);
    }
    return false;
}

/* --- zero clusters --- */

/* The walk of an L1 table, and the L2 table at which it is. */
typedef struct Walk {
    BlockDriverState *bs;
    void *zeroes;    /* a cluster */
    bool active;     /* the L1 table is the disk's, else a snapshot's */
    bool shared;     /* the disk's: tables that are shared, else the others */
    int64_t end;     /* nobody reads what is mapped from here on */

    uint64_t offset; /* of the L2 table, in the file */
    int64_t guest;   /* what it maps begins here */
    uint64_t refs;
    uint64_t *words;
    GArray *new_clusters; /* uint64_t: to be freed on failure */
    GArray *old_clusters; /* to be freed in the end */
} Walk;

/* Once for each reference of the table. */
static void coroutine_fn free_clusters(Walk *w, GArray *clusters)
{
    const Qcow2State *s = w->bs->opaque;

    for (guint i = 0; i < clusters->len; i++) {
        uint64_t offset = g_array_index(clusters, uint64_t, i);
        uint64_t count = 0, n = 0;

        /* Of a new one fewer may have been added. */
        if (qcow2_get_refcount(w->bs, offset >> s->cluster_bits,
                               &count) == 0) {
            n = MIN(count, w->refs);
        }
        while (n-- > 0) {
            qcow2_free_now(w->bs, offset, s->cluster_size);
        }
    }
}

/* *@entry: of a new cluster with zeroes. */
static int coroutine_fn new_zeroes(Walk *w, int64_t guest, uint64_t *entry)
{
    Qcow2State *s = w->bs->opaque;
    QEMUIOVector qiov;
    uint64_t host, count;
    int ret = qcow2_alloc_run(w->bs, 1, 1, &host, &count);

    if (ret < 0) {
        return ret;
    }
    g_array_append_val(w->new_clusters, host);
    s->high_water = MAX(s->high_water, host + s->cluster_size);
    for (uint64_t i = 1; ret == 0 && i < w->refs; i++) {
        ret = qcow2_update_refcount(w->bs, host, s->cluster_size, 1);
    }
    if (ret == 0 && s->crypt) {
        qemu_iovec_init_buf(&qiov, w->zeroes, s->cluster_size);
        ret = qcow2_crypt_pwritev(w->bs, host, guest, s->cluster_size, &qiov,
                                  0);
    } else if (ret == 0) {
        ret = bdrv_co_pwrite_zeroes(w->bs->file, host, s->cluster_size,
                                    BDRV_REQ_MAY_UNMAP);
    }
    /* Tables of snapshots do not say whether data is shared. */
    *entry = host | (w->active && w->refs == 1 ? QCOW2_COPIED : 0);
    return MIN(ret, 0);
}

/* Replaces the zero clusters in memory; *@found: there were some. */
static int coroutine_fn replace_in_table(Walk *w, bool *found)
{
    const Qcow2State *s = w->bs->opaque;
    int ret = 0;

    for (uint64_t i = 0; ret == 0 && i < UINT64_C(1) << s->l2_bits; i++) {
        Qcow2Type type = qcow2_type_of(s, w->words[i]);
        uint64_t old = w->words[i] & QCOW2_OFFSET_MASK;
        int64_t guest = w->guest + (int64_t)(i << s->cluster_bits);

        if (type == QCOW2_INVALID) {
            return qcow2_corrupt(w->bs, w->active, -1, -1, "Unaligned cluster "
                                 "entry %#" PRIx64 " found (guest offset: %#"
                                 PRIx64 ")", w->words[i], guest);
        }
        if (!qcow2_is_zero(type)) {
            continue;
        }
        *found = true;
        w->words[i] = 0;
        if (guest < w->end && qcow2_has_backing(w->bs)) {
            ret = new_zeroes(w, guest, &w->words[i]);
        }
        if (type == QCOW2_ZERO_ALLOC) {
            g_array_append_val(w->old_clusters, old);
        }
    }
    return ret;
}

/* In place, after all that it refers to, and before what it referred to is
 * freed. */
static int coroutine_fn write_in_place(const Walk *w)
{
    Qcow2State *s = w->bs->opaque;
    uint8_t *buf = bdrv_try_blockalign(w->bs->file->bs, s->cluster_size);
    int ret = buf ? 0 : -ENOMEM;

    if (ret == 0 && w->new_clusters->len) {
        ret = qcow2_write_metadata(w->bs);
        if (ret == 0) {
            ret = qcow2_flush_file(w->bs);
        }
    }
    if (ret == 0) {
        ret = qcow2_check_overlap(w->bs, w->offset, s->cluster_size,
                                  QCOW2_OVERLAP_ACTIVE_L2 |
                                  QCOW2_OVERLAP_INACTIVE_L2);
    }
    if (ret == 0) {
        for (int64_t i = 0; i < s->cluster_size / 8; i++) {
            st64_be(buf + i * 8, w->words[i]);
        }
        ret = bdrv_pwrite(w->bs->file, w->offset, s->cluster_size, buf);
        qcow2_cache_forget(s->l2_cache, w->offset, s->cluster_size);
        if (ret >= 0 && w->old_clusters->len) {
            ret = qcow2_flush_file(w->bs);
        }
        /* If it may have been written, neither old nor new is free. */
        s->broken |= ret < 0;
    }
    qemu_vfree(buf);
    return MIN(ret, 0);
}

static int coroutine_fn expand_table(Walk *w)
{
    Qcow2State *s = w->bs->opaque;
    bool found = false;
    int ret = qcow2_get_refcount(w->bs, w->offset >> s->cluster_bits,
                                 &w->refs);

    if (ret == 0 && !w->refs) {
        ret = qcow2_corrupt(w->bs, w->active, w->offset, s->cluster_size,
                            "The L2 table at %#" PRIx64 " has no refcount",
                            w->offset);
    }
    if (ret < 0 || (w->active && w->shared != (w->refs > 1))) {
        return ret;
    }
    w->words = qcow2_read_table(w->bs, w->offset, qcow2_l2_words(s), &ret);
    if (!w->words) {
        return ret;
    }
    w->new_clusters = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    w->old_clusters = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    ret = replace_in_table(w, &found);
    if (ret == 0 && found) {
        ret = write_in_place(w);
    }
    if (!s->broken) {
        free_clusters(w, ret < 0 ? w->new_clusters : w->old_clusters);
    }
    g_array_unref(w->new_clusters);
    g_array_unref(w->old_clusters);
    g_clear_pointer(&w->words, g_free);
    return ret;
}

/* All tables to which an L1 table of @n entries refers. */
static int coroutine_fn expand_l1(Walk *w, const uint64_t *l1, uint32_t n)
{
    const Qcow2State *s = w->bs->opaque;
    int ret = 0;

    for (uint32_t i = 0; ret == 0 && i < n; i++) {
        w->offset = l1[i] & QCOW2_OFFSET_MASK;
        w->guest = (int64_t)i << (s->l2_bits + s->cluster_bits);
        if (qcow2_in_cluster(s, w->offset)) {
            ret = qcow2_corrupt(w->bs, w->active, -1, -1, "L2 table offset %#"
                                PRIx64 " unaligned (L1 index: %#" PRIx32 ")",
                                w->offset, i);
        } else if (w->offset) {
            ret = expand_table(w);
        }
    }
    return ret;
}

/* Up to where the clusters of a snapshot are read: its VM state is mapped after
 * the last table of the disk. */
static int64_t end_of_snapshot(const Qcow2State *s, const Qcow2Snapshot *sn)
{
    int64_t start = (int64_t)qcow2_l1_entries(s, s->size) <<
                    (s->l2_bits + s->cluster_bits);

    return sn->vm_state_size ? start + (int64_t)sn->vm_state_size : s->size;
}

static int compare_vm_states(const void *a, const void *b)
{
    const Qcow2Snapshot *x = *(Qcow2Snapshot *const *)a;
    const Qcow2Snapshot *y = *(Qcow2Snapshot *const *)b;

    return x->vm_state_size > y->vm_state_size
        ? -1 : x->vm_state_size < y->vm_state_size;
}

static int coroutine_fn expand_snapshots(BlockDriverState *bs, void *zeroes)
{
    const Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    int ret = 0;

    for (uint32_t i = 0; i < s->nb_snapshots; i++) {
        g_ptr_array_add(list, &g_array_index(s->snapshots, Qcow2Snapshot, i));
    }
    g_ptr_array_sort(list, compare_vm_states);
    for (guint i = 0; ret == 0 && i < list->len; i++) {
        const Qcow2Snapshot *sn = list->pdata[i];
        Walk w = { .bs = bs, .zeroes = zeroes, .end = end_of_snapshot(s, sn) };
        g_autofree uint64_t *l1 = qcow2_read_table(bs, sn->l1_offset,
                                                   sn->l1_size, &ret);

        if (l1) {
            ret = expand_l1(&w, l1, sn->l1_size);
        }
    }
    return ret;
}

int coroutine_fn qcow2_expand_zeroes(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    void *zeroes = bdrv_try_blockalign(bs->file->bs, s->cluster_size);
    Walk w = { .bs = bs, .zeroes = zeroes, .active = true, .end = s->size };
    int ret;

    if (!zeroes) {
        return -ENOMEM;
    }
    memset(zeroes, 0, s->cluster_size);
    g_assert(LIST_EMPTY(&s->ops)); /* else tables would change meanwhile */
    ret = s->broken ? -EIO : qcow2_apply_frees(bs);
    if (ret == 0) {
        ret = expand_l1(&w, s->l1, s->l1_size);
    }
    if (ret == 0) {
        ret = expand_snapshots(bs, zeroes);
    }
    if (ret == 0) {
        w.shared = true;
        ret = expand_l1(&w, s->l1, s->l1_size);
    }
    qemu_vfree(zeroes);
    return ret;
}
