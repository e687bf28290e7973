/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP sessions and the dispatcher they share.
 *
 * Requests of all sessions are executed one after the other, in the order of
 * arrival, from the outermost loop; only "exec-oob" of a command that allows it
 * overtakes, and, if a command has to wait, queries of other sessions.
 *
 * A session stops reading while enough of its requests wait, so that a client
 * cannot fill the memory; the commands of a client that does not read its
 * answers are not read either, and its session ends when too much output waits.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>
#include <sys/socket.h>

#include "monitor/monitor.h"
#include "monitor/qmp-int.h"
#include "qapi/event-limit.h"
#include "qapi/events.h"
#include "qapi/json.h"

#define QUEUE_MAX_OOB 8              /* requests; clients rely on this */
#define OUT_SLOW (1 * MiB)           /* do not read more commands */
#define OUT_MAX (64 * MiB)           /* end the session */

struct QmpSession {
    int refcnt;
    int in_fd, out_fd;
    bool pretty;
    bool open;       /* the descriptors are valid */
    bool eof;        /* no more input; close after the last answer */
    bool ending;     /* the loop will close it */
    bool negotiated;
    bool oob;
    int queued;      /* requests that wait or run */
    QmpSplitter splitter;
    GString *out;    /* not written yet, except its first `sent` bytes */
    size_t sent;
    int fd;          /* received with the input, -1: none */
    QmpSessionClosed *closed;
    void *opaque;
};

/* A waiting request: either @json or its error. */
typedef struct QmpRequest {
    QmpSession *session;
    struct json_object *json;
    Error *err;
} QmpRequest;

static GQueue dispatch_queue = G_QUEUE_INIT;
static QmpRequest *dispatch_running;
static AioBH *dispatch_bh;
static AioBH *reply_bh;
static AioTimer *overtake_timer;
static struct json_object *held_reply; /* of the running request */
static QmpSession *current_session;

/* How long a request waits for the dispatcher before it may overtake. */
#define OVERTAKE_NS INT64_C(10000000)

static void update_handlers(QmpSession *session);

/* --- life cycle --- */

static void session_ref(QmpSession *session)
{
    session->refcnt++;
}

void qmp_session_unref(QmpSession *session)
{
    if (session && --session->refcnt == 0) {
        qmp_splitter_destroy(&session->splitter);
        g_string_free(session->out, true);
        if (session->fd >= 0) {
            close(session->fd);
        }
        g_free(session);
    }
}

QmpSession *qmp_session_current(void)
{
    return current_session;
}

/* --- output --- */

static void session_end(QmpSession *session)
{
    QmpSessionClosed *closed = session->closed;

    if (!session->open) {
        return;
    }
    qmp_session_stop(session);
    closed(session->opaque);
}

/* Bytes that the client has not read yet. */
static size_t backlog(const QmpSession *session)
{
    return session->out->len - session->sent;
}

/* Writes as much as possible; false if the client has disconnected or hangs. */
static bool write_out(QmpSession *session)
{
    if (!chardev_write_out(session->out_fd, session->out, &session->sent)) {
        return false;
    }
    if (backlog(session) > OUT_MAX) {
        warn_report("a QMP client does not read its output: the session ends");
        return false;
    }
    return true;
}

static void end_bh(void *opaque)
{
    QmpSession *session = opaque;

    session_end(session);
    qmp_session_unref(session);
}

/* Ends the session from the loop, not within a call. */
static void end_later(QmpSession *session)
{
    if (session->ending) {
        return;
    }
    session->ending = true;
    session_ref(session);
    aio_bh_oneshot(aio_main_context(), AIO_SCOPE_MAIN, end_bh, session);
}

static void session_send(QmpSession *session, struct json_object *obj)
{
    if (!session->open) {
        return;
    }
    qmp_json_print(session->out, obj, session->pretty);
    g_string_append(session->out, "\r\n");
    if (!write_out(session)) {
        end_later(session);
    }
    update_handlers(session);
}

static void emit_event(void *opaque, struct json_object *event)
{
    QmpSession *session = opaque;

    if (session->negotiated) {
        session_send(session, event);
    }
}

/* --- dispatcher --- */

static const QmpCommandTable *negotiation_table(void)
{
    static QmpCommand commands[1];
    static QmpCommandTable table = {
        .commands = commands,
        .n_commands = 1,
        .not_found = "Expecting capabilities negotiation with "
                     "'qmp_capabilities'",
    };

    commands[0] = *qmp_find_command(qmp_program_table(), "qmp_capabilities");
    return &table;
}

static void request_free(QmpRequest *req)
{
    json_object_put(req->json);
    error_free(req->err);
    qmp_session_unref(req->session);
    g_free(req);
}

/* Consumes @response. */
static void request_reply(QmpRequest *req, struct json_object *response)
{
    QmpSession *session = req->session;

    session->queued--;
    session_send(session, response);
    json_object_put(response);
    if (session->eof && !session->queued && session->open) {
        end_later(session);
    }
    update_handlers(session);
    if (dispatch_running == req) {
        dispatch_running = NULL;
        aio_bh_schedule(dispatch_bh);
    }
    request_free(req);
}

static void reply_now(void *opaque)
{
    aio_threads_turn(); /* which run the first steps of jobs in other threads */
    if (held_reply) {
        request_reply(dispatch_running, g_steal_pointer(&held_reply));
    }
}

/*
 * Consumes @response.  Operations that a command has started emit their first
 * events before the answer: clients rely on that order.
 */
static void request_done(struct json_object *response, void *opaque)
{
    if (opaque == dispatch_running) {
        held_reply = response;
        aio_bh_schedule(reply_bh);
    } else {
        request_reply(opaque, response);
    }
}

static void request_execute(QmpRequest *req)
{
    QmpSession *session = req->session;
    QmpSession *outer = current_session; /* its command polls the loop */

    if (req->err) {
        request_done(qmp_error_response(g_steal_pointer(&req->err), NULL),
                     req);
        return;
    }
    current_session = session;
    aio_exclusive_begin(); /* overtaking starts in a timer of the I/O scope */
    qmp_dispatch_async(session->negotiated ? qmp_program_table()
                                           : negotiation_table(),
                       req->json, session->oob, request_done, req);
    aio_exclusive_end();
    current_session = outer;
}

/* --- overtaking --- */

/*
 * May it be executed while a command of another session waits?  Queries have no
 * side effects, and "quit" must not have to wait.
 */
static bool may_overtake(const QmpRequest *req)
{
    struct json_object *value;
    const char *name;

    if (req->session->queued > 1) {
        return false; /* requests of one session stay in order */
    }
    if (req->err || !req->session->negotiated) {
        return true;
    }
    if (!json_object_is_type(req->json, json_type_object) ||
        !json_object_object_get_ex(req->json, "execute", &value) ||
        !json_object_is_type(value, json_type_string)) {
        return false;
    }
    name = json_object_get_string(value);
    return g_str_has_prefix(name, "query-") || !strcmp(name, "quit");
}

static void overtake_later(void)
{
    aio_timer_mod(overtake_timer, aio_now_ns() + OVERTAKE_NS);
}

/*
 * While the dispatcher cannot process the next request, since a command has
 * yielded or polls the loop, other sessions' queries are answered.
 */
static void overtake(void *opaque)
{
    GList *link, *next;

    if (!dispatch_running && !aio_main_nested()) {
        /* The dispatcher will process it next. */
        if (!g_queue_is_empty(&dispatch_queue)) {
            overtake_later();
        }
        return;
    }
    for (link = dispatch_queue.head; link; link = next) {
        QmpRequest *req = link->data;

        next = link->next;
        if (!aio_main_held() && may_overtake(req)) {
            g_queue_delete_link(&dispatch_queue, link);
            request_execute(req);
            /* It may have polled the loop: the queue may have changed. */
            next = dispatch_queue.head;
        }
    }
    if (!g_queue_is_empty(&dispatch_queue)) {
        overtake_later();
    }
}

static void dispatch_next(void *opaque)
{
    if (!dispatch_running && (dispatch_running = g_queue_pop_head(
                                  &dispatch_queue))) {
        request_execute(dispatch_running);
    }
}

void qmp_session_cleanup(void)
{
    QmpRequest *req;

    while ((req = g_queue_pop_head(&dispatch_queue))) {
        request_free(req);
    }
    if (dispatch_bh) {
        aio_bh_free(g_steal_pointer(&dispatch_bh));
        aio_bh_free(g_steal_pointer(&reply_bh));
        aio_timer_free(g_steal_pointer(&overtake_timer));
    }
    qapi_event_limit_cleanup();
}

/* --- input --- */

/* May this request overtake waiting ones? */
static bool is_oob(QmpSession *session, struct json_object *json)
{
    struct json_object *name;
    const QmpCommand *command;
    bool oob;

    if (!session->oob ||
        !qmp_request_check(json, session->oob, &oob, NULL) || !oob ||
        !json_object_object_get_ex(json, "exec-oob", &name)) {
        return false;
    }
    command = qmp_find_command(qmp_program_table(),
                               json_object_get_string(name));
    return !command || !(command->flags & QMP_COMMAND_COROUTINE);
}

static void got_message(void *opaque, const char *text, size_t len, Error *err)
{
    QmpSession *session = opaque;
    QmpRequest *req = g_new0(QmpRequest, 1);

    session_ref(session);
    session->queued++;
    req->session = session;
    req->err = err;
    if (!err) {
        req->json = json_parse_strict(text, len, &req->err);
    }
    if (req->json && is_oob(session, req->json)) {
        request_execute(req);
        return;
    }
    g_queue_push_tail(&dispatch_queue, req);
    aio_bh_schedule(dispatch_bh);
    overtake_later();
}

static void session_eof(QmpSession *session)
{
    qmp_splitter_eof(&session->splitter);
    session->eof = true;
    if (!session->queued) {
        end_later(session);
    }
    update_handlers(session);
}

/* Keeps the descriptor received last; it belongs to the next command. */
static void take_descriptors(QmpSession *session, struct msghdr *msg)
{
    struct cmsghdr *cmsg;

    for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (cmsg->cmsg_level != SOL_SOCKET ||
            cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            if (session->fd >= 0) {
                close(session->fd);
            }
            memcpy(&session->fd, CMSG_DATA(cmsg) + i * sizeof(int),
                   sizeof(int));
        }
    }
}

static ssize_t session_read(QmpSession *session, char *buf, size_t size)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(16 * sizeof(int))];
    } control;
    struct iovec iov = { .iov_base = buf, .iov_len = size };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1,
        .msg_control = &control, .msg_controllen = sizeof(control),
    };
    ssize_t n = recvmsg(session->in_fd, &msg, MSG_CMSG_CLOEXEC);

    if (n < 0 && errno == ENOTSOCK) {
        return read(session->in_fd, buf, size);
    }
    if (n >= 0) {
        take_descriptors(session, &msg);
    }
    return n;
}

int monitor_take_fd(void)
{
    int fd = current_session ? current_session->fd : -1;

    if (fd >= 0) {
        current_session->fd = -1;
    }
    return fd;
}

static void session_readable(void *opaque)
{
    QmpSession *session = opaque;
    char buf[4096];
    ssize_t n;

    session_ref(session);
    n = session_read(session, buf, sizeof(buf));
    if (n > 0) {
        qmp_splitter_feed(&session->splitter, buf, n);
        update_handlers(session);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        session_eof(session);
    }
    qmp_session_unref(session);
}

static void session_writable(void *opaque)
{
    QmpSession *session = opaque;

    if (!write_out(session)) {
        end_later(session);
    }
    update_handlers(session);
}

/* Adds the handlers for reading and writing that the state requires. */
static void update_handlers(QmpSession *session)
{
    int limit = session->oob ? QUEUE_MAX_OOB : 1;
    bool want_read = session->open && !session->ending &&
                     session->in_fd >= 0 && !session->eof &&
                     session->queued < limit &&
                     backlog(session) < OUT_SLOW;
    bool want_write = session->open && !session->ending && backlog(session) > 0;
    AioHandler *on_read = want_read ? session_readable : NULL;
    AioHandler *on_write = want_write ? session_writable : NULL;

    if (!session->open) {
        return;
    }
    if (session->in_fd == session->out_fd) {
        aio_set_fd_handler(aio_main_context(), session->in_fd, AIO_SCOPE_IO,
                           on_read, on_write, session);
        return;
    }
    if (session->in_fd >= 0) {
        aio_set_fd_handler(aio_main_context(), session->in_fd, AIO_SCOPE_IO,
                           on_read, NULL, session);
    }
    aio_set_fd_handler(aio_main_context(), session->out_fd, AIO_SCOPE_IO,
                       NULL, on_write, session);
}

static void send_greeting(QmpSession *session)
{
    g_autofree char *text = g_strdup_printf(
        "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": %d, \"minor\": %d, "
        "\"major\": %d}, \"package\": \"%s\"}, \"capabilities\": [\"oob\"]}}",
        TIDEMARK_QEMU_MICRO, TIDEMARK_QEMU_MINOR, TIDEMARK_QEMU_MAJOR,
        TIDEMARK_PACKAGE);
    struct json_object *greeting = json_tokener_parse(text);

    session_send(session, greeting);
    json_object_put(greeting);
}

QmpSession *qmp_session_new(int in_fd, int out_fd, bool pretty,
                            QmpSessionClosed *closed, void *opaque)
{
    QmpSession *session = g_new0(QmpSession, 1);

    if (!dispatch_bh) {
        dispatch_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_MAIN,
                                 dispatch_next, NULL);
        reply_bh = aio_bh_new(aio_main_context(), AIO_SCOPE_MAIN, reply_now,
                              NULL);
        overtake_timer = aio_timer_new(aio_main_context(), AIO_SCOPE_IO,
                                       overtake, NULL);
    }
    session->refcnt = 1;
    session->in_fd = in_fd;
    session->out_fd = out_fd;
    session->fd = -1;
    session->pretty = pretty;
    session->open = true;
    session->out = g_string_new(NULL);
    session->closed = closed;
    session->opaque = opaque;
    qmp_splitter_init(&session->splitter, got_message, session);
    qapi_event_add_emitter(emit_event, session);
    send_greeting(session);
    update_handlers(session);
    return session;
}

void qmp_session_stop(QmpSession *session)
{
    if (!session->open) {
        return;
    }
    if (session->in_fd >= 0) {
        aio_set_fd_handler(aio_main_context(), session->in_fd, AIO_SCOPE_IO,
                           NULL, NULL, NULL);
    }
    if (session->out_fd != session->in_fd) {
        aio_set_fd_handler(aio_main_context(), session->out_fd,
                           AIO_SCOPE_IO, NULL, NULL, NULL);
    }
    qapi_event_remove_emitter(emit_event, session);
    session->open = false;
}

void qmp_session_flush(QmpSession *session, int64_t end_ns)
{
    reply_now(NULL);
    if (session->open) {
        chardev_flush_out(session->out_fd, session->out, &session->sent,
                          end_ns);
    }
}

bool qmp_session_negotiate(QmpSession *session, bool oob, Error **errp)
{
    if (session->negotiated) {
        error_set(errp, ERROR_CLASS_COMMAND_NOT_FOUND,
                  "Capabilities negotiation is already complete, command "
                  "ignored");
        return false;
    }
    session->negotiated = true;
    session->oob = oob;
    return true;
}
