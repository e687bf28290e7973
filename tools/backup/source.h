/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The disks of a QMP server, and their bitmaps. */
#ifndef TOOLS_BACKUP_SOURCE_H
#define TOOLS_BACKUP_SOURCE_H

#include "qmp-client.h"

typedef struct SourceBitmap {
    char *name;
    int64_t granularity, count; /* bytes */
    bool recording, busy, persistent, inconsistent;
} SourceBitmap;

typedef struct SourceDisk {
    char *name;         /* fit for the name of a file */
    char *node;
    int64_t size;       /* bytes */
    int64_t used;       /* bytes that its files take; at most @size */
    bool read_only;
    bool stores;        /* it can have persistent bitmaps */
    GPtrArray *bitmaps; /* of SourceBitmap *, those with a name */
} SourceDisk;

/*
 * The disks that @words name, each NODE or NAME=NODE; NULL: all that can be
 * written (media of devices; else exports; else nodes that nothing uses).  An
 * array that g_ptr_array_unref() frees; NULL with @errp.
 */
GPtrArray *source_disks(QmpClient *c, char **words, Error **errp);
/* Asks for their bitmaps again. */
bool source_refresh(QmpClient *c, GPtrArray *disks, Error **errp);
/* By name; NULL: there is none. */
SourceBitmap *source_find_bitmap(const SourceDisk *disk, const char *name);
/* @text with what may not be in the name of a file replaced; caller frees. */
char *source_safe_name(const char *text);

#endif
