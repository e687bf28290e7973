/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conversion of file names, json:{...} and key=value to the typed options of a
 * node; and the options that children inherit.
 */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "block/graph-int.h"
#include "block/node-int.h"
#include "qapi/json.h"
#include <json-c/json.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

/* --- the children in a struct of options --- */

const QapiType *bdrv_options_branch(BlockdevDriver driver)
{
    return qapi_type_BlockdevOptions.branches[driver];
}

static bool type_is_child(const QapiType *type)
{
    return type == &qapi_type_BlockdevRef ||
           type == &qapi_type_BlockdevRefOrNull;
}

static bool is_child_list(const QapiMember *member)
{
    return member->type->kind == QAPI_LIST &&
           type_is_child(member->type->element);
}

bool bdrv_option_is_child(const QapiMember *member)
{
    return type_is_child(member->type) || is_child_list(member);
}

static void options_child_read(const void *slot, BdrvOptionsChild *child)
{
    const BlockdevRefOrNull *ref = *(void *const *)slot;

    /* BlockdevRef is this alternate without its last branch. */
    G_STATIC_ASSERT((int)BLOCKDEV_REF_KIND_DEFINITION ==
                    (int)BLOCKDEV_REF_OR_NULL_KIND_DEFINITION);
    G_STATIC_ASSERT((int)BLOCKDEV_REF_KIND_REFERENCE ==
                    (int)BLOCKDEV_REF_OR_NULL_KIND_REFERENCE);
    child->present = ref;
    child->definition = NULL;
    child->reference = NULL;
    if (ref && ref->type == BLOCKDEV_REF_OR_NULL_KIND_DEFINITION) {
        child->definition = ref->u.definition;
    } else if (ref && ref->type == BLOCKDEV_REF_OR_NULL_KIND_REFERENCE) {
        child->reference = ref->u.reference;
    }
}

/* The next element of the list at @slot; false: there is none. */
static bool options_next_element(const QapiMember *member, const void *slot,
                                 BdrvOptionsPos *pos, BdrvOptionsChild *child)
{
    /* A list node is the pointer to the next one, then the value. */
    const void *element = pos->element ? *(void *const *)pos->element
                                       : *(void *const *)slot;

    if (!element) {
        return false;
    }
    pos->index = pos->element ? pos->index + 1 : 0;
    pos->element = element;
    g_snprintf(child->name, sizeof(child->name), "%s.%u", member->name,
               pos->index);
    options_child_read((const char *)element + QAPI_LIST_VALUE_OFFSET, child);
    return true;
}

bool bdrv_options_next_child(const BlockdevOptions *options,
                             BdrvOptionsPos *pos, BdrvOptionsChild *child)
{
    const QapiType *branch = bdrv_options_branch(options->driver);
    const char *base = (const char *)options +
                       qapi_type_BlockdevOptions.u_offset;

    for (; branch && pos->member < branch->n_members; pos->member++) {
        const QapiMember *member = &branch->members[pos->member];

        if (is_child_list(member) &&
            options_next_element(member, base + member->offset, pos, child)) {
            return true;
        }
        pos->element = NULL;
        if (type_is_child(member->type)) {
            g_strlcpy(child->name, member->name, sizeof(child->name));
            options_child_read(base + member->offset, child);
            pos->member++;
            return true;
        }
    }
    return false;
}

/* --- inherited options --- */

static BlockdevCacheOptions *options_cache(BlockdevOptions *options)
{
    if (!options->cache) {
        options->cache = g_new0(BlockdevCacheOptions, 1);
    }
    return options->cache;
}

void bdrv_options_inherit(const BdrvMode *mode, BdrvChildRole role,
                          BlockdevOptions *options)
{
    BlockdevCacheOptions *cache = options_cache(options);

    if (!cache->has_direct) {
        cache->has_direct = true;
        cache->direct = mode->cache_direct;
    }
    if (!cache->has_no_flush) {
        cache->has_no_flush = true;
        cache->no_flush = mode->cache_no_flush;
    }
    if (!options->has_force_share) {
        options->has_force_share = true;
        options->force_share = mode->force_share;
    }
    if (!options->has_read_only) {
        options->has_read_only = true;
        options->read_only = (role & BDRV_CHILD_COW) || mode->read_only;
    }
    if (!options->has_auto_read_only) {
        options->has_auto_read_only = true;
        options->auto_read_only = !(role & BDRV_CHILD_COW) &&
                                  mode->auto_read_only;
    }
    /* Drivers decide what they discard below, so it is not limited here. */
    if (!options->has_discard) {
        options->has_discard = true;
        options->discard = BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    }
}

static void options_set_aio(BlockdevOptions *options, BlockdevAioOptions aio)
{
    BdrvOptionsChild child;
    BdrvOptionsPos pos = {};

    if ((options->driver == BLOCKDEV_DRIVER_FILE ||
         options->driver == BLOCKDEV_DRIVER_HOST_CDROM ||
         options->driver == BLOCKDEV_DRIVER_HOST_DEVICE) &&
        !options->u.file.has_aio) {
        options->u.file.has_aio = true;
        options->u.file.aio = aio;
    }
    while (bdrv_options_next_child(options, &pos, &child)) {
        if (child.definition) {
            options_set_aio(child.definition, aio);
        }
    }
}

static void options_apply_cache_flags(BlockdevOptions *options, int flags)
{
    BlockdevCacheOptions *cache = options_cache(options);

    if (!cache->has_direct) {
        cache->has_direct = true;
        cache->direct = flags & BDRV_O_NOCACHE;
    }
    if (!cache->has_no_flush) {
        cache->has_no_flush = true;
        cache->no_flush = flags & BDRV_O_NO_FLUSH;
    }
}

/* Applies BDRV_O_* flags of opening by name where @options has no value. */
static void bdrv_options_apply_flags(BlockdevOptions *options, int flags)
{
    if (!options->has_read_only) {
        options->has_read_only = true;
        options->read_only = !(flags & BDRV_O_RDWR);
    }
    if (!options->has_discard && (flags & BDRV_O_UNMAP)) {
        options->has_discard = true;
        options->discard = BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    }
    if (!options->has_force_share && (flags & BDRV_O_FORCE_SHARE)) {
        options->has_force_share = true;
        options->force_share = true;
    }
    options_apply_cache_flags(options, flags);
    if (flags & BDRV_O_NATIVE_AIO) {
        options_set_aio(options, BLOCKDEV_AIO_OPTIONS_NATIVE);
    } else if (flags & BDRV_O_IO_URING) {
        options_set_aio(options, BLOCKDEV_AIO_OPTIONS_IO_URING);
    }
}

/* --- trees of JSON objects --- */

static bool tree_unflatten(json_object *tree, Error **errp);

static bool value_unflatten(json_object *value, Error **errp)
{
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            if (!value_unflatten(json_object_array_get_idx(value, i), errp)) {
                return false;
            }
        }
    }
    return !json_object_is_type(value, json_type_object) ||
           tree_unflatten(value, errp);
}

/* Converts {"a.b": v} to {"a": {"b": v}}, as nested as needed. */
static bool tree_unflatten(json_object *tree, Error **errp)
{
    g_autoptr(GPtrArray) keys = g_ptr_array_new_with_free_func(g_free);

    json_object_object_foreach(tree, key, unused) {
        (void)unused;
        if (strchr(key, '.')) {
            g_ptr_array_add(keys, g_strdup(key));
        }
    }
    for (guint i = 0; i < keys->len; i++) {
        const char *key = g_ptr_array_index(keys, i);
        const char *dot = strchr(key, '.');
        g_autofree char *head = g_strndup(key, dot - key);
        json_object *value = json_object_object_get(tree, key);
        json_object *sub = json_object_object_get(tree, head);

        if (!sub) {
            sub = json_object_new_object();
            json_object_object_add(tree, head, sub);
        } else if (!json_object_is_type(sub, json_type_object)) {
            error_setg(errp, "Cannot mix scalar and non-scalar keys: '%s'",
                       key);
            return false;
        }
        json_object_object_add(sub, dot + 1, json_object_get(value));
        json_object_object_del(tree, key);
    }
    json_object_object_foreach(tree, name, value) {
        (void)name;
        if (!value_unflatten(value, errp)) {
            return false;
        }
    }
    return true;
}

/* A new array of the values of @obj, if its keys are the numbers from 0 on. */
static json_object *tree_array(json_object *obj)
{
    int n = json_object_object_length(obj);
    json_object *array = json_object_new_array();

    for (int i = 0; i < n; i++) {
        g_autofree char *key = g_strdup_printf("%d", i);
        json_object *element;

        if (!json_object_object_get_ex(obj, key, &element)) {
            json_object_put(array);
            return NULL;
        }
        json_object_array_add(array, json_object_get(element));
    }
    return array;
}

static void tree_make_arrays(json_object *tree);

static void elements_make_arrays(json_object *array)
{
    for (size_t i = 0; i < json_object_array_length(array); i++) {
        json_object *element = json_object_array_get_idx(array, i);

        if (json_object_is_type(element, json_type_object)) {
            tree_make_arrays(element);
        }
    }
}

/* Converts {"a": {"0": x, "1": y}} to {"a": [x, y]}. */
static void tree_make_arrays(json_object *tree)
{
    struct lh_entry *entry;

    lh_foreach(json_object_get_object(tree), entry)
    {
        json_object *member = (json_object *)lh_entry_v(entry);
        json_object *array;

        if (json_object_is_type(member, json_type_array)) {
            elements_make_arrays(member);
        }
        if (!json_object_is_type(member, json_type_object) ||
            !json_object_object_length(member)) {
            continue;
        }
        tree_make_arrays(member);
        array = tree_array(member);
        if (array) {
            /* The value of an existing key: the table does not change. */
            json_object_object_add(tree, lh_entry_k(entry), array);
        }
    }
}

/* The options of a driver by its name; NULL: there is none. */
static const QapiType *branch_by_name(const char *format_name)
{
    int driver = BlockdevDriver_parse(format_name, NULL);

    return driver >= 0 ? bdrv_options_branch(driver) : NULL;
}

bool bdrv_driver_is_leaf(const char *format_name)
{
    const QapiType *branch = branch_by_name(format_name);

    for (unsigned i = 0; branch && i < branch->n_members; i++) {
        if (bdrv_option_is_child(&branch->members[i])) {
            return false;
        }
    }
    return branch != NULL;
}

static bool driver_has_option(const char *format_name, const char *name)
{
    const QapiType *branch = branch_by_name(format_name);

    for (unsigned i = 0; branch && i < branch->n_members; i++) {
        if (!strcmp(branch->members[i].name, name)) {
            return true;
        }
    }
    return false;
}

static const char *tree_string(json_object *tree, const char *key)
{
    json_object *value = json_object_object_get(tree, key);

    return json_object_is_type(value, json_type_string)
        ? json_object_get_string(value) : NULL;
}

static void tree_set_string(json_object *tree, const char *key,
                            const char *value)
{
    json_object_object_add(tree, key, json_object_new_string(value));
}

/* The node that a complete description of a child refers to. */
static BlockDriverState *tree_open_for_probe(json_object *file, bool keyval,
                                             Error **errp)
{
    g_autoptr(BlockdevOptions) options = NULL;
    BlockDriverState *bs;

    if (json_object_is_type(file, json_type_string)) {
        const char *name = json_object_get_string(file);

        bs = bdrv_lookup_bs(name, name, errp);
        return bs ? bdrv_ref(bs) : NULL;
    }
    options = bdrv_options_from_json(file, keyval, errp);
    if (!options) {
        return NULL;
    }
    /* Probing takes no locks, and leaves the node name to the final open. */
    g_clear_pointer(&options->node_name, g_free);
    options->has_read_only = options->read_only = true;
    options->has_force_share = options->force_share = true;
    return bdrv_open_node(options, NULL, 0, false, errp);
}

/*
 * @guessed: a set of the trees whose node is raw only because no other format
 * matched.
 */
static bool tree_probe(json_object *tree, bool keyval, GHashTable *guessed,
                       Error **errp)
{
    json_object *file = json_object_object_get(tree, "file");
    g_autoptr(BlockDriverState) bs = tree_open_for_probe(file, keyval, errp);
    const BlockDriver *drv;

    drv = bs ? bdrv_probe(bs, bs->filename, errp) : NULL;
    if (!drv) {
        return false;
    }
    tree_set_string(tree, "driver", drv->format_name);
    if (!strcmp(drv->format_name, "raw")) {
        g_hash_table_add(guessed, tree);
    }
    return true;
}

/* A node that has a file name and no driver: a file, or a device of the host.
 * A protocol is only in whole names, for which bdrv_options_add_name() is. */
static bool tree_take_path(json_object *tree, Error **errp)
{
    const char *filename = tree_string(tree, "filename");
    const BlockDriver *drv = NULL;

    if (!filename) {
        error_setg(errp, "Must specify either driver or file");
    } else if (!*filename) {
        error_setg(errp, "The 'file' block driver requires a file name");
    } else {
        drv = bdrv_find_path_driver(filename, errp);
    }
    if (drv) {
        tree_set_string(tree, "driver", drv->format_name);
    }
    return drv != NULL;
}

static bool tree_complete(json_object *tree, bool keyval, bool is_storage,
                          GHashTable *guessed, Error **errp);

static bool complete_child(json_object *child, bool keyval, bool is_storage,
                           GHashTable *guessed, Error **errp)
{
    return !json_object_is_type(child, json_type_object) ||
           tree_complete(child, keyval, is_storage, guessed, errp);
}

/* @list: an array, or an object whose keys are the numbers from 0 on. */
static bool complete_children(json_object *list, bool keyval,
                              GHashTable *guessed, Error **errp)
{
    if (json_object_is_type(list, json_type_object)) {
        json_object_object_foreach(list, key, child) {
            (void)key;
            if (!complete_child(child, keyval, false, guessed, errp)) {
                return false;
            }
        }
    } else if (json_object_is_type(list, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(list); i++) {
            if (!complete_child(json_object_array_get_idx(list, i), keyval,
                                false, guessed, errp)) {
                return false;
            }
        }
    }
    return true;
}

static bool complete_all_children(json_object *tree, bool keyval,
                                  GHashTable *guessed, Error **errp)
{
    static const struct {
        const char *name;
        bool is_storage;
    } children[] = {
        {"file", true}, {"image", true}, {"data-file", true}, {"raw", true},
        {"log", true}, {"backing", false}, {"bitmaps", false},
        {"target", false}, {"test", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(children); i++) {
        if (!complete_child(json_object_object_get(tree, children[i].name),
                            keyval, children[i].is_storage, guessed, errp)) {
            return false;
        }
    }
    return complete_children(json_object_object_get(tree, "children"), keyval,
                             guessed, errp);
}

/*
 * Option "encrypt" without a format: that of the image.  Where it is not
 * encrypted, a key does not matter.
 */
static bool tree_complete_encryption(json_object *tree, bool keyval,
                                     Error **errp)
{
    json_object *encrypt = json_object_object_get(tree, "encrypt");
    const char *driver = tree_string(tree, "driver"), *format;
    const BlockDriver *drv = driver ? bdrv_find_format(driver) : NULL;
    g_autoptr(BlockDriverState) file = NULL;

    if (!drv || !drv->encryption_format ||
        !json_object_is_type(encrypt, json_type_object) ||
        json_object_object_get(encrypt, "format")) {
        return true;
    }
    file = tree_open_for_probe(json_object_object_get(tree, "file"), keyval,
                               errp);
    if (!file || !bdrv_probe_encryption(drv, file, &format, errp)) {
        return false;
    }
    if (format) {
        tree_set_string(encrypt, "format", format);
    } else {
        json_object_object_del(tree, "encrypt");
    }
    return true;
}

/* Words that only command lines know. */
static void tree_translate(json_object *tree)
{
    const char *discard = tree_string(tree, "discard");
    const char *backing = tree_string(tree, "backing");

    if (discard && !strcmp(discard, "on")) {
        tree_set_string(tree, "discard", "unmap");
    } else if (discard && !strcmp(discard, "off")) {
        tree_set_string(tree, "discard", "ignore");
    }
    if (backing && !*backing) {
        warn_report("Use of \"backing\": \"\" is deprecated; use \"backing\": "
                    "null instead");
        json_object_object_add(tree, "backing", NULL);
    }
}

/* Moves the member @name of @from to @to, which is a string. */
static void tree_move(json_object *from, json_object *to, const char *name)
{
    json_object *value = json_object_object_get(from, name);

    if (value) {
        json_object_object_add(to, name, json_object_get(value));
        json_object_object_del(from, name);
    }
}

/* The address of an NBD server as three options of the node itself. */
static bool tree_translate_nbd(json_object *tree, Error **errp)
{
    const char *driver = tree_string(tree, "driver");
    bool path = tree_string(tree, "path"), host = tree_string(tree, "host");
    bool port = tree_string(tree, "port");
    json_object *server;

    if (!driver || strcmp(driver, "nbd")) {
        return true;
    }
    if (json_object_object_get(tree, "server")) {
        if (path || host || port) {
            error_setg(errp, "Cannot use 'server' and path/host/port at the "
                       "same time");
        }
        return !(path || host || port);
    }
    if (path && host) {
        error_setg(errp, "path and host may not be used at the same time");
    } else if (port && path) {
        error_setg(errp, "port may not be used without host");
    } else if (!path && !host) {
        error_setg(errp, "NBD server address missing");
    } else {
        server = json_object_new_object();
        tree_set_string(server, "type", path ? "unix" : "inet");
        tree_move(tree, server, path ? "path" : "host");
        tree_move(tree, server, "port");
        if (host && !port) {
            tree_set_string(server, "port", "10809");
        }
        json_object_object_add(tree, "server", server);
        return true;
    }
    return false;
}

/* Adds the missing drivers of @tree and of its children. */
static bool tree_complete(json_object *tree, bool keyval, bool is_storage,
                          GHashTable *guessed, Error **errp)
{
    bool bottom = is_storage && !json_object_object_get(tree, "driver") &&
                  !json_object_object_get(tree, "file");

    if (keyval) {
        tree_translate(tree);
    }
    if ((bottom && !tree_take_path(tree, errp)) ||
        !tree_translate_nbd(tree, errp) ||
        !complete_all_children(tree, keyval, guessed, errp)) {
        return false;
    }
    if (json_object_object_get(tree, "driver")) {
        return tree_complete_encryption(tree, keyval, errp);
    }
    if (json_object_object_get(tree, "file")) {
        return tree_probe(tree, keyval, guessed, errp) &&
               tree_complete_encryption(tree, keyval, errp);
    }
    error_setg(errp, "Must specify either driver or file");
    return false;
}

static bool tree_check_driver(json_object *tree, Error **errp)
{
    const char *driver = tree_string(tree, "driver");

    if (driver && !bdrv_find_format(driver)) {
        error_setg(errp, "Unknown driver '%s'", driver);
        return false;
    }
    return true;
}

/* The driver of the node of @tree that has the option *@path, which becomes
 * the name that it has there; NULL: not known. */
static const BlockDriver *tree_owner(json_object *tree, const char **path)
{
    const char *dot, *driver;

    while ((dot = strchr(*path, '.'))) {
        g_autofree char *name = g_strndup(*path, dot - *path);
        json_object *child = json_object_object_get(tree, name);

        if (!json_object_is_type(child, json_type_object) ||
            !tree_string(child, "driver")) {
            break;
        }
        tree = child;
        *path = dot + 1;
    }
    driver = tree_string(tree, "driver");
    return driver ? bdrv_find_format(driver) : NULL;
}

/* Of an option that is not known: which driver does not know it.  Of a child
 * that is missing: that it is one. */
static void tree_blame(json_object *tree, Error *err, Error **errp)
{
    static const char *const children[] = { "file", "image", "raw", "log",
                                            NULL };
    g_auto(GStrv) words = g_strsplit(error_get_pretty(err), "'", 3);
    const BlockDriver *drv = NULL;
    const char *name = NULL;
    bool missing = false;

    if (g_strv_length(words) == 3 && !strcmp(words[0], "Parameter ")) {
        name = words[1];
        drv = tree_owner(tree, &name);
        missing = !strcmp(words[2], " is missing") &&
                  g_strv_contains(children, name);
    }
    if (!drv || !(missing || !strcmp(words[2], " is unexpected"))) {
        error_propagate(errp, err);
        return;
    }
    if (missing) {
        error_setg(errp, "A block device must be specified for \"%s\"", name);
    } else if (drv->protocol_name) {
        error_setg(errp, "Block protocol '%s' doesn't support the option '%s'",
                   drv->format_name, name);
    } else {
        error_setg(errp, "Block format '%s' does not support the option '%s'",
                   drv->format_name, name);
    }
    error_free(err);
}

/* Completes and converts @tree, which is changed. */
static BlockdevOptions *tree_to_options(json_object *tree, bool keyval,
                                        bool is_storage, GHashTable *guessed,
                                        Error **errp)
{
    BlockdevOptions *options;
    Error *err = NULL;

    if (!tree_unflatten(tree, errp) || !tree_check_driver(tree, errp) ||
        !tree_complete(tree, keyval, is_storage, guessed, errp)) {
        return NULL;
    }
    tree_make_arrays(tree);
    options = bdrv_options_from_json(tree, keyval, &err);
    if (err) {
        tree_blame(tree, err, errp);
    }
    return options;
}

BlockdevOptions *bdrv_options_from_json(json_object *obj, bool keyval,
                                        Error **errp)
{
    return qapi_BlockdevOptions_from_json(
        obj, keyval ? QAPI_INPUT_OPTIONS : QAPI_INPUT_STRICT, errp);
}

/* --- file names --- */

bool path_has_protocol(const char *path)
{
    const char *colon = strchr(path, ':');
    const char *slash = strchr(path, '/');

    return colon && (!slash || colon < slash);
}

bool path_is_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return !strcmp(a, b) || (stat(a, &x) == 0 && stat(b, &y) == 0 &&
                             x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

static json_object *parse_json_filename(const char *text, Error **errp)
{
    json_object *obj = json_parse_strict(text, strlen(text), errp);

    if (!obj) {
        error_prepend(errp, "Could not parse the JSON options: ");
        return NULL;
    }
    if (!json_object_is_type(obj, json_type_object)) {
        json_object_put(obj);
        error_setg(errp, "Invalid JSON object given");
        return NULL;
    }
    return obj;
}

/* Options that @drv's own parser derives from @filename. */
static json_object *driver_parse_filename(const BlockDriver *drv,
                                          const char *filename, Error **errp)
{
    g_autoptr(BlockdevOptions) options = g_new0(BlockdevOptions, 1);
    int driver = BlockdevDriver_parse(drv->format_name, errp);
    json_object *tree, *child;

    if (driver < 0) {
        return NULL;
    }
    options->driver = driver;
    if (!drv->parse_filename(filename, options, errp)) {
        return NULL;
    }
    tree = qapi_BlockdevOptions_to_json(options);
    if (drv->probed_child) {
        child = json_object_new_object();
        json_object_object_add(
            child, "file",
            json_object_get(json_object_object_get(tree, drv->probed_child)));
        json_object_object_add(tree, drv->probed_child, child);
    }
    return tree;
}

static json_object *driver_tree(const BlockDriver *drv, const char *filename,
                                Error **errp)
{
    const char *prefix = drv->protocol_name;
    json_object *tree;

    if (drv->parse_filename &&
        (path_has_protocol(filename) ||
         !driver_has_option(drv->format_name, "filename"))) {
        return driver_parse_filename(drv, filename, errp);
    }
    if (prefix && g_str_has_prefix(filename, prefix) &&
        filename[strlen(prefix)] == ':') {
        filename += strlen(prefix) + 1;
    }
    tree = json_object_new_object();
    tree_set_string(tree, "driver", drv->format_name);
    tree_set_string(tree, "filename", filename);
    return tree;
}

static json_object *protocol_tree(const char *filename, Error **errp)
{
    const BlockDriver *drv;

    if (!*filename) {
        error_setg(errp, "The 'file' block driver requires a file name");
        return NULL;
    }
    drv = bdrv_find_protocol(filename, errp);
    return drv ? driver_tree(drv, filename, errp) : NULL;
}

/* Adds @from to @options under the keys "@prefix...", but for those given. */
static void options_merge(json_object *options, const char *prefix,
                          json_object *from)
{
    json_object_object_foreach(from, key, value) {
        g_autofree char *full = g_strconcat(prefix, key, NULL);

        if (!json_object_object_get_ex(options, full, NULL)) {
            json_object_object_add(options, full, json_object_get(value));
        }
    }
}

bool bdrv_options_add_name(json_object *options, const char *filename,
                           Error **errp)
{
    const char *driver = tree_string(options, "driver");
    bool is_leaf = driver && bdrv_driver_is_leaf(driver);
    json_object *file = json_object_object_get(options, "file");
    bool nested = !is_leaf && json_object_is_type(file, json_type_object);
    const char *of_file = is_leaf ? driver
        : nested ? tree_string(file, "driver")
                 : tree_string(options, "file.driver");
    const BlockDriver *drv = of_file ? bdrv_find_format(of_file) : NULL;
    g_autoptr(json_object) from =
        drv ? driver_tree(drv, filename, errp)
            : protocol_tree(filename, errp);

    if (from) {
        options_merge(nested ? file : options, is_leaf || nested ? "" : "file.",
                      from);
    }
    return from != NULL;
}

static json_object *filename_tree(const char *filename, const char *format,
                                  int flags, Error **errp)
{
    json_object *protocol, *tree;

    if (format && bdrv_driver_is_leaf(format)) {
        return driver_tree(bdrv_find_format(format), filename, errp);
    }
    protocol = protocol_tree(filename, errp);
    if (!protocol || (flags & BDRV_O_PROTOCOL)) {
        return protocol;
    }
    tree = json_object_new_object();
    json_object_object_add(tree, "file", protocol);
    if (format) {
        tree_set_string(tree, "driver", format);
    }
    return tree;
}

static bool is_json(const char *filename)
{
    return g_str_has_prefix(filename, "json:");
}

/* The options for @filename, a new reference. */
static json_object *any_tree(const char *filename, const char *format,
                             int flags, Error **errp)
{
    json_object *tree;

    if (format && !bdrv_find_format(format)) {
        error_setg(errp, "Unknown driver '%s'", format);
        return NULL;
    }
    if (!is_json(filename)) {
        return filename_tree(filename, format, flags, errp);
    }
    tree = parse_json_filename(filename + strlen("json:"), errp);
    if (tree && format && !json_object_object_get(tree, "driver")) {
        tree_set_string(tree, "driver", format);
    }
    return tree;
}

BlockdevOptions *bdrv_options_from_filename(const char *filename,
                                            const char *format, int flags,
                                            bool *probed, Error **errp)
{
    g_autoptr(json_object) tree = any_tree(filename, format, flags, errp);
    g_autoptr(GHashTable) guessed = g_hash_table_new(NULL, NULL);
    BlockdevOptions *options = NULL;

    if (tree) {
        options = tree_to_options(tree, is_json(filename),
                                  flags & BDRV_O_PROTOCOL, guessed, errp);
    }
    *probed = tree && g_hash_table_contains(guessed, tree);
    return options;
}

/* --- opening with these options --- */

/* What @tree has for the option @name, which may be an element of a list. */
static json_object *tree_child(json_object *tree, const char *name)
{
    const char *dot = strrchr(name, '.');
    g_autofree char *list = dot ? g_strndup(name, dot - name) : NULL;
    json_object *array = list ? json_object_object_get(tree, list) : NULL;

    return json_object_is_type(array, json_type_array)
        ? json_object_array_get_idx(array, strtoul(dot + 1, NULL, 10))
        : json_object_object_get(tree, name);
}

/* The tree by which @c was opened together with its parent, or NULL. */
static json_object *opened_with(const BdrvChild *c, json_object *tree)
{
    g_autofree char *name = bdrv_child_option_name(c);
    json_object *sub = tree_child(tree, name);

    return json_object_is_type(sub, json_type_object) &&
           bdrv_node(c->bs)->inherits_from == c->opaque ? sub : NULL;
}

/* Stores in @bs and the nodes opened with it how the options were written. */
static void remember_given(BlockDriverState *bs, json_object *tree)
{
    BdrvChild *c;

    bdrv_node(bs)->given = json_object_get(tree);
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        json_object *sub = opened_with(c, tree);

        if (sub && !bdrv_node(c->bs)->given) {
            remember_given(c->bs, sub);
        }
    }
}

/* ... and which of the formats are raw by guess. */
static void remember_guessed(BlockDriverState *bs, json_object *tree,
                             GHashTable *guessed)
{
    BdrvChild *c;

    if (!bs->probed && g_hash_table_contains(guessed, tree)) {
        bs->probed = true;
        bdrv_refresh_limits(bs, NULL, NULL); /* raw aligns what it guards */
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        json_object *sub = opened_with(c, tree);

        if (sub) {
            remember_guessed(c->bs, sub, guessed);
        }
    }
}

typedef struct OpenByName {
    const char *filename, *format;
    const char *node_name; /* NULL: any */
    json_object *tree;     /* instead of the first two */
    bool keyval;
    int flags;
    Error **errp;
    BlockDriverState *bs;
} OpenByName;

static void bdrv_open_by_name(void *opaque)
{
    OpenByName *open = opaque;
    g_autoptr(BlockdevOptions) options = NULL;
    g_autoptr(json_object) tree = NULL;
    g_autoptr(GHashTable) guessed = g_hash_table_new(NULL, NULL);
    bool written = open->tree || is_json(open->filename);

    if (open->tree) {
        json_object_deep_copy(open->tree, &tree, NULL);
    } else {
        tree = any_tree(open->filename, open->format, open->flags,
                        open->errp);
    }
    if (tree) {
        options = tree_to_options(tree, open->tree ? open->keyval : written,
                                  open->flags & BDRV_O_PROTOCOL, guessed,
                                  open->errp);
    }
    if (options) {
        if (open->node_name) {
            g_free(options->node_name);
            options->node_name = g_strdup(open->node_name);
        }
        bdrv_options_apply_flags(options, open->flags);
        open->bs = bdrv_open_node(options, NULL, open->flags,
                                  g_hash_table_contains(guessed, tree),
                                  open->errp);
    }
    if (open->bs) {
        remember_guessed(open->bs, tree, guessed);
    }
    if (open->bs && written) {
        remember_given(open->bs, tree);
        bdrv_refresh_filename(open->bs);
    }
}

BlockDriverState *bdrv_open_file(const char *filename, const char *format,
                                 int flags, Error **errp)
{
    return bdrv_open_file_as(filename, format, NULL, flags, errp);
}

BlockDriverState *bdrv_open_file_as(const char *filename, const char *format,
                                    const char *node_name, int flags,
                                    Error **errp)
{
    OpenByName open = {
        .filename = filename, .format = format, .node_name = node_name,
        .flags = flags, .errp = errp,
    };

    bdrv_run_outside(bdrv_open_by_name, &open);
    return open.bs;
}

BlockDriverState *bdrv_open_json(json_object *options, bool keyval, int flags,
                                 Error **errp)
{
    OpenByName open = {
        .tree = options, .keyval = keyval, .flags = flags, .errp = errp,
    };

    if (!json_object_is_type(options, json_type_object)) {
        error_setg(errp, "Invalid JSON object given");
        return NULL;
    }
    bdrv_run_outside(bdrv_open_by_name, &open);
    return open.bs;
}
