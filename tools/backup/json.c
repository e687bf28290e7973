/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON values: reading members of answers, and writing arguments. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "json.h"
#include "monitor/qmp-json.h"

void json_unref(void *obj)
{
    json_object_put(obj);
}

json_object *json_member(json_object *obj, const char *key)
{
    json_object *value = NULL;

    if (json_object_is_type(obj, json_type_object)) {
        json_object_object_get_ex(obj, key, &value);
    }
    return value;
}

const char *json_get_str(json_object *obj, const char *key)
{
    json_object *value = json_member(obj, key);

    return json_object_is_type(value, json_type_string)
               ? json_object_get_string(value) : NULL;
}

int64_t json_get_int(json_object *obj, const char *key)
{
    json_object *value = json_member(obj, key);

    return json_object_is_type(value, json_type_int)
               ? json_object_get_int64(value) : 0;
}

bool json_get_bool(json_object *obj, const char *key)
{
    json_object *value = json_member(obj, key);

    return json_object_is_type(value, json_type_boolean) &&
           json_object_get_boolean(value);
}

json_object *json_get_array(json_object *obj, const char *key)
{
    json_object *value = json_member(obj, key);

    return json_object_is_type(value, json_type_array) ? value : NULL;
}

size_t json_length(json_object *array)
{
    return json_object_is_type(array, json_type_array)
               ? json_object_array_length(array) : 0;
}

json_object *json_at(json_object *array, size_t i)
{
    return json_object_array_get_idx(array, i);
}

static void append_string(GString *out, const char *text)
{
    json_object *value = json_object_new_string(text);

    qmp_json_print(out, value, false);
    json_object_put(value);
}

/* Appends what stands for the letter @c after a '%'. */
static void append_argument(GString *out, char c, va_list *ap)
{
    switch (c) {
    case 's':
        append_string(out, va_arg(*ap, const char *));
        break;
    case 'i':
        g_string_append_printf(out, "%" PRId64, va_arg(*ap, int64_t));
        break;
    case 'b':
        g_string_append(out, va_arg(*ap, int) ? "true" : "false");
        break;
    case 'o':
        qmp_json_print(out, va_arg(*ap, json_object *), false);
        break;
    default:
        g_assert_not_reached();
    }
}

json_object *json_vfill(const char *text, va_list ap)
{
    g_autoptr(GString) out = g_string_new("");
    va_list args;

    va_copy(args, ap);
    for (const char *p = text; *p; p++) {
        if (*p == '%') {
            append_argument(out, *++p, &args);
        } else {
            g_string_append_c(out, *p);
        }
    }
    va_end(args);
    return json_parse_strict(out->str, out->len, &error_abort);
}

json_object *json_fill(const char *text, ...)
{
    json_object *obj;
    va_list ap;

    va_start(ap, text);
    obj = json_vfill(text, ap);
    va_end(ap);
    return obj;
}

char *json_text(json_object *obj, bool pretty)
{
    GString *out = g_string_new("");

    qmp_json_print(out, obj, pretty);
    return g_string_free(out, FALSE);
}
