/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writing compressed clusters: raw deflate (window 4 KiB) or zstd, packed
 * without gaps at byte granularity.  Worker threads compress several at once;
 * then each gets its place, one after the other.
 */
#include "qemu/osdep.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* Clusters of a request that are compressed at a time, and the memory for
 * that. */
#define AT_ONCE 8
#define AT_ONCE_BYTES (8 * MiB)

/* What it takes to compress one cluster.  It is expensive to set up, and kept
 * for the next. */
typedef struct PackTools {
    uint8_t *src, *dest;
    z_stream z;
    ZSTD_CCtx *zstd;
} PackTools;

/* A request, whose clusters get their places in order. */
typedef struct Compress {
    BlockDriverState *bs;
    int64_t offset, bytes;
    QEMUIOVector *qiov;
    size_t qiov_offset;
    int64_t next;  /* bytes that workers have begun with */
    int64_t turn;  /* and that have their places */
    CoQueue queue; /* waits for its turn */
    int ret;
} Compress;

/* One of the coroutines that compress. */
typedef struct Packer {
    Compress *c;
    PackTools *tools;
    int64_t pos, bytes; /* the cluster, in the request */
    bool zero;
    ssize_t packed; /* bytes in tools->dest, or -errno */
} Packer;

static void tools_free(void *opaque)
{
    PackTools *t = opaque;

    if (t->z.state) {
        deflateEnd(&t->z);
    }
    ZSTD_freeCCtx(t->zstd);
    g_free(t->src);
    g_free(t->dest);
    g_free(t);
}

void qcow2_free_pack_tools(Qcow2State *s)
{
    g_clear_pointer(&s->pack_tools, g_ptr_array_unref);
}

static PackTools *tools_get(Qcow2State *s)
{
    PackTools *t;

    if (!s->pack_tools) {
        s->pack_tools = g_ptr_array_new_with_free_func(tools_free);
    }
    if (s->pack_tools->len) {
        return g_ptr_array_steal_index_fast(s->pack_tools,
                                            s->pack_tools->len - 1);
    }
    t = g_new0(PackTools, 1);
    t->src = g_try_malloc(s->cluster_size);
    t->dest = g_try_malloc(s->cluster_size);
    if (!t->src || !t->dest) {
        tools_free(t);
        return NULL;
    }
    return t;
}

static void tools_put(Qcow2State *s, PackTools *t)
{
    if (t && s->pack_tools->len < AT_ONCE) {
        g_ptr_array_add(s->pack_tools, t);
    } else if (t) {
        tools_free(t);
    }
}

static ssize_t deflate_cluster(PackTools *p, size_t size)
{
    z_stream *z = &p->z;
    int ret = z->state ? deflateReset(z)
        : deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9,
                       Z_DEFAULT_STRATEGY);

    if (ret != Z_OK) {
        return -EIO;
    }
    z->next_in = p->src;
    z->avail_in = size;
    z->next_out = p->dest;
    z->avail_out = size - 1;
    ret = deflate(z, Z_FINISH);
    return ret == Z_STREAM_END ? (ssize_t)(size - 1 - z->avail_out)
           : ret == Z_OK || ret == Z_BUF_ERROR ? -ENOSPC : -EIO;
}

static ssize_t zstd_cluster(PackTools *p, size_t size)
{
    size_t n;

    if (!p->zstd) {
        p->zstd = ZSTD_createCCtx();
    }
    if (!p->zstd) {
        return -ENOMEM;
    }
    n = ZSTD_compressCCtx(p->zstd, p->dest, size - 1, p->src, size,
                          ZSTD_CLEVEL_DEFAULT);
    return !ZSTD_isError(n) ? (ssize_t)n
           : ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall ? -ENOSPC
                                                                 : -EIO;
}

/* In a worker thread.  The data is copied, as a guest may change it. */
static int pack(void *opaque)
{
    Packer *p = opaque;
    const Compress *c = p->c;
    const Qcow2State *s = c->bs->opaque;
    size_t size = s->cluster_size;
    uint8_t *src = p->tools->src;

    qemu_iovec_to_buf(c->qiov, c->qiov_offset + p->pos, src, p->bytes);
    memset(src + p->bytes, 0, size - p->bytes);
    p->zero = buffer_is_zero(src, size);
    if (!p->zero) {
        p->packed = s->compression_type == 0 ? deflate_cluster(p->tools, size)
                                             : zstd_cluster(p->tools, size);
    }
    return 0;
}

/*
 * Allocates space for @bytes of compressed data: after that of the last one if
 * its cluster has room (its refcount is raised) or in new clusters.
 */
static int coroutine_fn alloc_packed(BlockDriverState *bs, uint64_t bytes,
                                     uint64_t *offset)
{
    Qcow2State *s = bs->opaque;
    uint64_t pos = s->byte_offset, count, rc = 0;
    int ret;

    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_CLUSTER_ALLOC_BYTES);
    if (pos && qcow2_in_cluster(s, pos) &&
        bytes <= s->cluster_size - qcow2_in_cluster(s, pos)) {
        ret = qcow2_get_refcount(bs, pos >> s->cluster_bits, &rc);
        if (ret < 0) {
            return ret;
        }
    }
    if (rc > 0 && rc < s->refcount_max) {
        ret = qcow2_update_refcount(bs, pos, bytes, 1);
    } else {
        ret = qcow2_alloc_run(bs, 1, 1, &pos, &count);
        s->high_water = MAX(s->high_water, pos + s->cluster_size);
    }
    if (ret < 0) {
        return ret;
    }
    *offset = pos;
    s->byte_offset = pos + bytes;
    return 0;
}

/* The L2 entry for @bytes of data at @offset, which has no subclusters. */
static Qcow2Entry compressed_entry(const Qcow2State *s, uint64_t offset,
                                   uint64_t bytes)
{
    unsigned shift = 62 - (s->cluster_bits - 8);
    uint64_t sectors = ((offset + bytes - 1) >> 9) - (offset >> 9);

    return (Qcow2Entry){ QCOW2_COMPRESSED | offset | sectors << shift, 0 };
}

/* The next cluster of the request may get its place. */
static void pass_turn(const Packer *p)
{
    p->c->turn = MAX(p->c->turn, p->pos + p->bytes);
    co_queue_wake_all(&p->c->queue);
}

static void coroutine_fn wait_for_turn(const Packer *p)
{
    while (p->c->turn < p->pos && p->c->ret == 0) {
        co_queue_wait(&p->c->queue, NULL);
    }
}

/* Allocates, writes and links one compressed cluster. */
static int coroutine_fn write_packed(const Packer *p)
{
    BlockDriverState *bs = p->c->bs;
    Qcow2State *s = bs->opaque;
    int64_t offset = p->c->offset + p->pos;
    uint64_t host, lost;
    Qcow2Op op;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    if (s->broken) {
        return -EIO;
    }
    qcow2_op_begin(bs, &op, offset, s->cluster_size);
    ret = qcow2_limit_frees(bs);
    if (ret == 0) {
        ret = qcow2_prepare_l2(bs, offset);
    }
    if (ret == 0) {
        ret = alloc_packed(bs, p->packed, &host);
    }
    if (ret == 0) {
        op.fresh = host;
        op.fresh_bytes = p->packed;
        lost = qcow2_lost_writes(bs);
        pass_turn(p);
        co_mutex_unlock(&s->lock);
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_WRITE_COMPRESSED);
        ret = bdrv_co_pwrite(bs->file, host, p->packed, p->tools->dest, 0);
        co_mutex_lock(&s->lock);
        if (ret >= 0 && qcow2_lost_writes(bs) != lost) {
            ret = -EIO;
        }
        if (ret < 0) {
            op.fresh_bytes = 0;
            qcow2_free_now(bs, host, p->packed);
        } else {
            bdrv_debug_event(bs->file, BLKDEBUG_EVENT_L2_UPDATE_COMPRESSED);
            ret = qcow2_set_entry(bs, offset,
                                  compressed_entry(s, host, p->packed), false,
                                  false);
        }
    }
    qcow2_op_end(&op);
    return ret < 0 ? ret : 0;
}

static int coroutine_fn write_one(const Packer *p)
{
    const Compress *c = p->c;
    int64_t offset = c->offset + p->pos;

    if (p->zero) {
        int ret = qcow2_co_pwrite_zeroes(c->bs, offset, p->bytes,
                                         BDRV_REQ_MAY_UNMAP);

        if (ret != -ENOTSUP) {
            return ret;
        }
    }
    if (p->zero || p->packed == -ENOSPC) { /* incompressible */
        return qcow2_co_pwritev(c->bs, offset, p->bytes, c->qiov,
                                c->qiov_offset + p->pos, 0);
    }
    return p->packed < 0 ? p->packed : write_packed(p);
}

/* Compresses and writes clusters until there are no more. */
static void coroutine_fn packer_entry(void *opaque)
{
    Packer *p = opaque;
    Compress *c = p->c;
    Qcow2State *s = c->bs->opaque;
    int ret;

    p->tools = tools_get(s);
    ret = p->tools ? 0 : -ENOMEM;
    while (ret == 0 && c->ret == 0 && c->next < c->bytes) {
        p->pos = c->next;
        p->bytes = MIN(c->bytes - p->pos, s->cluster_size);
        c->next += p->bytes;
        ret = thread_pool_co_run(pack, p);
        wait_for_turn(p);
        if (ret == 0 && c->ret == 0) {
            ret = write_one(p);
        }
        pass_turn(p);
    }
    if (ret < 0 && c->ret == 0) {
        c->ret = ret;
        co_queue_wake_all(&c->queue);
    }
    tools_put(s, p->tools);
}

int coroutine_fn qcow2_co_pwritev_compressed(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov,
                                             size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    Compress c = { bs, offset, bytes, qiov, qiov_offset };
    int64_t n = DIV_ROUND_UP(bytes, s->cluster_size);
    Packer packers[AT_ONCE] = { 0 };

    if (qcow2_in_cluster(s, offset) ||
        (qcow2_in_cluster(s, bytes) && offset + bytes != s->size)) {
        return -EINVAL;
    }
    if (s->crypt || s->external) {
        return -ENOTSUP; /* compressed data is not encrypted, and has no place
                            in an external data file */
    }
    co_queue_init(&c.queue);
    n = MIN(n, CLAMP(AT_ONCE_BYTES / (2 * s->cluster_size), 1, AT_ONCE));
    for (int64_t i = 0; i < n; i++) {
        packers[i].c = &c;
    }
    if (n) {
        co_run_all(packer_entry, packers, n, sizeof(packers[0]));
    }
    return c.ret;
}
