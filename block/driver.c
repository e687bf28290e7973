/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Looking drivers up in the table, and probing which one an image needs. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/graph-int.h"

/* How much of an image is read for probing. */
#define BDRV_PROBE_BYTES 2048

const BlockDriver *bdrv_find_format(const char *format_name)
{
    for (size_t i = 0; bdrv_drivers[i]; i++) {
        if (!strcmp(bdrv_drivers[i]->format_name, format_name)) {
            return bdrv_drivers[i];
        }
    }
    return NULL;
}

const BlockDriver *bdrv_find_driver(BlockdevDriver driver)
{
    return bdrv_find_format(BlockdevDriver_str(driver));
}

/* Is @prefix @name, or @name with a transport: "nbd+unix"? */
static bool prefix_matches(const char *prefix, const char *name)
{
    const char *rest = prefix + strlen(name);

    return g_str_has_prefix(prefix, name) &&
           (!*rest || !strcmp(rest, "+tcp") || !strcmp(rest, "+unix"));
}

static const BlockDriver *bdrv_find_prefix(const char *filename, Error **errp)
{
    g_autofree char *prefix = g_strndup(filename, strcspn(filename, ":"));

    for (size_t i = 0; bdrv_drivers[i]; i++) {
        const char *name = bdrv_drivers[i]->protocol_name;

        if (name && prefix_matches(prefix, name)) {
            return bdrv_drivers[i];
        }
    }
    error_setg(errp, "Unknown protocol '%s'", prefix);
    return NULL;
}

const BlockDriver *bdrv_find_path_driver(const char *filename, Error **errp)
{
    const BlockDriver *best = NULL;
    int best_score = 0;

    for (size_t i = 0; bdrv_drivers[i]; i++) {
        const BlockDriver *drv = bdrv_drivers[i];
        int score = drv->probe_device ? drv->probe_device(filename) : 0;

        if (score > best_score) {
            best = drv;
            best_score = score;
        }
    }
    if (!best) {
        best = bdrv_find_format("file");
    }
    if (!best) {
        error_setg(errp, "Unknown protocol 'file'");
    }
    return best;
}

const BlockDriver *bdrv_find_protocol(const char *filename, Error **errp)
{
    return path_has_protocol(filename)
        ? bdrv_find_prefix(filename, errp)
        : bdrv_find_path_driver(filename, errp);
}

const char *bdrv_probe_buffer(const uint8_t *buf, size_t bytes,
                              const char *filename)
{
    const char *known = NULL;
    int best_score = 1; /* raw has this: any other format takes precedence */

    assert(bytes >= BDRV_SECTOR_SIZE);
    for (size_t i = 0; bdrv_drivers[i]; i++) {
        const BlockDriver *drv = bdrv_drivers[i];
        int score = drv->probe ? drv->probe(buf, bytes, filename) : 0;

        if (score > best_score) {
            known = drv->format_name;
            best_score = score;
        }
    }
    if (!known) {
        known = bdrv_probe_known(buf, filename);
    }
    return known ? known : "raw";
}

/*
 * The start of an image, which is padded with zeroes to BDRV_PROBE_BYTES.
 * Returns how many bytes there are, or -errno.
 */
static int64_t read_start(BlockDriverState *file, uint8_t *buf, Error **errp)
{
    g_autoptr(BlockBackend) blk = NULL;
    int64_t bytes;
    int ret;

    /* Also in a transaction, while all other users wait. */
    blk = blk_new_unqueued(file, BLK_PERM_CONSISTENT_READ, BLK_PERM_ALL, NULL,
                           errp);
    if (!blk) {
        return -EPERM;
    }
    memset(buf, 0, BDRV_PROBE_BYTES);
    bytes = MIN(bdrv_getlength(file), BDRV_PROBE_BYTES);
    ret = bytes > 0 ? blk_pread(blk, 0, bytes, buf, 0) : bytes;
    if (ret < 0) {
        error_setg_errno(errp, -ret,
                         "Could not read image for determining its format");
        return ret;
    }
    return bytes;
}

bool bdrv_probe_encryption(const BlockDriver *drv, BlockDriverState *file,
                           const char **format, Error **errp)
{
    uint8_t buf[BDRV_PROBE_BYTES];

    if (read_start(file, buf, errp) < 0) {
        return false;
    }
    *format = drv->encryption_format(buf);
    return true;
}

const BlockDriver *bdrv_probe(BlockDriverState *file, const char *filename,
                              Error **errp)
{
    uint8_t buf[BDRV_PROBE_BYTES];
    const BlockDriver *drv;
    const char *format;
    int64_t bytes = read_start(file, buf, errp);

    if (bytes < 0) {
        return NULL;
    }
    format = bytes ? bdrv_probe_buffer(buf, sizeof(buf), filename) : "raw";
    drv = bdrv_find_format(format);
    if (!drv) {
        error_setg(errp, "Image '%s' has the format '%s', which is not "
                   "supported; specify the format 'raw' to access its bytes "
                   "as they are",
                   *filename ? filename : file->node_name, format);
    }
    return drv;
}
