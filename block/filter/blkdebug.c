/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkdebug: makes requests fail, wait, or be split, on purpose.  The rules are
 * in blkdebug-rules.c; here are options, limits and the requests.
 */
#include "qemu/osdep.h"

#include <json-c/json.h>

#include "blkdebug-int.h"
#include "block/graph.h"
#include "block/io.h"

typedef struct BlkdebugState {
    BlkdebugRules *rules;
    /* limits to report; 0: not given */
    uint32_t align;
    int64_t max_transfer;
    int64_t opt_write_zero, max_write_zero;
    int64_t opt_discard, max_discard;
    uint64_t take_perms, unshare_perms;
} BlkdebugState;

/* --- file names --- */

/* Options from the innermost file name, which may name a protocol, too. */
static BlockdevOptions *image_options(const char *filename, Error **errp)
{
    g_autoptr(BlockdevOptions) o = g_new0(BlockdevOptions, 1);
    const BlockDriver *drv;

    if (!*filename) {
        error_setg(errp, "blkdebug requires a file name for its image");
        return NULL;
    }
    drv = bdrv_find_protocol(filename, errp);
    if (!drv) {
        return NULL;
    }
    o->driver = BlockdevDriver_parse(drv->format_name, errp);
    if (path_has_protocol(filename) && drv->parse_filename) {
        return drv->parse_filename(filename, o, errp) ? g_steal_pointer(&o)
                                                      : NULL;
    }
    if (path_has_protocol(filename)) {
        filename = strchr(filename, ':') + 1;
    }
    /* file and host_device have the same members */
    o->u.file.filename = g_strdup(filename);
    return g_steal_pointer(&o);
}

/* "blkdebug:CONFIG:IMAGE"; CONFIG may be empty. */
static bool blkdebug_parse_filename(const char *filename,
                                    BlockdevOptions *options, Error **errp)
{
    BlockdevOptionsBlkdebug *o = &options->u.blkdebug;
    const char *config, *colon;

    if (!g_str_has_prefix(filename, "blkdebug:")) {
        error_setg(errp, "File name string must start with 'blkdebug:'");
        return false;
    }
    config = filename + strlen("blkdebug:");
    colon = strchr(config, ':');
    if (!colon) {
        error_setg(errp, "blkdebug requires both config file and image path");
        return false;
    }
    if (colon != config) {
        o->config = g_strndup(config, colon - config);
    }
    o->image = g_new0(BlockdevRef, 1);
    o->image->type = BLOCKDEV_REF_KIND_DEFINITION;
    o->image->u.definition = image_options(colon + 1, errp);
    return o->image->u.definition != NULL;
}

/* --- open --- */

static bool check_number(const char *name, bool has, int64_t value,
                         int64_t align, bool power, Error **errp)
{
    if (!has || value == 0) {
        return true;
    }
    if (value < 0 || value > INT_MAX || value % align ||
        (power && !is_power_of_2(value))) {
        error_setg(errp, "Cannot meet constraints with %s %" PRId64, name,
                   value);
        return false;
    }
    return true;
}

static bool read_limits(BlkdebugState *s, const BlockdevOptionsBlkdebug *o,
                        Error **errp)
{
    int64_t align;

    if (!check_number("align", o->has_align, o->align, 1, true, errp)) {
        return false;
    }
    s->align = o->has_align ? o->align : 0;
    align = MAX(s->align, 1);
    if (!check_number("max-transfer", o->has_max_transfer, o->max_transfer,
                      align, false, errp) ||
        !check_number("opt-write-zero", o->has_opt_write_zero,
                      o->opt_write_zero, align, false, errp) ||
        !check_number("max-write-zero", o->has_max_write_zero,
                      o->max_write_zero,
                      MAX(align, o->has_opt_write_zero ? o->opt_write_zero
                                                       : 0), false, errp) ||
        !check_number("opt-discard", o->has_opt_discard, o->opt_discard,
                      align, false, errp) ||
        !check_number("max-discard", o->has_max_discard, o->max_discard,
                      MAX(align, o->has_opt_discard ? o->opt_discard : 0),
                      false, errp)) {
        return false;
    }
    s->max_transfer = o->has_max_transfer ? o->max_transfer : 0;
    s->opt_write_zero = o->has_opt_write_zero ? o->opt_write_zero : 0;
    s->max_write_zero = o->has_max_write_zero ? o->max_write_zero : 0;
    s->opt_discard = o->has_opt_discard ? o->opt_discard : 0;
    s->max_discard = o->has_max_discard ? o->max_discard : 0;
    return true;
}

static uint64_t perm_set(const BlockPermissionList *list)
{
    static const uint64_t perms[BLOCK_PERMISSION__MAX] = {
        [BLOCK_PERMISSION_CONSISTENT_READ] = BLK_PERM_CONSISTENT_READ,
        [BLOCK_PERMISSION_WRITE] = BLK_PERM_WRITE,
        [BLOCK_PERMISSION_WRITE_UNCHANGED] = BLK_PERM_WRITE_UNCHANGED,
        [BLOCK_PERMISSION_RESIZE] = BLK_PERM_RESIZE,
    };
    uint64_t set = 0;

    for (; list; list = list->next) {
        set |= perms[list->value];
    }
    return set;
}

static int blkdebug_open(BlockDriverState *bs, const BlockdevOptions *options,
                         int flags, Error **errp)
{
    const BlockdevOptionsBlkdebug *o = &options->u.blkdebug;
    BlkdebugState *s = bs->opaque;

    s->take_perms = perm_set(o->take_child_perms);
    s->unshare_perms = perm_set(o->unshare_child_perms);
    s->rules = blkdebug_rules_new();
    if ((o->config && !blkdebug_rules_read(s->rules, o->config, errp)) ||
        !blkdebug_rules_add(s->rules, o, errp) ||
        !read_limits(s, o, errp) ||
        !bdrv_open_child(bs, o->image, "image",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        blkdebug_rules_free(s->rules);
        return -EINVAL;
    }
    /* Rules without an event are armed from the beginning. */
    blkdebug_rules_event(s->rules, BLKDEBUG_EVENT_NONE);
    return 0;
}

static void blkdebug_close(BlockDriverState *bs)
{
    BlkdebugState *s = bs->opaque;

    blkdebug_rules_free(s->rules);
}

/* The rules stay; no other option can change. */
static int blkdebug_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    return 0;
}

static void blkdebug_child_perm(BlockDriverState *bs, BdrvChild *child,
                                BdrvChildRole role, uint64_t perm,
                                uint64_t shared, uint64_t *nperm,
                                uint64_t *nshared)
{
    const BlkdebugState *s = bs->opaque;

    bdrv_default_perms(bs, child, role, perm, shared, nperm, nshared);
    *nperm |= s->take_perms;
    *nshared &= ~s->unshare_perms;
}

static void blkdebug_refresh_limits(BlockDriverState *bs, Error **errp)
{
    const BlkdebugState *s = bs->opaque;

    if (s->align) {
        bs->bl.request_alignment = s->align;
    }
    if (s->max_transfer) {
        bs->bl.max_transfer = s->max_transfer;
    }
    bs->bl.pwrite_zeroes_alignment = s->opt_write_zero;
    bs->bl.max_pwrite_zeroes = s->max_write_zero;
    bs->bl.pdiscard_alignment = s->opt_discard;
    bs->bl.max_pdiscard = s->max_discard;
}

/* --- I/O --- */

static int coroutine_fn check(BlockDriverState *bs, BlkdebugIOType type,
                              int64_t offset, int64_t bytes)
{
    const BlkdebugState *s = bs->opaque;

    return blkdebug_rules_check(s->rules, type, offset, bytes);
}

/* The core must keep to the limits reported, whatever the child can do. */
static void check_shape(const BlockDriverState *bs, int64_t offset,
                        int64_t bytes, int64_t max)
{
    g_assert(IS_ALIGNED(offset, (int64_t)bs->bl.request_alignment));
    g_assert(IS_ALIGNED(bytes, (int64_t)bs->bl.request_alignment));
    g_assert(!max || bytes <= max);
}

/* Without the padding that our alignment adds past the end of the child. */
static int64_t unpad(const BlockDriverState *bs, int64_t offset,
                     int64_t bytes)
{
    int64_t total = bs->total_bytes;

    if (offset < total && offset + bytes > total &&
        offset + bytes <= ROUND_UP(total,
                                   (int64_t)bs->bl.request_alignment)) {
        return total - offset;
    }
    return bytes;
}

static int coroutine_fn blkdebug_co_preadv(BlockDriverState *bs,
                                           int64_t offset, int64_t bytes,
                                           QEMUIOVector *qiov,
                                           size_t qiov_offset,
                                           BdrvRequestFlags flags)
{
    int ret;

    check_shape(bs, offset, bytes, bs->bl.max_transfer);
    ret = check(bs, BLKDEBUG_IO_TYPE_READ, offset, bytes);
    return ret < 0 ? ret : bdrv_co_preadv(bs->file, offset, bytes, qiov,
                                          qiov_offset, flags);
}

static int coroutine_fn blkdebug_co_pwritev(BlockDriverState *bs,
                                            int64_t offset, int64_t bytes,
                                            QEMUIOVector *qiov,
                                            size_t qiov_offset,
                                            BdrvRequestFlags flags)
{
    int ret;

    check_shape(bs, offset, bytes, bs->bl.max_transfer);
    ret = check(bs, BLKDEBUG_IO_TYPE_WRITE, offset, bytes);
    return ret < 0 ? ret : bdrv_co_pwritev(bs->file, offset,
                                           unpad(bs, offset, bytes), qiov,
                                           qiov_offset, flags);
}

static int coroutine_fn blkdebug_co_pwrite_zeroes(BlockDriverState *bs,
                                                  int64_t offset,
                                                  int64_t bytes,
                                                  BdrvRequestFlags flags)
{
    int64_t align = MAX(bs->bl.request_alignment,
                        bs->bl.pwrite_zeroes_alignment);
    int ret;

    check_shape(bs, offset, bytes, bs->bl.max_pwrite_zeroes);
    /* Partial granules serve to test the fallback to writing. */
    if (bytes < align) {
        return -ENOTSUP;
    }
    ret = check(bs, BLKDEBUG_IO_TYPE_WRITE_ZEROES, offset, bytes);
    return ret < 0 ? ret : bdrv_co_pwrite_zeroes(bs->file, offset,
                                                 unpad(bs, offset, bytes),
                                                 flags);
}

static int coroutine_fn blkdebug_co_pdiscard(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes)
{
    int64_t align = MAX(bs->bl.request_alignment, bs->bl.pdiscard_alignment);
    int ret;

    check_shape(bs, offset, bytes, bs->bl.max_pdiscard);
    if (bytes < align) {
        return -ENOTSUP;
    }
    ret = check(bs, BLKDEBUG_IO_TYPE_DISCARD, offset, bytes);
    return ret < 0 ? ret : bdrv_co_pdiscard(bs->file, offset, bytes);
}

static int coroutine_fn blkdebug_co_flush(BlockDriverState *bs)
{
    return check(bs, BLKDEBUG_IO_TYPE_FLUSH, 0, 0);
}

static int coroutine_fn blkdebug_co_block_status(BlockDriverState *bs,
                                                 bool want_zero,
                                                 int64_t offset,
                                                 int64_t bytes, int64_t *pnum,
                                                 int64_t *map,
                                                 BlockDriverState **file)
{
    int ret = check(bs, BLKDEBUG_IO_TYPE_BLOCK_STATUS, offset, bytes);

    if (ret < 0) {
        return ret;
    }
    *pnum = bytes;
    *map = offset;
    *file = bs->file->bs;
    return BDRV_BLOCK_RAW | BDRV_BLOCK_OFFSET_VALID;
}

/* --- events and breakpoints --- */

static void blkdebug_event(BlockDriverState *bs, BlkdebugEvent event)
{
    const BlkdebugState *s = bs->opaque;

    blkdebug_rules_event(s->rules, event);
}

static int blkdebug_breakpoint(BlockDriverState *bs, const char *event,
                               const char *tag)
{
    const BlkdebugState *s = bs->opaque;

    return blkdebug_break_add(s->rules, event, tag);
}

static int blkdebug_remove_breakpoint(BlockDriverState *bs, const char *tag)
{
    const BlkdebugState *s = bs->opaque;

    return blkdebug_break_remove(s->rules, tag);
}

static int blkdebug_resume(BlockDriverState *bs, const char *tag)
{
    const BlkdebugState *s = bs->opaque;

    return blkdebug_break_resume(s->rules, tag);
}

static bool blkdebug_is_suspended(BlockDriverState *bs, const char *tag)
{
    const BlkdebugState *s = bs->opaque;

    return blkdebug_break_suspended(s->rules, tag);
}

/* The size of the underlying file is deliberately not reported. */
static int64_t blkdebug_get_allocated_file_size(BlockDriverState *bs)
{
    return -ENOTSUP;
}

static char *blkdebug_short_filename(const BlockDriverState *bs,
                                     struct json_object *strong)
{
    const char *config = bs->options->u.blkdebug.config;

    return json_object_object_length(strong) == (config ? 1 : 0)
        ? g_strdup_printf("blkdebug:%s:%s", config ?: "",
                          bdrv_primary_child(bs)->bs->filename) : NULL;
}

/* All but the permissions, which change nothing that is read. */
static const char *const blkdebug_strong_options[] = {
    "config", "align", "max-transfer", "opt-write-zero", "max-write-zero",
    "opt-discard", "max-discard", "inject-error", "set-state", NULL
};

extern const BlockDriver bdrv_blkdebug;

const BlockDriver bdrv_blkdebug = {
    .format_name = "blkdebug",
    .protocol_name = "blkdebug",
    .instance_size = sizeof(BlkdebugState),
    .is_filter = true,
    .strong_options = blkdebug_strong_options,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .parse_filename = blkdebug_parse_filename,
    .short_filename = blkdebug_short_filename,
    .open = blkdebug_open,
    .close = blkdebug_close,
    .reopen_prepare = blkdebug_reopen_prepare,
    .get_allocated_file_size = blkdebug_get_allocated_file_size,
    .child_perm = blkdebug_child_perm,
    .child_change = bdrv_child_change_filter,
    .refresh_limits = blkdebug_refresh_limits,
    .co_preadv = blkdebug_co_preadv,
    .co_pwritev = blkdebug_co_pwritev,
    .co_pwrite_zeroes = blkdebug_co_pwrite_zeroes,
    .co_pdiscard = blkdebug_co_pdiscard,
    .co_flush = blkdebug_co_flush,
    .co_block_status = blkdebug_co_block_status,
    .debug_event = blkdebug_event,
    .debug_breakpoint = blkdebug_breakpoint,
    .debug_remove_breakpoint = blkdebug_remove_breakpoint,
    .debug_resume = blkdebug_resume,
    .debug_is_suspended = blkdebug_is_suspended,
};
