/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copy engine: copies from a source to a target, in the background and
 * before a write of the guest, and records what is left.
 *
 * The state has a bitmap of what is still to copy, in copy clusters:
 *
 *     todo set     to copy; not in flight
 *     todo clear   copied, skipped, or being copied (then in the list of
 *                  requests, and set again if that fails)
 *
 * and one of what is kept: all that was to be copied at first, less what was
 * skipped.  A cluster that is kept and not todo is on the target or in flight.
 *
 * Since a guest's write first waits until its clusters are copied, clusters
 * that are todo or in flight still hold the data of the moment when the state
 * was created; they may be read, and their block status cached, at any time.
 *
 * Independent of jobs.  Offsets and lengths are bytes; one thread.
 */
#ifndef BLOCK_BLOCK_COPY_H
#define BLOCK_BLOCK_COPY_H

#include "block/copy-error.h"
#include "block/types.h"
#include "qemu/hbitmap.h"
#include "qemu/progress.h"

#define BLOCK_COPY_CLUSTER_SIZE_DEFAULT (64 * KiB)
/* The largest copy cluster: the largest granularity that queries report. */
#define BLOCK_COPY_CLUSTER_SIZE_MAX (2 * GiB)

typedef struct BlockCopyState BlockCopyState;
typedef struct Copier Copier; /* block/copier.h */

/* A copy that runs concurrently with its caller. */
typedef struct BlockCopyCall BlockCopyCall;

/*
 * Copies from @source to @target, edges that the caller keeps; all is todo.
 * The copy cluster is the largest of the target's, 64 KiB and
 * @min_cluster_size (0 or a power of two; above 2 GiB it counts as 2 GiB), so
 * that no cluster of the target is ever written in part.  NULL with @errp: the
 * target's cluster size cannot be determined and it has no backing file.
 */
BlockCopyState *block_copy_state_new(BdrvChild *source, BdrvChild *target,
                                     uint64_t min_cluster_size, Error **errp);
/* Nothing may be in flight.  NULL is allowed. */
void block_copy_state_free(BlockCopyState *s);

/* The unit of copying, in bytes. */
int64_t block_copy_cluster_size(const BlockCopyState *s);
/* The todo bitmap; the owner may change it before copying begins (and while
 * nothing is in flight). */
HBitmap *block_copy_todo(BlockCopyState *s);
/* The bitmap of what is kept. */
const HBitmap *block_copy_kept(const BlockCopyState *s);
/*
 * A new bitmap of what may not be on the target: what is todo or in flight.
 * NULL if there is no memory.
 */
HBitmap *block_copy_left(const BlockCopyState *s);
/*
 * Sets todo and kept to @bits (any granularity, size of the source).  Nothing
 * may be in flight.
 */
void block_copy_set_todo(BlockCopyState *s, const HBitmap *bits);
/*
 * The copy begins anew, of all of the source as it is now, whatever has been
 * copied: the owner has emptied the target.  Nothing may be in flight.
 */
void block_copy_restart(BlockCopyState *s);
/*
 * The source is going to be overwritten in this range without a copy: areas in
 * flight are spoiled and count as left.
 */
void block_copy_spoil(BlockCopyState *s, int64_t offset, int64_t bytes);
/* Is any copy in flight, and wait until none of these is. */
bool block_copy_in_flight(const BlockCopyState *s);
void coroutine_fn block_copy_wait(BlockCopyState *s);
/* Offload copies to the host if possible; write compressed. */
void block_copy_set_method(BlockCopyState *s, bool use_copy_range,
                           bool compress);
/* Called after each area that a call has copied in the background, by its
 * worker; may yield, which lets the others go on. */
void block_copy_set_hook(BlockCopyState *s,
                         void coroutine_fn (*hook)(void *opaque), void *opaque);
/* Most bytes per second that calls copy in the background; 0: no limit. */
void block_copy_set_speed(BlockCopyState *s, uint64_t speed);
/*
 * From now on clusters that the topmost source image does not allocate are
 * neither copied nor kept.
 */
void block_copy_set_skip_unallocated(BlockCopyState *s, bool skip);
/* The flag above.  If set, the topmost image must not be replaced. */
bool block_copy_skips_unallocated(const BlockCopyState *s);
/* Progress goes to @progress (NULL: nowhere): bytes copied, bytes left. */
void block_copy_set_progress(BlockCopyState *s, ProgressMeter *progress);
/*
 * All of the disk is copied: no backing file will ever show through the target,
 * so that zeroes need not be written where it has nothing allocated.
 */
void block_copy_set_whole(BlockCopyState *s, bool whole);
/*
 * Clears in todo and kept the clusters at @offset that the topmost source image
 * does not allocate.  Returns how many bytes were examined (> 0) or -errno.
 */
int64_t coroutine_fn block_copy_reset_unallocated(BlockCopyState *s,
                                                  int64_t offset);

/*
 * Copies what is left in [@offset, @offset + @bytes), aligned to copy clusters
 * or the end, and waits for overlapping areas in flight.  0: all of it that is
 * kept has been copied; -errno, and *@error: what failed is todo again.
 */
int coroutine_fn block_copy(BlockCopyState *s, int64_t offset, int64_t bytes,
                            BlockCopyError *error);

typedef struct BlockCopyParams {
    int64_t offset, bytes;
    int max_workers;   /* chunks in flight, >= 1 */
    int64_t max_chunk; /* most bytes of one; 0: the user sets no limit */
    bool guest_write;  /* a guest waits: no speed limit, no queries */
    /* Called (if not NULL) last, when the call has finished; may free it. */
    void (*done)(void *opaque);
    void *opaque;
} BlockCopyParams;

/* A call that is not started, for callers that run its copier themselves. */
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
 * Of a finished one: 0 or -errno, and *@error.  What is not todo was copied,
 * also in a call that failed.
 */
int block_copy_call_status(const BlockCopyCall *call, BlockCopyError *error);
/* Sets a message that says what failed, and where. */
void block_copy_error_set(const BlockCopyState *s, const BlockCopyError *error,
                          Error **errp);
/* No further chunk is begun. */
void block_copy_call_cancel(BlockCopyCall *call);
/* To be called after a change of the speed. */
void block_copy_call_kick(BlockCopyCall *call);
/* Waits until it is finished; one waiter. */
void coroutine_fn block_copy_call_wait(BlockCopyCall *call);
void block_copy_call_free(BlockCopyCall *call);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockCopyState, block_copy_state_free)

#endif
