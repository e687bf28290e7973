/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From the options of users to a tree of nodes, and back to a name. */
#include "qemu/osdep.h"
#include "dummy-drivers.h"

static BlockDriverState *open_file(const char *name, const char *format,
                                   int flags)
{
    return bdrv_open_file(name, format, flags, &error_abort);
}

static void assert_refused(const char *name, const char *format,
                           const char *message)
{
    Error *err = NULL;

    g_assert_null(bdrv_open_file(name, format, 0, &err));
    assert_error(&err, message);
}

static void test_file_names(void)
{
    BlockDriverState *bs = open_file("/d/x", "raw", BDRV_O_RDWR);

    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "raw");
    g_assert_cmpstr(bdrv_get_format_name(bs->file->bs), ==, "file");
    g_assert_cmpstr(bs->filename, ==, "/d/x");
    g_assert_false(bs->read_only || bs->probed);
    bdrv_unref(bs);

    bs = open_file("file:/d/y", NULL, BDRV_O_PROTOCOL);
    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "file");
    g_assert_cmpstr(bs->filename, ==, "/d/y");
    g_assert_true(bs->read_only);
    bdrv_unref(bs);

    bs = open_file("/d/z", "file", 0);
    g_assert_null(bs->file);
    bdrv_unref(bs);
    dummy_reset();
}

static void test_refused(void)
{
    assert_refused("nbd://x", NULL, "Unknown protocol 'nbd'");
    assert_refused("foo:bar", NULL, "Unknown protocol 'foo'");
    assert_refused("/d/x", "zz", "Unknown driver 'zz'");
    assert_refused("", NULL, "The 'file' block driver requires a file name");
    assert_refused("json:{\"driver\":\"foo\"}", NULL, "Unknown driver 'foo'");
    assert_refused("json:{\"filename\":\"x\"}", NULL,
                   "Must specify either driver or file");
    assert_refused("json:{\"driver\":5,\"file\":{\"driver\":\"file\","
                   "\"filename\":\"x\"}}", NULL,
                   "Invalid parameter type for 'driver', expected: string");
    assert_refused("json:[]", NULL, "Invalid JSON object given");
    assert_refused("json:{\"driver\":\"raw\"}", NULL,
                   "A block device must be specified for \"file\"");
    assert_refused("json:{\"file\":1,\"file.filename\":\"x\"}", NULL,
                   "Cannot mix scalar and non-scalar keys: 'file.filename'");
    assert_refused("json:{\"driver\":\"raw\",\"file\":\"nobody\"}", NULL,
                   "Cannot find device='nobody' nor node-name='nobody'");
    dummy_reset();
}

static void test_json(void)
{
    static const char *const names[] = {
        "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"file\","
        "\"filename\":\"/d/x\"}}",
        "json:{\"driver\":\"raw\",\"file.driver\":\"file\","
        "\"file.filename\":\"/d/x\"}",
        "json:{\"driver\":\"raw\",\"file\":{\"filename\":\"/d/x\"}}",
        "json:{\"file.filename\":\"/d/x\"}",
        "json:{'file.filename':'/d/x'}",
        "json: {\n\t\"driver\" : 'raw',\r\n 'file': {'filename':\"/d/x\"}\n} ",
    };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        BlockDriverState *bs = open_file(names[i], NULL, 0);

        g_assert_cmpstr(bdrv_get_format_name(bs), ==, "raw");
        g_assert_cmpstr(bs->filename, ==, "/d/x");
        bdrv_unref(bs);
    }
    dummy_reset();
}

static void test_bad_json(void)
{
    Error *err = NULL;

    g_assert_null(bdrv_open_file("json:{", NULL, 0, &err));
    g_assert_true(g_str_has_prefix(error_get_pretty(err),
                                   "Could not parse the JSON options: "));
    error_free(err);
}

static void test_probing(void)
{
    BlockDriverState *bs = open_file("/d/x", NULL, 0);

    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "raw");
    g_assert_true(bs->probed);
    bdrv_unref(bs);

    dummy.probe_qcow2 = true;
    bs = open_file("/d/x", NULL, 0);
    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "qcow2");
    g_assert_false(bs->probed);
    bdrv_unref(bs);
    dummy_reset();
}

/* A reference in place of a file is probed as it is. */
static void test_probing_reference(void)
{
    BlockDriverState *low = dummy_open(
        "{'driver':'file','node-name':'low','filename':'/d/low'}");
    BlockDriverState *bs;

    dummy.probe_qcow2 = true;
    bs = open_file("json:{\"file\":\"low\"}", NULL, BDRV_O_RDWR);
    g_assert_cmpstr(bdrv_get_format_name(bs), ==, "qcow2");
    g_assert_true(bs->file->bs == low);
    bdrv_unref(bs);
    bdrv_unref(low);
    dummy_reset();
}

/* The guess counts where it was made, also below other nodes. */
static void test_probing_child(void)
{
    BlockDriverState *bs =
        open_file("json:{\"driver\":\"qcow2\",\"file.filename\":\"/d/x\","
                  "\"backing\":{\"file.filename\":\"/d/b\"}}", NULL,
                  BDRV_O_RDWR);

    g_assert_false(bs->probed || bs->file->bs->probed);
    g_assert_cmpstr(bdrv_get_format_name(bs->backing->bs), ==, "raw");
    g_assert_true(bs->backing->bs->probed);
    g_assert_false(bs->backing->bs->file->bs->probed);
    bdrv_unref(bs);
    bs = open_file("json:{\"driver\":\"qcow2\",\"file.filename\":\"/d/x\","
                   "\"backing\":{\"driver\":\"raw\",\"file.filename\":"
                   "\"/d/b\"}}", NULL, BDRV_O_RDWR);
    g_assert_false(bs->backing->bs->probed);
    bdrv_unref(bs);
    dummy_reset();
}

static void test_keyval(void)
{
    json_object *tree = json_tokener_parse(
        "{\"driver\":\"raw\",\"size\":\"4096\",\"read-only\":\"on\","
        "\"file\":{\"driver\":\"file\",\"filename\":\"/d/x\"}}");
    BlockDriverState *bs =
        bdrv_open_json(tree, true, BDRV_O_RDWR, &error_abort);

    g_assert_true(bs->read_only);
    g_assert_cmpint(bs->options->u.raw.size, ==, 4096);
    g_assert_cmpstr(bs->filename, ==,
                    "json:{\"driver\": \"raw\", \"file\": {\"driver\": "
                    "\"file\", \"filename\": \"/d/x\"}, "
                    "\"size\": \"4096\"}");
    json_object_put(tree);
    bdrv_unref(bs);
    dummy_reset();
}

/* What the whole @name says, with @given beside it, as JSON. */
static void check_name(const char *name, const char *given,
                       const char *expected)
{
    json_object *options = json_tokener_parse(given);
    bool ok = bdrv_options_add_name(options, name, NULL);

    g_assert_cmpstr(ok ? json_object_to_json_string(options) : NULL, ==,
                    expected);
    json_object_put(options);
}

/* A protocol is only in whole names. */
static void test_names(void)
{
    BlockDriverState *bs = open_file("json:{\"driver\":\"raw\","
                                     "\"file.filename\":\"nosuch:x\"}", NULL,
                                     BDRV_O_RDWR);

    g_assert_cmpstr(bs->file->bs->filename, ==, "nosuch:x");
    bdrv_unref(bs);
    check_name("x", "{}", "{ \"file.driver\": \"file\", \"file.filename\": "
               "\"x\" }");
    check_name("x", "{\"file\":{\"locking\":\"off\"}}",
               "{ \"file\": { \"locking\": \"off\", \"driver\": \"file\", "
               "\"filename\": \"x\" } }");
    check_name("x", "{\"driver\":\"file\"}",
               "{ \"driver\": \"file\", \"filename\": \"x\" }");
    check_name("nosuch:x", "{}", NULL);
    dummy_reset();
}

static void test_flags(void)
{
    BlockDriverState *bs = open_file("/d/x", "raw",
                                     BDRV_O_NOCACHE | BDRV_O_NO_FLUSH |
                                     BDRV_O_UNMAP | BDRV_O_FORCE_SHARE |
                                     BDRV_O_NATIVE_AIO);
    BlockDriverState *low = bs->file->bs;

    g_assert_true(bs->read_only && low->read_only);
    g_assert_true(bs->cache_direct && low->cache_direct);
    g_assert_true(bs->cache_no_flush && low->cache_no_flush);
    g_assert_true(bs->discard_unmap && low->discard_unmap);
    g_assert_true(bs->force_share && low->force_share);
    g_assert_true(low->options->u.file.aio == BLOCKDEV_AIO_OPTIONS_NATIVE);
    g_assert_cmphex(bs->file->shared, ==, BLK_PERM_ALL);
    bdrv_unref(bs);
    dummy_reset();
}

static void test_combinations(void)
{
    Error *err = NULL;

    g_assert_null(dummy_try_open("{'driver':'null-co','force-share':true}",
                                 &err));
    assert_error(&err,
                 "force-share=on can only be used with read-only images");
    g_assert_null(dummy_try_open("{'driver':'null-co',"
                                 "'detect-zeroes':'unmap'}", &err));
    assert_error(&err, "setting detect-zeroes to unmap is not allowed without "
                       "setting discard operation to unmap");
    dummy_reset();
}

static void test_inheritance(void)
{
    BlockDriverState *bs = dummy_open(
        "{'driver':'qcow2','cache':{'direct':true},'detect-zeroes':'on',"
        "'file':{'driver':'file','filename':'/d/x','cache':"
        "{'no-flush':true}},"
        "'backing':{'driver':'raw','file':{'driver':'file',"
        "'filename':'/d/y'}}}");
    BlockDriverState *low = bs->file->bs, *base = bs->backing->bs;

    g_assert_true(low->cache_direct && low->cache_no_flush);
    g_assert_false(bs->cache_no_flush || bs->discard_unmap);
    g_assert_true(low->discard_unmap);
    g_assert_cmpint(low->detect_zeroes, ==, BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF);
    g_assert_false(low->read_only);
    g_assert_true(base->read_only && base->file->bs->read_only);
    g_assert_true(base->file->bs->cache_direct);
    bdrv_unref(bs);
    dummy_reset();
}

/* --- backing files --- */

static void test_backing_by_name(void)
{
    BlockDriverState *bs;

    dummy.backing[0][0] = "/d/top";
    dummy.backing[0][1] = "mid";
    dummy.backing[1][0] = "/d/mid";
    dummy.backing[1][1] = "/e/base";
    dummy.backing_format = "qcow2";
    bs = open_file("/d/top", "qcow2", BDRV_O_RDWR);
    g_assert_cmpstr(bs->backing->bs->filename, ==, "/d/mid");
    g_assert_cmpstr(bs->backing->bs->backing->bs->filename, ==, "/e/base");
    g_assert_cmpstr(bs->filename, ==, "/d/top");
    g_assert_true(bs->backing->bs->read_only);
    bdrv_unref(bs);

    bs = open_file("/d/top", "qcow2", BDRV_O_NO_BACKING);
    g_assert_null(bs->backing);
    g_assert_cmpstr(bs->filename, ==, "/d/top");
    bdrv_unref(bs);

    bs = dummy_open("{'driver':'qcow2','backing':null,'file':"
                    "{'driver':'file','filename':'/d/top'}}");
    g_assert_null(bs->backing);
    g_assert_cmpstr(bs->filename, ==,
                    "json:{\"backing\": null, \"driver\": \"qcow2\", "
                    "\"file\": {\"driver\": \"file\", \"filename\": "
                    "\"/d/top\"}}");
    bdrv_unref(bs);
    dummy_reset();
}

static void test_backing_fails(void)
{
    Error *err = NULL;

    dummy.backing[0][0] = "/d/top";
    dummy.backing[0][1] = "nbd:x";
    g_assert_null(bdrv_open_file("/d/top", "qcow2", 0, &err));
    assert_error(&err,
                 "Could not open backing file: Unknown protocol 'nbd'");
    dummy_reset();
}

static void test_backing_probed(void)
{
    BlockDriverState *bs;

    dummy.backing[0][0] = "/d/top";
    dummy.backing[0][1] = "low";
    bs = open_file("/d/top", "qcow2", 0);
    g_assert_cmpstr(bdrv_get_format_name(bs->backing->bs), ==, "raw");
    g_assert_true(bs->backing->bs->probed);
    bdrv_unref(bs);
    dummy_reset();
}

/* --- names --- */

static void test_absolute_names(void)
{
    static const char *const rows[][3] = {
        {"/a/b", "c", "/a/c"}, {"/a/b", "/c", "/c"}, {"b", "c", "c"},
        {"a/b", "../c", "a/../c"}, {NULL, "c", "c"},
        {"/a/b", "nbd:c", "nbd:c"}, {"/a/b", "d/e:f", "/a/d/e:f"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *name =
            bdrv_make_absolute_filename(rows[i][0], rows[i][1]);

        g_assert_cmpstr(name, ==, rows[i][2]);
    }
    g_assert_true(path_has_protocol("nbd:x"));
    g_assert_false(path_has_protocol("./nbd:x"));
    g_assert_false(path_has_protocol("x"));
}

static void test_names_back(void)
{
    static const char *const rows[][2] = {
        {"{'driver':'null-co'}", "null-co://"},
        {"{'driver':'null-co','size':4096}",
         "json:{'driver': 'null-co', 'size': 4096}"},
        {"{'driver':'raw','file':{'driver':'null-co','size':4096}}",
         "json:{'driver': 'raw', 'file': {'driver': 'null-co', "
         "'size': 4096}}"},
        {"{'driver':'compress','file':{'driver':'file','filename':'/d/x'}}",
         "json:{'driver': 'compress', 'file': {'driver': 'file', "
         "'filename': '/d/x'}}"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        BlockDriverState *bs = dummy_open(rows[i][0]);
        g_autofree char *want = g_strdelimit(g_strdup(rows[i][1]), "'", '"');

        g_assert_cmpstr(bs->filename, ==, want);
        bdrv_unref(bs);
    }
    dummy_reset();
}

/* What refresh_filename says opens the same tree again. */
static void test_names_round_trip(void)
{
    BlockDriverState *bs = dummy_open(
        "{'driver':'qcow2','file':{'driver':'compress','file':"
        "{'driver':'file','filename':'/d/\\\"x'}},'backing':"
        "{'driver':'raw','offset':512,'file':{'driver':'null-co'}}}");
    g_autofree char *name = g_strdup(bs->filename);

    bdrv_unref(bs);
    bs = open_file(name, NULL, 0);
    g_assert_cmpstr(bs->filename, ==, name);
    g_assert_cmpint(bs->backing->bs->options->u.raw.offset, ==, 512);
    bdrv_unref(bs);
    dummy_reset();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/options/file-names", test_file_names);
    g_test_add_func("/options/refused", test_refused);
    g_test_add_func("/options/json", test_json);
    g_test_add_func("/options/bad-json", test_bad_json);
    g_test_add_func("/options/probing", test_probing);
    g_test_add_func("/options/probing-reference", test_probing_reference);
    g_test_add_func("/options/probing-child", test_probing_child);
    g_test_add_func("/options/keyval", test_keyval);
    g_test_add_func("/options/whole-names", test_names);
    g_test_add_func("/options/flags", test_flags);
    g_test_add_func("/options/combinations", test_combinations);
    g_test_add_func("/options/inheritance", test_inheritance);
    g_test_add_func("/options/backing/by-name", test_backing_by_name);
    g_test_add_func("/options/backing/fails", test_backing_fails);
    g_test_add_func("/options/backing/probed", test_backing_probed);
    g_test_add_func("/options/names/absolute", test_absolute_names);
    g_test_add_func("/options/names/back", test_names_back);
    g_test_add_func("/options/names/round-trip", test_names_round_trip);
    return g_test_run();
}
