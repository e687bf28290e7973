/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * HBitmap: a hierarchical bit vector over a range of bytes.
 *
 * One bit of the lowest level stands for `granularity` bytes; a bit of each
 * level above says whether the word below it has any bit set, so that finding
 * the next dirty bit or walking a sparse bitmap skips clean space in one load.
 * Offsets and lengths are bytes everywhere; set rounds outwards to whole
 * granules (the last granule may be cut short by the size), so does test.
 *
 * Memory: bits/8 * 64/63 and about 1 KiB.  Pages of a large bitmap that were
 * never dirty are not allocated, so that creating one takes the same time for
 * any size.  No function yields; not thread safe.
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
 * The range must be in [0, size); one of 0 bytes does nothing.  Setting bits
 * that are already set takes one load.
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
/*
 * Clears the granules of @hb in which nothing of @other, of the same size, is
 * set; granularities may differ.
 */
void hbitmap_keep_common(HBitmap *hb, const HBitmap *other);
/* @offset in [0, size) */
bool hbitmap_get(const HBitmap *hb, int64_t offset);
/* Dirty bytes: set bits * granularity, less the part beyond the size. */
int64_t hbitmap_count(const HBitmap *hb);
bool hbitmap_empty(const HBitmap *hb);

/*
 * First dirty / clean byte in [@offset, @offset + @bytes), -1 if there is
 * none.  @bytes may reach beyond the end; INT64_MAX is "to the end".  @offset
 * may be past the end: then there is none.
 */
int64_t hbitmap_next_dirty(const HBitmap *hb, int64_t offset, int64_t bytes);
int64_t hbitmap_next_zero(const HBitmap *hb, int64_t offset, int64_t bytes);
/*
 * The first run of dirty bytes in [@start, @end), at most @max bytes (> 0)
 * long.  @end may be beyond the size.  False if there is none.
 */
bool hbitmap_next_dirty_area(const HBitmap *hb, int64_t start, int64_t end,
                             int64_t max, int64_t *area, int64_t *area_bytes);
/*
 * Is @offset, in [0, size), dirty?  *@pnum: how many bytes from there have the
 * same state, at most @bytes and not beyond the size.
 */
bool hbitmap_status(const HBitmap *hb, int64_t offset, int64_t bytes,
                    int64_t *pnum);

/*
 * Keeps the bits of what remains; new space is clean, except in the granule
 * that the old size cut short, which keeps its bit.
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
 * Bits set in the padding are ignored.
 */
uint64_t hbitmap_serialization_align(const HBitmap *hb);
size_t hbitmap_serialization_size(const HBitmap *hb, int64_t offset,
                                  int64_t bytes);
void hbitmap_serialize_part(const HBitmap *hb, uint8_t *buf, int64_t offset,
                            int64_t bytes);
/*
 * Replaces the bits of a part.  What is clean in both takes neither time nor
 * memory.
 */
void hbitmap_replace_part(HBitmap *hb, const uint8_t *buf, int64_t offset,
                          int64_t bytes);

/*
 * Lower-case hex SHA-256 of the lowest level as stored in memory, comparable
 * with other implementations on the same kind of machine: 64-bit words in
 * native byte order, as many as hold the granules (size / granularity, rounded
 * up), but at least one.  Nothing else (size, granularity, upper levels) is
 * hashed.  Caller frees with g_free().
 */
char *hbitmap_sha256(const HBitmap *hb);

/*
 * Meta bitmap: which parts of @hb changed since the user last reset the meta
 * bitmap.  Its offsets are bytes of the serialised form, one granule is @chunk
 * bytes, a power of two.  It has every change, and may also have the space
 * between changes of one call.  Owned by @hb, one at a time.
 */
HBitmap *hbitmap_create_meta(HBitmap *hb, size_t chunk);
void hbitmap_free_meta(HBitmap *hb);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(HBitmap, hbitmap_free)

#endif
