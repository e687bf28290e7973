/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A user's handle on a node: life, permissions, drain, error policy. */
#include "qemu/osdep.h"
#include "block-backend-int.h"
#include "block/graph-int.h"
#include "qemu/cutils.h"

static TAILQ_HEAD(, BlockBackend) all_backends =
    TAILQ_HEAD_INITIALIZER(all_backends);

/* --- the edge --- */

static char *blk_desc(const BlockBackend *blk)
{
    g_autofree char *id = NULL;

    if (blk->ops && blk->ops->desc) {
        return blk->ops->desc(blk->ops_opaque);
    }
    if (blk->name) {
        return g_strdup_printf("block device '%s'", blk->name);
    }
    id = blk_device_id(blk);
    if (id) {
        return g_strdup_printf("block device '%s'", id);
    }
    return g_strdup(blk->user ? blk->user : "an unnamed block device");
}

static char *blk_root_desc(BdrvChild *child)
{
    return blk_desc(child->opaque);
}

static const char *blk_root_name(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    return blk->name;
}

static void blk_root_drained_begin(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    if (blk->quiesce_counter++ == 0 && blk->ops && blk->ops->drained_begin) {
        blk->ops->drained_begin(blk->ops_opaque);
    }
    if (blk->throttle.group) {
        throttle_member_unlimited_begin(&blk->throttle);
    }
}

static bool blk_root_drained_poll(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    g_assert(blk->quiesce_counter > 0);
    if (blk->ops && blk->ops->drained_poll &&
        blk->ops->drained_poll(blk->ops_opaque)) {
        return true;
    }
    return blk->in_flight > 0;
}

static void blk_root_drained_end(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    g_assert(blk->quiesce_counter > 0);
    if (blk->throttle.group) {
        throttle_member_unlimited_end(&blk->throttle);
    }
    if (--blk->quiesce_counter == 0) {
        if (blk->ops && blk->ops->drained_end) {
            blk->ops->drained_end(blk->ops_opaque);
        }
        blk->in_flight += blk->n_queued;
        blk->n_queued = 0;
        co_queue_wake_all(&blk->queued);
    }
}

static void blk_root_resize(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    if (blk->ops && blk->ops->resize) {
        blk->ops->resize(blk->ops_opaque);
    }
}

static bool blk_root_may_move(BdrvChild *child, AioContext *ctx)
{
    BlockBackend *blk = child->opaque;

    return !blk->fixed_ctx;
}

static void blk_root_detach_aio_context(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    if (blk->ops && blk->ops->detach_aio_context) {
        blk->ops->detach_aio_context(blk->ops_opaque);
    }
}

/* Requests that wait for the end of the drain move to the new thread. */
static void blk_root_set_aio_context(BdrvChild *child, AioContext *ctx)
{
    BlockBackend *blk = child->opaque;

    blk->ctx = ctx;
}

static void blk_root_attach_aio_context(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    if (blk->ops && blk->ops->attach_aio_context) {
        blk->ops->attach_aio_context(blk->ops_opaque, blk->ctx);
    }
}

/* The user of a drive without a device is none that sends requests. */
static const char *blk_root_keeps_active(BdrvChild *child)
{
    BlockBackend *blk = child->opaque;

    if (blk->ops && blk->ops->keeps_active) {
        return blk->ops->keeps_active(blk->ops_opaque);
    }
    return !blk->ops && blk->name && !blk->user ? NULL : "";
}

static const BdrvChildClass blk_root_class = {
    .keeps_active = blk_root_keeps_active,
    .parent_desc = blk_root_desc,
    .get_name = blk_root_name,
    .drained_begin = blk_root_drained_begin,
    .drained_poll = blk_root_drained_poll,
    .drained_end = blk_root_drained_end,
    .resize = blk_root_resize,
    .may_move = blk_root_may_move,
    .detach_aio_context = blk_root_detach_aio_context,
    .set_aio_context = blk_root_set_aio_context,
    .attach_aio_context = blk_root_attach_aio_context,
};

/* --- life --- */

BlockBackend *blk_new(AioContext *ctx, uint64_t perm, uint64_t shared)
{
    BlockBackend *blk = g_new0(BlockBackend, 1);

    g_assert(aio_is_exclusive());
    blk->ctx = ctx;
    blk->refcnt = 1;
    blk->perm = perm;
    blk->shared = shared;
    blk->on_read_error = BLOCKDEV_ON_ERROR_REPORT;
    blk->on_write_error = BLOCKDEV_ON_ERROR_ENOSPC;
    blk->iostatus = BLOCK_DEVICE_IO_STATUS_OK;
    blk->write_cache = true;
    blk->stats.account_invalid = blk->stats.account_failed = true;
    co_queue_init(&blk->queued);
    TAILQ_INSERT_TAIL(&all_backends, blk, link);
    return blk;
}

BlockBackend *blk_ref(BlockBackend *blk)
{
    __atomic_fetch_add(&blk->refcnt, 1, __ATOMIC_RELAXED);
    return blk;
}

static void blk_delete(void *opaque)
{
    BlockBackend *blk = opaque;

    blk->refcnt = 1;
    blk_io_limits_disable(blk);
    blk_remove_bs(blk); /* callbacks may still use the handle here */
    g_assert(blk->refcnt == 1 && !blk->in_flight &&
             co_queue_empty(&blk->queued));
    TAILQ_REMOVE(&all_backends, blk, link);
    block_acct_cleanup(&blk->stats);
    g_free(blk->name);
    g_free(blk->user);
    g_free(blk);
}

void blk_unref(BlockBackend *blk)
{
    if (blk && __atomic_sub_fetch(&blk->refcnt, 1, __ATOMIC_ACQ_REL) == 0) {
        bdrv_run_outside(blk_delete, blk);
    }
}

BlockBackend *blk_new_with_bs(BlockDriverState *bs, uint64_t perm,
                              uint64_t shared, Error **errp)
{
    BlockBackend *blk = blk_new(bs->ctx, perm, shared);

    if (!blk_insert_bs(blk, bs, errp)) {
        blk_unref(blk);
        return NULL;
    }
    return blk;
}

BlockBackend *blk_new_unqueued(BlockDriverState *bs, uint64_t perm,
                               uint64_t shared, const char *user,
                               Error **errp)
{
    BlockBackend *blk = blk_new(bs->ctx, perm, shared);

    blk->user = g_strdup(user);
    blk_set_disable_request_queuing(blk, true);
    if (!blk_insert_bs(blk, bs, errp)) {
        blk_unref(blk);
        return NULL;
    }
    return blk;
}

/* Moves @bs for @blk, which error messages name, too. */
static bool fetch_node(BlockBackend *blk, BlockDriverState *bs,
                       AioContext *ctx, Error **errp)
{
    bool ok = bdrv_try_set_aio_context(bs, ctx, errp);
    g_autofree char *desc = ok ? NULL : blk_desc(blk);

    if (!ok) {
        error_prepend(errp, "%s cannot move its node to its thread: ", desc);
    }
    return ok;
}

typedef struct InsertCall {
    BlockBackend *blk;
    BlockDriverState *bs;
    Error **errp;
} InsertCall;

/* The node does not move between the two: neither part yields. */
static void insert_outside(void *opaque)
{
    InsertCall *call = opaque;
    BlockBackend *blk = call->blk;

    if (!blk->fixed_ctx) {
        blk->ctx = call->bs->ctx;
    } else if (!fetch_node(blk, call->bs, blk->ctx, call->errp)) {
        return;
    }
    blk->root = bdrv_root_attach_child(call->bs, "root", &blk_root_class,
                                       BDRV_CHILD_FILTERED |
                                       BDRV_CHILD_PRIMARY, blk->perm,
                                       blk->shared, blk, call->errp);
}

bool blk_insert_bs(BlockBackend *blk, BlockDriverState *bs, Error **errp)
{
    InsertCall call = { .blk = blk, .bs = bs, .errp = errp };

    g_assert(!blk->root);
    bdrv_run_outside(insert_outside, &call);
    return blk->root != NULL;
}

void blk_watch_medium(BlockBackend *blk, BlkMediumWatcher *watcher)
{
    g_assert(blk->root);
    LIST_INSERT_HEAD(&blk->watchers, watcher, next);
}

void blk_unwatch_medium(BlkMediumWatcher *watcher)
{
    LIST_REMOVE(watcher, next);
}

static void tell_watchers(BlockBackend *blk)
{
    BlkMediumWatcher *watcher;

    while ((watcher = LIST_FIRST(&blk->watchers))) {
        LIST_REMOVE(watcher, next);
        watcher->removed(watcher);
    }
}

static void remove_outside(void *opaque)
{
    BlockBackend *blk = opaque;
    BdrvChild *root;

    tell_watchers(blk);
    root = blk->root;
    if (root) {
        blk_drain(blk);
        blk->root = NULL;
        bdrv_root_unref_child(root);
    }
}

void coroutine_mixed_fn blk_remove_bs(BlockBackend *blk)
{
    bdrv_run_outside(remove_outside, blk);
}

bool blk_replace_bs(BlockBackend *blk, BlockDriverState *bs, Error **errp)
{
    g_autoptr(GPtrArray) nodes = NULL;
    BlockDriverState *old = blk_bs(blk);
    Transaction *tran;
    bool ok;

    if (!old) {
        return blk_insert_bs(blk, bs, errp);
    }
    nodes = g_ptr_array_new();
    g_ptr_array_add(nodes, bs);
    g_ptr_array_add(nodes, old);
    bdrv_ref(old);
    bdrv_drained_begin(old);
    bdrv_drained_begin(bs);
    ok = bdrv_join_aio_context(bs, old, errp);
    if (ok) {
        tran = tran_new();
        bdrv_child_replace_tran(blk->root, bs, tran);
        ok = bdrv_refresh_perms_list(nodes, tran, errp);
        tran_finalize(tran, ok);
    }
    bdrv_drained_end(bs);
    bdrv_drained_end(old);
    bdrv_unref(old);
    return ok;
}

BlockDriverState *blk_bs(const BlockBackend *blk)
{
    return blk->root ? blk->root->bs : NULL;
}

BdrvChild *blk_root(const BlockBackend *blk)
{
    return blk->root;
}

AioContext *blk_get_aio_context(const BlockBackend *blk)
{
    return blk->ctx;
}

bool blk_set_aio_context(BlockBackend *blk, AioContext *ctx, Error **errp)
{
    bool fixed = blk->fixed_ctx;
    bool ok;

    if (!blk->root) {
        blk->ctx = ctx;
        return true;
    }
    blk->fixed_ctx = false;
    ok = fetch_node(blk, blk->root->bs, ctx, errp);
    blk->fixed_ctx = fixed;
    return ok;
}

void blk_fix_aio_context(BlockBackend *blk, bool fixed)
{
    blk->fixed_ctx = fixed;
}

/* --- names --- */

bool blk_set_name(BlockBackend *blk, const char *name, Error **errp)
{
    if (!name) {
        g_free(g_steal_pointer(&blk->name));
        return true;
    }
    if (!id_wellformed(name)) {
        error_setg(errp, "Invalid device name '%s'", name);
        return false;
    }
    if (blk_by_name(name)) {
        error_setg(errp, "Device with id '%s' already exists", name);
        return false;
    }
    if (bdrv_find_node(name)) {
        error_setg(errp, "Device name '%s' conflicts with an existing node "
                   "name", name);
        return false;
    }
    g_free(blk->name);
    blk->name = g_strdup(name);
    return true;
}

const char *blk_name(const BlockBackend *blk)
{
    return blk->name ? blk->name : "";
}

BlockBackend *blk_by_name(const char *name)
{
    BlockBackend *blk;

    TAILQ_FOREACH(blk, &all_backends, link) {
        if (blk->name && !strcmp(blk->name, name)) {
            return blk;
        }
    }
    return NULL;
}

BlockBackend *blk_next(BlockBackend *blk)
{
    return blk ? TAILQ_NEXT(blk, link) : TAILQ_FIRST(&all_backends);
}

/* --- permissions --- */

bool blk_set_perm(BlockBackend *blk, uint64_t perm, uint64_t shared,
                  Error **errp)
{
    if (blk->root && !bdrv_child_set_perm(blk->root, perm, shared, errp)) {
        return false;
    }
    blk->perm = perm;
    blk->shared = shared;
    return true;
}

void blk_get_perm(const BlockBackend *blk, uint64_t *perm, uint64_t *shared)
{
    *perm = blk->perm;
    *shared = blk->shared;
}

void blk_set_dev_ops(BlockBackend *blk, const BlockDevOps *ops, void *opaque)
{
    blk->ops = ops;
    blk->ops_opaque = opaque;
    /* Notify the new user of a drain that is already in progress. */
    if (blk->quiesce_counter && ops && ops->drained_begin) {
        ops->drained_begin(opaque);
    }
}

bool blk_get_device_state(const BlockBackend *blk, BlockDevState *state)
{
    *state = (BlockDevState) {0};
    if (!blk->ops || !blk->ops->device_state) {
        return false;
    }
    blk->ops->device_state(blk->ops_opaque, state);
    return true;
}

char *blk_device_id(const BlockBackend *blk)
{
    BlockDevState state;

    return blk_get_device_state(blk, &state) ? state.id : NULL;
}

bool blk_is_writable(const BlockBackend *blk)
{
    return blk->root && !blk->root->bs->read_only &&
           (blk->perm & BLK_PERM_WRITE);
}

bool blk_is_available(const BlockBackend *blk)
{
    return blk->root && bdrv_is_inserted(blk->root->bs);
}

bool blk_is_busy(const BlockBackend *blk)
{
    return blk->in_flight > 0 || !co_queue_empty(&blk->queued);
}

void blk_drain(BlockBackend *blk)
{
    BlockDriverState *bs = blk_bs(blk);

    if (bs) {
        bdrv_ref(bs);
        bdrv_drained_begin(bs);
    }
    if (!in_coroutine()) {
        AIO_WAIT_WHILE(blk->in_flight > 0);
    }
    if (bs) {
        bdrv_drained_end(bs);
        bdrv_unref(bs);
    }
}

void blk_set_enable_write_cache(BlockBackend *blk, bool wce)
{
    blk->write_cache = wce;
}

bool blk_enable_write_cache(const BlockBackend *blk)
{
    return blk->write_cache;
}

void blk_set_disable_request_queuing(BlockBackend *blk, bool disable)
{
    blk->disable_request_queuing = disable;
}

/* --- error policy --- */

void blk_set_on_error(BlockBackend *blk, BlockdevOnError on_read_error,
                      BlockdevOnError on_write_error)
{
    blk->on_read_error = on_read_error;
    blk->on_write_error = on_write_error;
}

BlockdevOnError blk_get_on_error(const BlockBackend *blk, bool is_read)
{
    return is_read ? blk->on_read_error : blk->on_write_error;
}

BlockErrorAction blk_get_error_action(const BlockBackend *blk, bool is_read,
                                      int error)
{
    BlockdevOnError policy = blk_get_on_error(blk, is_read);

    if (policy == BLOCKDEV_ON_ERROR_AUTO) {
        policy = is_read ? BLOCKDEV_ON_ERROR_REPORT
                         : BLOCKDEV_ON_ERROR_ENOSPC;
    }
    switch (policy) {
    case BLOCKDEV_ON_ERROR_ENOSPC:
        return error == ENOSPC ? BLOCK_ERROR_ACTION_STOP
                               : BLOCK_ERROR_ACTION_REPORT;
    case BLOCKDEV_ON_ERROR_STOP:
        return BLOCK_ERROR_ACTION_STOP;
    case BLOCKDEV_ON_ERROR_IGNORE:
        return BLOCK_ERROR_ACTION_IGNORE;
    default:
        return BLOCK_ERROR_ACTION_REPORT;
    }
}

void blk_iostatus_enable(BlockBackend *blk)
{
    blk->iostatus_enabled = true;
    blk->iostatus = BLOCK_DEVICE_IO_STATUS_OK;
}

void blk_iostatus_disable(BlockBackend *blk)
{
    blk->iostatus_enabled = false;
}

bool blk_iostatus_is_enabled(const BlockBackend *blk)
{
    return blk->iostatus_enabled &&
           (blk->on_write_error == BLOCKDEV_ON_ERROR_ENOSPC ||
            blk->on_write_error == BLOCKDEV_ON_ERROR_STOP ||
            blk->on_read_error == BLOCKDEV_ON_ERROR_STOP);
}

void blk_iostatus_reset(BlockBackend *blk)
{
    blk->iostatus = BLOCK_DEVICE_IO_STATUS_OK;
}

void blk_iostatus_set_err(BlockBackend *blk, int error)
{
    if (blk->iostatus_enabled &&
        blk->iostatus == BLOCK_DEVICE_IO_STATUS_OK) {
        blk->iostatus = error == ENOSPC ? BLOCK_DEVICE_IO_STATUS_NOSPACE
                                        : BLOCK_DEVICE_IO_STATUS_FAILED;
    }
}

BlockDeviceIoStatus blk_iostatus(const BlockBackend *blk)
{
    return blk->iostatus;
}

BlockAcctStats *blk_get_stats(BlockBackend *blk)
{
    return &blk->stats;
}
