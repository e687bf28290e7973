/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening images by the tools' options, and the life cycle of a tool. */
#ifndef TOOLS_COMMON_IMAGE_H
#define TOOLS_COMMON_IMAGE_H

#include "block/block-backend.h"

typedef struct ToolImage {
    const char *filename; /* or, with @image_opts, key=value,... */
    const char *name; /* with @image_opts: beside these, or NULL */
    const char *format;   /* NULL: probed */
    const char *secrets;  /* of an encrypted image: see tool_secrets(); NULL */
    bool image_opts;
    bool writethrough;    /* each write is durable when it completes */
    bool stays;           /* others must not write to it, unless it is opened
                             with BDRV_O_FORCE_SHARE */
    bool temporary;      /* writes go to an overlay that is gone in the end */
    int flags;            /* BDRV_O_* */
} ToolImage;

/*
 * Sets the flags for a cache mode (none, writeback, writethrough, directsync,
 * unsafe); false if @mode is invalid.  NULL: writeback.
 */
bool tool_cache_mode(const char *mode, ToolImage *image);

/*
 * What creation options ("key=value,...", may be NULL) say of the key of an
 * image, for options to open it; NULL: it is not encrypted.  The caller frees.
 */
char *tool_secrets(const char *creation_options);
/*
 * Opens @image; NULL with an error.  The handle reads, writes with
 * BDRV_O_RDWR, resizes with BDRV_O_RESIZE.
 */
BlockBackend *tool_open(const ToolImage *image, Error **errp);

/*
 * Sets the program's name (@name; @argv0 is for messages), the main context and
 * handlers for signals; exits on failure.
 */
void tool_init(const char *name, const char *argv0);
/*
 * Closes all images, which stores their bitmaps, and returns @status, or
 * EXIT_FAILURE instead of success if closing one failed.  After SIGINT, SIGTERM
 * or SIGHUP the program is killed by that signal instead.
 */
int tool_finish(int status);
/*
 * One of these signals was received: long operations should end soon.  From
 * then on a server that does not answer delays the end for some seconds at most
 * (bdrv_hurry()), from the second signal on not at all.
 */
bool tool_interrupted(void);
/* For programs that a signal ends with success. */
void tool_end_normally(void);
/* For what needs no images: a signal kills the program at once. */
void tool_default_signals(void);

#endif
