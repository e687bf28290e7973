/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Manifests: what is known of a backup, beside its data. */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "durable.h"
#include "manifest.h"
#include "monitor/monitor.h"

#define MAX_MANIFEST (256 * MiB)

/* The digest of @obj, as it is without one; caller frees. */
static char *checksum_of(json_object *obj)
{
    g_autofree char *text = json_text(obj, false);

    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
}

/* Takes the checksum out of @obj; was it right? */
static bool take_checksum(json_object *obj)
{
    g_autofree char *stored = g_strdup(json_get_str(obj, "checksum"));
    g_autofree char *actual = NULL;

    json_object_object_del(obj, "checksum");
    actual = checksum_of(obj);
    return stored && !strcmp(stored, actual);
}

static json_object *read_object(const char *path, Error **errp)
{
    size_t len;
    g_autofree char *text = durable_read(path, &len, errp);
    json_object *obj;

    if (!text) {
        return NULL;
    }
    if (len > MAX_MANIFEST) {
        error_setg(errp, "'%s' is too large", path);
        return NULL;
    }
    obj = json_parse_strict(text, len, errp);
    if (!obj) {
        error_prepend(errp, "'%s' is damaged: ", path);
    }
    return obj;
}

json_object *manifest_load(const char *dir, const char *name,
                           const char *format, int64_t version, Error **errp)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autoptr(json_object) obj = read_object(path, errp);
    const char *found = json_get_str(obj, "format");

    if (!obj) {
        return NULL;
    }
    if (!found || strcmp(found, format)) {
        error_setg(errp, "'%s' does not say that it is of the format %s", path,
                   format);
        return NULL;
    }
    if (json_get_int(obj, "version") != version) {
        error_setg(errp, "'%s' has version %" PRId64 " of its format; this "
                   "program knows version %" PRId64, path,
                   json_get_int(obj, "version"), version);
        return NULL;
    }
    if (!take_checksum(obj)) {
        error_setg(errp, "'%s' is damaged: its checksum is wrong", path);
        return NULL;
    }
    return g_steal_pointer(&obj);
}

bool manifest_store(const char *dir, const char *name, json_object *obj,
                    Error **errp)
{
    g_autofree char *sum = checksum_of(obj);
    g_autofree char *text = NULL, *line = NULL;
    bool ok;

    json_object_object_add(obj, "checksum", json_object_new_string(sum));
    text = json_text(obj, true);
    line = g_strdup_printf("%s\n", text);
    ok = durable_write(dir, name, line, errp);
    json_object_object_del(obj, "checksum");
    return ok;
}

/* --- of a backup --- */

static bool is_name(const char *text)
{
    return *text && *text != '.' && !strchr(text, '/');
}

/* Are the extents of @d in order, and inside of it? */
static bool check_extents(const BackupDisk *d, Error **errp)
{
    int64_t end = 0;

    for (BackupExtentList *e = d->extents; e; e = e->next) {
        if (e->value->offset < end || e->value->length <= 0 ||
            !range_fits(e->value->offset, e->value->length, d->size)) {
            error_setg(errp, "Disk '%s' has invalid extents", d->name);
            return false;
        }
        end = e->value->offset + e->value->length;
    }
    return true;
}

/* What the schema cannot say. */
static bool check_manifest(const BackupManifest *m, Error **errp)
{
    if (!is_name(m->id) || m->sequence < 1) {
        error_setg(errp, "Invalid id");
        return false;
    }
    for (BackupDiskList *l = m->disks; l; l = l->next) {
        BackupDisk *d = l->value;

        if (!is_name(d->file) || d->size < 0 || (d->parent &&
            !is_name(d->parent)) || !!d->parent == (d->level ==
                                                    BACKUP_LEVEL_FULL)) {
            error_setg(errp, "Disk '%s' has invalid members", d->name);
            return false;
        }
        if (!check_extents(d, errp)) {
            return false;
        }
    }
    return true;
}

BackupManifest *manifest_read(const char *dir, Error **errp)
{
    g_autoptr(json_object) obj = manifest_load(
        dir, MANIFEST_NAME, MANIFEST_FORMAT, MANIFEST_VERSION, errp);
    g_autoptr(BackupManifest) m = NULL;

    if (!obj) {
        return NULL;
    }
    m = qapi_BackupManifest_from_json(obj, QAPI_INPUT_STRICT, errp);
    if (!m || !check_manifest(m, errp)) {
        error_prepend(errp, "The manifest in '%s' is damaged: ", dir);
        return NULL;
    }
    return g_steal_pointer(&m);
}

bool manifest_write(const char *dir, const BackupManifest *m, Error **errp)
{
    g_autoptr(json_object) obj = qapi_BackupManifest_to_json(m);

    return manifest_store(dir, MANIFEST_NAME, obj, errp);
}

BackupDisk *manifest_find_disk(const BackupManifest *m, const char *name)
{
    for (BackupDiskList *l = m->disks; l; l = l->next) {
        if (!strcmp(l->value->name, name)) {
            return l->value;
        }
    }
    return NULL;
}

/* --- times --- */

char *manifest_time(int64_t seconds)
{
    g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(seconds);

    return t ? g_date_time_format(t, "%Y-%m-%dT%H:%M:%SZ") : g_strdup("");
}

int64_t manifest_parse_time(const char *text)
{
    g_autoptr(GTimeZone) here = g_time_zone_new_local();
    g_autofree char *iso = g_strdup(text);
    g_autoptr(GDateTime) t = NULL;
    char *blank = strchr(iso, ' ');

    if (blank) {
        *blank = 'T';
    } else if (!strchr(iso, 'T')) {
        char *end = g_strdup_printf("%sT23:59:59", iso); /* all of the day */

        g_free(iso);
        iso = end;
    }
    t = g_date_time_new_from_iso8601(iso, here);
    if (!t) {
        g_autofree char *with_seconds = g_strdup_printf("%s:59", iso);

        t = g_date_time_new_from_iso8601(with_seconds, here);
    }
    return t ? g_date_time_to_unix(t) : -1;
}

const char *manifest_tool(void)
{
    return TIDEMARK_PACKAGE;
}
