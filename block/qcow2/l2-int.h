/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: the mapping of guest offsets to the file (l2.c). */
#ifndef QCOW2_L2_INT_H
#define QCOW2_L2_INT_H

#include "block/qcow2/qcow2-int.h"

typedef enum Qcow2Type {
    QCOW2_UNALLOCATED,
    QCOW2_ZERO_PLAIN,
    QCOW2_ZERO_ALLOC,
    QCOW2_NORMAL,
    QCOW2_TYPE_COMPRESSED,
    QCOW2_INVALID,
} Qcow2Type;

/* Properties of a run of the disk. */
typedef struct Qcow2Map {
    Qcow2Type type;
    bool copied;    /* there is no other reference: may be written in place */
    uint64_t host;  /* file offset of its first byte, if allocated */
    int64_t bytes;
    uint64_t entry; /* the first raw entry */
} Qcow2Map;

/* Pure: the type of an L2 entry. */
Qcow2Type qcow2_entry_type(uint64_t entry, uint32_t version,
                           unsigned cluster_bits);
/* Pure: the place of compressed data. */
void qcow2_compressed_range(uint64_t entry, unsigned cluster_bits,
                            uint64_t *offset, uint64_t *bytes);
/* Looks up the run at @offset, under the lock. */
int coroutine_mixed_fn qcow2_map(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, Qcow2Map *map);
/* The same; takes the lock if the L2 table is not cached. */
int coroutine_fn qcow2_co_map(BlockDriverState *bs, int64_t offset,
                              int64_t bytes, Qcow2Map *map);
/* Makes the L2 table for @offset exist, with one reference. */
int coroutine_mixed_fn qcow2_prepare_l2(BlockDriverState *bs, int64_t offset);
/*
 * Sets the entry of the cluster at @offset (its L2 table prepared), after the
 * data that it refers to was written.  The old entry's reference is dropped
 * unless @keep.  @discard: see Qcow2Free.
 */
int coroutine_mixed_fn qcow2_set_entry(BlockDriverState *bs, int64_t offset,
                                       uint64_t entry, bool keep,
                                       bool discard);
/* Writes the sector of the L1 table with @index. */
int coroutine_mixed_fn qcow2_write_l1(BlockDriverState *bs, uint32_t index);
/* Writes a table of 64-bit entries, zeroed or copied and converted to big
 * endian, at @offset. */
int coroutine_mixed_fn qcow2_write_table(BlockDriverState *bs, uint64_t offset,
                                         const uint64_t *table,
                                         uint64_t entries, uint64_t bytes);
/* Reads @entries 64-bit numbers; NULL with -errno in *@ret. */
uint64_t *coroutine_mixed_fn qcow2_read_table(BlockDriverState *bs,
                                              uint64_t offset,
                                              uint64_t entries, int *ret);

#endif
