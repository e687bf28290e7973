/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Removing a backup that another one is based on. */
#include "qemu/osdep.h"

#include "block/block-backend.h"
#include "block/commit.h"
#include "block/graph.h"
#include "contents.h"
#include "durable.h"
#include "extents.h"
#include "merge.h"
#include "progress.h"
#include "tools/common/image.h"

typedef struct Merge {
    BackupFolder *folder;
    Backup *gone, *child;
    BackupDisk *below, *above; /* the disk in both */
    char *below_file, *above_file;
    bool digest, quiet;
} Merge;

int merge_count_children(const BackupFolder *f, const Backup *b,
                         const BackupDisk *d, Backup **child)
{
    int n = 0;

    for (guint i = 0; i < f->backups->len; i++) {
        Backup *other = f->backups->pdata[i];
        BackupDisk *above = other->manifest
                                ? manifest_find_disk(other->manifest, d->name)
                                : NULL;

        if (above && above->parent && !strcmp(above->parent, b->id)) {
            *child = other;
            n++;
        }
    }
    return n;
}

/* --- committing --- */

static bool on_commit(void *opaque, int64_t done, int64_t total)
{
    const Merge *m = opaque;

    if (!m->quiet) {
        progress_show("merging", done, total);
    }
    return !tool_interrupted();
}

static BlockBackend *open_image(const char *path, BackupFormat format,
                                int flags, Error **errp)
{
    ToolImage image = {
        .filename = path,
        .format = BackupFormat_str(format),
        .flags = flags,
    };

    return tool_open(&image, errp);
}

/* The file below gets the size of the disk. */
static bool fit_size(const Merge *m, BlockBackend *base, int64_t size,
                     Error **errp)
{
    int64_t old = blk_getlength(base);

    if (old < 0) {
        error_setg_errno(errp, -old, "Could not get the size");
        return false;
    }
    if (m->below->uri) {
        if (old < size) {
            error_setg(errp, "'%s' is smaller than the disk", m->below->uri);
        }
        return old >= size; /* it cannot be made to fit */
    }
    if (old > size) {
        return blk_truncate(base, size, true, PREALLOC_MODE_OFF, 0,
                            errp) >= 0;
    }
    return commit_grow(base, size, errp) >= 0;
}

/* A ContentsProgress. */
static void on_copy(void *opaque, int64_t done, int64_t total)
{
    on_commit(opaque, done, total);
}

static bool copy_data(const Merge *m, BlockBackend *top, BlockBackend *base,
                      Error **errp)
{
    CommitLayer layer = { .bs = blk_bs(top), .blk = top };
    CommitCopy copy = {
        .layers = &layer,
        .n_layers = 1,
        .base = base,
        .size = m->above->size,
        .progress = on_commit,
        .opaque = (void *)m,
    };
    int ret;

    if (m->above->format == BACKUP_FORMAT_RAW) {
        return extents_copy(m->above->extents, top, base, on_copy, (void *)m,
                            errp);
    }
    ret = commit_copy(&copy);
    progress_clear();
    if (ret == -EINTR) {
        error_setg(errp, "Interrupted");
    } else if (ret < 0) {
        error_setg_errno(errp, -ret, "Merging '%s' and '%s' failed",
                         m->below_file, m->above_file);
    }
    return ret >= 0;
}

/* The data of the child is written into the file below it. */
static bool commit(const Merge *m, Error **errp)
{
    g_autoptr(BlockBackend) top = NULL;
    BlockBackend *base;
    bool ok;

    top = open_image(m->above_file, m->above->format, BDRV_O_NO_BACKING,
                     errp);
    if (!top) {
        return false;
    }
    base = open_image(m->below_file, m->below->format, m->below->uri
                      ? BDRV_O_RDWR : BDRV_O_RDWR | BDRV_O_RESIZE, errp);
    if (!base) {
        return false;
    }
    ok = fit_size(m, base, m->above->size, errp) &&
         copy_data(m, top, base, errp);
    progress_clear();
    blk_unref(base);
    return ok && (m->below->uri || durable_sync(m->below_file, errp));
}

/* --- files and manifests --- */

static bool replace_file(const Merge *m, Error **errp)
{
    if (m->below->uri) {
        return true; /* the manifest will say where the data is */
    }
    if (rename(m->below_file, m->above_file) < 0) {
        error_setg_errno(errp, errno, "Could not rename '%s' to '%s'",
                         m->below_file, m->above_file);
        return false;
    }
    return durable_sync(m->child->dir, errp) &&
           durable_sync(m->gone->dir, errp);
}

/* A ContentsProgress. */
static void on_read(void *opaque, int64_t done, int64_t total)
{
    const Merge *m = opaque;

    if (!m->quiet) {
        progress_show("reading", done, total);
    }
}

/* What the child's manifest says of the file. */
static bool describe(const Merge *m, Error **errp)
{
    BackupDisk *d = m->above;
    g_autofree char *file = backup_file(m->child, d);
    bool ok;

    if (d->format == BACKUP_FORMAT_RAW) {
        BackupExtentList *all =
            extents_union(m->below->extents, d->extents, d->size);

        qapi_free_BackupExtentList(d->extents);
        d->extents = all;
    }
    ok = contents_describe(d, file, m->digest, on_read, (void *)m, errp);
    progress_clear();
    return ok;
}

/* Is the file of the child based on what the one that goes was based on? */
static bool check_replaced(const Merge *m, Error **errp)
{
    g_autoptr(BlockDriverState) bs = NULL;
    g_autofree char *name = NULL;

    if (m->above->format == BACKUP_FORMAT_RAW) {
        return true; /* a raw file does not tell */
    }
    bs = bdrv_open_file(m->above_file, "qcow2", BDRV_O_NO_BACKING, errp);
    if (!bs) {
        return false;
    }
    name = backup_backing_name(m->folder, m->below);
    if (g_strcmp0(name, bs->backing_file)) {
        error_setg(errp, "'%s' is not there, and '%s' does not have its data",
                   m->below_file, m->above_file);
        return false;
    }
    return true;
}

static bool update_manifest(const Merge *m, Error **errp)
{
    BackupDisk *d = m->above;

    if (!check_replaced(m, errp)) {
        return false;
    }
    d->level = m->below->level;
    g_free(d->reason);
    d->reason = g_strdup(m->below->reason);
    g_free(d->parent);
    d->parent = g_strdup(m->below->parent);
    g_free(d->uri);
    d->uri = g_strdup(m->below->uri);
    return describe(m, errp) && backup_save(m->child, errp);
}

static bool merge_disk(Merge *m, Error **errp)
{
    bool ok;

    m->above = manifest_find_disk(m->child->manifest, m->below->name);
    m->below_file = backup_file(m->gone, m->below);
    m->above_file = backup_file(m->child, m->above);
    /* It is gone where this was interrupted after the rename. */
    ok = (!m->below->uri &&
          !g_file_test(m->below_file, G_FILE_TEST_EXISTS)) ||
         (commit(m, errp) && replace_file(m, errp));
    ok = ok && update_manifest(m, errp);
    g_free(m->below_file);
    g_free(m->above_file);
    return ok;
}

/* Are the files there that are to be merged, and as they were? */
static bool check_files(const BackupFolder *f, const Backup *b, Error **errp)
{
    for (BackupDiskList *l = b->manifest->disks; l; l = l->next) {
        Backup *child;
        bool based = merge_count_children(f, b, l->value, &child) > 0;
        g_autoptr(GPtrArray) chain =
            based ? backup_chain(f, child, l->value->name, errp) : NULL;

        if (based && !chain) {
            return false;
        }
    }
    return true;
}

bool merge_away(BackupFolder *f, Backup *b, bool digest, bool quiet,
                Error **errp)
{
    Merge m = {
        .folder = f, .gone = b, .digest = digest, .quiet = quiet,
    };

    if (b->manifest->state != BACKUP_STATE_MERGING) {
        if (!check_files(f, b, errp)) {
            return false;
        }
        b->manifest->state = BACKUP_STATE_MERGING;
        if (!backup_save(b, errp)) {
            return false;
        }
    }
    for (BackupDiskList *l = b->manifest->disks; l; l = l->next) {
        m.below = l->value;
        if (merge_count_children(f, b, m.below, &m.child) &&
            !merge_disk(&m, errp)) {
            return false;
        }
    }
    return backup_folder_remove(f, b, errp);
}
