/* SPDX-License-Identifier: GPL-2.0-or-later */
/* x-blockdev-amend: changes of an image's format options as a job. */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/amend-job.h"
#include "block/block-backend.h"
#include "block/graph.h"
#include "block/io.h"
#include "qapi/qapi-types-block-image.h"

typedef struct AmendJob {
    Job job;
    BlockBackend *blk; /* NULL: the work is done */
    BlockdevAmendOptions *options;
    bool force;
    BdrvAmend change;
    Error **errp;
    int ret;
} AmendJob;

/* False: the format has no such thing. */
static bool take_qcow2(const BlockDriverState *bs, BdrvAmend *change,
                       const BlockdevAmendOptionsQcow2 *o, Error **errp)
{
    if (o->encrypt && !bs->encrypted) {
        error_setg(errp, "image is not encrypted, can't amend");
        return false;
    }
    if (o->encrypt && o->encrypt->format != QCRYPTO_BLOCK_FORMAT_LUKS) {
        error_setg(errp, "Amend can't be used to change the qcow2 encryption "
                   "format");
        return false;
    }
    change->luks = o->encrypt ? &o->encrypt->u.luks : NULL;
    if (o->has_version) {
        change->version = o->version == BLOCKDEV_QCOW2_VERSION_V2 ? 2 : 3;
    }
    if (o->has_lazy_refcounts) {
        change->lazy_refcounts = o->lazy_refcounts;
    }
    if (o->has_refcount_bits) {
        change->refcount_bits = o->refcount_bits > 0 && o->refcount_bits <= 64
            ? o->refcount_bits : INT_MAX; /* which the driver refuses */
    }
    return true;
}

static bool take_options(AmendJob *s, Error **errp)
{
    BdrvAmend *change = &s->change;
    const BlockdevAmendOptions *o = s->options;

    *change = (BdrvAmend) { .lazy_refcounts = -1, .force = s->force };
    switch (o->driver) {
    case BLOCKDEV_DRIVER_LUKS:
        change->luks = qapi_BlockdevAmendOptionsLUKS_base(&o->u.luks);
        return true;
    case BLOCKDEV_DRIVER_QCOW2:
        return take_qcow2(blk_bs(s->blk), change, &o->u.qcow2, errp);
    default:
        return true; /* it has no options */
    }
}

/* Keys are beside the disk. */
static bool changes_disk(const BdrvAmend *change)
{
    return change->version || change->lazy_refcounts >= 0 ||
           change->refcount_bits;
}

static void coroutine_fn amend_entry(void *opaque)
{
    AmendJob *s = opaque;
    BlockDriverState *bs = blk_bs(s->blk);

    bdrv_inc_in_flight(bs);
    s->ret = bs->drv->co_amend(bs, &s->change, s->errp);
    bdrv_dec_in_flight(bs);
}

/*
 * The node is drained, but for new keys: the work goes through the disk, and
 * what the new version cannot hold must not come in behind it.
 */
static int coroutine_fn amend(AmendJob *s, Error **errp)
{
    BlockDriverState *bs = blk_bs(s->blk);

    bool drain;

    if (!take_options(s, errp)) {
        return -ENOTSUP;
    }
    drain = changes_disk(&s->change);
    if (!drain && !s->change.luks) {
        return 0;
    }
    if (!bdrv_check_active(bs, errp)) {
        return -EPERM;
    }
    if (bdrv_is_read_only(bs)) {
        error_setg(errp, "Node '%s' is read-only", bs->node_name);
        return -EACCES;
    }
    s->errp = errp;
    if (drain) {
        bdrv_drained_begin(bs);
    }
    aio_run_co(blk_get_aio_context(s->blk), amend_entry, s);
    if (drain) {
        bdrv_drained_end(bs);
    }
    return s->ret;
}

static int coroutine_fn amend_job_run(Job *job, Error **errp)
{
    AmendJob *s = container_of(job, AmendJob, job);
    int ret;

    progress_set_remaining(&job->progress, 1);
    ret = amend(s, errp);
    progress_done(&job->progress, 1);
    blk_unref(g_steal_pointer(&s->blk));
    return ret;
}

static void amend_job_free(Job *job)
{
    AmendJob *s = container_of(job, AmendJob, job);

    if (s->blk) {
        blk_unref(s->blk);
    }
    qapi_free_BlockdevAmendOptions(s->options);
}

static const JobDriver amend_job_driver = {
    .instance_size = sizeof(AmendJob),
    .type = JOB_TYPE_AMEND,
    .run = amend_job_run,
    .free = amend_job_free,
};

/* A handle that keeps the node, and keeps it in its thread. */
static BlockBackend *new_handle(const char *job_id, BlockDriverState *bs,
                                Error **errp)
{
    g_autofree char *user = g_strdup_printf("amend job '%s'", job_id);
    BlockBackend *blk = blk_new_unqueued(bs, 0, BLK_PERM_ALL, user, errp);

    if (blk) {
        blk_fix_aio_context(blk, true);
    }
    return blk;
}

bool amend_job_start(const char *job_id, BlockDriverState *bs,
                     const BlockdevAmendOptions *options, bool force,
                     Error **errp)
{
    BlockBackend *blk;
    Job *job;

    if (bdrv_find_driver(options->driver) != bs->drv) {
        error_setg(errp, "x-blockdev-amend doesn't support changing the "
                   "block driver");
        return false;
    }
    if (!bs->drv->co_amend) {
        error_setg(errp, "Driver does not support x-blockdev-amend");
        return false;
    }
    if (!bdrv_check_active(bs, errp)) {
        return false;
    }
    blk = new_handle(job_id, bs, errp);
    if (!blk) {
        return false;
    }
    job = job_create(job_id, &amend_job_driver, NULL, aio_main_context(),
                     JOB_MANUAL_DISMISS, errp);
    if (!job) {
        blk_unref(blk);
        return false;
    }
    container_of(job, AmendJob, job)->blk = blk;
    container_of(job, AmendJob, job)->force = force;
    container_of(job, AmendJob, job)->options =
        qapi_clone_BlockdevAmendOptions(options);
    job_start(job);
    return true;
}
