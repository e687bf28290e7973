/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one NBD server of a process: listening and the limit of connections. */
#include "qemu/osdep.h"

#include "block/export.h"
#include "nbd/server.h"
#include "qapi/qapi-types-sockets.h"
#include "qemu/sockets.h"

typedef struct Listener {
    NBDServer *nbd; /* NULL: not running */
    int fd;
    char *path; /* of a unix socket; removed at the end */
    uint32_t max_connections;
    bool accepting;
    void (*idle)(void);
    bool starved; /* no descriptor was left; until a client disconnects */
} Listener;

static Listener listener = { .fd = -1 };

struct NBDServer *nbd_server_get(void)
{
    return listener.nbd;
}

/* --- accepting --- */

static void on_connection(void *opaque);

static bool has_room(void)
{
    return listener.max_connections == 0 ||
           nbd_server_clients(listener.nbd) < listener.max_connections;
}

/* Clients above the limit wait in the kernel's queue. */
static void update_accepting(void)
{
    bool accept = listener.fd >= 0 && has_room() && !listener.starved;

    if (accept != listener.accepting) {
        listener.accepting = accept;
        aio_set_fd_handler(aio_main_context(), listener.fd, AIO_SCOPE_IO,
                           accept ? on_connection : NULL, NULL, NULL);
    }
}

static void on_connection(void *opaque)
{
    while (has_room()) {
        int fd = sock_accept(listener.fd);

        if (fd < 0) {
            /* Retrying at once would fail again. */
            listener.starved = (errno == EMFILE || errno == ENFILE) &&
                               nbd_server_clients(listener.nbd) > 0;
            break;
        }
        nbd_server_add_client(listener.nbd, fd);
    }
    update_accepting();
}

static void on_close(void *opaque, bool served)
{
    listener.starved = false;
    update_accepting();
    if (served && listener.idle && nbd_server_clients(listener.nbd) == 0) {
        listener.idle();
    }
}

bool nbd_server_is_exclusive(void)
{
    return listener.max_connections == 1;
}

void nbd_server_on_idle(void (*idle)(void))
{
    listener.idle = idle;
}

/* --- starting and ending --- */

static int listen_inet(const InetSocketAddress *addr, Error **errp)
{
    SockInetAddress inet = {
        .host = addr->host,
        .port = addr->port,
        .port_to = addr->has_to ? addr->to : 0,
        .ipv4 = addr->has_ipv4 ? addr->ipv4 : -1,
        .ipv6 = addr->has_ipv6 ? addr->ipv6 : -1,
    };

    if (addr->has_mptcp && addr->mptcp) {
        error_setg(errp, "Option 'mptcp' of socket addresses is not "
                   "supported");
        return -1;
    }
    return sock_listen_inet(&inet, errp);
}

static int listen_unix(const UnixSocketAddress *addr, Error **errp)
{
    int fd;

    if (addr->has_abstract && addr->abstract) {
        error_setg(errp, "Abstract unix sockets are not supported");
        return -1;
    }
    fd = sock_listen_unix(addr->path, errp);
    if (fd >= 0) {
        listener.path = g_strdup(addr->path);
    }
    return fd;
}

static int listen_on(const SocketAddress *addr, Error **errp)
{
    switch (addr->type) {
    case SOCKET_ADDRESS_TYPE_INET:
        return listen_inet(&addr->u.inet, errp);
    case SOCKET_ADDRESS_TYPE_UNIX:
        return listen_unix(&addr->u.q_unix, errp);
    case SOCKET_ADDRESS_TYPE_FD:
        return sock_from_fd_str(addr->u.fd.str, errp);
    default:
        error_setg(errp, "Socket addresses of type '%s' are not supported",
                   SocketAddressType_str(addr->type));
        return -1;
    }
}

bool nbd_server_start(const SocketAddress *addr, const char *tls_creds,
                      const char *tls_authz, uint32_t max_connections,
                      Error **errp)
{
    if (listener.nbd) {
        error_setg(errp, "NBD server already running");
        return false;
    }
    if (tls_creds) {
        error_setg(errp, "No TLS credentials with id '%s'", tls_creds);
        return false;
    }
    if (tls_authz) {
        error_setg(errp, "TLS authorization object '%s': TLS is not "
                   "supported", tls_authz);
        return false;
    }
    listener.fd = listen_on(addr, errp);
    if (listener.fd < 0) {
        return false;
    }
    listener.nbd = nbd_server_new();
    listener.max_connections = max_connections;
    nbd_server_on_close(listener.nbd, on_close, NULL);
    update_accepting();
    return true;
}

bool nbd_server_start_options(const NbdServerOptions *options, Error **errp)
{
    return nbd_server_start(options->addr, options->tls_creds,
                            options->tls_authz, options->max_connections,
                            errp);
}

bool nbd_server_stop(Error **errp)
{
    if (!listener.nbd) {
        error_setg(errp, "NBD server not running");
        return false;
    }
    aio_set_fd_handler(aio_main_context(), listener.fd, AIO_SCOPE_IO, NULL,
                       NULL, NULL);
    close(listener.fd);
    listener.fd = -1;
    listener.accepting = listener.starved = false;
    if (listener.path) {
        unlink(listener.path);
        g_clear_pointer(&listener.path, g_free);
    }
    blk_exp_close_type(BLOCK_EXPORT_TYPE_NBD);
    nbd_server_disconnect_all(listener.nbd);
    AIO_WAIT_WHILE(nbd_server_clients(listener.nbd) > 0);
    g_clear_pointer(&listener.nbd, nbd_server_free);
    return true;
}
