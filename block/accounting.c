/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters of a user's requests. */
#include "qemu/osdep.h"
#include "block-backend-int.h"

void block_acct_done(BlockAcctStats *stats, BlockAcctType type, int64_t bytes,
                     int64_t start_ns, int ret)
{
    int64_t now = aio_now_ns();

    if (ret < 0) {
        stats->failed[type]++;
    } else {
        stats->ops[type]++;
        stats->bytes[type] += bytes;
    }
    stats->time_ns[type] += now - start_ns;
    stats->last_access_ns = now;
}

void block_acct_invalid(BlockAcctStats *stats, BlockAcctType type)
{
    stats->invalid[type]++;
    stats->last_access_ns = aio_now_ns();
}
