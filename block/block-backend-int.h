/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The private part of a BlockBackend, shared by its life cycle and its I/O. */
#ifndef BLOCK_BLOCK_BACKEND_INT_H
#define BLOCK_BLOCK_BACKEND_INT_H

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/throttle-group.h"

struct BlockBackend {
    /* --- main thread, while it is drained; read by all --- */
    AioContext *ctx; /* the context of its node */

    /* --- main thread --- */
    bool fixed_ctx; /* the user cannot move to another thread */
    int refcnt;      /* atomic */
    char *name;      /* NULL: none */
    char *user;      /* description for messages; NULL: not known */
    BdrvChild *root; /* NULL: no node, and no watchers */
    LIST_HEAD(, BlkMediumWatcher) watchers;
    uint64_t perm, shared;
    const BlockDevOps *ops; /* NULL: the user needs no notifications */
    void *ops_opaque;
    BlockdevOnError on_read_error, on_write_error;
    bool iostatus_enabled;
    BlockDeviceIoStatus iostatus;
    TAILQ_ENTRY(BlockBackend) link;

    /* --- the context's thread: requests --- */
    unsigned in_flight; /* without those in @queued */
    int quiesce_counter;
    bool disable_request_queuing;
    bool write_cache; /* false: a write is durable when it completes */
    CoQueue queued;   /* requests that wait for the end of a drain */
    unsigned n_queued; /* length of @queued */
    ThrottleMember throttle; /* group NULL: no limits */
    BlockAcctStats stats;
};

/* accounting.c: frees what the counters hold. */
void block_acct_cleanup(BlockAcctStats *stats);

#endif
