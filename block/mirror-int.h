/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The parts of the mirror job.
 *
 *        guest
 *          |
 *       mirror_top -----> target        block/mirror-filter.c: the writes of
 *          |                 ^          the guest since the start
 *        source -- copier ---+          block/mirror-copy.c: what is left
 *
 * Both share one bitmap, todo, of what is to be copied; the job itself
 * (block/mirror.c) runs the copier until nothing is left, and ends with the
 * node drained (block/mirror-end.c).
 *
 * A guest's write sets its bits when it completes (mode RECORD), so that an
 * area which was read meanwhile is copied again; or it is also submitted to the
 * target before it completes (mode ACTIVE).  For an active write holds:
 *
 *   - it waits for areas that the copier has in flight, and for other writes of
 *     the guest, which overlap it; and the copier waits for active writes that
 *     overlap its area.  So what is written last to the source is what is
 *     written last to the target.
 *   - it clears bits only if the mode was ACTIVE all the time (epoch), since
 *     writes which are only recorded wait for nothing.
 *
 * Offsets and lengths are bytes.
 */
#ifndef BLOCK_MIRROR_INT_H
#define BLOCK_MIRROR_INT_H

#include "block/copier.h"
#include "block/copy-mover.h"
#include "block/dirty-bitmap.h"
#include "block/driver.h"
#include "qemu/hbitmap.h"
#include "qemu/progress.h"

typedef enum MirrorMode {
    MIRROR_RECORD, /* writes set bits */
    MIRROR_ACTIVE, /* writes go to source and target */
    MIRROR_OFF,    /* the filter does nothing: the job has ended */
} MirrorMode;

/* Bytes per second, measured over about a second. */
typedef struct MirrorRate {
    int64_t start_ns;
    uint64_t bytes; /* since then */
    uint64_t rate;  /* of the last whole interval */
} MirrorRate;

/* What was copied and may not be durable (block/mirror-durable.c). */
typedef struct MirrorDurable {
    HBitmap *unflushed; /* copied since a flush began */
    HBitmap *flushing;  /* copied before that, and no flush has succeeded */
    bool failed;        /* a flush was, or writes were lost: nothing leaves the
                           two */
    bool broken;        /* metadata may be among what was lost */
    uint64_t lost_writes; /* of the target, until now */
    int64_t next_ns;    /* not before this time is the next flush */
    bool busy;          /* a flush is in flight while data is copied */
} MirrorDurable;

/* How a mirror copies; set before the filter is inserted. */
typedef struct MirrorCopyParams {
    int64_t unit;        /* of todo: a power of two */
    int64_t buf_size;    /* most bytes in flight */
    /*
     * The target will get a backing file, at the end or while the job runs:
     * units of it, which are multiples of its cluster, are always written as a
     * whole.
     */
    bool whole_units;
    bool full;           /* no backing file will show through the target */
    bool target_is_zero; /* it reads as zeroes at the start */
    bool unmap;
    bool resumable;      /* what still differs after a failure is needed: the
                            target is flushed while data is copied */
} MirrorCopyParams;

typedef struct MirrorState {
    /* --- set once; main thread --- */
    BlockDriverState *bs; /* the filter */
    BdrvChild *target;    /* NULL: not attached yet, or removed */
    BlockDriverState *base; /* of a commit, the target or a node over it, else
                               NULL; no reference */
    MirrorCopyParams p;
    int64_t len;          /* of the disk */
    bool growing;         /* the base of a commit is resized; no requests */
    BdrvShownBits *shown;
    ProgressMeter *progress; /* of the job; locks itself */
    /* Called when bits were set while nothing was left. */
    void (*wake)(void *opaque);
    /* Called in place of mirror_flush(), which it calls; NULL: not. */
    void coroutine_fn (*checkpoint)(void *opaque);
    void *opaque;

    /* --- the context's thread, and the exclusive main thread --- */
    MirrorMode mode;
    uint64_t epoch;       /* counts changes of the mode */
    uint64_t changes;     /* counts writes of the guest */
    HBitmap *todo;        /* set: the target differs, or may */
    HBitmap *zeroed;      /* set: the target reads as zeroes; NULL: unknown, or
                             not any more */
    BlockReqList writes;  /* of the guest, in flight */
    uint64_t begun;       /* how many of these have begun */
    BlockReqList copying; /* areas of the copier, in flight */
    int64_t in_flight;    /* bytes of these areas */
    CopyWalker walker;
    CopyPacer pacer;
    RateLimit limit;
    CopyMover *mover;
    Copier copier;
    MirrorRate written, dirtied, copied;
    MirrorDurable durable;
} MirrorState;

/* --- the filter (block/mirror-filter.c); main thread --- */

/*
 * A filter over @source, and its state, in mode RECORD; it has no parents yet.
 * @base: not NULL if it is for a commit: the target is below the source, and
 * areas that only @base has are not copied; the caller keeps the chain down to
 * it.  NULL @node_name: one is generated, and the node is hidden.  A new
 * reference.
 */
BlockDriverState *mirror_filter_new(BlockDriverState *source,
                                    BlockDriverState *target,
                                    BlockDriverState *base,
                                    const char *node_name,
                                    const MirrorCopyParams *params,
                                    Error **errp);
MirrorState *mirror_filter_state(BlockDriverState *filter);
/* Waits until the writes of the guest that are in flight now have ended. */
void coroutine_fn mirror_wait_writes(MirrorState *m);
/* Changes the mode; it stays OFF once it is. */
void mirror_set_mode(MirrorState *m, MirrorMode mode);
/* Mode OFF: the filter uses nothing of source and target.  Nothing may be in
 * flight. */
void mirror_filter_disable(MirrorState *m);

/* --- copying (block/mirror-copy.c) --- */

/* Bitmaps and the copier of @m; false with @errp if there is no memory. */
bool mirror_copy_init(MirrorState *m, Error **errp);
void mirror_copy_destroy(MirrorState *m);
/*
 * Sets the bits of what is allocated above m->base, or (@top) in the topmost
 * image, or in all images: 0 or -errno, and *@error tells where.  Pauses and is
 * cancelled by @go_on (which may yield), called from time to time.
 */
int coroutine_fn mirror_fill_allocated(MirrorState *m, bool top,
                                       bool coroutine_fn (*go_on)(void *),
                                       void *opaque, BlockCopyError *error);
/* [@offset, +@bytes) of the source has changed. */
void mirror_mark(MirrorState *m, int64_t offset, int64_t bytes);
/* What was known of the kind of its data may be wrong now. */
void mirror_forget_kind(MirrorState *m, int64_t offset, int64_t bytes);
/* The range is the same on both, as far as whole units are in it. */
void mirror_unmark(MirrorState *m, int64_t offset, int64_t bytes);
/* Copies the range, which is rounded to whole units, at once; the caller keeps
 * all others away from it.  0 or -errno. */
int coroutine_fn mirror_copy_now(MirrorState *m, int64_t offset,
                                 int64_t bytes);
/* Copies all that is left, and flushes the target.  0 or -errno as in *@error.
 * Main thread, with the filter drained. */
int mirror_copy_rest(MirrorState *m, BlockCopyError *error);
/* The same while the guest writes, in the context: the rest is less then. */
int coroutine_fn mirror_copy_rest_of_now(MirrorState *m, BlockCopyError *error);
/* --- what is durable (block/mirror-durable.c) --- */

/* Between two flushes while data is copied; for tests. */
extern int64_t mirror_flush_ns;
/* False: there is no memory. */
bool mirror_durable_init(MirrorState *m);
void mirror_durable_destroy(MirrorState *m);
/* The range was written to the target. */
void mirror_note_copied(MirrorState *m, int64_t offset, int64_t bytes);
/* Flushes the target: 0 or -errno.  If metadata of its image may be lost the
 * job must fail: m->durable.broken. */
int coroutine_mixed_fn mirror_flush(MirrorState *m);
/* For the copier: flushes the target if that is due, and ignores errors. */
void coroutine_fn mirror_flush_sometimes(MirrorState *m);
/*
 * If a flush has failed, or writes were lost: sets the bits of all that may not
 * be durable, for a job that goes on, and returns true.  The copier does not
 * run.
 */
bool mirror_copy_again(MirrorState *m);
/*
 * A new bitmap of where the target may differ, or may not be durable, now: all
 * that is left, in flight, or was not flushed.  NULL: there is no memory.
 */
HBitmap *mirror_may_differ(const MirrorState *m);
/*
 * Of a job that has failed, with the filter drained: adds to todo what may not
 * be durable.  Set in the result, which belongs to @m: the target may differ.
 */
const HBitmap *mirror_find_differing(MirrorState *m);

/* --- progress (block/mirror-copy.c) --- */

/* Bytes that are to be copied or are being copied. */
int64_t mirror_left(const MirrorState *m);
/* The target is the same as the source, and stays so. */
bool mirror_is_synced(const MirrorState *m);
/* Bytes per second. */
uint64_t mirror_rate(MirrorRate *rate);
void mirror_rate_add(MirrorRate *rate, int64_t bytes);

#endif
