/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img bitmap: changes to the persistent bitmaps of an image. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "img.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-bitmap.h"

typedef enum BitmapVerb {
    BITMAP_ADD,
    BITMAP_REMOVE,
    BITMAP_CLEAR,
    BITMAP_ENABLE,
    BITMAP_DISABLE,
    BITMAP_MERGE,
} BitmapVerb;

typedef struct BitmapStep {
    BitmapVerb verb;
    const char *source; /* merge */
} BitmapStep;

typedef struct BitmapArgs {
    ToolImage image, source;
    const char *granularity_text;
    const char *name;
    int64_t granularity; /* 0: the default */
    GArray *steps;       /* of BitmapStep, in the order given */
    unsigned verbs;      /* set of 1 << BitmapVerb */
} BitmapArgs;

static bool add_step(BitmapArgs *args, BitmapVerb verb, const char *source)
{
    BitmapStep step = { verb, source };

    g_array_append_val(args->steps, step);
    args->verbs |= 1u << verb;
    return true;
}

static bool take_add(void *dest, const char *arg)
{
    return add_step(dest, BITMAP_ADD, NULL);
}

static bool take_remove(void *dest, const char *arg)
{
    return add_step(dest, BITMAP_REMOVE, NULL);
}

static bool take_clear(void *dest, const char *arg)
{
    return add_step(dest, BITMAP_CLEAR, NULL);
}

static bool take_enable(void *dest, const char *arg)
{
    return add_step(dest, BITMAP_ENABLE, NULL);
}

static bool take_disable(void *dest, const char *arg)
{
    return add_step(dest, BITMAP_DISABLE, NULL);
}

static bool take_merge(void *dest, const char *arg)
{
    return add_step(dest, BITMAP_MERGE, arg);
}

static const CliOption bitmap_options[] = {
    IMG_IMAGE_OPTIONS(BitmapArgs, image),
    IMG_TEXT(BitmapArgs, 'b', "source-file", source.filename),
    IMG_TEXT(BitmapArgs, 'F', "source-format", source.format),
    IMG_TEXT(BitmapArgs, 'g', "granularity", granularity_text),
    { IMG_LONG_ONLY, "add", CLI_NOTE, 0, take_add },
    { IMG_LONG_ONLY + 1, "remove", CLI_NOTE, 0, take_remove },
    { IMG_LONG_ONLY + 2, "clear", CLI_NOTE, 0, take_clear },
    { IMG_LONG_ONLY + 3, "enable", CLI_NOTE, 0, take_enable },
    { IMG_LONG_ONLY + 4, "disable", CLI_NOTE, 0, take_disable },
    { IMG_LONG_ONLY + 5, "merge", CLI_CALL, 0, take_merge },
    { 0 },
};

static bool do_add(const BitmapArgs *args, const char *node, Error **errp)
{
    BlockDirtyBitmapAdd add = {
        .node = (char *)node,
        .name = (char *)args->name,
        .has_granularity = args->granularity != 0,
        .granularity = args->granularity,
        .has_persistent = true,
        .persistent = true,
    };

    return qmp_block_dirty_bitmap_add(&add, errp);
}

static bool do_merge(const BitmapArgs *args, const char *node,
                     const char *source_node, const char *source,
                     Error **errp)
{
    BlockDirtyBitmap from = { (char *)source_node, (char *)source };
    BlockDirtyBitmapOrStr ref = {
        .type = BLOCK_DIRTY_BITMAP_OR_STR_KIND_EXTERNAL, .u.external = &from,
    };
    BlockDirtyBitmapOrStrList list = { .value = &ref };
    BlockDirtyBitmapMerge merge = {
        .node = (char *)node, .target = (char *)args->name, .bitmaps = &list,
    };

    return qmp_block_dirty_bitmap_merge(&merge, errp);
}

static bool do_step(const BitmapArgs *args, const BitmapStep *step,
                    BlockDriverState *bs, BlockDriverState *source,
                    Error **errp)
{
    BlockDirtyBitmap which = { bs->node_name, (char *)args->name };

    switch (step->verb) {
    case BITMAP_ADD:
        return do_add(args, bs->node_name, errp);
    case BITMAP_REMOVE:
        return qmp_block_dirty_bitmap_remove(&which, errp);
    case BITMAP_CLEAR:
        return qmp_block_dirty_bitmap_clear(&which, errp);
    case BITMAP_ENABLE:
        return qmp_block_dirty_bitmap_enable(&which, errp);
    case BITMAP_DISABLE:
        return qmp_block_dirty_bitmap_disable(&which, errp);
    case BITMAP_MERGE:
        return do_merge(args, bs->node_name, source->node_name, step->source,
                        errp);
    }
    g_assert_not_reached();
}

static int do_steps(const BitmapArgs *args, BlockBackend *blk,
                    BlockBackend *source)
{
    static const char *const names[] = {
        "add", "remove", "clear", "enable", "disable", "merge",
    };
    BlockDriverState *bs = blk_bs(blk);
    Error *err = NULL;

    for (guint i = 0; i < args->steps->len; i++) {
        BitmapStep *step = &g_array_index(args->steps, BitmapStep, i);

        if (!do_step(args, step, bs, source ? blk_bs(source) : bs, &err)) {
            error_prepend(&err, "Operation %s on bitmap %s failed: ",
                          names[step->verb], args->name);
            error_report_err(err);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}

/* Are the options compatible? */
static bool check_args(BitmapArgs *args)
{
    if (!args->verbs) {
        error_report("Need at least one of --add, --remove, --clear, "
                     "--enable, --disable, or --merge");
    } else if (args->granularity_text && !(args->verbs & 1u << BITMAP_ADD)) {
        error_report("granularity only supported with --add");
    } else if (args->source.format && !args->source.filename) {
        error_report("-F only supported with -b");
    } else if (args->source.filename && !(args->verbs & 1u << BITMAP_MERGE)) {
        error_report("Merge bitmap source file only supported with --merge");
    } else {
        return true;
    }
    return false;
}

static bool take_granularity(BitmapArgs *args)
{
    if (!args->granularity_text) {
        return true;
    }
    if (!cli_size("granularity", args->granularity_text,
                  &args->granularity)) {
        return false;
    }
    if (args->granularity < 512 || args->granularity > 2 * GiB) {
        error_report("Operation add on bitmap %s failed: Granularity must be "
                     "a power of 2 from 512 to 2 GiB", args->name);
        return false;
    }
    return true;
}

static int change_bitmap(BitmapArgs *args)
{
    g_autoptr(BlockBackend) blk = NULL, source = NULL;

    if (!take_granularity(args)) {
        return EXIT_FAILURE;
    }
    blk = img_open(&args->image);
    if (!blk) {
        return EXIT_FAILURE;
    }
    if (args->source.filename) {
        source = img_open(&args->source);
        if (!source) {
            return EXIT_FAILURE;
        }
    }
    return do_steps(args, blk, source);
}

int img_bitmap(int argc, char **argv)
{
    g_autoptr(GArray) steps = g_array_new(FALSE, FALSE, sizeof(BitmapStep));
    /* Only the bitmaps of the source are read, so the image may be below it. */
    BitmapArgs args = {
        .image.flags = BDRV_O_RDWR,
        .source.flags = BDRV_O_NO_BACKING,
        .steps = steps,
    };
    int first = cli_parse(argc, argv, bitmap_options, &args, img_help);

    if (!check_args(&args)) {
        return EXIT_FAILURE;
    }
    if (argc - first != 2) {
        error_report("Expecting filename and bitmap name");
        return EXIT_FAILURE;
    }
    args.image.filename = argv[first];
    args.name = argv[first + 1];
    return change_bitmap(&args);
}
