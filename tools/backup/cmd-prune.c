/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tidemark prune: which backups go, and how. */
#include "qemu/osdep.h"

#include "backup.h"
#include "merge.h"
#include "progress.h"
#include "retention.h"

typedef struct PruneArgs {
    const char *keep;
    bool dry_run, quiet;
} PruneArgs;

static const CliOption prune_options[] = {
    BACKUP_TEXT(PruneArgs, 'k', "keep", keep),
    BACKUP_FLAG(PruneArgs, 'n', "dry-run", dry_run),
    BACKUP_FLAG(PruneArgs, 'q', "quiet", quiet),
    { 0 },
};

typedef struct Prune {
    const PruneArgs *args;
    BackupFolder *folder;
    GHashTable *keep; /* ids that are kept */
} Prune;

static void G_GNUC_PRINTF(2, 3) say(const Prune *p, const char *fmt, ...)
{
    va_list ap;

    if (!p->args->quiet) {
        progress_clear();
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        fflush(stdout);
    }
}

/* --- what is kept --- */

/* The whole backups with their times. */
static GPtrArray *whole_backups(const BackupFolder *f, GArray *times)
{
    GPtrArray *list = g_ptr_array_new();

    for (guint i = 0; i < f->backups->len; i++) {
        Backup *b = f->backups->pdata[i];
        int64_t when = backup_is_whole(b) && b->manifest->time
                           ? manifest_parse_time(b->manifest->time) : -1;

        if (when >= 0) {
            g_ptr_array_add(list, b);
            g_array_append_val(times, when);
        }
    }
    return list;
}

/* Does @b have the newest bitmap of one of its disks? */
static bool begins_increment(const BackupFolder *f, const Backup *b)
{
    for (BackupDiskList *l = b->manifest->disks; l; l = l->next) {
        bool newest = l->value->bitmap != NULL;

        for (guint i = 0; i < f->backups->len && newest; i++) {
            Backup *later = f->backups->pdata[i];
            BackupDisk *d = backup_is_whole(later) &&
                                    later->sequence > b->sequence
                                ? manifest_find_disk(later->manifest,
                                                     l->value->name) : NULL;

            newest = !(d && d->bitmap);
        }
        if (newest) {
            return true;
        }
    }
    return false;
}

static void choose(Prune *p, const GArray *rules)
{
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(int64_t));
    g_autoptr(GPtrArray) list = whole_backups(p->folder, times);
    g_autofree bool *keep = g_new0(bool, list->len + 1);

    retention_apply(rules, (const int64_t *)times->data, list->len, keep);
    for (guint i = 0; i < list->len; i++) {
        Backup *b = list->pdata[i];

        if (keep[i] || i + 1 == list->len ||
            begins_increment(p->folder, b)) {
            g_hash_table_add(p->keep, g_strdup(b->id));
        }
    }
}

/* --- what can go --- */

static bool later_damage(const BackupFolder *f, const Backup *b)
{
    for (guint i = 0; i < f->backups->len; i++) {
        Backup *other = f->backups->pdata[i];

        if (!other->manifest && !other->partial &&
            other->sequence > b->sequence) {
            return true;
        }
    }
    return false;
}

/*
 * Why @b has to stay; NULL: it can go.  *@n gets how many backups are based on
 * it.  The reason is freed by the caller.
 */
static char *obstacle(const Prune *p, const Backup *b, int *n)
{
    *n = 0;
    if (later_damage(p->folder, b)) {
        return g_strdup("a damaged backup may be based on it");
    }
    for (BackupDiskList *l = b->manifest->disks; l; l = l->next) {
        Backup *child = NULL;
        int children = merge_count_children(p->folder, b, l->value, &child);

        if (children > 1) {
            return g_strdup_printf("%d backups are based on disk %s of it",
                                   children, l->value->name);
        }
        if (children && !backup_is_whole(child)) {
            return g_strdup_printf("%s, which is not whole, is based on it",
                                   child->id);
        }
        if (children && !l->value->uri != !manifest_find_disk(
                child->manifest, l->value->name)->uri) {
            return g_strdup_printf("the data of %s, which is based on it, is "
                                   "in another place", child->id);
        }
        *n = MAX(*n, children);
    }
    return NULL;
}

static bool is_gone(const Prune *p, const Backup *b)
{
    return b->manifest && !b->partial &&
           (b->manifest->state == BACKUP_STATE_MERGING ||
            (backup_is_whole(b) && !g_hash_table_contains(p->keep, b->id)));
}

/*
 * The next one that can go: first the newest that nothing is based on, then the
 * oldest, since its file is the largest and need not be copied.  NULL: none.
 */
static Backup *next_gone(Prune *p)
{
    GPtrArray *all = p->folder->backups;
    Backup *oldest = NULL;

    for (guint i = all->len; i-- > 0;) {
        Backup *b = all->pdata[i];
        g_autofree char *reason = NULL;
        int children;

        if (!is_gone(p, b)) {
            continue;
        }
        reason = obstacle(p, b, &children);
        if (reason) {
            continue;
        }
        if (b->manifest->state == BACKUP_STATE_MERGING || !children) {
            return b;
        }
        oldest = b;
    }
    return oldest;
}

static void tell_obstacles(Prune *p)
{
    for (guint i = 0; i < p->folder->backups->len; i++) {
        Backup *b = p->folder->backups->pdata[i];
        int children;
        g_autofree char *reason =
            is_gone(p, b) ? obstacle(p, b, &children) : NULL;

        if (reason) {
            say(p, "%s: stays, as %s\n", b->id, reason);
        }
    }
}

/* --- removing --- */

/* Is what @b is merged with kept, so that its digest is wanted? */
static bool wants_digest(const Prune *p, const Backup *b)
{
    for (BackupDiskList *l = b->manifest->disks; l; l = l->next) {
        Backup *child = NULL;

        if (merge_count_children(p->folder, b, l->value, &child) &&
            !is_gone(p, child)) {
            return true;
        }
    }
    return false;
}

static bool remove_one(Prune *p, Backup *b, Error **errp)
{
    g_autofree char *id = g_strdup(b->id);
    g_autofree char *into = NULL;
    Backup *child = NULL;

    for (BackupDiskList *l = b->manifest->disks; l && !child; l = l->next) {
        merge_count_children(p->folder, b, l->value, &child);
    }
    into = child ? g_strdup(child->id) : NULL;
    if (!merge_away(p->folder, b, wants_digest(p, b), p->args->quiet,
                    errp)) {
        error_prepend(errp, "%s: ", id);
        return false;
    }
    if (into) {
        say(p, "%s: merged with %s\n", id, into);
    } else {
        say(p, "%s: removed\n", id);
    }
    return true;
}

static bool remove_all(Prune *p, Error **errp)
{
    Backup *b;

    while ((b = next_gone(p))) {
        if (tool_interrupted()) {
            error_setg(errp, "Interrupted");
            return false;
        }
        if (!remove_one(p, b, errp)) {
            return false;
        }
    }
    tell_obstacles(p);
    return true;
}

static void tell_plan(const Prune *p)
{
    for (guint i = 0; i < p->folder->backups->len; i++) {
        Backup *b = p->folder->backups->pdata[i];

        if (b->manifest && !b->partial) {
            printf("%s: %s\n", b->id, is_gone(p, b) ? "would go" : "stays");
        }
    }
}

static bool prune(const PruneArgs *args, BackupFolder *f, const GArray *rules,
                  Error **errp)
{
    g_autoptr(GHashTable) keep =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Prune p = { .args = args, .folder = f, .keep = keep };

    choose(&p, rules);
    if (args->dry_run) {
        tell_plan(&p);
        return true;
    }
    return remove_all(&p, errp);
}

BackupStatus backup_cmd_prune(int argc, char **argv)
{
    PruneArgs args = { 0 };
    int first = cli_parse(argc, argv, prune_options, &args, backup_help);
    g_autoptr(BackupFolder) f = NULL;
    g_autoptr(GArray) rules = NULL;
    Error *err = NULL;
    bool busy = false;

    if (argc - first != 1 || !args.keep) {
        cli_usage_error("Expecting a folder of backups, and --keep");
    }
    rules = retention_parse(args.keep, &err);
    f = rules ? backup_folder_open(argv[first], BACKUP_CHANGE, &busy, &err)
              : NULL;
    if (!f || !prune(&args, f, rules, &err)) {
        error_report_err(err);
        return busy ? BACKUP_BUSY : f ? BACKUP_RESUMABLE : BACKUP_FAILED;
    }
    return BACKUP_OK;
}
