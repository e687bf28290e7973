/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Consent: parents are asked before the graph changes. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/dirty-bitmap.h"
#include "dummy-drivers.h"

#define LEAF(name) "{'driver':'null-co','node-name':'" name "'}"

/* --- users of nodes --- */

static char *user_desc(BdrvChild *child)
{
    return g_strdup(child->klass->parent_is_job ? "job 'j'" : "user 'u'");
}

static int resizes;

static void user_resize(BdrvChild *child)
{
    resizes++;
}

static const BdrvChildClass user_class = {
    .parent_desc = user_desc,
    .resize = user_resize,
};

static const BdrvChildClass job_class = {
    .stay_at_node = true,
    .parent_is_job = true,
    .parent_desc = user_desc,
};

static BdrvChild *attach(BlockDriverState *bs, const BdrvChildClass *klass,
                         uint64_t shared)
{
    return bdrv_root_attach_child(bs, "root", klass, 0,
                                  BLK_PERM_CONSISTENT_READ, shared, NULL,
                                  &error_abort);
}

/* Leaves a and b, and @json over a. */
typedef struct Graph {
    BlockDriverState *a, *b, *top;
} Graph;

static Graph graph_open(const char *json)
{
    Graph g;

    g.a = dummy_open(LEAF("a"));
    g.b = dummy_open(LEAF("b"));
    g.top = dummy_open(json);
    return g;
}

static void graph_close(Graph *g)
{
    bdrv_unref(g->top);
    bdrv_unref(g->b);
    bdrv_unref(g->a);
    dummy_reset();
}

static void replace_refused(Graph *g, BdrvContent content, const char *text)
{
    Error *err = NULL;

    g_assert_false(bdrv_replace_node(g->a, g->b, content, &err));
    assert_error(&err, text);
    g_assert_true(LIST_EMPTY(&bdrv_node(g->b)->parents));
}

/* --- asking --- */

/* A driver without child_change keeps its child. */
static void test_default(void)
{
    Graph g = graph_open("{'driver':'copy-on-read','node-name':'f',"
                         "'file':'a'}");

    for (BdrvContent c = BDRV_CONTENT_SAME; c <= BDRV_CONTENT_OTHER; c++) {
        replace_refused(&g, c, "Node 'f' (driver 'copy-on-read') cannot have "
                               "its 'file' child changed to node 'b'");
    }
    g_assert_true(g.top->file->bs == g.a);
    graph_close(&g);
}

/* If one of two parents refuses nothing changes; the other is notified. */
static void test_abort(void)
{
    Graph g = graph_open("{'driver':'compress','node-name':'f','file':'a'}");
    BlockDriverState *other =
        dummy_open("{'driver':'compress','node-name':'g','file':'a'}");

    for (int i = 0; i < 2; i++) {
        dummy.refuse = i ? "f" : "g";
        replace_refused(&g, BDRV_CONTENT_OTHER, i
                        ? "Node 'f' (driver 'compress') cannot have its "
                          "'file' child changed to node 'b'"
                        : "Node 'g' (driver 'compress') cannot have its "
                          "'file' child changed to node 'b'");
        g_assert_true(g.top->file->bs == g.a && other->file->bs == g.a);
        g_assert_cmpint(dummy.asked, ==, dummy.asked_aborts);
    }
    g_assert_cmpint(dummy.asked, >, 0);
    dummy.refuse = NULL;
    g_assert_true(bdrv_replace_node(g.a, g.b, BDRV_CONTENT_OTHER,
                                    &error_abort));
    g_assert_true(g.top->file->bs == g.b && other->file->bs == g.b);
    g_assert_cmpstr(dummy.change.name, ==, "file");
    g_assert_true(dummy.change.old_bs == g.a && dummy.change.new_bs == g.b);
    bdrv_unref(other);
    graph_close(&g);
}

static void test_stay(void)
{
    Graph g = graph_open("{'driver':'compress','node-name':'f','file':'a'}");
    BdrvChild *user = attach(g.a, &user_class, BLK_PERM_ALL);

    dummy.stay = "f";
    g_assert_true(bdrv_replace_node(g.a, g.b, BDRV_CONTENT_SAME,
                                    &error_abort));
    g_assert_true(g.top->file->bs == g.a && user->bs == g.b);
    bdrv_root_unref_child(user);
    graph_close(&g);
}

/* Parents are asked if other data shows, not if a filter is inserted. */
static void test_above(void)
{
    Graph g = graph_open("{'driver':'copy-on-read','node-name':'f','file':"
                         "{'driver':'raw','node-name':'r','file':'a'}}");

    replace_refused(&g, BDRV_CONTENT_OTHER, "Node 'f' (driver 'copy-on-read') "
                    "cannot have the data of its 'file' child 'r' replaced");
    g_assert_cmpint(dummy.asked_aborts, ==, 1);
    g_assert_true(bdrv_replace_node(g.a, g.b, BDRV_CONTENT_SAME,
                                    &error_abort));
    g_assert_true(g.top->file->bs->file->bs == g.b);
    graph_close(&g);
}

/* Tables belong to the image's file; its backing file is up to the user. */
static void test_format(void)
{
    Graph g = graph_open("{'driver':'qcow2','node-name':'q','file':'a',"
                         "'backing':{'driver':'null-co','node-name':'k'}}");
    BlockDriverState *filter =
        dummy_open("{'driver':'compress','node-name':'f','file':'a'}");

    replace_refused(&g, BDRV_CONTENT_OTHER, "Node 'q' (driver 'qcow2') cannot "
                    "have its 'file' child changed to node 'b'");
    replace_refused(&g, BDRV_CONTENT_OVERLAY, "Node 'q' (driver 'qcow2') "
                    "cannot have its 'file' child changed to node 'b'");
    g_assert_true(bdrv_replace_node(g.a, filter, BDRV_CONTENT_SAME,
                                    &error_abort));
    g_assert_true(g.top->file->bs == filter);
    g_assert_true(bdrv_set_backing(g.top, g.b, BDRV_CONTENT_OTHER,
                                   &error_abort));
    g_assert_true(bdrv_set_backing(g.top, NULL, BDRV_CONTENT_OTHER,
                                   &error_abort));
    bdrv_unref(filter);
    graph_close(&g);
}

/* --- parents that depend on the data --- */

static void test_job(void)
{
    Graph g = graph_open("{'driver':'compress','node-name':'f','file':'a'}");
    BdrvChild *job = attach(g.top, &job_class, BLK_PERM_ALL);

    replace_refused(&g, BDRV_CONTENT_OTHER, "The data of node 'f' cannot be "
                    "replaced: it is used by job 'j'");
    g_assert_true(bdrv_replace_node(g.a, g.b, BDRV_CONTENT_SAME,
                                    &error_abort));
    bdrv_root_unref_child(job);
    graph_close(&g);
}

/* Bits of a bitmap are not true of other data; a backing file is the user's
 * choice. */
static void test_bitmap(void)
{
    Graph g = graph_open(
        "{'driver':'compress','node-name':'f','file':{'driver':'qcow2',"
        "'node-name':'q','file':{'driver':'raw','node-name':'r',"
        "'file':'a'},'backing':null}}");
    BlockDriverState *r = bdrv_find_node("r"), *q = bdrv_find_node("q");
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_new(r, 65536, "b0",
                                                    &error_abort);

    replace_refused(&g, BDRV_CONTENT_OTHER, "The data of node 'r' cannot be "
                    "replaced: dirty bitmap 'b0' would not record that");
    bdrv_dirty_bitmap_release(bitmap);
    bitmap = bdrv_dirty_bitmap_new(g.top, 65536, "b1", &error_abort);
    g_assert_true(bdrv_set_backing(q, g.b, BDRV_CONTENT_OTHER, &error_abort));
    bdrv_dirty_bitmap_release(bitmap);
    graph_close(&g);
}

/* --- the size --- */

static void test_size(void)
{
    Graph g = graph_open("{'driver':'compress','node-name':'f','file':"
                         "{'driver':'compress','node-name':'g','file':'a'}}");
    BdrvChild *user = attach(g.top, &user_class,
                             BLK_PERM_ALL & ~BLK_PERM_RESIZE);

    dummy.small = "b";
    g_assert_cmpint(bdrv_refresh_total_size(g.b), ==, 0);
    replace_refused(&g, BDRV_CONTENT_OTHER, "Node 'f' cannot shrink from "
                    "1048576 to 524288 bytes: resize is not shared by user "
                    "'u'");
    g_assert_cmpint(g.top->total_bytes, ==, DUMMY_BYTES);
    g_assert_cmpint(g.top->file->bs->total_bytes, ==, DUMMY_BYTES);
    g_assert_cmpint(resizes, ==, 0);

    g_assert_true(bdrv_child_set_perm(user, 0, BLK_PERM_ALL, &error_abort));
    g_assert_true(bdrv_replace_node(g.a, g.b, BDRV_CONTENT_OTHER,
                                    &error_abort));
    g_assert_cmpint(g.top->total_bytes, ==, DUMMY_BYTES / 2);
    g_assert_cmpint(resizes, ==, 1);

    g_assert_true(bdrv_child_set_perm(user, 0, BLK_PERM_ALL & ~BLK_PERM_RESIZE,
                                      &error_abort));
    g_assert_true(bdrv_replace_node(g.b, g.a, BDRV_CONTENT_OTHER,
                                    &error_abort));
    g_assert_cmpint(g.top->total_bytes, ==, DUMMY_BYTES);
    g_assert_cmpint(resizes, ==, 2);
    bdrv_root_unref_child(user);
    graph_close(&g);
}

/* A user that moves to another node is notified of its size. */
static void test_moved(void)
{
    Graph g = graph_open(LEAF("unused"));
    BdrvChild *user = attach(g.a, &user_class,
                             BLK_PERM_ALL & ~BLK_PERM_RESIZE);

    resizes = 0;
    dummy.small = "b";
    g_assert_cmpint(bdrv_refresh_total_size(g.b), ==, 0);
    replace_refused(&g, BDRV_CONTENT_OTHER, "Node 'b' cannot shrink from "
                    "1048576 to 524288 bytes: resize is not shared by user "
                    "'u'");
    g_assert_true(user->bs == g.a);
    g_assert_true(bdrv_child_set_perm(user, 0, BLK_PERM_ALL, &error_abort));
    g_assert_true(bdrv_replace_node(g.a, g.b, BDRV_CONTENT_OTHER,
                                    &error_abort));
    g_assert_cmpint(resizes, ==, 1);
    bdrv_root_unref_child(user);
    graph_close(&g);
}

int main(int argc, char **argv)
{
    aio_main_init(&error_abort);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/consent/default", test_default);
    g_test_add_func("/consent/abort", test_abort);
    g_test_add_func("/consent/stay", test_stay);
    g_test_add_func("/consent/above", test_above);
    g_test_add_func("/consent/format", test_format);
    g_test_add_func("/consent/job", test_job);
    g_test_add_func("/consent/bitmap", test_bitmap);
    g_test_add_func("/consent/size", test_size);
    g_test_add_func("/consent/moved", test_moved);
    return g_test_run();
}
