/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON text to values of schema types: the parser and the input walker. */
#include "qemu/osdep.h"
#include "qapi/json.h"
#include "qapi/keyval.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/qapi-types-block-job.h"
#include "qapi/qapi-types-builtin.h"
#include "qapi/qapi-types-sockets.h"
#include "qapi/qapi-types-transaction.h"

typedef struct Case {
    const QapiType *type;
    const char *text;
    const char *message;
} Case;

/* --- the parser --- */

typedef struct JsonCase {
    const char *text;
    const char *expected;
} JsonCase;

static const JsonCase json_good[] = {
    {" {} ", "{}"},
    {"[]", "[]"},
    {"[1, -2,\t3.5 ,1e3\n]", "[1,-2,3.5,1000.0]"},
    {"{'a':\"b\",\"c\":'d'}", "{\"a\":\"b\",\"c\":\"d\"}"},
    {"'it\\'s \"so\"'", "\"it's \\\"so\\\"\""},
    {"\"it's\"", "\"it's\""},
    {"\"\\u0041\\n\\t\\/\\\\\"", "\"A\\n\\t/\\\\\""},
    {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
    {"[true,false,null]", "[true,false,null]"},
    {"9223372036854775807", "9223372036854775807"},
    {"-9223372036854775808", "-9223372036854775808"},
    {"18446744073709551615", "18446744073709551615"},
    {"{\"a\":{\"b\":[{}]}}", "{\"a\":{\"b\":[{}]}}"},
    {"0", "0"},
    {"-0", "0"},
};

static const JsonCase json_bad[] = {
    {"", "premature EOI"},
    {"   ", "premature EOI"},
    {"{", "premature EOI"},
    {"[1", "premature EOI"},
    {"{\"a\"", "premature EOI"},
    {"{\"a\":", "premature EOI"},
    {"\"abc", "premature EOI"},
    {"\"abc\\", "premature EOI"},
    {"'abc\"", "premature EOI"},
    {"null", "null where a value is needed"},
    {"}", "expecting value"},
    {"{\"a\":}", "expecting value"},
    {"[1,]", "expecting value"},
    {"{\"a\":1,}", "key is not a string in object"},
    {"{a:1}", "key is not a string in object"},
    {"{1:1}", "key is not a string in object"},
    {"{\"a\" 1}", "missing : in object pair"},
    {"{\"a\":1 \"b\":2}", "expected separator in dict"},
    {"[1 2]", "expected separator in list"},
    {"{\"a\":1,\"a\":2}", "duplicate key"},
    {"{} {}", "expecting at most one value"},
    {"{}x", "expecting at most one value"},
    {"tru", "invalid keyword 'tru'"},
    {"NaN", "invalid keyword 'NaN'"},
    {"01", "stray '01'"},
    {"+1", "stray '+1'"},
    {"1.", "stray '1.'"},
    {".5", "stray '.5'"},
    {"1e", "stray '1e'"},
    {"0x10", "stray '0x10'"},
    {"-", "stray '-'"},
    {"1e999", "number '1e999' is out of range"},
    {"\"\\x41\"", "invalid escape sequence in string"},
    {"\"\\u12g4\"", "invalid hex escape sequence in string"},
    {"\"\\u0000\"", "\\u0000 is not a valid Unicode character"},
    {"\"\\ud800\"", "\\ud800 is not a valid Unicode character"},
    {"\"\\udc00\"", "\\udc00 is not a valid Unicode character"},
    {"\"\\ud800\\u0041\"", "\\ud800\\u0041 is not a valid Unicode character"},
    {"\"a\nb\"", "control character in string"},
    {"\"\xff\"", "invalid UTF-8 sequence in string"},
    {"\"\xc0\x80\"", "invalid UTF-8 sequence in string"},
    {"\"\xed\xa0\x80\"", "invalid UTF-8 sequence in string"},
    {"/* */ {}", "expecting value"},
};

static void test_json_good(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(json_good); i++) {
        const JsonCase *c = &json_good[i];
        struct json_object *obj =
            json_parse_strict(c->text, strlen(c->text), &error_abort);

        g_assert_cmpstr(json_object_to_json_string_ext(
                            obj, JSON_C_TO_STRING_PLAIN |
                                     JSON_C_TO_STRING_NOSLASHESCAPE),
                        ==, c->expected);
        json_object_put(obj);
    }
}

static void test_json_bad(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(json_bad); i++) {
        const JsonCase *c = &json_bad[i];
        g_autofree char *expected =
            g_strdup_printf("JSON parse error, %s", c->expected);
        g_autoptr(Error) err = NULL;

        g_assert_null(json_parse_strict(c->text, strlen(c->text), &err));
        g_assert_cmpstr(error_get_pretty(err), ==, expected);
    }
}

/* Every prefix of a text fails, and does not read beyond its end. */
static void test_json_prefixes(void)
{
    static const char text[] = "{\"a\": [1, \"x\\u0041\", {'b': null}]}";
    size_t len = strlen(text);

    for (size_t n = 0; n < len; n++) {
        g_autofree char *copy = g_memdup2(text, n);
        g_autoptr(Error) err = NULL;

        g_assert_null(json_parse_strict(copy, n, &err));
        g_assert_nonnull(err);
    }
}

static void test_json_depth(void)
{
    for (int extra = 0; extra < 2; extra++) {
        int depth = JSON_MAX_DEPTH + extra;
        g_autofree char *text = g_strnfill(2 * depth, '[');
        g_autoptr(Error) err = NULL;
        struct json_object *obj;

        memset(text + depth, ']', depth);
        obj = json_parse_strict(text, 2 * depth, &err);
        g_assert_cmpint(obj == NULL, ==, extra);
        json_object_put(obj);
    }
}

static void test_json_zero_byte(void)
{
    g_assert_null(json_parse_strict("{}\0", 3, NULL));
    g_assert_null(json_parse_strict("\"a\0b\"", 5, NULL));
    g_assert_null(json_parse_strict("\0", 1, NULL));
}

/* --- the input walker --- */

static void *input(const QapiType *type, const char *text, Error **errp)
{
    QapiInputMode mode = QAPI_INPUT_STRICT;
    struct json_object *obj = *text == '{'
        ? keyval_parse_or_json(text, NULL, &mode, &error_abort)
        : keyval_parse(text, NULL, NULL, &error_abort);
    void *value;

    if (*text != '{') {
        mode = QAPI_INPUT_KEYVAL;
    }
    value = qapi_type_from_json(type, obj, mode, errp);
    json_object_put(obj);
    return value;
}

static const Case bad[] = {
    {&qapi_type_JobInfo, "{}", "Parameter 'id' is missing"},
    {&qapi_type_BlockdevOptions, "{}", "Parameter 'driver' is missing"},
    {&qapi_type_BlockdevOptions, "{'driver':'foo'}",
     "Parameter 'driver' does not accept value 'foo'"},
    {&qapi_type_BlockdevOptions, "{'driver':1}",
     "Invalid parameter type for 'driver', expected: string"},
    {&qapi_type_BlockdevOptions, "{'driver':null}",
     "Invalid parameter type for 'driver', expected: string"},
    {&qapi_type_BlockdevOptions, "{'driver':'raw'}",
     "Parameter 'file' is missing"},
    {&qapi_type_BlockdevOptions, "{'driver':'raw','file':1}",
     "Invalid parameter type for 'file', expected: BlockdevRef"},
    {&qapi_type_BlockdevOptions, "{'driver':'raw','file':null}",
     "Invalid parameter type for 'file', expected: BlockdevRef"},
    {&qapi_type_BlockdevOptions, "{'driver':'raw','file':{}}",
     "Parameter 'file.driver' is missing"},
    {&qapi_type_BlockdevOptions,
     "{'driver':'raw','file':{'driver':'file','filename':'x','y':{'a':1}}}",
     "Parameter 'file.y' is unexpected"},
    {&qapi_type_BlockdevOptions, "{'driver':'qcow2','file':'x','backing':1}",
     "Invalid parameter type for 'backing', expected: BlockdevRefOrNull"},
    {&qapi_type_BlockdevOptions, "{'driver':'null-co','size':'x'}",
     "Invalid parameter type for 'size', expected: integer"},
    {&qapi_type_BlockdevOptions, "{'driver':'null-co','size':1.0}",
     "Invalid parameter type for 'size', expected: integer"},
    {&qapi_type_BlockdevOptions,
     "{'driver':'null-co','size':9223372036854775808}",
     "Invalid parameter type for 'size', expected: integer"},
    {&qapi_type_BlockdevOptions,
     "{'driver':'null-co','size':99999999999999999999}",
     "Invalid parameter type for 'size', expected: integer"},
    {&qapi_type_BlockdevOptions, "{'driver':'null-co','read-zeroes':'on'}",
     "Invalid parameter type for 'read-zeroes', expected: boolean"},
    {&qapi_type_BlockdevOptions, "{'driver':'null-co','latency-ns':-1}",
     "Parameter 'latency-ns' expects uint64"},
    {&qapi_type_BlockdevOptions, "{'driver':'blkdebug','image':'a',"
     "'max-transfer':2147483648}",
     "Parameter 'max-transfer' expects int32_t"},
    {&qapi_type_BlockDirtyBitmapAdd, "{'node':'a','name':'b','granularity':-1}",
     "Parameter 'granularity' expects uint32_t"},
    {&qapi_type_BlockDirtyBitmapAdd,
     "{'node':'a','name':'b','granularity':4294967296}",
     "Parameter 'granularity' expects uint32_t"},
    {&qapi_type_BlockDirtyBitmapMerge,
     "{'node':'a','target':'b','bitmaps':['a',1]}",
     "Invalid parameter type for 'null', expected: "
     "BlockDirtyBitmapOrStr"},
    {&qapi_type_BlockDirtyBitmapMerge,
     "{'node':'a','target':'b','bitmaps':{}}",
     "Invalid parameter type for 'bitmaps', expected: array"},
    {&qapi_type_BlockDirtyBitmapMerge,
     "{'node':'a','target':'b','bitmaps':['a',{'node':'b'}]}",
     "Parameter 'bitmaps[1].name' is missing"},
    {&qapi_type_TransactionArg,
     "{'actions':[{'type':'abort','data':{'q':1}}]}",
     "Parameter 'actions[0].data.q' is unexpected"},
    {&qapi_type_TransactionArg, "{'actions':[{'type':'abort','data':1}]}",
     "Invalid parameter type for 'actions[0].data', expected: object"},
    {&qapi_type_SocketAddress, "{'type':'inet','host':'h','port':'1',"
     "'to':65536}", "Parameter 'to' expects uint16_t"},
    {&qapi_type_BlockDeviceInfo, "{'file':'a','bps':0}",
     "Parameter 'ro' is missing"},
    /* key=value */
    {&qapi_type_BlockdevOptions, "driver=null-co,size=x",
     "Parameter 'size' expects integer"},
    {&qapi_type_BlockdevOptions, "driver=null-co,size=1k",
     "Parameter 'size' expects integer"},
    {&qapi_type_BlockdevOptions, "driver=null-co,size=",
     "Parameter 'size' expects integer"},
    {&qapi_type_BlockdevOptions, "driver=null-co,latency-ns=-1",
     "Parameter 'latency-ns' expects integer"},
    {&qapi_type_BlockdevOptions, "driver=null-co,read-zeroes=foo",
     "Parameter 'read-zeroes' expects 'on' or 'off'"},
    {&qapi_type_BlockdevOptions,
     "driver=copy-before-write,file=a,target=b,cbw-timeout=99999999999",
     "Parameter 'cbw-timeout' expects uint32_t"},
    {&qapi_type_BlockdevOptions, "driver=blkdebug,image=x,inject-error=y",
     "Invalid parameter type for 'inject-error', expected: array"},
    {&qapi_type_BlockdevOptions, "driver=blkdebug,image=x,inject-error.0=y",
     "Invalid parameter type for 'inject-error.0', expected: object"},
    {&qapi_type_BlockdevOptions,
     "driver=blkdebug,image=x,inject-error.0.event=foo",
     "Parameter 'event' does not accept value 'foo'"},
    {&qapi_type_BlockdevOptions, "driver=raw,file.0=1",
     "Invalid parameter type for 'file', expected: BlockdevRef"},
    {&qapi_type_BlockdevCreateOptions, "driver=file,filename=x,size=y",
     "Parameter 'size' expects a size"},
    {&qapi_type_BlockdevCreateOptions, "driver=file,filename=x,size=-1",
     "Parameter 'size' expects a size"},
};

static void test_bad(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        g_autoptr(Error) err = NULL;

        g_assert_null(input(bad[i].type, bad[i].text, &err));
        g_assert_nonnull(err);
        g_assert_cmpstr(error_get_pretty(err), ==, bad[i].message);
    }
}

/* A value that is no object at the top: there is no member to name. */
static void test_top(void)
{
    g_autoptr(Error) err = NULL;

    g_assert_null(qapi_JobInfo_from_json(NULL, QAPI_INPUT_STRICT, &err));
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "Invalid parameter type for 'JobInfo', expected: object");
}

static void test_nested(void)
{
    g_autoptr(BlockdevOptions) o = input(
        &qapi_type_BlockdevOptions,
        "{'driver':'qcow2','node-name':'n','read-only':true,"
        " 'file':{'driver':'file','filename':'f','aio':'io_uring'},"
        " 'backing':null,'overlap-check':{'active-l1':true}}", &error_abort);

    g_assert_cmpint(o->driver, ==, BLOCKDEV_DRIVER_QCOW2);
    g_assert_cmpstr(o->node_name, ==, "n");
    g_assert_true(o->has_read_only && o->read_only);
    g_assert_cmpint(o->u.qcow2.file->type, ==, BLOCKDEV_REF_KIND_DEFINITION);
    g_assert_cmpint(o->u.qcow2.file->u.definition->u.file.aio, ==,
                    BLOCKDEV_AIO_OPTIONS_IO_URING);
    g_assert_cmpint(o->u.qcow2.backing->type, ==,
                    BLOCKDEV_REF_OR_NULL_KIND_NULL);
    g_assert_cmpint(o->u.qcow2.overlap_check->type, ==,
                    QCOW2_OVERLAP_CHECKS_KIND_FLAGS);
    g_assert_true(o->u.qcow2.overlap_check->u.flags->has_active_l1);
    g_assert_false(o->u.qcow2.overlap_check->u.flags->has_active_l2);
    g_assert_null(o->u.qcow2.encrypt);
}

static void test_defaults(void)
{
    g_autoptr(BlockdevBackup) b = input(
        &qapi_type_BlockdevBackup,
        "{'device':'d','sync':'full','target':'t','x-perf':{}}",
        &error_abort);
    BackupCommon *common = qapi_BlockdevBackup_base(b);

    g_assert_cmpstr(common->device, ==, "d");
    g_assert_true(b->auto_finalize && !b->has_auto_finalize);
    g_assert_true(common->auto_dismiss && !common->compress);
    g_assert_cmpint(b->on_source_error, ==, BLOCKDEV_ON_ERROR_REPORT);
    g_assert_false(b->has_bitmap_mode);
    g_assert_null(b->bitmap);
    g_assert_cmpint(b->x_perf->max_workers, ==, 64);
    g_assert_cmpint(b->speed, ==, 0);
}

static void test_keyval(void)
{
    g_autoptr(BlockdevOptions) o = input(
        &qapi_type_BlockdevOptions,
        "driver=blkdebug,image.driver=null-co,image.size=0x10000,"
        "image.read-zeroes=on,align=512,inject-error.0.event=pwritev,"
        "inject-error.0.once=yes,inject-error.1.event=none,"
        "inject-error.1.errno=28,take-child-perms.0=write,cache.direct=on",
        &error_abort);
    BlkdebugInjectErrorOptionsList *rules = o->u.blkdebug.inject_error;

    g_assert_cmpint(o->u.blkdebug.image->u.definition->u.null_co.size, ==,
                    0x10000);
    g_assert_true(o->u.blkdebug.image->u.definition->u.null_co.read_zeroes);
    g_assert_cmpint(QAPI_LIST_LENGTH(rules), ==, 2);
    g_assert_true(rules->value->once);
    g_assert_cmpint(rules->value->q_errno, ==, 5);
    g_assert_cmpint(rules->next->value->q_errno, ==, 28);
    g_assert_cmpint(o->u.blkdebug.take_child_perms->value, ==,
                    BLOCK_PERMISSION_WRITE);
    g_assert_true(o->cache->direct && !o->cache->no_flush);
}

static void test_size(void)
{
    g_autoptr(BlockdevCreateOptions) o = input(
        &qapi_type_BlockdevCreateOptions,
        "driver=file,filename=x,size=1.5M,preallocation=falloc",
        &error_abort);

    g_assert_cmpuint(o->u.file.size, ==, 3 * MiB / 2);
    g_assert_cmpint(o->u.file.preallocation, ==, PREALLOC_MODE_FALLOC);
    g_assert_false(o->u.file.has_extent_size_hint);
}

static void test_enum(void)
{
    g_autoptr(Error) err = NULL;

    g_assert_cmpstr(JobStatus_str(JOB_STATUS_CONCLUDED), ==, "concluded");
    g_assert_cmpint(JobStatus_parse("null", &error_abort), ==,
                    JOB_STATUS_NULL);
    g_assert_cmpint(JobStatus_parse("Null", &err), ==, -1);
    g_assert_cmpstr(error_get_pretty(err), ==,
                    "'Null' is not a value of JobStatus");
}

/* An empty list is a value: only the return value tells of failure. */
static void test_empty_list(void)
{
    struct json_object *obj = json_object_new_array();
    strList *list = (strList *)&list;

    g_assert_true(qapi_type_input(&qapi_type_strList, obj, "x",
                                  QAPI_INPUT_STRICT, &list, &error_abort));
    g_assert_null(list);
    json_object_put(obj);
}

/* As deep as the parser allows: every walker copes. */
static void test_deep(void)
{
    int depth = JSON_MAX_DEPTH - 1;
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(BlockdevOptions) copy = NULL;
    g_autoptr(BlockdevOptions) options = NULL;
    struct json_object *obj;

    for (int i = 0; i < depth; i++) {
        g_string_append(text, "{\"driver\":\"raw\",\"file\":");
    }
    g_string_append(text, "\"x\"");
    for (int i = 0; i < depth; i++) {
        g_string_append_c(text, '}');
    }
    obj = json_parse_strict(text->str, text->len, &error_abort);
    options = qapi_BlockdevOptions_from_json(obj, QAPI_INPUT_STRICT,
                                             &error_abort);
    json_object_put(obj);
    copy = qapi_clone_BlockdevOptions(options);
    obj = qapi_BlockdevOptions_to_json(copy);
    g_assert_nonnull(obj);
    json_object_put(obj);
}

/* Texts with a few bytes changed: an error or a value, never both or a leak. */
static void test_mutated(void)
{
    static const char bytes[] = "\"'{}[]:,\\u0019-.eEtfn \n\xff";
    g_autoptr(GRand) rand = g_rand_new_with_seed(987);
    const char *seed =
        "{\"actions\":[{\"type\":\"block-dirty-bitmap-merge\",\"data\":"
        "{\"node\":\"n\",\"target\":\"t\\u00e4\",\"bitmaps\":[\"a\","
        "{\"node\":\"m\",\"name\":\"b\"}]}},{\"type\":\"blockdev-backup\","
        "\"data\":{\"device\":\"d\",\"sync\":\"full\",\"speed\":-1.5e3}}]}";
    size_t len = strlen(seed);

    for (int round = 0; round < 30000; round++) {
        g_autofree char *text = g_strdup(seed);
        g_autoptr(TransactionArg) arg = NULL;
        g_autoptr(Error) err = NULL;
        struct json_object *obj;

        for (int n = g_rand_int_range(rand, 1, 4); n; n--) {
            text[g_rand_int_range(rand, 0, len)] =
                bytes[g_rand_int_range(rand, 0, sizeof(bytes) - 1)];
        }
        obj = json_parse_strict(text, len, &err);
        g_assert_cmpint(obj == NULL, ==, err != NULL);
        if (obj) {
            arg = qapi_TransactionArg_from_json(obj, QAPI_INPUT_STRICT, &err);
            g_assert_cmpint(arg == NULL, ==, err != NULL);
        }
        json_object_put(obj);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/good", test_json_good);
    g_test_add_func("/json/bad", test_json_bad);
    g_test_add_func("/json/prefixes", test_json_prefixes);
    g_test_add_func("/json/depth", test_json_depth);
    g_test_add_func("/json/zero-byte", test_json_zero_byte);
    g_test_add_func("/qapi/input/bad", test_bad);
    g_test_add_func("/qapi/input/top", test_top);
    g_test_add_func("/qapi/input/nested", test_nested);
    g_test_add_func("/qapi/input/defaults", test_defaults);
    g_test_add_func("/qapi/input/keyval", test_keyval);
    g_test_add_func("/qapi/input/size", test_size);
    g_test_add_func("/qapi/input/enum", test_enum);
    g_test_add_func("/qapi/input/empty-list", test_empty_list);
    g_test_add_func("/qapi/input/deep", test_deep);
    g_test_add_func("/qapi/input/mutated", test_mutated);
    return g_test_run();
}
