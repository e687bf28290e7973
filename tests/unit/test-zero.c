/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Zero detection: every length and position around the vector sizes. */
#include "qemu/osdep.h"
#include "qemu/iov.h"

#define MAX_LEN 600

/* A heap buffer of just the right size, so that ASan sees what is read. */
static void test_all(void)
{
    for (size_t len = 0; len <= MAX_LEN; len++) {
        g_autofree uint8_t *buf = g_malloc0(len + 1);
        uint8_t *p = g_memdup2(buf, MAX(len, 1));

        g_assert(buffer_is_zero(p, len));
        for (size_t i = 0; i < len; i++) {
            p[i] = 1 << (i % 8);
            g_assert(!buffer_is_zero(p, len));
            p[i] = 0;
        }
        g_free(p);
    }
}

static void test_unaligned(void)
{
    g_autofree uint8_t *buf = g_malloc0(8192);

    for (int i = 0; i < 20000; i++) {
        size_t at = g_test_rand_int_range(0, 64);
        size_t len = g_test_rand_int_range(1, 8192 - 64);
        size_t bad = g_test_rand_int_range(0, 8192);

        buf[bad] = 0x80;
        g_assert(buffer_is_zero(buf + at, len) ==
                 (bad < at || bad >= at + len));
        buf[bad] = 0;
    }
}

static void test_speed(void)
{
    size_t len = 64 * KiB;
    g_autofree uint8_t *buf = g_malloc0(len);
    double seconds;
    int n = 200000, zero = 0;

    g_test_timer_start();
    for (int i = 0; i < n; i++) {
        zero += buffer_is_zero(buf, len);
    }
    seconds = g_test_timer_elapsed();
    g_assert_cmpint(zero, ==, n);
    g_test_maximized_result(len * n / seconds / GiB, "%.1f GiB/s",
                            len * n / seconds / GiB);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/zero/all", test_all);
    g_test_add_func("/zero/unaligned", test_unaligned);
    if (g_test_perf()) {
        g_test_add_func("/zero/speed", test_speed);
    }
    return g_test_run();
}
