/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which process holds a lock: the kernel does not tell of locks that belong to
 * open file descriptions, but lists them for each descriptor.
 *
 * A host can have hundreds of thousands of descriptors, and the caller may be
 * the main loop.  So a descriptor costs one statx() that asks no server, only
 * those of the file have their locks read, and the search ends after a while.
 * The first descriptors of each process are looked at before all the others:
 * few processes with a disk have many.
 */
#include "qemu/osdep.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "file-int.h"

#define FIRST_DESCRIPTORS 200

typedef struct Search {
    struct stat st;
    off_t byte;
    unsigned most;  /* descriptors of a process */
    int64_t end_us; /* of g_get_monotonic_time() */
} Search;

static bool too_late(const Search *s)
{
    return g_get_monotonic_time() >= s->end_us;
}

/* Does a line of fdinfo tell of a lock on @byte? */
static bool is_lock_on(const char *line, off_t byte)
{
    unsigned long long start, end;

    /* "lock:\t1: OFDLCK  ADVISORY  READ -1 08:01:1234 100 101" */
    return g_str_has_prefix(line, "lock:") &&
           sscanf(line, "lock: %*d: %*s %*s %*s %*d %*x:%*x:%*u %llu %llu",
                  &start, &end) == 2 &&
           start <= (uint64_t)byte && (uint64_t)byte <= end;
}

/* Is descriptor @fd of the process whose descriptors are in @dir the file? */
static bool is_file(const Search *s, int dir, const char *fd)
{
    struct statx stx;

    return statx(dir, fd, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO,
                 &stx) == 0 && stx.stx_ino == s->st.st_ino &&
           makedev(stx.stx_dev_major, stx.stx_dev_minor) == s->st.st_dev;
}

static bool descriptor_locks(const Search *s, const char *pid, const char *fd)
{
    g_autofree char *info = g_build_filename("/proc", pid, "fdinfo", fd, NULL);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(info, &text, NULL, NULL)) {
        return false;
    }
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (is_lock_on(*line, s->byte)) {
            return true;
        }
    }
    return false;
}

/* @but: not that descriptor; -1: all. */
static bool process_locks(const Search *s, const char *pid, int but)
{
    g_autofree char *path = g_build_filename("/proc", pid, "fd", NULL);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    unsigned seen = 0;
    bool found = false;

    while (dir && !found && seen++ < s->most && !too_late(s) &&
           (entry = readdir(dir))) {
        found = g_ascii_isdigit(*entry->d_name) &&
                atoi(entry->d_name) != but &&
                is_file(s, dirfd(dir), entry->d_name) &&
                descriptor_locks(s, pid, entry->d_name);
    }
    if (dir) {
        closedir(dir);
    }
    return found;
}

/* "1234 (qemu-system-x86_64)"; caller frees. */
static char *describe(const char *pid)
{
    g_autofree char *path = g_build_filename("/proc", pid, "cmdline", NULL);
    g_autofree char *words = NULL, *name = NULL;

    if (!g_file_get_contents(path, &words, NULL, NULL) || !*words) {
        return g_strdup(pid);
    }
    name = g_path_get_basename(words); /* the first word ends with a 0 */
    return g_strdup_printf("%s (%s)", pid, name);
}

/* The id of another process, or NULL; caller frees. */
static char *look_at_others(const Search *s)
{
    g_autofree char *own = g_strdup_printf("%d", getpid());
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *pid;

    while (dir && !too_late(s) && (pid = g_dir_read_name(dir))) {
        if (g_ascii_isdigit(*pid) && strcmp(pid, own) &&
            process_locks(s, pid, -1)) {
            return g_strdup(pid);
        }
    }
    return NULL;
}

char *file_lock_holder(int fd, off_t byte, int64_t limit_us)
{
    Search s = {
        .byte = byte,
        .most = UINT_MAX,
        .end_us = g_get_monotonic_time() + limit_us,
    };
    g_autofree char *pid = NULL;

    if (fstat(fd, &s.st) < 0 || process_locks(&s, "self", fd)) {
        return NULL;
    }
    s.most = FIRST_DESCRIPTORS;
    pid = look_at_others(&s);
    s.most = UINT_MAX;
    pid = pid ?: look_at_others(&s);
    return pid ? describe(pid) : NULL;
}
