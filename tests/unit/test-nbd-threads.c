/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exports of an NBD server that move between threads with their clients. */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "nbd/client.h"
#include "nbd/server.h"
#include "qemu/aio.h"
#include "qemu/iothread.h"

#define SIZE (8 * MiB)
#define LEN 4096
#define BIG (512 * KiB)
#define WORKERS 8
#define MOVES 200

typedef struct Disk {
    NBDExport *exp;
    AioContext *ctx; /* where requests must come */
    int requests;    /* in its thread */
    int users;       /* in the main thread */
    uint8_t data[SIZE];
} Disk;

typedef struct Client {
    NBDServer *server;
    NBDConn *conn;
    const char *name;
    uint64_t base; /* where its workers write: others must not */
    bool stop;
    int running, done;
    int ret; /* of the last request that failed */
} Client;

/* --- the export --- */

static void coroutine_fn note(Disk *d)
{
    g_assert_true(aio_current_context() == d->ctx);
    d->requests++;
    co_yield_to_loop();
    g_assert_true(aio_current_context() == d->ctx);
}

static int coroutine_fn disk_pread(void *opaque, uint64_t offset,
                                   uint32_t bytes, void *buf)
{
    Disk *d = opaque;

    note(d);
    memcpy(buf, d->data + offset, bytes);
    return 0;
}

static int coroutine_fn disk_pwrite(void *opaque, uint64_t offset,
                                    uint32_t bytes, const void *buf,
                                    unsigned flags)
{
    Disk *d = opaque;

    note(d);
    memcpy(d->data + offset, buf, bytes);
    return 0;
}

static int coroutine_fn disk_flush(void *opaque)
{
    note(opaque);
    return 0;
}

static void disk_added(void *opaque)
{
    Disk *d = opaque;

    g_assert_true(aio_current_context() == aio_main_context());
    d->users++;
}

static void disk_removed(void *opaque)
{
    Disk *d = opaque;

    g_assert_true(aio_current_context() == aio_main_context());
    d->users--;
}

static const NBDExportOps disk_ops = {
    .pread = disk_pread,
    .pwrite = disk_pwrite,
    .flush = disk_flush,
    .client_added = disk_added,
    .client_removed = disk_removed,
};

static Disk *disk_new(NBDServer *server, const char *name)
{
    NBDExportInfo info = { .name = name, .size = SIZE, .writable = true };
    Disk *d = g_new0(Disk, 1);

    d->ctx = aio_main_context();
    d->exp = nbd_export_new(server, &info, &disk_ops, d, &error_abort);
    return d;
}

static void disk_free(Disk *d)
{
    nbd_export_shutdown(d->exp);
    AIO_WAIT_WHILE(d->users > 0);
    nbd_export_free(d->exp);
    g_free(d);
}

static void detach(void *opaque)
{
    Disk *d = opaque;

    nbd_export_detach(d->exp);
}

static void attach(void *opaque)
{
    Disk *d = opaque;

    nbd_export_attach(d->exp, d->ctx);
}

static void move(Disk *d, AioContext *to)
{
    nbd_export_quiesce(d->exp, true);
    AIO_WAIT_WHILE(nbd_export_busy(d->exp));
    aio_context_run(d->ctx, detach, d);
    d->ctx = to;
    aio_context_run(to, attach, d);
    nbd_export_quiesce(d->exp, false);
}

/* --- clients, in the main thread --- */

static void coroutine_fn connect_entry(void *opaque)
{
    Client *c = opaque;
    NBDWish wish = { .export = c->name };
    int fds[2];

    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds),
                    ==, 0);
    nbd_server_add_client(c->server, fds[1]);
    c->conn = nbd_conn_new(fds[0], &wish, &error_abort);
}

static void client_connect(Client *c, NBDServer *server, const char *name)
{
    *c = (Client){ .server = server, .name = name };
    aio_run_co(aio_main_context(), connect_entry, c);
}

/* Writes a pattern and reads it again, in a place of its own. */
static int coroutine_fn write_and_read(Client *c, int which, int round)
{
    uint32_t len = which ? LEN : BIG;
    uint64_t offset = c->base + which * MiB;
    g_autofree uint8_t *out = g_malloc(len), *in = g_malloc0(len);
    NBDRequest req = { .from = offset, .len = len };
    QEMUIOVector qiov_out, qiov_in;
    int ret;

    memset(out, round * WORKERS + which + 1, len);
    qemu_iovec_init_buf(&qiov_out, out, len);
    qemu_iovec_init_buf(&qiov_in, in, len);
    ret = nbd_conn_write(c->conn, &req, &qiov_out, 0);
    if (ret == 0) {
        ret = nbd_conn_read(c->conn, offset, len, &qiov_in, 0);
    }
    if (ret == 0) {
        g_assert_cmpint(memcmp(in, out, len), ==, 0);
    }
    return ret;
}

typedef struct Worker {
    Client *c;
    int which;
} Worker;

static void coroutine_fn worker_entry(void *opaque)
{
    g_autofree Worker *w = opaque;
    Client *c = w->c;
    int ret = 0;

    for (int round = 0; !c->stop && ret == 0; round++) {
        ret = write_and_read(c, w->which, round);
        c->done += ret == 0;
    }
    c->ret = ret ? ret : c->ret;
    c->running--;
}

static void start(Client *c)
{
    for (int i = 0; i < WORKERS; i++) {
        Worker *w = g_new0(Worker, 1);

        w->c = c;
        w->which = i;
        c->running++;
        aio_co_enter(aio_main_context(), coroutine_create(worker_entry, w));
    }
}

static void client_close(Client *c)
{
    c->stop = true;
    AIO_WAIT_WHILE(c->running > 0);
    nbd_conn_stop(c->conn);
    AIO_WAIT_WHILE(!nbd_conn_ended(c->conn));
    nbd_conn_unref(c->conn);
}

static void on_close(void *opaque, bool served)
{
    g_assert_true(aio_current_context() == aio_main_context());
    g_assert_true(served);
    ++*(int *)opaque;
}

/* --- tests --- */

/* Requests come in the export's thread, whichever that is. */
static void test_moves(void)
{
    g_autoptr(IOThread) a = iothread_new("a", &error_abort);
    g_autoptr(IOThread) b = iothread_new("b", &error_abort);
    AioContext *to[] = { iothread_context(a), iothread_context(b),
                         aio_main_context() };
    NBDServer *server = nbd_server_new();
    Disk *d = disk_new(server, "d");
    Client c[2];
    int closed = 0;

    nbd_server_on_close(server, on_close, &closed);
    for (int i = 0; i < 2; i++) {
        client_connect(&c[i], server, "d");
    }
    start(&c[0]);
    for (int i = 0; i < MOVES; i++) {
        int before = c[0].done;

        move(d, to[i % 3]);
        if (i % 2) {
            AIO_WAIT_WHILE(c[0].done == before);
        }
    }
    c[1].base = BIG;
    start(&c[1]); /* it was silent while it moved */
    AIO_WAIT_WHILE(c[1].done < 100);
    for (int i = 0; i < 2; i++) {
        client_close(&c[i]);
        g_assert_cmpint(c[i].ret, ==, 0);
    }
    AIO_WAIT_WHILE(nbd_server_clients(server) > 0);
    g_assert_cmpint(closed, ==, 2);
    disk_free(d);
    nbd_server_free(server);
}

/* A thread that an export has left may end at once. */
static void test_thread_ends(void)
{
    NBDServer *server = nbd_server_new();
    Disk *d = disk_new(server, "d");
    Client c;

    client_connect(&c, server, "d");
    start(&c);
    for (int i = 0; i < 20; i++) {
        IOThread *thread = iothread_new("t", &error_abort);
        int before = c.done;

        move(d, iothread_context(thread));
        if (i % 2) {
            AIO_WAIT_WHILE(c.done == before);
        }
        move(d, aio_main_context());
        iothread_free(thread);
    }
    client_close(&c);
    g_assert_cmpint(c.ret, ==, 0);
    disk_free(d);
    nbd_server_free(server);
}

/* Ends under load: of the export, of all connections. */
static void test_ends(void)
{
    g_autoptr(IOThread) a = iothread_new("a", &error_abort);
    g_autoptr(IOThread) b = iothread_new("b", &error_abort);

    for (int i = 0; i < 40; i++) {
        NBDServer *server = nbd_server_new();
        Disk *d[2] = { disk_new(server, "d"), disk_new(server, "e") };
        Client c[2];

        move(d[0], iothread_context(a));
        move(d[1], iothread_context(b));
        client_connect(&c[0], server, "d");
        client_connect(&c[1], server, "e");
        start(&c[0]);
        start(&c[1]);
        AIO_WAIT_WHILE(c[0].done < i || c[1].done < i);
        if (i % 4 < 2) {
            nbd_server_disconnect_all(server);
        }
        if (i % 2) {
            move(d[0], iothread_context(b));
        }
        disk_free(d[0]);
        disk_free(d[1]);
        AIO_WAIT_WHILE(c[0].running || c[1].running);
        g_assert_cmpint(c[0].ret, ==, -ENOTCONN);
        client_close(&c[0]);
        client_close(&c[1]);
        AIO_WAIT_WHILE(nbd_server_clients(server) > 0);
        nbd_server_free(server);
    }
}

static void detach_conn(void *opaque)
{
    nbd_conn_detach(opaque);
}

static void coroutine_fn one_round_entry(void *opaque)
{
    Client *c = opaque;

    c->ret = write_and_read(c, 0, 1);
    c->done++;
}

/* A connection of a client moves, too, and ends where it is. */
static void test_client(void)
{
    g_autoptr(IOThread) a = iothread_new("a", &error_abort);
    g_autoptr(IOThread) b = iothread_new("b", &error_abort);
    AioContext *to[] = { iothread_context(a), iothread_context(b),
                         aio_main_context() };

    for (int last = 0; last < 3; last++) {
        NBDServer *server = nbd_server_new();
        Disk *d = disk_new(server, "d");
        AioContext *from = aio_main_context();
        Client c;

        move(d, to[1]);
        client_connect(&c, server, "d");
        for (int i = 0; i <= 30 + last; i++) {
            aio_context_run(from, detach_conn, c.conn);
            from = to[i % 3];
            nbd_conn_attach(c.conn, from);
            aio_run_co(from, one_round_entry, &c);
            g_assert_cmpint(c.ret, ==, 0);
        }
        client_close(&c);
        disk_free(d);
        nbd_server_free(server);
    }
}

int main(int argc, char **argv)
{
    int ret;

    aio_main_init(&error_fatal);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/nbd/threads/moves", test_moves);
    g_test_add_func("/nbd/threads/thread-ends", test_thread_ends);
    g_test_add_func("/nbd/threads/ends", test_ends);
    g_test_add_func("/nbd/threads/client", test_client);
    ret = g_test_run();
    aio_main_cleanup();
    return ret;
}
