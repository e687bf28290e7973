/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the persistent bitmaps of a node are kept: an object of the node.
 *
 * Whoever can keep bitmaps for a node makes one and attaches it: a format
 * driver whose images hold bitmaps when it opens one, or somebody who keeps
 * them beside a disk of any format.  One store may wrap another: it is attached
 * in its place and calls it.
 *
 *     attach -> load -> begin -> (bitmaps record) -> save -> begin ... detach
 *
 * Rules:
 *  1. What is stored counts as current from save() to begin(), and only then.
 *     After a crash in between begin() and save() it is found out of date.
 *  2. What adds bits, or keeps a bitmap from being taken for current, is
 *     durable before the call that does it returns.  What removes bits waits
 *     until that which justifies it is durable.
 *  3. No write reaches the node's data before begin() succeeded: where it could
 *     not be done, bdrv_bitmap_store_co_write_intent() tries it again and fails
 *     the write.
 *  4. The core drives the store: it begins and saves where a node is reopened,
 *     and saves where it is closed.  Whoever attaches it loads it, and begins
 *     once the node may be written for the first time.
 *
 * Offsets and sizes are bytes.  Main thread, but for what is a coroutine
 * function: that runs in the node's context.
 */
#ifndef BLOCK_BITMAP_STORE_H
#define BLOCK_BITMAP_STORE_H

#include "block/dirty-bitmap.h"
#include "qemu/transactions.h"

/*
 * What a store does.  All but @can_store, @load, @begin, @save and @co_remove
 * may be NULL.  Functions that return false have set an error and changed
 * nothing that counts as current; they may yield where they run in a coroutine.
 */
typedef struct BdrvBitmapStoreOps {
    /* May a bitmap of @name and @granularity be added?  Changes nothing. */
    bool (*can_store)(BdrvBitmapStore *store, const char *name,
                      uint64_t granularity, Error **errp);
    /*
     * Adds all that is stored to the node, as persistent bitmaps.  What cannot
     * be trusted becomes an inconsistent one; false only where it is not known
     * which bitmaps there are.
     */
    bool coroutine_mixed_fn (*load)(BdrvBitmapStore *store, Error **errp);
    /*
     * @bitmap, or with NULL any that is stored, records from now on: the stored
     * copy does not count as current any more.  Durable when it returns.  May
     * be called again, and for a bitmap that is not stored yet.
     */
    bool coroutine_mixed_fn (*begin)(BdrvBitmapStore *store,
                                     BdrvDirtyBitmap *bitmap, Error **errp);
    /*
     * Stores @bitmap, or with NULL all for which bdrv_dirty_bitmap_to_store()
     * holds; all of them or, on failure, none.  Durable when it returns; then
     * what it stored counts as current.  The caller sees to it that the node is
     * not written before the next begin().
     */
    bool coroutine_mixed_fn (*save)(BdrvBitmapStore *store,
                                    BdrvDirtyBitmap *bitmap, Error **errp);
    /* Forgets the bitmap called @name, durably.  Not stored: success. */
    bool coroutine_fn (*co_remove)(BdrvBitmapStore *store, const char *name,
                                   Error **errp);
    /*
     * The node is about to get a size of @bytes: false refuses it.  What has to
     * be durable before the disk changes is so when it returns.  The change can
     * still fail: the node's size, and that of its bitmaps, says what came of
     * it.  Not called where a disk changes its size by itself or grows by a
     * write: what is stored then has another size than the disk when it is
     * loaded after a crash.
     */
    bool coroutine_fn (*co_resize)(BdrvBitmapStore *store, int64_t bytes,
                                   Error **errp);
    /*
     * [@offset, @offset + @bytes) of the node is about to be changed.  0 when
     * that is on record as far as the store promises; -errno fails the write.
     * May wait, and may run any number of times at once.
     */
    int coroutine_fn (*co_write_intent)(BdrvBitmapStore *store, int64_t offset,
                                        int64_t bytes);
    /* The store is detached: frees it. */
    void (*free)(BdrvBitmapStore *store);
} BdrvBitmapStoreOps;

/* Embedded at the start of what an implementation keeps, or on its own. */
struct BdrvBitmapStore {
    const BdrvBitmapStoreOps *ops; /* set by its maker */
    BlockDriverState *bs;          /* the node; from attach on */
    bool begun; /* begin() of all succeeded, and save() of all did not since */
    bool owed;  /* begin() of all is to be done before the next write */
};

/* --- whose it is --- */

/*
 * Makes @store that of @bs, whose bitmaps it is to keep, and returns the one
 * before (NULL: none), which the caller now owns.  Loads nothing; where the one
 * before has begun, so has @store.
 */
BdrvBitmapStore *bdrv_bitmap_store_attach(BlockDriverState *bs,
                                          BdrvBitmapStore *store);
/* The node has no store any more; frees it.  None: fine.  Saves nothing. */
void bdrv_bitmap_store_detach(BlockDriverState *bs);

/* --- what it does; all are fine with a node that has no store --- */

/* See @load above.  Bitmaps of a node that is read-only are so, too. */
bool coroutine_mixed_fn bdrv_bitmap_store_load(BlockDriverState *bs,
                                               Error **errp);
/* See @begin above. */
bool coroutine_mixed_fn bdrv_bitmap_store_begin(BlockDriverState *bs,
                                                BdrvDirtyBitmap *bitmap,
                                                Error **errp);
/*
 * See @save above; does nothing where there is nothing to store.  @release:
 * also frees what was stored, but for what is busy.
 */
bool coroutine_mixed_fn bdrv_bitmap_store_save(BlockDriverState *bs,
                                               BdrvDirtyBitmap *bitmap,
                                               bool release, Error **errp);
/* See @co_resize above; called by bdrv_co_truncate(). */
bool coroutine_fn bdrv_bitmap_store_co_resize(BlockDriverState *bs,
                                              int64_t bytes, Error **errp);
/*
 * Called at the beginning of each request that changes [@offset, @offset +
 * @bytes) of @bs, before anything is marked.  0, or -errno, which fails the
 * request.  May yield; 0 at once where the store has nothing to do.
 */
int coroutine_fn bdrv_bitmap_store_co_write_intent(BlockDriverState *bs,
                                                   int64_t offset,
                                                   int64_t bytes);

/* --- for the core --- */

/* The node is closed: saves what began, tells where it cannot, detaches. */
void bdrv_bitmap_store_close(BlockDriverState *bs);
/*
 * A step of a reopen of @bs, whose flags are set: where it becomes read-only,
 * its bitmaps are saved and become so, too.  Busy ones: refused.
 */
bool bdrv_bitmap_store_reopen_tran(BlockDriverState *bs, Transaction *tran,
                                   Error **errp);
/*
 * The reopen is committed: where the node may be written now, its bitmaps
 * record.  Where the store cannot begin, the error is reported and writes fail
 * until it can.
 */
void bdrv_bitmap_store_reopened(BlockDriverState *bs);

/* --- for implementations --- */

/* Named, persistent, known and not in a job's hands: to be stored? */
bool bdrv_dirty_bitmap_to_store(const BdrvDirtyBitmap *bitmap);

#endif
