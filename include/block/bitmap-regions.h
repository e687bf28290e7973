/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which regions of a disk are open: in stored bitmaps, all bits of an open
 * region are set on stable storage, so that writes to it need wait for nothing.
 *
 *     closed --> being opened --> open --> closed
 *         a write begins   durable   quiet, or too many are open
 *
 * Stored bits are then the bits in memory and all of the open regions.  Closing
 * a region writes its exact bits; as this only clears bits, nothing waits for
 * it.  Several writes that wait share one opening (group commit), and a
 * sequential writer gets regions ahead of it.
 *
 * Offsets and sizes are bytes.  All functions run in the thread of the node, or
 * in the main thread while it is drained.
 */
#ifndef BLOCK_BITMAP_REGIONS_H
#define BLOCK_BITMAP_REGIONS_H

#include "block/types.h"
#include "qemu/coroutine.h"

typedef struct BdrvBitmapRegions BdrvBitmapRegions;

typedef struct BdrvBitmapRegionsOps {
    /*
     * Stores the bits of the @n regions that start at @offsets (ascending):
     * those in memory, and all for which bdrv_bitmap_regions_wanted() holds.
     * @opens: some are being opened, so the bits are durable when it returns 0;
     * -errno otherwise.  Called with the lock held.
     */
    int coroutine_fn (*co_store)(void *opaque, const int64_t *offsets,
                                 size_t n, bool opens);
} BdrvBitmapRegionsOps;

/* How much may be open, unless one request needs more. */
int64_t bdrv_bitmap_regions_default_max(int64_t size);

/*
 * All closed.  @region: a power of two, at least 64 KiB.  @max_open: see above;
 * at least one region.  @lock is held while bits are stored; whoever stores all
 * bits for another reason holds it, too, so that the open regions do not change
 * meanwhile.
 */
BdrvBitmapRegions *bdrv_bitmap_regions_new(int64_t size, int64_t region,
                                           int64_t max_open, CoMutex *lock,
                                           const BdrvBitmapRegionsOps *ops,
                                           void *opaque);
void bdrv_bitmap_regions_free(BdrvBitmapRegions *r);
/* Bytes of open regions. */
int64_t bdrv_bitmap_regions_open_bytes(const BdrvBitmapRegions *r);
/*
 * The region at @offset is open or being opened.  *@next: where the next region
 * starts that is not in the same state, or the end of the disk; beyond that end
 * INT64_MAX: the disk may have grown.
 */
bool bdrv_bitmap_regions_wanted(const BdrvBitmapRegions *r, int64_t offset,
                                int64_t *next);
/* The same for any region of [@offset, +@bytes). */
bool bdrv_bitmap_regions_any_wanted(const BdrvBitmapRegions *r, int64_t offset,
                                    int64_t bytes);
/* All regions of the range are open; they count as used. */
bool bdrv_bitmap_regions_covers(BdrvBitmapRegions *r, int64_t offset,
                                int64_t bytes);
/*
 * Opens all regions of the range, and waits for that.  0: all are open, and
 * stay so until the caller yields; or -errno of co_store.
 */
int coroutine_fn bdrv_bitmap_regions_co_open(BdrvBitmapRegions *r,
                                             int64_t offset, int64_t bytes);
/* Closes the regions that have not been used since the last call. */
void coroutine_fn bdrv_bitmap_regions_co_close_quiet(BdrvBitmapRegions *r);
/* The disk has another size; with the lock held, or drained. */
void bdrv_bitmap_regions_resize(BdrvBitmapRegions *r, int64_t size);

#endif
