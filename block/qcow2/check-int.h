/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One look at all of an image, shared by the files that count references
 * (check-refs.c), compare them (check.c) and repair errors (repair.c).
 *
 * Rules of repairing, in the order in which it is done:
 *
 *  1. A count that does not fit the image's refcounts is never cut down: then
 *     nothing at all is written.
 *  2. What points past the end of the file goes first, so that nothing refers
 *     to clusters which the allocator may hand out; with it goes what points to
 *     metadata that is sure to be in its place.  Where a cluster is used in two
 *     ways and either may be wrong, both stay, and so does the error.  Data in
 *     the place of refcounts stays, too: those are built anew elsewhere.
 *  3. Refcounts that are too low are raised, or all of them built anew; only
 *     then may anything be allocated (a new table of snapshots).
 *     Bitmaps are the first to go: where one shares a cluster with anything
 *     else, it is dropped, and what refers to it is not followed.
 *  4. Refcounts that are too high fall last, and only where every reference
 *     could be followed: what is not referred to may belong to what is damaged.
 *  5. An error counts as repaired if a second look does not find it.
 */
#ifndef QCOW2_CHECK_INT_H
#define QCOW2_CHECK_INT_H

#include "block/graph.h"
#include "block/qcow2/qcow2-int.h"

/* An entry of an L1 or L2 table that can be replaced. */
typedef struct Qcow2Mend {
    uint64_t table;  /* offset of the cluster with the entry */
    uint64_t offset; /* of the entry, in the file */
    uint64_t value;  /* its new value: of an L2 entry, the descriptor ... */
    uint64_t bitmap; /* ... and the bitmap, if entries have one */
    uint32_t l1_index;
    bool active_l1;  /* it is entry @l1_index of the active L1 table */
    bool l1;         /* of an L1 table; nothing else may refer to its cluster */
    bool lost;       /* its target does not exist */
    bool metadata;   /* ... but is metadata, which has its place in the file */
    bool active;     /* the active disk has lost that data */
} Qcow2Mend;

/* Uses of a cluster: data may be of both kinds, others of one only. */
typedef enum Qcow2Use {
    QCOW2_USE_HEADER,
    QCOW2_USE_L1,
    QCOW2_USE_L2,
    QCOW2_USE_DATA,
    QCOW2_USE_COMPRESSED,
    QCOW2_USE_SNAPSHOTS,
    QCOW2_USE_BITMAP_DIR,
    QCOW2_USE_BITMAP_TABLE,
    QCOW2_USE_BITMAP_DATA,
    QCOW2_USE_REFTABLE,
    QCOW2_USE_REFBLOCK,
    QCOW2_USE_CRYPT,
    QCOW2_USE__MAX,
} Qcow2Use;

/* Metadata whose place is certain. */
typedef struct Qcow2Sure {
    Qcow2Use use;
    uint64_t offset, end; /* in the file, whole clusters; none: both 0 */
} Qcow2Sure;

/*
 * An entry of the refcount table that points to no refcount block.  During the
 * check it is 0 in memory, as using it would only report corruption.
 */
typedef struct Qcow2BadBlock {
    uint64_t index, value;
} Qcow2BadBlock;

typedef struct Qcow2Check {
    BlockDriverState *bs;
    Qcow2State *s;
    BdrvCheckResult *res;
    int fix;
    bool quiet;         /* count only, print nothing */
    uint32_t *counts;   /* references found, by host cluster */
    uint16_t *uses;     /* their uses, by host cluster: 1 << Qcow2Use */
    uint64_t clusters;  /* length of both arrays */
    int64_t file_end;   /* bytes, rounded up to clusters */
    uint64_t next_host; /* where the last data cluster ended */
    int64_t data_end;   /* bytes of an external data file */
    uint64_t past_data; /* clusters of data that begin after these */
    Qcow2Sure sure[5];
    GHashTable *l2_refs; /* &offset of an L2 table -> number of L1 entries */
    GArray *mends;      /* of Qcow2Mend */
    GArray *bad_blocks; /* of Qcow2BadBlock, or NULL */
    uint64_t low;       /* clusters whose refcount is too low */
    bool without_refcounts; /* their own clusters are freed: not counted */
    bool rebuild;       /* refcount blocks are missing or bad */
    bool cut;           /* something that stays is past the file's end */
    bool uncounted;     /* some references could not be followed */
    bool overflow;      /* a count does not fit the image's refcounts */
    bool bitmaps_bad;   /* some bitmaps are damaged, and may be dropped */
    bool bitmaps_left;  /* ... and others are not */
    GPtrArray *bitmaps; /* of Qcow2Bitmap: the directory, or NULL */
    bool opening;       /* damaged bitmaps are not dropped */
} Qcow2Check;

/* --- check.c --- */

/* Reports a corruption and counts it. */
void qcow2_check_found(Qcow2Check *c, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);
/* Prints a message on stderr, unless c->quiet is set. */
void qcow2_check_say(const Qcow2Check *c, const char *fmt, ...)
    G_GNUC_PRINTF(2, 3);
/* The count that a cluster must have: its references, or if not all of them are
 * known, at least its refcount. */
uint64_t coroutine_mixed_fn qcow2_check_final(Qcow2Check *c, uint64_t cluster);
/* Do only L1 tables refer to the L2 table at @l2? */
bool qcow2_check_is_l2(const Qcow2Check *c, uint64_t l2);
/*
 * Counts anew after repairs, without messages; keeps the fields set from
 * outside (bs, res, fix, quiet, without_refcounts), and rebuild.
 */
int coroutine_mixed_fn qcow2_check_recount(Qcow2Check *c);

/* There is a new refcount table: drops the bad entries of the old one. */
void qcow2_check_forget_bad_blocks(Qcow2Check *c);

/* --- check-refs.c --- */

/* Counts all references, and reports wrong ones. */
void coroutine_mixed_fn qcow2_check_count_all(Qcow2Check *c);

/* --- repair.c --- */

/* Repairs what @c found, as far as c->fix allows. */
int coroutine_mixed_fn qcow2_repair(Qcow2Check *c);

#endif
