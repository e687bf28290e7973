/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The query commands for devices and nodes. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/throttle-group.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-stats.h"
#include "qapi/qapi-types-builtin.h"
#include "qemu/guest-clock.h"

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

#define LIMIT(kind, member) \
    do { \
        const ThrottleLimit *limit = &config.limit[kind]; \
        info->member = limit->avg; \
        info->has_##member##_max = limit->max != 0; \
        info->member##_max = limit->max; \
        info->has_##member##_max_length = limit->max != 0; \
        info->member##_max_length = limit->burst_length; \
    } while (0)

static void fill_limits(BlockDeviceInfo *info, const BlockBackend *blk)
{
    const char *group = blk_io_limits_group(blk);
    ThrottleConfig config;

    if (!group) {
        return;
    }
    throttle_group_get_config(throttle_group_find(group), &config);
    info->group = g_strdup(group);
    LIMIT(THROTTLE_BPS_TOTAL, bps);
    LIMIT(THROTTLE_BPS_READ, bps_rd);
    LIMIT(THROTTLE_BPS_WRITE, bps_wr);
    LIMIT(THROTTLE_OPS_TOTAL, iops);
    LIMIT(THROTTLE_OPS_READ, iops_rd);
    LIMIT(THROTTLE_OPS_WRITE, iops_wr);
    info->has_iops_size = config.op_size != 0;
    info->iops_size = config.op_size;
}

static BlockInfo *device_info(BlockBackend *blk, Error **errp)
{
    g_autoptr(BlockInfo) info = g_new0(BlockInfo, 1);
    BlockDriverState *bs = blk_bs(blk);
    BlockDevState dev;

    info->device = g_strdup(blk_name(blk));
    info->type = g_strdup("unknown");
    /* Without a device, the medium can be changed. */
    info->removable = !blk_get_device_state(blk, &dev) || dev.removable;
    info->qdev = dev.id;
    info->locked = dev.locked;
    info->has_tray_open = dev.has_tray;
    info->tray_open = dev.tray_open;
    info->has_io_status = blk_iostatus_is_enabled(blk);
    info->io_status = blk_iostatus(blk);
    /* Filters of jobs are not shown. */
    while (bs && bdrv_is_implicit(bs) && bdrv_filter_child(bs)) {
        bs = bdrv_filter_child(bs)->bs;
    }
    if (bs && bs->drv) {
        info->inserted = bdrv_block_device_info(bs, false, errp);
        if (!info->inserted) {
            return NULL;
        }
        info->inserted->cache->writeback = blk_enable_write_cache(blk);
        fill_limits(info->inserted, blk);
    }
    return g_steal_pointer(&info);
}

/* Handles of jobs and exports are not devices. */
static bool is_device(const BlockBackend *blk)
{
    g_autofree char *id = blk_device_id(blk);

    return *blk_name(blk) || id;
}

BlockInfoList *qmp_query_block(Error **errp)
{
    BlockInfoList *list = NULL, **tail = &list;
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        BlockInfo *info;

        if (!is_device(blk)) {
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

static BlockLatencyHistogramInfo *histogram(const BlockHistogram *in)
{
    BlockLatencyHistogramInfo *out;

    if (!in->n) {
        return NULL;
    }
    out = g_new0(BlockLatencyHistogramInfo, 1);
    for (int i = in->n; i-- > 0;) {
        QAPI_LIST_PREPEND(out->bins, in->bins[i]);
        if (i > 0) {
            QAPI_LIST_PREPEND(out->boundaries, in->boundaries[i - 1]);
        }
    }
    return out;
}

static void fill_device_counters(BlockDeviceStats *out, BlockBackend *blk)
{
    BlockAcctStats *in = blk_get_stats(blk);

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
    out->account_invalid = in->account_invalid;
    out->account_failed = in->account_failed;
    out->rd_latency_histogram = histogram(&in->histogram[BLOCK_ACCT_READ]);
    out->wr_latency_histogram = histogram(&in->histogram[BLOCK_ACCT_WRITE]);
    out->flush_latency_histogram = histogram(&in->histogram[BLOCK_ACCT_FLUSH]);
    out->has_idle_time_ns = in->last_access_ns > 0;
    out->idle_time_ns = guest_clock_ns() - in->last_access_ns;
    out->timed_stats = block_acct_intervals(in);
}

static BlockStatsList *device_stats(void)
{
    BlockStatsList *list = NULL, **tail = &list;
    BlockBackend *blk = NULL;

    while ((blk = blk_next(blk))) {
        BlockDriverState *bs = blk_bs(blk);
        BlockStats *stats;

        if (!is_device(blk)) {
            continue;
        }
        stats = bdrv_query_bds_stats(bs, true);
        stats->device = g_strdup(blk_name(blk));
        stats->qdev = blk_device_id(blk);
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
