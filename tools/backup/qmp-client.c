/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client of a QMP server.
 *
 * Bytes go through the splitter of the server's own monitor; each message is
 * put into the queue it belongs to.  Commands have an id, so that an answer to
 * one that was given up is not taken for that of the next.
 */
#include "qemu/osdep.h"

#include <poll.h>
#include <sys/socket.h>

#include <json-c/json.h>

#include "monitor/qmp-json.h"
#include "qemu/sockets.h"
#include "qmp-client.h"
#include "tools/common/image.h"

/* For the greeting; and for an answer after SIGINT. */
#define GREETING_TIMEOUT_MS (10 * 1000)
#define IMPATIENT_TIMEOUT_MS (30 * 1000)

struct QmpClient {
    int fd;             /* -1: closed */
    char *name;         /* of the server, for messages */
    char *server;       /* its version */
    bool is_tidemark;
    int timeout_ms;
    int64_t next_id;
    QmpSplitter splitter;
    json_object *greeting;
    GQueue events, replies; /* of json_object */
    char *broken;       /* why the connection cannot be used; NULL: it can */
    bool timed_out;     /* that is why */
};

/* --- messages --- */

static bool G_GNUC_PRINTF(2, 3) break_off(QmpClient *c, const char *fmt, ...)
{
    va_list ap;

    if (!c->broken) {
        va_start(ap, fmt);
        c->broken = g_strdup_vprintf(fmt, ap);
        va_end(ap);
    }
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    return false;
}

static bool fail_broken(const QmpClient *c, Error **errp)
{
    error_setg(errp, "QMP server '%s': %s", c->name, c->broken);
    return false;
}

/* A QmpMessageFunc. */
static void on_message(void *opaque, const char *text, size_t len, Error *err)
{
    QmpClient *c = opaque;
    json_object *msg = text ? json_parse_strict(text, len, &err) : NULL;

    if (!json_object_is_type(msg, json_type_object)) {
        break_off(c, "what it sends is not QMP (%s)",
                  err ? error_get_pretty(err) : "no object");
        error_free(err);
        json_object_put(msg);
        return;
    }
    if (json_member(msg, "QMP")) {
        json_object_put(c->greeting); /* a server may greet twice */
        c->greeting = msg;
    } else if (json_get_str(msg, "event")) {
        g_queue_push_tail(&c->events, msg);
    } else {
        g_queue_push_tail(&c->replies, msg);
    }
}

/* What to wait for. */
typedef bool HasFunc(const QmpClient *c);

static bool has_greeting(const QmpClient *c)
{
    return c->greeting != NULL;
}

static bool has_reply(const QmpClient *c)
{
    return c->replies.length > 0;
}

static bool has_event(const QmpClient *c)
{
    return c->events.length > 0;
}

static int64_t now_ms(void)
{
    return g_get_monotonic_time() / 1000;
}

static bool read_some(QmpClient *c)
{
    char buf[16 * KiB];
    ssize_t n = read(c->fd, buf, sizeof(buf));

    if (n > 0) {
        qmp_splitter_feed(&c->splitter, buf, n);
        return true;
    }
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        return true;
    }
    return n == 0 ? break_off(c, "it has closed the connection")
                  : break_off(c, "%s", strerror(errno));
}

/*
 * Waits for input until @deadline (in ms).  1: some was read; 0: time is over,
 * or a signal came; -1: the connection is broken.
 */
static int wait_input(QmpClient *c, int64_t deadline)
{
    struct pollfd p = { .fd = c->fd, .events = POLLIN };
    int64_t left = deadline - now_ms();
    int ret;

    if (c->broken) {
        return -1;
    }
    ret = poll(&p, 1, CLAMP(left, 0, INT_MAX));
    if (ret < 0 && errno != EINTR) {
        break_off(c, "%s", strerror(errno));
        return -1;
    }
    return ret <= 0 ? 0 : read_some(c) ? 1 : -1;
}

/* Waits until @has; false with @errp, as the connection is broken then. */
static bool wait_for(QmpClient *c, HasFunc *has, int timeout_ms,
                     const char *what, Error **errp)
{
    int64_t deadline = now_ms() + timeout_ms;
    bool hurry = false;

    while (!has(c)) {
        if (tool_interrupted() && !hurry) {
            hurry = true;
            deadline = MIN(deadline, now_ms() + IMPATIENT_TIMEOUT_MS);
        }
        if (wait_input(c, deadline) < 0) {
            return fail_broken(c, errp);
        }
        if (!has(c) && now_ms() >= deadline) {
            c->timed_out = true;
            break_off(c, "no %s in time", what);
            return fail_broken(c, errp);
        }
    }
    return true;
}

/* --- commands --- */

static bool send_all(QmpClient *c, const char *text, size_t len, Error **errp)
{
    int64_t deadline = now_ms() + c->timeout_ms;

    while (len && !c->broken) {
        ssize_t n = send(c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0) {
            text += n;
            len -= n;
        } else if (errno == EAGAIN) {
            struct pollfd p = { .fd = c->fd, .events = POLLOUT };

            poll(&p, 1, 100);
            if (now_ms() >= deadline) {
                break_off(c, "it does not read what it is sent");
            }
        } else if (errno != EINTR) {
            break_off(c, "%s", strerror(errno));
        }
    }
    return !c->broken || fail_broken(c, errp);
}

static bool send_command(QmpClient *c, const char *command, json_object *args,
                         Error **errp)
{
    g_autoptr(json_object) msg =
        json_fill("{'execute': %s, 'id': %i}", command, c->next_id);
    g_autoptr(GString) text = g_string_new("");

    if (args) {
        json_object_object_add(msg, "arguments", json_object_get(args));
    }
    qmp_json_print(text, msg, false);
    g_string_append_c(text, '\n');
    return send_all(c, text->str, text->len, errp);
}

static ErrorClass class_of(const char *name)
{
    for (int i = 0; name && i <= ERROR_CLASS_KVM_MISSING_CAP; i++) {
        if (!strcmp(name, error_class_name(i))) {
            return i;
        }
    }
    return ERROR_CLASS_GENERIC_ERROR;
}

/* What @reply (consumed) returned, or its error. */
static json_object *take_return(json_object *reply, Error **errp)
{
    json_object *error = json_member(reply, "error");
    json_object *value = json_member(reply, "return");
    const char *desc = json_get_str(error, "desc");

    if (error) {
        /* QEMU's may end with a line feed. */
        g_autofree char *text =
            g_strchomp(g_strdup(desc ? desc : "an error without a "
                                              "description"));

        error_set(errp, class_of(json_get_str(error, "class")), "%s", text);
        value = NULL;
    } else if (!value) {
        error_setg(errp, "An answer has neither a result nor an error");
    } else {
        json_object_get(value);
    }
    json_object_put(reply);
    return value;
}

json_object *qmp_client_execute(QmpClient *c, const char *command,
                                json_object *args, Error **errp)
{
    int64_t id = ++c->next_id;

    if (c->broken) {
        fail_broken(c, errp);
        return NULL;
    }
    if (!send_command(c, command, args, errp)) {
        return NULL;
    }
    for (;;) {
        json_object *reply;

        if (!wait_for(c, has_reply, c->timeout_ms, "answer", errp)) {
            error_prepend(errp, "%s: ", command);
            return NULL;
        }
        reply = g_queue_pop_head(&c->replies);
        /* An error in a message that was not understood has no id. */
        if (!json_member(reply, "id") || json_get_int(reply, "id") == id) {
            return take_return(reply, errp);
        }
        json_object_put(reply);
    }
}

static json_object *vcall(QmpClient *c, const char *command, Error **errp,
                          const char *args, va_list ap)
{
    g_autoptr(json_object) obj = args ? json_vfill(args, ap) : NULL;

    return qmp_client_execute(c, command, obj, errp);
}

json_object *qmp_client_call(QmpClient *c, const char *command, Error **errp,
                             const char *args, ...)
{
    json_object *ret;
    va_list ap;

    va_start(ap, args);
    ret = vcall(c, command, errp, args, ap);
    va_end(ap);
    return ret;
}

bool qmp_client_do(QmpClient *c, const char *command, Error **errp,
                   const char *args, ...)
{
    json_object *ret;
    va_list ap;

    va_start(ap, args);
    ret = vcall(c, command, errp, args, ap);
    va_end(ap);
    json_object_put(ret);
    return ret != NULL;
}

/* --- events --- */

json_object *qmp_client_next_event(QmpClient *c, int timeout_ms, Error **errp)
{
    int64_t deadline = now_ms() + timeout_ms;

    while (!has_event(c) && !tool_interrupted()) {
        if (wait_input(c, deadline) < 0) {
            fail_broken(c, errp);
            return NULL;
        }
        if (now_ms() >= deadline) {
            break;
        }
    }
    return g_queue_pop_head(&c->events);
}

/* --- the connection --- */

static bool greet(QmpClient *c, Error **errp)
{
    json_object *qmp, *version, *qemu;
    const char *package;

    if (!wait_for(c, has_greeting, GREETING_TIMEOUT_MS, "greeting", errp)) {
        if (c->timed_out) {
            error_append_hint(errp, "It serves one client at a time: is "
                              "another one connected?\n");
        }
        return false;
    }
    qmp = json_member(c->greeting, "QMP");
    version = json_member(qmp, "version");
    qemu = json_member(version, "qemu");
    package = json_get_str(version, "package");
    c->is_tidemark = package && strstr(package, "Tidemark");
    c->server = g_strdup_printf("QEMU %" PRId64 ".%" PRId64 ".%" PRId64
                                "%s%s%s", json_get_int(qemu, "major"),
                                json_get_int(qemu, "minor"),
                                json_get_int(qemu, "micro"),
                                package && *package ? " (" : "",
                                package ? package : "",
                                package && *package ? ")" : "");
    return qmp_client_do(c, "qmp_capabilities", errp, NULL);
}

QmpClient *qmp_client_new(int fd, const char *name, int timeout_ms,
                          Error **errp)
{
    QmpClient *c = g_new0(QmpClient, 1);

    c->fd = fd;
    c->name = g_strdup(name);
    c->timeout_ms = timeout_ms;
    qmp_splitter_init(&c->splitter, on_message, c);
    g_queue_init(&c->events);
    g_queue_init(&c->replies);
    if (!greet(c, errp)) {
        qmp_client_free(c);
        return NULL;
    }
    return c;
}

/* Connects to "HOST:PORT"; an IPv6 address is in brackets. */
static int connect_inet(const char *text, Error **errp)
{
    const char *colon = strrchr(text, ':');
    g_autofree char *host = colon ? g_strndup(text, colon - text) : NULL;
    SockInetAddress addr = { .ipv4 = -1, .ipv6 = -1 };
    size_t len = host ? strlen(host) : 0;

    if (!colon || !colon[1]) {
        error_setg(errp, "'%s' is not HOST:PORT", text);
        return -1;
    }
    if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = 0;
        memmove(host, host + 1, len - 1);
    }
    addr.host = host;
    addr.port = colon + 1;
    return sock_connect_inet(&addr, errp);
}

/* Is @text HOST:PORT, and not a path? */
static bool looks_inet(const char *text)
{
    const char *colon = strrchr(text, ':');

    return colon && !strchr(text, '/') && colon[1] &&
           strspn(colon + 1, "0123456789") == strlen(colon + 1);
}

QmpClient *qmp_client_connect(const char *address, int timeout_ms,
                              Error **errp)
{
    int fd;

    if (g_str_has_prefix(address, "tcp:")) {
        fd = connect_inet(address + strlen("tcp:"), errp);
    } else if (g_str_has_prefix(address, "unix:")) {
        fd = sock_connect_unix(address + strlen("unix:"), errp);
    } else if (looks_inet(address)) {
        fd = connect_inet(address, errp);
    } else {
        fd = sock_connect_unix(address, errp);
    }
    return fd < 0 ? NULL : qmp_client_new(fd, address, timeout_ms, errp);
}

void qmp_client_free(QmpClient *c)
{
    if (!c) {
        return;
    }
    if (c->fd >= 0) {
        close(c->fd);
    }
    qmp_splitter_destroy(&c->splitter);
    g_queue_clear_full(&c->events, json_unref);
    g_queue_clear_full(&c->replies, json_unref);
    json_object_put(c->greeting);
    g_free(c->name);
    g_free(c->server);
    g_free(c->broken);
    g_free(c);
}

bool qmp_client_is_tidemark(const QmpClient *c)
{
    return c->is_tidemark;
}

const char *qmp_client_server(const QmpClient *c)
{
    return c->server;
}

bool qmp_client_is_open(const QmpClient *c)
{
    return !c->broken;
}
