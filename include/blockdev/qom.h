/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tree of objects as clients see it with qom-list, qom-get and qom-set.
 * What is below /objects is known here; a program can add a part of its own.
 * Main thread.
 */
#ifndef BLOCKDEV_QOM_H
#define BLOCKDEV_QOM_H

#include "blockdev/blockdev.h"

struct json_object;

/* A program's part of the tree, one child of the root. */
typedef struct BlockdevQomPart {
    const char *name;
    /* Its type, "pc-machine" or the like. */
    const char *(*type)(void);
    /* Is there an object at @path?  The others are called only if so. */
    bool (*knows)(const char *path);
    /* Appends its properties, without "type". */
    void (*list)(const char *path, ObjectPropertyInfoList ***tail);
    /* A new reference, or NULL with @errp. */
    struct json_object *(*get)(const char *path, const char *property,
                               Error **errp);
    bool (*set)(const char *path, const char *property,
                struct json_object *value, Error **errp);
} BlockdevQomPart;

/* NULL: the program has none. */
extern const BlockdevQomPart *blockdev_qom_part;

/* Appends a property to a list; both strings are copied. */
void blockdev_qom_append(ObjectPropertyInfoList ***tail, const char *name,
                         const char *type);

#endif
