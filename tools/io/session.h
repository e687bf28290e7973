/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The image that qemu-io has open, and the commands that change it. */
#ifndef TOOLS_IO_SESSION_H
#define TOOLS_IO_SESSION_H

#include "tools/common/image.h"

/* Parameters of opening; 0 or NULL: the default. */
typedef struct IoOpen {
    ToolImage image;      /* file name, format, key=value text or not */
    const char *options;  /* key=value,... besides the file name; or NULL */
    const char *cache, *discard, *aio;
    bool read_only, nocache, native_aio, copy_on_read, force_share;
} IoOpen;

/* Converts the names in @o to flags; reports unknown names. */
bool io_open_prepare(IoOpen *o);
/* Opens the image for all following commands; reports errors. */
bool io_session_open(const IoOpen *o);
/* Closes the image after all requests have completed. */
void io_session_close(void);
/* The open image, NULL: none. */
BlockBackend *io_session_blk(void);
/* "quit" was given. */
bool io_session_ended(void);
/* Adds open, close, reopen and quit to the commands. */
void io_session_add_commands(void);

#endif
