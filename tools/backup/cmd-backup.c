/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tidemark backup: options, the source, and what is reported. */
#include "qemu/osdep.h"

#include <json-c/json.h>
#include <sys/statvfs.h>

#include "backup.h"
#include "daemon.h"
#include "progress.h"
#include "qemu/cutils.h"
#include "run.h"

typedef struct BackupArgs {
    const char *to, *qmp, *level, *format, *data, *disks, *speed, *daemon;
    const char *timeout;
    bool compress, ignore_space, no_digest, json, quiet;
    GPtrArray *nodes;   /* of const char *; NULL: none was given */
    char **images;
    int n_images;
    BackupWish wish;
    int timeout_ms;
} BackupArgs;

static bool add_node(void *dest, const char *arg)
{
    BackupArgs *args = dest;

    if (!args->nodes) {
        args->nodes = g_ptr_array_new();
    }
    g_ptr_array_add(args->nodes, (gpointer)arg);
    return true;
}

static const CliOption backup_options[] = {
    BACKUP_TEXT(BackupArgs, 't', "to", to),
    BACKUP_TEXT(BackupArgs, CLI_LONG_ONLY, "qmp", qmp),
    BACKUP_CALL('n', "node", add_node),
    BACKUP_TEXT(BackupArgs, CLI_LONG_ONLY + 1, "disks", disks),
    BACKUP_TEXT(BackupArgs, 'l', "level", level),
    BACKUP_TEXT(BackupArgs, 'f', "format", format),
    BACKUP_TEXT(BackupArgs, CLI_LONG_ONLY + 7, "data", data),
    BACKUP_FLAG(BackupArgs, 'c', "compress", compress),
    BACKUP_TEXT(BackupArgs, CLI_LONG_ONLY + 2, "speed", speed),
    BACKUP_FLAG(BackupArgs, CLI_LONG_ONLY + 3, "ignore-space", ignore_space),
    BACKUP_FLAG(BackupArgs, CLI_LONG_ONLY + 8, "no-digest", no_digest),
    BACKUP_TEXT(BackupArgs, CLI_LONG_ONLY + 4, "daemon", daemon),
    BACKUP_TEXT(BackupArgs, CLI_LONG_ONLY + 5, "timeout", timeout),
    BACKUP_FLAG(BackupArgs, CLI_LONG_ONLY + 6, "json", json),
    BACKUP_FLAG(BackupArgs, 'q', "quiet", quiet),
    { 0 },
};

/* --- the command line --- */

static void check_source_options(const BackupArgs *args)
{
    if (!args->to) {
        cli_usage_error("--to is missing: the folder for the backups");
    }
    if (!args->qmp == !args->n_images) {
        cli_usage_error("Expecting either --qmp or an image file");
    }
    if (args->n_images && (args->nodes || args->disks)) {
        cli_usage_error("--node and --disks need --qmp");
    }
    if (args->qmp && !args->nodes == !args->disks) {
        cli_usage_error("With --qmp expecting either --node or --disks all");
    }
    if (args->disks && strcmp(args->disks, "all")) {
        cli_usage_error("--disks can be 'all'; name nodes by --node");
    }
}

static bool parse_values(BackupArgs *args)
{
    args->wish.compress = args->compress;
    args->wish.ignore_space = args->ignore_space;
    args->wish.no_digest = args->no_digest;
    if (args->level && strcmp(args->level, "auto")) {
        int level = BackupLevel_parse(args->level, NULL);

        if (level < 0) {
            cli_usage_error("--level is auto, full, incremental or "
                            "differential");
        }
        args->wish.has_level = true;
        args->wish.level = level;
    }
    if (args->data) {
        if (args->format && strcmp(args->format, "raw")) {
            cli_usage_error("With --data the format is raw");
        }
        args->format = "raw";
        args->wish.data = args->data;
    }
    if (args->format) {
        int format = BackupFormat_parse(args->format, NULL);

        if (format < 0) {
            cli_usage_error("--format is qcow2 or raw");
        }
        if (format == BACKUP_FORMAT_RAW && args->compress) {
            cli_usage_error("Raw files cannot be compressed");
        }
        args->wish.has_format = true;
        args->wish.format = format;
    }
    return (!args->speed || cli_size("speed", args->speed,
                                     &args->wish.speed)) &&
           backup_timeout(args->timeout, &args->timeout_ms);
}

/* --- the source --- */

/* Opens the images as nodes; *@words gets NAME=NODE of each. */
static bool open_images(const BackupArgs *args, BackupDaemon *d, char **words,
                        Error **errp)
{
    for (int i = 0; i < args->n_images; i++) {
        g_autofree char *base = g_path_get_basename(args->images[i]);
        char *dot = strrchr(base, '.');
        g_autofree char *node = g_strdup_printf("disk%d", i);
        g_autofree char *name = NULL;

        if (dot && dot != base) {
            *dot = 0;
        }
        name = source_safe_name(base);
        if (!backup_daemon_open(d, args->images[i], node, true, errp)) {
            if (strstr(error_get_pretty(*errp), " lock")) {
                error_append_hint(errp, "If it is a machine, back up the image "
                                  "by --qmp.\n");
            }
            return false;
        }
        words[i] = g_strdup_printf("%s=%s", name, node);
    }
    return true;
}

/* The disks to back up; NULL with @errp. */
static GPtrArray *find_sources(const BackupArgs *args, BackupDaemon *daemon,
                               QmpClient *qmp, Error **errp)
{
    if (daemon) {
        g_auto(GStrv) words = g_new0(char *, args->n_images + 1);

        return open_images(args, daemon, words, errp)
                   ? source_disks(qmp, words, errp) : NULL;
    }
    if (args->nodes) {
        g_autofree char **words = g_new0(char *, args->nodes->len + 1);

        memcpy(words, args->nodes->pdata, args->nodes->len * sizeof(*words));
        return source_disks(qmp, words, errp);
    }
    return source_disks(qmp, NULL, errp);
}

static int64_t free_space(const char *path)
{
    struct statvfs st;

    return statvfs(path, &st) < 0 ? -1 : (int64_t)st.f_bavail * st.f_frsize;
}

/* --- reports --- */

static void show_progress(const BackupRun *run)
{
    int64_t done = 0, total = 0;

    for (guint i = 0; i < run->tasks->len; i++) {
        DiskTask *task = run->tasks->pdata[i];

        done += task->job.done;
        total += task->job.total;
    }
    progress_show(run->phase, done, total);
}

/* One line for each disk. */
static void report_lines(const BackupRun *run)
{
    for (guint i = 0; i < run->tasks->len; i++) {
        DiskTask *task = run->tasks->pdata[i];
        g_autofree char *size = size_to_str(task->entry->copied);

        printf("%s: %s, %s: %s%s (%s)\n", run->backup->id, task->entry->name,
               BackupLevel_str(task->entry->level), size,
               task->resumed ? ", resumed" : "", task->entry->reason);
    }
}

static void report_json(const BackupRun *run)
{
    g_autoptr(json_object) obj =
        qapi_BackupManifest_to_json(run->backup->manifest);
    json_object *disks = json_get_array(obj, "disks");
    g_autofree char *text = NULL;

    for (size_t i = 0; i < json_length(disks); i++) {
        json_object_object_del(json_at(disks, i), "extents");
    }
    json_object_object_add(obj, "folder",
                           json_object_new_string(run->backup->dir));
    text = json_text(obj, true);
    puts(text);
}

static BackupStatus report_failure(BackupRun *run, Error *err)
{
    progress_clear();
    error_report_err(err);
    if (!run->backup || !run->resumable) {
        return BACKUP_FAILED;
    }
    report_hint("What was copied is kept; the same command continues %s.\n",
                run->backup->id);
    return BACKUP_RESUMABLE;
}

/* --- running --- */

/* All steps after the source is known. */
static bool run_steps(BackupRun *run, BackupStatus *status, Error **errp)
{
    if (!backup_clean_server(run, errp) ||
        !source_refresh(run->qmp, run->sources, errp) ||
        !backup_plan(run, errp) || !backup_clean_bitmaps(run, errp)) {
        return false;
    }
    run->free_space = free_space(run->folder->path);
    if (!run->wish->ignore_space && !backup_check_space(run, errp)) {
        *status = BACKUP_NO_SPACE;
        return false;
    }
    if (tool_interrupted()) {
        error_setg(errp, "Interrupted");
        return false;
    }
    run->phase = "copying";
    return backup_make_targets(run, errp) && backup_copy(run, errp) &&
           backup_finish(run, errp);
}

static BackupStatus run_backup(const BackupArgs *args, BackupRun *run)
{
    BackupStatus status = BACKUP_FAILED;
    Error *err = NULL;

    run->tasks = g_ptr_array_new_with_free_func(
        (GDestroyNotify)disk_task_free);
    if (run_steps(run, &status, &err)) {
        progress_clear();
        if (args->json) {
            report_json(run);
        } else if (!args->quiet) {
            report_lines(run);
        }
        status = BACKUP_OK;
    } else {
        backup_give_up(run);
        status = status == BACKUP_NO_SPACE ? (error_report_err(err), status)
                                           : report_failure(run, err);
    }
    g_ptr_array_unref(run->tasks);
    return status;
}

static BackupStatus with_server(const BackupArgs *args, BackupFolder *folder,
                                BackupDaemon *daemon, QmpClient *qmp)
{
    Error *err = NULL;
    g_autoptr(GPtrArray) sources = find_sources(args, daemon, qmp, &err);
    BackupRun run = {
        .wish = &args->wish,
        .folder = folder,
        .qmp = qmp,
        .sources = sources,
        .progress = args->quiet || args->json ? NULL : show_progress,
    };

    if (!sources) {
        error_report_err(err);
        return BACKUP_FAILED;
    }
    return run_backup(args, &run);
}

static BackupStatus with_daemon(const BackupArgs *args, BackupFolder *folder)
{
    Error *err = NULL;
    BackupDaemon *daemon = backup_daemon_start(args->daemon, &err);
    BackupStatus status;

    if (!daemon) {
        error_report_err(err);
        return BACKUP_FAILED;
    }
    status = with_server(args, folder, daemon, daemon->qmp);
    if (!backup_daemon_stop(daemon, &err)) {
        error_report_err(err);
        status = status == BACKUP_OK ? BACKUP_FAILED : status;
    }
    return status;
}

static BackupStatus with_client(const BackupArgs *args, BackupFolder *folder)
{
    Error *err = NULL;
    g_autoptr(QmpClient) qmp =
        qmp_client_connect(args->qmp, args->timeout_ms, &err);

    if (!qmp) {
        error_report_err(err);
        return BACKUP_FAILED;
    }
    return with_server(args, folder, NULL, qmp);
}

BackupStatus backup_cmd_backup(int argc, char **argv)
{
    BackupArgs args = { .timeout_ms = QMP_CLIENT_TIMEOUT_MS };
    int first = cli_parse(argc, argv, backup_options, &args, backup_help);
    g_autoptr(GPtrArray) nodes = args.nodes;
    g_autoptr(BackupFolder) folder = NULL;
    Error *err = NULL;
    bool busy = false;

    args.images = argv + first;
    args.n_images = argc - first;
    check_source_options(&args);
    if (!parse_values(&args)) {
        return BACKUP_FAILED;
    }
    folder = backup_folder_open(args.to, BACKUP_ADD, &busy, &err);
    if (!folder) {
        error_report_err(err);
        return busy ? BACKUP_BUSY : BACKUP_FAILED;
    }
    return args.qmp ? with_client(&args, folder)
                    : with_daemon(&args, folder);
}
