/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long requests wait for a server that does not answer. */
#include "qemu/osdep.h"
#include "block/graph-int.h"
#include "block/node-int.h"
#include "block/silence.h"
#include "block/throttle-group.h"
#include "qemu/yank.h"

#define NS_PER_S INT64_C(1000000000)
/*
 * A server that makes much data durable may answer late: a flush at the close
 * of a node gets more time than a cancelled request.  A program that ends is
 * usually killed if it takes much longer than this.
 */
#define AWAITED (30 * NS_PER_S)
#define ENDING (10 * NS_PER_S)

static bool awaited_limited, ending;

void bdrv_abandon_begin(BlockDriverState *bs)
{
    g_assert(aio_is_exclusive());
    bdrv_node(bs)->abandoned++;
}

void bdrv_abandon_end(BlockDriverState *bs)
{
    g_assert(aio_is_exclusive() && bdrv_node(bs)->abandoned > 0);
    bdrv_node(bs)->abandoned--;
}

void bdrv_await_begin(BlockDriverState *bs)
{
    g_assert(aio_is_exclusive());
    bdrv_node(bs)->awaited++;
}

void bdrv_await_end(BlockDriverState *bs)
{
    g_assert(aio_is_exclusive() && bdrv_node(bs)->awaited > 0);
    bdrv_node(bs)->awaited--;
}

void bdrv_limit_awaited(void)
{
    awaited_limited = true;
}

void bdrv_hurry(bool cut)
{
    YankEntry *entry = NULL;

    g_assert(aio_is_exclusive());
    ending = true;
    throttle_groups_release();
    bdrv_cancel_opening();
    while (cut && (entry = yank_next(entry))) {
        if (yank_kind(entry) == YANK_BLOCK_NODE) {
            yank_cut(entry);
        }
    }
}

/*
 * Users of a node wait for its children, but for the backing file: that may
 * have other users, who are not to lose their server.
 */
static int64_t max_silence(const BlockDriverState *bs, GHashTable *seen)
{
    const BdrvNode *node = bdrv_node(bs);
    int64_t limit = INT64_MAX;
    const BdrvChild *c;

    if (!g_hash_table_add(seen, (void *)bs)) {
        return limit;
    }
    if (node->abandoned) {
        return BDRV_SILENCE_ABANDONED;
    }
    if (node->awaited && awaited_limited) {
        limit = AWAITED;
    }
    LIST_FOREACH(c, &node->parents, next_parent) {
        if (c->klass->parent_is_bs && !(c->role & BDRV_CHILD_COW)) {
            int64_t above = max_silence(c->opaque, seen);

            limit = MIN(limit, above);
        }
    }
    return limit;
}

int64_t bdrv_max_silence(const BlockDriverState *bs)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    int64_t limit = max_silence(bs, seen);

    return ending ? MIN(limit, ENDING) : limit;
}
