/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stored bitmaps that cannot be used, or not safely.
 *
 * A bitmap is sound if all clusters to which it refers are in the file, belong
 * to no other structure of the image and to no other bitmap, and are allocated
 * once.  What is not sound is listed, but never used, changed or freed: its
 * clusters may have something else.  Those that are free are not allocated
 * ("claims"), or later the bitmap could seem to own the data of others.
 *
 * Whether the clusters hold data of the disk as well, only a check can find.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/overlap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* A table that is larger is not read. */
#define MAX_TABLE_BYTES (64 * MiB)

/* --- the clusters of a bitmap --- */

/* A range of the file to which a bitmap refers; false ends the walk. */
typedef bool coroutine_mixed_fn UseFn(void *opaque, Qcow2Bitmap *b,
                                      const char *what, uint64_t offset,
                                      uint64_t bytes);

/* How many bytes of the cluster for entry @i of the table have bits? */
static uint64_t bytes_of_bits(const Qcow2State *s, const Qcow2Bitmap *b,
                              uint32_t i)
{
    uint64_t size = qcow2_bitmap_is_ahead(b) ? (uint64_t)b->covered
                                             : (uint64_t)s->size;
    uint64_t bits = DIV_ROUND_UP(size, UINT64_C(1) << b->granularity_bits);
    uint64_t all = DIV_ROUND_UP(bits, 8), before = (uint64_t)i
                                                   << s->cluster_bits;

    return before < all ? MIN(all - before, (uint64_t)s->cluster_size)
                        : (uint64_t)s->cluster_size;
}

/* The table and all clusters with bits; stops where @b is damaged. */
static void coroutine_mixed_fn walk(BlockDriverState *bs, Qcow2Bitmap *b,
                                    UseFn *use, void *opaque)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint64_t *table = NULL;
    Error *err = NULL;
    bool go_on;

    if (b->damage || b->rest) {
        return;
    }
    if (b->table_size > MAX_TABLE_BYTES / 8) {
        qcow2_bitmap_damaged(b, "its table (%" PRIu32 " entries) is too large",
                             b->table_size);
        return;
    }
    if (!use(opaque, b, "table", b->table_offset, b->table_size * 8ULL)) {
        return;
    }
    table = qcow2_bitmap_read_table(bs, b, &b->unreadable, &err);
    if (!table) {
        qcow2_bitmap_damaged(b, "%s", error_get_pretty(err));
        error_free(err);
    }
    go_on = table != NULL;
    for (uint32_t i = 0; go_on && i < b->table_size; i++) {
        uint64_t offset = table[i] & QCOW2_OFFSET_MASK;

        go_on = !offset ||
                use(opaque, b, "bits", offset, bytes_of_bits(s, b, i));
    }
}

/* --- where they are --- */

typedef struct Examine {
    BlockDriverState *bs;
    uint64_t file_end;
    GHashTable *owners; /* number of a cluster -> Qcow2Bitmap * */
} Examine;

static bool coroutine_mixed_fn has_place(void *opaque, Qcow2Bitmap *b,
                                         const char *what, uint64_t offset,
                                         uint64_t bytes)
{
    const Examine *e = opaque;
    const char *other = NULL;

    if (!range_fits(offset, bytes, e->file_end)) {
        qcow2_bitmap_damaged(b, "its %s at %#" PRIx64 " exceeds the end of "
                             "the file", what, offset);
    } else if (!qcow2_find_metadata(e->bs, offset, bytes, &other)) {
        b->unreadable = true;
        qcow2_bitmap_damaged(b, "the image's tables could not be read");
    } else if (other) {
        qcow2_bitmap_damaged(b, "its %s at %#" PRIx64 " is the image's %s",
                             what, offset, other);
    }
    return !b->damage;
}

/* Of two that share a cluster, none is known to be right. */
static bool coroutine_mixed_fn is_own(void *opaque, Qcow2Bitmap *b,
                                      const char *what, uint64_t offset,
                                      uint64_t bytes)
{
    const Examine *e = opaque;
    const Qcow2State *s = e->bs->opaque;
    uint64_t last = (offset + bytes - 1) >> s->cluster_bits;

    for (uint64_t i = offset >> s->cluster_bits; i <= last; i++) {
        gpointer key = (gpointer)(uintptr_t)i;
        Qcow2Bitmap *other = g_hash_table_lookup(e->owners, key);

        if (other) {
            qcow2_bitmap_damaged(b, "its %s at %#" PRIx64 " is used by bitmap "
                                 "'%s', too", what, offset, other->name);
            qcow2_bitmap_damaged(other, "its cluster at %#" PRIx64 " is used "
                                 "by bitmap '%s', too",
                                 i << s->cluster_bits, b->name);
            return false;
        }
        g_hash_table_insert(e->owners, key, b);
    }
    return true;
}

static void each(BlockDriverState *bs, GPtrArray *dir, UseFn *use,
                 void *opaque)
{
    for (guint i = 0; i < dir->len; i++) {
        walk(bs, dir->pdata[i], use, opaque);
    }
}

/* Bytes of the entries that the header counts, up to the first damage of the
 * directory's structure. */
static uint64_t sound_bytes(const GPtrArray *dir)
{
    uint64_t bytes = 0;

    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        if (b->rest || b->uncounted) {
            break;
        }
        bytes += b->raw_size;
    }
    return bytes;
}

/* The directory's own place: another structure that is there is right. */
static bool coroutine_mixed_fn examine_place(BlockDriverState *bs,
                                             const GPtrArray *dir,
                                             const char **other)
{
    Qcow2State *s = bs->opaque;
    uint64_t bytes = sound_bytes(dir);

    s->bitmap_dir_free = false;
    s->bitmap_dir_own = 0; /* it is not to be found itself */
    if (bytes && !qcow2_find_metadata(bs, s->bitmaps.dir_offset, bytes,
                                      other)) {
        return false;
    }
    s->bitmap_dir_own = *other ? 0 : bytes;
    return true;
}

static void damage_all(GPtrArray *dir, const char *why)
{
    for (guint i = 0; i < dir->len; i++) {
        qcow2_bitmap_damaged(dir->pdata[i], "%s", why);
    }
}

bool qcow2_bitmap_fits(const Qcow2State *s, const Qcow2Bitmap *b)
{
    int64_t size = qcow2_bitmap_is_ahead(b) ? b->covered
                                            : qcow2_bitmap_disk_size(s);

    return b->granularity_bits < 63 &&
           size >> b->granularity_bits >> 3 <= QCOW2_MAX_BITMAP_BYTES &&
           b->table_size == qcow2_bitmap_table_entries(size,
                                                       b->granularity_bits,
                                                       s->cluster_bits);
}

/* Of those that are in use and not ahead, the disk may have been resized. */
static void examine_sizes(const Qcow2State *s, GPtrArray *dir)
{
    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];

        if (qcow2_bitmap_usable(b) && !qcow2_bitmap_fits(s, b) &&
            (!(b->flags & QCOW2_BITMAP_IN_USE) || qcow2_bitmap_is_ahead(b))) {
            qcow2_bitmap_damaged(b, "the size of its table (%" PRIu32
                                 " entries) does not fit the disk",
                                 b->table_size);
        }
    }
}

void coroutine_mixed_fn qcow2_bitmaps_examine(BlockDriverState *bs,
                                              GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    int64_t len = bdrv_getlength(bs->file->bs);
    Examine e = { .bs = bs, .file_end = MAX(len, 0) };
    const char *other = NULL;

    if (!s->bitmaps.dir_size) {
        return;
    }
    if (len < 0 || !examine_place(bs, dir, &other)) {
        damage_all(dir, "the image's tables could not be read");
        return;
    }
    if (other) {
        g_autofree char *why = g_strdup_printf("the bitmap directory is where "
                                               "the image's %s is", other);

        damage_all(dir, why);
        return;
    }
    examine_sizes(s, dir);
    each(bs, dir, has_place, &e);
    e.owners = g_hash_table_new(NULL, NULL);
    each(bs, dir, is_own, &e);
    g_hash_table_destroy(e.owners);
}

/* --- are they allocated? --- */

static int coroutine_mixed_fn counted_once(BlockDriverState *bs,
                                           uint64_t offset, uint64_t bytes,
                                           uint64_t *count)
{
    const Qcow2State *s = bs->opaque;
    uint64_t last = (offset + bytes - 1) >> s->cluster_bits;
    int ret = 0;

    *count = 1;
    for (uint64_t i = offset >> s->cluster_bits;
         ret == 0 && *count == 1 && i <= last; i++) {
        ret = qcow2_get_refcount(bs, i, count);
    }
    return ret;
}

/* What cannot be read says nothing against it. */
static bool coroutine_mixed_fn is_allocated(void *opaque, Qcow2Bitmap *b,
                                            const char *what, uint64_t offset,
                                            uint64_t bytes)
{
    uint64_t count;

    if (counted_once(opaque, offset, bytes, &count) == 0 && count != 1) {
        qcow2_bitmap_damaged(b, "its %s at %#" PRIx64 " has the refcount %"
                             PRIu64, what, offset, count);
    }
    return !b->damage;
}

void coroutine_mixed_fn qcow2_bitmaps_examine_counts(BlockDriverState *bs,
                                                     GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    uint64_t count;

    if (!s->bitmap_dir_own) {
        return;
    }
    if (counted_once(bs, s->bitmaps.dir_offset, s->bitmap_dir_own,
                     &count) == 0 && count != 1) {
        s->bitmap_dir_own = count ? 0 : s->bitmap_dir_own;
        s->bitmap_dir_free = true;
        damage_all(dir, "the bitmap directory is not allocated");
        return;
    }
    each(bs, dir, is_allocated, bs);
}

/* --- claims --- */

static void claim(GArray *claims, uint64_t offset, uint64_t bytes)
{
    Qcow2Free range = { offset, bytes, false };

    if (bytes && range_fits(offset, bytes, QCOW2_MAX_HOST_OFFSET)) {
        g_array_append_val(claims, range);
    }
}

/* As far as its table can be read. */
static void coroutine_mixed_fn claim_for(BlockDriverState *bs,
                                         const Qcow2Bitmap *b, GArray *claims)
{
    Qcow2State *s = bs->opaque;
    uint64_t bytes = b->table_size * 8ULL;
    g_autofree uint64_t *table = NULL;
    int ret;

    if (b->rest || !b->damage || bytes > MAX_TABLE_BYTES) {
        return;
    }
    claim(claims, b->table_offset, bytes);
    table = qcow2_read_table(bs, b->table_offset, b->table_size, &ret);
    for (uint32_t i = 0; table && i < b->table_size; i++) {
        uint64_t offset = table[i] & QCOW2_OFFSET_MASK;

        if (offset && !(table[i] & QCOW2_BITMAP_ENTRY_RESERVED)) {
            claim(claims, offset, s->cluster_size);
        }
    }
}

static int compare_claims(const void *a, const void *b)
{
    const Qcow2Free *x = a, *y = b;

    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Ascending ranges that do not overlap. */
static void merge_claims(GArray *claims)
{
    guint n = 0;

    g_array_sort(claims, compare_claims);
    for (guint i = 0; i < claims->len; i++) {
        Qcow2Free f = g_array_index(claims, Qcow2Free, i);
        Qcow2Free *last = n ? &g_array_index(claims, Qcow2Free, n - 1) : NULL;

        if (last && f.offset <= last->offset + last->bytes) {
            last->bytes = MAX(last->bytes, f.offset + f.bytes - last->offset);
        } else {
            g_array_index(claims, Qcow2Free, n++) = f;
        }
    }
    g_array_set_size(claims, n);
}

void coroutine_mixed_fn qcow2_bitmaps_claim(BlockDriverState *bs,
                                            const GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    GArray *claims = g_array_new(FALSE, FALSE, sizeof(Qcow2Free));

    if (s->bitmap_dir_free || s->bitmap_dir_own < s->bitmaps.dir_size) {
        claim(claims, s->bitmaps.dir_offset, s->bitmaps.dir_size);
    }
    for (guint i = 0; i < dir->len; i++) {
        claim_for(bs, dir->pdata[i], claims);
    }
    merge_claims(claims);
    g_clear_pointer(&s->bitmap_claims, g_array_unref);
    if (claims->len) {
        s->bitmap_claims = claims;
    } else {
        g_array_unref(claims);
    }
}

bool qcow2_bitmaps_claim_cluster(const Qcow2State *s, uint64_t cluster)
{
    uint64_t start = cluster << s->cluster_bits;
    guint low = 0, high = s->bitmap_claims->len;

    while (low < high) {
        guint mid = low + (high - low) / 2;
        const Qcow2Free *f = &g_array_index(s->bitmap_claims, Qcow2Free, mid);

        if (f->offset + f->bytes <= start) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low < s->bitmap_claims->len &&
           g_array_index(s->bitmap_claims, Qcow2Free, low).offset <
           start + s->cluster_size;
}
