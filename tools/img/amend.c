/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img amend: changes options of an existing image. */
#include "qemu/osdep.h"
#include "block/graph.h"
#include "img.h"
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
    BdrvAmend change;
    int64_t size;                  /* -1: no change */
    char *backing_file, *backing_fmt; /* NULL: not given */
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
    error_setg(errp, "data-file can only be set for images that use an "
               "external data file");
    return false;
}

static bool take_data_file_raw(Amend *a, const char *text, Error **errp)
{
    bool on;

    if (!take_on_off("data_file_raw", text, &on, errp)) {
        return false;
    }
    if (on) {
        error_setg(errp, "data-file-raw cannot be set on existing images");
    }
    return !on;
}

static bool take_encrypt(Amend *a, const char *text, Error **errp)
{
    error_setg(errp, "Can't amend encryption options - encryption not "
               "present");
    return false;
}

static const struct {
    const char *name;
    bool (*take)(Amend *a, const char *text, Error **errp);
    const char *help; /* NULL: refused, with a reason */
} options[] = {
    { "backing_file", take_backing_file,
      "backing_file=<str>     - File name of a base image" },
    { "backing_fmt", take_backing_fmt,
      "backing_fmt=<str>      - Image format of the base image" },
    { "compat", take_compat,
      "compat=<str>           - Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "data_file", take_data_file, NULL },
    { "data_file_raw", take_data_file_raw, NULL },
    { "encrypt.iter-time", take_encrypt, NULL },
    { "encrypt.keyslot", take_encrypt, NULL },
    { "encrypt.new-secret", take_encrypt, NULL },
    { "encrypt.old-secret", take_encrypt, NULL },
    { "encrypt.state", take_encrypt, NULL },
    { "lazy_refcounts", take_lazy,
      "lazy_refcounts=<bool (on/off)> - Postpone refcount updates" },
    { "refcount_bits", take_refcount_bits,
      "refcount_bits=<num>    - Width of a reference count entry in bits" },
    { "size", take_size, "size=<size>            - Virtual disk size" },
};

static bool list_options(const BlockDriver *drv)
{
    if (!drv->co_amend) {
        error_report("Format driver '%s' does not support option amendment",
                     drv->format_name);
        return false;
    }
    printf("Amend options for '%s':\n", drv->format_name);
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        if (options[i].help) {
            printf("  %s\n", options[i].help);
        }
    }
    return true;
}

static bool take_option(Amend *a, const char *name, const char *value,
                        Error **errp)
{
    static const char *const others[] = {
        "cluster_size", "compression_type", "encrypt.cipher-alg",
        "encrypt.cipher-mode", "encrypt.format", "encrypt.hash-alg",
        "encrypt.ivgen-alg", "encrypt.ivgen-hash-alg", "encrypt.key-secret",
        "encryption", "extended_l2", "preallocation", NULL,
    };

    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        if (!strcmp(options[i].name, name)) {
            return options[i].take(a, value, errp);
        }
    }
    error_setg(errp, "Invalid parameter '%s'", name);
    if (g_strv_contains(others, name)) {
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

static bool change_size(const Amend *a, BlockBackend *blk, Error **errp)
{
    return a->size < 0 ||
           blk_truncate(blk, a->size, false, PREALLOC_MODE_OFF, 0, errp) >= 0;
}

static bool change(Amend *a, const AmendArgs *args, BlockBackend *blk,
                   Error **errp)
{
    bool ok = take_options(a, args->extra, errp) && check_backing(a, errp);

    /* The irreversible step comes last: version 2 has no zero clusters. */
    if (ok && a->change.version == 2) {
        return change_size(a, blk, errp) && change_format(a, errp);
    }
    ok = ok && change_format(a, errp);
    if (ok) {
        img_progress_set(1, 2);
    }
    return ok && change_size(a, blk, errp);
}

static int amend(const AmendArgs *args, BlockBackend *blk)
{
    Amend a = { .bs = blk_bs(blk), .change.lazy_refcounts = -1, .size = -1 };
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
    img_progress_begin(args->progress && !args->quiet);
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
