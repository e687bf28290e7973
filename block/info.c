/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Information on nodes for the query commands and `qemu-img info`. */
#include "qemu/osdep.h"
#include "block/block-backend.h"
#include "block/dirty-bitmap.h"
#include "block/activate.h"
#include "block/graph-int.h"
#include "block/node-int.h"
#include "block/snapshot.h"
#include "qapi/qapi-types-block-image.h"
#include "qapi/qapi-types-block-stats.h"

/* --- properties of drivers, through filters --- */

int bdrv_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    BdrvChild *child;

    memset(info, 0, sizeof(*info));
    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (bs->drv->get_info) {
        return bs->drv->get_info(bs, info);
    }
    child = bdrv_filter_child(bs);
    return child ? bdrv_get_info(child->bs, info) : -ENOTSUP;
}

void bdrv_get_identity(BlockDriverState *bs, bool durable, BdrvIdentity *id)
{
    const BdrvChild *child = bdrv_primary_child(bs);
    bool same = child && !(child->role & BDRV_CHILD_METADATA) &&
                !(child->role & BDRV_CHILD_COW);

    *id = (BdrvIdentity){ .kind = BDRV_IDENTITY_NONE };
    if (!bs->drv) {
        return;
    }
    if (bs->drv->get_identity) {
        if (bs->drv->get_identity(bs, durable, id) < 0) {
            *id = (BdrvIdentity){ .kind = BDRV_IDENTITY_NONE };
        }
    } else if (same) {
        bdrv_get_identity(child->bs, durable, id);
    }
}

int64_t bdrv_get_allocated_file_size(BlockDriverState *bs)
{
    int64_t sum = 0;
    BdrvChild *c;

    if (!bs->drv) {
        return -ENOMEDIUM;
    }
    if (bs->drv->get_allocated_file_size) {
        return bs->drv->get_allocated_file_size(bs);
    }
    c = bdrv_filter_child(bs);
    if (c) {
        return bdrv_get_allocated_file_size(c->bs);
    }
    if (LIST_EMPTY(&bdrv_node(bs)->children)) {
        return -ENOTSUP;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        int64_t size;

        if (!(c->role & (BDRV_CHILD_DATA | BDRV_CHILD_METADATA |
                         BDRV_CHILD_FILTERED))) {
            continue;
        }
        size = bdrv_get_allocated_file_size(c->bs);
        if (size < 0) {
            return size;
        }
        sum += size;
    }
    return sum;
}

ImageInfoSpecific *bdrv_get_specific_info(BlockDriverState *bs, Error **errp)
{
    return bs->drv && bs->drv->get_specific_info
        ? bs->drv->get_specific_info(bs, errp) : NULL;
}

/* --- an image --- */

static void image_info_backing(BlockDriverState *bs, ImageInfo *info)
{
    if (!bs->backing_file || !*bs->backing_file) {
        return;
    }
    info->backing_filename = g_strdup(bs->backing_file);
    info->full_backing_filename =
        bdrv_make_absolute_filename(bdrv_base_filename(bs), bs->backing_file);
    if (bs->backing_format && *bs->backing_format) {
        info->backing_filename_format = g_strdup(bs->backing_format);
    }
}

ImageInfo *bdrv_query_image_info(BlockDriverState *bs, Error **errp)
{
    g_autoptr(ImageInfo) info = g_new0(ImageInfo, 1);
    BlockDriverInfo bdi;
    int64_t size = bdrv_getlength(bs);
    Error *err = NULL;

    if (size < 0) {
        error_setg_errno(errp, -size, "Can't get image size '%s'",
                         bs->filename);
        return NULL;
    }
    bdrv_refresh_filename(bs);
    info->filename = g_strdup(bs->filename);
    info->format = g_strdup(bdrv_get_format_name(bs));
    info->virtual_size = size;
    info->actual_size = bdrv_get_allocated_file_size(bs);
    info->has_actual_size = info->actual_size >= 0;
    if (bdrv_get_info(bs, &bdi) >= 0) {
        info->has_cluster_size = bdi.cluster_size != 0;
        info->cluster_size = bdi.cluster_size;
        info->has_dirty_flag = true;
        info->dirty_flag = bdi.is_dirty;
    }
    info->has_encrypted = bs->encrypted;
    info->encrypted = bs->encrypted;
    info->format_specific = bdrv_get_specific_info(bs, &err);
    if (err) {
        error_propagate(errp, err);
        return NULL;
    }
    image_info_backing(bs, info);
    info->snapshots = bdrv_snapshot_infos(bs);
    return g_steal_pointer(&info);
}

/* The image with the images below it in the chain, nested. */
static ImageInfo *image_chain_info(BlockDriverState *bs, bool flat,
                                   Error **errp)
{
    g_autoptr(ImageInfo) info = bdrv_query_image_info(bs, errp);
    BdrvChild *next = bdrv_filter_or_cow_child(bs);

    if (info && next && !flat) {
        info->backing_image = image_chain_info(next->bs, false, errp);
        if (!info->backing_image) {
            return NULL;
        }
    }
    return g_steal_pointer(&info);
}

/* --- a node --- */

static int64_t backing_depth(const BlockDriverState *bs)
{
    int64_t depth = 0;
    BdrvChild *c;

    while ((c = bdrv_filter_or_cow_child(bs))) {
        bs = c->bs;
        depth++;
    }
    return depth;
}

static BlockdevCacheInfo *cache_info(const BlockDriverState *bs)
{
    BlockdevCacheInfo *cache = g_new0(BlockdevCacheInfo, 1);

    cache->writeback = true;
    cache->direct = bs->cache_direct;
    cache->no_flush = bs->cache_no_flush;
    return cache;
}

BlockDeviceInfo *bdrv_block_device_info(BlockDriverState *bs, bool flat,
                                        Error **errp)
{
    g_autoptr(BlockDeviceInfo) info = g_new0(BlockDeviceInfo, 1);
    BdrvChild *backing = bdrv_cow_child(bs);

    if (!bs->drv) {
        error_setg(errp, "Block device %s is ejected", bs->node_name);
        return NULL;
    }
    info->image = image_chain_info(bs, flat, errp);
    if (!info->image) {
        return NULL;
    }
    info->file = g_strdup(bs->filename);
    info->node_name = g_strdup(bs->node_name);
    info->ro = bdrv_is_read_only(bs);
    info->active = !bdrv_is_inactive(bs);
    info->encrypted = bs->encrypted;
    info->drv = g_strdup(bs->drv->format_name);
    info->backing_file = backing ? g_strdup(backing->bs->filename) : NULL;
    info->backing_file_depth = flat ? 0 : backing_depth(bs);
    info->detect_zeroes = bs->detect_zeroes;
    info->cache = cache_info(bs);
    info->write_threshold = bdrv_node(bs)->write_threshold;
    info->dirty_bitmaps = bdrv_dirty_bitmap_query(bs);
    return g_steal_pointer(&info);
}

/* --- counters --- */

static BlockDeviceStats *node_counters(const BlockDriverState *bs)
{
    BlockDeviceStats *stats = g_new0(BlockDeviceStats, 1);

    stats->wr_highest_offset = bdrv_node(bs)->wr_highest_offset;
    return stats;
}

/* @blk_level: as seen from a device, filters of jobs left out. */
BlockStats *bdrv_query_bds_stats(BlockDriverState *bs, bool blk_level)
{
    BlockStats *stats = g_new0(BlockStats, 1);
    BdrvChild *c;

    while (blk_level && bs && bdrv_is_implicit(bs) && bdrv_filter_child(bs)) {
        bs = bdrv_filter_child(bs)->bs;
    }
    if (!bs || !bs->drv) {
        stats->stats = g_new0(BlockDeviceStats, 1);
        return stats;
    }
    stats->node_name = g_strdup(bs->node_name);
    stats->stats = node_counters(bs);
    stats->driver_specific = bs->drv->get_specific_stats
        ? bs->drv->get_specific_stats(bs) : NULL;
    c = bdrv_primary_child(bs);
    if (c) {
        stats->parent = bdrv_query_bds_stats(c->bs, blk_level);
    }
    c = blk_level ? bdrv_cow_child(bs) : NULL;
    if (c) {
        stats->backing = bdrv_query_bds_stats(c->bs, blk_level);
    }
    return stats;
}

/* --- the whole graph --- */

typedef struct GraphWriter {
    XDbgBlockGraph *graph;
    GHashTable *ids; /* object -> id */
} GraphWriter;

/* The id of @object, which is added to the list at its first use. */
static uint64_t graph_node(GraphWriter *w, const void *object,
                           XDbgBlockGraphNodeType type, const char *name)
{
    void *known = g_hash_table_lookup(w->ids, object);
    XDbgBlockGraphNode *node;
    uint64_t id;

    if (known) {
        return GPOINTER_TO_SIZE(known);
    }
    id = g_hash_table_size(w->ids) + 1;
    g_hash_table_insert(w->ids, (void *)object, GSIZE_TO_POINTER(id));
    node = g_new0(XDbgBlockGraphNode, 1);
    node->id = id;
    node->type = type;
    node->name = g_strdup(name ? name : "");
    QAPI_LIST_PREPEND(w->graph->nodes, node);
    return id;
}

static BlockPermissionList *graph_perms(uint64_t perm)
{
    static const struct {
        uint64_t bit;
        BlockPermission name;
    } names[] = {
        {BLK_PERM_CONSISTENT_READ, BLOCK_PERMISSION_CONSISTENT_READ},
        {BLK_PERM_WRITE, BLOCK_PERMISSION_WRITE},
        {BLK_PERM_WRITE_UNCHANGED, BLOCK_PERMISSION_WRITE_UNCHANGED},
        {BLK_PERM_RESIZE, BLOCK_PERMISSION_RESIZE},
    };
    BlockPermissionList *list = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (perm & names[i].bit) {
            QAPI_LIST_PREPEND(list, names[i].name);
        }
    }
    return list;
}

static uint64_t graph_parent(GraphWriter *w, BdrvChild *child)
{
    g_autofree char *desc = NULL;
    const char *name;

    if (child->klass->parent_is_bs) {
        const BlockDriverState *bs = child->opaque;

        return graph_node(w, bs, X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_DRIVER,
                          bs->node_name);
    }
    name = child->klass->get_name ? child->klass->get_name(child) : NULL;
    if (!name || !*name) {
        desc = child->klass->parent_desc(child);
        name = desc;
    }
    return graph_node(w, child->opaque,
                      child->klass->parent_is_job
                          ? X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_JOB
                          : X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_BACKEND, name);
}

static void graph_edge(GraphWriter *w, BdrvChild *child, uint64_t child_id)
{
    XDbgBlockGraphEdge *edge = g_new0(XDbgBlockGraphEdge, 1);

    edge->parent = graph_parent(w, child);
    edge->child = child_id;
    edge->name = g_strdup(child->name);
    edge->perm = graph_perms(child->perm);
    edge->shared_perm = graph_perms(child->shared);
    QAPI_LIST_PREPEND(w->graph->edges, edge);
}

XDbgBlockGraph *bdrv_get_xdbg_block_graph(Error **errp)
{
    GraphWriter w = {
        .graph = g_new0(XDbgBlockGraph, 1),
        .ids = g_hash_table_new(NULL, NULL),
    };
    g_autoptr(GPtrArray) nodes = g_ptr_array_new();
    BlockDriverState *bs = NULL;
    BdrvChild *c;

    while ((bs = bdrv_next_node(bs))) {
        g_ptr_array_add(nodes, bs);
    }
    /* The oldest node gets the first id. */
    for (guint i = nodes->len; i > 0; i--) {
        uint64_t id;

        bs = g_ptr_array_index(nodes, i - 1);
        id = graph_node(&w, bs, X_DBG_BLOCK_GRAPH_NODE_TYPE_BLOCK_DRIVER,
                        bs->node_name);
        LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
            graph_edge(&w, c, id);
        }
    }
    g_hash_table_unref(w.ids);
    return w.graph;
}
