/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pacer: how much is copied at a time, how fast, and when it stops.
 *
 * It counts the areas in flight.  Before another one begins, the coroutine that
 * hands them out waits until there is room: fewer areas than workers, and fewer
 * bytes than the bound on memory.  A speed is kept by sleeping between two
 * areas.  A stop ends both kinds of waiting; areas in flight continue to their
 * end.
 *
 * All fields and functions belong to the thread of the coroutine that copies,
 * unless a function says otherwise.
 */
#ifndef BLOCK_COPY_PACER_H
#define BLOCK_COPY_PACER_H

#include "qemu/coroutine.h"
#include "qemu/ratelimit.h"

typedef struct CopyPacer {
    /* --- set once, before anything is copied --- */
    int max_workers;   /* areas in flight at a time, >= 1 */
    int64_t max_bytes; /* with so many in flight none begins; 0: no bound */
    RateLimit *limit;  /* NULL: no speed limit */

    /* --- while copying --- */
    int in_flight;           /* areas */
    int64_t in_flight_bytes;
    CoQueue room;            /* waits for the end of an area */
    CoSleep sleep;           /* sleeps to keep the speed */
    bool cancelled;          /* by copy_pacer_cancel() */
    bool failed;             /* by copy_pacer_fail() */
} CopyPacer;

/* At most @max_workers areas and @max_bytes (0: no bound) at a time. */
void copy_pacer_init(CopyPacer *p, int max_workers, int64_t max_bytes,
                     RateLimit *limit);
/* Resets a cancel or failure.  Nothing may be in flight. */
void copy_pacer_reset(CopyPacer *p);

/* Is there a speed limit? */
static inline bool copy_pacer_is_limited(const CopyPacer *p)
{
    return p->limit && ratelimit_is_set(p->limit);
}
/* Must no further area begin? */
static inline bool copy_pacer_must_stop(const CopyPacer *p)
{
    return p->cancelled || p->failed;
}

/* Waits for room; false: it was stopped. */
bool coroutine_fn copy_pacer_wait_room(CopyPacer *p);
/*
 * False: the speed allows an area now.  True: it did not, and the function has
 * slept until it does, or until copy_pacer_kick(): call it again.
 */
bool coroutine_fn copy_pacer_keep_speed(CopyPacer *p);
/*
 * An area of @bytes begins, and ends; @costs: it counts for the speed (areas
 * that are only skipped do not).
 */
void copy_pacer_begin(CopyPacer *p, int64_t bytes, bool costs);
void copy_pacer_end(CopyPacer *p, int64_t bytes);
/* Waits until nothing is in flight. */
void coroutine_fn copy_pacer_wait_all(CopyPacer *p);

/* No further area begins, because the run is cancelled. */
void copy_pacer_cancel(CopyPacer *p);
/* No further area begins, because one has failed. */
void copy_pacer_fail(CopyPacer *p);
/* To be called after a change of the speed: wakes the sleeper. */
void copy_pacer_kick(CopyPacer *p);

#endif
