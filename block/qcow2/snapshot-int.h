/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: the table of snapshots (snapshot.c). */
#ifndef QCOW2_SNAPSHOT_INT_H
#define QCOW2_SNAPSHOT_INT_H

#include "block/qcow2/qcow2-int.h"

typedef struct Qcow2Snapshot {
    uint64_t l1_offset;
    uint32_t l1_size;
    char *id, *name;
    uint64_t disk_size, vm_state_size;
    uint32_t date_sec, date_nsec;
    uint64_t vm_clock_nsec, icount;
    GBytes *unknown_extra; /* kept as it is, or NULL */
    char *damage; /* why it is unusable, or NULL */
    bool dead;    /* it cannot be repaired */
    bool inexact; /* rewriting it would change it */
} Qcow2Snapshot;

/* Damaged entries are no failure: they, or the table, are marked. */
bool coroutine_mixed_fn qcow2_read_snapshots(BlockDriverState *bs,
                                             const Qcow2Header *h,
                                             Error **errp);
void qcow2_free_snapshots(Qcow2State *s);
/* A copy, but for element @without (-1: all). */
GArray *qcow2_copy_snapshots(const GArray *list, int without);
/* The table as stored on disk; *@bytes may be 0.  NULL: too large. */
uint8_t *qcow2_encode_snapshots(const GArray *list, size_t *bytes,
                                Error **errp);
extern const struct BdrvSnapshotOps qcow2_snapshot_ops;

/*
 * vm-state.c: the place for a machine's state, after the end of the disk.
 * Reads what the L1 table s->l1 has at @pos, counted as bytes of the disk are,
 * and zeroes where it has nothing.
 */
int coroutine_fn qcow2_read_vm_area(BlockDriverState *bs, int64_t pos,
                                    size_t bytes, void *buf);
/* BdrvSnapshotOps.co_vm_state_pread and co_vm_state_pwrite. */
int coroutine_fn qcow2_co_vm_state_pread(BlockDriverState *bs, int64_t offset,
                                         void *buf, size_t bytes);
int coroutine_fn qcow2_co_vm_state_pwrite(BlockDriverState *bs, int64_t offset,
                                          const void *buf, size_t bytes);

#endif
