/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walker: what is left to copy, in areas of one kind.
 *
 * There are two sorts of it.  One walks the bits of an HBitmap, which others
 * may set and clear while it runs (the copy before a guest's write; a bitmap
 * that is refilled): whoever takes an area clears its bits, whoever fails sets
 * them again.  The other walks a span once, from its start to its end, and
 * keeps a list of what was put back.
 *
 * What kind of data there is says a callback.  Its answer is remembered for the
 * whole run that it describes, so that one question covers many areas: it must
 * hold as long as the run is left.
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
    COPY_SKIP,        /* the target has it already */
    COPY_UNALLOCATED, /* not in the source's own image, and not wanted */
    COPY_KINDS,
} CopyKind;

typedef struct CopyArea {
    int64_t offset, bytes;
    CopyKind kind;
    const void *from; /* whatever look() notes, for who moves it */
} CopyArea;

/*
 * Describes the run at @run->offset, of which @run->bytes (> 0) may be of
 * interest: sets the kind (and from), and shortens or lengthens the bytes (> 0)
 * to how far it goes.  0 or -errno.  May yield.
 */
typedef int coroutine_fn CopyLook(void *opaque, CopyArea *run);

typedef struct CopyWalker {
    /* --- set by copy_walker_init_*() --- */
    HBitmap *left;      /* the caller's; NULL: a span is walked */
    int64_t start, end; /* areas lie in between */
    int64_t size;       /* of the disk: there a unit may be cut short */
    int64_t unit;       /* areas are whole units */
    CopyLook *look;     /* NULL: all is data */
    void *opaque;       /* of look */

    /* --- while it walks --- */
    int64_t pos;   /* all before it was taken by somebody */
    CopyArea run;  /* what look() said last; 0 bytes: nothing */
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
/* Says how kinds are found; NULL: all is data. */
void copy_walker_set_look(CopyWalker *w, CopyLook *look, void *opaque);
void copy_walker_destroy(CopyWalker *w);

/* Begins anew at the start; of a span nothing that is done comes again. */
void copy_walker_rewind(CopyWalker *w);
/*
 * Takes the next area, at most @max[kind] bytes of it (> 0; at least one unit
 * is taken).  1; 0: nothing is left; -errno: it cannot be found out what is at
 * @area, which is left.
 */
int coroutine_fn copy_walker_next(CopyWalker *w, const int64_t *max,
                                  CopyArea *area);
/* Takes exactly this; false: (a part of) it is not left. */
bool copy_walker_take(CopyWalker *w, int64_t offset, int64_t bytes);
/* What was taken is left again, whoever took it. */
void copy_walker_put_back(CopyWalker *w, const CopyArea *area);
/* The area that copy_walker_next() gave last is the next one again. */
void copy_walker_unget(CopyWalker *w, const CopyArea *area);
/* A span passes it over, where it was put back or comes next. */
void copy_walker_pass(CopyWalker *w, int64_t offset, int64_t bytes);
/* Is anything left? */
bool copy_walker_more(const CopyWalker *w);

#endif
