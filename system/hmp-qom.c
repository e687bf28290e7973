/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Objects and their properties; and information on missing parts. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "hmp.h"
#include "qapi/json.h"
#include "qemu/cutils.h"

static struct json_object *path_argument(HmpCall *call)
{
    struct json_object *args = json_object_new_object();

    json_object_object_add(args, "path",
                           json_object_new_string(hmp_str(call, "path")));
    return args;
}

static struct json_object *property_argument(HmpCall *call)
{
    struct json_object *args = path_argument(call);

    json_object_object_add(
        args, "property", json_object_new_string(hmp_str(call, "property")));
    return args;
}

static const char *text_of(struct json_object *obj, const char *key)
{
    return json_object_get_string(json_object_object_get(obj, key));
}

bool hmp_qom_list(HmpCall *call, Error **errp)
{
    struct json_object *list;

    if (!hmp_has(call, "path")) {
        hmp_print(call, "/\n");
        return true;
    }
    list = hmp_qmp("qom-list", path_argument(call), errp);
    if (!list) {
        return false;
    }
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *info = json_object_array_get_idx(list, i);

        hmp_print(call, "%s (%s)\n", text_of(info, "name"),
                  text_of(info, "type"));
    }
    json_object_put(list);
    return true;
}

bool hmp_qom_get(HmpCall *call, Error **errp)
{
    struct json_object *value = hmp_qmp("qom-get", property_argument(call),
                                        errp);

    if (!value) {
        return false;
    }
    hmp_print(call, "%s\n", json_object_to_json_string_ext(
                  value, JSON_C_TO_STRING_SPACED |
                  JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(value);
    return true;
}

/* @text as a value for a property that is now @now; NULL: it is invalid. */
static struct json_object *parse_value(const char *text,
                                       struct json_object *now,
                                       const char *property, Error **errp)
{
    int64_t number;
    bool flag;

    if (json_object_is_type(now, json_type_int)) {
        if (!parse_int64(text, &number, NULL)) {
            error_setg(errp, "Parameter '%s' expects int64", property);
            return NULL;
        }
        return json_object_new_int64(number);
    }
    if (json_object_is_type(now, json_type_boolean)) {
        return parse_bool(property, text, &flag, errp)
            ? json_object_new_boolean(flag) : NULL;
    }
    return json_object_new_string(text);
}

static struct json_object *given_value(HmpCall *call, Error **errp)
{
    const char *text = hmp_str(call, "value");
    struct json_object *now, *value;

    if (hmp_flag(call, "json")) {
        return json_parse_strict(text, strlen(text), errp);
    }
    now = hmp_qmp("qom-get", property_argument(call), errp);
    if (!now) {
        return NULL;
    }
    value = parse_value(text, now, hmp_str(call, "property"), errp);
    json_object_put(now);
    return value;
}

bool hmp_qom_set(HmpCall *call, Error **errp)
{
    struct json_object *value = given_value(call, errp);
    struct json_object *args;

    if (!value) {
        return false;
    }
    args = property_argument(call);
    json_object_object_add(args, "value", value);
    return hmp_qmp_do("qom-set", args, errp);
}

/* --- descriptors --- */

static bool by_name(HmpCall *call, const char *command, Error **errp)
{
    struct json_object *args = json_object_new_object();

    json_object_object_add(args, "fdname",
                           json_object_new_string(hmp_str(call, "fdname")));
    return hmp_qmp_do(command, args, errp);
}

bool hmp_getfd(HmpCall *call, Error **errp)
{
    return by_name(call, "getfd", errp);
}

bool hmp_closefd(HmpCall *call, Error **errp)
{
    return by_name(call, "closefd", errp);
}

/* --- missing parts --- */

bool hmp_system_powerdown(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("system_powerdown", NULL, errp);
}

bool hmp_system_wakeup(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("system_wakeup", NULL, errp);
}

bool hmp_info_balloon(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("query-balloon", NULL, errp);
}

bool hmp_info_vm_generation_id(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("query-vm-generation-id", NULL, errp);
}

bool hmp_info_kvm(HmpCall *call, Error **errp)
{
    hmp_print(call, "kvm support: disabled\n");
    return true;
}

bool hmp_info_usb(HmpCall *call, Error **errp)
{
    error_setg(errp, "USB support not enabled");
    return false;
}

bool hmp_info_dump(HmpCall *call, Error **errp)
{
    hmp_print(call, "Status: none\n");
    return true;
}

bool hmp_info_nothing(HmpCall *call, Error **errp)
{
    return true;
}
