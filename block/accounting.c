/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters of a user's requests. */
#include "qemu/osdep.h"
#include "block-backend-int.h"

/* --- histograms --- */

static void histogram_clear(BlockHistogram *hist)
{
    g_free(hist->boundaries);
    g_free(hist->bins);
    *hist = (BlockHistogram) {0};
}

bool block_histogram_set(BlockAcctStats *stats, BlockAcctType type,
                         const uint64List *boundaries)
{
    BlockHistogram *hist = &stats->histogram[type];
    const uint64List *entry;
    uint64_t last = 0;
    int n = 1;

    for (entry = boundaries; entry; entry = entry->next) {
        if (entry->value <= last) {
            return false;
        }
        last = entry->value;
        n++;
    }
    histogram_clear(hist);
    if (!boundaries) {
        return true;
    }
    hist->n = n;
    hist->boundaries = g_new(uint64_t, n - 1);
    hist->bins = g_new0(uint64_t, n);
    n = 0;
    for (entry = boundaries; entry; entry = entry->next) {
        hist->boundaries[n++] = entry->value;
    }
    return true;
}

static void histogram_count(BlockHistogram *hist, uint64_t latency_ns)
{
    int low = 0, high = hist->n - 1;

    /* The first interval whose end is above it. */
    while (low < high) {
        int middle = (low + high) / 2;

        if (latency_ns < hist->boundaries[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    hist->bins[low]++;
}

void block_acct_cleanup(BlockAcctStats *stats)
{
    for (int i = 0; i < BLOCK_ACCT__MAX; i++) {
        histogram_clear(&stats->histogram[i]);
    }
}

/* --- counting --- */

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
    if (G_UNLIKELY(stats->histogram[type].n)) {
        histogram_count(&stats->histogram[type], now - start_ns);
    }
    stats->last_access_ns = now;
}

void block_acct_invalid(BlockAcctStats *stats, BlockAcctType type)
{
    stats->invalid[type]++;
    stats->last_access_ns = aio_now_ns();
}
