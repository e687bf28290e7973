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
    /* while storing: has a new table; the one it replaces is to be freed */
    bool stored;
    uint64_t old_table_offset;
    uint32_t old_table_size;
} Qcow2Bitmap;

void qcow2_bitmap_free(Qcow2Bitmap *b);
/* Array of Qcow2Bitmap *, freed with its elements; NULL on error. */
GPtrArray *qcow2_bitmap_dir_parse(const uint8_t *buf, size_t len,
                                  uint32_t nb_bitmaps, unsigned cluster_bits,
                                  Error **errp);
/* Caller frees; *@len bytes. */
uint8_t *qcow2_bitmap_dir_serialise(const GPtrArray *dir, size_t *len);
size_t qcow2_bitmap_entry_size(size_t name_len, size_t extra_len);
/* Can it be kept up to date? (known type, flags, extra data) */
bool qcow2_bitmap_usable(const Qcow2Bitmap *b);
/* Table entries that a bitmap of a disk of @size bytes needs. */
uint64_t qcow2_bitmap_table_entries(int64_t size, unsigned granularity_bits,
                                    unsigned cluster_bits);
Qcow2Bitmap *qcow2_bitmap_dir_find(GPtrArray *dir, const char *name);

/* --- bitmap.c, bitmap-store.c --- */

/* The directory of the image with the cut_end of each; may be empty. */
GPtrArray *coroutine_mixed_fn qcow2_bitmap_dir_read(BlockDriverState *bs,
                                                    Error **errp);
/* Makes the bitmaps in the image the store of @bs. */
void qcow2_attach_bitmap_store(BlockDriverState *bs);
/*
 * Operations of that store, see BdrvBitmapStoreOps.  If the directory is
 * damaged, no bitmap is loaded, with a warning, and none is trusted any more.
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
/* The bitmap table of @b, checked; NULL and an error otherwise. */
uint64_t *coroutine_mixed_fn qcow2_bitmap_read_table(BlockDriverState *bs,
                                                     const Qcow2Bitmap *b,
                                                     Error **errp);

#endif
