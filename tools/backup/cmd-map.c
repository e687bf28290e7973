/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tidemark map: a picture of where a disk changed.
 *
 *     of a folder      a row for each backup of the disk, and one for all
 *     of one backup    the disk in rows, one below the other
 *     of a bitmap      the same, of what is dirty
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "backup.h"
#include "bitmap-read.h"
#include "durable.h"
#include "extents.h"
#include "heat.h"
#include "qemu/cutils.h"

#define GRID_ROWS 16
#define SVG_COLUMNS 128
/* Columns that texts beside the cells take. */
#define GRID_TEXTS 28
#define BACKUP_TEXTS 26

typedef struct MapArgs {
    const char *qmp, *node, *bitmap, *nbd, *disk, *svg, *timeout;
    bool ascii;
    int timeout_ms;
} MapArgs;

static const CliOption map_options[] = {
    BACKUP_TEXT(MapArgs, 'd', "disk", disk),
    BACKUP_TEXT(MapArgs, CLI_LONG_ONLY, "qmp", qmp),
    BACKUP_TEXT(MapArgs, 'n', "node", node),
    BACKUP_TEXT(MapArgs, 'b', "bitmap", bitmap),
    BACKUP_TEXT(MapArgs, CLI_LONG_ONLY + 1, "nbd", nbd),
    BACKUP_TEXT(MapArgs, CLI_LONG_ONLY + 2, "svg", svg),
    BACKUP_FLAG(MapArgs, CLI_LONG_ONLY + 3, "ascii", ascii),
    BACKUP_TEXT(MapArgs, CLI_LONG_ONLY + 4, "timeout", timeout),
    { 0 },
};

static int columns(const MapArgs *args, int texts)
{
    return args->svg ? SVG_COLUMNS : heat_columns(texts);
}

static bool show(const MapArgs *args, const HeatPicture *p, Error **errp)
{
    g_autofree char *text = NULL, *dir = NULL, *name = NULL;

    if (!args->svg) {
        heat_print(p, args->ascii ? HEAT_ASCII : heat_style());
        return true;
    }
    text = heat_svg(p);
    dir = g_path_get_dirname(args->svg);
    name = g_path_get_basename(args->svg);
    return durable_write(dir, name, text, errp);
}

/* --- one list of parts --- */

/* The disk in rows, one below the other; takes over @title. */
static HeatPicture *draw_grid(const MapArgs *args, char *title, int64_t size,
                              const BackupExtentList *list)
{
    HeatPicture *p = heat_new(title, columns(args, GRID_TEXTS));
    int64_t row_size = MAX(DIV_ROUND_UP(size, GRID_ROWS), 1);

    for (int64_t start = 0; start < size; start += row_size) {
        int64_t end = MIN(start + row_size, size);
        BackupExtentList *before = extents_union(list, NULL, start);
        BackupExtentList *until = extents_union(list, NULL, end);
        char *note = size_to_str(extents_total(until) -
                                 extents_total(before));
        HeatRow *row = heat_add_row(p, size_to_str(start), note);

        /* The last row may be shorter: its cells are as wide as others. */
        heat_fill(p, row, start, start + row_size, list, 1);
        qapi_free_BackupExtentList(before);
        qapi_free_BackupExtentList(until);
    }
    return p;
}

/* --- backups --- */

static bool map_backup(const MapArgs *args, const Backup *b,
                       const BackupDisk *d, Error **errp)
{
    g_autofree char *copied = size_to_str(d->copied);
    g_autofree char *size = size_to_str(d->size);
    g_autoptr(HeatPicture) p = draw_grid(
        args, g_strdup_printf("disk %s in backup %s, %s: %s of %s", d->name,
                              b->id, BackupLevel_str(d->level), copied, size),
        d->size, d->extents);

    return show(args, p, errp);
}

/* The whole backups with disk @name. */
static GPtrArray *backups_of(const BackupFolder *f, const char *name,
                             int *increments)
{
    GPtrArray *list = g_ptr_array_new();

    *increments = 0;
    for (guint i = 0; i < f->backups->len; i++) {
        Backup *b = f->backups->pdata[i];
        BackupDisk *d = backup_is_whole(b)
                            ? manifest_find_disk(b->manifest, name) : NULL;

        if (d) {
            g_ptr_array_add(list, b);
            *increments += d->level != BACKUP_LEVEL_FULL;
        }
    }
    return list;
}

/* "full", "incr", "diff". */
static char *short_label(const Backup *b, const BackupDisk *d)
{
    return g_strdup_printf("%05" PRId64 " %.4s", b->sequence,
                           BackupLevel_str(d->level));
}

static bool map_folder(const MapArgs *args, const BackupFolder *f,
                       const BackupDisk *last, Error **errp)
{
    int increments;
    g_autoptr(GPtrArray) list = backups_of(f, last->name, &increments);
    g_autofree char *size = size_to_str(last->size);
    g_autoptr(HeatPicture) p = heat_new(
        g_strdup_printf("disk %s, %s: what each backup has", last->name,
                        size), columns(args, BACKUP_TEXTS));
    HeatRow *sum = NULL;

    for (guint i = 0; i < list->len; i++) {
        const Backup *b = list->pdata[i];
        const BackupDisk *d = manifest_find_disk(b->manifest, last->name);
        HeatRow *row = heat_add_row(p, short_label(b, d),
                                    size_to_str(d->copied));

        heat_fill(p, row, 0, last->size, d->extents, 1);
    }
    sum = heat_add_row(p, g_strdup("increments"), g_strdup(""));
    for (guint i = 0; i < list->len; i++) {
        const Backup *b = list->pdata[i];
        const BackupDisk *d = manifest_find_disk(b->manifest, last->name);

        if (d->level != BACKUP_LEVEL_FULL) {
            heat_fill(p, sum, 0, last->size, d->extents, 1.0 / increments);
        }
    }
    return show(args, p, errp);
}

static bool map_dir(const MapArgs *args, const char *dir, const char *id,
                    Error **errp)
{
    g_autoptr(BackupFolder) f =
        backup_folder_open(dir, BACKUP_LOOK, NULL, errp);
    Backup *b = f ? backup_folder_find(f, id, errp) : NULL;
    const BackupDisk *d = b ? backup_choose_disk(b, args->disk, errp) : NULL;

    return d && (id ? map_backup(args, b, d, errp)
                    : map_folder(args, f, d, errp));
}

/* --- bitmaps --- */

static const SourceBitmap *choose_bitmap(const SourceDisk *disk,
                                         const char *name, Error **errp)
{
    const SourceBitmap *b = name ? source_find_bitmap(disk, name)
                            : disk->bitmaps->len == 1
                                ? disk->bitmaps->pdata[0] : NULL;
    g_autoptr(GString) names = g_string_new("");

    if (b && b->inconsistent) {
        error_setg(errp, "Bitmap '%s' is inconsistent", b->name);
        return NULL;
    }
    for (guint i = 0; i < disk->bitmaps->len && !b; i++) {
        g_string_append_printf(names, " %s",
                               ((SourceBitmap *)disk->bitmaps->pdata[i])
                                   ->name);
    }
    if (!b) {
        if (name) {
            error_setg(errp, "Node '%s' has no bitmap '%s'", disk->node, name);
        } else {
            error_setg(errp, "Node '%s' has no bitmap, or several",
                       disk->node);
        }
        error_append_hint(errp, "Its bitmaps:%s\n", names->str);
    }
    return b;
}

static bool map_bitmap(const MapArgs *args, Error **errp)
{
    g_autoptr(QmpClient) c =
        qmp_client_connect(args->qmp, args->timeout_ms, errp);
    char *words[] = { (char *)args->node, NULL };
    g_autoptr(GPtrArray) disks = c ? source_disks(c, words, errp) : NULL;
    SourceDisk *disk = disks ? disks->pdata[0] : NULL;
    const SourceBitmap *b =
        disk ? choose_bitmap(disk, args->bitmap, errp) : NULL;
    g_autoptr(BackupExtentList) list = NULL;
    g_autofree char *dirty = NULL, *size = NULL;
    g_autoptr(HeatPicture) p = NULL;
    bool ok;

    if (!b) {
        return false;
    }
    list = bitmap_read(c, disk, b, args->nbd, &ok, errp);
    if (!ok) {
        return false;
    }
    dirty = size_to_str(extents_total(list));
    size = size_to_str(disk->size);
    p = draw_grid(args, g_strdup_printf("node %s, bitmap %s: %s of %s",
                                        disk->node, b->name, dirty, size),
                  disk->size, list);
    return show(args, p, errp);
}

BackupStatus backup_cmd_map(int argc, char **argv)
{
    MapArgs args = { .timeout_ms = QMP_CLIENT_TIMEOUT_MS };
    int first = cli_parse(argc, argv, map_options, &args, backup_help);
    int n = argc - first;
    Error *err = NULL;
    bool ok;

    if (!args.qmp != (n == 1 || n == 2) || !args.qmp != !args.node) {
        cli_usage_error("Expecting a folder of backups, or --qmp and --node");
    }
    if (!backup_timeout(args.timeout, &args.timeout_ms)) {
        return BACKUP_FAILED;
    }
    ok = args.qmp ? map_bitmap(&args, &err)
                  : map_dir(&args, argv[first], n == 2 ? argv[first + 1]
                                                       : NULL, &err);
    if (!ok) {
        error_report_err(err);
        return BACKUP_FAILED;
    }
    return BACKUP_OK;
}
