/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For authors of drivers (formats, protocols, filters): the table of callbacks
 * and the node they work on.
 *
 * A driver writes only the callbacks it changes.  The core checks state, range
 * and permissions, aligns requests to bl.request_alignment, splits them by the
 * limits, tracks them and marks dirty bitmaps before a driver sees them, so a
 * driver may be naive.  A filter (is_filter) that leaves a callback NULL has
 * it passed on to its filtered child.
 *
 * All offsets, lengths and limits are bytes.  Callbacks whose name starts with
 * co_ run in coroutines; the others run in the main thread, outside.
 * I/O callbacks return 0 or -errno.
 */
#ifndef BLOCK_DRIVER_H
#define BLOCK_DRIVER_H

#include "block/types.h"
#include "qapi/qapi-types.h"

/* Limits of a node; 0 means none (or, for alignments, 1). */
typedef struct BlockLimits {
    uint32_t request_alignment; /* offsets and lengths; power of two >= 1 */
    int64_t max_transfer;
    int64_t opt_transfer;
    int64_t max_pdiscard;
    uint32_t pdiscard_alignment;
    int64_t max_pwrite_zeroes;
    uint32_t pwrite_zeroes_alignment;
    size_t min_mem_alignment; /* of buffers, demanded */
    size_t opt_mem_alignment; /* of buffers, that bounce buffers get */
    int max_iov;
} BlockLimits;

typedef struct BlockDriverInfo {
    int64_t cluster_size;   /* 0: none */
    int64_t vm_state_offset;
    bool is_dirty;
} BlockDriverInfo;

/* What is seen through an edge after a change of the graph. */
typedef enum BdrvContent {
    BDRV_CONTENT_SAME,    /* the same bytes: a filter comes or goes, or a job
                             made them the same */
    BDRV_CONTENT_OVERLAY, /* an overlay comes or goes: the same as long as it
                             holds nothing, for which the user stands */
    BDRV_CONTENT_OTHER,   /* anything else, or nothing any more */
} BdrvContent;

/* What is about to happen to an edge whose parent is a node. */
typedef struct BdrvChildChange {
    const char *name; /* of the edge */
    BdrvChildRole role;
    /*
     * From where to where: @old_bs NULL: it is attached; @new_bs NULL: it is
     * detached; both the same: what is somewhere below the child changes.
     */
    BlockDriverState *old_bs, *new_bs;
    BdrvContent content;
} BdrvChildChange;

typedef enum BdrvConsent {
    BDRV_REFUSE, /* the whole change fails */
    BDRV_ACCEPT,
    BDRV_STAY,   /* the edge stays where it is, the rest goes on; refuses where
                    just this edge is to change */
} BdrvConsent;

/* What is to change of an existing image (qemu-img amend). */
typedef struct BdrvAmend {
    int version;        /* of the format; 0: stays */
    int lazy_refcounts; /* 0, 1; -1: stays */
    int refcount_bits;  /* 0: stays */
} BdrvAmend;

/* A node that is being reopened. */
typedef struct BdrvReopenState {
    BlockDriverState *bs;     /* read_only, cache_direct ...: as it will be */
    BlockdevOptions *options; /* the new ones; bs->options are still the old */
    void *opaque;             /* the driver's */
} BdrvReopenState;

/* What a check is to mend. */
enum {
    BDRV_FIX_LEAKS = 1 << 0,
    BDRV_FIX_ERRORS = 1 << 1,
};

typedef struct BdrvCheckResult {
    int64_t corruptions, leaks, check_errors;
    int64_t corruptions_fixed, leaks_fixed;
    int64_t image_end_offset; /* 0: not known */
    int64_t total_clusters, allocated_clusters, fragmented_clusters,
        compressed_clusters; /* total 0: not known */
} BdrvCheckResult;

struct BlockDriver {
    const char *format_name;   /* the `driver` option; never NULL */
    const char *protocol_name; /* prefix "name:" of file names, or NULL */
    size_t instance_size;      /* of bs->opaque, zeroed before open */
    bool is_filter;
    bool is_format;            /* has a `file` child with its own metadata */
    bool supports_backing;
    bool may_be_unallocated;   /* without backing files; a status that is
                                  neither DATA nor ZERO is meant like that */
    bool has_variable_length;  /* ask getlength each time (host_device) */
    /* Which flags the driver honours itself; the core emulates FUA. */
    unsigned supported_write_flags;
    unsigned supported_zero_flags;
    /*
     * Options (schema names, NULL-ended; children need no mention) that change
     * what is seen of the image: they go into file names made by json:{...}.
     * NULL: "filename" where there is such an option; nothing of a format that
     * has backing files; else all own options.  A filter with an empty list
     * goes by the name of its child.
     */
    const char *const *strong_options;
    /* Own options that reopen_prepare can change; the core refuses changes of
     * all others.  Node options and children need no mention. */
    const char *const *mutable_options;

    /* --- life cycle --- */

    /* 0..100: how sure that @buf (start of the image) is this format. */
    int (*probe)(const uint8_t *buf, size_t bytes, const char *filename);
    /* Protocols: does @filename (a path) need this driver? 0..100 */
    int (*probe_device)(const char *filename);
    /* Its own form of file name by bs->options, NULL where there is none for
     * them; caller frees.  For protocols without an option "filename". */
    char *(*make_filename)(BlockDriverState *bs);
    /* Fills the options of "prefix:..." file names. */
    bool (*parse_filename)(const char *filename, BlockdevOptions *options,
                           Error **errp);
    /* The reverse: a name that says all of @strong, the options that matter
     * and are set (children apart), or NULL where none can.  Caller frees. */
    char *(*short_filename)(const BlockDriverState *bs,
                            struct json_object *strong);
    /*
     * Opens its children with bdrv_open_child() and reads its metadata.  bs's
     * common fields (read_only, cache ...) are set already.  On failure what
     * was allocated below opaque must be freed; children are closed by the
     * caller.  Outside coroutines; use bdrv_pread() and the like.
     */
    int (*open)(BlockDriverState *bs, const BlockdevOptions *options,
                int flags, Error **errp);
    /* Stores what is to be stored and frees; cannot fail. */
    void (*close)(BlockDriverState *bs);
    /*
     * Change of options in place.  prepare checks and may write back
     * (e.g. store bitmaps when turning read-only); then commit or abort.
     * state->opaque is the driver's.
     */
    int (*reopen_prepare)(BdrvReopenState *state, Error **errp);
    void (*reopen_commit)(BdrvReopenState *state);
    void (*reopen_abort)(BdrvReopenState *state);
    /* After the commit of the whole queue, permissions in force. */
    void (*reopen_commit_post)(BdrvReopenState *state);
    /* Makes a new image. */
    int coroutine_fn (*co_create)(BlockdevCreateOptions *options,
                                  Error **errp);
    /* Needs: what to take of @child and to share, given the parents' wishes. */
    void (*child_perm)(BlockDriverState *bs, BdrvChild *child,
                       BdrvChildRole role, uint64_t perm, uint64_t shared,
                       uint64_t *nperm, uint64_t *nshared);
    /* Cumulative permissions of all parents change: check, then set or abort
     * (protocols take file locks). */
    int (*check_perm)(BlockDriverState *bs, uint64_t perm, uint64_t shared,
                      Error **errp);
    void (*set_perm)(BlockDriverState *bs, uint64_t perm, uint64_t shared);
    void (*abort_perm)(BlockDriverState *bs);
    /*
     * May a child change while the node is open?  Asked before it happens, with
     * the node drained; what the driver keeps of the old child it drops here or
     * in a step that it adds to @tran, which undoes it where the whole change
     * fails.  BDRV_REFUSE with @errp.  NULL: refuses.  For most there is one of
     * bdrv_child_change_filter() and the like.
     */
    BdrvConsent (*child_change)(BlockDriverState *bs,
                                const BdrvChildChange *change,
                                Transaction *tran, Error **errp);
    /* Adds own limits to bs->bl, which holds those of the children. */
    void (*refresh_limits)(BlockDriverState *bs, Error **errp);
    /* Requests stop coming / may come again. */
    void (*drain_begin)(BlockDriverState *bs);
    void (*drain_end)(BlockDriverState *bs);
    /*
     * The node, drained, goes to another thread: what it has in the loop of
     * its own (descriptors, timers, coroutines that wait for these) leaves it,
     * called there, and goes on in that of bs->ctx, called there.
     */
    void (*detach_aio_context)(BlockDriverState *bs);
    void (*attach_aio_context)(BlockDriverState *bs);
    /*
     * Somebody waits for the end of requests in flight here: those that the
     * driver holds back of its own will go on at once, and none is held back
     * while bdrv_is_awaited().  Must not wait.
     */
    void (*let_go)(BlockDriverState *bs);
    /*
     * Requests in flight that wait for something that may never come (for a
     * server that is gone) fail at once, and those on their way as soon as
     * they would have to wait so.  @co: only those made by this coroutine.
     * NULL: all, and those to come till it is there again; also called while
     * the driver's open polls the loop, which is
     * to fail then, and before a node without users is closed.  Must not wait.
     */
    void (*cancel_in_flight)(BlockDriverState *bs, Coroutine *co);

    /* --- I/O --- */

    int coroutine_fn (*co_preadv)(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags);
    int coroutine_fn (*co_pwritev)(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset, BdrvRequestFlags flags);
    /* Compressed; offset and length are whole clusters (or the end). */
    int coroutine_fn (*co_pwritev_compressed)(BlockDriverState *bs,
                                              int64_t offset, int64_t bytes,
                                              QEMUIOVector *qiov,
                                              size_t qiov_offset);
    /* -ENOTSUP: the core writes zeroes as data, unless NO_FALLBACK. */
    int coroutine_fn (*co_pwrite_zeroes)(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes,
                                         BdrvRequestFlags flags);
    /* -ENOTSUP is success: a discard is a hint. */
    int coroutine_fn (*co_pdiscard)(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes);
    /*
     * BDRV_BLOCK_* for the run that starts at @offset; *@pnum > 0 bytes of it,
     * at most @bytes.  *@map, *@file: where it lies, with OFFSET_VALID or RAW.
     * @want_zero false: the caller wants only allocation, answer fast.
     */
    int coroutine_fn (*co_block_status)(BlockDriverState *bs, bool want_zero,
                                        int64_t offset, int64_t bytes,
                                        int64_t *pnum, int64_t *map,
                                        BlockDriverState **file);
    /*
     * Hands all that is cached to the children (formats) or makes it durable
     * (protocols).  The core then flushes the children of data and metadata.
     */
    int coroutine_fn (*co_flush)(BlockDriverState *bs);
    /*
     * New size @offset; @exact false: a larger one will do.  New space reads
     * as zeroes if @flags has BDRV_REQ_ZERO_WRITE.
     */
    int coroutine_fn (*co_truncate)(BlockDriverState *bs, int64_t offset,
                                    bool exact, PreallocMode prealloc,
                                    BdrvRequestFlags flags, Error **errp);
    /* The node holds nothing any more: all shows its backing file. */
    int coroutine_fn (*co_make_empty)(BlockDriverState *bs);
    /*
     * Resolve the start of [@r->offset, +@r->bytes) to a host range: set
     * @r->host (rule 9 of block/request.h), or have the child do it by
     * bdrv_co_host_child().  -ENOTSUP: use the general path.  A write may
     * allocate.  @r->priv is the driver's until ..._end(), which is called
     * after each success; @result of a write is one of BDRV_HOST_*.  Reading:
     * the range must not be freed or reused before that.
     */
    int coroutine_fn (*co_host_read_begin)(BlockDriverState *bs,
                                           BdrvRequest *r);
    void coroutine_fn (*co_host_read_end)(BlockDriverState *bs,
                                          BdrvRequest *r);
    int coroutine_fn (*co_host_write_begin)(BlockDriverState *bs,
                                            BdrvRequest *r);
    int coroutine_fn (*co_host_write_end)(BlockDriverState *bs,
                                          BdrvRequest *r, int result);

    /* --- information and metadata --- */

    /* Bytes, or -errno. */
    int64_t (*getlength)(BlockDriverState *bs);
    /* Bytes on the host, or -errno. */
    int64_t (*get_allocated_file_size)(BlockDriverState *bs);
    int (*get_info)(BlockDriverState *bs, BlockDriverInfo *info);
    ImageInfoSpecific *(*get_specific_info)(BlockDriverState *bs,
                                            Error **errp);
    BlockStatsSpecific *(*get_specific_stats)(BlockDriverState *bs);
    BlockMeasureInfo *(*measure)(const BlockdevCreateOptions *options,
                                 BlockDriverState *in_bs, Error **errp);
    /* Looks for inconsistencies; @fix: BDRV_FIX_*. */
    int coroutine_fn (*co_check)(BlockDriverState *bs,
                                 BdrvCheckResult *result, int fix);
    /* Changes what was chosen when the image was made; all or nothing, as far
     * as it is checked beforehand. */
    int coroutine_fn (*co_amend)(BlockDriverState *bs,
                                 const struct BdrvAmend *amend, Error **errp);
    /* Writes a new backing file name into the header. */
    int (*change_backing_file)(BlockDriverState *bs, const char *backing_file,
                               const char *backing_fmt);
    bool (*has_zero_init)(BlockDriverState *bs);

    /* Images hold persistent dirty bitmaps: open attaches a store for them
     * (block/bitmap-store.h). */
    bool holds_bitmaps;
    /* Snapshots inside of the image (interface: block/snapshot.h). */
    const struct BdrvSnapshotOps *snapshot;

    /* blkdebug; events are BlkdebugEvent of the schema. */
    void (*debug_event)(BlockDriverState *bs, BlkdebugEvent event);
    int (*debug_breakpoint)(BlockDriverState *bs, const char *event,
                            const char *tag);
    int (*debug_remove_breakpoint)(BlockDriverState *bs, const char *tag);
    int (*debug_resume)(BlockDriverState *bs, const char *tag);
    bool (*debug_is_suspended)(BlockDriverState *bs, const char *tag);
};

/* An edge: @klass and @opaque are the parent, @bs is the child. */
struct BdrvChild {
    BlockDriverState *bs;
    char *name; /* "file", "backing", "root" ... */
    const BdrvChildClass *klass;
    void *opaque;
    BdrvChildRole role;
    uint64_t perm;   /* what the parent uses */
    uint64_t shared; /* what it lets other parents use */
    bool frozen;     /* may not be detached or replaced (a job relies on it) */
    bool quiesced;   /* the parent was told of the child's drain */
    LIST_ENTRY(BdrvChild) next;        /* among the parent node's children */
    LIST_ENTRY(BdrvChild) next_parent; /* among the child's parents */
};

/*
 * A node, as drivers and users see it; the core has more of it.
 *
 *        BlockBackend    BlockBackend        users
 *              \root       |root
 *             +-------------+
 *             | qcow2 node  |                parents: the edges above
 *             +-------------+                children: the edges below
 *              /file       \backing
 *      +-----------+     +---------+
 *      | file node |     |  ...    |
 *      +-----------+     +---------+
 */
struct BlockDriverState {
    /* --- set once while opening --- */
    const BlockDriver *drv; /* NULL: closed */
    void *opaque;           /* the driver's */
    AioContext *ctx;
    char node_name[32];
    int open_flags;
    bool probed;            /* format was guessed: guard the first sector */

    /* --- main thread; changed by reopen only --- */
    bool read_only;
    bool auto_read_only; /* may turn read-only where writing is not possible */
    bool cache_direct;
    bool cache_no_flush;
    bool discard_unmap;
    bool force_share;
    BlockdevDetectZeroesOptions detect_zeroes;
    BlockdevOptions *options; /* as given, completed; owned */
    char *filename;           /* by which it can be opened; "" if none */
    char *backing_file;       /* as in the image header; NULL: none */
    char *backing_format;     /* as in the image header; NULL: not named */

    /* --- main thread while it is alone; read by all: graph --- */
    BdrvChild *file;    /* the child with PRIMARY or FILTERED, or NULL */
    BdrvChild *backing; /* the COW child, or NULL */
    BlockLimits bl;

    /* --- the context's thread --- */
    int64_t total_bytes; /* size; requests beyond it are refused */
};

/* The table of all drivers (block/drivers.c), NULL at the end. */
extern const BlockDriver *const bdrv_drivers[];

/*
 * Default permissions for children, by role: filters pass on what their
 * parents want, formats take write/resize on their image, backing files are
 * only read.  For drivers' child_perm.
 */
void bdrv_default_perms(BlockDriverState *bs, BdrvChild *child,
                        BdrvChildRole role, uint64_t perm, uint64_t shared,
                        uint64_t *nperm, uint64_t *nshared);

/*
 * For drivers' child_change.  Of one that keeps something of its child's
 * content: filters may come and go.
 */
BdrvConsent bdrv_child_change_same(BlockDriverState *bs,
                                   const BdrvChildChange *change,
                                   Transaction *tran, Error **errp);
/* Of a filter that keeps nothing: any other child, but not none. */
BdrvConsent bdrv_child_change_filter(BlockDriverState *bs,
                                     const BdrvChildChange *change,
                                     Transaction *tran, Error **errp);
/* Of a format: any backing file or none; else as ..._same(). */
BdrvConsent bdrv_child_change_format(BlockDriverState *bs,
                                     const BdrvChildChange *change,
                                     Transaction *tran, Error **errp);
/* BDRV_REFUSE with a message that names node and child. */
BdrvConsent bdrv_child_change_refuse(BlockDriverState *bs,
                                     const BdrvChildChange *change,
                                     Error **errp);

/*
 * Opens the child that @ref names or describes and attaches it as @name.
 * @flags go to the opening.  Sets bs->file / bs->backing by role.  NULL with
 * @errp on failure.  Main thread, in a driver's open.
 */
BdrvChild *bdrv_open_child(BlockDriverState *bs, const BlockdevRef *ref,
                           const char *name, BdrvChildRole role,
                           Error **errp);

/* Passes @event to the blkdebug node below @child, if there is one. */
void bdrv_debug_event(BdrvChild *child, BlkdebugEvent event);

/* Reports corruption of an image: BLOCK_IMAGE_CORRUPTED. @offset/@size -1:
 * not known. */
void bdrv_signal_corruption(BlockDriverState *bs, bool fatal, int64_t offset,
                            int64_t size, const char *msg);

#endif
