/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The vmdk driver: opening the extents, requests, information. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "qapi/qapi-types-block-image.h"
#include "qemu/error.h"
#include "vmdk-int.h"

static const MappedOps vmdk_ops;

/* --- opening --- */

static void free_state(VmdkState *s)
{
    for (unsigned i = 0; i < s->n_extents; i++) {
        vmdk_sparse_free(&s->extents[i]);
        g_free(s->extents[i].type);
    }
    g_free(s->extents);
    vmdk_desc_free(&s->desc);
}

static VmdkExtent *add_extent(VmdkState *s, const char *type)
{
    VmdkExtent *e;

    s->extents = g_renew(VmdkExtent, s->extents, s->n_extents + 1);
    e = &s->extents[s->n_extents++];
    *e = (VmdkExtent) {
        .type = g_strdup(type),
        .start = s->mapped.size,
    };
    return e;
}

/* @e is complete: it is the next part of the disk. */
static int take_extent(VmdkState *s, const VmdkExtent *e, Error **errp)
{
    if (e->bytes > VMDK_MAX_BYTES - s->mapped.size) {
        error_setg(errp, "VMDK disk is larger than %" PRId64 " bytes",
                   VMDK_MAX_BYTES);
        return -EFBIG;
    }
    s->mapped.size += e->bytes;
    return 0;
}

/* Text of @bytes at @offset, with a NUL. */
static char *read_text(BlockDriverState *bs, uint64_t offset, uint64_t bytes,
                       Error **errp)
{
    int64_t length = bdrv_getlength(bs->file->bs);
    char *text;
    int ret;

    if (length < 0 || bytes > VMDK_MAX_DESC ||
        !range_fits(offset, bytes, ROUND_UP(length, BDRV_SECTOR_SIZE))) {
        error_setg(errp, "VMDK descriptor of %" PRIu64 " bytes is too large "
                   "or outside of the file", bytes);
        return NULL;
    }
    bytes = MIN(bytes, length - offset);
    text = g_malloc0(bytes + 1);
    ret = bdrv_pread(bs->file, offset, bytes, text);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VMDK descriptor");
        g_free(text);
        return NULL;
    }
    return text;
}

static int refuse_extent(Error **errp)
{
    error_setg(errp, "VMDK file is an extent without a descriptor: open the "
               "file with the descriptor");
    return -EINVAL;
}

/* The image is one sparse extent with the descriptor inside. */
static int open_monolithic(BlockDriverState *bs, const uint8_t *header,
                           Error **errp)
{
    VmdkState *s = bs->opaque;
    uint64_t desc = ld64_le(header + VMDK_AT_DESC);
    uint64_t sectors = ld64_le(header + VMDK_AT_DESC_SIZE);
    VmdkExtent *e;
    char *text;
    int ret;

    if (desc == 0 || sectors == 0) {
        return refuse_extent(errp);
    }
    if (desc > VMDK_MAX_DESC || sectors > VMDK_MAX_DESC / BDRV_SECTOR_SIZE) {
        error_setg(errp, "VMDK descriptor is too large or far away");
        return -EINVAL;
    }
    s->desc.offset = desc * BDRV_SECTOR_SIZE;
    s->desc.space = sectors * BDRV_SECTOR_SIZE;
    text = read_text(bs, s->desc.offset, s->desc.space, errp);
    if (text && !*text) {
        g_free(text);
        return refuse_extent(errp);
    }
    ret = text ? vmdk_desc_parse(&s->desc, text, errp) : -EINVAL;
    if (ret < 0) {
        return ret;
    }
    e = add_extent(s, "");
    e->file = bs->file;
    ret = vmdk_sparse_open(e, header, errp);
    return ret < 0 ? ret : take_extent(s, e, errp);
}

/* The path of the descriptor, or NULL. */
static const char *file_path(const BlockDriverState *bs)
{
    const char *name = bs->file->bs->filename;

    return name && *name && !g_str_has_prefix(name, "json:") ? name : NULL;
}

/* The child for the file of an extent. */
static BdrvChild *open_file(BlockDriverState *bs, const char *name,
                            bool sparse, Error **errp)
{
    VmdkState *s = bs->opaque;
    const char *base = file_path(bs);
    g_autofree char *path = bdrv_make_absolute_filename(base, name);
    g_autofree char *child = g_strdup_printf("extents.%u", s->n_extents - 1);
    g_autoptr(BlockdevOptions) options = NULL;
    BlockdevRef ref = {.type = BLOCKDEV_REF_KIND_DEFINITION};
    bool unused;

    if (!base && *name != '/') {
        error_setg(errp, "Cannot find the VMDK extent '%s', as the descriptor "
                   "is in no file with a name", name);
        return NULL;
    }
    options = bdrv_options_from_filename(path, NULL, BDRV_O_PROTOCOL, &unused,
                                         errp);
    if (!options) {
        return NULL;
    }
    ref.u.definition = options;
    return bdrv_open_child(bs, &ref, child, BDRV_CHILD_DATA |
                           (sparse ? BDRV_CHILD_METADATA : 0), errp);
}

static int open_flat(VmdkExtent *e, const VmdkLine *l, Error **errp)
{
    int64_t length = bdrv_getlength(e->file->bs);

    if (l->offset > INT64_MAX / BDRV_SECTOR_SIZE || length < 0 ||
        !range_fits(l->offset * BDRV_SECTOR_SIZE, e->bytes, length)) {
        error_setg(errp, "The file of the VMDK extent '%s' is too short",
                   l->name);
        return -EINVAL;
    }
    e->flat_offset = l->offset * BDRV_SECTOR_SIZE;
    return 0;
}

static int open_sparse(VmdkExtent *e, const VmdkLine *l, Error **errp)
{
    uint8_t header[VMDK_HEADER_BYTES];
    int64_t bytes = e->bytes;
    int ret = bdrv_pread(e->file, 0, sizeof(header), header);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VMDK extent '%s'",
                         l->name);
        return ret;
    }
    if (ld32_le(header) != VMDK_MAGIC && ld32_le(header) != VMDK_ESX_MAGIC) {
        error_setg(errp, "'%s' is no sparse VMDK extent", l->name);
        return -EINVAL;
    }
    ret = vmdk_sparse_open(e, header, errp);
    if (ret == 0 && e->bytes < bytes) {
        error_setg(errp, "The VMDK extent '%s' has %" PRId64 " bytes, but %"
                   PRId64 " are expected", l->name, e->bytes, bytes);
        ret = -EINVAL;
    }
    e->bytes = bytes;
    return ret;
}

static int open_line(BlockDriverState *bs, const VmdkLine *l, Error **errp)
{
    VmdkState *s = bs->opaque;
    bool flat = !strcmp(l->type, "FLAT") || !strcmp(l->type, "VMFS");
    bool sparse = !strcmp(l->type, "SPARSE") ||
                  !strcmp(l->type, "VMFSSPARSE");
    VmdkExtent *e;
    int ret = 0;

    if (!flat && !sparse && strcmp(l->type, "ZERO")) {
        error_setg(errp, "Unsupported extent type '%s'", l->type);
        return -ENOTSUP;
    }
    if (!strcmp(l->access, "NOACCESS") || ((flat || sparse) && !l->name) ||
        (l->sectors < 1 && !flat && !sparse) ||
        l->sectors > VMDK_MAX_BYTES / BDRV_SECTOR_SIZE) {
        error_setg(errp, "Invalid extent line in the VMDK descriptor: %s %"
                   PRIu64 " %s", l->access, l->sectors, l->type);
        return -EINVAL;
    }
    e = add_extent(s, l->type);
    e->bytes = l->sectors * BDRV_SECTOR_SIZE;
    e->read_only = strcmp(l->access, "RW");
    if (flat || sparse) {
        e->file = open_file(bs, l->name, sparse, errp);
        ret = !e->file ? -EINVAL : flat ? open_flat(e, l, errp)
                                        : open_sparse(e, l, errp);
    }
    return ret < 0 ? ret : take_extent(s, e, errp);
}

static bool known_create_type(const char *type)
{
    static const char *const types[] = {
        "monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse",
        "2GbMaxExtentFlat", "2GbMaxExtentSparse", "vmfs", "vmfsSparse",
        "vmfsPreallocated", "vmfsEagerZeroedThick", "custom",
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (!g_ascii_strcasecmp(type, types[i])) {
            return true;
        }
    }
    return false;
}

/* The image's file is the descriptor. */
static int open_descriptor(BlockDriverState *bs, Error **errp)
{
    VmdkState *s = bs->opaque;
    int64_t length = bdrv_getlength(bs->file->bs);
    char *text = read_text(bs, 0, MAX(length, 0), errp);
    g_auto(GStrv) lines = NULL;
    int ret = text ? vmdk_desc_parse(&s->desc, text, errp) : -EINVAL;

    s->desc.space = VMDK_MAX_DESC;
    if (ret == 0 && !known_create_type(s->desc.create_type)) {
        error_setg(errp, "Unsupported image type '%s'", s->desc.create_type);
        ret = -ENOTSUP;
    }
    if (ret < 0) {
        return ret;
    }
    lines = g_strsplit(s->desc.text, "\n", -1);
    for (char **line = lines; ret == 0 && *line; line++) {
        VmdkLine l;

        if (vmdk_line_parse(*line, &l)) {
            ret = open_line(bs, &l, errp);
            g_free(l.name);
        }
    }
    if (ret == 0 && s->n_extents == 0) {
        error_setg(errp, "VMDK descriptor has no extents");
        ret = -EINVAL;
    }
    return ret;
}

static int check_writable(BlockDriverState *bs, Error **errp)
{
    VmdkState *s = bs->opaque;

    for (unsigned i = 0; !bs->read_only && i < s->n_extents; i++) {
        if (s->extents[i].read_only && !bs->auto_read_only) {
            error_setg(errp, "VMDK extent %u cannot be written", i);
            return -EROFS;
        }
        if (s->extents[i].read_only) {
            bdrv_turn_read_only(bs);
        }
    }
    return 0;
}

static int vmdk_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    VmdkState *s = bs->opaque;
    uint8_t header[VMDK_HEADER_BYTES];
    int ret;

    if (!bdrv_open_child(bs, options->u.vmdk.file, "file", BDRV_CHILD_IMAGE,
                         errp)) {
        return -EINVAL;
    }
    ret = bdrv_pread(bs->file, 0, sizeof(header), header);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the VMDK header");
        return ret;
    }
    mapped_init(&s->mapped, &vmdk_ops, 0, 0);
    switch (ld32_le(header)) {
    case VMDK_MAGIC:
        ret = open_monolithic(bs, header, errp);
        break;
    case VMDK_ESX_MAGIC:
        ret = refuse_extent(errp);
        break;
    default:
        ret = open_descriptor(bs, errp);
        break;
    }
    if (ret == 0) {
        ret = check_writable(bs, errp);
    }
    if (ret < 0) {
        free_state(s);
        return ret;
    }
    bs->backing_file = g_strdup(s->desc.parent);
    bs->backing_format = s->desc.parent ? g_strdup("vmdk") : NULL;
    return 0;
}

static void vmdk_close(BlockDriverState *bs)
{
    mapped_close(bs);
    free_state(bs->opaque);
}

/* An image that cannot be written at all stays read-only. */
static int vmdk_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    BlockDriverState *bs = state->bs;
    VmdkState *s = bs->opaque;

    for (unsigned i = 0; !bs->read_only && i < s->n_extents; i++) {
        if (s->extents[i].read_only) {
            error_setg(errp, "VMDK extent %u cannot be written", i);
            return -EROFS;
        }
    }
    return 0;
}

/* --- blocks --- */

/* The extent with @offset, which is on the disk. */
static VmdkExtent *find_extent(const VmdkState *s, int64_t offset)
{
    unsigned low = 0, high = s->n_extents - 1;

    while (low < high) {
        unsigned middle = low + (high - low + 1) / 2;

        if (s->extents[middle].start <= offset) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return &s->extents[low];
}

extern const BlockDriver bdrv_vmdk;

/* The parent must be as it was when this image was made. */
static int check_parent(BlockDriverState *bs)
{
    VmdkState *s = bs->opaque;
    BlockDriverState *parent = bs->backing
        ? bdrv_skip_filters(bs->backing->bs) : NULL;

    if (parent && parent->drv == &bdrv_vmdk &&
        !s->parent_checked) {
        const VmdkState *p = parent->opaque;

        if (s->desc.parent && p->desc.cid != s->desc.parent_cid) {
            return -EINVAL;
        }
        s->parent_checked = true;
    }
    return 0;
}

static int coroutine_fn map_sparse(BlockDriverState *bs, VmdkExtent *e,
                                   int64_t in, MappedRun *run)
{
    uint32_t entry;
    int ret = vmdk_sparse_get(e, in, &entry);

    run->start = e->start + in - in % e->grain;
    run->whole = e->grain;
    if (ret < 0) {
        return ret;
    }
    if (entry == 0) {
        run->kind = MAPPED_HOLE;
        return check_parent(bs);
    }
    if (entry == 1 && e->zeroed) {
        run->kind = MAPPED_ZERO;
        return 0;
    }
    run->kind = e->compressed ? MAPPED_OTHER : MAPPED_DATA;
    run->host = (int64_t)entry * BDRV_SECTOR_SIZE;
    if ((uint64_t)run->host < e->overhead) {
        return -EIO; /* a grain over the metadata */
    }
    if (!e->compressed) {
        run->host += in % e->grain;
    }
    return 0;
}

static int coroutine_fn vmdk_map(BlockDriverState *bs, int64_t offset,
                                 MappedRun *run)
{
    VmdkExtent *e = find_extent(bs->opaque, offset);
    int64_t in = offset - e->start;

    run->bytes = MIN(run->bytes, e->bytes - in);
    run->file = e->file;
    if (e->sparse) {
        return map_sparse(bs, e, in, run);
    }
    run->start = e->start;
    run->whole = e->bytes;
    run->kind = e->file ? MAPPED_DATA : MAPPED_ZERO;
    run->host = e->flat_offset + in;
    return 0;
}

static int coroutine_fn vmdk_read_other(BlockDriverState *bs, int64_t offset,
                                        const MappedRun *run,
                                        QEMUIOVector *qiov,
                                        size_t qiov_offset)
{
    VmdkExtent *e = find_extent(bs->opaque, offset);
    g_autofree uint8_t *buf = g_try_malloc0(e->grain);
    int ret = buf ? vmdk_read_compressed(e, run->start - e->start,
                                         run->host / BDRV_SECTOR_SIZE, buf)
                  : -ENOMEM;

    if (ret == 0) {
        qemu_iovec_from_buf(qiov, qiov_offset, buf + offset - run->start,
                            run->bytes);
    }
    return ret;
}

static int coroutine_fn vmdk_allocate(BlockDriverState *bs, int64_t start,
                                      BdrvChild **file, int64_t *host)
{
    VmdkExtent *e = find_extent(bs->opaque, start);
    uint64_t sector = e->next / BDRV_SECTOR_SIZE;

    if (!e->sparse) {
        return -EACCES; /* an extent of zeroes */
    }
    if (!e->dir[(start - e->start) / (e->grain * e->entries)]) {
        return -ENOTSUP; /* there is no table */
    }
    if (sector > UINT32_MAX) {
        return -EFBIG;
    }
    *file = e->file;
    *host = e->next;
    return 0;
}

static int coroutine_fn vmdk_link(BlockDriverState *bs, int64_t start,
                                  BdrvChild *file, int64_t host)
{
    VmdkExtent *e = find_extent(bs->opaque, start);
    int ret = vmdk_sparse_set(e, start - e->start, host / BDRV_SECTOR_SIZE);

    if (ret == 0) {
        e->next = host + e->grain;
    }
    return ret;
}

static int coroutine_fn vmdk_make_zero(BlockDriverState *bs, int64_t start)
{
    VmdkExtent *e = find_extent(bs->opaque, start);

    return e->zeroed ? vmdk_sparse_set(e, start - e->start, 1) : -ENOTSUP;
}

static int coroutine_fn vmdk_write_back(BlockDriverState *bs)
{
    VmdkState *s = bs->opaque;
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < s->n_extents; i++) {
        if (s->extents[i].sparse) {
            ret = vmdk_sparse_write_back(&s->extents[i]);
        }
    }
    return ret;
}

static const MappedOps vmdk_ops = {
    .map = vmdk_map,
    .read_other = vmdk_read_other,
    .allocate = vmdk_allocate,
    .link = vmdk_link,
    .make_zero = vmdk_make_zero,
    .write_back = vmdk_write_back,
    .appends = true,
};

/* --- writing --- */

/* Images whose parent this is must notice that it has changed. */
static int coroutine_fn change_cid(BlockDriverState *bs)
{
    VmdkState *s = bs->opaque;
    int ret;

    CO_MUTEX_GUARD(&s->mapped.lock);
    if (s->cid_changed) {
        return 0;
    }
    if (!vmdk_desc_set_cid(&s->desc, g_random_int_range(0, INT32_MAX))) {
        return -ENOSPC;
    }
    ret = bdrv_co_pwrite(bs->file, s->desc.offset, strlen(s->desc.text),
                         s->desc.text, 0);
    s->cid_changed = ret >= 0;
    return MIN(ret, 0);
}

/* Part of a compressed grain: its new version goes to the end of the file. */
static int coroutine_fn write_grain(BlockDriverState *bs, VmdkExtent *e,
                                    int64_t offset, int64_t bytes,
                                    QEMUIOVector *qiov, size_t qiov_offset)
{
    VmdkState *s = bs->opaque;
    int64_t in = offset - e->start;
    int64_t start = offset - in % e->grain;
    int64_t there = MIN(e->grain, e->start + e->bytes - start);
    g_autofree uint8_t *buf = g_try_malloc0(e->grain);
    QEMUIOVector old;
    int ret = 0;

    if (!buf) {
        return -ENOMEM;
    }
    CO_MUTEX_GUARD(&s->mapped.lock);
    if (bytes < there) {
        qemu_iovec_init_buf(&old, buf, there);
        ret = mapped_co_preadv(bs, start, there, &old, 0, 0);
    }
    if (ret < 0) {
        return ret;
    }
    qemu_iovec_to_buf(qiov, qiov_offset, buf + offset - start, bytes);
    return vmdk_write_compressed(e, start - e->start, buf);
}

static int coroutine_fn vmdk_co_pwritev(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes, QEMUIOVector *qiov,
                                        size_t qiov_offset,
                                        BdrvRequestFlags flags)
{
    VmdkState *s = bs->opaque;
    int ret = s->cid_changed ? 0 : change_cid(bs);

    while (ret >= 0 && bytes > 0) {
        VmdkExtent *e = find_extent(s, offset);
        int64_t in = offset - e->start;
        int64_t n = MIN(bytes, e->bytes - in);

        if (e->compressed) {
            n = MIN(n, e->grain - in % e->grain);
            ret = write_grain(bs, e, offset, n, qiov, qiov_offset);
        } else {
            ret = mapped_co_pwritev(bs, offset, n, qiov, qiov_offset, flags);
        }
        offset += n;
        bytes -= n;
        qiov_offset += n;
    }
    return MIN(ret, 0);
}

/* Extents that are compressed always are; the others never are. */
static int coroutine_fn vmdk_co_pwritev_compressed(BlockDriverState *bs,
                                                   int64_t offset,
                                                   int64_t bytes,
                                                   QEMUIOVector *qiov,
                                                   size_t qiov_offset)
{
    VmdkState *s = bs->opaque;

    for (unsigned i = 0; i < s->n_extents; i++) {
        if (!s->extents[i].compressed) {
            return -ENOTSUP;
        }
    }
    return vmdk_co_pwritev(bs, offset, bytes, qiov, qiov_offset, 0);
}

static int coroutine_fn vmdk_co_pwrite_zeroes(BlockDriverState *bs,
                                              int64_t offset, int64_t bytes,
                                              BdrvRequestFlags flags)
{
    VmdkState *s = bs->opaque;
    int ret = s->cid_changed ? 0 : change_cid(bs);

    return ret < 0 ? ret : mapped_co_pwrite_zeroes(bs, offset, bytes, flags);
}

static int coroutine_fn vmdk_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes)
{
    VmdkState *s = bs->opaque;
    int ret = s->cid_changed ? 0 : change_cid(bs);

    return ret < 0 ? ret : mapped_co_pdiscard(bs, offset, bytes);
}

/* --- information --- */

static int vmdk_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    const VmdkState *s = bs->opaque;

    info->cluster_size = s->extents[0].grain;
    for (unsigned i = 1; i < s->n_extents; i++) {
        if (s->extents[i].grain != info->cluster_size) {
            info->cluster_size = 0;
        }
    }
    return 0;
}

static ImageInfo *extent_info(const VmdkExtent *e)
{
    ImageInfo *info = g_new0(ImageInfo, 1);

    info->filename = g_strdup(e->file ? e->file->bs->filename : "");
    info->format = g_strdup(e->type);
    info->virtual_size = e->bytes;
    info->has_compressed = info->compressed = e->compressed;
    info->has_cluster_size = e->sparse;
    info->cluster_size = e->grain;
    return info;
}

static ImageInfoSpecific *vmdk_get_specific_info(BlockDriverState *bs,
                                                 Error **errp)
{
    const VmdkState *s = bs->opaque;
    ImageInfoSpecific *spec = g_new0(ImageInfoSpecific, 1);
    ImageInfoSpecificVmdk *info = g_new0(ImageInfoSpecificVmdk, 1);
    ImageInfoList **tail = &info->extents;

    spec->type = IMAGE_INFO_SPECIFIC_KIND_VMDK;
    spec->u.vmdk.data = info;
    info->create_type = g_strdup(s->desc.create_type);
    info->cid = s->desc.cid;
    info->parent_cid = s->desc.parent_cid;
    for (unsigned i = 0; i < s->n_extents; i++) {
        *tail = g_new0(ImageInfoList, 1);
        (*tail)->value = extent_info(&s->extents[i]);
        tail = &(*tail)->next;
    }
    return spec;
}

static bool vmdk_has_zero_init(BlockDriverState *bs)
{
    const VmdkState *s = bs->opaque;

    for (unsigned i = 0; i < s->n_extents; i++) {
        const VmdkExtent *e = &s->extents[i];

        if (e->file && !e->sparse && !bdrv_has_zero_init(e->file->bs)) {
            return false;
        }
    }
    return true;
}

static int coroutine_fn check_grain(VmdkExtent *e, int64_t at, int64_t length,
                                    BdrvCheckResult *result)
{
    uint32_t entry;
    uint64_t host;
    int ret = vmdk_sparse_get(e, at, &entry);

    if (ret < 0) {
        fprintf(stderr, "ERROR: the table for offset %" PRId64 " cannot be "
                "read: %s\n", at, strerror(-ret));
        result->corruptions++;
        return ret;
    }
    host = (uint64_t)entry * BDRV_SECTOR_SIZE;
    if (entry > e->zeroed && (host < e->overhead || host >= length)) {
        fprintf(stderr, "ERROR: the grain for offset %" PRId64 " is outside "
                "of the data: %" PRIu64 "\n", at, host);
        result->corruptions++;
    }
    return 0;
}

static int coroutine_fn vmdk_co_check(BlockDriverState *bs,
                                      BdrvCheckResult *result, int fix)
{
    VmdkState *s = bs->opaque;

    if (fix) {
        return -ENOTSUP;
    }
    for (unsigned i = 0; i < s->n_extents; i++) {
        VmdkExtent *e = &s->extents[i];
        int64_t length = e->sparse ? bdrv_getlength(e->file->bs) : 0;
        int64_t span = e->sparse ? e->grain * e->entries : 1;

        for (int64_t at = 0; e->sparse && at < e->bytes; at += e->grain) {
            if ((at % span == 0 && !e->dir[at / span]) ||
                check_grain(e, at, length, result) < 0) {
                at += span - e->grain - at % span;
            }
        }
    }
    return 0;
}

const BlockDriver bdrv_vmdk = {
    .format_name = "vmdk",
    .instance_size = sizeof(VmdkState),
    .is_format = true,
    .supports_backing = true,
    .finds_children = true,
    .open = vmdk_open,
    .close = vmdk_close,
    .reopen_prepare = vmdk_reopen_prepare,
    .co_create = vmdk_co_create,
    .child_perm = bdrv_default_perms,
    .child_change = bdrv_child_change_format,
    .co_preadv = mapped_co_preadv,
    .co_host_read_begin = mapped_co_host_read_begin,
    .no_copy_range = true,
    .co_pwritev = vmdk_co_pwritev,
    .co_pwritev_compressed = vmdk_co_pwritev_compressed,
    .co_pwrite_zeroes = vmdk_co_pwrite_zeroes,
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP,
    .co_pdiscard = vmdk_co_pdiscard,
    .co_block_status = mapped_co_block_status,
    .co_flush = mapped_co_flush,
    .getlength = mapped_getlength,
    .get_info = vmdk_get_info,
    .get_specific_info = vmdk_get_specific_info,
    .co_check = vmdk_co_check,
    .has_zero_init = vmdk_has_zero_init,
};
