/* SPDX-License-Identifier: GPL-2.0-or-later */
/* compress: everything written through this filter is written compressed. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"

static bool compress_check_child(const BlockDriverState *child, Error **errp)
{
    if (!bdrv_supports_compression(child)) {
        error_setg(errp, "Compression is not supported for underlying format: "
                   "%s", child->drv->format_name);
        return false;
    }
    return true;
}

static int compress_open(BlockDriverState *bs, const BlockdevOptions *options,
                         int flags, Error **errp)
{
    if (!bdrv_open_child(bs, options->u.compress.file, "file",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        return -EINVAL;
    }
    return compress_check_child(bs->file->bs, errp) ? 0 : -ENOTSUP;
}

static BdrvConsent compress_child_change(BlockDriverState *bs,
                                         const BdrvChildChange *change,
                                         Transaction *tran, Error **errp)
{
    if (change->new_bs && !compress_check_child(change->new_bs, errp)) {
        return BDRV_REFUSE;
    }
    return bdrv_child_change_filter(bs, change, tran, errp);
}

/*
 * A compressed write covers whole clusters: the core pads it.  There may be the
 * filter of a job between.
 */
static void compress_refresh_limits(BlockDriverState *bs, Error **errp)
{
    BlockDriverInfo info;

    if (bdrv_get_info(bs->file->bs, &info) == 0 && info.cluster_size) {
        bs->bl.request_alignment = info.cluster_size;
    }
}

static int coroutine_fn compress_co_preadv(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           QEMUIOVector *qiov,
                                           size_t qiov_offset,
                                           BdrvRequestFlags flags)
{
    return bdrv_co_preadv(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn compress_co_pwritev(BlockDriverState *bs,
                                            int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov,
                                            size_t qiov_offset,
                                            BdrvRequestFlags flags)
{
    /* The last cluster was padded; the image ends inside it. */
    bytes = MIN(bytes, bs->total_bytes - offset);
    return bdrv_co_pwritev(bs->file, offset, bytes, qiov, qiov_offset,
                           flags | BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn compress_co_pwrite_zeroes(BlockDriverState *bs,
                                                  int64_t offset,
                                                  int64_t bytes,
                                                  BdrvRequestFlags flags)
{
    bytes = MIN(bytes, bs->total_bytes - offset);
    return bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
}

extern const BlockDriver bdrv_compress;

const BlockDriver bdrv_compress = {
    .format_name = "compress",
    .is_filter = true,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .open = compress_open,
    .child_change = compress_child_change,
    .refresh_limits = compress_refresh_limits,
    .co_preadv = compress_co_preadv,
    .co_pwritev = compress_co_pwritev,
    .co_pwrite_zeroes = compress_co_pwrite_zeroes,
};
