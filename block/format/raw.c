/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw: the child as it is, or a part of it.
 *
 * An image that is raw only because nothing else was recognised is guarded: a
 * guest that writes the header of another format into its first sector would
 * make the next probe see that format, with whatever backing file the guest
 * likes.  Such writes fail with EPERM.
 */
#include "qemu/osdep.h"
#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/request.h"
#include "qapi/qapi-types-block-image.h"

/* The sector that format probing examines. */
#define RAW_GUARD_BYTES 512

typedef struct RawState {
    int64_t offset;
    int64_t size;
    bool has_size;
} RawState;

/* --- open --- */

static int raw_read_options(const BlockDriverState *file,
                            const BlockdevOptionsRaw *o, RawState *s,
                            Error **errp)
{
    int64_t real = file->total_bytes;

    *s = (RawState) { .offset = o->offset, .has_size = o->has_size };
    if (o->offset < 0 || (o->has_size && o->size < 0)) {
        error_setg(errp, "Parameter '%s' expects a non-negative number below "
                   "2^64", o->offset < 0 ? "offset" : "size");
        return -EINVAL;
    }
    if (s->offset > real) {
        error_setg(errp, "Offset (%" PRId64 ") cannot be greater than size of "
                   "the containing file (%" PRId64 ")", s->offset, real);
        return -EINVAL;
    }
    s->size = o->has_size ? o->size : real - s->offset;
    if (s->size > real - s->offset) {
        error_setg(errp, "The sum of offset (%" PRId64 ") and size (%" PRId64
                   ") has to be smaller or equal to the  actual size of the "
                   "containing file (%" PRId64 ")", s->offset, s->size, real);
        return -EINVAL;
    }
    if (o->has_size && o->size % BDRV_SECTOR_SIZE) {
        error_setg(errp, "Specified size is not multiple of %d",
                   (int)BDRV_SECTOR_SIZE);
        return -EINVAL;
    }
    return 0;
}

/* A node that is all of its child is a filter: users see the child itself. */
static BdrvChildRole raw_child_role(const BlockdevOptionsRaw *o)
{
    return BDRV_CHILD_PRIMARY |
           (o->offset || o->has_size ? BDRV_CHILD_DATA : BDRV_CHILD_FILTERED);
}

static int raw_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    const BlockdevOptionsRaw *o = &options->u.raw;
    int ret;

    if (!bdrv_open_child(bs, o->file, "file", raw_child_role(o), errp)) {
        return -EINVAL;
    }
    ret = raw_read_options(bs->file->bs, o, bs->opaque, errp);
    if (ret == 0 && bs->probed && !bs->read_only &&
        !(flags & BDRV_O_NO_IO)) {
        /* Test suites look for this exact text. */
        fprintf(stderr,
                "WARNING: Image format was not specified for '%s' and probing "
                "guessed raw.\n"
                "         Automatically detecting the format is dangerous for "
                "raw images, write operations on block 0 will be "
                "restricted.\n"
                "         Specify the 'raw' format explicitly to remove the "
                "restrictions.\n",
                bs->file->bs->filename && *bs->file->bs->filename
                ? bs->file->bs->filename : bs->file->bs->node_name);
    }
    return ret;
}

/* What a reopen replaces. */
typedef struct RawReopen {
    RawState state;
    BdrvChildRole role;
} RawReopen;

/* Would it matter that the node shows another part?  Bitmaps would not record
 * it, and who reads the node relies on what it has read. */
static bool raw_is_used(BlockDriverState *bs)
{
    return bdrv_next_parent(bs, NULL) || bdrv_dirty_bitmap_next(bs, NULL);
}

static bool same_options(const RawState *a, const RawState *b)
{
    return a->offset == b->offset && a->has_size == b->has_size &&
           (!a->has_size || a->size == b->size);
}

/* May @bs become what @new and @role say?  Another part only if nobody uses it;
 * of another size where block_resize may change it.  For the size of another
 * child there are rules of their own (bdrv_refresh_size_tran()). */
static bool raw_may_become(BlockDriverState *bs, const RawState *new,
                           BdrvChildRole role, Error **errp)
{
    const RawState *s = bs->opaque;

    if ((new->offset != s->offset || role != bs->file->role) &&
        raw_is_used(bs)) {
        error_setg(errp, "Node '%s' is used: it cannot show another part of "
                   "its child", bs->node_name);
        return false;
    }
    return same_options(new, s) ||
           ROUND_UP(new->size, BDRV_SECTOR_SIZE) == bs->total_bytes ||
           bdrv_op_check_resize(bs, errp);
}

/* The new state is in place at once: the size of the node follows from it. */
static int raw_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    BlockDriverState *bs = state->bs;
    const BlockdevOptionsRaw *o = &state->options->u.raw;
    BdrvChildRole role = raw_child_role(o);
    RawState *s = bs->opaque, new;
    RawReopen *old;
    int ret = raw_read_options(bs->file->bs, o, &new, errp);

    if (ret < 0) {
        return ret;
    }
    if (!raw_may_become(bs, &new, role, errp)) {
        return -EBUSY;
    }
    state->opaque = old = g_new(RawReopen, 1);
    *old = (RawReopen) { .state = *s, .role = bs->file->role };
    bs->file->role = role; /* permissions on the child depend on it */
    *s = new;
    return 0;
}

static void raw_reopen_commit(BdrvReopenState *state)
{
    g_clear_pointer(&state->opaque, g_free);
}

static void raw_reopen_abort(BdrvReopenState *state)
{
    const RawReopen *old = state->opaque;

    *(RawState *)state->bs->opaque = old->state;
    state->bs->file->role = old->role;
    g_clear_pointer(&state->opaque, g_free);
}

/* Another child is accepted if the part lies in it; the size is updated. */
static BdrvConsent raw_child_change(BlockDriverState *bs,
                                    const BdrvChildChange *change,
                                    Transaction *tran, Error **errp)
{
    RawState unused;

    if (change->new_bs && bs->options &&
        raw_read_options(change->new_bs, &bs->options->u.raw, &unused,
                         errp) < 0) {
        return BDRV_REFUSE;
    }
    return bdrv_child_change_filter(bs, change, tran, errp);
}

/*
 * Like those of a filter, as data outside the part is not used: several parts
 * of a node may be written concurrently.  But the child must not shrink.
 */
static void raw_child_perm(BlockDriverState *bs, BdrvChild *child,
                           BdrvChildRole role, uint64_t perm, uint64_t shared,
                           uint64_t *nperm, uint64_t *nshared)
{
    *nperm = perm;
    *nshared = shared;
    if (!(role & BDRV_CHILD_FILTERED)) {
        *nshared &= ~(uint64_t)BLK_PERM_RESIZE;
    }
}

static void raw_refresh_limits(BlockDriverState *bs, Error **errp)
{
    if (bs->probed) {
        /* The guard needs to see a whole sector. */
        bs->bl.request_alignment = RAW_GUARD_BYTES;
    }
}

/* --- I/O --- */

/* Maps a range to the child; @write: it must not exceed a fixed size. */
static int raw_translate(BlockDriverState *bs, int64_t *offset, int64_t bytes,
                         bool write)
{
    const RawState *s = bs->opaque;

    if (s->has_size && (*offset > s->size || bytes > s->size - *offset)) {
        return write ? -ENOSPC : -EINVAL;
    }
    if (*offset > BDRV_MAX_LENGTH - s->offset) {
        return -EINVAL;
    }
    *offset += s->offset;
    return 0;
}

static int coroutine_fn raw_co_preadv(BlockDriverState *bs, int64_t offset,
                                      int64_t bytes, QEMUIOVector *qiov,
                                      size_t qiov_offset,
                                      BdrvRequestFlags flags)
{
    int ret = raw_translate(bs, &offset, bytes, false);

    if (ret < 0) {
        return ret;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_READ_AIO);
    return bdrv_co_preadv(bs->file, offset, bytes, qiov, qiov_offset, flags);
}

/* Would a probe of this first sector still say raw? */
static bool still_raw(const uint8_t *sector)
{
    return !strcmp(bdrv_probe_buffer(sector, RAW_GUARD_BYTES, ""), "raw");
}

static int coroutine_fn raw_co_pwritev(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       size_t qiov_offset,
                                       BdrvRequestFlags flags)
{
    bool guarded = bs->probed && offset < RAW_GUARD_BYTES;
    uint8_t sector[RAW_GUARD_BYTES];
    QEMUIOVector checked;
    int ret;

    if (G_UNLIKELY(guarded)) {
        qemu_iovec_to_buf(qiov, qiov_offset, sector, sizeof(sector));
        if (!still_raw(sector)) {
            return -EPERM;
        }
        /* Write the data that was checked, even if the guest changes it. */
        qemu_iovec_init(&checked, qiov->niov + 1);
        qemu_iovec_add(&checked, sector, sizeof(sector));
        qemu_iovec_concat(&checked, qiov, qiov_offset + sizeof(sector),
                          bytes - sizeof(sector));
        qiov = &checked;
        qiov_offset = 0;
    }
    ret = raw_translate(bs, &offset, bytes, true);
    if (ret == 0) {
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_WRITE_AIO);
        ret = bdrv_co_pwritev(bs->file, offset, bytes, qiov, qiov_offset,
                              flags);
    }
    if (G_UNLIKELY(guarded)) {
        qemu_iovec_destroy(&checked);
    }
    return ret;
}

static int coroutine_fn raw_co_pwrite_zeroes(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             BdrvRequestFlags flags)
{
    int ret = raw_translate(bs, &offset, bytes, true);

    return ret < 0 ? ret : bdrv_co_pwrite_zeroes(bs->file, offset, bytes,
                                                 flags);
}

static int coroutine_fn raw_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes)
{
    int ret = raw_translate(bs, &offset, bytes, true);

    return ret < 0 ? ret : bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int coroutine_fn raw_co_block_status(BlockDriverState *bs,
                                            bool want_zero, int64_t offset,
                                            int64_t bytes, int64_t *pnum,
                                            int64_t *map,
                                            BlockDriverState **file)
{
    const RawState *s = bs->opaque;

    *pnum = bytes;
    *map = offset + s->offset;
    *file = bs->file->bs;
    return BDRV_BLOCK_OFFSET_VALID | BDRV_BLOCK_RAW;
}

static int coroutine_fn raw_co_host_read_begin(BlockDriverState *bs,
                                               BdrvRequest *r)
{
    int64_t offset = r->offset;
    int ret = raw_translate(bs, &offset, r->bytes, false);

    return ret < 0 ? ret : bdrv_co_host_child(r, bs->file, offset, r->bytes);
}

static int coroutine_fn raw_co_host_write_begin(BlockDriverState *bs,
                                                BdrvRequest *r)
{
    int64_t offset = r->offset;
    int ret;

    if (bs->probed && offset < RAW_GUARD_BYTES) {
        return -ENOTSUP;
    }
    ret = raw_translate(bs, &offset, r->bytes, true);
    return ret < 0 ? ret : bdrv_co_host_child(r, bs->file, offset, r->bytes);
}

static int coroutine_fn raw_co_truncate(BlockDriverState *bs, int64_t offset,
                                        bool exact, PreallocMode prealloc,
                                        BdrvRequestFlags flags, Error **errp)
{
    RawState *s = bs->opaque;
    int ret;

    if (s->has_size) {
        error_setg(errp, "Cannot resize fixed-size raw disks");
        return -ENOTSUP;
    }
    if (offset > BDRV_MAX_LENGTH - s->offset) {
        error_setg(errp, "Disk size too large for the chosen offset");
        return -EINVAL;
    }
    ret = bdrv_co_truncate(bs->file, offset + s->offset, exact, prealloc,
                           flags, errp);
    if (ret == 0) {
        s->size = offset;
    }
    return ret;
}

/* --- information --- */

static int64_t raw_getlength(BlockDriverState *bs)
{
    const RawState *s = bs->opaque;

    /* Without a `size` option the node follows the size of the child. */
    return s->has_size ? s->size
                       : MAX(bs->file->bs->total_bytes - s->offset, 0);
}

static int raw_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    BlockDriverState *file = bs->file->bs;

    return file->drv->get_info ? file->drv->get_info(file, info) : -ENOTSUP;
}

static bool raw_has_zero_init(BlockDriverState *bs)
{
    return bdrv_has_zero_init(bs->file->bs);
}

static bool raw_grows_by_zeroes(BlockDriverState *bs)
{
    return bdrv_grows_by_zeroes(bs->file->bs);
}

static BlockMeasureInfo *raw_measure(const BlockdevCreateOptions *options,
                                     BlockDriverState *in_bs, Error **errp)
{
    BlockMeasureInfo *info;
    int64_t size = in_bs ? in_bs->total_bytes : -1;

    if (options && options->driver == BLOCKDEV_DRIVER_FILE) {
        size = options->u.file.size;
    }
    if (size < 0) {
        error_setg(errp, "The size of the raw image is not known");
        return NULL;
    }
    if (size > BDRV_MAX_LENGTH) {
        error_setg(errp, "The image size is too large");
        return NULL;
    }
    info = g_new0(BlockMeasureInfo, 1);
    info->required = ROUND_UP(size, BDRV_SECTOR_SIZE);
    info->fully_allocated = info->required;
    return info;
}

extern const BlockDriver bdrv_raw;

static const char *const raw_mutable_options[] = {"offset", "size", NULL};

const BlockDriver bdrv_raw = {
    .format_name = "raw",
    .instance_size = sizeof(RawState),
    .is_format = true,
    /* The gate of the child emulates flags that its driver lacks. */
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .open = raw_open,
    .mutable_options = raw_mutable_options,
    .reopen_prepare = raw_reopen_prepare,
    .reopen_commit = raw_reopen_commit,
    .reopen_abort = raw_reopen_abort,
    .child_perm = raw_child_perm,
    .child_change = raw_child_change,
    .refresh_limits = raw_refresh_limits,
    .co_preadv = raw_co_preadv,
    .co_pwritev = raw_co_pwritev,
    .co_pwrite_zeroes = raw_co_pwrite_zeroes,
    .co_pdiscard = raw_co_pdiscard,
    .co_block_status = raw_co_block_status,
    .co_truncate = raw_co_truncate,
    .co_host_read_begin = raw_co_host_read_begin,
    .co_host_write_begin = raw_co_host_write_begin,
    .getlength = raw_getlength,
    .get_info = raw_get_info,
    .has_zero_init = raw_has_zero_init,
    .grows_by_zeroes = raw_grows_by_zeroes,
    .measure = raw_measure,
};
