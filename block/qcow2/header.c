/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header of an image and its extensions: decoding with all checks that
 * need no other part of the image, and writing.
 *
 * What changes together (flags, table pointers, bitmaps extension) is kept in
 * the first 512 bytes, so that one sector switches from old to new.
 */
#include "qemu/osdep.h"

#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

#define FEATURE_ENTRY 48 /* bytes: type, bit, name[46] */
#define EXTENSION_HEAD 8 /* bytes: magic, length */
#define CRYPT_BYTES 16 /* of that extension: offset, length */
/* A write of so many bytes is there as a whole, or not. */
#define ATOMIC_BYTES 512

static const struct {
    uint8_t type, bit;
    const char *name;
} features[] = {
    { 2, 60, "resumable jobs of bitmaps" },
    { 2, 61, "bitmaps of another disk" }, { 2, 62, "bitmaps ahead of data" },
    { 2, 63, "bitmap cut ends" },
    { 0, 0, "dirty bit" },          { 0, 1, "corrupt bit" },
    { 0, 2, "external data file" }, { 0, 3, "compression type" },
    { 0, 4, "extended L2 entries" }, { 1, 0, "lazy refcounts" },
    { 2, 0, "bitmaps" },            { 2, 1, "raw external data" },
};

static void header_decode(const uint8_t *p, Qcow2Header *h)
{
    *h = (Qcow2Header){
        .version = ld32_be(p + 4),
        .backing_offset = ld64_be(p + 8),
        .backing_size = ld32_be(p + 16),
        .cluster_bits = ld32_be(p + 20),
        .size = ld64_be(p + 24),
        .crypt_method = ld32_be(p + 32),
        .l1_size = ld32_be(p + 36),
        .l1_offset = ld64_be(p + 40),
        .reftable_offset = ld64_be(p + 48),
        .reftable_clusters = ld32_be(p + 56),
        .nb_snapshots = ld32_be(p + 60),
        .snapshots_offset = ld64_be(p + 64),
        .refcount_order = 4,
        .header_length = QCOW2_V2_HEADER_LENGTH,
    };
    if (h->version >= 3) {
        h->incompatible = ld64_be(p + 72);
        h->compatible = ld64_be(p + 80);
        h->autoclear = ld64_be(p + 88);
        h->refcount_order = ld32_be(p + 96);
        h->header_length = ld32_be(p + 100);
        h->compression_type = h->header_length > 104 ? p[104] : 0;
    }
}

void qcow2_header_encode(const Qcow2Header *h, uint8_t *p)
{
    st32_be(p, QCOW2_MAGIC);
    st32_be(p + 4, h->version);
    st64_be(p + 8, h->backing_offset);
    st32_be(p + 16, h->backing_size);
    st32_be(p + 20, h->cluster_bits);
    st64_be(p + 24, h->size);
    st32_be(p + 32, h->crypt_method);
    st32_be(p + 36, h->l1_size);
    st64_be(p + 40, h->l1_offset);
    st64_be(p + 48, h->reftable_offset);
    st32_be(p + 56, h->reftable_clusters);
    st32_be(p + 60, h->nb_snapshots);
    st64_be(p + 64, h->snapshots_offset);
    if (h->version >= 3) {
        st64_be(p + 72, h->incompatible);
        st64_be(p + 80, h->compatible);
        st64_be(p + 88, h->autoclear);
        st32_be(p + 96, h->refcount_order);
        st32_be(p + 100, h->header_length);
        p[104] = h->compression_type;
        memset(p + 105, 0, 7);
    }
}

/* What is wrong with a table that must be in the file at a cluster boundary? */
static const char *table_damage(uint64_t offset, uint64_t entries,
                                uint64_t entry_size, uint64_t max_bytes,
                                const Qcow2Header *h)
{
    if (entries > max_bytes / entry_size) {
        return "too large";
    }
    if ((offset & ((UINT64_C(1) << h->cluster_bits) - 1)) ||
        !range_fits(offset, entries * entry_size, QCOW2_MAX_HOST_OFFSET)) {
        return "offset invalid";
    }
    return NULL;
}

/* An image can be read without these; the damage is recorded. */
static void check_dispensable(Qcow2Header *h)
{
    uint64_t cluster = UINT64_C(1) << h->cluster_bits;

    h->reftable_damage = h->reftable_clusters == 0 ? "there is none" :
        h->reftable_offset == 0 ? "offset invalid" :
        table_damage(h->reftable_offset, h->reftable_clusters, cluster,
                     MAX(QCOW2_MAX_REFTABLE_BYTES, cluster), h);
    if (h->nb_snapshots) {
        /* The sizes of its entries are unknown: limit their number. */
        h->snapshots_damage = h->nb_snapshots > QCOW2_MAX_SNAPSHOTS
            ? "too large" : h->snapshots_offset == 0 ? "offset invalid"
            : table_damage(h->snapshots_offset, h->nb_snapshots, 40,
                           QCOW2_MAX_SNAPSHOT_TABLE, h);
    } else {
        /* Nothing is lost, but something has written to the header. */
        h->snapshots_damage = table_damage(h->snapshots_offset, 0, 40,
                                           QCOW2_MAX_SNAPSHOT_TABLE, h);
    }
}

static bool check_tables(Qcow2Header *h, Error **errp)
{
    uint64_t l2_bytes = UINT64_C(1) << (2 * h->cluster_bits -
                                        qcow2_entry_bits(h->incompatible));
    const char *damage = table_damage(h->l1_offset, h->l1_size, 8,
                                      QCOW2_MAX_L1_BYTES, h);

    check_dispensable(h);
    if (damage) {
        error_setg(errp, "Active L1 table %s", damage);
        return false;
    }
    if (h->size > BDRV_MAX_LENGTH ||
        DIV_ROUND_UP(h->size, l2_bytes) > INT_MAX) {
        error_setg(errp, "Image is too big");
        return false;
    }
    if (DIV_ROUND_UP(h->size, l2_bytes) > h->l1_size) {
        error_setg(errp, "L1 table is too small");
        return false;
    }
    if (h->size && !h->l1_offset) {
        error_setg(errp, "Active L1 table offset invalid");
        return false;
    }
    return true;
}

static bool check_compression(const Qcow2Header *h, Error **errp)
{
    bool marked = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;

    if (h->compression_type > 1) {
        error_setg(errp, "qcow2: unknown compression type: %u",
                   h->compression_type);
        return false;
    }
    if (marked != (h->compression_type != 0)) {
        error_setg(errp, "qcow2: Compression type incompatible feature bit "
                   "must %sbe set", marked ? "not " : "");
        return false;
    }
    return true;
}

static bool check_v3(const Qcow2Header *h, Error **errp)
{
    if (h->header_length < QCOW2_V3_MIN_HEADER_LENGTH) {
        error_setg(errp, "qcow2 header too short");
        return false;
    }
    if (h->header_length > (1U << h->cluster_bits)) {
        error_setg(errp, "qcow2 header exceeds cluster size");
        return false;
    }
    if (h->refcount_order > 6) {
        error_setg(errp, "Reference count entry width too large; may not "
                   "exceed 64 bits");
        return false;
    }
    if ((h->incompatible & QCOW2_INCOMPAT_EXTL2) &&
        h->cluster_bits < QCOW2_MIN_EXTL2_BITS) {
        error_setg(errp, "Extended L2 entries need clusters of at least %d "
                   "bytes, those of the image have %u",
                   1 << QCOW2_MIN_EXTL2_BITS, 1U << h->cluster_bits);
        return false;
    }
    return check_compression(h, errp);
}

bool qcow2_header_parse(const uint8_t *buf, size_t len, Qcow2Header *h,
                        Error **errp)
{
    if (len < QCOW2_HEADER_LENGTH || ld32_be(buf) != QCOW2_MAGIC) {
        error_setg(errp, "Image is not in qcow2 format");
        return false;
    }
    header_decode(buf, h);
    if (h->version < 2 || h->version > 3) {
        error_setg(errp, "Unsupported qcow2 version %" PRIu32, h->version);
        return false;
    }
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
        h->cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        error_setg(errp, "Unsupported cluster size: 2^%" PRIu32,
                   h->cluster_bits);
        return false;
    }
    if (h->version >= 3 && !check_v3(h, errp)) {
        return false;
    }
    if (h->crypt_method > QCOW2_CRYPT_LUKS) {
        error_setg(errp, "Unsupported encryption method %" PRIu32,
                   h->crypt_method);
        return false;
    }
    if (h->backing_offset &&
        (h->backing_offset < h->header_length ||
         !range_fits(h->backing_offset, 0, UINT64_C(1) << h->cluster_bits))) {
        error_setg(errp, "Invalid backing file offset");
        return false;
    }
    if (h->backing_offset &&
        (h->backing_size > QCOW2_MAX_BACKING_NAME ||
         !range_fits(h->backing_offset, h->backing_size,
                     UINT64_C(1) << h->cluster_bits))) {
        error_setg(errp, "Backing file name too long");
        return false;
    }
    return check_tables(h, errp);
}

/* Names @bits, incompatible features, by the image's feature name table
 * (@table, @len bytes; may be NULL); caller frees. */
static char *feature_names(uint64_t bits, const uint8_t *table, size_t len)
{
    GString *names = g_string_new(NULL);

    for (; table && len >= FEATURE_ENTRY; table += FEATURE_ENTRY,
         len -= FEATURE_ENTRY) {
        if (table[0] == 0 && table[1] < 64 && (bits >> table[1] & 1)) {
            g_string_append_printf(names, "%s%.46s", names->len ? ", " : "",
                                   (const char *)table + 2);
            bits &= ~(UINT64_C(1) << table[1]);
        }
    }
    if (bits) {
        g_string_append_printf(names, "%sUnknown incompatible feature: %"
                               PRIx64, names->len ? ", " : "", bits);
    }
    return g_string_free(names, FALSE);
}

void qcow2_free_extensions(Qcow2State *s)
{
    for (guint i = 0; s->extensions && i < s->extensions->len; i++) {
        g_free(g_array_index(s->extensions, Qcow2Extension, i).data);
    }
    if (s->extensions) {
        g_array_free(s->extensions, TRUE);
        s->extensions = NULL;
    }
    g_clear_pointer(&s->cuts, g_array_unref);
    g_clear_pointer(&s->notes, g_array_unref);
    g_clear_pointer(&s->resume_lost, g_array_unref);
    g_clear_pointer(&s->name_on_disk, g_free);
    g_clear_pointer(&s->data_name, g_free);
}

#define CUT_BYTES 16 /* index, reserved, end */
/* Bytes of the bitmaps extension, with its head. */
#define BITMAPS_EXTENSION 32

/*
 * The disk can be used without its bitmaps.  The extension, which has @bytes in
 * the file, stays as it is until they are removed.
 */
static void G_GNUC_PRINTF(4, 5) bitmaps_damaged(Qcow2State *s,
                                                const uint8_t *ext,
                                                size_t bytes,
                                                const char *fmt, ...)
{
    uint8_t whole[BITMAPS_EXTENSION] = { 0 };
    g_autofree char *why = NULL;
    va_list ap;

    va_start(ap, fmt);
    why = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_free(s->bitmaps_damage);
    s->bitmaps_damage = g_strconcat("bitmaps_ext: ", why, NULL);
    memcpy(whole, ext, bytes);
    if (bytes < sizeof(whole)) {
        st32_be(whole + 4, 0); /* it does not become valid when it is whole */
    }
    if (!s->bitmaps_raw) {
        s->bitmaps_raw = g_byte_array_new();
    }
    g_byte_array_append(s->bitmaps_raw, whole, sizeof(whole));
}

static void bitmaps_encode(const Qcow2BitmapExt *bitmaps, uint8_t *ext)
{
    st32_be(ext, QCOW2_EXT_BITMAPS);
    st32_be(ext + 4, BITMAPS_EXTENSION - EXTENSION_HEAD);
    st32_be(ext + 8, bitmaps->nb_bitmaps);
    st32_be(ext + 12, 0);
    st64_be(ext + 16, bitmaps->dir_size);
    st64_be(ext + 24, bitmaps->dir_offset);
}

static void parse_bitmaps_ext(Qcow2State *s, const uint8_t *ext, size_t room)
{
    const uint8_t *data = ext + EXTENSION_HEAD;
    size_t bytes = MIN(BITMAPS_EXTENSION, room);
    Qcow2BitmapExt new = s->bitmaps; /* it may have the records of jobs */

    if (!(s->autoclear & QCOW2_AUTOCLEAR_BITMAPS)) {
        /* Written by a program without support for bitmaps: they are stale. */
        warn_report("a program lacking bitmap support modified this file, so "
                    "all bitmaps are now considered inconsistent; some "
                    "clusters may be leaked, run 'qemu-img check -r' on the "
                    "image file to fix");
        return;
    }
    if (s->bitmaps.dir_size) {
        uint8_t first[BITMAPS_EXTENSION];

        bitmaps_encode(&s->bitmaps, first);
        s->bitmaps = (Qcow2BitmapExt){ 0 };
        s->bitmap_dir_own = 0;
        bitmaps_damaged(s, first, sizeof(first), "there are two of them");
    }
    if (s->bitmaps_raw) {
        bitmaps_damaged(s, ext, bytes, "there are two of them");
        return;
    }
    if (bytes < BITMAPS_EXTENSION ||
        ld32_be(ext + 4) != BITMAPS_EXTENSION - EXTENSION_HEAD) {
        bitmaps_damaged(s, ext, bytes, "Invalid extension length");
        return;
    }
    new.nb_bitmaps = ld32_be(data);
    new.dir_size = ld64_be(data + 8);
    new.dir_offset = ld64_be(data + 16);
    if (ld32_be(data + 4) != 0) {
        bitmaps_damaged(s, ext, bytes, "Reserved field is not zero");
    } else if (!new.dir_offset || qcow2_in_cluster(s, new.dir_offset)) {
        bitmaps_damaged(s, ext, bytes, "invalid bitmap directory offset");
    } else if (new.dir_size == 0 || new.dir_size > QCOW2_MAX_BITMAP_DIR ||
               !range_fits(new.dir_offset, new.dir_size,
                           QCOW2_MAX_HOST_OFFSET)) {
        bitmaps_damaged(s, ext, bytes, "bitmap directory size (%" PRIu64
                        ") is invalid or exceeds the maximum", new.dir_size);
    } else {
        s->bitmaps = new; /* the directory shows if there are so many */
        s->bitmap_dir_own = new.dir_size;
    }
}

/* An extension in another form is treated as absent. */
static void parse_cuts_ext(Qcow2State *s, const uint8_t *data, uint32_t len)
{
    if (len % CUT_BYTES) {
        s->autoclear &= ~QCOW2_AUTOCLEAR_CUTS;
        s->notes_damage = QCOW2_EXT_BITMAP_CUTS;
        return;
    }
    for (; len; data += CUT_BYTES, len -= CUT_BYTES) {
        Qcow2BitmapCut cut = { ld32_be(data), ld64_be(data + 8) };

        g_array_append_val(s->cuts, cut);
    }
}

/* An extension of this program, without which the disk can be used, is longer
 * than it can be: false if it is another one. */
static bool own_extension_cut(Qcow2State *s, uint32_t magic)
{
    static const uint8_t nothing[1];

    switch (magic) {
    case QCOW2_EXT_BITMAP_CUTS:
        parse_cuts_ext(s, nothing, sizeof(nothing));
        return true;
    case QCOW2_EXT_BITMAPS_AHEAD:
        qcow2_parse_notes(s, nothing, sizeof(nothing));
        return true;
    case QCOW2_EXT_BITMAPS_DISK:
        qcow2_parse_disk(s, nothing, sizeof(nothing));
        return true;
    default:
        return false;
    }
}

/* The volume with the keys of an image that is encrypted by LUKS. */
static bool parse_crypt_ext(Qcow2State *s, const uint8_t *data, uint32_t len,
                            Error **errp)
{
    uint64_t offset = len == CRYPT_BYTES ? ld64_be(data) : 0;
    uint64_t bytes = len == CRYPT_BYTES ? ld64_be(data + 8) : 0;

    if (s->crypt_method != QCOW2_CRYPT_LUKS) {
        error_setg(errp, "CRYPTO header extension only expected with LUKS "
                   "encryption method");
    } else if (len != CRYPT_BYTES) {
        error_setg(errp, "CRYPTO header extension size %" PRIu32 ", but "
                   "expected size %d", len, CRYPT_BYTES);
    } else if (qcow2_in_cluster(s, offset)) {
        error_setg(errp, "Encryption header offset '%" PRIu64 "' is not a "
                   "multiple of cluster size '%" PRId64 "'", offset,
                   s->cluster_size);
    } else if (!offset || !range_fits(offset, bytes, QCOW2_MAX_HOST_OFFSET)) {
        error_setg(errp, "Encryption header at %#" PRIx64 " (%" PRIu64
                   " bytes) cannot be there", offset, bytes);
    } else {
        s->crypt_offset = offset;
        s->crypt_bytes = bytes;
        return true;
    }
    return false;
}

static bool handle_extension(BlockDriverState *bs, uint32_t magic,
                             const uint8_t *data, uint32_t len, Error **errp)
{
    Qcow2State *s = bs->opaque;
    Qcow2Extension ext = { magic, len, NULL };

    switch (magic) {
    case QCOW2_EXT_BACKING_FORMAT:
        if (len >= 64) {
            error_setg(errp, "Backing file format name too long");
            return false;
        }
        g_free(bs->backing_format);
        bs->backing_format = g_strndup((const char *)data, len);
        return true;
    case QCOW2_EXT_FEATURES:
        return true; /* written again by every update */
    case QCOW2_EXT_BITMAP_CUTS:
        parse_cuts_ext(s, data, len);
        return true;
    case QCOW2_EXT_BITMAPS_AHEAD:
        qcow2_parse_notes(s, data, len);
        return true;
    case QCOW2_EXT_BITMAPS_DISK:
        qcow2_parse_disk(s, data, len);
        return true;
    case QCOW2_EXT_BITMAPS_RESUME:
        qcow2_parse_resume(s, data, len);
        return true;
    case QCOW2_EXT_CRYPTO:
        return parse_crypt_ext(s, data, len, errp);
    case QCOW2_EXT_DATA_FILE:
        g_free(s->data_name);
        s->data_name = g_strndup((const char *)data, len);
        return true;
    default:
        ext.data = g_memdup2(data, len);
        g_array_append_val(s->extensions, ext);
        return true;
    }
}

/* Names the unsupported features; @buf, @len: the extensions. */
static bool check_incompatible(const Qcow2Header *h, const uint8_t *buf,
                               size_t len, Error **errp)
{
    uint64_t unknown = h->incompatible & ~(uint64_t)QCOW2_INCOMPAT_KNOWN;
    const uint8_t *table = NULL;
    size_t pos = 0, table_len = 0;

    while (unknown && len - pos >= 8 && ld32_be(buf + pos)) {
        uint32_t ext_len = ld32_be(buf + pos + 4);

        if (ext_len > len - pos - 8) {
            break;
        }
        if (ld32_be(buf + pos) == QCOW2_EXT_FEATURES) {
            table = buf + pos + 8;
            table_len = ext_len;
        }
        pos += MIN(8 + ROUND_UP((size_t)ext_len, 8), len - pos);
    }
    if (unknown) {
        g_autofree char *names = feature_names(unknown, table, table_len);

        error_setg(errp, "Unsupported qcow2 feature(s): %s", names);
        return false;
    }
    return true;
}

bool coroutine_mixed_fn qcow2_read_extensions(BlockDriverState *bs,
                                              const Qcow2Header *h,
                                              Error **errp)
{
    Qcow2State *s = bs->opaque;
    size_t end = h->backing_offset ? h->backing_offset : s->cluster_size;
    size_t len = end - h->header_length, pos = 0;
    g_autofree uint8_t *buf = g_malloc0(len + 8);
    int ret = bdrv_pread(bs->file, h->header_length, len, buf);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read qcow2 header extensions");
        return false;
    }
    if (!check_incompatible(h, buf, len, errp)) {
        return false;
    }
    while (len - pos >= 8) {
        uint32_t magic = ld32_be(buf + pos);
        uint32_t ext_len = ld32_be(buf + pos + 4);

        s->header_bytes = h->header_length + pos + EXTENSION_HEAD;
        if (magic == QCOW2_EXT_END) {
            return true;
        }
        if (magic == QCOW2_EXT_BITMAPS) {
            /* It has this length, whatever it says. */
            parse_bitmaps_ext(s, buf + pos, len - pos);
            pos += MIN(BITMAPS_EXTENSION, len - pos);
            continue;
        }
        if (ext_len > len - pos - 8 && own_extension_cut(s, magic)) {
            break;
        }
        if (ext_len > len - pos - 8) {
            error_setg(errp, "Header extension too large");
            return false;
        }
        if (!handle_extension(bs, magic, buf + pos + 8, ext_len, errp)) {
            return false;
        }
        if (s->notes_damage) {
            break; /* what follows cannot be found */
        }
        pos += MIN(8 + ROUND_UP((size_t)ext_len, 8), len - pos);
    }
    s->header_bytes = end;
    return true;
}

/* --- writing --- */

static void put_extension(GByteArray *out, uint32_t magic, const void *data,
                          uint32_t len)
{
    static const uint8_t zeroes[8];
    uint8_t head[8];

    st32_be(head, magic);
    st32_be(head + 4, len);
    g_byte_array_append(out, head, 8);
    g_byte_array_append(out, data, len);
    g_byte_array_append(out, zeroes, ROUND_UP(len, 8) - len);
}

/*
 * As many names as fit in @room bytes.  Bits of this program are named only
 * where they are set, and then first.
 */
static void put_features(GByteArray *out, uint64_t autoclear, size_t room)
{
    uint8_t table[ARRAY_SIZE(features) * FEATURE_ENTRY] = { 0 };
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
        uint8_t *p = table + n * FEATURE_ENTRY;

        if ((features[i].type == 2 && features[i].bit >= 60 &&
             !(autoclear >> features[i].bit & 1)) ||
            EXTENSION_HEAD + (n + 1) * FEATURE_ENTRY > room) {
            continue;
        }
        p[0] = features[i].type;
        p[1] = features[i].bit;
        g_strlcpy((char *)p + 2, features[i].name, 46);
        n++;
    }
    if (n) {
        put_extension(out, QCOW2_EXT_FEATURES, table, n * FEATURE_ENTRY);
    }
}

static void put_cuts(GByteArray *out, const GArray *cuts)
{
    g_autoptr(GByteArray) ext = g_byte_array_new();

    for (guint i = 0; i < cuts->len; i++) {
        const Qcow2BitmapCut *cut = &g_array_index(cuts, Qcow2BitmapCut, i);
        uint8_t bytes[CUT_BYTES] = { 0 };

        st32_be(bytes, cut->index);
        st64_be(bytes + 8, cut->end);
        g_byte_array_append(ext, bytes, sizeof(bytes));
    }
    if (ext->len) {
        put_extension(out, QCOW2_EXT_BITMAP_CUTS, ext->data, ext->len);
    }
}

/* What is written of the header's extensions. */
typedef struct Extensions {
    const char *backing_format;
    guint notes; /* of safe bitmaps: so many, the first ones */
} Extensions;

/* All but the names of features. */
static void put_extensions(GByteArray *out, const Qcow2State *s,
                           const Qcow2Header *h, const Extensions *x)
{
    const char *backing_format = x->backing_format;


    if (backing_format && *backing_format) {
        put_extension(out, QCOW2_EXT_BACKING_FORMAT, backing_format,
                      strlen(backing_format));
    }
    if (h->data_name && *h->data_name) {
        put_extension(out, QCOW2_EXT_DATA_FILE, h->data_name,
                      strlen(h->data_name));
    }
    if (h->crypt_bytes) {
        uint8_t ext[CRYPT_BYTES];

        st64_be(ext, h->crypt_offset);
        st64_be(ext + 8, h->crypt_bytes);
        put_extension(out, QCOW2_EXT_CRYPTO, ext, sizeof(ext));
    }
    if (s && s->bitmaps_raw) {
        g_byte_array_append(out, s->bitmaps_raw->data, s->bitmaps_raw->len);
    } else if (s && s->bitmaps.dir_size) {
        uint8_t ext[BITMAPS_EXTENSION];

        bitmaps_encode(&s->bitmaps, ext);
        g_byte_array_append(out, ext, sizeof(ext));
    }
    if (s && (h->autoclear & QCOW2_AUTOCLEAR_AHEAD)) {
        qcow2_put_notes(out, s->notes, x->notes);
    }
    if (s && s->disk_known && (h->autoclear & QCOW2_AUTOCLEAR_DISK)) {
        uint8_t ext[QCOW2_DISK_BYTES];

        put_extension(out, QCOW2_EXT_BITMAPS_DISK, ext,
                      qcow2_encode_disk(&s->disk, ext));
    }
    if (s && (h->autoclear & QCOW2_AUTOCLEAR_CUTS)) {
        put_cuts(out, s->cuts);
    }
    if (s && (h->autoclear & QCOW2_AUTOCLEAR_RESUME)) {
        qcow2_put_resume(out, s);
    }
    for (guint i = 0; s && s->extensions && i < s->extensions->len; i++) {
        const Qcow2Extension *ext =
            &g_array_index(s->extensions, Qcow2Extension, i);
        put_extension(out, ext->magic, ext->data, ext->len);
    }
}

static GByteArray *build(Qcow2Header *h, const Qcow2State *s,
                         const Extensions *x, size_t limit)
{
    GByteArray *out = g_byte_array_new();
    size_t end = EXTENSION_HEAD;

    h->header_length = h->version >= 3 ? QCOW2_HEADER_LENGTH
                                       : QCOW2_V2_HEADER_LENGTH;
    g_byte_array_set_size(out, h->header_length);
    memset(out->data, 0, out->len);
    if (h->version >= 3 && s && s->unknown_fields) {
        g_byte_array_append(out, s->unknown_fields->data,
                            s->unknown_fields->len);
        h->header_length += s->unknown_fields->len;
    }
    put_extensions(out, s, h, x);
    if (h->version >= 3 && out->len + end <= limit) {
        put_features(out, h->autoclear, limit - out->len - end);
    }
    put_extension(out, QCOW2_EXT_END, "", 0);
    return out;
}

/*
 * The header and its extensions, in at most @limit bytes, so that a write
 * changes all of it or nothing: else what the extensions say might not be what
 * the header says.  The notes are omitted if there is no room: bitmaps then
 * report too much after a growth, are not kept safe (the last ones first), or
 * do not count for any other disk than that of the image.  What jobs have left
 * is the last, as nobody would see that it lacks.  Extensions of other
 * programs may need more than @limit.
 */
static GByteArray *build_within(Qcow2Header *h, const Qcow2State *s,
                                Extensions *x, size_t limit)
{
    GByteArray *out = build(h, s, x, limit);

    while (out->len > limit) {
        if (h->autoclear & QCOW2_AUTOCLEAR_CUTS) {
            h->autoclear &= ~QCOW2_AUTOCLEAR_CUTS;
        } else if (h->autoclear & QCOW2_AUTOCLEAR_AHEAD) {
            /* One more than that may go for nothing, as they are padded. */
            size_t entries = (out->len - limit) / 4;

            x->notes -= MIN(x->notes, MAX(entries, 2) - 1);
            if (x->notes == 0) {
                h->autoclear &= ~QCOW2_AUTOCLEAR_AHEAD;
            }
        } else if (h->autoclear & QCOW2_AUTOCLEAR_DISK) {
            h->autoclear &= ~QCOW2_AUTOCLEAR_DISK;
        } else if (h->autoclear & QCOW2_AUTOCLEAR_RESUME) {
            h->autoclear &= ~QCOW2_AUTOCLEAR_RESUME;
        } else {
            break;
        }
        g_byte_array_unref(out);
        out = build(h, s, x, limit);
    }
    return out;
}

/* Where a cluster is not larger, the name needs room in the same part. */
static size_t limit_for(size_t cluster_size, size_t name_len)
{
    return cluster_size > ATOMIC_BYTES ? ATOMIC_BYTES
                                       : cluster_size - name_len;
}

size_t qcow2_header_build(const Qcow2Header *header,
                          const char *backing_file,
                          const char *backing_format, uint8_t *buf,
                          size_t size)
{
    size_t name_len = backing_file ? strlen(backing_file) : 0;
    size_t limit = limit_for(size, name_len);
    Qcow2Header h = *header;
    Extensions x = { .backing_format = backing_format };
    g_autoptr(GByteArray) out = build_within(&h, NULL, &x, limit);

    if (name_len) {
        h.backing_offset = out->len + name_len <= ATOMIC_BYTES
            ? out->len : ATOMIC_BYTES;
        h.backing_size = name_len;
    }
    if (MAX(out->len, h.backing_offset + name_len) > size) {
        return 0;
    }
    qcow2_header_encode(&h, out->data);
    memcpy(buf, out->data, out->len);
    if (name_len) {
        memcpy(buf + h.backing_offset, backing_file, name_len);
    }
    return MAX(out->len, h.backing_offset + name_len);
}

/* --- updating --- */

/*
 * Where the name of the backing file is, or shall be: not where the header on
 * disk has something, as that is valid until the header is written.  0: there
 * is no such place.
 */
static uint64_t place_for_name(const Qcow2State *s, size_t used, size_t len)
{
    uint64_t end = s->name_offset + s->name_len;

    if (used + len <= ATOMIC_BYTES) {
        return used;
    }
    for (uint64_t at = ATOMIC_BYTES; at + len <= s->cluster_size;
         at += ATOMIC_BYTES) {
        if (at >= MAX(used, s->header_bytes) &&
            (at >= end || at + len <= s->name_offset)) {
            return at;
        }
    }
    return 0;
}

/* Writes the name to @at, behind the part that is atomic; durable. */
static int coroutine_mixed_fn write_name(BlockDriverState *bs, uint64_t at,
                                         size_t len)
{
    int ret = bdrv_pwrite(bs->file, at, len, bs->backing_file);

    return ret < 0 ? ret : qcow2_flush_file(bs);
}

static bool name_is_there(BlockDriverState *bs, size_t used)
{
    Qcow2State *s = bs->opaque;

    return s->name_on_disk && !strcmp(s->name_on_disk, bs->backing_file) &&
           s->name_offset >= ROUND_UP(used, ATOMIC_BYTES);
}

/* Sets the place of the name in @h, and puts it there. */
static int coroutine_mixed_fn place_name(BlockDriverState *bs, Qcow2Header *h,
                                         GByteArray *out)
{
    Qcow2State *s = bs->opaque;
    size_t len = bs->backing_file ? strlen(bs->backing_file) : 0;
    bool apart;

    if (len == 0) {
        return 0;
    }
    h->backing_size = len;
    if (name_is_there(bs, out->len)) {
        h->backing_offset = s->name_offset;
        return 0;
    }
    h->backing_offset = place_for_name(s, out->len, len);
    apart = h->backing_offset >= ATOMIC_BYTES;
    if (h->backing_offset == 0) {
        /* The cluster is too small for two names: not atomic. */
        h->backing_offset = out->len;
        if (out->len + len > s->cluster_size) {
            return -ENOSPC;
        }
    }
    if (!apart) {
        g_byte_array_append(out, (const uint8_t *)bs->backing_file, len);
        return 0;
    }
    return write_name(bs, h->backing_offset, len);
}

static int coroutine_mixed_fn write_header(BlockDriverState *bs,
                                           const GByteArray *out)
{
    Qcow2State *s = bs->opaque;
    size_t len = ROUND_UP(out->len, ATOMIC_BYTES);
    void *buf;
    int ret;

    if (len > s->cluster_size) {
        return -ENOSPC;
    }
    buf = bdrv_try_blockalign(bs->file->bs, len);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, len);
    memcpy(buf, out->data, out->len);
    ret = bdrv_pwrite(bs->file, 0, len, buf);
    qemu_vfree(buf);
    return MIN(ret, 0);
}

void qcow2_note_header(BlockDriverState *bs, const Qcow2Header *h,
                       size_t bytes)
{
    Qcow2State *s = bs->opaque;

    s->header_bytes = bytes;
    s->name_offset = h->backing_offset;
    s->name_len = h->backing_size;
    g_free(s->name_on_disk);
    s->name_on_disk = h->backing_offset ? g_strdup(bs->backing_file) : NULL;
}

int coroutine_mixed_fn qcow2_update_header(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    Qcow2Header h = {
        .version = s->version,
        .cluster_bits = s->cluster_bits,
        .size = s->growing ? s->old_size : s->size,
        .l1_size = s->l1_size,
        .l1_offset = s->l1_offset,
        .reftable_offset = s->rt_offset,
        .reftable_clusters = s->rt_clusters,
        .nb_snapshots = s->nb_snapshots,
        .snapshots_offset = s->snapshots_offset,
        .incompatible = s->incompatible,
        .compatible = s->compatible,
        .autoclear = (qcow2_has_bitmaps(s)
                      ? s->autoclear & QCOW2_AUTOCLEAR_KNOWN : 0) |
                     (s->data_raw ? QCOW2_AUTOCLEAR_RAW : 0),
        .refcount_order = s->refcount_order,
        .compression_type = s->compression_type,
        .crypt_method = s->crypt_method,
        .crypt_offset = s->crypt_offset,
        .crypt_bytes = s->crypt_bytes,
        .data_name = s->data_name,
    };
    size_t name_len = bs->backing_file ? strlen(bs->backing_file) : 0;
    Extensions x = { bs->backing_format, s->notes->len };
    g_autoptr(GByteArray) out = NULL;
    size_t used;
    int ret;

    if (s->notes->len == 0) {
        h.autoclear &= ~QCOW2_AUTOCLEAR_AHEAD; /* the extension was missing */
    }
    out = build_within(&h, s, &x, limit_for(s->cluster_size, name_len));
    used = out->len;
    ret = place_name(bs, &h, out);
    if (ret == 0) {
        qcow2_header_encode(&h, out->data);
        ret = write_header(bs, out);
    }
    if (ret == 0) {
        qcow2_note_header(bs, &h, used);
        s->noted = h.autoclear & QCOW2_AUTOCLEAR_AHEAD ? x.notes : 0;
    }
    return ret;
}

int coroutine_mixed_fn qcow2_set_incompatible(BlockDriverState *bs,
                                              uint64_t bits, bool on)
{
    Qcow2State *s = bs->opaque;
    uint64_t value = on ? s->incompatible | bits : s->incompatible & ~bits;
    uint8_t buf[8];
    int ret;

    if (value == s->incompatible || s->version < 3) {
        return 0;
    }
    /* The state on disk must match before the bit declares it. */
    ret = qcow2_flush_file(bs);
    if (ret < 0) {
        return ret;
    }
    st64_be(buf, value);
    ret = bdrv_pwrite_sync(bs->file, 72, sizeof(buf), buf);
    if (ret < 0) {
        return ret;
    }
    s->incompatible = value;
    return 0;
}
