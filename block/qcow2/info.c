/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Information about an image, and the expected size of a new one. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/bitmap-int.h"
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

static bool bitmap_infos(BlockDriverState *bs, Qcow2BitmapInfoList **list,
                         Error **errp)
{
    g_autoptr(GPtrArray) dir = qcow2_bitmap_dir_read(bs, errp);

    *list = NULL;
    for (guint i = dir ? dir->len : 0; i > 0; i--) {
        const Qcow2Bitmap *b = dir->pdata[i - 1];
        Qcow2BitmapInfoList *item = g_new0(Qcow2BitmapInfoList, 1);

        item->value = g_new0(Qcow2BitmapInfo, 1);
        item->value->name = g_strdup(b->name);
        item->value->granularity = b->granularity_bits < 32
            ? UINT32_C(1) << b->granularity_bits : 0;
        item->value->flags = flag_list(b->flags);
        item->next = *list;
        *list = item;
    }
    return dir != NULL;
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
    if (s->version >= 3) {
        info->has_lazy_refcounts = true;
        info->lazy_refcounts = s->compatible & QCOW2_COMPAT_LAZY;
        info->has_corrupt = true;
        info->corrupt = s->incompatible & QCOW2_INCOMPAT_CORRUPT;
        info->has_extended_l2 = true;
        info->extended_l2 = false;
        info->bitmaps = bitmaps;
    }
    return spec;
}

bool qcow2_has_zero_init(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    /* Preallocated clusters show the content of the file. */
    if (s->l1_size && s->l1[0]) {
        BlockDriverState *file = bs->file->bs;

        return file->drv->has_zero_init && file->drv->has_zero_init(file);
    }
    return true;
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

    CO_MUTEX_GUARD(&s->lock);
    call->ret = qcow2_write_metadata(call->bs);
    if (call->ret == 0) {
        call->ret = qcow2_flush_file(call->bs);
    }
    if (call->ret == 0) {
        call->ret = qcow2_update_header(call->bs);
    }
    if (call->ret == 0) {
        call->ret = qcow2_flush_file(call->bs);
    }
}

int qcow2_change_backing_file(BlockDriverState *bs, const char *backing_file,
                              const char *backing_fmt)
{
    HeaderCall call = { bs, 0 };
    char *old_file = bs->backing_file, *old_format = bs->backing_format;

    if (backing_file && strlen(backing_file) > QCOW2_MAX_BACKING_NAME) {
        return -EINVAL;
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
    int64_t size = in_bs ? bdrv_getlength(in_bs) : (int64_t)o->size;
    int64_t needed = 0;
    Qcow2Layout full, part;
    BlockMeasureInfo *info;

    if (size < 0) {
        error_setg_errno(errp, -size, "Unable to get image virtual_size");
        return NULL;
    }
    if (bits < QCOW2_MIN_CLUSTER_BITS || bits > QCOW2_MAX_CLUSTER_BITS ||
        order > 6 || !qcow2_layout(size, bits, order, true, &full)) {
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
    info->has_bitmaps = in_bs && bdrv_supports_persistent_dirty_bitmap(in_bs);
    info->bitmaps = info->has_bitmaps ? bitmaps_size(in_bs, bits) : 0;
    return info;
}
