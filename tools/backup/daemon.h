/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A storage daemon of our own, for images that no other program has open.
 *
 * It ends with this program, however that ends: then by SIGTERM, at which it
 * cancels its jobs and stores bitmaps.
 */
#ifndef TOOLS_BACKUP_DAEMON_H
#define TOOLS_BACKUP_DAEMON_H

#include "qmp-client.h"

typedef struct BackupDaemon {
    QmpClient *qmp;
    pid_t pid;
} BackupDaemon;

/*
 * The daemon to start: @given, or else the one beside this program, or its
 * name; caller frees.
 */
char *backup_daemon_program(const char *given);
/*
 * Starts @program (NULL: the qemu-storage-daemon beside this program, or that
 * in the PATH).  NULL with @errp.
 */
BackupDaemon *backup_daemon_start(const char *program, Error **errp);
/* Ends it, waits until its images are closed, and frees @d; false: it failed
 * to, with @errp. */
bool backup_daemon_stop(BackupDaemon *d, Error **errp);
/*
 * Opens the image @path as a node called @node.  @writable: so that bitmaps can
 * be kept in it.
 */
bool backup_daemon_open(BackupDaemon *d, const char *path, const char *node,
                        bool writable, Error **errp);

#endif
