/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exports: nodes that other processes use.
 *
 * An export holds a BlockBackend and has a type, the protocol of its clients.
 * It lives until its removal was requested and its last client has gone.
 * Everything here runs in the main thread, outside coroutines unless marked.
 */
#ifndef BLOCK_EXPORT_H
#define BLOCK_EXPORT_H

#include "block/block-backend.h"
#include "qapi/qapi-types-block-export.h"

typedef struct SocketAddress SocketAddress;

typedef struct BlockExport BlockExport;

/* A type of exports; export/exports.c has the table of them. */
typedef struct BlockExportDriver {
    BlockExportType type;
    size_t instance_size; /* of a struct that begins with BlockExport */
    /* exp->blk is set, with its permissions. */
    bool (*create)(BlockExport *exp, const BlockExportOptions *options,
                   Error **errp);
    /* Accepts no new clients, and disconnects the existing ones. */
    void (*request_shutdown)(BlockExport *exp);
    /* No clients are left: frees the type's data. */
    void (*delete)(BlockExport *exp);
} BlockExportDriver;

struct BlockExport {
    const BlockExportDriver *drv;
    char *id;
    BlockBackend *blk;
    bool writable;
    bool writethrough;
    bool allow_inactive; /* the node may become inactive */
    unsigned refcount;  /* 1 until a shutdown is requested, 1 per client */
    bool shutting_down; /* a shutdown was requested */
    bool watches_medium;
    BlkMediumWatcher medium;
    LIST_ENTRY(BlockExport) next;
};

/* Called so that the control layer sends events. */
typedef struct BlockExportEventHooks {
    void (*deleted)(const char *id);
} BlockExportEventHooks;
extern BlockExportEventHooks block_export_event_hooks;

/* As block-export-add; NULL with @errp on failure. The list owns it. */
BlockExport *blk_exp_add(const BlockExportOptions *options, Error **errp);
/* NULL: there is none of that id. */
BlockExport *blk_exp_find(const char *id);
/* As block-export-del. */
bool blk_exp_del(BlockExport *exp, BlockExportRemoveMode mode, Error **errp);
/* Requests the shutdown of @exp and its clients when the medium of @drive,
 * which it exports, is removed. */
void blk_exp_end_with_medium(BlockExport *exp, BlockBackend *drive);
/* As query-block-exports; caller frees. */
BlockExportInfoList *blk_exp_query(void);
/* Shuts down all exports of @type and runs the loop until they are deleted. */
void blk_exp_close_type(BlockExportType type);
/* The same for all; for the end of a program. */
void blk_exp_close_all(void);

/* For types: a client was added / removed.  The export is deleted by a later
 * callback when the last was removed; callable from coroutines. */
void blk_exp_ref(BlockExport *exp);
void blk_exp_unref(BlockExport *exp);

/* --- the NBD server (export/nbd-server.c): one at a time --- */

struct NBDServer;

/*
 * Listens on @addr.  @tls_creds, @tls_authz: not supported, refused by name
 * unless NULL.  @max_connections 0: no limit.
 */
bool nbd_server_start(const SocketAddress *addr, const char *tls_creds,
                      const char *tls_authz, uint32_t max_connections,
                      Error **errp);
/* The same from a command line's options. */
bool nbd_server_start_options(const NbdServerOptions *options, Error **errp);
/* Ends its exports and connections; fails if none is running. */
bool nbd_server_stop(Error **errp);
/* NULL: none is running. */
struct NBDServer *nbd_server_get(void);
/* It takes no more than one client at a time. */
bool nbd_server_is_exclusive(void);
/* Calls @idle when the last of the clients that used an export has gone. */
void nbd_server_on_idle(void (*idle)(void));

extern const BlockExportDriver block_export_nbd;

#endif
