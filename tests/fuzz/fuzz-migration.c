/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An untrusted migration stream.
 *
 * What must hold: it is refused with an error, and leaves no bitmap behind; or
 * it is accepted, and all its bitmaps can be used.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "fuzz.h"
#include "fuzz-image.h"
#include "migration/section.h"

#define OPTIONS \
    "{\"driver\": \"null-co\", \"node-name\": \"disk\"," \
    " \"size\": 67109376, \"read-zeroes\": true}"

typedef struct Run {
    MigLoader loader;
    MigReader *reader;
    bool ok, done;
    Error *err;
} Run;

static bool coroutine_fn command(void *opaque, uint16_t command,
                                 const uint8_t *data, uint16_t len,
                                 Error **errp)
{
    Run *run = opaque;

    run->loader.postcopy |= command == 4;
    return true;
}

static void coroutine_fn load(void *opaque)
{
    Run *run = opaque;

    run->ok = mig_load_stream(&run->loader, run->reader, &run->err);
    run->done = true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    fuzz_image_init();
    return 0;
}

static int count_bitmaps(bool usable)
{
    BlockDriverState *bs = bdrv_find_node("disk");
    BdrvDirtyBitmap *bitmap = NULL;
    int n = 0;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        g_assert_true(!usable || !bdrv_dirty_bitmap_busy(bitmap));
        g_assert_cmpint(bdrv_dirty_bitmap_count(bitmap), >=, 0);
        n++;
    }
    return n;
}

static void try_stream(const uint8_t *data, size_t size)
{
    Run run = { .loader = { .machine_type = "none", .command = command } };

    run.loader.bitmaps = mig_bitmap_load_new();
    run.loader.opaque = &run;
    run.reader = mig_reader_new_memory(data, size);
    coroutine_enter(coroutine_create(load, &run));
    while (!run.done) {
        aio_poll(aio_main_context(), true);
    }
    g_assert_true(run.ok == !run.err);
    if (run.ok) {
        mig_bitmap_load_hand_over(run.loader.bitmaps);
        count_bitmaps(true);
    }
    mig_bitmap_load_free(run.loader.bitmaps);
    g_assert_true(run.ok || count_bitmaps(true) == 0);
    error_free(run.err);
    mig_reader_free(run.reader);
    mig_loader_clear(&run.loader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GString) text = g_string_new("");
    BlockBackend *blk;

    if (size > FUZZ_IMAGE_MAX) {
        return 0;
    }
    error_capture(text);
    blk = fuzz_image_open_as(OPTIONS, true, 0);
    g_assert_nonnull(blk);
    try_stream(data, size);
    fuzz_image_close(blk);
    error_capture(NULL);
    return 0;
}
