/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Before the graph changes, the affected parents are asked for consent.
 *
 *      job  (refuses other data)     user (accepts it)
 *        \                            /
 *         filter <- asked: the data of its child changes
 *           |
 *         node <- asked: its child is to be replaced
 *           |
 *       old child  ->  new child
 *
 * A driver may keep data about a child: tables of an image, a size, which parts
 * were saved.  So a driver gets another child only if it has agreed to that.
 */
#include "qemu/osdep.h"
#include "block/dirty-bitmap.h"
#include "block/graph-int.h"
#include "block/node-int.h"

/* --- answers --- */

BdrvConsent bdrv_child_change_refuse(BlockDriverState *bs,
                                     const BdrvChildChange *change,
                                     Error **errp)
{
    if (change->old_bs == change->new_bs) {
        error_setg(errp, "Node '%s' (driver '%s') cannot have the data of its "
                   "'%s' child '%s' replaced", bs->node_name,
                   bs->drv->format_name, change->name,
                   change->old_bs->node_name);
    } else if (change->new_bs) {
        error_setg(errp, "Node '%s' (driver '%s') cannot have its '%s' child "
                   "changed to node '%s'", bs->node_name,
                   bs->drv->format_name, change->name,
                   change->new_bs->node_name);
    } else {
        error_setg(errp, "Node '%s' (driver '%s') cannot lose its '%s' child",
                   bs->node_name, bs->drv->format_name, change->name);
    }
    return BDRV_REFUSE;
}

BdrvConsent bdrv_child_change_same(BlockDriverState *bs,
                                   const BdrvChildChange *change,
                                   Transaction *tran, Error **errp)
{
    return change->content == BDRV_CONTENT_SAME
        ? BDRV_ACCEPT : bdrv_child_change_refuse(bs, change, errp);
}

BdrvConsent bdrv_child_change_filter(BlockDriverState *bs,
                                     const BdrvChildChange *change,
                                     Transaction *tran, Error **errp)
{
    return change->old_bs && change->new_bs
        ? BDRV_ACCEPT : bdrv_child_change_refuse(bs, change, errp);
}

BdrvConsent bdrv_child_change_format(BlockDriverState *bs,
                                     const BdrvChildChange *change,
                                     Transaction *tran, Error **errp)
{
    return change->role & BDRV_CHILD_COW
        ? BDRV_ACCEPT : bdrv_child_change_same(bs, change, tran, errp);
}

/* --- asking --- */

static BlockDriverState *below_filters(BlockDriverState *bs)
{
    while (bs && bs->file && (bs->file->role & BDRV_CHILD_FILTERED)) {
        bs = bs->file->bs;
    }
    return bs;
}

BdrvContent bdrv_compare_content(BlockDriverState *a, BlockDriverState *b)
{
    return a && below_filters(a) == below_filters(b) ? BDRV_CONTENT_SAME
                                                     : BDRV_CONTENT_OTHER;
}

static BdrvConsent ask_driver(BlockDriverState *bs,
                              const BdrvChildChange *change,
                              Transaction *tran, Error **errp)
{
    BdrvConsent consent;

    if (!bs->drv->child_change) {
        return bdrv_child_change_refuse(bs, change, errp);
    }
    consent = bs->drv->child_change(bs, change, tran, errp);
    /* If the child is the same node, BDRV_STAY has no meaning. */
    return consent == BDRV_STAY && change->old_bs == change->new_bs
        ? bdrv_child_change_refuse(bs, change, errp) : consent;
}

/* A recording bitmap would not describe the other data. */
static bool bitmaps_bear_it(BlockDriverState *bs, Error **errp)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_recording(bitmap)) {
            error_setg(errp, "The data of node '%s' cannot be replaced: dirty "
                       "bitmap '%s' would not record that", bs->node_name,
                       bdrv_dirty_bitmap_name(bitmap));
            return false;
        }
    }
    return true;
}

static BdrvConsent ask(BlockDriverState *bs, const BdrvChildChange *change,
                       bool backing, Transaction *tran, Error **errp);

/* Asks a parent of a node whose data is replaced; @backing: that of a backing
 * file below the node. */
static bool parent_bears_it(BdrvChild *c, BdrvContent content, bool backing,
                            Transaction *tran, Error **errp)
{
    BdrvChildChange change = {
        .name = c->name,
        .role = c->role,
        .old_bs = c->bs,
        .new_bs = c->bs,
        .content = content,
    };
    g_autofree char *desc = NULL;

    if (c->klass->parent_is_bs) {
        return ask(c->opaque, &change, backing, tran, errp) == BDRV_ACCEPT;
    }
    if (c->klass->parent_is_job && content == BDRV_CONTENT_OTHER) {
        desc = c->klass->parent_desc(c);
        error_setg(errp, "The data of node '%s' cannot be replaced: it is "
                   "used by %s", c->bs->node_name, desc);
        return false;
    }
    return true;
}

/* A filter shows nothing of the other disks that it works on. */
static bool shows_child(const BlockDriverState *bs,
                        const BdrvChildChange *change)
{
    return !bs->drv->is_filter || (change->role & BDRV_CHILD_FILTERED);
}

/*
 * A user that sets a backing file asserts that it fits the image: bitmaps are
 * not asked.
 */
static BdrvConsent ask(BlockDriverState *bs, const BdrvChildChange *change,
                       bool backing, Transaction *tran, Error **errp)
{
    BdrvConsent consent = ask_driver(bs, change, tran, errp);
    BdrvChild *c;

    if (consent != BDRV_ACCEPT || change->content == BDRV_CONTENT_SAME ||
        !shows_child(bs, change)) {
        return consent;
    }
    backing = backing || (change->role & BDRV_CHILD_COW);
    if (!backing && change->content == BDRV_CONTENT_OTHER &&
        !bitmaps_bear_it(bs, errp)) {
        return BDRV_REFUSE;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (!parent_bears_it(c, change->content, backing, tran, errp)) {
            return BDRV_REFUSE;
        }
    }
    return BDRV_ACCEPT;
}

BdrvConsent bdrv_ask_change(BlockDriverState *bs,
                            const BdrvChildChange *change, Transaction *tran,
                            Error **errp)
{
    return ask(bs, change, false, tran, errp);
}

/* --- the size --- */

typedef struct SizeStep {
    BlockDriverState *bs; /* a reference */
    int64_t old_bytes;
} SizeStep;

static void size_commit(void *opaque)
{
    SizeStep *step = opaque;
    BlockDriverState *bs = step->bs;
    BdrvChild *c;

    /* What other options or another child show there was there before. */
    bdrv_dirty_bitmap_truncate_all(bs, bs->total_bytes, false);
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->resize) {
            c->klass->resize(c);
        }
    }
}

static void size_abort(void *opaque)
{
    SizeStep *step = opaque;

    step->bs->total_bytes = step->old_bytes;
}

static void size_clean(void *opaque)
{
    SizeStep *step = opaque;

    bdrv_unref(step->bs);
    g_free(step);
}

static const TransactionActionDrv size_step = {
    .commit = size_commit,
    .abort = size_abort,
    .clean = size_clean,
};

static bool user_bears_smaller(BdrvChild *c, int64_t old_bytes, int64_t bytes,
                               Error **errp)
{
    g_autofree char *desc = NULL;

    /* A filter depends on its own users, which are asked next. */
    if ((c->shared & BLK_PERM_RESIZE) ||
        (c->klass->parent_is_bs && (c->role & BDRV_CHILD_FILTERED))) {
        return true;
    }
    desc = c->klass->parent_desc(c);
    error_setg(errp, "Node '%s' cannot shrink from %" PRId64 " to %" PRId64
               " bytes: resize is not shared by %s", c->bs->node_name,
               old_bytes, bytes, desc);
    return false;
}

static bool users_bear_smaller(BlockDriverState *bs, int64_t bytes,
                               Error **errp)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (!user_bears_smaller(c, bs->total_bytes, bytes, errp)) {
            return false;
        }
    }
    return true;
}

static void moved_commit(void *opaque)
{
    BdrvChild *c = opaque;

    c->klass->resize(c);
}

static const TransactionActionDrv moved_step = {
    .commit = moved_commit,
};

bool bdrv_moved_size_tran(BdrvChild *child, int64_t old_bytes,
                          Transaction *tran, Error **errp)
{
    int64_t bytes = child->bs->total_bytes;

    if (bytes < old_bytes &&
        !user_bears_smaller(child, old_bytes, bytes, errp)) {
        return false;
    }
    if (bytes != old_bytes && child->klass->resize) {
        tran_add(tran, &moved_step, child);
    }
    return true;
}

static bool set_size_tran(BlockDriverState *bs, int64_t bytes,
                          Transaction *tran, Error **errp)
{
    SizeStep *step;
    BdrvChild *c;

    if (bytes < bs->total_bytes && !users_bear_smaller(bs, bytes, errp)) {
        return false;
    }
    step = g_new(SizeStep, 1);
    *step = (SizeStep){ bdrv_ref(bs), bs->total_bytes };
    bs->total_bytes = bytes;
    tran_add(tran, &size_step, step);
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (bdrv_child_sets_size(c) &&
            !bdrv_refresh_size_tran(c->opaque, tran, errp)) {
            return false;
        }
    }
    return true;
}

bool bdrv_refresh_size_tran(BlockDriverState *bs, Transaction *tran,
                            Error **errp)
{
    int64_t bytes = bdrv_measure_length(bs);

    if (bytes < 0) {
        error_setg_errno(errp, -bytes, "Could not get the size of node '%s'",
                         bs->node_name);
        return false;
    }
    return bytes == bs->total_bytes || set_size_tran(bs, bytes, tran, errp);
}
