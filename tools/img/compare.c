/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qemu-img compare: do two images have the same content?
 *
 * Exit status: 0 identical, 1 different, 2 and above: an error.
 */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "block/io.h"
#include "host.h"
#include "img.h"

#define COMPARE_CHUNK (512 * KiB)
#define COMPARE_CHUNKS 8 /* in flight */
/* Progress is told in steps of so many bytes. */
#define PROGRESS (2 * MiB)

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
    int status; /* of the present range: BDRV_BLOCK_* */
} CompareSide;

/* A part of both images, compared in parallel to others. */
typedef struct CompareChunk {
    struct Compare *c;
    int64_t offset, bytes;
    uint8_t *buf[2]; /* COMPARE_CHUNK bytes each */
    HostBatch batch;
    int result;      /* COMPARE_* */
    int side, error; /* the image whose read failed; -errno */
} CompareChunk;

typedef struct Compare {
    const CompareArgs *args;
    CompareSide side[2];
    int64_t total; /* the larger size, for progress */
    CompareChunk *chunks;
    int running;   /* coroutines */
} Compare;

/* Status of the run at @offset; *@bytes is reduced to it. */
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

/* --- chunks --- */

static bool reads_zero(const CompareChunk *k, int side)
{
    return k->c->side[side].status & BDRV_BLOCK_ZERO;
}

/* Compares the buffers, which are filled except for zeroes. */
static int compare_buffers(CompareChunk *k)
{
    for (int i = 0; i < 2; i++) {
        if (reads_zero(k, i)) {
            memset(k->buf[i], 0, k->bytes);
        }
    }
    return memcmp(k->buf[0], k->buf[1], k->bytes) ? COMPARE_DIFFERENT
                                                  : COMPARE_SAME;
}

/* Runs in a worker thread. */
static int compare_run(void *opaque)
{
    CompareChunk *k = opaque;
    int ret = host_read_run(&k->batch);

    return ret < 0 ? ret : compare_buffers(k);
}

/* -errno: use the general path. */
static int coroutine_fn compare_fast(CompareChunk *k)
{
    int ret = 0;

    for (int i = 0; ret == 0 && i < 2; i++) {
        if (!reads_zero(k, i) &&
            !host_read_begin(&k->batch, blk_root(k->c->side[i].blk),
                             k->offset, k->bytes, k->buf[i])) {
            ret = -ENOTSUP;
        }
    }
    if (ret == 0) {
        ret = thread_pool_co_run(compare_run, k);
    }
    host_read_end(&k->batch);
    return ret;
}

static int coroutine_fn compare_general(CompareChunk *k)
{
    for (int i = 0; i < 2; i++) {
        if (!reads_zero(k, i)) {
            k->side = i;
            k->error = blk_co_pread(k->c->side[i].blk, k->offset, k->bytes,
                                    k->buf[i], 0);
            if (k->error < 0) {
                return COMPARE_READ_FAILED;
            }
        }
    }
    return compare_buffers(k);
}

static void coroutine_fn compare_entry(void *opaque)
{
    CompareChunk *k = opaque;

    k->result = compare_fast(k);
    if (k->result < 0) {
        k->result = compare_general(k);
    }
    k->c->running--;
    aio_notify(aio_main_context());
}

/* Reports the first sector that differs. */
static void tell_difference(const CompareChunk *k)
{
    int64_t pos = 0;

    while (pos < k->bytes && k->buf[0][pos] == k->buf[1][pos]) {
        pos++;
    }
    img_say(k->c->args->quiet, "Content mismatch at offset %" PRId64 "!\n",
            ROUND_DOWN(k->offset + pos, BDRV_SECTOR_SIZE));
}

static int tell_result(const CompareChunk *k)
{
    if (k->result == COMPARE_DIFFERENT) {
        tell_difference(k);
    } else if (k->result == COMPARE_READ_FAILED) {
        error_report("Error while reading offset %" PRId64 " of %s: %s",
                     k->offset, k->c->side[k->side].filename,
                     strerror(-k->error));
    }
    return k->result;
}

/* Compares as many chunks as exist; the first that differs counts. */
static int compare_chunks(Compare *c, int64_t *offset, int64_t end)
{
    int n, ret = COMPARE_SAME;

    for (n = 0; n < COMPARE_CHUNKS && *offset < end; n++) {
        CompareChunk *k = &c->chunks[n];

        k->offset = *offset;
        k->bytes = MIN(end - *offset, COMPARE_CHUNK);
        *offset += k->bytes;
        c->running++;
        coroutine_enter(coroutine_create(compare_entry, k));
    }
    AIO_WAIT_WHILE(c->running > 0);
    for (int i = 0; i < n && ret == COMPARE_SAME; i++) {
        ret = tell_result(&c->chunks[i]);
    }
    return ret;
}

/* --- the images --- */

static int compare_range(Compare *c, int64_t offset, int64_t bytes)
{
    int64_t end = offset + bytes, done;
    int ret = COMPARE_SAME;

    if (c->side[0].status & c->side[1].status & BDRV_BLOCK_ZERO) {
        img_progress_add(bytes, bytes, c->total);
        return COMPARE_SAME;
    }
    while (offset < end && ret == COMPARE_SAME) {
        done = offset;
        ret = compare_chunks(c, &offset, end);
        if (ret == COMPARE_SAME) {
            img_progress_add(offset - done, PROGRESS, c->total);
            ret = tool_interrupted() ? COMPARE_INTERRUPTED : COMPARE_SAME;
        }
    }
    return ret;
}

/* Compares the part that both images have. */
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
    }
    return COMPARE_SAME;
}

/* The additional part of the longer image must be zero. */
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
    }
    return COMPARE_SAME;
}

/* Sizes are whole sectors: the part past the end of a file is zero. */
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
    return s->blk != NULL;
}

static void make_chunks(Compare *c)
{
    c->chunks = g_new0(CompareChunk, COMPARE_CHUNKS);
    for (int n = 0; n < COMPARE_CHUNKS; n++) {
        c->chunks[n].c = c;
        for (int i = 0; i < 2; i++) {
            c->chunks[n].buf[i] = bdrv_blockalign(blk_bs(c->side[i].blk),
                                                  COMPARE_CHUNK);
        }
    }
}

static void free_chunks(Compare *c)
{
    for (int n = 0; c->chunks && n < COMPARE_CHUNKS; n++) {
        qemu_vfree(c->chunks[n].buf[0]);
        qemu_vfree(c->chunks[n].buf[1]);
    }
    g_free(c->chunks);
}

static int compare_images(const CompareArgs *args)
{
    Compare c = { .args = args };
    int ret = COMPARE_OPEN_FAILED;

    if (open_side(&c.side[0], &args->image) &&
        open_side(&c.side[1], &args->image2)) {
        make_chunks(&c);
        img_progress_begin(args->progress && !args->quiet, 2);
        ret = compare_all(&c);
        img_progress_end();
    }
    free_chunks(&c);
    for (int i = 0; i < 2; i++) {
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
