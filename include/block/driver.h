/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For authors of drivers (formats, protocols, filters): the table of callbacks
 * and the node they work on.
 *
 * A driver defines only the callbacks it needs.  The core checks state, range
 * and permissions, aligns requests to bl.request_alignment, splits them by the
 * limits, tracks them and marks dirty bitmaps before a driver sees them, so a
 * driver does none of this.  If a filter (is_filter) leaves a callback NULL,
 * the call is passed on to its filtered child.
 *
 * All offsets, lengths and limits are bytes.  Callbacks whose name starts with
 * co_ run in coroutines; the others run in the main thread, outside.
 * I/O callbacks return 0 or -errno.
 */
#ifndef BLOCK_DRIVER_H
#define BLOCK_DRIVER_H

#include "block/types.h"
#include "qapi/qapi-types-block-core.h"
#include "qapi/qapi-types-common.h"

typedef struct BlockMeasureInfo BlockMeasureInfo;
typedef struct BlockStatsSpecific BlockStatsSpecific;
typedef struct BlockdevCreateOptions BlockdevCreateOptions;
typedef struct ImageInfoSpecific ImageInfoSpecific;
typedef struct QCryptoBlockAmendOptionsLUKS QCryptoBlockAmendOptionsLUKS;

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

/*
 * What tells whether the storage of a node is the one that it was, and whether
 * another program has changed it; see bdrv_get_identity().
 */
typedef enum BdrvIdentityKind {
    BDRV_IDENTITY_NONE,   /* nothing is known of it (a server, several files) */
    BDRV_IDENTITY_FILE,
    BDRV_IDENTITY_DEVICE, /* mtime and inode do not count */
} BdrvIdentityKind;

typedef struct BdrvIdentity {
    BdrvIdentityKind kind;
    uint64_t bytes;  /* of the file or device */
    uint64_t device; /* as of stat(2): with the file, or the device itself */
    uint64_t inode;
    int64_t mtime_s; /* of the content */
    uint32_t mtime_ns;
} BdrvIdentity;

/* The content that an edge shows after a change of the graph. */
typedef enum BdrvContent {
    BDRV_CONTENT_SAME,    /* the same bytes: a filter is inserted or removed,
                             or a job made them the same */
    BDRV_CONTENT_OVERLAY, /* an overlay is inserted or removed: the same as long
                             as it is empty, which the user guarantees */
    BDRV_CONTENT_OTHER,   /* other content, or none */
} BdrvContent;

/* A planned change of an edge whose parent is a node. */
typedef struct BdrvChildChange {
    const char *name; /* of the edge */
    BdrvChildRole role;
    /*
     * The old and the new child.  @old_bs NULL: the edge is attached; @new_bs
     * NULL: it is detached; both the same: a node below the child changes.
     */
    BlockDriverState *old_bs, *new_bs;
    BdrvContent content;
} BdrvChildChange;

typedef enum BdrvConsent {
    BDRV_REFUSE, /* the whole change fails */
    BDRV_ACCEPT,
    BDRV_STAY,   /* the edge stays where it is, other edges change; if only
                    this edge is to change, it refuses */
} BdrvConsent;

/* Changes of an existing image (qemu-img amend). */
typedef struct BdrvAmend {
    int version;        /* of the format; 0: unchanged */
    int lazy_refcounts; /* 0, 1; -1: unchanged */
    int refcount_bits;  /* 0: unchanged */
    const char *data_file; /* name of the external data file; "": none is in
                              the image; NULL: unchanged */
    bool has_data_file_raw, data_file_raw; /* false: it may differ from the
                                              disk from now on */
    const QCryptoBlockAmendOptionsLUKS *luks; /* keys; NULL: unchanged */
    bool force;         /* even if the content becomes unreadable */
} BdrvAmend;

/* A node that is being reopened. */
typedef struct BdrvReopenState {
    BlockDriverState *bs;     /* read_only, cache_direct ...: already new */
    BlockdevOptions *options; /* the new ones; bs->options are still the old */
    void *opaque;             /* the driver's */
} BdrvReopenState;

/* What a check shall repair. */
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
    bool may_be_unallocated;   /* without backing files: a status that is
                                  neither DATA nor ZERO means unallocated */
    bool has_variable_length;  /* ask getlength each time (host_device) */
    bool flushes_children;     /* co_flush does it, not the core */
    bool finds_children;       /* those but `file` and `backing` are named in
                                  the content of `file`, not by options */
    const char *stays_active;  /* why its node cannot be inactive, or NULL: it
                                  can; ends the sentence of an error */
    /* Which flags the driver honours itself; the core emulates FUA. */
    unsigned supported_write_flags;
    unsigned supported_zero_flags;
    /*
     * Options (schema names, NULL-ended; without children) that change the
     * visible content: file names of the form json:{...} include them.
     * NULL: "filename" if there is such an option; none for a format that has
     * backing files; else all own options.  A node whose driver has an empty
     * list has the file name of its child, whatever that is.
     */
    const char *const *strong_options;
    /* Own options that reopen_prepare can change; the core refuses changes of
     * all others.  Node options and children are not listed. */
    const char *const *mutable_options;

    /* --- life cycle --- */

    /* 0..100: the confidence that @buf (start of the image) is this format. */
    int (*probe)(const uint8_t *buf, size_t bytes, const char *filename);
    /* Protocols: does @filename (a path) need this driver? 0..100 */
    int (*probe_device)(const char *filename);
    /* Of an option "encrypt": how the image that starts with @sector is
     * encrypted, as "format" of that option; NULL: it is not. */
    const char *(*encryption_format)(const uint8_t *sector);
    /* A file name for bs->options, NULL if there is none; caller frees.  For
     * protocols without an option "filename". */
    char *(*make_filename)(BlockDriverState *bs);
    /* Fills the options of "prefix:..." file names. */
    bool (*parse_filename)(const char *filename, BlockdevOptions *options,
                           Error **errp);
    /* The child whose storage is what parse_filename says, so that the format
     * of the child is probed; NULL: there is none. */
    const char *probed_child;
    /* The reverse: a name equivalent to @strong, the strong options that are
     * set (without children), or NULL if there is none.  Caller frees. */
    char *(*short_filename)(const BlockDriverState *bs,
                            struct json_object *strong);
    /*
     * Opens its children with bdrv_open_child() and reads its metadata.  bs's
     * common fields (read_only, cache ...) are set already.  On failure it
     * frees its allocations below opaque; the caller closes the children.
     * Outside coroutines; use bdrv_pread() and the like.
     */
    int (*open)(BlockDriverState *bs, const BlockdevOptions *options,
                int flags, Error **errp);
    /* Writes back cached metadata and frees; cannot fail. */
    void (*close)(BlockDriverState *bs);
    /*
     * Change of options in place.  prepare checks and may write back
     * (e.g. store bitmaps when turning read-only); then commit or abort.
     * state->opaque is the driver's.
     */
    int (*reopen_prepare)(BdrvReopenState *state, Error **errp);
    void (*reopen_commit)(BdrvReopenState *state);
    void (*reopen_abort)(BdrvReopenState *state);
    /* After the commit of the whole queue, with permissions in force. */
    void (*reopen_commit_post)(BdrvReopenState *state);
    /*
     * The node becomes active: another process may have changed the storage.
     * Reads again what the driver keeps of it; on failure the driver is as it
     * was.  bs->read_only is what it is from now on; the node is drained, the
     * children are active.  NULL: for a format (is_format) bdrv_reload_image();
     * the others are reopened (reopen_prepare).
     */
    int (*reload)(BlockDriverState *bs, Error **errp);
    /* Makes a new image. */
    int coroutine_fn (*co_create)(BlockdevCreateOptions *options,
                                  Error **errp);
    /* Makes the size in @options one that the format has, where a tool is free
     * to choose; false and @errp: there is none.  NULL: it has all. */
    bool (*choose_size)(BlockdevCreateOptions *options, Error **errp);
    /* What the node uses of @child and shares, by its parents' permissions. */
    void (*child_perm)(BlockDriverState *bs, BdrvChild *child,
                       BdrvChildRole role, uint64_t perm, uint64_t shared,
                       uint64_t *nperm, uint64_t *nshared);
    /* The cumulative permissions of all parents change: check, then set or
     * abort (protocols take file locks). */
    int (*check_perm)(BlockDriverState *bs, uint64_t perm, uint64_t shared,
                      Error **errp);
    void (*set_perm)(BlockDriverState *bs, uint64_t perm, uint64_t shared);
    void (*abort_perm)(BlockDriverState *bs);
    /*
     * May a child change while the node is open?  Called before the change,
     * with the node drained; the driver drops its data about the old child
     * here, or in a step that it adds to @tran, which is undone if the whole
     * change fails.  BDRV_REFUSE with @errp.  NULL: refuses.  Most drivers use
     * one of bdrv_child_change_filter() and the like.
     */
    BdrvConsent (*child_change)(BlockDriverState *bs,
                                const BdrvChildChange *change,
                                Transaction *tran, Error **errp);
    /*
     * Children of the role DATA can be added and removed while the node is in
     * use, which child_change is asked about: a name for one more.  Caller
     * frees.  NULL: not possible.
     */
    char *(*next_child_name)(BlockDriverState *bs);
    /*
     * May @to_replace, a node below, be replaced by another one that shows what
     * @bs does?  NULL: if it is a filter, what its child allows; else no.
     */
    bool (*recurse_can_replace)(BlockDriverState *bs,
                                BlockDriverState *to_replace);
    /* Adds own limits to bs->bl, which has those of the children. */
    void (*refresh_limits)(BlockDriverState *bs, Error **errp);
    /* Requests are no longer submitted / may be submitted again. */
    void (*drain_begin)(BlockDriverState *bs);
    void (*drain_end)(BlockDriverState *bs);
    /*
     * The node, drained, moves to another thread.  detach, called in the old
     * thread, removes its descriptors, timers and coroutines that wait for
     * these from the loop; attach, called in the thread of bs->ctx, adds them.
     */
    void (*detach_aio_context)(BlockDriverState *bs);
    void (*attach_aio_context)(BlockDriverState *bs);
    /*
     * Resumes at once the requests in flight that the driver itself delays,
     * since a drain waits for them; while bdrv_is_awaited() the driver delays
     * none.  Must not wait.
     */
    void (*let_go)(BlockDriverState *bs);
    /*
     * Requests in flight that wait for an event that may never happen (for a
     * lost server) fail at once, and others as soon as they would have to wait
     * for it.  @co: only those submitted by this coroutine, or by a part of it
     * (co_is_part_of()).  NULL: all, and
     * later ones until the server is back; also called while the driver's open
     * polls the loop, which shall fail then, and before a node without users is
     * closed.  Must not wait.
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
     * at most @bytes.  *@map, *@file: its location, with OFFSET_VALID or RAW.
     * @want_zero false: the caller needs the allocation only, and fast.
     */
    int coroutine_fn (*co_block_status)(BlockDriverState *bs, bool want_zero,
                                        int64_t offset, int64_t bytes,
                                        int64_t *pnum, int64_t *map,
                                        BlockDriverState **file);
    /*
     * Writes cached data back to the children (formats) or makes it durable
     * (protocols).  The core then flushes the children of data and metadata,
     * but with flushes_children.
     */
    int coroutine_fn (*co_flush)(BlockDriverState *bs);
    /*
     * bdrv_lost_writes() and its kin, for a driver whose data survives if a
     * part of its children has lost it; @count: the same of a child.  NULL: the
     * sum of those of the children.
     */
    uint64_t (*count_writes)(BlockDriverState *bs, BdrvCountWrites *count);
    /*
     * New size @offset; @exact false: a larger one will do.  New space reads
     * as zeroes if @flags has BDRV_REQ_ZERO_WRITE.
     */
    int coroutine_fn (*co_truncate)(BlockDriverState *bs, int64_t offset,
                                    bool exact, PreallocMode prealloc,
                                    BdrvRequestFlags flags, Error **errp);
    /*
     * Is a request of @type serialising (rule 4 of block/request.h)?  For
     * drivers that need requests on one range to be in the same order for
     * several children.  NULL: as the core has it.
     */
    bool (*serialises)(const BlockDriverState *bs, BdrvRequestType type);
    /* Deallocates all data of the node: it then shows its backing file. */
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
    /* Not for bdrv_co_copy_range(), as blocks have zeroes around their data:
     * who reads the range looks for them. */
    bool no_copy_range;
    void coroutine_fn (*co_host_read_end)(BlockDriverState *bs,
                                          BdrvRequest *r);
    int coroutine_fn (*co_host_write_begin)(BlockDriverState *bs,
                                            BdrvRequest *r);
    int coroutine_fn (*co_host_write_end)(BlockDriverState *bs,
                                          BdrvRequest *r, int result);

    /* --- information and metadata --- */

    /* Bytes, or -errno.  The node's size is that rounded up to sectors: what a
     * node has past the length reads as zeroes; a write of data there makes the
     * driver's image longer, or fails. */
    int64_t (*getlength)(BlockDriverState *bs);
    /* Has the drive a medium?  Called for each request of a user.  NULL: if its
     * primary child has one. */
    bool (*is_inserted)(const BlockDriverState *bs);
    /* Bytes on the host, or -errno. */
    int64_t (*get_allocated_file_size)(BlockDriverState *bs);
    int (*get_info)(BlockDriverState *bs, BlockDriverInfo *info);
    /* See bdrv_get_identity(); 0 or -errno. */
    int (*get_identity)(BlockDriverState *bs, bool durable,
                        BdrvIdentity *id);
    ImageInfoSpecific *(*get_specific_info)(BlockDriverState *bs,
                                            Error **errp);
    BlockStatsSpecific *(*get_specific_stats)(BlockDriverState *bs);
    BlockMeasureInfo *(*measure)(const BlockdevCreateOptions *options,
                                 BlockDriverState *in_bs, Error **errp);
    /* Looks for inconsistencies; @fix: BDRV_FIX_*. */
    int coroutine_fn (*co_check)(BlockDriverState *bs,
                                 BdrvCheckResult *result, int fix);
    /* Changes creation options of the image; all or nothing, as far as it is
     * checked beforehand. */
    int coroutine_fn (*co_amend)(BlockDriverState *bs,
                                 const struct BdrvAmend *amend, Error **errp);
    /* Writes a new backing file name into the header. */
    int (*change_backing_file)(BlockDriverState *bs, const char *backing_file,
                               const char *backing_fmt);
    bool (*has_zero_init)(BlockDriverState *bs);
    /* See bdrv_grows_by_zeroes(); NULL: as has_zero_init. */
    bool (*grows_by_zeroes)(BlockDriverState *bs);

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
    bool quiesced;   /* the parent was notified of the child's drain */
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
    bool encrypted;         /* the driver encrypts what it stores */

    /* --- main thread; changed by reopen only --- */
    bool read_only;      /* by its options, or inactive: nothing is written */
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

    /* --- written by the exclusive main thread, read by all: graph --- */
    BdrvChild *file;    /* the child with PRIMARY or FILTERED, or NULL */
    BdrvChild *backing; /* the COW child, or NULL */
    BlockLimits bl;

    /* --- the context's thread --- */
    int64_t total_bytes; /* size, whole sectors; requests beyond are refused */
};

/*
 * Can it store data compressed?  Encrypted images cannot: the compressed data
 * would be readable.
 */
static inline bool bdrv_supports_compression(const BlockDriverState *bs)
{
    return bs->drv->co_pwritev_compressed && !bs->encrypted;
}

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
 * For drivers' child_change.  For one that keeps data about its child's
 * content: filters may be inserted and removed.
 */
BdrvConsent bdrv_child_change_same(BlockDriverState *bs,
                                   const BdrvChildChange *change,
                                   Transaction *tran, Error **errp);
/* For a filter that keeps no such data: any other child, but not none. */
BdrvConsent bdrv_child_change_filter(BlockDriverState *bs,
                                     const BdrvChildChange *change,
                                     Transaction *tran, Error **errp);
/* For a format: any backing file or none; else as ..._same(). */
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

/*
 * For drivers' reload: opens the image of @bs with its present children, and
 * then closes what was open of it before.  bs->opaque becomes another one.
 */
int bdrv_reload_image(BlockDriverState *bs, Error **errp);

/* In a driver's open: the node cannot be written, whatever its options are. */
void bdrv_turn_read_only(BlockDriverState *bs);

/* Passes @event to the blkdebug node below @child, if there is one. */
void bdrv_debug_event(BdrvChild *child, BlkdebugEvent event);

/* Reports corruption of an image: BLOCK_IMAGE_CORRUPTED. @offset/@size -1:
 * not known. */
void bdrv_signal_corruption(BlockDriverState *bs, bool fatal, int64_t offset,
                            int64_t size, const char *msg);

#endif
