/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-mirror, drive-mirror, block-job-change: from a command to a job. */
#include "qemu/osdep.h"

#include "block/mirror.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-job.h"

/* The node that is mirrored: a root, or a filter that jobs have inserted is
 * above it. */
static BlockDriverState *find_source(const char *device, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(device, device, errp);

    return bs && blockdev_check_root(bs, errp) ? bs : NULL;
}

/* What is not in the topmost image has to be below it. */
static void adjust_sync(MirrorParams *p, BlockDriverState *source)
{
    if (p->bitmap.sync == MIRROR_SYNC_MODE_TOP &&
        !bdrv_backing_chain_next(source)) {
        p->bitmap.sync = MIRROR_SYNC_MODE_FULL;
    }
}

static MirrorParams common_params(const MirrorCommon *c)
{
    return (MirrorParams) {
        .job_id = c->job_id,
        .replaces = c->replaces,
        .bitmap = {
            .sync = c->sync,
            .name = c->bitmap,
            .has_mode = c->has_bitmap_mode,
            .mode = c->bitmap_mode,
            .allow_other_target = c->allow_other_target,
            .checkpoint_ms = c->checkpoint_interval,
        },
        .granularity = c->granularity,
        .buf_size = c->buf_size,
        .speed = c->speed,
        .on_source_error = c->on_source_error,
        .on_target_error = c->on_target_error,
        .copy_mode = c->copy_mode,
        .unmap = true,
        .flags = job_flags(c->auto_finalize, c->auto_dismiss),
    };
}

bool qmp_blockdev_mirror(BlockdevMirror *arg, Error **errp)
{
    MirrorParams p = common_params(qapi_BlockdevMirror_base(arg));
    BlockDriverState *source = find_source(arg->device, errp), *target;

    target = source ? bdrv_lookup_bs(arg->target, arg->target, errp) : NULL;
    if (!target) {
        return false;
    }
    p.filter_name = arg->filter_node_name;
    p.target_is_zero = arg->target_is_zero;
    adjust_sync(&p, source);
    return mirror_job_start(source, target, &p, errp);
}

/* --- drive-mirror --- */

/* Before a file is made for nothing. */
static bool check_drive(const DriveMirror *arg, BlockDriverState *source,
                        Error **errp)
{
    if (!bdrv_op_check(source, errp)) {
        return false;
    }
    if (arg->replaces && !arg->node_name) {
        error_setg(errp, "a node-name must be provided when replacing a named "
                   "node of the graph");
        return false;
    }
    if (arg->mode != NEW_IMAGE_MODE_EXISTING && arg->format &&
        !bdrv_find_format(arg->format)) {
        error_setg(errp, "Unknown file format '%s'", arg->format);
        return false;
    }
    return true;
}

bool qmp_drive_mirror(DriveMirror *arg, Error **errp)
{
    g_autoptr(BlockDriverState) target = NULL;
    BlockDriverState *source = find_source(arg->device, errp);
    MirrorParams p = common_params(qapi_DriveMirror_base(arg));
    BlockdevTarget t = {
        .filename = arg->target,
        .format = arg->format,
        .node_name = arg->node_name,
        .mode = arg->mode,
        .flags = BDRV_O_NO_BACKING, /* until the job is over */
    };

    if (!source || !check_drive(arg, source, errp)) {
        return false;
    }
    p.to_new_file = arg->mode != NEW_IMAGE_MODE_EXISTING;
    p.backing = arg->mode == NEW_IMAGE_MODE_EXISTING
        ? MIRROR_BACKING_OPEN : MIRROR_BACKING_SOURCE;
    p.unmap = arg->unmap;
    adjust_sync(&p, source);
    if (!mirror_job_check(source, &p, errp)) {
        return false;
    }
    t.sync = p.bitmap.sync;
    target = blockdev_open_target(&t, source, errp);
    if (!target) {
        return false;
    }
    p.target_is_zero = arg->mode != NEW_IMAGE_MODE_EXISTING &&
                       p.bitmap.sync == MIRROR_SYNC_MODE_FULL &&
                       bdrv_has_zero_init(target);
    return mirror_job_start(source, target, &p, errp);
}

/* --- block-job-change --- */

bool qmp_block_job_change(BlockJobChangeOptions *arg, Error **errp)
{
    BlockJob *job = block_job_find(arg->id, errp);

    if (!job) {
        return false;
    }
    if (arg->type != job->job.driver->type) {
        error_setg(errp, "Job '%s' is of type '%s', not '%s'", arg->id,
                   JobType_str(job->job.driver->type), JobType_str(arg->type));
        return false;
    }
    if (arg->type != JOB_TYPE_MIRROR) {
        error_setg(errp, "Job type '%s' does not support changing options",
                   JobType_str(arg->type));
        return false;
    }
    return mirror_job_change(job, arg->u.mirror.copy_mode, errp);
}
