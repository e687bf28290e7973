/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block-commit and block-stream: from names to nodes of a chain, and a job. */
#include "qemu/osdep.h"

#include "block/chain-jobs.h"
#include "block/mirror.h"
#include "blockdev-int.h"
#include "qapi/qapi-commands.h"
#include "qapi/qapi-types-block-job.h"

/* --- looking up nodes of a chain --- */

/* Do both name the same file of the host, whatever its path is? */
static bool is_same_file(const char *a, const char *b)
{
    char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
    bool same = real_a && real_b && !strcmp(real_a, real_b);

    free(real_a);
    free(real_b);
    return same;
}

/* Does a user's @name refer to the backing file of @overlay? */
static bool is_named(BlockDriverState *overlay, BlockDriverState *backing,
                     const char *name)
{
    const char *above = overlay->file ? overlay->file->bs->filename : NULL;
    g_autofree char *path = bdrv_make_absolute_filename(above, name);
    g_autofree char *image = bdrv_image_filename(backing);

    return !g_strcmp0(name, backing->filename) || !strcmp(name, image) ||
           !g_strcmp0(name, overlay->backing_file) ||
           (backing->file &&
            (!strcmp(path, backing->file->bs->filename) ||
             is_same_file(path, backing->file->bs->filename)));
}

static BlockDriverState *find_by_file(BlockDriverState *bs, const char *name,
                                      Error **errp)
{
    BlockDriverState *next;

    bdrv_refresh_filename(bs);
    for (bs = bdrv_skip_filters(bs); (next = bdrv_backing_chain_next(bs));
         bs = next) {
        if (is_named(bs, next, name)) {
            return next;
        }
    }
    error_setg(errp, "Can't find '%s' in the backing chain", name);
    return NULL;
}

/* Are all nodes from @bs down to @last (NULL: the end) free? */
static bool chain_is_free(BlockDriverState *bs, BlockDriverState *last,
                          Error **errp)
{
    while (bs) {
        BdrvChild *c = bdrv_filter_or_cow_child(bs);

        if (!bdrv_op_check(bs, errp)) {
            return false;
        }
        bs = c && bs != last ? c->bs : NULL;
    }
    return true;
}

/* --- block-stream --- */

static bool stream_check_args(const BlockStreamArg *arg, Error **errp)
{
    const char *a = NULL, *b = NULL;

    if (arg->base && arg->base_node) {
        a = "base";
        b = "base-node";
    } else if (arg->base && arg->bottom) {
        a = "base";
        b = "bottom";
    } else if (arg->base_node && arg->bottom) {
        a = "bottom";
        b = "base-node";
    }
    if (a) {
        error_setg(errp, "'%s' and '%s' cannot be specified at the same time",
                   a, b);
    }
    return !a;
}

static bool find_bottom(const BlockStreamArg *arg, BlockDriverState *bs,
                        BlockDriverState **bottom, Error **errp)
{
    *bottom = bdrv_lookup_bs(NULL, arg->bottom, errp);
    if (!*bottom) {
        return false;
    }
    if (bdrv_filter_child(*bottom)) {
        error_setg(errp, "Node '%s' is a filter, use a non-filter node as "
                   "'bottom'", arg->bottom);
        return false;
    }
    if (!bdrv_chain_contains(bs, *bottom)) {
        error_setg(errp, "Node '%s' is not in a chain starting from '%s'",
                   arg->bottom, arg->device);
        return false;
    }
    return true;
}

/* @base NULL: the whole chain is copied. */
static bool stream_find_base(const BlockStreamArg *arg, BlockDriverState *bs,
                             BlockDriverState **base, Error **errp)
{
    *base = NULL;
    if (arg->base) {
        *base = find_by_file(bs, arg->base, errp);
        return *base != NULL;
    }
    if (!arg->base_node) {
        return true;
    }
    *base = bdrv_lookup_bs(NULL, arg->base_node, errp);
    if (*base && (*base == bs || !bdrv_chain_contains(bs, *base))) {
        error_setg(errp, "Node '%s' is not a backing image of '%s'",
                   arg->base_node, arg->device);
        return false;
    }
    return *base != NULL;
}

/* The lowest image above @base. */
static BlockDriverState *above(BlockDriverState *bs, BlockDriverState *base)
{
    BlockDriverState *next;

    base = base ? bdrv_skip_filters(base) : NULL;
    for (bs = bdrv_skip_filters(bs);
         (next = bdrv_backing_chain_next(bs)) && next != base; bs = next) {
        /* further down */
    }
    return bs;
}

bool qmp_block_stream(BlockStreamArg *arg, Error **errp)
{
    BlockDriverState *bs, *base = NULL, *bottom = NULL;
    ChainJobParams params = {
        .job_id = arg->job_id,
        .filter_name = arg->filter_node_name,
        .backing_file = arg->backing_file,
        .speed = arg->speed,
        .on_error = arg->on_error,
        .flags = job_flags(arg->auto_finalize, arg->auto_dismiss),
    };

    if (!stream_check_args(arg, errp)) {
        return false;
    }
    bs = bdrv_lookup_bs(arg->device, arg->device, errp);
    if (!bs || !(arg->bottom ? find_bottom(arg, bs, &bottom, errp)
                             : stream_find_base(arg, bs, &base, errp)) ||
        !chain_is_free(bs, base ? base : bottom, errp)) {
        return false;
    }
    if (!bottom) {
        bottom = above(bs, base);
    }
    if (arg->backing_file && !bdrv_cow_child(bottom)) {
        error_setg(errp, "backing file specified, but streaming the entire "
                   "chain");
        return false;
    }
    bs = bdrv_skip_filters(bs);
    return stream_job_start(bs, bottom == bs ? NULL : bottom, &params, errp);
}

/* --- block-commit --- */

static BlockDriverState *commit_find_root(const char *device, Error **errp)
{
    BlockDriverState *bs = bdrv_lookup_bs(device, device, NULL);

    if (!bs) {
        error_set(errp, ERROR_CLASS_DEVICE_NOT_FOUND, "Device '%s' not found",
                  device);
        return NULL;
    }
    return blockdev_check_root(bs, errp) ? bs : NULL;
}

static BlockDriverState *commit_find_top(const BlockCommitArg *arg,
                                         BlockDriverState *bs, Error **errp)
{
    BlockDriverState *top = bs;

    if (arg->top_node && arg->top) {
        error_setg(errp, "'top-node' and 'top' are mutually exclusive");
        return NULL;
    }
    if (arg->top_node) {
        top = bdrv_lookup_bs(NULL, arg->top_node, errp);
    } else if (arg->top && strcmp(bs->filename, arg->top)) {
        top = find_by_file(bs, arg->top, NULL);
        if (!top) {
            error_setg(errp, "Top image file %s not found", arg->top);
        }
    }
    if (top && !bdrv_chain_contains(bs, top)) {
        error_setg(errp, "'%s' is not in this backing file chain",
                   arg->top_node);
        return NULL;
    }
    return top;
}

static BlockDriverState *commit_find_base(const BlockCommitArg *arg,
                                          BlockDriverState *top, Error **errp)
{
    BlockDriverState *base;

    if (arg->base_node && arg->base) {
        error_setg(errp, "'base-node' and 'base' are mutually exclusive");
        return NULL;
    }
    if (arg->base_node) {
        base = bdrv_lookup_bs(NULL, arg->base_node, errp);
        if (base && !bdrv_chain_contains(top, base)) {
            error_setg(errp, "'%s' is not in this backing file chain",
                       arg->base_node);
            return NULL;
        }
    } else if (arg->base) {
        base = find_by_file(top, arg->base, errp);
    } else {
        base = above(top, NULL);
    }
    if (base && bdrv_skip_filters(top) == bdrv_skip_filters(base)) {
        error_setg(errp, "cannot commit an image into itself");
        return NULL;
    }
    return base;
}

bool qmp_block_commit(BlockCommitArg *arg, Error **errp)
{
    BlockDriverState *bs, *top, *base;
    ChainJobParams params = {
        .job_id = arg->job_id,
        .filter_name = arg->filter_node_name,
        .backing_file = arg->backing_file,
        .speed = arg->speed,
        .on_error = arg->on_error,
        .flags = job_flags(arg->auto_finalize, arg->auto_dismiss),
    };

    bs = commit_find_root(arg->device, errp);
    if (!bs || !bdrv_op_check(bs, errp)) {
        return false;
    }
    top = commit_find_top(arg, bs, errp);
    base = top ? commit_find_base(arg, top, errp) : NULL;
    if (!base || !chain_is_free(top, base, errp)) {
        return false;
    }
    if (bdrv_skip_filters(top) == bdrv_skip_filters(bs)) {
        if (arg->backing_file) {
            error_setg(errp, "'backing-file' specified, but 'top' is the "
                       "active layer");
            return false;
        }
        return active_commit_job_start(bs, base, &params, errp);
    }
    return commit_job_start(bs, top, base, &params, errp);
}
