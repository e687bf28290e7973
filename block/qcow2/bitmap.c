/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistent bitmaps: loading, and marking them as in use on disk.
 *
 * A bitmap is marked in_use before the first write to the image that it could
 * miss, and the mark is cleared only together with storing its new content.  A
 * bitmap that is in use when the image is opened was not stored: it becomes
 * inconsistent.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/*
 * Sets cut_end from the notes in the image.  If the autoclear bit is not set,
 * the image was written by a program that does not keep them.
 */
static void apply_cuts(const Qcow2State *s, GPtrArray *dir)
{
    bool known = s->autoclear & QCOW2_AUTOCLEAR_CUTS;

    for (guint i = 0; i < s->cuts->len; i++) {
        const Qcow2BitmapCut *cut = &g_array_index(s->cuts, Qcow2BitmapCut, i);

        if (cut->index < dir->len) {
            Qcow2Bitmap *b = dir->pdata[cut->index];

            b->cut_end = MAX(b->cut_end, (int64_t)MIN(cut->end, INT64_MAX));
        } else {
            known = false; /* another program wrote this */
        }
    }
    for (guint i = 0; !known && i < dir->len; i++) {
        ((Qcow2Bitmap *)dir->pdata[i])->cut_end = BDRV_CUT_UNKNOWN;
    }
}

/* *@damaged: it could be read, but is invalid. */
static GPtrArray *coroutine_mixed_fn read_dir(BlockDriverState *bs,
                                              bool *damaged, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *buf = NULL;
    uint64_t size = s->bitmaps.nb_bitmaps ? s->bitmaps.dir_size : 0;
    GPtrArray *dir;
    int ret = 0;

    buf = g_try_malloc(size + 1);
    if (!buf) {
        ret = -ENOMEM;
    } else if (size) {
        ret = bdrv_pread(bs->file, s->bitmaps.dir_offset, size, buf);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the bitmap directory");
        return NULL;
    }
    dir = qcow2_bitmap_dir_parse(buf, size, s->bitmaps.nb_bitmaps,
                                 s->cluster_bits, errp);
    *damaged = !dir;
    if (dir) {
        apply_cuts(s, dir);
        qcow2_apply_notes(s, dir);
    }
    return dir;
}

GPtrArray *coroutine_mixed_fn qcow2_bitmap_dir_read(BlockDriverState *bs,
                                                    Error **errp)
{
    bool damaged;

    return read_dir(bs, &damaged, errp);
}

uint64_t *coroutine_mixed_fn qcow2_bitmap_read_table(BlockDriverState *bs,
                                                     const Qcow2Bitmap *b,
                                                     Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret;
    uint64_t *table = qcow2_read_table(bs, b->table_offset, b->table_size,
                                       &ret);

    if (!table) {
        error_setg_errno(errp, -ret, "Could not read the table of bitmap "
                         "'%s'", b->name);
        return NULL;
    }
    for (uint32_t i = 0; i < b->table_size; i++) {
        uint64_t offset = table[i] & QCOW2_OFFSET_MASK;

        if ((table[i] & QCOW2_BITMAP_ENTRY_RESERVED) ||
            qcow2_in_cluster(s, offset) || (offset && (table[i] & 1))) {
            error_setg(errp, "Table of bitmap '%s' has an invalid entry",
                       b->name);
            g_free(table);
            return NULL;
        }
    }
    return table;
}

/*
 * Bits that cover a disk of another size, as the process ended while the disk
 * was resized: see bdrv_dirty_bitmap_cut_end().
 */
static void fit_bits(const Qcow2Bitmap *b, BdrvDirtyBitmap *bitmap)
{
    int64_t size = bdrv_dirty_bitmap_size(bitmap);

    if (b->covered < size && b->covered < b->cut_end) {
        bdrv_dirty_bitmap_set(bitmap, b->covered,
                              MIN(size, b->cut_end) - b->covered);
    }
    bdrv_dirty_bitmap_note_cut(bitmap, b->covered);
}

/*
 * Fills @bitmap from the image; @size: of the disk for which the bits are.
 * False: *@reason says why not.
 */
static bool coroutine_mixed_fn load_bits(BlockDriverState *bs,
                                         const Qcow2Bitmap *b, int64_t size,
                                         BdrvDirtyBitmap *bitmap,
                                         BitmapInconsistency *reason,
                                         Error **errp)
{
    Qcow2State *s = bs->opaque;
    HBitmap *hb = bdrv_dirty_bitmap_bits(bitmap);
    uint64_t span = (uint64_t)s->cluster_size * 8 << b->granularity_bits;
    g_autofree uint64_t *table = NULL;
    g_autofree uint8_t *buf = NULL;
    int64_t pos = 0, disk = bdrv_dirty_bitmap_size(bitmap);
    int ret = 0;

    *reason = BITMAP_INCONSISTENCY_DAMAGED;
    if (b->table_size != qcow2_bitmap_table_entries(size,
                                                    b->granularity_bits,
                                                    s->cluster_bits)) {
        error_setg(errp, "Size of bitmap '%s' does not fit the disk", b->name);
        return false;
    }
    table = qcow2_bitmap_read_table(bs, b, errp);
    if (!table) {
        return false;
    }
    buf = g_malloc(s->cluster_size);
    size = MIN(size, disk);
    for (uint32_t i = 0; ret >= 0 && i < b->table_size && pos < size;
         i++, pos += span) {
        int64_t bytes = MIN(span, (uint64_t)(size - pos));

        /* Only whole words are loaded; their rest is zero. */
        bytes = MIN(ROUND_UP(bytes, hbitmap_serialization_align(hb)),
                    disk - pos);

        if (table[i] & QCOW2_OFFSET_MASK) {
            ret = bdrv_pread(bs->file, table[i] & QCOW2_OFFSET_MASK,
                             s->cluster_size, buf);
            if (ret >= 0) {
                hbitmap_deserialize_part(hb, buf, pos, bytes);
            }
        } else if (table[i] & 1) {
            hbitmap_deserialize_ones(hb, pos, bytes);
        }
    }
    hbitmap_deserialize_finish(hb);
    if (ret < 0) {
        *reason = BITMAP_INCONSISTENCY_IO_ERROR;
        error_setg_errno(errp, -ret, "Could not read bitmap '%s'", b->name);
    }
    return ret >= 0;
}

/* Granularity to show for a bitmap whose stored one is invalid. */
static uint64_t shown_granularity(const Qcow2Bitmap *b)
{
    return UINT64_C(1) << CLAMP(b->granularity_bits,
                                QCOW2_MIN_BITMAP_GRANULARITY_BITS,
                                QCOW2_MAX_BITMAP_GRANULARITY_BITS);
}

static BitmapInconsistency why_bad(const Qcow2State *s, const Qcow2Bitmap *b)
{
    if (!qcow2_bitmap_usable(b)) {
        return BITMAP_INCONSISTENCY_DAMAGED;
    }
    return qcow2_notes_outdated(s) ? BITMAP_INCONSISTENCY_FOREIGN_WRITE
                                   : BITMAP_INCONSISTENCY_CRASH;
}

static void report_recovered(BlockDriverState *owner, const Qcow2Bitmap *b)
{
    warn_report("The image of node '%s' was not closed; bitmap '%s' was kept "
                "ahead of its data, so it goes on, with at most %" PRIu64
                " bytes too many", owner->node_name, b->name, b->over);
}

static bool coroutine_mixed_fn load_one(BlockDriverState *bs,
                                        const Qcow2Bitmap *b, Error **errp)
{
    Qcow2State *s = bs->opaque;
    BlockDriverState *owner = qcow2_bitmap_owner(s);
    int64_t size = owner->total_bytes;
    Error *err = NULL;
    BdrvDirtyBitmap *bitmap;
    BitmapInconsistency reason = why_bad(s, b);
    bool ahead = qcow2_bitmap_is_ahead(b);
    bool good = qcow2_bitmap_usable(b) &&
                (ahead || !(b->flags & QCOW2_BITMAP_IN_USE));

    bitmap = bdrv_dirty_bitmap_new(owner, shown_granularity(b), b->name,
                                   errp);
    if (!bitmap) {
        error_prepend(errp, "Could not load bitmap '%s': ", b->name);
        return false;
    }
    if (good && !load_bits(bs, b, ahead ? b->covered : size, bitmap, &reason,
                           &err)) {
        /* The disk is intact and can be used. */
        error_prepend(&err, "Bitmap is inconsistent: ");
        warn_report("%s", error_get_pretty(err));
        error_free(err);
        good = false;
    }
    if (!good) {
        bdrv_dirty_bitmap_set_inconsistent(bitmap, reason);
    } else {
        if (ahead) {
            fit_bits(b, bitmap);
        }
        bdrv_dirty_bitmap_note_cut(bitmap, b->cut_end);
        if (!(b->flags & QCOW2_BITMAP_AUTO)) {
            bdrv_dirty_bitmap_disable(bitmap);
        }
    }
    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    bdrv_dirty_bitmap_set_stale(bitmap, ahead && b->covered != size);
    if (good && ahead && !owner->read_only) {
        report_recovered(owner, b);
    }
    if (owner->read_only) {
        bdrv_dirty_bitmap_set_readonly(bitmap, true);
    }
    return true;
}

static bool coroutine_mixed_fn load_all(BlockDriverState *bs, bool *damaged,
                                        Error **errp)
{
    g_autoptr(GPtrArray) dir = read_dir(bs, damaged, errp);

    for (guint i = 0; dir && i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        if (!load_one(bs, b, errp)) {
            /* A duplicate name; otherwise memory was short. */
            *damaged = bdrv_dirty_bitmap_find(qcow2_bitmap_owner(bs->opaque),
                                              b->name) != NULL;
            return false;
        }
    }
    return dir != NULL;
}

/*
 * A damaged directory does not prevent use of the disk.  Its bitmaps cannot be
 * marked as in use, so writing clears the feature bit by which they would be
 * trusted (qcow2_make_writable()).  A directory that cannot be read now may be
 * intact and must not be lost, so the image is not opened for writing.
 */
bool coroutine_mixed_fn qcow2_bitmaps_load(BdrvBitmapStore *store,
                                           Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    BlockDriverState *bs = s->image;
    bool damaged = false;
    Error *err = NULL;

    if (s->bitmaps.nb_bitmaps && !load_all(bs, &damaged, &err)) {
        bdrv_dirty_bitmap_release_all(store->bs);
        if (!damaged && !bs->read_only) {
            error_propagate(errp, err);
            return false;
        }
        s->bitmaps = (Qcow2BitmapExt){ 0 };
        s->bitmaps_damage = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    if (s->bitmaps_damage) {
        warn_report("The bitmaps stored in node '%s' are damaged and cannot "
                    "be used: %s", bs->node_name, s->bitmaps_damage);
    }
    return true;
}

/*
 * A bitmap with unknown extra data is left as it is, unless it has the AUTO
 * flag: writes do not update it, so it must be marked.
 */
static bool must_mark(const Qcow2Bitmap *b)
{
    return !(b->flags & QCOW2_BITMAP_IN_USE) &&
           (qcow2_bitmap_usable(b) || (b->flags & QCOW2_BITMAP_AUTO));
}

/*
 * Writes the header again if its state on disk is not known: else a directory
 * that a failed save left might count as current later.
 */
static bool coroutine_mixed_fn make_sure(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (!s->bitmaps_unsure) {
        return true;
    }
    ret = qcow2_update_header(bs);
    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the header");
    }
    s->bitmaps_unsure = ret < 0;
    return ret == 0;
}

bool coroutine_mixed_fn qcow2_mark_bitmaps_in_use(BlockDriverState *bs,
                                                  const char *name,
                                                  Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = NULL;
    g_autofree uint8_t *buf = NULL;
    bool changed = false;
    size_t len;
    int ret;

    if (!make_sure(bs, errp)) {
        return false;
    }
    if (!s->bitmaps.nb_bitmaps) {
        return true;
    }
    dir = qcow2_bitmap_dir_read(bs, errp);
    if (!dir) {
        return false;
    }
    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];

        if (must_mark(b) && (!name || !strcmp(b->name, name))) {
            b->flags |= QCOW2_BITMAP_IN_USE;
            changed = true;
        }
    }
    if (!changed) {
        return true;
    }
    /* In place: only a flag differs, so that a torn write is harmless. */
    buf = qcow2_bitmap_dir_serialise(dir, &len);
    if (len != s->bitmaps.dir_size) {
        error_setg(errp, "Bitmap directory has an unexpected size");
        return false;
    }
    ret = bdrv_pwrite_sync(bs->file, s->bitmaps.dir_offset, len, buf);
    if (ret < 0) {
        /* A read may show the mark although it is not durable. */
        s->bitmaps_unsure = true;
        error_setg_errno(errp, -ret, "Could not mark the bitmaps in use");
    }
    return ret >= 0;
}

typedef struct BeginCall {
    BlockDriverState *bs;
    const char *name;
    Error **errp;
    bool ok;
} BeginCall;

static void coroutine_fn begin_entry(void *opaque)
{
    BeginCall *call = opaque;
    Qcow2State *s = call->bs->opaque;

    CO_MUTEX_GUARD(&s->bitmap_lock);
    CO_MUTEX_GUARD(&s->lock);
    /* The notes first: a bitmap that is in use without one is lost. */
    call->ok = make_sure(call->bs, call->errp) &&
               (call->name || qcow2_ahead_begin(call->bs, call->errp)) &&
               qcow2_mark_bitmaps_in_use(call->bs, call->name, call->errp);
}

bool coroutine_mixed_fn qcow2_bitmaps_begin(BdrvBitmapStore *store,
                                            BdrvDirtyBitmap *bitmap,
                                            Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    BeginCall call = { .bs = s->image, .errp = errp };

    if (!s->writable) {
        error_setg(errp, "The image of node '%s' could not be made writable",
                   s->image->node_name);
        return false;
    }
    call.name = bitmap ? bdrv_dirty_bitmap_name(bitmap) : NULL;
    aio_run_co(call.bs->ctx, begin_entry, &call);
    return call.ok && qcow2_ahead_sync(store, errp);
}

/* How many bitmaps and bytes of directory would there be with @name? */
static void count_bitmaps(BlockDriverState *bs, GPtrArray *dir,
                          const char *name, uint64_t *count, uint64_t *bytes)
{
    BdrvDirtyBitmap *bitmap = NULL;

    bs = qcow2_bitmap_owner(bs->opaque);
    *count = dir->len + 1;
    *bytes = qcow2_bitmap_entry_size(strlen(name), 0);
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];
        *bytes += qcow2_bitmap_entry_size(strlen(b->name), b->extra_size);
    }
    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        const char *other = bdrv_dirty_bitmap_name(bitmap);

        if (other && bdrv_dirty_bitmap_persistent(bitmap) &&
            !qcow2_bitmap_dir_find(dir, other)) {
            ++*count;
            *bytes += qcow2_bitmap_entry_size(strlen(other), 0);
        }
    }
}

static bool check_new_bitmap(BlockDriverState *bs, const char *name,
                             uint64_t granularity, Error **errp)
{
    Qcow2State *s = bs->opaque;
    int64_t disk_size = qcow2_bitmap_disk_size(s);
    unsigned bits = ctz64(granularity);

    if (s->version < 3) {
        error_setg(errp, "Cannot store dirty bitmaps in qcow2 v2 files");
    } else if (strlen(name) > BDRV_BITMAP_MAX_NAME) {
        error_setg(errp, "Name length exceeds maximum (%d characters)",
                   BDRV_BITMAP_MAX_NAME);
    } else if (bits > QCOW2_MAX_BITMAP_GRANULARITY_BITS) {
        error_setg(errp, "Granularity exceeds maximum (%" PRIu64 " bytes)",
                   UINT64_C(1) << QCOW2_MAX_BITMAP_GRANULARITY_BITS);
    } else if (bits < QCOW2_MIN_BITMAP_GRANULARITY_BITS) {
        error_setg(errp, "Granularity is under minimum (%d bytes)",
                   1 << QCOW2_MIN_BITMAP_GRANULARITY_BITS);
    } else if (DIV_ROUND_UP((uint64_t)disk_size, granularity) / 8 >
               QCOW2_MAX_BITMAP_BYTES) {
        error_setg(errp, "Too much space will be occupied by the bitmap. Use "
                   "larger granularity");
    } else {
        return true;
    }
    return false;
}

bool qcow2_bitmaps_can_store(BdrvBitmapStore *store, const char *name,
                             uint64_t granularity, Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    BlockDriverState *bs = s->image;
    g_autoptr(GPtrArray) dir = NULL;
    uint64_t count, bytes;

    if (check_new_bitmap(bs, name, granularity, errp)) {
        dir = qcow2_bitmap_dir_read(bs, errp);
    }
    if (!dir) {
        goto fail;
    }
    count_bitmaps(bs, dir, name, &count, &bytes);
    if (qcow2_bitmap_dir_find(dir, name)) {
        error_setg(errp, "Bitmap with the same name is already stored");
        goto fail;
    }
    if (count > QCOW2_MAX_BITMAPS) {
        error_setg(errp, "Maximum number of persistent bitmaps is already "
                   "reached");
        goto fail;
    }
    if (bytes > QCOW2_MAX_BITMAP_DIR) {
        error_setg(errp, "Not enough space in the bitmap directory");
        goto fail;
    }
    return true;

fail:
    error_prepend(errp, "Can't make bitmap '%s' persistent in '%s': ", name,
                  bdrv_get_device_or_node_name(store->bs));
    return false;
}

/*
 * The disk cannot be resized with bitmaps that cannot follow.  What is cut off
 * may be lost before the size changes, so the bitmaps must have that range.
 */
bool coroutine_fn qcow2_bitmaps_co_resize(BdrvBitmapStore *store,
                                          int64_t bytes, Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(s->image, errp);
    int64_t cut = store->bs->total_bytes - bytes;
    int ret;

    for (guint i = 0; dir && i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];
        BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(store->bs, b->name);

        if (!bitmap || bdrv_dirty_bitmap_readonly(bitmap)) {
            error_setg(errp, "Cannot resize qcow2 image: its bitmap '%s' is "
                       "not loaded for writing", b->name);
            return false;
        }
        if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
            error_setg(errp, "Bitmap '%s' is inconsistent and cannot be used",
                       b->name);
            error_append_hint(errp, "Try block-dirty-bitmap-remove to delete "
                              "this bitmap from disk\n");
            return false;
        }
    }
    ret = dir && cut > 0 ? qcow2_ahead_co_write_intent(store, bytes, cut) : 0;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not store that the disk becomes "
                         "smaller");
    }
    return dir && ret == 0;
}
