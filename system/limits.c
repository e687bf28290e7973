/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block_set_io_throttle and block-latency-histogram-set. */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/throttle-group.h"
#include "device.h"
#include "medium.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-block-dev.h"

#define SET(kind, member) \
    do { \
        ThrottleLimit *limit = &config->limit[kind]; \
        ok = ok && take(&limit->avg, arg->member) && \
             (!arg->has_##member##_max || \
              take(&limit->max, arg->member##_max)) && \
             (!arg->has_##member##_max_length || \
              take(&limit->burst_length, arg->member##_max_length)); \
    } while (0)

static bool take(uint64_t *value, int64_t given)
{
    *value = given;
    return given >= 0;
}

static bool config_from_arg(ThrottleConfig *config,
                            const BlockIOThrottle *arg, Error **errp)
{
    bool ok = true;

    throttle_config_init(config);
    SET(THROTTLE_BPS_TOTAL, bps);
    SET(THROTTLE_BPS_READ, bps_rd);
    SET(THROTTLE_BPS_WRITE, bps_wr);
    SET(THROTTLE_OPS_TOTAL, iops);
    SET(THROTTLE_OPS_READ, iops_rd);
    SET(THROTTLE_OPS_WRITE, iops_wr);
    ok = ok && (!arg->has_iops_size || take(&config->op_size, arg->iops_size));
    if (!ok) {
        error_setg(errp, "bps/iops/max values must be within [0, %" PRIu64
                   "]", THROTTLE_VALUE_MAX);
        return false;
    }
    return throttle_config_check(config, errp);
}

static bool limits_anything(const ThrottleConfig *config)
{
    for (int i = 0; i < THROTTLE_BUCKETS; i++) {
        if (config->limit[i].avg) {
            return true;
        }
    }
    return false;
}

bool qmp_block_set_io_throttle(BlockIOThrottle *arg, Error **errp)
{
    BlockBackend *blk = system_find_backend(arg->device, arg->id, errp);
    const char *group = arg->group ? arg->group
                      : arg->device ? arg->device : arg->id;
    ThrottleConfig config;

    if (!blk) {
        return false;
    }
    if (!blk_bs(blk)) {
        error_setg(errp, "Device has no medium");
        return false;
    }
    if (!config_from_arg(&config, arg, errp)) {
        return false;
    }
    if (!limits_anything(&config)) {
        blk_io_limits_disable(blk);
        return true;
    }
    /* A member of a group stays in it unless another one is given. */
    if (!arg->group && blk_io_limits_group(blk)) {
        group = blk_io_limits_group(blk);
    }
    return blk_io_limits_enable(blk, group, errp) &&
           throttle_group_set_config(
               throttle_group_find(blk_io_limits_group(blk)), &config, errp);
}

/* --- latencies --- */

static bool set_histogram(BlockBackend *blk, BlockAcctType type,
                          const uint64List *boundaries, const char *device,
                          Error **errp)
{
    static const char *const names[] = {
        [BLOCK_ACCT_READ] = "read", [BLOCK_ACCT_WRITE] = "write",
        [BLOCK_ACCT_FLUSH] = "flush",
    };

    if (boundaries &&
        !block_histogram_set(blk_get_stats(blk), type, boundaries)) {
        error_setg(errp, "Device '%s' set %s boundaries fail", device,
                   names[type]);
        return false;
    }
    return true;
}

bool qmp_block_latency_histogram_set(BlockLatencyHistogramSetArg *arg,
                                     Error **errp)
{
    BlockBackend *blk = system_backend_by_id(arg->id, errp);
    const uint64List *all = arg->boundaries;

    if (!blk) {
        return false;
    }
    if (!all && !arg->boundaries_read && !arg->boundaries_write &&
        !arg->boundaries_flush) {
        for (int i = 0; i < BLOCK_ACCT__MAX; i++) {
            block_histogram_set(blk_get_stats(blk), i, NULL);
        }
        return true;
    }
    return set_histogram(blk, BLOCK_ACCT_READ, arg->boundaries_read ?: all,
                         arg->id, errp) &&
           set_histogram(blk, BLOCK_ACCT_WRITE, arg->boundaries_write ?: all,
                         arg->id, errp) &&
           set_histogram(blk, BLOCK_ACCT_FLUSH, arg->boundaries_flush ?: all,
                         arg->id, errp);
}
