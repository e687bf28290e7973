/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storing and removing persistent bitmaps.  The order makes it safe to stop
 * anywhere: new content and tables, new directory, (flush) the header that
 * refers to it, (flush) and only then the old clusters are freed.
 */
#include "qemu/osdep.h"

#include "block/bitmap-resume.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "qemu/crc32c.h"
#include "qemu/notify.h"

/* --- content --- */

/* Frees all clusters of a table in memory that are not in @other, a table of
 * the same size or NULL. */
static void coroutine_mixed_fn free_table_clusters(BlockDriverState *bs,
                                                   const uint64_t *table,
                                                   uint32_t n,
                                                   const uint64_t *other)
{
    Qcow2State *s = bs->opaque;

    for (uint32_t i = 0; i < n; i++) {
        if ((table[i] & QCOW2_OFFSET_MASK) &&
            !(other && other[i] == table[i])) {
            qcow2_free_now(bs, table[i] & QCOW2_OFFSET_MASK, s->cluster_size);
        }
    }
}

/* Frees a table on disk with its clusters but for those in @other, see above; a
 * damaged one is leaked. */
static void coroutine_mixed_fn free_stored(BlockDriverState *bs,
                                           const Qcow2Bitmap *b,
                                           uint64_t offset, uint32_t size,
                                           const uint64_t *other)
{
    Qcow2Bitmap old = { .table_offset = offset, .table_size = size,
                        .name = b->name };
    g_autofree uint64_t *table = qcow2_bitmap_read_table(bs, &old, NULL,
                                                          NULL);

    if (table) {
        free_table_clusters(bs, table, size, other);
        qcow2_free_now(bs, offset, (uint64_t)size * 8);
    }
}

bool qcow2_bitmap_is_clean(const BdrvDirtyBitmap *bitmap,
                           const BdrvBitmapRegions *regions, int64_t pos,
                           int64_t bytes)
{
    return !bdrv_dirty_bitmap_has_successor(bitmap) &&
           hbitmap_next_dirty(bdrv_dirty_bitmap_to_keep_bits(bitmap), pos,
                              bytes) < 0 &&
           !(regions && bdrv_bitmap_regions_any_wanted(regions, pos, bytes));
}

/* One cluster of bits. */
static int coroutine_mixed_fn store_cluster(BlockDriverState *bs,
                                            const BdrvDirtyBitmap *bitmap,
                                            const BdrvBitmapRegions *regions,
                                            int64_t pos, int64_t bytes,
                                            uint64_t *entry)
{
    Qcow2State *s = bs->opaque;
    const HBitmap *hb = bdrv_dirty_bitmap_to_keep_bits(bitmap);
    uint8_t *buf;
    int ret;

    *entry = 0;
    bytes = MIN(bytes, hbitmap_size(hb) - pos);
    if (bytes <= 0) {
        return 0; /* the disk has become smaller meanwhile */
    }
    if (bdrv_dirty_bitmap_stored_all(bitmap) ||
        hbitmap_next_zero(hb, pos, bytes) < 0) {
        *entry = 1;
        return 0;
    }
    if (qcow2_bitmap_is_clean(bitmap, regions, pos, bytes)) {
        return 0;
    }
    buf = bdrv_try_blockalign(bs->file->bs, s->cluster_size);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, s->cluster_size);
    bdrv_dirty_bitmap_serialise_stored(bitmap, regions, buf, pos, bytes);
    if (buffer_is_zero(buf, s->cluster_size)) {
        qemu_vfree(buf);
        return 0;
    }
    ret = qcow2_alloc_bytes_run(bs, s->cluster_size, entry);
    if (ret < 0) {
        *entry = 0;
        qemu_vfree(buf);
        return ret;
    }
    /* The bits of now: what was set since is in a region that is open. */
    bytes = MIN(bytes, hbitmap_size(hb) - pos);
    if (bytes > 0) {
        bdrv_dirty_bitmap_serialise_stored(bitmap, regions, buf, pos, bytes);
    }
    ret = bdrv_pwrite(bs->file, *entry, s->cluster_size, buf);
    s->high_water = MAX(s->high_water, *entry + s->cluster_size);
    qemu_vfree(buf);
    return ret < 0 ? ret : 0;
}

/*
 * The bits for [@pos, +@bytes) are stored already, at entry @i.  The last
 * cluster may have bits from before the disk was resized.
 */
static bool is_stored(BlockDriverState *bs, const Qcow2Bitmap *b, uint64_t n,
                      uint64_t i, int64_t pos, int64_t bytes)
{
    Qcow2State *s = bs->opaque;

    return b->reused && i + 1 < n &&
           !bdrv_bitmap_regions_any_wanted(
                qcow2_ahead_regions(&s->bitmap_store), pos, bytes);
}

/*
 * Writes the bits of @bitmap to new clusters, but for those that are stored
 * already; sets table_* of @b.
 */
static int coroutine_mixed_fn store_bits(BlockDriverState *bs, Qcow2Bitmap *b,
                                         const BdrvDirtyBitmap *bitmap)
{
    Qcow2State *s = bs->opaque;
    const BdrvBitmapRegions *regions = b->level == QCOW2_AHEAD_NONE
        ? NULL : qcow2_ahead_regions(&s->bitmap_store);
    uint64_t span = (uint64_t)s->cluster_size * 8 << b->granularity_bits;
    int64_t size = bdrv_dirty_bitmap_size(bitmap);
    uint64_t n = qcow2_bitmap_table_entries(size, b->granularity_bits,
                                            s->cluster_bits), offset;
    g_autofree uint64_t *table = g_new0(uint64_t, n);
    int64_t pos = 0;
    int ret = 0;

    for (uint64_t i = 0; ret == 0 && i < n && pos < size; i++, pos += span) {
        int64_t bytes = MIN(span, (uint64_t)(size - pos));

        if (is_stored(bs, b, n, i, pos, bytes)) {
            table[i] = b->reused[i];
            continue;
        }
        ret = store_cluster(bs, bitmap, regions, pos, bytes, &table[i]);
        notify_progress();
    }
    if (ret == 0) {
        ret = qcow2_alloc_bytes_run(bs, n * 8, &offset);
    }
    if (ret < 0) {
        free_table_clusters(bs, table, n, b->reused);
        return ret;
    }
    ret = qcow2_write_table(bs, offset, table, n,
                            ROUND_UP(n * 8, s->cluster_size));
    if (ret < 0) {
        free_table_clusters(bs, table, n, b->reused);
        qcow2_free_now(bs, offset, n * 8);
        return ret;
    }
    b->stored = true;
    b->table = g_steal_pointer(&table);
    b->old_table_offset = b->table_offset;
    b->old_table_size = b->table_size;
    b->table_offset = offset;
    b->table_size = n;
    return 0;
}

/* --- directory --- */

/* The cut_end notes that belong to @dir. */
static GArray *make_cuts(GPtrArray *dir)
{
    GArray *cuts = g_array_new(FALSE, FALSE, sizeof(Qcow2BitmapCut));

    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];
        Qcow2BitmapCut cut = { i, b->cut_end };

        if (b->cut_end) {
            g_array_append_val(cuts, cut);
        }
    }
    return cuts;
}

/* Writes the header with @bitmaps, durably; on failure memory is as before. */
static int coroutine_mixed_fn switch_header(BlockDriverState *bs,
                                            const Qcow2BitmapExt *ext,
                                            GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    Qcow2BitmapExt old = s->bitmaps;
    uint64_t old_autoclear = s->autoclear;
    GArray *old_cuts = s->cuts, *old_notes = s->notes;
    GArray *old_lost = s->resume_lost;
    int ret;

    s->bitmaps = *ext;
    s->cuts = make_cuts(dir);
    s->notes = qcow2_make_notes(dir);
    s->resume_lost = qcow2_lost_resume(dir);
    s->autoclear = dir->len && !qcow2_bitmap_dir_unreadable(dir)
        ? QCOW2_AUTOCLEAR_BITMAPS | QCOW2_AUTOCLEAR_CUTS : 0;
    if (s->notes->len) {
        s->autoclear |= QCOW2_AUTOCLEAR_AHEAD;
    }
    if (s->autoclear && s->disk_known) {
        s->autoclear |= QCOW2_AUTOCLEAR_DISK;
    }
    if (dir->len && (ext->resume_bytes || s->resume_lost->len)) {
        s->autoclear |= QCOW2_AUTOCLEAR_RESUME;
    }
    ret = qcow2_update_header(bs);
    if (ret == 0) {
        ret = qcow2_flush_file(bs);
    }
    s->bitmaps_unsure = ret < 0;
    if (ret < 0) {
        s->bitmaps = old;
        s->autoclear = old_autoclear;
        g_array_unref(s->cuts);
        s->cuts = old_cuts;
        g_array_unref(s->notes);
        s->notes = old_notes;
        g_array_unref(s->resume_lost);
        s->resume_lost = old_lost;
        return ret;
    }
    g_array_unref(old_cuts);
    g_array_unref(old_notes);
    g_array_unref(old_lost);
    qcow2_ahead_limit(bs, dir);
    return 0;
}

int coroutine_mixed_fn qcow2_write_notes(BlockDriverState *bs, GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    Qcow2BitmapExt same = s->bitmaps;

    return switch_header(bs, &same, dir);
}

/* Adds what is remembered of jobs to @buf of *@len bytes; notes it in @ext. */
static uint8_t *add_resume(const Qcow2State *s, const GPtrArray *dir,
                           uint8_t *buf, size_t *len, Qcow2BitmapExt *ext)
{
    size_t room = ROUND_UP(*len, s->cluster_size) - *len;
    g_autoptr(GByteArray) records = qcow2_encode_resume(dir, room);

    if (records->len == 0) {
        return buf;
    }
    buf = g_realloc(buf, *len + records->len);
    memcpy(buf + *len, records->data, records->len);
    *len += records->len;
    ext->resume_bytes = records->len;
    ext->resume_crc = crc32c(0, records->data, records->len);
    return buf;
}

/* The same for another directory than there was. */
static int coroutine_mixed_fn replace_extension(BlockDriverState *bs,
                                                const Qcow2BitmapExt *ext,
                                                GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    GByteArray *raw = g_steal_pointer(&s->bitmaps_raw);
    int ret = switch_header(bs, ext, dir);

    if (ret < 0) {
        s->bitmaps_raw = raw;
    } else if (raw) {
        g_byte_array_unref(raw);
    }
    return ret;
}

/* The old directory may not have had the mark, if it could not be changed. */
static void mark_damaged(GPtrArray *dir)
{
    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];

        if (b->damage) {
            b->flags |= QCOW2_BITMAP_IN_USE;
        }
    }
}

/*
 * A bitmap that begins, or loses bits, begins with what was written before: if
 * that were lost later, the disk would be another one where it is clean.
 */
int coroutine_mixed_fn qcow2_bitmaps_switch_dir(BlockDriverState *bs,
                                                GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    Qcow2BitmapExt old = s->bitmaps, new = { 0 };
    bool own = s->bitmap_dir_own == s->bitmaps.dir_size && !s->bitmap_dir_free;
    g_autofree uint8_t *buf = NULL;
    size_t len = 0;
    int ret = 0;

    if (dir->len) {
        mark_damaged(dir);
        buf = qcow2_bitmap_dir_serialise(dir, &len);
        if (len > QCOW2_MAX_BITMAP_DIR) {
            return -EFBIG;
        }
        ret = qcow2_alloc_bytes_run(bs, len, &new.dir_offset);
        if (ret < 0) {
            return ret;
        }
        new.dir_size = len;
        new.nb_bitmaps = qcow2_bitmap_dir_count(dir);
        buf = add_resume(s, dir, buf, &len, &new);
        ret = bdrv_pwrite(bs->file, new.dir_offset, len, buf);
        s->high_water = MAX(s->high_water,
                            new.dir_offset + ROUND_UP(len, s->cluster_size));
    }
    if (ret >= 0) {
        ret = qcow2_evict_refcounts(bs);
    }
    if (ret >= 0) {
        ret = qcow2_write_l2_tables(bs); /* where the data is, see above */
    }
    if (ret >= 0) {
        ret = qcow2_flush_file(bs);
    }
    if (ret < 0) {
        if (len) {
            qcow2_free_now(bs, new.dir_offset, new.dir_size);
        }
        return ret;
    }
    ret = replace_extension(bs, &new, dir);
    if (ret < 0) {
        return ret; /* the state on disk is unknown: free nothing */
    }
    s->bitmap_dir_own = new.dir_size;
    s->bitmap_dir_free = false;
    qcow2_bitmap_dir_written(s, dir);
    if (own && old.dir_size) {
        qcow2_free_now(bs, old.dir_offset, old.dir_size);
    }
    return 0;
}

/* --- storing --- */

static Qcow2Bitmap *entry_for(GPtrArray *dir, const BdrvDirtyBitmap *bitmap)
{
    const char *name = bdrv_dirty_bitmap_name(bitmap);
    Qcow2Bitmap *b = qcow2_bitmap_dir_find(dir, name);

    if (!b) {
        b = g_new0(Qcow2Bitmap, 1);
        b->name = g_strdup(name);
        b->type = QCOW2_BITMAP_TYPE_DIRTY;
        qcow2_bitmap_dir_add(dir, b);
    }
    return b;
}

/* Frees the new tables after a failure; the image is unchanged. */
static void coroutine_mixed_fn undo_store(BlockDriverState *bs, GPtrArray *dir)
{
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        if (b->stored) {
            free_stored(bs, b, b->table_offset, b->table_size, b->reused);
        }
    }
}

/* The table from which store_bits() takes what is stored already, or NULL. */
static uint64_t *table_to_reuse(BlockDriverState *bs, const Qcow2Bitmap *b,
                                const BdrvDirtyBitmap *bitmap)
{
    Qcow2State *s = bs->opaque;
    const uint64_t *table = qcow2_ahead_table(bs, bitmap, b);
    uint64_t n = qcow2_bitmap_table_entries(bdrv_dirty_bitmap_size(bitmap),
                                            b->granularity_bits,
                                            s->cluster_bits);

    return table && n == b->table_size ? g_memdup2(table, n * sizeof(*table))
                                       : NULL;
}

/* @in_use: the image goes on being written, and the bitmap is kept safe. */
static bool coroutine_mixed_fn store_one(BlockDriverState *bs, GPtrArray *dir,
                                         BdrvDirtyBitmap *bitmap,
                                         bool in_use, Error **errp)
{
    Qcow2Bitmap *b = entry_for(dir, bitmap);
    int64_t size = bdrv_dirty_bitmap_size(bitmap);
    uint64_t excess = 0;
    bool adopted = false;
    int ret;

    if (in_use) {
        bdrv_dirty_bitmap_storing(bitmap);
        adopted = !qcow2_ahead_has(bs->opaque, bitmap) &&
                  qcow2_bitmap_adopt_bits(bs, b, bitmap, &excess);
    }
    b->granularity_bits = ctz64(bdrv_dirty_bitmap_granularity(bitmap));
    b->cut_end = bdrv_dirty_bitmap_cut_end(bitmap);
    bdrv_bitmap_resume_free(b->resume);
    b->resume = bdrv_bitmap_resume_copy(bdrv_dirty_bitmap_resume(bitmap));
    b->flags &= QCOW2_BITMAP_EXTRA_COMPATIBLE;
    if (bdrv_dirty_bitmap_enabled(bitmap)) {
        b->flags |= QCOW2_BITMAP_AUTO;
    }
    b->level = QCOW2_AHEAD_NONE;
    if (in_use) {
        b->flags |= QCOW2_BITMAP_IN_USE;
        b->level = bdrv_dirty_bitmap_safety(bitmap) == BITMAP_SAFETY_POWER
            ? QCOW2_AHEAD_POWER : QCOW2_AHEAD_PROCESS;
        b->covered = size;
        b->over = bdrv_bitmap_regions_default_max(size) + excess;
    }
    b->inexact = excess > 0;
    if (adopted) {
        return true;
    }
    b->reused = in_use ? NULL : table_to_reuse(bs, b, bitmap);
    ret = store_bits(bs, b, bitmap);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not store bitmap '%s'", b->name);
    }
    return ret == 0;
}

/* Makes the image refer to what was stored, and frees what it replaces. */
static bool coroutine_mixed_fn finish_store(BlockDriverState *bs,
                                            GPtrArray *dir, Error **errp)
{
    int ret = qcow2_bitmaps_switch_dir(bs, dir);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the bitmap directory");
        return false; /* leaks the new tables, to which the disk may refer */
    }
    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        if (b->stored && b->old_table_offset) {
            free_stored(bs, b, b->old_table_offset, b->old_table_size,
                        b->reused ? b->table : NULL);
        }
    }
    return true;
}

/* @only NULL: all bitmaps that are to be stored. */
static bool coroutine_fn store_locked(BlockDriverState *bs,
                                      const BdrvDirtyBitmap *only,
                                      Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs);
    BdrvDirtyBitmap *bitmap = NULL;

    if (qcow2_bitmap_disk_size(s) != s->size) {
        /* No program would find bits of the right size. */
        error_setg(errp, "The disk of node '%s' has %" PRId64 " bytes, but the "
                   "image with its bitmaps has %" PRId64,
                   qcow2_bitmap_owner(s)->node_name,
                   qcow2_bitmap_disk_size(s), s->size);
        return false;
    }
    while ((bitmap = bdrv_dirty_bitmap_next(qcow2_bitmap_owner(s), bitmap))) {
        if ((!only || bitmap == only) && bdrv_dirty_bitmap_to_store(bitmap) &&
            !store_one(bs, dir, bitmap, false, errp)) {
            undo_store(bs, dir);
            return false;
        }
    }
    return finish_store(bs, dir, errp);
}

bool coroutine_fn qcow2_store_kept(BlockDriverState *bs, GPtrArray **dirp,
                                   Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs);
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(qcow2_bitmap_owner(s), bitmap))) {
        if (bdrv_dirty_bitmap_to_keep(bitmap) &&
            (!bdrv_dirty_bitmap_kept(bitmap) ||
             bdrv_dirty_bitmap_stale(bitmap)) &&
            !store_one(bs, dir, bitmap, true, errp)) {
            undo_store(bs, dir);
            return false;
        }
    }
    if (!finish_store(bs, dir, errp)) {
        return false;
    }
    *dirp = g_steal_pointer(&dir);
    return true;
}

typedef struct StoreCall {
    BlockDriverState *bs;
    const BdrvDirtyBitmap *only;
    Error **errp;
    bool ok;
} StoreCall;

static void coroutine_fn store_entry(void *opaque)
{
    StoreCall *call = opaque;
    Qcow2State *s = call->bs->opaque;

    BdrvBitmapDisk old = s->disk;

    CO_MUTEX_GUARD(&s->bitmap_lock);
    CO_MUTEX_GUARD(&s->lock);
    if (!call->only && s->disk_saving) {
        s->disk = s->next_disk; /* in the header that the bits are in */
        s->disk_saving = false;
    }
    call->ok = store_locked(call->bs, call->only, call->errp);
    if (!call->ok) {
        s->disk = old;
    } else if (!call->only) {
        qcow2_ahead_end(call->bs);
    }
}

static bool coroutine_mixed_fn bitmaps_save(BdrvBitmapStore *store,
                                            BdrvDirtyBitmap *bitmap,
                                            Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    StoreCall call = { s->image, bitmap, errp, false };

    if (s->broken) {
        error_setg(errp, "Image of node '%s' is corrupt",
                   s->image->node_name);
        return false;
    }
    aio_run_co(call.bs->ctx, store_entry, &call);
    return call.ok;
}

static bool coroutine_fn bitmaps_co_remove(BdrvBitmapStore *store,
                                           const char *name, Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    BlockDriverState *bs = s->image;
    g_autoptr(GPtrArray) dir = NULL;
    Qcow2Bitmap *b, gone;
    g_autofree char *gone_name = NULL;
    bool own;
    int ret;

    CO_MUTEX_GUARD(&s->bitmap_lock);
    CO_MUTEX_GUARD(&s->lock);
    dir = qcow2_bitmap_dir_read(bs);
    b = qcow2_bitmap_dir_find(dir, name);
    if (!b) {
        return true;
    }
    gone = *b;
    gone.name = gone_name = g_strdup(b->name);
    own = !b->damage && qcow2_bitmap_fits(s, b);
    g_ptr_array_remove(dir, b);
    ret = qcow2_bitmaps_switch_dir(bs, dir);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not remove bitmap '%s' from the "
                         "image", name);
        store->owed |= s->bitmaps_unsure; /* begin() before other writes */
        return false;
    }
    qcow2_ahead_forget(store, bdrv_dirty_bitmap_find(store->bs, name));
    if (own) {
        free_stored(bs, &gone, gone.table_offset, gone.table_size, NULL);
    } else {
        warn_report("The clusters of bitmap '%s' of node '%s' are leaked, as "
                    "they may belong to something else; 'qemu-img check -r "
                    "leaks' frees them if not", name, bs->node_name);
    }
    return true;
}

void qcow2_attach_bitmap_store(BlockDriverState *bs)
{
    static const BdrvBitmapStoreOps ops = {
        .can_store = qcow2_bitmaps_can_store,
        .load = qcow2_bitmaps_load,
        .begin = qcow2_bitmaps_begin,
        .save = bitmaps_save,
        .co_remove = bitmaps_co_remove,
        .co_resize = qcow2_bitmaps_co_resize,
        .co_write_intent = qcow2_ahead_co_write_intent,
        .sync = qcow2_ahead_sync,
        .co_settle = qcow2_ahead_co_settle,
        .co_flush = qcow2_ahead_co_flush,
        .forget = qcow2_ahead_forget,
        .regions = qcow2_ahead_regions,
        .leave = qcow2_bitmaps_leave,
        .disk = qcow2_bitmaps_disk,
        .record_disk = qcow2_bitmaps_record_disk,
    };
    Qcow2State *s = bs->opaque;

    s->bitmap_store.ops = &ops;
    s->image = bs;
    bdrv_bitmap_store_attach(bs, &s->bitmap_store);
}
