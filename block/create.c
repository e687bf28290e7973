/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Creating images: for blockdev-create, and for `qemu-img create`, whose option
 * names are translated to the schema's.
 */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "block/create-file.h"
#include "block/graph-int.h"
#include "block/io.h"
#include "qapi/qapi-types-block-image.h"
#include "qemu/cutils.h"
#include <json-c/json.h>

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_object, json_object_put)

/* --- blockdev-create --- */

typedef struct CreateCall {
    const BlockDriver *drv;
    BlockdevCreateOptions *options;
    Error **errp;
    int ret;
} CreateCall;

static void coroutine_fn bdrv_create_entry(void *opaque)
{
    CreateCall *call = opaque;

    call->ret = call->drv->co_create(call->options, call->errp);
}

int coroutine_mixed_fn bdrv_create(BlockdevCreateOptions *options,
                                   Error **errp)
{
    const char *name = BlockdevDriver_str(options->driver);
    CreateCall call = {.options = options, .errp = errp};

    call.drv = bdrv_find_driver(options->driver);
    if (!call.drv || !call.drv->co_create) {
        error_setg(errp, "Driver '%s' does not support blockdev-create", name);
        return -ENOTSUP;
    }
    aio_run_co(aio_main_context(), bdrv_create_entry, &call);
    return call.ret;
}

/* --- the options of `qemu-img create -o` --- */

typedef enum ImgOptionType {
    IMG_STR,
    IMG_SIZE,
    IMG_NUMBER,
    IMG_BOOL,
} ImgOptionType;

typedef struct ImgOption {
    const char *name;   /* as users write it */
    const char *member; /* of BlockdevCreateOptions*; NULL: not passed */
    ImgOptionType type;
    const char *dflt;   /* shown in "Formatting ..." if not given */
    bool for_file;      /* an option of the file, not of the format */
} ImgOption;

/* In the order in which "Formatting ..." shows them. */
static const ImgOption qcow2_options[] = {
    {"encryption", NULL, IMG_BOOL},
    {"encrypt.format", "encrypt.format", IMG_STR},
    {"encrypt.key-secret", "encrypt.key-secret", IMG_STR},
    {"encrypt.cipher-alg", "encrypt.cipher-alg", IMG_STR},
    {"encrypt.cipher-mode", "encrypt.cipher-mode", IMG_STR},
    {"encrypt.ivgen-alg", "encrypt.ivgen-alg", IMG_STR},
    {"encrypt.ivgen-hash-alg", "encrypt.ivgen-hash-alg", IMG_STR},
    {"encrypt.hash-alg", "encrypt.hash-alg", IMG_STR},
    {"encrypt.iter-time", "encrypt.iter-time", IMG_NUMBER},
    {"cluster_size", "cluster-size", IMG_SIZE, "65536"},
    {"extended_l2", "extended-l2", IMG_BOOL, "off"},
    {"preallocation", "preallocation", IMG_STR},
    {"compression_type", "compression-type", IMG_STR, "zlib"},
    {"size", "size", IMG_SIZE},
    {"compat", "version", IMG_STR},
    {"backing_file", "backing-file", IMG_STR},
    {"backing_fmt", "backing-fmt", IMG_STR},
    {"data_file", NULL, IMG_STR},
    {"data_file_raw", "data-file-raw", IMG_BOOL},
    {"lazy_refcounts", "lazy-refcounts", IMG_BOOL, "off"},
    {"refcount_bits", "refcount-bits", IMG_NUMBER, "16"},
    {"nocow", "nocow", IMG_BOOL, NULL, true},
    {"extent_size_hint", "extent-size-hint", IMG_SIZE, NULL, true},
    {0},
};

static const ImgOption luks_options[] = {
    {"size", "size", IMG_SIZE},
    {"key-secret", "key-secret", IMG_STR},
    {"cipher-alg", "cipher-alg", IMG_STR},
    {"cipher-mode", "cipher-mode", IMG_STR},
    {"ivgen-alg", "ivgen-alg", IMG_STR},
    {"ivgen-hash-alg", "ivgen-hash-alg", IMG_STR},
    {"hash-alg", "hash-alg", IMG_STR},
    {"iter-time", "iter-time", IMG_NUMBER},
    {"preallocation", "preallocation", IMG_STR},
    {"nocow", "nocow", IMG_BOOL, NULL, true},
    {"extent_size_hint", "extent-size-hint", IMG_SIZE, NULL, true},
    {0},
};

static const ImgOption raw_options[] = {
    {"size", "size", IMG_SIZE, NULL, true},
    {"nocow", "nocow", IMG_BOOL, NULL, true},
    {"preallocation", "preallocation", IMG_STR, NULL, true},
    {"extent_size_hint", "extent-size-hint", IMG_SIZE, NULL, true},
    {0},
};

static const ImgOption vdi_options[] = {
    {"size", "size", IMG_SIZE},
    {"static", "preallocation", IMG_BOOL, "off"},
    {"nocow", "nocow", IMG_BOOL, NULL, true},
    {"preallocation", "preallocation", IMG_STR, NULL, true},
    {"extent_size_hint", "extent-size-hint", IMG_SIZE, NULL, true},
    {0},
};

static const ImgOption vhdx_options[] = {
    {"size", "size", IMG_SIZE},
    {"log_size", "log-size", IMG_SIZE, "1048576"},
    {"block_size", "block-size", IMG_SIZE, "0"},
    {"subformat", "subformat", IMG_STR},
    {"block_state_zero", "block-state-zero", IMG_BOOL},
    {"nocow", "nocow", IMG_BOOL, NULL, true},
    {"preallocation", "preallocation", IMG_STR, NULL, true},
    {"extent_size_hint", "extent-size-hint", IMG_SIZE, NULL, true},
    {0},
};

static const ImgOption vmdk_options[] = {
    {"size", "size", IMG_SIZE},
    {"adapter_type", "adapter-type", IMG_STR},
    {"backing_file", "backing-file", IMG_STR},
    {"backing_fmt", NULL, IMG_STR},
    {"compat6", NULL, IMG_BOOL, "off"},
    {"hwversion", "hwversion", IMG_STR, "undefined"},
    {"toolsversion", "toolsversion", IMG_STR},
    {"subformat", "subformat", IMG_STR},
    {"zeroed_grain", "zeroed-grain", IMG_BOOL},
    {"nocow", "nocow", IMG_BOOL, NULL, true},
    {"preallocation", "preallocation", IMG_STR, NULL, true},
    {"extent_size_hint", "extent-size-hint", IMG_SIZE, NULL, true},
    {0},
};

static const ImgOption vpc_options[] = {
    {"size", "size", IMG_SIZE},
    {"subformat", "subformat", IMG_STR},
    {"force_size", "force-size", IMG_BOOL},
    {"preallocation", "preallocation", IMG_STR, NULL, true},
    {"nocow", "nocow", IMG_BOOL, NULL, true},
    {"extent_size_hint", "extent-size-hint", IMG_SIZE, NULL, true},
    {0},
};

static const struct {
    const char *format;
    const ImgOption *options;
    bool is_format; /* needs a driver's co_create on top of the file */
} img_formats[] = {
    {"luks", luks_options, true},
    {"qcow2", qcow2_options, true},
    {"vdi", vdi_options, true},
    {"vhdx", vhdx_options, true},
    {"vmdk", vmdk_options, true},
    {"vpc", vpc_options, true},
    {"raw", raw_options, false},
    {"file", raw_options, false},
};

typedef struct ImgCreate {
    const BdrvImgCreate *in;
    const ImgOption *options;
    bool is_format;
    const BlockDriver *protocol;
    GHashTable *values;           /* option name -> text, normalised */
    BlockdevOptions *file;        /* how the file is opened */
    BlockDriverState *node;       /* the open file */
    BlockDriverState *data;       /* the open data file, if there is one */
    char *made_data;              /* its name, if it was made */
    bool made_file;               /* it is empty now */
} ImgCreate;

static const char *img_value(ImgCreate *c, const char *name)
{
    return g_hash_table_lookup(c->values, name);
}

static void img_set(ImgCreate *c, const char *name, const char *value)
{
    g_hash_table_insert(c->values, g_strdup(name), g_strdup(value));
}

static bool img_has_option(const ImgCreate *c, const char *name)
{
    for (const ImgOption *o = c->options; o->name; o++) {
        if (!strcmp(o->name, name)) {
            return true;
        }
    }
    return false;
}

/* --- step 1: format and protocol --- */

/* Is there always a file that an image can be created in? */
static bool img_file_exists(const BlockDriver *drv)
{
    return drv == bdrv_find_driver(BLOCKDEV_DRIVER_HOST_DEVICE) ||
           drv == bdrv_find_driver(BLOCKDEV_DRIVER_HOST_CDROM) ||
           drv == bdrv_find_driver(BLOCKDEV_DRIVER_NBD);
}

static bool img_find_drivers(ImgCreate *c, Error **errp)
{
    const char *format = c->in->format;

    if (!bdrv_find_format(format)) {
        error_setg(errp, "Unknown file format '%s'", format);
        return false;
    }
    c->protocol = bdrv_find_protocol(c->in->filename, errp);
    if (!c->protocol) {
        return false;
    }
    if (!c->protocol->co_create && !img_file_exists(c->protocol)) {
        error_setg(errp, "Protocol driver '%s' does not support image "
                   "creation", c->protocol->format_name);
        return false;
    }
    for (size_t i = 0; i < ARRAY_SIZE(img_formats); i++) {
        if (!strcmp(img_formats[i].format, format)) {
            c->options = img_formats[i].options;
            c->is_format = img_formats[i].is_format;
            return true;
        }
    }
    error_setg(errp, "Format driver '%s' does not support image creation",
               format);
    return false;
}

/* --- step 2: options, as text --- */

/* Returns @text as "Formatting ..." shows it; NULL: invalid. */
static char *img_normalise(const ImgOption *o, const char *text, Error **errp)
{
    int64_t number;
    bool on;

    switch (o->type) {
    case IMG_SIZE:
        return parse_size_option(o->name, text, &number, errp)
            ? g_strdup_printf("%" PRId64, number) : NULL;
    case IMG_NUMBER:
        if (!parse_int64(text, &number, NULL)) {
            error_setg(errp, "Parameter '%s' expects a number", o->name);
            return NULL;
        }
        return g_strdup_printf("%" PRId64, number);
    case IMG_BOOL:
        if (!parse_bool(o->name, text, &on, NULL)) {
            error_setg(errp, "Parameter '%s' expects 'on' or 'off'", o->name);
            return NULL;
        }
        return g_strdup(on ? "on" : "off");
    case IMG_STR:
        return g_strdup(text);
    }
    g_assert_not_reached();
}

static bool img_take_option(ImgCreate *c, const char *key, const char *text,
                            Error **errp)
{
    for (const ImgOption *o = c->options; o->name; o++) {
        g_autofree char *value = NULL;

        if (strcmp(o->name, key)) {
            continue;
        }
        value = img_normalise(o, text, errp);
        if (value) {
            img_set(c, key, value);
        }
        return value != NULL;
    }
    error_setg(errp, "Invalid parameter '%s'", key);
    return false;
}

/* Returns the part of @text up to an undoubled comma; moves *@text past it. */
static char *next_part(const char **text)
{
    GString *part = g_string_new("");
    const char *p = *text;

    while (*p && (*p != ',' || p[1] == ',')) {
        p += *p == ',';
        g_string_append_c(part, *p++);
    }
    *text = *p == ',' ? p + 1 : p;
    return g_string_free(part, FALSE);
}

static bool img_parse_extra(ImgCreate *c, Error **errp)
{
    const char *text = c->in->extra ? c->in->extra : "";

    while (*text) {
        g_autofree char *part = next_part(&text);
        char *value = strchr(part, '=');
        bool off = !value && g_str_has_prefix(part, "no") &&
                   strcmp(part, "nocow");

        if (value) {
            *value++ = '\0';
        } else {
            value = off ? "off" : "on";
        }
        if (!img_take_option(c, part + (off ? 2 : 0), value, errp)) {
            return false;
        }
    }
    return true;
}

static bool img_take_base(ImgCreate *c, Error **errp)
{
    const BdrvImgCreate *in = c->in;

    if ((in->base_filename || in->base_format) &&
        !img_has_option(c, "backing_file")) {
        error_setg(errp, "Backing %s not supported for file format '%s'",
                   in->base_filename ? "file" : "format", in->format);
        return false;
    }
    if (in->base_filename) {
        img_set(c, "backing_file", in->base_filename);
    }
    if (in->base_format) {
        img_set(c, "backing_fmt", in->base_format);
    }
    return true;
}

static bool img_take_size(ImgCreate *c, Error **errp)
{
    g_autofree char *text = NULL;

    if (c->in->size < 0) {
        return true;
    }
    if (img_value(c, "size")) {
        error_setg(errp, "The image size must be specified only once");
        return false;
    }
    text = g_strdup_printf("%" PRId64, c->in->size);
    img_set(c, "size", text);
    return true;
}

/* --- step 3: the backing file --- */

static bool img_check_base_name(ImgCreate *c, const char *base, Error **errp)
{
    const char *format = img_value(c, "backing_fmt");

    if (!*base) {
        error_setg(errp, "Expected backing file name, got empty string");
        return false;
    }
    if (!strcmp(base, c->in->filename)) {
        error_setg(errp, "Error: Trying to create an image with the same "
                   "filename as the backing file");
        return false;
    }
    if (c->in->unsafe_base && format && !bdrv_find_format(format)) {
        error_setg(errp, "Unknown backing file format '%s'", format);
        return false;
    }
    return true;
}

/* Opens the backing file to learn its size, or to report its format. */
static bool img_look_at_base(ImgCreate *c, const char *base, Error **errp)
{
    const char *format = img_value(c, "backing_fmt");
    g_autofree char *path =
        bdrv_make_absolute_filename(c->in->filename, base);
    g_autoptr(BlockDriverState) bs = NULL;
    int64_t size;

    /* It may be in use: its size is all that is read. */
    bs = bdrv_open_file(path, format, BDRV_O_FORCE_SHARE, errp);
    if (!bs) {
        error_append_hint(errp, "Could not open backing image.\n");
        return false;
    }
    if (!format) {
        error_setg(errp, "Backing file specified without backing format");
        error_append_hint(errp, "Detected format of %s.\n",
                          bdrv_get_format_name(bs));
        return false;
    }
    if (!img_value(c, "size")) {
        g_autofree char *text = NULL;

        size = bdrv_getlength(bs);
        if (size < 0) {
            error_setg_errno(errp, -size, "Could not get size of '%s'", path);
            return false;
        }
        text = g_strdup_printf("%" PRId64, size);
        img_set(c, "size", text);
    }
    return true;
}

static bool img_check_base(ImgCreate *c, Error **errp)
{
    const char *base = img_value(c, "backing_file");

    if (base) {
        if (!img_check_base_name(c, base, errp)) {
            return false;
        }
        if (c->in->unsafe_base && !img_value(c, "backing_fmt")) {
            error_setg(errp, "Backing file specified without backing format");
            return false;
        }
        if (!c->in->unsafe_base && !img_look_at_base(c, base, errp)) {
            return false;
        }
    }
    if (!img_value(c, "size")) {
        error_setg(errp, "Image creation needs a size parameter");
        return false;
    }
    return true;
}

/* --- step 4: the message --- */

static void img_print(ImgCreate *c)
{
    if (c->in->quiet) {
        return;
    }
    printf("Formatting '%s', fmt=%s", c->in->filename, c->in->format);
    for (const ImgOption *o = c->options; o->name; o++) {
        const char *value = img_value(c, o->name);
        g_auto(GStrv) parts = NULL;
        g_autofree char *doubled = NULL;

        if (!value) {
            value = o->dflt;
        }
        if (value) {
            parts = g_strsplit(value, ",", -1);
            doubled = g_strjoinv(",,", parts);
            printf(" %s=%s", o->name, doubled);
        }
    }
    printf("\n");
    fflush(stdout);
}

/* --- step 5: creating --- */

/* Disks consist of whole sectors. */
static int64_t img_disk_size(const char *text)
{
    int64_t size = g_ascii_strtoll(text, NULL, 10);

    return size <= BDRV_MAX_LENGTH ? ROUND_UP(size, BDRV_SECTOR_SIZE) : size;
}

static json_object *img_member(const ImgOption *o, const char *text)
{
    if (!strcmp(o->name, "size")) {
        return json_object_new_int64(img_disk_size(text));
    }
    if (o->type == IMG_SIZE || o->type == IMG_NUMBER) {
        return json_object_new_int64(g_ascii_strtoll(text, NULL, 10));
    }
    if (!strcmp(o->name, "static")) {
        return json_object_new_string(strcmp(text, "on") ? "off" : "metadata");
    }
    if (o->type == IMG_BOOL) {
        return json_object_new_boolean(!strcmp(text, "on"));
    }
    if (!strcmp(o->name, "compat")) {
        if (!strcmp(text, "0.10")) {
            text = "v2";
        } else if (!strcmp(text, "1.1")) {
            text = "v3";
        }
    }
    return json_object_new_string(text);
}

/* "a.b" is member b of a. */
static void img_add_member(json_object *tree, const char *name,
                           json_object *value)
{
    const char *dot = strchr(name, '.');
    g_autofree char *outer = dot ? g_strndup(name, dot - name) : NULL;
    json_object *sub;

    if (!dot) {
        json_object_object_add(tree, name, value);
        return;
    }
    if (!json_object_object_get_ex(tree, outer, &sub)) {
        sub = json_object_new_object();
        json_object_object_add(tree, outer, sub);
    }
    json_object_object_add(sub, dot + 1, value);
}

/* Returns the options that were given for the file, or for the format. */
static json_object *img_tree(ImgCreate *c, bool for_file)
{
    json_object *tree = json_object_new_object();

    for (const ImgOption *o = c->options; o->name; o++) {
        const char *text = img_value(c, o->name);

        if (text && o->member && o->for_file == for_file) {
            img_add_member(tree, o->member, img_member(o, text));
        }
    }
    return tree;
}

static bool img_create_from(json_object *tree, const char *driver,
                            Error **errp)
{
    g_autoptr(BlockdevCreateOptions) options = NULL;
    const BlockDriver *drv;

    json_object_object_add(tree, "driver", json_object_new_string(driver));
    options = qapi_BlockdevCreateOptions_from_json(tree, QAPI_INPUT_STRICT,
                                                   errp);
    if (!options) {
        return false;
    }
    drv = bdrv_find_driver(options->driver);
    return (!drv || !drv->choose_size || drv->choose_size(options, errp)) &&
           bdrv_create(options, errp) >= 0;
}

static bool img_open_file(ImgCreate *c, Error **errp)
{
    if (!c->node) {
        c->file->has_read_only = true;
        c->file->read_only = false;
        c->node = bdrv_open(c->file, BDRV_O_ACTIVE, errp);
    }
    return c->node != NULL;
}

/* A device or an export, which exists and has its size. */
static bool img_use_existing(ImgCreate *c, Error **errp)
{
    const char *name = c->protocol->format_name;

    if (!img_open_file(c, errp)) {
        if (c->file->driver == BLOCKDEV_DRIVER_HOST_DEVICE ||
            c->file->driver == BLOCKDEV_DRIVER_HOST_CDROM) {
            return false;
        }
        error_prepend(errp, "Protocol driver '%s' does not support image "
                      "creation, and opening the image failed: ", name);
        return false;
    }
    return true;
}

static bool img_create_file(ImgCreate *c, Error **errp)
{
    g_autoptr(json_object) tree = img_tree(c, true);
    const char *filename;
    bool unused;

    if (!*c->in->filename) {
        error_setg(errp, "Could not create '': %s", strerror(ENOENT));
        return false;
    }
    c->file = bdrv_options_from_filename(c->in->filename, NULL,
                                         BDRV_O_PROTOCOL, &unused, errp);
    if (!c->file) {
        return false;
    }
    if (!c->protocol->co_create) {
        return img_use_existing(c, errp);
    }
    filename = c->file->u.file.filename;
    json_object_object_add(tree, "filename",
                           json_object_new_string(filename));
    if (!json_object_object_get(tree, "size")) {
        json_object_object_add(tree, "size", json_object_new_int64(0));
    }
    c->made_file = img_create_from(tree, c->protocol->format_name, errp);
    return c->made_file;
}

/* The old name of an encryption, and the schema's names of both. */
static bool img_name_encryption(ImgCreate *c, json_object *tree, Error **errp)
{
    const char *format = img_value(c, "encrypt.format");

    if (!g_strcmp0(img_value(c, "encryption"), "on")) {
        if (format) {
            error_setg(errp, "'encrypt.format' and its alias 'encryption' "
                       "can't be used at the same time");
            return false;
        }
        format = "aes";
    }
    if (!format && json_object_object_get(tree, "encrypt")) {
        error_setg(errp, "Parameter 'encrypt.format' is missing");
        return false;
    }
    if (format && strcmp(format, "aes") && strcmp(format, "luks")) {
        error_setg(errp, "Parameter 'format' does not accept value '%s'",
                   format);
        return false;
    }
    if (format) {
        img_add_member(tree, "encrypt.format", json_object_new_string(
                           strcmp(format, "aes") ? format : "qcow"));
    }
    return true;
}

/* Options of vmdk that stand for others. */
static bool img_add_compat6(ImgCreate *c, json_object *tree, Error **errp)
{
    if (g_strcmp0(img_value(c, "compat6"), "on")) {
        return true;
    }
    if (img_value(c, "hwversion")) {
        error_setg(errp, "compat6 cannot be enabled with hwversion set");
        return false;
    }
    json_object_object_add(tree, "hwversion", json_object_new_string("6"));
    return true;
}

static bool img_make_data_file(ImgCreate *c, const BlockDriver *protocol,
                               const char *filename, Error **errp)
{
    g_autoptr(json_object) tree = json_object_new_object();

    json_object_object_add(tree, "filename", json_object_new_string(filename));
    json_object_object_add(tree, "size", json_object_new_int64(0));
    if (!img_create_from(tree, protocol->format_name, errp)) {
        return false;
    }
    c->made_data = g_strdup(filename);
    return true;
}

/* What is in the data file is lost: it must not be one that is needed. */
static bool img_check_data_name(ImgCreate *c, const char *name, Error **errp)
{
    const char *base = img_value(c, "backing_file");
    g_autofree char *path =
        base ? bdrv_make_absolute_filename(c->in->filename, base) : NULL;

    if (path_is_same_file(name, c->in->filename)) {
        error_setg(errp, "The data file must be another file than the image");
        return false;
    }
    if (path && path_is_same_file(name, path)) {
        error_setg(errp, "The data file must be another file than the backing "
                   "file");
        return false;
    }
    return true;
}

/* Makes and opens the external data file of a qcow2 image. */
static bool img_create_data_file(ImgCreate *c, json_object *tree, Error **errp)
{
    const char *name = img_value(c, "data_file");
    const BlockDriver *protocol = name ? bdrv_find_protocol(name, errp) : NULL;
    g_autoptr(BlockdevOptions) options = NULL;
    bool unused;

    if (!name) {
        return true;
    }
    if (!*name) {
        error_setg(errp, "Could not create '': %s", strerror(ENOENT));
        return false;
    }
    options = protocol ? bdrv_options_from_filename(name, NULL,
                                                    BDRV_O_PROTOCOL, &unused,
                                                    errp) : NULL;
    if (!options || !img_check_data_name(c, name, errp)) {
        return false;
    }
    if (protocol->co_create &&
        !img_make_data_file(c, protocol, options->u.file.filename, errp)) {
        return false;
    }
    options->has_read_only = true;
    options->read_only = false;
    c->data = bdrv_open(options, 0, errp);
    if (c->data) {
        json_object_object_add(tree, "data-file",
                               json_object_new_string(c->data->node_name));
    }
    return c->data;
}

static bool img_create_format(ImgCreate *c, Error **errp)
{
    g_autoptr(json_object) tree = img_tree(c, false);

    if (!img_open_file(c, errp) || !img_name_encryption(c, tree, errp) ||
        !img_add_compat6(c, tree, errp) ||
        !img_create_data_file(c, tree, errp)) {
        return false;
    }
    json_object_object_add(tree, "file",
                           json_object_new_string(c->node->node_name));
    return img_create_from(tree, c->in->format, errp);
}

/* A raw image on a device must not look like that of another format. */
static int coroutine_fn wipe_start(BdrvChild *file, void *opaque, Error **errp)
{
    int64_t size = bdrv_getlength(file->bs);
    int ret = size < 0 ? size
        : bdrv_co_pwrite_zeroes(file, 0, MIN(size, BDRV_SECTOR_SIZE), 0);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Failed to clear the first sector");
    }
    return ret;
}

typedef struct WipeCall {
    ImgCreate *c;
    Error **errp;
    int ret;
} WipeCall;

static void coroutine_fn wipe_entry(void *opaque)
{
    WipeCall *call = opaque;
    BlockdevRef ref = {
        .type = BLOCKDEV_REF_KIND_REFERENCE,
        .u.reference = call->c->node->node_name,
    };

    call->ret = bdrv_create_in_file(&ref, "raw", wipe_start, NULL, call->errp);
}

/* What cannot grow must already be large enough. */
static bool img_prepare_existing(ImgCreate *c, Error **errp)
{
    const char *prealloc = img_value(c, "preallocation");
    int64_t wanted = img_disk_size(img_value(c, "size"));
    WipeCall wipe = {c, errp};

    if (prealloc && strcmp(prealloc, "off")) {
        error_setg(errp, "Unsupported preallocation mode '%s'", prealloc);
        return false;
    }
    if (bdrv_getlength(c->node) < wanted) {
        if (c->file->driver == BLOCKDEV_DRIVER_NBD) {
            error_setg(errp, "Cannot grow NBD nodes");
        } else {
            error_setg(errp, "Device '%s' is smaller than %" PRId64 " bytes",
                       c->in->filename, wanted);
        }
        return false;
    }
    aio_run_co(aio_main_context(), wipe_entry, &wipe);
    return wipe.ret >= 0;
}

static bool img_create_raw(ImgCreate *c, Error **errp)
{
    return c->protocol->co_create || img_prepare_existing(c, errp);
}

static bool img_create(ImgCreate *c, Error **errp)
{
    bool ok;

    if (img_value(c, "backing_fmt") && !img_value(c, "backing_file")) {
        error_setg(errp, "Backing format cannot be used without backing file");
        return false;
    }
    ok = img_create_file(c, errp) &&
         (c->is_format ? img_create_format(c, errp)
                       : img_create_raw(c, errp));
    bdrv_unref(g_steal_pointer(&c->data));
    bdrv_unref(g_steal_pointer(&c->node));
    if (!ok && c->made_file) {
        unlink(c->file->u.file.filename);
    }
    if (!ok && c->made_data) {
        unlink(c->made_data);
    }
    g_clear_pointer(&c->made_data, g_free);
    return ok;
}

bool bdrv_img_create(const BdrvImgCreate *create, Error **errp)
{
    ImgCreate c = {.in = create};
    bool ok;

    c.values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    ok = img_find_drivers(&c, errp) && img_parse_extra(&c, errp) &&
         img_take_base(&c, errp) && img_take_size(&c, errp) &&
         img_check_base(&c, errp);
    if (ok) {
        img_print(&c);
        ok = img_create(&c, errp);
    }
    g_hash_table_unref(c.values);
    qapi_free_BlockdevOptions(c.file);
    return ok;
}
