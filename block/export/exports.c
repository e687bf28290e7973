/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Life cycle of exports, whatever their type.
 *
 *     added --(block-export-del, end of the server)--> shutting down
 *     shutting down --(last client gone)--> deleted
 *
 * The last client is removed in a coroutine, where the graph must not change:
 * a bottom half of the outermost loop, or a caller that waits for the end of
 * the export, deletes it.
 */
#include "qemu/osdep.h"

#include "block/activate.h"
#include "block/export.h"
#include "block/graph.h"
#include "qemu/cutils.h"
#include "qemu/iothread.h"

static const BlockExportDriver *const export_drivers[] = {
    &block_export_nbd,
};

static LIST_HEAD(, BlockExport) exports = LIST_HEAD_INITIALIZER(exports);

BlockExportEventHooks block_export_event_hooks;

BlockExport *blk_exp_find(const char *id)
{
    BlockExport *exp;

    LIST_FOREACH(exp, &exports, next) {
        if (strcmp(exp->id, id) == 0) {
            return exp;
        }
    }
    return NULL;
}

static const BlockExportDriver *find_driver(BlockExportType type)
{
    for (size_t i = 0; i < ARRAY_SIZE(export_drivers); i++) {
        if (export_drivers[i]->type == type) {
            return export_drivers[i];
        }
    }
    return NULL;
}

/* --- adding --- */

static bool check_options(const BlockExportOptions *options, Error **errp)
{
    if (!id_wellformed(options->id)) {
        error_setg(errp, "Invalid block export id");
        return false;
    }
    if (blk_exp_find(options->id)) {
        error_setg(errp, "Block export id '%s' is already in use",
                   options->id);
        return false;
    }
    return true;
}

static bool check_iothread(const BlockExportOptions *options, Error **errp)
{
    if (options->iothread && !iothread_find(options->iothread)) {
        error_setg(errp, "iothread \"%s\" not found", options->iothread);
        return false;
    }
    return true;
}

static BlockBackend *new_backend(const BlockExportOptions *options,
                                 Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(NULL, options->node_name, errp);
    uint64_t perm = BLK_PERM_CONSISTENT_READ;
    g_autofree char *user = g_strdup_printf("export '%s'", options->id);
    BlockBackend *blk;

    if (!bs || !check_iothread(options, errp) ||
        (!options->allow_inactive && !bdrv_activate(bs, errp))) {
        return NULL;
    }
    if (options->writable) {
        if (bdrv_is_read_only(bs)) {
            error_setg(errp, "Cannot export read-only node as writable");
            return NULL;
        }
        perm |= BLK_PERM_WRITE;
    }
    blk = blk_new_unqueued(bs, perm, BLK_PERM_ALL & ~BLK_PERM_RESIZE, user,
                           errp);
    if (blk) {
        blk_set_enable_write_cache(blk, !options->writethrough);
    }
    return blk;
}

/*
 * Moves the node to the thread that the options name.  Only a fixed export
 * fails if other users prevent that.
 */
static bool enter_thread(BlockExport *exp, const BlockExportOptions *options,
                         Error **errp)
{
    Error **move_errp = options->fixed_iothread ? errp : NULL;

    if (options->iothread) {
        IOThread *thread = iothread_find(options->iothread);

        if (!blk_set_aio_context(exp->blk, iothread_context(thread),
                                 move_errp) && options->fixed_iothread) {
            return false;
        }
    }
    blk_fix_aio_context(exp->blk, options->fixed_iothread);
    return true;
}

/* On failure the node moves back to its former thread. */
static bool start(BlockExport *exp, const BlockExportOptions *options,
                  Error **errp)
{
    AioContext *before = blk_get_aio_context(exp->blk);

    if (!enter_thread(exp, options, errp)) {
        return false;
    }
    if (!exp->drv->create(exp, options, errp)) {
        blk_set_aio_context(exp->blk, before, NULL);
        return false;
    }
    return true;
}

BlockExport *blk_exp_add(const BlockExportOptions *options, Error **errp)
{
    const BlockExportDriver *drv = find_driver(options->type);
    BlockExport *exp;

    if (!drv) {
        error_setg(errp, "No driver found for the requested export type");
        return NULL;
    }
    if (!check_options(options, errp)) {
        return NULL;
    }
    exp = g_malloc0(drv->instance_size);
    exp->blk = new_backend(options, errp);
    if (!exp->blk) {
        g_free(exp);
        return NULL;
    }
    exp->drv = drv;
    exp->id = g_strdup(options->id);
    exp->writable = options->writable;
    exp->writethrough = options->writethrough;
    exp->allow_inactive = options->allow_inactive;
    exp->refcount = 1;
    if (!start(exp, options, errp)) {
        blk_unref(exp->blk);
        g_free(exp->id);
        g_free(exp);
        return NULL;
    }
    LIST_INSERT_HEAD(&exports, exp, next);
    return exp;
}

/* --- ending --- */

static void export_delete(BlockExport *exp)
{
    g_autofree char *id = exp->id;

    if (exp->watches_medium) {
        blk_unwatch_medium(&exp->medium);
    }
    LIST_REMOVE(exp, next);
    blk_set_dev_ops(exp->blk, NULL, NULL);
    exp->drv->delete(exp);
    blk_unref(exp->blk);
    g_free(exp);
    if (block_export_event_hooks.deleted) {
        block_export_event_hooks.deleted(id);
    }
}

static BlockExport *find_unreferenced(void)
{
    BlockExport *exp;

    LIST_FOREACH(exp, &exports, next) {
        if (exp->refcount == 0) {
            return exp;
        }
    }
    return NULL;
}

/* Deletes exports without references.  Requests and threads are waited for
 * meanwhile, and a nested call may delete others. */
static void reap(void)
{
    BlockExport *exp;

    while ((exp = find_unreferenced())) {
        export_delete(exp);
    }
}

static void reap_bh(void *opaque)
{
    reap();
}

void blk_exp_ref(BlockExport *exp)
{
    exp->refcount++;
}

void blk_exp_unref(BlockExport *exp)
{
    g_assert(exp->refcount > 0);
    if (--exp->refcount == 0) {
        aio_bh_oneshot(aio_main_context(), AIO_SCOPE_MAIN, reap_bh, NULL);
    }
}

static void request_shutdown(BlockExport *exp)
{
    if (!exp->shutting_down) {
        exp->shutting_down = true;
        exp->drv->request_shutdown(exp);
        /* Do not delay requests of clients longer than necessary. */
        bdrv_let_go(blk_bs(exp->blk));
        blk_exp_unref(exp);
    }
}

bool blk_exp_del(BlockExport *exp, BlockExportRemoveMode mode, Error **errp)
{
    if (exp->shutting_down) {
        error_setg(errp, "Export '%s' is already shutting down", exp->id);
        return false;
    }
    if (mode == BLOCK_EXPORT_REMOVE_MODE_SAFE && exp->refcount > 1) {
        error_setg(errp, "export '%s' still in use", exp->id);
        error_append_hint(errp, "Use mode='hard' to force client "
                          "disconnect\n");
        return false;
    }
    request_shutdown(exp);
    reap();
    return true;
}

static void medium_removed(BlkMediumWatcher *watcher)
{
    BlockExport *exp = container_of(watcher, BlockExport, medium);

    exp->watches_medium = false;
    request_shutdown(exp);
    reap();
}

void blk_exp_end_with_medium(BlockExport *exp, BlockBackend *drive)
{
    g_assert(!exp->watches_medium);
    exp->watches_medium = true;
    exp->medium.removed = medium_removed;
    blk_watch_medium(drive, &exp->medium);
}

static bool any_of_type(BlockExportType type)
{
    BlockExport *exp;

    reap();
    LIST_FOREACH(exp, &exports, next) {
        if (exp->drv->type == type) {
            return true;
        }
    }
    return false;
}

void blk_exp_close_type(BlockExportType type)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    BlockExport *exp;

    LIST_FOREACH(exp, &exports, next) {
        if (exp->drv->type == type) {
            blk_exp_ref(exp);
            g_ptr_array_add(all, exp);
        }
    }
    for (guint i = 0; i < all->len; i++) {
        exp = all->pdata[i];
        request_shutdown(exp);
        /* Limits do not delay requests of the clients meanwhile. */
        blk_drain(exp->blk);
        blk_exp_unref(exp);
    }
    AIO_WAIT_WHILE(any_of_type(type));
}

void blk_exp_close_all(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(export_drivers); i++) {
        blk_exp_close_type(export_drivers[i]->type);
    }
}

/* --- query --- */

BlockExportInfoList *blk_exp_query(void)
{
    BlockExportInfoList *list = NULL, **tail = &list;
    BlockExport *exp;

    LIST_FOREACH(exp, &exports, next) {
        BlockExportInfo *info = g_new0(BlockExportInfo, 1);

        info->id = g_strdup(exp->id);
        info->type = exp->drv->type;
        info->node_name = g_strdup(blk_bs(exp->blk)->node_name);
        info->shutting_down = exp->shutting_down;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
