/* SPDX-License-Identifier: GPL-2.0-or-later */
/* blockdev-mirror, drive-mirror, block-job-change: from a command to a job. */
#include "qemu/osdep.h"

#include "block/mirror.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-job.h"

static int job_flags(bool auto_finalize, bool auto_dismiss)
{
    return (auto_finalize ? 0 : JOB_MANUAL_FINALIZE) |
           (auto_dismiss ? 0 : JOB_MANUAL_DISMISS);
}

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

bool qmp_blockdev_mirror(BlockdevMirrorArg *arg, Error **errp)
{
    BlockDriverState *source, *target;
    MirrorParams p = {
        .job_id = arg->job_id,
        .filter_name = arg->filter_node_name,
        .replaces = arg->replaces,
        .bitmap = {
            .sync = arg->sync,
            .name = arg->bitmap,
            .has_mode = arg->has_bitmap_mode,
            .mode = arg->bitmap_mode,
        },
        .granularity = arg->granularity,
        .buf_size = arg->buf_size,
        .speed = arg->speed,
        .on_source_error = arg->on_source_error,
        .on_target_error = arg->on_target_error,
        .copy_mode = arg->copy_mode,
        .unmap = true,
        .target_is_zero = arg->target_is_zero,
        .flags = job_flags(arg->auto_finalize, arg->auto_dismiss),
    };

    source = find_source(arg->device, errp);
    target = source ? bdrv_lookup_bs(arg->target, arg->target, errp) : NULL;
    if (!target) {
        return false;
    }
    adjust_sync(&p, source);
    return mirror_job_start(source, target, &p, errp);
}

/* --- drive-mirror --- */

static MirrorParams drive_params(const DriveMirror *arg)
{
    return (MirrorParams) {
        .job_id = arg->job_id,
        .replaces = arg->replaces,
        .bitmap = {
            .sync = arg->sync,
            .name = arg->bitmap,
            .has_mode = arg->has_bitmap_mode,
            .mode = arg->bitmap_mode,
        },
        .granularity = arg->granularity,
        .buf_size = arg->buf_size,
        .speed = arg->speed,
        .on_source_error = arg->on_source_error,
        .on_target_error = arg->on_target_error,
        .copy_mode = arg->copy_mode,
        .backing = arg->mode == NEW_IMAGE_MODE_EXISTING
            ? MIRROR_BACKING_OPEN : MIRROR_BACKING_SOURCE,
        .unmap = arg->unmap,
        .flags = job_flags(arg->auto_finalize, arg->auto_dismiss),
    };
}

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

static bool has_zero_init(BlockDriverState *bs)
{
    return bs->drv->has_zero_init && bs->drv->has_zero_init(bs);
}

bool qmp_drive_mirror(DriveMirror *arg, Error **errp)
{
    g_autoptr(BlockDriverState) target = NULL;
    BlockDriverState *source = find_source(arg->device, errp);
    MirrorParams p = drive_params(arg);
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
                       has_zero_init(target);
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
