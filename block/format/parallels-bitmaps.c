/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps of Parallels images, which a "format extension" has: a cluster
 * of sections, each with a magic number, flags and data ("Parallels Expandable
 * Image File Format", sections Format Extension and Dirty bitmaps feature).
 *
 * Such images can only be read here, so the bitmaps are loaded and not stored:
 * they have the identifier of the section as name, and are not persistent.
 * What is wrong with them does not concern the disk: it gives a warning, and a
 * bitmap whose bits are not known is inconsistent.
 */
#include "qemu/osdep.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/io.h"
#include "parallels-int.h"
#include "qemu/error.h"
#include "qemu/hbitmap.h"

#define EXTENSION_MAGIC UINT64_C(0xab234cef23dcea87)
#define EXTENSION_HEADER_BYTES 24
#define SECTION_BYTES 24
#define BITMAP_MAGIC UINT64_C(0x20385fae252cb34a)
#define BITMAP_BYTES 32            /* of its data, before the table */
#define NECESSARY 1                /* a flag of a section */
#define MAX_BITMAPS 64
#define MAX_BITS (INT64_C(1) << 32) /* of all */
#define ID_BYTES 16
#define NAME_BYTES 37              /* of an identifier as text */

typedef struct Extension {
    BlockDriverState *bs;
    const ParallelsPlace *place;
    uint8_t *raw; /* ->cluster bytes */
    BdrvDirtyBitmap *loaded[MAX_BITMAPS];
    unsigned n;
    int64_t bits; /* that the bitmaps may still have */
} Extension;

/* A section's data. */
typedef struct StoredBitmap {
    char name[NAME_BYTES];
    uint64_t sectors;
    uint64_t granularity; /* bytes */
    uint32_t entries;
    const uint8_t *table;
} StoredBitmap;

/* Frees @err. */
static void report(const Extension *x, const char *what, Error *err)
{
    warn_report("Node '%s': %s: %s", x->bs->node_name, what,
                error_get_pretty(err));
    error_free(err);
}

/* --- bits --- */

/* Is @sector the start of a cluster in a file of @length bytes? */
static bool is_cluster(const ParallelsPlace *p, uint64_t sector,
                       int64_t length)
{
    return sector <= INT64_MAX / BDRV_SECTOR_SIZE && sector >= p->data &&
           (sector - p->data) * BDRV_SECTOR_SIZE % p->cluster == 0 &&
           range_fits(sector * BDRV_SECTOR_SIZE, p->cluster, length);
}

/* What an entry says of [@offset, +@bytes) of the disk.  -EINVAL: nothing. */
static int load_part(const Extension *x, uint64_t entry, HBitmap *hb,
                     int64_t offset, int64_t bytes)
{
    int64_t length = bdrv_getlength(x->bs->file->bs);
    g_autofree uint8_t *buf = NULL;
    int ret;

    if (entry == 0) {
        return 0;
    }
    if (entry == 1) {
        hbitmap_set(hb, offset, bytes);
        return 0;
    }
    if (length < 0) {
        return length;
    }
    if (!is_cluster(x->place, entry, length)) {
        return -EINVAL;
    }
    buf = g_try_malloc(x->place->cluster);
    if (!buf) {
        return -ENOMEM;
    }
    ret = bdrv_pread(x->bs->file, entry * BDRV_SECTOR_SIZE, x->place->cluster,
                     buf);
    if (ret >= 0) {
        hbitmap_replace_part(hb, buf, offset, bytes);
    }
    return MIN(ret, 0);
}

static int load_bits(const Extension *x, const StoredBitmap *b, HBitmap *hb)
{
    int64_t size = b->sectors * BDRV_SECTOR_SIZE;
    int64_t span;
    int ret = 0;

    if (__builtin_mul_overflow(x->place->cluster * 8, b->granularity, &span)) {
        span = INT64_MAX;
    }
    for (uint32_t i = 0; ret == 0 && i < b->entries; i++) {
        int64_t offset = i * span;

        ret = load_part(x, ld64_le(b->table + i * 8ULL), hb, offset,
                        MIN(span, size - offset));
    }
    return ret;
}

/* --- one bitmap --- */

static void read_name(const uint8_t *id, char *name)
{
    for (int i = 0; i < ID_BYTES; i++) {
        name += sprintf(name, "%s%02x",
                        i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                        id[i]);
    }
}

static bool parse_bitmap(const Extension *x, const uint8_t *data,
                         uint32_t bytes, StoredBitmap *b, Error **errp)
{
    uint64_t disk = x->bs->total_bytes / BDRV_SECTOR_SIZE, bits, expected;

    if (bytes < BITMAP_BYTES) {
        error_setg(errp, "it has %" PRIu32 " bytes, fewer than %d", bytes,
                   BITMAP_BYTES);
        return false;
    }
    b->sectors = ld64_le(data);
    read_name(data + 8, b->name);
    b->granularity = ld32_le(data + 24) * (uint64_t)BDRV_SECTOR_SIZE;
    b->entries = ld32_le(data + 28);
    b->table = data + BITMAP_BYTES;
    if (b->sectors != disk) {
        error_setg(errp, "it is for %" PRIu64 " sectors, and the disk has %"
                   PRIu64, b->sectors, disk);
        return false;
    }
    if (!is_power_of_2(b->granularity) || b->granularity > 2 * GiB) {
        error_setg(errp, "its granularity of %" PRIu64 " bytes is not valid",
                   b->granularity);
        return false;
    }
    bits = DIV_ROUND_UP(x->bs->total_bytes, b->granularity);
    expected = DIV_ROUND_UP(bits, x->place->cluster * 8);
    if (bits > x->bits) {
        error_setg(errp, "it has %" PRIu64 " bits, with which the image has "
                   "too many", bits);
        return false;
    }
    if (b->entries != expected ||
        b->entries > (bytes - BITMAP_BYTES) / 8) {
        error_setg(errp, "its table of %" PRIu32 " entries should have %"
                   PRIu64 ", within %" PRIu32 " bytes", b->entries, expected,
                   bytes);
        return false;
    }
    return true;
}

/*
 * A bitmap with this name may be there from when the image was opened before.
 * If the image has two, nobody knows which one counts.
 */
static bool make_room(const Extension *x, const char *name, Error **errp)
{
    BdrvDirtyBitmap *old = bdrv_dirty_bitmap_find(x->bs, name);

    for (unsigned i = 0; i < x->n; i++) {
        if (x->loaded[i] == old) {
            error_setg(errp, "there are two bitmaps '%s'", name);
            bdrv_dirty_bitmap_distrust(old, BITMAP_INCONSISTENCY_DAMAGED);
            return false;
        }
    }
    if (old && !bdrv_dirty_bitmap_busy(old)) {
        bdrv_dirty_bitmap_release(old);
    }
    return true;
}

/* False: there is no such bitmap. */
static bool load_bitmap(Extension *x, const uint8_t *data, uint32_t bytes,
                        Error **errp)
{
    BdrvDirtyBitmap *bitmap;
    StoredBitmap b;
    int ret;

    if (x->n == MAX_BITMAPS) {
        error_setg(errp, "there are more than %d", MAX_BITMAPS);
        return false;
    }
    if (!parse_bitmap(x, data, bytes, &b, errp)) {
        return false;
    }
    bitmap = make_room(x, b.name, errp)
        ? bdrv_dirty_bitmap_new(x->bs, b.granularity, b.name, errp) : NULL;
    if (!bitmap) {
        return false;
    }
    x->loaded[x->n++] = bitmap;
    x->bits -= DIV_ROUND_UP(x->bs->total_bytes, b.granularity);
    ret = load_bits(x, &b, bdrv_dirty_bitmap_bits(bitmap));
    if (ret < 0) {
        warn_report("Bitmap '%s' of node '%s' is inconsistent: %s", b.name,
                    x->bs->node_name, ret == -EINVAL ? "its table is damaged"
                                                     : g_strerror(-ret));
        bdrv_dirty_bitmap_set_inconsistent(
            bitmap, ret == -EINVAL ? BITMAP_INCONSISTENCY_DAMAGED
                                   : BITMAP_INCONSISTENCY_IO_ERROR);
    } else if (x->place->in_use != PARALLELS_CLOSED) {
        warn_report("Bitmap '%s' of node '%s' is inconsistent: the image was "
                    "not closed by a program that keeps it", b.name,
                    x->bs->node_name);
        bdrv_dirty_bitmap_set_inconsistent(
            bitmap, x->place->in_use == PARALLELS_IN_USE
                ? BITMAP_INCONSISTENCY_CRASH
                : BITMAP_INCONSISTENCY_FOREIGN_WRITE);
    }
    return true;
}

/* --- sections --- */

/* The section at *@at, which is moved to the next one.  False: that was the
 * last one that can be found. */
static bool read_section(Extension *x, uint64_t *at, Error **errp)
{
    const uint8_t *section = x->raw + *at;
    uint64_t room = x->place->cluster - *at, magic;
    uint32_t bytes;
    Error *err = NULL;

    if (room < SECTION_BYTES) {
        error_setg(errp, "it has no end");
        return false;
    }
    magic = ld64_le(section);
    bytes = ld32_le(section + 16);
    if (magic == 0) {
        return false;
    }
    if (bytes > room - SECTION_BYTES) {
        error_setg(errp, "a section of %" PRIu32 " bytes goes beyond it",
                   bytes);
        return false;
    }
    if (magic == BITMAP_MAGIC) {
        if (!load_bitmap(x, section + SECTION_BYTES, bytes, &err)) {
            report(x, "A bitmap could not be loaded", err);
        }
    } else if (ld64_le(section + 8) & NECESSARY) {
        warn_report("Node '%s': unknown section %#" PRIx64 " of the format "
                    "extension, which is marked as necessary",
                    x->bs->node_name, magic);
    }
    *at += SECTION_BYTES + ROUND_UP((uint64_t)bytes, 8);
    return *at <= x->place->cluster;
}

static bool read_extension(Extension *x, Error **errp)
{
    const ParallelsPlace *p = x->place;
    int64_t length = bdrv_getlength(x->bs->file->bs);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_MD5);
    uint8_t digest[16];
    gsize n = sizeof(digest);
    int ret;

    if (length < 0 || !is_cluster(p, p->extension, length)) {
        error_setg(errp, "it is not at a cluster of the file");
        return false;
    }
    x->raw = g_try_malloc(p->cluster);
    ret = x->raw ? bdrv_pread(x->bs->file, p->extension * BDRV_SECTOR_SIZE,
                              p->cluster, x->raw)
                 : -ENOMEM;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "it could not be read");
        return false;
    }
    g_checksum_update(sum, x->raw + EXTENSION_HEADER_BYTES,
                      p->cluster - EXTENSION_HEADER_BYTES);
    g_checksum_get_digest(sum, digest, &n);
    if (ld64_le(x->raw) != EXTENSION_MAGIC) {
        error_setg(errp, "it has no magic number");
        return false;
    }
    if (memcmp(digest, x->raw + 8, sizeof(digest))) {
        error_setg(errp, "its checksum is wrong");
        return false;
    }
    return true;
}

void parallels_load_bitmaps(BlockDriverState *bs, const ParallelsPlace *place)
{
    Extension x = {.bs = bs, .place = place, .bits = MAX_BITS};
    uint64_t at = EXTENSION_HEADER_BYTES;
    Error *err = NULL;

    if (read_extension(&x, &err)) {
        while (read_section(&x, &at, &err)) {
            /* the next one */
        }
    }
    if (err) {
        report(&x, "Bitmaps are not known, as the format extension is damaged",
               err);
    }
    g_free(x.raw);
}
