/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comparison of the actual state with the model. */
#include "qemu/osdep.h"

#include "model.h"
#include "block/dirty-bitmap.h"

static void read_node(const char *name, uint8_t *buf)
{
    BlockDriverState *bs = bdrv_find_node(name);
    BlockBackend *blk;

    g_assert_nonnull(bs);
    blk = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                          &error_abort);
    g_assert_cmpint(blk_pread(blk, 0, MODEL_BYTES, buf, 0), ==, 0);
    blk_unref(blk);
}

static bool sector_is(const uint8_t *buf, int sector, uint8_t value)
{
    const uint8_t *p = buf + (size_t)sector * MODEL_SECTOR;

    return p[0] == value && !memcmp(p, p + 1, MODEL_SECTOR - 1);
}

static void compare(const char *what, const uint8_t *buf,
                    const uint8_t *disk)
{
    for (int i = 0; i < MODEL_SECTORS; i++) {
        if (!sector_is(buf, i, disk[i])) {
            g_error("sector %d of %s holds %d, should be %d", i, what,
                    buf[(size_t)i * MODEL_SECTOR], disk[i]);
        }
    }
}

static void check_disk(Model *m)
{
    g_autofree uint8_t *buf = g_malloc(MODEL_BYTES);

    g_assert_cmpint(blk_pread(m->guest, 0, MODEL_BYTES, buf, 0), ==, 0);
    compare("the disk", buf, m->disk);
}

void model_check_node(const char *name, const uint8_t *disk)
{
    g_autofree uint8_t *buf = g_malloc(MODEL_BYTES);

    read_node(name, buf);
    compare(name, buf, disk);
}

/* Is anything of @set in the granule that begins at @first? */
static bool any(const bool *set, int first, int n)
{
    return memchr(set + first, true, MIN(n, MODEL_SECTORS - first)) != NULL;
}

/*
 * Bits that must be set are set, and set bits may be; @left (may be NULL): too.
 */
static void check_bits(const char *name, const HBitmap *bits,
                       const bool *must, const bool *may, const bool *left)
{
    int n = hbitmap_granularity(bits) / MODEL_SECTOR;

    for (int i = 0; i < MODEL_SECTORS; i += n) {
        bool dirty = hbitmap_get(bits, (int64_t)i * MODEL_SECTOR);

        if (!dirty && any(must, i, n)) {
            g_error("bitmap '%s' has lost sectors at %d", name, i);
        }
        if (dirty && !any(may, i, n) && !(left && any(left, i, n))) {
            g_error("bitmap '%s' says sectors at %d changed", name, i);
        }
    }
}

static BdrvDirtyBitmap *find(const ModelBitmap *b)
{
    BlockDriverState *bs = bdrv_find_node(b->node);
    BdrvDirtyBitmap *bitmap = bs ? bdrv_dirty_bitmap_find(bs, b->name) : NULL;

    if (!bitmap) {
        g_error("bitmap '%s' of node '%s' is gone", b->name, b->node);
    }
    return bitmap;
}

const HBitmap *model_bits(const ModelBitmap *b)
{
    return bdrv_dirty_bitmap_hbitmap(find(b));
}

static const bool *all_sectors(void)
{
    static bool all[MODEL_SECTORS];

    memset(all, true, sizeof(all));
    return all;
}

/* Nodes that drive-mirror has opened are closed when the guest leaves them. */
void model_forget_closed(Model *m)
{
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        ModelBitmap *b = &m->bitmaps[i];

        if (b->used && !bdrv_find_node(b->node)) {
            g_assert(b->node[0] == 't');
            b->used = false;
            if (m->mirror.bitmap == b) {
                m->mirror.bitmap = NULL;
            }
        }
    }
}

void model_check_all(Model *m)
{
    m->checks++;
    check_disk(m);
    model_quorum_check(m);
    model_forget_closed(m);
    for (int i = 0; i < MODEL_BITMAPS; i++) {
        ModelBitmap *b = &m->bitmaps[i];

        if (b->used && !b->busy) {
            BdrvDirtyBitmap *bitmap = find(b);

            g_assert_cmpint(bdrv_dirty_bitmap_recording(bitmap), ==,
                            b->recording);
            g_assert_false(bdrv_dirty_bitmap_inconsistent(bitmap));
            check_bits(b->name, bdrv_dirty_bitmap_hbitmap(bitmap), b->must,
                       b->loose ? all_sectors() : b->may, NULL);
        }
    }
}

/* --- backups --- */

/* What a sector of the target must hold, if it was copied. */
static void check_copied(const ModelBackup *j, const bool *copied)
{
    g_autofree uint8_t *buf = g_malloc(MODEL_BYTES);

    read_node(j->target, buf);
    for (int i = 0; i < MODEL_SECTORS; i++) {
        if (copied[i] && !sector_is(buf, i, j->start[i])) {
            g_error("%s: sector %d of the target holds %d, was %d", j->id, i,
                    buf[(size_t)i * MODEL_SECTOR], j->start[i]);
        }
    }
}

void model_add(bool *to, const bool *from)
{
    for (int i = 0; i < MODEL_SECTORS; i++) {
        to[i] |= from[i];
    }
}

/* After failure with mode "always": data whose bits are cleared was copied;
 * ranges that were to be copied are dirty or copied. */
static void take_left(const ModelBackup *j, ModelBitmap *b, bool *copied)
{
    static const bool none[MODEL_SECTORS];
    const HBitmap *bits = bdrv_dirty_bitmap_hbitmap(find(b));

    check_bits(b->name, bits, b->recording ? j->since_must : none,
               j->whole ? all_sectors() : j->may, j->since_may);
    for (int i = 0; i < MODEL_SECTORS; i++) {
        bool dirty = hbitmap_get(bits, (int64_t)i * MODEL_SECTOR);

        copied[i] = !dirty && (j->whole || j->must[i]);
        b->must[i] = b->may[i] = dirty;
    }
}

/* The bitmap is taken back from the job. */
static void take_back(const ModelBackup *j, ModelBitmap *b, bool ok)
{
    bool forgets = ok && j->mode != BITMAP_SYNC_MODE_NEVER;

    memset(b->must, 0, sizeof(b->must));
    memset(b->may, 0, sizeof(b->may));
    if (b->recording) {
        model_add(b->must, j->since_must);
        model_add(b->may, j->since_may);
    }
    if (!forgets) {
        model_add(b->must, j->must);
        model_add(b->may, j->may);
    }
    check_bits(b->name, bdrv_dirty_bitmap_hbitmap(find(b)), b->must, b->may,
               NULL);
}

/* Reading the target lets the guest go on: all else is done before. */
void model_backup_ended(Model *m, int ret)
{
    ModelBackup *j = &m->backup;
    ModelBitmap *b = j->bitmap;
    bool copied[MODEL_SECTORS] = { false };

    j->used = false;
    if (ret == 0) {
        for (int i = 0; i < MODEL_SECTORS; i++) {
            copied[i] = j->whole || j->must[i];
        }
    }
    if (b) {
        b->busy = false;
        if (ret < 0 && j->mode == BITMAP_SYNC_MODE_ALWAYS) {
            take_left(j, b, copied);
        } else {
            take_back(j, b, ret == 0);
        }
    }
    check_copied(j, copied);
}

/* --- mirrors --- */

/* Sectors of the target are those of the disk, but for @other and what is dirty
 * in @bits (may be NULL). */
static void check_same(const Model *m, const bool *other, const HBitmap *bits)
{
    const ModelMirror *j = &m->mirror;
    g_autofree uint8_t *buf = g_malloc(MODEL_BYTES);

    read_node(j->target, buf);
    for (int i = 0; i < MODEL_SECTORS; i++) {
        if (!(other && other[i]) &&
            !(bits && hbitmap_get(bits, (int64_t)i * MODEL_SECTOR)) &&
            !sector_is(buf, i, m->disk[i])) {
            g_error("%s: sector %d of the target holds %d, should be %d",
                    j->id, i, buf[(size_t)i * MODEL_SECTOR], m->disk[i]);
        }
    }
}

/* What the bitmap must and may say now. */
static void expect_bits(const ModelMirror *j, ModelBitmap *b, bool ok,
                        bool pivoted)
{
    bool forgets = ok && j->mode != BITMAP_SYNC_MODE_NEVER;

    memset(b->must, 0, sizeof(b->must));
    memset(b->may, 0, sizeof(b->may));
    if (!forgets) {
        model_add(b->must, j->must);
        model_add(b->may, j->may);
        if (b->recording) {
            model_add(b->must, j->since_must);
            model_add(b->may, j->since_may);
        }
    } else if (b->recording && !pivoted) {
        model_add(b->may, j->after_may);
    }
}

/*
 * "always" after a failure: what the bitmap does not say is the same on both,
 * or was written after the failure to a disk that the bitmap does not record.
 * It says any sectors if the target could not be flushed.
 */
static void check_differs(const Model *m, ModelBitmap *b, bool shown)
{
    const ModelMirror *j = &m->mirror;
    static const bool none[MODEL_SECTORS];
    const HBitmap *bits = model_bits(b);

    check_bits(b->name, bits, none, j->selects && b->recording ? j->may
                                                            : all_sectors(),
               j->since_may);
    for (int i = 0; i < MODEL_SECTORS; i++) {
        b->must[i] = b->may[i] = hbitmap_get(bits, (int64_t)i * MODEL_SECTOR);
    }
    if (shown) {
        check_same(m, b->recording ? NULL : j->late, bits);
    }
}

void model_mirror_ended(Model *m, int ret, bool pivoted, bool replaced,
                        bool shown)
{
    ModelMirror *j = &m->mirror;
    ModelBitmap *b = j->bitmap;
    bool knows = ret < 0 && j->mode == BITMAP_SYNC_MODE_ALWAYS;

    if (b) {
        b->busy = false;
    }
    if (b && knows) {
        check_differs(m, b, shown);
    } else if (b) {
        expect_bits(j, b, ret == 0, pivoted);
        check_bits(b->name, model_bits(b), b->must, b->may, NULL);
    }
    if (ret == 0 && !pivoted && !j->commit && shown) {
        check_same(m, replaced ? NULL : j->after_may, NULL);
        if (b && b->recording && !replaced) {
            check_same(m, NULL, model_bits(b));
        }
    }
}
