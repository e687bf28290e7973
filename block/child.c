/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Edges: attaching, moving and removing them, and finding a child by role. */
#include "qemu/osdep.h"
#include "block/graph-int.h"
#include "block/node-int.h"

/* --- lookup --- */

BdrvChild *bdrv_next_parent(const BlockDriverState *bs, const BdrvChild *prev)
{
    return prev ? LIST_NEXT(prev, next_parent)
                : LIST_FIRST(&bdrv_node(bs)->parents);
}

BdrvChild *bdrv_next_child(const BlockDriverState *bs, const BdrvChild *prev)
{
    return prev ? LIST_NEXT(prev, next) : LIST_FIRST(&bdrv_node(bs)->children);
}

BdrvChild *bdrv_find_child(const BlockDriverState *bs, const char *name)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (!strcmp(c->name, name)) {
            return c;
        }
    }
    return NULL;
}

BdrvChild *bdrv_filter_child(const BlockDriverState *bs)
{
    BdrvChild *c;

    if (!bs || !bs->drv || !bs->drv->is_filter) {
        return NULL;
    }
    if (bs->file && (bs->file->role & BDRV_CHILD_FILTERED)) {
        return bs->file;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (c->role & BDRV_CHILD_FILTERED) {
            return c;
        }
    }
    return NULL;
}

BdrvChild *bdrv_cow_child(const BlockDriverState *bs)
{
    return bs && bs->drv && !bs->drv->is_filter ? bs->backing : NULL;
}

BdrvChild *bdrv_filter_or_cow_child(const BlockDriverState *bs)
{
    BdrvChild *c = bdrv_cow_child(bs);

    return c ? c : bdrv_filter_child(bs);
}

BdrvChild *bdrv_primary_child(const BlockDriverState *bs)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (c->role & BDRV_CHILD_PRIMARY) {
            return c;
        }
    }
    return bs->file;
}

/* The length of the name of the list in "LIST.N"; 0: it is none. */
static size_t list_prefix(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot ? dot - name : 0;
}

char *bdrv_child_option_name(const BdrvChild *child)
{
    size_t n = list_prefix(child->name);
    const BdrvChild *older = child;
    unsigned index = 0;

    if (!n || !child->klass->parent_is_bs) {
        return g_strdup(child->name);
    }
    while ((older = LIST_NEXT(older, next))) {
        index += list_prefix(older->name) == n &&
                 !strncmp(older->name, child->name, n);
    }
    return g_strdup_printf("%.*s.%u", (int)n, child->name, index);
}

bool bdrv_is_below(BlockDriverState *top, const BlockDriverState *bs)
{
    BdrvChild *c;

    if (top == bs) {
        return true;
    }
    LIST_FOREACH(c, &bdrv_node(top)->children, next) {
        if (bdrv_is_below(c->bs, bs)) {
            return true;
        }
    }
    return false;
}

/* Would @bs as child @name of @parent make a cycle? */
static bool bdrv_check_cycle(BlockDriverState *parent, BlockDriverState *bs,
                             const char *name, Error **errp)
{
    if (bdrv_is_below(bs, parent)) {
        error_setg(errp,
                   "Making '%s' a %s child of '%s' would create a cycle",
                   bs->node_name, name, parent->node_name);
        return false;
    }
    return true;
}

bool bdrv_child_check_frozen(const BdrvChild *child,
                             const BlockDriverState *bs, Error **errp)
{
    g_autofree char *desc = NULL;

    if (!child->frozen) {
        return true;
    }
    desc = child->klass->parent_desc((BdrvChild *)child);
    if (bs) {
        error_setg(errp, "Cannot change frozen '%s' link of %s from '%s' to "
                   "'%s'", child->name, desc, child->bs->node_name,
                   bs->node_name);
    } else {
        error_setg(errp, "Cannot remove frozen '%s' link of %s to '%s'",
                   child->name, desc, child->bs->node_name);
    }
    return false;
}

/* --- nodes as parents --- */

static char *child_of_node_desc(BdrvChild *child)
{
    BlockDriverState *parent = child->opaque;

    return g_strdup_printf("node '%s'", parent->node_name);
}

static void child_of_node_drained_begin(BdrvChild *child)
{
    bdrv_quiesce(child->opaque);
}

static bool child_of_node_drained_poll(BdrvChild *child)
{
    return bdrv_drain_busy(child->opaque);
}

static void child_of_node_drained_end(BdrvChild *child)
{
    bdrv_unquiesce(child->opaque);
}

static void child_of_node_resize(BdrvChild *child)
{
    BlockDriverState *parent = child->opaque;

    if (parent->drv && bdrv_child_sets_size(child)) {
        bdrv_refresh_total_size(parent);
    }
}

const BdrvChildClass bdrv_child_of_node = {
    .parent_is_bs = true,
    .parent_desc = child_of_node_desc,
    .drained_begin = child_of_node_drained_begin,
    .drained_poll = child_of_node_drained_poll,
    .drained_end = child_of_node_drained_end,
    .resize = child_of_node_resize,
};

/* The parent's side of an edge. */
static void child_link(BdrvChild *child)
{
    BlockDriverState *parent = child->opaque;

    if (!child->klass->parent_is_bs) {
        return;
    }
    LIST_INSERT_HEAD(&bdrv_node(parent)->children, child, next);
    if (child->role & BDRV_CHILD_COW) {
        parent->backing = child;
    } else if (!parent->file &&
               (child->role & (BDRV_CHILD_PRIMARY | BDRV_CHILD_FILTERED))) {
        parent->file = child;
    }
}

/* The order of children is that of their age: @child, which was just linked,
 * goes in front of @older, or to the end. */
static void child_set_place(BdrvChild *child, BdrvChild *older)
{
    BdrvChild *prev = child;

    while (LIST_NEXT(prev, next) != older) {
        prev = LIST_NEXT(prev, next);
    }
    if (prev != child) {
        LIST_REMOVE(child, next);
        LIST_INSERT_AFTER(prev, child, next);
    }
}

static void child_unlink(BdrvChild *child)
{
    BlockDriverState *parent = child->opaque;

    if (!child->klass->parent_is_bs) {
        return;
    }
    LIST_REMOVE(child, next);
    if (parent->backing == child) {
        parent->backing = NULL;
    }
    if (parent->file == child) {
        parent->file = NULL;
    }
}

/* The child's side of an edge; the caller handles references. */
static void child_point_to(BdrvChild *child, BlockDriverState *bs)
{
    g_assert(aio_is_exclusive());
    if (bs && bdrv_node(bs)->quiesce_counter) {
        bdrv_quiesce_parent(child);
    }
    if (child->bs) {
        if (child->klass->detach) {
            child->klass->detach(child);
        }
        LIST_REMOVE(child, next_parent);
    }
    child->bs = bs;
    if (bs) {
        g_assert(!child->klass->parent_is_bs ||
                 ((BlockDriverState *)child->opaque)->ctx == bs->ctx);
        LIST_INSERT_HEAD(&bdrv_node(bs)->parents, child, next_parent);
        if (child->klass->attach) {
            child->klass->attach(child);
        }
    }
    if (!bs || !bdrv_node(bs)->quiesce_counter) {
        bdrv_unquiesce_parent(child);
    }
}

static void child_free(BdrvChild *child)
{
    g_free(child->name);
    g_free(child);
}

/* --- steps --- */

typedef struct ChildStep {
    BdrvChild *child;
    BlockDriverState *old_bs; /* its reference is dropped at the end */
    BdrvChild *older;         /* of a removed child: the next in the list */
    bool free_child;
} ChildStep;

static void child_step_clean(void *opaque)
{
    ChildStep *step = opaque;

    /* The edge may have brought it to its thread; one that a user tried to
     * attach has not. */
    if (step->old_bs &&
        (step->child->klass->parent_is_bs || !step->free_child)) {
        bdrv_leave_aio_context(step->old_bs);
    }
    if (step->free_child) {
        child_free(step->child);
    }
    bdrv_unref(step->old_bs);
    g_free(step);
}

/*
 * Before the edge leads to @bs again.  A later step, now undone, may have moved
 * the parent, and not @bs; so the parent can move back if @bs cannot follow.
 */
static void child_rejoin(BdrvChild *child, BlockDriverState *bs)
{
    if (child->klass->parent_is_bs) {
        bdrv_join_aio_context(child->opaque, bs, &error_abort);
    }
}

static void child_attach_abort(void *opaque)
{
    ChildStep *step = opaque;

    step->old_bs = step->child->bs;
    child_point_to(step->child, NULL);
    child_unlink(step->child);
    step->free_child = true;
}

static const TransactionActionDrv child_attach_drv = {
    .abort = child_attach_abort,
    .clean = child_step_clean,
};

/* Sets an edge without a permission check; the caller refreshes them. */
static BdrvChild *bdrv_child_attach_tran(BlockDriverState *bs,
                                         const BdrvChild *like,
                                         Transaction *tran)
{
    BdrvChild *child = g_new0(BdrvChild, 1);
    ChildStep *step = g_new0(ChildStep, 1);

    child->name = g_strdup(like->name);
    child->klass = like->klass;
    child->role = like->role;
    child->perm = like->perm;
    child->shared = like->shared;
    child->opaque = like->opaque;
    child_link(child);
    child_point_to(child, bdrv_ref(bs));
    step->child = child;
    tran_add(tran, &child_attach_drv, step);
    return child;
}

static void child_replace_abort(void *opaque)
{
    ChildStep *step = opaque;
    BlockDriverState *new_bs = step->child->bs;

    child_rejoin(step->child, step->old_bs);
    child_point_to(step->child, step->old_bs);
    step->old_bs = new_bs;
}

static const TransactionActionDrv child_replace_drv = {
    .abort = child_replace_abort,
    .clean = child_step_clean,
};

void bdrv_child_replace_tran(BdrvChild *child, BlockDriverState *bs,
                             Transaction *tran)
{
    ChildStep *step = g_new0(ChildStep, 1);

    step->child = child;
    step->old_bs = child->bs;
    child_point_to(child, bdrv_ref(bs));
    tran_add(tran, &child_replace_drv, step);
}

static void child_remove_commit(void *opaque)
{
    ChildStep *step = opaque;

    step->free_child = true;
}

static void child_remove_abort(void *opaque)
{
    ChildStep *step = opaque;

    child_rejoin(step->child, step->old_bs);
    child_link(step->child);
    child_set_place(step->child, step->older);
    child_point_to(step->child, step->old_bs);
    step->old_bs = NULL;
}

static const TransactionActionDrv child_remove_drv = {
    .commit = child_remove_commit,
    .abort = child_remove_abort,
    .clean = child_step_clean,
};

static void bdrv_child_remove_tran(BdrvChild *child, Transaction *tran)
{
    ChildStep *step = g_new0(ChildStep, 1);

    step->child = child;
    step->old_bs = child->bs;
    step->older = LIST_NEXT(child, next);
    child_point_to(child, NULL);
    child_unlink(child);
    tran_add(tran, &child_remove_drv, step);
}

/* Only this edge may change: an answer of BDRV_STAY is a refusal. */
static bool child_may_change(BlockDriverState *parent,
                             const BdrvChildChange *change, Transaction *tran,
                             Error **errp)
{
    switch (bdrv_ask_change(parent, change, tran, errp)) {
    case BDRV_ACCEPT:
        return true;
    case BDRV_STAY:
        bdrv_child_change_refuse(parent, change, errp);
        return false;
    default:
        return false;
    }
}

bool bdrv_set_child_tran(BlockDriverState *parent, BdrvChildLike like,
                         BlockDriverState *bs, BdrvContent content,
                         Transaction *tran, Error **errp)
{
    BdrvChild *child = bdrv_find_child(parent, like.name);
    BdrvChildChange change = {
        .name = like.name,
        .role = child ? child->role : like.role,
        .old_bs = child ? child->bs : NULL,
        .new_bs = bs,
        .content = content,
    };
    BdrvChild new_child = {
        .name = (char *)like.name,
        .klass = &bdrv_child_of_node,
        .role = like.role,
        .shared = BLK_PERM_ALL,
        .opaque = parent,
    };

    if (change.old_bs == bs) {
        return true;
    }
    if ((child && !bdrv_child_check_frozen(child, bs, errp)) ||
        (bs && !bdrv_check_cycle(parent, bs, like.name, errp)) ||
        (bs && !bdrv_join_aio_context(bs, parent, errp)) ||
        !child_may_change(parent, &change, tran, errp)) {
        return false;
    }
    if (child && bs) {
        bdrv_child_replace_tran(child, bs, tran);
    } else if (child) {
        bdrv_child_remove_tran(child, tran);
    } else {
        bdrv_child_attach_tran(bs, &new_child, tran);
    }
    return true;
}

/* --- edges of users --- */

typedef struct AttachCall {
    BlockDriverState *bs;
    const BdrvChild *like;
    Error **errp;
    BdrvChild *child;
} AttachCall;

static void root_attach_outside(void *opaque)
{
    AttachCall *call = opaque;
    Transaction *tran = tran_new();
    BdrvChild *child = bdrv_child_attach_tran(call->bs, call->like, tran);
    bool ok = bdrv_refresh_perms(call->bs, tran, call->errp);

    tran_finalize(tran, ok);
    call->child = ok ? child : NULL;
}

BdrvChild *bdrv_root_attach_child(BlockDriverState *bs, const char *name,
                                  const BdrvChildClass *klass,
                                  BdrvChildRole role, uint64_t perm,
                                  uint64_t shared, void *opaque, Error **errp)
{
    BdrvChild like = {
        .name = (char *)name,
        .klass = klass,
        .role = role,
        .perm = perm,
        .shared = shared,
        .opaque = opaque,
    };
    AttachCall call = { .bs = bs, .like = &like, .errp = errp };

    bdrv_run_outside(root_attach_outside, &call);
    return call.child;
}

static void root_unref_outside(void *opaque)
{
    BdrvChild *child = opaque;
    BlockDriverState *bs = child->bs;

    child_point_to(child, NULL);
    child_unlink(child);
    child_free(child);
    /* If a driver fails to give up permissions it keeps them. */
    bdrv_refresh_perms(bs, NULL, NULL);
    bdrv_leave_aio_context(bs);
    bdrv_unref(bs);
}

void bdrv_root_unref_child(BdrvChild *child)
{
    bdrv_run_outside(root_unref_outside, child);
}

BdrvChild *bdrv_attach_child(BlockDriverState *parent, BlockDriverState *bs,
                             const char *name, BdrvChildRole role,
                             Error **errp)
{
    Transaction *tran;
    BdrvChild *child;
    BdrvChild like = {
        .name = (char *)name,
        .klass = &bdrv_child_of_node,
        .role = role,
        .shared = BLK_PERM_ALL,
        .opaque = parent,
    };
    bool ok;

    if (!bdrv_check_cycle(parent, bs, name, errp) ||
        !bdrv_join_aio_context(parent, bs, errp)) {
        return NULL;
    }
    tran = tran_new();
    child = bdrv_child_attach_tran(bs, &like, tran);
    ok = bdrv_refresh_perms(parent, tran, errp);
    tran_finalize(tran, ok);
    return ok ? child : NULL;
}

void bdrv_unref_child(BlockDriverState *parent, BdrvChild *child)
{
    if (child) {
        g_assert(child->opaque == parent);
        if (bdrv_node(child->bs)->inherits_from == parent) {
            bdrv_node(child->bs)->inherits_from = NULL;
        }
        bdrv_root_unref_child(child);
    }
}
