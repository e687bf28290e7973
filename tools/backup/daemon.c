/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A storage daemon of our own, for images that no other program has open. */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "block/graph.h"
#include "daemon.h"
#include "tools/common/image.h"

#define DAEMON_NAME "qemu-storage-daemon"
/* For closing images; then signals end it. */
#define STOP_TIMEOUT_S 60

char *backup_daemon_program(const char *given)
{
    g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *dir = self ? g_path_get_dirname(self) : NULL;
    char *path = dir ? g_build_filename(dir, DAEMON_NAME, NULL) : NULL;

    if (given) {
        g_free(path);
        return g_strdup(given);
    }
    if (path && g_file_test(path, G_FILE_TEST_IS_EXECUTABLE)) {
        return path;
    }
    g_free(path);
    return g_strdup(DAEMON_NAME);
}

/* In the child: only what is safe after a fork of a process with threads. */
static void run_daemon(const char *program, int fd, pid_t parent)
{
    const char *argv[] = { program, "--chardev", "stdio,id=qmp",
                           "--monitor", "qmp", NULL };

    /* SIGINT from the terminal is for the parent, which ends the jobs. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || dup2(fd, STDIN_FILENO) < 0 ||
        dup2(fd, STDOUT_FILENO) < 0) {
        _exit(127);
    }
    execvp(program, (char **)argv);
    _exit(127);
}

static bool spawn(BackupDaemon *d, const char *program, int *fd, Error **errp)
{
    pid_t self = getpid();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        error_setg_errno(errp, errno, "Could not make a pair of sockets");
        return false;
    }
    d->pid = fork();
    if (d->pid == 0) {
        run_daemon(program, pair[1], self);
    }
    close(pair[1]);
    if (d->pid < 0) {
        error_setg_errno(errp, errno, "Could not start a process");
        close(pair[0]);
        return false;
    }
    *fd = pair[0];
    return true;
}

BackupDaemon *backup_daemon_start(const char *program, Error **errp)
{
    g_autofree char *found = backup_daemon_program(program);
    g_autofree char *path = g_find_program_in_path(found);
    BackupDaemon *d;
    int fd;

    if (!path) {
        error_setg(errp, "There is no program '%s', the storage daemon", found);
        error_append_hint(errp, "Say by --daemon where it is.\n");
        return NULL;
    }
    d = g_new0(BackupDaemon, 1);
    if (spawn(d, found, &fd, errp)) {
        d->qmp = qmp_client_new(fd, found, QMP_CLIENT_TIMEOUT_MS, errp);
        if (d->qmp) {
            return d;
        }
        error_prepend(errp, "The storage daemon could not be started: ");
        backup_daemon_stop(d, NULL);
        return NULL;
    }
    g_free(d);
    return NULL;
}

/* Waits for its end, up to @seconds. */
static bool wait_end(pid_t pid, int seconds, int *status)
{
    for (int i = 0; i < seconds * 100; i++) {
        pid_t ret = waitpid(pid, status, WNOHANG);

        if (ret == pid || (ret < 0 && errno != EINTR)) {
            return true;
        }
        g_usleep(10000);
    }
    return false;
}

bool backup_daemon_stop(BackupDaemon *d, Error **errp)
{
    int status = 0;
    bool ended;

    if (!d->qmp || !qmp_client_do(d->qmp, "quit", NULL, NULL)) {
        kill(d->pid, SIGTERM);
    }
    ended = wait_end(d->pid, STOP_TIMEOUT_S, &status);
    if (!ended) {
        kill(d->pid, SIGKILL);
        waitpid(d->pid, &status, 0);
        error_setg(errp, "The storage daemon did not end in time");
    } else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        error_setg(errp, "The storage daemon failed at its end");
        ended = false;
    }
    qmp_client_free(d->qmp);
    g_free(d);
    return ended;
}

/* The format of the image; caller frees.  NULL with @errp. */
static char *probe(const char *path, Error **errp)
{
    g_autoptr(BlockDriverState) bs =
        bdrv_open_file(path, NULL, BDRV_O_NO_BACKING, errp);

    return bs ? g_strdup(bdrv_get_format_name(bs)) : NULL;
}

bool backup_daemon_open(BackupDaemon *d, const char *path, const char *node,
                        bool writable, Error **errp)
{
    g_autofree char *format = probe(path, errp);
    g_autofree char *full = g_canonicalize_filename(path, NULL);

    if (!format) {
        return false;
    }
    return qmp_client_do(d->qmp, "blockdev-add", errp,
                         "{'driver': %s, 'node-name': %s, 'read-only': %b,"
                         " 'file': {'driver': 'file', 'filename': %s}}",
                         format, node, !writable, full);
}
