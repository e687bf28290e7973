/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img check: finds inconsistencies of an image, and repairs them.
 *
 * Exit status: 0 clean, 1 the check failed, 2 corrupt, 3 only leaks, 63 the
 * format has no check.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "img.h"
#include "qapi/qapi-types-block-image.h"
#include "tools/common/show.h"

enum {
    CHECK_CLEAN = 0,
    CHECK_FAILED = 1,
    CHECK_CORRUPT = 2,
    CHECK_LEAKS = 3,
    CHECK_NOT_SUPPORTED = 63,
};

typedef struct CheckArgs {
    ToolImage image;
    bool quiet, force_share, json;
    const char *output, *cache;
    int fix; /* BDRV_FIX_* */
} CheckArgs;

static bool take_repair(void *dest, const char *arg)
{
    CheckArgs *args = dest;

    if (!strcmp(arg, "leaks")) {
        args->fix = BDRV_FIX_LEAKS;
    } else if (!strcmp(arg, "all")) {
        args->fix = BDRV_FIX_LEAKS | BDRV_FIX_ERRORS;
    } else {
        cli_usage_error("Unknown option value for -r (expecting 'leaks' or "
                        "'all'): %s", arg);
    }
    return true;
}

static const CliOption check_options[] = {
    IMG_IMAGE_OPTIONS(CheckArgs, image),
    IMG_FLAG(CheckArgs, 'q', "quiet", quiet),
    IMG_FLAG(CheckArgs, 'U', "force-share", force_share),
    IMG_CALL('r', "repair", take_repair),
    IMG_TEXT(CheckArgs, 'T', "source-cache", cache),
    IMG_TEXT(CheckArgs, IMG_LONG_ONLY, "output", output),
    { 0 },
};

static void print_clusters(const BdrvCheckResult *r)
{
    double allocated = r->allocated_clusters;

    if (r->total_clusters && r->allocated_clusters) {
        printf("%" PRId64 "/%" PRId64 " = %0.2f%% allocated, %0.2f%% "
               "fragmented, %0.2f%% compressed clusters\n",
               r->allocated_clusters, r->total_clusters,
               allocated * 100.0 / r->total_clusters,
               r->fragmented_clusters * 100.0 / allocated,
               r->compressed_clusters * 100.0 / allocated);
    }
    if (r->image_end_offset > 0) {
        printf("Image end offset: %" PRId64 "\n", r->image_end_offset);
    }
}

static void print_result(const BdrvCheckResult *r)
{
    if (!r->corruptions && !r->leaks && !r->check_errors) {
        printf("No errors were found on the image.\n");
    }
    if (r->corruptions) {
        printf("\n%" PRId64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may "
               "corrupt it.\n", r->corruptions);
    }
    if (r->leaks) {
        printf("\n%" PRId64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n",
               r->leaks);
    }
    if (r->check_errors) {
        printf("\n%" PRId64 " internal errors have occurred during the "
               "check.\n", r->check_errors);
    }
    print_clusters(r);
}

static void print_result_json(const CheckArgs *args, BlockDriverState *bs,
                              const BdrvCheckResult *r)
{
    ImageCheck check = {
        .filename = (char *)args->image.filename,
        .format = (char *)bdrv_get_format_name(bs),
        .check_errors = r->check_errors,
        .has_image_end_offset = r->image_end_offset != 0,
        .image_end_offset = r->image_end_offset,
        .has_corruptions = r->corruptions != 0,
        .corruptions = r->corruptions,
        .has_leaks = r->leaks != 0,
        .leaks = r->leaks,
        .has_corruptions_fixed = r->corruptions_fixed != 0,
        .corruptions_fixed = r->corruptions_fixed,
        .has_leaks_fixed = r->leaks_fixed != 0,
        .leaks_fixed = r->leaks_fixed,
        .has_total_clusters = r->total_clusters != 0,
        .total_clusters = r->total_clusters,
        .has_allocated_clusters = r->allocated_clusters != 0,
        .allocated_clusters = r->allocated_clusters,
        .has_fragmented_clusters = r->fragmented_clusters != 0,
        .fragmented_clusters = r->fragmented_clusters,
        .has_compressed_clusters = r->compressed_clusters != 0,
        .compressed_clusters = r->compressed_clusters,
    };

    show_json(qapi_ImageCheck_to_json(&check));
}

/* Checks again after repairs; @r keeps the numbers of repaired errors. */
static int check_again(const CheckArgs *args, BlockDriverState *bs,
                       BdrvCheckResult *r)
{
    int64_t corruptions_fixed = r->corruptions_fixed;
    int64_t leaks_fixed = r->leaks_fixed;
    int ret;

    img_say(args->quiet || args->json,
            "The following inconsistencies were found and repaired:\n\n"
            "    %" PRId64 " leaked clusters\n    %" PRId64 " corruptions\n\n"
            "Double checking the fixed image now...\n",
            leaks_fixed, corruptions_fixed);
    ret = bdrv_check(bs, r, 0);
    r->leaks_fixed = leaks_fixed;
    r->corruptions_fixed = corruptions_fixed;
    return ret;
}

static int check_status(const BdrvCheckResult *r)
{
    if (r->corruptions) {
        return CHECK_CORRUPT;
    }
    if (r->leaks) {
        return CHECK_LEAKS;
    }
    return r->check_errors ? CHECK_FAILED : CHECK_CLEAN;
}

static int check_image(const CheckArgs *args, BlockDriverState *bs)
{
    BdrvCheckResult r;
    int ret = bdrv_check(bs, &r, args->fix);

    if (ret == -ENOTSUP) {
        error_report("This image format does not support checks");
        return CHECK_NOT_SUPPORTED;
    }
    if (ret >= 0 && (r.corruptions_fixed || r.leaks_fixed)) {
        ret = check_again(args, bs, &r);
    }
    if (ret < 0) {
        error_report("Check failed: %s", strerror(-ret));
        return CHECK_FAILED;
    }
    if (!args->quiet) {
        if (args->json) {
            print_result_json(args, bs, &r);
        } else {
            print_result(&r);
        }
    }
    return check_status(&r);
}

int img_check(int argc, char **argv)
{
    CheckArgs args = { .image.flags = BDRV_O_CHECK };
    int first = cli_parse(argc, argv, check_options, &args, img_help);
    g_autoptr(BlockBackend) blk = NULL;

    if (argc - first != 1) {
        cli_usage_error("Expecting one image file name");
    }
    if (!cli_output_format(args.output, &args.json)) {
        return CHECK_FAILED;
    }
    if (!tool_cache_mode(args.cache, &args.image)) {
        error_report("Invalid source cache option: %s", args.cache);
        return CHECK_FAILED;
    }
    args.image.filename = argv[first];
    args.image.flags |= args.fix ? BDRV_O_RDWR | BDRV_O_RESIZE : 0;
    args.image.flags |= args.force_share ? BDRV_O_FORCE_SHARE : 0;
    blk = img_open(&args.image);
    return blk ? check_image(&args, blk_bs(blk)) : CHECK_FAILED;
}
