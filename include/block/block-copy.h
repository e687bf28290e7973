/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copy engine: what is left to copy from a source to a target, and moving
 * it, in the background and just before a write of the guest.
 *
 * The state holds a bitmap of what is still to copy, in copy clusters:
 *
 *     todo set     to copy; nobody works on it
 *     todo clear   copied, skipped, or being copied (then in the list of
 *                  requests, and set again if that fails)
 *
 * and one of what is kept: all that was to be copied at first, less what was
 * skipped.  Kept and not todo is on the target, or on its way there.
 *
 * As a guest's write first waits until its clusters are copied, what is set or
 * in flight still holds the data of the moment when the state was made; so it
 * may be read, and its block status remembered, at any time.
 *
 * Knows no jobs.  Offsets and lengths are bytes; one thread.
 */
#ifndef BLOCK_BLOCK_COPY_H
#define BLOCK_BLOCK_COPY_H

#include "block/copy-error.h"
#include "block/types.h"
#include "qemu/hbitmap.h"
#include "qemu/progress.h"

#define BLOCK_COPY_CLUSTER_SIZE_DEFAULT (64 * KiB)
/* The largest copy cluster: the largest granularity that users are told of. */
#define BLOCK_COPY_CLUSTER_SIZE_MAX (2 * GiB)

typedef struct BlockCopyState BlockCopyState;
typedef struct Copier Copier; /* block/copier.h */

/* A copy that goes on beside its caller. */
typedef struct BlockCopyCall BlockCopyCall;

/*
 * Copies from @source to @target, edges that the caller keeps; all is to be
 * copied.  The copy cluster is the largest of the target's, 64 KiB and
 * @min_cluster_size (0 or a power of two; above 2 GiB it counts as 2 GiB), so
 * that no cluster of the target is ever written in part.  NULL with @errp: the
 * target's clusters are not known and what it has around a part could not come
 * from a backing file.
 */
BlockCopyState *block_copy_state_new(BdrvChild *source, BdrvChild *target,
                                     uint64_t min_cluster_size, Error **errp);
/* Nothing may be in flight.  NULL is allowed. */
void block_copy_state_free(BlockCopyState *s);

/* The unit of copying, in bytes. */
int64_t block_copy_cluster_size(const BlockCopyState *s);
/* The bitmap of what is left; the owner may change it before copying begins
 * (and while nothing is in flight). */
HBitmap *block_copy_todo(BlockCopyState *s);
/* The bitmap of what is kept. */
const HBitmap *block_copy_kept(const BlockCopyState *s);
/*
 * A new bitmap of what is not on the target for certain: what is left, and
 * what is on its way.  NULL where there is no memory.
 */
HBitmap *block_copy_left(const BlockCopyState *s);
/*
 * Makes @bits (any granularity, size of the source) what is left to copy, and
 * what is kept.  Nothing may be in flight.
 */
void block_copy_set_todo(BlockCopyState *s, const HBitmap *bits);
/*
 * The source is going to be overwritten there without a copy of what it holds:
 * what is on its way counts as left.
 */
void block_copy_spoil(BlockCopyState *s, int64_t offset, int64_t bytes);
/* Have the host copy where it can; write compressed. */
void block_copy_set_method(BlockCopyState *s, bool use_copy_range,
                           bool compress);
/* Most bytes per second that calls copy in the background; 0: no limit. */
void block_copy_set_speed(BlockCopyState *s, uint64_t speed);
/*
 * From now on what the topmost source image does not hold is neither copied
 * nor kept.
 */
void block_copy_set_skip_unallocated(BlockCopyState *s, bool skip);
/* Is it so?  Then the topmost image must stay the one it is. */
bool block_copy_skips_unallocated(const BlockCopyState *s);
/* Progress goes to @progress (NULL: nowhere): bytes copied, bytes left. */
void block_copy_set_progress(BlockCopyState *s, ProgressMeter *progress);
/*
 * All of the disk is copied: no backing file will ever show through the target,
 * so that zeroes need not be written where it holds nothing yet.
 */
void block_copy_set_whole(BlockCopyState *s, bool whole);
/*
 * Drops from what is left and kept clusters at @offset that the topmost source
 * image does not hold.  Returns how many bytes were looked at (> 0) or -errno.
 */
int64_t coroutine_fn block_copy_reset_unallocated(BlockCopyState *s,
                                                  int64_t offset);

/*
 * Copies what is left in [@offset, @offset + @bytes), aligned to copy clusters
 * or the end, waiting for others that are at it.  0: all of it that is kept is
 * copied; -errno, and *@error: what failed is left to copy again.
 */
int coroutine_fn block_copy(BlockCopyState *s, int64_t offset, int64_t bytes,
                            BlockCopyError *error);

typedef struct BlockCopyParams {
    int64_t offset, bytes;
    int max_workers;   /* chunks in flight, >= 1 */
    int64_t max_chunk; /* most bytes of one; 0: no limit of the user's */
    bool guest_write;  /* somebody waits: no speed limit, no queries */
    /* Called (if not NULL) as the last thing, when all is over; may free. */
    void (*done)(void *opaque);
    void *opaque;
} BlockCopyParams;

/* A call that is not started, for who runs its copier, maybe several times. */
BlockCopyCall *block_copy_call_new(BlockCopyState *s,
                                   const BlockCopyParams *params);
/* The call's; `done` of the parameters is not set there. */
Copier *block_copy_call_copier(BlockCopyCall *call);
/* Starts it; to be freed by block_copy_call_free() when finished. */
BlockCopyCall *block_copy_async(BlockCopyState *s,
                                const BlockCopyParams *params);
bool block_copy_call_finished(const BlockCopyCall *call);
/* Finished early because of block_copy_call_cancel(). */
bool block_copy_call_cancelled(const BlockCopyCall *call);
/*
 * Of a finished one: 0 or -errno, and *@error.  Of what is not left all was
 * copied, also in a call that failed.
 */
int block_copy_call_status(const BlockCopyCall *call, BlockCopyError *error);
/* Says in words what failed, and where. */
void block_copy_error_set(const BlockCopyState *s, const BlockCopyError *error,
                          Error **errp);
/* Begins no further chunk. */
void block_copy_call_cancel(BlockCopyCall *call);
/* To be called where the speed was changed. */
void block_copy_call_kick(BlockCopyCall *call);
/* Waits until it is finished; one waiter. */
void coroutine_fn block_copy_call_wait(BlockCopyCall *call);
void block_copy_call_free(BlockCopyCall *call);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockCopyState, block_copy_state_free)

#endif
