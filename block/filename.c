/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The name by which a node could be opened again.
 *
 * It is a plain path if only the path matters: no option that changes the
 * content (BlockDriver.strong_options), no child but the one with that path,
 * the backing file of the image's header.  Else json:{...} with just these.
 *
 * Filters that a job inserted (bdrv_is_implicit()) are never named: they are
 * removed with the job.  A name for an image's header, by which other programs
 * open it later, names no filter at all (bdrv_image_filename()).
 */
#include "qemu/osdep.h"
#include "block/graph-int.h"
#include "block/node-int.h"
#include <json-c/json.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

static bool filename_is_plain(const char *filename)
{
    return *filename && !g_str_has_prefix(filename, "json:");
}

const char *bdrv_base_filename(const BlockDriverState *bs)
{
    while (bs) {
        BdrvChild *child = bdrv_primary_child(bs);

        if (!child) {
            return filename_is_plain(bs->filename) ? bs->filename : NULL;
        }
        bs = child->bs;
    }
    return NULL;
}

char *bdrv_make_absolute_filename(const char *base, const char *filename)
{
    const char *slash = base ? strrchr(base, '/') : NULL;

    if (!slash || *filename == '/' || path_has_protocol(filename)) {
        return g_strdup(filename);
    }
    return g_strdup_printf("%.*s%s", (int)(slash - base + 1), base, filename);
}

/* --- strong options --- */

/*
 * Does option @name change the visible content?  If the driver has no list: a
 * path does; options of a format with backing files do not; else all do.
 */
static bool is_strong(const BlockDriverState *bs, const QapiType *branch,
                      const char *name)
{
    const char *const *strong = bs->drv->strong_options;

    for (; strong && *strong; strong++) {
        if (!strcmp(*strong, name)) {
            return true;
        }
    }
    if (bs->drv->strong_options || bs->drv->supports_backing) {
        return false;
    }
    for (unsigned i = 0; i < branch->n_members; i++) {
        if (!strcmp(branch->members[i].name, "filename")) {
            return !strcmp(name, "filename");
        }
    }
    return true;
}

/* The node whose name is used for @bs; @image: in an image header. */
static BlockDriverState *named_node(BlockDriverState *bs, bool image)
{
    BdrvChild *c;

    while ((image || bdrv_node(bs)->implicit) && (c = bdrv_filter_child(bs))) {
        bs = c->bs;
    }
    return bs;
}

/* Does the driver say that @bs has the name of its child, whatever that is? */
static bool named_as_child(const BlockDriverState *bs)
{
    return bs->drv->strong_options && !bs->drv->strong_options[0];
}

/* Would @path, opened as @format (NULL: probed), be @bs? */
static bool is_image_at(const BlockDriverState *bs, const char *path,
                        const char *format)
{
    const char *base = bdrv_base_filename(bs);

    return base && !strcmp(base, path) &&
           (!format || !*format || !strcmp(format, bs->drv->format_name));
}

/* Does the backing file differ from the one that the image names? */
static bool backing_overridden(const BlockDriverState *bs, bool image)
{
    bool named = bs->backing_file && *bs->backing_file;
    g_autofree char *path = NULL;
    BlockDriverState *backing;

    if (!bs->drv->supports_backing || (bs->open_flags & BDRV_O_NO_BACKING)) {
        return false;
    }
    if (!named || !bs->backing) {
        return named != (bs->backing != NULL);
    }
    path = bdrv_make_absolute_filename(bdrv_base_filename(bs),
                                       bs->backing_file);
    backing = named_node(bs->backing->bs, image);
    return strcmp(path, backing->filename) &&
           !(image && is_image_at(backing, path, bs->backing_format));
}

/* Adds @value as @name, its members as NAME.MEMBER and NAME.0. */
static void add_flat(json_object *out, const char *name, json_object *value)
{
    if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach(value, key, member) {
            g_autofree char *path = g_strdup_printf("%s.%s", name, key);

            add_flat(out, path, member);
        }
    } else if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            g_autofree char *path = g_strdup_printf("%s.%zu", name, i);

            add_flat(out, path, json_object_array_get_idx(value, i));
        }
    } else {
        json_object_object_add(out, name, json_object_get(value));
    }
}

/* Option @name as the user wrote it, else from @options. */
static json_object *option_text(const BlockDriverState *bs,
                                json_object *options, const char *name)
{
    json_object *given = json_object_object_get(bdrv_node(bs)->given, name);

    return given ?: json_object_object_get(options, name);
}

/* The strong options that are set, except the file name. */
static json_object *collect_strong(const BlockDriverState *bs)
{
    json_object *strong = json_object_new_object();
    g_autoptr(json_object) all = NULL;
    const QapiType *branch;

    if (!bs->options) {
        return strong; /* bdrv_new_filter() */
    }
    all = qapi_BlockdevOptions_to_json(bs->options);
    branch = bdrv_options_branch(bs->options->driver);
    for (unsigned i = 0; i < branch->n_members; i++) {
        const QapiMember *member = &branch->members[i];
        json_object *value = option_text(bs, all, member->name);

        if (value && is_strong(bs, branch, member->name) &&
            !bdrv_option_is_child(member)) {
            add_flat(strong, member->name, value);
        }
    }
    return strong;
}

static json_object *full_options(const BlockDriverState *bs, bool image);

/* Adds @value as @name, or where that is LIST.N, in front of array LIST. */
static void add_child(json_object *options, const char *name,
                      json_object *value)
{
    const char *dot = strrchr(name, '.');
    g_autofree char *list = dot ? g_strndup(name, dot - name) : NULL;
    json_object *old, *array;

    if (!list) {
        json_object_object_add(options, name, value);
        return;
    }
    array = json_object_new_array();
    json_object_array_add(array, value);
    old = json_object_object_get(options, list);
    for (size_t i = 0; old && i < json_object_array_length(old); i++) {
        json_object_array_add(
            array, json_object_get(json_object_array_get_idx(old, i)));
    }
    json_object_object_add(options, list, array);
}

/* Is child @c needed to open @bs again? */
static bool belongs_to_options(const BlockDriverState *bs, const BdrvChild *c,
                               bool backing)
{
    if (c->role & BDRV_CHILD_COW) {
        return backing;
    }
    return !bs->drv->finds_children || c == bdrv_primary_child(bs);
}

static json_object *full_options(const BlockDriverState *bs, bool image)
{
    json_object *options = collect_strong(bs);
    bool overridden = backing_overridden(bs, image);
    BdrvChild *c;

    json_object_object_add(options, "driver",
                           json_object_new_string(bs->drv->format_name));
    /* The youngest first: that is the last one of its list. */
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (belongs_to_options(bs, c, overridden)) {
            add_child(options, c->name,
                      full_options(named_node(c->bs, image), image));
        }
    }
    if (overridden && !bs->backing) {
        json_object_object_add(options, "backing", NULL);
    }
    return options;
}

/* --- building the name --- */

static void append_json(GString *out, json_object *value);

static gint compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void append_json_object(GString *out, json_object *obj)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new();

    json_object_object_foreach(obj, key, unused) {
        (void)unused;
        g_ptr_array_add(keys, key);
    }
    g_ptr_array_sort(keys, compare_strings);
    g_string_append_c(out, '{');
    for (guint i = 0; i < keys->len; i++) {
        const char *name = g_ptr_array_index(keys, i);

        g_string_append_printf(out, "%s\"%s\": ", i ? ", " : "", name);
        append_json(out, json_object_object_get(obj, name));
    }
    g_string_append_c(out, '}');
}

static void append_json(GString *out, json_object *value)
{
    if (json_object_is_type(value, json_type_object)) {
        append_json_object(out, value);
        return;
    }
    if (json_object_is_type(value, json_type_array)) {
        g_string_append_c(out, '[');
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            g_string_append(out, i ? ", " : "");
            append_json(out, json_object_array_get_idx(value, i));
        }
        g_string_append_c(out, ']');
        return;
    }
    g_string_append(out, json_object_to_json_string_ext(
        value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

/* Name of a protocol node whose options leave nothing but its path. */
static char *leaf_filename(BlockDriverState *bs)
{
    g_autoptr(json_object) strong = collect_strong(bs);
    json_object *filename = json_object_object_get(strong, "filename");

    if (bs->drv->make_filename) {
        return bs->drv->make_filename(bs);
    }
    if (json_object_object_length(strong) == (filename ? 1 : 0)) {
        if (filename) {
            return g_strdup(json_object_get_string(filename));
        }
        return bs->drv->protocol_name
            ? g_strdup_printf("%s://", bs->drv->protocol_name) : NULL;
    }
    return NULL;
}

/* The name is that of the primary child, if nothing else matters. */
static char *inner_filename(const BlockDriverState *bs, bool image)
{
    g_autoptr(json_object) strong = collect_strong(bs);
    BdrvChild *primary = bdrv_primary_child(bs);
    BlockDriverState *file = named_node(primary->bs, image);
    BdrvChild *c;

    if (named_as_child(bs) && !image) {
        return g_strdup(file->filename);
    }
    if (bs->drv->is_filter || json_object_object_length(strong) ||
        backing_overridden(bs, image) || !filename_is_plain(file->filename)) {
        return NULL;
    }
    /* Opened by that name, the image would get only one of the two formats. */
    if (bdrv_primary_child(bdrv_skip_filters(file))) {
        return NULL;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (c != primary && belongs_to_options(bs, c, false)) {
            return NULL;
        }
    }
    return g_strdup(file->filename);
}

/* The name in the driver's own syntax. */
static char *short_filename(const BlockDriverState *bs)
{
    BdrvChild *primary = bdrv_primary_child(bs);
    g_autoptr(json_object) strong = collect_strong(bs);

    return primary && !filename_is_plain(primary->bs->filename)
        ? NULL : bs->drv->short_filename(bs, strong);
}

/* The names of the nodes below @bs are up to date. */
static char *make_filename(BlockDriverState *bs, bool image)
{
    g_autoptr(json_object) options = NULL;
    GString *out;
    char *plain;

    plain = bs->drv->short_filename ? short_filename(bs)
          : bdrv_primary_child(bs) ? inner_filename(bs, image)
          : leaf_filename(bs);
    if (plain) {
        return plain;
    }
    options = full_options(bs, image);
    out = g_string_new("json:");
    append_json(out, options);
    return g_string_free(out, FALSE);
}

void bdrv_refresh_filename(BlockDriverState *bs)
{
    BlockDriverState *named;
    BdrvChild *c;

    if (!bs->drv) {
        return;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        bdrv_refresh_filename(c->bs);
    }
    named = named_node(bs, false);
    g_free(bs->filename);
    bs->filename = named == bs ? make_filename(bs, false)
                               : g_strdup(named->filename);
}

char *bdrv_image_filename(BlockDriverState *bs)
{
    return make_filename(bdrv_skip_filters(bs), true);
}
