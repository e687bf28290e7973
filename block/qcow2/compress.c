/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters: raw deflate (window 4 KiB) or zstd frames, packed
 * without gaps at byte granularity.  Worker threads compress and decompress.
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

typedef struct CompressJob {
    uint8_t *dest;
    size_t dest_size;
    const uint8_t *src;
    size_t src_size;
    ssize_t result; /* bytes in dest, or -errno */
} CompressJob;

static int deflate_run(void *opaque)
{
    CompressJob *job = opaque;
    z_stream z = {
        .next_in = (Bytef *)job->src,
        .avail_in = job->src_size,
        .next_out = job->dest,
        .avail_out = job->dest_size,
    };

    job->result = -EIO;
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -12, 9,
                     Z_DEFAULT_STRATEGY) == Z_OK) {
        int ret = deflate(&z, Z_FINISH);

        job->result = ret == Z_STREAM_END
            ? (ssize_t)(job->dest_size - z.avail_out)
            : ret == Z_OK || ret == Z_BUF_ERROR ? -ENOSPC : -EIO;
        deflateEnd(&z);
    }
    return 0;
}

/* The source may have bytes of the next cluster after its stream. */
static int inflate_run(void *opaque)
{
    CompressJob *job = opaque;
    z_stream z = {
        .next_in = (Bytef *)job->src,
        .avail_in = job->src_size,
        .next_out = job->dest,
        .avail_out = job->dest_size,
    };

    job->result = -EIO;
    if (inflateInit2(&z, -12) == Z_OK) {
        int ret = inflate(&z, Z_FINISH);

        if ((ret == Z_STREAM_END || ret == Z_BUF_ERROR) && !z.avail_out) {
            job->result = job->dest_size;
        }
        inflateEnd(&z);
    }
    return 0;
}

static int zstd_compress_run(void *opaque)
{
    CompressJob *job = opaque;
    size_t n = ZSTD_compress(job->dest, job->dest_size, job->src,
                             job->src_size, ZSTD_CLEVEL_DEFAULT);

    job->result = !ZSTD_isError(n) ? (ssize_t)n
        : ZSTD_getErrorCode(n) == ZSTD_error_dstSize_tooSmall ? -ENOSPC
                                                              : -EIO;
    return 0;
}

static int zstd_decompress_run(void *opaque)
{
    CompressJob *job = opaque;
    ZSTD_outBuffer out = { job->dest, job->dest_size, 0 };
    ZSTD_inBuffer in = { job->src, job->src_size, 0 };
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    size_t ret = 1;

    job->result = -EIO;
    while (ctx && out.pos < out.size && in.pos < in.size) {
        size_t before = out.pos + in.pos;

        ret = ZSTD_decompressStream(ctx, &out, &in);
        if (ZSTD_isError(ret) || out.pos + in.pos == before) {
            break;
        }
    }
    if (ctx && !ZSTD_isError(ret) && out.pos == out.size) {
        job->result = job->dest_size;
    }
    ZSTD_freeDCtx(ctx);
    return 0;
}

static ssize_t coroutine_fn run_job(const Qcow2State *s, CompressJob *job,
                                    bool compress)
{
    ThreadPoolFunc *fn = s->compression_type == 0
        ? (compress ? deflate_run : inflate_run)
        : (compress ? zstd_compress_run : zstd_decompress_run);
    int ret = thread_pool_co_run(fn, job);

    return ret < 0 ? ret : job->result;
}

int coroutine_fn qcow2_read_compressed(BlockDriverState *bs, uint64_t entry,
                                       uint8_t *buf)
{
    Qcow2State *s = bs->opaque;
    uint64_t offset, bytes;
    g_autofree uint8_t *src = NULL;
    CompressJob job;
    ssize_t ret;

    qcow2_compressed_range(entry, s->cluster_bits, &offset, &bytes);
    if (!range_fits(offset, bytes, QCOW2_MAX_HOST_OFFSET)) {
        return -EIO;
    }
    src = g_try_malloc0(bytes);
    if (!src) {
        return -ENOMEM;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_READ_COMPRESSED);
    ret = bdrv_co_pread(bs->file, offset, bytes, src, 0);
    if (ret < 0) {
        return ret;
    }
    job = (CompressJob){
        .dest = buf,
        .dest_size = s->cluster_size,
        .src = src,
        .src_size = bytes,
    };
    ret = run_job(s, &job, false);
    return ret < 0 ? -EIO : 0;
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

/* Allocates, writes and links one compressed cluster. */
static int coroutine_fn write_packed(BlockDriverState *bs, int64_t offset,
                                     const uint8_t *data, size_t bytes)
{
    Qcow2State *s = bs->opaque;
    uint64_t host;
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
        ret = alloc_packed(bs, bytes, &host);
    }
    if (ret == 0) {
        op.fresh = host;
        op.fresh_bytes = bytes;
        co_mutex_unlock(&s->lock);
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_WRITE_COMPRESSED);
        ret = bdrv_co_pwrite(bs->file, host, bytes, data, 0);
        co_mutex_lock(&s->lock);
        if (ret < 0) {
            op.fresh_bytes = 0;
            qcow2_free_now(bs, host, bytes);
        } else {
            ret = qcow2_set_entry(bs, offset,
                                  compressed_entry(s, host, bytes), false,
                                  false);
        }
    }
    qcow2_op_end(&op);
    return ret < 0 ? ret : 0;
}

static int coroutine_fn compress_one(BlockDriverState *bs, int64_t offset,
                                     int64_t bytes, QEMUIOVector *qiov,
                                     size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    g_autofree uint8_t *src = g_try_malloc0(s->cluster_size);
    g_autofree uint8_t *dest = g_try_malloc(s->cluster_size);
    CompressJob job = { dest, s->cluster_size - 1, src, s->cluster_size, 0 };
    ssize_t n;

    if (!src || !dest) {
        return -ENOMEM;
    }
    qemu_iovec_to_buf(qiov, qiov_offset, src, bytes);
    if (buffer_is_zero(src, s->cluster_size)) {
        int ret = qcow2_co_pwrite_zeroes(bs, offset, bytes,
                                         BDRV_REQ_MAY_UNMAP);
        if (ret != -ENOTSUP) {
            return ret;
        }
    }
    n = run_job(s, &job, true);
    if (n == -ENOSPC) { /* incompressible */
        return qcow2_co_pwritev(bs, offset, bytes, qiov, qiov_offset, 0);
    }
    return n < 0 ? n : write_packed(bs, offset, dest, n);
}

int coroutine_fn qcow2_co_pwritev_compressed(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             QEMUIOVector *qiov,
                                             size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    int ret = 0;

    if (qcow2_in_cluster(s, offset) ||
        (qcow2_in_cluster(s, bytes) && offset + bytes != s->size)) {
        return -EINVAL;
    }
    if (s->crypt || s->external) {
        return -ENOTSUP; /* compressed data is not encrypted, and has no place
                            in an external data file */
    }
    while (ret == 0 && bytes > 0) {
        int64_t n = MIN(bytes, s->cluster_size);

        ret = compress_one(bs, offset, n, qiov, qiov_offset);
        offset += n;
        bytes -= n;
        qiov_offset += n;
    }
    return ret;
}
