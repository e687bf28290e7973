/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The query commands for devices and nodes. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "qapi/qapi-commands.h"

BlockDeviceInfoList *
qmp_query_named_block_nodes(QueryNamedBlockNodesArg *arg, Error **errp)
{
    BlockDeviceInfoList *list = NULL, **tail = &list;
    BlockDriverState *bs = NULL;

    while ((bs = bdrv_next_node(bs))) {
        BlockDeviceInfo *info =
            bdrv_block_device_info(bs, arg->has_flat && arg->flat, errp);

        if (!info) {
            qapi_free_BlockDeviceInfoList(list);
            return NULL;
        }
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

static BlockInfo *device_info(BlockBackend *blk, Error **errp)
{
    g_autoptr(BlockInfo) info = g_new0(BlockInfo, 1);
    BlockDriverState *bs = blk_bs(blk);

    info->device = g_strdup(blk_name(blk));
    info->type = g_strdup("unknown");
    info->has_io_status = true;
    info->io_status = blk_iostatus(blk);
    /* Filters of jobs are not what a user put there. */
    while (bs && bs->implicit && bdrv_filter_child(bs)) {
        bs = bdrv_filter_child(bs)->bs;
    }
    if (bs && bs->drv) {
        info->inserted = bdrv_block_device_info(bs, false, errp);
        if (!info->inserted) {
            return NULL;
        }
    }
    return g_steal_pointer(&info);
}

BlockInfoList *qmp_query_block(Error **errp)
{
    BlockInfoList *list = NULL, **tail = &list;
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        BlockInfo *info;

        if (!blk_name(blk) || !*blk_name(blk)) {
            continue;
        }
        info = device_info(blk, errp);
        if (!info) {
            qapi_free_BlockInfoList(list);
            return NULL;
        }
        QAPI_LIST_APPEND(tail, info);
    }
    return list;
}

static void fill_device_counters(BlockDeviceStats *out, BlockBackend *blk)
{
    const BlockAcctStats *in = blk_get_stats(blk);

    out->rd_bytes = in->bytes[BLOCK_ACCT_READ];
    out->wr_bytes = in->bytes[BLOCK_ACCT_WRITE];
    out->unmap_bytes = in->bytes[BLOCK_ACCT_UNMAP];
    out->rd_operations = in->ops[BLOCK_ACCT_READ];
    out->wr_operations = in->ops[BLOCK_ACCT_WRITE];
    out->flush_operations = in->ops[BLOCK_ACCT_FLUSH];
    out->unmap_operations = in->ops[BLOCK_ACCT_UNMAP];
    out->rd_total_time_ns = in->time_ns[BLOCK_ACCT_READ];
    out->wr_total_time_ns = in->time_ns[BLOCK_ACCT_WRITE];
    out->flush_total_time_ns = in->time_ns[BLOCK_ACCT_FLUSH];
    out->unmap_total_time_ns = in->time_ns[BLOCK_ACCT_UNMAP];
    out->failed_rd_operations = in->failed[BLOCK_ACCT_READ];
    out->failed_wr_operations = in->failed[BLOCK_ACCT_WRITE];
    out->failed_flush_operations = in->failed[BLOCK_ACCT_FLUSH];
    out->failed_unmap_operations = in->failed[BLOCK_ACCT_UNMAP];
    out->invalid_rd_operations = in->invalid[BLOCK_ACCT_READ];
    out->invalid_wr_operations = in->invalid[BLOCK_ACCT_WRITE];
    out->invalid_flush_operations = in->invalid[BLOCK_ACCT_FLUSH];
    out->invalid_unmap_operations = in->invalid[BLOCK_ACCT_UNMAP];
    out->account_invalid = true;
    out->account_failed = true;
    out->has_idle_time_ns = in->last_access_ns > 0;
    out->idle_time_ns = aio_now_ns() - in->last_access_ns;
}

static BlockStatsList *device_stats(void)
{
    BlockStatsList *list = NULL, **tail = &list;
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        BlockDriverState *bs = blk_bs(blk);
        BlockStats *stats;

        if (!blk_name(blk) || !*blk_name(blk) || !bs) {
            continue;
        }
        stats = bdrv_query_bds_stats(bs, true);
        stats->device = g_strdup(blk_name(blk));
        fill_device_counters(stats->stats, blk);
        QAPI_LIST_APPEND(tail, stats);
    }
    return list;
}

BlockStatsList *qmp_query_blockstats(QueryBlockstatsArg *arg, Error **errp)
{
    BlockStatsList *list = NULL;
    BlockDriverState *bs = NULL;

    if (!arg->has_query_nodes || !arg->query_nodes) {
        return device_stats();
    }
    /* Oldest first. */
    while ((bs = bdrv_next_node(bs))) {
        QAPI_LIST_PREPEND(list, bdrv_query_bds_stats(bs, false));
    }
    return list;
}

XDbgBlockGraph *qmp_x_debug_query_block_graph(Error **errp)
{
    return bdrv_get_xdbg_block_graph(errp);
}
