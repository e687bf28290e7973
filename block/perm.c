/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Permissions: what each edge uses and shares.
 *
 * After a change permissions are computed again downwards, parents before
 * children: the union of what parents use and the intersection of what they
 * share; from these a node's driver computes what it uses of each child.  All
 * is recorded in a Transaction: file locks and the like are set or undone at
 * its end (check_perm / set_perm / abort_perm).
 */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/graph-int.h"
#include "block/node-int.h"

char *bdrv_perm_names(uint64_t perm)
{
    static const struct {
        uint64_t perm;
        const char *name;
    } names[] = {
        {BLK_PERM_CONSISTENT_READ, "consistent read"},
        {BLK_PERM_WRITE, "write"},
        {BLK_PERM_WRITE_UNCHANGED, "write unchanged"},
        {BLK_PERM_RESIZE, "resize"},
    };
    GString *out = g_string_new("");

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (perm & names[i].perm) {
            g_string_append_printf(out, "%s%s", out->len ? ", " : "",
                                   names[i].name);
        }
    }
    return g_string_free(out, FALSE);
}

void bdrv_get_cumulative_perm(BlockDriverState *bs, uint64_t *perm,
                              uint64_t *shared)
{
    BdrvChild *c;

    *perm = 0;
    *shared = BLK_PERM_ALL;
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        *perm |= c->perm;
        *shared &= c->shared;
    }
}

/* --- defaults --- */

/* For a backing file: reading; it may change if the parents allow that. */
static void bdrv_cow_perms(uint64_t perm, uint64_t shared, uint64_t *nperm,
                           uint64_t *nshared)
{
    *nperm = perm & BLK_PERM_CONSISTENT_READ;
    *nshared = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED;
    if (shared & BLK_PERM_WRITE) {
        *nshared |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
    }
}

/* For the storage of a format: its content belongs to the format alone. */
static void bdrv_storage_perms(BlockDriverState *bs, BdrvChildRole role,
                               uint64_t perm, uint64_t shared,
                               uint64_t *nperm, uint64_t *nshared)
{
    *nperm = perm;
    *nshared = shared & ~(uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    if (role & BDRV_CHILD_METADATA) {
        /* Metadata changes even if no parent writes. */
        *nperm |= BLK_PERM_CONSISTENT_READ;
        if (!bs->read_only) {
            *nperm |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
        }
        *nshared |= BLK_PERM_WRITE_UNCHANGED | BLK_PERM_CONSISTENT_READ;
    } else if (perm & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED)) {
        *nperm |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
    }
}

void bdrv_default_perms(BlockDriverState *bs, BdrvChild *child,
                        BdrvChildRole role, uint64_t perm, uint64_t shared,
                        uint64_t *nperm, uint64_t *nshared)
{
    if (role & BDRV_CHILD_FILTERED) {
        *nperm = perm;
        *nshared = shared;
    } else if (role & BDRV_CHILD_COW) {
        bdrv_cow_perms(perm, shared, nperm, nshared);
    } else if (role & (BDRV_CHILD_DATA | BDRV_CHILD_METADATA)) {
        bdrv_storage_perms(bs, role, perm, shared, nperm, nshared);
    } else {
        *nperm = 0;
        *nshared = BLK_PERM_ALL;
    }
}

static void bdrv_child_perm(BlockDriverState *bs, BdrvChild *child,
                            uint64_t perm, uint64_t shared, uint64_t *nperm,
                            uint64_t *nshared)
{
    if (bdrv_is_inactive(bs)) {
        *nperm = 0;
        *nshared = BLK_PERM_ALL;
    } else if (bs->drv->child_perm) {
        bs->drv->child_perm(bs, child, child->role, perm, shared, nperm,
                            nshared);
    } else {
        bdrv_default_perms(bs, child, child->role, perm, shared, nperm,
                           nshared);
    }
    if (child->bs->force_share) {
        *nshared = BLK_PERM_ALL;
    }
}

/* --- steps --- */

typedef struct EdgePermStep {
    BdrvChild *child;
    uint64_t perm, shared; /* former values */
} EdgePermStep;

static void edge_perm_abort(void *opaque)
{
    EdgePermStep *step = opaque;

    step->child->perm = step->perm;
    step->child->shared = step->shared;
}

static const TransactionActionDrv edge_perm_drv = {
    .abort = edge_perm_abort,
    .clean = g_free,
};

static void bdrv_child_set_perm_tran(BdrvChild *child, uint64_t perm,
                                     uint64_t shared, Transaction *tran)
{
    EdgePermStep *step;

    if (child->perm == perm && child->shared == shared) {
        return;
    }
    step = g_new(EdgePermStep, 1);
    *step = (EdgePermStep){child, child->perm, child->shared};
    child->perm = perm;
    child->shared = shared;
    tran_add(tran, &edge_perm_drv, step);
}

typedef struct NodePermStep {
    BlockDriverState *bs;
    uint64_t old_perm, old_shared;
    uint64_t perm, shared;
} NodePermStep;

static void node_perm_commit(void *opaque)
{
    NodePermStep *step = opaque;

    if (step->bs->drv && step->bs->drv->set_perm) {
        step->bs->drv->set_perm(step->bs, step->perm, step->shared);
    }
}

static void node_perm_abort(void *opaque)
{
    NodePermStep *step = opaque;

    bdrv_node(step->bs)->cumulative_perm = step->old_perm;
    bdrv_node(step->bs)->cumulative_shared = step->old_shared;
    if (step->bs->drv && step->bs->drv->abort_perm) {
        step->bs->drv->abort_perm(step->bs);
    }
}

static const TransactionActionDrv node_perm_drv = {
    .commit = node_perm_commit,
    .abort = node_perm_abort,
    .clean = g_free,
};

static bool bdrv_node_check_perm(BlockDriverState *bs, uint64_t perm,
                                 uint64_t shared, Transaction *tran,
                                 Error **errp)
{
    BdrvNode *node = bdrv_node(bs);
    NodePermStep *step;

    /* The driver has these already, unless it gets a new descriptor. */
    if (perm == node->cumulative_perm && shared == node->cumulative_shared &&
        !node->reopening) {
        return true;
    }
    if (bs->drv->check_perm &&
        bs->drv->check_perm(bs, perm, shared, errp) < 0) {
        return false;
    }
    step = g_new(NodePermStep, 1);
    *step = (NodePermStep){
        .bs = bs,
        .old_perm = node->cumulative_perm,
        .old_shared = node->cumulative_shared,
        .perm = perm,
        .shared = shared,
    };
    node->cumulative_perm = perm;
    node->cumulative_shared = shared;
    tran_add(tran, &node_perm_drv, step);
    return true;
}

/* --- conflicts --- */

static char *bdrv_user_desc(BdrvChild *c)
{
    g_autofree char *parent = c->klass->parent_desc(c);

    return g_strdup_printf("%s (uses node '%s' as '%s' child)", parent,
                           c->bs->node_name, c->name);
}

/* Does @owner share what @user needs? */
static bool bdrv_edges_agree(BdrvChild *owner, BdrvChild *user, Error **errp)
{
    uint64_t conflict = user->perm & ~owner->shared;
    g_autofree char *needs = NULL, *unshares = NULL, *names = NULL;

    if (!conflict) {
        return true;
    }
    needs = bdrv_user_desc(user);
    unshares = bdrv_user_desc(owner);
    names = bdrv_perm_names(conflict);
    error_setg(errp,
               "Permission conflict on node '%s': permissions '%s' are both "
               "required by %s and unshared by %s.",
               user->bs->node_name, names, needs, unshares);
    return false;
}

static bool bdrv_parents_agree(BlockDriverState *bs, Error **errp)
{
    BdrvChild *a, *b;

    LIST_FOREACH(a, &bdrv_node(bs)->parents, next_parent) {
        LIST_FOREACH(b, &bdrv_node(bs)->parents, next_parent) {
            if (a != b && !bdrv_edges_agree(a, b, errp)) {
                return false;
            }
        }
    }
    return true;
}

/* --- refreshing --- */

/*
 * What the parents use and share; of an inactive node nothing and all, whatever
 * they will need when it is active, so that other processes can have the image.
 */
static void effective_perm(BlockDriverState *bs, uint64_t *perm,
                           uint64_t *shared)
{
    if (bdrv_is_inactive(bs)) {
        *perm = 0;
        *shared = BLK_PERM_ALL;
    } else {
        bdrv_get_cumulative_perm(bs, perm, shared);
    }
}

/* An active node relies on what its children have. */
static bool bdrv_child_is_active(const BlockDriverState *bs,
                                 const BdrvChild *child, Error **errp)
{
    if (bdrv_is_inactive(bs) || !bdrv_is_inactive(child->bs)) {
        return true;
    }
    error_setg(errp, "Node '%s' is inactive: it cannot be the '%s' child of "
               "the active node '%s'", child->bs->node_name, child->name,
               bs->node_name);
    return false;
}

static bool bdrv_node_refresh_perm(BlockDriverState *bs, Transaction *tran,
                                   Error **errp)
{
    uint64_t perm, shared;
    BdrvChild *c;

    if (!bdrv_parents_agree(bs, errp)) {
        return false;
    }
    if (!bs->drv) {
        return true;
    }
    effective_perm(bs, &perm, &shared);
    if ((perm & (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED)) &&
        bs->read_only) {
        error_setg(errp, "Block node is read-only");
        return false;
    }
    if (!bdrv_node_check_perm(bs, perm, shared, tran, errp)) {
        return false;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        uint64_t nperm = 0, nshared = BLK_PERM_ALL;

        if (!bdrv_child_is_active(bs, c, errp)) {
            return false;
        }
        bdrv_child_perm(bs, c, perm, shared, &nperm, &nshared);
        bdrv_child_set_perm_tran(c, nperm, nshared, tran);
    }
    return true;
}

/* Appends @bs after all nodes below it. */
static void bdrv_perm_order(GPtrArray *order, BlockDriverState *bs)
{
    BdrvChild *c;

    if (bdrv_node(bs)->walked) {
        return;
    }
    bdrv_node(bs)->walked = true;
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        bdrv_perm_order(order, c->bs);
    }
    g_ptr_array_add(order, bs);
}

GPtrArray *bdrv_nodes_below(const GPtrArray *nodes)
{
    GPtrArray *order = g_ptr_array_new();

    for (guint i = 0; i < nodes->len; i++) {
        bdrv_perm_order(order, g_ptr_array_index(nodes, i));
    }
    for (guint i = 0; i < order->len; i++) {
        bdrv_node(g_ptr_array_index(order, i))->walked = false;
    }
    return order;
}

bool bdrv_refresh_perms_list(GPtrArray *nodes, Transaction *tran,
                             Error **errp)
{
    g_autoptr(GPtrArray) order = bdrv_nodes_below(nodes);

    for (guint i = order->len; i > 0; i--) {
        if (!bdrv_node_refresh_perm(g_ptr_array_index(order, i - 1), tran,
                                    errp)) {
            return false;
        }
    }
    return true;
}

bool bdrv_refresh_perms(BlockDriverState *bs, Transaction *tran, Error **errp)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    Transaction *local = tran ? NULL : tran_new();
    bool ok;

    g_ptr_array_add(nodes, bs);
    ok = bdrv_refresh_perms_list(nodes, tran ? tran : local, errp);
    if (local) {
        tran_finalize(local, ok);
    }
    return ok;
}

bool bdrv_child_set_perm(BdrvChild *child, uint64_t perm, uint64_t shared,
                         Error **errp)
{
    Transaction *tran = tran_new();
    bool ok;

    bdrv_child_set_perm_tran(child, perm, shared, tran);
    ok = bdrv_refresh_perms(child->bs, tran, errp);
    tran_finalize(tran, ok);
    return ok;
}
