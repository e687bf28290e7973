/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exports over NBD: from the protocol's operations to a BlockBackend. */
#include "qemu/osdep.h"

#include "block/activate.h"
#include "block/dirty-bitmap.h"
#include "block/export.h"
#include "block/graph.h"
#include "block/io.h"
#include "nbd/server.h"
#include "qapi/qapi-types-block-bitmap.h"

typedef struct NBDBlockExport {
    BlockExport common;
    NBDExport *nbd;
    GPtrArray *contexts; /* names for nbd_export_new() */
    bool depth;          /* is there a context with the depth? */
    GPtrArray *bitmaps;  /* of BdrvDirtyBitmap, the contexts after these two;
                            busy, their nodes referenced */
} NBDBlockExport;

#define CACHE_CHUNK (1 * MiB) /* loaded at a time */

/* --- operations --- */

/* Of an inactive node clients can only read the data. */
static int check_active(const NBDBlockExport *exp)
{
    return bdrv_is_inactive(blk_bs(exp->common.blk)) ? -EPERM : 0;
}

static int coroutine_fn op_pread(void *opaque, uint64_t offset,
                                 uint32_t bytes, void *buf)
{
    NBDBlockExport *exp = opaque;

    return blk_co_pread(exp->common.blk, offset, bytes, buf, 0);
}

static BdrvRequestFlags request_flags(unsigned flags)
{
    return (flags & NBD_OP_FUA ? BDRV_REQ_FUA : 0) |
           (flags & NBD_OP_FAST_ZERO ? BDRV_REQ_NO_FALLBACK : 0);
}

static int coroutine_fn op_pwrite(void *opaque, uint64_t offset,
                                  uint32_t bytes, const void *buf,
                                  unsigned flags)
{
    NBDBlockExport *exp = opaque;

    return blk_co_pwrite(exp->common.blk, offset, bytes, buf,
                         request_flags(flags));
}

static int coroutine_fn op_zero(void *opaque, uint64_t offset, uint32_t bytes,
                                unsigned flags)
{
    NBDBlockExport *exp = opaque;
    BdrvRequestFlags req = request_flags(flags);

    if (!(flags & NBD_OP_NO_HOLE)) {
        req |= BDRV_REQ_MAY_UNMAP;
    }
    return blk_co_pwrite_zeroes(exp->common.blk, offset, bytes, req);
}

static int coroutine_fn op_trim(void *opaque, uint64_t offset, uint32_t bytes,
                                unsigned flags)
{
    NBDBlockExport *exp = opaque;
    int ret = blk_co_pdiscard(exp->common.blk, offset, bytes);

    if (ret == 0 && flags & NBD_OP_FUA) {
        ret = blk_co_flush(exp->common.blk);
    }
    return ret;
}

static int coroutine_fn op_flush(void *opaque)
{
    NBDBlockExport *exp = opaque;
    int ret = check_active(exp);

    return ret < 0 ? ret : blk_co_flush(exp->common.blk);
}

/* Reads the range, which loads it into the caches. */
static int coroutine_fn op_cache(void *opaque, uint64_t offset, uint32_t bytes)
{
    NBDBlockExport *exp = opaque;
    uint32_t chunk = MIN(bytes, CACHE_CHUNK);
    void *buf = qemu_try_memalign(4096, chunk);
    int ret = buf ? check_active(exp) : -ENOMEM;

    while (ret >= 0 && bytes > 0) {
        uint32_t n = MIN(bytes, chunk);

        ret = blk_co_pread(exp->common.blk, offset, n, buf, 0);
        offset += n;
        bytes -= n;
    }
    qemu_vfree(buf);
    return ret;
}

/* --- metadata contexts --- */

static int coroutine_fn status_allocation(BlockDriverState *bs,
                                          uint64_t offset, uint32_t bytes,
                                          uint32_t *flags, int64_t *run)
{
    int ret = bdrv_block_status_above(bs, NULL, offset, bytes, run, NULL, NULL,
                                      NULL);

    if (ret >= 0) {
        *flags = (ret & BDRV_BLOCK_DATA ? 0 : NBD_STATE_HOLE) |
                 (ret & BDRV_BLOCK_ZERO ? NBD_STATE_ZERO : 0);
    }
    return ret;
}

static int coroutine_fn status_depth(BlockDriverState *bs, uint64_t offset,
                                     uint32_t bytes, uint32_t *flags,
                                     int64_t *run)
{
    int depth = 0;
    int ret = bdrv_block_status_above(bs, NULL, offset, bytes, run, NULL, NULL,
                                      &depth);

    *flags = depth;
    return ret;
}

static void bitmap_run(const BdrvDirtyBitmap *bitmap, uint64_t offset,
                       uint32_t bytes, uint32_t *flags, int64_t *run)
{
    /* The bitmap may be that of a shorter backing file. */
    *flags = 0;
    *run = bytes;
    if (offset < bdrv_dirty_bitmap_size(bitmap) &&
        hbitmap_status(bdrv_dirty_bitmap_hbitmap(bitmap), offset, bytes,
                       run)) {
        *flags = NBD_STATE_DIRTY;
    }
}

/* Its node may be in another thread, which marks and resizes it. */
static void coroutine_fn status_bitmap(const BdrvDirtyBitmap *bitmap,
                                       uint64_t offset, uint32_t bytes,
                                       uint32_t *flags, int64_t *run)
{
    const BlockDriverState *bs = bdrv_dirty_bitmap_bs(bitmap);
    AioContext *here = aio_current_context();

    while (bs->ctx != aio_current_context()) {
        co_move_to(bs->ctx);
    }
    bitmap_run(bitmap, offset, bytes, flags, run);
    co_move_to(here);
}

static int coroutine_fn op_status(void *opaque, unsigned context,
                                  uint64_t offset, uint32_t bytes,
                                  uint32_t *flags, uint32_t *run)
{
    NBDBlockExport *exp = opaque;
    BlockDriverState *bs = blk_bs(exp->common.blk);
    unsigned first_bitmap = exp->depth ? 2 : 1;
    int64_t pnum = 0;
    int ret = check_active(exp);

    if (ret < 0) {
        return ret;
    }
    if (context == 0) {
        ret = status_allocation(bs, offset, bytes, flags, &pnum);
    } else if (context < first_bitmap) {
        ret = status_depth(bs, offset, bytes, flags, &pnum);
    } else {
        status_bitmap(g_ptr_array_index(exp->bitmaps, context - first_bitmap),
                      offset, bytes, flags, &pnum);
    }
    if (ret < 0) {
        return ret;
    }
    *run = MIN(pnum, bytes);
    return *run ? 0 : -EIO; /* the node has become shorter */
}

static void op_client_added(void *opaque)
{
    blk_exp_ref(opaque);
}

static void op_client_removed(void *opaque)
{
    blk_exp_unref(opaque);
}

static const NBDExportOps nbd_ops = {
    .pread = op_pread,
    .pwrite = op_pwrite,
    .zero = op_zero,
    .trim = op_trim,
    .flush = op_flush,
    .cache = op_cache,
    .status = op_status,
    .client_added = op_client_added,
    .client_removed = op_client_removed,
};

/* --- notifications from the node --- */

static void drained_begin(void *opaque)
{
    NBDBlockExport *exp = opaque;

    nbd_export_quiesce(exp->nbd, true);
}

static bool drained_poll(void *opaque)
{
    NBDBlockExport *exp = opaque;

    return nbd_export_busy(exp->nbd);
}

static void drained_end(void *opaque)
{
    NBDBlockExport *exp = opaque;

    nbd_export_quiesce(exp->nbd, false);
}

static void resized(void *opaque)
{
    NBDBlockExport *exp = opaque;
    int64_t size = blk_getlength(exp->common.blk);

    if (size >= 0) {
        nbd_export_set_size(exp->nbd, size);
    }
}

static void detach_aio_context(void *opaque)
{
    NBDBlockExport *exp = opaque;

    nbd_export_detach(exp->nbd);
}

static void attach_aio_context(void *opaque, AioContext *ctx)
{
    NBDBlockExport *exp = opaque;

    nbd_export_attach(exp->nbd, ctx);
}

static char *describe(void *opaque)
{
    NBDBlockExport *exp = opaque;

    return g_strdup_printf("export '%s'", exp->common.id);
}

static const char *keeps_active(void *opaque)
{
    NBDBlockExport *exp = opaque;

    return exp->common.allow_inactive ? NULL
                                      : "it was added without allow-inactive";
}

static const BlockDevOps nbd_dev_ops = {
    .keeps_active = keeps_active,
    .drained_begin = drained_begin,
    .drained_poll = drained_poll,
    .drained_end = drained_end,
    .resize = resized,
    .detach_aio_context = detach_aio_context,
    .attach_aio_context = attach_aio_context,
    .desc = describe,
};

/* --- life cycle --- */

/* The bitmap @name of the export's node or of a node below it. */
static BdrvDirtyBitmap *find_bitmap(NBDBlockExport *exp, const char *name,
                                    Error **errp)
{
    BlockDriverState *bs = blk_bs(exp->common.blk);

    while (bs) {
        BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(bs, name);
        BdrvChild *child = bdrv_filter_or_cow_child(bs);

        if (bitmap) {
            return bitmap;
        }
        bs = child ? child->bs : NULL;
    }
    error_setg(errp, "Bitmap '%s' is not found", name);
    return NULL;
}

static bool add_bitmap(NBDBlockExport *exp, const BlockDirtyBitmapOrStr *ref,
                       Error **errp)
{
    BdrvDirtyBitmap *bitmap;
    BlockDriverState *bs;

    if (ref->type == BLOCK_DIRTY_BITMAP_OR_STR_KIND_LOCAL) {
        bitmap = find_bitmap(exp, ref->u.local, errp);
    } else {
        bitmap = bdrv_dirty_bitmap_lookup(ref->u.external->node,
                                          ref->u.external->name, errp);
    }
    if (!bitmap ||
        !bdrv_dirty_bitmap_check(bitmap, BDRV_BITMAP_OP_EXPORT, errp)) {
        return false;
    }
    /*
     * A client of a read-only export expects that nothing changes.  Who names
     * the node of the bitmap knows better: that of a disk that is written to,
     * beside the export of a snapshot of it.
     */
    bs = bdrv_dirty_bitmap_bs(bitmap);
    if (ref->type == BLOCK_DIRTY_BITMAP_OR_STR_KIND_LOCAL &&
        !exp->common.writable && !bdrv_is_read_only(bs) &&
        bdrv_dirty_bitmap_enabled(bitmap)) {
        error_setg(errp, "Enabled bitmap '%s' incompatible with readonly "
                   "export", bdrv_dirty_bitmap_name(bitmap));
        return false;
    }
    g_ptr_array_add(exp->bitmaps, bitmap);
    g_ptr_array_add(exp->contexts,
                    g_strconcat(NBD_CONTEXT_BITMAP,
                                bdrv_dirty_bitmap_name(bitmap), NULL));
    return true;
}

/* Marks bitmaps busy after all were found, as one may be named twice. */
static void hold_bitmaps(NBDBlockExport *exp)
{
    for (guint i = 0; i < exp->bitmaps->len; i++) {
        BdrvDirtyBitmap *bitmap = g_ptr_array_index(exp->bitmaps, i);

        bdrv_ref(bdrv_dirty_bitmap_bs(bitmap));
        if (!bdrv_dirty_bitmap_busy(bitmap)) {
            bdrv_dirty_bitmap_set_busy(bitmap, true);
        }
    }
}

static void release_bitmaps(NBDBlockExport *exp)
{
    for (guint i = 0; i < exp->bitmaps->len; i++) {
        BdrvDirtyBitmap *bitmap = g_ptr_array_index(exp->bitmaps, i);
        BlockDriverState *bs = bdrv_dirty_bitmap_bs(bitmap);

        if (bdrv_dirty_bitmap_busy(bitmap)) {
            bdrv_dirty_bitmap_set_busy(bitmap, false);
        }
        bdrv_unref(bs);
    }
}

static void free_contexts(NBDBlockExport *exp)
{
    g_ptr_array_unref(exp->contexts);
    g_ptr_array_unref(exp->bitmaps);
}

static bool collect_contexts(NBDBlockExport *exp,
                             const BlockExportOptionsNbd *opts, Error **errp)
{
    exp->contexts = g_ptr_array_new_with_free_func(g_free);
    exp->bitmaps = g_ptr_array_new();
    exp->depth = opts->allocation_depth;
    g_ptr_array_add(exp->contexts, g_strdup(NBD_CONTEXT_ALLOCATION));
    if (exp->depth) {
        g_ptr_array_add(exp->contexts, g_strdup(NBD_CONTEXT_DEPTH));
    }
    for (BlockDirtyBitmapOrStrList *b = opts->bitmaps; b; b = b->next) {
        if (!add_bitmap(exp, b->value, errp)) {
            free_contexts(exp);
            return false;
        }
    }
    g_ptr_array_add(exp->contexts, NULL);
    return true;
}

static bool nbd_create(BlockExport *common, const BlockExportOptions *options,
                       Error **errp)
{
    NBDBlockExport *exp = container_of(common, NBDBlockExport, common);
    const BlockExportOptionsNbd *opts = &options->u.nbd;
    int64_t size = blk_getlength(common->blk);
    NBDServer *server = nbd_server_get();

    if (!server) {
        error_setg(errp, "NBD server not running");
        return false;
    }
    if (size < 0) {
        error_setg_errno(errp, -size, "Failed to determine the NBD export's "
                         "length");
        return false;
    }
    if (!collect_contexts(exp, opts, errp)) {
        return false;
    }
    exp->nbd = nbd_export_new(server,
                              &(NBDExportInfo){
                                  .name = opts->name ? opts->name
                                                     : options->node_name,
                                  .description = opts->description,
                                  .size = size,
                                  .writable = common->writable,
                                  .exclusive = nbd_server_is_exclusive(),
                                  .contexts = (const char *const *)
                                      exp->contexts->pdata,
                              }, &nbd_ops, exp, errp);
    if (!exp->nbd) {
        free_contexts(exp);
        return false;
    }
    nbd_export_attach(exp->nbd, blk_get_aio_context(common->blk));
    hold_bitmaps(exp);
    blk_set_dev_ops(common->blk, &nbd_dev_ops, exp);
    return true;
}

static void nbd_request_shutdown(BlockExport *common)
{
    NBDBlockExport *exp = container_of(common, NBDBlockExport, common);

    nbd_export_shutdown(exp->nbd);
}

static void nbd_delete(BlockExport *common)
{
    NBDBlockExport *exp = container_of(common, NBDBlockExport, common);

    nbd_export_free(exp->nbd);
    release_bitmaps(exp);
    free_contexts(exp);
}

const BlockExportDriver block_export_nbd = {
    .type = BLOCK_EXPORT_TYPE_NBD,
    .instance_size = sizeof(NBDBlockExport),
    .create = nbd_create,
    .request_shutdown = nbd_request_shutdown,
    .delete = nbd_delete,
};
