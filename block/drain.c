/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Draining: no requests in flight on a node between begin and end.
 *
 * A node is quiesced by notifying all that may submit requests to it: its
 * parents, upwards through the graph, and its driver, which may have background
 * work.  Each edge records whether its parent was notified (child->quiesced),
 * so that the parent of an edge that moves from or to a drained node is
 * notified.  Then drain waits until the node and its parents have no request in
 * flight.
 *
 *      BlockBackend      notified second, queues new requests from now on
 *           |
 *        filter          notified first, notifies its own parents
 *           |
 *       the node         quiesce_counter > 0
 *           |
 *       its child        not quiesced: the node submits it no new requests; but
 *                        earlier ones may be in flight there, so that it is
 *                        asked not to delay any (let_go)
 */
#include "qemu/osdep.h"
#include "block/graph-int.h"
#include "block/io.h"
#include "block/node-int.h"

static int drain_all_count;

int bdrv_drain_all_count(void)
{
    return drain_all_count;
}

/* --- leaving coroutines --- */

typedef struct RunOutside {
    void (*fn)(void *opaque);
    void *opaque;
    Coroutine *co;
} RunOutside;

static void bdrv_run_outside_bh(void *opaque)
{
    RunOutside *run = opaque;

    if (bdrv_context_moving()) {
        aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, bdrv_run_outside_bh,
                       run);
        return;
    }
    aio_exclusive_begin();
    run->fn(run->opaque);
    aio_exclusive_end();
    co_wake(run->co);
}

void coroutine_mixed_fn bdrv_run_outside(void (*fn)(void *), void *opaque)
{
    RunOutside run = {.fn = fn, .opaque = opaque};

    if (!in_coroutine()) {
        fn(opaque);
        return;
    }
    run.co = coroutine_self();
    aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, bdrv_run_outside_bh,
                   &run);
    coroutine_yield();
}

/* --- parents --- */

void bdrv_quiesce_parent(BdrvChild *child)
{
    if (!child->quiesced) {
        child->quiesced = true;
        if (child->klass->drained_begin) {
            child->klass->drained_begin(child);
        }
    }
}

void bdrv_unquiesce_parent(BdrvChild *child)
{
    if (child->quiesced) {
        child->quiesced = false;
        if (child->klass->drained_end) {
            child->klass->drained_end(child);
        }
    }
}

bool bdrv_drain_busy(BlockDriverState *bs)
{
    BdrvChild *c;

    if (bdrv_node(bs)->in_flight) {
        return true;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->drained_poll && c->klass->drained_poll(c)) {
            return true;
        }
    }
    return false;
}

/* --- what is in flight below --- */

/* @seen: nodes that were visited, as several paths may lead to a node. */
static void let_go_below(BlockDriverState *bs, GHashTable *seen)
{
    BdrvChild *c;

    /* An edge that is being attached or detached has no node. */
    if (!bs || !g_hash_table_add(seen, bs)) {
        return;
    }
    if (bdrv_node(bs)->opened && bs->drv->let_go) {
        bs->drv->let_go(bs);
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        let_go_below(c->bs, seen);
    }
}

void bdrv_let_go(BlockDriverState *bs)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    let_go_below(bs, seen);
}

/* Backing files may have requests of others, unless @co selects one. */
static void cancel_below(BlockDriverState *bs, Coroutine *co, GHashTable *seen)
{
    BdrvChild *c;

    if (!bs || !g_hash_table_add(seen, bs)) {
        return;
    }
    if (bs->drv && bs->drv->cancel_in_flight) {
        bs->drv->cancel_in_flight(bs, co);
    }
    if (bdrv_node(bs)->opened && bs->drv->let_go) {
        bs->drv->let_go(bs);
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (co || !(c->role & BDRV_CHILD_COW)) {
            cancel_below(c->bs, co, seen);
        }
    }
}

void bdrv_cancel_in_flight(BlockDriverState *bs, Coroutine *co)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    cancel_below(bs, co, seen);
}

void bdrv_cancel_opening(void)
{
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_opening(bs))) {
        bdrv_cancel_in_flight(bs, NULL);
    }
}

static bool is_awaited(const BlockDriverState *bs, GHashTable *seen)
{
    const BdrvChild *c;

    if (bdrv_node(bs)->quiesce_counter) {
        return true;
    }
    if (!g_hash_table_add(seen, (void *)bs)) {
        return false;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->parent_is_bs
                ? is_awaited(c->opaque, seen)
                : c->klass->is_awaited && c->klass->is_awaited(c)) {
            return true;
        }
    }
    return false;
}

bool bdrv_is_awaited(const BlockDriverState *bs)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    return is_awaited(bs, seen);
}

/* --- nodes --- */

void bdrv_quiesce(BlockDriverState *bs)
{
    BdrvChild *c, *next;

    g_assert(aio_is_exclusive());
    if (bdrv_node(bs)->quiesce_counter++ > 0) {
        return;
    }
    LIST_FOREACH_SAFE(c, &bdrv_node(bs)->parents, next_parent, next) {
        bdrv_quiesce_parent(c);
    }
    if (bdrv_node(bs)->opened && bs->drv->drain_begin) {
        bs->drv->drain_begin(bs);
    }
    bdrv_let_go(bs);
}

void bdrv_unquiesce(BlockDriverState *bs)
{
    BdrvChild *c, *next;

    g_assert(aio_is_exclusive() && bdrv_node(bs)->quiesce_counter > 0);
    if (--bdrv_node(bs)->quiesce_counter > 0) {
        return;
    }
    if (bdrv_node(bs)->opened && bs->drv->drain_end) {
        bs->drv->drain_end(bs);
    }
    LIST_FOREACH_SAFE(c, &bdrv_node(bs)->parents, next_parent, next) {
        bdrv_unquiesce_parent(c);
    }
}

static void bdrv_drained_begin_outside(void *opaque)
{
    BlockDriverState *bs = opaque;

    bdrv_quiesce(bs);
    AIO_WAIT_WHILE(bdrv_drain_busy(bs));
}

void bdrv_drained_begin(BlockDriverState *bs)
{
    bdrv_run_outside(bdrv_drained_begin_outside, bs);
}

static void bdrv_drained_end_outside(void *opaque)
{
    bdrv_unquiesce(opaque);
}

bool bdrv_is_drained(const BlockDriverState *bs)
{
    return bdrv_node(bs)->quiesce_counter > 0;
}

void bdrv_drained_end(BlockDriverState *bs)
{
    bdrv_run_outside(bdrv_drained_end_outside, bs);
}

static bool bdrv_drain_all_busy(void)
{
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        if (bdrv_drain_busy(bs)) {
            return true;
        }
    }
    return false;
}

static void bdrv_drain_all_begin_outside(void *opaque)
{
    BlockDriverState *bs = NULL;

    drain_all_count++;
    while ((bs = bdrv_next_node(bs))) {
        bdrv_quiesce(bs);
    }
    AIO_WAIT_WHILE(bdrv_drain_all_busy());
}

void bdrv_drain_all_begin(void)
{
    bdrv_run_outside(bdrv_drain_all_begin_outside, NULL);
}

/* The oldest nodes first, so that jobs continue in the order of creation. */
static void bdrv_drain_all_end_outside(void *opaque)
{
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        g_ptr_array_add(nodes, bdrv_ref(bs));
    }
    for (int i = (int)nodes->len - 1; i >= 0; i--) {
        bdrv_unquiesce(nodes->pdata[i]);
    }
    g_ptr_array_foreach(nodes, (GFunc)(void (*)(void))bdrv_unref, NULL);
    g_assert(drain_all_count > 0);
    drain_all_count--;
}

void bdrv_drain_all_end(void)
{
    bdrv_run_outside(bdrv_drain_all_end_outside, NULL);
}
