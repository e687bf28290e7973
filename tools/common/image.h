/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images as the tools' options say, and their life cycle. */
#ifndef TOOLS_COMMON_IMAGE_H
#define TOOLS_COMMON_IMAGE_H

#include "block/block-backend.h"

typedef struct ToolImage {
    const char *filename; /* or, with @image_opts, key=value,... */
    const char *format;   /* NULL: probed */
    bool image_opts;
    bool writethrough;    /* each write is durable when it returns */
    int flags;            /* BDRV_O_* */
} ToolImage;

/*
 * Sets the flags that a cache mode (none, writeback, writethrough, directsync,
 * unsafe) stands for; false where @mode is none.  NULL: writeback.
 */
bool tool_cache_mode(const char *mode, ToolImage *image);

/*
 * Opens @image; NULL with an error.  The handle reads, writes with
 * BDRV_O_RDWR, resizes with BDRV_O_RESIZE.
 */
BlockBackend *tool_open(const ToolImage *image, Error **errp);

/*
 * Sets the program's name (@name; @argv0 is for messages), the main context
 * and handlers for signals; exits where that fails.
 */
void tool_init(const char *name, const char *argv0);
/*
 * Closes all images, which stores their bitmaps, and returns @status, or
 * EXIT_FAILURE instead of success where closing one failed; where SIGINT,
 * SIGTERM or SIGHUP came the program ends by it instead.
 */
int tool_finish(int status);
/* One of these signals came: long operations are to end soon. */
bool tool_interrupted(void);

#endif
