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
    g_auto(GStrv) parts = g_strsplit(options ? options : "", ",", -1);

    return g_strv_contains((const char *const *)parts, "help") ||
           g_strv_contains((const char *const *)parts, "?");
}

typedef struct OptionHelp {
    const char *option;
    const char *text;
} OptionHelp;

/* In alphabetical order, including those of the file. */
static const OptionHelp qcow2_help[] = {
    { "backing_file=<str>", "File name of a base image" },
    { "backing_fmt=<str>", "Image format of the base image" },
    { "cluster_size=<size>", "qcow2 cluster size" },
    { "compat=<str>", "Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "compression_type=<str>",
      "Compression method used for image cluster compression" },
    { "extent_size_hint=<size>",
      "Extent size hint for the image file, 0 to disable" },
    { "lazy_refcounts=<bool (on/off)>", "Postpone refcount updates" },
    { "nocow=<bool (on/off)>",
      "Turn off copy-on-write (valid only on btrfs)" },
    { "preallocation=<str>", "Preallocation mode (allowed values: off, "
      "metadata, falloc, full)" },
    { "refcount_bits=<num>", "Width of a reference count entry in bits" },
    { "size=<size>", "Virtual disk size" },
    { 0 },
};

static const OptionHelp raw_help[] = {
    { "extent_size_hint=<size>",
      "Extent size hint for the image file, 0 to disable" },
    { "nocow=<bool (on/off)>",
      "Turn off copy-on-write (valid only on btrfs)" },
    { "preallocation=<str>",
      "Preallocation mode (allowed values: off, falloc, full)" },
    { "size=<size>", "Virtual disk size" },
    { 0 },
};

static bool is_of_file(const char *option)
{
    return g_str_has_prefix(option, "nocow") ||
           g_str_has_prefix(option, "extent_size_hint");
}

static const OptionHelp *options_of(const char *format)
{
    return !strcmp(format, "qcow2") ? qcow2_help : raw_help;
}

bool img_knows_option(const char *format, const char *option)
{
    size_t len = strlen(option);

    for (const OptionHelp *o = options_of(format); o->option; o++) {
        if (!strncmp(o->option, option, len) && o->option[len] == '=') {
            return true;
        }
    }
    return false;
}

bool img_list_options(const char *format, bool with_file)
{
    bool is_qcow2 = !strcmp(format, "qcow2");
    const OptionHelp *o = options_of(format);

    if (!bdrv_find_format(format)) {
        error_report("Unknown file format '%s'", format);
        return false;
    }
    if (!is_qcow2 && strcmp(format, "raw") && strcmp(format, "file")) {
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
        if (with_file || !(is_of_file(o->option) ||
                           (!is_qcow2 && !strncmp(o->option, "prea", 4)))) {
            printf("  %-22s - %s\n", o->option, o->text);
        }
    }
    if (!with_file) {
        printf("\nThe protocol level may support further options.\nSpecify "
               "the target filename to include those options.\n");
    }
    return true;
}

bool img_same_file(const char *a, const char *b)
{
    struct stat st[2];

    return !stat(a, &st[0]) && !stat(b, &st[1]) &&
           st[0].st_dev == st[1].st_dev && st[0].st_ino == st[1].st_ino;
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
