/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory of stored bitmaps as bytes: parsing and serialising. */
#include "qemu/osdep.h"

#include "block/bitmap-resume.h"
#include "block/qcow2/bitmap-int.h"

#define DIR_ENTRY_HEADER 24

void qcow2_bitmap_free(Qcow2Bitmap *b)
{
    if (b) {
        g_free(b->name);
        g_free(b->extra);
        g_free(b->table);
        g_free(b->reused);
        bdrv_bitmap_resume_free(b->resume);
        g_free(b->damage);
        g_free(b->raw);
        g_free(b);
    }
}

static void bitmap_free(void *b)
{
    qcow2_bitmap_free(b);
}

GPtrArray *qcow2_bitmap_dir_new(void)
{
    return g_ptr_array_new_with_free_func(bitmap_free);
}

static Qcow2Bitmap *bitmap_copy(const Qcow2Bitmap *b)
{
    Qcow2Bitmap *copy = g_memdup2(b, sizeof(*b));

    copy->name = g_strdup(b->name);
    copy->extra = g_memdup2(b->extra, b->extra_size);
    copy->damage = g_strdup(b->damage);
    copy->raw = g_memdup2(b->raw, b->raw_size);
    copy->resume = bdrv_bitmap_resume_copy(b->resume);
    copy->table = copy->reused = NULL;
    copy->stored = false;
    return copy;
}

GPtrArray *qcow2_bitmap_dir_copy(const GPtrArray *dir)
{
    GPtrArray *copy = qcow2_bitmap_dir_new();

    for (guint i = 0; i < dir->len; i++) {
        g_ptr_array_add(copy, bitmap_copy(dir->pdata[i]));
    }
    return copy;
}

size_t qcow2_bitmap_entry_size(size_t name_len, size_t extra_len)
{
    return ROUND_UP(DIR_ENTRY_HEADER + name_len + extra_len, 8);
}

void qcow2_bitmap_damaged(Qcow2Bitmap *b, const char *fmt, ...)
{
    va_list ap;

    if (!b->damage) {
        va_start(ap, fmt);
        b->damage = g_strdup_vprintf(fmt, ap);
        va_end(ap);
    }
}

/* --- parsing --- */

/* What the format says of every entry; other programs refuse the image. */
static void entry_check(Qcow2Bitmap *b, unsigned cluster_bits)
{
    if (b->table_size == 0 || b->table_size > QCOW2_MAX_BITMAP_TABLE ||
        !b->table_offset ||
        b->table_offset & ((UINT64_C(1) << cluster_bits) - 1) ||
        !range_fits(b->table_offset, (uint64_t)b->table_size * 8,
                    QCOW2_MAX_HOST_OFFSET)) {
        qcow2_bitmap_damaged(b, "its table (%" PRIu32 " entries at %#" PRIx64
                             ") is invalid", b->table_size, b->table_offset);
    } else if (b->granularity_bits < QCOW2_MIN_BITMAP_GRANULARITY_BITS ||
               b->granularity_bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS) {
        qcow2_bitmap_damaged(b, "its granularity (2^%u) is invalid",
                             b->granularity_bits);
    } else if (b->type != QCOW2_BITMAP_TYPE_DIRTY) {
        qcow2_bitmap_damaged(b, "its type, %u, is not known", b->type);
    } else if (b->flags & ~(uint32_t)QCOW2_BITMAP_FLAGS_KNOWN) {
        qcow2_bitmap_damaged(b, "its flags (%#" PRIx32 ") are not known",
                             b->flags);
    }
}

/* Its name, if it has one by which users can refer to it. */
static char *entry_name(const uint8_t *name, size_t len)
{
    return memchr(name, 0, len) ? NULL : g_strndup((const char *)name, len);
}

/* NULL: where the entry ends is not known, or there is none. */
static Qcow2Bitmap *entry_parse(const uint8_t *p, size_t len,
                                unsigned cluster_bits)
{
    Qcow2Bitmap *b;
    size_t name_len, extra_len, used;

    if (len < DIR_ENTRY_HEADER) {
        return NULL;
    }
    name_len = ld16_be(p + 18);
    extra_len = ld32_be(p + 20);
    if (name_len == 0 || name_len > BDRV_BITMAP_MAX_NAME || extra_len > len ||
        qcow2_bitmap_entry_size(name_len, extra_len) > len) {
        return NULL;
    }
    used = qcow2_bitmap_entry_size(name_len, extra_len);
    b = g_new0(Qcow2Bitmap, 1);
    b->table_offset = ld64_be(p);
    b->table_size = ld32_be(p + 8);
    b->flags = ld32_be(p + 12);
    b->type = p[16];
    b->granularity_bits = p[17];
    b->extra_size = extra_len;
    b->extra = g_memdup2(p + DIR_ENTRY_HEADER, extra_len);
    b->raw = g_memdup2(p, used);
    b->raw_size = used;
    b->name = entry_name(p + DIR_ENTRY_HEADER + extra_len, name_len);
    if (!b->name) {
        qcow2_bitmap_damaged(b, "its name is invalid");
    }
    entry_check(b, cluster_bits);
    return b;
}

/* A name for what has none; it may be taken. */
static char *placeholder(unsigned i)
{
    return g_strdup_printf("(damaged bitmap %u)", i);
}

/* Names say nothing of which of two entries is the true one. */
static void name_entries(GPtrArray *dir)
{
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    unsigned n = 1;

    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];
        Qcow2Bitmap *other = b->name ? g_hash_table_lookup(known, b->name)
                                     : NULL;

        if (other) {
            qcow2_bitmap_damaged(other, "its name is in the directory twice");
            qcow2_bitmap_damaged(b, "its name, '%s', is in the directory "
                                 "twice", b->name);
            g_clear_pointer(&b->name, g_free);
        } else if (b->name) {
            g_hash_table_insert(known, b->name, b);
        }
    }
    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];

        while (!b->name) {
            g_autofree char *name = placeholder(n++);

            if (!g_hash_table_contains(known, name)) {
                b->name = g_steal_pointer(&name);
                g_hash_table_insert(known, b->name, b);
            }
        }
    }
}

Qcow2Bitmap *qcow2_bitmap_new_rest(GPtrArray *dir, const uint8_t *raw,
                                   size_t size, uint32_t count)
{
    Qcow2Bitmap *b = g_new0(Qcow2Bitmap, 1);

    b->rest = true;
    b->raw = g_memdup2(raw, size);
    b->raw_size = size;
    b->rest_count = count;
    b->granularity_bits = 16;
    for (unsigned n = 1; !b->name; n++) {
        g_autofree char *name = placeholder(n);

        if (!qcow2_bitmap_dir_find(dir, name)) {
            b->name = g_steal_pointer(&name);
        }
    }
    g_ptr_array_add(dir, b);
    return b;
}

/* What follows the entries, or lacks. */
static void add_rest(GPtrArray *dir, const uint8_t *buf, size_t len,
                     size_t missing, uint32_t nb_bitmaps)
{
    uint32_t count = nb_bitmaps - MIN(dir->len, nb_bitmaps);

    if (len == 0 && missing == 0 && count == 0) {
        return;
    }
    count = MIN(missing ? MAX(count, 1) : count, QCOW2_MAX_BITMAPS);
    qcow2_bitmap_damaged(qcow2_bitmap_new_rest(dir, buf, len, count),
                         "the rest of the bitmap directory (%" PRIu32
                         " bitmaps; %zu bytes%s) cannot be read", count, len,
                         missing ? ", and what is past the end of the file"
                                 : "");
}

GPtrArray *qcow2_bitmap_dir_parse(const uint8_t *buf, size_t len,
                                  size_t missing, uint32_t nb_bitmaps,
                                  unsigned cluster_bits)
{
    GPtrArray *dir = qcow2_bitmap_dir_new();

    while (len > 0 && dir->len < QCOW2_MAX_BITMAPS) {
        Qcow2Bitmap *b = entry_parse(buf, len, cluster_bits);

        if (!b) {
            break;
        }
        if (dir->len >= nb_bitmaps) {
            b->uncounted = true;
            qcow2_bitmap_damaged(b, "it is not among the %" PRIu32 " that the "
                                 "header counts", nb_bitmaps);
        }
        g_ptr_array_add(dir, b);
        buf += b->raw_size;
        len -= b->raw_size;
    }
    name_entries(dir);
    add_rest(dir, buf, len, missing, nb_bitmaps);
    return dir;
}

/* --- serialising --- */

/* What is damaged stays as it is, but for its flags. */
static size_t entry_size(const Qcow2Bitmap *b)
{
    return b->damage ? b->raw_size
                     : qcow2_bitmap_entry_size(strlen(b->name), b->extra_size);
}

static void entry_serialise(const Qcow2Bitmap *b, uint8_t *p)
{
    size_t name_len = strlen(b->name);

    if (b->damage) {
        if (b->raw_size) {
            memcpy(p, b->raw, b->raw_size);
        }
        if (!b->rest) {
            st32_be(p + 12, b->flags);
        }
        return;
    }
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
}

uint8_t *qcow2_bitmap_dir_serialise(const GPtrArray *dir, size_t *len)
{
    uint8_t *buf, *p;

    *len = 0;
    for (guint i = 0; i < dir->len; i++) {
        *len += entry_size(dir->pdata[i]);
    }
    p = buf = g_malloc0(MAX(*len, 1));
    for (guint i = 0; i < dir->len; i++) {
        entry_serialise(dir->pdata[i], p);
        p += entry_size(dir->pdata[i]);
    }
    return buf;
}

uint32_t qcow2_bitmap_dir_count(const GPtrArray *dir)
{
    uint32_t count = 0;

    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        count += b->rest ? b->rest_count : !b->uncounted;
    }
    return count;
}

bool qcow2_bitmap_dir_unreadable(const GPtrArray *dir)
{
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        if (b->rest && b->unreadable) {
            return true;
        }
    }
    return false;
}

void qcow2_bitmap_dir_add(GPtrArray *dir, Qcow2Bitmap *b)
{
    guint i = dir->len;

    while (i > 0) {
        const Qcow2Bitmap *before = dir->pdata[i - 1];

        if (!before->rest && !before->uncounted) {
            break;
        }
        i--;
    }
    g_ptr_array_insert(dir, i, b);
}

bool qcow2_bitmap_usable(const Qcow2Bitmap *b)
{
    return !b->damage &&
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
