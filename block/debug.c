/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Calls to the blkdebug filter, and reports of corruption. */
#include "qemu/osdep.h"
#include "block/graph-int.h"

void bdrv_debug_event(BdrvChild *child, BlkdebugEvent event)
{
    while (child && child->bs->drv) {
        BlockDriverState *bs = child->bs;

        if (bs->drv->debug_event) {
            bs->drv->debug_event(bs, event);
            return;
        }
        child = bdrv_filter_child(bs);
    }
}

/* The first node down the primary children that can set breakpoints. */
static BlockDriverState *find_debug_node(BlockDriverState *bs)
{
    while (bs && bs->drv && !bs->drv->debug_breakpoint) {
        BdrvChild *c = bdrv_primary_child(bs);

        bs = c ? c->bs : NULL;
    }
    return bs && bs->drv ? bs : NULL;
}

int bdrv_debug_breakpoint(BlockDriverState *bs, const char *event,
                          const char *tag)
{
    bs = find_debug_node(bs);
    return bs ? bs->drv->debug_breakpoint(bs, event, tag) : -ENOTSUP;
}

int bdrv_debug_remove_breakpoint(BlockDriverState *bs, const char *tag)
{
    bs = find_debug_node(bs);
    return bs && bs->drv->debug_remove_breakpoint
        ? bs->drv->debug_remove_breakpoint(bs, tag) : -ENOTSUP;
}

int bdrv_debug_resume(BlockDriverState *bs, const char *tag)
{
    bs = find_debug_node(bs);
    return bs && bs->drv->debug_resume
        ? bs->drv->debug_resume(bs, tag) : -ENOTSUP;
}

bool bdrv_debug_is_suspended(BlockDriverState *bs, const char *tag)
{
    bs = find_debug_node(bs);
    return bs && bs->drv->debug_is_suspended &&
           bs->drv->debug_is_suspended(bs, tag);
}

void bdrv_signal_corruption(BlockDriverState *bs, bool fatal, int64_t offset,
                            int64_t size, const char *msg)
{
    if (bdrv_event_hooks.image_corrupted) {
        bdrv_event_hooks.image_corrupted(bs, fatal, offset, size, msg);
    }
}
