/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the parts of the NBD driver share.
 *
 *   nbd.c           the driver: opening, requests
 *   nbd-connect.c   getting a connection, and another one when it breaks
 *   nbd-filename.c  file names to options and back
 */
#ifndef BLOCK_PROTOCOL_NBD_INT_H
#define BLOCK_PROTOCOL_NBD_INT_H

#include "block/io.h"
#include "nbd/client.h"
#include "qemu/yank.h"

/* A request, from its beginning to its end. */
typedef struct NBDUse {
    Coroutine *co;
    bool asleep;    /* till there is a connection, or none is waited for */
    bool cancelled; /* it does not wait, whatever becomes of the others */
    bool urgent;    /* ... and nobody may have to wait for the server for it */
    LIST_ENTRY(NBDUse) list;
} NBDUse;

/*
 * Requests run in the thread of the node.  Attempts to connect run in the main
 * thread, wherever the node is, and hand it the connection when it is made; so
 * a move, a yank and close() do not have to follow them to another thread.
 */
typedef struct NBDState {
    BlockDriverState *bs;

    /* --- set once --- */
    BlockdevOptionsNbd *options; /* a copy: bs->options may be replaced */
    NBDInfo info;          /* of the first connection; later ones fit it */

    /* --- the node's thread, and the exclusive main thread --- */
    AioContext *ctx;       /* the node's; NULL: between two */
    NBDConn *conn;         /* NULL: there never was one; set by the main
                              thread */
    bool connecting;       /* a coroutine of the main thread is at it; the node
                              does not touch `waiting` then */
    bool was_up;           /* since it was last found broken */
    bool waiting;          /* requests wait for it, until delay_timer */
    bool impatient;        /* nothing waits till the server has answered */
    uint64_t answers;      /* how many the server has given */
    uint64_t answers_seen; /* ... when silence_timer was set */
    LIST_HEAD(, NBDUse) uses;
    bool closing;          /* set by the main thread */
    bool yanked;           /* likewise; cut from outside: nothing connects
                              any more */

    /* --- the main thread --- */
    YankEntry *yank;
    int handshake_fd;      /* of the attempt that is in its handshake, or -1 */
    CoSleep pause;         /* between attempts */
    AioTimer *delay_timer;
    AioTimer *silence_timer; /* cancelled requests wait for it, not longer */
    AioBH *attach_bh; /* scheduled by the node: it has come to a context */
    ThreadPoolWait dialing; /* the attempt that is not connected yet */
} NBDState;

/* Connects for the first time, for at most open-timeout. */
bool nbd_connect_first(NBDState *s, Error **errp);
/* As those of BlockDriver. */
void nbd_connect_detach(NBDState *s);
void nbd_connect_attach(NBDState *s);
/* For s->attach_bh: the connection follows the node. */
void nbd_connect_follow(void *opaque);
/* For s->delay_timer: requests wait no longer. */
void nbd_delay_over(void *opaque);
/* For s->silence_timer: a server that said nothing meanwhile is left. */
void nbd_silence_over(void *opaque);
/* For s->yank: requests fail from now on. */
void nbd_connect_cut(void *opaque);
/* For BlockDriver.cancel_in_flight. */
void nbd_connect_cancel(NBDState *s, Coroutine *co);
/* Ends everything; for close. */
void nbd_connect_close(NBDState *s);
/*
 * A reference to a connection that works; waits for one while reconnect-delay
 * allows.  NULL: there is none.
 */
NBDConn *coroutine_fn nbd_connect_get(NBDState *s, NBDUse *use);

bool nbd_parse_filename(const char *filename, BlockdevOptions *options,
                        Error **errp);
char *nbd_make_filename(BlockDriverState *bs);
/* "host:port" or the path: where the server is; caller frees. */
char *nbd_server_name(const SocketAddress *addr);

#endif
