/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Dirty bitmaps: which parts of a node changed since some moment.
 *
 * A bitmap's state is one value, BdrvBitmapState; the two tables of
 * block/dirty-bitmap-state.c state which event leads from which state to which,
 * and what a user may do in which state.
 *
 * Hand-off to a job:
 *
 *            freeze            abdicate: successor becomes the bitmap
 *    active --------> frozen -------------------------------------> active
 *                        |     reclaim: successor merged back
 *                        +----------------------------------------> active
 *
 * All offsets and sizes are bytes.  Main thread, unless said otherwise; the
 * marking functions run in the request path of the node's context.
 */
#ifndef BLOCK_DIRTY_BITMAP_H
#define BLOCK_DIRTY_BITMAP_H

#include "block/types.h"
#include "qapi/qapi-types-common.h"
#include "qemu/hbitmap.h"

typedef struct BlockDirtyInfoList BlockDirtyInfoList;

#define BDRV_BITMAP_MAX_NAME 1023

/* The store that keeps them (block/bitmap-store.h). */
typedef struct BdrvBitmapStore BdrvBitmapStore;

/* The former content of a bitmap, to be restored. */
typedef struct BdrvBitmapBackup BdrvBitmapBackup;

/* Bits that filters and jobs keep, and that queries report. */
typedef struct BdrvShownBits BdrvShownBits;

/*
 * Active: records.  Disabled: does not.  Frozen: busy, with a successor that
 * records writes.  Locked: busy without one.  Read-only: belongs to an image
 * that is not writable; records, or not, once it is.  Inconsistent: its stored
 * form cannot be trusted; it has no bits.
 */
typedef enum BdrvBitmapState {
    BDRV_BITMAP_ACTIVE,
    BDRV_BITMAP_DISABLED,
    BDRV_BITMAP_FROZEN,
    BDRV_BITMAP_FROZEN_DISABLED,
    BDRV_BITMAP_LOCKED,
    BDRV_BITMAP_LOCKED_DISABLED,
    BDRV_BITMAP_READONLY,
    BDRV_BITMAP_READONLY_DISABLED,
    BDRV_BITMAP_READONLY_LOCKED,
    BDRV_BITMAP_READONLY_LOCKED_DISABLED,
    BDRV_BITMAP_INCONSISTENT,
    BDRV_BITMAP_INCONSISTENT_LOCKED, /* being removed */
    BDRV_BITMAP_INCONSISTENT_READONLY,
    BDRV_BITMAP__MAX,
} BdrvBitmapState;

/* What changes the state; a row each in the table of transitions. */
typedef enum BdrvBitmapEvent {
    BDRV_BITMAP_EVENT_ENABLE,
    BDRV_BITMAP_EVENT_DISABLE,
    BDRV_BITMAP_EVENT_FREEZE,   /* it gets a successor */
    BDRV_BITMAP_EVENT_THAW,     /* ... and loses it */
    BDRV_BITMAP_EVENT_LOCK,
    BDRV_BITMAP_EVENT_UNLOCK,
    BDRV_BITMAP_EVENT_READONLY, /* the image becomes read-only */
    BDRV_BITMAP_EVENT_WRITABLE, /* ... writable again */
    BDRV_BITMAP_EVENT_BREAK,    /* its stored form cannot be trusted */
    BDRV_BITMAP_EVENT__MAX,
} BdrvBitmapEvent;

/* Operations of users; a row each in the state table. */
typedef enum BdrvBitmapOp {
    BDRV_BITMAP_OP_REMOVE,
    BDRV_BITMAP_OP_CLEAR,
    BDRV_BITMAP_OP_ENABLE,
    BDRV_BITMAP_OP_DISABLE,
    BDRV_BITMAP_OP_MERGE_SOURCE,
    BDRV_BITMAP_OP_MERGE_TARGET,
    BDRV_BITMAP_OP_JOB,        /* a job that will change it */
    BDRV_BITMAP_OP_JOB_READ,   /* a job that only reads it (mode never) */
    BDRV_BITMAP_OP_EXPORT,
    BDRV_BITMAP_OP_HASH,
    BDRV_BITMAP_OP_MIGRATE,
    BDRV_BITMAP_OP__MAX,
} BdrvBitmapOp;

/* --- life --- */

/*
 * A new bitmap on @bs, recording.  @granularity: power of two, 512 B ..
 * 2 GiB.  @name NULL: anonymous (jobs).  NULL with @errp:
 * the name is taken, too long (> 1023 B) or the granularity is wrong.
 */
BdrvDirtyBitmap *bdrv_dirty_bitmap_new(BlockDriverState *bs,
                                       uint64_t granularity, const char *name,
                                       Error **errp);
/* Removes from memory (not from the image) and frees; not while busy. */
void bdrv_dirty_bitmap_release(BdrvDirtyBitmap *bitmap);
/* Releases all named bitmaps of @bs, for closing. */
void bdrv_dirty_bitmap_release_all(BlockDriverState *bs);
/* NULL if there is none of that name. */
BdrvDirtyBitmap *bdrv_dirty_bitmap_find(BlockDriverState *bs,
                                        const char *name);
/* Walk all bitmaps of @bs; @prev NULL: the first. */
BdrvDirtyBitmap *bdrv_dirty_bitmap_next(BlockDriverState *bs,
                                        BdrvDirtyBitmap *prev);
/* Default granularity for @bs: its cluster size within [4 KiB, 64 KiB]. */
uint64_t bdrv_dirty_bitmap_default_granularity(BlockDriverState *bs);
/*
 * Looks node and bitmap up by their names, as QMP gives them.  NULL with an
 * error that names what is missing.
 */
BdrvDirtyBitmap *bdrv_dirty_bitmap_lookup(const char *node, const char *name,
                                          Error **errp);

/* --- facts --- */
BlockDriverState *bdrv_dirty_bitmap_bs(const BdrvDirtyBitmap *bitmap);
/* NULL for an anonymous one. */
const char *bdrv_dirty_bitmap_name(const BdrvDirtyBitmap *bitmap);
int64_t bdrv_dirty_bitmap_size(const BdrvDirtyBitmap *bitmap);
uint64_t bdrv_dirty_bitmap_granularity(const BdrvDirtyBitmap *bitmap);
/* Dirty granules * granularity; of a frozen one: without the successor's. */
int64_t bdrv_dirty_bitmap_count(const BdrvDirtyBitmap *bitmap);
/* All of it is dirty. */
bool bdrv_dirty_bitmap_full(const BdrvDirtyBitmap *bitmap);
/*
 * The largest size from which the disk was shrunk since the bitmap began (was
 * created, cleared or handed over); 0: it did not shrink, or is as large again.
 * New space below this offset is a change when the disk grows.
 * BDRV_CUT_UNKNOWN: it was not recorded.
 */
int64_t bdrv_dirty_bitmap_cut_end(const BdrvDirtyBitmap *bitmap);
/* The disk ended at @end once: sets cut_end if @end is larger than cut_end and
 * than the disk. */
void bdrv_dirty_bitmap_note_cut(BdrvDirtyBitmap *bitmap, int64_t end);
#define BDRV_CUT_UNKNOWN INT64_MAX
BdrvBitmapState bdrv_dirty_bitmap_state(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_busy(const BdrvDirtyBitmap *bitmap);
/* Records writes now (itself or through its successor). */
bool bdrv_dirty_bitmap_recording(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_enabled(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_persistent(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_inconsistent(const BdrvDirtyBitmap *bitmap);
bool bdrv_dirty_bitmap_readonly(const BdrvDirtyBitmap *bitmap);
/* The bits, to read (merge, iterate, serialise); owned by the bitmap. */
const HBitmap *bdrv_dirty_bitmap_hbitmap(const BdrvDirtyBitmap *bitmap);
/*
 * For query-*: all named bitmaps of @bs and the shown bits, the youngest first.
 */
BlockDirtyInfoList *bdrv_dirty_bitmap_query(BlockDriverState *bs);
/*
 * Makes queries of @bs report @bits as a bitmap that has no name; @records: as
 * one that records.  The caller keeps @bits and hides them before it frees
 * them.
 */
BdrvShownBits *bdrv_dirty_bitmap_show_bits(BlockDriverState *bs,
                                           const HBitmap *bits, bool records);
/* @shown may be NULL; its node may have been closed. */
void bdrv_dirty_bitmap_hide_bits(BdrvShownBits *shown);
/* See hbitmap_sha256(). */
char *bdrv_dirty_bitmap_sha256(const BdrvDirtyBitmap *bitmap);

/* --- the tables --- */

/* Where @event leads from @from; false: it cannot happen there. */
bool bdrv_bitmap_transition(BdrvBitmapState from, BdrvBitmapEvent event,
                            BdrvBitmapState *to);

/* --- user's operations, for which the table has been checked --- */

/* May a user do @op now?  Sets an error that names bitmap and reason. */
bool bdrv_dirty_bitmap_check(const BdrvDirtyBitmap *bitmap, BdrvBitmapOp op,
                             Error **errp);
void bdrv_dirty_bitmap_set_persistent(BdrvDirtyBitmap *bitmap,
                                      bool persistent);
/* These are events: asserted to be possible in the bitmap's state. */
void bdrv_dirty_bitmap_enable(BdrvDirtyBitmap *bitmap);
void bdrv_dirty_bitmap_disable(BdrvDirtyBitmap *bitmap);
/* Clears all bits, and resets cut_end. */
void bdrv_dirty_bitmap_clear(BdrvDirtyBitmap *bitmap);
/*
 * The same; *@backup gets the old content, for bdrv_dirty_bitmap_restore() or
 * bdrv_bitmap_backup_free().  False if there is no memory.
 */
bool bdrv_dirty_bitmap_clear_keep(BdrvDirtyBitmap *bitmap,
                                  BdrvBitmapBackup **backup, Error **errp);
/* Puts @backup back, consuming it: undoes clear or merge. */
void bdrv_dirty_bitmap_restore(BdrvDirtyBitmap *bitmap,
                               BdrvBitmapBackup *backup);
/* NULL is allowed. */
void bdrv_bitmap_backup_free(BdrvBitmapBackup *backup);
/*
 * @dest |= @src, across granularities, cut_end included; nodes may differ,
 * sizes may not.  Checks both against the table.  @backup as above, or NULL.
 */
bool bdrv_dirty_bitmap_merge(BdrvDirtyBitmap *dest, const BdrvDirtyBitmap *src,
                             BdrvBitmapBackup **backup, Error **errp);
/* @dest |= @bits (same size), without checks. */
bool bdrv_dirty_bitmap_merge_bits(BdrvDirtyBitmap *dest, const HBitmap *bits);
/* Locks or unlocks: an event as above. */
void bdrv_dirty_bitmap_set_busy(BdrvDirtyBitmap *bitmap, bool busy);

/*
 * All of it may become dirty when a job fails: until this is taken back, all is
 * dirty in what is kept safe of it (bdrv_bitmap_store_sync()).
 */
void bdrv_dirty_bitmap_store_all(BdrvDirtyBitmap *bitmap, bool all);

/*
 * What a job has left of the frozen @bitmap, which takes @left (NULL: not
 * known); of the same size and granularity.  What was copied, and is durable on
 * the target, need not be dirty in what is kept safe of it.  @resume, which it
 * takes, too, belongs to @left, see bdrv_dirty_bitmap_set_resume().
 */
void bdrv_dirty_bitmap_set_left(BdrvDirtyBitmap *bitmap, HBitmap *left,
                                BdrvBitmapResume *resume);
/* What a job has left was stored, if it is kept safe: queries show that. */
void bdrv_dirty_bitmap_left_stored(BdrvDirtyBitmap *bitmap);
/*
 * What is remembered of a job that has taken off @bitmap what it copied; taken
 * by @bitmap.  NULL: no job has, or all was copied.  It is stored with the
 * bits.
 */
void bdrv_dirty_bitmap_set_resume(BdrvDirtyBitmap *bitmap,
                                  BdrvBitmapResume *resume);
/* What belongs to the bits that are to be stored; NULL: nothing. */
const BdrvBitmapResume *
bdrv_dirty_bitmap_resume(const BdrvDirtyBitmap *bitmap);

/* --- hand-off to jobs (dirty-bitmap-handoff.c) --- */

/*
 * Freezes @bitmap: busy, and a successor (same granularity, recording as
 * @bitmap did) records new writes; both follow the disk's size.  Fails as
 * bdrv_dirty_bitmap_check() of BDRV_BITMAP_OP_JOB does.
 */
bool bdrv_dirty_bitmap_freeze(BdrvDirtyBitmap *bitmap, Error **errp);
/* The successor replaces the bitmap, the old cut_end is dropped; returns the
 * old bits, for the caller to free. */
HBitmap *bdrv_dirty_bitmap_abdicate(BdrvDirtyBitmap *bitmap);
/* The successor's bits are merged back, and it is freed; returns @bitmap. */
BdrvDirtyBitmap *bdrv_dirty_bitmap_reclaim(BdrvDirtyBitmap *bitmap);
/*
 * All but @keep of what the successor has was copied, as the job copies new
 * writes, too, and is durable on the target: it is taken off.  Returns how many
 * bytes that were.
 */
int64_t bdrv_dirty_bitmap_trim_successor(BdrvDirtyBitmap *bitmap,
                                         const HBitmap *keep);
bool bdrv_dirty_bitmap_has_successor(const BdrvDirtyBitmap *bitmap);

/* --- migration --- */

/*
 * The bits that change from now on, see hbitmap_create_meta(); owned by
 * @bitmap, which is busy until it is untracked.
 */
HBitmap *bdrv_dirty_bitmap_track(BdrvDirtyBitmap *bitmap, size_t chunk);
void bdrv_dirty_bitmap_untrack(BdrvDirtyBitmap *bitmap);
/*
 * @bitmap, which is locked and does not record, is being received: replaces
 * [@offset, +@bytes), a part as hbitmap_serialize_part() has it.  Of a frozen
 * one the successor is not changed.
 */
void bdrv_dirty_bitmap_receive(BdrvDirtyBitmap *bitmap, const uint8_t *buf,
                               int64_t offset, int64_t bytes);
/* The same, all clean or all dirty. */
void bdrv_dirty_bitmap_receive_all(BdrvDirtyBitmap *bitmap, bool dirty,
                                   int64_t offset, int64_t bytes);

/* --- request path --- */

/*
 * The node's size changed: all bitmaps follow, recording or not.  New space is
 * clean, since it did not exist before, except below their cut_end; all of it
 * is dirty unless it reads as zeroes.
 */
void bdrv_dirty_bitmap_truncate_all(BlockDriverState *bs, int64_t bytes,
                                    bool grows_by_zeroes);
/*
 * Shrinking the node to @bytes failed: data beyond may be lost, and becomes
 * dirty in all bitmaps, recording or not.
 */
void bdrv_dirty_bitmap_shrink_failed(BlockDriverState *bs, int64_t bytes);
/*
 * A write up to @end, beyond the end of the node, failed and may have written
 * data there: dirty in the recording bitmaps once the node grows over it.
 */
void bdrv_dirty_bitmap_growth_failed(BlockDriverState *bs, int64_t end);
/* Direct access, for owners of anonymous bitmaps and for loading. */
void bdrv_dirty_bitmap_set(BdrvDirtyBitmap *bitmap, int64_t offset,
                           int64_t bytes);
HBitmap *bdrv_dirty_bitmap_bits(BdrvDirtyBitmap *bitmap);

/* --- persistence (dirty-bitmap-store.c) --- */

/*
 * For stores while loading; events as above.  A bitmap becomes inconsistent
 * first, then read-only; for the latter it may be read-only already.
 */
void bdrv_dirty_bitmap_set_inconsistent(BdrvDirtyBitmap *bitmap,
                                        BitmapInconsistency reason);
/* The same for one that is loaded and not busy.  One that is inconsistent is so
 * for @reason from now on. */
void bdrv_dirty_bitmap_distrust(BdrvDirtyBitmap *bitmap,
                                BitmapInconsistency reason);
void bdrv_dirty_bitmap_set_readonly(BdrvDirtyBitmap *bitmap, bool readonly);
/* Not to be stored although persistent (migrated away, being removed). */
void bdrv_dirty_bitmap_skip_store(BdrvDirtyBitmap *bitmap, bool skip);

/* May such a bitmap be stored by the store of @bs?  Not through filters. */
bool bdrv_can_store_dirty_bitmap(BlockDriverState *bs, const char *name,
                                 uint64_t granularity, Error **errp);
/* Removes the stored copy; callable inside and outside coroutines. */
bool coroutine_mixed_fn bdrv_remove_stored_dirty_bitmap(BlockDriverState *bs,
                                                        const char *name,
                                                        Error **errp);
/* Does the node have a store for bitmaps? */
bool bdrv_supports_persistent_dirty_bitmap(BlockDriverState *bs);

#endif
