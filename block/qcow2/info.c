/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Information about an image, and the expected size of a new one. */
#include "qemu/osdep.h"

#include "block/bitmap-resume.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
#include "block/qcow2/crypt-int.h"
#include "block/qcow2/header-int.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"
#include "qapi/qapi-types-block-image.h"

int qcow2_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    Qcow2State *s = bs->opaque;

    info->cluster_size = s->cluster_size;
    info->vm_state_offset = qcow2_l1_entries(s, s->size)
                            << (s->cluster_bits + s->l2_bits);
    info->is_dirty = s->incompatible & QCOW2_INCOMPAT_DIRTY;
    return 0;
}

static Qcow2BitmapInfoFlagsList *flag_list(uint32_t flags)
{
    Qcow2BitmapInfoFlagsList *list = NULL, *item;

    if (flags & QCOW2_BITMAP_AUTO) {
        list = g_new0(Qcow2BitmapInfoFlagsList, 1);
        list->value = QCOW2_BITMAP_INFO_FLAGS_AUTO;
    }
    if (flags & QCOW2_BITMAP_IN_USE) {
        item = g_new0(Qcow2BitmapInfoFlagsList, 1);
        item->value = QCOW2_BITMAP_INFO_FLAGS_IN_USE;
        item->next = list;
        list = item;
    }
    return list;
}

static Qcow2BitmapInfo *bitmap_info(const Qcow2Bitmap *b)
{
    Qcow2BitmapInfo *info = g_new0(Qcow2BitmapInfo, 1);

    info->name = g_strdup(b->name);
    info->granularity = b->granularity_bits < 32
        ? UINT32_C(1) << b->granularity_bits : 0;
    info->flags = flag_list(b->flags);
    if (qcow2_bitmap_usable(b) && qcow2_bitmap_is_ahead(b)) {
        info->has_safety = true;
        info->safety = b->level == QCOW2_AHEAD_POWER ? BITMAP_SAFETY_POWER
                                                     : BITMAP_SAFETY_PROCESS;
    }
    if (qcow2_bitmap_usable(b) && b->resume) {
        info->resumable = bdrv_bitmap_resume_query(b->resume);
    }
    return info;
}

static bool bitmap_infos(BlockDriverState *bs, Qcow2BitmapInfoList **listp,
                         Error **errp)
{
    const Qcow2State *s = bs->opaque;
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs);
    Qcow2BitmapInfoList *list = NULL;

    if (!s->bitmap_dir && qcow2_bitmap_dir_unreadable(dir)) {
        const Qcow2Bitmap *b = dir->pdata[0];

        error_setg(errp, "%s", b->damage);
        return false;
    }
    for (guint i = dir->len; i > 0; i--) {
        Qcow2BitmapInfoList *item = g_new0(Qcow2BitmapInfoList, 1);

        item->value = bitmap_info(dir->pdata[i - 1]);
        item->next = list;
        list = item;
    }
    *listp = list;
    return true;
}

ImageInfoSpecific *qcow2_get_specific_info(BlockDriverState *bs, Error **errp)
{
    Qcow2State *s = bs->opaque;
    ImageInfoSpecific *spec;
    ImageInfoSpecificQCow2 *info;
    Qcow2BitmapInfoList *bitmaps;

    if (!bitmap_infos(bs, &bitmaps, errp)) {
        return NULL;
    }
    spec = g_new0(ImageInfoSpecific, 1);
    info = g_new0(ImageInfoSpecificQCow2, 1);
    spec->type = IMAGE_INFO_SPECIFIC_KIND_QCOW2;
    spec->u.qcow2.data = info;
    info->compat = g_strdup(s->version < 3 ? "0.10" : "1.1");
    info->refcount_bits = s->refcount_bits;
    info->compression_type = s->compression_type == 0
        ? QCOW2_COMPRESSION_TYPE_ZLIB : QCOW2_COMPRESSION_TYPE_ZSTD;
    if (s->crypt) {
        info->encrypt = qcow2_crypt_info(s);
    }
    if (s->version >= 3) {
        info->has_lazy_refcounts = true;
        info->lazy_refcounts = s->compatible & QCOW2_COMPAT_LAZY;
        info->has_corrupt = true;
        info->corrupt = s->incompatible & QCOW2_INCOMPAT_CORRUPT;
        info->has_extended_l2 = true;
        info->extended_l2 = s->extended_l2;
        info->bitmaps = bitmaps;
        info->data_file = s->data_name && *s->data_name
            ? g_strdup(s->data_name) : NULL;
        info->has_data_file_raw = s->external;
        info->data_file_raw = s->data_raw;
    }
    return spec;
}

/* That of an external data file is its own. */
int64_t qcow2_get_allocated_file_size(BlockDriverState *bs)
{
    return bdrv_get_allocated_file_size(bs->file->bs);
}

bool qcow2_has_zero_init(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    /* Preallocated clusters show the content of the file. */
    if (s->l1_size && s->l1[0]) {
        BlockDriverState *file = s->data ? s->data->bs : bs->file->bs;

        return !s->crypt && file->drv->has_zero_init &&
               file->drv->has_zero_init(file);
    }
    return true;
}

/* A raw data file that was enlarged shows what it has. */
bool qcow2_grows_by_zeroes(BlockDriverState *bs)
{
    return !qcow2_is_raw(bs->opaque);
}

typedef struct HeaderCall {
    BlockDriverState *bs;
    int ret;
} HeaderCall;

/*
 * The disk must not depend on the old backing file when the header does not
 * name it any more: all data copied up becomes durable first.
 */
static void coroutine_fn header_entry(void *opaque)
{
    HeaderCall *call = opaque;
    Qcow2State *s = call->bs->opaque;

    CO_MUTEX_GUARD(&s->bitmap_lock);
    CO_MUTEX_GUARD(&s->lock);
    call->ret = qcow2_write_metadata(call->bs);
    if (call->ret == 0) {
        call->ret = qcow2_flush_file(call->bs);
    }
    if (call->ret == 0) {
        call->ret = qcow2_update_header(call->bs);
    }
    if (call->ret == 0) {
        /* A longer name may leave less room. */
        qcow2_ahead_limit(call->bs, NULL);
        call->ret = qcow2_flush_file(call->bs);
    }
}

int qcow2_change_backing_file(BlockDriverState *bs, const char *backing_file,
                              const char *backing_fmt)
{
    HeaderCall call = { bs, 0 };
    char *old_file = bs->backing_file, *old_format = bs->backing_format;

    if (backing_file &&
        (strlen(backing_file) > QCOW2_MAX_BACKING_NAME ||
         ((Qcow2State *)bs->opaque)->data_raw)) {
        return -EINVAL; /* a raw data file has all of the disk */
    }
    bs->backing_file = g_strdup(backing_file);
    bs->backing_format = g_strdup(backing_fmt);
    aio_run_co(bs->ctx, header_entry, &call);
    if (call.ret < 0) {
        g_free(bs->backing_file);
        g_free(bs->backing_format);
        bs->backing_file = old_file;
        bs->backing_format = old_format;
        return call.ret;
    }
    g_free(old_file);
    g_free(old_format);
    return 0;
}

/* --- measuring --- */

/* Bytes of data clusters that the content of @in_bs needs. */
static int64_t count_allocated(BlockDriverState *in_bs, int64_t size,
                               int64_t cluster, Error **errp)
{
    int64_t pos = 0, needed = 0, counted_to = 0;

    while (pos < size) {
        int64_t n;
        int ret = bdrv_block_status_above(in_bs, NULL, pos, size - pos, &n,
                                          NULL, NULL, NULL);

        if (ret < 0) {
            error_setg_errno(errp, -ret, "Unable to get block status");
            return ret;
        }
        if (n == 0) {
            break;
        }
        if ((ret & BDRV_BLOCK_DATA) && !(ret & BDRV_BLOCK_ZERO)) {
            int64_t start = MAX(pos / cluster * cluster, counted_to);
            int64_t end = ROUND_UP(pos + n, cluster);

            needed += end - start;
            counted_to = end;
        }
        pos += n;
    }
    return needed;
}

/* Can @in_bs have persistent bitmaps?  Version 2 of the format cannot. */
static bool may_have_bitmaps(BlockDriverState *in_bs)
{
    if (!in_bs || !bdrv_supports_persistent_dirty_bitmap(in_bs)) {
        return false;
    }
    return in_bs->drv != &bdrv_qcow2 ||
           ((Qcow2State *)in_bs->opaque)->version >= 3;
}

/* Bytes that a copy of the persistent bitmaps of @in_bs needs. */
static uint64_t bitmaps_size(BlockDriverState *in_bs, unsigned cluster_bits)
{
    uint64_t total = 0, dir = 0, cluster = UINT64_C(1) << cluster_bits;
    BdrvDirtyBitmap *bitmap = NULL;

    while (in_bs && (bitmap = bdrv_dirty_bitmap_next(in_bs, bitmap))) {
        uint64_t n;

        if (!bdrv_dirty_bitmap_name(bitmap) ||
            !bdrv_dirty_bitmap_persistent(bitmap) ||
            bdrv_dirty_bitmap_inconsistent(bitmap)) {
            continue;
        }
        n = qcow2_bitmap_table_entries(
            bdrv_dirty_bitmap_size(bitmap),
            ctz64(bdrv_dirty_bitmap_granularity(bitmap)), cluster_bits);
        total += n * cluster + ROUND_UP(n * 8, cluster);
        dir += qcow2_bitmap_entry_size(strlen(bdrv_dirty_bitmap_name(bitmap)),
                                       0);
    }
    return total + ROUND_UP(dir, cluster);
}

static uint64_t layout_bytes(const Qcow2Layout *layout, unsigned cluster_bits)
{
    return layout->total << cluster_bits;
}

BlockMeasureInfo *qcow2_measure(const BlockdevCreateOptions *options,
                                BlockDriverState *in_bs, Error **errp)
{
    const BlockdevCreateOptionsQcow2 *o = &options->u.qcow2;
    unsigned bits = o->has_cluster_size ? ctz64(o->cluster_size) : 16;
    unsigned order = o->has_refcount_bits ? ctz64(o->refcount_bits) : 4;
    Qcow2Units units = { bits, order, o->has_extended_l2 && o->extended_l2 };
    int64_t size = in_bs ? bdrv_getlength(in_bs) : (int64_t)o->size;
    int64_t needed = 0;
    Qcow2CryptCreate crypt;
    Qcow2Layout full, part;
    BlockMeasureInfo *info;

    if (size < 0) {
        error_setg_errno(errp, -size, "Unable to get image virtual_size");
        return NULL;
    }
    if (!qcow2_crypt_create_options(o->encrypt, false, &crypt, errp)) {
        return NULL;
    }
    if (units.extended_l2 && !qcow2_check_extended_l2(bits, errp)) {
        return NULL;
    }
    if (bits < QCOW2_MIN_CLUSTER_BITS || bits > QCOW2_MAX_CLUSTER_BITS ||
        order > 6 ||
        !qcow2_layout(size, &units, true, crypt.bytes, &full)) {
        error_setg(errp, "The image size is too large "
                   "(try using a larger cluster size)");
        return NULL;
    }
    if (in_bs) {
        needed = count_allocated(in_bs, size, INT64_C(1) << bits, errp);
        if (needed < 0) {
            return NULL;
        }
    }
    if (o->has_preallocation && (o->preallocation == PREALLOC_MODE_FULL ||
                                 o->preallocation == PREALLOC_MODE_FALLOC)) {
        needed = full.data << bits;
    }
    part = full; /* the tables are counted in full, as they may be */
    part.data = (uint64_t)needed >> bits;
    info = g_new0(BlockMeasureInfo, 1);
    info->fully_allocated = layout_bytes(&full, bits);
    info->required = ((full.total - full.data) + part.data) << bits;
    info->has_bitmaps = may_have_bitmaps(in_bs) &&
                        (!o->has_version ||
                         o->version != BLOCKDEV_QCOW2_VERSION_V2);
    info->bitmaps = info->has_bitmaps ? bitmaps_size(in_bs, bits) : 0;
    return info;
}
