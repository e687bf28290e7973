/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Creating vhdx images. */
#include "qemu/osdep.h"
#include "block/create-file.h"
#include "block/graph.h"
#include "qapi/qapi-types-block-image.h"
#include "qemu/error.h"
#include "vhdx-int.h"

#define CREATOR "Tidemark"
#define ITEMS (64 * KiB) /* where items are in the region of metadata */
#define SECTOR_BYTES 512
#define CHUNK_SECTORS (1 << 23)

/* GUIDs as they are in the file. */
const uint8_t vhdx_guid_bat[16] = {
    0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
    0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08,
};
const uint8_t vhdx_guid_meta[16] = {
    0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
    0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e,
};
const uint8_t vhdx_guid_params[16] = {
    0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
    0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b,
};
const uint8_t vhdx_guid_size[16] = {
    0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
    0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8,
};
const uint8_t vhdx_guid_page83[16] = {
    0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45,
    0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46,
};
const uint8_t vhdx_guid_logical[16] = {
    0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
    0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f,
};
const uint8_t vhdx_guid_physical[16] = {
    0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44,
    0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56,
};

typedef struct Create {
    const BlockdevCreateOptionsVhdx *o;
    bool fixed, zero;
    uint64_t block, blocks, entries;
    uint64_t log, log_bytes, bat, bat_bytes, meta, data, end;
} Create;

/* --- structures --- */

static int coroutine_fn write_id(BdrvChild *file)
{
    uint8_t id[4 * KiB] = "vhdxfile";

    for (size_t i = 0; i < strlen(CREATOR); i++) {
        st16_le(id + 8 + i * 2, CREATOR[i]);
    }
    return bdrv_co_pwrite(file, 0, sizeof(id), id, 0);
}

static int coroutine_fn write_headers(BdrvChild *file, const Create *c)
{
    uint8_t h[VHDX_HEADER_BYTES] = "head";
    int ret = 0;

    vhdx_random_guid(h + VHDX_AT_FILE_GUID);
    vhdx_random_guid(h + VHDX_AT_DATA_GUID);
    st16_le(h + VHDX_AT_VERSION, 1);
    st32_le(h + VHDX_AT_LOG_BYTES, c->log_bytes);
    st64_le(h + VHDX_AT_LOG, c->log);
    for (int i = 0; ret >= 0 && i < 2; i++) {
        st64_le(h + VHDX_AT_SEQUENCE, i + 1);
        st32_le(h + VHDX_AT_CHECKSUM, vhdx_checksum(h, sizeof(h)));
        ret = bdrv_co_pwrite(file, i ? VHDX_HEADER_2 : VHDX_HEADER_1,
                             sizeof(h), h, 0);
    }
    return ret;
}

static void put_region(uint8_t *table, int i, const uint8_t *guid, uint64_t at,
                       uint32_t bytes)
{
    uint8_t *entry = table + 16 + i * 32;

    memcpy(entry, guid, 16);
    st64_le(entry + 16, at);
    st32_le(entry + 24, bytes);
    st32_le(entry + 28, 1); /* required */
}

static int coroutine_fn write_regions(BdrvChild *file, const Create *c)
{
    g_autofree uint8_t *table = g_malloc0(VHDX_TABLE_BYTES);
    int ret;

    memcpy(table, "regi", 4);
    st32_le(table + 8, 2);
    put_region(table, 0, vhdx_guid_bat, c->bat, c->bat_bytes);
    put_region(table, 1, vhdx_guid_meta, c->meta, MiB);
    st32_le(table + VHDX_AT_CHECKSUM, vhdx_checksum(table, VHDX_TABLE_BYTES));
    ret = bdrv_co_pwrite(file, VHDX_REGIONS_1, VHDX_TABLE_BYTES, table, 0);
    return ret < 0 ? ret : bdrv_co_pwrite(file, VHDX_REGIONS_2,
                                          VHDX_TABLE_BYTES, table, 0);
}

/* Item @i, at @at behind the table. */
static void put_item(uint8_t *table, int i, const uint8_t *guid, uint32_t at,
                     uint32_t bytes, uint32_t flags)
{
    uint8_t *entry = table + 32 + i * 32;

    memcpy(entry, guid, 16);
    st32_le(entry + 16, ITEMS + at);
    st32_le(entry + 20, bytes);
    st32_le(entry + 24, flags);
    st16_le(table + 10, i + 1);
}

static int coroutine_fn write_meta(BdrvChild *file, const Create *c)
{
    g_autofree uint8_t *m = g_malloc0(ITEMS + 4 * KiB);
    uint8_t *items = m + ITEMS;

    memcpy(m, "metadata", 8);
    put_item(m, 0, vhdx_guid_params, 0, 8, 4);
    put_item(m, 1, vhdx_guid_size, 8, 8, 6);
    put_item(m, 2, vhdx_guid_page83, 16, 16, 6);
    put_item(m, 3, vhdx_guid_logical, 32, 4, 6);
    put_item(m, 4, vhdx_guid_physical, 36, 4, 6);
    st32_le(items, c->block);
    st32_le(items + 4, c->fixed); /* leave blocks allocated */
    st64_le(items + 8, c->o->size);
    vhdx_random_guid(items + 16);
    st32_le(items + 32, SECTOR_BYTES);
    st32_le(items + 36, SECTOR_BYTES);
    return bdrv_co_pwrite(file, c->meta, ITEMS + 4 * KiB, m, 0);
}

/* The entry of block @i of the disk: present, zero, or not present. */
static uint64_t block_entry(const Create *c, uint64_t i)
{
    return c->fixed ? (c->data + i * c->block) | 6 : c->zero ? 2 : 0;
}

static int coroutine_fn write_bat(BdrvChild *file, const Create *c)
{
    uint64_t ratio = (uint64_t)CHUNK_SECTORS * SECTOR_BYTES / c->block;
    uint64_t bytes = ROUND_UP(c->entries * 8, SECTOR_BYTES), at = 0;
    g_autofree uint8_t *buf = g_malloc(64 * KiB);
    int ret = 0;

    while (ret >= 0 && at < bytes) {
        uint64_t n = MIN(bytes - at, 64 * KiB);

        for (uint64_t pos = 0; pos < n; pos += 8) {
            uint64_t e = (at + pos) / 8;
            bool bitmap = e % (ratio + 1) == ratio;

            st64_le(buf + pos, bitmap || e >= c->entries
                    ? 0 : block_entry(c, e - e / (ratio + 1)));
        }
        ret = bdrv_co_pwrite(file, c->bat + at, n, buf, 0);
        at += n;
    }
    return ret;
}

static int coroutine_fn vhdx_write_image(BdrvChild *file, void *opaque,
                                         Error **errp)
{
    const Create *c = opaque;
    int64_t left;
    int ret = bdrv_create_empty(file, errp);

    if (ret < 0) {
        return ret;
    }
    left = MIN(bdrv_getlength(file->bs), (int64_t)c->end);
    ret = bdrv_co_truncate(file, c->end, false, PREALLOC_MODE_OFF, 0, errp);
    if (ret < 0) {
        return ret;
    }
    if (left > 0) {
        ret = bdrv_co_pwrite_zeroes(file, 0, left, BDRV_REQ_MAY_UNMAP);
    }
    ret = ret < 0 ? ret : write_bat(file, c);
    ret = ret < 0 ? ret : write_meta(file, c);
    ret = ret < 0 ? ret : write_regions(file, c);
    ret = ret < 0 ? ret : write_headers(file, c);
    ret = ret < 0 ? ret : write_id(file);
    ret = ret < 0 ? ret : bdrv_co_flush(file->bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the VHDX image");
    }
    return MIN(ret, 0);
}

/* --- options --- */

static uint64_t default_block(uint64_t size)
{
    return size > 32 * TiB ? 64 * MiB
         : size > 100 * GiB ? 32 * MiB
         : size > 1 * GiB ? 16 * MiB : 8 * MiB;
}

static bool check_options(const Create *c, Error **errp)
{
    if (c->o->size > VHDX_MAX_BYTES) {
        error_setg(errp, "Image size too large; max of 64TB");
    } else if (c->o->size % SECTOR_BYTES) {
        error_setg(errp, "Image size must be a multiple of %d bytes",
                   SECTOR_BYTES);
    } else if (c->log_bytes < MiB || c->log_bytes > UINT32_MAX ||
               c->log_bytes % MiB) {
        error_setg(errp, "Log size must be a multiple of 1 MB, and less than "
                   "4 GB");
    } else if (!is_power_of_2(c->block)) {
        error_setg(errp, "Block size must be a power of two");
    } else if (c->block < MiB || c->block > 256 * MiB) {
        error_setg(errp, "Block size must be between 1 MB and 256 MB");
    } else {
        return true;
    }
    return false;
}

static void lay_out(Create *c)
{
    uint64_t ratio = (uint64_t)CHUNK_SECTORS * SECTOR_BYTES / c->block;

    c->blocks = (c->o->size + c->block - 1) / c->block;
    c->entries = c->blocks ? c->blocks + (c->blocks - 1) / ratio : 0;
    c->log = VHDX_FIRST_REGION;
    c->bat = c->log + c->log_bytes;
    c->bat_bytes = ROUND_UP(MAX(c->entries * 8, 1), MiB);
    c->meta = c->bat + c->bat_bytes;
    c->data = c->meta + MiB;
    c->end = c->data + (c->fixed ? c->blocks * c->block : 0);
}

int coroutine_fn vhdx_co_create(BlockdevCreateOptions *options, Error **errp)
{
    const BlockdevCreateOptionsVhdx *o = &options->u.vhdx;
    Create c = {
        .o = o,
        .fixed = o->has_subformat &&
                 o->subformat == BLOCKDEV_VHDX_SUBFORMAT_FIXED,
        .zero = !o->has_block_state_zero || o->block_state_zero,
        .block = o->has_block_size && o->block_size
            ? o->block_size : default_block(o->size),
        .log_bytes = o->has_log_size && o->log_size ? o->log_size : MiB,
    };

    if (!check_options(&c, errp)) {
        return -EINVAL;
    }
    lay_out(&c);
    return bdrv_create_in_file(o->file, "vhdx", vhdx_write_image, &c, errp);
}
