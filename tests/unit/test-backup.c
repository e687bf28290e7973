/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Backups of disks in memory against a model: the content of the target and the
 * final state of the bitmap, for every sync and bitmap mode, with guest writes
 * before, during and after, and jobs that succeed, fail and are cancelled.
 */
#include "qemu/osdep.h"
#include "block/backup.h"
#include "block/copy-before-write.h"
#include "block/dirty-bitmap.h"
#include "memory-driver.h"

extern const BlockDriver bdrv_copy_before_write;
const BlockDriver *const bdrv_drivers[] = {
    &bdrv_memory,
    &bdrv_copy_before_write,
    NULL,
};

typedef enum Outcome { SUCCEED, FAIL_WRITE, FAIL_READ, CANCEL } Outcome;
#define OUTCOMES 4

/* One case, and the model of it: a flag per 4 KiB. */
typedef struct Case {
    MirrorSyncMode sync;
    bool use_bitmap;
    BitmapSyncMode mode;
    Outcome outcome;
    int64_t granularity, cluster;
    GRand *rand;

    BlockDriverState *source, *target;
    BlockBackend *guest;
    BdrvDirtyBitmap *bitmap;
    uint8_t *start; /* the source when the job began */
    bool before[MEMORY_UNITS]; /* dirty then */
    bool since[MEMORY_UNITS];  /* dirty by writes since */
    bool in_job;
} Case;

/* --- guest --- */

static void mark_units(bool *units, int64_t offset, int64_t bytes,
                       int64_t granularity)
{
    int64_t end = MIN(ROUND_UP(offset + bytes, granularity), MEMORY_BYTES);

    for (int64_t o = ROUND_DOWN(offset, granularity); o < end;
         o += MEMORY_UNIT) {
        units[o / MEMORY_UNIT] = true;
    }
}

static void guest_write(Case *c)
{
    int64_t bytes = g_rand_int_range(c->rand, 1, 100000);
    int64_t offset = g_rand_int_range(c->rand, 0, MEMORY_BYTES - bytes);
    g_autofree uint8_t *buf = g_malloc(bytes);
    int ret;

    memset(buf, g_rand_int_range(c->rand, 0, 256), bytes);
    ret = blk_pwrite(c->guest, offset, bytes, buf, 0);
    /* If the old data cannot be saved the write is refused. */
    g_assert(ret == 0 || (c->in_job && ret == -EIO));
    if (ret == 0) {
        mark_units(c->in_job ? c->since : c->before, offset, bytes,
                   c->granularity);
    }
}

/* --- expected results --- */

static bool selects(const Case *c)
{
    return c->sync == MIRROR_SYNC_MODE_BITMAP ||
           c->sync == MIRROR_SYNC_MODE_INCREMENTAL;
}

/* Units in the copy clusters that are to be copied. */
static void asked_units(const Case *c, bool *asked)
{
    int64_t cluster = MAX(c->cluster, 64 * KiB);

    for (int i = 0; i < MEMORY_UNITS; i++) {
        if (!selects(c) || c->before[i]) {
            mark_units(asked, i * MEMORY_UNIT, 1, cluster);
        }
    }
}

static void expected_bits(const Case *c, bool *want)
{
    const bool *written = memory_disk(c->target)->written;
    bool ok = c->outcome == SUCCEED;

    memcpy(want, c->since, sizeof(c->since));
    if (c->mode == BITMAP_SYNC_MODE_NEVER ||
        (!ok && c->mode == BITMAP_SYNC_MODE_ON_SUCCESS)) {
        for (int i = 0; i < MEMORY_UNITS; i++) {
            want[i] |= c->before[i];
        }
    } else if (!ok) {
        for (int i = 0; i < MEMORY_UNITS; i++) {
            if (!written[i] && (!selects(c) || c->before[i])) {
                mark_units(want, i * MEMORY_UNIT, 1, c->granularity);
            }
        }
    }
}

static void check_bitmap(const Case *c)
{
    const HBitmap *bits;
    bool want[MEMORY_UNITS];

    if (!c->use_bitmap) {
        return;
    }
    expected_bits(c, want);
    bits = bdrv_dirty_bitmap_hbitmap(c->bitmap);
    g_assert(!bdrv_dirty_bitmap_busy(c->bitmap));
    for (int i = 0; i < MEMORY_UNITS; i++) {
        g_assert_cmpint(hbitmap_get(bits, i * MEMORY_UNIT), ==, want[i]);
    }
}

static void check_target(const Case *c)
{
    const MemoryDisk *t = memory_disk(c->target);
    bool asked[MEMORY_UNITS] = {false};

    asked_units(c, asked);
    for (int i = 0; i < MEMORY_UNITS; i++) {
        g_assert(asked[i] || !t->written[i]);
        g_assert(c->outcome != SUCCEED || !asked[i] || t->written[i]);
        if (t->written[i]) {
            g_assert_cmpmem(t->data + i * MEMORY_UNIT, MEMORY_UNIT,
                            c->start + i * MEMORY_UNIT, MEMORY_UNIT);
        }
    }
}

/* --- the snapshot over the job's filter --- */

typedef struct SnapshotRead {
    BlockDriverState *cbw;
    int64_t offset, bytes;
    uint8_t buf[64 * KiB];
    int ret;
} SnapshotRead;

static void coroutine_fn snapshot_read(void *opaque)
{
    SnapshotRead *r = opaque;
    QEMUIOVector qiov;

    r->ret = -EINPROGRESS;
    qemu_iovec_init_buf(&qiov, r->buf, r->bytes);
    r->ret = cbw_co_preadv_snapshot(r->cbw, r->offset, r->bytes, &qiov, 0);
}

/* The data of the job's start; or no access, but only where it was changed
 * and was not to be copied. */
static void check_snapshot(const Case *c)
{
    SnapshotRead r = {.cbw = blk_bs(c->guest)};
    bool asked[MEMORY_UNITS] = {false}, changed[MEMORY_UNITS] = {false};

    if (!cbw_is_cbw(r.cbw) || c->outcome == FAIL_READ) {
        return;
    }
    asked_units(c, asked);
    for (int i = 0; i < MEMORY_UNITS; i++) {
        if (c->since[i]) {
            mark_units(changed, i * MEMORY_UNIT, 1,
                       MAX(MAX(c->cluster, 64 * KiB), c->granularity));
        }
    }
    for (int i = 0; i < MEMORY_UNITS; i += sizeof(r.buf) / MEMORY_UNIT) {
        r.offset = i * MEMORY_UNIT;
        r.bytes = MIN(sizeof(r.buf), MEMORY_BYTES - r.offset);
        coroutine_enter(coroutine_create(snapshot_read, &r));
        AIO_WAIT_WHILE(r.ret == -EINPROGRESS);
        if (r.ret == 0) {
            g_assert_cmpmem(r.buf, r.bytes, c->start + r.offset, r.bytes);
        } else {
            g_assert_cmpint(r.ret, ==, -EACCES);
            g_assert(!asked[i] && changed[i]);
        }
        if (!cbw_is_cbw(blk_bs(c->guest))) {
            return; /* the job ended meanwhile */
        }
    }
}

/* --- running --- */

static Job *start_backup(Case *c)
{
    BackupCommon opts = {
        .job_id = (char *)"job",
        .sync = c->sync,
        .bitmap = c->use_bitmap ? (char *)"bitmap" : NULL,
        .has_bitmap_mode = c->use_bitmap,
        .bitmap_mode = c->mode,
        .speed = 1, /* one chunk, and then it sleeps */
        .auto_finalize = true,
        .auto_dismiss = true,
        .on_source_error = BLOCKDEV_ON_ERROR_REPORT,
        .on_target_error = BLOCKDEV_ON_ERROR_REPORT,
        .on_cbw_error = ON_CBW_ERROR_BREAK_GUEST_WRITE,
    };
    Job *job;

    bdrv_drained_begin(c->source);
    job = backup_job_create(c->source, c->target, &opts, NULL, &error_abort);
    job_start(job);
    bdrv_drained_end(c->source);
    return job;
}

static void set_up(Case *c)
{
    MemoryDisk *d;

    c->source = memory_node("source");
    c->target = memory_node("target");
    c->guest = blk_new_with_bs(c->source,
                               BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE,
                               BLK_PERM_ALL, &error_abort);
    d = memory_disk(c->source);
    for (int i = 0; i < MEMORY_UNITS; i++) {
        memset(d->data + i * MEMORY_UNIT,
               i % 7 ? g_rand_int_range(c->rand, 0, 256) : 0, MEMORY_UNIT);
    }
    memory_disk(c->target)->cluster = c->cluster;
    c->bitmap = bdrv_dirty_bitmap_new(c->source, c->granularity, "bitmap",
                                      &error_abort);
    for (int i = g_rand_int_range(c->rand, 0, 20); i > 0; i--) {
        guest_write(c);
    }
    c->start = g_memdup2(d->data, MEMORY_BYTES);
}

static void tear_down(Case *c)
{
    blk_unref(c->guest);
    bdrv_dirty_bitmap_release(c->bitmap);
    bdrv_unref(c->target);
    bdrv_unref(c->source);
    g_free(c->start);
}

/* Lets the job work for a while; no wait for it. */
static void some_turns(Case *c)
{
    for (int i = g_rand_int_range(c->rand, 0, 30); i > 0; i--) {
        aio_poll(aio_main_context(), false);
    }
}

/* Arms the failure; a case without work to fail at succeeds. */
static void arrange_end(Case *c)
{
    MemoryDisk *d = memory_disk(c->outcome == FAIL_READ ? c->source
                                                        : c->target);

    d->error = EIO;
    d->fail_on = true;
    if (c->outcome == FAIL_WRITE) {
        d->fail_write = g_rand_int_range(c->rand, 1, 4);
    } else if (c->outcome == FAIL_READ) {
        d->fail_read = g_rand_int_range(c->rand, 1, 4);
    }
}

static void run_case(Case *c)
{
    uint64_t last = 0;
    Job *job;

    set_up(c);
    arrange_end(c);
    c->in_job = true;
    job = start_backup(c);
    job_ref(job);
    for (int i = g_rand_int_range(c->rand, 0, 10); i > 0; i--) {
        uint64_t current, total;

        some_turns(c);
        guest_write(c);
        if (i == 1) {
            check_snapshot(c);
        }
        progress_get(&job->progress, &current, &total);
        g_assert(current >= last && current <= total);
        last = current;
    }
    if (c->outcome == CANCEL && !job_is_completed(job)) {
        job_user_cancel(job, true, &error_abort);
    } else if (!job_is_completed(job)) {
        job_set_speed(job, 0, &error_abort);
    }
    while (job_next(NULL)) {
        aio_poll(aio_main_context(), true);
    }
    memory_disk(c->source)->fail_read = 0;
    c->outcome = job->ret == 0 ? SUCCEED : c->outcome;
    g_assert_cmpint(job->ret, ==,
                    c->outcome == SUCCEED ? 0 :
                    c->outcome == CANCEL ? -ECANCELED : -EIO);
    job_unref(job);
    check_target(c);
    check_bitmap(c);
    c->in_job = true;
    guest_write(c); /* after: recorded as ever */
    check_bitmap(c);
    tear_down(c);
}

static void run_mode(MirrorSyncMode sync, bool use_bitmap,
                     BitmapSyncMode mode)
{
    static const int64_t sizes[] = {4 * KiB, 64 * KiB, 256 * KiB};
    static const int64_t clusters[] = {0, 4 * KiB, 1 * MiB};
    g_autoptr(GRand) rand = g_rand_new_with_seed(sync * 10 + mode);

    for (int i = 0; i < OUTCOMES * 9; i++) {
        g_autofree Case *c = g_new0(Case, 1);

        c->sync = sync;
        c->use_bitmap = use_bitmap;
        c->mode = mode;
        c->outcome = i % OUTCOMES;
        c->granularity = sizes[i / OUTCOMES % 3];
        c->cluster = clusters[i / OUTCOMES / 3 % 3];
        c->rand = rand;
        run_case(c);
    }
}

typedef struct Row {
    MirrorSyncMode sync;
    bool use_bitmap;
    BitmapSyncMode mode;
} Row;

static const Row rows[] = {
    {MIRROR_SYNC_MODE_FULL, false, 0},
    {MIRROR_SYNC_MODE_FULL, true, BITMAP_SYNC_MODE_ON_SUCCESS},
    {MIRROR_SYNC_MODE_FULL, true, BITMAP_SYNC_MODE_ALWAYS},
    {MIRROR_SYNC_MODE_TOP, false, 0},
    {MIRROR_SYNC_MODE_TOP, true, BITMAP_SYNC_MODE_ON_SUCCESS},
    {MIRROR_SYNC_MODE_TOP, true, BITMAP_SYNC_MODE_ALWAYS},
    {MIRROR_SYNC_MODE_BITMAP, true, BITMAP_SYNC_MODE_ON_SUCCESS},
    {MIRROR_SYNC_MODE_BITMAP, true, BITMAP_SYNC_MODE_NEVER},
    {MIRROR_SYNC_MODE_BITMAP, true, BITMAP_SYNC_MODE_ALWAYS},
    {MIRROR_SYNC_MODE_INCREMENTAL, true, BITMAP_SYNC_MODE_ON_SUCCESS},
};

static void test_row(const void *opaque)
{
    const Row *row = opaque;

    run_mode(row->sync, row->use_bitmap, row->mode);
}

/* A job that is undone before it began leaves everything as it was. */
static void test_undone(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    for (int mode = 0; mode < BITMAP_SYNC_MODE__MAX; mode++) {
        g_autofree Case *c = g_new0(Case, 1);
        BackupCommon opts = {
            .job_id = (char *)"job",
            .sync = MIRROR_SYNC_MODE_BITMAP,
            .bitmap = (char *)"bitmap",
            .has_bitmap_mode = true,
            .bitmap_mode = mode,
        };
        int64_t count;
        Job *job;

        c->rand = rand;
        c->granularity = 64 * KiB;
        set_up(c);
        count = bdrv_dirty_bitmap_count(c->bitmap);
        bdrv_drained_begin(c->source);
        job = backup_job_create(c->source, c->target, &opts, NULL,
                                &error_abort);
        g_assert(bdrv_dirty_bitmap_busy(c->bitmap));
        g_assert(blk_bs(c->guest) != c->source);
        job_user_cancel(job, true, &error_abort);
        bdrv_drained_end(c->source);
        g_assert(!job_next(NULL));
        g_assert(blk_bs(c->guest) == c->source);
        g_assert(!bdrv_dirty_bitmap_busy(c->bitmap));
        g_assert_cmpint(bdrv_dirty_bitmap_count(c->bitmap), ==, count);
        tear_down(c);
    }
}

/* Lets the loop turn many times. */
static void coroutine_fn take_long(int64_t offset, int64_t bytes)
{
    for (int i = 0; i < 300; i++) {
        co_yield_to_loop();
    }
}

typedef struct LateWrite {
    BlockBackend *guest;
    int ret;
} LateWrite;

static void coroutine_fn late_write(void *opaque)
{
    LateWrite *w = opaque;
    uint8_t buf[512] = {1};

    w->ret = -EINPROGRESS;
    w->ret = blk_co_pwrite(w->guest, 2 * MiB, sizeof(buf), buf, 0);
}

/* Data that cannot be saved while the job is cancelled stays dirty; the guest's
 * write succeeds nevertheless. */
static void test_cancelled_while_saving(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autofree Case *c = g_new0(Case, 1);
    g_autofree uint8_t *data = g_malloc0(64 * KiB);
    LateWrite w;
    MemoryDisk *t;
    Job *job;

    c->rand = rand;
    c->granularity = 4 * KiB;
    c->sync = MIRROR_SYNC_MODE_BITMAP;
    c->use_bitmap = true;
    c->mode = BITMAP_SYNC_MODE_ALWAYS;
    set_up(c);
    blk_pwrite(c->guest, 0, 64 * KiB, data, 0);
    blk_pwrite(c->guest, 2 * MiB, 64 * KiB, data, 0);
    job = start_backup(c);
    for (int i = 0; i < 30; i++) {
        aio_poll(aio_main_context(), false); /* now it sleeps */
    }
    t = memory_disk(c->target);
    t->error = EIO;
    t->fail_write = 1;
    t->on_write = take_long;
    w.guest = c->guest;
    coroutine_enter(coroutine_create(late_write, &w));
    job_user_cancel(job, true, &error_abort);
    while (job_next(NULL) || w.ret == -EINPROGRESS) {
        aio_poll(aio_main_context(), true);
    }
    g_assert_cmpint(w.ret, ==, 0);
    g_assert(!t->written[2 * MiB / MEMORY_UNIT]);
    for (int64_t at = 2 * MiB; at < 2 * MiB + 64 * KiB; at += 4 * KiB) {
        g_assert(hbitmap_get(bdrv_dirty_bitmap_hbitmap(c->bitmap), at));
    }
    tear_down(c);
}

static BlockDriverState *insert_cbw(Case *c)
{
    BlockdevRef file = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = (char *)"source",
    };
    BlockdevRef to = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = (char *)"target",
    };
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_COPY_BEFORE_WRITE,
        .node_name = (char *)"cbw",
        .u.copy_before_write = {
            .file = &file,
            .target = &to,
            .on_cbw_error = ON_CBW_ERROR_BREAK_SNAPSHOT,
        },
    };

    return bdrv_ref(bdrv_insert_node(c->source, &options, &error_abort));
}

/* A reader gets no new data if the snapshot breaks elsewhere meanwhile. */
static void test_read_while_breaking(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autofree Case *c = g_new0(Case, 1);
    g_autofree SnapshotRead *r = g_new0(SnapshotRead, 1);
    uint8_t buf[512] = {1};

    c->rand = rand;
    c->granularity = 64 * KiB;
    set_up(c);
    r->cbw = insert_cbw(c);
    r->offset = MiB;
    r->bytes = sizeof(r->buf);
    memory_disk(c->source)->on_read = take_long;
    coroutine_enter(coroutine_create(snapshot_read, r));
    memory_disk(c->source)->on_read = NULL;
    memory_disk(c->target)->error = EIO;
    memory_disk(c->target)->fail_write = 1;
    g_assert_cmpint(blk_pwrite(c->guest, 0, sizeof(buf), buf, 0), ==, 0);
    g_assert_cmpint(cbw_broken(r->cbw)->ret, ==, -EIO);
    g_assert_cmpint(r->ret, ==, -EINPROGRESS);
    g_assert_cmpint(blk_pwrite(c->guest, MiB, sizeof(buf), buf, 0), ==, 0);
    AIO_WAIT_WHILE(r->ret == -EINPROGRESS);
    g_assert_cmpint(r->ret, ==, 0);
    g_assert_cmpmem(r->buf, sizeof(r->buf), c->start + MiB, sizeof(r->buf));
    bdrv_drop_filter(r->cbw, &error_abort);
    bdrv_unref(r->cbw);
    tear_down(c);
}

typedef struct SnapshotStatus {
    BlockDriverState *cbw;
    int64_t pnum;
    int ret;
} SnapshotStatus;

static void coroutine_fn snapshot_status(void *opaque)
{
    SnapshotStatus *q = opaque;

    q->ret = -EINPROGRESS;
    q->ret = cbw_co_snapshot_status(q->cbw, MiB, MEMORY_UNIT, &q->pnum);
}

static void coroutine_fn long_status(int64_t offset)
{
    take_long(offset, 0);
}

/* A write waits for status queries, as for reads. */
static void test_status_while_writing(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    g_autofree Case *c = g_new0(Case, 1);
    SnapshotStatus q;
    MemoryDisk *d;

    c->rand = rand;
    c->granularity = 64 * KiB;
    set_up(c);
    d = memory_disk(c->source);
    d->data[MiB] = 1;
    d->tells_zeroes = true;
    d->on_status = long_status;
    q.cbw = insert_cbw(c);
    coroutine_enter(coroutine_create(snapshot_status, &q));
    d->on_status = NULL;
    g_assert_cmpint(q.ret, ==, -EINPROGRESS);
    g_assert_cmpint(blk_pwrite_zeroes(c->guest, MiB, 64 * KiB, 0), ==, 0);
    g_assert_cmpint(q.ret, ==, BDRV_BLOCK_DATA);
    /* From now on queries go to the target. */
    memory_disk(c->target)->tells_zeroes = true;
    coroutine_enter(coroutine_create(snapshot_status, &q));
    AIO_WAIT_WHILE(q.ret == -EINPROGRESS);
    g_assert_cmpint(q.ret, ==, BDRV_BLOCK_DATA);
    bdrv_drop_filter(q.cbw, &error_abort);
    bdrv_unref(q.cbw);
    tear_down(c);
}

/* --- flush --- */

/* The guest's flush goes to its own disk; the job flushes the target. */
static void test_flush(void)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);

    for (int fail = 0; fail <= 1; fail++) {
        g_autofree Case *c = g_new0(Case, 1);
        MemoryDisk *t;
        Job *job;

        c->rand = rand;
        c->granularity = 64 * KiB;
        c->sync = MIRROR_SYNC_MODE_FULL;
        c->use_bitmap = true;
        c->mode = BITMAP_SYNC_MODE_ALWAYS;
        set_up(c);
        c->in_job = true;
        job = start_backup(c);
        job_ref(job);
        t = memory_disk(c->target);
        t->fail_flush = fail ? 1000 : 0;
        for (int i = 0; i < 5; i++) {
            guest_write(c);
            g_assert_cmpint(blk_flush(c->guest), ==, 0);
        }
        g_assert_cmpint(t->flushes, ==, 0);
        g_assert_cmpint(memory_disk(c->source)->flushes, ==, 5);
        job_set_speed(job, 0, &error_abort);
        while (job_next(NULL)) {
            aio_poll(aio_main_context(), true);
        }
        g_assert_cmpint(t->flushes, >, 0);
        g_assert_cmpint(job->ret, ==, fail ? -EIO : 0);
        /* None of the data that was copied is known to be durable. */
        c->outcome = fail ? FAIL_WRITE : SUCCEED;
        if (fail) {
            memset(t->written, 0, sizeof(t->written));
            g_assert_cmpstr(error_get_pretty(job->err), ==, "Flushing node "
                            "'target' failed: Input/output error");
        }
        check_bitmap(c);
        job_unref(job);
        t->fail_flush = 0;
        tear_down(c);
    }
}

int main(int argc, char **argv)
{
    int ret;

    g_test_init(&argc, &argv, NULL);
    aio_main_init(&error_abort);
    g_test_add_func("/backup/undone", test_undone);
    g_test_add_func("/backup/cancelled-while-saving",
                    test_cancelled_while_saving);
    g_test_add_func("/backup/read-while-breaking", test_read_while_breaking);
    g_test_add_func("/backup/status-while-writing",
                    test_status_while_writing);
    g_test_add_func("/backup/flush", test_flush);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        g_autofree char *path = g_strdup_printf(
            "/backup/%s/%s", MirrorSyncMode_str(rows[i].sync),
            rows[i].use_bitmap ? BitmapSyncMode_str(rows[i].mode)
                               : "no-bitmap");

        g_test_add_data_func(path, &rows[i], test_row);
    }
    ret = g_test_run();
    bdrv_close_all();
    aio_main_cleanup();
    return ret;
}
