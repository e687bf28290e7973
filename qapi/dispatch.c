/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Executing QMP requests: check the envelope, find the command, convert the
 * arguments, call the handler, convert the answer.
 */
#include "qemu/osdep.h"
#include <json-c/linkhash.h>
#include "qapi/qmp-dispatch.h"
#include "qemu/aio.h"
#include "qemu/coroutine.h"

/* One command in execution. */
typedef struct QmpCall {
    const QmpCommand *command;
    struct json_object *id; /* NULL: no id, or null; see has_id */
    bool has_id;
    void *arg;
    struct json_object *response;
    QmpDispatchDone *done; /* NULL: the caller waits for response */
    void *opaque;
} QmpCall;

static int compare_name(const void *key, const void *element)
{
    return strcmp(key, ((const QmpCommand *)element)->name);
}

static const QmpCommandTable *program_table;

void qmp_set_program_table(const QmpCommandTable *table)
{
    program_table = table;
}

const QmpCommandTable *qmp_program_table(void)
{
    return program_table;
}

const QmpCommand *qmp_find_command(const QmpCommandTable *table,
                                   const char *name)
{
    return bsearch(name, table->commands, table->n_commands,
                   sizeof(QmpCommand), compare_name);
}

/* --- the envelope --- */

static bool check_member(const char *key, struct json_object *value,
                         bool oob_enabled, Error **errp)
{
    bool is_oob = strcmp(key, "exec-oob") == 0;

    if (strcmp(key, "id") == 0) {
        return true;
    }
    if (strcmp(key, "execute") == 0 || (is_oob && oob_enabled)) {
        if (!json_object_is_type(value, json_type_string)) {
            error_setg(errp, "QMP input member '%s' must be a string", key);
            return false;
        }
        return true;
    }
    if (strcmp(key, "arguments") == 0) {
        if (!json_object_is_type(value, json_type_object)) {
            error_setg(errp,
                       "QMP input member 'arguments' must be an object");
            return false;
        }
        return true;
    }
    error_setg(errp, "QMP input member '%s' is unexpected", key);
    return false;
}

bool qmp_request_check(struct json_object *request, bool oob_enabled,
                       bool *oob, Error **errp)
{
    bool execute;

    if (!json_object_is_type(request, json_type_object)) {
        error_setg(errp, "QMP input must be a JSON object");
        return false;
    }
    json_object_object_foreach(request, key, value)
    {
        if (!check_member(key, value, oob_enabled, errp)) {
            return false;
        }
    }
    execute = json_object_object_get_ex(request, "execute", NULL);
    *oob = json_object_object_get_ex(request, "exec-oob", NULL);
    if (execute && *oob) {
        error_setg(errp, "QMP input member 'execute' clashes with 'exec-oob'");
        return false;
    }
    if (!execute && !*oob) {
        error_setg(errp, "QMP input lacks member 'execute'");
        return false;
    }
    return true;
}

/* --- responses --- */

struct json_object *qmp_error_response(Error *err, struct json_object *id)
{
    struct json_object *response = json_object_new_object();
    struct json_object *body = json_object_new_object();
    const char *text = error_get_pretty(err);
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    if (id) {
        json_object_object_add(response, "id", json_object_get(id));
    }
    json_object_object_add(
        body, "class",
        json_object_new_string(error_class_name(error_get_class(err))));
    json_object_object_add(body, "desc", json_object_new_string(valid));
    json_object_object_add(response, "error", body);
    error_free(err);
    return response;
}

/* Returns the id of the request, even null. */
static void add_id(const QmpCall *call, struct json_object *response)
{
    if (call->has_id) {
        json_object_object_add(response, "id", json_object_get(call->id));
    }
}

/* The response of a command that succeeded; consumes @ret. */
static struct json_object *answer_to_json(const QmpCommand *command,
                                          void *ret)
{
    struct json_object *value;

    if (command->flags & QMP_COMMAND_RAW) {
        return ret;
    }
    if (!command->ret) {
        return json_object_new_object();
    }
    switch (command->ret->kind) {
    case QAPI_STR:
        value = json_object_new_string(ret);
        g_free(ret);
        return value;
    case QAPI_ANY:
        return ret;
    default:
        value = qapi_type_to_json(command->ret, ret);
        qapi_type_free(command->ret, ret);
        return value;
    }
}

/* --- calls --- */

/* Runs the handler, if necessary in a coroutine, and sets the response. */
static void call_handler(QmpCall *call)
{
    const QmpCommand *command = call->command;
    Error *err = NULL;
    void *ret = NULL;

    if (command->call(call->arg, &ret, &err)) {
        call->response = json_object_new_object();
        json_object_object_add(call->response, "return",
                               answer_to_json(command, ret));
    } else {
        if (!err) {
            /* A faulty handler must not crash the program. */
            error_setg(&err, "Command '%s' failed", command->name);
        }
        call->response = qmp_error_response(err, NULL);
    }
    add_id(call, call->response);
    if (command->flags & QMP_COMMAND_RAW_ARG) {
        json_object_put(call->arg);
    } else {
        qapi_type_free(command->arg, call->arg);
    }
    call->arg = NULL;
    json_object_put(call->id);
    call->id = NULL;
}

static void coroutine_fn call_entry(void *opaque)
{
    QmpCall *call = opaque;

    call_handler(call);
    if (call->done) {
        call->done(call->response, call->opaque);
        g_free(call);
    }
}

static bool convert_arguments(QmpCall *call, struct json_object *request,
                              Error **errp)
{
    const QmpCommand *command = call->command;
    struct json_object *arguments = NULL;
    struct json_object *empty;

    json_object_object_get_ex(request, "arguments", &arguments);
    if (command->flags & QMP_COMMAND_RAW_ARG) {
        call->arg = arguments ? json_object_get(arguments)
                              : json_object_new_object();
        return true;
    }
    if (!command->arg) {
        if (arguments && json_object_object_length(arguments)) {
            struct lh_entry *entry =
                lh_table_head(json_object_get_object(arguments));

            error_setg(errp, "Parameter '%s' is unexpected",
                       (const char *)lh_entry_k(entry));
            return false;
        }
        return true;
    }
    empty = json_object_new_object();
    call->arg = qapi_type_from_json(command->arg,
                                    arguments ? arguments : empty,
                                    QAPI_INPUT_STRICT, errp);
    json_object_put(empty);
    return call->arg != NULL;
}

/* Fills @call from @request; on failure *@errp only. */
static bool prepare_call(QmpCall *call, const QmpCommandTable *table,
                         struct json_object *request, bool oob_enabled,
                         Error **errp)
{
    struct json_object *value;
    const char *name;
    bool oob;

    if (!qmp_request_check(request, oob_enabled, &oob, errp)) {
        return false;
    }
    json_object_object_get_ex(request, oob ? "exec-oob" : "execute", &value);
    name = json_object_get_string(value);
    call->command = qmp_find_command(table, name);
    if (!call->command && table->not_found) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND, "%s",
                  table->not_found);
        return false;
    }
    if (!call->command) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                  "The command %s has not been found", name);
        return false;
    }
    if (oob && !(call->command->flags & QMP_COMMAND_OOB)) {
        error_setg(errp, "The command %s does not support OOB", name);
        return false;
    }
    return convert_arguments(call, request, errp);
}

/* Prepares the call, or sets its response if the request is invalid. */
static bool begin_call(QmpCall *call, const QmpCommandTable *table,
                       struct json_object *request, bool oob_enabled)
{
    Error *err = NULL;

    if (json_object_is_type(request, json_type_object)) {
        call->has_id = json_object_object_get_ex(request, "id", &call->id);
    }
    if (prepare_call(call, table, request, oob_enabled, &err)) {
        json_object_get(call->id);
        return true;
    }
    call->response = qmp_error_response(err, NULL);
    add_id(call, call->response);
    return false;
}

struct json_object *coroutine_mixed_fn
qmp_dispatch(const QmpCommandTable *table, struct json_object *request,
             bool oob_enabled)
{
    QmpCall call = {.done = NULL};

    if (begin_call(&call, table, request, oob_enabled)) {
        if (call.command->flags & QMP_COMMAND_COROUTINE) {
            aio_run_co(aio_main_context(), call_entry, &call);
        } else {
            call_handler(&call);
        }
    }
    return call.response;
}

void qmp_dispatch_async(const QmpCommandTable *table,
                        struct json_object *request, bool oob_enabled,
                        QmpDispatchDone *done, void *opaque)
{
    QmpCall *call = g_new0(QmpCall, 1);

    call->done = done;
    call->opaque = opaque;
    if (!begin_call(call, table, request, oob_enabled)) {
        done(call->response, opaque);
        g_free(call);
    } else if (call->command->flags & QMP_COMMAND_COROUTINE) {
        coroutine_enter(coroutine_create(call_entry, call));
    } else {
        call_handler(call);
        done(call->response, opaque);
        g_free(call);
    }
}
