/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Internal snapshots: finding the node that has them, rules for all formats,
 * and the calls of the driver.
 */
#include "qemu/osdep.h"

#include "block/dirty-bitmap.h"
#include "block/graph.h"
#include "block/node-int.h"
#include "block/snapshot.h"
#include "qapi/qapi-types-block-image.h"

#define NS_PER_SECOND 1000000000

BdrvSnapshot *bdrv_snapshot_new(const char *name)
{
    BdrvSnapshot *sn = g_new0(BdrvSnapshot, 1);
    int64_t now = g_get_real_time();

    sn->name = g_strdup(name);
    sn->date_sec = now / G_USEC_PER_SEC;
    sn->date_nsec = now % G_USEC_PER_SEC * 1000;
    sn->icount = BDRV_SNAPSHOT_NO_ICOUNT;
    return sn;
}

BdrvSnapshot *bdrv_snapshot_copy(const BdrvSnapshot *sn)
{
    BdrvSnapshot *copy = g_memdup2(sn, sizeof(*sn));

    copy->id = g_strdup(sn->id);
    copy->name = g_strdup(sn->name);
    return copy;
}

void bdrv_snapshot_free(BdrvSnapshot *sn)
{
    if (sn) {
        g_free(sn->id);
        g_free(sn->name);
        g_free(sn);
    }
}

/* --- which node --- */

/* The child to which a node without snapshots delegates: its whole content. */
static BdrvChild *fallback_child(const BlockDriverState *bs)
{
    BdrvChild *primary = bdrv_filter_child(bs), *c;

    if (primary) {
        return primary;
    }
    primary = bdrv_primary_child(bs);
    LIST_FOREACH(c, &bdrv_node(bs)->children, next) {
        if (c != primary && (c->role & (BDRV_CHILD_DATA | BDRV_CHILD_METADATA |
                                        BDRV_CHILD_FILTERED |
                                        BDRV_CHILD_COW))) {
            return NULL;
        }
    }
    return primary;
}

/* The node that has the snapshots of @bs, or NULL. */
static BlockDriverState *snapshot_node(BlockDriverState *bs)
{
    while (bs && bs->drv && !bs->drv->snapshot) {
        BdrvChild *child = fallback_child(bs);

        bs = child ? child->bs : NULL;
    }
    return bs && bs->drv ? bs : NULL;
}

bool bdrv_can_snapshot(BlockDriverState *bs)
{
    return bs->drv && !bs->read_only && snapshot_node(bs);
}

void bdrv_warn_of_snapshots(BlockDriverState *bs)
{
    int ret;
    g_autoptr(GPtrArray) list = bdrv_snapshot_list(bs, &ret);

    if (list && list->len) {
        warn_report("The %u internal snapshot(s) of '%s' show the new backing "
                    "file from now on where they have no data of their own",
                    list->len, bs->filename ? bs->filename : bs->node_name);
    }
}

GPtrArray *bdrv_snapshot_list(BlockDriverState *bs, int *ret)
{
    BlockDriverState *node = snapshot_node(bs);

    *ret = !bs->drv ? -ENOMEDIUM : !node ? -ENOTSUP : 0;
    return node ? node->drv->snapshot->list(node) : NULL;
}

int bdrv_snapshot_find(const GPtrArray *list, const char *id,
                       const char *name)
{
    for (guint i = 0; i < list->len; i++) {
        const BdrvSnapshot *sn = list->pdata[i];

        if ((!id || !strcmp(sn->id, id)) &&
            (!name || !strcmp(sn->name, name))) {
            return i;
        }
    }
    return -1;
}

/* By ID, otherwise by name. */
static int bdrv_snapshot_find_any(const GPtrArray *list, const char *id_or_name)
{
    int index = bdrv_snapshot_find(list, id_or_name, NULL);

    return index >= 0 ? index : bdrv_snapshot_find(list, NULL, id_or_name);
}

/* --- rules --- */

/* Does any node that shows @bs record its changes? */
static bool has_bitmaps(BlockDriverState *bs)
{
    BdrvDirtyBitmap *bitmap = NULL;
    BdrvChild *c;

    while ((bitmap = bdrv_dirty_bitmap_next(bs, bitmap))) {
        if (bdrv_dirty_bitmap_name(bitmap) ||
            bdrv_dirty_bitmap_recording(bitmap)) {
            return true;
        }
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->parent_is_bs && has_bitmaps(c->opaque)) {
            return true;
        }
    }
    return false;
}

/* Is @bs, or a node that shows it, in use by a job or the like? */
static bool is_idle(BlockDriverState *bs, Error **errp)
{
    BdrvChild *c;

    if (!bdrv_op_check(bs, errp)) {
        return false;
    }
    LIST_FOREACH(c, &bdrv_node(bs)->parents, next_parent) {
        if (c->klass->parent_is_bs && !is_idle(c->opaque, errp)) {
            return false;
        }
    }
    return true;
}

static bool check_name(const char *name, Error **errp)
{
    if (strlen(name) > BDRV_MAX_SNAPSHOT_NAME) {
        error_setg(errp, "Name of the snapshot is too long (at most %d bytes)",
                   BDRV_MAX_SNAPSHOT_NAME);
        return false;
    }
    return true;
}

/* --- calls of the driver --- */

typedef enum SnapshotVerb {
    SNAPSHOT_CREATE,
    SNAPSHOT_GOTO,
    SNAPSHOT_DELETE,
    SNAPSHOT_LOAD_TMP,
    SNAPSHOT_READ_VM_STATE,
    SNAPSHOT_VM_STATE_PREAD,
    SNAPSHOT_VM_STATE_PWRITE,
} SnapshotVerb;

typedef struct SnapshotCall {
    SnapshotVerb verb;
    BlockDriverState *node;
    unsigned index;
    BdrvSnapshot *sn;
    const void *vm_state;
    int64_t offset;
    void *buf;
    size_t bytes;
    Error **errp;
    int ret;
} SnapshotCall;

static void coroutine_fn snapshot_entry(void *opaque)
{
    SnapshotCall *call = opaque;
    BlockDriverState *bs = call->node;
    const BdrvSnapshotOps *ops = bs->drv->snapshot;

    switch (call->verb) {
    case SNAPSHOT_CREATE:
        call->ret = ops->co_create(bs, call->sn, call->vm_state, call->errp);
        break;
    case SNAPSHOT_GOTO:
        call->ret = ops->co_goto(bs, call->index, call->errp);
        break;
    case SNAPSHOT_DELETE:
        call->ret = ops->co_delete(bs, call->index, call->errp);
        break;
    case SNAPSHOT_LOAD_TMP:
        call->ret = ops->co_load_tmp(bs, call->index, call->errp);
        break;
    case SNAPSHOT_READ_VM_STATE:
        call->ret = ops->co_read_vm_state(bs, call->index, call->buf,
                                          call->bytes, call->errp);
        break;
    case SNAPSHOT_VM_STATE_PREAD:
        call->ret = ops->co_vm_state_pread(bs, call->offset, call->buf,
                                           call->bytes);
        break;
    case SNAPSHOT_VM_STATE_PWRITE:
        call->ret = ops->co_vm_state_pwrite(bs, call->offset, call->vm_state,
                                            call->bytes);
        break;
    }
}

/* Runs the call with no request in flight; the size may change. */
static int snapshot_call(SnapshotCall *call)
{
    BlockDriverState *bs = bdrv_ref(call->node);

    bdrv_drained_begin(bs);
    aio_run_co(bs->ctx, snapshot_entry, call);
    if (call->ret == 0 && (call->verb == SNAPSHOT_GOTO ||
                           call->verb == SNAPSHOT_LOAD_TMP)) {
        bdrv_refresh_total_size(bs);
    }
    bdrv_drained_end(bs);
    bdrv_unref(bs);
    return call->ret;
}

int bdrv_snapshot_create(BlockDriverState *bs, BdrvSnapshot *sn,
                         const void *vm_state, Error **errp)
{
    SnapshotCall call = {
        .verb = SNAPSHOT_CREATE,
        .node = snapshot_node(bs),
        .sn = sn,
        .vm_state = vm_state,
        .errp = errp,
    };

    if (!bs->drv) {
        error_setg(errp, "Block device %s is ejected", bs->node_name);
        return -ENOMEDIUM;
    }
    if (!call.node) {
        error_setg(errp, "Block format '%s' used by device '%s' does not "
                   "support internal snapshots", bs->drv->format_name,
                   bdrv_get_device_or_node_name(bs));
        return -ENOTSUP;
    }
    if (call.node->read_only) {
        error_setg(errp, "Device '%s' is read only",
                   bdrv_get_device_or_node_name(bs));
        return -EPERM;
    }
    return check_name(sn->name, errp) ? snapshot_call(&call) : -EINVAL;
}

int bdrv_snapshot_goto(BlockDriverState *bs, const char *id_or_name,
                       Error **errp)
{
    SnapshotCall call = {
        .verb = SNAPSHOT_GOTO,
        .node = snapshot_node(bs),
        .errp = errp,
    };
    g_autoptr(GPtrArray) list = NULL;
    int ret;

    list = bdrv_snapshot_list(bs, &ret);
    if (!bs->drv) {
        error_setg(errp, "Block driver is closed");
        return -ENOMEDIUM;
    }
    if (call.node && !is_idle(call.node, errp)) {
        return -EBUSY;
    }
    if (call.node && has_bitmaps(call.node)) {
        error_setg(errp, "Device has active dirty bitmaps");
        return -EBUSY;
    }
    if (!list) {
        error_setg(errp, "Block driver does not support snapshots");
        return ret;
    }
    if (call.node->read_only) {
        error_setg(errp, "Device '%s' is read only",
                   bdrv_get_device_or_node_name(bs));
        return -EPERM;
    }
    ret = call.node->drv->snapshot->possible(call.node)
        ? bdrv_snapshot_find_any(list, id_or_name) : -ENOTSUP;
    if (ret < 0) {
        ret = ret == -ENOTSUP ? ret : -ENOENT;
        error_setg_errno(errp, -ret, "Failed to load snapshot");
        return ret;
    }
    call.index = ret;
    return snapshot_call(&call);
}

/* The snapshots of @bs; NULL: it has none, and does not support @what. */
static GPtrArray *list_for(BlockDriverState *bs, const char *what, int *ret,
                           Error **errp)
{
    GPtrArray *list = bdrv_snapshot_list(bs, ret);

    if (!list) {
        error_setg(errp, "Block format '%s' used by device '%s' does not "
                   "support %s", bs->drv ? bs->drv->format_name : "",
                   bdrv_get_device_or_node_name(bs), what);
    }
    return list;
}

int bdrv_snapshot_delete(BlockDriverState *bs, const char *id,
                         const char *name, Error **errp)
{
    SnapshotCall call = {
        .verb = SNAPSHOT_DELETE,
        .node = snapshot_node(bs),
        .errp = errp,
    };
    g_autoptr(GPtrArray) list = NULL;
    int ret;

    list = list_for(bs, "internal snapshot deletion", &ret, errp);
    if (!list) {
        return ret;
    }
    ret = bdrv_snapshot_find(list, id, name);
    if (ret < 0) {
        error_setg(errp, "Can't find the snapshot");
        return -ENOENT;
    }
    if (call.node->read_only) {
        error_setg_errno(errp, EPERM,
                         "Failed to remove snapshot from snapshot list");
        return -EPERM;
    }
    call.index = ret;
    return snapshot_call(&call);
}

int bdrv_snapshot_load_tmp(BlockDriverState *bs, const char *id,
                           const char *name, Error **errp)
{
    SnapshotCall call = {
        .verb = SNAPSHOT_LOAD_TMP,
        .node = snapshot_node(bs),
        .errp = errp,
    };
    g_autoptr(GPtrArray) list = NULL;
    int ret;

    list = list_for(bs, "temporarily loading internal snapshots", &ret, errp);
    if (!list) {
        return ret;
    }
    if (!bs->read_only || !call.node->read_only) {
        error_setg(errp, "Device is not readonly");
        return -EINVAL;
    }
    ret = bdrv_snapshot_find(list, id, name);
    if (ret < 0) {
        error_setg(errp, "Can't find snapshot");
        return -ENOENT;
    }
    call.index = ret;
    return snapshot_call(&call);
}

int bdrv_snapshot_read_vm_state(BlockDriverState *bs, const char *name,
                                void *buf, size_t bytes, Error **errp)
{
    SnapshotCall call = {
        .verb = SNAPSHOT_READ_VM_STATE,
        .node = snapshot_node(bs),
        .buf = buf,
        .bytes = bytes,
        .errp = errp,
    };
    g_autoptr(GPtrArray) list = NULL;
    int ret;

    list = bdrv_snapshot_list(bs, &ret);
    ret = list ? bdrv_snapshot_find(list, NULL, name) : -1;
    if (ret < 0) {
        error_setg(errp, "Can't find snapshot");
        return -ENOENT;
    }
    call.index = ret;
    return snapshot_call(&call);
}

/* --- the place for a machine's state --- */

int bdrv_vm_state_pread(BlockDriverState *bs, int64_t offset, void *buf,
                        size_t bytes)
{
    SnapshotCall call = {
        .verb = SNAPSHOT_VM_STATE_PREAD,
        .node = snapshot_node(bs),
        .offset = offset,
        .buf = buf,
        .bytes = bytes,
    };

    return !bs->drv ? -ENOMEDIUM : !call.node ? -ENOTSUP : snapshot_call(&call);
}

int bdrv_vm_state_pwrite(BlockDriverState *bs, int64_t offset, const void *buf,
                         size_t bytes)
{
    SnapshotCall call = {
        .verb = SNAPSHOT_VM_STATE_PWRITE,
        .node = snapshot_node(bs),
        .offset = offset,
        .vm_state = buf,
        .bytes = bytes,
    };

    if (!bs->drv) {
        return -ENOMEDIUM;
    } else if (!call.node) {
        return -ENOTSUP;
    }
    return call.node->read_only ? -EPERM : snapshot_call(&call);
}

/* --- output for users --- */

SnapshotInfo *bdrv_snapshot_info(const BdrvSnapshot *sn)
{
    SnapshotInfo *info = g_new0(SnapshotInfo, 1);

    info->id = g_strdup(sn->id);
    info->name = g_strdup(sn->name);
    info->vm_state_size = sn->vm_state_size;
    info->date_sec = sn->date_sec;
    info->date_nsec = sn->date_nsec;
    info->vm_clock_sec = sn->vm_clock_nsec / NS_PER_SECOND;
    info->vm_clock_nsec = sn->vm_clock_nsec % NS_PER_SECOND;
    info->has_icount = sn->icount != BDRV_SNAPSHOT_NO_ICOUNT;
    info->icount = info->has_icount ? sn->icount : 0;
    return info;
}

SnapshotInfoList *bdrv_snapshot_infos(BlockDriverState *bs)
{
    SnapshotInfoList *infos = NULL, **tail = &infos;
    g_autoptr(GPtrArray) list = NULL;
    int ret;

    list = bdrv_snapshot_list(bs, &ret);
    for (guint i = 0; list && i < list->len; i++) {
        QAPI_LIST_APPEND(tail, bdrv_snapshot_info(list->pdata[i]));
    }
    return infos;
}
