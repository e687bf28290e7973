/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options common to several commands. */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "block/graph.h"
#include "img.h"

BlockBackend *img_open(const ToolImage *image)
{
    Error *err = NULL;
    BlockBackend *blk;

    if (image->image_opts && image->format) {
        error_report("--image-opts and --format are mutually exclusive");
        return NULL;
    }
    blk = tool_open(image, &err);
    if (!blk) {
        error_prepend(&err, "Could not open '%s': ", image->filename);
        error_report_err(err);
    }
    return blk;
}

bool img_add_options(char **options, const char *more)
{
    size_t len = strlen(more);
    char *joined;

    if (!len || *more == ',' ||
        (more[len - 1] == ',' && (len < 2 || more[len - 2] != ','))) {
        error_report("Invalid option list: %s", more);
        return false;
    }
    joined = *options ? g_strdup_printf("%s,%s", *options, more)
                      : g_strdup(more);
    g_free(*options);
    *options = joined;
    return true;
}

bool img_wants_help(const char *options)
{
    const char *p = options ? options : "", *end;

    /* A doubled comma is part of a value. */
    for (;; p = end + 1) {
        for (end = p; *end && (*end != ',' || end[1] == ','); end++) {
            end += *end == ',';
        }
        if ((end - p == 4 && !strncmp(p, "help", 4)) ||
            (end - p == 1 && *p == '?')) {
            return true;
        }
        if (!*end) {
            return false;
        }
    }
}

typedef struct OptionHelp {
    const char *option;
    const char *text;
} OptionHelp;

/* Those of the file that all formats have. */
#define HINT_HELP { "extent_size_hint=<size>", \
                    "Extent size hint for the image file, 0 to disable" }
#define NOCOW_HELP { "nocow=<bool (on/off)>", \
                     "Turn off copy-on-write (valid only on btrfs)" }
#define PREALLOC_HELP { "preallocation=<str>", "Preallocation mode " \
                        "(allowed values: off, falloc, full)" }

/* In alphabetical order, including those of the file. */
static const OptionHelp qcow2_help[] = {
    { "backing_file=<str>", "File name of a base image" },
    { "backing_fmt=<str>", "Image format of the base image" },
    { "cluster_size=<size>", "qcow2 cluster size" },
    { "compat=<str>", "Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "compression_type=<str>",
      "Compression method used for image cluster compression" },
    { "data_file=<str>", "File name of an external data file" },
    { "data_file_raw=<bool (on/off)>",
      "The external data file must stay valid as a raw image" },
    { "encrypt.cipher-alg=<str>", "Name of encryption cipher algorithm" },
    { "encrypt.cipher-mode=<str>", "Name of encryption cipher mode" },
    { "encrypt.format=<str>",
      "Encrypt the image, format choices: 'aes', 'luks'" },
    { "encrypt.hash-alg=<str>", "Name of encryption hash algorithm" },
    { "encrypt.iter-time=<num>", "Time to spend in PBKDF in milliseconds" },
    { "encrypt.ivgen-alg=<str>", "Name of IV generator algorithm" },
    { "encrypt.ivgen-hash-alg=<str>", "Name of IV generator hash algorithm" },
    { "encrypt.key-secret=<str>",
      "ID of secret providing qcow AES key or LUKS passphrase" },
    { "encryption=<bool (on/off)>", "Encrypt the image with format 'aes'. "
      "(Deprecated in favor of encrypt.format=aes)" },
    { "extended_l2=<bool (on/off)>", "Extended L2 tables" },
    HINT_HELP,
    { "lazy_refcounts=<bool (on/off)>", "Postpone refcount updates" },
    NOCOW_HELP,
    { "preallocation=<str>", "Preallocation mode (allowed values: off, "
      "metadata, falloc, full)" },
    { "refcount_bits=<num>", "Width of a reference count entry in bits" },
    { "size=<size>", "Virtual disk size" },
    { 0 },
};

static const OptionHelp luks_help[] = {
    { "cipher-alg=<str>", "Name of encryption cipher algorithm" },
    { "cipher-mode=<str>", "Name of encryption cipher mode" },
    HINT_HELP,
    { "hash-alg=<str>", "Name of encryption hash algorithm" },
    { "iter-time=<num>", "Time to spend in PBKDF in milliseconds" },
    { "ivgen-alg=<str>", "Name of IV generator algorithm" },
    { "ivgen-hash-alg=<str>", "Name of IV generator hash algorithm" },
    { "key-secret=<str>",
      "ID of the secret that provides the keyslot passphrase" },
    NOCOW_HELP, PREALLOC_HELP,
    { "size=<size>", "Virtual disk size" },
    { 0 },
};

static const OptionHelp raw_help[] = {
    HINT_HELP, NOCOW_HELP, PREALLOC_HELP,
    { "size=<size>", "Virtual disk size" },
    { 0 },
};

static const OptionHelp vdi_help[] = {
    HINT_HELP, NOCOW_HELP, PREALLOC_HELP,
    { "size=<size>", "Virtual disk size" },
    { "static=<bool (on/off)>", "VDI static (pre-allocated) image" },
    { 0 },
};

static const OptionHelp vhdx_help[] = {
    { "block_size=<size>", "Block size, a power of two from 1 MB to 256 MB; "
      "0 means that it depends on the image size" },
    { "block_state_zero=<bool (on/off)>",
      "Blocks that were never written are known to be zero; the default" },
    HINT_HELP,
    { "log_size=<size>", "Log size, a multiple of 1 MB" },
    NOCOW_HELP, PREALLOC_HELP,
    { "size=<size>", "Virtual disk size; max of 64TB" },
    { "subformat=<str>", "dynamic (default) or fixed" },
    { 0 },
};

static const OptionHelp vmdk_help[] = {
    { "adapter_type=<str>",
      "Virtual adapter type: ide (default), lsilogic, buslogic, legacyESX" },
    { "backing_file=<str>", "File name of a base image" },
    { "backing_fmt=<str>", "Format of the base image, which must be vmdk" },
    { "compat6=<bool (on/off)>", "VMDK version 6 image" },
    HINT_HELP,
    { "hwversion=<str>", "VMDK hardware version" },
    NOCOW_HELP, PREALLOC_HELP,
    { "size=<size>", "Virtual disk size" },
    { "subformat=<str>", "monolithicSparse (default), monolithicFlat, "
      "twoGbMaxExtentSparse, twoGbMaxExtentFlat or streamOptimized" },
    { "toolsversion=<str>", "VMware guest tools version" },
    { "zeroed_grain=<bool (on/off)>", "Zeroes need no space in the image" },
    { 0 },
};

static const OptionHelp vpc_help[] = {
    HINT_HELP,
    { "force_size=<bool (on/off)>", "The disk has exactly the size, rather "
      "than that of the next larger geometry" },
    NOCOW_HELP, PREALLOC_HELP,
    { "size=<size>", "Virtual disk size" },
    { "subformat=<str>", "dynamic (default) or fixed" },
    { 0 },
};

/* The formats that can be created. */
static const struct {
    const char *format;
    const OptionHelp *help;
} help_of_format[] = {
    { "file", raw_help }, { "luks", luks_help }, { "qcow2", qcow2_help },
    { "raw", raw_help },
    { "vdi", vdi_help }, { "vhdx", vhdx_help }, { "vmdk", vmdk_help },
    { "vpc", vpc_help },
};

/* Is it an option of the file, and not of @format? */
static bool is_of_file(const char *format, const char *option)
{
    return strcmp(format, "file") &&
           (g_str_has_prefix(option, "nocow") ||
            g_str_has_prefix(option, "extent_size_hint") ||
            (strcmp(format, "qcow2") &&
             g_str_has_prefix(option, "preallocation")));
}

/* NULL: such images cannot be created. */
static const OptionHelp *options_of(const char *format)
{
    for (size_t i = 0; i < ARRAY_SIZE(help_of_format); i++) {
        if (!strcmp(help_of_format[i].format, format)) {
            return help_of_format[i].help;
        }
    }
    return NULL;
}

bool img_knows_option(const char *format, const char *option)
{
    size_t len = strlen(option);

    for (const OptionHelp *o = options_of(format); o && o->option; o++) {
        if (!strncmp(o->option, option, len) && o->option[len] == '=') {
            return true;
        }
    }
    return false;
}

bool img_is_own_option(const char *format, const char *option)
{
    return img_knows_option(format, option) && !is_of_file(format, option);
}

bool img_list_options(const char *format, bool with_file)
{
    const OptionHelp *o = options_of(format);

    if (!bdrv_find_format(format)) {
        error_report("Unknown file format '%s'", format);
        return false;
    }
    if (!o) {
        error_report("Format driver '%s' does not support image creation",
                     format);
        return false;
    }
    if (with_file) {
        printf("Supported options:\n");
    } else {
        printf("Supported %s options:\n", format);
    }
    for (; o->option; o++) {
        if (with_file || !is_of_file(format, o->option)) {
            printf("  %-22s - %s\n", o->option, o->text);
        }
    }
    if (!with_file) {
        printf("\nThe protocol level may support further options.\nSpecify "
               "the target filename to include those options.\n");
    }
    return true;
}

void img_say(bool quiet, const char *fmt, ...)
{
    va_list ap;

    if (!quiet) {
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
    }
}
