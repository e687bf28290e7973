/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting and ending the replication of all disks of a process: each node of
 * the driver `replication`.  Nodes that are done (stopped, or failed over) are
 * left as they are.  Main thread, outside coroutines.
 */
#ifndef BLOCK_REPLICATION_H
#define BLOCK_REPLICATION_H

#include "block/types.h"
#include "qapi/qapi-types-block-core.h"

/* Starts all, or none with @errp; all are of @mode. */
bool replication_start_all(ReplicationMode mode, Error **errp);
/*
 * A checkpoint: from now on secondaries show what the primary has written, and
 * their own writes are gone.  Done for as many as possible; false with the
 * first error.
 */
bool replication_checkpoint_all(Error **errp);
/*
 * Ends it, for as many as possible; false with the first error.  @failover:
 * what secondaries show is written to their disks, by jobs that go on
 * afterwards; else it is as after a checkpoint.
 */
bool replication_stop_all(bool failover, Error **errp);
/* False: it does not run everywhere or has failed somewhere; @errp: how. */
bool replication_check_all(Error **errp);
/* At the end of the program, without users of nodes: lets go of nodes.  The
 * images stay as they are. */
void replication_close_all(void);

/*
 * A filter over @bs that refuses all changes, for users who could write there
 * and must no longer do so.  A new reference; the node has no parents yet.
 */
BlockDriverState *replication_fence_new(BlockDriverState *bs, Error **errp);

#endif
