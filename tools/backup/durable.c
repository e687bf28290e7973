/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of files that are there as a whole or not at all. */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "durable.h"

static bool write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR) {
            return false;
        }
        text += MAX(n, 0);
        len -= MAX(n, 0);
    }
    return true;
}

/* Appends all that comes from @fd; @errno on failure. */
static bool read_all(int fd, GByteArray *bytes)
{
    uint8_t buf[64 * KiB];
    ssize_t n;

    do {
        n = read(fd, buf, sizeof(buf));
        if (n > 0) {
            g_byte_array_append(bytes, buf, n);
        }
    } while (n > 0 || (n < 0 && errno == EINTR));
    return n == 0;
}

char *durable_read(const char *path, size_t *len, Error **errp)
{
    GByteArray *bytes = g_byte_array_new();
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && read_all(fd, bytes);

    if (!ok) {
        error_setg_errno(errp, errno, "Could not read '%s'", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    *len = bytes->len;
    g_byte_array_append(bytes, (const uint8_t *)"", 1);
    return (char *)g_byte_array_free(bytes, !ok);
}

bool durable_sync(const char *path, Error **errp)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (!ok) {
        error_setg_errno(errp, errno, "Could not flush '%s'", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

bool durable_rename(const char *dir, const char *from, const char *to,
                    Error **errp)
{
    g_autofree char *from_path = g_build_filename(dir, from, NULL);
    g_autofree char *to_path = g_build_filename(dir, to, NULL);

    if (rename(from_path, to_path) < 0) {
        error_setg_errno(errp, errno, "Could not rename '%s' to '%s'",
                         from_path, to);
        return false;
    }
    return durable_sync(dir, errp);
}

/* Writes and flushes a new file. */
static bool write_file(const char *path, const char *text, Error **errp)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0 && write_all(fd, text, strlen(text)) && fsync(fd) == 0;

    if (!ok) {
        error_setg_errno(errp, errno, "Could not write '%s'", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return ok;
}

bool durable_write(const char *dir, const char *name, const char *text,
                   Error **errp)
{
    g_autofree char *temp = g_strdup_printf("%s.new", name);
    g_autofree char *path = g_build_filename(dir, temp, NULL);

    if (!write_file(path, text, errp)) {
        unlink(path);
        return false;
    }
    return durable_rename(dir, temp, name, errp);
}

bool durable_mkdir(const char *path, Error **errp)
{
    g_autofree char *parent = g_path_get_dirname(path);

    if (mkdir(path, 0777) < 0) {
        if (errno == EEXIST && g_file_test(path, G_FILE_TEST_IS_DIR)) {
            return true;
        }
        error_setg_errno(errp, errno, "Could not make the folder '%s'", path);
        return false;
    }
    return durable_sync(parent, errp);
}

bool durable_remove_dir(const char *path, Error **errp)
{
    g_autofree char *parent = g_path_get_dirname(path);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        if (unlink(file) < 0 && errno != ENOENT) {
            error_setg_errno(errp, errno, "Could not remove '%s'", file);
            return false;
        }
    }
    if (rmdir(path) < 0 && errno != ENOENT) {
        error_setg_errno(errp, errno, "Could not remove '%s'", path);
        return false;
    }
    return durable_sync(parent, errp);
}
