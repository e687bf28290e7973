/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stream sockets: listen, connect, and full transfers in coroutines. */
#include "qemu/osdep.h"
#include "qemu/aio.h"
#include "qemu/coroutine.h"
#include "qemu/cutils.h"
#include "qemu/sockets.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SOCK_FLAGS (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)
#define SOCK_BACKLOG 128
/* The send buffer of sock_expect_bulk(); the kernel doubles it. */
#define SOCK_BULK_BYTES (2 * MiB)

bool fd_set_nonblock(int fd, bool nonblock)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0) {
        return false;
    }
    flags = nonblock ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return fcntl(fd, F_SETFL, flags) == 0;
}

/* Closes @fd, keeping errno; for the error paths. */
static int sock_give_up(int fd)
{
    int saved_errno = errno;

    if (fd >= 0) {
        close(fd);
    }
    errno = saved_errno;
    return -1;
}

/* --- unix --- */

static bool sock_unix_address(struct sockaddr_un *un, const char *path,
                              Error **errp)
{
    *un = (struct sockaddr_un) { .sun_family = AF_UNIX };
    if (!*path) {
        error_setg(errp, "The path of a UNIX socket must not be empty");
        return false;
    }
    if (strlen(path) >= sizeof(un->sun_path)) {
        error_setg(errp, "UNIX socket path '%s' is too long", path);
        error_append_hint(errp, "Path must be less than %zu bytes\n",
                          sizeof(un->sun_path));
        return false;
    }
    strcpy(un->sun_path, path);
    return true;
}

/* Removes a socket without a listener; other files stay. */
static void sock_unlink_stale(const struct sockaddr_un *un)
{
    struct stat st;

    if (lstat(un->sun_path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(un->sun_path);
    }
}

int sock_listen_unix(const char *path, Error **errp)
{
    struct sockaddr_un un;
    int fd;

    if (!sock_unix_address(&un, path, errp)) {
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_FLAGS, 0);
    if (fd >= 0) {
        sock_unlink_stale(&un);
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
        listen(fd, SOCK_BACKLOG) < 0) {
        error_setg_errno(errp, errno, "Failed to bind socket to %s", path);
        return sock_give_up(fd);
    }
    return fd;
}

int sock_connect_unix(const char *path, Error **errp)
{
    struct sockaddr_un un;
    int fd;

    if (!sock_unix_address(&un, path, errp)) {
        return -1;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0 ||
        !fd_set_nonblock(fd, true)) {
        error_setg_errno(errp, errno, "Failed to connect to '%s'", path);
        return sock_give_up(fd);
    }
    return fd;
}

/* --- inet --- */

/* The family that @ipv4 / @ipv6 (-1: either) allow; -1: none. */
static int sock_inet_family(const SockInetAddress *addr)
{
    bool v4 = addr->ipv4 > 0 || (addr->ipv4 < 0 && addr->ipv6 <= 0);
    bool v6 = addr->ipv6 > 0 || (addr->ipv6 < 0 && addr->ipv4 <= 0);

    if (v4 && v6) {
        return AF_UNSPEC;
    }
    return v4 ? AF_INET : v6 ? AF_INET6 : -1;
}

static struct addrinfo *sock_resolve(const SockInetAddress *addr, bool passive,
                                     Error **errp)
{
    const char *host = addr->host && *addr->host ? addr->host : NULL;
    struct addrinfo hints = {
        .ai_flags = passive ? AI_PASSIVE : AI_ADDRCONFIG,
        .ai_family = sock_inet_family(addr),
        .ai_socktype = SOCK_STREAM,
    };
    struct addrinfo *list = NULL;
    int ret;

    if (hints.ai_family < 0) {
        error_setg(errp, "Neither IPv4 nor IPv6 is allowed for '%s'",
                   host ? host : "");
        return NULL;
    }
    ret = getaddrinfo(host, addr->port, &hints, &list);
    if (ret == EAI_BADFLAGS || (ret == EAI_NONAME && !passive)) {
        /* With only the loopback interface, AI_ADDRCONFIG finds nothing. */
        hints.ai_flags &= ~AI_ADDRCONFIG;
        ret = getaddrinfo(host, addr->port, &hints, &list);
    }
    if (ret) {
        error_setg(errp, "address resolution failed for %s:%s: %s",
                   host ? host : "", addr->port,
                   ret == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(ret));
        return NULL;
    }
    return list;
}

static void sock_set_port(struct sockaddr *sa, int port)
{
    if (sa->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *)sa)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)sa)->sin_port = htons(port);
    }
}

static int sock_get_port(const struct sockaddr *sa)
{
    return ntohs(sa->sa_family == AF_INET6
                     ? ((const struct sockaddr_in6 *)sa)->sin6_port
                     : ((const struct sockaddr_in *)sa)->sin_port);
}

/* Creates a socket bound to @ai; -1 with errno. */
static int sock_bind_one(const struct addrinfo *ai, bool only_v6)
{
    int fd = socket(ai->ai_family, SOCK_FLAGS, ai->ai_protocol);
    int on = 1;

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6) {
        /* Off: one socket for all addresses accepts IPv4 as well. */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ only_v6 },
                   sizeof(int));
    }
    /* Two sockets may bind to the port, but only one can listen. */
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 ||
        listen(fd, SOCK_BACKLOG) < 0) {
        return sock_give_up(fd);
    }
    return fd;
}

/* Tries the ports of @addr on @ai. */
static int sock_listen_one(const SockInetAddress *addr,
                           const struct addrinfo *ai)
{
    int first = sock_get_port(ai->ai_addr);
    bool only_v6 = addr->ipv4 == 0 || (addr->ipv6 > 0 && addr->ipv4 < 0);
    int fd = -1;

    for (int port = first; port <= MAX(first, addr->port_to); port++) {
        sock_set_port(ai->ai_addr, port);
        fd = sock_bind_one(ai, only_v6);
        if (fd >= 0 || errno != EADDRINUSE) {
            break;
        }
    }
    return fd;
}

int sock_listen_inet(const SockInetAddress *addr, Error **errp)
{
    struct addrinfo *list;
    int fd = -1;

    if (addr->port_to > 65535) {
        error_setg(errp, "Port %d is out of range", addr->port_to);
        return -1;
    }
    list = sock_resolve(addr, true, errp);
    if (!list) {
        return -1;
    }
    /* IPv6 first: bound to all addresses it also accepts IPv4. */
    for (int round = 0; round < 2 && fd < 0; round++) {
        for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
            if ((ai->ai_family == AF_INET6) == (round == 0)) {
                fd = sock_listen_one(addr, ai);
            }
        }
    }
    if (fd < 0) {
        error_setg_errno(errp, errno, "Failed to find an available port");
    }
    freeaddrinfo(list);
    return fd;
}

static void sock_no_delay(int fd)
{
    int on = 1;

    /* Fails for sockets other than TCP, which do not need it. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int sock_connect_inet(const SockInetAddress *addr, Error **errp)
{
    struct addrinfo *list = sock_resolve(addr, false, errp);
    int fd = -1;

    if (!list) {
        return -1;
    }
    for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
        fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC,
                    ai->ai_protocol);
        if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
            fd = sock_give_up(fd);
        }
    }
    freeaddrinfo(list);
    if (fd < 0 || !fd_set_nonblock(fd, true)) {
        error_setg_errno(errp, errno, "Failed to connect to '%s:%s'",
                         addr->host ? addr->host : "", addr->port);
        return sock_give_up(fd);
    }
    sock_no_delay(fd);
    return fd;
}

/* --- any family --- */

int sock_accept(int listen_fd)
{
    int fd;

    do {
        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd >= 0) {
        sock_no_delay(fd);
    }
    return fd;
}

/* Has copies of all it needs: the attempt may be abandoned while it runs. */
typedef struct Dial {
    char *path; /* NULL: the address */
    char *host, *port;
    int ipv4, ipv6;
    int fd;
    Error *err;
} Dial;

static void dial_free(void *opaque)
{
    Dial *d = opaque;

    if (d->fd >= 0) {
        close(d->fd);
    }
    error_free(d->err);
    g_free(d->path);
    g_free(d->host);
    g_free(d->port);
    g_free(d);
}

/* Runs in a worker thread. */
static int dial(void *opaque)
{
    Dial *d = opaque;

    if (d->path) {
        d->fd = sock_connect_unix(d->path, &d->err);
    } else {
        d->fd = sock_connect_inet(&(SockInetAddress){
                                      .host = d->host, .port = d->port,
                                      .ipv4 = d->ipv4, .ipv6 = d->ipv6,
                                  }, &d->err);
    }
    return 0;
}

int coroutine_fn sock_co_connect(const char *path, const SockInetAddress *addr,
                                 ThreadPoolWait *wait, Error **errp)
{
    Dial *d = g_new0(Dial, 1);
    int fd;

    d->path = g_strdup(path);
    d->fd = -1;
    if (!path) {
        d->host = g_strdup(addr->host);
        d->port = g_strdup(addr->port);
        d->ipv4 = addr->ipv4;
        d->ipv6 = addr->ipv6;
    }
    if (thread_pool_co_run_cancellable(dial, d, dial_free, wait) < 0) {
        error_setg(errp, "The connection attempt was cancelled");
        return -1;
    }
    fd = d->fd;
    d->fd = -1;
    error_propagate(errp, g_steal_pointer(&d->err));
    dial_free(d);
    return fd;
}

void sock_expect_bulk(int fd)
{
    int bytes = SOCK_BULK_BYTES, domain;
    socklen_t len = sizeof(domain);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
        domain == AF_UNIX) {
        /* The kernel takes less if net.core.wmem_max is less. */
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    }
}

int sock_from_fd_str(const char *str, Error **errp)
{
    int type;
    socklen_t len = sizeof(type);
    int64_t fd;

    if (!parse_int64(str, &fd, NULL) || fd < 0 || fd > INT_MAX) {
        error_setg(errp, "Unable to parse FD number %s", str);
        return -1;
    }
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0) {
        error_setg(errp, "File descriptor '%s' is not a socket", str);
        return -1;
    }
    if (type != SOCK_STREAM) {
        error_setg(errp, "File descriptor '%s' is no stream socket", str);
        return -1;
    }
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || !fd_set_nonblock(fd, true)) {
        error_setg_errno(errp, errno, "Cannot use file descriptor '%s'", str);
        return -1;
    }
    return fd;
}

/* --- transfers --- */

static bool sock_must_wait(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK;
}

ssize_t coroutine_fn sock_co_read_some(int fd, void *buf, size_t len)
{
    for (;;) {
        ssize_t n = read(fd, buf, len);

        if (n >= 0) {
            return n;
        }
        if (sock_must_wait()) {
            co_wait_readable(fd);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

int coroutine_fn sock_co_recv(int fd, void *buf, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = sock_co_read_some(fd, (char *)buf + done, len - done);

        if (n < 0) {
            return n;
        }
        if (n == 0) {
            return done ? -ECONNRESET : 1;
        }
        done += n;
    }
    return 0;
}

/* Sends as much as possible at once; never raises SIGPIPE. */
static ssize_t sock_send_some(int fd, const struct iovec *iov, int niov)
{
    struct msghdr msg = { .msg_iov = (struct iovec *)iov, .msg_iovlen = niov };
    ssize_t n = sendmsg(fd, &msg, MSG_NOSIGNAL);

    /* Also used for pipes and terminals (a monitor on stdio). */
    if (n < 0 && errno == ENOTSOCK) {
        n = writev(fd, iov, niov);
    }
    return n;
}

static int coroutine_fn sock_co_send_all(int fd, struct iovec *iov, int niov)
{
    while (niov) {
        ssize_t n;

        if (!iov->iov_len) {
            iov++;
            niov--;
            continue;
        }
        n = sock_send_some(fd, iov, MIN(niov, IOV_MAX));
        if (n < 0 && sock_must_wait()) {
            co_wait_writable(fd);
        } else if (n < 0 && errno != EINTR) {
            return -errno;
        }
        while (n > 0) {
            size_t part = MIN((size_t)n, iov->iov_len);

            iov->iov_base = (char *)iov->iov_base + part;
            iov->iov_len -= part;
            n -= part;
            if (!iov->iov_len) {
                iov++;
                niov--;
            }
        }
    }
    return 0;
}

int coroutine_fn sock_co_send(int fd, const void *buf, size_t len)
{
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };

    return sock_co_send_all(fd, &iov, 1);
}

int coroutine_fn sock_co_sendv(int fd, const struct iovec *iov, int niov)
{
    struct iovec few[16];
    g_autofree struct iovec *many = NULL;
    struct iovec *copy = few;

    /* A copy, as sent bytes are removed from it. */
    if (niov > (int)ARRAY_SIZE(few)) {
        copy = many = g_new(struct iovec, niov);
    }
    memcpy(copy, iov, niov * sizeof(*iov));
    return sock_co_send_all(fd, copy, niov);
}
