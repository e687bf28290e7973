/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets: listening, connecting, transfers that must wait. */
#include "qemu/osdep.h"
#include "qemu/aio.h"
#include "qemu/sockets.h"

#include <netinet/in.h>
#include <sys/socket.h>

#define BIG (3 << 20)

typedef struct Talk {
    int listen_fd;
    int client;
    bool server_done;
} Talk;

static void coroutine_fn server_entry(void *opaque)
{
    Talk *t = opaque;
    g_autofree uint8_t *buf = g_malloc(BIG);
    int fd;

    while ((fd = sock_accept(t->listen_fd)) < 0) {
        co_wait_readable(t->listen_fd);
    }
    g_assert_cmpint(sock_co_recv(fd, buf, BIG), ==, 0);
    g_assert_cmpint(sock_co_send(fd, buf, BIG), ==, 0);
    g_assert_cmpint(sock_co_recv(fd, buf, 4), ==, 1);
    close(fd);
    t->server_done = true;
}

static void coroutine_fn client_entry(void *opaque)
{
    Talk *t = opaque;
    g_autofree uint8_t *out = g_malloc(BIG), *in = g_malloc(BIG);
    struct iovec iov[40];

    for (int i = 0; i < BIG; i++) {
        out[i] = i * 13 + (i >> 9);
    }
    for (int i = 0; i < 40; i++) {
        size_t from = (size_t)BIG * i / 40, to = (size_t)BIG * (i + 1) / 40;

        iov[i] = (struct iovec) { out + from, i == 7 ? 0 : to - from };
    }
    iov[6].iov_len += (size_t)BIG * 8 / 40 - (size_t)BIG * 7 / 40;
    g_assert_cmpint(sock_co_sendv(t->client, iov, 40), ==, 0);
    g_assert_cmpint(sock_co_recv(t->client, in, BIG), ==, 0);
    g_assert(!memcmp(in, out, BIG));
    close(t->client);
}

static void talk(Talk *t)
{
    coroutine_enter(coroutine_create(server_entry, t));
    aio_run_co(aio_main_context(), client_entry, t);
    AIO_WAIT_WHILE(!t->server_done);
    close(t->listen_fd);
}

static void test_unix(void)
{
    g_autofree char *dir = g_dir_make_tmp("test-sockets-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "s", NULL);

    for (int i = 0; i < 2; i++) { /* over a stale socket the second time */
        Talk t = { .listen_fd = sock_listen_unix(path, &error_abort) };

        t.client = sock_connect_unix(path, &error_abort);
        talk(&t);
    }
    unlink(path);
    rmdir(dir);
}

static void expect_error(Error *err, const char *part)
{
    g_assert(err);
    if (!strstr(error_get_pretty(err), part)) {
        g_error("'%s' lacks '%s'", error_get_pretty(err), part);
    }
    error_free(err);
}

static void test_unix_errors(void)
{
    g_autofree char *longer = g_strnfill(200, 'x');
    g_autofree char *dir = g_dir_make_tmp("test-sockets-XXXXXX", NULL);
    g_autofree char *file = g_build_filename(dir, "file", NULL);
    Error *err = NULL;

    g_assert_cmpint(sock_listen_unix(longer, &err), ==, -1);
    expect_error(g_steal_pointer(&err), "too long");
    g_assert_cmpint(sock_connect_unix("", &err), ==, -1);
    expect_error(g_steal_pointer(&err), "empty");
    g_assert_cmpint(sock_connect_unix("/nonexistent/s", &err), ==, -1);
    expect_error(g_steal_pointer(&err), "/nonexistent/s");
    /* Files that are not sockets are not removed. */
    g_assert(g_file_set_contents(file, "x", 1, NULL));
    g_assert_cmpint(sock_listen_unix(file, &err), ==, -1);
    expect_error(g_steal_pointer(&err), file);
    g_assert_cmpint(unlink(file), ==, 0);
    rmdir(dir);
}

static char *port_of(int fd)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&ss, &len), ==, 0);
    return g_strdup_printf("%d",
                           ntohs(((struct sockaddr_in *)&ss)->sin_port));
}

static void test_inet(void)
{
    SockInetAddress any = { "127.0.0.1", "0", 0, -1, -1 };
    Talk t = { .listen_fd = sock_listen_inet(&any, &error_abort) };
    g_autofree char *port = port_of(t.listen_fd);
    SockInetAddress addr = { "127.0.0.1", port, 0, -1, -1 };
    SockInetAddress range = { "127.0.0.1", port, atoi(port) + 20, -1, -1 };
    Error *err = NULL;
    int other;

    g_assert_cmpint(sock_listen_inet(&addr, &err), ==, -1);
    expect_error(g_steal_pointer(&err), "Failed to find an available port");
    other = sock_listen_inet(&range, &error_abort);
    g_assert_cmpint(other, >=, 0);
    close(other);
    t.client = sock_connect_inet(&addr, &error_abort);
    talk(&t);
    g_assert_cmpint(sock_connect_inet(&addr, &err), ==, -1);
    expect_error(g_steal_pointer(&err), "127.0.0.1");
}

static void test_inet_all(void)
{
    SockInetAddress any = { NULL, "0", 0, -1, -1 };
    Talk t = { .listen_fd = sock_listen_inet(&any, &error_abort) };
    g_autofree char *port = port_of(t.listen_fd);
    SockInetAddress addr = { "localhost", port, 0, 1, -1 };

    t.client = sock_connect_inet(&addr, &error_abort);
    talk(&t);
}

static void test_inet_errors(void)
{
    SockInetAddress none = { "127.0.0.1", "80", 0, 0, 0 };
    SockInetAddress service = { "127.0.0.1", "no-such-service", 0, -1, -1 };
    SockInetAddress far = { "127.0.0.1", "80", 70000, -1, -1 };
    Error *err = NULL;

    g_assert_cmpint(sock_listen_inet(&none, &err), ==, -1);
    expect_error(g_steal_pointer(&err), "Neither IPv4 nor IPv6");
    g_assert_cmpint(sock_listen_inet(&service, &err), ==, -1);
    expect_error(g_steal_pointer(&err), "no-such-service");
    g_assert_cmpint(sock_listen_inet(&far, &err), ==, -1);
    expect_error(g_steal_pointer(&err), "70000");
}

static void test_fd_str(void)
{
    g_autofree char *str = NULL;
    Error *err = NULL;
    int pair[2], pipes[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    g_assert_cmpint(pipe(pipes), ==, 0);
    str = g_strdup_printf("%d", pair[0]);
    g_assert_cmpint(sock_from_fd_str(str, &error_abort), ==, pair[0]);
    g_assert(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    g_free(str);
    str = g_strdup_printf("%d", pipes[0]);
    g_assert_cmpint(sock_from_fd_str(str, &err), ==, -1);
    expect_error(g_steal_pointer(&err), "not a socket");
    g_assert_cmpint(sock_from_fd_str("mine", &err), ==, -1);
    expect_error(g_steal_pointer(&err), "mine");
    g_assert_cmpint(sock_from_fd_str("99999999999", &err), ==, -1);
    error_free(g_steal_pointer(&err));
    close(pair[0]);
    close(pair[1]);
    close(pipes[0]);
    close(pipes[1]);
}

static void coroutine_fn closed_entry(void *opaque)
{
    int *fd = opaque;
    char buf[8];

    g_assert_cmpint(sock_co_recv(fd[0], buf, 8), ==, -ECONNRESET);
    g_assert_cmpint(sock_co_read_some(fd[0], buf, 8), ==, 0);
    g_assert_cmpint(sock_co_send(fd[0], buf, 8), ==, -EPIPE);
}

static int send_buffer(int fd)
{
    int bytes;
    socklen_t len = sizeof(bytes);

    g_assert_cmpint(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, &len), ==, 0);
    return bytes;
}

/* Whatever the limit of the kernel is, it is more than the default. */
static void test_bulk(void)
{
    int fds[2], before, tcp;

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), ==, 0);
    before = send_buffer(fds[0]);
    sock_expect_bulk(fds[0]);
    g_assert_cmpint(send_buffer(fds[0]), >, before);
    g_assert_cmpint(send_buffer(fds[1]), ==, before);
    close(fds[0]);
    close(fds[1]);

    tcp = socket(AF_INET, SOCK_STREAM, 0);
    g_assert_cmpint(tcp, >=, 0);
    before = send_buffer(tcp);
    sock_expect_bulk(tcp);
    g_assert_cmpint(send_buffer(tcp), ==, before);
    close(tcp);
}

static void test_closed(void)
{
    int fd[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd),
                    ==, 0);
    g_assert_cmpint(write(fd[1], "abc", 3), ==, 3);
    close(fd[1]);
    aio_run_co(aio_main_context(), closed_entry, fd);
    close(fd[0]);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_fatal);
    g_test_add_func("/sockets/unix", test_unix);
    g_test_add_func("/sockets/unix/errors", test_unix_errors);
    g_test_add_func("/sockets/inet", test_inet);
    g_test_add_func("/sockets/inet/all", test_inet_all);
    g_test_add_func("/sockets/inet/errors", test_inet_errors);
    g_test_add_func("/sockets/fd", test_fd_str);
    g_test_add_func("/sockets/bulk", test_bulk);
    g_test_add_func("/sockets/closed", test_closed);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
