/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The user's bitmap of a job that copies a node (block/job-bitmap.c).  Main
 * thread.
 */
#ifndef BLOCK_JOB_BITMAP_H
#define BLOCK_JOB_BITMAP_H

#include "block/types.h"
#include "qapi/qapi-types-block-job.h"
#include "qemu/hbitmap.h"

/* The arguments of a command that concern the bitmap. */
typedef struct JobBitmapParams {
    MirrorSyncMode sync;
    const char *name; /* NULL: no bitmap */
    bool has_mode;
    BitmapSyncMode mode;
    bool allow_other_target; /* see job_bitmap_check_target() */
    uint32_t checkpoint_ms;  /* between two checkpoints; 0: there are none */
} JobBitmapParams;

/* The bitmap of a job, and how it is used; zeroed: none. */
typedef struct JobBitmap {
    BdrvDirtyBitmap *bitmap;
    BitmapSyncMode mode;
    bool selects;   /* its dirty ranges are copied */
    bool read_only; /* no successor: locked only */
    bool allow_other_target;
    int64_t interval_ns; /* between two checkpoints; 0: there are none */

    /* --- from job_bitmap_remember() to the end --- */
    BlockDriverState *target;
    BdrvBitmapResume *resume;  /* what is remembered; NULL: nothing */
    BdrvBitmapResume *earlier; /* what was when it began; NULL: nothing */
    int64_t asked;   /* bytes to copy when the job began */
    int64_t carried; /* bytes that earlier jobs had copied */
    int64_t trimmed; /* bytes written since then that have been taken off */

    /* --- the node's thread: checkpoints --- */
    int64_t begun_ns; /* when the target began to be flushed for it */
    int64_t next_ns;  /* not before this time */
    int64_t soon_ns;  /* ... where much was copied since the last one */
    uint64_t copied;  /* by the job, until the last one */
} JobBitmap;

/* So many bytes make a checkpoint due, which takes at most one part in so many
 * of the time; for tests, which are short and must not depend on a clock. */
extern uint64_t job_bitmap_checkpoint_bytes;
extern unsigned job_bitmap_checkpoint_share;

/* Checks the arguments against each other, and finds the bitmap on @source. */
bool job_bitmap_find(JobBitmap *b, BlockDriverState *source,
                     const JobBitmapParams *params, Error **errp);
/*
 * May a job copy to @target (NULL: to a new file) by the bitmap?  Refused if
 * bits were taken off it for another target before its image was opened; but
 * not if the user allows it, having the same data there, or if all is dirty.
 */
bool job_bitmap_check_target(const JobBitmap *b, BlockDriverState *target,
                             Error **errp);
/*
 * The job called @job_id begins to copy to @target: for a bitmap that is
 * stored, and mode always, that is remembered as soon as bits are taken off.
 * @target must exist until the end.
 */
void job_bitmap_remember(JobBitmap *b, BlockDriverState *target,
                         const char *job_id);
/* What is dirty in it, to read. */
const HBitmap *job_bitmap_bits(const JobBitmap *b);
/* From now on new writes are recorded in a successor. */
bool job_bitmap_freeze(JobBitmap *b, Error **errp);

/*
 * A checkpoint: what a job has copied, and is durable, leaves the stored bitmap
 * while it runs, so that it need not be copied again if the process ends.  It
 * is due after the interval, or earlier after some 100 MiB; large bitmaps take
 * at most a twentieth of the time.  In the node's thread.
 */
/* Are there any? */
bool job_bitmap_has_checkpoints(const JobBitmap *b);
/* Now?  @copied: bytes, by this job. */
bool job_bitmap_checkpoint_due(const JobBitmap *b, uint64_t copied);
/* The target is about to be flushed: what is copied is in its file of now. */
void job_bitmap_before_flush(JobBitmap *b);
/* All but @left is on the target's stable storage, from a backup. */
void coroutine_fn job_bitmap_checkpoint(JobBitmap *b, const HBitmap *left,
                                        uint64_t copied);
/*
 * The same from a mirror, which copies what is written since its start, too:
 * @left has what the target may lack now, all writes in flight included.
 */
void coroutine_fn job_bitmap_checkpoint_mirror(JobBitmap *b,
                                               const HBitmap *left,
                                               uint64_t copied);

/* At the end of a backup, or of a mirror that did not start; @left: what was
 * not copied (NULL: no copying was tried). */
void job_bitmap_finish(JobBitmap *b, bool success, const HBitmap *left);
/* At the end of a backup that ran and failed: what was copied is not known, or
 * may be lost. */
void job_bitmap_lose(JobBitmap *b);
/*
 * At the end of a mirror, with the node drained; @left: where the target
 * differs (NULL: not known).  After a success it differs nowhere.
 */
void job_bitmap_finish_mirror(JobBitmap *b, bool success,
                              const HBitmap *left);

#endif
