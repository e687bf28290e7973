/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Power losses while a job takes what it has copied off a stored bitmap: disk0
 * has the bitmap, disk1 is the target.  At each moment after the job began:
 *
 * - what is clean in the stored bitmap is on the target as it then is on the
 *   disk (with both equal when the bitmap began);
 * - if anything was taken off, and the job is not over, it is remembered which
 *   target has it.
 *
 * So another job by the bitmap makes the target the same as the disk.
 */
#include "crash.h"

#include "block/backup.h"
#include "block/bitmap-resume.h"
#include "block/bitmap-store.h"
#include "block/mirror-int.h"
#include "block/mirror.h"
#include "block/qcow2/bitmap-int.h"

extern const BlockDriver bdrv_raw, bdrv_copy_before_write;

const BlockDriver *const bdrv_drivers[] = {
    &crash_recorder, &bdrv_raw, &bdrv_qcow2, &bdrv_copy_before_write, NULL,
};

#define LONG_MS (60 * 60 * 1000) /* checkpoints do not depend on the clock */

typedef struct Resume {
    bool mirror, raw, full;
    bool ok; /* it has succeeded */
    CrashTime began; /* the job; 0: it did not */
    CrashTime ending, told;
    int64_t bytes;
    uint8_t *origin; /* the disk, and the target, when the bitmap begins */
    uint8_t *asked;  /* a byte each unit: it was to be copied */
    unsigned taken;  /* states in which something was taken off */
} Resume;

static Resume *current;
static uint64_t states_taken;

static void on_status(Job *job, JobStatus status)
{
    if (status == JOB_STATUS_WAITING || status == JOB_STATUS_PENDING ||
        status == JOB_STATUS_ABORTING) {
        current->ending = MIN(current->ending,
                              crash_log_tick(crash_machine->log));
    }
}

static void on_end(Job *job)
{
    current->told = crash_log_tick(crash_machine->log);
    current->ok = job->ret == 0;
}

/* --- the program --- */

static void prepare(CrashRun *r)
{
    Resume *t = r->opaque = g_new0(Resume, 1);
    BlockdevCreateOptionsQcow2 target = {
        .size = r->image.size, .has_cluster_size = true,
        .cluster_size = UINT64_C(1) << g_rand_int_range(r->rand, 9, 17),
    };

    r->image.has_version = true;
    r->image.version = BLOCKDEV_QCOW2_VERSION_V3;
    r->image.has_lazy_refcounts = false;
    r->image.lazy_refcounts = false;
    t->mirror = g_str_has_suffix(r->program->name, "mirror");
    t->raw = g_rand_int_range(r->rand, 0, 3) == 0;
    t->full = g_rand_int_range(r->rand, 0, 3) == 0;
    t->ending = t->told = CRASH_NEVER;
    if (t->raw) {
        g_byte_array_set_size(r->machine->disks[1], target.size);
    } else {
        crash_create(1, &target);
    }
}

static BlockDriverState *open_target(const Resume *t, bool writable,
                                     Error **errp)
{
    return crash_open(writable ? BDRV_O_RDWR : 0, errp, "{'driver': '%s', "
                      "'node-name': 'target', 'read-only': %s, 'file': "
                      "{'driver': 'file', 'filename': 'disk1'}}",
                      t->raw ? "raw" : "qcow2", writable ? "false" : "true");
}

/* While nothing is recorded: the target is the disk. */
static void fill_target(CrashRun *r)
{
    g_autoptr(BlockDriverState) bs = crash_open_after(false, r->guest.error);
    BlockDriverState *target = open_target(r->opaque, true, &error_abort);
    BlockBackend *blk = blk_new_with_bs(target, BLK_PERM_WRITE, BLK_PERM_ALL,
                                        &error_abort);
    int64_t bytes;
    Resume *t = r->opaque;

    t->origin = crash_read(bs, &bytes, r->guest.error);
    g_assert_cmpint(blk_pwrite(blk, 0, bytes, t->origin, 0), ==, 0);
    blk_unref(blk);
    bdrv_unref(target);
}

static BdrvDirtyBitmap *add_bitmap(CrashRun *r, BlockDriverState *bs)
{
    uint64_t granularity = UINT64_C(1) << g_rand_int_range(r->rand, 9, 15);
    BdrvDirtyBitmap *bitmap;

    g_assert_true(bdrv_can_store_dirty_bitmap(bs, "b0", granularity,
                                              &error_abort));
    bitmap = bdrv_dirty_bitmap_new(bs, granularity, "b0", &error_abort);
    bdrv_dirty_bitmap_set_safety(bitmap, BITMAP_SAFETY_POWER);
    bdrv_dirty_bitmap_set_persistent(bitmap, true);
    g_assert_true(bdrv_bitmap_store_begin(bs, bitmap, &error_abort));
    return bitmap;
}

static Job *start_backup(const Resume *t, BlockDriverState *source,
                         BlockDriverState *target)
{
    BackupPerf perf = {
        .max_workers = 4, .checkpoint_interval = LONG_MS,
    };
    BackupCommon opts = {
        .job_id = (char *)"job",
        .sync = t->full ? MIRROR_SYNC_MODE_FULL : MIRROR_SYNC_MODE_BITMAP,
        .bitmap = (char *)"b0",
        .has_bitmap_mode = true,
        .bitmap_mode = BITMAP_SYNC_MODE_ALWAYS,
        .x_perf = &perf,
        .auto_finalize = true,
        .auto_dismiss = true,
        .on_source_error = BLOCKDEV_ON_ERROR_REPORT,
        .on_target_error = BLOCKDEV_ON_ERROR_REPORT,
        .on_cbw_error = ON_CBW_ERROR_BREAK_SNAPSHOT,
    };
    Job *job;

    bdrv_drained_begin(source);
    job = backup_job_create(source, target, &opts, NULL, &error_abort);
    job_start(job);
    bdrv_drained_end(source);
    return job;
}

static Job *start_mirror(CrashRun *r, BlockDriverState *source,
                         BlockDriverState *target)
{
    const Resume *t = r->opaque;
    MirrorParams params = {
        .job_id = "job",
        .bitmap = {
            .sync = t->full ? MIRROR_SYNC_MODE_FULL : MIRROR_SYNC_MODE_BITMAP,
            .name = "b0",
            .has_mode = true,
            .mode = BITMAP_SYNC_MODE_ALWAYS,
            .checkpoint_ms = LONG_MS,
        },
        .on_source_error = BLOCKDEV_ON_ERROR_REPORT,
        .on_target_error = BLOCKDEV_ON_ERROR_REPORT,
        .copy_mode = g_rand_boolean(r->rand)
            ? MIRROR_COPY_MODE_BACKGROUND : MIRROR_COPY_MODE_WRITE_BLOCKING,
        .unmap = g_rand_boolean(r->rand),
    };

    g_assert_true(mirror_job_start(source, target, &params, &error_abort));
    return job_get("job");
}

static void start_job(CrashRun *r, BlockDriverState *source,
                      BlockDriverState *target)
{
    Resume *t = r->opaque;
    BdrvDirtyBitmap *bitmap = bdrv_dirty_bitmap_find(source, "b0");

    t->bytes = source->total_bytes;
    bdrv_drained_begin(source);
    t->asked = crash_dirty_units(bitmap, t->bytes);
    if (t->full) {
        memset(t->asked, 1, t->bytes / CRASH_UNIT);
    }
    if (t->mirror) {
        start_mirror(r, source, target);
    } else {
        start_backup(t, source, target);
    }
    t->began = crash_log_tick(r->log);
    bdrv_drained_end(source);
}

/* It goes on, is cancelled, or its target fails. */
static void let_it_work(CrashRun *r)
{
    const Resume *t = r->opaque;
    int fate = g_rand_int_range(r->rand, 0, 4);
    int turns = g_rand_int_range(r->rand, 0, 300);
    bool cancelled = false;

    for (; job_get("job"); turns--) {
        Job *job = job_get("job");

        if (turns == 0 && fate == 0) {
            job_user_cancel(job, true, NULL);
        } else if (turns == 0 && fate == 1) {
            r->machine->broken = 1 << 1;
        } else if (turns < 0 && t->mirror && !cancelled && job_is_ready(job)) {
            job_user_cancel(job, false, NULL); /* it succeeds */
            cancelled = true;
        }
        aio_poll(aio_main_context(), turns < 0 && job_get("job"));
    }
    r->machine->broken = 0;
}

static void run(CrashRun *r)
{
    BlockDriverState *bs, *target;

    current = r->opaque;
    job_bitmap_checkpoint_bytes = 1;
    job_bitmap_checkpoint_share = 0;
    mirror_flush_ns = 0;
    qcow2_ahead_region = 64 * KiB;
    qcow2_ahead_max = qcow2_ahead_region * g_rand_int_range(r->rand, 1, 4);
    job_event_hooks.status_change = on_status;
    job_event_hooks.completed = job_event_hooks.cancelled = on_end;
    crash_fill(r, g_rand_int_range(r->rand, 0, 15));
    fill_target(r);
    crash_go_live(r, 0);
    bs = crash_open_guest(r, 0);
    target = open_target(current, true, &error_abort);
    add_bitmap(r, bs);
    crash_attach(r, bs);
    if (g_rand_int_range(r->rand, 0, 4)) { /* else nothing is dirty */
        crash_guest_start(&r->guest, r->steps / 3);
        crash_guest_wait(&r->guest);
    }
    crash_guest_start(&r->guest, r->steps / 3);
    start_job(r, bs, target);
    let_it_work(r);
    crash_guest_wait(&r->guest);
    crash_guest_start(&r->guest, r->steps / 3);
    crash_guest_wait(&r->guest);
    bdrv_unref(target);
    crash_detach(r);
}

/* --- after a loss --- */

typedef struct After {
    CrashTime cut;
    uint8_t *dirty, *disk, *target;
    bool remembered;
} After;

static void after_clear(After *a)
{
    g_free(a->dirty);
    g_free(a->disk);
    g_free(a->target);
}

static bool read_disk(Resume *t, After *a, GString *why)
{
    BlockDriverState *bs = crash_open_after(false, why);
    BdrvDirtyBitmap *bitmap;
    int64_t bytes;

    if (!bs) {
        return false;
    }
    bitmap = bdrv_dirty_bitmap_find(bs, "b0");
    if (!bitmap || bdrv_dirty_bitmap_inconsistent(bitmap)) {
        g_string_append_printf(why, "the bitmap is %s",
                               bitmap ? "inconsistent" : "not there");
    } else {
        a->dirty = crash_dirty_units(bitmap, t->bytes);
        a->remembered = bdrv_dirty_bitmap_resume(bitmap) != NULL;
        a->disk = crash_read(bs, &bytes, why);
    }
    bdrv_unref(bs);
    return a->disk != NULL;
}

static bool read_target(const Resume *t, After *a, GString *why)
{
    Error *err = NULL;
    BlockDriverState *bs = open_target(t, false, &err);
    int64_t bytes;

    if (!bs) {
        g_string_append_printf(why, "the target cannot be opened: %s",
                               error_get_pretty(err));
        error_free(err);
        return false;
    }
    if (t->raw || crash_check_node(bs, why)) {
        a->target = crash_read(bs, &bytes, why);
    }
    bdrv_unref(bs);
    return a->target != NULL;
}

static bool compare(Resume *t, const After *a, GString *why)
{
    bool taken = false;

    for (int64_t i = 0; i < t->bytes / CRASH_UNIT; i++) {
        if (a->dirty[i]) {
            continue;
        }
        taken |= t->asked[i] || memcmp(a->disk + i * CRASH_UNIT,
                                       t->origin + i * CRASH_UNIT, CRASH_UNIT);
        if (memcmp(a->disk + i * CRASH_UNIT, a->target + i * CRASH_UNIT,
                   CRASH_UNIT)) {
            g_string_append_printf(why, "%#" PRIx64 " is clean%s, but the "
                                   "target (%s) has other data",
                                   i * CRASH_UNIT, t->asked[i] ? "" :
                                   " and was not to be copied",
                                   t->raw ? "raw" : "qcow2");
            return false;
        }
    }
    t->taken += taken;
    if (taken && !a->remembered && a->cut < t->ending) {
        g_string_append(why, "it is not remembered where the rest is");
        return false;
    }
    if (a->remembered && t->ok && a->cut >= t->told) {
        g_string_append(why, "something is remembered although all is copied");
        return false;
    }
    return true;
}

static bool check_resume(CrashRun *r, CrashTime cut, GString *why)
{
    Resume *t = r->opaque;
    After a = { .cut = cut };
    bool ok = read_disk(t, &a, why) && read_target(t, &a, why);

    ok = ok && compare(t, &a, why);
    after_clear(&a);
    return ok;
}

static bool check(CrashRun *r, CrashTime cut, GString *why)
{
    const Resume *t = r->opaque;

    return (!t->began || cut < t->began || check_resume(r, cut, why)) &&
           crash_check_disk(r, cut, why);
}

static void free_resume(CrashRun *r)
{
    Resume *t = r->opaque;

    states_taken += t->taken;
    g_free(t->origin);
    g_free(t->asked);
    g_free(t);
}

#define MIX \
    { .write = 6, .zeroes = 2, .zeroes_unmap = 1, .discard = 1, .flush = 1, \
      .read = 1 }

static const CrashProgram programs[] = {
    { .name = "resume-backup", .mix = MIX, .prepare = prepare, .run = run,
      .check = check, .free = free_resume,
      .seeds = 60, .budget = 200, .steps = 36 },
    { .name = "resume-mirror", .mix = MIX, .prepare = prepare, .run = run,
      .check = check, .free = free_resume,
      .seeds = 60, .budget = 200, .steps = 36 },
};

/* A test in which nothing is taken off finds nothing. */
static void test_taken(void)
{
    g_test_message("%" PRIu64 " states with less in the bitmap", states_taken);
    g_assert_cmpuint(states_taken, >, 0);
}

static void add(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        crash_add(&programs[i]);
    }
    g_test_add_func("/crash/taken", test_taken);
}

int main(int argc, char **argv)
{
    return crash_main(argc, argv, add);
}
