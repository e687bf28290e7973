/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow: the first version of QEMU's format; can only be read.
 *
 * The L1 table has the places of L2 tables, which have those of clusters.  The
 * highest bit of an entry says that the cluster is compressed; the bits below
 * it are the number of bytes.  All numbers are big-endian.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/mapped.h"

#define QCOW_COMPRESSED (UINT64_C(1) << 63)
#define QCOW_MAX_NAME 1023

typedef struct QcowState {
    MappedImage mapped;
    MapTable l1;
    MapCache l2, cluster;
    unsigned cluster_bits, l2_bits;
} QcowState;

static int check_header(const uint8_t *h, Error **errp)
{
    if (ld32_be(h) != 0x514649fb || ld32_be(h + 4) != 1) {
        error_setg(errp, "Image is not in qcow format, version 1");
    } else if (ld32_be(h + 36) != 0) {
        error_setg(errp, "Encrypted qcow images are not supported");
        return -ENOTSUP;
    } else if (h[32] < 9 || h[32] > 16) {
        error_setg(errp, "Invalid qcow cluster size 2^%u", h[32]);
    } else if (h[33] < 6 || h[33] > 13) {
        error_setg(errp, "Invalid qcow L2 table of 2^%u entries", h[33]);
    } else if (ld64_be(h + 24) < 2 || ld64_be(h + 24) > BDRV_MAX_LENGTH) {
        error_setg(errp, "Invalid qcow image size %" PRIu64, ld64_be(h + 24));
    } else if (ld32_be(h + 16) > QCOW_MAX_NAME) {
        error_setg(errp, "Backing file name of a qcow image is too long");
    } else {
        return 0;
    }
    return -EINVAL;
}

static int read_backing(BlockDriverState *bs, const uint8_t *h, Error **errp)
{
    uint64_t at = ld64_be(h + 8);
    uint32_t bytes = ld32_be(h + 16);
    int64_t length = bdrv_getlength(bs->file->bs);
    char name[QCOW_MAX_NAME + 1] = "";
    int ret;

    if (!at || !bytes) {
        return 0;
    }
    if (length < 0 || !range_fits(at, bytes, length)) {
        error_setg(errp, "Backing file name of a qcow image is outside of the "
                   "file");
        return -EINVAL;
    }
    ret = bdrv_pread(bs->file, at, bytes, name);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the backing file name");
        return ret;
    }
    bs->backing_file = g_strdup(name);
    return 0;
}

static int coroutine_fn qcow_map(BlockDriverState *bs, int64_t offset,
                                 MappedRun *run)
{
    QcowState *s = bs->opaque;
    uint64_t cluster = (uint64_t)offset >> s->cluster_bits;
    uint64_t l2 = ld64_be(s->l1.raw + (cluster >> s->l2_bits) * 8), entry;
    const uint8_t *table;
    int ret;

    run->kind = MAPPED_HOLE;
    if (!l2) {
        return 0;
    }
    table = map_cache_read(bs, &s->l2, l2, 8U << s->l2_bits, &ret);
    if (!table) {
        return ret;
    }
    entry = ld64_be(table + (cluster & ((1U << s->l2_bits) - 1)) * 8);
    if (entry & QCOW_COMPRESSED) {
        run->kind = MAPPED_OTHER;
        run->host = entry & ~QCOW_COMPRESSED;
    } else if (entry) {
        run->kind = MAPPED_DATA;
        run->host = entry + offset % s->mapped.block;
        return range_fits(entry, s->mapped.block, INT64_MAX) ? 0 : -EIO;
    }
    return 0;
}

static int coroutine_fn qcow_read_other(BlockDriverState *bs, int64_t offset,
                                        const MappedRun *run,
                                        QEMUIOVector *qiov,
                                        size_t qiov_offset)
{
    QcowState *s = bs->opaque;
    unsigned shift = 63 - s->cluster_bits;
    uint32_t bytes = ((uint64_t)run->host >> shift) & (s->mapped.block - 1);
    uint64_t at = run->host & ((UINT64_C(1) << shift) - 1);
    const uint8_t *data;
    int ret;

    data = map_cache_unpack(bs, &s->cluster, at, MAX(bytes, 1),
                            s->mapped.block, MAP_DEFLATE, &ret);
    if (!data) {
        return ret;
    }
    qemu_iovec_from_buf(qiov, qiov_offset, data + offset - run->start,
                        run->bytes);
    return 0;
}

static const MappedOps qcow_ops = {
    .map = qcow_map,
    .read_other = qcow_read_other,
};

static int qcow_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    QcowState *s = bs->opaque;
    uint8_t h[48];
    uint64_t size, span;
    int ret;

    if (options->u.qcow.encrypt) {
        error_setg(errp, "Encrypted qcow images are not supported");
        return -ENOTSUP;
    }
    ret = mapped_open_read_only(bs, options->u.qcow.file, "qcow", h, sizeof(h),
                                errp);
    if (ret < 0) {
        return ret;
    }
    ret = check_header(h, errp);
    if (ret < 0) {
        return ret;
    }
    s->cluster_bits = h[32];
    s->l2_bits = h[33];
    size = ROUND_UP(ld64_be(h + 24), (uint64_t)BDRV_SECTOR_SIZE);
    span = UINT64_C(1) << (s->cluster_bits + s->l2_bits);
    mapped_init(&s->mapped, &qcow_ops, size, 1 << s->cluster_bits);
    ret = map_table_load(bs, &s->l1, "qcow L1 table", ld64_be(h + 40),
                         (size + span - 1) / span * 8, errp);
    if (ret == 0) {
        ret = read_backing(bs, h, errp);
    }
    if (ret < 0) {
        map_table_free(&s->l1);
    }
    return ret;
}

static void qcow_close(BlockDriverState *bs)
{
    QcowState *s = bs->opaque;

    map_table_free(&s->l1);
    map_cache_free(&s->l2);
    map_cache_free(&s->cluster);
}

extern const BlockDriver bdrv_qcow;

const BlockDriver bdrv_qcow = {
    .format_name = "qcow",
    .instance_size = sizeof(QcowState),
    .is_format = true,
    .supports_backing = true,
    .open = qcow_open,
    .close = qcow_close,
    .reopen_prepare = mapped_stay_read_only,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_block_status = mapped_co_block_status,
    .getlength = mapped_getlength,
    .get_info = mapped_get_info,
};
