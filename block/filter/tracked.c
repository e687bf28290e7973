/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tracked: persistent bitmaps of a disk of any format, in an image beside it.
 *
 *        user
 *         |
 *      tracked      has the bitmaps, and the store of the image
 *      /file  \bitmaps
 *    disk      image
 *
 * The store of the image (block/bitmap-store.h) is moved to this node, with one
 * around it that looks after what two files need: that both have the same size,
 * and that the disk is the one that the bitmaps describe.
 *
 * Size.  The image is never smaller than the disk: it grows before it, and
 * shrinks after it.  Before the first step, that and how the size changes is
 * recorded in the image, durably, so that a difference that is found later was
 * caused by a resize that was interrupted; the image then gets the size of the
 * disk, whatever that is, and bits are cut off or added as in any resize.  What
 * the stored bits cover is known to the image (its notes), so it makes no
 * difference when the process ended.
 *
 * Identity.  As long as the disk is in use its stored bits are ahead of it, as
 * in any image.  Before the first write the image records which disk that is;
 * at a clean close, also when the disk was changed last.  A disk that does not
 * match was changed by a program that did not mark its bitmaps.
 */
#include "qemu/osdep.h"

#include <sys/sysmacros.h>

#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/graph.h"
#include "block/io.h"

typedef struct TrackedState {
    BdrvBitmapStore store;  /* around the next one; its bs is this node */
    BdrvBitmapStore *inner; /* of the image; NULL: not moved (BDRV_O_NO_IO) */
    BlockDriverState *image;
    BdrvChild *side;

    /* --- the context's thread --- */
    int64_t covered; /* bytes of the disk for which bits are stored */
    bool resizing;   /* the sizes differ: tracked_co_truncate() */
} TrackedState;

static TrackedState *of_store(const BdrvBitmapStore *store)
{
    return container_of(store, TrackedState, store);
}

/* --- identity --- */

static bool coroutine_mixed_fn record(TrackedState *s,
                                      const BdrvBitmapDisk *what, Error **errp)
{
    BdrvBitmapDisk disk = *what;

    /* Only a closed disk has a time that counts. */
    bdrv_get_identity(s->store.bs->file->bs, disk.closed, &disk.identity);
    return s->inner->ops->record_disk(s->inner, &disk, disk.closed, errp);
}

/* Numbers without a device behind them differ after each start of the host. */
static bool device_differs(const BdrvIdentity *a, const BdrvIdentity *b)
{
    return major(a->device) && major(b->device) && a->device != b->device;
}

/* Why the disk is not the one that the bitmaps describe; NULL: it is. */
static const char *find_difference(const BdrvBitmapDisk *recorded,
                                   const BdrvIdentity *now)
{
    const BdrvIdentity *then = &recorded->identity;
    bool is_file = now->kind == BDRV_IDENTITY_FILE;

    if (then->kind != now->kind) {
        return "its storage is of another kind";
    }
    if (now->kind == BDRV_IDENTITY_NONE) {
        return NULL;
    }
    /* A file of any length has whole sectors as soon as the last is written. */
    if (recorded->from == recorded->to &&
        ROUND_UP(then->bytes, BDRV_SECTOR_SIZE) !=
        ROUND_UP(now->bytes, BDRV_SECTOR_SIZE)) {
        return "its size is another one";
    }
    if (device_differs(then, now)) {
        return is_file ? "it is another file" : "it is another device";
    }
    if (is_file && then->inode != now->inode) {
        return "it is another file";
    }
    if (is_file && recorded->closed &&
        (then->mtime_s != now->mtime_s || then->mtime_ns != now->mtime_ns)) {
        return "it was written after it was closed";
    }
    return NULL;
}

/* The number of bitmaps that would have to be trusted; with @mark they become
 * inconsistent for @reason.  -EBUSY: one cannot become so now. */
static int distrust(BlockDriverState *bs, bool mark,
                    BitmapInconsistency reason)
{
    BdrvDirtyBitmap *bitmap = NULL;
    int count = 0;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (!bdrv_dirty_bitmap_persistent(bitmap) ||
            !bdrv_dirty_bitmap_was_loaded(bitmap) ||
            bdrv_dirty_bitmap_inconsistent(bitmap)) {
            continue;
        }
        if (bdrv_dirty_bitmap_busy(bitmap)) {
            return -EBUSY;
        }
        count++;
        if (mark) {
            bdrv_dirty_bitmap_distrust(bitmap, reason);
        }
    }
    return count;
}

/* False only if bitmaps that must not be trusted are in use. */
static bool check_disk(TrackedState *s, Error **errp)
{
    BlockDriverState *bs = s->store.bs;
    const BdrvBitmapDisk *recorded = s->inner->ops->disk(s->inner);
    const char *why = "its image of bitmaps does not say to which disk they "
                      "belong, or another program has written to that image";
    BitmapInconsistency reason = BITMAP_INCONSISTENCY_FOREIGN_WRITE;
    BdrvIdentity now;
    int count;

    if (recorded) {
        reason = BITMAP_INCONSISTENCY_CHANGED_OUTSIDE;
        bdrv_get_identity(bs->file->bs, false, &now);
        why = find_difference(recorded, &now);
    }
    count = why ? distrust(bs, false, reason) : 0;
    if (count < 0) {
        error_setg(errp, "The disk of node '%s' was changed outside (%s) while "
                   "its bitmaps were in use", bs->node_name, why);
        return false;
    }
    if (count) {
        distrust(bs, true, reason);
        warn_report("The bitmaps of node '%s' are inconsistent: the disk may "
                    "have been changed outside: %s", bs->node_name, why);
    }
    return true;
}

/* --- the size of the image --- */

typedef struct ResizeCall {
    TrackedState *s;
    int64_t bytes;
    Error **errp;
    int ret;
} ResizeCall;

static int coroutine_fn resize_image(TrackedState *s, int64_t bytes,
                                     Error **errp)
{
    return s->image->total_bytes == bytes
        ? 0 : bdrv_co_truncate(s->side, bytes, true, PREALLOC_MODE_OFF, 0,
                               errp);
}

static void coroutine_fn resize_entry(void *opaque)
{
    ResizeCall *call = opaque;

    call->ret = resize_image(call->s, call->bytes, call->errp);
}

/*
 * The disk may have changed its size by itself, as a device can.  The image
 * follows.
 */
static bool coroutine_mixed_fn fit_image(TrackedState *s, Error **errp)
{
    BlockDriverState *bs = s->store.bs;
    ResizeCall call = { .s = s, .bytes = bs->total_bytes, .errp = errp };

    if (s->resizing || s->image->total_bytes == bs->total_bytes) {
        return true;
    }
    if (!record(s, &(BdrvBitmapDisk){ .from = s->image->total_bytes,
                                      .to = bs->total_bytes }, errp)) {
        return false;
    }
    aio_run_co(bs->ctx, resize_entry, &call);
    return call.ret == 0 && record(s, &(BdrvBitmapDisk){ 0 }, errp);
}

/* --- the store --- */

/* The store that is called by the core is the one around it. */
static void pass_owed(TrackedState *s)
{
    s->store.owed |= s->inner->owed;
    s->inner->owed = false;
}

/*
 * A bitmap that begins, or loses bits, begins with what was written before: if
 * that were lost later, the disk would be another one where it is clean.
 */
static bool coroutine_mixed_fn flush_disk(TrackedState *s, Error **errp)
{
    int ret = bdrv_flush(s->store.bs->file->bs);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not flush the disk");
    }
    return ret == 0;
}

static bool store_can_store(BdrvBitmapStore *store, const char *name,
                            uint64_t granularity, Error **errp)
{
    BdrvBitmapStore *inner = of_store(store)->inner;

    return inner->ops->can_store(inner, name, granularity, errp);
}

static bool coroutine_mixed_fn store_load(BdrvBitmapStore *store, Error **errp)
{
    TrackedState *s = of_store(store);

    return s->inner->ops->load(s->inner, errp) && check_disk(s, errp);
}

/*
 * The record comes last: as long as bitmaps are not marked as in use, it is
 * that of the last close, which makes them count.
 */
static bool coroutine_mixed_fn store_begin(BdrvBitmapStore *store,
                                           BdrvDirtyBitmap *bitmap,
                                           Error **errp)
{
    TrackedState *s = of_store(store);
    bool ok;

    if (!flush_disk(s, errp)) {
        return false;
    }
    if (bitmap) {
        ok = s->inner->ops->begin(s->inner, bitmap, errp);
        pass_owed(s);
        return ok;
    }
    /* A read-only node may have been changed outside. */
    if ((!store->begun && !check_disk(s, errp)) || !fit_image(s, errp) ||
        !s->inner->ops->begin(s->inner, NULL, errp) ||
        !record(s, &(BdrvBitmapDisk){ 0 }, errp)) {
        return false;
    }
    s->inner->owed = false;
    s->covered = store->bs->total_bytes;
    return true;
}

/* The disk has been flushed and is not written any more. */
static bool coroutine_mixed_fn store_save(BdrvBitmapStore *store,
                                          BdrvDirtyBitmap *bitmap,
                                          Error **errp)
{
    TrackedState *s = of_store(store);
    bool ok;

    if (!flush_disk(s, errp) || !fit_image(s, errp) ||
        (!bitmap && !record(s, &(BdrvBitmapDisk){ .closed = true }, errp))) {
        return false;
    }
    ok = s->inner->ops->save(s->inner, bitmap, errp);
    pass_owed(s);
    return ok;
}

static bool coroutine_mixed_fn store_sync(BdrvBitmapStore *store, Error **errp)
{
    TrackedState *s = of_store(store);
    int64_t bytes = store->bs->total_bytes;
    bool ok;

    if (!flush_disk(s, errp) || !fit_image(s, errp)) {
        return false;
    }
    ok = !s->inner->ops->sync || s->inner->ops->sync(s->inner, errp);
    pass_owed(s);
    if (ok) {
        s->covered = bytes;
    }
    return ok;
}

static bool coroutine_fn store_co_remove(BdrvBitmapStore *store,
                                         const char *name, Error **errp)
{
    TrackedState *s = of_store(store);
    bool ok = s->inner->ops->co_remove(s->inner, name, errp);

    pass_owed(s);
    return ok;
}

static bool coroutine_fn store_co_resize(BdrvBitmapStore *store, int64_t bytes,
                                         Error **errp)
{
    TrackedState *s = of_store(store);
    bool ok = !s->inner->ops->co_resize ||
              s->inner->ops->co_resize(s->inner, bytes, errp);

    pass_owed(s);
    return ok;
}

/* Space that the stored bits do not cover is stored first. */
static int coroutine_fn cover(TrackedState *s)
{
    Error *err = NULL;
    int64_t bytes = s->store.bs->total_bytes;

    if (!bdrv_bitmap_store_sync(s->store.bs, &err)) {
        error_report_err(err);
        return -EIO;
    }
    s->covered = MAX(s->covered, bytes);
    return 0;
}

/*
 * The disk does not grow by writes, for which no bits could be stored before
 * the data is there.  The padding of the last block is no data.
 */
static int coroutine_fn store_co_write_intent(BdrvBitmapStore *store,
                                              int64_t offset, int64_t bytes)
{
    TrackedState *s = of_store(store);
    const BlockDriverState *bs = store->bs;
    BdrvBitmapStore *inner = s->inner;
    int64_t align = MAX(bs->bl.request_alignment, 1), end = offset + bytes;
    int ret = 0;

    if (end > ROUND_UP(bs->total_bytes, align)) {
        return -ENOSPC;
    }
    if (G_UNLIKELY(MIN(end, bs->total_bytes) > s->covered)) {
        ret = cover(s);
    }
    if (ret == 0 && inner->ops->co_write_intent) {
        ret = inner->ops->co_write_intent(inner, offset, bytes);
        pass_owed(s);
    }
    return ret;
}

static void store_forget(BdrvBitmapStore *store, BdrvDirtyBitmap *bitmap)
{
    BdrvBitmapStore *inner = of_store(store)->inner;

    inner->ops->forget(inner, bitmap);
}

static void coroutine_fn store_co_settle(BdrvBitmapStore *store)
{
    BdrvBitmapStore *inner = of_store(store)->inner;

    if (inner->ops->co_settle) {
        inner->ops->co_settle(inner);
    }
}

static const BdrvBitmapRegions *store_regions(const BdrvBitmapStore *store)
{
    const BdrvBitmapStore *inner = of_store(store)->inner;

    return inner->ops->regions ? inner->ops->regions(inner) : NULL;
}

static void store_free(BdrvBitmapStore *store)
{
    TrackedState *s = of_store(store);

    bdrv_bitmap_store_return(s->inner, s->image);
    s->inner = NULL;
}

static const BdrvBitmapStoreOps store_ops = {
    .can_store = store_can_store,
    .load = store_load,
    .begin = store_begin,
    .save = store_save,
    .sync = store_sync,
    .co_settle = store_co_settle,
    .co_remove = store_co_remove,
    .co_resize = store_co_resize,
    .co_write_intent = store_co_write_intent,
    .forget = store_forget,
    .regions = store_regions,
    .free = store_free,
};

/* --- requests --- */

/* Both get the size of the disk, as it is now. */
static int coroutine_fn settle_size(TrackedState *s, Error **errp)
{
    int64_t real = bdrv_getlength(s->store.bs->file->bs);
    int ret;

    if (real < 0) {
        error_setg_errno(errp, -real, "Could not get the size of node '%s'",
                         s->store.bs->file->bs->node_name);
        return real;
    }
    ret = resize_image(s, real, errp);
    /* A difference is explained until none can be left after a power loss.  If
     * this fails, the next open accepts more than it has to. */
    if (ret == 0 && bdrv_co_flush(s->store.bs->file->bs) == 0) {
        record(s, &(BdrvBitmapDisk){ 0 }, NULL);
    }
    s->covered = MIN(s->covered, real);
    return ret;
}

static int coroutine_fn tracked_co_truncate(BlockDriverState *bs,
                                            int64_t offset, bool exact,
                                            PreallocMode prealloc,
                                            BdrvRequestFlags flags,
                                            Error **errp)
{
    TrackedState *s = bs->opaque;
    int64_t bytes = ROUND_UP(offset, BDRV_SECTOR_SIZE);
    BdrvBitmapDisk step = { .from = bs->total_bytes, .to = bytes };
    Error *err = NULL;
    int ret = 0;

    if (!s->inner) {
        return bdrv_co_truncate(bs->file, offset, exact, prealloc, flags,
                                errp);
    }
    if (!record(s, &step, errp)) {
        return -EIO;
    }
    s->resizing = true;
    if (bytes > s->image->total_bytes) {
        ret = resize_image(s, bytes, errp);
    }
    if (ret == 0) {
        ret = bdrv_co_truncate(bs->file, offset, exact, prealloc, flags, errp);
    }
    if (ret < 0) {
        (void)settle_size(s, &err);
        error_free(err); /* the first error is the one to report */
    } else {
        ret = settle_size(s, errp);
    }
    s->resizing = false;
    return ret;
}

/* What is in the image is flushed where that is needed. */
static int coroutine_fn tracked_co_flush(BlockDriverState *bs)
{
    return bdrv_co_flush(bs->file->bs);
}

/* --- life --- */

/* For messages: by what the user knows it best. */
static const char *name_of(const BlockDriverState *bs)
{
    return bs->filename && *bs->filename ? bs->filename : bs->node_name;
}

/* A difference that an interrupted resize explains. */
static bool is_explained(const BdrvBitmapDisk *recorded, int64_t disk,
                         int64_t image)
{
    int64_t low, high;

    if (!recorded || recorded->from == recorded->to) {
        return false;
    }
    low = MIN(recorded->from, recorded->to);
    high = MAX(recorded->from, recorded->to);
    return disk >= low && disk <= high && image >= low && image <= high;
}

/* As long as the image has its own store its bitmaps follow its size. */
static bool match_sizes(BlockDriverState *bs, Error **errp)
{
    TrackedState *s = bs->opaque;
    int64_t disk = bs->total_bytes, image = s->image->total_bytes;
    ResizeCall call = { .s = s, .bytes = disk, .errp = errp };

    if (disk == image) {
        return true;
    }
    if (!is_explained(bdrv_bitmap_store_disk(s->image), disk, image)) {
        error_setg(errp, "The image of bitmaps '%s' has a size of %" PRId64
                   " bytes, but the disk '%s' has %" PRId64,
                   name_of(s->image), image, name_of(bs->file->bs), disk);
        error_append_hint(errp, "An image for it is made by 'qemu-img create "
                          "-f qcow2 FILE %" PRId64 "'.\n", disk);
        return false;
    }
    if (bs->read_only) {
        error_setg(errp, "A resize of node '%s' was interrupted: it has to be "
                   "opened for writing once", bs->node_name);
        return false;
    }
    aio_run_co(s->image->ctx, resize_entry, &call);
    if (call.ret < 0) {
        error_prepend(errp, "A resize of node '%s' was interrupted, and its "
                      "image of bitmaps cannot follow: ", bs->node_name);
    }
    return call.ret == 0;
}

/* Bitmaps of an image with data of its own belong to that data. */
static bool check_empty(BlockDriverState *image, Error **errp)
{
    int64_t at = 0, n;
    int ret;

    if (image->backing_file && *image->backing_file) {
        error_setg(errp, "The image '%s' has a backing file, so it is none of "
                   "bitmaps only", name_of(image));
        return false;
    }
    for (; at < image->total_bytes; at += n) {
        ret = bdrv_block_status_above(image, NULL, at, image->total_bytes - at,
                                      &n, NULL, NULL, NULL);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not get the status of node "
                             "'%s'", image->node_name);
            return false;
        }
        if (ret & BDRV_BLOCK_DATA) {
            error_setg(errp, "The image '%s' has data, so it is none of "
                       "bitmaps only", name_of(image));
            return false;
        }
    }
    return true;
}

static bool take_store(BlockDriverState *bs, Error **errp)
{
    TrackedState *s = bs->opaque;

    if (!bdrv_bitmap_store_move(s->image, bs, errp)) {
        return false;
    }
    s->store.ops = &store_ops;
    s->inner = bdrv_bitmap_store_attach(bs, &s->store);
    bdrv_bitmap_store_set_safety(&s->store, s->inner->safety);
    return true;
}

static bool open_children(BlockDriverState *bs, const BlockdevOptions *options,
                          Error **errp)
{
    const BlockdevOptionsTracked *o = &options->u.tracked;
    TrackedState *s = bs->opaque;

    if (!bdrv_open_child(bs, o->file, "file",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        return false;
    }
    s->side = bdrv_open_child(bs, o->bitmaps, "bitmaps", BDRV_CHILD_METADATA,
                              errp);
    if (!s->side) {
        return false;
    }
    s->image = s->side->bs;
    bs->total_bytes = bdrv_getlength(bs->file->bs);
    if (bs->total_bytes < 0) {
        error_setg_errno(errp, -bs->total_bytes, "Could not get the size of "
                         "node '%s'", bs->file->bs->node_name);
        return false;
    }
    return true;
}

static int tracked_open(BlockDriverState *bs, const BlockdevOptions *options,
                        int flags, Error **errp)
{
    if (!open_children(bs, options, errp)) {
        return -EINVAL;
    }
    if ((flags & BDRV_O_NO_IO) || bdrv_is_inactive(bs)) {
        return 0;
    }
    if (!check_empty(((TrackedState *)bs->opaque)->image, errp) ||
        !match_sizes(bs, errp) || !take_store(bs, errp)) {
        return -EINVAL;
    }
    if (!bdrv_bitmap_store_load(bs, errp) ||
        (!bs->read_only && !bdrv_bitmap_store_begin(bs, NULL, errp))) {
        bdrv_dirty_bitmap_release_loaded(bs);
        bdrv_bitmap_store_detach(bs);
        return -EINVAL;
    }
    return 0;
}

/*
 * No other user writes to the disk, whose writes would not be marked, nor to
 * the image.
 */
static void tracked_child_perm(BlockDriverState *bs, BdrvChild *child,
                               BdrvChildRole role, uint64_t perm,
                               uint64_t shared, uint64_t *nperm,
                               uint64_t *nshared)
{
    if (role & BDRV_CHILD_FILTERED) {
        bdrv_default_perms(bs, child, role, perm, shared, nperm, nshared);
    } else {
        *nperm = BLK_PERM_CONSISTENT_READ;
        *nshared = BLK_PERM_ALL;
        if (!bs->read_only) {
            *nperm |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
        }
    }
    *nshared &= ~(uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE);
}

/* The store is that of a certain image. */
static BdrvConsent tracked_child_change(BlockDriverState *bs,
                                        const BdrvChildChange *change,
                                        Transaction *tran, Error **errp)
{
    if (!(change->role & BDRV_CHILD_FILTERED) &&
        change->old_bs != change->new_bs) {
        return bdrv_child_change_refuse(bs, change, errp);
    }
    return bdrv_child_change_same(bs, change, tran, errp);
}

static const char *const tracked_strong_options[] = { NULL };

extern const BlockDriver bdrv_tracked;

const BlockDriver bdrv_tracked = {
    .format_name = "tracked",
    .instance_size = sizeof(TrackedState),
    .is_filter = true,
    .flushes_children = true,
    .strong_options = tracked_strong_options,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .open = tracked_open,
    .reload = bdrv_reload_image,
    .child_perm = tracked_child_perm,
    .child_change = tracked_child_change,
    .co_truncate = tracked_co_truncate,
    .co_flush = tracked_co_flush,
};
