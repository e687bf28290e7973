/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of files that are there as a whole or not at all, whenever the
 * program is killed or power is lost.
 */
#ifndef TOOLS_BACKUP_DURABLE_H
#define TOOLS_BACKUP_DURABLE_H

#include "qemu/error.h"

/*
 * Makes @text the content of the file @name in the folder @dir: it is written
 * to a file beside it, which then takes its place.
 */
bool durable_write(const char *dir, const char *name, const char *text,
                   Error **errp);
/*
 * The content of a file or a pipe, *@len bytes, with a zero byte behind it.
 * The caller frees it.  NULL with @errp.
 */
char *durable_read(const char *path, size_t *len, Error **errp);
/* Renames, in the folder @dir; replaces a file called @to. */
bool durable_rename(const char *dir, const char *from, const char *to,
                    Error **errp);
/* All that was done to the file or folder @path is on storage. */
bool durable_sync(const char *path, Error **errp);
/* Creates a folder; it is no error if it is there. */
bool durable_mkdir(const char *path, Error **errp);
/* Removes a folder with the files in it; it is no error if it is gone. */
bool durable_remove_dir(const char *path, Error **errp);

#endif
