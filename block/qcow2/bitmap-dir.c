/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of stored bitmaps as bytes: parsing and serialising. */
#include "qemu/osdep.h"

#include "block/qcow2/bitmap-int.h"

#define DIR_ENTRY_HEADER 24

void qcow2_bitmap_free(Qcow2Bitmap *b)
{
    if (b) {
        g_free(b->name);
        g_free(b->extra);
        g_free(b->table);
        g_free(b);
    }
}

static void bitmap_free(void *b)
{
    qcow2_bitmap_free(b);
}

size_t qcow2_bitmap_entry_size(size_t name_len, size_t extra_len)
{
    return ROUND_UP(DIR_ENTRY_HEADER + name_len + extra_len, 8);
}

/* Conditions for every entry, known or not. */
static bool entry_check(const Qcow2Bitmap *b, size_t name_len,
                        unsigned cluster_bits, Error **errp)
{
    if (name_len == 0 || name_len > BDRV_BITMAP_MAX_NAME) {
        error_setg(errp, "Bitmap name length %zu is invalid", name_len);
        return false;
    }
    if (b->table_size == 0 || b->table_size > QCOW2_MAX_BITMAP_TABLE ||
        !b->table_offset ||
        b->table_offset & ((UINT64_C(1) << cluster_bits) - 1) ||
        !range_fits(b->table_offset, (uint64_t)b->table_size * 8,
                    QCOW2_MAX_HOST_OFFSET)) {
        error_setg(errp, "Table of bitmap '%s' is invalid", b->name);
        return false;
    }
    if (b->granularity_bits > 63) {
        error_setg(errp, "Granularity of bitmap '%s' is invalid", b->name);
        return false;
    }
    return true;
}

static Qcow2Bitmap *entry_parse(const uint8_t *p, size_t len, size_t *used,
                                unsigned cluster_bits, Error **errp)
{
    Qcow2Bitmap *b;
    size_t name_len, extra_len;

    if (len < DIR_ENTRY_HEADER) {
        error_setg(errp, "Bitmap directory is cut short");
        return NULL;
    }
    name_len = ld16_be(p + 18);
    extra_len = ld32_be(p + 20);
    if (extra_len > len || name_len > len ||
        qcow2_bitmap_entry_size(name_len, extra_len) > len) {
        error_setg(errp, "Entry of the bitmap directory is too long");
        return NULL;
    }
    *used = qcow2_bitmap_entry_size(name_len, extra_len);
    b = g_new0(Qcow2Bitmap, 1);
    b->table_offset = ld64_be(p);
    b->table_size = ld32_be(p + 8);
    b->flags = ld32_be(p + 12);
    b->type = p[16];
    b->granularity_bits = p[17];
    b->extra_size = extra_len;
    b->extra = g_memdup2(p + DIR_ENTRY_HEADER, extra_len);
    b->name = g_strndup((const char *)p + DIR_ENTRY_HEADER + extra_len,
                        name_len);
    if (!entry_check(b, strlen(b->name), cluster_bits, errp)) {
        qcow2_bitmap_free(b);
        return NULL;
    }
    return b;
}

GPtrArray *qcow2_bitmap_dir_parse(const uint8_t *buf, size_t len,
                                  uint32_t nb_bitmaps, unsigned cluster_bits,
                                  Error **errp)
{
    g_autoptr(GPtrArray) dir = g_ptr_array_new_with_free_func(bitmap_free);

    while (len > 0) {
        Qcow2Bitmap *b;
        size_t used;

        if (dir->len == nb_bitmaps) {
            error_setg(errp, "Bitmap directory has more entries than the "
                       "header says (%" PRIu32 ")", nb_bitmaps);
            return NULL;
        }
        b = entry_parse(buf, len, &used, cluster_bits, errp);
        if (!b) {
            return NULL;
        }
        if (qcow2_bitmap_dir_find(dir, b->name)) {
            error_setg(errp, "Bitmap '%s' is in the directory twice", b->name);
            qcow2_bitmap_free(b);
            return NULL;
        }
        g_ptr_array_add(dir, b);
        buf += used;
        len -= used;
    }
    if (dir->len != nb_bitmaps) {
        error_setg(errp, "Bitmap directory has %u entries, the header says %"
                   PRIu32, dir->len, nb_bitmaps);
        return NULL;
    }
    return g_steal_pointer(&dir);
}

uint8_t *qcow2_bitmap_dir_serialise(const GPtrArray *dir, size_t *len)
{
    uint8_t *buf, *p;

    *len = 0;
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];
        *len += qcow2_bitmap_entry_size(strlen(b->name), b->extra_size);
    }
    p = buf = g_malloc0(*len);
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];
        size_t name_len = strlen(b->name);

        st64_be(p, b->table_offset);
        st32_be(p + 8, b->table_size);
        st32_be(p + 12, b->flags);
        p[16] = b->type;
        p[17] = b->granularity_bits;
        st16_be(p + 18, name_len);
        st32_be(p + 20, b->extra_size);
        if (b->extra_size) {
            memcpy(p + DIR_ENTRY_HEADER, b->extra, b->extra_size);
        }
        memcpy(p + DIR_ENTRY_HEADER + b->extra_size, b->name, name_len);
        p += qcow2_bitmap_entry_size(name_len, b->extra_size);
    }
    return buf;
}

bool qcow2_bitmap_usable(const Qcow2Bitmap *b)
{
    return b->type == QCOW2_BITMAP_TYPE_DIRTY &&
           !(b->flags & ~(uint32_t)QCOW2_BITMAP_FLAGS_KNOWN) &&
           b->granularity_bits >= QCOW2_MIN_BITMAP_GRANULARITY_BITS &&
           b->granularity_bits <= QCOW2_MAX_BITMAP_GRANULARITY_BITS &&
           (!b->extra_size || b->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE);
}

uint64_t qcow2_bitmap_table_entries(int64_t size, unsigned granularity_bits,
                                    unsigned cluster_bits)
{
    uint64_t bits = DIV_ROUND_UP((uint64_t)size,
                                 UINT64_C(1) << granularity_bits);

    /* A table has one entry at least, even for a disk of no bytes. */
    return MAX(1, DIV_ROUND_UP(bits, UINT64_C(8) << cluster_bits));
}

Qcow2Bitmap *qcow2_bitmap_dir_find(GPtrArray *dir, const char *name)
{
    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];

        if (!strcmp(b->name, name)) {
            return b;
        }
    }
    return NULL;
}
