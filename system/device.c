/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices and the buses they are attached to: adding, finding, removing. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "qapi/keyval.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-events.h"
#include "system-int.h"

static TAILQ_HEAD(DeviceList, Device) devices = TAILQ_HEAD_INITIALIZER(devices);
static LIST_HEAD(, DeviceBus) buses = LIST_HEAD_INITIALIZER(buses);
static int anonymous_count;
static int bus_count[BUS_ISA + 1];

/* What the machine itself has. */
static DeviceBus machine_buses[] = {
    { .name = (char *)"pci.0", .kind = BUS_PCI },
    { .name = (char *)"pcie.0", .kind = BUS_PCI },
    { .name = (char *)"main-system-bus", .kind = BUS_VIRTIO },
    { .name = (char *)"virtual-css", .kind = BUS_CCW },
    { .name = (char *)"isa.0", .kind = BUS_ISA },
    { .name = (char *)"ide.0", .kind = BUS_IDE },
    { .name = (char *)"ide.1", .kind = BUS_IDE },
    { .name = (char *)"ide.2", .kind = BUS_IDE },
    { .name = (char *)"ide.3", .kind = BUS_IDE },
    { .name = (char *)"ide.4", .kind = BUS_IDE },
    { .name = (char *)"ide.5", .kind = BUS_IDE },
    { .name = (char *)"floppy-bus.0", .kind = BUS_FLOPPY },
    { .name = (char *)"usb-bus.0", .kind = BUS_USB },
};

/* --- finding --- */

Device *device_next(Device *dev)
{
    return dev ? TAILQ_NEXT(dev, next) : TAILQ_FIRST(&devices);
}

Device *device_find(const char *id_or_path)
{
    Device *dev;

    TAILQ_FOREACH(dev, &devices, next) {
        g_autofree char *part = device_backend_path(dev);

        if ((dev->id && !strcmp(dev->id, id_or_path)) ||
            !strcmp(dev->path, id_or_path) ||
            (part && !strcmp(part, id_or_path))) {
            return dev;
        }
    }
    return NULL;
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

bool id_wellformed(const char *id)
{
    if (!g_ascii_isalpha(*id)) {
        return false;
    }
    while (*++id) {
        if (!g_ascii_isalnum(*id) && !strchr("-._", *id)) {
            return false;
        }
    }
    return true;
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
    for (size_t i = 0; i < ARRAY_SIZE(machine_buses); i++) {
        if (!strcmp(machine_buses[i].name, name)) {
            return &machine_buses[i];
        }
    }
    return NULL;
}

/* The oldest of the kind. */
static DeviceBus *bus_by_kind(BusKind kind)
{
    DeviceBus *bus, *found = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(machine_buses); i++) {
        if (machine_buses[i].kind == kind) {
            return &machine_buses[i];
        }
    }
    LIST_FOREACH(bus, &buses, next) {
        if (bus->kind == kind) {
            found = bus;
        }
    }
    return found;
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
                   bus_kind_name(bus->kind));
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
    /* Asked for them, it tells what they are now. */
    g_hash_table_insert(dev->props, g_strdup("scsi-id"),
                        g_strdup_printf("%" PRId64, dev->scsi_id));
    g_hash_table_insert(dev->props, g_strdup("lun"),
                        g_strdup_printf("%" PRId64, dev->scsi_lun));
    return true;
}

/* --- adding --- */

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
        if (!text || !device_prop_check(dev->model, prop, text, &normal,
                                        errp)) {
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
    if (id && !id_wellformed(id)) {
        error_setg(errp, "Parameter 'id' expects an identifier");
        error_append_hint(errp, "Identifiers consist of letters, digits, "
                          "'-', '.', '_', starting with a letter.\n");
        return false;
    }
    if (id && device_find(id)) {
        error_setg(errp, "Duplicate device ID '%s'", id);
        return false;
    }
    return true;
}

static bool device_realize(Device *dev, struct json_object *options,
                           Error **errp)
{
    if (!take_props(dev, options, errp) ||
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

bool device_add_for_drives(Error **errp)
{
    Drive *drive = NULL;

    while ((drive = drive_next(drive))) {
        const char *model = model_for_drive(drive);
        struct json_object *options;
        bool ok;

        if (drive->claimed || drive->interface == DRIVE_IF_NONE) {
            continue;
        }
        if (!model) {
            error_setg(errp, "machine type does not support if=%s,bus=%d,"
                       "unit=%d", drive_interface_name(drive->interface),
                       drive->bus, drive->unit);
            return false;
        }
        options = json_object_new_object();
        json_object_object_add(options, "driver",
                               json_object_new_string(model));
        json_object_object_add(options, "drive",
                               json_object_new_string(drive->id));
        ok = device_add_json(options, errp) != NULL;
        json_object_put(options);
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* --- removing --- */

static void remove_children(Device *dev)
{
    Device *child = TAILQ_FIRST(&devices);

    /* Removing one may remove others: begin anew. */
    while (child && dev->child_bus) {
        if (child->bus == dev->child_bus) {
            device_remove(child);
            child = TAILQ_FIRST(&devices);
        } else {
            child = TAILQ_NEXT(child, next);
        }
    }
}

static void device_drop(Device *dev)
{
    TAILQ_REMOVE(&devices, dev, next);
    if (dev->child_bus) {
        LIST_REMOVE(dev->child_bus, next);
        g_free(dev->child_bus->name);
        g_free(dev->child_bus);
    }
    device_block_unrealize(dev);
}

void device_remove(Device *dev)
{
    remove_children(dev);
    device_drop(dev);
    qapi_event_send_device_deleted(&(DeviceDeletedEvent) {
        .device = dev->id,
        .path = dev->path,
    });
    device_free(dev);
}

void device_cleanup(void)
{
    Device *dev;

    while ((dev = TAILQ_LAST(&devices, DeviceList))) {
        device_drop(dev);
        device_free(dev);
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

    if (!dev) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Device '%s' not found", arg->id);
        return false;
    }
    device_remove(dev);
    return true;
}
