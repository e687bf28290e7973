/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Manifests: what is known of a backup, beside its data.
 *
 * The types are those of qapi/backup-folder.json.  A file has one more member,
 * "checksum", over all others; it is replaced as a whole.
 */
#ifndef TOOLS_BACKUP_MANIFEST_H
#define TOOLS_BACKUP_MANIFEST_H

#include "json.h"
#include "qapi/qapi-types-backup-folder.h"

#define MANIFEST_NAME "manifest.json"
#define MANIFEST_FORMAT "tidemark-backup"
#define MANIFEST_VERSION 1

/* Of the folder @dir; NULL with @errp if it is missing, damaged or newer. */
BackupManifest *manifest_read(const char *dir, Error **errp);
/* Whole or not at all. */
bool manifest_write(const char *dir, const BackupManifest *m, Error **errp);

/* The disk called @name, or NULL. */
BackupDisk *manifest_find_disk(const BackupManifest *m, const char *name);

/*
 * A JSON object in the file @name of the folder @dir, which says that it is of
 * this @format and of a version up to @version; a new reference.
 */
json_object *manifest_load(const char *dir, const char *name,
                           const char *format, int64_t version, Error **errp);
/* Writes @obj (borrowed) there, with a checksum. */
bool manifest_store(const char *dir, const char *name, json_object *obj,
                    Error **errp);

/* Seconds since the epoch as in manifests, in UTC; caller frees. */
char *manifest_time(int64_t seconds);
/* The reverse; -1: @text is no time. */
int64_t manifest_parse_time(const char *text);
/* Name and version of the program. */
const char *manifest_tool(void);

#endif
