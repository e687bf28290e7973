/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copier: the one loop of all that copies.
 *
 *     walker   what is left?          block/copy-walker.h
 *     pacer    may it begin?          block/copy-pacer.h
 *     move()   gets it across         block/copy-mover.h, or the user's own
 *
 * A run takes areas from the walker, one after another as the pacer allows,
 * and moves each in a coroutine of its own.  It ends when nothing is left, when
 * it is told to stop, or when something failed; then nothing of it is on its
 * way any more, and it may be run again.
 *
 * Failures.  An area of several units that failed is tried again unit by unit,
 * so that exactly what cannot be copied is left.  The run then ends and tells
 * of the error, also where each unit could be copied at last: how often
 * something fails is for the user to know (but see `quiet`).  A device that
 * does not work at all must not be asked for each unit, which may take long: so
 * if the first, the last and the middle unit of an area fail, the rest of it is
 * given up; and other areas of the same run that failed, too, are given up
 * without a try, unless anything was copied since.  Those who retry take turns.
 *
 * Knows no jobs and no nodes.  All fields belong to the thread of the coroutine
 * that runs it, as do all functions.
 */
#ifndef BLOCK_COPIER_H
#define BLOCK_COPIER_H

#include "block/copy-error.h"
#include "block/copy-pacer.h"
#include "block/copy-walker.h"
#include "block/reqlist.h"

/* Bytes of one area of data, unless the user wants less. */
#define COPY_CHUNK (1 * MiB)

typedef struct CopierOps {
    /*
     * Gets an area of data or zeroes across.  0 or -errno, *@is_read telling
     * which side failed.  Several run at a time.
     */
    int coroutine_fn (*move)(void *opaque, const CopyArea *area,
                             bool *is_read);
    /* NULL, or: @area was taken, and is on its way from now on. */
    void (*begun)(void *opaque, const CopyArea *area);
    /* NULL, or: it ended with @ret; if that is < 0 it is left again
     * (-ECANCELED: as it was spoiled). */
    void (*ended)(void *opaque, const CopyArea *area, int ret);
} CopierOps;

typedef struct Copier {
    /* --- set before it runs --- */
    CopyWalker *walker;
    CopyPacer *pacer;
    const CopierOps *ops;
    void *opaque;          /* of ops */
    BlockReqList *reqs;    /* areas of all who copy the same; may be NULL */
    int64_t chunk;         /* most bytes of an area of data */
    int64_t unit;          /* what failed is tried again in pieces of this */
    bool quiet;            /* what was copied at last has not failed */
    bool no_retry;         /* by units */
    bool free_zeroes;      /* they do not count for the speed */

    /* --- while it runs --- */
    BlockCopyError error;  /* the first */
    CoMutex retry_lock;    /* one area at a time is tried by units */
    uint64_t moved;        /* areas that were copied */
    bool dead;             /* an area was given up, which had failed */
    uint64_t dead_moved;   /* when `moved` was this */
    bool running;
    bool cancelled;        /* it ended early, as it was told to */
    Coroutine *co;         /* hands out areas; NULL: the caller's */
    LIST_HEAD(, CopyTask) tasks; /* areas on their way */
    Coroutine *waiter;     /* in copier_wait() */
    void (*done)(void *opaque);
    void *done_opaque;
} Copier;

/* Runs it in the caller's coroutine.  0 (done, or cancelled) or -errno as in
 * c->error. */
int coroutine_fn copier_run(Copier *c);
/*
 * Runs it beside the caller.  @done (may be NULL) is called as the last thing,
 * when all is over; it may free the copier.
 */
void copier_start(Copier *c, void (*done)(void *opaque), void *opaque);
/* Waits for the end of one that was started; one waiter. */
void coroutine_fn copier_wait(Copier *c);
/* Calls @fn for each coroutine that copies; it must not end one. */
void copier_for_each_co(Copier *c, void (*fn)(Coroutine *co, void *opaque),
                        void *opaque);
/*
 * What the source holds there is lost to all who note their areas in @reqs:
 * what is on its way counts as left, however it ends.
 */
void copier_spoil(BlockReqList *reqs, int64_t offset, int64_t bytes);
/* Of one that does not run: it ended early as it was cancelled. */
bool copier_was_cancelled(const Copier *c);

#endif
