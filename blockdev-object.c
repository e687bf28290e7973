/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object-add and object-del: throttle groups, secrets and iothreads. */
#include "qemu/osdep.h"
#include "block/throttle-group.h"
#include "blockdev-int.h"
#include "crypto/secret.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/cutils.h"

/* All objects, oldest first. */
static GPtrArray *objects;

ObjectOptions *blockdev_find_object(const char *id)
{
    for (guint i = 0; objects && i < objects->len; i++) {
        ObjectOptions *object = g_ptr_array_index(objects, i);

        if (!strcmp(object->id, id)) {
            return object;
        }
    }
    return NULL;
}

const ObjectOptions *blockdev_next_object(const ObjectOptions *object)
{
    guint i = 0;

    while (object && g_ptr_array_index(objects, i++) != object) {
        /* not this one */
    }
    return objects && i < objects->len ? g_ptr_array_index(objects, i) : NULL;
}

bool blockdev_find_iothread(const char *id)
{
    const ObjectOptions *object = blockdev_find_object(id);

    return object && object->qom_type == OBJECT_TYPE_IOTHREAD;
}

/* --- help --- */

static int compare_lines(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_properties(ObjectType type)
{
    const QapiType *props = qapi_type_ObjectOptions.branches[type];
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);

    for (int i = 0; i < props->n_members; i++) {
        const QapiMember *member = &props->members[i];

        if (strcmp(member->name, "loaded")) { /* it has no effect */
            g_ptr_array_add(lines, g_strdup_printf("  %s=<%s>", member->name,
                                                   blockdev_qom_type_name(
                                                       member->type)));
        }
    }
    g_ptr_array_sort(lines, compare_lines);
    printf("%s options:\n", ObjectType_str(type));
    for (guint i = 0; i < lines->len; i++) {
        printf("%s\n", (char *)g_ptr_array_index(lines, i));
    }
}

static bool is_help(const char *word)
{
    return !strcmp(word, "help") || !strcmp(word, "?");
}

bool blockdev_object_help(const char *value)
{
    g_auto(GStrv) words = g_strsplit(value, ",", -1);
    const char *type = NULL;
    bool asked = false;
    int known;

    for (int i = 0; words[i]; i++) {
        if (is_help(words[i])) {
            asked = true;
        } else if (g_str_has_prefix(words[i], "qom-type=")) {
            type = words[i] + strlen("qom-type=");
        } else if (i == 0 && !strchr(words[i], '=')) {
            type = words[i];
        }
    }
    if (!asked || (!type && words[1])) {
        return false;
    }
    known = type ? ObjectType_parse(type, NULL) : -1;
    if (known >= 0) {
        print_properties(known);
    } else if (!type) {
        printf("List of user creatable objects:\n");
        for (int i = 0; i < OBJECT_TYPE__MAX; i++) {
            printf("  %s\n", ObjectType_str(i));
        }
    }
    return known >= 0 || !type;
}

/* --- creation --- */

static bool object_create(ObjectOptions *arg, Error **errp)
{
    ThrottleConfig config;

    switch (arg->qom_type) {
    case OBJECT_TYPE_THROTTLE_GROUP:
        return throttle_config_from_qapi(&config, &arg->u.throttle_group,
                                         errp) &&
               throttle_group_new(arg->id, &config, errp);
    case OBJECT_TYPE_SECRET:
        return crypto_secret_add(arg->id, &arg->u.secret, errp);
    case OBJECT_TYPE_IOTHREAD:
        return blockdev_iothread_add(arg->id, &arg->u.iothread, errp);
    default:
        g_assert_not_reached();
    }
}

/* Properties that are wrong on their own are told before a name in use; those
 * of a throttle group that count together (x-...) are not. */
static bool check_properties(ObjectOptions *arg, Error **errp)
{
    ThrottleGroupProperties limits = {0};
    ThrottleConfig config;

    switch (arg->qom_type) {
    case OBJECT_TYPE_THROTTLE_GROUP:
        limits.limits = arg->u.throttle_group.limits;
        return throttle_config_from_qapi(&config, &limits, errp);
    case OBJECT_TYPE_IOTHREAD:
        return blockdev_iothread_check(&arg->u.iothread, errp);
    default:
        return true;
    }
}

bool qmp_object_add(ObjectOptions *arg, Error **errp)
{
    g_autoptr(ObjectOptions) object = NULL;

    if (!id_check(arg->id, errp) || !check_properties(arg, errp)) {
        return false;
    }
    if (blockdev_find_object(arg->id)) {
        error_setg(errp, "attempt to add duplicate property '%s' to object "
                   "(type 'container')", arg->id);
        return false;
    }
    object = qapi_clone_ObjectOptions(arg);
    if (!object_create(object, errp)) {
        return false;
    }
    if (!objects) {
        objects = g_ptr_array_new_with_free_func(
            (GDestroyNotify)qapi_free_ObjectOptions);
    }
    g_ptr_array_add(objects, g_steal_pointer(&object));
    return true;
}

/* --- removal --- */

static void erase(char *text)
{
    if (text) {
        explicit_bzero(text, strlen(text));
    }
}

static bool object_release(const ObjectOptions *object, Error **errp)
{
    switch (object->qom_type) {
    case OBJECT_TYPE_THROTTLE_GROUP:
        if (!throttle_group_del(object->id, NULL)) {
            error_setg(errp, "object '%s' is in use, can not be deleted",
                       object->id);
            return false;
        }
        return true;
    case OBJECT_TYPE_IOTHREAD:
        return blockdev_iothread_del(object->id, errp);
    case OBJECT_TYPE_SECRET:
        crypto_secret_del(object->id);
        erase(object->u.secret.data);
        return true;
    default:
        return true;
    }
}

static bool object_remove(ObjectOptions *object, Error **errp)
{
    if (!object_release(object, errp)) {
        return false;
    }
    g_ptr_array_remove(objects, object);
    if (!objects->len) {
        g_ptr_array_unref(g_steal_pointer(&objects));
    }
    return true;
}

bool qmp_object_del(ObjectDelArg *arg, Error **errp)
{
    ObjectOptions *object = blockdev_find_object(arg->id);

    if (!object) {
        error_setg(errp, "object '%s' not found", arg->id);
        return false;
    }
    return object_remove(object, errp);
}

void blockdev_remove_objects(void)
{
    for (guint i = objects ? objects->len : 0; i-- > 0;) {
        object_remove(g_ptr_array_index(objects, i), &error_abort);
    }
}
