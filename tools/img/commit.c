/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img commit: writes the data of an image into one of its backing files.
 *
 * Each layer above that file is opened separately, without its backing file, so
 * that only the file that is written has to be locked for writing.
 */
#include "qemu/osdep.h"
#include "block/commit.h"
#include "img.h"

typedef struct CommitArgs {
    ToolImage image;
    const char *base, *cache, *rate_text;
    bool keep, progress, quiet;
    int64_t rate; /* bytes per second; 0: no limit */
} CommitArgs;

static const CliOption commit_options[] = {
    IMG_IMAGE_OPTIONS(CommitArgs, image),
    IMG_TEXT(CommitArgs, 't', "cache", cache),
    IMG_TEXT(CommitArgs, 'b', "base", base),
    IMG_TEXT(CommitArgs, 'r', "rate-limit", rate_text),
    IMG_FLAG(CommitArgs, 'd', "keep", keep),
    IMG_FLAG(CommitArgs, 'p', "progress", progress),
    IMG_FLAG(CommitArgs, 'q', "quiet", quiet),
    { 0 },
};

typedef struct Commit {
    const CommitArgs *args;
    GPtrArray *layers; /* of BlockBackend: the image, then the layers below */
    BlockBackend *base;
    int64_t size;      /* of the image */
} Commit;

/* --- opening --- */

static const char *node_path(BlockBackend *blk)
{
    BlockDriverState *bs = bdrv_skip_filters(blk_bs(blk));

    return bs->file ? bs->file->bs->filename : bs->filename;
}

static BlockBackend *open_layer(const Commit *c, const char *filename,
                                const char *format, int flags)
{
    ToolImage image = { .filename = filename, .format = format };

    tool_cache_mode(c->args->cache, &image);
    image.flags |= flags;
    return img_open(&image);
}

/* Is the backing file @name, which is @path, the one that the user means? */
static bool is_base(const CommitArgs *args, const char *name, const char *path)
{
    return !args->base || !strcmp(args->base, name) ||
           path_is_same_file(args->base, path);
}

/* Opens the layers below the image, down to the base. */
static bool open_chain(Commit *c)
{
    const CommitArgs *args = c->args;
    BlockBackend *upper = c->layers->pdata[0];

    while (!c->base) {
        BlockDriverState *bs = bdrv_skip_filters(blk_bs(upper));
        g_autofree char *path = NULL;
        bool found;

        if (!bs->backing_file) {
            break;
        }
        path = bdrv_make_absolute_filename(node_path(upper),
                                           bs->backing_file);
        found = is_base(args, bs->backing_file, path);
        upper = open_layer(c, path, bs->backing_format, found
                           ? BDRV_O_RDWR | BDRV_O_RESIZE : BDRV_O_NO_BACKING);
        if (!upper) {
            return false;
        }
        if (found) {
            c->base = upper;
        } else {
            g_ptr_array_add(c->layers, upper);
        }
    }
    if (!c->base && args->base) {
        error_report("Did not find '%s' in the backing chain of '%s'",
                     args->base, args->image.filename);
    } else if (!c->base) {
        error_report("Image does not have a backing file");
    }
    return c->base != NULL;
}

/* --- committing --- */

static bool show_progress(void *opaque, int64_t done, int64_t total)
{
    img_progress_set(done, total);
    return !tool_interrupted();
}

/* The base must be large enough for the image. */
static bool grow_base(Commit *c)
{
    Error *err = NULL;

    c->size = blk_getlength(c->layers->pdata[0]);
    if (c->size < 0) {
        error_report("Could not get the size of the images");
        return false;
    }
    if (commit_grow(c->base, c->size, &err) < 0) {
        error_prepend(&err, "Could not resize the backing file: ");
        error_report_err(err);
        return false;
    }
    return true;
}

static bool copy(Commit *c)
{
    g_autofree CommitLayer *layers = g_new(CommitLayer, c->layers->len);
    CommitCopy copy = {
        .layers = layers,
        .n_layers = c->layers->len,
        .base = c->base,
        .size = c->size,
        .speed = c->args->rate,
        .progress = show_progress,
    };
    int ret;

    for (guint i = 0; i < c->layers->len; i++) {
        layers[i].blk = c->layers->pdata[i];
        layers[i].bs = blk_bs(layers[i].blk);
    }
    if (c->args->progress && !c->args->quiet) {
        commit_count(&copy);
    }
    ret = commit_copy(&copy);
    if (ret >= 0) {
        img_progress_set(1, 1);
    }
    img_progress_end();
    if (ret < 0) {
        error_report("Error while committing '%s': %s",
                     c->args->image.filename, strerror(-ret));
    }
    return ret >= 0;
}

/* The image's data is in its backing file now.  Where the format has no way to
 * drop it, it stays, as the disk is the same. */
static bool empty(const Commit *c)
{
    BlockBackend *top = c->layers->pdata[0];
    int ret = 0;

    if (!c->args->keep && !c->args->base) {
        ret = commit_empty(bdrv_skip_filters(blk_bs(top)));
        ret = ret == -ENOTSUP ? 0 : ret < 0 ? ret : blk_flush(top);
    }
    if (ret < 0) {
        error_report("Failed to empty %s: %s", node_path(top),
                     strerror(-ret));
    }
    return ret >= 0;
}

static int commit(const CommitArgs *args)
{
    Commit c = { .args = args, .layers = g_ptr_array_new() };
    BlockBackend *top = img_open(&args->image);
    bool ok = false;

    if (top) {
        img_progress_begin(args->progress && !args->quiet, 1);
        g_ptr_array_add(c.layers, top);
        ok = open_chain(&c) && grow_base(&c) && copy(&c) && empty(&c);
    }
    for (guint i = 0; i < c.layers->len; i++) {
        blk_unref(c.layers->pdata[i]);
    }
    g_ptr_array_free(c.layers, TRUE);
    blk_unref(c.base);
    if (ok) {
        img_say(args->quiet, "Image committed.\n");
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int img_commit(int argc, char **argv)
{
    CommitArgs args = { .image.flags = BDRV_O_RDWR | BDRV_O_UNMAP };
    int first = cli_parse(argc, argv, commit_options, &args, img_help);

    if (args.rate_text && !cli_size("rate limit", args.rate_text,
                                    &args.rate)) {
        return EXIT_FAILURE;
    }
    if (argc - first != 1) {
        cli_usage_error("Expecting one image file name");
    }
    if (!tool_cache_mode(args.cache, &args.image)) {
        error_report("Invalid cache option: %s", args.cache);
        return EXIT_FAILURE;
    }
    args.image.filename = argv[first];
    args.image.flags |= BDRV_O_NO_BACKING;
    return commit(&args);
}
