/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands for the machine, devices, objects, jobs and the NBD server. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/block-backend.h"
#include "device-model.h"
#include "device.h"
#include "hmp.h"
#include "machine.h"
#include "qapi/keyval.h"

/*
 * Code shared with the tools prints on stdout; here its output is added to the
 * answer.  There is no other output meanwhile, as only this thread prints.
 */
void hmp_print_stdout_of(HmpCall *call, void (*fn)(const void *),
                         const void *opaque)
{
    FILE *before = stdout;
    char *text = NULL;
    size_t len;
    FILE *stream = open_memstream(&text, &len);

    if (!stream) {
        return;
    }
    stdout = stream;
    fn(opaque);
    stdout = before;
    fclose(stream);
    hmp_print(call, "%s", text);
    free(text);
}

static struct json_object *with_string(struct json_object *args,
                                       const char *key, const char *value)
{
    if (!args) {
        args = json_object_new_object();
    }
    json_object_object_add(args, key, json_object_new_string(value));
    return args;
}

/* --- the machine --- */

bool hmp_stop(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("stop", NULL, errp);
}

bool hmp_cont(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("cont", NULL, errp);
}

bool hmp_system_reset(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("system_reset", NULL, errp);
}

bool hmp_quit(HmpCall *call, Error **errp)
{
    hmp_end_session(call);
    return hmp_qmp_do("quit", NULL, errp);
}

/* --- devices and objects --- */

static void print_device_help(const void *opaque)
{
    device_print_help(opaque);
}

static bool asks_for_help(const char *options)
{
    g_auto(GStrv) parts = g_strsplit(options, ",", -1);

    return g_strv_contains((const char *const *)parts, "help") ||
           g_strv_contains((const char *const *)parts, "?");
}

bool hmp_device_add(HmpCall *call, Error **errp)
{
    const char *options = hmp_str(call, "device") ?: "";

    if (asks_for_help(options)) {
        hmp_print_stdout_of(call, print_device_help, options);
        return true;
    }
    return device_add_text(options, errp);
}

bool hmp_device_del(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("device_del",
                      with_string(NULL, "id", hmp_str(call, "id")), errp);
}

bool hmp_object_add(HmpCall *call, Error **errp)
{
    QapiInputMode mode;
    struct json_object *options;
    bool ok;

    options = keyval_parse_or_json(hmp_str(call, "object"), "qom-type", &mode,
                                   errp);
    if (!options) {
        return false;
    }
    ok = system_object_add(options, mode, errp);
    json_object_put(options);
    return ok;
}

bool hmp_object_del(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("object-del",
                      with_string(NULL, "id", hmp_str(call, "id")), errp);
}

/* --- jobs --- */

static bool job_command(HmpCall *call, const char *command,
                        struct json_object *args, Error **errp)
{
    return hmp_qmp_do(command,
                      with_string(args, "device", hmp_str(call, "device")),
                      errp);
}

bool hmp_job_set_speed(HmpCall *call, Error **errp)
{
    struct json_object *args = json_object_new_object();

    json_object_object_add(args, "speed",
                           json_object_new_int64(hmp_int(call, "speed")));
    return job_command(call, "block-job-set-speed", args, errp);
}

bool hmp_job_cancel(HmpCall *call, Error **errp)
{
    struct json_object *args = json_object_new_object();

    json_object_object_add(args, "force",
                           json_object_new_boolean(hmp_flag(call, "force")));
    return job_command(call, "block-job-cancel", args, errp);
}

bool hmp_job_complete(HmpCall *call, Error **errp)
{
    return job_command(call, "block-job-complete", NULL, errp);
}

bool hmp_job_pause(HmpCall *call, Error **errp)
{
    return job_command(call, "block-job-pause", NULL, errp);
}

bool hmp_job_resume(HmpCall *call, Error **errp)
{
    return job_command(call, "block-job-resume", NULL, errp);
}

/* --- the NBD server --- */

static struct json_object *unix_address(const char *path, Error **errp)
{
    if (!*path) {
        error_setg(errp, "invalid Unix socket address");
        return NULL;
    }
    return with_string(NULL, "path", path);
}

/* HOST:PORT or [ADDRESS]:PORT, the host may be empty. */
static struct json_object *inet_address(const char *text, Error **errp)
{
    const char *colon = strrchr(text, ':');
    bool bracketed = *text == '[' && colon && colon > text + 1 &&
                     colon[-1] == ']';
    g_autofree char *host = NULL;

    if (!colon || !colon[1] || strpbrk(colon, ",]") ||
        (!bracketed && strchr(text, ':') != colon)) {
        error_setg(errp, "error parsing address '%s'", text);
        return NULL;
    }
    host = g_strndup(text + bracketed, colon - text - 2 * bracketed);
    return with_string(with_string(NULL, "host", host), "port", colon + 1);
}

/* The address as for nbd-server-start. */
static struct json_object *server_address(const char *text, Error **errp)
{
    bool is_unix = g_str_has_prefix(text, "unix:");
    struct json_object *data, *addr, *args;

    data = is_unix ? unix_address(text + 5, errp) : inet_address(text, errp);
    if (!data) {
        return NULL;
    }
    addr = with_string(NULL, "type", is_unix ? "unix" : "inet");
    json_object_object_add(addr, "data", data);
    args = json_object_new_object();
    json_object_object_add(args, "addr", addr);
    return args;
}

static bool add_export(const char *device, const char *name, bool writable,
                       Error **errp)
{
    struct json_object *args = with_string(NULL, "device", device);

    if (name) {
        with_string(args, "name", name);
    }
    json_object_object_add(args, "writable",
                           json_object_new_boolean(writable));
    return hmp_qmp_do("nbd-server-add", args, errp);
}

/* All devices that have a name and a medium. */
static bool export_all(bool writable, Error **errp)
{
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        const char *name = blk_name(blk);

        if (name && *name && blk_bs(blk) &&
            !add_export(name, NULL, writable, errp)) {
            return false;
        }
    }
    return true;
}

bool hmp_nbd_server_start(HmpCall *call, Error **errp)
{
    bool all = hmp_flag(call, "all"), writable = hmp_flag(call, "writable");
    struct json_object *args;

    if (writable && !all) {
        error_setg(errp, "-w only valid together with -a");
        return false;
    }
    args = server_address(hmp_str(call, "uri"), errp);
    if (!args || !hmp_qmp_do("nbd-server-start", args, errp)) {
        return false;
    }
    if (all && !export_all(writable, errp)) {
        hmp_qmp_do("nbd-server-stop", NULL, NULL);
        return false;
    }
    return true;
}

bool hmp_nbd_server_add(HmpCall *call, Error **errp)
{
    return add_export(hmp_str(call, "device"), hmp_str(call, "name"),
                      hmp_flag(call, "writable"), errp);
}

bool hmp_nbd_server_remove(HmpCall *call, Error **errp)
{
    struct json_object *args = with_string(NULL, "name",
                                           hmp_str(call, "name"));

    with_string(args, "mode", hmp_flag(call, "force") ? "hard" : "safe");
    return hmp_qmp_do("nbd-server-remove", args, errp);
}

bool hmp_nbd_server_stop(HmpCall *call, Error **errp)
{
    return hmp_qmp_do("nbd-server-stop", NULL, errp);
}
