/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values of schema types to JSON, copies, and round trips. */
#include "qemu/osdep.h"
#include "qapi/json.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/qapi-types-block-stats.h"
#include "qapi/qapi-types-builtin.h"
#include "qapi/qapi-types-introspect.h"
#include "qapi/qapi-types-sockets.h"
#include "qapi/qapi-types-transaction.h"

static char *to_text(struct json_object *obj)
{
    char *text = g_strdup(json_object_to_json_string_ext(
        obj, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));

    json_object_put(obj);
    return text;
}

static void check_text(struct json_object *obj, const char *expected)
{
    g_autofree char *text = to_text(obj);

    g_assert_cmpstr(text, ==, expected);
}

/* Absent members are left out, has_ or NULL; mandatory ones never. */
static void test_optional(void)
{
    BlockDirtyInfo info = {.count = 65536, .granularity = 4294967295u,
                           .recording = true, .inconsistent = true};

    check_text(qapi_BlockDirtyInfo_to_json(&info),
               "{\"count\":65536,\"granularity\":4294967295,"
               "\"recording\":true,\"busy\":false,\"persistent\":false}");
    info.name = (char *)"b0";
    info.has_inconsistent = true;
    check_text(qapi_BlockDirtyInfo_to_json(&info),
               "{\"name\":\"b0\",\"count\":65536,\"granularity\":4294967295,"
               "\"recording\":true,\"busy\":false,\"persistent\":false,"
               "\"inconsistent\":true}");
}

static void test_lists(void)
{
    Qcow2BitmapInfoFlagsList *flags = NULL, **tail = &flags;
    strList *names = NULL;

    check_text(qapi_strList_to_json(NULL), "[]");
    QAPI_LIST_PREPEND(names, g_strdup("b"));
    QAPI_LIST_PREPEND(names, g_strdup("a"));
    check_text(qapi_strList_to_json(names), "[\"a\",\"b\"]");
    qapi_free_strList(names);
    QAPI_LIST_APPEND(tail, QCOW2_BITMAP_INFO_FLAGS_IN_USE);
    QAPI_LIST_APPEND(tail, QCOW2_BITMAP_INFO_FLAGS_AUTO);
    g_assert_cmpint(QAPI_LIST_LENGTH(flags), ==, 2);
    check_text(qapi_Qcow2BitmapInfoFlagsList_to_json(flags),
               "[\"in-use\",\"auto\"]");
    qapi_free_Qcow2BitmapInfoFlagsList(flags);
}

/* Mandatory strings and lists that are NULL are written empty. */
static void test_null_mandatory(void)
{
    Qcow2BitmapInfo info = {.granularity = 1};

    check_text(qapi_Qcow2BitmapInfo_to_json(&info),
               "{\"name\":\"\",\"granularity\":1,\"flags\":[]}");
}

/* File names need not be UTF-8, JSON must be. */
static void test_utf8(void)
{
    String s = {.str = (char *)"a\xff"};

    check_text(qapi_String_to_json(&s), "{\"str\":\"a\xef\xbf\xbd\"}");
}

static void test_numbers(void)
{
    BlockDeviceTimedStats stats = {.avg_rd_queue_depth = 0.5,
                                   .avg_wr_queue_depth = 1.0 / 0.0};
    XDbgBlockGraphNode node = {.id = UINT64_MAX, .name = (char *)"n"};
    g_autofree char *text = to_text(qapi_BlockDeviceTimedStats_to_json(&stats));

    g_assert_nonnull(strstr(text, "\"avg_rd_queue_depth\":0.5"));
    g_assert_nonnull(strstr(text, "\"avg_wr_queue_depth\":0"));
    check_text(qapi_XDbgBlockGraphNode_to_json(&node),
               "{\"id\":18446744073709551615,\"type\":\"block-backend\","
               "\"name\":\"n\"}");
}

static const struct {
    const QapiType *type;
    const char *text;
} round_trips[] = {
    {&qapi_type_BlockdevOptions,
     "{\"driver\":\"raw\",\"node-name\":\"a\",\"read-only\":true,"
     "\"offset\":512,\"file\":{\"driver\":\"qcow2\",\"cache\":"
     "{\"direct\":true},\"file\":\"f\",\"backing\":null,"
     "\"overlap-check\":\"all\"}}"},
    {&qapi_type_BlockdevOptions,
     "{\"driver\":\"nbd\",\"server\":{\"type\":\"unix\",\"path\":\"/x\","
     "\"abstract\":false},\"x-dirty-bitmap\":\"b\"}"},
    {&qapi_type_BlockdevOptions,
     "{\"driver\":\"blkdebug\",\"image\":\"i\",\"inject-error\":[{\"event\":"
     "\"none\",\"errno\":28},{\"event\":\"pwritev\",\"once\":true}],"
     "\"take-child-perms\":[\"write\",\"resize\"]}"},
    {&qapi_type_TransactionArg,
     "{\"actions\":[{\"type\":\"abort\",\"data\":{}},"
     "{\"type\":\"block-dirty-bitmap-merge\",\"data\":{\"node\":\"n\","
     "\"target\":\"t\",\"bitmaps\":[\"a\",{\"node\":\"m\",\"name\":\"b\"}]}},"
     "{\"type\":\"drive-backup\",\"data\":{\"device\":\"d\",\"sync\":"
     "\"bitmap\",\"bitmap\":\"b\",\"bitmap-mode\":\"always\",\"target\":"
     "\"t\"}}],\"properties\":{\"completion-mode\":\"grouped\"}}"},
    {&qapi_type_SchemaInfoObjectMember,
     "{\"name\":\"a\",\"type\":\"int\",\"default\":{\"x\":[1,2]},"
     "\"features\":[\"deprecated\"]}"},
};

/* Keys in the order in which they are written, in both texts. */
static void check_same(const char *text, const char *expected)
{
    struct json_object *a = json_parse_strict(text, strlen(text),
                                              &error_abort);
    struct json_object *b = json_parse_strict(expected, strlen(expected),
                                              &error_abort);

    g_assert_true(json_object_equal(a, b));
    json_object_put(a);
    json_object_put(b);
}

/* in, copy, free the first, out: nothing lost, nothing added, no leak */
static void test_round_trip(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(round_trips); i++) {
        const QapiType *type = round_trips[i].type;
        const char *text = round_trips[i].text;
        struct json_object *obj =
            json_parse_strict(text, strlen(text), &error_abort);
        void *value = qapi_type_from_json(type, obj, QAPI_INPUT_STRICT,
                                          &error_abort);
        void *copy = qapi_type_clone(type, value);
        g_autofree char *out = NULL;

        qapi_type_free(type, value);
        json_object_put(obj);
        out = to_text(qapi_type_to_json(type, copy));
        check_same(out, text);
        qapi_type_free(type, copy);
    }
}

/* Cut any member out: no leak, no crash, and an error where it was needed. */
static void test_truncated(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(round_trips); i++) {
        const char *text = round_trips[i].text;

        for (const char *p = strchr(text, ':'); p; p = strchr(p + 1, ':')) {
            g_autofree char *broken = g_strdup(text);
            struct json_object *obj;
            Error *err = NULL;
            void *value;

            broken[p - text - 2] = '!'; /* another name for the member */
            obj = json_parse_strict(broken, strlen(broken), &error_abort);
            value = qapi_type_from_json(round_trips[i].type, obj,
                                        QAPI_INPUT_STRICT, &err);
            g_assert_true(!value == !!err);
            qapi_type_free(round_trips[i].type, value);
            error_free(err);
            json_object_put(obj);
        }
    }
}

static void test_null_arguments(void)
{
    qapi_free_BlockdevOptions(NULL);
    qapi_free_strList(NULL);
    g_assert_null(qapi_clone_BlockdevOptions(NULL));
    g_assert_null(qapi_clone_strList(NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/qapi/output/optional", test_optional);
    g_test_add_func("/qapi/output/lists", test_lists);
    g_test_add_func("/qapi/output/null-mandatory", test_null_mandatory);
    g_test_add_func("/qapi/output/utf8", test_utf8);
    g_test_add_func("/qapi/output/numbers", test_numbers);
    g_test_add_func("/qapi/output/round-trip", test_round_trip);
    g_test_add_func("/qapi/output/truncated", test_truncated);
    g_test_add_func("/qapi/output/null-arguments", test_null_arguments);
    return g_test_run();
}
