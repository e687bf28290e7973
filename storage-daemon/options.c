/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line: one table of options, most with a QMP command. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "block/export.h"
#include "block/graph.h"
#include "blockdev/blockdev.h"
#include "daemon.h"
#include "monitor/chardev.h"
#include "monitor/monitor.h"
#include "program.h"
#include "qapi/keyval.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-control.h"
#include "qapi/qapi-types-qom.h"

typedef struct DaemonOption {
    const char *name;
    char letter; /* or 0 */
    bool (*run)(const char *value, Error **errp); /* NULL: a flag */
    const char *args;
    const char *help;
} DaemonOption;

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

    if (blockdev_object_help(value)) {
        exit(EXIT_SUCCESS);
    }
    options = keyval_to_type(value, "qom-type", &qapi_type_ObjectOptions, errp);
    return options && qmp_object_add(options, errp);
}

static bool run_monitor(const char *value, Error **errp)
{
    g_autoptr(MonitorOptions) options =
        keyval_to_type(value, "chardev", &qapi_type_MonitorOptions, errp);

    return options && monitor_add(options, errp);
}

/* Flags, and options that end the process, have no run callback. */
static const DaemonOption option_table[] = {
    { "help", 'h', NULL, "", "show this text and exit" },
    { "version", 'V', NULL, "", "show the version and exit" },
    { "blockdev", 0, program_add_blockdev,
      "[driver=]DRIVER[,node-name=NAME][,OPTION=VALUE...]",
      "add a node, like blockdev-add; or as JSON" },
    { "chardev", 0, program_add_chardev,
      "socket|stdio|file|pipe|pty|serial|null,id=ID[,OPTION=VALUE...] | help",
      "add a character device, for a monitor" },
    { "daemonize", 0, NULL, "", "go into the background once all is set up" },
    { "export", 0, run_export,
      "[type=]nbd,id=ID,node-name=NODE[,name=NAME][,writable=on|off]",
      "export a node, like block-export-add" },
    { "monitor", 0, run_monitor,
      "[chardev=]ID[,mode=control][,pretty=on|off]",
      "start a QMP monitor on a character device" },
    { "nbd-server", 0, run_nbd_server,
      "addr.type=unix,addr.path=PATH | "
      "addr.type=inet,addr.host=HOST,addr.port=PORT[,max-connections=N]",
      "start the NBD server, like nbd-server-start" },
    { "object", 0, run_object, "TYPE,id=ID[,PROPERTY=VALUE...] | [TYPE,]help",
      "create an object, like object-add; or list the types" },
    { "pidfile", 0, NULL, "PATH",
      "write the process id to a file once all is set up" },
    { "trace", 'T', program_trace, "[[enable=]EVENT][,events=FILE]",
      "accepted; there are no events to trace" },
};

enum { OPT_HELP, OPT_VERSION, OPT_CHARDEV = 3, OPT_DAEMONIZE, OPT_PIDFILE = 9 };

static void print_help(void)
{
    printf("Usage: qemu-storage-daemon [options]\n"
           "Tidemark storage daemon: block devices, jobs and exports, driven "
           "over QMP\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        const DaemonOption *opt = &option_table[i];

        if (opt->letter) {
            printf("  -%c,", opt->letter);
        }
        printf(" %s--%s %s\n        %s\n", opt->letter ? "" : " ",
               opt->name, opt->args, opt->help);
    }
    printf("\nValues are key=value,...; a comma in a value is doubled; or "
           "they are JSON objects.\n");
}

/* Requests for help are answered at once. */
static void answer_help(int i, const char *value)
{
    if (i == OPT_CHARDEV && (!strcmp(value, "help") || !strcmp(value, "?"))) {
        chardev_print_help(true);
        exit(EXIT_SUCCESS);
    }
}

static void take_option(DaemonOptions *options, int i, char *value)
{
    DaemonStep step = { .option = i, .value = value };

    switch (i) {
    case OPT_HELP:
        print_help();
        exit(EXIT_SUCCESS);
    case OPT_VERSION:
        printf("qemu-storage-daemon version %d.%d.%d (%s)\n"
               "A block layer compatible with QEMU; GPL-2.0-or-later\n",
               TIDEMARK_QEMU_MAJOR, TIDEMARK_QEMU_MINOR, TIDEMARK_QEMU_MICRO,
               TIDEMARK_PACKAGE);
        exit(EXIT_SUCCESS);
    case OPT_DAEMONIZE:
        options->daemonize = true;
        break;
    case OPT_PIDFILE:
        g_free(options->pidfile);
        options->pidfile = *value ? g_canonicalize_filename(value, NULL)
                                  : g_strdup("");
        g_free(value);
        break;
    default:
        answer_help(i, value);
        g_array_append_val(options->steps, step);
        break;
    }
}

/* Tables for getopt_long(); an option is identified by its index. */
static void getopt_tables(struct option *longs, GString *letters)
{
    g_string_assign(letters, "-"); /* no reordering */
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        const DaemonOption *opt = &option_table[i];

        longs[i] = (struct option) {
            .name = opt->name,
            .has_arg = *opt->args ? required_argument : no_argument,
            .val = 0x100 + i,
        };
        if (opt->letter) {
            g_string_append_printf(letters, "%c%s", opt->letter,
                                   *opt->args ? ":" : "");
        }
    }
}

static int option_of_letter(int letter)
{
    for (size_t i = 0; i < ARRAY_SIZE(option_table); i++) {
        if (option_table[i].letter == letter) {
            return i;
        }
    }
    exit(EXIT_FAILURE); /* getopt has reported the error */
}

void daemon_options_parse(DaemonOptions *options, int argc, char **argv)
{
    struct option longs[ARRAY_SIZE(option_table) + 1] = { { NULL } };
    g_autoptr(GString) letters = g_string_new(NULL);
    int c;

    options->steps = g_array_new(false, false, sizeof(DaemonStep));
    getopt_tables(longs, letters);
    while ((c = getopt_long(argc, argv, letters->str, longs, NULL)) >= 0) {
        if (c == 1) {
            error_report("%s: Unexpected argument", optarg);
            exit(EXIT_FAILURE);
        }
        take_option(options, c >= 0x100 ? c - 0x100 : option_of_letter(c),
                    g_strdup(optarg));
    }
    if (optind < argc) {
        error_report("%s: Unexpected argument", argv[optind]);
        exit(EXIT_FAILURE);
    }
}

static bool run_step(const DaemonStep *step)
{
    const DaemonOption *opt = &option_table[step->option];
    Error *err = NULL;
    bool ok;

    error_set_location(g_strdup_printf(" --%s %s", opt->name, step->value));
    ok = opt->run(step->value, &err);
    if (!ok) {
        error_report_err(err);
    }
    g_free(error_set_location(NULL));
    return ok;
}

bool daemon_options_run(const DaemonOptions *options)
{
    for (guint i = 0; i < options->steps->len; i++) {
        if (!run_step(&g_array_index(options->steps, DaemonStep, i))) {
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
