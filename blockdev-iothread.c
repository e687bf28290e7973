/* SPDX-License-Identifier: GPL-2.0-or-later */
/* iothread objects, and nodes that are moved to them. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"
#include "qemu/iothread.h"

/* --- objects --- */

bool blockdev_iothread_add(const char *id, const IothreadProperties *props,
                           Error **errp)
{
    return iothread_new(id, errp) != NULL;
}

static char *describe_handle(BlockBackend *blk)
{
    BdrvChild *root = blk_root(blk);
    g_autofree char *id = NULL;
    const char *name;

    if (root) {
        return root->klass->parent_desc(root);
    }
    id = blk_device_id(blk);
    name = *blk_name(blk) ? blk_name(blk) : id;
    return name ? g_strdup_printf("block device '%s'", name)
                : g_strdup("an unnamed block device");
}

/* Who lives in @ctx; the caller frees it.  NULL: nobody. */
static char *find_user(AioContext *ctx)
{
    BlockBackend *blk = NULL;
    BlockDriverState *bs = NULL;

    while ((blk = blk_next(blk))) {
        if (blk_get_aio_context(blk) == ctx) {
            return describe_handle(blk);
        }
    }
    while ((bs = bdrv_next_node(bs))) {
        if (bs->ctx == ctx) {
            return g_strdup_printf("node '%s'", bs->node_name);
        }
    }
    return NULL;
}

bool blockdev_iothread_del(const char *id, Error **errp)
{
    IOThread *thread = iothread_find(id);
    g_autofree char *user = find_user(iothread_context(thread));

    if (user) {
        error_setg(errp, "object '%s' is in use, can not be deleted: its "
                   "thread serves %s", id, user);
        return false;
    }
    iothread_free(thread);
    return true;
}

/* --- nodes --- */

static bool has_handle(const BlockDriverState *bs)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        if (blk_bs(blk) == bs) {
            return true;
        }
    }
    return false;
}

static AioContext *find_context(const StrOrNull *id, Error **errp)
{
    IOThread *thread;

    if (id->type == STR_OR_NULL_KIND_N) {
        return aio_main_context();
    }
    thread = iothread_find(id->u.s);
    if (!thread) {
        error_setg(errp, "Cannot find iothread %s", id->u.s);
        return NULL;
    }
    return iothread_context(thread);
}

bool qmp_x_blockdev_set_iothread(XBlockdevSetIothreadArg *arg, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(arg->node_name);
    AioContext *ctx;

    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   arg->node_name);
        return false;
    }
    if (!arg->force && has_handle(bs)) {
        error_setg(errp, "Node %s is associated with a BlockBackend and could "
                   "be in use (use force=true to override this check)",
                   bs->node_name);
        return false;
    }
    ctx = find_context(arg->iothread, errp);
    return ctx && bdrv_try_set_aio_context(bs, ctx, errp);
}
