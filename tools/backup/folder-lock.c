/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who works in a folder of backups: locks on two bytes of DIR/lock.
 *
 *     byte 0   exclusive: adds, removes or merges backups
 *     byte 1   shared: reads backups; exclusive: merges them
 *
 * The kernel drops them when the process ends, however it does.  The text in
 * the file is for messages only.
 */
#include "qemu/osdep.h"

#include "folder-int.h"

#define LOCK_NAME "lock"

enum { LOCK_WRITER = 0, LOCK_CONTENT = 1 };

static bool lock_byte(int fd, int byte, bool exclusive)
{
    struct flock lock = {
        .l_type = exclusive ? F_WRLCK : F_RDLCK,
        .l_whence = SEEK_SET,
        .l_start = byte,
        .l_len = 1,
    };

    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* What the process that holds byte 0 has written; caller frees. */
static char *holder(int fd)
{
    char text[200];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

    text[MAX(n, 0)] = 0;
    return g_strdup(g_strchomp(text));
}

static void sign(int fd)
{
    g_autofree char *text = g_strdup_printf("%s, process %d on %s\n",
                                            g_get_prgname(), (int)getpid(),
                                            g_get_host_name());

    /* If it cannot be written, a message will say less. */
    if (ftruncate(fd, 0) == 0 &&
        pwrite(fd, text, strlen(text), 0) < 0) {
        return;
    }
}

static bool fail_busy(const char *path, int fd, int byte, bool *busy,
                      Error **errp)
{
    int err = errno;

    if (err != EAGAIN && err != EACCES) {
        error_setg_errno(errp, err, "Could not lock the folder '%s'", path);
        return false;
    }
    *busy = true;
    if (byte == LOCK_WRITER) {
        g_autofree char *who = holder(fd);

        error_setg(errp, "The folder '%s' is in use by %s", path,
                   *who ? who : "another process");
    } else {
        error_setg(errp, "Backups in the folder '%s' are being read or merged",
                   path);
    }
    return false;
}

static bool take_locks(const char *path, int fd, BackupAccess access,
                       bool *busy, Error **errp)
{
    if (access != BACKUP_READ) {
        if (!lock_byte(fd, LOCK_WRITER, true)) {
            return fail_busy(path, fd, LOCK_WRITER, busy, errp);
        }
        sign(fd);
    }
    if (access != BACKUP_ADD &&
        !lock_byte(fd, LOCK_CONTENT, access == BACKUP_CHANGE)) {
        return fail_busy(path, fd, LOCK_CONTENT, busy, errp);
    }
    return true;
}

bool backup_folder_lock(BackupFolder *f, BackupAccess access, bool *busy,
                        Error **errp)
{
    g_autofree char *path = g_build_filename(f->path, LOCK_NAME, NULL);

    if (access == BACKUP_LOOK) {
        return true;
    }
    f->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (f->lock < 0 && access == BACKUP_READ) {
        f->lock = open(path, O_RDONLY | O_CLOEXEC);
        if (f->lock < 0) {
            return true; /* on a read-only medium nothing is merged */
        }
    }
    if (f->lock < 0) {
        error_setg_errno(errp, errno, "Could not open '%s'", path);
        return false;
    }
    return take_locks(f->path, f->lock, access, busy, errp);
}
