/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * commit_top: the filter between an image that is being committed and its
 * users.  Nodes below it may be written, as the content of the image stays the
 * same.  Users cannot open this driver.
 */
#include "qemu/osdep.h"
#include "block/commit.h"

static void commit_filter_child_perm(BlockDriverState *bs, BdrvChild *child,
                                     BdrvChildRole role, uint64_t perm,
                                     uint64_t shared, uint64_t *nperm,
                                     uint64_t *nshared)
{
    *nperm = 0;
    *nshared = BLK_PERM_ALL;
}

static const char *const no_options[] = { NULL };

static const BlockDriver commit_filter = {
    .format_name = "commit_top",
    .is_filter = true,
    .strong_options = no_options,
    .child_perm = commit_filter_child_perm,
    .child_change = bdrv_child_change_same,
};

BlockDriverState *commit_filter_new(BlockDriverState *bs,
                                    const char *node_name, Error **errp)
{
    return bdrv_new_filter(&commit_filter, bs, node_name, errp);
}
