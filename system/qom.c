/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree of objects as clients see it:
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
#include "block/throttle-group.h"
#include "blockdev/blockdev.h"
#include "device-model.h"
#include "device.h"
#include "machine.h"
#include "qapi/qapi-commands-system.h"

/* --- lists --- */

static void append(ObjectPropertyInfoList ***tail, const char *name,
                   const char *type)
{
    ObjectPropertyInfo *info = g_new0(ObjectPropertyInfo, 1);

    info->name = g_strdup(name);
    info->type = g_strdup(type);
    QAPI_LIST_APPEND(*tail, info);
}

static void append_child(ObjectPropertyInfoList ***tail, const char *name,
                         const char *type)
{
    g_autofree char *text = g_strdup_printf("child<%s>", type);

    append(tail, name, text);
}

static void list_root(ObjectPropertyInfoList ***tail)
{
    append_child(tail, "objects", "container");
    append_child(tail, "machine", machine_type());
    append_child(tail, "chardevs", "container");
}

static void list_machine(ObjectPropertyInfoList ***tail)
{
    append_child(tail, "unattached", "container");
    append_child(tail, "peripheral", "container");
    append_child(tail, "peripheral-anon", "container");
}

static void list_objects(ObjectPropertyInfoList ***tail)
{
    const ObjectOptions *object = NULL;

    while ((object = blockdev_next_object(object))) {
        append_child(tail, object->id, ObjectType_str(object->qom_type));
    }
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
    { "/", list_root },
    { "/objects", list_objects },
    { "/chardevs", list_nothing },
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

static void list_device(ObjectPropertyInfoList ***tail, const Device *dev)
{
    append(tail, "parent_bus", "link<bus>");
    append(tail, "realized", "bool");
    append(tail, "hotplugged", "bool");
    append(tail, "hotpluggable", "bool");
    for (int set = 0; dev->model->props[set]; set++) {
        for (const DeviceProp *p = dev->model->props[set]; p->name; p++) {
            QAPI_LIST_APPEND(*tail, device_prop_info(p, false));
        }
    }
    if (dev->model->flags & MODEL_VIRTIO) {
        append_child(tail, "virtio-backend", backend_model(dev)->name);
    }
}

/* The part of a virtio proxy that does the work. */
static void list_backend(ObjectPropertyInfoList ***tail, const Device *dev)
{
    const DeviceModel *model = backend_model(dev);

    append(tail, "parent_bus", "link<bus>");
    append(tail, "realized", "bool");
    append(tail, "hotplugged", "bool");
    append(tail, "hotpluggable", "bool");
    for (int set = 0; model->props[set]; set++) {
        for (const DeviceProp *p = model->props[set]; p->name; p++) {
            QAPI_LIST_APPEND(*tail, device_prop_info(p, false));
        }
    }
}

static bool not_found(const char *path, Error **errp)
{
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
              path);
    return false;
}

/* An object of -object: /objects/ID, or the end of that path. */
static const ObjectOptions *object_at(const char *path)
{
    const ObjectOptions *object = NULL;
    const char *id = g_str_has_prefix(path, "/objects/")
        ? path + strlen("/objects/") : path;

    while ((object = blockdev_next_object(object))) {
        if (!strcmp(object->id, id)) {
            return object;
        }
    }
    return NULL;
}

/* --- objects of -object --- */

static struct json_object *limits_of(const ObjectOptions *object)
{
    ThrottleConfig config;
    struct json_object *limits = json_object_new_object();
    static const char *const names[THROTTLE_BUCKETS] = {
        "bps-total", "bps-read", "bps-write",
        "iops-total", "iops-read", "iops-write",
    };

    throttle_group_get_config(throttle_group_find(object->id), &config);
    for (int i = 0; i < THROTTLE_BUCKETS; i++) {
        const ThrottleLimit *limit = &config.limit[i];
        g_autofree char *max = g_strdup_printf("%s-max", names[i]);
        g_autofree char *length = g_strdup_printf("%s-length", max);

        json_object_object_add(limits, names[i],
                               json_object_new_uint64(limit->avg));
        json_object_object_add(limits, max,
                               json_object_new_uint64(limit->max));
        json_object_object_add(limits, length,
                               json_object_new_uint64(limit->burst_length));
    }
    json_object_object_add(limits, "iops-size",
                           json_object_new_uint64(config.op_size));
    return limits;
}

/* Properties that were not given, as "name" and value. */
static const struct {
    const char *name;
    int value;
} iothread_props[] = {
    { "poll-max-ns", 32768 }, { "poll-grow", 0 }, { "poll-shrink", 0 },
    { "aio-max-batch", 0 }, { "thread-pool-min", 0 },
    { "thread-pool-max", 64 },
};

/* All that can be asked for, beside the type; a new reference. */
static struct json_object *object_values(const ObjectOptions *object)
{
    struct json_object *all = qapi_ObjectOptions_to_json(object);

    if (object->qom_type == OBJECT_TYPE_THROTTLE_GROUP) {
        struct json_object *limits = limits_of(object);

        json_object_object_foreach(limits, key, value) {
            g_autofree char *name = g_strdup_printf("x-%s", key);

            json_object_object_add(all, name, json_object_get(value));
        }
        json_object_object_add(all, "limits", limits);
    } else if (object->qom_type == OBJECT_TYPE_IOTHREAD) {
        for (size_t i = 0; i < ARRAY_SIZE(iothread_props); i++) {
            if (!json_object_object_get_ex(all, iothread_props[i].name,
                                           NULL)) {
                json_object_object_add(
                    all, iothread_props[i].name,
                    json_object_new_int(iothread_props[i].value));
            }
        }
    }
    json_object_object_del(all, "qom-type");
    json_object_object_del(all, "id");
    return all;
}

static const char *value_type(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_object:
        return "ThrottleLimits";
    case json_type_int:
        return "int";
    case json_type_boolean:
        return "bool";
    default:
        return "string";
    }
}

static void list_object(ObjectPropertyInfoList ***tail,
                        const ObjectOptions *object)
{
    struct json_object *all = object_values(object);

    json_object_object_foreach(all, key, value) {
        append(tail, key, value_type(value));
    }
    json_object_put(all);
}

ObjectPropertyInfoList *qmp_qom_list(QomListArg *arg, Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;
    const Device *dev = device_find(arg->path);

    append(&tail, "type", "string");
    for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
        if (!strcmp(containers[i].path, arg->path)) {
            containers[i].list(&tail);
            return list;
        }
    }
    if (dev && is_backend_path(dev, arg->path)) {
        list_backend(&tail, dev);
    } else if (dev) {
        list_device(&tail, dev);
    } else if (object_at(arg->path)) {
        list_object(&tail, object_at(arg->path));
    } else {
        not_found(arg->path, errp);
    }
    return list;
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

struct json_object *qmp_qom_get(QomGetArg *arg, Error **errp)
{
    const Device *dev = device_find(arg->path);
    const ObjectOptions *object = object_at(arg->path);

    if (dev) {
        return get_device(dev, arg->property, errp);
    }
    if (object) {
        struct json_object *all = object_values(object);
        struct json_object *value = json_object_object_get(all,
                                                           arg->property);

        json_object_get(value);
        json_object_put(all);
        if (!strcmp(arg->property, "type")) {
            value = json_object_new_string(ObjectType_str(object->qom_type));
        }
        if (!value) {
            error_setg(errp, "Property '%s.%s' not found",
                       ObjectType_str(object->qom_type), arg->property);
        }
        return value;
    }
    for (size_t i = 0; i < ARRAY_SIZE(containers); i++) {
        if (!strcmp(containers[i].path, arg->path)) {
            const char *type = strcmp(arg->path, "/machine") ? "container"
                                                             : machine_type();

            if (!strcmp(arg->property, "type")) {
                return json_object_new_string(type);
            }
            error_setg(errp, "Property '%s.%s' not found", type,
                       arg->property);
            return NULL;
        }
    }
    not_found(arg->path, errp);
    return NULL;
}

/* A throttle group's limits can be changed; nothing else of objects. */
static bool set_object(const ObjectOptions *object, const QomSetArg *arg,
                       Error **errp)
{
    g_autoptr(ThrottleGroupProperties) props = NULL;
    ThrottleGroup *group = throttle_group_find(object->id);
    ThrottleConfig config;

    if (object->qom_type != OBJECT_TYPE_THROTTLE_GROUP ||
        strcmp(arg->property, "limits")) {
        struct json_object *all = object_values(object);

        if (!json_object_object_get_ex(all, arg->property, NULL)) {
            error_setg(errp, "Property '%s.%s' not found",
                       ObjectType_str(object->qom_type), arg->property);
        } else {
            error_setg(errp, "Property cannot be set after initialization");
        }
        json_object_put(all);
        return false;
    }
    props = g_new0(ThrottleGroupProperties, 1);
    props->limits = qapi_ThrottleLimits_from_json(arg->value,
                                                  QAPI_INPUT_STRICT, errp);
    return props->limits && throttle_config_from_qapi(&config, props, errp) &&
           throttle_group_set_config(group, &config, errp);
}

bool qmp_qom_set(QomSetArg *arg, Error **errp)
{
    Device *dev = device_find(arg->path);
    const ObjectOptions *object = object_at(arg->path);
    const DeviceProp *prop;

    if (object) {
        return set_object(object, arg, errp);
    }
    if (!dev) {
        return not_found(arg->path, errp);
    }
    prop = device_model_prop(dev->model, arg->property);
    if (!strcmp(arg->property, "type") ||
        !strcmp(arg->property, "hotplugged")) {
        error_setg(errp, "Property '%s.%s' is not writable", dev->model->name,
                   arg->property);
        return false;
    }
    if (!prop) {
        error_setg(errp, "Property '%s.%s' not found", dev->model->name,
                   arg->property);
        return false;
    }
    if (prop->kind != PROP_DRIVE) {
        error_setg(errp, "Attempt to set property '%s' on device '%s' (type "
                   "'%s') after it was realized", arg->property,
                   dev->id ? dev->id : "", dev->model->name);
        return false;
    }
    if (!json_object_is_type(arg->value, json_type_string)) {
        error_setg(errp, "Invalid parameter type for '%s', expected: string",
                   arg->property);
        return false;
    }
    return device_set_drive(dev, json_object_get_string(arg->value), errp);
}

/* --- types --- */

static ObjectPropertyInfoList *model_properties(const DeviceModel *model)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;

    for (int set = 0; model->props[set]; set++) {
        for (const DeviceProp *p = model->props[set]; p->name; p++) {
            QAPI_LIST_APPEND(tail, device_prop_info(p, true));
        }
    }
    return list;
}

ObjectPropertyInfoList *
qmp_device_list_properties(DeviceListPropertiesArg *arg, Error **errp)
{
    const DeviceModel *model = device_model_find(arg->typename);

    if (!model) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Device '%s' not found", arg->typename);
        return NULL;
    }
    return model_properties(model);
}

ObjectPropertyInfoList *
qmp_qom_list_properties(QomListPropertiesArg *arg, Error **errp)
{
    const DeviceModel *model = device_model_find(arg->typename);
    ObjectPropertyInfoList *list;
    ObjectPropertyInfo *type;

    if (!model) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                  "Class '%s' not found", arg->typename);
        return NULL;
    }
    list = model_properties(model);
    type = g_new0(ObjectPropertyInfo, 1);
    type->name = g_strdup("type");
    type->type = g_strdup("string");
    QAPI_LIST_PREPEND(list, type);
    return list;
}

static bool implements(const DeviceModel *model, const char *type)
{
    return !type || !strcmp(type, "device") || !strcmp(type, "object") ||
           !strcmp(type, model->name) || !strcmp(type, model->parent) ||
           (model->bus == BUS_SCSI && !strcmp(type, "scsi-device")) ||
           (model->bus == BUS_PCI && !strcmp(type, "pci-device"));
}

ObjectTypeInfoList *qmp_qom_list_types(QomListTypesArg *arg, Error **errp)
{
    ObjectTypeInfoList *list = NULL, **tail = &list;
    const DeviceModel *model = NULL;

    while ((model = device_model_next(model))) {
        ObjectTypeInfo *info;

        if (!implements(model, arg->implements)) {
            continue;
        }
        info = g_new0(ObjectTypeInfo, 1);
        info->name = g_strdup(model->name);
        info->parent = g_strdup(model->parent);
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
