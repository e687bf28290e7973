/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs scripts with faults: see fault-script.h. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "fault-model.h"
#include "fault-script.h"
#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/dirty-bitmap.h"
#include "block/export.h"
#include "block/graph.h"
#include "job/job.h"
#include "qapi/qapi-types-block-job.h"
#include "qapi/qmp-dispatch.h"

/* More turns of the loop than any script needs. */
#define MAX_TURNS 200000
/* How often a job that an error has paused is resumed. */
#define MAX_RESUMED 3

/* A backup or mirror that is in progress. */
typedef struct TrackedJob {
    char id[16], target[32];
    char bitmap[32]; /* empty: none */
    bool mirror;     /* or a commit of the active image */
    BitmapSyncMode mode;
    bool selects; /* copies the dirty ranges of the bitmap */
    bool before[FAULT_UNITS];
    bool since[FAULT_UNITS];
    uint8_t start[FAULT_DISK_BYTES]; /* the disk when it began */
} TrackedJob;

typedef struct Run {
    FaultModel model, saved_model;
    BlockBackend *guest;
    char *top; /* file name of the guest's image, at the end */
    TrackedJob *job;
    bool armed;
    bool unread; /* the fault may keep bitmaps from being loaded */
} Run;

/* --- the guest --- */

static void detach(Run *run)
{
    blk_unref(g_steal_pointer(&run->guest));
}

static bool attach(Run *run, const char *node, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(node, node, errp);

    detach(run);
    if (bs) {
        run->guest = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ |
                                         BLK_PERM_WRITE, BLK_PERM_ALL, errp);
    }
    return run->guest != NULL;
}

static void read_all(BlockBackend *blk, uint8_t *buf)
{
    int ret;

    fault_suspend();
    ret = blk_pread(blk, 0, FAULT_DISK_BYTES, buf, 0);
    fault_resume();
    g_assert_cmpint(ret, ==, 0);
}

/*
 * A write is dirty, and so is a failed one whose data is on the disk
 * nevertheless.  @before: the former disk.
 */
static void guest_wrote(Run *run, int64_t offset, int64_t bytes,
                        const uint8_t *before, uint8_t value, int ret)
{
    g_autofree uint8_t *after = g_malloc(FAULT_DISK_BYTES);

    fault_model_write(&run->model, offset, bytes, value, ret);
    read_all(run->guest, after);
    for (int64_t at = offset; at < offset + bytes; at += FAULT_UNIT) {
        if (ret == 0 || memcmp(before + at, after + at, FAULT_UNIT)) {
            fault_model_changed(&run->model, at);
            if (run->job) {
                run->job->since[at / FAULT_UNIT] = true;
            }
        }
    }
}

static bool guest_write(Run *run, int64_t offset, int64_t bytes, int value,
                        Error **errp)
{
    g_autofree uint8_t *before = g_malloc(FAULT_DISK_BYTES);
    int ret;

    if (!run->guest) {
        error_setg(errp, "no disk");
        return false;
    }
    read_all(run->guest, before);
    if (value) {
        g_autofree void *buf = g_malloc(bytes);

        memset(buf, value, bytes);
        ret = blk_pwrite(run->guest, offset, bytes, buf, 0);
    } else {
        ret = blk_pwrite_zeroes(run->guest, offset, bytes,
                                BDRV_REQ_MAY_UNMAP);
    }
    guest_wrote(run, offset, bytes, before, value, ret);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "write failed");
    }
    return ret == 0;
}

static bool guest_discard(Run *run, int64_t offset, int64_t bytes,
                          Error **errp)
{
    g_autofree uint8_t *before = g_malloc(FAULT_DISK_BYTES);
    int ret;

    if (!run->guest) {
        error_setg(errp, "no disk");
        return false;
    }
    read_all(run->guest, before);
    ret = blk_pdiscard(run->guest, offset, bytes);
    /* It may have its former content, or read as zeroes. */
    guest_wrote(run, offset, bytes, before, 0, -EAGAIN);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "discard failed");
    }
    return ret == 0;
}

static bool guest_flush(Run *run, Error **errp)
{
    int ret = run->guest ? blk_flush(run->guest) : -ENOMEDIUM;

    if (ret < 0) {
        error_setg_errno(errp, -ret, "flush failed");
        return false;
    }
    fault_model_flushed(&run->model);
    return true;
}

/* --- effects of commands on bitmaps --- */

static const char *member(struct json_object *obj, const char *name)
{
    return json_object_get_string(json_object_object_get(obj, name));
}

static bool flag(struct json_object *obj, const char *name)
{
    return json_object_get_boolean(json_object_object_get(obj, name));
}

static TrackedJob *track_job(Run *run, struct json_object *args)
{
    const char *target = member(args, "target");
    TrackedJob *job = run->job = g_new0(TrackedJob, 1);

    g_strlcpy(job->id, member(args, "job-id"), sizeof(job->id));
    g_strlcpy(job->target, target ? target : "base", sizeof(job->target));
    return job;
}

static void track_bitmap(Run *run, TrackedJob *job, struct json_object *args)
{
    const char *mode = member(args, "bitmap-mode");
    const char *sync = member(args, "sync");
    FaultBitmap *b;

    g_strlcpy(job->bitmap, member(args, "bitmap"), sizeof(job->bitmap));
    job->mode = !mode || !strcmp(mode, "on-success")
        ? BITMAP_SYNC_MODE_ON_SUCCESS
        : !strcmp(mode, "never") ? BITMAP_SYNC_MODE_NEVER
                                 : BITMAP_SYNC_MODE_ALWAYS;
    job->selects = !strcmp(sync, "bitmap") || !strcmp(sync, "incremental");
    b = fault_model_bitmap(&run->model, job->bitmap);
    memcpy(job->before, b->must, sizeof(b->must));
    read_all(run->guest, job->start);
}

static void track_start(Run *run, const char *command,
                        struct json_object *args)
{
    bool mirror = strcmp(command, "blockdev-backup") != 0;
    TrackedJob *job;

    if (!mirror && !member(args, "bitmap")) {
        return;
    }
    g_assert(!run->job);
    job = track_job(run, args);
    job->mirror = mirror;
    if (member(args, "bitmap")) {
        track_bitmap(run, job, args);
    }
}

/* Is it a commit of the active image, or another job that ends with a pivot? */
static bool starts_mirror(const char *command, struct json_object *args)
{
    return !strcmp(command, "blockdev-mirror") ||
           (!strcmp(command, "block-commit") && !member(args, "top"));
}

static void track_merge(Run *run, struct json_object *args)
{
    FaultBitmap *to = fault_model_bitmap(&run->model, member(args, "target"));
    struct json_object *list = json_object_object_get(args, "bitmaps");

    for (size_t i = 0; i < json_object_array_length(list); i++) {
        const char *name =
            json_object_get_string(json_object_array_get_idx(list, i));
        const FaultBitmap *from = fault_model_bitmap(&run->model, name);

        for (int u = 0; u < FAULT_UNITS; u++) {
            to->must[u] |= from->must[u];
        }
    }
}

/* A command, alone or in a transaction, succeeded. */
static void track(Run *run, const char *command, struct json_object *args)
{
    FaultBitmap *b = NULL;

    if (g_str_has_prefix(command, "block-dirty-bitmap-") &&
        member(args, "name")) {
        b = fault_model_bitmap(&run->model, member(args, "name"));
    }
    if (!strcmp(command, "block-dirty-bitmap-add")) {
        b = fault_model_add_bitmap(&run->model, member(args, "name"));
        b->persistent = flag(args, "persistent");
        b->recording = !flag(args, "disabled");
    } else if (!strcmp(command, "block-dirty-bitmap-remove")) {
        fault_model_remove_bitmap(&run->model, b);
    } else if (!strcmp(command, "block-dirty-bitmap-clear")) {
        memset(b->must, 0, sizeof(b->must));
    } else if (!strcmp(command, "block-dirty-bitmap-enable")) {
        b->recording = true;
    } else if (!strcmp(command, "block-dirty-bitmap-disable")) {
        b->recording = false;
    } else if (!strcmp(command, "block-dirty-bitmap-merge")) {
        track_merge(run, args);
    } else if (g_str_has_prefix(command, "blockdev-snapshot")) {
        /* Writes go to another image from now on, without bitmaps. */
        for (int i = 0; strstr(command, "internal") == NULL &&
             i < run->model.n_bitmaps; i++) {
            run->model.bitmaps[i].recording = false;
        }
    } else if (!strcmp(command, "blockdev-backup") ||
               starts_mirror(command, args)) {
        track_start(run, command, args);
    } else if (!strcmp(command, "transaction")) {
        struct json_object *list = json_object_object_get(args, "actions");

        for (size_t i = 0; i < json_object_array_length(list); i++) {
            struct json_object *a = json_object_array_get_idx(list, i);

            track(run, member(a, "type"), json_object_object_get(a, "data"));
        }
    }
}

/* --- jobs --- */

static const HBitmap *job_bits(Run *run, const TrackedJob *job)
{
    BlockDriverState *bs = blk_bs(run->guest);
    BdrvDirtyBitmap *bitmap;

    while (!(bitmap = bdrv_dirty_bitmap_find(bs, job->bitmap))) {
        bs = bdrv_filter_child(bs)->bs;
    }
    return bdrv_dirty_bitmap_hbitmap(bitmap);
}

static bool unit_is_dirty(const HBitmap *bits, int unit)
{
    return hbitmap_get(bits, (int64_t)unit * FAULT_UNIT);
}

/* Does the bitmap say all that it would if the job had never been? */
static bool knows_all(const TrackedJob *job, const HBitmap *bits)
{
    for (int i = 0; i < FAULT_UNITS; i++) {
        if ((job->before[i] || job->since[i]) && !unit_is_dirty(bits, i)) {
            return false;
        }
    }
    return true;
}

static uint8_t *read_node(const char *name)
{
    uint8_t *buf = g_malloc(FAULT_DISK_BYTES);
    BlockBackend *blk;

    fault_suspend();
    blk = blk_new_with_bs(bdrv_find_node(name), BLK_PERM_CONSISTENT_READ,
                          BLK_PERM_ALL, &error_abort);
    read_all(blk, buf);
    blk_unref(blk);
    fault_resume();
    return buf;
}

/*
 * After a failure with mode "always" the bitmap forgets what was copied: that
 * must be on the target.  A mirror also copied the writes since it began.
 */
static void check_forgotten(Run *run, const TrackedJob *job)
{
    const HBitmap *bits = job_bits(run, job);
    g_autofree uint8_t *copy = read_node(job->target);
    g_autofree uint8_t *now = job->mirror ? read_node("disk") : NULL;
    const uint8_t *right = job->mirror ? now : job->start;

    if (job->selects && knows_all(job, bits)) {
        return;
    }
    for (int i = 0; i < FAULT_UNITS; i++) {
        int64_t at = (int64_t)i * FAULT_UNIT;
        bool copied = !job->selects || job->before[i] ||
                      (job->mirror && job->since[i]);

        if (copied && !unit_is_dirty(bits, i) &&
            memcmp(copy + at, right + at, FAULT_UNIT)) {
            g_error("%s: unit %d was forgotten, not copied", job->id, i);
        }
    }
}

static bool guest_has_moved(const Run *run)
{
    return strcmp(bdrv_skip_filters(blk_bs(run->guest))->node_name, "disk");
}

/* A mirror that succeeded: both are the same, where it copied. */
static void check_mirrored(const TrackedJob *job)
{
    g_autofree uint8_t *copy = read_node(job->target);
    g_autofree uint8_t *now = read_node("disk");

    for (int i = 0; i < FAULT_UNITS; i++) {
        int64_t at = (int64_t)i * FAULT_UNIT;

        if ((!job->selects || job->before[i] || job->since[i]) &&
            memcmp(copy + at, now + at, FAULT_UNIT)) {
            g_error("%s: unit %d of the target is something else", job->id, i);
        }
    }
}

/*
 * What a mirror that failed has left.  A bit of a write that failed is not
 * needed where nothing was written: if it cannot be stored, it is gone after a
 * reopen.
 */
static void must_as_mirrored(Run *run, const TrackedJob *job, FaultBitmap *b)
{
    g_autofree uint8_t *copy = read_node(job->target);
    g_autofree uint8_t *now = read_node("disk");

    for (int i = 0; i < FAULT_UNITS; i++) {
        int64_t at = (int64_t)i * FAULT_UNIT;

        b->must[i] = unit_is_dirty(job_bits(run, job), i) &&
                     memcmp(copy + at, now + at, FAULT_UNIT);
    }
}

/* What the bitmap must say from now on. */
static void bitmap_ended(Run *run, const TrackedJob *job, bool ok)
{
    FaultBitmap *b = fault_model_bitmap(&run->model, job->bitmap);

    if (!ok && job->mode == BITMAP_SYNC_MODE_ALWAYS) {
        check_forgotten(run, job);
        if (job->mirror) {
            must_as_mirrored(run, job, b);
        }
    } else if (ok && job->mirror && job->mode != BITMAP_SYNC_MODE_NEVER) {
        memset(b->must, 0, sizeof(b->must));
    }
    if (!job->mirror && (job->mode == BITMAP_SYNC_MODE_ALWAYS ||
                         (ok && job->mode == BITMAP_SYNC_MODE_ON_SUCCESS))) {
        memcpy(b->must, job->since, sizeof(b->must));
    }
}

static void check_bits(const FaultModel *m, BlockDriverState *bs,
                       bool lost, bool unread, bool closed);

static void job_ended(Run *run, const char *id, bool ok)
{
    TrackedJob *job = run->job;

    if (!job || strcmp(job->id, id)) {
        return;
    }
    if (*job->bitmap) {
        bitmap_ended(run, job, ok);
    }
    if (job->mirror && ok) {
        check_mirrored(job);
    }
    if (job->mirror && guest_has_moved(run)) {
        g_assert(ok);
        /* The bitmaps stay with the old disk. */
        check_bits(&run->model, bdrv_find_node("disk"), false, run->unread,
                   false);
        run->model.n_bitmaps = 0;
    }
    g_clear_pointer(&run->job, g_free);
}

/* What a job is waited for, or what ends it. */
typedef enum JobEnd {
    END_READY,    /* it is ready, or has ended before */
    END_WAIT,     /* itself */
    END_FORCE,    /* a cancel by force */
    END_CANCEL,   /* a cancel when it is ready */
    END_COMPLETE, /* its completion */
} JobEnd;

static int ignored; /* errors of the job */

static void count_ignored(BlockJob *job, bool is_read, BlockErrorAction action,
                          int64_t offset, int64_t bytes)
{
    ignored += action == BLOCK_ERROR_ACTION_IGNORE;
}

/* After errors it goes on a few times. */
static void steer_job(Job *job, JobEnd *end, int *resumed)
{
    if (job->user_paused) {
        job_user_resume(job, NULL);
        ++*resumed;
    }
    if (*resumed + ignored >= MAX_RESUMED && !job->force_cancel) {
        job_user_cancel(job, true, NULL);
    }
    if (*end >= END_CANCEL && job_is_ready(job)) {
        bool ok = *end == END_CANCEL ? job_user_cancel(job, false, NULL)
                                     : job_complete(job, NULL);

        *end = ok ? END_WAIT : *end;
        *resumed += !ok; /* it could not open the backing file: again */
    }
}

static bool reached(const Job *job, JobEnd end)
{
    return job->status == JOB_STATUS_CONCLUDED ||
           (end == END_READY && job->status == JOB_STATUS_READY);
}

static bool wait_job(Run *run, const char *id, JobEnd end, Error **errp)
{
    Job *job = job_get(id);
    int resumed = 0;
    bool ok;

    if (!job) {
        error_setg(errp, "no job '%s'", id);
        return false;
    }
    ignored = 0;
    block_job_error_hook = count_ignored;
    if (end == END_FORCE) {
        job_user_cancel(job, true, NULL);
    }
    for (int i = 0; !reached(job, end); i++) {
        g_assert_cmpint(i, <, MAX_TURNS);
        steer_job(job, &end, &resumed);
        if (!reached(job, end)) {
            /* A job that was resumed may have paused at once. */
            aio_poll(aio_main_context(),
                     !job->user_paused && !(end >= END_CANCEL &&
                                            job_is_ready(job)));
        }
    }
    if (end == END_READY) {
        return true;
    }
    ok = job->ret == 0;
    if (!ok) {
        error_setg_errno(errp, -job->ret, "job '%s'", id);
    }
    job_ended(run, id, ok);
    job_dismiss(&job, &error_abort);
    return ok;
}

/* --- lines --- */

static bool run_qmp(Run *run, const char *line, Error **errp)
{
    g_autofree char *text = g_strdelimit(g_strdup(line), "'", '"');
    struct json_object *request = json_tokener_parse(text);
    struct json_object *answer, *error;
    bool ok;

    if (!request) {
        g_error("not JSON: %s", text);
    }
    aio_main_hold(); /* as from a monitor: ends of jobs wait */
    answer = qmp_dispatch(qmp_program_table(), request, false);
    aio_main_release();
    ok = !json_object_object_get_ex(answer, "error", &error);
    if (ok) {
        track(run, member(request, "execute"),
              json_object_object_get(request, "arguments"));
    } else {
        error_setg(errp, "%s", member(error, "desc"));
    }
    json_object_put(answer);
    json_object_put(request);
    return ok;
}

static bool run_check(const char *node, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(NULL, node, errp);
    BdrvCheckResult result = { 0 };
    int ret;

    if (!bs) {
        return false;
    }
    ret = bdrv_check(bs, &result, BDRV_FIX_ERRORS | BDRV_FIX_LEAKS);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "check failed");
    }
    return ret == 0;
}

static bool run_words(Run *run, const char *line, Error **errp)
{
    g_auto(GStrv) w = g_strsplit(line, " ", 5);
    int n = g_strv_length(w);

    if (!strcmp(w[0], "attach") && n == 2) {
        return attach(run, w[1], errp);
    } else if (!strcmp(w[0], "detach")) {
        detach(run);
        return true;
    } else if (!strcmp(w[0], "write") && n == 4) {
        return guest_write(run, atoi(w[1]) * KiB, atoi(w[2]) * KiB,
                           atoi(w[3]), errp);
    } else if (!strcmp(w[0], "discard") && n == 3) {
        return guest_discard(run, atoi(w[1]) * KiB, atoi(w[2]) * KiB, errp);
    } else if (!strcmp(w[0], "flush")) {
        return guest_flush(run, errp);
    } else if (!strcmp(w[0], "ready") && n == 2) {
        return wait_job(run, w[1], END_READY, errp);
    } else if (!strcmp(w[0], "wait") && n == 2) {
        return wait_job(run, w[1], END_WAIT, errp);
    } else if (!strcmp(w[0], "cancel") && n == 2) {
        return wait_job(run, w[1], END_FORCE, errp);
    } else if (!strcmp(w[0], "end") && n == 2) {
        return wait_job(run, w[1], END_CANCEL, errp);
    } else if (!strcmp(w[0], "complete") && n == 2) {
        return wait_job(run, w[1], END_COMPLETE, errp);
    } else if (!strcmp(w[0], "check") && n == 2) {
        return run_check(w[1], errp);
    }
    g_error("no such line: %s", line);
}

static void run_lines(Run *run, const char *part)
{
    g_auto(GStrv) lines = g_strsplit(part, "\n", -1);

    for (char **p = lines; *p; p++) {
        Error *err = NULL;
        bool ok;

        if (!**p) {
            continue;
        }
        ok = **p == '{' ? run_qmp(run, *p, &err) : run_words(run, *p, &err);
        g_assert(ok == !err);
        if (!ok && !run->armed) {
            g_error("%s: %s", *p, error_get_pretty(err));
        }
        if (!ok) {
            const char *text = error_get_pretty(err);

            g_assert(*text && !strchr(text, '\n'));
            g_test_message("%s: %s", *p, text);
        }
        error_free(err);
    }
}

/* --- the end --- */

/* @lost: it may not have been stored; @unread: not been loaded. */
static void check_bits(const FaultModel *m, BlockDriverState *bs,
                       bool lost, bool unread, bool closed)
{
    for (int i = 0; i < m->n_bitmaps; i++) {
        const FaultBitmap *b = &m->bitmaps[i];
        BdrvDirtyBitmap *bitmap = NULL;

        for (BlockDriverState *p = bs; p && !bitmap;) {
            BdrvChild *c = bdrv_filter_or_cow_child(p);

            bitmap = bdrv_dirty_bitmap_find(p, b->name);
            p = c ? c->bs : NULL;
        }
        if (closed && !b->persistent) {
            g_assert_null(bitmap);
            continue;
        }
        if (!bitmap && !lost) {
            g_error("bitmap '%s' is gone", b->name);
        }
        if (!bitmap || bdrv_dirty_bitmap_inconsistent(bitmap)) {
            if (!lost && !unread) {
                g_error("bitmap '%s' is inconsistent", b->name);
            }
            continue;
        }
        for (int u = 0; u < FAULT_UNITS; u++) {
            if (b->must[u] && !hbitmap_get(bdrv_dirty_bitmap_hbitmap(bitmap),
                                           (int64_t)u * FAULT_UNIT)) {
                g_error("bitmap '%s' has lost unit %d", b->name, u);
            }
        }
    }
}

static void check_open_disk(Run *run)
{
    g_autofree uint8_t *buf = g_malloc(FAULT_DISK_BYTES);

    if (!run->guest || !blk_bs(run->guest)) {
        return;
    }
    fault_suspend();
    read_all(run->guest, buf);
    fault_model_check(&run->model, buf, false);
    check_bits(&run->model, blk_bs(run->guest), false, run->unread, false);
    g_free(run->top);
    run->top = g_strdup(bdrv_skip_filters(blk_bs(run->guest))->filename);
    fault_resume();
}

static void close_all(Run *run)
{
    detach(run);
    blk_exp_close_all();
    job_cancel_sync_all();
    bdrv_close_all();
    g_clear_pointer(&run->job, g_free);
    g_assert_null(job_next(NULL));
    g_assert_null(bdrv_next_node(NULL));
}

static void check_image(const char *name, void *opaque)
{
    BlockDriverState *bs;
    BdrvCheckResult result = { 0 };
    BlockDriverInfo info = { 0 };
    Error *err = NULL;

    if (!g_str_has_suffix(name, ".qcow2")) {
        return;
    }
    bs = bdrv_open_file(name, "qcow2", BDRV_O_CHECK | BDRV_O_NO_BACKING |
                                       BDRV_O_RDWR, &err);
    if (!bs) {
        /* A creation that failed leaves what is no image. */
        g_assert_nonnull(g_strrstr(name, "new"));
        error_free(err);
        return;
    }
    if (bdrv_get_info(bs, &info) == 0 && info.is_dirty) {
        /* With lazy refcounts they are made anew at the next opening. */
        g_assert_cmpint(bdrv_check(bs, &result, BDRV_FIX_ERRORS), ==, 0);
        result = (BdrvCheckResult) { 0 };
    }
    g_assert_cmpint(bdrv_check(bs, &result, 0), ==, 0);
    g_assert_cmpint(result.check_errors, ==, 0);
    g_assert_cmpint(result.corruptions, ==, 0);
    bdrv_unref(bs);
}

/* A raw disk has its bitmaps in "side.qcow2", which may have to follow it. */
static BlockDriverState *open_closed_disk(const char *name)
{
    struct json_object *options;
    BlockDriverState *bs;

    if (!g_str_has_suffix(name, ".img")) {
        return bdrv_open_file(name, "qcow2", 0, &error_abort);
    }
    options = json_tokener_parse(
        "{\"driver\": \"tracked\", \"file\": {\"driver\": \"file\", "
        "\"filename\": \"disk.img\"}, \"bitmaps\": {\"driver\": \"qcow2\", "
        "\"file\": {\"driver\": \"file\", \"filename\": \"side.qcow2\"}}}");
    bs = bdrv_open_json(options, false, BDRV_O_RDWR, &error_abort);
    json_object_put(options);
    return bs;
}

/* @lost: the fault may have kept what was cached from being written. */
static void check_closed_disk(Run *run, bool lost)
{
    g_autofree uint8_t *buf = g_malloc(FAULT_DISK_BYTES);
    g_autoptr(BlockDriverState) bs = NULL;
    BlockBackend *blk;

    if (!run->top) {
        return;
    }
    bs = open_closed_disk(run->top);
    blk = blk_new_with_bs(bs, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL,
                          &error_abort);
    read_all(blk, buf);
    fault_model_check(&run->model, buf, lost);
    check_bits(&run->model, blk_bs(blk), lost, run->unread, true);
    blk_unref(blk);
}

static void run_once(Run *run, char **parts, FaultKind kind, unsigned n,
                     bool stays)
{
    bool before_close;

    fault_disks_restore();
    run->model = run->saved_model;
    g_clear_pointer(&run->top, g_free);
    run->armed = false;
    run_lines(run, parts[1]);
    run->armed = true;
    run->unread = kind == FAULT_READ || kind == FAULT_ALLOC;
    fault_arm(kind, n, stays);
    run_lines(run, parts[2]);
    before_close = fault_fired();
    check_open_disk(run);
    close_all(run);
    fault_disarm();
    fault_disks_foreach(check_image, NULL);
    check_closed_disk(run, fault_fired() && (stays || !before_close));
}

/* FAULT_STEP=N: only each Nth point, for builds in which all take too long. */
static unsigned step_of_points(void)
{
    const char *text = g_getenv("FAULT_STEP");

    return text ? MAX(g_ascii_strtoull(text, NULL, 10), 1) : 1;
}

unsigned fault_script_run(const FaultScript *script, FaultKind kind,
                          bool stays)
{
    unsigned step = step_of_points();
    g_auto(GStrv) parts = g_strsplit(script->text, "---\n", 3);
    Run run = { 0 };
    unsigned n = kind % step;

    g_assert_cmpint(g_strv_length(parts), ==, 3);
    fault_disks_clear();
    fault_model_init(&run.model);
    run_lines(&run, parts[0]);
    close_all(&run);
    fault_disks_save();
    run.saved_model = run.model;
    for (n++;; n += step) {
        g_test_message("%s: %s %u%s", script->name, fault_kind_names[kind], n,
                       stays ? " and all after it" : "");
        run_once(&run, parts, kind, n, stays);
        if (!fault_fired()) {
            break;
        }
    }
    fault_disks_clear();
    g_free(run.top);
    return n - 1;
}
