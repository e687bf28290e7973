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
} JobBitmapParams;

/* The bitmap of a job, and how it is used; zeroed: none. */
typedef struct JobBitmap {
    BdrvDirtyBitmap *bitmap;
    BitmapSyncMode mode;
    bool selects;   /* its dirty ranges are copied */
    bool read_only; /* no successor: locked only */
} JobBitmap;

/* Checks the arguments against each other, and finds the bitmap on @source. */
bool job_bitmap_find(JobBitmap *b, BlockDriverState *source,
                     const JobBitmapParams *params, Error **errp);
/* What is dirty in it, to read. */
const HBitmap *job_bitmap_bits(const JobBitmap *b);
/* From now on new writes are recorded in a successor. */
bool job_bitmap_freeze(JobBitmap *b, Error **errp);
/*
 * While a backup runs: all but @left is on the target's stable storage, so that
 * this need not be copied again after the process ended.  In the node's thread.
 */
void coroutine_fn job_bitmap_checkpoint(JobBitmap *b, const HBitmap *left);
/* Has it an effect? */
bool job_bitmap_has_checkpoints(const JobBitmap *b);
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
