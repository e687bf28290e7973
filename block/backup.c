/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The backup job.
 *
 * create   (source drained) the bitmap is frozen, the filter inserted, todo is
 *          determined: this is the point in time of the copy
 * run      copies what is left, and retries after errors as the policy says;
 *          pausing ends the call of the copy engine, resuming begins another
 * flush    the job alone makes the target durable, so a success waits for it;
 *          a failure does if bits of copied data are to be cleared (always)
 * end      commit or abort: the bitmap; clean: the filter is removed
 */
#include "qemu/osdep.h"
#include "block/backup.h"
#include "block/copy-before-write.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/job-bitmap.h"

#define DEFAULT_CHECKPOINT_MS 5000

typedef struct BackupJob {
    BlockJob common;
    BlockDriverState *cbw;    /* held by `attached` */
    Transaction *attached;    /* held for the whole life of the job */
    BlockDriverState *target; /* referenced by an edge */
    BlockCopyState *copy;
    JobBitmap bitmap;
    MirrorSyncMode sync;
    BlockdevOnError on_source_error, on_target_error;
    int64_t len;
    int max_workers;
    int64_t max_chunk;
    bool ran;
    uint64_t lost_base; /* bdrv_lost_writes_base() of the target */
    bool in_checkpoint;
    bool flush_failed; /* permanently: the lost data cannot be determined */
    /* All but these bits is on stable storage; NULL: not known. */
    HBitmap *left;
} BackupJob;

static BackupJob *to_backup(Job *job)
{
    return container_of(job, BackupJob, common.job);
}

/* --- running --- */

static void describe(BlockJob *job, const BlockCopyError *error,
                     Error **errp)
{
    block_copy_error_set(to_backup(&job->job)->copy, error, errp);
}

/* 0, or -errno with @errp if the snapshot has become incomplete. */
static int check_broken(BackupJob *s, Error **errp)
{
    const BlockCopyError *error = cbw_broken(s->cbw);

    if (!error || job_is_cancelled(&s->common.job)) {
        return 0;
    }
    block_job_error_action(&s->common, BLOCKDEV_ON_ERROR_REPORT, error);
    block_copy_error_set(s->copy, error, errp);
    error_prepend(errp, "Data that a write was about to change could not be "
                  "saved: ");
    return error->ret;
}

/*
 * Writes that were lost below the image formats do not come back if a retry of
 * the flush succeeds; nor can they be copied again, since the source has
 * changed.
 */
static bool has_lost_data(const BackupJob *s, Error **errp)
{
    return block_job_has_lost(s->target, s->lost_base, errp);
}

/*
 * All is copied; it must be durable, too, before dirty bits are cleared.
 * -EAGAIN: copy what is left, then flush again.
 */
static int coroutine_fn finish(BlockJob *job, Error **errp)
{
    BackupJob *s = to_backup(&job->job);
    BlockCopyError error = {.ret = -EIO};
    bool lost;
    int ret;

    job_bitmap_before_flush(&s->bitmap);
    ret = bdrv_co_flush(s->target);
    lost = has_lost_data(s, NULL);
    if (ret < 0) {
        error.ret = ret;
    }
    if (ret == 0 && !lost) {
        s->left = block_copy_left(s->copy);
        return 0;
    }
    if (job_is_cancelled(&job->job)) {
        s->flush_failed = true;
        return error.ret;
    }
    if (block_job_forgive(job, lost ? BLOCKDEV_ON_ERROR_REPORT
                                    : s->on_target_error, &error)) {
        return -EAGAIN;
    }
    s->flush_failed = true;
    if ((ret < 0 && !bdrv_next_child(s->target, NULL)) ||
        !has_lost_data(s, errp)) {
        error_setg_errno(errp, -error.ret, "Flushing node '%s' failed",
                         s->target->node_name);
    }
    return error.ret;
}

static bool is_broken(BlockJob *job)
{
    return cbw_broken(to_backup(&job->job)->cbw) != NULL;
}

/*
 * BlockCopyState.hook.  If the target cannot be flushed, the job meets the
 * error at its end.
 */
static void coroutine_fn checkpoint(void *opaque)
{
    BackupJob *s = opaque;
    uint64_t copied, total;
    g_autoptr(HBitmap) left = NULL;

    progress_get(&s->common.job.progress, &copied, &total);
    if (s->in_checkpoint || !job_bitmap_checkpoint_due(&s->bitmap, copied)) {
        return;
    }
    s->in_checkpoint = true;
    left = block_copy_left(s->copy);
    job_bitmap_before_flush(&s->bitmap);
    if (left && bdrv_co_flush(s->target) == 0 && !has_lost_data(s, NULL)) {
        job_bitmap_checkpoint(&s->bitmap, left, copied);
    }
    s->in_checkpoint = false;
}

static void begin_checkpoints(BackupJob *s)
{
    if (job_bitmap_has_checkpoints(&s->bitmap)) {
        block_copy_set_hook(s->copy, checkpoint, s);
    }
}

static int coroutine_fn copy_left(BackupJob *s, Error **errp)
{
    BlockCopyParams params = {
        .bytes = s->len,
        .max_workers = s->max_workers,
        .max_chunk = s->max_chunk,
    };
    BlockCopyCall *call = block_copy_call_new(s->copy, &params);
    BlockJobCopy copy = {
        .copier = block_copy_call_copier(call),
        .on_source_error = s->on_source_error,
        .on_target_error = s->on_target_error,
        .target = s->target,
        .lost_base = s->lost_base,
        .broken = is_broken,
        .finish = finish,
        .describe = describe,
    };
    int ret = block_job_copy(&s->common, &copy, errp);

    block_copy_call_free(call);
    return ret == 0 ? check_broken(s, errp) : ret;
}

/* sync=top: ranges that the topmost image does not allocate are not copied. */
static int coroutine_fn drop_unallocated(BackupJob *s, Error **errp)
{
    Job *job = &s->common.job;
    int64_t offset = 0;

    while (offset < s->len && !job_is_cancelled(job)) {
        int64_t n = block_copy_reset_unallocated(s->copy, offset);

        if (n < 0) {
            BlockCopyError error = {
                .ret = n, .is_read = true, .offset = offset,
                .bytes = MIN(block_copy_cluster_size(s->copy),
                             s->len - offset),
            };

            if (!block_job_forgive(&s->common, s->on_source_error, &error)) {
                describe(&s->common, &error, errp);
                return n;
            }
            n = 0;
        }
        offset += n;
        job_pause_point(job);
        co_yield_to_loop();
    }
    return 0;
}

static int coroutine_fn backup_copy(BackupJob *s, Error **errp)
{
    Job *job = &s->common.job;
    int ret = 0;

    if (s->sync == MIRROR_SYNC_MODE_NONE) {
        /* Only guest writes cause copies, until the job is cancelled. */
        while (!job_is_cancelled(job) && !cbw_broken(s->cbw)) {
            job_yield(job);
        }
        return check_broken(s, errp);
    }
    if (s->sync == MIRROR_SYNC_MODE_TOP) {
        ret = drop_unallocated(s, errp);
    }
    return ret < 0 ? ret : copy_left(s, errp);
}

/*
 * Data copied before the flush began is durable after it.  Data that guest
 * writes have saved since is not, and counts as left: those ranges were
 * written, so most of them are dirty anyway.
 */
static void coroutine_fn make_durable(BackupJob *s)
{
    HBitmap *left = block_copy_left(s->copy);

    job_bitmap_before_flush(&s->bitmap);
    if (bdrv_co_flush(s->target) == 0 && !has_lost_data(s, NULL)) {
        s->left = left;
    } else {
        hbitmap_free(left);
    }
}

static void cancel_target(void *opaque)
{
    BackupJob *s = opaque;

    bdrv_cancel_in_flight(s->target, NULL);
}

/*
 * The job fails, or is cancelled.  The main thread will wait for the guest's
 * writes in flight: they do not wait for a target any more that may not answer.
 */
static void coroutine_fn give_up(BackupJob *s)
{
    cbw_abandon(s->cbw);
    if (block_copy_in_flight(s->copy)) {
        bdrv_run_outside(cancel_target, s);
        block_copy_wait(s->copy);
    }
}

static int coroutine_fn backup_run(Job *job, Error **errp)
{
    BackupJob *s = to_backup(job);
    int ret;

    s->ran = true;
    s->lost_base = bdrv_lost_writes_base(s->target);
    begin_checkpoints(s);
    ret = backup_copy(s, errp);
    if (ret < 0 || job_is_cancelled(job)) {
        give_up(s);
    }
    if (!s->left && !s->flush_failed && s->bitmap.bitmap &&
        s->bitmap.mode == BITMAP_SYNC_MODE_ALWAYS) {
        make_durable(s);
    }
    return ret;
}

/* --- steering --- */

/* The old data has become incomplete, so copying is pointless. */
static void backup_broken(void *opaque)
{
    BackupJob *s = opaque;

    block_job_stop_copying(&s->common);
    job_wake(&s->common.job);
}

static bool backup_cancel(Job *job, bool force)
{
    BackupJob *s = to_backup(job);

    /* Do not wait for an unresponsive target, nor fail guest writes for it. */
    cbw_abandon(s->cbw);
    block_job_abandon(&s->common, s->target);
    return block_job_cancel(job, force);
}

/* --- the end --- */

static void backup_commit(Job *job)
{
    job_bitmap_finish(&to_backup(job)->bitmap, true, NULL);
}

/* The bitmap is restored as if a job that never ran had not existed. */
static void backup_abort(Job *job)
{
    BackupJob *s = to_backup(job);

    if (s->ran && !s->left) {
        job_bitmap_lose(&s->bitmap);
    } else {
        job_bitmap_finish(&s->bitmap, false, s->left);
    }
}

static void backup_clean(Job *job)
{
    BackupJob *s = to_backup(job);

    block_job_await(&s->common, s->target);
    hbitmap_free(g_steal_pointer(&s->left));
    block_copy_set_progress(s->copy, NULL);
    cbw_set_broken_hook(s->cbw, NULL, NULL);
    block_job_remove_all_bdrv(&s->common);
    block_job_let_go(&s->attached);
    s->cbw = NULL;
    s->copy = NULL;
    block_job_end_limits(&s->common);
}

static const JobDriver backup_driver = {
    .instance_size = sizeof(BackupJob),
    .kind = JOB_KIND_BLOCK,
    .type = JOB_TYPE_BACKUP,
    .run = backup_run,
    .pause = block_job_pause,
    .user_resume = block_job_user_resume,
    .commit = backup_commit,
    .abort = backup_abort,
    .clean = backup_clean,
    .cancel = backup_cancel,
    .set_speed = block_job_set_speed,
    .free = block_job_free,
};

/* --- creation --- */

static bool can_compress(BlockDriverState *bs)
{
    bs = bdrv_skip_filters(bs);
    return bdrv_supports_compression(bs);
}

static bool check_nodes(BlockDriverState *source, BlockDriverState *target,
                        const BackupCommon *o, Error **errp)
{
    if (source == target) {
        error_setg(errp, "Source and target cannot be the same");
        return false;
    }
    if (o->compress && !can_compress(target)) {
        error_setg(errp, "Compression is not supported for this drive %s",
                   bdrv_get_device_name(target));
        return false;
    }
    return bdrv_op_check(source, errp) && bdrv_op_check(target, errp) &&
           block_job_check_lost(target, errp);
}

static bool check_perf(const BackupPerf *perf, Error **errp)
{
    if (perf && (perf->max_workers < 1 || perf->max_workers > INT_MAX)) {
        error_setg(errp, "max-workers must be between 1 and %d", INT_MAX);
        return false;
    }
    if (perf && perf->max_chunk < 0) {
        error_setg(errp, "max-chunk must be zero (which means no limit) or "
                   "positive");
        return false;
    }
    return true;
}

static void undo_cbw(void *opaque)
{
    BlockDriverState *cbw = opaque;

    cbw_drop(cbw);
    bdrv_unref(cbw);
}

static const TransactionActionDrv cbw_step = {.abort = undo_cbw};

/* Inserts the filter; it stays until @tran is aborted. */
static BlockDriverState *insert_cbw(BlockDriverState *source,
                                    BlockDriverState *target,
                                    const BackupCommon *o, Transaction *tran,
                                    Error **errp)
{
    BlockdevRef file = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = source->node_name,
    };
    BlockdevRef to = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = target->node_name,
    };
    BlockdevOptions options = {
        .driver = BLOCKDEV_DRIVER_COPY_BEFORE_WRITE,
        .node_name = o->filter_node_name,
        .u.copy_before_write = {
            .file = &file,
            .target = &to,
            .has_on_cbw_error = true,
            .on_cbw_error = o->on_cbw_error,
            .has_cbw_timeout = true,
            .has_min_cluster_size = true,
            .min_cluster_size = o->x_perf ? o->x_perf->min_cluster_size : 0,
        },
    };
    BlockDriverState *cbw = bdrv_insert_node(source, &options, errp);

    if (cbw) {
        tran_add(tran, &cbw_step, bdrv_ref(cbw));
    }
    return cbw;
}

static bool check_chunk(BlockCopyState *copy, const BackupPerf *perf,
                        Error **errp)
{
    int64_t cluster = block_copy_cluster_size(copy);

    if (perf && perf->max_chunk && perf->max_chunk < cluster) {
        error_setg(errp, "Required max-chunk (%" PRId64 ") is less than "
                   "backup cluster size (%" PRId64 ")", perf->max_chunk,
                   cluster);
        return false;
    }
    return true;
}

static void fill_job(BackupJob *s, BlockDriverState *cbw,
                     const BackupCommon *o, const JobBitmap *bitmap)
{
    const BackupPerf *perf = o->x_perf;

    s->cbw = cbw;
    s->copy = cbw_block_copy(cbw);
    s->bitmap = *bitmap;
    s->sync = o->sync;
    s->on_source_error = o->on_source_error;
    s->on_target_error = o->on_target_error;
    s->len = hbitmap_size(block_copy_todo(s->copy));
    s->max_workers = perf ? perf->max_workers : 64;
    s->max_chunk = perf ? perf->max_chunk : 0;
    block_copy_set_method(s->copy, perf && perf->use_copy_range, o->compress);
    block_copy_set_whole(s->copy, o->sync == MIRROR_SYNC_MODE_FULL);
    block_copy_set_skip_unallocated(s->copy,
                                    o->sync == MIRROR_SYNC_MODE_TOP);
    if (bitmap->selects) {
        block_copy_set_todo(s->copy, job_bitmap_bits(bitmap));
    }
    block_copy_set_progress(s->copy, &s->common.job.progress);
    cbw_set_broken_hook(cbw, backup_broken, s);
    job_bitmap_remember(&s->bitmap, s->target, s->common.job.id);
}

/* Creates the job over @cbw; NULL with @errp. */
static BackupJob *create_over(BlockDriverState *cbw, BlockDriverState *target,
                              const BackupCommon *o, JobTxn *txn,
                              Error **errp)
{
    BlockJobParams params = {
        .id = o->job_id,
        .driver = &backup_driver,
        .txn = txn,
        .bs = cbw,
        .speed = o->speed,
        .flags = job_flags(o->auto_finalize, o->auto_dismiss),
    };
    BlockJob *job;

    if (!check_chunk(cbw_block_copy(cbw), o->x_perf, errp)) {
        return NULL;
    }
    job = block_job_create(&params, errp);
    if (!job) {
        return NULL;
    }
    if (!block_job_add_bdrv(job, "target", target, 0, BLK_PERM_ALL, errp)) {
        job_early_fail(&job->job);
        return NULL;
    }
    return container_of(job, BackupJob, common);
}

static void undo_freeze(void *opaque)
{
    job_bitmap_finish(opaque, false, NULL);
}

static const TransactionActionDrv freeze_step = {.abort = undo_freeze};

/* Makes the bitmap busy; if @tran is aborted its former state is restored. */
static bool freeze_bitmap(JobBitmap *bitmap, Transaction *tran,
                          Error **errp)
{
    if (!job_bitmap_freeze(bitmap, errp)) {
        return false;
    }
    tran_add(tran, &freeze_step, bitmap);
    return true;
}

static JobBitmapParams bitmap_params(const BackupCommon *o)
{
    return (JobBitmapParams) {
        .sync = o->sync,
        .name = o->bitmap,
        .has_mode = o->has_bitmap_mode,
        .mode = o->bitmap_mode,
        .allow_other_target = o->allow_other_target,
        .checkpoint_ms = o->x_perf ? o->x_perf->checkpoint_interval
                                   : DEFAULT_CHECKPOINT_MS,
    };
}

bool backup_job_check_new_target(BlockDriverState *source,
                                 const BackupCommon *o, Error **errp)
{
    JobBitmapParams params = bitmap_params(o);
    JobBitmap bitmap;

    return !job_bitmap_find(&bitmap, source, &params, NULL) ||
           job_bitmap_check_target(&bitmap, NULL, errp);
}

Job *backup_job_create(BlockDriverState *source, BlockDriverState *target,
                       const BackupCommon *o, JobTxn *txn, Error **errp)
{
    JobBitmapParams params = bitmap_params(o);
    Transaction *creating, *attached;
    BlockDriverState *cbw = NULL;
    JobBitmap bitmap;
    BackupJob *s = NULL;

    if (!job_bitmap_find(&bitmap, source, &params, errp) ||
        !check_nodes(source, target, o, errp) ||
        !check_perf(o->x_perf, errp) ||
        !block_job_check_sizes(source, target, errp) ||
        !job_bitmap_check_target(&bitmap, target, errp)) {
        return NULL;
    }
    creating = tran_new();
    attached = tran_new();
    if (freeze_bitmap(&bitmap, creating, errp)) {
        cbw = insert_cbw(source, target, o, attached, errp);
    }
    if (cbw) {
        s = create_over(cbw, target, o, txn, errp);
    }
    if (!s) {
        tran_abort(attached);
        tran_abort(creating);
        return NULL;
    }
    tran_commit(creating);
    s->attached = attached;
    s->target = target;
    fill_job(s, cbw, o, &bitmap);
    return &s->common.job;
}
