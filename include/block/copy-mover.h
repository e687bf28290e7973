/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mover: transfers areas from one node to the same offset of another.
 *
 * Methods, in order of preference; each may decline, then the next is tried:
 *
 *   zeroes   the source reads as zeroes: nothing is read
 *   offload  the host copies (if the user asked for it), until it fails
 *   host     both ends are host files: worker threads read and write
 *   general  read into a buffer, write (compressed, zeroes as zeroes)
 *
 * A failure of `host` is retried by the general method, which then shows
 * whether the source or the target failed.
 *
 * Worker threads.  Pieces whose both ends are known to be host files wait in a
 * queue, which a few worker threads process: a worker that has copied its piece
 * takes the next by itself and notifies the thread of the mover.  Each piece
 * has requests of its own on both nodes, and completes by itself, so that its
 * waiters do not wait for other pieces.  A piece that a guest waits for is
 * moved to the front of the queue.
 *
 * Offsets and lengths are bytes.  One thread, that of the coroutines which move
 * areas, but for the queue (block/copy-host.c).
 */
#ifndef BLOCK_COPY_MOVER_H
#define BLOCK_COPY_MOVER_H

#include "block/copy-walker.h"
#include "block/types.h"

typedef struct CopyMover CopyMover;

/* Parameters; all but @unit may be zero. */
typedef struct CopyMoverParams {
    /* The target's unit of allocation: shorter zeroes are written as data. */
    int64_t unit;
    int64_t piece; /* bytes that are written at once, at least COPY_CHUNK */
    /* The source is below the target, which others read: serialise writes. */
    bool fleecing;
    bool compress;       /* write compressed */
    bool use_copy_range; /* try to offload copies to the host */
    /*
     * No backing file will ever show through the target, so that zeroes need
     * not be written where it has nothing allocated.
     */
    bool whole;
    bool no_unmap; /* zeroes must not free space of the target */
} CopyMoverParams;

/* Between edges of the caller, which outlive it.  @source may be NULL if only
 * copy_mover_move_from() is called. */
CopyMover *copy_mover_new(BdrvChild *source, BdrvChild *target,
                          const CopyMoverParams *params);
/* Nothing may be in flight.  NULL is allowed. */
void copy_mover_free(CopyMover *m);
/* Sets other parameters.  Nothing may be in flight. */
void copy_mover_set_params(CopyMover *m, const CopyMoverParams *params);
const CopyMoverParams *copy_mover_params(const CopyMover *m);
/* From now on zeroes are written even where the target reads as zeroes: what it
 * says may be the view of a cache that has lost writes. */
void copy_mover_write_all_zeroes(CopyMover *m);

/*
 * Moves @area, data or zeroes; @urgent: a guest waits for it.  0 or -errno,
 * *@is_read: the source failed, not the target; then any part of it may have
 * been written.
 */
int coroutine_fn copy_mover_move(CopyMover *m, const CopyArea *area,
                                 bool urgent, bool *is_read);
/* The same from another node than the mover's own. */
int coroutine_fn copy_mover_move_from(CopyMover *m, BdrvChild *source,
                                      const CopyArea *area, bool *is_read);
/*
 * For callers that detect zeroes in units of their own, and that write in a
 * certain order.
 */
typedef struct CopyHostMove {
    BdrvChild *source;
    int64_t source_offset;
    int64_t offset, bytes; /* of the target; at most COPY_CHUNK */
    int64_t zero_unit;     /* declines units of zeroes of this size; -1: none */
    /* Called when the target has allocated the range; may be NULL. */
    void (*placed)(void *opaque);
    void *opaque;
} CopyHostMove;

/*
 * Moves it from host file to host file as a whole.  False: that is not possible
 * (for whatever reason), and another method has to be used.  *@mixed: there are
 * zeroes in it.
 */
bool coroutine_fn copy_mover_try_host(CopyMover *m, const CopyHostMove *h,
                                      bool *mixed);
/* A guest waits for pieces that overlap [@offset, +@bytes): they go first. */
void copy_mover_hurry(CopyMover *m, int64_t offset, int64_t bytes);
/* Were both ends of the last area host files? */
bool copy_mover_is_fast(const CopyMover *m);
/* Bytes in flight that keep all its worker threads busy. */
int64_t copy_mover_fast_bytes(const CopyMover *m);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(CopyMover, copy_mover_free)

#endif
