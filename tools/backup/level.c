/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which level each disk gets, and the files of targets. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "durable.h"
#include "qemu/cutils.h"
#include "run.h"
#include "tools/common/image.h"

/* What an image needs beside its data, about. */
#define IMAGE_OVERHEAD (1 * MiB)

void disk_task_free(DiskTask *task)
{
    g_free(task->base);
    g_free(task->target);
    g_free(task->job_id);
    g_free(task->job.error);
    g_free(task);
}

/* --- bitmaps --- */

/* Why @b cannot be used; NULL: it can. */
static const char *fault_of(const SourceBitmap *b)
{
    return b->inconsistent ? "is inconsistent: the disk was not closed properly"
           : b->busy       ? "is used by a job"
           : !b->recording ? "does not record"
                           : NULL;
}

/* The whole backup that began bitmap @name, and the disk in it. */
static Backup *find_beginning(const BackupFolder *f, const char *name,
                              BackupDisk **disk)
{
    for (guint i = f->backups->len; i-- > 0;) {
        Backup *b = f->backups->pdata[i];

        if (!backup_is_whole(b)) {
            continue;
        }
        for (BackupDiskList *l = b->manifest->disks; l; l = l->next) {
            if (l->value->bitmap && !strcmp(l->value->bitmap, name)) {
                *disk = l->value;
                return b;
            }
        }
    }
    return NULL;
}

/* What a backup of a disk can be based on. */
typedef struct Base {
    SourceBitmap *bitmap; /* NULL: on nothing */
    Backup *parent;
    BackupDisk *disk;     /* in the parent */
    char *reason;         /* why on this, or why on nothing */
} Base;

static void G_GNUC_PRINTF(2, 3) set_reason(Base *base, const char *fmt, ...)
{
    va_list ap;

    g_free(base->reason);
    va_start(ap, fmt);
    base->reason = g_strdup_vprintf(fmt, ap);
    va_end(ap);
}

/* Looks at one bitmap: is it a better base? */
static void consider(const BackupRun *run, const SourceDisk *source,
                     SourceBitmap *b, Base *base)
{
    const char *fault = fault_of(b);
    g_autoptr(GPtrArray) chain = NULL;
    BackupDisk *disk = NULL;
    Backup *parent = find_beginning(run->folder, b->name, &disk);
    Error *err = NULL;

    if (!parent || (base->parent &&
                    base->parent->sequence >= parent->sequence)) {
        return;
    }
    if (fault) {
        if (!base->bitmap) {
            set_reason(base, "bitmap '%s' %s", b->name, fault);
        }
        return;
    }
    if (run->wish->has_format && run->wish->format != disk->format) {
        if (!base->bitmap) {
            set_reason(base, "%s has another format", parent->id);
        }
        return;
    }
    chain = backup_chain(run->folder, parent, disk->name, &err);
    if (!chain) {
        if (!base->bitmap) {
            set_reason(base, "%s", error_get_pretty(err));
        }
        error_free(err);
        return;
    }
    base->bitmap = b;
    base->parent = parent;
    base->disk = disk;
    set_reason(base, "bitmap '%s' has what was written since %s", b->name,
               parent->id);
}

/* Why there is no base, where no bitmap told. */
static void explain_nothing(const BackupRun *run, const SourceDisk *source,
                            Base *base)
{
    for (guint i = 0; i < source->bitmaps->len && !base->reason; i++) {
        SourceBitmap *b = source->bitmaps->pdata[i];

        if (backup_owns_bitmap(run, b->name)) {
            set_reason(base, "the backup that began bitmap '%s' is not in the "
                       "folder, or is damaged", b->name);
        }
    }
    if (!base->reason) {
        set_reason(base, "the disk has no bitmap of this folder");
    }
}

static void find_base(const BackupRun *run, const SourceDisk *source,
                      Base *base)
{
    for (guint i = 0; i < source->bitmaps->len; i++) {
        consider(run, source, source->bitmaps->pdata[i], base);
    }
    if (!base->bitmap) {
        explain_nothing(run, source, base);
    }
}

/* --- new backups of disks --- */

/* The text with @word replaced by @value; frees @text. */
static char *replace_word(char *text, const char *word, const char *value)
{
    g_auto(GStrv) parts = g_strsplit(text, word, -1);

    g_free(text);
    return g_strjoinv(value, parts);
}

/* The export for the data of disk @name; caller frees. */
static char *export_uri(const BackupRun *run, const char *name)
{
    g_autofree char *number =
        g_strdup_printf("%05" PRId64, run->backup->sequence);
    char *uri = g_strdup(run->wish->data);

    uri = replace_word(uri, "{disk}", name);
    uri = replace_word(uri, "{number}", number);
    return replace_word(uri, "{id}", run->backup->id);
}

/* Has an export the data of another backup? */
static bool check_unused(const BackupRun *run, const BackupDisk *d,
                         Error **errp)
{
    for (guint i = 0; i < run->folder->backups->len; i++) {
        Backup *b = run->folder->backups->pdata[i];

        for (BackupDiskList *l = b->manifest ? b->manifest->disks : NULL; l;
             l = l->next) {
            if (l->value != d && !g_strcmp0(l->value->uri, d->uri)) {
                error_setg(errp, "'%s' has data of backup %s", d->uri, b->id);
                error_append_hint(errp, "Each needs an export of its own: say "
                                  "--data with {disk} and {number} in it.\n");
                return false;
            }
        }
    }
    return true;
}

static char *bitmap_name(const BackupRun *run, const char *suffix)
{
    return g_strdup_printf("tidemark-%s-%05" PRId64 "-%04x%s",
                           run->folder->set, run->backup->sequence,
                           g_random_int() & 0xffff, suffix);
}

/* The level for a disk with such a base; false if it cannot have the one that
 * the user wants. */
static bool choose_level(const BackupRun *run, const SourceDisk *source,
                         Base *base, BackupLevel *level, Error **errp)
{
    const BackupWish *wish = run->wish;

    if (!wish->has_level) {
        *level = base->bitmap ? BACKUP_LEVEL_INCREMENTAL : BACKUP_LEVEL_FULL;
        return true;
    }
    *level = wish->level;
    if (*level == BACKUP_LEVEL_FULL) {
        set_reason(base, "as was asked for");
    } else if (!base->bitmap) {
        error_setg(errp, "No %s backup of disk '%s' can be made: %s",
                   BackupLevel_str(*level), source->name, base->reason);
        return false;
    }
    return true;
}

/* A name for the disk that no other in @m has; caller frees. */
static char *unique_name(const BackupManifest *m, const char *name)
{
    char *result = g_strdup(name);

    for (int i = 2; manifest_find_disk(m, result); i++) {
        g_free(result);
        result = g_strdup_printf("%s-%d", name, i);
    }
    return result;
}

/* @base: of an increment. */
static BackupDisk *new_entry(const BackupRun *run, const SourceDisk *source,
                             BackupLevel level, const Base *base)
{
    bool full = level == BACKUP_LEVEL_FULL;
    BackupDisk *d = g_new0(BackupDisk, 1);

    /* An increment keeps the name, which the chain is found by. */
    d->name = unique_name(run->backup->manifest,
                          full ? source->name : base->disk->name);
    d->node = g_strdup(source->node);
    d->level = level;
    d->reason = g_strdup(base->reason);
    d->parent = full ? NULL : g_strdup(base->parent->id);
    d->size = source->size;
    d->bitmap = level == BACKUP_LEVEL_DIFFERENTIAL
                    ? NULL : bitmap_name(run, "");
    d->work_bitmap = bitmap_name(run, "w");
    d->persistent = source->stores && !source->read_only;
    d->granularity = full ? BACKUP_GRANULARITY : base->bitmap->granularity;
    d->format = !full ? base->disk->format
                : run->wish->has_format ? run->wish->format
                                        : BACKUP_FORMAT_QCOW2;
    d->file = g_strdup_printf("%s.%s", d->name, BackupFormat_str(d->format));
    d->uri = run->wish->data ? export_uri(run, d->name) : NULL;
    return d;
}

static void append_entry(BackupManifest *m, BackupDisk *entry)
{
    BackupDiskList **tail = &m->disks;

    while (*tail) {
        tail = &(*tail)->next;
    }
    QAPI_LIST_APPEND(tail, entry);
}

static DiskTask *add_task(BackupRun *run, SourceDisk *source,
                          BackupDisk *entry)
{
    DiskTask *task = g_new0(DiskTask, 1);

    task->source = source;
    task->entry = entry;
    /* Names of nodes have at most 31 bytes. */
    task->target = g_strdup_printf("tidemark-%s-t%u", run->folder->set,
                                   run->tasks->len);
    /* Events of a job that an earlier run left are not taken for this one's. */
    task->job_id = g_strdup_printf("tidemark-%s-%08x-j%u", run->folder->set,
                                   g_random_int(), run->tasks->len);
    task->job.id = task->job_id;
    g_ptr_array_add(run->tasks, task);
    return task;
}

static bool plan_new(BackupRun *run, SourceDisk *source, Error **errp)
{
    Base base = { 0 };
    BackupLevel level;
    BackupDisk *entry;
    DiskTask *task;

    find_base(run, source, &base);
    if (!choose_level(run, source, &base, &level, errp)) {
        g_free(base.reason);
        return false;
    }
    entry = new_entry(run, source, level, &base);
    if (entry->uri && !check_unused(run, entry, errp)) {
        qapi_free_BackupDisk(entry);
        g_free(base.reason);
        return false;
    }
    append_entry(run->backup->manifest, entry);
    task = add_task(run, source, entry);
    task->base = level == BACKUP_LEVEL_FULL ? NULL
                                            : g_strdup(base.bitmap->name);
    g_free(base.reason);
    return true;
}

/* --- interrupted backups --- */

/* The disk in an interrupted backup whose rest a bitmap of @source has. */
static BackupDisk *find_rest(const BackupManifest *m, const SourceDisk *source)
{
    for (BackupDiskList *l = m->disks; l; l = l->next) {
        const char *name = l->value->work_bitmap;
        SourceBitmap *b = name ? source_find_bitmap(source, name) : NULL;

        if (b && !fault_of(b)) {
            return l->value;
        }
    }
    return NULL;
}

/* Can the backup of @d go on? */
static bool can_resume(const BackupRun *run, const SourceDisk *source,
                       const BackupDisk *d)
{
    g_autofree char *file = backup_target_file(run->backup, d);
    g_autoptr(GPtrArray) chain = NULL;
    Backup *parent = d->parent ? backup_folder_get(run->folder, d->parent)
                               : NULL;

    if ((run->wish->has_level && run->wish->level != d->level) ||
        (run->wish->has_format && run->wish->format != d->format) ||
        source->size != d->size || (!backup_is_export(d) &&
                                    !g_file_test(file, G_FILE_TEST_EXISTS))) {
        return false;
    }
    if (!d->parent) {
        return true;
    }
    chain = parent ? backup_chain(run->folder, parent, d->name, NULL) : NULL;
    return chain != NULL;
}

static bool is_entry_used(const BackupRun *run, const BackupDisk *d)
{
    for (guint i = 0; i < run->tasks->len; i++) {
        if (((DiskTask *)run->tasks->pdata[i])->entry == d) {
            return true;
        }
    }
    return false;
}

/* Drops the disks of the manifest that no task continues. */
static void drop_entries(BackupRun *run)
{
    BackupDiskList **l = &run->backup->manifest->disks;

    while (*l) {
        BackupDiskList *gone = *l;

        if (is_entry_used(run, gone->value)) {
            l = &gone->next;
            continue;
        }
        info_report("What there is of disk '%s' in %s, which was interrupted, "
                    "cannot be used any more", gone->value->name,
                    run->backup->id);
        *l = gone->next;
        qapi_free_BackupDisk(gone->value);
        g_free(gone);
    }
}

/* Tasks for the disks of a partial backup that can go on; none: false. */
static bool resume(BackupRun *run, Backup *partial)
{
    run->backup = partial;
    if (!partial->manifest ||
        partial->manifest->state != BACKUP_STATE_RUNNING) {
        return false;
    }
    for (guint i = 0; i < run->sources->len; i++) {
        SourceDisk *source = run->sources->pdata[i];
        BackupDisk *d = find_rest(partial->manifest, source);

        if (d && !is_entry_used(run, d) && can_resume(run, source, d)) {
            add_task(run, source, d)->resumed = true;
        }
    }
    return run->tasks->len > 0;
}

/* Continues the last partial backup if possible; removes all others. */
static bool plan_resumption(BackupRun *run, Error **errp)
{
    GPtrArray *all = run->folder->backups;

    for (guint i = all->len; i-- > 0;) {
        Backup *b = all->pdata[i];

        if (!b->partial) {
            continue;
        }
        if (!run->tasks->len && resume(run, b)) {
            drop_entries(run);
            continue;
        }
        if (!run->tasks->len) {
            run->backup = NULL;
        }
        if (b->manifest) {
            info_report("The interrupted backup %s cannot be continued, and "
                        "is removed", b->id);
        }
        if (!backup_folder_remove(run->folder, b, errp)) {
            return false;
        }
    }
    return true;
}

static bool has_task(const BackupRun *run, const SourceDisk *source)
{
    for (guint i = 0; i < run->tasks->len; i++) {
        if (((DiskTask *)run->tasks->pdata[i])->source == source) {
            return true;
        }
    }
    return false;
}

bool backup_plan(BackupRun *run, Error **errp)
{
    if (!plan_resumption(run, errp)) {
        return false;
    }
    if (!run->backup) {
        run->backup = backup_folder_add(run->folder, errp);
        if (!run->backup) {
            return false;
        }
    }
    for (guint i = 0; i < run->sources->len; i++) {
        SourceDisk *source = run->sources->pdata[i];

        if (!has_task(run, source) && !plan_new(run, source, errp)) {
            return false;
        }
    }
    g_free(run->backup->manifest->server);
    run->backup->manifest->server = g_strdup(qmp_client_server(run->qmp));
    return true;
}

/* --- targets --- */

/* Bytes that are going to be written for @task, about. */
static int64_t expected_bytes(const DiskTask *task)
{
    const char *name = task->resumed ? task->entry->work_bitmap : task->base;
    SourceBitmap *b = name ? source_find_bitmap(task->source, name) : NULL;
    int64_t bytes = b ? MIN(b->count, task->source->size)
                      : task->source->used;

    if (backup_is_export(task->entry)) {
        return 0; /* it goes elsewhere */
    }
    /* What is unpacked is there twice for a while. */
    return backup_is_staged(task->entry) && !task->entry->uri
               ? bytes + MIN(bytes, INT64_MAX - bytes) : bytes;
}

bool backup_check_space(const BackupRun *run, Error **errp)
{
    g_autofree char *need_text = NULL, *free_text = NULL;
    int64_t need = 0;

    for (guint i = 0; i < run->tasks->len; i++) {
        int64_t bytes = expected_bytes(run->tasks->pdata[i]);

        if (__builtin_add_overflow(need, bytes, &need) ||
            __builtin_add_overflow(need, IMAGE_OVERHEAD, &need)) {
            need = INT64_MAX;
        }
    }
    if (run->free_space < 0 || need <= run->free_space) {
        return true;
    }
    need_text = size_to_str(need);
    free_text = size_to_str(run->free_space);
    error_setg(errp, "The backup may need %s, and '%s' has room for %s",
               need_text, run->folder->path, free_text);
    error_append_hint(errp, "Make room, or say --ignore-space.\n");
    return false;
}

bool backup_is_staged(const BackupDisk *d)
{
    return d->format == BACKUP_FORMAT_RAW && d->parent;
}

char *backup_target_file(const Backup *b, const BackupDisk *d)
{
    g_autofree char *file = g_build_filename(b->dir, d->file, NULL);

    return backup_is_staged(d)   ? g_strdup_printf("%s" FOLDER_STAGE, file)
           : backup_is_export(d) ? g_strdup(d->uri)
                                 : g_steal_pointer(&file);
}

bool backup_is_export(const BackupDisk *d)
{
    return d->uri && !backup_is_staged(d);
}

/* The format of the file that the job writes. */
static const char *target_format(const BackupDisk *d)
{
    return backup_is_staged(d) ? "qcow2" : BackupFormat_str(d->format);
}

/*
 * Sets the backing file of a new target.  Zeroes must be written where the disk
 * has become zero; so what is below an image that is unpacked later never reads
 * as zeroes.  Caller frees.
 */
static char *set_base(const BackupRun *run, const BackupDisk *d,
                      BdrvImgCreate *create)
{
    char *base;

    if (!d->parent) {
        return NULL;
    }
    if (backup_is_staged(d)) {
        base = g_strdup_printf("json:{\"driver\": \"null-co\", \"size\": %"
                               PRId64 ", \"read-zeroes\": false}", d->size);
        create->base_format = "null-co";
    } else {
        base = backup_backing_name(run->folder, d);
        create->base_format = BackupFormat_str(d->format);
    }
    create->base_filename = base;
    return base;
}

/* Is the export there, writable, and large enough? */
static bool check_export(const BackupDisk *d, Error **errp)
{
    ToolImage image = {
        .filename = d->uri, .format = "raw", .flags = BDRV_O_RDWR,
    };
    g_autoptr(BlockBackend) blk = tool_open(&image, errp);

    if (!blk) {
        error_prepend(errp, "Could not open '%s': ", d->uri);
        return false;
    }
    if (blk_getlength(blk) < d->size) {
        error_setg(errp, "'%s' is smaller than disk '%s'", d->uri, d->name);
        return false;
    }
    return true;
}

static bool make_image(const BackupRun *run, const DiskTask *task,
                       Error **errp)
{
    BackupDisk *d = task->entry;
    g_autofree char *path = backup_target_file(run->backup, d);
    g_autofree char *base = NULL;
    BdrvImgCreate create = {
        .filename = path,
        .format = target_format(d),
        .size = d->size,
        .unsafe_base = true,
        .quiet = true,
    };

    base = set_base(run, d, &create);
    if (!bdrv_img_create(&create, errp)) {
        error_prepend(errp, "Could not make '%s': ", path);
        return false;
    }
    return durable_sync(path, errp);
}

bool backup_make_targets(BackupRun *run, Error **errp)
{
    for (guint i = 0; i < run->tasks->len; i++) {
        DiskTask *task = run->tasks->pdata[i];

        if (task->entry->uri && !check_export(task->entry, errp)) {
            return false;
        }
        if (!task->resumed && !backup_is_export(task->entry) &&
            !make_image(run, task, errp)) {
            return false;
        }
    }
    return durable_sync(run->backup->dir, errp) &&
           backup_save(run->backup, errp);
}
