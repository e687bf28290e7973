/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What files of backups hold: their bytes, and the parts of the disk. */
#ifndef TOOLS_BACKUP_CONTENTS_H
#define TOOLS_BACKUP_CONTENTS_H

#include "qapi/qapi-types-backup-folder.h"
#include "qemu/error.h"

/* Called now and then with the bytes done so far, of @total. */
typedef void ContentsProgress(void *opaque, int64_t done, int64_t total);

/*
 * The SHA-256 digest of the data of @d in the file @path, as sha256sum prints
 * it: of all of the file, but of a raw file that is not full only of its
 * extents.  Caller frees; NULL with @errp, also after a signal
 * (tool_interrupted()).
 */
char *contents_digest(const BackupDisk *d, const char *path,
                      ContentsProgress *progress, void *opaque,
                      Error **errp);

/*
 * The parts of the disk that the qcow2 image @path has by itself, without its
 * backing files: at most @max, where small gaps are included if there are more;
 * 0: exactly all.  *@ok tells an empty list from a failure, with @errp.
 */
BackupExtentList *contents_extents(const char *path, int max, bool *ok,
                                   Error **errp);

/*
 * Makes @d describe its file @path: size, extents (of raw files they are known
 * before), bytes, and, with @digest, the digest.
 */
bool contents_describe(BackupDisk *d, const char *path, bool digest,
                       ContentsProgress *progress, void *opaque,
                       Error **errp);

#endif
