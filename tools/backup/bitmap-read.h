/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which parts of a disk are dirty in a bitmap of a QMP server. */
#ifndef TOOLS_BACKUP_BITMAP_READ_H
#define TOOLS_BACKUP_BITMAP_READ_H

#include "qapi/qapi-types-backup-folder.h"
#include "source.h"

/*
 * The dirty parts.  The bits are read over NBD, from a copy of the bitmap: of
 * the server's NBD server at @address, a path of a socket or HOST:PORT; NULL:
 * it has none, and is asked to start one for that.  *@ok tells an empty list
 * from a failure, with @errp.  Nothing is left in the server.
 */
BackupExtentList *bitmap_read(QmpClient *c, const SourceDisk *disk,
                              const SourceBitmap *bitmap, const char *address,
                              bool *ok, Error **errp);

#endif
