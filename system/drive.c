/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Drives of the command line: a named BlockBackend, and its nodes. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "drive.h"
#include "machine.h"
#include "qapi/json.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

static LIST_HEAD(, Drive) drives = LIST_HEAD_INITIALIZER(drives);

Drive *drive_next(Drive *drive)
{
    return drive ? LIST_NEXT(drive, next) : LIST_FIRST(&drives);
}

static Drive *drive_find(const char *id)
{
    Drive *d;

    LIST_FOREACH(d, &drives, next) {
        if (!strcmp(d->id, id)) {
            return d;
        }
    }
    return NULL;
}

Drive *drive_of_backend(const BlockBackend *blk)
{
    Drive *d;

    LIST_FOREACH(d, &drives, next) {
        if (d->blk == blk) {
            return d;
        }
    }
    return NULL;
}

void drive_delete(Drive *drive)
{
    LIST_REMOVE(drive, next);
    /* The name is free at once, even if the backend has other users. */
    blk_set_name(drive->blk, NULL, &error_abort);
    blk_unref(drive->blk);
    g_free(drive->id);
    g_free(drive);
}

void drive_cleanup(void)
{
    while (!LIST_EMPTY(&drives)) {
        drive_delete(LIST_FIRST(&drives));
    }
}

static void drive_append(Drive *drive)
{
    Drive *last = LIST_FIRST(&drives);

    while (last && LIST_NEXT(last, next)) {
        last = LIST_NEXT(last, next);
    }
    if (last) {
        LIST_INSERT_AFTER(last, drive, next);
    } else {
        LIST_INSERT_HEAD(&drives, drive, next);
    }
}

/* --- its place: bus and unit --- */

static int units_per_bus(DriveInterface interface)
{
    bool one = !strcmp(machine_type(), "q35");

    return interface == DRIVE_IF_IDE ? (one ? 1 : 2)
         : interface == DRIVE_IF_SCSI ? 7 : 0;
}

static Drive *drive_at(DriveInterface interface, int bus, int unit)
{
    Drive *d;

    LIST_FOREACH(d, &drives, next) {
        if (d->interface == interface && d->bus == bus && d->unit == unit) {
            return d;
        }
    }
    return NULL;
}

static bool place(Drive *drive, const DriveConfig *config, Error **errp)
{
    int max = units_per_bus(config->interface);
    int index = config->index;

    drive->bus = MAX(config->bus, 0);
    drive->unit = MAX(config->unit, 0);
    if (index >= 0) {
        if (config->bus >= 0 || config->unit >= 0) {
            error_setg(errp, "index cannot be used with bus and unit");
            return false;
        }
        drive->bus = max ? index / max : 0;
        drive->unit = max ? index % max : index;
    } else if (config->unit < 0) {
        while (drive_at(config->interface, drive->bus, drive->unit)) {
            if (max && ++drive->unit >= max) {
                drive->unit -= max;
                drive->bus++;
            } else if (!max) {
                drive->unit++;
            }
        }
    }
    if (max && drive->unit >= max) {
        error_setg(errp, "unit %d too big (max is %d)", drive->unit, max - 1);
        return false;
    }
    if (drive_at(config->interface, drive->bus, drive->unit)) {
        error_setg(errp, "drive with bus=%d, unit=%d (index=%d) exists",
                   drive->bus, drive->unit, index);
        return false;
    }
    return true;
}

static char *default_id(const Drive *drive)
{
    const char *name = drive_interface_name(drive->interface);

    if (units_per_bus(drive->interface)) {
        return g_strdup_printf("%s%d-%s%d", name, drive->bus,
                               drive->cdrom ? "cd" : "hd", drive->unit);
    }
    return g_strdup_printf("%s%s%d", name, drive->cdrom ? "-cd" : "",
                           drive->unit);
}

/* --- its nodes --- */

static bool merge_json(struct json_object *options, const char *text,
                       Error **errp)
{
    g_autoptr(json_object) parsed = json_parse_strict(text, strlen(text),
                                                      errp);

    if (!parsed) {
        error_prepend(errp, "Could not parse the JSON options: ");
        return false;
    }
    if (!json_object_is_type(parsed, json_type_object)) {
        error_setg(errp, "Invalid JSON object given");
        return false;
    }
    json_object_object_foreach(parsed, key, value) {
        /* Options given beside the file name override it. */
        if (!json_object_object_get_ex(options, key, NULL)) {
            json_object_object_add(options, key, json_object_get(value));
        }
    }
    return true;
}

static bool complete_options(struct json_object *options,
                             const DriveConfig *config, Error **errp)
{
    const char *file = config->file;

    if (config->format) {
        json_object_object_add(options, "driver",
                               json_object_new_string(config->format));
    }
    if (file && g_str_has_prefix(file, "json:")) {
        return merge_json(options, file + strlen("json:"), errp);
    }
    if (file && bdrv_find_node(file) &&
        !(config->format && bdrv_driver_is_leaf(config->format))) {
        json_object_object_add(options, "file", json_object_new_string(file));
        return true;
    }
    return !file || bdrv_options_add_name(options, file, errp);
}

static void set_default(struct json_object *options, const char *key,
                        bool value)
{
    if (!json_object_object_get_ex(options, key, NULL)) {
        json_object_object_add(options, key,
                               json_object_new_string(value ? "on" : "off"));
    }
}

static BlockDriverState *open_nodes(struct json_object *options,
                                    const DriveConfig *config, Error **errp)
{
    int flags = config->flags;

    if (!complete_options(options, config, errp)) {
        return NULL;
    }
    set_default(options, "read-only", config->read_only);
    if (!config->read_only) {
        flags |= BDRV_O_RDWR;
        set_default(options, "auto-read-only", true);
    }
    return bdrv_open_json(options, true, flags, errp);
}

static BlockDriverState *add_copy_on_read(BlockDriverState *bs, Error **errp)
{
    g_autoptr(json_object) options = json_object_new_object();
    BlockDriverState *top;

    json_object_object_add(options, "driver",
                           json_object_new_string("copy-on-read"));
    json_object_object_add(options, "file",
                           json_object_new_string(bs->node_name));
    top = bdrv_open_json(options, true, BDRV_O_RDWR, errp);
    if (top) {
        bdrv_set_implicit(top, true);
    }
    bdrv_unref(bs);
    return top;
}

static bool put_in_medium(BlockBackend *blk, struct json_object *options,
                          DriveConfig *config, Error **errp)
{
    BlockDriverState *bs;
    bool ok;

    if (config->snapshot) {
        config->read_only = true;
    }
    bs = open_nodes(options, config, errp);
    if (bs && config->snapshot) {
        config->read_only = false;
        bs = bdrv_add_temporary_overlay(bs, errp);
    }
    if (bs && config->copy_on_read) {
        bs = add_copy_on_read(bs, errp);
    }
    if (!bs) {
        return false;
    }
    /* A device that uses the drive, or a command, asks for more. */
    ok = blk_set_perm(blk, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, errp) &&
         blk_insert_bs(blk, bs, errp);
    bdrv_unref(bs);
    return ok;
}

/* --- the whole drive --- */

static bool set_up_backend(Drive *drive, const DriveConfig *config,
                           Error **errp)
{
    blk_set_enable_write_cache(drive->blk, !config->writethrough);
    blk_set_on_error(drive->blk, config->rerror, config->werror);
    blk_get_stats(drive->blk)->account_invalid = config->account_invalid;
    blk_get_stats(drive->blk)->account_failed = config->account_failed;
    for (guint i = 0; config->intervals && i < config->intervals->len; i++) {
        block_acct_add_interval(blk_get_stats(drive->blk),
                                g_array_index(config->intervals, uint32_t, i));
    }
    if (config->limited) {
        const char *group = config->group ? config->group : drive->id;

        return blk_io_limits_enable(drive->blk, group, errp) &&
               throttle_group_set_config(throttle_group_find(group),
                                         &config->limits, errp);
    }
    if (config->group) {
        return blk_io_limits_enable(drive->blk, config->group, errp);
    }
    return true;
}

static bool fill_drive(Drive *drive, struct json_object *options,
                       DriveConfig *config, Error **errp)
{
    drive->interface = config->interface;
    drive->cdrom = config->cdrom;
    drive->read_only = config->read_only;
    if (!place(drive, config, errp)) {
        return false;
    }
    drive->id = config->id ? g_strdup(config->id) : default_id(drive);
    if (drive_find(drive->id)) {
        error_setg(errp, "Duplicate ID '%s' for drive", drive->id);
        return false;
    }
    if ((config->file || config->format ||
         json_object_object_length(options)) &&
        !put_in_medium(drive->blk, options, config, errp)) {
        return false;
    }
    return blk_set_name(drive->blk, drive->id, errp) &&
           set_up_backend(drive, config, errp);
}

Drive *drive_new(const char *text, DriveInterface interface, Error **errp)
{
    g_autoptr(json_object) options = drive_parse(text, errp);
    DriveConfig config = { .interface = interface };
    Drive *drive = NULL;

    if (options && drive_config_take(&config, options, errp)) {
        drive = g_new0(Drive, 1);
        drive->blk = blk_new(aio_main_context(), 0, BLK_PERM_ALL);
        if (fill_drive(drive, options, &config, errp)) {
            drive_append(drive);
        } else {
            blk_unref(drive->blk);
            g_free(drive->id);
            g_free(drive);
            drive = NULL;
        }
    }
    drive_config_free(&config);
    return drive;
}
