/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection between a device and its BlockBackend. */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/graph.h"
#include "device-model.h"
#include "device.h"
#include "drive.h"
#include "guest-io.h"
#include "runstate.h"

/* --- callbacks of the block layer --- */

static bool is_removable(const Device *dev)
{
    return (dev->model->flags & MODEL_REMOVABLE) ||
           device_prop_bool(dev, "removable");
}

static bool has_tray(const Device *dev)
{
    return (dev->model->flags & MODEL_TRAY) ||
           device_prop_bool(dev, "removable");
}

static void device_state(void *opaque, BlockDevState *state)
{
    const Device *dev = opaque;

    state->id = device_backend_path(dev);
    state->removable = is_removable(dev);
    state->has_tray = has_tray(dev);
    state->tray_open = dev->tray_open;
    state->locked = dev->locked;
}

static const char *keeps_active(void *opaque)
{
    return runstate_is_running() ? "the machine is running" : NULL;
}

static const BlockDevOps dev_ops = {
    .keeps_active = keeps_active,
    .device_state = device_state,
};

/* --- attaching --- */

/* The backend that "drive" refers to, a new reference. */
static BlockBackend *take_backend(const Device *dev, const char *drive,
                                  Error **errp)
{
    BlockBackend *blk = blk_by_name(drive);
    BlockDriverState *bs;
    g_autofree char *user = NULL;

    if (blk) {
        user = blk_device_id(blk);
        if (user) {
            error_setg(errp, "Drive '%s' is already in use by another device",
                       drive);
            return NULL;
        }
        return blk_ref(blk);
    }
    bs = bdrv_find_node(drive);
    if (!bs) {
        error_setg(errp, "Property '%s.drive' can't find value '%s'",
                   dev->model->name, drive);
        return NULL;
    }
    return blk_new_with_bs(bs, 0, BLK_PERM_ALL, errp);
}

static BlockBackend *backend_for(Device *dev, Error **errp)
{
    const char *drive = device_prop_text(dev, "drive");

    if (drive && *drive) {
        return take_backend(dev, drive, errp);
    }
    if (!is_removable(dev)) {
        error_setg(errp, "drive property not set");
        return NULL;
    }
    return blk_new(aio_main_context(), 0, BLK_PERM_ALL);
}

bool device_block_prepare_perms(Device *dev, const BlockDriverState *bs,
                                Error **errp)
{
    uint64_t perm = BLK_PERM_CONSISTENT_READ;
    uint64_t shared = BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED |
                      BLK_PERM_RESIZE;

    if (bs && !bdrv_is_read_only(bs) && !(dev->model->flags & MODEL_CDROM)) {
        perm |= BLK_PERM_WRITE;
    }
    if (bs && bdrv_is_read_only(bs) &&
        (dev->model->flags & MODEL_NEEDS_WRITE)) {
        error_setg(errp, "Block node is read-only");
        return false;
    }
    if (device_prop_bool(dev, "share-rw")) {
        shared |= BLK_PERM_WRITE;
    }
    return blk_set_perm(dev->blk, perm, shared, errp);
}

/* Permissions for the present medium. */
static bool device_block_apply_perms(Device *dev, Error **errp)
{
    return device_block_prepare_perms(dev, blk_bs(dev->blk), errp);
}

/* --- threads --- */

/* A SCSI disk uses the thread of its controller. */
IOThread *device_iothread(const Device *dev)
{
    const Device *owner = dev->model->bus == BUS_SCSI ? dev->bus->owner : dev;
    const char *path = owner ? device_prop_text(owner, "iothread") : NULL;

    return path && *path ? iothread_find(path + strlen(IOTHREAD_PATH)) : NULL;
}

/*
 * Moves the node to the device's thread; later moves are refused.  Where that
 * cannot change, a device without a thread of its own uses that of the node, as
 * does a disk of virtio-blk, which has no other disks beside it.
 */
static bool enter_thread(Device *dev, Error **errp)
{
    IOThread *thread = device_iothread(dev);
    AioContext *ctx = thread ? iothread_context(thread) : aio_main_context();
    Error *err = NULL;

    if (!blk_set_aio_context(dev->blk, ctx, &err)) {
        if (thread && !(dev->model->flags & MODEL_VIRTIO)) {
            error_propagate(errp, err);
            return false;
        }
        if (thread) {
            warn_report("The iothread is not used: %s", error_get_pretty(err));
        }
        error_free(err);
    }
    blk_fix_aio_context(dev->blk, true);
    return true;
}

/* Moves the node back to the main thread, unless other users prevent it. */
static void leave_thread(Device *dev)
{
    blk_fix_aio_context(dev->blk, false);
    blk_set_aio_context(dev->blk, aio_main_context(), NULL);
}

/* --- properties --- */

static void settle(Device *dev, const char *name, char *value)
{
    g_hash_table_insert(dev->props, g_strdup(name), value);
}

static bool check_multiple(const Device *dev, const char *name,
                           int64_t logical, Error **errp)
{
    int64_t value = device_prop_int(dev, name);

    if (value % logical && value != UINT32_MAX) {
        error_setg(errp, "%s must be a multiple of logical_block_size", name);
        return false;
    }
    return true;
}

/* Block sizes default to the size of a sector. */
static bool settle_sizes(Device *dev, Error **errp)
{
    int64_t logical = device_prop_int(dev, "logical_block_size") ?: 512;
    int64_t physical = device_prop_int(dev, "physical_block_size") ?: 512;

    if (logical > physical) {
        error_setg(errp,
                   "logical_block_size > physical_block_size not supported");
        return false;
    }
    if (!check_multiple(dev, "min_io_size", logical, errp) ||
        !check_multiple(dev, "opt_io_size", logical, errp) ||
        !check_multiple(dev, "discard_granularity", logical, errp)) {
        return false;
    }
    settle(dev, "logical_block_size", g_strdup_printf("%" PRId64, logical));
    settle(dev, "physical_block_size", g_strdup_printf("%" PRId64, physical));
    return true;
}

static bool check_queues(Device *dev, Error **errp)
{
    int64_t queues = device_prop_int(dev, "num-queues");
    int64_t size = device_prop_int(dev, "queue-size");

    if (!device_model_prop(dev->model, "queue-size")) {
        return true;
    }
    if (!queues) {
        error_setg(errp, "num-queues property must be larger than 0");
        return false;
    }
    if (size <= 2 || size > 1024 || (size & (size - 1))) {
        error_setg(errp, "invalid queue-size property (%" PRId64 "), "
                   "must be a power of 2 (max 1024)", size);
        return false;
    }
    if (queues == UINT16_MAX) {
        settle(dev, "num-queues", g_strdup("1"));
    }
    return true;
}

static bool check_props(Device *dev, Error **errp)
{
    if (!settle_sizes(dev, errp) || !check_queues(dev, errp)) {
        return false;
    }
    if ((dev->model->flags & MODEL_NEEDS_SERIAL) &&
        !device_prop_text(dev, "serial")) {
        error_setg(errp, "serial property not set");
        return false;
    }
    return true;
}

/* Identification of a SCSI disk, if not given. */
static void settle_scsi(Device *dev)
{
    bool cdrom = dev->model->flags & MODEL_CDROM;
    const char *serial = device_prop_text(dev, "serial");
    const char *id = serial ? serial : blk_name(dev->blk);
    const char *values[][2] = {
        { "vendor", "QEMU" },
        { "product", cdrom ? "QEMU CD-ROM" : "QEMU HARDDISK" },
        { "ver", "2.5+" },
        { "device_id", id && *id ? id : NULL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        if (!device_prop_text(dev, values[i][0]) && values[i][1]) {
            settle(dev, values[i][0], g_strdup(values[i][1]));
        }
    }
    if (device_prop_int(dev, "discard_granularity") == UINT32_MAX) {
        int64_t logical = device_prop_int(dev, "logical_block_size");

        settle(dev, "discard_granularity",
               g_strdup_printf("%" PRId64, MAX(logical, 4096)));
    }
}

static bool check_medium(const Device *dev, Error **errp)
{
    if (!blk_bs(dev->blk) && !is_removable(dev)) {
        error_setg(errp, "Device needs media, but drive is empty");
        return false;
    }
    return true;
}

static void apply_policy(Device *dev)
{
    const char *names[] = { "werror", "rerror" };
    const char *wce = device_prop_text(dev, "write-cache");

    for (int is_read = 0; is_read < 2; is_read++) {
        const char *text = device_prop_text(dev, names[is_read]);
        int policy = text ? BlockdevOnError_parse(text, NULL) : -1;
        BlockdevOnError other = blk_get_on_error(dev->blk, !is_read);

        if (policy < 0 || policy == BLOCKDEV_ON_ERROR_AUTO) {
            continue;
        }
        if (is_read) {
            blk_set_on_error(dev->blk, policy, other);
        } else {
            blk_set_on_error(dev->blk, other, policy);
        }
    }
    if (wce && strcmp(wce, "auto")) {
        blk_set_enable_write_cache(dev->blk, !strcmp(wce, "on"));
    }
    if (!(dev->model->flags & MODEL_NO_IOSTATUS)) {
        blk_iostatus_enable(dev->blk);
    }
}

/* auto: as the drive options specify. */
static void apply_accounting(Device *dev)
{
    BlockAcctStats *stats = blk_get_stats(dev->blk);
    const char *invalid = device_prop_text(dev, "account-invalid");
    const char *failed = device_prop_text(dev, "account-failed");

    if (invalid && strcmp(invalid, "auto")) {
        stats->account_invalid = !strcmp(invalid, "on");
    }
    if (failed && strcmp(failed, "auto")) {
        stats->account_failed = !strcmp(failed, "on");
    }
}

bool device_block_realize(Device *dev, Error **errp)
{
    Drive *drive;

    if (!check_props(dev, errp) || !(dev->blk = backend_for(dev, errp))) {
        return false;
    }
    /* The name comes first, as messages about permissions use it. */
    blk_set_dev_ops(dev->blk, &dev_ops, dev);
    if (!check_medium(dev, errp) || !device_block_apply_perms(dev, errp) ||
        !enter_thread(dev, errp)) {
        blk_set_perm(dev->blk, 0, BLK_PERM_ALL, &error_abort);
        blk_set_dev_ops(dev->blk, NULL, NULL);
        blk_unref(g_steal_pointer(&dev->blk));
        return false;
    }
    apply_policy(dev);
    apply_accounting(dev);
    if (dev->model->bus == BUS_SCSI) {
        settle_scsi(dev);
    }
    drive = drive_of_backend(dev->blk);
    if (drive) {
        drive->claimed = true;
    }
    dev->medium_read_only = blk_bs(dev->blk)
        ? bdrv_is_read_only(blk_bs(dev->blk)) : !drive || drive->read_only;
    return true;
}

bool device_block_is_busy(const Device *dev)
{
    return dev->blk && (dev->guest_requests || blk_is_busy(dev->blk));
}

void device_block_unrealize(Device *dev)
{
    Drive *drive = dev->blk ? drive_of_backend(dev->blk) : NULL;

    if (!dev->blk) {
        return;
    }
    guest_detach(dev);
    blk_set_dev_ops(dev->blk, NULL, NULL);
    blk_iostatus_disable(dev->blk);
    leave_thread(dev);
    blk_set_perm(dev->blk, 0, BLK_PERM_ALL, &error_abort);
    if (drive) {
        drive_delete(drive);
    }
    blk_unref(g_steal_pointer(&dev->blk));
}

bool device_set_drive(Device *dev, const char *value, Error **errp)
{
    BlockDriverState *bs;

    if (!dev->blk) {
        error_setg(errp, "Device '%s' has no drive", dev->path);
        return false;
    }
    bs = bdrv_lookup_bs(NULL, value, errp);
    return bs && blk_replace_bs(dev->blk, bs, errp);
}
