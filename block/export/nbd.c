/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Exports over NBD: from the protocol's operations to a BlockBackend. */
#include "qemu/osdep.h"

#include "block/export.h"
#include "block/graph.h"
#include "nbd/server.h"

typedef struct NBDBlockExport {
    BlockExport common;
    NBDExport *nbd;
} NBDBlockExport;

/* --- operations --- */

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

    return blk_co_flush(exp->common.blk);
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
    .client_added = op_client_added,
    .client_removed = op_client_removed,
};

/* --- what the node tells us --- */

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

static char *describe(void *opaque)
{
    NBDBlockExport *exp = opaque;

    return g_strdup_printf("export '%s'", exp->common.id);
}

static const BlockDevOps nbd_dev_ops = {
    .drained_begin = drained_begin,
    .drained_poll = drained_poll,
    .drained_end = drained_end,
    .resize = resized,
    .desc = describe,
};

/* --- life cycle --- */

static bool check_supported(const BlockExportOptionsNbd *opts, Error **errp)
{
    if (opts->bitmaps) {
        error_setg(errp, "Option 'bitmaps' of NBD exports is not supported "
                   "yet");
        return false;
    }
    if (opts->allocation_depth) {
        error_setg(errp, "Option 'allocation-depth' of NBD exports is not "
                   "supported yet");
        return false;
    }
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
    if (!check_supported(opts, errp)) {
        return false;
    }
    if (size < 0) {
        error_setg_errno(errp, -size, "Failed to determine the NBD export's "
                         "length");
        return false;
    }
    exp->nbd = nbd_export_new(server,
                              &(NBDExportInfo){
                                  .name = opts->name ? opts->name
                                                     : options->node_name,
                                  .description = opts->description,
                                  .size = size,
                                  .writable = common->writable,
                              }, &nbd_ops, exp, errp);
    if (!exp->nbd) {
        return false;
    }
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
}

const BlockExportDriver block_export_nbd = {
    .type = BLOCK_EXPORT_TYPE_NBD,
    .instance_size = sizeof(NBDBlockExport),
    .create = nbd_create,
    .request_shutdown = nbd_request_shutdown,
    .delete = nbd_delete,
};

BlockExport *nbd_server_find_export(const char *name)
{
    NBDServer *server = nbd_server_get();
    NBDExport *nbd = server ? nbd_export_find(server, name) : NULL;

    return nbd ? nbd_export_opaque(nbd) : NULL;
}
