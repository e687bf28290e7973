/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Functions shared by the commit and stream jobs. */
#include "qemu/osdep.h"
#include "block/chain-jobs.h"
#include "block/graph.h"

static int rename_drained(BlockDriverState *bs, const char *name,
                          BlockDriverState *base)
{
    g_autofree char *image = NULL;

    if (!base) {
        return bs->drv->change_backing_file(bs, NULL, NULL);
    }
    bdrv_refresh_filename(base);
    image = bdrv_image_filename(base);
    return bs->drv->change_backing_file(
        bs, name ? name : image,
        bdrv_get_format_name(bdrv_skip_filters(base)));
}

int chain_job_rename(BlockDriverState *bs, const char *name,
                     BlockDriverState *base)
{
    bool read_only = bs->read_only;
    int ret;

    if (!bs->drv->change_backing_file) {
        return -ENOTSUP;
    }
    if (read_only && !bdrv_reopen_set_read_only(bs, false, NULL)) {
        return -EACCES;
    }
    bdrv_drained_begin(bs);
    ret = rename_drained(bs, name, base);
    bdrv_drained_end(bs);
    if (read_only) {
        bdrv_reopen_read_only_again(bs);
    }
    return ret;
}

bool chain_job_hold(BlockJob *job, BlockDriverState *top,
                    BlockDriverState *last, uint64_t perm, uint64_t shared,
                    Error **errp)
{
    BlockDriverState *bs = top;

    while (block_job_add_bdrv(job, "intermediate node", bs, perm, shared,
                              errp)) {
        if (bs == last) {
            return true;
        }
        bs = bdrv_filter_or_cow_child(bs)->bs;
    }
    return false;
}

bool chain_job_hold_commit(BlockJob *job, BlockDriverState *top,
                           BlockDriverState *base, Error **errp)
{
    BlockDriverState *bs = top;

    while (bs != base) {
        if (!chain_job_hold(job, bs, bs, 0, BLK_PERM_WRITE_UNCHANGED |
                            BLK_PERM_WRITE, errp)) {
            return false;
        }
        bs = bdrv_filter_or_cow_child(bs)->bs;
    }
    return chain_job_hold(job, bs, bs, 0, BLK_PERM_ALL, errp);
}
