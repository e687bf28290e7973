/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: bitmaps in the image (bitmap-dir.c, bitmap.c, bitmap-store.c). */
#ifndef QCOW2_BITMAP_INT_H
#define QCOW2_BITMAP_INT_H

#include "block/qcow2/qcow2-int.h"

/* --- bitmap-dir.c: the pure part --- */

#define QCOW2_MAX_BITMAPS 65535
#define QCOW2_MAX_BITMAP_DIR (64 * MiB)
#define QCOW2_MAX_BITMAP_TABLE 0x8000000 /* entries */
#define QCOW2_MAX_BITMAP_BYTES INT64_C(0x20000000)
#define QCOW2_MIN_BITMAP_GRANULARITY_BITS 9
#define QCOW2_MAX_BITMAP_GRANULARITY_BITS 31

enum {
    QCOW2_BITMAP_IN_USE = 1 << 0,
    QCOW2_BITMAP_AUTO = 1 << 1,
    QCOW2_BITMAP_EXTRA_COMPATIBLE = 1 << 2,
    QCOW2_BITMAP_FLAGS_KNOWN = 7,
    QCOW2_BITMAP_TYPE_DIRTY = 1,
};
#define QCOW2_BITMAP_ENTRY_RESERVED UINT64_C(0xff000000000001fe)

/* An entry of the bitmap directory. */
typedef struct Qcow2Bitmap {
    uint64_t table_offset;
    uint32_t table_size; /* entries */
    uint32_t flags;
    uint8_t type;
    uint8_t granularity_bits;
    char *name;
    uint8_t *extra;
    uint32_t extra_size;
    int64_t cut_end; /* see bdrv_dirty_bitmap_cut_end(); not in the directory */
    uint8_t level;   /* QCOW2_AHEAD_*, from its note */
    int64_t covered; /* size of the disk that its bits cover, from its note */
    uint64_t over;   /* from its note */
    BdrvBitmapResume *resume; /* from behind the directory; NULL: nothing */
    bool resume_lost; /* ... where it has no room: only that there is one */
    /* damage */
    char *damage;        /* why it cannot be used, as text; NULL: it can */
    bool unreadable;     /* ... it is an error of the storage */
    uint8_t *raw;        /* the bytes of the entry, as they were read */
    size_t raw_size;
    bool uncounted;      /* the header says that there are fewer */
    bool rest;           /* no entry, but what follows them up to the end ... */
    uint32_t rest_count; /* ... which stands for so many bitmaps */
    /* while storing: has a new table; the one it replaces is to be freed */
    bool stored;
    uint64_t *table; /* host byte order */
    bool inexact;    /* there are more bits than in memory, see `over` */
    uint64_t *reused; /* of the same size: equal entries are old clusters */
    uint64_t old_table_offset;
    uint32_t old_table_size;
} Qcow2Bitmap;

void qcow2_bitmap_free(Qcow2Bitmap *b);
/* Arrays of Qcow2Bitmap *, freed with their elements. */
GPtrArray *qcow2_bitmap_dir_new(void);
GPtrArray *qcow2_bitmap_dir_copy(const GPtrArray *dir);
/*
 * @missing: bytes of it that are not in the file.  What cannot be used has
 * @damage and, if it has no name of its own, a name in its place; names are
 * unique.  What follows the entries, or lacks, is the last element.
 */
GPtrArray *qcow2_bitmap_dir_parse(const uint8_t *buf, size_t len,
                                  size_t missing, uint32_t nb_bitmaps,
                                  unsigned cluster_bits);
/* Appends an element for @count bitmaps of which nothing is known but @size
 * bytes at @raw. */
Qcow2Bitmap *qcow2_bitmap_new_rest(GPtrArray *dir, const uint8_t *raw,
                                   size_t size, uint32_t count);
/* Says why @b cannot be used, unless that is said already. */
void qcow2_bitmap_damaged(Qcow2Bitmap *b, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);
/* Caller frees; *@len bytes.  What is damaged is as it was read. */
uint8_t *qcow2_bitmap_dir_serialise(const GPtrArray *dir, size_t *len);
/* The number of bitmaps for the header. */
uint32_t qcow2_bitmap_dir_count(const GPtrArray *dir);
/* An error of the storage hides what it has. */
bool qcow2_bitmap_dir_unreadable(const GPtrArray *dir);
/* Inserts @b, which is owned then, after those that the header counts. */
void qcow2_bitmap_dir_add(GPtrArray *dir, Qcow2Bitmap *b);
size_t qcow2_bitmap_entry_size(size_t name_len, size_t extra_len);
/* Can it be kept up to date? (not damaged, known extra data) */
bool qcow2_bitmap_usable(const Qcow2Bitmap *b);
/* Table entries that a bitmap of a disk of @size bytes needs. */
uint64_t qcow2_bitmap_table_entries(int64_t size, unsigned granularity_bits,
                                    unsigned cluster_bits);
Qcow2Bitmap *qcow2_bitmap_dir_find(GPtrArray *dir, const char *name);

/* --- bitmap-notes.c: the notes in the header --- */

/* Decodes the extension of @len bytes; in another form it counts as absent. */
void qcow2_parse_notes(Qcow2State *s, const uint8_t *data, uint32_t len);
/* Appends the extension, with the first @n of @notes. */
void qcow2_put_notes(GByteArray *out, const GArray *notes, guint n);
/* Sets level, covered and over of @dir from the notes of the image. */
void qcow2_apply_notes(const Qcow2State *s, GPtrArray *dir);
/* The notes that belong to @dir. */
GArray *qcow2_make_notes(const GPtrArray *dir);
/* Were the stored bits kept ahead of the disk until it was last written? */
bool qcow2_bitmap_is_ahead(const Qcow2Bitmap *b);
/* There are notes, but a program that does not know them has written. */
bool qcow2_notes_outdated(const Qcow2State *s);

/* --- bitmap-resume.c: what is remembered of jobs --- */

/* Decodes the extension of @len bytes; in another form it counts as absent. */
void qcow2_parse_resume(Qcow2State *s, const uint8_t *data, uint32_t len);
/* Appends the extension. */
void qcow2_put_resume(GByteArray *out, const Qcow2State *s);
/*
 * The records of @dir that fit in @room bytes, if need be with names that are
 * cut; may be empty.  Notes in @dir which ones do not fit.
 */
GByteArray *qcow2_encode_resume(const GPtrArray *dir, size_t room);
/* Indexes, as uint32_t, of the bitmaps of @dir whose records did not fit. */
GArray *qcow2_lost_resume(const GPtrArray *dir);
/* Sets them in @dir; invalid ones are left out. */
void qcow2_decode_resume(GPtrArray *dir, const uint8_t *buf, size_t len);
/* The same, from the image; nothing if they cannot be read. */
void coroutine_mixed_fn qcow2_read_resume(BlockDriverState *bs,
                                          GPtrArray *dir);

/* --- bitmap-disk.c: the disk, if it is not that of the image --- */

#define QCOW2_DISK_BYTES 56 /* of the extension, at most */

/* Decodes the extension; in another form it counts as absent. */
void qcow2_parse_disk(Qcow2State *s, const uint8_t *data, uint32_t len);
/* Returns its length; @p: QCOW2_DISK_BYTES. */
size_t qcow2_encode_disk(const BdrvBitmapDisk *disk, uint8_t *p);
/* Operations of the store, see BdrvBitmapStoreOps. */
int coroutine_fn qcow2_ahead_co_flush(BdrvBitmapStore *store);
const BdrvBitmapDisk *qcow2_bitmaps_disk(const BdrvBitmapStore *store);
bool coroutine_mixed_fn qcow2_bitmaps_record_disk(BdrvBitmapStore *store,
                                                  const BdrvBitmapDisk *disk,
                                                  bool with_save,
                                                  Error **errp);

/* --- bitmap.c, bitmap-store.c --- */

/*
 * A copy of the directory with the cut_end and the note of each; empty: there
 * are no bitmaps.  What cannot be read is an element with @damage.  As long as
 * they have not been loaded, it is read from the file, and bitmaps are not
 * examined.
 */
GPtrArray *coroutine_mixed_fn qcow2_bitmap_dir_read(BlockDriverState *bs);
/* @dir is what the file has now. */
void qcow2_bitmap_dir_written(Qcow2State *s, const GPtrArray *dir);
/* Makes the bitmaps in the image the store of @bs. */
void qcow2_attach_bitmap_store(BlockDriverState *bs);

/*
 * The node that has the bitmaps: that of the image, or a filter that keeps
 * bitmaps of another disk here.  Their disk is that of the owner, whose size
 * may differ from that of the image for a moment, while both are resized.
 */
static inline BlockDriverState *qcow2_bitmap_owner(const Qcow2State *s)
{
    return s->bitmap_store.bs;
}

static inline int64_t qcow2_bitmap_disk_size(const Qcow2State *s)
{
    return qcow2_bitmap_owner(s)->total_bytes;
}

/*
 * Operations of that store, see BdrvBitmapStoreOps.  What is damaged is loaded
 * as an inconsistent bitmap, with a warning.
 */
bool coroutine_mixed_fn qcow2_bitmaps_load(BdrvBitmapStore *store,
                                           Error **errp);
bool coroutine_mixed_fn qcow2_bitmaps_begin(BdrvBitmapStore *store,
                                            BdrvDirtyBitmap *bitmap,
                                            Error **errp);
bool qcow2_bitmaps_can_store(BdrvBitmapStore *store, const char *name,
                             uint64_t granularity, Error **errp);
bool coroutine_fn qcow2_bitmaps_co_resize(BdrvBitmapStore *store,
                                          int64_t bytes, Error **errp);
/* Marks @name (NULL: all) in use on disk; under the lock, or while opening. */
bool coroutine_mixed_fn qcow2_mark_bitmaps_in_use(BlockDriverState *bs,
                                                  const char *name,
                                                  Error **errp);
/*
 * Writes the header with the notes of @dir, the directory that there is;
 * durable.  0 or -errno.
 */
int coroutine_mixed_fn qcow2_write_notes(BlockDriverState *bs,
                                         GPtrArray *dir);
/*
 * Writes @dir to new clusters and makes the header refer to it, durably; frees
 * the old directory if its place is its own.  0 or -errno; then the image is
 * as before, or, if bitmaps_unsure, it is not known which one it has.
 */
int coroutine_mixed_fn qcow2_bitmaps_switch_dir(BlockDriverState *bs,
                                                GPtrArray *dir);
/*
 * Stores the bits of all bitmaps that are to be kept safe and are not, or are
 * stale; in use, with notes; under both locks.  *@dirp: the directory then, in
 * which those that were stored have a table.
 */
bool coroutine_fn qcow2_store_kept(BlockDriverState *bs, GPtrArray **dirp,
                                   Error **errp);
/* The bitmap table of @b, checked; NULL and an error otherwise, *@unreadable
 * (may be NULL) if it could not be read. */
uint64_t *coroutine_mixed_fn qcow2_bitmap_read_table(BlockDriverState *bs,
                                                     const Qcow2Bitmap *b,
                                                     bool *unreadable,
                                                     Error **errp);

/* Is nothing of [@pos, +@bytes) to be stored as dirty? */
bool qcow2_bitmap_is_clean(const BdrvDirtyBitmap *bitmap,
                           const BdrvBitmapRegions *regions, int64_t pos,
                           int64_t bytes);

/* --- bitmap-bits.c --- */

/* What is stored for [@pos, +@bytes) of the disk. */
typedef struct Qcow2BitmapPart {
    int64_t pos, bytes; /* in whole words of bits, or up to the end */
    const uint8_t *buf; /* the bits in serialised form; NULL: all are equal */
    bool ones;          /* ... and set */
} Qcow2BitmapPart;

/* Returns 0 or -errno, which ends it. */
typedef int Qcow2BitmapPartFn(void *opaque, const Qcow2BitmapPart *part);

/*
 * Calls @fn for all parts of @b, whose table @table is, in any order, that have
 * bits for the first @size bytes of the disk of @hb, which has the granularity
 * of @b.  0 or -errno.
 */
int coroutine_mixed_fn qcow2_bitmap_read_bits(BlockDriverState *bs,
                                              const Qcow2Bitmap *b,
                                              const uint64_t *table,
                                              int64_t size,
                                              const HBitmap *hb,
                                              Qcow2BitmapPartFn *fn,
                                              void *opaque);
/*
 * If the stored bits of @b, which another process has kept ahead of the disk,
 * cover all of @bitmap, which is to be stored in its place, they can stay:
 * reads the table of @b.  *@excess: bytes that are dirty only there.  Under
 * both locks.
 */
bool coroutine_fn qcow2_bitmap_adopt_bits(BlockDriverState *bs, Qcow2Bitmap *b,
                                          const BdrvDirtyBitmap *bitmap,
                                          uint64_t *excess);

/* --- bitmap-damage.c --- */

/*
 * Sets @damage of the elements of @dir, the directory in the file, that are not
 * sound, and bitmap_dir_own.  Reads tables; while opening, or under the
 * lock.
 */
void coroutine_mixed_fn qcow2_bitmaps_examine(BlockDriverState *bs,
                                              GPtrArray *dir);
/* The same, by the refcounts, which are known to be right. */
void coroutine_mixed_fn qcow2_bitmaps_examine_counts(BlockDriverState *bs,
                                                     GPtrArray *dir);
/* What is damaged in @dir refers to clusters: they are not allocated. */
void coroutine_mixed_fn qcow2_bitmaps_claim(BlockDriverState *bs,
                                            const GPtrArray *dir);
/* Is its table as large as the disk needs? */
bool qcow2_bitmap_fits(const Qcow2State *s, const Qcow2Bitmap *b);
/* There are claims: is @cluster (a number) among them? */
bool qcow2_bitmaps_claim_cluster(const Qcow2State *s, uint64_t cluster);

/* --- bitmap-ahead.c: bitmaps that are safe while the image is written --- */

/* Bytes of a region, and of those that are open (0: the default); for tests,
 * whose disks are small. */
extern int64_t qcow2_ahead_region, qcow2_ahead_max;
/* Closes the regions that were not used since the last call; @opaque: the node.
 * Called by a timer. */
void qcow2_ahead_tick(void *opaque);

/*
 * Begins to keep safe what is stored and is to be kept, before it is marked in
 * use.  False if the state on disk is not known.
 */
bool coroutine_mixed_fn qcow2_ahead_begin(BlockDriverState *bs, Error **errp);
/* What was stored may be lost. */
void qcow2_ahead_lost(BlockDriverState *bs);
/*
 * The header has been written: bitmaps for whose notes it had no room are kept
 * no longer.  Under both locks, or while opening.  @dir: those bitmaps in it
 * are as without a note; may be NULL.
 */
void coroutine_mixed_fn qcow2_ahead_limit(BlockDriverState *bs,
                                          GPtrArray *dir);
/* Operations of the store, see BdrvBitmapStoreOps. */
bool coroutine_mixed_fn qcow2_ahead_sync(BdrvBitmapStore *store,
                                         Error **errp);
int coroutine_fn qcow2_ahead_co_write_intent(BdrvBitmapStore *store,
                                             int64_t offset, int64_t bytes);
void coroutine_fn qcow2_ahead_co_settle(BdrvBitmapStore *store);
const BdrvBitmapRegions *qcow2_ahead_regions(const BdrvBitmapStore *store);
/*
 * The table of @bitmap, for which @stored is the entry in the directory, if its
 * stored bits are those in memory but for the regions that are open; else NULL.
 * Under both locks.
 */
const uint64_t *qcow2_ahead_table(BlockDriverState *bs,
                                  const BdrvDirtyBitmap *bitmap,
                                  const Qcow2Bitmap *stored);
/* Are the stored bits of @bitmap kept ahead of the disk by this process? */
bool qcow2_ahead_has(const Qcow2State *s, const BdrvDirtyBitmap *bitmap);
/* @bitmap has been removed from the directory, or ceases to exist. */
void qcow2_ahead_forget(BdrvBitmapStore *store, BdrvDirtyBitmap *bitmap);
/* All bitmaps have been stored, or the image is closed. */
void qcow2_ahead_end(BlockDriverState *bs);
/* The operation `leave` of the store. */
void qcow2_bitmaps_leave(BdrvBitmapStore *store);
void qcow2_ahead_start_timer(BlockDriverState *bs);
void qcow2_ahead_stop_timer(BlockDriverState *bs);

#endif
