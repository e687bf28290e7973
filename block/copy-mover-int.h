/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the files of the mover. */
#ifndef BLOCK_COPY_MOVER_INT_H
#define BLOCK_COPY_MOVER_INT_H

#include "block/copier.h"
#include "block/copy-mover.h"
#include "block/request.h"
#include "qemu/bufpool.h"
#include "qemu/thread.h"

/* The piece has zero units, so nothing was written. */
#define COPY_PIECE_MIXED 100

/* A piece that goes from host file to host file; on its waiter's stack. */
typedef struct CopyPiece {
    /* --- set by the submitter --- */
    int64_t offset; /* of the disk */
    int in, out;
    int64_t in_offset, out_offset;
    int64_t bytes;
    /* > 0: a piece with a zero unit ends with COPY_PIECE_MIXED. */
    int64_t zero_unit;

    /* --- under the queue's lock until taken; then the worker's --- */
    TAILQ_ENTRY(CopyPiece) entry;

    /* --- the worker's until the coroutine is woken, then the waiter's --- */
    int ret;       /* one of BDRV_HOST_*, COPY_PIECE_MIXED, or -errno */
    Coroutine *co; /* waits for it */
} CopyPiece;

typedef struct CopyHost CopyHost;

/* For pieces of at most @buffer bytes. */
CopyHost *copy_host_new(int64_t buffer);
/* No piece may be in flight.  @h may be NULL. */
void copy_host_free(CopyHost *h);
/*
 * Copies @piece in a worker thread; @urgent: before all others.  Returns the
 * value for bdrv_co_host_write_end().
 */
int coroutine_fn copy_host_run(CopyHost *h, CopyPiece *piece, bool urgent);
/* Moves pieces that overlap the range to the head of the queue. */
void copy_host_hurry(CopyHost *h, int64_t offset, int64_t bytes);
/* Maximum number of threads. */
int copy_host_threads(const CopyHost *h);

#endif
