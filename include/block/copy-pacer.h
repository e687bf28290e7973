/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The pacer: how much is copied at a time, how fast, and when it stops.
 *
 * It counts the areas on their way.  Before another one begins, who hands them
 * out waits until there is room: fewer areas than workers, and fewer bytes than
 * the bound on memory allows.  A speed is kept by sleeping between two areas.
 * Being told to stop ends both kinds of waiting; what is on its way goes on to
 * its end.
 *
 * All belongs to the thread of the coroutine that copies.  What another thread
 * may do is said at the function.
 */
#ifndef BLOCK_COPY_PACER_H
#define BLOCK_COPY_PACER_H

#include "qemu/coroutine.h"
#include "qemu/ratelimit.h"

typedef struct CopyPacer {
    /* --- set once, before anything is copied --- */
    int max_workers;   /* areas on their way at a time, >= 1 */
    int64_t max_bytes; /* no area begins where so many are; 0: no bound */
    RateLimit *limit;  /* NULL: as fast as it goes */

    /* --- while copying --- */
    int in_flight;           /* areas */
    int64_t in_flight_bytes;
    CoQueue room;            /* who waits for the end of an area */
    CoSleep sleep;           /* who keeps the speed; set while it sleeps */
    bool cancelled;          /* by copy_pacer_cancel() */
    bool failed;             /* by copy_pacer_fail() */
} CopyPacer;

/* At most @max_workers areas and @max_bytes (0: no bound) at a time. */
void copy_pacer_init(CopyPacer *p, int max_workers, int64_t max_bytes,
                     RateLimit *limit);
/* Forgets that it was told to stop.  Nothing may be on its way. */
void copy_pacer_reset(CopyPacer *p);

/* Does a speed hold? */
static inline bool copy_pacer_is_limited(const CopyPacer *p)
{
    return p->limit && ratelimit_is_set(p->limit);
}
/* Is nothing more to begin? */
static inline bool copy_pacer_must_stop(const CopyPacer *p)
{
    return p->cancelled || p->failed;
}

/* Waits for room; false: it was told to stop. */
bool coroutine_fn copy_pacer_wait_room(CopyPacer *p);
/*
 * False: the speed allows an area now.  True: it did not, and has slept as long
 * as that takes, or until copy_pacer_kick(): look again.
 */
bool coroutine_fn copy_pacer_keep_speed(CopyPacer *p);
/*
 * An area of @bytes begins, and ends; @costs: it counts for the speed, which
 * nothing that is only passed over does.
 */
void copy_pacer_begin(CopyPacer *p, int64_t bytes, bool costs);
void copy_pacer_end(CopyPacer *p, int64_t bytes);
/* Waits until nothing is on its way. */
void coroutine_fn copy_pacer_wait_all(CopyPacer *p);

/* Begins nothing more, as somebody says so. */
void copy_pacer_cancel(CopyPacer *p);
/* Begins nothing more, as something failed. */
void copy_pacer_fail(CopyPacer *p);
/* To be called where the speed was changed: who sleeps looks anew. */
void copy_pacer_kick(CopyPacer *p);

#endif
