/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * replication_fence: the filter that keeps the former primary away from the
 * disk of a secondary that fails over.  Its export stays, but every change
 * fails.  It goes with the last user above it.  Users cannot open this driver.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/replication.h"

static int coroutine_fn fence_co_pwritev(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, QEMUIOVector *qiov,
                                         size_t qiov_offset,
                                         BdrvRequestFlags flags)
{
    return -EPERM;
}

static int coroutine_fn fence_co_pwritev_compressed(BlockDriverState *bs,
                                                    int64_t offset,
                                                    int64_t bytes,
                                                    QEMUIOVector *qiov,
                                                    size_t qiov_offset)
{
    return -EPERM;
}

static int coroutine_fn fence_co_pwrite_zeroes(BlockDriverState *bs,
                                               int64_t offset, int64_t bytes,
                                               BdrvRequestFlags flags)
{
    return -EPERM;
}

static int coroutine_fn fence_co_pdiscard(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes)
{
    return -EPERM;
}

static int coroutine_fn fence_co_truncate(BlockDriverState *bs,
                                          int64_t offset, bool exact,
                                          PreallocMode prealloc,
                                          BdrvRequestFlags flags,
                                          Error **errp)
{
    error_setg(errp, "Node '%s' cannot be resized: its disk has failed over "
               "from the primary", bs->node_name);
    return -EPERM;
}

static void fence_child_perm(BlockDriverState *bs, BdrvChild *child,
                             BdrvChildRole role, uint64_t perm,
                             uint64_t shared, uint64_t *nperm,
                             uint64_t *nshared)
{
    *nperm = perm & BLK_PERM_CONSISTENT_READ;
    *nshared = BLK_PERM_ALL;
}

static const char *const no_options[] = { NULL };

static const BlockDriver replication_fence = {
    .format_name = "replication_fence",
    .is_filter = true,
    .strong_options = no_options,
    .child_perm = fence_child_perm,
    .child_change = bdrv_child_change_filter,
    .co_pwritev = fence_co_pwritev,
    .co_pwritev_compressed = fence_co_pwritev_compressed,
    .co_pwrite_zeroes = fence_co_pwrite_zeroes,
    .co_pdiscard = fence_co_pdiscard,
    .co_truncate = fence_co_truncate,
};

BlockDriverState *replication_fence_new(BlockDriverState *bs, Error **errp)
{
    BlockDriverState *fence = bdrv_new_filter(&replication_fence, bs, NULL,
                                              errp);

    if (fence) {
        fence->read_only = bs->read_only;
    }
    return fence;
}
