/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Creating a file, and changing its size. */
#include "qemu/osdep.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "file-int.h"
#include "qapi/qapi-types-block-image.h"

#define DEFAULT_EXTENT_SIZE_HINT MiB

typedef struct ResizeJob {
    int fd;
    int64_t bytes;
    PreallocMode prealloc;
    const char *what; /* the step that failed */
} ResizeJob;

/* Writes zeroes to [@from, @to) of @fd, so that all its space is allocated. */
static int write_zeroes(int fd, int64_t from, int64_t to)
{
    g_autofree char *buf = g_malloc0(MiB);
    int ret = 0;

    while (ret == 0 && from < to) {
        ssize_t n = pwrite(fd, buf, MIN(to - from, MiB), from);

        if (n < 0 && errno != EINTR) {
            ret = -errno;
        }
        from += n > 0 ? n : 0;
    }
    return ret == 0 && fsync(fd) < 0 ? -errno : ret;
}

/* The same for @fd that may use O_DIRECT, which odd sizes do not suit. */
static int write_zeroes_buffered(int fd, int64_t from, int64_t to)
{
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", fd);
    int flags = fcntl(fd, F_GETFL), other, ret;

    if (flags < 0 || !(flags & O_DIRECT)) {
        return write_zeroes(fd, from, to);
    }
    other = open(self, O_WRONLY | O_CLOEXEC);
    if (other < 0) {
        return -errno;
    }
    ret = write_zeroes(other, from, to);
    close(other);
    return ret;
}

static int preallocate(ResizeJob *job, int64_t old)
{
    switch (job->prealloc) {
    case PREALLOC_MODE_FALLOC:
        job->what = "Could not preallocate space for the file";
        return -posix_fallocate(job->fd, old, job->bytes - old);
    case PREALLOC_MODE_FULL:
        job->what = "Could not write zeroes to preallocate the file";
        return write_zeroes_buffered(job->fd, old, job->bytes);
    default:
        return 0;
    }
}

static int resize_in_worker(void *opaque)
{
    ResizeJob *job = opaque;
    int64_t old = file_length(job->fd);
    int ret;

    job->what = "Failed to resize the file";
    if (old < 0) {
        return old;
    }
    if (job->bytes < old && job->prealloc != PREALLOC_MODE_OFF) {
        job->what = "Preallocation cannot be used for shrinking files";
        return -EINVAL;
    }
    if (job->bytes > old) {
        ret = preallocate(job, old);
        if (ret < 0) {
            if (ftruncate(job->fd, old) < 0) {
                job->what = "Could not preallocate, nor restore the old size";
            }
            return ret;
        }
    }
    return ftruncate(job->fd, job->bytes) < 0 ? -errno : 0;
}

int coroutine_fn file_co_resize(int fd, int64_t bytes, PreallocMode prealloc,
                                Error **errp)
{
    ResizeJob job = { .fd = fd, .bytes = bytes, .prealloc = prealloc };
    int ret;

    if (prealloc == PREALLOC_MODE_METADATA) {
        error_setg(errp, "Unsupported preallocation mode: metadata");
        return -ENOTSUP;
    }
    ret = thread_pool_co_run(resize_in_worker, &job);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "%s", job.what);
    }
    return ret;
}

/* Only some file systems can do that; failure is harmless. */
static void set_nocow(int fd)
{
    int attr = 0;

    if (ioctl(fd, FS_IOC_GETFLAGS, &attr) == 0) {
        attr |= FS_NOCOW_FL;
        ioctl(fd, FS_IOC_SETFLAGS, &attr);
    }
}

static void set_extent_size_hint(int fd, uint32_t hint, bool asked_for)
{
    struct fsxattr attr;

    if (ioctl(fd, FS_IOC_FSGETXATTR, &attr) == 0) {
        attr.fsx_xflags |= FS_XFLAG_EXTSIZE;
        attr.fsx_extsize = hint;
        if (ioctl(fd, FS_IOC_FSSETXATTR, &attr) == 0) {
            return;
        }
    }
    if (asked_for) {
        warn_report("Failed to set extent size hint: %s", strerror(errno));
    }
}

/* Empties the locked file @fd and gives it its attributes and size. */
static int coroutine_fn fill_file(int fd,
                                  const BlockdevCreateOptionsFile *opts,
                                  Error **errp)
{
    uint64_t hint = opts->has_extent_size_hint ? opts->extent_size_hint
                                               : DEFAULT_EXTENT_SIZE_HINT;

    if (ftruncate(fd, 0) < 0) {
        int ret = -errno;

        error_setg_errno(errp, -ret, "Could not truncate '%s'",
                         opts->filename);
        return ret;
    }
    if (opts->nocow) {
        set_nocow(fd);
    }
    if (hint) {
        set_extent_size_hint(fd, hint, opts->has_extent_size_hint);
    }
    return file_co_resize(fd, opts->size, opts->preallocation, errp);
}

static bool check_create_options(const BlockdevCreateOptionsFile *opts,
                                 Error **errp)
{
    if (opts->has_extent_size_hint && opts->extent_size_hint > UINT32_MAX) {
        error_setg(errp, "Extent size hint is too large");
        return false;
    }
    if (opts->size > BDRV_MAX_LENGTH) {
        error_setg(errp, "Size of '%s' is too large", opts->filename);
        return false;
    }
    return true;
}

int coroutine_fn file_co_create(BlockdevCreateOptions *options, Error **errp)
{
    const BlockdevCreateOptionsFile *opts = &options->u.file;
    FileLock lock;
    int fd, ret = -EINVAL;

    if (!check_create_options(opts, errp)) {
        return -EINVAL;
    }
    fd = file_open_path(opts->filename, O_RDWR | O_CREAT, 0644, errp);
    if (fd < 0) {
        return fd;
    }
    if (file_lock_init(&lock, fd, opts->filename, ON_OFF_AUTO_AUTO, errp)) {
        /* Empty the file only after it is certain that it is not in use. */
        ret = file_lock_prepare(&lock, opts->filename,
                                BLK_PERM_WRITE | BLK_PERM_RESIZE,
                                BLK_PERM_RESIZE, errp);
        if (ret == 0) {
            ret = fill_file(fd, opts, errp);
        }
        file_lock_close(&lock);
    }
    if (close(fd) < 0 && ret == 0) {
        ret = -errno;
        error_setg_errno(errp, -ret, "Could not close '%s'", opts->filename);
    }
    return ret;
}
