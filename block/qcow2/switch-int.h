/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing from one set of tables to another at one moment: what making,
 * applying and deleting a snapshot have in common.
 *
 * Nothing that the image on disk refers to is changed.  What will differ
 * (refcount blocks, L2 tables whose COPIED flags change, the L1 table, the
 * table of snapshots, the refcount table) is written to new clusters; then one
 * write of 48 bytes, inside the header's first sector, makes it all valid.  If
 * the process is killed before it the new clusters are leaked, after it the old
 * ones: nothing worse can happen.  A failure before that write only frees the
 * new clusters.
 */
#ifndef QCOW2_SWITCH_INT_H
#define QCOW2_SWITCH_INT_H

#include "block/qcow2/qcow2-int.h"

typedef struct Qcow2Switch {
    BlockDriverState *bs;
    GHashTable *deltas; /* index of refcount block -> int32_t[] per cluster */
    uint64_t last_index;
    int32_t *last; /* the one used last */
    GArray *taken;    /* of Qcow2Free: new clusters, freed on failure */
    GArray *released; /* of Qcow2Free: old clusters, freed at the end */
    GArray *unused;   /* of Qcow2Free: data without references */

    /* The new state.  The L1 table: entries in host byte order, no flags. */
    int64_t size;
    uint64_t *l1; /* owned by the caller */
    uint32_t l1_size;
    GArray *snapshots; /* of Qcow2Snapshot */
    bool checked;

    /* Its place on disk. */
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
 * Adds (@delta 1) or drops (-1) the references of @l1: all of its L2 tables and
 * what those refer to.  Entries for which @same (may be empty) has the same
 * table are skipped.
 */
int coroutine_fn qcow2_switch_refs(Qcow2Switch *sw, Qcow2L1 l1, Qcow2L1 same,
                                   int delta, Error **errp);
/* Allocates clusters for @bytes; writes @buf there, and zeroes to their end. */
int coroutine_fn qcow2_switch_new(Qcow2Switch *sw, const void *buf,
                                  uint64_t bytes, uint64_t *offset,
                                  Error **errp);
/* The same for data that is at @guest of the disk: it is encrypted where all
 * data is. */
int coroutine_fn qcow2_switch_new_data(Qcow2Switch *sw, const void *buf,
                                       uint64_t bytes, int64_t guest,
                                       uint64_t *offset, Error **errp);
/* The same with a table of 64-bit numbers. */
int coroutine_fn qcow2_switch_new_table(Qcow2Switch *sw,
                                        const uint64_t *table,
                                        uint64_t entries, uint64_t *offset,
                                        Error **errp);
/* Drops the single reference to these clusters of metadata. */
void qcow2_switch_release(Qcow2Switch *sw, uint64_t offset, uint64_t bytes);
/* Are all new counts possible?  To be called before anything is allocated. */
int coroutine_fn qcow2_switch_check(Qcow2Switch *sw, Error **errp);
/* Frees the new clusters instead of a commit. */
void coroutine_fn qcow2_switch_undo(Qcow2Switch *sw);
/*
 * Commits.  On success the state in memory is the new one, sw->snapshots
 * included; on failure it is unchanged.
 */
int coroutine_fn qcow2_switch_commit(Qcow2Switch *sw, Error **errp);

#endif
