/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending replies.
 *
 * Requests that are performed together tend to complete together.  A reply is
 * therefore sent at once only if no other is expected; else a bottom half sends
 * all replies up to the next iteration of the loop in one system call.  While
 * the socket is full a coroutine sends them.
 *
 * All functions here wake the reader last: it may run at once, read the end of
 * the connection and free the client.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "nbd-int.h"

#define MAX_IOV 64

/* --- layout --- */

void nbd_reply_init(NBDWork *work, unsigned n)
{
    work->chunks = n <= ARRAY_SIZE(work->few) ? work->few
                                              : g_new(NBDChunk, n);
    work->n_chunks = 0;
    work->chunks[0].data_len = 0;
}

void nbd_reply_add(NBDWork *work, uint16_t type, const void *head, size_t more,
                   const void *data, size_t len)
{
    NBDChunk *chunk = &work->chunks[work->n_chunks++];

    nbd_chunk_format(chunk->head, &(NBDChunkHead){
                         .type = type, .cookie = work->req.cookie,
                         .len = more + len });
    if (more) {
        memcpy(chunk->head + NBD_STRUCTURED_REPLY_SIZE, head, more);
    }
    chunk->head_len = NBD_STRUCTURED_REPLY_SIZE + more;
    chunk->data = data;
    chunk->data_len = len;
}

static const char *error_text(const NBDWork *work)
{
    static const char *const texts[] = {
        [NBD_CMD_READ] = "reading failed",
        [NBD_CMD_WRITE] = "writing failed",
        [NBD_CMD_FLUSH] = "flushing failed",
        [NBD_CMD_TRIM] = "discarding failed",
        [NBD_CMD_CACHE] = "caching failed",
        [NBD_CMD_WRITE_ZEROES] = "writing zeroes failed",
        [NBD_CMD_BLOCK_STATUS] = "querying the status failed",
    };

    if (work->error || work->req.type >= ARRAY_SIZE(texts)) {
        return "the request is not valid";
    }
    return texts[work->req.type];
}

static void add_error(NBDWork *work, int ret)
{
    const char *text = error_text(work);
    uint8_t head[6];

    st32_be(head, nbd_error_from_errno(ret));
    st16_be(head + 4, strlen(text));
    nbd_reply_add(work, NBD_REPLY_TYPE_ERROR, head, sizeof(head), text,
                  strlen(text));
}

/* Simple replies have one chunk, whose data may be in place. */
static void set_simple(NBDWork *work, int ret)
{
    NBDChunk *chunk = &work->chunks[0];

    nbd_simple_reply_format(chunk->head, nbd_error_from_errno(ret),
                            work->req.cookie);
    chunk->head_len = NBD_SIMPLE_REPLY_SIZE;
    work->n_chunks = 1;
}

static void complete(NBDWork *work, int ret)
{
    uint16_t type = work->req.type;

    if (ret < 0 || !work->chunks) {
        if (work->chunks != work->few) {
            g_free(work->chunks);
        }
        nbd_reply_init(work, 1);
    }
    if (!work->client->structured ||
        (ret == 0 && type != NBD_CMD_READ && type != NBD_CMD_BLOCK_STATUS)) {
        set_simple(work, ret);
    } else {
        if (ret < 0) {
            add_error(work, ret);
        } else if (work->n_chunks == 0) {
            nbd_reply_add(work, NBD_REPLY_TYPE_NONE, NULL, 0, NULL, 0);
        }
        st16_be(work->chunks[work->n_chunks - 1].head + 4,
                NBD_REPLY_FLAG_DONE);
    }
    work->reply_size = 0;
    for (unsigned i = 0; i < work->n_chunks; i++) {
        work->reply_size += work->chunks[i].head_len +
                            work->chunks[i].data_len;
    }
}

/* Lays out a chunk without its first *@skip bytes, which it subtracts. */
static int lay_out_chunk(const NBDChunk *chunk, size_t *skip,
                         struct iovec *iov)
{
    int n = 0;

    if (*skip < chunk->head_len) {
        iov[n++] = (struct iovec){ (uint8_t *)chunk->head + *skip,
                                   chunk->head_len - *skip };
        *skip = 0;
    } else {
        *skip -= chunk->head_len;
    }
    if (chunk->data_len > *skip) {
        iov[n++] = (struct iovec){ (uint8_t *)chunk->data + *skip,
                                   chunk->data_len - *skip };
        *skip = 0;
    } else {
        *skip -= chunk->data_len;
    }
    return n;
}

/* Lays out the unsent replies; returns the number of elements. */
static int lay_out(NBDClient *client, struct iovec *iov)
{
    size_t skip = client->sent;
    NBDWork *work;
    int n = 0;

    TAILQ_FOREACH(work, &client->ready, next) {
        for (unsigned i = 0; i < work->n_chunks; i++) {
            if (n + 2 > MAX_IOV) {
                return n;
            }
            n += lay_out_chunk(&work->chunks[i], &skip, &iov[n]);
        }
    }
    return n;
}

/* @bytes more were sent. */
static void account(NBDClient *client, size_t bytes)
{
    NBDWork *work;

    client->sent += bytes;
    while ((work = TAILQ_FIRST(&client->ready))) {
        if (client->sent < work->reply_size) {
            break;
        }
        client->sent -= work->reply_size;
        TAILQ_REMOVE(&client->ready, work, next);
        nbd_work_done(work);
    }
}

static void drop_all(NBDClient *client)
{
    NBDWork *work;

    while ((work = TAILQ_FIRST(&client->ready))) {
        TAILQ_REMOVE(&client->ready, work, next);
        nbd_work_done(work);
    }
    client->sent = 0;
}

/* Sends until all is sent or the socket is full (false). */
static bool send_some(NBDClient *client)
{
    struct iovec iov[MAX_IOV];

    while (!TAILQ_EMPTY(&client->ready)) {
        struct msghdr msg = { .msg_iov = iov };
        ssize_t n;

        msg.msg_iovlen = lay_out(client, iov);
        n = sendmsg(client->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            account(client, n);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return false;
        } else if (errno != EINTR) {
            client->send_failed = true;
            shutdown(client->fd, SHUT_RDWR); /* ends the reader */
            drop_all(client);
        }
    }
    return true;
}

static void coroutine_fn sender_entry(void *opaque)
{
    NBDClient *client = opaque;

    do {
        co_wait_writable(client->fd);
        nbd_client_settle(client, &client->parked_sender);
    } while (!send_some(client));
    client->sending = false;
    co_queue_wake_one(&client->slots);
}

static void send_ready(NBDClient *client)
{
    bool all;

    if (client->sending || client->in_send) {
        return;
    }
    client->in_send = true;
    all = send_some(client);
    client->in_send = false;
    if (!all) {
        client->sending = true;
        coroutine_enter(coroutine_create(sender_entry, client));
    }
    co_queue_wake_one(&client->slots);
}

void nbd_reply_send_bh(void *opaque)
{
    send_ready(opaque);
}

void nbd_reply_queue(NBDWork *work, int ret)
{
    NBDClient *client = work->client;

    complete(work, MIN(ret, 0));
    TAILQ_INSERT_TAIL(&client->ready, work, next);
    if (client->send_failed) {
        drop_all(client);
        co_queue_wake_one(&client->slots);
    } else if (client->running == 0 && client->rx_pos == client->rx_end) {
        send_ready(client);
    } else if (!client->sending) {
        aio_bh_schedule(client->send_bh);
    }
}
