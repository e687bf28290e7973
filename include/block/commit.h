/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing the data of images into one below them.
 *
 *       top
 *        |            what top and middle hold goes to base, which then shows
 *      middle         what top does
 *        |
 *       base
 *
 * Offsets and lengths are bytes.
 */
#ifndef BLOCK_COMMIT_H
#define BLOCK_COMMIT_H

#include "block/block-backend.h"
#include "block/copier.h"
#include "block/graph.h"

/* An image whose own data, not that of its backing file, is committed. */
typedef struct CommitLayer {
    BlockDriverState *bs; /* for its block status */
    BlockBackend *blk;    /* for reading */
} CommitLayer;

typedef struct CommitCopy {
    const CommitLayer *layers; /* the topmost first */
    unsigned n_layers;
    BlockBackend *base;        /* at least as large as the topmost */
    int64_t size;              /* of the topmost */
    int64_t speed;             /* most bytes per second; 0: no limit */
    int64_t to_copy;           /* those that have to be copied, if the progress
                                  is to be told of these: see commit_count() */
    /* Called (if not NULL) after each area; false: stop. */
    bool (*progress)(void *opaque, int64_t done, int64_t total);
    void *opaque;
} CommitCopy;

typedef struct CommitCopier CommitCopier;

/*
 * A copier of what @c says, which outlives it; its speed is that of @c.  The
 * coroutine that runs it is in the context of the base.
 */
CommitCopier *commit_copier_new(const CommitCopy *c);
void commit_copier_free(CommitCopier *k);
Copier *commit_copier(CommitCopier *k);

/* Sets @c->to_copy, or leaves it as it is if that is not known. */
void commit_count(CommitCopy *c);
/* Commits all and flushes the base.  0 or -errno; -EINTR: was stopped. */
int commit_copy(const CommitCopy *c);
/* Grows @base to the @size of the top image; never shrinks it.  0 or -errno,
 * with @errp. */
int commit_grow(BlockBackend *base, int64_t size, Error **errp);
/* Deallocates all data of @bs: its backing file shows.  0 or -errno. */
int commit_empty(BlockDriverState *bs);
/*
 * Writes the data of @bs into its backing file, which is grown if it is too
 * small and is made writable for that time, and empties @bs.  No job may use
 * the two.  0 or -errno: -ENOTSUP without a backing file, -EBUSY, -EACCES.
 * Main thread.
 */
int bdrv_commit(BlockDriverState *bs);

/*
 * The filter between an image that is committed and its users.  They only read,
 * and share write below it, as that changes no visible data.  NULL @node_name:
 * one is generated, and the node is hidden.  A new reference; the node has no
 * parents yet.
 */
BlockDriverState *commit_filter_new(BlockDriverState *bs,
                                    const char *node_name, Error **errp);

#endif
