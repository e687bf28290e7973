/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of the graph while it is in use: all or nothing. */
#include "qemu/osdep.h"
#include "block/graph-int.h"
#include "block/node-int.h"

/* Does edge @c move to @to?  BDRV_STAY: no. */
static BdrvConsent may_move(BdrvChild *c, BlockDriverState *to,
                            BdrvContent content, Transaction *tran,
                            Error **errp)
{
    BdrvChildChange change = {
        .name = c->name,
        .role = c->role,
        .old_bs = c->bs,
        .new_bs = to,
        .content = content,
    };
    BdrvConsent consent = BDRV_ACCEPT;

    if (c->klass->stay_at_node ||
        (c->klass->parent_is_bs && bdrv_is_below(to, c->opaque))) {
        return BDRV_STAY;
    }
    if (c->klass->parent_is_bs) {
        consent = bdrv_ask_change(c->opaque, &change, tran, errp);
    }
    return consent == BDRV_ACCEPT && !bdrv_child_check_frozen(c, to, errp)
        ? BDRV_REFUSE : consent;
}

/* The edges that move from @from when @to takes its place. */
static GPtrArray *edges_to_move(BlockDriverState *from, BlockDriverState *to,
                                BdrvContent content, Transaction *tran,
                                Error **errp)
{
    g_autoptr(GPtrArray) edges = g_ptr_array_new();
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(from)->parents, next_parent) {
        switch (may_move(c, to, content, tran, errp)) {
        case BDRV_REFUSE:
            return NULL;
        case BDRV_ACCEPT:
            /* The list is walked newest first; keep that order on @to. */
            g_ptr_array_insert(edges, 0, c);
            break;
        case BDRV_STAY:
            break;
        }
    }
    return g_steal_pointer(&edges);
}

static void move_edges(const GPtrArray *edges, BlockDriverState *to,
                       Transaction *tran)
{
    for (guint i = 0; i < edges->len; i++) {
        bdrv_child_replace_tran(g_ptr_array_index(edges, i), to, tran);
    }
}

/* Updates the state that parents derive from their child, which was @from until
 * now. */
static bool refresh_parents(const GPtrArray *edges, BlockDriverState *from,
                            Transaction *tran, Error **errp)
{
    for (guint i = 0; i < edges->len; i++) {
        BdrvChild *c = g_ptr_array_index(edges, i);
        Error *err = NULL;

        if (!c->klass->parent_is_bs) {
            if (!bdrv_moved_size_tran(c, from->total_bytes, tran, errp)) {
                return false;
            }
            continue;
        }
        bdrv_refresh_limits(c->opaque, tran, &err);
        if (err) {
            error_propagate(errp, err);
            return false;
        }
        if (bdrv_child_sets_size(c) &&
            !bdrv_refresh_size_tran(c->opaque, tran, errp)) {
            return false;
        }
    }
    return true;
}

static bool replace_drained(BlockDriverState *from, BlockDriverState *to,
                            BdrvContent content, Error **errp)
{
    Transaction *tran = tran_new();
    g_autoptr(GPtrArray) edges = edges_to_move(from, to, content, tran, errp);
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    bool ok = edges != NULL;

    if (ok) {
        move_edges(edges, to, tran);
        g_ptr_array_add(nodes, to);
        g_ptr_array_add(nodes, from);
        ok = bdrv_refresh_perms_list(nodes, tran, errp) &&
             refresh_parents(edges, from, tran, errp);
    }
    tran_finalize(tran, ok);
    return ok;
}

bool bdrv_replace_node(BlockDriverState *from, BlockDriverState *to,
                       BdrvContent content, Error **errp)
{
    bool ok;

    bdrv_ref(from);
    bdrv_ref(to);
    bdrv_drained_begin(from);
    bdrv_drained_begin(to);
    ok = bdrv_join_aio_context(to, from, errp) &&
         replace_drained(from, to, content, errp);
    bdrv_drained_end(to);
    bdrv_drained_end(from);
    bdrv_unref(to);
    bdrv_unref(from);
    return ok;
}

BlockDriverState *bdrv_insert_node(BlockDriverState *bs,
                                   const BlockdevOptions *options,
                                   Error **errp)
{
    BlockDriverState *filter;

    bdrv_drained_begin(bs);
    filter = bdrv_open(options, BDRV_O_ACTIVE, errp);
    if (!filter) {
        error_prepend(errp, "Could not create node: ");
    }
    if (filter && bdrv_filter_child(filter)) {
        bdrv_follow_discard(filter);
    }
    if (filter && bdrv_replace_node(bs, filter, BDRV_CONTENT_SAME, errp)) {
        /* Without parents this reference keeps the filter. */
        bdrv_node(filter)->graph_ref = true;
    } else {
        bdrv_unref(filter);
        filter = NULL;
    }
    bdrv_drained_end(bs);
    return filter;
}

bool bdrv_drop_filter(BlockDriverState *filter, Error **errp)
{
    BdrvChild *child = bdrv_filter_child(filter);
    BlockDriverState *bs;
    bool ok;

    if (!child) {
        error_setg(errp, "Node '%s' is not a filter", filter->node_name);
        return false;
    }
    bs = bdrv_ref(child->bs);
    bdrv_drained_begin(bs);
    ok = bdrv_replace_node(filter, bs, BDRV_CONTENT_SAME, errp);
    if (ok && bdrv_node(filter)->graph_ref) {
        bdrv_node(filter)->graph_ref = false;
        bdrv_unref(filter);
    }
    bdrv_drained_end(bs);
    bdrv_unref(bs);
    return ok;
}

/* Updates the limits and the name, which depend on the backing file. */
static void refresh_overlay(BlockDriverState *overlay)
{
    bdrv_refresh_limits(overlay, NULL, NULL);
    bdrv_refresh_filename(overlay);
}

static const BdrvChildLike backing_child = { "backing", BDRV_CHILD_COW };

bool bdrv_append(BlockDriverState *overlay, BlockDriverState *bs,
                 GPtrArray **moved, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    g_autoptr(GPtrArray) edges = NULL;
    Transaction *tran = tran_new();
    bool ok;

    g_ptr_array_add(nodes, overlay);
    g_ptr_array_add(nodes, bs);
    ok = bdrv_set_child_tran(overlay, backing_child, bs, BDRV_CONTENT_OVERLAY,
                             tran, errp);
    edges = ok ? edges_to_move(bs, overlay, BDRV_CONTENT_OVERLAY, tran, errp)
               : NULL;
    if (edges) {
        move_edges(edges, overlay, tran);
    }
    ok = edges && bdrv_refresh_perms_list(nodes, tran, errp) &&
         refresh_parents(edges, bs, tran, errp);
    tran_finalize(tran, ok);
    if (ok) {
        overlay->open_flags &= ~BDRV_O_NO_BACKING;
        refresh_overlay(overlay);
        *moved = g_steal_pointer(&edges);
    }
    return ok;
}

/* Restores the former state, which no parent can refuse. */
static void restore_parents(const GPtrArray *edges, BlockDriverState *from)
{
    for (guint i = 0; i < edges->len; i++) {
        BdrvChild *c = g_ptr_array_index(edges, i);

        if (c->klass->parent_is_bs) {
            bdrv_refresh_limits(c->opaque, NULL, NULL);
            bdrv_refresh_total_size(c->opaque);
        } else if (c->klass->resize &&
                   c->bs->total_bytes != from->total_bytes) {
            c->klass->resize(c);
        }
    }
}

bool bdrv_unappend(BlockDriverState *overlay, BlockDriverState *bs,
                   const GPtrArray *moved, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    Transaction *tran = tran_new();
    bool ok;

    g_ptr_array_add(nodes, bs);
    g_ptr_array_add(nodes, overlay);
    move_edges(moved, bs, tran);
    ok = bdrv_set_child_tran(overlay, backing_child, NULL,
                             BDRV_CONTENT_OVERLAY, tran, errp) &&
         bdrv_refresh_perms_list(nodes, tran, errp);
    tran_finalize(tran, ok);
    if (ok) {
        restore_parents(moved, overlay);
        refresh_overlay(overlay);
    }
    return ok;
}

static bool set_backing_drained(BlockDriverState *bs,
                                BlockDriverState *backing,
                                BdrvContent content, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    BlockDriverState *old = bs->backing ? bs->backing->bs : NULL;
    Transaction *tran = tran_new();
    bool ok;

    g_ptr_array_add(nodes, bs);
    if (old) {
        g_ptr_array_add(nodes, old);
    }
    ok = bdrv_set_child_tran(bs, backing_child, backing, content, tran, errp) &&
         bdrv_refresh_perms_list(nodes, tran, errp);
    if (ok && old && old != backing && bdrv_node(old)->inherits_from == bs) {
        bdrv_node(old)->inherits_from = NULL;
    }
    tran_finalize(tran, ok);
    return ok;
}

bool bdrv_set_backing(BlockDriverState *bs, BlockDriverState *backing,
                      BdrvContent content, Error **errp)
{
    bool ok;

    if (backing && (!bs->drv || !bs->drv->supports_backing)) {
        error_setg(errp, "Driver '%s' of node '%s' does not support backing "
                   "files", bs->drv ? bs->drv->format_name : "none",
                   bs->node_name);
        return false;
    }
    bdrv_drained_begin(bs);
    ok = set_backing_drained(bs, backing, content, errp);
    if (ok) {
        bdrv_refresh_limits(bs, NULL, NULL);
        bdrv_refresh_filename(bs);
    }
    bdrv_drained_end(bs);
    return ok;
}

/* --- children that come and go --- */

/* Child @like of @parent becomes @bs (NULL: none).  @other: the old or new
 * child. */
static bool change_child_drained(BlockDriverState *parent, BdrvChildLike like,
                                 BlockDriverState *bs, BlockDriverState *other,
                                 Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    Transaction *tran = tran_new();
    Error *err = NULL;
    bool ok;

    g_ptr_array_add(nodes, parent);
    g_ptr_array_add(nodes, other);
    ok = bdrv_set_child_tran(parent, like, bs, BDRV_CONTENT_SAME, tran,
                             errp) &&
         bdrv_refresh_perms_list(nodes, tran, errp) &&
         bdrv_refresh_size_tran(parent, tran, errp);
    if (ok) {
        bdrv_refresh_limits(parent, tran, &err);
    }
    if (err) {
        error_propagate(errp, err);
        ok = false;
    }
    tran_finalize(tran, ok);
    if (ok) {
        bdrv_refresh_filename(parent);
    }
    return ok;
}

static bool change_child(BlockDriverState *parent, BdrvChildLike like,
                         BlockDriverState *bs, BlockDriverState *other,
                         Error **errp)
{
    bool ok;

    bdrv_ref(other);
    bdrv_drained_begin(parent);
    ok = change_child_drained(parent, like, bs, other, errp);
    bdrv_drained_end(parent);
    if (ok && !bs && bdrv_node(other)->inherits_from == parent) {
        bdrv_node(other)->inherits_from = NULL;
    }
    if (!ok || !bs) {
        bdrv_leave_aio_context(other);
    }
    bdrv_unref(other);
    return ok;
}

bool bdrv_add_child(BlockDriverState *parent, BlockDriverState *bs,
                    Error **errp)
{
    g_autofree char *name = NULL;

    if (!parent->drv || !parent->drv->next_child_name) {
        error_setg(errp, "The node %s does not support adding a child",
                   bdrv_get_device_or_node_name(parent));
        return false;
    }
    if (!LIST_EMPTY(&bdrv_node(bs)->parents)) {
        error_setg(errp, "The node %s already has a parent", bs->node_name);
        return false;
    }
    name = parent->drv->next_child_name(parent);
    return change_child(parent, (BdrvChildLike){ name, BDRV_CHILD_DATA }, bs,
                        bs, errp);
}

/* Would @child be let go?  Asked before anything is done to it. */
static bool may_lose_child(BlockDriverState *parent, const BdrvChild *child,
                           Error **errp)
{
    BdrvChildChange change = {
        .name = child->name,
        .role = child->role,
        .old_bs = child->bs,
        .content = BDRV_CONTENT_SAME,
    };
    Transaction *tran = tran_new();
    bool ok = bdrv_child_check_frozen(child, NULL, errp) &&
              bdrv_ask_change(parent, &change, tran, errp) == BDRV_ACCEPT;

    tran_finalize(tran, false);
    return ok;
}

bool bdrv_del_child(BlockDriverState *parent, const char *name, Error **errp)
{
    BdrvChild *child = bdrv_find_child(parent, name);
    g_autofree char *own_name = g_strdup(name);

    if (!child) {
        error_setg(errp, "Node '%s' does not have child '%s'",
                   bdrv_get_device_or_node_name(parent), name);
        return false;
    }
    if (!parent->drv || !parent->drv->next_child_name) {
        error_setg(errp, "The node %s does not support removing a child",
                   bdrv_get_device_or_node_name(parent));
        return false;
    }
    if (!may_lose_child(parent, child, errp)) {
        return false;
    }
    if (!LIST_NEXT(LIST_FIRST(&bdrv_node(child->bs)->parents), next_parent)) {
        /* Its server may never answer; the drain would wait for it. */
        bdrv_cancel_in_flight(child->bs, NULL);
    }
    return change_child(parent, (BdrvChildLike){ own_name, child->role }, NULL,
                        child->bs, errp);
}
