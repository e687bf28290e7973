/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A folder of backups: opening, finding, adding and removing. */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "durable.h"
#include "folder-int.h"
#include "qemu/cutils.h"

#define FOLDER_NAME "tidemark.json"
#define FOLDER_FORMAT "tidemark-folder"
#define FOLDER_VERSION 1
#define PARTIAL ".partial"
#define REMOVED ".removed"
#define MAX_CHAIN 10000

static void backup_free(Backup *b)
{
    g_free(b->dir);
    g_free(b->id);
    g_free(b->damage);
    qapi_free_BackupManifest(b->manifest);
    g_free(b);
}

bool backup_is_whole(const Backup *b)
{
    return b->manifest && !b->partial &&
           b->manifest->state == BACKUP_STATE_WHOLE;
}

/* --- reading --- */

/* "00001-20261129T132400Z"; 0: it is no id. */
static int64_t sequence_of(const char *name)
{
    char *end;
    int64_t n = g_ascii_isdigit(*name) ? g_ascii_strtoll(name, &end, 10) : 0;

    return n > 0 && *end == '-' ? n : 0;
}

/* Does the manifest of @b fit its place? */
static bool fits(const BackupFolder *f, const Backup *b, Error **errp)
{
    const BackupManifest *m = b->manifest;

    if (strcmp(m->set, f->set)) {
        error_setg(errp, "It belongs to another folder of backups (%s)",
                   m->set);
    } else if (strcmp(m->id, b->id) || m->sequence != b->sequence) {
        error_setg(errp, "Its folder has another name than '%s'", m->id);
    } else if (!b->partial && m->state == BACKUP_STATE_RUNNING) {
        error_setg(errp, "It is not whole");
    } else {
        return true;
    }
    return false;
}

static Backup *read_backup(const BackupFolder *f, const char *name)
{
    Backup *b = g_new0(Backup, 1);
    Error *err = NULL;

    b->dir = g_build_filename(f->path, name, NULL);
    b->partial = g_str_has_suffix(name, PARTIAL);
    b->id = g_strndup(name, strlen(name) -
                            (b->partial ? strlen(PARTIAL) : 0));
    b->sequence = sequence_of(name);
    b->manifest = manifest_read(b->dir, &err);
    if (b->manifest && !fits(f, b, &err)) {
        qapi_free_BackupManifest(b->manifest);
        b->manifest = NULL;
    }
    if (!b->manifest) {
        b->damage = g_strdup(error_get_pretty(err));
        error_free(err);
    }
    return b;
}

static int compare(const void *a, const void *b)
{
    const Backup *x = *(Backup *const *)a, *y = *(Backup *const *)b;

    return x->sequence != y->sequence ? (x->sequence > y->sequence ? 1 : -1)
                                      : strcmp(x->dir, y->dir);
}

bool backup_folder_scan(BackupFolder *f, Error **errp)
{
    g_autoptr(GDir) dir = g_dir_open(f->path, 0, NULL);
    const char *name;

    if (!dir) {
        error_setg_errno(errp, errno, "Could not read the folder '%s'",
                         f->path);
        return false;
    }
    g_ptr_array_set_size(f->backups, 0);
    while ((name = g_dir_read_name(dir))) {
        int64_t sequence = sequence_of(name);

        f->last = MAX(f->last, sequence);
        if (sequence && !g_str_has_suffix(name, REMOVED)) {
            g_ptr_array_add(f->backups, read_backup(f, name));
        }
    }
    g_ptr_array_sort(f->backups, compare);
    return true;
}

/* --- opening --- */

static bool write_info(BackupFolder *f, Error **errp)
{
    g_autofree char *now = manifest_time(time(NULL));
    BackupFolderInfo info = {
        .format = (char *)FOLDER_FORMAT,
        .version = FOLDER_VERSION,
        .set = f->set,
        .created = now,
        .tool = (char *)manifest_tool(),
    };
    g_autoptr(json_object) obj = NULL;

    snprintf(f->set, sizeof(f->set), "%08x", g_random_int());
    obj = qapi_BackupFolderInfo_to_json(&info);
    return manifest_store(f->path, FOLDER_NAME, obj, errp);
}

static bool read_info(BackupFolder *f, Error **errp)
{
    g_autoptr(json_object) obj = manifest_load(
        f->path, FOLDER_NAME, FOLDER_FORMAT, FOLDER_VERSION, errp);
    g_autoptr(BackupFolderInfo) info = NULL;

    if (!obj) {
        return false;
    }
    info = qapi_BackupFolderInfo_from_json(obj, QAPI_INPUT_STRICT, errp);
    if (!info) {
        return false;
    }
    if (strlen(info->set) != 8 ||
        strspn(info->set, "0123456789abcdef") != 8) {
        error_setg(errp, "The set '%s' in %s is invalid", info->set,
                   FOLDER_NAME);
        return false;
    }
    strcpy(f->set, info->set);
    return true;
}

/* Is there nothing in the folder but what an interrupted start left? */
static bool is_new(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        if (strcmp(name, "lock") && strcmp(name, "lost+found") &&
            strcmp(name, FOLDER_NAME ".new")) {
            return false;
        }
    }
    return dir != NULL;
}

static bool is_folder(const char *path)
{
    g_autofree char *info = g_build_filename(path, FOLDER_NAME, NULL);

    return g_file_test(info, G_FILE_TEST_EXISTS);
}

/* Finishes what was interrupted: backups that are whole but for the name. */
static bool publish_whole(BackupFolder *f, Error **errp)
{
    for (guint i = 0; i < f->backups->len; i++) {
        Backup *b = f->backups->pdata[i];

        if (b->partial && b->manifest &&
            b->manifest->state == BACKUP_STATE_WHOLE &&
            !backup_folder_publish(f, b, errp)) {
            return false;
        }
    }
    return true;
}

/* The same: removals. */
static bool clean(BackupFolder *f, Error **errp)
{
    g_autoptr(GDir) dir = g_dir_open(f->path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        if (sequence_of(name) && g_str_has_suffix(name, REMOVED)) {
            g_autofree char *path = g_build_filename(f->path, name, NULL);

            if (!durable_remove_dir(path, errp)) {
                return false;
            }
        }
    }
    return true;
}

static bool open_folder(BackupFolder *f, BackupAccess access, bool *busy,
                        Error **errp)
{
    if (access == BACKUP_ADD && !durable_mkdir(f->path, errp)) {
        return false;
    }
    if (!is_folder(f->path) && (access != BACKUP_ADD || !is_new(f->path))) {
        error_setg(errp, "'%s' is not a folder of backups", f->path);
        if (access == BACKUP_ADD) {
            error_append_hint(errp, "It must be empty, or new.\n");
        }
        return false;
    }
    if (!backup_folder_lock(f, access, busy, errp)) {
        return false;
    }
    if (!is_folder(f->path) ? !write_info(f, errp) : !read_info(f, errp)) {
        return false;
    }
    return backup_folder_scan(f, errp) &&
           (access == BACKUP_LOOK || access == BACKUP_READ ||
            (clean(f, errp) && publish_whole(f, errp)));
}

BackupFolder *backup_folder_open(const char *path, BackupAccess access,
                                 bool *busy, Error **errp)
{
    BackupFolder *f = g_new0(BackupFolder, 1);
    bool ignored = false;

    f->path = g_canonicalize_filename(path, NULL);
    f->lock = -1;
    f->backups = g_ptr_array_new_with_free_func((GDestroyNotify)backup_free);
    if (!open_folder(f, access, busy ? busy : &ignored, errp)) {
        backup_folder_close(f);
        return NULL;
    }
    return f;
}

void backup_folder_close(BackupFolder *f)
{
    if (!f) {
        return;
    }
    if (f->lock >= 0) {
        close(f->lock);
    }
    g_ptr_array_free(f->backups, TRUE);
    g_free(f->path);
    g_free(f);
}

/* --- finding --- */

Backup *backup_folder_get(const BackupFolder *f, const char *id)
{
    for (guint i = 0; i < f->backups->len; i++) {
        Backup *b = f->backups->pdata[i];

        if (!strcmp(b->id, id)) {
            return b;
        }
    }
    return NULL;
}

/* By id or number. */
static Backup *find_named(const BackupFolder *f, const char *name)
{
    uint64_t number = 0;
    bool is_number = parse_uint64(name, &number, NULL);

    for (guint i = 0; i < f->backups->len; i++) {
        Backup *b = f->backups->pdata[i];

        if (is_number ? b->sequence == number : !strcmp(b->id, name)) {
            return b;
        }
    }
    return NULL;
}

/* The last whole one that is not later than @limit. */
static Backup *find_until(const BackupFolder *f, int64_t limit)
{
    for (guint i = f->backups->len; i-- > 0;) {
        Backup *b = f->backups->pdata[i];

        if (backup_is_whole(b) && b->manifest->time &&
            manifest_parse_time(b->manifest->time) <= limit) {
            return b;
        }
    }
    return NULL;
}

static Backup *check_whole(Backup *b, Error **errp)
{
    if (b && b->damage) {
        error_setg(errp, "Backup '%s': %s", b->id, b->damage);
        return NULL;
    }
    if (b && !backup_is_whole(b)) {
        error_setg(errp, "Backup '%s' is not whole", b->id);
        return NULL;
    }
    return b;
}

Backup *backup_folder_find(const BackupFolder *f, const char *name,
                           Error **errp)
{
    int64_t limit = name ? manifest_parse_time(name) : INT64_MAX;
    Backup *b = name ? find_named(f, name) : NULL;

    if (b) {
        return check_whole(b, errp);
    }
    if (limit < 0) {
        error_setg(errp, "There is no backup '%s', and it is no time, either",
                   name);
        return NULL;
    }
    b = find_until(f, limit);
    if (!b) {
        error_setg(errp, name ? "There is no whole backup until %s"
                              : "There is no whole backup%s",
                   name ? name : "");
    }
    return b;
}

BackupDisk *backup_choose_disk(const Backup *b, const char *name,
                               Error **errp)
{
    g_autoptr(GString) names = g_string_new("");
    BackupDisk *d = name ? manifest_find_disk(b->manifest, name) : NULL;
    BackupDiskList *list = b->manifest->disks;

    if (d || (!name && list && !list->next)) {
        return d ? d : list->value;
    }
    for (BackupDiskList *l = list; l; l = l->next) {
        g_string_append_printf(names, " %s", l->value->name);
    }
    if (name) {
        error_setg(errp, "Backup %s has no disk '%s'", b->id, name);
    } else {
        error_setg(errp, "Backup %s has several disks", b->id);
    }
    error_append_hint(errp, "Say --disk with one of:%s\n", names->str);
    return NULL;
}

char *backup_file(const Backup *b, const BackupDisk *d)
{
    return d->uri ? g_strdup(d->uri) : g_build_filename(b->dir, d->file, NULL);
}

/* Is the file there?  Whether an export is, its use will tell. */
static bool has_file(const Backup *b, const BackupDisk *d)
{
    g_autofree char *file = backup_file(b, d);

    return d->uri || g_file_test(file, G_FILE_TEST_EXISTS);
}

char *backup_backing_name(const BackupFolder *f, const BackupDisk *d)
{
    Backup *parent = d->parent ? backup_folder_get(f, d->parent) : NULL;
    BackupDisk *below = parent && parent->manifest
                            ? manifest_find_disk(parent->manifest, d->name)
                            : NULL;

    return below ? g_strdup_printf("../%s/%s", parent->id, below->file) : NULL;
}

/*
 * What disk @d of @b is based on; NULL: on nothing.  False, with @errp: it is
 * not there.  Where a merge with the parent was interrupted after the parent's
 * file took the place of that of @b, it is what the parent is based on; then
 * *@merged is set.
 */
static bool find_parent(const BackupFolder *f, const Backup *b,
                        const BackupDisk *d, const Backup **parent,
                        bool *merged, Error **errp)
{
    const char *id = d->parent;

    *merged = false;
    *parent = NULL;
    for (int i = 0; id && i < MAX_CHAIN; i++) {
        const Backup *p = backup_folder_get(f, id);
        BackupDisk *below = p && p->manifest
                                ? manifest_find_disk(p->manifest, d->name)
                                : NULL;

        if (!p || p->sequence >= b->sequence) {
            error_setg(errp, "Backup '%s' is based on '%s', which is not "
                       "there", b->id, id);
            return false;
        }
        if (!below || p->manifest->state != BACKUP_STATE_MERGING ||
            has_file(p, below)) {
            *parent = p;
            return true;
        }
        *merged = true;
        id = below->parent;
    }
    return true;
}

/* Is the disk called @name in @b there, with its file? */
static BackupDisk *usable_disk(const Backup *b, const char *name, bool is_top,
                               Error **errp)
{
    BackupDisk *d = b->manifest ? manifest_find_disk(b->manifest, name) : NULL;

    if (b->damage) {
        error_setg(errp, "Backup '%s': %s", b->id, b->damage);
    } else if (b->partial ||
               (is_top && b->manifest->state == BACKUP_STATE_MERGING)) {
        error_setg(errp, "Backup '%s' is not whole", b->id);
    } else if (!d) {
        error_setg(errp, "Backup '%s' has no disk '%s'", b->id, name);
    } else {
        return d;
    }
    return NULL;
}

static bool check_file(const Backup *b, const BackupDisk *d, bool merged,
                       Error **errp)
{
    g_autofree char *file = backup_file(b, d);
    bool changes = merged || b->manifest->state == BACKUP_STATE_MERGING;
    struct stat st;

    if (d->uri) {
        return true;
    }
    if (stat(file, &st) < 0) {
        error_setg_errno(errp, errno, "'%s'", file);
        return false;
    }
    if (d->has_file_size && st.st_size != d->file_size && !changes) {
        error_setg(errp, "'%s' has %" PRId64 " bytes instead of %" PRId64,
                   file, (int64_t)st.st_size, d->file_size);
        return false;
    }
    return true;
}

GPtrArray *backup_chain(const BackupFolder *f, const Backup *b,
                        const char *name, Error **errp)
{
    g_autoptr(GPtrArray) chain = g_ptr_array_new();

    for (const Backup *parent; b; b = parent) {
        BackupDisk *d = usable_disk(b, name, !chain->len, errp);
        bool merged;

        if (!d || !find_parent(f, b, d, &parent, &merged, errp) ||
            !check_file(b, d, merged, errp)) {
            return NULL;
        }
        g_ptr_array_insert(chain, 0, (gpointer)b);
    }
    return g_steal_pointer(&chain);
}

bool backup_is_merged(const BackupFolder *f, const Backup *b,
                      const BackupDisk *d)
{
    const Backup *parent;
    bool merged;

    return find_parent(f, b, d, &parent, &merged, NULL) && merged;
}

/* --- changing --- */

Backup *backup_folder_add(BackupFolder *f, Error **errp)
{
    g_autofree char *now = manifest_time(time(NULL));
    g_autoptr(GDateTime) t = g_date_time_new_now_utc();
    g_autofree char *stamp = g_date_time_format(t, "%Y%m%dT%H%M%SZ");
    Backup *b = g_new0(Backup, 1);
    BackupManifest *m = g_new0(BackupManifest, 1);

    b->sequence = f->last + 1;
    b->id = g_strdup_printf("%05" PRId64 "-%s", b->sequence, stamp);
    b->dir = g_strdup_printf("%s/%s" PARTIAL, f->path, b->id);
    b->partial = true;
    b->manifest = m;
    m->format = g_strdup(MANIFEST_FORMAT);
    m->version = MANIFEST_VERSION;
    m->set = g_strdup(f->set);
    m->id = g_strdup(b->id);
    m->sequence = b->sequence;
    m->state = BACKUP_STATE_RUNNING;
    m->tool = g_strdup(manifest_tool());
    m->server = g_strdup("");
    m->started = g_steal_pointer(&now);
    if (!durable_mkdir(b->dir, errp)) {
        backup_free(b);
        return NULL;
    }
    f->last = b->sequence;
    g_ptr_array_add(f->backups, b);
    return b;
}

bool backup_save(Backup *b, Error **errp)
{
    return manifest_write(b->dir, b->manifest, errp);
}

/* Files that were needed to make it go. */
static bool remove_stages(const Backup *b, Error **errp)
{
    g_autoptr(GDir) dir = g_dir_open(b->dir, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(b->dir, name, NULL);

        if (g_str_has_suffix(name, FOLDER_STAGE) && unlink(path) < 0) {
            error_setg_errno(errp, errno, "Could not remove '%s'", path);
            return false;
        }
    }
    return true;
}

bool backup_folder_publish(BackupFolder *f, Backup *b, Error **errp)
{
    g_autofree char *partial = g_strdup_printf("%s" PARTIAL, b->id);

    if (!remove_stages(b, errp)) {
        return false;
    }
    if (!durable_rename(f->path, partial, b->id, errp)) {
        return false;
    }
    b->partial = false;
    g_free(b->dir);
    b->dir = g_build_filename(f->path, b->id, NULL);
    return true;
}

bool backup_folder_remove(BackupFolder *f, Backup *b, Error **errp)
{
    g_autofree char *from = g_path_get_basename(b->dir);
    g_autofree char *to = g_strdup_printf("%s" REMOVED, b->id);
    g_autofree char *path = g_build_filename(f->path, to, NULL);

    g_ptr_array_remove(f->backups, b);
    return durable_rename(f->path, from, to, errp) &&
           durable_remove_dir(path, errp);
}
