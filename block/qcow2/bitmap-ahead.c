/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps that are kept safe while the image is written: their stored bits are
 * ahead of the disk.
 *
 *     stored bits  >=  bits in memory  >=  what may have been written
 *
 * Before the first write to a region, all bits of the region are stored and
 * made durable (block/bitmap-regions.h).  They are stored in place, in the
 * clusters of the bitmap; a cluster that it lacks is allocated.  What commands
 * and jobs change in other ways is stored as a whole (qcow2_ahead_sync()), with
 * new tables and a new directory.  The notes in the header say for which
 * bitmaps all this holds.
 *
 * Locks: bitmap_lock before lock.  bitmap_lock is held while stored bits, or
 * the tables in memory here, change.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "qemu/aio.h"
#include "qemu/iov.h"

#define PAGE_BYTES 4096 /* written at once, in place */
#define QUIET_NS INT64_C(5000000000)
#define LOSSES 4 /* one after the other: then it fails */

int64_t qcow2_ahead_region = 16 * MiB;
int64_t qcow2_ahead_max;

typedef struct AheadBitmap {
    BdrvDirtyBitmap *bitmap;
    uint64_t table_offset;
    uint64_t *table; /* host byte order */
    uint32_t n;      /* entries */
    bool inexact;    /* more is set than needed */
} AheadBitmap;

struct Qcow2Ahead {
    BdrvBitmapRegions *regions;
    GArray *bitmaps; /* of AheadBitmap */
    AioTimer *timer;
    bool failed;     /* a part could not be stored: more is set than needed */
    uint64_t lost;   /* losses after which all has been stored anew */
};

/* --- the bitmaps --- */

static void clear_ahead_bitmap(void *opaque)
{
    AheadBitmap *b = opaque;

    g_free(b->table);
}

static AheadBitmap *find(const Qcow2Ahead *a, const BdrvDirtyBitmap *bitmap)
{
    for (guint i = 0; i < a->bitmaps->len; i++) {
        AheadBitmap *b = &g_array_index(a->bitmaps, AheadBitmap, i);

        if (b->bitmap == bitmap) {
            return b;
        }
    }
    return NULL;
}

static void forget(Qcow2Ahead *a, const BdrvDirtyBitmap *bitmap)
{
    for (guint i = 0; i < a->bitmaps->len; i++) {
        if (g_array_index(a->bitmaps, AheadBitmap, i).bitmap == bitmap) {
            g_array_remove_index_fast(a->bitmaps, i);
            return;
        }
    }
}

/* Takes the table of @stored. */
static void keep(Qcow2Ahead *a, BdrvDirtyBitmap *bitmap, Qcow2Bitmap *stored)
{
    AheadBitmap b = {
        .bitmap = bitmap,
        .table_offset = stored->table_offset,
        .table = g_steal_pointer(&stored->table),
        .n = stored->table_size,
        .inexact = stored->inexact,
    };

    forget(a, bitmap);
    g_array_append_val(a->bitmaps, b);
    bdrv_dirty_bitmap_set_kept(bitmap, true);
}

bool qcow2_ahead_has(const Qcow2State *s, const BdrvDirtyBitmap *bitmap)
{
    return s->ahead && find(s->ahead, bitmap);
}

const uint64_t *qcow2_ahead_table(BlockDriverState *bs,
                                  const BdrvDirtyBitmap *bitmap,
                                  const Qcow2Bitmap *stored)
{
    const Qcow2Ahead *a = ((Qcow2State *)bs->opaque)->ahead;
    const AheadBitmap *b = a ? find(a, bitmap) : NULL;

    return b && !b->inexact && !a->failed && bdrv_dirty_bitmap_kept(bitmap) &&
           !bdrv_dirty_bitmap_stale(bitmap) &&
           b->table_offset == stored->table_offset &&
           b->n == stored->table_size ? b->table : NULL;
}

/* No bitmap is kept any more, in memory. */
static void unkeep_all(const Qcow2State *s)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(qcow2_bitmap_owner(s), bitmap))) {
        bdrv_dirty_bitmap_set_kept(bitmap, false);
    }
    g_array_set_size(s->ahead->bitmaps, 0);
}

/* --- storing parts --- */

typedef struct StorePart {
    BlockDriverState *bs;
    AheadBitmap *b;
    int64_t span; /* bytes of the disk for which a cluster has bits */
    int64_t page; /* bytes of the disk for which a page has bits */
    size_t page_bytes;
} StorePart;

/* The bits for [@pos, +@span) in @buf of @len bytes, the rest is zero. */
static void get_bits(const StorePart *p, int64_t pos, int64_t span,
                     uint8_t *buf, size_t len)
{
    Qcow2State *s = p->bs->opaque;
    int64_t bytes = MIN(span, bdrv_dirty_bitmap_size(p->b->bitmap) - pos);

    memset(buf, 0, len);
    if (bytes > 0) {
        bdrv_dirty_bitmap_serialise_stored(p->b->bitmap, s->ahead->regions,
                                           buf, pos, bytes);
    }
}

static bool all_ones(const uint8_t *buf, int64_t bits)
{
    for (int64_t i = 0; i < bits / 8; i++) {
        if (buf[i] != 0xff) {
            return false;
        }
    }
    return bits % 8 == 0 || buf[bits / 8] == (1 << (bits % 8)) - 1;
}

/* The bits of the page are what its entry in the table says without one. */
static bool page_is_implied(const StorePart *p, int64_t pos, uint64_t entry,
                            const uint8_t *buf)
{
    int64_t bytes = MIN(p->page, bdrv_dirty_bitmap_size(p->b->bitmap) - pos);
    int64_t granularity = bdrv_dirty_bitmap_granularity(p->b->bitmap);

    return entry ? all_ones(buf, DIV_ROUND_UP(bytes, granularity))
                 : buffer_is_zero(buf, p->page_bytes);
}

static int coroutine_fn write_entry(const StorePart *p, uint32_t i,
                                    uint64_t entry)
{
    uint8_t bytes[8];
    int ret;

    st64_be(bytes, entry);
    ret = bdrv_pwrite(p->bs->file, p->b->table_offset + i * UINT64_C(8),
                      sizeof(bytes), bytes);
    if (ret >= 0) {
        p->b->table[i] = entry;
    }
    return MIN(ret, 0);
}

/*
 * Gives the bitmap a cluster for entry @i: its content and its refcount are
 * durable before the table refers to it.
 */
static int coroutine_fn add_cluster(const StorePart *p, uint32_t i)
{
    Qcow2State *s = p->bs->opaque;
    uint8_t *buf = bdrv_try_blockalign(p->bs->file->bs, s->cluster_size);
    uint64_t offset;
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    CO_MUTEX_GUARD(&s->lock);
    ret = qcow2_alloc_bytes_run(p->bs, s->cluster_size, &offset);
    if (ret == 0) {
        get_bits(p, i * p->span, p->span, buf, s->cluster_size);
        ret = bdrv_pwrite(p->bs->file, offset, s->cluster_size, buf);
        s->high_water = MAX(s->high_water, offset + s->cluster_size);
        if (ret >= 0) {
            ret = qcow2_evict_refcounts(p->bs);
        }
        if (ret >= 0) {
            ret = qcow2_flush_file(p->bs);
        }
        if (ret < 0) {
            qcow2_free_now(p->bs, offset, s->cluster_size);
        } else {
            ret = write_entry(p, i, offset); /* if it fails: leaked */
        }
    }
    qemu_vfree(buf);
    return MIN(ret, 0);
}

/*
 * Bits that a command or a job has removed stay until all are stored at once
 * (qcow2_ahead_sync()): adds those of the page that is stored at @offset.
 */
static int coroutine_fn keep_old_bits(const StorePart *p, uint64_t offset,
                                      uint8_t *buf)
{
    g_autofree uint8_t *old = g_malloc(p->page_bytes);
    int ret = bdrv_pread(p->bs->file, offset, p->page_bytes, old);

    for (size_t i = 0; ret >= 0 && i < p->page_bytes; i++) {
        buf[i] |= old[i];
    }
    return MIN(ret, 0);
}

static int coroutine_fn store_page(const StorePart *p, int64_t pos)
{
    Qcow2State *s = p->bs->opaque;
    uint32_t i = pos / p->span;
    uint64_t entry = p->b->table[i], at = entry & QCOW2_OFFSET_MASK;
    uint8_t *buf = bdrv_try_blockalign(p->bs->file->bs, p->page_bytes);
    bool stale;
    int ret = 0;

    if (!buf) {
        return -ENOMEM;
    }
    get_bits(p, pos, p->page, buf, p->page_bytes);
    stale = bdrv_dirty_bitmap_stale(p->b->bitmap);
    if (at) {
        at += pos % p->span / p->page * p->page_bytes;
        ret = stale ? keep_old_bits(p, at, buf) : 0;
        if (ret == 0) {
            ret = bdrv_pwrite(p->bs->file, at, p->page_bytes, buf);
        }
        s->high_water = MAX(s->high_water, at + p->page_bytes);
    } else if (!(entry && stale) &&
               !page_is_implied(p, pos, entry, buf)) {
        ret = add_cluster(p, i);
    }
    qemu_vfree(buf);
    return MIN(ret, 0);
}

static int coroutine_fn store_regions_of(BlockDriverState *bs, AheadBitmap *b,
                                         const int64_t *offsets, size_t n)
{
    Qcow2State *s = bs->opaque;
    int64_t granularity = bdrv_dirty_bitmap_granularity(b->bitmap);
    StorePart p = {
        .bs = bs,
        .b = b,
        .span = s->cluster_size * 8 * granularity,
        .page_bytes = MIN(PAGE_BYTES, s->cluster_size),
    };
    int64_t done = 0, end, size = bdrv_dirty_bitmap_size(b->bitmap);
    int ret = 0;

    p.page = p.page_bytes * 8 * granularity;
    for (size_t i = 0; ret == 0 && i < n; i++) {
        int64_t pos = MAX(ROUND_DOWN(offsets[i], p.page), done);

        end = MIN(offsets[i] + qcow2_ahead_region, size);
        for (; ret == 0 && pos < end && pos / p.span < b->n; pos += p.page) {
            ret = store_page(&p, pos);
            done = pos + p.page;
        }
    }
    return ret;
}

/* BdrvBitmapRegionsOps.co_store. */
static int coroutine_fn store_regions(void *opaque, const int64_t *offsets,
                                      size_t n, bool opens)
{
    BlockDriverState *bs = opaque;
    Qcow2State *s = bs->opaque;
    bool durable = false;
    int ret = 0;

    for (guint i = 0; ret == 0 && i < s->ahead->bitmaps->len; i++) {
        AheadBitmap *b = &g_array_index(s->ahead->bitmaps, AheadBitmap, i);

        durable |= bdrv_dirty_bitmap_safety(b->bitmap) == BITMAP_SAFETY_POWER;
        ret = store_regions_of(bs, b, offsets, n);
    }
    if (ret == 0 && opens && durable) {
        CO_MUTEX_GUARD(&s->lock);
        ret = qcow2_flush_file(bs);
    }
    s->ahead->failed |= ret < 0;
    return ret;
}

void qcow2_ahead_lost(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (s->ahead) {
        s->ahead->failed = true; /* nothing that was stored is reused */
    }
}

/* --- life --- */

static Qcow2Ahead *get_ahead(BlockDriverState *bs)
{
    static const BdrvBitmapRegionsOps ops = { .co_store = store_regions };
    Qcow2State *s = bs->opaque;
    Qcow2Ahead *a = s->ahead;
    int64_t size = qcow2_bitmap_disk_size(s);

    if (!a) {
        a = s->ahead = g_new0(Qcow2Ahead, 1);
        a->bitmaps = g_array_new(FALSE, FALSE, sizeof(AheadBitmap));
        g_array_set_clear_func(a->bitmaps, clear_ahead_bitmap);
        a->regions = bdrv_bitmap_regions_new(
            size, qcow2_ahead_region,
            qcow2_ahead_max ?: bdrv_bitmap_regions_default_max(size),
            &s->bitmap_lock, &ops, bs);
        a->lost = qcow2_lost_writes(bs);
        qcow2_ahead_start_timer(bs);
    }
    return a;
}

void qcow2_ahead_end(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (s->ahead) {
        unkeep_all(s);
        qcow2_ahead_stop_timer(bs);
        bdrv_bitmap_regions_free(s->ahead->regions);
        g_array_unref(s->ahead->bitmaps);
        g_clear_pointer(&s->ahead, g_free);
    }
}

void qcow2_bitmaps_leave(BdrvBitmapStore *store)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);

    qcow2_ahead_end(s->image);
}

void qcow2_ahead_forget(BdrvBitmapStore *store, BdrvDirtyBitmap *bitmap)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);

    if (s->ahead && bitmap) {
        forget(s->ahead, bitmap);
        bdrv_dirty_bitmap_set_kept(bitmap, false);
    }
}

const BdrvBitmapRegions *qcow2_ahead_regions(const BdrvBitmapStore *store)
{
    const Qcow2State *s = container_of(store, Qcow2State, bitmap_store);

    return s->ahead ? s->ahead->regions : NULL;
}

/* --- begin, sync, drop --- */

/* What is stale, or all, is kept no longer. */
static void drop_in_memory(BlockDriverState *bs, bool all, const char *why)
{
    Qcow2State *s = bs->opaque;
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(qcow2_bitmap_owner(s), bitmap))) {
        bool kept = bdrv_dirty_bitmap_kept(bitmap);

        if (kept && (all || bdrv_dirty_bitmap_stale(bitmap))) {
            forget(s->ahead, bitmap);
            bdrv_dirty_bitmap_give_up(bitmap, why, true);
        }
    }
}

/* One message is enough for all of them. */
static void tell_no_room(const BlockDriverState *owner, const char *first,
                         unsigned count)
{
    if (count) {
        warn_report("%u bitmaps of node '%s' would not survive a crash, '%s' "
                    "and those after it: the header of the image has no room "
                    "for more notes", count, owner->node_name, first);
    }
}

void coroutine_mixed_fn qcow2_ahead_limit(BlockDriverState *bs,
                                          GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;
    BlockDriverState *owner = qcow2_bitmap_owner(s);
    g_autoptr(GPtrArray) all = dir ? g_ptr_array_ref(dir)
                                   : qcow2_bitmap_dir_read(bs);
    g_autofree char *first = NULL;
    unsigned count = 0;

    for (guint i = s->noted; i < s->notes->len; i++) {
        guint index = g_array_index(s->notes, Qcow2BitmapNote, i).index;
        Qcow2Bitmap *b = index < all->len ? all->pdata[index] : NULL;
        BdrvDirtyBitmap *bitmap = b ? bdrv_dirty_bitmap_find(owner, b->name)
                                    : NULL;

        if (b) {
            b->level = QCOW2_AHEAD_NONE;
        }
        if (bitmap && (bdrv_dirty_bitmap_kept(bitmap) ||
                       bdrv_dirty_bitmap_to_keep(bitmap))) {
            if (s->ahead) {
                forget(s->ahead, bitmap);
            }
            bdrv_dirty_bitmap_give_up(bitmap, "There is no room in the header "
                                      "of the image", false);
            first = first ?: g_strdup(b->name);
            count++;
        }
    }
    g_array_set_size(s->notes, MIN(s->notes->len, s->noted));
    tell_no_room(owner, first, count);
}

/* The stored bits of @bitmap are its bits: notes it in @dir. */
static bool coroutine_mixed_fn adopt(BlockDriverState *bs, Qcow2Bitmap *b,
                                     BdrvDirtyBitmap *bitmap)
{
    Qcow2State *s = bs->opaque;
    int64_t size = bdrv_dirty_bitmap_size(bitmap);

    if (b->table_size != qcow2_bitmap_table_entries(size, b->granularity_bits,
                                                    s->cluster_bits)) {
        return false;
    }
    bdrv_dirty_bitmap_storing(bitmap);
    b->table = qcow2_bitmap_read_table(bs, b, NULL, NULL);
    if (!b->table) {
        return false;
    }
    b->level = bdrv_dirty_bitmap_safety(bitmap) == BITMAP_SAFETY_POWER
        ? QCOW2_AHEAD_POWER : QCOW2_AHEAD_PROCESS;
    b->covered = size;
    b->over = bdrv_bitmap_regions_default_max(size);
    return true;
}

/*
 * False: the bits that are stored cover a disk of another size; their notes
 * stay until all are stored anew.
 */
static bool coroutine_mixed_fn adopt_all(BlockDriverState *bs, GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;

    for (guint i = 0; i < dir->len; i++) {
        const Qcow2Bitmap *b = dir->pdata[i];

        if (qcow2_bitmap_is_ahead(b) &&
            b->covered != qcow2_bitmap_disk_size(s)) {
            return false;
        }
    }
    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];
        BdrvDirtyBitmap *bitmap =
            bdrv_dirty_bitmap_find(qcow2_bitmap_owner(s), b->name);
        bool wanted = bitmap && bdrv_dirty_bitmap_to_keep(bitmap);

        if (!(wanted && !bdrv_dirty_bitmap_stale(bitmap) &&
              adopt(bs, b, bitmap)) &&
            !(wanted && qcow2_bitmap_is_ahead(b))) {
            b->level = QCOW2_AHEAD_NONE;
        }
    }
    return true;
}

/*
 * What an earlier process has left in the host's caches is to survive more from
 * now on.
 */
static int coroutine_mixed_fn make_durable(BlockDriverState *bs,
                                           GPtrArray *dir)
{
    for (guint i = 0; i < dir->len; i++) {
        if (qcow2_bitmap_is_ahead(dir->pdata[i])) {
            int ret = qcow2_update_header(bs); /* else nothing is flushed */

            return ret < 0 ? ret : qcow2_flush_file(bs);
        }
    }
    return 0;
}

static void keep_all(BlockDriverState *bs, GPtrArray *dir)
{
    Qcow2State *s = bs->opaque;

    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];
        BdrvDirtyBitmap *bitmap =
            bdrv_dirty_bitmap_find(qcow2_bitmap_owner(s), b->name);

        if (bitmap && b->table && b->level != QCOW2_AHEAD_NONE) {
            keep(get_ahead(bs), bitmap, b);
        }
    }
}

/* Has @dir notes, or the header any, which are to be written or removed? */
static bool has_notes(const Qcow2State *s, const GPtrArray *dir)
{
    bool any = s->autoclear & ~(uint64_t)(QCOW2_AUTOCLEAR_BITMAPS |
                                          QCOW2_AUTOCLEAR_CUTS |
                                          QCOW2_AUTOCLEAR_RESUME);

    for (guint i = 0; i < dir->len; i++) {
        any |= ((const Qcow2Bitmap *)dir->pdata[i])->level != QCOW2_AHEAD_NONE;
    }
    return any;
}

bool coroutine_mixed_fn qcow2_ahead_begin(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = NULL;
    int ret;

    if (!qcow2_has_bitmaps(s)) {
        return true;
    }
    dir = qcow2_bitmap_dir_read(bs);
    ret = make_durable(bs, dir);
    if (ret == 0) {
        if (!adopt_all(bs, dir) || !has_notes(s, dir)) {
            return true;
        }
        ret = qcow2_write_notes(bs, dir);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the header");
        return false;
    }
    keep_all(bs, dir);
    return true;
}

/* Keeps @all, or what is stale, no longer, and says so in the header. */
static bool coroutine_fn drop(BlockDriverState *bs, bool all, const char *why,
                              Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs);
    BdrvDirtyBitmap *bitmap;
    int ret;

    for (guint i = 0; i < dir->len; i++) {
        Qcow2Bitmap *b = dir->pdata[i];

        bitmap = bdrv_dirty_bitmap_find(qcow2_bitmap_owner(s), b->name);
        if (all || !bitmap || !find(s->ahead, bitmap) ||
            bdrv_dirty_bitmap_stale(bitmap)) {
            b->level = QCOW2_AHEAD_NONE;
        }
    }
    ret = qcow2_write_notes(bs, dir);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the header");
        return false;
    }
    drop_in_memory(bs, all, why);
    return true;
}

/*
 * Writes that begin from now on wait until their region is open in the bitmaps
 * that are being stored, too; those in flight are marked in them.  False: there
 * is nothing to store.
 */
static bool announce(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;
    BdrvDirtyBitmap *bitmap = NULL;
    bool any = false;

    while ((bitmap = bdrv_dirty_bitmap_next(qcow2_bitmap_owner(s), bitmap))) {
        if (bdrv_dirty_bitmap_to_keep(bitmap)) {
            any |= bdrv_dirty_bitmap_await_kept(bitmap);
        }
    }
    return any;
}

/* A flush that finds a loss fails once: what is in memory can be stored. */
static bool coroutine_fn try_store(BlockDriverState *bs, GPtrArray **dir,
                                   Error **errp)
{
    const Qcow2State *s = bs->opaque;

    for (int n = 1; ; n++) {
        uint64_t lost = qcow2_lost_writes(bs);
        Error *err = NULL;

        if (qcow2_store_kept(bs, dir, &err)) {
            return true;
        }
        if (s->bitmaps_unsure || n == LOSSES ||
            (lost == qcow2_lost_writes(bs) && lost == s->lost_seen)) {
            error_propagate(errp, err);
            return false;
        }
        error_free(err);
    }
}

static bool coroutine_fn sync_locked(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = NULL;
    Error *err = NULL;
    bool ok;

    if (!announce(bs)) {
        return true;
    }
    bdrv_bitmap_regions_resize(get_ahead(bs)->regions,
                               qcow2_bitmap_disk_size(s));
    if (try_store(bs, &dir, &err)) {
        keep_all(bs, dir);
        return true;
    }
    if (s->bitmaps_unsure) {
        error_propagate(errp, err);
        return false;
    }
    ok = drop(bs, false, error_get_pretty(err), errp);
    error_free(err);
    return ok;
}

typedef struct SyncCall {
    BlockDriverState *bs;
    Error **errp;
    bool ok;
} SyncCall;

static void coroutine_fn sync_entry(void *opaque)
{
    SyncCall *call = opaque;
    Qcow2State *s = call->bs->opaque;

    CO_MUTEX_GUARD(&s->bitmap_lock);
    CO_MUTEX_GUARD(&s->lock);
    if (s->growing || s->broken) {
        call->ok = true; /* the resize does it in the end; or nobody does */
        return;
    }
    call->ok = sync_locked(call->bs, call->errp);
}

bool coroutine_mixed_fn qcow2_ahead_sync(BdrvBitmapStore *store, Error **errp)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    SyncCall call = {.bs = s->image, .errp = errp};

    aio_run_co(call.bs->ctx, sync_entry, &call);
    return call.ok;
}

/* --- after a loss (loss.c) --- */

/*
 * Have bits been stored that a server may have forgotten?  For bitmaps that
 * survive only the end of this process, opening a region does not flush.  Not
 * where nothing can be done: a resize stores all in the end.
 */
static bool has_lost(const Qcow2State *s)
{
    return !s->broken && !s->growing &&
           s->ahead->lost != qcow2_lost_writes(s->image);
}

/* Stores all bitmaps that are kept, in new clusters, before other writes. */
static int coroutine_fn store_again(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    CO_MUTEX_GUARD(&s->bitmap_lock);
    CO_MUTEX_GUARD(&s->lock);
    for (int n = 0; s->ahead && has_lost(s); n++) {
        uint64_t lost = qcow2_lost_writes(bs);
        Error *err = NULL;

        if (n == LOSSES) {
            return -EIO;
        }
        if (s->lost_seen != lost && qcow2_flush_file(bs) < 0 &&
            s->lost_seen != lost) {
            continue; /* it was to find the loss, and failed otherwise */
        }
        for (guint i = 0; i < s->ahead->bitmaps->len; i++) {
            AheadBitmap *b = &g_array_index(s->ahead->bitmaps, AheadBitmap, i);

            bdrv_dirty_bitmap_set_stale(b->bitmap, true);
        }
        if (!sync_locked(bs, &err)) {
            error_report_err(err);
            s->bitmap_store.owed = true;
            return -EIO;
        }
        s->ahead->lost = lost;
    }
    return 0;
}

int coroutine_fn qcow2_ahead_co_flush(BdrvBitmapStore *store)
{
    const Qcow2State *s = container_of(store, Qcow2State, bitmap_store);

    return s->ahead && has_lost(s) ? store_again(s->image) : 0;
}

/* --- quiet regions --- */

static void coroutine_fn close_quiet_entry(void *opaque)
{
    BlockDriverState *bs = opaque;
    Qcow2State *s = bs->opaque;
    BlockDriverState *owner = qcow2_bitmap_owner(s);

    (void)store_again(bs); /* if it fails, the next write does it */
    if (s->ahead) {
        bdrv_bitmap_regions_co_close_quiet(s->ahead->regions);
    }
    bdrv_dec_in_flight(owner);
}

void coroutine_fn qcow2_ahead_co_settle(BdrvBitmapStore *store)
{
    const Qcow2State *s = container_of(store, Qcow2State, bitmap_store);

    if (s->ahead) {
        bdrv_bitmap_regions_co_close_quiet(s->ahead->regions);
    }
}

void qcow2_ahead_tick(void *opaque)
{
    BlockDriverState *bs = opaque;
    Qcow2State *s = bs->opaque;
    BlockDriverState *owner = qcow2_bitmap_owner(s);

    aio_timer_mod(s->ahead->timer, aio_now_ns() + QUIET_NS);
    if ((bdrv_bitmap_regions_open_bytes(s->ahead->regions) ||
         has_lost(s)) && !s->broken && !bdrv_is_drained(owner)) {
        /* A drain waits for it; one of the image drains the owner, too. */
        bdrv_inc_in_flight(owner);
        coroutine_enter(coroutine_create(close_quiet_entry, bs));
    }
}

void qcow2_ahead_start_timer(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (s->ahead && !s->ahead->timer) {
        s->ahead->timer = aio_timer_new(bs->ctx, AIO_SCOPE_IO,
                                        qcow2_ahead_tick, bs);
        aio_timer_mod(s->ahead->timer, aio_now_ns() + QUIET_NS);
    }
}

void qcow2_ahead_stop_timer(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (s->ahead) {
        g_clear_pointer(&s->ahead->timer, aio_timer_free);
    }
}

/* --- writes --- */

/* A region could not be opened. */
static int coroutine_fn give_up(BlockDriverState *bs, int ret)
{
    Qcow2State *s = bs->opaque;
    g_autofree char *why = g_strdup_printf("Could not store that a write "
                                           "begins: %s", g_strerror(-ret));

    CO_MUTEX_GUARD(&s->bitmap_lock);
    CO_MUTEX_GUARD(&s->lock);
    if (s->ahead->bitmaps->len == 0 || drop(bs, true, why, NULL)) {
        return 0;
    }
    /* What the header says is not known: begin() comes before other writes. */
    s->bitmap_store.owed = true;
    return ret;
}

/* Is all recorded for a write to the range? */
static bool covers(const Qcow2State *s, int64_t offset, int64_t bytes)
{
    return !has_lost(s) &&
           (bdrv_bitmap_regions_covers(s->ahead->regions, offset, bytes) ||
            bdrv_dirty_bitmap_kept_cover(qcow2_bitmap_owner(s), offset,
                                         bytes));
}

int coroutine_fn qcow2_ahead_co_write_intent(BdrvBitmapStore *store,
                                             int64_t offset, int64_t bytes)
{
    Qcow2State *s = container_of(store, Qcow2State, bitmap_store);
    int ret = 0;

    for (int n = 0; s->ahead && !covers(s, offset, bytes); n++) {
        uint64_t seen;

        if (s->broken) {
            return -EIO; /* nothing more is written to it */
        }
        ret = has_lost(s) ? store_again(s->image) : 0;
        if (ret < 0 || !s->ahead) {
            return ret;
        }
        seen = s->lost_seen;
        ret = bdrv_bitmap_regions_co_open(s->ahead->regions, offset, bytes);
        /* A flush that finds a loss fails once. */
        if (ret < 0 &&
            (n == LOSSES || (s->lost_seen == seen && !has_lost(s)))) {
            return give_up(s->image, ret);
        }
    }
    return 0;
}
