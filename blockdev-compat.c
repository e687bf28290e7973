/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Older commands, translated to the newer ones. */
#include "qemu/osdep.h"

#include "block/backup.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"

/* The backing file of a new target, or NULL: the target has all data. */
static BlockDriverState *target_backing(const DriveBackup *arg,
                                        BlockDriverState *source)
{
    switch (arg->sync) {
    case MIRROR_SYNC_MODE_NONE:
        return source;
    case MIRROR_SYNC_MODE_TOP:
        return bdrv_backing_chain_next(source);
    default:
        return NULL;
    }
}

static bool create_target(const DriveBackup *arg, BlockDriverState *source,
                          const char *format, Error **errp)
{
    BlockDriverState *backing = target_backing(arg, source);
    g_autofree char *backing_name = NULL;
    BdrvImgCreate create = {
        .filename = arg->target,
        .format = format,
        .size = bdrv_getlength(source),
    };

    if (create.size < 0) {
        error_setg_errno(errp, -create.size, "Unable to get length for '%s'",
                         bdrv_get_device_or_node_name(source));
        return false;
    }
    if (backing) {
        bdrv_refresh_filename(backing);
        backing_name = bdrv_image_filename(backing);
        create.base_filename = backing_name;
        create.base_format = bdrv_get_format_name(bdrv_skip_filters(backing));
        create.unsafe_base = true; /* it is open already */
    }
    return bdrv_img_create(&create, errp);
}

static int open_flags(const BlockDriverState *source)
{
    return BDRV_O_RDWR | BDRV_O_UNMAP |
           (source->cache_direct ? BDRV_O_NOCACHE : 0) |
           (source->cache_no_flush ? BDRV_O_NO_FLUSH : 0);
}

/* Creates the target if requested, and opens it; a new reference or NULL. */
static BlockDriverState *get_target(const DriveBackup *arg,
                                    BlockDriverState *source, Error **errp)
{
    bool existing = arg->mode == NEW_IMAGE_MODE_EXISTING;
    bool over_source = arg->sync == MIRROR_SYNC_MODE_NONE;
    const char *format = arg->format;
    BlockDriverState *target;

    if (!format && !existing) {
        format = bdrv_get_format_name(source);
    }
    if (!existing && !create_target(arg, source, format, errp)) {
        return NULL;
    }
    target = bdrv_open_file(arg->target, format,
                            open_flags(source) |
                                (over_source ? BDRV_O_NO_BACKING : 0), errp);
    if (target && over_source &&
        !bdrv_set_backing(target, source, BDRV_CONTENT_OTHER, errp)) {
        bdrv_unref(target);
        return NULL;
    }
    if (target) {
        target->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP;
    }
    return target;
}

bool blockdev_action_drive_backup(const TransactionAction *action,
                                  BlockdevTransaction *btx, Error **errp)
{
    const DriveBackup *arg = action->u.drive_backup.data;
    g_autoptr(BlockDriverState) target = NULL;
    BackupCommon opts = *qapi_DriveBackup_base(arg);
    BlockDriverState *source;
    BlockdevBackupStep *step;

    source = bdrv_lookup_bs(arg->device, arg->device, errp);
    if (!source) {
        return false;
    }
    step = blockdev_begin_backup(source, btx);
    /* Checked before a file is created. */
    if (!bdrv_op_check(source, errp)) {
        return false;
    }
    if (arg->mode != NEW_IMAGE_MODE_EXISTING && arg->format &&
        !bdrv_find_format(arg->format)) {
        error_setg(errp, "Unknown file format '%s'", arg->format);
        return false;
    }
    if (opts.sync == MIRROR_SYNC_MODE_TOP &&
        !bdrv_backing_chain_next(source)) {
        opts.sync = MIRROR_SYNC_MODE_FULL; /* there is only one image */
    }
    target = get_target(arg, source, errp);
    return target && blockdev_do_backup(step, &opts, target, btx, errp);
}

bool qmp_drive_backup(DriveBackup *arg, Error **errp)
{
    TransactionAction action = {
        .type = TRANSACTION_ACTION_KIND_DRIVE_BACKUP,
        .u.drive_backup.data = arg,
    };

    return blockdev_run_action(&action, errp);
}
