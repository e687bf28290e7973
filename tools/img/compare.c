/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img compare: do two images hold the same?
 *
 * Exit status: 0 identical, 1 different, 2 and above: it could not be told.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "img.h"

#define COMPARE_CHUNK (2 * MiB)

enum {
    COMPARE_SAME = 0,
    COMPARE_DIFFERENT = 1,
    COMPARE_OPEN_FAILED = 2,
    COMPARE_STATUS_FAILED = 3,
    COMPARE_READ_FAILED = 4,
    COMPARE_INTERRUPTED = 5,
};

typedef struct CompareArgs {
    ToolImage image, image2;
    const char *cache;
    bool progress, quiet, strict, force_share;
} CompareArgs;

static const CliOption compare_options[] = {
    IMG_IMAGE_OPTIONS(CompareArgs, image),
    IMG_TEXT(CompareArgs, 'F', "second-format", image2.format),
    IMG_TEXT(CompareArgs, 'T', "source-cache", cache),
    IMG_FLAG(CompareArgs, 'p', "progress", progress),
    IMG_FLAG(CompareArgs, 'q', "quiet", quiet),
    IMG_FLAG(CompareArgs, 's', "strict", strict),
    IMG_FLAG(CompareArgs, 'U', "force-share", force_share),
    { 0 },
};

typedef struct CompareSide {
    const char *filename;
    BlockBackend *blk;
    int64_t size;
    uint8_t *buf; /* COMPARE_CHUNK bytes */
    int status;   /* of the range being looked at: BDRV_BLOCK_* */
} CompareSide;

typedef struct Compare {
    const CompareArgs *args;
    CompareSide side[2];
    int64_t total; /* the larger size, for progress */
} Compare;

/* Status of the run at @offset; *@bytes is cut to it. */
static int look(CompareSide *s, int64_t offset, int64_t *bytes)
{
    int64_t pnum;

    s->status = bdrv_block_status_above(blk_bs(s->blk), NULL, offset, *bytes,
                                        &pnum, NULL, NULL, NULL);
    if (s->status < 0) {
        error_report("Could not get the block status of '%s' at offset %"
                     PRId64 ": %s", s->filename, offset,
                     strerror(-s->status));
        return COMPARE_STATUS_FAILED;
    }
    s->status &= BDRV_BLOCK_DATA | BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED |
                 BDRV_BLOCK_OFFSET_VALID;
    *bytes = pnum ? pnum : *bytes;
    return COMPARE_SAME;
}

static int fetch(CompareSide *s, int64_t offset, int64_t bytes)
{
    int ret;

    if (s->status & BDRV_BLOCK_ZERO) {
        memset(s->buf, 0, bytes);
        return COMPARE_SAME;
    }
    ret = blk_pread(s->blk, offset, bytes, s->buf, 0);
    if (ret < 0) {
        error_report("Error while reading offset %" PRId64 " of %s: %s",
                     offset, s->filename, strerror(-ret));
        return COMPARE_READ_FAILED;
    }
    return COMPARE_SAME;
}

/* Tells of the first sector that differs. */
static int tell_difference(const Compare *c, int64_t offset, int64_t bytes)
{
    const uint8_t *a = c->side[0].buf, *b = c->side[1].buf;
    int64_t pos = 0;

    while (pos < bytes && a[pos] == b[pos]) {
        pos++;
    }
    img_say(c->args->quiet, "Content mismatch at offset %" PRId64 "!\n",
            ROUND_DOWN(offset + pos, BDRV_SECTOR_SIZE));
    return COMPARE_DIFFERENT;
}

static int compare_range(Compare *c, int64_t offset, int64_t bytes)
{
    int64_t end = offset + bytes;
    int ret;

    if (c->side[0].status & c->side[1].status & BDRV_BLOCK_ZERO) {
        return COMPARE_SAME;
    }
    for (; offset < end; offset += bytes) {
        bytes = MIN(end - offset, COMPARE_CHUNK);
        for (int i = 0; i < 2; i++) {
            ret = fetch(&c->side[i], offset, bytes);
            if (ret) {
                return ret;
            }
        }
        if (memcmp(c->side[0].buf, c->side[1].buf, bytes)) {
            return tell_difference(c, offset, bytes);
        }
        img_progress_set(offset + bytes, c->total);
        if (tool_interrupted()) {
            return COMPARE_INTERRUPTED;
        }
    }
    return COMPARE_SAME;
}

/* The part that both images have. */
static int compare_common(Compare *c, int64_t size)
{
    int64_t bytes;
    int ret;

    for (int64_t offset = 0; offset < size; offset += bytes) {
        bytes = size - offset;
        for (int i = 0; i < 2; i++) {
            ret = look(&c->side[i], offset, &bytes);
            if (ret) {
                return ret;
            }
        }
        if (c->args->strict && c->side[0].status != c->side[1].status) {
            img_say(c->args->quiet, "Strict mode: Offset %" PRId64
                    " block status mismatch!\n", offset);
            return COMPARE_DIFFERENT;
        }
        ret = compare_range(c, offset, bytes);
        if (ret) {
            return ret;
        }
        img_progress_set(offset + bytes, c->total);
    }
    return COMPARE_SAME;
}

/* What only the longer image has must be zero. */
static int compare_tail(Compare *c, int64_t offset)
{
    int longer = c->side[1].size > c->side[0].size;
    int64_t bytes;
    int ret;

    c->side[!longer].status = BDRV_BLOCK_ZERO;
    for (; offset < c->total; offset += bytes) {
        bytes = c->total - offset;
        ret = look(&c->side[longer], offset, &bytes);
        if (!ret) {
            ret = compare_range(c, offset, bytes);
        }
        if (ret) {
            return ret;
        }
        img_progress_set(offset + bytes, c->total);
    }
    return COMPARE_SAME;
}

/* Sizes count in whole sectors: what a file has more than these is zero. */
static bool sizes_differ(const Compare *c)
{
    return ROUND_UP(c->side[0].size, BDRV_SECTOR_SIZE) !=
           ROUND_UP(c->side[1].size, BDRV_SECTOR_SIZE);
}

static int compare_all(Compare *c)
{
    int64_t common = MIN(c->side[0].size, c->side[1].size);
    int ret;

    c->total = MAX(c->side[0].size, c->side[1].size);
    if (c->args->strict && sizes_differ(c)) {
        img_say(c->args->quiet, "Strict mode: Image size mismatch!\n");
        return COMPARE_DIFFERENT;
    }
    ret = compare_common(c, common);
    if (!ret && common != c->total) {
        img_say(c->args->quiet || !sizes_differ(c),
                "Warning: Image size mismatch!\n");
        ret = compare_tail(c, common);
    }
    if (!ret) {
        img_say(c->args->quiet, "Images are identical.\n");
    }
    return ret;
}

static bool open_side(CompareSide *s, const ToolImage *image)
{
    s->filename = image->filename;
    s->blk = img_open(image);
    s->size = s->blk ? blk_getlength(s->blk) : 0;
    if (s->size < 0) {
        error_report("Can't get size of %s: %s", s->filename,
                     strerror(-s->size));
        return false;
    }
    s->buf = s->blk ? bdrv_blockalign(blk_bs(s->blk), COMPARE_CHUNK) : NULL;
    return s->blk != NULL;
}

static int compare_images(const CompareArgs *args)
{
    Compare c = { .args = args };
    int ret = COMPARE_OPEN_FAILED;

    if (open_side(&c.side[0], &args->image) &&
        open_side(&c.side[1], &args->image2)) {
        img_progress_begin(args->progress && !args->quiet);
        ret = compare_all(&c);
        img_progress_end();
    }
    for (int i = 0; i < 2; i++) {
        qemu_vfree(c.side[i].buf);
        blk_unref(c.side[i].blk);
    }
    return ret;
}

int img_compare(int argc, char **argv)
{
    CompareArgs args = { 0 };
    int first = cli_parse(argc, argv, compare_options, &args, img_help);

    if (argc - first != 2) {
        cli_usage_error("Expecting two image file names");
    }
    if (!tool_cache_mode(args.cache, &args.image)) {
        error_report("Invalid source cache option: %s", args.cache);
        return COMPARE_OPEN_FAILED;
    }
    args.image.flags |= args.force_share ? BDRV_O_FORCE_SHARE : 0;
    args.image2.flags = args.image.flags;
    args.image2.image_opts = args.image.image_opts;
    args.image.filename = argv[first];
    args.image2.filename = argv[first + 1];
    return compare_images(&args);
}
