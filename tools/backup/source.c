/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks of a QMP server, and their bitmaps. */
#include "qemu/osdep.h"

#include "source.h"

static void bitmap_free(SourceBitmap *b)
{
    g_free(b->name);
    g_free(b);
}

static void disk_free(SourceDisk *d)
{
    g_free(d->name);
    g_free(d->node);
    g_ptr_array_unref(d->bitmaps);
    g_free(d);
}

char *source_safe_name(const char *text)
{
    char *name = g_strdup(text);

    g_strcanon(name, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._-", '_');
    if (!*name || *name == '.' || *name == '-') {
        char *longer = g_strdup_printf("_%s", name);

        g_free(name);
        name = longer;
    }
    return name;
}

/* --- what a node is --- */

/* Bytes that the files of an image and of its backing files take. */
static int64_t used_bytes(json_object *image, int64_t size)
{
    int64_t sum = 0;

    for (; image; image = json_member(image, "backing-image")) {
        int64_t used = json_get_int(image, "actual-size");

        if (used <= 0 || sum > size) {
            return size; /* a block device, say */
        }
        sum += used;
    }
    return MIN(sum, size);
}

/* Has the node @info a place for bitmaps? */
static bool stores_bitmaps(json_object *info)
{
    const char *driver = json_get_str(info, "drv");
    json_object *specific = json_member(json_member(info, "image"),
                                        "format-specific");
    const char *compat = json_get_str(json_member(specific, "data"),
                                      "compat");

    return driver && (!strcmp(driver, "tracked") ||
                      (!strcmp(driver, "qcow2") && compat &&
                       strcmp(compat, "0.10")));
}

static void read_bitmaps(SourceDisk *disk, json_object *info)
{
    json_object *list = json_get_array(info, "dirty-bitmaps");

    g_ptr_array_set_size(disk->bitmaps, 0);
    for (size_t i = 0; i < json_length(list); i++) {
        json_object *obj = json_at(list, i);
        SourceBitmap *b;

        if (!json_get_str(obj, "name")) {
            continue; /* private to a job */
        }
        b = g_new0(SourceBitmap, 1);
        b->name = g_strdup(json_get_str(obj, "name"));
        b->granularity = json_get_int(obj, "granularity");
        b->count = json_get_int(obj, "count");
        b->recording = json_get_bool(obj, "recording");
        b->busy = json_get_bool(obj, "busy");
        b->persistent = json_get_bool(obj, "persistent");
        b->inconsistent = json_get_bool(obj, "inconsistent");
        g_ptr_array_add(disk->bitmaps, b);
    }
}

static json_object *find_node(json_object *nodes, const char *name)
{
    for (size_t i = 0; i < json_length(nodes); i++) {
        const char *found = json_get_str(json_at(nodes, i), "node-name");

        if (found && !strcmp(found, name)) {
            return json_at(nodes, i);
        }
    }
    return NULL;
}

static SourceDisk *disk_new(json_object *nodes, const char *name,
                            const char *node)
{
    json_object *info = find_node(nodes, node);
    json_object *image = json_member(info, "image");
    SourceDisk *d;

    if (!info) {
        return NULL;
    }
    d = g_new0(SourceDisk, 1);
    d->name = source_safe_name(name);
    d->node = g_strdup(node);
    d->size = json_get_int(image, "virtual-size");
    d->used = used_bytes(image, d->size);
    d->read_only = json_get_bool(info, "ro");
    d->stores = stores_bitmaps(info);
    d->bitmaps = g_ptr_array_new_with_free_func((GDestroyNotify)bitmap_free);
    read_bitmaps(d, info);
    return d;
}

/* --- all disks --- */

typedef struct Finder {
    QmpClient *c;
    json_object *nodes;
    json_object *graph; /* NULL: not known */
    GPtrArray *disks;
} Finder;

/*
 * Is it a filter that a job has inserted above a disk, or one that passes all
 * writes on?  Bitmaps of the disk below can be kept; those of a filter cannot.
 */
static bool is_filter(json_object *info)
{
    static const char *const of_jobs[] = {
        "copy-before-write", "mirror_top", "commit_top", NULL,
    };
    static const char *const of_users[] = {
        "copy-on-read", "throttle", "compress", NULL,
    };
    const char *name = json_get_str(info, "node-name");
    const char *driver = json_get_str(info, "drv");

    return name && driver && (g_strv_contains(of_users, driver) ||
                              (*name == '#' &&
                               g_strv_contains(of_jobs, driver)));
}

static const char *name_of(json_object *graph, int64_t id)
{
    json_object *nodes = json_get_array(graph, "nodes");

    for (size_t i = 0; i < json_length(nodes); i++) {
        if (json_get_int(json_at(nodes, i), "id") == id) {
            return json_get_str(json_at(nodes, i), "name");
        }
    }
    return NULL;
}

/* The node that the filter called @name filters; NULL: not known. */
static const char *below_filter(const Finder *f, const char *name)
{
    json_object *edges = json_get_array(f->graph, "edges");

    for (size_t i = 0; i < json_length(edges); i++) {
        json_object *edge = json_at(edges, i);
        const char *kind = json_get_str(edge, "name");
        const char *parent = name_of(f->graph, json_get_int(edge, "parent"));

        if (parent && kind && !strcmp(parent, name) &&
            (!strcmp(kind, "file") || !strcmp(kind, "backing"))) {
            return name_of(f->graph, json_get_int(edge, "child"));
        }
    }
    return NULL;
}

/* @node, or what is below filters. */
static const char *skip_filters(const Finder *f, const char *node)
{
    for (int i = 0; i < 16; i++) {
        const char *below =
            is_filter(find_node(f->nodes, node)) ? below_filter(f, node)
                                                 : NULL;

        if (!below) {
            break;
        }
        node = below;
    }
    return node;
}

static bool has_disk(const Finder *f, const char *name, const char *node)
{
    for (guint i = 0; i < f->disks->len; i++) {
        SourceDisk *d = f->disks->pdata[i];

        if ((node && !strcmp(d->node, node)) ||
            (name && !strcmp(d->name, name))) {
            return true;
        }
    }
    return false;
}

/* Adds a disk that can be written, unless it is known. */
static void add_disk(Finder *f, const char *name, const char *node)
{
    bool same = !strcmp(name, node);
    g_autofree char *base = NULL;
    SourceDisk *d;

    node = skip_filters(f, node);
    d = has_disk(f, NULL, node)
            ? NULL : disk_new(f->nodes, same ? node : name, node);
    base = d ? g_strdup(d->name) : NULL;
    if (d && d->read_only) {
        disk_free(d);
        return;
    }
    for (int i = 2; d && has_disk(f, d->name, NULL); i++) {
        g_free(d->name);
        d->name = g_strdup_printf("%s-%d", base, i);
    }
    if (d) {
        g_ptr_array_add(f->disks, d);
    }
}

/* "/machine/peripheral/NAME/virtio-backend"; caller frees.  NULL: no name. */
static char *device_name(const char *qdev)
{
    const char *prefix = "/machine/peripheral/";
    const char *end;

    if (!qdev || !*qdev) {
        return NULL;
    }
    if (*qdev != '/') {
        return g_strdup(qdev);
    }
    if (!g_str_has_prefix(qdev, prefix)) {
        return NULL;
    }
    qdev += strlen(prefix);
    end = strchr(qdev, '/');
    return end ? g_strndup(qdev, end - qdev) : g_strdup(qdev);
}

/* The media of devices. */
static bool add_media(Finder *f, Error **errp)
{
    g_autoptr(json_object) list =
        qmp_client_call(f->c, "query-block", errp, NULL);

    for (size_t i = 0; i < json_length(list); i++) {
        json_object *info = json_at(list, i);
        const char *node = json_get_str(json_member(info, "inserted"),
                                        "node-name");
        const char *drive = json_get_str(info, "device");
        g_autofree char *device = device_name(json_get_str(info, "qdev"));

        if (node) {
            add_disk(f, drive && *drive ? drive : device ? device : node,
                     node);
        }
    }
    return list != NULL;
}

static bool add_exports(Finder *f, Error **errp)
{
    g_autoptr(json_object) list =
        qmp_client_call(f->c, "query-block-exports", errp, NULL);

    for (size_t i = 0; i < json_length(list); i++) {
        const char *node = json_get_str(json_at(list, i), "node-name");

        if (node) {
            add_disk(f, node, node);
        }
    }
    return list != NULL;
}

/* The nodes that nothing uses. */
static void add_roots(Finder *f)
{
    json_object *nodes = json_get_array(f->graph, "nodes");
    json_object *edges = json_get_array(f->graph, "edges");

    for (size_t i = 0; i < json_length(nodes); i++) {
        json_object *node = json_at(nodes, i);
        const char *name = json_get_str(node, "name");
        bool used = false;

        for (size_t j = 0; j < json_length(edges); j++) {
            used |= json_get_int(json_at(edges, j), "child") ==
                    json_get_int(node, "id");
        }
        if (!used && name) {
            add_disk(f, name, name);
        }
    }
}

static bool add_all(Finder *f, Error **errp)
{
    if (!add_media(f, errp)) {
        return false;
    }
    if (!f->disks->len && !add_exports(f, errp)) {
        return false;
    }
    if (!f->disks->len) {
        add_roots(f);
    }
    if (!f->disks->len) {
        error_setg(errp, "There are no disks that can be written");
        return false;
    }
    return true;
}

/* --- disks by name --- */

/* @word is NODE or NAME=NODE. */
static bool add_named(Finder *f, const char *word, Error **errp)
{
    const char *eq = strchr(word, '=');
    const char *node = eq ? eq + 1 : word;
    g_autofree char *name = eq ? g_strndup(word, eq - word) : g_strdup(word);
    SourceDisk *d = disk_new(f->nodes, name, node);

    if (!d) {
        error_setg(errp, "There is no node '%s'", node);
        return false;
    }
    if (has_disk(f, d->name, d->node)) {
        error_setg(errp, "Disk '%s' is given twice", d->name);
        disk_free(d);
        return false;
    }
    g_ptr_array_add(f->disks, d);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(SourceDisk *const *)a)->name,
                  (*(SourceDisk *const *)b)->name);
}

GPtrArray *source_disks(QmpClient *c, char **words, Error **errp)
{
    g_autoptr(json_object) nodes =
        qmp_client_call(c, "query-named-block-nodes", errp, NULL);
    g_autoptr(GPtrArray) disks =
        g_ptr_array_new_with_free_func((GDestroyNotify)disk_free);
    g_autoptr(json_object) graph = NULL;
    Finder f = { .c = c, .nodes = nodes, .disks = disks };

    if (!nodes) {
        return NULL;
    }
    if (!words) {
        /* It is not a stable command: without it, some disks are not found. */
        graph = f.graph = qmp_client_call(c, "x-debug-query-block-graph",
                                          NULL, NULL);
        if (!add_all(&f, errp)) {
            return NULL;
        }
        g_ptr_array_sort(disks, by_name);
    }
    for (; words && *words; words++) {
        if (!add_named(&f, *words, errp)) {
            return NULL;
        }
    }
    return g_steal_pointer(&disks);
}

bool source_refresh(QmpClient *c, GPtrArray *disks, Error **errp)
{
    g_autoptr(json_object) nodes = qmp_client_call(
        c, "query-named-block-nodes", errp, "{'flat': true}");

    for (guint i = 0; nodes && i < disks->len; i++) {
        SourceDisk *d = disks->pdata[i];

        read_bitmaps(d, find_node(nodes, d->node));
    }
    return nodes != NULL;
}

SourceBitmap *source_find_bitmap(const SourceDisk *disk, const char *name)
{
    for (guint i = 0; i < disk->bitmaps->len; i++) {
        SourceBitmap *b = disk->bitmaps->pdata[i];

        if (!strcmp(b->name, name)) {
            return b;
        }
    }
    return NULL;
}
