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
    case YANK_INSTANCE_TYPE_MIGRATION:
        return yank_find(YANK_MIGRATION, "");
    default:
        g_assert_not_reached();
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

        switch (yank_kind(entry)) {
        case YANK_CHARDEV:
            instance->type = YANK_INSTANCE_TYPE_CHARDEV;
            instance->u.chardev.id = g_strdup(yank_name(entry));
            break;
        case YANK_MIGRATION:
            instance->type = YANK_INSTANCE_TYPE_MIGRATION;
            break;
        case YANK_BLOCK_NODE:
            instance->type = YANK_INSTANCE_TYPE_BLOCK_NODE;
            instance->u.block_node.node_name = g_strdup(yank_name(entry));
            break;
        }
        QAPI_LIST_APPEND(tail, instance);
    }
    return list;
}
