/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Persistent bitmaps: when the store of a node is called. */
#include "qemu/osdep.h"

#include "block/activate.h"
#include "block/bitmap-resume.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph.h"
#include "block/io.h"

/* --- defaults --- */

static BitmapSafety program_safety = BITMAP_SAFETY_POWER;

BitmapSafety bdrv_bitmap_default_safety(void)
{
    const char *text = g_getenv("TIDEMARK_BITMAP_SAFETY");
    int value = text ? qapi_enum_parse(&qapi_type_BitmapSafety, text, NULL)
                     : -1;

    return value < 0 ? program_safety : value;
}

void bdrv_bitmap_set_default_safety(BitmapSafety safety)
{
    program_safety = safety;
}

void bdrv_bitmap_store_set_safety(BdrvBitmapStore *store, BitmapSafety safety)
{
    BdrvDirtyBitmap *bitmap = NULL;

    store->safety = safety;
    while ((bitmap = bdrv_dirty_bitmap_next(store->bs, bitmap))) {
        if (bitmap->safety_of_store) {
            bitmap->safety = MAX(safety, bitmap->least_safety);
        }
    }
}

/* --- the store of a node --- */

BdrvBitmapStore *bdrv_bitmap_store_attach(BlockDriverState *bs,
                                          BdrvBitmapStore *store)
{
    BdrvBitmapStore *old = bdrv_node(bs)->bitmaps.store;

    g_assert(store->ops->can_store && store->ops->load && store->ops->begin &&
             store->ops->save && store->ops->co_remove);
    store->bs = bs;
    store->begun = old && old->begun;
    store->owed = old && old->owed;
    bdrv_node(bs)->bitmaps.store = store;
    bdrv_bitmap_store_set_safety(store, bdrv_bitmap_default_safety());
    return old;
}

void bdrv_bitmap_store_detach(BlockDriverState *bs)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    bdrv_node(bs)->bitmaps.store = NULL;
    if (store && store->ops->free) {
        store->ops->free(store);
    }
}

/* --- calls of the store --- */

bool coroutine_mixed_fn bdrv_bitmap_store_load(BlockDriverState *bs,
                                               Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    /* Those of an inactive node change in another process. */
    return !store || bdrv_is_inactive(bs) || store->ops->load(store, errp);
}

/* What could not be kept safe is tried again. */
static void try_again(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        bitmap->given_up = false;
    }
}

bool coroutine_mixed_fn bdrv_bitmap_store_begin(BlockDriverState *bs,
                                                BdrvDirtyBitmap *bitmap,
                                                Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (!store) {
        return true;
    }
    if (!bitmap) {
        try_again(bs);
    }
    if (!store->ops->begin(store, bitmap, errp)) {
        /* What is stored may count, without what is written from now on. */
        store->owed |= !bitmap;
        return false;
    }
    if (!bitmap) {
        store->begun = true;
        store->owed = false;
    }
    return true;
}

bool bdrv_dirty_bitmap_to_store(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->name && bdrv_dirty_bitmap_persistent(bitmap) &&
           !bdrv_dirty_bitmap_readonly(bitmap) &&
           !bdrv_dirty_bitmap_inconsistent(bitmap) &&
           /* else it lacks the changes in its successor */
           !bdrv_dirty_bitmap_has_successor(bitmap);
}

static bool any_to_store(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_to_store(bitmap)) {
            return true;
        }
    }
    return false;
}

/* What is stored is current: begin() need not store it anew. */
static void set_stored(BlockDriverState *bs, const BdrvDirtyBitmap *only)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if ((!only || bitmap == only) && bdrv_dirty_bitmap_to_store(bitmap)) {
            bdrv_dirty_bitmap_set_stale(bitmap, false);
        }
    }
}

static void release_stored(BlockDriverState *bs, const BdrvDirtyBitmap *only)
{
    BdrvDirtyBitmap *bitmap, *next;

    for (bitmap = bdrv_dirty_bitmap_next(bs, NULL); bitmap; bitmap = next) {
        next = bdrv_dirty_bitmap_next(bs, bitmap);
        if ((!only || bitmap == only) && bdrv_dirty_bitmap_to_store(bitmap) &&
            !bdrv_dirty_bitmap_busy(bitmap)) {
            bdrv_dirty_bitmap_release(bitmap);
        }
    }
}

bool coroutine_mixed_fn bdrv_bitmap_store_save(BlockDriverState *bs,
                                               BdrvDirtyBitmap *bitmap,
                                               bool release, Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;
    bool any = store && (bitmap ? bdrv_dirty_bitmap_to_store(bitmap)
                                : any_to_store(bs));

    if (any && !store->ops->save(store, bitmap, errp)) {
        /* A stored bitmap may count as current: writes must mark it first. */
        store->owed = true;
        return false;
    }
    if (store && !bitmap) {
        store->begun = false;
    }
    if (any) {
        set_stored(bs, bitmap);
    }
    if (any && release) {
        release_stored(bs, bitmap);
    }
    return true;
}

bool coroutine_fn bdrv_bitmap_store_co_resize(BlockDriverState *bs,
                                              int64_t bytes, Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    return !store || !store->ops->co_resize ||
           store->ops->co_resize(store, bytes, errp);
}

/* Marks the bitmaps, which a reopen could not do; writes wait for it. */
static int coroutine_fn begin_owed(BlockDriverState *bs)
{
    Error *err = NULL;

    if (bdrv_bitmap_store_begin(bs, NULL, &err)) {
        return 0;
    }
    error_free(err); /* reported when it became owed */
    return -EIO;
}

int coroutine_fn bdrv_bitmap_store_co_write_intent(BlockDriverState *bs,
                                                   int64_t offset,
                                                   int64_t bytes)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;
    int ret;

    if (G_LIKELY(!store)) {
        return 0;
    }
    if (G_UNLIKELY(store->owed)) {
        ret = begin_owed(bs);
        if (ret < 0) {
            return ret;
        }
    }
    return store->ops->co_write_intent
        ? store->ops->co_write_intent(store, offset, bytes) : 0;
}

int coroutine_fn bdrv_bitmap_store_co_flush(BlockDriverState *bs)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    return store && store->begun && store->ops->co_flush
        ? store->ops->co_flush(store) : 0;
}

/* --- bitmaps that are kept safe --- */

bool bdrv_dirty_bitmap_to_keep(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->name && bdrv_dirty_bitmap_persistent(bitmap) &&
           bitmap->safety != BITMAP_SAFETY_CLOSE && !bitmap->given_up &&
           !bdrv_dirty_bitmap_readonly(bitmap) &&
           !bdrv_dirty_bitmap_inconsistent(bitmap);
}

BitmapSafety bdrv_dirty_bitmap_safety(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->safety;
}

void bdrv_dirty_bitmap_set_kept(BdrvDirtyBitmap *bitmap, bool kept)
{
    bitmap->kept = kept;
    if (kept) {
        bitmap->stored = bitmap->storing;
    } else {
        bitmap->changes++;
    }
}

bool bdrv_dirty_bitmap_await_kept(BdrvDirtyBitmap *bitmap)
{
    bitmap->changes += !bitmap->kept;
    bitmap->kept = true;
    return bdrv_dirty_bitmap_stale(bitmap);
}

void bdrv_dirty_bitmap_storing(BdrvDirtyBitmap *bitmap)
{
    bitmap->storing = bitmap->changes;
}

void bdrv_dirty_bitmap_set_stale(BdrvDirtyBitmap *bitmap, bool stale)
{
    bitmap->stored = bitmap->storing = bitmap->changes;
    bitmap->changes += stale;
}

static void tell_unsafe(const BdrvDirtyBitmap *bitmap, const char *reason)
{
    if (bdrv_event_hooks.bitmap_unsafe) {
        bdrv_event_hooks.bitmap_unsafe(bitmap->bs, bitmap->name, reason);
    }
}

void bdrv_dirty_bitmap_give_up(BdrvDirtyBitmap *bitmap, const char *reason,
                               bool warn)
{
    bdrv_dirty_bitmap_set_kept(bitmap, false);
    bitmap->given_up = true;
    if (warn) {
        warn_report("Bitmap '%s' of node '%s' would not survive a crash: %s",
                    bitmap->name, bitmap->bs->node_name, reason);
    }
    tell_unsafe(bitmap, reason);
}

bool bdrv_dirty_bitmap_kept(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->kept;
}

bool bdrv_dirty_bitmap_stale(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->stored != bitmap->changes;
}

void bdrv_bitmap_store_forget(BdrvDirtyBitmap *bitmap)
{
    BdrvBitmapStore *store = bdrv_node(bitmap->bs)->bitmaps.store;

    store->ops->forget(store, bitmap);
    /* What is stored must not count as ahead of the disk when that changes. */
    store->owed = true;
}

static bool is_stale(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_stale(bitmap) && (bitmap->kept ||
                              bdrv_dirty_bitmap_to_keep(bitmap))) {
            return true;
        }
    }
    return false;
}

bool coroutine_mixed_fn bdrv_bitmap_store_sync(BlockDriverState *bs,
                                               Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (store && store->begun && store->ops->sync && is_stale(bs) &&
        !store->ops->sync(store, errp)) {
        store->owed = true; /* writes wait until it can be recorded */
        error_prepend(errp, "Bitmaps of node '%s': ", bs->node_name);
        return false;
    }
    return true;
}

void coroutine_mixed_fn bdrv_bitmap_store_sync_report(BlockDriverState *bs)
{
    Error *err = NULL;

    if (!bdrv_bitmap_store_sync(bs, &err)) {
        error_report_err(err);
    }
}

bool bdrv_bitmap_store_sync_all(Error **errp)
{
    BlockDriverState *bs = NULL;
    bool ok = true;

    while ((bs = bdrv_next_node(bs))) {
        Error *err = NULL;

        if (!bdrv_bitmap_store_sync(bs, &err)) {
            error_propagate(ok ? errp : NULL, err);
            ok = false;
        }
    }
    return ok;
}

static void coroutine_fn settle_entry(void *opaque)
{
    BlockDriverState *bs = opaque;
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    bdrv_inc_in_flight(bs);
    store->ops->co_settle(store);
    bdrv_dec_in_flight(bs);
}

void bdrv_bitmap_store_settle_all(void)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new_with_free_func(
        (GDestroyNotify)bdrv_unref);
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        g_ptr_array_add(nodes, bdrv_ref(bs));
    }
    for (guint i = 0; i < nodes->len; i++) {
        const BdrvBitmapStore *store;

        bs = nodes->pdata[i];
        store = bdrv_node(bs)->bitmaps.store;
        if (store && store->begun && store->ops->co_settle) {
            aio_run_co(bs->ctx, settle_entry, bs);
        }
    }
}

static int64_t count_clean(const HBitmap *bits, int64_t start, int64_t end)
{
    int64_t sum = 0, n;

    for (int64_t at = start; at < end; at += n) {
        sum += hbitmap_status(bits, at, end - at, &n) ? 0 : n;
    }
    return sum;
}

int64_t bdrv_dirty_bitmap_over(const BdrvDirtyBitmap *bitmap)
{
    const BdrvBitmapStore *store = bdrv_node(bitmap->bs)->bitmaps.store;
    const BdrvBitmapRegions *regions = store && store->ops->regions
        ? store->ops->regions(store) : NULL;
    const HBitmap *bits = bitmap->successor ?: bitmap->bits;
    int64_t size = hbitmap_size(bits), sum = 0, next;

    if (!regions || !bdrv_dirty_bitmap_recording(bitmap)) {
        return 0;
    }
    for (int64_t at = 0; at < size; at = next) {
        if (bdrv_bitmap_regions_wanted(regions, at, &next)) {
            sum += count_clean(bits, at, MIN(next, size));
        }
        next = MAX(next, at + 1);
    }
    return sum;
}

const HBitmap *bdrv_dirty_bitmap_to_keep_bits(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->left ?: bitmap->bits;
}

/* Sets the bits of [@start, @end) in @buf, which begins at 0. */
static void set_ones(const HBitmap *bits, uint8_t *buf, int64_t start,
                     int64_t end)
{
    unsigned shift = ctz64(hbitmap_granularity(bits));
    int64_t i = start >> shift, last = (end - 1) >> shift;

    for (; i <= last; i++) {
        if (i % 8 == 0 && i + 7 <= last) {
            buf[i / 8] = 0xff;
            i += 7;
        } else {
            buf[i / 8] |= 1 << (i % 8);
        }
    }
}

/* Sets the bits of the wanted regions; @buf begins at @offset. */
static void add_regions(const HBitmap *bits, const BdrvBitmapRegions *regions,
                        uint8_t *buf, int64_t offset, int64_t end)
{
    int64_t next;

    if (!bdrv_bitmap_regions_any_wanted(regions, offset, end - offset)) {
        return;
    }
    for (int64_t at = offset; at < end; at = next) {
        bool wanted = bdrv_bitmap_regions_wanted(regions, at, &next);

        next = MAX(next, at + 1);
        if (wanted) {
            set_ones(bits, buf, at - offset, MIN(next, end) - offset);
        }
    }
}

void bdrv_dirty_bitmap_serialise_stored(const BdrvDirtyBitmap *bitmap,
                                        const BdrvBitmapRegions *regions,
                                        uint8_t *buf, int64_t offset,
                                        int64_t bytes)
{
    if (!bitmap->left && bitmap->stored_all) {
        set_ones(bitmap->bits, buf, 0, bytes);
        return;
    }
    hbitmap_serialize_part(bitmap->left ?: bitmap->bits, buf, offset, bytes);
    if (bitmap->successor) {
        size_t n = hbitmap_serialization_size(bitmap->bits, offset, bytes);
        g_autofree uint8_t *more = g_malloc(n);

        hbitmap_serialize_part(bitmap->successor, more, offset, bytes);
        for (size_t i = 0; i < n; i++) {
            buf[i] |= more[i];
        }
    }
    if (regions && bdrv_dirty_bitmap_recording(bitmap)) {
        add_regions(bitmap->bits, regions, buf, offset, offset + bytes);
    }
}

void bdrv_dirty_bitmap_store_all(BdrvDirtyBitmap *bitmap, bool all)
{
    bitmap->changes += bitmap->stored_all != all;
    bitmap->stored_all = all;
}

void bdrv_dirty_bitmap_set_left(BdrvDirtyBitmap *bitmap, HBitmap *left,
                                BdrvBitmapResume *resume)
{
    g_assert(left ? bitmap->successor != NULL : !resume);
    bitmap->changes += left || bitmap->left;
    hbitmap_free(bitmap->left);
    bitmap->left = left;
    bdrv_bitmap_resume_free(bitmap->left_resume);
    bitmap->left_resume = resume;
    if (!left) {
        g_clear_pointer(&bitmap->left_stored, bdrv_bitmap_resume_free);
    }
}

void bdrv_dirty_bitmap_left_stored(BdrvDirtyBitmap *bitmap)
{
    if (bitmap->kept && !bdrv_dirty_bitmap_stale(bitmap)) {
        bdrv_bitmap_resume_free(bitmap->left_stored);
        bitmap->left_stored = bdrv_bitmap_resume_copy(bitmap->left_resume);
    }
}

void bdrv_dirty_bitmap_set_resume(BdrvDirtyBitmap *bitmap,
                                  BdrvBitmapResume *resume)
{
    bitmap->changes += resume || bitmap->resume;
    bdrv_bitmap_resume_free(bitmap->resume);
    bitmap->resume = resume;
}

const BdrvBitmapResume *
bdrv_dirty_bitmap_resume(const BdrvDirtyBitmap *bitmap)
{
    if (bitmap->left) {
        return bitmap->left_resume;
    }
    return bitmap->stored_all ? NULL : bitmap->resume;
}

bool bdrv_dirty_bitmap_stored_all(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->stored_all && !bitmap->left;
}

bool bdrv_dirty_bitmap_kept_cover(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes)
{
    int64_t end = MIN(offset + bytes, bs->total_bytes);
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        const HBitmap *bits = bitmap->successor ?: bitmap->bits;

        if (bitmap->kept && (bdrv_dirty_bitmap_stale(bitmap) ||
            (bdrv_dirty_bitmap_recording(bitmap) && offset < end &&
             hbitmap_next_zero(bits, offset, end - offset) >= 0))) {
            return false;
        }
    }
    return true;
}

/* --- the life of the node --- */

/* What is kept is as after a crash: it goes on.  Anything lost? */
static bool tell_lost(BlockDriverState *bs, const char *reason)
{
    BdrvDirtyBitmap *bitmap = NULL;
    bool any = false;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_to_store(bitmap) &&
            (!bitmap->kept || bdrv_dirty_bitmap_stale(bitmap))) {
            tell_unsafe(bitmap, reason);
            any = true;
        }
    }
    return any;
}

void bdrv_bitmap_store_close(BlockDriverState *bs)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;
    Error *err = NULL;

    if (store && (store->begun || store->owed) &&
        !bdrv_bitmap_store_save(bs, NULL, true, &err)) {
        error_prepend(&err, tell_lost(bs, error_get_pretty(err))
                      ? "Lost persistent bitmaps during inactivation of node "
                        "'%s': "
                      : "The persistent bitmaps of node '%s' are as after a "
                        "crash, since they were not stored at its end: ",
                      bs->node_name);
        bdrv_close_error(bs, err);
    }
    bdrv_bitmap_store_detach(bs);
}

static void set_readonly(BlockDriverState *bs, bool readonly)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bitmap->name && bdrv_dirty_bitmap_persistent(bitmap)) {
            bdrv_dirty_bitmap_set_readonly(bitmap, readonly);
        }
    }
}

/* A bitmap that a job holds cannot be stored, as its successor has bits. */
static bool all_idle(BlockDriverState *bs, Error **errp)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bitmap->name && bdrv_dirty_bitmap_persistent(bitmap) &&
            bdrv_dirty_bitmap_busy(bitmap)) {
            error_setg(errp, "Cannot make node '%s' read-only: bitmap '%s' "
                       "is in use by another operation", bs->node_name,
                       bitmap->name);
            return false;
        }
    }
    return true;
}

/*
 * Records again; if that fails, writes are refused until it succeeds.  What is
 * read-only would not be kept safe.
 */
static void begin_or_owe(BlockDriverState *bs)
{
    Error *err = NULL;

    set_readonly(bs, false);
    if (!bdrv_bitmap_store_begin(bs, NULL, &err)) {
        bdrv_node(bs)->bitmaps.store->owed = true;
        error_prepend(&err, "%s: Failed to make dirty bitmaps writable: ",
                      bs->node_name);
        error_report_err(err);
    }
}

static void reopen_abort(void *opaque)
{
    begin_or_owe(opaque);
}

static const TransactionActionDrv reopen_drv = { .abort = reopen_abort };

bool bdrv_bitmap_store_reopen_tran(BlockDriverState *bs, Transaction *tran,
                                   Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (!store || !bs->read_only || !(store->begun || store->owed)) {
        return true;
    }
    if (!all_idle(bs, errp) ||
        !bdrv_bitmap_store_save(bs, NULL, false, errp)) {
        return false;
    }
    store->owed = false;
    set_readonly(bs, true);
    tran_add(tran, &reopen_drv, bs);
    return true;
}

void bdrv_bitmap_store_reopened(BlockDriverState *bs)
{
    const BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (store && !bs->read_only && !store->begun) {
        begin_or_owe(bs);
    }
}

/* --- queries of users --- */

bool bdrv_supports_persistent_dirty_bitmap(BlockDriverState *bs)
{
    return bdrv_node(bs)->bitmaps.store != NULL;
}

static void no_store(BlockDriverState *bs, Error **errp)
{
    const char *name = bdrv_get_device_or_node_name(bs);
    const BlockDriverState *user = bdrv_node(bs)->bitmaps.store_user;

    if (user) {
        error_setg(errp, "Can't store persistent bitmaps to %s: Operation not "
                   "supported: the bitmaps in it are those of node '%s'", name,
                   user->node_name);
        return;
    }
    error_setg(errp, "Can't store persistent bitmaps to %s: Operation not "
               "supported: a node of driver 'tracked' over it can, with an "
               "image made by 'qemu-img create -f qcow2 FILE %" PRId64 "'",
               name, bs->total_bytes);
}

bool bdrv_can_store_dirty_bitmap(BlockDriverState *bs, const char *name,
                                 uint64_t granularity, Error **errp)
{
    BdrvBitmapStore *store = bdrv_node(bs)->bitmaps.store;

    if (bdrv_is_inactive(bs)) {
        error_setg(errp, "Can't store persistent bitmaps to %s: node is "
                   "inactive", bdrv_get_device_or_node_name(bs));
        return false;
    }
    if (!store) {
        no_store(bs, errp);
        return false;
    }
    /* A bitmap that cannot be stored at the end would be lost silently. */
    if (bdrv_is_read_only(bs)) {
        error_setg(errp, "Can't store persistent bitmaps to %s: node is "
                   "read-only", bdrv_get_device_or_node_name(bs));
        return false;
    }
    return store->ops->can_store(store, name, granularity, errp);
}

typedef struct RemoveCo {
    BdrvBitmapStore *store;
    const char *name;
    Error **errp;
    bool ok;
} RemoveCo;

static void coroutine_fn remove_entry(void *opaque)
{
    RemoveCo *co = opaque;

    co->ok = co->store->ops->co_remove(co->store, co->name, co->errp);
}

bool coroutine_mixed_fn bdrv_remove_stored_dirty_bitmap(BlockDriverState *bs,
                                                        const char *name,
                                                        Error **errp)
{
    RemoveCo co = {
        .store = bdrv_node(bs)->bitmaps.store,
        .name = name,
        .errp = errp,
    };

    if (!co.store) {
        error_setg(errp, "Cannot remove persistent bitmaps from %s: Operation "
                   "not supported", bdrv_get_device_or_node_name(bs));
        return false;
    }
    aio_run_co(bs->ctx, remove_entry, &co);
    return co.ok;
}
