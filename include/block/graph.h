/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The control plane: nodes, edges, permissions, opening and reopening.
 *
 * Everything here runs in the main thread, outside coroutines (unless marked).
 * A function that changes the graph drains the subtree it touches.  Functions
 * that take a Transaction do their step at once and undo it on abort.
 */
#ifndef BLOCK_GRAPH_H
#define BLOCK_GRAPH_H

#include "block/driver.h"
#include "block/types.h"
#include "qapi/qapi-types-block-core.h"
#include "qemu/transactions.h"

typedef struct BlockStats BlockStats;
typedef struct BlockdevCreateOptions BlockdevCreateOptions;
typedef struct ImageInfo ImageInfo;
typedef struct ImageInfoSpecific ImageInfoSpecific;

struct json_object;

/*
 * Runs @fn(@opaque) outside of any coroutine: at once if the caller is none,
 * else from the main loop while the caller yields.  Functions below that open,
 * attach, drain or unref nodes call it themselves; a coroutine may call them
 * if it has no request in flight on the nodes concerned.
 */
void coroutine_mixed_fn bdrv_run_outside(void (*fn)(void *), void *opaque);

/* --- nodes (node.c) --- */

BlockDriverState *bdrv_ref(BlockDriverState *bs);
/* The last reference closes the node.  NULL is allowed. */
void bdrv_unref(BlockDriverState *bs);
/* By node name; NULL: there is none. */
BlockDriverState *bdrv_find_node(const char *node_name);
/*
 * By device name (a BlockBackend's) or node name, as QMP's `device` arguments
 * allow; an error if there is none, or the device has no medium.
 */
BlockDriverState *bdrv_lookup_bs(const char *device, const char *node_name,
                                 Error **errp);
/* Walks all nodes; NULL starts. */
BlockDriverState *bdrv_next_node(BlockDriverState *bs);
/* The device's name if it has one, else the node name: for messages. */
const char *bdrv_get_device_or_node_name(const BlockDriverState *bs);
/* "" if no BlockBackend with a name is at the root. */
const char *bdrv_get_device_name(const BlockDriverState *bs);
const char *bdrv_get_format_name(const BlockDriverState *bs);
/*
 * Size in bytes, or -errno.  It is rounded up to BDRV_SECTOR_SIZE, here and
 * wherever the size of a node is used: files may have any length.
 */
int64_t bdrv_getlength(BlockDriverState *bs);
/* By its options, or for good; an inactive node that may be written when it is
 * active counts as writable here, but has bs->read_only. */
bool bdrv_is_read_only(const BlockDriverState *bs);
/* Does a new image of this kind read as zeroes (but for its backing file)? */
bool bdrv_has_zero_init(BlockDriverState *bs);

/*
 * Does space that @bs gains at its end read as zeroes?  That of an encrypted
 * volume does not: it shows what zeroes are when they are decrypted; nor does
 * that of a device, which was there before.
 */
bool bdrv_grows_by_zeroes(BlockDriverState *bs);
/* Made by blockdev-add, which holds a reference until blockdev-del? */
bool bdrv_is_monitor_owned(const BlockDriverState *bs);
void bdrv_set_monitor_owned(BlockDriverState *bs, bool owned);
/* Inserted by a job or for an option of a drive: hidden from queries? */
bool bdrv_is_implicit(const BlockDriverState *bs);
void bdrv_set_implicit(BlockDriverState *bs, bool implicit);
/* A write beyond @bytes is reported once (BLOCK_WRITE_THRESHOLD); 0: none. */
void bdrv_set_write_threshold(BlockDriverState *bs, uint64_t bytes);
/* May it be removed?  Fails if @bs or one of its bitmaps is used. */
bool bdrv_check_unused(BlockDriverState *bs, Error **errp);
/*
 * May an operation be started on @bs?  Fails if it is inactive, or if an edge
 * to it blocks that (BdrvChildClass.block_reason), with its reason: "Node 'x'
 * is busy: block device is in use by block job: backup".
 */
bool bdrv_op_check(BlockDriverState *bs, Error **errp);
/* The same for an operation that changes the image: fails also if it is the
 * backing file of another image. */
bool bdrv_op_check_top(BlockDriverState *bs, Error **errp);
/* The same for another size of @bs, and so of the nodes above whose size
 * follows from it; fails also if a user does not share BLK_PERM_RESIZE. */
bool bdrv_op_check_resize(BlockDriverState *bs, Error **errp);

/* --- opening (options.c, open.c, filename.c) --- */

/*
 * Opens a node, or a tree of them.  @options is completed (driver, name) by
 * copy; nothing is consumed.  Returns a new reference or NULL.
 */
BlockDriverState *bdrv_open(const BlockdevOptions *options, int flags,
                            Error **errp);
/*
 * From a JSON object or key=value tree (@keyval: scalars are strings).  If
 * `driver` is missing at some level, the format is probed.
 */
BlockDriverState *bdrv_open_json(struct json_object *options, bool keyval,
                                 int flags, Error **errp);
/*
 * From a file name as the tools take it: a path, "protocol:..." or "json:...".
 * @format NULL: probe, and guard a raw image against becoming another format.
 * @flags BDRV_O_* incl. the "by file name" ones.
 */
BlockDriverState *bdrv_open_file(const char *filename, const char *format,
                                 int flags, Error **errp);
/* The same; the node gets the name @node_name (NULL: any). */
BlockDriverState *bdrv_open_file_as(const char *filename, const char *format,
                                    const char *node_name, int flags,
                                    Error **errp);
/* Is it a driver of leaves, with a file name rather than a child? */
bool bdrv_driver_is_leaf(const char *format_name);
/*
 * The schema's struct from JSON; probing not done.  @keyval: scalars are
 * strings, and whole numbers may have a suffix.
 */
BlockdevOptions *bdrv_options_from_json(struct json_object *obj, bool keyval,
                                        Error **errp);
/*
 * Complete options for @filename; @format NULL: probe, and *@probed tells that
 * raw is a guess.  @flags BDRV_O_PROTOCOL: those of the protocol node.
 */
BlockdevOptions *bdrv_options_from_filename(const char *filename,
                                            const char *format, int flags,
                                            bool *probed, Error **errp);
/*
 * Adds to key=value @options what the whole name @filename of an image says,
 * which may begin with a protocol: to its `file`, or to a driver that has none.
 * A `filename` among options is that of a file, whatever is in it.
 */
bool bdrv_options_add_name(struct json_object *options, const char *filename,
                           Error **errp);
/* Name by which the tree can be opened again: a path or json:{...}. */
void bdrv_refresh_filename(BlockDriverState *bs);
/*
 * Name of the image that @bs shows, for the header of another one: without
 * filters, which exist in this graph only.  Its format is that of
 * bdrv_skip_filters(@bs).  To be called after bdrv_refresh_filename() of @bs or
 * of a node above.  The caller frees.
 */
char *bdrv_image_filename(BlockDriverState *bs);
/* Plain name of the host file at the end of the primary children, or NULL;
 * valid until the graph or a name changes. */
const char *bdrv_base_filename(const BlockDriverState *bs);
/* Path of @filename relative to the image @base (NULL: as it is). */
char *bdrv_make_absolute_filename(const char *base, const char *filename);
/* Does @path start with a protocol prefix ("nbd:", "json:" ...)? */
bool path_has_protocol(const char *path);
/* Are they equal, or two paths of one file? */
bool path_is_same_file(const char *a, const char *b);
/* Driver for the format that the first bytes of @file have: raw if nothing else
 * matches, NULL with @errp if there is no driver for it. */
const BlockDriver *bdrv_probe(BlockDriverState *file, const char *filename,
                              Error **errp);
/* How the image in @file, of the format @drv, is encrypted: *@format is NULL if
 * it is not. */
bool bdrv_probe_encryption(const BlockDriver *drv, BlockDriverState *file,
                           const char **format, Error **errp);
/* Name of the format of an image that starts with @buf, @bytes >= a sector. */
const char *bdrv_probe_buffer(const uint8_t *buf, size_t bytes,
                              const char *filename);
/* Looks up the table; NULL if there is none. */
const BlockDriver *bdrv_find_format(const char *format_name);
const BlockDriver *bdrv_find_driver(BlockdevDriver driver);
/* By path: a file or a device of the host. */
const BlockDriver *bdrv_find_path_driver(const char *filename, Error **errp);
/* By "prefix:" or path; @errp: unknown protocol. */
const BlockDriver *bdrv_find_protocol(const char *filename, Error **errp);

/* --- edges (child.c) --- */

/* The kind of an edge's parent; nodes, BlockBackends and jobs each have one. */
struct BdrvChildClass {
    bool parent_is_bs;
    bool stay_at_node; /* not moved by bdrv_replace_node() */
    bool parent_is_job; /* for x-debug-query-block-graph */
    /*
     * The edge blocks other operations on the node (bdrv_op_check()).  Returns
     * the reason for the message; caller frees.  NULL: the edge blocks none.
     */
    char *(*block_reason)(BdrvChild *child);
    /*
     * Why the node cannot become inactive while the edge is there, in a few
     * words for a message; "" if there is not more to say.  NULL: it can.
     * Without the callback: "".  Not called for nodes.
     */
    const char *(*keeps_active)(BdrvChild *child);
    /* "node 'x'", "block device 'y'": for messages; caller frees. */
    char *(*parent_desc)(BdrvChild *child);
    const char *(*get_name)(BdrvChild *child); /* device name or NULL */
    void (*attach)(BdrvChild *child);          /* child->bs is new */
    void (*detach)(BdrvChild *child);
    void (*drained_begin)(BdrvChild *child);
    bool (*drained_poll)(BdrvChild *child); /* true: still busy */
    void (*drained_end)(BdrvChild *child);
    /*
     * For a parent with edges to several nodes (a job): does a drain of one of
     * them, or a cancel of the job, wait for its requests on all of them?
     * NULL: no.
     */
    bool (*is_awaited)(const BdrvChild *child);
    void (*resize)(BdrvChild *child); /* the node's size changed */
    /*
     * For a parent that is no node, which is in the context of its nodes: may
     * it move to @ctx?  NULL: it may.  Then, with all connected nodes drained:
     * detach, called in the old thread, removes its descriptors, timers and
     * coroutines that wait for these from the loop; set, called in the main
     * thread, makes @ctx its context; attach, called in the thread of @ctx,
     * adds them there.
     */
    bool (*may_move)(BdrvChild *child, AioContext *ctx);
    void (*detach_aio_context)(BdrvChild *child);
    void (*set_aio_context)(BdrvChild *child, AioContext *ctx);
    void (*attach_aio_context)(BdrvChild *child);
    /* For a parent with edges to several nodes: calls @fn for all of them. */
    void (*for_each_edge)(BdrvChild *child,
                          void (*fn)(BdrvChild *edge, void *opaque),
                          void *opaque);
};

/*
 * New edge from @opaque (a parent of class @klass) to @bs, with permissions.
 * Takes over nothing: the edge holds its own reference.  NULL: conflict.
 */
BdrvChild *bdrv_root_attach_child(BlockDriverState *bs, const char *name,
                                  const BdrvChildClass *klass,
                                  BdrvChildRole role, uint64_t perm,
                                  uint64_t shared, void *opaque, Error **errp);
void bdrv_root_unref_child(BdrvChild *child);
/* The same with a node as parent; permissions by its child_perm. */
BdrvChild *bdrv_attach_child(BlockDriverState *parent, BlockDriverState *bs,
                             const char *name, BdrvChildRole role,
                             Error **errp);
void bdrv_unref_child(BlockDriverState *parent, BdrvChild *child);
/* Walk the edges to @bs and those from it to its children, the youngest first;
 * @prev NULL: the first.  NULL: no more. */
BdrvChild *bdrv_next_parent(const BlockDriverState *bs, const BdrvChild *prev);
BdrvChild *bdrv_next_child(const BlockDriverState *bs, const BdrvChild *prev);
extern const BdrvChildClass bdrv_child_of_node; /* klass of node parents */
/* The filtered child of a filter, else NULL. */
BdrvChild *bdrv_filter_child(const BlockDriverState *bs);
/* Backing of a format. */
BdrvChild *bdrv_cow_child(const BlockDriverState *bs);
/* Either of the two: the next edge of the chain. */
BdrvChild *bdrv_filter_or_cow_child(const BlockDriverState *bs);
BdrvChild *bdrv_primary_child(const BlockDriverState *bs);
/* False: @bs is closed, or a drive of the host below it has no medium. */
bool bdrv_is_inserted(const BlockDriverState *bs);

/* --- threads (context.c); main thread, outside coroutines --- */

/*
 * Moves @bs, and all nodes and users that are connected with it, to @ctx.
 * False: a user refuses; then nothing has changed.
 */
bool bdrv_try_set_aio_context(BlockDriverState *bs, AioContext *ctx,
                              Error **errp);
/*
 * Before an edge between the two is created: moves one of them to the context
 * of the other; preferably one that has no users, and of two such nodes @bs.
 */
bool bdrv_join_aio_context(BlockDriverState *bs, BlockDriverState *other,
                           Error **errp);
/* After an edge to it was removed: moves @bs to the main context if unused. */
void bdrv_leave_aio_context(BlockDriverState *bs);

/* --- permissions (perm.c) --- */

/* Permissions of an edge held by a user. */
bool bdrv_child_set_perm(BdrvChild *child, uint64_t perm, uint64_t shared,
                         Error **errp);
/* Asks child_perm of @bs anew for all its children and updates the subtree. */
bool bdrv_refresh_perms(BlockDriverState *bs, Transaction *tran, Error **errp);
/* Union of used, intersection of shared over all parents. */
void bdrv_get_cumulative_perm(BlockDriverState *bs, uint64_t *perm,
                              uint64_t *shared);
/* "write, resize"; caller frees. */
char *bdrv_perm_names(uint64_t perm);

/* --- graph changes (graph.c) --- */

/*
 * In all of these a node that is to get another child is asked for consent
 * (BlockDriver.child_change), and so are the parents above it that would see
 * other data.  Jobs and recording bitmaps refuse other data.
 */

/*
 * All parents of @from (but those that stay_at_node, and edges from @to or
 * below it) now point to @to.  @content: what they see of it.
 */
bool bdrv_replace_node(BlockDriverState *from, BlockDriverState *to,
                       BdrvContent content, Error **errp);
/*
 * Opens @options (a filter whose `file`, or whatever child holds it, refers to
 * @bs by node name) and moves the parents of @bs to it.  Returns the filter
 * (the graph holds it, no reference for the caller) or NULL, nothing changed.
 * The filter frees space where @bs may.
 */
BlockDriverState *bdrv_insert_node(BlockDriverState *bs,
                                   const BlockdevOptions *options,
                                   Error **errp);
/*
 * A filter over @bs that no options describe, for jobs: @drv needs no open.  It
 * is read-only, and hidden where @node_name is NULL; it frees space where @bs
 * may.  A new reference.
 */
BlockDriverState *bdrv_new_filter(const BlockDriver *drv, BlockDriverState *bs,
                                  const char *node_name, Error **errp);
/* Removes a filter: its parents get its filtered child.  The caller's
 * reference, if any, stays. */
bool bdrv_drop_filter(BlockDriverState *filter, Error **errp);
/* Opens the backing file of a node that was opened without it (and of no other
 * node), by its options or its header. */
bool bdrv_open_backing(BlockDriverState *bs, Error **errp);
/* Live backing change; @backing NULL: none.  @content: what @bs then shows,
 * compared with before. */
bool bdrv_set_backing(BlockDriverState *bs, BlockDriverState *backing,
                      BdrvContent content, Error **errp);
/*
 * Makes @bs the backing file of @overlay, which has none, and lets the parents
 * of @bs point to @overlay.  *@moved gets their edges, for bdrv_unappend();
 * g_ptr_array_unref() frees it.  Both nodes are to be drained.
 */
bool bdrv_append(BlockDriverState *overlay, BlockDriverState *bs,
                 GPtrArray **moved, Error **errp);
/* Undoes it, while the edges in @moved are still there. */
bool bdrv_unappend(BlockDriverState *overlay, BlockDriverState *bs,
                   const GPtrArray *moved, Error **errp);

/*
 * Makes @bs one more child of @parent, whose driver allows for that
 * (next_child_name).  The user guarantees that it fits what @parent shows.
 */
bool bdrv_add_child(BlockDriverState *parent, BlockDriverState *bs,
                    Error **errp);
/*
 * Removes the child called @name of such a node.  If nothing else uses the
 * child its requests in flight are given up, and that first.
 */
bool bdrv_del_child(BlockDriverState *parent, const char *name, Error **errp);

/* --- the backing chain (chain.c) --- */

BlockDriverState *bdrv_skip_filters(BlockDriverState *bs);
/* The node below @bs in the chain, filters skipped; NULL at the end. */
BlockDriverState *bdrv_backing_chain_next(BlockDriverState *bs);
bool bdrv_chain_contains(BlockDriverState *top, BlockDriverState *bs);
/*
 * May @to_replace be replaced by a node that shows what @bs does?  It is @bs or
 * below it with only filters between, and so shows the same data; or a driver
 * on the way allows for it (recurse_can_replace).
 */
bool bdrv_recurse_can_replace(BlockDriverState *bs,
                              BlockDriverState *to_replace);
/* Forbids / allows again changes of the edges from @top down to @base. */
bool bdrv_freeze_chain(BlockDriverState *top, BlockDriverState *base,
                       Error **errp);
void bdrv_unfreeze_chain(BlockDriverState *top, BlockDriverState *base);

/* --- drain (drain.c): no requests in flight between begin and end --- */

/* May be nested: each begin needs its end. */
void bdrv_drained_begin(BlockDriverState *bs);
void bdrv_drained_end(BlockDriverState *bs);
/* For timers of drivers: no request may begin now.  In the thread of @bs. */
bool bdrv_is_drained(const BlockDriverState *bs);
/* The same for all nodes, also those made in between. */
void bdrv_drain_all_begin(void);
void bdrv_drain_all_end(void);
/*
 * Before waiting for requests in flight on @bs or on any node below it: makes
 * drivers resume the requests that they delay.
 */
void bdrv_let_go(BlockDriverState *bs);
/*
 * Gives up requests on @bs: those that wait for an event that may never happen
 * fail, on @bs and the nodes that it stores its data in.  With @co: only those
 * of this coroutine, on all nodes below.  If a server does not answer for some
 * seconds its connection is closed, which fails other requests of users of @bs,
 * too; with @co, only if there are no others.  Throttled requests of all
 * users are resumed, as in a drain.
 */
void bdrv_cancel_in_flight(BlockDriverState *bs, Coroutine *co);
/* At the end of the program: makes nodes that are being opened fail. */
void bdrv_cancel_opening(void);
/*
 * Does a drain wait for the requests on @bs, or for those above it that they
 * are part of?
 */
bool bdrv_is_awaited(const BlockDriverState *bs);

/* --- reopen (reopen.c) --- */

/* Each element needs node-name; all succeed or nothing changes. */
bool bdrv_reopen_multiple(BlockdevOptionsList *options, Error **errp);
/* Turns @bs and what is below its primary child read-only or writable. */
bool bdrv_reopen_set_read_only(BlockDriverState *bs, bool read_only,
                               Error **errp);
/*
 * Makes @bs read-only when it no longer needs to be writable.  A failure is
 * only a warning: other programs cannot open the image then.
 */
void bdrv_reopen_read_only_again(BlockDriverState *bs);

/* --- creation, check, information --- */

/* 0, or -errno if the check could not be done; @fix: BDRV_FIX_*. */
int bdrv_check(BlockDriverState *bs, BdrvCheckResult *result, int fix);
/* Creates an image as blockdev-create does.  In a coroutine or outside. */
int coroutine_mixed_fn bdrv_create(BlockdevCreateOptions *options,
                                   Error **errp);
/* What drive-backup and `qemu-img create` need of a new image. */
typedef struct BdrvImgCreate {
    const char *filename, *format;
    const char *base_filename, *base_format; /* may be NULL */
    const char *extra;                       /* "key=value,..." or NULL */
    int64_t size;     /* bytes; -1: take the backing file's */
    bool unsafe_base; /* -u: do not open the backing file */
    bool quiet;       /* do not print "Formatting ..." */
} BdrvImgCreate;
/*
 * Creates the file by its protocol, then the format in it, as `qemu-img
 * create` does: options "cluster_size=64k,..." in @extra, backing file checked.
 */
bool bdrv_img_create(const BdrvImgCreate *create, Error **errp);
/* An overlay over @bs, which is released, in a file that has no name: what is
 * written is gone with the node.  NULL on failure. */
BlockDriverState *bdrv_add_temporary_overlay(BlockDriverState *bs,
                                             Error **errp);
int bdrv_get_info(BlockDriverState *bs, BlockDriverInfo *info);
/*
 * The identity of the storage with the data of @bs.  None for formats with
 * metadata of their own, which go on writing after their users.  @durable:
 * waits until the storage has it; main thread, for a node that has been flushed
 * and is not written any more.
 */
void bdrv_get_identity(BlockDriverState *bs, bool durable, BdrvIdentity *id);
int64_t bdrv_get_allocated_file_size(BlockDriverState *bs);
ImageInfoSpecific *bdrv_get_specific_info(BlockDriverState *bs, Error **errp);
/* block/info.c: for the query commands and `qemu-img info`. */
ImageInfo *bdrv_query_image_info(BlockDriverState *bs, Error **errp);
BlockDeviceInfo *bdrv_block_device_info(BlockDriverState *bs, bool flat,
                                        Error **errp);
BlockStats *bdrv_query_bds_stats(BlockDriverState *bs, bool blk_level);
XDbgBlockGraph *bdrv_get_xdbg_block_graph(Error **errp);

/* Recomputes bs->bl from children and driver, and that of its parents. */
void bdrv_refresh_limits(BlockDriverState *bs, Transaction *tran,
                         Error **errp);
/* Reads the size again after a driver changed it; notifies parents, bitmaps. */
int bdrv_refresh_total_size(BlockDriverState *bs);

/* Closes all remaining nodes at the end of a program; stores bitmaps. */
void bdrv_close_all(void);
/*
 * For closing a node, which cannot fail: data that could not be written is
 * lost.  Reports @err (consumed), with the node's name and file in front of the
 * message, once for a node and the nodes below it.  Main thread.
 */
void bdrv_close_error(BlockDriverState *bs, Error *err);
/*
 * For programs without jobs, which would act upon it: if writes to a node may
 * have been lost (bdrv_lost_writes()), closing it fails.
 */
void bdrv_report_losses(void);
/* Was there any such error since the program started?  Main thread. */
bool bdrv_any_close_failed(void);
/* blkdebug, through filters; -ENOTSUP if there is none below @bs. */
int bdrv_debug_breakpoint(BlockDriverState *bs, const char *event,
                          const char *tag);
int bdrv_debug_remove_breakpoint(BlockDriverState *bs, const char *tag);
int bdrv_debug_resume(BlockDriverState *bs, const char *tag);
bool bdrv_debug_is_suspended(BlockDriverState *bs, const char *tag);

/*
 * Called by the core so that the control layer sends events.  Unset members are
 * not called.  Set once by the program.
 */
typedef struct BdrvEventHooks {
    void (*image_corrupted)(BlockDriverState *bs, bool fatal, int64_t offset,
                            int64_t size, const char *msg);
    void (*write_threshold)(BlockDriverState *bs, uint64_t threshold,
                            uint64_t exceeded);
    /* It is not kept safe any more (bdrv_dirty_bitmap_give_up()). */
    void (*bitmap_unsafe)(BlockDriverState *bs, const char *bitmap,
                          const char *reason);
    void (*io_error)(BlockBackend *blk, bool is_read, int error,
                     BlockErrorAction action);
    /* Too few children of the quorum @bs agree, or work at all. */
    void (*quorum_failure)(BlockDriverState *bs, int64_t offset,
                           int64_t bytes);
    /* Child @bs of a quorum failed with @error, or (0) lost a vote. */
    void (*quorum_report_bad)(QuorumOpType type, BlockDriverState *bs,
                              int error, int64_t offset, int64_t bytes);
} BdrvEventHooks;
extern BdrvEventHooks bdrv_event_hooks;

G_DEFINE_AUTOPTR_CLEANUP_FUNC(BlockDriverState, bdrv_unref)

#endif
