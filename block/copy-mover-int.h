/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the mover share. */
#ifndef BLOCK_COPY_MOVER_INT_H
#define BLOCK_COPY_MOVER_INT_H

#include "block/copier.h"
#include "block/copy-mover.h"
#include "block/request.h"
#include "qemu/bufpool.h"
#include "qemu/thread.h"

/* There are zeroes in it, so that nothing was written. */
#define COPY_PIECE_MIXED 100

/* A piece that goes from host file to host file; on its waiter's stack. */
typedef struct CopyPiece {
    /* --- set by who hands it in --- */
    int64_t offset; /* of the disk */
    int in, out;
    int64_t in_offset, out_offset;
    int64_t bytes;
    /* > 0: a unit of zeroes makes COPY_PIECE_MIXED of it; see the mover. */
    int64_t zero_unit;

    /* --- under the queue's lock, until it is taken; then its worker's --- */
    TAILQ_ENTRY(CopyPiece) entry;

    /* --- its worker's until the coroutine is woken, then the waiter's --- */
    int ret;       /* one of BDRV_HOST_*, COPY_PIECE_MIXED, or -errno */
    Coroutine *co; /* waits for it */
} CopyPiece;

typedef struct CopyHost CopyHost;

/* For pieces of at most @buffer bytes. */
CopyHost *copy_host_new(int64_t buffer);
/* No piece may be on its way.  NULL is allowed. */
void copy_host_free(CopyHost *h);
/*
 * Has a worker thread copy @piece; @urgent: before all others.  Returns what
 * bdrv_co_host_write_end() is to be told.
 */
int coroutine_fn copy_host_run(CopyHost *h, CopyPiece *piece, bool urgent);
/* What overlaps the range comes before all others. */
void copy_host_hurry(CopyHost *h, int64_t offset, int64_t bytes);
/* Threads at a time. */
int copy_host_threads(const CopyHost *h);

#endif
