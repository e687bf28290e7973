/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Walking the backing chain: from a node through filters and backing files. */
#include "qemu/osdep.h"
#include "block/graph-int.h"

BlockDriverState *bdrv_skip_filters(BlockDriverState *bs)
{
    BdrvChild *c;

    while ((c = bdrv_filter_child(bs))) {
        bs = c->bs;
    }
    return bs;
}

BlockDriverState *bdrv_backing_chain_next(BlockDriverState *bs)
{
    BdrvChild *c = bdrv_cow_child(bdrv_skip_filters(bs));

    return c ? bdrv_skip_filters(c->bs) : NULL;
}

static BlockDriverState *chain_step(BlockDriverState *bs)
{
    BdrvChild *c = bdrv_filter_or_cow_child(bs);

    return c ? c->bs : NULL;
}

bool bdrv_chain_contains(BlockDriverState *top, BlockDriverState *bs)
{
    while (top && top != bs) {
        top = chain_step(top);
    }
    return top != NULL;
}

bool bdrv_recurse_can_replace(BlockDriverState *bs,
                              BlockDriverState *to_replace)
{
    BdrvChild *c;

    while (bs != to_replace) {
        if (bs->drv && bs->drv->recurse_can_replace) {
            return bs->drv->recurse_can_replace(bs, to_replace);
        }
        c = bdrv_filter_child(bs);
        if (!c) {
            return false;
        }
        bs = c->bs;
    }
    return true;
}

bool bdrv_freeze_chain(BlockDriverState *top, BlockDriverState *base,
                       Error **errp)
{
    BlockDriverState *bs;

    for (bs = top; bs && bs != base; bs = chain_step(bs)) {
        BdrvChild *c = bdrv_filter_or_cow_child(bs);

        if (c && c->frozen) {
            error_setg(errp, "Cannot freeze '%s' link to '%s': it is frozen "
                       "already", c->name, c->bs->node_name);
            return false;
        }
    }
    for (bs = top; bs && bs != base; bs = chain_step(bs)) {
        BdrvChild *c = bdrv_filter_or_cow_child(bs);

        if (c) {
            c->frozen = true;
        }
    }
    return true;
}

void bdrv_unfreeze_chain(BlockDriverState *top, BlockDriverState *base)
{
    BlockDriverState *bs;

    for (bs = top; bs && bs != base; bs = chain_step(bs)) {
        BdrvChild *c = bdrv_filter_or_cow_child(bs);

        if (c) {
            c->frozen = false;
        }
    }
}
