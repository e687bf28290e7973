/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internal snapshots: creating, applying, deleting and reading them. */
#include "qemu/osdep.h"

#include "block/qcow2/image-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/snapshot-int.h"
#include "block/qcow2/switch-int.h"
#include "block/snapshot.h"

static Qcow2Snapshot *snapshot_at(const Qcow2State *s, unsigned index)
{
    return &g_array_index(s->snapshots, Qcow2Snapshot, index);
}

static GPtrArray *list(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    GPtrArray *all =
        g_ptr_array_new_with_free_func((GDestroyNotify)bdrv_snapshot_free);

    for (guint i = 0; i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = snapshot_at(s, i);
        BdrvSnapshot *out = g_new0(BdrvSnapshot, 1);

        out->id = g_strdup(sn->id);
        out->name = g_strdup(sn->name);
        out->vm_state_size = sn->vm_state_size;
        out->date_sec = sn->date_sec;
        out->date_nsec = sn->date_nsec;
        out->vm_clock_nsec = sn->vm_clock_nsec;
        out->icount = sn->icount;
        g_ptr_array_add(all, out);
    }
    return all;
}

/* The highest numeric ID plus one. */
static char *free_id(const Qcow2State *s)
{
    unsigned long highest = 0;

    for (guint i = 0; i < s->snapshots->len; i++) {
        unsigned long id = strtoul(snapshot_at(s, i)->id, NULL, 10);

        highest = id < ULONG_MAX ? MAX(highest, id) : highest;
    }
    return g_strdup_printf("%lu", highest + 1);
}

/* A damaged snapshot is not used, as its properties are unknown. */
static bool snapshot_is_good(BlockDriverState *bs, const Qcow2Snapshot *sn,
                             Error **errp)
{
    if (sn->damage) {
        error_setg(errp, "Snapshot '%s' of node '%s' is damaged: %s",
                   *sn->name ? sn->name : sn->id, bs->node_name, sn->damage);
        error_append_hint(errp, "'qemu-img check -r all' repairs or removes "
                          "it.\n");
        return false;
    }
    return true;
}

/* The table is rewritten only if all of it could be read. */
static bool table_is_good(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    const char *damage = s->snapshots_damage;

    for (guint i = 0; !damage && i < s->snapshots->len; i++) {
        const Qcow2Snapshot *sn = snapshot_at(s, i);

        damage = sn->inexact ? sn->damage : NULL;
    }
    if (damage) {
        error_setg(errp, "The snapshot table of node '%s' is damaged: %s",
                   bs->node_name, damage);
        error_append_hint(errp, "'qemu-img check -r all' repairs it.\n");
    }
    return !damage;
}

/* The L1 table of a snapshot, without flags; at least @need entries. */
static uint64_t *coroutine_fn read_l1(BlockDriverState *bs,
                                      const Qcow2Snapshot *sn, uint64_t need,
                                      int *ret, Error **errp)
{
    uint64_t *l1;

    if (!snapshot_is_good(bs, sn, errp)) {
        *ret = -EIO;
        return NULL;
    }
    if (sn->l1_size < need || need > QCOW2_MAX_L1_BYTES / 8 ||
        sn->disk_size > BDRV_MAX_LENGTH) {
        error_setg(errp, "Snapshot '%s' has an invalid L1 table", sn->name);
        *ret = -EIO;
        return NULL;
    }
    l1 = qcow2_read_table(bs, sn->l1_offset, sn->l1_size, ret);
    if (!l1) {
        error_setg_errno(errp, -*ret, "Could not read the L1 table of "
                         "snapshot '%s'", sn->name);
        return NULL;
    }
    for (uint32_t i = 0; i < sn->l1_size; i++) {
        l1[i] &= QCOW2_OFFSET_MASK;
    }
    return l1;
}

/* The clusters of an external data file have one place and no refcount. */
static bool check_external(BlockDriverState *bs, Error **errp)
{
    const Qcow2State *s = bs->opaque;

    if (s->external) {
        error_setg(errp, "Image of node '%s' cannot have internal snapshots, "
                   "as its data is in an external file", bs->node_name);
    }
    return !s->external;
}

/* Writes all caches and frees; no refcount stays lazy. */
static int coroutine_fn settle(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret = s->broken ? -EIO : qcow2_make_clean(bs);

    g_assert(LIST_EMPTY(&s->ops)); /* rule 11 */
    if (ret == 0 && s->pending_frees->len) {
        ret = -EBUSY;
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write back the metadata of "
                         "node '%s'", bs->node_name);
    }
    return ret;
}

/* --- creating --- */

/* Writes a machine's state to clusters that only the snapshot refers to. */
static int coroutine_fn put_vm_state(Qcow2Switch *sw, const void *vm_state,
                                     uint64_t bytes, uint64_t *l1_entry,
                                     Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    int64_t guest = (int64_t)sw->l1_size << (s->cluster_bits + s->l2_bits);
    uint64_t n = qcow2_clusters(s, bytes), offset;
    g_autofree uint64_t *l2 = g_new0(uint64_t, qcow2_l2_words(s));
    int ret;

    if (n > UINT64_C(1) << s->l2_bits) {
        error_setg(errp, "The machine's state is too large for the clusters "
                   "of the image");
        return -EFBIG;
    }
    ret = qcow2_switch_new_data(sw, vm_state, bytes, guest, &offset, errp);
    if (ret < 0) {
        return ret;
    }
    for (uint64_t i = 0; i < n; i++) {
        uint64_t *words = &l2[qcow2_l2_word(s, i)];

        words[0] = offset + (i << s->cluster_bits);
        if (s->extended_l2) {
            words[1] = UINT32_MAX; /* all subclusters are allocated */
        }
    }
    return qcow2_switch_new_table(sw, l2, qcow2_l2_words(s), l1_entry, errp);
}

/*
 * The snapshot's L1 table: the present disk, and after it the machine's state,
 * or without one what is there.
 */
static int coroutine_fn put_snapshot_l1(Qcow2Switch *sw, Qcow2Snapshot *sn,
                                        const void *vm_state, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    uint32_t n = sw->l1_size;
    g_autofree uint64_t *l1 = g_new0(uint64_t, n + 1);
    int ret = 0;

    for (uint32_t i = 0; i < n; i++) {
        l1[i] = s->l1[i] & QCOW2_OFFSET_MASK;
    }
    if (sn->vm_state_size) {
        ret = put_vm_state(sw, vm_state, sn->vm_state_size, &l1[n++], errp);
    }
    sn->l1_size = n;
    return ret < 0 ? ret
                   : qcow2_switch_new_table(sw, l1, n, &sn->l1_offset, errp);
}

static int coroutine_fn create_locked(Qcow2Switch *sw, Qcow2Snapshot *sn,
                                      const void *vm_state, Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    /* A machine's state replaces what is after the disk: that of one that was
     * loaded, for instance. */
    uint32_t n = sn->vm_state_size ? qcow2_l1_entries(s, s->size) : s->l1_size;
    g_autofree uint64_t *l1 = g_memdup2(s->l1, MAX(n, 1) * 8ULL);
    int ret;

    sw->l1 = l1;
    sw->l1_size = n;
    ret = qcow2_switch_refs(sw, (Qcow2L1){ s->l1, n }, (Qcow2L1){ 0 }, 1,
                            errp);
    if (ret == 0) {
        ret = qcow2_switch_refs(sw, (Qcow2L1){ s->l1 + n, s->l1_size - n },
                                (Qcow2L1){ 0 }, -1, errp);
    }
    if (ret == 0) {
        ret = qcow2_switch_check(sw, errp);
    }
    if (ret == 0) {
        ret = put_snapshot_l1(sw, sn, vm_state, errp);
    }
    if (ret == 0) {
        sw->snapshots = qcow2_copy_snapshots(s->snapshots, -1);
        g_array_append_val(sw->snapshots, *sn);
        memset(sn, 0, sizeof(*sn));
    } else {
        qcow2_switch_undo(sw);
    }
    return ret < 0 ? ret : qcow2_switch_commit(sw, errp);
}

static int coroutine_fn co_create(BlockDriverState *bs, BdrvSnapshot *sn,
                                  const void *vm_state, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Snapshot new = {
        .disk_size = s->size,
        .date_sec = sn->date_sec,
        .date_nsec = sn->date_nsec,
        .vm_clock_nsec = sn->vm_clock_nsec,
        .vm_state_size = sn->vm_state_size,
        .icount = sn->icount,
    };
    g_autofree char *id = NULL;
    Qcow2Switch sw;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    if (!check_external(bs, errp)) {
        return -ENOTSUP;
    }
    if (s->snapshots->len >= QCOW2_MAX_SNAPSHOTS) {
        error_setg(errp, "There can be no more than %d snapshots in an image",
                   QCOW2_MAX_SNAPSHOTS);
        return -EFBIG;
    }
    if (!table_is_good(bs, errp)) {
        return -EIO;
    }
    ret = settle(bs, errp);
    if (ret < 0) {
        return ret;
    }
    id = free_id(s);
    new.id = g_strdup(id);
    new.name = g_strdup(sn->name);
    qcow2_switch_init(&sw, bs);
    ret = create_locked(&sw, &new, vm_state, errp);
    qcow2_switch_free(&sw);
    g_free(new.id);
    g_free(new.name);
    if (ret == 0) {
        g_free(sn->id);
        sn->id = g_steal_pointer(&id);
    }
    return ret;
}

/* --- applying --- */

typedef int coroutine_fn SwitchFunc(Qcow2Switch *sw, unsigned index,
                                    Error **errp);

/* Runs @fn with the snapshot at @index, under the lock. */
static int coroutine_fn switch_to(BlockDriverState *bs, unsigned index,
                                  SwitchFunc *fn, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Switch sw;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    if (!check_external(bs, errp)) {
        return -ENOTSUP;
    }
    if (!snapshot_is_good(bs, snapshot_at(s, index), errp) ||
        !table_is_good(bs, errp)) {
        return -EIO;
    }
    ret = settle(bs, errp);
    if (ret == 0) {
        qcow2_switch_init(&sw, bs);
        ret = fn(&sw, index, errp);
        qcow2_switch_free(&sw);
    }
    return ret;
}

static int coroutine_fn goto_locked(Qcow2Switch *sw, unsigned index,
                                    Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    const Qcow2Snapshot *sn = snapshot_at(s, index);
    Qcow2L1 now = { s->l1, s->l1_size }, then;
    g_autofree uint64_t *l1 = NULL;
    int ret = 0;

    l1 = read_l1(sw->bs, sn, qcow2_l1_entries(s, sn->disk_size), &ret, errp);
    if (!l1) {
        return ret;
    }
    /* With what is after the disk. */
    then = (Qcow2L1){ l1, sn->l1_size };
    sw->l1 = l1;
    sw->l1_size = sn->l1_size;
    sw->size = sn->disk_size;
    ret = qcow2_switch_refs(sw, then, now, 1, errp);
    if (ret == 0) {
        ret = qcow2_switch_refs(sw, now, then, -1, errp);
    }
    if (ret < 0) {
        return ret;
    }
    sw->snapshots = qcow2_copy_snapshots(s->snapshots, -1);
    return qcow2_switch_commit(sw, errp);
}

static int coroutine_fn co_goto(BlockDriverState *bs, unsigned index,
                                Error **errp)
{
    return switch_to(bs, index, goto_locked, errp);
}

/* --- deleting --- */

static int coroutine_fn delete_locked(Qcow2Switch *sw, unsigned index,
                                      Error **errp)
{
    Qcow2State *s = sw->bs->opaque;
    const Qcow2Snapshot *sn = snapshot_at(s, index);
    g_autofree uint64_t *gone = NULL, *l1 = NULL;
    int ret = 0;

    gone = read_l1(sw->bs, sn, 0, &ret, errp);
    if (!gone) {
        return ret;
    }
    l1 = g_memdup2(s->l1, MAX(s->l1_size, 1) * 8ULL);
    sw->l1 = l1;
    sw->l1_size = s->l1_size;
    ret = qcow2_switch_refs(sw, (Qcow2L1){ gone, sn->l1_size },
                            (Qcow2L1){ 0 }, -1, errp);
    if (ret < 0) {
        return ret;
    }
    qcow2_switch_release(sw, sn->l1_offset, sn->l1_size * 8ULL);
    sw->snapshots = qcow2_copy_snapshots(s->snapshots, index);
    return qcow2_switch_commit(sw, errp);
}

static int coroutine_fn co_delete(BlockDriverState *bs, unsigned index,
                                  Error **errp)
{
    return switch_to(bs, index, delete_locked, errp);
}

/* --- reading from a snapshot --- */

static int coroutine_fn co_load_tmp(BlockDriverState *bs, unsigned index,
                                    Error **errp)
{
    Qcow2State *s = bs->opaque;
    const Qcow2Snapshot *sn = snapshot_at(s, index);
    uint64_t *l1;
    int ret = 0;

    CO_MUTEX_GUARD(&s->lock);
    l1 = read_l1(bs, sn, qcow2_l1_entries(s, sn->disk_size), &ret, errp);
    if (!l1) {
        return ret;
    }
    g_free(s->l1);
    s->l1 = l1;
    s->l1_size = sn->l1_size;
    s->l1_offset = sn->l1_offset;
    s->size = sn->disk_size;
    qcow2_meta_forget(s);
    return 0;
}

/* Encrypted data is read by sectors. */
static int coroutine_fn read_whole_sectors(BlockDriverState *bs,
                                           int64_t offset, size_t bytes,
                                           void *buf)
{
    size_t whole = ROUND_UP(bytes, BDRV_SECTOR_SIZE);
    g_autofree void *copy = g_try_malloc(whole);
    int ret;

    if (!copy) {
        return -ENOMEM;
    }
    ret = qcow2_read_vm_area(bs, offset, whole, copy);
    memcpy(buf, copy, bytes);
    return ret;
}

static int coroutine_fn co_read_vm_state(BlockDriverState *bs, unsigned index,
                                         void *buf, size_t bytes, Error **errp)
{
    Qcow2State *s = bs->opaque;
    const Qcow2Snapshot *sn = snapshot_at(s, index);
    uint64_t start = qcow2_l1_entries(s, sn->disk_size), *old = s->l1;
    uint32_t old_size = s->l1_size;
    g_autofree uint64_t *l1 = NULL;
    int ret = 0;

    l1 = read_l1(bs, sn, start, &ret, errp);
    if (!l1) {
        return ret;
    }
    start <<= s->cluster_bits + s->l2_bits;
    if (bytes > sn->vm_state_size || bytes == 0 ||
        start + bytes > (uint64_t)sn->l1_size << (s->cluster_bits +
                                                  s->l2_bits)) {
        error_setg(errp, "Snapshot '%s' has no machine's state of %zu bytes",
                   sn->name, bytes);
        return -EINVAL;
    }
    /* No other request uses the table: the node is drained. */
    s->l1 = l1;
    s->l1_size = sn->l1_size;
    ret = read_whole_sectors(bs, start, bytes, buf);
    s->l1 = old;
    s->l1_size = old_size;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the machine's state of "
                         "snapshot '%s'", sn->name);
    }
    return ret;
}

static bool possible(BlockDriverState *bs)
{
    const Qcow2State *s = bs->opaque;

    return !s->external;
}

const BdrvSnapshotOps qcow2_snapshot_ops = {
    .list = list,
    .possible = possible,
    .co_create = co_create,
    .co_goto = co_goto,
    .co_delete = co_delete,
    .co_load_tmp = co_load_tmp,
    .co_read_vm_state = co_read_vm_state,
    .co_vm_state_pread = qcow2_co_vm_state_pread,
    .co_vm_state_pwrite = qcow2_co_vm_state_pwrite,
};
