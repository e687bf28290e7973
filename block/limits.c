/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits of a node: those of its children, merged, then the driver's own.
 *
 * The request alignment is not inherited: each gate aligns for its own node,
 * and also serialises the read-modify-write there.
 */
#include "qemu/osdep.h"
#include "block/node-int.h"
#include "io-int.h"

static int64_t min_nonzero(int64_t a, int64_t b)
{
    return a && b ? MIN(a, b) : MAX(a, b);
}

static void merge_limits(BlockLimits *bl, const BlockLimits *child)
{
    bl->opt_transfer = MAX(bl->opt_transfer, child->opt_transfer);
    bl->max_transfer = min_nonzero(bl->max_transfer, child->max_transfer);
    bl->opt_mem_alignment = MAX(bl->opt_mem_alignment,
                                child->opt_mem_alignment);
    bl->min_mem_alignment = MAX(bl->min_mem_alignment,
                                child->min_mem_alignment);
    bl->max_iov = min_nonzero(bl->max_iov, child->max_iov);
}

static bool check_limits(const BlockDriverState *bs, Error **errp)
{
    const BlockLimits *bl = &bs->bl;

    if (!is_power_of_2(bl->request_alignment) ||
        bl->request_alignment > 1u << 30) {
        error_setg(errp, "Driver '%s' of node '%s' requires the request "
                   "alignment %" PRIu32, bs->drv->format_name, bs->node_name,
                   bl->request_alignment);
        return false;
    }
    return true;
}

typedef struct LimitsUndo {
    BlockDriverState *bs;
    BlockLimits old;
} LimitsUndo;

static void limits_abort(void *opaque)
{
    LimitsUndo *undo = opaque;

    undo->bs->bl = undo->old;
}

static const TransactionActionDrv limits_undo = {
    .abort = limits_abort,
    .clean = g_free,
};

/* Updates the node only, from the present limits of its children. */
static bool refresh_one(BlockDriverState *bs, Error **errp)
{
    BdrvChild *child;
    Error *err = NULL;

    bs->bl = (BlockLimits) { .request_alignment = 1 };
    LIST_FOREACH(child, &bdrv_node(bs)->children, next) {
        if (child->role & (BDRV_CHILD_DATA | BDRV_CHILD_FILTERED |
                           BDRV_CHILD_COW)) {
            merge_limits(&bs->bl, &child->bs->bl);
        }
    }
    if (bs->drv->refresh_limits) {
        bs->drv->refresh_limits(bs, &err);
        if (err) {
            error_propagate(errp, err);
            return false;
        }
    }
    bs->bl.min_mem_alignment = MAX(bs->bl.min_mem_alignment, 1);
    bs->bl.opt_mem_alignment = MAX(bs->bl.opt_mem_alignment, 4096);
    bs->bl.max_iov = bs->bl.max_iov ? bs->bl.max_iov : IOV_MAX;
    return check_limits(bs, errp);
}

void bdrv_refresh_limits(BlockDriverState *bs, Transaction *tran,
                         Error **errp)
{
    BdrvChild *parent;
    Error *err = NULL;

    if (!bs->drv) {
        return;
    }
    if (tran) {
        LimitsUndo *undo = g_new(LimitsUndo, 1);

        *undo = (LimitsUndo) { bs, bs->bl };
        tran_add(tran, &limits_undo, undo);
    }
    if (!refresh_one(bs, errp)) {
        return;
    }
    LIST_FOREACH(parent, &bdrv_node(bs)->parents, next_parent) {
        if (parent->klass->parent_is_bs) {
            bdrv_refresh_limits(parent->opaque, tran, &err);
            if (err) {
                error_propagate(errp, err);
                return;
            }
        }
    }
}
