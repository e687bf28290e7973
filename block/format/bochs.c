/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bochs: growing images of Bochs; can only be read.
 *
 * A catalog has the number of each extent in the file, which is a bitmap of its
 * sectors followed by these.  All numbers are little-endian.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/mapped.h"

#define BOCHS_ABSENT 0xffffffffU

typedef struct BochsState {
    MappedImage mapped;
    MapTable catalog;
    MapCache bitmap;
    uint64_t data, bitmap_bytes;
} BochsState;

/* Extends the run while the bits of sectors are as the first one. */
static void extend_run(const uint8_t *bitmap, int64_t in, MappedRun *run)
{
    uint64_t first = in / BDRV_SECTOR_SIZE;
    uint64_t end = (in + run->bytes - 1) / BDRV_SECTOR_SIZE + 1, i = first;
    bool set = bitmap[first / 8] & (1 << first % 8);

    while (i < end && !!(bitmap[i / 8] & (1 << i % 8)) == set) {
        i++;
    }
    run->kind = set ? MAPPED_DATA : MAPPED_ZERO;
    run->bytes = MIN(run->bytes, (int64_t)i * BDRV_SECTOR_SIZE - in);
}

static int coroutine_fn bochs_map(BlockDriverState *bs, int64_t offset,
                                  MappedRun *run)
{
    BochsState *s = bs->opaque;
    int64_t in = offset % s->mapped.block;
    uint32_t entry = ld32_le(s->catalog.raw + offset / s->mapped.block * 4);
    uint64_t at = s->data + entry * (s->bitmap_bytes + s->mapped.block);
    const uint8_t *bitmap;
    int ret;

    if (entry == BOCHS_ABSENT) {
        run->kind = MAPPED_ZERO;
        return 0;
    }
    bitmap = map_cache_read(bs, &s->bitmap, at, s->bitmap_bytes, &ret);
    if (!bitmap) {
        return ret;
    }
    extend_run(bitmap, in, run);
    run->host = at + s->bitmap_bytes + in;
    return 0;
}

static const MappedOps bochs_ops = {
    .map = bochs_map,
};

static int check_header(const uint8_t *h, Error **errp)
{
    uint32_t version = ld32_le(h + 64);
    uint32_t bitmap = ld32_le(h + 76), extent = ld32_le(h + 80);

    if (memcmp(h, "Bochs Virtual HD Image", 23) ||
        memcmp(h + 32, "Redolog", 8) || memcmp(h + 48, "Growing", 8) ||
        (version != 0x10000 && version != 0x20000)) {
        error_setg(errp, "Image is not a growing one of Bochs");
    } else if (extent < BDRV_SECTOR_SIZE || !is_power_of_2(extent) ||
               extent > 8 * MiB) {
        error_setg(errp, "Invalid Bochs extent of %" PRIu32 " bytes", extent);
    } else if (bitmap < (extent / BDRV_SECTOR_SIZE + 7) / 8 ||
               bitmap > 1 * MiB) {
        error_setg(errp, "Invalid Bochs bitmap of %" PRIu32 " bytes", bitmap);
    } else {
        return 0;
    }
    return -EINVAL;
}

static int open_catalog(BlockDriverState *bs, const uint8_t *h, Error **errp)
{
    BochsState *s = bs->opaque;
    uint64_t size = ld32_le(h + 64) == 0x10000 ? ld64_le(h + 84)
                                               : ld64_le(h + 88);
    uint32_t entries = ld32_le(h + 72), extent = ld32_le(h + 80);

    size = ROUND_DOWN(size, (uint64_t)BDRV_SECTOR_SIZE);
    if (size > (uint64_t)entries * extent) {
        error_setg(errp, "Bochs catalog of %" PRIu32 " entries is too small "
                   "for the disk of %" PRIu64 " bytes", entries, size);
        return -EINVAL;
    }
    s->data = ld32_le(h + 68) + entries * 4ULL;
    s->bitmap_bytes = ROUND_UP(ld32_le(h + 76), BDRV_SECTOR_SIZE);
    mapped_init(&s->mapped, &bochs_ops, size, extent);
    return map_table_load(bs, &s->catalog, "Bochs catalog", ld32_le(h + 68),
                          entries * 4ULL, errp);
}

static int bochs_open(BlockDriverState *bs, const BlockdevOptions *options,
                      int flags, Error **errp)
{
    BochsState *s = bs->opaque;
    uint8_t h[BDRV_SECTOR_SIZE];
    int ret;

    ret = mapped_open_read_only(bs, options->u.bochs.file, "Bochs", h,
                                sizeof(h), errp);
    if (ret < 0) {
        return ret;
    }
    ret = check_header(h, errp);
    if (ret == 0) {
        ret = open_catalog(bs, h, errp);
    }
    if (ret < 0) {
        map_table_free(&s->catalog);
    }
    return ret;
}

static void bochs_close(BlockDriverState *bs)
{
    BochsState *s = bs->opaque;

    map_table_free(&s->catalog);
    map_cache_free(&s->bitmap);
}

extern const BlockDriver bdrv_bochs;

const BlockDriver bdrv_bochs = {
    .format_name = "bochs",
    .instance_size = sizeof(BochsState),
    .is_format = true,
    .open = bochs_open,
    .close = bochs_close,
    .reopen_prepare = mapped_stay_read_only,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_block_status = mapped_co_block_status,
    .getlength = mapped_getlength,
};
