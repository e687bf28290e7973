/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img resize: changes the size of an image's disk. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "img.h"
#include "qemu/cutils.h"

typedef struct ResizeArgs {
    ToolImage image;
    bool quiet, shrink;
    const char *prealloc_text;
    PreallocMode prealloc;
    int sign;       /* of a change; 0: @bytes is the new size */
    int64_t bytes;
    bool no_size;   /* it is more, or less, than the size of any disk */
} ResizeArgs;

static const CliOption resize_options[] = {
    IMG_IMAGE_OPTIONS(ResizeArgs, image),
    IMG_FLAG(ResizeArgs, 'q', "quiet", quiet),
    IMG_FLAG(ResizeArgs, IMG_LONG_ONLY, "shrink", shrink),
    IMG_TEXT(ResizeArgs, IMG_LONG_ONLY + 1, "preallocation", prealloc_text),
    { 0 },
};

static bool take_size(ResizeArgs *args, const char *text)
{
    uint64_t size;
    Error *err = NULL;

    args->sign = *text == '+' ? 1 : *text == '-' ? -1 : 0;
    text += args->sign != 0;
    args->no_size = parse_size_u64(text, 'b', &size) == 0 && size > INT64_MAX;
    if (!args->no_size &&
        !parse_size_option("size", text, &args->bytes, &err)) {
        error_report_err(err);
        return false;
    }
    return true;
}

static bool take_preallocation(ResizeArgs *args)
{
    int mode = PREALLOC_MODE_OFF;

    if (args->prealloc_text) {
        mode = PreallocMode_parse(args->prealloc_text, NULL);
        if (mode < 0) {
            error_report("Invalid preallocation mode '%s'",
                         args->prealloc_text);
            return false;
        }
    }
    args->prealloc = mode;
    return true;
}

/* The new size, or -1, reported. */
static int64_t new_size(const ResizeArgs *args, int64_t current)
{
    int64_t size = args->bytes;

    if (args->no_size ||
        (args->sign && __builtin_add_overflow(
             current, args->sign * args->bytes, &size)) || size <= 0) {
        error_report("New image size must be positive");
        return -1;
    }
    if (size <= current && args->prealloc != PREALLOC_MODE_OFF) {
        error_report("Preallocation can only be used for growing images");
        return -1;
    }
    if (size < current && !args->shrink) {
        error_report("Use the --shrink option to perform a shrink operation.");
        warn_report("Shrinking an image will delete all data beyond the "
                    "shrunken image's end. Before performing such an "
                    "operation, make sure there is no important data there.");
        return -1;
    }
    return size;
}

static int resize(const ResizeArgs *args, BlockBackend *blk)
{
    int64_t size = blk_getlength(blk);
    Error *err = NULL;

    if (size < 0) {
        error_report("Could not get the size of '%s': %s",
                     args->image.filename, strerror(-size));
        return EXIT_FAILURE;
    }
    size = new_size(args, size);
    if (size < 0) {
        return EXIT_FAILURE;
    }
    if (blk_truncate(blk, size, false, args->prealloc, 0, &err) < 0) {
        error_report_err(err);
        return EXIT_FAILURE;
    }
    img_say(args->quiet, "Image resized.\n");
    return EXIT_SUCCESS;
}

/*
 * The size is the last argument and removed first, as "-1G" would be parsed as
 * options.
 */
int img_resize(int argc, char **argv)
{
    ResizeArgs args = { .image.flags = BDRV_O_RDWR | BDRV_O_RESIZE };
    g_autoptr(BlockBackend) blk = NULL;
    const char *size = argv[argc - 1];
    int first;

    if (argc < 3 && strcmp(size, "--help") && strcmp(size, "-h")) {
        cli_usage_error("Not enough arguments");
    }
    argc -= argc > 2;
    first = cli_parse(argc, argv, resize_options, &args, img_help);
    if (argc - first != 1) {
        cli_usage_error("Expecting image file name and size");
    }
    args.image.filename = argv[first];
    if (!take_preallocation(&args) || !take_size(&args, size)) {
        return EXIT_FAILURE;
    }
    blk = img_open(&args.image);
    return blk ? resize(&args, blk) : EXIT_FAILURE;
}
