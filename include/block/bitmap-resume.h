/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is remembered beside a bitmap from which a job (mode always) has taken
 * what it copied, until a job has copied all of it: without the data on that
 * target, what is left in the bitmap is not enough (block/bitmap-resume.c).
 *
 * Sizes are bytes.
 */
#ifndef BLOCK_BITMAP_RESUME_H
#define BLOCK_BITMAP_RESUME_H

#include "block/types.h"
#include "qapi/qapi-types-block-bitmap.h"

#define BDRV_RESUME_DIGEST_BYTES 32

struct BdrvBitmapResume {
    /* SHA-256 of the target's name, see bdrv_target_name(). */
    uint8_t digest[BDRV_RESUME_DIGEST_BYTES];
    char *target;       /* that name, for people; may be only its end */
    char *job_id;
    int64_t file_bytes; /* the target's file had at least so many; 0: unknown */
    int64_t copied;     /* by this and earlier jobs to the target;
                           0: nothing is known */
    int64_t total;      /* ... and what was still to copy then */
    /* It was loaded from an image: nobody here was told how the job ended. */
    bool loaded;
};

/* Of a job called @job_id that is to copy to @target; nothing is copied. */
BdrvBitmapResume *bdrv_bitmap_resume_new(BlockDriverState *target,
                                         const char *job_id);
/* It is only known that there was a job; no target fits; nothing "copied". */
BdrvBitmapResume *bdrv_bitmap_resume_unknown(void);
/* NULL of NULL. */
BdrvBitmapResume *bdrv_bitmap_resume_copy(const BdrvBitmapResume *r);
/* NULL is allowed. */
void bdrv_bitmap_resume_free(BdrvBitmapResume *r);

/*
 * The name of the storage of @target: for a file its path without symbolic
 * links, else what the protocol node is called.  The caller frees.  Main
 * thread.
 */
char *bdrv_target_name(BlockDriverState *target);
/* The size of the file in which the data of @target is; 0: unknown. */
int64_t bdrv_target_file_bytes(BlockDriverState *target);
/*
 * Has @target what was copied: is it the remembered one, or has it that one in
 * its backing chain?  A file that is shorter than it was is another one.  Main
 * thread.
 */
bool bdrv_bitmap_resume_fits(const BdrvBitmapResume *r,
                             BlockDriverState *target);
/* How much is copied, 0 to 100. */
int bdrv_bitmap_resume_percent(const BdrvBitmapResume *r);
/* The caller frees. */
BlockDirtyResumable *bdrv_bitmap_resume_query(const BdrvBitmapResume *r);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BdrvBitmapResume, bdrv_bitmap_resume_free)

#endif
