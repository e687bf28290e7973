/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: one table of options.  They are executed by phase, in the
 * order of dependencies, and within a phase in the order they were given.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "blockdev/blockdev.h"
#include "device-model.h"
#include "device.h"
#include "drive.h"
#include "machine.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "options.h"
#include "qtest.h"
#include "storage-daemon/program.h"

static void G_GNUC_NORETURN print_help(void);

/* --- flags and other short options --- */

static bool option_help(const OptionCall *call, Error **errp)
{
    print_help();
}

static bool option_version(const OptionCall *call, Error **errp)
{
    printf("QEMU emulator version %d.%d.%d (%s)\n"
           "A machine without processors, for tests\n", TIDEMARK_QEMU_MAJOR,
           TIDEMARK_QEMU_MINOR, TIDEMARK_QEMU_MICRO, TIDEMARK_PACKAGE);
    exit(EXIT_SUCCESS);
}

static bool option_stopped(const OptionCall *call, Error **errp)
{
    call->options->stopped = true;
    return true;
}

static bool option_daemonize(const OptionCall *call, Error **errp)
{
    call->options->daemonize = true;
    return true;
}

static bool option_no_defaults(const OptionCall *call, Error **errp)
{
    call->options->no_defaults = true;
    return true;
}

static bool option_nographic(const OptionCall *call, Error **errp)
{
    call->options->nographic = true;
    return true;
}

static bool option_snapshot(const OptionCall *call, Error **errp)
{
    drive_snapshot_all();
    return true;
}

static bool option_pidfile(const OptionCall *call, Error **errp)
{
    g_free(call->options->pidfile);
    call->options->pidfile =
        *call->value ? g_canonicalize_filename(call->value, NULL)
                     : g_strdup("");
    return true;
}

static bool option_uuid(const OptionCall *call, Error **errp)
{
    return machine_set_uuid(call->value, errp);
}

static bool option_trace(const OptionCall *call, Error **errp)
{
    return program_trace(call->value, errp);
}

static bool option_qtest_log(const OptionCall *call, Error **errp)
{
    return !strcmp(call->value, "none") || qtest_set_log(call->value, errp);
}

/* Options of other implementations that are not supported. */
static bool option_missing(const OptionCall *call, Error **errp)
{
    error_setg(errp, "this option is not supported");
    return false;
}

/* --- the table --- */

static const SystemOption option_table[] = {
    { "help", NULL, "show this text and exit", PHASE_NONE, option_help },
    { "h", NULL, NULL, PHASE_NONE, option_help },
    { "version", NULL, "show the version and exit", PHASE_NONE,
      option_version },
    { "machine", "[type=]NAME[,accel=NAME]",
      "choose the machine; help lists them", PHASE_EARLY, option_machine },
    { "M", "NAME", NULL, PHASE_EARLY, option_machine },
    { "accel", "NAME", "accepted; there are no processors to speed up",
      PHASE_NONE, option_accel },
    { "enable-kvm", NULL, "the same as -accel kvm", PHASE_NONE,
      option_enable_kvm },
    { "cpu", "MODEL", NULL, PHASE_NONE, option_cpu },
    { "name", "NAME", "name the machine", PHASE_EARLY, option_name,
      &name_opt_group },
    { "uuid", "UUID", "its UUID", PHASE_NONE, option_uuid },
    { "m", "[size=]SIZE", "accepted; there is no memory", PHASE_EARLY,
      option_memory, &memory_opt_group },
    { "smp", "[cpus=]N", "accepted; there are no processors", PHASE_EARLY,
      option_smp },
    { "S", NULL, "do not run before `cont`", PHASE_NONE, option_stopped },
    { "object", "TYPE,id=ID[,PROPERTY=VALUE...]",
      "create an object; help lists the types", PHASE_OBJECT, option_object },
    { "chardev", "socket|stdio|file|pipe|pty|serial|null|vc,id=ID[,...]",
      "add a character device, for a monitor", PHASE_CHARDEV, option_chardev,
      &chardev_opt_group },
    { "mon", "[chardev=]ID[,mode=readline|control][,pretty=on|off]",
      "a monitor on a character device", PHASE_MONITOR, option_mon,
      &mon_opt_group },
    { "qmp", "DEV", "a QMP monitor", PHASE_MONITOR, option_qmp },
    { "qmp-pretty", "DEV", "the same, indented", PHASE_MONITOR,
      option_qmp_pretty },
    { "monitor", "DEV", "a human monitor", PHASE_MONITOR,
      option_monitor },
    { "qtest", "DEV", "serve the qtest protocol (clock, no memory)",
      PHASE_MONITOR, option_qtest },
    { "qtest-log", "FILE", "log its messages", PHASE_EARLY,
      option_qtest_log },
    { "serial", "DEV", "a serial line without a device",
      PHASE_MONITOR, option_line },
    { "parallel", "DEV", NULL, PHASE_MONITOR, option_line },
    { "blockdev", "[driver=]DRIVER,node-name=NAME[,...]",
      "add a node, like blockdev-add", PHASE_BLOCKDEV, option_blockdev },
    { "drive", "[file=FILE][,if=TYPE][,id=ID][,format=F][,...]",
      "add a drive", PHASE_DRIVE, option_drive },
    { "hda", "FILE", "a hard disk; likewise -hdb, -hdc, -hdd", PHASE_DRIVE,
      option_disk },
    { "hdb", "FILE", NULL, PHASE_DRIVE, option_disk },
    { "hdc", "FILE", NULL, PHASE_DRIVE, option_disk },
    { "hdd", "FILE", NULL, PHASE_DRIVE, option_disk },
    { "cdrom", "FILE", "a CD", PHASE_DRIVE, option_disk },
    { "fda", "FILE", "a floppy disk; likewise -fdb", PHASE_DRIVE,
      option_disk },
    { "fdb", "FILE", NULL, PHASE_DRIVE, option_disk },
    { "pflash", "FILE", NULL, PHASE_DRIVE, option_disk },
    { "sd", "FILE", NULL, PHASE_DRIVE, option_disk },
    { "mtdblock", "FILE", NULL, PHASE_DRIVE, option_disk },
    { "snapshot", NULL, "writes of all drives go into temporary files",
      PHASE_NONE, option_snapshot },
    { "device", "DRIVER[,PROPERTY=VALUE...]",
      "add a device; help lists them, DRIVER,help its properties",
      PHASE_DEVICE, option_device },
    { "global", "DRIVER.PROPERTY=VALUE",
      "the default of a property", PHASE_NONE,
      option_global },
    { "set", "GROUP.ID.PARAMETER=VALUE",
      "change a parameter of an earlier option", PHASE_NONE,
      option_set },
    { "add-fd", "fd=FD,set=SET[,opaque=TEXT]",
      "put an inherited descriptor into /dev/fdset/SET", PHASE_NONE,
      option_add_fd, &add_fd_opt_group },
    { "readconfig", "FILE", "read options from a file", PHASE_NONE,
      option_readconfig },
    { "loadvm", "NAME", "start from a snapshot of the machine", PHASE_LATE,
      option_loadvm },
    { "incoming", "ADDRESS",
      "wait for the state of another machine, with state inmigrate",
      PHASE_EARLY, option_incoming },
    { "action", "reboot=reset|shutdown,shutdown=poweroff|pause[,...]",
      "the effect of reset and shutdown", PHASE_NONE, option_action,
      &action_opt_group },
    { "no-reboot", NULL, "-action reboot=shutdown", PHASE_NONE,
      option_no_reboot },
    { "no-shutdown", NULL, "-action shutdown=pause", PHASE_NONE,
      option_no_shutdown },
    { "nodefaults", NULL, "accepted: there are none", PHASE_NONE,
      option_no_defaults },
    { "no-user-config", NULL, NULL },
    { "nographic", NULL, "a monitor on standard input", PHASE_NONE,
      option_nographic },
    { "display", "none", "accepted", PHASE_NONE, option_display },
    { "vga", "none", NULL, PHASE_EARLY, option_vga },
    { "vnc", "none", NULL, PHASE_NONE, option_only_none },
    { "net", "none", NULL, PHASE_NONE, option_only_none },
    { "nic", "none", NULL, PHASE_NONE, option_only_none },
    { "boot", "...", NULL, PHASE_EARLY, option_boot },
    { "rtc", "...", NULL, PHASE_EARLY, option_rtc, &rtc_opt_group },
    { "L", "PATH", NULL },
    { "usb", NULL, NULL },
    { "no-acpi", NULL, NULL },
    { "no-hpet", NULL, NULL },
    { "sandbox", "on|off[,...]", "accepted; system calls are not restricted",
      PHASE_EARLY, option_sandbox, &sandbox_opt_group },
    { "msg", "timestamp=on|off[,guest-name=on|off]",
      "what messages begin with", PHASE_NONE, option_msg, &msg_opt_group },
    { "trace", "[[enable=]EVENT][,events=FILE]",
      "taken; there are no events to trace", PHASE_EARLY, option_trace },
    { "d", "ITEMS", "taken; nothing is logged", PHASE_EARLY,
      option_log_items },
    { "D", "FILE", NULL, PHASE_EARLY, option_log_file },
    { "overcommit", "...", NULL, PHASE_NONE, NULL, &overcommit_opt_group },
    { "pidfile", "FILE", "write the process id to a file once all is set up",
      PHASE_NONE, option_pidfile },
    { "daemonize", NULL, "go into the background once all is set up",
      PHASE_NONE, option_daemonize },
    { "netdev", "TYPE,id=ID[,...]",
      "accepted without effect, as are -acpitable, -bios, -fw_cfg, -k, -numa,\n"
      "        -option-rom and -smbios" },
#define INERT(name) { name, "..." }
    INERT("acpitable"), INERT("bios"), INERT("fw_cfg"), INERT("k"),
    INERT("numa"), INERT("option-rom"), INERT("smbios"),
#undef INERT
#define MISSING(name) { name, "...", NULL, PHASE_NONE, option_missing }
    MISSING("append"), MISSING("audiodev"),
    MISSING("chroot"), MISSING("compat"), MISSING("debugcon"),
    MISSING("dtb"), MISSING("dump-vmstate"), MISSING("echr"),
    MISSING("fsdev"), MISSING("g"), MISSING("gdb"),
    MISSING("icount"), MISSING("initrd"), MISSING("iscsi"),
    MISSING("kernel"), MISSING("mem-path"),

    MISSING("plugin"), MISSING("prom-env"), MISSING("runas"),
    MISSING("semihosting-config"), MISSING("spice"),
    MISSING("tpmdev"), MISSING("usbdevice"), MISSING("virtfs"),
#undef MISSING
};

static void print_help(void)
{
    printf("Usage: qemu-system-qtest [options]\n"
           "A machine with block devices, monitors and run state, and without "
           "processors:\nfor tests, and for clients under development.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        const SystemOption *opt = &option_table[i];

        if (opt->help) {
            printf("-%s%s%s\n        %s\n", opt->name, opt->args ? " " : "",
                   opt->args ? opt->args : "", opt->help);
        }
    }
    exit(EXIT_SUCCESS);
}

const SystemOption *option_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        if (!strcmp(option_table[i].name, name)) {
            return &option_table[i];
        }
    }
    return NULL;
}

/* --- execution --- */

void option_no_location(void)
{
    g_free(error_set_location(NULL));
}

/* Reports what fails. */
static bool run_step(SystemOptions *options, SystemStep *step)
{
    const SystemOption *option = step->option;
    OptionCall call = {
        .options = options, .option = option, .value = step->value,
        .opts = step->opts,
    };
    Error *err = NULL;
    bool ok;

    error_set_location(option->args
                       ? g_strdup_printf(" -%s %s", option->name, step->shown)
                       : g_strdup_printf(" -%s", option->name));
    if (option->group && !step->opts) {
        step->opts = optgroup_parse(option->group, step->value, &err);
        call.opts = step->opts;
    }
    ok = !err && (option->phase != call.options->phase || !option->run ||
                  option->run(&call, &err));
    if (!ok) {
        error_report_err(err);
    }
    option_no_location();
    return ok;
}

/* Requests for help end the program at once. */
static void answer_question(const char *option, const char *value)
{
    bool help = !strcmp(value, "help") || !strcmp(value, "?");

    if (!strcmp(option, "machine") || !strcmp(option, "M")) {
        if (help) {
            machine_print_help();
            exit(EXIT_SUCCESS);
        }
    } else if (!strcmp(option, "chardev") && help) {
        chardev_print_help(false);
        exit(EXIT_SUCCESS);
    } else if (!strcmp(option, "object") && blockdev_object_help(value)) {
        exit(EXIT_SUCCESS);
    } else if (!strcmp(option, "device") && device_print_help(value)) {
        exit(EXIT_SUCCESS);
    }
}

void option_take(SystemOptions *options, const SystemOption *option,
                 const char *value)
{
    SystemStep step = {
        .option = option, .shown = g_strdup(value), .value = g_strdup(value),
    };
    char *before = error_set_location(NULL);

    answer_question(option->name, value);
    options->monitor_given |= option->run == option_monitor ||
                              option->run == option_mon ||
                              option->run == option_qmp ||
                              option->run == option_qmp_pretty;
    if (option->run == option_qtest) {
        qtest_hold_clock(); /* before the clock is read */
    }
    if (!run_step(options, &step)) {
        exit(EXIT_FAILURE);
    }
    g_array_append_val(options->steps, step);
    g_free(error_set_location(before));
}

static void take_arguments(SystemOptions *options, int argc, char **argv)
{
    for (int pos = 1; pos < argc; pos++) {
        const char *arg = argv[pos];
        const SystemOption *opt;

        if (*arg != '-') {
            option_take(options, option_find("hda"), arg);
            continue;
        }
        opt = option_find(arg + (arg[1] == '-' ? 2 : 1));
        if (!opt) {
            error_report("%s: invalid option", arg);
            exit(EXIT_FAILURE);
        }
        if (opt->args && ++pos >= argc) {
            error_report("%s: requires an argument", arg);
            exit(EXIT_FAILURE);
        }
        option_take(options, opt, opt->args ? argv[pos] : "");
    }
}

static bool run_phase(SystemOptions *options, int phase)
{
    options->phase = phase;
    for (guint i = 0; i < options->steps->len; i++) {
        SystemStep *step = &g_array_index(options->steps, SystemStep, i);

        if (step->option->phase == phase && !run_step(options, step)) {
            return false;
        }
    }
    return true;
}

/* The descriptors of -add-fd have been duplicated into their sets. */
static void close_given_fds(SystemOptions *options)
{
    for (guint i = 0; options->given_fds && i < options->given_fds->len; i++) {
        close(g_array_index(options->given_fds, int, i));
    }
}

void system_options_parse(SystemOptions *options, int argc, char **argv)
{
    options->steps = g_array_new(false, false, sizeof(SystemStep));
    options->phase = PHASE_NONE;
    take_arguments(options, argc, argv);
    close_given_fds(options);
    if (!run_phase(options, PHASE_EARLY) || !accelerators_settle(options)) {
        exit(EXIT_FAILURE);
    }
    error_set_prefix(options->show_time, options->show_guest_name
                                             ? options->guest_name : NULL);
}

static bool add_drive_devices(void)
{
    Error *err = NULL;

    if (!device_add_for_drives(&err)) {
        error_report_err(err);
        return false;
    }
    return true;
}

static bool add_default_monitor(SystemOptions *options)
{
    SystemStep step = {
        .option = option_find("monitor"), .shown = "stdio", .value = "stdio",
    };

    if (!options->nographic || options->no_defaults || options->daemonize ||
        options->monitor_given) {
        return true;
    }
    options->phase = step.option->phase;
    return run_step(options, &step);
}

bool system_options_run(SystemOptions *options)
{
    for (int phase = PHASE_OBJECT; phase < PHASE__MAX; phase++) {
        if (!run_phase(options, phase) ||
            (phase == PHASE_DEVICE && !add_drive_devices())) {
            return false;
        }
    }
    return add_default_monitor(options);
}

void system_options_free(SystemOptions *options)
{
    for (guint i = 0; i < options->steps->len; i++) {
        SystemStep *step = &g_array_index(options->steps, SystemStep, i);

        g_free(step->shown);
        g_free(step->value);
        json_object_put(step->opts);
    }
    g_array_unref(options->steps);
    if (options->given_fds) {
        g_array_unref(options->given_fds);
    }
    settings_cleanup();
    error_set_prefix(false, NULL);
    g_free(options->guest_name);
    g_free(options->accel);
    g_free(options->machine_accel);
    g_free(options->pidfile);
}
