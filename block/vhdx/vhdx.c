/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vhdx driver: headers, regions, blocks. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "qemu/crc32c.h"
#include "qemu/error.h"
#include "vhdx-int.h"

/* States of blocks, in the lowest bits of their entries. */
enum {
    VHDX_NOT_PRESENT = 0,
    VHDX_UNDEFINED = 1,
    VHDX_ZERO = 2,
    VHDX_UNMAPPED = 3,
    VHDX_UNMAPPED_V1 = 5,
    VHDX_PRESENT = 6,
    VHDX_PARTIAL = 7,
};

#define VHDX_STATE(entry) ((entry) & 7)
#define VHDX_PLACE(entry) ((entry) & ~(uint64_t)(MiB - 1))

uint32_t vhdx_checksum(const uint8_t *data, size_t bytes)
{
    static const uint8_t zero[4];
    uint32_t crc = crc32c(0, data, VHDX_AT_CHECKSUM);

    crc = crc32c(crc, zero, sizeof(zero));
    return crc32c(crc, data + VHDX_AT_CHECKSUM + 4,
                  bytes - VHDX_AT_CHECKSUM - 4);
}

void vhdx_random_guid(uint8_t *guid)
{
    for (int i = 0; i < 16; i += 4) {
        st32_le(guid + i, g_random_int());
    }
    guid[7] = (guid[7] & 0x0f) | 0x40;
    guid[8] = (guid[8] & 0x3f) | 0x80;
}

/* --- headers --- */

static bool read_header(BlockDriverState *bs, uint64_t at, uint8_t *header)
{
    return bdrv_pread(bs->file, at, VHDX_HEADER_BYTES, header) >= 0 &&
           !memcmp(header, "head", 4) &&
           ld32_le(header + VHDX_AT_CHECKSUM) ==
           vhdx_checksum(header, VHDX_HEADER_BYTES) &&
           ld16_le(header + VHDX_AT_VERSION) == 1;
}

/* The valid header with the larger number is the current one. */
static int read_headers(BlockDriverState *bs, Error **errp)
{
    VhdxState *s = bs->opaque;
    uint8_t id[8], other[VHDX_HEADER_BYTES];
    bool first;
    int64_t length = bdrv_getlength(bs->file->bs);
    int ret = bdrv_pread(bs->file, 0, sizeof(id), id);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VHDX header");
        return ret;
    }
    if (memcmp(id, "vhdxfile", 8)) {
        error_setg(errp, "Image is not in VHDX format");
        return -EINVAL;
    }
    first = read_header(bs, VHDX_HEADER_1, s->header);
    s->second = read_header(bs, VHDX_HEADER_2, other) &&
        (!first || ld64_le(other + VHDX_AT_SEQUENCE) >
                   ld64_le(s->header + VHDX_AT_SEQUENCE));
    if (!first && !s->second) {
        error_setg(errp, "No valid VHDX header found");
        return -EINVAL;
    }
    if (s->second) {
        memcpy(s->header, other, sizeof(other));
    }
    s->log = ld64_le(s->header + VHDX_AT_LOG);
    s->log_bytes = ld32_le(s->header + VHDX_AT_LOG_BYTES);
    if (s->log < VHDX_FIRST_REGION || s->log % MiB || s->log_bytes == 0 ||
        s->log_bytes % MiB || length < 0 ||
        !range_fits(s->log, s->log_bytes, length)) {
        error_setg(errp, "VHDX log is outside of the file, or not aligned");
        return -EINVAL;
    }
    return 0;
}

/* Both headers get new numbers and what has changed in s->header. */
static int write_headers(BlockDriverState *bs)
{
    VhdxState *s = bs->opaque;
    int ret = 0;

    for (int i = 0; ret >= 0 && i < 2; i++) {
        s->second = !s->second;
        st64_le(s->header + VHDX_AT_SEQUENCE,
                ld64_le(s->header + VHDX_AT_SEQUENCE) + 1);
        st32_le(s->header + VHDX_AT_CHECKSUM,
                vhdx_checksum(s->header, VHDX_HEADER_BYTES));
        ret = bdrv_pwrite_sync(bs->file, s->second ? VHDX_HEADER_2
                               : VHDX_HEADER_1, VHDX_HEADER_BYTES, s->header);
    }
    return MIN(ret, 0);
}

/* --- regions --- */

static int check_region(VhdxState *s, const uint8_t *entry, int64_t length,
                        Error **errp)
{
    uint64_t at = ld64_le(entry + 16), bytes = ld32_le(entry + 24);

    if (at < VHDX_FIRST_REGION || at % MiB || bytes == 0 || bytes % MiB ||
        !range_fits(at, bytes, length)) {
        error_setg(errp, "VHDX region is outside of the file, or not aligned");
        return -EINVAL;
    }
    if (!memcmp(entry, vhdx_guid_bat, 16)) {
        s->bat = at;
        s->bat_bytes = bytes;
    } else if (!memcmp(entry, vhdx_guid_meta, 16)) {
        s->meta = at;
        s->meta_bytes = bytes;
    } else if (ld32_le(entry + 28) & 1) {
        error_setg(errp, "VHDX image has a required region that is not known");
        return -ENOTSUP;
    }
    return 0;
}

static bool read_region_table(BlockDriverState *bs, uint64_t at, uint8_t *buf)
{
    return bdrv_pread(bs->file, at, VHDX_TABLE_BYTES, buf) >= 0 &&
           !memcmp(buf, "regi", 4) &&
           ld32_le(buf + VHDX_AT_CHECKSUM) ==
           vhdx_checksum(buf, VHDX_TABLE_BYTES);
}

static int read_regions(BlockDriverState *bs, Error **errp)
{
    VhdxState *s = bs->opaque;
    g_autofree uint8_t *buf = g_malloc(VHDX_TABLE_BYTES);
    int64_t length = bdrv_getlength(bs->file->bs);
    uint32_t count;

    if (!read_region_table(bs, VHDX_REGIONS_1, buf) &&
        !read_region_table(bs, VHDX_REGIONS_2, buf)) {
        error_setg(errp, "No valid VHDX region table found");
        return -EINVAL;
    }
    count = ld32_le(buf + 8);
    if (count > 2047) {
        error_setg(errp, "VHDX region table has %" PRIu32 " entries", count);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < count; i++) {
        int ret = check_region(s, buf + 16 + i * 32, length, errp);

        if (ret < 0) {
            return ret;
        }
    }
    if (!s->bat || !s->meta) {
        error_setg(errp, "VHDX image lacks the region of the block table or "
                   "of the metadata");
        return -EINVAL;
    }
    return 0;
}

/* --- metadata --- */

typedef struct Meta {
    uint32_t block, flags, logical, physical;
    uint64_t size;
    unsigned found; /* of the four items that are needed */
    bool unknown;   /* another item is required, too */
} Meta;

/* What the items are for. */
static void take_item(const uint8_t *guid, const uint8_t *data,
                      uint32_t bytes, bool required, Meta *m)
{
    if (!memcmp(guid, vhdx_guid_params, 16) && bytes >= 8) {
        m->block = ld32_le(data);
        m->flags = ld32_le(data + 4);
        m->found |= 1;
    } else if (!memcmp(guid, vhdx_guid_size, 16) && bytes >= 8) {
        m->size = ld64_le(data);
        m->found |= 2;
    } else if (!memcmp(guid, vhdx_guid_logical, 16) && bytes >= 4) {
        m->logical = ld32_le(data);
        m->found |= 4;
    } else if (!memcmp(guid, vhdx_guid_physical, 16) && bytes >= 4) {
        m->physical = ld32_le(data);
        m->found |= 8;
    } else if (memcmp(guid, vhdx_guid_page83, 16)) {
        m->unknown |= required;
    }
}

static int check_meta(const Meta *m, Error **errp)
{
    /* The name of a parent is an item, too. */
    if ((m->found & 1) && (m->flags & 2)) {
        error_setg(errp, "Differencing VHDX images, which have a parent, are "
                   "not supported");
        return -ENOTSUP;
    } else if (m->unknown) {
        error_setg(errp, "VHDX image has a required metadata item that is not "
                   "known");
        return -ENOTSUP;
    } else if (m->found != 15) {
        error_setg(errp, "VHDX image lacks metadata items");
    } else if (!is_power_of_2(m->block) || m->block < MiB ||
               m->block > 256 * MiB) {
        error_setg(errp, "Invalid VHDX block size %" PRIu32, m->block);
    } else if (m->logical != 512 && m->logical != 4096) {
        error_setg(errp, "Invalid VHDX sector size %" PRIu32, m->logical);
    } else if (m->size > VHDX_MAX_BYTES || m->size % m->logical) {
        error_setg(errp, "Invalid VHDX disk size %" PRIu64, m->size);
    } else {
        return 0;
    }
    return -EINVAL;
}

static int read_meta(BlockDriverState *bs, Meta *m, Error **errp)
{
    VhdxState *s = bs->opaque;
    g_autofree uint8_t *table = g_malloc(VHDX_TABLE_BYTES);
    int ret = bdrv_pread(bs->file, s->meta, VHDX_TABLE_BYTES, table);
    unsigned count = ret < 0 ? 0 : ld16_le(table + 10);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VHDX metadata");
        return ret;
    }
    if (memcmp(table, "metadata", 8) || count > 2047) {
        error_setg(errp, "Invalid VHDX metadata table");
        return -EINVAL;
    }
    for (unsigned i = 0; ret >= 0 && i < count; i++) {
        const uint8_t *entry = table + 32 + i * 32;
        uint32_t at = ld32_le(entry + 16), bytes = ld32_le(entry + 20);
        uint8_t data[8] = {};

        if (bytes > MiB || !range_fits(at, bytes, s->meta_bytes)) {
            error_setg(errp, "VHDX metadata item is outside of its region");
            return -EINVAL;
        }
        ret = bdrv_pread(bs->file, s->meta + at, MIN(bytes, sizeof(data)),
                         data);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not read the VHDX metadata");
            return ret;
        }
        take_item(entry, data, bytes, ld32_le(entry + 24) & 4, m);
    }
    return ret < 0 ? ret : check_meta(m, errp);
}

/* --- opening --- */

static const MappedOps vhdx_ops;

static bool is_null_guid(const uint8_t *guid)
{
    static const uint8_t null[16];

    return !memcmp(guid, null, sizeof(null));
}

static int replay(BlockDriverState *bs, Error **errp)
{
    VhdxState *s = bs->opaque;
    int ret;

    if (is_null_guid(s->header + VHDX_AT_LOG_GUID)) {
        return 0;
    }
    if (ld16_le(s->header + VHDX_AT_LOG_VERSION) != 0) {
        error_setg(errp, "Unsupported VHDX log version %u",
                   ld16_le(s->header + VHDX_AT_LOG_VERSION));
        return -ENOTSUP;
    }
    ret = vhdx_log_replay(bs, errp);
    if (ret <= 0) {
        return ret;
    }
    memset(s->header + VHDX_AT_LOG_GUID, 0, 16);
    ret = write_headers(bs);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the VHDX headers");
    }
    return ret;
}

static uint64_t entry_pos(const VhdxState *s, uint64_t block)
{
    return (block + block / s->ratio) * 8;
}

static bool overlaps(uint64_t at, uint64_t bytes, uint64_t other,
                     uint64_t other_bytes)
{
    return at < other + other_bytes && other < at + bytes;
}

static bool is_place_of_block(const VhdxState *s, uint64_t at, int64_t length)
{
    uint64_t block = s->mapped.block;

    return at >= VHDX_FIRST_REGION && length >= 0 &&
           range_fits(at, block, ROUND_UP((uint64_t)length, MiB)) &&
           !overlaps(at, block, s->log, s->log_bytes) &&
           !overlaps(at, block, s->bat, s->bat_bytes) &&
           !overlaps(at, block, s->meta, s->meta_bytes);
}

static int check_blocks(BlockDriverState *bs, Error **errp)
{
    VhdxState *s = bs->opaque;
    int64_t length = bdrv_getlength(bs->file->bs);
    uint64_t blocks = (s->mapped.size + s->mapped.block - 1) / s->mapped.block;

    s->next = ROUND_UP((uint64_t)MAX(length, 0), MiB);
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t entry = ld64_le(s->table.raw + entry_pos(s, i));

        if (VHDX_STATE(entry) == VHDX_PARTIAL || VHDX_STATE(entry) == 4) {
            error_setg(errp, "VHDX block %" PRIu64 " has the state %u, which "
                       "is not possible without a parent", i,
                       (unsigned)VHDX_STATE(entry));
            return -EINVAL;
        }
        if (VHDX_STATE(entry) == VHDX_PRESENT &&
            !is_place_of_block(s, VHDX_PLACE(entry), length)) {
            error_setg(errp, "VHDX block %" PRIu64 " is outside of the data of "
                       "the file", i);
            return -EINVAL;
        }
    }
    return 0;
}

static int open_blocks(BlockDriverState *bs, const Meta *m, Error **errp)
{
    VhdxState *s = bs->opaque;
    uint64_t blocks = (m->size + m->block - 1) / m->block;
    uint64_t entries;
    int ret;

    s->ratio = ((uint64_t)m->logical << 23) / m->block;
    entries = blocks ? blocks + (blocks - 1) / s->ratio : 0;
    if (entries * 8 > s->bat_bytes) {
        error_setg(errp, "VHDX block table is too small for the disk of %"
                   PRIu64 " bytes", m->size);
        return -EINVAL;
    }
    mapped_init(&s->mapped, &vhdx_ops, m->size, m->block);
    ret = map_table_load(bs, &s->table, "VHDX block table", s->bat,
                         entries * 8, errp);
    if (ret == 0) {
        ret = check_blocks(bs, errp);
    }
    if (ret < 0) {
        map_table_free(&s->table);
    }
    return ret;
}

static int vhdx_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    Meta m = {};
    int ret;

    if (!bdrv_open_child(bs, options->u.vhdx.file, "file", BDRV_CHILD_IMAGE,
                         errp)) {
        return -EINVAL;
    }
    ret = read_headers(bs, errp);
    if (ret == 0) {
        ret = replay(bs, errp);
    }
    if (ret == 0) {
        ret = read_regions(bs, errp);
    }
    if (ret == 0) {
        ret = read_meta(bs, &m, errp);
    }
    return ret < 0 ? ret : open_blocks(bs, &m, errp);
}

static void vhdx_close(BlockDriverState *bs)
{
    VhdxState *s = bs->opaque;

    mapped_close(bs);
    map_table_free(&s->table);
}

/* --- blocks --- */

static int coroutine_fn vhdx_map(BlockDriverState *bs, int64_t offset,
                                 MappedRun *run)
{
    VhdxState *s = bs->opaque;
    uint64_t entry = ld64_le(s->table.raw +
                             entry_pos(s, offset / s->mapped.block));

    if (VHDX_STATE(entry) == VHDX_PRESENT) {
        run->kind = MAPPED_DATA;
        run->host = VHDX_PLACE(entry) + offset % s->mapped.block;
    } else {
        run->kind = MAPPED_ZERO;
    }
    return 0;
}

static int coroutine_fn vhdx_allocate(BlockDriverState *bs, int64_t start,
                                      BdrvChild **file, int64_t *host)
{
    VhdxState *s = bs->opaque;

    if (s->next > INT64_MAX - s->mapped.block) {
        return -EFBIG;
    }
    *host = s->next;
    return 0;
}

static int coroutine_fn vhdx_link(BlockDriverState *bs, int64_t start,
                                  BdrvChild *file, int64_t host)
{
    VhdxState *s = bs->opaque;
    uint64_t pos = entry_pos(s, start / s->mapped.block);

    st64_le(s->table.raw + pos, host | VHDX_PRESENT);
    map_table_mark(&s->table, pos, 8);
    s->next = host + s->mapped.block;
    s->dirty = true;
    return 0;
}

static int coroutine_fn vhdx_write_back(BlockDriverState *bs)
{
    VhdxState *s = bs->opaque;
    int ret;

    if (!s->dirty) {
        return 0;
    }
    ret = bdrv_co_flush(bs->file->bs);
    if (ret >= 0) {
        ret = map_table_write_back(bs, &s->table);
    }
    if (ret >= 0) {
        s->dirty = false;
    }
    return ret;
}

static const MappedOps vhdx_ops = {
    .map = vhdx_map,
    .allocate = vhdx_allocate,
    .link = vhdx_link,
    .write_back = vhdx_write_back,
};

/* Before the first write the image gets new IDs of file and data. */
static int coroutine_fn change_guids(BlockDriverState *bs)
{
    VhdxState *s = bs->opaque;
    int ret;

    CO_MUTEX_GUARD(&s->mapped.lock);
    if (s->guid_changed) {
        return 0;
    }
    vhdx_random_guid(s->header + VHDX_AT_FILE_GUID);
    vhdx_random_guid(s->header + VHDX_AT_DATA_GUID);
    /* If there was a log, nothing in it was valid. */
    memset(s->header + VHDX_AT_LOG_GUID, 0, 16);
    ret = write_headers(bs);
    s->guid_changed = ret == 0;
    return ret;
}

static int coroutine_fn vhdx_co_pwritev(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset,
                                        BdrvRequestFlags flags)
{
    VhdxState *s = bs->opaque;
    int ret = s->guid_changed ? 0 : change_guids(bs);

    return ret < 0 ? ret : mapped_co_pwritev(bs, offset, bytes, qiov,
                                             qiov_offset, flags);
}

static int coroutine_fn vhdx_co_pwrite_zeroes(BlockDriverState *bs,
                                              int64_t offset, int64_t bytes,
                                              BdrvRequestFlags flags)
{
    VhdxState *s = bs->opaque;
    int ret = s->guid_changed ? 0 : change_guids(bs);

    return ret < 0 ? ret : mapped_co_pwrite_zeroes(bs, offset, bytes, flags);
}

static int coroutine_fn vhdx_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes)
{
    VhdxState *s = bs->opaque;
    int ret = s->guid_changed ? 0 : change_guids(bs);

    return ret < 0 ? ret : mapped_co_pdiscard(bs, offset, bytes);
}

/* --- information --- */

/* Opening has checked where blocks are; here, whether two share a place. */
static int coroutine_fn vhdx_co_check(BlockDriverState *bs,
                                      BdrvCheckResult *result, int fix)
{
    VhdxState *s = bs->opaque;
    int64_t length = bdrv_getlength(bs->file->bs);
    g_autoptr(HBitmap) used = length < 0 ? NULL
        : hbitmap_try_new(length / MiB + 1 + s->mapped.block / MiB, 1);
    int64_t block = s->mapped.block;

    if (!used) {
        return -ENOMEM;
    }
    for (int64_t i = 0; i * block < s->mapped.size; i++) {
        uint64_t entry = ld64_le(s->table.raw + entry_pos(s, i));
        int64_t at = VHDX_PLACE(entry) / MiB;

        if (VHDX_STATE(entry) != VHDX_PRESENT) {
            continue;
        }
        if (hbitmap_next_dirty(used, at, block / MiB) >= 0) {
            fprintf(stderr, "ERROR: block %" PRId64 " overlaps another one\n",
                    i);
            result->corruptions++;
        }
        hbitmap_set(used, at, block / MiB);
    }
    return 0;
}

static bool vhdx_has_zero_init(BlockDriverState *bs)
{
    return bdrv_has_zero_init(bs->file->bs);
}

extern const BlockDriver bdrv_vhdx;

const BlockDriver bdrv_vhdx = {
    .format_name = "vhdx",
    .instance_size = sizeof(VhdxState),
    .is_format = true,
    .open = vhdx_open,
    .close = vhdx_close,
    .co_create = vhdx_co_create,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_pwritev = vhdx_co_pwritev,
    .co_pwrite_zeroes = vhdx_co_pwrite_zeroes,
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP,
    .co_pdiscard = vhdx_co_pdiscard,
    .co_block_status = mapped_co_block_status,
    .co_flush = mapped_co_flush,
    .getlength = mapped_getlength,
    .get_info = mapped_get_info,
    .co_check = vhdx_co_check,
    .has_zero_init = vhdx_has_zero_init,
};
