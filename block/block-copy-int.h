/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the copy engine share. */
#ifndef BLOCK_COPY_INT_H
#define BLOCK_COPY_INT_H

#include "block/block-copy.h"
#include "block/dirty-bitmap.h"
#include "block/driver.h"
#include "block/reqlist.h"
#include "qemu/bufpool.h"
#include "qemu/ratelimit.h"

/* Buffers in use at a time: what bounds the memory of general copies. */
#define BLOCK_COPY_BUFFERS 16
/*
 * Whole chunks in flight on the fast path; more only evict each other's data
 * from the caches.
 */
#define BLOCK_COPY_FAST_CHUNKS 3
/*
 * Chunks in flight of one call, whatever the user allows: each has a stack, and
 * most of them only wait for a buffer.
 */
#define BLOCK_COPY_MAX_WORKERS 1024
/* Items that go to a worker at once. */
#define BLOCK_COPY_BATCH 16

typedef enum BlockCopyKind {
    BLOCK_COPY_DATA,
    BLOCK_COPY_ZERO, /* reads as zeroes */
    BLOCK_COPY_SKIP, /* not in the topmost image, and not wanted */
} BlockCopyKind;

struct BlockCopyState {
    /* --- set once, or before copying begins --- */
    BdrvChild *source, *target;
    int64_t len;
    int64_t cluster_size;
    int64_t target_cluster;
    int64_t piece; /* bytes of one buffer */
    bool compress;
    bool use_copy_range; /* until it fails for good */
    bool skip_unallocated;
    bool whole; /* the target gets all of the disk */
    BdrvShownBits *shown; /* todo, on the source */
    bool fleecing; /* the source is below the target: serialise writes */

    /* --- the context's thread --- */
    HBitmap *todo;
    HBitmap *kept;
    BlockReqList reqs; /* in flight */
    int64_t in_flight_bytes;
    ProgressMeter *progress;
    RateLimit limit; /* of background copies */
    bool fast; /* the last chunk went from host file to host file */
    BufPool *pool;
    int buffers; /* in use */
    CoQueue buffer_queue;
    struct BlockCopyBatch *batch; /* being filled, or NULL */
    AioBH *batch_bh;              /* sends it off */
};

/*
 * Moves one chunk, DATA or ZERO; @urgent: a guest waits for it.  0 or -errno,
 * *@error_is_read telling which side it was.
 */
int coroutine_fn block_copy_move(BlockCopyState *s, int64_t offset,
                                 int64_t bytes, BlockCopyKind kind,
                                 bool urgent, bool *error_is_read);
/* Sends off the batch of @opaque, a BlockCopyState. */
void block_copy_send_batch(void *opaque);

/* copy-worker.c: a buffer's worth from host file to host file. */
typedef struct BlockCopyItem {
    int in, out;
    int64_t in_offset, out_offset;
    int64_t bytes;
    int ret;       /* one of BDRV_HOST_*, or -errno */
    Coroutine *co; /* waits for it */
} BlockCopyItem;

typedef struct BlockCopyBatch {
    BlockCopyState *s;
    BlockCopyItem *items[BLOCK_COPY_BATCH];
    int n;
    int64_t bytes; /* of all items */
    void *buf;     /* for each in turn; page aligned */
} BlockCopyBatch;

/* For thread_pool_co_run(): sets ret of each item. */
int block_copy_batch_run(void *batch);

#endif
