/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which process holds a lock: the kernel does not tell of locks that belong to
 * open file descriptions, but lists them for each descriptor.
 */
#include "qemu/osdep.h"

#include <sys/stat.h>

#include "file-int.h"

/*
 * The search is for a hint and keeps the main loop waiting: no longer than
 * this, as a host can have any number of descriptors, and a file of locks.
 */
#define SEARCH_US (250 * 1000)

/* Does a line of fdinfo tell of a lock of inode @ino on byte @byte? */
static bool is_lock_on(const char *line, ino_t ino, off_t byte)
{
    unsigned long long number, start, end;

    /* "lock:\t1: OFDLCK  ADVISORY  READ -1 08:01:1234 100 101" */
    return g_str_has_prefix(line, "lock:") &&
           sscanf(line, "lock: %*d: %*s %*s %*s %*d %*x:%*x:%llu %llu %llu",
                  &number, &start, &end) == 3 &&
           number == ino && start <= (uint64_t)byte && (uint64_t)byte <= end;
}

static bool descriptor_locks(const char *proc, const char *fd,
                             const struct stat *st, off_t byte)
{
    g_autofree char *info = g_build_filename(proc, "fdinfo", fd, NULL);
    g_autofree char *link = g_build_filename(proc, "fd", fd, NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    struct stat other;

    if (!g_file_get_contents(info, &text, NULL, NULL)) {
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        /* Inodes of other file systems may have the same number. */
        if (is_lock_on(*line, st->st_ino, byte)) {
            return stat(link, &other) == 0 && other.st_dev == st->st_dev &&
                   other.st_ino == st->st_ino;
        }
    }
    return false;
}

static bool process_locks(const char *proc, const struct stat *st, off_t byte,
                          int64_t end)
{
    g_autofree char *path = g_build_filename(proc, "fdinfo", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *fd;

    while (dir && g_get_monotonic_time() < end && (fd = g_dir_read_name(dir))) {
        if (descriptor_locks(proc, fd, st, byte)) {
            return true;
        }
    }
    return false;
}

/* "1234 (qemu-system-x86_64)"; caller frees. */
static char *describe(const char *pid, const char *proc)
{
    g_autofree char *path = g_build_filename(proc, "cmdline", NULL);
    g_autofree char *words = NULL, *name = NULL;

    if (!g_file_get_contents(path, &words, NULL, NULL) || !*words) {
        return g_strdup(pid);
    }
    name = g_path_get_basename(words); /* the first word ends with a 0 */
    return g_strdup_printf("%s (%s)", pid, name);
}

char *file_lock_holder(int fd, off_t byte)
{
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    g_autofree char *own = g_strdup_printf("%d", getpid());
    int64_t end = g_get_monotonic_time() + SEARCH_US;
    const char *pid;
    struct stat st;

    if (!dir || fstat(fd, &st) < 0) {
        return NULL;
    }
    while (g_get_monotonic_time() < end && (pid = g_dir_read_name(dir))) {
        g_autofree char *proc = g_build_filename("/proc", pid, NULL);

        if (g_ascii_isdigit(*pid) && strcmp(pid, own) &&
            process_locks(proc, &st, byte, end)) {
            return describe(pid, proc);
        }
    }
    return NULL;
}
