/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of internal snapshots: reading, checking, encoding. */
#include "qemu/osdep.h"

#include "block/qcow2/qcow2-int.h"

#define SNAPSHOT_HEADER 40
#define SNAPSHOT_EXTRA 24 /* bytes of extra data that we know */

static void snapshot_clear(void *opaque)
{
    Qcow2Snapshot *sn = opaque;

    g_free(sn->id);
    g_free(sn->name);
    if (sn->unknown_extra) {
        g_bytes_unref(sn->unknown_extra);
    }
}

GArray *qcow2_new_snapshots(void)
{
    GArray *list = g_array_new(FALSE, TRUE, sizeof(Qcow2Snapshot));

    g_array_set_clear_func(list, snapshot_clear);
    return list;
}

GArray *qcow2_copy_snapshots(const GArray *list, int without)
{
    GArray *copy = qcow2_new_snapshots();

    for (guint i = 0; i < list->len; i++) {
        Qcow2Snapshot sn = g_array_index(list, Qcow2Snapshot, i);

        if ((int)i == without) {
            continue;
        }
        sn.id = g_strdup(sn.id);
        sn.name = g_strdup(sn.name);
        if (sn.unknown_extra) {
            g_bytes_ref(sn.unknown_extra);
        }
        g_array_append_val(copy, sn);
    }
    return copy;
}

void qcow2_free_snapshots(Qcow2State *s)
{
    if (s->snapshots) {
        g_array_free(s->snapshots, TRUE);
        s->snapshots = NULL;
    }
}

/* --- reading --- */

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

/* @head has SNAPSHOT_HEADER bytes. */
static void decode_header(const uint8_t *head, Qcow2Snapshot *sn)
{
    *sn = (Qcow2Snapshot){
        .l1_offset = ld64_be(head),
        .l1_size = ld32_be(head + 8),
        .date_sec = ld32_be(head + 16),
        .date_nsec = ld32_be(head + 20),
        .vm_clock_nsec = ld64_be(head + 24),
        .vm_state_size = ld32_be(head + 32),
        .icount = UINT64_MAX,
    };
}

/* The extra data; where it is short, the older meaning holds. */
static void decode_extra(const Qcow2State *s, const uint8_t *p, uint32_t len,
                         Qcow2Snapshot *sn)
{
    if (len >= 8) {
        sn->vm_state_size = ld64_be(p);
    }
    sn->disk_size = len >= 16 ? ld64_be(p + 8) : (uint64_t)s->size;
    if (len >= 24) {
        sn->icount = ld64_be(p + 16);
    }
    if (len > SNAPSHOT_EXTRA) {
        sn->unknown_extra = g_bytes_new(p + SNAPSHOT_EXTRA,
                                        len - SNAPSHOT_EXTRA);
    }
}

/* Reads the entry at *@pos and moves it on. */
static bool coroutine_mixed_fn read_entry(BlockDriverState *bs, uint64_t *pos,
                                          unsigned index, Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint8_t head[SNAPSHOT_HEADER];
    g_autofree uint8_t *rest = NULL;
    Qcow2Snapshot sn;
    uint32_t id_len, name_len, extra;
    int ret = bdrv_pread(bs->file, *pos, sizeof(head), head, 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read snapshot table");
        return false;
    }
    decode_header(head, &sn);
    id_len = ld16_be(head + 12);
    name_len = ld16_be(head + 14);
    extra = ld32_be(head + 36);
    if (!snapshot_check(s, &sn, extra, index, errp)) {
        return false;
    }
    rest = g_malloc(extra + id_len + name_len + 1);
    ret = bdrv_pread(bs->file, *pos + sizeof(head), extra + id_len + name_len,
                     rest, 0);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read snapshot table");
        return false;
    }
    decode_extra(s, rest, extra, &sn);
    sn.id = g_strndup((char *)rest + extra, id_len);
    sn.name = g_strndup((char *)rest + extra + id_len, name_len);
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

    s->snapshots = qcow2_new_snapshots();
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

/* --- writing --- */

static void encode_entry(GByteArray *out, const Qcow2Snapshot *sn)
{
    static const uint8_t zeroes[8];
    size_t id_len = strlen(sn->id), name_len = strlen(sn->name), unknown_len;
    const uint8_t *unknown = NULL;
    uint8_t p[SNAPSHOT_HEADER + SNAPSHOT_EXTRA];

    unknown_len = 0;
    if (sn->unknown_extra) {
        unknown = g_bytes_get_data(sn->unknown_extra, &unknown_len);
    }
    st64_be(p, sn->l1_offset);
    st32_be(p + 8, sn->l1_size);
    st16_be(p + 12, id_len);
    st16_be(p + 14, name_len);
    st32_be(p + 16, sn->date_sec);
    st32_be(p + 20, sn->date_nsec);
    st64_be(p + 24, sn->vm_clock_nsec);
    st32_be(p + 32, sn->vm_state_size <= UINT32_MAX ? sn->vm_state_size : 0);
    st32_be(p + 36, SNAPSHOT_EXTRA + unknown_len);
    st64_be(p + 40, sn->vm_state_size);
    st64_be(p + 48, sn->disk_size);
    st64_be(p + 56, sn->icount);
    g_byte_array_append(out, p, sizeof(p));
    if (unknown_len) {
        g_byte_array_append(out, unknown, unknown_len);
    }
    g_byte_array_append(out, (const uint8_t *)sn->id, id_len);
    g_byte_array_append(out, (const uint8_t *)sn->name, name_len);
    g_byte_array_append(out, zeroes, ROUND_UP(out->len, 8) - out->len);
}

uint8_t *qcow2_encode_snapshots(const GArray *list, size_t *bytes,
                                Error **errp)
{
    g_autoptr(GByteArray) out = g_byte_array_new();

    if (list->len > QCOW2_MAX_SNAPSHOTS) {
        error_setg(errp, "There can be no more than %d snapshots in an image",
                   QCOW2_MAX_SNAPSHOTS);
        return NULL;
    }
    for (guint i = 0; i < list->len; i++) {
        encode_entry(out, &g_array_index(list, Qcow2Snapshot, i));
    }
    if (out->len > QCOW2_MAX_SNAPSHOT_TABLE) {
        error_setg(errp, "Snapshot table is too large");
        return NULL;
    }
    *bytes = out->len;
    return out->len ? g_memdup2(out->data, out->len) : g_malloc0(1);
}
