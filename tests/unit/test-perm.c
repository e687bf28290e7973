/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Permissions: defaults, conflicts and roll-back; random graphs compared with a
 * naive evaluation. */
#include "qemu/osdep.h"
#include "dummy-drivers.h"

enum {
    CR = BLK_PERM_CONSISTENT_READ,
    WR = BLK_PERM_WRITE,
    WU = BLK_PERM_WRITE_UNCHANGED,
    RS = BLK_PERM_RESIZE,
    ALL = BLK_PERM_ALL,
};

/* --- defaults --- */

static void test_defaults(void)
{
    static const struct {
        BdrvChildRole role;
        bool read_only;
        uint64_t perm, shared, nperm, nshared;
    } rows[] = {
        {BDRV_CHILD_FILTERED, false, WR, CR, WR, CR},
        {BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, true, CR, ALL, CR, ALL},
        {BDRV_CHILD_COW, false, CR | WR, ALL, CR, ALL},
        {BDRV_CHILD_COW, false, WR, CR, 0, CR | WU},
        {BDRV_CHILD_IMAGE, false, 0, ALL, CR | WR | RS, CR | WU},
        {BDRV_CHILD_IMAGE, true, 0, ALL, CR, CR | WU},
        {BDRV_CHILD_IMAGE, false, CR, 0, CR | WR | RS, CR | WU},
        {BDRV_CHILD_DATA, false, CR, ALL, CR, CR | WU},
        {BDRV_CHILD_DATA, false, WU, ALL, WU | WR | RS, CR | WU},
        {BDRV_CHILD_PRIMARY, false, WR, 0, 0, ALL},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        BlockDriverState bs = {.read_only = rows[i].read_only};
        uint64_t nperm, nshared;

        bdrv_default_perms(&bs, NULL, rows[i].role, rows[i].perm,
                           rows[i].shared, &nperm, &nshared);
        g_assert_cmphex(nperm, ==, rows[i].nperm);
        g_assert_cmphex(nshared, ==, rows[i].nshared);
    }
}

static void test_names(void)
{
    g_autofree char *none = bdrv_perm_names(0);
    g_autofree char *two = bdrv_perm_names(WR | RS);

    g_assert_cmpstr(none, ==, "");
    g_assert_cmpstr(two, ==, "write, resize");
}

/* --- conflicts --- */

static void test_conflict_names_both(void)
{
    BlockDriverState *low = dummy_open(
        "{'driver':'file','node-name':'low','filename':'/d/low'}");
    BlockDriverState *q1 =
        dummy_open("{'driver':'qcow2','node-name':'q1','file':'low'}");
    Error *err = NULL;

    g_assert_null(dummy_try_open(
        "{'driver':'qcow2','node-name':'q2','file':'low'}", &err));
    assert_error(&err,
                 "Permission conflict on node 'low': permissions 'write, "
                 "resize' are both required by node 'q1' (uses node 'low' as "
                 "'file' child) and unshared by node 'q2' (uses node 'low' as "
                 "'file' child).");
    bdrv_unref(q1);
    bdrv_unref(low);
    dummy_reset();
}

static void test_read_only(void)
{
    BlockDriverState *bs =
        dummy_open("{'driver':'null-co','read-only':true}");
    BlockBackend *blk;
    Error *err = NULL;

    g_assert_null(blk_new_with_bs(bs, WR, ALL, &err));
    assert_error(&err, "Block node is read-only");
    blk = blk_new_with_bs(bs, CR, ALL, &error_abort);
    g_assert_false(blk_set_perm(blk, CR | WU, ALL, &err));
    assert_error(&err, "Block node is read-only");
    blk_unref(blk);
    bdrv_unref(bs);
    dummy_reset();
}

/* A lock that cannot be acquired far below undoes all changes above. */
static void test_driver_refuses(void)
{
    BlockDriverState *top = dummy_open(
        "{'driver':'compress','file':{'driver':'raw','file':"
        "{'driver':'file','node-name':'low','filename':'/d/low'}}}");
    BlockDriverState *raw = top->file->bs;
    BlockBackend *blk = blk_new_with_bs(top, CR, ALL, &error_abort);
    int checks = dummy.checks;
    Error *err = NULL;

    g_assert_cmpint(dummy.sets, ==, checks);
    dummy.fail_perm = "low";
    g_assert_false(blk_set_perm(blk, CR | WR, CR, &err));
    assert_error(&err, "'low' gets no lock");
    g_assert_cmphex(top->file->perm, ==, CR);
    g_assert_cmphex(raw->file->perm, ==, CR);
    g_assert_cmphex(raw->file->shared, ==, ALL);
    g_assert_cmphex(bdrv_node(raw->file->bs)->cumulative_perm, ==, CR);
    dummy.fail_perm = NULL;
    g_assert_true(blk_set_perm(blk, CR | WR, CR, &error_abort));
    g_assert_cmphex(raw->file->perm, ==, CR | WR);
    g_assert_cmpint(dummy.checks, ==, checks + 1);
    /* No change below: no parent is asked. */
    g_assert_true(bdrv_refresh_perms(top, NULL, &error_abort));
    g_assert_cmpint(dummy.checks, ==, checks + 1);
    blk_unref(blk);
    bdrv_unref(top);
    g_assert_cmpint(dummy.sets, ==, dummy.checks);
    dummy_reset();
}

/* One of two leaves refuses: the other, which was asked before, is notified. */
static void test_driver_abort(void)
{
    BlockDriverState *q = dummy_open(
        "{'driver':'qcow2','node-name':'q','read-only':true,'file':"
        "{'driver':'file','node-name':'l1','filename':'/d/1'},'backing':"
        "{'driver':'file','node-name':'l2','filename':'/d/2'}}");
    BlockBackend *blk = blk_new_with_bs(q, 0, ALL, &error_abort);
    Error *err = NULL;
    int aborts = dummy.aborts, checks = dummy.checks;

    dummy.fail_perm = "l2";
    g_assert_false(blk_set_perm(blk, CR, CR, &err));
    assert_error(&err, "'l2' gets no lock");
    g_assert_cmpint(dummy.checks - checks, ==, dummy.aborts - aborts);
    dummy.fail_perm = NULL;
    blk_unref(blk);
    bdrv_unref(q);
    dummy_reset();
}

/* --- random graphs --- */

enum { NODES = 12, USERS = 6, STEPS = 400 };

typedef struct ModelNode {
    BlockDriverState *bs;
    int file, backing; /* index or -1; always lower than its own */
    bool read_only;
} ModelNode;

typedef struct ModelEdge {
    int child;
    uint64_t perm, shared;
} ModelEdge;

typedef struct Model {
    ModelNode nodes[NODES];
    int n_nodes;
    BlockBackend *users[USERS];
    ModelEdge user_edges[USERS];
} Model;

static void model_need(const ModelNode *n, bool is_backing, uint64_t perm,
                       uint64_t shared, ModelEdge *edge)
{
    const char *format = n->bs->drv->format_name;

    if (is_backing) {
        edge->perm = perm & CR;
        edge->shared = (shared & WR) ? ALL : CR | WU;
    } else if (!strcmp(format, "qcow2")) {
        edge->perm = perm | CR | (n->read_only ? 0 : WR | RS);
        edge->shared = CR | WU;
    } else {
        edge->perm = perm;
        edge->shared = shared;
    }
}

/* Are the users' permissions compatible? */
static bool model_fits(const Model *m)
{
    ModelEdge edges[NODES * 2 + USERS];
    int n = 0;

    for (int i = 0; i < USERS; i++) {
        edges[n++] = m->user_edges[i];
    }
    for (int i = m->n_nodes - 1; i >= 0; i--) {
        uint64_t perm = 0, shared = ALL;

        for (int a = 0; a < n; a++) {
            for (int b = 0; b < n && edges[a].child == i; b++) {
                if (a != b && edges[b].child == i &&
                    (edges[a].perm & ~edges[b].shared)) {
                    return false;
                }
            }
            if (edges[a].child == i) {
                perm |= edges[a].perm;
                shared &= edges[a].shared;
            }
        }
        if ((perm & (WR | WU)) && m->nodes[i].read_only) {
            return false;
        }
        for (int k = 0; k < 2; k++) {
            int child = k ? m->nodes[i].backing : m->nodes[i].file;

            if (child >= 0) {
                edges[n].child = child;
                model_need(&m->nodes[i], k, perm, shared, &edges[n]);
                n++;
            }
        }
    }
    return true;
}

/* Opens a random node over those there are; it may conflict. */
static void model_add_node(Model *m)
{
    ModelNode *n = &m->nodes[m->n_nodes];
    int kind = m->n_nodes < 3 ? 0 : g_test_rand_int_range(1, 4);
    const char *drivers[] = {"null-co", "raw", "compress", "qcow2"};
    g_autoptr(GString) json = g_string_new("");

    n->file = kind ? g_test_rand_int_range(0, m->n_nodes) : -1;
    n->backing = kind == 3 && g_test_rand_bit()
        ? g_test_rand_int_range(0, m->n_nodes) : -1;
    n->read_only = g_test_rand_int_range(0, 4) == 0;
    g_string_printf(json, "{'driver':'%s','node-name':'n%d'", drivers[kind],
                    m->n_nodes);
    if (n->read_only) {
        g_string_append(json, ",'read-only':true");
    }
    if (n->file >= 0) {
        g_string_append_printf(json, ",'file':'n%d'", n->file);
    }
    if (n->backing >= 0) {
        g_string_append_printf(json, ",'backing':'n%d'", n->backing);
    }
    g_string_append_c(json, '}');
    n->bs = dummy_try_open(json->str, NULL);
    if (n->bs) {
        m->n_nodes++;
        g_assert_true(model_fits(m));
    }
}

static void collect(GArray *out, BlockDriverState *bs)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        g_array_append_val(out, c->perm);
        g_array_append_val(out, c->shared);
    }
    g_array_append_val(out, bdrv_node(bs)->cumulative_perm);
    g_array_append_val(out, bdrv_node(bs)->cumulative_shared);
}

static GArray *snapshot(const Model *m)
{
    GArray *out = g_array_new(false, false, sizeof(uint64_t));

    for (int i = 0; i < m->n_nodes; i++) {
        collect(out, m->nodes[i].bs);
    }
    return out;
}

static void model_step(Model *m)
{
    int i = g_test_rand_int_range(0, USERS);
    ModelEdge old = m->user_edges[i];
    g_autoptr(GArray) before = snapshot(m);
    bool ok;

    m->user_edges[i].perm = g_test_rand_int_range(0, 16) &
                            g_test_rand_int_range(0, 16);
    m->user_edges[i].shared = g_test_rand_int_range(0, 16) |
                              g_test_rand_int_range(0, 16);
    ok = blk_set_perm(m->users[i], m->user_edges[i].perm,
                      m->user_edges[i].shared, NULL);
    g_assert_cmpint(ok, ==, model_fits(m));
    if (!ok) {
        g_autoptr(GArray) after = snapshot(m);

        m->user_edges[i] = old;
        g_assert_cmpmem(before->data, before->len * sizeof(uint64_t),
                        after->data, after->len * sizeof(uint64_t));
    }
}

static void test_random(void)
{
    for (int round = 0; round < 20; round++) {
        Model m = {0};

        for (int i = 0; i < USERS; i++) {
            m.user_edges[i].child = -1;
        }
        for (int i = 0; i < NODES; i++) {
            model_add_node(&m);
        }
        for (int i = 0; i < USERS; i++) {
            int child = g_test_rand_int_range(0, m.n_nodes);

            m.user_edges[i] = (ModelEdge){child, 0, ALL};
            m.users[i] = blk_new_with_bs(m.nodes[child].bs, 0, ALL,
                                         &error_abort);
        }
        for (int i = 0; i < STEPS; i++) {
            model_step(&m);
        }
        for (int i = 0; i < USERS; i++) {
            blk_unref(m.users[i]);
        }
        for (int i = m.n_nodes - 1; i >= 0; i--) {
            bdrv_unref(m.nodes[i].bs);
        }
    }
    dummy_reset();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/perm/defaults", test_defaults);
    g_test_add_func("/perm/names", test_names);
    g_test_add_func("/perm/conflict-names-both", test_conflict_names_both);
    g_test_add_func("/perm/read-only", test_read_only);
    g_test_add_func("/perm/driver-refuses", test_driver_refuses);
    g_test_add_func("/perm/driver-abort", test_driver_abort);
    g_test_add_func("/perm/random", test_random);
    return g_test_run();
}
