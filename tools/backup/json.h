/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON values: reading members of answers, and writing arguments.
 *
 * What comes from a server need not have the form that the schema promises: a
 * member that is absent, or of another type, is NULL, 0 or false to a reader.
 */
#ifndef TOOLS_BACKUP_JSON_H
#define TOOLS_BACKUP_JSON_H

#include "qapi/json.h"

typedef struct json_object json_object;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

/* A GDestroyNotify. */
void json_unref(void *obj);

/* The member @key of @obj (both may be missing); lives as long as @obj. */
json_object *json_member(json_object *obj, const char *key);
/* The same, of one type. */
const char *json_get_str(json_object *obj, const char *key);
int64_t json_get_int(json_object *obj, const char *key);
bool json_get_bool(json_object *obj, const char *key);
/* The array at @key, or NULL. */
json_object *json_get_array(json_object *obj, const char *key);
/* How many elements @array (NULL: none) has. */
size_t json_length(json_object *array);
json_object *json_at(json_object *array, size_t i);

/*
 * A value written as JSON, with strings in single quotes; in it %s stands for a
 * string, %i for an int64_t, %b for a bool, %o for a value (borrowed).  A new
 * reference.  The text is the program's own: it aborts if that is not JSON.
 */
json_object *json_fill(const char *text, ...);
json_object *json_vfill(const char *text, va_list ap);
/* As text on one line, or indented; caller frees. */
char *json_text(json_object *obj, bool pretty);

#endif
