/* SPDX-License-Identifier: GPL-2.0-or-later */
/* key=value parsing: accepted input, refused input and its messages. */
#include "qemu/osdep.h"
#include "qapi/keyval.h"

typedef struct Case {
    const char *params;
    const char *expected; /* JSON, or the error message */
} Case;

static const Case good[] = {
    {"", "{}"},
    {"a=b", "{\"a\":\"b\"}"},
    {"a=b,c=d", "{\"a\":\"b\",\"c\":\"d\"}"},
    {"a=b,", "{\"a\":\"b\"}"},
    {"a=", "{\"a\":\"\"}"},
    {"a==", "{\"a\":\"=\"}"},
    {"a=b,,c,d=e", "{\"a\":\"b,c\",\"d\":\"e\"}"},
    {"a=b,,c,,,,d,e=f", "{\"a\":\"b,c,,d\",\"e\":\"f\"}"},
    {"a=,,,b=1", "{\"a\":\",\",\"b\":\"1\"}"},
    {"a=b,a=c", "{\"a\":\"c\"}"},
    {"a.b=1,a.c=2,d=3", "{\"a\":{\"b\":\"1\",\"c\":\"2\"},\"d\":\"3\"}"},
    {"a.b.c=1,a.d=2", "{\"a\":{\"b\":{\"c\":\"1\"},\"d\":\"2\"}}"},
    {"a.0=x,a.1=y", "{\"a\":[\"x\",\"y\"]}"},
    {"a.1=y,a.0=x", "{\"a\":[\"x\",\"y\"]}"},
    {"a.00=x,a.01=y", "{\"a\":[\"x\",\"y\"]}"},
    {"a.0.b=x,a.0.c=y,a.1.b=z",
     "{\"a\":[{\"b\":\"x\",\"c\":\"y\"},{\"b\":\"z\"}]}"},
    {"a.0.0=x,a.0.1=y,a.1.0=z", "{\"a\":[[\"x\",\"y\"],[\"z\"]]}"},
    {"x-a_b-1=c d", "{\"x-a_b-1\":\"c d\"}"},
    {"a=\xc3\xa4", "{\"a\":\"\xc3\xa4\"}"},
};

static const Case bad[] = {
    {"=x", "Invalid parameter ''"},
    {",a=x", "Invalid parameter ''"},
    {".a=x", "Invalid parameter '.a'"},
    {"a.=x", "Invalid parameter 'a.'"},
    {"a..b=x", "Invalid parameter 'a..b'"},
    {"1a=x", "Invalid parameter '1a'"},
    {"0=x", "Invalid parameter '0'"},
    {"a.0b=x", "Invalid parameter 'a.0b'"},
    {"a$=x", "Invalid parameter 'a$'"},
    {" a=x", "Invalid parameter ' a'"},
    {"-a=x", "Invalid parameter '-a'"},
    {"a", "Expected '=' after parameter 'a'"},
    {"a=b,c", "Expected '=' after parameter 'c'"},
    {"help", "Expected '=' after parameter 'help'"},
    {"a=1,a.b=2", "Parameters 'a.*' used inconsistently"},
    {"a.b=1,a=2", "Parameters 'a.*' used inconsistently"},
    {"a.b.c=1,a.b=2", "Parameters 'a.b.*' used inconsistently"},
    {"a.0=1,a.b=2", "Parameters 'a.*' used inconsistently"},
    {"a.b.0=1,a.b.c=2", "Parameters 'a.b.*' used inconsistently"},
    {"a.1=x", "Parameter 'a.0' missing"},
    {"a.0=x,a.2=y", "Parameter 'a.1' missing"},
    {"a.0=x,a.00=y", "Parameter 'a.1' missing"},
    {"a.0.b.3=x", "Parameter 'a.0.b.0' missing"},
    {"a.99999999999999999999999=x", "Parameter 'a.0' missing"},
};

static char *to_text(struct json_object *obj)
{
    return g_strdup(json_object_to_json_string_ext(
        obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void check_good(const char *params, const char *implied,
                       const char *expected)
{
    g_autoptr(Error) err = NULL;
    g_autofree char *text = NULL;
    struct json_object *obj = keyval_parse(params, implied, NULL, &err);

    g_assert_null(err);
    g_assert_nonnull(obj);
    text = to_text(obj);
    g_assert_cmpstr(text, ==, expected);
    json_object_put(obj);
}

static void check_bad(const char *params, const char *implied,
                      const char *expected)
{
    g_autoptr(Error) err = NULL;

    g_assert_null(keyval_parse(params, implied, NULL, &err));
    g_assert_nonnull(err);
    g_assert_cmpstr(error_get_pretty(err), ==, expected);
}

static void test_good(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        check_good(good[i].params, NULL, good[i].expected);
    }
}

static void test_bad(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        check_bad(bad[i].params, NULL, bad[i].expected);
    }
}

static void test_implied(void)
{
    check_good("raw", "driver", "{\"driver\":\"raw\"}");
    check_good("raw,a=b", "driver", "{\"driver\":\"raw\",\"a\":\"b\"}");
    check_good("a,,b,c=d", "driver", "{\"driver\":\"a,b\",\"c\":\"d\"}");
    check_good("driver=raw", "driver", "{\"driver\":\"raw\"}");
    check_good("raw,driver=file", "driver", "{\"driver\":\"file\"}");
    check_good("help", "driver", "{\"driver\":\"help\"}");
    check_bad("a=b,raw", "driver", "Expected '=' after parameter 'raw'");
    check_bad(",raw", "driver", "Invalid parameter ''");
}

static void test_help(void)
{
    static const char *const with[] = {"help", "?", "raw,help", "help,a=b",
                                       "a=b,help,c=d"};
    g_autoptr(Error) err = NULL;
    struct json_object *obj;
    bool help;

    for (size_t i = 0; i < ARRAY_SIZE(with); i++) {
        help = false;
        obj = keyval_parse(with[i], "driver", &help, &error_abort);
        g_assert_true(help);
        json_object_put(obj);
    }
    obj = keyval_parse("raw,a=help", "driver", &help, &error_abort);
    g_assert_false(help);
    json_object_put(obj);
    g_assert_null(keyval_parse("raw,helper", "driver", &help, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Expected '=' after parameter 'helper'");
}

static void test_limits(void)
{
    g_autofree char *longest = g_strnfill(KEYVAL_MAX_KEY, 'a');
    g_autofree char *ok = g_strdup_printf("%s=b", longest);
    g_autofree char *too_long = g_strdup_printf("%sa=b", longest);
    g_autoptr(GString) deep = g_string_new("a");
    struct json_object *obj;

    obj = keyval_parse(ok, NULL, NULL, &error_abort);
    json_object_put(obj);
    g_assert_null(keyval_parse(too_long, NULL, NULL, NULL));
    for (int i = 1; i < KEYVAL_MAX_DEPTH; i++) {
        g_string_append(deep, ".a");
    }
    g_string_append(deep, "=1");
    obj = keyval_parse(deep->str, NULL, NULL, &error_abort);
    json_object_put(obj);
    g_string_prepend(deep, "a.");
    g_assert_null(keyval_parse(deep->str, NULL, NULL, NULL));
}

static void test_json(void)
{
    QapiInputMode mode;
    struct json_object *obj;
    g_autofree char *text = NULL;

    obj = keyval_parse_or_json("{'a': 1}", NULL, &mode, &error_abort);
    g_assert_cmpint(mode, ==, QAPI_INPUT_STRICT);
    text = to_text(obj);
    g_assert_cmpstr(text, ==, "{\"a\":1}");
    json_object_put(obj);
    obj = keyval_parse_or_json("x,a=1", "d", &mode, &error_abort);
    g_assert_cmpint(mode, ==, QAPI_INPUT_KEYVAL);
    json_object_put(obj);
    g_assert_null(keyval_parse_or_json("{'a': 1", NULL, &mode, NULL));
    g_assert_null(keyval_parse_or_json("{'a': 1} x", NULL, &mode, NULL));
}

static void test_escape(void)
{
    g_autofree char *escaped = keyval_escape("a,b,,c");
    g_autofree char *params = g_strdup_printf("x=%s,y=z", escaped);

    g_assert_cmpstr(escaped, ==, "a,,b,,,,c");
    check_good(params, NULL, "{\"x\":\"a,b,,c\",\"y\":\"z\"}");
}

/* Nothing made of the significant characters crashes, leaks or hangs. */
static void test_random(void)
{
    static const char alphabet[] = "ab01.,=?-";
    g_autoptr(GRand) rand = g_rand_new_with_seed(20240511);

    for (int round = 0; round < 20000; round++) {
        char params[24];
        int len = g_rand_int_range(rand, 0, sizeof(params));
        struct json_object *obj;
        Error *err = NULL;
        bool help;

        for (int i = 0; i < len; i++) {
            params[i] =
                alphabet[g_rand_int_range(rand, 0, sizeof(alphabet) - 1)];
        }
        params[len] = 0;
        obj = keyval_parse(params, round & 1 ? "a" : NULL,
                           round & 2 ? &help : NULL, &err);
        g_assert_true(!obj == !!err);
        json_object_put(obj);
        error_free(err);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/keyval/good", test_good);
    g_test_add_func("/keyval/bad", test_bad);
    g_test_add_func("/keyval/implied", test_implied);
    g_test_add_func("/keyval/help", test_help);
    g_test_add_func("/keyval/limits", test_limits);
    g_test_add_func("/keyval/json", test_json);
    g_test_add_func("/keyval/escape", test_escape);
    g_test_add_func("/keyval/random", test_random);
    return g_test_run();
}
