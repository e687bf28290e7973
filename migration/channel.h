/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a migration goes to or comes from: unix:PATH, tcp:HOST:PORT,
 * exec:COMMAND, fd:NAME and file:PATH.
 */
#ifndef MIGRATION_CHANNEL_H
#define MIGRATION_CHANNEL_H

#include "stream.h"

typedef struct SocketAddressList SocketAddressList;

typedef enum MigUriKind {
    MIG_URI_UNIX, MIG_URI_TCP, MIG_URI_EXEC, MIG_URI_FD, MIG_URI_FILE,
} MigUriKind;

typedef struct MigUri {
    MigUriKind kind;
    char *path;       /* of a socket or file; the host; the command; the name */
    char *port;       /* tcp */
    int port_to;      /* tcp: the last one to try, 0: only that */
    int ipv4, ipv6;   /* tcp: -1 either, 0 no, 1 yes */
    uint64_t offset;  /* file */
} MigUri;

/* NULL with an error, whose wording depends on the direction. */
MigUri *mig_uri_parse(const char *text, bool incoming, Error **errp);
void mig_uri_free(MigUri *uri);

/* --- outgoing --- */

/*
 * Connects, in a worker thread; @wait can be cancelled.  @fd: for MIG_URI_FD,
 * the descriptor, which it takes over.
 */
MigChannel *coroutine_fn mig_connect(const MigUri *uri, int fd,
                                     ThreadPoolWait *wait, Error **errp);

/* --- incoming --- */

typedef struct MigListener MigListener;
/* Takes @ch.  Called once, from the loop, outside coroutines. */
typedef void MigAccepted(void *opaque, MigChannel *ch);

/* Waits for one connection, in state of a timer or descriptor of the main
 * loop.  @fd as above.  NULL with an error. */
MigListener *mig_listen(const MigUri *uri, int fd, MigAccepted *accepted,
                        void *opaque, Error **errp);
/* Stops waiting; NULL is allowed. */
void mig_listener_free(MigListener *l);
/* The address, for query-migrate; NULL: none.  Caller frees. */
SocketAddressList *mig_listener_address(const MigListener *l);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(MigUri, mig_uri_free)

#endif
