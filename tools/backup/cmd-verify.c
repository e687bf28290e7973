/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tidemark verify: is what the manifests say still there? */
#include "qemu/osdep.h"

#include "backup.h"
#include "block/graph.h"
#include "contents.h"
#include "folder.h"
#include "progress.h"

typedef struct VerifyArgs {
    bool quick, quiet;
} VerifyArgs;

static const CliOption verify_options[] = {
    BACKUP_FLAG(VerifyArgs, CLI_LONG_ONLY, "quick", quick),
    BACKUP_FLAG(VerifyArgs, 'q', "quiet", quiet),
    { 0 },
};

typedef struct Verify {
    const VerifyArgs *args;
    const BackupFolder *folder;
    int backups, problems;
    bool failed; /* it could not be done */
} Verify;

static void G_GNUC_PRINTF(2, 3) problem(Verify *v, const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    progress_clear();
    printf("%s\n", text);
    v->problems++;
}

/* Tells @err, and frees it. */
static void problem_err(Verify *v, const Backup *b, Error *err)
{
    problem(v, "%s: %s", b->id, error_get_pretty(err));
    error_free(err);
}

/* A ContentsProgress. */
static void on_read(void *opaque, int64_t done, int64_t total)
{
    const Verify *v = opaque;

    if (!v->args->quiet) {
        progress_show("reading", done, total);
    }
}

static void verify_digest(Verify *v, const Backup *b, const BackupDisk *d,
                          const char *file)
{
    g_autofree char *sum = NULL;
    Error *err = NULL;

    if (!d->sha256) {
        return;
    }
    sum = contents_digest(d, file, on_read, v, &err);
    if (!sum) {
        v->failed |= tool_interrupted();
        problem_err(v, b, err);
    } else if (strcmp(sum, d->sha256)) {
        problem(v, "%s: the digest of '%s' is wrong: it has changed", b->id,
                d->uri ? d->uri : d->file);
    }
}

/* Does the header of the image name the image of the parent? */
static void verify_backing(Verify *v, const Backup *b, const BackupDisk *d,
                           BlockDriverState *bs)
{
    g_autofree char *expected = backup_backing_name(v->folder, d);

    if (g_strcmp0(expected, bs->backing_file)) {
        problem(v, "%s: '%s' is based on '%s' instead of '%s'", b->id, d->file,
                bs->backing_file ? bs->backing_file : "nothing",
                expected ? expected : "nothing");
    }
}

static void verify_image(Verify *v, const Backup *b, const BackupDisk *d,
                         const char *file)
{
    Error *err = NULL;
    g_autoptr(BlockDriverState) bs = bdrv_open_file(
        file, BackupFormat_str(d->format), BDRV_O_NO_BACKING | BDRV_O_CHECK,
        &err);
    BdrvCheckResult result = { 0 };
    int ret;

    if (!bs) {
        problem_err(v, b, err);
        return;
    }
    verify_backing(v, b, d, bs);
    if (bdrv_getlength(bs) != d->size) {
        problem(v, "%s: '%s' has another size than disk '%s'", b->id, d->file,
                d->name);
    }
    ret = bdrv_check(bs, &result, 0);
    if (ret < 0 || result.corruptions || result.check_errors) {
        problem(v, "%s: the image '%s' is corrupt", b->id, d->file);
    }
}

static void verify_disk(Verify *v, const Backup *b, const BackupDisk *d)
{
    g_autofree char *file = backup_file(b, d);
    g_autoptr(GPtrArray) chain = NULL;
    Error *err = NULL;

    chain = backup_chain(v->folder, b, d->name, &err);
    if (!chain) {
        problem(v, "%s: disk '%s' cannot be restored: %s", b->id, d->name,
                error_get_pretty(err));
        error_free(err);
    }
    if (!d->uri && !g_file_test(file, G_FILE_TEST_EXISTS)) {
        return; /* the chain has told it */
    }
    if (backup_is_merged(v->folder, b, d)) {
        return; /* the manifest tells of the file as it was before */
    }
    if (d->format == BACKUP_FORMAT_QCOW2) {
        verify_image(v, b, d, file);
    } else if (!d->uri && d->file_size != d->size) {
        problem(v, "%s: '%s' has another size than disk '%s'", b->id, d->file,
                d->name);
    }
    if (!v->args->quick) {
        verify_digest(v, b, d, file);
    }
}

static void verify_backup(Verify *v, const Backup *b)
{
    if (b->partial) {
        return; /* nobody relies on it */
    }
    v->backups++;
    if (!b->manifest) {
        problem(v, "%s: %s", b->id, b->damage);
        return;
    }
    if (b->manifest->state == BACKUP_STATE_MERGING) {
        return; /* prune continues with it */
    }
    for (BackupDiskList *l = b->manifest->disks; l && !v->failed;
         l = l->next) {
        verify_disk(v, b, l->value);
    }
}

static BackupStatus finish(Verify *v)
{
    progress_clear();
    if (v->failed) {
        return BACKUP_FAILED;
    }
    if (!v->args->quiet) {
        printf("%d backup%s, %d problem%s\n", v->backups,
               v->backups == 1 ? "" : "s", v->problems,
               v->problems == 1 ? "" : "s");
    }
    return v->problems ? BACKUP_DAMAGED : BACKUP_OK;
}

BackupStatus backup_cmd_verify(int argc, char **argv)
{
    VerifyArgs args = { 0 };
    int first = cli_parse(argc, argv, verify_options, &args, backup_help);
    g_autoptr(BackupFolder) f = NULL;
    Verify v = { .args = &args };
    Error *err = NULL;
    bool busy = false;

    if (argc - first < 1) {
        cli_usage_error("Expecting a folder of backups, and perhaps some of "
                        "them");
    }
    v.folder = f = backup_folder_open(argv[first], BACKUP_READ, &busy, &err);
    if (!f) {
        error_report_err(err);
        return busy ? BACKUP_BUSY : BACKUP_FAILED;
    }
    for (int i = first + 1; i < argc; i++) {
        Backup *b = backup_folder_find(f, argv[i], &err);

        if (!b) {
            error_report_err(err);
            return BACKUP_FAILED;
        }
        verify_backup(&v, b);
    }
    for (guint i = 0; i < f->backups->len && argc - first == 1; i++) {
        verify_backup(&v, f->backups->pdata[i]);
    }
    return finish(&v);
}
