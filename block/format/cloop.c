/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cloop: the images of the compressed loop device; can only be read.
 *
 *     a script (128 bytes) | block size, number of blocks | places | blocks
 *
 * Each block is a zlib stream that ends where the next one begins.  All numbers
 * are big-endian.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/mapped.h"

#define CLOOP_HEADER 128
#define CLOOP_TABLE (CLOOP_HEADER + 8)
#define CLOOP_MAX_BLOCK (64 * MiB)

typedef struct CloopState {
    MappedImage mapped;
    MapTable places;
    MapCache block;
} CloopState;

static int coroutine_fn cloop_map(BlockDriverState *bs, int64_t offset,
                                  MappedRun *run)
{
    CloopState *s = bs->opaque;

    run->kind = MAPPED_OTHER;
    run->host = offset / s->mapped.block;
    return 0;
}

static int coroutine_fn cloop_read_other(BlockDriverState *bs, int64_t offset,
                                         const MappedRun *run,
                                         QEMUIOVector *qiov,
                                         size_t qiov_offset)
{
    CloopState *s = bs->opaque;
    uint64_t at = ld64_be(s->places.raw + run->host * 8);
    uint64_t end = ld64_be(s->places.raw + run->host * 8 + 8);
    const uint8_t *data;
    int ret;

    if (end <= at || end - at > 2 * CLOOP_MAX_BLOCK) {
        return -EIO;
    }
    data = map_cache_unpack(bs, &s->block, at, end - at, s->mapped.block,
                            MAP_ZLIB, &ret);
    if (!data) {
        return ret;
    }
    qemu_iovec_from_buf(qiov, qiov_offset, data + offset - run->start,
                        run->bytes);
    return 0;
}

static const MappedOps cloop_ops = {
    .map = cloop_map,
    .read_other = cloop_read_other,
};

static int open_table(BlockDriverState *bs, uint32_t block, uint32_t blocks,
                      Error **errp)
{
    CloopState *s = bs->opaque;

    if (block == 0 || block % BDRV_SECTOR_SIZE || block > CLOOP_MAX_BLOCK) {
        error_setg(errp, "Invalid cloop block size %" PRIu32, block);
        return -EINVAL;
    }
    mapped_init(&s->mapped, &cloop_ops, (int64_t)block * blocks, block);
    return map_table_load(bs, &s->places, "cloop table", CLOOP_TABLE,
                          (blocks + 1ULL) * 8, errp);
}

static int cloop_open(BlockDriverState *bs, const BlockdevOptions *options,
                      int flags, Error **errp)
{
    static const char magic[] = "#!/bin/sh\n#V2.0 Format\n";
    CloopState *s = bs->opaque;
    uint8_t h[CLOOP_TABLE];
    int ret;

    ret = mapped_open_read_only(bs, options->u.cloop.file, "cloop", h,
                                sizeof(h), errp);
    if (ret < 0) {
        return ret;
    }
    if (memcmp(h, magic, sizeof(magic) - 1)) {
        error_setg(errp, "Image is not in cloop format");
        return -EINVAL;
    }
    ret = open_table(bs, ld32_be(h + CLOOP_HEADER),
                     ld32_be(h + CLOOP_HEADER + 4), errp);
    if (ret < 0) {
        map_table_free(&s->places);
    }
    return ret;
}

static void cloop_close(BlockDriverState *bs)
{
    CloopState *s = bs->opaque;

    map_table_free(&s->places);
    map_cache_free(&s->block);
}

extern const BlockDriver bdrv_cloop;

const BlockDriver bdrv_cloop = {
    .format_name = "cloop",
    .instance_size = sizeof(CloopState),
    .is_format = true,
    .open = cloop_open,
    .close = cloop_close,
    .reopen_prepare = mapped_stay_read_only,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_block_status = mapped_co_block_status,
    .getlength = mapped_getlength,
};
