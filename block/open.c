/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From options to a tree of nodes, step by step. */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/graph-int.h"
#include "block/node-int.h"

/* --- one node --- */

bool bdrv_mode_from_options(BdrvMode *mode, const BlockdevOptions *options,
                            Error **errp)
{
    bool unmap = options->has_discard &&
                 options->discard == BLOCKDEV_DISCARD_OPTIONS_UNMAP;
    bool read_only = options->has_read_only && options->read_only;
    bool force_share = options->has_force_share && options->force_share;
    BlockdevDetectZeroesOptions detect_zeroes =
        options->has_detect_zeroes ? options->detect_zeroes
                                   : BLOCKDEV_DETECT_ZEROES_OPTIONS_OFF;

    if (detect_zeroes == BLOCKDEV_DETECT_ZEROES_OPTIONS_UNMAP && !unmap) {
        error_setg(errp, "setting detect-zeroes to unmap is not allowed "
                   "without setting discard operation to unmap");
        return false;
    }
    if (force_share && !read_only) {
        error_setg(errp, "force-share=on can only be used with read-only "
                   "images");
        return false;
    }
    *mode = (BdrvMode) {
        .read_only = read_only,
        .auto_read_only = options->has_auto_read_only &&
                          options->auto_read_only,
        .cache_direct = options->cache && options->cache->has_direct &&
                        options->cache->direct,
        .cache_no_flush = options->cache && options->cache->has_no_flush &&
                          options->cache->no_flush,
        .discard_unmap = unmap,
        .force_share = force_share,
        .detect_zeroes = detect_zeroes,
    };
    return true;
}

BdrvMode bdrv_get_mode(const BlockDriverState *bs)
{
    return (BdrvMode) {
        .read_only = bdrv_is_read_only(bs),
        .auto_read_only = bs->auto_read_only,
        .cache_direct = bs->cache_direct,
        .cache_no_flush = bs->cache_no_flush,
        .discard_unmap = bs->discard_unmap,
        .force_share = bs->force_share,
        .detect_zeroes = bs->detect_zeroes,
    };
}

/* Filters above @bs that follow it change, too. */
static void set_discard(BlockDriverState *bs, bool unmap)
{
    BdrvChild *c;

    bs->discard_unmap = unmap;
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->parent_is_bs && (c->role & BDRV_CHILD_FILTERED) &&
            bdrv_node(c->opaque)->follows_discard) {
            set_discard(c->opaque, unmap);
        }
    }
}

void bdrv_set_mode(BlockDriverState *bs, const BdrvMode *mode)
{
    bs->read_only = mode->read_only;
    bs->auto_read_only = mode->auto_read_only;
    bs->cache_direct = mode->cache_direct;
    bs->cache_no_flush = mode->cache_no_flush;
    if (!bdrv_node(bs)->follows_discard) {
        set_discard(bs, mode->discard_unmap);
    }
    bs->force_share = mode->force_share;
    bs->detect_zeroes = mode->detect_zeroes;
}

void bdrv_follow_discard(BlockDriverState *filter)
{
    bdrv_node(filter)->follows_discard = true;
    set_discard(filter, bdrv_filter_child(filter)->bs->discard_unmap);
}

/* Creates the node, as far as that does not need its driver. */
static BlockDriverState *node_prepare(const BlockdevOptions *options,
                                      int flags, Error **errp)
{
    const BlockDriver *drv = bdrv_find_driver(options->driver);
    g_autoptr(BlockDriverState) bs = NULL;
    BdrvMode mode;

    if (!drv) {
        error_setg(errp, "Unknown driver '%s'",
                   BlockdevDriver_str(options->driver));
        return NULL;
    }
    if (options->node_name && !bdrv_node_name_check(options->node_name, errp)) {
        return NULL;
    }
    bs = bdrv_node_new();
    if (options->node_name) {
        g_strlcpy(bs->node_name, options->node_name, sizeof(bs->node_name));
    } else {
        bdrv_node_name_make(bs);
    }
    bs->options = qapi_clone_BlockdevOptions(options);
    if (!bdrv_mode_from_options(&mode, options, errp)) {
        return NULL;
    }
    bdrv_set_mode(bs, &mode);
    if (options->has_active
        ? !options->active
        : bdrv_open_inactive() && !(flags & BDRV_O_ACTIVE)) {
        bdrv_node(bs)->inactive = true;
        bdrv_node(bs)->active_read_only = bs->read_only;
        bs->read_only = true;
    }
    return g_steal_pointer(&bs);
}

static bool node_open_driver(BlockDriverState *bs, Error **errp)
{
    const BlockDriver *drv = bdrv_find_driver(bs->options->driver);
    int ret;

    bs->drv = drv;
    bs->opaque = drv->instance_size ? g_malloc0(drv->instance_size) : NULL;
    bdrv_node_opening_begin(bs);
    ret = drv->open ? drv->open(bs, bs->options, bs->open_flags, errp) : 0;
    bdrv_node_opening_end(bs);
    if (ret < 0) {
        /* The driver has cleaned up: do not call close. */
        bs->drv = NULL;
        return false;
    }
    bdrv_node(bs)->opened = true;
    bdrv_flush_inherits(bs);
    if (bdrv_node(bs)->quiesce_counter && drv->drain_begin) {
        drv->drain_begin(bs);
    }
    return true;
}

static bool node_refresh(BlockDriverState *bs, Error **errp)
{
    Error *err = NULL;
    int ret = bdrv_refresh_total_size(bs);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not refresh total sector count");
        return false;
    }
    bdrv_refresh_limits(bs, NULL, &err);
    if (err) {
        error_propagate(errp, err);
        return false;
    }
    return bdrv_refresh_perms(bs, NULL, errp);
}

/* --- its backing file --- */

/* Completes @options of a child of @bs. */
static void inherit(const BlockDriverState *bs, BdrvChildRole role,
                    BlockdevOptions *options)
{
    BdrvMode mode = bdrv_get_mode(bs);

    bdrv_options_inherit(&mode, role, options);
    if (!options->has_active) {
        options->has_active = true;
        options->active = !bdrv_is_inactive(bs);
    }
}

static BlockDriverState *open_node(const BlockdevOptions *options,
                                   BlockdevOptions *explicit_options, int flags,
                                   bool probed, BlockDriverState *opener,
                                   Error **errp);

static bool is_same_image(const BlockDriverState *a, const BlockDriverState *b)
{
    const BdrvChild *file_a = bdrv_primary_child(a);
    const BdrvChild *file_b = bdrv_primary_child(b);
    BdrvIdentity id_a, id_b;

    if (a->drv != b->drv || !file_a || !file_b) {
        return false;
    }
    bdrv_get_identity(file_a->bs, false, &id_a);
    bdrv_get_identity(file_b->bs, false, &id_b);
    return id_a.kind != BDRV_IDENTITY_NONE && id_a.kind == id_b.kind &&
           id_a.device == id_b.device && id_a.inode == id_b.inode;
}

/* Else headers that lead to each other would be followed until there is no
 * descriptor left. */
static bool check_no_circle(const BlockDriverState *bs, Error **errp)
{
    const BlockDriverState *above = bs;

    while ((above = bdrv_node(above)->opener)) {
        if (is_same_image(above, bs)) {
            error_setg(errp, "Image '%s' is in its own backing chain",
                       bdrv_base_filename(bs) ?: bs->node_name);
            return false;
        }
    }
    return true;
}

static BlockDriverState *open_backing_by_name(BlockDriverState *bs, int flags,
                                              Error **errp)
{
    g_autofree char *path = NULL;
    g_autoptr(BlockdevOptions) options = NULL;
    const char *format = bs->backing_format && *bs->backing_format
        ? bs->backing_format : NULL;
    BlockdevOptions *explicit_options;
    bool probed;

    if (!check_no_circle(bs, errp)) {
        return NULL;
    }
    path = bdrv_make_absolute_filename(bdrv_base_filename(bs),
                                       bs->backing_file);
    options = bdrv_options_from_filename(path, format, 0, &probed, errp);
    if (!options) {
        return NULL;
    }
    explicit_options = qapi_clone_BlockdevOptions(options);
    inherit(bs, BDRV_CHILD_COW, options);
    return open_node(options, explicit_options, flags, probed, bs, errp);
}

static BlockDriverState *open_child_node(BlockDriverState *bs,
                                         const BdrvOptionsChild *child,
                                         BdrvChildRole role, int flags,
                                         Error **errp)
{
    g_autoptr(BlockdevOptions) options = NULL;
    BlockDriverState *child_bs;

    if (child->reference) {
        child_bs = bdrv_lookup_bs(child->reference, child->reference, errp);
        return child_bs ? bdrv_ref(child_bs) : NULL;
    }
    options = qapi_clone_BlockdevOptions(child->definition);
    inherit(bs, role, options);
    return open_node(options, qapi_clone_BlockdevOptions(child->definition),
                     flags, false, bs, errp);
}

/* Attaches @child_bs, consuming the reference. */
static BdrvChild *attach_opened(BlockDriverState *bs,
                                BlockDriverState *child_bs, bool in_place,
                                const char *name, BdrvChildRole role,
                                Error **errp)
{
    BdrvChild *child = bdrv_attach_child(bs, child_bs, name, role, errp);

    if (child && in_place) {
        bdrv_node(child_bs)->inherits_from = bs;
        bdrv_node(child_bs)->inherits_role = role;
    }
    bdrv_unref(child_bs);
    return child;
}

/* The backing file that the options specify. */
static BdrvOptionsChild backing_option(const BlockdevOptions *options)
{
    BdrvOptionsChild child;
    BdrvOptionsPos pos = {};

    while (bdrv_options_next_child(options, &pos, &child)) {
        if (!strcmp(child.name, "backing")) {
            return child;
        }
    }
    return (BdrvOptionsChild){0};
}

static bool node_open_backing(BlockDriverState *bs, Error **errp)
{
    BdrvOptionsChild option = backing_option(bs->options);
    int flags = bs->open_flags & BDRV_O_NO_IO;
    bool none = option.reference && !*option.reference; /* an old form */
    BlockDriverState *backing;

    if (!bs->drv->supports_backing || (bs->open_flags & BDRV_O_NO_BACKING)) {
        return true;
    }
    if (option.definition || (option.reference && !none)) {
        backing = open_child_node(bs, &option, BDRV_CHILD_COW, flags, errp);
    } else if (!option.present && bs->backing_file && *bs->backing_file) {
        backing = open_backing_by_name(bs, flags, errp);
    } else {
        return true;
    }
    if (!backing) {
        error_prepend(errp, "Could not open backing file: ");
        return false;
    }
    return attach_opened(bs, backing, !option.reference, "backing",
                         BDRV_CHILD_COW, errp) &&
           node_refresh(bs, errp);
}

bool bdrv_backing_is_from_header(const BlockDriverState *bs)
{
    return bs->drv->supports_backing &&
           !(bs->open_flags & BDRV_O_NO_BACKING) &&
           !backing_option(bs->options).present;
}

bool bdrv_open_backing(BlockDriverState *bs, Error **errp)
{
    bool ok;

    bs = bdrv_skip_filters(bs);
    if (!(bs->open_flags & BDRV_O_NO_BACKING) || bs->backing) {
        return true;
    }
    bdrv_drained_begin(bs);
    bs->open_flags &= ~BDRV_O_NO_BACKING;
    ok = node_open_backing(bs, errp);
    if (ok) {
        bdrv_refresh_filename(bs);
    } else {
        bs->open_flags |= BDRV_O_NO_BACKING;
    }
    bdrv_drained_end(bs);
    return ok;
}

/* --- the whole tree --- */

/*
 * A child that is defined in place may have taken our name, so it is checked
 * again.
 */
static bool node_publish(BlockDriverState *bs, Error **errp)
{
    if (bdrv_find_node(bs->node_name)) {
        error_setg(errp, "Duplicate nodes with node-name='%s'",
                   bs->node_name);
        return false;
    }
    bdrv_node_publish(bs);
    return true;
}

static BlockDriverState *open_node(const BlockdevOptions *options,
                                   BlockdevOptions *explicit_options, int flags,
                                   bool probed, BlockDriverState *opener,
                                   Error **errp)
{
    g_autoptr(BlockdevOptions) given =
        explicit_options ? explicit_options
                         : qapi_clone_BlockdevOptions(options);
    g_autoptr(BlockDriverState) bs = node_prepare(options, flags, errp);
    bool ok;

    if (!bs) {
        return NULL;
    }
    bdrv_node(bs)->explicit_options = g_steal_pointer(&given);
    bs->open_flags = flags;
    bs->probed = probed;
    bdrv_node(bs)->opener = opener;
    ok = node_open_driver(bs, errp) && node_refresh(bs, errp) &&
         node_publish(bs, errp) && node_open_backing(bs, errp);
    bdrv_node(bs)->opener = NULL;
    if (!ok) {
        return NULL;
    }
    bdrv_refresh_filename(bs);
    return g_steal_pointer(&bs);
}

BlockDriverState *bdrv_open_node(const BlockdevOptions *options,
                                 BlockdevOptions *explicit_options, int flags,
                                 bool probed, Error **errp)
{
    return open_node(options, explicit_options, flags, probed, NULL, errp);
}

BlockDriverState *bdrv_new_filter(const BlockDriver *drv, BlockDriverState *bs,
                                  const char *node_name, Error **errp)
{
    g_autoptr(BlockDriverState) filter = NULL;

    if (node_name && !bdrv_node_name_check(node_name, errp)) {
        return NULL;
    }
    filter = bdrv_node_new();
    if (node_name) {
        g_strlcpy(filter->node_name, node_name, sizeof(filter->node_name));
    } else {
        bdrv_node_name_make(filter);
        bdrv_node(filter)->implicit = true;
    }
    filter->drv = drv;
    filter->opaque = drv->instance_size ? g_malloc0(drv->instance_size) : NULL;
    bdrv_node(filter)->opened = true;
    filter->read_only = true;
    if (!bdrv_attach_child(filter, bs, "backing",
                           BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp) ||
        !node_refresh(filter, errp)) {
        return NULL;
    }
    bdrv_follow_discard(filter);
    bdrv_node_publish(filter);
    bdrv_refresh_filename(filter);
    return g_steal_pointer(&filter);
}

typedef struct OpenCall {
    const BlockdevOptions *options;
    int flags;
    Error **errp;
    BlockDriverState *bs;
} OpenCall;

static void bdrv_open_outside(void *opaque)
{
    OpenCall *call = opaque;

    call->bs = bdrv_open_node(call->options, NULL, call->flags, false,
                              call->errp);
}

BlockDriverState *bdrv_open(const BlockdevOptions *options, int flags,
                            Error **errp)
{
    OpenCall call = {.options = options, .flags = flags, .errp = errp};

    bdrv_run_outside(bdrv_open_outside, &call);
    return call.bs;
}

/* The image of an open node is read again: its children are there. */
static BdrvChild *reloaded_child(BlockDriverState *bs, const char *name,
                                 Error **errp)
{
    BdrvChild *child = bdrv_find_child(bs, name);

    if (!child) {
        error_setg(errp, "The image needs a file that node '%s' did not open "
                   "(\"%s\")", bs->node_name, name);
    }
    return child;
}

BdrvChild *bdrv_open_child(BlockDriverState *bs, const BlockdevRef *ref,
                           const char *name, BdrvChildRole role, Error **errp)
{
    BdrvOptionsChild option = {.present = true};
    int flags = bs->open_flags & BDRV_O_NO_IO;
    BlockDriverState *child_bs;

    if (bdrv_node(bs)->reloading) {
        return reloaded_child(bs, name, errp);
    }
    if (!ref) {
        error_setg(errp, "A block device must be specified for \"%s\"", name);
        return NULL;
    }
    if (ref->type == BLOCKDEV_REF_KIND_DEFINITION) {
        option.definition = ref->u.definition;
    } else {
        option.reference = ref->u.reference;
    }
    child_bs = open_child_node(bs, &option, role, flags, errp);
    /* Only the storage's own state counts here, not other users of it. */
    if (child_bs && bdrv_is_read_only(child_bs) && bs->auto_read_only &&
        (role & BDRV_CHILD_PRIMARY)) {
        bdrv_turn_read_only(bs);
    }
    return child_bs ? attach_opened(bs, child_bs, !option.reference, name,
                                    role, errp) : NULL;
}
