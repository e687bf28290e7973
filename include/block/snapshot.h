/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots inside of an image: states of its disk that were kept, each with
 * an ID, a name, and maybe the state of a machine.
 *
 * A node that has none of its own passes the request on to the one below it
 * (filters; a format whose only child is what it shows).  All here runs in the
 * main thread, outside of coroutines.  Sizes are in bytes.
 */
#ifndef BLOCK_SNAPSHOT_H
#define BLOCK_SNAPSHOT_H

#include "block/types.h"

typedef struct SnapshotInfo SnapshotInfo;
typedef struct SnapshotInfoList SnapshotInfoList;

/* What the table of an image can hold. */
#define BDRV_MAX_SNAPSHOT_NAME 255 /* bytes, of names that we make */
#define BDRV_SNAPSHOT_NO_ICOUNT UINT64_MAX

typedef struct BdrvSnapshot {
    char *id, *name;         /* owned; id NULL: to be chosen */
    uint64_t vm_state_size;  /* 0: of the disk only */
    uint32_t date_sec, date_nsec; /* since 1970 */
    uint64_t vm_clock_nsec;
    uint64_t icount;         /* BDRV_SNAPSHOT_NO_ICOUNT: none */
} BdrvSnapshot;

/*
 * What a driver that has snapshots offers.  The node is drained; @index counts
 * in the order of the list.  Those that change the image do all or nothing,
 * also where they fail or the process ends in between.
 */
typedef struct BdrvSnapshotOps {
    /* An array of BdrvSnapshot *, owned by the caller. */
    GPtrArray *(*list)(BlockDriverState *bs);
    /* Sets @sn->id.  @vm_state: sn->vm_state_size bytes. */
    int coroutine_fn (*co_create)(BlockDriverState *bs, BdrvSnapshot *sn,
                                  const void *vm_state, Error **errp);
    /* The disk becomes what the snapshot has; its size may change. */
    int coroutine_fn (*co_goto)(BlockDriverState *bs, unsigned index,
                                Error **errp);
    int coroutine_fn (*co_delete)(BlockDriverState *bs, unsigned index,
                                  Error **errp);
    /* Shows the snapshot from now on; the node is read-only. */
    int coroutine_fn (*co_load_tmp)(BlockDriverState *bs, unsigned index,
                                    Error **errp);
    /* Reads the first @bytes of the machine's state. */
    int coroutine_fn (*co_read_vm_state)(BlockDriverState *bs, unsigned index,
                                         void *buf, size_t bytes,
                                         Error **errp);
} BdrvSnapshotOps;

/* A snapshot to be made now, called @name; free with bdrv_snapshot_free(). */
BdrvSnapshot *bdrv_snapshot_new(const char *name);
BdrvSnapshot *bdrv_snapshot_copy(const BdrvSnapshot *sn);
void bdrv_snapshot_free(BdrvSnapshot *sn);

/* Can snapshots be made (there is a driver for it, and it is writable)? */
bool bdrv_can_snapshot(BlockDriverState *bs);
/* The snapshots, oldest first; NULL where the format has none (-ENOTSUP). */
GPtrArray *bdrv_snapshot_list(BlockDriverState *bs, int *ret);
/* In such a list, by @id and @name (each may be NULL: any); -1: none. */
int bdrv_snapshot_find(const GPtrArray *list, const char *id,
                       const char *name);

/*
 * 0, or -errno with @errp set; then nothing has changed.  @sn gets its ID.
 * @vm_state: sn->vm_state_size bytes to keep with it.
 */
int bdrv_snapshot_create(BlockDriverState *bs, BdrvSnapshot *sn,
                         const void *vm_state, Error **errp);
/* Refused while anything follows the changes of the disk (bitmaps, jobs). */
int bdrv_snapshot_goto(BlockDriverState *bs, const char *id_or_name,
                       Error **errp);
/* -ENOENT: there is none that has @id and @name (one may be NULL). */
int bdrv_snapshot_delete(BlockDriverState *bs, const char *id,
                         const char *name, Error **errp);
/* As bdrv_snapshot_find() finds it; for a node that is read-only. */
int bdrv_snapshot_load_tmp(BlockDriverState *bs, const char *id,
                           const char *name, Error **errp);
/* The machine's state of the snapshot called @name into @buf. */
int bdrv_snapshot_read_vm_state(BlockDriverState *bs, const char *name,
                                void *buf, size_t bytes, Error **errp);

/* For the query commands. */
SnapshotInfo *bdrv_snapshot_info(const BdrvSnapshot *sn);
/* NULL where there are none, or the format has none. */
SnapshotInfoList *bdrv_snapshot_infos(BlockDriverState *bs);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BdrvSnapshot, bdrv_snapshot_free)

#endif
