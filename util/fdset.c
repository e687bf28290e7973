/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sets of file descriptors.  Main thread. */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "qemu/fdset.h"

#define FDSET_PREFIX "/dev/fdset/"

typedef struct FdsetEntry {
    int64_t id;
    int fd;
    char *opaque;
} FdsetEntry;

/* A duplicate that was opened, until it is found to be closed. */
typedef struct FdsetUse {
    int64_t id;
    int fd;
    dev_t dev;
    ino_t ino;
} FdsetUse;

static GArray *uses; /* of FdsetUse; NULL: none */
static GPtrArray *entries; /* sorted by set; oldest first within one */

static void entry_free(gpointer data)
{
    FdsetEntry *entry = data;

    close(entry->fd);
    g_free(entry->opaque);
    g_free(entry);
}

static FdsetEntry *entry_at(guint i)
{
    return g_ptr_array_index(entries, i);
}

/* The lowest unused number. */
static int64_t free_id(void)
{
    int64_t id = 0;

    for (guint i = 0; entries && i < entries->len; i++) {
        if (entry_at(i)->id == id) {
            id++;
        }
    }
    return id;
}

int64_t fdset_add(int64_t id, int fd, const char *opaque)
{
    FdsetEntry *entry = g_new0(FdsetEntry, 1);
    guint pos = 0;

    entry->id = id < 0 ? free_id() : id;
    entry->fd = fd;
    entry->opaque = g_strdup(opaque);
    if (!entries) {
        entries = g_ptr_array_new_with_free_func(entry_free);
    }
    while (pos < entries->len && entry_at(pos)->id <= entry->id) {
        pos++;
    }
    g_ptr_array_insert(entries, pos, entry);
    return entry->id;
}

bool fdset_remove(int64_t id, int fd)
{
    bool found = false;

    for (guint i = entries ? entries->len : 0; i-- > 0;) {
        if (entry_at(i)->id == id && (fd < 0 || entry_at(i)->fd == fd)) {
            g_ptr_array_remove_index(entries, i);
            found = true;
        }
    }
    if (entries && !entries->len) {
        g_ptr_array_unref(g_steal_pointer(&entries));
    }
    return found;
}

void fdset_foreach(void (*fn)(int64_t id, int fd, const char *opaque,
                              void *arg), void *arg)
{
    for (guint i = 0; entries && i < entries->len; i++) {
        FdsetEntry *entry = entry_at(i);

        fn(entry->id, entry->fd, entry->opaque, arg);
    }
}

static void note_use(int64_t id, int fd)
{
    struct stat st;
    FdsetUse use = { .id = id, .fd = fd };

    if (fd < 0 || fstat(fd, &st) < 0) {
        return;
    }
    use.dev = st.st_dev;
    use.ino = st.st_ino;
    if (!uses) {
        uses = g_array_new(false, false, sizeof(FdsetUse));
    }
    g_array_append_val(uses, use);
}

/* Closing is not reported: the number is free then, or has another file. */
static bool use_has_ended(const FdsetUse *use)
{
    struct stat st;

    return fstat(use->fd, &st) < 0 || st.st_dev != use->dev ||
           st.st_ino != use->ino;
}

static bool is_used(int64_t id)
{
    for (guint i = 0; uses && i < uses->len; i++) {
        if (g_array_index(uses, FdsetUse, i).id == id) {
            return true;
        }
    }
    return false;
}

void fdset_remove_unused(void)
{
    for (guint i = uses ? uses->len : 0; i-- > 0;) {
        if (use_has_ended(&g_array_index(uses, FdsetUse, i))) {
            g_array_remove_index_fast(uses, i);
        }
    }
    if (uses && !uses->len) {
        g_array_unref(g_steal_pointer(&uses));
    }
    for (guint i = 0; entries && i < entries->len;) {
        if (is_used(entry_at(i)->id)) {
            i++;
        } else {
            fdset_remove(entry_at(i)->id, -1);
            i = 0;
        }
    }
}

static int fdset_dup(int64_t id, int flags)
{
    errno = ENOENT;
    for (guint i = 0; entries && i < entries->len; i++) {
        FdsetEntry *entry = entry_at(i);
        int have;

        if (entry->id != id) {
            continue;
        }
        have = fcntl(entry->fd, F_GETFL);
        if (have >= 0 && (have & O_ACCMODE) == (flags & O_ACCMODE)) {
            int fd = fcntl(entry->fd, F_DUPFD_CLOEXEC, 0);

            note_use(id, fd);
            return fd;
        }
        errno = EACCES;
    }
    return -1;
}

/* The number of the set in @path; false: the path is malformed. */
static bool parse_set(const char *path, int64_t *id)
{
    const char *number = path + strlen(FDSET_PREFIX);
    char *end = NULL;

    *id = g_ascii_strtoll(number, &end, 10);
    if (!g_ascii_isdigit(*number) || *end) {
        errno = EINVAL;
        return false;
    }
    return true;
}

int fdset_open(const char *path, int flags, mode_t mode)
{
    int64_t id;

    if (!g_str_has_prefix(path, FDSET_PREFIX)) {
        return open(path, flags | O_CLOEXEC, mode);
    }
    return parse_set(path, &id) ? fdset_dup(id, flags) : -1;
}

bool fdset_is_write_protected(const char *path)
{
    bool found = false;
    int64_t id;

    if (!g_str_has_prefix(path, FDSET_PREFIX)) {
        return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0 &&
               (errno == EACCES || errno == EPERM || errno == EROFS);
    }
    if (!parse_set(path, &id)) {
        return false;
    }
    for (guint i = 0; entries && i < entries->len; i++) {
        if (entry_at(i)->id == id) {
            int have = fcntl(entry_at(i)->fd, F_GETFL);

            if (have >= 0 && (have & O_ACCMODE) == O_RDWR) {
                return false;
            }
            found = true;
        }
    }
    return found;
}
