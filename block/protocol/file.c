/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drivers `file` (regular files) and `host_device`: life cycle,
 * permissions, information.
 *
 * The descriptor is opened with as little access as its users need if
 * auto-read-only allows that, and opened again when that changes.  The new
 * description then gets the old number (dup3), so that requests in flight
 * complete on the old description and its users keep the number.
 */
#include "qemu/osdep.h"

#include <linux/cdrom.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "block/graph.h"
#include "file-int.h"
#include "qapi/qapi-types-block-stats.h"
#include "qemu/fdset.h"

#define WRITING_PERMS \
    (BLK_PERM_WRITE | BLK_PERM_WRITE_UNCHANGED | BLK_PERM_RESIZE)

/* --- opening --- */

int file_open_path(const char *path, int flags, mode_t mode, Error **errp)
{
    const char *verb = flags & O_CREAT ? "create" : "open";
    int fd, ret;

    do {
        fd = fdset_open(path, flags | O_CLOEXEC | O_NOCTTY, mode);
    } while (fd < 0 && errno == EINTR);
    if (fd >= 0) {
        return fd;
    }
    ret = -errno;
    if (ret == -EINVAL && flags & O_DIRECT) {
        fd = open(path, (flags & ~(O_DIRECT | O_CREAT)) | O_CLOEXEC);
        if (fd >= 0) {
            close(fd);
            error_setg(errp, "Could not %s '%s': filesystem does not support "
                       "O_DIRECT", verb, path);
            return ret;
        }
    }
    error_setg_errno(errp, -ret, "Could not %s '%s'", verb, path);
    return ret;
}

static const BlockdevOptionsFile *file_options(const BlockdevOptions *options)
{
    return options->driver == BLOCKDEV_DRIVER_HOST_DEVICE
               ? &options->u.host_device
               : options->driver == BLOCKDEV_DRIVER_HOST_CDROM
               ? &options->u.host_cdrom
               : &options->u.file;
}

/* The engine that @opts and @flags select; false: it is not available. */
static bool choose_engine(const BlockdevOptionsFile *opts, int flags,
                          bool direct, FileAioEngine *engine, Error **errp)
{
    *engine = FILE_AIO_AUTO;
    if (opts->has_aio) {
        static const FileAioEngine engines[] = {
            [BLOCKDEV_AIO_OPTIONS_THREADS] = FILE_AIO_THREADS,
            [BLOCKDEV_AIO_OPTIONS_NATIVE] = FILE_AIO_NATIVE,
            [BLOCKDEV_AIO_OPTIONS_IO_URING] = FILE_AIO_IO_URING,
        };

        *engine = engines[opts->aio];
    } else if (flags & BDRV_O_NATIVE_AIO) {
        *engine = FILE_AIO_NATIVE;
    } else if (flags & BDRV_O_IO_URING) {
        *engine = FILE_AIO_IO_URING;
    }
    if (*engine == FILE_AIO_NATIVE && !direct) {
        error_setg(errp, "aio=native was specified, but it requires "
                   "cache.direct=on, which was not specified.");
        return false;
    }
    return *engine == FILE_AIO_AUTO || file_aio_supported(*engine, errp);
}

static int access_flags(bool writable, bool direct)
{
    return (writable ? O_RDWR : O_RDONLY) | (direct ? O_DIRECT : 0);
}

/* Must the descriptor be writable, by the options and the users' needs? */
static bool wants_write(bool read_only, bool auto_read_only, uint64_t perm)
{
    return !read_only && (!auto_read_only || perm & WRITING_PERMS);
}

static bool check_file_type(BlockDriverState *bs, const char *path,
                            const struct stat *st, Error **errp)
{
    if (bs->drv != &bdrv_file) {
        if (!S_ISBLK(st->st_mode) && !S_ISCHR(st->st_mode)) {
            error_setg(errp, "'%s' driver requires '%s' to be either a "
                       "character or block device", bs->drv->format_name,
                       path);
            return false;
        }
    } else if (!S_ISREG(st->st_mode)) {
        error_setg(errp, "'%s' driver requires '%s' to be a regular file",
                   bs->drv->format_name, path);
        return false;
    }
    return true;
}

static int open_fd(BlockDriverState *bs, FileState *s, Error **errp)
{
    struct stat st;
    int fd;

    /* Checked before opening, as opening a pipe would wait for a writer. */
    if (stat(s->path, &st) == 0 && !S_ISDIR(st.st_mode) &&
        !check_file_type(bs, s->path, &st, errp)) {
        return -EINVAL;
    }
    /*
     * A lock of another process does not make the node read-only: writing then
     * fails with an error, which that would hide.
     */
    if (bs->auto_read_only && fdset_is_write_protected(s->path)) {
        bdrv_turn_read_only(bs);
    }
    s->open_flags = access_flags(wants_write(bdrv_is_read_only(bs),
                                             bs->auto_read_only, 0),
                                 bs->cache_direct);
    /* A drive without a disc is opened, too (cdrom(4)). */
    fd = file_open_path(s->path, s->open_flags |
                        (bs->drv == &bdrv_host_cdrom ? O_NONBLOCK : 0), 0,
                        errp);
    if (fd < 0) {
        return fd;
    }
    if (fstat(fd, &st) < 0 || !check_file_type(bs, s->path, &st, errp)) {
        close(fd);
        return -EINVAL;
    }
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    s->is_block = S_ISBLK(st.st_mode);
    s->is_device = !S_ISREG(st.st_mode);
    s->no_seek = s->is_device;
    s->fd = fd;
    return 0;
}

static bool check_options(const BlockdevOptionsFile *opts, Error **errp)
{
    if (opts->pr_manager) {
        error_setg(errp, "Option 'pr-manager' is not supported: no "
                   "persistent reservation manager with id '%s'",
                   opts->pr_manager);
        return false;
    }
    if (!*opts->filename) {
        error_setg(errp, "The 'file' block driver requires a file name");
        return false;
    }
    if (opts->aio_max_batch < 0) {
        error_setg(errp, "aio-max-batch must not be negative");
        return false;
    }
    return true;
}

static int file_open(BlockDriverState *bs, const BlockdevOptions *options,
                     int flags, Error **errp)
{
    const BlockdevOptionsFile *opts = file_options(options);
    FileState *s = bs->opaque;
    int ret;

    s->fd = s->pending_fd = s->lock.fd = -1;
    if (!check_options(opts, errp) ||
        !choose_engine(opts, flags, bs->cache_direct, &s->engine, errp)) {
        return -EINVAL;
    }
    s->path = g_strdup(opts->filename);
    ret = open_fd(bs, s, errp);
    if (ret < 0) {
        g_clear_pointer(&s->path, g_free);
        return ret;
    }
    if (!file_lock_init(&s->lock, s->fd, s->path, opts->locking, errp) ||
        !file_probe_limits(s, errp)) {
        file_lock_close(&s->lock);
        close(s->fd);
        g_clear_pointer(&s->path, g_free);
        return -EINVAL;
    }
    g_free(bs->filename);
    bs->filename = g_strdup(s->path);
    return 0;
}

static void drop_pending(FileState *s)
{
    if (s->pending_fd >= 0) {
        close(s->pending_fd);
        s->pending_fd = -1;
    }
}

static void file_close(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    drop_pending(s);
    close(s->fd);
    file_lock_close(&s->lock);
    g_clear_pointer(&s->path, g_free);
}

/* --- a new description of the file --- */

/* Opens the file with the access of @flags, unless it has that already. */
static int prepare_fd(FileState *s, int flags, Error **errp)
{
    struct stat st;
    int fd;

    if (s->pending_fd >= 0 && s->pending_flags == flags) {
        return 0;
    }
    drop_pending(s);
    if (flags == s->open_flags) {
        return 0;
    }
    fd = file_open_path(s->path, flags, 0, errp);
    if (fd < 0) {
        return fd;
    }
    if (fstat(fd, &st) < 0 || st.st_dev != s->dev || st.st_ino != s->ino) {
        error_setg(errp, "'%s' was replaced by another file",
                   s->path);
        close(fd);
        return -ESTALE;
    }
    s->pending_fd = fd;
    s->pending_flags = flags;
    return 0;
}

static void commit_fd(FileState *s)
{
    int ret;

    if (s->pending_fd < 0) {
        return;
    }
    do {
        ret = dup3(s->pending_fd, s->fd, O_CLOEXEC);
    } while (ret < 0 && (errno == EINTR || errno == EBUSY));
    g_assert(ret == s->fd);
    s->open_flags = s->pending_flags;
    drop_pending(s);
}

/* --- permissions --- */

static uint64_t unshared_perms(const BlockDriverState *bs, uint64_t shared)
{
    return bs->force_share ? 0 : ~shared & BLK_PERM_ALL;
}

static int file_check_perm(BlockDriverState *bs, uint64_t perm,
                           uint64_t shared, Error **errp)
{
    FileState *s = bs->opaque;
    bool write = wants_write(bdrv_is_read_only(bs), bs->auto_read_only, perm);
    int ret = prepare_fd(s, access_flags(write, bs->cache_direct), errp);

    if (ret < 0) {
        return ret;
    }
    ret = file_lock_prepare(&s->lock, s->path, perm,
                            unshared_perms(bs, shared), errp);
    if (ret < 0 && !s->reopening) {
        drop_pending(s);
    }
    return ret;
}

static void file_set_perm(BlockDriverState *bs, uint64_t perm,
                          uint64_t shared)
{
    FileState *s = bs->opaque;

    s->perm = perm;
    s->unshared = unshared_perms(bs, shared);
    commit_fd(s);
    file_lock_settle(&s->lock, s->perm, s->unshared);
}

static void file_abort_perm(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    if (!s->reopening) {
        drop_pending(s);
    }
    file_lock_settle(&s->lock, s->perm, s->unshared);
}

/* --- reopening --- */

static int file_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    BlockDriverState *bs = state->bs;
    FileState *s = bs->opaque;
    const BlockdevOptionsFile *opts = file_options(state->options);
    FileAioEngine engine;
    int ret;

    if (!check_options(opts, errp) ||
        !choose_engine(opts, 0, bs->cache_direct, &engine, errp)) {
        return -EINVAL;
    }
    ret = prepare_fd(s, access_flags(wants_write(bs->read_only,
                                                 bs->auto_read_only, s->perm),
                                     bs->cache_direct), errp);
    if (ret < 0) {
        return ret;
    }
    s->reopening = true;
    state->opaque = g_memdup2(&engine, sizeof(engine));
    return 0;
}

static void file_reopen_commit(BdrvReopenState *state)
{
    FileState *s = state->bs->opaque;

    s->engine = *(FileAioEngine *)state->opaque;
    g_clear_pointer(&state->opaque, g_free);
    commit_fd(s);
    s->reopening = false;
    /* Without a probe the strict alignment is kept or assumed. */
    if (!file_probe_limits(s, NULL)) {
        s->request_align = s->mem_align = 4096;
    }
}

static void file_reopen_abort(BdrvReopenState *state)
{
    FileState *s = state->bs->opaque;

    g_clear_pointer(&state->opaque, g_free);
    s->reopening = false;
    drop_pending(s);
}

/* --- taking over --- */

/* A shared file system may have stale data in the page cache. */
static void drop_cache(BlockDriverState *bs)
{
    const BlockdevOptionsFile *opts = file_options(bs->options);
    FileState *s = bs->opaque;

    if (!bs->cache_direct && !s->is_device &&
        (!opts->has_drop_cache || opts->drop_cache)) {
        posix_fadvise(s->fd, 0, 0, POSIX_FADV_DONTNEED); /* a hint */
    }
}

/* The other process may have put another file in its place. */
static int file_reload(BlockDriverState *bs, Error **errp)
{
    FileState *s = bs->opaque;
    struct stat st;

    if (!s->is_device && stat(s->path, &st) == 0 &&
        (st.st_dev != s->dev || st.st_ino != s->ino)) {
        error_setg(errp, "'%s' was replaced by another file", s->path);
        return -ESTALE;
    }
    drop_cache(bs);
    return 0;
}

/* --- information --- */

static void file_refresh_limits(BlockDriverState *bs, Error **errp)
{
    FileState *s = bs->opaque;

    bs->bl.request_alignment = s->request_align;
    bs->bl.min_mem_alignment = s->mem_align;
    bs->bl.opt_mem_alignment = MAX(s->mem_align, 4096);
    bs->bl.max_iov = IOV_MAX;
    if (s->is_block) {
        bs->bl.pdiscard_alignment = file_sector_size(s->fd);
        bs->bl.pwrite_zeroes_alignment = bs->bl.pdiscard_alignment;
    }
}

static int64_t file_getlength(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    return file_length(s->fd);
}

static int64_t file_allocated_size(BlockDriverState *bs)
{
    FileState *s = bs->opaque;
    struct stat st;

    return fstat(s->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * 512;
}

/* As it is now, not as a client of a server remembers it. */
static int stat_now(int fd, struct stat *st)
{
    struct statx synced;

    (void)statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
                STATX_BASIC_STATS, &synced); /* refreshes what fstat() says */
    return fstat(fd, st);
}

/*
 * A time that is not on disk would be an older one after a loss of power: a
 * flush of data need not write it.
 */
static int file_get_identity(BlockDriverState *bs, bool durable,
                             BdrvIdentity *id)
{
    FileState *s = bs->opaque;
    struct stat st;
    int64_t bytes;

    if (durable && !s->is_device && !bs->cache_no_flush && fsync(s->fd) < 0) {
        return -errno;
    }
    if (stat_now(s->fd, &st) < 0) {
        return -errno;
    }
    bytes = file_length(s->fd);
    if (bytes < 0 || (s->is_device && !s->is_block)) {
        return -ENOTSUP;
    }
    *id = (BdrvIdentity){
        .kind = s->is_block ? BDRV_IDENTITY_DEVICE : BDRV_IDENTITY_FILE,
        .bytes = bytes,
        .device = s->is_block ? st.st_rdev : st.st_dev,
        .inode = s->is_block ? 0 : st.st_ino,
        .mtime_s = s->is_block ? 0 : st.st_mtim.tv_sec,
        .mtime_ns = s->is_block ? 0 : st.st_mtim.tv_nsec,
    };
    return 0;
}

/* There is nothing to report, which is success: no clusters, not dirty. */
static int file_get_info(BlockDriverState *bs, BlockDriverInfo *info)
{
    return 0;
}

static BlockStatsSpecific *file_get_stats(BlockDriverState *bs)
{
    FileState *s = bs->opaque;
    BlockStatsSpecific *stats;
    BlockStatsSpecificFile *file;

    if (bs->drv == &bdrv_host_cdrom) {
        return NULL; /* the schema has none */
    }
    stats = g_new0(BlockStatsSpecific, 1);
    if (bs->drv == &bdrv_host_device) {
        stats->driver = BLOCKDEV_DRIVER_HOST_DEVICE;
        file = &stats->u.host_device;
    } else {
        stats->driver = BLOCKDEV_DRIVER_FILE;
        file = &stats->u.file;
    }
    file->discard_nb_ok = s->discard_ok;
    file->discard_nb_failed = s->discard_failed;
    file->discard_bytes_ok = s->discard_bytes;
    return stats;
}

static bool file_has_zero_init(BlockDriverState *bs)
{
    FileState *s = bs->opaque;

    return !s->is_device;
}

/* --- file names --- */

static bool parse_filename(const char *filename, const char *prefix,
                           BlockdevOptionsFile *opts, Error **errp)
{
    const char *path = filename;
    bool stripped = g_str_has_prefix(path, prefix);

    if (stripped) {
        path += strlen(prefix);
    }
    if (!*path) {
        error_setg(errp, "The file name '%s' names no file", filename);
        return false;
    }
    g_free(opts->filename);
    /* The name that is shown must not seem to name a protocol. */
    opts->filename = g_strconcat(stripped && path_has_protocol(path) ? "./"
                                                                     : "",
                                 path, NULL);
    return true;
}

static bool file_parse_filename(const char *filename,
                                BlockdevOptions *options, Error **errp)
{
    options->driver = BLOCKDEV_DRIVER_FILE;
    return parse_filename(filename, "file:", &options->u.file, errp);
}

static bool device_parse_filename(const char *filename,
                                  BlockdevOptions *options, Error **errp)
{
    options->driver = BLOCKDEV_DRIVER_HOST_DEVICE;
    return parse_filename(filename, "host_device:", &options->u.host_device,
                          errp);
}

static bool cdrom_parse_filename(const char *filename,
                                 BlockdevOptions *options, Error **errp)
{
    options->driver = BLOCKDEV_DRIVER_HOST_CDROM;
    return parse_filename(filename, "host_cdrom:", &options->u.host_cdrom,
                          errp);
}

/* --- tables --- */

static const char *const file_mutable_options[] = {
    "aio", "aio-max-batch", "drop-cache", "x-check-cache-dropped", NULL,
};

#define FILE_COMMON \
    .mutable_options = file_mutable_options, \
    .instance_size = sizeof(FileState), \
    .supported_write_flags = BDRV_REQ_FUA, \
    .supported_zero_flags = BDRV_REQ_MAY_UNMAP | BDRV_REQ_NO_FALLBACK, \
    .open = file_open, \
    .close = file_close, \
    .reopen_prepare = file_reopen_prepare, \
    .reopen_commit = file_reopen_commit, \
    .reopen_abort = file_reopen_abort, \
    .reload = file_reload, \
    .check_perm = file_check_perm, \
    .set_perm = file_set_perm, \
    .abort_perm = file_abort_perm, \
    .refresh_limits = file_refresh_limits, \
    .co_preadv = file_bs_preadv, \
    .co_pwritev = file_bs_pwritev, \
    .co_pwrite_zeroes = file_bs_pwrite_zeroes, \
    .co_pdiscard = file_bs_pdiscard, \
    .co_block_status = file_bs_block_status, \
    .co_flush = file_bs_flush, \
    .co_truncate = file_bs_truncate, \
    .co_host_read_begin = file_bs_host_read_begin, \
    .co_host_write_begin = file_bs_host_write_begin, \
    .co_host_write_end = file_bs_host_write_end, \
    .getlength = file_getlength, \
    .get_allocated_file_size = file_allocated_size, \
    .get_info = file_get_info, \
    .get_identity = file_get_identity, \
    .get_specific_stats = file_get_stats, \
    .has_zero_init = file_has_zero_init

const BlockDriver bdrv_file = {
    .format_name = "file",
    .protocol_name = "file",
    .parse_filename = file_parse_filename,
    .co_create = file_co_create,
    FILE_COMMON,
};

/* What is no drive has no medium either. */
static bool cdrom_is_inserted(const BlockDriverState *bs)
{
    const FileState *s = bs->opaque;

    return ioctl(s->fd, CDROM_DRIVE_STATUS, CDSL_CURRENT) == CDS_DISC_OK;
}

/* The tray of the drive is left to the host. */
const BlockDriver bdrv_host_cdrom = {
    .format_name = "host_cdrom",
    .protocol_name = "host_cdrom",
    .has_variable_length = true,
    .parse_filename = cdrom_parse_filename,
    .is_inserted = cdrom_is_inserted,
    FILE_COMMON,
};

const BlockDriver bdrv_host_device = {
    .format_name = "host_device",
    .protocol_name = "host_device",
    .has_variable_length = true,
    .probe_device = file_probe_device,
    .parse_filename = device_parse_filename,
    FILE_COMMON,
};
