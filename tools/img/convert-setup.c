/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img convert: opens the sources, creates and opens the target. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "convert.h"

static bool open_sources(Convert *c)
{
    int n = c->args->n_files - 1;

    c->sources = g_new0(ConvertSource, n);
    for (int i = 0; i < n; i++) {
        ConvertSource *s = &c->sources[i];
        ToolImage image = c->args->source;

        image.filename = c->args->files[i];
        /* Also not by us: it would be gone before it is read. */
        image.stays = true;
        s->blk = img_open(&image);
        if (!s->blk) {
            return false;
        }
        c->n_sources++;
        if (c->args->force_share &&
            path_is_same_file(image.filename,
                          c->args->files[c->args->n_files - 1])) {
            error_report("'%s' cannot be both read and written",
                         image.filename);
            return false;
        }
        if (c->args->snapshot && !img_load_snapshot(s->blk,
                                                    c->args->snapshot)) {
            return false;
        }
        s->start = c->total;
        s->size = blk_getlength(s->blk);
        if (s->size < 0) {
            error_report("Could not get size of %s: %s", image.filename,
                         strerror(-s->size));
            return false;
        }
        s->slot = ROUND_UP(s->size, BDRV_SECTOR_SIZE);
        if (s->slot > BDRV_MAX_LENGTH - c->total) {
            error_report("The sources are too large together");
            return false;
        }
        c->total += s->slot;
    }
    return true;
}

/* The value of @name in @options, as text; NULL: none.  Caller frees. */
static char *option_value(const char *options, const char *name)
{
    g_auto(GStrv) parts = g_strsplit(options ? options : "", ",", -1);
    size_t len = strlen(name);

    for (char **part = parts; *part; part++) {
        if (!strncmp(*part, name, len) && (*part)[len] == '=') {
            return g_strdup(*part + len + 1);
        }
    }
    return NULL;
}

/* -o without size=, which is determined by the sources. */
static char *without_size(const char *options)
{
    g_auto(GStrv) parts = g_strsplit(options ? options : "", ",", -1);
    g_autoptr(GPtrArray) kept = g_ptr_array_new();

    for (char **part = parts; *part; part++) {
        if (strncmp(*part, "size=", 5)) {
            g_ptr_array_add(kept, *part);
        }
    }
    g_ptr_array_add(kept, NULL);
    return g_strjoinv(",", (char **)kept->pdata);
}

static bool check_base(const Convert *c, bool has_base, bool has_format)
{
    if (has_base && c->n_sources > 1) {
        error_report("Having a backing file for the target makes no sense "
                     "when concatenating multiple input images");
        return false;
    }
    if (has_base && !has_format) {
        error_report("Use of backing file requires explicit backing format");
        return false;
    }
    return true;
}

static bool check_format(const char *format)
{
    const BlockDriver *drv = bdrv_find_format(format);

    if (!drv) {
        error_report("Unknown file format '%s'", format);
    }
    return drv != NULL;
}

static bool create_target(Convert *c, const char *filename)
{
    const ConvertArgs *args = c->args;
    g_autofree char *extra = without_size(args->extra);
    BdrvImgCreate create = {
        .filename = filename,
        .format = args->target.format,
        .base_filename = args->base,
        .base_format = args->base_format,
        .extra = extra,
        .size = c->total,
        .quiet = true,
    };
    Error *err = NULL;

    if (!check_format(create.format)) {
        return false;
    }
    if (!bdrv_img_create(&create, &err)) {
        error_prepend(&err, "%s: error while converting %s: ", filename,
                      create.format);
        error_report_err(err);
        return false;
    }
    return true;
}

static bool check_target(const Convert *c)
{
    BlockDriverState *bs = blk_bs(c->target);
    int64_t size = blk_getlength(c->target);

    if (size < 0 || size < c->total) {
        error_report("output file is smaller than input file");
        return false;
    }
    if (c->args->compressed && !bdrv_supports_compression(bs)) {
        error_report(bs->drv->co_pwritev_compressed
                     ? "Compression and encryption not supported at the same "
                       "time"
                     : "Compression not supported for this file format");
        return false;
    }
    if (!blk_is_writable(c->target)) {
        error_report("'%s' is not writable", c->args->files[c->n_sources]);
        return false;
    }
    return true;
}

/* Determines what can be skipped as the target shows it already. */
static void look_at_target(Convert *c, bool has_base)
{
    BlockDriverState *bs = blk_bs(c->target);
    BdrvChild *cow = bdrv_cow_child(bdrv_skip_filters(bs));

    c->target_zero = c->args->no_create
        ? c->args->target_is_zero
        : !cow && bdrv_has_zero_init(bs);
    if (has_base && cow) {
        c->base_size = bdrv_getlength(cow->bs);
    }
    if (c->args->compressed) {
        c->align = bdrv_get_cluster_size(bs);
    }
}

static bool refuse_compression(const Convert *c)
{
    const BlockDriver *drv;

    if (!c->args->compressed || !c->args->target.format) {
        return false;
    }
    drv = bdrv_find_format(c->args->target.format);
    if (drv && !drv->co_pwritev_compressed) {
        error_report("Compression not supported for this file format");
        return true;
    }
    return false;
}

static bool open_target(Convert *c)
{
    const ConvertArgs *args = c->args;
    g_autofree char *base = option_value(args->extra, "backing_file");
    g_autofree char *format = option_value(args->extra, "backing_fmt");
    g_autofree char *secrets = args->no_create ? NULL
                                               : tool_secrets(args->extra);
    bool has_base = args->base || base;
    ToolImage image = args->target;

    image.filename = args->files[args->n_files - 1];
    image.secrets = secrets;
    if (!check_base(c, has_base, args->base_format || format) ||
        refuse_compression(c)) {
        return false;
    }
    if (!args->no_create && !create_target(c, image.filename)) {
        return false;
    }
    c->target = img_open(&image);
    if (!c->target || !check_target(c)) {
        return false;
    }
    look_at_target(c, has_base);
    return true;
}

bool convert_setup(Convert *c)
{
    return open_sources(c) &&
           (!c->args->bitmaps || convert_check_bitmaps(c)) && open_target(c);
}

void convert_cleanup(Convert *c)
{
    blk_unref(c->target);
    for (int i = 0; i < c->n_sources; i++) {
        blk_unref(c->sources[i].blk);
    }
    g_free(c->sources);
}
