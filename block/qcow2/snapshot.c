/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of internal snapshots: reading, checking, encoding. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/snapshot-int.h"

#define SNAPSHOT_HEADER 40
#define SNAPSHOT_EXTRA 24 /* bytes of known extra data */

static void snapshot_clear(void *opaque)
{
    Qcow2Snapshot *sn = opaque;

    g_free(sn->id);
    g_free(sn->name);
    g_free(sn->damage);
    if (sn->unknown_extra) {
        g_bytes_unref(sn->unknown_extra);
    }
}

/* An empty array of Qcow2Snapshot, which clears its elements. */
static GArray *new_snapshots(void)
{
    GArray *list = g_array_new(FALSE, TRUE, sizeof(Qcow2Snapshot));

    g_array_set_clear_func(list, snapshot_clear);
    return list;
}

GArray *qcow2_copy_snapshots(const GArray *list, int without)
{
    GArray *copy = new_snapshots();

    for (guint i = 0; i < list->len; i++) {
        Qcow2Snapshot sn = g_array_index(list, Qcow2Snapshot, i);

        if ((int)i == without) {
            continue;
        }
        sn.id = g_strdup(sn.id);
        sn.name = g_strdup(sn.name);
        sn.damage = g_strdup(sn.damage);
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

/* The state of reading the table, entry by entry. */
typedef struct Reader {
    BlockDriverState *bs;
    uint64_t pos;      /* in the file */
    uint64_t file_end; /* bytes */
    unsigned index;    /* of the entry */
} Reader;

/* The fixed part of an entry. */
typedef struct Head {
    uint8_t bytes[SNAPSHOT_HEADER];
    uint32_t id_len, name_len;
    uint32_t extra; /* bytes, according to the entry */
} Head;

static void G_GNUC_PRINTF(3, 4) damaged(Qcow2Snapshot *sn, bool dead,
                                        const char *fmt, ...)
{
    va_list ap;

    if (!sn->damage || dead > sn->dead) {
        va_start(ap, fmt);
        g_free(sn->damage);
        sn->damage = g_strdup_vprintf(fmt, ap);
        va_end(ap);
        sn->dead = dead;
    }
}

/* Is it usable?  @extra: bytes of extra data. */
static void snapshot_check(const Qcow2State *s, Qcow2Snapshot *sn,
                           uint32_t extra, uint64_t file_end)
{
    if (qcow2_in_cluster(s, sn->l1_offset)) {
        damaged(sn, true, "L1 table offset %#" PRIx64 " is not properly "
                "aligned", sn->l1_offset);
    } else if (sn->l1_size > QCOW2_MAX_L1_BYTES / 8) {
        damaged(sn, true, "L1 table of %" PRIu32 " entries is too large",
                sn->l1_size);
    } else if (sn->l1_size && (!sn->l1_offset ||
                               !range_fits(sn->l1_offset,
                                           (uint64_t)sn->l1_size * 8,
                                           ROUND_UP(file_end,
                                                    s->cluster_size)))) {
        damaged(sn, true, "L1 table at offset %#" PRIx64 " (%" PRIu32
                " entries) exceeds the end of the file", sn->l1_offset,
                sn->l1_size);
    } else if (extra >= 16 && (sn->disk_size > BDRV_MAX_LENGTH ||
                               qcow2_l1_entries(s, sn->disk_size) >
                               sn->l1_size)) {
        damaged(sn, true, "L1 table of %" PRIu32 " entries is too small for a "
                "disk of %" PRIu64 " bytes", sn->l1_size, sn->disk_size);
    }
}

static void decode_header(const Head *head, Qcow2Snapshot *sn)
{
    const uint8_t *p = head->bytes;

    *sn = (Qcow2Snapshot){
        .l1_offset = ld64_be(p),
        .l1_size = ld32_be(p + 8),
        .date_sec = ld32_be(p + 16),
        .date_nsec = ld32_be(p + 20),
        .vm_clock_nsec = ld64_be(p + 24),
        .vm_state_size = ld32_be(p + 32),
        .icount = UINT64_MAX,
    };
}

/*
 * The size of the disk if the entry has none: the present one, but no more than
 * the L1 table can map.  A rewritten entry contains it, so it must fit.
 */
static uint64_t size_without_extra(const Qcow2State *s, uint32_t l1_size)
{
    if (qcow2_l1_entries(s, s->size) <= l1_size) {
        return s->size;
    }
    return (uint64_t)l1_size << (s->l2_bits + s->cluster_bits);
}

/* Decodes the extra data; if it is short, older fields apply. */
static void decode_extra(const Qcow2State *s, const uint8_t *p, uint32_t len,
                         Qcow2Snapshot *sn)
{
    if (len >= 8) {
        sn->vm_state_size = ld64_be(p);
    }
    sn->disk_size = len >= 16 ? ld64_be(p + 8)
                              : size_without_extra(s, sn->l1_size);
    if (sn->disk_size <= BDRV_MAX_LENGTH) { /* else it is found damaged */
        sn->disk_size = ROUND_UP(sn->disk_size, BDRV_SECTOR_SIZE);
    }
    if (len >= 24) {
        sn->icount = ld64_be(p + 16);
    }
    if (len > SNAPSHOT_EXTRA && len <= QCOW2_MAX_SNAPSHOT_EXTRA) {
        sn->unknown_extra = g_bytes_new(p + SNAPSHOT_EXTRA,
                                        len - SNAPSHOT_EXTRA);
    }
}

/* Is there a number, as every ID is, after @extra bytes? */
static bool coroutine_mixed_fn id_is_there(const Reader *r, const Head *head,
                                           uint32_t extra)
{
    uint8_t id[20];

    if (!head->id_len || head->id_len > sizeof(id) ||
        !range_fits(r->pos, SNAPSHOT_HEADER + (uint64_t)extra + head->id_len +
                    head->name_len, r->file_end) ||
        bdrv_pread(r->bs->file, r->pos + SNAPSHOT_HEADER + extra,
                   head->id_len, id) < 0) {
        return false;
    }
    for (uint32_t i = 0; i < head->id_len; i++) {
        if (!g_ascii_isdigit(id[i])) {
            return false;
        }
    }
    return true;
}

/*
 * The length of the extra data of an entry.  If no ID follows the given length,
 * the usual lengths are tried.  False: unknown, and so is the place of the next
 * entry.
 */
static bool coroutine_mixed_fn find_extra(const Reader *r, const Head *head,
                                          uint32_t *extra)
{
    static const uint32_t usual[] = { SNAPSHOT_EXTRA, 16, 0 };

    *extra = head->extra;
    if (id_is_there(r, head, *extra)) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
        if (id_is_there(r, head, usual[i])) {
            *extra = usual[i];
            return true;
        }
    }
    return *extra <= QCOW2_MAX_SNAPSHOT_EXTRA;
}

static int coroutine_mixed_fn read_head(const Reader *r, Head *head)
{
    int ret = bdrv_pread(r->bs->file, r->pos, sizeof(head->bytes),
                         head->bytes);

    head->id_len = ld16_be(head->bytes + 12);
    head->name_len = ld16_be(head->bytes + 14);
    head->extra = ld32_be(head->bytes + 36);
    return MIN(ret, 0);
}

/* Never written, or something else: such a snapshot could not be named. */
static bool is_empty(const Head *head)
{
    return !head->id_len && !head->name_len;
}

/* Reads the part after the fixed one: @extra bytes, the ID, the name. */
static int coroutine_mixed_fn read_rest(const Reader *r, const Head *head,
                                        uint32_t extra, Qcow2Snapshot *sn)
{
    uint32_t known = MIN(extra, QCOW2_MAX_SNAPSHOT_EXTRA);
    uint32_t names = head->id_len + head->name_len;
    g_autofree uint8_t *rest = g_malloc(known + names + 1);
    uint64_t pos = r->pos + SNAPSHOT_HEADER;
    int ret = bdrv_pread(r->bs->file, pos, known, rest);

    if (ret >= 0) {
        ret = bdrv_pread(r->bs->file, pos + extra, names, rest + known);
    }
    if (ret < 0) {
        return ret;
    }
    decode_extra(r->bs->opaque, rest, extra, sn);
    sn->id = g_strndup((char *)rest + known, head->id_len);
    sn->name = g_strndup((char *)rest + known + head->id_len, head->name_len);
    if (extra != head->extra || extra > QCOW2_MAX_SNAPSHOT_EXTRA) {
        damaged(sn, false, "%" PRIu32 " bytes of extra data are wrong",
                head->extra);
        sn->inexact = true;
    }
    return 0;
}

/*
 * Reads the next entry.  0 and *@lost set: this and all further entries are
 * invalid.
 */
static int coroutine_mixed_fn read_entry(Reader *r, bool *lost)
{
    Qcow2State *s = r->bs->opaque;
    Qcow2Snapshot sn;
    uint64_t bytes = SNAPSHOT_HEADER;
    uint32_t extra;
    Head head;
    int ret;

    *lost = true;
    if (!range_fits(r->pos, bytes, r->file_end)) {
        return 0;
    }
    ret = read_head(r, &head);
    if (ret < 0 || is_empty(&head) || !find_extra(r, &head, &extra)) {
        return ret;
    }
    bytes += (uint64_t)extra + head.id_len + head.name_len;
    if (!range_fits(r->pos, bytes, r->file_end)) {
        return 0;
    }
    decode_header(&head, &sn);
    ret = read_rest(r, &head, extra, &sn);
    if (ret < 0) {
        return ret;
    }
    snapshot_check(s, &sn, extra, r->file_end);
    g_array_append_val(s->snapshots, sn);
    r->pos += ROUND_UP(bytes, 8);
    r->index++;
    *lost = false;
    return 0;
}

static void table_damaged(Qcow2State *s, const char *what)
{
    if (!s->snapshots_damage) {
        s->snapshots_damage = g_strdup(what);
    }
}

bool coroutine_mixed_fn qcow2_read_snapshots(BlockDriverState *bs,
                                             const Qcow2Header *h,
                                             Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t len = bdrv_getlength(bs->file->bs);
    Reader r = { .bs = bs, .pos = h->snapshots_offset, .file_end = len };
    bool lost = false;
    int ret = MIN(len, 0);

    s->snapshots = new_snapshots();
    s->snapshots_offset = h->snapshots_offset;
    s->nb_snapshots = h->nb_snapshots;
    if (h->snapshots_damage) {
        table_damaged(s, h->snapshots_damage);
        if (qcow2_in_cluster(s, r.pos) || r.pos > QCOW2_MAX_HOST_OFFSET ||
            !r.pos) {
            return true;
        }
    }
    while (ret == 0 && !lost &&
           r.index < MIN(h->nb_snapshots, QCOW2_MAX_SNAPSHOTS)) {
        ret = read_entry(&r, &lost);
        if (r.pos - h->snapshots_offset > QCOW2_MAX_SNAPSHOT_TABLE) {
            table_damaged(s, "too large");
            break;
        }
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to read snapshot table");
        return false;
    }
    if (lost) {
        g_autofree char *text = g_strdup_printf("entries from %u on are "
                                                "damaged", r.index);
        table_damaged(s, text);
    }
    s->snapshots_bytes = r.pos - h->snapshots_offset;
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
