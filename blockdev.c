/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands for nodes: adding, removing, changing and creating them. */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/amend-job.h"
#include "block/block-backend.h"
#include "block/create-job.h"
#include "block/graph.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-image.h"

bool qmp_blockdev_add(BlockdevOptions *arg, Error **errp)
{
    BlockDriverState *bs;

    if (!arg->node_name) {
        error_setg(errp, "'node-name' must be specified for the root node");
        return false;
    }
    bs = bdrv_open(arg, 0, errp);
    if (bs) {
        bdrv_set_monitor_owned(bs, true);
    }
    return bs != NULL;
}

/* Is a device of the machine right above @bs? */
static bool has_device(const BlockDriverState *bs)
{
    BlockBackend *blk = NULL;
    bool found = false;

    while (!found && (blk = blk_next(blk))) {
        g_autofree char *id = blk_bs(blk) == bs ? blk_device_id(blk) : NULL;

        found = id != NULL;
    }
    return found;
}

bool qmp_blockdev_del(BlockdevDelArg *arg, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(arg->node_name);

    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   arg->node_name);
        return false;
    }
    if (*bdrv_get_device_name(bs) || has_device(bs)) {
        error_setg(errp, "Node %s is in use", arg->node_name);
        return false;
    }
    if (!bdrv_is_inactive(bs) && !bdrv_op_check_top(bs, errp)) {
        return false;
    }
    if (!bdrv_is_monitor_owned(bs)) {
        error_setg(errp, "Node %s is not owned by the monitor",
                   bs->node_name);
        return false;
    }
    if (!bdrv_check_unused(bs, errp)) {
        return false;
    }
    bdrv_set_monitor_owned(bs, false);
    bdrv_unref(bs);
    return true;
}

bool qmp_blockdev_reopen(BlockdevReopenArg *arg, Error **errp)
{
    return bdrv_reopen_multiple(arg->options, errp);
}

bool qmp_blockdev_set_active(BlockdevSetActiveArg *arg, Error **errp)
{
    BlockDriverState *bs;

    if (!arg->node_name) {
        return arg->active ? bdrv_activate_all(errp)
                           : bdrv_inactivate_all(errp);
    }
    bs = bdrv_find_node(arg->node_name);
    if (!bs) {
        error_setg(errp, "Failed to find node with node-name='%s'",
                   arg->node_name);
        return false;
    }
    return arg->active ? bdrv_activate(bs, errp) : bdrv_inactivate(bs, errp);
}

bool qmp_x_blockdev_change(XBlockdevChangeArg *arg, Error **errp)
{
    BlockDriverState *parent = bdrv_lookup_bs(arg->parent, arg->parent, errp);
    BlockDriverState *bs;

    if (!parent) {
        return false;
    }
    if (!arg->child == !arg->node) {
        error_setg(errp, arg->child
                   ? "The parameters child and node are in conflict"
                   : "Either child or node must be specified");
        return false;
    }
    if (arg->child) {
        return bdrv_del_child(parent, arg->child, errp);
    }
    bs = bdrv_find_node(arg->node);
    if (!bs) {
        error_setg(errp, "Node '%s' not found", arg->node);
        return false;
    }
    return bdrv_add_child(parent, bs, errp);
}

bool qmp_blockdev_create(BlockdevCreateArg *arg, Error **errp)
{
    return create_job_start(arg->job_id, arg->options, errp);
}

bool qmp_x_blockdev_amend(XBlockdevAmendArg *arg, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(NULL, arg->node_name, errp);

    return bs && amend_job_start(arg->job_id, bs, arg->options, arg->force,
                                 errp);
}

/*
 * This handle is not quiesced by the drain, unlike other users.  The permission
 * is asked for first, as that message names both users.
 */
static bool coroutine_fn resize_drained(BlockDriverState *bs, int64_t size,
                                        Error **errp)
{
    g_autoptr(BlockBackend) blk = NULL;
    int ret;

    blk = blk_new_unqueued(bs, BLK_PERM_RESIZE, BLK_PERM_ALL, NULL, errp);
    if (!blk) {
        return false;
    }
    if (!bdrv_op_check_resize(bs, errp)) {
        return false;
    }
    bdrv_drained_begin(bs);
    ret = blk_truncate(blk, size, false, PREALLOC_MODE_OFF, 0, errp);
    bdrv_drained_end(bs);
    return ret >= 0;
}

bool coroutine_fn qmp_block_resize(BlockResizeArg *arg, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(arg->device, arg->node_name, errp);
    bool ok;

    if (!bs) {
        return false;
    }
    if (arg->size < 0) {
        error_setg(errp, "Parameter 'size' expects a >0 size");
        return false;
    }
    if (!bdrv_check_active(bs, errp)) {
        return false;
    }
    if (bdrv_is_read_only(bs)) {
        error_setg(errp, "Image is read-only");
        return false;
    }
    if (!bdrv_op_check_top(bs, NULL)) {
        /* The message shows "(null)" without a device. */
        error_setg(errp, "Device '%s' is in use", arg->device ?: "(null)");
        return false;
    }
    bdrv_ref(bs);
    ok = resize_drained(bs, arg->size, errp);
    bdrv_unref(bs);
    return ok;
}

bool qmp_block_set_write_threshold(BlockSetWriteThresholdArg *arg,
                                   Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(arg->node_name);

    if (!bs) {
        error_setg(errp, "Device '%s' not found", arg->node_name);
        return false;
    }
    bdrv_set_write_threshold(bs, arg->write_threshold);
    return true;
}
