/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command line: one table of options.  They are carried out by phase, as
 * things need each other, and within a phase in the order they were written.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "qapi/keyval.h"
#include "qapi/qapi-commands-system.h"
#include "system-int.h"

typedef enum Phase {
    PHASE_NONE,  /* taken when it is read, or needs nothing done */
    PHASE_EARLY,
    PHASE_OBJECT,
    PHASE_CHARDEV,
    PHASE_BLOCKDEV,
    PHASE_DRIVE,
    PHASE_MONITOR,
    PHASE_DEVICE,
    PHASE_LATE,
    PHASE__MAX,
} Phase;

typedef enum OptionKind {
    KIND_RUN,    /* carried out by its function */
    KIND_IGNORE, /* accepted; there is nothing that it could change */
    KIND_HELP,
    KIND_VERSION,
    KIND_STOPPED,
    KIND_DAEMONIZE,
    KIND_PIDFILE,
    KIND_NO_DEFAULTS,
    KIND_NOGRAPHIC,
    KIND_MACHINE,
    KIND_ACCEL,
    KIND_DEVICE,
    KIND_SET,
    KIND_MONITOR,
} OptionKind;

typedef struct SystemOption {
    const char *name;
    OptionKind kind;
    const char *args; /* NULL: a flag */
    const char *help;
    Phase phase;
    bool (*run)(const char *value, Error **errp);
} SystemOption;

/* One option with its value, to be carried out. */
typedef struct SystemStep {
    const SystemOption *option;
    char *value;
} SystemStep;

/* --- what options do --- */

static bool run_object(const char *value, Error **errp)
{
    QapiInputMode mode;
    struct json_object *json;
    bool ok;

    if (!strcmp(value, "help")) {
        printf("List of user creatable objects:\n");
        for (int i = 0; i < OBJECT_TYPE__MAX; i++) {
            printf("  %s\n", ObjectType_str(i));
        }
        exit(EXIT_SUCCESS);
    }
    json = keyval_parse_or_json(value, "qom-type", &mode, errp);
    if (!json) {
        return false;
    }
    ok = system_object_add(json, mode, errp);
    json_object_put(json);
    return ok;
}

static bool run_chardev(const char *value, Error **errp)
{
    g_autoptr(ChardevOptions) options = NULL;
    struct json_object *json = drive_parse(value, errp);
    char *rest = strchr(value, ',') ? strchr(value, ',') : (char *)"";
    g_autofree char *kind = g_strndup(value, strcspn(value, ","));
    g_autofree char *nowait = NULL;

    json_object_put(json);
    if (ChardevKind_parse(kind, NULL) < 0) {
        error_setg(errp, "'%s' is not a valid char driver name", kind);
        return false;
    }
    /* Flags without a value, as in "server,nowait". */
    json = drive_parse(*rest ? rest + 1 : rest, errp);
    if (!json) {
        return false;
    }
    json_object_object_add(json, "backend", json_object_new_string(kind));
    options = qapi_ChardevOptions_from_json(json, QAPI_INPUT_KEYVAL, errp);
    json_object_put(json);
    return options && chardev_add(options, errp);
}

static bool run_blockdev(const char *value, Error **errp)
{
    g_autoptr(BlockdevOptions) options =
        keyval_to_type(value, "driver", &qapi_type_BlockdevOptions, errp);

    return options && qmp_blockdev_add(options, errp);
}

static bool run_drive(const char *value, Error **errp)
{
    return drive_new(value, DRIVE_IF_IDE, errp) != NULL;
}

static bool run_shortcut(const char *file, const char *more, Error **errp)
{
    g_autofree char *escaped = keyval_escape(file);
    g_autofree char *options = g_strdup_printf("file=%s,%s", escaped, more);

    return drive_new(options, DRIVE_IF_IDE, errp) != NULL;
}

static bool run_hda(const char *value, Error **errp)
{
    return run_shortcut(value, "index=0", errp);
}

static bool run_hdb(const char *value, Error **errp)
{
    return run_shortcut(value, "index=1", errp);
}

static bool run_hdc(const char *value, Error **errp)
{
    return run_shortcut(value, "index=2", errp);
}

static bool run_hdd(const char *value, Error **errp)
{
    return run_shortcut(value, "index=3", errp);
}

static bool run_cdrom(const char *value, Error **errp)
{
    return run_shortcut(value, "index=2,media=cdrom", errp);
}

static bool run_fda(const char *value, Error **errp)
{
    return run_shortcut(value, "if=floppy,index=0", errp);
}

static bool run_mon(const char *value, Error **errp)
{
    g_autoptr(MonitorOptions) options =
        keyval_to_type(value, "chardev", &qapi_type_MonitorOptions, errp);

    if (!options) {
        return false;
    }
    if (!options->has_mode) {
        options->has_mode = true;
        options->mode = MONITOR_MODE_READLINE;
    }
    return monitor_add(options, errp);
}

static bool add_monitor(const char *value, MonitorMode mode, bool pretty,
                        Error **errp)
{
    static int count;
    g_autofree char *id = NULL;
    g_autoptr(ChardevOptions) chardev = NULL;
    MonitorOptions options = {
        .has_mode = true, .mode = mode, .pretty = pretty,
    };

    if (!strcmp(value, "none")) {
        return true;
    }
    if (g_str_has_prefix(value, "chardev:")) {
        id = g_strdup(value + strlen("chardev:"));
    } else {
        id = g_strdup_printf("compat_monitor%d", count++);
        chardev = chardev_options_parse(value, id, errp);
        if (!chardev || !chardev_add(chardev, errp)) {
            return false;
        }
    }
    options.chardev = id;
    return monitor_add(&options, errp);
}

static bool run_qmp(const char *value, Error **errp)
{
    return add_monitor(value, MONITOR_MODE_CONTROL, false, errp);
}

static bool run_qmp_pretty(const char *value, Error **errp)
{
    return add_monitor(value, MONITOR_MODE_CONTROL, true, errp);
}

static bool run_monitor(const char *value, Error **errp)
{
    return add_monitor(value, MONITOR_MODE_READLINE, false, errp);
}

static bool run_qtest(const char *value, Error **errp)
{
    g_autoptr(ChardevOptions) chardev = NULL;

    if (g_str_has_prefix(value, "chardev:")) {
        return qtest_start(value + strlen("chardev:"), errp);
    }
    chardev = chardev_options_parse(value, "qtest", errp);
    return chardev && chardev_add(chardev, errp) &&
           qtest_start("qtest", errp);
}

/* Lines of other devices: there is nothing at the other end. */
static bool run_line(const char *value, Error **errp)
{
    if (strcmp(value, "none") && strcmp(value, "null")) {
        error_setg(errp, "only 'none' is supported");
        return false;
    }
    return true;
}

static bool run_smp(const char *value, Error **errp)
{
    if (!g_ascii_isdigit(*value) && !strchr(value, '=')) {
        error_setg(errp, "Parameter 'cpus' expects a number");
        return false;
    }
    return true;
}

static bool run_memory(const char *value, Error **errp)
{
    if (!g_ascii_isdigit(*value) && !g_str_has_prefix(value, "size=")) {
        error_setg(errp, "Parameter 'size' expects a non-negative number "
                   "below 2^64");
        return false;
    }
    return true;
}

static bool run_incoming(const char *value, Error **errp)
{
    static const char *const known[] = { "defer", "tcp:", "unix:", "fd:",
                                         "exec:" };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (g_str_has_prefix(value, known[i])) {
            warn_report("-incoming %s: nothing will be received: migration "
                        "is not supported", value);
            return true;
        }
    }
    error_setg(errp, "unknown migration protocol: %s", value);
    return false;
}

/* --- -global and -set: properties of devices that come later --- */

typedef struct Setting {
    char *group, *id, *key, *value; /* -global: group is the model, id NULL */
} Setting;

static GPtrArray *settings;

static bool add_setting(const char *group, const char *id, const char *key,
                        const char *value)
{
    Setting *s = g_new0(Setting, 1);

    s->group = g_strdup(group);
    s->id = g_strdup(id);
    s->key = g_strdup(key);
    s->value = g_strdup(value);
    if (!settings) {
        settings = g_ptr_array_new();
    }
    g_ptr_array_add(settings, s);
    return true;
}

/* MODEL.PROPERTY=VALUE or driver=MODEL,property=PROPERTY,value=VALUE */
static bool run_global(const char *value, Error **errp)
{
    const char *dot = strchr(value, '.'), *equal = strchr(value, '=');
    g_autofree char *model = NULL, *key = NULL;

    if (!dot || !equal || equal < dot) {
        error_setg(errp, "Parameter 'property' is missing");
        return false;
    }
    model = g_strndup(value, dot - value);
    key = g_strndup(dot + 1, equal - dot - 1);
    if (!device_model_find(model)) {
        warn_report("global %s.%s has invalid class name", model, key);
        return true;
    }
    return add_setting(model, NULL, key, equal + 1);
}

/* GROUP.ID.KEY=VALUE */
static bool take_set(const SystemOptions *options, const char *value,
                     Error **errp)
{
    const char *equal = strchr(value, '=');
    g_autofree char *left = equal ? g_strndup(value, equal - value) : NULL;
    g_auto(GStrv) parts = g_strsplit(left ? left : "", ".", 3);
    g_autofree char *want = NULL;

    if (g_strv_length(parts) != 3) {
        error_setg(errp, "can't parse: \"%s\"", value);
        return false;
    }
    want = g_strdup_printf("id=%s", parts[1]);
    for (guint i = 0; i < options->steps->len; i++) {
        SystemStep *s = &g_array_index(options->steps, SystemStep, i);

        if (!strcmp(s->option->name, parts[0]) && strstr(s->value, want)) {
            g_autofree char *old = s->value;
            g_autofree char *escaped = keyval_escape(equal + 1);

            s->value = g_strdup_printf("%s,%s=%s", old, parts[2], escaped);
            return true;
        }
    }
    error_setg(errp, "there is no %s \"%s\" defined", parts[0], parts[1]);
    return false;
}

static char *with_globals(const char *device)
{
    g_autofree char *model = g_strndup(device, strcspn(device, ","));
    GString *out = g_string_new(device);

    for (guint i = 0; settings && i < settings->len && *device != '{'; i++) {
        Setting *s = g_ptr_array_index(settings, i);
        g_autofree char *given = g_strdup_printf(",%s=", s->key);

        if (device_model_find(s->group) == device_model_find(model) &&
            !strstr(device, given)) {
            g_autofree char *escaped = keyval_escape(s->value);

            g_string_append_printf(out, ",%s=%s", s->key, escaped);
        }
    }
    return g_string_free(out, false);
}

static bool run_device(const char *value, Error **errp)
{
    g_autofree char *full = with_globals(value);

    return device_add_text(full, errp);
}

/* --- the table --- */

static const SystemOption option_table[] = {
    { "help", KIND_HELP, NULL, "show this text and exit" },
    { "h", KIND_HELP, NULL, NULL },
    { "version", KIND_VERSION, NULL, "show the version and exit" },
    { "machine", KIND_MACHINE, "[type=]NAME[,accel=qtest]",
      "choose the machine; help lists them", PHASE_EARLY, machine_set },
    { "M", KIND_MACHINE, "NAME", NULL, PHASE_EARLY, machine_set },
    { "accel", KIND_ACCEL, "qtest", "there are no processors to speed up" },
    { "cpu", KIND_IGNORE, "MODEL", NULL },
    { "name", KIND_RUN, "NAME", "name the machine", PHASE_EARLY,
      machine_set_name },
    { "uuid", KIND_RUN, "UUID", "its UUID", PHASE_EARLY, machine_set_uuid },
    { "m", KIND_RUN, "SIZE", "accepted; there is no memory", PHASE_EARLY,
      run_memory },
    { "smp", KIND_RUN, "N", "accepted; there are no processors", PHASE_EARLY,
      run_smp },
    { "S", KIND_STOPPED, NULL, "do not run before `cont`" },
    { "object", KIND_RUN, "TYPE,id=ID[,PROPERTY=VALUE...]",
      "create an object", PHASE_OBJECT, run_object },
    { "chardev", KIND_RUN, "socket|stdio|file|pipe|null,id=ID[,...]",
      "add a character device, for a monitor", PHASE_CHARDEV, run_chardev },
    { "mon", KIND_RUN, "[chardev=]ID[,mode=readline|control][,pretty=on|off]",
      "a monitor on a character device", PHASE_MONITOR, run_mon },
    { "qmp", KIND_RUN, "DEV", "a QMP monitor", PHASE_MONITOR, run_qmp },
    { "qmp-pretty", KIND_RUN, "DEV", "the same, laid out for people",
      PHASE_MONITOR, run_qmp_pretty },
    { "monitor", KIND_MONITOR, "DEV", "a monitor for people", PHASE_MONITOR,
      run_monitor },
    { "qtest", KIND_RUN, "DEV", "speak the qtest protocol (clock, no memory)",
      PHASE_MONITOR, run_qtest },
    { "qtest-log", KIND_RUN, "FILE", "write down what is said there",
      PHASE_EARLY, qtest_set_log },
    { "serial", KIND_RUN, "none", NULL, PHASE_EARLY, run_line },
    { "parallel", KIND_RUN, "none", NULL, PHASE_EARLY, run_line },
    { "blockdev", KIND_RUN, "[driver=]DRIVER,node-name=NAME[,...]",
      "add a node, like blockdev-add", PHASE_BLOCKDEV, run_blockdev },
    { "drive", KIND_RUN, "[file=FILE][,if=TYPE][,id=ID][,format=F][,...]",
      "add a drive", PHASE_DRIVE, run_drive },
    { "hda", KIND_RUN, "FILE", "a hard disk; likewise -hdb, -hdc, -hdd",
      PHASE_DRIVE, run_hda },
    { "hdb", KIND_RUN, "FILE", NULL, PHASE_DRIVE, run_hdb },
    { "hdc", KIND_RUN, "FILE", NULL, PHASE_DRIVE, run_hdc },
    { "hdd", KIND_RUN, "FILE", NULL, PHASE_DRIVE, run_hdd },
    { "cdrom", KIND_RUN, "FILE", "a CD", PHASE_DRIVE, run_cdrom },
    { "fda", KIND_RUN, "FILE", "a floppy disk", PHASE_DRIVE, run_fda },
    { "device", KIND_DEVICE, "DRIVER[,PROPERTY=VALUE...]",
      "add a device; help lists them, DRIVER,help its properties",
      PHASE_DEVICE, run_device },
    { "global", KIND_RUN, "DRIVER.PROPERTY=VALUE",
      "what a property is where nothing is given", PHASE_EARLY, run_global },
    { "set", KIND_SET, "GROUP.ID.PARAMETER=VALUE",
      "a parameter of an option that was given before" },
    { "incoming", KIND_RUN, "ADDRESS", "accepted", PHASE_LATE, run_incoming },
    { "nodefaults", KIND_NO_DEFAULTS, NULL, "accepted: there are none" },
    { "no-user-config", KIND_IGNORE, NULL, NULL },
    { "nographic", KIND_NOGRAPHIC, NULL, "a monitor on standard input" },
    { "display", KIND_IGNORE, "none", "accepted" },
    { "vga", KIND_IGNORE, "none", NULL },
    { "vnc", KIND_IGNORE, "none", NULL },
    { "net", KIND_IGNORE, "none", NULL },
    { "nic", KIND_IGNORE, "none", NULL },
    { "boot", KIND_IGNORE, "...", NULL },
    { "rtc", KIND_IGNORE, "...", NULL },
    { "L", KIND_IGNORE, "PATH", NULL },
    { "no-shutdown", KIND_IGNORE, NULL, NULL },
    { "no-reboot", KIND_IGNORE, NULL, NULL },
    { "no-acpi", KIND_IGNORE, NULL, NULL },
    { "no-hpet", KIND_IGNORE, NULL, NULL },
    { "sandbox", KIND_IGNORE, "on|off[,...]", NULL },
    { "msg", KIND_IGNORE, "timestamp=on|off", NULL },
    { "trace", KIND_IGNORE, "...", NULL },
    { "d", KIND_IGNORE, "ITEMS", NULL },
    { "D", KIND_IGNORE, "FILE", NULL },
    { "overcommit", KIND_IGNORE, "...", NULL },
    { "pidfile", KIND_PIDFILE, "FILE",
      "write the process id to a file once all is set up" },
    { "daemonize", KIND_DAEMONIZE, NULL,
      "go into the background once all is set up" },
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
}

static void print_version(void)
{
    printf("QEMU emulator version %d.%d.%d (%s)\n"
           "A machine without processors, for tests\n", TIDEMARK_QEMU_MAJOR,
           TIDEMARK_QEMU_MINOR, TIDEMARK_QEMU_MICRO, TIDEMARK_PACKAGE);
}

static const SystemOption *find_option(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        if (!strcmp(option_table[i].name, name)) {
            return &option_table[i];
        }
    }
    return NULL;
}

static void fail_option(const char *option, const char *value, Error *err)
{
    error_prepend(&err, "-%s %s: ", option, value);
    error_report_err(err);
    exit(EXIT_FAILURE);
}

/* What ends the program before anything is set up, or is not for later. */
static bool take_at_once(SystemOptions *options, const SystemOption *opt,
                         const char *value)
{
    Error *err = NULL;

    switch (opt->kind) {
    case KIND_HELP:
        print_help();
        exit(EXIT_SUCCESS);
    case KIND_VERSION:
        print_version();
        exit(EXIT_SUCCESS);
    case KIND_STOPPED:
        options->stopped = true;
        return true;
    case KIND_DAEMONIZE:
        options->daemonize = true;
        return true;
    case KIND_NO_DEFAULTS:
        options->no_defaults = true;
        return true;
    case KIND_NOGRAPHIC:
        options->nographic = true;
        return true;
    case KIND_PIDFILE:
        g_free(options->pidfile);
        options->pidfile = g_canonicalize_filename(value, NULL);
        return true;
    case KIND_MACHINE:
        if (!strcmp(value, "help") || !strcmp(value, "?")) {
            machine_print_help();
            exit(EXIT_SUCCESS);
        }
        return false;
    case KIND_ACCEL:
        if (!strcmp(value, "help")) {
            printf("Accelerators supported in QEMU binary:\nqtest\n");
            exit(EXIT_SUCCESS);
        }
        if (!g_str_has_prefix(value, "qtest")) {
            error_setg(&err, "invalid accelerator %s", value);
            fail_option(opt->name, value, err);
        }
        return true;
    case KIND_DEVICE:
        if (device_print_help(value)) {
            exit(EXIT_SUCCESS);
        }
        return false;
    case KIND_SET:
        if (!take_set(options, value, &err)) {
            fail_option(opt->name, value, err);
        }
        return true;
    case KIND_MONITOR:
        options->monitor_given = true;
        return false;
    default:
        return opt->kind == KIND_IGNORE;
    }
}

static void take_option(SystemOptions *options, const SystemOption *opt,
                        const char *value)
{
    SystemStep step = { .option = opt };

    if (!take_at_once(options, opt, value)) {
        step.value = g_strdup(value);
        g_array_append_val(options->steps, step);
    }
}

void system_options_parse(SystemOptions *options, int argc, char **argv)
{
    options->steps = g_array_new(false, false, sizeof(SystemStep));
    for (int pos = 1; pos < argc; pos++) {
        const char *arg = argv[pos];
        const SystemOption *opt;

        if (*arg != '-') {
            take_option(options, find_option("hda"), arg);
            continue;
        }
        opt = find_option(arg + (arg[1] == '-' ? 2 : 1));
        if (!opt) {
            error_report("%s: invalid option", arg);
            exit(EXIT_FAILURE);
        }
        if (opt->args && ++pos >= argc) {
            error_report("%s: requires an argument", arg);
            exit(EXIT_FAILURE);
        }
        take_option(options, opt, opt->args ? argv[pos] : "");
    }
}

static bool run_phase(SystemOptions *options, Phase phase, Error **errp)
{
    for (guint i = 0; i < options->steps->len; i++) {
        SystemStep *step = &g_array_index(options->steps, SystemStep, i);

        if (step->option->phase == phase &&
            !step->option->run(step->value, errp)) {
            error_prepend(errp, "-%s %s: ", step->option->name, step->value);
            return false;
        }
    }
    return true;
}

bool system_options_run(SystemOptions *options, Error **errp)
{
    for (Phase phase = PHASE_EARLY; phase < PHASE__MAX; phase++) {
        if (!run_phase(options, phase, errp) ||
            (phase == PHASE_DEVICE && !device_add_for_drives(errp))) {
            return false;
        }
    }
    if (options->nographic && !options->no_defaults &&
        !options->monitor_given) {
        return run_monitor("stdio", errp);
    }
    return true;
}

void system_options_free(SystemOptions *options)
{
    for (guint i = 0; i < options->steps->len; i++) {
        g_free(g_array_index(options->steps, SystemStep, i).value);
    }
    g_array_unref(options->steps);
    for (guint i = 0; settings && i < settings->len; i++) {
        Setting *s = g_ptr_array_index(settings, i);

        g_free(s->group);
        g_free(s->id);
        g_free(s->key);
        g_free(s->value);
        g_free(s);
    }
    if (settings) {
        g_ptr_array_unref(settings);
    }
    g_free(options->pidfile);
}

/* --- query-command-line-options --- */

CommandLineOptionInfoList *
qmp_query_command_line_options(QueryCommandLineOptionsArg *arg, Error **errp)
{
    CommandLineOptionInfoList *list = NULL, **tail = &list;

    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        const SystemOption *opt = &option_table[i];
        CommandLineOptionInfo *info;

        if (!opt->args || !strchr(opt->args, '=') ||
            (arg->option && strcmp(arg->option, opt->name))) {
            continue;
        }
        info = g_new0(CommandLineOptionInfo, 1);
        info->option = g_strdup(opt->name);
        QAPI_LIST_APPEND(tail, info);
    }
    if (arg->option && !list) {
        error_setg(errp, "invalid option name: %s", arg->option);
    }
    return list;
}
