/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole backup: digests, extents, its manifest. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "durable.h"
#include "extents.h"
#include "run.h"
#include "tools/common/image.h"

typedef struct Reader {
    BackupRun *run;
    DiskTask *task;
} Reader;

/* A ContentsProgress. */
static void on_read(void *opaque, int64_t done, int64_t total)
{
    Reader *r = opaque;

    r->task->job.done = done;
    r->task->job.total = total;
    if (r->run->progress) {
        r->run->progress(r->run);
    }
}

/* Opens an image by its path. */
static BlockBackend *open_image(const char *path, const char *format,
                                int flags, Error **errp)
{
    ToolImage image = { .filename = path, .format = format, .flags = flags };

    return tool_open(&image, errp);
}

static bool make_raw(const char *path, int64_t size, Error **errp)
{
    BdrvImgCreate create = {
        .filename = path, .format = "raw", .size = size, .quiet = true,
    };

    return bdrv_img_create(&create, errp);
}

/*
 * The increment for which a job has made an image becomes a raw file: the
 * image has told which parts it is.
 */
static bool unpack(BackupRun *run, DiskTask *task, const char *file,
                   Error **errp)
{
    Reader reader = { run, task };
    BackupDisk *d = task->entry;
    g_autofree char *image = backup_target_file(run->backup, d);
    g_autoptr(BlockBackend) from = NULL;
    g_autoptr(BlockBackend) to = NULL;
    bool ok;

    qapi_free_BackupExtentList(d->extents);
    d->extents = contents_extents(image, 0, &ok, errp);
    if (!ok || (!d->uri && !make_raw(file, d->size, errp))) {
        return false;
    }
    from = open_image(image, "qcow2", BDRV_O_NO_BACKING, errp);
    to = from ? open_image(file, "raw", BDRV_O_RDWR | BDRV_O_UNMAP, errp)
              : NULL;
    return to && extents_copy(d->extents, from, to, on_read, &reader, errp);
}

static bool finish_disk(BackupRun *run, DiskTask *task, Error **errp)
{
    Reader reader = { run, task };
    BackupDisk *d = task->entry;
    g_autofree char *file = backup_file(run->backup, d);

    if (backup_is_staged(d)) {
        if (!unpack(run, task, file, errp)) {
            return false;
        }
    } else if (d->format == BACKUP_FORMAT_RAW) {
        qapi_free_BackupExtentList(d->extents);
        d->extents = extents_all(d->size);
    }
    return (d->uri || durable_sync(file, errp)) &&
           contents_describe(d, file, !run->wish->no_digest, on_read,
                             &reader, errp);
}

static bool publish(BackupRun *run, Error **errp)
{
    BackupManifest *m = run->backup->manifest;

    for (BackupDiskList *l = m->disks; l; l = l->next) {
        g_free(l->value->work_bitmap);
        l->value->work_bitmap = NULL;
    }
    m->state = BACKUP_STATE_WHOLE;
    m->time = manifest_time(run->moment);
    m->finished = manifest_time(time(NULL));
    return backup_save(run->backup, errp) &&
           backup_folder_publish(run->folder, run->backup, errp);
}

bool backup_finish(BackupRun *run, Error **errp)
{
    Error *err = NULL;

    run->phase = "reading";
    for (guint i = 0; i < run->tasks->len; i++) {
        DiskTask *task = run->tasks->pdata[i];

        task->job.done = task->job.total = 0;
    }
    for (guint i = 0; i < run->tasks->len; i++) {
        if (!finish_disk(run, run->tasks->pdata[i], errp)) {
            return false;
        }
    }
    if (!publish(run, errp)) {
        return false;
    }
    /* The next run would remove them, too. */
    if (!backup_clean_bitmaps(run, &err)) {
        error_prepend(&err, "A bitmap that is not needed any more could not "
                      "be removed: ");
        error_report_err(err);
    }
    return true;
}
