/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Printing: JSON with indentation, and properties of an image as text. */
#ifndef TOOLS_COMMON_SHOW_H
#define TOOLS_COMMON_SHOW_H

#include "qemu/error.h"

struct json_object;

typedef struct ImageInfo ImageInfo;
typedef struct ImageInfoSpecific ImageInfoSpecific;
typedef struct SnapshotInfo SnapshotInfo;
typedef struct SnapshotInfoList SnapshotInfoList;

/* Prints @value (consumed) on stdout, indented by four blanks a level. */
void show_json(struct json_object *value);
/* Prints "Format specific information:" and @info; NULL: nothing. */
void show_specific(const ImageInfoSpecific *info);
/* Prints the lines "image: ..." and so on. */
void show_image(const ImageInfo *info);
/* A line about one snapshot, or (NULL) the headings; no end of line. */
char *show_snapshot_line(const SnapshotInfo *info);
/* Prints "Snapshot list:" and a line for each; nothing if it is empty. */
void show_snapshots(const SnapshotInfoList *list);

#endif
