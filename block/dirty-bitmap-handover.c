/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps of an image that changes hands.
 *
 * Those that the image holds go with it: they are forgotten here and loaded
 * again.  The others stay in memory, as do those that a migration is receiving
 * if the image cannot be taken after all.  They do not record what another
 * process writes, so when the image comes back those that were recording keep
 * their bits only if its storage is as it was left; else all of them is dirty.
 */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph.h"

/* --- before the locks are released --- */

static bool stays_in_memory(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->name && !bdrv_dirty_bitmap_persistent(bitmap);
}

static bool any_stays(const GPtrArray *nodes)
{
    for (guint i = 0; i < nodes->len; i++) {
        BdrvDirtyBitmap *bitmap = NULL;

        while ((bitmap = bdrv_dirty_bitmap_next(nodes->pdata[i], bitmap))) {
            if (stays_in_memory(bitmap) &&
                bdrv_dirty_bitmap_recording(bitmap)) {
                return true;
            }
        }
    }
    return false;
}

static unsigned times_left;

/* The state of the storage of @nodes, if @any bitmap needs it. */
static void note_storage(const GPtrArray *nodes, bool any)
{
    bool files = false;

    times_left++;
    for (guint i = 0; i < nodes->len; i++) {
        BlockDriverState *bs = nodes->pdata[i];
        BdrvIdentity *left = &bdrv_node(bs)->left;

        *left = (BdrvIdentity){ BDRV_IDENTITY_NONE };
        bdrv_node(bs)->left_as = times_left;
        bdrv_node(bs)->not_given_away = false;
        if (any && LIST_EMPTY(&bdrv_node(bs)->children)) {
            bdrv_get_identity(bs, true, left);
            files |= left->kind == BDRV_IDENTITY_FILE;
        }
    }
    /* Afterwards no write can get a time that a file has now: the clocks of
     * kernels, that of a server as well, tick every 1 to 10 ms. */
    if (files) {
        g_usleep(20000);
    }
}

void bdrv_bitmap_note_storage(const GPtrArray *nodes)
{
    note_storage(nodes, any_stays(nodes));
}

/* --- afterwards --- */

void bdrv_bitmap_hand_over(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap, *next;

    for (bitmap = bdrv_dirty_bitmap_next(bs, NULL); bitmap; bitmap = next) {
        next = bdrv_dirty_bitmap_next(bs, bitmap);
        if (bdrv_dirty_bitmap_persistent(bitmap) &&
            !bdrv_dirty_bitmap_busy(bitmap)) {
            bdrv_dirty_bitmap_release(bitmap);
        } else {
            bdrv_dirty_bitmap_set_kept(bitmap, false);
            bitmap->left_behind = bdrv_dirty_bitmap_recording(bitmap);
        }
    }
    bdrv_bitmap_store_detach(bs);
}

bool bdrv_dirty_bitmap_was_loaded(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->seq > bdrv_node(bitmap->bs)->bitmaps.kept_seq;
}

void bdrv_dirty_bitmap_release_loaded(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap, *next;

    for (bitmap = bdrv_dirty_bitmap_next(bs, NULL); bitmap; bitmap = next) {
        next = bdrv_dirty_bitmap_next(bs, bitmap);
        if (bitmap->name && bdrv_dirty_bitmap_was_loaded(bitmap)) {
            bdrv_dirty_bitmap_release(bitmap);
        }
    }
}

/* --- bitmaps that go another way than the image --- */

bool bdrv_dirty_bitmap_leave_stored(BdrvDirtyBitmap *bitmap, bool same_name,
                                    Error **errp)
{
    BitmapSafety safety = bitmap->safety;
    bool ok;

    /* Of a bitmap of level close there is nothing yet, or what was. */
    bitmap->safety = MAX(safety, BITMAP_SAFETY_PROCESS);
    ok = bdrv_bitmap_store_begin(bitmap->bs, bitmap, errp);
    bitmap->safety = safety;
    if (ok) {
        bdrv_dirty_bitmap_set_persistent(bitmap, false);
        bitmap->replaces_stored = true;
        bitmap->yields_to_stored = same_name;
        bitmap->hides_stored = !same_name;
    }
    return ok;
}

bool bdrv_dirty_bitmap_store_again(BdrvDirtyBitmap *bitmap, Error **errp)
{
    bitmap->replaces_stored = bitmap->yields_to_stored = false;
    bitmap->hides_stored = false;
    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    if (!bdrv_bitmap_store_begin(bitmap->bs, bitmap, errp)) {
        bdrv_node(bitmap->bs)->bitmaps.store->owed = true;
        return false;
    }
    return true;
}

void bdrv_dirty_bitmap_set_replaces_stored(BdrvDirtyBitmap *bitmap,
                                           bool replaces)
{
    bitmap->replaces_stored = replaces;
}

bool bdrv_dirty_bitmap_replaces_stored(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->replaces_stored;
}

bool bdrv_dirty_bitmap_yields_to_stored(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->yields_to_stored;
}

bool bdrv_dirty_bitmap_hides_stored(const BdrvDirtyBitmap *bitmap)
{
    return bitmap->hides_stored;
}

/* --- when the image is taken over again --- */

static bool same_storage(const BdrvIdentity *a, const BdrvIdentity *b)
{
    return b->kind == a->kind && a->bytes == b->bytes &&
           a->device == b->device && a->inode == b->inode &&
           a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns;
}

/*
 * May what @bs shows have been changed?  Of backing files it shows what it
 * always did, whatever is done to them.
 */
static bool may_have_changed(BlockDriverState *bs)
{
    BdrvIdentity now;
    BdrvChild *c;

    if (LIST_EMPTY(&bdrv_node(bs)->children)) {
        bdrv_get_identity(bs, false, &now);
        return bdrv_node(bs)->left.kind == BDRV_IDENTITY_FILE
            ? !same_storage(&bdrv_node(bs)->left, &now)
            : !bdrv_node(bs)->not_given_away;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (!(c->role & BDRV_CHILD_COW) && may_have_changed(c->bs)) {
            return true;
        }
    }
    return false;
}

void bdrv_bitmap_not_given_away(bool sure)
{
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        bdrv_node(bs)->not_given_away = sure && bdrv_is_inactive(bs) &&
                                        bdrv_node(bs)->left_as == times_left;
    }
}

static bool any_left_behind(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bitmap->left_behind) {
            return true;
        }
    }
    return false;
}

static void set_all(BdrvDirtyBitmap *bitmap)
{
    int64_t size = bdrv_dirty_bitmap_size(bitmap);

    if (size > 0) {
        bdrv_dirty_bitmap_set(bitmap, 0, size);
    }
    bdrv_dirty_bitmap_note_cut(bitmap, BDRV_CUT_UNKNOWN);
    bitmap->changes++;
    bitmap->tell_dirty = true; /* unless that in the image takes its place */
}

void bdrv_bitmap_take_over(BlockDriverState *bs)
{
    bool changed = any_left_behind(bs) && may_have_changed(bs);
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bitmap->left_behind && changed) {
            set_all(bitmap);
        }
        bitmap->left_behind = false;
    }
}

/* Marks the bitmaps of @bs that record; were there any? */
static bool leave_behind(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        bitmap->left_behind = bitmap->name &&
                              bdrv_dirty_bitmap_recording(bitmap);
    }
    return any_left_behind(bs);
}

void bdrv_bitmap_arrived(void)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    BlockDriverState *bs = NULL;
    bool any = false;

    while ((bs = bdrv_next_node(bs))) {
        if (bdrv_is_inactive(bs)) {
            /* Those that were there know the storage as it was before. */
            bdrv_bitmap_take_over(bs);
            g_ptr_array_add(nodes, bs);
        }
    }
    for (guint i = 0; i < nodes->len; i++) {
        any |= leave_behind(nodes->pdata[i]);
    }
    note_storage(nodes, any);
}

void bdrv_bitmap_activated(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        Error *err = NULL;

        if (bitmap->tell_dirty) {
            warn_report("All of bitmap '%s' of node '%s' is dirty now: another "
                        "process may have changed the image meanwhile",
                        bitmap->name, bs->node_name);
            bitmap->tell_dirty = false;
        }
        if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
            warn_report("Bitmap '%s' of node '%s' is inconsistent (reason: %s)",
                        bitmap->name, bs->node_name,
                        BitmapInconsistency_str(bitmap->reason));
        }
        if ((bitmap->yields_to_stored || bitmap->hides_stored) &&
            !bdrv_dirty_bitmap_store_again(bitmap, &err)) {
            error_prepend(&err, "Bitmap '%s' of node '%s': ", bitmap->name,
                          bs->node_name);
            error_report_err(err);
        }
    }
}
