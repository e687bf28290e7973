/* SPDX-License-Identifier: GPL-2.0-or-later */
/* snapshot-save, snapshot-load, snapshot-delete: savevm and others as jobs. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "job/job.h"
#include "qapi/qapi-commands-system.h"
#include "qapi/qapi-types-builtin.h"
#include "qapi/qapi-types-savevm.h"
#include "runstate.h"
#include "savevm.h"

typedef struct SnapshotJob {
    Job job;
    char *tag, *vmstate;
    char **devices;
    bool ok;
    Error **errp;
} SnapshotJob;

static void save(void *opaque)
{
    SnapshotJob *s = opaque;

    s->ok = savevm_save(s->tag, false, s->vmstate, s->devices, s->errp);
}

static void load(void *opaque)
{
    SnapshotJob *s = opaque;
    bool running = runstate_is_running();

    vm_stop(RUN_STATE_RESTORE_VM);
    s->ok = savevm_load(s->tag, s->vmstate, s->devices, s->errp);
    if (s->ok && running) {
        vm_start();
    }
}

static void delete(void *opaque)
{
    SnapshotJob *s = opaque;

    s->ok = savevm_delete(s->tag, s->devices, s->errp);
}

static int coroutine_fn run(Job *job, void (*fn)(void *), Error **errp)
{
    SnapshotJob *s = container_of(job, SnapshotJob, job);

    progress_set_remaining(&job->progress, 1);
    s->errp = errp;
    bdrv_run_outside(fn, s);
    progress_done(&job->progress, 1);
    return s->ok ? 0 : -EINVAL;
}

static int coroutine_fn save_run(Job *job, Error **errp)
{
    return run(job, save, errp);
}

static int coroutine_fn load_run(Job *job, Error **errp)
{
    return run(job, load, errp);
}

static int coroutine_fn delete_run(Job *job, Error **errp)
{
    return run(job, delete, errp);
}

static void snapshot_job_free(Job *job)
{
    SnapshotJob *s = container_of(job, SnapshotJob, job);

    g_free(s->tag);
    g_free(s->vmstate);
    g_strfreev(s->devices);
}

static const JobDriver save_driver = {
    .instance_size = sizeof(SnapshotJob),
    .type = JOB_TYPE_SNAPSHOT_SAVE,
    .run = save_run,
    .free = snapshot_job_free,
};

static const JobDriver load_driver = {
    .instance_size = sizeof(SnapshotJob),
    .type = JOB_TYPE_SNAPSHOT_LOAD,
    .run = load_run,
    .free = snapshot_job_free,
};

static const JobDriver delete_driver = {
    .instance_size = sizeof(SnapshotJob),
    .type = JOB_TYPE_SNAPSHOT_DELETE,
    .run = delete_run,
    .free = snapshot_job_free,
};

static bool start(const JobDriver *driver, const char *id, const char *tag,
                  const char *vmstate, const strList *devices, Error **errp)
{
    Job *job = job_create(id, driver, NULL, aio_main_context(),
                          JOB_MANUAL_DISMISS, errp);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    SnapshotJob *s;

    if (!job) {
        return false;
    }
    for (; devices; devices = devices->next) {
        g_ptr_array_add(names, g_strdup(devices->value));
    }
    g_ptr_array_add(names, NULL);
    s = container_of(job, SnapshotJob, job);
    s->tag = g_strdup(tag);
    s->vmstate = g_strdup(vmstate);
    s->devices = (char **)g_ptr_array_steal(names, NULL);
    job_start(job);
    return true;
}

bool qmp_snapshot_save(SnapshotSaveArg *arg, Error **errp)
{
    return start(&save_driver, arg->job_id, arg->tag, arg->vmstate,
                 arg->devices, errp);
}

bool qmp_snapshot_load(SnapshotLoadArg *arg, Error **errp)
{
    return start(&load_driver, arg->job_id, arg->tag, arg->vmstate,
                 arg->devices, errp);
}

bool qmp_snapshot_delete(SnapshotDeleteArg *arg, Error **errp)
{
    return start(&delete_driver, arg->job_id, arg->tag, NULL, arg->devices,
                 errp);
}
