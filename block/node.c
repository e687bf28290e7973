/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life cycle of a node: creation, names, lookup, deletion. */
#include "qemu/osdep.h"
#include "block/activate.h"
#include "block/bitmap-store.h"
#include "block/block-backend.h"
#include "block/graph-int.h"
#include <json-c/json.h>
#include "block/io.h"
#include "block/node-int.h"
#include "block/silence.h"
#include "qemu/cutils.h"
#include "qemu/notify.h"

LIST_HEAD(NodeList, BdrvNode);

static struct NodeList all_nodes = LIST_HEAD_INITIALIZER(all_nodes);

/* Nodes whose driver is opening them; they cannot be found by name. */
static struct NodeList opening_nodes = LIST_HEAD_INITIALIZER(opening_nodes);

BdrvEventHooks bdrv_event_hooks;

BlockDriverState *bdrv_node_new(void)
{
    BdrvNode *node = g_new0(BdrvNode, 1);

    g_assert(aio_is_exclusive());
    node->bs.ctx = aio_main_context();
    node->bs.filename = g_strdup("");
    node->refcnt = 1;
    node->cumulative_shared = BLK_PERM_ALL;
    node->quiesce_counter = bdrv_drain_all_count();
    LIST_INIT(&node->children);
    LIST_INIT(&node->parents);
    LIST_INIT(&node->requests);
    LIST_INIT(&node->bitmaps.list);
    co_queue_init(&node->flush_queue);
    return &node->bs;
}

void bdrv_node_publish(BlockDriverState *bs)
{
    LIST_INSERT_HEAD(&all_nodes, bdrv_node(bs), node_list);
}

void bdrv_node_opening_begin(BlockDriverState *bs)
{
    LIST_INSERT_HEAD(&opening_nodes, bdrv_node(bs), node_list);
}

void bdrv_node_opening_end(BlockDriverState *bs)
{
    LIST_REMOVE(bdrv_node(bs), node_list);
    bdrv_node(bs)->node_list.le_prev = NULL; /* in no list */
}

static BlockDriverState *next_in(const struct NodeList *list,
                                 const BlockDriverState *bs)
{
    BdrvNode *node = bs ? LIST_NEXT(bdrv_node(bs), node_list)
                        : LIST_FIRST(list);

    return node ? &node->bs : NULL;
}

BlockDriverState *bdrv_next_opening(BlockDriverState *bs)
{
    return next_in(&opening_nodes, bs);
}

BlockDriverState *bdrv_next_node(BlockDriverState *bs)
{
    return next_in(&all_nodes, bs);
}

static void bdrv_detach_children(BlockDriverState *bs)
{
    while (!LIST_EMPTY(&bdrv_node(bs)->children)) {
        bdrv_unref_child(bs, LIST_FIRST(&bdrv_node(bs)->children));
    }
    bs->file = NULL;
    bs->backing = NULL;
}

static bool any_close_failed;

void bdrv_close_error(BlockDriverState *bs, Error *err)
{
    any_close_failed = true;
    if (bdrv_node(bs)->close_failed) {
        error_free(err);
        return;
    }
    bdrv_node(bs)->close_failed = true;
    if (bs->filename && *bs->filename) {
        error_prepend(&err, "Closing node '%s' ('%s'): ", bs->node_name,
                      bs->filename);
    } else {
        error_prepend(&err, "Closing node '%s': ", bs->node_name);
    }
    error_report_err(err);
}

bool bdrv_any_close_failed(void)
{
    return any_close_failed;
}

/* Children that are deleted with @bs usually fail for the same reason. */
static void pass_close_failed(BlockDriverState *bs)
{
    BdrvChild *child;

    LIST_FOREACH(child, &bdrv_node(bs)->children, next) {
        if (bdrv_node(bs)->close_failed && bdrv_node(child->bs)->refcnt == 1) {
            bdrv_node(child->bs)->close_failed = true;
        }
    }
}

static bool losses_reported;

void bdrv_report_losses(void)
{
    losses_reported = true;
}

/*
 * Has this program written to @bs, or below it?  What others wrote is flushed
 * for those who rely on it, not at the end.
 */
static bool is_changed(const BlockDriverState *bs)
{
    const BdrvNode *node = bdrv_node(bs);
    BdrvChild *child;

    if (node->write_gen - node->flushed_gen > node->inherits) {
        return true;
    }
    LIST_FOREACH(child, &node->children, next) {
        if (is_changed(child->bs)) {
            return true;
        }
    }
    return false;
}

static void flush_at_close(BlockDriverState *bs)
{
    int ret = !bs->read_only && is_changed(bs) ? bdrv_flush(bs) : 0;
    Error *err = NULL;

    if (ret < 0) {
        error_setg_errno(&err, -ret, "Could not flush it");
        bdrv_close_error(bs, err);
    } else if (losses_reported && bdrv_node(bs)->lost_writes) {
        error_setg(&err, "Writes to it may have been lost");
        bdrv_close_error(bs, err);
    }
}

/*
 * Persistent bitmaps are stored before the driver's close, which writes back
 * what storing them changed; all are released after it.
 */
static void bdrv_close(BlockDriverState *bs)
{
    bdrv_await_begin(bs);
    if (bs->drv && bs->drv->cancel_in_flight) {
        /* Without users no result of a request is needed any more. */
        bs->drv->cancel_in_flight(bs, NULL);
    }
    bdrv_drained_begin(bs);
    if (bs->drv) {
        flush_at_close(bs);
        bdrv_node(bs)->opened = false;
        bdrv_bitmap_store_close(bs);
        if (bs->drv->close) {
            bs->drv->close(bs);
        }
    }
    pass_close_failed(bs);
    bdrv_detach_children(bs);
    bdrv_dirty_bitmap_release_all(bs);
    bs->drv = NULL;
    g_clear_pointer(&bs->opaque, g_free);
    bdrv_drained_end(bs);
}

static void bdrv_delete(void *opaque)
{
    BlockDriverState *bs = opaque;
    BdrvNode *node = bdrv_node(bs), *other;

    g_assert(LIST_EMPTY(&node->parents));
    /* Closing may wait: the node must not be found and referenced meanwhile. */
    node->refcnt = 1;
    if (node->node_list.le_prev) {
        LIST_REMOVE(node, node_list);
    }
    LIST_FOREACH(other, &all_nodes, node_list) {
        if (other->inherits_from == bs) {
            other->inherits_from = NULL;
        }
    }
    bdrv_close(bs);
    g_assert(node->in_flight == 0);
    qapi_free_BlockdevOptions(bs->options);
    qapi_free_BlockdevOptions(node->explicit_options);
    json_object_put(node->given);
    g_free(bs->filename);
    g_free(bs->backing_file);
    g_free(bs->backing_format);
    g_free(node);
}

BlockDriverState *bdrv_ref(BlockDriverState *bs)
{
    __atomic_fetch_add(&bdrv_node(bs)->refcnt, 1, __ATOMIC_RELAXED);
    return bs;
}

void bdrv_unref(BlockDriverState *bs)
{
    if (!bs) {
        return;
    }
    if (__atomic_sub_fetch(&bdrv_node(bs)->refcnt, 1, __ATOMIC_ACQ_REL) == 0) {
        bdrv_run_outside(bdrv_delete, bs);
    }
}

BlockDriverState *bdrv_find_node(const char *node_name)
{
    BdrvNode *node;

    LIST_FOREACH(node, &all_nodes, node_list) {
        if (!strcmp(node->bs.node_name, node_name)) {
            return &node->bs;
        }
    }
    return NULL;
}

BlockDriverState *bdrv_lookup_bs(const char *device, const char *node_name,
                                 Error **errp)
{
    BlockBackend *blk = device ? blk_by_name(device) : NULL;
    BlockDriverState *bs;

    if (blk) {
        bs = blk_bs(blk);
        if (!bs) {
            error_setg(errp, "Device '%s' has no medium", device);
        }
        return bs;
    }
    bs = node_name ? bdrv_find_node(node_name) : NULL;
    if (!bs) {
        error_setg(errp, "Cannot find device='%s' nor node-name='%s'",
                   device ? device : "", node_name ? node_name : "");
    }
    return bs;
}

bool bdrv_node_name_check(const char *name, Error **errp)
{
    BlockDriverState *bs;

    if (!id_wellformed(name)) {
        error_setg(errp, "Invalid node-name: '%s'", name);
        return false;
    }
    if (blk_by_name(name)) {
        error_setg(errp, "node-name=%s is conflicting with a device id", name);
        return false;
    }
    if (bdrv_find_node(name)) {
        error_setg(errp, "Duplicate nodes with node-name='%s'", name);
        return false;
    }
    if (strlen(name) >= sizeof(bs->node_name)) {
        error_setg(errp, "Node name too long");
        return false;
    }
    return true;
}

void bdrv_node_name_make(BlockDriverState *bs)
{
    static unsigned counter;

    do {
        snprintf(bs->node_name, sizeof(bs->node_name), "#block%03u",
                 counter++);
    } while (bdrv_find_node(bs->node_name));
}

const char *bdrv_get_device_name(const BlockDriverState *bs)
{
    BdrvChild *c;

    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        bool named = c->klass->get_name && !c->klass->parent_is_job;
        const char *name = named ? c->klass->get_name(c) : NULL;

        if (name && *name) {
            return name;
        }
    }
    return "";
}

const char *bdrv_get_device_or_node_name(const BlockDriverState *bs)
{
    const char *name = bdrv_get_device_name(bs);

    return *name ? name : bs->node_name;
}

const char *bdrv_get_format_name(const BlockDriverState *bs)
{
    return bs->drv ? bs->drv->format_name : NULL;
}

bool bdrv_is_read_only(const BlockDriverState *bs)
{
    return bdrv_node(bs)->inactive ? bdrv_node(bs)->active_read_only
                                   : bs->read_only;
}

void bdrv_turn_read_only(BlockDriverState *bs)
{
    bs->read_only = true;
    bdrv_node(bs)->active_read_only = true;
}

bool bdrv_has_zero_init(BlockDriverState *bs)
{
    return bs->drv->has_zero_init && bs->drv->has_zero_init(bs);
}

bool bdrv_grows_by_zeroes(BlockDriverState *bs)
{
    bs = bdrv_skip_filters(bs);
    if (!bs->drv) {
        return true;
    }
    return bs->drv->grows_by_zeroes ? bs->drv->grows_by_zeroes(bs)
                                    : bdrv_has_zero_init(bs);
}

int64_t bdrv_getlength(BlockDriverState *bs)
{
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (bs->drv->has_variable_length) {
        int ret = bdrv_refresh_total_size(bs);

        if (ret < 0) {
            return ret;
        }
    }
    return bs->total_bytes;
}

bool bdrv_child_sets_size(const BdrvChild *child)
{
    const BdrvChild *primary;

    if (!child->klass->parent_is_bs) {
        return false;
    }
    primary = bdrv_primary_child(child->opaque);
    return child == primary || (!primary && (child->role & BDRV_CHILD_DATA));
}

static int64_t driver_length(BlockDriverState *bs)
{
    BdrvChild *child = bdrv_primary_child(bs);

    if (bs->drv->getlength) {
        return bs->drv->getlength(bs);
    }
    if (child && (bs->drv->is_filter || (child->role & BDRV_CHILD_FILTERED))) {
        return bdrv_getlength(child->bs);
    }
    return bs->total_bytes;
}

bool bdrv_is_inserted(const BlockDriverState *bs)
{
    while (bs->drv && !bs->drv->is_inserted) {
        const BdrvChild *child = bdrv_primary_child(bs);

        if (!child) {
            return true;
        }
        bs = child->bs;
    }
    return bs->drv && bs->drv->is_inserted(bs);
}

int64_t bdrv_measure_length(BlockDriverState *bs)
{
    int64_t bytes = driver_length(bs);

    if (bytes > BDRV_MAX_LENGTH) {
        return -EFBIG;
    }
    return bytes < 0 ? bytes : ROUND_UP(bytes, BDRV_SECTOR_SIZE);
}

int bdrv_refresh_total_size(BlockDriverState *bs)
{
    int64_t bytes;
    BdrvChild *c;

    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    bytes = bdrv_measure_length(bs);
    if (bytes < 0) {
        return bytes;
    }
    if (bytes == bs->total_bytes) {
        return 0;
    }
    bs->total_bytes = bytes;
    bdrv_dirty_bitmap_truncate_all(bs, bytes, bdrv_grows_by_zeroes(bs));
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->resize) {
            c->klass->resize(c);
        }
    }
    return 0;
}

/* --- users of a node --- */

bool bdrv_is_monitor_owned(const BlockDriverState *bs)
{
    return bdrv_node(bs)->monitor_owned;
}

void bdrv_set_monitor_owned(BlockDriverState *bs, bool owned)
{
    bdrv_node(bs)->monitor_owned = owned;
}

bool bdrv_is_implicit(const BlockDriverState *bs)
{
    return bdrv_node(bs)->implicit;
}

void bdrv_set_implicit(BlockDriverState *bs, bool implicit)
{
    bdrv_node(bs)->implicit = implicit;
}

bool bdrv_op_check(BlockDriverState *bs, Error **errp)
{
    BdrvChild *c, *first = NULL;

    if (!bdrv_check_active(bs, errp)) {
        return false;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->block_reason) {
            first = c; /* new edges are put at the head of the list */
        }
    }
    if (first) {
        g_autofree char *reason = first->klass->block_reason(first);

        error_setg(errp, "Node '%s' is busy: %s",
                   bdrv_get_device_or_node_name(bs), reason);
    }
    return !first;
}

bool bdrv_op_check_top(BlockDriverState *bs, Error **errp)
{
    BdrvChild *c;

    if (!bdrv_op_check(bs, errp)) {
        return false;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->parent_is_bs && (c->role & BDRV_CHILD_COW)) {
            error_setg(errp, "Node '%s' is busy: node is used as backing hd "
                       "of '%s'", bdrv_get_device_or_node_name(bs),
                       bdrv_get_device_or_node_name(c->opaque));
            return false;
        }
    }
    return true;
}

static bool parent_bears_resize(BdrvChild *c, Error **errp)
{
    g_autofree char *desc = NULL;

    /* Asked first, as it names the user that a filter only stands for. */
    if (bdrv_child_sets_size(c) && !bdrv_is_inactive(c->opaque) &&
        !bdrv_op_check_resize(c->opaque, errp)) {
        return false;
    }
    if (c->shared & BLK_PERM_RESIZE) {
        return true;
    }
    desc = c->klass->parent_desc(c);
    error_setg(errp, "Node '%s' cannot get another size: resize is not shared "
               "by %s", c->bs->node_name, desc);
    return false;
}

bool bdrv_op_check_resize(BlockDriverState *bs, Error **errp)
{
    BdrvChild *c;

    if (!bdrv_op_check_top(bs, errp)) {
        return false;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (!parent_bears_resize(c, errp)) {
            return false;
        }
    }
    return true;
}

/* Jobs and exports may have a bitmap of the node without using the node itself,
 * as a snapshot may have replaced it. */
static bool bitmaps_are_free(BlockDriverState *bs, Error **errp)
{
    BdrvDirtyBitmap *bitmap = NULL;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_busy(bitmap)) {
            error_setg(errp, "Node '%s' is busy: its bitmap '%s' is in use",
                       bdrv_get_device_or_node_name(bs),
                       bdrv_dirty_bitmap_name(bitmap) ?: "");
            return false;
        }
    }
    return true;
}

bool bdrv_check_unused(BlockDriverState *bs, Error **errp)
{
    if ((!bdrv_is_inactive(bs) && !bdrv_op_check(bs, errp)) ||
        !bitmaps_are_free(bs, errp)) {
        return false;
    }
    if (!LIST_EMPTY(&bdrv_node(bs)->parents) || bdrv_node(bs)->refcnt > 1) {
        error_setg(errp, "Block device %s is in use",
                   bdrv_get_device_or_node_name(bs));
        return false;
    }
    return true;
}

/* --- end of the program --- */

void bdrv_close_all(void)
{
    BdrvNode *node;
    bool again = true;

    bdrv_drain_all_begin();
    bdrv_drain_all_end();
    /* Dropping one reference may delete other nodes: so restart. */
    while (again) {
        again = false;
        LIST_FOREACH(node, &all_nodes, node_list) {
            if (node->monitor_owned || node->graph_ref) {
                if (node->monitor_owned) {
                    node->monitor_owned = false;
                } else {
                    node->graph_ref = false;
                }
                bdrv_unref(&node->bs);
                notify_progress();
                again = true;
                break;
            }
        }
    }
}
