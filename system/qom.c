/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree of objects that clients see:
 *
 *     /objects/ID                          what -object made
 *     /machine/peripheral/ID               devices with a name
 *     /machine/peripheral-anon/device[N]   devices without
 *     .../virtio-backend                   the part that has the drive
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/block-backend.h"
#include "block/graph.h"
#include "blockdev/qom.h"
#include "device-model.h"
#include "device.h"
#include "machine.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-qdev.h"
#include "qapi/qapi-types-qom.h"

/* --- lists --- */

static void append(ObjectPropertyInfoList ***tail, const char *name,
                   const char *type)
{
    blockdev_qom_append(tail, name, type);
}

static void append_child(ObjectPropertyInfoList ***tail, const char *name,
                         const char *type)
{
    g_autofree char *text = g_strdup_printf("child<%s>", type);

    append(tail, name, text);
}

static void list_machine(ObjectPropertyInfoList ***tail)
{
    append_child(tail, "unattached", "container");
    append_child(tail, "peripheral", "container");
    append_child(tail, "peripheral-anon", "container");
}

static void list_devices(ObjectPropertyInfoList ***tail, bool named)
{
    Device *dev = NULL;

    while ((dev = device_next(dev))) {
        if (named == (dev->id != NULL)) {
            append_child(tail, strrchr(dev->path, '/') + 1, dev->model->name);
        }
    }
}

static void list_named(ObjectPropertyInfoList ***tail)
{
    list_devices(tail, true);
}

static void list_anonymous(ObjectPropertyInfoList ***tail)
{
    list_devices(tail, false);
}

static void list_nothing(ObjectPropertyInfoList ***tail)
{
}

static const struct {
    const char *path;
    void (*list)(ObjectPropertyInfoList ***tail);
} containers[] = {
    { "/machine", list_machine },
    { "/machine/unattached", list_nothing },
    { "/machine/peripheral", list_named },
    { "/machine/peripheral-anon", list_anonymous },
};

static const DeviceModel *backend_model(const Device *dev)
{
    return device_model_find(dev->model->flags & MODEL_BLOCK
                             ? "virtio-blk-device" : "virtio-scsi-device");
}

static bool is_backend_path(const Device *dev, const char *path)
{
    return (dev->model->flags & MODEL_VIRTIO) &&
           g_str_has_suffix(path, "/virtio-backend");
}

/* What all devices have. */
static void append_common(ObjectPropertyInfoList ***tail)
{
    append(tail, "parent_bus", "link<bus>");
    append(tail, "realized", "bool");
    append(tail, "hotplugged", "bool");
    append(tail, "hotpluggable", "bool");
}

static void list_device(ObjectPropertyInfoList ***tail, const Device *dev)
{
    append_common(tail);
    for (int set = 0; dev->model->props[set]; set++) {
        for (const DeviceProp *p = dev->model->props[set]; p->name; p++) {
            QAPI_LIST_APPEND(*tail, device_prop_info(p, false));
        }
    }
    if (dev->model->flags & MODEL_VIRTIO) {
        append_child(tail, "virtio-backend", backend_model(dev)->name);
    }
}

/* The device behind a virtio proxy. */
static void list_backend(ObjectPropertyInfoList ***tail, const Device *dev)
{
    const DeviceModel *model = backend_model(dev);

    append_common(tail);
    for (int set = 0; model->props[set]; set++) {
        for (const DeviceProp *p = model->props[set]; p->name; p++) {
            QAPI_LIST_APPEND(*tail, device_prop_info(p, false));
        }
    }
}

static bool machine_knows(const char *path)
{
    for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
        if (!strcmp(containers[i].path, path)) {
            return true;
        }
    }
    return device_find(path) != NULL;
}

static char *machine_path_of(const char *id)
{
    const Device *dev = device_find(id);

    return dev ? g_strdup(dev->path) : NULL;
}

static void machine_list(const char *path, ObjectPropertyInfoList ***tail)
{
    const Device *dev = device_find(path);

    for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
        if (!strcmp(containers[i].path, path)) {
            containers[i].list(tail);
            return;
        }
    }
    if (is_backend_path(dev, path)) {
        list_backend(tail, dev);
    } else {
        list_device(tail, dev);
    }
}

/* --- values --- */

static struct json_object *get_drive(const Device *dev)
{
    BlockDriverState *bs = dev->blk ? blk_bs(dev->blk) : NULL;
    const char *name = dev->blk ? blk_name(dev->blk) : "";

    return json_object_new_string(*name ? name : bs ? bs->node_name : "");
}

static char *bus_path(const DeviceBus *bus)
{
    return bus->owner
        ? g_strdup_printf("%s/%s%s", bus->owner->path,
                          bus->owner->model->flags & MODEL_VIRTIO
                          ? "virtio-backend/" : "", bus->name)
        : g_strdup_printf("/machine/unattached/%s", bus->name);
}

static struct json_object *get_common(const Device *dev, const char *name)
{
    if (!strcmp(name, "type")) {
        return json_object_new_string(dev->model->name);
    }
    if (!strcmp(name, "realized") || !strcmp(name, "hotpluggable")) {
        return json_object_new_boolean(true);
    }
    if (!strcmp(name, "hotplugged")) {
        return json_object_new_boolean(dev->hotplugged);
    }
    if (!strcmp(name, "parent_bus")) {
        g_autofree char *path = bus_path(dev->bus);

        return json_object_new_string(path);
    }
    return NULL;
}

static struct json_object *get_device(const Device *dev, const char *name,
                                      Error **errp)
{
    const DeviceProp *prop = device_model_prop(dev->model, name);
    struct json_object *value = get_common(dev, name);

    if (value) {
        return value;
    }
    if (!prop) {
        error_setg(errp, "Property '%s.%s' not found", dev->model->name,
                   name);
        return NULL;
    }
    return prop->kind == PROP_DRIVE ? get_drive(dev)
                                    : device_prop_json(dev, prop);
}

static struct json_object *machine_get(const char *path, const char *property,
                                       Error **errp)
{
    const Device *dev = device_find(path);
    const char *type = strcmp(path, "/machine") ? "container"
                                                : machine_type();

    if (dev) {
        return get_device(dev, property, errp);
    }
    if (!strcmp(property, "type")) {
        return json_object_new_string(type);
    }
    error_setg(errp, "Property '%s.%s' not found", type, property);
    return NULL;
}

static bool set_device(Device *dev, const char *property,
                       struct json_object *value, Error **errp)
{
    const DeviceProp *prop = device_model_prop(dev->model, property);

    if (!strcmp(property, "type") || !strcmp(property, "hotplugged")) {
        error_setg(errp, "Property '%s.%s' is not writable", dev->model->name,
                   property);
        return false;
    }
    if (!prop) {
        error_setg(errp, "Property '%s.%s' not found", dev->model->name,
                   property);
        return false;
    }
    if (prop->kind != PROP_DRIVE) {
        error_setg(errp, "Attempt to set property '%s' on device '%s' (type "
                   "'%s') after it was realized", property,
                   dev->id ? dev->id : "", dev->model->name);
        return false;
    }
    if (!json_object_is_type(value, json_type_string)) {
        error_setg(errp, "Invalid parameter type for '%s', expected: string",
                   property);
        return false;
    }
    return device_set_drive(dev, json_object_get_string(value), errp);
}

static bool machine_set(const char *path, const char *property,
                        struct json_object *value, Error **errp)
{
    Device *dev = device_find(path);

    if (!dev) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                  path);
        return false;
    }
    return set_device(dev, property, value, errp);
}

/* --- types --- */

static void append_model(ObjectPropertyInfoList ***tail,
                         const DeviceModel *model)
{
    for (int set = 0; model->props[set]; set++) {
        for (const DeviceProp *p = model->props[set]; p->name; p++) {
            QAPI_LIST_APPEND(*tail, device_prop_info(p, true));
        }
    }
}

ObjectPropertyInfoList *
qmp_device_list_properties(DeviceListPropertiesArg *arg, Error **errp)
{
    const DeviceModel *model = device_model_find(arg->typename);
    ObjectPropertyInfoList *list = NULL, **tail = &list;

    if (!model) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Device '%s' not found", arg->typename);
        return NULL;
    }
    append_model(&tail, model);
    return list;
}

/* What device models are derived from. */
static const BlockdevQomType ancestors[] = {
    { "device", "object", true },
    { "pci-device", "device", true },
    { "virtio-pci", "pci-device", true },
    { "virtio-blk-pci-base", "virtio-pci", true },
    { "virtio-scsi-pci-base", "virtio-pci", true },
    { "pci-ide", "pci-device", true },
    { "megasas-base", "pci-device", true },
    { "pci-ehci-usb", "pci-device", true },
    { "pci-xhci", "pci-device", true },
    { "base-pci-bridge", "pci-device", true },
    { "pcie-port", "base-pci-bridge", true },
    { "pcie-slot", "pcie-port", true },
    { "pcie-root-port-base", "pcie-slot", true },
    { "ccw-device", "device", true },
    { "virtio-ccw-device", "ccw-device", true },
    { "virtio-device", "device", true },
    { "virtio-scsi-common", "virtio-device", true },
    { "scsi-device", "device", true },
    { "scsi-disk-base", "scsi-device", true },
    { "ide-device", "device", true },
    { "isa-device", "device", true },
    { "usb-device", "device", true },
    { "usb-storage-dev", "usb-device", true },
};

static bool machine_type_at(unsigned index, BlockdevQomType *type)
{
    const DeviceModel *model = NULL;

    if (index < ARRAY_SIZE(ancestors)) {
        *type = ancestors[index];
        return true;
    }
    index -= ARRAY_SIZE(ancestors);
    do {
        model = device_model_next(model);
    } while (model && index-- > 0);
    if (!model) {
        return false;
    }
    *type = (BlockdevQomType) { model->name, model->parent, false };
    return true;
}

static void machine_list_type(const char *name,
                              ObjectPropertyInfoList ***tail)
{
    const DeviceModel *model = device_model_find(name);

    append_common(tail);
    if (model) {
        append_model(tail, model);
    }
}

static const BlockdevQomPart machine_part = {
    .name = "machine",
    .type = machine_type,
    .knows = machine_knows,
    .path_of = machine_path_of,
    .list = machine_list,
    .get = machine_get,
    .set = machine_set,
    .type_at = machine_type_at,
    .list_type = machine_list_type,
};

void qom_init(void)
{
    blockdev_qom_part = &machine_part;
}
