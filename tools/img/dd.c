/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img dd: copies blocks of one image to a new one. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "img.h"
#include "qemu/cutils.h"

typedef struct DdArgs {
    ToolImage in;
    const char *out_format, *out;
    bool force_share;
    int64_t bs, skip, count; /* count -1: all */
} DdArgs;

static const CliOption dd_options[] = {
    IMG_IMAGE_OPTIONS(DdArgs, in),
    IMG_TEXT(DdArgs, 'O', "output-format", out_format),
    IMG_FLAG(DdArgs, 'U', "force-share", force_share),
    { 0 },
};

/* --- operands: NAME=VALUE --- */

static bool take_bs(DdArgs *args, const char *text)
{
    if (parse_size(text, 'b', &args->bs, NULL) &&
        (args->bs < 1 || args->bs > INT_MAX)) {
        error_report("Invalid bs specified. Must be between 1 and %d.",
                     INT_MAX);
        return false;
    }
    return cli_size("bs", text, &args->bs);
}

static bool take_count(DdArgs *args, const char *text)
{
    return cli_size("count", text, &args->count);
}

static bool take_skip(DdArgs *args, const char *text)
{
    return cli_size("skip", text, &args->skip);
}

static bool take_if(DdArgs *args, const char *text)
{
    args->in.filename = text;
    return true;
}

static bool take_of(DdArgs *args, const char *text)
{
    args->out = text;
    return true;
}

static const struct {
    const char *name;
    bool (*take)(DdArgs *args, const char *text);
} operands[] = {
    { "bs", take_bs }, { "count", take_count }, { "if", take_if },
    { "of", take_of }, { "skip", take_skip },
};

static bool take_operand(DdArgs *args, const char *text)
{
    const char *value = strchr(text, '=');
    int len = value ? value - text : (int)strlen(text);

    for (size_t i = 0; value && i < ARRAY_SIZE(operands); i++) {
        if ((int)strlen(operands[i].name) == len &&
            !strncmp(operands[i].name, text, len)) {
            return operands[i].take(args, value + 1);
        }
    }
    error_report("unrecognized operand %.*s", len, text);
    return false;
}

/* --- the copy --- */

/*
 * The part of the input to copy: from *@offset to the end that is returned.
 * count= counts from the start of the input, including what is skipped.
 */
static int64_t dd_range(const DdArgs *args, int64_t size, int64_t *offset)
{
    int64_t end = ROUND_UP(size, BDRV_SECTOR_SIZE), limit;

    if (args->count >= 0 &&
        !__builtin_mul_overflow(args->count, args->bs, &limit)) {
        end = MIN(end, limit);
    }
    if (__builtin_mul_overflow(args->skip, args->bs, offset) ||
        *offset > end) {
        error_report("%s: cannot skip to specified offset",
                     args->in.filename);
        *offset = end;
    }
    return end;
}

static BlockBackend *make_output(const DdArgs *args, int64_t size)
{
    ToolImage image = {
        .filename = args->out,
        .format = args->out_format,
        .flags = BDRV_O_RDWR | BDRV_O_RESIZE,
    };
    BdrvImgCreate create = {
        .filename = args->out,
        .format = args->out_format,
        .size = size,
        .quiet = true,
    };
    Error *err = NULL;

    if (!bdrv_img_create(&create, &err)) {
        error_prepend(&err, "%s: error while creating output image: ",
                      args->out);
        error_report_err(err);
        return NULL;
    }
    return img_open(&image);
}

/* Copies [@offset, @end) of @in to the start of @out. */
static int copy(const DdArgs *args, BlockBackend *in, BlockBackend *out,
                int64_t offset, int64_t end)
{
    int64_t bs = MIN(args->bs, MAX(end - offset, 1)), size = blk_getlength(in);
    uint8_t *buf = bdrv_blockalign(blk_bs(in), bs);
    int ret = 0;

    for (int64_t to = 0; offset < end && ret >= 0; offset += bs, to += bs) {
        int64_t bytes = MIN(bs, end - offset);
        int64_t there = MIN(size - offset, bytes);

        /* After an odd end the last sector is filled with zeroes. */
        memset(buf + MAX(there, 0), 0, bytes - MAX(there, 0));
        ret = there > 0 ? blk_pread(in, offset, there, buf, 0) : 0;
        if (ret < 0) {
            error_report("error while reading from input image file: %s",
                         strerror(-ret));
            break;
        }
        ret = tool_interrupted() ? -EINTR
                                 : blk_pwrite(out, to, bytes, buf, 0);
        if (ret < 0) {
            error_report("error while writing to output image file: %s",
                         strerror(-ret));
        }
    }
    qemu_vfree(buf);
    return ret < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static bool check_format(const char *format)
{
    const BlockDriver *drv = bdrv_find_format(format);

    if (!drv) {
        error_report("Unknown file format");
        return false;
    }
    if (!drv->co_create && strcmp(format, "raw")) { /* raw: its file is */
        error_report("Format driver '%s' does not support image creation",
                     format);
        return false;
    }
    return true;
}

static int dd(const DdArgs *args)
{
    g_autoptr(BlockBackend) in = img_open(&args->in);
    g_autoptr(BlockBackend) out = NULL;
    int64_t size, offset, end;

    if (!in || !check_format(args->out_format)) {
        return EXIT_FAILURE;
    }
    if (path_is_same_file(args->in.filename, args->out)) {
        error_report("'%s' cannot be both read and written", args->out);
        return EXIT_FAILURE;
    }
    size = blk_getlength(in);
    if (size < 0) {
        error_report("Failed to get size for '%s'", args->in.filename);
        return EXIT_FAILURE;
    }
    end = dd_range(args, size, &offset);
    out = make_output(args, end - offset);
    return out ? copy(args, in, out, offset, end) : EXIT_FAILURE;
}

int img_dd(int argc, char **argv)
{
    DdArgs args = { .out_format = "raw", .bs = 512, .count = -1 };
    int first = cli_parse(argc, argv, dd_options, &args, img_help);

    for (int i = first; i < argc; i++) {
        if (!take_operand(&args, argv[i])) {
            return EXIT_FAILURE;
        }
    }
    if (!args.in.filename || !args.out) {
        error_report("Must specify both input and output files");
        return EXIT_FAILURE;
    }
    args.in.flags |= args.force_share ? BDRV_O_FORCE_SHARE : 0;
    return dd(&args);
}
