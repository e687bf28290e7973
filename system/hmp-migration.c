/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for migration. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "hmp.h"
#include "qapi/qapi-types-migration.h"
#include "qemu/cutils.h"

static struct json_object *with_uri(HmpCall *call)
{
    struct json_object *args = json_object_new_object();

    json_object_object_add(args, "uri",
                           json_object_new_string(hmp_str(call, "uri")));
    return args;
}

static void add_flag(HmpCall *call, struct json_object *args, const char *name)
{
    if (hmp_flag(call, name)) {
        json_object_object_add(args, name, json_object_new_boolean(true));
    }
}

/* The prompt does not wait: events and `info migrate` tell the end. */
bool hmp_migrate(HmpCall *call, Error **errp)
{
    struct json_object *args = with_uri(call);

    add_flag(call, args, "blk");
    add_flag(call, args, "inc");
    add_flag(call, args, "resume");
    if (!hmp_qmp_do("migrate", args, errp)) {
        return false;
    }
    if (!hmp_flag(call, "detach")) {
        hmp_print(call, "terminal does not allow synchronous migration, "
                  "continuing detached\n");
    }
    return true;
}

bool hmp_migrate_cancel(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("migrate_cancel", NULL, errp);
}

bool hmp_migrate_continue(HmpCall *call, Error **errp)
{
    struct json_object *args;

    if (MigrationStatus_parse(hmp_str(call, "state"), NULL) < 0) {
        error_setg(errp, "invalid parameter value: %s",
                   hmp_str(call, "state"));
        return false;
    }
    args = json_object_new_object();
    json_object_object_add(args, "state", json_object_new_string(
                                              hmp_str(call, "state")));
    return hmp_qmp_do("migrate-continue", args, errp);
}

bool hmp_migrate_incoming(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("migrate-incoming", with_uri(call), errp);
}

bool hmp_migrate_recover(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("migrate-recover", with_uri(call), errp);
}

bool hmp_migrate_pause(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("migrate-pause", NULL, errp);
}

bool hmp_migrate_start_postcopy(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("migrate-start-postcopy", NULL, errp);
}

/* --- capabilities and parameters --- */

bool hmp_migrate_set_capability(HmpCall *call, Error **errp)
{
    const char *name = hmp_str(call, "capability");
    struct json_object *args, *list, *one;

    if (MigrationCapability_parse(name, NULL) < 0) {
        error_setg(errp, "invalid parameter value: %s", name);
        return false;
    }
    args = json_object_new_object();
    list = json_object_new_array();
    one = json_object_new_object();
    json_object_object_add(one, "capability", json_object_new_string(name));
    json_object_object_add(one, "state", json_object_new_boolean(
                                             hmp_int(call, "state")));
    json_object_array_add(list, one);
    json_object_object_add(args, "capabilities", list);
    return hmp_qmp_do("migrate-set-capabilities", args, errp);
}

typedef enum Kind { NUMBER, SPEED, SIZE, SWITCH, TEXT } Kind;

static const struct {
    const char *name;
    Kind kind;
    const char *unit; /* as it is shown */
} parameters[] = {
    { "announce-initial", NUMBER, " ms" },
    { "announce-max", NUMBER, " ms" },
    { "announce-rounds", NUMBER, "" },
    { "announce-step", NUMBER, " ms" },
    { "compress-level", NUMBER, "" },
    { "compress-threads", NUMBER, "" },
    { "compress-wait-thread", SWITCH, "" },
    { "decompress-threads", NUMBER, "" },
    { "throttle-trigger-threshold", NUMBER, "" },
    { "cpu-throttle-initial", NUMBER, "" },
    { "cpu-throttle-increment", NUMBER, "" },
    { "cpu-throttle-tailslow", SWITCH, "" },
    { "max-cpu-throttle", NUMBER, "" },
    { "tls-creds", TEXT, "" },
    { "tls-hostname", TEXT, "" },
    { "max-bandwidth", SPEED, " bytes/second" },
    { "downtime-limit", NUMBER, " ms" },
    { "x-checkpoint-delay", NUMBER, " ms" },
    { "block-incremental", SWITCH, "" },
    { "multifd-channels", NUMBER, "" },
    { "multifd-compression", TEXT, NULL },
    { "xbzrle-cache-size", SIZE, " bytes" },
    { "max-postcopy-bandwidth", SIZE, "" },
    { "tls-authz", TEXT, "" },
    { "bitmaps-dropped", TEXT, NULL },
};

/* NULL with an error. */
static struct json_object *parse_value(Kind kind, const char *name,
                                       const char *value, Error **errp)
{
    uint64_t number;
    int64_t bytes;

    switch (kind) {
    case NUMBER:
        if (!parse_uint64(value, &number, NULL)) {
            error_setg(errp, "Parameter '%s' expects a number", name);
            return NULL;
        }
        return json_object_new_uint64(number);
    case SPEED: /* a bare number is in MiB */
    case SIZE:
        if (!parse_size(value, kind == SPEED ? 'M' : 'B', &bytes, NULL)) {
            error_setg(errp, "Invalid size %s", value);
            return NULL;
        }
        return json_object_new_int64(bytes);
    case SWITCH:
        if (strcmp(value, "on") && strcmp(value, "off")) {
            error_setg(errp, "Parameter '%s' expects 'on' or 'off'", name);
            return NULL;
        }
        return json_object_new_boolean(!strcmp(value, "on"));
    default:
        return json_object_new_string(value);
    }
}

bool hmp_migrate_set_parameter(HmpCall *call, Error **errp)
{
    const char *name = hmp_str(call, "parameter");
    const char *value = hmp_str(call, "value");
    struct json_object *args, *json;

    if (!strcmp(name, "block-bitmap-mapping")) {
        error_setg(errp, "The block-bitmap-mapping parameter can only be set "
                   "through QMP");
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(parameters); i++) {
        if (!strcmp(parameters[i].name, name)) {
            json = parse_value(parameters[i].kind, name, value, errp);
            if (!json) {
                return false;
            }
            args = json_object_new_object();
            json_object_object_add(args, name, json);
            return hmp_qmp_do("migrate-set-parameters", args, errp);
        }
    }
    error_setg(errp, "invalid parameter value: %s", name);
    return false;
}

bool hmp_info_migrate_capabilities(HmpCall *call, Error **errp)
{
    struct json_object *list =
        hmp_qmp("query-migrate-capabilities", NULL, errp);

    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        struct json_object *one = json_object_array_get_idx(list, i);
        struct json_object *name = json_object_object_get(one, "capability");
        struct json_object *state = json_object_object_get(one, "state");

        hmp_print(call, "%s: %s\n", json_object_get_string(name),
                  json_object_get_boolean(state) ? "on" : "off");
    }
    json_object_put(list);
    return list != NULL;
}

bool hmp_info_migrate_parameters(HmpCall *call, Error **errp)
{
    struct json_object *all = hmp_qmp("query-migrate-parameters", NULL, errp);

    for (size_t i = 0; all && i < ARRAY_SIZE(parameters); i++) {
        struct json_object *value =
            json_object_object_get(all, parameters[i].name);
        const char *quote = parameters[i].kind == TEXT &&
                            parameters[i].unit ? "'" : "";

        hmp_print(call, "%s: %s%s%s%s\n", parameters[i].name, quote,
                  parameters[i].kind == SWITCH
                      ? (json_object_get_boolean(value) ? "on" : "off")
                      : json_object_get_string(value),
                  quote, parameters[i].unit ?: "");
    }
    json_object_put(all);
    return all != NULL;
}

/* --- info migrate --- */

/* What is the same in every machine: scripts look for these lines. */
static void print_globals(HmpCall *call)
{
    hmp_print(call, "globals:\n"
              "store-global-state: on\n"
              "only-migratable: off\n"
              "send-configuration: on\n"
              "send-section-footer: on\n"
              "decompress-error-check: on\n"
              "clear-bitmap-shift: 18\n");
}

static void print_line(HmpCall *call, struct json_object *info,
                       const char *member, const char *title, int divide,
                       const char *unit)
{
    struct json_object *value;

    if (json_object_object_get_ex(info, member, &value)) {
        hmp_print(call, "%s: %" PRId64 "%s\n", title,
                  json_object_get_int64(value) / divide, unit);
    }
}

static void print_stats(HmpCall *call, struct json_object *ram)
{
    print_line(call, ram, "transferred", "transferred ram", KiB, " kbytes");
    hmp_print(call, "throughput: %0.2f mbps\n",
              json_object_get_double(json_object_object_get(ram, "mbps")));
    print_line(call, ram, "remaining", "remaining ram", KiB, " kbytes");
    print_line(call, ram, "total", "total ram", KiB, " kbytes");
    print_line(call, ram, "duplicate", "duplicate", 1, " pages");
    print_line(call, ram, "skipped", "skipped", 1, " pages");
    print_line(call, ram, "normal", "normal", 1, " pages");
    print_line(call, ram, "normal-bytes", "normal bytes", KiB, " kbytes");
    print_line(call, ram, "dirty-sync-count", "dirty sync count", 1, "");
    print_line(call, ram, "page-size", "page size", KiB, " kbytes");
    print_line(call, ram, "multifd-bytes", "multifd bytes", KiB, " kbytes");
    print_line(call, ram, "pages-per-second", "pages-per-second", 1, "");
}

/* Where a destination waits. */
static void print_addresses(HmpCall *call, struct json_object *list)
{
    hmp_print(call, "socket address: [\n");
    for (size_t i = 0; i < json_object_array_length(list); i++) {
        struct json_object *one = json_object_array_get_idx(list, i), *value;
        const char *type =
            json_object_get_string(json_object_object_get(one, "type"));

        if (json_object_object_get_ex(one, "path", &value)) {
            hmp_print(call, "\tunix:%s\n", json_object_get_string(value));
        } else if (json_object_object_get_ex(one, "host", &value)) {
            hmp_print(call, "\ttcp:%s:%s\n", json_object_get_string(value),
                      json_object_get_string(
                          json_object_object_get(one, "port")));
        } else {
            hmp_print(call, "\t%s\n", type);
        }
    }
    hmp_print(call, "]\n");
}

bool hmp_info_migrate(HmpCall *call, Error **errp)
{
    struct json_object *info = hmp_qmp("query-migrate", NULL, errp), *value;

    if (info) {
        print_globals(call);
    }
    if (json_object_object_get_ex(info, "status", &value)) {
        hmp_print(call, "Migration status: %s",
                  json_object_get_string(value));
        if (json_object_object_get_ex(info, "error-desc", &value)) {
            hmp_print(call, " (%s)", json_object_get_string(value));
        }
        /* A line of every migration: 0 where nothing is known. */
        value = json_object_object_get(info, "total-time");
        hmp_print(call, "\ntotal time: %" PRId64 " ms\n",
                  json_object_get_int64(value));
    }
    print_line(call, info, "expected-downtime", "expected downtime", 1, " ms");
    print_line(call, info, "downtime", "downtime", 1, " ms");
    print_line(call, info, "setup-time", "setup", 1, " ms");
    if (json_object_object_get_ex(info, "ram", &value)) {
        print_stats(call, value);
    }
    if (json_object_object_get_ex(info, "socket-address", &value)) {
        print_addresses(call, value);
    }
    json_object_put(info);
    return info != NULL;
}
