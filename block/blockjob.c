/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Jobs that hold nodes: edges, drain, speed, queries. */
#include "qemu/osdep.h"
#include "block/copier.h"
#include "block/activate.h"
#include "block/blockjob.h"
#include "block/graph.h"
#include "block/io.h"
#include "block/silence.h"
#include "qapi/qapi-types-block-job.h"

/* --- edges --- */

char *block_job_desc(const BlockJob *job)
{
    return g_strdup_printf("%s job '%s'", JobType_str(job->job.driver->type),
                           job->job.id ? job->job.id : "");
}

static char *edge_desc(BdrvChild *child)
{
    return block_job_desc(child->opaque);
}

/* For x-debug-query-block-graph. */
static const char *edge_name(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    return job->job.id;
}

static void edge_drained_begin(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    job_pause(&job->job);
    /* The job's pause waits for its requests on its other nodes, too. */
    for (guint i = 0; i < job->edges->len; i++) {
        bdrv_let_go(((BdrvChild *)job->edges->pdata[i])->bs);
    }
}

static bool edge_is_awaited(const BdrvChild *child)
{
    const BlockJob *job = child->opaque;

    if (job_is_cancelled(&job->job)) {
        return true; /* the user waits for its end */
    }
    for (guint i = 0; i < job->edges->len; i++) {
        if (((BdrvChild *)job->edges->pdata[i])->quiesced) {
            return true;
        }
    }
    return false;
}

static bool edge_drained_poll(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    return job->job.busy &&
           (job->job.settling || !job_is_completed(&job->job));
}

static void edge_drained_end(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    job_resume(&job->job);
}

/* A paused job has nothing in the loop but its timer. */
static void edge_set_aio_context(BdrvChild *child, AioContext *ctx)
{
    BlockJob *job = child->opaque;

    job_set_aio_context(&job->job, ctx);
}

static void edge_for_each(BdrvChild *child,
                          void (*fn)(BdrvChild *edge, void *opaque),
                          void *opaque)
{
    BlockJob *job = child->opaque;

    g_ptr_array_foreach(job->edges, (GFunc)(void (*)(void))fn, opaque);
    g_ptr_array_foreach(job->reads, (GFunc)(void (*)(void))fn, opaque);
}

#define EDGE_OF_JOB \
    .parent_is_job = true, .parent_desc = edge_desc, .get_name = edge_name, \
    .drained_begin = edge_drained_begin, \
    .drained_poll = edge_drained_poll, .drained_end = edge_drained_end, \
    .is_awaited = edge_is_awaited, \
    .set_aio_context = edge_set_aio_context, \
    .for_each_edge = edge_for_each

static char *edge_block_reason(BdrvChild *child)
{
    BlockJob *job = child->opaque;

    return g_strdup_printf("block device is in use by block job: %s",
                           JobType_str(job->job.driver->type));
}

static const BdrvChildClass edge_of_job = {
    .stay_at_node = true,
    .block_reason = edge_block_reason,
    EDGE_OF_JOB,
};

static const BdrvChildClass read_edge_of_job = {
    EDGE_OF_JOB,
};

bool block_job_add_bdrv(BlockJob *job, const char *name, BlockDriverState *bs,
                        uint64_t perm, uint64_t shared, Error **errp)
{
    BdrvChild *c = bdrv_check_active(bs, errp)
        ? bdrv_root_attach_child(bs, name, &edge_of_job, 0, perm, shared, job,
                                 errp) : NULL;

    if (!c) {
        return false;
    }
    g_ptr_array_add(job->edges, c);
    return true;
}

bool block_job_add_read(BlockJob *job, const char *name, BlockDriverState *bs,
                        Error **errp)
{
    BdrvChild *c = NULL;

    if (bdrv_check_active(bs, errp)) {
        c = bdrv_root_attach_child(
            bs, name, &read_edge_of_job, 0, BLK_PERM_CONSISTENT_READ,
            BLK_PERM_CONSISTENT_READ | BLK_PERM_WRITE_UNCHANGED, job, errp);
    }
    if (c) {
        g_ptr_array_add(job->reads, c);
    }
    return c != NULL;
}

void block_job_remove_all_bdrv(BlockJob *job)
{
    while (job->reads->len) {
        bdrv_root_unref_child(
            g_ptr_array_steal_index(job->reads, job->reads->len - 1));
    }
    while (job->edges->len) {
        bdrv_root_unref_child(
            g_ptr_array_steal_index(job->edges, job->edges->len - 1));
    }
}

/* --- life --- */

/* The default is the name of the device. */
static const char *id_or_device(const char *id, int flags,
                                BlockDriverState *bs)
{
    return id || (flags & JOB_INTERNAL) ? id : bdrv_get_device_name(bs);
}

bool block_job_check_id(const char *id, int flags, BlockDriverState *bs,
                        Error **errp)
{
    return job_check_id(id_or_device(id, flags, bs), flags & JOB_INTERNAL,
                        errp);
}

BlockJob *block_job_create(const BlockJobParams *params, Error **errp)
{
    BlockJob *job;
    Job *j;

    g_assert(params->driver->kind == JOB_KIND_BLOCK);
    j = job_create(id_or_device(params->id, params->flags, params->bs),
                   params->driver, params->txn, params->bs->ctx,
                   params->flags, errp);
    if (!j) {
        return NULL;
    }
    job = container_of(j, BlockJob, job);
    job->edges = g_ptr_array_new();
    job->reads = g_ptr_array_new();
    job->speed = params->speed;
    if (!block_job_add_bdrv(job, "main node", params->bs, 0, BLK_PERM_ALL,
                            errp)) {
        job_early_fail(j);
        return NULL;
    }
    if (params->speed < 0) {
        error_setg(errp, "Parameter 'speed' expects a non-negative value");
        job_early_fail(j);
        return NULL;
    }
    return job;
}

void block_job_free(Job *j)
{
    BlockJob *job = container_of(j, BlockJob, job);

    g_assert(!job->abandoned && !job->awaited);
    block_job_remove_all_bdrv(job);
    g_ptr_array_unref(job->edges);
    g_ptr_array_unref(job->reads);
}

/* Fails requests for which @co waits on nodes of @opaque, if possible. */
static void cancel_requests(Coroutine *co, void *opaque)
{
    BlockJob *job = opaque;

    for (guint i = 0; i < job->edges->len; i++) {
        bdrv_cancel_in_flight(((BdrvChild *)job->edges->pdata[i])->bs, co);
    }
}

bool block_job_cancel(Job *j, bool force)
{
    BlockJob *job = container_of(j, BlockJob, job);

    /* The copier is not stopped here: the job does that when it is woken. */
    if (job->copier) {
        copier_for_each_co(job->copier, cancel_requests, job);
    }
    if (j->co) {
        cancel_requests(j->co, job);
    }
    return true;
}

void block_job_abandon(BlockJob *job, BlockDriverState *target)
{
    if (!job->abandoned) {
        job->abandoned = bdrv_ref(target);
        bdrv_abandon_begin(target);
    }
    bdrv_cancel_in_flight(target, NULL);
}

void block_job_await(BlockJob *job, BlockDriverState *target)
{
    if (!job->awaited) {
        job->awaited = bdrv_ref(target);
        bdrv_await_begin(target);
    }
}

void block_job_end_limits(BlockJob *job)
{
    if (job->abandoned) {
        bdrv_abandon_end(job->abandoned);
        bdrv_unref(g_steal_pointer(&job->abandoned));
    }
    if (job->awaited) {
        bdrv_await_end(job->awaited);
        bdrv_unref(g_steal_pointer(&job->awaited));
    }
}

void block_job_set_speed(Job *j, int64_t speed)
{
    BlockJob *job = container_of(j, BlockJob, job);

    job->speed = speed;
    if (job->copier) {
        ratelimit_set_speed(job->copier->pacer->limit, speed);
        copy_pacer_kick(job->copier->pacer);
    }
    /* A job that sleeps because of the old speed checks again. */
    job_wake(j);
}

/* --- queries --- */

bool block_job_has_lost(BlockDriverState *target, uint64_t base, Error **errp)
{
    if (bdrv_lost_writes(target) == base) {
        return false;
    }
    if (!bdrv_next_child(target, NULL)) {
        error_setg(errp, "Writes to node '%s' may have been lost",
                   target->node_name);
    } else {
        error_setg(errp, "Writes to node '%s' may have been lost, and metadata "
                   "of its image with them: it must be opened again, and "
                   "checked", target->node_name);
    }
    return true;
}

bool block_job_check_lost(BlockDriverState *target, Error **errp)
{
    return !block_job_has_lost(target, bdrv_lost_writes_base(target), errp);
}

bool block_job_check_sizes(BlockDriverState *source, BlockDriverState *target,
                           Error **errp)
{
    int64_t len = bdrv_getlength(source), target_len = bdrv_getlength(target);

    if (len < 0 || target_len < 0) {
        error_setg_errno(errp, len < 0 ? -len : -target_len,
                         "Unable to get length for '%s'",
                         bdrv_get_device_or_node_name(len < 0 ? source
                                                              : target));
        return false;
    }
    if (len != target_len) {
        error_setg(errp, "Source and target image have different sizes");
        return false;
    }
    return true;
}

BlockJob *block_job_of(Job *j)
{
    return j->driver->kind == JOB_KIND_BLOCK ? container_of(j, BlockJob, job)
                                             : NULL;
}

BlockJob *block_job_find(const char *id, Error **errp)
{
    Job *j = job_get(id);
    BlockJob *job = j ? block_job_of(j) : NULL;

    if (!job) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_ACTIVE,
                  "Block job '%s' not found", id);
    }
    return job;
}

static BlockJobInfo *block_job_info(const BlockJob *job)
{
    const Job *j = &job->job;
    BlockJobInfo *info = g_new0(BlockJobInfo, 1);
    uint64_t current, total;

    progress_get(&j->progress, &current, &total);
    info->type = j->driver->type;
    info->device = g_strdup(j->id);
    info->len = total;
    info->offset = current;
    info->busy = j->busy;
    info->paused = j->pause_count > 0;
    info->speed = job->speed;
    info->io_status = job->iostatus;
    info->ready = job_is_ready(j);
    info->status = j->status;
    info->auto_finalize = j->auto_finalize;
    info->auto_dismiss = j->auto_dismiss;
    info->error = j->err ? g_strdup(error_get_pretty(j->err)) : NULL;
    if (job->query) {
        job->query(job, info);
    }
    return info;
}

BlockJobInfoList *block_job_query_all(void)
{
    BlockJobInfoList *head = NULL, **tail = &head;
    Job *j = NULL;

    while ((j = job_next(j))) {
        BlockJob *job = block_job_of(j);

        if (job && !job_is_internal(j)) {
            QAPI_LIST_APPEND(tail, block_job_info(job));
        }
    }
    return head;
}
