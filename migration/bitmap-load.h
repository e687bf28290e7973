/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps that are received.  A bitmap exists from its START on, busy and not
 * recording.  When the machine starts it records, if it does at the source; one
 * that is not complete then goes on being received, and what the guest writes
 * is merged when it is.
 *
 * Main thread.
 */
#ifndef MIGRATION_BITMAP_LOAD_H
#define MIGRATION_BITMAP_LOAD_H

#include "stream.h"

typedef struct MigBitmapLoad MigBitmapLoad;

MigBitmapLoad *mig_bitmap_load_new(void);
/*
 * Bitmaps of a machine that has not started, and is not going to, are removed;
 * those that are not complete become inconsistent otherwise.  NULL is allowed.
 */
void mig_bitmap_load_free(MigBitmapLoad *l);
/* The content of one section.  False with an error. */
bool coroutine_fn mig_bitmap_load_section(MigBitmapLoad *l, MigReader *r,
                                          Error **errp);
/* Is everything there?  False with an error that names what is not. */
bool mig_bitmap_load_complete(const MigBitmapLoad *l, Error **errp);
/*
 * What persistent bitmaps survived at the source, and their names there, in a
 * description of the stream of @len bytes: they survive as much here, and one
 * that has another name here does not replace what the image has under it.
 * Anything else in it is ignored.  Outside coroutines, before the next
 * function.
 */
void mig_bitmap_load_describe(MigBitmapLoad *l, const uint8_t *text,
                              size_t len);
/*
 * Bitmaps record from now on if they shall: before the first image is
 * activated, as exports can write then.  Outside coroutines.
 */
void mig_bitmap_load_record(MigBitmapLoad *l);
/*
 * After that: the machine is about to start, or will not start but has
 * everything.  The images are active if they will be; outside coroutines.
 */
void mig_bitmap_load_hand_over(MigBitmapLoad *l);
/* The same, later: the images are active now. */
void mig_bitmap_load_activated(void);

#endif
