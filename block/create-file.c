/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Access to the node that is formatted, for drivers' co_create. */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/create-file.h"
#include "block/graph.h"
#include "block/io.h"

static char *create_parent_desc(BdrvChild *child)
{
    return g_strdup_printf("the creation of a %s image",
                           (const char *)child->opaque);
}

/* The writing coroutine does not move with it. */
static bool create_may_move(BdrvChild *child, AioContext *ctx)
{
    return false;
}

static const BdrvChildClass create_class = {
    .parent_desc = create_parent_desc,
    .may_move = create_may_move,
};

/* The node to format, with an edge for writing; consumes nothing. */
static BdrvChild *coroutine_fn attach_file(const BlockdevRef *ref,
                                           const char *format, Error **errp)
{
    g_autoptr(BlockDriverState) bs = NULL;

    if (ref->type == BLOCKDEV_REF_KIND_DEFINITION) {
        bs = bdrv_open(ref->u.definition, BDRV_O_RDWR | BDRV_O_ACTIVE,
                       errp);
    } else {
        bs = bdrv_lookup_bs(ref->u.reference, ref->u.reference, errp);
        if (bs) {
            bdrv_ref(bs);
        }
    }
    if (!bs || !bdrv_check_active(bs, errp)) {
        return NULL;
    }
    return bdrv_root_attach_child(bs, "file", &create_class, BDRV_CHILD_IMAGE,
                                  BLK_PERM_WRITE | BLK_PERM_RESIZE,
                                  BLK_PERM_ALL, (void *)format, errp);
}

int coroutine_fn bdrv_create_in_file(const BlockdevRef *ref,
                                     const char *format,
                                     BdrvCreateWrite *write, void *opaque,
                                     Error **errp)
{
    BdrvChild *file = attach_file(ref, format, errp);
    AioContext *here = aio_current_context();
    int ret;

    if (!file) {
        return -EIO;
    }
    co_move_to(file->bs->ctx);
    ret = write(file, opaque, errp);
    co_move_to(here);
    bdrv_root_unref_child(file);
    return ret;
}

int coroutine_fn bdrv_create_drop(BdrvChild *file, Error **errp)
{
    int64_t len = bdrv_getlength(file->bs);
    bool is_disk = bdrv_skip_filters(file->bs)->drv->is_format;

    (void)bdrv_co_truncate(file, 0, false, PREALLOC_MODE_OFF, 0, NULL);
    /* A file grows when it is written to, the disk of an image does not. */
    return is_disk && len > 0 && bdrv_getlength(file->bs) == 0
        ? bdrv_co_truncate(file, len, false, PREALLOC_MODE_OFF, 0, errp) : 0;
}

int coroutine_fn bdrv_create_empty(BdrvChild *file, Error **errp)
{
    int64_t left;
    int ret = bdrv_create_drop(file, errp);

    if (ret < 0) {
        return ret;
    }
    left = bdrv_getlength(file->bs);
    if (left < 0) {
        ret = left;
    } else if (left > 0) {
        /* A device keeps its size; its start must not look like an image. */
        ret = bdrv_co_pwrite_zeroes(file, 0, MIN(left, 1 * MiB), 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not clear the file");
    }
    return ret;
}
