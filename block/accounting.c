/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counters of a user's requests. */
#include "qemu/osdep.h"
#include "block-backend-int.h"
#include "qapi/qapi-types-block-stats.h"
#include "qapi/qapi-types-builtin.h"
#include "qemu/guest-clock.h"

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

    /* The first interval whose upper bound is above the latency. */
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

/* --- intervals --- */

/*
 * Two windows of the interval's length, offset by half of it.  Every request
 * counts in both, and queries read the older one, so the reported values cover
 * between a half and the whole of the last interval.
 */
typedef struct Window {
    int64_t end_ns;
    uint64_t min, max, sum, count;
} Window;

struct BlockAcctInterval {
    uint32_t seconds;
    Window windows[BLOCK_ACCT__MAX][2];
    LIST_ENTRY(BlockAcctInterval) next;
};

static int64_t length_ns(const BlockAcctInterval *interval)
{
    return interval->seconds * INT64_C(1000000000);
}

/* Restarts windows that have ended; returns the one that ends first. */
static Window *windows_advance(BlockAcctInterval *interval, Window *windows,
                               int64_t now)
{
    int64_t length = length_ns(interval);

    for (int i = 0; i < 2; i++) {
        Window *w = &windows[i];

        if (now >= w->end_ns) {
            int64_t missed = (now - w->end_ns) / length;

            *w = (Window) { .end_ns = w->end_ns + (missed + 1) * length };
        }
    }
    return windows[0].end_ns <= windows[1].end_ns ? &windows[0] : &windows[1];
}

static void window_count(Window *w, uint64_t latency_ns)
{
    w->min = w->count ? MIN(w->min, latency_ns) : latency_ns;
    w->max = MAX(w->max, latency_ns);
    w->sum += latency_ns;
    w->count++;
}

static void intervals_count(BlockAcctStats *stats, BlockAcctType type,
                            uint64_t latency_ns, int64_t now)
{
    BlockAcctInterval *interval;

    LIST_FOREACH(interval, &stats->intervals, next) {
        windows_advance(interval, interval->windows[type], now);
        window_count(&interval->windows[type][0], latency_ns);
        window_count(&interval->windows[type][1], latency_ns);
    }
}

void block_acct_add_interval(BlockAcctStats *stats, uint32_t seconds)
{
    BlockAcctInterval *interval = g_new0(BlockAcctInterval, 1);
    int64_t now = guest_clock_ns();

    interval->seconds = seconds;
    for (int i = 0; i < BLOCK_ACCT__MAX; i++) {
        interval->windows[i][0].end_ns = now + length_ns(interval) / 2;
        interval->windows[i][1].end_ns = now + length_ns(interval);
    }
    LIST_INSERT_HEAD(&stats->intervals, interval, next);
}

static Window ask(BlockAcctInterval *interval, BlockAcctType type)
{
    return *windows_advance(interval, interval->windows[type],
                            guest_clock_ns());
}

static int64_t average(const Window *w)
{
    return w->count ? w->sum / w->count : 0;
}

/* Mean number of requests in flight. */
static double queue_depth(const BlockAcctInterval *interval, const Window *w)
{
    int64_t elapsed = guest_clock_ns() -
                      (w->end_ns - length_ns(interval));

    return elapsed > 0 ? (double)w->sum / elapsed : 0;
}

static BlockDeviceTimedStats *interval_stats(BlockAcctInterval *interval)
{
    BlockDeviceTimedStats *out = g_new0(BlockDeviceTimedStats, 1);
    Window rd = ask(interval, BLOCK_ACCT_READ);
    Window wr = ask(interval, BLOCK_ACCT_WRITE);
    Window flush = ask(interval, BLOCK_ACCT_FLUSH);

    out->interval_length = interval->seconds;
    out->min_rd_latency_ns = rd.min;
    out->max_rd_latency_ns = rd.max;
    out->avg_rd_latency_ns = average(&rd);
    out->min_wr_latency_ns = wr.min;
    out->max_wr_latency_ns = wr.max;
    out->avg_wr_latency_ns = average(&wr);
    out->min_flush_latency_ns = flush.min;
    out->max_flush_latency_ns = flush.max;
    out->avg_flush_latency_ns = average(&flush);
    out->avg_rd_queue_depth = queue_depth(interval, &rd);
    out->avg_wr_queue_depth = queue_depth(interval, &wr);
    return out;
}

BlockDeviceTimedStatsList *block_acct_intervals(BlockAcctStats *stats)
{
    BlockDeviceTimedStatsList *list = NULL;
    BlockAcctInterval *interval;

    /* The list is reported oldest first. */
    LIST_FOREACH(interval, &stats->intervals, next) {
        QAPI_LIST_PREPEND(list, interval_stats(interval));
    }
    return list;
}

/* --- counting --- */

static int64_t fixed_latency_ns; /* 0: the measured latency counts */

void block_acct_fix_latency(int64_t ns)
{
    fixed_latency_ns = ns;
}

void block_acct_start(BlockAcctCookie *cookie, BlockAcctType type,
                      int64_t bytes)
{
    cookie->type = type;
    cookie->bytes = bytes;
    cookie->start_ns = guest_clock_ns();
}

void block_acct_done(BlockAcctStats *stats, const BlockAcctCookie *cookie,
                     int ret)
{
    int64_t now = guest_clock_ns();
    int64_t latency = fixed_latency_ns ?: now - cookie->start_ns;
    BlockAcctType type = cookie->type;

    if (ret < 0) {
        stats->failed[type]++;
    } else {
        stats->ops[type]++;
        stats->bytes[type] += cookie->bytes;
    }
    if (G_UNLIKELY(stats->histogram[type].n)) {
        histogram_count(&stats->histogram[type], latency);
    }
    if (ret >= 0 || stats->account_failed) {
        stats->time_ns[type] += latency;
        stats->last_access_ns = now;
        intervals_count(stats, type, latency, now);
    }
}

void block_acct_invalid(BlockAcctStats *stats, BlockAcctType type)
{
    stats->invalid[type]++;
    if (stats->account_invalid) {
        stats->last_access_ns = guest_clock_ns();
    }
}

void block_acct_cleanup(BlockAcctStats *stats)
{
    BlockAcctInterval *interval;

    for (int i = 0; i < BLOCK_ACCT__MAX; i++) {
        histogram_clear(&stats->histogram[i]);
    }
    while ((interval = LIST_FIRST(&stats->intervals))) {
        LIST_REMOVE(interval, next);
        g_free(interval);
    }
}
