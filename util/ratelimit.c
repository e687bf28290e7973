/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rate limit by slices of time.
 *
 * The bytes accounted in a slice may exceed its quota (requests are larger than
 * that at low speeds); the slice is then extended until the speed is kept
 * again.  Unused quota is not carried over, so there are no late bursts.
 */
#include "qemu/osdep.h"
#include "qemu/ratelimit.h"

#define SLICE_NS INT64_C(100000000)
#define SLICES_PER_SECOND 10

void ratelimit_set_speed(RateLimit *limit, uint64_t bytes_per_second)
{
    uint64_t quota = 0;

    if (bytes_per_second) {
        quota = MAX(bytes_per_second / SLICES_PER_SECOND, 1);
    }
    if (quota != limit->slice_quota) {
        *limit = (RateLimit) { .slice_quota = quota };
    }
}

int64_t ratelimit_delay(RateLimit *limit, uint64_t bytes, int64_t now_ns)
{
    double used_ns;
    int64_t end;

    if (!limit->slice_quota) {
        return 0;
    }
    used_ns = (double)limit->dispatched / limit->slice_quota * SLICE_NS;
    if (now_ns - limit->slice_start_ns >= MAX(used_ns, SLICE_NS)) {
        limit->slice_start_ns = now_ns;
        limit->dispatched = 0;
    }
    limit->dispatched += bytes;
    if (limit->dispatched < limit->slice_quota) {
        return 0;
    }
    used_ns = (double)limit->dispatched / limit->slice_quota * SLICE_NS;
    end = limit->slice_start_ns + (int64_t)MIN(used_ns, 0x1p60);
    return MAX(end - now_ns, 0);
}
