/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vdi: the disk images of VirtualBox.
 *
 *     header (one sector) | block map | blocks of 1 MiB
 *
 * The block map has the number of the block in the file for each block of the
 * disk.  Blocks are never freed; a new one goes behind the last.  All numbers
 * are little-endian.  Differencing images, which have a parent, are refused.
 */
#include "qemu/osdep.h"
#include "block/create-file.h"
#include "block/mapped.h"
#include "block/graph.h"
#include "qapi/qapi-types-block-image.h"

#define VDI_TEXT "<<< Tidemark VM Virtual Disk Image >>>\n"
#define VDI_SIGNATURE 0xbeda107fU
#define VDI_VERSION 0x00010001U /* 1.1 */
#define VDI_BLOCK (1 * MiB)
#define VDI_HEADER_BYTES 0x180
#define VDI_MAX_BLOCKS 0x1fffff80U
#define VDI_UNALLOCATED 0xffffffffU
#define VDI_DISCARDED 0xfffffffeU /* unallocated, and known to be zero */

/* Where fields of the header are. */
enum {
    VDI_AT_SIGNATURE = 0x40,
    VDI_AT_VERSION = 0x44,
    VDI_AT_HEADER_BYTES = 0x48,
    VDI_AT_TYPE = 0x4c,
    VDI_AT_MAP_OFFSET = 0x154,
    VDI_AT_DATA_OFFSET = 0x158,
    VDI_AT_SECTOR_BYTES = 0x168,
    VDI_AT_SIZE = 0x170,
    VDI_AT_BLOCK_BYTES = 0x178,
    VDI_AT_BLOCK_EXTRA = 0x17c,
    VDI_AT_BLOCKS = 0x180,
    VDI_AT_ALLOCATED = 0x184,
    VDI_AT_UUID = 0x188,
    VDI_AT_UUID_SNAPSHOT = 0x198,
    VDI_AT_UUID_LINK = 0x1a8,
    VDI_AT_UUID_PARENT = 0x1b8,
};

enum {
    VDI_TYPE_DYNAMIC = 1,
    VDI_TYPE_STATIC = 2,
    VDI_TYPE_DIFFERENCING = 4,
};

typedef struct VdiState {
    MappedImage mapped;
    uint8_t header[BDRV_SECTOR_SIZE];
    MapTable map;
    uint64_t data_offset;
    uint32_t blocks;    /* of the disk */
    uint32_t allocated; /* of the file: the next one to use */
    bool header_dirty;
} VdiState;

/* --- opening --- */

static bool is_null_uuid(const uint8_t *uuid)
{
    static const uint8_t null[16];

    return !memcmp(uuid, null, sizeof(null));
}

/* What the format allows, but this driver does not support. */
static int check_kind(const uint8_t *h, Error **errp)
{
    uint32_t version = ld32_le(h + VDI_AT_VERSION);
    uint32_t type = ld32_le(h + VDI_AT_TYPE);

    if (version != VDI_VERSION) {
        error_setg(errp, "Unsupported VDI version %u.%u", version >> 16,
                   version & 0xffff);
    } else if (type == VDI_TYPE_DIFFERENCING ||
               !is_null_uuid(h + VDI_AT_UUID_LINK) ||
               !is_null_uuid(h + VDI_AT_UUID_PARENT)) {
        error_setg(errp, "Differencing VDI images, which have a parent, are "
                   "not supported");
    } else if (type != VDI_TYPE_DYNAMIC && type != VDI_TYPE_STATIC) {
        error_setg(errp, "Unsupported VDI image type %" PRIu32, type);
    } else if (ld32_le(h + VDI_AT_SECTOR_BYTES) != BDRV_SECTOR_SIZE) {
        error_setg(errp, "Unsupported VDI sector size %" PRIu32,
                   ld32_le(h + VDI_AT_SECTOR_BYTES));
    } else if (ld32_le(h + VDI_AT_BLOCK_BYTES) != VDI_BLOCK ||
               ld32_le(h + VDI_AT_BLOCK_EXTRA) != 0) {
        error_setg(errp, "Unsupported VDI block size %" PRIu32 " + %" PRIu32,
                   ld32_le(h + VDI_AT_BLOCK_BYTES),
                   ld32_le(h + VDI_AT_BLOCK_EXTRA));
    } else {
        return 0;
    }
    return -ENOTSUP;
}

static int check_header(const uint8_t *h, Error **errp)
{
    uint64_t size = ld64_le(h + VDI_AT_SIZE);
    uint32_t blocks = ld32_le(h + VDI_AT_BLOCKS);

    if (ld32_le(h + VDI_AT_SIGNATURE) != VDI_SIGNATURE) {
        error_setg(errp, "Image is not in VDI format");
    } else if (check_kind(h, errp) < 0) {
        return -ENOTSUP;
    } else if (blocks > VDI_MAX_BLOCKS || size > (uint64_t)blocks * VDI_BLOCK) {
        error_setg(errp, "VDI disk size %" PRIu64 " does not fit %" PRIu32
                   " blocks", size, blocks);
    } else if (ld32_le(h + VDI_AT_MAP_OFFSET) % BDRV_SECTOR_SIZE ||
               ld32_le(h + VDI_AT_DATA_OFFSET) % BDRV_SECTOR_SIZE) {
        error_setg(errp, "VDI block map or data is not aligned to sectors");
    } else if (ld32_le(h + VDI_AT_MAP_OFFSET) < BDRV_SECTOR_SIZE ||
               !range_fits(ld32_le(h + VDI_AT_MAP_OFFSET), blocks * 4ULL,
                           ld32_le(h + VDI_AT_DATA_OFFSET))) {
        error_setg(errp, "VDI block map overlaps the header or the data");
    } else {
        return 0;
    }
    return -EINVAL;
}

static bool entry_has_place(uint32_t entry)
{
    return entry < VDI_DISCARDED;
}

/* No entry may lead to what will be allocated. */
static int check_entries(VdiState *s, Error **errp)
{
    for (uint32_t i = 0; i < s->blocks; i++) {
        uint32_t entry = ld32_le(s->map.raw + i * 4ULL);

        if (!entry_has_place(entry)) {
            continue;
        }
        if (entry >= s->blocks) {
            error_setg(errp, "VDI block %" PRIu32 " is said to be at %" PRIu32
                       " of %" PRIu32, i, entry, s->blocks);
            return -EINVAL;
        }
        if (entry >= s->allocated) {
            s->allocated = entry + 1;
        }
    }
    return 0;
}

static const MappedOps vdi_ops;

static int vdi_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    VdiState *s = bs->opaque;
    int ret;

    if (!bdrv_open_child(bs, options->u.vdi.file, "file", BDRV_CHILD_IMAGE,
                         errp)) {
        return -EINVAL;
    }
    ret = bdrv_pread(bs->file, 0, sizeof(s->header), s->header);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VDI header");
        return ret;
    }
    ret = check_header(s->header, errp);
    if (ret < 0) {
        return ret;
    }
    s->blocks = ld32_le(s->header + VDI_AT_BLOCKS);
    s->allocated = ld32_le(s->header + VDI_AT_ALLOCATED);
    s->data_offset = ld32_le(s->header + VDI_AT_DATA_OFFSET);
    ret = map_table_load(bs, &s->map, "VDI block map",
                         ld32_le(s->header + VDI_AT_MAP_OFFSET),
                         s->blocks * 4ULL, errp);
    if (ret == 0 && !(flags & BDRV_O_CHECK)) {
        ret = check_entries(s, errp);
    }
    if (ret < 0) {
        map_table_free(&s->map);
        return ret;
    }
    mapped_init(&s->mapped, &vdi_ops,
                ROUND_UP(ld64_le(s->header + VDI_AT_SIZE), BDRV_SECTOR_SIZE),
                VDI_BLOCK);
    return 0;
}

static void vdi_close(BlockDriverState *bs)
{
    VdiState *s = bs->opaque;

    mapped_close(bs);
    map_table_free(&s->map);
}

/* --- the map --- */

static int coroutine_fn vdi_map(BlockDriverState *bs, int64_t offset,
                                MappedRun *run)
{
    VdiState *s = bs->opaque;
    uint32_t entry = ld32_le(s->map.raw + offset / VDI_BLOCK * 4);

    if (!entry_has_place(entry)) {
        run->kind = MAPPED_ZERO;
    } else if (entry >= s->blocks) {
        return -EIO;
    } else {
        run->kind = MAPPED_DATA;
        run->host = s->data_offset + (int64_t)entry * VDI_BLOCK +
                    offset % VDI_BLOCK;
    }
    return 0;
}

static int coroutine_fn vdi_allocate(BlockDriverState *bs, int64_t start,
                                     BdrvChild **file, int64_t *host)
{
    VdiState *s = bs->opaque;

    if (s->allocated >= s->blocks) {
        /* Blocks are lost to failed writes, or the count is wrong. */
        return -ENOSPC;
    }
    *host = s->data_offset + (int64_t)s->allocated * VDI_BLOCK;
    return 0;
}

static int coroutine_fn vdi_link(BlockDriverState *bs, int64_t start,
                                 BdrvChild *file, int64_t host)
{
    VdiState *s = bs->opaque;
    uint64_t pos = start / VDI_BLOCK * 4;

    st32_le(s->map.raw + pos, s->allocated++);
    map_table_mark(&s->map, pos, 4);
    s->header_dirty = true;
    return 0;
}

/*
 * The number of allocated blocks first: with the map before it, a block that is
 * in use would be allocated again after a crash.
 */
static int coroutine_fn vdi_write_back(BlockDriverState *bs)
{
    VdiState *s = bs->opaque;
    int ret;

    if (!s->header_dirty) {
        return 0;
    }
    st32_le(s->header + VDI_AT_ALLOCATED, s->allocated);
    ret = bdrv_co_pwrite(bs->file, 0, sizeof(s->header), s->header, 0);
    if (ret >= 0) {
        ret = bdrv_co_flush(bs->file->bs);
    }
    if (ret >= 0) {
        ret = map_table_write_back(bs, &s->map);
    }
    if (ret >= 0) {
        s->header_dirty = false;
    }
    return ret;
}

static const MappedOps vdi_ops = {
    .map = vdi_map,
    .allocate = vdi_allocate,
    .link = vdi_link,
    .write_back = vdi_write_back,
    .appends = true,
};

/* --- checking --- */

static int coroutine_fn vdi_co_check(BlockDriverState *bs,
                                     BdrvCheckResult *result, int fix)
{
    VdiState *s = bs->opaque;
    g_autoptr(HBitmap) used = hbitmap_try_new(s->blocks, 1);
    uint32_t n = 0;

    if (fix) {
        return -ENOTSUP;
    }
    if (!used) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < s->blocks; i++) {
        uint32_t entry = ld32_le(s->map.raw + i * 4ULL);

        if (!entry_has_place(entry)) {
            continue;
        }
        n++;
        if (entry >= s->blocks) {
            fprintf(stderr, "ERROR: block %" PRIu32 " is beyond the end: %"
                    PRIu32 "\n", i, entry);
            result->corruptions++;
        } else if (hbitmap_get(used, entry)) {
            fprintf(stderr, "ERROR: block %" PRIu32 " has the place of "
                    "another one: %" PRIu32 "\n", i, entry);
            result->corruptions++;
        } else {
            hbitmap_set(used, entry, 1);
        }
    }
    if (n != s->allocated) {
        fprintf(stderr, "ERROR: %" PRIu32 " blocks are in the map, %" PRIu32
                " are allocated\n", n, s->allocated);
        result->corruptions++;
    }
    return 0;
}

static bool vdi_has_zero_init(BlockDriverState *bs)
{
    VdiState *s = bs->opaque;

    return ld32_le(s->header + VDI_AT_TYPE) == VDI_TYPE_DYNAMIC ||
           bdrv_has_zero_init(bs->file->bs);
}

/* --- creating --- */

typedef struct VdiCreate {
    const BlockdevCreateOptionsVdi *o;
    uint32_t blocks;
    bool is_static;
} VdiCreate;

static void put_random_uuid(uint8_t *uuid)
{
    for (int i = 0; i < 16; i += 4) {
        st32_le(uuid + i, g_random_int());
    }
    /* Version 4; the first three fields are little-endian. */
    uuid[7] = (uuid[7] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
}

static void build_header(const VdiCreate *c, uint8_t *h, uint32_t data_offset)
{
    memcpy(h, VDI_TEXT, sizeof(VDI_TEXT));
    st32_le(h + VDI_AT_SIGNATURE, VDI_SIGNATURE);
    st32_le(h + VDI_AT_VERSION, VDI_VERSION);
    st32_le(h + VDI_AT_HEADER_BYTES, VDI_HEADER_BYTES);
    st32_le(h + VDI_AT_TYPE, c->is_static ? VDI_TYPE_STATIC
                                          : VDI_TYPE_DYNAMIC);
    st32_le(h + VDI_AT_MAP_OFFSET, BDRV_SECTOR_SIZE);
    st32_le(h + VDI_AT_DATA_OFFSET, data_offset);
    st32_le(h + VDI_AT_SECTOR_BYTES, BDRV_SECTOR_SIZE);
    st64_le(h + VDI_AT_SIZE, c->o->size);
    st32_le(h + VDI_AT_BLOCK_BYTES, VDI_BLOCK);
    st32_le(h + VDI_AT_BLOCKS, c->blocks);
    st32_le(h + VDI_AT_ALLOCATED, c->is_static ? c->blocks : 0);
    put_random_uuid(h + VDI_AT_UUID);
    put_random_uuid(h + VDI_AT_UUID_SNAPSHOT);
}

static int coroutine_fn write_map(const VdiCreate *c, BdrvChild *file,
                                  uint32_t map_bytes)
{
    uint32_t piece = MIN(map_bytes, 1 * MiB);
    uint8_t *buf = bdrv_try_blockalign(file->bs, MAX(piece, 1U));
    int ret = buf ? 0 : -ENOMEM;

    for (uint32_t at = 0; ret >= 0 && at < map_bytes; at += piece) {
        piece = MIN(piece, map_bytes - at);
        for (uint32_t i = 0; i < piece; i += 4) {
            uint32_t block = (at + i) / 4;

            st32_le(buf + i, block >= c->blocks ? 0 : c->is_static
                             ? block : VDI_UNALLOCATED);
        }
        ret = bdrv_co_pwrite(file, BDRV_SECTOR_SIZE + (int64_t)at, piece, buf,
                             0);
    }
    qemu_vfree(buf);
    return ret;
}

static int coroutine_fn vdi_write_image(BdrvChild *file, void *opaque,
                                        Error **errp)
{
    VdiCreate *c = opaque;
    uint8_t header[BDRV_SECTOR_SIZE] = {};
    uint32_t map_bytes = ROUND_UP(c->blocks * 4U, BDRV_SECTOR_SIZE);
    int64_t data_offset = BDRV_SECTOR_SIZE + (int64_t)map_bytes;
    int64_t end = data_offset + (int64_t)c->blocks * VDI_BLOCK;
    int ret = bdrv_create_empty(file, errp);

    if (ret < 0) {
        return ret;
    }
    if (c->is_static && end > data_offset) {
        int64_t left = MIN(bdrv_getlength(file->bs), end);

        ret = bdrv_co_truncate(file, end, false, PREALLOC_MODE_OFF, 0, errp);
        if (ret < 0) {
            return ret;
        }
        if (left > data_offset) {
            ret = bdrv_co_pwrite_zeroes(file, data_offset, left - data_offset,
                                        BDRV_REQ_MAY_UNMAP);
        }
    }
    if (ret >= 0) {
        ret = write_map(c, file, map_bytes);
    }
    build_header(c, header, data_offset);
    if (ret >= 0) {
        ret = bdrv_co_pwrite(file, 0, sizeof(header), header, 0);
    }
    if (ret >= 0) {
        ret = bdrv_co_flush(file->bs);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the VDI image");
    }
    return MIN(ret, 0);
}

static int coroutine_fn vdi_co_create(BlockdevCreateOptions *options,
                                      Error **errp)
{
    const BlockdevCreateOptionsVdi *o = &options->u.vdi;
    VdiCreate c = {.o = o};
    PreallocMode prealloc = o->has_preallocation ? o->preallocation
                                                 : PREALLOC_MODE_OFF;

    if (prealloc != PREALLOC_MODE_OFF && prealloc != PREALLOC_MODE_METADATA) {
        error_setg(errp, "Preallocation mode '%s' is not supported by VDI "
                   "images", PreallocMode_str(prealloc));
        return -EINVAL;
    }
    if (o->size > (uint64_t)VDI_MAX_BLOCKS * VDI_BLOCK) {
        error_setg(errp, "Unsupported VDI image size (size is 0x%" PRIx64
                   ", max supported is 0x%" PRIx64 ")", o->size,
                   (uint64_t)VDI_MAX_BLOCKS * VDI_BLOCK);
        return -ENOTSUP;
    }
    c.is_static = prealloc == PREALLOC_MODE_METADATA;
    c.blocks = o->size / VDI_BLOCK + (o->size % VDI_BLOCK != 0);
    return bdrv_create_in_file(o->file, "vdi", vdi_write_image, &c, errp);
}

extern const BlockDriver bdrv_vdi;

const BlockDriver bdrv_vdi = {
    .format_name = "vdi",
    .instance_size = sizeof(VdiState),
    .is_format = true,
    .open = vdi_open,
    .close = vdi_close,
    .co_create = vdi_co_create,
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
    .get_info = mapped_get_info,
    .co_check = vdi_co_check,
    .has_zero_init = vdi_has_zero_init,
};
