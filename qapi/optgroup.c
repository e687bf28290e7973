/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options with typed parameters, all on one level. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "qapi/keyval.h"
#include "qapi/optgroup.h"
#include "qemu/cutils.h"

/* --- the types of values --- */

static bool check_number(const char *key, const char *value, Error **errp)
{
    uint64_t number;
    int64_t negative;

    if (parse_uint64(value, &number, NULL) ||
        (*value == '-' && parse_int64(value, &negative, NULL))) {
        return true;
    }
    error_setg(errp, "Parameter '%s' expects a number", key);
    return false;
}

static bool fail_size(const char *key, Error **errp)
{
    error_setg(errp, "Parameter '%s' expects a non-negative number below 2^64",
               key);
    error_append_hint(errp, "Optional suffix k, M, G, T, P or E means kilo-, "
                      "mega-, giga-, tera-, peta-\nand exabytes, "
                      "respectively.\n");
    return false;
}

static bool check_size(const char *key, const char *value, Error **errp)
{
    size_t digits = strspn(value, "0123456789");
    int64_t size;

    /* Sizes are whole bytes. */
    if (!digits || (value[digits] == '.' &&
                    g_ascii_isdigit(value[strlen(value) - 1]))) {
        return fail_size(key, errp);
    }
    if (parse_size(value, 'b', &size, NULL)) {
        return true;
    }
    if (!value[digits] && digits > 18) {
        error_setg(errp, "Value '%s' is out of range for parameter '%s'",
                   value, key);
        return false;
    }
    return fail_size(key, errp);
}

static bool check_bool(const char *key, const char *value, Error **errp)
{
    bool ignored;

    return parse_bool(key, value, &ignored, errp);
}

static bool check_value(const OptParam *param, const char *value, Error **errp)
{
    switch (param->type) {
    case OPT_STRING:
        return true;
    case OPT_BOOL:
        return check_bool(param->name, value, errp);
    case OPT_NUMBER:
        return check_number(param->name, value, errp);
    case OPT_SIZE:
        return check_size(param->name, value, errp);
    }
    g_assert_not_reached();
}

bool optgroup_check(const OptGroup *group, const char *key, const char *value,
                    Error **errp)
{
    if (!group->params && *key) {
        return true;
    }
    for (const OptParam *p = group->params; p && p->name; p++) {
        if (!strcmp(p->name, key)) {
            return check_value(p, value, errp);
        }
    }
    error_setg(errp, "Invalid parameter '%s'", key);
    return false;
}

/* --- the text --- */

/* The value of a "key" without "=". */
static void short_form(const OptGroup *group, char **key, char **value)
{
    bool negated = g_str_has_prefix(*key, "no");
    g_autofree char *word = g_strdup(*key);

    if (negated) {
        g_free(*key);
        *key = g_strdup(word + 2);
    }
    *value = g_strdup(negated ? "off" : "on");
    if (!group->short_forms) {
        warn_report("short-form boolean option '%s' deprecated", word);
        report_hint("Please use %s=%s instead\n", *key, *value);
    }
}

/* Parses one parameter at *@pos; @first: it may be the implied one. */
static void take_param(const OptGroup *group, const char **pos, bool first,
                       char **key, char **value)
{
    size_t len = strcspn(*pos, "=,");

    if ((*pos)[len] == '=') {
        *key = g_strndup(*pos, len);
        *pos += len + 1;
        *value = keyval_take_value(pos);
    } else if (first && group->implied) {
        *key = g_strdup(group->implied);
        *value = keyval_take_value(pos);
    } else {
        *key = g_strndup(*pos, len);
        *pos += len + ((*pos)[len] == ',');
        short_form(group, key, value);
    }
}

/* The id comes first: other parameters belong to it. */
static bool find_id(const char *text, char **id, Error **errp)
{
    const char *pos = text;

    while (*pos) {
        size_t len = strcspn(pos, "=,");
        bool is_id = len == 2 && !memcmp(pos, "id=", 3);
        g_autofree char *value = NULL;

        pos += len + (pos[len] == '=');
        value = keyval_take_value(&pos);
        if (is_id && !*id) {
            *id = g_steal_pointer(&value);
        }
    }
    return !*id || id_check(*id, errp);
}

struct json_object *optgroup_parse(const OptGroup *group, const char *text,
                                   Error **errp)
{
    struct json_object *opts;
    g_autofree char *id = NULL;
    const char *pos = text;

    if (!find_id(text, &id, errp)) {
        return NULL;
    }
    opts = json_object_new_object();
    if (id) {
        json_object_object_add(opts, "id", json_object_new_string(id));
    }
    while (*pos) {
        g_autofree char *key = NULL;
        g_autofree char *value = NULL;

        take_param(group, &pos, pos == text, &key, &value);
        if (!strcmp(key, "id")) {
            continue;
        }
        if (!optgroup_check(group, key, value, errp)) {
            json_object_put(opts);
            return NULL;
        }
        json_object_object_add(opts, key, json_object_new_string(value));
    }
    return opts;
}

const char *opt_get(struct json_object *opts, const char *key)
{
    struct json_object *value;

    return json_object_object_get_ex(opts, key, &value)
               ? json_object_get_string(value) : NULL;
}

bool opt_get_bool(struct json_object *opts, const char *key, bool dflt)
{
    const char *text = opt_get(opts, key);
    bool value = dflt;

    return text && parse_bool(key, text, &value, NULL) ? value : dflt;
}

int64_t opt_get_number(struct json_object *opts, const char *key, int64_t dflt)
{
    const char *text = opt_get(opts, key);
    int64_t value;

    return text && parse_int64(text, &value, NULL) ? value : dflt;
}
