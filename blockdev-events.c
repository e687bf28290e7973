/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP events of jobs and the block layer. */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/blockjob.h"
#include "block/graph.h"
#include "blockdev-int.h"
#include "qapi/qapi-events.h"
#include "qapi/qapi-types-block-bitmap.h"
#include "qapi/qapi-types-block-job.h"

/* --- jobs --- */

static void on_status_change(Job *job, JobStatus status)
{
    qapi_event_send_job_status_change(&(JobStatusChangeEvent) {
        .id = job->id,
        .status = status,
    });
}

static void on_completed(Job *job)
{
    BlockJob *bj = block_job_of(job);
    uint64_t current, total;

    if (!bj) {
        return;
    }
    progress_get(&job->progress, &current, &total);
    qapi_event_send_block_job_completed(&(BlockJobCompletedEvent) {
        .type = job->driver->type,
        .device = job->id,
        .len = total,
        .offset = current,
        .speed = bj->speed,
        .error = job->err ? (char *)error_get_pretty(job->err) : NULL,
    });
}

static void on_cancelled(Job *job)
{
    BlockJob *bj = block_job_of(job);
    uint64_t current, total;

    if (!bj) {
        return;
    }
    progress_get(&job->progress, &current, &total);
    qapi_event_send_block_job_cancelled(&(BlockJobCancelledEvent) {
        .type = job->driver->type,
        .device = job->id,
        .len = total,
        .offset = current,
        .speed = bj->speed,
    });
}

static void on_ready(Job *job)
{
    BlockJob *bj = block_job_of(job);
    uint64_t current, total;

    if (!bj) {
        return;
    }
    progress_get(&job->progress, &current, &total);
    qapi_event_send_block_job_ready(&(BlockJobReadyEvent) {
        .type = job->driver->type,
        .device = job->id,
        .len = total,
        .offset = current,
        .speed = bj->speed,
    });
}

static void on_pending(Job *job)
{
    if (block_job_of(job)) {
        qapi_event_send_block_job_pending(&(BlockJobPendingEvent) {
            .type = job->driver->type,
            .id = job->id,
        });
    }
}

static void on_job_error(BlockJob *job, bool is_read, BlockErrorAction action,
                         int64_t offset, int64_t bytes)
{
    qapi_event_send_block_job_error(&(BlockJobErrorEvent) {
        .device = job->job.id,
        .operation = is_read ? IO_OPERATION_TYPE_READ
                             : IO_OPERATION_TYPE_WRITE,
        .action = action,
        .has_offset = bytes > 0,
        .offset = offset,
        .has_bytes = bytes > 0,
        .bytes = bytes,
    });
}

/* --- nodes --- */

static void on_image_corrupted(BlockDriverState *bs, bool fatal,
                               int64_t offset, int64_t size, const char *msg)
{
    qapi_event_send_block_image_corrupted(&(BlockImageCorruptedEvent) {
        .device = (char *)bdrv_get_device_name(bs),
        .node_name = bs->node_name,
        .msg = (char *)msg,
        .has_offset = offset >= 0,
        .offset = offset,
        .has_size = size >= 0,
        .size = size,
        .fatal = fatal,
    });
}

static void on_write_threshold(BlockDriverState *bs, uint64_t threshold,
                               uint64_t exceeded)
{
    qapi_event_send_block_write_threshold(&(BlockWriteThresholdEvent) {
        .node_name = bs->node_name,
        .amount_exceeded = exceeded,
        .write_threshold = threshold,
    });
}

static void on_bitmap_unsafe(BlockDriverState *bs, const char *bitmap,
                             const char *reason)
{
    qapi_event_send_block_dirty_bitmap_unsafe(&(BlockDirtyBitmapUnsafeEvent) {
        .node = bs->node_name,
        .name = (char *)bitmap,
        .reason = (char *)reason,
    });
}

static void on_io_error(BlockBackend *blk, bool is_read, int error,
                        BlockErrorAction action)
{
    BlockDriverState *bs = blk_bs(blk);

    qapi_event_send_block_io_error(&(BlockIoErrorEvent) {
        .device = (char *)blk_name(blk),
        .node_name = bs ? bs->node_name : NULL,
        .operation = is_read ? IO_OPERATION_TYPE_READ
                             : IO_OPERATION_TYPE_WRITE,
        .action = action,
        /* Present if query-block has an io-status, too. */
        .has_nospace = blk_iostatus_is_enabled(blk),
        .nospace = error == ENOSPC,
        .reason = strerror(error),
    });
}

/* The sectors that a range touches. */
static int64_t first_sector(int64_t offset)
{
    return offset / BDRV_SECTOR_SIZE;
}

static int64_t count_sectors(int64_t offset, int64_t bytes)
{
    return DIV_ROUND_UP(offset + bytes, BDRV_SECTOR_SIZE) -
           first_sector(offset);
}

static void on_quorum_failure(BlockDriverState *bs, int64_t offset,
                              int64_t bytes)
{
    qapi_event_send_quorum_failure(&(QuorumFailureEvent) {
        .reference = (char *)bdrv_get_device_or_node_name(bs),
        .sector_num = first_sector(offset),
        .sectors_count = count_sectors(offset, bytes),
    });
}

static void on_quorum_report_bad(QuorumOpType type, BlockDriverState *bs,
                                 int error, int64_t offset, int64_t bytes)
{
    qapi_event_send_quorum_report_bad(&(QuorumReportBadEvent) {
        .type = type,
        .error = error ? strerror(error) : NULL,
        .node_name = bs->node_name,
        .sector_num = first_sector(offset),
        .sectors_count = count_sectors(offset, bytes),
    });
}

void blockdev_init_events(void)
{
    job_event_hooks = (JobEventHooks) {
        .status_change = on_status_change,
        .completed = on_completed,
        .cancelled = on_cancelled,
        .ready = on_ready,
        .pending = on_pending,
    };
    block_job_error_hook = on_job_error;
    bdrv_event_hooks = (BdrvEventHooks) {
        .image_corrupted = on_image_corrupted,
        .write_threshold = on_write_threshold,
        .bitmap_unsafe = on_bitmap_unsafe,
        .io_error = on_io_error,
        .quorum_failure = on_quorum_failure,
        .quorum_report_bad = on_quorum_report_bad,
    };
}
