/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walker: finds what is left to copy, in areas of one kind.
 *
 * There are two sorts of walkers.  One walks the bits of an HBitmap, which
 * others may set and clear while it runs (the copy before a guest's write; a
 * bitmap that is refilled): taking an area clears its bits, a failure sets them
 * again.  The other walks a span once, from its start to its end, and keeps a
 * list of the areas that were put back.
 *
 * A callback determines the kind of data.  Its answer is cached for the whole
 * run that it describes, so that one call covers many areas: it must stay valid
 * as long as the run is left.
 *
 * Offsets and lengths are bytes.  All fields and functions belong to the thread
 * of the coroutine that copies; none is locked.
 */
#ifndef BLOCK_COPY_WALKER_H
#define BLOCK_COPY_WALKER_H

#include "qemu/coroutine.h"
#include "qemu/hbitmap.h"

typedef enum CopyKind {
    COPY_DATA,
    COPY_ZERO,        /* reads as zeroes */
    COPY_SKIP,        /* already on the target */
    COPY_UNALLOCATED, /* not in the source's own image, and not to be copied */
    COPY_KINDS,
} CopyKind;

typedef struct CopyArea {
    int64_t offset, bytes;
    CopyKind kind;
    const void *from; /* set by look() for the mover */
} CopyArea;

/*
 * Describes the run at @run->offset, of which the caller needs at most
 * @run->bytes (> 0): sets the kind (and from), and shortens or lengthens the
 * bytes (> 0) to the end of the run.  0 or -errno.  May yield.
 */
typedef int coroutine_fn CopyLook(void *opaque, CopyArea *run);

typedef struct CopyWalker {
    /* --- set by copy_walker_init_*() --- */
    HBitmap *left;      /* the caller's; NULL: a span is walked */
    int64_t start, end; /* areas are in between */
    int64_t size;       /* of the disk: the last unit may be cut short */
    int64_t unit;       /* areas are whole units */
    CopyLook *look;     /* NULL: all is data */
    void *opaque;       /* of look */

    /* --- while it walks --- */
    int64_t pos;   /* all before it has been taken */
    CopyArea run;  /* the last answer of look(); 0 bytes: none */
    GArray *again; /* of CopyArea: put back; of a span only */
} CopyWalker;

/*
 * Walks what is set in @left from @start to @end; @unit is its granularity.
 * @look may be NULL.
 */
void copy_walker_init_bits(CopyWalker *w, HBitmap *left, int64_t start,
                           int64_t end);
/* Walks all from 0 to @size once, in order. */
void copy_walker_init_span(CopyWalker *w, int64_t size, int64_t unit);
/* Sets the callback that determines kinds; NULL: all is data. */
void copy_walker_set_look(CopyWalker *w, CopyLook *look, void *opaque);
void copy_walker_destroy(CopyWalker *w);

/* Restarts at the start; a span does not return areas that are done. */
void copy_walker_rewind(CopyWalker *w);
/*
 * Takes the next area, at most @max[kind] bytes of it (> 0; at least one unit
 * is taken).  1; 0: nothing is left; -errno: the kind of @area cannot be
 * determined, and it stays left.
 */
int coroutine_fn copy_walker_next(CopyWalker *w, const int64_t *max,
                                  CopyArea *area);
/* Takes exactly this range; false: (a part of) it is not left. */
bool copy_walker_take(CopyWalker *w, int64_t offset, int64_t bytes);
/* Makes an area left again that was taken by any caller. */
void copy_walker_put_back(CopyWalker *w, const CopyArea *area);
/* The area that copy_walker_next() returned last is the next one again. */
void copy_walker_unget(CopyWalker *w, const CopyArea *area);
/* A span skips this range, if it was put back or is next. */
void copy_walker_pass(CopyWalker *w, int64_t offset, int64_t bytes);
/* Is anything left? */
bool copy_walker_more(const CopyWalker *w);

#endif
