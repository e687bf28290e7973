/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests to a file or device.
 *
 * Block status: asking for the end of a run of data can take long (tmpfs looks
 * at every page), so the last such run is cached.  Holes are not cached: data
 * reported as a hole would be lost, while a hole reported as data only costs
 * time. Therefore writes by others need not invalidate the cache, and a cached
 * run of data may be used.
 */
#include "qemu/osdep.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "block/io.h"
#include "block/request.h"
#include "file-int.h"

/* --- reading and writing --- */

/* A transfer through a buffer that meets the requirements of O_DIRECT. */
static int coroutine_fn bounce(FileState *s, int64_t offset,
                               QEMUIOVector *qiov, bool write, bool dsync)
{
    QEMUIOVector local;
    void *buf = qemu_try_memalign(MAX(s->mem_align, 4096), qiov->size);
    int ret;

    if (!buf) {
        return -ENOMEM;
    }
    qemu_iovec_init_buf(&local, buf, qiov->size);
    if (write) {
        qemu_iovec_to_buf(qiov, 0, buf, qiov->size);
        ret = file_co_pwritev(s->fd, offset, &local, dsync, s->engine);
    } else {
        ret = file_co_preadv(s->fd, offset, &local, s->engine);
        if (ret == 0) {
            qemu_iovec_from_buf(qiov, 0, buf, qiov->size);
        }
    }
    qemu_vfree(buf);
    return ret;
}

static int coroutine_fn transfer_whole(FileState *s, int64_t offset,
                                       QEMUIOVector *qiov, bool write,
                                       bool dsync)
{
    if (file_is_direct(s) && !qemu_iovec_is_aligned(qiov, s->mem_align)) {
        return bounce(s, offset, qiov, write, dsync);
    }
    return write ? file_co_pwritev(s->fd, offset, qiov, dsync, s->engine)
                 : file_co_preadv(s->fd, offset, qiov, s->engine);
}

static int coroutine_fn transfer(FileState *s, int64_t offset, int64_t bytes,
                                 QEMUIOVector *qiov, size_t qiov_offset,
                                 int flags)
{
    bool write = flags & 1, dsync = flags & 2;
    QEMUIOVector part;
    int ret;

    if (qiov_offset == 0 && qiov->size == bytes) {
        return transfer_whole(s, offset, qiov, write, dsync);
    }
    qemu_iovec_init_slice(&part, qiov, qiov_offset, bytes);
    ret = transfer_whole(s, offset, &part, write, dsync);
    qemu_iovec_destroy(&part);
    return ret;
}

int coroutine_fn file_bs_preadv(BlockDriverState *bs, int64_t offset,
                                int64_t bytes, QEMUIOVector *qiov,
                                size_t qiov_offset, BdrvRequestFlags flags)
{
    return transfer(bs->opaque, offset, bytes, qiov, qiov_offset, 0);
}

/*
 * When the kernel could not write a page back it says so once and may then
 * take the page for clean: later flushes would succeed with the data lost.
 */
static bool loses_pages(const FileState *s, int ret)
{
    return ret < 0 && ret != -EINTR && !file_is_direct(s);
}

/*
 * A write that is to be durable reports, and so takes away from later flushes,
 * the error of any page of the file.  An error of the write itself does not
 * matter: it is one if the write fails without the flush, too.  That is not
 * certain where the device fails.
 */
static void coroutine_fn after_durable(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       size_t qiov_offset, int ret)
{
    FileState *s = bs->opaque;

    if (!loses_pages(s, ret) || ret == -EINVAL || ret == -EOPNOTSUPP) {
        return;
    }
    if (ret == -EIO ||
        transfer(s, offset, bytes, qiov, qiov_offset, 1) == 0) {
        s->flush_failed = true;
        bdrv_note_lost_writes(bs); /* not a flush of the core */
    }
}

/*
 * After a write of the last block of a disk whose size is no multiple of what
 * O_DIRECT needs.  Where no parent may resize the node, no request wants it to
 * grow: the file is a disk, which keeps its size.
 */
static int trim_last_block(BlockDriverState *bs, int64_t end)
{
    FileState *s = bs->opaque;
    uint64_t perm, shared;
    struct stat st;

    bdrv_get_cumulative_perm(bs, &perm, &shared);
    if ((perm & BLK_PERM_RESIZE) || fstat(s->fd, &st) < 0 ||
        !S_ISREG(st.st_mode) || st.st_size != end) {
        return 0; /* a longer file: another process has resized it */
    }
    return ftruncate(s->fd, bs->total_bytes) < 0 ? -errno : 0;
}

int coroutine_fn file_bs_pwritev(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags)
{
    bool durable = flags & BDRV_REQ_FUA;
    int ret = transfer(bs->opaque, offset, bytes, qiov, qiov_offset,
                       durable ? 3 : 1);

    if (durable) {
        after_durable(bs, offset, bytes, qiov, qiov_offset, ret);
    }
    if (G_UNLIKELY(ret == 0 && offset + bytes > bs->total_bytes)) {
        ret = trim_last_block(bs, offset + bytes);
    }
    return ret;
}

int coroutine_fn file_bs_flush(BlockDriverState *bs)
{
    FileState *s = bs->opaque;
    int ret;

    if (s->flush_failed) {
        return -EIO;
    }
    ret = file_co_fdatasync(s->fd, s->engine);
    s->flush_failed |= loses_pages(s, ret);
    /* A durable write may have got the error meanwhile. */
    return ret == 0 && s->flush_failed ? -EIO : ret;
}

/* --- zeroes and discard --- */

/* The range may contain holes from now on. */
static void forget_data(FileState *s, int64_t offset, int64_t bytes)
{
    int64_t end = offset + bytes;

    if (end <= s->data_start || offset >= s->data_end) {
        return;
    }
    if (offset - s->data_start > s->data_end - end) {
        s->data_end = offset;
    } else {
        s->data_start = end;
    }
    if (s->data_start >= s->data_end) {
        s->data_start = s->data_end = 0;
    }
}

/* Errors that mean "not supported here", not "failed". */
static bool not_possible(int ret)
{
    return ret == -EOPNOTSUPP || ret == -ENOTSUP || ret == -ENOSYS ||
           ret == -ENOTTY || ret == -ENODEV;
}

/*
 * fallocate(2) that sets *@never if the file system does not support it.  Some
 * refuse single ranges with EINVAL: others may still work.
 */
static int coroutine_fn try_fallocate(FileState *s, bool *never, int mode,
                                      int64_t offset, int64_t bytes)
{
    int ret;

    if (*never) {
        return -ENOTSUP;
    }
    ret = file_co_fallocate(s->fd, mode, offset, bytes);
    if (not_possible(ret)) {
        *never = true;
    }
    return *never || ret == -EINVAL ? -ENOTSUP : ret;
}

static int coroutine_fn punch_hole(FileState *s, int64_t offset,
                                   int64_t bytes)
{
    return try_fallocate(s, &s->no_punch,
                         FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                         bytes);
}

/*
 * Makes the range a hole.  The part past the end of the file is allocated, as
 * an ftruncate() to extend might shrink the file in a race with others.
 */
static int coroutine_fn zero_by_hole(FileState *s, int64_t offset,
                                     int64_t bytes)
{
    int64_t length = file_length(s->fd);
    int ret = 0;

    if (length < 0) {
        return length;
    }
    if (offset < length) {
        ret = punch_hole(s, offset, bytes);
    }
    if (ret == 0 && offset + bytes > length) {
        int64_t start = MAX(offset, length);

        ret = try_fallocate(s, &s->no_fallocate, 0, start,
                            offset + bytes - start);
    }
    return ret;
}

static int coroutine_fn zero_regular(FileState *s, int64_t offset,
                                     int64_t bytes, BdrvRequestFlags flags)
{
    int ret = -ENOTSUP;

    if (flags & BDRV_REQ_MAY_UNMAP) {
        ret = zero_by_hole(s, offset, bytes);
    }
    if (ret == -ENOTSUP) {
        ret = try_fallocate(s, &s->no_zero_range, FALLOC_FL_ZERO_RANGE,
                            offset, bytes);
    }
    if (ret == -ENOTSUP && !s->no_fallocate) {
        ret = zero_by_hole(s, offset, bytes);
        if (ret == 0) {
            /* Keep the space; if that fails the data is zero anyway. */
            try_fallocate(s, &s->no_fallocate, 0, offset, bytes);
        }
    }
    return ret;
}

typedef struct DeviceRange {
    int fd;
    unsigned long op; /* BLKDISCARD, BLKZEROOUT */
    uint64_t range[2];
} DeviceRange;

static int device_range_in_worker(void *opaque)
{
    DeviceRange *job = opaque;
    int ret;

    do {
        ret = ioctl(job->fd, job->op, job->range);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

static int coroutine_fn device_range(FileState *s, unsigned long op,
                                     int64_t offset, int64_t bytes)
{
    DeviceRange job = { .fd = s->fd, .op = op, .range = { offset, bytes } };

    return thread_pool_co_run(device_range_in_worker, &job);
}

static int coroutine_fn zero_device(FileState *s, int64_t offset,
                                    int64_t bytes, BdrvRequestFlags flags)
{
    int ret = -ENOTSUP;

    if (flags & BDRV_REQ_MAY_UNMAP) {
        ret = punch_hole(s, offset, bytes);
    }
    /* The kernel may have to write zeroed pages. */
    if (ret == -ENOTSUP && !(flags & BDRV_REQ_NO_FALLBACK)) {
        ret = device_range(s, BLKZEROOUT, offset, bytes);
    }
    return not_possible(ret) || ret == -EINVAL ? -ENOTSUP : ret;
}

int coroutine_fn file_bs_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, BdrvRequestFlags flags)
{
    FileState *s = bs->opaque;
    int ret;

    if (s->is_device && !s->is_block) {
        return -ENOTSUP;
    }
    ret = s->is_block ? zero_device(s, offset, bytes, flags)
                      : zero_regular(s, offset, bytes, flags);
    forget_data(s, offset, bytes);
    return ret;
}

static int coroutine_fn discard_device(FileState *s, int64_t offset,
                                       int64_t bytes)
{
    int ret;

    if (s->no_blkdiscard || !s->is_block) {
        return -ENOTSUP;
    }
    ret = device_range(s, BLKDISCARD, offset, bytes);
    if (not_possible(ret)) {
        s->no_blkdiscard = true;
        return -ENOTSUP;
    }
    return ret;
}

int coroutine_fn file_bs_pdiscard(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes)
{
    FileState *s = bs->opaque;
    int ret = s->is_device ? discard_device(s, offset, bytes)
                           : punch_hole(s, offset, bytes);

    forget_data(s, offset, bytes);
    if (ret < 0) {
        s->discard_failed++;
    } else {
        s->discard_ok++;
        s->discard_bytes += bytes;
    }
    return ret;
}

/* --- status --- */

/*
 * The first byte of data at or after @offset; INT64_MAX: none, -ENOTSUP:
 * unknown.
 */
static int64_t next_data(FileState *s, int64_t offset)
{
    off_t data;

    if (s->no_seek) {
        return -ENOTSUP;
    }
    data = lseek(s->fd, offset, SEEK_DATA);
    if (data < 0) {
        return errno == ENXIO ? INT64_MAX : -ENOTSUP;
    }
    return data >= offset ? data : -ENOTSUP;
}

/* @offset is data: returns where it ends, and caches the run. */
static int64_t end_of_data(FileState *s, int64_t offset)
{
    off_t hole = lseek(s->fd, offset, SEEK_HOLE);

    if (hole <= offset) {
        return -ENOTSUP; /* the file changed in between, or cannot tell */
    }
    s->data_start = offset;
    s->data_end = hole;
    return hole;
}

/* Finds the run at @offset: returns its end; *@zero is its kind. */
static int64_t find_run(FileState *s, int64_t offset, int64_t limit,
                        int64_t align, bool *zero)
{
    int64_t data, end;

    *zero = false;
    if (offset >= s->data_start && offset < s->data_end) {
        return s->data_end;
    }
    data = next_data(s, offset);
    if (data < 0) {
        return limit;
    }
    end = data < limit ? ROUND_DOWN(data, align) : limit;
    if (end > offset) {
        *zero = true;
        return end;
    }
    end = end_of_data(s, data);
    return end < 0 ? limit : end;
}

int coroutine_fn file_bs_block_status(BlockDriverState *bs, bool want_zero,
                                      int64_t offset, int64_t bytes,
                                      int64_t *pnum, int64_t *map,
                                      BlockDriverState **file)
{
    FileState *s = bs->opaque;
    int64_t align = MAX(bs->bl.request_alignment, 1);
    bool zero = false;
    int64_t end = offset + bytes;

    if (want_zero) {
        end = find_run(s, offset, offset + bytes, align, &zero);
        end = MIN(ROUND_UP(MIN(end, offset + bytes), align), offset + bytes);
    }
    *pnum = end - offset;
    *map = offset;
    *file = bs;
    return (zero ? BDRV_BLOCK_ZERO : BDRV_BLOCK_DATA) |
           BDRV_BLOCK_OFFSET_VALID;
}

/* --- size --- */

static int device_truncate(FileState *s, int64_t offset, bool exact,
                           PreallocMode prealloc, Error **errp)
{
    int64_t length = file_length(s->fd);

    if (prealloc != PREALLOC_MODE_OFF) {
        error_setg(errp, "Preallocation cannot be used with device files");
        return -ENOTSUP;
    }
    if (length < 0) {
        error_setg_errno(errp, -length, "Could not get the size of '%s'",
                         s->path);
        return length;
    }
    if (offset > length) {
        error_setg(errp, "Cannot grow device files");
        return -EINVAL;
    }
    if (exact && offset != length) {
        error_setg(errp, "Cannot resize device files");
        return -ENOTSUP;
    }
    return 0;
}

int coroutine_fn file_bs_truncate(BlockDriverState *bs, int64_t offset,
                                  bool exact, PreallocMode prealloc,
                                  BdrvRequestFlags flags, Error **errp)
{
    FileState *s = bs->opaque;
    int ret;

    if (s->is_device) {
        return device_truncate(s, offset, exact, prealloc, errp);
    }
    ret = file_co_resize(s->fd, offset, prealloc, errp);
    forget_data(s, offset, INT64_MAX - offset);
    return ret;
}

/* --- host I/O --- */

static int host_range(FileState *s, BdrvRequest *r)
{
    int64_t offset = r->offset, bytes = r->bytes;
    size_t align = 1;

    if (file_is_direct(s)) {
        align = MAX(s->mem_align, s->request_align);
        bytes = ROUND_DOWN(bytes, align);
        if (!IS_ALIGNED(offset, align) || bytes == 0) {
            return -ENOTSUP;
        }
    }
    r->host = (BdrvHostRange){
        .kind = BDRV_HOST_FILE, .fd = s->fd, .offset = offset, .bytes = bytes,
        .align = align,
    };
    return 0;
}

int coroutine_fn file_bs_host_read_begin(BlockDriverState *bs, BdrvRequest *r)
{
    FileState *s = bs->opaque;
    int64_t offset = r->offset, data = offset;

    if (offset < s->data_start || offset >= s->data_end) {
        data = next_data(s, offset); /* quick: the end is not searched for */
    }
    if (data > offset) {
        r->host = (BdrvHostRange){
            .kind = BDRV_HOST_ZERO, .fd = -1, .align = 1,
            .bytes = MIN(data - offset, r->bytes),
        };
        return 0;
    }
    return host_range(s, r);
}

int coroutine_fn file_bs_host_write_begin(BlockDriverState *bs,
                                          BdrvRequest *r)
{
    return host_range(bs->opaque, r);
}

/* Zeroes a range that need not stay allocated; new files are sparse there. */
static int coroutine_fn host_write_zeroes(BlockDriverState *bs,
                                          int64_t offset, int64_t bytes)
{
    FileState *s = bs->opaque;
    QEMUIOVector qiov;
    void *buf;
    int ret;

    if (next_data(s, offset) >= offset + bytes &&
        file_length(s->fd) >= offset + bytes) {
        return 0;
    }
    ret = file_bs_pwrite_zeroes(bs, offset, bytes,
                                bs->discard_unmap ? BDRV_REQ_MAY_UNMAP : 0);
    if (ret != -ENOTSUP) {
        return ret;
    }
    buf = qemu_try_memalign(MAX(s->mem_align, 4096), bytes);
    if (!buf) {
        return -ENOMEM;
    }
    memset(buf, 0, bytes);
    qemu_iovec_init_buf(&qiov, buf, bytes);
    ret = transfer_whole(s, offset, &qiov, true, false);
    qemu_vfree(buf);
    return ret;
}

int coroutine_fn file_bs_host_write_end(BlockDriverState *bs, BdrvRequest *r,
                                        int result)
{
    if (result == BDRV_HOST_IS_ZERO) {
        return host_write_zeroes(bs, r->offset, r->bytes);
    }
    return MIN(result, 0);
}
