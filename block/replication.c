/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starting and ending replication.  The driver, block/filter/replication.c, has
 * the picture.
 *
 *     none --start--> running --stop-----------------------> done
 *                        |                                     ^
 *                        +--failover--> the commit job runs ---+
 *                                           |    ^
 *                                    failed v    | failover
 *                                       failover failed
 *
 * start       of a secondary: the edges from the node down to the secondary
 *             disk are frozen, the copy-before-write filter is inserted, and
 *             the active and the hidden disk are emptied.
 * checkpoint  both are emptied again, and the filter begins anew.
 * stop        a last checkpoint, and all is removed.
 * failover    the filter is removed, and what the node shows, the checkpoint
 *             and the guest's own writes, is committed to the secondary disk
 *             while the guest runs; then that disk is the node's child.
 *
 * All of this is done with the node and the secondary disk drained, so that
 * each request of the guest or of the primary is before or after it.
 *
 * The primary that failed may not be dead: from the failover on a filter, the
 * fence, is between the secondary disk and those who could write to it (the
 * export), and refuses writes.
 *
 * A checkpoint that fails may have emptied a part: what the secondary shows is
 * a mix, until one succeeds; and it cannot fail over to that.
 */
#include "qemu/osdep.h"
#include "block/chain-jobs.h"
#include "block/commit.h"
#include "block/copy-before-write.h"
#include "block/dirty-bitmap.h"
#include "block/graph-int.h"
#include "block/mirror.h"
#include "block/replication-node.h"
#include "block/replication.h"

/* The images of a secondary, from the node down. */
typedef struct Disks {
    BlockDriverState *active, *hidden, *secondary;
} Disks;

/* --- edges that keep other operations away --- */

static char *user_desc(BdrvChild *child)
{
    const ReplicationState *s = child->opaque;

    return g_strdup_printf("replication of node '%s'", s->bs->node_name);
}

static char *user_block_reason(BdrvChild *child)
{
    return g_strdup("Block device is in use by internal backup job");
}

static const BdrvChildClass edge_of_replication = {
    .stay_at_node = true,
    .parent_is_job = true,
    .parent_desc = user_desc,
    .block_reason = user_block_reason,
};

static void undo_hold(void *opaque)
{
    bdrv_root_unref_child(opaque);
}

static const TransactionActionDrv hold_step = {.abort = undo_hold};

static bool add_edge(ReplicationState *s, BlockDriverState *bs, uint64_t perm,
                     Transaction *tran, Error **errp)
{
    BdrvChild *c = bdrv_root_attach_child(bs, "replication",
                                          &edge_of_replication, 0, perm,
                                          BLK_PERM_ALL, s, errp);

    if (c) {
        tran_add(tran, &hold_step, c);
    }
    return c != NULL;
}

static bool is_held(const ReplicationState *s, const BlockDriverState *bs)
{
    BdrvChild *c = NULL;

    while ((c = bdrv_next_parent(bs, c))) {
        if (c->opaque == s) {
            return true;
        }
    }
    return false;
}

/* Until @tran is aborted no other operation can be started on @bs; fails if
 * there is one. */
static bool hold(ReplicationState *s, BlockDriverState *bs, Transaction *tran,
                 Error **errp)
{
    return is_held(s, bs) || (bdrv_op_check(bs, errp) &&
                              add_edge(s, bs, 0, tran, errp));
}

/* The same for @bs and all nodes above it, which show its data. */
static bool hold_upwards(ReplicationState *s, BlockDriverState *bs,
                         Error **errp)
{
    BdrvChild *c = NULL;

    if (!hold(s, bs, s->held, errp)) {
        return false;
    }
    while ((c = bdrv_next_parent(bs, c))) {
        if (c->klass->parent_is_bs && !hold_upwards(s, c->opaque, errp)) {
            return false;
        }
    }
    return true;
}

/* The same for an image that is going to be emptied; it is made writable, as a
 * backing file is not. */
static bool hold_writable(ReplicationState *s, BlockDriverState *bs,
                          Error **errp)
{
    return hold(s, bs, s->attached, errp) &&
           block_job_make_writable(bs, s->attached, errp) &&
           add_edge(s, bs, BLK_PERM_WRITE, s->attached, errp);
}

/* --- checks --- */

/* Does anything but nodes and jobs use @bs? */
static bool has_user(const BlockDriverState *bs)
{
    BdrvChild *c = NULL;

    while ((c = bdrv_next_parent(bs, c))) {
        if (!c->klass->parent_is_bs && !c->klass->parent_is_job) {
            return true;
        }
    }
    return false;
}

static BlockDriverState *backing_of(BlockDriverState *bs)
{
    BdrvChild *c = bdrv_cow_child(bs);

    return c ? c->bs : NULL;
}

static bool find_disks(BlockDriverState *bs, Disks *d, Error **errp)
{
    d->active = bs->file->bs;
    d->hidden = backing_of(d->active);
    if (!d->hidden) {
        error_setg(errp, "Active disk doesn't have backing file");
        return false;
    }
    d->secondary = backing_of(d->hidden);
    if (!d->secondary) {
        error_setg(errp, "Hidden disk doesn't have backing file");
        return false;
    }
    return true;
}

static bool check_disks(const BlockDriverState *bs, const Disks *d,
                        Error **errp)
{
    int64_t length = bdrv_getlength(d->active);

    if (!has_user(d->secondary)) {
        error_setg(errp, "The secondary disk doesn't have block backend");
        return false;
    }
    if (length < 0 || bdrv_getlength(d->hidden) != length ||
        bdrv_getlength(d->secondary) != length) {
        error_setg(errp, "Active disk, hidden disk, secondary disk's length "
                   "are not the same");
        return false;
    }
    if (!d->active->drv->co_make_empty || !d->hidden->drv->co_make_empty) {
        error_setg(errp, "Active disk or hidden disk doesn't support "
                   "make_empty");
        return false;
    }
    if (bs->read_only || d->active->read_only) {
        error_setg(errp, "Block node is read-only");
        return false;
    }
    return true;
}

/* Is the root of the graph that the guest uses where the user has said? */
static bool check_top(BlockDriverState *bs, Error **errp)
{
    const ReplicationState *s = replication_state(bs);
    BlockDriverState *top = bdrv_lookup_bs(s->top_id, s->top_id, NULL);
    BdrvChild *c = NULL;
    bool ok = top && bdrv_is_below(top, bs);

    while (ok && (c = bdrv_next_parent(top, c))) {
        ok = !c->klass->parent_is_bs;
    }
    if (!ok) {
        error_setg(errp, "No top_bs or it is invalid");
    }
    return ok;
}

/* A bitmap would not record that other data shows in @bs and above it. */
static bool bitmaps_bear_it(BlockDriverState *bs, Error **errp)
{
    BdrvDirtyBitmap *bitmap = NULL;
    BdrvChild *c = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_recording(bitmap)) {
            error_setg(errp, "Replication changes the data of node '%s', "
                       "which dirty bitmap '%s' would not record",
                       bs->node_name, bdrv_dirty_bitmap_name(bitmap) ?: "");
            return false;
        }
    }
    while ((c = bdrv_next_parent(bs, c))) {
        if (c->klass->parent_is_bs && !bitmaps_bear_it(c->opaque, errp)) {
            return false;
        }
    }
    return true;
}

/* --- a secondary starts --- */

static void undo_cbw(void *opaque)
{
    ReplicationState *s = opaque;

    cbw_drop(s->cbw);
    bdrv_unref(g_steal_pointer(&s->cbw));
}

static const TransactionActionDrv cbw_step = {.abort = undo_cbw};

static bool insert_cbw(ReplicationState *s, const Disks *d, Error **errp)
{
    BlockdevRef file = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = d->secondary->node_name,
    };
    BlockdevRef target = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = d->hidden->node_name,
    };
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_COPY_BEFORE_WRITE,
        .u.copy_before_write = {
            .file = &file,
            .target = &target,
            .has_on_cbw_error = true,
            .on_cbw_error = ON_CBW_ERROR_BREAK_GUEST_WRITE,
            .has_cbw_timeout = true,
            .has_min_cluster_size = true,
        },
    };
    BlockDriverState *cbw = bdrv_insert_node(d->secondary, &options, errp);

    if (cbw) {
        s->cbw = bdrv_ref(cbw);
        tran_add(s->attached, &cbw_step, s);
    }
    return cbw != NULL;
}

static bool make_empty(BlockDriverState *bs, Error **errp)
{
    int ret = commit_empty(bs);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to empty %s", bs->filename);
    }
    return ret >= 0;
}

/* From now on @bs shows the secondary disk. */
static bool empty_disks(BlockDriverState *bs, const Disks *d, Error **errp)
{
    ReplicationState *s = replication_state(bs);

    if (!bitmaps_bear_it(d->hidden, errp)) {
        return false;
    }
    if (!make_empty(d->active, errp) || !make_empty(d->hidden, errp)) {
        s->error = -EIO;
        return false;
    }
    cbw_restart(s->cbw);
    s->error = 0;
    return true;
}

static bool hold_node(BlockDriverState *bs, Error **errp)
{
    ReplicationState *s = replication_state(bs);

    s->held = tran_new();
    return check_top(bs, errp) && hold_upwards(s, bs, errp);
}

/* Undone by detach() if it fails. */
static bool attach(BlockDriverState *bs, const Disks *d, Error **errp)
{
    ReplicationState *s = replication_state(bs);

    if (!hold_node(bs, errp)) {
        return false;
    }
    s->attached = tran_new();
    return hold_writable(s, d->active, errp) &&
           hold_writable(s, d->hidden, errp) &&
           hold(s, d->secondary, s->attached, errp) &&
           block_job_freeze_chain(bs, d->secondary, s->attached, errp) &&
           insert_cbw(s, d, errp) && empty_disks(bs, d, errp);
}

static void detach(ReplicationState *s)
{
    block_job_let_go(&s->attached);
    block_job_let_go(&s->held);
}

static void drain(BlockDriverState *bs, BlockDriverState *secondary)
{
    bdrv_drained_begin(bdrv_ref(bs));
    bdrv_drained_begin(bdrv_ref(secondary));
}

static void undrain(BlockDriverState *bs, BlockDriverState *secondary)
{
    bdrv_drained_end(secondary);
    bdrv_drained_end(bs);
    bdrv_unref(secondary);
    bdrv_unref(bs);
}

static bool start_secondary(BlockDriverState *bs, Error **errp)
{
    ReplicationState *s = replication_state(bs);
    Disks d;
    bool ok;

    if (!find_disks(bs, &d, errp) || !check_disks(bs, &d, errp)) {
        return false;
    }
    drain(bs, d.secondary);
    ok = attach(bs, &d, errp);
    if (!ok) {
        detach(s);
    }
    undrain(bs, d.secondary);
    return ok;
}

static bool start(BlockDriverState *bs, Error **errp)
{
    ReplicationState *s = replication_state(bs);

    if (s->mode == REPLICATION_MODE_SECONDARY && !start_secondary(bs, errp)) {
        return false;
    }
    s->error = 0;
    s->stage = REPLICATION_RUNNING;
    return true;
}

static bool may_start(const ReplicationState *s, ReplicationMode mode,
                      Error **errp)
{
    if (s->stage != REPLICATION_NONE) {
        error_setg(errp, "Block replication is running or done");
        return false;
    }
    if (s->mode != mode) {
        error_setg(errp, "The parameter mode's value is invalid, needs %d, "
                   "but got %d", s->mode, mode);
        return false;
    }
    return true;
}

/* --- checkpoint --- */

static bool not_running(Error **errp)
{
    error_setg(errp, "Block replication is not running");
    return false;
}

static bool checkpoint(BlockDriverState *bs, Error **errp)
{
    const ReplicationState *s = replication_state(bs);
    Disks d;
    bool ok;

    if (s->mode == REPLICATION_MODE_PRIMARY) {
        return true;
    }
    if (s->stage != REPLICATION_RUNNING) {
        return not_running(errp);
    }
    find_disks(bs, &d, &error_abort); /* the chain is frozen */
    drain(bs, d.secondary);
    ok = empty_disks(bs, &d, errp);
    undrain(bs, d.secondary);
    return ok;
}

/* --- failover --- */

static void failover_ended(void *opaque, int ret)
{
    BlockDriverState *bs = opaque;
    ReplicationState *s = replication_state(bs);

    s->error = ret;
    s->stage = ret < 0 ? REPLICATION_FAILOVER_FAILED : REPLICATION_DONE;
    s->on_secondary = ret == 0;
    bdrv_refresh_perms(bs, NULL, NULL);
    block_job_let_go(&s->held);
    bdrv_unref(bs);
}

static bool start_commit(BlockDriverState *bs, const Disks *d, Error **errp)
{
    ReplicationState *s = replication_state(bs);
    ChainJobParams p = {
        .on_error = BLOCKDEV_ON_ERROR_REPORT,
        .flags = JOB_INTERNAL,
        .auto_complete = true,
        .ended = failover_ended,
        .ended_opaque = bdrv_ref(bs),
    };

    s->stage = REPLICATION_FAILOVER;
    if (!active_commit_job_start(d->active, d->secondary, &p, errp)) {
        s->stage = REPLICATION_FAILOVER_FAILED;
        s->error = -EIO;
        bdrv_refresh_perms(bs, NULL, NULL);
        block_job_let_go(&s->held);
        bdrv_unref(bs);
        return false;
    }
    return true;
}

/* Who writes to the secondary disk cannot do so any more. */
static bool insert_fence(BlockDriverState *cbw, Error **errp)
{
    g_autoptr(BlockDriverState) fence = replication_fence_new(cbw, errp);

    return fence && bdrv_replace_node(cbw, fence, BDRV_CONTENT_SAME, errp);
}

static bool failover_drained(BlockDriverState *bs, const Disks *d,
                             Error **errp)
{
    ReplicationState *s = replication_state(bs);

    if (!insert_fence(s->cbw, errp)) {
        return false;
    }
    block_job_let_go(&s->attached);
    return start_commit(bs, d, errp);
}

static bool failover_running(BlockDriverState *bs, Error **errp)
{
    const ReplicationState *s = replication_state(bs);
    Disks d;
    bool ok;

    if (s->error) {
        error_setg(errp, "Node '%s' cannot fail over: its last checkpoint is "
                   "not complete", bs->node_name);
        return false;
    }
    find_disks(bs, &d, &error_abort);
    drain(bs, d.secondary);
    ok = failover_drained(bs, &d, errp);
    undrain(bs, d.secondary);
    return ok;
}

/* Once more; meanwhile the user may have changed the graph. */
static bool failover_again(BlockDriverState *bs, Error **errp)
{
    ReplicationState *s = replication_state(bs);
    Disks d;

    if (!find_disks(bs, &d, errp)) {
        return false;
    }
    if (!hold_node(bs, errp)) {
        block_job_let_go(&s->held);
        return false;
    }
    s->error = 0;
    return start_commit(bs, &d, errp);
}

/* --- the end --- */

static bool stop_secondary(BlockDriverState *bs, Error **errp)
{
    ReplicationState *s = replication_state(bs);
    Disks d;
    bool ok;

    find_disks(bs, &d, &error_abort);
    drain(bs, d.secondary);
    ok = empty_disks(bs, &d, errp);
    if (ok) {
        detach(s);
        s->stage = REPLICATION_DONE;
    }
    undrain(bs, d.secondary);
    return ok;
}

static bool stop(BlockDriverState *bs, bool failover, Error **errp)
{
    ReplicationState *s = replication_state(bs);

    if (failover && s->stage == REPLICATION_FAILOVER_FAILED) {
        return failover_again(bs, errp);
    }
    if (failover && s->stage == REPLICATION_FAILOVER) {
        return true;
    }
    if (s->stage != REPLICATION_RUNNING) {
        return not_running(errp);
    }
    if (s->mode == REPLICATION_MODE_SECONDARY) {
        return failover ? failover_running(bs, errp)
                        : stop_secondary(bs, errp);
    }
    s->error = 0;
    s->stage = REPLICATION_DONE;
    return true;
}

/* --- all nodes --- */

static void drop_ref(void *bs)
{
    bdrv_unref(bs);
}

/* Those that are not done, the newest first. */
static GPtrArray *find_nodes(void)
{
    GPtrArray *nodes = g_ptr_array_new_with_free_func(drop_ref);
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        const ReplicationState *s = replication_state(bs);

        if (s && s->stage != REPLICATION_DONE) {
            g_ptr_array_add(nodes, bdrv_ref(bs));
        }
    }
    return nodes;
}

/* Back to the state before start(). */
static void unstart(BlockDriverState *bs)
{
    ReplicationState *s = replication_state(bs);

    s->stage = REPLICATION_NONE;
    detach(s);
}

bool replication_start_all(ReplicationMode mode, Error **errp)
{
    g_autoptr(GPtrArray) nodes = find_nodes();

    for (guint i = 0; i < nodes->len; i++) {
        if (!may_start(replication_state(nodes->pdata[i]), mode, errp)) {
            return false;
        }
    }
    for (guint i = 0; i < nodes->len; i++) {
        if (!start(nodes->pdata[i], errp)) {
            while (i-- > 0) {
                unstart(nodes->pdata[i]);
            }
            return false;
        }
    }
    return true;
}

bool replication_checkpoint_all(Error **errp)
{
    g_autoptr(GPtrArray) nodes = find_nodes();
    Error *first = NULL;

    for (guint i = 0; i < nodes->len; i++) {
        checkpoint(nodes->pdata[i], first ? NULL : &first);
    }
    error_propagate(errp, first);
    return !first;
}

bool replication_stop_all(bool failover, Error **errp)
{
    g_autoptr(GPtrArray) nodes = find_nodes();
    Error *first = NULL;

    for (guint i = 0; i < nodes->len; i++) {
        stop(nodes->pdata[i], failover, first ? NULL : &first);
    }
    error_propagate(errp, first);
    return !first;
}

bool replication_check_all(Error **errp)
{
    g_autoptr(GPtrArray) nodes = find_nodes();

    for (guint i = 0; i < nodes->len; i++) {
        const ReplicationState *s = replication_state(nodes->pdata[i]);

        if (s->stage == REPLICATION_NONE) {
            return not_running(errp);
        }
        if (s->error) {
            error_setg(errp, "I/O error occurred");
            return false;
        }
        if (s->stage == REPLICATION_FAILOVER) {
            error_setg(errp, "Failover is not finished");
            return false;
        }
    }
    return true;
}

void replication_close_all(void)
{
    g_autoptr(GPtrArray) nodes = find_nodes();

    for (guint i = 0; i < nodes->len; i++) {
        unstart(nodes->pdata[i]);
    }
}
