/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Draining: random graphs with dummy users that have requests in flight.
 *
 * After every step the notifications of each user must match the state of its
 * node, and the counter of each node its own drains and those of its children.
 */
#include "qemu/osdep.h"
#include "dummy-drivers.h"

enum { NODES = 8, USERS = 5, STEPS = 300 };

typedef struct User {
    BdrvChild *edge;
    bool quiesced;
    int busy; /* requests that have not returned yet */
} User;

static char *user_desc(BdrvChild *child)
{
    return g_strdup("a user");
}

static void user_drained_begin(BdrvChild *child)
{
    User *user = child->opaque;

    g_assert_false(user->quiesced);
    user->quiesced = true;
}

static bool user_drained_poll(BdrvChild *child)
{
    return ((User *)child->opaque)->busy > 0;
}

static void user_drained_end(BdrvChild *child)
{
    User *user = child->opaque;

    g_assert_true(user->quiesced);
    user->quiesced = false;
}

static const BdrvChildClass user_class = {
    .parent_desc = user_desc,
    .drained_begin = user_drained_begin,
    .drained_poll = user_drained_poll,
    .drained_end = user_drained_end,
};

static void user_request_done(void *opaque)
{
    ((User *)opaque)->busy--;
}

/* A request that returns from the loop. */
static void user_send(User *user)
{
    user->busy++;
    aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, user_request_done, user);
}

static void user_attach(User *user, BlockDriverState *bs)
{
    user->edge = bdrv_root_attach_child(bs, "root", &user_class, 0, 0,
                                        BLK_PERM_ALL, user, &error_abort);
}

static void user_detach(User *user)
{
    bdrv_root_unref_child(user->edge);
    user->edge = NULL;
    g_assert_false(user->quiesced);
    while (user->busy) {
        aio_poll(aio_main_context(), true);
    }
}

/* --- plain cases --- */

static void test_waits(void)
{
    BlockDriverState *top = dummy_open(
        "{'driver':'raw','node-name':'top','file':"
        "{'driver':'null-co','node-name':'low'}}");
    BlockDriverState *low = top->file->bs;
    User user = {0};

    user_attach(&user, top);
    user_send(&user);
    bdrv_drained_begin(low);
    g_assert_true(user.quiesced);
    g_assert_cmpint(user.busy, ==, 0);
    g_assert_cmpint(bdrv_node(top)->quiesce_counter, ==, 1);
    bdrv_drained_begin(low);
    bdrv_drained_begin(top);
    g_assert_cmpint(bdrv_node(top)->quiesce_counter, ==, 2);
    bdrv_drained_end(low);
    bdrv_drained_end(low);
    g_assert_true(user.quiesced);
    bdrv_drained_end(top);
    g_assert_false(user.quiesced);

    /* Nodes below are not drained. */
    bdrv_drained_begin(top);
    g_assert_cmpint(bdrv_node(low)->quiesce_counter, ==, 0);
    bdrv_drained_end(top);
    g_assert_cmpint(dummy.drain_begins, ==, dummy.drain_ends);
    user_detach(&user);
    bdrv_unref(top);
    dummy_reset();
}

static void test_attach_to_drained(void)
{
    BlockDriverState *bs = dummy_open("{'driver':'null-co'}");
    User user = {0};

    bdrv_drained_begin(bs);
    user_attach(&user, bs);
    g_assert_true(user.quiesced);
    user_detach(&user);
    user_attach(&user, bs);
    bdrv_drained_end(bs);
    g_assert_false(user.quiesced);
    user_detach(&user);
    bdrv_unref(bs);
    dummy_reset();
}

static void test_all(void)
{
    BlockDriverState *a = dummy_open("{'driver':'null-co'}");
    BlockDriverState *b;
    User user = {0};

    user_attach(&user, a);
    user_send(&user);
    bdrv_drain_all_begin();
    g_assert_cmpint(user.busy, ==, 0);
    /* A node created during a drain is drained as well. */
    b = dummy_open("{'driver':'null-co'}");
    g_assert_cmpint(bdrv_node(b)->quiesce_counter, ==, 1);
    bdrv_drain_all_end();
    g_assert_cmpint(bdrv_node(a)->quiesce_counter, ==, 0);
    g_assert_cmpint(bdrv_node(b)->quiesce_counter, ==, 0);
    user_detach(&user);
    bdrv_unref(a);
    bdrv_unref(b);
    dummy_reset();
}

/* --- random graphs --- */

typedef struct Model {
    BlockDriverState *nodes[NODES];
    int drains[NODES]; /* begun by the test */
    User users[USERS];
} Model;

static void model_open(Model *m)
{
    for (int i = 0; i < NODES; i++) {
        g_autofree char *json = i < 2
            ? g_strdup_printf("{'driver':'null-co','node-name':'n%d'}", i)
            : g_strdup_printf("{'driver':'%s','node-name':'n%d','file':"
                              "'n%d'}", g_test_rand_bit() ? "raw" : "compress",
                              i, g_test_rand_int_range(0, i));

        m->nodes[i] = dummy_open(json);
    }
}

static void model_check(const Model *m)
{
    for (int i = 0; i < NODES; i++) {
        int expected = m->drains[i];
        BdrvChild *c;

        LIST_FOREACH(c, &bdrv_node(m->nodes[i])->children, next) {
            bool drained = bdrv_node(c->bs)->quiesce_counter > 0;

            g_assert_cmpint(c->quiesced, ==, drained);
            expected += drained;
        }
        g_assert_cmpint(bdrv_node(m->nodes[i])->quiesce_counter, ==, expected);
        if (m->drains[i]) {
            g_assert_cmpint(bdrv_node(m->nodes[i])->in_flight, ==, 0);
        }
    }
    for (int i = 0; i < USERS; i++) {
        const User *user = &m->users[i];

        if (user->edge) {
            g_assert_cmpint(user->quiesced, ==,
                            bdrv_node(user->edge->bs)->quiesce_counter > 0);
            g_assert_true(!user->quiesced || user->busy == 0);
        }
    }
}

static void request_done(void *opaque)
{
    bdrv_dec_in_flight(opaque);
}

static void model_request(Model *m, int node)
{
    if (!bdrv_node(m->nodes[node])->quiesce_counter) {
        bdrv_inc_in_flight(m->nodes[node]);
        aio_bh_oneshot(aio_main_context(), AIO_SCOPE_IO, request_done,
                       m->nodes[node]);
    }
}

static void model_user(Model *m, User *user, int node)
{
    if (!user->edge) {
        user_attach(user, m->nodes[node]);
    } else if (g_test_rand_int_range(0, 3) == 0) {
        user_detach(user);
    } else if (!user->quiesced) {
        user_send(user);
    }
}

static void model_step(Model *m)
{
    int node = g_test_rand_int_range(0, NODES);
    int other = g_test_rand_int_range(0, NODES);
    User *user = &m->users[g_test_rand_int_range(0, USERS)];

    switch (g_test_rand_int_range(0, 6)) {
    case 0:
        bdrv_drained_begin(m->nodes[node]);
        m->drains[node]++;
        break;
    case 1:
        if (m->drains[node]) {
            m->drains[node]--;
            bdrv_drained_end(m->nodes[node]);
        }
        break;
    case 2:
        model_request(m, node);
        break;
    case 3:
        if (node != other) {
            bdrv_replace_node(m->nodes[node], m->nodes[other],
                              BDRV_CONTENT_OTHER, NULL);
        }
        break;
    default:
        model_user(m, user, node);
    }
    model_check(m);
}

static void model_close(Model *m)
{
    for (int i = 0; i < NODES; i++) {
        while (m->drains[i]) {
            m->drains[i]--;
            bdrv_drained_end(m->nodes[i]);
        }
    }
    for (int i = 0; i < USERS; i++) {
        if (m->users[i].edge) {
            user_detach(&m->users[i]);
        }
    }
    for (int i = NODES - 1; i >= 0; i--) {
        bdrv_drained_begin(m->nodes[i]);
        bdrv_drained_end(m->nodes[i]);
        bdrv_unref(m->nodes[i]);
    }
}

static void test_random(void)
{
    for (int round = 0; round < 30; round++) {
        Model m = {0};

        model_open(&m);
        for (int i = 0; i < STEPS; i++) {
            model_step(&m);
        }
        model_close(&m);
        dummy_reset();
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/drain/waits", test_waits);
    g_test_add_func("/drain/attach-to-drained", test_attach_to_drained);
    g_test_add_func("/drain/all", test_all);
    g_test_add_func("/drain/random", test_random);
    return g_test_run();
}
