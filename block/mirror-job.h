/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The mirror job, for its own files. */
#ifndef BLOCK_MIRROR_JOB_H
#define BLOCK_MIRROR_JOB_H

#include "block/mirror-int.h"
#include "block/mirror.h"

typedef struct MirrorJob {
    BlockJob common;

    /* --- set once; main thread --- */
    BlockDriverState *source, *target, *filter; /* references of `attached` */
    MirrorState *m;      /* of the filter */
    Transaction *attached; /* detaches the job; NULL: it is detached */
    Transaction *writable; /* makes the target read-only again; NULL: it was
                              writable, or its new users need it so */
    JobBitmap bitmap;
    MirrorSyncMode sync;
    MirrorBacking backing;
    char *replaces;      /* NULL: the source */
    BlockdevOnError on_source_error, on_target_error;

    /* --- the context's thread, and the exclusive main thread --- */
    MirrorCopyMode copy_mode;
    bool should_complete; /* and replace the source */
    bool ending;          /* nothing was left when it was to end */
    bool waiting;         /* for something to do, ready */
    bool allocated_only; /* what is allocated is copied at first */
    bool found;           /* all that is to be copied at first is in todo */
    uint64_t checkpoint_changes; /* writes of the guest until the last one */
    bool flushed;         /* the target was, or that failed, at the end */
    BlockDriverState *drained; /* the source, from the end to clean */
} MirrorJob;

static inline MirrorJob *to_mirror(Job *job)
{
    return container_of(job, MirrorJob, common.job);
}

/* --- the end (block/mirror-end.c), as callbacks of JobDriver --- */
int mirror_prepare(Job *job);
void mirror_commit(Job *job);
void mirror_abort(Job *job);
void mirror_clean(Job *job);
/* job-complete */
bool mirror_complete(Job *job, Error **errp);
/* Can the target take the place of @s->replaces?  NULL with @errp: no. */
BlockDriverState *mirror_find_replaced(const MirrorJob *s, Error **errp);

/* --- block/mirror.c --- */
extern const JobDriver mirror_job_driver, active_commit_job_driver;
/* Sets in @errp why the job fails. */
void mirror_describe(const MirrorJob *s, const BlockCopyError *error,
                     Error **errp);
/* The part of query-block-jobs that other jobs do not have. */
void mirror_query(const BlockJob *job, BlockJobInfo *info);

#endif
