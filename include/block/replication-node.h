/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state of a `replication` node: shared by the driver, which does the
 * requests, and by block/replication.c, which starts and ends replication.
 */
#ifndef BLOCK_REPLICATION_NODE_H
#define BLOCK_REPLICATION_NODE_H

#include "block/driver.h"

typedef enum ReplicationStage {
    REPLICATION_NONE,            /* not started */
    REPLICATION_RUNNING,
    REPLICATION_FAILOVER,        /* secondary: its disk gets what it shows */
    REPLICATION_FAILOVER_FAILED, /* ... and that failed: what it shows is the
                                    same as before */
    REPLICATION_DONE,            /* stopped, or failed over */
} ReplicationStage;

typedef struct ReplicationState {
    /* --- set once --- */
    BlockDriverState *bs; /* the node */
    ReplicationMode mode;
    char *top_id; /* secondary */

    /* --- written by the exclusive main thread, read by requests --- */
    ReplicationStage stage;
    /* Secondary: the child is the secondary disk itself, since it failed over
     * to that. */
    bool on_secondary;

    /* --- the context's thread, and the exclusive main thread --- */
    int error; /* 0, or the last -errno: replication has failed */

    /* --- main thread: block/replication.c --- */
    /* The copy-before-write filter over the secondary disk; a reference. */
    BlockDriverState *cbw;
    Transaction *attached; /* while running: ends it */
    Transaction *held;     /* until it is done: the node is free then */
} ReplicationState;

/* NULL: @bs has another driver. */
ReplicationState *replication_state(BlockDriverState *bs);

#endif
