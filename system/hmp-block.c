/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for block devices and their media. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/activate.h"
#include "block/block-backend.h"
#include "block/commit.h"
#include "block/graph.h"
#include "device.h"
#include "drive.h"
#include "hmp.h"
#include "qapi/keyval.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-block-dev.h"
#include "tools/io/command.h"

/* Adds the error to the answer without a prefix, for compatibility. */
static bool print_error(HmpCall *call, Error *err)
{
    hmp_print(call, "%s\n%s", error_get_pretty(err),
              error_get_hint(err) ?: "");
    error_free(err);
    return true;
}

/* Copies the string argument @name to @args if it was given. */
static void copy_string(HmpCall *call, struct json_object *args,
                        const char *name)
{
    if (hmp_has(call, name)) {
        json_object_object_add(args, name,
                               json_object_new_string(hmp_str(call, name)));
    }
}

static void copy_flag(HmpCall *call, struct json_object *args,
                      const char *name)
{
    json_object_object_add(args, name,
                           json_object_new_boolean(hmp_flag(call, name)));
}

static void copy_int(HmpCall *call, struct json_object *args,
                     const char *name)
{
    json_object_object_add(args, name,
                           json_object_new_int64(hmp_int(call, name)));
}

/* --- requests --- */

/* The backend of a device, a reference. */
static BlockBackend *backend_of_device(const char *id, Error **errp)
{
    Device *dev = device_find(id);

    if (!dev) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                  id);
        return NULL;
    }
    if (!dev->blk) {
        error_setg(errp, "Device does not have a block device backend");
        return NULL;
    }
    return blk_ref(dev->blk);
}

/* A drive's backend, or a new one on a node; a reference. */
static BlockBackend *backend_by_name(const char *name, Error **errp)
{
    BlockBackend *blk = blk_by_name(name);
    BlockDriverState *bs;

    if (blk) {
        return blk_ref(blk);
    }
    bs = bdrv_lookup_bs(NULL, name, errp);
    return bs ? blk_new_with_bs(bs, 0, BLK_PERM_ALL, errp) : NULL;
}

bool hmp_qemu_io(HmpCall *call, Error **errp)
{
    const char *device = hmp_str(call, "device");
    g_autoptr(BlockBackend) blk = NULL;

    blk = hmp_flag(call, "qdev") ? backend_of_device(device, errp)
                                 : backend_by_name(device, errp);
    if (!blk) {
        return false;
    }
    /* The command has reported errors. */
    qemuio_command(blk, hmp_str(call, "command"));
    return true;
}

/* --- properties --- */

bool hmp_block_resize(HmpCall *call, Error **errp)
{
    struct json_object *args = json_object_new_object();

    copy_string(call, args, "device");
    copy_int(call, args, "size");
    return hmp_qmp_do("block_resize", args, errp);
}

bool hmp_block_set_io_throttle(HmpCall *call, Error **errp)
{
    static const char *const limits[] = {
        "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr",
    };
    struct json_object *args = json_object_new_object();
    const char *device = hmp_str(call, "device");

    json_object_object_add(args, blk_by_name(device) ? "device" : "id",
                           json_object_new_string(device));
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
        copy_int(call, args, limits[i]);
    }
    return hmp_qmp_do("block_set_io_throttle", args, errp);
}

/* --- media --- */

bool hmp_eject(HmpCall *call, Error **errp)
{
    struct json_object *args = json_object_new_object();

    copy_string(call, args, "device");
    copy_flag(call, args, "force");
    return hmp_qmp_do("eject", args, errp);
}

bool hmp_change(HmpCall *call, Error **errp)
{
    const char *mode = hmp_str(call, "read-only-mode");
    struct json_object *args;

    if (mode && BlockdevChangeReadOnlyMode_parse(mode, NULL) < 0) {
        error_setg(errp, "invalid parameter value: %s", mode);
        return false;
    }
    args = json_object_new_object();
    copy_string(call, args, "device");
    copy_flag(call, args, "force");
    copy_string(call, args, "filename");
    copy_string(call, args, "format");
    copy_string(call, args, "read-only-mode");
    return hmp_qmp_do("blockdev-change-medium", args, errp);
}

/* --- drives --- */

static bool add_node(HmpCall *call, Error **errp)
{
    g_autoptr(BlockdevOptions) options = NULL;
    struct json_object *json, *driver;

    json = keyval_parse(hmp_str(call, "opts"), "driver", NULL, errp);
    if (!json) {
        return false;
    }
    if (!json_object_object_get_ex(json, "node-name", NULL)) {
        error_setg(errp, "'node-name' needs to be specified");
    } else if (!json_object_object_get_ex(json, "driver", NULL)) {
        error_setg(errp, "Must specify either driver or file");
    } else if (json_object_object_get_ex(json, "driver", &driver) &&
               BlockdevDriver_parse(json_object_get_string(driver),
                                    NULL) < 0) {
        error_setg(errp, "Unknown driver '%s'",
                   json_object_get_string(driver));
    } else {
        options = bdrv_options_from_json(json, true, errp);
    }
    json_object_put(json);
    return options && qmp_blockdev_add(options, errp);
}

bool hmp_drive_add(HmpCall *call, Error **errp)
{
    Error *err = NULL;
    Drive *drive;

    if (hmp_flag(call, "node")) {
        return add_node(call, &err) || print_error(call, err);
    }
    drive = drive_new(hmp_str(call, "opts"), DRIVE_IF_IDE, &err);
    if (!drive) {
        return print_error(call, err);
    }
    if (drive->interface != DRIVE_IF_NONE) {
        hmp_print(call, "Can't hot-add drive to type %d\n", drive->interface);
        drive_delete(drive);
        return true;
    }
    hmp_print(call, "OK\n");
    return true;
}

static bool delete_node(const char *name, Error **errp)
{
    struct json_object *args;

    if (!bdrv_find_node(name)) {
        error_setg(errp, "Device '%s' not found", name);
        return false;
    }
    args = json_object_new_object();
    json_object_object_add(args, "node-name", json_object_new_string(name));
    return hmp_qmp_do("blockdev-del", args, errp);
}

/*
 * The medium is removed at once, despite other users; a device keeps its
 * backend, empty and without a name.
 */
static bool delete_drive(BlockBackend *blk, Error **errp)
{
    Drive *drive = drive_of_backend(blk);

    if (blk_bs(blk) && !bdrv_is_inactive(blk_bs(blk)) &&
        !bdrv_op_check(blk_bs(blk), errp)) {
        return false;
    }
    blk_ref(blk);
    if (blk_bs(blk)) {
        blk_drain(blk);
        blk_remove_bs(blk);
    }
    if (device_of_backend(blk)) {
        /* Requests cannot succeed later: do not stop the machine. */
        blk_set_on_error(blk, BLOCKDEV_ON_ERROR_REPORT,
                         BLOCKDEV_ON_ERROR_REPORT);
    }
    if (drive) {
        drive_delete(drive);
    }
    blk_set_name(blk, NULL, NULL);
    blk_unref(blk);
    return true;
}

bool hmp_drive_del(HmpCall *call, Error **errp)
{
    const char *id = hmp_str(call, "id");
    BlockBackend *blk = blk_by_name(id);
    Error *err = NULL;

    return (blk ? delete_drive(blk, &err) : delete_node(id, &err)) ||
           print_error(call, err);
}

/* The arguments that both kinds of copies have. */
static struct json_object *copy_arguments(HmpCall *call)
{
    struct json_object *args = json_object_new_object();

    copy_string(call, args, "device");
    copy_string(call, args, "target");
    copy_string(call, args, "format");
    json_object_object_add(args, "sync", json_object_new_string(
                               hmp_flag(call, "full") ? "full" : "top"));
    json_object_object_add(args, "mode", json_object_new_string(
                               hmp_flag(call, "reuse") ? "existing"
                                                       : "absolute-paths"));
    return args;
}

bool hmp_drive_backup(HmpCall *call, Error **errp)
{
    struct json_object *args = copy_arguments(call);

    copy_flag(call, args, "compress");
    return hmp_qmp_do("drive-backup", args, errp);
}

bool hmp_drive_mirror(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("drive-mirror", copy_arguments(call), errp);
}

bool hmp_snapshot_blkdev(HmpCall *call, Error **errp)
{
    struct json_object *args;

    if (!hmp_has(call, "snapshot-file")) {
        error_setg(errp, "Parameter 'snapshot-file' is missing");
        return false;
    }
    args = json_object_new_object();
    copy_string(call, args, "device");
    copy_string(call, args, "snapshot-file");
    copy_string(call, args, "format");
    json_object_object_add(args, "mode", json_object_new_string(
                               hmp_flag(call, "reuse") ? "existing"
                                                       : "absolute-paths"));
    return hmp_qmp_do("blockdev-snapshot-sync", args, errp);
}

/* Of all devices that have a backing file; the first failure ends it. */
static int commit_all(void)
{
    BlockBackend *blk = NULL;
    int ret = 0;

    while (ret == 0 && (blk = blk_next(blk))) {
        BlockDriverState *bs = blk_bs(blk);

        if (bs && bdrv_cow_child(bdrv_skip_filters(bs)) &&
            blk_is_available(blk)) {
            ret = bdrv_commit(bs);
        }
    }
    return ret;
}

/* Failures are printed, but are no error of the monitor. */
bool hmp_commit(HmpCall *call, Error **errp)
{
    const char *device = hmp_str(call, "device");
    BlockBackend *blk = blk_by_name(device);
    int ret;

    if (!strcmp(device, "all")) {
        ret = commit_all();
    } else if (!blk) {
        hmp_print(call, "Device '%s' not found\n", device);
        return true;
    } else if (!blk_is_available(blk)) {
        hmp_print(call, "Device '%s' has no medium\n", device);
        return true;
    } else {
        ret = bdrv_commit(blk_bs(blk));
    }
    if (ret < 0) {
        hmp_print(call, "'commit' error for '%s': %s\n", device,
                  strerror(-ret));
    }
    return true;
}

bool hmp_block_stream(HmpCall *call, Error **errp)
{
    struct json_object *args = json_object_new_object();

    copy_string(call, args, "device");
    copy_string(call, args, "base");
    if (hmp_has(call, "speed")) {
        copy_int(call, args, "speed");
    }
    json_object_object_add(args, "job-id", json_object_new_string(
                               hmp_str(call, "device")));
    return hmp_qmp_do("block-stream", args, errp);
}
