/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img info: what an image, or a chain of them, is. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/graph.h"
#include "img.h"
#include "qemu/cutils.h"
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

static void print_backing(const ImageInfo *info)
{
    const char *name = info->backing_filename;
    const char *full = info->full_backing_filename;

    if (!name) {
        return;
    }
    printf("backing file: %s", name);
    if (!full) {
        printf(" (cannot determine actual path)");
    } else if (strcmp(name, full)) {
        printf(" (actual path: %s)", full);
    }
    printf("\n");
    if (info->backing_filename_format) {
        printf("backing file format: %s\n", info->backing_filename_format);
    }
}

static void print_info(const ImageInfo *info)
{
    g_autofree char *virtual_size = size_to_str(info->virtual_size);
    g_autofree char *disk_size = info->has_actual_size
                                     ? size_to_str(info->actual_size)
                                     : g_strdup("unavailable");

    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRId64
           " bytes)\ndisk size: %s\n", info->filename, info->format,
           virtual_size, info->virtual_size, disk_size);
    if (info->has_encrypted && info->encrypted) {
        printf("encrypted: yes\n");
    }
    if (info->has_cluster_size) {
        printf("cluster_size: %" PRId64 "\n", info->cluster_size);
    }
    if (info->has_dirty_flag && info->dirty_flag) {
        printf("cleanly shut down: no\n");
    }
    print_backing(info);
    show_specific(info->format_specific);
}

static void print_infos(GPtrArray *infos)
{
    for (guint i = 0; i < infos->len; i++) {
        printf("%s", i ? "\n" : "");
        print_info(infos->pdata[i]);
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
