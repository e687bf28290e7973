/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Target images of drive-backup and drive-mirror: created and opened. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "blockdev-int.h"

/* The backing file of a new target, or NULL: the target has all data. */
static BlockDriverState *target_backing(MirrorSyncMode sync,
                                        BlockDriverState *source)
{
    switch (sync) {
    case MIRROR_SYNC_MODE_NONE:
        return source;
    case MIRROR_SYNC_MODE_TOP:
        return bdrv_backing_chain_next(source);
    default:
        return NULL;
    }
}

static bool create_target(const BlockdevTarget *t, BlockDriverState *source,
                          const char *format, Error **errp)
{
    BlockDriverState *backing = target_backing(t->sync, source);
    g_autofree char *backing_name = NULL;
    BdrvImgCreate create = {
        .filename = t->filename,
        .format = format,
        .size = bdrv_getlength(source),
    };

    if (create.size < 0) {
        error_setg_errno(errp, -create.size, "Unable to get length for '%s'",
                         bdrv_get_device_or_node_name(source));
        return false;
    }
    if (backing) {
        bdrv_refresh_filename(backing);
        backing_name = bdrv_image_filename(backing);
        create.base_filename = backing_name;
        create.base_format = bdrv_get_format_name(bdrv_skip_filters(backing));
        create.unsafe_base = true; /* it is open already */
    }
    return bdrv_img_create(&create, errp);
}

static int open_flags(const BlockDriverState *source)
{
    return BDRV_O_RDWR | BDRV_O_UNMAP |
           (source->cache_direct ? BDRV_O_NOCACHE : 0) |
           (source->cache_no_flush ? BDRV_O_NO_FLUSH : 0);
}

BlockDriverState *blockdev_open_target(const BlockdevTarget *t,
                                       BlockDriverState *source, Error **errp)
{
    bool existing = t->mode == NEW_IMAGE_MODE_EXISTING;
    const char *format = t->format;

    if (!format && !existing) {
        format = bdrv_get_format_name(bdrv_skip_filters(source));
    }
    if (!existing && !create_target(t, source, format, errp)) {
        return NULL;
    }
    return bdrv_open_file_as(t->filename, format, t->node_name,
                             open_flags(source) | t->flags, errp);
}
