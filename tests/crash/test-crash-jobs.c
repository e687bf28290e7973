/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Power losses while jobs work on chains of images, and after they ended. */
#include "crash.h"

#include "block/backup.h"
#include "block/chain-jobs.h"
#include "block/commit.h"
#include "block/dirty-bitmap.h"

extern const BlockDriver bdrv_raw, bdrv_qcow2, bdrv_copy_on_read,
    bdrv_copy_before_write;

const BlockDriver *const bdrv_drivers[] = {
    &crash_recorder, &bdrv_raw, &bdrv_qcow2, &bdrv_copy_on_read,
    &bdrv_copy_before_write, NULL,
};

/* When users are notified of the end of the job, successful or not. */
static CrashTime told;
static int told_result;

static void tell(Job *job)
{
    told = crash_log_tick(crash_machine->log);
    told_result = job->ret;
}

static void expect_job(void)
{
    job_event_hooks.completed = tell;
    job_event_hooks.cancelled = tell;
    told = 0;
    told_result = 0;
}

static void wait_for_job(void)
{
    AIO_WAIT_WHILE(job_next(NULL));
    g_assert_cmpuint(told, >, 0);
}

static int few(CrashRun *r)
{
    return g_rand_int_range(r->rand, 0, 15);
}

/* A guest works; then the job, and the guest beside it; then the guest. */
static void run_beside(CrashRun *r, void (*start)(CrashRun *))
{
    crash_guest_start(&r->guest, r->steps / 3);
    crash_guest_wait(&r->guest);
    expect_job();
    crash_guest_start(&r->guest, r->steps / 3);
    start(r);
    wait_for_job();
    crash_guest_wait(&r->guest);
    crash_guest_start(&r->guest, r->steps / 3);
    crash_guest_wait(&r->guest);
}

/* --- chains: disk0 must always show the right content --- */

static void prepare_chain(CrashRun *r)
{
    crash_make_chain(r, 2);
}

static const ChainJobParams chain_params = {
    .job_id = "job",
    .on_error = BLOCKDEV_ON_ERROR_REPORT,
};

static unsigned dropped; /* disk1 up to this one, by the job */

static void start_stream(CrashRun *r)
{
    g_autofree char *bottom = NULL;

    dropped = g_rand_int_range(r->rand, 1, 3);
    bottom = g_strdup_printf("node%u", dropped);
    g_assert_true(stream_job_start(bdrv_find_node("node0"),
                                   bdrv_find_node(bottom), &chain_params,
                                   &error_abort));
}

static void start_commit(CrashRun *r)
{
    dropped = 1;
    g_assert_true(commit_job_start(bdrv_find_node("node0"),
                                   bdrv_find_node("node1"),
                                   bdrv_find_node("node2"), &chain_params,
                                   &error_abort));
}

static void run_stream(CrashRun *r)
{
    crash_fill(r, few(r));
    crash_go_live(r, 0);
    crash_attach(r, crash_open_guest(r, 2));
    run_beside(r, start_stream);
    g_assert_cmpint(told_result, ==, 0);
    crash_detach(r);
}

static void run_commit(CrashRun *r)
{
    crash_fill(r, few(r));
    crash_go_live(r, 0);
    crash_attach(r, crash_open_guest(r, 2));
    run_beside(r, start_commit);
    g_assert_cmpint(told_result, ==, 0);
    crash_detach(r);
}

/* After the notification that images are not needed, a user may delete them. */
static bool check_chain(CrashRun *r, CrashTime cut, GString *why)
{
    for (unsigned disk = 1; cut >= told && disk <= dropped; disk++) {
        g_byte_array_set_size(r->machine->disks[disk], 0);
    }
    return crash_check_disk(r, cut, why);
}

/* What the backing file has from the end of a commit to the next one. */
typedef struct Committed {
    CrashTime from, to;
    int64_t size;
    uint8_t *data;
} Committed;

static void committed_clear(void *opaque)
{
    g_free(((Committed *)opaque)->data);
}

/* While the image has no users; the disk's content does not change. */
static void run_commit_sync(CrashRun *r)
{
    GArray *list = r->opaque = g_array_new(FALSE, FALSE, sizeof(Committed));

    g_array_set_clear_func(list, committed_clear);
    crash_fill(r, few(r));
    crash_go_live(r, 0);
    crash_attach(r, crash_open_guest(r, g_rand_int_range(r->rand, 1, 3)));
    for (int i = 0; i < 3; i++) {
        Committed c = { .to = CRASH_NEVER };

        crash_guest_start(&r->guest, r->steps / 3);
        crash_guest_wait(&r->guest);
        if (i > 0) {
            g_array_index(list, Committed, i - 1).to = crash_log_tick(r->log);
        }
        c.data = crash_read(blk_bs(r->guest.blk), &c.size, r->guest.error);
        g_assert_cmpint(bdrv_commit(blk_bs(r->guest.blk)), ==, 0);
        c.from = crash_log_tick(r->log);
        g_array_append_val(list, c);
    }
    crash_detach(r);
}

static bool shows_committed(const Committed *c, GString *why)
{
    BlockDriverState *bs = crash_open(0, NULL, "{'driver': 'qcow2', "
                                      "'read-only': true, 'file': {'driver': "
                                      "'file', 'filename': 'disk1'}}");
    g_autofree uint8_t *data = NULL;
    int64_t size = 0;
    bool ok;

    data = bs ? crash_read(bs, &size, why) : NULL;
    ok = data && size >= c->size && !memcmp(data, c->data, c->size);
    if (!ok) {
        g_string_append(why, "what was committed is not in the backing file");
    }
    bdrv_unref(bs);
    return ok;
}

static bool check_commit_sync(CrashRun *r, CrashTime cut, GString *why)
{
    GArray *list = r->opaque;

    for (guint i = 0; i < list->len; i++) {
        const Committed *c = &g_array_index(list, Committed, i);

        if (c->from <= cut && cut < c->to && !shows_committed(c, why)) {
            return false;
        }
    }
    return crash_check_disk(r, cut, why);
}

static void free_commit_sync(CrashRun *r)
{
    g_array_free(r->opaque, TRUE);
}

/* --- backups --- */

typedef struct Backup {
    bool raw, compress, cancel;
    bool with_bitmap;
    MirrorSyncMode sync;
    BitmapSyncMode mode;
    CrashTime told;
    bool ok;
    int64_t bytes;
    uint8_t *start;    /* the source when the job began */
    uint8_t *promised; /* a byte each unit: the target has it */
} Backup;

static void prepare_backup(CrashRun *r)
{
    Backup *b = r->opaque = g_new0(Backup, 1);
    BlockdevCreateOptionsQcow2 c = {
        .size = r->image.size, .has_cluster_size = true,
        .cluster_size = UINT64_C(1) << g_rand_int_range(r->rand, 9, 17),
    };

    b->raw = g_rand_int_range(r->rand, 0, 3) == 0;
    b->compress = !b->raw && g_rand_int_range(r->rand, 0, 4) == 0;
    b->with_bitmap = g_rand_int_range(r->rand, 0, 3) > 0;
    b->mode = g_rand_boolean(r->rand) ? BITMAP_SYNC_MODE_ALWAYS
                                      : BITMAP_SYNC_MODE_ON_SUCCESS;
    b->sync = b->with_bitmap ? MIRROR_SYNC_MODE_BITMAP
                             : MIRROR_SYNC_MODE_FULL;
    b->cancel = g_rand_boolean(r->rand);
    if (b->raw) {
        g_byte_array_set_size(r->machine->disks[1], c.size);
        memset(r->machine->disks[1]->data, 0, c.size);
    } else {
        crash_create(1, &c);
    }
}

static BlockDriverState *open_target(const Backup *b, bool writable,
                                     Error **errp)
{
    return crash_open(writable ? BDRV_O_RDWR : 0, errp, "{'driver': '%s', "
                      "'node-name': 'target', 'read-only': %s, 'file': "
                      "{'driver': 'file', 'filename': 'disk1'}}",
                      b->raw ? "raw" : "qcow2", writable ? "false" : "true");
}

static Job *start_backup(CrashRun *r, BlockDriverState *source,
                         BlockDriverState *target)
{
    Backup *b = r->opaque;
    BackupCommon opts = {
        .job_id = (char *)"job",
        .sync = b->sync,
        .bitmap = b->with_bitmap ? (char *)"b0" : NULL,
        .has_bitmap_mode = b->with_bitmap,
        .bitmap_mode = b->mode,
        .compress = b->compress,
        .auto_finalize = true,
        .auto_dismiss = true,
        .on_source_error = BLOCKDEV_ON_ERROR_REPORT,
        .on_target_error = BLOCKDEV_ON_ERROR_REPORT,
        .on_cbw_error = ON_CBW_ERROR_BREAK_GUEST_WRITE,
    };
    Job *job;

    bdrv_drained_begin(source);
    b->start = crash_read(source, &b->bytes, r->guest.error);
    job = backup_job_create(source, target, &opts, NULL, &error_abort);
    job_start(job);
    bdrv_drained_end(source);
    return job;
}

/* The target has the requested units; after a failure, those not dirty. */
static void settle(Backup *b, const uint8_t *asked,
                   const BdrvDirtyBitmap *after)
{
    g_autofree uint8_t *left = after ? crash_dirty_units(after, b->bytes)
                                     : NULL;

    b->promised = g_malloc0(b->bytes / CRASH_UNIT + 1);
    b->ok = told_result == 0;
    b->told = told;
    for (int64_t i = 0; i < b->bytes / CRASH_UNIT; i++) {
        b->promised[i] = (!asked || asked[i]) && (b->ok || (left && !left[i]));
    }
}

static void let_it_work(Job *job, int turns)
{
    for (; turns > 0 && job_next(NULL); turns--) {
        aio_poll(aio_main_context(), false);
    }
    if (job_next(NULL) && !job_is_completed(job)) {
        job_user_cancel(job, true, NULL);
    }
}

static void run_backup(CrashRun *r)
{
    Backup *b = r->opaque;
    g_autofree uint8_t *asked = NULL;
    BdrvDirtyBitmap *bitmap = NULL;
    BlockDriverState *bs, *target;
    Job *job;

    crash_fill(r, few(r));
    crash_go_live(r, 0);
    bs = crash_open_guest(r, 0);
    target = open_target(b, true, &error_abort);
    if (b->with_bitmap) {
        bitmap = bdrv_dirty_bitmap_new(bs, UINT64_C(1) <<
                                       g_rand_int_range(r->rand, 9, 17), "b0",
                                       &error_abort);
    }
    crash_attach(r, bs);
    crash_guest_start(&r->guest, r->steps / 3);
    crash_guest_wait(&r->guest);
    if (bitmap) {
        asked = crash_dirty_units(bitmap, r->model->size);
    }
    expect_job();
    job = start_backup(r, bs, target);
    job_ref(job);
    crash_guest_start(&r->guest, r->steps / 3);
    if (b->cancel) {
        let_it_work(job, g_rand_int_range(r->rand, 0, 150));
    }
    wait_for_job();
    settle(b, asked, bitmap);
    job_unref(job);
    crash_guest_wait(&r->guest);
    if (g_rand_boolean(r->rand)) {
        g_clear_pointer(&target, bdrv_unref);
    }
    crash_guest_start(&r->guest, r->steps / 3);
    crash_guest_wait(&r->guest);
    if (bitmap) {
        bdrv_dirty_bitmap_release(bitmap);
    }
    bdrv_unref(target);
    crash_detach(r);
}

static bool check_target(const Backup *b, CrashTime cut, GString *why)
{
    Error *err = NULL;
    BlockDriverState *bs = open_target(b, false, &err);
    g_autofree uint8_t *data = NULL;
    int64_t bytes;
    bool ok;

    if (!bs) {
        g_string_append_printf(why, "the target cannot be opened: %s",
                               error_get_pretty(err));
        error_free(err);
        return false;
    }
    ok = (b->raw || crash_check_node(bs, why)) &&
         (data = crash_read(bs, &bytes, why));
    bdrv_unref(bs);
    for (int64_t i = 0; ok && cut >= b->told && i < b->bytes / CRASH_UNIT;
         i++) {
        if (b->promised[i] && memcmp(data + i * CRASH_UNIT,
                                     b->start + i * CRASH_UNIT, CRASH_UNIT)) {
            g_string_append_printf(why, "the backup was %s (event %u), but "
                                   "its target lacks %#" PRIx64,
                                   b->ok ? "complete" : "cancelled", b->told,
                                   i * CRASH_UNIT);
            ok = false;
        }
    }
    return ok;
}

static bool check_backup(CrashRun *r, CrashTime cut, GString *why)
{
    return check_target(r->opaque, cut, why) && crash_check_disk(r, cut, why);
}

static void free_backup(CrashRun *r)
{
    Backup *b = r->opaque;

    g_free(b->start);
    g_free(b->promised);
    g_free(b);
}

/* --- the table --- */

#define MIX_ALL \
    { .write = 6, .zeroes = 2, .zeroes_unmap = 1, .discard = 1, .flush = 3, \
      .read = 1 }

static const CrashProgram programs[] = {
    { .name = "stream", .mix = MIX_ALL, .prepare = prepare_chain,
      .run = run_stream, .check = check_chain,
      .seeds = 45, .budget = 250, .steps = 36 },
    { .name = "commit", .mix = MIX_ALL, .prepare = prepare_chain,
      .run = run_commit, .check = check_chain,
      .seeds = 45, .budget = 250, .steps = 36 },
    { .name = "commit-sync", .mix = MIX_ALL, .prepare = prepare_chain,
      .run = run_commit_sync, .check = check_commit_sync,
      .free = free_commit_sync,
      .seeds = 45, .budget = 250, .steps = 36 },
    { .name = "backup", .mix = MIX_ALL, .prepare = prepare_backup,
      .run = run_backup, .check = check_backup, .free = free_backup,
      .seeds = 45, .budget = 250, .steps = 36 },
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
