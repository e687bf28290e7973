/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests on images that map blocks of the disk to places in files. */
#include "qemu/osdep.h"
#include <zlib.h>
#ifdef CONFIG_BZIP2
#include <bzlib.h>
#endif
#include "block/mapped.h"
#include "block/graph.h"
#include "block/request.h"
#include "qemu/aio.h"
#include "qemu/error.h"

/* How much of a table is read at once. */
#define TABLE_PIECE (16 * MiB)

/* So many blocks are looked up for one request without a pause. */
#define MAX_BLOCKS 256

void mapped_init(MappedImage *m, const MappedOps *ops, int64_t size,
                 int64_t block)
{
    m->ops = ops;
    m->size = size;
    m->block = block;
    co_mutex_init(&m->lock);
}

static int coroutine_fn map_run(BlockDriverState *bs, int64_t offset,
                                int64_t bytes, MappedRun *run)
{
    MappedImage *m = bs->opaque;

    int ret;

    *run = (MappedRun) {
        .bytes = bytes,
        .start = m->block ? offset - offset % m->block : 0,
        .whole = m->block ? m->block : INT64_MAX,
        .file = bs->file,
    };
    run->bytes = MIN(bytes, run->start + run->whole - offset);
    ret = m->ops->map(bs, offset, run);
    if (ret >= 0) {
        run->bytes = MIN(run->bytes, run->start + run->whole - offset);
    }
    return ret;
}

/* Is @next, which begins where @run ends on the disk, more of the same? */
static bool continues(const MappedRun *run, const MappedRun *next)
{
    if (run->kind != next->kind || run->kind == MAPPED_OTHER) {
        return false;
    }
    /* Places come from the image: the sum may wrap. */
    return run->kind != MAPPED_DATA ||
           (run->file == next->file &&
            (uint64_t)run->host + run->bytes == (uint64_t)next->host);
}

/* The same for several blocks, which follow each other in the file, too. */
static int coroutine_fn map_runs(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, MappedRun *run)
{
    int ret = map_run(bs, offset, bytes, run);

    for (int n = 1; ret >= 0 && n < MAX_BLOCKS && run->bytes < bytes; n++) {
        MappedRun next;

        /* An error there concerns who reads there. */
        if (map_run(bs, offset + run->bytes, bytes - run->bytes, &next) < 0 ||
            !continues(run, &next)) {
            break;
        }
        run->bytes += next.bytes;
    }
    return ret;
}

/* --- reading --- */

/* Reads from the backing file; what it lacks is zero. */
static int coroutine_fn read_hole(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset)
{
    int64_t len = bs->backing ? bdrv_getlength(bs->backing->bs) : 0;
    int64_t n;

    if (len < 0) {
        return len;
    }
    n = CLAMP(len - offset, 0, bytes);
    qemu_iovec_memset(qiov, qiov_offset + n, 0, bytes - n);
    return n ? bdrv_co_preadv(bs->backing, offset, n, qiov, qiov_offset, 0)
             : 0;
}

static int coroutine_fn read_run(BlockDriverState *bs, int64_t offset,
                                 const MappedRun *run, QEMUIOVector *qiov,
                                 size_t qiov_offset)
{
    const MappedImage *m = bs->opaque;

    switch (run->kind) {
    case MAPPED_HOLE:
        return read_hole(bs, offset, run->bytes, qiov, qiov_offset);
    case MAPPED_ZERO:
        qemu_iovec_memset(qiov, qiov_offset, 0, run->bytes);
        return 0;
    case MAPPED_DATA:
        return bdrv_co_preadv(run->file, run->host, run->bytes, qiov,
                              qiov_offset, 0);
    case MAPPED_OTHER:
        return m->ops->read_other(bs, offset, run, qiov, qiov_offset);
    }
    g_assert_not_reached();
}

int coroutine_fn mapped_co_preadv(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags)
{
    int ret = 0;

    while (ret >= 0 && bytes > 0) {
        MappedRun run;

        ret = map_runs(bs, offset, bytes, &run);
        if (ret < 0) {
            break;
        }
        ret = read_run(bs, offset, &run, qiov, qiov_offset);
        offset += run.bytes;
        bytes -= run.bytes;
        qiov_offset += run.bytes;
    }
    return ret < 0 ? ret : 0;
}

/* Blocks keep their place in the file, so that nothing need be held. */
int coroutine_fn mapped_co_host_read_begin(BlockDriverState *bs,
                                           BdrvRequest *r)
{
    MappedRun run;
    int ret = map_runs(bs, r->offset, r->bytes, &run);

    if (ret < 0) {
        return ret;
    }
    switch (run.kind) {
    case MAPPED_HOLE:
        return bdrv_co_host_backing(r, run.bytes);
    case MAPPED_ZERO:
        return bdrv_co_host_zero(r, run.bytes);
    case MAPPED_DATA:
        return bdrv_co_host_child(r, run.file, run.host, run.bytes);
    case MAPPED_OTHER:
        return -ENOTSUP;
    }
    g_assert_not_reached();
}

/* --- writing --- */

/* Does the block read as zeroes where it is not written? */
static bool reads_zero(BlockDriverState *bs, const MappedRun *run,
                       int64_t start)
{
    return run->kind == MAPPED_ZERO ||
           (run->kind == MAPPED_HOLE &&
            (!bs->backing || start >= bs->backing->bs->total_bytes));
}

/* A new block, or several in a row, that get data. */
typedef struct NewBlock {
    MappedRun run; /* the first, as it was */
    BdrvChild *file;
    int64_t host;
    int64_t offset, bytes; /* of the data, on the disk */
    QEMUIOVector *qiov;
    size_t qiov_offset;
} NewBlock;

/*
 * A new block that reads as zeroes.  The file may have old content there; past
 * its end a hole takes less space than zeroes that are written.
 */
static int coroutine_fn make_fresh(const NewBlock *n)
{
    int64_t end = n->host + n->run.whole;
    int64_t length = bdrv_getlength(n->file->bs), inside;

    if (length < 0) {
        return length;
    }
    inside = CLAMP(length - n->host, 0, n->run.whole);
    /* Not every file reads as zeroes where it has grown: an encrypted one. */
    if (inside < n->run.whole &&
        bdrv_co_truncate(n->file, end, false, PREALLOC_MODE_OFF,
                         BDRV_REQ_ZERO_WRITE, NULL) < 0) {
        inside = n->run.whole;
    }
    return !inside ? 0 : bdrv_co_pwrite_zeroes(n->file, n->host, inside,
                                               BDRV_REQ_MAY_UNMAP);
}

/* Writes the data and, around it, zeroes. */
static int coroutine_fn write_fresh(const NewBlock *n)
{
    int ret = n->bytes < n->run.whole ? make_fresh(n) : 0;

    return ret < 0 ? ret
        : bdrv_co_pwritev(n->file, n->host + n->offset - n->run.start,
                          n->bytes, n->qiov, n->qiov_offset, 0);
}

/* Writes the data and, around it, the old content. */
static int coroutine_fn write_copied(BlockDriverState *bs, const NewBlock *n)
{
    const MappedImage *m = bs->opaque;
    int64_t there = MIN(n->run.whole, m->size - n->run.start);
    uint8_t *buf = bdrv_try_blockalign(n->file->bs, n->run.whole);
    QEMUIOVector old;
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    memset(buf + there, 0, n->run.whole - there);
    qemu_iovec_init_buf(&old, buf, there);
    ret = mapped_co_preadv(bs, n->run.start, there, &old, 0, 0);
    if (ret == 0) {
        qemu_iovec_to_buf(n->qiov, n->qiov_offset,
                          buf + n->offset - n->run.start, n->bytes);
        ret = bdrv_co_pwrite(n->file, n->host, n->run.whole, buf, 0);
    }
    qemu_vfree(buf);
    return ret;
}

/*
 * How many bytes of @bytes, from the start of the block @run on, are whole
 * blocks that can get places one after the other: at least that block.
 */
static int64_t coroutine_fn new_blocks(BlockDriverState *bs,
                                       const MappedRun *run, int64_t bytes)
{
    const MappedImage *m = bs->opaque;
    int64_t n = run->whole;

    while (m->ops->appends && bytes - n >= run->whole &&
           n / run->whole < MAX_BLOCKS) {
        MappedRun next;
        int ret = map_run(bs, run->start + n, bytes - n, &next);

        if (ret < 0 || next.kind == MAPPED_DATA || next.file != run->file ||
            next.whole != run->whole) {
            break;
        }
        n += run->whole;
    }
    return n;
}

/*
 * Under the lock: the blocks of @n, which have been written, are there.
 * *@done: so many bytes, at least the first block, or -errno is returned.
 */
static int coroutine_fn link_blocks(BlockDriverState *bs, const NewBlock *n,
                                    int64_t *done)
{
    const MappedOps *ops = ((MappedImage *)bs->opaque)->ops;
    int64_t at = n->run.whole;
    int ret = ops->link(bs, n->run.start, n->file, n->host);

    for (; ret == 0 && at < n->bytes; at += n->run.whole) {
        BdrvChild *file = bs->file;
        int64_t host;

        /* What has another place is written there by the next round. */
        if (ops->allocate(bs, n->run.start + at, &file, &host) < 0 ||
            file != n->file || host != n->host + at) {
            break;
        }
        ret = ops->link(bs, n->run.start + at, file, host);
    }
    *done = MIN(at, n->bytes);
    return ret;
}

/*
 * Writes to blocks that have no place; they may have got one by now.  *@bytes
 * is reduced to what has been written.
 */
static int coroutine_fn write_new(BlockDriverState *bs, int64_t offset,
                                  int64_t *bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset)
{
    MappedImage *m = bs->opaque;
    NewBlock n = {
        .file = bs->file, .offset = offset,
        .qiov = qiov, .qiov_offset = qiov_offset,
    };
    int64_t most = *bytes;
    int ret;

    CO_MUTEX_GUARD(&m->lock);
    ret = map_run(bs, offset, most, &n.run);
    n.bytes = *bytes = n.run.bytes;
    if (ret == 0 && n.run.kind == MAPPED_DATA) {
        return bdrv_co_pwritev(n.run.file, n.run.host, n.bytes, qiov,
                               qiov_offset, 0);
    }
    if (ret == 0) {
        ret = m->ops->allocate
            ? m->ops->allocate(bs, n.run.start, &n.file, &n.host) : -ENOTSUP;
    }
    if (ret == 0 && n.bytes == n.run.whole) {
        n.bytes = new_blocks(bs, &n.run, most);
    }
    if (ret == 0) {
        ret = reads_zero(bs, &n.run, n.run.start) || n.bytes >= n.run.whole
            ? write_fresh(&n) : write_copied(bs, &n);
    }
    return ret < 0 ? ret : link_blocks(bs, &n, bytes);
}

int coroutine_fn mapped_co_pwritev(BlockDriverState *bs, int64_t offset,
                                   int64_t bytes, QEMUIOVector *qiov,
                                   size_t qiov_offset, BdrvRequestFlags flags)
{
    int ret = 0;

    while (ret >= 0 && bytes > 0) {
        MappedRun run;

        ret = map_runs(bs, offset, bytes, &run);
        if (ret < 0) {
            break;
        }
        ret = run.kind == MAPPED_DATA
            ? bdrv_co_pwritev(run.file, run.host, run.bytes, qiov,
                              qiov_offset, 0)
            : write_new(bs, offset, &run.bytes, qiov, qiov_offset);
        offset += run.bytes;
        bytes -= run.bytes;
        qiov_offset += run.bytes;
    }
    return ret < 0 ? ret : 0;
}

static int coroutine_fn make_zero(BlockDriverState *bs, int64_t start)
{
    MappedImage *m = bs->opaque;

    CO_MUTEX_GUARD(&m->lock);
    return m->ops->make_zero(bs, start);
}

int coroutine_fn mapped_co_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                         int64_t bytes, BdrvRequestFlags flags)
{
    const MappedImage *m = bs->opaque;
    int ret = 0;

    while (ret >= 0 && bytes > 0) {
        MappedRun run;

        ret = map_run(bs, offset, bytes, &run);
        if (ret < 0) {
            break;
        }
        if (run.kind == MAPPED_DATA) {
            ret = bdrv_co_pwrite_zeroes(run.file, run.host, run.bytes, flags);
        } else if (!reads_zero(bs, &run, offset)) {
            bool all = offset == run.start &&
                       run.bytes == MIN(run.whole, m->size - offset);

            ret = all && m->ops->make_zero ? make_zero(bs, offset) : -ENOTSUP;
        }
        offset += run.bytes;
        bytes -= run.bytes;
    }
    return ret < 0 ? ret : 0;
}

/* Blocks keep their place, as other programs expect it; the file loses data. */
int coroutine_fn mapped_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                    int64_t bytes)
{
    int ret = 0;

    while (ret >= 0 && bytes > 0) {
        MappedRun run;

        ret = map_run(bs, offset, bytes, &run);
        if (ret == 0 && run.kind == MAPPED_DATA) {
            ret = bdrv_co_pdiscard(run.file, run.host, run.bytes);
        }
        offset += run.bytes;
        bytes -= run.bytes;
    }
    return ret < 0 ? ret : 0;
}

/* --- information --- */

static int coroutine_fn data_status(const MappedRun *run, bool want_zero,
                                    int64_t *pnum, int64_t *map,
                                    BlockDriverState **file)
{
    int flags = BDRV_BLOCK_DATA | BDRV_BLOCK_OFFSET_VALID;

    *map = run->host;
    *file = run->file->bs;
    if (want_zero && bdrv_co_reads_as_zero(*file, run->host, run->bytes,
                                           pnum)) {
        flags |= BDRV_BLOCK_ZERO;
    }
    return flags;
}

int coroutine_fn mapped_co_block_status(BlockDriverState *bs, bool want_zero,
                                        int64_t offset, int64_t bytes,
                                        int64_t *pnum, int64_t *map,
                                        BlockDriverState **file)
{
    MappedRun run;
    int ret = map_runs(bs, offset, bytes, &run);

    if (ret < 0) {
        return ret;
    }
    *pnum = run.bytes;
    switch (run.kind) {
    case MAPPED_HOLE:
        return bs->drv->supports_backing ? 0 : BDRV_BLOCK_ZERO;
    case MAPPED_ZERO:
        return BDRV_BLOCK_ZERO;
    case MAPPED_OTHER:
        return BDRV_BLOCK_DATA | BDRV_BLOCK_COMPRESSED;
    case MAPPED_DATA:
        return data_status(&run, want_zero, pnum, map, file);
    }
    g_assert_not_reached();
}

int64_t mapped_getlength(BlockDriverState *bs)
{
    const MappedImage *m = bs->opaque;

    return m->size;
}

int mapped_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    const MappedImage *m = bs->opaque;

    info->cluster_size = m->block;
    return 0;
}

/* --- checking --- */

/* A block with a place at @host. */
static void check_place(BdrvCheckResult *result, const MappedImage *m,
                        HBitmap *used, int64_t number, int64_t host,
                        int64_t length)
{
    if (host < 0 || host + m->block > length) {
        fprintf(stderr, "ERROR cluster %" PRId64 " is outside image\n",
                number);
        result->corruptions++;
    } else if (hbitmap_get(used, host / m->block)) {
        fprintf(stderr, "ERROR cluster %" PRId64 " has the place of another "
                "one\n", number);
        result->corruptions++;
    } else {
        hbitmap_set(used, host / m->block, 1);
    }
}

int coroutine_fn mapped_check_blocks(BlockDriverState *bs,
                                     BdrvCheckResult *result, int fix,
                                     int64_t *end)
{
    const MappedImage *m = bs->opaque;
    int64_t length = bdrv_getlength(bs->file->bs), last = 0;
    g_autoptr(HBitmap) used = NULL;

    if (fix || length < 0) {
        return length < 0 ? length : -ENOTSUP;
    }
    used = hbitmap_try_new(length / m->block + 1, 1);
    if (!used) {
        return -ENOMEM;
    }
    *end = 0;
    result->total_clusters = DIV_ROUND_UP(m->size, m->block);
    for (int64_t i = 0; i < result->total_clusters; i++) {
        MappedRun run;
        int ret = map_run(bs, i * m->block, m->block, &run);

        if (ret < 0 || run.kind == MAPPED_DATA) {
            check_place(result, m, used, i, ret < 0 ? -1 : run.host, length);
        }
        if (ret == 0 && run.kind == MAPPED_DATA) {
            result->allocated_clusters++;
            result->fragmented_clusters += last && last + m->block != run.host;
            last = run.host;
            *end = MAX(*end, run.host + m->block);
        }
    }
    return 0;
}

/* --- writing back --- */

int coroutine_fn mapped_co_flush(BlockDriverState *bs)
{
    MappedImage *m = bs->opaque;

    if (!m->ops->write_back) {
        return 0;
    }
    CO_MUTEX_GUARD(&m->lock);
    return m->ops->write_back(bs);
}

typedef struct CloseCall {
    BlockDriverState *bs;
    int ret;
} CloseCall;

static void coroutine_fn close_entry(void *opaque)
{
    CloseCall *call = opaque;

    call->ret = mapped_co_flush(call->bs);
}

void mapped_close(BlockDriverState *bs)
{
    CloseCall call = {bs, 0};
    Error *err = NULL;

    aio_run_co(bs->ctx, close_entry, &call);
    if (call.ret < 0) {
        error_setg_errno(&err, -call.ret,
                         "Failed to write back the metadata");
        bdrv_close_error(bs, err);
    }
}

/* --- tables --- */

int map_table_load(BlockDriverState *bs, MapTable *t, const char *name,
                   uint64_t offset, uint64_t bytes, Error **errp)
{
    int64_t length = bdrv_getlength(bs->file->bs);
    int ret = 0;

    if (length < 0 || !range_fits(offset, bytes, length)) {
        error_setg(errp, "%s (%" PRIu64 " bytes at %" PRIu64 ") exceeds the "
                   "image file", name, bytes, offset);
        return -EINVAL;
    }
    t->offset = offset;
    t->bytes = bytes;
    t->raw = g_try_malloc(MAX(bytes, 1));
    t->dirty = hbitmap_try_new(bytes, 4096);
    if (!t->raw || !t->dirty) {
        error_setg(errp, "Not enough memory for the table of %" PRIu64
                   " bytes", bytes);
        return -ENOMEM;
    }
    for (uint64_t at = 0; ret >= 0 && at < bytes; at += TABLE_PIECE) {
        ret = bdrv_pread(bs->file, offset + at, MIN(TABLE_PIECE, bytes - at),
                         t->raw + at);
    }
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the table of %" PRIu64
                         " bytes at %" PRIu64, bytes, offset);
        return ret;
    }
    return 0;
}

void map_table_mark(MapTable *t, uint64_t pos, uint64_t bytes)
{
    hbitmap_set(t->dirty, pos, bytes);
}

int coroutine_fn map_table_write_back(BlockDriverState *bs, MapTable *t)
{
    int64_t at, bytes;

    while (hbitmap_next_dirty_area(t->dirty, 0, t->bytes, TABLE_PIECE, &at,
                                   &bytes)) {
        int ret = bdrv_co_pwrite(bs->file, t->offset + at, bytes, t->raw + at,
                                 0);

        if (ret < 0) {
            return ret;
        }
        hbitmap_reset(t->dirty, at, bytes);
    }
    return 0;
}

void map_table_free(MapTable *t)
{
    g_free(t->raw);
    hbitmap_free(t->dirty);
}

/* --- reading only --- */

static int make_read_only(BlockDriverState *bs, Error **errp)
{
    if (bs->read_only || bs->auto_read_only) {
        bdrv_turn_read_only(bs);
        return 0;
    }
    error_setg(errp, "Images of the format '%s' can only be read",
               bs->drv->format_name);
    return -EACCES;
}

int mapped_stay_read_only(BdrvReopenState *state, Error **errp)
{
    return make_read_only(state->bs, errp);
}

int mapped_open_read_only(BlockDriverState *bs, const BlockdevRef *file,
                          const char *what, void *header, size_t bytes,
                          Error **errp)
{
    int ret;

    if (!bdrv_open_child(bs, file, "file", BDRV_CHILD_IMAGE, errp)) {
        return -EINVAL;
    }
    ret = make_read_only(bs, errp);
    if (ret < 0) {
        return ret;
    }
    ret = bytes ? bdrv_pread(bs->file, 0, bytes, header) : 0;
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the %s header", what);
    }
    return MIN(ret, 0);
}

/* An image may have pieces of several sizes at one place. */
static bool is_cached(const MapCache *c, uint64_t offset, uint32_t bytes)
{
    return c->raw && c->offset == offset && c->bytes == bytes;
}

/* Takes @raw. */
static const uint8_t *cache_set(MapCache *c, uint64_t offset, uint32_t bytes,
                                uint8_t *raw)
{
    g_free(c->raw);
    c->raw = raw;
    c->offset = offset;
    c->bytes = bytes;
    return raw;
}

static uint8_t *coroutine_fn read_file(BlockDriverState *bs, uint64_t offset,
                                       uint32_t bytes, bool whole, int *ret)
{
    int64_t length = bdrv_getlength(bs->file->bs);
    uint8_t *raw;

    if (length < 0 || !range_fits(offset, whole ? bytes : 1, length)) {
        *ret = -EIO;
        return NULL;
    }
    raw = g_try_malloc(bytes);
    *ret = raw ? bdrv_co_pread(bs->file, offset, bytes, raw, 0) : -ENOMEM;
    if (*ret < 0) {
        g_free(raw);
        return NULL;
    }
    return raw;
}

const uint8_t *coroutine_fn map_cache_read(BlockDriverState *bs, MapCache *c,
                                           uint64_t offset, uint32_t bytes,
                                           int *ret)
{
    uint8_t *raw;

    *ret = 0;
    if (is_cached(c, offset, bytes)) {
        return c->raw;
    }
    raw = read_file(bs, offset, bytes, true, ret);
    return raw ? cache_set(c, offset, bytes, raw) : NULL;
}

typedef struct UnpackJob {
    uint8_t *src, *dest;
    uint32_t src_bytes, dest_bytes;
    MapPacking packing;
    int ret;
} UnpackJob;

#ifdef CONFIG_BZIP2
bool map_has_bzip2(void)
{
    return true;
}

static int bunzip_run(UnpackJob *job)
{
    bz_stream z = {
        .next_in = (char *)job->src, .avail_in = job->src_bytes,
        .next_out = (char *)job->dest, .avail_out = job->dest_bytes,
    };
    int ret = -EIO;

    if (BZ2_bzDecompressInit(&z, 0, 0) == BZ_OK) {
        int code = BZ2_bzDecompress(&z);

        if ((code == BZ_OK || code == BZ_STREAM_END) && !z.avail_out) {
            ret = 0;
        }
        BZ2_bzDecompressEnd(&z);
    }
    return ret;
}
#else
bool map_has_bzip2(void)
{
    return false;
}

static int bunzip_run(UnpackJob *job)
{
    return -ENOTSUP;
}
#endif

static int inflate_run(UnpackJob *job)
{
    z_stream z = {
        .next_in = job->src, .avail_in = job->src_bytes,
        .next_out = job->dest, .avail_out = job->dest_bytes,
    };

    int ret = -EIO;

    if (inflateInit2(&z, job->packing == MAP_ZLIB ? 15 : -12) == Z_OK) {
        int code = inflate(&z, Z_FINISH);

        if ((code == Z_STREAM_END || code == Z_BUF_ERROR) && !z.avail_out) {
            ret = 0;
        }
        inflateEnd(&z);
    }
    return ret;
}

/* In a worker thread. */
static int unpack_job(void *opaque)
{
    UnpackJob *job = opaque;

    job->ret = job->packing == MAP_BZIP2 ? bunzip_run(job) : inflate_run(job);
    return 0;
}

const uint8_t *coroutine_fn map_cache_unpack(BlockDriverState *bs, MapCache *c,
                                             uint64_t offset, uint32_t bytes,
                                             uint32_t out_bytes,
                                             MapPacking packing, int *ret)
{
    g_autofree uint8_t *src = NULL, *dest = NULL;
    UnpackJob job;

    *ret = 0;
    if (is_cached(c, offset, out_bytes)) {
        return c->raw;
    }
    src = read_file(bs, offset, bytes, false, ret);
    dest = src ? g_try_malloc(out_bytes) : NULL;
    if (!dest) {
        *ret = *ret < 0 ? *ret : -ENOMEM;
        return NULL;
    }
    job = (UnpackJob) {
        .src = src, .dest = dest, .src_bytes = bytes,
        .dest_bytes = out_bytes, .packing = packing,
    };
    *ret = thread_pool_co_run(unpack_job, &job);
    *ret = *ret < 0 ? *ret : job.ret;
    return *ret < 0 ? NULL
        : cache_set(c, offset, out_bytes, g_steal_pointer(&dest));
}

void map_cache_free(MapCache *c)
{
    g_free(c->raw);
}
