/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that change hands between processes.
 *
 * To become inactive is the kin of a reopen that makes nodes read-only: for all
 * nodes concerned, parents first, the driver writes back while its children can
 * still be written; then all give up their permissions at once, by which file
 * locks are released; or everything is undone.
 *
 *     drained -> users asked -> flushed, bitmaps stored, metadata written back
 *             -> permissions dropped -> bitmaps forgotten
 *
 * To become active is the reverse: the permissions of all nodes are taken at
 * once, and with them the file locks, before anything is read again, children
 * first.
 */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph-int.h"
#include "block/io.h"
#include "block/node-int.h"

/* --- facts --- */

bool bdrv_is_inactive(const BlockDriverState *bs)
{
    return bdrv_node(bs)->inactive;
}

static bool check_not_half_taken(const BlockDriverState *bs, Error **errp)
{
    if (bdrv_node(bs)->half_taken) {
        error_setg(errp, "Node '%s' could neither be activated nor given back",
                   bdrv_get_device_or_node_name(bs));
        error_append_hint(errp, "It can only be read until "
                          "blockdev-set-active makes it inactive.\n");
    }
    return !bdrv_node(bs)->half_taken;
}

bool bdrv_check_active(const BlockDriverState *bs, Error **errp)
{
    if (bdrv_is_inactive(bs)) {
        error_setg(errp, "Node '%s' is inactive",
                   bdrv_get_device_or_node_name(bs));
        error_append_hint(errp, "blockdev-set-active takes its image over, if "
                          "no other process has it.\n");
        return false;
    }
    return check_not_half_taken(bs, errp);
}

static bool open_inactive;

void bdrv_set_open_inactive(bool inactive)
{
    open_inactive = inactive;
}

bool bdrv_open_inactive(void)
{
    return open_inactive;
}

/* --- the nodes that change together --- */

static void node_unref(void *bs)
{
    bdrv_unref(bs);
}

static bool contains(const GPtrArray *nodes, const BlockDriverState *bs)
{
    return g_ptr_array_find((GPtrArray *)nodes, bs, NULL);
}

/* A parent of @bs that stays active, or NULL. */
static BlockDriverState *active_parent(const BlockDriverState *bs,
                                       const GPtrArray *set)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->parent_is_bs && !bdrv_is_inactive(c->opaque) &&
            !contains(set, c->opaque)) {
            return c->opaque;
        }
    }
    return NULL;
}

/*
 * The nodes that change with @roots (NULL: with all), parents first.  What an
 * active node uses stays active, unless it is named itself.
 */
static GPtrArray *make_set(const GPtrArray *roots, bool inactive)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    g_autoptr(GPtrArray) order = NULL;
    GPtrArray *set = g_ptr_array_new_with_free_func(node_unref);
    BlockDriverState *bs = NULL;

    while (!roots && (bs = bdrv_next_node(bs))) {
        g_ptr_array_add(all, bs);
    }
    order = bdrv_nodes_below(roots ?: all);
    for (guint i = order->len; i > 0; i--) {
        bs = order->pdata[i - 1];
        if (bdrv_is_inactive(bs) != inactive &&
            (!inactive || contains(roots ?: all, bs) ||
             !active_parent(bs, set))) {
            g_ptr_array_add(set, bdrv_ref(bs));
        }
    }
    return set;
}

/* Drains those that are not yet; false: there were none. */
static bool drain_new(const GPtrArray *set, GPtrArray *drained)
{
    bool any = false;

    for (guint i = 0; i < set->len; i++) {
        if (!contains(drained, set->pdata[i])) {
            g_ptr_array_add(drained, bdrv_ref(set->pdata[i]));
            bdrv_drained_begin(set->pdata[i]);
            any = true;
        }
    }
    return any;
}

/* The same set, drained; while that is waited for the graph may change. */
static GPtrArray *make_drained_set(const GPtrArray *roots, bool inactive,
                                   GPtrArray **drained)
{
    GPtrArray *set;

    *drained = g_ptr_array_new_with_free_func(node_unref);
    for (;;) {
        set = make_set(roots, inactive);
        if (!drain_new(set, *drained)) {
            return set;
        }
        g_ptr_array_unref(set);
    }
}

static void end_drain(GPtrArray *drained)
{
    for (guint i = 0; i < drained->len; i++) {
        bdrv_drained_end(drained->pdata[i]);
    }
    g_ptr_array_unref(drained);
}

/* --- steps of both --- */

typedef struct FlagsUndo {
    BlockDriverState *bs;
    bool inactive, read_only;
} FlagsUndo;

static void flags_abort(void *opaque)
{
    FlagsUndo *undo = opaque;

    bdrv_node(undo->bs)->inactive = undo->inactive;
    undo->bs->read_only = undo->read_only;
}

static const TransactionActionDrv flags_drv = {
    .abort = flags_abort,
    .clean = g_free,
};

static void set_inactive_tran(BlockDriverState *bs, bool inactive,
                              Transaction *tran)
{
    FlagsUndo *undo = g_new(FlagsUndo, 1);

    *undo = (FlagsUndo){ bs, !inactive, bs->read_only };
    tran_add(tran, &flags_drv, undo);
    if (inactive) {
        bdrv_node(bs)->active_read_only = bs->read_only;
        bs->read_only = true;
    } else {
        bs->read_only = bdrv_node(bs)->active_read_only;
    }
    bdrv_node(bs)->inactive = inactive;
}

/* A leaf keeps nothing of its storage. */
static bool is_leaf(const BlockDriverState *bs)
{
    return LIST_EMPTY(&bdrv_node(bs)->children);
}

/* The driver's part, as in a reopen with the same options. */
static bool driver_tran(BlockDriverState *bs, BdrvReopenState *state,
                        Transaction *tran, Error **errp)
{
    *state = (BdrvReopenState){ .bs = bs, .options = bs->options };
    return is_leaf(bs) || bdrv_reopen_driver_tran(state, tran, errp);
}

/* --- who uses a node --- */

static bool user_bears_it(BdrvChild *c, Error **errp)
{
    const char *reason = c->klass->keeps_active
        ? c->klass->keeps_active(c) : "";
    g_autofree char *desc = NULL;

    if (!reason) {
        return true;
    }
    desc = c->klass->parent_desc(c);
    error_setg(errp, "Node '%s' cannot be inactivated: it is used by %s%s%s%s",
               c->bs->node_name, desc, *reason ? " (" : "", reason,
               *reason ? ")" : "");
    return false;
}

/* For a message: the job of a filter rather than the filter. */
static char *describe_parent(BlockDriverState *parent)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(parent)->parents, next_parent) {
        if (c->klass->parent_is_job) {
            return c->klass->parent_desc(c);
        }
    }
    return g_strdup_printf("the active node '%s'", parent->node_name);
}

static bool parents_bear_it(BlockDriverState *bs, const GPtrArray *set,
                            Error **errp)
{
    BlockDriverState *parent = active_parent(bs, set);
    g_autofree char *desc = parent ? describe_parent(parent) : NULL;
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (!c->klass->parent_is_bs && !user_bears_it(c, errp)) {
            return false;
        }
    }
    if (parent) {
        error_setg(errp, "Node '%s' cannot be inactivated: it is used by %s",
                   bs->node_name, desc);
    }
    return !parent;
}

/* For good: what it does goes on without a request. */
static bool may_be_inactive(BlockDriverState *bs, Error **errp)
{
    const char *reason = bs->drv->stays_active
        ? bs->drv->stays_active : bs->options ? NULL : "a job has made it";

    if (reason) {
        error_setg(errp, "Node '%s' cannot be inactivated: %s", bs->node_name,
                   reason);
    }
    return !reason;
}

/* What uses a bitmap may not use its node. */
static bool bitmaps_are_idle(BlockDriverState *bs, Error **errp)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_busy(bitmap) || !bdrv_dirty_bitmap_name(bitmap)) {
            error_setg(errp, "Node '%s' cannot be inactivated: its bitmap "
                       "'%s' is in use", bs->node_name,
                       bdrv_dirty_bitmap_name(bitmap) ?: "");
            return false;
        }
    }
    return true;
}

static bool check_users(const GPtrArray *set, Error **errp)
{
    for (guint i = 0; i < set->len; i++) {
        if (!parents_bear_it(set->pdata[i], set, errp) ||
            !may_be_inactive(set->pdata[i], errp) ||
            !bitmaps_are_idle(set->pdata[i], errp)) {
            return false;
        }
    }
    return true;
}

/* --- becoming inactive --- */

static bool give_up_tran(BlockDriverState *bs, BdrvReopenState *state,
                         Transaction *tran, Error **errp)
{
    int ret = bs->read_only ? 0 : bdrv_flush(bs);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not flush it");
        return false;
    }
    set_inactive_tran(bs, true, tran);
    return driver_tran(bs, state, tran, errp);
}

static bool give_up_all(GPtrArray *set, BdrvReopenState *states,
                        Transaction *tran, Error **errp)
{
    for (guint i = 0; i < set->len; i++) {
        BlockDriverState *bs = set->pdata[i];

        if (!give_up_tran(bs, &states[i], tran, errp)) {
            error_prepend(errp, "Node '%s' cannot be inactivated: ",
                          bs->node_name);
            return false;
        }
    }
    bdrv_bitmap_note_storage(set);
    return bdrv_refresh_perms_list(set, tran, errp);
}

/* @set is drained, parents first, and its users have been asked. */
static bool inactivate_set(GPtrArray *set, Error **errp)
{
    g_autofree BdrvReopenState *states = g_new0(BdrvReopenState, set->len);
    Transaction *tran = tran_new();
    bool ok = give_up_all(set, states, tran, errp);

    tran_finalize(tran, ok);
    for (guint i = 0; i < set->len && ok; i++) {
        bdrv_bitmap_hand_over(set->pdata[i]);
        bdrv_node(set->pdata[i])->half_taken = false;
    }
    return ok;
}

static bool inactivate_roots(const GPtrArray *roots, Error **errp)
{
    GPtrArray *drained;
    g_autoptr(GPtrArray) set = make_drained_set(roots, true, &drained);
    bool ok = check_users(set, errp) && inactivate_set(set, errp);

    end_drain(drained);
    return ok;
}

bool bdrv_inactivate(BlockDriverState *bs, Error **errp)
{
    g_autoptr(GPtrArray) roots = g_ptr_array_new_with_free_func(node_unref);

    if (bdrv_is_inactive(bs)) {
        return true;
    }
    g_ptr_array_add(roots, bdrv_ref(bs));
    return inactivate_roots(roots, errp);
}

bool bdrv_inactivate_all(Error **errp)
{
    return inactivate_roots(NULL, errp);
}

/* --- becoming active --- */

/* Does its driver read its storage again, or is it only reopened? */
static bool reloads(const BlockDriverState *bs)
{
    return bs->drv->reload || bs->drv->is_format;
}

static bool take_all(GPtrArray *set, BdrvReopenState *states,
                     Transaction *tran, Error **errp)
{
    for (guint i = 0; i < set->len; i++) {
        set_inactive_tran(set->pdata[i], false, tran);
    }
    for (guint i = 0; i < set->len; i++) {
        BlockDriverState *bs = set->pdata[i];

        if (!reloads(bs) && !driver_tran(bs, &states[i], tran, errp)) {
            return false;
        }
    }
    return bdrv_refresh_perms_list(set, tran, errp);
}

/* Has permissions and active children; reads what may have changed. */
static bool reload(BlockDriverState *bs, BdrvReopenState *state, Error **errp)
{
    int64_t old_bytes = bs->total_bytes;
    int ret = 0;

    if (bs->drv->reload) {
        ret = bs->drv->reload(bs, errp);
    } else if (bs->drv->is_format) {
        ret = bdrv_reload_image(bs, errp);
    } else if (!is_leaf(bs) && bs->drv->reopen_commit_post) {
        bs->drv->reopen_commit_post(state);
    }
    if (ret < 0) {
        return false;
    }
    bdrv_flush_inherits(bs);
    ret = bdrv_refresh_total_size(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not get the size");
        bs->total_bytes = old_bytes;
        return false;
    }
    bdrv_refresh_limits(bs, NULL, NULL);
    bdrv_refresh_filename(bs);
    return true;
}

static bool reload_all(GPtrArray *set, BdrvReopenState *states, Error **errp)
{
    for (guint i = set->len; i > 0; i--) {
        BlockDriverState *bs = set->pdata[i - 1];

        if (!reload(bs, &states[i - 1], errp)) {
            error_prepend(errp, "Node '%s' cannot be activated: ",
                          bs->node_name);
            return false;
        }
    }
    return bdrv_refresh_perms_list(set, NULL, errp);
}

/*
 * What cannot be read is left to other processes again.  If that fails, too,
 * the nodes stay active, but what they know of their image may be old, and no
 * bitmap would have what is written: users cannot write until it succeeds.
 */
static void take_back(GPtrArray *set)
{
    Error *err = NULL;

    if (inactivate_set(set, &err)) {
        return;
    }
    for (guint i = 0; i < set->len; i++) {
        bdrv_node(set->pdata[i])->half_taken = true;
    }
    error_report_err(err);
}

/* @set is drained, parents first. */
static bool activate_set(GPtrArray *set, Error **errp)
{
    g_autofree BdrvReopenState *states = g_new0(BdrvReopenState, set->len);
    Transaction *tran = tran_new();
    bool ok = take_all(set, states, tran, errp);

    tran_finalize(tran, ok);
    if (!ok) {
        error_prepend(errp, "Node '%s' cannot be activated: ",
                      ((BlockDriverState *)set->pdata[0])->node_name);
        return false;
    }
    for (guint i = 0; i < set->len; i++) {
        bdrv_bitmap_take_over(set->pdata[i]);
    }
    ok = reload_all(set, states, errp);
    if (!ok) {
        take_back(set);
    }
    for (guint i = 0; i < set->len && ok; i++) {
        bdrv_bitmap_activated(set->pdata[i]);
    }
    return ok;
}

bool bdrv_activate(BlockDriverState *bs, Error **errp)
{
    g_autoptr(GPtrArray) roots = g_ptr_array_new_with_free_func(node_unref);
    g_autoptr(GPtrArray) set = NULL;
    GPtrArray *drained;
    bool ok;

    g_ptr_array_add(roots, bdrv_ref(bs));
    if (!bdrv_is_inactive(bs)) {
        return check_not_half_taken(bs, errp);
    }
    set = make_drained_set(roots, false, &drained);
    ok = activate_set(set, errp);
    end_drain(drained);
    return ok;
}

/* The inactive nodes that no other inactive node uses, and those that could not
 * be taken; references. */
static GPtrArray *inactive_roots(void)
{
    GPtrArray *roots = g_ptr_array_new_with_free_func(node_unref);
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        bool root = bdrv_is_inactive(bs) || bdrv_node(bs)->half_taken;
        BdrvChild *c;

        LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
            root = root && !(c->klass->parent_is_bs &&
                             bdrv_is_inactive(c->opaque));
        }
        if (root) {
            g_ptr_array_add(roots, bdrv_ref(bs));
        }
    }
    return roots;
}

bool bdrv_activate_all(Error **errp)
{
    g_autoptr(GPtrArray) roots = inactive_roots();
    bool ok = true;

    for (guint i = 0; i < roots->len; i++) {
        ok = bdrv_activate(roots->pdata[i], ok ? errp : NULL) && ok;
    }
    return ok;
}
