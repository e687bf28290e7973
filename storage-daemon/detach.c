/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Detaching from the terminal, and the pid file. */
#include "qemu/osdep.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include "program.h"
#include "qemu/fdset.h"

static int ready_fd = -1;

/* The parent waits until the child is ready. */
static void G_GNUC_NORETURN wait_for_child(int fd, pid_t pid)
{
    char word = 0;
    ssize_t n;

    do {
        n = read(fd, &word, 1);
    } while (n < 0 && errno == EINTR);
    _exit(n == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
}

bool daemon_detach(Error **errp)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        error_setg_errno(errp, errno, "Could not create a pipe");
        return false;
    }
    pid = fork();
    if (pid < 0) {
        error_setg_errno(errp, errno, "Could not fork");
        return false;
    }
    if (pid > 0) {
        close(fds[1]);
        wait_for_child(fds[0], pid);
    }
    close(fds[0]);
    ready_fd = fds[1];
    setsid();
    umask(027);
    return true;
}

void daemon_detached_ready(void)
{
    int null = open("/dev/null", O_RDWR);

    if (chdir("/") < 0) {
        warn_report("Could not change to '/': %s", g_strerror(errno));
    }
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++) {
        dup2(null, fd);
    }
    if (null > STDERR_FILENO) {
        close(null);
    }
    if (write(ready_fd, "", 1) < 0) {
        /* No process waits any longer: ignore the error. */
    }
    close(ready_fd);
    ready_fd = -1;
}

/* False: the path was replaced or removed meanwhile; the caller retries. */
static bool is_same_file(int fd, const char *path)
{
    struct stat a, b;

    return g_str_has_prefix(path, "/dev/fdset/") ||
           (fstat(fd, &a) == 0 && stat(path, &b) == 0 &&
            a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

static int open_locked(const char *path, Error **errp)
{
    for (;;) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        int fd = fdset_open(path, O_RDWR | O_CREAT, 0600);

        if (fd < 0) {
            error_setg_errno(errp, errno, "cannot create PID file: Could not "
                             "create '%s'", path);
            return -1;
        }
        if (fcntl(fd, F_SETLK, &lock) < 0) {
            error_setg_errno(errp, errno, "cannot create PID file: Cannot "
                             "lock pid file");
            close(fd);
            return -1;
        }
        if (is_same_file(fd, path)) {
            return fd;
        }
        close(fd);
    }
}

/* The descriptor stays open: the lock shows that the process exists. */
bool daemon_write_pidfile(const char *path, Error **errp)
{
    g_autofree char *text = g_strdup_printf("%d\n", getpid());
    int fd;

    if (!path) {
        return true;
    }
    fd = open_locked(path, errp);
    if (fd < 0) {
        return false;
    }
    if (ftruncate(fd, 0) < 0 ||
        write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        error_setg_errno(errp, errno, "cannot create PID file: Failed to "
                         "write pid file");
        close(fd);
        return false;
    }
    return true;
}
