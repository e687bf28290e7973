/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blklogwrites: what is written to the child is also appended to a log, in the
 * format of Linux's dm-log-writes, so that every state of the disk can be
 * restored by replaying the log up to there.
 *
 *     sector 0    superblock: magic, version, number of entries, sector size
 *     sector 1    first entry: sector, number of sectors, flags, data length
 *     sector 2    its data, as many sectors as the entry says; none if it is a
 *                 discard or a mark, whose text is in the sector of the entry
 *     ...         second entry
 *
 * All numbers are little endian; offsets and lengths are counted in sectors of
 * the log (log-sector-size), to which requests are aligned.
 *
 * A request is logged when it has completed, one at a time: the number of
 * entries never counts one that is not complete.  A flush keeps the log locked
 * from its submission to its entry.  So all entries before that of a flush are
 * of writes that had completed when the flush was submitted, which are durable
 * now, and none of those which it may have missed.
 *
 * A request that cannot be logged fails, although the child has its data.
 */
#include "qemu/osdep.h"

#include <endian.h>

#include "block/graph.h"
#include "block/io.h"

#define LOG_MAGIC UINT64_C(0x6a736677736872)
#define LOG_VERSION 1
#define LOG_MIN_SECTOR 32 /* an entry fits */
#define LOG_MAX_SECTOR (8 * MiB)

/* Flags of an entry. */
enum {
    LOG_FLUSH = 1 << 0,
    LOG_FUA = 1 << 1,
    LOG_DISCARD = 1 << 2,
    LOG_MARK = 1 << 3,
    LOG_METADATA = 1 << 4,
    LOG_ALL_FLAGS = (1 << 5) - 1,
};

/* In the log, without padding; the superblock has four bytes after it. */
typedef struct LogSuper {
    uint64_t magic, version, entries;
    uint32_t sector_size, unused;
} LogSuper;

typedef struct LogEntry {
    uint64_t sector, sectors, flags, data_bytes;
} LogEntry;

G_STATIC_ASSERT(sizeof(LogSuper) == LOG_MIN_SECTOR);
G_STATIC_ASSERT(sizeof(LogEntry) == LOG_MIN_SECTOR);

typedef struct LogWrites {
    /* --- set once while opening --- */
    BdrvChild *log;
    int64_t sector_size; /* bytes, a power of two */
    uint64_t interval;   /* entries, after which the superblock is updated */
    bool writable;       /* the log was opened for appending */

    /* --- the context's thread, under the lock --- */
    CoMutex lock;
    int64_t end; /* of the log, in bytes */
    uint64_t entries, stored_entries; /* in the log, in the superblock */
} LogWrites;

/* --- writing the log --- */

static int coroutine_mixed_fn write_super(LogWrites *s)
{
    g_autofree void *sector = g_try_malloc0(s->sector_size);
    LogSuper super = {
        .magic = htole64(LOG_MAGIC),
        .version = htole64(LOG_VERSION),
        .entries = htole64(s->entries),
        .sector_size = htole32(s->sector_size),
    };
    int ret;

    if (!sector) {
        return -ENOMEM;
    }
    memcpy(sector, &super, sizeof(super));
    ret = bdrv_pwrite(s->log, 0, s->sector_size, sector);
    if (ret == 0) {
        s->stored_entries = s->entries;
    }
    return ret;
}

/* A completed request. */
typedef struct Logged {
    int64_t offset, bytes; /* multiples of the sector size */
    uint64_t flags;
    QEMUIOVector *qiov;    /* NULL: zeroes, or no data if it is a discard */
    size_t qiov_offset;
} Logged;

static int coroutine_fn write_data(LogWrites *s, const Logged *l,
                                   int64_t offset)
{
    if (l->bytes == 0 || (l->flags & LOG_DISCARD)) {
        return 0;
    }
    if (!l->qiov) {
        return bdrv_co_pwrite_zeroes(s->log, offset, l->bytes,
                                     BDRV_REQ_MAY_UNMAP);
    }
    return bdrv_co_pwritev(s->log, offset, l->bytes, l->qiov, l->qiov_offset,
                           0);
}

/* The log is locked. */
static int coroutine_fn append_locked(LogWrites *s, const Logged *l)
{
    g_autofree uint8_t *sector = g_try_malloc0(s->sector_size);
    int64_t bytes = l->flags & LOG_DISCARD ? 0 : l->bytes;
    LogEntry entry = {
        .sector = htole64(l->offset / s->sector_size),
        .sectors = htole64(l->bytes / s->sector_size),
        .flags = htole64(l->flags),
    };
    int ret;

    if (!sector) {
        return -ENOMEM;
    }
    if (bytes > BDRV_MAX_LENGTH - s->sector_size - s->end) {
        return -EFBIG;
    }
    memcpy(sector, &entry, sizeof(entry));
    ret = bdrv_co_pwrite(s->log, s->end, s->sector_size, sector, 0);
    if (ret == 0) {
        ret = write_data(s, l, s->end + s->sector_size);
    }
    if (ret < 0) {
        return ret; /* the next entry takes the place of this one */
    }
    s->end += s->sector_size + bytes;
    s->entries++;
    return s->entries - s->stored_entries >= s->interval ? write_super(s) : 0;
}

static int coroutine_fn append(LogWrites *s, const Logged *l)
{
    CO_MUTEX_GUARD(&s->lock);
    return append_locked(s, l);
}

/* --- requests --- */

/* The last block may have been padded past the end of a child of fixed size. */
static int64_t unpad(const BlockDriverState *bs, int64_t offset,
                     int64_t bytes)
{
    return bs->file->perm & BLK_PERM_RESIZE
        ? bytes : MIN(bytes, MAX(bs->total_bytes - offset, 0));
}

static uint64_t flags_of(BdrvRequestFlags flags)
{
    return flags & BDRV_REQ_FUA ? LOG_FUA : 0;
}

static int coroutine_fn log_co_pwritev(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, QEMUIOVector *qiov,
                                       size_t qiov_offset,
                                       BdrvRequestFlags flags)
{
    int ret = bdrv_co_pwritev(bs->file, offset, unpad(bs, offset, bytes),
                              qiov, qiov_offset, flags);

    return ret < 0 ? ret : append(bs->opaque, &(Logged) {
        offset, bytes, flags_of(flags), qiov, qiov_offset,
    });
}

static int coroutine_fn log_co_pwritev_compressed(BlockDriverState *bs,
                                                  int64_t offset,
                                                  int64_t bytes,
                                                  QEMUIOVector *qiov,
                                                  size_t qiov_offset)
{
    return log_co_pwritev(bs, offset, bytes, qiov, qiov_offset,
                          BDRV_REQ_WRITE_COMPRESSED);
}

static int coroutine_fn log_co_pwrite_zeroes(BlockDriverState *bs,
                                             int64_t offset, int64_t bytes,
                                             BdrvRequestFlags flags)
{
    int ret = bdrv_co_pwrite_zeroes(bs->file, offset,
                                    unpad(bs, offset, bytes), flags);

    return ret < 0 ? ret : append(bs->opaque, &(Logged) {
        offset, bytes, flags_of(flags), NULL, 0,
    });
}

static int coroutine_fn log_co_pdiscard(BlockDriverState *bs, int64_t offset,
                                        int64_t bytes)
{
    LogWrites *s = bs->opaque;
    int ret = bdrv_co_pdiscard(bs->file, offset, unpad(bs, offset, bytes));

    return ret < 0 ? ret : append(s, &(Logged) {
        offset, ROUND_UP(bytes, s->sector_size), LOG_DISCARD, NULL, 0,
    });
}

static int coroutine_fn log_co_flush(BlockDriverState *bs)
{
    LogWrites *s = bs->opaque;
    int ret;

    CO_MUTEX_GUARD(&s->lock);
    ret = bdrv_co_flush(bs->file->bs);
    if (ret == 0) {
        ret = append_locked(s, &(Logged) { .flags = LOG_FLUSH });
    }
    if (ret == 0 && s->entries != s->stored_entries) {
        ret = write_super(s);
    }
    return ret < 0 ? ret : bdrv_co_flush(s->log->bs);
}

static void log_refresh_limits(BlockDriverState *bs, Error **errp)
{
    const LogWrites *s = bs->opaque;

    bs->bl.request_alignment = s->sector_size;
}

/* --- reading a log --- */

static bool check_sector_size(int64_t bytes, Error **errp)
{
    if (bytes < LOG_MIN_SECTOR || bytes > LOG_MAX_SECTOR ||
        !is_power_of_2(bytes)) {
        error_setg(errp, "Invalid log sector size %" PRId64, bytes);
        error_append_hint(errp, "It must be a power of two between %d and "
                          "%d.\n", LOG_MIN_SECTOR, (int)LOG_MAX_SECTOR);
        return false;
    }
    return true;
}

static bool read_super(LogWrites *s, uint64_t *entries, Error **errp)
{
    LogSuper super;
    int ret = bdrv_pread(s->log, 0, sizeof(super), &super);

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read the log superblock");
        return false;
    }
    if (le64toh(super.magic) != LOG_MAGIC) {
        error_setg(errp, "Invalid log superblock magic");
        return false;
    }
    if (le64toh(super.version) != LOG_VERSION) {
        error_setg(errp, "Unsupported log version %" PRIu64,
                   le64toh(super.version));
        return false;
    }
    s->sector_size = le32toh(super.sector_size);
    *entries = le64toh(super.entries);
    return check_sector_size(s->sector_size, errp);
}

/* Goes past the entry at @s->end.  An entry of zeroes is none: a log cannot
 * make us read on through all of a sparse file. */
static bool skip_entry(LogWrites *s, int64_t length, Error **errp)
{
    LogEntry entry;
    uint64_t flags, sectors, space;
    int ret;

    if (s->end > length - s->sector_size) {
        error_setg(errp, "Log entry %" PRIu64 " is beyond the end of the log",
                   s->entries);
        return false;
    }
    ret = bdrv_pread(s->log, s->end, sizeof(entry), &entry);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not read log entry %" PRIu64,
                         s->entries);
        return false;
    }
    flags = le64toh(entry.flags);
    sectors = flags & (LOG_DISCARD | LOG_MARK) ? 0 : le64toh(entry.sectors);
    space = (length - s->end) / s->sector_size - 1;
    if (flags & ~(uint64_t)LOG_ALL_FLAGS) {
        error_setg(errp, "Invalid flags 0x%" PRIx64 " in log entry %" PRIu64,
                   flags, s->entries);
    } else if (!flags && !sectors) {
        error_setg(errp, "Log entry %" PRIu64 " is empty", s->entries);
    } else if (sectors > space) {
        error_setg(errp, "The data of log entry %" PRIu64 " extends beyond "
                   "the end of the log", s->entries);
    } else {
        s->end += (1 + (int64_t)sectors) * s->sector_size;
        s->entries++;
        return true;
    }
    return false;
}

static bool find_end(LogWrites *s, Error **errp)
{
    int64_t length = s->log->bs->total_bytes;
    uint64_t entries;

    if (!read_super(s, &entries, errp)) {
        return false;
    }
    s->end = s->sector_size;
    while (s->entries < entries) {
        if (!skip_entry(s, length, errp)) {
            return false;
        }
    }
    s->stored_entries = entries;
    return true;
}

static bool begin_log(LogWrites *s, Error **errp)
{
    int ret;

    s->end = s->sector_size;
    ret = write_super(s);
    if (ret < 0) {
        error_setg_errno(errp, -ret, "Could not write the log superblock");
    }
    return ret == 0;
}

/* --- life --- */

static bool take_options(LogWrites *s, const BlockdevOptionsBlklogwrites *o,
                         Error **errp)
{
    if (o->log_append && o->has_log_sector_size) {
        error_setg(errp, "log-append and log-sector-size are mutually "
                   "exclusive");
        return false;
    }
    if (o->log_super_update_interval == 0) {
        error_setg(errp, "Invalid log superblock update interval 0");
        return false;
    }
    s->sector_size = o->log_sector_size;
    s->interval = o->log_super_update_interval;
    return check_sector_size(s->sector_size, errp);
}

static int log_open(BlockDriverState *bs, const BlockdevOptions *options,
                    int flags, Error **errp)
{
    const BlockdevOptionsBlklogwrites *o = &options->u.blklogwrites;
    LogWrites *s = bs->opaque;
    bool ok;

    co_mutex_init(&s->lock);
    if (!take_options(s, o, errp) ||
        !bdrv_open_child(bs, o->file, "file",
                         BDRV_CHILD_FILTERED | BDRV_CHILD_PRIMARY, errp)) {
        return -EINVAL;
    }
    s->log = bdrv_open_child(bs, o->log, "log", BDRV_CHILD_METADATA, errp);
    if (!s->log) {
        return -EINVAL;
    }
    if (bs->read_only) {
        return 0;
    }
    /* An empty file is a log without entries. */
    ok = o->log_append && s->log->bs->total_bytes > 0 ? find_end(s, errp)
                                                      : begin_log(s, errp);
    s->writable = ok;
    return ok ? 0 : -EINVAL;
}

/* A flush before it has updated the superblock, unless it failed. */
static void log_close(BlockDriverState *bs)
{
    LogWrites *s = bs->opaque;
    Error *err = NULL;
    int ret = 0;

    if (!bs->read_only && s->entries != s->stored_entries) {
        ret = write_super(s);
    }
    if (ret < 0) {
        error_setg_errno(&err, -ret, "Could not write the log superblock");
        bdrv_close_error(bs, err);
    }
}

static int log_reopen_prepare(BdrvReopenState *state, Error **errp)
{
    LogWrites *s = state->bs->opaque;

    if (!state->bs->read_only && !s->writable) {
        error_setg(errp, "Node '%s' was opened read-only and has no log to "
                   "write to", state->bs->node_name);
        return -EINVAL;
    }
    return 0;
}

static void log_child_perm(BlockDriverState *bs, BdrvChild *child,
                           BdrvChildRole role, uint64_t perm, uint64_t shared,
                           uint64_t *nperm, uint64_t *nshared)
{
    if (role & BDRV_CHILD_FILTERED) {
        bdrv_default_perms(bs, child, role, perm, shared, nperm, nshared);
        return;
    }
    *nperm = BLK_PERM_CONSISTENT_READ;
    *nshared = BLK_PERM_ALL;
    if (!bs->read_only) {
        *nperm |= BLK_PERM_WRITE | BLK_PERM_RESIZE;
        *nshared &= ~(uint64_t)(BLK_PERM_WRITE | BLK_PERM_RESIZE);
    }
}

extern const BlockDriver bdrv_blklogwrites;

const BlockDriver bdrv_blklogwrites = {
    .format_name = "blklogwrites",
    .instance_size = sizeof(LogWrites),
    .is_filter = true,
    .supported_write_flags = BDRV_REQ_FUA | BDRV_REQ_WRITE_UNCHANGED,
    .supported_zero_flags = BDRV_REQ_FUA | BDRV_REQ_MAY_UNMAP |
                            BDRV_REQ_NO_FALLBACK | BDRV_REQ_WRITE_UNCHANGED,
    .open = log_open,
    .close = log_close,
    .reopen_prepare = log_reopen_prepare,
    .child_perm = log_child_perm,
    .child_change = bdrv_child_change_same,
    .refresh_limits = log_refresh_limits,
    .co_pwritev = log_co_pwritev,
    .co_pwritev_compressed = log_co_pwritev_compressed,
    .co_pwrite_zeroes = log_co_pwrite_zeroes,
    .co_pdiscard = log_co_pdiscard,
    .co_flush = log_co_flush,
};
