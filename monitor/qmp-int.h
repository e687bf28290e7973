/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions, the server and the dispatcher among themselves. */
#ifndef MONITOR_QMP_INT_H
#define MONITOR_QMP_INT_H

#include "monitor/chardev.h"
#include "monitor/qmp-json.h"
#include "qapi/qmp-dispatch.h"
#include "qemu/aio.h"

typedef struct QmpSession QmpSession;

/* Tells the owner that the session has ended (other side gone). */
typedef void QmpSessionClosed(void *opaque);

/*
 * A session with one client: greets, then takes commands.  @closed is called
 * once, from the loop.  One reference, for the caller.
 */
QmpSession *qmp_session_new(int in_fd, int out_fd, bool pretty,
                            QmpSessionClosed *closed, void *opaque);
void qmp_session_unref(QmpSession *session);
/* Stops it without calling @closed; the descriptors are not touched again. */
void qmp_session_stop(QmpSession *session);
/* Writes what is waiting to be written, until @end_ns (aio_now_ns()). */
void qmp_session_flush(QmpSession *session, int64_t end_ns);
/* Whose command is being executed. */
QmpSession *qmp_session_current(void);
/*
 * The client negotiates: commands are open to it from now on.  False where
 * it has done so already.
 */
bool qmp_session_negotiate(QmpSession *session, bool oob, Error **errp);
/* Frees what the dispatcher holds; no session is left. */
void qmp_session_cleanup(void);

#endif
