/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A BlockBackend from inside: its life and its I/O are two files. */
#ifndef BLOCK_BLOCK_BACKEND_INT_H
#define BLOCK_BLOCK_BACKEND_INT_H

#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/throttle-group.h"

struct BlockBackend {
    /* --- main thread, while it is drained; read by all --- */
    AioContext *ctx; /* that of its node */

    /* --- main thread --- */
    bool fixed_ctx; /* the user cannot go to another thread */
    int refcnt;      /* atomic */
    char *name;      /* NULL: none */
    char *user;      /* who it is, for messages; NULL: not known */
    BdrvChild *root; /* NULL: no node, and no watchers */
    LIST_HEAD(, BlkMediumWatcher) watchers;
    uint64_t perm, shared;
    const BlockDevOps *ops; /* NULL: the user wants to be told nothing */
    void *ops_opaque;
    BlockdevOnError on_read_error, on_write_error;
    bool iostatus_enabled;
    BlockDeviceIoStatus iostatus;
    TAILQ_ENTRY(BlockBackend) link;

    /* --- the context's thread: requests --- */
    unsigned in_flight; /* without those in @queued */
    int quiesce_counter;
    bool disable_request_queuing;
    bool write_cache; /* false: every write is durable when it returns */
    CoQueue queued;   /* requests that wait for the end of a drain */
    unsigned n_queued; /* how many of them there are */
    ThrottleMember throttle; /* group NULL: no limits */
    BlockAcctStats stats;
};

/* accounting.c: frees what the counters hold. */
void block_acct_cleanup(BlockAcctStats *stats);

#endif
