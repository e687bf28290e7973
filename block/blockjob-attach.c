/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attaching a job to its nodes, and detaching it: steps of a transaction.
 *
 * Each function makes one change and adds a step that undoes it.  A job keeps
 * the transaction while it is attached, and aborts it to detach: then all steps
 * are undone in reverse order, also if attaching failed half way.  None of
 * these transactions is ever committed.
 */
#include "qemu/osdep.h"
#include "qemu/transactions.h"
#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/graph.h"

/* --- nodes and users of a job --- */

static void undo_ref(void *opaque)
{
    bdrv_unref(opaque);
}

static const TransactionActionDrv ref_step = {.abort = undo_ref};

BlockDriverState *block_job_ref(BlockDriverState *bs, Transaction *tran)
{
    tran_add(tran, &ref_step, bdrv_ref(bs));
    return bs;
}

static void undo_user(void *opaque)
{
    BlockBackend **blk = opaque;

    g_clear_pointer(blk, blk_unref);
}

static const TransactionActionDrv user_step = {.abort = undo_user};

bool block_job_add_user(BlockJob *job, BlockBackend **blk,
                        const BlockJobUser *user, Transaction *tran,
                        Error **errp)
{
    g_autofree char *desc = block_job_desc(job);

    *blk = blk_new_unqueued(user->bs, user->perm, user->shared, desc, errp);
    if (*blk) {
        tran_add(tran, &user_step, blk);
    }
    return *blk != NULL;
}

static void undo_edges(void *opaque)
{
    block_job_remove_all_bdrv(opaque);
}

static const TransactionActionDrv edges_step = {.abort = undo_edges};

void block_job_hold_edges(BlockJob *job, Transaction *tran)
{
    tran_add(tran, &edges_step, job);
}

/* --- the state of nodes --- */

static void undo_writable(void *opaque)
{
    bdrv_reopen_read_only_again(opaque);
}

static const TransactionActionDrv writable_step = {.abort = undo_writable};

bool block_job_make_writable(BlockDriverState *bs, Transaction *tran,
                             Error **errp)
{
    if (!bs->read_only) {
        return true;
    }
    if (!bdrv_reopen_set_read_only(bs, false, errp)) {
        return false;
    }
    tran_add(tran, &writable_step, bs);
    return true;
}

typedef struct Frozen {
    BlockDriverState *top, *base;
} Frozen;

static void undo_freeze(void *opaque)
{
    Frozen *f = opaque;

    bdrv_unfreeze_chain(f->top, f->base);
}

static const TransactionActionDrv freeze_step = {
    .abort = undo_freeze,
    .clean = g_free,
};

bool block_job_freeze_chain(BlockDriverState *top, BlockDriverState *base,
                            Transaction *tran, Error **errp)
{
    Frozen *f;

    if (!bdrv_freeze_chain(top, base, errp)) {
        return false;
    }
    f = g_new(Frozen, 1);
    *f = (Frozen) {top, base};
    tran_add(tran, &freeze_step, f);
    return true;
}

void block_job_let_go(Transaction **tran)
{
    if (*tran) {
        tran_abort(g_steal_pointer(tran));
    }
}
