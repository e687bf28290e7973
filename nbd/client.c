/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests of the NBD client, and the life cycle of a connection. */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "client-int.h"
#include "qemu/sockets.h"

/* --- life cycle --- */

NBDConn *nbd_conn_ref(NBDConn *conn)
{
    conn->refcnt++;
    return conn;
}

/* Runs in the thread whose loop may know the descriptor. */
static void conn_free(void *opaque)
{
    NBDConn *conn = opaque;

    aio_set_fd_handler(aio_current_context(), conn->fd, AIO_SCOPE_IO, NULL,
                       NULL, NULL);
    close(conn->fd);
    qemu_vfree(conn->rx);
    g_free(conn);
}

void nbd_conn_unref(NBDConn *conn)
{
    if (!conn || --conn->refcnt > 0) {
        return;
    }
    g_assert(!conn->receiving && conn->n_calls == 0);
    if (!conn->ctx || conn->ctx == aio_current_context()) {
        conn_free(conn);
    } else {
        aio_bh_oneshot(conn->ctx, AIO_SCOPE_IO, conn_free, conn);
    }
}

void nbd_conn_detach(NBDConn *conn)
{
    g_assert(conn->n_calls == 0);
    g_assert(!conn->ctx || conn->ctx == aio_current_context());
    __atomic_store_n(&conn->ctx, NULL, __ATOMIC_RELAXED);
    aio_release_fd(conn->fd);
}

void nbd_conn_attach(NBDConn *conn, AioContext *ctx)
{
    Coroutine *co = g_steal_pointer(&conn->parked);

    if (!conn->ctx) {
        __atomic_store_n(&conn->ctx, ctx, __ATOMIC_RELAXED);
    }
    if (co) {
        co_set_context(co, conn->ctx);
        co_schedule(conn->ctx, co);
    }
}

NBDConn *coroutine_fn nbd_conn_new(int fd, const NBDWish *wish, Error **errp)
{
    NBDConn *conn = g_new0(NBDConn, 1);

    conn->fd = fd;
    sock_expect_bulk(fd);
    conn->refcnt = 1;
    conn->ctx = aio_current_context();
    co_queue_init(&conn->room);
    co_mutex_init(&conn->send_lock);
    if (!nbd_negotiate_client(fd, wish, &conn->info, errp)) {
        nbd_conn_unref(conn);
        return NULL;
    }
    conn->rx = qemu_memalign(4096, NBD_CLIENT_RX);
    conn->receiving = true;
    nbd_conn_ref(conn); /* the receiver's */
    /* It starts later, so that unsolicited replies fail the first requests. */
    co_schedule(conn->ctx, coroutine_create(nbd_receiver_entry, conn));
    return conn;
}

const NBDInfo *nbd_conn_info(const NBDConn *conn)
{
    return &conn->info;
}

bool nbd_conn_ok(const NBDConn *conn)
{
    return !conn->failed;
}

bool nbd_conn_ended(const NBDConn *conn)
{
    return conn->failed && !conn->receiving && conn->n_calls == 0;
}

void nbd_conn_on_break(NBDConn *conn,
                       void (*broken)(void *opaque, const char *rule),
                       void *opaque)
{
    conn->broken = broken;
    conn->broken_opaque = opaque;
}

void nbd_conn_fail(NBDConn *conn, const char *rule)
{
    if (conn->failed) {
        return;
    }
    conn->failed = true;
    shutdown(conn->fd, SHUT_RDWR); /* ends receiver and senders */
    co_queue_wake_all(&conn->room);
    if (conn->broken) {
        conn->broken(conn->broken_opaque, rule);
    }
}

void nbd_conn_stop(NBDConn *conn)
{
    NBDRequest req = { .type = NBD_CMD_DISC };
    uint8_t head[NBD_REQUEST_SIZE];
    ssize_t n;

    conn->broken = NULL;
    if (!conn->failed && !conn->send_lock.holder) {
        nbd_request_format(head, &req);
        n = send(conn->fd, head, sizeof(head), MSG_DONTWAIT | MSG_NOSIGNAL);
        (void)n; /* best effort */
    }
    nbd_conn_fail(conn, NULL);
}

/* --- requests --- */

/* Assigns a cookie to @call; there must be room. */
static unsigned call_add(NBDConn *conn, NBDCall *call)
{
    unsigned i = 0;

    while (conn->calls[i]) {
        i++;
    }
    conn->calls[i] = call;
    conn->n_calls++;
    call->req.cookie = (uint64_t)++conn->serial << 8 | i;
    return i;
}

static void call_remove(NBDConn *conn, unsigned i)
{
    conn->calls[i] = NULL;
    conn->n_calls--;
    co_queue_wake_one(&conn->room);
}

static int coroutine_fn send_call(NBDConn *conn, const NBDRequest *req,
                                  const QEMUIOVector *payload,
                                  size_t payload_offset)
{
    uint8_t head[NBD_REQUEST_SIZE];
    QEMUIOVector all;
    int ret;

    nbd_request_format(head, req);
    if (!payload) {
        return sock_co_send(conn->fd, head, sizeof(head));
    }
    qemu_iovec_init(&all, payload->niov + 1);
    qemu_iovec_add(&all, head, sizeof(head));
    qemu_iovec_concat(&all, payload, payload_offset, req->len);
    ret = sock_co_sendv(conn->fd, all.iov, all.niov);
    qemu_iovec_destroy(&all);
    return ret;
}

/* Sends @call, with or without payload, and waits for its reply. */
static int coroutine_fn transact(NBDConn *conn, NBDCall *call,
                                 const QEMUIOVector *payload,
                                 size_t payload_offset)
{
    unsigned slot;

    while (conn->n_calls == NBD_CLIENT_CALLS && !conn->failed) {
        co_queue_wait(&conn->room, NULL);
    }
    if (conn->failed) {
        return -ENOTCONN;
    }
    slot = call_add(conn, call);
    co_mutex_lock(&conn->send_lock);
    if (!conn->failed &&
        send_call(conn, &call->req, payload, payload_offset) < 0) {
        nbd_conn_fail(conn, NULL);
    }
    co_mutex_unlock(&conn->send_lock);
    /* The receiver completes all calls, even when it ends. */
    while (!call->done && conn->receiving) {
        call->waiter = coroutine_self();
        coroutine_yield();
        call->waiter = NULL;
    }
    call_remove(conn, slot);
    if (call->parts) {
        g_array_unref(call->parts);
    }
    return call->done ? call->ret : -ENOTCONN;
}

int coroutine_fn nbd_conn_read(NBDConn *conn, uint64_t from, uint32_t bytes,
                               QEMUIOVector *qiov, size_t qiov_offset)
{
    NBDCall call = {
        .req = { .type = NBD_CMD_READ, .from = from, .len = bytes },
        .qiov = qiov,
        .qiov_offset = qiov_offset,
        .got_start = from,
        .got_end = from,
    };

    return transact(conn, &call, NULL, 0);
}

int coroutine_fn nbd_conn_write(NBDConn *conn, const NBDRequest *req,
                                const QEMUIOVector *qiov, size_t qiov_offset)
{
    NBDCall call = { .req = *req };

    call.req.type = NBD_CMD_WRITE;
    return transact(conn, &call, qiov, qiov_offset);
}

int coroutine_fn nbd_conn_command(NBDConn *conn, const NBDRequest *req)
{
    NBDCall call = { .req = *req };

    return transact(conn, &call, NULL, 0);
}

int coroutine_fn nbd_conn_status(NBDConn *conn, uint64_t from, uint32_t bytes,
                                 uint32_t *flags, uint32_t *run)
{
    NBDCall call = {
        .req = { .type = NBD_CMD_BLOCK_STATUS, .from = from, .len = bytes,
                 .flags = NBD_CMD_FLAG_REQ_ONE },
        .flags = flags,
        .run = run,
    };

    return transact(conn, &call, NULL, 0);
}
