/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The receiver of an NBD client: one coroutine reads what the server sends and
 * completes the calls.
 *
 * All data from the server is checked: cookies must be those of calls, data
 * must be in the requested range, sent once and complete.  A violation of the
 * protocol ends the connection; the call concerned fails with -EINVAL, the
 * others with -ENOTCONN.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "client-int.h"
#include "qemu/sockets.h"

#define MAX_PARTS 1024 /* of one read, that do not touch each other */
#define MAX_ERROR (NBD_MAX_STRING + 64) /* bytes of an error's payload */

/* --- input --- */

static size_t buffered(const NBDConn *conn)
{
    return conn->rx_end - conn->rx_pos;
}

/* Continues in the present context of the connection, or waits for one. */
static void coroutine_fn settle(NBDConn *conn)
{
    AioContext *ctx;

    for (;;) {
        ctx = __atomic_load_n(&conn->ctx, __ATOMIC_RELAXED);
        if (ctx == aio_current_context()) {
            return;
        }
        if (ctx) {
            co_move_to(ctx);
        } else {
            conn->parked = coroutine_self();
            coroutine_yield();
        }
    }
}

/* Reads available data, up to @bytes; 0 at the end, or -errno. */
static ssize_t coroutine_fn read_some(NBDConn *conn, void *buf, size_t bytes)
{
    for (;;) {
        ssize_t n = recv(conn->fd, buf, bytes, MSG_DONTWAIT);

        if (n >= 0) {
            return n;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            co_wait_readable(conn->fd);
            settle(conn);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

/* Makes @bytes available and returns them; NULL: the connection ended. */
static const uint8_t *coroutine_fn fetch(NBDConn *conn, size_t bytes)
{
    const uint8_t *p;

    g_assert(bytes <= NBD_CLIENT_RX);
    while (buffered(conn) < bytes) {
        ssize_t n;

        if (conn->rx_pos + bytes > NBD_CLIENT_RX || !buffered(conn)) {
            memmove(conn->rx, conn->rx + conn->rx_pos, buffered(conn));
            conn->rx_end -= conn->rx_pos;
            conn->rx_pos = 0;
        }
        n = read_some(conn, conn->rx + conn->rx_end,
                      NBD_CLIENT_RX - conn->rx_end);
        if (n <= 0 || conn->failed) {
            nbd_conn_fail(conn, NULL);
            return NULL;
        }
        conn->rx_end += n;
    }
    p = conn->rx + conn->rx_pos;
    conn->rx_pos += bytes;
    return p;
}

static bool coroutine_fn drop(NBDConn *conn, size_t bytes)
{
    while (bytes > 0) {
        size_t n = MIN(bytes, NBD_CLIENT_RX);

        if (!fetch(conn, n)) {
            return false;
        }
        bytes -= n;
    }
    return true;
}

/* Reads the rest directly from the socket, after the buffered data. */
static bool coroutine_fn recv_direct(NBDConn *conn, QEMUIOVector *part)
{
    for (int i = 0; i < part->niov; i++) {
        if (part->iov[i].iov_len &&
            sock_co_recv(conn->fd, part->iov[i].iov_base,
                         part->iov[i].iov_len) != 0) {
            nbd_conn_fail(conn, NULL);
            return false;
        }
    }
    return true;
}

/* Reads @bytes to @offset of the call's vector. */
static bool coroutine_fn recv_data(NBDConn *conn, const NBDCall *call,
                                   size_t offset, size_t bytes)
{
    size_t have = MIN(buffered(conn), bytes);
    QEMUIOVector part;
    bool ok;

    offset += call->qiov_offset;
    qemu_iovec_from_buf(call->qiov, offset, conn->rx + conn->rx_pos, have);
    conn->rx_pos += have;
    if (have == bytes) {
        return true;
    }
    qemu_iovec_init_slice(&part, call->qiov, offset + have, bytes - have);
    ok = recv_direct(conn, &part);
    qemu_iovec_destroy(&part);
    return ok;
}

/* --- completion --- */

static void complete(NBDCall *call, int ret)
{
    call->done = true;
    call->ret = ret;
    if (call->waiter) {
        co_wake(call->waiter);
    }
}

/* Reports a violation; returns false, which ends the receiver. */
static bool broke(NBDConn *conn, NBDCall *call, const char *rule)
{
    if (call && !call->done) {
        complete(call, -EINVAL);
    }
    nbd_conn_fail(conn, rule);
    return false;
}

static NBDCall *find_call(const NBDConn *conn, uint64_t cookie)
{
    unsigned i = cookie & 0xff;
    NBDCall *call = i < NBD_CLIENT_CALLS ? conn->calls[i] : NULL;

    return call && call->req.cookie == cookie && !call->done ? call : NULL;
}

/* --- received parts of a read --- */

/* Adds [@start, @end); false: it overlaps, or there are too many parts. */
static bool add_to_parts(GArray *parts, uint64_t start, uint64_t end)
{
    NBDPart part = { start, end };

    for (guint i = 0; i < parts->len; i++) {
        const NBDPart *p = &g_array_index(parts, NBDPart, i);

        if (start < p->end && p->start < end) {
            return false;
        }
    }
    for (guint i = 0; i < parts->len; i++) {
        const NBDPart *p = &g_array_index(parts, NBDPart, i);

        if (p->end == part.start || p->start == part.end) {
            part.start = MIN(part.start, p->start);
            part.end = MAX(part.end, p->end);
            g_array_remove_index_fast(parts, i);
            i = -1; /* it may be adjacent to another part now */
        }
    }
    g_array_append_val(parts, part);
    return parts->len <= MAX_PARTS;
}

/* Parts almost always arrive in order. */
static bool add_part(NBDCall *call, uint64_t start, uint64_t end)
{
    if (!call->parts && start == call->got_end) {
        call->got_end = end;
        return true;
    }
    if (!call->parts) {
        call->parts = g_array_new(FALSE, FALSE, sizeof(NBDPart));
        if (call->got_end > call->got_start) {
            add_to_parts(call->parts, call->got_start, call->got_end);
        }
    }
    return add_to_parts(call->parts, start, end);
}

static bool got_all(const NBDCall *call)
{
    uint64_t start = call->got_start, end = call->got_end;

    if (call->parts) {
        const NBDPart *p = &g_array_index(call->parts, NBDPart, 0);

        if (call->parts->len != 1) {
            return false;
        }
        start = p->start;
        end = p->end;
    }
    return start == call->req.from && end == call->req.from + call->req.len;
}

/* --- chunks --- */

static bool in_range(const NBDCall *call, uint64_t offset, uint64_t bytes)
{
    return bytes > 0 && offset >= call->req.from && bytes <= call->req.len &&
           offset - call->req.from <= call->req.len - bytes;
}

static bool coroutine_fn chunk_data(NBDConn *conn, NBDCall *call, uint32_t len)
{
    const uint8_t *p;
    uint64_t offset;

    if (call->req.type != NBD_CMD_READ || len <= 8) {
        return broke(conn, call, "a chunk of data that is none");
    }
    p = fetch(conn, 8);
    if (!p) {
        return false;
    }
    offset = ld64_be(p);
    len -= 8;
    if (!in_range(call, offset, len)) {
        return broke(conn, call, "data outside of the range asked for");
    }
    if (!add_part(call, offset, offset + len)) {
        return broke(conn, call, "data that came before");
    }
    return recv_data(conn, call, offset - call->req.from, len);
}

static bool coroutine_fn chunk_hole(NBDConn *conn, NBDCall *call, uint32_t len)
{
    const uint8_t *p;
    uint64_t offset;
    uint32_t bytes;

    if (call->req.type != NBD_CMD_READ || len != 12) {
        return broke(conn, call, "a chunk of a hole that is none");
    }
    p = fetch(conn, 12);
    if (!p) {
        return false;
    }
    offset = ld64_be(p);
    bytes = ld32_be(p + 8);
    if (!in_range(call, offset, bytes)) {
        return broke(conn, call, "a hole outside of the range asked for");
    }
    if (!add_part(call, offset, offset + bytes)) {
        return broke(conn, call, "data that came before");
    }
    qemu_iovec_memset(call->qiov, call->qiov_offset +
                          (offset - call->req.from), 0, bytes);
    return true;
}

/* Only the first extent is used: the request asked for one. */
static bool coroutine_fn chunk_status(NBDConn *conn, NBDCall *call,
                                      uint32_t len)
{
    const uint8_t *p;

    if (call->req.type != NBD_CMD_BLOCK_STATUS || len < 12 ||
        (len - 4) % 8 != 0) {
        return broke(conn, call, "a chunk of status that is none");
    }
    p = fetch(conn, 12);
    if (!p) {
        return false;
    }
    if (call->got_status || ld32_be(p) != conn->info.context_id) {
        return broke(conn, call, call->got_status
                         ? "the status of a context twice"
                         : "the status of a context not asked for");
    }
    if (ld32_be(p + 4) == 0) {
        return broke(conn, call, "an extent of no bytes");
    }
    call->got_status = true;
    *call->run = MIN(ld32_be(p + 4), call->req.len);
    *call->flags = ld32_be(p + 8);
    return drop(conn, len - 12);
}

static bool coroutine_fn chunk_error(NBDConn *conn, NBDCall *call,
                                     const NBDChunkHead *head)
{
    uint32_t more = head->type == NBD_REPLY_TYPE_ERROR_OFFSET ? 8 : 0;
    const uint8_t *p;
    uint32_t text, error;

    if (head->len < 6 + more || head->len > MAX_ERROR) {
        return broke(conn, call, "an error of a wrong length");
    }
    p = fetch(conn, head->len);
    if (!p) {
        return false;
    }
    error = ld32_be(p);
    text = ld16_be(p + 4);
    /* Of unknown kinds of errors only the beginning is known. */
    if (error == 0 || text > head->len - 6 - more) {
        return broke(conn, call, error ? "an error whose text does not fit"
                                       : "an error that is none");
    }
    if (more) {
        uint64_t offset = ld64_be(p + 6 + text);

        if (offset < call->req.from ||
            offset - call->req.from > call->req.len) {
            return broke(conn, call, "an error outside of the range");
        }
    }
    if (call->ret == 0) {
        call->ret = nbd_error_to_errno(error);
    }
    return true;
}

static bool coroutine_fn chunk_payload(NBDConn *conn, NBDCall *call,
                                       const NBDChunkHead *head)
{
    if (head->type & 0x8000) {
        return chunk_error(conn, call, head);
    }
    switch (head->type) {
    case NBD_REPLY_TYPE_NONE:
        if (head->len || !(head->flags & NBD_REPLY_FLAG_DONE)) {
            return broke(conn, call, "an empty chunk that is none");
        }
        return true;
    case NBD_REPLY_TYPE_OFFSET_DATA:
        return chunk_data(conn, call, head->len);
    case NBD_REPLY_TYPE_OFFSET_HOLE:
        return chunk_hole(conn, call, head->len);
    case NBD_REPLY_TYPE_BLOCK_STATUS:
        return chunk_status(conn, call, head->len);
    default:
        return broke(conn, call, "a chunk of unknown type");
    }
}

/* The last chunk was received. */
static bool finish(NBDConn *conn, NBDCall *call)
{
    if (call->ret == 0 && call->req.type == NBD_CMD_READ && !got_all(call)) {
        return broke(conn, call, "less data than asked for");
    }
    if (call->ret == 0 && call->req.type == NBD_CMD_BLOCK_STATUS &&
        !call->got_status) {
        return broke(conn, call, "no status although asked for");
    }
    complete(call, call->ret);
    return true;
}

static bool coroutine_fn structured_reply(NBDConn *conn)
{
    const uint8_t *p = fetch(conn, NBD_STRUCTURED_REPLY_SIZE - 4);
    NBDChunkHead head;
    NBDCall *call;

    if (!p) {
        return false;
    }
    head.flags = ld16_be(p);
    head.type = ld16_be(p + 2);
    head.cookie = ld64_be(p + 4);
    head.len = ld32_be(p + 12);
    call = find_call(conn, head.cookie);
    if (!call) {
        return broke(conn, NULL, "a reply to no request");
    }
    if (!conn->info.structured) {
        return broke(conn, call, "a structured reply, not agreed upon");
    }
    if (head.len > NBD_MAX_PAYLOAD + 8) {
        return broke(conn, call, "a chunk that is too long");
    }
    if (!chunk_payload(conn, call, &head)) {
        return false;
    }
    return head.flags & NBD_REPLY_FLAG_DONE ? finish(conn, call) : true;
}

static bool coroutine_fn simple_reply(NBDConn *conn)
{
    const uint8_t *p = fetch(conn, NBD_SIMPLE_REPLY_SIZE - 4);
    uint32_t error;
    NBDCall *call;

    if (!p) {
        return false;
    }
    error = ld32_be(p);
    call = find_call(conn, ld64_be(p + 4));
    if (!call) {
        return broke(conn, NULL, "a reply to no request");
    }
    if (call->req.type == NBD_CMD_BLOCK_STATUS ||
        (conn->info.structured && call->req.type == NBD_CMD_READ)) {
        return broke(conn, call, "a simple reply where it must not be");
    }
    if (!error && call->req.type == NBD_CMD_READ &&
        !recv_data(conn, call, 0, call->req.len)) {
        return false;
    }
    complete(call, nbd_error_to_errno(error));
    return true;
}

static bool coroutine_fn one_reply(NBDConn *conn)
{
    const uint8_t *p = fetch(conn, 4);

    if (!p) {
        return false;
    }
    switch (ld32_be(p)) {
    case NBD_SIMPLE_REPLY_MAGIC:
        return simple_reply(conn);
    case NBD_STRUCTURED_REPLY_MAGIC:
        return structured_reply(conn);
    default:
        return broke(conn, NULL, "a wrong magic number");
    }
}

void coroutine_fn nbd_receiver_entry(void *opaque)
{
    NBDConn *conn = opaque;

    settle(conn);
    while (!conn->failed && one_reply(conn)) {
        continue;
    }
    conn->receiving = false;
    for (int i = 0; i < NBD_CLIENT_CALLS; i++) {
        NBDCall *call = conn->calls[i];

        if (call && !call->done) {
            complete(call, -ENOTCONN);
        }
    }
    nbd_conn_unref(conn);
}
