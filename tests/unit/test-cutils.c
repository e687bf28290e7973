/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Numbers and sizes as text, in both directions. */
#include "qemu/osdep.h"
#include "qemu/cutils.h"

static void test_size(void)
{
    static const struct {
        const char *text;
        char suffix;
        int64_t bytes;
    } good[] = {
        { "0", 'b', 0 },
        { "512", 'b', 512 },
        { "64k", 'b', 65536 },
        { "64K", 'b', 65536 },
        { "1.5G", 'b', 3 * GiB / 2 },
        { "1.", 'M', MiB },
        { "0.5k", 'b', 512 },
        { "1.1k", 'b', 1126 },
        { "0x1000", 'b', 4096 },
        { "0X10k", 'b', 16384 },
        { "10", 'M', 10 * MiB },
        { "10b", 'M', 10 },
        { "010", 'b', 10 },
        { "+1", 'b', 1 },
        { " \t+0x10", 'b', 16 },
        { "1024.0", 'b', 1024 },
        { "1.b", 'M', 1 },
        { "3t", 'b', 3 * TiB },
        { "2P", 'b', 2048 * TiB },
        { "7E", 'b', INT64_C(7) << 60 },
        { "7.9999999999999999999E", 'b', INT64_MAX },
        { "9223372036854775807", 'b', INT64_MAX },
    };
    static const char *const bad[] = {
        "", "k", "-1", "+ 1", " ", "+", "++1", "+-1", "1 ", "1kk", "1.5",
        "1.5b", "1.01", "1x", "0x", "1e3", ".5k", "0x1.8k", " 0x1.0",
        "8E", "9223372036854775808",
        "18446744073709551616", "99999999999999999999E", "1,5k", "inf", "nan",
    };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        int64_t bytes;

        if (!strcmp(good[i].text, "7.9999999999999999999E")) {
            /* Precise to one unit in 2^60. */
            g_assert(parse_size(good[i].text, 'b', &bytes, &error_abort));
            g_assert_cmpint(INT64_MAX - bytes, <, 16);
            continue;
        }
        g_assert(parse_size(good[i].text, good[i].suffix, &bytes,
                            &error_abort));
        g_assert_cmpint(bytes, ==, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(Error) err = NULL;
        int64_t bytes = 77;

        g_test_message("'%s'", bad[i]);
        g_assert(!parse_size(bad[i], 'b', &bytes, &err));
        g_assert(err);
        g_assert(strstr(error_get_pretty(err), bad[i]));
        g_assert_cmpint(bytes, ==, 77);
    }
}

static void test_uint64(void)
{
    static const char *const bad[] = {
        "", "-1", " -1", "1k", "1 ", "18446744073709551616", "0x", "0xg",
        "0x10000000000000000",
    };
    uint64_t v;

    g_assert(parse_uint64("0", &v, &error_abort) && v == 0);
    g_assert(parse_uint64("0xFF", &v, &error_abort) && v == 255);
    g_assert(parse_uint64("18446744073709551615", &v, &error_abort));
    g_assert(v == UINT64_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(Error) err = NULL;

        g_assert(!parse_uint64(bad[i], &v, &err));
        g_assert(err);
    }
}

static void test_int64(void)
{
    static const char *const bad[] = {
        "", "-", "--1", "+-1", "-+1", "- 1",
        "9223372036854775808", "-9223372036854775809", "1.0",
    };
    int64_t v;

    g_assert(parse_int64("-1", &v, &error_abort) && v == -1);
    g_assert(parse_int64("-0x10", &v, &error_abort) && v == -16);
    g_assert(parse_int64(" -2", &v, &error_abort) && v == -2);
    g_assert(parse_int64("  +2", &v, &error_abort) && v == 2);
    g_assert(parse_int64("9223372036854775807", &v, &error_abort));
    g_assert(v == INT64_MAX);
    g_assert(parse_int64("-9223372036854775808", &v, &error_abort));
    g_assert(v == INT64_MIN);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(Error) err = NULL;

        g_assert(!parse_int64(bad[i], &v, &err));
        g_assert(err);
    }
}

static void test_bool(void)
{
    g_autoptr(Error) err = NULL;
    bool v = false;

    g_assert(parse_bool("x", "on", &v, &error_abort) && v);
    g_assert(parse_bool("x", "no", &v, &error_abort) && !v);
    g_assert(parse_bool("x", "true", &v, &error_abort) && v);
    g_assert(parse_bool("x", "n", &v, &error_abort) && !v);
    g_assert(!parse_bool("x", "On", &v, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Parameter 'x' expects 'on' or 'off'");
}

static void test_size_range(void)
{
    static const struct {
        const char *text;
        int ret;
        uint64_t bytes;
    } t[] = {
        { "8E", 0, UINT64_C(1) << 63 },
        { "18446744073709551615", 0, UINT64_MAX },
        { "16E", -ERANGE },
        { "18446744073709551616", -ERANGE },
        { "18446744073709551615.9b", -EINVAL },
        { "99999999999999999999M", -ERANGE },
        { "99999999999999999999x", -EINVAL },
        { "", -EINVAL },
        { "-1", -EINVAL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        uint64_t bytes = 0;

        g_assert_cmpint(parse_size_u64(t[i].text, 'b', &bytes), ==, t[i].ret);
        g_assert_true(t[i].ret < 0 || bytes == t[i].bytes);
    }
}

static void test_size_to_str(void)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } t[] = {
        { 0, "0 B" }, { 512, "512 B" }, { 999, "999 B" },
        { 1000, "0.977 KiB" }, { 1024, "1 KiB" }, { 200704, "196 KiB" },
        { 3 * GiB / 2, "1.5 GiB" }, { 10 * TiB, "10 TiB" },
        { UINT64_MAX, "16 EiB" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
        g_autofree char *text = size_to_str(t[i].bytes);

        g_assert_cmpstr(text, ==, t[i].text);
    }
}

static void test_id(void)
{
    static const char *const fine[] = { "a", "Z9", "a-b.c_d" };
    static const char *const wrong[] = { "", "1", "-a", "a b", "a,b", "#x" };

    for (size_t i = 0; i < ARRAY_SIZE(fine); i++) {
        g_assert_true(id_wellformed(fine[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        g_assert_false(id_wellformed(wrong[i]));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cutils/size-range", test_size_range);
    g_test_add_func("/cutils/size", test_size);
    g_test_add_func("/cutils/uint64", test_uint64);
    g_test_add_func("/cutils/int64", test_int64);
    g_test_add_func("/cutils/bool", test_bool);
    g_test_add_func("/cutils/size-to-str", test_size_to_str);
    g_test_add_func("/cutils/id", test_id);
    return g_test_run();
}
