/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * copy-on-read: what is read from a backing file is written into the child on
 * the way, so that the next read finds it there.  With `bottom`, only data
 * from that node and those above it is copied.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"

typedef struct CorState {
    BlockDriverState *bottom; /* NULL: all */
} CorState;

/* The node @name below our child; the chain keeps it alive. */
static BlockDriverState *find_bottom(BlockDriverState *bs, const char *name)
{
    while (bs && strcmp(bs->node_name, name)) {
        BdrvChild *next = bs->backing;

        if (!next && bs->drv->is_filter) {
            next = bs->file;
        }
        bs = next ? next->bs : NULL;
    }
    return bs;
}

static int cor_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    const BlockdevOptionsCor *o = &options->u.copy_on_read;
    CorState *s = bs->opaque;

    if (!bdrv_open_child(bs, o->file, "file",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        return -EINVAL;
    }
    if (o->bottom) {
        s->bottom = find_bottom(bs->file->bs, o->bottom);
        if (!s->bottom) {
            error_setg(errp, "Bottom node '%s' not found in the backing "
                       "chain of node '%s'", o->bottom,
                       bs->file->bs->node_name);
            return -EINVAL;
        }
        if (s->bottom->drv->is_filter) {
            error_setg(errp, "Bottom node '%s' is a filter", o->bottom);
            return -EINVAL;
        }
        bdrv_ref(s->bottom);
    }
    return 0;
}

/* Another child must have `bottom` in its chain, too. */
static BdrvConsent cor_child_change(BlockDriverState *bs,
                                    const BdrvChildChange *change,
                                    Transaction *tran, Error **errp)
{
    const CorState *s = bs->opaque;

    if (s->bottom && change->new_bs &&
        !bdrv_chain_contains(change->new_bs, s->bottom)) {
        error_setg(errp, "Bottom node '%s' not found in the backing "
                   "chain of node '%s'", s->bottom->node_name,
                   change->new_bs->node_name);
        return BDRV_REFUSE;
    }
    return bdrv_child_change_filter(bs, change, tran, errp);
}

static void cor_close(BlockDriverState *bs)
{
    CorState *s = bs->opaque;

    bdrv_unref(s->bottom);
}

/* Copying needs permission to write, although it changes no data. */
static void cor_child_perm(BlockDriverState *bs, BdrvChild *child,
                           BdrvChildRole role, uint64_t perm, uint64_t shared,
                           uint64_t *nperm, uint64_t *nshared)
{
    bdrv_default_perms(bs, child, role, perm, shared, nperm, nshared);
    if (!bs->read_only) {
        *nperm |= BLK_PERM_WRITE_UNCHANGED;
    }
}

static int coroutine_fn cor_co_preadv(BlockDriverState *bs, int64_t offset,
                                      int64_t bytes, QEMUIOVector *qiov,
                                      size_t qiov_offset,
                                      BdrvRequestFlags flags)
{
    const CorState *s = bs->opaque;
    int ret = 0;

    if (bs->read_only) { /* it copies nothing and lacks the permission */
        return bdrv_co_preadv(bs->file, offset, bytes, qiov, qiov_offset,
                              flags);
    }
    if (!s->bottom) {
        return bdrv_co_preadv(bs->file, offset, bytes, qiov, qiov_offset,
                              flags | BDRV_REQ_COPY_ON_READ);
    }
    while (ret == 0 && bytes > 0) {
        BdrvRequestFlags f = flags;
        int64_t n;

        ret = bdrv_is_allocated_above(bs->file->bs, s->bottom, true, offset,
                                      bytes, &n);
        if (ret < 0) {
            return ret;
        }
        if (n == 0) {
            n = bytes; /* the padding of the last block */
        } else if (ret) {
            f |= BDRV_REQ_COPY_ON_READ;
        }
        ret = bdrv_co_preadv(bs->file, offset, n, qiov, qiov_offset, f);
        offset += n;
        qiov_offset += n;
        bytes -= n;
    }
    return ret;
}

static int coroutine_fn cor_co_pwritev_compressed(BlockDriverState *bs,
                                                  int64_t offset,
                                                  int64_t bytes,
                                                  QEMUIOVector *qiov,
                                                  size_t qiov_offset)
{
    return bdrv_co_pwritev(bs->file, offset, bytes, qiov, qiov_offset,
                           BDRV_REQ_WRITE_COMPRESSED);
}

extern const BlockDriver bdrv_copy_on_read;

/* Only the child matters to what is read. */
static const char *const cor_strong_options[] = { "file", NULL };

const BlockDriver bdrv_copy_on_read = {
    .format_name = "copy-on-read",
    .instance_size = sizeof(CorState),
    .is_filter = true,
    .strong_options = cor_strong_options,
    .open = cor_open,
    .close = cor_close,
    .child_perm = cor_child_perm,
    .child_change = cor_child_change,
    .co_preadv = cor_co_preadv,
    .co_pwritev_compressed = cor_co_pwritev_compressed,
};
