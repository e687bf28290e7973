/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices and their buses: adding, finding, removing. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/graph.h"
#include "blockdev/blockdev.h"
#include "device-model.h"
#include "device.h"
#include "drive.h"
#include "guest-io.h"
#include "machine.h"
#include "qapi/keyval.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-events.h"
#include "qapi/qapi-types-qdev.h"
#include "qemu/cutils.h"

static TAILQ_HEAD(DeviceList, Device) devices = TAILQ_HEAD_INITIALIZER(devices);
static LIST_HEAD(, DeviceBus) buses = LIST_HEAD_INITIALIZER(buses);
static int anonymous_count;
static int bus_count[BUS_ISA + 1];

/* Removed devices with requests in flight; users do not see them. */
static struct DeviceList leaving = TAILQ_HEAD_INITIALIZER(leaving);
static AioTimer *leaving_timer;
/* The machine is complete: devices are plugged and unplugged now. */
static bool hotplug;
static int unattached_count;

#define BUS(n, k, ...) { .name = (char *)(n), .kind = (k), __VA_ARGS__ }
#define IDE_BUS(n, u) BUS(n, BUS_IDE, .units = (u), .fixed = true)

/* Buses of the machines themselves. */
static DeviceBus any_buses[] = {
    BUS("pci.0", BUS_PCI),
    BUS("pcie.0", BUS_PCI),
    BUS("main-system-bus", BUS_VIRTIO),
    BUS("virtual-css", BUS_CCW),
    BUS("isa.0", BUS_ISA, .fixed = true),
    IDE_BUS("ide.0", 2), IDE_BUS("ide.1", 2), IDE_BUS("ide.2", 2),
    IDE_BUS("ide.3", 2), IDE_BUS("ide.4", 2), IDE_BUS("ide.5", 2),
    BUS("floppy-bus.0", BUS_FLOPPY, .units = 2, .fixed = true),
    BUS("usb-bus.0", BUS_USB),
    { NULL },
};

static DeviceBus pc_buses[] = {
    BUS("pci.0", BUS_PCI),
    BUS("isa.0", BUS_ISA, .fixed = true),
    IDE_BUS("ide.0", 2), IDE_BUS("ide.1", 2),
    BUS("floppy-bus.0", BUS_FLOPPY, .units = 2, .fixed = true),
    { NULL },
};

static DeviceBus q35_buses[] = {
    BUS("pcie.0", BUS_PCI, .fixed = true),
    BUS("isa.0", BUS_ISA, .fixed = true),
    IDE_BUS("ide.0", 1), IDE_BUS("ide.1", 1), IDE_BUS("ide.2", 1),
    IDE_BUS("ide.3", 1), IDE_BUS("ide.4", 1), IDE_BUS("ide.5", 1),
    BUS("floppy-bus.0", BUS_FLOPPY, .units = 2, .fixed = true),
    { NULL },
};

static DeviceBus *machine_buses(void)
{
    const char *type = machine_type();

    return !strcmp(type, "pc") ? pc_buses
         : !strcmp(type, "q35") ? q35_buses : any_buses;
}

/* --- lookup --- */

Device *device_next(Device *dev)
{
    return dev ? TAILQ_NEXT(dev, next) : TAILQ_FIRST(&devices);
}

static Device *find_in(const struct DeviceList *list, const char *id_or_path)
{
    Device *dev;

    TAILQ_FOREACH(dev, list, next) {
        g_autofree char *part = device_backend_path(dev);

        if ((dev->id && !strcmp(dev->id, id_or_path)) ||
            !strcmp(dev->path, id_or_path) ||
            (part && !strcmp(part, id_or_path))) {
            return dev;
        }
    }
    return NULL;
}

Device *device_find(const char *id_or_path)
{
    return find_in(&devices, id_or_path);
}

/* Is it a device whose guest would have to agree, and that is leaving? */
static bool is_unplugged(const char *id_or_path)
{
    const Device *dev = find_in(&leaving, id_or_path);

    return dev && dev->model->bus == BUS_PCI;
}

Device *device_of_backend(const BlockBackend *blk)
{
    Device *dev;

    TAILQ_FOREACH(dev, &devices, next) {
        if (dev->blk == blk) {
            return dev;
        }
    }
    return NULL;
}

char *device_backend_path(const Device *dev)
{
    if (dev->model->flags & MODEL_VIRTIO_PROXY) {
        return g_strdup_printf("%s/virtio-backend", dev->path);
    }
    if (dev->model->flags & MODEL_USB_SCSI) {
        g_autofree char *bus = dev->id ? g_strdup_printf("%s.0", dev->id)
                                       : g_strdup("scsi.0");

        return g_strdup_printf("%s/%s/legacy[0]", dev->path, bus);
    }
    return g_strdup(dev->id ? dev->id : dev->path);
}

static char *user_of_iothread(const char *id)
{
    Device *dev;

    TAILQ_FOREACH(dev, &devices, next) {
        const IOThread *thread = device_iothread(dev);

        if (thread && !strcmp(iothread_name(thread), id)) {
            return g_strdup_printf("device '%s'", dev->id ?: dev->path);
        }
    }
    return NULL;
}

void device_init(void)
{
    blockdev_iothread_user = user_of_iothread;
}

/* --- buses --- */

static DeviceBus *bus_by_name(const char *name)
{
    DeviceBus *bus;

    LIST_FOREACH(bus, &buses, next) {
        if (!strcmp(bus->name, name) ||
            (bus->owner->id && bus->kind == BUS_PCI &&
             !strcmp(bus->owner->id, name))) {
            return bus;
        }
    }
    for (bus = machine_buses(); bus->name; bus++) {
        if (!strcmp(bus->name, name)) {
            return bus;
        }
    }
    return NULL;
}

static int devices_on(const DeviceBus *bus)
{
    Device *dev;
    int n = 0;

    TAILQ_FOREACH(dev, &devices, next) {
        n += dev->bus == bus;
    }
    return n;
}

/* The first bus of the kind with room; otherwise a full one. */
static DeviceBus *bus_by_kind(BusKind kind)
{
    DeviceBus *bus, *found = NULL, *full = NULL;

    LIST_FOREACH(bus, &buses, next) {
        if (bus->kind == kind) {
            found = bus;
        }
    }
    for (bus = machine_buses(); bus->name; bus++) {
        if (bus->kind != kind) {
            continue;
        }
        if (!bus->units || devices_on(bus) < bus->units) {
            return bus;
        }
        full = full ? full : bus;
    }
    return found ? found : full;
}

static DeviceBus *bus_for(const DeviceModel *model, const char *name,
                          Error **errp)
{
    DeviceBus *bus = name ? bus_by_name(name) : bus_by_kind(model->bus);

    if (!bus && name) {
        error_setg(errp, "Bus '%s' not found", name);
        return NULL;
    }
    if (!bus) {
        error_setg(errp, "No '%s' bus found for device '%s'",
                   bus_kind_name(model->bus), model->name);
        return NULL;
    }
    if (bus->kind != model->bus) {
        error_setg(errp, "Device '%s' can't go on %s bus", model->name,
                   bus->kind == BUS_PCI && strstr(bus->name, "pcie")
                   ? "PCIE" : bus_kind_name(bus->kind));
        return NULL;
    }
    if (hotplug && bus->fixed) {
        error_setg(errp, "Bus '%s' does not support hotplugging", bus->name);
        return NULL;
    }
    return bus;
}

static void bus_provide(Device *dev)
{
    BusKind kind = dev->model->provides;
    DeviceBus *bus;

    if (kind == BUS_NONE) {
        return;
    }
    bus = g_new0(DeviceBus, 1);
    bus->kind = kind;
    bus->owner = dev;
    bus->fixed = kind == BUS_IDE || kind == BUS_FLOPPY;
    bus->units = bus->fixed ? 2 : 0;
    if (dev->id) {
        bus->name = g_strdup_printf("%s.0", dev->id);
    } else {
        g_autofree char *lower = g_ascii_strdown(bus_kind_name(kind), -1);

        bus->name = g_strdup_printf("%s.%d", lower, bus_count[kind]);
    }
    bus_count[kind]++;
    dev->child_bus = bus;
    LIST_INSERT_HEAD(&buses, bus, next);
}

/* --- SCSI addresses --- */

static Device *scsi_at(const DeviceBus *bus, int64_t channel, int64_t id,
                       int64_t lun)
{
    Device *dev;

    TAILQ_FOREACH(dev, &devices, next) {
        if (dev->bus == bus && dev->scsi_channel == channel &&
            dev->scsi_id == id && dev->scsi_lun == lun) {
            return dev;
        }
    }
    return NULL;
}

static bool scsi_place(Device *dev, Error **errp)
{
    int64_t id = device_prop_int(dev, "scsi-id");
    int64_t lun = device_prop_int(dev, "lun");
    Device *other;

    dev->scsi_channel = device_prop_int(dev, "channel");
    if (dev->scsi_channel > 0) {
        error_setg(errp, "bad scsi channel id: %" PRId64, dev->scsi_channel);
        return false;
    }
    if (id != UINT32_MAX && id > 255) {
        error_setg(errp, "bad scsi device id: %" PRId64, id);
        return false;
    }
    if (lun != UINT32_MAX && lun > 16383) {
        error_setg(errp, "bad scsi device lun: %" PRId64, lun);
        return false;
    }
    dev->scsi_id = id == UINT32_MAX ? 0 : id;
    dev->scsi_lun = lun == UINT32_MAX ? 0 : lun;
    while ((other = scsi_at(dev->bus, 0, dev->scsi_id, dev->scsi_lun))) {
        if (lun != UINT32_MAX && id != UINT32_MAX) {
            error_setg(errp, "lun already used by '%s'",
                       other->id ? other->id : other->path);
            return false;
        }
        if (id == UINT32_MAX) {
            dev->scsi_id++;
        } else {
            dev->scsi_lun++;
        }
    }
    /* The properties report the present values. */
    g_hash_table_insert(dev->props, g_strdup("scsi-id"),
                        g_strdup_printf("%" PRId64, dev->scsi_id));
    g_hash_table_insert(dev->props, g_strdup("lun"),
                        g_strdup_printf("%" PRId64, dev->scsi_lun));
    return true;
}

/* --- units of IDE and floppy buses --- */

static Device *unit_at(const DeviceBus *bus, int64_t unit)
{
    Device *dev;

    TAILQ_FOREACH(dev, &devices, next) {
        if (dev->bus == bus && device_prop_int(dev, "unit") == unit) {
            return dev;
        }
    }
    return NULL;
}

static bool unit_place(Device *dev, Error **errp)
{
    const char *kind = dev->bus->kind == BUS_IDE ? "IDE" : "floppy";
    int64_t unit = device_prop_int(dev, "unit");

    if (unit == UINT32_MAX) {
        unit = unit_at(dev->bus, 0) ? 1 : 0;
    }
    if (unit >= dev->bus->units) {
        error_setg(errp, "Can't create %s unit %" PRId64 ", bus supports "
                   "only %d units", kind, unit, dev->bus->units);
        return false;
    }
    if (unit_at(dev->bus, unit)) {
        error_setg(errp, "%s unit %" PRId64 " is in use",
                   dev->bus->kind == BUS_IDE ? "IDE" : "Floppy", unit);
        return false;
    }
    g_hash_table_insert(dev->props, g_strdup("unit"),
                        g_strdup_printf("%" PRId64, unit));
    return true;
}

/* --- addition --- */

static void device_free(Device *dev)
{
    g_hash_table_unref(dev->props);
    g_free(dev->id);
    g_free(dev->path);
    g_free(dev);
}

static char *value_text(struct json_object *value)
{
    return g_strdup(json_object_get_string(value));
}

static bool take_props(Device *dev, struct json_object *options, Error **errp)
{
    json_object_object_foreach(options, key, value) {
        const DeviceProp *prop;
        g_autofree char *text = NULL;
        char *normal = NULL;

        if (!strcmp(key, "driver") || !strcmp(key, "bus") ||
            !strcmp(key, "id")) {
            continue;
        }
        prop = device_model_prop(dev->model, key);
        if (!prop) {
            error_setg(errp, "Property '%s.%s' not found", dev->model->name,
                       key);
            return false;
        }
        text = value_text(value);
        if (!text || !device_prop_check(dev->model, prop, dev->id, text,
                                        &normal, errp)) {
            if (!text) {
                error_setg(errp, "Parameter '%s' expects a value", key);
            }
            return false;
        }
        g_hash_table_insert(dev->props, g_strdup(key), normal);
    }
    return true;
}

static const char *member(struct json_object *options, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(options, key, &value)
        ? json_object_get_string(value) : NULL;
}

static const DeviceModel *model_for(struct json_object *options, Error **errp)
{
    const char *driver = member(options, "driver");
    const DeviceModel *model = driver ? device_model_find(driver) : NULL;

    if (!driver) {
        error_setg(errp, "Parameter 'driver' is missing");
    } else if (!model) {
        error_setg(errp, "'%s' is not a valid device model name", driver);
    } else if (model->refused) {
        error_setg(errp, "%s", model->refused);
        return NULL;
    }
    return model;
}

static bool check_id(const char *id, Error **errp)
{
    if (id && !id_check(id, errp)) {
        return false;
    }
    if (id && (device_find(id) || is_unplugged(id))) {
        error_setg(errp, "Duplicate device ID '%s'", id);
        return false;
    }
    return true;
}

static bool device_realize(Device *dev, struct json_object *options,
                           Error **errp)
{
    bool has_units = dev->bus->kind == BUS_IDE ||
                     dev->bus->kind == BUS_FLOPPY;

    if (!take_props(dev, options, errp) ||
        (has_units && !unit_place(dev, errp)) ||
        ((dev->model->flags & MODEL_BLOCK) &&
         !device_block_realize(dev, errp))) {
        return false;
    }
    if (dev->model->bus == BUS_SCSI && !scsi_place(dev, errp)) {
        device_block_unrealize(dev);
        return false;
    }
    return true;
}

Device *device_add_json(struct json_object *options, Error **errp)
{
    const DeviceModel *model = model_for(options, errp);
    const char *id = member(options, "id");
    DeviceBus *bus = NULL;
    Device *dev;

    if (!model || !check_id(id, errp) ||
        !(bus = bus_for(model, member(options, "bus"), errp))) {
        return NULL;
    }
    dev = g_new0(Device, 1);
    dev->model = model;
    dev->bus = bus;
    dev->id = g_strdup(id);
    dev->hotplugged = hotplug;
    dev->path = id ? g_strdup_printf("/machine/peripheral/%s", id)
                   : g_strdup_printf("/machine/peripheral-anon/device[%d]",
                                     anonymous_count);
    dev->props = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                       g_free);
    if (!device_realize(dev, options, errp)) {
        device_free(dev);
        return NULL;
    }
    anonymous_count += !id;
    TAILQ_INSERT_TAIL(&devices, dev, next);
    bus_provide(dev);
    return dev;
}

bool device_add_text(const char *text, Error **errp)
{
    QapiInputMode mode;
    struct json_object *options = keyval_parse_or_json(text, "driver", &mode,
                                                       errp);
    bool ok;

    if (!options) {
        return false;
    }
    ok = device_add_json(options, errp) != NULL;
    json_object_put(options);
    return ok;
}

static const char *model_for_drive(const Drive *drive)
{
    switch (drive->interface) {
    case DRIVE_IF_IDE:
        return drive->cdrom ? "ide-cd" : "ide-hd";
    case DRIVE_IF_FLOPPY:
        return "floppy";
    case DRIVE_IF_VIRTIO:
        return "virtio-blk-pci";
    default:
        return NULL;
    }
}

/* The place that the machine chooses for a drive. */
static void place_drive(struct json_object *options, const Drive *drive)
{
    char bus[16];

    if (drive->interface == DRIVE_IF_IDE) {
        snprintf(bus, sizeof(bus), "ide.%d", drive->bus);
        json_object_object_add(options, "bus", json_object_new_string(bus));
    }
    if (drive->interface != DRIVE_IF_VIRTIO) {
        json_object_object_add(options, "unit",
                               json_object_new_int(drive->unit));
    }
}

/* Devices of the board are not peripherals. */
static void make_unattached(Device *dev)
{
    int first = !strcmp(machine_type(), "q35") ? 16 : 18;

    if (dev->bus->kind == BUS_FLOPPY) {
        first -= first == 16 ? 4 : 5; /* it comes before the IDE disks */
    }
    anonymous_count--;
    g_free(dev->path);
    dev->path = g_strdup_printf("/machine/unattached/device[%d]",
                                first + unattached_count++);
}

static bool add_for_drive(const Drive *drive, Error **errp)
{
    const char *model = model_for_drive(drive);
    struct json_object *options;
    Device *dev;

    if (!model) {
        error_setg(errp, "machine type does not support if=%s,bus=%d,"
                   "unit=%d", drive_interface_name(drive->interface),
                   drive->bus, drive->unit);
        return false;
    }
    options = json_object_new_object();
    json_object_object_add(options, "driver", json_object_new_string(model));
    json_object_object_add(options, "drive",
                           json_object_new_string(drive->id));
    place_drive(options, drive);
    dev = device_add_json(options, errp);
    json_object_put(options);
    if (dev && drive->interface != DRIVE_IF_VIRTIO) {
        make_unattached(dev);
    }
    return dev != NULL;
}

bool device_add_for_drives(Error **errp)
{
    Drive *drive = NULL;

    while ((drive = drive_next(drive))) {
        if (!drive->claimed && drive->interface != DRIVE_IF_NONE &&
            !add_for_drive(drive, errp)) {
            return false;
        }
    }
    hotplug = true;
    return true;
}

/* --- removal --- */

static void remove_children(Device *dev)
{
    Device *child = TAILQ_FIRST(&devices);

    /* Removing one may remove others: restart. */
    while (child && dev->child_bus) {
        if (child->bus == dev->child_bus) {
            device_remove(child);
            child = TAILQ_FIRST(&devices);
        } else {
            child = TAILQ_NEXT(child, next);
        }
    }
}

static void bus_drop(DeviceBus *bus)
{
    LIST_REMOVE(bus, next);
    g_free(bus->name);
    g_free(bus);
}

static void tell_deleted(const Device *dev)
{
    g_autofree char *part = NULL;

    if (dev->model->flags & MODEL_VIRTIO) {
        part = g_strdup_printf("%s/virtio-backend", dev->path);
    } else if (dev->model->flags & MODEL_USB_SCSI) {
        part = device_backend_path(dev);
    }
    if (part) {
        qapi_event_send_device_deleted(&(DeviceDeletedEvent) { .path = part });
    }
    qapi_event_send_device_deleted(&(DeviceDeletedEvent) {
        .device = dev->id,
        .path = dev->path,
    });
}

/*
 * Deletes devices in the order of removal.  The monitors continue meanwhile, as
 * a request may wait for one of their commands.
 */
static void leave(void *opaque)
{
    Device *dev;

    while ((dev = TAILQ_FIRST(&leaving))) {
        if (device_block_is_busy(dev)) {
            aio_timer_mod(leaving_timer, aio_now_ns() + 1000000);
            return;
        }
        TAILQ_REMOVE(&leaving, dev, next);
        device_block_unrealize(dev);
        tell_deleted(dev);
        device_free(dev);
    }
}

static bool job_has_node(Job *job, const BlockDriverState *bs)
{
    BlockJob *bj = block_job_of(job);

    for (guint i = 0; bj && i < bj->edges->len; i++) {
        const BdrvChild *edge = g_ptr_array_index(bj->edges, i);

        if (edge->bs == bs) {
            return true;
        }
    }
    return false;
}

/* A drive is deleted with its device, and jobs of the disk end, too. */
static void cancel_jobs(const BlockDriverState *bs)
{
    Job *job = job_next(NULL), *next;

    for (; job; job = next) {
        next = job_next(job);
        if (job_has_node(job, bs)) {
            job_user_cancel(job, false, NULL);
        }
    }
}

void device_remove(Device *dev)
{
    remove_children(dev);
    if (dev->blk && blk_bs(dev->blk) && drive_of_backend(dev->blk)) {
        cancel_jobs(blk_bs(dev->blk));
    }
    TAILQ_REMOVE(&devices, dev, next);
    TAILQ_INSERT_TAIL(&leaving, dev, next);
    if (dev->child_bus) {
        bus_drop(g_steal_pointer(&dev->child_bus));
    }
    if (dev->blk) {
        guest_detach(dev);
        blk_io_limits_let_pass(dev->blk);
    }
    if (!leaving_timer) {
        leaving_timer = aio_timer_new(aio_main_context(), AIO_SCOPE_MAIN,
                                      leave, NULL);
    }
    /* The command is answered first: what a bottom half does, a client would
     * hear of before. */
    aio_timer_mod(leaving_timer, aio_now_ns() + 1000000);
}

static void drop_all(struct DeviceList *list)
{
    Device *dev;

    while ((dev = TAILQ_LAST(list, DeviceList))) {
        TAILQ_REMOVE(list, dev, next);
        if (dev->child_bus) {
            bus_drop(dev->child_bus);
        }
        if (dev->blk) {
            guest_detach(dev);
            blk_drain(dev->blk);
            AIO_WAIT_WHILE(dev->guest_requests);
        }
        device_block_unrealize(dev);
        device_free(dev);
    }
}

void device_cleanup(void)
{
    drop_all(&leaving);
    drop_all(&devices);
    if (leaving_timer) {
        aio_timer_free(g_steal_pointer(&leaving_timer));
    }
}

/* --- commands --- */

bool qmp_device_add(struct json_object *arg, Error **errp)
{
    struct json_object *driver;

    if (!json_object_object_get_ex(arg, "driver", &driver)) {
        error_setg(errp, "Parameter 'driver' is missing");
        return false;
    }
    return device_add_json(arg, errp) != NULL;
}

bool qmp_device_del(DeviceDelArg *arg, Error **errp)
{
    Device *dev = device_find(arg->id);

    if (!dev && is_unplugged(arg->id)) {
        error_setg(errp, "Device %s is already in the process of unplug",
                   arg->id);
        return false;
    }
    if (!dev) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Device '%s' not found", arg->id);
        return false;
    }
    if (dev->bus->fixed) {
        error_setg(errp, "Bus '%s' does not support hotplugging",
                   dev->bus->name);
        return false;
    }
    device_remove(dev);
    return true;
}
