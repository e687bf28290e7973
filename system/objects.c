/* SPDX-License-Identifier: GPL-2.0-or-later */
/* -object and its help. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "blockdev/blockdev.h"
#include "machine.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-machine.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/iothread.h"

/* Objects of machines with memory, which are not supported. */
static bool is_ignored(const char *type)
{
    return g_str_has_prefix(type, "memory-backend-") ||
           !strcmp(type, "rng-random") || !strcmp(type, "rng-builtin");
}

bool system_object_add(struct json_object *options, QapiInputMode mode,
                       Error **errp)
{
    g_autoptr(ObjectOptions) object = NULL;
    struct json_object *type;

    if (json_object_object_get_ex(options, "qom-type", &type) &&
        is_ignored(json_object_get_string(type))) {
        warn_report("object of type '%s' is ignored: the machine has no "
                    "memory", json_object_get_string(type));
        return true;
    }
    object = qapi_ObjectOptions_from_json(options, mode, errp);
    return object && qmp_object_add(object, errp);
}

IOThreadInfoList *qmp_query_iothreads(Error **errp)
{
    IOThreadInfoList *list = NULL, **tail = &list;
    const ObjectOptions *object = NULL;

    while ((object = blockdev_next_object(object))) {
        const IothreadProperties *props = &object->u.iothread;
        IOThreadInfo *info;

        if (object->qom_type != OBJECT_TYPE_IOTHREAD) {
            continue;
        }
        info = g_new0(IOThreadInfo, 1);
        info->id = g_strdup(object->id);
        info->thread_id = iothread_tid(iothread_find(object->id));
        info->poll_max_ns = props->poll_max_ns;
        info->poll_grow = props->poll_grow;
        info->poll_shrink = props->poll_shrink;
        info->aio_max_batch = props->aio_max_batch;
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}
