/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img map: the location of the data of an image. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "img.h"
#include "qapi/qapi-types-block-image.h"

typedef struct MapArgs {
    ToolImage image;
    const char *output, *start_text, *length_text;
    bool force_share, json;
    int64_t start, end; /* @end: of the requested range */
} MapArgs;

static const CliOption map_options[] = {
    IMG_IMAGE_OPTIONS(MapArgs, image),
    IMG_FLAG(MapArgs, 'U', "force-share", force_share),
    IMG_TEXT(MapArgs, IMG_LONG_ONLY, "output", output),
    IMG_TEXT(MapArgs, 's', "start-offset", start_text),
    IMG_TEXT(MapArgs, 'l', "max-length", length_text),
    { 0 },
};

/*
 * The run at @offset: the first layer that allocates it, else the last one.
 * Returns 0 or -errno.  The file name belongs to a node.
 */
static int map_run(BlockDriverState *bs, int64_t offset, int64_t bytes,
                   MapEntry *e)
{
    BlockDriverState *file = NULL;
    int64_t map = 0, depth = 0;
    int status;

    bs = bdrv_skip_filters(bs);
    for (;;) {
        BlockDriverState *next = bdrv_backing_chain_next(bs);

        status = bdrv_block_status(bs, offset, bytes, &bytes, &map, &file);
        if (status < 0) {
            return status;
        }
        if ((status & (BDRV_BLOCK_ZERO | BDRV_BLOCK_DATA)) || !next) {
            break;
        }
        bs = next;
        depth++;
    }
    *e = (MapEntry) {
        .start = offset,
        .length = bytes,
        .depth = depth,
        .present = status & BDRV_BLOCK_ALLOCATED,
        .zero = status & BDRV_BLOCK_ZERO,
        .data = status & BDRV_BLOCK_DATA,
        .compressed = status & BDRV_BLOCK_COMPRESSED,
        .has_offset = status & BDRV_BLOCK_OFFSET_VALID,
        .offset = map,
    };
    e->filename = e->has_offset && file ? file->filename : NULL;
    return 0;
}

static bool same_file(const MapEntry *a, const MapEntry *b)
{
    return !a->filename == !b->filename &&
           (!a->filename || !strcmp(a->filename, b->filename));
}

/* Does @b, which follows, have the same properties as @a? */
static bool continues(const MapEntry *a, const MapEntry *b)
{
    return a->length && a->zero == b->zero && a->data == b->data &&
           a->present == b->present && a->depth == b->depth &&
           a->compressed == b->compressed && a->has_offset == b->has_offset &&
           same_file(a, b) &&
           (!a->has_offset || a->offset + a->length == b->offset);
}

static const char *yes_no(bool value)
{
    return value ? "true" : "false";
}

static bool print_json_line(const MapEntry *e, bool last)
{
    printf("{ \"start\": %" PRId64 ", \"length\": %" PRId64 ", \"depth\": %"
           PRId64 ", \"present\": %s, \"zero\": %s, \"data\": %s",
           e->start, e->length, e->depth, yes_no(e->present), yes_no(e->zero),
           yes_no(e->data));
    if (e->has_offset) {
        printf(", \"offset\": %" PRId64, e->offset);
    }
    printf(last ? "}" : "},\n");
    return true;
}

/* "0x1000", but "0" for zero. */
static void print_number(int64_t value)
{
    printf("%#-16" PRIx64, value);
}

static bool print_human_line(const MapEntry *e)
{
    if (!e->data || e->zero) {
        return true;
    }
    if (!e->has_offset) {
        error_report("File contains external, encrypted or compressed "
                     "clusters.");
        return false;
    }
    print_number(e->start);
    print_number(e->length);
    print_number(e->offset);
    printf("%s\n", e->filename ? e->filename : "");
    return true;
}

static bool print_line(const MapArgs *args, const MapEntry *e, bool last)
{
    return args->json ? print_json_line(e, last) : print_human_line(e);
}

static int map_lines(const MapArgs *args, BlockDriverState *bs)
{
    MapEntry line = { .start = args->start }, next;

    for (int64_t pos = args->start; pos < args->end;
         pos += next.length) {
        int ret = map_run(bs, pos, args->end - pos, &next);

        if (ret < 0) {
            error_report("Could not read file metadata: %s", strerror(-ret));
            return EXIT_FAILURE;
        }
        if (continues(&line, &next)) {
            line.length += next.length;
            continue;
        }
        if (line.length && !print_line(args, &line, false)) {
            return EXIT_FAILURE;
        }
        line = next;
    }
    return print_line(args, &line, true) ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int map_image(MapArgs *args, BlockBackend *blk)
{
    int64_t length = blk_getlength(blk);
    int ret;

    if (length < 0) {
        error_report("Failed to get size for '%s'", args->image.filename);
        return EXIT_FAILURE;
    }
    if (args->end < 0 || args->end > length) {
        args->end = length;
    }
    if (args->json) {
        printf("[");
    } else {
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    }
    ret = map_lines(args, blk_bs(blk));
    if (args->json && ret == EXIT_SUCCESS) {
        printf("]\n");
    }
    return ret;
}

/* Parses --start-offset and --max-length into @args; end -1: no limit. */
static bool take_range(MapArgs *args)
{
    int64_t length;

    args->end = -1;
    if (args->start_text &&
        !cli_size("start offset", args->start_text, &args->start)) {
        return false;
    }
    if (!args->length_text) {
        return true;
    }
    if (!cli_size("max length", args->length_text, &length)) {
        return false;
    }
    if (__builtin_add_overflow(args->start, length, &args->end)) {
        args->end = -1;
    }
    return true;
}

int img_map(int argc, char **argv)
{
    MapArgs args = { 0 };
    int first = cli_parse(argc, argv, map_options, &args, img_help);
    g_autoptr(BlockBackend) blk = NULL;

    if (argc - first != 1) {
        cli_usage_error("Expecting one image file name");
    }
    if (!cli_output_format(args.output, &args.json) || !take_range(&args)) {
        return EXIT_FAILURE;
    }
    args.image.filename = argv[first];
    args.image.flags |= args.force_share ? BDRV_O_FORCE_SHARE : 0;
    blk = img_open(&args.image);
    return blk ? map_image(&args, blk) : EXIT_FAILURE;
}
