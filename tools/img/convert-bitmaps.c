/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img convert --bitmaps. */
#include "qemu/osdep.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "convert.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-bitmap.h"

static BlockDriverState *source_node(const Convert *c)
{
    return blk_bs(c->sources[0].blk);
}

/* The next bitmap of the source to copy. */
static BdrvDirtyBitmap *next_bitmap(const Convert *c, BdrvDirtyBitmap *bitmap)
{
    do {
        bitmap = bdrv_dirty_bitmap_next(source_node(c), bitmap);
    } while (bitmap && !(bdrv_dirty_bitmap_name(bitmap) &&
                         bdrv_dirty_bitmap_persistent(bitmap)));
    return bitmap;
}

bool convert_check_bitmaps(Convert *c)
{
    const char *format = c->args->target.format;
    const BlockDriver *drv = format ? bdrv_find_format(format) : NULL;
    BdrvDirtyBitmap *bitmap = NULL;

    if (!bdrv_supports_persistent_dirty_bitmap(source_node(c))) {
        error_report("Source lacks bitmap support");
        return false;
    }
    if (drv && !drv->holds_bitmaps) {
        error_report("Format driver '%s' does not support bitmaps", format);
        return false;
    }
    while (!c->args->skip_broken && (bitmap = next_bitmap(c, bitmap))) {
        if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
            error_report("Cannot copy inconsistent bitmap '%s'\nTry "
                         "--skip-broken-bitmaps, or use 'qemu-img bitmap "
                         "--remove' to delete it",
                         bdrv_dirty_bitmap_name(bitmap));
            return false;
        }
    }
    return true;
}

static bool copy_bitmap(const Convert *c, const BdrvDirtyBitmap *bitmap,
                        Error **errp)
{
    char *name = (char *)bdrv_dirty_bitmap_name(bitmap);
    char *node = blk_bs(c->target)->node_name;
    BlockDirtyBitmapAdd add = {
        .node = node,
        .name = name,
        .has_granularity = true,
        .granularity = bdrv_dirty_bitmap_granularity(bitmap),
        .has_persistent = true,
        .persistent = true,
        .has_disabled = true,
        .disabled = !bdrv_dirty_bitmap_enabled(bitmap),
    };
    BlockDirtyBitmap from = { source_node(c)->node_name, name };
    BlockDirtyBitmapOrStr ref = {
        .type = BLOCK_DIRTY_BITMAP_OR_STR_KIND_EXTERNAL, .u.external = &from,
    };
    BlockDirtyBitmapOrStrList list = { .value = &ref };
    BlockDirtyBitmapMerge merge = { node, name, &list };

    if (!qmp_block_dirty_bitmap_add(&add, errp)) {
        error_prepend(errp, "Failed to create bitmap %s: ", name);
        return false;
    }
    if (!qmp_block_dirty_bitmap_merge(&merge, errp)) {
        error_prepend(errp, "Failed to populate bitmap %s: ", name);
        return false;
    }
    return true;
}

bool convert_copy_bitmaps(Convert *c)
{
    BdrvDirtyBitmap *bitmap = NULL;
    Error *err = NULL;

    while ((bitmap = next_bitmap(c, bitmap))) {
        if (bdrv_dirty_bitmap_inconsistent(bitmap)) {
            warn_report("Skipping inconsistent bitmap '%s'",
                        bdrv_dirty_bitmap_name(bitmap));
        } else if (!copy_bitmap(c, bitmap, &err)) {
            error_report_err(err);
            return false;
        }
    }
    return true;
}
