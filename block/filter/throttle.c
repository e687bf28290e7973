/* SPDX-License-Identifier: GPL-2.0-or-later */
/* throttle: requests wait as the limits of a throttle group say. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/throttle-group.h"

typedef struct ThrottleFilter {
    ThrottleMember member;
} ThrottleFilter;

static int throttle_open(BlockDriverState *bs, const BlockdevOptions *options,
                         int flags, Error **errp)
{
    const BlockdevOptionsThrottle *o = &options->u.throttle;
    ThrottleFilter *s = bs->opaque;

    if (!bdrv_open_child(bs, o->file, "file",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp) ||
        !throttle_member_join(&s->member, o->throttle_group, errp)) {
        return -EINVAL;
    }
    return 0;
}

static void throttle_close(BlockDriverState *bs)
{
    ThrottleFilter *s = bs->opaque;

    throttle_member_leave(&s->member);
}

/* The node is drained: no request waits in the old group. */
static int throttle_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    const char *name = state->options->u.throttle.throttle_group;

    if (!throttle_group_find(name)) {
        error_setg(errp, "Throttle group '%s' does not exist", name);
        return -EINVAL;
    }
    return 0;
}

static void throttle_reopen_commit(BdrvReopenState *state)
{
    ThrottleFilter *s = state->bs->opaque;

    throttle_member_leave(&s->member);
    throttle_member_join(&s->member,
                         state->options->u.throttle.throttle_group,
                         &error_abort);
}

static void throttle_let_go(BlockDriverState *bs)
{
    ThrottleFilter *s = bs->opaque;

    throttle_member_let_go(&s->member);
}

/* A drain of a node above waits for requests on this node, too. */
static void coroutine_fn wait_for_turn(BlockDriverState *bs, bool is_write,
                                       int64_t bytes)
{
    ThrottleFilter *s = bs->opaque;

    throttle_member_wait(&s->member, is_write, bytes, bdrv_is_awaited(bs));
}

static int coroutine_fn throttle_co_preadv(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           QEMUIOVector *qiov,
                                           size_t qiov_offset,
                                           BdrvRequestFlags flags)
{
    wait_for_turn(bs, false, bytes);
    return bdrv_co_preadv(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn throttle_co_pwritev(BlockDriverState *bs,
                                            int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov,
                                            size_t qiov_offset,
                                            BdrvRequestFlags flags)
{
    wait_for_turn(bs, true, bytes);
    return bdrv_co_pwritev(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

static int coroutine_fn throttle_co_pwritev_compressed(BlockDriverState *bs,
                                                       int64_t offset,
                                                       int64_t bytes,
                                                       QEMUIOVector *qiov,
                                                       size_t qiov_offset)
{
    return throttle_co_pwritev(bs, offset, bytes, qiov, qiov_offset,
                               BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn throttle_co_pwrite_zeroes(BlockDriverState *bs,
                                                  int64_t offset,
                                                  int64_t bytes,
                                                  BdrvRequestFlags flags)
{
    wait_for_turn(bs, true, bytes);
    return bdrv_co_pwrite_zeroes(bs->file, offset, bytes, flags);
}

static int coroutine_fn throttle_co_pdiscard(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes)
{
    wait_for_turn(bs, true, bytes);
    return bdrv_co_pdiscard(bs->file, offset, bytes);
}

extern const BlockDriver bdrv_throttle;

const BlockDriver bdrv_throttle = {
    .format_name = "throttle",
    .instance_size = sizeof(ThrottleFilter),
    .is_filter = true,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .open = throttle_open,
    .close = throttle_close,
    .reopen_prepare = throttle_reopen_prepare,
    .reopen_commit = throttle_reopen_commit,
    .child_change = bdrv_child_change_filter,
    .let_go = throttle_let_go,
    .co_preadv = throttle_co_preadv,
    .co_pwritev = throttle_co_pwritev,
    .co_pwritev_compressed = throttle_co_pwritev_compressed,
    .co_pwrite_zeroes = throttle_co_pwrite_zeroes,
    .co_pdiscard = throttle_co_pdiscard,
};
