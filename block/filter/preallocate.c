/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * preallocate: a write past the end of the child makes the child larger than
 * needed, by zeroes, so that many small growths cost one.
 *
 *     0              data_end      zero_start          file_end
 *     |---- data -----|----- - - - ---|---- zeroes -----|
 *
 *     data_end     the size that the node shows
 *     zero_start   from here on the child reads as zeroes: no write, whether it
 *                  completed or not, went further
 *     file_end     the size of the child
 *
 * The three are kept (`ahead`) from the first growth until the surplus, from
 * data_end on, is truncated away.  That is done when the size changes, when the
 * node becomes read-only, when its parents give up the permission to write and
 * to resize, and at the latest when it is closed.  While a parent has this
 * permission no other node may write or resize the child.
 *
 * Growing writes zeroes between file_end and the new end.  A write that goes
 * past file_end either waits for that and lies within the new end, or, if
 * growing fails, keeps the lock until it has made the child larger itself.  So
 * a growth never overwrites the data of another request.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"

#define WRITE_AND_RESIZE ((uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE))

typedef struct PreallocState {
    /* --- main thread; changed by reopen only --- */
    int64_t align, size; /* bytes; options */

    /* --- the context's thread --- */
    CoMutex lock;     /* of those that move file_end by a write */
    bool ahead;       /* the following are valid */
    bool unsupported; /* the child cannot write zeroes quickly */
    bool uncertain;   /* a growth failed: the file may exceed file_end */
    int64_t data_end, zero_start, file_end;
} PreallocState;

/* --- options --- */

static bool check_options(const BlockdevOptionsPreallocate *o, Error **errp)
{
    if (o->prealloc_size < 0 || o->prealloc_size > BDRV_MAX_LENGTH) {
        error_setg(errp, "prealloc-size of the preallocate filter must be "
                   "between 0 and %" PRId64, BDRV_MAX_LENGTH);
        return false;
    }
    if (o->prealloc_align < 0 || o->prealloc_align > BDRV_MAX_LENGTH) {
        error_setg(errp, "prealloc-align of the preallocate filter must be "
                   "between 0 and %" PRId64, BDRV_MAX_LENGTH);
        return false;
    }
    if (!IS_ALIGNED(o->prealloc_align, BDRV_SECTOR_SIZE)) {
        error_setg(errp, "prealloc-align parameter of preallocate filter is "
                   "not aligned to %d", BDRV_SECTOR_SIZE);
        return false;
    }
    return true;
}

static void apply_options(PreallocState *s,
                          const BlockdevOptionsPreallocate *o)
{
    s->align = MAX(o->prealloc_align, 1);
    s->size = o->prealloc_size;
}

/* --- growing --- */

/* The end of the child after a growth for a write up to @end. */
static int64_t end_ahead(const PreallocState *s, int64_t end)
{
    int64_t rest;

    if (s->size > BDRV_MAX_LENGTH - end) {
        return end;
    }
    end += s->size;
    rest = end % s->align;
    return rest && s->align - rest <= BDRV_MAX_LENGTH - end
        ? end + s->align - rest : end;
}

static void begin_ahead(BlockDriverState *bs)
{
    PreallocState *s = bs->opaque;

    if (!s->ahead) {
        s->data_end = s->zero_start = s->file_end = bs->file->bs->total_bytes;
        s->ahead = true;
    }
}

/* A failure is no error: the write itself makes the child larger then. */
static void coroutine_fn grow(BlockDriverState *bs, int64_t end)
{
    PreallocState *s = bs->opaque;
    int64_t new_end = end_ahead(s, end);
    int ret;

    if (s->unsupported) {
        return;
    }
    ret = bdrv_co_pwrite_zeroes(bs->file, s->file_end, new_end - s->file_end,
                                BDRV_REQ_NO_FALLBACK);
    if (ret == 0) {
        s->file_end = new_end;
    } else if (ret == -ENOTSUP) {
        s->unsupported = true;
    } else {
        s->uncertain = true;
    }
}

typedef struct Write {
    int64_t offset, bytes;
    QEMUIOVector *qiov; /* NULL: zeroes */
    size_t qiov_offset;
    BdrvRequestFlags flags;
} Write;

/* What is to be zero may be zero already. */
static bool is_done(const PreallocState *s, const Write *w)
{
    return !w->qiov && w->offset >= s->zero_start &&
           w->offset + w->bytes <= s->file_end && !(w->flags & BDRV_REQ_FUA);
}

static int coroutine_fn pass_on(BlockDriverState *bs, const Write *w)
{
    if (!w->qiov) {
        return bdrv_co_pwrite_zeroes(bs->file, w->offset, w->bytes, w->flags);
    }
    return bdrv_co_pwritev(bs->file, w->offset, w->bytes, w->qiov,
                           w->qiov_offset, w->flags);
}

static int coroutine_fn submit(BlockDriverState *bs, const Write *w)
{
    PreallocState *s = bs->opaque;
    int64_t end = w->offset + w->bytes;
    int ret = 0;

    if (!is_done(s, w)) {
        s->zero_start = MAX(s->zero_start, end);
        ret = pass_on(bs, w);
    }
    if (ret == 0) {
        s->data_end = MAX(s->data_end, end);
        s->file_end = MAX(s->file_end, end);
    }
    return ret;
}

static int coroutine_fn write_past_end(BlockDriverState *bs, const Write *w)
{
    PreallocState *s = bs->opaque;
    int64_t end = w->offset + w->bytes;
    int ret;

    co_mutex_lock(&s->lock);
    if (end > s->file_end) {
        grow(bs, end);
    }
    if (end > s->file_end && !s->unsupported) {
        ret = submit(bs, w);
        co_mutex_unlock(&s->lock);
        return ret;
    }
    co_mutex_unlock(&s->lock);
    return submit(bs, w);
}

static int coroutine_fn write_ahead(BlockDriverState *bs, const Write *w)
{
    PreallocState *s = bs->opaque;
    int64_t end = w->offset + w->bytes;

    if (!s->ahead && end <= bs->file->bs->total_bytes) {
        return pass_on(bs, w);
    }
    begin_ahead(bs);
    return end > s->file_end ? write_past_end(bs, w) : submit(bs, w);
}

static int coroutine_fn prealloc_co_pwritev(BlockDriverState *bs,
                                            int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov,
                                            size_t qiov_offset,
                                            BdrvRequestFlags flags)
{
    return write_ahead(bs, &(Write) { offset, bytes, qiov, qiov_offset,
                                      flags });
}

static int coroutine_fn prealloc_co_pwrite_zeroes(BlockDriverState *bs,
                                                  int64_t offset,
                                                  int64_t bytes,
                                                  BdrvRequestFlags flags)
{
    return write_ahead(bs, &(Write) { offset, bytes, NULL, 0, flags });
}

/* --- truncating --- */

/* Truncates the surplus away; then the node shows the child as it is. */
static int coroutine_fn prealloc_co_end(BlockDriverState *bs, Error **errp)
{
    PreallocState *s = bs->opaque;
    int ret = 0;

    if (s->ahead && (s->uncertain || s->file_end > s->data_end)) {
        ret = bdrv_co_truncate(bs->file, s->data_end, true, PREALLOC_MODE_OFF,
                               0, errp);
    }
    if (ret == 0) {
        s->ahead = s->uncertain = false;
    }
    return ret;
}

typedef struct EndCall {
    BlockDriverState *bs;
    Error **errp;
    int ret;
} EndCall;

static void coroutine_fn end_entry(void *opaque)
{
    EndCall *call = opaque;

    call->ret = prealloc_co_end(call->bs, call->errp);
}

/* The same in the main thread. */
static int prealloc_end(BlockDriverState *bs, Error **errp)
{
    const PreallocState *s = bs->opaque;
    EndCall call = { .bs = bs, .errp = errp };

    if (s->ahead) {
        aio_run_co(bs->ctx, end_entry, &call);
    }
    if (call.ret < 0) {
        error_prepend(errp, "Could not truncate the preallocated space of "
                      "node '%s': ", bs->node_name);
    }
    return call.ret;
}

/* May the node become larger without a request to the child? */
static bool has_room(const PreallocState *s, int64_t size,
                     PreallocMode prealloc)
{
    return s->ahead && size >= s->data_end && size <= s->file_end &&
           s->zero_start <= s->data_end &&
           (prealloc == PREALLOC_MODE_OFF || prealloc == PREALLOC_MODE_FALLOC);
}

static int coroutine_fn prealloc_co_truncate(BlockDriverState *bs,
                                             int64_t offset, bool exact,
                                             PreallocMode prealloc,
                                             BdrvRequestFlags flags,
                                             Error **errp)
{
    PreallocState *s = bs->opaque;
    int ret = 0;

    if (has_room(s, offset, prealloc)) {
        s->data_end = offset;
        return 0;
    }
    if (!s->ahead || offset > s->data_end) {
        ret = prealloc_co_end(bs, errp);
    }
    if (ret == 0) {
        ret = bdrv_co_truncate(bs->file, offset, exact, prealloc, flags,
                               errp);
    }
    if (ret == 0) {
        s->ahead = s->uncertain = false;
    }
    return ret;
}

static int64_t prealloc_getlength(BlockDriverState *bs)
{
    const PreallocState *s = bs->opaque;

    return s->ahead ? s->data_end : bdrv_getlength(bs->file->bs);
}

/* The file still changes when the node is closed. */
static int prealloc_get_identity(BlockDriverState *bs, bool durable,
                                 BdrvIdentity *id)
{
    return -ENOTSUP;
}

/* --- permissions --- */

static bool may_grow(uint64_t perm)
{
    return (perm & WRITE_AND_RESIZE) == WRITE_AND_RESIZE;
}

static void prealloc_child_perm(BlockDriverState *bs, BdrvChild *child,
                                BdrvChildRole role, uint64_t perm,
                                uint64_t shared, uint64_t *nperm,
                                uint64_t *nshared)
{
    bdrv_default_perms(bs, child, role, perm, shared, nperm, nshared);
    if (may_grow(perm)) {
        *nshared &= ~WRITE_AND_RESIZE;
    }
}

/*
 * Called before the permissions of the edge to the child change.  If the
 * surplus cannot be truncated the edge keeps them, and close tries again.
 */
static int prealloc_check_perm(BlockDriverState *bs, uint64_t perm,
                               uint64_t shared, Error **errp)
{
    return may_grow(perm) ? 0 : prealloc_end(bs, errp);
}

/* --- life --- */

static int prealloc_open(BlockDriverState *bs, const BlockdevOptions *options,
                         int flags, Error **errp)
{
    const BlockdevOptionsPreallocate *o = &options->u.preallocate;
    PreallocState *s = bs->opaque;

    if (!check_options(o, errp) ||
        !bdrv_open_child(bs, o->file, "file",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        return -EINVAL;
    }
    co_mutex_init(&s->lock);
    apply_options(s, o);
    return 0;
}

static void prealloc_close(BlockDriverState *bs)
{
    Error *err = NULL;

    if (prealloc_end(bs, &err) < 0) {
        bdrv_close_error(bs, err);
    }
}

static int prealloc_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    if (!check_options(&state->options->u.preallocate, errp)) {
        return -EINVAL;
    }
    return state->bs->read_only ? prealloc_end(state->bs, errp) : 0;
}

static void prealloc_reopen_commit(BdrvReopenState *state)
{
    apply_options(state->bs->opaque, &state->options->u.preallocate);
}

/* Another child may be able to do what the old one was not. */
static BdrvConsent prealloc_child_change(BlockDriverState *bs,
                                         const BdrvChildChange *change,
                                         Transaction *tran, Error **errp)
{
    PreallocState *s = bs->opaque;

    if (change->new_bs && change->new_bs != change->old_bs &&
        prealloc_end(bs, errp) < 0) {
        return BDRV_REFUSE;
    }
    s->unsupported = false;
    return bdrv_child_change_filter(bs, change, tran, errp);
}

static const char *const prealloc_mutable_options[] = {
    "prealloc-align", "prealloc-size", NULL
};

extern const BlockDriver bdrv_preallocate;

/* Only the child matters to what is read. */
static const char *const prealloc_strong_options[] = { "file", NULL };

const BlockDriver bdrv_preallocate = {
    .format_name = "preallocate",
    .instance_size = sizeof(PreallocState),
    .is_filter = true,
    .strong_options = prealloc_strong_options,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .mutable_options = prealloc_mutable_options,
    .open = prealloc_open,
    .close = prealloc_close,
    .reopen_prepare = prealloc_reopen_prepare,
    .reopen_commit = prealloc_reopen_commit,
    .child_perm = prealloc_child_perm,
    .check_perm = prealloc_check_perm,
    .child_change = prealloc_child_change,
    .co_pwritev = prealloc_co_pwritev,
    .co_pwrite_zeroes = prealloc_co_pwrite_zeroes,
    .co_truncate = prealloc_co_truncate,
    .getlength = prealloc_getlength,
    .get_identity = prealloc_get_identity,
};
