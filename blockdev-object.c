/* SPDX-License-Identifier: GPL-2.0-or-later */
/* object-add and object-del: throttle groups. */
#include "qemu/osdep.h"
#include "block/throttle-group.h"
#include "qapi/qapi-commands.h"

static bool id_is_wellformed(const char *id)
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

bool qmp_object_add(ObjectOptions *arg, Error **errp)
{
    ThrottleConfig config;

    if (!id_is_wellformed(arg->id)) {
        error_setg(errp, "Parameter 'id' expects an identifier");
        return false;
    }
    if (arg->qom_type != OBJECT_TYPE_THROTTLE_GROUP) {
        error_setg(errp, "Objects of type '%s' are not supported",
                   ObjectType_str(arg->qom_type));
        return false;
    }
    if (throttle_group_find(arg->id)) {
        error_setg(errp, "attempt to add duplicate property '%s' to object "
                   "(type 'container')", arg->id);
        return false;
    }
    return throttle_config_from_qapi(&config, &arg->u.throttle_group, errp) &&
           throttle_group_new(arg->id, &config, errp);
}

bool qmp_object_del(ObjectDelArg *arg, Error **errp)
{
    if (!throttle_group_find(arg->id)) {
        error_setg(errp, "object '%s' not found", arg->id);
        return false;
    }
    if (!throttle_group_del(arg->id, NULL)) {
        error_setg(errp, "object '%s' is in use, can not be deleted",
                   arg->id);
        return false;
    }
    return true;
}
