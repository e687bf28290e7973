/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-nbd in the background: --fork and --pid-file. */
#include "qemu/osdep.h"

#include "nbd.h"

static int saved_stderr = -1;

/* The parent relays the child's output until that is ready. */
static void G_GNUC_NORETURN relay(int fd)
{
    bool said_anything = false;
    char buf[1024];

    for (;;) {
        ssize_t n = read(fd, buf, sizeof(buf));

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            _exit(n < 0 || said_anything ? EXIT_FAILURE : EXIT_SUCCESS);
        }
        said_anything = true;
        if (write(STDERR_FILENO, buf, n) < 0) {
            _exit(EXIT_FAILURE);
        }
    }
}

void nbd_background(void)
{
    int fds[2];
    int null;
    pid_t pid = -1;

    if (pipe2(fds, O_CLOEXEC) == 0) {
        pid = fork();
    }
    if (pid < 0) {
        error_report("Failed to fork: %s", g_strerror(errno));
        exit(EXIT_FAILURE);
    }
    if (pid > 0) {
        close(fds[1]);
        relay(fds[0]);
    }
    close(fds[0]);
    setsid();
    saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(fds[1], STDERR_FILENO);
    close(fds[1]);
    close(null);
}

void nbd_background_ready(bool verbose)
{
    int null;

    if (saved_stderr < 0) {
        return;
    }
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(verbose ? saved_stderr : null, STDERR_FILENO);
    close(saved_stderr);
    close(null);
    saved_stderr = -1;
}

bool nbd_write_pid_file(const char *path)
{
    g_autofree char *text = g_strdup_printf("%d\n", getpid());
    int fd;
    bool ok;

    if (!path) {
        return true;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        error_report("Could not create '%s': %s", path, g_strerror(errno));
        return false;
    }
    ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (!ok) {
        error_report("Failed to write pid file: %s", g_strerror(errno));
    }
    close(fd);
    return ok;
}
