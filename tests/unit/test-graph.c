/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes, live changes of the graph, the backing chain and reopening. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "dummy-drivers.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/qapi-types-block-stats.h"

#define FILE_NODE(name) \
    "{'driver':'file','node-name':'" name "','filename':'/d/" name "'}"

/* --- life cycle --- */

static void test_names(void)
{
    BlockDriverState *bs = dummy_open(FILE_NODE("a"));
    BlockDriverState *anon = dummy_open("{'driver':'null-co'}");
    Error *err = NULL;

    g_assert_true(bdrv_find_node("a") == bs);
    g_assert_true(g_str_has_prefix(anon->node_name, "#block"));
    g_assert_null(dummy_try_open(FILE_NODE("a"), &err));
    assert_error(&err, "Duplicate nodes with node-name='a'");
    g_assert_null(dummy_try_open("{'driver':'null-co','node-name':'1x'}",
                                 &err));
    assert_error(&err, "Invalid node-name: '1x'");
    g_assert_null(dummy_try_open("{'driver':'null-co','node-name':"
                                 "'x234567890123456789012345678901z'}", &err));
    assert_error(&err, "Node name too long");
    g_assert_null(bdrv_lookup_bs("q", "q", &err));
    assert_error(&err, "Cannot find device='q' nor node-name='q'");
    bdrv_unref(anon);
    bdrv_unref(bs);
    dummy_reset();
}

/* A parent and the child it defines cannot have one name. */
static void test_name_taken_by_child(void)
{
    Error *err = NULL;

    g_assert_null(dummy_try_open("{'driver':'raw','node-name':'r','file':"
                                 FILE_NODE("r") "}", &err));
    assert_error(&err, "Duplicate nodes with node-name='r'");
    dummy_reset();
}

static void test_open_fails_midway(void)
{
    Error *err = NULL;

    dummy.fail_open = "low";
    g_assert_null(dummy_try_open(
        "{'driver':'raw','node-name':'top','file':{'driver':'raw',"
        "'node-name':'mid','file':" FILE_NODE("low") "}}", &err));
    assert_error(&err, "'low' does not open");
    dummy_reset();

    dummy.fail_open = "top";
    g_assert_null(dummy_try_open(
        "{'driver':'raw','node-name':'top','file':" FILE_NODE("low") "}",
        &err));
    assert_error(&err, "'top' does not open");
    dummy_reset();
}

static char *block_reason(BdrvChild *child)
{
    return g_strdup_printf("block device is in use by block job: %s",
                           (char *)child->opaque);
}

/* A user with exclusive permissions. */
static const BdrvChildClass blocking_class = {
    .block_reason = block_reason,
};

static BdrvChild *block_node(BlockDriverState *bs, const char *job)
{
    return bdrv_root_attach_child(bs, "main node", &blocking_class, 0, 0,
                                  BLK_PERM_ALL, (void *)job, &error_abort);
}

static void test_unused(void)
{
    BlockDriverState *low = dummy_open(FILE_NODE("low"));
    BlockDriverState *top =
        dummy_open("{'driver':'raw','node-name':'top','file':'low'}");
    BdrvChild *backup, *stream;
    Error *err = NULL;

    g_assert_false(bdrv_check_unused(low, &err));
    assert_error(&err, "Block device low is in use");
    backup = block_node(top, "backup");
    stream = block_node(top, "stream");
    g_assert_false(bdrv_check_unused(top, &err));
    assert_error(&err, "Node 'top' is busy: block device is in use by block "
                       "job: backup");
    bdrv_root_unref_child(backup);
    g_assert_false(bdrv_op_check(top, &err));
    assert_error(&err, "Node 'top' is busy: block device is in use by block "
                       "job: stream");
    bdrv_root_unref_child(stream);
    g_assert_true(bdrv_op_check(top, &error_abort));
    g_assert_true(bdrv_check_unused(top, &error_abort));
    bdrv_unref(top);
    g_assert_true(bdrv_check_unused(low, &error_abort));
    bdrv_unref(low);
    dummy_reset();
}

/* --- live changes --- */

static const char filter_on_q[] =
    "{'driver':'compress','node-name':'f','file':'q'}";

static BlockdevOptions *parse_options(const char *json)
{
    g_autofree char *text = g_strdelimit(g_strdup(json), "'", '"');
    json_object *obj = json_tokener_parse(text);
    BlockdevOptions *options =
        bdrv_options_from_json(obj, false, &error_abort);

    json_object_put(obj);
    return options;
}

static void test_insert_drop(void)
{
    BlockDriverState *q = dummy_open(
        "{'driver':'qcow2','node-name':'q','file':" FILE_NODE("low") "}");
    g_autoptr(BlockdevOptions) options = parse_options(filter_on_q);
    BlockBackend *blk = blk_new_with_bs(q, BLK_PERM_WRITE, BLK_PERM_ALL,
                                        &error_abort);
    BlockDriverState *f = bdrv_insert_node(q, options, &error_abort);
    uint64_t perm, shared;

    g_assert_true(blk_bs(blk) == f);
    g_assert_true(bdrv_filter_child(f)->bs == q);
    bdrv_get_cumulative_perm(q, &perm, &shared);
    g_assert_cmphex(perm, ==, BLK_PERM_WRITE);
    g_assert_cmpint(bdrv_node(f)->quiesce_counter, ==, 0);
    g_assert_true(bdrv_skip_filters(f) == q);

    g_assert_true(bdrv_drop_filter(f, &error_abort));
    g_assert_true(blk_bs(blk) == q);
    g_assert_null(bdrv_find_node("f"));
    g_assert_cmpint(bdrv_node(q)->quiesce_counter, ==, 0);
    blk_unref(blk);
    bdrv_unref(q);
    dummy_reset();
}

static void test_insert_without_users(void)
{
    BlockDriverState *q = dummy_open(FILE_NODE("q"));
    g_autoptr(BlockdevOptions) options = parse_options(filter_on_q);
    BlockDriverState *f = bdrv_insert_node(q, options, &error_abort);

    g_assert_true(bdrv_find_node("f") == f);
    g_assert_true(bdrv_drop_filter(f, &error_abort));
    bdrv_unref(q);
    dummy_reset();
}

static void test_insert_refused(void)
{
    BlockDriverState *q = dummy_open(FILE_NODE("q"));
    g_autoptr(BlockdevOptions) options = parse_options(filter_on_q);
    BlockBackend *blk = blk_new_with_bs(q, BLK_PERM_CONSISTENT_READ,
                                        BLK_PERM_ALL, &error_abort);
    Error *err = NULL;

    blk_root(blk)->frozen = true;
    g_assert_null(bdrv_insert_node(q, options, &err));
    g_assert_nonnull(err);
    g_clear_pointer(&err, error_free);
    g_assert_true(blk_bs(blk) == q);
    g_assert_null(bdrv_find_node("f"));
    blk_root(blk)->frozen = false;

    dummy.fail_open = "f";
    g_assert_null(bdrv_insert_node(q, options, &err));
    assert_error(&err, "Could not create node: 'f' does not open");
    g_assert_cmpint(bdrv_node(q)->quiesce_counter, ==, 0);
    blk_unref(blk);
    bdrv_unref(q);
    dummy_reset();
}

/* If permissions conflict at the new place, no user is moved. */
static void test_replace_refused(void)
{
    BlockDriverState *a = dummy_open(FILE_NODE("a"));
    BlockDriverState *b = dummy_open(
        "{'driver':'null-co','node-name':'b','read-only':true}");
    BlockBackend *reader = blk_new_with_bs(a, BLK_PERM_CONSISTENT_READ,
                                           BLK_PERM_ALL, &error_abort);
    BlockBackend *writer = blk_new_with_bs(a, BLK_PERM_WRITE, BLK_PERM_ALL,
                                           &error_abort);
    Error *err = NULL;

    g_assert_false(bdrv_replace_node(a, b, BDRV_CONTENT_OTHER, &err));
    assert_error(&err, "Block node is read-only");
    g_assert_true(blk_bs(reader) == a && blk_bs(writer) == a);
    g_assert_true(LIST_EMPTY(&bdrv_node(b)->parents));
    blk_unref(writer);
    g_assert_true(bdrv_replace_node(a, b, BDRV_CONTENT_OTHER, &error_abort));
    g_assert_true(blk_bs(reader) == b);
    blk_unref(reader);
    bdrv_unref(a);
    bdrv_unref(b);
    dummy_reset();
}

static void test_set_backing(void)
{
    BlockDriverState *top = dummy_open(
        "{'driver':'qcow2','node-name':'top','file':" FILE_NODE("t") "}");
    BlockDriverState *mid = dummy_open(
        "{'driver':'qcow2','node-name':'mid','file':" FILE_NODE("m") "}");
    BlockDriverState *raw = dummy_open(
        "{'driver':'raw','node-name':'raw','file':" FILE_NODE("r") "}");
    Error *err = NULL;

    g_assert_true(bdrv_set_backing(top, mid, BDRV_CONTENT_OTHER,
                                   &error_abort));
    g_assert_true(bdrv_set_backing(mid, raw, BDRV_CONTENT_OTHER,
                                   &error_abort));
    g_assert_true(bdrv_backing_chain_next(top) == mid);
    g_assert_true(bdrv_chain_contains(top, raw));
    g_assert_false(bdrv_chain_contains(mid, top));
    g_assert_false(bdrv_set_backing(mid, top, BDRV_CONTENT_OTHER, &err));
    assert_error(&err, "Making 'top' a backing child of 'mid' would create a "
                       "cycle");
    g_assert_false(bdrv_set_backing(raw, mid, BDRV_CONTENT_OTHER, &err));
    assert_error(&err, "Driver 'raw' of node 'raw' does not support backing "
                       "files");
    g_assert_true(bdrv_freeze_chain(top, raw, &error_abort));
    g_assert_false(bdrv_set_backing(top, NULL, BDRV_CONTENT_OTHER, &err));
    g_assert_nonnull(err);
    g_clear_pointer(&err, error_free);
    g_assert_false(bdrv_freeze_chain(mid, NULL, &err));
    g_assert_nonnull(err);
    g_clear_pointer(&err, error_free);
    bdrv_unfreeze_chain(top, raw);
    g_assert_true(bdrv_set_backing(top, NULL, BDRV_CONTENT_OTHER,
                                   &error_abort));
    g_assert_null(bdrv_backing_chain_next(top));
    bdrv_unref(raw);
    bdrv_unref(mid);
    bdrv_unref(top);
    dummy_reset();
}

/*
 * A larger overlay is added and removed; former parents of the node stay there.
 */
static void test_append(void)
{
    BlockDriverState *bs = dummy_open(
        "{'driver':'qcow2','node-name':'bs','file':" FILE_NODE("b") "}");
    BlockDriverState *overlay = dummy_open(
        "{'driver':'qcow2','node-name':'overlay','file':" FILE_NODE("o") "}");
    BlockDriverState *above = dummy_open(
        "{'driver':'raw','node-name':'above','file':'overlay'}");
    BlockBackend *guest = blk_new_with_bs(
        bs, BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
        BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED, &error_abort);
    BlockDriverState *filter =
        dummy_open("{'driver':'compress','node-name':'filter','file':'bs',"
                   "'read-only':true}");
    GPtrArray *moved = NULL;
    Error *err = NULL;

    dummy.small = "bs";
    g_assert_cmpint(bdrv_refresh_total_size(bs), ==, 0);
    g_assert_false(bdrv_append(bs, bs, &moved, &err));
    assert_error(&err, "Making 'bs' a backing child of 'bs' would create a "
                       "cycle");
    g_assert_null(moved);
    for (int i = 0; i < 2; i++) {
        g_assert_true(bdrv_append(overlay, bs, &moved, &error_abort));
        g_assert_cmpint(filter->total_bytes, ==, DUMMY_BYTES);
        g_assert_true(blk_bs(guest) == overlay);
        g_assert_true(above->file->bs == overlay);
        g_assert_true(bdrv_backing_chain_next(overlay) == bs);
        g_assert_false(bdrv_op_check_top(bs, &err));
        assert_error(&err, "Node 'bs' is busy: node is used as backing hd of "
                           "'overlay'");
        g_assert_true(bdrv_unappend(overlay, bs, moved, &error_abort));
        g_clear_pointer(&moved, g_ptr_array_unref);
        g_assert_true(blk_bs(guest) == bs && !overlay->backing);
        g_assert_cmpint(filter->total_bytes, ==, DUMMY_BYTES / 2);
        g_assert_true(above->file->bs == overlay);
        g_assert_true(bdrv_op_check_top(bs, &error_abort));
    }
    blk_unref(guest);
    bdrv_unref(filter);
    bdrv_unref(above);
    bdrv_unref(overlay);
    bdrv_unref(bs);
    dummy_reset();
}

/* --- reopening --- */

static bool reopen(const char *json, Error **errp)
{
    BlockdevOptionsList *list = NULL;
    bool ok;

    QAPI_LIST_PREPEND(list, parse_options(json));
    ok = bdrv_reopen_multiple(list, errp);
    qapi_free_BlockdevOptionsList(list);
    return ok;
}

static void test_reopen_read_only(void)
{
    BlockDriverState *q = dummy_open(
        "{'driver':'qcow2','node-name':'q','file':" FILE_NODE("low") "}");
    BlockDriverState *low = q->file->bs;
    Error *err = NULL;

    g_assert_true(reopen("{'driver':'qcow2','node-name':'q','file':'low',"
                         "'read-only':true}", &error_abort));
    g_assert_true(q->read_only && low->read_only);
    g_assert_cmphex(q->file->perm, ==, BLK_PERM_CONSISTENT_READ);
    g_assert_true(reopen("{'driver':'qcow2','node-name':'q','file':'low'}",
                         &error_abort));
    g_assert_true(!q->read_only && !low->read_only);
    g_assert_cmphex(q->file->perm & BLK_PERM_WRITE, ==, BLK_PERM_WRITE);
    g_assert_cmpint(dummy.reopened, ==, 4);

    dummy.fail_reopen = "low";
    g_assert_false(reopen("{'driver':'qcow2','node-name':'q','file':'low',"
                          "'read-only':true}", &err));
    assert_error(&err, "'low' does not reopen");
    g_assert_true(!q->read_only && !low->read_only);
    g_assert_cmpint(dummy.reopen_aborted, ==, 1);
    dummy.fail_reopen = NULL;
    g_assert_true(bdrv_reopen_set_read_only(q, true, &error_abort));
    g_assert_true(low->read_only);
    bdrv_unref(q);
    dummy_reset();
}

static void test_reopen_refused(void)
{
    BlockDriverState *low = dummy_open(
        "{'driver':'file','node-name':'low','filename':'/d/low',"
        "'read-only':true}");
    BlockDriverState *q = dummy_open(
        "{'driver':'qcow2','node-name':'q','file':'low','read-only':true}");
    Error *err = NULL;

    g_assert_false(reopen("{'driver':'qcow2','node-name':'q','file':'low'}",
                          &err));
    assert_error(&err, "Block node is read-only");
    g_assert_true(q->read_only);
    g_assert_false(reopen("{'driver':'file','node-name':'low',"
                          "'filename':'/d/x','read-only':true}", &err));
    assert_error(&err, "Cannot change the option 'filename'");
    g_assert_false(reopen("{'driver':'file','node-name':'low','filename':"
                          "'/d/low','locking':'off','read-only':true}", &err));
    assert_error(&err, "Cannot change the option 'locking'");
    /* Giving the default value is no change. */
    g_assert_true(reopen("{'driver':'file','node-name':'low','filename':"
                         "'/d/low','locking':'auto','read-only':true}",
                         &error_abort));
    g_assert_true(reopen("{'driver':'qcow2','node-name':'q','file':'low',"
                         "'read-only':true,'cache-size':65536}",
                         &error_abort));
    g_assert_false(reopen("{'driver':'qcow2','node-name':'q','file':'low',"
                          "'read-only':true,'lazy-refcounts':true}", &err));
    assert_error(&err, "Cannot change the option 'lazy-refcounts'");
    g_assert_false(reopen("{'driver':'raw','node-name':'q','file':'low'}",
                          &err));
    assert_error(&err, "Cannot change the option 'driver'");
    g_assert_false(reopen("{'driver':'null-co'}", &err));
    assert_error(&err, "node-name not specified");
    g_assert_false(reopen("{'driver':'null-co','node-name':'zz'}", &err));
    assert_error(&err, "Failed to find node with node-name='zz'");
    bdrv_unref(q);
    bdrv_unref(low);
    dummy_reset();
}

static void test_reopen_backing(void)
{
    BlockDriverState *base = dummy_open(FILE_NODE("base"));
    BlockDriverState *q = dummy_open(
        "{'driver':'qcow2','node-name':'q','file':" FILE_NODE("low")
        ",'backing':'base'}");
    Error *err = NULL;

    g_assert_false(reopen("{'driver':'qcow2','node-name':'q','file':'low'}",
                          &err));
    assert_error(&err, "backing is missing for 'q'");
    g_assert_false(reopen("{'driver':'qcow2','node-name':'q','file':'low',"
                          "'backing':'q'}", &err));
    assert_error(&err,
                 "Making 'q' a backing child of 'q' would create a cycle");
    g_assert_true(q->backing->bs == base);
    g_assert_true(reopen("{'driver':'qcow2','node-name':'q','file':'low',"
                         "'backing':null}", &error_abort));
    g_assert_null(q->backing);
    g_assert_true(reopen("{'driver':'qcow2','node-name':'q','file':'low',"
                         "'backing':'base'}", &error_abort));
    g_assert_true(q->backing->bs == base);
    bdrv_unref(base);
    bdrv_unref(q);
    dummy_reset();
}

/* --- from a coroutine --- */

static void coroutine_fn open_in_coroutine(void *opaque)
{
    BlockDriverState *bs = dummy_open(FILE_NODE("co"));

    bdrv_drained_begin(bs);
    bdrv_drained_end(bs);
    bdrv_unref(bs);
    *(bool *)opaque = true;
}

static void test_coroutine(void)
{
    bool done = false;

    aio_run_co(aio_main_context(), open_in_coroutine, &done);
    g_assert_true(done);
    dummy_reset();
}

/* --- queries --- */

static void test_graph_query(void)
{
    BlockDriverState *q = dummy_open(
        "{'driver':'qcow2','node-name':'q','file':" FILE_NODE("low") "}");
    g_autoptr(XDbgBlockGraph) graph = bdrv_get_xdbg_block_graph(&error_abort);
    g_autoptr(BlockDeviceInfo) info =
        bdrv_block_device_info(q, false, &error_abort);
    g_autoptr(BlockStats) stats = bdrv_query_bds_stats(q, false);

    g_assert_cmpuint(QAPI_LIST_LENGTH(graph->nodes), ==, 2);
    g_assert_cmpuint(QAPI_LIST_LENGTH(graph->edges), ==, 1);
    g_assert_cmpstr(graph->edges->value->name, ==, "file");
    g_assert_cmpstr(info->file, ==, "/d/low");
    g_assert_cmpstr(info->image->format, ==, "qcow2");
    g_assert_cmpint(info->image->virtual_size, ==, DUMMY_BYTES);
    g_assert_cmpstr(stats->parent->node_name, ==, "low");
    bdrv_unref(q);
    dummy_reset();
}

static void test_close_all(void)
{
    BlockDriverState *low = dummy_open(FILE_NODE("low"));
    BlockDriverState *q =
        dummy_open("{'driver':'qcow2','node-name':'q','file':'low'}");

    bdrv_node(low)->monitor_owned = bdrv_node(q)->monitor_owned = true;
    bdrv_close_all();
    dummy_reset();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/graph/names", test_names);
    g_test_add_func("/graph/name-taken-by-child", test_name_taken_by_child);
    g_test_add_func("/graph/open-fails-midway", test_open_fails_midway);
    g_test_add_func("/graph/unused", test_unused);
    g_test_add_func("/graph/insert-drop", test_insert_drop);
    g_test_add_func("/graph/insert-without-users", test_insert_without_users);
    g_test_add_func("/graph/insert-refused", test_insert_refused);
    g_test_add_func("/graph/replace-refused", test_replace_refused);
    g_test_add_func("/graph/set-backing", test_set_backing);
    g_test_add_func("/graph/append", test_append);
    g_test_add_func("/graph/reopen/read-only", test_reopen_read_only);
    g_test_add_func("/graph/reopen/refused", test_reopen_refused);
    g_test_add_func("/graph/reopen/backing", test_reopen_backing);
    g_test_add_func("/graph/coroutine", test_coroutine);
    g_test_add_func("/graph/query", test_graph_query);
    g_test_add_func("/graph/close-all", test_close_all);
    return g_test_run();
}
