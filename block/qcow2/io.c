/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Data requests: reading, writing with copy-on-write, flushing, status. */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/alloc-int.h"
#include "block/qcow2/crypt-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/refcount-int.h"

/* --- reading --- */

/* Reads from the backing file; the part past its end is zero. */
static int coroutine_fn read_backing(BlockDriverState *bs, int64_t offset,
                                     int64_t bytes, QEMUIOVector *qiov,
                                     size_t qiov_offset)
{
    int64_t len = bs->backing ? bdrv_getlength(bs->backing->bs) : 0;
    int64_t n;

    if (len < 0) {
        return len;
    }
    n = CLAMP(len - offset, 0, bytes);
    if (n < bytes) {
        qemu_iovec_memset(qiov, qiov_offset + n, 0, bytes - n);
    }
    if (n == 0) {
        return 0;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_READ_BACKING_AIO);
    return bdrv_co_preadv(bs->backing, offset, n, qiov, qiov_offset, 0);
}

/* Reads data of a cluster, which is not reused before the end. */
static int coroutine_fn read_cluster(BlockDriverState *bs, const Qcow2Map *map,
                                     int64_t offset, QEMUIOVector *qiov,
                                     size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;
    Qcow2Read read = { .offset = map->host, .bytes = map->bytes };
    int ret;

    LIST_INSERT_HEAD(&s->reads, &read, next);
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_READ_AIO);
    ret = s->crypt
        ? qcow2_crypt_preadv(bs, map->host, offset, map->bytes, qiov,
                             qiov_offset)
        : bdrv_co_preadv(s->data, map->host, map->bytes, qiov, qiov_offset,
                         0);
    LIST_REMOVE(&read, next);
    return ret;
}

/* Reads the run that @map describes. */
static int coroutine_fn read_run(BlockDriverState *bs, const Qcow2Map *map,
                                 int64_t offset, QEMUIOVector *qiov,
                                 size_t qiov_offset)
{
    switch (map->type) {
    case QCOW2_UNALLOCATED:
    case QCOW2_UNWRITTEN:
        return read_backing(bs, offset, map->bytes, qiov, qiov_offset);
    case QCOW2_ZERO_PLAIN:
    case QCOW2_ZERO_ALLOC:
        qemu_iovec_memset(qiov, qiov_offset, 0, map->bytes);
        return 0;
    case QCOW2_NORMAL:
        return read_cluster(bs, map, offset, qiov, qiov_offset);
    default:
        return -EIO;
    }
}

int coroutine_fn qcow2_co_preadv(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags)
{
    int ret = 0;

    while (ret >= 0 && bytes > 0) {
        Qcow2Map map;

        ret = qcow2_co_map(bs, offset, bytes, &map);
        if (ret < 0) {
            break;
        }
        if (map.type == QCOW2_TYPE_COMPRESSED) {
            /* With those that follow. */
            int64_t done = qcow2_read_compressed(bs, &map, offset, bytes, qiov,
                                                 qiov_offset);

            ret = MIN(done, 0);
            map.bytes = MAX(done, 0);
        } else {
            ret = read_run(bs, &map, offset, qiov, qiov_offset);
        }
        offset += map.bytes;
        bytes -= map.bytes;
        qiov_offset += map.bytes;
    }
    return ret < 0 ? ret : 0;
}

/* --- writing --- */

/* Does the range read as zeroes, according to the mapping? */
static int coroutine_fn range_is_zero(BlockDriverState *bs, int64_t offset,
                                      int64_t bytes)
{
    Qcow2State *s = bs->opaque;
    int64_t backing = bs->backing ? bdrv_getlength(bs->backing->bs) : 0;

    bytes = MIN(bytes, s->size - offset);
    while (bytes > 0) {
        Qcow2Map map;
        int ret = qcow2_co_map(bs, offset, bytes, &map);

        if (ret < 0) {
            return ret;
        }
        if (map.type == QCOW2_NORMAL || map.type == QCOW2_TYPE_COMPRESSED ||
            (qcow2_shows_backing(map.type) && offset < backing)) {
            return 0;
        }
        offset += map.bytes;
        bytes -= map.bytes;
    }
    return 1;
}

/* The old content around the new data of clusters about to be linked. */
static int coroutine_fn cow_read(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, void *buf)
{
    Qcow2State *s = bs->opaque;
    int64_t n = CLAMP(s->size - offset, 0, bytes);
    QEMUIOVector qiov;

    memset((uint8_t *)buf + n, 0, bytes - n); /* past the disk's end */
    if (n == 0) {
        return 0;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_COW_READ);
    qemu_iovec_init_buf(&qiov, buf, n);
    return qcow2_co_preadv(bs, offset, n, &qiov, 0, 0);
}

static int coroutine_fn write_file(BlockDriverState *bs, uint64_t host,
                                   int64_t offset, int64_t bytes,
                                   QEMUIOVector *qiov, size_t qiov_offset)
{
    Qcow2State *s = bs->opaque;

    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_WRITE_AIO);
    return s->crypt
        ? qcow2_crypt_pwritev(bs, host, offset, bytes, qiov, qiov_offset)
        : bdrv_co_pwritev(s->data, host, bytes, qiov, qiov_offset, 0);
}

/* The data to copy beside that of one step. */
typedef struct Cow {
    int64_t head, tail; /* bytes before and after */
    bool zero;          /* all of it is zeroes */
} Cow;

/* Writes the data and that around it in one request. */
static int coroutine_fn write_merged(BlockDriverState *bs, Qcow2Write *w,
                                     const Cow *cow, QEMUIOVector *qiov,
                                     size_t qiov_offset)
{
    const Qcow2State *s = bs->opaque;
    QEMUIOVector merged;
    uint8_t *buf = bdrv_try_blockalign(s->data->bs, cow->head + cow->tail);
    int ret = 0;

    if (!buf) {
        return -ENOMEM;
    }
    if (cow->zero) {
        memset(buf, 0, cow->head + cow->tail);
    } else {
        ret = cow_read(bs, w->from, cow->head, buf);
        if (ret >= 0) {
            ret = cow_read(bs, w->offset + w->bytes, cow->tail,
                           buf + cow->head);
        }
        bdrv_debug_event(bs->file, BLKDEBUG_EVENT_COW_WRITE);
    }
    if (ret >= 0) {
        qemu_iovec_init(&merged, qiov->niov + 2);
        if (cow->head) {
            qemu_iovec_add(&merged, buf, cow->head);
        }
        qemu_iovec_concat(&merged, qiov, qiov_offset, w->bytes);
        if (cow->tail) {
            qemu_iovec_add(&merged, buf + cow->head, cow->tail);
        }
        ret = write_file(bs, w->host - cow->head, w->from, merged.size,
                         &merged, 0);
        qemu_iovec_destroy(&merged);
    }
    qemu_vfree(buf);
    return ret;
}

/*
 * Is the file zero around the data, or can that be done cheaply?  Then only the
 * data is written.
 */
static bool coroutine_fn cow_zeroes_are_there(BlockDriverState *bs,
                                              Qcow2Write *w, const Cow *cow)
{
    const Qcow2State *s = bs->opaque;
    int64_t bytes = cow->head + w->bytes + cow->tail, n;

    if (!cow->zero || s->crypt) {
        return false;
    }
    if (w->beyond) {
        return true; /* the file has no content there */
    }
    if (s->external &&
        bdrv_co_reads_as_zero(s->data->bs, w->host - cow->head, bytes, &n) &&
        n == bytes) {
        return true;
    }
    if (cow->head + cow->tail < 32 * KiB) {
        return false;
    }
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_CLUSTER_ALLOC_SPACE);
    return bdrv_co_pwrite_zeroes(s->data, w->host - cow->head, bytes,
                                 BDRV_REQ_NO_FALLBACK) == 0;
}

/* Transfers the data of a step. */
static int coroutine_fn write_data(BlockDriverState *bs, Qcow2Write *w,
                                   QEMUIOVector *qiov, size_t qiov_offset)
{
    const Qcow2State *s = bs->opaque;
    Cow cow = {
        .head = w->offset - w->from,
        .tail = qcow2_data_end(s, w->to) - (w->offset + w->bytes),
    };

    if (cow.head || cow.tail) {
        int ret = range_is_zero(bs, w->from, cow.head);

        if (ret > 0) {
            ret = range_is_zero(bs, w->offset + w->bytes, cow.tail);
        }
        if (ret < 0) {
            return ret;
        }
        cow.zero = ret;
        if (!cow_zeroes_are_there(bs, w, &cow)) {
            return write_merged(bs, w, &cow, qiov, qiov_offset);
        }
    }
    return write_file(bs, w->host, w->offset, w->bytes, qiov, qiov_offset);
}

int coroutine_fn qcow2_co_pwritev(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes, QEMUIOVector *qiov,
                                  size_t qiov_offset, BdrvRequestFlags flags)
{
    int ret = 0;

    while (ret >= 0 && bytes > 0) {
        Qcow2Write w = { .whole = false };

        ret = qcow2_write_begin(bs, offset, bytes, &w);
        if (ret < 0) {
            break;
        }
        ret = write_data(bs, &w, qiov, qiov_offset);
        ret = qcow2_write_end(bs, &w, MIN(ret, 0));
        offset += w.bytes;
        bytes -= w.bytes;
        qiov_offset += w.bytes;
    }
    return ret < 0 ? ret : 0;
}

int coroutine_fn qcow2_co_flush(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    int ret;

    co_mutex_lock(&s->lock);
    bdrv_debug_event(bs->file, BLKDEBUG_EVENT_FLUSH_TO_OS);
    ret = qcow2_apply_frees(bs);
    if (ret < 0) {
        s->lost_told = s->lost_seen; /* what it may have failed for */
    }
    co_mutex_unlock(&s->lock);
    return ret < 0 ? ret : qcow2_flush_told(bs);
}

/* --- status --- */

#define SAMPLES 16
#define SAMPLE_BYTES (16 * MiB)
#define FEW_QUERIES (4 * MiB) /* of a file, however scattered its clusters */

/*
 * Is a part of the file a hole, or space that was never written, so that it is
 * worth a query for each run of clusters?  What the host has allocated does not
 * tell of the latter (preallocation=falloc), so that some places are examined.
 */
static bool coroutine_fn examine_file(BlockDriverState *file)
{
    int64_t length = bdrv_getlength(file), part = length / SAMPLES;
    int64_t allocated = bdrv_get_allocated_file_size(file);
    int64_t zero = 0, all = 0;

    if (length <= 0 || allocated < 0) {
        return false;
    }
    if (length <= FEW_QUERIES || length - allocated > length / 16) {
        return true;
    }
    for (int i = 0; i < SAMPLES && part >= 4 * KiB; i++) {
        int64_t n;
        bool is_zero = bdrv_co_reads_as_zero(file, i * part,
                                             MIN(part, SAMPLE_BYTES), &n);

        all += n;
        zero += is_zero ? n : 0;
    }
    return zero > all / 16;
}

/*
 * Does the file have holes where clusters are allocated (preallocated
 * metadata)?  Then it may report zeroes that the mapping does not.  A query
 * costs a system call for each run, on some file systems one that examines
 * every page, so it is made only if some of a larger file is holes.
 */
static bool coroutine_fn file_is_sparse(BlockDriverState *bs)
{
    Qcow2State *s = bs->opaque;

    if (s->file_sparse < 0) {
        s->file_sparse = examine_file(s->data->bs);
    }
    return s->file_sparse;
}

/* The clusters are not reused before the file has answered. */
static bool coroutine_fn zero_in_file(BlockDriverState *bs,
                                      const Qcow2Map *map, int64_t *pnum)
{
    Qcow2State *s = bs->opaque;
    Qcow2Read read = { .offset = map->host, .bytes = map->bytes };
    bool zero;

    LIST_INSERT_HEAD(&s->reads, &read, next);
    zero = bdrv_co_reads_as_zero(s->data->bs, map->host, map->bytes, pnum);
    LIST_REMOVE(&read, next);
    return zero;
}

int coroutine_fn qcow2_co_block_status(BlockDriverState *bs, bool want_zero,
                                       int64_t offset, int64_t bytes,
                                       int64_t *pnum, int64_t *map,
                                       BlockDriverState **file)
{
    Qcow2State *s = bs->opaque;
    Qcow2Map m;
    int ret = qcow2_co_map(bs, offset, bytes, &m);
    /* What is in an encrypted file is not what is on the disk. */
    int valid = s->crypt ? 0 : BDRV_BLOCK_OFFSET_VALID;

    if (ret < 0) {
        return ret;
    }
    *pnum = m.bytes;
    *map = m.host;
    *file = s->data->bs;
    switch (m.type) {
    case QCOW2_UNALLOCATED:
        return 0;
    case QCOW2_UNWRITTEN:
        return valid; /* nothing is there, but it will be */
    case QCOW2_ZERO_PLAIN:
        return BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED;
    case QCOW2_ZERO_ALLOC:
        return BDRV_BLOCK_ZERO | BDRV_BLOCK_ALLOCATED | valid;
    case QCOW2_TYPE_COMPRESSED:
        return BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED |
               BDRV_BLOCK_COMPRESSED;
    default:
        ret = BDRV_BLOCK_DATA | BDRV_BLOCK_ALLOCATED | valid;
        if (want_zero && valid && file_is_sparse(bs) &&
            zero_in_file(bs, &m, pnum)) {
            ret |= BDRV_BLOCK_ZERO;
        }
        return ret;
    }
}
