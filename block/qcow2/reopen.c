/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changing options in place.  On becoming read-only all is written back and
 * the bitmaps are stored while the file may still be written; on becoming
 * writable the image gets what opening it for writing would have done.
 */
#include "qemu/osdep.h"

#include "block/qcow2/qcow2-int.h"

typedef struct Qcow2Reopen {
    bool stored; /* bitmaps were stored and made read-only */
} Qcow2Reopen;

static void set_bitmaps_readonly(BlockDriverState *bs, bool readonly)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_name(bitmap) &&
            bdrv_dirty_bitmap_persistent(bitmap)) {
            bdrv_dirty_bitmap_set_readonly(bitmap, readonly);
        }
    }
}

/* A bitmap that a job holds cannot be stored: part of it is elsewhere. */
static bool bitmaps_idle(BlockDriverState *bs, Error **errp)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_name(bitmap) &&
            bdrv_dirty_bitmap_persistent(bitmap) &&
            !bdrv_dirty_bitmap_is_skip_store(bitmap) &&
            bdrv_dirty_bitmap_busy(bitmap)) {
            error_setg(errp, "Cannot make node '%s' read-only: bitmap '%s' "
                       "is in use by another operation", bs->node_name,
                       bdrv_dirty_bitmap_name(bitmap));
            return false;
        }
    }
    return true;
}

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

static int become_read_only(BlockDriverState *bs, Qcow2Reopen *r, Error **errp)
{
    CleanCall call = { bs, 0 };

    if (!bitmaps_idle(bs, errp) || !qcow2_store_bitmaps(bs, false, errp)) {
        return -EINVAL;
    }
    aio_run_co(clean_entry, &call);
    if (call.ret < 0) {
        error_setg_errno(errp, -call.ret, "Could not write back the metadata "
                         "of node '%s'", bs->node_name);
        (void)qcow2_mark_bitmaps_in_use(bs, NULL);
        return call.ret;
    }
    set_bitmaps_readonly(bs, true);
    r->stored = true;
    return 0;
}

int qcow2_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    BlockDriverState *bs = state->bs;
    Qcow2State *s = bs->opaque;
    g_autofree Qcow2Reopen *r = g_new0(Qcow2Reopen, 1);
    int ret = 0;

    if (!state->read_only && (s->incompatible & QCOW2_INCOMPAT_CORRUPT)) {
        error_setg(errp, "qcow2: Image is corrupt; cannot be opened "
                   "read/write");
        return -EACCES;
    }
    if (!qcow2_apply_options(bs, state->options, errp)) {
        return -EINVAL;
    }
    if (state->read_only && s->writable) {
        ret = become_read_only(bs, r, errp);
    }
    if (ret < 0) {
        (void)qcow2_apply_options(bs, bs->options, NULL);
        return ret;
    }
    state->opaque = g_steal_pointer(&r);
    return 0;
}

void qcow2_reopen_commit(BdrvReopenState *state)
{
    Qcow2Reopen *r = state->opaque;
    Qcow2State *s = state->bs->opaque;

    if (r->stored) {
        s->writable = false;
    }
    g_free(r);
    state->opaque = NULL;
}

void qcow2_reopen_abort(BdrvReopenState *state)
{
    BlockDriverState *bs = state->bs;
    Qcow2Reopen *r = state->opaque;
    Error *err = NULL;

    (void)qcow2_apply_options(bs, bs->options, NULL);
    if (r->stored) {
        set_bitmaps_readonly(bs, false);
        if (!qcow2_mark_bitmaps_in_use(bs, &err)) {
            error_report_err(err);
        }
    }
    g_free(r);
    state->opaque = NULL;
}

/*
 * The file may be written now.  Where it cannot be marked, bitmaps stay
 * read-only: then the first write makes them differ from what they say, so
 * they become inconsistent, in plain sight.
 */
void qcow2_reopen_commit_post(BdrvReopenState *state)
{
    BlockDriverState *bs = state->bs;
    Qcow2State *s = bs->opaque;
    Error *err = NULL;

    if (state->read_only || s->writable) {
        return;
    }
    if (!qcow2_make_writable(bs, &err)) {
        BdrvDirtyBitmap *bitmap = NULL;

        error_prepend(&err, "%s: Failed to make dirty bitmaps writable: ",
                      bs->node_name);
        error_report_err(err);
        while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
            if (bdrv_dirty_bitmap_name(bitmap) &&
                bdrv_dirty_bitmap_persistent(bitmap)) {
                bdrv_dirty_bitmap_set_inconsistent(bitmap);
            }
        }
    }
    set_bitmaps_readonly(bs, false);
}
