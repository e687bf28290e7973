/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * parallels: the expanding disk images of Parallels; can only be read.
 *
 * A table behind the header has the place of each block: a sector, or in images
 * of the newer kind a number of blocks.  All numbers are little-endian.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/mapped.h"
#include "parallels-int.h"

#define PARALLELS_HEADER_BYTES 64

typedef struct ParallelsState {
    MappedImage mapped;
    MapTable table;
    uint64_t unit; /* bytes that entries count */
} ParallelsState;

static int coroutine_fn parallels_map(BlockDriverState *bs, int64_t offset,
                                      MappedRun *run)
{
    ParallelsState *s = bs->opaque;
    uint32_t entry = ld32_le(s->table.raw + offset / s->mapped.block * 4);

    run->kind = MAPPED_HOLE;
    if (entry) {
        run->kind = MAPPED_DATA;
        run->host = entry * s->unit + offset % s->mapped.block;
        return range_fits(entry * s->unit, s->mapped.block, INT64_MAX)
            ? 0 : -EIO;
    }
    return 0;
}

static const MappedOps parallels_ops = {
    .map = parallels_map,
};

static int check_header(BlockDriverState *bs, const uint8_t *h, Error **errp)
{
    ParallelsState *s = bs->opaque;
    bool old = !memcmp(h, "WithoutFreeSpace", 16);
    uint32_t sectors = ld32_le(h + 28), entries = ld32_le(h + 32);
    uint64_t size = old ? ld32_le(h + 36) : ld64_le(h + 36);

    if ((!old && memcmp(h, "WithouFreSpacExt", 16)) || ld32_le(h + 16) != 2) {
        error_setg(errp, "Image is not in Parallels format, version 2");
    } else if (sectors == 0 || sectors > 256 * MiB / BDRV_SECTOR_SIZE) {
        error_setg(errp, "Invalid Parallels block of %" PRIu32 " sectors",
                   sectors);
    } else if (size > BDRV_MAX_LENGTH / BDRV_SECTOR_SIZE) {
        error_setg(errp, "Invalid Parallels disk of %" PRIu64 " sectors",
                   size);
    } else if (size > (uint64_t)entries * sectors) {
        error_setg(errp, "Parallels block table of %" PRIu32 " entries is too "
                   "small for the disk of %" PRIu64 " sectors", entries, size);
    } else {
        s->unit = old ? BDRV_SECTOR_SIZE
                      : (uint64_t)sectors * BDRV_SECTOR_SIZE;
        mapped_init(&s->mapped, &parallels_ops, size * BDRV_SECTOR_SIZE,
                    (int64_t)sectors * BDRV_SECTOR_SIZE);
        return map_table_load(bs, &s->table, "Parallels block table",
                              PARALLELS_HEADER_BYTES, entries * 4ULL, errp);
    }
    return -EINVAL;
}

static int parallels_open(BlockDriverState *bs, const BlockdevOptions *options,
                          int flags, Error **errp)
{
    ParallelsState *s = bs->opaque;
    uint8_t h[PARALLELS_HEADER_BYTES];
    ParallelsPlace place;
    int ret;

    ret = mapped_open_read_only(bs, options->u.parallels.file, "Parallels", h,
                                sizeof(h), errp);
    if (ret < 0) {
        return ret;
    }
    ret = check_header(bs, h, errp);
    if (ret < 0) {
        map_table_free(&s->table);
        return ret;
    }
    place = (ParallelsPlace) {
        .extension = ld64_le(h + 56),
        .data = ld32_le(h + 48),
        .cluster = s->mapped.block,
        .in_use = ld32_le(h + 44),
    };
    bs->total_bytes = s->mapped.size;
    if (place.extension) {
        parallels_load_bitmaps(bs, &place);
    }
    return 0;
}

static void parallels_close(BlockDriverState *bs)
{
    ParallelsState *s = bs->opaque;

    map_table_free(&s->table);
}

static int coroutine_fn parallels_co_check(BlockDriverState *bs,
                                           BdrvCheckResult *result, int fix)
{
    const ParallelsState *s = bs->opaque;
    int64_t length = bdrv_getlength(bs->file->bs);
    int ret = mapped_check_blocks(bs, result, fix, &result->image_end_offset);

    if (ret == 0 && result->image_end_offset &&
        length > result->image_end_offset) {
        fprintf(stderr, "ERROR space leaked at the end of the image %" PRId64
                "\n", length - result->image_end_offset);
        result->leaks = DIV_ROUND_UP(length - result->image_end_offset,
                                     s->mapped.block);
    }
    return ret;
}

extern const BlockDriver bdrv_parallels;

const BlockDriver bdrv_parallels = {
    .format_name = "parallels",
    .instance_size = sizeof(ParallelsState),
    .is_format = true,
    .supports_backing = true, /* so what it lacks is not allocated */
    .open = parallels_open,
    .close = parallels_close,
    .reopen_prepare = mapped_stay_read_only,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_block_status = mapped_co_block_status,
    .getlength = mapped_getlength,
    .co_check = parallels_co_check,
};
