/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Discard: a hint that the data of a range is no longer needed. */
#include "qemu/osdep.h"
#include "block/node-int.h"
#include "io-int.h"

static int coroutine_fn call_pdiscard(BlockDriverState *bs, int64_t offset,
                                      int64_t bytes)
{
    const BlockDriver *drv = bs->drv;

    if (drv->co_pdiscard) {
        return drv->co_pdiscard(bs, offset, bytes);
    }
    return bdrv_co_pdiscard(bdrv_filter_child(bs), offset, bytes);
}

/*
 * Whole granules, in pieces within the limit.  The last granule may be cut by
 * the end of the node; other partial granules are dropped.
 */
static int coroutine_fn discard_granules(BlockDriverState *bs, int64_t offset,
                                         int64_t end)
{
    int64_t align = MAX(bs->bl.pdiscard_alignment, bdrv_request_align(bs));
    int64_t max = MAX(ROUND_DOWN(bs->bl.max_pdiscard ? bs->bl.max_pdiscard
                                                     : INT64_MAX, align),
                      align);
    int64_t last = end == bs->total_bytes
                   ? ROUND_DOWN(end, bdrv_request_align(bs))
                   : ROUND_DOWN(end, align);
    int ret = 0;

    offset = ROUND_UP(offset, align);
    while (offset < last) {
        int64_t n = MIN(last - offset, max);

        /* A last granule that is cut is a piece of its own. */
        if (n > align) {
            n = ROUND_DOWN(n, align);
        }
        ret = call_pdiscard(bs, offset, n);
        if (ret < 0 && ret != -ENOTSUP) {
            return ret;
        }
        offset += n;
    }
    return 0;
}

int coroutine_fn bdrv_co_pdiscard(BdrvChild *child, int64_t offset,
                                  int64_t bytes)
{
    BdrvRequest r;
    int ret;

    bdrv_request_init(&r, child, BDRV_REQUEST_DISCARD, offset, bytes, 0);
    ret = bdrv_request_check(&r);
    if (ret < 0 || bytes == 0) {
        return ret;
    }
    if (!r.bs->discard_unmap ||
        !(r.bs->drv->co_pdiscard || r.bs->drv->is_filter)) {
        return 0;
    }
    ret = bdrv_request_begin(&r);
    if (ret < 0) {
        return ret;
    }
    ret = discard_granules(r.bs, offset, offset + bytes);
    bdrv_node(r.bs)->write_gen++;
    return bdrv_request_end(&r, ret);
}
