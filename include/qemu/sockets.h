/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stream sockets: listen, connect, and full transfers in coroutines. */
#ifndef QEMU_SOCKETS_H
#define QEMU_SOCKETS_H

#include "qemu/error.h"

struct ThreadPoolWait;

/* All return a non-blocking, close-on-exec descriptor, or -1 with @errp. */
int sock_listen_unix(const char *path, Error **errp);
/*
 * @host NULL or "": all addresses; @port a number or service name.  @port_to
 * > 0: the first free port up to it.  @ipv4/@ipv6: -1 either, 0 no, 1 yes.
 */
typedef struct SockInetAddress {
    const char *host;
    const char *port;
    int port_to;
    int ipv4, ipv6;
} SockInetAddress;
int sock_listen_inet(const SockInetAddress *addr, Error **errp);
int sock_connect_unix(const char *path, Error **errp);
int sock_connect_inet(const SockInetAddress *addr, Error **errp);
/*
 * The same in a coroutine: names are resolved and sockets connected in a worker
 * thread.  @path: of a local socket; NULL: @addr.  thread_pool_cancel(@wait)
 * makes it fail at once.
 */
int coroutine_fn sock_co_connect(const char *path, const SockInetAddress *addr,
                                 struct ThreadPoolWait *wait, Error **errp);
/* accept(2); -1 if no connection is waiting. */
int sock_accept(int listen_fd);
/* Takes a descriptor number inherited from the parent process ("fd" type). */
int sock_from_fd_str(const char *str, Error **errp);
bool fd_set_nonblock(int fd, bool nonblock);
/*
 * For a connection that carries the data of disks: a local one gets a send
 * buffer for several requests.  The kernel wakes a sender when three quarters
 * of the buffer are free, and a receiver soon waits if the buffer is small.
 * TCP adapts its buffers itself.
 */
void sock_expect_bulk(int fd);

/*
 * Transfer exactly @len bytes; 0, or -errno (-EPIPE/-ECONNRESET where the
 * other side closed in between).  sock_co_recv(): 1 means closed before the
 * first byte.
 */
int coroutine_fn sock_co_recv(int fd, void *buf, size_t len);
int coroutine_fn sock_co_send(int fd, const void *buf, size_t len);
int coroutine_fn sock_co_sendv(int fd, const struct iovec *iov, int niov);
/* One read(2) that waits for data: > 0 bytes, 0 closed, -errno. */
ssize_t coroutine_fn sock_co_read_some(int fd, void *buf, size_t len);

#endif
