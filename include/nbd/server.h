/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Server side of the NBD protocol: fixed newstyle, simple and structured
 * replies, metadata contexts.
 *
 * A server has exports, found by their names, and clients, each of which is
 * connected to at most one of them.  What an export does is behind a table of
 * operations; nothing here knows disks.
 *
 * Handshakes run in the main thread.  A client that has chosen its export goes
 * on in the thread of the export's context, where the operations are called;
 * it comes back to the main thread to end.  Functions are for the main thread,
 * unless they say otherwise.
 *
 *     server --- export "a" --- client (socket)
 *           \              \--- client
 *            \-- export "b"
 *            \-- client that has not chosen yet
 *
 * Sizes and offsets are bytes.
 */
#ifndef NBD_SERVER_H
#define NBD_SERVER_H

#include "nbd/proto.h"
#include "qemu/coroutine.h"
#include "qemu/error.h"

typedef struct NBDServer NBDServer;
typedef struct NBDExport NBDExport;
typedef struct NBDClient NBDClient;

/* How a request is to be carried out. */
enum {
    NBD_OP_FUA = 1 << 0,       /* durable when it returns */
    NBD_OP_NO_HOLE = 1 << 1,   /* zeroes: keep the space allocated */
    NBD_OP_FAST_ZERO = 1 << 2, /* zeroes: fail with -ENOTSUP if not faster
                                  than writing them */
};

/*
 * What an export does.  The range lies within the export, writes come only
 * where it is writable.  Return 0 or -errno.
 */
typedef struct NBDExportOps {
    int coroutine_fn (*pread)(void *opaque, uint64_t offset, uint32_t bytes,
                              void *buf);
    int coroutine_fn (*pwrite)(void *opaque, uint64_t offset, uint32_t bytes,
                               const void *buf, unsigned flags);
    int coroutine_fn (*zero)(void *opaque, uint64_t offset, uint32_t bytes,
                             unsigned flags);
    int coroutine_fn (*trim)(void *opaque, uint64_t offset, uint32_t bytes,
                             unsigned flags);
    int coroutine_fn (*flush)(void *opaque);
    /* Loads into caches; NULL: not supported. */
    int coroutine_fn (*cache)(void *opaque, uint64_t offset, uint32_t bytes);
    /*
     * What metadata context @context (an index of NBDExportInfo.contexts) says
     * of the run at @offset: *@flags, and *@run, 1 .. @bytes, its length.
     * NULL where there are no contexts.
     */
    int coroutine_fn (*status)(void *opaque, unsigned context, uint64_t offset,
                               uint32_t bytes, uint32_t *flags,
                               uint32_t *run);
    /* A client has come to use it / has gone; the latter may not free it.  In
     * the main thread. */
    void (*client_added)(void *opaque);
    void (*client_removed)(void *opaque);
} NBDExportOps;

typedef struct NBDExportInfo {
    const char *name;
    const char *description; /* may be NULL */
    uint64_t size;
    bool writable;
    bool exclusive; /* no more than one client at a time */
    uint32_t preferred_block; /* bytes, a power of two; 0: 4096 */
    const char *const *contexts; /* names, NULL at the end; may be NULL.  The
                                    first, if any, is base:allocation */
} NBDExportInfo;

/* No clients, no exports. */
NBDServer *nbd_server_new(void);
/* Ends all connections; they close as their requests in flight end. */
void nbd_server_disconnect_all(NBDServer *server);
/* Connections that have not been closed yet. */
unsigned nbd_server_clients(const NBDServer *server);
/* Frees it; must be without clients and exports. NULL is allowed. */
void nbd_server_free(NBDServer *server);
/* Calls @closed(@opaque) in the main thread whenever a connection has been
 * closed; @served: the client had chosen an export. */
void nbd_server_on_close(NBDServer *server,
                         void (*closed)(void *opaque, bool served),
                         void *opaque);

/*
 * Serves the connected socket @fd, which is taken over.  The client has ten
 * seconds to choose an export.
 */
void nbd_server_add_client(NBDServer *server, int fd);

/*
 * @info is copied; NULL with @errp where a name or text is not usable.  It is
 * in the main context; for another one nbd_export_attach() it at once.
 */
NBDExport *nbd_export_new(NBDServer *server, const NBDExportInfo *info,
                          const NBDExportOps *ops, void *opaque,
                          Error **errp);
/* By name; NULL: there is none. */
NBDExport *nbd_export_find(NBDServer *server, const char *name);
/* Takes it out of the list, so that no new client finds it, and ends the
 * connections of those it has. */
void nbd_export_shutdown(NBDExport *exp);
/* Must have no clients any more. */
void nbd_export_free(NBDExport *exp);
/* As given to nbd_export_new(). */
void *nbd_export_opaque(const NBDExport *exp);
/* New clients see the size, requests of all are checked against it.  Any
 * thread. */
void nbd_export_set_size(NBDExport *exp, uint64_t size);
/*
 * Moves it with its clients to another context: first the one in the thread of
 * its context, while it is quiesced and not busy, then the other, in any
 * thread.  Clients wait in between.
 */
void nbd_export_detach(NBDExport *exp);
void nbd_export_attach(NBDExport *exp, AioContext *ctx);
/* Requests are not started between a true and a false. */
void nbd_export_quiesce(NBDExport *exp, bool quiesce);
/* Is any request being carried out?  Waiting ones do not count. */
bool nbd_export_busy(const NBDExport *exp);

#endif
