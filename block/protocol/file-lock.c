/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * File locks that carry permissions between processes.
 *
 * Every permission n (0 consistent read, 1 write, 2 write unchanged, 3 resize)
 * has two bytes of the file: a process that uses it locks 100 + n, one that
 * does not share it locks 200 + n.  All locks are shared ones, so that any
 * number of processes can hold one; testing for an exclusive lock shows whether
 * any does.  A process that uses n tests 200 + n, one that does not share n
 * tests 100 + n.  It locks first and tests then: of two processes that do so at
 * the same time at least one sees the other.
 *
 * Locks belong to the open file description (OFD), so that closing another
 * descriptor of the file does not release them, and two nodes of one process on
 * the same file exclude each other, too.
 */
#include "qemu/osdep.h"

#include "file-int.h"

#define BYTE_USED 100
#define BYTE_UNSHARED 200
#define PERM_COUNT 4

/* How long to look for the process that is in the way.  The main loop waits. */
#define HOLDER_LIMIT_US 100000

static const char *perm_name(int n)
{
    static const char *const names[PERM_COUNT] = {
        "consistent read", "write", "write unchanged", "resize",
    };

    return names[n];
}

static int lock_byte(int fd, off_t byte, short type)
{
    struct flock fl = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1,
    };
    int ret;

    do {
        ret = fcntl(fd, F_OFD_SETLK, &fl);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

/* 0: no other description locks @byte; -EAGAIN: one does. */
static int test_byte(int fd, off_t byte)
{
    struct flock fl = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1,
    };

    if (fcntl(fd, F_OFD_GETLK, &fl) < 0) {
        return -errno;
    }
    return fl.l_type == F_UNLCK ? 0 : -EAGAIN;
}

bool file_lock_init(FileLock *lock, int fd, const char *path, OnOffAuto mode,
                    Error **errp)
{
    g_autofree char *self = g_strdup_printf("/proc/self/fd/%d", fd);
    int ret;

    *lock = (FileLock){ .fd = -1 };
    if (mode == ON_OFF_AUTO_OFF) {
        return true;
    }
    lock->fd = open(self, O_RDONLY | O_CLOEXEC);
    if (lock->fd < 0) {
        lock->fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    ret = lock->fd < 0 ? -errno : test_byte(lock->fd, BYTE_USED);
    if (ret < 0 && ret != -EAGAIN) {
        file_lock_close(lock);
        if (mode == ON_OFF_AUTO_ON) {
            error_setg_errno(errp, -ret, "Could not lock '%s'", path);
            return false;
        }
    }
    return true;
}

void file_lock_close(FileLock *lock)
{
    if (lock->fd >= 0) {
        close(lock->fd); /* releases all locks */
    }
    *lock = (FileLock){ .fd = -1 };
}

/* Changes the locks of one kind from @held to @want, tracking in *@held. */
static int change_bytes(FileLock *lock, off_t base, uint64_t *held,
                        uint64_t want, int *failed)
{
    for (int n = 0; n < PERM_COUNT; n++) {
        uint64_t bit = UINT64_C(1) << n;
        short type = want & bit ? F_RDLCK : F_UNLCK;
        int ret;

        if (!((*held ^ want) & bit)) {
            continue;
        }
        ret = lock_byte(lock->fd, base + n, type);
        if (ret < 0 && type == F_RDLCK) {
            *failed = n;
            return ret;
        }
        *held ^= bit;
    }
    return 0;
}

/* What can be said of who holds the lock, and how to read all the same. */
static void hint_holder(const FileLock *lock, off_t byte, Error **errp)
{
    g_autofree char *holder = NULL;

    if (!errp) {
        return;
    }
    holder = file_lock_holder(lock->fd, byte, HOLDER_LIMIT_US);
    if (!holder) {
        return;
    }
    error_append_hint(errp, "It is process %s.\n", holder);
    if (!(lock->used & (BLK_PERM_WRITE | BLK_PERM_RESIZE))) {
        error_append_hint(errp, "To look at it nevertheless: --force-share "
                          "(-U), or force-share=on; what is being written\n"
                          "meanwhile may be read half old and half new.\n");
    }
}

/* @n: the permission; @other: first byte of the locks that it conflicts with */
static int lock_error(const FileLock *lock, int ret, const char *kind, int n,
                      off_t other, const char *path, Error **errp)
{
    if (ret == -EAGAIN || ret == -EACCES) {
        error_setg(errp, "Failed to get %s\"%s\" lock", kind, perm_name(n));
    } else {
        error_setg_errno(errp, -ret, "Failed to get %s\"%s\" lock", kind,
                         perm_name(n));
    }
    error_append_hint(errp, "Is another process using the image [%s]?\n",
                      path);
    hint_holder(lock, other + n, errp);
    return ret;
}

static int test_conflicts(const FileLock *lock, const char *path,
                          uint64_t used, uint64_t unshared, Error **errp)
{
    for (int n = 0; n < PERM_COUNT; n++) {
        uint64_t bit = UINT64_C(1) << n;
        int ret = used & bit ? test_byte(lock->fd, BYTE_UNSHARED + n) : 0;

        if (ret < 0) {
            return lock_error(lock, ret, "", n, BYTE_UNSHARED, path, errp);
        }
        ret = unshared & bit ? test_byte(lock->fd, BYTE_USED + n) : 0;
        if (ret < 0) {
            return lock_error(lock, ret, "shared ", n, BYTE_USED, path,
                              errp);
        }
    }
    return 0;
}

int file_lock_prepare(FileLock *lock, const char *path, uint64_t used,
                      uint64_t unshared, Error **errp)
{
    uint64_t old_used = lock->used, old_unshared = lock->unshared;
    int n = 0, ret;

    if (lock->fd < 0) {
        return 0;
    }
    ret = change_bytes(lock, BYTE_USED, &lock->used, old_used | used, &n);
    if (ret < 0) {
        lock_error(lock, ret, "", n, BYTE_USED, path, errp);
        goto fail;
    }
    ret = change_bytes(lock, BYTE_UNSHARED, &lock->unshared,
                       old_unshared | unshared, &n);
    if (ret < 0) {
        lock_error(lock, ret, "shared ", n, BYTE_UNSHARED, path, errp);
        goto fail;
    }
    ret = test_conflicts(lock, path, used, unshared, errp);
    if (ret == 0) {
        return 0;
    }
fail:
    file_lock_settle(lock, old_used, old_unshared);
    return ret;
}

void file_lock_settle(FileLock *lock, uint64_t used, uint64_t unshared)
{
    int n;

    if (lock->fd < 0) {
        return;
    }
    /* This only releases: prepare acquired all locks that are wanted. */
    change_bytes(lock, BYTE_USED, &lock->used, lock->used & used, &n);
    change_bytes(lock, BYTE_UNSHARED, &lock->unshared,
                 lock->unshared & unshared, &n);
}
