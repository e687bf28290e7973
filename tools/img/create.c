/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img create: creates an image. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "img.h"

typedef struct CreateArgs {
    const char *format, *base, *base_format;
    bool quiet, unsafe_base;
    char *extra; /* -o, joined */
} CreateArgs;

static bool add_extra(void *dest, const char *arg)
{
    return img_add_options(&((CreateArgs *)dest)->extra, arg);
}

static const CliOption create_options[] = {
    IMG_TEXT(CreateArgs, 'f', "format", format),
    IMG_TEXT(CreateArgs, 'b', "backing", base),
    IMG_TEXT(CreateArgs, 'F', "backing-format", base_format),
    IMG_FLAG(CreateArgs, 'u', "backing-unsafe", unsafe_base),
    IMG_FLAG(CreateArgs, 'q', "quiet", quiet),
    IMG_CALL('o', "options", add_extra),
    IMG_CALL(CLI_LONG_ONLY, "object", cli_object),
    { 0 },
};

static int create_image(const CreateArgs *args, const char *filename,
                        int64_t size)
{
    BdrvImgCreate create = {
        .filename = filename,
        .format = args->format,
        .base_filename = args->base,
        .base_format = args->base_format,
        .extra = args->extra,
        .size = size,
        .unsafe_base = args->unsafe_base,
        .quiet = args->quiet,
    };
    Error *err = NULL;

    if (!bdrv_img_create(&create, &err)) {
        error_prepend(&err, "%s: ", filename);
        error_report_err(err);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

int img_create(int argc, char **argv)
{
    CreateArgs args = { .format = "raw" };
    int first = cli_parse(argc, argv, create_options, &args, img_help);
    g_autofree char *extra = args.extra;
    const char *filename = argv[first];
    int64_t size = -1;

    if (img_wants_help(extra)) {
        return img_list_options(args.format, filename) ? EXIT_SUCCESS
                                                       : EXIT_FAILURE;
    }
    if (!filename) {
        cli_usage_error("Expecting image file name");
    }
    if (argc - first > 2) {
        cli_usage_error("Unexpected argument: %s", argv[first + 2]);
    }
    if (argv[first + 1] && !cli_size("image size", argv[first + 1], &size)) {
        return EXIT_FAILURE;
    }
    return create_image(&args, filename, size);
}
