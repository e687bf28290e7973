/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tidemark status: the disks of a server, their bitmaps and its jobs.
 *
 * With --watch it is shown again and again on the same screen, until SIGINT.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "backup.h"
#include "folder.h"
#include "qemu/cutils.h"
#include "source.h"

typedef struct StatusArgs {
    const char *qmp, *to, *watch, *timeout;
    bool json;
    int timeout_ms;
    uint64_t watch_s; /* 0: once */
} StatusArgs;

static const CliOption status_options[] = {
    BACKUP_TEXT(StatusArgs, CLI_LONG_ONLY, "qmp", qmp),
    BACKUP_TEXT(StatusArgs, 't', "to", to),
    BACKUP_TEXT(StatusArgs, 'w', "watch", watch),
    BACKUP_TEXT(StatusArgs, CLI_LONG_ONLY + 1, "timeout", timeout),
    BACKUP_FLAG(StatusArgs, CLI_LONG_ONLY + 2, "json", json),
    { 0 },
};

/* What is shown at a time. */
typedef struct Status {
    QmpClient *qmp;
    const BackupFolder *folder; /* NULL: none was named */
    GPtrArray *disks;           /* of SourceDisk * */
    json_object *jobs;
} Status;

/* --- bitmaps --- */

static const char *state_of(const SourceBitmap *b)
{
    return b->inconsistent ? "inconsistent" : b->busy ? "busy"
           : b->recording  ? "recording"
                           : "disabled";
}

/* The backup that began bitmap @name; NULL: not known. */
static const Backup *beginning(const Status *s, const char *name)
{
    for (guint i = 0; s->folder && i < s->folder->backups->len; i++) {
        const Backup *b = s->folder->backups->pdata[i];

        for (BackupDiskList *l = backup_is_whole(b) ? b->manifest->disks
                                                    : NULL; l; l = l->next) {
            if (!g_strcmp0(l->value->bitmap, name)) {
                return b;
            }
        }
    }
    return NULL;
}

/* "3 days", "5 min"; caller frees. */
static char *age_of(const Backup *b)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = { { 86400, "days" }, { 3600, "h" }, { 60, "min" } };
    int64_t when = b->manifest->time ? manifest_parse_time(b->manifest->time)
                                     : -1;
    int64_t age = when < 0 ? -1 : time(NULL) - when;

    if (age < 0) {
        return g_strdup("?"); /* the clock was set back */
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (age >= 2 * units[i].seconds) {
            return g_strdup_printf("%" PRId64 " %s", age / units[i].seconds,
                                   units[i].name);
        }
    }
    return g_strdup_printf("%" PRId64 " s", age);
}

static void show_bitmap(const Status *s, const SourceDisk *d,
                        const SourceBitmap *b)
{
    const Backup *since = beginning(s, b->name);
    g_autofree char *age = since ? age_of(since) : g_strdup("-");
    g_autofree char *dirty = size_to_str(b->count);
    g_autofree char *unit = size_to_str(b->granularity);
    double percent = d->size ? 100.0 * MIN(b->count, d->size) / d->size : 0;

    printf("  %-32s %-12s %9s %5.1f%%  %8s  %-10s %s%s%s\n", b->name,
           state_of(b), dirty, percent, unit,
           b->persistent ? "persistent" : "in memory", age,
           since ? ", since " : "", since ? since->id : "");
}

static void show_disk(const Status *s, const SourceDisk *d)
{
    g_autofree char *size = size_to_str(d->size);

    printf("disk %s: %s, node %s%s\n", d->name, size, d->node,
           d->read_only ? ", read-only" : "");
    if (d->bitmaps->len) {
        printf("  %-32s %-12s %9s %6s  %8s  %-10s %s\n", "BITMAP", "STATE",
               "DIRTY", "", "UNIT", "KEPT", "AGE");
    } else {
        printf("  no bitmaps%s\n", d->stores ? ""
                                   : "; they could only be kept in memory");
    }
    for (guint i = 0; i < d->bitmaps->len; i++) {
        show_bitmap(s, d, d->bitmaps->pdata[i]);
    }
}

/* --- jobs --- */

static void show_job(json_object *info)
{
    int64_t done = json_get_int(info, "current-progress");
    int64_t total = json_get_int(info, "total-progress");
    int percent = total > 0 ? 100.0 * done / total : 0;
    const char *error = json_get_str(info, "error");
    char bar[21];

    for (int i = 0; i < 20; i++) {
        bar[i] = i < percent / 5 ? '#' : '.';
    }
    bar[20] = 0;
    printf("  %-32s %-8s %-10s [%s] %3d%%%s%s\n", json_get_str(info, "id"),
           json_get_str(info, "type"), json_get_str(info, "status"), bar,
           percent, error ? "  " : "", error ? error : "");
}

static void show_jobs(const Status *s)
{
    size_t n = json_length(s->jobs);

    printf(n ? "jobs\n" : "no jobs\n");
    for (size_t i = 0; i < n; i++) {
        show_job(json_at(s->jobs, i));
    }
}

/* --- all of it --- */

static void show_folder(const Status *s)
{
    const BackupFolder *f = s->folder;
    int whole = 0, partial = 0, damaged = 0;
    const Backup *last = NULL;

    for (guint i = 0; i < f->backups->len; i++) {
        const Backup *b = f->backups->pdata[i];

        if (backup_is_whole(b)) {
            last = b;
            whole++;
        }
        partial += b->partial;
        damaged += !b->partial && b->damage;
    }
    printf("folder %s: %d backup%s", f->path, whole, whole == 1 ? "" : "s");
    if (last) {
        g_autofree char *age = age_of(last);

        printf(", the last one %s ago", age);
    }
    printf("%s%s\n", partial ? ", one is interrupted" : "",
           damaged ? ", some are damaged" : "");
}

static void show(const Status *s)
{
    printf("server %s\n", qmp_client_server(s->qmp));
    if (s->folder) {
        show_folder(s);
    }
    for (guint i = 0; i < s->disks->len; i++) {
        show_disk(s, s->disks->pdata[i]);
    }
    show_jobs(s);
    fflush(stdout);
}

static json_object *bitmap_json(const Status *s, const SourceBitmap *b)
{
    const Backup *since = beginning(s, b->name);
    json_object *obj = json_fill(
        "{'name': %s, 'state': %s, 'count': %i, 'granularity': %i,"
        " 'persistent': %b}", b->name, state_of(b), b->count, b->granularity,
        b->persistent);

    if (since) {
        json_object_object_add(obj, "since",
                               json_object_new_string(since->id));
    }
    return obj;
}

static json_object *disk_json(const Status *s, const SourceDisk *d)
{
    json_object *obj = json_fill("{'name': %s, 'node': %s, 'size': %i}",
                                 d->name, d->node, d->size);
    json_object *bitmaps = json_object_new_array();

    for (guint i = 0; i < d->bitmaps->len; i++) {
        json_object_array_add(bitmaps, bitmap_json(s, d->bitmaps->pdata[i]));
    }
    json_object_object_add(obj, "bitmaps", bitmaps);
    return obj;
}

static void show_json(const Status *s)
{
    g_autoptr(json_object) obj = json_fill("{'server': %s, 'jobs': %o}",
                                           qmp_client_server(s->qmp),
                                           s->jobs);
    json_object *disks = json_object_new_array();
    g_autofree char *text = NULL;

    for (guint i = 0; i < s->disks->len; i++) {
        json_object_array_add(disks, disk_json(s, s->disks->pdata[i]));
    }
    json_object_object_add(obj, "disks", disks);
    text = json_text(obj, true);
    puts(text);
}

/* --- asking --- */

static bool look(const StatusArgs *args, QmpClient *qmp, Error **errp)
{
    g_autoptr(BackupFolder) folder =
        args->to ? backup_folder_open(args->to, BACKUP_LOOK, NULL, errp)
                 : NULL;
    g_autoptr(GPtrArray) disks = NULL;
    g_autoptr(json_object) jobs = NULL;
    Status s = { .qmp = qmp, .folder = folder };

    if (args->to && !folder) {
        return false;
    }
    s.disks = disks = source_disks(qmp, NULL, errp);
    s.jobs = jobs = disks ? qmp_client_call(qmp, "query-jobs", errp, NULL)
                          : NULL;
    if (!jobs) {
        return false;
    }
    if (args->watch_s) {
        printf("\033[H\033[J"); /* a clear screen */
    }
    if (args->json) {
        show_json(&s);
    } else {
        show(&s);
    }
    return true;
}

/* Waits; events that come meanwhile are of no interest. */
static bool wait_next(const StatusArgs *args, QmpClient *qmp, Error **errp)
{
    int64_t deadline = g_get_monotonic_time() +
                       args->watch_s * G_USEC_PER_SEC;
    int64_t left = args->watch_s * 1000;
    Error *err = NULL;

    while (left > 0 && !tool_interrupted() && !err) {
        json_object_put(qmp_client_next_event(qmp, left, &err));
        left = (deadline - g_get_monotonic_time()) / 1000;
    }
    error_propagate(errp, err);
    return !err;
}

static bool watch(const StatusArgs *args, Error **errp)
{
    g_autoptr(QmpClient) qmp =
        qmp_client_connect(args->qmp, args->timeout_ms, errp);

    if (!qmp) {
        return false;
    }
    do {
        if (!look(args, qmp, errp) ||
            (args->watch_s && !wait_next(args, qmp, errp))) {
            return false;
        }
    } while (args->watch_s && !tool_interrupted());
    return true;
}

BackupStatus backup_cmd_status(int argc, char **argv)
{
    StatusArgs args = { .timeout_ms = QMP_CLIENT_TIMEOUT_MS };
    int first = cli_parse(argc, argv, status_options, &args, backup_help);
    Error *err = NULL;

    if (argc != first || !args.qmp) {
        cli_usage_error("Expecting --qmp, and no other words");
    }
    if (args.watch && (!parse_uint64(args.watch, &args.watch_s, NULL) ||
                       args.watch_s < 1 || args.watch_s > 86400)) {
        cli_usage_error("--watch is a number of seconds, 1 to 86400");
    }
    if (!backup_timeout(args.timeout, &args.timeout_ms)) {
        return BACKUP_FAILED;
    }
    if (!watch(&args, &err)) {
        error_report_err(err);
        return BACKUP_FAILED;
    }
    return BACKUP_OK;
}
