/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The types of objects: those of object-add and their ancestors, and what the
 * program adds (its devices).
 */
#include "qemu/osdep.h"
#include "blockdev-int.h"
#include "blockdev/qom.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-qom.h"

#define USER_CREATABLE "user-creatable"

/* The properties are members of a struct of the schema; NULL: none. */
static const struct {
    BlockdevQomType type;
    const QapiType *properties;
    bool user_creatable;
} own_types[] = {
    { { "object", NULL, true } },
    { { "container", "object" } },
    { { "event-loop-base", "object", true },
      &qapi_type_EventLoopBaseProperties },
    { { "iothread", "event-loop-base" }, &qapi_type_IothreadProperties, true },
    { { "secret_common", "object", true }, &qapi_type_SecretCommonProperties },
    { { "secret", "secret_common" }, &qapi_type_SecretProperties, true },
    { { "throttle-group", "object" }, &qapi_type_ThrottleGroupProperties,
      true },
};

static bool type_at(unsigned index, BlockdevQomType *type)
{
    if (index < ARRAY_SIZE(own_types)) {
        *type = own_types[index].type;
        return true;
    }
    return blockdev_qom_part && blockdev_qom_part->type_at &&
           blockdev_qom_part->type_at(index - ARRAY_SIZE(own_types), type);
}

static bool find_type(const char *name, BlockdevQomType *type)
{
    for (unsigned i = 0; type_at(i, type); i++) {
        if (!strcmp(type->name, name)) {
            return true;
        }
    }
    return false;
}

/* --- properties --- */

const char *blockdev_qom_type_name(const QapiType *type)
{
    switch (type->kind) {
    case QAPI_STR:
        return "string";
    case QAPI_BOOL:
        return "bool";
    case QAPI_INT:
    case QAPI_UINT:
        return "int";
    default:
        return type->name;
    }
}

void blockdev_qom_list_type(const char *name, ObjectPropertyInfoList ***tail)
{
    for (size_t i = 0; i < ARRAY_SIZE(own_types); i++) {
        const QapiType *type = own_types[i].properties;

        if (strcmp(own_types[i].type.name, name)) {
            continue;
        }
        for (unsigned m = 0; type && m < type->n_members; m++) {
            blockdev_qom_append(tail, type->members[m].name,
                                blockdev_qom_type_name(type->members[m].type));
        }
        return;
    }
    blockdev_qom_part->list_type(name, tail);
}

ObjectPropertyInfoList *
qmp_qom_list_properties(QomListPropertiesArg *arg, Error **errp)
{
    ObjectPropertyInfoList *list = NULL, **tail = &list;
    BlockdevQomType type;

    if (!strcmp(arg->typename, USER_CREATABLE) ||
        !strcmp(arg->typename, "interface")) {
        error_setg(errp, "Parameter 'typename' expects a QOM type");
        return NULL;
    }
    if (!find_type(arg->typename, &type)) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Class '%s' not found",
                  arg->typename);
        return NULL;
    }
    blockdev_qom_append(&tail, "type", "string");
    blockdev_qom_list_type(arg->typename, &tail);
    return list;
}

/* --- types --- */

static bool is_user_creatable(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(own_types); i++) {
        if (!strcmp(own_types[i].type.name, name)) {
            return own_types[i].user_creatable;
        }
    }
    return false;
}

/* Is @wanted @type itself, one of its ancestors, or its interface? */
static bool implements(const BlockdevQomType *type, const char *wanted)
{
    BlockdevQomType t = *type;

    if (!strcmp(wanted, USER_CREATABLE)) {
        return is_user_creatable(type->name);
    }
    while (strcmp(t.name, wanted)) {
        if (!t.parent || !find_type(t.parent, &t)) {
            return false;
        }
    }
    return true;
}

ObjectTypeInfoList *qmp_qom_list_types(QomListTypesArg *arg, Error **errp)
{
    ObjectTypeInfoList *list = NULL, **tail = &list;
    BlockdevQomType type;

    for (unsigned i = 0; type_at(i, &type); i++) {
        ObjectTypeInfo *info;

        if ((type.abstract && !(arg->has_abstract && arg->abstract)) ||
            (arg->implements && !implements(&type, arg->implements))) {
            continue;
        }
        info = g_new0(ObjectTypeInfo, 1);
        info->name = g_strdup(type.name);
        info->has_abstract = info->abstract = type.abstract;
        info->parent = g_strdup(type.parent);
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
