/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Checking an image for inconsistencies. */
#include "qemu/osdep.h"
#include "block/graph-int.h"
#include "block/io.h"

typedef struct CheckCall {
    BlockDriverState *bs;
    BdrvCheckResult *result;
    int fix;
    int ret;
} CheckCall;

static void coroutine_fn bdrv_check_entry(void *opaque)
{
    CheckCall *call = opaque;

    bdrv_inc_in_flight(call->bs);
    call->ret = call->bs->drv->co_check(call->bs, call->result, call->fix);
    bdrv_dec_in_flight(call->bs);
}

int bdrv_check(BlockDriverState *bs, BdrvCheckResult *result, int fix)
{
    CheckCall call = {.bs = bs, .result = result, .fix = fix};

    memset(result, 0, sizeof(*result));
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (!bs->drv->co_check) {
        return -ENOTSUP;
    }
    aio_run_co(bs->ctx, bdrv_check_entry, &call);
    return call.ret;
}
