/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Client side of the NBD protocol: one connection to one export.
 *
 * Any number of coroutines may have requests in flight on a connection.  When
 * it breaks, or the server violates the protocol, it ends: all requests in
 * flight and all later ones fail; reconnecting is up to the user.
 *
 * A connection belongs to the thread that did its handshake, or to that of the
 * context it was moved to: requests are submitted there, and references taken
 * and dropped.  The exclusive main thread may stop it and drop references in
 * any context.
 *
 * Sizes and offsets are bytes.
 */
#ifndef NBD_CLIENT_H
#define NBD_CLIENT_H

#include "nbd/proto.h"
#include "qemu/coroutine.h"
#include "qemu/error.h"
#include "qemu/iov.h"

typedef struct NBDConn NBDConn;

/* What the client requests. */
typedef struct NBDWish {
    const char *export;  /* name */
    const char *context; /* metadata context, e.g. base:allocation; NULL:
                            none */
} NBDWish;

/* What the server offers. */
typedef struct NBDInfo {
    uint64_t size;        /* <= INT64_MAX */
    uint16_t flags;       /* NBD_FLAG_* */
    uint32_t min_block;   /* a power of two <= 64 KiB; 0: not known */
    uint32_t opt_block;   /* 0: not known */
    uint32_t max_block;   /* of the payload of a request; 0: not known */
    bool structured;      /* replies */
    bool has_context;     /* the requested one */
    uint32_t context_id;
} NBDInfo;

/* An export as listed. */
typedef struct NBDListedExport {
    char *name, *description; /* description: NULL where there is none */
    bool has_info;
    NBDInfo info;
    GPtrArray *contexts; /* of char *, owned */
} NBDListedExport;

/*
 * The handshake on the connected socket @fd, which is taken over, also on
 * failure.  NULL with @errp.  nbd_conn_stop() the result.
 */
NBDConn *coroutine_fn nbd_conn_new(int fd, const NBDWish *wish, Error **errp);
const NBDInfo *nbd_conn_info(const NBDConn *conn);
NBDConn *nbd_conn_ref(NBDConn *conn);
void nbd_conn_unref(NBDConn *conn);
/*
 * The two steps of a move to another context: detach in its thread, while no
 * request is in flight; then attach in the exclusive main thread.  It receives
 * nothing in between.  No effect if it is already detached, or attached.
 */
void nbd_conn_detach(NBDConn *conn);
void nbd_conn_attach(NBDConn *conn, AioContext *ctx);
/* Requests can be made. */
bool nbd_conn_ok(const NBDConn *conn);
/* Sends DISC if that does not block, and ends it: requests fail. */
void nbd_conn_stop(NBDConn *conn);
/* It has ended, and none of its coroutines waits: unref will free it. */
bool nbd_conn_ended(const NBDConn *conn);
/*
 * Calls @broken(@opaque, @rule) once when it ends without nbd_conn_stop();
 * @rule: how the server violated the protocol, or NULL: it has disconnected.
 */
void nbd_conn_on_break(NBDConn *conn,
                       void (*broken)(void *opaque, const char *rule),
                       void *opaque);

/*
 * Requests.  0 or -errno from the server; -ENOTCONN: the connection has ended
 * (before or meanwhile), it is not known whether the request was performed;
 * -EINVAL also for a reply that violates the protocol.  Lengths are within the
 * export and NBDInfo.max_block.  The caller has a reference.
 */
int coroutine_fn nbd_conn_read(NBDConn *conn, uint64_t from, uint32_t bytes,
                               QEMUIOVector *qiov, size_t qiov_offset);
/* @flags of @req: NBD_CMD_FLAG_FUA or 0; @from and @len are the range. */
int coroutine_fn nbd_conn_write(NBDConn *conn, const NBDRequest *req,
                                const QEMUIOVector *qiov, size_t qiov_offset);
/* A request without payload: @type, @flags, @from, @len of @req. */
int coroutine_fn nbd_conn_command(NBDConn *conn, const NBDRequest *req);
/*
 * The status of the run at @from in the chosen context: *@flags, *@run its
 * length, 1 .. @bytes.  Only if NBDInfo.has_context.
 */
int coroutine_fn nbd_conn_status(NBDConn *conn, uint64_t from, uint32_t bytes,
                                 uint32_t *flags, uint32_t *run);

/*
 * All exports that the server on @fd (taken over) lists, with infos: an array
 * of NBDListedExport; g_ptr_array_unref() frees all.  NULL with @errp.
 */
GPtrArray *coroutine_fn nbd_list_exports(int fd, Error **errp);

#endif
