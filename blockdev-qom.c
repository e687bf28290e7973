/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree of objects that clients see:
 *
 *     /objects/ID     what object-add made; ID alone is taken, too
 *     /chardevs       shown empty
 *     /NAME/...       a part of the program's own
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/throttle-group.h"
#include "blockdev-int.h"
#include "blockdev/qom.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-qom.h"

const BlockdevQomPart *blockdev_qom_part;

/* --- lookup --- */

static ObjectOptions *object_at(const char *path)
{
    return blockdev_find_object(g_str_has_prefix(path, "/objects/")
                                ? path + strlen("/objects/") : path);
}

static bool is_container(const char *path)
{
    return !strcmp(path, "/") || !strcmp(path, "/objects") ||
           !strcmp(path, "/chardevs");
}

static bool part_knows(const char *path)
{
    return blockdev_qom_part && blockdev_qom_part->knows(path);
}

static void not_found(const char *path, Error **errp)
{
    error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
              path);
}

/* --- objects --- */

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

/* All properties except the type; a new reference. */
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
        blockdev_qom_append(tail, key, value_type(value));
    }
    json_object_put(all);
}

static bool set_limits(const ObjectOptions *object, struct json_object *value,
                       Error **errp)
{
    g_autoptr(ThrottleGroupProperties) props =
        g_new0(ThrottleGroupProperties, 1);
    ThrottleGroup *group = throttle_group_find(object->id);
    ThrottleConfig config;

    props->limits = qapi_ThrottleLimits_from_json(value, QAPI_INPUT_STRICT,
                                                  errp);
    return props->limits && throttle_config_from_qapi(&config, props, errp) &&
           throttle_group_set_config(group, &config, errp);
}

static bool refuse_to_set(const ObjectOptions *object, const char *property,
                          Error **errp)
{
    const char *type = ObjectType_str(object->qom_type);
    struct json_object *all = object_values(object);

    if (!strcmp(property, "type")) {
        error_setg(errp, "Property '%s.type' is not writable", type);
    } else if (!json_object_object_get_ex(all, property, NULL)) {
        error_setg(errp, "Property '%s.%s' not found", type, property);
    } else {
        error_setg(errp, "Property cannot be set after initialization");
    }
    json_object_put(all);
    return false;
}

/* Limits of throttle groups and properties of iothreads can be changed. */
static bool set_object(ObjectOptions *object, const QomSetArg *arg,
                       Error **errp)
{
    if (object->qom_type == OBJECT_TYPE_THROTTLE_GROUP &&
        !strcmp(arg->property, "limits")) {
        return set_limits(object, arg->value, errp);
    }
    if (object->qom_type == OBJECT_TYPE_IOTHREAD &&
        blockdev_iothread_has_prop(arg->property)) {
        return blockdev_iothread_set(object->id, &object->u.iothread,
                                     arg->property, arg->value, errp);
    }
    return refuse_to_set(object, arg->property, errp);
}

/* --- lists --- */

void blockdev_qom_append(ObjectPropertyInfoList ***tail, const char *name,
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

    blockdev_qom_append(tail, name, text);
}

static void list_container(const char *path, ObjectPropertyInfoList ***tail)
{
    const ObjectOptions *object = NULL;

    if (!strcmp(path, "/")) {
        append_child(tail, "objects", "container");
        if (blockdev_qom_part) {
            append_child(tail, blockdev_qom_part->name,
                         blockdev_qom_part->type());
        }
        append_child(tail, "chardevs", "container");
    } else if (!strcmp(path, "/objects")) {
        while ((object = blockdev_next_object(object))) {
            append_child(tail, object->id, ObjectType_str(object->qom_type));
        }
    }
}

ObjectPropertyInfoList *qmp_qom_list(QomListArg *arg, Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;

    if (!is_container(arg->path) && !part_knows(arg->path) &&
        !object_at(arg->path)) {
        not_found(arg->path, errp);
        return NULL;
    }
    blockdev_qom_append(&tail, "type", "string");
    if (is_container(arg->path)) {
        list_container(arg->path, &tail);
    } else if (part_knows(arg->path)) {
        blockdev_qom_part->list(arg->path, &tail);
    } else {
        list_object(&tail, object_at(arg->path));
    }
    return list;
}

/* --- values --- */

static struct json_object *get_object(const ObjectOptions *object,
                                      const char *property, Error **errp)
{
    const char *type = ObjectType_str(object->qom_type);
    struct json_object *all, *value;

    if (!strcmp(property, "type")) {
        return json_object_new_string(type);
    }
    all = object_values(object);
    value = json_object_get(json_object_object_get(all, property));
    json_object_put(all);
    if (!value) {
        error_setg(errp, "Property '%s.%s' not found", type, property);
    }
    return value;
}

struct json_object *qmp_qom_get(QomGetArg *arg, Error **errp)
{
    if (part_knows(arg->path)) {
        return blockdev_qom_part->get(arg->path, arg->property, errp);
    }
    if (is_container(arg->path)) {
        if (!strcmp(arg->property, "type")) {
            return json_object_new_string("container");
        }
        error_setg(errp, "Property 'container.%s' not found", arg->property);
        return NULL;
    }
    if (!object_at(arg->path)) {
        not_found(arg->path, errp);
        return NULL;
    }
    return get_object(object_at(arg->path), arg->property, errp);
}

bool qmp_qom_set(QomSetArg *arg, Error **errp)
{
    ObjectOptions *object = object_at(arg->path);

    if (object) {
        return set_object(object, arg, errp);
    }
    if (!part_knows(arg->path)) {
        not_found(arg->path, errp);
        return false;
    }
    return blockdev_qom_part->set(arg->path, arg->property, arg->value, errp);
}
