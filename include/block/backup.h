/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup job: a copy of a node as it was when the job was created.
 *
 *        guest                  guest
 *          |                      |
 *        source     ------>      cbw -----> target
 *                                 |
 *                               source
 */
#ifndef BLOCK_BACKUP_H
#define BLOCK_BACKUP_H

#include "block/blockjob.h"
#include "qapi/qapi-types-block-job.h"
#include "qemu/hbitmap.h"

/*
 * Creates a backup job from @source to @target with the options @opts (its node
 * names are ignored), to be started by job_start() or undone by cancelling it.
 * The point in time is this call: @source must be drained from before it until
 * the job was started.  @txn NULL: alone.  NULL with @errp, nothing changed.
 */
Job *backup_job_create(BlockDriverState *source, BlockDriverState *target,
                       const BackupCommon *opts, JobTxn *txn, Error **errp);

/* --- block/backup-bitmap.c: the user's bitmap --- */

/* The bitmap of a backup, and how it is used; zeroed: none. */
typedef struct BackupBitmap {
    BdrvDirtyBitmap *bitmap;
    BitmapSyncMode mode;
    bool selects;   /* its dirty ranges are copied */
    bool read_only; /* no successor: locked only */
} BackupBitmap;

/* Checks sync, bitmap and bitmap-mode of @opts against each other, and finds
 * the bitmap. */
bool backup_bitmap_find(BackupBitmap *b, BlockDriverState *source,
                        const BackupCommon *opts, Error **errp);
/* From now on new writes are recorded in a successor. */
bool backup_bitmap_freeze(BackupBitmap *b, Error **errp);
/* At the job's end; @left: what was not copied (NULL: nothing was tried). */
void backup_bitmap_finish(BackupBitmap *b, bool success,
                          const HBitmap *left);

#endif
