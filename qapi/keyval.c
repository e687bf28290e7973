/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * key=value parsing: first into nested objects only, then objects with
 * numbers as keys become arrays.
 */
#include "qemu/osdep.h"
#include <json-c/linkhash.h>
#include "qapi/json.h"
#include "qapi/keyval.h"

/* Length of the part of a key at @s, 0 if it is invalid. */
static size_t part_length(const char *s, bool first)
{
    size_t n = 0;

    if (g_ascii_isdigit(*s)) {
        if (first) {
            return 0;
        }
        while (g_ascii_isdigit(s[n])) {
            n++;
        }
    } else if (g_ascii_isalpha(*s)) {
        while (g_ascii_isalnum(s[n]) || s[n] == '-' || s[n] == '_') {
            n++;
        }
    }
    return n <= KEYVAL_MAX_KEY ? n : 0;
}

/* The parts of @key; NULL if one is malformed or there are too many. */
static char **split_key(const char *key)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
    const char *s = key;

    for (;;) {
        size_t n = part_length(s, s == key);

        if (!n || parts->len == KEYVAL_MAX_DEPTH ||
            (s[n] && s[n] != '.')) {
            return NULL;
        }
        g_ptr_array_add(parts, g_strndup(s, n));
        if (!s[n]) {
            break;
        }
        s += n + 1;
    }
    g_ptr_array_add(parts, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&parts), false);
}

/* "a.b.*" of the first @n parts. */
static bool fail_inconsistent(char **parts, int n, Error **errp)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (int i = 0; i < n; i++) {
        g_string_append_printf(text, "%s.", parts[i]);
    }
    error_setg(errp, "Parameters '%s*' used inconsistently", text->str);
    return false;
}

/* Stores @value at the place of @key. */
static bool put_value(struct json_object *top, const char *key,
                      const char *value, Error **errp)
{
    g_auto(GStrv) parts = split_key(key);
    struct json_object *cur = top;
    struct json_object *next;
    int i;

    if (!parts) {
        error_setg(errp, "Invalid parameter '%s'", key);
        return false;
    }
    for (i = 0; parts[i + 1]; i++) {
        if (!json_object_object_get_ex(cur, parts[i], &next)) {
            next = json_object_new_object();
            json_object_object_add(cur, parts[i], next);
        } else if (!json_object_is_type(next, json_type_object)) {
            return fail_inconsistent(parts, i + 1, errp);
        }
        cur = next;
    }
    if (json_object_object_get_ex(cur, parts[i], &next) &&
        json_object_is_type(next, json_type_object)) {
        return fail_inconsistent(parts, i + 1, errp);
    }
    json_object_object_add(cur, parts[i], json_object_new_string(value));
    return true;
}

char *keyval_take_value(const char **pos)
{
    GString *value = g_string_new(NULL);
    const char *s = *pos;

    while (*s && (*s != ',' || s[1] == ',')) {
        s += *s == ',';
        g_string_append_c(value, *s++);
    }
    *pos = s + (*s == ',');
    return g_string_free(value, false);
}

static bool is_help(const char *text, size_t len)
{
    return (len == 4 && memcmp(text, "help", 4) == 0) ||
           (len == 1 && *text == '?');
}

/*
 * Parses one parameter at *@pos.  @implied is the implied key if this is the
 * first parameter.
 */
static bool take_param(struct json_object *top, const char **pos,
                       const char *implied, bool *help, Error **errp)
{
    size_t len = strcspn(*pos, "=,");
    g_autofree char *key = g_strndup(*pos, len);
    g_autofree char *value = NULL;

    if ((*pos)[len] == '=') {
        *pos += len + 1;
        value = keyval_take_value(pos);
        return put_value(top, key, value, errp);
    }
    if (help && is_help(key, len)) {
        *help = true;
        *pos += len + ((*pos)[len] == ',');
        return true;
    }
    if (implied && len) {
        value = keyval_take_value(pos);
        return put_value(top, implied, value, errp);
    }
    if (!len) {
        error_setg(errp, "Invalid parameter ''");
    } else {
        error_setg(errp, "Expected '=' after parameter '%s'", key);
    }
    return false;
}

/* --- numbers as keys --- */

static struct json_object *listify(struct json_object *obj, const char *path,
                                   Error **errp);

/* Replaces members of @obj that should be arrays, recursively. */
static bool listify_members(struct json_object *obj, const char *path,
                            Error **errp)
{
    struct lh_entry *entry;

    lh_foreach(json_object_get_object(obj), entry)
    {
        struct json_object *member = (struct json_object *)lh_entry_v(entry);
        const char *key = lh_entry_k(entry);
        g_autofree char *sub = NULL;
        struct json_object *list;

        if (!json_object_is_type(member, json_type_object)) {
            continue;
        }
        sub = g_strdup_printf("%s%s%s", path, *path ? "." : "", key);
        if (!listify_members(member, sub, errp)) {
            return false;
        }
        list = listify(member, sub, errp);
        if (!list) {
            return false;
        }
        /* The value of an existing key: the table does not change. */
        json_object_object_add(obj, key, list);
    }
    return true;
}

/* @obj (a new reference), or the array that it represents. */
static struct json_object *listify(struct json_object *obj, const char *path,
                                   Error **errp)
{
    uint64_t n = json_object_object_length(obj);
    g_autofree struct json_object **elements =
        g_new0(struct json_object *, n);
    struct json_object *list;
    uint64_t numbers = 0;

    json_object_object_foreach(obj, key, value)
    {
        uint64_t i = g_ascii_isdigit(*key) ? g_ascii_strtoull(key, NULL, 10)
                                           : UINT64_MAX;

        numbers += g_ascii_isdigit(*key) != 0;
        if (i < n) {
            elements[i] = value;
        }
    }
    if (!numbers) {
        return json_object_get(obj);
    }
    if (numbers < n) {
        error_setg(errp, "Parameters '%s.*' used inconsistently", path);
        return NULL;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (!elements[i]) {
            error_setg(errp, "Parameter '%s.%" PRIu64 "' missing", path, i);
            return NULL;
        }
    }
    list = json_object_new_array();
    for (uint64_t i = 0; i < n; i++) {
        json_object_array_add(list, json_object_get(elements[i]));
    }
    return list;
}

struct json_object *keyval_parse(const char *params, const char *implied_key,
                                 bool *help, Error **errp)
{
    struct json_object *top = json_object_new_object();
    const char *pos = params;
    const char *implied = implied_key;

    if (help) {
        *help = false;
    }
    while (*pos) {
        if (!take_param(top, &pos, implied, help, errp)) {
            goto fail;
        }
        implied = NULL;
    }
    if (!listify_members(top, "", errp)) {
        goto fail;
    }
    return top;

fail:
    json_object_put(top);
    return NULL;
}

struct json_object *keyval_parse_or_json(const char *text,
                                         const char *implied_key,
                                         QapiInputMode *mode, Error **errp)
{
    if (*text != '{') {
        *mode = QAPI_INPUT_KEYVAL;
        return keyval_parse(text, implied_key, NULL, errp);
    }
    *mode = QAPI_INPUT_STRICT;
    return json_parse_strict(text, strlen(text), errp);
}

char *keyval_escape(const char *value)
{
    GString *text = g_string_new(value);

    g_string_replace(text, ",", ",,", 0);
    return g_string_free(text, false);
}

void *keyval_to_type(const char *text, const char *implied_key,
                     const QapiType *type, Error **errp)
{
    QapiInputMode mode;
    struct json_object *json =
        keyval_parse_or_json(text, implied_key, &mode, errp);
    void *value;

    if (!json) {
        return NULL;
    }
    value = qapi_type_from_json(type, json, mode, errp);
    json_object_put(json);
    return value;
}
