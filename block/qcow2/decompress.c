/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading compressed clusters.  Those that follow each other on the disk mostly
 * do so in the file: they are read at once, and worker threads decompress them,
 * each several, to where the caller wants them.
 */
#include "qemu/osdep.h"

#include <zlib.h>
#include <zstd.h>

#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"

/* Clusters that are read at once, and their bytes in the file, unless a single
 * one has more. */
#define BATCH_CLUSTERS 32
#define BATCH_BYTES MiB
/* What may be read between them without being wanted, beside as much again as
 * is wanted. */
#define BATCH_GAPS (64 * KiB)
/* Clusters that are worth another thread, and the most threads. */
#define PART_CLUSTERS 8
#define MOST_PARTS 4

typedef struct Packed {
    uint64_t offset, bytes; /* in the file */
    int64_t skip, wanted;   /* bytes of the cluster */
    size_t at;              /* where they go in the vector */
} Packed;

typedef struct Batch {
    const Qcow2State *s;
    QEMUIOVector *qiov;
    Qcow2Read read; /* the range of the file */
    uint8_t *data;  /* and what is there */
    Packed packed[BATCH_CLUSTERS];
    unsigned n;
    int64_t wanted; /* in all */
    uint64_t stored; /* their bytes in the file */
} Batch;

/* What one worker thread does. */
typedef struct Part {
    Batch *b;
    unsigned first, n;
    z_stream z;
    ZSTD_DCtx *zstd;
    uint8_t *bounce; /* for a cluster that is not wanted as a whole, in one
                        piece; NULL: there was none */
    int ret;
} Part;

/* The source may have bytes of the next cluster after its stream. */
static bool inflate_cluster(Part *part, const uint8_t *src, size_t src_bytes,
                            uint8_t *dest, size_t bytes)
{
    z_stream *z = &part->z;
    int ret = z->state ? inflateReset(z) : inflateInit2(z, -12);

    if (ret == Z_OK) {
        z->next_in = (Bytef *)src;
        z->avail_in = src_bytes;
        z->next_out = dest;
        z->avail_out = bytes;
        ret = inflate(z, Z_FINISH);
    }
    return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && !z->avail_out;
}

static bool zstd_cluster(Part *part, const uint8_t *src, size_t src_bytes,
                         uint8_t *dest, size_t bytes)
{
    ZSTD_outBuffer out = { dest, bytes, 0 };
    ZSTD_inBuffer in = { src, src_bytes, 0 };
    size_t ret = 1;

    if (!part->zstd) {
        part->zstd = ZSTD_createDCtx();
    } else {
        ZSTD_DCtx_reset(part->zstd, ZSTD_reset_session_only);
    }
    while (part->zstd && out.pos < out.size && in.pos < in.size) {
        size_t before = out.pos + in.pos;

        ret = ZSTD_decompressStream(part->zstd, &out, &in);
        if (ZSTD_isError(ret) || out.pos + in.pos == before) {
            break;
        }
    }
    return part->zstd && !ZSTD_isError(ret) && out.pos == out.size;
}

/* @bytes at @at of the vector if they are one piece of memory, else NULL. */
static uint8_t *one_piece(const QEMUIOVector *qiov, size_t at, size_t bytes)
{
    for (int i = 0; i < qiov->niov; i++) {
        const struct iovec *iov = &qiov->iov[i];

        if (at < iov->iov_len) {
            return bytes <= iov->iov_len - at ? (uint8_t *)iov->iov_base + at
                                              : NULL;
        }
        at -= iov->iov_len;
    }
    return NULL;
}

static int decompress_one(Part *part, const Packed *p)
{
    Batch *b = part->b;
    const uint8_t *src = b->data + (p->offset - b->read.offset);
    size_t bytes = b->s->cluster_size;
    uint8_t *dest = p->wanted == b->s->cluster_size
                    ? one_piece(b->qiov, p->at, bytes) : NULL;
    uint8_t *buf = dest;

    if (!buf) {
        if (!part->bounce) {
            part->bounce = g_try_malloc(bytes);
        }
        buf = part->bounce;
    }
    if (!buf) {
        return -ENOMEM;
    }
    if (!(b->s->compression_type == 0
          ? inflate_cluster(part, src, p->bytes, buf, bytes)
          : zstd_cluster(part, src, p->bytes, buf, bytes))) {
        return -EIO;
    }
    if (!dest) {
        qemu_iovec_from_buf(b->qiov, p->at, buf + p->skip, p->wanted);
    }
    return 0;
}

/* In a worker thread. */
static int decompress_part(void *opaque)
{
    Part *part = opaque;
    int ret = 0;

    for (unsigned i = 0; ret == 0 && i < part->n; i++) {
        ret = decompress_one(part, &part->b->packed[part->first + i]);
    }
    if (part->z.state) {
        inflateEnd(&part->z);
    }
    ZSTD_freeDCtx(part->zstd);
    g_free(part->bounce);
    return ret;
}

static void coroutine_fn part_entry(void *opaque)
{
    Part *part = opaque;

    part->ret = thread_pool_co_run(decompress_part, part);
}

static int coroutine_fn decompress_all(Batch *b)
{
    unsigned parts = CLAMP(b->n / PART_CLUSTERS, 1U, (unsigned)MOST_PARTS);
    Part part[MOST_PARTS] = { 0 };
    int ret = 0;

    for (unsigned i = 0; i < parts; i++) {
        part[i].b = b;
        part[i].first = i * b->n / parts;
        part[i].n = (i + 1) * b->n / parts - part[i].first;
    }
    co_run_all(part_entry, part, parts, sizeof(part[0]));
    for (unsigned i = 0; ret == 0 && i < parts; i++) {
        ret = part[i].ret;
    }
    return ret;
}

/* Adds the cluster of @map, for @at bytes after the first; false: it does not
 * fit in. */
static bool batch_add(Batch *b, const Qcow2Map *map, int64_t offset, size_t at)
{
    const Qcow2State *s = b->s;
    Packed *p = &b->packed[b->n];
    uint64_t start, end;

    qcow2_compressed_range(map->entry.desc, s->cluster_bits, &p->offset,
                           &p->bytes);
    if (!range_fits(p->offset, p->bytes, QCOW2_MAX_HOST_OFFSET)) {
        return false;
    }
    start = p->offset;
    end = p->offset + p->bytes;
    if (b->n) {
        start = MIN(start, b->read.offset);
        end = MAX(end, b->read.offset + b->read.bytes);
        if (end - start > BATCH_BYTES ||
            end - start > 2 * (b->stored + p->bytes) + BATCH_GAPS) {
            return false;
        }
    }
    p->skip = qcow2_in_cluster(s, offset);
    p->wanted = map->bytes;
    p->at = at;
    b->read.offset = start;
    b->read.bytes = end - start;
    b->wanted += map->bytes;
    b->stored += p->bytes;
    b->n++;
    return true;
}

/* None of the clusters is reused, from when its entry was looked up. */
static void coroutine_fn batch_collect(BlockDriverState *bs, Batch *b,
                                       int64_t offset, int64_t bytes,
                                       size_t at)
{
    while (b->n < BATCH_CLUSTERS && b->wanted < bytes) {
        Qcow2Map map;

        if (qcow2_co_map(bs, offset + b->wanted, bytes - b->wanted,
                         &map) < 0 || map.type != QCOW2_TYPE_COMPRESSED ||
            !batch_add(b, &map, offset + b->wanted, at + b->wanted)) {
            return; /* the caller comes across it */
        }
    }
}

int64_t coroutine_fn qcow2_read_compressed(BlockDriverState *bs,
                                           const Qcow2Map *map, int64_t offset,
                                           int64_t bytes, QEMUIOVector *qiov,
                                           size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    g_autofree Batch *b = g_new0(Batch, 1);
    int ret;

    b->s = s;
    b->qiov = qiov;
    if (!batch_add(b, map, offset, qiov_offset)) {
        return -EIO;
    }
    LIST_INSERT_HEAD(&s->reads, &b->read, next);
    batch_collect(bs, b, offset, bytes, qiov_offset);
    b->data = g_try_malloc(b->read.bytes);
    ret = b->data ? 0 : -ENOMEM;
    if (ret == 0) {
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_READ_COMPRESSED);
        ret = bdrv_co_pread(bs->file, b->read.offset, b->read.bytes, b->data,
                            0);
    }
    if (ret >= 0) {
        ret = decompress_all(b);
    }
    LIST_REMOVE(&b->read, next);
    g_free(b->data);
    return ret < 0 ? ret : b->wanted;
}
