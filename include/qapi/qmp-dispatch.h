/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a request to the handler of its command and to the response.
 *
 * A request is {"execute": NAME, "arguments": {...}, "id": ANY}; "exec-oob"
 * instead of "execute" asks for out-of-band execution.  The response is
 * {"return": VALUE, "id": ANY} or {"error": {"class": C, "desc": TEXT},
 * "id": ANY}, without "id" where the request has none.
 */
#ifndef QAPI_QMP_DISPATCH_H
#define QAPI_QMP_DISPATCH_H

#include "qapi/type.h"

enum {
    QMP_COMMAND_COROUTINE = 1 << 0, /* the handler is a coroutine_fn */
    QMP_COMMAND_OOB = 1 << 1,       /* may be executed out of band */
    QMP_COMMAND_PRECONFIG = 1 << 2, /* allowed before the machine exists */
    QMP_COMMAND_RAW = 1 << 3,       /* the handler answers with JSON */
    QMP_COMMAND_RAW_ARG = 1 << 4,   /* the handler takes JSON: any members */
};

typedef struct QmpCommand {
    const char *name;
    /*
     * Runs the handler.  *@ret gets its answer, of type @ret of the command
     * (with QMP_COMMAND_RAW: a struct json_object *), owned by the caller.
     */
    bool (*call)(void *arg, void **ret, Error **errp);
    const QapiType *arg; /* NULL: takes no arguments */
    const QapiType *ret; /* NULL: answers with {} */
    unsigned flags;
} QmpCommand;

typedef struct QmpCommandTable {
    const QmpCommand *commands; /* sorted by name */
    size_t n_commands;
    /*
     * What to say of a command that is not in the table, as a sentence; NULL:
     * that it has not been found.  For the table of the negotiation phase.
     */
    const char *not_found;
    /* The answer to query-qmp-schema, or NULL. */
    const char *schema;
} QmpCommandTable;

/*
 * The commands that this program's monitors offer; set once, first thing, by
 * main().  The table is not copied.
 */
void qmp_set_program_table(const QmpCommandTable *table);
const QmpCommandTable *qmp_program_table(void);

/* The command called @name, or NULL. */
const QmpCommand *qmp_find_command(const QmpCommandTable *table,
                                   const char *name);

/*
 * What the monitor needs to know of a request before it is executed: true,
 * and *@oob, where @request is well-formed; @errp says what is wrong.  @request
 * is borrowed.
 */
bool qmp_request_check(struct json_object *request, bool oob_enabled,
                       bool *oob, Error **errp);

/*
 * Executes @request and returns the response, a new reference.  A coroutine
 * command is run to its end, polling the main loop if need be.  @oob_enabled
 * says whether "exec-oob" was negotiated.  @request is borrowed.
 */
struct json_object *coroutine_mixed_fn
qmp_dispatch(const QmpCommandTable *table, struct json_object *request,
             bool oob_enabled);

/* Takes @response, a new reference. */
typedef void QmpDispatchDone(struct json_object *response, void *opaque);

/*
 * Executes @request and calls @done with the response: before it returns,
 * except where the command's handler is a coroutine that yields; then @done is
 * called in that coroutine when the handler returns.  @request is borrowed,
 * what is needed of it later is kept.  Not to be called in a coroutine.
 */
void qmp_dispatch_async(const QmpCommandTable *table,
                        struct json_object *request, bool oob_enabled,
                        QmpDispatchDone *done, void *opaque);

/*
 * A response that tells of @err (consumed); @id (borrowed) may be NULL, then
 * there is none in it.
 */
struct json_object *qmp_error_response(Error *err, struct json_object *id);

#endif
