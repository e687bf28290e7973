/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vpc: the disk images of Virtual PC and Hyper-V (VHD).
 *
 *     fixed:   the disk | footer
 *     dynamic: copy of the footer | header | block table | blocks | footer
 *
 * The block table has the first sector of each block, which is a bitmap of its
 * sectors followed by these.  The bitmap is all ones here: sectors that were
 * never written are zero.  All numbers are big-endian.  Differencing images are
 * refused.
 */
#include "qemu/osdep.h"
#include "block/create-file.h"
#include "block/mapped.h"
#include "block/graph.h"
#include "qapi/qapi-types-block-image.h"

#define VPC_FOOTER_BYTES 512
#define VPC_HEADER_BYTES 1024
#define VPC_BLOCK (2 * MiB)
#define VPC_UNALLOCATED 0xffffffffU
#define VPC_MAX_BYTES (0xff000000ULL * BDRV_SECTOR_SIZE) /* 2040 GiB */
/* Seconds from 1970 to 2000, when the time of the format begins. */
#define VPC_EPOCH 946684800

/* The largest geometry; such disks have the size of another field. */
#define VPC_MAX_CYLINDERS 65535
#define VPC_MAX_HEADS 16
#define VPC_MAX_SECTORS 255
#define VPC_MAX_CHS (65535ULL * 16 * 255)

/* Where fields of the footer are. */
enum {
    VPC_AT_FEATURES = 8,
    VPC_AT_VERSION = 12,
    VPC_AT_HEADER = 16,
    VPC_AT_TIME = 24,
    VPC_AT_CREATOR = 28,
    VPC_AT_CREATOR_VERSION = 32,
    VPC_AT_CREATOR_OS = 36,
    VPC_AT_ORIGINAL_SIZE = 40,
    VPC_AT_SIZE = 48,
    VPC_AT_GEOMETRY = 56,
    VPC_AT_TYPE = 60,
    VPC_AT_CHECKSUM = 64,
    VPC_AT_UUID = 68,
};

/* Where fields of the header of a dynamic image are. */
enum {
    VPC_AT_NEXT = 8,
    VPC_AT_TABLE = 16,
    VPC_AT_HEADER_VERSION = 24,
    VPC_AT_ENTRIES = 28,
    VPC_AT_BLOCK_BYTES = 32,
    VPC_AT_HEADER_CHECKSUM = 36,
};

enum { VPC_TYPE_FIXED = 2, VPC_TYPE_DYNAMIC = 3, VPC_TYPE_DIFFERENCING = 4 };

typedef struct VpcState {
    MappedImage mapped;
    uint8_t footer[VPC_FOOTER_BYTES];
    bool fixed;
    /* dynamic images */
    MapTable table;
    uint32_t bitmap_bytes; /* before the data of each block */
    uint64_t free;         /* where the next block goes, and the footer is */
    bool dirty;            /* there are new blocks */
} VpcState;

/* --- footer --- */

/* Of @bytes at @p, those of the checksum at @at counting as zero. */
static uint32_t vpc_checksum(const uint8_t *p, size_t bytes, size_t at)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < bytes; i++) {
        sum += i >= at && i < at + 4 ? 0 : p[i];
    }
    return ~sum;
}

static bool is_footer(const uint8_t *footer)
{
    return !memcmp(footer, "conectix", 8);
}

static bool is_valid_footer(const uint8_t *footer)
{
    return is_footer(footer) &&
           ld32_be(footer + VPC_AT_CHECKSUM) ==
           vpc_checksum(footer, VPC_FOOTER_BYTES, VPC_AT_CHECKSUM);
}

/*
 * The footer at the end counts: a guest may write something like a footer to
 * the first sector of a fixed image.  A dynamic image that was not closed has
 * only the copy.
 */
static int read_footer(BlockDriverState *bs, uint8_t *footer,
                       int64_t *footer_pos, Error **errp)
{
    int64_t length = bdrv_getlength(bs->file->bs);
    int ret = length < 0 ? (int)length : 0;

    /* Old versions of Virtual PC wrote 511 bytes: the last one is zero then. */
    *footer_pos = length - VPC_FOOTER_BYTES;
    if (ret >= 0 && *footer_pos >= 0) {
        ret = bdrv_pread(bs->file, *footer_pos, VPC_FOOTER_BYTES, footer);
    }
    if (ret >= 0 && *footer_pos >= 0 && !is_valid_footer(footer)) {
        ret = bdrv_pread(bs->file, 0, MIN(VPC_FOOTER_BYTES, length), footer);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VPC footer");
        return ret;
    }
    if (!is_footer(footer)) {
        error_setg(errp, "Image is not in VPC format");
        return -EINVAL;
    }
    if (!is_valid_footer(footer)) {
        error_setg(errp, "VPC footer has a wrong checksum");
        return -EINVAL;
    }
    return 0;
}

/* These write the exact size; others expect that of the geometry. */
static bool creator_knows_size(const uint8_t *footer)
{
    static const char creators[][5] = {"qem2", "win ", "d2v ", "tap", "CTXS"};

    for (size_t i = 0; i < ARRAY_SIZE(creators); i++) {
        if (!memcmp(footer + VPC_AT_CREATOR, creators[i], 4)) {
            return true;
        }
    }
    return false;
}

static uint64_t footer_sectors(const uint8_t *footer)
{
    const uint8_t *g = footer + VPC_AT_GEOMETRY;
    uint64_t chs = (uint64_t)ld16_be(g) * g[2] * g[3];

    return chs == VPC_MAX_CHS || creator_knows_size(footer)
        ? ld64_be(footer + VPC_AT_SIZE) / BDRV_SECTOR_SIZE : chs;
}

/* --- opening --- */

static const MappedOps vpc_ops, vpc_fixed_ops;

static int open_fixed(BlockDriverState *bs, uint64_t size, int64_t footer_pos,
                      Error **errp)
{
    VpcState *s = bs->opaque;

    if (size > (uint64_t)footer_pos) {
        error_setg(errp, "The file of the VPC image is shorter than the disk "
                   "of %" PRIu64 " bytes", size);
        return -EINVAL;
    }
    s->fixed = true;
    mapped_init(&s->mapped, &vpc_fixed_ops, size, MAX(size, 1));
    return 0;
}

/* The end of the last block; no block may be among the metadata. */
static int find_free(BlockDriverState *bs, Error **errp)
{
    VpcState *s = bs->opaque;
    int64_t length = bdrv_getlength(bs->file->bs);

    s->free = ROUND_UP(s->table.offset + s->table.bytes, BDRV_SECTOR_SIZE);
    for (uint64_t at = 0, start = s->free; at < s->table.bytes; at += 4) {
        uint32_t entry = ld32_be(s->table.raw + at);
        uint64_t pos = (uint64_t)entry * BDRV_SECTOR_SIZE;
        uint64_t bytes = s->bitmap_bytes + s->mapped.block;

        if (entry == VPC_UNALLOCATED) {
            continue;
        }
        if (pos < start || length < 0 || !range_fits(pos, bytes, length)) {
            error_setg(errp, "VPC block %" PRIu64 " is outside of the data of "
                       "the file", at / 4);
            return -EINVAL;
        }
        s->free = MAX(s->free, pos + bytes);
    }
    return 0;
}

static int check_header(const uint8_t *h, uint64_t size, Error **errp)
{
    uint32_t block = ld32_be(h + VPC_AT_BLOCK_BYTES);
    uint32_t entries = ld32_be(h + VPC_AT_ENTRIES);

    if (memcmp(h, "cxsparse", 8)) {
        error_setg(errp, "VPC header is not that of a dynamic image");
    } else if (ld32_be(h + VPC_AT_HEADER_CHECKSUM) !=
               vpc_checksum(h, VPC_HEADER_BYTES, VPC_AT_HEADER_CHECKSUM)) {
        error_setg(errp, "VPC header has a wrong checksum");
    } else if (!is_power_of_2(block) || block < BDRV_SECTOR_SIZE) {
        error_setg(errp, "Invalid VPC block size %" PRIu32, block);
    } else if ((uint64_t)entries * block < size) {
        error_setg(errp, "VPC block table of %" PRIu32 " entries is too small "
                   "for the disk of %" PRIu64 " bytes", entries, size);
    } else {
        return 0;
    }
    return -EINVAL;
}

static int open_dynamic(BlockDriverState *bs, uint64_t size, Error **errp)
{
    VpcState *s = bs->opaque;
    uint8_t h[VPC_HEADER_BYTES];
    uint64_t at = ld64_be(s->footer + VPC_AT_HEADER);
    uint32_t block;
    int64_t length = bdrv_getlength(bs->file->bs);
    int ret;

    if (length < 0 || !range_fits(at, sizeof(h), length)) {
        error_setg(errp, "VPC header is outside of the file");
        return -EINVAL;
    }
    ret = bdrv_pread(bs->file, at, sizeof(h), h);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VPC header");
        return ret;
    }
    if (check_header(h, size, errp) < 0) {
        return -EINVAL;
    }
    block = ld32_be(h + VPC_AT_BLOCK_BYTES);
    s->bitmap_bytes = ROUND_UP(MAX(block / BDRV_SECTOR_SIZE / 8, 1U),
                               BDRV_SECTOR_SIZE);
    mapped_init(&s->mapped, &vpc_ops, size, block);
    ret = map_table_load(bs, &s->table, "VPC block table",
                         ld64_be(h + VPC_AT_TABLE),
                         ((size + block - 1) / block) * 4, errp);
    if (ret == 0) {
        ret = find_free(bs, errp);
    }
    if (ret < 0) {
        map_table_free(&s->table);
    }
    return ret;
}

static int vpc_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    VpcState *s = bs->opaque;
    int64_t footer_pos;
    uint64_t sectors;
    int ret;

    if (!bdrv_open_child(bs, options->u.vpc.file, "file", BDRV_CHILD_IMAGE,
                         errp)) {
        return -EINVAL;
    }
    ret = read_footer(bs, s->footer, &footer_pos, errp);
    if (ret < 0) {
        return ret;
    }
    sectors = footer_sectors(s->footer);
    if (sectors > VPC_MAX_BYTES / BDRV_SECTOR_SIZE) {
        error_setg(errp, "VPC disk of %" PRIu64 " sectors is too large",
                   sectors);
        return -EFBIG;
    }
    switch (ld32_be(s->footer + VPC_AT_TYPE)) {
    case VPC_TYPE_FIXED:
        return open_fixed(bs, sectors * BDRV_SECTOR_SIZE, footer_pos, errp);
    case VPC_TYPE_DYNAMIC:
        return open_dynamic(bs, sectors * BDRV_SECTOR_SIZE, errp);
    case VPC_TYPE_DIFFERENCING:
        error_setg(errp, "Differencing VPC images, which have a parent, are "
                   "not supported");
        return -ENOTSUP;
    default:
        error_setg(errp, "Unknown type %" PRIu32 " of a VPC image",
                   ld32_be(s->footer + VPC_AT_TYPE));
        return -ENOTSUP;
    }
}

static void vpc_close(BlockDriverState *bs)
{
    VpcState *s = bs->opaque;

    mapped_close(bs);
    map_table_free(&s->table);
}

/* --- blocks --- */

static int coroutine_fn fixed_map(BlockDriverState *bs, int64_t offset,
                                  MappedRun *run)
{
    run->kind = MAPPED_DATA;
    run->host = offset;
    return 0;
}

static const MappedOps vpc_fixed_ops = {
    .map = fixed_map,
};

static int coroutine_fn vpc_map(BlockDriverState *bs, int64_t offset,
                                MappedRun *run)
{
    VpcState *s = bs->opaque;
    int64_t block = s->mapped.block;
    uint32_t entry = ld32_be(s->table.raw + offset / block * 4);

    if (entry == VPC_UNALLOCATED) {
        run->kind = MAPPED_ZERO;
    } else {
        run->kind = MAPPED_DATA;
        run->host = (int64_t)entry * BDRV_SECTOR_SIZE + s->bitmap_bytes +
                    offset % block;
    }
    return 0;
}

/* Writes the bitmap, too; nothing refers to it before the block is linked. */
static int coroutine_fn vpc_allocate(BlockDriverState *bs, int64_t start,
                                     BdrvChild **file, int64_t *host)
{
    VpcState *s = bs->opaque;
    g_autofree uint8_t *ones = g_malloc(s->bitmap_bytes);

    if (s->free / BDRV_SECTOR_SIZE >= VPC_UNALLOCATED) {
        return -EFBIG;
    }
    memset(ones, 0xff, s->bitmap_bytes);
    *host = s->free + s->bitmap_bytes;
    return bdrv_co_pwrite(bs->file, s->free, s->bitmap_bytes, ones, 0);
}

static int coroutine_fn vpc_link(BlockDriverState *bs, int64_t start,
                                 BdrvChild *file, int64_t host)
{
    VpcState *s = bs->opaque;
    uint64_t pos = start / s->mapped.block * 4;

    st32_be(s->table.raw + pos, s->free / BDRV_SECTOR_SIZE);
    map_table_mark(&s->table, pos, 4);
    s->free += s->bitmap_bytes + s->mapped.block;
    s->dirty = true;
    return 0;
}

/* The first new block has replaced the footer; until there is another one the
 * image lives from the copy at its start. */
static int coroutine_fn vpc_write_back(BlockDriverState *bs)
{
    VpcState *s = bs->opaque;
    int ret;

    if (!s->dirty) {
        return 0;
    }
    ret = bdrv_co_pwrite(bs->file, s->free, sizeof(s->footer), s->footer, 0);
    if (ret >= 0) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    if (ret >= 0) {
        ret = map_table_write_back(bs, &s->table);
    }
    if (ret >= 0) {
        s->dirty = false;
    }
    return ret;
}

static const MappedOps vpc_ops = {
    .map = vpc_map,
    .allocate = vpc_allocate,
    .link = vpc_link,
    .write_back = vpc_write_back,
};

static int vpc_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    const VpcState *s = bs->opaque;

    info->cluster_size = s->fixed ? 0 : s->mapped.block;
    return 0;
}

static bool vpc_has_zero_init(BlockDriverState *bs)
{
    const VpcState *s = bs->opaque;

    return !s->fixed || bdrv_has_zero_init(bs->file->bs);
}

/* --- creating --- */

typedef struct VpcCreate {
    bool fixed, force_size;
    uint64_t sectors;
    uint16_t cylinders;
    uint8_t heads, sectors_per_track;
} VpcCreate;

/* The geometry that the specification defines for a disk of @sectors. */
static void calculate_geometry(uint64_t sectors, VpcCreate *c)
{
    uint32_t tracks;

    sectors = MIN(sectors, VPC_MAX_CHS);
    c->heads = VPC_MAX_HEADS;
    if (sectors >= 65535ULL * 16 * 63) {
        c->sectors_per_track = VPC_MAX_SECTORS;
        tracks = sectors / c->sectors_per_track;
    } else {
        uint32_t heads;

        c->sectors_per_track = 17;
        tracks = sectors / c->sectors_per_track;
        heads = MAX((tracks + 1023) / 1024, 4U);
        if (tracks >= heads * 1024 || heads > VPC_MAX_HEADS) {
            c->sectors_per_track = 31;
            tracks = sectors / c->sectors_per_track;
            heads = VPC_MAX_HEADS;
        }
        if (tracks >= heads * 1024) {
            c->sectors_per_track = 63;
            tracks = sectors / c->sectors_per_track;
            heads = VPC_MAX_HEADS;
        }
        c->heads = heads;
    }
    c->cylinders = tracks / c->heads;
}

static uint64_t chs_sectors(const VpcCreate *c)
{
    return (uint64_t)c->cylinders * c->heads * c->sectors_per_track;
}

/*
 * Sets c->sectors and the geometry: the disk has at least @sectors, and as many
 * as the geometry unless that is the largest.
 */
static void set_size(VpcCreate *c, uint64_t sectors)
{
    c->sectors = sectors;
    if (c->force_size || sectors > VPC_MAX_CHS) {
        c->cylinders = VPC_MAX_CYLINDERS;
        c->heads = VPC_MAX_HEADS;
        c->sectors_per_track = VPC_MAX_SECTORS;
        return;
    }
    for (uint64_t more = 0; chs_sectors(c) < sectors; more++) {
        calculate_geometry(sectors + more, c);
    }
    if (chs_sectors(c) < VPC_MAX_CHS) {
        c->sectors = chs_sectors(c);
    }
}

static void build_footer(const VpcCreate *c, uint8_t *f)
{
    uint64_t size = c->sectors * BDRV_SECTOR_SIZE;

    memset(f, 0, VPC_FOOTER_BYTES);
    memcpy(f, "conectix", 8);
    st32_be(f + VPC_AT_FEATURES, 2);
    st32_be(f + VPC_AT_VERSION, 0x10000);
    st64_be(f + VPC_AT_HEADER, c->fixed ? UINT64_MAX : VPC_FOOTER_BYTES);
    st32_be(f + VPC_AT_TIME, g_get_real_time() / G_USEC_PER_SEC - VPC_EPOCH);
    /* By this programs know which size counts. */
    memcpy(f + VPC_AT_CREATOR, c->force_size ? "qem2" : "qemu", 4);
    st32_be(f + VPC_AT_CREATOR_VERSION, 0x50003);
    memcpy(f + VPC_AT_CREATOR_OS, "Wi2k", 4);
    st64_be(f + VPC_AT_ORIGINAL_SIZE, size);
    st64_be(f + VPC_AT_SIZE, size);
    st16_be(f + VPC_AT_GEOMETRY, c->cylinders);
    f[VPC_AT_GEOMETRY + 2] = c->heads;
    f[VPC_AT_GEOMETRY + 3] = c->sectors_per_track;
    st32_be(f + VPC_AT_TYPE, c->fixed ? VPC_TYPE_FIXED : VPC_TYPE_DYNAMIC);
    for (int i = 0; i < 16; i += 4) {
        st32_be(f + VPC_AT_UUID + i, g_random_int());
    }
    st32_be(f + VPC_AT_CHECKSUM,
            vpc_checksum(f, VPC_FOOTER_BYTES, VPC_AT_CHECKSUM));
}

static void build_header(uint32_t entries, uint8_t *h)
{
    memset(h, 0, VPC_HEADER_BYTES);
    memcpy(h, "cxsparse", 8);
    st64_be(h + VPC_AT_NEXT, UINT64_MAX);
    st64_be(h + VPC_AT_TABLE, VPC_FOOTER_BYTES + VPC_HEADER_BYTES);
    st32_be(h + VPC_AT_HEADER_VERSION, 0x10000);
    st32_be(h + VPC_AT_ENTRIES, entries);
    st32_be(h + VPC_AT_BLOCK_BYTES, VPC_BLOCK);
    st32_be(h + VPC_AT_HEADER_CHECKSUM,
            vpc_checksum(h, VPC_HEADER_BYTES, VPC_AT_HEADER_CHECKSUM));
}

static int coroutine_fn write_fixed(const VpcCreate *c, BdrvChild *file,
                                    Error **errp)
{
    int64_t size = c->sectors * BDRV_SECTOR_SIZE;
    int64_t left = bdrv_getlength(file->bs);
    uint8_t footer[VPC_FOOTER_BYTES];
    int ret = left < 0 ? (int)left : 0;

    if (ret >= 0 && left > 0) {
        ret = bdrv_co_pwrite_zeroes(file, 0, MIN(left, size),
                                    BDRV_REQ_MAY_UNMAP);
    }
    if (ret >= 0) {
        ret = bdrv_co_truncate(file, size + VPC_FOOTER_BYTES, false,
                               PREALLOC_MODE_OFF, 0, errp);
        if (ret < 0) {
            return ret;
        }
    }
    build_footer(c, footer);
    return ret < 0 ? ret : bdrv_co_pwrite(file, size, sizeof(footer), footer,
                                          0);
}

static int coroutine_fn write_dynamic(const VpcCreate *c, BdrvChild *file)
{
    uint64_t blocks = (c->sectors * BDRV_SECTOR_SIZE + VPC_BLOCK - 1) /
                      VPC_BLOCK;
    uint32_t head = VPC_FOOTER_BYTES + VPC_HEADER_BYTES;
    uint32_t bytes = head + ROUND_UP(blocks * 4, BDRV_SECTOR_SIZE) +
                     VPC_FOOTER_BYTES;
    uint8_t *buf = bdrv_try_blockalign(file->bs, bytes);
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    build_footer(c, buf);
    build_header(blocks, buf + VPC_FOOTER_BYTES);
    memset(buf + head, 0xff, bytes - head);
    memcpy(buf + bytes - VPC_FOOTER_BYTES, buf, VPC_FOOTER_BYTES);
    ret = bdrv_co_pwrite(file, 0, bytes, buf, 0);
    qemu_vfree(buf);
    return ret;
}

static int coroutine_fn vpc_write_image(BdrvChild *file, void *opaque,
                                        Error **errp)
{
    const VpcCreate *c = opaque;
    Error *err = NULL;
    int ret = bdrv_create_empty(file, errp);

    if (ret < 0) {
        return ret;
    }
    ret = c->fixed ? write_fixed(c, file, &err) : write_dynamic(c, file);
    if (ret >= 0) {
        ret = bdrv_co_flush(file->bs);
    }
    if (err) {
        error_propagate(errp, err);
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the VPC image");
    }
    return MIN(ret, 0);
}

static bool vpc_choose_size(BlockdevCreateOptions *options, Error **errp)
{
    BlockdevCreateOptionsVpc *o = &options->u.vpc;
    VpcCreate c = { .force_size = o->force_size };

    if (o->size > VPC_MAX_BYTES) {
        error_setg(errp, "The image size is too large for file format 'vpc'");
        return false;
    }
    set_size(&c, DIV_ROUND_UP(o->size, BDRV_SECTOR_SIZE));
    o->size = c.sectors * BDRV_SECTOR_SIZE;
    return true;
}

static int coroutine_fn vpc_co_create(BlockdevCreateOptions *options,
                                      Error **errp)
{
    const BlockdevCreateOptionsVpc *o = &options->u.vpc;
    VpcCreate c = {
        .fixed = o->has_subformat && o->subformat ==
                 BLOCKDEV_VPC_SUBFORMAT_FIXED,
        .force_size = o->has_force_size && o->force_size,
    };

    if (o->size > VPC_MAX_BYTES) {
        error_setg(errp, "Disk size is too large, max size is 2040 GiB");
        return -EFBIG;
    }
    set_size(&c, o->size / BDRV_SECTOR_SIZE);
    if (c.sectors * BDRV_SECTOR_SIZE != o->size) {
        error_setg(errp, "The requested image size cannot be represented in "
                   "CHS geometry");
        return -EINVAL;
    }
    return bdrv_create_in_file(o->file, "vpc", vpc_write_image, &c, errp);
}

extern const BlockDriver bdrv_vpc;

const BlockDriver bdrv_vpc = {
    .format_name = "vpc",
    .instance_size = sizeof(VpcState),
    .is_format = true,
    .open = vpc_open,
    .close = vpc_close,
    .co_create = vpc_co_create,
    .choose_size = vpc_choose_size,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_pwritev = mapped_co_pwritev,
    .co_pwrite_zeroes = mapped_co_pwrite_zeroes,
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP,
    .co_pdiscard = mapped_co_pdiscard,
    .co_block_status = mapped_co_block_status,
    .co_flush = mapped_co_flush,
    .getlength = mapped_getlength,
    .get_info = vpc_get_info,
    .has_zero_init = vpc_has_zero_init,
};
