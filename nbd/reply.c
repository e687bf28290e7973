/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sending replies.
 *
 * Requests that are carried out together tend to end together.  A reply is
 * therefore sent at once only where no other is to be expected; else a bottom
 * half sends all that have come up by the next turn of the loop in one system
 * call.  Where the socket is full a coroutine takes over until it is not.
 *
 * Waking the reader comes last in everything here: it may run at once, find
 * the connection at its end and free the client.
 */
#include "qemu/osdep.h"

#include <sys/socket.h>

#include "nbd-int.h"

#define MAX_IOV 64

/* Lays out the unsent replies; returns the number of elements. */
static int lay_out(NBDClient *client, struct iovec *iov)
{
    size_t skip = client->sent;
    NBDWork *work;
    int n = 0;

    TAILQ_FOREACH(work, &client->ready, next) {
        if (n + 2 > MAX_IOV) {
            break;
        }
        if (skip < sizeof(work->header)) {
            iov[n++] = (struct iovec){ work->header + skip,
                                       sizeof(work->header) - skip };
            skip = 0;
        } else {
            skip -= sizeof(work->header);
        }
        if (work->reply_data) {
            iov[n++] = (struct iovec){ (uint8_t *)work->buf + skip,
                                       work->reply_data - skip };
        }
        skip = 0;
    }
    return n;
}

/* @bytes more are gone. */
static void account(NBDClient *client, size_t bytes)
{
    NBDWork *work;

    client->sent += bytes;
    while ((work = TAILQ_FIRST(&client->ready))) {
        size_t size = sizeof(work->header) + work->reply_data;

        if (client->sent < size) {
            break;
        }
        client->sent -= size;
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

/* Sends until all is gone or the socket is full (false). */
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

    nbd_simple_reply_format(work->header, nbd_error_from_errno(ret),
                            work->req.cookie);
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
