/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: protects metadata from being overwritten, and handles corruption
 * (overlap.c). */
#ifndef QCOW2_OVERLAP_INT_H
#define QCOW2_OVERLAP_INT_H

#include "block/qcow2/qcow2-int.h"

/* Kinds of metadata that are guarded against being overwritten. */
enum {
    QCOW2_OVERLAP_HEADER = 1 << 0,
    QCOW2_OVERLAP_ACTIVE_L1 = 1 << 1,
    QCOW2_OVERLAP_ACTIVE_L2 = 1 << 2,
    QCOW2_OVERLAP_REFCOUNT_BLOCK = 1 << 3,
    QCOW2_OVERLAP_REFCOUNT_TABLE = 1 << 4,
    QCOW2_OVERLAP_SNAPSHOT_TABLE = 1 << 5,
    QCOW2_OVERLAP_INACTIVE_L1 = 1 << 6, /* of snapshots */
    QCOW2_OVERLAP_INACTIVE_L2 = 1 << 7,
    QCOW2_OVERLAP_BITMAP_DIRECTORY = 1 << 8,
};

/*
 * -EIO (and the image is marked corrupt) if a write to this range of the file
 * would overwrite metadata of a guarded kind other than @own, the kind that is
 * written there (0: data, or a table in a new place).  Under the lock; may
 * yield.
 */
int coroutine_mixed_fn qcow2_check_overlap(BlockDriverState *bs,
                                           uint64_t offset, uint64_t bytes,
                                           unsigned own);
/*
 * *@name: what kind of metadata is in this range of the file (@bytes > 0);
 * NULL: none is known, though L2 tables of snapshots may be there.  False:
 * tables of the image could not be read.
 */
bool coroutine_mixed_fn qcow2_find_metadata(BlockDriverState *bs,
                                            uint64_t offset, uint64_t bytes,
                                            const char **name);
/* A cluster becomes / is no longer an (active) L2 table or refcount block. */
void qcow2_meta_add(Qcow2State *s, uint64_t offset, unsigned kind);
void qcow2_meta_remove(Qcow2State *s, uint64_t offset, unsigned kind);
/* To be called when snapshots or the option change. */
void qcow2_meta_forget(Qcow2State *s);
/* Reports, sets the corrupt bit and stops writing; returns -EIO. */
int coroutine_mixed_fn qcow2_corrupt(BlockDriverState *bs, bool fatal,
                                     int64_t offset, int64_t size,
                                     const char *fmt, ...)
    G_GNUC_PRINTF(5, 6);

#endif
