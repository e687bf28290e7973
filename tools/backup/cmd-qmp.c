/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tidemark qmp: one command for a QMP server.
 *
 * Arguments are written as on a command line of the daemon, file.driver=qcow2,
 * but each is a word of its own, and a value is JSON if it can be: 4096 is a
 * number, true a bool, '"4096"' a string; what is no JSON is a string.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "backup.h"
#include "qapi/keyval.h"
#include "qmp-client.h"

typedef struct QmpArgs {
    const char *timeout, *event;
    bool compact;
    int timeout_ms;
} QmpArgs;

static const CliOption qmp_options[] = {
    BACKUP_TEXT(QmpArgs, 't', "timeout", timeout),
    BACKUP_TEXT(QmpArgs, 'w', "wait", event),
    BACKUP_FLAG(QmpArgs, 'c', "compact", compact),
    { 0 },
};

/* --- arguments --- */

/* A text as the value it stands for; a new reference. */
static json_object *value_of(const char *text)
{
    json_object *value;

    if (!strcmp(text, "null")) {
        return NULL;
    }
    /* A single quote begins a string for the parser, for users it does not. */
    value = *text == '\'' ? NULL
                          : json_parse_strict(text, strlen(text), NULL);
    return value ? value : json_object_new_string(text);
}

/* Converts all strings in @obj, which the parser of KEY=VALUE made. */
static void convert_values(json_object *obj)
{
    if (json_object_is_type(obj, json_type_array)) {
        for (size_t i = 0; i < json_length(obj); i++) {
            json_object *value = json_at(obj, i);

            if (json_object_is_type(value, json_type_string)) {
                json_object_array_put_idx(
                    obj, i, value_of(json_object_get_string(value)));
            } else {
                convert_values(value);
            }
        }
        return;
    }
    json_object_object_foreach(obj, key, value) {
        if (json_object_is_type(value, json_type_string)) {
            json_object_object_add(obj, key,
                                   value_of(json_object_get_string(value)));
        } else {
            convert_values(value);
        }
    }
}

/* The words as KEY=VALUE,..., with the commas in values doubled. */
static char *join_words(char **words, int n, Error **errp)
{
    g_autoptr(GString) out = g_string_new("");

    for (int i = 0; i < n; i++) {
        const char *eq = strchr(words[i], '=');
        g_autofree char *value = eq ? keyval_escape(eq + 1) : NULL;

        if (!eq) {
            error_setg(errp, "'%s' is not KEY=VALUE", words[i]);
            return NULL;
        }
        g_string_append_printf(out, "%s%.*s=%s", i ? "," : "",
                               (int)(eq - words[i]), words[i], value);
    }
    return g_strdup(out->str);
}

/* A new reference; NULL with @errp. */
static json_object *parse_arguments(char **words, int n, Error **errp)
{
    g_autofree char *text = NULL;
    json_object *obj;

    if (n == 1 && words[0][0] == '{') {
        return json_parse_strict(words[0], strlen(words[0]), errp);
    }
    text = join_words(words, n, errp);
    obj = text ? keyval_parse(text, NULL, NULL, errp) : NULL;
    if (obj) {
        convert_values(obj);
    }
    return obj;
}

/* --- asking --- */

static void print(const QmpArgs *args, json_object *obj)
{
    g_autofree char *text = json_text(obj, !args->compact);

    puts(text);
    fflush(stdout);
}

static bool wait_event(const QmpArgs *args, QmpClient *c, Error **errp)
{
    int64_t deadline = g_get_monotonic_time() / 1000 + args->timeout_ms;
    int64_t left = args->timeout_ms;

    while (left > 0 && !tool_interrupted()) {
        Error *err = NULL;
        g_autoptr(json_object) event = qmp_client_next_event(c, left, &err);

        if (err) {
            error_propagate(errp, err);
            return false;
        }
        if (event && !strcmp(json_get_str(event, "event"), args->event)) {
            print(args, event);
            return true;
        }
        left = deadline - g_get_monotonic_time() / 1000;
    }
    error_setg(errp, "No event %s came", args->event);
    return false;
}

static bool ask(const QmpArgs *args, char **words, int n, Error **errp)
{
    g_autoptr(json_object) arguments =
        n > 2 ? parse_arguments(words + 2, n - 2, errp) : NULL;
    g_autoptr(QmpClient) c = NULL;
    g_autoptr(json_object) ret = NULL;

    if (n > 2 && !arguments) {
        return false;
    }
    c = qmp_client_connect(words[0], args->timeout_ms, errp);
    if (!c) {
        return false;
    }
    ret = qmp_client_execute(c, words[1], arguments, errp);
    if (!ret) {
        return false;
    }
    print(args, ret);
    return !args->event || wait_event(args, c, errp);
}

BackupStatus backup_cmd_qmp(int argc, char **argv)
{
    QmpArgs args = { .timeout_ms = QMP_CLIENT_TIMEOUT_MS };
    int first = cli_parse(argc, argv, qmp_options, &args, backup_help);
    Error *err = NULL;

    if (argc - first < 2) {
        cli_usage_error("Expecting the address of a server, and a command");
    }
    if (!backup_timeout(args.timeout, &args.timeout_ms)) {
        return BACKUP_FAILED;
    }
    if (!ask(&args, argv + first, argc - first, &err)) {
        ErrorClass eclass = error_get_class(err);

        if (eclass != ERROR_CLASS_GENERIC_ERROR) {
            error_prepend(&err, "%s: ", error_class_name(eclass));
        }
        error_report_err(err);
        return BACKUP_FAILED;
    }
    return BACKUP_OK;
}
