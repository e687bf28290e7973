/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img amend: changes options of an existing image. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "img.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/keyval.h"
#include "qemu/cutils.h"

typedef struct AmendArgs {
    ToolImage image;
    const char *cache;
    bool progress, quiet, force;
    char *extra; /* -o, joined */
} AmendArgs;

static bool add_extra(void *dest, const char *arg)
{
    return img_add_options(&((AmendArgs *)dest)->extra, arg);
}

static const CliOption amend_options[] = {
    IMG_IMAGE_OPTIONS(AmendArgs, image),
    IMG_TEXT(AmendArgs, 't', "cache", cache),
    IMG_FLAG(AmendArgs, 'p', "progress", progress),
    IMG_FLAG(AmendArgs, 'q', "quiet", quiet),
    IMG_FLAG(AmendArgs, IMG_LONG_ONLY, "force", force),
    IMG_CALL('o', "options", add_extra),
    { 0 },
};

/* The requested change, and its image. */
typedef struct Amend {
    BlockDriverState *bs;
    const char *name; /* of the option that is being parsed */
    BdrvAmend change;
    int64_t size;                  /* -1: no change */
    char *backing_file, *backing_fmt, *data_file; /* NULL: not given */
    QCryptoBlockAmendOptionsLUKS *luks; /* NULL: not given */
    char *state; /* of luks */
    bool force;
    int ret;
    Error *err;
} Amend;

/* --- options --- */

static bool take_compat(Amend *a, const char *text, Error **errp)
{
    if (!strcmp(text, "0.10") || !strcmp(text, "v2")) {
        a->change.version = 2;
    } else if (!strcmp(text, "1.1") || !strcmp(text, "v3")) {
        a->change.version = 3;
    } else {
        error_setg(errp, "Unknown compatibility level %s", text);
        return false;
    }
    return true;
}

static bool take_on_off(const char *name, const char *text, bool *on,
                        Error **errp)
{
    if (!parse_bool(name, text, on, NULL)) {
        error_setg(errp, "Parameter '%s' expects 'on' or 'off'", name);
        return false;
    }
    return true;
}

static bool take_lazy(Amend *a, const char *text, Error **errp)
{
    bool on;

    if (!take_on_off("lazy_refcounts", text, &on, errp)) {
        return false;
    }
    a->change.lazy_refcounts = on;
    return true;
}

static bool take_refcount_bits(Amend *a, const char *text, Error **errp)
{
    int64_t bits;

    if (!parse_int64(text, &bits, NULL)) {
        error_setg(errp, "Parameter 'refcount_bits' expects a number");
        return false;
    }
    a->change.refcount_bits = bits > 0 && bits <= 64 ? bits : INT_MAX;
    return true;
}

static bool take_size(Amend *a, const char *text, Error **errp)
{
    if (!parse_size(text, 'b', &a->size, NULL)) {
        error_setg(errp, "Parameter 'size' expects a non-negative number "
                   "below 2^64");
        error_append_hint(errp, "Optional suffix k, M, G, T, P or E means "
                          "kilo-, mega-, giga-, tera-, peta-\nand exabytes, "
                          "respectively.\n");
        return false;
    }
    if (a->size % BDRV_SECTOR_SIZE) {
        error_setg(errp, "The new size must be a multiple of %d",
                   (int)BDRV_SECTOR_SIZE);
        return false;
    }
    return true;
}

static bool take_backing_file(Amend *a, const char *text, Error **errp)
{
    g_free(a->backing_file);
    a->backing_file = g_strdup(text);
    return true;
}

static bool take_backing_fmt(Amend *a, const char *text, Error **errp)
{
    g_free(a->backing_fmt);
    a->backing_fmt = g_strdup(text);
    return true;
}

static bool take_data_file(Amend *a, const char *text, Error **errp)
{
    g_free(a->data_file);
    a->data_file = g_strdup(text);
    a->change.data_file = a->data_file;
    return true;
}

static bool take_data_file_raw(Amend *a, const char *text, Error **errp)
{
    bool on;

    if (!take_on_off("data_file_raw", text, &on, errp)) {
        return false;
    }
    a->change.has_data_file_raw = true;
    a->change.data_file_raw = on;
    return true;
}

/* --- encryption --- */

/* The change of keys, which is made with the first option for one. */
static QCryptoBlockAmendOptionsLUKS *luks_of(Amend *a)
{
    if (!a->luks) {
        a->luks = g_new0(QCryptoBlockAmendOptionsLUKS, 1);
        a->change.luks = a->luks;
        a->change.force = a->force;
    }
    return a->luks;
}

static bool take_number(const Amend *a, const char *text, int64_t *number,
                        bool *has, Error **errp)
{
    *has = true;
    if (!parse_int64(text, number, NULL)) {
        error_setg(errp, "Parameter '%s' expects a number", a->name);
        return false;
    }
    return true;
}

static bool take_iter_time(Amend *a, const char *text, Error **errp)
{
    QCryptoBlockAmendOptionsLUKS *luks = luks_of(a);

    return take_number(a, text, &luks->iter_time, &luks->has_iter_time, errp);
}

static bool take_keyslot(Amend *a, const char *text, Error **errp)
{
    QCryptoBlockAmendOptionsLUKS *luks = luks_of(a);

    return take_number(a, text, &luks->keyslot, &luks->has_keyslot, errp);
}

static bool take_new_secret(Amend *a, const char *text, Error **errp)
{
    g_free(luks_of(a)->new_secret);
    a->luks->new_secret = g_strdup(text);
    return true;
}

static bool take_old_secret(Amend *a, const char *text, Error **errp)
{
    g_free(luks_of(a)->old_secret);
    a->luks->old_secret = g_strdup(text);
    return true;
}

static bool take_state(Amend *a, const char *text, Error **errp)
{
    luks_of(a);
    g_free(a->state);
    a->state = g_strdup(text);
    return true;
}

/* --- which format has which --- */

typedef struct AmendOption {
    const char *name;
    bool (*take)(Amend *a, const char *text, Error **errp);
    const char *type, *help; /* NULL: refused, with a reason */
} AmendOption;

#define KEY_OPTIONS(prefix) \
    { prefix "iter-time", take_iter_time, \
      "num", "Time to spend in PBKDF in milliseconds" }, \
    { prefix "keyslot", take_keyslot, \
      "num", "Select a single keyslot to modify explicitly" }, \
    { prefix "new-secret", take_new_secret, "str", \
      "New secret to set in the matching keyslots. Empty string to erase" }, \
    { prefix "old-secret", take_old_secret, \
      "str", "Select all keyslots that match this password" }, \
    { prefix "state", take_state, "str", \
      "Select new state of affected keyslots (active/inactive)" }

static const AmendOption qcow2_options[] = {
    { "backing_file", take_backing_file, "str",
      "File name of a base image" },
    { "backing_fmt", take_backing_fmt, "str",
      "Image format of the base image" },
    { "compat", take_compat, "str",
      "Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "data_file", take_data_file, "str",
      "File name of an external data file" },
    { "data_file_raw", take_data_file_raw, "bool (on/off)",
      "The external data file must stay valid as a raw image" },
    KEY_OPTIONS("encrypt."),
    { "lazy_refcounts", take_lazy, "bool (on/off)",
      "Postpone refcount updates" },
    { "refcount_bits", take_refcount_bits, "num",
      "Width of a reference count entry in bits" },
    { "size", take_size, "size", "Virtual disk size" },
    { 0 },
};

static const AmendOption luks_options[] = {
    KEY_OPTIONS(""),
    { 0 },
};

static const AmendOption *options_of(const BlockDriver *drv)
{
    return strcmp(drv->format_name, "luks") ? qcow2_options : luks_options;
}

static bool list_options(const BlockDriver *drv)
{
    if (!drv->co_amend) {
        error_report("Format driver '%s' does not support option amendment",
                     drv->format_name);
        return false;
    }
    printf("Amend options for '%s':\n", drv->format_name);
    for (const AmendOption *o = options_of(drv); o->name; o++) {
        if (o->help) {
            g_autofree char *word = g_strdup_printf("%s=<%s>", o->name,
                                                    o->type);

            printf("  %-22s - %s\n", word, o->help);
        }
    }
    return true;
}

static bool take_option(Amend *a, const char *name, const char *value,
                        Error **errp)
{
    for (const AmendOption *o = options_of(a->bs->drv); o->name; o++) {
        if (!strcmp(o->name, name)) {
            a->name = name;
            return o->take(a, value, errp);
        }
    }
    error_setg(errp, "Invalid parameter '%s'", name);
    if (img_is_own_option(a->bs->drv->format_name, name) ||
        !strcmp(name, "extended_l2")) {
        error_append_hint(errp, "This option is only supported for image "
                          "creation\n");
    }
    return false;
}

static bool take_options(Amend *a, const char *text, Error **errp)
{
    bool ok = true;

    while (ok && *text) {
        g_autofree char *name = keyval_take_value(&text);
        char *value = strchr(name, '=');

        if (value) {
            *value++ = '\0';
        }
        ok = take_option(a, name, value ? value : "on", errp);
    }
    return ok;
}

/* --- the change --- */

static bool check_backing(const Amend *a, Error **errp)
{
    if ((a->backing_file || a->backing_fmt) &&
        (g_strcmp0(a->backing_file, a->bs->backing_file) ||
         g_strcmp0(a->backing_fmt, a->bs->backing_format))) {
        error_setg(errp, "Cannot amend the backing file");
        error_append_hint(errp, "You can use 'qemu-img rebase' instead.\n");
        return false;
    }
    return true;
}

static void coroutine_fn amend_entry(void *opaque)
{
    Amend *a = opaque;

    a->ret = a->bs->drv->co_amend(a->bs, &a->change, &a->err);
}

static bool change_format(Amend *a, Error **errp)
{
    aio_run_co(aio_main_context(), amend_entry, a);
    error_propagate(errp, a->err);
    return a->ret >= 0;
}

static bool has_luks(BlockDriverState *bs)
{
    g_autoptr(ImageInfoSpecific) info = bdrv_get_specific_info(bs, NULL);
    const ImageInfoSpecificQCow2Encryption *encrypt;

    if (!info || info->type != IMAGE_INFO_SPECIFIC_KIND_QCOW2) {
        return info != NULL;
    }
    encrypt = info->u.qcow2.data->encrypt;
    return encrypt && encrypt->format == BLOCKDEV_QCOW2_ENCRYPTION_FORMAT_LUKS;
}

static bool check_encryption(Amend *a, Error **errp)
{
    int state;

    if (!a->luks) {
        return true;
    }
    if (!a->bs->encrypted) {
        error_setg(errp, "Can't amend encryption options - encryption not "
                   "present");
        return false;
    }
    if (!has_luks(a->bs)) {
        error_setg(errp, "Only LUKS encryption options can be amended");
        return false;
    }
    if (!a->state) {
        error_setg(errp, "Parameter 'state' is missing");
        return false;
    }
    state = QCryptoBlockLUKSKeyslotState_parse(a->state, NULL);
    if (state < 0) {
        error_setg(errp, "Parameter 'state' does not accept value '%s'",
                   a->state);
        return false;
    }
    a->luks->state = state;
    return true;
}

static bool change_size(const Amend *a, BlockBackend *blk, Error **errp)
{
    return a->size < 0 ||
           blk_truncate(blk, a->size, false, PREALLOC_MODE_OFF, 0, errp) >= 0;
}

static bool change(Amend *a, const AmendArgs *args, BlockBackend *blk,
                   Error **errp)
{
    bool ok = take_options(a, args->extra, errp) && check_backing(a, errp) &&
              check_encryption(a, errp);

    /* The irreversible step comes last: version 2 has no zero clusters. */
    if (ok && a->change.version == 2) {
        return change_size(a, blk, errp) && change_format(a, errp);
    }
    return ok && change_format(a, errp) && change_size(a, blk, errp);
}

static int amend(const AmendArgs *args, BlockBackend *blk)
{
    Amend a = { .bs = blk_bs(blk), .change.lazy_refcounts = -1, .size = -1,
                .force = args->force };
    Error *err = NULL;
    bool ok;

    if (img_wants_help(args->extra)) {
        return list_options(a.bs->drv) ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    if (!a.bs->drv->co_amend) {
        error_report("Format driver '%s' does not support option amendment",
                     a.bs->drv->format_name);
        return EXIT_FAILURE;
    }
    img_progress_begin(args->progress && !args->quiet, 1);
    ok = change(&a, args, blk, &err);
    if (ok) {
        img_progress_set(1, 1);
    }
    img_progress_end();
    if (!ok) {
        error_report_err(err);
    }
    g_free(a.backing_file);
    g_free(a.backing_fmt);
    g_free(a.data_file);
    g_free(a.state);
    qapi_free_QCryptoBlockAmendOptionsLUKS(a.luks);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int help_of_format(const char *format)
{
    const BlockDriver *drv = bdrv_find_format(format);

    if (!drv) {
        error_report("Unknown file format '%s'", format);
        return EXIT_FAILURE;
    }
    return list_options(drv) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int img_amend(int argc, char **argv)
{
    AmendArgs args = { .image.flags = BDRV_O_RDWR | BDRV_O_RESIZE };
    int first = cli_parse(argc, argv, amend_options, &args, img_help);
    g_autofree char *extra = args.extra;
    g_autoptr(BlockBackend) blk = NULL;

    if (!extra) {
        cli_usage_error("Must specify options (-o)");
    }
    if (args.image.format && img_wants_help(extra)) {
        return help_of_format(args.image.format);
    }
    if (argc - first != 1) {
        error_report("Expecting one image file name");
        return EXIT_FAILURE;
    }
    if (!tool_cache_mode(args.cache, &args.image)) {
        error_report("Invalid cache option: %s", args.cache);
        return EXIT_FAILURE;
    }
    args.image.filename = argv[first];
    blk = img_open(&args.image);
    return blk ? amend(&args, blk) : EXIT_FAILURE;
}
