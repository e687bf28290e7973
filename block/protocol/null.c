/* SPDX-License-Identifier: GPL-2.0-or-later */
/* null-co and null-aio: disks without storage, for measurements and tests. */
#include "qemu/osdep.h"
#include "block/io.h"

typedef struct NullState {
    int64_t size;
    int64_t latency_ns;
    bool read_zeroes;
} NullState;

static bool null_parse_filename(const char *filename,
                                BlockdevOptions *options, Error **errp)
{
    const char *rest = strchr(filename, ':');

    /* All parameters are options of the driver. */
    if (!rest || strcmp(rest, "://")) {
        error_setg(errp, "The only allowed filename for this driver is "
                   "'%s://'", BlockdevDriver_str(options->driver));
        return false;
    }
    return true;
}

static int null_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    NullState *s = bs->opaque;
    const BlockdevOptionsNull *o =
        options->driver == BLOCKDEV_DRIVER_NULL_AIO ? &options->u.null_aio
                                                    : &options->u.null_co;

    if (o->size < 0 || o->size > BDRV_MAX_LENGTH) {
        error_setg(errp, "size %" PRId64 " is out of range", o->size);
        return -EINVAL;
    }
    if (o->latency_ns > INT64_MAX) {
        error_setg(errp, "latency-ns %" PRIu64 " is too large",
                   o->latency_ns);
        return -EINVAL;
    }
    s->size = o->size;
    s->latency_ns = o->latency_ns;
    s->read_zeroes = o->read_zeroes;
    return 0;
}

static int coroutine_fn null_wait(BlockDriverState *bs)
{
    const NullState *s = bs->opaque;

    if (s->latency_ns) {
        co_sleep_ns(s->latency_ns);
    }
    return 0;
}

static int coroutine_fn null_co_preadv(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       size_t qiov_offset,
                                       BdrvRequestFlags flags)
{
    const NullState *s = bs->opaque;

    if (s->read_zeroes) {
        qemu_iovec_memset(qiov, qiov_offset, 0, bytes);
    }
    return null_wait(bs);
}

static int coroutine_fn null_co_pwritev(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset,
                                        BdrvRequestFlags flags)
{
    return null_wait(bs);
}

static int coroutine_fn null_co_pwrite_zeroes(BlockDriverState *bs,
                                              int64_t offset, int64_t bytes,
                                              BdrvRequestFlags flags)
{
    return null_wait(bs);
}

static int coroutine_fn null_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes)
{
    return null_wait(bs);
}

static int coroutine_fn null_co_block_status(BlockDriverState *bs,
                                             bool want_zero, int64_t offset,
                                             int64_t bytes, int64_t *pnum,
                                             int64_t *map,
                                             BlockDriverState **file)
{
    const NullState *s = bs->opaque;

    *pnum = bytes;
    *map = offset;
    *file = bs;
    return BDRV_BLOCK_OFFSET_VALID |
           (s->read_zeroes ? BDRV_BLOCK_ZERO : BDRV_BLOCK_DATA);
}

static int64_t null_getlength(BlockDriverState *bs)
{
    const NullState *s = bs->opaque;

    return s->size;
}

static int64_t null_get_allocated_file_size(BlockDriverState *bs)
{
    return 0;
}

static bool null_has_zero_init(BlockDriverState *bs)
{
    const NullState *s = bs->opaque;

    return s->read_zeroes;
}

/* The latency does not affect the content. */
static const char *const null_strong_options[] = {
    "size", "read-zeroes", NULL,
};

#define NULL_DRIVER(name) \
    { \
        .format_name = name, \
        .protocol_name = name, \
        .instance_size = sizeof(NullState), \
        .strong_options = null_strong_options, \
        .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED, \
        .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP | \
                                BDRV_REQ_NO_FALLBACK, \
        .parse_filename = null_parse_filename, \
        .open = null_open, \
        .co_preadv = null_co_preadv, \
        .co_pwritev = null_co_pwritev, \
        .co_pwrite_zeroes = null_co_pwrite_zeroes, \
        .co_pdiscard = null_co_pdiscard, \
        .co_flush = null_wait, \
        .co_block_status = null_co_block_status, \
        .getlength = null_getlength, \
        .get_allocated_file_size = null_get_allocated_file_size, \
        .has_zero_init = null_has_zero_init, \
    }

extern const BlockDriver bdrv_null_co, bdrv_null_aio;

const BlockDriver bdrv_null_co = NULL_DRIVER("null-co");
const BlockDriver bdrv_null_aio = NULL_DRIVER("null-aio");
