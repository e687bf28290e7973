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

#include "block/bitmap-resume.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
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

/* There is one element, of which nothing is known. */
static GPtrArray *unknown_dir(const char *why, uint32_t count, bool unreadable)
{
    GPtrArray *dir = qcow2_bitmap_dir_new();
    Qcow2Bitmap *b = qcow2_bitmap_new_rest(dir, NULL, 0, count);

    qcow2_bitmap_damaged(b, "%s", why);
    b->unreadable = unreadable;
    return dir;
}

/* What of the directory is in the file: NULL and *@ret if it cannot be read. */
static uint8_t *coroutine_mixed_fn read_bytes(BlockDriverState *bs,
                                              uint64_t *size, int *ret)
{
    Qcow2State *s = bs->opaque;
    int64_t len = bdrv_getlength(bs->file->bs);
    g_autofree uint8_t *buf = NULL;

    *ret = MIN(len, 0);
    if (*ret < 0) {
        return NULL;
    }
    *size = MIN(s->bitmaps.dir_size,
                (uint64_t)MAX(len - (int64_t)s->bitmaps.dir_offset, 0));
    buf = g_try_malloc(*size + 1);
    *ret = -ENOMEM;
    if (buf) {
        *ret = *size ? bdrv_pread(bs->file, s->bitmaps.dir_offset, *size, buf)
                     : 0;
    }
    return *ret < 0 ? NULL : g_steal_pointer(&buf);
}

static GPtrArray *coroutine_mixed_fn read_dir(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *buf = NULL;
    GPtrArray *dir;
    uint64_t size;
    int ret;

    if (s->bitmaps_raw) {
        return unknown_dir(s->bitmaps_damage, 1, false);
    }
    if (!s->bitmaps.dir_size) {
        return qcow2_bitmap_dir_new();
    }
    buf = read_bytes(bs, &size, &ret);
    if (!buf) {
        g_autofree char *why = g_strdup_printf(
            "Could not read the bitmap directory: %s", g_strerror(-ret));

        return unknown_dir(why, s->bitmaps.nb_bitmaps, true);
    }
    dir = qcow2_bitmap_dir_parse(buf, size, s->bitmaps.dir_size - size,
                                 s->bitmaps.nb_bitmaps, s->cluster_bits);
    qcow2_read_resume(bs, dir);
    return dir;
}

GPtrArray *coroutine_mixed_fn qcow2_bitmap_dir_read(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    GPtrArray *dir = s->bitmap_dir ? qcow2_bitmap_dir_copy(s->bitmap_dir)
                                   : read_dir(bs);

    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];

        b->cut_end = 0;
        b->level = QCOW2_AHEAD_NONE;
        if (b->resume) {
            b->resume->loaded = true; /* as if it was read now */
        }
    }
    apply_cuts(s, dir);
    qcow2_apply_notes(s, dir);
    return dir;
}

void qcow2_bitmap_dir_written(Qcow2State *s, const GPtrArray *dir)
{
    if (s->bitmap_dir) {
        g_ptr_array_unref(s->bitmap_dir);
        s->bitmap_dir = qcow2_bitmap_dir_copy(dir);
    }
}

uint64_t *coroutine_mixed_fn qcow2_bitmap_read_table(BlockDriverState *bs,
                                                     const Qcow2Bitmap *b,
                                                     bool *unreadable,
                                                     Error **errp)
{
    Qcow2State *s = bs->opaque;
    int ret;
    uint64_t *table = qcow2_read_table(bs, b->table_offset, b->table_size,
                                       &ret);

    if (unreadable) {
        *unreadable = !table;
    }
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

/* Qcow2BitmapPartFn */
static int load_part(void *opaque, const Qcow2BitmapPart *part)
{
    HBitmap *hb = opaque;

    if (part->buf) {
        hbitmap_replace_part(hb, part->buf, part->pos, part->bytes);
    } else if (part->ones) {
        hbitmap_set(hb, part->pos, part->bytes);
    }
    return 0;
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
    HBitmap *hb = bdrv_dirty_bitmap_bits(bitmap);
    g_autofree uint64_t *table = NULL;
    bool unreadable = false;
    int ret;

    *reason = BITMAP_INCONSISTENCY_DAMAGED;
    table = qcow2_bitmap_read_table(bs, b, &unreadable, errp);
    if (!table) {
        *reason = unreadable ? BITMAP_INCONSISTENCY_IO_ERROR : *reason;
        return false;
    }
    ret = qcow2_bitmap_read_bits(bs, b, table, size, hb, load_part, hb);
    if (ret < 0) {
        *reason = BITMAP_INCONSISTENCY_IO_ERROR;
        error_setg_errno(errp, -ret, "Could not read bitmap '%s'", b->name);
    }
    return ret >= 0;
}

/* Granularity to show for a bitmap whose stored one may be invalid. */
static uint64_t shown_granularity(const Qcow2Bitmap *b, int64_t size)
{
    unsigned bits = CLAMP(b->granularity_bits,
                          QCOW2_MIN_BITMAP_GRANULARITY_BITS,
                          QCOW2_MAX_BITMAP_GRANULARITY_BITS);

    while (bits < QCOW2_MAX_BITMAP_GRANULARITY_BITS &&
           size >> bits >> 3 >= QCOW2_MAX_BITMAP_BYTES) {
        bits++;
    }
    return UINT64_C(1) << bits;
}

static BitmapInconsistency why_bad(const Qcow2State *s, const Qcow2Bitmap *b)
{
    if (b->unreadable) {
        return BITMAP_INCONSISTENCY_IO_ERROR;
    }
    if (!qcow2_bitmap_usable(b) ||
        s->notes_damage == QCOW2_EXT_BITMAPS_AHEAD) {
        return BITMAP_INCONSISTENCY_DAMAGED;
    }
    return qcow2_notes_outdated(s) ? BITMAP_INCONSISTENCY_FOREIGN_WRITE
                                   : BITMAP_INCONSISTENCY_CRASH;
}

/* Not more can be dirty in excess than is dirty. */
static void report_recovered(BlockDriverState *owner, const Qcow2Bitmap *b,
                             const BdrvDirtyBitmap *bitmap)
{
    uint64_t dirty = bdrv_dirty_bitmap_count(bitmap);

    warn_report("The image of node '%s' was not closed; bitmap '%s' was kept "
                "ahead of its data, so it goes on, with at most %" PRIu64
                " bytes too many", owner->node_name, b->name,
                MIN(b->over, dirty));
}

/*
 * Is what is stored older than @bitmap in memory?  It was left in use then; but
 * if it is the bitmap of another disk, its image has been closed in between.
 */
static bool is_older(const Qcow2State *s, const Qcow2Bitmap *b,
                     const BdrvDirtyBitmap *bitmap)
{
    return bdrv_dirty_bitmap_replaces_stored(bitmap) &&
           (b->flags & QCOW2_BITMAP_IN_USE ||
            qcow2_bitmap_owner(s) != s->image);
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

    bitmap = bdrv_dirty_bitmap_find(owner, b->name);
    if (bitmap && (is_older(s, b, bitmap) ||
                   bdrv_dirty_bitmap_hides_stored(bitmap))) {
        return true;
    }
    if (bitmap && bdrv_dirty_bitmap_yields_to_stored(bitmap)) {
        bdrv_dirty_bitmap_release(bitmap);
    }
    bitmap = bdrv_dirty_bitmap_new(owner, shown_granularity(b, size), b->name,
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
        bdrv_dirty_bitmap_set_resume(bitmap,
                                     bdrv_bitmap_resume_copy(b->resume));
        if (!(b->flags & QCOW2_BITMAP_AUTO)) {
            bdrv_dirty_bitmap_disable(bitmap);
        }
    }
    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    bdrv_dirty_bitmap_set_stale(bitmap, ahead && b->covered != size);
    if (good && ahead && !owner->read_only) {
        report_recovered(owner, b, bitmap);
    }
    if (owner->read_only) {
        bdrv_dirty_bitmap_set_readonly(bitmap, true);
    }
    return true;
}

/* While the refcounts of the image may be wrong, they say nothing. */
static bool coroutine_mixed_fn counts_are_right(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    g_autofree char *damage = NULL;

    if (s->incompatible & QCOW2_INCOMPAT_DIRTY) {
        return false;
    }
    damage = qcow2_refcount_damage(bs);
    return !damage;
}

static void report_damage(BlockDriverState *owner, const Qcow2Bitmap *b)
{
    if (b->damage) {
        warn_report("Bitmap '%s' of node '%s' is damaged and cannot be used: "
                    "%s", b->name, owner->node_name, b->damage);
    }
}

/*
 * Is it damage of the directory alone that it cannot be read?  Where nothing
 * can be read, the bitmaps may be intact and must not be lost.
 */
static bool coroutine_mixed_fn only_directory(BlockDriverState *bs,
                                              Error **errp)
{
    uint8_t header[512];
    uint64_t size;
    int ret = bdrv_pread(bs->file, 0, sizeof(header), header);

    if (ret >= 0) {
        g_free(read_bytes(bs, &size, &ret));
        if (ret != -ENOMEM) {
            return true;
        }
    }
    error_setg_errno(errp, -ret, "Could not read the bitmap directory");
    return false;
}

bool coroutine_mixed_fn qcow2_bitmaps_load(BdrvBitmapStore *store,
                                           Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    BlockDriverState *bs = s->image;
    g_autoptr(GPtrArray) dir = NULL;

    g_clear_pointer(&s->bitmap_dir, g_ptr_array_unref);
    s->bitmaps_verified = false;
    dir = qcow2_bitmap_dir_read(bs);
    if (qcow2_bitmap_dir_unreadable(dir) && !bs->read_only) {
        if (!only_directory(bs, errp)) {
            return false;
        }
        g_ptr_array_unref(dir);
        dir = qcow2_bitmap_dir_read(bs); /* if it was an error for once */
    }
    qcow2_bitmaps_examine(bs, dir);
    if (bs->read_only && counts_are_right(bs)) {
        qcow2_bitmaps_examine_counts(bs, dir);
    }
    s->bitmap_dir = qcow2_bitmap_dir_copy(dir);
    qcow2_bitmaps_claim(bs, dir);
    for (guint i = 0; i < dir->len; i++) {
        report_damage(store->bs, dir->pdata[i]);
        if (!load_one(bs, dir->pdata[i], errp)) {
            bdrv_dirty_bitmap_release_loaded(store->bs);
            return false;
        }
    }
    return true;
}

/* --- before the image is written --- */

/* @b, which was loaded, is found to be damaged. */
static bool distrust(BlockDriverState *owner, const Qcow2Bitmap *b,
                     Error **errp)
{
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(owner, b->name);

    if (!bitmap) {
        return true;
    }
    if (bdrv_dirty_bitmap_busy(bitmap)) {
        error_setg(errp, "Bitmap '%s', which is in use, is damaged: %s",
                   b->name, b->damage);
        return false;
    }
    if (!bdrv_dirty_bitmap_inconsistent(bitmap)) {
        report_damage(owner, b);
    }
    bdrv_dirty_bitmap_distrust(bitmap, b->unreadable
                               ? BITMAP_INCONSISTENCY_IO_ERROR
                               : BITMAP_INCONSISTENCY_DAMAGED);
    return true;
}

/*
 * The clusters of bitmaps are written in place, and freed: if they may belong
 * to something else, the bitmaps are not used.
 */
static bool coroutine_mixed_fn verify(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = NULL;

    if (s->bitmaps_verified || !s->bitmap_dir) {
        return true;
    }
    dir = qcow2_bitmap_dir_read(bs);
    qcow2_bitmaps_examine_counts(bs, dir);
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        if (b->damage && !distrust(qcow2_bitmap_owner(s), b, errp)) {
            return false;
        }
    }
    qcow2_bitmap_dir_written(s, dir);
    qcow2_bitmaps_claim(bs, dir);
    s->bitmaps_verified = true;
    return true;
}

/*
 * A bitmap with unknown extra data is left as it is, unless it has the AUTO
 * flag: writes do not update it, so it must be marked.  What is damaged, too:
 * it may seem sound when the file is longer.
 */
static bool must_mark(const Qcow2Bitmap *b)
{
    return !(b->flags & QCOW2_BITMAP_IN_USE) && !b->rest && !b->uncounted &&
           (qcow2_bitmap_usable(b) || b->damage ||
            (b->flags & QCOW2_BITMAP_AUTO));
}

/* Are there bitmaps that should be marked as in use, and cannot be? */
static bool cannot_mark(const Qcow2State *s)
{
    const GPtrArray *dir = s->bitmap_dir;
    bool any = dir && qcow2_bitmap_dir_unreadable(dir);

    for (guint i = 0; dir && s->bitmap_dir_own == 0 && i < dir->len; i++) {
        any |= must_mark(dir->pdata[i]);
    }
    return any;
}

/*
 * Bitmaps that cannot be marked as in use, since the directory could not be
 * read or its place is that of something else, are not trusted any more, even
 * if it can be read later.
 */
static bool coroutine_mixed_fn distrust_all(BlockDriverState *bs,
                                            Error **errp)
{
    Qcow2State *s = bs->opaque;
    uint64_t old = s->autoclear;
    int ret;

    if (!s->autoclear || !cannot_mark(s)) {
        return true;
    }
    s->autoclear = 0;
    ret = qcow2_update_header(bs);
    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    if (ret < 0) {
        s->autoclear = old; /* to be tried again */
        error_setg_errno(errp, -ret, "Could not write the header");
    }
    return ret == 0;
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
    if (!s->bitmap_dir_own) {
        return true;
    }
    dir = qcow2_bitmap_dir_read(bs);
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
    len = MIN(len, s->bitmap_dir_own);
    ret = bdrv_pwrite_sync(bs->file, s->bitmaps.dir_offset, len, buf);
    if (ret < 0) {
        /* A read may show the mark although it is not durable. */
        s->bitmaps_unsure = true;
        error_setg_errno(errp, -ret, "Could not mark the bitmaps in use");
        return false;
    }
    qcow2_bitmap_dir_written(s, dir);
    return true;
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
               verify(call->bs, call->errp) &&
               distrust_all(call->bs, call->errp) &&
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
        *bytes += b->raw_size ?: qcow2_bitmap_entry_size(strlen(b->name),
                                                         b->extra_size);
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
    } else if (disk_size == 0) {
        error_setg(errp, "The disk has a size of 0, with which other programs "
                   "could not open the image");
    } else if (DIV_ROUND_UP((uint64_t)disk_size, granularity) / 8 >
               QCOW2_MAX_BITMAP_BYTES) {
        error_setg(errp, "Too much space will be occupied by the bitmap. Use "
                   "larger granularity");
    } else {
        return true;
    }
    return false;
}

/* Has the image a bitmap of @name that is none of the one in memory? */
static bool is_taken(const Qcow2State *s, GPtrArray *dir, const char *name)
{
    const Qcow2Bitmap *b = qcow2_bitmap_dir_find(dir, name);
    const BdrvDirtyBitmap *bitmap =
        bdrv_dirty_bitmap_find(qcow2_bitmap_owner(s), name);

    return b && !(bitmap && is_older(s, b, bitmap));
}

bool qcow2_bitmaps_can_store(BdrvBitmapStore *store, const char *name,
                             uint64_t granularity, Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    BlockDriverState *bs = s->image;
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs);
    uint64_t count, bytes;

    if (!check_new_bitmap(bs, name, granularity, errp)) {
        goto fail;
    }
    if (s->bitmaps_raw || qcow2_bitmap_dir_unreadable(dir)) {
        /* It would take the place of what is there. */
        error_setg(errp, "The bitmaps in the image cannot be read; remove "
                   "'%s' first", ((const Qcow2Bitmap *)dir->pdata[0])->name);
        goto fail;
    }
    count_bitmaps(bs, dir, name, &count, &bytes);
    if (is_taken(s, dir, name)) {
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

static bool any_persistent(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_persistent(bitmap)) {
            return true;
        }
    }
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
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(s->image);
    int64_t cut = store->bs->total_bytes - bytes;
    int ret;

    for (guint i = 0; i < dir->len; i++) {
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
    if (bytes == 0 && (dir->len || any_persistent(store->bs))) {
        error_setg(errp, "Cannot resize qcow2 image to 0: other programs could "
                   "not open it with bitmaps");
        return false;
    }
    ret = cut > 0 ? qcow2_ahead_co_write_intent(store, bytes, cut) : 0;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not store that the disk becomes "
                         "smaller");
    }
    return ret == 0;
}
