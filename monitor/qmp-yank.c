/* SPDX-License-Identifier: GPL-2.0-or-later */
/* yank and query-yank: closing connections. */
#include "qemu/osdep.h"

#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-char.h"
#include "qemu/yank.h"

static YankEntry *find_instance(const YankInstance *instance)
{
    switch (instance->type) {
    case YANK_INSTANCE_TYPE_BLOCK_NODE:
        return yank_find(YANK_BLOCK_NODE, instance->u.block_node.node_name);
    case YANK_INSTANCE_TYPE_CHARDEV:
        return yank_find(YANK_CHARDEV, instance->u.chardev.id);
    default: /* there is no migration */
        return NULL;
    }
}

/* All instances or none. */
bool qmp_yank(YankArg *arg, Error **errp)
{
    const YankInstanceList *e;

    for (e = arg->instances; e; e = e->next) {
        if (!find_instance(e->value)) {
            error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND,
                      "Instance not found");
            return false;
        }
    }
    for (e = arg->instances; e; e = e->next) {
        yank_cut(find_instance(e->value));
    }
    return true;
}

YankInstanceList *qmp_query_yank(Error **errp)
{
    YankInstanceList *list = NULL, **tail = &list;
    YankEntry *entry = NULL;

    while ((entry = yank_next(entry))) {
        YankInstance *instance = g_new0(YankInstance, 1);

        if (yank_kind(entry) == YANK_CHARDEV) {
            instance->type = YANK_INSTANCE_TYPE_CHARDEV;
            instance->u.chardev.id = g_strdup(yank_name(entry));
        } else {
            instance->type = YANK_INSTANCE_TYPE_BLOCK_NODE;
            instance->u.block_node.node_name = g_strdup(yank_name(entry));
        }
        QAPI_LIST_APPEND(tail, instance);
    }
    return list;
}
