/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mirrors of disks in memory that take different times for each request, with
 * several requests of the guest in flight that overlap: whatever the order, the
 * target is the source at the end.  And single orders of events that would be
 * met by chance only.
 */
#include "qemu/osdep.h"
#include "block/dirty-bitmap.h"
#include "block/mirror.h"
#include "memory-driver.h"

const BlockDriver *const bdrv_drivers[] = { &bdrv_memory, NULL };

#define UNIT (64 * KiB)
/* Where the guest writes: its requests shall meet. */
#define BUSY (1 * MiB)
#define WRITERS 4

typedef struct Case {
    GRand *rand;
    BlockDriverState *source, *target;
    MemoryDisk *s, *t;
    BlockBackend *guest;
    BdrvDirtyBitmap *bitmap;
    Job *job;
    int running; /* writers */
} Case;

static GRand *turns; /* of dawdle() */

/* MemoryDisk.on_...: lets others run for some turns of the loop. */
static void coroutine_fn dawdle(int64_t offset, int64_t bytes)
{
    for (int i = g_rand_int_range(turns, 0, 8); i > 0; i--) {
        co_yield_to_loop();
    }
}

static void coroutine_fn dawdle_in_status(int64_t offset)
{
    dawdle(offset, 0);
}

/* --- set up, run, compare --- */

static void set_up(Case *c, uint32_t seed)
{
    *c = (Case) {
        .rand = g_rand_new_with_seed(seed),
        .source = memory_node("source"),
        .target = memory_node("target"),
    };
    c->s = memory_disk(c->source);
    c->t = memory_disk(c->target);
    c->t->error = EIO;
    c->guest = blk_new_with_bs(c->source,
                               BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                               BLK_PERM_ALL, &error_abort);
    c->bitmap = bdrv_dirty_bitmap_new(c->source, UNIT, "bitmap", &error_abort);
}

static void tear_down(Case *c)
{
    blk_unref(c->guest);
    bdrv_dirty_bitmap_release(c->bitmap);
    bdrv_unref(c->target);
    bdrv_unref(c->source);
    g_rand_free(c->rand);
}

static void start(Case *c, MirrorSyncMode sync, MirrorCopyMode mode)
{
    bool bitmap = sync == MIRROR_SYNC_MODE_BITMAP;
    MirrorParams params = {
        .job_id = "job",
        .bitmap = {
            .sync = sync,
            .name = bitmap ? "bitmap" : NULL,
            .has_mode = bitmap,
            .mode = BITMAP_SYNC_MODE_NEVER,
        },
        .granularity = bitmap ? 0 : UNIT,
        .on_source_error = BLOCKDEV_ON_ERROR_REPORT,
        .on_target_error = BLOCKDEV_ON_ERROR_IGNORE,
        .copy_mode = mode,
        .unmap = true,
    };

    g_assert_true(mirror_job_start(c->source, c->target, &params,
                                   &error_abort));
    c->job = job_next(NULL);
    job_ref(c->job);
}

static bool is_ready(const Case *c)
{
    return c->job->status == JOB_STATUS_READY;
}

static void poll_until_ready(const Case *c)
{
    while (!is_ready(c)) {
        aio_poll(aio_main_context(), true);
    }
}

/* The job ends, and the source stays in use. */
static void finish(Case *c)
{
    poll_until_ready(c);
    job_user_cancel(c->job, false, &error_abort);
    while (job_next(NULL)) {
        aio_poll(aio_main_context(), true);
    }
    g_assert_cmpint(c->job->ret, ==, 0);
    job_unref(c->job);
    for (int i = 0; i < MEMORY_UNITS; i++) {
        g_assert_cmpmem(c->t->data + i * MEMORY_UNIT, MEMORY_UNIT,
                        c->s->data + i * MEMORY_UNIT, MEMORY_UNIT);
    }
}

/* --- the guest --- */

static void coroutine_fn write_one(Case *c)
{
    int64_t bytes = g_rand_int_range(c->rand, 1, 3 * UNIT);
    int64_t offset = g_rand_int_range(c->rand, 0, BUSY - bytes);
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret;

    if (g_rand_int_range(c->rand, 0, 2)) { /* often whole units */
        offset = ROUND_DOWN(offset, UNIT);
        bytes = ROUND_UP(bytes, UNIT);
        buf = g_realloc(buf, bytes);
    }
    if (g_rand_int_range(c->rand, 0, 3) == 0) {
        ret = blk_co_pwrite_zeroes(c->guest, offset, bytes,
                                   BDRV_REQ_MAY_UNMAP);
    } else {
        memset(buf, g_rand_int_range(c->rand, 1, 256), bytes);
        ret = blk_co_pwrite(c->guest, offset, bytes, buf, 0);
    }
    g_assert_cmpint(ret, ==, 0);
}

static void coroutine_fn writer(void *opaque)
{
    Case *c = opaque;

    for (int i = 0; i < 40; i++) {
        write_one(c);
        if (g_rand_int_range(c->rand, 0, 4) == 0) {
            dawdle(0, 0);
        }
    }
    c->running--;
}

/* Commands of a user, while the guest writes. */
static void disturb(Case *c)
{
    if (g_rand_int_range(c->rand, 0, 40)) {
        return;
    }
    if (c->job->user_paused) {
        job_user_resume(c->job, &error_abort);
    } else if (g_rand_int_range(c->rand, 0, 2)) {
        job_user_pause(c->job, &error_abort);
    } else {
        mirror_job_change(container_of(c->job, BlockJob, job),
                          MIRROR_COPY_MODE_WRITE_BLOCKING, NULL);
    }
}

static void run_random(uint32_t seed)
{
    static const MirrorSyncMode syncs[] = {
        MIRROR_SYNC_MODE_FULL, MIRROR_SYNC_MODE_NONE, MIRROR_SYNC_MODE_BITMAP,
    };
    Case c;
    MirrorSyncMode sync;

    set_up(&c, seed);
    sync = syncs[seed % ARRAY_SIZE(syncs)];
    c.s->on_read = c.s->on_write = c.t->on_write = dawdle;
    c.s->on_status = dawdle_in_status;
    c.s->tells_zeroes = g_rand_int_range(c.rand, 0, 4);
    if (sync == MIRROR_SYNC_MODE_BITMAP) {
        bdrv_dirty_bitmap_set(c.bitmap, 0, BUSY);
    }
    if (sync != MIRROR_SYNC_MODE_NONE) {
        for (int i = 0; i < BUSY / UNIT; i += 3) {
            memset(c.s->data + i * UNIT, 1, UNIT);
        }
    }
    start(&c, sync, g_rand_int_range(c.rand, 0, 2)
          ? MIRROR_COPY_MODE_WRITE_BLOCKING : MIRROR_COPY_MODE_BACKGROUND);
    c.running = WRITERS;
    for (int i = 0; i < WRITERS; i++) {
        coroutine_enter(coroutine_create(writer, &c));
    }
    while (c.running > 0) {
        aio_poll(aio_main_context(), true);
        disturb(&c);
    }
    if (c.job->user_paused) {
        job_user_resume(c.job, &error_abort);
    }
    finish(&c);
    tear_down(&c);
}

static void test_random(void)
{
    for (uint32_t seed = 0; seed < 150; seed++) {
        g_test_message("seed %" PRIu32, seed);
        turns = g_rand_new_with_seed(seed);
        run_random(seed);
        g_rand_free(turns);
    }
}

/* --- zeroes that the target seems to have --- */

/* A job before may have lost them: the target is told of them in any case. */
static void test_zeroes_by_bitmap(void)
{
    Case c;

    set_up(&c, 0);
    c.s->tells_zeroes = c.t->tells_zeroes = true;
    bdrv_dirty_bitmap_set(c.bitmap, UNIT, UNIT);
    start(&c, MIRROR_SYNC_MODE_BITMAP, MIRROR_COPY_MODE_BACKGROUND);
    finish(&c);
    g_assert_true(c.t->written[UNIT / MEMORY_UNIT]);
    g_assert_false(c.t->written[0]);
    tear_down(&c);
}

/* --- what was zero, and is not any more --- */

static void guest_write(Case *c, int64_t offset, uint8_t byte)
{
    g_autofree uint8_t *buf = g_malloc(UNIT);

    memset(buf, byte, UNIT);
    g_assert_cmpint(blk_pwrite(c->guest, offset, UNIT, buf, 0), ==, 0);
}

static struct {
    int64_t at; /* the status query of this offset waits */
    bool reached, go_on;
} hold;

static void coroutine_fn hold_status(int64_t offset)
{
    if (offset == hold.at) {
        hold.reached = true;
        while (!hold.go_on) {
            co_yield_to_loop();
        }
    }
}

static void coroutine_fn hold_write(int64_t offset, int64_t bytes)
{
    while (!hold.go_on) {
        co_yield_to_loop();
    }
}

/* A part of a run is written while the query is still looking for its end. */
static void test_change_in_query(void)
{
    Case c;

    set_up(&c, 0);
    c.s->tells_zeroes = true;
    c.s->on_status = hold_status;
    hold.at = 1 * MiB;
    hold.reached = hold.go_on = false;
    start(&c, MIRROR_SYNC_MODE_FULL, MIRROR_COPY_MODE_BACKGROUND);
    while (!hold.reached) {
        aio_poll(aio_main_context(), true);
    }
    guest_write(&c, 256 * KiB, 5);
    hold.go_on = true;
    finish(&c);
    tear_down(&c);
}

/* A run has many areas, and one that is not yet being copied is written. */
static void test_change_in_run(void)
{
    Case c;

    set_up(&c, 0);
    bdrv_dirty_bitmap_release(c.bitmap);
    c.bitmap = bdrv_dirty_bitmap_new(c.source, MEMORY_UNIT, "bitmap",
                                     &error_abort);
    c.s->tells_zeroes = true;
    c.t->on_write = hold_write;
    hold.go_on = false;
    for (int i = 0; i < MEMORY_UNITS; i += 2) {
        bdrv_dirty_bitmap_set(c.bitmap, i * MEMORY_UNIT, MEMORY_UNIT);
    }
    start(&c, MIRROR_SYNC_MODE_BITMAP, MIRROR_COPY_MODE_BACKGROUND);
    for (int turns = 0; turns < 1000; turns++) {
        aio_poll(aio_main_context(), false);
    }
    g_assert_cmpint(c.t->writes, >, 0);
    g_assert_cmpint(c.t->writes, <, MEMORY_UNITS / 4);
    guest_write(&c, 3 * MiB, 5);
    hold.go_on = true;
    finish(&c);
    tear_down(&c);
}

/* --- a paused job --- */

static void test_pause(void)
{
    Case c;
    int writes;

    set_up(&c, 0);
    start(&c, MIRROR_SYNC_MODE_NONE, MIRROR_COPY_MODE_WRITE_BLOCKING);
    poll_until_ready(&c);
    guest_write(&c, 0, 1);
    g_assert_cmpint(c.t->data[0], ==, 1);
    job_user_pause(c.job, &error_abort);
    while (c.job->busy) {
        aio_poll(aio_main_context(), true);
    }
    writes = c.t->writes;
    guest_write(&c, 0, 2);
    g_assert_cmpint(c.t->writes, ==, writes);
    g_assert_cmpint(c.t->data[0], ==, 1);
    job_user_resume(c.job, &error_abort);
    finish(&c);
    tear_down(&c);
}

/* --- writes that the target loses --- */

#define LOST (3 * MiB)

static struct {
    bool armed, in_flight, go_on;
} late;

static void coroutine_fn answer_late(int64_t offset, int64_t bytes)
{
    if (late.armed && offset == LOST) {
        late.armed = false;
        late.in_flight = true;
        while (!late.go_on) {
            co_yield_to_loop();
        }
    }
}

static void coroutine_fn late_writer(void *opaque)
{
    Case *c = opaque;
    g_autofree uint8_t *buf = g_malloc(UNIT);

    memset(buf, 3, UNIT);
    g_assert_cmpint(blk_co_pwrite(c->guest, LOST, UNIT, buf, 0), ==, 0);
    c->running--;
}

static void poll_for_write(const Case *c)
{
    int writes = c->t->writes;

    while (c->t->writes == writes) {
        aio_poll(aio_main_context(), true);
    }
}

/*
 * A flush fails while an active write is in flight, and that is lost, too: its
 * unit is copied again, although the write seems to succeed later.
 */
static void test_lost_write(void)
{
    Case c;

    set_up(&c, 0);
    c.t->on_write = answer_late;
    c.t->fail_flush = 1;
    start(&c, MIRROR_SYNC_MODE_FULL, MIRROR_COPY_MODE_WRITE_BLOCKING);
    while (c.t->flushes < 1) {
        aio_poll(aio_main_context(), true);
    }
    job_set_speed(c.job, 1, &error_abort); /* copies again, but not yet LOST */
    c.running = 1;
    late.armed = true;
    coroutine_enter(coroutine_create(late_writer, &c));
    while (!late.in_flight || c.t->flushes < 2) {
        aio_poll(aio_main_context(), true);
    }
    poll_for_write(&c);
    c.t->lost_end = LOST + UNIT;
    late.go_on = true;
    while (c.running) {
        aio_poll(aio_main_context(), true);
    }
    g_assert_cmpint(c.t->lost_end, ==, 0);
    job_set_speed(c.job, 0, &error_abort);
    finish(&c);
    tear_down(&c);
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/mirror/random", test_random);
    g_test_add_func("/mirror/zeroes-by-bitmap", test_zeroes_by_bitmap);
    g_test_add_func("/mirror/change-in-query", test_change_in_query);
    g_test_add_func("/mirror/change-in-run", test_change_in_run);
    g_test_add_func("/mirror/pause", test_pause);
    g_test_add_func("/mirror/lost-write", test_lost_write);
    ret = g_test_run();
    bdrv_close_all();
    aio_main_cleanup();
    return ret;
}
