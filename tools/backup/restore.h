/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk, as it was at a backup, written to an image, a device or a server. */
#ifndef TOOLS_BACKUP_RESTORE_H
#define TOOLS_BACKUP_RESTORE_H

#include "folder.h"

typedef struct Restore {
    const BackupFolder *folder;
    const Backup *backup;
    const BackupDisk *disk;  /* in the backup */
    const char *output;      /* a path, or the URI of an NBD export */
    const char *format;      /* "qcow2", "raw"; NULL: by the name */
    const char *daemon;      /* program; NULL: the usual one */
    bool force;              /* replaces a file */
    bool quiet;
} Restore;

/* False with @errp: then no file has the name of the output. */
bool backup_restore(const Restore *r, Error **errp);

#endif
