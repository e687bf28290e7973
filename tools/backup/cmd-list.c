/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tidemark list and show: what is in a folder of backups. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "backup.h"
#include "contents.h"
#include "extents.h"
#include "folder.h"
#include "qemu/cutils.h"

typedef struct ListArgs {
    bool json;
} ListArgs;

static const CliOption list_options[] = {
    BACKUP_FLAG(ListArgs, CLI_LONG_ONLY, "json", json),
    { 0 },
};

/* "2026-11-29 14:24:00", here; caller frees. */
static char *local_time(const char *text)
{
    int64_t seconds = text ? manifest_parse_time(text) : -1;
    g_autoptr(GDateTime) t =
        seconds < 0 ? NULL : g_date_time_new_from_unix_local(seconds);

    return t ? g_date_time_format(t, "%Y-%m-%d %H:%M:%S") : g_strdup("-");
}

/* Raw files are sparse: what is valid in them counts. */
static int64_t file_bytes(const Backup *b)
{
    int64_t sum = 0;

    for (BackupDiskList *l = b->manifest->disks; l; l = l->next) {
        const BackupDisk *d = l->value;

        sum += d->format == BACKUP_FORMAT_RAW ? extents_total(d->extents)
                                              : d->file_size;
    }
    return sum;
}

/* What is there of a backup, in a word. */
static const char *state_of(const Backup *b)
{
    if (!b->manifest) {
        return b->partial ? "interrupted" : "damaged";
    }
    return b->partial ? "interrupted" : BackupState_str(b->manifest->state);
}

/* --- list --- */

/* "disk0 full, disk1 incremental"; caller frees. */
static char *disks_text(const Backup *b)
{
    GString *text = g_string_new("");

    for (BackupDiskList *l = b->manifest->disks; l; l = l->next) {
        g_string_append_printf(text, "%s%s %s", text->len ? ", " : "",
                               l->value->name,
                               BackupLevel_str(l->value->level));
    }
    return g_string_free(text, FALSE);
}

static void list_line(const Backup *b)
{
    if (!b->manifest) {
        printf("%-22s  %-11s  %s\n", b->id, state_of(b),
               b->damage);
    } else {
        g_autofree char *when = local_time(b->manifest->time);
        g_autofree char *size = size_to_str(file_bytes(b));
        g_autofree char *disks = disks_text(b);

        printf("%-22s  %-11s  %-19s  %8s  %s\n", b->id, state_of(b), when,
               size, disks);
    }
}

/* The manifest, without extents unless @all; a new reference. */
static json_object *backup_json(const Backup *b, bool all)
{
    json_object *obj = b->manifest ? qapi_BackupManifest_to_json(b->manifest)
                                   : json_fill("{'id': %s}", b->id);
    json_object *disks = json_get_array(obj, "disks");

    for (size_t i = 0; i < json_length(disks) && !all; i++) {
        json_object_object_del(json_at(disks, i), "extents");
    }
    json_object_object_add(obj, "state",
                           json_object_new_string(state_of(b)));
    json_object_object_add(obj, "folder", json_object_new_string(b->dir));
    if (b->damage) {
        json_object_object_add(obj, "damage",
                               json_object_new_string(b->damage));
    }
    return obj;
}

static void print_json(json_object *obj)
{
    g_autofree char *text = json_text(obj, true);

    puts(text);
    json_object_put(obj);
}

static BackupFolder *open_folder(const char *path, BackupStatus *status)
{
    Error *err = NULL;
    bool busy = false;
    BackupFolder *f = backup_folder_open(path, BACKUP_LOOK, &busy, &err);

    if (!f) {
        error_report_err(err);
        *status = busy ? BACKUP_BUSY : BACKUP_FAILED;
    }
    return f;
}

BackupStatus backup_cmd_list(int argc, char **argv)
{
    ListArgs args = { 0 };
    int first = cli_parse(argc, argv, list_options, &args, backup_help);
    g_autoptr(BackupFolder) f = NULL;
    BackupStatus status = BACKUP_OK;
    json_object *all;

    if (argc - first != 1) {
        cli_usage_error("Expecting a folder of backups");
    }
    f = open_folder(argv[first], &status);
    if (!f) {
        return status;
    }
    for (guint i = 0; i < f->backups->len && !args.json; i++) {
        list_line(f->backups->pdata[i]);
    }
    if (!args.json) {
        return BACKUP_OK;
    }
    all = json_object_new_array();
    for (guint i = 0; i < f->backups->len; i++) {
        json_object_array_add(all, backup_json(f->backups->pdata[i], false));
    }
    print_json(all);
    return BACKUP_OK;
}

/* --- show --- */

static guint count_extents(const BackupDisk *d)
{
    BackupExtentList *list = d->extents;

    return QAPI_LIST_LENGTH(list);
}

/* One backup in the chain of a disk. */
static void show_link(const Backup *b, const BackupDisk *d)
{
    g_autofree char *when = local_time(b->manifest->time);
    g_autofree char *copied = size_to_str(d->copied);
    g_autofree char *size = size_to_str(d->file_size);
    bool has_holes = d->format == BACKUP_FORMAT_RAW;

    printf("  %-22s  %-12s  %-19s  %8s in %u part%s%s%s\n", b->id,
           BackupLevel_str(d->level), when, copied, count_extents(d),
           count_extents(d) == 1 ? "" : "s", has_holes ? "" : ", file ",
           has_holes ? "" : size);
}

static void show_disk(const BackupFolder *f, const Backup *b,
                      const BackupDisk *d, BackupStatus *status)
{
    Error *err = NULL;
    g_autoptr(GPtrArray) chain = backup_chain(f, b, d->name, &err);
    g_autofree char *size = size_to_str(d->size);

    printf("\ndisk %s: %s, node %s\n", d->name, size, d->node);
    printf("  %s: %s\n", BackupLevel_str(d->level), d->reason);
    if (!chain) {
        printf("  cannot be restored: %s\n", error_get_pretty(err));
        error_free(err);
        *status = BACKUP_DAMAGED;
        return;
    }
    printf("  to restore it are needed:\n");
    for (guint i = 0; i < chain->len; i++) {
        const Backup *link = chain->pdata[i];

        show_link(link, manifest_find_disk(link->manifest, d->name));
    }
    if (d->bitmap) {
        printf("  bitmap of what was written since: %s\n", d->bitmap);
    }
    if (d->sha256) {
        printf("  SHA-256 of %s: %s\n", d->uri ? d->uri : d->file,
               d->sha256);
    }
}

static BackupStatus show(const BackupFolder *f, const Backup *b)
{
    const BackupManifest *m = b->manifest;
    g_autofree char *when = local_time(m->time);
    g_autofree char *finished = local_time(m->finished);
    BackupStatus status = BACKUP_OK;

    printf("backup %s\n  of %s, finished %s\n  made by %s of %s\n", b->id,
           when, finished, m->tool, m->server);
    for (BackupDiskList *l = m->disks; l; l = l->next) {
        show_disk(f, b, l->value, &status);
    }
    return status;
}

BackupStatus backup_cmd_show(int argc, char **argv)
{
    ListArgs args = { 0 };
    int first = cli_parse(argc, argv, list_options, &args, backup_help);
    g_autoptr(BackupFolder) f = NULL;
    BackupStatus status = BACKUP_OK;
    Error *err = NULL;
    Backup *b;

    if (argc - first < 1 || argc - first > 2) {
        cli_usage_error("Expecting a folder of backups, and perhaps one of "
                        "them");
    }
    f = open_folder(argv[first], &status);
    if (!f) {
        return status;
    }
    b = backup_folder_find(f, argv[first + 1], &err);
    if (!b) {
        error_report_err(err);
        return BACKUP_FAILED;
    }
    if (args.json) {
        print_json(backup_json(b, true));
        return BACKUP_OK;
    }
    return show(f, b);
}
