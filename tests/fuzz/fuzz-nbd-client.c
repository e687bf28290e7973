/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes from an NBD server: handshake, replies to requests in flight, lists.
 *
 * Invariants: no request is answered with more or less than was requested, and
 * after the server has disconnected nothing waits.  The first byte selects the
 * client's action: 0 lists exports, else it enters one.
 */
#include "qemu/osdep.h"
#include <sys/socket.h>
#include "fuzz.h"
#include "nbd/client.h"
#include "qemu/aio.h"
#include "qemu/sockets.h"

#define LEN 4096

typedef struct Run {
    const uint8_t *data;
    size_t size;
    int fds[2]; /* client, server */
    NBDConn *conn;
    unsigned running;
} Run;

static void coroutine_fn do_read(void *opaque)
{
    Run *r = opaque;
    g_autofree uint8_t *buf = g_malloc(LEN);
    QEMUIOVector qiov;

    qemu_iovec_init_buf(&qiov, buf, LEN);
    if (nbd_conn_read(r->conn, 512, LEN, &qiov, 0) == 0) {
        /* All of it was set: the sanitizers see to that where it was not. */
        buffer_is_zero(buf, LEN);
    }
    nbd_conn_unref(r->conn);
    r->running--;
}

static void coroutine_fn do_status(void *opaque)
{
    Run *r = opaque;
    uint32_t flags = 0, run = 0;

    if (nbd_conn_status(r->conn, 0, LEN, &flags, &run) == 0) {
        g_assert_true(run > 0 && run <= LEN);
    }
    nbd_conn_unref(r->conn);
    r->running--;
}

static void coroutine_fn do_flush(void *opaque)
{
    Run *r = opaque;
    NBDRequest req = { .type = NBD_CMD_FLUSH };

    nbd_conn_command(r->conn, &req);
    nbd_conn_unref(r->conn);
    r->running--;
}

static void begin(Run *r, CoroutineEntry *entry)
{
    r->running++;
    nbd_conn_ref(r->conn);
    coroutine_enter(coroutine_create(entry, r));
}

static void coroutine_fn client(void *opaque)
{
    Run *r = opaque;
    NBDWish wish = { .export = "", .context = "base:allocation" };

    if (r->data[0] == 0) {
        GPtrArray *list = nbd_list_exports(r->fds[0], NULL);

        if (list) {
            g_ptr_array_unref(list);
        }
    } else {
        r->conn = nbd_conn_new(r->fds[0], &wish, NULL);
    }
    if (r->conn) {
        begin(r, do_read);
        if (nbd_conn_info(r->conn)->has_context) {
            begin(r, do_status);
        }
        begin(r, do_flush);
        begin(r, do_read);
    }
    r->running--;
}

static void coroutine_fn serve(void *opaque)
{
    Run *r = opaque;

    if (sock_co_send(r->fds[1], r->data + 1, r->size - 1) == 0) {
        shutdown(r->fds[1], SHUT_WR);
    }
    r->running--;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    signal(SIGPIPE, SIG_IGN);
    setenv("TIDEMARK_AIO", "epoll", 1); /* the quicker one to fuzz with */
    aio_main_init(&error_abort);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Run r = { .data = data, .size = size, .running = 2 };

    if (size == 0) {
        return 0;
    }
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0,
                               r.fds), ==, 0);
    coroutine_enter(coroutine_create(client, &r));
    coroutine_enter(coroutine_create(serve, &r));
    AIO_WAIT_WHILE(r.running);
    if (r.conn) {
        nbd_conn_stop(r.conn);
        AIO_WAIT_WHILE(!nbd_conn_ended(r.conn));
        nbd_conn_unref(r.conn);
    }
    aio_set_fd_handler(aio_main_context(), r.fds[1], AIO_SCOPE_IO, NULL, NULL,
                       NULL);
    close(r.fds[1]);
    return 0;
}
