/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img convert: the command line and the order of steps. */
#include "qemu/osdep.h"
#include "convert.h"
#include "qemu/cutils.h"

static bool add_extra(void *dest, const char *arg)
{
    return img_add_options(&((ConvertArgs *)dest)->extra, arg);
}

static const CliOption convert_options[] = {
    IMG_IMAGE_OPTIONS(ConvertArgs, source),
    IMG_FLAG(ConvertArgs, IMG_LONG_ONLY, "target-image-opts",
             target.image_opts),
    IMG_FLAG(ConvertArgs, IMG_LONG_ONLY + 1, "target-is-zero",
             target_is_zero),
    IMG_FLAG(ConvertArgs, IMG_LONG_ONLY + 2, "bitmaps", bitmaps),
    IMG_FLAG(ConvertArgs, IMG_LONG_ONLY + 3, "skip-broken-bitmaps",
             skip_broken),
    IMG_FLAG(ConvertArgs, IMG_LONG_ONLY + 4, "salvage", salvage),
    IMG_FLAG(ConvertArgs, 'U', "force-share", force_share),
    IMG_FLAG(ConvertArgs, 'C', "copy-range-offloading", offload),
    IMG_FLAG(ConvertArgs, 'c', "compress", compressed),
    IMG_FLAG(ConvertArgs, 'p', "progress", progress),
    IMG_FLAG(ConvertArgs, 'q', "quiet", quiet),
    IMG_FLAG(ConvertArgs, 'n', "no-create", no_create),
    IMG_FLAG(ConvertArgs, 'W', "out-of-order", unordered),
    IMG_TEXT(ConvertArgs, 't', "target-cache", cache),
    IMG_TEXT(ConvertArgs, 'T', "source-cache", source_cache),
    IMG_TEXT(ConvertArgs, 'O', "target-format", target.format),
    IMG_TEXT(ConvertArgs, 'B', "backing", base),
    IMG_TEXT(ConvertArgs, 'F', "backing-format", base_format),
    IMG_CALL('o', "options", add_extra),
    IMG_TEXT(ConvertArgs, 'l', "snapshot", snapshot),
    IMG_TEXT(ConvertArgs, 'S', "sparse-size", sparse_text),
    IMG_TEXT(ConvertArgs, 'r', "rate-limit", rate_text),
    IMG_TEXT(ConvertArgs, 'm', "parallel", coroutines_text),
    { 0 },
};

static bool take_sparse(ConvertArgs *args)
{
    args->sparse = 4096;
    if (!args->sparse_text) {
        return true;
    }
    if (!cli_size("buffer size for sparse output", args->sparse_text,
                  &args->sparse)) {
        return false;
    }
    if (args->sparse % 512 || args->sparse > CONVERT_MAX_SPARSE) {
        error_report("Invalid buffer size for sparse output specified. Valid "
                     "sizes are multiples of 512 up to %" PRId64 ". Select 0 "
                     "to disable sparse detection (fully allocates output).",
                     CONVERT_MAX_SPARSE);
        return false;
    }
    return true;
}

static bool take_coroutines(ConvertArgs *args)
{
    uint64_t n = 8;

    if (args->coroutines_text &&
        (!parse_uint64(args->coroutines_text, &n, NULL) || n < 1 ||
         n > CONVERT_MAX_COROUTINES)) {
        error_report("Invalid number of coroutines. Allowed number of "
                     "coroutines is between 1 and %d",
                     CONVERT_MAX_COROUTINES);
        return false;
    }
    args->coroutines = n;
    return true;
}

static bool take_cache(ConvertArgs *args)
{
    if (!tool_cache_mode(args->cache ? args->cache : "unsafe",
                         &args->target)) {
        error_report("Invalid cache option: %s", args->cache);
        return false;
    }
    if (!tool_cache_mode(args->source_cache, &args->source)) {
        error_report("Invalid source cache option: %s", args->source_cache);
        return false;
    }
    return true;
}

static bool take_values(ConvertArgs *args)
{
    return take_sparse(args) && take_coroutines(args) && take_cache(args) &&
           (!args->rate_text ||
            cli_size("rate limit", args->rate_text, &args->rate));
}

/* Are the options compatible?  NULL, or the error. */
static const char *conflict(const ConvertArgs *args)
{
    if (args->skip_broken && !args->bitmaps) {
        return "Use of --skip-broken-bitmaps requires --bitmaps";
    }
    if (args->target.image_opts && !args->no_create) {
        return "--target-image-opts requires use of -n flag";
    }
    if (args->target_is_zero && !args->no_create) {
        return "--target-is-zero requires use of -n flag";
    }
    if (args->no_create && args->extra) {
        return "-o has no effect when skipping image creation";
    }
    if (args->offload && args->sparse_text) {
        return "Cannot enable copy offloading when -S is used";
    }
    if (args->offload && args->salvage) {
        return "Cannot use copy offloading in salvaging mode";
    }
    if (args->offload && args->compressed) {
        return "Cannot enable copy offloading when -c is used";
    }
    if (args->n_files < 2) {
        return "Must specify image file name";
    }
    if (args->bitmaps && args->n_files > 2) {
        return "Copying bitmaps only possible with single source";
    }
    if (args->snapshot && args->n_files > 2) {
        return "No support for concatenating multiple snapshot";
    }
    if (args->snapshot && args->bitmaps) {
        return "--bitmaps cannot be used with -l: the bitmaps "
               "describe the present disk, not the snapshot";
    }
    return NULL;
}

static int convert(const ConvertArgs *args)
{
    Convert c = { .args = args, .base_size = -1, .align = 1 };
    bool ok;

    img_progress_begin(args->progress && !args->quiet, 1);
    ok = convert_setup(&c) && convert_copy(&c) >= 0;
    img_progress_end();
    ok = ok && (!args->bitmaps || convert_copy_bitmaps(&c));
    convert_cleanup(&c);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int img_convert(int argc, char **argv)
{
    ConvertArgs args = { .target.flags = BDRV_O_RDWR | BDRV_O_UNMAP };
    int first = cli_parse(argc, argv, convert_options, &args, img_help);
    g_autofree char *extra = args.extra;
    const char *problem;

    if (!args.target.format && !args.target.image_opts) {
        args.target.format = "raw";
    }
    if (img_wants_help(extra)) {
        return img_list_options(args.target.format, argc - first > 1)
            ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    args.files = argv + first;
    args.n_files = argc - first;
    args.source.flags |= args.force_share ? BDRV_O_FORCE_SHARE : 0;
    if (!take_values(&args)) {
        return EXIT_FAILURE;
    }
    problem = conflict(&args);
    if (problem) {
        error_report("%s", problem);
        return EXIT_FAILURE;
    }
    return convert(&args);
}
