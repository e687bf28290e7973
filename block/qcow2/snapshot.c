/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: the table is read (their clusters are counted by checks,
 * and must be respected), never changed.
 */
#include "qemu/osdep.h"

#include "block/qcow2/qcow2-int.h"

#define SNAPSHOT_HEADER 40

static void snapshot_clear(void *opaque)
{
    Qcow2Snapshot *sn = opaque;

    g_free(sn->id);
    g_free(sn->name);
}

void qcow2_free_snapshots(Qcow2State *s)
{
    if (s->snapshots) {
        g_array_free(s->snapshots, TRUE);
        s->snapshots = NULL;
    }
}

static bool snapshot_check(const Qcow2State *s, const Qcow2Snapshot *sn,
                           uint32_t extra, unsigned index, Error **errp)
{
    if (extra > QCOW2_MAX_SNAPSHOT_EXTRA) {
        error_setg(errp, "Too much extra metadata in snapshot table entry %u",
                   index);
        return false;
    }
    if (qcow2_in_cluster(s, sn->l1_offset) ||
        sn->l1_size > QCOW2_MAX_L1_BYTES / 8 ||
        !range_fits(sn->l1_offset, (uint64_t)sn->l1_size * 8,
                    QCOW2_MAX_HOST_OFFSET)) {
        error_setg(errp, "L1 table of snapshot table entry %u is invalid",
                   index);
        return false;
    }
    return true;
}

/* Reads the entry at *@pos and moves it on. */
static bool coroutine_mixed_fn read_entry(BlockDriverState *bs, uint64_t *pos,
                                          unsigned index, Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint8_t head[SNAPSHOT_HEADER], disk_size[8];
    g_autofree uint8_t *rest = NULL;
    Qcow2Snapshot sn = { 0 };
    uint32_t id_len, name_len, extra;
    int ret = bdrv_pread(bs->file, *pos, sizeof(head), head, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read snapshot table");
        return false;
    }
    sn.l1_offset = ld64_be(head);
    sn.l1_size = ld32_be(head + 8);
    id_len = ld16_be(head + 12);
    name_len = ld16_be(head + 14);
    extra = ld32_be(head + 36);
    if (!snapshot_check(s, &sn, extra, index, errp)) {
        return false;
    }
    rest = g_malloc(id_len + name_len + 1);
    if (extra >= 16) {
        ret = bdrv_pread(bs->file, *pos + sizeof(head) + 8, 8, disk_size, 0);
        sn.disk_size = ld64_be(disk_size);
    }
    if (ret >= 0) {
        ret = bdrv_pread(bs->file, *pos + sizeof(head) + extra,
                         id_len + name_len, rest, 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read snapshot table");
        return false;
    }
    sn.id = g_strndup((char *)rest, id_len);
    sn.name = g_strndup((char *)rest + id_len, name_len);
    g_array_append_val(s->snapshots, sn);
    *pos += ROUND_UP(sizeof(head) + extra + id_len + name_len, 8);
    return true;
}

bool coroutine_mixed_fn qcow2_read_snapshots(BlockDriverState *bs,
                                             const Qcow2Header *h,
                                             Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint64_t pos = h->snapshots_offset;

    s->snapshots = g_array_new(FALSE, FALSE, sizeof(Qcow2Snapshot));
    g_array_set_clear_func(s->snapshots, snapshot_clear);
    s->snapshots_offset = h->snapshots_offset;
    for (unsigned i = 0; i < h->nb_snapshots; i++) {
        if (!read_entry(bs, &pos, i, errp)) {
            return false;
        }
        if (pos - h->snapshots_offset > QCOW2_MAX_SNAPSHOT_TABLE) {
            error_setg(errp, "Snapshot table is too large");
            return false;
        }
    }
    s->snapshots_bytes = pos - h->snapshots_offset;
    return true;
}
