/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restoring: a job of a daemon of our own copies the image of the backup, with
 * those below it.  Raw files are put together here, by their extents.
 *
 * A new file has another name until it is whole.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>
#include <sys/stat.h>

#include "block/graph.h"
#include "daemon.h"
#include "durable.h"
#include "extents.h"
#include "jobs.h"
#include "progress.h"
#include "qapi/qapi-types-block-core.h"
#include "restore.h"
#include "tools/common/image.h"

#define SOURCE "source"
#define TARGET "target"
#define JOB "restore"

/* Where it goes. */
typedef struct Target {
    char *name;         /* what is opened: a path or a URI */
    const char *format;
    bool is_file;       /* a new file, renamed when it is whole */
} Target;

/* --- the target --- */

static bool is_file_name(const char *name, struct stat *st, bool *exists)
{
    *exists = false;
    if (path_has_protocol(name)) {
        return false;
    }
    *exists = stat(name, st) == 0;
    return !*exists || S_ISREG(st->st_mode);
}

/* Is the block device large enough, and does nothing use it? */
static bool check_device(const Restore *r, Error **errp)
{
    int fd = open(r->output, O_RDONLY | O_EXCL | O_CLOEXEC);
    int64_t size;

    if (fd < 0 && errno == EBUSY && !r->force) {
        error_setg(errp, "'%s' is in use: mounted, or a part of another device",
                   r->output);
        error_append_hint(errp, "Say --force to write to it nevertheless.\n");
        return false;
    }
    if (fd < 0) {
        return true; /* whether it can be written is seen later */
    }
    size = lseek(fd, 0, SEEK_END);
    close(fd);
    if (size >= 0 && size < r->disk->size) {
        error_setg(errp, "'%s' is smaller than the disk", r->output);
        return false;
    }
    return true;
}

static const char *format_of(const Restore *r, bool is_file)
{
    if (r->format) {
        return r->format;
    }
    return is_file && g_str_has_suffix(r->output, ".qcow2") ? "qcow2" : "raw";
}

static bool find_target(const Restore *r, Target *t, Error **errp)
{
    struct stat st;
    bool exists;

    t->is_file = is_file_name(r->output, &st, &exists);
    t->format = format_of(r, t->is_file);
    if (t->is_file && exists && !r->force) {
        error_setg(errp, "'%s' exists", r->output);
        error_append_hint(errp, "Say --force to replace it.\n");
        return false;
    }
    if (exists && S_ISDIR(st.st_mode)) {
        error_setg(errp, "'%s' is a folder", r->output);
        return false;
    }
    if (exists && S_ISBLK(st.st_mode) && !check_device(r, errp)) {
        return false;
    }
    if (!t->is_file && strcmp(t->format, "raw")) {
        error_setg(errp, "To a device or a server only raw data can be "
                   "restored");
        return false;
    }
    t->name = t->is_file ? g_strdup_printf("%s.partial", r->output)
                         : g_strdup(r->output);
    return true;
}

static bool make_file(const Restore *r, const Target *t, Error **errp)
{
    BdrvImgCreate create = {
        .filename = t->name,
        .format = t->format,
        .size = r->disk->size,
        .quiet = true,
    };

    if (!t->is_file || bdrv_img_create(&create, errp)) {
        return true;
    }
    error_prepend(errp, "Could not make '%s': ", t->name);
    return false;
}

/* The options of its node; a new reference, NULL with @errp. */
static json_object *target_options(const Restore *r, const Target *t,
                                   Error **errp)
{
    bool probed;
    g_autoptr(BlockdevOptions) options = bdrv_options_from_filename(
        t->name, t->format, BDRV_O_RDWR, &probed, errp);
    json_object *obj;

    if (!options) {
        return NULL;
    }
    obj = qapi_BlockdevOptions_to_json(options);
    json_object_object_add(obj, "node-name", json_object_new_string(TARGET));
    json_object_object_add(obj, "read-only", json_object_new_boolean(false));
    if (!t->is_file) {
        /* A larger device: the rest of it stays as it is. */
        json_object_object_add(obj, "size",
                               json_object_new_int64(r->disk->size));
    }
    return obj;
}

static bool open_target(const Restore *r, const Target *t, BackupDaemon *d,
                        Error **errp)
{
    g_autoptr(json_object) options = target_options(r, t, errp);
    g_autoptr(json_object) ret = NULL;

    ret = options ? qmp_client_execute(d->qmp, "blockdev-add", options, errp)
                  : NULL;
    if (!ret) {
        error_prepend(errp, "'%s': ", r->output);
    }
    return ret != NULL;
}

/* --- copying --- */

static void show_progress(void *opaque)
{
    const Job *job = opaque;

    progress_show("restoring", job->done, job->total);
}

static bool run_job(const Restore *r, BackupDaemon *d, Error **errp)
{
    Job job = { .id = JOB }, *jobs = &job;
    bool ok;

    if (!qmp_client_do(d->qmp, "blockdev-backup", errp,
                       "{'job-id': %s, 'device': %s, 'target': %s,"
                       " 'sync': 'full'}", JOB, SOURCE, TARGET)) {
        return false;
    }
    ok = jobs_wait(d->qmp, &jobs, 1, r->quiet ? NULL : show_progress, &job,
                   errp);
    progress_clear();
    if (job.error && tool_interrupted()) {
        error_setg(errp, "Interrupted");
    } else if (job.error) {
        error_setg(errp, "Restoring to '%s' failed: %s", r->output, job.error);
    }
    ok = ok && !job.error;
    g_free(job.error);
    return ok;
}

static bool copy(const Restore *r, const Target *t, BackupDaemon *d,
                 Error **errp)
{
    g_autofree char *file = backup_file(r->backup, r->disk);

    return backup_daemon_open(d, file, SOURCE, false, errp) &&
           open_target(r, t, d, errp) && run_job(r, d, errp);
}

static bool with_daemon(const Restore *r, const Target *t, Error **errp)
{
    BackupDaemon *d = backup_daemon_start(r->daemon, errp);
    bool ok;

    if (!d) {
        return false;
    }
    ok = copy(r, t, d, errp);
    /* It closes the target: what fails then makes the whole fail. */
    return backup_daemon_stop(d, ok ? errp : NULL) && ok;
}

/* --- raw files --- */

static void on_copy(void *opaque, int64_t done, int64_t total)
{
    const Restore *r = opaque;

    if (!r->quiet) {
        progress_show("restoring", done, total);
    }
}

static bool copy_layer(const Restore *r, const ExtentsLayer *layer,
                       BlockBackend *to, Error **errp)
{
    g_autofree char *file = backup_file(layer->backup, layer->disk);
    ToolImage image = { .filename = file, .format = "raw" };
    g_autoptr(BlockBackend) from = tool_open(&image, errp);

    return from && extents_copy(layer->parts, from, to, on_copy, (void *)r,
                                errp);
}

static bool check_size(const Restore *r, BlockBackend *to, Error **errp)
{
    if (blk_getlength(to) < r->disk->size) {
        error_setg(errp, "'%s' is smaller than the disk", r->output);
        return false;
    }
    return true;
}

static bool copy_layers(const Restore *r, const GArray *layers,
                        BlockBackend *to, Error **errp)
{
    bool ok = check_size(r, to, errp);

    for (guint i = layers->len; i-- > 0 && ok;) {
        ok = copy_layer(r, &g_array_index(layers, ExtentsLayer, i), to, errp);
    }
    progress_clear();
    return ok;
}

/* The disk is put together of the raw files of its chain. */
static bool assemble(const Restore *r, const Target *t, Error **errp)
{
    g_autoptr(GPtrArray) chain =
        backup_chain(r->folder, r->backup, r->disk->name, errp);
    ToolImage image = {
        .filename = t->name,
        .format = t->format,
        .flags = BDRV_O_RDWR | BDRV_O_UNMAP,
    };
    g_autoptr(BlockBackend) to = chain ? tool_open(&image, errp) : NULL;
    GArray *layers;
    bool ok;

    if (!to) {
        return false;
    }
    layers = extents_layers(r->folder, chain, r->disk->name);
    ok = copy_layers(r, layers, to, errp);
    extents_free_layers(layers);
    return ok;
}

static bool publish(const Restore *r, const Target *t, Error **errp)
{
    g_autofree char *dir = g_path_get_dirname(r->output);
    g_autofree char *from = g_path_get_basename(t->name);
    g_autofree char *to = g_path_get_basename(r->output);

    return !t->is_file || (durable_sync(t->name, errp) &&
                           durable_rename(dir, from, to, errp));
}

bool backup_restore(const Restore *r, Error **errp)
{
    Target t = { 0 };
    bool ok;

    if (!find_target(r, &t, errp)) {
        return false;
    }
    ok = make_file(r, &t, errp) &&
         (r->disk->format == BACKUP_FORMAT_RAW ? assemble(r, &t, errp)
                                               : with_daemon(r, &t, errp)) &&
         publish(r, &t, errp);
    if (!ok && t.is_file) {
        unlink(t.name);
    }
    g_free(t.name);
    return ok;
}
