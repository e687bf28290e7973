/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A backup of some disks: the transaction, the jobs, and what they leave. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "block/graph.h"
#include "qapi/qapi-types-block-core.h"
#include "run.h"
#include "tools/common/image.h"

static DiskTask *task_at(const BackupRun *run, guint i)
{
    return run->tasks->pdata[i];
}

/* --- leftovers --- */

/* Does @name belong to the folder? Names of nodes, jobs and bitmaps do. */
static bool is_ours(const BackupRun *run, const char *name)
{
    g_autofree char *prefix = g_strdup_printf("tidemark-%s-",
                                              run->folder->set);

    return name && g_str_has_prefix(name, prefix);
}

bool backup_owns_bitmap(const BackupRun *run, const char *name)
{
    return is_ours(run, name);
}

static bool clean_nodes(const BackupRun *run, Error **errp)
{
    g_autoptr(json_object) nodes = qmp_client_call(
        run->qmp, "query-named-block-nodes", errp, "{'flat': true}");

    for (size_t i = 0; i < json_length(nodes); i++) {
        const char *name = json_get_str(json_at(nodes, i), "node-name");

        if (is_ours(run, name) &&
            !qmp_client_do(run->qmp, "blockdev-del", errp,
                           "{'node-name': %s}", name)) {
            return false;
        }
    }
    return nodes != NULL;
}

bool backup_clean_server(BackupRun *run, Error **errp)
{
    g_autofree char *prefix = g_strdup_printf("tidemark-%s-",
                                              run->folder->set);

    return jobs_cancel_all(run->qmp, prefix, errp) && clean_nodes(run, errp);
}

/* --- bitmaps --- */

static bool remove_bitmap(const BackupRun *run, const SourceDisk *source,
                          const char *name, Error **errp)
{
    return qmp_client_do(run->qmp, "block-dirty-bitmap-remove", errp,
                         "{'node': %s, 'name': %s}", source->node, name);
}

static bool equal(const char *a, const char *b)
{
    return a && b && !strcmp(a, b);
}

/* Does a whole backup in the folder begin bitmap @name? */
static bool is_beginning(const BackupRun *run, const char *name)
{
    for (guint i = 0; i < run->folder->backups->len; i++) {
        Backup *b = run->folder->backups->pdata[i];

        for (BackupDiskList *l = backup_is_whole(b) ? b->manifest->disks
                                                    : NULL; l; l = l->next) {
            if (equal(l->value->bitmap, name)) {
                return true;
            }
        }
    }
    return false;
}

/* The parent's bitmap for @d, or NULL. */
static const char *parent_bitmap(const BackupRun *run, const BackupDisk *d)
{
    Backup *parent = d->parent ? backup_folder_get(run->folder, d->parent)
                               : NULL;
    BackupDisk *below = parent && parent->manifest
                            ? manifest_find_disk(parent->manifest, d->name)
                            : NULL;

    return below ? below->bitmap : NULL;
}

/* Is the bitmap still needed, while or after @task runs? */
static bool is_needed(const BackupRun *run, const DiskTask *task,
                      const char *name)
{
    const BackupDisk *d = task->entry;

    if (equal(d->bitmap, name)) {
        return true;
    }
    if (backup_is_whole(run->backup)) {
        /* A differential backup keeps the bitmap of its parent. */
        return !d->bitmap && equal(parent_bitmap(run, d), name);
    }
    return equal(d->work_bitmap, name) || is_beginning(run, name);
}

bool backup_clean_bitmaps(BackupRun *run, Error **errp)
{
    if (!source_refresh(run->qmp, run->sources, errp)) {
        return false;
    }
    for (guint i = 0; i < run->tasks->len; i++) {
        DiskTask *task = task_at(run, i);

        for (guint j = 0; j < task->source->bitmaps->len; j++) {
            SourceBitmap *b = task->source->bitmaps->pdata[j];

            if (is_ours(run, b->name) && !b->busy &&
                (b->inconsistent || !is_needed(run, task, b->name)) &&
                !remove_bitmap(run, task->source, b->name, errp)) {
                return false;
            }
        }
    }
    return source_refresh(run->qmp, run->sources, errp);
}

/* --- the transaction --- */

/* The node of a file; a new reference. */
static json_object *file_options(const BackupDisk *d, const char *path)
{
    return json_fill("{'driver': %s,"
                     " 'file': {'driver': 'file', 'filename': %s}}",
                     backup_is_staged(d) ? "qcow2"
                                         : BackupFormat_str(d->format), path);
}

/* The node of an export, as large as the disk; a new reference. */
static json_object *export_options(const BackupDisk *d, Error **errp)
{
    bool probed;
    g_autoptr(BlockdevOptions) options = bdrv_options_from_filename(
        d->uri, "raw", BDRV_O_RDWR, &probed, errp);
    json_object *obj = options ? qapi_BlockdevOptions_to_json(options) : NULL;

    if (obj) {
        json_object_object_add(obj, "size", json_object_new_int64(d->size));
    }
    return obj;
}

static bool open_target(BackupRun *run, DiskTask *task, Error **errp)
{
    BackupDisk *d = task->entry;
    g_autofree char *path = backup_target_file(run->backup, d);
    g_autoptr(json_object) ret = NULL;
    g_autoptr(json_object) options =
        backup_is_export(d) ? export_options(d, errp) : file_options(d, path);

    if (!options) {
        return false;
    }
    json_object_object_add(options, "node-name",
                           json_object_new_string(task->target));
    ret = qmp_client_execute(run->qmp, "blockdev-add", options, errp);
    if (!ret) {
        error_prepend(errp, "%s cannot open the target '%s': ",
                      qmp_client_server(run->qmp), path);
        return false;
    }
    task->opened = true;
    return true;
}

static bool open_targets(BackupRun *run, Error **errp)
{
    for (guint i = 0; i < run->tasks->len; i++) {
        if (!open_target(run, task_at(run, i), errp)) {
            return false;
        }
    }
    return true;
}

static void add_action(json_object *actions, const char *type,
                       json_object *data)
{
    json_object *action = json_fill("{'type': %s}", type);

    json_object_object_add(action, "data", data);
    json_object_array_add(actions, action);
}

static void add_bitmap(json_object *actions, const DiskTask *task,
                       const char *name)
{
    add_action(actions, "block-dirty-bitmap-add",
               json_fill("{'node': %s, 'name': %s, 'persistent': %b,"
                         " 'granularity': %i}",
                         task->source->node, name, task->entry->persistent,
                         task->entry->granularity));
}

/* The bitmap of what is to be copied. */
static void add_work(json_object *actions, const DiskTask *task)
{
    if (task->resumed) {
        return; /* it is there */
    }
    add_bitmap(actions, task, task->entry->work_bitmap);
    if (task->base) {
        add_action(actions, "block-dirty-bitmap-merge",
                   json_fill("{'node': %s, 'target': %s, 'bitmaps': [%s]}",
                             task->source->node, task->entry->work_bitmap,
                             task->base));
    }
}

/* The bitmap that begins now. */
static void add_new(json_object *actions, const DiskTask *task)
{
    const char *name = task->entry->bitmap;

    if (name && source_find_bitmap(task->source, name)) {
        add_action(actions, "block-dirty-bitmap-clear",
                   json_fill("{'node': %s, 'name': %s}", task->source->node,
                             name));
    } else if (name) {
        add_bitmap(actions, task, name);
    }
}

static void add_job(json_object *actions, const BackupRun *run,
                    const DiskTask *task)
{
    bool all = !task->resumed && !task->base;
    bool compress = run->wish->compress &&
                    task->entry->format == BACKUP_FORMAT_QCOW2;
    json_object *data = json_fill(
        "{'job-id': %s, 'device': %s, 'target': %s, 'sync': %s,"
        " 'bitmap': %s, 'bitmap-mode': 'always', 'compress': %b}",
        task->job.id, task->source->node, task->target, all ? "full" : "bitmap",
        task->entry->work_bitmap, compress);

    if (run->wish->speed) {
        json_object_object_add(data, "speed",
                               json_object_new_int64(run->wish->speed));
    }
    add_action(actions, "blockdev-backup", data);
}

static bool start(BackupRun *run, Error **errp)
{
    g_autoptr(json_object) actions = json_object_new_array();
    bool ok;

    for (guint i = 0; i < run->tasks->len; i++) {
        add_work(actions, task_at(run, i));
        add_new(actions, task_at(run, i));
        add_job(actions, run, task_at(run, i));
    }
    run->started = true;
    ok = qmp_client_do(run->qmp, "transaction", errp, "{'actions': %o}",
                       actions);
    run->moment = time(NULL);
    /* If no answer came it may have been executed. */
    run->resumable = ok || !qmp_client_is_open(run->qmp);
    return ok;
}

/* --- the jobs --- */

/* A JobsProgress. */
static void on_progress(void *opaque)
{
    BackupRun *run = opaque;

    if (run->progress) {
        run->progress(run);
    }
}

static bool wait_for_jobs(BackupRun *run, Error **errp)
{
    g_autofree Job **jobs = g_new(Job *, run->tasks->len);

    for (guint i = 0; i < run->tasks->len; i++) {
        jobs[i] = &task_at(run, i)->job;
    }
    return jobs_wait(run->qmp, jobs, run->tasks->len, on_progress, run, errp);
}

/* @errp: of the first job that failed. */
static bool check_jobs(const BackupRun *run, Error **errp)
{
    for (guint i = 0; i < run->tasks->len; i++) {
        DiskTask *task = task_at(run, i);

        if (task->job.error && tool_interrupted()) {
            error_setg(errp, "Interrupted");
            return false;
        } else if (task->job.error) {
            error_setg(errp, "Backing up disk '%s' failed: %s",
                       task->source->name, task->job.error);
            return false;
        }
    }
    return true;
}

/* Closes the targets; errors after the first are of no interest. */
static bool close_targets(BackupRun *run, Error **errp)
{
    bool ok = true;

    for (guint i = 0; i < run->tasks->len; i++) {
        DiskTask *task = task_at(run, i);

        if (task->opened) {
            task->opened = false;
            ok = qmp_client_do(run->qmp, "blockdev-del", ok ? errp : NULL,
                               "{'node-name': %s}", task->target) && ok;
        }
    }
    return ok;
}

bool backup_copy(BackupRun *run, Error **errp)
{
    bool ok = open_targets(run, errp) && start(run, errp) &&
              wait_for_jobs(run, errp) && check_jobs(run, errp);

    if (qmp_client_is_open(run->qmp)) {
        ok = close_targets(run, ok ? errp : NULL) && ok;
    }
    return ok;
}

void backup_give_up(BackupRun *run)
{
    if (!run->backup || run->resumable) {
        return;
    }
    for (guint i = 0; i < run->tasks->len; i++) {
        DiskTask *task = task_at(run, i);

        if (task->resumed) {
            /* It is as it was before, and can still be resumed. */
            run->resumable = true;
        }
    }
    if (!run->resumable) {
        Error *err = NULL;

        if (!backup_folder_remove(run->folder, run->backup, &err)) {
            error_report_err(err);
        }
        run->backup = NULL;
    }
}
