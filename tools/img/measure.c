/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img measure: the size that a new image would have. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "block/graph.h"
#include "img.h"
#include "qapi/qapi-types-block-image.h"
#include "tools/common/show.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

typedef struct MeasureArgs {
    ToolImage image;
    const char *output, *out_format, *size_text, *snapshot;
    bool force_share;
    char *extra; /* -o, joined */
} MeasureArgs;

static bool add_extra(void *dest, const char *arg)
{
    return img_add_options(&((MeasureArgs *)dest)->extra, arg);
}

static const CliOption measure_options[] = {
    IMG_IMAGE_OPTIONS(MeasureArgs, image),
    IMG_TEXT(MeasureArgs, 'O', "target-format", out_format),
    IMG_CALL('o', "options", add_extra),
    IMG_TEXT(MeasureArgs, 'l', "snapshot", snapshot),
    IMG_FLAG(MeasureArgs, 'U', "force-share", force_share),
    IMG_TEXT(MeasureArgs, IMG_LONG_ONLY, "output", output),
    IMG_TEXT(MeasureArgs, IMG_LONG_ONLY + 1, "size", size_text),
    { 0 },
};

/* "a.b" is member b of a. */
static void add_value(json_object *tree, const char *name, const char *value)
{
    g_auto(GStrv) parts = g_strsplit(name, ".", 2);
    json_object *sub;

    if (!parts[1]) {
        json_object_object_add(tree, name, json_object_new_string(value));
        return;
    }
    if (!json_object_object_get_ex(tree, parts[0], &sub)) {
        sub = json_object_new_object();
        json_object_object_add(tree, parts[0], sub);
    }
    json_object_object_add(sub, parts[1], json_object_new_string(value));
}

/* One option in the tools' spelling, as a member of the schema's struct. */
static bool add_member(json_object *tree, const char *format, const char *part,
                       Error **errp)
{
    g_auto(GStrv) pair = g_strsplit(part, "=", 2);
    const char *value = pair[1] ? pair[1] : "on";

    if (!img_knows_option(format, pair[0])) {
        error_setg(errp, "Invalid parameter '%s'", pair[0]);
        return false;
    }
    if (!strcmp(pair[0], "compat")) {
        add_value(tree, "version", !strcmp(value, "0.10") ? "v2"
                                   : !strcmp(value, "1.1") ? "v3" : value);
    } else if (!strcmp(pair[0], "encrypt.format")) {
        add_value(tree, pair[0], strcmp(value, "aes") ? value : "qcow");
    } else if (!strcmp(pair[0], "encryption")) {
        if (!strcmp(value, "on")) {
            add_value(tree, "encrypt.format", "qcow");
        }
    } else if (!strcmp(pair[0], "data_file")) {
        add_value(tree, "data-file", "new-data-file");
    } else {
        add_value(tree, g_strdelimit(pair[0], "_", '-'), value);
    }
    return true;
}

/* Options of the new image for the driver; NULL: invalid options. */
static BlockdevCreateOptions *creation(const MeasureArgs *args, int64_t size,
                                       Error **errp)
{
    g_auto(GStrv) parts = g_strsplit(args->extra ? args->extra : "", ",", -1);
    g_autoptr(json_object) tree = json_object_new_object();
    bool is_format = strcmp(args->out_format, "raw") &&
                     strcmp(args->out_format, "file");
    g_autofree char *size_text = g_strdup_printf("%" PRId64, size);

    for (char **part = parts; *part; part++) {
        if (**part && !add_member(tree, args->out_format, *part, errp)) {
            return NULL;
        }
    }
    json_object_object_add(tree, "driver",
                           json_object_new_string(
                               is_format ? args->out_format : "file"));
    json_object_object_add(tree, is_format ? "file" : "filename",
                           json_object_new_string("new-image"));
    json_object_object_add(tree, "size", json_object_new_string(size_text));
    return qapi_BlockdevCreateOptions_from_json(tree, QAPI_INPUT_KEYVAL, errp);
}

static void print_measure(const BlockMeasureInfo *info, bool json)
{
    if (json) {
        show_json(qapi_BlockMeasureInfo_to_json(info));
        return;
    }
    printf("required size: %" PRId64 "\nfully allocated size: %" PRId64 "\n",
           info->required, info->fully_allocated);
    if (info->has_bitmaps) {
        printf("bitmaps size: %" PRId64 "\n", info->bitmaps);
    }
}

static int measure(const MeasureArgs *args, const BlockDriver *drv,
                   BlockBackend *blk, int64_t size)
{
    g_autoptr(BlockdevCreateOptions) options = NULL;
    g_autoptr(BlockMeasureInfo) info = NULL;
    bool json = args->output && !strcmp(args->output, "json");
    Error *err = NULL;

    options = creation(args, size, &err);
    if (!options) {
        error_report_err(err);
        error_report("Invalid options for file format '%s'",
                     args->out_format);
        return EXIT_FAILURE;
    }
    info = drv->measure(options, blk ? blk_bs(blk) : NULL, &err);
    if (!info) {
        error_report_err(err);
        return EXIT_FAILURE;
    }
    print_measure(info, json);
    return EXIT_SUCCESS;
}

static bool check_args(const MeasureArgs *args, int n_files)
{
    bool json;

    if (!cli_output_format(args->output, &json)) {
        return false;
    }
    if (n_files > 1) {
        error_report("At most one filename argument is allowed.");
    } else if (n_files == 1 && args->size_text) {
        error_report("--size N cannot be used together with a filename.");
    } else if (n_files == 0 && !args->size_text) {
        error_report("Either --size N or one filename must be specified.");
    } else if (n_files == 0 && args->snapshot) {
        error_report("-l needs a filename.");
    } else {
        return true;
    }
    return false;
}

/* NULL, reported, if there is no such driver or it cannot measure. */
static const BlockDriver *find_driver(const char *format)
{
    const BlockDriver *drv = bdrv_find_format(format);

    if (!drv) {
        error_report("Unknown file format '%s'", format);
    } else if (!drv->measure) {
        error_report(drv->co_create
                     ? "Block driver '%s' does not support size measurement"
                     : "Format driver '%s' does not support image creation",
                     format);
        drv = NULL;
    }
    return drv;
}

int img_measure(int argc, char **argv)
{
    MeasureArgs args = { .out_format = "raw" };
    int first = cli_parse(argc, argv, measure_options, &args, img_help);
    g_autofree char *extra = args.extra;
    g_autoptr(BlockBackend) blk = NULL;
    const BlockDriver *drv;
    int64_t size = 0;

    if (!check_args(&args, argc - first) ||
        (args.size_text && !cli_size("image size", args.size_text, &size))) {
        return EXIT_FAILURE;
    }
    if (!args.size_text) {
        args.image.filename = argv[first];
        args.image.flags |= args.force_share ? BDRV_O_FORCE_SHARE : 0;
        blk = img_open(&args.image);
        if (!blk || (args.snapshot && !img_load_snapshot(blk,
                                                         args.snapshot))) {
            return EXIT_FAILURE;
        }
        size = blk_getlength(blk);
        if (size == -ENOMEDIUM) {
            size = 0; /* an empty drive is measured */
        } else if (size < 0) {
            error_report("Could not get size of '%s': %s",
                         args.image.filename, g_strerror(-size));
            return EXIT_FAILURE;
        }
    }
    drv = find_driver(args.out_format);
    return drv ? measure(&args, drv, blk, size) : EXIT_FAILURE;
}
