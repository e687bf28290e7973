/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tidemark restore: options. */
#include "qemu/osdep.h"

#include "backup.h"
#include "qemu/cutils.h"
#include "restore.h"

typedef struct RestoreArgs {
    const char *until, *disk, *output, *format, *daemon;
    bool force, quiet;
} RestoreArgs;

static const CliOption restore_options[] = {
    BACKUP_TEXT(RestoreArgs, 'u', "until", until),
    BACKUP_TEXT(RestoreArgs, 'd', "disk", disk),
    BACKUP_TEXT(RestoreArgs, 'o', "output", output),
    BACKUP_TEXT(RestoreArgs, 'O', "output-format", format),
    BACKUP_TEXT(RestoreArgs, CLI_LONG_ONLY, "daemon", daemon),
    BACKUP_FLAG(RestoreArgs, 'f', "force", force),
    BACKUP_FLAG(RestoreArgs, 'q', "quiet", quiet),
    { 0 },
};

static bool restore(const RestoreArgs *args, const BackupFolder *f,
                    Error **errp)
{
    Backup *b = backup_folder_find(f, args->until, errp);
    const BackupDisk *d = b ? backup_choose_disk(b, args->disk, errp) : NULL;
    g_autoptr(GPtrArray) chain =
        d ? backup_chain(f, b, d->name, errp) : NULL;
    Restore r = {
        .folder = f,
        .backup = b,
        .disk = d,
        .output = args->output,
        .format = args->format,
        .daemon = args->daemon,
        .force = args->force,
        .quiet = args->quiet,
    };

    if (!chain || !backup_restore(&r, errp)) {
        return false;
    }
    if (!args->quiet) {
        printf("%s: %s restored to %s\n", b->id, d->name, args->output);
    }
    return true;
}

BackupStatus backup_cmd_restore(int argc, char **argv)
{
    RestoreArgs args = { 0 };
    int first = cli_parse(argc, argv, restore_options, &args, backup_help);
    g_autoptr(BackupFolder) f = NULL;
    Error *err = NULL;
    bool busy = false;

    if (argc - first != 1 || !args.output) {
        cli_usage_error("Expecting a folder of backups, and --output");
    }
    if (args.format && strcmp(args.format, "qcow2") &&
        strcmp(args.format, "raw")) {
        cli_usage_error("--output-format is qcow2 or raw");
    }
    f = backup_folder_open(argv[first], BACKUP_READ, &busy, &err);
    if (!f || !restore(&args, f, &err)) {
        error_report_err(err);
        return busy ? BACKUP_BUSY : BACKUP_FAILED;
    }
    return BACKUP_OK;
}
