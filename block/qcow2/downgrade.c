/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Making an image fit for version 2: what that lacks is refused, or becomes
 * something else that reads the same.
 *
 * Zero clusters become data, or unallocated where nothing shows below.  In the
 * tables of snapshots that is done in place, one table after the other, so that
 * snapshots that share a table go on to do so: new clusters with zeroes, which
 * have as many references as the table; then the table; then old clusters lose
 * theirs.  At each moment the image is a valid one of version 3.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/crypt-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/io-int.h"
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

/* --- the disk --- */

/* Makes zero clusters data, or unallocated if that reads the same. */
static int coroutine_fn replace_zeroes(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, void *zeroes)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    if (!qcow2_has_backing(bs)) {
        Qcow2Op op;

        co_mutex_lock(&s->lock);
        qcow2_op_begin(bs, &op, offset, bytes);
        ret = qcow2_drop_clusters(bs, offset,
                                  ROUND_UP(bytes, s->cluster_size),
                                  s->discard_request);
        qcow2_op_end(&op);
        co_mutex_unlock(&s->lock);
        return ret;
    }
    while (ret >= 0 && bytes > 0) {
        int64_t n = MIN(bytes, s->cluster_size);
        QEMUIOVector qiov;

        qemu_iovec_init_buf(&qiov, zeroes, n);
        ret = qcow2_co_pwritev(bs, offset, n, &qiov, 0, 0);
        offset += n;
        bytes -= n;
    }
    return ret;
}

static int coroutine_fn expand_disk(BlockDriverState *bs, void *zeroes)
{
    Qcow2State *s = bs->opaque;
    Qcow2Map map;
    int ret = 0;

    for (int64_t pos = 0; ret >= 0 && pos < s->size; pos += map.bytes) {
        ret = qcow2_co_map(bs, pos, s->size - pos, &map);
        if (ret == 0 && (map.type == QCOW2_ZERO_PLAIN ||
                         map.type == QCOW2_ZERO_ALLOC)) {
            ret = replace_zeroes(bs, pos, map.bytes, zeroes);
        }
    }
    return ret;
}

/* --- snapshots --- */

/* An L2 table of snapshots. */
typedef struct SnapshotL2 {
    BlockDriverState *bs;
    uint64_t offset; /* in the file */
    int64_t guest;   /* what it maps begins here */
    uint64_t refs;
    uint64_t *words;
    void *zeroes;    /* a cluster */
    GArray *new_clusters; /* uint64_t: to be freed on failure */
    GArray *old_clusters; /* to be freed in the end */
} SnapshotL2;

/* Once for each reference of the table. */
static void coroutine_fn free_clusters(SnapshotL2 *t, GArray *clusters)
{
    const Qcow2State *s = t->bs->opaque;

    for (guint i = 0; i < clusters->len; i++) {
        uint64_t offset = g_array_index(clusters, uint64_t, i);
        uint64_t count = 0, n = 0;

        /* Of a new one fewer may have been added. */
        if (qcow2_get_refcount(t->bs, offset >> s->cluster_bits,
                               &count) == 0) {
            n = MIN(count, t->refs);
        }
        while (n-- > 0) {
            qcow2_free_now(t->bs, offset, s->cluster_size);
        }
    }
}

/* *@host: a new cluster with zeroes. */
static int coroutine_fn new_zeroes(SnapshotL2 *t, int64_t guest,
                                   uint64_t *host)
{
    Qcow2State *s = t->bs->opaque;
    QEMUIOVector qiov;
    uint64_t count;
    int ret = qcow2_alloc_run(t->bs, 1, 1, host, &count);

    if (ret < 0) {
        return ret;
    }
    g_array_append_val(t->new_clusters, *host);
    s->high_water = MAX(s->high_water, *host + s->cluster_size);
    for (uint64_t i = 1; ret == 0 && i < t->refs; i++) {
        ret = qcow2_update_refcount(t->bs, *host, s->cluster_size, 1);
    }
    if (ret == 0 && s->crypt) {
        qemu_iovec_init_buf(&qiov, t->zeroes, s->cluster_size);
        ret = qcow2_crypt_pwritev(t->bs, *host, guest, s->cluster_size, &qiov,
                                  0);
    } else if (ret == 0) {
        ret = bdrv_co_pwrite_zeroes(t->bs->file, *host, s->cluster_size,
                                    BDRV_REQ_MAY_UNMAP);
    }
    return ret;
}

/* Replaces the zero clusters in memory; *@found: there were some.  Whether data
 * is shared is not said in tables of snapshots. */
static int coroutine_fn replace_in_table(SnapshotL2 *t, bool *found)
{
    Qcow2State *s = t->bs->opaque;
    int ret = 0;

    for (uint64_t i = 0; ret == 0 && i < UINT64_C(1) << s->l2_bits; i++) {
        Qcow2Type type = qcow2_type_of(s, t->words[i]);
        uint64_t old = t->words[i] & QCOW2_OFFSET_MASK;

        if (type == QCOW2_INVALID) {
            ret = -EIO;
        }
        if (type != QCOW2_ZERO_PLAIN && type != QCOW2_ZERO_ALLOC) {
            continue;
        }
        *found = true;
        t->words[i] = 0;
        if (qcow2_has_backing(t->bs)) {
            ret = new_zeroes(t, t->guest + (i << s->cluster_bits),
                             &t->words[i]);
        }
        if (type == QCOW2_ZERO_ALLOC) {
            g_array_append_val(t->old_clusters, old);
        }
    }
    return ret;
}

/* In place, after all that it refers to. */
static int coroutine_fn write_in_place(const SnapshotL2 *t)
{
    Qcow2State *s = t->bs->opaque;
    int ret = qcow2_write_metadata(t->bs);
    uint8_t *buf = bdrv_try_blockalign(t->bs->file->bs, s->cluster_size);

    if (ret == 0) {
        ret = buf ? qcow2_flush_file(t->bs) : -ENOMEM;
    }
    if (ret == 0) {
        ret = qcow2_check_overlap(t->bs, t->offset, s->cluster_size,
                                  QCOW2_OVERLAP_INACTIVE_L2);
    }
    if (ret == 0) {
        for (int64_t i = 0; i < s->cluster_size / 8; i++) {
            st64_be(buf + i * 8, t->words[i]);
        }
        ret = bdrv_pwrite(t->bs->file, t->offset, s->cluster_size, buf);
        /* A table may be cached that the disk had before. */
        qcow2_cache_forget(s->l2_cache, t->offset, s->cluster_size);
        if (ret >= 0) {
            ret = qcow2_flush_file(t->bs);
        }
        /* If it may have been written, neither old nor new is free. */
        s->broken |= ret < 0;
    }
    qemu_vfree(buf);
    return MIN(ret, 0);
}

static int coroutine_fn expand_table(SnapshotL2 *t)
{
    Qcow2State *s = t->bs->opaque;
    bool found = false;
    int ret = qcow2_get_refcount(t->bs, t->offset >> s->cluster_bits,
                                 &t->refs);

    if (ret < 0) {
        return ret;
    }
    t->words = qcow2_read_table(t->bs, t->offset, qcow2_l2_words(s), &ret);
    if (!t->words) {
        return ret;
    }
    t->new_clusters = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    t->old_clusters = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    ret = t->refs ? replace_in_table(t, &found) : -EIO;
    if (ret == 0 && found) {
        ret = write_in_place(t);
    }
    if (!s->broken) {
        free_clusters(t, ret < 0 ? t->new_clusters : t->old_clusters);
    }
    g_array_unref(t->new_clusters);
    g_array_unref(t->old_clusters);
    g_clear_pointer(&t->words, g_free);
    return ret;
}

/* All tables of a snapshot; under the lock. */
static int coroutine_fn expand_snapshot(BlockDriverState *bs,
                                        const Qcow2Snapshot *sn, void *zeroes)
{
    const Qcow2State *s = bs->opaque;
    int ret = 0;
    g_autofree uint64_t *l1 = qcow2_read_table(bs, sn->l1_offset, sn->l1_size,
                                               &ret);

    for (uint32_t i = 0; l1 && ret == 0 && i < sn->l1_size; i++) {
        SnapshotL2 t = {
            .bs = bs,
            .offset = l1[i] & QCOW2_OFFSET_MASK,
            .guest = (int64_t)i << (s->l2_bits + s->cluster_bits),
            .zeroes = zeroes,
        };

        if (t.offset && qcow2_in_cluster(s, t.offset)) {
            ret = -EIO;
        } else if (t.offset) {
            ret = expand_table(&t);
        }
    }
    return ret;
}

int coroutine_fn qcow2_expand_zeroes(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    void *zeroes = bdrv_try_blockalign(bs->file->bs, s->cluster_size);
    int ret;

    if (!zeroes) {
        return -ENOMEM;
    }
    memset(zeroes, 0, s->cluster_size);
    ret = expand_disk(bs, zeroes);
    co_mutex_lock(&s->lock);
    if (ret >= 0) {
        ret = qcow2_apply_frees(bs);
    }
    for (uint32_t i = 0; ret >= 0 && i < s->nb_snapshots; i++) {
        ret = expand_snapshot(bs, &g_array_index(s->snapshots, Qcow2Snapshot,
                                                 i), zeroes);
    }
    co_mutex_unlock(&s->lock);
    qemu_vfree(zeroes);
    return ret;
}
