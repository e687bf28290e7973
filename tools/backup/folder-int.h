/* SPDX-License-Identifier: GPL-2.0-or-later */
/* For folder*.c. */
#ifndef TOOLS_BACKUP_FOLDER_INT_H
#define TOOLS_BACKUP_FOLDER_INT_H

#include "folder.h"

/* Sets f->lock; *@busy is set to true where others hold a lock. */
bool backup_folder_lock(BackupFolder *f, BackupAccess access, bool *busy,
                        Error **errp);

#endif
