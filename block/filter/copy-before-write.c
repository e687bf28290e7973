/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy-before-write: before a request changes data that was not saved yet, the
 * old data is copied to the target.
 *
 * A write first copies what is left in its clusters, then waits for readers of
 * the snapshot that are reading this range from the source; only then it
 * continues.  So the source is unchanged in all ranges outside of `done`.
 *
 *     access   ranges that can be read: at first all (or a bitmap, if the user
 *              gave one), later without ranges that were overwritten unsaved,
 *              as a job over the filter copies only a part
 *     done     ranges overwritten after they were saved: read from the target
 *     reads    readers of the source, of data and of its status
 *
 * A reader gets the data of the moment of the snapshot, or -EACCES.  The copy
 * engine determines which ranges are saved (block_copy_kept()): there a write
 * sets `done`, elsewhere it clears `access`, in either case before it
 * continues.
 *
 * Flush.  The guest's flush flushes its own disk.  Saved data can be read back
 * from the target in this process; it is not made durable for the guest.  A
 * snapshot does not outlive the process: `access` and `done` are lost with it,
 * and after a power failure the target cannot be used, whatever part of it had
 * reached the disk, while the guest's disk is complete without it.  A user that
 * needs a durable target flushes it: the backup job does before it succeeds,
 * and before bits of copied data are cleared in a bitmap.
 *
 * Errors.  Data that cannot be saved makes the guest's write fail, or breaks
 * the snapshot permanently (on-cbw-error): readers get -EACCES from then on,
 * and the job over the filter fails.  Some errors of the target occur only when
 * it is flushed, as its metadata is written late: those affect the job only.
 */
#include "qemu/osdep.h"
#include "block/copy-before-write.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/reqlist.h"
#include "qapi/qapi-types-block-bitmap.h"

#define NS_PER_SECOND INT64_C(1000000000)

typedef struct CbwState {
    BdrvChild *target;
    BlockCopyState *copy;
    OnCbwError on_error;
    int64_t timeout_ns; /* 0: none */
    HBitmap *access, *done;
    BdrvShownBits *access_shown, *done_shown;
    BlockReqList reads;
    BlockCopyError broken; /* why some data was not saved */
    bool ended; /* no more data is saved and the snapshot is gone */
    void (*broken_hook)(void *opaque);
    void *broken_opaque;
} CbwState;

extern const BlockDriver bdrv_copy_before_write;

bool cbw_is_cbw(const BlockDriverState *bs)
{
    return bs->drv == &bdrv_copy_before_write;
}

BlockCopyState *cbw_block_copy(BlockDriverState *bs)
{
    CbwState *s = bs->opaque;

    g_assert(cbw_is_cbw(bs));
    return s->copy;
}

bool cbw_has_snapshot(const BlockDriverState *bs)
{
    return cbw_is_cbw(bs) && !((const CbwState *)bs->opaque)->ended;
}

const BlockCopyError *cbw_broken(BlockDriverState *bs)
{
    CbwState *s = bs->opaque;

    return s->broken.ret < 0 ? &s->broken : NULL;
}

void cbw_set_broken_hook(BlockDriverState *bs, void (*broken)(void *opaque),
                         void *opaque)
{
    CbwState *s = bs->opaque;

    s->broken_hook = broken;
    s->broken_opaque = opaque;
}

void cbw_abandon(BlockDriverState *bs)
{
    CbwState *s = bs->opaque;

    s->on_error = ON_CBW_ERROR_BREAK_SNAPSHOT;
    if (s->broken.ret == 0) {
        s->broken.ret = -ECANCELED;
    }
}

void cbw_restart(BlockDriverState *bs)
{
    CbwState *s = bs->opaque;

    g_assert(cbw_has_snapshot(bs) && LIST_EMPTY(&s->reads.reqs));
    block_copy_restart(s->copy);
    hbitmap_set_all(s->access);
    hbitmap_reset_all(s->done);
    s->broken = (BlockCopyError) {0};
}

/* --- saving old data --- */

/* A copy operation that may be abandoned before it ends. */
typedef struct TimedCopy {
    BlockDriverState *bs;
    BlockCopyCall *call;
    CoSleep sleep;
    bool given_up;
} TimedCopy;

static void timed_copy_done(void *opaque)
{
    TimedCopy *t = opaque;

    bdrv_dec_in_flight(t->bs);
    if (t->given_up) {
        block_copy_call_free(t->call);
        g_free(t);
    } else {
        co_sleep_wake(&t->sleep);
    }
}

static int coroutine_fn copy_timed(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, BlockCopyError *error)
{
    CbwState *s = bs->opaque;
    TimedCopy *t = g_new0(TimedCopy, 1);
    BlockCopyParams params = {
        .offset = offset,
        .bytes = bytes,
        .max_workers = 1,
        .guest_write = true,
        .done = timed_copy_done,
        .opaque = t,
    };
    int ret;

    t->bs = bs;
    bdrv_inc_in_flight(bs);
    t->call = block_copy_async(s->copy, &params);
    if (!block_copy_call_finished(t->call)) {
        co_sleep_wakeable(&t->sleep, s->timeout_ns);
    }
    if (!block_copy_call_finished(t->call)) {
        t->given_up = true;
        block_copy_call_cancel(t->call);
        *error = (BlockCopyError) {
            .ret = -ETIMEDOUT, .offset = offset, .bytes = bytes,
        };
        return -ETIMEDOUT;
    }
    ret = block_copy_call_status(t->call, error);
    block_copy_call_free(t->call);
    g_free(t);
    return ret;
}

static void snapshot_broken(CbwState *s, const BlockCopyError *error)
{
    if (s->broken.ret == 0) {
        s->broken = *error;
        if (s->broken_hook) {
            s->broken_hook(s->broken_opaque);
        }
    }
}

/* The range is about to be overwritten; the part set in `kept` was saved. */
static void before_overwrite(CbwState *s, int64_t start, int64_t end)
{
    const HBitmap *kept = block_copy_kept(s->copy);
    int64_t n;

    for (; start < end; start += n) {
        if (hbitmap_status(kept, start, end - start, &n)) {
            hbitmap_set(s->done, start, n);
        } else {
            hbitmap_reset(s->access, start, n);
        }
    }
}

static int coroutine_fn save_old_data(BlockDriverState *bs, int64_t offset,
                                      int64_t bytes)
{
    CbwState *s = bs->opaque;
    int64_t cluster = block_copy_cluster_size(s->copy);
    int64_t size = hbitmap_size(s->done);
    int64_t start = ROUND_DOWN(offset, cluster);
    int64_t end = offset + bytes;
    int64_t rest = -end & (cluster - 1); /* of the last cluster */
    BlockCopyError error = {0};

    end = rest < size - end ? end + rest : size;
    if (start >= end) {
        return 0;
    }
    if (s->broken.ret == 0) {
        if (s->timeout_ns) {
            copy_timed(bs, start, end - start, &error);
        } else {
            block_copy(s->copy, start, end - start, &error);
        }
    }
    if (error.ret < 0 && s->on_error == ON_CBW_ERROR_BREAK_GUEST_WRITE) {
        return error.ret;
    }
    if (error.ret < 0) {
        snapshot_broken(s, &error);
    } else if (s->broken.ret == 0) {
        before_overwrite(s, start, end);
    }
    if (s->broken.ret < 0) {
        block_copy_spoil(s->copy, start, end - start);
    }
    /* Readers that began before the snapshot broke get its data. */
    block_reqs_wait_all(&s->reads, start, end - start);
    return 0;
}

static int coroutine_fn before_write(BlockDriverState *bs, int64_t offset,
                                     int64_t bytes, BdrvRequestFlags flags)
{
    const CbwState *s = bs->opaque;

    return s->ended || (flags & BDRV_REQ_WRITE_UNCHANGED)
        ? 0 : save_old_data(bs, offset, bytes);
}

static int coroutine_fn cbw_co_pwritev(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       size_t qiov_offset,
                                       BdrvRequestFlags flags)
{
    int ret = before_write(bs, offset, bytes, flags);

    return ret < 0 ? ret : bdrv_co_pwritev(bs->file, offset, bytes, qiov,
                                           qiov_offset, flags);
}

static int coroutine_fn cbw_co_pwritev_compressed(BlockDriverState *bs,
                                                  int64_t offset,
                                                  int64_t bytes,
                                                  QEMUIOVector *qiov,
                                                  size_t qiov_offset)
{
    return cbw_co_pwritev(bs, offset, bytes, qiov, qiov_offset,
                          BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn cbw_co_pwrite_zeroes(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             BdrvRequestFlags flags)
{
    int ret = before_write(bs, offset, bytes, flags);

    return ret < 0 ? ret : bdrv_co_pwrite_zeroes(bs->file, offset, bytes,
                                                 flags);
}

static int coroutine_fn cbw_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes)
{
    int ret = before_write(bs, offset, bytes, 0);

    return ret < 0 ? ret : bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int coroutine_fn cbw_co_truncate(BlockDriverState *bs, int64_t offset,
                                        bool exact, PreallocMode prealloc,
                                        BdrvRequestFlags flags, Error **errp)
{
    const CbwState *s = bs->opaque;

    if (s->ended) {
        return bdrv_co_truncate(bs->file, offset, exact, prealloc, flags,
                                errp);
    }
    error_setg(errp, "Node '%s' cannot be resized: a snapshot of it is kept "
               "by node '%s'", bs->file->bs->node_name, bs->node_name);
    return -ENOTSUP;
}

/* --- reading the snapshot --- */

/* A run of @bits of one value at @offset. */
static bool bits_run(const HBitmap *bits, int64_t offset, int64_t *bytes)
{
    return hbitmap_status(bits, offset, *bytes, bytes);
}

/*
 * The first part of a range that is in one place: *@saved: on the target.
 * Shortens *@bytes.  -EACCES.
 */
static int snapshot_run(CbwState *s, int64_t offset, int64_t *bytes,
                        bool *saved)
{
    if (s->broken.ret < 0 || s->ended || offset >= hbitmap_size(s->done) ||
        !bits_run(s->access, offset, bytes)) {
        return -EACCES;
    }
    *saved = bits_run(s->done, offset, bytes);
    return 0;
}

int coroutine_fn cbw_co_preadv_snapshot(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset)
{
    CbwState *s = bs->opaque;

    while (bytes > 0) {
        int64_t run = bytes;
        BlockReq req;
        bool saved;
        int ret = snapshot_run(s, offset, &run, &saved);

        if (ret == 0 && saved) {
            ret = bdrv_co_preadv(s->target, offset, run, qiov, qiov_offset,
                                 0);
        } else if (ret == 0) {
            block_reqs_add(&s->reads, &req, offset, run);
            ret = bdrv_co_preadv(bs->file, offset, run, qiov, qiov_offset, 0);
            block_reqs_remove(&req);
        }
        if (ret < 0) {
            return ret;
        }
        offset += run;
        qiov_offset += run;
        bytes -= run;
    }
    return 0;
}

int coroutine_fn cbw_co_snapshot_status(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, int64_t *pnum)
{
    CbwState *s = bs->opaque;
    int64_t run = bytes;
    BlockReq req;
    bool saved;
    int ret = snapshot_run(s, offset, &run, &saved);

    if (ret == 0 && saved) {
        ret = bdrv_block_status_above(s->target->bs, NULL, offset, run, pnum,
                                      NULL, NULL, NULL);
    } else if (ret == 0) {
        /* Writes wait for the query, as they do for a read. */
        block_reqs_add(&s->reads, &req, offset, run);
        ret = bdrv_block_status_above(bs->file->bs, NULL, offset, run, pnum,
                                      NULL, NULL, NULL);
        block_reqs_remove(&req);
    }
    /* The host offset is not exposed. */
    return ret < 0 ? ret : ret & (BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO);
}

/* --- life --- */

static void cbw_child_perm(BlockDriverState *bs, BdrvChild *child,
                           BdrvChildRole role, uint64_t perm, uint64_t shared,
                           uint64_t *nperm, uint64_t *nshared)
{
    const CbwState *s = bs->opaque;

    if (s->ended && !(role & BDRV_CHILD_FILTERED)) {
        *nperm = 0;
        *nshared = BLK_PERM_ALL;
        return;
    }
    if (!(role & BDRV_CHILD_FILTERED)) {
        /* The target is shared with readers of the snapshot. */
        *nperm = BLK_PERM_WRITE | BLK_PERM_CONSISTENT_READ;
        *nshared = BLK_PERM_ALL & ~(uint64_t)BLK_PERM_RESIZE;
        return;
    }
    bdrv_default_perms(bs, child, role, perm, shared, nperm, nshared);
    if (!s->ended && bdrv_next_parent(bs, NULL)) {
        /* Writes that bypass the filter would not be noticed. */
        *nperm |= BLK_PERM_CONSISTENT_READ;
        *nshared &= ~(uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
}

/* Restricts what is saved to the bits of the bitmap named in @o. */
static bool use_bitmap(CbwState *s, const BlockdevOptionsCbw *o, Error **errp)
{
    const HBitmap *bits;
    BdrvDirtyBitmap *bitmap;

    bitmap = bdrv_dirty_bitmap_lookup(o->bitmap->node, o->bitmap->name,
                                      errp);
    if (!bitmap ||
        !bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_OP_JOB_READ, errp)) {
        return false;
    }
    bits = bdrv_dirty_bitmap_hbitmap(bitmap);
    if (hbitmap_size(bits) != hbitmap_size(s->access)) {
        error_setg(errp, "Bitmap '%s' has another size than the source",
                   o->bitmap->name);
        return false;
    }
    block_copy_set_todo(s->copy, bits);
    return true;
}

static bool init_bitmaps(BlockDriverState *bs, const BlockdevOptionsCbw *o,
                         Error **errp)
{
    CbwState *s = bs->opaque;
    int64_t size = hbitmap_size(block_copy_kept(s->copy));
    uint64_t cluster = block_copy_cluster_size(s->copy);

    s->access = hbitmap_try_new(size, cluster);
    s->done = hbitmap_try_new(size, cluster);
    if (!s->access || !s->done) {
        error_setg(errp, "Not enough memory to track what node '%s' has saved",
                   bs->node_name);
        return false;
    }
    if (o->bitmap && !use_bitmap(s, o, errp)) {
        return false;
    }
    hbitmap_merge(block_copy_kept(s->copy), NULL, s->access);
    s->done_shown = bdrv_dirty_bitmap_show_bits(bs, s->done, false);
    s->access_shown = bdrv_dirty_bitmap_show_bits(bs, s->access, false);
    return true;
}

/* Frees all state of the snapshot. */
static void forget_snapshot(CbwState *s)
{
    bdrv_dirty_bitmap_hide_bits(g_steal_pointer(&s->access_shown));
    bdrv_dirty_bitmap_hide_bits(g_steal_pointer(&s->done_shown));
    hbitmap_free(g_steal_pointer(&s->access));
    hbitmap_free(g_steal_pointer(&s->done));
    block_copy_state_free(g_steal_pointer(&s->copy));
}

/*
 * Readers of the snapshot may keep the node.  It is an inactive filter then,
 * without permissions on the guest's disk and without a target.
 */
void cbw_drop(BlockDriverState *bs)
{
    CbwState *s = bs->opaque;
    BdrvChild *c = NULL;

    g_assert(cbw_is_cbw(bs) && !s->ended);
    bdrv_ref(bs);
    /* The drain completes writes that wait for readers of the snapshot. */
    bdrv_drained_begin(bs);
    s->ended = true;
    bdrv_drop_filter(bs, &error_abort);
    forget_snapshot(s);
    bdrv_unref_child(bs, g_steal_pointer(&s->target));
    while ((c = bdrv_next_parent(bs, c))) {
        if (c->klass->parent_is_bs) {
            bdrv_refresh_perms(c->opaque, NULL, NULL);
        }
    }
    bdrv_drained_end(bs);
    bdrv_unref(bs);
}

/*
 * Filters may be inserted and removed.  An overlay, too: the source reads the
 * same, if it is empty, as the user asserts; but the allocation of the topmost
 * image is another one then.
 */
static BdrvConsent cbw_child_change(BlockDriverState *bs,
                                    const BdrvChildChange *change,
                                    Transaction *tran, Error **errp)
{
    const CbwState *s = bs->opaque;

    if (change->content == BDRV_CONTENT_OVERLAY &&
        (change->role & BDRV_CHILD_FILTERED) &&
        (s->ended || !block_copy_skips_unallocated(s->copy))) {
        return BDRV_ACCEPT;
    }
    return bdrv_child_change_same(bs, change, tran, errp);
}

static void cbw_close(BlockDriverState *bs)
{
    forget_snapshot(bs->opaque);
}

static int cbw_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    const BlockdevOptionsCbw *o = &options->u.copy_before_write;
    CbwState *s = bs->opaque;

    s->on_error = o->on_cbw_error;
    s->timeout_ns = o->cbw_timeout * NS_PER_SECOND;
    if (!bdrv_open_child(bs, o->file, "file",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        return -EINVAL;
    }
    s->target = bdrv_open_child(bs, o->target, "target", BDRV_CHILD_DATA,
                                errp);
    if (!s->target) {
        return -EINVAL;
    }
    s->copy = block_copy_state_new(bs->file, s->target, o->min_cluster_size,
                                   errp);
    if (!s->copy || !init_bitmaps(bs, o, errp)) {
        cbw_close(bs);
        return -EINVAL;
    }
    return 0;
}

static const char *const cbw_strong_options[] = {NULL};

const BlockDriver bdrv_copy_before_write = {
    .format_name = "copy-before-write",
    .instance_size = sizeof(CbwState),
    .is_filter = true,
    .stays_active = "it keeps what its child had",
    .strong_options = cbw_strong_options,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .open = cbw_open,
    .close = cbw_close,
    .child_perm = cbw_child_perm,
    .child_change = cbw_child_change,
    .co_pwritev = cbw_co_pwritev,
    .co_pwritev_compressed = cbw_co_pwritev_compressed,
    .co_pwrite_zeroes = cbw_co_pwrite_zeroes,
    .co_pdiscard = cbw_co_pdiscard,
    .co_truncate = cbw_co_truncate,
};
