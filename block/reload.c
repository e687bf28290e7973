/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver whose storage another process may have changed: the image is opened
 * again, with the children that the node has, while what was open of it before
 * is kept until that has succeeded.
 */
#include "qemu/osdep.h"
#include "block/bitmap-store.h"
#include "block/dirty-bitmap-int.h"
#include "block/graph-int.h"

/* What an image's open sets in the node. */
typedef struct Former {
    void *opaque;
    char *backing_file, *backing_format;
    int64_t total_bytes;
    bool encrypted, read_only;
} Former;

static void set_aside(BlockDriverState *bs, Former *former)
{
    const BlockDriver *drv = bs->drv;

    *former = (Former){
        .opaque = bs->opaque,
        .backing_file = bs->backing_file,
        .backing_format = bs->backing_format,
        .total_bytes = bs->total_bytes,
        .encrypted = bs->encrypted,
        .read_only = bs->read_only,
    };
    /* Its timers would find the new state. */
    if (drv->detach_aio_context) {
        drv->detach_aio_context(bs);
    }
    bs->opaque = drv->instance_size ? g_malloc0(drv->instance_size) : NULL;
    bs->backing_file = bs->backing_format = NULL;
}

static void put_back(BlockDriverState *bs, const Former *former)
{
    g_free(bs->opaque);
    g_free(bs->backing_file);
    g_free(bs->backing_format);
    bs->opaque = former->opaque;
    bs->backing_file = former->backing_file;
    bs->backing_format = former->backing_format;
    bs->total_bytes = former->total_bytes;
    bs->encrypted = former->encrypted;
    bs->read_only = former->read_only;
    if (bs->drv->attach_aio_context) {
        bs->drv->attach_aio_context(bs);
    }
}

/* It has nothing to write back: that was done when the node became inactive. */
static void close_former(BlockDriverState *bs, Former *former)
{
    void *opaque = bs->opaque;
    bool read_only = bs->read_only;

    bs->opaque = former->opaque;
    bs->read_only = true;
    if (bs->drv->close) {
        bs->drv->close(bs);
    }
    bs->opaque = opaque;
    bs->read_only = read_only;
    g_free(former->opaque);
    g_free(former->backing_file);
    g_free(former->backing_format);
    /* The size changes below, with all that follow it. */
    bs->total_bytes = former->total_bytes;
}

/* Is the child called "backing" the one that the header names? */
static bool backing_is_same(const BlockDriverState *bs, const Former *former,
                            Error **errp)
{
    const char *was = former->backing_file ?: "";
    const char *is = bs->backing_file ?: "";

    if (!bdrv_backing_is_from_header(bs) || !strcmp(was, is)) {
        return true;
    }
    error_setg(errp, "The backing file of the image is now '%s' instead of "
               "'%s': the image is to be opened anew", is, was);
    return false;
}

static void close_again(BlockDriverState *bs)
{
    bdrv_bitmap_store_close(bs);
    if (bs->drv->close) {
        bs->drv->close(bs);
    }
}

int bdrv_reload_image(BlockDriverState *bs, Error **errp)
{
    BdrvNode *node = bdrv_node(bs);
    Former former;
    int ret;

    bdrv_bitmap_store_detach(bs);
    set_aside(bs, &former);
    node->bitmaps.kept_seq = node->bitmaps.seq;
    node->reloading = true;
    ret = bs->drv->open(bs, bs->options, bs->open_flags, errp);
    node->reloading = false;
    if (ret >= 0 && !backing_is_same(bs, &former, errp)) {
        close_again(bs);
        ret = -ESTALE;
    }
    if (ret < 0) {
        bdrv_dirty_bitmap_release_loaded(bs);
        bdrv_bitmap_store_detach(bs);
        put_back(bs, &former);
    } else {
        close_former(bs, &former);
        if (node->quiesce_counter && bs->drv->drain_begin) {
            bs->drv->drain_begin(bs); /* the former state knew of the drain */
        }
    }
    node->bitmaps.kept_seq = 0;
    return ret < 0 ? ret : 0;
}
