/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the size of a node. */
#include "qemu/osdep.h"
#include "block/bitmap-store.h"
#include "io-int.h"

static int check_truncate(const BdrvChild *child, int64_t offset,
                          Error **errp)
{
    const BlockDriverState *bs;

    if (bdrv_gate_check(child, 0, 0) < 0) {
        error_setg(errp, "No medium inserted");
        return -ENOMEDIUM;
    }
    bs = child->bs;
    if (offset < 0) {
        error_setg(errp, "Image size cannot be negative");
        return -EINVAL;
    }
    if (offset > BDRV_MAX_LENGTH) {
        error_setg(errp, "Image size %" PRId64 " is larger than the largest "
                   "possible one, %" PRId64, offset, BDRV_MAX_LENGTH);
        return -EFBIG;
    }
    if (bs->read_only) {
        error_setg(errp, "Node '%s' is read-only", bs->node_name);
        return -EACCES;
    }
    g_assert(child->perm & BLK_PERM_RESIZE);
    return 0;
}

static int coroutine_fn call_truncate(const BdrvRequest *r, bool exact,
                                      PreallocMode prealloc, Error **errp)
{
    BlockDriverState *bs = r->bs;
    int64_t size = r->t.offset + r->t.bytes;

    if (bs->drv->co_truncate) {
        return bs->drv->co_truncate(bs, size, exact, prealloc, r->flags,
                                    errp);
    }
    if (bs->drv->is_filter) {
        return bdrv_co_truncate(bdrv_filter_child(bs), size, exact, prealloc,
                                r->flags, errp);
    }
    error_setg(errp, "Image format driver does not support resize");
    return -ENOTSUP;
}

/* Would a backing file show its data in the new space? */
static bool backing_shows(BlockDriverState *bs, int64_t old_size)
{
    BdrvChild *cow = bdrv_cow_child(bs);

    return cow && cow->bs->total_bytes > old_size;
}

int coroutine_fn bdrv_co_truncate(BdrvChild *child, int64_t offset, bool exact,
                                  PreallocMode prealloc,
                                  BdrvRequestFlags flags, Error **errp)
{
    int ret = check_truncate(child, offset, errp);
    int64_t old_size, grown;
    BdrvRequest r;

    if (ret < 0) {
        return ret;
    }
    old_size = child->bs->total_bytes;
    grown = MAX(offset - old_size, 0);
    if (grown && backing_shows(child->bs, old_size)) {
        flags |= BDRV_REQ_ZERO_WRITE;
    }
    bdrv_request_begin(&r, child, offset - grown, grown,
                       BDRV_TRACKED_TRUNCATE, flags);
    if (grown) {
        /* Nobody else may write into the new space until it is set up. */
        bdrv_make_request_serialising(&r.t, 1);
    }
    if (!bdrv_bitmap_store_co_resize(r.bs, offset, errp)) {
        return bdrv_request_end(&r, -ENOTSUP);
    }
    ret = call_truncate(&r, exact, prealloc, errp);
    r.bs->write_gen++;
    if (ret == 0) {
        ret = bdrv_refresh_total_size(r.bs);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read the new size of "
                             "node '%s'", r.bs->node_name);
        }
    } else {
        /* It may have changed in part; nothing more can be said. */
        bdrv_refresh_total_size(r.bs);
        if (ret != -ENOTSUP && ret != -EINVAL) { /* more than refused */
            bdrv_dirty_bitmap_shrink_failed(r.bs, offset);
        }
    }
    return bdrv_request_end(&r, MIN(ret, 0));
}
