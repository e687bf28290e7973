/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replication: the disk of a machine of which a copy runs, or could run, on
 * another host.  The requests; what starts and ends it is in
 * block/replication.c.
 *
 * primary      what is written is passed on, to the secondary's server.  A
 *              failure is noted, and does not fail the guest's write, as the
 *              guest has a disk of its own; so nothing is read here.
 * secondary    guest
 *                |
 *           replication            primary
 *                |                    |
 *              active               cbw --target--> hidden
 *                | backing            |
 *              hidden                 |
 *                | backing            |
 *                +--- secondary ------+
 *
 *              The guest's own writes go to the active disk.  What the primary
 *              overwrites was saved on the hidden disk before.  So the guest
 *              sees the disk of the last checkpoint and its own writes.
 *
 * The primary's writes come while the guest reads.  What is allocated neither
 * in the active nor in the hidden disk is read from the secondary disk, which
 * must not have changed since the hidden disk was looked at.  The copy engine
 * sees to that, as the source is below the target: its writes to the hidden
 * disk wait for all requests there that overlap, and those end only when what
 * is below was read; and the primary's write waits for the copy.  This holds as
 * well for queries of block status, and for what a write to a part of a cluster
 * of the active disk reads.
 */
#include "qemu/osdep.h"
#include "block/io.h"
#include "block/replication-node.h"

extern const BlockDriver bdrv_replication;

ReplicationState *replication_state(BlockDriverState *bs)
{
    return bs->drv == &bdrv_replication ? bs->opaque : NULL;
}

static bool is_primary(const ReplicationState *s)
{
    return s->mode == REPLICATION_MODE_PRIMARY;
}

/* --- reading --- */

static bool is_readable(const BlockDriverState *bs)
{
    const ReplicationState *s = bs->opaque;

    return !is_primary(s) && s->stage != REPLICATION_NONE;
}

static int coroutine_fn replication_co_preadv(BlockDriverState *bs,
                                              int64_t offset, int64_t bytes,
                                              QEMUIOVector *qiov,
                                              size_t qiov_offset,
                                              BdrvRequestFlags flags)
{
    if (!is_readable(bs)) {
        return -EIO;
    }
    return bdrv_co_preadv(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn replication_co_block_status(BlockDriverState *bs,
                                                    bool want_zero,
                                                    int64_t offset,
                                                    int64_t bytes,
                                                    int64_t *pnum,
                                                    int64_t *map,
                                                    BlockDriverState **file)
{
    *pnum = bytes;
    if (!is_readable(bs)) {
        return BDRV_BLOCK_DATA; /* so that reading it is tried, and fails */
    }
    *map = offset;
    *file = bs->file->bs;
    return BDRV_BLOCK_RAW;
}

/* --- writing --- */

static bool is_writable(const BlockDriverState *bs)
{
    const ReplicationState *s = bs->opaque;

    return is_primary(s) ? s->stage == REPLICATION_RUNNING
                         : s->stage != REPLICATION_NONE;
}

/* The result of a write for the guest. */
static int written(BlockDriverState *bs, int ret)
{
    ReplicationState *s = bs->opaque;

    if (ret < 0 && is_primary(s)) {
        s->error = ret;
        return 0;
    }
    return ret;
}

static int coroutine_fn replication_co_pwritev(BlockDriverState *bs,
                                               int64_t offset, int64_t bytes,
                                               QEMUIOVector *qiov,
                                               size_t qiov_offset,
                                               BdrvRequestFlags flags)
{
    if (!is_writable(bs)) {
        return -EIO;
    }
    return written(bs, bdrv_co_pwritev(bs->file, offset, bytes, qiov,
                                       qiov_offset, flags));
}

static int coroutine_fn replication_co_pwritev_compressed(BlockDriverState *bs,
                                                          int64_t offset,
                                                          int64_t bytes,
                                                          QEMUIOVector *qiov,
                                                          size_t qiov_offset)
{
    return replication_co_pwritev(bs, offset, bytes, qiov, qiov_offset,
                                  BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn replication_co_pwrite_zeroes(BlockDriverState *bs,
                                                     int64_t offset,
                                                     int64_t bytes,
                                                     BdrvRequestFlags flags)
{
    int ret;

    if (!is_writable(bs)) {
        return -EIO;
    }
    ret = bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
    if (ret == -ENOTSUP && (flags & BDRV_REQ_NO_FALLBACK)) {
        return ret; /* the caller writes data */
    }
    return written(bs, ret);
}

static int coroutine_fn replication_co_pdiscard(BlockDriverState *bs,
                                                int64_t offset, int64_t bytes)
{
    if (!is_writable(bs)) {
        return -EIO;
    }
    return written(bs, bdrv_co_pdiscard(bs->file, offset, bytes));
}

/* A primary that does not replicate has written nothing. */
static int coroutine_fn replication_co_flush(BlockDriverState *bs)
{
    ReplicationState *s = bs->opaque;
    int ret;

    if (!is_primary(s)) {
        return bdrv_co_flush(bs->file->bs);
    }
    if (s->stage != REPLICATION_RUNNING) {
        return 0;
    }
    ret = bdrv_co_flush(bs->file->bs);
    s->error = ret < 0 ? ret : s->error;
    return 0;
}

static int coroutine_fn replication_co_truncate(BlockDriverState *bs,
                                                int64_t offset, bool exact,
                                                PreallocMode prealloc,
                                                BdrvRequestFlags flags,
                                                Error **errp)
{
    const ReplicationState *s = bs->opaque;

    if (s->stage == REPLICATION_DONE) {
        return bdrv_co_truncate(bs->file, offset, exact, prealloc, flags,
                                errp);
    }
    error_setg(errp, "Node '%s' cannot be resized: it is for replication",
               bs->node_name);
    return -ENOTSUP;
}

/* --- life --- */

/*
 * The secondary disk is written by others, which is possible only where all
 * above it share that; and before replication is started, as an export has to
 * use the disk by then.  From a failover on it is not, but by the commit job,
 * whose filter shares it.
 */
static bool is_written_below(const ReplicationState *s)
{
    return !is_primary(s) && !s->on_secondary &&
           (s->stage == REPLICATION_NONE || s->stage == REPLICATION_RUNNING ||
            s->stage == REPLICATION_DONE);
}

static void replication_child_perm(BlockDriverState *bs, BdrvChild *child,
                                   BdrvChildRole role, uint64_t perm,
                                   uint64_t shared, uint64_t *nperm,
                                   uint64_t *nshared)
{
    const ReplicationState *s = bs->opaque;

    bdrv_default_perms(bs, child, role, perm, shared, nperm, nshared);
    if (is_written_below(s)) {
        *nshared |= BLK_PERM_WRITE;
    }
}

static BdrvConsent replication_child_change(BlockDriverState *bs,
                                            const BdrvChildChange *change,
                                            Transaction *tran, Error **errp)
{
    const ReplicationState *s = bs->opaque;

    return s->stage == REPLICATION_RUNNING
        ? bdrv_child_change_same(bs, change, tran, errp)
        : bdrv_child_change_filter(bs, change, tran, errp);
}

static int replication_open(BlockDriverState *bs,
                            const BlockdevOptions *options, int flags,
                            Error **errp)
{
    const BlockdevOptionsReplication *o = &options->u.replication;
    ReplicationState *s = bs->opaque;

    s->bs = bs;
    s->mode = o->mode;
    if (is_primary(s) && o->top_id) {
        error_setg(errp, "The primary side does not support option top-id");
        return -EINVAL;
    }
    if (!is_primary(s) && !o->top_id) {
        error_setg(errp, "Missing the option top-id");
        return -EINVAL;
    }
    if (!bdrv_open_child(bs, o->file, "file",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        return -EINVAL;
    }
    s->top_id = g_strdup(o->top_id);
    return 0;
}

static void replication_close(BlockDriverState *bs)
{
    ReplicationState *s = bs->opaque;

    g_assert(!s->attached && !s->held);
    g_free(s->top_id);
}

static const char *const replication_strong_options[] = {
    "mode", "top-id", NULL
};

const BlockDriver bdrv_replication = {
    .format_name = "replication",
    .instance_size = sizeof(ReplicationState),
    .is_filter = true,
    .stays_active = "it replicates a disk",
    .flushes_children = true,
    .strong_options = replication_strong_options,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .open = replication_open,
    .close = replication_close,
    .child_perm = replication_child_perm,
    .child_change = replication_child_change,
    .co_preadv = replication_co_preadv,
    .co_pwritev = replication_co_pwritev,
    .co_pwritev_compressed = replication_co_pwritev_compressed,
    .co_pwrite_zeroes = replication_co_pwrite_zeroes,
    .co_pdiscard = replication_co_pdiscard,
    .co_block_status = replication_co_block_status,
    .co_flush = replication_co_flush,
    .co_truncate = replication_co_truncate,
};
