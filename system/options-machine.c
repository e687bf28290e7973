/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options that describe the machine and the process.  Options without effect on
 * a machine without processors and memory are checked nevertheless: an invalid
 * command line is refused.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "machine.h"
#include "options.h"
#include "qapi/keyval.h"
#include "qapi/qapi-commands-system.h"
#include "qemu/cutils.h"
#include "runstate.h"

/* --- -machine, -accel, -cpu --- */

static const OptParam *find_param(const OptGroup *group, const char *name)
{
    for (const OptParam *p = group->params; p->name; p++) {
        if (!strcmp(p->name, name)) {
            return p;
        }
    }
    return NULL;
}

static bool take_machine_property(const OptionCall *call, const char *key,
                                  const char *value, Error **errp)
{
    const OptParam *param = find_param(&machine_opt_group, key);

    if (!strcmp(key, "type")) {
        return machine_set_type(value, errp);
    }
    if (!strcmp(key, "accel")) {
        g_free(call->options->machine_accel);
        call->options->machine_accel = g_strdup(value);
        return true;
    }
    /* Properties of boards are not listed, but accepted. */
    if (!param && strcmp(key, "memory-backend") && strcmp(key, "graphics") &&
        strcmp(key, "smm") && strcmp(key, "hpet") && strcmp(key, "vmport") &&
        strcmp(key, "gic-version")) {
        error_setg(errp, "Property '%s-machine.%s' not found", machine_type(),
                   key);
        return false;
    }
    return !param || optgroup_check(&machine_opt_group, key, value, errp);
}

bool option_machine(const OptionCall *call, Error **errp)
{
    struct json_object *obj = keyval_parse(call->value, "type", NULL, errp);
    bool ok = true;

    if (!obj) {
        return false;
    }
    option_no_location();
    json_object_object_foreach(obj, key, value) {
        ok = ok && take_machine_property(call, key,
                                         json_object_get_string(value), errp);
    }
    json_object_put(obj);
    return ok;
}

bool option_accel(const OptionCall *call, Error **errp)
{
    g_autofree char *name = g_strndup(call->value,
                                      strcspn(call->value, ","));
    g_autofree char *before = call->options->accel;

    if (!*name || !strcmp(name, "help") || !strcmp(name, "?")) {
        printf("Accelerators supported in QEMU binary:\nqtest\n");
        exit(EXIT_SUCCESS);
    }
    call->options->accel = before ? g_strconcat(before, ":", name, NULL)
                                  : g_strdup(name);
    return true;
}

bool option_enable_kvm(const OptionCall *call, Error **errp)
{
    OptionCall accel = *call;

    accel.value = "kvm";
    return option_accel(&accel, errp);
}

/* Is it the name of an accelerator?  There is nothing to speed up. */
static bool accelerator_known(const char *name)
{
    static const char *const others[] = {
        "kvm", "tcg", "hax", "hvf", "nvmm", "whpx", "xen",
    };

    if (!strcmp(name, "qtest")) {
        return true;
    }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (!strcmp(name, others[i])) {
            warn_report("accelerator %s has no effect: this machine has no "
                        "processors", name);
            return true;
        }
    }
    return false;
}

bool accelerators_settle(const SystemOptions *options)
{
    const char *list = options->accel ?: options->machine_accel;
    g_auto(GStrv) names = g_strsplit(list ?: "qtest", ":", -1);

    if (options->accel && options->machine_accel) {
        error_report("The -accel and \"-machine accel=\" options are "
                     "incompatible");
        return false;
    }
    for (char **name = names; *name; name++) {
        if (accelerator_known(*name)) {
            return true;
        }
        error_set_location(g_strdup_printf(" -%s%s", options->accel ?
                                           "accel " : "machine accel=",
                                           *name));
        error_report("invalid accelerator %s", *name);
        g_free(error_set_location(NULL));
    }
    return false;
}

bool option_cpu(const OptionCall *call, Error **errp)
{
    if (!strcmp(call->value, "help") || !strcmp(call->value, "?")) {
        printf("Available CPUs:\n");
        exit(EXIT_SUCCESS);
    }
    return true;
}

/* --- names --- */

bool option_name(const OptionCall *call, Error **errp)
{
    const char *name = opt_get(call->opts, "guest");

    if (name) {
        machine_set_name(name);
        g_free(call->options->guest_name);
        call->options->guest_name = g_strdup(name);
    }
    return true;
}

bool option_msg(const OptionCall *call, Error **errp)
{
    SystemOptions *options = call->options;

    options->show_time = opt_get_bool(call->opts, "timestamp",
                                      options->show_time);
    options->show_guest_name = opt_get_bool(call->opts, "guest-name",
                                            options->show_guest_name);
    return true;
}

/* --- memory and processors, which do not exist --- */

bool option_memory(const OptionCall *call, Error **errp)
{
    const char *size = opt_get(call->opts, "size");
    const char *max = opt_get(call->opts, "maxmem");
    int64_t bytes = 128 * MiB, max_bytes = 0;

    option_no_location();
    if (size) {
        parse_size(size, 'M', &bytes, NULL);
    }
    if (max) {
        parse_size(max, 'b', &max_bytes, NULL);
    }
    if (max && max_bytes < bytes) {
        error_setg(errp, "invalid value of maxmem: maximum memory size "
                   "(0x%" PRIx64 ") must be at least the initial memory size "
                   "(0x%" PRIx64 ")", max_bytes, bytes);
        return false;
    }
    if (!max && opt_get_number(call->opts, "slots", 0)) {
        error_setg(errp, "slots specified but no max-size");
        return false;
    }
    return true;
}

/* Checks members that are numbers; @what: "smp". */
static bool check_numbers(const OptGroup *group, const char *what,
                          struct json_object *obj, Error **errp)
{
    json_object_object_foreach(obj, key, value) {
        int64_t number;

        if (!find_param(group, key)) {
            error_setg(errp, "Parameter '%s.%s' is unexpected", what, key);
            return false;
        }
        if (!parse_int64(json_object_get_string(value), &number, NULL)) {
            error_setg(errp, "Parameter '%s.%s' expects integer", what, key);
            return false;
        }
    }
    return true;
}

static void warn_of_zeroes(struct json_object *obj)
{
    json_object_object_foreach(obj, key, value) {
        if (*key && !json_object_get_int64(value)) {
            warn_report("Deprecated CPU topology (considered invalid): CPU "
                        "topology parameters must be greater than zero");
            return;
        }
    }
}

bool option_smp(const OptionCall *call, Error **errp)
{
    struct json_object *obj = keyval_parse(call->value, "cpus", NULL, errp);
    bool ok;

    if (!obj) {
        return false;
    }
    option_no_location();
    ok = check_numbers(&smp_opt_group, "smp", obj, errp);
    if (ok) {
        warn_of_zeroes(obj);
    }
    json_object_put(obj);
    return ok;
}

/* --- -boot, -rtc --- */

static bool check_boot_devices(const char *devices, Error **errp)
{
    for (const char *d = devices; *d; d++) {
        if (*d < 'a' || *d > 'p') {
            error_setg(errp, "Invalid boot device '%c'", *d);
            return false;
        }
        if (memchr(devices, *d, d - devices)) {
            error_setg(errp, "Boot device '%c' was given twice", *d);
            return false;
        }
    }
    return true;
}

static bool check_boot(const char *key, const char *value, Error **errp)
{
    const OptParam *param = find_param(&boot_opt_group, key);
    int64_t number;
    bool flag;

    if (!param) {
        error_setg(errp, "Parameter 'boot.%s' is unexpected", key);
        return false;
    }
    if (!strcmp(key, "order") || !strcmp(key, "once")) {
        return check_boot_devices(value, errp);
    }
    if (param->type == OPT_BOOL && !parse_bool(key, value, &flag, NULL)) {
        error_setg(errp, "Parameter 'boot.%s' expects 'on' or 'off'", key);
        return false;
    }
    if ((!strcmp(key, "splash-time") || !strcmp(key, "reboot-timeout")) &&
        !parse_int64(value, &number, NULL)) {
        error_setg(errp, "Parameter 'boot.%s' expects integer", key);
        return false;
    }
    if (!strcmp(key, "reboot-timeout") && (number < -1 || number > 65535)) {
        error_setg(errp, "reboot timeout is invalid,it should be a value "
                   "between -1 and 65535");
        return false;
    }
    return true;
}

bool option_boot(const OptionCall *call, Error **errp)
{
    struct json_object *obj = keyval_parse(call->value, "order", NULL, errp);
    bool ok = true;

    if (!obj) {
        return false;
    }
    option_no_location();
    json_object_object_foreach(obj, key, value) {
        ok = ok && check_boot(key, json_object_get_string(value), errp);
    }
    json_object_put(obj);
    return ok;
}

bool option_rtc(const OptionCall *call, Error **errp)
{
    static const char *const clocks[] = { "host", "rt", "vm", NULL };
    static const char *const fixes[] = { "slew", "none", NULL };
    static const char date[] =
        "^(utc|localtime|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}"
        "(T[0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}.*)?)$";
    const char *base = opt_get(call->opts, "base");
    const char *clock = opt_get(call->opts, "clock");
    const char *fix = opt_get(call->opts, "driftfix");

    option_no_location();
    if (base && !g_regex_match_simple(date, base, 0, 0)) {
        error_setg(errp, "invalid datetime format");
        error_append_hint(errp, "valid formats: '2006-06-17T16:01:21' or "
                          "'2006-06-17'\n");
        return false;
    }
    if (clock && !g_strv_contains(clocks, clock)) {
        error_setg(errp, "invalid option value '%s'", clock);
        return false;
    }
    if (fix && !g_strv_contains(fixes, fix)) {
        error_setg(errp, "invalid option value '%s'", fix);
        return false;
    }
    return true;
}

/* --- actions on events --- */

static bool parse_action(struct json_object *opts, const char *key,
                         int (*parse)(const char *, Error **), int *value,
                         Error **errp)
{
    const char *text = opt_get(opts, key);

    *value = text ? parse(text, NULL) : -1;
    if (text && *value < 0) {
        error_setg(errp, "Parameter '%s' does not accept value '%s'", key,
                   text);
        return false;
    }
    return true;
}

bool option_action(const OptionCall *call, Error **errp)
{
    int reboot, shutdown, other;

    if (!parse_action(call->opts, "reboot", RebootAction_parse, &reboot,
                      errp) ||
        !parse_action(call->opts, "shutdown", ShutdownAction_parse, &shutdown,
                      errp) ||
        !parse_action(call->opts, "panic", PanicAction_parse, &other, errp) ||
        !parse_action(call->opts, "watchdog", WatchdogAction_parse, &other,
                      errp)) {
        return false;
    }
    runstate_set_actions(reboot < 0 ? NULL : &(RebootAction) { reboot },
                         shutdown < 0 ? NULL : &(ShutdownAction) { shutdown });
    return true;
}

bool option_no_reboot(const OptionCall *call, Error **errp)
{
    runstate_set_actions(&(RebootAction) { REBOOT_ACTION_SHUTDOWN }, NULL);
    return true;
}

bool option_no_shutdown(const OptionCall *call, Error **errp)
{
    runstate_set_actions(NULL, &(ShutdownAction) { SHUTDOWN_ACTION_PAUSE });
    return true;
}

/* --- -sandbox --- */

static bool check_sandbox(struct json_object *opts, Error **errp)
{
    static const struct {
        const char *key;
        const char *values[4];
    } parts[] = {
        { "obsolete", { "allow", "deny" } },
        { "elevateprivileges", { "allow", "deny", "children" } },
        { "spawn", { "allow", "deny" } },
        { "resourcecontrol", { "allow", "deny" } },
    };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        const char *value = opt_get(opts, parts[i].key);

        if (value && !g_strv_contains(parts[i].values, value)) {
            error_setg(errp, "invalid argument for %s", parts[i].key);
            return false;
        }
    }
    return true;
}

/* A sandbox that cannot be provided is refused. */
bool option_sandbox(const OptionCall *call, Error **errp)
{
    if (!opt_get_bool(call->opts, "enable", false)) {
        return true;
    }
    if (!check_sandbox(call->opts, errp)) {
        return false;
    }
    warn_report("system calls are not restricted: there is no sandbox");
    return true;
}

/* --- logs --- */

static const char *const log_items[] = {
    "out_asm", "in_asm", "op", "op_opt", "op_ind", "int", "exec", "cpu", "fpu",
    "mmu", "pcall", "cpu_reset", "ioport", "unimp", "guest_errors", "page",
    "nochain", "plugin", "strace", "tid", "vpu", NULL,
};

/* None of these logs is written. */
bool option_log_items(const OptionCall *call, Error **errp)
{
    g_auto(GStrv) items = g_strsplit(call->value, ",", -1);
    bool known = *items && **items;

    for (char **item = items; *item; item++) {
        if (g_str_has_prefix(*item, "trace:")) {
            option_no_location();
            warn_report("trace event '%s' does not exist", *item + 6);
        } else {
            known &= g_strv_contains(log_items, *item) ||
                     !strcmp(*item, "all");
        }
    }
    if (!known) {
        printf("Log items (comma separated):\n");
        for (int i = 0; log_items[i]; i++) {
            printf("%-15s accepted; never written\n", log_items[i]);
        }
        exit(EXIT_FAILURE);
    }
    return true;
}

/* May contain one %d for the process id. */
bool option_log_file(const OptionCall *call, Error **errp)
{
    const char *percent = strchr(call->value, '%');
    g_autofree char *path = NULL;
    FILE *file;

    option_no_location();
    if (percent && (percent[1] != 'd' || strchr(percent + 1, '%'))) {
        error_setg(errp, "Bad logfile template: %s", call->value);
        return false;
    }
    path = percent ? g_strdup_printf("%.*s%d%s",
                                     (int)(percent - call->value),
                                     call->value, getpid(), percent + 2)
                   : g_strdup(call->value);
    file = fopen(path, "w");
    if (!file) {
        error_setg_errno(errp, errno, "Error opening logfile %s", path);
        return false;
    }
    fclose(file);
    return true;
}

/* --- screens and networks, which do not exist --- */

bool option_display(const OptionCall *call, Error **errp)
{
    static const char *const known[] = {
        "none", "gtk", "sdl", "egl-headless", "curses", "cocoa", "spice-app",
        "dbus", "vnc", NULL,
    };
    struct json_object *obj;
    const char *type;
    bool ok;

    if (!strcmp(call->value, "help") || !strcmp(call->value, "?")) {
        printf("Available display backend types:\nnone\n");
        exit(EXIT_SUCCESS);
    }
    obj = keyval_parse(call->value, "type", NULL, errp);
    if (!obj) {
        return false;
    }
    type = opt_get(obj, "type");
    ok = type && !strcmp(type, "none") && json_object_object_length(obj) == 1;
    if (!type) {
        error_setg(errp, "Parameter 'type' is missing");
    } else if (!g_strv_contains(known, type)) {
        error_setg(errp, "Parameter 'type' does not accept value '%s'", type);
    } else if (strcmp(type, "none")) {
        option_no_location();
        error_setg(errp, "Display '%s' is not available.", type);
    } else if (!ok) {
        json_object_object_foreach(obj, key, value) {
            if (strcmp(key, "type") && value) {
                error_setg(errp, "Parameter '%s' is unexpected", key);
                break;
            }
        }
    }
    json_object_put(obj);
    return ok;
}

bool option_vga(const OptionCall *call, Error **errp)
{
    static const char *const known[] = {
        "none", "std", "cirrus", "vmware", "xenfb", "qxl", "tcx", "cg3",
        "virtio", NULL,
    };

    option_no_location();
    if (!strcmp(call->value, "help")) {
        printf("none                 no graphic card (default)\n");
        exit(EXIT_SUCCESS);
    }
    if (!g_strv_contains(known, call->value)) {
        error_setg(errp, "unknown vga type: %s", call->value);
        return false;
    }
    return true;
}

bool option_only_none(const OptionCall *call, Error **errp)
{
    if (strcmp(call->value, "none")) {
        error_setg(errp, "only 'none' is supported");
        return false;
    }
    return true;
}
