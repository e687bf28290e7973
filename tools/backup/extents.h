/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Lists of parts of a disk: in rising order, without overlaps. */
#ifndef TOOLS_BACKUP_EXTENTS_H
#define TOOLS_BACKUP_EXTENTS_H

#include "block/block-backend.h"
#include "contents.h"
#include "folder.h"

/* All of a disk of @size bytes. */
BackupExtentList *extents_all(int64_t size);
/* What is in one of the two, and below @limit.  A new list. */
BackupExtentList *extents_union(const BackupExtentList *a,
                                const BackupExtentList *b, int64_t limit);
/* What is in @a and not in @b, and below @limit.  A new list. */
BackupExtentList *extents_minus(const BackupExtentList *a,
                                const BackupExtentList *b, int64_t limit);
/* The sum of the lengths. */
int64_t extents_total(const BackupExtentList *list);

/*
 * Copies these parts, zeroes as such, and flushes @to.  False with @errp, also
 * after a signal.
 */
bool extents_copy(const BackupExtentList *list, BlockBackend *from,
                  BlockBackend *to, ContentsProgress *progress, void *opaque,
                  Error **errp);

/* A part of a disk, and where it is. */
typedef struct ExtentsLayer {
    const Backup *backup;    /* of a chain of raw files */
    BackupDisk *disk;        /* in it */
    BackupExtentList *parts; /* that no later one in the chain has */
} ExtentsLayer;

/*
 * What of disk @name is where, for the last of @chain, as backup_chain() gives
 * it; an array of ExtentsLayer, which extents_free_layers() frees.
 */
GArray *extents_layers(const BackupFolder *f, const GPtrArray *chain,
                       const char *name);
void extents_free_layers(GArray *layers);
/*
 * The parts of disk @d that the file of @b has: those of its manifest, and of a
 * parent that it was merged with just before an interruption.  A new list.
 */
BackupExtentList *extents_of(const BackupFolder *f, const Backup *b,
                             const BackupDisk *d);

#endif
