/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Printing: JSON with indentation, and properties of an image as text. */
#include "qemu/osdep.h"
#include <json-c/json.h>
#include "qapi/qapi-types-block-image.h"
#include "qemu/cutils.h"
#include "tools/common/show.h"

/* --- JSON --- */

static void print_json(struct json_object *value, int level);

static void indent(int level)
{
    printf("%*s", level * 4, "");
}

static void print_object(struct json_object *object, int level)
{
    const char *separator = "\n";

    printf("{");
    json_object_object_foreach(object, key, value) {
        struct json_object *name = json_object_new_string(key);

        printf("%s", separator);
        indent(level + 1);
        print_json(name, 0);
        json_object_put(name);
        printf(": ");
        print_json(value, level + 1);
        separator = ",\n";
    }
    printf("\n");
    indent(level);
    printf("}");
}

static void print_array(struct json_object *array, int level)
{
    size_t n = json_object_array_length(array);

    printf("[");
    for (size_t i = 0; i < n; i++) {
        printf(i ? ",\n" : "\n");
        indent(level + 1);
        print_json(json_object_array_get_idx(array, i), level + 1);
    }
    printf("\n");
    indent(level);
    printf("]");
}

static void print_json(struct json_object *value, int level)
{
    switch (json_object_get_type(value)) {
    case json_type_object:
        print_object(value, level);
        break;
    case json_type_array:
        print_array(value, level);
        break;
    default:
        printf("%s", json_object_to_json_string_ext(
                         value, JSON_C_TO_STRING_PLAIN |
                                    JSON_C_TO_STRING_NOSLASHESCAPE));
        break;
    }
}

void show_json(struct json_object *value)
{
    print_json(value, 0);
    printf("\n");
    json_object_put(value);
}

/* --- as text --- */

/* The usual order of members; others follow. */
static const char *const known_order[] = {
    "compat", "compression-type", "lazy-refcounts", "flags", "name",
    "granularity", "bitmaps", "refcount-bits", "data-file", "data-file-raw",
    "encrypt", "corrupt", "extended-l2",
    /* of encryption */
    "ivgen-alg", "hash-alg", "cipher-alg", "uuid", "ivgen-hash-alg", "format",
    "cipher-mode", "slots", "active", "iters", "key-offset", "stripes",
    "payload-offset", "master-key-iters",
};

static void print_text(struct json_object *value, int level);

static void print_member(const char *key, struct json_object *value, int level)
{
    g_autofree char *name = g_strdelimit(g_strdup(key), "-_", ' ');
    bool nested = json_object_is_type(value, json_type_object) ||
                  json_object_is_type(value, json_type_array);

    indent(level);
    printf("%s:%s", name, nested ? "\n" : " ");
    print_text(value, level + 1);
}

static bool is_known(const char *key)
{
    for (size_t i = 0; i < ARRAY_SIZE(known_order); i++) {
        if (!strcmp(key, known_order[i])) {
            return true;
        }
    }
    return false;
}

static void print_members(struct json_object *object, int level)
{
    struct json_object *value;

    for (size_t i = 0; i < ARRAY_SIZE(known_order); i++) {
        if (json_object_object_get_ex(object, known_order[i], &value)) {
            print_member(known_order[i], value, level);
        }
    }
    json_object_object_foreach(object, key, other) {
        if (!is_known(key)) {
            print_member(key, other, level);
        }
    }
}

static void print_elements(struct json_object *array, int level)
{
    size_t n = json_object_array_length(array);

    for (size_t i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("[%zu]", i);

        print_member(name, json_object_array_get_idx(array, i), level);
    }
}

static void print_text(struct json_object *value, int level)
{
    if (json_object_is_type(value, json_type_object)) {
        print_members(value, level);
    } else if (json_object_is_type(value, json_type_array)) {
        print_elements(value, level);
    } else {
        printf("%s\n", json_object_get_string(value));
    }
}

void show_specific(const ImageInfoSpecific *info)
{
    struct json_object *tree, *data;

    if (!info) {
        return;
    }
    tree = qapi_ImageInfoSpecific_to_json(info);
    if (json_object_object_get_ex(tree, "data", &data)) {
        printf("Format specific information:\n");
        print_members(data, 1);
    }
    json_object_put(tree);
}

/* --- snapshots --- */

#define SNAPSHOT_LINE "%-9s %-16s %8s%20s%13s%11s"

char *show_snapshot_line(const SnapshotInfo *s)
{
    g_autofree char *size = NULL, *made = NULL, *clock = NULL, *icount = NULL;
    g_autoptr(GDateTime) date = NULL;
    int64_t sec;

    if (!s) {
        return g_strdup_printf(SNAPSHOT_LINE, "ID", "TAG", "VM SIZE", "DATE",
                               "VM CLOCK", "ICOUNT");
    }
    size = size_to_str(s->vm_state_size);
    date = g_date_time_new_from_unix_local(s->date_sec);
    made = date ? g_date_time_format(date, "%F %T") : g_strdup("-");
    sec = s->vm_clock_sec;
    clock = g_strdup_printf("%02d:%02d:%02d.%03d", (int)(sec / 3600),
                            (int)(sec / 60 % 60), (int)(sec % 60),
                            (int)(s->vm_clock_nsec / 1000000));
    icount = s->has_icount ? g_strdup_printf("%" PRId64, s->icount)
                           : g_strdup("");
    return g_strdup_printf(SNAPSHOT_LINE, s->id, s->name, size, made, clock,
                           icount);
}

void show_snapshots(const SnapshotInfoList *list)
{
    g_autofree char *heading = show_snapshot_line(NULL);

    if (!list) {
        return;
    }
    printf("Snapshot list:\n%s\n", heading);
    for (; list; list = list->next) {
        g_autofree char *line = show_snapshot_line(list->value);

        printf("%s\n", line);
    }
}

/* --- images --- */

static void print_backing(const ImageInfo *info)
{
    const char *name = info->backing_filename;
    const char *full = info->full_backing_filename;

    if (!name) {
        return;
    }
    printf("backing file: %s", name);
    if (!full) {
        printf(" (cannot determine actual path)");
    } else if (strcmp(name, full)) {
        printf(" (actual path: %s)", full);
    }
    printf("\n");
    if (info->backing_filename_format) {
        printf("backing file format: %s\n", info->backing_filename_format);
    }
}

void show_image(const ImageInfo *info)
{
    g_autofree char *virtual_size = size_to_str(info->virtual_size);
    g_autofree char *disk_size = info->has_actual_size
                                     ? size_to_str(info->actual_size)
                                     : g_strdup("unavailable");

    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRId64
           " bytes)\ndisk size: %s\n", info->filename, info->format,
           virtual_size, info->virtual_size, disk_size);
    if (info->has_encrypted && info->encrypted) {
        printf("encrypted: yes\n");
    }
    if (info->has_cluster_size) {
        printf("cluster_size: %" PRId64 "\n", info->cluster_size);
    }
    if (info->has_dirty_flag && info->dirty_flag) {
        printf("cleanly shut down: no\n");
    }
    print_backing(info);
    show_snapshots(info->snapshots);
    show_specific(info->format_specific);
}
