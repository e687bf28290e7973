/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Losses of power while a guest uses a qcow2 image. */
#include "crash.h"

#include "block/qcow2/qcow2-int.h"

extern const BlockDriver bdrv_raw, bdrv_copy_on_read;

const BlockDriver *const bdrv_drivers[] = {
    &crash_recorder, &bdrv_raw, &bdrv_qcow2, &bdrv_copy_on_read, NULL,
};

/* --- a guest alone --- */

static void run_guest(CrashRun *r)
{
    crash_fill(r, g_rand_int_range(r->rand, 0, 20));
    crash_go_live(r, 0);
    crash_attach(r, crash_open_guest(r));
    crash_guest_start(&r->guest, r->steps);
    crash_guest_wait(&r->guest);
    crash_detach(r);
}

static void prepare_lazy(CrashRun *r)
{
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
    r->image.has_lazy_refcounts = r->image.lazy_refcounts = true;
}

static const CrashProgram programs[] = {
    { .name = "alloc", .mix = { .write = 6, .flush = 2, .read = 1 },
      .run = run_guest, .check = crash_check_disk,
      .seeds = 20, .budget = 300, .steps = 40 },
    { .name = "zeroes", .mix = { .write = 5, .zeroes = 3, .zeroes_unmap = 1,
                                 .flush = 3, .read = 1 },
      .run = run_guest, .check = crash_check_disk,
      .seeds = 20, .budget = 300, .steps = 40 },
    { .name = "discard", .mix = { .write = 6, .discard = 3, .zeroes_unmap = 1,
                                  .flush = 2, .read = 1 },
      .run = run_guest, .check = crash_check_disk,
      .seeds = 20, .budget = 300, .steps = 40 },
    { .name = "compressed", .mix = { .write = 3, .compressed = 5, .zeroes = 1,
                                     .discard = 1, .flush = 2, .read = 1 },
      .run = run_guest, .check = crash_check_disk,
      .seeds = 20, .budget = 300, .steps = 40 },
    { .name = "lazy", .mix = { .write = 6, .zeroes = 1, .zeroes_unmap = 1,
                               .discard = 1, .flush = 2, .read = 1 },
      .prepare = prepare_lazy, .run = run_guest, .check = crash_check_disk,
      .seeds = 20, .budget = 200, .steps = 40 },
};

static void add(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        crash_add(&programs[i]);
    }
}

int main(int argc, char **argv)
{
    return crash_main(argc, argv, add);
}
