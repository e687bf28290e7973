/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Creating an image.  The options determine the place of each part, so all is
 * written in one pass, the header last:
 *
 *     header | refcount table | refcount blocks | L1 | L2 tables | data
 */
#include "qemu/osdep.h"

#include "block/create-file.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/refcount-int.h"
#include "qapi/qapi-types-block-image.h"

/* --- layout --- */

/* Fills in the refcount table, the refcount blocks and the total of @l. */
static void layout_refcounts(unsigned cluster_bits, unsigned refcount_order,
                             Qcow2Layout *l)
{
    unsigned rb_bits = cluster_bits + 3 - refcount_order;
    uint64_t base = 1 + l->data + l->l2 + l->l1, blocks;

    /* The table and the blocks contain their own counts, too. */
    l->blocks = 0;
    l->table = 1;
    do {
        blocks = l->blocks;
        l->total = base + l->blocks + l->table;
        l->blocks = (l->total + (UINT64_C(1) << rb_bits) - 1) >> rb_bits;
        l->table = (l->blocks * 8 + (UINT64_C(1) << cluster_bits) - 1)
                   >> cluster_bits;
    } while (l->blocks != blocks);
    l->total = base + l->blocks + l->table;
}

bool qcow2_layout(uint64_t size, unsigned cluster_bits,
                  unsigned refcount_order, bool allocated,
                  Qcow2Layout *l)
{
    uint64_t cluster = UINT64_C(1) << cluster_bits;
    uint64_t clusters = size / cluster + (size % cluster != 0);

    memset(l, 0, sizeof(*l));
    l->l1_entries = (clusters + cluster / 8 - 1) >> (cluster_bits - 3);
    if (size > BDRV_MAX_LENGTH || l->l1_entries > QCOW2_MAX_L1_BYTES / 8) {
        return false;
    }
    l->l1 = (l->l1_entries * 8 + cluster - 1) >> cluster_bits;
    l->l2 = allocated ? l->l1_entries : 0;
    l->data = allocated ? clusters : 0;
    layout_refcounts(cluster_bits, refcount_order, l);
    return l->table << cluster_bits <= MAX(QCOW2_MAX_REFTABLE_BYTES, cluster);
}

/* --- writing --- */

typedef struct Create {
    BdrvChild *file;
    const BlockdevCreateOptionsQcow2 *o;
    unsigned cluster_bits, order;
    uint64_t cluster_size;
    Qcow2Layout layout;
    uint8_t *buf; /* one cluster */
} Create;

static uint64_t table_start(const Create *c)
{
    return 1;
}

static uint64_t blocks_start(const Create *c)
{
    return table_start(c) + c->layout.table;
}

static uint64_t l1_start(const Create *c)
{
    return blocks_start(c) + c->layout.blocks;
}

static uint64_t l2_start(const Create *c)
{
    return l1_start(c) + c->layout.l1;
}

static uint64_t data_start(const Create *c)
{
    return l2_start(c) + c->layout.l2;
}

/*
 * Writes a table of 64-bit entries over @clusters clusters from @start: entry
 * i is @flags | cluster number @first + i, for i < @n.
 */
static int coroutine_fn write_pointers(Create *c, uint64_t start,
                                       uint64_t clusters, uint64_t first,
                                       uint64_t n, uint64_t flags)
{
    uint64_t per = c->cluster_size / 8;
    int ret = 0;

    for (uint64_t k = 0; ret >= 0 && k < clusters; k++) {
        memset(c->buf, 0, c->cluster_size);
        for (uint64_t i = 0; i < per && k * per + i < n; i++) {
            st64_be(c->buf + i * 8,
                    ((first + k * per + i) << c->cluster_bits) | flags);
        }
        ret = bdrv_co_pwrite(c->file, (start + k) << c->cluster_bits,
                             c->cluster_size, c->buf, 0);
    }
    return ret < 0 ? ret : 0;
}

static int coroutine_fn write_refblocks(Create *c)
{
    uint64_t per = UINT64_C(1) << (c->cluster_bits + 3 - c->order);
    int ret = 0;

    for (uint64_t k = 0; ret >= 0 && k < c->layout.blocks; k++) {
        memset(c->buf, 0, c->cluster_size);
        for (uint64_t i = 0; i < per && k * per + i < c->layout.total; i++) {
            qcow2_refcount_set(c->buf, i, c->order, 1);
        }
        ret = bdrv_co_pwrite(c->file, (blocks_start(c) + k) << c->cluster_bits,
                             c->cluster_size, c->buf, 0);
    }
    return ret < 0 ? ret : 0;
}

static int coroutine_fn write_header(Create *c)
{
    const BlockdevCreateOptionsQcow2 *o = c->o;
    Qcow2Header h = {
        .version = o->version == BLOCKDEV_QCOW2_VERSION_V2 ? 2 : 3,
        .cluster_bits = c->cluster_bits,
        .size = o->size,
        .l1_size = c->layout.l1_entries,
        .l1_offset = c->layout.l1 ? l1_start(c) << c->cluster_bits : 0,
        .reftable_offset = table_start(c) << c->cluster_bits,
        .reftable_clusters = c->layout.table,
        .refcount_order = c->order,
        .compatible = o->lazy_refcounts ? QCOW2_COMPAT_LAZY : 0,
        .incompatible = o->compression_type == QCOW2_COMPRESSION_TYPE_ZSTD
            ? QCOW2_INCOMPAT_COMPRESSION : 0,
        .compression_type = o->compression_type ==
                            QCOW2_COMPRESSION_TYPE_ZSTD,
    };
    int ret;

    memset(c->buf, 0, c->cluster_size);
    if (!qcow2_header_build(&h, o->backing_file, o->has_backing_fmt
                            ? BlockdevDriver_str(o->backing_fmt) : NULL,
                            c->buf, c->cluster_size)) {
        return -ENOSPC;
    }
    ret = bdrv_co_pwrite(c->file, 0, c->cluster_size, c->buf, 0);
    return ret < 0 ? ret : 0;
}

/* Allocates the place of all data: zeroes, with space as requested. */
static int coroutine_fn give_data_space(Create *c, Error **errp)
{
    int64_t start = data_start(c) << c->cluster_bits;
    int64_t end = c->layout.total << c->cluster_bits;
    int64_t left = bdrv_getlength(c->file->bs);
    bool sparse = c->o->preallocation == PREALLOC_MODE_METADATA;
    int ret = left < 0 ? (int)left : 0;

    if (ret == 0 && left > start) {
        /* Without this a device would show its former content there. */
        ret = bdrv_co_pwrite_zeroes(c->file, start, MIN(left, end) - start,
                                    sparse ? BDRV_REQ_MAY_UNMAP : 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not zero the space of the data");
        return ret;
    }
    return bdrv_co_truncate(c->file, end, false, sparse
                            ? PREALLOC_MODE_OFF : c->o->preallocation, 0,
                            errp);
}

static int coroutine_fn write_image(Create *c, Error **errp)
{
    const Qcow2Layout *l = &c->layout;
    int ret;

    /* The former content is dropped if the file can shrink. */
    (void)bdrv_co_truncate(c->file, 0, false, PREALLOC_MODE_OFF, 0, NULL);
    if (l->data) {
        ret = give_data_space(c, errp);
        if (ret < 0) {
            return ret;
        }
    }
    ret = write_pointers(c, table_start(c), l->table, blocks_start(c),
                         l->blocks, 0);
    if (ret == 0) {
        ret = write_refblocks(c);
    }
    if (ret == 0) {
        ret = write_pointers(c, l1_start(c), l->l1, l2_start(c), l->l2,
                             QCOW2_COPIED);
    }
    if (ret == 0) {
        ret = write_pointers(c, l2_start(c), l->l2, data_start(c), l->data,
                             QCOW2_COPIED);
    }
    if (ret == 0) {
        ret = write_header(c);
    }
    if (ret == 0) {
        ret = bdrv_co_flush(c->file->bs);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the qcow2 image");
    }
    return ret;
}

/* --- options --- */

static bool check_unsupported(const BlockdevCreateOptionsQcow2 *o,
                              Error **errp)
{
    if (o->encrypt) {
        error_setg(errp, "Encryption of qcow2 images is not supported");
    } else if (o->data_file || (o->has_data_file_raw && o->data_file_raw)) {
        error_setg(errp, "External data files of qcow2 images ('data-file', "
                   "'data-file-raw') are not supported");
    } else if (o->has_extended_l2 && o->extended_l2) {
        error_setg(errp, "Extended L2 entries ('extended-l2') are not "
                   "supported");
    } else {
        return true;
    }
    return false;
}

static bool check_v2(const BlockdevCreateOptionsQcow2 *o, Error **errp)
{
    if (o->version != BLOCKDEV_QCOW2_VERSION_V2) {
        return true;
    }
    if (o->lazy_refcounts) {
        error_setg(errp, "Lazy refcounts only supported with compatibility "
                   "level 1.1 and above (use version=v3 or greater)");
    } else if (o->refcount_bits != 16) {
        error_setg(errp, "Different refcount widths than 16 bits require "
                   "compatibility level 1.1 or above (use version=v3 or "
                   "greater)");
    } else if (o->compression_type != QCOW2_COMPRESSION_TYPE_ZLIB) {
        error_setg(errp, "Non-zlib compression type is only supported with "
                   "compatibility level 1.1 and above (use version=v3 or "
                   "greater)");
    } else {
        return true;
    }
    return false;
}

static bool check_options(const BlockdevCreateOptionsQcow2 *o, Error **errp)
{
    if (!check_unsupported(o, errp) || !check_v2(o, errp)) {
        return false;
    }
    if (o->size % BDRV_SECTOR_SIZE) {
        error_setg(errp, "Image size must be a multiple of %d bytes",
                   BDRV_SECTOR_SIZE);
    } else if (!is_power_of_2(o->cluster_size) ||
               o->cluster_size < (1U << QCOW2_MIN_CLUSTER_BITS) ||
               o->cluster_size > (1U << QCOW2_MAX_CLUSTER_BITS)) {
        error_setg(errp, "Cluster size must be a power of two between %d and "
                   "%dk", 1 << QCOW2_MIN_CLUSTER_BITS,
                   1 << (QCOW2_MAX_CLUSTER_BITS - 10));
    } else if (o->refcount_bits < 1 || o->refcount_bits > 64 ||
               !is_power_of_2(o->refcount_bits)) {
        error_setg(errp, "Refcount width must be a power of two and may not "
                   "exceed 64 bits");
    } else if (o->backing_file &&
               strlen(o->backing_file) > QCOW2_MAX_BACKING_NAME) {
        error_setg(errp, "Backing file name is longer than %d bytes",
                   QCOW2_MAX_BACKING_NAME);
    } else if (o->has_backing_fmt && !o->backing_file) {
        error_setg(errp, "Backing format cannot be used without backing file");
    } else if (o->backing_file && o->preallocation != PREALLOC_MODE_OFF) {
        error_setg(errp, "Backing file and preallocation can only be used at "
                   "the same time if extended_l2 is on");
    } else {
        return true;
    }
    return false;
}

/* Fills in defaults of options that were not given. */
static void set_defaults(BlockdevCreateOptionsQcow2 *o)
{
    if (!o->has_version) {
        o->version = BLOCKDEV_QCOW2_VERSION_V3;
    }
    if (!o->has_cluster_size) {
        o->cluster_size = 64 * KiB;
    }
    if (!o->has_refcount_bits) {
        o->refcount_bits = 16;
    }
    if (!o->has_preallocation) {
        o->preallocation = PREALLOC_MODE_OFF;
    }
    if (!o->has_compression_type) {
        o->compression_type = QCOW2_COMPRESSION_TYPE_ZLIB;
    }
    if (!o->has_lazy_refcounts) {
        o->lazy_refcounts = false;
    }
}

/* In the thread of @file, which is to be formatted. */
static int coroutine_fn create_in(BdrvChild *file, void *opaque, Error **errp)
{
    Create *c = opaque;
    int ret;

    c->file = file;
    c->buf = bdrv_try_blockalign(file->bs, c->cluster_size);
    if (!c->buf) {
        error_setg(errp, "Not enough memory for a cluster");
        return -ENOMEM;
    }
    ret = write_image(c, errp);
    qemu_vfree(c->buf);
    return ret;
}

int coroutine_fn qcow2_co_create(BlockdevCreateOptions *options, Error **errp)
{
    BlockdevCreateOptionsQcow2 *o = &options->u.qcow2;
    Create c = { .o = o };

    set_defaults(o);
    if (!check_options(o, errp)) {
        return -EINVAL;
    }
    c.cluster_bits = ctz64(o->cluster_size);
    c.cluster_size = o->cluster_size;
    c.order = ctz64(o->refcount_bits);
    if (!qcow2_layout(o->size, c.cluster_bits, c.order,
                      o->preallocation != PREALLOC_MODE_OFF, &c.layout)) {
        error_setg(errp, "The image size is too large for a cluster size of %"
                   PRIu64 " bytes (try using a larger cluster size)",
                   c.cluster_size);
        return -EFBIG;
    }
    return bdrv_create_in_file(o->file, "qcow2", create_in, &c, errp);
}
