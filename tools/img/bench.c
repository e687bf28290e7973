/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img bench: sends requests and measures the time. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/io.h"
#include "img.h"
#include "qemu/cutils.h"

typedef struct BenchArgs {
    ToolImage image;
    const char *count_text, *depth_text, *offset_text, *size_text, *step_text;
    const char *flush_text, *pattern_text, *cache, *aio;
    bool native, no_drain, quiet, write, force_share;
    int64_t count, depth, offset, size, step, flush_interval, pattern;
} BenchArgs;

static const CliOption bench_options[] = {
    IMG_IMAGE_OPTIONS(BenchArgs, image),
    IMG_TEXT(BenchArgs, 'c', "count", count_text),
    IMG_TEXT(BenchArgs, 'd', "depth", depth_text),
    IMG_TEXT(BenchArgs, 'o', "offset", offset_text),
    IMG_TEXT(BenchArgs, 's', "buffer-size", size_text),
    IMG_TEXT(BenchArgs, 'S', "step-size", step_text),
    IMG_TEXT(BenchArgs, 't', "cache", cache),
    IMG_TEXT(BenchArgs, 'i', "aio", aio),
    IMG_TEXT(BenchArgs, IMG_LONG_ONLY, "flush-interval", flush_text),
    IMG_TEXT(BenchArgs, IMG_LONG_ONLY + 1, "pattern", pattern_text),
    IMG_FLAG(BenchArgs, IMG_LONG_ONLY + 2, "no-drain", no_drain),
    IMG_FLAG(BenchArgs, 'n', "native", native),
    IMG_FLAG(BenchArgs, 'q', "quiet", quiet),
    IMG_FLAG(BenchArgs, 'U', "force-share", force_share),
    IMG_FLAG(BenchArgs, 'w', "write", write),
    { 0 },
};

/* --- arguments --- */

static bool take_number(const char *what, const char *text, int64_t max,
                        int64_t *value)
{
    if (text && (!parse_int64(text, value, NULL) || *value < 0 ||
                 *value > max)) {
        error_report("Invalid %s specified", what);
        return false;
    }
    return true;
}

static bool take_size(const char *what, const char *text, int64_t max,
                      int64_t *value)
{
    int64_t size;

    if (!text) {
        return true;
    }
    if (parse_size(text, 'b', &size, NULL) && size > max) {
        error_report("Invalid %s specified. Must be between 0 and %" PRId64
                     ".", what, max);
        return false;
    }
    return cli_size(what, text, value);
}

static bool take_aio(BenchArgs *args)
{
    if (args->native || !g_strcmp0(args->aio, "native")) {
        args->image.flags |= BDRV_O_NATIVE_AIO;
    } else if (!g_strcmp0(args->aio, "io_uring")) {
        args->image.flags |= BDRV_O_IO_URING;
    } else if (args->aio && strcmp(args->aio, "threads")) {
        error_report("Invalid aio option: %s", args->aio);
        return false;
    }
    return true;
}

static bool take_values(BenchArgs *args)
{
    return take_number("request count", args->count_text, INT_MAX,
                       &args->count) &&
           take_number("queue depth", args->depth_text, INT_MAX,
                       &args->depth) &&
           take_size("offset", args->offset_text, INT64_MAX, &args->offset) &&
           take_size("buffer size", args->size_text, INT_MAX, &args->size) &&
           take_size("step_size", args->step_text, INT_MAX, &args->step) &&
           take_number("flush interval", args->flush_text, INT_MAX,
                       &args->flush_interval) &&
           take_number("pattern byte", args->pattern_text, 0xff,
                       &args->pattern) &&
           take_aio(args);
}

static bool check_values(const BenchArgs *args)
{
    if (args->depth == 0 && args->count) {
        error_report("Invalid queue depth specified");
        return false;
    }
    if (!args->write && args->flush_interval) {
        error_report("--flush-interval is only available in write tests");
        return false;
    }
    if (args->flush_interval && args->flush_interval < args->depth) {
        error_report("Flush interval can't be smaller than depth");
        return false;
    }
    return true;
}

/* --- requests --- */

typedef struct Bench {
    const BenchArgs *args;
    BlockBackend *blk;
    uint8_t *buf;       /* all requests use it */
    int64_t image_size;
    int64_t offset;     /* of the next request */
    int64_t left;       /* requests not yet submitted */
    int64_t until_flush;
    int64_t requests, flushes; /* in flight */
    bool want_flush;
    int error;          /* the first */
} Bench;

static void note(Bench *b, int ret)
{
    if (ret < 0 && !b->error) {
        b->error = ret;
    }
}

static void coroutine_fn bench_flush(void *opaque)
{
    Bench *b = opaque;

    note(b, blk_co_flush(b->blk));
    b->flushes--;
    b->want_flush = false;
    aio_notify(aio_main_context());
}

/* Offset of the next request; it advances, and wraps around. */
static int64_t next_offset(Bench *b)
{
    int64_t offset = b->offset;

    if (b->image_size <= b->args->size) {
        b->offset = 0;
    } else {
        b->offset = ((uint64_t)offset + b->args->step) %
                    (b->image_size - b->args->size + 1);
    }
    return offset;
}

static void coroutine_fn bench_send(void *opaque)
{
    Bench *b = opaque;
    int64_t offset = next_offset(b);

    note(b, b->args->write
             ? blk_co_pwrite(b->blk, offset, b->args->size, b->buf, 0)
             : blk_co_pread(b->blk, offset, b->args->size, b->buf, 0));
    b->requests--;
    aio_notify(aio_main_context());
}

/* A flush is due: with --no-drain it runs in parallel to the requests. */
static bool flush_if_due(Bench *b)
{
    if (!b->want_flush || b->flushes ||
        (!b->args->no_drain && b->requests)) {
        return b->want_flush && !b->args->no_drain;
    }
    b->flushes++;
    coroutine_enter(coroutine_create(bench_flush, b));
    return b->want_flush && !b->args->no_drain;
}

/* Submits as many requests as allowed. */
static void bench_fill(Bench *b)
{
    while (!b->error && !flush_if_due(b) && b->left > 0 &&
           b->requests < b->args->depth) {
        b->left--;
        b->requests++;
        if (b->args->flush_interval && --b->until_flush == 0) {
            b->until_flush = b->args->flush_interval;
            b->want_flush = true;
        }
        coroutine_enter(coroutine_create(bench_send, b));
    }
}

static void bench_loop(Bench *b)
{
    int64_t before;

    do {
        bench_fill(b);
        before = b->requests + b->flushes;
        if (tool_interrupted()) {
            note(b, -EINTR);
        }
        AIO_WAIT_WHILE(b->requests + b->flushes == before && before > 0);
    } while (b->requests || b->flushes ||
             (!b->error && (b->left > 0 || b->want_flush)));
}

static void tell(const BenchArgs *args)
{
    printf("Sending %" PRId64 " %s requests, %" PRId64 " bytes each, %" PRId64
           " in parallel (starting at offset %" PRId64 ", step size %" PRId64
           ")\n", args->count, args->write ? "write" : "read", args->size,
           args->depth, args->offset, args->step);
    if (args->flush_interval) {
        printf("Sending flush every %" PRId64 " requests\n",
               args->flush_interval);
    }
}

static int bench(const BenchArgs *args)
{
    g_autoptr(BlockBackend) blk = img_open(&args->image);
    Bench b = { .args = args, .blk = blk, .offset = args->offset,
                .left = args->count, .until_flush = args->flush_interval };
    int64_t start;

    if (!blk) {
        return EXIT_FAILURE;
    }
    b.image_size = blk_getlength(blk);
    if (b.image_size < 0) {
        error_report("Could not get the size of '%s': %s",
                     args->image.filename, strerror(-b.image_size));
        return EXIT_FAILURE;
    }
    tell(args);
    b.buf = bdrv_blockalign(blk_bs(blk), MAX(args->size, 1));
    memset(b.buf, args->write ? args->pattern : 0, args->size);
    start = aio_now_ns();
    bench_loop(&b);
    qemu_vfree(b.buf);
    if (b.error) {
        error_report("Failed request: %s", strerror(-b.error));
        return EXIT_FAILURE;
    }
    printf("Run completed in %3.3f seconds.\n", (aio_now_ns() - start) / 1e9);
    return EXIT_SUCCESS;
}

int img_bench(int argc, char **argv)
{
    BenchArgs args = { .count = 75000, .depth = 64, .size = 4096 };
    int first = cli_parse(argc, argv, bench_options, &args, img_help);

    if (!take_values(&args)) {
        return EXIT_FAILURE;
    }
    if (!tool_cache_mode(args.cache, &args.image)) {
        error_report("Invalid cache mode");
        return EXIT_FAILURE;
    }
    if (argc - first != 1) {
        cli_usage_error("Expecting one image file name");
    }
    if (!check_values(&args)) {
        return EXIT_FAILURE;
    }
    args.step = args.step ? args.step : args.size;
    args.image.filename = argv[first];
    args.image.flags |= (args.write ? BDRV_O_RDWR : 0) |
                        (args.force_share ? BDRV_O_FORCE_SHARE : 0);
    return bench(&args);
}
