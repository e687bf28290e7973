/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mover: gets areas from one node to the same place of another.
 *
 * Ways, in order of preference; each may decline, and the next one is tried:
 *
 *   zeroes   the source reads as zeroes: nothing is read
 *   offload  the host copies (where the user asked for it), until it cannot
 *   host     both ends are host files: worker threads do it all
 *   general  read into a buffer, write (compressed, zeroes as zeroes)
 *
 * A failure of `host` is tried again in the general way, which then tells whose
 * fault it is.
 *
 * Worker threads.  Pieces whose both ends are known to be host files wait in a
 * queue, which a few worker threads empty: one that has copied its piece takes
 * the next by itself and tells the thread of the mover in passing.  Each piece
 * has requests of its own on both nodes, and ends by itself: who waits for it
 * does not wait for others.  A piece that a guest waits for is moved to the
 * front of the queue.
 *
 * Offsets and lengths are bytes.  One thread, that of the coroutines which move
 * areas, but for the queue (block/copy-host.c).
 */
#ifndef BLOCK_COPY_MOVER_H
#define BLOCK_COPY_MOVER_H

#include "block/copy-walker.h"
#include "block/types.h"

typedef struct CopyMover CopyMover;

/* How it is to be done; all of it may be zero but @unit. */
typedef struct CopyMoverParams {
    /* The target's unit of allocation: shorter zeroes are just written. */
    int64_t unit;
    int64_t piece; /* bytes that are written at once, at least COPY_CHUNK */
    /* The source is below the target, which others read: serialise writes. */
    bool fleecing;
    bool compress;       /* write compressed */
    bool use_copy_range; /* try to have the host copy */
    /*
     * No backing file will ever show through the target, so that zeroes need
     * not be written where it holds nothing yet.
     */
    bool whole;
} CopyMoverParams;

/* Between edges of the caller, which outlive it.  @source may be NULL where
 * copy_mover_move_from() is called only. */
CopyMover *copy_mover_new(BdrvChild *source, BdrvChild *target,
                          const CopyMoverParams *params);
/* Nothing may be on its way.  NULL is allowed. */
void copy_mover_free(CopyMover *m);
/* Other parameters from now on.  Nothing may be on its way. */
void copy_mover_set_params(CopyMover *m, const CopyMoverParams *params);
const CopyMoverParams *copy_mover_params(const CopyMover *m);

/*
 * Moves @area, data or zeroes; @urgent: a guest waits for it.  0 or -errno,
 * with *@is_read telling which side failed; then any part of it may have been
 * written.
 */
int coroutine_fn copy_mover_move(CopyMover *m, const CopyArea *area,
                                 bool urgent, bool *is_read);
/* The same from another node than the mover's own. */
int coroutine_fn copy_mover_move_from(CopyMover *m, BdrvChild *source,
                                      const CopyArea *area, bool *is_read);
/*
 * For those who look for zeroes of their own size in the data, and who write in
 * a certain order.
 */
typedef struct CopyHostMove {
    BdrvChild *source;
    int64_t source_offset;
    int64_t offset, bytes; /* of the target; at most COPY_CHUNK */
    int64_t zero_unit;     /* no unit of zeroes may be in it; -1: all may be */
    /* Called when the target has given the range a place; may be NULL. */
    void (*placed)(void *opaque);
    void *opaque;
} CopyHostMove;

/*
 * Moves it from host file to host file as a whole.  False: that cannot be done
 * (nothing is said about why), it is to be moved otherwise.  *@mixed: there
 * are zeroes in it.
 */
bool coroutine_fn copy_mover_try_host(CopyMover *m, const CopyHostMove *h,
                                      bool *mixed);
/* A guest waits for what overlaps [@offset, +@bytes): that comes first. */
void copy_mover_hurry(CopyMover *m, int64_t offset, int64_t bytes);
/* Do host files make both ends, as far as the last area tells? */
bool copy_mover_is_fast(const CopyMover *m);
/* Bytes on their way that keep all its worker threads at work. */
int64_t copy_mover_fast_bytes(const CopyMover *m);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CopyMover, copy_mover_free)

#endif
