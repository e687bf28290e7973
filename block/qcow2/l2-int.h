/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: the mapping of guest offsets to the file (l2.c).
 *
 * An L2 entry is a descriptor, 64 bits, and in images with extended L2 entries
 * a bitmap of the cluster's subclusters behind it.  Entries in tables are
 * accessed by the functions below, which know their size; what they mean says
 * qcow2_decode().  docs/devel/qcow2.rst has the whole of it.
 */
#ifndef QCOW2_L2_INT_H
#define QCOW2_L2_INT_H

#include "block/qcow2/qcow2-int.h"

typedef enum Qcow2Type {
    QCOW2_UNALLOCATED,
    QCOW2_UNWRITTEN, /* a subcluster: not allocated, in a cluster that has a
                        place in the file */
    QCOW2_ZERO_PLAIN,
    QCOW2_ZERO_ALLOC,
    QCOW2_NORMAL,
    QCOW2_TYPE_COMPRESSED,
    QCOW2_INVALID,
} Qcow2Type;

/* An entry of an L2 table, in host byte order. */
typedef struct Qcow2Entry {
    uint64_t desc;   /* the place of the cluster, and flags */
    uint64_t bitmap; /* 32 bits of subclusters that are allocated, then 32 of
                        subclusters that are zero; 0 without subclusters */
} Qcow2Entry;

/* Properties of a run of the disk. */
typedef struct Qcow2Map {
    Qcow2Type type;
    bool copied;    /* there is no other reference: may be written in place */
    uint64_t host;  /* file offset of its first byte, if allocated */
    int64_t bytes;
    Qcow2Entry entry; /* the first raw entry */
} Qcow2Map;

/* Entry @index of a table as it is in the file. */
static inline Qcow2Entry qcow2_entry_get(const Qcow2State *s,
                                         const void *table, uint64_t index)
{
    const uint8_t *p = (const uint8_t *)table + (index << s->entry_bits);

    return (Qcow2Entry){ ld64_be(p), s->extended_l2 ? ld64_be(p + 8) : 0 };
}

static inline void qcow2_entry_set(const Qcow2State *s, void *table,
                                   uint64_t index, Qcow2Entry entry)
{
    uint8_t *p = (uint8_t *)table + (index << s->entry_bits);

    st64_be(p, entry.desc);
    if (s->extended_l2) {
        st64_be(p + 8, entry.bitmap);
    }
}

/* 64-bit words of an L2 table. */
static inline uint64_t qcow2_l2_words(const Qcow2State *s)
{
    return (uint64_t)s->cluster_size / 8;
}

/* The word with the descriptor of entry @index, in an L2 table of them. */
static inline uint64_t qcow2_l2_word(const Qcow2State *s, uint64_t index)
{
    return index << (s->entry_bits - 3);
}

/* Entry @index of a table of words, in host byte order. */
static inline Qcow2Entry qcow2_word_entry(const Qcow2State *s,
                                          const uint64_t *words,
                                          uint64_t index)
{
    const uint64_t *p = words + qcow2_l2_word(s, index);

    return (Qcow2Entry){ p[0], s->extended_l2 ? p[1] : 0 };
}

/* Is there a place in the file for data of this type, be it not valid yet? */
static inline bool qcow2_has_place(Qcow2Type type)
{
    return type == QCOW2_NORMAL || type == QCOW2_ZERO_ALLOC ||
           type == QCOW2_UNWRITTEN;
}

/* Does the backing file show? */
static inline bool qcow2_shows_backing(Qcow2Type type)
{
    return type == QCOW2_UNALLOCATED || type == QCOW2_UNWRITTEN;
}

static inline bool qcow2_is_zero(Qcow2Type type)
{
    return type == QCOW2_ZERO_PLAIN || type == QCOW2_ZERO_ALLOC;
}

/* Bits of the subclusters of the cluster at @pos that have a byte of the range
 * [@from, @to), which has one of the cluster. */
static inline uint32_t qcow2_sub_mask(const Qcow2State *s, int64_t pos,
                                      int64_t from, int64_t to)
{
    int64_t first = MAX(from, pos) - pos;
    int64_t last = MIN(to, pos + s->cluster_size) - 1 - pos;
    uint64_t below = (UINT64_C(1) << (first >> s->sub_bits)) - 1;

    return (UINT64_C(2) << (last >> s->sub_bits)) - 1 - below;
}

/* A bitmap in which the subclusters of @mask are allocated, or zero. */
static inline uint64_t qcow2_bitmap_written(uint64_t bitmap, uint32_t mask)
{
    return (bitmap & ~((uint64_t)mask << 32)) | mask;
}

static inline uint64_t qcow2_bitmap_zeroed(uint64_t bitmap, uint32_t mask)
{
    return (bitmap & ~(uint64_t)mask) | (uint64_t)mask << 32;
}

/* Pure: the type of a descriptor without subclusters. */
Qcow2Type qcow2_entry_type(uint64_t entry, uint32_t version,
                           unsigned cluster_bits);
/*
 * The same for the image, which may have an external data file.  With
 * subclusters it is what the descriptor refers to: QCOW2_NORMAL for a place,
 * whatever is in it, and never a zero type.
 */
Qcow2Type qcow2_type_of(const Qcow2State *s, uint64_t desc);
/*
 * The one meaning of an entry: the type of subcluster @sub (0 without
 * subclusters), and in *@n how many in a row from there on have it.
 * QCOW2_INVALID for each if any bit of the bitmap contradicts another or the
 * descriptor.
 */
Qcow2Type qcow2_decode(const Qcow2State *s, Qcow2Entry entry, unsigned sub,
                       unsigned *n);
/* Pure: the place of compressed data. */
void qcow2_compressed_range(uint64_t entry, unsigned cluster_bits,
                            uint64_t *offset, uint64_t *bytes);
/* Looks up the run at @offset, under the lock. */
int coroutine_mixed_fn qcow2_map(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, Qcow2Map *map);
/* The same; takes the lock if the L2 table is not cached. */
int coroutine_fn qcow2_co_map(BlockDriverState *bs, int64_t offset,
                              int64_t bytes, Qcow2Map *map);
/* The entry of the cluster at @offset, under the lock; a bad one is an
 * error. */
int coroutine_mixed_fn qcow2_get_entry(BlockDriverState *bs, int64_t offset,
                                       Qcow2Entry *entry);
/* Makes the L2 table for @offset exist, with one reference. */
int coroutine_mixed_fn qcow2_prepare_l2(BlockDriverState *bs, int64_t offset);
/* Frees that table, in which no entry refers to anything any more, unless a
 * snapshot has it, too. */
int coroutine_mixed_fn qcow2_drop_l2(BlockDriverState *bs, int64_t offset);
/*
 * Sets the entry of the cluster at @offset (its L2 table prepared), after the
 * data that it refers to was written.  The old entry's reference is dropped
 * unless @keep.  @discard: see Qcow2Free.
 */
int coroutine_mixed_fn qcow2_set_entry(BlockDriverState *bs, int64_t offset,
                                       Qcow2Entry entry, bool keep,
                                       bool discard);
/* Writes the sector of the L1 table, so many entries, with @index. */
#define QCOW2_L1_PART 64U
int coroutine_mixed_fn qcow2_write_l1(BlockDriverState *bs, uint32_t index);
/*
 * Makes [@offset, @end) of the file, which follows what was written, read as
 * zeroes; as a hole where that is possible.  @offset and @reach: multiples of a
 * sector; the file is at least as long as @reach afterwards.
 */
int coroutine_mixed_fn qcow2_write_rest(BlockDriverState *bs, uint64_t offset,
                                        uint64_t reach, uint64_t end);
/* Writes a table of 64-bit entries, converted to big endian, at @offset, and
 * zeroes up to @bytes. */
int coroutine_mixed_fn qcow2_write_table(BlockDriverState *bs, uint64_t offset,
                                         const uint64_t *table,
                                         uint64_t entries, uint64_t bytes);
/* Reads @entries 64-bit numbers; NULL with -errno in *@ret. */
uint64_t *coroutine_mixed_fn qcow2_read_table(BlockDriverState *bs,
                                              uint64_t offset,
                                              uint64_t entries, int *ret);

#endif
