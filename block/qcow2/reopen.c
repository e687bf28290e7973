/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing options in place.  Before becoming read-only all is written back,
 * while the file may still be written; on becoming writable the image is
 * prepared as on opening it for writing.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/qcow2/cache-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

typedef struct CleanCall {
    BlockDriverState *bs;
    int ret;
} CleanCall;

static void coroutine_fn clean_entry(void *opaque)
{
    CleanCall *call = opaque;
    Qcow2State *s = call->bs->opaque;

    CO_MUTEX_GUARD(&s->lock);
    call->ret = qcow2_make_clean(call->bs);
}

/* The bitmaps have been stored. */
static int become_read_only(BlockDriverState *bs, Error **errp)
{
    CleanCall call = { bs, 0 };

    aio_run_co(bs->ctx, clean_entry, &call);
    if (call.ret < 0) {
        error_setg_errno(errp, -call.ret, "Could not write back the metadata "
                         "of node '%s'", bs->node_name);
    }
    return call.ret;
}

static void coroutine_fn write_entry(void *opaque)
{
    CleanCall *call = opaque;
    Qcow2State *s = call->bs->opaque;

    CO_MUTEX_GUARD(&s->lock);
    call->ret = qcow2_write_metadata(call->bs);
}

/* A cache with entries of another size takes the place of the present one, of
 * which nothing may be left to be written. */
static int prepare_cache(BlockDriverState *bs, const BlockdevOptions *options,
                         Error **errp)
{
    Qcow2State *s = bs->opaque;
    CleanCall call = { bs, 0 };

    if (qcow2_l2_entry_size(s, &options->u.qcow2) ==
        qcow2_cache_entry_size(s->l2_cache)) {
        return 0;
    }
    aio_run_co(bs->ctx, write_entry, &call);
    if (call.ret < 0) {
        error_setg_errno(errp, -call.ret, "Could not write back the metadata "
                         "of node '%s'", bs->node_name);
    }
    return call.ret;
}

int qcow2_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    BlockDriverState *bs = state->bs;
    Qcow2State *s = bs->opaque;
    int ret = 0;

    if (!bs->read_only && (s->incompatible & QCOW2_INCOMPAT_CORRUPT)) {
        error_setg(errp, "qcow2: Image is corrupt; cannot be opened "
                   "read/write");
        return -EACCES;
    }
    ret = prepare_cache(bs, state->options, errp);
    if (ret < 0) {
        return ret;
    }
    if (!qcow2_apply_options(bs, state->options, errp)) {
        return -EINVAL;
    }
    if (bs->read_only && s->writable) {
        ret = become_read_only(bs, errp);
    }
    if (ret < 0) {
        (void)qcow2_apply_options(bs, bs->options, NULL);
    }
    return ret;
}

void qcow2_reopen_commit(BdrvReopenState *state)
{
    Qcow2State *s = state->bs->opaque;

    s->writable &= !state->bs->read_only;
}

void qcow2_reopen_abort(BdrvReopenState *state)
{
    (void)qcow2_apply_options(state->bs, state->bs->options, NULL);
}

/* The file is writable now; if this fails, no write is permitted. */
void qcow2_reopen_commit_post(BdrvReopenState *state)
{
    BlockDriverState *bs = state->bs;
    Qcow2State *s = bs->opaque;
    Error *err = NULL;

    if (!bs->read_only && !s->writable && !qcow2_make_writable(bs, &err)) {
        error_report_err(err);
    }
}
