/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Older commands, translated to the newer ones. */
#include "qemu/osdep.h"

#include "block/backup.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"

/* Creates the target if requested, and opens it; a new reference or NULL. */
static BlockDriverState *get_target(const DriveBackup *arg,
                                    BlockDriverState *source, Error **errp)
{
    bool over_source = arg->sync == MIRROR_SYNC_MODE_NONE;
    BlockdevTarget t = {
        .filename = arg->target,
        .format = arg->format,
        .mode = arg->mode,
        .sync = arg->sync,
        .flags = over_source ? BDRV_O_NO_BACKING : 0,
    };
    BlockDriverState *target = blockdev_open_target(&t, source, errp);

    if (target) {
        target->detect_zeroes = BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP;
    }
    if (target && over_source &&
        !bdrv_set_backing(target, source, BDRV_CONTENT_OTHER, errp)) {
        bdrv_unref(target);
        return NULL;
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
    if (arg->mode != NEW_IMAGE_MODE_EXISTING &&
        !backup_job_check_new_target(source, &opts, errp)) {
        return false;
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
