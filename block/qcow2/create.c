/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Creating an image.  The options determine the place of each part, so all is
 * written in one pass, the header last:
 *
 *     header | refcount table | refcount blocks | L1 | keys | L2 tables | data
 */
#include "qemu/osdep.h"

#include "block/create-file.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/crypt-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/refcount-int.h"
#include "qemu/iov.h"
#include "qapi/qapi-types-block-image.h"

/* --- layout --- */

/* Fills in the refcount table, the refcount blocks and the total of @l. */
static void layout_refcounts(unsigned cluster_bits, unsigned refcount_order,
                             Qcow2Layout *l)
{
    unsigned rb_bits = cluster_bits + 3 - refcount_order;
    uint64_t base = 1 + l->data + l->l2 + l->crypt + l->l1, blocks;

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

bool qcow2_layout(uint64_t size, const Qcow2Units *units, bool allocated,
                  uint64_t crypt_bytes, Qcow2Layout *l)
{
    unsigned cluster_bits = units->cluster_bits;
    unsigned l2_bits = cluster_bits - (units->extended_l2 ? 4 : 3);
    uint64_t cluster = UINT64_C(1) << cluster_bits;
    uint64_t clusters = size / cluster + (size % cluster != 0);

    memset(l, 0, sizeof(*l));
    l->l1_entries = (clusters + (UINT64_C(1) << l2_bits) - 1) >> l2_bits;
    if (size > BDRV_MAX_LENGTH || l->l1_entries > QCOW2_MAX_L1_BYTES / 8) {
        return false;
    }
    l->l1 = (l->l1_entries * 8 + cluster - 1) >> cluster_bits;
    l->crypt = (crypt_bytes + cluster - 1) >> cluster_bits;
    l->l2 = allocated ? l->l1_entries : 0;
    l->data = allocated ? clusters : 0;
    layout_refcounts(cluster_bits, units->refcount_order, l);
    return l->table << cluster_bits <= MAX(QCOW2_MAX_REFTABLE_BYTES, cluster);
}

/* --- writing --- */

typedef struct Create {
    BdrvChild *file;
    const BlockdevCreateOptionsQcow2 *o;
    unsigned cluster_bits, order;
    uint64_t cluster_size;
    Qcow2Layout layout;
    uint64_t entries; /* data clusters that are allocated */
    bool extended; /* L2 entries have bitmaps of subclusters */
    Qcow2CryptCreate crypt;
    char *data_name; /* of the external data file; NULL: there is none */
    BlockDriverState *image; /* the image file, while a data file is prepared */
    BdrvIdentity file_id;    /* its */
    uint8_t *buf; /* one cluster */
    bool fresh;   /* the file is empty, and reads as zero where it grows */
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

static uint64_t crypt_start(const Create *c)
{
    return l1_start(c) + c->layout.l1;
}

static uint64_t l2_start(const Create *c)
{
    return crypt_start(c) + c->layout.crypt;
}

/* In an external data file each cluster is where it is on the disk. */
static uint64_t data_start(const Create *c)
{
    return c->data_name ? 0 : l2_start(c) + c->layout.l2;
}

/*
 * Writes @buf as cluster number @cluster.  Zeroes at its end take no space in a
 * new file, while a device may have had something else there.
 */
static int coroutine_fn write_cluster(Create *c, uint64_t cluster)
{
    uint64_t bytes = c->cluster_size;
    int ret;

    while (c->fresh && bytes > BDRV_SECTOR_SIZE &&
           buffer_is_zero(c->buf + bytes - BDRV_SECTOR_SIZE,
                          BDRV_SECTOR_SIZE)) {
        bytes -= BDRV_SECTOR_SIZE;
    }
    ret = bdrv_co_pwrite(c->file, cluster << c->cluster_bits, bytes, c->buf,
                         0);
    return MIN(ret, 0);
}

/* A table: entry i is @flags | cluster number @first + i, for i < @n. */
typedef struct Table {
    uint64_t start, clusters; /* its place */
    uint64_t first, n, flags;
    bool extended;            /* each entry is followed by ... */
    uint64_t bitmap;
} Table;

static int coroutine_fn write_pointers(Create *c, const Table *t)
{
    unsigned bits = t->extended ? 4 : 3;
    uint64_t per = c->cluster_size >> bits;
    int ret = 0;

    for (uint64_t k = 0; ret == 0 && k < t->clusters; k++) {
        memset(c->buf, 0, c->cluster_size);
        for (uint64_t i = 0; i < per && k * per + i < t->n; i++) {
            uint8_t *p = c->buf + (i << bits);

            st64_be(p, ((t->first + k * per + i) << c->cluster_bits) |
                       t->flags);
            if (t->extended) {
                st64_be(p + 8, t->bitmap);
            }
        }
        ret = write_cluster(c, t->start + k);
    }
    return ret;
}

static int coroutine_fn write_refblocks(Create *c)
{
    uint64_t per = UINT64_C(1) << (c->cluster_bits + 3 - c->order);
    int ret = 0;

    for (uint64_t k = 0; ret == 0 && k < c->layout.blocks; k++) {
        memset(c->buf, 0, c->cluster_size);
        for (uint64_t i = 0; i < per && k * per + i < c->layout.total; i++) {
            qcow2_refcount_set(c->buf, i, c->order, 1);
        }
        ret = write_cluster(c, blocks_start(c) + k);
    }
    return ret;
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
        .incompatible = (o->compression_type == QCOW2_COMPRESSION_TYPE_ZSTD
                         ? QCOW2_INCOMPAT_COMPRESSION : 0) |
                        (c->data_name ? QCOW2_INCOMPAT_DATA_FILE : 0) |
                        (c->extended ? QCOW2_INCOMPAT_EXTL2 : 0),
        .autoclear = o->data_file_raw ? QCOW2_AUTOCLEAR_RAW : 0,
        .data_name = c->data_name,
        .compression_type = o->compression_type ==
                            QCOW2_COMPRESSION_TYPE_ZSTD,
        .crypt_method = c->crypt.method,
        .crypt_offset = c->crypt.bytes ? crypt_start(c) << c->cluster_bits : 0,
        .crypt_bytes = c->crypt.bytes,
    };

    memset(c->buf, 0, c->cluster_size);
    if (!qcow2_header_build(&h, o->backing_file, o->has_backing_fmt
                            ? BlockdevDriver_str(o->backing_fmt) : NULL,
                            c->buf, c->cluster_size)) {
        return -ENOSPC;
    }
    return write_cluster(c, 0);
}

/* The keys; all of their space is zeroed before. */
static int coroutine_fn write_crypt(Create *c, Error **errp)
{
    int64_t start = crypt_start(c) << c->cluster_bits;
    int ret;

    if (!c->layout.crypt) {
        return 0;
    }
    ret = bdrv_co_pwrite_zeroes(c->file, start,
                                c->layout.crypt << c->cluster_bits,
                                BDRV_REQ_MAY_UNMAP);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not zero the space of the keys");
        return ret;
    }
    return qcow2_crypt_create(&c->crypt, c->file, start, errp);
}

/*
 * The tables with the places of preallocated clusters.  The zeroes that are in
 * an encrypted file are none on the disk.  Subclusters are not allocated, so
 * that a backing file shows, but for those of a raw data file, which is the
 * disk.
 */
static int coroutine_fn write_l2_tables(Create *c)
{
    const Qcow2Layout *l = &c->layout;
    bool zero = c->crypt.method && !c->extended;
    Table t = {
        .start = l2_start(c),
        .clusters = l->l2,
        .first = data_start(c),
        .n = c->entries,
        .flags = QCOW2_COPIED | (zero ? QCOW2_ZERO : 0),
        .extended = c->extended,
        .bitmap = c->o->data_file_raw ? UINT32_MAX : 0,
    };

    return write_pointers(c, &t);
}

/* The refcount table and the L1 table. */
static int coroutine_fn write_roots(Create *c)
{
    const Qcow2Layout *l = &c->layout;
    Table refcounts = { table_start(c), l->table, blocks_start(c), l->blocks };
    Table l1 = { l1_start(c), l->l1, l2_start(c), l->l2, QCOW2_COPIED };
    int ret = write_pointers(c, &refcounts);

    return ret < 0 ? ret : write_pointers(c, &l1);
}

/*
 * Allocates the place of all data: zeroes, with space as requested.  What comes
 * before it gets space by being written: no more of it is ever used in place.
 */
static int coroutine_fn give_data_space(Create *c, Error **errp)
{
    int64_t start = data_start(c) << c->cluster_bits;
    int64_t end = c->layout.total << c->cluster_bits;
    int64_t left = bdrv_getlength(c->file->bs);
    bool sparse = c->o->preallocation == PREALLOC_MODE_METADATA;
    int ret = left < 0 ? (int)left : 0;

    if (!bdrv_grows_by_zeroes(c->file->bs)) {
        left = end;
    }
    if (ret == 0 && left > start) {
        /* Without this a device would show its former content there. */
        ret = bdrv_co_pwrite_zeroes(c->file, start, MIN(left, end) - start,
                                    sparse ? BDRV_REQ_MAY_UNMAP : 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not zero the space of the data");
        return ret;
    }
    if (bdrv_getlength(c->file->bs) < start) {
        ret = bdrv_co_truncate(c->file, start, false, PREALLOC_MODE_OFF, 0,
                               errp);
    }
    return ret < 0 ? ret
        : bdrv_co_truncate(c->file, end, false, sparse
                           ? PREALLOC_MODE_OFF : c->o->preallocation, 0, errp);
}

static int coroutine_fn write_image(Create *c, Error **errp)
{
    const Qcow2Layout *l = &c->layout;
    int ret;

    ret = bdrv_create_drop(c->file, errp);
    if (ret < 0) {
        return ret;
    }
    c->fresh = bdrv_getlength(c->file->bs) == 0 &&
               bdrv_grows_by_zeroes(c->file->bs);
    if (l->data && !c->data_name) {
        ret = give_data_space(c, errp);
        if (ret < 0) {
            return ret;
        }
    }
    ret = write_crypt(c, errp);
    if (ret < 0) {
        return ret;
    }
    ret = write_roots(c);
    if (ret == 0) {
        ret = write_refblocks(c);
    }
    if (ret == 0) {
        ret = write_l2_tables(c);
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

bool qcow2_check_extended_l2(unsigned cluster_bits, Error **errp)
{
    if (cluster_bits < QCOW2_MIN_EXTL2_BITS) {
        error_setg(errp, "Extended L2 entries are only supported with cluster "
                   "sizes of at least %d bytes", 1 << QCOW2_MIN_EXTL2_BITS);
        return false;
    }
    return true;
}

static bool check_raw(const BlockdevCreateOptionsQcow2 *o, Error **errp)
{
    if (o->data_file_raw && !o->data_file) {
        error_setg(errp, "data-file-raw requires data-file");
    } else if (o->data_file_raw && o->backing_file) {
        error_setg(errp, "Backing file and data-file-raw cannot be used at "
                   "the same time");
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
    } else if (o->data_file) {
        error_setg(errp, "External data files are only supported with "
                   "compatibility level 1.1 and above (use version=v3 or "
                   "greater)");
    } else if (o->extended_l2) {
        error_setg(errp, "Extended L2 entries are only supported with "
                   "compatibility level 1.1 and above (use version=v3 or "
                   "greater)");
    } else if (o->encrypt && o->preallocation != PREALLOC_MODE_OFF) {
        error_setg(errp, "Preallocation of encrypted images is only supported "
                   "with compatibility level 1.1 and above (use version=v3 or "
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
    if (!check_raw(o, errp) || !check_v2(o, errp)) {
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
    } else if (o->backing_file && o->preallocation != PREALLOC_MODE_OFF &&
               !o->extended_l2) {
        error_setg(errp, "Backing file and preallocation can only be used at "
                   "the same time if extended_l2 is on");
    } else {
        return !o->extended_l2 ||
               qcow2_check_extended_l2(ctz64(o->cluster_size), errp);
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
    if (!o->has_extended_l2) {
        o->extended_l2 = false;
    }
    if (!o->has_lazy_refcounts) {
        o->lazy_refcounts = false;
    }
    if (o->data_file_raw && o->preallocation == PREALLOC_MODE_OFF) {
        /* The disk is what the data file has. */
        o->preallocation = PREALLOC_MODE_METADATA;
    }
}

/* Is @bs @top, or below it? */
static bool is_in_tree(BlockDriverState *top, const BlockDriverState *bs)
{
    BdrvChild *child = NULL;

    if (top == bs) {
        return true;
    }
    while ((child = bdrv_next_child(top, child))) {
        if (is_in_tree(child->bs, bs)) {
            return true;
        }
    }
    return false;
}

/* In the main thread, where the graph changes. */
static bool is_image_file(const Create *c, BlockDriverState *bs)
{
    BdrvIdentity id;

    if (is_in_tree(bs, c->image) || is_in_tree(c->image, bs)) {
        return true;
    }
    bdrv_get_identity(bs, false, &id);
    return id.kind != BDRV_IDENTITY_NONE && id.kind == c->file_id.kind &&
           id.device == c->file_id.device && id.inode == c->file_id.inode;
}

/*
 * The header has the name of a file, not of a protocol or of options.  Where
 * the node shows something else than that file: the name of the node, by which
 * no image is opened, so that the data file must be given then.
 */
static const char *data_file_name(const BlockDriverState *bs)
{
    const BlockDriverState *at = bs;
    const BdrvChild *child;

    while ((child = bdrv_primary_child(at))) {
        if (!(child->role & BDRV_CHILD_FILTERED)) {
            return bs->filename;
        }
        at = child->bs;
    }
    return bdrv_base_filename(at) ?: bs->filename;
}

/*
 * Makes the external data file, @file, as large as the disk.  It is the disk as
 * it is, if it shall be raw; else it must show zeroes where it is allocated.
 */
static int coroutine_fn prepare_data(BdrvChild *file, void *opaque,
                                     Error **errp)
{
    Create *c = opaque;
    const BlockdevCreateOptionsQcow2 *o = c->o;
    int64_t size = o->size, len = bdrv_getlength(file->bs);
    bool sparse = o->preallocation == PREALLOC_MODE_METADATA ||
                  o->preallocation == PREALLOC_MODE_OFF;
    int ret = MIN(len, 0);
    AioContext *ctx = aio_current_context();
    bool same;

    co_move_to(aio_main_context());
    same = is_image_file(c, file->bs);
    co_move_to(ctx);
    if (same) {
        error_setg(errp, "The data file must be another file than the image");
        return -EINVAL;
    }
    c->data_name = g_strdup(data_file_name(file->bs));
    if (ret == 0 && len > 0 && !o->data_file_raw &&
        o->preallocation != PREALLOC_MODE_OFF) {
        ret = bdrv_co_pwrite_zeroes(file, 0, MIN(len, size),
                                    sparse ? BDRV_REQ_MAY_UNMAP : 0);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not prepare the data file");
        return ret;
    }
    ret = len >= size ? 0
        : bdrv_co_truncate(file, size, false, sparse ? PREALLOC_MODE_OFF
                           : o->preallocation, 0, errp);
    if (ret == 0) {
        ret = bdrv_co_flush(file->bs);
        if (ret < 0) {
            error_setg_errno(errp, -ret, "Could not flush the data file");
        }
    }
    return ret;
}

/* The image file is held: a node that needs it cannot be the data file. */
static int coroutine_fn prepare_beside(BdrvChild *file, void *opaque,
                                       Error **errp)
{
    Create *c = opaque;
    AioContext *ctx = aio_current_context();
    int ret;

    c->image = file->bs;
    bdrv_get_identity(file->bs, false, &c->file_id);
    co_move_to(aio_main_context());
    ret = bdrv_create_in_file(c->o->data_file, "qcow2", prepare_data, c, errp);
    co_move_to(ctx);
    return ret;
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
    Qcow2Units units;
    int ret = 0;

    set_defaults(o);
    if (!check_options(o, errp) ||
        !qcow2_crypt_create_options(o->encrypt, true, &c.crypt, errp)) {
        return -EINVAL;
    }
    c.cluster_bits = ctz64(o->cluster_size);
    c.cluster_size = o->cluster_size;
    c.order = ctz64(o->refcount_bits);
    c.extended = o->extended_l2;
    units = (Qcow2Units){ c.cluster_bits, c.order, c.extended };
    if (!qcow2_layout(o->size, &units, o->preallocation != PREALLOC_MODE_OFF,
                      c.crypt.bytes, &c.layout)) {
        error_setg(errp, "The image size is too large for file format 'qcow2' "
                   "(try using a larger cluster size)");
        qcow2_crypt_create_free(&c.crypt);
        return -EFBIG;
    }
    c.entries = c.layout.data;
    if (o->data_file) {
        c.layout.data = 0;
        layout_refcounts(c.cluster_bits, c.order, &c.layout);
        ret = bdrv_create_in_file(o->file, "qcow2", prepare_beside, &c, errp);
    }
    if (ret == 0) {
        ret = bdrv_create_in_file(o->file, "qcow2", create_in, &c, errp);
    }
    g_free(c.data_name);
    qcow2_crypt_create_free(&c.crypt);
    return ret;
}
