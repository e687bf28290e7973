/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qed: QEMU's "enhanced disk"; can only be read.
 *
 * The L1 table has the places of L2 tables, which have those of clusters; 0
 * means none, 1 a cluster of zeroes.  All numbers are little-endian.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/mapped.h"

#define QED_BACKING (1U << 0)
#define QED_NEED_CHECK (1U << 1)   /* of no interest for reading */
#define QED_BACKING_RAW (1U << 2)  /* its format must not be probed */
#define QED_MAX_NAME 1023

typedef struct QedState {
    MappedImage mapped;
    MapTable l1;
    MapCache l2;
    uint64_t table; /* entries of a table */
} QedState;

static int check_header(const uint8_t *h, Error **errp)
{
    uint64_t features = ld64_le(h + 16), size = ld64_le(h + 48);
    uint32_t cluster = ld32_le(h + 4), table = ld32_le(h + 8);

    if (memcmp(h, "QED", 4)) {
        error_setg(errp, "Image is not in QED format");
    } else if (features & ~(uint64_t)(QED_BACKING | QED_NEED_CHECK |
                                      QED_BACKING_RAW)) {
        error_setg(errp, "Unsupported QED features: %" PRIx64, features);
        return -ENOTSUP;
    } else if (!is_power_of_2(cluster) || cluster < 4 * KiB ||
               cluster > 64 * MiB) {
        error_setg(errp, "QED cluster size is invalid: %" PRIu32, cluster);
    } else if (!is_power_of_2(table) || table > 16) {
        error_setg(errp, "QED table size is invalid: %" PRIu32, table);
    } else if (size > BDRV_MAX_LENGTH || size % BDRV_SECTOR_SIZE) {
        error_setg(errp, "QED image size is invalid: %" PRIu64, size);
    } else {
        return 0;
    }
    return -EINVAL;
}

static int read_backing(BlockDriverState *bs, const uint8_t *h, Error **errp)
{
    uint64_t features = ld64_le(h + 16);
    uint64_t at = ld32_le(h + 56), bytes = ld32_le(h + 60);
    int64_t length = bdrv_getlength(bs->file->bs);
    char name[QED_MAX_NAME + 1] = "";
    int ret;

    if (!(features & QED_BACKING)) {
        return 0;
    }
    if (bytes > QED_MAX_NAME || length < 0 || !range_fits(at, bytes, length)) {
        error_setg(errp, "Backing file name of a QED image is too long or "
                   "outside of the file");
        return -EINVAL;
    }
    ret = bytes ? bdrv_pread(bs->file, at, bytes, name) : 0;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the backing file name");
        return ret;
    }
    bs->backing_file = g_strdup(name);
    bs->backing_format = features & QED_BACKING_RAW ? g_strdup("raw") : NULL;
    return 0;
}

static int coroutine_fn qed_map(BlockDriverState *bs, int64_t offset,
                                MappedRun *run)
{
    QedState *s = bs->opaque;
    uint64_t cluster = offset / s->mapped.block, entry, l2;
    int64_t length = bdrv_getlength(bs->file->bs);
    const uint8_t *table;
    int ret;

    run->kind = MAPPED_HOLE;
    l2 = ld64_le(s->l1.raw + cluster / s->table * 8);
    if (!l2) {
        return 0;
    }
    table = map_cache_read(bs, &s->l2, l2, s->table * 8, &ret);
    if (!table) {
        return ret;
    }
    entry = ld64_le(table + cluster % s->table * 8);
    if (entry == 1) {
        run->kind = MAPPED_ZERO;
    } else if (entry) {
        run->kind = MAPPED_DATA;
        run->host = entry + offset % s->mapped.block;
        if (entry % s->mapped.block || length < 0 ||
            !range_fits(entry, 1, length)) {
            return -EIO;
        }
    }
    return 0;
}

static const MappedOps qed_ops = {
    .map = qed_map,
};

static int open_tables(BlockDriverState *bs, const uint8_t *h, Error **errp)
{
    QedState *s = bs->opaque;
    uint64_t cluster = ld32_le(h + 4), size = ld64_le(h + 48);

    s->table = cluster * ld32_le(h + 8) / 8;
    if (size / cluster > s->table * s->table) {
        error_setg(errp, "QED image size is invalid: %" PRIu64, size);
        return -EINVAL;
    }
    mapped_init(&s->mapped, &qed_ops, size, cluster);
    return map_table_load(bs, &s->l1, "QED L1 table", ld64_le(h + 40),
                          s->table * 8, errp);
}

static int qed_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    QedState *s = bs->opaque;
    uint8_t h[64];
    int ret;

    ret = mapped_open_read_only(bs, options->u.qed.file, "QED", h, sizeof(h),
                                errp);
    if (ret < 0) {
        return ret;
    }
    ret = check_header(h, errp);
    if (ret == 0) {
        ret = open_tables(bs, h, errp);
    }
    if (ret == 0) {
        ret = read_backing(bs, h, errp);
    }
    if (ret < 0) {
        map_table_free(&s->l1);
    }
    return MIN(ret, 0);
}

/* Clusters that neither tables nor data take are leaks. */
static int coroutine_fn qed_co_check(BlockDriverState *bs,
                                     BdrvCheckResult *result, int fix)
{
    const QedState *s = bs->opaque;
    int64_t table = s->table * 8 / s->mapped.block, used = 1 + table, end;
    int64_t length = bdrv_getlength(bs->file->bs);
    int ret = mapped_check_blocks(bs, result, fix, &end);

    for (uint64_t i = 0; i < s->table; i++) {
        used += ld64_le(s->l1.raw + i * 8) ? table : 0;
    }
    used += result->allocated_clusters;
    if (ret == 0 && length > used * s->mapped.block) {
        result->leaks = DIV_ROUND_UP(length, s->mapped.block) - used;
    }
    return ret;
}

static void qed_close(BlockDriverState *bs)
{
    QedState *s = bs->opaque;

    map_table_free(&s->l1);
    map_cache_free(&s->l2);
}

extern const BlockDriver bdrv_qed;

const BlockDriver bdrv_qed = {
    .format_name = "qed",
    .instance_size = sizeof(QedState),
    .is_format = true,
    .supports_backing = true,
    .open = qed_open,
    .close = qed_close,
    .reopen_prepare = mapped_stay_read_only,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_block_status = mapped_co_block_status,
    .getlength = mapped_getlength,
    .get_info = mapped_get_info,
    .co_check = qed_co_check,
};
