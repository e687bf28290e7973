/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-io: open, close, reopen, quit. */
#include "qemu/osdep.h"

#include <getopt.h>
#include <json-c/json.h>

#include "block/graph.h"
#include "command.h"
#include "qapi/keyval.h"
#include "session.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

static BlockBackend *session_blk;
static bool session_ended;

BlockBackend *io_session_blk(void)
{
    return session_blk;
}

bool io_session_ended(void)
{
    return session_ended;
}

void io_session_close(void)
{
    if (session_blk) {
        qemuio_drain();
        blk_unref(session_blk);
        session_blk = NULL;
    }
}

/* --- opening --- */

static bool take_aio(IoOpen *o)
{
    const char *mode = o->native_aio ? "native" : o->aio;

    if (!mode || !strcmp(mode, "threads")) {
        return true;
    }
    if (!strcmp(mode, "native")) {
        o->image.flags |= BDRV_O_NATIVE_AIO;
    } else if (!strcmp(mode, "io_uring")) {
        o->image.flags |= BDRV_O_IO_URING;
    } else {
        error_report("Invalid aio option: %s", mode);
        return false;
    }
    return true;
}

static bool take_discard(IoOpen *o)
{
    const char *mode = o->discard ? o->discard : "unmap";

    if (!strcmp(mode, "unmap") || !strcmp(mode, "on")) {
        o->image.flags |= BDRV_O_UNMAP;
    } else if (strcmp(mode, "ignore") && strcmp(mode, "off")) {
        error_report("Invalid discard option: %s", mode);
        return false;
    }
    return true;
}

bool io_open_prepare(IoOpen *o)
{
    o->image.flags |= o->read_only ? 0 : BDRV_O_RDWR;
    o->image.flags |= o->force_share ? BDRV_O_FORCE_SHARE : 0;
    if (!tool_cache_mode(o->nocache ? "none" : o->cache, &o->image)) {
        error_report("Invalid cache option: %s", o->cache);
        return false;
    }
    return take_aio(o) && take_discard(o);
}

/* Does "open -o options name" name a file among the options, too? */
static bool names_twice(const IoOpen *o, Error **errp)
{
    g_autoptr(json_object) tree = keyval_parse(o->options, NULL, NULL, errp);

    json_object *file = tree ? json_object_object_get(tree, "file") : NULL;

    if (json_object_is_type(file, json_type_string)) {
        error_setg(errp, "Cannot reference an existing block device with "
                   "additional options or a new filename");
        return true;
    }
    if (file && json_object_object_get(file, "filename")) {
        error_setg(errp, "Can't specify 'file' and 'filename' options at the "
                   "same time");
        return true;
    }
    return !tree;
}

/* Inserts a copy-on-read filter above the open image. */
static bool add_copy_on_read(Error **errp)
{
    g_autofree char *options = NULL;
    ToolImage image = { .image_opts = true, .flags = BDRV_O_RDWR };
    BlockBackend *blk;

    options = g_strdup_printf("driver=copy-on-read,file=%s",
                              blk_bs(session_blk)->node_name);
    image.filename = options;
    image.writethrough = !blk_enable_write_cache(session_blk);
    blk = tool_open(&image, errp);
    if (blk) {
        blk_unref(session_blk);
        session_blk = blk;
    }
    return blk != NULL;
}

static BlockBackend *open_image(const IoOpen *o, Error **errp)
{
    ToolImage image = o->image;

    if (o->options) {
        if (o->image.filename && names_twice(o, errp)) {
            return NULL;
        }
        image.name = o->image.filename;
        image.filename = o->options;
        image.image_opts = true;
    }
    return tool_open(&image, errp);
}

bool io_session_open(const IoOpen *o)
{
    Error *err = NULL;

    if (session_blk) {
        error_report("file open already, try 'help close'");
        return false;
    }
    session_blk = open_image(o, &err);
    if (session_blk && o->copy_on_read && !add_copy_on_read(&err)) {
        io_session_close();
    }
    if (!session_blk) {
        bool named = o->image.filename && !o->image.image_opts;

        error_prepend(&err, "can't open%s%s: ", named ? " device " : "",
                      named ? o->image.filename : "");
        error_report_err(err);
    }
    return session_blk != NULL;
}

/* Handles one option of "open"; false: it does not exist. */
static bool open_option(IoOpen *o, int letter)
{
    switch (letter) {
    case 's': o->image.temporary = true; return true;
    case 'C': o->copy_on_read = true; return true;
    case 'n': o->nocache = true; return true;
    case 'r': o->read_only = true; return true;
    case 'k': o->native_aio = true; return true;
    case 'U': o->force_share = true; return true;
    case 't': o->cache = optarg; return true;
    case 'd': o->discard = optarg; return true;
    case 'i': o->aio = optarg; return true;
    case 'o': o->options = optarg; return true;
    default: return false;
    }
}

static int io_open(BlockBackend *blk, int argc, char **argv)
{
    IoOpen o = { 0 };
    int c;

    opterr = 1;
    while ((c = getopt(argc, argv, "snCro:ki:t:d:U")) != -1) {
        if (!open_option(&o, c)) {
            qemuio_usage(argv[0]);
            return -EINVAL;
        }
    }
    if (argc - optind > 1 || (argc == optind && !o.options)) {
        qemuio_usage(argv[0]);
        return -EINVAL;
    }
    o.image.filename = argv[optind]; /* may be NULL */
    return io_open_prepare(&o) && io_session_open(&o) ? 0 : -EINVAL;
}

static int io_close(BlockBackend *blk, int argc, char **argv)
{
    io_session_close();
    return 0;
}

static int io_quit(BlockBackend *blk, int argc, char **argv)
{
    session_ended = true;
    return 0;
}

/* --- reopen --- */

typedef struct IoReopen {
    int access;          /* 'r', 'w' or 0: unchanged */
    const char *cache, *options;
    ToolImage mode;      /* the flags of @cache */
} IoReopen;

/* A copy of @value in which all scalars are strings, as in key=value text. */
static json_object *as_strings(json_object *value)
{
    json_object *copy;

    if (json_object_is_type(value, json_type_object)) {
        copy = json_object_new_object();
        json_object_object_foreach(value, key, member) {
            json_object_object_add(copy, key, as_strings(member));
        }
        return copy;
    }
    if (json_object_is_type(value, json_type_array)) {
        copy = json_object_new_array();
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            json_object_array_add(
                copy, as_strings(json_object_array_get_idx(value, i)));
        }
        return copy;
    }
    if (json_object_is_type(value, json_type_boolean)) {
        return json_object_new_string(
            json_object_get_boolean(value) ? "on" : "off");
    }
    return json_object_new_string(json_object_get_string(value));
}

static void set_text(json_object *tree, const char *key, const char *value)
{
    json_object_object_add(tree, key, json_object_new_string(value));
}

/* The options @bs has now, its children by reference. */
static json_object *present_options(BlockDriverState *bs)
{
    g_autoptr(json_object) typed = qapi_BlockdevOptions_to_json(bs->options);
    json_object *tree = as_strings(typed);
    BdrvChild *child = NULL;

    set_text(tree, "node-name", bs->node_name);
    while ((child = bdrv_next_child(bs, child))) {
        set_text(tree, child->name, child->bs->node_name);
    }
    return tree;
}

static void change_common(json_object *tree, const IoReopen *r)
{
    json_object *cache;

    if (r->access) {
        set_text(tree, "read-only", r->access == 'r' ? "on" : "off");
    }
    if (r->cache) {
        cache = json_object_new_object();
        set_text(cache, "direct", r->mode.flags & BDRV_O_NOCACHE ? "on"
                                                                 : "off");
        set_text(cache, "no-flush", r->mode.flags & BDRV_O_NO_FLUSH ? "on"
                                                                    : "off");
        json_object_object_add(tree, "cache", cache);
    }
}

/* The child of @bs that @value, given as @name, has options for; NULL: none. */
static BdrvChild *child_given(BlockDriverState *bs, const char *name,
                              json_object *value)
{
    BdrvChild *child = NULL;

    if (!json_object_is_type(value, json_type_object)) {
        return NULL;
    }
    while ((child = bdrv_next_child(bs, child)) &&
           strcmp(child->name, name)) {
    }
    return child;
}

/* Sets @value, or the members that it has, in @tree. */
static void set_option(json_object *tree, const char *key, json_object *value)
{
    json_object *old = NULL;

    json_object_object_get_ex(tree, key, &old);
    if (!json_object_is_type(value, json_type_object) ||
        !json_object_is_type(old, json_type_object)) {
        json_object_object_add(tree, key, json_object_get(value));
        return;
    }
    json_object_object_foreach(value, name, member) {
        json_object_object_add(old, name, json_object_get(member));
    }
}

/* What the schema does not know cannot change, either; of options for a child
 * that is not there, the first one is named. */
static void blame_option(json_object *extra, Error *err, Error **errp)
{
    g_auto(GStrv) words = g_strsplit(error_get_pretty(err), "'", 3);
    json_object *given = NULL;
    struct json_object_iterator first;

    if (g_strv_length(words) != 3 || strcmp(words[0], "Parameter ") ||
        strcmp(words[2], " is unexpected")) {
        error_propagate(errp, err);
        return;
    }
    json_object_object_get_ex(extra, words[1], &given);
    if (json_object_is_type(given, json_type_object) &&
        json_object_object_length(given)) {
        first = json_object_iter_begin(given);
        error_setg(errp, "Cannot change the option '%s.%s'", words[1],
                   json_object_iter_peek_name(&first));
    } else {
        error_setg(errp, "Cannot change the option '%s'", words[1]);
    }
    error_free(err);
}

/* Is @key, what @bs is, given in @extra as another @value? */
static bool is_changed(json_object *extra, const char *key, const char *value,
                       Error **errp)
{
    json_object *given = NULL;

    if (json_object_object_get_ex(extra, key, &given) &&
        g_strcmp0(json_object_get_string(given), value)) {
        error_setg(errp, "Cannot change the option '%s'", key);
        return true;
    }
    return false;
}

/* The options of @bs changed by @r, and by @extra, those given for it (may be
 * NULL). */
static BlockdevOptions *changed_options(BlockDriverState *bs,
                                        const IoReopen *r, json_object *extra,
                                        Error **errp)
{
    g_autoptr(json_object) tree = present_options(bs);
    BlockdevOptions *options;
    Error *err = NULL;

    if (is_changed(extra, "node-name", bs->node_name, errp) ||
        is_changed(extra, "driver", bs->drv->format_name, errp)) {
        return NULL;
    }
    change_common(tree, r);
    if (extra) {
        json_object_object_foreach(extra, key, value) {
            if (!child_given(bs, key, value)) {
                set_option(tree, key, value);
            }
        }
    }
    options = qapi_BlockdevOptions_from_json(tree, QAPI_INPUT_OPTIONS, &err);
    if (!options) {
        blame_option(extra, err, errp);
    }
    return options;
}

/* Appends @bs, the nodes below its primary child, and those with options in
 * @extra. */
static bool add_tree(BlockDriverState *bs, const IoReopen *r,
                     json_object *extra, BlockdevOptionsList ***tail,
                     Error **errp)
{
    BlockdevOptions *options = changed_options(bs, r, extra, errp);
    IoReopen below = *r;
    BdrvChild *child = NULL;

    if (!options) {
        return false;
    }
    QAPI_LIST_APPEND(*tail, options);
    /* What is written to needs the nodes below it. */
    if (json_object_object_get_ex(extra, "read-only", NULL) &&
        !options->read_only) {
        below.access = 'w';
    }
    while ((child = bdrv_next_child(bs, child))) {
        json_object *given = NULL;

        json_object_object_get_ex(extra, child->name, &given);
        if (!json_object_is_type(given, json_type_object)) {
            given = NULL;
        }
        if ((given || child == bdrv_primary_child(bs)) &&
            !add_tree(child->bs, &below, given, tail, errp)) {
            return false;
        }
    }
    return true;
}

/* Is what the flags of the command say not among the options, too? */
static bool check_once(const IoReopen *r, json_object *extra, Error **errp)
{
    if (r->access && json_object_object_get_ex(extra, "read-only", NULL)) {
        error_setg(errp, "Cannot set both -r/-w and 'read-only'");
        return false;
    }
    if (r->cache && json_object_object_get_ex(extra, "cache", NULL)) {
        error_setg(errp, "Cannot set both -c and the cache options");
        return false;
    }
    return true;
}

/* Reopens @bs and the nodes below its primary child. */
static bool reopen_tree(BlockDriverState *bs, const IoReopen *r, Error **errp)
{
    g_autoptr(BlockdevOptionsList) list = NULL;
    g_autoptr(json_object) extra = NULL;
    BlockdevOptionsList **tail = &list;

    if (r->options) {
        extra = keyval_parse(r->options, NULL, NULL, errp);
        if (!extra || !check_once(r, extra, errp)) {
            return false;
        }
    }
    return !bs || (add_tree(bs, r, extra, &tail, errp) &&
                   bdrv_reopen_multiple(list, errp));
}

/* Write permission of the handle would prevent a read-only node. */
static bool drop_write(BlockBackend *blk, Error **errp)
{
    uint64_t perm, shared;

    blk_get_perm(blk, &perm, &shared);
    return blk_set_perm(blk, perm & ~(BLK_PERM_WRITE | BLK_PERM_RESIZE),
                        shared, errp);
}

static bool reopen(BlockBackend *blk, const IoReopen *r, Error **errp)
{
    qemuio_drain();
    if (r->access == 'r' && !drop_write(blk, errp)) {
        return false;
    }
    if (!reopen_tree(blk_bs(blk), r, errp)) {
        return false;
    }
    if (r->cache) {
        blk_set_enable_write_cache(blk, !r->mode.writethrough);
    }
    return true;
}

static bool reopen_option(IoReopen *r, int letter)
{
    switch (letter) {
    case 'r':
    case 'w':
        if (r->access && r->access != letter) {
            error_report("Only one -r/-w option may be given");
            return false;
        }
        r->access = letter;
        return true;
    case 'c':
        r->cache = optarg;
        if (!tool_cache_mode(optarg, &r->mode)) {
            error_report("Invalid cache option: %s", optarg);
            return false;
        }
        return true;
    case 'o':
        r->options = optarg;
        return true;
    default:
        qemuio_usage("reopen");
        return false;
    }
}

static int io_reopen(BlockBackend *blk, int argc, char **argv)
{
    IoReopen r = { 0 };
    Error *err = NULL;
    int c;

    opterr = 1;
    while ((c = getopt(argc, argv, "c:o:rw")) != -1) {
        if (!reopen_option(&r, c)) {
            return -EINVAL;
        }
    }
    if (optind != argc) {
        qemuio_usage(argv[0]);
        return -EINVAL;
    }
    if (!reopen(blk, &r, &err)) {
        error_report_err(err);
        return -EINVAL;
    }
    return 0;
}

static const QemuIoCommand commands[] = {
    { "close", "c", io_close, 0, 0, false, 0, NULL,
      "closes the image" },
    { "open", "o", io_open, 1, -1, true, 0,
      "[-rsCnkU] [-t cache] [-d discard] [-i aio] [-o options] [path]",
      "opens an image",
      "  -r  read-only\n"
      "  -n  without the host's cache, like -t none\n"
      "  -t  cache mode: none, writeback, writethrough, directsync, unsafe\n"
      "  -d  discard mode: unmap, ignore\n"
      "  -i  how to do I/O: threads, native, io_uring\n"
      "  -k  like -i native\n"
      "  -C  copy on read\n"
      "  -U  although others write to it\n"
      "  -o  options of the driver: driver=...,KEY=VALUE,...\n"
      "  -s  writes go to a temporary file\n" },
    { "quit", "q", io_quit, 0, 0, true, 0, NULL, "ends the program" },
    { "reopen", NULL, io_reopen, 0, -1, false, 0,
      "[(-r|-w)] [-c cache] [-o options]", "changes options of the image",
      "  -r  make it read-only\n"
      "  -w  make it writable\n"
      "  -c  cache mode\n"
      "  -o  options of the driver\n" },
    { 0 },
};

void io_session_add_commands(void)
{
    qemuio_add_commands(commands);
}
