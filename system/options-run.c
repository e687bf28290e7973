/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options that create something: objects, nodes, drives, devices, monitors. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "blockdev/blockdev.h"
#include "device.h"
#include "drive.h"
#include "machine.h"
#include "migration/migration.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "options.h"
#include "qapi/keyval.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-char.h"
#include "qapi/qapi-types-control.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/cutils.h"
#include "qemu/fdset.h"
#include "qtest.h"
#include "runstate.h"
#include "savevm.h"
#include "storage-daemon/program.h"

/* The message differs from that of object-add. */
static bool is_new_object(struct json_object *json, Error **errp)
{
    const ObjectOptions *object = NULL;
    const char *id = opt_get(json, "id");

    while ((object = blockdev_next_object(object))) {
        if (id && !strcmp(object->id, id)) {
            error_setg(errp, "Duplicate ID '%s' for object", id);
            return false;
        }
    }
    return true;
}

bool option_object(const OptionCall *call, Error **errp)
{
    QapiInputMode mode;
    struct json_object *json =
        keyval_parse_or_json(call->value, "qom-type", &mode, errp);
    bool ok = json && is_new_object(json, errp) &&
              system_object_add(json, mode, errp);

    json_object_put(json);
    return ok;
}

bool option_chardev(const OptionCall *call, Error **errp)
{
    g_autoptr(ChardevOptions) options =
        chardev_options_from(call->opts, errp);

    return options && chardev_add(options, errp);
}

bool option_blockdev(const OptionCall *call, Error **errp)
{
    return program_add_blockdev(call->value, errp);
}

/* --- drives --- */

bool option_drive(const OptionCall *call, Error **errp)
{
    if (drive_print_formats(call->value)) {
        exit(EXIT_SUCCESS);
    }
    return drive_new(call->value, DRIVE_IF_IDE, errp) != NULL;
}

/* -hda FILE and the like: the name of the option implies the drive. */
bool option_disk(const OptionCall *call, Error **errp)
{
    static const struct {
        const char *option, *more;
    } disks[] = {
        { "hda", "index=0,media=disk" }, { "hdb", "index=1,media=disk" },
        { "hdc", "index=2,media=disk" }, { "hdd", "index=3,media=disk" },
        { "cdrom", "index=2,media=cdrom" }, { "fda", "if=floppy,index=0" },
        { "fdb", "if=floppy,index=1" }, { "pflash", "if=pflash" },
        { "sd", "if=sd" }, { "mtdblock", "if=mtd" },
    };
    g_autofree char *escaped = keyval_escape(call->value);
    g_autofree char *text = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(disks); i++) {
        if (!strcmp(disks[i].option, call->option->name)) {
            text = g_strdup_printf("file=%s,%s", escaped, disks[i].more);
        }
    }
    return drive_new(text, DRIVE_IF_IDE, errp) != NULL;
}

bool option_device(const OptionCall *call, Error **errp)
{
    g_autofree char *full = with_globals(call->value);

    return device_add_text(full, errp);
}

/* --- monitors and -qtest --- */

bool option_mon(const OptionCall *call, Error **errp)
{
    MonitorOptions options = {
        .has_mode = true, .mode = MONITOR_MODE_READLINE,
    };
    const char *mode = opt_get(call->opts, "mode");
    const char *chardev = opt_get(call->opts, "chardev");

    if (mode) {
        int parsed = MonitorMode_parse(mode, NULL);

        if (parsed < 0) {
            error_setg(errp, "Parameter 'mode' does not accept value '%s'",
                       mode);
            return false;
        }
        options.mode = parsed;
    }
    if (!chardev) {
        error_setg(errp, "Parameter 'chardev' is missing");
        return false;
    }
    options.chardev = (char *)chardev;
    options.has_pretty = opt_get(call->opts, "pretty") != NULL;
    options.pretty = opt_get_bool(call->opts, "pretty", false);
    return monitor_add(&options, errp);
}

/* The chardev of "chardev:ID", or a new one; returns its id, caller frees. */
static char *short_chardev(const char *value, const char *new_id, Error **errp)
{
    g_autoptr(ChardevOptions) chardev = NULL;

    if (g_str_has_prefix(value, "chardev:")) {
        const char *id = value + strlen("chardev:");

        if (!id_wellformed(id)) {
            error_setg(errp, "Parameter 'id' expects an identifier");
            return NULL;
        }
        return g_strdup(id);
    }
    chardev = chardev_options_parse_compat(value, new_id, errp);
    return chardev && chardev_add(chardev, errp) ? g_strdup(new_id) : NULL;
}

static bool add_monitor(const char *value, MonitorMode mode, bool pretty,
                        Error **errp)
{
    static int count;
    MonitorOptions options = {
        .has_mode = true, .mode = mode, .pretty = pretty,
    };
    g_autofree char *new_id = g_strdup_printf("compat_monitor%d", count++);
    g_autofree char *id = short_chardev(value, new_id, errp);

    options.chardev = id;
    return id && monitor_add(&options, errp);
}

bool option_qmp(const OptionCall *call, Error **errp)
{
    return add_monitor(call->value, MONITOR_MODE_CONTROL, false, errp);
}

bool option_qmp_pretty(const OptionCall *call, Error **errp)
{
    return add_monitor(call->value, MONITOR_MODE_CONTROL, true, errp);
}

bool option_monitor(const OptionCall *call, Error **errp)
{
    return g_str_has_prefix(call->value, "none") ||
           add_monitor(call->value, MONITOR_MODE_READLINE, false, errp);
}

bool option_qtest(const OptionCall *call, Error **errp)
{
    g_autofree char *id = short_chardev(call->value, "qtest", errp);

    return id && qtest_start(id, errp);
}

/*
 * -serial, -parallel: no device is connected, but the chardev is opened; with
 * "mon:" it gets a monitor.
 */
bool option_line(const OptionCall *call, Error **errp)
{
    static int count;
    const char *name = call->option->name;
    g_autofree char *new_id = g_strdup_printf("%s%d", name, count++);
    g_autofree char *id = NULL;
    Error *err = NULL;

    if (!strcmp(call->value, "none")) {
        return true;
    }
    if (g_str_has_prefix(call->value, "mon:")) {
        return add_monitor(call->value, MONITOR_MODE_READLINE, false, errp);
    }
    id = short_chardev(call->value, new_id, &err);
    if (id && chardev_find(id)) {
        return true;
    }
    if (err) {
        /* These errors are reported without the prefix "parse error". */
        if (!g_str_has_prefix(error_get_pretty(err), "parse error: ")) {
            error_report("%s", error_get_pretty(err));
        }
        error_free(err);
    }
    error_setg(errp, "could not connect %s device to character backend '%s'",
               name, call->value);
    return false;
}

/* --- descriptors --- */

static bool may_add_fd(int64_t fd, int64_t set, Error **errp)
{
    int flags;

    if (fd < 0) {
        error_setg(errp, "fd option is required and must be non-negative");
        return false;
    }
    if (fd <= STDERR_FILENO) {
        error_setg(errp, "fd cannot be a standard I/O stream");
        return false;
    }
    /* Our descriptors are closed on exec; inherited ones are not. */
    flags = fd <= INT_MAX ? fcntl(fd, F_GETFD) : -1;
    if (flags < 0 || (flags & FD_CLOEXEC)) {
        error_setg(errp, "fd is not valid or already in use");
        return false;
    }
    if (set < 0) {
        error_setg(errp, "set option is required and must be non-negative");
        return false;
    }
    return true;
}

bool option_add_fd(const OptionCall *call, Error **errp)
{
    int64_t fd = opt_get_number(call->opts, "fd", -1);
    int64_t set = opt_get_number(call->opts, "set", -1);
    int copy;

    if (!may_add_fd(fd, set, errp)) {
        return false;
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0) {
        error_setg_errno(errp, errno, "error duplicating fd");
        return false;
    }
    fdset_add(set, copy, opt_get(call->opts, "opaque"));
    if (!call->options->given_fds) {
        call->options->given_fds = g_array_new(false, false, sizeof(int));
    }
    g_array_append_vals(call->options->given_fds, &(int) { fd }, 1);
    return true;
}

/* --- the state of another machine --- */

bool option_incoming(const OptionCall *call, Error **errp)
{
    if (!migration_expect(call->value, errp)) {
        return false;
    }
    runstate_await_incoming();
    return true;
}

bool option_loadvm(const OptionCall *call, Error **errp)
{
    option_no_location();
    return savevm_load(call->value, NULL, NULL, errp);
}
