/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names of nodes and bitmaps in the stream, as block-bitmap-mapping has them
 * or, without one, as they are.
 */
#ifndef MIGRATION_BITMAP_MAP_H
#define MIGRATION_BITMAP_MAP_H

#include "qapi/qapi-types-migration.h"
#include "qemu/error.h"

#define MIG_NAME_MAX 255

/* False with an error that names the node or bitmap. */
bool mig_check_mapping(const BitmapMigrationNodeAliasList *list, Error **errp);

/* The first with this name here and this alias; NULL: any.  NULL: there is
 * none. */
const BitmapMigrationNodeAlias *
mig_map_node(const BitmapMigrationNodeAliasList *list, const char *name,
             const char *alias);
const BitmapMigrationBitmapAlias *
mig_map_bitmap(const BitmapMigrationNodeAlias *node, const char *name,
               const char *alias);

#endif
