/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host I/O: the location of data in the host file, for worker threads. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"

/* The clusters of @map are not reused before the end. */
static int coroutine_fn host_read_cluster(BlockDriverState *bs,
                                          BdrvRequest *r, const Qcow2Map *map)
{
    Qcow2State *s = bs->opaque;
    Qcow2Read *read = g_new(Qcow2Read, 1);
    int ret;

    read->offset = map->host;
    read->bytes = map->bytes;
    LIST_INSERT_HEAD(&s->reads, read, next);
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_READ_AIO);
    ret = bdrv_co_host_child(r, s->data, map->host, map->bytes);
    if (ret < 0) {
        LIST_REMOVE(read, next);
        g_free(read);
    } else {
        r->priv = read;
    }
    return ret;
}

int coroutine_fn qcow2_co_host_read_begin(BlockDriverState *bs, BdrvRequest *r)
{
    Qcow2Map map;
    int ret = qcow2_co_map(bs, r->offset, r->bytes, &map);

    if (ret < 0) {
        return ret;
    }
    switch (map.type) {
    case QCOW2_UNALLOCATED:
    case QCOW2_UNWRITTEN:
        return bdrv_co_host_backing(r, map.bytes);
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        return bdrv_co_host_zero(r, map.bytes);
    case QCOW2_NORMAL:
        return ((Qcow2State *)bs->opaque)->crypt
            ? -ENOTSUP : host_read_cluster(bs, r, &map);
    default:
        return -ENOTSUP;
    }
}

void coroutine_fn qcow2_co_host_read_end(BlockDriverState *bs, BdrvRequest *r)
{
    g_autofree Qcow2Read *read = r->priv;

    if (read) {
        LIST_REMOVE(read, next);
    }
}

/* Whole clusters, but the disk may end inside the last one. */
static int64_t whole_clusters(const Qcow2State *s, int64_t offset,
                              int64_t bytes)
{
    if (qcow2_in_cluster(s, offset)) {
        return 0;
    }
    if (offset + bytes == s->size) {
        return bytes;
    }
    return qcow2_start_of_cluster(s, bytes);
}

int coroutine_fn qcow2_co_host_write_begin(BlockDriverState *bs,
                                           BdrvRequest *r)
{
    Qcow2State *s = bs->opaque;
    g_autofree Qcow2Write *w = NULL;
    int64_t bytes = whole_clusters(s, r->offset, r->bytes), whole;
    int ret;

    if (bytes == 0 || s->crypt) {
        return -ENOTSUP;
    }
    w = g_new0(Qcow2Write, 1);
    w->whole = true;
    ret = qcow2_write_begin(bs, r->offset, bytes, w);
    if (ret < 0) {
        return ret;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_WRITE_AIO);
    ret = bdrv_co_host_child(r, s->data, w->host, w->bytes);
    if (ret < 0) {
        (void)qcow2_write_end(bs, w, ret);
        return ret;
    }
    whole = whole_clusters(s, r->offset, r->host.bytes);
    if (whole == 0 || whole < w->bytes) {
        /*
         * The file returned a shorter range.  The request on the file ends with
         * @r, so use the general path: such files are rare.
         */
        (void)qcow2_write_end(bs, w, -ENOTSUP);
        return -ENOTSUP;
    }
    r->priv = g_steal_pointer(&w);
    return 0;
}

/* What is linked of the last cluster after the disk's end must be zero. */
static int coroutine_fn zero_tail(BlockDriverState *bs, const Qcow2Write *w)
{
    const Qcow2State *s = bs->opaque;
    int64_t tail = qcow2_data_end(s, w->to) - (w->offset + w->bytes);

    if (!w->link || tail == 0 || w->beyond) {
        return 0;
    }
    return bdrv_co_pwrite_zeroes(s->data, w->host + w->bytes, tail, 0);
}

/* Writes zeroes to the clusters if the format has no zero clusters. */
static int coroutine_fn end_zero(BlockDriverState *bs, Qcow2Write *w)
{
    Qcow2State *s = bs->opaque;
    int ret;

    if (!qcow2_is_raw(s) && (s->version >= 3 || !qcow2_has_backing(bs))) {
        return qcow2_write_end_zero(bs, w);
    }
    ret = bdrv_co_pwrite_zeroes(s->data, w->host, qcow2_data_end(s, w->op.end) -
                                w->op.start, 0);
    return qcow2_write_end(bs, w, ret);
}

int coroutine_fn qcow2_co_host_write_end(BlockDriverState *bs, BdrvRequest *r,
                                         int result)
{
    g_autofree Qcow2Write *w = r->priv;

    switch (result) {
    case BDRV_HOST_WRITTEN:
        return qcow2_write_end(bs, w, zero_tail(bs, w));
    case BDRV_HOST_IS_ZERO:
        return end_zero(bs, w);
    default:
        return qcow2_write_end(bs, w, result);
    }
}
