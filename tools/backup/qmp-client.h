/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of a QMP server: one connection, one command at a time.
 *
 * Everything here blocks, with a limit on each wait.  Events that arrive while
 * a command is answered are kept, in their order.  After an error of the
 * connection (closed, time over, not QMP) all calls fail with that error.
 *
 * SIGINT shortens waits for answers to half a minute, and ends a wait for an
 * event (tool_interrupted()).
 */
#ifndef TOOLS_BACKUP_QMP_CLIENT_H
#define TOOLS_BACKUP_QMP_CLIENT_H

#include "json.h"

#define QMP_CLIENT_TIMEOUT_MS (60 * 1000)

typedef struct QmpClient QmpClient;

/*
 * Connects to @address: a path, "unix:PATH", "tcp:HOST:PORT" or "HOST:PORT",
 * waits for the greeting and leaves negotiation mode.  Each later answer may
 * take @timeout_ms.
 */
QmpClient *qmp_client_connect(const char *address, int timeout_ms,
                              Error **errp);
/* The same with a connected socket, which it closes.  @name: for messages. */
QmpClient *qmp_client_new(int fd, const char *name, int timeout_ms,
                          Error **errp);
/* NULL is allowed. */
void qmp_client_free(QmpClient *c);

/* Is the server Tidemark, and not QEMU itself? */
bool qmp_client_is_tidemark(const QmpClient *c);
/* "QEMU 7.2.22 (Debian ...)"; lives as long as the client. */
const char *qmp_client_server(const QmpClient *c);
/* Can the connection still be used? */
bool qmp_client_is_open(const QmpClient *c);

/*
 * Executes @command with @args (borrowed; NULL: none).  What it returned, a new
 * reference; NULL with the server's error, its class too, or one of the
 * connection.
 */
json_object *qmp_client_execute(QmpClient *c, const char *command,
                                json_object *args, Error **errp);
/* The same with arguments as for json_fill(). */
json_object *qmp_client_call(QmpClient *c, const char *command, Error **errp,
                             const char *args, ...);
/* The same if the answer does not matter. */
bool qmp_client_do(QmpClient *c, const char *command, Error **errp,
                   const char *args, ...);

/*
 * The next event, a new reference; waits up to @timeout_ms for one.  NULL
 * without an error: there was none, or a signal came.
 */
json_object *qmp_client_next_event(QmpClient *c, int timeout_ms,
                                   Error **errp);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(QmpClient, qmp_client_free)

#endif
