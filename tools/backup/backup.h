/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Declarations shared by the commands of tidemark. */
#ifndef TOOLS_BACKUP_BACKUP_H
#define TOOLS_BACKUP_BACKUP_H

#include "tools/common/cli.h"
#include "tools/common/image.h"

/* Exit statuses, as the manual page lists them. */
typedef enum BackupStatus {
    BACKUP_OK = 0,
    BACKUP_FAILED = 1,    /* nothing is left behind; the command line, too */
    BACKUP_RESUMABLE = 3, /* failed or interrupted; the next run continues */
    BACKUP_BUSY = 4,      /* another process works in the folder */
    BACKUP_NO_SPACE = 5,  /* nothing was begun */
    BACKUP_DAMAGED = 6,   /* backups are damaged or cannot be restored */
} BackupStatus;

/* A command: argv[0] is its name. */
typedef BackupStatus BackupCommandFunc(int argc, char **argv);

BackupStatus backup_cmd_backup(int argc, char **argv);
BackupStatus backup_cmd_list(int argc, char **argv);
BackupStatus backup_cmd_map(int argc, char **argv);
BackupStatus backup_cmd_mount(int argc, char **argv);
BackupStatus backup_cmd_prune(int argc, char **argv);
BackupStatus backup_cmd_qmp(int argc, char **argv);
BackupStatus backup_cmd_restore(int argc, char **argv);
BackupStatus backup_cmd_serve(int argc, char **argv);
BackupStatus backup_cmd_show(int argc, char **argv);
BackupStatus backup_cmd_status(int argc, char **argv);
BackupStatus backup_cmd_verify(int argc, char **argv);

/* Prints the output of --help: of the command that runs, or of all. */
void backup_help(void);

/* Rows of a CliOption table; @T is the command's struct. */
#define BACKUP_FLAG(T, letter, name, member) \
    { letter, name, CLI_FLAG, offsetof(T, member) }
#define BACKUP_TEXT(T, letter, name, member) \
    { letter, name, CLI_TEXT, offsetof(T, member) }
#define BACKUP_CALL(letter, name, func) { letter, name, CLI_CALL, 0, func }

/*
 * --timeout: *@ms from a number of seconds; NULL: leaves it.  False, reported,
 * if it is none.
 */
bool backup_timeout(const char *seconds, int *ms);

#endif
