/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Creating vmdk images: extents, and the descriptor that lists them. */
#include "qemu/osdep.h"
#include "block/create-file.h"
#include "block/graph.h"
#include "qapi/qapi-types-block-image.h"
#include "qemu/error.h"
#include "vmdk-int.h"

#define DESC_SECTOR 1
#define DESC_SECTORS 20
#define EXTENT_BYTES (2 * GiB) /* of images whose extents have a limit */

typedef struct Create {
    const BlockdevCreateOptionsVmdk *o;
    BlockdevVmdkSubformat subformat;
    bool flat, split, compressed, zeroed;
    uint32_t parent_cid;
    char *desc;
    bool in_extent; /* the descriptor is in the only extent */
    int64_t bytes;  /* of the extent that is written */
} Create;

/* --- one extent --- */

/* Where things are in a sparse extent, in sectors. */
typedef struct Layout {
    uint64_t tables, dir_sectors, spare, dir, overhead;
} Layout;

static void lay_out(int64_t bytes, Layout *l)
{
    uint64_t table_sectors = VMDK_ENTRIES * 4 / BDRV_SECTOR_SIZE;
    uint64_t span = (uint64_t)VMDK_GRAIN * VMDK_ENTRIES;

    l->tables = (bytes + span - 1) / span;
    l->dir_sectors = (l->tables * 4 + BDRV_SECTOR_SIZE - 1) /
                     BDRV_SECTOR_SIZE;
    l->spare = DESC_SECTOR + DESC_SECTORS;
    l->dir = l->spare + l->dir_sectors + l->tables * table_sectors;
    l->overhead = ROUND_UP(l->dir + l->dir_sectors + l->tables * table_sectors,
                           VMDK_GRAIN / BDRV_SECTOR_SIZE);
}

static void build_header(const Create *c, const Layout *l, uint8_t *h)
{
    st32_le(h, VMDK_MAGIC);
    st32_le(h + VMDK_AT_VERSION, c->compressed ? 3 : c->zeroed ? 2 : 1);
    st32_le(h + VMDK_AT_FLAGS, VMDK_FLAG_LINE_ENDS | VMDK_FLAG_SPARE_DIR |
            (c->zeroed ? VMDK_FLAG_ZEROED : 0) |
            (c->compressed ? VMDK_FLAG_COMPRESSED | VMDK_FLAG_MARKERS : 0));
    st64_le(h + VMDK_AT_CAPACITY, c->bytes / BDRV_SECTOR_SIZE);
    st64_le(h + VMDK_AT_GRAIN, VMDK_GRAIN / BDRV_SECTOR_SIZE);
    /* There is space for a descriptor, even if it is in another file. */
    st64_le(h + VMDK_AT_DESC, DESC_SECTOR);
    st64_le(h + VMDK_AT_DESC_SIZE, DESC_SECTORS);
    st32_le(h + VMDK_AT_ENTRIES, VMDK_ENTRIES);
    st64_le(h + VMDK_AT_SPARE_DIR, l->spare);
    st64_le(h + VMDK_AT_DIR, l->dir);
    st64_le(h + VMDK_AT_OVERHEAD, l->overhead);
    memcpy(h + VMDK_AT_LINE_ENDS, "\n \r\n", 4);
    st16_le(h + VMDK_AT_COMPRESSION, c->compressed);
}

/* A directory at sector @at, which its tables follow. */
static int coroutine_fn write_dir(BdrvChild *file, const Layout *l,
                                  uint64_t at)
{
    uint64_t bytes = l->dir_sectors * BDRV_SECTOR_SIZE;
    uint8_t *buf = bdrv_try_blockalign(file->bs, MAX(bytes, 1));
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, bytes);
    for (uint64_t i = 0; i < l->tables; i++) {
        st32_le(buf + i * 4, at + l->dir_sectors +
                i * (VMDK_ENTRIES * 4 / BDRV_SECTOR_SIZE));
    }
    ret = bytes ? bdrv_co_pwrite(file, at * BDRV_SECTOR_SIZE, bytes, buf, 0)
                : 0;
    qemu_vfree(buf);
    return ret;
}

static int coroutine_fn write_sparse(BdrvChild *file, const Create *c)
{
    uint8_t header[VMDK_HEADER_BYTES] = {};
    Layout l;
    int ret;

    lay_out(c->bytes, &l);
    if (l.overhead > UINT32_MAX) {
        return -EFBIG;
    }
    build_header(c, &l, header);
    /* A device would show its former content in the tables. */
    ret = bdrv_co_truncate(file, l.overhead * BDRV_SECTOR_SIZE, false,
                           PREALLOC_MODE_OFF, 0, NULL);
    if (ret >= 0 && !bdrv_has_zero_init(file->bs)) {
        ret = bdrv_co_pwrite_zeroes(file, 0, l.overhead * BDRV_SECTOR_SIZE, 0);
    }
    if (ret >= 0) {
        ret = write_dir(file, &l, l.spare);
    }
    if (ret >= 0) {
        ret = write_dir(file, &l, l.dir);
    }
    if (ret >= 0 && c->in_extent) {
        ret = bdrv_co_pwrite(file, DESC_SECTOR * BDRV_SECTOR_SIZE,
                             strlen(c->desc), c->desc, 0);
    }
    return ret < 0 ? ret : bdrv_co_pwrite(file, 0, sizeof(header), header, 0);
}

static int coroutine_fn write_extent(BdrvChild *file, void *opaque,
                                     Error **errp)
{
    const Create *c = opaque;
    int ret = bdrv_create_empty(file, errp);

    if (ret < 0) {
        return ret;
    }
    if (c->flat) {
        return bdrv_co_truncate(file, c->bytes, false, PREALLOC_MODE_OFF,
                                BDRV_REQ_ZERO_WRITE, errp);
    }
    ret = write_sparse(file, c);
    if (ret >= 0) {
        ret = bdrv_co_flush(file->bs);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the VMDK extent");
    }
    return MIN(ret, 0);
}

static int coroutine_fn write_descriptor(BdrvChild *file, void *opaque,
                                         Error **errp)
{
    const Create *c = opaque;
    int ret = bdrv_create_empty(file, errp);

    if (ret < 0) {
        return ret;
    }
    ret = bdrv_co_pwrite(file, 0, strlen(c->desc), c->desc, 0);
    if (ret >= 0) {
        ret = bdrv_co_flush(file->bs);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the VMDK descriptor");
    }
    return MIN(ret, 0);
}

/* --- several files --- */

/* The name of extent @i of the image @path. */
static char *extent_name(const Create *c, const char *path, unsigned i)
{
    const char *dot = strrchr(path, '.');
    int stem = dot && !strchr(dot, '/') ? dot - path : (int)strlen(path);
    const char *tail = dot && !strchr(dot, '/') ? dot : "";

    return c->split
        ? g_strdup_printf("%.*s-%c%03u%s", stem, path, c->flat ? 'f' : 's',
                          i + 1, tail)
        : g_strdup_printf("%.*s-flat%s", stem, path, tail);
}

/* Makes the file for extent @i beside the descriptor, and opens it. */
static BlockDriverState *coroutine_fn make_file(const Create *c,
                                                const char *path, unsigned i,
                                                Error **errp)
{
    g_autofree char *name = extent_name(c, path, i);
    BlockdevCreateOptions create = {.driver = BLOCKDEV_DRIVER_FILE};
    g_autoptr(BlockdevOptions) options = NULL;
    bool unused;

    create.u.file.filename = name;
    if (bdrv_create(&create, errp) < 0) {
        return NULL;
    }
    options = bdrv_options_from_filename(name, "file", BDRV_O_PROTOCOL,
                                         &unused, errp);
    if (!options) {
        return NULL;
    }
    options->has_read_only = true;
    return bdrv_open(options, BDRV_O_ACTIVE, errp);
}

/* The node of extent @i: as given, or a new file.  A new reference. */
static BlockDriverState *coroutine_fn extent_node(const Create *c,
                                                  const BlockdevRefList **next,
                                                  const char *path, unsigned i,
                                                  Error **errp)
{
    const BlockdevRef *ref;
    BlockDriverState *bs;

    if (!c->o->extents) {
        if (!*path) {
            error_setg(errp, "Extent [%u] not specified", i);
            return NULL;
        }
        return make_file(c, path, i, errp);
    }
    if (!*next) {
        error_setg(errp, "Extent [%u] not specified", i);
        return NULL;
    }
    ref = (*next)->value;
    *next = (*next)->next;
    if (ref->type == BLOCKDEV_REF_KIND_DEFINITION) {
        return bdrv_open(ref->u.definition, BDRV_O_RDWR | BDRV_O_ACTIVE,
                         errp);
    }
    bs = bdrv_lookup_bs(ref->u.reference, ref->u.reference, errp);
    return bs ? bdrv_ref(bs) : NULL;
}

static int coroutine_fn create_extents(Create *c, const char *path,
                                       GString *lines, Error **errp)
{
    int64_t size = c->o->size;
    int64_t most = c->split ? EXTENT_BYTES : MAX(size, 1);
    const BlockdevRefList *next = c->o->extents;

    for (unsigned i = 0; i * most < size || i == 0; i++) {
        g_autoptr(BlockDriverState) bs = extent_node(c, &next, path, i, errp);
        BlockdevRef ref = {.type = BLOCKDEV_REF_KIND_REFERENCE};
        g_autofree char *base = NULL;
        int ret;

        if (!bs) {
            return -EINVAL;
        }
        c->bytes = MIN(most, size - i * most);
        ref.u.reference = bs->node_name;
        ret = bdrv_create_in_file(&ref, "vmdk", write_extent, c, errp);
        if (ret < 0) {
            return ret;
        }
        base = g_path_get_basename(bs->filename ? bs->filename : "");
        g_string_append_printf(lines, "RW %" PRId64 " %s \"%s\"%s\n",
                               c->bytes / BDRV_SECTOR_SIZE,
                               c->flat ? "FLAT" : "SPARSE", base,
                               c->flat ? " 0" : "");
    }
    if (next) {
        error_setg(errp, "List of extents contains unused extents");
        return -EINVAL;
    }
    return 0;
}

/* --- the descriptor --- */

static char *build_descriptor(const Create *c, const char *lines)
{
    const BlockdevCreateOptionsVmdk *o = c->o;
    BlockdevVmdkAdapterType adapter = o->has_adapter_type
        ? o->adapter_type : BLOCKDEV_VMDK_ADAPTER_TYPE_IDE;
    unsigned heads = adapter == BLOCKDEV_VMDK_ADAPTER_TYPE_IDE ? 16 : 255;
    g_autofree char *parent = o->backing_file
        ? g_strdup_printf("parentFileNameHint=\"%s\"\n", o->backing_file)
        : g_strdup("");

    return g_strdup_printf(
        "# Disk DescriptorFile\n"
        "version=1\n"
        "CID=%08" PRIx32 "\n"
        "parentCID=%08" PRIx32 "\n"
        "createType=\"%s\"\n"
        "%s"
        "\n"
        "# Extent description\n"
        "%s"
        "\n"
        "# The Disk Data Base\n"
        "#DDB\n"
        "\n"
        "ddb.virtualHWVersion = \"%s\"\n"
        "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
        "ddb.geometry.heads = \"%u\"\n"
        "ddb.geometry.sectors = \"63\"\n"
        "ddb.adapterType = \"%s\"\n"
        "ddb.toolsVersion = \"%s\"\n",
        (uint32_t)g_random_int(), c->parent_cid,
        BlockdevVmdkSubformat_str(c->subformat), parent, lines,
        o->hwversion ? o->hwversion : "4",
        o->size / (UINT64_C(63) * heads * BDRV_SECTOR_SIZE), heads,
        BlockdevVmdkAdapterType_str(adapter),
        o->toolsversion ? o->toolsversion : "2147483647");
}

static bool has_bad_character(const char *text)
{
    return text && strpbrk(text, "\"\r\n");
}

static bool check_options(const Create *c, Error **errp)
{
    const BlockdevCreateOptionsVmdk *o = c->o;

    if (c->flat && o->backing_file) {
        error_setg(errp, "Flat image can't have backing file");
    } else if (c->flat && c->zeroed) {
        error_setg(errp, "Flat image can't enable zeroed grain");
    } else if (o->size > VMDK_MAX_BYTES) {
        error_setg(errp, "The image size is too large for file format 'vmdk'");
    } else if (o->size % BDRV_SECTOR_SIZE) {
        error_setg(errp, "Image size must be a multiple of %d bytes",
                   BDRV_SECTOR_SIZE);
    } else if (has_bad_character(o->backing_file) ||
               has_bad_character(o->hwversion) ||
               has_bad_character(o->toolsversion)) {
        error_setg(errp, "Quotes and line ends cannot be stored in a VMDK "
                   "descriptor");
    } else {
        return true;
    }
    return false;
}

/* The file name of the node to format; "": none. */
static char *file_name(const BlockdevRef *ref)
{
    BlockDriverState *bs;

    if (ref->type == BLOCKDEV_REF_KIND_DEFINITION) {
        return g_strdup(ref->u.definition->driver == BLOCKDEV_DRIVER_FILE
                        ? ref->u.definition->u.file.filename : "");
    }
    bs = bdrv_find_node(ref->u.reference);
    return g_strdup(bs && bs->filename &&
                    !g_str_has_prefix(bs->filename, "json:")
                    ? bs->filename : "");
}

static int coroutine_fn read_parent(Create *c, const char *path, Error **errp)
{
    g_autofree char *name = NULL;
    g_autoptr(BlockDriverState) bs = NULL;

    c->parent_cid = VMDK_NO_PARENT;
    if (!c->o->backing_file) {
        return 0;
    }
    name = bdrv_make_absolute_filename(path, c->o->backing_file);
    bs = bdrv_open_file(name, NULL, BDRV_O_NO_BACKING, errp);
    if (!bs) {
        return -EINVAL;
    }
    if (strcmp(bdrv_get_format_name(bs), "vmdk")) {
        error_setg(errp, "backing_file must be a vmdk image");
        return -EINVAL;
    }
    c->parent_cid = ((const VmdkState *)bs->opaque)->desc.cid;
    return 0;
}

static int coroutine_fn create_image(Create *c, const char *path,
                                     Error **errp)
{
    g_autoptr(GString) lines = g_string_new("");
    int ret = 0;

    if (c->in_extent) {
        g_autofree char *base = g_path_get_basename(path);

        if (c->o->extents) {
            error_setg(errp, "List of extents contains unused extents");
            return -EINVAL;
        }
        c->bytes = c->o->size;
        g_string_append_printf(lines, "RW %" PRIu64 " SPARSE \"%s\"\n",
                               c->o->size / BDRV_SECTOR_SIZE, base);
    } else {
        ret = create_extents(c, path, lines, errp);
    }
    if (ret < 0) {
        return ret;
    }
    c->desc = build_descriptor(c, lines->str);
    if (strlen(c->desc) > (c->in_extent ? DESC_SECTORS * BDRV_SECTOR_SIZE
                                        : VMDK_MAX_DESC)) {
        error_setg(errp, "The VMDK descriptor would be too long");
        return -EINVAL;
    }
    return bdrv_create_in_file(c->o->file, "vmdk", c->in_extent
                               ? write_extent : write_descriptor, c, errp);
}

int coroutine_fn vmdk_co_create(BlockdevCreateOptions *options, Error **errp)
{
    const BlockdevCreateOptionsVmdk *o = &options->u.vmdk;
    g_autofree char *path = file_name(o->file);
    Create c = {
        .o = o,
        .subformat = o->has_subformat
            ? o->subformat : BLOCKDEV_VMDK_SUBFORMAT_MONOLITHIC_SPARSE,
        .zeroed = o->has_zeroed_grain && o->zeroed_grain,
    };
    int ret;

    c.flat = c.subformat == BLOCKDEV_VMDK_SUBFORMAT_MONOLITHIC_FLAT ||
             c.subformat == BLOCKDEV_VMDK_SUBFORMAT_TWO_GB_MAX_EXTENT_FLAT;
    c.split = c.subformat == BLOCKDEV_VMDK_SUBFORMAT_TWO_GB_MAX_EXTENT_SPARSE ||
              c.subformat == BLOCKDEV_VMDK_SUBFORMAT_TWO_GB_MAX_EXTENT_FLAT;
    c.compressed = c.subformat == BLOCKDEV_VMDK_SUBFORMAT_STREAM_OPTIMIZED;
    c.in_extent = !c.flat && !c.split;
    if (!check_options(&c, errp)) {
        return -EINVAL;
    }
    ret = read_parent(&c, path, errp);
    if (ret == 0) {
        ret = create_image(&c, path, errp);
    }
    g_free(c.desc);
    return ret;
}
