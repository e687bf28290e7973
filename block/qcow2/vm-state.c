/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The place for the state of a machine: clusters after the end of the disk, to
 * which the last entries of the L1 table refer.
 *
 * They are no part of the disk: a backing file that is longer than it does not
 * show there, so that they are read here.  They are written as whole clusters,
 * as the functions that write a part of one stop at the end of the disk.  The
 * node is drained.
 */
#include "qemu/osdep.h"

#include "block/graph.h"
#include "block/io.h"
#include "block/qcow2/image-int.h"
#include "block/qcow2/io-int.h"
#include "block/qcow2/l2-int.h"
#include "block/qcow2/qcow2-int.h"
#include "block/qcow2/snapshot-int.h"

/* The first byte of the place, counted as those of the disk are. */
static int64_t vm_state_start(const Qcow2State *s, int64_t disk_size)
{
    return (int64_t)qcow2_l1_entries(s, disk_size)
           << (s->cluster_bits + s->l2_bits);
}

int coroutine_fn qcow2_read_vm_area(BlockDriverState *bs, int64_t pos,
                                    size_t bytes, void *buf)
{
    Qcow2State *s = bs->opaque;
    QEMUIOVector qiov;
    size_t done = 0;
    int ret = 0;

    qemu_iovec_init_buf(&qiov, buf, bytes);
    while (ret == 0 && done < bytes) {
        Qcow2Map map = { .bytes = bytes - done };
        int64_t at = pos + done;
        bool there = at < qcow2_table_end(s);

        if (there) {
            ret = qcow2_co_map(bs, at, MIN(map.bytes, qcow2_table_end(s) - at),
                               &map);
        }
        if (ret == 0 && (!there || qcow2_shows_backing(map.type))) {
            qemu_iovec_memset(&qiov, done, 0, map.bytes);
        } else if (ret == 0) {
            ret = qcow2_co_preadv(bs, at, map.bytes, &qiov, done, 0);
        }
        done += map.bytes;
    }
    return ret;
}

/* Writes whole clusters. */
static int coroutine_fn write_clusters(BlockDriverState *bs, int64_t pos,
                                       size_t bytes, const void *buf)
{
    QEMUIOVector qiov;

    if (bytes == 0) {
        return 0;
    }
    qemu_iovec_init_buf(&qiov, (void *)buf, bytes);
    return qcow2_co_pwritev(bs, pos, bytes, &qiov, 0, 0);
}

/* Writes to a part of one cluster. */
static int coroutine_fn write_part(BlockDriverState *bs, int64_t pos,
                                   size_t bytes, const void *buf)
{
    const Qcow2State *s = bs->opaque;
    int64_t in_cluster = qcow2_in_cluster(s, pos);
    uint8_t *cluster = bdrv_try_blockalign(bs, s->cluster_size);
    int ret = cluster ? qcow2_read_vm_area(bs, pos - in_cluster,
                                           s->cluster_size, cluster)
                      : -ENOMEM;

    if (ret == 0) {
        memcpy(cluster + in_cluster, buf, bytes);
        ret = write_clusters(bs, pos - in_cluster, s->cluster_size, cluster);
    }
    qemu_vfree(cluster);
    return ret;
}

/*
 * Where @offset of the state is, so that @bytes fit; -EFBIG: no image has a
 * table for that.
 */
static int64_t state_place(const Qcow2State *s, int64_t offset, size_t bytes)
{
    int64_t start = vm_state_start(s, s->size);
    int64_t limit = (int64_t)(QCOW2_MAX_L1_BYTES / 8)
                    << (s->cluster_bits + s->l2_bits);

    return start > limit || offset > limit - start ||
           bytes > (uint64_t)(limit - start - offset) ? -EFBIG
                                                      : start + offset;
}

int coroutine_fn qcow2_co_vm_state_pwrite(BlockDriverState *bs, int64_t offset,
                                          const void *buf, size_t bytes)
{
    Qcow2State *s = bs->opaque;
    int64_t pos = state_place(s, offset, bytes);
    const uint8_t *p = buf;
    int ret;

    if (s->external) {
        return -ENOTSUP; /* that file would grow past the end of the disk */
    }
    if (pos < 0 || bytes == 0) {
        return MIN(pos, 0);
    }
    co_mutex_lock(&s->lock);
    ret = s->broken ? -EIO
                    : qcow2_grow_l1(bs, qcow2_l1_entries(s, pos + bytes));
    co_mutex_unlock(&s->lock);
    while (ret == 0 && bytes > 0) {
        int64_t rest = s->cluster_size - qcow2_in_cluster(s, pos);
        size_t n = bytes & ~(s->cluster_size - 1);

        if (qcow2_in_cluster(s, pos) || n == 0) {
            n = MIN(bytes, (uint64_t)rest);
            ret = write_part(bs, pos, n, p);
        } else {
            ret = write_clusters(bs, pos, n, p);
        }
        p += n;
        pos += n;
        bytes -= n;
    }
    return ret;
}

int coroutine_fn qcow2_co_vm_state_pread(BlockDriverState *bs, int64_t offset,
                                         void *buf, size_t bytes)
{
    const Qcow2State *s = bs->opaque;
    int64_t pos = state_place(s, offset, bytes);

    if (s->external) {
        return -ENOTSUP;
    }
    if (pos < 0) {
        memset(buf, 0, bytes); /* it has never been written */
        return 0;
    }
    return qcow2_read_vm_area(bs, pos, bytes, buf);
}
