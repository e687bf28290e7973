/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The store of a node's persistent bitmaps: an object of the node.
 *
 * Code that can keep bitmaps for a node creates a store and attaches it: a
 * format driver whose images hold bitmaps when it opens one, or code that keeps
 * them beside a disk of any format.  One store may wrap another: it is attached
 * in its place and calls it.
 *
 *     attach -> load -> begin -> (bitmaps record) -> save -> begin ... detach
 *
 * Rules:
 *  1. Stored bitmaps count as current from save() to begin(), and only then.
 *     After a crash between begin() and save() they are found out of date.
 *  2. A change that adds bits, or marks a stored bitmap as not current, is
 *     durable before the call that makes it returns.  A change that removes
 *     bits waits until the data that justifies it is durable.
 *  3. No write reaches the node's data before begin() succeeded: if it failed,
 *     bdrv_bitmap_store_co_write_intent() retries it and, if it fails again,
 *     fails the write.
 *  4. The core calls the store: it begins and saves when a node is reopened,
 *     and saves when it is closed.  The code that attaches the store loads it,
 *     and begins once the node may be written for the first time.
 *
 * Offsets and sizes are bytes.  Main thread, except coroutine functions, which
 * run in the node's context.
 */
#ifndef BLOCK_BITMAP_STORE_H
#define BLOCK_BITMAP_STORE_H

#include "block/bitmap-regions.h"
#include "block/dirty-bitmap.h"
#include "block/driver.h"
#include "qemu/transactions.h"

/*
 * What a store that is kept apart from the disk says of it, so that a disk that
 * another program has changed, or another disk, is noticed.
 */
typedef struct BdrvBitmapDisk {
    BdrvIdentity identity;
    bool closed; /* as the disk was closed: its mtime counts */
    /* Bytes: the disk is being resized from the one to the other; 0, 0: not. */
    int64_t from, to;
} BdrvBitmapDisk;

/*
 * Operations of a store.  All but @can_store, @load, @begin, @save and
 * @co_remove may be NULL.  Functions that return false have set an error and
 * changed nothing that counts as current; in a coroutine they may yield.
 */
typedef struct BdrvBitmapStoreOps {
    /* May a bitmap of @name and @granularity be added?  Changes nothing. */
    bool (*can_store)(BdrvBitmapStore *store, const char *name,
                      uint64_t granularity, Error **errp);
    /*
     * Adds all stored bitmaps to the node, as persistent ones.  One that cannot
     * be trusted becomes inconsistent; false only if it is not known which
     * bitmaps there are.
     */
    bool coroutine_mixed_fn (*load)(BdrvBitmapStore *store, Error **errp);
    /*
     * @bitmap, or with NULL every stored one, records from now on: its stored
     * copy no longer counts as current.  Durable when it returns.  May be
     * called again, and for a bitmap that is not stored yet.
     */
    bool coroutine_mixed_fn (*begin)(BdrvBitmapStore *store,
                                     BdrvDirtyBitmap *bitmap, Error **errp);
    /*
     * Stores @bitmap, or with NULL all for which bdrv_dirty_bitmap_to_store()
     * holds; all of them or, on failure, none.  Durable when it returns; then
     * the stored bitmaps count as current.  The caller ensures that the node is
     * not written before the next begin().
     */
    bool coroutine_mixed_fn (*save)(BdrvBitmapStore *store,
                                    BdrvDirtyBitmap *bitmap, Error **errp);
    /*
     * Bits were changed other than by writes (bitmaps are stale): stores
     * those of all bitmaps that it keeps, durably.  If that fails, they are
     * kept no longer, and false means that not even this could be recorded.
     */
    bool coroutine_mixed_fn (*sync)(BdrvBitmapStore *store, Error **errp);
    /* Removes the bitmap called @name, durably.  Not stored: success. */
    bool coroutine_fn (*co_remove)(BdrvBitmapStore *store, const char *name,
                                   Error **errp);
    /*
     * The node is about to get a size of @bytes: false refuses it.  Notes that
     * must be durable before the disk changes are so when it returns.  The
     * change can still fail: the size of the node and of its bitmaps shows the
     * result.  Not called if a disk changes its size by itself or grows by a
     * write: the stored bitmap then has another size than the disk when it is
     * loaded after a crash.
     */
    bool coroutine_fn (*co_resize)(BdrvBitmapStore *store, int64_t bytes,
                                   Error **errp);
    /*
     * [@offset, @offset + @bytes) of the node is about to be changed.  Returns
     * 0 when the store has recorded that as far as it guarantees; -errno fails
     * the write.  May wait; several calls may run concurrently.
     */
    int coroutine_fn (*co_write_intent)(BdrvBitmapStore *store, int64_t offset,
                                        int64_t bytes);
    /*
     * Writes back what was stored ahead of writes, where there were none since
     * the last call, so that little is left for the next save().
     */
    void coroutine_fn (*co_settle)(BdrvBitmapStore *store);
    /*
     * The node is about to be flushed: what was stored ahead of writes is
     * stored again if storage may have forgotten it, so that no bitmap lacks
     * what becomes durable.  0, or -errno, which fails the flush.
     */
    int coroutine_fn (*co_flush)(BdrvBitmapStore *store);
    /* @bitmap, which is kept, ceases to exist although its stored copy could
     * not be removed.  begin() is called before the next write. */
    void (*forget)(BdrvBitmapStore *store, BdrvDirtyBitmap *bitmap);
    /*
     * The disk to which the stored bitmaps belong, see BdrvBitmapDisk; NULL: it
     * is not known.  For a store that can be moved to another node.
     */
    const BdrvBitmapDisk *(*disk)(const BdrvBitmapStore *store);
    /*
     * Records @disk, which is copied, from now on, durably if there are any
     * bitmaps; @with_save: only together with the next save() of all.
     */
    bool coroutine_mixed_fn (*record_disk)(BdrvBitmapStore *store,
                                           const BdrvBitmapDisk *disk,
                                           bool with_save, Error **errp);
    /* The regions that are open in what is stored; NULL: there are none. */
    const BdrvBitmapRegions *(*regions)(const BdrvBitmapStore *store);
    /*
     * The store becomes that of another node, or of none: it does not use the
     * bitmaps of this node any more.  What is stored does not change.
     */
    void (*leave)(BdrvBitmapStore *store);
    /* The store is detached: frees it. */
    void (*free)(BdrvBitmapStore *store);
} BdrvBitmapStoreOps;

/* Embedded at the start of an implementation's struct, or used alone. */
struct BdrvBitmapStore {
    const BdrvBitmapStoreOps *ops; /* set by its creator */
    BlockDriverState *bs;          /* the node; from attach on */
    bool begun; /* begin() of all succeeded, and save() of all did not since */
    bool owed;  /* begin() of all is to be done before the next write */
    BitmapSafety safety; /* of bitmaps for which nothing else is said */
};

/*
 * What persistent bitmaps survive by default: TIDEMARK_BITMAP_SAFETY in the
 * environment (close, process, power), or what the program has set, or power.
 */
BitmapSafety bdrv_bitmap_default_safety(void);
void bdrv_bitmap_set_default_safety(BitmapSafety safety);

/* What a bitmap shall survive if it is persistent; set before it is stored. */
void bdrv_dirty_bitmap_set_safety(BdrvDirtyBitmap *bitmap,
                                  BitmapSafety safety);
/* It shall survive no less than @safety, whatever its store says. */
void bdrv_dirty_bitmap_raise_safety(BdrvDirtyBitmap *bitmap,
                                    BitmapSafety safety);

/* What bitmaps of @store's node shall survive for which nothing else is said,
 * also those that were made before the node had a store. */
void bdrv_bitmap_store_set_safety(BdrvBitmapStore *store, BitmapSafety safety);

/* --- attaching --- */

/*
 * Makes @store the store of @bs and returns the previous one (NULL: none),
 * which the caller now owns.  Loads nothing; if the previous one has begun, so
 * has @store.
 */
BdrvBitmapStore *bdrv_bitmap_store_attach(BlockDriverState *bs,
                                          BdrvBitmapStore *store);
/* Removes the node's store, if any, and frees it.  Saves nothing. */
void bdrv_bitmap_store_detach(BlockDriverState *bs);

/* --- bitmaps in an image beside the disk (block/dirty-bitmap-move.c) --- */

/* The disk to which the bitmaps in @bs belong; NULL: not known. */
const BdrvBitmapDisk *bdrv_bitmap_store_disk(BlockDriverState *bs);
/*
 * @to gets the store of @from, which no longer has persistent bitmaps: they are
 * saved.  Loads nothing.  Fails, and changes nothing in @to, if @from has no
 * store that can be moved, or bitmaps of it are in use.
 */
bool bdrv_bitmap_store_move(BlockDriverState *from, BlockDriverState *to,
                            Error **errp);
/*
 * @store, which bdrv_bitmap_store_move() took from @owner and which is no
 * node's any more, becomes that of @owner again.  If @owner remains, it has its
 * bitmaps again; an error is reported.
 */
void bdrv_bitmap_store_return(BdrvBitmapStore *store, BlockDriverState *owner);

/* --- operations; they succeed on a node that has no store --- */

/* See @load above.  Bitmaps of a read-only node become read-only. */
bool coroutine_mixed_fn bdrv_bitmap_store_load(BlockDriverState *bs,
                                               Error **errp);
/* See @begin above. */
bool coroutine_mixed_fn bdrv_bitmap_store_begin(BlockDriverState *bs,
                                                BdrvDirtyBitmap *bitmap,
                                                Error **errp);
/*
 * See @save above; does nothing if there is nothing to store.  @release: also
 * frees the bitmaps that were stored, except busy ones.
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
 * request.  May yield; 0 at once if the store has nothing to do.
 */
int coroutine_fn bdrv_bitmap_store_co_write_intent(BlockDriverState *bs,
                                                   int64_t offset,
                                                   int64_t bytes);

/* See @co_flush above; for the core. */
int coroutine_fn bdrv_bitmap_store_co_flush(BlockDriverState *bs);

/*
 * Stores what commands have changed in the bitmaps of @bs that are kept safe,
 * see @sync above; nothing if nothing has changed.  Commands and jobs call it
 * before they answer or end.  False: see there; writes fail until it can be
 * recorded.
 */
bool coroutine_mixed_fn bdrv_bitmap_store_sync(BlockDriverState *bs,
                                               Error **errp);
/* The same; reports the error. */
void coroutine_mixed_fn bdrv_bitmap_store_sync_report(BlockDriverState *bs);
/* The same for all nodes, one after the other, also if it fails for one; main
 * thread. */
bool bdrv_bitmap_store_sync_all(Error **errp);

/* See @co_settle above; for all nodes, before they are given up. */
void bdrv_bitmap_store_settle_all(void);

/* --- for the core --- */

/* The node is closed: saves if it began, reports a failure, detaches. */
void bdrv_bitmap_store_close(BlockDriverState *bs);
/*
 * A step of a reopen of @bs, whose flags are set: if it becomes read-only, its
 * bitmaps are saved and become read-only, too.  Fails if one is busy.
 */
bool bdrv_bitmap_store_reopen_tran(BlockDriverState *bs, Transaction *tran,
                                   Error **errp);
/*
 * The reopen is committed: if the node may be written now, its bitmaps record.
 * If the store cannot begin, the error is reported and writes fail until it
 * can.
 */
void bdrv_bitmap_store_reopened(BlockDriverState *bs);

/* --- images that change hands (block/dirty-bitmap-handover.c) --- */

/* Before locks of @nodes are released, with all written back: notes the state
 * of their files, if a bitmap needs that. */
void bdrv_bitmap_note_storage(const GPtrArray *nodes);
/* @bs is inactive now: persistent bitmaps, which are stored, are forgotten, and
 * its store is detached. */
void bdrv_bitmap_hand_over(BlockDriverState *bs);
/*
 * Bitmaps of nodes that are inactive have just been received, and have all that
 * was written.  From now on they are as if the nodes had become inactive now;
 * of others it is looked up first whether they miss anything.
 */
void bdrv_bitmap_arrived(void);
/*
 * @sure: no other process was told that it may have the images of the nodes
 * that have become inactive last: what has no time of its last change, as a
 * block device and a server, counts as unchanged when they become active.  Not
 * @sure: that ends, also for nodes that could not become active, as others may
 * take them from then on.
 */
void bdrv_bitmap_not_given_away(bool sure);
/*
 * @bs becomes active, with its locks, and nothing was written yet.  Bitmaps
 * that stayed in memory, and recorded, become dirty as a whole unless no other
 * process has changed the files.
 */
void bdrv_bitmap_take_over(BlockDriverState *bs);
/* @bs has become active: bitmaps that were left in its image, see below, are
 * persistent again. */
void bdrv_bitmap_activated(BlockDriverState *bs);
/*
 * @bitmap, which is persistent and goes to another process by other means, is
 * transient from now on; what is stored of it stays, up to date and in use, so
 * that a process that finds the image after a crash has it, or finds it to be
 * inconsistent.  The next write, by whomever, invalidates it.  @same_name: it
 * goes by the name that it has here; else what is under this name when the
 * image comes back may be another one.
 */
bool bdrv_dirty_bitmap_leave_stored(BdrvDirtyBitmap *bitmap, bool same_name,
                                    Error **errp);
/* It is persistent again, in the place of what was left.  False with an error
 * to report: it is not stored, or not kept safe; the next write tries again. */
bool bdrv_dirty_bitmap_store_again(BdrvDirtyBitmap *bitmap, Error **errp);
/*
 * @bitmap came from another process, and what the image has under its name, in
 * use, is the same one, but older: it is not loaded.  Without that an image
 * that has a bitmap of the same name cannot be activated.
 */
void bdrv_dirty_bitmap_set_replaces_stored(BdrvDirtyBitmap *bitmap,
                                           bool replaces);

/* --- for implementations --- */

/* For a driver whose open failed: releases the bitmaps that it has loaded. */
void bdrv_dirty_bitmap_release_loaded(BlockDriverState *bs);
/* While a node is activated: was @bitmap loaded from the image, rather than in
 * memory before?  At other times true. */
bool bdrv_dirty_bitmap_was_loaded(const BdrvDirtyBitmap *bitmap);
/*
 * While loading: @bitmap, which is in memory already, is the current one; the
 * stored one of its name is out of date if it is in use.  False: they only have
 * the same name.
 */
bool bdrv_dirty_bitmap_replaces_stored(const BdrvDirtyBitmap *bitmap);
/* While loading: the same, and if the stored one is not in use, then another
 * process had it since, and has stored it: @bitmap is to be released. */
bool bdrv_dirty_bitmap_yields_to_stored(const BdrvDirtyBitmap *bitmap);
/* While loading: the one in memory takes the place of any that is stored, which
 * may be another bitmap. */
bool bdrv_dirty_bitmap_hides_stored(const BdrvDirtyBitmap *bitmap);
/* Is it to be stored: named, persistent, consistent and not used by a job? */
bool bdrv_dirty_bitmap_to_store(const BdrvDirtyBitmap *bitmap);
/*
 * Is it to be kept safe while the image is written?  As above, but a bitmap
 * that a job uses is, too.
 */
bool bdrv_dirty_bitmap_to_keep(const BdrvDirtyBitmap *bitmap);
BitmapSafety bdrv_dirty_bitmap_safety(const BdrvDirtyBitmap *bitmap);
/* The store keeps it safe, or not (any more); it has its bits of now. */
void bdrv_dirty_bitmap_set_kept(BdrvDirtyBitmap *bitmap, bool kept);
/* The store begins to store it, to keep it safe then: writes wait for that.
 * False: it is kept, and has its bits of now. */
bool bdrv_dirty_bitmap_await_kept(BdrvDirtyBitmap *bitmap);
/* Its bits are being stored: changes from now on are not among them. */
void bdrv_dirty_bitmap_storing(BdrvDirtyBitmap *bitmap);
/* The store cannot keep it safe until begin() for all; sends an event, and logs
 * it if @warn. */
void bdrv_dirty_bitmap_give_up(BdrvDirtyBitmap *bitmap, const char *reason,
                               bool warn);
/* For loading: whether the stored bits are not those of @bitmap. */
void bdrv_dirty_bitmap_set_stale(BdrvDirtyBitmap *bitmap, bool stale);
bool bdrv_dirty_bitmap_kept(const BdrvDirtyBitmap *bitmap);
/* See bdrv_dirty_bitmap_store_all(). */
bool bdrv_dirty_bitmap_stored_all(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_stale(const BdrvDirtyBitmap *bitmap);
/*
 * Bits of [@offset, +@bytes) as they are to be stored while the image is
 * written: of the bitmap and its successor, and of the wanted regions if it
 * records.  As hbitmap_serialize_part().  @regions NULL: none are.
 */
void bdrv_dirty_bitmap_serialise_stored(const BdrvDirtyBitmap *bitmap,
                                        const BdrvBitmapRegions *regions,
                                        uint8_t *buf, int64_t offset,
                                        int64_t bytes);
/* The bits among these that are not of writes since a job began. */
const HBitmap *bdrv_dirty_bitmap_to_keep_bits(const BdrvDirtyBitmap *bitmap);
/* All of [@offset, +@bytes) is dirty in all bitmaps of @bs that are kept and
 * record, and in what is stored of them. */
bool bdrv_dirty_bitmap_kept_cover(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes);

#endif
