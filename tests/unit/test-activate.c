/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes that become inactive, and active again: permissions, who goes with
 * whom, who refuses, and failures at each step; random graphs keep what always
 * holds.
 */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "dummy-drivers.h"

#define ALL BLK_PERM_ALL
#define READ_WRITE (BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE)
#define LOW "{'driver':'file','node-name':'low','filename':'/d/low'}"
#define NODE(drv, name, more) "{'driver':'" drv "','node-name':'" name "'," more

/* A drive without a device does not keep its node active. */
static BlockBackend *new_drive(BlockDriverState *bs, const char *name)
{
    BlockBackend *blk = blk_new_with_bs(bs, READ_WRITE, ALL, &error_abort);

    g_assert_true(blk_set_name(blk, name, &error_abort));
    return blk;
}

/* What holds in any graph. */
static void check_all(void)
{
    BlockDriverState *bs = NULL;
    BdrvChild *c;

    while ((bs = bdrv_next_node(bs))) {
        bool inactive = bdrv_is_inactive(bs);

        if (inactive) {
            g_assert_true(bs->read_only);
            g_assert_cmphex(bdrv_node(bs)->cumulative_perm, ==, 0);
            g_assert_cmphex(bdrv_node(bs)->cumulative_shared, ==, ALL);
        } else {
            g_assert_true(bs->read_only == bdrv_is_read_only(bs));
        }
        LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
            g_assert_true(inactive || !bdrv_is_inactive(c->bs));
            g_assert_true(!inactive || (c->perm == 0 && c->shared == ALL));
        }
        g_assert_cmpint(bdrv_node(bs)->quiesce_counter, ==, 0);
        g_assert_false(bdrv_node(bs)->reopening);
    }
}

static bool is_active(const char *name)
{
    return !bdrv_is_inactive(bdrv_find_node(name));
}

static void test_there_and_back(void)
{
    BlockDriverState *top = dummy_open(NODE("qcow2", "top", "'file':" LOW "}"));
    BlockDriverState *low = top->file->bs;
    BlockBackend *blk = new_drive(top, "d");
    uint64_t perm = bdrv_node(low)->cumulative_perm;
    char buf[512] = "";

    g_assert_cmphex(perm & BLK_PERM_WRITE, !=, 0);
    for (int i = 0; i < 2; i++) {
        g_assert_true(bdrv_inactivate(top, &error_abort));
        g_assert_true(bdrv_inactivate(top, &error_abort)); /* already */
        check_all();
        g_assert_true(bdrv_is_inactive(low));
        g_assert_false(bdrv_is_read_only(top));
        g_assert_cmphex(blk_root(blk)->perm, ==, READ_WRITE);
        g_assert_cmpint(blk_pwrite(blk, 0, 512, buf, 0), ==, -EPERM);
        g_assert_cmpint(blk_pread(blk, 0, 512, buf, 0), ==, 0);
        g_assert_cmpint(blk_flush(blk), ==, 0);
        g_assert_true(bdrv_activate(top, &error_abort));
        g_assert_true(bdrv_activate(top, &error_abort));
        check_all();
        g_assert_cmphex(bdrv_node(low)->cumulative_perm, ==, perm);
        g_assert_cmpint(blk_pwrite(blk, 0, 512, buf, 0), ==, 0);
    }
    blk_unref(blk);
    bdrv_unref(top);
    dummy_reset();
}

static void test_read_only_stays(void)
{
    BlockDriverState *bs =
        dummy_open(NODE("raw", "r", "'read-only':true,'file':" LOW "}"));

    g_assert_true(bdrv_inactivate_all(&error_abort));
    g_assert_true(bdrv_is_read_only(bs));
    g_assert_true(bdrv_activate_all(&error_abort));
    g_assert_true(bs->read_only && bs->file->bs->read_only);
    check_all();
    bdrv_unref(bs);
    dummy_reset();
}

/* What an active node uses stays active, unless it is named: then it is
 * refused. */
static void test_shared_child(void)
{
    BlockDriverState *low = dummy_open(LOW);
    BlockDriverState *a = dummy_open(NODE("raw", "a", "'file':'low'}"));
    BlockDriverState *b = dummy_open(NODE("compress", "b", "'file':'low'}"));
    Error *err = NULL;

    g_assert_false(bdrv_inactivate(low, &err));
    g_assert_true(g_str_has_prefix(error_get_pretty(err),
                                   "Node 'low' cannot be inactivated: it is "
                                   "used by the active node '"));
    g_clear_pointer(&err, error_free);
    g_assert_true(bdrv_inactivate(a, &error_abort));
    g_assert_true(is_active("low") && is_active("b") && !is_active("a"));
    check_all();
    g_assert_true(bdrv_inactivate(b, &error_abort));
    g_assert_true(!is_active("low") && !is_active("b"));
    check_all();
    g_assert_true(bdrv_activate(a, &error_abort));
    g_assert_true(is_active("low") && is_active("a") && !is_active("b"));
    check_all();
    bdrv_unref(b);
    bdrv_unref(a);
    bdrv_unref(low);
    dummy_reset();
}

static void test_users(void)
{
    BlockDriverState *top = dummy_open(NODE("raw", "top", "'file':" LOW "}"));
    BlockBackend *blk = blk_new_unqueued(top, READ_WRITE, ALL, "the test",
                                         &error_abort);
    BdrvDirtyBitmap *bitmap;
    Error *err = NULL;

    g_assert_false(bdrv_inactivate_all(&err));
    assert_error(&err, "Node 'top' cannot be inactivated: it is used by the "
                 "test");
    blk_unref(blk);
    bitmap = bdrv_dirty_bitmap_new(top, 65536, "b", &error_abort);
    bdrv_dirty_bitmap_set_busy(bitmap, true);
    g_assert_false(bdrv_inactivate(top, &err));
    assert_error(&err, "Node 'top' cannot be inactivated: its bitmap 'b' is "
                 "in use");
    bdrv_dirty_bitmap_set_busy(bitmap, false);
    check_all();
    g_assert_true(bdrv_inactivate(top, &error_abort));
    g_assert_false(bdrv_check_active(top, &err));
    assert_error(&err, "Node 'top' is inactive");
    bdrv_unref(top);
    dummy_reset();
}

/* All or none. */
static void test_cannot_give_up(void)
{
    BlockDriverState *top = dummy_open(
        NODE("compress", "top", "'file':") NODE("raw", "mid", "'file':" LOW
                                                "}}"));
    BlockBackend *blk = new_drive(top, "d");
    uint64_t perm = bdrv_node(top)->cumulative_perm;
    Error *err = NULL;

    dummy.fail_reopen = "mid";
    g_assert_false(bdrv_inactivate_all(&err));
    assert_error(&err, "Node 'mid' cannot be inactivated: 'mid' does not "
                 "reopen");
    g_assert_cmpint(dummy.reopen_aborted, ==, 1); /* of the filter above */
    dummy.fail_reopen = NULL;
    dummy.fail_perm = "low";
    g_assert_false(bdrv_inactivate(top, &err));
    assert_error(&err, "'low' gets no lock");
    dummy.fail_perm = NULL;
    check_all();
    g_assert_true(is_active("top") && is_active("mid") && is_active("low"));
    g_assert_cmphex(bdrv_node(top)->cumulative_perm, ==, perm);
    g_assert_cmphex(top->file->perm, ==, READ_WRITE);
    blk_unref(blk);
    bdrv_unref(top);
    dummy_reset();
}

/* It stays inactive, and so does what is below. */
static void test_cannot_take(void)
{
    BlockDriverState *top = dummy_open(NODE("qcow2", "top", "'file':" LOW "}"));
    BlockBackend *blk = new_drive(top, "d");
    void *opaque = top->opaque;
    Error *err = NULL;

    g_assert_true(bdrv_inactivate(top, &error_abort));
    dummy.fail_perm = "low";
    g_assert_false(bdrv_activate(top, &err));
    assert_error(&err, "Node 'top' cannot be activated: 'low' gets no lock");
    dummy.fail_perm = NULL;
    check_all();
    dummy.fail_open = "top";
    g_assert_false(bdrv_activate_all(&err));
    assert_error(&err, "Node 'top' cannot be activated: 'top' does not open");
    dummy.fail_open = NULL;
    check_all();
    g_assert_true(!is_active("top") && !is_active("low"));
    g_assert_true(top->opaque == opaque);
    g_assert_true(bdrv_activate_all(&error_abort));
    check_all();
    g_assert_true(is_active("top") && is_active("low"));
    blk_unref(blk);
    bdrv_unref(top);
    dummy_reset();
}

/* One that cannot be activated does not keep the others. */
static void test_all_but_one(void)
{
    BlockDriverState *top = dummy_open(NODE("qcow2", "top", "'file':" LOW "}"));
    BlockDriverState *other = dummy_open(NODE("raw", "other", "'file':")
                                         "{'driver':'null-co'}}");
    Error *err = NULL;

    g_assert_true(bdrv_inactivate_all(&error_abort));
    dummy.fail_perm = "low";
    g_assert_false(bdrv_activate_all(&err));
    assert_error(&err, "Node 'top' cannot be activated: 'low' gets no lock");
    dummy.fail_perm = NULL;
    g_assert_true(is_active("other") && !is_active("top"));
    check_all();
    bdrv_unref(other);
    bdrv_unref(top);
    dummy_reset();
}

static void test_opening(void)
{
    BlockDriverState *top = dummy_open(
        NODE("raw", "top", "'active':false,'file':" LOW "}"));
    BlockDriverState *bs;
    Error *err = NULL;

    check_all();
    g_assert_true(!is_active("top") && !is_active("low"));
    g_assert_null(dummy_try_open(NODE("raw", "x", "'file':'top'}"), &err));
    assert_error(&err, "Node 'top' is inactive: it cannot be the 'file' child "
                 "of the active node 'x'");
    bs = dummy_open(NODE("raw", "x", "'active':false,'file':'top'}"));
    g_assert_true(bdrv_activate(bs, &error_abort));
    g_assert_true(is_active("top") && is_active("low"));
    bdrv_unref(bs);
    bdrv_unref(top);

    bdrv_set_open_inactive(true);
    top = dummy_open(NODE("raw", "top", "'file':" LOW "}"));
    bs = dummy_open("{'driver':'raw','node-name':'y','active':true,'file':"
                    "{'driver':'null-co','node-name':'z'}}");
    bdrv_set_open_inactive(false);
    g_assert_true(!is_active("top") && !is_active("low"));
    g_assert_true(is_active("y") && is_active("z"));
    check_all();
    bdrv_unref(bs);
    bdrv_unref(top);
    dummy_reset();
}

/* --- random graphs --- */

#define NODES 8

static BlockDriverState *random_node(GPtrArray *nodes, int i)
{
    static const char *const drivers[] = { "raw", "compress", "qcow2" };
    const char *driver = drivers[g_test_rand_int_range(0, 3)];
    g_autofree char *json = NULL;
    BlockDriverState *bs;

    if (i < 2 || g_test_rand_int_range(0, 5) == 0) {
        json = g_strdup_printf("{'driver':'file','node-name':'n%d',"
                               "'filename':'/d/f','active':%s}", i,
                               g_test_rand_bit() ? "true" : "false");
    } else {
        const BlockDriverState *child =
            nodes->pdata[g_test_rand_int_range(0, nodes->len)];

        json = g_strdup_printf("{'driver':'%s','node-name':'n%d','file':'%s',"
                               "'active':%s}", driver, i, child->node_name,
                               g_test_rand_bit() ? "true" : "false");
    }
    bs = dummy_try_open(json, NULL); /* conflicts, or its child is inactive */
    if (bs) {
        g_ptr_array_add(nodes, bs);
    }
    return bs;
}

static void random_step(GPtrArray *nodes)
{
    BlockDriverState *bs = nodes->pdata[g_test_rand_int_range(0, nodes->len)];
    bool inactivate = g_test_rand_bit(), all = !g_test_rand_int_range(0, 6);
    bool was = bdrv_is_inactive(bs), fails = !g_test_rand_int_range(0, 4), ok;

    if (fails) {
        const BlockDriverState *victim =
            nodes->pdata[g_test_rand_int_range(0, nodes->len)];

        *(g_test_rand_bit() ? &dummy.fail_open : &dummy.fail_reopen) =
            victim->node_name;
    }
    ok = inactivate ? (all ? bdrv_inactivate_all(NULL)
                           : bdrv_inactivate(bs, NULL))
                    : (all ? bdrv_activate_all(NULL)
                           : bdrv_activate(bs, NULL));
    if (!all) {
        g_assert_true(bdrv_is_inactive(bs) == (ok ? inactivate : was));
    }
    dummy.fail_open = dummy.fail_reopen = NULL;
    check_all();
}

static void test_random(void)
{
    for (int round = 0; round < 200; round++) {
        g_autoptr(GPtrArray) nodes = g_ptr_array_new();

        for (int i = 0; i < NODES; i++) {
            random_node(nodes, i);
            check_all();
        }
        for (int i = 0; i < 30; i++) {
            random_step(nodes);
        }
        for (guint i = nodes->len; i > 0; i--) {
            bdrv_unref(nodes->pdata[i - 1]);
        }
        dummy_reset();
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/activate/there-and-back", test_there_and_back);
    g_test_add_func("/activate/read-only", test_read_only_stays);
    g_test_add_func("/activate/shared-child", test_shared_child);
    g_test_add_func("/activate/users", test_users);
    g_test_add_func("/activate/cannot-give-up", test_cannot_give_up);
    g_test_add_func("/activate/cannot-take", test_cannot_take);
    g_test_add_func("/activate/all-but-one", test_all_but_one);
    g_test_add_func("/activate/opening", test_opening);
    g_test_add_func("/activate/random", test_random);
    return g_test_run();
}
