/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Committing while there are no other users of the images. */
#include "qemu/osdep.h"
#include "block/commit.h"
#include "block/io.h"
#include "block/node-int.h"

int commit_grow(BlockBackend *base, int64_t size, Error **errp)
{
    int64_t old = blk_getlength(base);

    if (old < 0) {
        error_setg_errno(errp, -old, "Could not get the size of '%s'",
                         blk_bs(base)->node_name);
        return old;
    }
    return old >= size ? 0 : blk_truncate(base, size, false,
                                          PREALLOC_MODE_OFF, 0, errp);
}

/* --- the image is emptied --- */

typedef struct EmptyCall {
    BlockDriverState *bs;
    int ret;
} EmptyCall;

static void coroutine_fn empty_entry(void *opaque)
{
    EmptyCall *call = opaque;

    call->ret = call->bs->drv->co_make_empty(call->bs);
}

int commit_empty(BlockDriverState *bs)
{
    EmptyCall call = { bs, -ENOTSUP };

    if (bs->drv->co_make_empty) {
        aio_run_co(bs->ctx, empty_entry, &call);
        bdrv_node(bs)->write_gen++; /* the next flush is not skipped */
    }
    return call.ret;
}

/* --- an image that is open with its backing file --- */

static int copy_down(BlockDriverState *bs, BlockDriverState *base)
{
    g_autoptr(BlockBackend) from =
        blk_new_unqueued(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, NULL,
                         NULL);
    g_autoptr(BlockBackend) to =
        blk_new_unqueued(base, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE |
                         BLK_PERM_RESIZE, BLK_PERM_ALL, NULL, NULL);
    CommitLayer layer = { bs, from };
    CommitCopy c = { .layers = &layer, .n_layers = 1, .base = to };
    int ret;

    if (!from || !to) {
        return -EPERM;
    }
    c.size = blk_getlength(from);
    if (c.size < 0) {
        return c.size;
    }
    ret = commit_grow(to, c.size, NULL);
    if (ret == 0) {
        ret = commit_copy(&c);
    }
    return ret;
}

/* The filter is inserted so that the permissions of @bs's users allow it. */
static int commit_drained(BlockDriverState *bs, BlockDriverState *base)
{
    BlockDriverState *owner = bdrv_node(base)->inherits_from;
    g_autoptr(BlockDriverState) filter = commit_filter_new(base, NULL, NULL);
    int ret;

    if (!filter || !bdrv_set_backing(bs, filter, BDRV_CONTENT_SAME, NULL)) {
        return -EPERM;
    }
    ret = copy_down(bs, base);
    if (!bdrv_set_backing(bs, base, BDRV_CONTENT_SAME, NULL)) {
        /* The filter stays, which is harmless. */
        return -EPERM;
    }
    bdrv_node(base)->inherits_from = owner;
    if (ret == 0) {
        /* Only now does the base hold all the data.  Where the format cannot
         * drop it, it stays. */
        ret = commit_empty(bs);
        ret = ret == -ENOTSUP ? 0 : ret;
    }
    return ret < 0 ? ret : bdrv_flush(bs);
}

static int commit_writable(BlockDriverState *bs, BlockDriverState *base)
{
    bool read_only = base->read_only;
    int ret;

    if (read_only && !bdrv_reopen_set_read_only(base, false, NULL)) {
        return -EACCES;
    }
    bdrv_drained_begin(base);
    ret = commit_drained(bs, base);
    bdrv_drained_end(base);
    if (read_only) {
        bdrv_reopen_read_only_again(base);
    }
    return ret;
}

int bdrv_commit(BlockDriverState *bs)
{
    bool busy = !bdrv_op_check(bs, NULL);
    BlockDriverState *base;
    int ret;

    bs = bdrv_skip_filters(bs);
    if (!bdrv_cow_child(bs)) {
        return -ENOTSUP;
    }
    base = bdrv_ref(bdrv_cow_child(bs)->bs);
    bdrv_ref(bs);
    bdrv_drained_begin(bs);
    if (busy || !bdrv_op_check(bs, NULL) || !bdrv_op_check(base, NULL)) {
        ret = -EBUSY;
    } else if (bs->read_only) {
        ret = -EACCES;
    } else {
        ret = commit_writable(bs, base);
    }
    bdrv_drained_end(bs);
    bdrv_unref(bs);
    bdrv_unref(base);
    return ret;
}
