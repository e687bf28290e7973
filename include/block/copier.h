/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copier: the loop that all copying uses.
 *
 *     walker   what is left?          block/copy-walker.h
 *     pacer    may it begin?          block/copy-pacer.h
 *     move()   transfers an area      block/copy-mover.h, or the user's own
 *
 * A run takes areas from the walker, one after another as the pacer allows,
 * and moves each in a coroutine of its own.  It ends when nothing is left, when
 * it is stopped, or when an area failed; then none of its areas is in flight,
 * and it may be run again.
 *
 * Failures.  An area of several units that failed is retried unit by unit, so
 * that exactly the units that cannot be copied are left.  The run then ends and
 * reports the error, even if each unit was copied by the retry: users shall see
 * every failure (but see `quiet`).  A device that does not work at all must not
 * be tried for each unit, which may take long: so if the first, the last and
 * the middle unit of an area fail, the rest of it is given up; and other failed
 * areas of the same run are given up without a retry, unless anything was
 * copied since.  One area is retried at a time.
 *
 * Independent of jobs and nodes.  All fields and functions belong to the thread
 * of the coroutine that runs the copier.
 */
#ifndef BLOCK_COPIER_H
#define BLOCK_COPIER_H

#include "block/copy-error.h"
#include "block/copy-pacer.h"
#include "block/copy-walker.h"
#include "block/reqlist.h"

/* Bytes of one area of data, unless the user sets less. */
#define COPY_CHUNK (1 * MiB)

typedef struct CopierOps {
    /*
     * Transfers an area of data or zeroes.  0 or -errno; *@is_read: the source
     * failed, not the target.  Several run concurrently.
     */
    int coroutine_fn (*move)(void *opaque, const CopyArea *area,
                             bool *is_read);
    /* NULL, or called when @area was taken: it is in flight from now on. */
    void (*begun)(void *opaque, const CopyArea *area);
    /* NULL, or called when it ended with @ret; if that is < 0 it is left again
     * (-ECANCELED: since it was spoiled). */
    void (*ended)(void *opaque, const CopyArea *area, int ret);
} CopierOps;

typedef struct Copier {
    /* --- set before it runs --- */
    CopyWalker *walker;
    CopyPacer *pacer;
    const CopierOps *ops;
    void *opaque;          /* of ops */
    BlockReqList *reqs;    /* shared by copiers of the same data; may be NULL */
    int64_t chunk;         /* most bytes of an area of data */
    int64_t unit;          /* failed areas are retried in pieces of this size */
    bool quiet;            /* a failure whose retry succeeds is not reported */
    bool no_retry;         /* failed areas are not retried by units */
    bool free_zeroes;      /* zeroes do not count for the speed */

    /* --- while it runs --- */
    BlockCopyError error;  /* the first */
    CoMutex retry_lock;    /* one area at a time is retried by units */
    uint64_t moved;        /* areas that were copied */
    bool dead;             /* an area that had failed was given up */
    uint64_t dead_moved;   /* the value of `moved` then */
    bool running;
    bool cancelled;        /* it was stopped early */
    Coroutine *co;         /* hands out areas; NULL: the caller's */
    LIST_HEAD(, CopyTask) tasks; /* areas in flight */
    Coroutine *waiter;     /* in copier_wait() */
    void (*done)(void *opaque);
    void *done_opaque;
} Copier;

/* Runs it in the caller's coroutine.  0 (done, or cancelled) or -errno as in
 * c->error. */
int coroutine_fn copier_run(Copier *c);
/*
 * Runs it concurrently with the caller.  @done (may be NULL) is called last,
 * when the run has ended; it may free the copier.
 */
void copier_start(Copier *c, void (*done)(void *opaque), void *opaque);
/* Waits for the end of one that was started; one waiter. */
void coroutine_fn copier_wait(Copier *c);
/* Calls @fn for each coroutine of the run; it must not end one. */
void copier_for_each_co(Copier *c, void (*fn)(Coroutine *co, void *opaque),
                        void *opaque);
/*
 * The source range is going to be overwritten: areas in @reqs that overlap it
 * count as left, with whatever result they end.
 */
void copier_spoil(BlockReqList *reqs, int64_t offset, int64_t bytes);
/* Of one that does not run: its last run ended early by a cancel. */
bool copier_was_cancelled(const Copier *c);

#endif
