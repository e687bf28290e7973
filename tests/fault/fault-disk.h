/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files in memory that fail on demand, in place of the driver `file`; and
 * allocations that fail on demand.
 *
 * One fault is armed at a time: the @n-th operation of a kind from then on
 * fails.  Tests increase n until the fault does not occur; so each point that
 * can fail is tested, without a list of them.  Main thread, but for
 * allocations, which are counted in all threads.
 */
#ifndef FAULT_DISK_H
#define FAULT_DISK_H

#include "block/driver.h"

typedef enum FaultKind {
    FAULT_OPEN,  /* opening or creating a file */
    FAULT_READ,
    FAULT_WRITE, /* data, zeroes, discard, size */
    FAULT_FLUSH,
    FAULT_ALLOC, /* of memory that the caller can do without */
    FAULT__MAX,
} FaultKind;

extern const char *const fault_kind_names[FAULT__MAX];

/* Fails the @n-th (from 1) operation of @kind; @stays: and later ones. */
void fault_arm(FaultKind kind, unsigned n, bool stays);
/* No more faults. */
void fault_disarm(void);
/* Between these calls nothing fails and nothing is counted. */
void fault_suspend(void);
void fault_resume(void);
/* Has the fault occurred since it was armed? */
bool fault_fired(void);

/*
 * From now on each request to the file @name fails, and is not counted; NULL:
 * to none.  A file of that name need not exist.
 */
void fault_disk_break(const char *name);

/* The driver, to be put into bdrv_drivers[]. */
extern const BlockDriver fault_file;

/*
 * From now on a request takes a random number of turns of the loop below
 * @turns; NULL: one turn.  The caller keeps @rand.
 */
void fault_disks_slow(GRand *rand, int turns);
/* Removes all files. */
void fault_disks_clear(void);
/* Keeps the files as they are now, for ..._restore(). */
void fault_disks_save(void);
void fault_disks_restore(void);
/* Calls @fn for each file. */
void fault_disks_foreach(void (*fn)(const char *name, void *opaque),
                         void *opaque);

#endif
