/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree of objects that clients see:
 *
 *     /objects/ID     what object-add made
 *     /chardevs       shown empty
 *     /NAME/...       a part of the program's own
 *
 * A path that does not begin with a slash is the end of a path, if there is
 * only one such object.
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
    return g_str_has_prefix(path, "/objects/")
        ? blockdev_find_object(path + strlen("/objects/")) : NULL;
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

static bool exists(const char *path)
{
    return is_container(path) || part_knows(path) || object_at(path);
}

/* @path without empty parts, and without a slash at its begin. */
static char *plain_path(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();

    for (int i = 0; parts[i]; i++) {
        if (*parts[i]) {
            g_ptr_array_add(kept, parts[i]);
        }
    }
    g_ptr_array_add(kept, NULL);
    return g_strjoinv("/", (char **)kept->pdata);
}

/* What a path without a slash at its begin may be the end of. */
static char *complete_path(const char *end, bool *ambiguous)
{
    const BlockdevQomPart *part = blockdev_qom_part;
    char *paths[] = {
        g_strdup_printf("/%s", end),
        g_strdup_printf("/objects/%s", end),
        g_strdup_printf("/%s/%s", part ? part->name : "", end),
        part ? part->path_of(end) : NULL,
    };
    char *found = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (!paths[i] || !exists(paths[i])) {
            g_free(paths[i]);
        } else if (found) {
            *ambiguous = true;
            g_free(paths[i]);
        } else {
            found = paths[i];
        }
    }
    return found;
}

/*
 * The full path of an object that there is, or NULL; the caller frees.
 * @tell: say so if there are several.
 */
static char *resolve(const char *path, bool tell, Error **errp)
{
    g_autofree char *plain = plain_path(path);
    bool ambiguous = !*plain && *path != '/';
    g_autofree char *full = NULL;

    if (*path == '/') {
        full = g_strdup_printf("/%s", plain);
    } else if (!ambiguous) {
        full = complete_path(plain, &ambiguous);
    }
    if (ambiguous && tell) {
        error_setg(errp, "Path '%s' is ambiguous", path);
        return NULL;
    }
    if (ambiguous || !full || !exists(full)) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                  path);
        return NULL;
    }
    return g_steal_pointer(&full);
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

static void add_default(struct json_object *all, const char *name,
                        struct json_object *value)
{
    if (json_object_object_get_ex(all, name, NULL)) {
        json_object_put(value);
    } else {
        json_object_object_add(all, name, value);
    }
}

/* The values of properties of a secret that were not given. */
static void add_secret_defaults(struct json_object *all)
{
    static const char *const texts[] = { "data", "file", "iv", "keyid" };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        add_default(all, texts[i], json_object_new_string(""));
    }
    add_default(all, "format", json_object_new_string("raw"));
    json_object_object_add(all, "loaded", json_object_new_boolean(true));
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
    if (object->qom_type == OBJECT_TYPE_SECRET) {
        add_secret_defaults(all);
    }
    json_object_object_del(all, "qom-type");
    json_object_object_del(all, "id");
    return all;
}

/* @value, with what it does not say as it is now; NULL: it is none. */
static ThrottleLimits *merge_limits(const ObjectOptions *object,
                                    struct json_object *value, Error **errp)
{
    ThrottleLimits *limits = NULL;
    struct json_object *all;

    if (!qapi_type_input(&qapi_type_ThrottleLimits, value, "limits",
                         QAPI_INPUT_STRICT, &limits, errp)) {
        return NULL;
    }
    qapi_free_ThrottleLimits(limits);
    all = limits_of(object);
    json_object_object_foreach(value, key, limit) {
        json_object_object_add(all, key, json_object_get(limit));
    }
    limits = qapi_ThrottleLimits_from_json(all, QAPI_INPUT_STRICT, errp);
    json_object_put(all);
    return limits;
}

static bool set_limits(const ObjectOptions *object, struct json_object *value,
                       Error **errp)
{
    g_autoptr(ThrottleGroupProperties) props =
        g_new0(ThrottleGroupProperties, 1);
    ThrottleGroup *group = throttle_group_find(object->id);
    ThrottleConfig config;

    props->limits = merge_limits(object, value, errp);
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
    } else if (!strcmp(property, "loaded")) {
        error_setg(errp, "Property '%s.loaded' is not writable", type);
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

/* @path is one that there is. */
static ObjectPropertyInfoList *list_at(const char *path)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;

    blockdev_qom_append(&tail, "type", "string");
    if (is_container(path)) {
        list_container(path, &tail);
    } else if (part_knows(path)) {
        blockdev_qom_part->list(path, &tail);
    } else {
        blockdev_qom_list_type(ObjectType_str(object_at(path)->qom_type),
                               &tail);
    }
    return list;
}

ObjectPropertyInfoList *qmp_qom_list(QomListArg *arg, Error **errp)
{
    g_autofree char *path = resolve(arg->path, true, errp);

    return path ? list_at(path) : NULL;
}

/* Is @name a part of the object at @path? */
static bool has_child(const char *path, const char *name)
{
    g_autoptr(ObjectPropertyInfoList) list = list_at(path);

    for (ObjectPropertyInfoList *e = list; e; e = e->next) {
        if (!strcmp(e->value->name, name)) {
            return g_str_has_prefix(e->value->type, "child<");
        }
    }
    return false;
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

static struct json_object *get_container(const char *property, Error **errp)
{
    if (!strcmp(property, "type")) {
        return json_object_new_string("container");
    }
    error_setg(errp, "Property 'container.%s' not found", property);
    return NULL;
}

static struct json_object *get_at(const char *path, const char *property,
                                  Error **errp)
{
    if (has_child(path, property)) {
        g_autofree char *child = g_strdup_printf(
            "%s/%s", strcmp(path, "/") ? path : "", property);

        return json_object_new_string(child);
    }
    if (is_container(path)) {
        return get_container(property, errp);
    }
    return part_knows(path)
        ? blockdev_qom_part->get(path, property, errp)
        : get_object(object_at(path), property, errp);
}

struct json_object *qmp_qom_get(QomGetArg *arg, Error **errp)
{
    g_autofree char *path = resolve(arg->path, false, errp);

    return path ? get_at(path, arg->property, errp) : NULL;
}

/* Neither parts of objects nor their types can be changed. */
static bool refuse_child(const char *path, const char *property, Error **errp)
{
    struct json_object *type = get_at(path, "type", &error_abort);

    error_setg(errp, "Property '%s.%s' is not writable",
               json_object_get_string(type), property);
    json_object_put(type);
    return false;
}

static bool set_container(const char *path, const char *property, Error **errp)
{
    struct json_object *value = get_container(property, errp);

    if (value) {
        json_object_put(value);
        refuse_child(path, property, errp);
    }
    return false;
}

bool qmp_qom_set(QomSetArg *arg, Error **errp)
{
    g_autofree char *path = resolve(arg->path, false, errp);

    if (!path) {
        return false;
    }
    if (has_child(path, arg->property)) {
        return refuse_child(path, arg->property, errp);
    }
    if (is_container(path)) {
        return set_container(path, arg->property, errp);
    }
    return part_knows(path)
        ? blockdev_qom_part->set(path, arg->property, arg->value, errp)
        : set_object(object_at(path), arg, errp);
}
