/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations shared by the parts of the NBD client.
 *
 *   negotiate-client.c  the handshake, up to an export
 *   client-option.c     single options and their replies
 *   list.c              listing exports
 *   client.c            requests, life cycle of a connection
 *   client-reply.c      the receiver: replies to requests
 */
#ifndef NBD_CLIENT_INT_H
#define NBD_CLIENT_INT_H

#include "nbd/client.h"
#include "qemu/aio.h"

#define NBD_CLIENT_CALLS 64          /* in flight */
#define NBD_CLIENT_RX (64 * KiB)
#define NBD_MAX_STRING 4096          /* bytes of any text of the protocol */
#define NBD_MAX_REPLIES 100000       /* to one option */

/* A request that waits for its reply; on the stack of its coroutine. */
typedef struct NBDCall {
    NBDRequest req;
    QEMUIOVector *qiov;       /* of a read */
    size_t qiov_offset;
    uint32_t *flags, *run;    /* of a block status */
    Coroutine *waiter;        /* waits for the reply; NULL: still sending */
    bool done;
    int ret;
    bool got_status;
    GArray *parts;            /* ranges read so far: NULL, or more than one */
    uint64_t got_start, got_end; /* the range, if there is one */
} NBDCall;

struct NBDConn {
    int fd;
    unsigned refcnt;
    AioContext *ctx;   /* atomic; NULL: during a move */
    Coroutine *parked; /* the receiver, if it waits for a context */
    NBDInfo info;
    void (*broken)(void *opaque, const char *rule);
    void *broken_opaque;
    bool failed;     /* no more requests */
    bool receiving;  /* the receiver runs */

    /* --- requests; a call's cookie is its index and a serial number --- */
    NBDCall *calls[NBD_CLIENT_CALLS];
    unsigned n_calls;
    uint32_t serial;
    CoQueue room;
    CoMutex send_lock;

    /* --- receiver --- */
    uint8_t *rx;
    size_t rx_pos, rx_end;
};

/* A part of a reply that was read. */
typedef struct NBDPart {
    uint64_t start, end;
} NBDPart;

/* --- client-option.c --- */

typedef struct NBDOptReply {
    uint32_t option, type, len; /* @len bytes are still to be read */
} NBDOptReply;

/* All return false with @errp on failure. */
bool coroutine_fn nbd_read(int fd, void *buf, size_t len, const char *what,
                           Error **errp);
bool coroutine_fn nbd_drop(int fd, size_t len, Error **errp);
bool coroutine_fn nbd_send_option(int fd, uint32_t option, const void *data,
                                  uint32_t len, Error **errp);
/* The head of the next reply to @option. */
bool coroutine_fn nbd_read_reply(int fd, uint32_t option, NBDOptReply *reply,
                                 Error **errp);
/*
 * 1: not an error; 0: the server does not know the option (nothing is set, the
 * text was skipped); -1: an error, reported.
 */
int coroutine_fn nbd_check_reply(int fd, const NBDOptReply *reply,
                                 Error **errp);
/* An ACK must have no data. */
bool nbd_check_ack(const NBDOptReply *reply, Error **errp);
/* Name of an option, "go" and the like; "<unknown>". */
const char *nbd_option_name(uint32_t option);
const char *nbd_reply_name(uint32_t type);

/* --- negotiate-client.c --- */

/* Greeting and flags. *@fixed: fixed newstyle; old style: *@oldstyle, and
 * @info is complete. */
typedef struct NBDGreeting {
    bool fixed, no_zeroes, oldstyle;
} NBDGreeting;
bool coroutine_fn nbd_greet(int fd, NBDGreeting *greeting, NBDInfo *info,
                            Error **errp);
/* 1: enabled; 0: not supported; -1 with @errp. */
int coroutine_fn nbd_ask_structured(int fd, Error **errp);
/* Sends INFO or GO.  1: @info is set; 0: not supported; -1 with @errp. */
int coroutine_fn nbd_ask_info(int fd, uint32_t option, const char *name,
                              NBDInfo *info, Error **errp);
/* The data of LIST/SET_META_CONTEXT with one query, or none (NULL). */
bool coroutine_fn nbd_send_meta(int fd, uint32_t option, const char *name,
                                const char *query, Error **errp);
/* Handshake until an export is chosen. */
bool coroutine_fn nbd_negotiate_client(int fd, const NBDWish *wish,
                                       NBDInfo *info, Error **errp);

/* --- client-reply.c --- */
void coroutine_fn nbd_receiver_entry(void *opaque);
/* Ends @conn; @rule as for nbd_conn_on_break(). */
void nbd_conn_fail(NBDConn *conn, const char *rule);

#endif
