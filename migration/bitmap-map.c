/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of nodes and bitmaps in the stream. */
#include "qemu/osdep.h"

#include "bitmap-map.h"
#include "qemu/cutils.h"

static bool fits(const char *is, const char *wanted)
{
    return !wanted || !strcmp(is, wanted);
}

const BitmapMigrationNodeAlias *
mig_map_node(const BitmapMigrationNodeAliasList *list, const char *name,
             const char *alias)
{
    while (list && !(fits(list->value->node_name, name) &&
                     fits(list->value->alias, alias))) {
        list = list->next;
    }
    return list ? list->value : NULL;
}

const BitmapMigrationBitmapAlias *
mig_map_bitmap(const BitmapMigrationNodeAlias *node, const char *name,
               const char *alias)
{
    const BitmapMigrationBitmapAliasList *e = node->bitmaps;

    while (e && !(fits(e->value->name, name) &&
                  fits(e->value->alias, alias))) {
        e = e->next;
    }
    return e ? e->value : NULL;
}

static bool check_node(const BitmapMigrationNodeAlias *node, Error **errp)
{
    if (!id_wellformed(node->alias)) {
        error_setg(errp, "The node alias '%s' is not well-formed",
                   node->alias);
        return false;
    }
    if (strlen(node->alias) > MIG_NAME_MAX) {
        error_setg(errp, "The node alias '%s' is longer than %d bytes",
                   node->alias, MIG_NAME_MAX);
        return false;
    }
    return true;
}

static bool check_bitmaps(const BitmapMigrationNodeAlias *node, Error **errp)
{
    const BitmapMigrationBitmapAliasList *e;

    for (e = node->bitmaps; e; e = e->next) {
        const BitmapMigrationBitmapAlias *b = e->value;

        if (strlen(b->alias) > MIG_NAME_MAX) {
            error_setg(errp, "The bitmap alias '%s' is longer than %d bytes",
                       b->alias, MIG_NAME_MAX);
            return false;
        }
        if (mig_map_bitmap(node, b->name, NULL) != b) {
            error_setg(errp, "The bitmap '%s'/'%s' is mapped twice",
                       node->node_name, b->name);
            return false;
        }
        if (mig_map_bitmap(node, NULL, b->alias) != b) {
            error_setg(errp, "The bitmap alias '%s'/'%s' is used twice",
                       node->alias, b->alias);
            return false;
        }
    }
    return true;
}

bool mig_check_mapping(const BitmapMigrationNodeAliasList *list, Error **errp)
{
    const BitmapMigrationNodeAliasList *e;

    for (e = list; e; e = e->next) {
        const BitmapMigrationNodeAlias *node = e->value;

        if (!check_node(node, errp)) {
            return false;
        }
        if (mig_map_node(list, node->node_name, NULL) != node) {
            error_setg(errp, "The node name '%s' is mapped twice",
                       node->node_name);
            return false;
        }
        if (mig_map_node(list, NULL, node->alias) != node) {
            error_setg(errp, "The node alias '%s' is used twice",
                       node->alias);
            return false;
        }
        if (!check_bitmaps(node, errp)) {
            return false;
        }
    }
    return true;
}
