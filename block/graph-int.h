/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps of graph changes, shared by the files of the control plane.
 *
 * The _tran functions do their step at once and undo it when @tran aborts;
 * references that a step makes superfluous are dropped in the clean phase, so
 * that every commit still finds all nodes alive.
 */
#ifndef BLOCK_GRAPH_INT_H
#define BLOCK_GRAPH_INT_H

#include "block/graph.h"

/* --- node.c --- */

/* A node without driver, with one reference, in no list. */
BlockDriverState *bdrv_node_new(void);
/* Publishes @bs under bs->node_name. */
void bdrv_node_publish(BlockDriverState *bs);
/* Called before and after the open function of the driver. */
void bdrv_node_opening_begin(BlockDriverState *bs);
void bdrv_node_opening_end(BlockDriverState *bs);
/* Iterates over the nodes between these calls; NULL starts and ends. */
BlockDriverState *bdrv_next_opening(BlockDriverState *bs);
/* Is @name well-formed and free? */
bool bdrv_node_name_check(const char *name, Error **errp);
/* Fills bs->node_name with a free "#block123". */
void bdrv_node_name_make(BlockDriverState *bs);

/* --- child.c --- */

/* Sets the node of @child. */
void bdrv_child_replace_tran(BdrvChild *child, BlockDriverState *bs,
                             Transaction *tran);
/* Fails if @child is frozen; @bs: its intended node, NULL: none. */
bool bdrv_child_check_frozen(const BdrvChild *child,
                             const BlockDriverState *bs, Error **errp);
/* Is @bs @top or somewhere below it? */
bool bdrv_is_below(BlockDriverState *top, const BlockDriverState *bs);
/* Child called @name, or NULL. */
BdrvChild *bdrv_find_child(const BlockDriverState *bs, const char *name);
/*
 * Makes @bs the child of @parent that @like describes (name, role), replacing
 * the present one; @bs NULL: none.  @parent and those above it are asked.  The
 * caller drains and refreshes permissions.
 */
typedef struct BdrvChildLike {
    const char *name;
    BdrvChildRole role;
} BdrvChildLike;
bool bdrv_set_child_tran(BlockDriverState *parent, BdrvChildLike like,
                         BlockDriverState *bs, BdrvContent content,
                         Transaction *tran, Error **errp);

/* --- node.c --- */

/* Does the size of the parent node follow from that of @child? */
bool bdrv_child_sets_size(const BdrvChild *child);
/* The size of @bs as its driver or its child says it now, rounded up to whole
 * sectors, or -errno: the one place that rounds what is there. */
int64_t bdrv_measure_length(BlockDriverState *bs);

/* --- consent.c --- */

/*
 * Asks the driver of @bs and, if other content becomes visible through it, all
 * parents, for consent to @change.  Adds their steps to @tran.
 */
BdrvConsent bdrv_ask_change(BlockDriverState *bs,
                            const BdrvChildChange *change, Transaction *tran,
                            Error **errp);
/* Do both have the same content, one being the other with filters above? */
BdrvContent bdrv_compare_content(BlockDriverState *a, BlockDriverState *b);
/*
 * Updates the size of @bs after one of its children was replaced, and that of
 * the nodes above that depend on it.  A smaller size is refused if users do not
 * share resize.  Readers of the size are notified when @tran commits.
 */
bool bdrv_refresh_size_tran(BlockDriverState *bs, Transaction *tran,
                            Error **errp);
/* The same for the edge of a user that was moved from a node of @old_bytes. */
bool bdrv_moved_size_tran(BdrvChild *child, int64_t old_bytes,
                          Transaction *tran, Error **errp);

/* --- perm.c --- */

/* @nodes and all below them, children first; no references.  Caller frees. */
GPtrArray *bdrv_nodes_below(const GPtrArray *nodes);
/* Renews permissions of @nodes and of all below them, parents first. */
bool bdrv_refresh_perms_list(GPtrArray *nodes, Transaction *tran,
                             Error **errp);

/* --- context.c --- */

/* Is a tree between two threads?  Then the graph must not change. */
bool bdrv_context_moving(void);

/* --- drain.c --- */

/* Quiesces without waiting for requests in flight. */
void bdrv_quiesce(BlockDriverState *bs);
void bdrv_unquiesce(BlockDriverState *bs);
/* Is anything still in flight on @bs or above it? */
bool bdrv_drain_busy(BlockDriverState *bs);
/* Notify one parent that the drain of its child begins, or ends. */
void bdrv_quiesce_parent(BdrvChild *child);
void bdrv_unquiesce_parent(BdrvChild *child);
/* Depth of drains of all nodes; new nodes start with it. */
int bdrv_drain_all_count(void);

/* --- options.c --- */

/* Options common to all drivers that a reopen may change. */
typedef struct BdrvMode {
    bool read_only, auto_read_only;
    bool cache_direct, cache_no_flush;
    bool discard_unmap;
    bool force_share;
    BlockdevDetectZeroesOptions detect_zeroes;
} BdrvMode;
/* Fills in @options that a parent in @mode passes to a child of @role. */
void bdrv_options_inherit(const BdrvMode *mode, BdrvChildRole role,
                          BlockdevOptions *options);
/* The schema's description of @driver's own options. */
const QapiType *bdrv_options_branch(BlockdevDriver driver);
/* Does it describe a child, or a list of children? */
bool bdrv_option_is_child(const QapiMember *member);
/* A child in a node's options: a member, or element N of a list of them, whose
 * name is LIST.N. */
typedef struct BdrvOptionsChild {
    char name[32];
    bool present;
    BlockdevOptions *definition; /* one of the two, or none: null */
    const char *reference;
} BdrvOptionsChild;
typedef struct BdrvOptionsPos {
    unsigned member;
    const void *element; /* of the list that this member is; NULL: the first */
    unsigned index;      /* of that element */
} BdrvOptionsPos;
/* Walks them, members that are absent too; *@pos begins as zeroes.  False: no
 * more. */
bool bdrv_options_next_child(const BlockdevOptions *options,
                             BdrvOptionsPos *pos, BdrvOptionsChild *child);
/*
 * The name of the option that stands for @child: that of the edge; but children
 * of a list can come and go, and the option is named by the position that the
 * child has now among those of the list, from the oldest on.  The caller frees.
 */
char *bdrv_child_option_name(const BdrvChild *child);

/* --- probe-known.c --- */

/* The format whose signature is in the first @sector of an image (or whose name
 * @filename has), whether there is a driver for it or not; NULL: none. */
const char *bdrv_probe_known(const uint8_t *sector, const char *filename);

/* --- open.c --- */

/*
 * bdrv_open() with more: @explicit_options (consumed) are those before
 * inheritance, @probed: the format is a guess.
 */
BlockDriverState *bdrv_open_node(const BlockdevOptions *options,
                                 BlockdevOptions *explicit_options, int flags,
                                 bool probed, Error **errp);
/* Is the backing file of @bs, or that it has none, due to its header? */
bool bdrv_backing_is_from_header(const BlockDriverState *bs);
/* Values of @options; false with @errp, and nothing changed, if they contradict
 * each other. */
bool bdrv_mode_from_options(BdrvMode *mode, const BlockdevOptions *options,
                            Error **errp);
BdrvMode bdrv_get_mode(const BlockDriverState *bs);
void bdrv_set_mode(BlockDriverState *bs, const BdrvMode *mode);
/*
 * A job's filter has no `discard` option: whether requests may free space is up
 * to its child, now and after a reopen of that.
 */
void bdrv_follow_discard(BlockDriverState *filter);

/* --- reopen.c --- */

/*
 * bs->read_only of @state->bs is what it will be: its bitmaps and its driver
 * prepare for that, which is committed or undone with @tran.  @state lives
 * until then.
 */
bool bdrv_reopen_driver_tran(BdrvReopenState *state, Transaction *tran,
                             Error **errp);

#endif
