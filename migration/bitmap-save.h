/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bitmaps that are sent.  They are busy, and record, as long as this exists.
 * What was sent is sent again if it changed: a meta bitmap of each has the
 * chunks that are still to be sent.
 *
 * Main thread.  The functions that read bits are called while it is exclusive.
 */
#ifndef MIGRATION_BITMAP_SAVE_H
#define MIGRATION_BITMAP_SAVE_H

#include "qemu/error.h"

typedef struct MigBitmapSave MigBitmapSave;

/*
 * All bitmaps that are to migrate; none if capability dirty-bitmaps is off.
 * Reports those that will be dropped.  NULL with an error.
 */
MigBitmapSave *mig_bitmap_save_new(Error **errp);
/* The bitmaps are not busy any more.  NULL is allowed. */
void mig_bitmap_save_free(MigBitmapSave *s);
/*
 * The bitmaps are not used any more, and not busy, so that the images can
 * become inactive; what is still to be sent is copied.  False with an error.
 */
bool mig_bitmap_save_detach(MigBitmapSave *s, Error **errp);
/* The images are active here again: they hold their bitmaps as before. */
void mig_bitmap_save_restore(MigBitmapSave *s);
bool mig_bitmap_save_empty(const MigBitmapSave *s);
/*
 * What persistent bitmaps survive at this side, as a JSON array of objects with
 * the aliases "node" and "name" and a BitmapSafety "safety"; to be freed.
 */
char *mig_bitmap_save_describe(const MigBitmapSave *s);
/* Again, before the machine changes over: for bitmaps that were added. */
bool mig_bitmap_save_check_dropped(MigBitmapSave *s, Error **errp);

/* The content of the sections, at the end of @out: the first one; */
void mig_bitmap_save_start(MigBitmapSave *s, GByteArray *out);
/*
 * about @limit bytes, of what is still to be sent.  False with an error: a disk
 * has changed its size.  *@round: all bitmaps were visited once more;
 */
bool mig_bitmap_save_part(MigBitmapSave *s, GByteArray *out, size_t limit,
                          bool *round, Error **errp);
/* the last one: what is still to be sent, and that there
 * is no more. */
bool mig_bitmap_save_end(MigBitmapSave *s, GByteArray *out, Error **errp);
/* Bytes that are still to be sent, at most. */
uint64_t mig_bitmap_save_pending(const MigBitmapSave *s);

#endif
