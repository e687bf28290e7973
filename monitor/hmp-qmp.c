/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP commands called by commands of the human monitor. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "monitor/hmp.h"
#include "qapi/qmp-dispatch.h"

static ErrorClass class_by_name(const char *name)
{
    for (int i = 0; i <= ERROR_CLASS_KVM_MISSING_CAP; i++) {
        if (!strcmp(error_class_name(i), name)) {
            return i;
        }
    }
    return ERROR_CLASS_GENERIC_ERROR;
}

struct json_object *hmp_qmp(const char *name, struct json_object *args,
                            Error **errp)
{
    struct json_object *request = json_object_new_object();
    struct json_object *response, *ret = NULL, *error, *class, *desc;

    json_object_object_add(request, "execute", json_object_new_string(name));
    if (args) {
        json_object_object_add(request, "arguments", args);
    }
    response = qmp_dispatch(qmp_program_table(), request, false);
    json_object_put(request);
    if (json_object_object_get_ex(response, "return", &ret)) {
        json_object_get(ret);
    } else if (json_object_object_get_ex(response, "error", &error) &&
               json_object_object_get_ex(error, "class", &class) &&
               json_object_object_get_ex(error, "desc", &desc)) {
        error_set(errp, class_by_name(json_object_get_string(class)), "%s",
                  json_object_get_string(desc));
    } else {
        error_setg(errp, "No answer to '%s'", name);
    }
    json_object_put(response);
    return ret;
}

bool hmp_qmp_do(const char *name, struct json_object *args, Error **errp)
{
    struct json_object *ret = hmp_qmp(name, args, errp);

    json_object_put(ret);
    return ret != NULL;
}
