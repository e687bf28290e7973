/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Removing a backup that another one is based on.
 *
 *     parent  <-  gone  <-  child             parent  <-  child
 *
 * What the child has is written into the file of the one that goes, which then
 * shows what the child does, and takes the place of the child's file:
 *
 *     1. the manifest of the one that goes says "merging"
 *     2. the child's data is committed; meanwhile the child shows the same as
 *        before, as each part that changes below it is its own
 *     3. the file is renamed over that of the child: what is based on the child
 *        finds it under the same name
 *     4. the manifest of the child is written
 *     5. the folder of the one that goes is removed
 *
 * At each point all others can be restored, and the steps can be done again.
 */
#ifndef TOOLS_BACKUP_MERGE_H
#define TOOLS_BACKUP_MERGE_H

#include "folder.h"

/* How many backups are based on disk @d of @b.  *@child gets one of them. */
int merge_count_children(const BackupFolder *f, const Backup *b,
                         const BackupDisk *d, Backup **child);
/*
 * Removes @b; each of its disks has at most one child, a whole backup, which it
 * is merged with.  @digest: computes the digests of the results.  False with
 * @errp: another call continues.  Shows its progress unless @quiet.
 */
bool merge_away(BackupFolder *f, Backup *b, bool digest, bool quiet,
                Error **errp);

#endif
