/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of one level: accepted and refused input. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "qapi/optgroup.h"

typedef struct Case {
    const char *params;
    const char *expected; /* JSON, or the error message */
} Case;

static const OptParam params[] = {
    { "name", OPT_STRING }, { "flag", OPT_BOOL, "on" },
    { "count", OPT_NUMBER }, { "size", OPT_SIZE }, { NULL },
};
/* Short forms are usual here: no warnings in between. */
static const OptGroup group = { "thing", "name", params, true };
static const OptGroup plain = { "plain", NULL, params, true };
static const OptGroup any = { "any", NULL, NULL, true };

static const Case good[] = {
    {"", "{}"},
    {"x", "{\"name\":\"x\"}"},
    {"x,count=1", "{\"name\":\"x\",\"count\":\"1\"}"},
    {"name=x", "{\"name\":\"x\"}"},
    {"x,name=y", "{\"name\":\"y\"}"},
    {"a,,b", "{\"name\":\"a,b\"}"},
    {"x,flag", "{\"name\":\"x\",\"flag\":\"on\"}"},
    {"x,noflag", "{\"name\":\"x\",\"flag\":\"off\"}"},
    {"flag=off", "{\"flag\":\"off\"}"},
    {"size=64k", "{\"size\":\"64k\"}"},
    {"id=a.b-c_1", "{\"id\":\"a.b-c_1\"}"},
    {"x,", "{\"name\":\"x\"}"},
};

static const Case bad[] = {
    {"x,other=1", "Invalid parameter 'other'"},
    {"flag=maybe", "Parameter 'flag' expects 'on' or 'off'"},
    {"count=x", "Parameter 'count' expects a number"},
    {"size=-1", "Parameter 'size' expects a non-negative number below 2^64"},
    {"id=1x", "Parameter 'id' expects an identifier"},
    {"id=", "Parameter 'id' expects an identifier"},
};

static void check_good(const OptGroup *g, const Case *c)
{
    Error *err = NULL;
    struct json_object *opts = optgroup_parse(g, c->params, &err);

    g_assert_null(err);
    g_assert_cmpstr(json_object_to_json_string_ext(opts,
                                                   JSON_C_TO_STRING_PLAIN),
                    ==, c->expected);
    json_object_put(opts);
}

static void test_good(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        check_good(&group, &good[i]);
    }
}

static void test_bad(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        Error *err = NULL;

        g_assert_null(optgroup_parse(&group, bad[i].params, &err));
        g_assert_cmpstr(error_get_pretty(err), ==, bad[i].expected);
        error_free(err);
    }
}

/* Without an implied key a first word is a flag; without a list all goes. */
static void test_groups(void)
{
    check_good(&plain, &(Case){ "flag", "{\"flag\":\"on\"}" });
    check_good(&any, &(Case){ "what=ever", "{\"what\":\"ever\"}" });
}

static void test_getters(void)
{
    Error *err = NULL;
    struct json_object *opts =
        optgroup_parse(&group, "x,flag=no,count=-7", &err);

    g_assert_null(err);
    g_assert_cmpstr(opt_get(opts, "name"), ==, "x");
    g_assert_null(opt_get(opts, "size"));
    g_assert_false(opt_get_bool(opts, "flag", true));
    g_assert_true(opt_get_bool(opts, "other", true));
    g_assert_cmpint(opt_get_number(opts, "count", 1), ==, -7);
    g_assert_cmpint(opt_get_number(opts, "other", 3), ==, 3);
    json_object_put(opts);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/optgroup/good", test_good);
    g_test_add_func("/optgroup/bad", test_bad);
    g_test_add_func("/optgroup/groups", test_groups);
    g_test_add_func("/optgroup/getters", test_getters);
    return g_test_run();
}
