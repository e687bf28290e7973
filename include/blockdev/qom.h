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

typedef struct ObjectPropertyInfoList ObjectPropertyInfoList;

/* A type of objects. */
typedef struct BlockdevQomType {
    const char *name;
    const char *parent; /* that it is derived from; NULL: it is "object" */
    bool abstract;      /* there are only objects of types derived from it */
} BlockdevQomType;

/* A program's part of the tree, one child of the root. */
typedef struct BlockdevQomPart {
    const char *name;
    /* Its type, "pc-machine" or the like. */
    const char *(*type)(void);
    /* Is there an object at @path?  Those with a path are called only if so. */
    bool (*knows)(const char *path);
    /* The path of an object with the name @id, or NULL; the caller frees. */
    char *(*path_of)(const char *id);
    /* Appends its properties, without "type". */
    void (*list)(const char *path, ObjectPropertyInfoList ***tail);
    /* A new reference, or NULL with @errp. */
    struct json_object *(*get)(const char *path, const char *property,
                               Error **errp);
    bool (*set)(const char *path, const char *property,
                struct json_object *value, Error **errp);
    /* Its types in some order, from 0 on; false: there are no more.  NULL:
     * there are none. */
    bool (*type_at)(unsigned index, BlockdevQomType *type);
    /* Appends the properties of one of them, without "type". */
    void (*list_type)(const char *name, ObjectPropertyInfoList ***tail);
} BlockdevQomPart;

/* NULL: the program has none. */
extern const BlockdevQomPart *blockdev_qom_part;

/* Appends a property to a list; both strings are copied. */
void blockdev_qom_append(ObjectPropertyInfoList ***tail, const char *name,
                         const char *type);
/* The same for all properties of a type that there is, without "type". */
void blockdev_qom_list_type(const char *name, ObjectPropertyInfoList ***tail);

#endif
