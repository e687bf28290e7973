/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing from one set of tables to another at one moment: what making,
 * applying and deleting a snapshot have in common.
 *
 * Nothing that the image on disk refers to is changed.  What is to be
 * different (refcount blocks, L2 tables whose COPIED flags change, the L1
 * table, the table of snapshots, the refcount table) is written to new
 * clusters; then one write of 48 bytes, inside the header's first sector,
 * makes it all valid.  Before it the new clusters, after it the old ones are
 * leaked where the process ends: no more than that can happen.  A failure
 * before that write only gives the new clusters back.
 */
#ifndef QCOW2_SWITCH_INT_H
#define QCOW2_SWITCH_INT_H

#include "block/qcow2/qcow2-int.h"

typedef struct Qcow2Switch {
    BlockDriverState *bs;
    GHashTable *deltas; /* index of refcount block -> int32_t[] per cluster */
    uint64_t last_index;
    int32_t *last; /* the one looked up last */
    GArray *taken;    /* of Qcow2Free: new clusters, to go on failure */
    GArray *released; /* of Qcow2Free: old clusters, to go afterwards */
    GArray *unused;   /* of Qcow2Free: data that nobody refers to any more */

    /* What shall be.  The L1 table: entries in host byte order, no flags. */
    int64_t size;
    uint64_t *l1; /* owned by the caller */
    uint32_t l1_size;
    GArray *snapshots; /* of Qcow2Snapshot */
    bool checked;

    /* Where that is on disk. */
    uint64_t l1_offset;
    uint64_t snapshots_offset, snapshots_bytes;
    uint64_t *rt;
    uint64_t rt_offset;
} Qcow2Switch;

/* Nothing changes yet: size, L1 table and snapshots are to be set. */
void qcow2_switch_init(Qcow2Switch *sw, BlockDriverState *bs);
void qcow2_switch_free(Qcow2Switch *sw);
/* An L1 table: @n entries in host byte order, with flags or without. */
typedef struct Qcow2L1 {
    const uint64_t *entries;
    uint32_t n;
} Qcow2L1;

/*
 * References of @l1 come (@delta 1) or go (-1): all of its L2 tables and what
 * they refer to.  Entries for which @same (may be empty) has the same table
 * are left out.
 */
int coroutine_fn qcow2_switch_refs(Qcow2Switch *sw, Qcow2L1 l1, Qcow2L1 same,
                                   int delta, Error **errp);
/* New clusters for @bytes; writes @buf there, and zeroes up to their end. */
int coroutine_fn qcow2_switch_new(Qcow2Switch *sw, const void *buf,
                                  uint64_t bytes, uint64_t *offset,
                                  Error **errp);
/* The same with a table of 64-bit numbers. */
int coroutine_fn qcow2_switch_new_table(Qcow2Switch *sw,
                                        const uint64_t *table,
                                        uint64_t entries, uint64_t *offset,
                                        Error **errp);
/* These clusters of metadata lose their one reference. */
void qcow2_switch_release(Qcow2Switch *sw, uint64_t offset, uint64_t bytes);
/* Can all counts be what they would become?  Before anything is taken. */
int coroutine_fn qcow2_switch_check(Qcow2Switch *sw, Error **errp);
/* Gives back what was taken: there is no commit. */
void coroutine_fn qcow2_switch_undo(Qcow2Switch *sw);
/*
 * Does it.  On success the state in memory is the new one, sw->snapshots
 * included; on failure all is as it was.
 */
int coroutine_fn qcow2_switch_commit(Qcow2Switch *sw, Error **errp);

#endif
