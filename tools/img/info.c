/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img info: properties of an image, or a chain of them. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/graph.h"
#include "img.h"
#include "qapi/qapi-types-block-image.h"
#include "tools/common/show.h"

typedef struct InfoArgs {
    ToolImage image;
    bool chain, force_share;
    const char *output;
} InfoArgs;

static const CliOption info_options[] = {
    IMG_IMAGE_OPTIONS(InfoArgs, image),
    IMG_FLAG(InfoArgs, 'U', "force-share", force_share),
    IMG_FLAG(InfoArgs, IMG_LONG_ONLY, "backing-chain", chain),
    IMG_TEXT(InfoArgs, IMG_LONG_ONLY + 1, "output", output),
    { 0 },
};

/* NULL: reported. */
static ImageInfo *info_of(const ToolImage *image)
{
    g_autoptr(BlockBackend) blk = img_open(image);
    ImageInfo *info;
    Error *err = NULL;

    if (!blk) {
        return NULL;
    }
    info = bdrv_query_image_info(blk_bs(blk), &err);
    if (!info) {
        error_report_err(err);
    }
    return info;
}

static void print_infos(GPtrArray *infos)
{
    for (guint i = 0; i < infos->len; i++) {
        printf("%s", i ? "\n" : "");
        show_image(infos->pdata[i]);
    }
}

static void print_infos_json(GPtrArray *infos, bool as_array)
{
    struct json_object *array;

    if (!as_array) {
        show_json(qapi_ImageInfo_to_json(infos->pdata[0]));
        return;
    }
    array = json_object_new_array();
    for (guint i = 0; i < infos->len; i++) {
        json_object_array_add(array, qapi_ImageInfo_to_json(infos->pdata[i]));
    }
    show_json(array);
}

/* Sets @image to the backing file that @info names; false at the end. */
static bool next_in_chain(const ImageInfo *info, ToolImage *image)
{
    if (!info->backing_filename) {
        return false;
    }
    image->image_opts = false;
    image->filename = info->full_backing_filename ? info->full_backing_filename
                                                  : info->backing_filename;
    image->format = info->backing_filename_format;
    return true;
}

static bool collect(ToolImage image, bool chain, GPtrArray *infos)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    ImageInfo *info;

    do {
        if (!g_hash_table_add(seen, (char *)image.filename)) {
            error_report("Backing file '%s' creates an infinite loop.",
                         image.filename);
            return false;
        }
        info = info_of(&image);
        if (!info) {
            return false;
        }
        g_ptr_array_add(infos, info);
    } while (chain && next_in_chain(info, &image));
    return true;
}

int img_info(int argc, char **argv)
{
    InfoArgs args = { .image.flags = BDRV_O_NO_BACKING | BDRV_O_NO_IO };
    int first = cli_parse(argc, argv, info_options, &args, img_help);
    g_autoptr(GPtrArray) infos =
        g_ptr_array_new_with_free_func((GDestroyNotify)qapi_free_ImageInfo);
    bool json;

    if (argc - first != 1) {
        cli_usage_error("Expecting one image file name");
    }
    if (!cli_output_format(args.output, &json)) {
        return EXIT_FAILURE;
    }
    args.image.filename = argv[first];
    args.image.flags |= args.force_share ? BDRV_O_FORCE_SHARE : 0;
    if (!collect(args.image, args.chain, infos)) {
        return EXIT_FAILURE;
    }
    if (json) {
        print_infos_json(infos, args.chain);
    } else {
        print_infos(infos);
    }
    return EXIT_SUCCESS;
}
