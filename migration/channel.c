/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a migration goes to or comes from. */
#include "qemu/osdep.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "channel.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/cutils.h"
#include "qemu/sockets.h"

/* --- addresses --- */

void mig_uri_free(MigUri *uri)
{
    if (uri) {
        g_free(uri->path);
        g_free(uri->port);
        g_free(uri);
    }
}

/* Options behind a port: "to=N", "ipv4", "ipv6", with "=on" or "=off". */
static bool take_inet_option(MigUri *uri, const char *option)
{
    int64_t number;
    int on = !g_str_has_suffix(option, "=off");

    if (g_str_has_prefix(option, "to=")) {
        if (!parse_int64(option + 3, &number, NULL) || number < 0 ||
            number > 65535) {
            return false;
        }
        uri->port_to = number;
        return true;
    }
    if (!strcmp(option, "ipv4") || !strcmp(option, "ipv4=on") ||
        !strcmp(option, "ipv4=off")) {
        uri->ipv4 = on;
        return true;
    }
    if (!strcmp(option, "ipv6") || !strcmp(option, "ipv6=on") ||
        !strcmp(option, "ipv6=off")) {
        uri->ipv6 = on;
        return true;
    }
    return false;
}

static bool take_inet(MigUri *uri, const char *address, Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(address, ",", -1);
    char *colon = parts[0] ? strrchr(parts[0], ':') : NULL;
    size_t len;

    if (!colon || !colon[1]) {
        error_setg(errp, "error parsing address '%s'", address);
        return false;
    }
    *colon = '\0';
    len = strlen(parts[0]);
    if (parts[0][0] == '[' && len >= 2 && parts[0][len - 1] == ']') {
        uri->path = g_strndup(parts[0] + 1, len - 2);
    } else {
        uri->path = g_strdup(parts[0]);
    }
    uri->port = g_strdup(colon + 1);
    for (char **option = parts + 1; *option; option++) {
        if (!take_inet_option(uri, *option)) {
            error_setg(errp, "error parsing address '%s'", address);
            return false;
        }
    }
    return true;
}

/* "PATH" or "PATH,offset=BYTES" */
static bool take_file(MigUri *uri, const char *text, Error **errp)
{
    const char *option = strstr(text, ",offset=");

    uri->path = option ? g_strndup(text, option - text) : g_strdup(text);
    if (option) {
        int64_t offset;

        if (!parse_size(option + strlen(",offset="), 'B', &offset, errp) ||
            offset < 0) {
            return false;
        }
        uri->offset = offset;
    }
    if (!*uri->path) {
        error_setg(errp, "The path of the file must not be empty");
        return false;
    }
    return true;
}

static bool take_rest(MigUri *uri, const char *rest, Error **errp)
{
    switch (uri->kind) {
    case MIG_URI_TCP:
        return take_inet(uri, rest, errp);
    case MIG_URI_FILE:
        return take_file(uri, rest, errp);
    case MIG_URI_UNIX:
        if (!*rest) {
            error_setg(errp, "invalid Unix socket address");
            return false;
        }
        break;
    default:
        break;
    }
    uri->path = g_strdup(rest);
    return true;
}

MigUri *mig_uri_parse(const char *text, bool incoming, Error **errp)
{
    static const char *const prefixes[] = {
        [MIG_URI_UNIX] = "unix:", [MIG_URI_TCP] = "tcp:",
        [MIG_URI_EXEC] = "exec:", [MIG_URI_FD] = "fd:",
        [MIG_URI_FILE] = "file:",
    };

    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
        g_autoptr(MigUri) uri = NULL;

        if (!g_str_has_prefix(text, prefixes[i])) {
            continue;
        }
        uri = g_new0(MigUri, 1);
        uri->kind = i;
        uri->ipv4 = uri->ipv6 = -1;
        if (!take_rest(uri, text + strlen(prefixes[i]), errp)) {
            return NULL;
        }
        return g_steal_pointer(&uri);
    }
    if (incoming) {
        error_setg(errp, "unknown migration protocol: %s", text);
    } else {
        error_setg(errp,
                   "Parameter 'uri' expects a valid migration protocol");
    }
    return NULL;
}

/* --- commands and files --- */

/* Runs in the child: undoes what a program does to signals. */
static void child_setup(gpointer opaque)
{
    sigset_t none;

    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
}

/* @incoming: what it prints is read; else it reads what is written. */
static MigChannel *run_command(const char *command, bool incoming,
                               Error **errp)
{
    const char *argv[] = { "/bin/sh", "-c", command, NULL };
    g_autoptr(GError) gerr = NULL;
    int pair[2];
    GPid pid;
    bool ok;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        error_setg_errno(errp, errno, "Cannot connect to a command");
        return NULL;
    }
    ok = g_spawn_async_with_fds(NULL, (char **)argv, NULL,
                                G_SPAWN_DO_NOT_REAP_CHILD, child_setup, NULL,
                                &pid, incoming ? -1 : pair[1],
                                incoming ? pair[1] : -1, -1, &gerr);
    close(pair[1]);
    if (!ok || !fd_set_nonblock(pair[0], true)) {
        error_setg(errp, "Cannot run the command: %s",
                   gerr ? gerr->message : g_strerror(errno));
        close(pair[0]);
        return NULL;
    }
    return mig_channel_new(pair[0], pid);
}

static MigChannel *open_file(const MigUri *uri, bool incoming, Error **errp)
{
    int flags = incoming ? O_RDONLY : O_WRONLY | O_CREAT;
    int fd = open(uri->path, flags | O_CLOEXEC | O_NONBLOCK, 0660);

    if (fd < 0 || (uri->offset && lseek(fd, uri->offset, SEEK_SET) < 0) ||
        (!incoming && ftruncate(fd, uri->offset) < 0 && errno != EINVAL)) {
        error_setg_errno(errp, errno, "Cannot open '%s'", uri->path);
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    return mig_channel_new(fd, 0);
}

static MigChannel *use_fd(int fd, Error **errp)
{
    if (!fd_set_nonblock(fd, true)) {
        error_setg_errno(errp, errno, "Cannot use the file descriptor");
        close(fd);
        return NULL;
    }
    return mig_channel_new(fd, 0);
}

/* Kinds that are there at once; false: a socket. */
static bool open_at_once(const MigUri *uri, int fd, bool incoming,
                         MigChannel **ch, Error **errp)
{
    switch (uri->kind) {
    case MIG_URI_EXEC:
        *ch = run_command(uri->path, incoming, errp);
        return true;
    case MIG_URI_FILE:
        *ch = open_file(uri, incoming, errp);
        return true;
    case MIG_URI_FD:
        *ch = use_fd(fd, errp);
        return true;
    default:
        return false;
    }
}

/* --- outgoing --- */

MigChannel *coroutine_fn mig_connect(const MigUri *uri, int fd,
                                     ThreadPoolWait *wait, Error **errp)
{
    MigChannel *ch = NULL;

    if (open_at_once(uri, fd, false, &ch, errp)) {
        return ch;
    }
    fd = sock_co_connect(uri->port ? NULL : uri->path,
                         &(SockInetAddress){
                             .host = uri->path, .port = uri->port,
                             .ipv4 = uri->ipv4, .ipv6 = uri->ipv6,
                         }, wait, errp);
    if (fd < 0) {
        return NULL;
    }
    sock_expect_bulk(fd);
    return mig_channel_new(fd, 0);
}

/* --- incoming --- */

struct MigListener {
    MigUri *uri;
    int fd;         /* that listens; -1: @ready is there */
    MigChannel *ready;
    AioBH *bh;      /* for @ready */
    MigAccepted *accepted;
    void *opaque;
};

/* The listener may be freed by the call. */
static void hand_over(MigListener *l, MigChannel *ch)
{
    l->accepted(l->opaque, ch);
}

static void on_connection(void *opaque)
{
    MigListener *l = opaque;
    int fd = sock_accept(l->fd);

    if (fd >= 0) {
        hand_over(l, mig_channel_new(fd, 0));
    }
}

static void on_ready(void *opaque)
{
    MigListener *l = opaque;

    hand_over(l, g_steal_pointer(&l->ready));
}

static int listen_socket(const MigUri *uri, Error **errp)
{
    if (uri->kind == MIG_URI_UNIX) {
        return sock_listen_unix(uri->path, errp);
    }
    return sock_listen_inet(&(SockInetAddress){
                                .host = uri->path, .port = uri->port,
                                .port_to = uri->port_to,
                                .ipv4 = uri->ipv4, .ipv6 = uri->ipv6,
                            }, errp);
}

static MigUri *copy_uri(const MigUri *uri)
{
    MigUri *copy = g_new(MigUri, 1);

    *copy = *uri;
    copy->path = g_strdup(uri->path);
    copy->port = g_strdup(uri->port);
    return copy;
}

MigListener *mig_listen(const MigUri *uri, int fd, MigAccepted *accepted,
                        void *opaque, Error **errp)
{
    MigChannel *ready = NULL;
    MigListener *l;
    int listen_fd = -1;

    if (open_at_once(uri, fd, true, &ready, errp)) {
        if (!ready) {
            return NULL;
        }
    } else {
        listen_fd = listen_socket(uri, errp);
        if (listen_fd < 0) {
            return NULL;
        }
    }
    l = g_new0(MigListener, 1);
    l->uri = copy_uri(uri);
    l->fd = listen_fd;
    l->ready = ready;
    l->accepted = accepted;
    l->opaque = opaque;
    if (ready) {
        l->bh = aio_bh_new(aio_main_context(), AIO_SCOPE_MAIN, on_ready, l);
        aio_bh_schedule(l->bh);
    } else {
        aio_set_fd_handler(aio_main_context(), l->fd, AIO_SCOPE_MAIN,
                           on_connection, NULL, l);
    }
    return l;
}

void mig_listener_free(MigListener *l)
{
    if (!l) {
        return;
    }
    if (l->fd >= 0) {
        aio_set_fd_handler(aio_main_context(), l->fd, AIO_SCOPE_MAIN, NULL,
                           NULL, NULL);
        close(l->fd);
    }
    if (l->bh) {
        aio_bh_free(l->bh);
    }
    mig_channel_free(l->ready);
    mig_uri_free(l->uri);
    g_free(l);
}

/* The port that was chosen ("0", or one of several). */
static char *bound_port(const MigListener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    int port;

    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0) {
        return g_strdup(l->uri->port);
    }
    port = ss.ss_family == AF_INET6
        ? ntohs(((struct sockaddr_in6 *)&ss)->sin6_port)
        : ntohs(((struct sockaddr_in *)&ss)->sin_port);
    return g_strdup_printf("%d", port);
}

SocketAddressList *mig_listener_address(const MigListener *l)
{
    SocketAddressList *list = NULL;
    SocketAddress *address;

    if (!l || l->fd < 0) {
        return NULL;
    }
    address = g_new0(SocketAddress, 1);
    if (l->uri->kind == MIG_URI_UNIX) {
        address->type = SOCKET_ADDRESS_TYPE_UNIX;
        address->u.q_unix.path = g_strdup(l->uri->path);
    } else {
        address->type = SOCKET_ADDRESS_TYPE_INET;
        address->u.inet.host = g_strdup(l->uri->path);
        address->u.inet.port = bound_port(l);
    }
    QAPI_LIST_PREPEND(list, address);
    return list;
}
