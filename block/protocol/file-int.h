/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Declarations shared by the parts of the file and host_device drivers.
 *
 *   file.c         open, close, reopen, permissions, information
 *   file-io.c      reads, writes, zeroes, discards, status, resizing
 *   file-lock.c    locks that announce our use of the image to other processes
 *   file-create.c  making files; preallocation
 *   file-probe.c   properties of the descriptor: alignments, sizes
 */
#ifndef BLOCK_PROTOCOL_FILE_INT_H
#define BLOCK_PROTOCOL_FILE_INT_H

#include "block/graph.h"

/*
 * Locks of a file: a set of BLK_PERM_* is used, another one is not shared with
 * others.  They belong to the open file description of @fd, which is used for
 * nothing else, so that they survive a change of the access mode.
 */
typedef struct FileLock {
    int fd; /* -1: no locking */
    uint64_t used, unshared; /* locked at present */
} FileLock;

typedef struct FileState {
    /* --- set once by open --- */
    char *path;
    int fd; /* the number stays; a reopen replaces the description */
    dev_t dev;
    ino_t ino;
    bool is_device; /* block or character device */
    bool is_block;
    FileLock lock;

    /* --- main thread: reopen and permissions --- */
    FileAioEngine engine;
    int open_flags;          /* of @fd */
    uint64_t perm, unshared; /* in force */
    int pending_fd;          /* -1: none; becomes @fd by commit */
    int pending_flags;
    bool reopening; /* between prepare and commit or abort */

    /* --- the context's thread --- */
    size_t mem_align; /* of buffers */
    uint32_t request_align;
    bool no_punch, no_zero_range, no_fallocate, no_blkdiscard;
    bool no_seek;
    bool flush_failed; /* the page cache lost data: no flush can succeed */
    int64_t data_start, data_end; /* data without holes; equal: none known */
    uint64_t discard_ok, discard_failed, discard_bytes;
} FileState;

/* Does @fd bypass the page cache? */
static inline bool file_is_direct(const FileState *s)
{
    return s->open_flags & O_DIRECT;
}

/* --- file.c --- */

/* open(2), close-on-exec; -errno with the usual message. */
int file_open_path(const char *path, int flags, mode_t mode, Error **errp);

/* --- file-lock.c --- */

/*
 * Prepares locking for the file @fd.  False: @mode is ON and locks do not work
 * here; with AUTO they are omitted then.
 */
bool file_lock_init(FileLock *lock, int fd, const char *path, OnOffAuto mode,
                    Error **errp);
void file_lock_close(FileLock *lock);
/*
 * Which other process has locked @byte of the file that @fd has open: id and
 * name, for a message.  NULL: this process has, by another descriptor; or it
 * cannot be known, as other users' processes cannot, or was not found within
 * @limit_us microseconds.  Caller frees.  Reads /proc, so for errors only.
 */
char *file_lock_holder(int fd, off_t byte, int64_t limit_us);
/*
 * Acquires the missing locks for @used and @unshared, keeping those held, and
 * checks for conflicts with other processes.  On failure (-errno) the former
 * locks are held.
 */
int file_lock_prepare(FileLock *lock, const char *path, uint64_t used,
                      uint64_t unshared, Error **errp);
/* Releases all but @used and @unshared. */
void file_lock_settle(FileLock *lock, uint64_t used, uint64_t unshared);

/* --- file-probe.c --- */

/* Bytes, or -errno. */
int64_t file_length(int fd);
/* Detects the alignments of @s and the supported operations. */
bool file_probe_limits(FileState *s, Error **errp);
/* Logical sector size of a block device in bytes; 512 if unknown. */
uint32_t file_sector_size(int fd);
/* host_device: is @filename a device? 0..100 */
int file_probe_device(const char *filename);

/* --- file-create.c --- */

int coroutine_fn file_co_create(BlockdevCreateOptions *options, Error **errp);
/*
 * Changes the size of the regular file @fd in a worker thread; to be called in
 * a coroutine.  0 or -errno with @errp.
 */
int coroutine_fn file_co_resize(int fd, int64_t bytes, PreallocMode prealloc,
                                Error **errp);

/* --- file-io.c: callbacks of the drivers; see block/driver.h --- */

int coroutine_fn file_bs_preadv(BlockDriverState *bs, int64_t offset,
                                int64_t bytes, QEMUIOVector *qiov,
                                size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn file_bs_pwritev(BlockDriverState *bs, int64_t offset,
                                 int64_t bytes, QEMUIOVector *qiov,
                                 size_t qiov_offset, BdrvRequestFlags flags);
int coroutine_fn file_bs_flush(BlockDriverState *bs);
int coroutine_fn file_bs_pwrite_zeroes(BlockDriverState *bs, int64_t offset,
                                       int64_t bytes, BdrvRequestFlags flags);
int coroutine_fn file_bs_pdiscard(BlockDriverState *bs, int64_t offset,
                                  int64_t bytes);
int coroutine_fn file_bs_block_status(BlockDriverState *bs, bool want_zero,
                                      int64_t offset, int64_t bytes,
                                      int64_t *pnum, int64_t *map,
                                      BlockDriverState **file);
int coroutine_fn file_bs_truncate(BlockDriverState *bs, int64_t offset,
                                  bool exact, PreallocMode prealloc,
                                  BdrvRequestFlags flags, Error **errp);
int coroutine_fn file_bs_host_read_begin(BlockDriverState *bs, BdrvRequest *r);
int coroutine_fn file_bs_host_write_begin(BlockDriverState *bs,
                                          BdrvRequest *r);
int coroutine_fn file_bs_host_write_end(BlockDriverState *bs, BdrvRequest *r,
                                        int result);

extern const BlockDriver bdrv_file, bdrv_host_cdrom, bdrv_host_device;

#endif
