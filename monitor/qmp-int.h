/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by sessions, the server and the dispatcher. */
#ifndef MONITOR_QMP_INT_H
#define MONITOR_QMP_INT_H

#include "monitor/chardev.h"
#include "monitor/qmp-json.h"
#include "qapi/qmp-dispatch.h"
#include "qemu/aio.h"

typedef struct QmpSession QmpSession;

/* Notifies the owner that the session has ended (client disconnected). */
typedef void QmpSessionClosed(void *opaque);

/*
 * A session with one client: sends the greeting, then accepts commands.
 * @closed is called once, from the loop.  One reference, for the caller.
 */
QmpSession *qmp_session_new(int in_fd, int out_fd, bool pretty,
                            QmpSessionClosed *closed, void *opaque);
void qmp_session_unref(QmpSession *session);
/* Stops it without calling @closed; the descriptors are not used afterwards. */
void qmp_session_stop(QmpSession *session);
/* Writes pending output, until @end_ns (aio_now_ns()). */
void qmp_session_flush(QmpSession *session, int64_t end_ns);
/* The session whose command is being executed. */
QmpSession *qmp_session_current(void);
/*
 * Negotiates: the client may use commands from now on.  False if it has done so
 * already.
 */
bool qmp_session_negotiate(QmpSession *session, bool oob, Error **errp);
/* Frees the dispatcher's state; no session may exist. */
void qmp_session_cleanup(void);

#endif
