/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Server side of the NBD protocol: fixed newstyle, simple and structured
 * replies, metadata contexts.
 *
 * A server has exports, found by their names, and clients, each of which is
 * connected to at most one of them.  An export is a table of operations; the
 * server does not depend on the block layer.
 *
 * Handshakes run in the main thread.  A client that has chosen its export
 * continues in the thread of the export's context, where the operations are
 * called; it returns to the main thread to end.  Functions are for the main
 * thread, unless they say otherwise.
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

/* Flags of an operation. */
enum {
    NBD_OP_FUA = 1 << 0,       /* durable when it returns */
    NBD_OP_NO_HOLE = 1 << 1,   /* zeroes: keep the space allocated */
    NBD_OP_FAST_ZERO = 1 << 2, /* zeroes: fail with -ENOTSUP if not faster
                                  than writing them */
};

/*
 * Operations of an export.  The range is within the export; writes are only
 * requested if it is writable.  They return 0 or -errno.
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
     * The status of the run at @offset in metadata context @context (an index
     * of NBDExportInfo.contexts): *@flags, and *@run, 1 .. @bytes, its length.
     * NULL if there are no contexts.
     */
    int coroutine_fn (*status)(void *opaque, unsigned context, uint64_t offset,
                               uint32_t bytes, uint32_t *flags,
                               uint32_t *run);
    /* A client was added / removed; the latter may not free the export.  Called
     * in the main thread. */
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
/* Frees it; it must have no clients and exports.  NULL is allowed. */
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
 * @info is copied; NULL with @errp if a name or text is not usable.  The export
 * is in the main context; for another one nbd_export_attach() it at once.
 */
NBDExport *nbd_export_new(NBDServer *server, const NBDExportInfo *info,
                          const NBDExportOps *ops, void *opaque,
                          Error **errp);
/* By name; NULL: there is none. */
NBDExport *nbd_export_find(NBDServer *server, const char *name);
/* Removes it from the list, so that no new client finds it, and ends the
 * connections of its clients. */
void nbd_export_shutdown(NBDExport *exp);
/* It must have no clients. */
void nbd_export_free(NBDExport *exp);
/* As given to nbd_export_new(). */
void *nbd_export_opaque(const NBDExport *exp);
/* New clients get this size, and requests of all are checked against it.  Any
 * thread. */
void nbd_export_set_size(NBDExport *exp, uint64_t size);
/*
 * The two steps of a move to another context, with its clients: detach in the
 * thread of its context, while it is quiesced and not busy, then attach, in any
 * thread.  Clients wait in between.
 */
void nbd_export_detach(NBDExport *exp);
void nbd_export_attach(NBDExport *exp, AioContext *ctx);
/* Requests are not started between a true and a false. */
void nbd_export_quiesce(NBDExport *exp, bool quiesce);
/* Is any request being performed?  Waiting ones do not count. */
bool nbd_export_busy(const NBDExport *exp);

#endif
