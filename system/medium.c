/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trays and media of removable devices. */
#include "qemu/osdep.h"

#include "block/activate.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "device.h"
#include "drive.h"
#include "medium.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-events.h"
#include "qapi/qapi-types-block-dev.h"

/* --- lookup --- */

static BlockBackend *not_found(const char *name, Error **errp)
{
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
              name);
    return NULL;
}

BlockBackend *system_backend_by_id(const char *id, Error **errp)
{
    Device *dev = device_find(id);

    if (dev && !dev->blk) {
        error_setg(errp, "Device does not have a block device backend");
        return NULL;
    }
    return dev ? dev->blk : not_found(id, errp);
}

BlockBackend *system_find_backend(const char *device, const char *id,
                                  Error **errp)
{
    BlockBackend *blk;

    if (!device == !id) {
        error_setg(errp, "Need exactly one of 'device' and 'id'");
        return NULL;
    }
    if (id) {
        return system_backend_by_id(id, errp);
    }
    blk = blk_by_name(device);
    return blk ? blk : not_found(device, errp);
}

/* --- trays --- */

typedef struct Medium {
    BlockBackend *blk;
    Device *dev;       /* NULL: a drive without device */
    BlockDevState state;
    const char *name;  /* the name that the user gave */
} Medium;

static bool medium_find(Medium *m, const char *device, const char *id,
                        Error **errp)
{
    *m = (Medium) { .name = device ? device : id };
    m->blk = system_find_backend(device, id, errp);
    if (!m->blk) {
        return false;
    }
    m->dev = device_of_backend(m->blk);
    if (!blk_get_device_state(m->blk, &m->state)) {
        m->state.removable = true; /* no device uses it */
    }
    if (!m->state.removable) {
        error_setg(errp, "Device '%s' is not removable", m->name);
        return false;
    }
    return true;
}

static void medium_done(Medium *m)
{
    g_free(m->state.id);
}

static void move_tray(Medium *m, bool open)
{
    if (!m->state.has_tray || m->state.tray_open == open) {
        return;
    }
    m->state.tray_open = m->dev->tray_open = open;
    qapi_event_send_device_tray_moved(&(DeviceTrayMovedEvent) {
        .device = (char *)blk_name(m->blk),
        .id = m->state.id,
        .tray_open = open,
    });
}

static bool open_tray(Medium *m, bool force, Error **errp)
{
    if (m->state.locked && !force) {
        error_setg(errp, "Device '%s' is locked and force was not specified, "
                   "wait for tray to open and try again", m->name);
        return false;
    }
    move_tray(m, true);
    return true;
}

static bool remove_medium(Medium *m, Error **errp)
{
    BlockDriverState *bs = blk_bs(m->blk);

    if (m->state.has_tray && !m->state.tray_open) {
        error_setg(errp, "Tray of device '%s' is not open", m->name);
        return false;
    }
    if (!bs) {
        return true;
    }
    if (!bdrv_is_inactive(bs) && !bdrv_op_check(bs, errp)) {
        return false;
    }
    blk_remove_bs(m->blk);
    return true;
}

static bool insert_medium(Medium *m, BlockDriverState *bs, Error **errp)
{
    if (m->state.has_tray && !m->state.tray_open) {
        error_setg(errp, "Tray of the device is not open");
        return false;
    }
    if (blk_bs(m->blk)) {
        error_setg(errp, "There already is a medium in the device");
        return false;
    }
    if ((m->dev && !device_block_prepare_perms(m->dev, bs, errp)) ||
        !blk_insert_bs(m->blk, bs, errp)) {
        return false;
    }
    if (m->dev) {
        m->dev->medium_read_only = bdrv_is_read_only(bs);
    }
    return true;
}

/* --- commands --- */

bool qmp_eject(EjectArg *arg, Error **errp)
{
    Medium m;
    bool ok = medium_find(&m, arg->device, arg->id, errp) &&
              open_tray(&m, arg->force, errp) && remove_medium(&m, errp);

    medium_done(&m);
    return ok;
}

bool qmp_blockdev_open_tray(BlockdevOpenTrayArg *arg, Error **errp)
{
    Medium m;
    bool ok = medium_find(&m, arg->device, arg->id, errp) &&
              open_tray(&m, arg->force, errp);

    medium_done(&m);
    return ok;
}

bool qmp_blockdev_close_tray(BlockdevCloseTrayArg *arg, Error **errp)
{
    Medium m;
    bool ok = medium_find(&m, arg->device, arg->id, errp);

    if (ok) {
        move_tray(&m, false);
    }
    medium_done(&m);
    return ok;
}

bool qmp_blockdev_remove_medium(BlockdevRemoveMediumArg *arg, Error **errp)
{
    Medium m;
    bool ok = medium_find(&m, NULL, arg->id, errp) && remove_medium(&m, errp);

    medium_done(&m);
    return ok;
}

/* A node used by a device cannot be inserted elsewhere. */
static bool node_is_taken(const BlockDriverState *bs)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        if (blk_bs(blk) == bs && (*blk_name(blk) || device_of_backend(blk))) {
            return true;
        }
    }
    return false;
}

bool qmp_blockdev_insert_medium(BlockdevInsertMediumArg *arg, Error **errp)
{
    BlockDriverState *bs = bdrv_find_node(arg->node_name);
    Medium m;
    bool ok;

    if (!bs) {
        error_setg(errp, "Node '%s' not found", arg->node_name);
        return false;
    }
    if (node_is_taken(bs)) {
        error_setg(errp, "Node '%s' is already in use", arg->node_name);
        return false;
    }
    ok = medium_find(&m, NULL, arg->id, errp) && insert_medium(&m, bs, errp);
    medium_done(&m);
    return ok;
}

static BlockDriverState *open_medium(const BlockdevChangeMediumArg *arg,
                                     const Medium *m, Error **errp)
{
    const Drive *drive = drive_of_backend(m->blk);
    bool writable = m->dev ? !m->dev->medium_read_only
                           : drive && !drive->read_only;

    if (arg->read_only_mode == BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_ONLY) {
        writable = false;
    } else if (arg->read_only_mode ==
               BLOCKDEV_CHANGE_READ_ONLY_MODE_READ_WRITE) {
        writable = true;
    }
    if (arg->format && !bdrv_find_format(arg->format)) {
        error_setg(errp, "Unknown driver '%s'", arg->format);
        return NULL;
    }
    return bdrv_open_file(arg->filename, arg->format,
                          writable ? BDRV_O_RDWR : 0, errp);
}

bool qmp_blockdev_change_medium(BlockdevChangeMediumArg *arg, Error **errp)
{
    g_autoptr(BlockDriverState) bs = NULL;
    Medium m;
    bool ok = medium_find(&m, arg->device, arg->id, errp);

    if (ok) {
        bs = open_medium(arg, &m, errp);
        ok = bs && open_tray(&m, arg->force, errp) &&
             remove_medium(&m, errp) && insert_medium(&m, bs, errp);
    }
    if (ok) {
        move_tray(&m, false);
    }
    medium_done(&m);
    return ok;
}
