/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rate limit on a simulated clock; and the progress meter. */
#include "qemu/osdep.h"
#include "qemu/progress.h"
#include "qemu/ratelimit.h"

#define SECOND INT64_C(1000000000)

/* Bytes that get through in @seconds, by requests of @request bytes. */
static uint64_t simulate(uint64_t speed, uint64_t request, int seconds)
{
    RateLimit limit = { 0 };
    int64_t now = 12345, end = now + seconds * SECOND;
    uint64_t done = 0;

    ratelimit_set_speed(&limit, speed);
    while (now < end) {
        done += request;
        now += ratelimit_delay(&limit, request, now);
        now += 1000; /* the request itself */
    }
    return done;
}

static void test_speed_is_kept(void)
{
    static const uint64_t speeds[] = { 1 << 10, 1 << 20, 100 << 20 };
    static const uint64_t requests[] = { 512, 65536, 1 << 20 };

    for (size_t i = 0; i < ARRAY_SIZE(speeds); i++) {
        for (size_t j = 0; j < ARRAY_SIZE(requests); j++) {
            uint64_t done = simulate(speeds[i], requests[j], 20);
            uint64_t want = speeds[i] * 20;

            g_assert_cmpuint(done, <=, want * 11 / 10 + requests[j]);
            if (requests[j] < speeds[i]) {
                g_assert_cmpuint(done, >=, want * 8 / 10);
            }
        }
    }
}

static void test_none(void)
{
    RateLimit limit = { 0 };

    g_assert_cmpint(ratelimit_delay(&limit, UINT64_MAX, 5), ==, 0);
    ratelimit_set_speed(&limit, 1);
    g_assert_cmpint(ratelimit_delay(&limit, 100, SECOND), >, 0);
    ratelimit_set_speed(&limit, 0);
    g_assert_cmpint(ratelimit_delay(&limit, 100, SECOND), ==, 0);
}

/* Setting the same speed again and again gives no new quota. */
static void test_same_speed(void)
{
    RateLimit limit = { 0 };

    ratelimit_set_speed(&limit, 1000);
    g_assert_cmpint(ratelimit_delay(&limit, 10000, SECOND), >, 9 * SECOND);
    ratelimit_set_speed(&limit, 1000);
    g_assert_cmpint(ratelimit_delay(&limit, 1, 2 * SECOND), >, 8 * SECOND);
}

static void test_progress(void)
{
    ProgressMeter pm = { 0 };
    uint64_t current, total;

    progress_set_remaining(&pm, 100);
    progress_done(&pm, 30);
    progress_get(&pm, &current, &total);
    g_assert_cmpuint(current, ==, 30);
    g_assert_cmpuint(total, ==, 100);
    progress_set_remaining(&pm, 50);
    progress_get(&pm, &current, &total);
    g_assert_cmpuint(total, ==, 80);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ratelimit/speed-is-kept", test_speed_is_kept);
    g_test_add_func("/ratelimit/none", test_none);
    g_test_add_func("/ratelimit/same-speed", test_same_speed);
    g_test_add_func("/progress", test_progress);
    return g_test_run();
}
