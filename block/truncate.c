/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changing the size of a node. */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/node-int.h"
#include "io-int.h"

/* Refuses requests like bdrv_request_begin(), and some more, with a reason. */
static int check_truncate(const BdrvChild *child, int64_t offset,
                          Error **errp)
{
    const BlockDriverState *bs = child ? child->bs : NULL;

    if (!bs || !bs->drv) {
        error_setg(errp, "No medium inserted");
        return -ENOMEDIUM;
    }
    if (offset < 0) {
        error_setg(errp, "Image size cannot be negative");
        return -EINVAL;
    }
    if (offset > BDRV_MAX_LENGTH) {
        error_setg(errp, "offset(%" PRId64 ") exceeds maximum(%" PRId64 ")",
                   offset, BDRV_MAX_LENGTH);
        return -EFBIG;
    }
    if (!bdrv_check_active(bs, errp)) {
        return -EPERM;
    }
    if (bs->read_only) {
        error_setg(errp, "Node '%s' is read-only", bs->node_name);
        return -EACCES;
    }
    return 0;
}

static int coroutine_fn call_truncate(const BdrvRequest *r, bool exact,
                                      PreallocMode prealloc, Error **errp)
{
    BlockDriverState *bs = r->bs;

    if (bs->drv->co_truncate) {
        return bs->drv->co_truncate(bs, r->offset, exact, prealloc, r->flags,
                                    errp);
    }
    if (bs->drv->is_filter) {
        return bdrv_co_truncate(bdrv_filter_child(bs), r->offset, exact,
                                prealloc, r->flags, errp);
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

/* No other request is beyond the smaller size; the old size is final now. */
static int coroutine_fn truncate_alone(BdrvRequest *r, bool exact,
                                       PreallocMode prealloc, Error **errp)
{
    BlockDriverState *bs = r->bs;
    int64_t old_size = bs->total_bytes;
    int ret;

    if (r->offset > old_size && backing_shows(bs, old_size)) {
        r->flags |= BDRV_REQ_ZERO_WRITE;
    }
    if (!bdrv_bitmap_store_co_resize(bs, r->offset, errp)) {
        return -ENOTSUP;
    }
    ret = call_truncate(r, exact, prealloc, errp);
    bdrv_node(bs)->write_gen++;
    if (ret < 0) {
        /* The node may have changed in part; its state is unknown. */
        bdrv_refresh_total_size(bs);
        if (ret != -ENOTSUP && ret != -EINVAL) { /* not just refused */
            bdrv_dirty_bitmap_shrink_failed(bs, r->offset);
        }
        bdrv_bitmap_store_sync_report(bs);
        return ret;
    }
    ret = bdrv_refresh_total_size(bs);
    bdrv_bitmap_store_sync_report(bs); /* requests to new space wait for it */
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the new size of "
                         "node '%s'", bs->node_name);
    }
    return MIN(ret, 0);
}

int coroutine_fn bdrv_co_truncate(BdrvChild *child, int64_t offset, bool exact,
                                  PreallocMode prealloc,
                                  BdrvRequestFlags flags, Error **errp)
{
    BdrvRequest r;
    int ret = check_truncate(child, offset, errp);
    bool grows;

    if (ret < 0) {
        return ret;
    }
    grows = offset > child->bs->total_bytes;
    bdrv_request_init(&r, child, BDRV_REQUEST_TRUNCATE, offset, 0, flags);
    ret = bdrv_request_begin(&r);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not resize node '%s'",
                         child->bs->node_name);
        return ret;
    }
    if (!(grows && !exact && offset <= r.bs->total_bytes)) {
        ret = truncate_alone(&r, exact, prealloc, errp);
    } /* else it grew while we waited: what is there now must not be cut off */
    return bdrv_request_end(&r, ret);
}
