/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: saved states of an image's disk, each with an ID, a name,
 * and optionally the state of a machine.
 *
 * A node that cannot have any passes the call on to the one below it (filters;
 * a format that only shows its single child).  All functions are for the main
 * thread, outside of coroutines.  Sizes are in bytes.
 */
#ifndef BLOCK_SNAPSHOT_H
#define BLOCK_SNAPSHOT_H

#include "block/types.h"

typedef struct SnapshotInfo SnapshotInfo;
typedef struct SnapshotInfoList SnapshotInfoList;

/* An entry of an image's snapshot table. */
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
 * Operations of a driver that has snapshots.  The node is drained; @index
 * counts in the order of the list.  Operations that change the image are
 * atomic, also if they fail or the process ends meanwhile.
 */
typedef struct BdrvSnapshotOps {
    /* An array of BdrvSnapshot *, owned by the caller. */
    GPtrArray *(*list)(BlockDriverState *bs);
    /* Can this image have snapshots? */
    bool (*possible)(BlockDriverState *bs);
    /* Sets @sn->id.  @vm_state: sn->vm_state_size bytes. */
    int coroutine_fn (*co_create)(BlockDriverState *bs, BdrvSnapshot *sn,
                                  const void *vm_state, Error **errp);
    /* The disk gets the content of the snapshot; its size may change. */
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
    /*
     * The place that the disk itself has for a machine's state: @offset and
     * @bytes are multiples of BDRV_SECTOR_SIZE.  What was never written reads
     * as zeroes.  0 or -errno.
     */
    int coroutine_fn (*co_vm_state_pread)(BlockDriverState *bs, int64_t offset,
                                          void *buf, size_t bytes);
    int coroutine_fn (*co_vm_state_pwrite)(BlockDriverState *bs,
                                           int64_t offset, const void *buf,
                                           size_t bytes);
} BdrvSnapshotOps;

/* A snapshot to be created, called @name; free with bdrv_snapshot_free(). */
BdrvSnapshot *bdrv_snapshot_new(const char *name);
BdrvSnapshot *bdrv_snapshot_copy(const BdrvSnapshot *sn);
void bdrv_snapshot_free(BdrvSnapshot *sn);

/* Can snapshots be created (the driver has them, and the node is writable)? */
bool bdrv_can_snapshot(BlockDriverState *bs);
/*
 * @bs gets another backing file, under which the disk stays the same, but where
 * its snapshots have no data of their own they show that of the new one: warns,
 * if there are any.
 */
void bdrv_warn_of_snapshots(BlockDriverState *bs);
/* The snapshots, oldest first; NULL if the format has none (-ENOTSUP). */
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
/* Refused while changes of the disk are tracked (bitmaps, jobs). */
int bdrv_snapshot_goto(BlockDriverState *bs, const char *id_or_name,
                       Error **errp);
/* -ENOENT: there is none that has @id and @name (one may be NULL). */
int bdrv_snapshot_delete(BlockDriverState *bs, const char *id,
                         const char *name, Error **errp);
/* Found as by bdrv_snapshot_find(); for a node that is read-only. */
int bdrv_snapshot_load_tmp(BlockDriverState *bs, const char *id,
                           const char *name, Error **errp);
/* The machine's state of the snapshot called @name into @buf. */
int bdrv_snapshot_read_vm_state(BlockDriverState *bs, const char *name,
                                void *buf, size_t bytes, Error **errp);

/*
 * The place that formats with snapshots have for a machine's state beside the
 * disk, which the next snapshot takes over.  @offset >= 0, @bytes: multiples of
 * BDRV_SECTOR_SIZE; no request may be in flight that the caller waits for.  0,
 * or -errno: -ENOTSUP where there is no such place.  Main thread.
 */
int bdrv_vm_state_pread(BlockDriverState *bs, int64_t offset, void *buf,
                        size_t bytes);
int bdrv_vm_state_pwrite(BlockDriverState *bs, int64_t offset, const void *buf,
                         size_t bytes);

/* For the query commands. */
SnapshotInfo *bdrv_snapshot_info(const BdrvSnapshot *sn);
/* NULL if there are none, or the format has none. */
SnapshotInfoList *bdrv_snapshot_infos(BlockDriverState *bs);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BdrvSnapshot, bdrv_snapshot_free)

#endif
