/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img rebase: gives an image another backing file.
 *
 * The visible content stays the same: where the old and the new backing file
 * differ and the image allocates nothing itself, it gets the old one's data
 * first. With -u only the name in its header changes.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/snapshot.h"
#include "img.h"

#define REBASE_CHUNK (2 * MiB)

typedef struct RebaseArgs {
    ToolImage image;
    const char *base, *base_format; /* NULL or "": none */
    const char *cache, *source_cache;
    bool unsafe, progress, quiet, force_share;
} RebaseArgs;

static const CliOption rebase_options[] = {
    IMG_IMAGE_OPTIONS(RebaseArgs, image),
    IMG_TEXT(RebaseArgs, 'b', "backing", base),
    IMG_TEXT(RebaseArgs, 'F', "backing-format", base_format),
    IMG_TEXT(RebaseArgs, 't', "cache", cache),
    IMG_TEXT(RebaseArgs, 'T', "source-cache", source_cache),
    IMG_FLAG(RebaseArgs, 'u', "unsafe", unsafe),
    IMG_FLAG(RebaseArgs, 'p', "progress", progress),
    IMG_FLAG(RebaseArgs, 'q', "quiet", quiet),
    IMG_FLAG(RebaseArgs, 'U', "force-share", force_share),
    { 0 },
};

enum { REBASE_OLD, REBASE_NEW };

typedef struct Rebase {
    const RebaseArgs *args;
    BlockBackend *blk;
    BlockBackend *base[2];   /* REBASE_*; NULL: zeroes */
    BlockDriverState *below; /* the new one, if it is in the old chain */
    uint8_t *buf[2];         /* REBASE_CHUNK bytes each */
    int64_t cluster;         /* of the image */
    int64_t size;
} Rebase;

/* --- differences --- */

/* Length of the unallocated run at @offset; 0: nothing to compare. */
static int64_t unallocated(const Rebase *r, int64_t offset, int64_t *skip)
{
    int64_t bytes = MIN(r->size - offset, REBASE_CHUNK), pnum;
    int ret = bdrv_is_allocated(blk_bs(r->blk), offset, bytes, &pnum);

    *skip = pnum;
    if (ret < 0) {
        return ret;
    }
    if (ret || pnum == 0) {
        *skip = MAX(pnum, 1);
        return 0;
    }
    bytes = pnum;
    if (!r->below || !r->base[REBASE_OLD]) {
        return bytes;
    }
    /* Data that none of the layers to be removed allocates does not change. */
    ret = bdrv_is_allocated_above(blk_bs(r->base[REBASE_OLD]), r->below, false,
                                  offset, bytes, &pnum);
    pnum = pnum == bytes ? pnum : ROUND_DOWN(pnum, r->cluster);
    if (ret < 0) {
        return ret;
    }
    *skip = pnum;
    return ret || pnum == 0 ? bytes : 0;
}

/* The part past a backing file's end reads as zeroes. */
static int read_base(const Rebase *r, int which, int64_t offset, int64_t bytes)
{
    BlockBackend *blk = r->base[which];
    int64_t size = blk ? blk_getlength(blk) : 0;
    int64_t there = CLAMP(size - offset, 0, bytes);
    int ret = 0;

    if (size < 0) {
        return size;
    }
    if (there) {
        ret = blk_pread(blk, offset, there, r->buf[which], 0);
    }
    memset(r->buf[which] + there, 0, bytes - there);
    if (ret < 0) {
        error_report("Error while reading offset %" PRId64 " of the %s "
                     "backing file: %s", offset,
                     which == REBASE_OLD ? "old" : "new", strerror(-ret));
    }
    return ret;
}

/* Number of bytes at @pos, in clusters, that differ, or that are equal. */
static int64_t alike(const Rebase *r, int64_t pos, int64_t bytes, bool *same)
{
    int64_t end = pos;

    while (end < bytes) {
        int64_t n = MIN(r->cluster, bytes - end);
        bool s = !memcmp(r->buf[0] + end, r->buf[1] + end, n);

        if (end > pos && s != *same) {
            break;
        }
        *same = s;
        end += n;
    }
    return end - pos;
}

/* Zeroes that hide those of later backing files; false: not possible. */
static bool keep_zeroes(const Rebase *r, int64_t offset, int64_t bytes)
{
    int64_t pnum;

    return blk_pwrite_zeroes(r->blk, offset, bytes, 0) >= 0 &&
           bdrv_is_allocated(blk_bs(r->blk), offset, bytes, &pnum) == 1 &&
           pnum == bytes;
}

static int keep(const Rebase *r, int64_t offset, int64_t bytes,
                const uint8_t *buf)
{
    int ret = 0;

    if (!buffer_is_zero(buf, bytes) || !keep_zeroes(r, offset, bytes)) {
        ret = blk_pwrite(r->blk, offset, bytes, buf, 0);
    }
    if (ret < 0) {
        error_report("Error while writing offset %" PRId64 " of '%s': %s",
                     offset, r->args->image.filename, strerror(-ret));
    }
    return ret;
}

static int copy_differences(const Rebase *r, int64_t offset, int64_t bytes)
{
    int ret = read_base(r, REBASE_OLD, offset, bytes);
    int64_t n;

    if (ret >= 0) {
        ret = read_base(r, REBASE_NEW, offset, bytes);
    }
    for (int64_t pos = 0; ret >= 0 && pos < bytes; pos += n) {
        bool same = false;

        n = alike(r, pos, bytes, &same);
        if (!same) {
            ret = keep(r, offset + pos, n, r->buf[REBASE_OLD] + pos);
        }
    }
    return ret;
}

static int copy_all(const Rebase *r)
{
    int ret = 0;

    for (int64_t offset = 0; ret >= 0 && offset < r->size;) {
        int64_t skip, bytes = unallocated(r, offset, &skip);

        if (bytes < 0) {
            error_report("Error while reading the allocation of '%s': %s",
                         r->args->image.filename, strerror(-bytes));
            return bytes;
        }
        if (bytes > 0) {
            ret = copy_differences(r, offset, bytes);
        }
        if (bytes > 0) {
            img_progress_add(bytes, bytes, r->size);
        }
        offset += bytes > 0 ? bytes : skip;
        if (tool_interrupted()) {
            return -EINTR;
        }
    }
    return ret;
}

/* --- opening --- */

static BlockBackend *reader(BlockDriverState *bs)
{
    Error *err = NULL;
    BlockBackend *blk = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ,
                                        BLK_PERM_ALL, &err);

    if (!blk) {
        error_report_err(err);
    }
    return blk;
}

/* The layer of the old chain that is the file @path; NULL: none. */
static BlockDriverState *find_below(BlockDriverState *bs, const char *path)
{
    while ((bs = bdrv_backing_chain_next(bs))) {
        if (bs->file && path_is_same_file(bs->file->bs->filename, path)) {
            break;
        }
    }
    return bs;
}

static bool open_new_base(Rebase *r)
{
    const RebaseArgs *args = r->args;
    BlockDriverState *bs = blk_bs(r->blk);
    g_autofree char *path = NULL;
    ToolImage image = { .format = args->base_format };
    Error *err = NULL;

    path = args->image.image_opts
        ? g_strdup(args->base)
        : bdrv_make_absolute_filename(args->image.filename, args->base);
    r->below = find_below(bs, path);
    if (r->below) {
        r->base[REBASE_NEW] = reader(r->below);
        return r->base[REBASE_NEW] != NULL;
    }
    image.filename = path;
    tool_cache_mode(args->source_cache, &image);
    image.flags |= args->force_share ? BDRV_O_FORCE_SHARE : 0;
    r->base[REBASE_NEW] = tool_open(&image, &err);
    if (!r->base[REBASE_NEW]) {
        error_prepend(&err, "Could not open new backing file '%s': ",
                      args->base);
        error_report_err(err);
    }
    return r->base[REBASE_NEW] != NULL;
}

static bool open_bases(Rebase *r)
{
    BlockDriverState *old = bdrv_backing_chain_next(blk_bs(r->blk));

    if (old) {
        r->base[REBASE_OLD] = reader(old);
        if (!r->base[REBASE_OLD]) {
            return false;
        }
    }
    return !r->args->base || !*r->args->base || open_new_base(r);
}

/* --- the whole operation --- */

/* Can the name be changed at all?  Checked before data is copied. */
static bool check_change(const Rebase *r)
{
    const RebaseArgs *args = r->args;
    BlockDriverState *bs = bdrv_skip_filters(blk_bs(r->blk));
    const char *problem = NULL;

    if (!bs->drv->change_backing_file) {
        problem = strerror(ENOTSUP);
    } else if (args->base && *args->base && !args->base_format) {
        problem = "backing format must be specified";
    }
    if (problem) {
        error_report("Could not change the backing file to '%s': %s",
                     args->base ? args->base : "", problem);
    }
    return !problem;
}

/* The data must be durable before it is relied upon. */
static bool make_durable(const Rebase *r)
{
    int ret = blk_flush(r->blk);

    if (ret < 0) {
        error_report("Could not flush '%s': %s", r->args->image.filename,
                     strerror(-ret));
    } else if (bdrv_lost_writes(blk_bs(r->blk))) {
        error_report("Writes to '%s' may have been lost: its backing file is "
                     "not changed", r->args->image.filename);
        ret = -EIO;
    }
    return ret >= 0;
}

static bool change_name(const Rebase *r)
{
    const char *base = r->args->base;
    BlockDriverState *bs = bdrv_skip_filters(blk_bs(r->blk));
    int ret;

    if (!make_durable(r)) {
        return false;
    }
    ret = base && *base
        ? bs->drv->change_backing_file(bs, base, r->args->base_format)
        : bs->drv->change_backing_file(bs, NULL, NULL);
    if (ret == -ENOSPC) {
        error_report("Could not change the backing file to '%s': No space "
                     "left in the file header", base);
    } else if (ret < 0) {
        error_report("Could not change the backing file to '%s': %s",
                     base ? base : "", strerror(-ret));
    }
    return ret >= 0;
}

static bool make_safe(Rebase *r)
{
    bool ok;

    r->size = blk_getlength(r->blk);
    if (r->size < 0) {
        error_report("Could not get the size of '%s': %s",
                     r->args->image.filename, strerror(-r->size));
        return false;
    }
    r->cluster = MIN(bdrv_get_cluster_size(blk_bs(r->blk)), REBASE_CHUNK);
    for (int i = 0; i < 2; i++) {
        r->buf[i] = bdrv_blockalign(blk_bs(r->blk), REBASE_CHUNK);
    }
    ok = copy_all(r) >= 0;
    qemu_vfree(r->buf[0]);
    qemu_vfree(r->buf[1]);
    return ok;
}

static int rebase(const RebaseArgs *args)
{
    Rebase r = { .args = args };
    bool ok = false;

    img_progress_begin(args->progress && !args->quiet, 2);
    r.blk = img_open(&args->image);
    if (!r.blk) {
        /* It is reported. */
    } else if (args->base_format && !bdrv_find_format(args->base_format)) {
        error_report("Invalid format name: '%s'", args->base_format);
    } else {
        ok = (args->unsafe || open_bases(&r)) && check_change(&r) &&
             (args->unsafe || make_safe(&r)) && change_name(&r);
        if (ok) {
            img_progress_set(1, 1);
        }
        if (ok && !args->unsafe) {
            bdrv_warn_of_snapshots(bdrv_skip_filters(blk_bs(r.blk)));
        }
    }
    img_progress_end();
    blk_unref(r.base[REBASE_OLD]);
    blk_unref(r.base[REBASE_NEW]);
    blk_unref(r.blk);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int img_rebase(int argc, char **argv)
{
    RebaseArgs args = { .image.flags = BDRV_O_RDWR };
    int first = cli_parse(argc, argv, rebase_options, &args, img_help);
    ToolImage source = { 0 };

    if (argc - first != 1) {
        cli_usage_error("Expecting one image file name");
    }
    if (!args.unsafe && !args.base) {
        cli_usage_error("Must specify backing file (-b) or use unsafe mode "
                        "(-u)");
    }
    if (!tool_cache_mode(args.cache, &args.image)) {
        error_report("Invalid cache option: %s", args.cache);
        return EXIT_FAILURE;
    }
    if (!tool_cache_mode(args.source_cache, &source)) {
        error_report("Invalid source cache option: %s", args.source_cache);
        return EXIT_FAILURE;
    }
    args.image.filename = argv[first];
    args.image.flags |= args.unsafe ? BDRV_O_NO_BACKING : 0;
    args.image.flags |= args.force_share ? BDRV_O_FORCE_SHARE : 0;
    return rebase(&args);
}
