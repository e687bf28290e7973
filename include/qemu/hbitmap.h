/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HBitmap: a hierarchical bit vector over a range of bytes.
 *
 * One bit of the lowest level stands for `granularity` bytes; a bit of each
 * level above says whether the word below it has any bit set, so that finding
 * the next dirty or walking a sparse bitmap skips clean space in one load.
 * Offsets and lengths are bytes everywhere; set rounds outwards to whole
 * granules (the last granule may be cut short by the size), so does test.
 *
 * Memory: bits/8 * 64/63 and about 1 KiB.  Pages of a large bitmap that were
 * never dirty take none: creating one is instant, whatever its size.  No
 * function yields; not thread safe.
 */
#ifndef QEMU_HBITMAP_H
#define QEMU_HBITMAP_H

#include "qemu/osdep.h"

typedef struct HBitmap HBitmap;

/*
 * @size bytes >= 0, @granularity a power of two >= 1; all clean.  Ends the
 * process if there is no memory.
 */
HBitmap *hbitmap_new(int64_t size, uint64_t granularity);
/* The same, but NULL if there is no memory: for sizes a user chose. */
HBitmap *hbitmap_try_new(int64_t size, uint64_t granularity);
/* Frees; NULL is allowed. */
void hbitmap_free(HBitmap *hb);
/* A new bitmap with the same bits, NULL if there is no memory; a meta bitmap is
 * not copied. */
HBitmap *hbitmap_copy(const HBitmap *hb);
int64_t hbitmap_size(const HBitmap *hb);
uint64_t hbitmap_granularity(const HBitmap *hb);
/* Bytes of memory that @hb takes. */
size_t hbitmap_memory(const HBitmap *hb);

/*
 * The range must lie in [0, size); one of 0 bytes does nothing.  A set of what
 * is set already is one load.
 */
void hbitmap_set(HBitmap *hb, int64_t offset, int64_t bytes);
/*
 * Clears granules.  @offset must be aligned to the granularity, and so must
 * the end unless it is the end of the bitmap: clearing part of a granule would
 * lose a change.
 */
void hbitmap_reset(HBitmap *hb, int64_t offset, int64_t bytes);
void hbitmap_reset_all(HBitmap *hb);
void hbitmap_set_all(HBitmap *hb);
/* @offset in [0, size) */
bool hbitmap_get(const HBitmap *hb, int64_t offset);
/* Dirty bytes: set bits * granularity, less what hangs over the size. */
int64_t hbitmap_count(const HBitmap *hb);
bool hbitmap_empty(const HBitmap *hb);

/*
 * First dirty / clean byte in [@offset, @offset + @bytes), -1 where there is
 * none.  @bytes may reach over the end; INT64_MAX is "to the end".  @offset
 * may lie past the end: then there is none.
 */
int64_t hbitmap_next_dirty(const HBitmap *hb, int64_t offset, int64_t bytes);
int64_t hbitmap_next_zero(const HBitmap *hb, int64_t offset, int64_t bytes);
/*
 * The first run of dirty bytes in [@start, @end), at most @max bytes (> 0)
 * long.  @end may lie over the size.  False where there is none.
 */
bool hbitmap_next_dirty_area(const HBitmap *hb, int64_t start, int64_t end,
                             int64_t max, int64_t *area, int64_t *area_bytes);
/*
 * Is @offset, in [0, size), dirty, and for how many bytes is it so: at most
 * @bytes, and not over the size?
 */
bool hbitmap_status(const HBitmap *hb, int64_t offset, int64_t bytes,
                    int64_t *pnum);

/*
 * Keeps the bits of what remains; new space is clean, but what lies in the
 * granule that the old size cut short shares its bit.
 */
void hbitmap_truncate(HBitmap *hb, int64_t size);

/*
 * @result = @a | @b.  Same size; granularities may all differ: a granule of
 * @result is dirty if any byte of it is dirty in @a or @b.  @b may be NULL
 * (then it is a conversion).  @result may be @a or @b.  False where the sizes
 * differ (nothing is changed).
 */
bool hbitmap_merge(const HBitmap *a, const HBitmap *b, HBitmap *result);

/*
 * Serialised form: the lowest level as little-endian bits, bit 0 of byte 0
 * being granule 0; padded with zeroes to a multiple of 8 bytes.  This is what
 * qcow2 stores and what migrates.  A part starts at a multiple of
 * hbitmap_serialization_align() bytes of disk and ends at one or at the size.
 * What is set in the padding is ignored.
 */
uint64_t hbitmap_serialization_align(const HBitmap *hb);
size_t hbitmap_serialization_size(const HBitmap *hb, int64_t offset,
                                  int64_t bytes);
void hbitmap_serialize_part(const HBitmap *hb, uint8_t *buf, int64_t offset,
                            int64_t bytes);
/*
 * Upper levels and count are brought up to date by ..._finish(): until then
 * only other deserialize functions may be called.
 */
void hbitmap_deserialize_part(HBitmap *hb, const uint8_t *buf, int64_t offset,
                              int64_t bytes);
void hbitmap_deserialize_zeroes(HBitmap *hb, int64_t offset, int64_t bytes);
void hbitmap_deserialize_ones(HBitmap *hb, int64_t offset, int64_t bytes);
void hbitmap_deserialize_finish(HBitmap *hb);

/*
 * Lower-case hex SHA-256 of the lowest level as it lies in memory, comparable
 * with other implementations on the same kind of machine: 64-bit words in
 * native byte order, as many as hold the granules (size / granularity, rounded
 * up), but at least one.  Nothing else (size, granularity, upper levels) goes
 * into it.  Caller frees with g_free().
 */
char *hbitmap_sha256(const HBitmap *hb);

/*
 * Meta bitmap: which parts of @hb changed since last asked (who asks resets
 * it).  Its offsets are bytes of the serialised form, one granule is @chunk
 * bytes, a power of two.  Every change is in it; what lies between changes of
 * one call may be, too.  Owned by @hb, one at a time.
 */
HBitmap *hbitmap_create_meta(HBitmap *hb, size_t chunk);
void hbitmap_free_meta(HBitmap *hb);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HBitmap, hbitmap_free)

#endif
