/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mirror job: makes a node the same as another one that is in use, and
 * keeps it so until the user completes the job; then the target may take the
 * place of the source.
 *
 *        guest                guest                        guest
 *          |                    |                            |
 *        source    ---->    mirror_top ---> target  --->   target
 *                               |
 *                             source                       source
 *
 * Main thread, outside coroutines.
 */
#ifndef BLOCK_MIRROR_H
#define BLOCK_MIRROR_H

#include "block/blockjob.h"
#include "block/chain-jobs.h"
#include "block/job-bitmap.h"

typedef struct BlockJobInfo BlockJobInfo;

/* The backing file that the target has when the job has succeeded. */
typedef enum MirrorBacking {
    MIRROR_BACKING_KEEP,   /* the one it has now, or none */
    MIRROR_BACKING_SOURCE, /* that of the source; with sync=none the source */
    MIRROR_BACKING_OPEN,   /* the one that its header names */
} MirrorBacking;

typedef struct MirrorParams {
    const char *job_id;      /* NULL: the name of the device */
    const char *filter_name; /* NULL: the filter is hidden */
    const char *replaces;    /* node that the target replaces; NULL: source */
    JobBitmapParams bitmap;  /* sync, too */
    uint32_t granularity;    /* bytes; 0: default */
    int64_t buf_size;        /* most bytes in flight; 0: default */
    int64_t speed;           /* bytes per second; 0: no limit */
    BlockdevOnError on_source_error, on_target_error;
    MirrorCopyMode copy_mode;
    MirrorBacking backing;
    bool unmap;
    bool target_is_zero;     /* the caller guarantees that it reads as zeroes */
    bool to_new_file;        /* for mirror_job_check() */
    bool auto_complete;      /* as soon as it is ready */
    int flags;               /* JOB_* */
    void (*ended)(void *opaque, int ret); /* as in Job, or NULL */
    void *ended_opaque;
} MirrorParams;

/* Checks what needs no target, before one is created (@p->to_new_file). */
bool mirror_job_check(BlockDriverState *source, const MirrorParams *p,
                      Error **errp);
/* Starts a job that mirrors @source to @target, which has the same size. */
bool mirror_job_start(BlockDriverState *source, BlockDriverState *target,
                      const MirrorParams *p, Error **errp);
/*
 * Starts a job that writes the data of the images from @top down to above @base
 * into @base, while @top is in use, and then makes its users use @base.
 */
bool active_commit_job_start(BlockDriverState *top, BlockDriverState *base,
                             const ChainJobParams *p, Error **errp);
/* block-job-change of a mirror; fails by the table of verbs, or if @mode is
 * background and was not. */
bool mirror_job_change(BlockJob *job, MirrorCopyMode mode, Error **errp);

#endif
