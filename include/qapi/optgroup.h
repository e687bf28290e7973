/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options with typed parameters, all on one level: the older way of writing
 * key=value,... on a command line, beside that of keyval.h.
 *
 *  - The first parameter may leave out the key that the group implies.
 *  - "key" means key=on, "nokey" means key=off; by default with a warning.
 *  - "id" names what the option describes and is allowed in every group.
 *  - A key that is given twice has the value given last.
 */
#ifndef QAPI_OPTGROUP_H
#define QAPI_OPTGROUP_H

#include "qemu/error.h"

struct json_object;

typedef enum OptType {
    OPT_STRING,
    OPT_BOOL,   /* on, off, yes, no, true, false, y, n */
    OPT_NUMBER, /* of 64 bits, with or without sign */
    OPT_SIZE,   /* bytes, with a suffix k, M, G, T, P or E */
} OptType;

typedef struct OptParam {
    const char *name;
    OptType type;
    const char *dflt; /* as it is shown; NULL: none */
} OptParam;

typedef struct OptGroup {
    const char *name;       /* "chardev" */
    const char *implied;    /* key of a first value alone; NULL: none */
    const OptParam *params; /* ended by a NULL name; NULL: any are taken */
    bool short_forms;       /* "key" and "nokey" are usual: no warning */
} OptGroup;

/*
 * The parameters in @text, checked against @group, as an object of strings
 * with "yes" and the like left as written; a new reference.  NULL and @errp
 * where one is unknown or of the wrong type.
 */
struct json_object *optgroup_parse(const OptGroup *group, const char *text,
                                   Error **errp);
/* Checks one parameter alone; false and @errp where it is refused. */
bool optgroup_check(const OptGroup *group, const char *key, const char *value,
                    Error **errp);
/* The text of parameter @key, or NULL; lives as long as @opts. */
const char *opt_get(struct json_object *opts, const char *key);
/* A parameter of type OPT_BOOL that was checked; @dflt: not given. */
bool opt_get_bool(struct json_object *opts, const char *key, bool dflt);
/* Likewise OPT_NUMBER; @dflt also where it does not fit. */
int64_t opt_get_number(struct json_object *opts, const char *key,
                       int64_t dflt);

#endif
