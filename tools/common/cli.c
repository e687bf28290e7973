/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Command lines of the tools. */
#include "qemu/osdep.h"

#include <getopt.h>

#include "monitor/monitor.h"
#include "qapi/keyval.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-qom.h"
#include "qemu/cutils.h"
#include "tools/common/cli.h"

#define CLI_MAX_OPTIONS 48

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

/* ids of created objects, for deletion */
static GSList *cli_object_ids;

void cli_usage_error(const char *fmt, ...)
{
    char *text;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    error_report("%s", text);
    g_free(text);
    fprintf(stderr, "Try '%s --help' for more information\n", g_get_prgname());
    exit(EXIT_FAILURE);
}

static bool takes_argument(const CliOption *o)
{
    return o->kind == CLI_TEXT || o->kind == CLI_CALL;
}

/* Tables for getopt_long(), made from @table. */
static void getopt_tables(const CliOption *table, GString *letters,
                          struct option *longs)
{
    struct option help = { "help", no_argument, NULL, 'h' };

    g_string_assign(letters, ":h");
    for (const CliOption *o = table; o->letter; o++) {
        struct option entry = {
            o->name, takes_argument(o) ? required_argument : no_argument,
            NULL, o->letter,
        };

        if (o->letter < CLI_LONG_ONLY) {
            g_string_append_c(letters, o->letter);
            g_string_append(letters, takes_argument(o) ? ":" : "");
        }
        if (o->name) {
            *longs++ = entry;
        }
    }
    *longs++ = help;
    memset(longs, 0, sizeof(*longs));
}

static bool take_option(const CliOption *table, int letter, void *dest)
{
    const CliOption *o = table;

    while (o->letter && o->letter != letter) {
        o++;
    }
    g_assert(o->letter);
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)((char *)dest + o->offset) = true;
        return true;
    case CLI_TEXT:
        *(const char **)((char *)dest + o->offset) = optarg;
        return true;
    case CLI_CALL:
        return o->call(dest, optarg);
    case CLI_NOTE:
        return o->call(dest, NULL);
    }
    g_assert_not_reached();
}

int cli_parse(int argc, char **argv, const CliOption *table, void *dest,
              void (*help)(void))
{
    g_autoptr(GString) letters = g_string_new("");
    struct option longs[CLI_MAX_OPTIONS + 2];
    int c;

    getopt_tables(table, letters, longs);
    opterr = 0;
    optind = 0; /* glibc: restart */
    while ((c = getopt_long(argc, argv, letters->str, longs, NULL)) != -1) {
        if (c == 'h') {
            help();
            exit(EXIT_SUCCESS);
        } else if (c == '?') {
            cli_usage_error("unrecognized option '%s'", argv[optind - 1]);
        } else if (c == ':') {
            cli_usage_error("missing argument for option '%s'",
                            argv[optind - 1]);
        } else if (!take_option(table, c, dest)) {
            exit(EXIT_FAILURE);
        }
    }
    return optind;
}

/* Does @text have the form of a size?  The value may be out of range. */
static bool looks_like_size(const char *text)
{
    size_t n = strspn(text, "0123456789");

    return n > 0 && (!text[n] || (strchr("bBkKmMgGtTpPeE", text[n]) &&
                                  !text[n + 1]));
}

bool cli_size(const char *what, const char *text, int64_t *bytes)
{
    if (parse_size(text, 'b', bytes, NULL)) {
        return true;
    }
    if (looks_like_size(text)) {
        error_report("Invalid %s specified. Must be between 0 and %" PRId64
                     ".", what, INT64_MAX);
    } else {
        error_report("Invalid %s specified. You may use k, M, G, T, P or E "
                     "suffixes for", what);
        error_report("kilobytes, megabytes, gigabytes, terabytes, petabytes "
                     "and exabytes.");
    }
    return false;
}

bool cli_output_format(const char *text, bool *json)
{
    *json = text && !strcmp(text, "json");
    if (text && !*json && strcmp(text, "human")) {
        error_report("--output must be used with human or json as argument.");
        return false;
    }
    return true;
}

bool cli_object(void *dest, const char *arg)
{
    Error *err = NULL;
    g_autoptr(ObjectOptions) options =
        keyval_to_type(arg, "qom-type", &qapi_type_ObjectOptions, &err);

    if (!options || !qmp_object_add(options, &err)) {
        error_report_err(err);
        return false;
    }
    cli_object_ids = g_slist_prepend(cli_object_ids, g_strdup(options->id));
    return true;
}

void cli_objects_cleanup(void)
{
    while (cli_object_ids) {
        ObjectDelArg arg = { .id = cli_object_ids->data };

        qmp_object_del(&arg, NULL);
        g_free(arg.id);
        cli_object_ids = g_slist_delete_link(cli_object_ids, cli_object_ids);
    }
}

void cli_print_version(void)
{
    printf("%s version %d.%d.%d (%s)\n"
           "A block layer compatible with QEMU; GPL-2.0-or-later\n",
           g_get_prgname(), TIDEMARK_QEMU_MAJOR, TIDEMARK_QEMU_MINOR,
           TIDEMARK_QEMU_MICRO, TIDEMARK_PACKAGE);
}
