/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rate limit of a long operation: how long to wait so that a speed is kept. */
#ifndef QEMU_RATELIMIT_H
#define QEMU_RATELIMIT_H

#include "qemu/osdep.h"

typedef struct RateLimit {
    int64_t slice_start_ns; /* of the current slice */
    uint64_t slice_quota;   /* bytes a slice allows; 0: no limit */
    uint64_t dispatched;    /* bytes accounted in the current slice */
} RateLimit;

/* @bytes_per_second 0: no limit. */
void ratelimit_set_speed(RateLimit *limit, uint64_t bytes_per_second);
static inline bool ratelimit_is_set(const RateLimit *limit)
{
    return limit->slice_quota != 0;
}
/* Accounts for @bytes at time @now_ns; returns ns to wait, 0 for none. */
int64_t ratelimit_delay(RateLimit *limit, uint64_t bytes, int64_t now_ns);

#endif
