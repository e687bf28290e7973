/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: one table of options, each a QMP command in other words. */
#include "qemu/osdep.h"

#include "block/export.h"
#include "block/graph.h"
#include "daemon.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "qapi/keyval.h"
#include "qapi/qapi-commands.h"

typedef struct DaemonOption {
    const char *name;
    const char *short_name; /* or NULL */
    bool (*run)(const char *value, Error **errp); /* NULL: a flag */
    const char *args;
    const char *help;
} DaemonOption;

static bool run_blockdev(const char *value, Error **errp)
{
    g_autoptr(BlockdevOptions) options =
        keyval_to_type(value, "driver", &qapi_type_BlockdevOptions, errp);

    return options && qmp_blockdev_add(options, errp);
}

static bool run_export(const char *value, Error **errp)
{
    g_autoptr(BlockExportOptions) options =
        keyval_to_type(value, "type", &qapi_type_BlockExportOptions, errp);

    return options && qmp_block_export_add(options, errp);
}

static bool run_nbd_server(const char *value, Error **errp)
{
    g_autoptr(NbdServerOptions) options =
        keyval_to_type(value, NULL, &qapi_type_NbdServerOptions, errp);

    return options && nbd_server_start_options(options, errp);
}

static bool run_object(const char *value, Error **errp)
{
    g_autoptr(ObjectOptions) options = NULL;

    if (!strcmp(value, "help")) {
        for (int i = 0; i < OBJECT_TYPE__MAX; i++) {
            printf("%s\n", ObjectType_str(i));
        }
        exit(EXIT_SUCCESS);
    }
    options = keyval_to_type(value, "qom-type", &qapi_type_ObjectOptions, errp);
    return options && qmp_object_add(options, errp);
}

static bool run_chardev(const char *value, Error **errp)
{
    g_autoptr(ChardevOptions) options =
        keyval_to_type(value, "backend", &qapi_type_ChardevOptions, errp);

    return options && chardev_add(options, errp);
}

static bool run_monitor(const char *value, Error **errp)
{
    g_autoptr(MonitorOptions) options =
        keyval_to_type(value, "chardev", &qapi_type_MonitorOptions, errp);

    return options && monitor_add(options, errp);
}

/* Flags and what ends the process have no run callback. */
static const DaemonOption option_table[] = {
    { "--help", "-h", NULL, "", "show this text and exit" },
    { "--version", "-V", NULL, "", "show the version and exit" },
    { "--blockdev", NULL, run_blockdev,
      "[driver=]DRIVER[,node-name=NAME][,OPTION=VALUE...]",
      "add a node, like blockdev-add; JSON is taken too" },
    { "--chardev", NULL, run_chardev,
      "socket|stdio|file|pipe|null,id=ID[,OPTION=VALUE...]",
      "add a character device, for a monitor" },
    { "--daemonize", NULL, NULL, "",
      "go into the background once all is set up" },
    { "--export", NULL, run_export,
      "[type=]nbd,id=ID,node-name=NODE[,name=NAME][,writable=on|off]",
      "export a node, like block-export-add" },
    { "--monitor", NULL, run_monitor,
      "[chardev=]ID[,mode=control][,pretty=on|off]",
      "speak QMP on a character device" },
    { "--nbd-server", NULL, run_nbd_server,
      "addr.type=unix,addr.path=PATH | "
      "addr.type=inet,addr.host=HOST,addr.port=PORT[,max-connections=N]",
      "start the NBD server, like nbd-server-start" },
    { "--object", NULL, run_object, "TYPE,id=ID[,PROPERTY=VALUE...] | help",
      "create an object, like object-add; or list the types" },
    { "--pidfile", NULL, NULL, "PATH",
      "write the process id to a file once all is set up" },
};

enum { OPT_HELP, OPT_VERSION, OPT_DAEMONIZE = 4, OPT_PIDFILE = 9 };

static void print_help(void)
{
    printf("Usage: qemu-storage-daemon [options]\n"
           "Tidemark storage daemon: block devices, jobs and exports, driven "
           "over QMP\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        const DaemonOption *opt = &option_table[i];

        printf("  %s%s%s%s%s\n        %s\n", opt->short_name ?: "",
               opt->short_name ? ", " : "", opt->name, *opt->args ? " " : "",
               opt->args, opt->help);
    }
    printf("\nValues are key=value,...; a comma in a value is doubled; or "
           "they are JSON objects.\n");
}

static int find_option(const char *arg)
{
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        const DaemonOption *opt = &option_table[i];

        if (!strcmp(arg, opt->name) ||
            (opt->short_name && !strcmp(arg, opt->short_name)) ||
            (arg[0] == '-' && arg[1] != '-' && strlen(arg) > 2 &&
             !strcmp(arg + 1, opt->name + 2))) {
            return i;
        }
    }
    return -1;
}

/* The value of option @i: after "=" in @arg itself, or the next argument. */
static char *option_value(int i, const char *inline_value, int argc,
                          char **argv, int *pos)
{
    if (inline_value) {
        return g_strdup(inline_value);
    }
    if (*pos + 1 >= argc) {
        error_report("option '%s' requires an argument", option_table[i].name);
        exit(EXIT_FAILURE);
    }
    return g_strdup(argv[++*pos]);
}

static void take_option(DaemonOptions *options, int i, char *value)
{
    DaemonStep step = { .option = i, .value = value };

    switch (i) {
    case OPT_HELP:
        print_help();
        exit(EXIT_SUCCESS);
    case OPT_VERSION:
        printf("qemu-storage-daemon version %d.%d.%d (%s)\n",
               TIDEMARK_QEMU_MAJOR, TIDEMARK_QEMU_MINOR, TIDEMARK_QEMU_MICRO,
               TIDEMARK_PACKAGE);
        exit(EXIT_SUCCESS);
    case OPT_DAEMONIZE:
        options->daemonize = true;
        break;
    case OPT_PIDFILE:
        g_free(options->pidfile);
        options->pidfile = g_canonicalize_filename(value, NULL);
        g_free(value);
        break;
    default:
        g_array_append_val(options->steps, step);
        break;
    }
}

void daemon_options_parse(DaemonOptions *options, int argc, char **argv)
{
    options->steps = g_array_new(false, false, sizeof(DaemonStep));
    for (int pos = 1; pos < argc; pos++) {
        g_auto(GStrv) parts = NULL;
        char *value = NULL;
        int i;

        parts = g_str_has_prefix(argv[pos], "--") ?
            g_strsplit(argv[pos], "=", 2) : g_strsplit(argv[pos], "\n", 2);
        i = parts[0] ? find_option(parts[0]) : -1;
        if (i < 0) {
            error_report(argv[pos][0] == '-' ? "unrecognized option '%s'"
                                             : "Unexpected argument: %s",
                         argv[pos]);
            exit(EXIT_FAILURE);
        }
        if (*option_table[i].args) {
            value = option_value(i, parts[1], argc, argv, &pos);
        }
        take_option(options, i, value);
    }
}

bool daemon_options_run(const DaemonOptions *options, Error **errp)
{
    for (guint i = 0; i < options->steps->len; i++) {
        DaemonStep *step = &g_array_index(options->steps, DaemonStep, i);
        const DaemonOption *opt = &option_table[step->option];

        if (!opt->run(step->value, errp)) {
            error_prepend(errp, "%s %s: ", opt->name, step->value);
            return false;
        }
    }
    return true;
}

void daemon_options_free(DaemonOptions *options)
{
    for (guint i = 0; i < options->steps->len; i++) {
        g_free(g_array_index(options->steps, DaemonStep, i).value);
    }
    g_array_unref(options->steps);
    g_free(options->pidfile);
}
