/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading the bits of a stored bitmap: to load them, and to find whether they
 * can stay as they are for a bitmap in memory.
 */
#include "qemu/osdep.h"

#include "block/bitmap-regions.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/qcow2-int.h"
#include "qemu/aio.h"
#include "qemu/coroutine.h"
#include "qemu/notify.h"

#define READERS 4 /* requests at once */

/* --- reading --- */

typedef struct ReadBits {
    BlockDriverState *bs;
    const uint64_t *table;
    uint64_t n;    /* entries that are read */
    int64_t span;  /* bytes of disk for which a cluster has bits */
    int64_t size;  /* bytes of disk for which bits are taken */
    int64_t disk;
    int64_t align; /* bytes of disk of a word of bits */
    Qcow2BitmapPartFn *fn;
    void *opaque;
    uint64_t next; /* entry */
    int ret;
} ReadBits;

static int coroutine_fn read_entry(const ReadBits *r, uint64_t i, uint8_t *buf)
{
    const Qcow2State *s = r->bs->opaque;
    uint64_t offset = r->table[i] & QCOW2_OFFSET_MASK;
    Qcow2BitmapPart part = {
        .pos = i * r->span,
        .ones = !offset && (r->table[i] & 1),
    };
    int ret = 0;

    /* Only whole words are taken; their rest is zero. */
    part.bytes = MIN(r->span, r->size - part.pos);
    part.bytes = MIN(ROUND_UP(part.bytes, r->align), r->disk - part.pos);
    if (offset) {
        ret = bdrv_pread(r->bs->file, offset, s->cluster_size, buf);
        part.buf = buf;
    }
    return ret < 0 ? ret : r->fn(r->opaque, &part);
}

static void coroutine_fn reader(void *opaque)
{
    ReadBits *r = *(ReadBits **)opaque;
    const Qcow2State *s = r->bs->opaque;
    g_autofree uint8_t *buf = g_malloc(s->cluster_size);

    while (r->ret >= 0 && r->next < r->n) {
        int ret = read_entry(r, r->next++, buf);

        r->ret = MIN(r->ret, ret);
        notify_progress();
    }
}

static void coroutine_fn run_readers(void *opaque)
{
    ReadBits *r[READERS] = { opaque, opaque, opaque, opaque };

    co_run_all(reader, r, READERS, sizeof(r[0]));
}

int coroutine_mixed_fn qcow2_bitmap_read_bits(BlockDriverState *bs,
                                              const Qcow2Bitmap *b,
                                              const uint64_t *table,
                                              int64_t size,
                                              const HBitmap *hb,
                                              Qcow2BitmapPartFn *fn,
                                              void *opaque)
{
    const Qcow2State *s = bs->opaque;
    ReadBits r = {
        .bs = bs,
        .table = table,
        .span = (int64_t)s->cluster_size * 8 << b->granularity_bits,
        .disk = hbitmap_size(hb),
        .align = hbitmap_serialization_align(hb),
        .fn = fn,
        .opaque = opaque,
    };

    r.size = MIN(size, r.disk);
    r.n = MIN(b->table_size, DIV_ROUND_UP((uint64_t)r.size, (uint64_t)r.span));
    aio_run_co(bs->ctx, run_readers, &r);
    return r.ret;
}

/* --- comparing --- */

typedef struct Compare {
    const Qcow2State *s;
    const BdrvDirtyBitmap *bitmap;
    uint64_t excess; /* bits that are only stored */
    uint8_t *wanted; /* of a cluster, for compare_part() */
} Compare;

/* Counts the bits of @stored (NULL: all are set) that @wanted lacks; false: it
 * lacks bits itself. */
static bool covers(const uint8_t *stored, const uint8_t *wanted, size_t len,
                   uint64_t *excess)
{
    if (stored && !memcmp(stored, wanted, len)) {
        return true;
    }
    for (size_t i = 0; i < len; i += 8) {
        uint64_t a = stored ? ld64_le(stored + i) : UINT64_MAX;
        uint64_t b = ld64_le(wanted + i);

        if (b & ~a) {
            return false;
        }
        *excess += ctpop64(a & ~b);
    }
    return true;
}

/* Qcow2BitmapPartFn: -ERANGE if the stored bits do not cover the bitmap. */
static int compare_part(void *opaque, const Qcow2BitmapPart *part)
{
    Compare *c = opaque;
    const BdrvBitmapRegions *regions =
        qcow2_ahead_regions(&c->s->bitmap_store);
    size_t len = hbitmap_serialization_size(
        bdrv_dirty_bitmap_to_keep_bits(c->bitmap), part->pos, part->bytes);

    if (!part->buf && !part->ones) {
        return qcow2_bitmap_is_clean(c->bitmap, regions, part->pos,
                                     part->bytes) ? 0 : -ERANGE;
    }
    bdrv_dirty_bitmap_serialise_stored(c->bitmap, regions, c->wanted,
                                       part->pos, part->bytes);
    return covers(part->buf, c->wanted, len, &c->excess) ? 0 : -ERANGE;
}

bool coroutine_fn qcow2_bitmap_adopt_bits(BlockDriverState *bs, Qcow2Bitmap *b,
                                          const BdrvDirtyBitmap *bitmap,
                                          uint64_t *excess)
{
    Qcow2State *s = bs->opaque;
    int64_t size = bdrv_dirty_bitmap_size(bitmap);
    unsigned bits = ctz64(bdrv_dirty_bitmap_granularity(bitmap));
    Compare c = { .s = s, .bitmap = bitmap };
    g_autofree uint64_t *table = NULL;
    g_autofree uint8_t *wanted = NULL;

    if (!qcow2_bitmap_is_ahead(b) || !qcow2_bitmap_usable(b) ||
        b->granularity_bits != bits || b->covered != size ||
        bdrv_dirty_bitmap_stored_all(bitmap) || !qcow2_bitmap_fits(s, b)) {
        return false;
    }
    c.wanted = wanted = g_malloc(s->cluster_size);
    table = qcow2_bitmap_read_table(bs, b, NULL, NULL);
    if (!table ||
        qcow2_bitmap_read_bits(bs, b, table, size,
                               bdrv_dirty_bitmap_to_keep_bits(bitmap),
                               compare_part, &c) < 0 ||
        c.excess << bits > bdrv_bitmap_regions_default_max(size)) {
        return false;
    }
    *excess = c.excess << bits;
    b->table = g_steal_pointer(&table);
    return true;
}
