/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tidemark mount: a disk as it was at a backup, as a file.
 *
 * A daemon of our own exports it, read-only, on a socket in a temporary folder.
 * nbdfuse makes a file of that; where it is not installed, or no place for the
 * file is given, the line to type is printed.  SIGINT ends all of it.
 */
#include "qemu/osdep.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "backup.h"
#include "daemon.h"
#include "folder.h"

#define NODE "backup"
#define NBDFUSE "nbdfuse"

typedef struct MountArgs {
    const char *disk, *daemon;
    const char *place; /* NULL: not given */
} MountArgs;

static const CliOption mount_options[] = {
    BACKUP_TEXT(MountArgs, 'd', "disk", disk),
    BACKUP_TEXT(MountArgs, CLI_LONG_ONLY, "daemon", daemon),
    { 0 },
};

typedef struct Mount {
    const MountArgs *args;
    const Backup *backup;
    const BackupDisk *disk;
    BackupDaemon *daemon;
    char *dir, *socket; /* of the export */
    char *uri;
    pid_t fuse;         /* 0: none */
} Mount;

/* --- the export --- */

static bool export_disk(Mount *m, Error **errp)
{
    g_autofree char *file = backup_file(m->backup, m->disk);
    QmpClient *c = m->daemon->qmp;

    return backup_daemon_open(m->daemon, file, NODE, false, errp) &&
           qmp_client_do(c, "nbd-server-start", errp,
                         "{'addr': {'type': 'unix', 'data': {'path': %s}},"
                         " 'max-connections': 0}", m->socket) &&
           qmp_client_do(c, "block-export-add", errp,
                         "{'type': 'nbd', 'id': 'backup', 'node-name': %s,"
                         " 'name': %s}", NODE, m->disk->name);
}

/* --- nbdfuse --- */

static bool start_fuse(Mount *m, Error **errp)
{
    m->fuse = fork();
    if (m->fuse == 0) {
        /* SIGINT from the terminal is for the parent, which ends it. */
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execlp(NBDFUSE, NBDFUSE, "-r", m->args->place, m->uri, (char *)NULL);
        _exit(127);
    }
    if (m->fuse < 0) {
        m->fuse = 0;
        error_setg_errno(errp, errno, "Could not start " NBDFUSE);
        return false;
    }
    return true;
}

/* Waits until nbdfuse has ended, or a signal ends it. */
static bool wait_fuse(Mount *m, Error **errp)
{
    int status = 0;

    while (waitpid(m->fuse, &status, 0) < 0 && errno == EINTR) {
        if (tool_interrupted()) {
            kill(m->fuse, SIGTERM); /* it unmounts */
        }
    }
    m->fuse = 0;
    if (!tool_interrupted() &&
        (!WIFEXITED(status) || WEXITSTATUS(status))) {
        error_setg(errp, NBDFUSE " has failed");
        return false;
    }
    return true;
}

/* --- all of it --- */

static void say(const Mount *m, bool with_fuse)
{
    printf("%s as of %s:\n  %s\n", m->disk->name, m->backup->manifest->time,
           m->uri);
    if (with_fuse) {
        bool is_dir = g_file_test(m->args->place, G_FILE_TEST_IS_DIR);

        /* In a folder nbdfuse gives the file this name. */
        printf("It is the file %s%s until SIGINT.\n", m->args->place,
               is_dir ? "/nbd" : "");
    } else {
        printf("To have it as a file, type in another terminal:\n"
               "  nbdfuse -r PLACE '%s'\nor read it by\n"
               "  qemu-img convert -p -O raw '%s' FILE\n"
               "It is there until SIGINT.\n", m->uri, m->uri);
    }
    fflush(stdout);
}

static void wait_signal(void)
{
    while (!tool_interrupted()) {
        g_usleep(100000); /* a signal ends it */
    }
}

static bool serve(Mount *m, Error **errp)
{
    g_autofree char *program = g_find_program_in_path(NBDFUSE);

    if (m->args->place && access(m->args->place, F_OK) < 0) {
        error_setg_errno(errp, errno, "The place '%s'", m->args->place);
        error_append_hint(errp, "It is a file, or a folder, that exists.\n");
        return false;
    }
    if (!export_disk(m, errp)) {
        return false;
    }
    if (!m->args->place || !program) {
        say(m, false);
        wait_signal();
        return true;
    }
    say(m, true);
    return start_fuse(m, errp) && wait_fuse(m, errp);
}

static bool with_daemon(Mount *m, Error **errp)
{
    bool ok;

    m->daemon = backup_daemon_start(m->args->daemon, errp);
    if (!m->daemon) {
        return false;
    }
    ok = serve(m, errp);
    return backup_daemon_stop(m->daemon, ok ? errp : NULL) && ok;
}

static bool mount_disk(Mount *m, Error **errp)
{
    bool ok;

    if (m->disk->uri && !m->disk->parent) {
        error_setg(errp, "It is an export already: %s", m->disk->uri);
        return false;
    }
    if (m->disk->format == BACKUP_FORMAT_RAW && m->disk->parent) {
        error_setg(errp, "An increment in raw files cannot be mounted");
        error_append_hint(errp, "Restore it to a file instead.\n");
        return false;
    }
    m->dir = g_dir_make_tmp("tidemark-XXXXXX", NULL);
    if (!m->dir) {
        error_setg(errp, "Could not make a temporary folder");
        return false;
    }
    m->socket = g_build_filename(m->dir, "nbd", NULL);
    m->uri = g_strdup_printf("nbd+unix:///%s?socket=%s", m->disk->name,
                             m->socket);
    ok = with_daemon(m, errp);
    unlink(m->socket);
    rmdir(m->dir);
    g_free(m->dir);
    g_free(m->socket);
    g_free(m->uri);
    return ok;
}

static bool mount_backup(const MountArgs *args, const BackupFolder *f,
                         const char *id, Error **errp)
{
    Mount m = { .args = args };
    g_autoptr(GPtrArray) chain = NULL;

    m.backup = backup_folder_find(f, id, errp);
    m.disk = m.backup ? backup_choose_disk(m.backup, args->disk, errp) : NULL;
    chain = m.disk ? backup_chain(f, m.backup, m.disk->name, errp) : NULL;
    return chain && mount_disk(&m, errp);
}

BackupStatus backup_cmd_mount(int argc, char **argv)
{
    MountArgs args = { 0 };
    int first = cli_parse(argc, argv, mount_options, &args, backup_help);
    g_autoptr(BackupFolder) f = NULL;
    Error *err = NULL;
    bool busy = false;

    if (argc - first < 2 || argc - first > 3) {
        cli_usage_error("Expecting a folder of backups, one of them, and "
                        "perhaps a place");
    }
    args.place = argv[first + 2];
    f = backup_folder_open(argv[first], BACKUP_READ, &busy, &err);
    if (!f || !mount_backup(&args, f, argv[first + 1], &err)) {
        error_report_err(err);
        return busy ? BACKUP_BUSY : BACKUP_FAILED;
    }
    return BACKUP_OK;
}
