/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Transmission: one coroutine reads requests, another executes each.
 *
 * Clients send many small requests at a time.  So the reader takes from the
 * socket what there is, up to NBD_RX_SIZE, and finds several requests with
 * their payloads in it; only large payloads go straight to their buffers.
 * Requests and small buffers are reused: a 4 KiB write allocates nothing.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "nbd-int.h"

#define SPARSE_CHUNKS 16         /* of the reply to a read */
#define SPARSE_MIN (64 * KiB)    /* smaller reads do not query for zeroes */

/* --- the receive buffer --- */

static size_t buffered(const NBDClient *client)
{
    return client->rx_end - client->rx_pos;
}

/* Reads available data, up to @bytes; 0 at the end, or -errno. */
static ssize_t coroutine_fn read_some(NBDClient *client, void *buf,
                                      size_t bytes)
{
    for (;;) {
        ssize_t n = recv(client->fd, buf, bytes, MSG_DONTWAIT);

        if (n >= 0) {
            return n;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            co_wait_readable(client->fd);
            nbd_client_settle(client, &client->parked_reader);
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

/* Reads exactly @bytes; 0 or -errno. */
static int coroutine_fn read_all(NBDClient *client, uint8_t *buf, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = read_some(client, buf, bytes);

        if (n <= 0) {
            return n < 0 ? n : -ECONNRESET;
        }
        buf += n;
        bytes -= n;
    }
    return 0;
}

/* Waits in @queue, which may be that of the export. */
static void coroutine_fn wait_in(NBDClient *client, CoQueue *queue)
{
    co_queue_wait(queue, NULL);
    nbd_client_settle(client, &client->parked_reader);
}

/* Makes @bytes <= NBD_RX_SIZE available; 0, 1 at a clean end, or -errno. */
static int coroutine_fn fill(NBDClient *client, size_t bytes)
{
    while (buffered(client) < bytes) {
        ssize_t n;

        if (client->rx_pos + bytes > NBD_RX_SIZE || !buffered(client)) {
            memmove(client->rx, client->rx + client->rx_pos,
                    buffered(client));
            client->rx_end -= client->rx_pos;
            client->rx_pos = 0;
        }
        n = read_some(client, client->rx + client->rx_end,
                      NBD_RX_SIZE - client->rx_end);
        if (n <= 0) {
            return n < 0 ? n : buffered(client) ? -ECONNRESET : 1;
        }
        client->rx_end += n;
    }
    return 0;
}

/* @buf NULL: the payload is discarded. */
static void take(NBDClient *client, uint8_t *buf, size_t bytes)
{
    if (buf) {
        memcpy(buf, client->rx + client->rx_pos, bytes);
    }
    client->rx_pos += bytes;
}

static int coroutine_fn read_payload(NBDClient *client, uint8_t *buf,
                                     size_t bytes)
{
    size_t have = MIN(buffered(client), bytes);
    int ret = 0;

    take(client, buf, have);
    bytes -= have;
    buf = buf ? buf + have : NULL;
    if (buf && bytes >= NBD_RX_SIZE / 2) {
        return read_all(client, buf, bytes);
    }
    while (bytes > 0) {
        size_t n = MIN(bytes, NBD_RX_SIZE);

        ret = fill(client, n);
        if (ret != 0) {
            return ret > 0 ? -ECONNRESET : ret;
        }
        take(client, buf, n);
        bytes -= n;
    }
    return 0;
}

/* --- requests and their buffers --- */

static bool has_buffer(const NBDRequest *req)
{
    return req->type == NBD_CMD_READ || req->type == NBD_CMD_WRITE;
}

static bool work_buffer(NBDWork *work, size_t bytes)
{
    if (work->buf_size < bytes) {
        qemu_vfree(work->buf);
        work->buf_size = ROUND_UP(bytes, 4096);
        work->buf = qemu_try_memalign(4096, work->buf_size);
        if (!work->buf) {
            work->buf_size = 0;
            return false;
        }
    }
    work->client->bytes_in_flight += work->buf_size;
    return true;
}

static NBDWork *work_new(NBDClient *client, const NBDRequest *req)
{
    NBDWork *work = TAILQ_FIRST(&client->free);

    if (work) {
        TAILQ_REMOVE(&client->free, work, next);
        client->nfree--;
    } else {
        work = g_new0(NBDWork, 1);
        work->client = client;
    }
    work->req = *req;
    work->error = nbd_request_check(req, nbd_export_size(client->exp),
                                    nbd_client_flags(client, client->exp));
    if (req->type == NBD_CMD_BLOCK_STATUS && !nbd_has_contexts(client)) {
        work->error = -EINVAL;
    }
    work->charged = !work->error && has_buffer(req);
    if (work->charged && !work_buffer(work, MAX(req->len, 1))) {
        work->charged = false;
        work->error = -ENOMEM;
    }
    client->in_flight++;
    return work;
}

static void work_free(NBDWork *work)
{
    qemu_vfree(work->buf);
    g_free(work);
}

void nbd_work_done(NBDWork *work)
{
    NBDClient *client = work->client;

    client->in_flight--;
    if (work->chunks != work->few) {
        g_free(work->chunks);
    }
    work->chunks = NULL;
    g_clear_pointer(&work->extents, g_free);
    if (work->charged) {
        client->bytes_in_flight -= work->buf_size;
    }
    if (client->nfree >= NBD_KEEP_REQUESTS) {
        work_free(work);
        return;
    }
    if (work->buf_size > NBD_KEEP_BUFFER) {
        qemu_vfree(work->buf);
        work->buf = NULL;
        work->buf_size = 0;
    }
    TAILQ_INSERT_HEAD(&client->free, work, next);
    client->nfree++;
}

/* --- execution --- */

static unsigned op_flags(const NBDRequest *req)
{
    return (req->flags & NBD_CMD_FLAG_FUA ? NBD_OP_FUA : 0) |
           (req->flags & NBD_CMD_FLAG_NO_HOLE ? NBD_OP_NO_HOLE : 0) |
           (req->flags & NBD_CMD_FLAG_FAST_ZERO ? NBD_OP_FAST_ZERO : 0);
}

/* --- reading --- */

static void add_data(NBDWork *work, uint32_t pos, uint32_t bytes)
{
    uint8_t offset[8];

    st64_be(offset, work->req.from + pos);
    nbd_reply_add(work, NBD_REPLY_TYPE_OFFSET_DATA, offset, sizeof(offset),
                  (uint8_t *)work->buf + pos, bytes);
}

static void add_hole(NBDWork *work, uint32_t pos, uint32_t bytes)
{
    uint8_t hole[12];

    st64_be(hole, work->req.from + pos);
    st32_be(hole + 8, bytes);
    nbd_reply_add(work, NBD_REPLY_TYPE_OFFSET_HOLE, hole, sizeof(hole), NULL,
                  0);
}

/* Does the run at @pos read as zeroes?  *@run: its length. */
static bool coroutine_fn is_hole(NBDExport *exp, const NBDRequest *req,
                                 uint32_t pos, uint32_t *run)
{
    uint32_t flags, left = req->len - pos;

    if (exp->ops->status(exp->opaque, 0, req->from + pos, left, &flags,
                         run) < 0) {
        *run = left; /* the read reports the error */
        return false;
    }
    return flags & NBD_STATE_ZERO;
}

/* Zeroes are not sent. */
static int coroutine_fn sparse_read(NBDExport *exp, NBDWork *work)
{
    const NBDRequest *req = &work->req;
    uint32_t run;

    nbd_reply_init(work, SPARSE_CHUNKS);
    for (uint32_t pos = 0; pos < req->len; pos += run) {
        int ret;

        if (work->n_chunks == SPARSE_CHUNKS - 1) {
            run = req->len - pos;
        } else if (is_hole(exp, req, pos, &run)) {
            add_hole(work, pos, run);
            continue;
        }
        ret = exp->ops->pread(exp->opaque, req->from + pos, run,
                              (uint8_t *)work->buf + pos);
        if (ret < 0) {
            return ret;
        }
        add_data(work, pos, run);
    }
    return 0;
}

static int coroutine_fn do_read(NBDExport *exp, NBDWork *work)
{
    const NBDRequest *req = &work->req;
    int ret;

    if (work->client->structured && exp->n_contexts &&
        !(req->flags & NBD_CMD_FLAG_DF) && req->len >= SPARSE_MIN) {
        return sparse_read(exp, work);
    }
    ret = exp->ops->pread(exp->opaque, req->from, req->len, work->buf);
    if (ret < 0) {
        return ret;
    }
    nbd_reply_init(work, 1);
    if (work->client->structured) {
        add_data(work, 0, req->len);
    } else {
        work->chunks[0].data = work->buf;
        work->chunks[0].data_len = req->len;
    }
    return 0;
}

static int coroutine_fn carry_out(NBDExport *exp, NBDWork *work)
{
    const NBDExportOps *ops = exp->ops;
    const NBDRequest *req = &work->req;
    unsigned flags = op_flags(req);

    if (req->type == NBD_CMD_FLUSH) {
        return ops->flush(exp->opaque);
    }
    if (req->len == 0) {
        return 0;
    }
    switch (req->type) {
    case NBD_CMD_READ:
        return do_read(exp, work);
    case NBD_CMD_WRITE:
        return ops->pwrite(exp->opaque, req->from, req->len, work->buf,
                           flags);
    case NBD_CMD_TRIM:
        return ops->trim(exp->opaque, req->from, req->len, flags);
    case NBD_CMD_CACHE:
        return ops->cache(exp->opaque, req->from, req->len);
    case NBD_CMD_WRITE_ZEROES:
        return ops->zero(exp->opaque, req->from, req->len, flags);
    case NBD_CMD_BLOCK_STATUS:
        return nbd_block_status(work);
    default:
        g_assert_not_reached();
    }
}

static void coroutine_fn work_entry(void *opaque)
{
    NBDWork *work = opaque;
    NBDClient *client = work->client;
    int ret = carry_out(client->exp, work);

    client->exp->in_flight--;
    client->running--;
    nbd_reply_queue(work, ret);
}

static void coroutine_fn start(NBDWork *work)
{
    NBDClient *client = work->client;

    if (work->error) {
        nbd_reply_queue(work, work->error);
        return;
    }
    client->exp->in_flight++;
    client->running++;
    coroutine_enter(coroutine_create(work_entry, work));
}

/* --- the reader --- */

static bool is_full(const NBDClient *client, const NBDRequest *req)
{
    uint64_t bytes = has_buffer(req) ? req->len : 0;

    return client->in_flight >= NBD_MAX_IN_FLIGHT ||
           (client->in_flight > 0 &&
            client->bytes_in_flight + bytes > NBD_MAX_BYTES_IN_FLIGHT);
}

/* Waits until there is room for @req. */
static void coroutine_fn wait_for_slot(NBDClient *client,
                                       const NBDRequest *req)
{
    while (is_full(client, req) && !client->send_failed) {
        wait_in(client, &client->slots);
    }
}

static void coroutine_fn wait_for_resume(NBDClient *client)
{
    while (client->exp->quiesced && !client->closing) {
        wait_in(client, &client->exp->resume);
    }
}

/* 0, 1 when the client disconnects, -errno. */
static int coroutine_fn read_request(NBDClient *client, NBDRequest *req)
{
    int ret = fill(client, NBD_REQUEST_SIZE);

    if (ret != 0) {
        return ret;
    }
    if (!nbd_request_parse(client->rx + client->rx_pos, req)) {
        return -EINVAL;
    }
    client->rx_pos += NBD_REQUEST_SIZE;
    if (req->type == NBD_CMD_WRITE && req->len > NBD_MAX_PAYLOAD) {
        return -EINVAL; /* disconnect rather than skip the payload */
    }
    return req->type == NBD_CMD_DISC;
}

static int coroutine_fn one_request(NBDClient *client)
{
    NBDRequest req;
    NBDWork *work;
    int ret = read_request(client, &req);

    if (ret != 0) {
        return ret;
    }
    wait_for_slot(client, &req);
    work = work_new(client, &req);
    if (req.type == NBD_CMD_WRITE) {
        ret = read_payload(client, work->error ? NULL : work->buf, req.len);
    }
    if (ret == 0) {
        wait_for_resume(client);
    }
    if (ret != 0 || client->closing || client->send_failed) {
        nbd_work_done(work);
        return 1;
    }
    start(work);
    return 0;
}

void coroutine_fn nbd_transmission(NBDClient *client)
{
    NBDWork *work;

    client->rx = qemu_memalign(4096, NBD_RX_SIZE);
    while (one_request(client) == 0) {
        continue;
    }
    /* No more requests will be read: replies need not wait for others. */
    client->rx_pos = client->rx_end = 0;
    while (client->in_flight || client->sending || client->in_send) {
        wait_in(client, &client->slots);
    }
    while ((work = TAILQ_FIRST(&client->free))) {
        TAILQ_REMOVE(&client->free, work, next);
        work_free(work);
    }
}
