/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Contexts of nodes: all connected nodes and users are in one context.
 *
 *      export   device        job
 *          \     /          /     \
 *          node A      node B     node C      A's context is that of D, E and
 *             |           |                   of the users above them, and not
 *          node D      node E                 that of B
 *
 * A move includes all of them: first all users are asked whether they can move,
 * then all nodes are drained, detached from the old thread and attached to the
 * new one.
 */
#include "qemu/osdep.h"
#include "block/graph-int.h"
#include "block/node-int.h"

/* Nodes and users that move together. */
typedef struct Connected {
    AioContext *to;
    GHashTable *seen; /* nodes, and users by the opaque of their edges */
    GPtrArray *nodes; /* of BlockDriverState *, referenced */
    GPtrArray *users; /* of BdrvChild *: one edge of each user */
} Connected;

static void connected_init(Connected *m, AioContext *to)
{
    m->to = to;
    m->seen = g_hash_table_new(NULL, NULL);
    m->nodes = g_ptr_array_new();
    m->users = g_ptr_array_new();
}

static void connected_clear(Connected *m)
{
    g_hash_table_unref(m->seen);
    g_ptr_array_unref(m->users);
    g_ptr_array_foreach(m->nodes, (GFunc)(void (*)(void))bdrv_unref, NULL);
    g_ptr_array_unref(m->nodes);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Connected, connected_clear)

static void collect(BlockDriverState *bs, Connected *m);

static void collect_edge(BdrvChild *c, void *opaque)
{
    if (c->bs) {
        collect(c->bs, opaque);
    }
}

static void collect(BlockDriverState *bs, Connected *m)
{
    BdrvChild *c;

    if (!g_hash_table_add(m->seen, bs)) {
        return;
    }
    g_ptr_array_add(m->nodes, bdrv_ref(bs));
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        collect_edge(c, m);
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->parent_is_bs) {
            collect(c->opaque, m);
        } else if (g_hash_table_add(m->seen, c->opaque)) {
            g_ptr_array_add(m->users, c);
            if (c->klass->for_each_edge) {
                c->klass->for_each_edge(c, collect_edge, m);
            }
        }
    }
}

/* --- moving --- */

static bool all_may_move(const Connected *m, BlockDriverState *bs,
                         Error **errp)
{
    for (guint i = 0; i < m->users->len; i++) {
        BdrvChild *c = m->users->pdata[i];

        if (c->klass->may_move && !c->klass->may_move(c, m->to)) {
            g_autofree char *desc = c->klass->parent_desc(c);

            error_setg(errp, "Cannot move node '%s' to another thread: node "
                       "'%s', which is connected with it, is used by %s, which "
                       "cannot change its thread", bs->node_name,
                       c->bs->node_name, desc);
            return false;
        }
    }
    return true;
}

static bool any_busy(const Connected *m)
{
    for (guint i = 0; i < m->nodes->len; i++) {
        if (bdrv_drain_busy(m->nodes->pdata[i])) {
            return true;
        }
    }
    return false;
}

/* Runs in the old thread: users first, then nodes from above. */
static void leave(void *opaque)
{
    const Connected *m = opaque;

    for (guint i = 0; i < m->users->len; i++) {
        BdrvChild *c = m->users->pdata[i];

        if (c->klass->detach_aio_context) {
            c->klass->detach_aio_context(c);
        }
    }
    for (guint i = 0; i < m->nodes->len; i++) {
        BlockDriverState *bs = m->nodes->pdata[i];

        if (bs->drv && bs->drv->detach_aio_context) {
            bs->drv->detach_aio_context(bs);
        }
    }
}

/* Runs in the new thread, in reverse order. */
static void arrive(void *opaque)
{
    const Connected *m = opaque;

    for (guint i = m->nodes->len; i-- > 0;) {
        BlockDriverState *bs = m->nodes->pdata[i];

        if (bs->drv && bs->drv->attach_aio_context) {
            bs->drv->attach_aio_context(bs);
        }
    }
    for (guint i = m->users->len; i-- > 0;) {
        BdrvChild *c = m->users->pdata[i];

        if (c->klass->attach_aio_context) {
            c->klass->attach_aio_context(c);
        }
    }
}

/* In the exclusive main thread, since the old thread also reads this. */
static void set_context(const Connected *m)
{
    for (guint i = 0; i < m->nodes->len; i++) {
        ((BlockDriverState *)m->nodes->pdata[i])->ctx = m->to;
    }
    for (guint i = 0; i < m->users->len; i++) {
        BdrvChild *c = m->users->pdata[i];

        if (c->klass->set_aio_context) {
            c->klass->set_aio_context(c, m->to);
        }
    }
}

static void quiesce_all(const Connected *m)
{
    for (guint i = 0; i < m->nodes->len; i++) {
        bdrv_quiesce(m->nodes->pdata[i]);
    }
}

static void unquiesce_all(const Connected *m)
{
    for (guint i = m->nodes->len; i-- > 0;) {
        bdrv_unquiesce(m->nodes->pdata[i]);
    }
}

/* The graph does not change during a move, although the loop is polled. */
static bool moving;

bool bdrv_context_moving(void)
{
    return moving;
}

static void move(Connected *m, AioContext *from)
{
    g_assert(!moving);
    moving = true;
    aio_context_run(from, leave, m);
    set_context(m);
    aio_context_run(m->to, arrive, m);
    moving = false;
}

/* Nodes and users may have been added or removed during the wait. */
static bool is_current(const Connected *m, BlockDriverState *bs)
{
    g_auto(Connected) now;

    connected_init(&now, m->to);
    collect(bs, &now);
    if (now.nodes->len != m->nodes->len || now.users->len != m->users->len) {
        return false;
    }
    for (guint i = 0; i < now.nodes->len; i++) {
        if (!g_hash_table_contains(m->seen, now.nodes->pdata[i])) {
            return false;
        }
    }
    for (guint i = 0; i < now.users->len; i++) {
        if (now.users->pdata[i] != m->users->pdata[i]) {
            return false;
        }
    }
    return true;
}

/* One attempt.  False: the set of connected nodes has changed meanwhile. */
static bool try_move(BlockDriverState *bs, Connected *m)
{
    bool ok;

    /* No job ends and no command is executed meanwhile, even if the caller is
     * not a handler. */
    aio_nest_begin();
    quiesce_all(m);
    AIO_WAIT_WHILE(any_busy(m));
    ok = is_current(m, bs);
    if (ok && bs->ctx != m->to) {
        move(m, bs->ctx);
    }
    unquiesce_all(m);
    aio_nest_end();
    return ok;
}

bool bdrv_try_set_aio_context(BlockDriverState *bs, AioContext *ctx,
                              Error **errp)
{
    bool done = false;

    g_assert(aio_is_exclusive() && !in_coroutine());
    while (!done && bs->ctx != ctx) {
        g_auto(Connected) m;

        connected_init(&m, ctx);
        collect(bs, &m);
        if (!all_may_move(&m, bs, errp)) {
            return false;
        }
        done = try_move(bs, &m);
    }
    return true;
}

/* --- edges between threads --- */

static bool has_users(BlockDriverState *bs)
{
    g_auto(Connected) m;

    connected_init(&m, NULL);
    collect(bs, &m);
    return m.users->len > 0;
}

bool bdrv_join_aio_context(BlockDriverState *bs, BlockDriverState *other,
                           Error **errp)
{
    if (bs->ctx == other->ctx) {
        return true;
    }
    if (!has_users(bs)) {
        return bdrv_try_set_aio_context(bs, other->ctx, errp);
    }
    if (!has_users(other)) {
        return bdrv_try_set_aio_context(other, bs->ctx, errp);
    }
    return bdrv_try_set_aio_context(other, bs->ctx, NULL) ||
           bdrv_try_set_aio_context(bs, other->ctx, errp);
}

void bdrv_leave_aio_context(BlockDriverState *bs)
{
    if (bs->ctx != aio_main_context() && !has_users(bs)) {
        bdrv_try_set_aio_context(bs, aio_main_context(), NULL);
    }
}
