/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Leaky buckets: how long a request has to wait.  No clocks, no queues. */
#include "qemu/osdep.h"
#include "block/throttle-group.h"

#define NS_PER_SECOND 1000000000.0

void throttle_config_init(ThrottleConfig *config)
{
    *config = (ThrottleConfig) { 0 };
    for (int i = 0; i < THROTTLE_BUCKETS; i++) {
        config->limit[i].burst_length = 1;
    }
}

/* Limits of all requests and of one direction exclude each other. */
static bool check_conflicts(const ThrottleLimit *l, Error **errp)
{
    if ((l[THROTTLE_BPS_TOTAL].avg &&
         (l[THROTTLE_BPS_READ].avg || l[THROTTLE_BPS_WRITE].avg)) ||
        (l[THROTTLE_OPS_TOTAL].avg &&
         (l[THROTTLE_OPS_READ].avg || l[THROTTLE_OPS_WRITE].avg)) ||
        (l[THROTTLE_BPS_TOTAL].max &&
         (l[THROTTLE_BPS_READ].max || l[THROTTLE_BPS_WRITE].max)) ||
        (l[THROTTLE_OPS_TOTAL].max &&
         (l[THROTTLE_OPS_READ].max || l[THROTTLE_OPS_WRITE].max))) {
        error_setg(errp, "bps/iops/max total values and read/write values "
                   "cannot be used at the same time");
        return false;
    }
    return true;
}

static bool check_limit(const ThrottleLimit *l, Error **errp)
{
    if (l->avg > THROTTLE_VALUE_MAX || l->max > THROTTLE_VALUE_MAX) {
        error_setg(errp, "bps/iops/max values must be within [0, %" PRIu64
                   "]", THROTTLE_VALUE_MAX);
        return false;
    }
    if (l->burst_length == 0) {
        error_setg(errp, "the burst length cannot be 0");
        return false;
    }
    if (l->burst_length > 1 && !l->max) {
        error_setg(errp, "burst length set without burst rate");
        return false;
    }
    if (l->max && l->burst_length > THROTTLE_VALUE_MAX / l->max) {
        error_setg(errp, "burst length too high for this burst rate");
        return false;
    }
    if (l->max && !l->avg) {
        error_setg(errp, "bps_max/iops_max require corresponding bps/iops "
                   "values");
        return false;
    }
    if (l->max && l->max < l->avg) {
        error_setg(errp, "bps_max/iops_max cannot be lower than bps/iops");
        return false;
    }
    return true;
}

bool throttle_config_check(const ThrottleConfig *config, Error **errp)
{
    const ThrottleLimit *l = config->limit;

    if (!check_conflicts(l, errp)) {
        return false;
    }
    if (config->op_size && !l[THROTTLE_OPS_TOTAL].avg &&
        !l[THROTTLE_OPS_READ].avg && !l[THROTTLE_OPS_WRITE].avg) {
        error_setg(errp, "iops size requires an iops value to be set");
        return false;
    }
    for (int i = 0; i < THROTTLE_BUCKETS; i++) {
        if (!check_limit(&l[i], errp)) {
            return false;
        }
    }
    return true;
}

void throttle_init(ThrottleState *ts, const ThrottleConfig *config,
                   int64_t now_ns)
{
    *ts = (ThrottleState) { .config = *config, .last_leak_ns = now_ns };
}

static void leak(ThrottleState *ts, int64_t now_ns)
{
    double seconds = MAX(now_ns - ts->last_leak_ns, 0) / NS_PER_SECOND;

    ts->last_leak_ns = now_ns;
    for (int i = 0; i < THROTTLE_BUCKETS; i++) {
        const ThrottleLimit *l = &ts->config.limit[i];

        ts->level[i] = MAX(ts->level[i] - l->avg * seconds, 0);
        ts->burst_level[i] = MAX(ts->burst_level[i] - l->max * seconds, 0);
    }
}

/* Seconds until one bucket has room. */
static double bucket_wait(const ThrottleState *ts, int i)
{
    const ThrottleLimit *l = &ts->config.limit[i];
    /* Without bursts: the amount for 100 ms may come at once. */
    double size = l->max ? (double)l->max * l->burst_length : l->avg / 10.0;
    double wait = 0;

    if (!l->avg) {
        return 0;
    }
    if (ts->level[i] > size) {
        wait = (ts->level[i] - size) / l->avg;
    }
    /* A long burst is limited to its own rate, too. */
    if (l->burst_length > 1 && ts->burst_level[i] > l->max / 10.0) {
        wait = MAX(wait, (ts->burst_level[i] - l->max / 10.0) / l->max);
    }
    return wait;
}

int64_t throttle_wait_ns(ThrottleState *ts, bool is_write, int64_t now_ns)
{
    int bps = is_write ? THROTTLE_BPS_WRITE : THROTTLE_BPS_READ;
    int ops = is_write ? THROTTLE_OPS_WRITE : THROTTLE_OPS_READ;
    double wait;

    leak(ts, now_ns);
    wait = MAX(bucket_wait(ts, THROTTLE_BPS_TOTAL),
               bucket_wait(ts, THROTTLE_OPS_TOTAL));
    wait = MAX(wait, bucket_wait(ts, bps));
    wait = MAX(wait, bucket_wait(ts, ops));
    /* Rounding must not make a timer spin. */
    return wait > 0 ? (int64_t)(wait * NS_PER_SECOND) + 1 : 0;
}

static void fill(ThrottleState *ts, int i, double units)
{
    ts->level[i] += units;
    ts->burst_level[i] += units;
}

void throttle_account(ThrottleState *ts, bool is_write, uint64_t bytes)
{
    double ops = 1;

    if (ts->config.op_size && bytes > ts->config.op_size) {
        ops = (double)bytes / ts->config.op_size;
    }
    fill(ts, THROTTLE_BPS_TOTAL, bytes);
    fill(ts, THROTTLE_OPS_TOTAL, ops);
    fill(ts, is_write ? THROTTLE_BPS_WRITE : THROTTLE_BPS_READ, bytes);
    fill(ts, is_write ? THROTTLE_OPS_WRITE : THROTTLE_OPS_READ, ops);
}
