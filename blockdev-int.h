/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The structure of the QMP front end: every command that can be part of a
 * transaction is an action, and alone it is a transaction of one.
 */
#ifndef BLOCKDEV_INT_H
#define BLOCKDEV_INT_H

#include "block/graph.h"
#include "blockdev/blockdev.h"
#include "job/job.h"
#include "qapi/qapi-types-block-job.h"
#include "qapi/qapi-types-transaction.h"
#include "qapi/type.h"
#include "qemu/transactions.h"

typedef struct IothreadProperties IothreadProperties;
typedef struct ObjectOptions ObjectOptions;

/* State shared by the actions of one transaction. */
typedef struct BlockdevTransaction {
    Transaction *tran; /* steps are added here by prepare */
    JobTxn *job_txn;   /* NULL with completion-mode individual */
} BlockdevTransaction;

/* When the effect of an action is complete. */
typedef enum BlockdevActionClass {
    BLOCKDEV_ACTION_AT_ONCE, /* with the transaction */
    BLOCKDEV_ACTION_JOB,     /* it starts a job, which ends later */
    BLOCKDEV_ACTION_FAILS,   /* never: the action always fails */
} BlockdevActionClass;

/* A row of the table in blockdev-transaction.c. */
typedef struct BlockdevActionOps {
    TransactionActionKind kind;
    BlockdevActionClass class;
    /* Executes the step, adding to btx->tran what commits or undoes it. */
    bool (*prepare)(const TransactionAction *action, BlockdevTransaction *btx,
                    Error **errp);
} BlockdevActionOps;

/* Runs @action alone. */
bool blockdev_run_action(TransactionAction *action, Error **errp);

/* blockdev-object.c; NULL: no such object. */
ObjectOptions *blockdev_find_object(const char *id);
/* blockdev-qom-types.c */
/* As properties of objects have it: "string", "int" or the schema's name. */
const char *blockdev_qom_type_name(const QapiType *type);
/* blockdev-iothread.c */
/* Can an iothread have each of the values of @props? */
bool blockdev_iothread_check(IothreadProperties *props, Error **errp);
/* Starts the thread; @props get defaults if they have no value. */
bool blockdev_iothread_add(const char *id, IothreadProperties *props,
                           Error **errp);
bool blockdev_iothread_has_prop(const char *name);
/* On failure nothing has changed. */
bool blockdev_iothread_set(const char *id, IothreadProperties *props,
                           const char *name, struct json_object *value,
                           Error **errp);
/* False with @errp, which names a user, if there is one. */
bool blockdev_iothread_del(const char *id, Error **errp);

/* blockdev-bitmap.c */
bool blockdev_action_bitmap_add(const TransactionAction *action,
                                BlockdevTransaction *btx, Error **errp);
bool blockdev_action_bitmap_remove(const TransactionAction *action,
                                   BlockdevTransaction *btx, Error **errp);
bool blockdev_action_bitmap_clear(const TransactionAction *action,
                                  BlockdevTransaction *btx, Error **errp);
bool blockdev_action_bitmap_enable(const TransactionAction *action,
                                   BlockdevTransaction *btx, Error **errp);
bool blockdev_action_bitmap_disable(const TransactionAction *action,
                                    BlockdevTransaction *btx, Error **errp);
bool blockdev_action_bitmap_set_persistent(const TransactionAction *action,
                                           BlockdevTransaction *btx,
                                           Error **errp);
bool blockdev_action_bitmap_merge(const TransactionAction *action,
                                  BlockdevTransaction *btx, Error **errp);
/* blockdev-target.c */
/* A file to copy to. */
typedef struct BlockdevTarget {
    const char *filename;
    const char *format;    /* NULL: that of the source, or probed */
    const char *node_name; /* NULL: one is generated */
    NewImageMode mode;
    MirrorSyncMode sync;   /* determines the backing file of a new image */
    int flags;             /* BDRV_O_*, in addition to those of the source */
} BlockdevTarget;
/* Creates it if @t->mode says so, and opens it.  A new reference or NULL. */
BlockDriverState *blockdev_open_target(const BlockdevTarget *t,
                                       BlockDriverState *source, Error **errp);
/* blockdev-job.c */
bool blockdev_action_backup(const TransactionAction *action,
                            BlockdevTransaction *btx, Error **errp);
/* State of a backup action until the end of the transaction. */
typedef struct BlockdevBackupStep BlockdevBackupStep;
/* Drains @source until @btx ends, which frees the result. */
BlockdevBackupStep *blockdev_begin_backup(BlockDriverState *source,
                                          BlockdevTransaction *btx);
/* The body of both backup commands; the job starts if @btx is committed. */
bool blockdev_do_backup(BlockdevBackupStep *step, const BackupCommon *opts,
                        BlockDriverState *target, BlockdevTransaction *btx,
                        Error **errp);
/* blockdev-compat.c */
bool blockdev_action_drive_backup(const TransactionAction *action,
                                  BlockdevTransaction *btx, Error **errp);
/* blockdev-snapshot.c */
/* Is @bs the top of its chain, with no node above it? */
bool blockdev_check_root(BlockDriverState *bs, Error **errp);
bool blockdev_action_snapshot(const TransactionAction *action,
                              BlockdevTransaction *btx, Error **errp);
bool blockdev_action_snapshot_sync(const TransactionAction *action,
                                   BlockdevTransaction *btx, Error **errp);
/* blockdev-snapshot-internal.c */
bool blockdev_action_snapshot_internal(const TransactionAction *action,
                                       BlockdevTransaction *btx, Error **errp);

#endif
