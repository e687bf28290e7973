/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations shared by the parts of the NBD driver.
 *
 *   nbd.c           the driver: opening, requests
 *   nbd-connect.c   getting a connection, and another one when it breaks
 *   nbd-silence.c   giving up a connection on which no answers come
 *   nbd-filename.c  file names to options and back
 */
#ifndef BLOCK_PROTOCOL_NBD_INT_H
#define BLOCK_PROTOCOL_NBD_INT_H

#include "block/io.h"
#include "nbd/client.h"
#include "qemu/yank.h"

/* A request from begin to end. */
typedef struct NBDUse {
    Coroutine *co;
    bool asleep;    /* until there is a connection, or no attempt */
    bool cancelled; /* it does not wait, whatever happens to others */
    bool urgent;    /* ... nor may a drain wait for the server */
    LIST_ENTRY(NBDUse) list;
} NBDUse;

/*
 * Requests run in the thread of the node.  Attempts to connect run in the main
 * thread, wherever the node is, and pass it the connection; so a move, a yank
 * and close() need not follow them to another thread.
 */
typedef struct NBDState {
    BlockDriverState *bs;

    /* --- set once --- */
    BlockdevOptionsNbd *options; /* a copy: bs->options may be replaced */
    NBDInfo info;          /* of the first connection; later ones fit it */

    /* --- the node's thread, and the exclusive main thread --- */
    AioContext *ctx;       /* the node's; NULL: during a move */
    NBDConn *conn;         /* NULL: none so far; set by the main thread */
    bool connecting;       /* a coroutine of the main thread is connecting; the
                              node does not touch `waiting` then */
    bool was_up;           /* since it was last found broken */
    bool waiting;          /* requests wait for it, until delay_timer */
    bool impatient;        /* no request waits until the server has answered */
    uint64_t answers;      /* number of answers from the server */
    bool watched;          /* watch_bh or watch_timer are pending */
    LIST_HEAD(, NBDUse) uses;
    uint64_t conns;        /* how many there were */
    uint64_t changes;      /* that have completed, and need a flush */
    uint64_t settled;      /* of these: flushed, or counted as lost */
    int flush_ret;         /* 0, or -errno that all flushes return from now */
    bool closing;          /* set by the main thread */
    bool yanked;           /* likewise; cut from outside: no new attempts */

    /* --- the main thread --- */
    YankEntry *yank;
    int handshake_fd;      /* of the attempt in its handshake, or -1 */
    CoSleep pause;         /* between attempts */
    AioTimer *delay_timer;
    AioTimer *attempt_timer; /* ends the attempt */
    bool late;             /* it has expired */
    AioTimer *watch_timer; /* looks after requests in flight */
    AioBH *watch_bh;       /* the first look; scheduled by the node */
    int64_t silent_ns;     /* since then the wait is limited, and no answer
                              has come; 0: neither */
    uint64_t answers_seen; /* the value of `answers` then */
    AioBH *attach_bh; /* scheduled by the node when it has a context again */
    ThreadPoolWait dialing; /* the attempt that is not connected yet */
} NBDState;

/* Connects for the first time, for at most open-timeout. */
bool nbd_connect_first(NBDState *s, Error **errp);
/* As those of BlockDriver. */
void nbd_connect_detach(NBDState *s);
void nbd_connect_attach(NBDState *s);
/* For s->attach_bh: moves the connection to the node's context. */
void nbd_connect_follow(void *opaque);
/* For s->delay_timer: ends the wait of requests. */
void nbd_delay_over(void *opaque);
/* For s->attempt_timer: the attempt takes too long. */
void nbd_attempt_over(void *opaque);
/* @use does not wait for a connection any more; its coroutine is scheduled. */
void nbd_wake_use(NBDState *s, NBDUse *use);
/* A request begins: limits its wait, should a limit apply.  Node's thread. */
void nbd_watch(NBDState *s);
/* For s->watch_timer and s->watch_bh. */
void nbd_watch_look(void *opaque);
/* For s->yank: requests fail from now on. */
void nbd_connect_cut(void *opaque);
/* For BlockDriver.cancel_in_flight. */
void nbd_connect_cancel(NBDState *s, Coroutine *co);
/* Ends everything; for close. */
void nbd_connect_close(NBDState *s);
/*
 * A reference to a working connection; waits for one while reconnect-delay
 * allows.  NULL: none.
 */
NBDConn *coroutine_fn nbd_connect_get(NBDState *s, NBDUse *use);

bool nbd_parse_filename(const char *filename, BlockdevOptions *options,
                        Error **errp);
char *nbd_make_filename(BlockDriverState *bs);
/* "host:port" or the path of the server; caller frees. */
char *nbd_server_name(const SocketAddress *addr);

#endif
