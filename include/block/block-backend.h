/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A BlockBackend is a user's handle on a node: a device, an export, a job or a
 * tool.  It states the permissions the user needs, keeps its statistics and
 * error policy, and is the entry of its I/O.
 *
 * Offsets and lengths are bytes; I/O returns 0 or -errno.  -ENOMEDIUM if there
 * is no node.
 */
#ifndef BLOCK_BACKEND_H
#define BLOCK_BACKEND_H

#include "block/types.h"
#include "qapi/qapi-types-block-core.h"
#include "qapi/qapi-types-common.h"

typedef struct BlockDeviceTimedStatsList BlockDeviceTimedStatsList;
typedef struct uint64List uint64List;

/* A handle without a node, one reference. @perm, @shared: BLK_PERM_*. */
BlockBackend *blk_new(AioContext *ctx, uint64_t perm, uint64_t shared);
BlockBackend *blk_ref(BlockBackend *blk);
void blk_unref(BlockBackend *blk);
/* Handle on @bs. */
BlockBackend *blk_new_with_bs(BlockDriverState *bs, uint64_t perm,
                              uint64_t shared, Error **errp);
/*
 * The same for a user that works while @bs is drained, or stops by itself.
 * @user: its name for messages ("export 'x'"), copied; NULL: not known.
 */
BlockBackend *blk_new_unqueued(BlockDriverState *bs, uint64_t perm,
                               uint64_t shared, const char *user,
                               Error **errp);
bool blk_insert_bs(BlockBackend *blk, BlockDriverState *bs, Error **errp);
/* Its watchers are called before it is removed. */
void blk_remove_bs(BlockBackend *blk);

/* Is called when the node of a handle, its medium, is removed. */
typedef struct BlkMediumWatcher {
    /* Called once, before the removal; the watcher is unregistered then. */
    void (*removed)(struct BlkMediumWatcher *watcher);
    LIST_ENTRY(BlkMediumWatcher) next;
} BlkMediumWatcher;

/* @blk has a node; @watcher stays the caller's.  Main thread, as is removal. */
void blk_watch_medium(BlockBackend *blk, BlkMediumWatcher *watcher);
/* Only before it was called. */
void blk_unwatch_medium(BlkMediumWatcher *watcher);
/* Replaces the node by another; on failure the old one stays. */
bool blk_replace_bs(BlockBackend *blk, BlockDriverState *bs, Error **errp);
BlockDriverState *blk_bs(const BlockBackend *blk);
/* The edge, for bdrv_co_*() and host I/O; NULL without a node. */
BdrvChild *blk_root(const BlockBackend *blk);
AioContext *blk_get_aio_context(const BlockBackend *blk);
/* Moves the handle and its node to @ctx; fails if another user refuses. */
bool blk_set_aio_context(BlockBackend *blk, AioContext *ctx, Error **errp);
/* @fixed: from now on others cannot move the node, and a node that is inserted
 * is moved to the handle's context.  Else the handle follows its node. */
void blk_fix_aio_context(BlockBackend *blk, bool fixed);

/* Named handles are "devices" of query-block.  NULL removes the name. */
bool blk_set_name(BlockBackend *blk, const char *name, Error **errp);
const char *blk_name(const BlockBackend *blk);
BlockBackend *blk_by_name(const char *name);
BlockBackend *blk_next(BlockBackend *blk); /* over all handles; NULL starts */

bool blk_set_perm(BlockBackend *blk, uint64_t perm, uint64_t shared,
                  Error **errp);
/* The permissions set last, in force or not (without a node). */
void blk_get_perm(const BlockBackend *blk, uint64_t *perm, uint64_t *shared);

/* The state of a device. */
typedef struct BlockDevState {
    char *id;       /* name, or path in the tree of objects; caller frees */
    bool removable; /* its medium can be exchanged */
    bool has_tray;
    bool tray_open;
    bool locked;    /* the guest has locked the medium */
} BlockDevState;

/* Callbacks of the user; any may be NULL. */
typedef struct BlockDevOps {
    void (*drained_begin)(void *opaque); /* stop submitting requests */
    bool (*drained_poll)(void *opaque);  /* true: still busy */
    void (*drained_end)(void *opaque);
    void (*resize)(void *opaque);        /* size changed */
    /* As those of BdrvChildClass: the user moves to another context. */
    void (*detach_aio_context)(void *opaque);
    void (*attach_aio_context)(void *opaque, AioContext *ctx);
    char *(*desc)(void *opaque);         /* "block job 'x'", for messages */
    /* As that of BdrvChildClass: why the node cannot become inactive. */
    const char *(*keeps_active)(void *opaque);
    /* Only devices of a machine have it. */
    void (*device_state)(void *opaque, BlockDevState *state);
} BlockDevOps;
void blk_set_dev_ops(BlockBackend *blk, const BlockDevOps *ops, void *opaque);
/* False: the user is no device of a machine. */
bool blk_get_device_state(const BlockBackend *blk, BlockDevState *state);
/* Name of the device that uses it, or NULL; caller frees. */
char *blk_device_id(const BlockBackend *blk);

/* --- I/O --- */
/*
 * From the main thread: enters @entry(@opaque) as a coroutine in the thread of
 * @blk, at once or later.  Until it begins it counts as a request of @blk, for
 * which drains wait; it must begin with one of the requests below.
 */
void blk_enter_co(BlockBackend *blk, CoroutineEntry *entry, void *opaque);
int coroutine_fn blk_co_preadv(BlockBackend *blk, int64_t offset,
                               int64_t bytes, QEMUIOVector *qiov,
                               BdrvRequestFlags flags);
int coroutine_fn blk_co_pwritev(BlockBackend *blk, int64_t offset,
                                int64_t bytes, QEMUIOVector *qiov,
                                BdrvRequestFlags flags);
int coroutine_fn blk_co_pread(BlockBackend *blk, int64_t offset,
                              int64_t bytes, void *buf,
                              BdrvRequestFlags flags);
int coroutine_fn blk_co_pwrite(BlockBackend *blk, int64_t offset,
                               int64_t bytes, const void *buf,
                               BdrvRequestFlags flags);
int coroutine_fn blk_co_pwrite_zeroes(BlockBackend *blk, int64_t offset,
                                      int64_t bytes, BdrvRequestFlags flags);
int coroutine_fn blk_co_pdiscard(BlockBackend *blk, int64_t offset,
                                 int64_t bytes);
int coroutine_fn blk_co_flush(BlockBackend *blk);
/* Outside coroutines (polling), or inside. */
int coroutine_mixed_fn blk_pread(BlockBackend *blk, int64_t offset,
                                 int64_t bytes, void *buf,
                                 BdrvRequestFlags flags);
int coroutine_mixed_fn blk_pwrite(BlockBackend *blk, int64_t offset,
                                  int64_t bytes, const void *buf,
                                  BdrvRequestFlags flags);
int coroutine_mixed_fn blk_preadv(BlockBackend *blk, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  BdrvRequestFlags flags);
int coroutine_mixed_fn blk_pwritev(BlockBackend *blk, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   BdrvRequestFlags flags);
int coroutine_mixed_fn blk_pwrite_zeroes(BlockBackend *blk, int64_t offset,
                                         int64_t bytes,
                                         BdrvRequestFlags flags);
int coroutine_mixed_fn blk_pdiscard(BlockBackend *blk, int64_t offset,
                                    int64_t bytes);
int coroutine_mixed_fn blk_flush(BlockBackend *blk);
int coroutine_mixed_fn blk_truncate(BlockBackend *blk, int64_t offset,
                                    bool exact, PreallocMode prealloc,
                                    BdrvRequestFlags flags, Error **errp);
int64_t blk_getlength(BlockBackend *blk);
bool blk_is_writable(const BlockBackend *blk);
bool blk_is_available(const BlockBackend *blk);
/* Waits until this handle's requests have completed. */
void blk_drain(BlockBackend *blk);
/* Are requests in flight, or queued until the end of a drain? */
bool blk_is_busy(const BlockBackend *blk);
/* Every write is durable when it completes (writethrough). */
void blk_set_enable_write_cache(BlockBackend *blk, bool wce);
bool blk_enable_write_cache(const BlockBackend *blk);
/* Requests are not queued while the node is drained (a job that drains it). */
void blk_set_disable_request_queuing(BlockBackend *blk, bool disable);

/* --- error policy --- */
void blk_set_on_error(BlockBackend *blk, BlockdevOnError on_read_error,
                      BlockdevOnError on_write_error);
BlockdevOnError blk_get_on_error(const BlockBackend *blk, bool is_read);
/* The action of the policy for @error (> 0). */
BlockErrorAction blk_get_error_action(const BlockBackend *blk, bool is_read,
                                      int error);
void blk_iostatus_enable(BlockBackend *blk);
/* It is enabled, and a failure can stop the machine. */
bool blk_iostatus_is_enabled(const BlockBackend *blk);
void blk_iostatus_disable(BlockBackend *blk);
void blk_iostatus_reset(BlockBackend *blk);
void blk_iostatus_set_err(BlockBackend *blk, int error);
BlockDeviceIoStatus blk_iostatus(const BlockBackend *blk);

/* --- limits (block-backend-limits.c) --- */

/*
 * Makes @blk a member of the group called @group, which is created if there is
 * none (and is freed with its last member).  Delayed requests are resumed.
 */
bool blk_io_limits_enable(BlockBackend *blk, const char *group, Error **errp);
void blk_io_limits_disable(BlockBackend *blk);
/* Before the handle is freed: delayed requests resume, none is delayed. */
void blk_io_limits_let_pass(BlockBackend *blk);
/* The name of the group, or NULL. */
const char *blk_io_limits_group(const BlockBackend *blk);

/* --- accounting (accounting.c) --- */
typedef enum BlockAcctType {
    BLOCK_ACCT_READ,
    BLOCK_ACCT_WRITE,
    BLOCK_ACCT_FLUSH,
    BLOCK_ACCT_UNMAP,
    BLOCK_ACCT__MAX,
} BlockAcctType;

/* Requests counted by how long they took. */
typedef struct BlockHistogram {
    int n;                /* intervals; 0: nothing is counted */
    uint64_t *boundaries; /* n - 1 of them, rising, in nanoseconds */
    uint64_t *bins;       /* n of them */
} BlockHistogram;

/* How long requests took during the last interval. */
typedef struct BlockAcctInterval BlockAcctInterval;

typedef struct BlockAcctStats {
    uint64_t bytes[BLOCK_ACCT__MAX];
    uint64_t ops[BLOCK_ACCT__MAX];
    uint64_t failed[BLOCK_ACCT__MAX];
    uint64_t invalid[BLOCK_ACCT__MAX];
    uint64_t time_ns[BLOCK_ACCT__MAX];
    int64_t last_access_ns; /* of guest_clock_ns(); 0: never */
    BlockHistogram histogram[BLOCK_ACCT__MAX];
    LIST_HEAD(, BlockAcctInterval) intervals; /* the youngest first */
    /* Do such requests count as time spent and as the last access? */
    bool account_invalid, account_failed;
} BlockAcctStats;

/* State of a request between its start and its end, kept by the caller. */
typedef struct BlockAcctCookie {
    BlockAcctType type;
    int64_t bytes;
    int64_t start_ns;
} BlockAcctCookie;

/*
 * Requests of a guest are counted by the device that submits them, not by the
 * handle: those of jobs, exports and monitors are not the guest's.
 */
void block_acct_start(BlockAcctCookie *cookie, BlockAcctType type,
                      int64_t bytes);
/* @ret: of the request; negative: it failed. */
void block_acct_done(BlockAcctStats *stats, const BlockAcctCookie *cookie,
                     int ret);
/* An invalid request, refused by the device. */
void block_acct_invalid(BlockAcctStats *stats, BlockAcctType type);
/* From now on every request counts as taking @ns (0: as long as it takes):
 * for machines whose clock is held. */
void block_acct_fix_latency(int64_t ns);
/* Keeps minimum, average and maximum of the last @seconds (> 0). */
void block_acct_add_interval(BlockAcctStats *stats, uint32_t seconds);
/* For query-blockstats: in the order in which they were added. */
BlockDeviceTimedStatsList *block_acct_intervals(BlockAcctStats *stats);
/* Of this handle; lives as long as it. */
BlockAcctStats *blk_get_stats(BlockBackend *blk);
/*
 * Starts a histogram of @type; @boundaries NULL: removes it.  False if they are
 * not increasing.
 */
bool block_histogram_set(BlockAcctStats *stats, BlockAcctType type,
                         const uint64List *boundaries);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockBackend, blk_unref)

#endif
