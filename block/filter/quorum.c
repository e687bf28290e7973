/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * quorum: a disk that is stored in several children, which vote on what is
 * read.  Here are options, children and permissions; the requests are in
 * quorum-io.c.
 *
 *             quorum                    children.N, the oldest first
 *        /      |      \
 *   children.0  .1      .2
 *
 * It is no filter for the core, as no child alone has its data.  The driver
 * keeps nothing about a child: it walks the edges in each request, and the core
 * changes them only while the node is drained.  So children can be added and
 * removed, filters can be inserted above them, and jobs can replace them.
 *
 * A child that is added may have other data than the quorum.  It is written
 * from then on, and loses votes where it was not yet; with rewrite-corrupted=on
 * that data is replaced as it is read.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "quorum-int.h"

#define CHILD_PREFIX "children."

unsigned quorum_count(const BlockDriverState *bs)
{
    const BdrvChild *child = NULL;
    unsigned n = 0;

    while ((child = bdrv_next_child(bs, child))) {
        n++;
    }
    return n;
}

/* --- opening --- */

static bool check_options(const BlockDriverState *bs,
                          const BlockdevOptionsQuorum *o, Error **errp)
{
    BlockdevRefList *children = o->children;
    size_t n = QAPI_LIST_LENGTH(children);

    if (n == 0) {
        error_setg(errp, "Number of provided children must be 1 or more");
        return false;
    }
    if (o->vote_threshold < 1) {
        error_setg(errp, "Parameter 'vote-threshold' expects a value >= 1");
        return false;
    }
    if (o->vote_threshold > (int64_t)n) {
        error_setg(errp, "threshold may not exceed children count");
        return false;
    }
    if (o->blkverify && (n != 2 || o->vote_threshold != 2)) {
        error_setg(errp, "blkverify=on can only be set if there are exactly "
                   "two files and vote-threshold is 2");
        return false;
    }
    if (o->blkverify && o->rewrite_corrupted) {
        error_setg(errp, "rewrite-corrupted=on cannot be used with "
                   "blkverify=on");
        return false;
    }
    if (o->rewrite_corrupted && bs->read_only) {
        error_setg(errp, "rewrite-corrupted=on cannot be used with "
                   "read-only=on");
        return false;
    }
    return true;
}

/* Past all that there are, so that the order by name is that by age. */
static char *quorum_next_child_name(BlockDriverState *bs)
{
    const BdrvChild *child = NULL;
    unsigned long next = 0;

    while ((child = bdrv_next_child(bs, child))) {
        unsigned long index = strtoul(child->name + strlen(CHILD_PREFIX), NULL,
                                      10);

        next = MAX(next, index + 1);
    }
    return g_strdup_printf(CHILD_PREFIX "%lu", next);
}

static bool is_child(const BlockDriverState *bs, const BlockDriverState *node)
{
    const BdrvChild *child = NULL;

    while ((child = bdrv_next_child(bs, child))) {
        if (child->bs == node) {
            return true;
        }
    }
    return false;
}

/* A node that is named twice would have two votes. */
static bool check_new_child(const BlockDriverState *bs, const BlockdevRef *ref,
                            Error **errp)
{
    const BlockDriverState *node;

    if (ref->type != BLOCKDEV_REF_KIND_REFERENCE) {
        return true;
    }
    node = bdrv_lookup_bs(ref->u.reference, ref->u.reference, errp);
    if (node && is_child(bs, node)) {
        error_setg(errp, "Node '%s' cannot be a child of a quorum twice",
                   node->node_name);
        return false;
    }
    return node != NULL;
}

static bool check_size(BlockDriverState *bs, BlockDriverState *node,
                       int64_t bytes, Error **errp)
{
    int64_t other = bdrv_getlength(node);

    if (other < 0) {
        error_setg_errno(errp, -other, "Could not get the size of node '%s'",
                         node->node_name);
    } else if (other != bytes) {
        error_setg(errp, "Node '%s' has %" PRId64 " bytes, but children of "
                   "quorum '%s' have %" PRId64, node->node_name, other,
                   bs->node_name, bytes);
    }
    return other == bytes && bytes >= 0;
}

static int quorum_open(BlockDriverState *bs, const BlockdevOptions *options,
                       int flags, Error **errp)
{
    const BlockdevOptionsQuorum *o = &options->u.quorum;
    QuorumState *s = bs->opaque;
    int64_t bytes = -1;

    if (!check_options(bs, o, errp)) {
        return -EINVAL;
    }
    s->threshold = o->vote_threshold;
    s->blkverify = o->blkverify;
    s->rewrite = o->rewrite_corrupted;
    s->fifo = o->read_pattern == QUORUM_READ_PATTERN_FIFO;
    for (BlockdevRefList *l = o->children; l; l = l->next) {
        g_autofree char *name = quorum_next_child_name(bs);
        BdrvChild *child;

        if (!check_new_child(bs, l->value, errp)) {
            return -EINVAL;
        }
        child = bdrv_open_child(bs, l->value, name, BDRV_CHILD_DATA, errp);
        if (!child) {
            return -EINVAL;
        }
        bytes = bytes < 0 ? bdrv_getlength(child->bs) : bytes;
        if (!check_size(bs, child->bs, bytes, errp)) {
            return -EINVAL;
        }
    }
    return 0;
}

/* -EIO: the children do not agree. */
static int64_t quorum_getlength(BlockDriverState *bs)
{
    BdrvChild *child = NULL;
    int64_t bytes = -1;

    while ((child = bdrv_next_child(bs, child))) {
        int64_t other = bdrv_getlength(child->bs);

        if (other < 0 || (bytes >= 0 && other != bytes)) {
            return other < 0 ? other : -EIO;
        }
        bytes = other;
    }
    return bytes;
}

static bool quorum_grows_by_zeroes(BlockDriverState *bs)
{
    BdrvChild *child = NULL;

    while ((child = bdrv_next_child(bs, child))) {
        if (!bdrv_grows_by_zeroes(child->bs)) {
            return false;
        }
    }
    return true;
}

/* Discards are writes of zeroes for the children (quorum-io.c). */
static void quorum_refresh_limits(BlockDriverState *bs, Error **errp)
{
    BdrvChild *child = NULL;

    while ((child = bdrv_next_child(bs, child))) {
        const BlockLimits *bl = &child->bs->bl;

        bs->bl.pdiscard_alignment = MAX(
            bs->bl.pdiscard_alignment,
            MAX(bl->pwrite_zeroes_alignment, bl->request_alignment));
    }
}

/* --- children in a graph that changes --- */

/* Nothing but the quorum writes them: each write goes to all of them. */
static void quorum_child_perm(BlockDriverState *bs, BdrvChild *child,
                              BdrvChildRole role, uint64_t perm,
                              uint64_t shared, uint64_t *nperm,
                              uint64_t *nshared)
{
    const QuorumState *s = bs->opaque;

    *nperm = perm & (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                     BLK_PERM_WRITE_UNCHANGED);
    if (s->rewrite && !bs->read_only) {
        *nperm |= BLK_PERM_WRITE;
    }
    *nshared = shared & (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED);
}

static BdrvConsent quorum_child_change(BlockDriverState *bs,
                                       const BdrvChildChange *change,
                                       Transaction *tran, Error **errp)
{
    const QuorumState *s = bs->opaque;

    if (!change->new_bs && quorum_count(bs) <= s->threshold) {
        error_setg(errp, "The number of children cannot be lower than the "
                   "vote threshold %u", s->threshold);
        return BDRV_REFUSE;
    }
    if (!change->old_bs && s->blkverify) {
        error_setg(errp, "Cannot add a child to a quorum in blkverify mode");
        return BDRV_REFUSE;
    }
    if (change->new_bs && change->new_bs != change->old_bs &&
        !check_size(bs, change->new_bs, bs->total_bytes, errp)) {
        return BDRV_REFUSE;
    }
    return BDRV_ACCEPT;
}

/*
 * A child may get the data that the others agree on.  Other users of it would
 * see that: there must not be any, while those that use nothing do not matter
 * (the job that replaces it).
 */
static bool quorum_recurse_can_replace(BlockDriverState *bs,
                                       BlockDriverState *to_replace)
{
    BdrvChild *child = NULL, *parent = NULL;
    unsigned users = 0;

    while ((parent = bdrv_next_parent(to_replace, parent))) {
        users += parent->perm != 0;
    }
    while (users <= 1 && (child = bdrv_next_child(bs, child))) {
        if (bdrv_recurse_can_replace(child->bs, to_replace)) {
            return true;
        }
    }
    return false;
}

/*
 * Two changes of one range are in the same order for all children, and no vote
 * is held between the writes of two children.  As a later write waits for a
 * read in flight, a child that lost is not given what is old by then.
 */
static bool quorum_serialises(const BlockDriverState *bs, BdrvRequestType type)
{
    return type == BDRV_REQUEST_WRITE || type == BDRV_REQUEST_DISCARD;
}

extern const BlockDriver bdrv_quorum;

const BlockDriver bdrv_quorum = {
    .format_name = "quorum",
    .instance_size = sizeof(QuorumState),
    .flushes_children = true,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .open = quorum_open,
    .child_perm = quorum_child_perm,
    .child_change = quorum_child_change,
    .next_child_name = quorum_next_child_name,
    .recurse_can_replace = quorum_recurse_can_replace,
    .refresh_limits = quorum_refresh_limits,
    .getlength = quorum_getlength,
    .grows_by_zeroes = quorum_grows_by_zeroes,
    .serialises = quorum_serialises,
    .co_preadv = quorum_co_preadv,
    .co_pwritev = quorum_co_pwritev,
    .co_pwrite_zeroes = quorum_co_pwrite_zeroes,
    .co_pdiscard = quorum_co_pdiscard,
    .co_flush = quorum_co_flush,
    .count_writes = quorum_count_writes,
    .co_block_status = quorum_co_block_status,
};
